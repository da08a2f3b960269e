/* wrapped.c: an index of -1, which is no index. */
#include "limn.h"

ad_var limn_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", 3);
    return ad_mul(nn_readout(net, "v", ad_relu(nn_dense(net, "a", x, n))), ad_take(x, features, (size_t)-1));
}
