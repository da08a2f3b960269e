/* Batch normalisation at infinite width: against the exact reference, and against direct integration over the
 * Gaussian. */
#include "limn.h"
#include "tests/support/reference.h"
#include "tests/support/tower.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double worst_of(size_t count, const double *got, const double *expected)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs(got[i] - expected[i]));
        largest = fmax(largest, fabs(expected[i]));
    }
    return worst / largest;
}

static double dot(size_t count, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- the reference: depth 1, relu, epsilon = 0, batches of rank 5 ---- */
Test(batchnorm, reference)
{
    static const struct {
        const char *nngp, *ntk;
        int first, second; /* rows of the inputs; -1: against itself */
    } blocks[] = { { "limit.gp1", "limit.ntk1", 0, -1 },
                   { "limit.gp2", "limit.ntk2", 6, -1 },
                   { "limit.gpx", "limit.ntkx", 0, 6 } };
    reference *ref = reference_read("bn_relu_b6_b6_depth1");
    double *x = reference_inputs(12, 10), nngp[36], ntk[36], difference;
    tower_net net = { .depth = 1, .sigma_w = 1, .sigma_in = NN_SIGMA_MULTIPLIER, .phi = TP_SLOPES_RELU };
    ad_error error = { 0 };
    for (size_t b = 0; b < 3; b++) {
        const double *second = blocks[b].second < 0 ? NULL : x + 10 * blocks[b].second;
        cr_assert_eq(tower_kernels(&net, x + 10 * blocks[b].first, 6, second, 6, 10, nngp, ntk, &difference, &error), 0,
                     "%s", error.text);
        cr_expect_lt(difference, 1e-9);
        cr_expect_lt(worst_of(36, nngp, reference_array(ref, blocks[b].nngp, 36)), 1e-12, "%s", blocks[b].nngp);
        cr_expect_lt(worst_of(36, ntk, reference_array(ref, blocks[b].ntk, 36)), 1e-12, "%s", blocks[b].ntk);
    }
    free(x);
    reference_free(ref);
}

/* ---- direct integration ----
 * Inputs of two features: every u is x w, w ~ N(0, Sigma) in the plane, so V and T are integrals over an angle, smooth
 * between the directions where a sample meets its batch's mean, and a radius. */
enum { PLANE = 2, MOST = 6, GAUSS = 32 };

typedef struct {
    size_t rows;
    double x[MOST][PLANE]; /* centred */
} plane_batch;

static plane_batch plane(size_t rows, size_t first, double scale)
{
    plane_batch b = { .rows = rows };
    double mean[PLANE] = { 0 };
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < PLANE; j++) {
            b.x[i][j] = scale * sin(1.0 + 2.3 * (double)(i + first) + 1.9 * (double)(j * (i + first + 1)));
            mean[j] += b.x[i][j] / (double)rows;
        }
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < PLANE; j++)
            b.x[i][j] -= mean[j];
    return b;
}

/* y and its Jacobian jacobian[b][a] = dy_b / du_a, by the textbook's formula. */
static void normalise(const plane_batch *b, const double *w, double epsilon, tp_slopes phi, double *y,
                      double jacobian[MOST][MOST])
{
    double u[MOST], n = (double)b->rows, variance = epsilon;
    for (size_t i = 0; i < b->rows; i++) {
        u[i] = b->x[i][0] * w[0] + b->x[i][1] * w[1];
        variance += u[i] * u[i] / n;
    }
    double root = sqrt(variance);
    for (size_t i = 0; i < b->rows; i++) {
        double z = u[i] / root, slope = z > 0 ? phi.above : phi.below;
        y[i] = slope * z;
        for (size_t j = 0; j < b->rows; j++)
            jacobian[i][j] = slope / root * ((i == j) - 1 / n - z * u[j] / root / n);
    }
}

typedef struct {
    const plane_batch *first, *second;
    double epsilon;
    tp_slopes phi;
    const double *pi;
    double v[MOST * MOST], t[MOST * MOST];
} direct;

static void add_point(direct *d, const double *w, double weight)
{
    double y1[MOST], y2[MOST], j1[MOST][MOST], j2[MOST][MOST];
    size_t m = d->first->rows, n = d->second->rows;
    normalise(d->first, w, d->epsilon, d->phi, y1, j1);
    normalise(d->second, w, d->epsilon, d->phi, y2, j2);
    for (size_t a = 0; a < m; a++)
        for (size_t c = 0; c < n; c++) {
            double sum = 0;
            for (size_t b = 0; b < m; b++)
                for (size_t k = 0; k < n; k++)
                    sum += j1[b][a] * d->pi[b * n + k] * j2[k][c];
            d->v[a * n + c] += weight * y1[a] * y2[c];
            d->t[a * n + c] += weight * sum;
        }
}

/* The rays of one angle: radius e^v, whose density is e^(2v - e^(2v) / 2) / 2 pi. */
static void add_ray(direct *d, double angle, double weight)
{
    const double h = 0.05, pi = acos(-1);
    for (double v = -19; v < 2.3; v += h) {
        double radius = exp(v), w[PLANE] = { radius * cos(angle), radius * sin(angle) };
        add_point(d, w, weight * h * radius * radius * exp(-radius * radius / 2) / (2 * pi));
    }
}

/* Samples of one feature: the integral over w = +-e^v. */
static void integrate_line(direct *d)
{
    const double h = 0.05, pi = acos(-1);
    for (double v = -42; v < 2.3; v += h)
        for (int sign = -1; sign <= 1; sign += 2) {
            double size = exp(v), w[PLANE] = { sign * size, 0 };
            add_point(d, w, h * size * exp(-size * size / 2) / sqrt(2 * pi));
        }
}

static void gauss_legendre(double *x, double *w)
{
    for (int i = 0; i < GAUSS; i++) {
        double z = cos(acos(-1) * (i + 0.75) / (GAUSS + 0.5)), slope = 1;
        for (int k = 0; k < 20; k++) {
            double p = 1, before = 0;
            for (int j = 1; j <= GAUSS; j++) {
                double next = ((2 * j - 1) * z * p - (j - 1) * before) / j;
                before = p;
                p = next;
            }
            slope = GAUSS * (z * p - before) / (z * z - 1);
            z -= p / slope;
        }
        x[i] = z;
        w[i] = 2 / ((1 - z * z) * slope * slope);
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void integrate(direct *d)
{
    const plane_batch *of[] = { d->first, d->second };
    if (!(fabs(d->first->x[0][1]) > 0) && !(fabs(d->second->x[0][1]) > 0)) {
        integrate_line(d);
        return;
    }
    double cuts[4 * MOST + 1], nodes[GAUSS], weights[GAUSS], pi = acos(-1);
    size_t n = 0;
    for (int s = 0; s < 2; s++)
        for (size_t i = 0; i < of[s]->rows; i++)
            for (int k = 0; k < 2; k++) {
                double angle = atan2(of[s]->x[i][1], of[s]->x[i][0]) + pi / 2 + k * pi;
                cuts[n++] = fmod(angle + 4 * pi, 2 * pi);
            }
    qsort(cuts, n, sizeof *cuts, ascending);
    cuts[n] = cuts[0] + 2 * pi;
    gauss_legendre(nodes, weights);
    for (size_t i = 0; i < n; i++) {
        double half = (cuts[i + 1] - cuts[i]) / 2, middle = (cuts[i + 1] + cuts[i]) / 2;
        for (int k = 0; k < GAUSS; k++)
            add_ray(d, middle + half * nodes[k], half * weights[k]);
    }
}

static void gram(const plane_batch *a, const plane_batch *b, double *out)
{
    for (size_t i = 0; i < a->rows; i++)
        for (size_t j = 0; j < b->rows; j++)
            out[i * b->rows + j] = a->x[i][0] * b->x[j][0] + a->x[i][1] * b->x[j][1];
}

/* V, T and T* of one layer; second NULL: one batch. */
static void check_layer(const char *name, const plane_batch *first, const plane_batch *second, double epsilon,
                        tp_slopes phi)
{
    double k11[MOST * MOST], k22[MOST * MOST], k12[MOST * MOST], pi[MOST * MOST], x[MOST * MOST], t[MOST * MOST];
    const plane_batch *other = second ? second : first;
    size_t count = first->rows * other->rows;
    gram(first, first, k11);
    gram(other, other, k22);
    gram(first, other, k12);
    for (size_t i = 0; i < count; i++) {
        pi[i] = cos(1.0 + 3.0 * (double)i);
        x[i] = sin(2.0 + 5.0 * (double)i);
    }
    direct d = { .first = first, .second = other, .epsilon = epsilon, .phi = phi, .pi = pi };
    integrate(&d);
    ad_error error = { 0 };
    tp_batchnorm *layer = tp_batchnorm_new(&(tp_batchnorm_spec){ .rows = first->rows,
                                                                 .rows2 = second ? second->rows : 0,
                                                                 .k11 = k11,
                                                                 .k22 = k22,
                                                                 .k12 = k12,
                                                                 .epsilon = epsilon,
                                                                 .epsilon2 = epsilon,
                                                                 .phi = phi,
                                                                 .phi2 = phi,
                                                                 .backward = true },
                                           &error);
    cr_assert(layer, "%s: %s", name, error.text);
    double difference;
    cr_assert_eq(tp_batchnorm_backward(layer, pi, t, &difference, &error), 0, "%s", error.text);
    cr_expect_lt(difference, 1e-8, "%s: %g", name, difference);
    double off_v = worst_of(count, tp_batchnorm_forward(layer), d.v), off_t = worst_of(count, t, d.t);
    cr_expect_lt(off_v, 1e-11, "%s, epsilon %g: V is off by %g", name, epsilon, off_v);
    cr_expect_lt(off_t, 1e-11, "%s, epsilon %g: T is off by %g", name, epsilon, off_t);
    double forwards = dot(count, x, t);
    cr_assert_eq(tp_batchnorm_transpose(layer, x, x, NULL, &error), 0, "%s", error.text);
    cr_expect_lt(fabs(dot(count, x, pi) - forwards), 1e-12 * sqrt(dot(count, x, x) * dot(count, pi, pi)), "%s", name);
    tp_batchnorm_free(layer);
}

static const struct {
    const char *name;
    tp_slopes phi;
} functions[] = {
    { "relu", { 1, 0, 0 } }, { "leaky", { 1, 0.2, 0.2 } }, { "abs", { 1, -1, 0 } }, { "identity", { 1, 1, 1 } }
};
static const double epsilons[] = { 1e-5, 0.1, 30 };

Test(batchnorm, one_batch_by_direct_integration)
{
    plane_batch b = plane(5, 0, 1), pair = plane(2, 1, 1);
    pair.x[0][1] = pair.x[1][1] = 0;
    for (size_t f = 0; f < 4; f++)
        for (size_t e = 0; e < 3; e++) {
            check_layer(functions[f].name, &b, NULL, epsilons[e], functions[f].phi);
            check_layer(functions[f].name, &pair, NULL, epsilons[e], functions[f].phi);
        }
}

/* The batches share two samples. */
Test(batchnorm, two_batches_by_direct_integration)
{
    plane_batch a = plane(5, 0, 1), b = plane(4, 3, 1), tiny = plane(3, 4, 1e-2);
    for (size_t f = 0; f < 4; f++)
        for (size_t e = 0; e < 3; e++) {
            check_layer(functions[f].name, &a, &b, epsilons[e], functions[f].phi);
            check_layer(functions[f].name, &tiny, &a, epsilons[e], functions[f].phi);
        }
}

/* Theta_ij = c^2 V_ij + c^2 sigma^2 <T(e_i e_j'), K_0> for one layer, both conventions of sigma. */
Test(batchnorm, kernels_of_one_layer_by_direct_integration)
{
    enum { M = 5, N = 4 };
    const double sigma = 1.3;
    plane_batch a = plane(M, 0, 1), b = plane(N, 3, 1), wide = a, wide2 = b;
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < PLANE; j++) {
            wide.x[i][j] *= sigma / sqrt(PLANE);
            wide2.x[i][j] *= sigma / sqrt(PLANE);
        }
    double k0[M * N], nngp[M * N], ntk[M * N], expected[2][M * N], difference;
    gram(&a, &b, k0);
    for (size_t e = 0; e < 2; e++)
        for (int multiplier = 0; multiplier < 2; multiplier++) {
            double c2 = multiplier ? sigma * sigma : 1;
            for (size_t i = 0; i < M * N; i++) {
                double unit[M * N] = { 0 };
                unit[i] = 1;
                direct d = {
                    .first = &wide, .second = &wide2, .epsilon = epsilons[e], .phi = functions[1].phi, .pi = unit
                };
                integrate(&d);
                expected[0][i] = sigma * sigma * d.v[i];
                expected[1][i] = c2 * d.v[i] + c2 * sigma * sigma * dot(M * N, d.t, k0) / PLANE;
            }
            tower_net net = { 1, sigma, epsilons[e], multiplier ? NN_SIGMA_MULTIPLIER : NN_SIGMA_INIT,
                              functions[1].phi };
            ad_error error = { 0 };
            cr_assert_eq(tower_kernels(&net, a.x[0], M, b.x[0], N, PLANE, nngp, ntk, &difference, &error), 0, "%s",
                         error.text);
            cr_expect_lt(worst_of(M * N, nngp, expected[0]), 1e-11);
            cr_expect_lt(worst_of(M * N, ntk, expected[1]), 1e-11);
        }
}

/* ---- what must hold exactly ---- */
Test(batchnorm, a_batch_beside_its_copy_is_the_batch)
{
    enum { B = 5 };
    double *x = reference_inputs(B, 10), one[B * B], two[B * B];
    for (int e = 0; e < 2; e++)
        for (size_t depth = 1; depth <= 2; depth++) {
            tower_net net = { depth, 1.2, e ? 1e-3 : 0, NN_SIGMA_INIT, TP_SLOPES_RELU };
            ad_error error = { 0 };
            cr_assert_eq(tower_kernels(&net, x, B, NULL, 0, 10, NULL, one, NULL, &error), 0, "%s", error.text);
            cr_assert_eq(tower_kernels(&net, x, B, x, B, 10, NULL, two, NULL, &error), 0, "%s", error.text);
            double off = worst_of(B * B, two, one);
            cr_expect_lt(off, 1e-10, "depth %zu: %g", depth, off);
        }
    free(x);
}

/* At rank 3 and epsilon = 0 the integrals converge slowly, and batches may share all but one direction. */
Test(batchnorm, least_ranks)
{
    double *x = reference_inputs(9, 10), one[16], two[16], whole[16], difference;
    tower_net net = { 1, 1, 0, NN_SIGMA_INIT, TP_SLOPES_RELU };
    ad_error error = { 0 };
    cr_assert_eq(tower_kernels(&net, x, 4, NULL, 0, 10, NULL, one, &difference, &error), 0, "%s", error.text);
    cr_expect_lt(difference, 1e-9);
    cr_assert_eq(tower_kernels(&net, x, 4, x, 4, 10, NULL, two, &difference, &error), 0, "%s", error.text);
    cr_expect_lt(worst_of(16, two, one), 1e-7, "%g", worst_of(16, two, one));
    net.epsilon = 1e-14;
    cr_assert_eq(tower_kernels(&net, x, 4, NULL, 0, 10, NULL, whole, NULL, &error), 0, "%s", error.text);
    cr_expect_lt(worst_of(16, whole, one), 1e-5);
    net.epsilon = 0;
    cr_expect_eq(tower_kernels(&net, x, 3, x + 20, 3, 10, NULL, two, &difference, &error), 0, "%s", error.text);
    free(x);
}

/* An equal sample in every place: z = 0, phi' = at_zero, du = G dy at_zero / sqrt epsilon. */
Test(batchnorm, a_constant_batch)
{
    enum { B = 3 };
    double k[B * B], pi[B * B], t[B * B];
    for (int i = 0; i < B * B; i++) {
        k[i] = 0.7;
        pi[i] = sin(1.0 + i);
    }
    ad_error error = { 0 };
    tp_batchnorm_spec spec = {
        .rows = B, .k11 = k, .epsilon = 0.1, .phi = TP_SLOPES_LEAKY(0.3), .phi2 = TP_SLOPES_LEAKY(0.3), .backward = true
    };
    tp_batchnorm *layer = tp_batchnorm_new(&spec, &error);
    cr_assert(layer, "%s", error.text);
    cr_assert_eq(tp_batchnorm_backward(layer, pi, t, NULL, &error), 0, "%s", error.text);
    for (int a = 0; a < B; a++)
        for (int c = 0; c < B; c++) {
            double sum = 0;
            for (int b = 0; b < B; b++)
                for (int d = 0; d < B; d++)
                    sum += ((a == b) - 1.0 / B) * pi[b * B + d] * ((d == c) - 1.0 / B);
            cr_expect_float_eq(t[a * B + c], 0.09 / 0.1 * sum, 1e-12);
            cr_expect_float_eq(tp_batchnorm_forward(layer)[a * B + c], 0, 1e-300);
        }
    tp_batchnorm_free(layer);
}

/* ---- errors ---- */
static void expect_refused(const tower_net *net, const double *x, size_t rows, const double *x2, size_t rows2,
                           const char *says)
{
    double ntk[64];
    ad_error error = { 0 };
    cr_expect_eq(tower_kernels(net, x, rows, x2, rows2, 10, NULL, ntk, NULL, &error), -1);
    cr_expect(strstr(error.text, says), "\"%s\" does not say \"%s\"", error.text, says);
}

Test(batchnorm, what_has_no_limit_is_refused)
{
    double *x = reference_inputs(8, 10), nngp[9], equal[30];
    for (int i = 0; i < 30; i++)
        equal[i] = x[i % 10];
    tower_net net = { 2, 1, 0, NN_SIGMA_INIT, TP_SLOPES_RELU };
    ad_error error = { 0 };
    expect_refused(&net, x, 1, NULL, 0, "variance 0");
    expect_refused(&net, equal, 3, NULL, 0, "variance 0");
    expect_refused(&net, x, 4, equal, 3, "variance 0");
    expect_refused(&net, x, 3, NULL, 0, "infinite");
    expect_refused(&net, x, 3, x, 3, "infinite");
    cr_expect_eq(tower_kernels(&net, x, 3, NULL, 0, 10, nngp, NULL, NULL, &error), 0, "%s", error.text);
    cr_expect_eq(tower_kernels(&net, x, 2, NULL, 0, 10, nngp, NULL, NULL, &error), 0, "%s", error.text);
    cr_expect_float_eq(nngp[0], 0.5, 1e-12);
    net.epsilon = -1e-5;
    expect_refused(&net, x, 6, NULL, 0, "epsilon");
    net.epsilon = (double)NAN;
    expect_refused(&net, x, 6, NULL, 0, "epsilon");
    net = (tower_net){ 0, 1, 0.1, NN_SIGMA_INIT, TP_SLOPES_RELU };
    expect_refused(&net, x, 6, NULL, 0, "depth");
    net = (tower_net){ 1, 1, 0.1, NN_SIGMA_INIT, TP_SLOPES_RELU };
    x[3] = (double)INFINITY;
    expect_refused(&net, x, 6, NULL, 0, "range of a double");
    const double wrong[] = { 1, 3, 3, 1 }, fits[] = { 1, -1, -1, 1 }, far[] = { 2, -2, -2, 2 };
    tp_batchnorm_spec spec = { .rows = 2, .k11 = wrong, .epsilon = 0.1, .phi = TP_SLOPES_RELU, .phi2 = TP_SLOPES_RELU };
    cr_expect(!tp_batchnorm_new(&spec, &error) && strstr(error.text, "no covariance"), "%s", error.text);
    error = (ad_error){ 0 };
    spec = (tp_batchnorm_spec){ .rows = 2,
                                .rows2 = 2,
                                .k11 = fits,
                                .k22 = fits,
                                .k12 = far,
                                .epsilon = 0.1,
                                .epsilon2 = 0.1,
                                .phi = TP_SLOPES_RELU };
    cr_expect(!tp_batchnorm_new(&spec, &error) && strstr(error.text, "fit together"), "%s", error.text);
    free(x);
}

Test(batchnorm, every_allocation_may_fail)
{
    double *x = reference_inputs(8, 10), ntk[16];
    tower_net net = { 2, 1, 0.1, NN_SIGMA_INIT, TP_SLOPES_RELU };
    int status = -1;
    long k = 0;
    while (status < 0 && k < 1000) {
        ad_error error = { 0 };
        ad_hook_allocation(++k);
        status = tower_kernels(&net, x, 4, x + 40, 4, 10, NULL, ntk, NULL, &error);
        cr_assert(!status || error.text[0]);
    }
    ad_hook_allocation(0);
    cr_expect_eq(status, 0);
    cr_expect_gt(k, 20);
    free(x);
}
