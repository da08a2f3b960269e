/* recursion.h: the kernel's recursion: what one would derive by hand, as a graph of quantities over a pair of
 * samples. */
#ifndef LIMN_TP_RECURSION_H
#define LIMN_TP_RECURSION_H
#include "tp/symbolic/quantity.h"

enum { TP_MAX_POWERS = 8 };
/* sum of n^power times a quantity */
typedef struct {
    int n, unused;
    struct {
        double power;
        int q, unused;
    } at[TP_MAX_POWERS];
} tp_series;

/* E a b of two coordinates, by powers of n: a of sample i and b of sample j, or both of one sample (alone), for
 * quantities that are only read at (i, i). */
int tp_expectation(tp_algebra *, int a, int b, bool alone, tp_series *series);
int tp_lin_covariance(tp_algebra *, int a, int b, bool alone);
/* Are two lins dependent? 1, 0, or -1 with an error. */
int tp_lins_related(tp_algebra *, int a, int b, bool alone);
int tp_pair_expectation(tp_algebra *, tp_factor f, tp_factor g, bool alone);
/* The kernels of the program: 0, or -1 with an error that names op, file and line. */
int tp_nngp_series(tp_algebra *, tp_series *series);
/* *folded (may be NULL: no) asks for a series whose kernel is Theta(i, j) = (Q(i, j) + Q(j, i)) / 2, Q being the
 * series, with half the quantities, and says whether it is one. It is for one set of inputs and one output. */
int tp_ntk_series(tp_algebra *, tp_series *series, bool *folded);
#endif
