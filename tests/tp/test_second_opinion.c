/* A second opinion of right kernels, of every kind of network, and of wrong ones. Time is plenty, so that the number of
 * samples does not depend on the machine: 64 runs of 4096. */
#include "tests/support/architecture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 7, FEATURES = 20 };
static const double plenty = 1000, off = 0.02;

typedef struct {
    nn_net *net;
    tp_program *program;
    double x[ROWS * FEATURES], x2[ROWS * FEATURES];
    tp_kernel kernel;
} asked;

/* Row 5 is nearly parallel to row 2, and row 3 of x2 to row 4. */
static void open_inputs(asked *a, size_t features)
{
    ad_normal(3, 9, 0, ROWS * features, a->x);
    ad_normal(4, 9, 0, ROWS * features, a->x2);
    for (size_t i = 0; i < features; i++) {
        a->x[5 * features + i] = a->x[2 * features + i] + 0.05 * a->x[5 * features + i];
        a->x2[3 * features + i] = a->x[4 * features + i] + 0.04 * a->x2[3 * features + i];
    }
}

/* Attention of scale 1/n over positions, a residual sum and a layernorm. */
static ad_var attention(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), position = ad_shape_get(x)->axes[1], other = ad_prime(position);
    ad_var h = ad_relu(nn_dense(net, "embed", x, n));
    ad_var q = nn_dense(net, "query", h, n), k = ad_relabel(nn_dense(net, "key", ad_tanh(h), n), position, other);
    ad_var weights = ad_softmax(ad_scale_by(ad_contract(q, k, ad_shape_of(n)), 1, n, -1), other);
    ad_var value = ad_relabel(nn_dense(net, "value", h, n), position, other);
    ad_var sum = ad_add(h, ad_contract(weights, value, ad_shape_of(other)));
    ad_var centred = ad_sub(sum, ad_mean(sum, ad_shape_of(n))), size = ad_mean(ad_square(centred), ad_shape_of(n));
    sum = ad_mul(centred, ad_rsqrt(ad_add(size, ad_constant(x.graph, 1e-3, (ad_shape){ 0 }))));
    return nn_readout(net, "readout", ad_mean(ad_relu(nn_dense(net, "last", sum, n)), ad_shape_of(position)));
}

static void open_net(asked *a, const char *name, nn_parametrization scale, const char *const *settings)
{
    ad_error error = { 0 };
    bool own = strcmp(name, "attention") == 0, sequence = own || nn_builtin_input(name) == NN_SEQUENCE;
    nn_spec spec = { .shape = { sequence ? 5 : 0, sequence ? 4 : 0 },
                     .features = FEATURES,
                     .outputs = 2,
                     .parametrization = scale,
                     .settings = settings,
                     .name = name };
    cr_assert((a->net = nn_trace(own ? attention : nn_builtin(name), &spec, &error)) != NULL, "%s", error.text);
    cr_assert((a->program = tp_translate(a->net, &error)) != NULL, "%s", error.text);
    open_inputs(a, FEATURES);
}

static void close_asked(asked *a)
{
    tp_kernel_free(&a->kernel);
    tp_program_free(a->program);
    nn_net_free(a->net);
}

static void expect_found(asked *a, tp_kernel_kind which, size_t rows2, const tp_limit_spec *spec)
{
    ad_error error = { 0 };
    int status = tp_limit(a->program, which, a->x, ROWS, rows2 ? a->x2 : NULL, rows2, spec, &a->kernel, &error);
    cr_assert_eq(status, 0, "%s", error.text);
}

/* One entry, or all of them (SIZE_MAX), times 1 + by. */
static void falsify(tp_kernel *kernel, size_t at, double by)
{
    for (int k = 0; k < kernel->n_terms; k++)
        for (size_t i = 0; i < kernel->rows * kernel->rows2; i++)
            kernel->terms[k].values[i] *= at == SIZE_MAX || at == i ? 1 + by : 1;
}

static int ask(asked *a, tp_kernel_kind which, size_t rows2, double seconds, tp_opinion *opinion, ad_error *error)
{
    return tp_second_opinion(a->program, which, a->x, ROWS, rows2 ? a->x2 : NULL, rows2, NULL, &a->kernel, seconds,
                             opinion, error);
}

/* Quiet on the right kernel, and an error that shows both numbers on one that is off by 2 %. */
static void expect_judged(const char *name, nn_parametrization scale, const char *const *settings, tp_kernel_kind which,
                          size_t rows2)
{
    asked a = { 0 };
    tp_opinion opinion;
    ad_error error = { 0 };
    open_net(&a, name, scale, settings);
    expect_found(&a, which, rows2, NULL);
    cr_expect_eq(ask(&a, which, rows2, plenty, &opinion, &error), 0, "%s", error.text);
    cr_expect(opinion.checked && opinion.runs == 64 && opinion.samples == 4096, "%s: %s", name, opinion.text);
    cr_expect_eq(opinion.entries, rows2 ? 9 : 10, "%s", opinion.text);
    cr_expect(strstr(opinion.text, "checked against samples: worst deviation ") == opinion.text, "%s", opinion.text);
    falsify(&a.kernel, SIZE_MAX, off);
    cr_expect_eq(ask(&a, which, rows2, plenty, &opinion, &error), -1, "%s %s: %s", name, settings[0] ? settings[0] : "",
                 opinion.text);
    cr_expect(opinion.checked && strstr(error.text, "by exact rules") && strstr(error.text, "by samples") &&
                  strstr(error.text, "please report this network"),
              "%s", error.text);
    close_asked(&a);
}

#define SETTINGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

Test(second_opinion, of_every_kind, .timeout = 600)
{
    expect_judged("mlp", NN_NTK, SETTINGS("phi=relu", "depth=2"), TP_NTK, 0);
    expect_judged("mlp", NN_NTK, SETTINGS("phi=gelu", "sigma_b=0.3"), TP_NNGP, 6);
    expect_judged("mlp", NN_NTK, SETTINGS("phi=tanh", "depth=2"), TP_NTK, 6);
    expect_judged("rnn", NN_NTK, SETTINGS("phi=tanh"), TP_NTK, 0);
    expect_judged("attention", NN_NTK, SETTINGS(NULL), TP_NTK, 0);
}

/* Two powers of n, which the executor sums. */
Test(second_opinion, standard_scale, .timeout = 600)
{
    expect_judged("mlp", NN_STANDARD, SETTINGS("phi=relu", "depth=2", "sigma_b=0.5"), TP_NTK, 0);
}

/* Without noise: a linear network's samples are exact, and so is the judgment. */
Test(second_opinion, linear, .timeout = 600)
{
    asked a = { 0 };
    tp_opinion opinion;
    ad_error error = { 0 };
    open_net(&a, "mlp", NN_NTK, SETTINGS("phi=identity"));
    expect_found(&a, TP_NTK, 0, NULL);
    cr_expect_eq(ask(&a, TP_NTK, 0, plenty, &opinion, &error), 0, "%s", error.text);
    cr_expect(opinion.checked && opinion.precision < 1e-12, "%s", opinion.text);
    falsify(&a.kernel, SIZE_MAX, 1e-6);
    cr_expect_eq(ask(&a, TP_NTK, 0, plenty, &opinion, &error), -1, "%s", opinion.text);
    close_asked(&a);
}

/* Each of the rows that are picked, and no other: the first, the last, the nearly parallel ones. */
Test(second_opinion, names_the_entry, .timeout = 600)
{
    static const size_t seen[][2] = { { 0, 0 }, { 0, 6 }, { 2, 5 }, { 5, 6 } };
    for (size_t k = 0; k < sizeof seen / sizeof *seen; k++) {
        asked a = { 0 };
        tp_opinion opinion;
        ad_error error = { 0 };
        char told[80];
        open_net(&a, "mlp", NN_NTK, SETTINGS("phi=relu", "depth=1"));
        expect_found(&a, TP_NTK, 0, NULL);
        falsify(&a.kernel, seen[k][0] * ROWS + seen[k][1], 0.5);
        falsify(&a.kernel, seen[k][1] * ROWS + seen[k][0], seen[k][0] == seen[k][1] ? 0 : 0.5);
        cr_expect_eq(ask(&a, TP_NTK, 0, plenty, &opinion, &error), -1, "%s", opinion.text);
        snprintf(told, sizeof told, "inputs %zu and %zu (", seen[k][0], seen[k][1]);
        snprintf(told + 40, sizeof told - 40, "inputs %zu and %zu (", seen[k][1], seen[k][0]);
        cr_expect(strstr(error.text, told) || strstr(error.text, told + 40), "%s: %s", told, error.text);
        close_asked(&a);
    }
}

/* What is frozen has no part in the NTK: that of all parameters is another kernel. */
static ad_var two_layers(nn_net *net, ad_var x)
{
    ad_axis features = ad_shape_get(x)->axes[1], n = nn_width(net, "n");
    ad_init init = { .axis = features, .deviation = 1, .multiplier = 1, .multiplier_power = -0.5, .rate = 1 };
    ad_var w = ad_param(nn_graph(net), "w", ad_shape_of(features, n), init);
    return nn_readout(net, "readout",
                      ad_relu(ad_scale_by(ad_contract(x, w, ad_shape_of(features)), 1, features, -0.5)));
}

Test(second_opinion, training_kernel, .timeout = 600)
{
    asked a = { 0 };
    tp_opinion opinion;
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = 1, .name = "frozen", .freeze = SETTINGS("w") };
    cr_assert((a.net = nn_trace(two_layers, &spec, &error)) != NULL, "%s", error.text);
    cr_assert((a.program = tp_translate(a.net, &error)) != NULL, "%s", error.text);
    open_inputs(&a, FEATURES);
    int status = tp_training_kernel(a.program, a.x, ROWS, NULL, 0, NULL, &a.kernel, &error);
    cr_assert_eq(status, 0, "%s", error.text);
    status = tp_training_second_opinion(a.program, a.x, ROWS, NULL, 0, NULL, &a.kernel, plenty, &opinion, &error);
    cr_expect(status == 0 && opinion.checked, "%s%s", opinion.text, error.text);
    cr_expect_eq(ask(&a, TP_NTK, 0, plenty, &opinion, &error), 0, "%s", error.text);
    tp_program_free(a.program);
    nn_net_free(a.net);
    spec.freeze = NULL;
    cr_assert((a.net = nn_trace(two_layers, &spec, &error)) != NULL, "%s", error.text);
    cr_assert((a.program = tp_translate(a.net, &error)) != NULL, "%s", error.text);
    cr_expect_eq(ask(&a, TP_NTK, 0, plenty, &opinion, &error), -1, "%s", opinion.text);
    close_asked(&a);
}

/* ---- no opinion ---- */
static void expect_unchecked(asked *a, tp_kernel_kind which, const tp_limit_spec *spec, double seconds, const char *why)
{
    tp_opinion opinion;
    ad_error error = { 0 };
    int status = tp_second_opinion(a->program, which, a->x, ROWS, NULL, 0, spec, &a->kernel, seconds, &opinion, &error);
    cr_expect_eq(status, 0, "%s", error.text);
    cr_expect(!opinion.checked && strstr(opinion.text, "unchecked: ") == opinion.text && strstr(opinion.text, why),
              "%s: %s", why, opinion.text);
    tp_kernel_free(&a->kernel);
}

Test(second_opinion, unchecked, .timeout = 600)
{
    asked a = { 0 };
    open_net(&a, "mlp", NN_NTK, SETTINGS("phi=relu"));
    expect_found(&a, TP_NTK, 0, NULL);
    expect_unchecked(&a, TP_NTK, NULL, 0, "8 runs of 256 samples take longer than the 0 s");
    tp_limit_spec sampled = { .engine = TP_ENGINE_SAMPLE, .samples = 256 };
    expect_found(&a, TP_NTK, 0, &sampled);
    expect_unchecked(&a, TP_NTK, &sampled, plenty, "the kernel is of samples itself");
    tp_limit_spec simple = { .rule = TP_RULE_BP };
    expect_found(&a, TP_NTK, 0, &simple);
    expect_unchecked(&a, TP_NTK, &simple, plenty, "the simple rule was asked for");
    tp_limit_spec between = { .output = 1 };
    expect_found(&a, TP_NTK, 0, &between);
    expect_unchecked(&a, TP_NTK, &between, plenty, "the kernel is between two outputs");
    close_asked(&a);
}

/* E e^(2u) of a variance of 18 comes from u about 36, which no sample meets: a right kernel is not accused. */
Test(second_opinion, heavy_tails, .timeout = 600)
{
    asked a = { 0 };
    open_net(&a, "mlp", NN_NTK, SETTINGS("phi=exp", "depth=1"));
    for (size_t i = 0; i < ROWS * FEATURES; i++)
        a.x[i] *= 3;
    for (int which = 0; which < 2; which++) {
        expect_found(&a, which ? TP_NNGP : TP_NTK, 0, NULL);
        expect_unchecked(&a, which ? TP_NNGP : TP_NTK, NULL, plenty, "samples spread too widely");
    }
    close_asked(&a);
}

/* Seven inputs about their mean have six directions at most. */
Test(second_opinion, small_batches, .timeout = 600)
{
    asked a = { 0 };
    open_net(&a, "batchnorm", NN_NTK, SETTINGS("phi=relu", "depth=1"));
    expect_found(&a, TP_NTK, 0, NULL);
    expect_unchecked(&a, TP_NTK, NULL, plenty, "heavy tails");
    close_asked(&a);
    a = (asked){ 0 };
    tp_opinion opinion;
    ad_error error = { 0 };
    open_net(&a, "batchnorm", NN_NTK, SETTINGS("phi=relu", "depth=1"));
    expect_found(&a, TP_NNGP, 6, NULL);
    cr_expect_eq(ask(&a, TP_NNGP, 6, plenty, &opinion, &error), 0, "%s", error.text);
    cr_expect(opinion.checked, "%s", opinion.text);
    falsify(&a.kernel, SIZE_MAX, off);
    cr_expect_eq(ask(&a, TP_NNGP, 6, plenty, &opinion, &error), -1, "%s", opinion.text);
    close_asked(&a);
}

Test(second_opinion, bad_arguments)
{
    asked a = { 0 };
    tp_opinion opinion;
    ad_error error = { 0 };
    open_net(&a, "mlp", NN_NTK, SETTINGS("phi=relu", "depth=1"));
    expect_found(&a, TP_NTK, 0, NULL);
    int status = tp_second_opinion(a.program, TP_NTK, a.x, ROWS - 1, NULL, 0, NULL, &a.kernel, 1, &opinion, &error);
    cr_expect_eq(status, -1);
    cr_expect(strstr(error.text, "the kernel is (7, 7), the inputs are 6 and 6"), "%s", error.text);
    close_asked(&a);
}

/* ---- random architectures ---- */
/* Network 28 is an average whose NTK vanishes, by the general rule: one term of zeros, with which samples agree. */
Test(second_opinion, of_nothing, .timeout = 600)
{
    asked a = { 0 };
    tp_opinion opinion;
    ad_error error = { 0 };
    cr_assert((a.net = architecture_trace(28, &error)) != NULL, "%s", error.text);
    cr_assert((a.program = tp_translate(a.net, &error)) != NULL, "%s", error.text);
    open_inputs(&a, nn_features(a.net));
    expect_found(&a, TP_NTK, 0, NULL);
    cr_assert_eq(a.kernel.n_terms, 1);
    for (int i = 0; i < ROWS * ROWS; i++)
        cr_expect_eq(a.kernel.terms[0].values[i], 0);
    cr_expect_eq(ask(&a, TP_NTK, 0, 1, &opinion, &error), 0, "%s", error.text);
    cr_expect(opinion.checked && !(opinion.deviation > 0), "%s", opinion.text);
    close_asked(&a);
}

/* Of each exact kernel, as it is and 5 % too large. A kernel that is zero cannot be falsified so. */
Test(second_opinion, random_architectures, .timeout = 600)
{
    int checked = 0, caught = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        asked a = { 0 };
        tp_opinion opinion;
        ad_error error = { 0 };
        tp_limit_spec exact = { .engine = TP_ENGINE_EXACT };
        cr_assert((a.net = architecture_trace(seed, &error)) != NULL, "%s", error.text);
        cr_assert((a.program = tp_translate(a.net, &error)) != NULL, "%s", error.text);
        open_inputs(&a, nn_features(a.net));
        if (tp_limit(a.program, TP_NTK, a.x, ROWS, NULL, 0, &exact, &a.kernel, &error) == 0) {
            error = (ad_error){ 0 };
            cr_expect_eq(ask(&a, TP_NTK, 0, 1, &opinion, &error), 0, "%s: %s", error.text, architecture_story());
            checked += opinion.checked;
            falsify(&a.kernel, SIZE_MAX, 0.1);
            caught += ask(&a, TP_NTK, 0, 1, &opinion, &error) == -1;
        }
        close_asked(&a);
    }
    cr_expect(checked >= 8 && caught >= checked - 1, "%d checked, %d caught", checked, caught);
}

/* f(x) - f(x_0), and a row that is x_0: its kernels are 0 by terms that cancel, to rounding by exact rules and exactly
 * by samples. */
static ad_var centred(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight u = nn_make_weight(net, "u", ad_shape_get(x)->axes[1], n, 1);
    ad_var origin = ad_constant(x.graph, 1, *ad_shape_get(x));
    return nn_readout(net, "v", ad_sub(ad_erf(nn_apply(u, x)), ad_erf(nn_apply(u, origin))));
}

Test(second_opinion, of_rows_whose_terms_cancel)
{
    static const double x[] = { 1, 1, 1, 1.2, 0.9, 1, 0.5, -0.7, 1.1, -1.3, 0.4, 0.2 };
    ad_error error = { 0 };
    nn_net *net = nn_trace(centred, &(nn_spec){ .features = 3 }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    for (int which = 0; which < 2; which++) {
        tp_kernel kernel;
        tp_opinion opinion;
        cr_assert_eq(tp_limit(program, which ? TP_NNGP : TP_NTK, x, 4, NULL, 0, NULL, &kernel, &error), 0, "%s",
                     error.text);
        cr_expect_eq(tp_second_opinion(program, which ? TP_NNGP : TP_NTK, x, 4, NULL, 0, NULL, &kernel, plenty,
                                       &opinion, &error),
                     0, "%s", error.text);
        cr_expect(opinion.checked, "%s", opinion.text);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    nn_net_free(net);
}

/* Rows whose kernel the error of the largest entry hides are not told as checked. */
Test(second_opinion, small_rows_beside_a_large_one_are_unchecked)
{
    asked a = { 0 };
    tp_opinion opinion;
    ad_error error = { 0 };
    open_net(&a, "mlp", NN_NTK, (const char *const[]){ NULL });
    for (size_t i = 0; i < ROWS * FEATURES; i++)
        a.x[i] *= 1e-20;
    expect_found(&a, TP_NTK, 0, NULL);
    cr_expect_eq(ask(&a, TP_NTK, 0, plenty, &opinion, &error), 0, "%s", error.text);
    cr_expect(opinion.checked && opinion.entries == 10, "all small: %s", opinion.text);
    tp_kernel_free(&a.kernel);
    for (size_t i = 0; i < FEATURES; i++)
        a.x[i] *= 1e20; /* the first is among those that are compared */
    expect_found(&a, TP_NTK, 0, NULL);
    cr_expect_eq(ask(&a, TP_NTK, 0, plenty, &opinion, &error), 0, "%s", error.text);
    cr_expect(opinion.checked && opinion.entries == 1, "%s", opinion.text);
    close_asked(&a);
}

/* ---- what samples do not see ---- */
static const double brief = 0.1; /* a closer look takes seconds then */
static ad_op asked_op;
static ad_var saturated(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "dense", x, nn_width(net, "n"));
    return nn_readout(net, "v", ad_unary_at(AD_HERE, asked_op, h, 0));
}

static void open_traced(asked *a, nn_function network, double norm)
{
    ad_error error = { 0 };
    *a = (asked){ 0 };
    cr_assert((a->net = nn_trace(network, &(nn_spec){ .features = FEATURES }, &error)) != NULL, "%s", error.text);
    cr_assert((a->program = tp_translate(a->net, &error)) != NULL, "%s", error.text);
    open_inputs(a, FEATURES);
    for (size_t i = 0; i < ROWS * FEATURES; i++)
        a->x[i] *= norm / sqrt(FEATURES);
}

/* Where an input is so large that a function bends between two samples all runs agree on what it is without the bend,
 * E tanh^2 = 1 for 1 - 1e-8: a right kernel is not accused of that, and one that is off by more than that is. */
Test(second_opinion, bends_between_samples, .timeout = 600)
{
    static const ad_op ops[] = { AD_TANH, AD_ERF };
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
        for (double norm = 1e5; norm < 2e9; norm *= 1e4) {
            asked a;
            tp_opinion opinion;
            ad_error error = { 0 };
            asked_op = ops[k];
            open_traced(&a, saturated, norm);
            expect_found(&a, TP_NNGP, 0, NULL);
            cr_expect_eq(ask(&a, TP_NNGP, 0, brief, &opinion, &error), 0, "%s, %g: %s", ad_op_name(ops[k]), norm,
                         error.text);
            cr_expect(opinion.checked, "%s, %g: %s", ad_op_name(ops[k]), norm, opinion.text);
            falsify(&a.kernel, SIZE_MAX, 0.01);
            cr_expect_eq(ask(&a, TP_NNGP, 0, brief, &opinion, &error), -1, "%s, %g: %s", ad_op_name(ops[k]), norm,
                         opinion.text);
            falsify(&a.kernel, SIZE_MAX, 1 / 1.01 - 1);
            if (norm > 1e7) /* all samples agree */
                falsify(&a.kernel, 0, 1e-4);
            cr_expect_eq(ask(&a, TP_NNGP, 0, brief, &opinion, &error), norm > 1e7 ? -1 : 0, "%s, %g: %s",
                         ad_op_name(ops[k]), norm, opinion.text);
            close_asked(&a);
        }
}

/* By other seeds: a false alarm is as rare as for any network. */
Test(second_opinion, bends_between_other_samples, .timeout = 600)
{
    int checked = 0;
    for (int seed = 0; seed < 12; seed++) {
        asked a;
        tp_opinion opinion;
        ad_error error = { 0 };
        asked_op = seed % 2 ? AD_TANH : AD_ERF;
        open_traced(&a, saturated, pow(10, 5 + seed / 3.0));
        tp_limit_spec spec = { .seed = (uint64_t)seed * 1000 };
        expect_found(&a, TP_NNGP, 0, &spec);
        int status =
            tp_second_opinion(a.program, TP_NNGP, a.x, ROWS, NULL, 0, &spec, &a.kernel, brief, &opinion, &error);
        cr_expect_eq(status, 0, "seed %d: %s", seed, error.text);
        checked += opinion.checked;
        close_asked(&a);
    }
    cr_expect(checked > 9, "%d", checked);
}

/* h^64 by six squares: samples see nothing of E h^128, and distances from it are alike however they spread. */
static ad_var by_squares(nn_net *net, ad_var x)
{
    ad_var y = nn_dense(net, "dense", x, nn_width(net, "n"));
    for (int k = 0; k < 6; k++)
        y = ad_square(y);
    return nn_readout(net, "v", y);
}

/* tanh(h) - sign(h) is 0 in all samples of large h. */
static ad_var what_is_left_of_tanh(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "dense", x, nn_width(net, "n"));
    return nn_readout(net, "v", ad_sub(ad_tanh(h), ad_sign(h)));
}

Test(second_opinion, tails_and_bends_are_unchecked, .timeout = 600)
{
    asked a;
    for (int which = 0; which < 2; which++) {
        open_traced(&a, by_squares, 1);
        expect_found(&a, which ? TP_NNGP : TP_NTK, 0, NULL);
        expect_unchecked(&a, which ? TP_NNGP : TP_NTK, NULL, brief, "samples spread too widely");
        close_asked(&a);
    }
    for (double norm = 1e6; norm < 2e10; norm *= 1e4) {
        open_traced(&a, what_is_left_of_tanh, norm);
        expect_found(&a, TP_NNGP, 0, NULL);
        expect_unchecked(&a, TP_NNGP, NULL, brief, "samples");
        close_asked(&a);
    }
}

/* ---- powers of n ---- */
/* What is left where the leading terms cancel goes like n^-1, and samples have it. */
static ad_var cancelling(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var r = ad_relu(nn_dense(net, "dense", x, n));
    return nn_readout(net, "v", ad_sub(ad_add(r, ad_scale_by(r, 1, n, -0.5)), r));
}

/* Of two powers of n the larger one is the kernel's, and what vanishes beside it is in no sample. */
static ad_var growing(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var r = ad_relu(nn_dense(net, "dense", x, n)), s = ad_relu(nn_dense(net, "other", x, n));
    return nn_readout(net, "v", ad_add(ad_scale_by(r, 1, n, 0.5), s));
}

Test(second_opinion, powers_of_n, .timeout = 600)
{
    static const nn_function networks[] = { cancelling, growing };
    for (int k = 0; k < 4; k++) {
        asked a;
        tp_opinion opinion;
        ad_error error = { 0 };
        tp_kernel_kind which = k / 2 ? TP_NTK : TP_NNGP;
        open_traced(&a, networks[k % 2], 3);
        expect_found(&a, which, 0, NULL);
        cr_expect_eq(ask(&a, which, 0, brief, &opinion, &error), 0, "%d: %s", k, error.text);
        cr_expect(opinion.checked, "%d: %s", k, opinion.text);
        falsify(&a.kernel, SIZE_MAX, off);
        cr_expect_eq(ask(&a, which, 0, brief, &opinion, &error), -1, "%d: %s", k, opinion.text);
        close_asked(&a);
    }
}

/* (relu(h) + n^-1/2 u + n^-1 u - relu(h)) n^1/2 tends to u: of the terms that cancel no bound tells what of the rest
 * vanishes, and the more samples the nearer they come. A kernel that is wrong stays where it is. */
static ad_var lower_powers(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var r = ad_relu(nn_dense(net, "dense", x, n)), u = nn_dense(net, "other", x, n);
    ad_var all = ad_add(r, ad_add(ad_scale_by(u, 1, n, -0.5), ad_scale_by(u, 1, n, -1)));
    return nn_readout(net, "v", ad_scale_by(ad_sub(all, r), 1, n, 0.5));
}

Test(second_opinion, lower_powers_of_n_are_told, .timeout = 600)
{
    asked a;
    tp_opinion opinion;
    ad_error error = { 0 };
    open_traced(&a, lower_powers, 3);
    expect_found(&a, TP_NNGP, 0, NULL);
    expect_unchecked(&a, TP_NNGP, NULL, brief, "lower powers");
    expect_found(&a, TP_NNGP, 0, NULL);
    falsify(&a.kernel, SIZE_MAX, 0.1);
    cr_expect_eq(ask(&a, TP_NNGP, 0, brief, &opinion, &error), -1, "%s", opinion.text);
    close_asked(&a);
}
