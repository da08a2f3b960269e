/* kernels.c: seconds of one processor for the empirical kernel W5: the full NTK, 640 x 640, of 784-512-512-10 on 64
 * inputs, float, beside the sgemm that its Gram products need. Those of limits are in limits.c.
 *
 *     build/bench/kernels [ROUNDS] */
#define _DEFAULT_SOURCE
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>

static void empirical(int rounds)
{
    enum { ROWS = 64, FEATURES = 784, OUTPUTS = 10 };
    static double ours[BENCH_ROUNDS], products[BENCH_ROUNDS];
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS, .settings = (const char *[]){ "depth=2", NULL } };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
    nn_model *model = net ? nn_model_new(net, 512, 1, AD_FLOAT, 1, &error) : NULL;
    double *x = bench_draw(ROWS * FEATURES), *out = malloc(sizeof *out * ROWS * ROWS * OUTPUTS * OUTPUTS);
    float *delta = calloc(ROWS * OUTPUTS * 512, sizeof *delta);
    float *gram = malloc(sizeof *gram * ROWS * ROWS * OUTPUTS * OUTPUTS);
    if (!model || !x || !out || !delta || !gram)
        bench_fail(&error);
    for (int i = 0; i < ROWS * OUTPUTS * 512; i++)
        delta[i] = 1;
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round, n = ROWS * OUTPUTS;
        double start = bench_seconds();
        if (nn_ntk(model, x, ROWS, NULL, 0, NN_FULL, out, &error) != 0)
            bench_fail(&error);
        ours[at] = bench_seconds() - start;
        start = bench_seconds();
        for (int layer = 0; layer < 2; layer++) /* <delta, delta'> of both hidden layers */
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, 512, 1, delta, 512, delta, 512, 0, gram, n);
        products[at] = bench_seconds() - start;
    }
    printf("W5: full NTK of 784-512-512-10 on 64 inputs, 640 x 640, float, %d rounds, one thread\n", rounds);
    bench_show("limn", ours, rounds);
    bench_show("two sgemm 640 x 640 x 512", products, rounds);
    bench_ratio("limn's time / these products'", ours, products, rounds);
    free(x);
    free(out);
    free(delta);
    free(gram);
    nn_model_free(model);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    empirical(bench_rounds(argc, argv, 11));
    return 0;
}
