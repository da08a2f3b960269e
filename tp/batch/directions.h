/* directions.h: directions on a sphere, and what each counts for. */
#ifndef LIMN_TP_BATCH_DIRECTIONS_H
#define LIMN_TP_BATCH_DIRECTIONS_H
#include <stddef.h>

#include "autodiff/base.h"

/* Rows of x (n, k): the columns (k, n), which are quasi-random normal draws, each row over its length. share (n): 1 / n
 * each, or, in few dimensions, the nearest to that by which all even polynomials up to a degree of 4 or 6 have their
 * means over the sphere. Shares may be negative; their sum is 1. */
int tp_place_directions(size_t n, size_t k, const double *columns, double *x, double *share, ad_error *error);
#endif
