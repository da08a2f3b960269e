/* limits.c: seconds of one processor for limit kernels; one thread:
 * relu  the NTK of a depth-5 ReLU net at 2000 inputs of 64 features, beside the dgemm of its inputs;
 * tanh  the NTK of a depth-3 tanh net at 500 inputs;
 * mean  the NTK of an erf recurrent net at 100 sequences of 32 steps of 4 features, the mean of all states read out;
 * last  the same, of the last state, whose kernel needs only pairs of steps aligned from the end;
 * tanh-mean  as mean, with tanh, by Mehler's series.
 *
 *     build/bench/limits [ROUNDS [CASE]]
 *
 * bench.sh builds this file against older trees, too: it asks nothing of limn but these few calls. */
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <string.h>

typedef struct {
    const char *name, *what, *network;
    size_t rows, steps, features;
    const char *const *settings;
} work;

static const work works[] = {
    { "relu", "ReLU, depth 5", "mlp", 2000, 0, 64, (const char *[]){ "depth=5", NULL } },
    { "tanh", "tanh, depth 3", "mlp", 500, 0, 64, (const char *[]){ "depth=3", "phi=tanh", NULL } },
    { "mean", "erf recurrent, mean", "rnn", 100, 32, 4, (const char *[]){ "phi=erf", "readout=mean", NULL } },
    { "last", "erf recurrent, last state", "rnn", 100, 32, 4, (const char *[]){ "phi=erf", NULL } },
    { "tanh-mean", "tanh recurrent, mean", "rnn", 100, 32, 4, (const char *[]){ "phi=tanh", "readout=mean", NULL } },
};

/* Translation and kernel, from the traced network on. */
static double limit(const work *w, const double *x)
{
    ad_error error = { 0 };
    nn_spec spec = { .settings = w->settings };
    tp_kernel kernel;
    if (w->steps) {
        spec.shape[0] = w->steps;
        spec.shape[1] = w->features;
    } else {
        spec.features = w->features;
    }
    nn_net *net = nn_trace(nn_builtin(w->network), &spec, &error);
    double start = bench_seconds();
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    if (!program || tp_limit(program, TP_NTK, x, w->rows, NULL, 0, NULL, &kernel, &error) != 0)
        bench_fail(&error);
    double seconds = bench_seconds() - start;
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
    return seconds;
}

static void measure(const work *w, int rounds)
{
    static double ours[BENCH_ROUNDS], product[BENCH_ROUNDS];
    size_t size = w->features * (w->steps ? w->steps : 1);
    double *x = bench_draw(w->rows * size), *gram = malloc(w->rows * w->rows * sizeof *gram);
    if (!x || !gram)
        exit(1);
    for (int round = -1; round < rounds; round++) {
        int at = round < 0 ? 0 : round, rows = (int)w->rows, columns = (int)size;
        ours[at] = limit(w, x);
        double start = bench_seconds();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, rows, columns, 1, x, columns, x, columns, 0, gram,
                    rows);
        product[at] = bench_seconds() - start;
    }
    printf("%s: limit NTK, %s, %zu inputs, double, %d rounds, one thread\n", w->name, w->what, w->rows, rounds);
    bench_show("limn", ours, rounds);
    if (!w->steps)
        bench_show("x x' alone, by dgemm", product, rounds);
    free(x);
    free(gram);
}

int main(int argc, char **argv)
{
    openblas_set_num_threads(1);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (argc < 3 || strcmp(argv[2], works[i].name) == 0)
            measure(&works[i], bench_rounds(argc, argv, 11));
    return 0;
}
