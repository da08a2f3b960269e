/* family_functions.c: univariate functions as trees: sums, products, derivatives, degrees of homogeneity. */
#include "tp/batch/family_inside.h"

#include <math.h>

int tp_fn_make(tp_families *f, int op, double p, int a, int b)
{
    int id = a < 0 || b < 0 ? -1 : tp_fn_intern(&f->algebra, (tp_fn){ .op = op, .p = p, .a = a, .b = b });
    return id < 0 ? tp_family_no_memory(f) : id;
}

int tp_fn_custom(tp_families *f, const ad_function *function, int order, int a)
{
    int id = tp_fn_intern(&f->algebra, (tp_fn){ .op = AD_CUSTOM, .order = order, .a = a, .function = function });
    return id < 0 ? tp_family_no_memory(f) : id;
}

int tp_fn_number(tp_families *f, double value)
{
    return tp_fn_make(f, TP_NUMBER, value, 0, 0);
}

bool tp_fn_is_number(const tp_families *f, int fn, double *value)
{
    const tp_fn *at = tp_fn_at(&f->algebra, fn);
    *value = at->p;
    return at->op == TP_NUMBER;
}

int tp_fn_plus(tp_families *f, int a, int b)
{
    double x, y;
    if (a < 0 || b < 0)
        return -1;
    bool first = tp_fn_is_number(f, a, &x), second = tp_fn_is_number(f, b, &y);
    if (first && second)
        return tp_fn_number(f, x + y);
    if (first && !(fabs(x) > 0))
        return b;
    return second && !(fabs(y) > 0) ? a : tp_fn_make(f, TP_PLUS, 0, a, b);
}

int tp_fn_times(tp_families *f, int a, int b)
{
    double x, y;
    if (a < 0 || b < 0)
        return -1;
    bool first = tp_fn_is_number(f, a, &x), second = tp_fn_is_number(f, b, &y);
    if (first && second)
        return tp_fn_number(f, x * y);
    if (first && !(fabs(x - 1) > 0))
        return b;
    if (second && !(fabs(y - 1) > 0))
        return a;
    if ((first && !(fabs(x) > 0)) || (second && !(fabs(y) > 0)))
        return tp_fn_number(f, 0);
    if (a == b)
        return tp_fn_make(f, AD_SQUARE, 0, a, 0);
    return second ? tp_fn_make(f, TP_TIMES, 0, b, a) : tp_fn_make(f, TP_TIMES, 0, a, b);
}

int tp_fn_scaled(tp_families *f, double c, int a)
{
    return tp_fn_times(f, tp_fn_number(f, c), a);
}

/* A row of the op table; a sign is a factor. */
static int of_row(tp_families *f, ad_op op, double p, int a)
{
    return op == AD_NEG ? tp_fn_scaled(f, -1, a) : tp_fn_make(f, (int)op, p, a, 0);
}

/* The derivative of a row of the op table whose argument may be anything real. */
static int table_derivative(tp_families *f, const tp_fn *row, int y)
{
    int x = row->a, s, t, u;
    double p = row->p;
    switch (row->op) {
#define OF(OP, a) of_row(f, AD_##OP, 0, a)
#define OF_P(OP, a, parameter) of_row(f, AD_##OP, parameter, a)
#define PLUS(a, b) tp_fn_plus(f, a, b)
#define MINUS(a, b) tp_fn_plus(f, a, tp_fn_scaled(f, -1, b))
#define TIMES(a, b) tp_fn_times(f, a, b)
#define SCALED(c, a) tp_fn_scaled(f, c, a)
#define NUMBER(c) tp_fn_number(f, c)
#define ZERO tp_fn_number(f, 0)
#define AD_UNARY(NAME, name, formula, lo, hi, has_p, use, kinks, breaks, at_zero, parity, degree, domain, growth, form, \
                 derivative)                                                                                           \
    case AD_##NAME:                                                                                                    \
        return derivative;
#define AD_WITHOUT_CUSTOM
#include "autodiff/ops.def"
    default:
        return -1;
    }
}

int tp_fn_row_derivative(tp_families *f, const tp_fn *row, int y)
{
    const ad_op_facts *facts = row->op < AD_CUSTOM ? ad_op_facts_of((ad_op)row->op) : NULL;
    if (facts && facts->domain != AD_POSITIVES && facts->domain != AD_NONNEGATIVES)
        return table_derivative(f, row, y);
    if (row->op == AD_CUSTOM && row->order + 1 < row->function->count)
        return tp_fn_custom(f, row->function, row->order + 1, row->a);
    f->refused = true;
    return ad_fail(f->algebra.error, "the derivative of %s has no exact rule after batch normalisation",
                   row->op == AD_CUSTOM ? row->function->name : ad_op_name((ad_op)row->op));
}

int tp_fn_derivative(tp_families *f, int fn)
{
    tp_fn at = *tp_fn_at(&f->algebra, fn);
    int a, b;
    switch (at.op) {
    case TP_VARIABLE:
        return tp_fn_number(f, 1);
    case TP_NUMBER:
        return tp_fn_number(f, 0);
    case TP_PLUS:
        a = tp_fn_derivative(f, at.a);
        return a < 0 ? -1 : tp_fn_plus(f, a, tp_fn_derivative(f, at.b));
    case TP_TIMES:
        a = tp_fn_derivative(f, at.a);
        b = a < 0 ? -1 : tp_fn_derivative(f, at.b);
        return b < 0 ? -1 : tp_fn_plus(f, tp_fn_times(f, a, at.b), tp_fn_times(f, at.a, b));
    default:
        a = tp_fn_derivative(f, at.a);
        return a < 0 ? -1 : tp_fn_times(f, tp_fn_row_derivative(f, &at, fn), a);
    }
}

double tp_fn_degree(const tp_families *f, int fn)
{
    const tp_fn *at = tp_fn_at(&f->algebra, fn);
    double a, b;
    switch (at->op) {
    case TP_VARIABLE:
        return 1;
    case TP_NUMBER:
        return 0;
    case TP_PLUS:
        a = tp_fn_degree(f, at->a);
        b = tp_fn_degree(f, at->b);
        return a >= b && a <= b ? a : (double)NAN;
    case TP_TIMES:
        return tp_fn_degree(f, at->a) + tp_fn_degree(f, at->b);
    default:
        return at->op < AD_CUSTOM ? ad_op_degree((ad_op)at->op, at->p) * tp_fn_degree(f, at->a) : (double)NAN;
    }
}
