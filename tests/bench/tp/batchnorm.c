/* batchnorm.c: seconds for limit NTKs of traced networks with batch normalisation, one thread, by tp_limit, the
 * translation not counted: two batches of 6, depth 2, at epsilon = 0, 1e-5 and 0.1; one batch of 32, depth 1; two
 * batches of 32, depth 1; tanh, whose directions are sampled.
 *
 *     build/bench/batchnorm [ROUNDS] */
#define _DEFAULT_SOURCE
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <string.h>

enum { FEATURES = 64, MOST = 64 };

static ad_var normalised(nn_net *net, ad_var x)
{
    double epsilon = nn_setting_real(net, "eps", 0);
    ad_axis n = nn_width(net, "n");
    ad_shape batch = ad_shape_of(nn_batch(net));
    for (long layer = nn_setting_int(net, "depth", 1, 1, 8); layer > 0; layer--) {
        ad_var u = nn_dense(net, nn_name(net, "dense%ld", layer), x, n);
        ad_var centred = ad_sub(u, ad_mean(u, batch)), variance = ad_mean(ad_square(centred), batch);
        ad_var sum = ad_add(variance, ad_constant(nn_graph(net), epsilon, (ad_shape){ 0 }));
        x = nn_activation(net, nn_setting_text(net, "phi", "relu"), ad_mul(centred, ad_rsqrt(sum)));
    }
    return nn_readout(net, "readout", x);
}

static void measure(const char *title, const char *const *settings, size_t rows, size_t rows2, int rounds)
{
    static double seconds[BENCH_ROUNDS], x[MOST * FEATURES];
    double difference = 0;
    ad_error error = { 0 };
    nn_net *net = nn_trace(normalised, &(nn_spec){ .features = FEATURES, .settings = settings }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    if (!program)
        bench_fail(&error);
    ad_normal(1, ad_stream("inputs"), 0, MOST * FEATURES, x);
    for (int round = -1; round < rounds; round++) {
        double start = bench_seconds();
        tp_kernel kernel;
        if (tp_limit(program, TP_NTK, x, rows, rows2 ? x + rows * FEATURES : NULL, rows2, NULL, &kernel, &error) != 0)
            bench_fail(&error);
        seconds[round < 0 ? 0 : round] = bench_seconds() - start;
        difference = kernel.error;
        tp_kernel_free(&kernel);
    }
    printf("  %-52s %7.1f ms   (p10 %.1f, p90 %.1f), error %.0e\n", title, 1e3 * bench_quantile(seconds, rounds, 0.5),
           1e3 * bench_quantile(seconds, rounds, 0.1), 1e3 * bench_quantile(seconds, rounds, 0.9), difference);
    tp_program_free(program);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    int rounds = bench_rounds(argc, argv, 11);
    printf("normalised: limit NTK, batch normalisation, %d features, double, %d rounds, one thread\n", FEATURES,
           rounds);
    measure("relu, two batches of 6, depth 2, epsilon 0", (const char *[]){ "depth=2", NULL }, 6, 6, rounds);
    measure("relu, two batches of 6, depth 2, epsilon 1e-5", (const char *[]){ "depth=2", "eps=1e-5", NULL }, 6, 6,
            rounds);
    measure("relu, two batches of 6, depth 2, epsilon 0.1", (const char *[]){ "depth=2", "eps=0.1", NULL }, 6, 6,
            rounds);
    measure("relu, one batch of 32, depth 1, epsilon 1e-5", (const char *[]){ "eps=1e-5", NULL }, 32, 0, rounds);
    measure("relu, two batches of 32, depth 1, epsilon 1e-5", (const char *[]){ "eps=1e-5", NULL }, 32, 32, rounds);
    measure("tanh, two batches of 6, depth 2, epsilon 1e-5",
            (const char *[]){ "depth=2", "eps=1e-5", "phi=tanh", NULL }, 6, 6, rounds);
    measure("tanh, one batch of 32, depth 1, epsilon 1e-5", (const char *[]){ "eps=1e-5", "phi=tanh", NULL }, 32, 0,
            rounds);
    return 0;
}
