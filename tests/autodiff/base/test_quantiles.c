/* Student's law against printed tables and against its density, integrated; the normal law against the C library's
 * error function and printed tables. */
#include "autodiff/base/base.h"

#include <criterion/criterion.h>
#include <math.h>

/* Abramowitz and Stegun, table 26.10. */
Test(student, tables)
{
    static const struct {
        double tail;
        int freedom;
        double t;
    } rows[] = { { 0.05, 1, 12.706 }, { 0.05, 2, 4.303 },  { 0.05, 7, 2.365 },   { 0.01, 10, 3.169 },
                 { 0.05, 30, 2.042 }, { 0.001, 7, 5.408 }, { 0.001, 60, 3.460 }, { 0.5, 4, 0.741 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect(fabs(ad_student(rows[i].tail, rows[i].freedom) - rows[i].t) < 6e-4, "%g beyond, %d degrees: %.6f",
                  rows[i].tail, rows[i].freedom, ad_student(rows[i].tail, rows[i].freedom));
}

/* P(|T| > t) by Simpson's rule in u = t / x, for which the density has no tail. */
static double beyond(double t, double freedom)
{
    enum { STEPS = 20000 };
    double norm = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(freedom * acos(-1)), sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        double u = (double)i / STEPS, x = u > 0 ? t / u : 0;
        double density = u > 0 ? norm * pow(1 + x * x / freedom, -(freedom + 1) / 2) * t / (u * u) : 0;
        sum += density * (i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2) / (3 * STEPS);
    }
    return 2 * sum;
}

Test(student, density)
{
    static const int freedoms[] = { 2, 3, 7, 15, 31, 63, 160 };
    static const double tails[] = { 0.3, 1e-3, 1e-6, 1e-7, 5e-8 };
    for (size_t i = 0; i < sizeof freedoms / sizeof *freedoms; i++)
        for (size_t k = 0; k < sizeof tails / sizeof *tails; k++) {
            double found = beyond(ad_student(tails[k], freedoms[i]), freedoms[i]);
            cr_expect(fabs(found / tails[k] - 1) < 1e-6, "%d degrees: %.10g beyond, not %g", freedoms[i], found,
                      tails[k]);
        }
}

Test(student, bounds)
{
    cr_expect(isnan(ad_student(0.05, 0)));
    cr_expect(isnan(ad_student(1e-13, 7)));
    cr_expect(isnan(ad_student(1.5, 7)));
    cr_expect(isnan(ad_student((double)NAN, 7)));
    cr_expect_lt(ad_student(1, 7), 1e-15);
}

/* Abramowitz and Stegun, table 26.5, and the law itself, from 0 and from points nearby, into the far tail. */
Test(normal, quantiles)
{
    static const double tails[] = { 0.5, 0.49, 0.3, 0.1, 1e-2, 1e-5, 1e-9, 1e-16, 1e-30 };
    cr_expect_lt(fabs(ad_normal_quantile(0.025, 0) + 1.95996398454005), 1e-13);
    cr_expect_lt(fabs(ad_normal_quantile(0.001, 0) + 3.09023230616781), 1e-13);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        double x = ad_normal_quantile(tails[i], 0), near = ad_normal_quantile(tails[i], x * 1.01 - 0.01);
        cr_expect_lt(fabs(0.5 * erfc(-x * sqrt(0.5)) / tails[i] - 1), 1e-11, "%g: %.17g", tails[i], x);
        cr_expect_lt(fabs(near - x), 1e-12 * (1 + fabs(x)), "%g: %.17g and %.17g", tails[i], x, near);
    }
}
