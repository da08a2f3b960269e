/* A recurrent network reads digits row by row: trained at n = 256, its kernel beside the limit.
 *
 *     ./build/examples/rnn */
#include "limn.h"

#include <stdlib.h>

/* s_t = tanh(W s_{t-1} + U x_t + b), s_0 = 0, f = v s_T. Recurrence is a loop, sharing is using a weight twice. */
static ad_var rnn(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], features = ad_shape_get(x)->axes[2];
    nn_weight w = nn_make_weight(net, "W", n, n, 1.2), u = nn_make_weight(net, "U", features, n, 1);
    nn_weight b = nn_make_bias(net, "b", n, 0.2);

    ad_var s = ad_tanh(nn_add_bias(b, nn_apply(u, ad_take(x, time, 0))));
    for (size_t t = 1; t < ad_axis_fixed(nn_graph(net), time); t++)
        s = ad_tanh(nn_add_bias(b, ad_add(nn_apply(w, s), nn_apply(u, ad_take(x, time, t)))));
    return nn_readout(net, "v", s);
}

enum { PROBES = 5, WIDTH = 256 };

/* Three kernels of the probes, side by side. */
static void print(const double *kernels[3])
{
    printf("\n%-45s%-45s%s\n", "NTK at n = 256", "after training", "at n = infinity");
    for (int i = 0; i < PROBES; i++)
        for (int k = 0; k < 3; k++)
            for (int j = 0; j < PROBES; j++)
                printf("%8.4f%s", kernels[k][PROBES * i + j], j + 1 < PROBES ? "" : k < 2 ? "     " : "\n");
}

int main(void)
{
    ad_error error = { 0 };
    double before[PROBES * PROBES], after[PROBES * PROBES], loss, accuracy;
    tp_kernel limit = { 0 };

    /* data, network, program: 8 steps of 8 pixels */
    ds_data *digits = ds_load("digits", NULL, &error);
    nn_net *net = NULL;
    if (digits) {
        nn_spec spec = { .shape = { digits->height, digits->width }, .outputs = digits->classes, .name = "rnn" };
        net = nn_trace(rnn, &spec, &error);
    }
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    nn_model *model = program ? nn_model_new(net, WIDTH, 1, AD_FLOAT, 1, &error) : NULL;
    int status = model ? tp_print(program, stdout, TP_PAPER, &error) : -1;

    /* the kernel at n = 256, before and after training, and at n = infinity */
    if (!status)
        status = nn_ntk(model, digits->x, PROBES, NULL, 0, NN_MEAN, before, &error);
    if (!status) {
        ds_data train = ds_split(digits, 0, digits->train), test = ds_split(digits, digits->train, SIZE_MAX);
        nn_data seen = { train.x, train.y, train.rows, digits->classes };
        nn_data unseen = { test.x, test.y, test.rows, digits->classes };
        nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .optimizer = NN_ADAM, .rate = 0.01, .batch = 64, .epochs = 10 };
        status = nn_fit(model, &seen, &fit, NULL, &error) ||
                 nn_evaluate(model, &unseen, NN_CROSS_ENTROPY, &loss, &accuracy, &error) ||
                 nn_ntk(model, digits->x, PROBES, NULL, 0, NN_MEAN, after, &error) ||
                 tp_limit(program, TP_NTK, digits->x, PROBES, NULL, 0, NULL, &limit, &error);
    }
    if (!status) {
        printf("\ntrained at n = %d: test accuracy %.1f %%\n", WIDTH, 100 * accuracy);
        print((const double *[]){ before, after, limit.terms[0].values });
    } else {
        fprintf(stderr, "rnn: %s\n", error.text);
    }

    tp_kernel_free(&limit);
    nn_model_free(model);
    tp_program_free(program);
    nn_net_free(net);
    ds_free(digits);
    return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
