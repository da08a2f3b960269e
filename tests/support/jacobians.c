/* jacobians.c: networks whose Jacobian is no chain of free factors. */
#include "tests/support/jacobians.h"

ad_var jacobian_residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int block = 1; block <= 2; block++)
        h = ad_add(h, nn_dense_with(net, nn_name(net, "block%d", block), ad_tanh(h), n, .sigma_w = 0.7));
    return nn_readout(net, "readout", ad_tanh(h));
}

ad_var jacobian_tied(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2);
    ad_var h = nn_apply(w, ad_tanh(nn_dense(net, "embed", x, n)));
    return nn_readout(net, "readout", ad_tanh(nn_apply_t(w, ad_tanh(h))));
}
