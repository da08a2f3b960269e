/* The smooth estimate of a density has the moments that it is made of. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>

static void has_moments(int count, const double *moments)
{
    enum { N = 4000 };
    static double at[N], density[N];
    ad_error error = { 0 };
    tp_spectrum s = { .n_moments = count };
    for (int k = 0; k < count; k++)
        s.moments[k] = moments[k];
    for (int i = 0; i < N; i++)
        at[i] = -30 + 38.0 * (i + 0.5) / N;
    int met = tp_spectrum_estimate(&s, N, at, density, &error);
    cr_assert(met >= 2, "%s", error.text);
    for (int k = 0; k <= met; k++) {
        double sum = 0;
        for (int i = 0; i < N; i++) {
            cr_assert(density[i] >= 0);
            sum += density[i] * exp(k * at[i]) * 38.0 / N;
        }
        double wanted = k ? moments[k - 1] : 1;
        cr_assert_float_eq(sum, wanted, 2e-3 * wanted, "%d moments: m_%d %g for %g", count, k, sum, wanted);
    }
}

Test(estimate, has_its_moments)
{
    has_moments(4, (const double[]){ 1, 2, 5, 14 });
    has_moments(4, (const double[]){ 1, 3, 12, 55 });
    has_moments(3, (const double[]){ 1.4, 8.15, 64.5 });
    has_moments(2, (const double[]){ 2, 4.1 });
}

Test(estimate, what_is_refused)
{
    double at = 0, density;
    ad_error error = { 0 };
    tp_spectrum s = { .n_moments = 1, .moments = { 1 } };
    cr_assert_eq(tp_spectrum_estimate(&s, 1, &at, &density, &error), -1);
    cr_assert(*error.text);
}
