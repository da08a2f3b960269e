/* spectrum.h: the squared singular values of a Jacobian between two vectors of a traced network, at n = infinity.
 *
 *     tp_program *program = tp_translate(net, &error);
 *     tp_spectrum_spec spec = { .moments = 4 };          // from the first hidden preactivation to the last
 *     tp_spectrum s;
 *     tp_spectrum_find(program, x, &spec, &s, &error);   // x (features): one input
 *     printf("largest singular value %g, by %s\n", s.largest, s.method);
 *     tp_spectrum_free(&s);
 *
 * J = dv/du, and the spectrum is that of J J', normalised over the coordinates of v: m_k = lim (1/n) tr (J J')^k. Its
 * density is that of a product of free factors (Pennington, Schoenholz and Ganguli, arXiv:1711.04735) where the trace
 * between the two is a chain of matrices of their own, Gaussian or orthogonal, and functions of one Gaussian vector
 * each; moments are of any trace.
 *
 * Threads. Calls of this header add to the net's graph under its lock, and read it: on one net they go one at a time,
 * while models of the net and its other programs may be in use. */
#ifndef LIMN_TP_SPECTRUM_H
#define LIMN_TP_SPECTRUM_H
#include "tp.h"

LIMN_API_BEGIN

enum { TP_SPECTRUM_MOMENTS = 32, TP_BANDS = 8 };

typedef struct {
    double at, mass;
} tp_atom;

typedef struct {
    int n_moments; /* as many as were asked for, or those that samples find: high ones may vary too much with the run */
    double moments[TP_SPECTRUM_MOMENTS]; /* m_1, m_2, ... */
    double errors[TP_SPECTRUM_MOMENTS];  /* a bound where they are exact, else a standard error */
    /* The density of what is no atom, at `points` values of log lambda that ascend; without a chain, and where atoms
     * are all, points is 0 and the lists are NULL. */
    size_t points;
    double *log_lambda;
    double *per_log;       /* lambda rho(lambda), the density of log lambda */
    double *continuous;    /* the mass of the density below lambda, atoms not included */
    double *weights;       /* sum weights per_log f(lambda) is the integral of rho f */
    double left_out;       /* mass near 0 that lies below the first point, at most 1e-7 */
    double log_support[2]; /* the ends of the density's support; -infinity: 0; NaN without a density */
    bool has_law;          /* the chain's: density, atoms and what follows are known */
    int n_atoms;
    tp_atom *atoms;
    double largest, smallest;  /* singular values: infinite, and 0, where the support says so */
    double condition;          /* infinite if the smallest is 0 */
    char method[400];          /* how the moments were found, and the density or why there is none */
    int n_bands;               /* of a support with gaps: */
    double bands[TP_BANDS][2]; /* log of the ends of each, ascending; 0: it is one band, log_support */
} tp_spectrum;

typedef struct {
    const char *from, *to; /* vectors of the forward pass, as tp_print names them; NULL: the first and the last hidden
                              preactivation */
    int moments;           /* 0: 4; at most TP_SPECTRUM_MOMENTS */
    size_t points;         /* of the density; 0: 400 */
    tp_engine engine; /* of moments: auto and exact, of a chain's or of the exact engine's; sample: the executor's */
    size_t samples;   /* of the executor; 0: 4096 */
    int runs;         /* of the executor, at least 2; 0: 8 */
    uint64_t seed;
    int threads;                                   /* 0: one */
    void (*progress)(double share, void *context); /* is told which share of the executor's runs is done; may be NULL */
    void *context;
} tp_spectrum_spec;
/* The spectrum at one input x (features). An error where the two are no vectors over one width of which the second
 * depends on the first, where samples meet, where J J' is 0 or goes like a power of n. NULL for spec: {0}. */
int tp_spectrum_find(tp_program *program, const double *x, const tp_spectrum_spec *spec, tp_spectrum *spectrum,
                     ad_error *error);
/* The equation of a chain's density, as it is solved, as LaTeX (amsmath); an error where there is no chain. */
int tp_spectrum_print(tp_program *program, const double *x, const char *from, const char *to, FILE *stream,
                      ad_error *error);
void tp_spectrum_free(tp_spectrum *spectrum);

/* Where there is no law: a smooth density of log lambda with as many of the spectrum's moments as can be met, at n
 * points (per_log: n values); returns how many, -1 on error. An estimate: of the densities that have these moments
 * one of the largest entropy, no limit's own, and blind to atoms. */
int tp_spectrum_estimate(const tp_spectrum *spectrum, size_t n, const double *log_lambda, double *per_log,
                         ad_error *error);

/* The mass of J J' at most at lambda, atoms included, of a spectrum that has a law. */
double tp_spectrum_below(const tp_spectrum *spectrum, double log_lambda);
/* The Kolmogorov distance of squared singular values, ascending, from that law. Values of at most 1e-26 of the largest
 * one are what rounding leaves of smaller ones: they count as below all others. */
double tp_spectrum_distance(const tp_spectrum *spectrum, const double *squares, size_t count);
/* The squared singular values of the same Jacobian of a network at a width, ascending, as many as `to` has coordinates,
 * of ad_alloc: one backward pass for all rows, and LAPACK's singular values. */
int tp_jacobian_squares(tp_program *program, nn_model *model, const double *x, const char *from, const char *to,
                        double **squares, size_t *count, ad_error *error);

/* ---- criticality -------------------------------------------------------------------------------------------- */
/* A point of the critical line: sigma_w and sigma_b at which a layer's mean squared singular value chi = sigma_w^2 E
 * phi'(h)^2 is 1 at the variance q* of its preactivations that layers do not change (Schoenholz et al.,
 * arXiv:1611.01232). */
typedef struct {
    double sigma_b, sigma_w, q;
} tp_critical_point;
/* Of a network: its first hidden layer after the first preactivation, taken to go on for ever. */
typedef struct {
    double sigma_w, sigma_b;
    double q;           /* q*: 0 where signals vanish, infinite where they grow */
    double chi;         /* at q*; NaN where that is infinite and phi not homogeneous, as relu is */
    double correlation; /* c*: what the correlation of two inputs tends to; 1 for chi at most 1; NaN where signals
                                  vanish and it is kept, or grow and it is not known */
    double correlation_length; /* xi_c, in layers: |c_l - c*| ~ exp(-l / xi_c); infinite at chi = 1; NaN as above */
    double variance_length;    /* xi_q: |q_l - q*| ~ exp(-l / xi_q) */
    int n_line;
    tp_critical_point line[32]; /* by sigma_b; where any q will do, as of relu, q is NaN */
} tp_critical;
/* At the input x: the activation, sigma_w and sigma_b are those of the trace, a table's or a user's own. An error where
 * the network is no chain of layers. */
int tp_critical_find(tp_program *program, const double *x, tp_critical *critical, ad_error *error);

/* ---- eigenvalues by degree ---------------------------------------------------------------------------------- */
/* Of a kernel of x . y / d with d features: its eigenvalue on polynomials of a degree, over the uniform measures of the
 * sphere |x|^2 = d and of the cube {-1, 1}^d, and how many eigenfunctions there are (Yang and Salman,
 * arXiv:1907.10599). */
enum { TP_DEGREES = 64 };
typedef struct {
    double sphere, cube;       /* eigenvalues; the sum of all times their numbers is the kernel at x = y */
    double error;              /* of either: a bound on the kernel's own */
    double on_sphere, on_cube; /* eigenfunctions of this degree */
} tp_degree;
/* Degrees 0 to count - 1 of the limit's NNGP kernel or NTK, by the exact engine. An error where features meet more than
 * sums with one layer's weights, so that the kernel may be none of x . y. */
int tp_degrees_find(tp_program *program, tp_kernel_kind which, int count, tp_degree *degrees, ad_error *error);

LIMN_API_END
#endif
