/* Networks that take derivatives of their own output, as physics-informed ones do: their kernels are the mixed
 * derivatives of the plain network's. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, FEATURES = 3, STENCIL = 7 };
static const double bias = 0.5;

/* What is read out: a f + b D f + c D D f, D the derivative along (1, 1, 1). */
typedef struct {
    const char *phi;
    int depth;
    double a, b, c;
} setting;
static setting now;

/* D f, over the axes of f; `primes`: how often the cotangent's axis is primed. */
static ad_var slope(nn_net *net, ad_var f, ad_var x, int primes)
{
    ad_axis outputs = nn_outputs(net), own = outputs;
    for (int k = 0; k < primes; k++)
        own = ad_prime(own);
    ad_var dx;
    ad_backward(f, ad_delta(nn_graph(net), own, outputs), &x, 1, &dx, NULL);
    return ad_relabel(ad_sum(dx, ad_shape_of(ad_shape_get(x)->axes[1])), own, outputs);
}

static ad_var network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = x;
    for (int l = 1; l <= now.depth; l++)
        h = nn_activation(net, now.phi,
                          nn_dense_with(net, nn_name(net, "dense%d", l), h, n, .bias = true, .sigma_b = bias));
    ad_var f = nn_readout(net, "readout", h), all = ad_scale(f, now.a);
    if (!(fabs(now.b) > 0) && !(fabs(now.c) > 0))
        return all;
    ad_var d = slope(net, f, x, 1);
    all = ad_add(all, ad_scale(d, now.b));
    return fabs(now.c) > 0 ? ad_add(all, ad_scale(slope(net, d, x, 2), now.c)) : all;
}

static nn_net *trace(size_t outputs)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(network, &(nn_spec){ .features = FEATURES, .outputs = outputs }, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static void find_limit(tp_kernel_kind which, size_t outputs, const double *x, size_t rows, tp_kernel *kernel)
{
    ad_error error = { 0 };
    nn_net *net = trace(outputs);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    cr_assert_eq(tp_limit(program, which, x, rows, NULL, 0, NULL, kernel, &error), 0, "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- erf's kernels in closed form (Williams, 1997), in long double ---- */
static long double closed(tp_kernel_kind which, const long double *x, const long double *y)
{
    const long double pi = acosl(-1), b = (long double)bias * (long double)bias;
    long double q[3] = { 0 }, theta;
    for (int k = 0; k < FEATURES; k++) {
        q[0] += x[k] * x[k] / FEATURES;
        q[1] += x[k] * y[k] / FEATURES;
        q[2] += y[k] * y[k] / FEATURES;
    }
    theta = q[1] + 1;
    for (int l = 1; l <= now.depth; l++) {
        for (int k = 0; k < 3; k++)
            q[k] += b;
        long double u = 1 + 2 * q[0], v = 1 + 2 * q[2], w = 2 * q[1];
        long double mixed = 2 / pi * asinl(w / sqrtl(u * v)), slopes = 4 / pi / sqrtl(u * v - w * w);
        q[0] = 2 / pi * asinl(2 * q[0] / u);
        q[2] = 2 / pi * asinl(2 * q[2] / v);
        q[1] = mixed;
        theta = mixed + (l < now.depth ? 1 : 0) + slopes * theta;
    }
    return which == TP_NTK ? theta : q[1];
}

/* The weights of f at the points x + k step (1, 1, 1), k = -3 ... 3, in a f + b D f + c D D f, to step^6. */
static void stencil(double step, double *w)
{
    const double first[] = { -1. / 60, 3. / 20, -3. / 4, 0, 3. / 4, -3. / 20, 1. / 60 };
    const double second[] = { 1. / 90, -3. / 20, 3. / 2, -49. / 18, 3. / 2, -3. / 20, 1. / 90 };
    for (int k = 0; k < STENCIL; k++)
        w[k] = now.a * (k == STENCIL / 2) + now.b * first[k] / step + now.c * second[k] / (step * step);
}

static long double derived(tp_kernel_kind which, const double *x, const double *y)
{
    const double step = 0.01;
    double w[STENCIL];
    long double sum = 0;
    stencil(step, w);
    for (int i = 0; i < STENCIL; i++)
        for (int j = 0; j < STENCIL; j++) {
            long double u[FEATURES], v[FEATURES];
            for (int k = 0; k < FEATURES; k++) {
                u[k] = x[k] + (i - STENCIL / 2) * (long double)step;
                v[k] = y[k] + (j - STENCIL / 2) * (long double)step;
            }
            sum += (long double)w[i] * (long double)w[j] * closed(which, u, v);
        }
    return sum;
}

static void check_closed(size_t outputs, double tolerance)
{
    double *x = reference_inputs(ROWS, FEATURES);
    for (int which = TP_NTK; which <= TP_NNGP; which++) {
        tp_kernel kernel;
        find_limit((tp_kernel_kind)which, outputs, x, ROWS, &kernel);
        cr_expect(!strstr(kernel.method, "sampled") && !strstr(kernel.method, "BP-like"), "%s", kernel.method);
        for (size_t e = 0; e < ROWS * ROWS; e++) {
            double truth = (double)derived((tp_kernel_kind)which, x + e / ROWS * FEATURES, x + e % ROWS * FEATURES);
            cr_expect_float_eq(kernel.terms[0].values[e], truth, tolerance,
                               "depth %d, %g f + %g Df + %g DDf, %zu: %.12g, not %.12g", now.depth, now.a, now.b, now.c,
                               e, kernel.terms[0].values[e], truth);
        }
        tp_kernel_free(&kernel);
    }
    free(x);
}

Test(derivatives, kernels_are_mixed_derivatives)
{
    for (int depth = 1; depth <= 2; depth++) {
        now = (setting){ "erf", depth, 1, 0, 0 };
        check_closed(1, 1e-12);
        now = (setting){ "erf", depth, 0, 1, 0 };
        check_closed(1, 1e-8);
        now = (setting){ "erf", depth, 1, 1, 0 };
        check_closed(1, 1e-8);
        check_closed(2, 1e-8);
        now = (setting){ "erf", depth, 0, 0, 1 };
        check_closed(1, 1e-6);
        now = (setting){ "erf", depth, 0.5, -1, 0.3 };
        check_closed(1, 1e-6);
    }
}

/* Of functions without closed forms: differences of the plain network's own limit. */
static void check_differences(tp_kernel_kind which, const char *engine, double tolerance)
{
    enum { POINTS = ROWS * STENCIL };
    const double step = 0.05;
    const setting asked = now;
    double *x = reference_inputs(ROWS, FEATURES), shifted[POINTS * FEATURES], w[STENCIL];
    tp_kernel kernel, plain;
    find_limit(which, 1, x, ROWS, &kernel);
    cr_expect(strstr(kernel.method, engine), "%s", kernel.method);
    for (int k = 0; k < POINTS * FEATURES; k++)
        shifted[k] =
            x[k / (STENCIL * FEATURES) * FEATURES + k % FEATURES] + (k / FEATURES % STENCIL - STENCIL / 2) * step;
    stencil(step, w);
    now = (setting){ asked.phi, asked.depth, 1, 0, 0 };
    find_limit(which, 1, shifted, POINTS, &plain);
    for (int e = 0; e < ROWS * ROWS; e++) {
        double truth = 0;
        for (int k = 0; k < STENCIL * STENCIL; k++)
            truth +=
                w[k / STENCIL] * w[k % STENCIL] *
                plain.terms[0].values[(e / ROWS * STENCIL + k / STENCIL) * POINTS + e % ROWS * STENCIL + k % STENCIL];
        cr_expect_float_eq(kernel.terms[0].values[e], truth, tolerance, "%s, depth %d, %d: %.10g, not %.10g", now.phi,
                           now.depth, e, kernel.terms[0].values[e], truth);
    }
    tp_kernel_free(&kernel);
    tp_kernel_free(&plain);
    free(x);
}

Test(derivatives, tanh_and_gelu)
{
    const char *const names[] = { "tanh", "gelu", "sin" };
    for (int k = 0; k < 3; k++)
        for (int depth = 1; depth <= 2; depth++) {
            now = (setting){ names[k], depth, 0.5, 1, 0 };
            check_differences(TP_NTK, "exact", 1e-5);
            now = (setting){ names[k], depth, 0.5, 1, 0 };
            check_differences(TP_NNGP, "exact", 1e-5);
        }
}

/* step(h) times the derivative of h has no rule: samples, whose error at this tolerance is 6 of theirs and more. */
Test(derivatives, relu_goes_by_samples)
{
    for (int depth = 1; depth <= 2; depth++) {
        now = (setting){ "relu", depth, 1, 1, 0 };
        check_differences(TP_NNGP, "sampled", 0.05);
    }
}

/* At finite width: the output is the plain network's derivative, by differences of its outputs. */
Test(derivatives, at_finite_width)
{
    enum { WIDTH = 32 };
    const double step = 0.01;
    double *x = reference_inputs(ROWS, FEATURES), w[STENCIL], f[ROWS], shifted[ROWS * FEATURES], sum[ROWS] = { 0 };
    ad_error error = { 0 };
    now = (setting){ "tanh", 2, 0.5, 1, 0.3 };
    stencil(step, w);
    nn_net *net = trace(1);
    nn_model *model = nn_model_new(net, WIDTH, 3, AD_DOUBLE, 1, &error);
    cr_assert(model && nn_forward(model, x, ROWS, f, &error) == 0, "%s", error.text);
    nn_model_free(model);
    nn_net_free(net);
    now = (setting){ "tanh", 2, 1, 0, 0 };
    net = trace(1);
    model = nn_model_new(net, WIDTH, 3, AD_DOUBLE, 1, &error);
    for (int k = 0; k < STENCIL; k++) {
        double plain[ROWS];
        for (int i = 0; i < ROWS * FEATURES; i++)
            shifted[i] = x[i] + (k - STENCIL / 2) * step;
        cr_assert(model && nn_forward(model, shifted, ROWS, plain, &error) == 0, "%s", error.text);
        for (int i = 0; i < ROWS; i++)
            sum[i] += w[k] * plain[i];
    }
    for (int i = 0; i < ROWS; i++)
        cr_expect_float_eq(f[i], sum[i], 1e-8, "row %d: %.12g, not %.12g", i, f[i], sum[i]);
    nn_model_free(model);
    nn_net_free(net);
    free(x);
}

static ad_var same_axis_twice(nn_net *net, ad_var x)
{
    ad_var f = nn_readout(net, "readout", ad_tanh(nn_dense(net, "dense", x, nn_width(net, "n"))));
    return slope(net, slope(net, f, x, 1), x, 1);
}

Test(derivatives, an_axis_of_the_cotangent_is_a_new_one)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(same_axis_twice, &(nn_spec){ .features = FEATURES, .outputs = 2 }, &error);
    cr_assert(!net);
    cr_expect(strstr(error.text, "test_derivatives.c:") && strstr(error.text, "ad_prime"), "%s", error.text);
}
