/* drift.c: a measurement of drift on 64 probes of 784-512-512-10, float, one thread: the kernel, the loss and all that
 * is made of them, as a fit does it on its way; beside the kernel alone, and a training step on a batch of 64.
 *
 *     build/bench/drift [ROUNDS] */
#define _DEFAULT_SOURCE
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>

enum { ROWS = 64, FEATURES = 784, OUTPUTS = 10 };

static void show(const char *name, const double *seconds, int rounds)
{
    printf("  %-42s %7.2f ms   (p10 %.2f, p90 %.2f)\n", name, 1e3 * bench_quantile(seconds, rounds, 0.5),
           1e3 * bench_quantile(seconds, rounds, 0.1), 1e3 * bench_quantile(seconds, rounds, 0.9));
}

int main(int argc, char **argv)
{
    static double whole[BENCH_ROUNDS], kernel[BENCH_ROUNDS], step[BENCH_ROUNDS];
    static double x[ROWS * FEATURES], y[ROWS], limit[ROWS * ROWS], out[ROWS * ROWS];
    static float batch[ROWS * FEATURES], labels[ROWS];
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    int rounds = bench_rounds(argc, argv, 51);
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS, .settings = (const char *[]){ "depth=2", NULL } };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
    nn_model *model = net ? nn_model_new(net, 512, 1, AD_FLOAT, 1, &error) : NULL;
    ad_normal(1, ad_stream("inputs"), 0, ROWS * FEATURES, x);
    for (int i = 0; i < ROWS * FEATURES; i++)
        batch[i] = (float)x[i];
    for (int i = 0; i < ROWS; i++)
        y[i] = labels[i] = (float)(i % OUTPUTS);
    for (int i = 0; i < ROWS * ROWS; i++)
        limit[i] = 1;
    nn_drift_spec watched = { .probes = { x, y, ROWS, OUTPUTS }, .limit = limit };
    nn_drift *drift = model ? nn_drift_new(model, &watched, NN_CROSS_ENTROPY, &error) : NULL;
    nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .optimizer = NN_ADAM, .rate = 1e-3 };
    nn_trainer *trainer = drift ? nn_trainer_new(model, &fit, ROWS, &error) : NULL;
    if (!trainer)
        bench_fail(&error);
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round;
        nn_drift_row row;
        double loss, start = ad_seconds();
        if (nn_drift_measure(drift, &row, &error) != 0)
            bench_fail(&error);
        whole[at] = ad_seconds() - start;
        start = ad_seconds();
        if (nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, out, &error) != 0)
            bench_fail(&error);
        kernel[at] = ad_seconds() - start;
        start = ad_seconds();
        if (nn_trainer_step(trainer, batch, labels, ROWS, &loss, &error) != 0)
            bench_fail(&error);
        step[at] = ad_seconds() - start;
    }
    printf("drift: 64 probes of 784-512-512-10, float, %d rounds, one thread\n", rounds);
    show("a measurement", whole, rounds);
    show("its kernel alone", kernel, rounds);
    show("a step of Adam on a batch of 64", step, rounds);
    bench_ratio("a measurement / a step", whole, step, rounds);
    nn_trainer_free(trainer);
    nn_drift_free(drift);
    nn_model_free(model);
    nn_net_free(net);
    return 0;
}
