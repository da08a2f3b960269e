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

ad_var jacobian_haar_sum(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_dense(net, "embed", x, n), sum = ad_add(u, nn_apply(nn_orthogonal(net, "w", n, n, 1), u));
    return nn_readout(net, "readout", ad_tanh(nn_apply(nn_orthogonal(net, "turn", n, n, 1), sum)));
}

ad_var jacobian_haar_both(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_orthogonal(net, "w", n, n, 1);
    ad_var u = nn_dense(net, "embed", x, n), sum = ad_add(nn_apply(w, u), nn_apply_t(w, u));
    return nn_readout(net, "readout", ad_tanh(nn_apply(nn_orthogonal(net, "turn", n, n, 1), sum)));
}

ad_var jacobian_haar_shared(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_orthogonal(net, "w", n, n, 1.3);
    ad_var u = nn_dense(net, "embed", x, n), h = u;
    for (int step = 0; step < 2; step++)
        h = ad_add(nn_apply(w, ad_relu(h)), u);
    return nn_readout(net, "readout", ad_relu(h));
}

ad_var jacobian_haar_tied(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_orthogonal(net, "w", n, n, 1.3);
    ad_var h = nn_apply(w, ad_relu(nn_dense(net, "embed", x, n)));
    return nn_readout(net, "readout", ad_relu(nn_apply_t(w, ad_relu(h))));
}

ad_var jacobian_haar_residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int block = 1; block <= 2; block++)
        h = ad_add(
            h, nn_dense_with(net, nn_name(net, "block%d", block), ad_tanh(h), n, .sigma_w = 0.9, .orthogonal = true));
    return nn_readout(net, "readout", ad_tanh(h));
}
