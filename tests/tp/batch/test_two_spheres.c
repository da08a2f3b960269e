/* Functions of two batches by pairs of directions: against exact rules for linear functions, sums that are known for
 * squares, the joint sphere for others, and polynomials' means for the directions. Seeds are fixed. */
#include "limn.h"
#include "tp/batch/directions.h"
#include "tp/batch/sphere.h"
#include "tp/executor/executor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { FIRST = 6, SECOND = 7, BOTH = FIRST + SECOND, ALL = FIRST * SECOND, FEATURES = 80, RUNS = 16 };

/* ---- functions and their slopes ---- */
typedef double (*scalar)(double);
static void each(const void *context, size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (*(const scalar *)context)(x[i]);
}
static double itself(double x)
{
    return x;
}
static double one(double x)
{
    (void)x;
    return 1;
}
static double square(double x)
{
    return x * x;
}
static double twice(double x)
{
    return 2 * x;
}
static double tanh_slope(double x)
{
    return 1 - tanh(x) * tanh(x);
}
static double gelu(double x)
{
    return x * erfc(-x / sqrt(2)) / 2;
}
static double gelu_slope(double x)
{
    return erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
}
static const scalar identities[] = { itself, one }, squares[] = { square, twice }, tanhs[] = { tanh, tanh_slope },
                    gelus[] = { gelu, gelu_slope };

/* ---- two batches ---- */
static double k11[FIRST * FIRST], k22[SECOND * SECOND], k12[ALL], theta[ALL];

/* Covariances of random inputs, and a tangent kernel. `alike`: how much of the first batch is in the second. */
static void make_batches(double alike)
{
    double x[BOTH * FEATURES], k[BOTH * BOTH];
    ad_normal(3, 1, 0, BOTH * FEATURES, x);
    ad_normal(3, 2, 0, ALL, theta);
    for (int i = 0; i < SECOND * FEATURES; i++)
        x[FIRST * FEATURES + i] += alike * x[i % (FIRST * FEATURES)];
    for (int i = 0; i < BOTH * BOTH; i++) {
        k[i] = 0;
        for (int j = 0; j < FEATURES; j++)
            k[i] += x[i / BOTH * FEATURES + j] * x[i % BOTH * FEATURES + j] / FEATURES;
    }
    for (int i = 0; i < FIRST * FIRST; i++)
        k11[i] = k[i / FIRST * BOTH + i % FIRST];
    for (int i = 0; i < SECOND * SECOND; i++)
        k22[i] = k[(FIRST + i / SECOND) * BOTH + FIRST + i % SECOND];
    for (int i = 0; i < ALL; i++)
        k12[i] = k[i / SECOND * BOTH + FIRST + i % SECOND];
}

static tp_batchnorm_spec layer_spec(double epsilon, tp_slopes phi)
{
    return (tp_batchnorm_spec){ .rows = FIRST,
                                .rows2 = SECOND,
                                .k11 = k11,
                                .k22 = k22,
                                .k12 = k12,
                                .epsilon = epsilon,
                                .epsilon2 = epsilon,
                                .phi = phi,
                                .phi2 = phi,
                                .backward = true };
}

static tp_sphere_spec sphere_spec(double epsilon, const scalar *f, tp_slopes phi, bool back, int run)
{
    return (tp_sphere_spec){ .layer = layer_spec(epsilon, phi),
                             .f = { { each, f }, { each, f } },
                             .slope = { { each, f + 1 }, { each, f + 1 } },
                             .smooth = true,
                             .theta = back ? theta : NULL,
                             .samples = 4096,
                             .seed = (uint64_t)run,
                             .most_off = 1e-3 };
}

/* ---- runs ---- */
typedef struct {
    double mean[ALL], off[ALL]; /* standard errors of the mean */
} result;

static void add_run(result *r, int run, const double *value)
{
    for (int i = 0; i < ALL; i++) {
        double away = value[i] - r->mean[i];
        r->mean[i] += away / run;
        r->off[i] += away * (value[i] - r->mean[i]);
    }
    for (int i = 0; i < ALL && run == RUNS; i++)
        r->off[i] = sqrt(r->off[i] / (RUNS - 1) / RUNS);
}

/* V or T* by pairs of directions, of f whole, or less g. */
static result by_pairs(double epsilon, const scalar *f, tp_slopes phi, bool back, bool *whole)
{
    result r = { 0 };
    ad_error error = { 0 };
    for (int run = 1; run <= RUNS; run++) {
        double value[ALL], off;
        tp_sphere_spec spec = sphere_spec(epsilon, f, phi, back, run);
        tp_batchnorm *layer = tp_batchnorm_factor(&spec.layer, &error);
        cr_assert(layer, "%s", error.text);
        cr_assert_eq(tp_two_spheres(&spec, layer, value, whole, &off, &error), 0, "%s", error.text);
        cr_assert(epsilon > 0 ? off > 0 && off < 1e-3 : !(off > 0));
        tp_batchnorm_free(layer);
        add_run(&r, run, value);
    }
    return r;
}

/* By directions of the joint sphere, which functions that are not said to be smooth get. */
static result jointly(double epsilon, const scalar *f, tp_slopes phi, bool back)
{
    result r = { 0 };
    ad_error error = { 0 };
    for (int run = 1; run <= RUNS; run++) {
        double value[ALL], off;
        bool whole, sampled;
        tp_sphere_spec spec = sphere_spec(epsilon, f, phi, back, 1000 + run);
        spec.smooth = false;
        cr_assert_eq(tp_sphere(&spec, value, &whole, &off, &sampled, &error), 0, "%s", error.text);
        cr_assert(!whole && sampled);
        add_run(&r, run, value);
    }
    return r;
}

/* Student's t of 15 degrees of freedom is beyond 8.3 once in 2e6, and no error is larger than a hundredth. */
static const double most_t = 8.3;

static void expect_exactly(const result *r, const double *truth, double slack, const char *what)
{
    double size = 0;
    for (int i = 0; i < ALL; i++)
        size = fmax(size, fabs(truth[i]));
    for (int i = 0; i < ALL; i++) {
        cr_expect_lt(fabs(r->mean[i] - truth[i]), most_t * r->off[i] + slack * size, "%s, %d: %g +- %g, not %g", what,
                     i, r->mean[i], r->off[i], truth[i]);
        cr_expect_lt(r->off[i], 0.01 * size, "%s, %d: +- %g of %g", what, i, r->off[i], size);
    }
}

/* ---- tests ---- */
/* f(z) = z by samples, nothing taken away, against what Laplace's integrals have: V and T*. */
Test(two_spheres, linear_functions)
{
    static const double epsilons[] = { 0, 1e-5 }, alikes[] = { 0, 0.3 };
    ad_error error = { 0 };
    bool whole;
    for (int e = 0; e < 2; e++)
        for (int a = 0; a < 2; a++) {
            make_batches(alikes[a]);
            tp_batchnorm_spec spec = layer_spec(epsilons[e], TP_SLOPES_IDENTITY);
            tp_batchnorm *layer = tp_batchnorm_new(&spec, &error);
            double back[ALL];
            cr_assert(layer && !tp_batchnorm_transpose(layer, theta, back, NULL, &error), "%s", error.text);
            result forward = by_pairs(epsilons[e], identities, (tp_slopes){ 0 }, false, &whole);
            expect_exactly(&forward, tp_batchnorm_forward(layer), 20 * epsilons[e], "V");
            forward = by_pairs(epsilons[e], identities, (tp_slopes){ 0 }, true, &whole);
            expect_exactly(&forward, back, 20 * epsilons[e], "T*");
            tp_batchnorm_free(layer);
        }
}

/* At epsilon = 0 the squares of a batch sum to its rows in every direction, so that the sum of all entries is the sum
 * of the pairs' weights: FIRST times SECOND. */
Test(two_spheres, weights_of_pairs_sum_to_1)
{
    bool whole;
    make_batches(0.3);
    result r = by_pairs(0, squares, (tp_slopes){ 0 }, false, &whole);
    double sum = 0, off = 0;
    for (int i = 0; i < ALL; i++) {
        sum += r.mean[i];
        off += r.off[i];
    }
    cr_expect_float_eq(sum, ALL, most_t * off, "%g +- %g, not %d", sum, off, ALL);
    cr_expect_lt(off, 0.005 * ALL, "%g", off);
}

/* tanh less its nearest g, which is linear; GELU whole, as its g has a kink: g is added to the joint way. */
Test(two_spheres, as_by_the_joint_sphere)
{
    static const scalar *const functions[] = { tanhs, gelus };
    ad_error error = { 0 };
    make_batches(0.3);
    for (int k = 0; k < 4; k++) {
        const scalar *f = functions[k / 2];
        bool back = k % 2, whole;
        tp_slopes phi = tp_nearest_slopes(&(tp_block_function){ each, f });
        result pairs = by_pairs(1e-5, f, phi, back, &whole), joint = jointly(1e-5, f, phi, back);
        cr_assert_eq(whole, f == gelus);
        tp_batchnorm_spec spec = layer_spec(1e-5, phi);
        tp_batchnorm *layer = tp_batchnorm_new(&spec, &error);
        double g[ALL];
        cr_assert(layer && !tp_batchnorm_transpose(layer, theta, g, NULL, &error), "%s", error.text);
        double size = 0, sums[2] = { 0 };
        for (int i = 0; i < ALL; i++) {
            joint.mean[i] += !whole ? 0 : back ? g[i] : tp_batchnorm_forward(layer)[i];
            size = fmax(size, fabs(joint.mean[i]));
            sums[0] += pow(pairs.off[i], 2);
            sums[1] += pow(joint.off[i], 2);
        }
        tp_batchnorm_free(layer);
        for (int i = 0; i < ALL; i++) /* 15 to 30 degrees of freedom */
            cr_expect_lt(fabs(pairs.mean[i] - joint.mean[i]), most_t * hypot(pairs.off[i], joint.off[i]) + 2e-4 * size,
                         "%d, %d: %g +- %g and %g +- %g", k, i, pairs.mean[i], pairs.off[i], joint.mean[i],
                         joint.off[i]);
        cr_expect_lt(sums[0], sums[1], "%d: %g, %g", k, sums[0], sums[1]);
    }
}

/* Whoever has no rule here gets 1, and the joint way: one batch, a batch beside its copy, a large epsilon. */
Test(two_spheres, what_is_left_to_the_joint_sphere)
{
    ad_error error = { 0 };
    make_batches(0);
    for (int k = 0; k < 4; k++) {
        double value[SECOND * SECOND], off;
        bool whole;
        tp_sphere_spec spec = sphere_spec(k == 0 ? 0.1 : 0, tanhs, TP_SLOPES_IDENTITY, false, 1);
        spec.smooth = k != 1;
        if (k == 2)
            spec.layer.rows2 = 0;
        if (k == 3)
            spec.layer = (tp_batchnorm_spec){ .rows = SECOND, .rows2 = SECOND, .k11 = k22, .k22 = k22, .k12 = k22 };
        tp_batchnorm *layer = tp_batchnorm_factor(&spec.layer, &error);
        cr_assert(layer, "%s", error.text);
        cr_expect_eq(tp_two_spheres(&spec, layer, value, &whole, &off, &error), 1, "%d: %s", k, error.text);
        tp_batchnorm_free(layer);
    }
}

/* E w_1^2 w_2^2 = 1 / (k (k + 2)), w_1^4 three times that, w_1^2 w_2^2 w_3^2 = 1 / (k (k + 2) (k + 4)), w_1^6 fifteen
 * times. */
Test(two_spheres, directions_have_the_means_of_polynomials)
{
    static const struct {
        size_t k, n;
        int degree;
    } cases[] = { { 3, 256, 6 }, { 5, 1024, 6 }, { 7, 1024, 4 }, { 3, 32, 4 }, { 12, 256, 0 } };
    ad_error error = { 0 };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t k = cases[c].k, n = cases[c].n;
        double *x = ad_alloc(n * (k + 1), sizeof *x, "directions", &error), *share = x + n * k, sums[6] = { 0 };
        tp_space space;
        tp_rows columns = { .length = n };
        cr_assert(!tp_space_new(&space, n, 5, &error) && !tp_draw(&space, (int)k, NULL, &columns, &error));
        cr_assert(!tp_place_directions(n, k, columns.data, x, share, &error), "%s", error.text);
        for (size_t i = 0; i < n; i++) {
            double a = pow(x[i * k], 2), b = pow(x[i * k + 1], 2), d = pow(x[i * k + 2], 2);
            const double terms[] = { 1, a, a * b, a * a, a * b * d, a * a * a };
            for (int t = 0; t < 6; t++)
                sums[t] += share[i] * terms[t];
            double size = 0;
            for (size_t j = 0; j < k; j++)
                size += pow(x[i * k + j], 2);
            cr_expect_float_eq(size, 1, 1e-14);
        }
        double m = (double)k, fourth = 1 / (m * (m + 2)), sixth = fourth / (m + 4);
        const double means[] = { 1, 1 / m, fourth, 3 * fourth, sixth, 15 * sixth };
        for (int t = 0; t < (cases[c].degree == 6 ? 6 : cases[c].degree == 4 ? 4 : 1); t++)
            cr_expect_float_eq(sums[t], means[t], 1e-11 * means[t], "k = %zu, %d: %g, not %g", k, t, sums[t], means[t]);
        ad_free(columns.data);
        tp_space_free(&space);
        ad_free(x);
    }
}
