/* Limits of networks with scalars: averages over the width, and functions of them. Against exact references, against
 * identities, and against wide finite networks. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Traces, translates and solves: 0, or -1 with the error. rows2 = 0: x against itself. */
static int try(nn_function function, const nn_spec *spec, tp_kernel_kind which, const double *x, size_t rows,
               const double *x2, size_t rows2, tp_kernel *kernel, ad_error *error)
{
    *kernel = (tp_kernel){ 0 };
    nn_net *net = nn_trace(function, spec, error);
    tp_program *program = net ? tp_translate(net, error) : NULL;
    int status = program ? tp_limit(program, which, x, rows, x2, rows2, NULL, kernel, error) : -1;
    tp_program_free(program);
    nn_net_free(net);
    return status;
}

static tp_kernel solve(nn_function function, const nn_spec *spec, tp_kernel_kind which, const double *x, size_t rows)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    cr_assert_eq(try(function, spec, which, x, rows, NULL, 0, &kernel, &error), 0, "%s", error.text);
    cr_assert_eq(kernel.n_terms, 1, "%d powers of n", kernel.n_terms);
    cr_assert_float_eq(kernel.terms[0].power, 0, 1e-12);
    return kernel;
}

static double worst_difference(const double *a, const double *b, size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs(a[i] - b[i]) / fabs(b[i]));
    return worst;
}

/* ---- the networks of the references ---- */
/* (x - mean) / sqrt(variance + epsilon) over the last axis. */
static ad_var layernorm(ad_var x, double epsilon)
{
    const ad_shape *shape = ad_shape_get(x);
    ad_shape width = ad_shape_of(shape->axes[shape->rank - 1]);
    ad_var centred = ad_sub(x, ad_mean(x, width));
    ad_var variance = ad_mean(ad_square(centred), width);
    return ad_mul(centred, ad_rsqrt(ad_add(variance, ad_constant(x.graph, epsilon, (ad_shape){ 0 }))));
}

static ad_var ln_mlp(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 2; layer++) {
        x = nn_dense_with(net, nn_name(net, "dense%d", layer), x, n, .sigma_w = 1.5, .bias = true, .sigma_b = 0.3);
        x = ad_relu(layernorm(x, 1e-12));
    }
    return nn_readout_with(net, "readout", x, .sigma_w = 1.5, .bias = true, .sigma_b = 0.3);
}

/* x (batch, position, channel); one head of width n, queries and keys of one weight, scores divided by n. */
static ad_var attention(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width(net, "m");
    ad_axis position = ad_shape_get(x)->axes[1], other = ad_prime(position), channel = ad_shape_get(x)->axes[2];
    nn_weight query = nn_make_weight(net, "query", channel, n, 1),
              value = nn_make_weight(net, "value", channel, n, 1.2);
    nn_weight out = nn_make_weight(net, "out", n, m, 1.3);
    ad_var q = ad_scale(nn_apply(query, x), 0.9), k = ad_relabel(ad_scale(nn_apply(query, x), 1.1), position, other);
    ad_var scores = ad_scale_by(ad_contract(q, k, ad_shape_of(n)), 1, n, -1);
    ad_var weights = ad_softmax(scores, other), values = ad_relabel(nn_apply(value, x), position, other);
    ad_var y = nn_apply(out, ad_contract(weights, values, ad_shape_of(other)));
    return nn_readout_with(net, "readout", ad_mean(y, ad_shape_of(position)), .bias = true, .sigma_b = 0.1);
}

static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    const nn_dense_spec spec = { .sigma_w = sqrt(2), .bias = true, .sigma_b = 0.1 };
    x = nn_dense_at(AD_HERE, net, "first", x, n, &spec);
    for (int block = 1; block <= 2; block++)
        x = ad_add(x, nn_dense_at(AD_HERE, net, nn_name(net, "block%d", block), ad_relu(x), n, &spec));
    return nn_readout_at(AD_HERE, net, "readout", ad_relu(x), &spec);
}

Test(scalar, references)
{
    static const struct {
        const char *file;
        nn_function function;
        size_t features, shape[2];
    } rows[] = {
        { "ln_mlp_relu_d2", ln_mlp, 10, { 0 } },
        { "attn1_lin_softmax_gap_4x3", attention, 12, { 4, 3 } },
        { "res_mlp_relu_preact_2blocks", residual, 10, { 0 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reference *ref = reference_read(rows[i].file);
        double *x = reference_inputs(5, rows[i].features);
        nn_spec spec = { .features = rows[i].features,
                         .shape = { rows[i].shape[0], rows[i].shape[1] },
                         .outputs = 1,
                         .sigma_in = NN_SIGMA_MULTIPLIER };
        for (int which = 0; which < 2; which++) {
            tp_kernel kernel = solve(rows[i].function, &spec, which ? TP_NTK : TP_NNGP, x, 5);
            double off = worst_difference(kernel.terms[0].values, reference_array(ref, which ? "ntk" : "nngp", 25), 25);
            cr_expect_lt(off, 1e-10, "%s %s: off by %g relative", rows[i].file, which ? "ntk" : "nngp", off);
            tp_kernel_free(&kernel);
        }
        free(x);
        reference_free(ref);
    }
}

/* ---- wide finite networks ----
 * Every entry of the mean kernel of some networks is within 6 standard errors of the limit (t with 15 degrees of
 * freedom has P(|t| > 6) < 3e-5); the kernel's own bias is of order 1/n, for which `bias` relative to the largest entry
 * is allowed. */
enum { ROWS = 4 };
static void compare_with_wide(const char *name, nn_function function, const nn_spec *spec, const double *x, size_t n,
                              int seeds, double bias)
{
    tp_kernel limit = solve(function, spec, TP_NTK, x, ROWS);
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, spec, &error);
    double sum[ROWS * ROWS] = { 0 }, squares[ROWS * ROWS] = { 0 }, k[ROWS * ROWS], largest = 0;
    for (int seed = 0; seed < seeds; seed++) {
        nn_model *model = nn_model_new(net, n, (uint64_t)seed + 1, AD_DOUBLE, 1, &error);
        cr_assert(model, "%s", error.text);
        cr_assert_eq(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k, &error), 0, "%s", error.text);
        for (int i = 0; i < ROWS * ROWS; i++) {
            sum[i] += k[i];
            squares[i] += k[i] * k[i];
        }
        nn_model_free(model);
    }
    for (int i = 0; i < ROWS * ROWS; i++)
        largest = fmax(largest, fabs(limit.terms[0].values[i]));
    for (int i = 0; i < ROWS * ROWS; i++) {
        double mean = sum[i] / seeds, variance = (squares[i] / seeds - mean * mean) * seeds / (seeds - 1);
        double expected = limit.terms[0].values[i], error_of_mean = sqrt(variance / seeds);
        cr_expect_lt(fabs(mean - expected), 6 * error_of_mean + bias * largest, "%s entry %d: %g against %g +- %g",
                     name, i, mean, expected, error_of_mean);
    }
    nn_net_free(net);
    tp_kernel_free(&limit);
}

/* layernorm of an activation, of which a matrix, a readout or another activation takes it up */
static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    const char *inner = nn_setting_text(net, "inner", "tanh"), *outer = nn_setting_text(net, "outer", "identity");
    for (int layer = 1; layer <= 2; layer++) {
        x = nn_dense_with(net, nn_name(net, "dense%d", layer), x, n, .sigma_w = 1.4, .bias = true, .sigma_b = 0.3);
        x = nn_activation(net, outer, layernorm(nn_activation(net, inner, x), 1e-3));
    }
    return nn_readout(net, "readout", x);
}

Test(scalar, layernorm_of_activations_against_wide_networks)
{
    static const char *const settings[][3] = { { "inner=tanh", "outer=identity" },
                                               { "inner=relu", "outer=identity" },
                                               { "inner=relu", "outer=relu" },
                                               { "inner=gelu", "outer=tanh" } };
    double *x = reference_inputs(ROWS, 10);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        nn_spec spec = { .features = 10, .outputs = 1, .settings = settings[i] };
        char name[64];
        snprintf(name, sizeof name, "%s %s", settings[i][0], settings[i][1]);
        compare_with_wide(name, normalised, &spec, x, i == 0 ? 2048 : 1024, 16, 2e-3);
    }
    free(x);
}

/* gain and shift a coordinate, and the root mean square instead of the deviation */
static ad_var rms_with_gain(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 2; layer++) {
        x = nn_dense_with(net, nn_name(net, "dense%d", layer), x, n, .sigma_w = 1.4, .bias = true, .sigma_b = 0.3);
        ad_var square = ad_mean(ad_square(x), ad_shape_of(n));
        x = ad_div(x, ad_sqrt(ad_add(square, ad_constant(x.graph, 0.1, (ad_shape){ 0 }))));
        ad_var gain = ad_param(x.graph, nn_name(net, "gain%d", layer), ad_shape_of(n),
                               (ad_init){ .mean = 1, .deviation = 0.5, .multiplier = 1, .rate = 1 });
        ad_var shift =
            ad_param(x.graph, nn_name(net, "shift%d", layer), ad_shape_of(n), (ad_init){ .multiplier = 1, .rate = 1 });
        x = ad_tanh(ad_add(x, ad_expand(shift, *ad_shape_get(x))));
        x = ad_mul(ad_expand(gain, *ad_shape_get(x)), x);
    }
    return nn_readout(net, "readout", x);
}

/* a vector gated by functions of its own averages; the gate of one layer is data's */
static ad_var gated(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), features = ad_shape_get(x)->axes[1];
    ad_var h = nn_dense_with(net, "first", x, n, .sigma_w = 1.4, .bias = true, .sigma_b = 0.3);
    ad_var gate = ad_sigmoid(ad_mean(ad_square(h), ad_shape_of(n)));
    ad_var u = ad_mul(ad_relu(h), gate);
    h = ad_add(h, nn_dense(net, "second", u, n));
    ad_var of_data = ad_exp(ad_neg(ad_mean(ad_square(x), ad_shape_of(features))));
    h = ad_add(ad_relu(h), ad_scale(ad_mean(ad_abs(h), ad_shape_of(n)), 0.5));
    return nn_readout(net, "readout", ad_mul(h, of_data));
}

/* attention over hidden states, with scores of another weight's keys, a residual connection and a layernorm after it */
static ad_var transformer(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), position = ad_shape_get(x)->axes[1], other = ad_prime(position);
    ad_var h = ad_relu(nn_dense_with(net, "embed", x, n, .sigma_w = 1.4, .bias = true, .sigma_b = 0.3));
    bool tied = nn_setting_int(net, "tied", 1, 0, 1);
    nn_weight query = nn_make_weight(net, "query", n, n, 1), key = tied ? query : nn_make_weight(net, "key", n, n, 1);
    nn_weight value = nn_make_weight(net, "value", n, n, 1);
    ad_var q = nn_apply(query, h), k = ad_relabel(nn_apply(key, h), position, other);
    ad_var weights = ad_softmax(ad_scale_by(ad_contract(q, k, ad_shape_of(n)), 1, n, -1), other);
    ad_var mixed = ad_contract(weights, ad_relabel(nn_apply(value, h), position, other), ad_shape_of(other));
    h = ad_relu(layernorm(ad_add(nn_dense(net, "skip", h, n), mixed), 1e-5));
    return nn_readout(net, "readout", ad_mean(h, ad_shape_of(position)));
}

/* positions weighted by the softmax of data's own products, and by that of the states' mean squares */
static ad_var pooled(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), position = ad_shape_get(x)->axes[1], channel = ad_shape_get(x)->axes[2];
    ad_axis other = ad_prime(position);
    ad_var weights = ad_softmax(ad_contract(x, ad_relabel(x, position, other), ad_shape_of(channel)), other);
    ad_var h = nn_dense_with(net, "dense", x, n, .sigma_w = 1.4, .bias = true, .sigma_b = 0.3);
    h = ad_relu(ad_contract(weights, ad_relabel(h, position, other), ad_shape_of(other)));
    ad_var sizes = ad_mean(ad_square(h), ad_shape_of(n));
    h = ad_contract(ad_softmax(sizes, position), h, ad_shape_of(position));
    h = ad_mul(h, ad_add(ad_logsumexp(sizes, position), ad_max(sizes, position)));
    return nn_readout(net, "readout", ad_tanh(nn_dense(net, "last", h, n)));
}

Test(scalar, networks_with_scalars_against_wide_networks)
{
    static const char *const tied[] = { "tied=1", NULL }, *const untied[] = { "tied=0", NULL };
    static const struct {
        const char *name;
        nn_function function;
        const char *const *settings;
        bool positions;
    } rows[] = {
        { "gain", rms_with_gain, NULL, false },   { "gate", gated, NULL, false },
        { "attention", transformer, tied, true }, { "two weights", transformer, untied, true },
        { "pooled", pooled, NULL, true },
    };
    double *x = reference_inputs(ROWS, 12);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nn_spec spec = { .features = 12, .outputs = 1, .settings = rows[i].settings };
        if (rows[i].positions) {
            spec.shape[0] = 3;
            spec.shape[1] = 4;
        }
        compare_with_wide(rows[i].name, rows[i].function, &spec, x, 1024, 24, 4e-3);
    }
    free(x);
}

/* divided by the norm instead of the root mean square: the same network */
static ad_var by_norm(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    bool norm = nn_setting_int(net, "norm", 0, 0, 1);
    ad_var h = ad_relu(nn_dense(net, "h", x, n)), squares = ad_sum(ad_square(h), ad_shape_of(n));
    h = norm ? ad_scale_by(ad_div(h, ad_sqrt(squares)), 1, n, 0.5)
             : ad_mul(h, ad_rsqrt(ad_scale_by(squares, 1, n, -1)));
    return nn_readout(net, "v", ad_tanh(nn_dense(net, "u", h, n)));
}

Test(scalar, the_norm_grows_and_its_quotient_does_not)
{
    static const char *const norm[] = { "norm=1", NULL }, *const mean[] = { "norm=0", NULL };
    double *x = reference_inputs(ROWS, 10);
    nn_spec a = { .features = 10, .outputs = 1, .settings = norm }, b = a;
    b.settings = mean;
    tp_kernel k = solve(by_norm, &a, TP_NTK, x, ROWS), l = solve(by_norm, &b, TP_NTK, x, ROWS);
    cr_expect_lt(worst_difference(k.terms[0].values, l.terms[0].values, ROWS * ROWS), 1e-12);
    tp_kernel_free(&k);
    tp_kernel_free(&l);
    free(x);
}

/* ---- identities ---- */
static ad_var linear(nn_net *net, ad_var x)
{
    return nn_readout(net, "v", nn_dense(net, "h", x, nn_width(net, "n")));
}
static ad_var doubled(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "h", x, nn_width(net, "n"));
    return nn_readout(net, "v", ad_add(h, h));
}
static ad_var squared(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "h", x, nn_width(net, "n"));
    return nn_readout(net, "v", ad_mul(h, h));
}
/* h - mean h + mean h, and h sqrt(mean h^2) / sqrt(mean h^2) */
static ad_var there_and_back(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "h", x, n), g = ad_relu(h), mean = ad_mean(g, ad_shape_of(n));
    g = ad_add(ad_sub(g, mean), mean);
    ad_var size = ad_mean(ad_square(g), ad_shape_of(n));
    return nn_readout(net, "v", ad_div(ad_mul(g, ad_sqrt(size)), ad_sqrt(size)));
}
static ad_var rectified(nn_net *net, ad_var x)
{
    return nn_readout(net, "v", ad_relu(nn_dense(net, "h", x, nn_width(net, "n"))));
}

Test(scalar, sums_and_products_with_itself)
{
    nn_spec spec = { .features = 10, .outputs = 1 };
    double *x = reference_inputs(ROWS, 10);
    tp_kernel k = solve(linear, &spec, TP_NNGP, x, ROWS), two = solve(doubled, &spec, TP_NNGP, x, ROWS);
    tp_kernel square = solve(squared, &spec, TP_NNGP, x, ROWS);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            double k11 = k.terms[0].values[i * ROWS + i], k22 = k.terms[0].values[j * ROWS + j];
            double k12 = k.terms[0].values[i * ROWS + j], expected = k11 * k22 + 2 * k12 * k12;
            cr_expect_float_eq(two.terms[0].values[i * ROWS + j], 4 * k12, 1e-13 * k11);
            cr_expect_float_eq(square.terms[0].values[i * ROWS + j], expected, 1e-13 * expected);
        }
    tp_kernel same[2][2];
    for (int which = 0; which < 2; which++) {
        same[which][0] = solve(there_and_back, &spec, which ? TP_NTK : TP_NNGP, x, ROWS);
        same[which][1] = solve(rectified, &spec, which ? TP_NTK : TP_NNGP, x, ROWS);
        cr_expect_lt(worst_difference(same[which][0].terms[0].values, same[which][1].terms[0].values, ROWS * ROWS),
                     1e-12);
        tp_kernel_free(&same[which][0]);
        tp_kernel_free(&same[which][1]);
    }
    tp_kernel_free(&k);
    tp_kernel_free(&two);
    tp_kernel_free(&square);
    free(x);
}

/* The first rows against the others must be the block of the whole: scalars belong to their own side's sample. */
Test(scalar, two_sets_are_a_block_of_the_whole)
{
    static const struct {
        const char *name;
        nn_function function;
        bool positions;
    } rows[] = { { "layernorm", ln_mlp, false },
                 { "normalised", normalised, false },
                 { "gate", gated, false },
                 { "attention", transformer, true },
                 { "pooled", pooled, true } };
    static const char *const outer[] = { "inner=relu", "outer=relu", NULL };
    double *x = reference_inputs(5, 12);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nn_spec spec = { .features = 12, .outputs = 1, .settings = rows[i].function == normalised ? outer : NULL };
        if (rows[i].positions) {
            spec.shape[0] = 3;
            spec.shape[1] = 4;
        }
        tp_kernel whole = solve(rows[i].function, &spec, TP_NTK, x, 5), block;
        ad_error error = { 0 };
        cr_assert_eq(try(rows[i].function, &spec, TP_NTK, x, 3, x + 36, 2, &block, &error), 0, "%s", error.text);
        for (size_t r = 0; r < 3; r++)
            for (size_t c = 0; c < 2; c++)
                cr_expect_float_eq(block.terms[0].values[2 * r + c], whole.terms[0].values[5 * r + 3 + c],
                                   1e-11 * whole.terms[0].values[5 * r + 3 + c], "%s", rows[i].name);
        tp_kernel_free(&whole);
        tp_kernel_free(&block);
    }
    free(x);
}

/* ---- what has no limit says so ---- */
/* scores of two weights divided by the root of the width are Gaussian in the limit, not numbers */
static ad_var root_scores(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), position = ad_shape_get(x)->axes[1], other = ad_prime(position);
    ad_var h = ad_relu(nn_dense(net, "embed", x, n));
    ad_var q = nn_dense(net, "query", h, n), k = ad_relabel(nn_dense(net, "key", h, n), position, other);
    ad_var scores = ad_scale_by(ad_contract(q, k, ad_shape_of(n)), 1, n, -0.5);
    ad_var y = ad_contract(ad_softmax(scores, other), ad_relabel(h, position, other), ad_shape_of(other));
    return nn_readout(net, "v", ad_mean(y, ad_shape_of(position)));
}
/* the gradient of a gain that all coordinates share is as random as the output */
static ad_var shared_gain(nn_net *net, ad_var x)
{
    ad_var h = ad_relu(nn_dense(net, "h", x, nn_width(net, "n")));
    ad_var gain = ad_param(x.graph, "gain", (ad_shape){ 0 }, (ad_init){ .mean = 1, .multiplier = 1, .rate = 1 });
    return nn_readout(net, "v", ad_mul(h, ad_expand(gain, ad_shape_of(ad_shape_get(x)->axes[0]))));
}
/* a readout inside the network: a random number that all coordinates share */
static ad_var inner_readout(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), one = ad_fixed(x.graph, "one", 1);
    ad_var h = ad_relu(nn_dense(net, "h", x, n)), s = ad_tanh(nn_dense(net, "inner", h, one));
    return nn_readout(net, "v", ad_relu(nn_dense(net, "u", ad_mul(h, ad_take(s, one, 0)), n)));
}

Test(scalar, what_does_not_tend_to_a_number_is_refused)
{
    static const struct {
        nn_function function;
        const char *words[2];
        bool positions;
    } rows[] = {
        { root_scores, { "contract", "fluctuations" }, true },
        { shared_gain, { "sum", "fluctuations" }, false },
        { inner_readout, { "inner.weight", "fluctuations" }, false },
    };
    double *x = reference_inputs(2, 12);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ad_error error = { 0 };
        tp_kernel kernel;
        nn_spec spec = { .features = 12, .outputs = 1 };
        if (rows[i].positions) {
            spec.shape[0] = 3;
            spec.shape[1] = 4;
        }
        cr_expect_lt(try(rows[i].function, &spec, TP_NTK, x, 2, NULL, 0, &kernel, &error), 0, "network %zu", i);
        cr_expect(strstr(error.text, rows[i].words[0]) && strstr(error.text, rows[i].words[1]) &&
                      strstr(error.text, "test_scalar.c"),
                  "%s", error.text);
        tp_kernel_free(&kernel);
    }
    free(x);
}
