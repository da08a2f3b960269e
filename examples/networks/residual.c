/* residual.c: a network of one's own for the tool: limn report examples/networks/residual.c --set blocks=4 */
#include "limn.h"

ad_var limn_network(nn_net *net, ad_var x)
{
    long blocks = nn_setting_int(net, "blocks", 2, 0, 64);
    const char *phi = nn_setting_text(net, "phi", "tanh");
    ad_axis n = nn_width(net, "n");

    ad_var h = nn_dense(net, "embed", x, n);
    for (long block = 1; block <= blocks; block++) {
        ad_var inside = nn_dense(net, nn_name(net, "block%ld", block), nn_activation(net, phi, h), n);
        h = ad_add(h, ad_scale(inside, 0.5));
    }
    return nn_readout(net, "readout", nn_activation(net, phi, h));
}
