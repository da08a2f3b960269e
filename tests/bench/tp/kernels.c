/* kernels.c: seconds for empirical and limit kernels, one thread:
 * W5      the full NTK, 640 x 640, of 784-512-512-10 on 64 inputs, float, beside the sgemm that its Gram products need;
 * relu    the limit NTK of a depth-5 ReLU net at 2000 inputs of 64 features, double, beside the dgemm of its inputs;
 * tanh    the limit NTK of a depth-3 tanh net at 500 inputs.
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
        double start = ad_seconds();
        if (nn_ntk(model, x, ROWS, NULL, 0, NN_FULL, out, &error) != 0)
            bench_fail(&error);
        ours[at] = ad_seconds() - start;
        start = ad_seconds();
        for (int layer = 0; layer < 2; layer++) /* <delta, delta'> of both hidden layers */
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, 512, 1, delta, 512, delta, 512, 0, gram, n);
        products[at] = ad_seconds() - start;
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

static void limit(const char *title, const char *const *settings, size_t rows, size_t features, int rounds)
{
    static double ours[BENCH_ROUNDS], product[BENCH_ROUNDS];
    ad_error error = { 0 };
    nn_spec spec = { .features = features, .settings = settings };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    double *x = bench_draw(rows * features), *gram = malloc(rows * rows * sizeof *gram);
    if (!program || !x || !gram)
        bench_fail(&error);
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round;
        tp_kernel kernel;
        double start = ad_seconds();
        if (tp_limit(program, TP_NTK, x, rows, NULL, 0, NULL, &kernel, &error) != 0)
            bench_fail(&error);
        ours[at] = ad_seconds() - start;
        tp_kernel_free(&kernel);
        start = ad_seconds();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)rows, (int)features, 1, x, (int)features,
                    x, (int)features, 0, gram, (int)rows);
        product[at] = ad_seconds() - start;
    }
    printf("%s, %zu inputs of %zu features, double, %d rounds, one thread\n", title, rows, features, rounds);
    bench_show("limn", ours, rounds);
    bench_show("x x' alone, by dgemm", product, rounds);
    free(x);
    free(gram);
    tp_program_free(program);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    int rounds = bench_rounds(argc, argv, 11);
    empirical(rounds);
    limit("relu: limit NTK, depth 5", (const char *[]){ "depth=5", NULL }, 2000, 64, rounds);
    limit("tanh: limit NTK, depth 3", (const char *[]){ "depth=3", "phi=tanh", NULL }, 500, 64, rounds);
    return 0;
}
