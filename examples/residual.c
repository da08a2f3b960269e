/* A residual network on real digits: written once, run at n = 1024 and at n = infinity.
 *
 *     ./build/residual */
#include "limn.h"

#include <stdlib.h>

/* The network; n is a symbol. */
static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");

    ad_var h = nn_dense(net, "embed", x, n);
    for (int block = 1; block <= 3; block++)
        h = ad_add(h, nn_dense_with(net, nn_name(net, "block%d", block), ad_tanh(h), n, .sigma_w = 0.5));
    return nn_readout(net, "readout", ad_tanh(h));
}

enum { PROBES = 32, WIDTH = 1024 };

int main(void)
{
    ad_error error = { 0 };
    static double before[PROBES * PROBES], after[PROBES * PROBES];
    tp_kernel limit = { 0 };

    /* data, network, program */
    ds_data *digits = ds_load("digits", NULL, &error);
    nn_net *net = NULL;
    if (digits)
        net = nn_trace(residual, &(nn_spec){ .features = digits->features, .outputs = digits->classes }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    if (program)
        tp_print(program, stdout, TP_PAPER, &error);

    /* the kernel at n = infinity, and at n = 1024 before and after training */
    nn_model *model = program ? nn_model_new(net, WIDTH, 1, AD_FLOAT, 1, &error) : NULL;
    int status = model ? 0 : -1;
    if (!status)
        status = tp_limit(program, TP_NTK, digits->x, PROBES, NULL, 0, NULL, &limit, &error) ||
                 nn_ntk(model, digits->x, PROBES, NULL, 0, NN_MEAN, before, &error);
    if (!status) {
        nn_data train = { digits->x, digits->y, digits->train, digits->classes };
        nn_data test = { digits->x + digits->train * digits->features, digits->y + digits->train,
                         digits->rows - digits->train, digits->classes };
        nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .batch = 64, .epochs = 5, .rate = 0.5 };
        double loss, accuracy;
        status = nn_fit(model, &train, &fit, NULL, &error) ||
                 nn_evaluate(model, &test, NN_CROSS_ENTROPY, &loss, &accuracy, &error) ||
                 nn_ntk(model, digits->x, PROBES, NULL, 0, NN_MEAN, after, &error);
        if (!status)
            printf("\nn = %d: test accuracy %.1f %%\n"
                   "|NTK(0) - limit| / |limit|  = %.4f\n"
                   "|NTK(t) - NTK(0)| / |NTK(0)| = %.4f\n",
                   WIDTH, 100 * accuracy, nn_distance(before, limit.terms[0].values, PROBES),
                   nn_distance(after, before, PROBES));
    }
    if (status)
        fprintf(stderr, "residual: %s\n", error.text);

    tp_kernel_free(&limit);
    nn_model_free(model);
    tp_program_free(program);
    nn_net_free(net);
    ds_free(digits);
    return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
