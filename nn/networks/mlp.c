/* mlp.c: the network mlp: depth times a dense layer and phi, then a dense readout. */
#include "nn/networks/networks.h"

ad_var nn_mlp_network(nn_net *net, ad_var x)
{
    long depth = nn_setting_int(net, "depth", 3, 1, 20000);
    const char *phi = nn_setting_text(net, "phi", "relu");
    nn_dense_spec dense = { .sigma_w = nn_setting_real(net, "sigma_w", 1.4142135623730951) }, hidden;
    dense.bias = nn_setting_sigma(net, "sigma_b", "none", &dense.sigma_b);
    if (!(dense.sigma_w > 0))
        nn_setting_fail(net, "sigma_w", "a positive number");
    hidden = dense;
    hidden.orthogonal = nn_setting_is(net, "weights", "gaussian", "orthogonal");
    ad_axis n = nn_width(net, "n");
    for (long layer = 1; layer <= depth; layer++) {
        x = nn_dense_at(AD_HERE, net, nn_name(net, "dense%ld", layer), x, n, layer > 1 ? &hidden : &dense);
        x = nn_dropout(net, nn_name(net, "dropout%ld", layer), nn_activation(net, phi, x), nn_setting_dropout(net));
    }
    return nn_readout_at(AD_HERE, net, "readout", x, &dense);
}
