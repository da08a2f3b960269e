/* gates.c: limits of gated recurrent networks by points, read at the last state, double, one thread; the error that is
 * stated of each is the relative one of its whole kernel.
 *
 *     build/bench/gates [ROUNDS] */
#define _DEFAULT_SOURCE
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>

enum { FEATURES = 4, MOST = 6 * 30 * FEATURES };

static void measure(const char *cell, tp_kernel_kind which, size_t rows, size_t time, int rounds)
{
    static double seconds[BENCH_ROUNDS], x[MOST];
    char title[64], setting[16];
    double stated = 0;
    ad_error error = { 0 };
    snprintf(setting, sizeof setting, "cell=%s", cell);
    snprintf(title, sizeof title, "%s, %s, %zu sequences of %zu steps", cell, which == TP_NTK ? "NTK" : "NNGP", rows,
             time);
    nn_spec spec = { .features = time * FEATURES,
                     .shape = { time, FEATURES },
                     .settings = (const char *[]){ setting, NULL } };
    nn_net *net = nn_trace(nn_builtin("rnn"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    if (!program)
        bench_fail(&error);
    ad_normal(1, ad_stream("inputs"), 0, rows * time * FEATURES, x);
    for (int round = -1; round < rounds; round++) {
        double start = bench_seconds();
        tp_kernel kernel;
        if (tp_limit(program, which, x, rows, NULL, 0, &(tp_limit_spec){ .threads = 1 }, &kernel, &error) != 0)
            bench_fail(&error);
        seconds[round < 0 ? 0 : round] = bench_seconds() - start;
        stated = kernel.error;
        tp_kernel_free(&kernel);
    }
    bench_show(title, seconds, rounds);
    printf("  %s, its stated error: %.1e\n", title, stated);
    tp_program_free(program);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    int rounds = bench_rounds(argc, argv, 5);
    printf("gates: limits of recurrent networks, %d features, %d rounds, one thread\n", FEATURES, rounds);
    measure("gru", TP_NNGP, 4, 3, rounds);
    measure("gru", TP_NTK, 4, 3, rounds);
    measure("lstm", TP_NNGP, 4, 3, rounds);
    measure("lstm", TP_NTK, 4, 3, rounds);
    measure("gru", TP_NNGP, 6, 30, rounds);
    return 0;
}
