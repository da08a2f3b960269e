/* two_heads.c: output 0 reads the first layer, output 1 the second: outputs that are not alike. */
#include "limn.h"

ad_var limn_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), one = ad_fixed(nn_graph(net), "one", 1);
    ad_var h1 = ad_erf(nn_dense(net, "d1", x, n)), h2 = ad_erf(nn_dense_with(net, "d2", h1, n, .sigma_w = 3));
    ad_var y[2] = { nn_apply(nn_make_weight(net, "r1", n, one, 1), h1),
                    nn_apply(nn_make_weight(net, "r2", n, one, 2), h2) };
    ad_axis axes[2] = { one, one };
    return ad_concat(y, 2, axes, nn_outputs(net));
}
