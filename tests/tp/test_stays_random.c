/* Kernels that fluctuations decide, at every width: jumps and ties of averages, refused by the exact engine where their
 * values are; what no rule sees, refused where the kernels of single networks do not converge. */
#include "limn.h"

/* a room's own header: networks at n = samples */
#include "tp/executor/executor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { N = 4, D = 3 };
static const double x[N][D] = { { 1, 1, 1 }, { 1.3, 0.9, 0.8 }, { 0.5, -0.75, 1.25 }, { -0.7, 1.1, 0.15 } };

/* relu(U x) times a number of each sample. */
static ad_var gated(nn_net *net, ad_var h, ad_var number)
{
    ad_var r = ad_relu(h);
    return nn_readout(net, "readout", ad_mul(r, ad_expand(number, *ad_shape_get(r))));
}

/* Does more than a share of the neurons fire? One half of them does. */
static double share;
static ad_var by_share(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", in, n), fires = ad_mean(ad_step(h), ad_shape_of(n));
    return gated(net, h, ad_step(ad_sub(fires, ad_constant(in.graph, share, *ad_shape_get(fires)))));
}

/* Of which layer do more? Of both one half; of squares' means the second is larger. */
static ad_op compared;
static ad_var by_layer(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), two = ad_fixed(in.graph, "two", 2);
    ad_var h = nn_dense(net, "first", in, n), g = nn_dense_with(net, "second", ad_relu(h), n, .sigma_w = 3);
    ad_var means[] = { ad_mean(compared == AD_STEP ? ad_step(h) : ad_square(h), ad_shape_of(n)),
                       ad_mean(compared == AD_STEP ? ad_step(g) : ad_square(g), ad_shape_of(n)) };
    return gated(net, h, ad_take(ad_argmax_at(AD_HERE, ad_stack(means, 2, two), two), two, 1));
}

/* step(U s / n), s = U' sin(W relu(U x)): s / n vanishes, and its direction is random. */
static ad_var by_rows(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    nn_weight u = nn_make_weight(net, "U", ad_shape_get(in)->axes[1], n, 1), w = nn_make_weight(net, "W", n, n, 1);
    ad_var z = ad_sin(nn_apply(w, ad_relu(nn_apply(u, in))));
    return nn_readout(net, "readout", ad_step(ad_scale_by(nn_apply(u, nn_apply_t(u, z)), 1, n, -1)));
}

/* A product of two layers: no exact rule, and a limit. */
static ad_var product(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", in, n), g = nn_dense(net, "second", ad_tanh(h), n);
    return nn_readout(net, "readout", ad_tanh(ad_mul(g, ad_add(g, nn_dense(net, "third", ad_tanh(h), n)))));
}

static ad_var tied(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2);
    return nn_readout(net, "readout", nn_apply_t(w, ad_erf(nn_apply(w, nn_dense(net, "first", in, n)))));
}

static tp_program *traced(nn_function function, nn_net **net)
{
    ad_error error = { 0 };
    *net = nn_trace(function, &(nn_spec){ .features = D, .outputs = 1 }, &error);
    cr_assert(*net, "%s", error.text);
    tp_program *program = tp_translate(*net, &error);
    cr_assert(program, "%s", error.text);
    return program;
}

/* The NTK's first entry, or NaN with what is said. */
static double first_entry(nn_function function, tp_engine engine, char *method, ad_error *error)
{
    nn_net *net;
    tp_program *program = traced(function, &net);
    tp_kernel kernel = { 0 };
    tp_limit_spec spec = { .engine = engine };
    *error = (ad_error){ 0 };
    double value = (double)NAN;
    if (!tp_limit(program, TP_NTK, x[0], N, NULL, 0, &spec, &kernel, error)) {
        value = kernel.terms[0].values[0];
        snprintf(method, 100, "%.99s", kernel.method);
    }
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
    return value;
}

static void expect_refused(const char *name, nn_function function, const char *op)
{
    char method[100];
    ad_error error;
    for (int engine = 0; engine < 2; engine++) {
        double value = first_entry(function, engine ? TP_ENGINE_SAMPLE : TP_ENGINE_AUTO, method, &error);
        cr_expect(isnan(value), "%s: %g", name, value);
        cr_expect(strstr(error.text, "random"), "%s: %s", name, error.text);
        cr_expect(strstr(error.text, "test_stays_random.c:") && strstr(error.text, op), "%s: %s", name, error.text);
    }
}

/* E relu relu + q / 2 at one input: the ungated network's. */
static const double relu_at_first = 1.0 / 2 + 1.0 / 2;

Test(stays_random, averages_at_a_jump)
{
    char method[100];
    ad_error error;
    share = 0.5;
    expect_refused("one half fires", by_share, "step");
    share = 0.4;
    cr_expect_float_eq(first_entry(by_share, TP_ENGINE_AUTO, method, &error), relu_at_first, 1e-12, "%s", error.text);
    share = 0.6;
    cr_expect_float_eq(first_entry(by_share, TP_ENGINE_AUTO, method, &error), 0, 1e-12, "%s", error.text);
}

Test(stays_random, averages_that_are_equal)
{
    char method[100];
    ad_error error;
    compared = AD_STEP;
    expect_refused("one half each", by_layer, "argmax");
    compared = AD_SQUARE;
    cr_expect_float_eq(first_entry(by_layer, TP_ENGINE_AUTO, method, &error), relu_at_first, 1e-12, "%s", error.text);
}

Test(stays_random, what_no_rule_sees)
{
    char method[100];
    ad_error error;
    expect_refused("rows", by_rows, "step");
    double value = first_entry(product, TP_ENGINE_AUTO, method, &error);
    cr_expect(isfinite(value) && strstr(method, "sampled"), "%g, %s, %s", value, method, error.text);
}

/* A run by independent draws is a network of that width: means and deviations of the first entry over 400 of each agree
 * to 6 standard errors (of the deviation's logarithm, 1/sqrt(2 k) where it is normal). */
Test(stays_random, independent_draws_are_networks)
{
    enum { RUNS = 400, WIDTH = 32 };
    double mean[2] = { 0 }, squares[2] = { 0 }, k[N * N];
    ad_error error = { 0 };
    nn_net *net;
    tp_program *program = traced(tied, &net);
    for (int run = 1; run <= RUNS; run++)
        for (int way = 0; way < 2; way++) {
            nn_model *model = way ? nn_model_new(net, WIDTH, (uint64_t)run, AD_DOUBLE, 1, &error) : NULL;
            tp_sampling sampling = { .samples = WIDTH, .seed = (uint64_t)run, .threads = 1, .independent = true };
            int status = way ? !model || nn_ntk(model, x[0], N, NULL, 0, NN_FULL, k, &error)
                             : tp_sample_once(program, TP_NTK, &sampling, x[0], N, NULL, 0, k, &error);
            cr_assert_eq(status, 0, "%s", error.text);
            nn_model_free(model);
            double off = k[0] - mean[way];
            mean[way] += off / run;
            squares[way] += off * (k[0] - mean[way]);
        }
    double deviation[] = { sqrt(squares[0] / (RUNS - 1)), sqrt(squares[1] / (RUNS - 1)) };
    cr_expect(fabs(mean[0] - mean[1]) < 6 * hypot(deviation[0], deviation[1]) / sqrt(RUNS), "%g and %g", mean[0],
              mean[1]);
    cr_expect(fabs(log(deviation[0] / deviation[1])) < 6 / sqrt(RUNS), "%g and %g", deviation[0], deviation[1]);
    tp_program_free(program);
    nn_net_free(net);
}
