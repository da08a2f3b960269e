/* training.c: seconds of one processor for training at n = infinity, one thread: mu-P, tanh, two hidden layers,
 * 8 points, 20 full-batch steps, one of two runs on 16384 samples, with f_t and kernels at 12 steps; beside a dgemm of
 * the size of its projections.
 *
 *     build/bench/training [ROUNDS] */
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <math.h>

enum { ROWS = 8, FEATURES = 6, SAMPLES = 16384, DRAWS = 320, RUNS = 2 };

static void training(int rounds)
{
    static double ours[BENCH_ROUNDS], product[BENCH_ROUNDS];
    ad_error error = { 0 };
    const char *settings[] = { "depth=2", "phi=tanh", "sigma_w=1", NULL };
    nn_spec net_spec = { .features = FEATURES, .parametrization = NN_MUP, .settings = settings };
    nn_net *net = nn_trace(nn_builtin("mlp"), &net_spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    double x[ROWS * FEATURES], y[ROWS], c[ROWS * DRAWS], *basis = bench_draw((size_t)SAMPLES * DRAWS);
    if (!program || !basis)
        bench_fail(&error);
    for (int k = 0; k < ROWS * FEATURES; k++)
        x[k] = sin(1 + 3 * (k / FEATURES) + 0.7 * (k % FEATURES) * (k / FEATURES + 1));
    for (int i = 0; i < ROWS; i++)
        y[i] = sin(2 * i);
    nn_data data = { x, y, ROWS, 0 };
    tp_train_spec spec = { .fit = { .rate = 0.3, .steps = 20 }, .samples = SAMPLES, .runs = RUNS, .probes = ROWS };
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round;
        tp_trained run;
        double start = bench_seconds();
        if (tp_train(program, &data, NULL, &spec, &run, &error))
            bench_fail(&error);
        ours[at] = (bench_seconds() - start) / RUNS;
        tp_trained_free(&run);
        start = bench_seconds();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, ROWS, DRAWS, SAMPLES, 1, basis, SAMPLES, basis, SAMPLES, 0,
                    c, DRAWS);
        product[at] = bench_seconds() - start;
    }
    printf("training: mu-P, tanh, two hidden layers, %d points, 20 steps, %d samples, a run, %d rounds, one thread\n",
           ROWS, SAMPLES, rounds);
    bench_show("limn", ours, rounds);
    bench_show("dgemm 8 x 320 x 16384, a projection", product, rounds);
    bench_ratio("limn's time / this product's", ours, product, rounds);
    free(basis);
    tp_program_free(program);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    training(bench_rounds(argc, argv, 3));
    return 0;
}
