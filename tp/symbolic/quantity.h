/* quantity.h: numbers for every pair (sample i of the first inputs, sample j of the second), as an interned graph.
 *
 * Covariances of G-vars, expectations and kernels are quantities. Equal ones have equal numbers, and each stands after
 * what it needs. A scalar of the program (a mean over the width, a softmax of such) belongs to one sample: it is a
 * quantity that is read at (i, i), for the sample on its side of a pair. */
#ifndef LIMN_TP_QUANTITY_H
#define LIMN_TP_QUANTITY_H
#include "tp/symbolic/symbolic.h"

typedef enum {
    TP_Q_NUMBER,   /* c */
    TP_Q_DATA,     /* one entry of data */
    TP_Q_GRAM,     /* the sum over an axis of two data's products */
    TP_Q_SUM,      /* c + sum of parts[k].c * parts[k].q */
    TP_Q_PRODUCT,  /* a b */
    TP_Q_FUNCTION, /* fn_a(a) */
    TP_Q_ALONG,    /* softmax, logsumexp, max or argmax of the parts; b: which entry of the result */
    TP_Q_FIRST,    /* a at (i, i) */
    TP_Q_SECOND,   /* a at (j, j) */
    TP_Q_EXPECT    /* E fn_a(u) fn_b(v), u of sample i and v of sample j */
} tp_kind;
typedef struct tp_quantity {
    tp_kind kind;
    int op; /* along */
    double c;
    int a, b;           /* expect: covariance of u and v at (i, j), and at (i, i); data, gram: nodes */
    int fn_a, fn_b;     /* expect, function */
    int var_a, var_b;   /* expect: variances, at (i, i) and (j, j) */
    int from_a, from_b; /* data, gram: points of fixed axes, by number */
    ad_axis axis;       /* gram: the axis that is summed */
    int n, unused;
    struct {
        double c;
        int q, unused;
    } parts[];
} tp_quantity;

/* Number 0 is the quantity 1: tp_quantities_begin makes it before all others. */
enum { TP_Q_ONE = 0 };
int tp_quantities_begin(tp_algebra *);
const tp_quantity *tp_quantity_at(const tp_algebra *, int quantity);
/* What follows returns a quantity, -1 with an error when memory is out. */
int tp_q_number(tp_algebra *, double c);
int tp_q_scaled(tp_algebra *, double c, int q);
int tp_q_plus(tp_algebra *, double ca, int a, double cb, int b);
/* The sum of c q over n parts. */
typedef struct {
    double c;
    int q;
} tp_q_part;
int tp_q_total(tp_algebra *, const tp_q_part *parts, int n);
int tp_q_product(tp_algebra *, int a, int b);
/* The product of scalars of one sample: whatever the order of its factors, it has one number. */
int tp_q_scalar_product(tp_algebra *, int a, int b);
int tp_q_function(tp_algebra *, int fn, int a);
int tp_q_along(tp_algebra *, int op, const int *parts, int n, int entry);
int tp_q_side(tp_algebra *, int scalar, tp_kind side); /* TP_Q_FIRST or TP_Q_SECOND */
int tp_q_data(tp_algebra *, int node, const tp_point *from);
int tp_q_gram(tp_algebra *, int a, const tp_point *from_a, int b, const tp_point *from_b, ad_axis axis);
int tp_q_expect(tp_algebra *, const tp_quantity *q);
/* q = *c times the quantity returned: numbers are *c times one. */
int tp_q_split(const tp_algebra *, int q, double *c);
bool tp_q_is_zero(const tp_algebra *, int q);
tp_quantity tp_q_blank(tp_kind kind);
#endif
