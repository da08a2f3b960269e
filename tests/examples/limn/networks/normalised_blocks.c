/* normalised_blocks.c: residual blocks behind layer normalisation, whose epsilon is 1e-5. */
#include "limn.h"

ad_var limn_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int block = 1; block <= 2; block++) {
        ad_var z = nn_layernorm(net, nn_name(net, "norm%d", block), h);
        h = ad_add(h, nn_dense(net, nn_name(net, "block%d", block), ad_relu(z), n));
    }
    return nn_readout(net, "readout", ad_tanh(h));
}
