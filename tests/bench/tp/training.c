/* training.c: seconds of one processor for training at n = infinity, one thread: mu-P, tanh, two hidden layers,
 * 8 points, 20 full-batch steps, one of two runs on 16384 samples, with f_t and kernels at 12 steps; beside a dgemm of
 * the size of its projections. And for the exponents of a residual network of 24 layers, from its function on.
 *
 *     build/bench/training [ROUNDS] */
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <math.h>

enum { ROWS = 8, FEATURES = 6, SAMPLES = 16384, DRAWS = 320, RUNS = 2, LAYERS = 24 };

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

static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int block = 1; block <= LAYERS; block++)
        h = ad_add(h, nn_dense(net, nn_name(net, "block%d", block), ad_tanh(h), n));
    return nn_readout(net, "readout", ad_tanh(h));
}

static void find_regime(nn_optimizer optimizer, double *translated, double *found)
{
    ad_error error = { 0 };
    tp_regime regime;
    double start = bench_seconds();
    nn_net *net = nn_trace(residual, &(nn_spec){ .features = FEATURES, .parametrization = NN_MUP }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    double between = bench_seconds();
    if (!program || tp_regime_find(program, &(tp_regime_spec){ .optimizer = optimizer }, &regime, &error))
        bench_fail(&error);
    *found = bench_seconds() - between;
    *translated = between - start;
    tp_regime_free(&regime);
    tp_program_free(program);
    nn_net_free(net);
}

static void regimes(int rounds)
{
    static double translated[BENCH_ROUNDS], sgd[BENCH_ROUNDS], adam[BENCH_ROUNDS];
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round;
        find_regime(NN_ADAM, &translated[at], &adam[at]);
        find_regime(NN_SGD, &translated[at], &sgd[at]);
    }
    printf("regime: mu-P, a residual network of %d layers, %d rounds, one thread\n", LAYERS, rounds);
    bench_show("trace and program", translated, rounds);
    bench_show("its exponents under sgd", sgd, rounds);
    bench_show("under adam", adam, rounds);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    training(bench_rounds(argc, argv, 3));
    regimes(bench_rounds(argc, argv, 3));
    return 0;
}
