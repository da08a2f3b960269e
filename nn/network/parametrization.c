/* parametrization.c: parametrizations as data (THEORY section 2; the abc of Tensor Programs IV).
 *
 * W = n^-a omega, omega ~ N(0, sigma^2 n^-2b), learning rate eta n^-c, for n the fan-in of a layer over a width axis.
 * An input layer has a fixed fan-in d: its 1/sqrt(d) stands apart, in the multiplier or in the deviation, and its own
 * a and b are powers of its fan-out. A bias on a width axis is an input layer of constant input 1. */
#include "nn/network/network.h"

#include <math.h>

typedef struct {
    double a, b;
} powers;

static const struct {
    powers input, hidden, readout, bias;
    powers features; /* 1/sqrt(d) of the input layer: a, in the multiplier; b, in the deviation */
    double c;
} table[] = {
    /*                 input            hidden       readout        bias             features     c */
    [NN_NTK] = { { 0, 0 }, { 0.5, 0 }, { 0.5, 0 }, { 0, 0 }, { 0.5, 0 }, 0 },
    [NN_STANDARD] = { { 0, 0 }, { 0, 0.5 }, { 0, 0.5 }, { 0, 0 }, { 0, 0.5 }, 0 },
    [NN_MEANFIELD] = { { 0, 0 }, { 1, 0 }, { 1, 0 }, { 0, 0 }, { 0.5, 0 }, -1 },
    [NN_MUP] = { { -0.5, 0.5 }, { 0, 0.5 }, { 0.5, 0.5 }, { -0.5, 0.5 }, { 0.5, 0 }, 0 },
};

static bool is_width(const nn_net *net, ad_axis axis)
{
    return ad_axis_kind(net->graph, axis) == AD_WIDTH;
}

/* c n^-a omega with the constant c, sigma put where the convention wants it. */
static ad_init make(const nn_net *net, ad_axis axis, powers p, double rate_power, double sigma)
{
    bool multiplier = net->spec.sigma_in == NN_SIGMA_MULTIPLIER;
    return (ad_init){
        .axis = axis,
        .multiplier = multiplier ? sigma : 1,
        .multiplier_power = 0 - p.a,
        .deviation = multiplier ? 1 : sigma,
        .deviation_power = 0 - p.b,
        .rate = 1,
        .rate_power = rate_power,
    };
}

static ad_init scaled_weight(const nn_net *net, ad_axis in, ad_axis out, double sigma)
{
    nn_parametrization scale = net->spec.parametrization;
    double rate = 0 - table[scale].c;
    if (is_width(net, in))
        return make(net, in, is_width(net, out) ? table[scale].hidden : table[scale].readout, rate, sigma);
    powers p = table[scale].input, d = table[scale].features;
    if (!is_width(net, out) || !(fabs(p.a) + fabs(p.b) + fabs(rate) > 0))
        return make(net, in, d, 0, sigma);
    ad_init init = make(net, out, p, rate, sigma);
    double size = (double)ad_axis_fixed(net->graph, in);
    init.multiplier *= pow(size, -d.a);
    init.deviation *= pow(size, -d.b);
    return init;
}

ad_init nn_weight_init(nn_net *net, const char *name, ad_axis in, ad_axis out, double sigma)
{
    nn_kind kind = !is_width(net, in) ? NN_INPUT_WEIGHT : is_width(net, out) ? NN_HIDDEN_WEIGHT : NN_READOUT_WEIGHT;
    return nn_exponents_apply(net, kind, name, out, scaled_weight(net, in, out, sigma));
}

ad_init nn_filter_init(nn_net *net, const char *name, ad_axis in, ad_axis out, size_t offsets, double sigma)
{
    ad_init init = nn_weight_init(net, name, in, out, sigma);
    powers p = table[net->spec.parametrization].features;
    double count = (double)offsets;
    if (is_width(net, in)) { /* powers of the fan-in, which is so many times the width */
        p = (powers){ 0 - init.multiplier_power, 0 - init.deviation_power };
        init.rate *= pow(count, init.rate_power);
    }
    init.multiplier *= pow(count, -p.a);
    init.deviation *= pow(count, -p.b);
    return init;
}

static ad_init scaled_bias(const nn_net *net, ad_axis out, double sigma)
{
    if (!is_width(net, out)) /* the outputs' own bias is of order one in every scale, and so is its rate */
        return make(net, (ad_axis){ 0 }, (powers){ 0, 0 }, 0, sigma);
    return make(net, out, table[net->spec.parametrization].bias, 0 - table[net->spec.parametrization].c, sigma);
}

ad_init nn_bias_init(nn_net *net, const char *name, ad_axis out, double sigma)
{
    nn_kind kind = is_width(net, out) ? NN_BIAS : NN_OUTPUT_BIAS;
    return nn_exponents_apply(net, kind, name, out, scaled_bias(net, out, sigma));
}

ad_init nn_table_init(nn_net *net, const char *name, ad_axis out, double sigma)
{
    return nn_exponents_apply(net, NN_INPUT_WEIGHT, name, out, scaled_bias(net, out, sigma));
}

/* gamma and beta multiply and add as they are, in every parametrization: gamma must start at 1. Where a bias has a
 * multiplier, their rate is that of gradient descent on it. */
ad_init nn_gain_init(nn_net *net, const char *name, ad_axis axis, double start)
{
    ad_init init = scaled_bias(net, axis, 1);
    return nn_exponents_apply(net, NN_GAIN, name, axis,
                              (ad_init){ .axis = init.axis,
                                         .multiplier = 1,
                                         .rate = init.rate,
                                         .mean = start,
                                         .rate_power = init.rate_power + 2 * init.multiplier_power });
}

bool nn_learns(const nn_net *net, int k)
{
    return fabs(ad_node_of(net->graph, net->params[k].id)->init->rate) > 0;
}

double nn_rate_scale(const nn_net *net, int k, const ad_sizes *sizes)
{
    const ad_init *init = ad_node_of(net->graph, net->params[k].id)->init;
    double scale = init->rate;
    if (init->axis.id && fabs(init->rate_power) > 0)
        scale *= pow((double)ad_axis_size(net->graph, init->axis, sizes), init->rate_power);
    return scale;
}
