/* floats.c: seconds of one processor for the limit NTK of a depth-5 ReLU net at inputs of 64 features, in floats beside
 * doubles, round by round, a pair; how far they are from each other; one thread.
 *
 *     build/bench/floats [ROUNDS [ROWS [ROWS_OF_DOUBLES]]]
 *
 * ROWS_OF_DOUBLES (2000, or ROWS if that is less): of the doubles, which take twice the memory. */
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <math.h>
#include <sys/mman.h>

/* The seconds; the kernel's values into floats, or into *kernel. */
static double limit(tp_program *program, const double *x, size_t rows, float *floats, tp_kernel *kernel)
{
    ad_error error = { 0 };
    double start = bench_seconds();
    if (tp_limit(program, TP_NTK, x, rows, NULL, 0, &(tp_limit_spec){ .floats = floats }, kernel, &error))
        bench_fail(&error);
    return bench_seconds() - start;
}

int main(int argc, char **argv)
{
    enum { FEATURES = 64, PAGE = 1 << 21 };
    static double singles[BENCH_ROUNDS], doubles[BENCH_ROUNDS];
    ad_error error = { 0 };
    int rounds = bench_rounds(argc, argv, 11);
    size_t rows = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000, fewer = argc > 3 ? strtoul(argv[3], NULL, 10) : 2000;
    fewer = fewer < rows ? fewer : rows;
    openblas_set_num_threads(1);
    double *x = bench_draw(rows * FEATURES), worst = 0;
    nn_net *net = nn_trace(nn_builtin("mlp"),
                           &(nn_spec){ .features = FEATURES, .settings = (const char *[]){ "depth=5", NULL } }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    if (!x || !program)
        bench_fail(&error);
    for (int round = 0; round < rounds; round++) {
        tp_kernel kernel, told;
        size_t bytes = (rows * rows * sizeof(float) + PAGE - 1) / PAGE * PAGE;
        float *floats = aligned_alloc(PAGE, bytes);
        if (!floats)
            exit(1);
        madvise(floats, bytes, MADV_HUGEPAGE); /* as limn's own memory */
        doubles[round] = limit(program, x, fewer, NULL, &kernel) / ((double)fewer * (double)fewer);
        singles[round] = limit(program, x, rows, floats, &told) / ((double)rows * (double)rows);
        for (size_t i = 0; i < fewer; i++)
            for (size_t j = 0; j < fewer; j++) {
                const double *k = kernel.terms[0].values;
                worst = fmax(worst, fabs((double)floats[i * rows + j] - k[i * fewer + j]) /
                                        sqrt(k[i * fewer + i] * k[j * fewer + j]));
            }
        if (round == 0)
            printf("floats: limit NTK, ReLU, depth 5, %zu inputs in floats, %zu in doubles, %d rounds, one thread\n"
                   "  stated error of floats: %.1e; %.1e from the doubles at most\n",
                   rows, fewer, rounds, told.error, worst);
        tp_kernel_free(&kernel);
        tp_kernel_free(&told);
        free(floats);
    }
    printf("  %-42s %7.2f ns\n", "an entry in doubles", 1e9 * bench_quantile(doubles, rounds, 0.5));
    printf("  %-42s %7.2f ns\n", "an entry in floats", 1e9 * bench_quantile(singles, rounds, 0.5));
    bench_ratio("floats' time an entry / doubles'", singles, doubles, rounds);
    tp_program_free(program);
    nn_net_free(net);
    free(x);
    return 0;
}
