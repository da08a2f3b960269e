/* builtin.c: the networks that come with the library. */
#include "nn/network/network.h"

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

static const char *const names[] = { "mlp", "rnn", "batchnorm", NULL };
static const struct {
    nn_function function;
    nn_input_kind input;
} networks[] = { { mlp, NN_FEATURES }, { nn_rnn, NN_SEQUENCE }, { nn_batchnorm_net, NN_FEATURES } };

/* The position of a name, -1 if there is none. */
static int find(const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

nn_function nn_builtin(const char *name)
{
    int i = find(name);
    return i < 0 ? NULL : networks[i].function;
}

nn_input_kind nn_builtin_input(const char *name)
{
    int i = find(name);
    return i < 0 ? NN_FEATURES : networks[i].input;
}

const char *const *nn_builtin_names(void)
{
    return names;
}
