/* growth.c: how the processor's seconds grow with each size of a problem, beside what theory says: sizes that double,
 * all of them once a round, the slope of log seconds in log size of each round, its mean over rounds and Student's 95 %
 * interval; and the last doubling's own slope, which is nearer to where sizes go. One thread.
 *
 *     build/bench/growth [ROUNDS [CASE]] */
#include "limn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { SIZES = 4, LEAST_ROUNDS = 3 };

typedef enum { ROWS, DEPTH, STEPS, SIDE, WIDTH } axis;
typedef enum { LIMIT, TRAINING, EMPIRICAL } job;

typedef struct {
    const char *name, *what, *network;
    job job;
    axis axis;
    size_t first, rows, features; /* the first size; features of a step, or of an input */
    const char *settings[4];
    double theory; /* the exponent of the leading term */
} work;

/* A picture's positions are its side's square: the slope in positions is told. */
static const work works[] = {
    { "N", "inputs", "mlp", LIMIT, ROWS, 500, 0, 64, { "depth=5" }, 2 },
    { "depth", "layers", "mlp", LIMIT, DEPTH, 8, 500, 64, { NULL }, 1 },
    { "T-mean", "steps, mean of the states", "rnn", LIMIT, STEPS, 16, 32, 4, { "phi=erf", "readout=mean" }, 2 },
    { "T-last", "steps, last state", "rnn", LIMIT, STEPS, 8, 200, 4, { "phi=erf" }, 1 },
    { "P-flatten", "positions, flattened", "cnn", LIMIT, SIDE, 8, 40, 1, { "depth=2", "readout=flatten" }, 1 },
    { "P-average", "positions, averaged", "cnn", LIMIT, SIDE, 2, 24, 1, { "depth=2" }, 2 },
    { "n-step", "width, a training step", "mlp", TRAINING, WIDTH, 256, 128, 64, { "depth=4", "outputs=10" }, 2 },
    { "n-ntk", "width, empirical NTK", "mlp", EMPIRICAL, WIDTH, 512, 64, 64, { "depth=4" }, 2 },
};

static size_t size_of(const work *w, int k)
{
    return w->first << k;
}

static double seconds_of(const work *w, size_t size)
{
    enum { STEPS_TIMED = 4, LABELS = 10 };
    ad_error error = { 0 };
    char depth[40];
    const char *settings[6] = { w->settings[0], w->settings[1], w->settings[2], NULL };
    nn_spec spec = { .settings = settings };
    size_t rows = w->axis == ROWS ? size : w->rows, features = w->features, width = w->axis == WIDTH ? size : 0;
    snprintf(depth, sizeof depth, "depth=%zu", size);
    if (w->axis == DEPTH)
        settings[0] = depth;
    if (w->axis == STEPS) {
        spec.shape[0] = size;
        spec.shape[1] = w->features;
        features *= size;
    } else if (w->axis == SIDE) {
        spec.shape[0] = spec.shape[1] = size;
        spec.shape[2] = 1;
        features = size * size;
    } else {
        spec.features = w->features;
    }
    nn_net *net = nn_trace(nn_builtin(w->network), &spec, &error);
    tp_program *program = net && w->job == LIMIT ? tp_translate(net, &error) : NULL;
    nn_model *model = net && width ? nn_model_new(net, width, 1, AD_FLOAT, 1, &error) : NULL;
    nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .optimizer = NN_SGD, .rate = 1e-3 };
    nn_trainer *trainer = model && w->job == TRAINING ? nn_trainer_new(model, &fit, rows, &error) : NULL;
    double *x = bench_draw(rows * features), *out = malloc(rows * rows * sizeof *out), loss = 0, start = 0, end = 0;
    float *batch = calloc(rows * features, sizeof *batch);
    float *labels = calloc(rows, sizeof *labels);
    int status = x && out && batch && labels && (program || model) ? 0 : -1;
    for (size_t i = 0; i < rows * features && !status; i++)
        batch[i] = (float)x[i];
    for (size_t i = 0; i < rows && !status; i++)
        labels[i] = (float)(i % LABELS);
    for (int turn = 0; turn < (w->job == LIMIT ? 1 : 2) && !status; turn++) { /* of models the first warms up */
        tp_kernel kernel = { 0 };
        start = bench_seconds();
        if (w->job == LIMIT)
            status = tp_limit(program, TP_NTK, x, rows, NULL, 0, NULL, &kernel, &error);
        for (int k = 0; k < STEPS_TIMED && w->job == TRAINING && !status; k++)
            status = nn_trainer_step(trainer, batch, labels, rows, &loss, &error);
        if (w->job == EMPIRICAL)
            status = nn_ntk(model, x, rows, NULL, 0, NN_MEAN, out, &error);
        end = bench_seconds();
        tp_kernel_free(&kernel);
    }
    if (status)
        bench_fail(&error);
    nn_trainer_free(trainer);
    nn_model_free(model);
    tp_program_free(program);
    nn_net_free(net);
    free(x);
    free(out);
    free(batch);
    free(labels);
    return end - start;
}

/* Least squares over sizes from `from` on, which are even in their logarithm. */
static double slope(const work *w, const double *seconds, int from)
{
    double top = 0, bottom = 0, middle = (from + SIZES - 1) / 2.0;
    for (int k = from; k < SIZES; k++) {
        top += (k - middle) * log(seconds[k]);
        bottom += (k - middle) * (k - middle) * log(w->axis == SIDE ? 4 : 2);
    }
    return top / bottom;
}

static void measure(const work *w, int rounds)
{
    static double all[BENCH_ROUNDS][SIZES], at[BENCH_ROUNDS];
    double mean = 0, squares = 0, last = 0;
    for (int round = -1; round < rounds; round++)
        for (int k = 0; k < SIZES; k++)
            all[round < 0 ? 0 : round][k] = seconds_of(w, size_of(w, k));
    for (int round = 0; round < rounds; round++) {
        at[round] = slope(w, all[round], 0);
        mean += at[round] / rounds;
        last += slope(w, all[round], SIZES - 2) / rounds;
    }
    for (int round = 0; round < rounds; round++)
        squares += (at[round] - mean) * (at[round] - mean);
    double half = ad_student(0.05, rounds - 1) * sqrt(squares / ((double)rounds * (rounds - 1)));
    printf("%s: %s\n", w->name, w->what);
    for (int k = 0; k < SIZES; k++) {
        char text[60];
        size_t size = size_of(w, k);
        for (int round = 0; round < rounds; round++)
            at[round] = all[round][k];
        snprintf(text, sizeof text, "%zu", w->axis == SIDE ? size * size : size);
        bench_show(text, at, rounds);
    }
    printf("  exponent %.2f, 95 %% [%.2f, %.2f]; of the last doubling %.2f; theory %.0f\n", mean, mean - half,
           mean + half, last, w->theory);
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 5);
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (argc < 3 || strcmp(argv[2], works[i].name) == 0)
            measure(&works[i], rounds < LEAST_ROUNDS ? LEAST_ROUNDS : rounds);
    return 0;
}
