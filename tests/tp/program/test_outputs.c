/* Whether outputs are alike and independent, as it is read off the trace: however deep what they share is, and however
 * many steps stand between their own parameters and them. */
#include "limn.h"

#include <criterion/criterion.h>

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
