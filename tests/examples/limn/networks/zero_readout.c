/* zero_readout.c: a readout that starts from 0: the first step moves it alone, the second all else. */
#include "limn.h"

ad_var limn_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "first", x, n));
    h = ad_tanh(nn_dense(net, "second", h, n));
    ad_init zero = { .axis = n, .deviation = 0, .multiplier = 1, .multiplier_power = -0.5, .rate = 1 };
    ad_var v = ad_param(nn_graph(net), "v", ad_shape_of(n, nn_outputs(net)), zero);
    return ad_scale_by(ad_matmul(h, v), 1, n, -0.5);
}
