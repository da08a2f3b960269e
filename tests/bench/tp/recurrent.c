/* recurrent.c: seconds of one processor for limit kernels of recurrent networks and for the executor at n = infinity,
 * which others on the machine lengthen less than those of the clock; one thread:
 * erf       the limit NTK of 100 sequences of 32 steps of 4 features, erf, the mean of all states read out;
 * last      the same, of the last state, whose kernel needs only pairs of steps aligned from the end;
 * tanh      the same by Mehler's series, the mean read out;
 * executor  the limit NTK of a depth-3 ReLU net at 64 inputs, one run on 16384 samples, beside its largest dgemm.
 *
 *     build/bench/recurrent [ROUNDS] */
#define _DEFAULT_SOURCE
#include "limn.h"
#include "tests/bench/bench.h"
#include "tp/executor/executor.h"

#include <cblas.h>
#include <time.h>

enum { SEQUENCES = 100, STEPS = 32, FEATURES = 4, INPUTS = 64, SAMPLES = 16384 };

static double processor_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Translation, and the kernel from the traced network on. */
static void recurrent(const char *title, const char *const *settings, int rounds)
{
    static double translation[BENCH_ROUNDS], whole[BENCH_ROUNDS];
    ad_error error = { 0 };
    nn_spec spec = { .shape = { STEPS, FEATURES }, .settings = settings };
    double *x = bench_draw((size_t)SEQUENCES * STEPS * FEATURES);
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round;
        tp_kernel kernel;
        nn_net *net = nn_trace(nn_builtin("rnn"), &spec, &error);
        double start = processor_seconds();
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        translation[at] = processor_seconds() - start;
        if (!program || !x || tp_limit(program, TP_NTK, x, SEQUENCES, NULL, 0, NULL, &kernel, &error) != 0)
            bench_fail(&error);
        whole[at] = processor_seconds() - start;
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
    printf("%s, %d sequences of %d steps of %d features, double, %d rounds, one thread\n", title, SEQUENCES, STEPS,
           FEATURES, rounds);
    bench_show("translation and kernel", whole, rounds);
    bench_show("translation alone", translation, rounds);
    free(x);
}

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
        double start = processor_seconds();
        if (tp_sample_once(program, TP_NTK, &(tp_sampling){ .samples = SAMPLES, .seed = 1, .threads = 1 }, x, INPUTS,
                           NULL, 0, kernel, &error) != 0)
            bench_fail(&error);
        ours[at] = processor_seconds() - start;
        start = processor_seconds();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, INPUTS, 6 * DRAWS, SAMPLES, 1, basis, SAMPLES, basis,
                    SAMPLES, 0, c, 6 * DRAWS);
        product[at] = processor_seconds() - start;
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
    int rounds = bench_rounds(argc, argv, 11);
    recurrent("erf: limit NTK, mean readout", (const char *[]){ "phi=erf", "readout=mean", NULL }, rounds);
    recurrent("last: limit NTK, erf, last state", (const char *[]){ "phi=erf", NULL }, rounds);
    recurrent("tanh: limit NTK, mean readout", (const char *[]){ "phi=tanh", "readout=mean", NULL }, rounds);
    executor(rounds);
    return 0;
}
