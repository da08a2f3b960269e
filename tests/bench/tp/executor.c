/* executor.c: seconds of one processor for the executor at n = infinity, one thread: the limit NTK of a depth-3 ReLU
 * net at 64 inputs, one run on 16384 samples, beside its largest dgemm.
 *
 *     build/bench/executor [ROUNDS] */
#include "tp/executor/executor.h"
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>

enum { INPUTS = 64, SAMPLES = 16384 };

static void executor(int rounds)
{
    static double ours[BENCH_ROUNDS], product[BENCH_ROUNDS];
    enum { FEATURES_IN = 64, DRAWS = 64 };
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES_IN, .settings = (const char *[]){ "depth=3", NULL } };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    double *x = bench_draw(INPUTS * FEATURES_IN), *basis = bench_draw((size_t)SAMPLES * 6 * DRAWS),
           *c = bench_draw(INPUTS * 6 * DRAWS);
    double *kernel = bench_draw(INPUTS * INPUTS);
    if (!program || !x || !basis || !c || !kernel)
        bench_fail(&error);
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round;
        double start = bench_seconds();
        if (tp_sample_once(program, TP_NTK,
                           &(tp_sampling){ .samples = SAMPLES, .seed = 1, .threads = 1, .simple = true }, x, INPUTS,
                           NULL, 0, kernel, &error) != 0)
            bench_fail(&error);
        ours[at] = bench_seconds() - start;
        start = bench_seconds();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, INPUTS, 6 * DRAWS, SAMPLES, 1, basis, SAMPLES, basis,
                    SAMPLES, 0, c, 6 * DRAWS);
        product[at] = bench_seconds() - start;
    }
    printf("executor: limit NTK, ReLU, depth 3, %d inputs, %d samples, one run, %d rounds, one thread\n", INPUTS,
           SAMPLES, rounds);
    bench_show("limn", ours, rounds);
    bench_show("dgemm 64 x 384 x 16384, a projection", product, rounds);
    bench_ratio("limn's time / this product's", ours, product, rounds);
    free(x);
    free(basis);
    free(c);
    free(kernel);
    tp_program_free(program);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    executor(bench_rounds(argc, argv, 11));
    return 0;
}
