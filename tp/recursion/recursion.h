/* recursion.h: the kernel's recursion: what one would derive by hand, as a graph of quantities over a pair of samples,
 * and its values. */
#ifndef LIMN_TP_RECURSION_RECURSION_H
#define LIMN_TP_RECURSION_RECURSION_H
#include "tp/symbolic/symbolic.h"

/* The kernels of the program: 0, or -1 with an error that names op, file and line. */
int tp_nngp_series(tp_algebra *, tp_series *series);
/* *folded (may be NULL: no) asks for a series whose kernel is Theta(i, j) = (Q(i, j) + Q(j, i)) / 2, Q being the
 * series, with half the quantities, and says whether it is one. It is for one set of inputs and one output. */
int tp_ntk_series(tp_algebra *, tp_series *series, bool *folded);
/* -1 with an error where a kernel of filters is of more pairs of positions than there is room for. */
int tp_check_positions(tp_algebra *, tp_kernel_kind);
/* The limit by exact expectations: 0; TP_NO_RULE where there is none for something in the program, TP_NOT_BP where the
 * rules are the simple ones and a gradient meets the forward pass, TP_INFINITE where an expectation is found to be
 * infinite, TP_TOO_LARGE where filters have too many positions, -1 on other errors. A kernel that failed keeps what was
 * made of it, for its owner to free. *fragile (may be NULL): whether the kernel may be made of the inputs' roundings
 * where its bound does not show digits. */
enum { TP_NO_RULE = -2, TP_NOT_BP = -3, TP_INFINITE = -4, TP_GROWS = -5, TP_TOO_LARGE = -6 };
int tp_limit_exact(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                   const tp_limit_spec *, tp_rules, tp_kernel *, bool *fragile, ad_error *error);
/* Points of the normal law in as many dimensions as groups have variables: in each of independent runs (dims, count) of
 * them, which stand for their negatives, too. */
typedef struct {
    int runs, dims;
    size_t count;
    double *z; /* (runs, dims, count) */
} tp_group_points;
/* The limit by expectations of groups of few correlated Gaussians, each a mean over a run's points of what it is at its
 * covariances, which that run found: values (runs, rows, rows2), and *power, that of n. Where expectations are closed
 * forms these are taken. The simple rules must hold. 0; TP_NO_RULE where a group has too many variables, where there is
 * no rule, or more than `most` evaluations of functions are needed; -1 on other errors. The cost is told where there is
 * a rule, and points->z is read only if `most` allows it. */
typedef struct {
    double work, seconds; /* evaluations of functions, and how long they took */
} tp_grouped_cost;
int tp_limit_grouped(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                     const tp_limit_spec *, const tp_group_points *, double most, tp_grouped_cost *cost, double *values,
                     double *power, ad_error *error);
/* -1 where the program's kernel is found to grow, or to be random, in the limit; TP_GROWS where a function is taken of
 * what grows. */
int tp_check_limit(const tp_program *, tp_kernel_kind, ad_error *error);
#endif
