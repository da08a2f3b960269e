/* base.h: the inside of the ground: arrays that grow, means of runs, failures for the tests, BLAS's threads. */
#ifndef LIMN_AUTODIFF_BASE_BASE_H
#define LIMN_AUTODIFF_BASE_BASE_H
#include "autodiff/base.h"

typedef enum { AD_HOOK_ALLOCATION, AD_HOOK_WRITE, AD_HOOK_READ, AD_HOOKS } ad_hook;
/* Counts a hook down; true on the call that must fail. */
bool ad_hook_strikes(ad_hook hook);

/* false with an error where what a function takes is missing, as of a call that failed before. */
bool ad_given(const void *what, const char *name, ad_error *error);

/* Room for one more element in an array of `used`: doubles one that is full, from 16 on; false when memory is out, and
 * then the array is as it was. An arena keeps what it outgrew; without one: ad_alloc, ad_free. New elements are 0. */
bool ad_grow(void **array, int used, int *capacity, size_t size, const char *what, ad_error *error);
bool ad_arena_grow(ad_arena *arena, void **array, int used, int *capacity, size_t size);

/* Run number `run`, from 1 on, its values times scale: into the means, and into the sums of squares about them (NULL:
 * into none), both 0 before the first. */
void ad_add_run(const double *values, double scale, size_t count, int run, double *mean, double *squares);
/* The standard error of the means after so many runs, relative to them (Frobenius norms). */
double ad_runs_error(const double *mean, const double *squares, size_t count, int runs);
/* After the last of at least 2 runs the sums of squares become the standard error of each mean. */
void ad_standard_errors(double *squares, size_t count, int runs);
/* The factor of standard errors where runs end once these are small, as they happen to be: Student's intervals of what
 * they then are hold less. 1 where the number of runs is said before. */
double ad_stopping_factor(bool stops);

/* The point below which the normal law has p, from 1e-30 to 1/2, by Halley's steps from a point near it, or from 0. */
double ad_normal_quantile(double p, double near);

/* BLAS, and OpenMP where no number is said, keep to so many threads (0: one) in the calls of this thread until
 * ad_blas_end, which takes what begin returned. */
int ad_blas_begin(int threads);
void ad_blas_end(int before);
#endif
