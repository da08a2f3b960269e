/* train.c: training steps a second of a processor, one thread, float: limn, a bare C loop over OpenBLAS (of mlp), and
 * PyTorch where it is installed, taking turns in every round.
 *
 *     build/bench/train [ROUNDS [CASE]] */
#define _DEFAULT_SOURCE
#include "nn/nn.h"
#include "tests/bench/bench.h"

#include <cblas.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { BATCHES = 8, LAYERS = 4 };

typedef struct {
    const char *name, *sizes, *network, *settings[4];
    size_t widths[LAYERS + 1], batch;
    int layers, steps;
    double rate;
    size_t shape[4];   /* of a sample; none: its features alone */
    double operations; /* of a step's products; 0: those of dense layers */
} work;

static const work works[] = {
    { "W1",
      "784-64-64-10",
      "mlp",
      { "depth=2", "sigma_b=0", "outputs=10" },
      { 784, 64, 64, 10 },
      32,
      3,
      500,
      0.05,
      { 0 },
      0 },
    { "W2",
      "784-1024-1024-1024-10",
      "mlp",
      { "depth=3", "sigma_b=0", "outputs=10" },
      { 784, 1024, 1024, 1024, 10 },
      128,
      4,
      8,
      0.05,
      { 0 },
      0 },
    { "W3",
      "784-512-512-10",
      "batchnorm",
      { "depth=2", "affine=yes", "outputs=10" },
      { 784, 512, 512, 10 },
      128,
      3,
      25,
      0.05,
      { 0 },
      0 },
    { "W4", /* two filters 3 x 3 of 32 channels, averages of 2 x 2 after each, a weight for each position */
      "784-32-32-10",
      "cnn",
      { "depth=2", "pool=2", "readout=flatten", "outputs=10" },
      { 784, 32, 32, 10 },
      64,
      3,
      12,
      0.05,
      { 28, 28, 1 },
      2 * 64 * (2. * 784 * 9 * 32 + 3. * 196 * 9 * 32 * 32 + 3. * 49 * 32 * 10) },
    { "W6", /* 28 steps of 28 features, tanh, the last state read out */
      "784-128-10",
      "rnn",
      { "cell=torch_rnn", "outputs=10" },
      { 784, 128, 10 },
      64,
      2,
      40,
      0.05,
      { 28, 28 },
      2 * 64 * (28 * 128 * (2. * 28 + 3. * 128) + 3. * 128 * 10) },
    { "W7", /* the same of a GRU */
      "784-128-10",
      "rnn",
      { "cell=torch_gru", "outputs=10" },
      { 784, 128, 10 },
      64,
      2,
      12,
      0.05,
      { 28, 28 },
      2 * 64 * (3 * 28 * 128 * (2. * 28 + 3. * 128) + 3. * 128 * 10) },
};

/* ---- the bare loop of an mlp: nothing but OpenBLAS and a few lines around it ---- */
typedef struct {
    const work *w;
    float *weight[LAYERS], *bias[LAYERS], *weight_gradient[LAYERS], *bias_gradient[LAYERS];
    float *h[LAYERS + 1], *d[LAYERS + 1];
} bare;

static float *floats(size_t count)
{
    float *data = aligned_alloc(64, (count * sizeof *data + 63) / 64 * 64);
    if (!data)
        exit(1);
    return memset(data, 0, count * sizeof *data);
}

static void bare_open(bare *net, const work *w)
{
    *net = (bare){ .w = w };
    for (int l = 0; l <= w->layers; l++) {
        net->h[l] = floats(w->batch * w->widths[l]);
        net->d[l] = floats(w->batch * w->widths[l]);
    }
    for (int l = 0; l < w->layers; l++) {
        net->weight[l] = floats(w->widths[l] * w->widths[l + 1]);
        net->weight_gradient[l] = floats(w->widths[l] * w->widths[l + 1]);
        net->bias[l] = floats(w->widths[l + 1]);
        net->bias_gradient[l] = floats(w->widths[l + 1]);
    }
}

static void bare_close(bare *net)
{
    for (int l = 0; l <= net->w->layers; l++) {
        free(net->h[l]);
        free(net->d[l]);
    }
    for (int l = 0; l < net->w->layers; l++) {
        free(net->weight[l]);
        free(net->weight_gradient[l]);
        free(net->bias[l]);
        free(net->bias_gradient[l]);
    }
}

static double bare_step(bare *net, const float *x, const float *y)
{
    const work *w = net->w;
    int batch = (int)w->batch, last = w->layers;
    double loss = 0;
    for (int l = 0; l < last; l++) {
        int in = (int)w->widths[l], out = (int)w->widths[l + 1];
        float *h = net->h[l + 1];
        for (int i = 0; i < batch; i++)
            memcpy(h + i * out, net->bias[l], (size_t)out * sizeof *h);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, batch, out, in, 1, l ? net->h[l] : x, in, net->weight[l],
                    out, 1, h, out);
        if (l + 1 < last)
            for (int k = 0; k < batch * out; k++)
                h[k] = h[k] > 0 ? h[k] : 0;
    }
    int classes = (int)w->widths[last];
    for (int i = 0; i < batch; i++) {
        const float *f = net->h[last] + i * classes;
        float *d = net->d[last] + i * classes, most = f[0], sum = 0;
        int label = (int)y[i];
        for (int o = 1; o < classes; o++)
            most = f[o] > most ? f[o] : most;
        for (int o = 0; o < classes; o++)
            sum += d[o] = expf(f[o] - most);
        loss += (double)(logf(sum) + most - f[label]) / batch;
        for (int o = 0; o < classes; o++)
            d[o] = (d[o] / sum - (o == label ? 1.0f : 0.0f)) / (float)batch;
    }
    for (int l = last - 1; l >= 0; l--) {
        int in = (int)w->widths[l], out = (int)w->widths[l + 1];
        float *d = net->d[l + 1], *up = net->d[l];
        const float *h = l ? net->h[l] : x;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, in, out, batch, 1, h, in, d, out, 0,
                    net->weight_gradient[l], out);
        memset(net->bias_gradient[l], 0, (size_t)out * sizeof *d);
        for (int i = 0; i < batch; i++)
            for (int o = 0; o < out; o++)
                net->bias_gradient[l][o] += d[i * out + o];
        if (l == 0)
            continue;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, batch, in, out, 1, d, out, net->weight[l], out, 0, up, in);
        for (int k = 0; k < batch * in; k++)
            up[k] = h[k] > 0 ? up[k] : 0;
    }
    float rate = (float)w->rate;
    for (int l = 0; l < last; l++) {
        size_t in = w->widths[l], out = w->widths[l + 1];
        for (size_t k = 0; k < in * out; k++)
            net->weight[l][k] -= rate * net->weight_gradient[l][k];
        for (size_t o = 0; o < out; o++)
            net->bias[l][o] -= rate * net->bias_gradient[l][o];
    }
    return loss;
}

/* ---- PyTorch, in a process of its own ---- */
typedef struct {
    FILE *to, *from;
    char version[64];
} rival;

static bool rival_open(rival *r, const work *w)
{
    int down[2], up[2];
    char batch[16], batches[16], rate[16];
    snprintf(batch, sizeof batch, "%zu", w->batch);
    snprintf(batches, sizeof batches, "%d", BATCHES);
    snprintf(rate, sizeof rate, "%g", w->rate);
    *r = (rival){ 0 };
    if (pipe(down) != 0 || pipe(up) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        dup2(down[0], 0);
        dup2(up[1], 1);
        for (int k = 0; k < 2; k++) {
            close(down[k]);
            close(up[k]);
        }
        const char *python = getenv("PYTHON");
        const char *network = strcmp(w->network, "rnn") == 0 ? w->settings[0] : w->network;
        execlp(python ? python : "/usr/bin/python3", "python3", BENCH_DIR "/rival.py", w->sizes, batch, batches, rate,
               network, (char *)NULL);
        _exit(1);
    }
    close(down[0]);
    close(up[1]);
    r->to = fdopen(down[1], "w");
    r->from = fdopen(up[0], "r");
    return child > 0 && r->to && r->from && fgets(r->version, sizeof r->version, r->from) &&
           strncmp(r->version, "none", 4) != 0;
}

static double rival_train(rival *r, int steps)
{
    char line[64];
    fprintf(r->to, "go %d\n", steps);
    fflush(r->to);
    return fgets(line, sizeof line, r->from) ? strtod(line, NULL) : (double)NAN;
}

static void rival_close(rival *r)
{
    if (r->to)
        fclose(r->to);
    if (r->from)
        fclose(r->from);
}

/* ---- one benchmark ---- */
/* The network that nn_model_new has drawn, with its parameters in the order weight, bias, weight, bias, ... */
static void take_over(bare *net, nn_model *model)
{
    for (int l = 0; l < net->w->layers; l++) {
        size_t weights, biases;
        const float *weight = nn_param_values(model, 2 * l, &weights),
                    *bias = nn_param_values(model, 2 * l + 1, &biases);
        if (weights != net->w->widths[l] * net->w->widths[l + 1] || biases != net->w->widths[l + 1])
            exit(1);
        memcpy(net->weight[l], weight, weights * sizeof *weight);
        memcpy(net->bias[l], bias, biases * sizeof *bias);
    }
}

static void show(const char *name, const double *seconds, int rounds, int steps)
{
    double rate[BENCH_ROUNDS];
    for (int i = 0; i < rounds; i++)
        rate[i] = steps / seconds[i];
    printf("  %-12s %10.1f steps/s   (p10 %.1f)\n", name, bench_quantile(rate, rounds, 0.5),
           bench_quantile(rate, rounds, 0.1));
}

static void run(const work *w, int rounds)
{
    static double limn[BENCH_ROUNDS], loop[BENCH_ROUNDS], torch[BENCH_ROUNDS], peak[BENCH_ROUNDS];
    const char *settings[5] = { NULL };
    memcpy(settings, w->settings, sizeof w->settings);
    ad_error error = { 0 };
    nn_spec spec = { .features = w->widths[0], .parametrization = NN_STANDARD, .settings = settings };
    memcpy(spec.shape, w->shape, sizeof spec.shape);
    nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .optimizer = NN_SGD, .rate = w->rate };
    nn_net *net = nn_trace(nn_builtin(w->network), &spec, &error);
    nn_model *model = net ? nn_model_new(net, w->widths[1], 1, AD_FLOAT, 1, &error) : NULL;
    nn_trainer *trainer = model ? nn_trainer_new(model, &fit, w->batch, &error) : NULL;
    if (!trainer)
        bench_fail(&error);
    bool plain = strcmp(w->network, "mlp") == 0;
    bare other = { 0 };
    if (plain) {
        bare_open(&other, w);
        take_over(&other, model);
    }

    size_t inputs = w->batch * w->widths[0];
    double *normal = malloc(inputs * sizeof *normal);
    float *x = floats(BATCHES * inputs), *y = floats(BATCHES * w->batch);
    for (size_t b = 0; b < BATCHES && normal; b++) {
        ad_normal(1, ad_stream("inputs"), b * inputs, inputs, normal);
        for (size_t k = 0; k < inputs; k++)
            x[b * inputs + k] = (float)normal[k];
        for (size_t i = 0; i < w->batch; i++)
            y[b * w->batch + i] = (float)((i * 7 + b) % 10);
    }
    rival python;
    bool there = rival_open(&python, w);

    double ours = 0, theirs = 0;
    for (int round = -1; round < rounds; round++) { /* the first is to warm up */
        int at = round < 0 ? 0 : round, n = 512;
        double start = bench_seconds();
        for (int step = 0; step < w->steps; step++)
            if (nn_trainer_step(trainer, x + (size_t)(step % BATCHES) * inputs, y + (size_t)(step % BATCHES) * w->batch,
                                w->batch, &ours, &error) != 0)
                bench_fail(&error);
        limn[at] = bench_seconds() - start;
        start = bench_seconds();
        for (int step = 0; step < w->steps && plain; step++)
            theirs = bare_step(&other, x + (size_t)(step % BATCHES) * inputs, y + (size_t)(step % BATCHES) * w->batch);
        loop[at] = bench_seconds() - start;
        if (round < 0 && plain && !(fabs(ours - theirs) < 1e-3 * (1 + fabs(theirs)))) {
            fprintf(stderr, "bench: after %d steps limn's loss is %g, the bare loop's %g\n", w->steps, ours, theirs);
            exit(1);
        }
        torch[at] = there ? rival_train(&python, w->steps) : (double)NAN;
        float *a = floats((size_t)(n * n)), *c = floats((size_t)(n * n));
        start = bench_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, a, n, 0, c, n);
        peak[at] = bench_seconds() - start;
        free(a);
        free(c);
    }
    double products = 0;
    for (int l = 0; l < w->layers; l++)
        products += (l ? 6.0 : 4.0) * (double)(w->batch * w->widths[l] * w->widths[l + 1]) * w->steps;
    if (w->operations > 0)
        products = w->operations * w->steps;
    double fastest = 2 * pow(512, 3) / bench_quantile(peak, rounds, 0.1);
    printf("%s: %s %s, batch %zu, %d steps a round, %d rounds, one thread, float, loss %.4f\n", w->name, w->network,
           w->sizes, w->batch, w->steps, rounds, ours);
    show("limn", limn, rounds, w->steps);
    if (plain) {
        show("bare loop", loop, rounds, w->steps);
        bench_ratio("limn's time / the bare loop's", limn, loop, rounds);
    }
    if (there) {
        show("PyTorch", torch, rounds, w->steps);
        printf("  %-42s %s", "PyTorch's version", python.version);
        bench_ratio("limn's steps a second / PyTorch's", torch, limn, rounds);
    } else
        printf("  PyTorch is not installed (Debian: python3-torch)\n");
    printf("  %-42s %7.2f   of %.0f Gflop/s (sgemm, 512)\n", "limn's products / the machine's",
           products / bench_quantile(limn, rounds, 0.5) / fastest, fastest * 1e-9);
    rival_close(&python);
    free(normal);
    free(x);
    free(y);
    if (plain)
        bare_close(&other);
    nn_trainer_free(trainer);
    nn_model_free(model);
    nn_net_free(net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    openblas_set_num_threads(1);
    for (size_t k = 0; k < sizeof works / sizeof *works; k++)
        if (argc < 3 || strcmp(argv[2], works[k].name) == 0)
            run(&works[k], bench_rounds(argc, argv, 21));
    return 0;
}
