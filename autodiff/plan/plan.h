/* plan.h: what this room shows to others: the inner loops of a run, for float and double, in the best instruction set
 * of this machine.
 *
 * Every function is given a count and untyped pointers to elements of its type. The last, partial vector of a loop goes
 * through the same instructions as the others, so that a result does not depend on its position. y may equal a or b. */
#ifndef LIMN_AUTODIFF_PLAN_PLAN_H
#define LIMN_AUTODIFF_PLAN_PLAN_H
#include "autodiff/autodiff.h"
#include "autodiff/base/base.h"

/* y[i] = op(a[i], b[i]); p is the parameter of leaky, power and scale. */
typedef void ad_loop(size_t n, void *y, const void *a, const void *b, double p);

typedef struct {
    ad_loop *op[AD_N_OPS]; /* the coordinatewise ops but custom, and scale */
    void (*to_double)(size_t n, double *y, const void *x);
    void (*from_double)(size_t n, void *y, const double *x, double factor);
    void (*copy)(size_t n, void *y, ptrdiff_t step_y, const void *x, ptrdiff_t step_x);
    double (*sum)(size_t n, const void *x, ptrdiff_t step_x);
    double (*dot)(size_t n, const void *a, ptrdiff_t step_a, const void *b, ptrdiff_t step_b);
    void (*accumulate)(size_t n, double *sums, const void *x, ptrdiff_t step_x); /* sums += x */
    /* y = factor times the sum of `rows` rows of n neighbours, which lie at x + at[k] */
    void (*add_rows)(size_t n, void *y, const void *x, size_t rows, const ptrdiff_t *at, double factor);
    /* y += p a b */
    void (*multiply_add)(size_t n, void *y, ptrdiff_t step_y, const void *a, ptrdiff_t step_a, const void *b,
                         ptrdiff_t step_b, double p);
    /* One contiguous row: softmax and argmax write n elements, logsumexp and max write one. */
    void (*softmax)(size_t n, void *y, const void *x);
    void (*argmax)(size_t n, void *y, const void *x);
    void (*logsumexp)(size_t n, void *y, const void *x);
    void (*max)(size_t n, void *y, const void *x);
    /* The same of n such rows at once, whose entries k are the n neighbours at x + k step. */
    void (*max_along)(size_t n, size_t length, void *y, const void *x, ptrdiff_t step);
    void (*argmax_along)(size_t n, size_t length, void *y, ptrdiff_t step_y, const void *x, ptrdiff_t step);
} ad_loops;

const ad_loops *ad_loops_get(ad_type type);
const char *ad_loops_name(void); /* the instruction set in use */

/* One matrix product, row-major: c (m, n) = alpha op(a) op(b) + keep c. */
typedef struct {
    const ad_loops *loops;
    ad_type type;
    bool trans_a, trans_b;
    int m, n, k, lda, ldb, ldc;
    double alpha, keep;
    char *c;
    const char *a, *b;
} ad_gemm;

/* The product, without packing where that is faster; on as many threads as BLAS has. */
void ad_gemm_run(const ad_gemm *product);
#endif
