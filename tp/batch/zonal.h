/* zonal.h: expectations over the sphere of functions of one projection each. */
#ifndef LIMN_TP_BATCH_ZONAL_H
#define LIMN_TP_BATCH_ZONAL_H
#include <stddef.h>

#include "autodiff/base.h"

/* A function over blocks of arguments. */
typedef struct {
    void (*eval)(const void *context, size_t n, const double *x, double *y);
    const void *context;
} tp_block_function;

typedef struct {
    const tp_block_function *f, *g; /* smooth, and analytic about the interval that the projections span */
    size_t dimensions, rows, rows2; /* dimensions: at least 3 */
    const double *a, *b;            /* (rows, dimensions), (rows2, dimensions) */
} tp_zonal_spec;
/* out (rows, rows2) = E f(<omega, a_i>) g(<omega, b_j>), omega uniform on the unit sphere. *left: the largest share of
 * E f^2 or E g^2 that the series leaves. */
int tp_zonal(const tp_zonal_spec *spec, double *out, double *left, ad_error *error);
#endif
