/* growth.c: how fast a coordinatewise function of Gaussians grows, from what the op table says of it. */
#include "tp/program/growth.h"
#include "autodiff/plan/plan.h"

#include <math.h>

static const char pole[] = "it has a pole at 0, which its argument can reach: the expectation need not exist";
static const char undefined[] = "it is not defined below 0, which its argument can reach";
static const char fast[] = "it grows as fast as exp(|z|²) or faster, beyond what the Master theorem asks";

tp_growth tp_growth_gaussian(void)
{
    return (tp_growth){ -INFINITY, INFINITY, 1, 0 };
}

tp_growth tp_growth_number(double c)
{
    return (tp_growth){ c, c, 0, 0 };
}

static tp_growth bounded(double lo, double hi)
{
    return (tp_growth){ lo, hi, 0, 0 };
}

static bool has_zero(tp_growth x)
{
    return x.lo <= 0 && x.hi >= 0;
}

static tp_growth exponential(tp_growth x, const char **problem)
{
    tp_growth y = { exp(x.lo), exp(x.hi), 0, isfinite(x.hi) ? 0 : x.order > 0 ? INFINITY : x.degree };
    if (y.order >= 2)
        *problem = fast;
    return y;
}

static tp_growth power(double p, tp_growth x, const char **problem)
{
    bool whole = !(fabs(p - round(p)) > 0), even = whole && fmod(fabs(p), 2) < 0.5;
    if (!whole && x.lo < 0)
        *problem = undefined;
    else if (p < 0 && has_zero(x))
        *problem = pole;
    double a = pow(x.lo, p), b = pow(x.hi, p);
    tp_growth y = { fmin(a, b), fmax(a, b), p > 0 ? p * x.degree : 0, p > 0 ? x.order : 0 };
    if (even && has_zero(x))
        y.lo = 0;
    if (p < 0 && has_zero(x))
        y.lo = even ? 0 : -INFINITY, y.hi = INFINITY;
    return y;
}

/* A product of bounds, 0 where a factor is. */
static double times(double a, double b)
{
    return fabs(a) > 0 && fabs(b) > 0 ? a * b : 0;
}

/* A function of degree 0 or 1, which is y(1) x^degree above 0 and y(-1) |x|^degree below. */
static tp_growth homogeneous(ad_op op, double p, double degree, tp_growth x)
{
    const double sides[2] = { 1, -1 };
    double y[2];
    ad_loops_get(AD_DOUBLE)->op[op](2, y, sides, NULL, p);
    if (!(degree > 0))
        return bounded(fmin(y[0], y[1]), fmax(y[0], y[1]));
    double ends[4] = { times(y[0], fmax(x.lo, 0)), times(y[0], fmax(x.hi, 0)), times(y[1], fmax(-x.lo, 0)),
                       times(y[1], fmax(-x.hi, 0)) };
    int first = x.hi > 0 ? 0 : 2, last = x.lo < 0 ? 4 : 2; /* which sides the argument reaches */
    tp_growth all = { ends[first], ends[first], x.degree, x.order };
    for (int k = first + 1; k < last; k++) {
        all.lo = fmin(all.lo, ends[k]);
        all.hi = fmax(all.hi, ends[k]);
    }
    all.degree = isfinite(all.lo) && isfinite(all.hi) ? 0 : x.degree;
    return all;
}

tp_growth tp_growth_unary(int row, double p, tp_growth x, const char **problem)
{
    ad_op op = (ad_op)row;
    const ad_op_facts *facts = ad_op_facts_of(op);
    double degree = ad_op_degree(op, p);
    switch (facts ? facts->growth : AD_UNKNOWN) {
    case AD_SCALES:
        return degree >= 0 && (degree <= 0 || (degree <= 1 && degree >= 1)) ? homogeneous(op, p, degree, x)
                                                                            : power(degree, x, problem);
    case AD_BOUNDED:
        return bounded(facts->lowest, facts->highest);
    case AD_EXPONENTIAL:
        return exponential(x, problem);
    case AD_LOGARITHMIC:
        if (x.lo <= 0)
            *problem = x.lo < 0 ? undefined : pole;
        return (tp_growth){ x.lo > 0 ? log(x.lo) : -INFINITY, log(fmax(x.hi, 0)), x.degree, 0 };
    case AD_LINEAR:
        return (tp_growth){ facts->lowest, facts->highest, x.degree, x.order };
    default:
        return (tp_growth){ -INFINITY, INFINITY, x.degree, x.order };
    }
}

tp_growth tp_growth_binary(int op, tp_growth a, tp_growth b, const char **problem)
{
    tp_growth y = { -INFINITY, INFINITY, fmax(a.degree, b.degree), fmax(a.order, b.order) };
    if (op == AD_SUB)
        b = tp_growth_unary(AD_NEG, 0, b, problem);
    if (op == AD_DIV)
        b = power(-1, b, problem);
    if (op == AD_ADD || op == AD_SUB) {
        y.lo = a.lo + b.lo;
        y.hi = a.hi + b.hi;
        return y;
    }
    double all[4] = { times(a.lo, b.lo), times(a.lo, b.hi), times(a.hi, b.lo), times(a.hi, b.hi) };
    y = (tp_growth){ all[0], all[0], a.degree + b.degree, fmax(a.order, b.order) };
    for (int k = 1; k < 4; k++) {
        y.lo = fmin(y.lo, all[k]);
        y.hi = fmax(y.hi, all[k]);
    }
    return y;
}

bool tp_grows_at_zero(ad_op op, double p)
{
    const ad_op_facts *facts = ad_op_facts_of(op);
    return facts->domain == AD_POSITIVES || (facts->domain == AD_BY_P && p < 0);
}

bool tp_breaks_at_zero(ad_op op, double p, const ad_function *function)
{
    const ad_op_facts *facts = ad_op_facts_of(op);
    const double *kinks = op == AD_CUSTOM ? function->kinks : facts->kinks;
    int n_kinks = op == AD_CUSTOM ? function->n_kinks : facts->breaks == AD_JUMPS ? facts->n_kinks : 0;
    for (int k = 0; k < n_kinks; k++)
        if (!(fabs(kinks[k]) > 0))
            return true;
    return tp_grows_at_zero(op, p);
}
