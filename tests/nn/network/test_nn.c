/* Tracing networks: settings, parametrizations, layers, errors. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static nn_net *trace_mlp(const char *const *settings, nn_parametrization scale, nn_sigma_in sigma_in, ad_error *error)
{
    return nn_trace(nn_builtin("mlp"),
                    &(nn_spec){ .features = 5,
                                .outputs = 2,
                                .parametrization = scale,
                                .sigma_in = sigma_in,
                                .settings = settings,
                                .name = "mlp" },
                    error);
}

static const char *name_of(const nn_net *net, int k)
{
    return ad_node_of(nn_graph(net), nn_param(net, k).id)->name;
}

Test(nn, mlp_has_the_promised_parameters)
{
    static const char *const settings[] = { "depth=2", "sigma_b=0.1", "outputs=4", NULL };
    static const char *const names[] = { "dense1.weight", "dense1.bias",    "dense2.weight",
                                         "dense2.bias",   "readout.weight", "readout.bias" };
    static const size_t counts[] = { 5 * 8, 8, 8 * 8, 8, 8 * 4, 4 };
    ad_error error = { 0 };
    nn_net *net = trace_mlp(settings, NN_NTK, NN_SIGMA_INIT, &error);
    cr_assert(net, "%s", error.text);
    cr_assert(nn_n_params(net) == 6 && nn_n_outputs(net) == 4 && nn_features(net) == 5);
    nn_model *model = nn_model_new(net, 8, 1, AD_FLOAT, 1, &error);
    char *expected = nn_param_values(model, 0, NULL);
    for (int k = 0; k < 6; k++) {
        size_t count;
        cr_assert(strcmp(name_of(net, k), names[k]) == 0);
        cr_assert((char *)nn_param_values(model, k, &count) == expected && count == counts[k]); /* contiguous */
        expected += count * sizeof(float);
    }
    nn_model_free(model);
    nn_net_free(net);
}

/* f = readout(phi(...)) by hand, for the defaults. */
Test(nn, mlp_computes_what_it_says)
{
    enum { D = 5, N = 7 };
    ad_error error = { 0 };
    static const char *const settings[] = { "depth=1", "phi=tanh", "sigma_w=1.5", "sigma_b=0.3", NULL };
    double x[2 * D], f[2 * 2];
    for (int i = 0; i < 2 * D; i++)
        x[i] = cos(1.3 * i);
    for (int sigma_in = NN_SIGMA_INIT; sigma_in <= NN_SIGMA_MULTIPLIER; sigma_in++) {
        double sw = sigma_in ? 1.5 : 1, sb = sigma_in ? 0.3 : 1;
        nn_net *net = trace_mlp(settings, NN_NTK, (nn_sigma_in)sigma_in, &error);
        nn_model *model = nn_model_new(net, N, 1, AD_DOUBLE, 1, &error);
        const double *w1 = nn_param_values(model, 0, NULL), *b1 = nn_param_values(model, 1, NULL);
        const double *w2 = nn_param_values(model, 2, NULL), *b2 = nn_param_values(model, 3, NULL);
        cr_assert(nn_forward(model, x, 2, f, &error) == 0, "%s", error.text);
        for (int i = 0; i < 2; i++) {
            double h[N], out[2];
            for (int a = 0; a < N; a++) {
                h[a] = 0;
                for (int d = 0; d < D; d++)
                    h[a] += sw / sqrt(D) * x[i * D + d] * w1[d * N + a];
                h[a] = tanh(h[a] + sb * b1[a]);
            }
            for (int o = 0; o < 2; o++) {
                out[o] = sb * b2[o];
                for (int a = 0; a < N; a++)
                    out[o] += sw / sqrt(N) * h[a] * w2[a * 2 + o];
                cr_assert_float_eq(f[i * 2 + o], out[o], 1e-13);
            }
        }
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* Chunks, and float against double. */
Test(nn, forward_runs_any_number_of_rows)
{
    enum { ROWS = 1300 };
    double *x = malloc(ROWS * 5 * sizeof *x), *f = malloc(ROWS * 2 * sizeof *f), *g = malloc(ROWS * 2 * sizeof *g);
    for (int i = 0; i < ROWS * 5; i++)
        x[i] = sin(0.37 * i);
    nn_net *net = trace_mlp(NULL, NN_NTK, NN_SIGMA_INIT, NULL);
    nn_model *model = nn_model_new(net, 30, 1, AD_DOUBLE, 1, NULL),
             *single = nn_model_new(net, 30, 1, AD_FLOAT, 2, NULL);
    cr_assert(nn_forward(model, x, 3, g, NULL) == 0 && nn_forward(model, x, ROWS, f, NULL) == 0);
    for (int i = 0; i < 6; i++)
        cr_assert_float_eq(f[i], g[i], 1e-14);
    cr_assert(nn_forward(model, x + 5 * 1299, 1, g, NULL) == 0);
    cr_assert_float_eq(f[2 * 1299], g[0], 1e-14);
    cr_assert(nn_forward(single, x, ROWS, g, NULL) == 0);
    for (int i = 0; i < ROWS * 2; i++)
        cr_assert_float_eq(f[i], g[i], 1e-5);
    cr_assert(nn_forward(model, x, 0, f, NULL) == 0);
    nn_model_free(model);
    nn_model_free(single);
    nn_net_free(net);
    free(x);
    free(f);
    free(g);
}

/* ---- settings ---- */
Test(nn, wrong_settings_are_named)
{
    static const struct {
        const char *setting, *says;
    } wrong[] = {
        { "depth=0", "depth=0: it must be a whole number from 1 to 20000" },
        { "depth=20001", "depth=20001: it must be" },
        { "depth=2.5", "depth=2.5: it must be" },
        { "depth=", "depth=: it must be" },
        { "depth=99999999999999999999", "depth=9999" },
        { "sigma_w=nan", "sigma_w=nan: it must be a number" },
        { "sigma_w=0", "sigma_w=0: it must be a positive number" },
        { "sigma_w=-1", "sigma_w=-1: it must be a positive number" },
        { "sigma_w=1x", "sigma_w=1x" },
        { "sigma_b=-1", "sigma_b=-1: it must be none, or" },
        { "sigma_b=inf", "sigma_b=inf" },
        { "outputs=0", "outputs=0: it must be" },
        { "phi=rellu", "no activation rellu (did you mean relu?); there are identity, neg, relu, " },
        { "width=3",
          "no setting width; there are (with their defaults) outputs=2, depth=3, phi=relu, sigma_w=1.41421" },
        { "depth", "setting \"depth\" is not of the form key=value" },
        { "=3", "is not of the form" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        const char *settings[] = { wrong[i].setting, NULL };
        cr_assert(!trace_mlp(settings, NN_NTK, NN_SIGMA_INIT, &error));
        cr_assert(strstr(error.text, wrong[i].says), "%s: %s", wrong[i].setting, error.text);
    }
    ad_error error = { 0 };
    static const char *const doubled[] = { "depth=2", "depth=3", NULL };
    cr_assert(!trace_mlp(doubled, NN_NTK, NN_SIGMA_INIT, &error) && strstr(error.text, "given twice"));
}

static double not_a_number[2]; /* sigma_w, sigma_b */

static ad_var dense_of_nan(nn_net *net, ad_var x)
{
    return nn_dense_with(net, "hidden", x, nn_width(net, "hidden"), .sigma_w = not_a_number[0], .bias = true,
                         .sigma_b = not_a_number[1]);
}

Test(nn, a_deviation_that_is_not_a_number_is_refused_at_its_line)
{
    for (int k = 0; k < 2; k++)
        for (int sigma_in = 0; sigma_in < 2; sigma_in++) {
            ad_error error = { 0 };
            nn_spec spec = { .features = 3, .sigma_in = sigma_in ? NN_SIGMA_MULTIPLIER : NN_SIGMA_INIT };
            not_a_number[k] = NAN;
            not_a_number[1 - k] = 1;
            nn_net *net = nn_trace(dense_of_nan, &spec, &error);
            cr_expect(!net && strstr(error.text, "test_nn.c:") && strstr(error.text, "nan"), "%s", error.text);
            nn_net_free(net);
        }
}

static int without_bias;

static ad_var sigma_of_no_bias(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    if (without_bias == 0)
        return nn_dense_with(net, "hidden", x, n, .sigma_b = 0.1);
    if (without_bias == 1)
        return nn_conv_with(net, "hidden", x, n, .sigma_b = 0.1);
    return nn_flatten_readout_with(net, "hidden", x, .sigma_b = 0.1);
}

Test(nn, a_deviation_of_no_bias_is_refused_at_its_line)
{
    for (without_bias = 0; without_bias < 3; without_bias++) {
        ad_error error = { 0 };
        nn_spec spec = { .shape = { 4, 4, 1 } };
        nn_net *net = nn_trace(sigma_of_no_bias, &spec, &error);
        cr_expect(!net && strstr(error.text, "test_nn.c:") && strstr(error.text, "sigma_b = 0.1 of no bias"), "%s",
                  error.text);
        nn_net_free(net);
    }
}

Test(nn, a_bias_of_sigma_zero_is_none_in_the_multiplier)
{
    static const char *const settings[] = { "depth=1", "sigma_b=0", NULL };
    nn_net *init = trace_mlp(settings, NN_NTK, NN_SIGMA_INIT, NULL);
    nn_net *multiplier = trace_mlp(settings, NN_NTK, NN_SIGMA_MULTIPLIER, NULL);
    cr_assert(nn_n_params(init) == 4 && nn_n_params(multiplier) == 2);
    nn_model *model = nn_model_new(init, 6, 1, AD_DOUBLE, 1, NULL);
    size_t count;
    const double *bias = nn_param_values(model, 1, &count);
    for (size_t i = 0; i < count; i++)
        cr_assert(!(fabs(bias[i]) > 0));
    nn_model_free(model);
    nn_net_free(init);
    nn_net_free(multiplier);
}

/* ---- parametrizations ---- */
/* THEORY section 2 at n = 16, d = 5, sigma = 1.5: multiplier, deviation and rate of input, hidden, readout, biases. */
Test(nn, parametrizations_follow_the_table)
{
    const double n = 16, d = 5, s = 1.5, sb = 0.5;
    static const char *const settings[] = { "depth=2", "sigma_w=1.5", "sigma_b=0.5", NULL };
    /* parameters: input weight, bias, hidden weight, bias, readout weight, bias */
    const double want[][6][3] = {
        [NN_NTK] = { { 1 / sqrt(d), s, 1 },
                     { 1, sb, 1 },
                     { 1 / sqrt(n), s, 1 },
                     { 1, sb, 1 },
                     { 1 / sqrt(n), s, 1 },
                     { 1, sb, 1 } },
        [NN_STANDARD] = { { 1, s / sqrt(d), 1 },
                          { 1, sb, 1 },
                          { 1, s / sqrt(n), 1 },
                          { 1, sb, 1 },
                          { 1, s / sqrt(n), 1 },
                          { 1, sb, 1 } },
        [NN_MEANFIELD] = { { 1 / sqrt(d), s, n },
                           { 1, sb, n },
                           { 1 / n, s, n },
                           { 1, sb, n },
                           { 1 / n, s, n },
                           { 1, sb, 1 } },
        [NN_MUP] = { { sqrt(n / d), s / sqrt(n), 1 },
                     { sqrt(n), sb / sqrt(n), 1 },
                     { 1, s / sqrt(n), 1 },
                     { sqrt(n), sb / sqrt(n), 1 },
                     { 1 / sqrt(n), s / sqrt(n), 1 },
                     { 1, sb, 1 } },
    };
    for (int scale = NN_NTK; scale <= NN_MUP; scale++)
        for (int sigma_in = NN_SIGMA_INIT; sigma_in <= NN_SIGMA_MULTIPLIER; sigma_in++) {
            nn_net *net = trace_mlp(settings, (nn_parametrization)scale, (nn_sigma_in)sigma_in, NULL);
            for (int k = 0; k < 6; k++) {
                const ad_init *init = ad_node_of(nn_graph(net), nn_param(net, k).id)->init;
                double sigma = k % 2 ? sb : s, moved = sigma_in == NN_SIGMA_MULTIPLIER ? sigma : 1;
                double size =
                    init->axis.id ? (double)ad_axis_size(nn_graph(net), init->axis, &(ad_sizes){ .n = 16 }) : 1;
                double got[] = { init->multiplier * pow(size, init->multiplier_power),
                                 init->deviation * pow(size, init->deviation_power),
                                 init->rate * pow(size, init->rate_power) };
                double factor[] = { moved, 1 / moved, 1 };
                for (int i = 0; i < 3; i++)
                    cr_assert_float_eq(got[i], want[scale][k][i] * factor[i], 1e-14, "scale %d, %s, %d: %g, not %g",
                                       scale, name_of(net, k), i, got[i], want[scale][k][i] * factor[i]);
            }
            nn_net_free(net);
        }
}

/* The same function in every scale that is of order one, at equal seed: NTK, standard and muP differ by constants that
 * omega takes up; muP's readout alone is smaller by sqrt(n). */
Test(nn, scales_agree_at_initialization)
{
    static const char *const settings[] = { "depth=2", "sigma_b=0.3", NULL };
    double x[5] = { 1, -0.5, 2, 0.3, -1 }, f[4][2];
    for (int scale = NN_NTK; scale <= NN_MUP; scale++) {
        nn_net *net = trace_mlp(settings, (nn_parametrization)scale, NN_SIGMA_INIT, NULL);
        nn_model *model = nn_model_new(net, 16, 1, AD_DOUBLE, 1, NULL);
        size_t count;
        double *bias = nn_param_values(model, 5, &count);
        memset(bias, 0, count * sizeof *bias);
        cr_assert(nn_forward(model, x, 1, f[scale], NULL) == 0);
        nn_model_free(model);
        nn_net_free(net);
    }
    for (int o = 0; o < 2; o++) {
        cr_assert_float_eq(f[NN_STANDARD][o], f[NN_NTK][o], 1e-12);
        cr_assert_float_eq(f[NN_MUP][o] * sqrt(16), f[NN_NTK][o], 1e-12);
    }
}

/* ---- layers ---- */
static ad_var transposed(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 2);
    nn_weight w = nn_make_weight(net, "w", n, m, 1);
    x = nn_dense(net, "embed", x, n);
    return nn_readout(net, "readout", nn_apply_t(w, nn_apply(w, x)));
}

Test(nn, apply_t_is_the_transpose)
{
    enum { D = 3, N = 4, M = 8 };
    ad_error error = { 0 };
    nn_net *net = nn_trace(transposed, &(nn_spec){ .features = D }, &error);
    cr_assert(net, "%s", error.text);
    nn_model *model = nn_model_new(net, N, 1, AD_DOUBLE, 1, NULL);
    cr_assert(strcmp(name_of(net, 0), "w") == 0);
    const double *w = nn_param_values(model, 0, NULL), *e = nn_param_values(model, 1, NULL),
                 *r = nn_param_values(model, 2, NULL);
    double x[D] = { 1, 2, -1 }, a[N] = { 0 }, b[M] = { 0 }, c[N] = { 0 }, want = 0, f;
    for (int i = 0; i < N; i++)
        for (int d = 0; d < D; d++)
            a[i] += x[d] * e[d * N + i] / sqrt(D);
    for (int k = 0; k < M; k++)
        for (int i = 0; i < N; i++)
            b[k] += a[i] * w[i * M + k] / sqrt(N);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < M; k++)
            c[i] += b[k] * w[i * M + k] / sqrt(N);
    for (int i = 0; i < N; i++)
        want += c[i] * r[i] / sqrt(N);
    cr_assert(nn_forward(model, x, 1, &f, NULL) == 0);
    cr_assert_float_eq(f, want, 1e-13);
    nn_model_free(model);
    nn_net_free(net);
}

Test(nn, settings_of_every_kind)
{
    cr_assert(nn_builtin("mlp") && !nn_builtin("perceptron"));
    cr_assert(strcmp(nn_builtin_names()[0], "mlp") == 0);
}

static ad_var wrong_axes(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width(net, "m");
    return nn_readout(net, "readout", ad_add(nn_dense(net, "a", x, n), nn_dense(net, "b", x, m)));
}

static ad_var no_outputs(nn_net *net, ad_var x)
{
    return nn_dense(net, "a", x, nn_width(net, "n"));
}

static ad_var same_name(nn_net *net, ad_var x)
{
    x = nn_dense(net, "a", x, nn_width(net, "n"));
    return nn_readout(net, "readout", nn_dense(net, "a", x, nn_width(net, "n")));
}

static ad_var nothing(nn_net *net, ad_var x)
{
    (void)net;
    return (ad_var){ x.graph, -1 };
}

static ad_var two_inputs(nn_net *net, ad_var x)
{
    ad_var second = ad_input(nn_graph(net), "second", *ad_shape_get(x));
    return nn_readout(net, "readout", ad_add(x, second));
}

Test(nn, a_wrong_network_is_told_where)
{
    static const struct {
        nn_function function;
        const char *says;
    } wrong[] = {
        { wrong_axes, "add: axes do not match: (batch, n) and (batch, m)" },
        { no_outputs, "the network returns (batch, n), not (batch, outputs)" },
        { same_name, "the name \"a.weight\" is taken at" },
        { nothing, "the network returns nothing" },
        { two_inputs, "input second: a network has one input" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        cr_assert(!nn_trace(wrong[i].function, &(nn_spec){ .features = 3, .name = "test" }, &error));
        cr_assert(strstr(error.text, wrong[i].says), "%zu: %s", i, error.text);
        cr_assert(i % 2 == 1 || strstr(error.text, "test_nn.c:"), "%zu: %s", i, error.text);
    }
    ad_error error = { 0 };
    cr_assert(!nn_trace(nn_builtin("mlp"), &(nn_spec){ .features = 7, .shape = { 2, 3 } }, &error));
    cr_assert(strstr(error.text, "the axes hold 6 numbers, a sample has 7"), "%s", error.text);
    error.text[0] = 0;
    cr_assert(!nn_trace(nn_builtin("mlp"), &(nn_spec){ 0 }, &error) && error.text[0]);
}

/* ---- a network that is missing ---- */
static int which;

static ad_var without_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    double sigma;
    switch (which) {
    case 0:
        nn_width(NULL, "m");
        break;
    case 1:
        nn_dense(NULL, "d", x, n);
        break;
    case 2:
        nn_readout(NULL, "d", x);
        break;
    case 3:
        nn_make_weight(NULL, "d", n, n, 1);
        break;
    case 4:
        nn_orthogonal(NULL, "d", n, n, 1);
        break;
    case 5:
        nn_make_bias(NULL, "d", n, 1);
        break;
    case 6:
        nn_embedding(NULL, "d", x, 3, n, 1);
        break;
    case 7:
        nn_activation(NULL, "relu", x);
        break;
    case 8:
        nn_batchnorm(NULL, "d", x);
        break;
    case 9:
        nn_layernorm(NULL, "d", x);
        break;
    case 10:
        nn_groupnorm(NULL, "d", x, 1);
        break;
    case 11:
        nn_conv(NULL, "d", x, n);
        break;
    case 12:
        nn_average_pool(NULL, x);
        break;
    case 13:
        nn_max_pool(NULL, x);
        break;
    case 14:
        nn_global_pool(NULL, x);
        break;
    case 15:
        nn_flatten_readout(NULL, "d", x);
        break;
    case 16:
        nn_freeze(NULL, "d");
        break;
    case 17:
        nn_padding_mask(NULL, x, 1);
        break;
    case 18:
        nn_name(NULL, "d");
        break;
    case 19:
        nn_setting_int(NULL, "d", 1, 0, 2);
        break;
    case 20:
        nn_setting_real(NULL, "d", 1);
        break;
    case 21:
        nn_setting_text(NULL, "d", "e");
        break;
    default:
        nn_setting_sigma(NULL, "d", "none", &sigma);
    }
    return nn_readout(net, "readout", x);
}

Test(nn, a_network_that_is_missing_is_one_error_at_its_line)
{
    int lines[23] = { 0 };
    for (which = 0; which < 23; which++) {
        ad_error error = { 0 };
        cr_assert(!nn_trace(without_network, &(nn_spec){ .features = 3, .name = "test" }, &error), "%d", which);
        cr_expect(strstr(error.text, "its network is missing (NULL)") ||
                      strstr(error.text, "its graph is missing (NULL)"),
                  "%d: %s", which, error.text);
        cr_assert(sscanf(strstr(error.text, "test_nn.c:") ? strstr(error.text, "test_nn.c:") : "", "test_nn.c:%d",
                         &lines[which]) == 1,
                  "%d: %s", which, error.text);
        cr_expect(which == 0 || lines[which] > lines[which - 1], "%d: %s", which, error.text);
    }
}

static ad_var long_names(nn_net *net, ad_var x)
{
    char name[10001];
    memset(name, 'e', sizeof name - 1);
    ad_var sum = { 0 };
    for (size_t length = 23; length <= 10000; length = length < 40 ? length + 1 : 10 * length) {
        name[length] = 0;
        ad_var h = nn_embedding(net, name, ad_take(x, ad_shape_get(x)->axes[1], 0), 3, nn_width(net, "n"), 1);
        sum = sum.graph ? ad_add(sum, h) : h;
        name[length] = 'e';
    }
    return nn_readout(net, "readout", sum);
}

Test(nn, an_embedding_may_have_a_long_name)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(long_names, &(nn_spec){ .features = 1, .name = "test" }, &error);
    cr_assert(net, "%s", error.text);
    nn_net_free(net);
}

Test(nn, a_width_that_cannot_be_is_refused)
{
    nn_net *net = trace_mlp(NULL, NN_NTK, NN_SIGMA_INIT, NULL);
    ad_error error = { 0 };
    cr_assert(!nn_model_new(net, 0, 1, AD_FLOAT, 1, &error) && strstr(error.text, "width 0"), "%s", error.text);
    error.text[0] = 0;
    cr_assert(!nn_model_new(net, SIZE_MAX / 2, 1, AD_FLOAT, 1, &error) && strstr(error.text, "width"), "%s",
              error.text);
    nn_net_free(net);
}

Test(nn, survives_every_failed_allocation)
{
    double x[5] = { 1 }, f[2];
    for (long fail = 1, done = 0; !done; fail++) {
        ad_error error = { 0 };
        ad_hook_allocation(fail);
        nn_net *net = trace_mlp(NULL, NN_NTK, NN_SIGMA_INIT, &error);
        nn_model *model = net ? nn_model_new(net, 6, 1, AD_FLOAT, 1, &error) : NULL;
        done = model && nn_forward(model, x, 1, f, &error) == 0;
        ad_hook_allocation(0);
        cr_assert(done || error.text[0]);
        cr_assert(fail < 1000);
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* ---- what a call before did not make ---- */
/* Calls in a row end in the first one's error; one that is the first to miss something says what. */
Test(nn, what_is_missing_is_told)
{
    double x[4] = { 1, 2, 3, 4 }, out[16], loss;
    ad_error error = { 0 };
    nn_net *net = nn_trace(nn_builtin("mpl"), &(nn_spec){ .features = 2 }, &error);
    nn_model *model = nn_model_new(net, 8, 1, AD_DOUBLE, 1, &error);
    tp_checks checks;
    const nn_data data = { .x = x, .y = x, .rows = 2 };
    const nn_fit_spec spec = { .steps = 1 };
    cr_expect(!net && !model && nn_ntk(model, x, 2, NULL, 0, NN_MEAN, out, &error) == -1 && !nn_builtin(NULL));
    cr_expect(strstr(error.text, "its function is missing (NULL)"), "%s", error.text);
    cr_assert((net = nn_trace(nn_builtin("mlp"), &(nn_spec){ .features = 2 }, NULL)) != NULL);
    cr_assert((model = nn_model_new(net, 8, 1, AD_DOUBLE, 1, NULL)) != NULL);
    for (int k = 0; k < 14; k++) {
        static const char *const missing[] = {
            "its spec",     "the model's network", "the model",   "the inputs x",      "the kernel's model",
            "the inputs x", "is to be fitted",     "the data",    "the spec of a fit", "are saved",
            "file's name",  "takes weights",       "the program", "the model"
        };
        error = (ad_error){ 0 };
        bool failed = k == 0    ? !nn_trace(nn_builtin("mlp"), NULL, &error)
                      : k == 1  ? !nn_model_new(NULL, 8, 1, AD_DOUBLE, 1, &error)
                      : k == 2  ? nn_forward(NULL, x, 2, out, &error)
                      : k == 3  ? nn_forward(model, NULL, 2, out, &error)
                      : k == 4  ? nn_nngp(NULL, x, 2, NULL, 0, NN_MEAN, out, &error)
                      : k == 5  ? nn_ntk(model, NULL, 2, NULL, 0, NN_MEAN, out, &error)
                      : k == 6  ? nn_fit(NULL, &data, &spec, NULL, &error)
                      : k == 7  ? nn_fit(model, NULL, &spec, NULL, &error)
                      : k == 8  ? nn_fit(model, &data, NULL, NULL, &error)
                      : k == 9  ? nn_save(NULL, "w.safetensors", &error)
                      : k == 10 ? nn_save(model, NULL, &error)
                      : k == 11 ? nn_load(NULL, "w.safetensors", &error)
                      : k == 12 ? tp_check(NULL, &checks, &error)
                                : nn_evaluate(NULL, &data, NN_SQUARE, &loss, NULL, &error);
        cr_expect(failed && strstr(error.text, missing[k]) && strstr(error.text, "is missing (NULL)"), "%d: %s", k,
                  error.text);
    }
    nn_model_free(model);
    nn_net_free(net);
    tp_kernel_free(NULL);
    ds_array_free(NULL);
}
