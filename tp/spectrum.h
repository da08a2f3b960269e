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
 * Threads. As tp.h has it: a program is only read, but for tp_spectrum_find, which adds the Jacobian to the net's graph
 * under its lock. */
#ifndef LIMN_TP_SPECTRUM_H
#define LIMN_TP_SPECTRUM_H
#include "tp/tp.h"

LIMN_API_BEGIN

enum { TP_SPECTRUM_MOMENTS = 32 };

typedef struct {
    double at, mass;
} tp_atom;

typedef struct {
    int n_moments;
    double moments[TP_SPECTRUM_MOMENTS]; /* m_1, m_2, ... */
    double errors[TP_SPECTRUM_MOMENTS];  /* a bound where they are exact, else a standard error */
    /* The density of what is no atom, at `points` values of log lambda that ascend; NULL without a chain. */
    size_t points;
    double *log_lambda;
    double *per_log;        /* lambda rho(lambda), the density of log lambda */
    double *below;          /* the mass of J J' below lambda, atoms included */
    double *weights;        /* sum weights per_log f(lambda) is the integral of rho f */
    double left_out;        /* mass below the first point that is left out */
    double log_support[2];  /* -infinity: 0 */
    int n_atoms;
    tp_atom *atoms;
    double largest, smallest; /* singular values; condition is infinite if the smallest is 0 */
    double condition;
    char method[400];
} tp_spectrum;
void tp_spectrum_free(tp_spectrum *spectrum);

LIMN_API_END
#endif
