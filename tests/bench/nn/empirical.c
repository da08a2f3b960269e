/* empirical.c: milliseconds of one processor for full empirical NTKs of 64 rows and 10 outputs, 640 x 640, float, one
 * thread: of a tanh RNN 28-128, 28 steps, its last state read out, and of 784-512-512-10 with batch normalisation.
 * jacobians.py has the same by functorch.
 *
 *     build/bench/empirical [ROUNDS [CASE]] */
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <string.h>

typedef struct {
    const char *name, *network;
    size_t width, shape[4];
    const char *const *settings;
} work;

static const work works[] = {
    { "rnn", "rnn", 128, { 28, 28 }, (const char *[]){ "outputs=10", NULL } },
    { "batchnorm", "batchnorm", 512, { 784 }, (const char *[]){ "depth=2", "affine=yes", "outputs=10", NULL } },
};

static void measure(const work *w, int rounds)
{
    enum { ROWS = 64, OUTPUTS = 10, FEATURES = 784 };
    static double ours[BENCH_ROUNDS];
    ad_error error = { 0 };
    nn_spec spec = { .settings = w->settings };
    if (w->shape[1])
        memcpy(spec.shape, w->shape, sizeof spec.shape);
    else
        spec.features = w->shape[0];
    nn_net *net = nn_trace(nn_builtin(w->network), &spec, &error);
    nn_model *model = net ? nn_model_new(net, w->width, 1, AD_FLOAT, 1, &error) : NULL;
    double *x = bench_draw(ROWS * FEATURES), *out = malloc(sizeof *out * ROWS * ROWS * OUTPUTS * OUTPUTS);
    if (!model || !x || !out)
        bench_fail(&error);
    for (int round = -1; round < rounds; round++) { /* the first is to warm up */
        double start = bench_seconds();
        if (nn_ntk(model, x, ROWS, NULL, 0, NN_FULL, out, &error) != 0)
            bench_fail(&error);
        ours[round < 0 ? 0 : round] = bench_seconds() - start;
    }
    printf("%s: full NTK of %s, 64 rows, 640 x 640, float, %d rounds, one thread\n", w->name, w->network, rounds);
    bench_show("limn", ours, rounds);
    free(x);
    free(out);
    nn_model_free(model);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    for (size_t k = 0; k < sizeof works / sizeof *works; k++)
        if (argc < 3 || strcmp(argv[2], works[k].name) == 0)
            measure(&works[k], bench_rounds(argc, argv, 7));
    return 0;
}
