/* What the op table says of the coordinatewise functions, against their loops. */
#include "autodiff/plan/plan.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static double value(ad_op op, double p, double x)
{
    double y;
    ad_loops_get(AD_DOUBLE)->op[op](1, &y, &x, &x, p);
    return y;
}

/* Points of the domain that no kink hits. */
static double point(const ad_op_facts *facts, int k)
{
    double x = -7.983 + 0.0371 * k;
    return facts->lo > 0 ? fabs(x) : x;
}

enum { POINTS = 431 };

Test(op_table, values_and_symmetry)
{
    for (ad_op op = 0; op < AD_CUSTOM; op++) {
        const ad_op_facts *facts = ad_op_facts_of(op);
        const char *name = ad_op_name(op);
        double p = facts->takes_p ? 0.3 : 0, degree = ad_op_degree(op, p);
        cr_expect_eq(ad_unary_named(name), (int)op, "%s", name);
        if (!isnan(facts->at_zero))
            cr_expect_float_eq(value(op, p, 0), facts->at_zero, 1e-15, "%s at 0", name);
        for (int k = 0; k < POINTS; k++) {
            double x = point(facts, k), y = value(op, p, x), tiny = 1e-14 * fmax(1, fabs(y));
            cr_expect(y >= facts->lowest && y <= facts->highest, "%s(%g) = %g outside its range", name, x, y);
            if (facts->parity != AD_NEITHER)
                cr_expect_float_eq(value(op, p, -x), (int)facts->parity * y, tiny, "%s: no such parity at %g", name, x);
            if (!isnan(degree))
                cr_expect_float_eq(value(op, p, 2.5 * x), pow(2.5, degree) * y, 3 * tiny, "%s: no degree %g at %g",
                                   name, degree, x);
            if (facts->growth == AD_BOUNDED)
                cr_expect(isfinite(facts->lowest) && isfinite(facts->highest), "%s: a range without bounds", name);
            if (facts->growth == AD_LINEAR)
                cr_expect_lt(fabs(value(op, p, 1e6 * x)), 1e6 * (fabs(x) + 1), "%s is not linear at most", name);
        }
    }
}

/* The first of the value and two derivatives that differs on both sides of a point; 3 if none does. */
static int breaks_at(ad_op op, double p, double at)
{
    const double h = 1e-4;
    double sides[2][3];
    for (int side = 0; side < 2; side++) {
        double step = side ? h : -h, y[3];
        for (int k = 0; k < 3; k++)
            y[k] = value(op, p, at + (k + 1e-3) * step);
        sides[side][0] = y[0];
        sides[side][1] = (y[1] - y[0]) / step;
        sides[side][2] = (y[2] - 2 * y[1] + y[0]) / (step * step);
    }
    for (int k = 0; k < 3; k++)
        if (fabs(sides[1][k] - sides[0][k]) > 0.1)
            return k;
    return 3;
}

Test(op_table, kinks)
{
    for (ad_op op = 0; op < AD_CUSTOM; op++) {
        const ad_op_facts *facts = ad_op_facts_of(op);
        double p = facts->takes_p ? 0.3 : 0;
        cr_expect_eq(facts->n_kinks == 0, facts->breaks == AD_SMOOTH, "%s", ad_op_name(op));
        for (int k = 0; k < facts->n_kinks; k++)
            cr_expect_eq(breaks_at(op, p, facts->kinks[k]), (int)facts->breaks, "%s at %g", ad_op_name(op),
                         facts->kinks[k]);
        for (int k = 1; k < 120; k++) {
            double x = facts->lo + (facts->hi - facts->lo) * k / 120, nearest = 1;
            for (int i = 0; i < facts->n_kinks; i++)
                nearest = fmin(nearest, fabs(x - facts->kinks[i]));
            cr_expect(nearest < 0.001 || breaks_at(op, p, x) == 3, "%s breaks at %g", ad_op_name(op), x);
        }
    }
}

/* What stands in derivatives alone, or has no usual parameter, is no network's phi. */
Test(op_table, activations)
{
    for (ad_op op = 0; op < AD_CUSTOM; op++) {
        const ad_op_facts *facts = ad_op_facts_of(op);
        bool inner = strstr(ad_op_name(op), "_grad") || strstr(ad_op_name(op), "_step") || op == AD_POWER;
        cr_expect_eq(facts->activation, !inner, "%s", ad_op_name(op));
        cr_expect(facts->takes_p || !(fabs(facts->usual_p) > 0), "%s", ad_op_name(op));
    }
    cr_expect_null(ad_op_facts_of(AD_ADD));
    cr_expect_eq(ad_unary_named("custom"), -1);
    cr_expect_eq(ad_unary_named("silu"), (int)AD_SWISH);
    cr_expect_eq(ad_unary_named("hardtanh"), (int)AD_HARD_TANH);
}
