/* bench.h: what the benchmarks share: rounds in which the rivals take turns, and their medians and 10th percentiles. */
#ifndef LIMN_BENCH_H
#define LIMN_BENCH_H
#include "autodiff/autodiff.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BENCH_ROUNDS = 101 };

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The p-quantile of n <= BENCH_ROUNDS numbers. */
static inline double bench_quantile(const double *values, int n, double p)
{
    double sorted[BENCH_ROUNDS];
    for (int i = 0; i < n; i++)
        sorted[i] = values[i];
    qsort(sorted, (size_t)n, sizeof *sorted, bench_compare);
    return sorted[(int)(p * (n - 1) + 0.5)];
}

/* Seconds of this process on a processor, which others on the machine lengthen less than those of the clock. */
static inline double bench_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* A line of one rival's rounds. */
static inline void bench_show(const char *name, const double *seconds, int rounds)
{
    printf("  %-42s %7.1f ms   (p10 %.1f, p90 %.1f)\n", name, 1e3 * bench_quantile(seconds, rounds, 0.5),
           1e3 * bench_quantile(seconds, rounds, 0.1), 1e3 * bench_quantile(seconds, rounds, 0.9));
}

/* Normal draws as inputs; NULL when memory is out. */
static inline double *bench_draw(size_t count)
{
    double *x = malloc(count * sizeof *x);
    if (x)
        ad_normal(1, ad_stream("inputs"), 0, count, x);
    return x;
}

/* numerator / denominator, round by round: the median, and the 10th and 90th percentiles. */
static inline void bench_ratio(const char *text, const double *numerator, const double *denominator, int n)
{
    double ratio[BENCH_ROUNDS];
    for (int i = 0; i < n; i++)
        ratio[i] = numerator[i] / denominator[i];
    printf("  %-42s %7.2f   (p10 %.2f, p90 %.2f)\n", text, bench_quantile(ratio, n, 0.5), bench_quantile(ratio, n, 0.1),
           bench_quantile(ratio, n, 0.9));
}

static inline void bench_fail(const ad_error *error)
{
    fprintf(stderr, "bench: %s\n", error->text);
    exit(1);
}

/* The number of rounds: the first argument, or the preset. */
static inline int bench_rounds(int argc, char **argv, int preset)
{
    int rounds = argc > 1 ? atoi(argv[1]) : preset;
    return rounds < 1 ? 1 : rounds > BENCH_ROUNDS ? BENCH_ROUNDS : rounds;
}
#endif
