/* sampled.h: limits by the executor's samples, of a program whose sites are those that count. */
#ifndef LIMN_TP_SAMPLED_H
#define LIMN_TP_SAMPLED_H
#include "tp/tp.h"

/* The mean of independent runs, its standard errors, and the relative size (Frobenius) of these. simple: tp_check finds
 * the program BP-like, so that the executor may take the simple rules. */
int tp_limit_sampled(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                     const tp_limit_spec *, bool simple, tp_kernel *kernel, ad_error *error);
/* By groups of few correlated Gaussians, each at points of the normal law, else exactly: the mean of runs, its standard
 * errors, their relative size. TP_NO_RULE where that is no way, or a longer one; -1 on other errors. */
int tp_limit_by_points(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                       const tp_limit_spec *, tp_kernel *kernel, ad_error *error);
/* What that would take, by two rows; TP_NO_RULE as there. */
int tp_forecast_points(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                       const tp_limit_spec *, tp_forecast *forecast, ad_error *error);
/* What samples would take: a run on a few rows and few samples is timed. */
int tp_forecast_sampled(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2,
                        size_t rows2, const tp_limit_spec *, bool simple, tp_forecast *forecast, ad_error *error);
/* That of x (rows, features) whose norm is the largest. */
const double *tp_largest_row(const tp_program *, const double *x, size_t rows);
/* -1 with an error that names op, file and line where so many samples are too few to see what the mean of a function's
 * square, or of its derivative's for the NTK, is made of, at one of the preactivations (tp_preactivations) of these
 * rows; where its variance cannot be found it is not asked. *hidden: what they may miss between two of them, relative
 * to that mean, summed over all functions. */
int tp_enough_samples(const tp_program *, tp_kernel_kind, size_t samples, int threads, const double *x, size_t rows,
                      double *hidden, ad_error *error);
#endif
