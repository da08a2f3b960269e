/* moments.c: the moments of a chain by Lagrange's inversion: with x = 1/z,
 *   (1/n) tr (J J')^k = [M^(k-1)] (M / x(M))^k / k,
 * a product of power series, of which those of Gaussian factors have no signs that cancel. */
#include "tp/spectrum/chain.h"

#include <math.h>
#include <string.h>

enum { MOST = TP_SPECTRUM_MOMENTS };
typedef struct {
    long double c[MOST + 1]; /* of M^0, M^1, ... */
} series;

static series times(const series *a, const series *b, int degree)
{
    series out = { { 0 } };
    for (int i = 0; i <= degree; i++)
        for (int k = 0; k + i <= degree; k++)
            out.c[i + k] += a->c[i] * b->c[k];
    return out;
}

static series inverse(const series *a, int degree)
{
    series out = { { 1 / a->c[0] } };
    for (int i = 1; i <= degree; i++) {
        for (int k = 1; k <= i; k++)
            out.c[i] -= a->c[k] * out.c[i - k];
        out.c[i] /= a->c[0];
    }
    return out;
}

/* M / w(M) of a diagonal factor: w = M g(M) solves sum_k moment_k w^k = M / space, term by term. */
static int over_w(const tp_chain_factor *f, int degree, series *out, ad_error *error)
{
    long double moment[MOST + 2] = { 0 };
    for (int k = 1; k <= degree + 1; k++)
        if (!tp_law_moment(&f->law, k, &moment[k]))
            return ad_fail(error,
                           "spectrum: moment %d is decided by values of a derivative farther out than is integrated: "
                           "fewer moments (--moments %d), or smaller deviations",
                           k, k > 1 ? k - 1 : 1);
    series g = { { 1 / (moment[1] * f->in) } };
    for (int d = 1; d <= degree; d++) { /* the coefficient of M^(d+1) in sum_k moment_k M^k g^k */
        series power = g;
        long double sum = 0;
        for (int k = 2; k <= d + 1; k++) {
            power = times(&power, &g, d);
            sum += moment[k] * power.c[d + 1 - k];
        }
        g.c[d] = -sum / moment[1];
    }
    *out = inverse(&g, degree);
    return 0;
}

static series space_power(double space, double exponent, int degree)
{
    series line = { { space, 1 } }, out = { { 1 } };
    for (int k = 0; k < (int)lround(fabs(exponent)); k++)
        out = times(&out, &line, degree);
    return exponent < 0 ? out : inverse(&out, degree);
}

int tp_chain_moments(const tp_chain *chain, int count, double *moments, ad_error *error)
{
    tp_equation e;
    if (count > MOST)
        return ad_fail(error, "spectrum: %d moments: at most %d", count, (int)MOST);
    if (tp_equation_of(&e, chain, error))
        return -1;
    int degree = count - 1;
    series all = { { expl(-(long double)e.constant) } }, power = { { 1 } };
    for (int k = 0; k < e.n_spaces; k++) {
        series s = space_power(e.spaces[k], e.exponents[k], degree);
        all = times(&all, &s, degree);
    }
    for (int k = 0; k < e.n; k++) {
        series s;
        if (over_w(e.diagonals[k], degree, &s, error)) {
            tp_equation_free(&e);
            return -1;
        }
        all = times(&all, &s, degree);
    }
    for (int k = 1; k <= count; k++) {
        power = times(&power, &all, degree);
        moments[k - 1] = (double)(power.c[k - 1] / k) / e.to;
    }
    tp_equation_free(&e);
    for (int k = 0; k < count; k++)
        if (!isfinite(moments[k]))
            return ad_fail(error, "spectrum: moment %d leaves the range of a double: fewer moments", k + 1);
    return 0;
}
