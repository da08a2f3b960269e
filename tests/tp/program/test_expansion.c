/* Functions of what vanishes: a network with n^p phi(n^-p h) has the limit of the one with phi'(0) h in its place, by
 * exact rules and by samples; and at finite widths, with the same weights, the two come as near as powers of n say. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, FEATURES = 3 };
static const double x[ROWS * FEATURES] = { 1, 0.3, 0.2, 0.4, -0.8, 1, -0.7, 0.1, 1.3 };
static const double tanh_of_log_2 = 0.6, log_2 = 0.69314718055994530942;

typedef struct {
    ad_axis n;
    ad_var first, h, u;
    double p;
    bool plain; /* the network without functions of what vanishes */
} parts;

static ad_var powered(const parts *a, ad_var it, double c, double power)
{
    return ad_scale_by(it, c, a->n, power);
}

/* n^p phi(n^-p it), or c it. */
static ad_var near_zero(const parts *a, ad_op phi, double c, ad_var it)
{
    if (a->plain)
        return ad_scale(it, c);
    return powered(a, ad_unary_at(AD_HERE, phi, powered(a, it, 1, -a->p), 0), 1, a->p);
}

/* The same of phi without its value at 0. */
static ad_var from_zero(const parts *a, ad_op phi, double at_zero, double c, ad_var it)
{
    if (a->plain)
        return ad_scale(it, c);
    ad_var y = ad_unary_at(AD_HERE, phi, powered(a, it, 1, -a->p), 0);
    return powered(a, ad_sub(y, ad_constant(it.graph, at_zero, *ad_shape_get(y))), 1, a->p);
}

static parts parts_of(nn_net *net, ad_var in)
{
    ad_axis features = ad_fixed(nn_graph(net), "features", FEATURES);
    parts a = { .n = nn_width(net, "n"), .p = nn_setting_real(net, "p", 0.5) };
    a.plain = nn_setting_int(net, "plain", 0, 0, 1);
    a.first = ad_take(in, features, 0);
    a.h = nn_dense(net, "h", in, a.n);
    a.u = nn_dense(net, "u", in, a.n);
    return a;
}

#define NETWORK(name, expression)                                                                                      \
    static ad_var name(nn_net *net, ad_var in)                                                                         \
    {                                                                                                                  \
        parts a = parts_of(net, in);                                                                                   \
        return nn_readout(net, "v", expression);                                                                       \
    }

NETWORK(of_tanh, near_zero(&a, AD_TANH, 1, a.h))
NETWORK(of_sin, near_zero(&a, AD_SIN, 1, a.h))
NETWORK(of_erf, near_zero(&a, AD_ERF, 1.12837916709551257390, a.h))
NETWORK(of_gelu, near_zero(&a, AD_GELU, 0.5, a.h))
NETWORK(of_swish, near_zero(&a, AD_SWISH, 0.5, a.h))
NETWORK(of_mish, near_zero(&a, AD_MISH, tanh_of_log_2, a.h))
NETWORK(of_hard_tanh, near_zero(&a, AD_HARD_TANH, 1, a.h))
NETWORK(of_elu, near_zero(&a, AD_ELU, 1, a.h))
NETWORK(of_sigmoid, from_zero(&a, AD_SIGMOID, 0.5, 0.25, a.h))
NETWORK(of_softplus, from_zero(&a, AD_SOFTPLUS, log_2, 0.5, a.h))
NETWORK(of_exp, from_zero(&a, AD_EXP, 1, 1, a.h))
NETWORK(of_gelu_grad, from_zero(&a, AD_GELU_GRAD, 0.5, 2 * 0.39894228040143267794, a.h))
NETWORK(under_relu, ad_relu(near_zero(&a, AD_TANH, 1, a.h)))
NETWORK(under_abs, ad_abs(near_zero(&a, AD_SIN, 1, ad_add(a.h, a.u))))
NETWORK(under_tanh, ad_tanh(near_zero(&a, AD_GELU, 0.5, a.h)))
NETWORK(in_a_second_layer, ad_tanh(nn_dense(net, "w", near_zero(&a, AD_TANH, 1, ad_relu(a.h)), a.n)))
NETWORK(in_two_layers,
        near_zero(&a, AD_ERF, 1.12837916709551257390, nn_dense(net, "w", ad_relu(near_zero(&a, AD_TANH, 1, a.h)), a.n)))
NETWORK(of_a_sum, near_zero(&a, AD_TANH, 1, ad_add(a.h, a.plain ? ad_scale(a.u, 0) : powered(&a, a.u, 3, -a.p))))
NETWORK(of_several, near_zero(&a, AD_SIN, 1, ad_add(ad_relu(a.h), ad_mul(a.h, a.u))))
NETWORK(of_data_too, near_zero(&a, AD_TANH, 1, ad_mul(ad_relu(a.h), a.first)))
NETWORK(of_data_alone, ad_mul(ad_relu(a.h), near_zero(&a, AD_TANH, 1, a.first)))
NETWORK(in_a_product, ad_mul(near_zero(&a, AD_TANH, 1, a.h), near_zero(&a, AD_SIN, 1, a.u)))
NETWORK(nested, near_zero(&a, AD_TANH, 1, near_zero(&a, AD_SIN, 1, a.h)))
NETWORK(as_a_gate, ad_mul(ad_relu(a.h), a.plain ? ad_constant(in.graph, 0.5, *ad_shape_get(a.u))
                                                : ad_sigmoid(powered(&a, a.u, 1, -a.p))))
NETWORK(beside, ad_add(ad_relu(a.h), a.plain ? ad_scale(a.u, 0) : ad_tanh(powered(&a, a.u, 1, -a.p))))
NETWORK(in_a_mean, ad_mul(ad_relu(a.u), near_zero(&a, AD_TANH, 1, ad_mean(ad_relu(a.h), ad_shape_of(a.n)))))
NETWORK(under_layernorm, ad_relu(nn_layernorm(net, "norm", near_zero(&a, AD_TANH, 1, a.h))))
NETWORK(under_batchnorm, ad_relu(nn_batchnorm(net, "norm", near_zero(&a, AD_TANH, 1, a.h))))

/* Of the output, a number that stays random: its first power alone has rules. */
static ad_var of_the_output(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return near_zero(&a, AD_TANH, 1, nn_readout(net, "v", ad_relu(a.h)));
}

/* By terms that cancel. */
NETWORK(of_cos,
        a.plain ? ad_scale(ad_square(a.h), -0.5)
                : powered(&a, ad_sub(ad_cos(powered(&a, a.h, 1, -a.p)), ad_constant(in.graph, 1, *ad_shape_get(a.h))),
                          1, 2 * a.p))
NETWORK(third_order,
        a.plain ? ad_scale(ad_power(a.h, 3), -1.0 / 3)
                : powered(&a, ad_sub(ad_tanh(powered(&a, a.h, 1, -a.p)), powered(&a, a.h, 1, -a.p)), 1, 3 * a.p))
NETWORK(two_functions,
        a.plain
            ? ad_scale(ad_power(a.h, 3), 1.0 / 6)
            : powered(&a, ad_sub(ad_sin(powered(&a, a.h, 1, -a.p)), ad_tanh(powered(&a, a.h, 1, -a.p))), 1, 3 * a.p))
/* What is left of a kernel goes like a power of n. */
NETWORK(small, a.plain ? powered(&a, a.h, 1, -a.p) : ad_tanh(powered(&a, a.h, 1, -a.p)))
NETWORK(small_by_cancelling, a.plain ? powered(&a, ad_power(a.h, 3), -1.0 / 3, -3 * a.p)
                                     : ad_sub(ad_tanh(powered(&a, a.h, 1, -a.p)), powered(&a, a.h, 1, -a.p)))
NETWORK(large, a.plain ? powered(&a, ad_relu(a.h), 1, a.p)
                       : powered(&a, ad_relu(ad_sin(powered(&a, a.h, 1, -a.p))), 1, 2 * a.p))

/* x / (1 + x) near 0: any function will do that has three derivatives and no kink there. */
static void ratio(size_t count, const double *in, double *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = in[i] / (1 + in[i] * in[i]);
}
static void ratio_slope(size_t count, const double *in, double *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = (1 - in[i] * in[i]) / pow(1 + in[i] * in[i], 2);
}
static void ratio_curve(size_t count, const double *in, double *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = 2 * in[i] * (in[i] * in[i] - 3) / pow(1 + in[i] * in[i], 3);
}
static const ad_function own = { .name = "ratio", .count = 3, .derivatives = { ratio, ratio_slope, ratio_curve } };
static const ad_function with_less = { .name = "less", .count = 2, .derivatives = { ratio, ratio_slope } };
NETWORK(of_ones_own, a.plain ? a.h : powered(&a, ad_custom(&own, powered(&a, a.h, 1, -a.p)), 1, a.p))

typedef struct {
    const char *name;
    ad_var (*network)(nn_net *, ad_var);
    const char *p;
    double leading;  /* the power of n of the kernel */
    bool no_readout; /* its output is no readout, so that a network of a width has no NNGP kernel */
} row;
/* clang-format off */
#define ROW(network, p, leading) { #network ", p = " #p, network, "p=" #p, leading, false }
#define ROW_WITHOUT_READOUT(network, p, leading) { #network ", p = " #p, network, "p=" #p, leading, true }
/* clang-format on */
static const row rows[] = {
    ROW(of_tanh, 0.5, 0),
    ROW(of_tanh, 0.25, 0),
    ROW(of_tanh, 1, 0),
    ROW(of_sin, 0.5, 0),
    ROW(of_erf, 0.5, 0),
    ROW(of_gelu, 0.5, 0),
    ROW(of_swish, 0.5, 0),
    ROW(of_mish, 0.5, 0),
    ROW(of_hard_tanh, 0.5, 0),
    ROW(of_elu, 0.5, 0),
    ROW(of_sigmoid, 0.5, 0),
    ROW(of_softplus, 0.5, 0),
    ROW(of_exp, 0.5, 0),
    ROW(of_gelu_grad, 0.5, 0),
    ROW(of_ones_own, 0.5, 0),
    ROW(under_relu, 0.5, 0),
    ROW(under_relu, 0.25, 0),
    ROW(under_abs, 0.5, 0),
    ROW(under_tanh, 0.5, 0),
    ROW(in_a_second_layer, 0.5, 0),
    ROW(in_two_layers, 0.5, 0),
    ROW(of_a_sum, 0.5, 0),
    ROW(of_several, 0.5, 0),
    ROW(of_data_too, 0.5, 0),
    ROW(in_a_product, 0.5, 0),
    ROW(nested, 0.5, 0),
    ROW(nested, 0.25, 0),
    ROW(as_a_gate, 0.5, 0),
    ROW(beside, 0.5, 0),
    ROW(in_a_mean, 0.5, 0),
    ROW(under_layernorm, 0.5, 0),
    ROW(of_cos, 0.5, 0),
    ROW(third_order, 0.5, 0),
    ROW(third_order, 0.25, 0),
    ROW(two_functions, 0.5, 0),
    ROW(small, 0.5, -1),
    ROW(small, 0.25, -0.5),
    ROW(small_by_cancelling, 0.5, -3),
    ROW(large, 0.5, 1),
    ROW(of_data_alone, 0.5, 0),
    ROW_WITHOUT_READOUT(of_the_output, 0.5, 0),
};
enum { N_ROWS = sizeof rows / sizeof *rows };

typedef struct {
    nn_net *net;
    tp_program *program;
    ad_error error;
} made;

static made make(ad_var (*network)(nn_net *, ad_var), const char *p, bool plain)
{
    made m = { 0 };
    const nn_spec spec = { .features = FEATURES,
                           .settings = (const char *[]){ p, plain ? "plain=1" : "plain=0", NULL } };
    m.net = nn_trace(network, &spec, &m.error);
    m.program = m.net ? tp_translate(m.net, &m.error) : NULL;
    cr_assert(m.program, "%s", m.error.text);
    return m;
}

static void unmake(made *m)
{
    tp_program_free(m->program);
    nn_net_free(m->net);
}

/* 0, or -1 with m->error; a kernel of n^power alone. */
static int solve(made *m, tp_kernel_kind which, tp_engine engine, double power, tp_kernel *kernel)
{
    tp_limit_spec spec = { .engine = engine };
    *kernel = (tp_kernel){ 0 };
    m->error = (ad_error){ 0 };
    int status = tp_limit(m->program, which, x, ROWS, NULL, 0, &spec, kernel, &m->error);
    if (!status && fabs(kernel->terms[0].power - power) > 1e-9)
        status = snprintf(m->error.text, sizeof m->error.text, "n^%g, and not n^%g", kernel->terms[0].power, power);
    return status;
}

/* Relative to the largest. */
static double distance(const double *a, const double *b)
{
    double off = 0, size = 0;
    for (int i = 0; i < ROWS * ROWS; i++) {
        off = fmax(off, fabs(a[i] - b[i]));
        size = fmax(size, fabs(b[i]));
    }
    return off / size;
}

/* Where leading terms cancel, lower powers of n may be in the samples: n^-1/2 for p = 1/4. */
Test(expansion, the_limit_is_that_of_the_first_term, .timeout = 600)
{
    int unchecked = 0;
    for (int r = 0; r < N_ROWS; r++)
        for (int k = 0; k < 2; k++) {
            tp_kernel_kind which = k ? TP_NTK : TP_NNGP;
            made with = make(rows[r].network, rows[r].p, false), plain = make(rows[r].network, rows[r].p, true);
            tp_kernel a, b;
            tp_opinion opinion;
            cr_expect(!solve(&plain, which, TP_ENGINE_AUTO, rows[r].leading, &b), "%s: %s", rows[r].name,
                      plain.error.text);
            cr_expect(!solve(&with, which, TP_ENGINE_AUTO, rows[r].leading, &a), "%s, %s: %s", rows[r].name,
                      k ? "NTK" : "NNGP", with.error.text);
            if (a.n_terms && b.n_terms && !a.deviations)
                cr_expect(distance(a.terms[0].values, b.terms[0].values) < 1e-12, "%s, %s: %g, %s", rows[r].name,
                          k ? "NTK" : "NNGP", distance(a.terms[0].values, b.terms[0].values), a.method);
            else
                cr_expect_fail("%s, %s: %s", rows[r].name, k ? "NTK" : "NNGP", a.method);
            int status = !a.n_terms || a.deviations ||
                         tp_second_opinion(with.program, which, x, ROWS, NULL, 0, NULL, &a, 1, &opinion, &with.error);
            cr_expect(!status, "%s, %s: %s", rows[r].name, k ? "NTK" : "NNGP", with.error.text);
            if (!status && !opinion.checked) {
                cr_expect(rows[r].network == third_order || (rows[r].no_readout && !k), "%s, %s: %s", rows[r].name,
                          k ? "NTK" : "NNGP", opinion.text);
                unchecked++;
            }
            tp_kernel_free(&a);
            tp_kernel_free(&b);
            unmake(&with);
            unmake(&plain);
        }
    cr_expect(unchecked <= 3, "%d", unchecked);
}

/* The kernel of a network of a width, over n^power. */
static void draw(nn_net *net, tp_kernel_kind which, size_t width, double power, double *kernel)
{
    ad_error error = { 0 };
    nn_model *model = nn_model_new(net, width, 5, AD_DOUBLE, 1, &error);
    cr_assert(model, "%s", error.text);
    int status = which == TP_NTK ? nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, kernel, &error)
                                 : nn_nngp(model, x, ROWS, NULL, 0, NN_MEAN, kernel, &error);
    cr_assert_eq(status, 0, "%s", error.text);
    for (int i = 0; i < ROWS * ROWS; i++)
        kernel[i] *= pow((double)width, -power);
    nn_model_free(model);
}

/* With the same weights, nothing is left to chance: sixteen times the width brings them nearer by 16^(2p) in the mean,
 * by 16^p at least, and by half of that where few numbers make up the difference. */
Test(expansion, networks_of_the_same_weights_come_together, .timeout = 600)
{
    for (int r = 0; r < N_ROWS; r++)
        for (int k = 0; k < 2; k++) {
            tp_kernel_kind which = k ? TP_NTK : TP_NNGP;
            if (rows[r].no_readout && !k)
                continue;
            made with = make(rows[r].network, rows[r].p, false), plain = make(rows[r].network, rows[r].p, true);
            double a[ROWS * ROWS], b[ROWS * ROWS], off[2], p = strtod(rows[r].p + 2, NULL);
            for (int wide = 0; wide < 2; wide++) {
                draw(with.net, which, wide ? 2048 : 128, rows[r].leading, a);
                draw(plain.net, which, wide ? 2048 : 128, rows[r].leading, b);
                off[wide] = distance(a, b);
            }
            cr_expect(off[1] < 0.1 && (off[1] < 1e-7 || off[1] < 2 * off[0] * pow(16, -p)),
                      "%s, %s: %g apart, and %g at 16 times the width", rows[r].name, k ? "NTK" : "NNGP", off[0],
                      off[1]);
            unmake(&with);
            unmake(&plain);
        }
}

/* Where samples meet, exactly, too; of three rows the NTK is infinite. */
Test(expansion, under_batch_normalisation)
{
    made with = make(under_batchnorm, "p=0.5", false), plain = make(under_batchnorm, "p=0.5", true);
    tp_kernel a, b;
    cr_assert(!solve(&with, TP_NNGP, TP_ENGINE_EXACT, 0, &a), "%s", with.error.text);
    cr_assert(!solve(&plain, TP_NNGP, TP_ENGINE_EXACT, 0, &b), "%s", plain.error.text);
    cr_expect(distance(a.terms[0].values, b.terms[0].values) < 1e-12, "%g",
              distance(a.terms[0].values, b.terms[0].values));
    tp_kernel_free(&a);
    tp_kernel_free(&b);
    unmake(&with);
    unmake(&plain);
}

/* By samples alone, which have no more of the function than exact rules; where leading terms cancel they do not tell
 * what vanishes. */
Test(expansion, by_samples)
{
    static const row sampled[] = { ROW(of_tanh, 0.25, 0), ROW(in_a_second_layer, 0.5, 0), ROW(small, 0.25, -0.5),
                                   ROW(third_order, 0.25, 0) };
    for (size_t r = 0; r < sizeof sampled / sizeof *sampled; r++)
        for (int k = 0; k < 2; k++) {
            tp_kernel_kind which = k ? TP_NTK : TP_NNGP;
            made with = make(sampled[r].network, sampled[r].p, false),
                 plain = make(sampled[r].network, sampled[r].p, true);
            tp_kernel a, b;
            int status = solve(&with, which, TP_ENGINE_SAMPLE, sampled[r].leading, &a);
            cr_assert(!solve(&plain, which, TP_ENGINE_EXACT, sampled[r].leading, &b), "%s", plain.error.text);
            if (sampled[r].network == third_order)
                cr_expect(status && strstr(with.error.text, "leading powers of n cancel"), "%s", with.error.text);
            else
                cr_expect(!status && distance(a.terms[0].values, b.terms[0].values) < 6 * a.error + 1e-3 &&
                              a.error < 0.01,
                          "%s: %s", sampled[r].name, with.error.text);
            tp_kernel_free(&a);
            tp_kernel_free(&b);
            unmake(&with);
            unmake(&plain);
        }
}

/* ---- what has no rule ---- */
NETWORK(of_too_few_derivatives, powered(&a, ad_custom(&with_less, powered(&a, a.h, 1, -a.p)), 1, a.p))
NETWORK(that_bends_at_zero, powered(&a, ad_selu(powered(&a, a.h, 1, -a.p)), 1, a.p))
NETWORK(away_from_zero, powered(&a, ad_sub(ad_tanh(ad_add(a.u, powered(&a, a.h, 1, -a.p))), ad_tanh(a.u)), 1, a.p))
NETWORK(across_a_bend, powered(&a, ad_sub(ad_relu(ad_add(a.u, powered(&a, a.h, 1, -a.p))), ad_relu(a.u)), 1, a.p))
NETWORK(by_its_sign, ad_step(ad_selu(powered(&a, a.h, 1, -a.p))))

/* n^(p / 2) times 0 but for a share of n^-p: as large as relu in the mean square. */
static ad_var jumped(const parts *a, ad_op jump)
{
    ad_var moved = ad_add(a->u, powered(a, a->h, 1, -a->p));
    ad_var left = ad_sub(ad_unary_at(AD_HERE, jump, moved, 0), ad_unary_at(AD_HERE, jump, a->u, 0));
    return powered(a, left, 1, a->p / 2);
}

NETWORK(across_a_step, ad_add(ad_relu(a.u), jumped(&a, AD_STEP)))
NETWORK(across_a_sign, ad_add(ad_relu(a.u), ad_mul(a.u, jumped(&a, AD_SIGN))))
NETWORK(size_across_a_step, ad_add(ad_relu(a.u), ad_abs(jumped(&a, AD_STEP))))

/* Nothing is random in these: they are refused by what has no rule, by each engine, with the line. */
Test(expansion, what_has_no_rule_is_refused_by_its_name)
{
    static const row refused[] = {
        ROW(of_too_few_derivatives, 0.5, 0),
        ROW(that_bends_at_zero, 0.5, 0),
        ROW(away_from_zero, 0.5, 0),
        ROW(across_a_bend, 0.5, 0),
        ROW(by_its_sign, 0.5, 0),
        ROW(across_a_step, 1, 0),
        ROW(across_a_sign, 1, 0),
        ROW(size_across_a_step, 1, 0),
        ROW(across_a_step, 0.5, 0),
    };
    for (size_t r = 0; r < sizeof refused / sizeof *refused; r++)
        for (int k = 0; k < 4; k++) {
            made m = make(refused[r].network, refused[r].p, false);
            tp_kernel kernel;
            int status = solve(&m, k % 2 ? TP_NTK : TP_NNGP, k / 2 ? TP_ENGINE_SAMPLE : TP_ENGINE_AUTO, 0, &kernel);
            cr_expect(status && !strstr(m.error.text, "random") && strstr(m.error.text, "test_expansion.c:") &&
                          strstr(m.error.text, "there is no rule"),
                      "%s: %s", refused[r].name, m.error.text);
            tp_kernel_free(&kernel);
            unmake(&m);
        }
}
