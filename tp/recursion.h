/* recursion.h: the kernel's recursion: what one would derive by hand, as a graph of quantities over a pair of samples.
 *
 * A quantity is a number for every pair (sample i of the first inputs, sample j of the second). Covariances of G-vars,
 * expectations, and the kernels are quantities; equal ones have equal numbers, and each stands after what it needs. */
#ifndef LIMN_TP_RECURSION_H
#define LIMN_TP_RECURSION_H
#include "tp/coordinate.h"

typedef enum { TP_Q_NUMBER, TP_Q_GRAM, TP_Q_SUM, TP_Q_PRODUCT, TP_Q_EXPECT } tp_kind;
typedef struct {
    tp_kind kind;
    double c;             /* number: its value; sum: a constant */
    int a, b;             /* product: factors; expect: a is the covariance; gram: the data's nodes */
    int fn_a, fn_b;       /* expect: E fn_a(u) fn_b(v), u of sample i and v of sample j */
    int var_a, var_b;     /* expect: the variances, quantities at (i, i) and (j, j) */
    tp_point from_a, from_b; /* gram: the data's fixed axes */
    ad_axis axis;         /* gram: the axis that is summed */
    int n, unused;        /* sum: c + sum of parts[k].c * parts[k].q */
    struct {
        double c;
        int q, unused;
    } parts[];
} tp_quantity;

enum { TP_MAX_POWERS = 8 };
/* sum of n^power times a quantity */
typedef struct {
    int n, unused;
    struct {
        double power;
        int q, unused;
    } at[TP_MAX_POWERS];
} tp_series;

const tp_quantity *tp_quantity_at(const tp_algebra *, int quantity);
/* The kernels of the program: 0, or -1 with an error that names op, file and line. */
int tp_nngp_series(tp_algebra *, tp_series *series);
int tp_ntk_series(tp_algebra *, tp_series *series);
#endif
