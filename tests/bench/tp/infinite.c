/* infinite.c: training at n = infinity beside networks: their mean outputs after the same steps, in pairs that start
 * with readouts of opposite signs, and how far both are apart in their standard errors.
 *
 *     build/bench/infinite [CASE [SAMPLES [RUNS [WIDTH [NETS [SEED]]]]]]
 *
 * NETS counts networks; 0 leaves them out. CASE is a name's beginning, or all. */
#include "limn.h"
#include "tests/bench/bench.h"
#include "tests/support/networks.h"

#include <math.h>
#include <string.h>

enum { ROWS = 8, FEATURES = 6, STEPS = 20, MOST = 32 };

/* ---- networks ---- */
static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int b = 1; b <= 3; b++)
        h = ad_add(h, nn_dense(net, nn_name(net, "block%d", b), ad_gelu(h), n));
    return nn_readout(net, "readout", ad_tanh(h));
}

static ad_var frozen(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "dense1", x, n));
    nn_freeze(net, "readout");
    return nn_readout(net, "readout", ad_tanh(nn_dense(net, "dense2", h, n)));
}

/* A readout and a matrix of one vector, and gates: products of vectors. */
static ad_var gated(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "dense1", x, n));
    ad_var gate = ad_sigmoid(nn_dense(net, "gate", h, n)), next = ad_swish(nn_dense(net, "dense2", h, n));
    ad_var mixed = ad_add(ad_mul(gate, next), h);
    return ad_add(nn_readout(net, "readout", mixed), nn_readout(net, "skip", h));
}

typedef struct {
    const char *name;
    nn_function function; /* NULL: builtin */
    const char *builtin;
    const char *settings[5];
    size_t time, features, outputs;
    nn_parametrization scale;
    nn_fit_spec fit;
} problem;

#define MLP NULL, "mlp", { "phi=tanh", "depth=2", "sigma_w=1" }, 0, FEATURES
static const problem problems[] = {
    { "mlp", MLP, 1, NN_MUP, { .rate = 0.3 } },
    { "rnn last", NULL, "rnn", { "phi=tanh" }, 3, 4, 1, NN_MUP, { .rate = 0.4 } },
    { "rnn mean", NULL, "rnn", { "phi=tanh", "readout=mean" }, 4, 4, 1, NN_MUP, { .rate = 1 } },
    { "gru", NULL, "rnn", { "cell=gru" }, 3, 4, 1, NN_MUP, { .rate = 1 } },
    { "lstm", NULL, "rnn", { "cell=lstm" }, 3, 4, 1, NN_MUP, { .rate = 1 } },
    { "residual", residual, NULL, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = 0.15 } },
    { "layernorm", network_normalised, NULL, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = 0.4 } },
    { "embedding", network_embedded, NULL, { NULL }, 0, 1, 1, NN_MUP, { .rate = 0.4 } },
    { "tied", network_tied, NULL, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = 0.2 } },
    { "frozen", frozen, NULL, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = 0.6 } },
    { "gated", gated, NULL, { NULL }, 0, FEATURES, 1, NN_MUP, { .rate = 0.3 } },
    { "deep", NULL, "mlp", { "phi=erf", "depth=6", "sigma_b=0.2" }, 0, FEATURES, 1, NN_MUP, { .rate = 0.1 } },
    { "relu", NULL, "mlp", { "phi=relu", "depth=3" }, 0, FEATURES, 1, NN_MUP, { .rate = 0.2 } },
    { "mean field", NULL, "mlp", { "phi=tanh", "depth=1" }, 0, FEATURES, 1, NN_MEANFIELD, { .rate = 0.4 } },
    { "cross-entropy", MLP, 3, NN_MUP, { .rate = 1, .loss = NN_CROSS_ENTROPY } },
    { "batches", MLP, 1, NN_MUP, { .rate = 0.3, .batch = 3, .seed = 7 } },
    { "momentum", MLP, 1, NN_MUP, { .rate = 0.05, .optimizer = NN_MOMENTUM } },
    { "decay", MLP, 1, NN_MUP, { .rate = 0.3, .weight_decay = 0.1 } },
};

static void fill(const problem *p, double *x, double *y)
{
    size_t width = p->features * (p->time ? p->time : 1);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t k = 0; k < width; k++) {
            double t = (double)(k / p->features), j = (double)(k % p->features), row = (double)i;
            x[i * width + k] = p->features == 1 ? (double)(i % 3) : sin(1 + 3 * row + 5 * t + 0.7 * j * (row + 1));
        }
    for (size_t i = 0; i < ROWS; i++)
        y[i] = p->outputs > 1 ? (double)(i % p->outputs) : sin(2 * (double)i);
}

/* ---- both sides ---- */
typedef struct {
    const problem *p;
    nn_net *net;
    tp_program *program;
    nn_fit_spec fit;
    size_t count; /* of outputs */
    double x[ROWS * 16], y[ROWS];
    ad_error error;
} comparison;

static void open_comparison(const problem *p, comparison *c)
{
    *c = (comparison){ .p = p, .fit = p->fit, .count = ROWS * p->outputs };
    c->fit.steps = STEPS;
    fill(p, c->x, c->y);
    nn_spec spec = { .features = p->features,
                     .outputs = p->outputs,
                     .parametrization = p->scale,
                     .settings = (const char *const *)p->settings };
    if (p->time) {
        spec.shape[0] = p->time;
        spec.shape[1] = p->features;
        spec.features = p->time * p->features;
    }
    c->net = nn_trace(p->function ? p->function : nn_builtin(p->builtin), &spec, &c->error);
    c->program = c->net ? tp_translate(c->net, &c->error) : NULL;
    if (!c->program)
        bench_fail(&c->error);
}

static void close_comparison(comparison *c)
{
    tp_program_free(c->program);
    nn_net_free(c->net);
}

/* A network's outputs after the steps; `turned`: its readouts start with the other sign. */
static void train_network(comparison *c, size_t width, uint64_t seed, bool turned, double *f)
{
    nn_data data = { c->x, c->y, ROWS, c->p->outputs > 1 ? c->p->outputs : 0 };
    nn_model *model = nn_model_new(c->net, width, seed, AD_FLOAT, 1, &c->error);
    if (!model)
        bench_fail(&c->error);
    for (int k = 0; k < nn_n_params(c->net) && turned; k++) {
        size_t count;
        float *values = nn_param_values(model, k, &count);
        for (size_t i = 0; i < count && ad_has(ad_shape_get(nn_param(c->net, k)), nn_outputs(c->net)); i++)
            values[i] = -values[i];
    }
    if (nn_fit(model, &data, &c->fit, NULL, &c->error) || nn_forward(model, c->x, ROWS, f, &c->error))
        bench_fail(&c->error);
    nn_model_free(model);
}

/* The mean outputs of pairs of networks, and its standard error. */
static void train_pairs(comparison *c, size_t width, int pairs, uint64_t seed, double *mean, double *error)
{
    for (size_t i = 0; i < c->count; i++)
        mean[i] = error[i] = 0;
    for (int k = 0; k < pairs; k++) {
        double f[2][MOST];
        train_network(c, width, seed + (uint64_t)k, false, f[0]);
        train_network(c, width, seed + (uint64_t)k, true, f[1]);
        for (size_t i = 0; i < c->count; i++) {
            double value = (f[0][i] + f[1][i]) / 2, off = value - mean[i];
            mean[i] += off / (k + 1);
            error[i] += off * (value - mean[i]);
        }
    }
    for (size_t i = 0; i < c->count; i++)
        error[i] = sqrt(error[i] / (pairs - 1) / pairs);
}

static double rms(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (a[i] - (b ? b[i] : 0)) * (a[i] - (b ? b[i] : 0)) / (double)n;
    return sqrt(sum);
}

static void compare(const problem *p, size_t samples, int runs, size_t width, int nets, uint64_t seed)
{
    comparison c;
    tp_trained run;
    double mean[MOST], error[MOST], farthest = 0, beyond = 0;
    open_comparison(p, &c);
    c.fit.seed += seed;
    nn_data data = { c.x, c.y, ROWS, p->outputs > 1 ? p->outputs : 0 };
    tp_train_spec spec = { .fit = c.fit, .samples = samples, .runs = runs, .probes = ROWS, .tolerance = 1e-3 };
    double start = bench_seconds();
    if (tp_train(c.program, &data, NULL, &spec, &run, &c.error))
        bench_fail(&c.error);
    double middle = bench_seconds();
    const tp_trained_row *last = &run.rows[run.n_rows - 1];
    printf("%-14s f %.3g, stated error %.2g, kernel moved %.2f, %.1f s", p->name, rms(last->f, NULL, c.count),
           rms(last->f_error, NULL, c.count), nn_distance(last->kernel, run.rows[0].kernel, ROWS), middle - start);
    if (nets >= 4) {
        train_pairs(&c, width, nets / 2, 1000 * seed + 17, mean, error);
        for (size_t i = 0; i < c.count; i++) {
            double z = fabs(last->f[i] - mean[i]) / hypot(error[i], last->f_error[i]);
            farthest = fmax(farthest, z);
            beyond += z > 3;
        }
        printf("; n = %zu: %d networks, error %.2g, off by %.2g, z at most %.2f, %g of %zu beyond 3, %.1f s", width,
               nets, rms(error, NULL, c.count), rms(mean, last->f, c.count), farthest, beyond, c.count,
               bench_seconds() - middle);
    }
    puts("");
    fflush(stdout);
    tp_trained_free(&run);
    close_comparison(&c);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    const char *name = argc > 1 && strcmp(argv[1], "all") ? argv[1] : "";
    long numbers[] = { 4096, 8, 1024, 32, 1 };
    for (int k = 2; k < argc && k < 7; k++)
        numbers[k - 2] = strtol(argv[k], NULL, 10);
    for (size_t k = 0; k < sizeof problems / sizeof *problems; k++)
        if (!strncmp(problems[k].name, name, strlen(name)))
            compare(&problems[k], (size_t)numbers[0], (int)numbers[1], (size_t)numbers[2], (int)numbers[3],
                    (uint64_t)numbers[4]);
    return 0;
}
