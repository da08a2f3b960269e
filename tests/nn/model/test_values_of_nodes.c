/* Values of nodes: many by one run are those of one after another, bit for bit, and the outputs are nn_forward's. */
#include "nn/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, FEATURES = 4, WIDTH = 16, OUTPUTS = 2, NODES = 3 };
static ad_var seen[NODES];

static ad_var network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    seen[0] = nn_dense(net, "dense1", x, n);
    seen[1] = ad_tanh(seen[0]);
    return seen[2] = nn_readout(net, "readout", seen[1]);
}

Test(activations, of_many_nodes)
{
    ad_error error = { 0 };
    double x[ROWS * FEATURES], h[ROWS * WIDTH], y[ROWS * WIDTH], f[ROWS * OUTPUTS], alone[ROWS * WIDTH];
    double *const all[NODES] = { h, y, f };
    const size_t counts[NODES] = { ROWS * WIDTH, ROWS * WIDTH, ROWS * OUTPUTS };
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(1 + 0.7 * i);
    nn_net *net = nn_trace(network, &(nn_spec){ .features = FEATURES, .outputs = OUTPUTS }, &error);
    nn_model *model = net ? nn_model_new(net, WIDTH, 5, AD_FLOAT, 1, &error) : NULL;
    cr_assert(model && nn_activations_many(model, seen, NODES, x, ROWS, all, &error) == 0, "%s", error.text);
    for (int k = 0; k < NODES; k++) {
        cr_assert(nn_activations(model, seen[k], x, ROWS, alone, &error) == 0, "%s", error.text);
        cr_expect(memcmp(alone, all[k], counts[k] * sizeof *alone) == 0, "node %d", k);
    }
    for (int i = 0; i < ROWS * WIDTH; i++)
        cr_expect_float_eq(y[i], tanh(h[i]), 1e-6);
    cr_assert(nn_forward(model, x, ROWS, alone, &error) == 0);
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        cr_expect_float_eq(f[i], alone[i], 1e-6);
    x[FEATURES] = NAN;
    cr_expect(nn_activations_many(model, seen, NODES, x, ROWS, all, &error) == -1 && strstr(error.text, "row 1"), "%s",
              error.text);
    nn_model_free(model);
    nn_net_free(net);
}
