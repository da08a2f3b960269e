/* activation.c: an activation of one's own, with its derivative and its kink, in a network like any other: its limit
 * needs no closed form, and the same function trains. */
#include "limn.h"

#include <math.h>
#include <stdio.h>

enum { INPUTS = 4, FEATURES = 3, WIDTH = 1024 };

/* elu(x) = x for x > 0, else e^x - 1. Its derivative is continuous, its second one jumps at 0. */
static void elu(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : expm1(x[i]);
}

static void elu_derivative(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? 1 : exp(x[i]);
}

static const ad_function own = { .name = "elu", .count = 2, .derivatives = { elu, elu_derivative }, .n_kinks = 1 };

static ad_var network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 3; layer++)
        x = ad_custom(&own, nn_dense_with(net, nn_name(net, "dense%d", layer), x, n, .sigma_w = 1.2, .bias = true,
                                          .sigma_b = 0.2));
    return nn_readout(net, "readout", x);
}

static void show(const char *name, const double *k)
{
    printf("%s\n", name);
    for (int i = 0; i < INPUTS; i++)
        for (int j = 0; j < INPUTS; j++)
            printf(" %8.4f%s", k[i * INPUTS + j], j + 1 < INPUTS ? "" : "\n");
}

int main(int argc, char **argv)
{
    (void)argc;
    ad_start_again(argv, 1);
    double x[INPUTS * FEATURES], y[INPUTS], k[INPUTS * INPUTS], before, after;
    for (int i = 0; i < INPUTS * FEATURES; i++)
        x[i] = 2 * sin(1 + 2.4 * i);
    for (int i = 0; i < INPUTS; i++)
        y[i] = i % 2;
    ad_error error = { 0 };
    tp_kernel limit = { 0 };
    nn_net *net = nn_trace(network, &(nn_spec){ .features = FEATURES }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    nn_model *model = program ? nn_model_new(net, WIDTH, 1, AD_FLOAT, 1, &error) : NULL;
    nn_data data = { x, y, INPUTS, 0 };
    nn_fit_spec fit = { .rate = 0.1, .steps = 200 };
    int status = 1;
    if (model && !tp_limit(program, TP_NTK, x, INPUTS, NULL, 0, NULL, &limit, &error) &&
        !nn_ntk(model, x, INPUTS, NULL, 0, NN_MEAN, k, &error) &&
        !nn_evaluate(model, &data, NN_SQUARE, &before, NULL, &error) && !nn_fit(model, &data, &fit, NULL, &error) &&
        !nn_evaluate(model, &data, NN_SQUARE, &after, NULL, &error)) {
        printf("%s, error %.1g\n", limit.method, limit.error);
        show("the NTK at n = infinity", limit.terms[0].values);
        show("at n = 1024", k);
        printf("loss %.4g, after 200 steps %.4g\n", before, after);
        status = 0;
    } else {
        fprintf(stderr, "activation: %s\n", error.text);
    }
    tp_kernel_free(&limit);
    nn_model_free(model);
    tp_program_free(program);
    nn_net_free(net);
    return status;
}
