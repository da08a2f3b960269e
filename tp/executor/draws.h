/* draws.h: the inside of draws: Sobol's points, and orthonormal rows. */
#ifndef LIMN_TP_EXECUTOR_DRAWS_H
#define LIMN_TP_EXECUTOR_DRAWS_H
#include "tp/executor/executor.h"

/* The first `size` points of the next dimension, as whole numbers of `bits` bits; all of 2^bits are a permutation. */
void tp_sobol_next(tp_sobol *sobol, size_t size, uint32_t *points);
/* Room for `more` rows, whose address it returns; NULL without memory. */
double *tp_rows_grow(tp_rows *rows, int more, ad_error *error);
double *tp_row(const tp_rows *rows, int k);
/* Gram-Schmidt, in panels, each projection twice but where the first leaves much: the directions of x that are new,
 * beyond `minimum` of the length of their row, become rows of b. c (count, stride) receives the coefficients of x on
 * b. x is used up, and may be b's tail. */
int tp_orthonormalise(int count, double *x, tp_rows *b, double weight, double minimum, double *c, int stride,
                      ad_error *error);
/* What rows from number `first` on have beyond the basis joins it. */
int tp_space_keep(tp_space *space, const tp_rows *rows, int first, ad_error *error);
/* A space's draws: those so far, and which come next. */
int tp_space_state(tp_space *space, tp_state *state, int number, ad_error *error);
#endif
