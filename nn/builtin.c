/* builtin.c: the networks that come with the library. */
#include "nn/inside.h"

#include <string.h>

/* depth times dense and phi, then a dense readout. */
static ad_var mlp(nn_net *net, ad_var x)
{
    const double sqrt2 = 1.4142135623730951;
    long depth = nn_setting_int(net, "depth", 3, 1, 64);
    const char *phi = nn_setting_text(net, "phi", "relu");
    nn_dense_spec dense = { .sigma_w = nn_setting_real(net, "sigma_w", sqrt2) };
    dense.bias = nn_setting_sigma(net, "sigma_b", "none", &dense.sigma_b);
    if (!(dense.sigma_w > 0))
        nn_setting_fail(net, "sigma_w", "a positive number");

    ad_axis n = nn_width(net, "n");
    for (long layer = 1; layer <= depth; layer++) {
        x = nn_dense_at(AD_HERE, net, nn_name(net, "dense%ld", layer), x, n, &dense);
        x = nn_activation(net, phi, x);
    }
    return nn_readout_at(AD_HERE, net, "readout", x, &dense);
}

static const char *const names[] = { "mlp", NULL };
static const nn_function functions[] = { mlp };

nn_function nn_builtin(const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return functions[i];
    return NULL;
}

const char *const *nn_builtin_names(void)
{
    return names;
}
