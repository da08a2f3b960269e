/* chebyshev.h: `width` functions of a variance q in [low, high], interpolated in log q. */
#ifndef LIMN_TP_GAUSS_CHEBYSHEV_H
#define LIMN_TP_GAUSS_CHEBYSHEV_H
#include "autodiff/autodiff.h"

#include <stddef.h>

typedef struct {
    double low, high;
    size_t n, width;
    double *coefficients; /* (width, n) of Chebyshev's polynomials */
    double last;          /* the largest of the last two degrees: what is left out is of their size */
} tp_chebyshev;

/* How many nodes functions that are analytic for |arg q| < pi need for all digits; 0 for more than it pays. */
size_t tp_chebyshev_nodes(double low, double high);
void tp_chebyshev_at(double low, double high, size_t n, double *q); /* the nodes */
/* From values (n, width) at the nodes; 0, or -1 with an error. tp_chebyshev_free frees it. */
int tp_chebyshev_new(tp_chebyshev *t, double low, double high, size_t n, size_t width, const double *values,
                     ad_error *error);
/* out (width, stride): the first so many functions at q (count), and 0 beyond it. */
int tp_chebyshev_get(const tp_chebyshev *t, size_t width, size_t count, const double *q, size_t stride, double *out,
                     ad_error *error);
void tp_chebyshev_free(tp_chebyshev *t);
#endif
