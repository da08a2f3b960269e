/* growth.c: ranges, degrees and orders of growth of coordinatewise functions. */
#include "tp/program/growth.h"

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

tp_growth tp_growth_unary(int op, double p, tp_growth x, const char **problem)
{
    switch (op) {
    case AD_NEG:
        return (tp_growth){ -x.hi, -x.lo, x.degree, x.order };
    case AD_STEP:
    case AD_SIGMOID:
        return bounded(0, 1);
    case AD_SIGN:
    case AD_TANH:
    case AD_ERF:
    case AD_SIN:
    case AD_COS:
        return bounded(-1, 1);
    case AD_LEAKY_STEP:
        return bounded(fmin(p, 1), fmax(p, 1));
    case AD_ERF_GRAD:
    case AD_GELU_GRAD:
        return bounded(-2, 2);
    case AD_RELU:
        return (tp_growth){ fmax(x.lo, 0), fmax(x.hi, 0), isfinite(x.hi) ? 0 : x.degree, x.order };
    case AD_ABS:
        return (tp_growth){ has_zero(x) ? 0 : fmin(fabs(x.lo), fabs(x.hi)), fmax(fabs(x.lo), fabs(x.hi)), x.degree,
                            x.order };
    case AD_SOFTPLUS:
        return (tp_growth){ 0, INFINITY, x.degree, x.order };
    case AD_SQUARE:
        return power(2, x, problem);
    case AD_POWER:
        return power(p, x, problem);
    case AD_SQRT:
        return power(0.5, x, problem);
    case AD_RSQRT:
        return power(-0.5, x, problem);
    case AD_EXP:
        return exponential(x, problem);
    case AD_LOG:
        if (x.lo <= 0)
            *problem = x.lo < 0 ? undefined : pole;
        return (tp_growth){ x.lo > 0 ? log(x.lo) : -INFINITY, log(fmax(x.hi, 0)), x.degree, 0 };
    case AD_IDENTITY:
        return x;
    default:
        return (tp_growth){ -INFINITY, INFINITY, x.degree, x.order };
    }
}

/* A product of bounds, 0 where a factor is. */
static double times(double a, double b)
{
    return fabs(a) > 0 && fabs(b) > 0 ? a * b : 0;
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
