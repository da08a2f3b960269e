/* Two batches that nearly agree, are the same rows in another order, or each other's negatives, after smooth functions:
 * V and T* of a layer against plain sampling, limits against those of equal batches and wide networks. Seeds are
 * fixed. */
#include "limn.h"
#include "tp/batch/sphere.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { B = 6, ALL = B * B, FEATURES = 10, RUNS = 16 };

/* Student's t of 15 degrees of freedom is beyond 8.3 once in 2e6. */
static const double most_t = 8.3;

/* ---- a layer, by plain sampling ---- */
static double x[2][B * FEATURES], k11[ALL], k22[ALL], k12[ALL], theta[ALL];

static void multiply_rows(const double *a, const double *b, double *out)
{
    for (int i = 0; i < ALL; i++) {
        out[i] = 0;
        for (int j = 0; j < FEATURES; j++)
            out[i] += a[i / B * FEATURES + j] * b[i % B * FEATURES + j] / FEATURES;
    }
}

static void make_batches(double away)
{
    ad_normal(5, 1, 0, B * FEATURES, x[0]);
    ad_normal(5, 2, 0, B * FEATURES, x[1]);
    ad_normal(5, 3, 0, ALL, theta);
    for (int i = 0; i < B * FEATURES; i++)
        x[1][i] = x[0][i] + away * x[1][i];
    multiply_rows(x[0], x[0], k11);
    multiply_rows(x[1], x[1], k22);
    multiply_rows(x[0], x[1], k12);
}

static double tanh_slope(double z)
{
    return 1 - tanh(z) * tanh(z);
}
static double gelu(double z)
{
    return z * erfc(-z / sqrt(2)) / 2;
}
static double gelu_slope(double z)
{
    return erfc(-z / sqrt(2)) / 2 + z * exp(-z * z / 2) / sqrt(2 * acos(-1));
}
typedef double (*scalar)(double);
static const scalar tanhs[] = { tanh, tanh_slope }, gelus[] = { gelu, gelu_slope };
static void each(const void *context, size_t n, const double *z, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (*(const scalar *)context)(z[i]);
}

typedef struct {
    double mean[4 * ALL], off[4 * ALL]; /* V of both batches, between and own; T*; standard errors of the mean */
} result;

static void add_run(result *r, int run, const double *value)
{
    for (int i = 0; i < 4 * ALL; i++) {
        double away = value[i] - r->mean[i];
        r->mean[i] += away / run;
        r->off[i] += away * (value[i] - r->mean[i]);
    }
    for (int i = 0; i < 4 * ALL && run == RUNS; i++)
        r->off[i] = sqrt(r->off[i] / (RUNS - 1) / RUNS);
}

/* y = f(z) and dy / du of one draw of the weights. */
static void draw_batch(const scalar *f, double epsilon, const double *rows, const double *w, double *y, double *back)
{
    double u[B], mean = 0, variance = epsilon;
    for (int a = 0; a < B; a++) {
        u[a] = 0;
        for (int j = 0; j < FEATURES; j++)
            u[a] += rows[a * FEATURES + j] * w[j] / sqrt(FEATURES);
        mean += u[a] / B;
    }
    for (int a = 0; a < B; a++)
        variance += (u[a] - mean) * (u[a] - mean) / B;
    for (int a = 0; a < B; a++) {
        double z = (u[a] - mean) / sqrt(variance);
        y[a] = f[0](z);
        for (int b = 0; b < B; b++)
            back[a * B + b] = f[1](z) * ((a == b) - 1.0 / B - z * (u[b] - mean) / sqrt(variance) / B) / sqrt(variance);
    }
}

static result plainly(const scalar *f, double epsilon)
{
    enum { DRAWS = 4096 };
    result r = { 0 };
    for (int run = 1; run <= RUNS; run++) {
        double value[4 * ALL] = { 0 }, w[FEATURES], y[2][B], back[2][ALL], through[ALL];
        for (uint64_t draw = 0; draw < DRAWS; draw++) {
            ad_normal(77, (uint64_t)run, draw * FEATURES, FEATURES, w);
            for (int p = 0; p < 2; p++)
                draw_batch(f, epsilon, x[p], w, y[p], back[p]);
            for (int i = 0; i < ALL; i++) {
                value[i] += y[0][i / B] * y[1][i % B] / DRAWS;
                value[ALL + i] += y[0][i / B] * y[0][i % B] / DRAWS;
                value[2 * ALL + i] += y[1][i / B] * y[1][i % B] / DRAWS;
                through[i] = 0;
                for (int b = 0; b < B; b++)
                    through[i] += back[0][i / B * B + b] * theta[b * B + i % B];
            }
            for (int i = 0; i < ALL; i++)
                for (int d = 0; d < B; d++)
                    value[3 * ALL + i] += through[i / B * B + d] * back[1][i % B * B + d] / DRAWS;
        }
        add_run(&r, run, value);
    }
    return r;
}

/* ---- the same by the sphere ---- */
static tp_batchnorm_spec layer_of(double epsilon, tp_slopes phi, int own)
{
    tp_batchnorm_spec spec = { .rows = B, .k11 = own == 2 ? k22 : k11, .epsilon = epsilon, .phi = phi, .phi2 = phi };
    if (own == 0) {
        spec.rows2 = B;
        spec.k22 = k22;
        spec.k12 = k12;
        spec.epsilon2 = epsilon;
    }
    spec.backward = true;
    return spec;
}

static void add_exact(double epsilon, tp_slopes phi, int own, bool back, double *value)
{
    ad_error error = { 0 };
    double g[ALL];
    tp_batchnorm_spec spec = layer_of(epsilon, phi, own);
    tp_batchnorm *layer = tp_batchnorm_new(&spec, &error);
    cr_assert(layer && (!back || !tp_batchnorm_transpose(layer, theta, g, NULL, &error)), "%s", error.text);
    for (int i = 0; i < ALL; i++)
        value[i] += back ? g[i] : tp_batchnorm_forward(layer)[i];
    tp_batchnorm_free(layer);
}

static result by_sphere(const scalar *f, double epsilon)
{
    ad_error error = { 0 };
    result r = { 0 };
    tp_slopes phi = tp_nearest_slopes(&(tp_block_function){ each, f });
    for (int run = 1; run <= RUNS; run++) {
        double value[4 * ALL], off;
        bool whole, sampled, apart;
        for (int part = 0; part < 4; part++) {
            tp_sphere_spec spec = { .layer = layer_of(epsilon, phi, 0),
                                    .f = { { each, f }, { each, f } },
                                    .slope = { { each, f + 1 }, { each, f + 1 } },
                                    .smooth = true,
                                    .theta = part == 3 ? theta : NULL,
                                    .own = part % 3,
                                    .samples = 4096,
                                    .seed = (uint64_t)run,
                                    .most_off = 1e-3 };
            cr_assert(!tp_spheres_apart(&spec, &apart, &error) && !apart, "%s", error.text);
            cr_assert_eq(tp_sphere(&spec, value + part * ALL, &whole, &off, &sampled, &error), 0, "%s", error.text);
            cr_assert(!whole && sampled);
            add_exact(epsilon, phi, part % 3, part == 3, value + part * ALL);
        }
        add_run(&r, run, value);
    }
    return r;
}

Test(near, a_layer_by_plain_sampling)
{
    static const double aways[] = { 0.1, 1e-2 };
    for (int k = 0; k < 4; k++) {
        const scalar *f = k % 2 ? gelus : tanhs;
        make_batches(aways[k / 2]);
        result want = plainly(f, 0.1), got = by_sphere(f, 0.1);
        for (int part = 0; part < 4; part++) {
            double size = 0, off[2] = { 0 };
            for (int i = part * ALL; i < (part + 1) * ALL; i++)
                size = fmax(size, fabs(want.mean[i]));
            for (int i = part * ALL; i < (part + 1) * ALL; i++) {
                cr_expect(fabs(got.mean[i] - want.mean[i]) <= most_t * hypot(got.off[i], want.off[i]) + 5e-5 * size,
                          "%d, part %d, %d: %g +- %g, not %g +- %g", k, part, i - part * ALL, got.mean[i], got.off[i],
                          want.mean[i], want.off[i]);
                off[0] += pow(got.off[i], 2);
                off[1] += pow(want.off[i], 2);
            }
            cr_expect(off[0] < off[1], "%d, part %d: %g, %g", k, part, off[0], off[1]);
        }
    }
}

/* E (y_a - y'_a)^2 of each row, a ten-thousandth of E y_a^2 or less, is as near as that of anything else: as E (y_a^2 -
 * y_a y'_a - ...) by directions of their own it would be lost. */
Test(near, differences_of_batches_by_plain_sampling)
{
    for (int k = 0; k < 2; k++) {
        const scalar *f = k ? gelus : tanhs;
        make_batches(1e-2);
        result want = plainly(f, 0.1), got = by_sphere(f, 0.1);
        for (int a = 0; a < B; a++) {
            int i = a * B + a;
            double difference = got.mean[ALL + i] - 2 * got.mean[i] + got.mean[2 * ALL + i];
            double truth = want.mean[ALL + i] - 2 * want.mean[i] + want.mean[2 * ALL + i];
            cr_expect(truth > 0 && truth < 1e-3, "%d, %d: %g", k, a, truth);
            cr_expect(fabs(difference / truth - 1) < 0.1, "%d, %d: %g, not %g", k, a, difference, truth);
        }
    }
}

/* ---- limits ---- */
static ad_var tower(nn_net *net, ad_var h)
{
    ad_axis n = nn_width(net, "n");
    const char *phi = nn_setting_text(net, "phi", "tanh");
    for (long k = nn_setting_int(net, "depth", 1, 1, 9); k > 0; k--)
        h = nn_activation(
            net, phi, nn_batchnorm(net, nn_name(net, "norm%ld", k), nn_dense(net, nn_name(net, "dense%ld", k), h, n)));
    return nn_readout(net, "readout", h);
}

static nn_net *traced(const char *depth, const char *phi)
{
    ad_error error = { 0 };
    const char *const settings[] = { depth, phi, NULL };
    nn_net *net = nn_trace(tower, &(nn_spec){ .features = FEATURES, .settings = settings }, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static tp_kernel limit(nn_net *net, const double *first, const double *second, uint64_t seed)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT, .seed = seed, .tolerance = 2e-3 };
    cr_assert_eq(tp_limit(program, TP_NTK, first, B, second, B, &spec, &kernel, &error), 0, "%s", error.text);
    tp_program_free(program);
    return kernel;
}

/* |a - sign b| over |a|, b's columns in this order. */
static double apart(const tp_kernel *a, const tp_kernel *b, const int *order, double sign)
{
    double off = 0, size = 0;
    for (int i = 0; i < ALL; i++) {
        double value = a->terms[0].values[i];
        off += pow(value - sign * b->terms[0].values[i / B * B + order[i % B]], 2);
        size += value * value;
    }
    return sqrt(off / size);
}

static const char *const depths[] = { "depth=1", "depth=2", "depth=3" };
static const int in_order[B] = { 0, 1, 2, 3, 4, 5 }, turned[B] = { 2, 0, 1, 5, 3, 4 }, back[B] = { 1, 2, 0, 4, 5, 3 };

/* The error that is told is a standard error in the norm; entries of one sample share theirs: four of both are beyond
 * what chance gives, if all entries are the same number, once in 1e4. */
static void expect_within(const tp_kernel *a, const tp_kernel *b, double distance, double more, const char *what)
{
    double most = 4 * hypot(a->error, b->error) + more;
    cr_expect(a->error <= 2e-3 && b->error <= 2e-3, "%s: %g, %g", what, a->error, b->error);
    cr_expect(distance <= most, "%s: %g, at most %g", what, distance, most);
}

/* Rows that are moved by so much move the kernel by a multiple of that: with 1e-3 and 1e-6, by no more than twice. */
static void check_near(const char *phi, int first)
{
    static const double aways[] = { 1e-3, 1e-6 };
    for (int depth = first; depth < 3; depth++) {
        nn_net *net = traced(depths[depth], phi);
        make_batches(0);
        tp_kernel one = limit(net, x[0], NULL, 1000);
        for (int k = 0; k < 2; k++) {
            make_batches(aways[k]);
            tp_kernel near = limit(net, x[0], x[1], 1);
            expect_within(&one, &near, apart(&one, &near, in_order, 1), 2 * aways[k], depths[depth]);
            tp_kernel_free(&near);
        }
        tp_kernel_free(&one);
        nn_net_free(net);
    }
}
Test(near, limits_of_near_batches_with_tanh)
{
    check_near("phi=tanh", 0);
}
Test(near, limits_of_near_batches_with_gelu)
{
    check_near("phi=gelu", 1);
}
Test(near, limits_of_near_batches_with_erf)
{
    check_near("phi=erf", 1);
}

/* Theta(x, P x) = Theta(x, x) P'; an odd network's Theta(x, -x) = -Theta(x, x). */
Test(near, the_same_rows_in_another_order_and_their_negatives)
{
    for (int depth = 0; depth < 3; depth++) {
        nn_net *net = traced(depths[depth], depth == 1 ? "phi=gelu" : "phi=tanh");
        make_batches(0);
        tp_kernel one = limit(net, x[0], NULL, 1000);
        for (int i = 0; i < B * FEATURES; i++)
            x[1][i] = x[0][turned[i / FEATURES] * FEATURES + i % FEATURES];
        tp_kernel moved = limit(net, x[0], x[1], 1);
        expect_within(&one, &moved, apart(&one, &moved, back, 1), 0, "moved");
        for (int i = 0; i < B * FEATURES; i++)
            x[1][i] = -x[0][i];
        tp_kernel negative = limit(net, x[0], x[1], 1);
        if (depth != 1)
            expect_within(&one, &negative, apart(&one, &negative, in_order, -1), 0, "negative");
        tp_kernel_free(&one);
        tp_kernel_free(&moved);
        tp_kernel_free(&negative);
        nn_net_free(net);
    }
}

/* The mean of SEEDS networks in each entry, as in test_coupled: beyond 6.12 with probability 2.7e-3 / 36. */
static void check_wide(const char *phi, double away)
{
    enum { SEEDS = 12, WIDTH = 1024 };
    double mean[ALL] = { 0 }, squares[ALL] = { 0 }, k[ALL];
    ad_error error = { 0 };
    nn_net *net = traced("depth=2", phi);
    make_batches(away);
    tp_kernel kernel = limit(net, x[0], x[1], 1);
    cr_expect(kernel.error <= 2e-3, "%g", kernel.error);
    for (int seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_model_new(net, WIDTH, (uint64_t)seed, AD_FLOAT, 1, &error);
        cr_assert(model && !nn_ntk(model, x[0], B, x[1], B, NN_MEAN, k, &error), "%s", error.text);
        for (int i = 0; i < ALL; i++) {
            mean[i] += k[i] / SEEDS;
            squares[i] += k[i] * k[i] / SEEDS;
        }
        nn_model_free(model);
    }
    for (int i = 0; i < ALL; i++) {
        double value = kernel.terms[0].values[i], stated = kernel.deviations[i];
        double off = sqrt((squares[i] - mean[i] * mean[i]) / (SEEDS - 1) + stated * stated);
        cr_expect(fabs(mean[i] - value) <= 6.12 * off, "%s, %g, %d: %g +- %g, not %g", phi, away, i, mean[i], off,
                  value);
    }
    tp_kernel_free(&kernel);
    nn_net_free(net);
}
Test(near, wide_networks)
{
    check_wide("phi=tanh", 0.1);
    check_wide("phi=gelu", 0.01);
    check_wide("phi=erf", 0.01);
}
