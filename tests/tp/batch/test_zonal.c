/* Zonal expectations against moments of the sphere, and the sphere's sampling with and without them. */
#include "limn.h"
#include "tp/batch/sphere.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static void power(const void *context, size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = pow(x[i], *(const int *)context);
}

static void tanh_of(const void *context, size_t n, const double *x, double *y)
{
    (void)context;
    for (size_t i = 0; i < n; i++)
        y[i] = tanh(x[i]);
}

static void slope_of(const void *context, size_t n, const double *x, double *y)
{
    (void)context;
    for (size_t i = 0; i < n; i++)
        y[i] = 1 - tanh(x[i]) * tanh(x[i]);
}

/* E <w, a> <w, b> = ab / k; squares: (aa bb + 2 ab ab) / (k (k + 2)); a cube against one: 3 aa ab / (k (k + 2)). */
Test(zonal, moments_of_the_sphere)
{
    enum { ROWS = 3, MOST = 40 };
    static const size_t dimensions[] = { 3, 5, 12, MOST };
    static const int powers[3] = { 1, 2, 3 };
    ad_error error = { 0 };
    double a[ROWS * MOST], out[ROWS * ROWS], left;
    ad_normal(1, 1, 0, ROWS * MOST, a);
    for (int d = 0; d < 4; d++) {
        size_t k = dimensions[d];
        double n = (double)k;
        for (int kind = 0; kind < 3; kind++) {
            tp_block_function f = { power, &powers[kind] }, g = { power, &powers[kind == 2 ? 0 : kind] };
            tp_zonal_spec spec = { &f, &g, k, ROWS, ROWS, a, a };
            cr_assert(!tp_zonal(&spec, out, &left, &error), "%s", error.text);
            cr_expect_lt(left, 1e-12);
            for (size_t i = 0; i < ROWS * ROWS; i++) {
                double aa = 0, bb = 0, ab = 0;
                for (size_t j = 0; j < k; j++) {
                    aa += a[i / ROWS * k + j] * a[i / ROWS * k + j];
                    bb += a[i % ROWS * k + j] * a[i % ROWS * k + j];
                    ab += a[i / ROWS * k + j] * a[i % ROWS * k + j];
                }
                double truth = kind == 0   ? ab / n
                               : kind == 1 ? (aa * bb + 2 * ab * ab) / (n * (n + 2))
                                           : 3 * aa * ab / (n * (n + 2));
                cr_expect_float_eq(out[i], truth, 1e-12 * aa * fmax(aa, bb), "k = %zu: %g, not %g", k, out[i], truth);
            }
        }
    }
}

/* A covariance of a batch, of `features` directions. */
static void covariance(size_t rows, size_t features, uint64_t stream, double *k)
{
    double x[16 * 16];
    ad_normal(7, stream, 0, rows * features, x);
    for (size_t i = 0; i < rows * rows; i++) {
        k[i] = 0;
        for (size_t j = 0; j < features; j++)
            k[i] += x[i / rows * features + j] * x[i % rows * features + j] / (double)features;
    }
}

/* Runs of V and T* of tanh after one batch's layer: means, and standard errors of the mean. */
static void runs(double epsilon, bool smooth, int count, double *mean, double *off)
{
    enum { B = 8, ALL = 2 * B * B };
    double k[B * B], theta[B * B], one[ALL], left;
    bool whole, sampled;
    ad_error error = { 0 };
    covariance(B, 16, 1, k);
    covariance(B, 16, 2, theta);
    memset(mean, 0, ALL * sizeof *mean);
    memset(off, 0, ALL * sizeof *off);
    for (int run = 1; run <= count; run++) {
        tp_sphere_spec spec = { .layer = { .rows = B, .epsilon = epsilon, .k11 = k, .backward = true },
                                .f = { { tanh_of, NULL }, { tanh_of, NULL } },
                                .slope = { { slope_of, NULL }, { slope_of, NULL } },
                                .smooth = smooth,
                                .samples = 1024,
                                .seed = (uint64_t)run };
        spec.layer.phi = spec.layer.phi2 = tp_nearest_slopes(&spec.f[0]);
        for (int back = 0; back < 2; back++) {
            spec.theta = back ? theta : NULL;
            cr_assert(!tp_sphere(&spec, one + back * B * B, &whole, &left, &sampled, &error), "%s", error.text);
            cr_assert(sampled && left < 1e-4);
        }
        for (int i = 0; i < ALL; i++) {
            double away = one[i] - mean[i];
            mean[i] += away / run;
            off[i] += away * (one[i] - mean[i]);
        }
    }
    for (int i = 0; i < ALL; i++)
        off[i] = sqrt(off[i] / (count - 1) / count);
}

/* What zonal functions take out of the sampling they put back exactly, and the spread falls: 5.5 standard errors of a
 * difference of 32 runs each. */
Test(zonal, sampling_is_the_same_without_them)
{
    enum { B = 8, ALL = 2 * B * B };
    double mean[2][ALL], off[2][ALL], sum[2] = { 0 };
    for (int smooth = 0; smooth < 2; smooth++) {
        runs(1e-4, smooth, 32, mean[smooth], off[smooth]);
        for (int i = 0; i < ALL; i++)
            sum[smooth] += off[smooth][i] * off[smooth][i];
    }
    for (int i = 0; i < ALL; i++)
        cr_expect_lt(fabs(mean[0][i] - mean[1][i]), 5.5 * hypot(off[0][i], off[1][i]), "%d: %g and %g", i, mean[0][i],
                     mean[1][i]);
    cr_expect_lt(sum[1], 0.7 * sum[0], "%g, %g", sum[1], sum[0]);
}

/* Gauss's rule of few radii for a small epsilon, the exact mean for none and the trapezoid rule for a larger one agree,
 * by the same directions, as far as epsilon moves them. */
Test(zonal, radii_agree)
{
    enum { B = 8, ALL = 2 * B * B };
    static const double epsilons[] = { 1e-6, 3e-3 };
    double none[ALL], some[ALL], off[ALL], size = 0;
    runs(0, true, 2, none, off);
    for (int i = 0; i < ALL; i++)
        size = fmax(size, fabs(none[i]));
    for (int e = 0; e < 2; e++) {
        runs(epsilons[e], true, 2, some, off);
        for (int i = 0; i < ALL; i++)
            cr_expect_float_eq(some[i], none[i], size * (1e-5 + 20 * epsilons[e]), "%g, %d: %g, %g", epsilons[e], i,
                               some[i], none[i]);
    }
}
