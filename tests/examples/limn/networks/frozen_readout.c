/* frozen_readout.c: the readout has the rate 0 and does not learn. */
#include "limn.h"

ad_var limn_network(nn_net *net, ad_var x)
{
    double rate = nn_setting_real(net, "rate", 0);
    ad_graph *graph = nn_graph(net);
    ad_axis n = nn_width(net, "n"), out = ad_fixed(graph, "outputs", 1);
    ad_var h = ad_erf(nn_dense(net, "d", x, n));
    ad_var v =
        ad_param(graph, "v", ad_shape_of(n, out),
                 (ad_init){ .axis = n, .deviation = 1, .multiplier = 1, .multiplier_power = -0.5, .rate = rate });
    return ad_scale_by(ad_matmul(h, v), 1, n, -0.5);
}
