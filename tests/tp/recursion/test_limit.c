/* The limit kernels against exact references, against independent recursions in long double, and against wide finite
 * networks. The references are computed elsewhere, to 1e-14 relative or better; each file says its network. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Traces, translates and solves; fails the test on any error. rows2 = 0: x against itself. */
static tp_kernel solve(nn_function function, const nn_spec *spec, tp_kernel_kind which, const double *x, size_t rows,
                       const double *x2, size_t rows2)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, spec, &error);
    cr_assert(net, "%s", error.text);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    tp_kernel kernel;
    cr_assert_eq(tp_limit(program, which, x, rows, x2, rows2, NULL, &kernel, &error), 0, "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    return kernel;
}

static void compare(const char *name, const tp_kernel *kernel, double n, const double *expected, double tolerance)
{
    size_t count = kernel->rows * kernel->rows2;
    double *got = malloc(count * sizeof *got), worst = 0;
    tp_kernel_at(kernel, n, got);
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs(got[i] - expected[i]) / fabs(expected[i]));
    cr_expect_lt(worst, tolerance, "%s: off by %g relative", name, worst);
    free(got);
}

Test(limit, multilayer_references)
{
    static const struct {
        const char *file, *settings[5];
        nn_parametrization scale;
        double n, tolerance;
    } rows[] = {
        { "mlp_relu_d3_bias", { "depth=3", "phi=relu", "sigma_w=1.5", "sigma_b=0.3" }, NN_NTK, 1, 1e-12 },
        { "mlp_relu_d1_standard_bias",
          { "depth=1", "phi=relu", "sigma_w=1.5", "sigma_b=0.3" },
          NN_STANDARD,
          64,
          1e-12 },
        { "mlp_erf_d3_bias", { "depth=3", "phi=erf", "sigma_w=1.2", "sigma_b=0.3" }, NN_NTK, 1, 1e-12 },
        { "mlp_gelu_d1_bias", { "depth=1", "phi=gelu", "sigma_w=1.2", "sigma_b=0.3" }, NN_NTK, 1, 1e-12 },
        { "mlp_tanh_num50_d1_bias", { "depth=1", "phi=tanh", "sigma_w=1.2", "sigma_b=0.3" }, NN_NTK, 1, 1e-10 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reference *ref = reference_read(rows[i].file);
        double *x = reference_inputs(5, 10);
        nn_spec spec = { .features = 10,
                         .outputs = 1,
                         .parametrization = rows[i].scale,
                         .settings = rows[i].settings,
                         .sigma_in = rows[i].scale == NN_NTK ? NN_SIGMA_MULTIPLIER : NN_SIGMA_INIT };
        tp_kernel nngp = solve(nn_builtin("mlp"), &spec, TP_NNGP, x, 5, NULL, 0);
        tp_kernel ntk = solve(nn_builtin("mlp"), &spec, TP_NTK, x, 5, NULL, 0);
        compare(rows[i].file, &nngp, rows[i].n, reference_array(ref, "nngp", 25), rows[i].tolerance);
        compare(rows[i].file, &ntk, rows[i].n, reference_array(ref, "ntk", 25), rows[i].tolerance);
        tp_kernel_free(&nngp);
        tp_kernel_free(&ntk);
        free(x);
        reference_free(ref);
    }
}

/* The first three rows against the last two must be the block of the whole, to rounding. */
Test(limit, two_sets_are_a_block_of_the_whole)
{
    static const char *const phis[] = { "phi=relu", "phi=tanh", "phi=gelu", "phi=softplus", "phi=sin" };
    double *x = reference_inputs(5, 10);
    for (size_t i = 0; i < sizeof phis / sizeof *phis; i++) {
        const char *settings[] = { "depth=2", phis[i], "sigma_w=1.3", "sigma_b=0.2", NULL };
        nn_spec spec = { .features = 10, .outputs = 1, .settings = settings };
        tp_kernel whole = solve(nn_builtin("mlp"), &spec, TP_NTK, x, 5, NULL, 0);
        tp_kernel block = solve(nn_builtin("mlp"), &spec, TP_NTK, x, 3, x + 30, 2);
        for (size_t r = 0; r < 3; r++)
            for (size_t c = 0; c < 2; c++)
                cr_expect_float_eq(block.terms[0].values[2 * r + c], whole.terms[0].values[5 * r + 3 + c],
                                   1e-12 * whole.terms[0].values[5 * r + 3 + c], "%s", phis[i]);
        tp_kernel_free(&whole);
        tp_kernel_free(&block);
    }
    free(x);
}

/* A recurrent kernel of one set is derived for half of the pairs of steps, and folded over; of two sets, even if they
 * are equal, it is not. Both ways the same numbers, to rounding. On the diagonal, two sets do not know that the samples
 * are the same one, which costs half of the digits at a kink: there only the smooth ones are compared. */
Test(limit, a_folded_kernel_is_the_whole)
{
    enum { ROWS = 5, STEPS = 6, FEATURES = 3 };
    static const char *const settings[][4] = { { "phi=erf", "readout=mean", "sigma_b=0.3", NULL },
                                               { "phi=tanh", "readout=mean", "depth=2", NULL },
                                               { "phi=relu", "readout=mean", NULL },
                                               { "phi=relu", "readout=last", "depth=2", NULL } };
    double *x = reference_inputs(ROWS * STEPS, FEATURES);
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        const char *own[4];
        memcpy(own, settings[k], sizeof own);
        nn_spec spec = { .shape = { STEPS, FEATURES }, .outputs = 1, .settings = own };
        tp_kernel folded = solve(nn_builtin("rnn"), &spec, TP_NTK, x, ROWS, NULL, 0);
        tp_kernel whole = solve(nn_builtin("rnn"), &spec, TP_NTK, x, ROWS, x, ROWS);
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < ROWS; j++) {
                double value = folded.terms[0].values[ROWS * i + j], size = whole.terms[0].values[(ROWS + 1) * i];
                cr_expect_eq(value, folded.terms[0].values[ROWS * j + i]);
                if (i != j || strcmp(own[0], "phi=relu") != 0)
                    cr_expect_float_eq(value, whole.terms[0].values[ROWS * i + j], 1e-12 * size, "%s %s: (%zu, %zu)",
                                       own[0], own[1], i, j);
            }
        tp_kernel_free(&folded);
        tp_kernel_free(&whole);
    }
    free(x);
}

/* ---- dependent branches: h + h is twice h, so its kernel is four times; x * x of a Gaussian has E = 3K^2 ---- */
static ad_var single(nn_net *net, ad_var x)
{
    ad_var h = ad_tanh(nn_dense(net, "h", x, nn_width(net, "n")));
    return nn_readout(net, "v", h);
}
static ad_var doubled(nn_net *net, ad_var x)
{
    ad_var h = ad_tanh(nn_dense(net, "h", x, nn_width(net, "n")));
    return nn_readout(net, "v", ad_add(h, h));
}
static ad_var linear(nn_net *net, ad_var x)
{
    return nn_readout(net, "v", nn_dense(net, "h", x, nn_width(net, "n")));
}
static ad_var squared(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "h", x, nn_width(net, "n"));
    return nn_readout(net, "v", ad_mul(h, h));
}

Test(limit, dependent_branches)
{
    nn_spec spec = { .features = 10, .outputs = 1 };
    double *x = reference_inputs(5, 10);
    tp_kernel one = solve(single, &spec, TP_NNGP, x, 5, NULL, 0), two = solve(doubled, &spec, TP_NNGP, x, 5, NULL, 0);
    tp_kernel k = solve(linear, &spec, TP_NNGP, x, 5, NULL, 0), k2 = solve(squared, &spec, TP_NNGP, x, 5, NULL, 0);
    for (int i = 0; i < 25; i++)
        cr_expect_float_eq(two.terms[0].values[i], 4 * one.terms[0].values[i], 1e-12);
    for (int i = 0; i < 5; i++) {
        double q = k.terms[0].values[6 * i];
        cr_expect_float_eq(k2.terms[0].values[6 * i], 3 * q * q, 1e-12 * q * q);
    }
    tp_kernel *all[] = { &one, &two, &k, &k2 };
    for (int i = 0; i < 4; i++)
        tp_kernel_free(all[i]);
    free(x);
}

/* ---- shared weights over time: the exact recursion of a recurrent net, last state and mean over time ---- */
static ad_var recurrent(nn_net *net, ad_var x)
{
    ad_graph *graph = nn_graph(net);
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], features = ad_shape_get(x)->axes[2];
    nn_weight w = nn_make_weight(net, "W", n, n, 1), u = nn_make_weight(net, "U", features, n, sqrt(2));
    nn_weight b = nn_make_bias(net, "b", n, sqrt(0.2)), v = nn_make_weight(net, "v", n, nn_outputs(net), 1);
    ad_var s = { 0 }, sum = { 0 };
    int steps = (int)ad_axis_fixed(graph, time);
    for (int t = 0; t < steps; t++) {
        ad_var h = nn_add_bias(b, nn_apply(u, ad_take(x, time, (size_t)t)));
        s = ad_erf(t ? ad_add(h, nn_apply(w, s)) : h);
        sum = t ? ad_add(sum, s) : s;
    }
    bool mean = nn_setting_int(net, "mean", 0, 0, 1);
    return nn_apply(v, mean ? ad_scale(sum, 1.0 / steps) : s);
}

Test(limit, recurrent_reference)
{
    reference *ref = reference_read("rnn_erf_4x5");
    double *x = reference_sequences(4, 5, 8);
    for (int mean = 0; mean < 2; mean++) {
        const char *settings[] = { mean ? "mean=1" : "mean=0", NULL };
        nn_spec spec = { .features = 40, .shape = { 5, 8 }, .outputs = 1, .settings = settings };
        tp_kernel nngp = solve(recurrent, &spec, TP_NNGP, x, 4, NULL, 0);
        tp_kernel ntk = solve(recurrent, &spec, TP_NTK, x, 4, NULL, 0);
        compare("rnn nngp", &nngp, 1, reference_array(ref, mean ? "limit.gp_avg" : "limit.gp_last", 16), 1e-12);
        compare("rnn ntk", &ntk, 1, reference_array(ref, mean ? "limit.ntk_avg" : "limit.ntk_last", 16), 1e-12);
        tp_kernel_free(&nngp);
        tp_kernel_free(&ntk);
    }
    free(x);
    reference_free(ref);
}

/* ---- a user's own activation: its limit must be that of the table's function it equals ---- */
static void own_tanh(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = tanh(x[i]);
}
static void own_slope(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 1 - tanh(x[i]) * tanh(x[i]);
}
static void own_relu(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
}
static void own_step(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0;
}
static const ad_function my_tanh = { .name = "own tanh", .count = 2, .derivatives = { own_tanh, own_slope } };
static const ad_function my_relu = {
    .name = "own relu", .count = 2, .derivatives = { own_relu, own_step }, .n_kinks = 1
};
static ad_var own(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    const ad_function *f = nn_setting_int(net, "relu", 0, 0, 1) ? &my_relu : &my_tanh;
    for (int layer = 1; layer <= 2; layer++)
        x = ad_custom(
            f, nn_dense_with(net, nn_name(net, "dense%d", layer), x, n, .sigma_w = 1.3, .bias = true, .sigma_b = 0.4));
    return nn_readout_with(net, "readout", x, .sigma_w = 1.3, .bias = true, .sigma_b = 0.4);
}

Test(limit, a_users_activation_has_a_limit)
{
    double *x = reference_inputs(5, 10);
    for (int relu = 0; relu < 2; relu++) {
        const char *mine[] = { relu ? "relu=1" : "relu=0", NULL };
        const char *theirs[] = { "depth=2", relu ? "phi=relu" : "phi=tanh", "sigma_w=1.3", "sigma_b=0.4", NULL };
        nn_spec a = { .features = 10, .outputs = 1, .settings = mine }, b = a;
        b.settings = theirs;
        tp_kernel k = solve(own, &a, TP_NTK, x, 5, NULL, 0), l = solve(nn_builtin("mlp"), &b, TP_NTK, x, 5, NULL, 0);
        compare(relu ? "own relu" : "own tanh", &k, 1, l.terms[0].values, 1e-10);
        tp_kernel_free(&k);
        tp_kernel_free(&l);
    }
    free(x);
}

/* ---- nearly equal inputs: relu's kernel in long double, with the angle from the exact distance ---- */
Test(limit, inputs_a_millionth_apart)
{
    enum { D = 8 };
    const char *settings[] = { "depth=1", "phi=relu", "sigma_w=1.4142135623730951", NULL };
    nn_spec spec = { .features = D, .outputs = 1, .settings = settings };
    double x[2 * D];
    for (int k = 0; k < D; k++) {
        x[k] = sin(1.0 + k);
        x[D + k] = x[k] + 1e-6 * cos(3.0 * k);
    }
    tp_kernel ntk = solve(nn_builtin("mlp"), &spec, TP_NTK, x, 2, NULL, 0);
    long double u2 = 0, w2 = 0, uw = 0;
    for (int k = 0; k < D; k++) {
        u2 += (long double)x[k] * x[k];
        w2 += (long double)x[D + k] * x[D + k];
        uw += (long double)x[k] * x[D + k];
    }
    long double minus = 0, plus = 0, pi = acosl(-1);
    for (int k = 0; k < D; k++) {
        minus += powl(x[k] / sqrtl(u2) - x[D + k] / sqrtl(w2), 2);
        plus += powl(x[k] / sqrtl(u2) + x[D + k] / sqrtl(w2), 2);
    }
    long double theta = 2 * atan2l(sqrtl(minus), sqrtl(plus)), c = cosl(theta);
    /* sigma^2 = 2 in every layer, sigma in the deviation: NTK = K + 2 S uw / d; K = 2 R over pre-activations of 2 uw /
     * d */
    long double k1 = 2 * sqrtl(u2 * w2) / D, r = k1 * (sinl(theta) + (pi - theta) * c) / (2 * pi);
    long double expected = r + 2 * (pi - theta) / (2 * pi) * uw / D;
    double got = ntk.terms[0].values[1];
    cr_expect_lt(fabs((double)((got - expected) / expected)), 1e-14, "%.17g %.17Lg", got, expected);
    tp_kernel_free(&ntk);
}

/* ---- wide finite networks ----
 * 24 networks of width 1024. Every entry of their mean kernel is within 6.4 standard errors of the limit: t with 23
 * degrees of freedom has P(|t| > 6.4) < 1.7e-6, so that 3 kernels of 15 entries give a false alarm with probability
 * below
 * 8e-5. The kernel's own bias is of order 1/n, for which 2e-3 relative is allowed. */
Test(limit, wide_networks_agree)
{
    enum { ROWS = 5, SEEDS = 24 };
    static const char *const phis[] = { "phi=tanh", "phi=relu", "phi=gelu" };
    double *x = reference_inputs(ROWS, 10);
    for (size_t p = 0; p < 3; p++) {
        const char *settings[] = { "depth=2", phis[p], "sigma_w=1.4", "sigma_b=0.3", NULL };
        nn_spec spec = { .features = 10, .outputs = 1, .settings = settings };
        ad_error error = { 0 };
        tp_kernel limit = solve(nn_builtin("mlp"), &spec, TP_NTK, x, ROWS, NULL, 0);
        nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
        double sum[ROWS * ROWS] = { 0 }, squares[ROWS * ROWS] = { 0 }, k[ROWS * ROWS];
        for (int seed = 0; seed < SEEDS; seed++) {
            nn_model *model = nn_model_new(net, 1024, (uint64_t)seed + 1, AD_DOUBLE, 1, &error);
            cr_assert(model, "%s", error.text);
            cr_assert_eq(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k, &error), 0, "%s", error.text);
            for (int i = 0; i < ROWS * ROWS; i++) {
                sum[i] += k[i];
                squares[i] += k[i] * k[i];
            }
            nn_model_free(model);
        }
        for (int i = 0; i < ROWS * ROWS; i++) {
            double mean = sum[i] / SEEDS, variance = (squares[i] / SEEDS - mean * mean) * SEEDS / (SEEDS - 1);
            double allowed = 6.4 * sqrt(variance / SEEDS) + 2e-3 * fabs(limit.terms[0].values[i]);
            cr_expect_lt(fabs(mean - limit.terms[0].values[i]), allowed, "%s entry %d: %g against %g", phis[p], i, mean,
                         limit.terms[0].values[i]);
        }
        nn_net_free(net);
        tp_kernel_free(&limit);
    }
    free(x);
}

/* ---- what has no rule says so ---- */
static ad_var softmax_over_n(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_readout(net, "v", ad_softmax(nn_dense(net, "h", x, n), n));
}

/* What a caller is told of the work: shares that grow to 1, in either engine and in several threads. */
typedef struct {
    int calls;
    double last;
    bool grows;
} told;

static void listen(double share, void *context)
{
    told *t = context;
    t->grows = t->grows && share >= t->last && share <= 1;
    t->last = share;
    t->calls++;
}

Test(limit, tells_how_far_it_is)
{
    enum { ROWS = 700 };
    double *x = reference_inputs(ROWS, 10);
    ad_error error = { 0 };
    nn_spec spec = { .features = 10 };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    for (int k = 0; k < 3; k++) {
        told t = { .grows = true };
        tp_limit_spec limit = { .threads = k < 2 ? 1 + k : 1,
                                .engine = k < 2 ? TP_ENGINE_EXACT : TP_ENGINE_SAMPLE,
                                .samples = 64,
                                .progress = listen,
                                .context = &t };
        tp_kernel kernel;
        size_t rows = k < 2 ? ROWS : 3, rows2 = k ? 0 : 300;
        cr_assert(!tp_limit(program, TP_NTK, x, rows, rows2 ? x : NULL, rows2, &limit, &kernel, &error), "%s",
                  error.text);
        cr_expect(t.grows && t.calls > 3 && fabs(t.last - 1) < 1e-15, "%d: %d calls, the last %g", k, t.calls, t.last);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    nn_net_free(net);
    free(x);
}

Test(limit, a_softmax_over_the_width_is_refused)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = 10, .outputs = 1 };
    nn_net *net = nn_trace(softmax_over_n, &spec, &error);
    cr_assert(net, "%s", error.text);
    tp_program *program = tp_translate(net, &error);
    tp_kernel kernel = { 0 };
    double *x = reference_inputs(2, 10);
    cr_expect(!program || tp_limit(program, TP_NTK, x, 2, NULL, 0, NULL, &kernel, &error) < 0);
    cr_expect(strstr(error.text, "softmax") && strstr(error.text, "test_limit.c"), "%s", error.text);
    free(x);
    tp_program_free(program);
    nn_net_free(net);
}
