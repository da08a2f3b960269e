/* taylor.c: the first coefficients of a coordinatewise function's series at 0, and functions that stand for what a
 * polynomial leaves out of one.
 *
 * A row of the op table tells dy/dx as an expression of x and y; with y(a) it gives one coefficient after the other of
 * the series at a,  y_(k+1) = [D(x, y)]_k / (k + 1),  where functions inside D are series of their own, at what their
 * argument is. A user's function gives its derivatives. */
#include "autodiff/plan/plan.h"
#include "tp/program/expansion.h"

#include <math.h>
#include <string.h>

/* sum of c[k] t^k, k < n */
typedef struct {
    int n;
    double c[TP_MOST_COEFFICIENTS];
} series;

static series of_row(ad_op op, double p, double at, int n);

static series constant(double c, int n)
{
    series y = { .n = n };
    y.c[0] = c;
    return y;
}

static series scaled(double c, series a)
{
    for (int k = 0; k < a.n; k++)
        a.c[k] *= c;
    return a;
}

static series plus(series a, double c, series b)
{
    for (int k = 0; k < a.n; k++)
        a.c[k] += c * b.c[k];
    return a;
}

static series times(series a, series b)
{
    series y = { .n = a.n };
    for (int i = 0; i < a.n; i++)
        for (int k = 0; i + k < a.n; k++)
            y.c[i + k] += a.c[i] * b.c[k];
    return y;
}

/* f of a series, by Horner's rule in what it has beyond its first number. */
static series function_of(ad_op op, double p, series a)
{
    series f = of_row(op, p, a.c[0], a.n), y = constant(f.c[a.n - 1], a.n);
    a.c[0] = 0;
    for (int k = a.n - 2; k >= 0; k--) {
        y = times(y, a);
        y.c[0] += f.c[k];
    }
    return y;
}

/* D of a row, of x and y of the same length. */
static series slope_of_row(ad_op op, double p, series x, series y)
{
    series s, t, u;
    switch (op) {
#define OF(OP, a) function_of(AD_##OP, 0, a)
#define OF_P(OP, a, parameter) function_of(AD_##OP, parameter, a)
#define PLUS(a, b) plus(a, 1, b)
#define MINUS(a, b) plus(a, -1, b)
#define TIMES(a, b) times(a, b)
#define SCALED(c, a) scaled(c, a)
#define NUMBER(c) constant(c, x.n)
#define ZERO constant(0, x.n)
#define AD_UNARY(NAME, name, formula, lo, hi, has_p, use, kinks, breaks, at_zero, parity, degree, domain, growth,      \
                 form, derivative)                                                                                     \
    case AD_##NAME:                                                                                                    \
        return derivative;
#define AD_WITHOUT_CUSTOM
#include "autodiff/ops.def"
    default:
        return constant(NAN, x.n);
    }
}

/* The series of a row at a point, of n coefficients. */
static series of_row(ad_op op, double p, double at, int n)
{
    series x = { .n = n, .c = { at, 1 } }, y = { .n = n };
    ad_loops_get(AD_DOUBLE)->op[op](1, y.c, &at, NULL, p);
    for (int k = 0; k + 1 < n; k++) {
        x.n = y.n = k + 1;
        y.c[k + 1] = slope_of_row(op, p, x, y).c[k] / (k + 1);
    }
    y.n = n;
    return y;
}

static bool has_kink_at_zero(const double *kinks, int n)
{
    bool has = false;
    for (int k = 0; k < n; k++)
        has = has || !(fabs(kinks[k]) > 0);
    return has;
}

/* One coefficient fewer than there are derivatives: the last one, which is continuous, bounds what is left. */
static int of_users_function(const ad_node *node, double *c)
{
    const ad_function *f = node->function;
    double zero = 0, factorial = 1, value;
    int n = 0;
    if (has_kink_at_zero(f->kinks, f->n_kinks))
        return 0;
    for (int order = node->order; order < f->count && f->derivatives[order]; order++) {
        f->derivatives[order](1, &zero, &value);
        if (!isfinite(value))
            break;
        c[n++] = value / factorial;
        factorial *= n;
    }
    return n > 0 ? n - 1 : 0;
}

int tp_taylor(const ad_node *node, double c[TP_MOST_COEFFICIENTS])
{
    const ad_op_facts *facts = ad_op_facts_of(node->op);
    if (node->op == AD_CUSTOM)
        return of_users_function(node, c);
    if (isnan(facts->at_zero))
        return 0;
    int n = !has_kink_at_zero(facts->kinks, facts->n_kinks) ? TP_MOST_COEFFICIENTS
            : facts->breaks == AD_CURVES                    ? 2
            : facts->breaks == AD_BENDS                     ? 1
                                                            : 0;
    series y = of_row(node->op, node->c, 0, n > 0 ? n : 1);
    for (int k = 0; k < n; k++) {
        if (!isfinite(y.c[k]))
            return k;
        c[k] = y.c[k];
    }
    return n;
}

/* ---- what a polynomial leaves out ---- */
typedef struct {
    ad_function function; /* first */
    int order;            /* the function is O(|x|^order) near 0, and its derivatives one less each */
} left_function;

static void nothing(size_t n, const double *x, double *y)
{
    (void)x;
    memset(y, 0, n * sizeof *y);
}

const ad_function *tp_left_function(ad_arena *arena, const char *name, int order)
{
    left_function *made = ad_arena_alloc(arena, 1, sizeof *made);
    if (!made)
        return NULL;
    made->function = (ad_function){ .name = name, .count = 4, .derivatives = { nothing, nothing, nothing, nothing } };
    made->order = order;
    return &made->function;
}

int tp_left_order(const ad_node *node)
{
    if (node->op != AD_CUSTOM || node->function->derivatives[0] != nothing)
        return -1;
    const left_function *left = (const left_function *)node->function;
    return node->order < left->order ? left->order - node->order : 0;
}

int tp_order_at_zero(const ad_node *node)
{
    double c[TP_MOST_COEFFICIENTS];
    int order = tp_left_order(node);
    if (order >= 0)
        return order;
    int n = tp_taylor(node, c);
    for (order = 0; order < n && !(fabs(c[order]) > 0);)
        order++;
    return order;
}
