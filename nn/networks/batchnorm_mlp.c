/* batchnorm_mlp.c: the network batchnorm: depth times (W x, batch normalisation, phi), then a readout. Biases where
 * they are asked for. */
#include "nn/networks/networks.h"

ad_var nn_batchnorm_network(nn_net *net, ad_var x)
{
    const double sqrt2 = 1.4142135623730951;
    long depth = nn_setting_int(net, "depth", 3, 1, 64);
    const char *phi = nn_setting_text(net, "phi", "relu");
    double epsilon = nn_setting_real(net, "eps", 1e-5);
    nn_norm_spec norm = { .epsilon = epsilon, .exact = !(epsilon > 0), .affine = nn_setting_yes(net, "affine") };
    nn_dense_spec dense = { .sigma_w = nn_setting_real(net, "sigma_w", sqrt2) };
    dense.bias = nn_setting_sigma(net, "sigma_b", "none", &dense.sigma_b);
    nn_dense_spec readout = dense;
    readout.bias = nn_setting_sigma(net, "readout_bias", nn_setting_text(net, "sigma_b", "none"), &readout.sigma_b);
    if (!(epsilon >= 0))
        nn_setting_fail(net, "eps", "a number that is not negative");
    if (!(dense.sigma_w > 0))
        nn_setting_fail(net, "sigma_w", "a positive number");

    ad_axis n = nn_width(net, "n");
    for (long layer = 1; layer <= depth; layer++) {
        x = nn_dense_at(AD_HERE, net, nn_name(net, "dense%ld", layer), x, n, &dense);
        x = nn_batchnorm_at(AD_HERE, net, nn_name(net, "norm%ld", layer), x, &norm);
        x = nn_activation(net, phi, x);
    }
    return nn_readout_at(AD_HERE, net, "readout", x, &readout);
}
