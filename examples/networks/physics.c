/* physics.c: a network whose output is what a differential equation asks of another, here f + df/dx1 - d2f/dx2 dx2:
 * limn kernel examples/networks/physics.c --inputs X.npy. In the limit its kernels are the mixed derivatives of f's. */
#include "limn.h"

/* The derivative of f (batch, outputs) by feature k of x; the cotangent's axis is new each time. */
static ad_var slope(nn_net *net, ad_var f, ad_var x, size_t k, ad_axis own)
{
    ad_axis outputs = nn_outputs(net), features = ad_shape_get(x)->axes[1];
    ad_var dx; /* (own, batch, features) */
    ad_backward(f, ad_delta(nn_graph(net), own, outputs), &x, 1, &dx, NULL);
    return ad_relabel(ad_take(dx, features, k), own, outputs);
}

ad_var limn_network(nn_net *net, ad_var x)
{
    long depth = nn_setting_int(net, "depth", 2, 1, 16);
    const char *phi = nn_setting_text(net, "phi", "tanh");
    ad_axis n = nn_width(net, "n"), first = ad_prime(nn_outputs(net)), second = ad_prime(first);

    ad_var h = x;
    for (long layer = 1; layer <= depth; layer++)
        h = nn_activation(net, phi,
                          nn_dense_with(net, nn_name(net, "dense%ld", layer), h, n, .bias = true, .sigma_b = 0.5));
    ad_var f = nn_readout(net, "readout", h);
    if (nn_features(net) < 2)
        return ad_add(f, slope(net, f, x, 0, first));
    ad_var curvature = slope(net, slope(net, f, x, 1, first), x, 1, second);
    return ad_sub(ad_add(f, slope(net, f, x, 0, first)), curvature);
}
