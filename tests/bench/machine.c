/* machine.c: what this machine does at most, now, in seconds of one processor: products of 1024 x 1024 matrices by
 * OpenBLAS on one thread, and copies of 64 MB.
 *
 *     build/bench/machine [ROUNDS] */
#include "tests/bench/bench.h"

#include <cblas.h>
#include <string.h>

enum { SIDE = 1024, BYTES = 64 << 20 };

static void show_rate(const char *name, const double *seconds, int rounds, double work, const char *unit)
{
    printf("  %-42s %7.1f %s   (p10 %.1f, p90 %.1f)\n", name, work / bench_quantile(seconds, rounds, 0.5), unit,
           work / bench_quantile(seconds, rounds, 0.9), work / bench_quantile(seconds, rounds, 0.1));
}

int main(int argc, char **argv)
{
    static double in_float[BENCH_ROUNDS], in_double[BENCH_ROUNDS], copy[BENCH_ROUNDS];
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    int rounds = bench_rounds(argc, argv, 11);
    char *from = malloc(BYTES), *to = malloc(BYTES);
    if (!from || !to)
        return 1;
    memset(from, 0, BYTES);
    memset(to, 0, BYTES);
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round;
        float *f = (float *)from, *fc = (float *)to;
        double start = bench_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, f, SIDE, f + SIDE * SIDE, SIDE, 0,
                    fc, SIDE);
        in_float[at] = bench_seconds() - start;
        double *d = (double *)from, *dc = (double *)to;
        start = bench_seconds();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, d, SIDE, d + SIDE * SIDE, SIDE, 0,
                    dc, SIDE);
        in_double[at] = bench_seconds() - start;
        start = bench_seconds();
        memcpy(to, from, BYTES);
        copy[at] = bench_seconds() - start;
    }
    printf("machine: at most, %d rounds, one thread\n", rounds);
    show_rate("sgemm", in_float, rounds, 2e-9 * SIDE * SIDE * SIDE, "GFLOP/s");
    show_rate("dgemm", in_double, rounds, 2e-9 * SIDE * SIDE * SIDE, "GFLOP/s");
    show_rate("copy", copy, rounds, 1e-9 * BYTES, "GB/s");
    free(from);
    free(to);
    return 0;
}
