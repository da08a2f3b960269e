/* family_functions.c: univariate functions as trees: sums, products, derivatives, and what is one power above 0 and one
 * below. */
#include "tp/symbolic/symbolic.h"

#include <math.h>

int tp_fn_make(tp_algebra *algebra, int op, double p, int a, int b)
{
    int id = a < 0 || b < 0 ? -1 : tp_fn_intern(algebra, (tp_fn){ .op = op, .p = p, .a = a, .b = b });
    return id < 0 ? tp_lacks_memory(algebra) : id;
}

int tp_fn_custom(tp_algebra *algebra, const ad_function *function, int order, int a)
{
    int id = tp_fn_intern(algebra, (tp_fn){ .op = AD_CUSTOM, .order = order, .a = a, .function = function });
    return id < 0 ? tp_lacks_memory(algebra) : id;
}

int tp_fn_number(tp_algebra *algebra, double value)
{
    return tp_fn_make(algebra, TP_NUMBER, value, 0, 0);
}

bool tp_fn_is_number(const tp_algebra *algebra, int fn, double *value)
{
    const tp_fn *at = tp_fn_at(algebra, fn);
    *value = at->p;
    return at->op == TP_NUMBER;
}

int tp_fn_plus(tp_algebra *algebra, int a, int b)
{
    double x, y;
    if (a < 0 || b < 0)
        return -1;
    bool first = tp_fn_is_number(algebra, a, &x), second = tp_fn_is_number(algebra, b, &y);
    if (first && second)
        return tp_fn_number(algebra, x + y);
    if (first && !(fabs(x) > 0))
        return b;
    return second && !(fabs(y) > 0) ? a : tp_fn_make(algebra, TP_PLUS, 0, a, b);
}

int tp_fn_times(tp_algebra *algebra, int a, int b)
{
    double x, y;
    if (a < 0 || b < 0)
        return -1;
    bool first = tp_fn_is_number(algebra, a, &x), second = tp_fn_is_number(algebra, b, &y);
    if (first && second)
        return tp_fn_number(algebra, x * y);
    if (first && !(fabs(x - 1) > 0))
        return b;
    if (second && !(fabs(y - 1) > 0))
        return a;
    if ((first && !(fabs(x) > 0)) || (second && !(fabs(y) > 0)))
        return tp_fn_number(algebra, 0);
    if (a == b)
        return tp_fn_make(algebra, AD_SQUARE, 0, a, 0);
    return second ? tp_fn_make(algebra, TP_TIMES, 0, b, a) : tp_fn_make(algebra, TP_TIMES, 0, a, b);
}

int tp_fn_scaled(tp_algebra *algebra, double c, int a)
{
    return tp_fn_times(algebra, tp_fn_number(algebra, c), a);
}

/* A row of the op table; a sign is a factor. */
static int of_row(tp_algebra *algebra, ad_op op, double p, int a)
{
    return op == AD_NEG ? tp_fn_scaled(algebra, -1, a) : tp_fn_make(algebra, (int)op, p, a, 0);
}

/* The derivative of a row of the op table whose argument may be anything real. */
static int table_derivative(tp_algebra *algebra, const tp_fn *row, int y)
{
    int x = row->a, s, t, u;
    double p = row->p;
    switch (row->op) {
#define OF(OP, a) of_row(algebra, AD_##OP, 0, a)
#define OF_P(OP, a, parameter) of_row(algebra, AD_##OP, parameter, a)
#define PLUS(a, b) tp_fn_plus(algebra, a, b)
#define MINUS(a, b) tp_fn_plus(algebra, a, tp_fn_scaled(algebra, -1, b))
#define TIMES(a, b) tp_fn_times(algebra, a, b)
#define SCALED(c, a) tp_fn_scaled(algebra, c, a)
#define NUMBER(c) tp_fn_number(algebra, c)
#define ZERO tp_fn_number(algebra, 0)
#define AD_UNARY(NAME, name, formula, lo, hi, has_p, use, kinks, breaks, at_zero, parity, degree, domain, growth,      \
                 form, derivative)                                                                                     \
    case AD_##NAME:                                                                                                    \
        return derivative;
#define AD_WITHOUT_CUSTOM
#include "autodiff/ops.def"
    default:
        return -1;
    }
}

int tp_fn_row_derivative(tp_algebra *algebra, const tp_fn *row, int y)
{
    const ad_op_facts *facts = row->op < AD_CUSTOM ? ad_op_facts_of((ad_op)row->op) : NULL;
    if (facts && facts->domain != AD_POSITIVES && facts->domain != AD_NONNEGATIVES)
        return table_derivative(algebra, row, y);
    if (row->op == AD_CUSTOM && row->order + 1 < row->function->count)
        return tp_fn_custom(algebra, row->function, row->order + 1, row->a);
    algebra->refused = true;
    return ad_fail(algebra->error, "the derivative of %s has no exact rule after batch normalisation",
                   row->op == AD_CUSTOM ? row->function->name : ad_op_name((ad_op)row->op));
}

/* The derivative of a part, y itself, da and db those of its arguments. */
static int part_derivative(tp_algebra *algebra, int y, int da, int db)
{
    tp_fn at = *tp_fn_at(algebra, y);
    switch (at.op) {
    case TP_VARIABLE:
        return tp_fn_number(algebra, 1);
    case TP_NUMBER:
    case TP_SCALAR:
        return tp_fn_number(algebra, 0);
    case TP_PLUS:
        return tp_fn_plus(algebra, da, db);
    case TP_TIMES:
        return tp_fn_plus(algebra, tp_fn_times(algebra, da, at.b), tp_fn_times(algebra, at.a, db));
    default:
        return tp_fn_times(algebra, tp_fn_row_derivative(algebra, &at, y), da);
    }
}

int tp_fn_derivative(tp_algebra *algebra, int fn)
{
    const tp_fn_parts *p = tp_fn_parts_of(algebra, fn);
    int *of = p ? ad_arena_alloc(algebra->arena, (size_t)p->n, sizeof *of) : NULL, last = -1;
    if (!of)
        tp_lacks_memory(algebra);
    for (int k = 0; of && k < p->n; k++) {
        int da = p->at[k].a < 0 ? -1 : of[p->at[k].a], db = p->at[k].b < 0 ? -1 : of[p->at[k].b];
        if ((of[k] = last = part_derivative(algebra, p->at[k].id, da, db)) < 0)
            break;
    }
    tp_fn_parts_end(algebra, fn, p);
    return last;
}

/* c x^p, p >= 0; p = -1: no such function. */
typedef struct {
    double c;
    int p;
} monomial;

static monomial part_monomial(const tp_fn *f, monomial a, monomial b)
{
    const monomial none = { 0, -1 };
    bool whole = f->op == AD_POWER && f->p > 0 && f->p <= TP_MAX_POWER && !(fabs(f->p - floor(f->p)) > 0);
    if (f->op == TP_VARIABLE)
        return (monomial){ 1, 1 };
    if (f->op == TP_NUMBER)
        return (monomial){ f->p, 0 };
    if (f->op == TP_TIMES && a.p >= 0 && b.p >= 0)
        return (monomial){ a.c * b.c, a.p + b.p };
    if (f->op == AD_SQUARE && a.p >= 0)
        return (monomial){ a.c * a.c, 2 * a.p };
    return whole && a.p >= 0 ? (monomial){ pow(a.c, f->p), (int)f->p * a.p } : none;
}

int tp_fn_monomial(const tp_algebra *algebra, int fn, double *c)
{
    const tp_fn_parts *p = tp_fn_parts_of(algebra, fn);
    monomial *of = p ? ad_reserve((size_t)p->n, sizeof *of, "powers", NULL) : NULL, last = { 0, -1 };
    for (int k = 0; of && k < p->n; k++) {
        monomial a = p->at[k].a < 0 ? last : of[p->at[k].a], b = p->at[k].b < 0 ? last : of[p->at[k].b];
        last = of[k] = part_monomial(tp_fn_at(algebra, p->at[k].id), a, b);
    }
    if (!of)
        *algebra->starved = true;
    ad_free(of);
    tp_fn_parts_end(algebra, fn, p);
    *c = last.c;
    return last.p > 0 && last.p <= TP_MAX_POWER ? last.p : 0;
}

/* Jumps neither where its table says so nor at a pole, and has a derivative; a user's kinks may be of any kind. */
static bool part_continuous(const tp_algebra *algebra, int part)
{
    const tp_fn *f = tp_fn_at(algebra, part);
    const ad_op_facts *facts = f->op < AD_CUSTOM ? ad_op_facts_of((ad_op)f->op) : NULL;
    if (f->op == AD_CUSTOM)
        return f->function->n_kinks == 0 && f->order + 1 < f->function->count;
    if (f->op == TP_INVERSE)
        return false;
    if (f->op == AD_POWER)
        return f->p >= 0 && !(fabs(f->p - floor(f->p)) > 0);
    return !facts || (facts->breaks != AD_JUMPS && facts->domain == AD_REALS);
}

bool tp_fn_continuous(const tp_algebra *algebra, int fn)
{
    const tp_fn_parts *p = tp_fn_parts_of(algebra, fn);
    bool continuous = p != NULL;
    for (int k = 0; p && k < p->n && continuous; k++)
        continuous = part_continuous(algebra, p->at[k].id);
    tp_fn_parts_end(algebra, fn, p);
    return continuous;
}

bool tp_fn_halves(const tp_algebra *algebra, int fn, tp_halves *h)
{
    static const double at[3] = { -1, 0, 1 };
    double y[3], degree = tp_fn_degree(algebra, fn);
    if (!(degree >= 0 && degree <= 0) && !(degree >= 1 && degree <= 1))
        return false;
    tp_fn_eval(algebra, fn, NULL, 3, at, y);
    *h = (tp_halves){ .degree = (int)degree, .left = y[0], .zero = y[1], .right = y[2] };
    return isfinite(y[0]) && isfinite(y[1]) && isfinite(y[2]);
}

int tp_fn_of_halves(tp_algebra *algebra, const tp_halves *h)
{
    double slope = h->degree ? -h->left : h->left;
    bool none = !(fabs(slope) > 0), same = !(fabs(slope - 1) > 0), opposite = !(fabs(slope + 1) > 0);
    if (fabs(h->right - 1) > 0)
        return -1;
    if (h->degree && same)
        return algebra->variable;
    if (h->degree || !(fabs(h->zero - h->left) > 0)) {
        int op = h->degree ? none ? AD_RELU : opposite ? AD_ABS : AD_LEAKY : none ? AD_STEP : AD_LEAKY_STEP;
        return tp_fn_make(algebra, op, op == AD_LEAKY || op == AD_LEAKY_STEP ? slope : 0, algebra->variable, 0);
    }
    return opposite && !(fabs(h->zero) > 0) ? tp_fn_make(algebra, AD_SIGN, 0, algebra->variable, 0) : -1;
}
