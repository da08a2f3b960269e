/* univariate.c: the functions whose expectations are taken: rows of the op table, forms, and users' functions. */
#include "autodiff/plan/plan.h"
#include "tp/gauss/gauss.h"

#include <math.h>

static const double origin[1] = { 0 };

static const tp_form forms[] = {
#define AD_UNARY(NAME, name, formula, lo, hi, p, use, kinks, breaks, at_zero, parity, degree, domain, growth, form,    \
                 derivative)                                                                                           \
    [AD_##NAME] = TP_##form,
#include "autodiff/ops.def"
};

static void eval_one(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    (void)x;
    for (size_t i = 0; i < n; i++)
        y[i] = 1;
}

/* context: the op's entry in the table of loops. */
static void eval_op(const tp_univariate *u, size_t n, const double *x, double *y)
{
    ad_loop *const *loop = u->context;
    (*loop)(n, y, x, x, u->parameter);
}

static void eval_power(const tp_univariate *u, size_t n, const double *x, double *y)
{
    int power = (int)u->parameter;
    for (size_t i = 0; i < n; i++) {
        double value = 1;
        for (int k = 0; k < power; k++)
            value *= x[i];
        y[i] = value;
    }
}

/* context: the user's function; parameter: which derivative. */
static void eval_function(const tp_univariate *u, size_t n, const double *x, double *y)
{
    const ad_function *function = u->context;
    function->derivatives[(int)u->parameter](n, x, y);
}

static bool whole_power(double power)
{
    return power >= 0 && power <= TP_MAX_POWER && !(fabs(power - floor(power)) > 0);
}

tp_univariate tp_univariate_op(ad_op op, double parameter)
{
    tp_univariate u = { .form = TP_NUMERIC, .parameter = parameter };
    if ((unsigned)op >= AD_N_OPS || !ad_is_unary(op) || op == AD_CUSTOM)
        return u;
    const ad_op_facts *facts = ad_op_facts_of(op);
    u.form = forms[op];
    u.parity = facts->parity;
    u.eval = eval_op;
    u.context = &ad_loops_get(AD_DOUBLE)->op[op];
    u.kinks = facts->kinks;
    u.n_kinks = facts->n_kinks;
    if (op == AD_POWER && whole_power(parameter)) {
        u.eval = eval_power;
        u.parity = (int)parameter % 2 ? -1 : 1;
    } else if (op == AD_POWER) {
        u.form = TP_NUMERIC;
        u.kinks = origin;
        u.n_kinks = 1;
    }
    return u;
}

tp_univariate tp_univariate_form(tp_form form, double parameter)
{
    if (form == TP_ONE)
        return (tp_univariate){ .form = TP_ONE, .eval = eval_one, .parity = 1 };
    if (form != TP_NUMERIC && (form != TP_POWER || whole_power(parameter)))
        for (int op = 0; op < AD_CUSTOM; op++)
            if (forms[op] == form)
                return tp_univariate_op((ad_op)op, parameter);
    return (tp_univariate){ .form = TP_NUMERIC, .parameter = parameter };
}

tp_univariate tp_univariate_function(const ad_function *function, int order)
{
    tp_univariate u = { .form = TP_NUMERIC, .parameter = order };
    if (order < 0 || order >= function->count)
        return u;
    u.eval = eval_function;
    u.context = function;
    u.kinks = function->kinks;
    u.n_kinks = function->n_kinks;
    return u;
}

/* The mean of f(h) and f(-h) without its term of h^2. slope: how far they are apart, in h. */
static double without_square(const tp_univariate *f, double h, double *slope)
{
    double x[4] = { h, -h, 2 * h, -2 * h }, y[4];
    f->eval(f, 4, x, y);
    *slope = fabs(y[0] - y[1]) / h;
    return (2 * (y[0] + y[1]) - (y[2] + y[3]) / 2) / 3;
}

/* f(0) by its neighbours, where three steps agree better than the ones before; NaN where f jumps, or is not finite. */
static double value_at_zero(const tp_univariate *f)
{
    const double rough = 1e-9;
    double best = (double)NAN, least = INFINITY, before = (double)NAN, slope_before = INFINITY, size = 0, slope;
    for (int k = 4; k <= 40; k += 2) {
        double now = without_square(f, ldexp(1, -k), &slope), off = fabs(now - before);
        if (!isfinite(now) || (k > 4 && slope > 2.5 * slope_before))
            break;
        size = fmax(size, fabs(now) + slope);
        if (off < least) {
            least = off;
            best = now;
        }
        before = now;
        slope_before = fmax(slope, rough * size);
    }
    return least <= rough * size ? best : (double)NAN;
}

void tp_evaluate(const tp_univariate *f, size_t n, const double *x, double *y)
{
    enum { BLOCK = 256 };
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t count = n - i < BLOCK ? n - i : BLOCK, zeros = 0, at[BLOCK];
        for (size_t k = 0; k < count; k++) {
            at[zeros] = i + k;
            zeros += fabs(x[i + k]) > 0 ? 0 : 1;
        }
        f->eval(f, count, x + i, y + i);
        for (size_t k = 0; k < zeros; k++)
            y[at[k]] = isnan(y[at[k]]) ? value_at_zero(f) : y[at[k]];
    }
}
