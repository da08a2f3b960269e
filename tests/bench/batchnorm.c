/* batchnorm.c: seconds for limit NTKs of networks with batch normalisation and ReLU, one thread:
 * two batches of 6, depth 2, at epsilon = 0, 1e-5 and 0.1; one batch of 32, depth 1; two batches of 32, depth 1.
 *
 *     build/bench/batchnorm [ROUNDS] */
#define _DEFAULT_SOURCE
#include "tp/batchnorm.h"
#include "bench.h"
#include "limn.h"

#include <cblas.h>

enum { FEATURES = 64, MOST = 64 };

static void measure(const char *title, size_t depth, size_t rows, size_t rows2, double epsilon, int rounds)
{
    static double seconds[BENCH_ROUNDS], x[MOST * FEATURES], ntk[MOST * MOST];
    tp_batchnorm_net net = { depth, 1, epsilon, NN_SIGMA_INIT, TP_SLOPES_RELU };
    double difference = 0;
    ad_error error = { 0 };
    ad_normal(1, ad_stream("inputs"), 0, MOST * FEATURES, x);
    for (int round = -1; round < rounds; round++) {
        double start = ad_seconds();
        if (tp_batchnorm_kernels(&net, x, rows, rows2 ? x + rows * FEATURES : NULL, rows2, FEATURES, NULL, ntk,
                                 &difference, &error) != 0)
            bench_fail(&error);
        seconds[round < 0 ? 0 : round] = ad_seconds() - start;
    }
    printf("  %-52s %7.1f ms   (p10 %.1f, p90 %.1f), last halving %.0e\n", title,
           1e3 * bench_quantile(seconds, rounds, 0.5), 1e3 * bench_quantile(seconds, rounds, 0.1),
           1e3 * bench_quantile(seconds, rounds, 0.9), difference);
}

int main(int argc, char **argv)
{
    ad_start_again(argv);
    openblas_set_num_threads(1);
    int rounds = bench_rounds(argc, argv, 11);
    printf("limit NTK, batch normalisation and ReLU, %d features, double, %d rounds, one thread\n", FEATURES, rounds);
    measure("two batches of 6, depth 2, epsilon 0", 2, 6, 6, 0, rounds);
    measure("two batches of 6, depth 2, epsilon 1e-5", 2, 6, 6, 1e-5, rounds);
    measure("two batches of 6, depth 2, epsilon 0.1", 2, 6, 6, 0.1, rounds);
    measure("one batch of 32, depth 1, epsilon 1e-5", 1, 32, 0, 1e-5, rounds);
    measure("two batches of 32, depth 1, epsilon 1e-5", 1, 32, 32, 1e-5, rounds);
    return 0;
}
