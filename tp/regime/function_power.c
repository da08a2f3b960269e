/* function_power.c: what a coordinatewise function makes of powers of n, from its own values near 0 and far away. */
#include "autodiff/plan/plan.h"
#include "tp/regime/exponents.h"

#include <math.h>

static double value(const ad_node *node, double x)
{
    double y = NAN;
    if (node->op == AD_CUSTOM)
        node->function->derivatives[node->order](1, &x, &y);
    else
        ad_loops_get(AD_DOUBLE)->op[node->op](1, &y, &x, NULL, node->c);
    return y;
}

static double larger(double a, double b)
{
    return isnan(a) ? fabs(b) : isnan(b) ? fabs(a) : fmax(fabs(a), fabs(b));
}

/* |f - base| at x and -x, where it is defined. */
static double height(const ad_node *node, double x, double base)
{
    return larger(value(node, x) - base, value(node, -x) - base);
}

static double slope(double low, double high, double log_ratio)
{
    if (!(low > 0))
        return high > 0 ? INFINITY : 0;
    return round(8 * log(high / low) / log_ratio) / 8;
}

/* The coordinates in a strip of fixed width around 0, of a vector of size s, are n^-s of all: so is the mean square of
 * what vanishes outside. */
static const double strip = -0.5;

/* How f grows: f ~ x^p. */
static double far_power(const ad_node *node, bool differences)
{
    double ends[2];
    for (int k = 0; k < 2; k++) {
        double x = k ? 1e6 : 1e3;
        ends[k] = differences
                      ? larger(value(node, 1.001 * x) - value(node, x), value(node, -1.001 * x) - value(node, -x))
                      : height(node, x, 0);
    }
    if (!(ends[0] > 1e-12) && !(ends[1] > 1e-12))
        return strip;
    return isfinite(ends[0]) && isfinite(ends[1]) ? slope(ends[0], ends[1], log(1e3)) : INFINITY;
}

/* f - f(0) ~ x^p near 0; where f is not finite there, f itself. *base: f(0), 0 without one. */
static double near_power(const ad_node *node, double *base)
{
    double f0 = value(node, 0);
    *base = isfinite(f0) ? f0 : 0;
    double low = height(node, 1e-4, *base), high = height(node, 1e-3, *base);
    return high > 0 ? slope(low, high, log(10)) : 1;
}

double tp_function_size(const ad_node *node, double size)
{
    double base;
    if (size > 0)
        return far_power(node, false) * size;
    double p = near_power(node, &base);
    return size < 0 && !(fabs(base) > 0) ? (isfinite(size) ? p * size : -INFINITY) : 0;
}

double tp_function_change(const ad_node *node, double size, double change, bool linear)
{
    double base, p;
    if (!(change > -INFINITY))
        return -INFINITY;
    if (change > size && !(linear && isfinite(size))) {
        p = change > 0 ? far_power(node, false) : near_power(node, &base);
        return fmax(p * change, change > 0 ? 0 : -INFINITY);
    }
    p = size > 0 ? far_power(node, true) : near_power(node, &base);
    return (size > 0 || size < 0 ? p * size : 0) + change - size;
}
