/* Whether outputs are alike and independent, as it is read off the trace: however deep what they share is, and however
 * many steps stand between their own parameters and them. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 3, OUTPUTS = 3, DEPTH = 2000 };

static void expect_read(nn_function function, bool alike, bool independent)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, &(nn_spec){ .features = FEATURES, .outputs = OUTPUTS }, &error);
    cr_assert(net, "%s", error.text);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    cr_expect_eq(tp_outputs_alike(program), alike);
    cr_expect_eq(tp_outputs_independent(program), independent);
    tp_program_free(program);
    nn_net_free(net);
}

static ad_var deep(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "u", x, n);
    for (int k = 0; k < DEPTH; k++)
        h = ad_add(h, ad_scale(ad_tanh(h), 1e-3));
    return nn_readout(net, "r", h);
}

Test(outputs, what_is_shared_may_be_deep)
{
    expect_read(deep, true, true);
}

/* Thousands of linear steps after the readout; then one that is none, or what all outputs share, which is seen through
 * them. */
static ad_var steps(ad_var f)
{
    for (int k = 0; k < DEPTH; k++)
        f = k % 2 ? ad_neg(f) : ad_scale(f, 1.001);
    return f;
}

static ad_var linear_steps(nn_net *net, ad_var x)
{
    return steps(nn_readout(net, "r", ad_relu(nn_dense(net, "u", x, nn_width(net, "n")))));
}

static ad_var square_below_steps(nn_net *net, ad_var x)
{
    return steps(ad_square(nn_readout(net, "r", ad_relu(nn_dense(net, "u", x, nn_width(net, "n"))))));
}

static ad_var shared_below_steps(nn_net *net, ad_var x)
{
    ad_var f = nn_readout(net, "r", ad_relu(nn_dense(net, "u", x, nn_width(net, "n"))));
    ad_var shared = ad_sum(f, ad_shape_of(nn_outputs(net)));
    return steps(ad_add(f, ad_expand(shared, *ad_shape_get(f))));
}

Test(outputs, steps_after_the_readout_may_be_many)
{
    expect_read(linear_steps, true, true);
    expect_read(square_below_steps, true, false);
    expect_read(shared_below_steps, true, false);
}

static ad_var with_bias(nn_net *net, ad_var x, double mean)
{
    ad_var f = nn_readout(net, "r", ad_relu(nn_dense(net, "u", x, nn_width(net, "n"))));
    ad_init init = { .multiplier = 1, .deviation = 1, .mean = mean };
    return ad_add(f, ad_param(nn_graph(net), "b", ad_shape_of(nn_outputs(net)), init));
}

static ad_var centred_bias(nn_net *net, ad_var x)
{
    return with_bias(net, x, 0);
}

static ad_var shifted_bias(nn_net *net, ad_var x)
{
    return with_bias(net, x, 1);
}

Test(outputs, a_mean_is_between_them)
{
    expect_read(centred_bias, true, true);
    expect_read(shifted_bias, true, false);
}

/* Output 0 reads the first layer, output 1 the second. */
static ad_var two_heads(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), one = ad_fixed(nn_graph(net), "one", 1);
    ad_var h1 = ad_erf(nn_dense(net, "d1", x, n)), h2 = ad_erf(nn_dense_with(net, "d2", h1, n, .sigma_w = 3));
    ad_var y[2] = { nn_apply(nn_make_weight(net, "r1", n, one, 1), h1),
                    nn_apply(nn_make_weight(net, "r2", n, one, 2), h2) };
    ad_axis axes[2] = { one, one };
    return ad_concat(y, 2, axes, nn_outputs(net));
}

static double erf_moment(const double s[3])
{
    return 2 / 3.14159265358979 * asin(2 * s[1] / sqrt((1 + 2 * s[0]) * (1 + 2 * s[2])));
}

static double erf_slopes(const double s[3])
{
    return 4 / 3.14159265358979 / sqrt((1 + 2 * s[0]) * (1 + 2 * s[2]) - 4 * s[1] * s[1]);
}

/* Each has a recursion of its own, under a line that names it: what it says is the limit's kernel. */
Test(outputs, recursions_of_heads_that_are_not_alike)
{
    ad_error error = { 0 };
    const double x[2][3] = { { 0.4, -1, 0.7 }, { 1.1, 0.3, -0.2 } };
    nn_net *net = nn_trace(two_heads, &(nn_spec){ .features = 3, .outputs = 2 }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    static const char *const told[2] = { "  Θ    = K1 + 0.333333 K̇1 ⟨x, x′⟩ ",
                                         "  Θ    = K2 + 12 K̇1 K̇2 ⟨x, x′⟩ + 4 K1 K̇2 " };
    static const char *const heads[2] = { "Output 0 of 2", "Output 1 of 2" };
    for (int only = -1; only < 2; only++)
        for (tp_style style = TP_PAPER; style <= TP_LATEX; style++) {
            char *text = NULL;
            size_t size = 0;
            FILE *stream = open_memstream(&text, &size);
            int status = only < 0 ? tp_print_recursion(program, stream, style, &error)
                                  : tp_print_recursion_of(program, (size_t)only, stream, style, &error);
            fclose(stream);
            cr_assert_eq(status, 0, "%s", error.text);
            for (int k = 0; k < 2; k++) {
                bool there = only < 0 || only == k;
                cr_expect_eq(strstr(text, heads[k]) != NULL, there, "%s", text);
                cr_expect(style == TP_LATEX || (strstr(text, told[k]) != NULL) == there, "%s", text);
            }
            free(text);
        }
    double s1[3] = { 0 }, s2[3], dot = 0;
    for (int j = 0; j < 3; j++) {
        s1[0] += x[0][j] * x[0][j] / 3;
        s1[1] += x[0][j] * x[1][j] / 3;
        s1[2] += x[1][j] * x[1][j] / 3;
        dot += x[0][j] * x[1][j];
    }
    for (int k = 0; k < 3; k++)
        s2[k] = 9 * erf_moment((const double[]){ s1[k == 1 ? 0 : k], s1[k], s1[k == 1 ? 2 : k] });
    const double right[2] = { erf_moment(s1) + erf_slopes(s1) * dot / 3,
                              erf_moment(s2) + 12 * erf_slopes(s1) * erf_slopes(s2) * dot +
                                  4 * erf_moment(s1) * erf_slopes(s2) };
    for (size_t k = 0; k < 2; k++) {
        tp_kernel kernel;
        tp_limit_spec spec = { .output = k, .output2 = k };
        cr_assert_eq(tp_limit(program, TP_NTK, x[0], 1, x[1], 1, &spec, &kernel, &error), 0, "%s", error.text);
        cr_expect(fabs(kernel.terms[0].values[0] - right[k]) < 1e-12, "output %zu: %.15g, not %.15g", k,
                  kernel.terms[0].values[0], right[k]);
        tp_kernel_free(&kernel);
    }
    cr_expect(tp_print_recursion_of(program, 2, stdout, TP_PAPER, &error) &&
                  strstr(error.text, "output 2: there are 2"),
              "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}
