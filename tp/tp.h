/* tp.h: a traced network as a Netsor-transpose program, and its limit at n = infinity.
 *
 * tp_translate adds the backward pass to the trace and reads both as a program (Tensor Programs II, arXiv:2006.14548);
 * tp_print writes it in the paper's notation; tp_check tells whether the simple rules hold for it; tp_limit solves it
 * by the Master theorem: NNGP kernel and NTK of any inputs.
 *
 * Threads. A program that is made is only read: all calls below that take one may go on at once in several threads,
 * also on the same program, each with a kernel, a stream and an error of its own. tp_translate adds the backward pass
 * to the net's graph under the net's lock: models of the net and programs of it may be in use meanwhile (nn/nn.h). */
#ifndef LIMN_TP_H
#define LIMN_TP_H
#include "../nn/nn.h"

LIMN_API_BEGIN

typedef struct tp_program tp_program;
/* The net must outlive the program. Fails, with op, file and line, on what has no Netsor-transpose rule. */
tp_program *tp_translate(nn_net *net, ad_error *error);
/* The same of a fit's steps, in which nn_dropout multiplies by its masks. Masks of two rows are independent, so that
 * off its diagonal a kernel of rows with themselves is that of two sets of rows; on it E x x' of what is dropped out is
 * 1 / keep times as large. Refused where samples meet, and where what is dropped out has no width. */
tp_program *tp_translate_training(nn_net *net, ad_error *error);
void tp_program_free(tp_program *program);

/* The same of a hidden vector (batch, width) of the trace, read out by a parameter of its own, N(0, 1/n): its NNGP
 * kernel is the mean of h h' over the vector's coordinates, its NTK the mean of <dh, dh'> over all parameters of the
 * network. In the limit each coordinate's own. */
tp_program *tp_translate_vector(nn_net *net, ad_var vector, ad_error *error);
/* The vector of the forward pass that tp_print calls `name` in the paper's notation ("h2"), as a node of the net's
 * trace; an error that lists the names if there is none. */
int tp_vector_named(const tp_program *program, const char *name, ad_var *vector, ad_error *error);

typedef enum { TP_PAPER, TP_LATEX, TP_JSON } tp_style;
int tp_print(const tp_program *program, FILE *stream, tp_style style, ad_error *error);
/* The recursion of the NNGP kernel and the NTK, as one would derive it by hand, as text or LaTeX. Of outputs that are
 * not alike (tp_outputs_alike) each has its own, under a line that says which: one after another, 16 at the most. An
 * error where the exact engine has no rule. */
int tp_print_recursion(const tp_program *program, FILE *stream, tp_style style, ad_error *error);
/* Of one output's own kernels. */
int tp_print_recursion_of(const tp_program *program, size_t output, FILE *stream, tp_style style, ad_error *error);

/* What the simple rules of Tensor Programs II suppose, checked on the program. Each text says which condition, which
 * variable and which line; empty where it holds. */
enum { TP_CHECKS = 5 };
typedef struct {
    bool initialization;      /* every A-var N(0, sigma^2 / n) up to its multiplier, G-var inputs iid, means zero where
                                 asked */
    bool readout_mean;        /* Proposition 2: the readout's weights have mean zero, */
    bool readout_independent; /* are drawn independently of all else (one tensor of their own), */
    bool readout_unused;      /* and are used nowhere else in the program. */
    bool one_way;             /* the forward pass uses no matrix together with its transpose */
    char text[TP_CHECKS][200];
} tp_checks;
int tp_check(const tp_program *program, tp_checks *checks,
             ad_error *error); /* 0 if all hold, 1 if one fails, -1 error */

/* How fast the nonlinearities grow, in words, and which one at which line: 0 within what the Master theorem asks, 1
 * where one is not (or has a pole that its argument can reach), -1 error. A user's own function is taken to grow
 * linearly. */
int tp_check_growth(const tp_program *program, char *text, size_t size, ad_error *error);

typedef enum { TP_NTK, TP_NNGP } tp_kernel_kind;
/* A limit kernel: a list of (power of n, coefficients). In NTK scale there is one term, of power 0. */
typedef struct {
    size_t rows, rows2;
    int n_terms;
    struct {
        double power;   /* this term grows like n^power */
        double *values; /* (rows, rows2); NULL where spec->floats has them */
    } terms[8];
    double error;       /* exact: a bound on each value's error relative to sqrt(K_ii K_jj), to first order: roundings,
                           series and quadrature, and what the recursion makes of them. Where K_ii cancels to what may
                           be nothing, it is the largest K_jj of the same inputs that counts. Between two outputs
                           relative to the square roots of E f^2 E g^2 of its terms, which may cancel. Where samples
                           meet: relative to the largest value, without what later layers make of it. Sampled or by
                           points: standard error of the mean, relative Frobenius norm, and what else there is, times
                           Student's factor of few runs (ad_stated_factor: three of it hold), which directions after
                           batch normalisation are without: many entries err apart there, and 8 runs know their norm
                           (of 264 seeds, 4 to 12 rows, one was 2.0 off, half of them below 1); of a kernel that is
                           nothing beside K(x, x) and K(x2, x2), of other inputs or outputs, relative to their root */
    double *deviations; /* sampled or by points: the standard error of each value of the one term, from r independent
                           runs (`method` tells r); else NULL. A 95 % interval is the value plus and minus Student's
                           quantile of r - 1 degrees of freedom times it: 2.36 for 8 runs, 2.00 for 64. Where samples
                           end by a tolerance it is larger, so that the intervals hold nevertheless; by points it has
                           Student's factor of `error` in it already. What the finite samples add to the mean of all
                           runs is not in it: below half of one run's spread, measured, where layers do not meet; of
                           residual and recurrent networks of the order of the depth over the samples */
    double simple_rule_error; /* of a program that is not BP-like: how far the simple rule is off, relative; else 0 */
    char method[600];         /* how it was found, in words */
    char no_rule[512];        /* of a kernel that the auto engine sampled: what has no exact rule, with op and line;
                                 else empty */
} tp_kernel;

typedef enum { TP_ENGINE_AUTO, TP_ENGINE_EXACT, TP_ENGINE_SAMPLE } tp_engine;
typedef enum { TP_RULE_AUTO, TP_RULE_BP, TP_RULE_GENERAL } tp_rule_choice;
typedef struct {
    int threads;      /* 0: one */
    double tolerance; /* exact: of numerical expectations, relative to sqrt(E f^2 E g^2); 0: 1e-13. Sampled: more runs
                           (64 at most) until `error` is below; 0: `runs` alone. By points: more points, as far as some
                           seconds go, until it is below; 0: 2e-3 */
    tp_engine engine; /* auto: exact where there is a rule; else, where neither `samples` nor `runs` are given, by
                         points of groups of few Gaussians, where that is a way; else the executor on samples */
    tp_rule_choice rule; /* auto: the simple rule if tp_check finds the program BP-like, else the general one */
    size_t samples;      /* of the executor, a power of 2 is best; 0: 4096, or as many as the draws of two rows or the
                       tolerance need (directions after batch normalisation: 8192) */
    int runs;            /* independent repetitions, at least 2; 0: 8 (directions: as many as give 1e-3, 64 at most) */
    uint64_t seed;       /* run r draws by seed + 1 + r: seeds that are nearer than there are runs share draws */
    size_t output,
        output2;        /* the kernel is between these two of the outputs, which matters where they are not alike, as
                               one a step of a sequence; 0 and 0: the first one's own. Others are the exact engine's */
    const bool *params; /* of the NTK, by nn_param's number: the parameters whose parts of it count, if they learn (a
                           rate other than 0); NULL: all. The
                           kernels of parts that have each parameter once sum up to the whole. Where samples meet a
                           part is the executor's */
    void (*progress)(double share, void *context); /* is told now and then, by one thread at a time, which share of the
                                                      work is done, from 0 to 1; NULL: nobody is */
    void *context;
    float *floats; /* NULL, or the caller's memory for the values as floats, which the kernel then does not have
                      (terms[0].values is NULL): of kernels of one term, n^0. Row i begins at floats + i stride. Of a
                      ReLU network without data-dependent variances of 0 pairs are computed in floats, too, in a bit
                      more than half the time, else in doubles; by the recursion no other memory of the kernel's size
                      is taken, in the other ways (filters, the general rule, samples) its doubles meanwhile. */
    size_t stride; /* of floats: 0: as many as columns */
} tp_limit_spec;
/* The limit at x (rows, features) against x2 (rows2, features; NULL: x itself). Where samples meet, as in batch
 * normalisation, all of x is one batch and all of x2 another, normalised apart. The general rule (Tensor Programs III,
 * with Z dot) is exact where Z dot leaves functions of linear combinations of Gaussians, as an averaging readout and a
 * matrix beside its transpose mostly do; else it is the executor's, which gives one term, the leading power of n.
 * Of samples a kernel is given only once single networks were seen to converge to it (THEORY section 9, What
 * fluctuations decide). That look takes as many multiply-adds as the runs took, or 2^35 if that is more: what these do
 * not suffice to show is an error.
 * Smooth functions of what vanishes by a power of n in the trace, as tanh(n^-1/2 h), are taken by their first terms
 * (THEORY section 9, Functions of what vanishes), also in the kernel's second opinion. */
int tp_limit(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2, size_t rows2,
             const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error);
/* The limit tile by tile, into memory of the caller's that may be a mapped file, beside which only a tile is held: by
 * the exact engine, of networks whose samples do not meet, of one output, and of kernels of one term, n^0. A tile whose
 * numbers have the sum of its mark is kept: what another call, or another process that was killed, left there is not
 * found again. The marks of tiles under way are 0. */
typedef struct {
    uint64_t sum; /* of the tile's numbers; 0: it is not there */
    double error; /* of its values, as tp_kernel's */
} tp_tile_mark;
typedef struct {
    void *values;        /* (rows, rows2) doubles, or floats if */
    bool single;         /* ... this */
    bool training;       /* tp_training_kernel's kernel, else tp_limit's */
    size_t side;         /* of a tile, in rows and in columns; 0: 2048 */
    tp_tile_mark *marks; /* tp_tiles_count of them; 0 at first */
    size_t kept;         /* is told: how many tiles were there, of one set without those that mirror others */
    bool spread;         /* every rank makes this call, and finds tiles in turn; values and marks are rank 0's, and so
                            are kept and told; others' may be NULL (ranks.h) */
} tp_tiles;
size_t tp_tiles_count(size_t rows, size_t rows2, size_t side);
/* told: method, error and shape, no values. spec->floats is not read. After an error or a kill, the tiles that are
 * marked are whole. */
int tp_limit_tiles(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                   size_t rows2, const tp_limit_spec *spec, tp_tiles *tiles, tp_kernel *told, ad_error *error);
/* What tp_limit would take, where it would go by samples or by points. */
typedef struct {
    bool sampled;          /* else all below is 0: the exact way, or samples that meet */
    size_t samples, rows;  /* of each run; how many rows go together: tiles of two such blocks */
    int runs;              /* at least: a tolerance may ask for more, or for more samples */
    double bytes, seconds; /* of the run's vectors; with spec->threads threads */
    size_t points;         /* of each run, where it goes by points of few Gaussians; samples and rows are then 0 */
} tp_forecast;
/* Computes none of the kernel: reads the trace, solves the first row exactly, and times one run of few samples on a few
 * rows, or points on two rows. */
int tp_limit_forecast(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                      size_t rows2, const tp_limit_spec *spec, tp_forecast *forecast, ad_error *error);
/* Are the outputs exchangeable, so that each has the kernel of the first one, and any two that of the first two? Read
 * off the trace: false where something picks, joins or numbers outputs, as several heads or a readout a step do. Then
 * tp_limit_spec's output and output2 ask for each. */
bool tp_outputs_alike(const tp_program *program);
/* Is nothing between two outputs in the limit: does all that they are made of end in parameters of mean 0 that each
 * output has of its own, as a readout is and what all outputs share is not? Read off the trace, too: true is shown. */
bool tp_outputs_independent(const tp_program *program);
/* Is the mean of the outputs over all initial networks shown to be 0, which an ensemble's prediction starts from? Read
 * off the trace: every summand has a random parameter of mean 0 as a factor. Where it is not, `text` (of `size` bytes)
 * names the op that it is not shown of, as FILE:LINE: OP. */
bool tp_outputs_centred(const tp_program *program, char *text, size_t size);
/* The kernel that gradient descent with one rate moves the outputs by: the NTK over the parameters that learn, as
 * nn_training_kernel has it of a network: tp_limit's NTK where all rates are 0 or 1 (NTK and standard parametrization,
 * and what is frozen, where samples meet by the executor); others are an error. */
int tp_training_kernel(tp_program *program, const double *x, size_t rows, const double *x2, size_t rows2,
                       const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error);
/* The preactivations of the forward pass: vectors that are Gaussian in the limit, by the exact engine, and to which a
 * coordinatewise function is applied, or batch normalisation. Nodes of the trace in its order, the first `capacity`
 * of them; returns how many there are, -1 on error. */
int tp_preactivations(const tp_program *program, ad_var *vectors, int capacity, ad_error *error);
/* The covariance E Z Z' of a vector's coordinate between the inputs, (rows, rows2), by the exact engine; fixed axes of
 * the vector at their first index. */
int tp_gaussian_covariance(const tp_program *program, ad_var vector, const double *x, size_t rows, const double *x2,
                           size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error);
/* What the executor of n = infinity says of a kernel that was found. */
typedef struct {
    bool checked;
    int entries, runs; /* entries above the kernel's error, compared; independent runs of the executor, */
    size_t samples;    /* of so many samples each */
    double deviation;  /* the farthest that an entry is from the mean of the runs, in standard errors of that mean */
    double precision;  /* the largest of these standard errors, relative to sqrt(K(x, x) K(y, y)) */
    char text[700];    /* "checked against samples: ...", or "unchecked: ..." and why, one line */
} tp_opinion;
/* Holds a kernel that tp_limit found exactly, of these inputs and this spec, against the executor's samples (THEORY,
 * section 4, A second opinion): x (rows, features) and x2 (rows2, features; NULL: x), found (rows, rows2). Compared are
 * the first, the last and the most parallel rows, at most 10 entries; where samples meet, in their whole batch. It
 * takes about `seconds`, by which the samples are chosen, a power of 2 from 256 to 4096, and the runs, 64; where time
 * is short, the most parallel rows alone and 32, 16 or 8 runs. The draws depend on spec->seed and these numbers alone.
 *
 * An entry beyond Student's point at 1e-3 / entries is measured again on fresh draws, by 32 runs or more of four times
 * the samples and what they tend to, 2 K(S) - K(S/2), or as many, from 8 on, as there is time for: ten times `seconds`,
 * or 5 if that is more; where there is not, it is unchecked. One that is also beyond the point at 1e-6 / entries, after
 * what found->error allows, is an error that has both numbers: of right kernels, one in a million at most. Several
 * powers of n are summed at n = samples, as the executor has them: those below the leading one are seen as far as they
 * count there.
 *
 * 0: the kernel agrees, or it is unchecked: not enough time for 8 runs; a kernel of samples itself, between two
 * outputs, or by the simple rule on demand; a program that the executor has no rule for; samples that
 * spread too widely to tell anything, as gradients do where a small batch is normalised. -1 with an error: the kernel
 * and the samples disagree, and then opinion->checked is true; or the arguments are bad. */
int tp_second_opinion(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                      size_t rows2, const tp_limit_spec *spec, const tp_kernel *found, double seconds,
                      tp_opinion *opinion, ad_error *error);
/* The same of a kernel that tp_training_kernel found. */
int tp_training_second_opinion(tp_program *program, const double *x, size_t rows, const double *x2, size_t rows2,
                               const tp_limit_spec *spec, const tp_kernel *found, double seconds, tp_opinion *opinion,
                               ad_error *error);
void tp_kernel_free(tp_kernel *kernel);
/* The kernel's value at a width, all powers summed: (rows, rows2). */
void tp_kernel_at(const tp_kernel *kernel, double n, double *out);
/* True if every term has power 0. */
bool tp_kernel_converges(const tp_kernel *kernel);

LIMN_API_END
#endif
