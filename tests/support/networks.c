/* networks.c: small networks that both the tests and the benchmarks train at n = infinity. */
#include "tests/support/networks.h"

ad_var network_normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense_with(net, "dense1", x, n, .bias = true, .sigma_b = 0.5);
    h = ad_tanh(nn_layernorm_with(net, "norm", h, .affine = true));
    return nn_readout_with(net, "readout", ad_gelu(nn_dense(net, "dense2", h, n)), .bias = true);
}

ad_var network_embedded(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_embedding(net, "table", ad_take(x, ad_shape_get(x)->axes[1], 0), 3, n, 1);
    return nn_readout(net, "readout", ad_tanh(nn_dense(net, "dense2", ad_tanh(h), n)));
}

ad_var network_tied(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "dense1", x, n));
    nn_weight w = nn_make_weight(net, "w", n, ad_prime(n), 1);
    ad_var g = ad_relu(nn_apply(w, h));
    return nn_readout(net, "readout", ad_tanh(ad_add(h, nn_apply_t(w, g))));
}
