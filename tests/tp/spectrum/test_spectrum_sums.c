/* Spectra where vectors are sums, and of networks that share weights: closed forms, moments by the exact engine, the
 * equation of chains, samples, and finite networks. */
#include "limn.h"
#include "tests/support/jacobians.h"
#include "tp/spectrum/streams.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, STEPS = 8, SEEDS = 4 };
static double input[FEATURES];

/* 1 + sigma C, C with independent entries. */
static ad_var identity_and_matrix(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    h = ad_add(h, nn_dense_with(net, "block", h, n, .sigma_w = 0.5));
    return nn_readout(net, "readout", ad_tanh(h));
}

/* A vector that a block and a sum read. */
static ad_var begins_with_a_product(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", ad_tanh(nn_dense(net, "embed", x, n)), n);
    h = ad_add(h, nn_dense(net, "block", ad_tanh(h), n));
    return nn_readout(net, "readout", ad_erf(h));
}

/* Two products of one vector meet. */
static ad_var two_branches(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    h = ad_add(nn_dense(net, "a", ad_tanh(h), n), nn_dense(net, "b", ad_relu(h), n));
    h = nn_dense_with(net, "c", ad_erf(h), n, .bias = true, .sigma_b = 0.3);
    return nn_readout(net, "readout", ad_tanh(h));
}

/* Blocks of two layers, of another width inside, scaled and subtracted. */
static ad_var wide_blocks(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 2);
    ad_var h = nn_dense(net, "embed", x, n);
    for (int block = 1; block <= 2; block++) {
        ad_var y = nn_dense(net, nn_name(net, "in%d", block), ad_relu(h), m);
        y = nn_dense_with(net, nn_name(net, "out%d", block), ad_tanh(y), n, .sigma_w = 1.3);
        h = ad_sub(ad_scale(h, 0.8), ad_scale(y, 0.6));
    }
    return nn_readout(net, "readout", ad_tanh(h));
}

typedef struct {
    nn_net *net;
    tp_program *program;
} network;

static network traced(nn_function function, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .settings = settings, .name = function ? "sums" : settings[0] };
    if (!function)
        spec.settings = settings + 1;
    if (!function && strcmp(settings[0], "rnn") == 0)
        memcpy(spec.shape, (size_t[4]){ STEPS, FEATURES / STEPS }, sizeof spec.shape);
    for (int i = 0; i < FEATURES; i++)
        input[i] = cos(1.3 * i);
    network n = { .net = nn_trace(function ? function : nn_builtin(spec.name), &spec, &error) };
    cr_assert(n.net, "%s", error.text);
    n.program = tp_translate(n.net, &error);
    cr_assert(n.program, "%s", error.text);
    return n;
}

static tp_spectrum found(const network *n, tp_spectrum_spec spec)
{
    ad_error error = { 0 };
    tp_spectrum s;
    cr_assert_eq(tp_spectrum_find(n->program, input, &spec, &s, &error), 0, "%s", error.text);
    return s;
}

static void end(network *n)
{
    tp_program_free(n->program);
    nn_net_free(n->net);
}

/* The density's moment, without atoms. */
static double moment(const tp_spectrum *s, int k)
{
    double sum = k ? 0 : s->left_out;
    for (size_t i = 0; i < s->points; i++)
        sum += s->weights[i] * s->per_log[i] * exp(k * s->log_lambda[i]);
    return sum;
}

/* The singular values of 1 + sigma C, made symmetric, are a free sum of signs and a semicircle's law: their ends are
 * z = w (1 + sigma^2 / (w^2 - 1)) with w^2 = 1 + sigma^2 / 2 +- sigma sqrt(2 + sigma^2 / 4). */
Test(spectrum_sums, ends_of_identity_and_matrix)
{
    const double sigma = 0.5;
    network n = traced(identity_and_matrix, NULL);
    tp_spectrum s = found(&n, (tp_spectrum_spec){ .from = "h1" });
    cr_assert(s.has_law, "%s", s.method);
    double root = sigma * sqrt(2 + sigma * sigma / 4), ends[2];
    for (int k = 0; k < 2; k++) {
        double square = 1 + sigma * sigma / 2 + (k ? root : -root);
        ends[k] = sqrt(square) * (1 + sigma * sigma / (square - 1));
    }
    cr_assert_float_eq(s.smallest, fabs(ends[0]), 1e-5, "%.9g %.9g", s.smallest, fabs(ends[0]));
    cr_assert_float_eq(s.largest, ends[1], 1e-5, "%.9g %.9g", s.largest, ends[1]);
    cr_assert_float_eq(s.moments[1], 1 + 4 * pow(sigma, 2) + 2 * pow(sigma, 4), 1e-9);
    for (int k = 0; k <= 4; k++)
        cr_assert_float_eq(moment(&s, k), k ? s.moments[k - 1] : 1, 1e-6 * (k ? s.moments[k - 1] : 1), "m_%d", k);
    tp_spectrum_free(&s);
    end(&n);
}

/* Moments that the exact engine's general rule finds from the trace. */
static void has_moments(nn_function function)
{
    network n = traced(function, NULL);
    tp_spectrum s = found(&n, (tp_spectrum_spec){ .moments = 4, .engine = TP_ENGINE_EXACT });
    cr_assert(s.has_law && strstr(s.method, "general rule"), "%s", s.method);
    cr_assert_float_eq(moment(&s, 0), 1, 1e-5);
    for (int k = 1; k <= 4; k++)
        cr_assert_float_eq(moment(&s, k), s.moments[k - 1], 1e-4 * s.moments[k - 1], "m_%d %.9g for %.9g", k,
                           moment(&s, k), s.moments[k - 1]);
    tp_spectrum_free(&s);
    end(&n);
}

Test(spectrum_sums, moments_of_the_exact_engine)
{
    has_moments(begins_with_a_product);
    has_moments(two_branches);
}

/* A chain is a stream a layer: the same law by the other equation. */
Test(spectrum_sums, a_chain_by_both_equations)
{
    network n = traced(NULL, (const char *const[]){ "mlp", "phi=tanh", "depth=4", "sigma_w=1.2", NULL });
    tp_spectrum chain = found(&n, (tp_spectrum_spec){ 0 }), other = chain;
    ad_error error = { 0 };
    tp_vectors between;
    tp_streams streams;
    double off;
    cr_assert_eq(tp_find_vectors(n.program, NULL, NULL, &between, &error), 0, "%s", error.text);
    cr_assert_eq(tp_trace_streams(n.program, &between, input, &streams, &error), 0, "%s", error.text);
    cr_assert_eq(tp_stream_density(&streams, 400, &other, &off, &error), 0, "%s", error.text);
    cr_assert_float_eq(other.largest, chain.largest, 1e-5 * chain.largest, "%.9g %.9g", other.largest, chain.largest);
    for (int k = -12; k <= 0; k++) {
        double at = k + 1.5;
        cr_assert_float_eq(tp_spectrum_below(&other, at), tp_spectrum_below(&chain, at), 2e-5, "log lambda %g: %g %g",
                           at, tp_spectrum_below(&other, at), tp_spectrum_below(&chain, at));
    }
    tp_streams_free(&streams);
    tp_spectrum_free(&chain);
    other.atoms = NULL;
    tp_spectrum_free(&other);
    end(&n);
}

/* A matrix that comes again in time has a density; the executor needs the trace alone. */
Test(spectrum_sums, recurrent)
{
    network n = traced(NULL, (const char *const[]){ "rnn", "phi=tanh", "sigma_w=1.1", NULL });
    tp_spectrum s = found(&n, (tp_spectrum_spec){ .moments = 3 }), sampled;
    cr_assert(s.has_law, "%s", s.method);
    for (int k = 0; k <= 3; k++)
        cr_assert_float_eq(moment(&s, k), k ? s.moments[k - 1] : 1, 1e-6 * (k ? s.moments[k - 1] : 1), "m_%d", k);
    sampled = found(&n, (tp_spectrum_spec){ .moments = 3, .engine = TP_ENGINE_SAMPLE });
    for (int k = 0; k < 3; k++)
        cr_assert_float_eq(sampled.moments[k], s.moments[k], 4 * sampled.errors[k], "m_%d %g %g ± %g", k + 1,
                           s.moments[k], sampled.moments[k], sampled.errors[k]);
    tp_spectrum_free(&s);
    tp_spectrum_free(&sampled);
    end(&n);
    n = traced(jacobian_tied, NULL);
    s = found(&n, (tp_spectrum_spec){ 0 });
    cr_assert(!s.has_law && strstr(s.method, "transpose"), "%s", s.method);
    tp_spectrum_free(&s);
    end(&n);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double distance_at(const network *n, const tp_spectrum *s, size_t width)
{
    ad_error error = { 0 };
    double *all = ad_alloc(SEEDS * width, sizeof *all, "squares", &error);
    for (size_t seed = 0; seed < SEEDS; seed++) {
        double *values;
        size_t size;
        nn_model *model = nn_model_new(n->net, width, seed + 1, AD_DOUBLE, 1, &error);
        cr_assert_eq(tp_jacobian_squares(n->program, model, input, NULL, NULL, &values, &size, &error), 0, "%s",
                     error.text);
        memcpy(all + seed * width, values, width * sizeof *values);
        ad_free(values);
        nn_model_free(model);
    }
    qsort(all, SEEDS * width, sizeof *all, ascending);
    double off = tp_spectrum_distance(s, all, SEEDS * width);
    ad_free(all);
    return off;
}

Test(spectrum_sums, distribution_functions)
{
    const struct {
        nn_function function;
        const char *const *settings;
    } cases[] = { { jacobian_residual, NULL },
                  { wide_blocks, NULL },
                  { two_branches, NULL },
                  { NULL, (const char *const[]){ "rnn", "phi=tanh", "sigma_w=1.1", NULL } } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        network n = traced(cases[k].function, cases[k].settings);
        tp_spectrum s = found(&n, (tp_spectrum_spec){ 0 });
        cr_assert(s.has_law, "%zu: %s", k, s.method);
        double wide = distance_at(&n, &s, 384), narrow = distance_at(&n, &s, 48);
        cr_assert(wide < 0.03 && (wide < 0.8 * narrow || wide < 0.01), "%zu: %g, %g", k, narrow, wide);
        tp_spectrum_free(&s);
        end(&n);
    }
}
