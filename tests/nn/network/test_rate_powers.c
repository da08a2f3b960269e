/* The powers of n that rates have: of gradient descent those of the scale, of Adam and its kin what the trace tells;
 * with these, what three steps of Adam change in a mu-P network does not depend on the width. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 6, MOST = 24 };

static nn_net *trace(nn_function function, nn_parametrization scale, const size_t *shape, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .parametrization = scale, .settings = settings };
    for (int i = 0; shape && i < 2; i++)
        spec.shape[i] = shape[i];
    if (shape)
        spec.features = 0;
    nn_net *net = nn_trace(function, &spec, &error);
    cr_assert(net, "%s", error.text);
    cr_assert(nn_n_params(net) <= MOST);
    return net;
}

static void expect_powers(nn_net *net, nn_optimizer optimizer, const char *const *names, const double *wanted)
{
    double powers[MOST];
    ad_error error = { 0 };
    cr_assert(nn_rate_powers(net, optimizer, powers, &error) == 0, "%s", error.text);
    for (int i = 0; names[i]; i++) {
        int met = 0;
        for (int k = 0; k < nn_n_params(net); k++) {
            const char *name = ad_node_of(nn_graph(net), nn_param(net, k).id)->name;
            if (strcmp(name, names[i]) != 0)
                continue;
            met++;
            cr_expect_float_eq(powers[k], wanted[i], 1e-12, "%s, %s, %s: %g, not %g",
                               nn_parametrization_name(nn_spec_of(net)->parametrization), nn_optimizer_name(optimizer),
                               name, powers[k], wanted[i]);
        }
        cr_expect_eq(met, 1, "%s", names[i]);
    }
    nn_net_free(net);
}

/* Sites of every kind; `gain` multiplies, `pooled` is a readout by hand, in which the product is summed. */
static ad_var many(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), wide = nn_width_ratio(net, "m", 2);
    ad_var h = nn_dense_with(net, "input", x, n, .bias = true, .sigma_b = 0.3);
    h = ad_add(h, nn_dense_with(net, "hidden", ad_tanh(h), n, .bias = true, .sigma_b = 0.2));
    h = nn_layernorm_with(net, "norm", h, .affine = true);
    h = ad_relu(nn_dense(net, "wide", ad_tanh(h), wide));
    ad_var pooled = ad_param(nn_graph(net), "pooled", ad_shape_of(wide),
                             (ad_init){ .axis = wide, .deviation = 1, .multiplier = 1, .rate = 1 });
    ad_var f = nn_readout_with(net, "readout", h, .bias = true, .sigma_b = 0.1);
    ad_var mean = ad_scale_by(ad_sum(ad_mul(h, pooled), ad_shape_of(wide)), 1, wide, -0.5);
    return ad_add(f, ad_expand(mean, *ad_shape_get(f)));
}

static const char *const kinds[] = { "input.weight", "input.bias",  "hidden.weight",
                                     "hidden.bias",  "norm.weight", "norm.bias",
                                     "wide.weight",  "pooled",      "readout.weight",
                                     "readout.bias", NULL };

Test(rate_powers, follow_from_the_trace)
{
    static const double adam[][10] = {
        [NN_NTK] = { 0, 0, -0.5, 0, 0, 0, -0.5, -0.5, -0.5, 0 },
        [NN_STANDARD] = { 0, 0, -1, 0, 0, 0, -1, -0.5, -1, 0 },
        [NN_MEANFIELD] = { 0, 0, 0, 0, 0, 0, 0, -0.5, 0, 0 },
        [NN_MUP] = { -0.5, -0.5, -1, -0.5, 0, 0, -1, -0.5, -0.5, 0 },
    };
    static const double descent[][10] = {
        [NN_NTK] = { 0 },
        [NN_STANDARD] = { 0 },
        [NN_MEANFIELD] = { 1, 1, 1, 1, 1, 1, 1, 0, 1, 0 },
        [NN_MUP] = { 0, 0, 0, 0, 1, 1, 0, 0, 0, 0 },
    };
    for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++)
        for (int kind = 0; kind < NN_N_OPTIMIZERS; kind++)
            expect_powers(trace(many, (nn_parametrization)scale, NULL, NULL), (nn_optimizer)kind, kinds,
                          kind >= NN_ADAM ? adam[scale] : descent[scale]);
}

/* A table that is also the readout, times its own multiplier: the largest change decides. */
static ad_var tied(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight in = nn_make_weight(net, "table", ad_shape_get(x)->axes[1], n, 1);
    ad_var h = ad_tanh(nn_dense(net, "hidden", nn_apply(in, x), n));
    ad_var back =
        ad_scale_by(ad_matmul_t(h, in.omega), 1, n, nn_setting_real(net, "power", -1)); /* (batch, features) */
    return ad_add(nn_readout(net, "readout", h), ad_expand(ad_sum(back, ad_shape_of(ad_shape_get(x)->axes[1])),
                                                           ad_shape_of(nn_batch(net), nn_outputs(net))));
}

Test(rate_powers, of_several_uses_the_largest_change_decides)
{
    static const char *const names[] = { "table", "hidden.weight", NULL };
    expect_powers(trace(tied, NN_NTK, NULL, NULL), NN_ADAM, names, (double[]){ 0, -0.5 });
    expect_powers(trace(tied, NN_NTK, NULL, (const char *[]){ "power=-0.5", NULL }), NN_ADAM, names,
                  (double[]){ -0.5, -0.5 });
    expect_powers(trace(tied, NN_MUP, NULL, NULL), NN_ADAM, names, (double[]){ -0.5, -1 });
}

/* Rows of a table are vectors: a matrix that meets them next is a product with another parameter, as it is with a dense
 * layer's outputs. */
static ad_var embedded(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var e = ad_take(nn_embedding(net, "letters", x, 5, n, 1), ad_shape_get(x)->axes[1], 0);
    return nn_readout(net, "readout", ad_tanh(nn_dense(net, "hidden", e, n)));
}

Test(rate_powers, of_an_embedding_under_a_matrix)
{
    static const char *const names[] = { "letters.weight", "hidden.weight", "readout.weight", NULL };
    expect_powers(trace(embedded, NN_NTK, NULL, NULL), NN_ADAM, names, (double[]){ 0, -0.5, -0.5 });
    expect_powers(trace(embedded, NN_MUP, NULL, NULL), NN_ADAM, names, (double[]){ -0.5, -1, -0.5 });
}

/* So is a state that is learned, or a row of a table that is taken by its place. */
static ad_var from_a_state(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), two = ad_fixed(nn_graph(net), "two", 2);
    nn_weight state = nn_make_bias(net, "state", n, 1);
    ad_init one = { .axis = n, .deviation = 1, .multiplier = 1, .rate = 1 };
    ad_var row = ad_take(ad_param(nn_graph(net), "rows", ad_shape_of(two, n), one), two, 1);
    nn_weight w = nn_make_weight(net, "W", n, n, 1);
    ad_var s = ad_scale_by(state.omega, state.c, state.fan_in, state.power);
    ad_var h = ad_add(nn_dense(net, "input", x, n), ad_add(nn_apply(w, s), nn_apply(w, row)));
    return nn_readout(net, "readout", ad_tanh(h));
}

Test(rate_powers, of_a_vector_under_a_matrix)
{
    static const char *const names[] = { "state", "rows", "W", "input.weight", NULL };
    expect_powers(trace(from_a_state, NN_NTK, NULL, NULL), NN_ADAM, names, (double[]){ 0, 0, -0.5, 0 });
    expect_powers(trace(from_a_state, NN_MUP, NULL, NULL), NN_ADAM, names, (double[]){ -0.5, 0, -1, -0.5 });
}

Test(rate_powers, of_a_recurrent_network)
{
    static const char *const names[] = { "layer1.W", "layer1.U", "readout.weight", NULL };
    expect_powers(trace(nn_builtin("rnn"), NN_MUP, (size_t[]){ 4, FEATURES }, NULL), NN_ADAM, names,
                  (double[]){ -1, -0.5, -0.5 });
}

/* ---- three steps of Adam in mu-P ---- */
static ad_var second; /* of the network that was traced last */

static ad_var two_layers(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense_with(net, "dense1", x, n, .bias = true, .sigma_b = 0.3));
    second = nn_dense_with(net, "dense2", h, n, .bias = true, .sigma_b = 0.3);
    return nn_readout_with(net, "readout", ad_tanh(second), .bias = true, .sigma_b = 0.3);
}

/* The root mean square of what three full-batch steps change in the second preactivation. */
static double change_at(nn_net *net, size_t n, nn_optimizer optimizer)
{
    enum { ROWS = 8, SEEDS = 4 };
    double x[ROWS * FEATURES], y[ROWS], sum = 0, *h[2];
    for (int i = 0; i < ROWS; i++) {
        y[i] = sin(2.0 * i);
        for (int j = 0; j < FEATURES; j++)
            x[i * FEATURES + j] = sin(1 + 2.3 * i + 0.9 * j * (i + 1));
    }
    for (int k = 0; k < 2; k++)
        h[k] = malloc(ROWS * n * sizeof *h[k]);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_model_new(net, n, seed, AD_DOUBLE, 1, NULL);
        nn_fit_spec spec = { .loss = NN_SQUARE, .optimizer = optimizer, .rate = 5e-4, .steps = 3 };
        cr_assert(nn_activations(model, second, x, ROWS, h[0], NULL) == 0);
        cr_assert(nn_fit(model, &(nn_data){ x, y, ROWS, 0 }, &spec, NULL, NULL) == 0);
        cr_assert(nn_activations(model, second, x, ROWS, h[1], NULL) == 0);
        for (size_t i = 0; i < ROWS * n; i++)
            sum += (h[1][i] - h[0][i]) * (h[1][i] - h[0][i]) / (double)(ROWS * n * SEEDS);
        nn_model_free(model);
    }
    free(h[0]);
    free(h[1]);
    return sqrt(sum);
}

/* The slope of log change over log n is within 0.05 of 0. */
Test(rate_powers, three_steps_of_adam_in_mup_do_not_know_the_width, .timeout = 300)
{
    static const size_t widths[] = { 64, 128, 256, 512, 1024, 2048 };
    enum { N = sizeof widths / sizeof *widths };
    nn_net *net = trace(two_layers, NN_MUP, NULL, NULL);
    for (int kind = NN_ADAM; kind < NN_N_OPTIMIZERS; kind++) {
        double u = 0, v = 0, uu = 0, uv = 0, change[N];
        for (int k = 0; k < N; k++) {
            change[k] = change_at(net, widths[k], (nn_optimizer)kind);
            double a = log((double)widths[k]), b = log(change[k]);
            u += a / N;
            v += b / N;
            uu += a * a / N;
            uv += a * b / N;
        }
        double slope = (uv - u * v) / (uu - u * u);
        cr_expect(fabs(slope) < 0.05, "%s: slope %.3f (%g, %g, ..., %g)", nn_optimizer_name((nn_optimizer)kind), slope,
                  change[0], change[1], change[N - 1]);
        cr_log_info("%s: slope %.3f, %g to %g", nn_optimizer_name((nn_optimizer)kind), slope, change[0], change[N - 1]);
    }
    nn_net_free(net);
}
