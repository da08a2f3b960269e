/* cnn.c: the network cnn: depth times (a filter over the picture, phi, an average over windows where it is asked for),
 * then a readout of each position or of their mean. */
#include "nn/networks/networks.h"

ad_var nn_cnn_network(nn_net *net, ad_var x)
{
    static const char *const paddings[] = { "same", "valid", "circular", NULL };
    static const char *const readouts[] = { "average", "flatten", NULL };
    enum { LARGEST = 1024 };
    long depth = nn_setting_int(net, "depth", 3, 1, 256);
    const char *phi = nn_setting_text(net, "phi", "relu");
    nn_conv_spec conv = { .filter = { (size_t)nn_setting_int(net, "filter", 3, 1, LARGEST) },
                          .stride = { (size_t)nn_setting_int(net, "stride", 1, 1, LARGEST) } };
    static const nn_padding kinds[] = { NN_SAME, NN_VALID, NN_CIRCULAR };
    conv.padding = kinds[nn_setting_choice(net, "padding", paddings, "same, valid or circular")];
    nn_pool_spec pool = { .window = { (size_t)nn_setting_int(net, "pool", 1, 1, LARGEST) } };
    bool flatten = nn_setting_choice(net, "readout", readouts, "average or flatten") == 1;
    conv.sigma_w = nn_setting_real(net, "sigma_w", 1.4142135623730951);
    conv.bias = nn_setting_sigma(net, "sigma_b", "none", &conv.sigma_b);
    if (!(conv.sigma_w > 0))
        nn_setting_fail(net, "sigma_w", "a positive number");
    nn_dense_spec readout = { .sigma_w = conv.sigma_w, .bias = conv.bias, .sigma_b = conv.sigma_b };
    double keep = nn_setting_dropout(net);
    ad_axis n = nn_width(net, "n");
    for (long layer = 1; layer <= depth; layer++) {
        x = nn_conv_at(AD_HERE, net, nn_name(net, "conv%ld", layer), x, n, &conv);
        x = nn_activation(net, phi, x);
        if (pool.window[0] > 1)
            x = nn_average_pool_at(AD_HERE, net, x, &pool);
        x = nn_dropout(net, nn_name(net, "dropout%ld", layer), x, keep);
    }
    if (flatten)
        return nn_flatten_readout_at(AD_HERE, net, "readout", x, &readout);
    return nn_readout_at(AD_HERE, net, "readout", nn_global_pool(net, x), &readout);
}
