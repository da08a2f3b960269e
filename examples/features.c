/* features.c: feature learning at infinite width.
 *
 * In mu-P the tangent kernel moves however wide a network is, and no kernel method describes its training. tp_train
 * runs the steps at n = infinity; networks of growing width come closer to it, and farther from what the kernel at the
 * start would have said. */
#include "limn.h"

#include <math.h>

enum { ROWS = 8, FEATURES = 6, NETS = 8, STEPS = 20 };
static const double rate = 0.6;

static ad_var network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 2; layer++)
        x = ad_tanh(nn_dense(net, nn_name(net, "dense%d", layer), x, n));
    return nn_readout(net, "readout", x);
}

/* Gradient descent by a constant kernel, from outputs 0. */
static void descend(const double *kernel, const double *y, double *f)
{
    for (int step = 0; step < STEPS; step++) {
        double slope[ROWS];
        for (int i = 0; i < ROWS; i++)
            slope[i] = (f[i] - y[i]) / ROWS;
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++)
                f[i] -= rate * kernel[i * ROWS + j] * slope[j];
    }
}

static double distance(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < ROWS; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]) / ROWS;
    return sqrt(sum);
}

/* The mean outputs of NETS networks after the same training. */
static int train_networks(const nn_net *net, const nn_data *data, const nn_fit_spec *fit, size_t n, double *mean,
                          ad_error *error)
{
    for (int k = 0; k < NETS; k++) {
        double f[ROWS];
        nn_model *model = nn_model_new(net, n, (uint64_t)k, AD_DOUBLE, 1, error);
        int status = !model || nn_fit(model, data, fit, NULL, error) || nn_forward(model, data->x, ROWS, f, error);
        nn_model_free(model);
        if (status)
            return -1;
        for (int i = 0; i < ROWS; i++)
            mean[i] += f[i] / NETS;
    }
    return 0;
}

static int compare(const nn_net *net, tp_program *program, const nn_data *data, ad_error *error)
{
    tp_train_spec spec = { .fit = { .rate = rate, .steps = STEPS }, .samples = 2048, .runs = 4, .probes = ROWS };
    tp_trained run;
    if (tp_train(program, data, NULL, &spec, &run, error))
        return -1;
    const tp_trained_row *first = &run.rows[0], *last = &run.rows[run.n_rows - 1];
    double frozen[ROWS] = { 0 };
    int status = 0;
    descend(first->kernel, data->y, frozen);
    printf("n = inf: loss %.4f -> %.4f +- %.1g, the kernel has moved by %.0f %%\n", first->loss[0], last->loss[0],
           last->loss_error[0], 100 * nn_distance(last->kernel, first->kernel, ROWS));
    for (size_t n = 32; n <= 512 && !status; n *= 4) {
        double f[ROWS] = { 0 };
        if (!(status = train_networks(net, data, &spec.fit, n, f, error)))
            printf("n = %3zu: outputs are %.3f from those at n = inf, %.3f from the constant kernel's\n", n,
                   distance(f, last->f), distance(f, frozen));
    }
    tp_trained_free(&run);
    return status;
}

int main(void)
{
    double x[ROWS * FEATURES], y[ROWS];
    for (int k = 0; k < ROWS * FEATURES; k++)
        x[k] = sin(1 + 3 * (k / FEATURES) + 0.7 * (k % FEATURES) * (k / FEATURES + 1));
    for (int i = 0; i < ROWS; i++)
        y[i] = sin(2 * i);
    ad_error error = { 0 };
    nn_net *net = nn_trace(network, &(nn_spec){ .features = FEATURES, .parametrization = NN_MUP }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    int status = program ? compare(net, program, &(nn_data){ x, y, ROWS, 0 }, &error) : -1;
    if (status)
        fprintf(stderr, "%s\n", error.text);
    tp_program_free(program);
    nn_net_free(net);
    return status ? 1 : 0;
}
