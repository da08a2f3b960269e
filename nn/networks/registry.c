/* registry.c: the networks that come with the library, a row each. */
#include "nn/networks/networks.h"

#include <string.h>

/* The name, the function, and what it takes of one sample. */
#define NETWORKS(ROW)                                                                                                  \
    ROW("mlp", nn_mlp_network, NN_FEATURES)                                                                            \
    ROW("rnn", nn_rnn_network, NN_SEQUENCE)                                                                            \
    ROW("batchnorm", nn_batchnorm_network, NN_FEATURES)                                                                \
    ROW("cnn", nn_cnn_network, NN_IMAGE)

#define NAME(name, function, input) name,
static const char *const names[] = { NETWORKS(NAME) NULL };
#define NETWORK(name, function, input) { function, input },
static const struct {
    nn_function function;
    nn_input_kind input;
} networks[] = { NETWORKS(NETWORK) };

/* The row of a name, -1 if there is none. */
static int find_network(const char *name)
{
    for (int i = 0; name && names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

nn_function nn_builtin(const char *name)
{
    int i = find_network(name);
    return i < 0 ? NULL : networks[i].function;
}

nn_input_kind nn_builtin_input(const char *name)
{
    int i = find_network(name);
    return i < 0 ? NN_FEATURES : networks[i].input;
}

const char *const *nn_builtin_names(void)
{
    return names;
}
