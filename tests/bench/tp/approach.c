/* approach.c: how networks of the NTK scale come to what is said of infinite width, as slopes over the width: THEORY
 * section 5 (Lee et al., arXiv:1902.06720, theorem 2.1) has n^-1/2 for a trained network's outputs against the run at
 * n = infinity from its own outputs at the start, and n^-1 against descent by its own kernel.
 *
 * For smooth functions, that is: with kinks, units that change their side leave n^-3/4 of the latter at large widths,
 * and a slope from -1 to -3/4 below.
 *
 *     build/bench/approach [CASE [NETS [WIDEST [SEED]]]]
 *
 * NETS networks at each of the widths WIDEST / 16, WIDEST / 8 ... WIDEST. CASE is a name's beginning, or all. */
#include "autodiff/base.h"
#include "limn.h"
#include "tests/bench/bench.h"

#include <math.h>
#include <string.h>

enum { ROWS = 8, STEPS = 20, WIDTHS = 5, FEATURES = 18, MOST_NETS = 4096 };

/* ---- networks ---- */
static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int b = 1; b <= 2; b++)
        h = ad_add(
            h, nn_dense(net, nn_name(net, "block%d", b), ad_gelu(nn_layernorm(net, nn_name(net, "norm%d", b), h)), n));
    return nn_readout(net, "readout", ad_tanh(h));
}

static const struct problem {
    const char *name;
    nn_function function; /* NULL: builtin */
    const char *builtin, *settings[4];
    size_t time, features;
    double rate;
    bool kinks;
} problems[] = {
    { "mlp, tanh", NULL, "mlp", { "phi=tanh", "depth=2" }, 0, 6, 0.5, false },
    { "mlp, relu", NULL, "mlp", { "phi=relu", "depth=2" }, 0, 6, 0.5, true },
    { "rnn", NULL, "rnn", { "phi=tanh" }, 3, 6, 0.3, false },
    { "gru", NULL, "rnn", { "cell=gru" }, 3, 6, 0.5, false },
    { "residual, layernorm", normalised, NULL, { NULL }, 0, 6, 0.2, false },
};

typedef struct {
    const struct problem *p;
    nn_net *net;
    tp_program *program;
    nn_fit_spec fit;
    double x[ROWS * FEATURES], y[ROWS];
    ad_error error;
} setup;

static void open_problem(const struct problem *p, setup *s)
{
    size_t width = p->features * (p->time ? p->time : 1);
    *s = (setup){ .p = p, .fit = { .rate = p->rate, .steps = STEPS } };
    for (size_t i = 0; i < ROWS * width; i++)
        s->x[i] = sin(1 + 3 * (double)(i / width) + 0.7 * (double)(i % width) * (double)(i / width + 1));
    for (int i = 0; i < ROWS; i++)
        s->y[i] = sin(2 * i);
    nn_spec spec = { .features = width, .settings = (const char *const *)p->settings, .parametrization = NN_NTK };
    if (p->time) {
        spec.shape[0] = p->time;
        spec.shape[1] = p->features;
    }
    s->net = nn_trace(p->function ? p->function : nn_builtin(p->builtin), &spec, &s->error);
    if (!(s->program = s->net ? tp_translate(s->net, &s->error) : NULL))
        bench_fail(&s->error);
}

/* Gradient descent on the square loss by a constant kernel, from f. */
static void descend(const setup *s, const double *kernel, double *f)
{
    for (long step = 0; step < s->fit.steps; step++) {
        double slope[ROWS];
        for (int i = 0; i < ROWS; i++)
            slope[i] = (f[i] - s->y[i]) / ROWS;
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++)
                f[i] -= s->fit.rate * kernel[i * ROWS + j] * slope[j];
    }
}

static double log_distance(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < ROWS; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]) / ROWS;
    return log(sum) / 2;
}

enum { RUN, OWN_KERNEL, DISTANCES };
static const char *const names[DISTANCES] = { "the run at n = infinity", "descent by its own kernel" };
static const char *const theory[DISTANCES] = { "-1/2", "-1" }, *const with_kinks = "-1 to -3/4";

/* The logs of how far a trained network's outputs are from both. */
static void measure(setup *s, size_t width, uint64_t seed, double *logs)
{
    tp_trained run;
    double f[ROWS], own[ROWS], kernel[ROWS * ROWS];
    nn_data data = { .x = s->x, .y = s->y, .rows = ROWS };
    nn_model *model = nn_model_new(s->net, width, seed, AD_DOUBLE, 1, &s->error);
    tp_train_spec spec = { .fit = s->fit, .start = own };
    if (!model || nn_forward(model, s->x, ROWS, own, &s->error) ||
        nn_ntk(model, s->x, ROWS, NULL, 0, NN_MEAN, kernel, &s->error) ||
        nn_fit(model, &data, &s->fit, NULL, &s->error) || nn_forward(model, s->x, ROWS, f, &s->error) ||
        tp_train(s->program, &data, NULL, &spec, &run, &s->error))
        bench_fail(&s->error);
    logs[RUN] = log_distance(f, run.rows[run.n_rows - 1].f);
    descend(s, kernel, own);
    logs[OWN_KERNEL] = log_distance(f, own);
    tp_trained_free(&run);
    nn_model_free(model);
}

/* ---- slopes ---- */
/* Least squares over all networks, with Student's 95 % interval. */
static void tell(const char *name, const char *expected, const size_t *widths, double (*logs)[MOST_NETS], int nets)
{
    double m = (double)nets * WIDTHS, x = 0, y = 0, xx = 0, xy = 0, rest = 0;
    for (int k = 0; k < WIDTHS; k++)
        for (int i = 0; i < nets; i++) {
            x += log((double)widths[k]) / m;
            y += logs[k][i] / m;
        }
    for (int k = 0; k < WIDTHS; k++)
        for (int i = 0; i < nets; i++) {
            xx += pow(log((double)widths[k]) - x, 2);
            xy += (log((double)widths[k]) - x) * (logs[k][i] - y);
        }
    for (int k = 0; k < WIDTHS; k++)
        for (int i = 0; i < nets; i++)
            rest += pow(logs[k][i] - y - xy / xx * (log((double)widths[k]) - x), 2);
    double half = ad_student(0.05, (int)m - 2) * sqrt(rest / (m - 2) / xx);
    printf("  f - %-26s slope %.3f [%.3f, %.3f], theory %s; in the mean", name, xy / xx, xy / xx - half, xy / xx + half,
           expected);
    for (int k = 0; k < WIDTHS; k++) {
        double mean = 0;
        for (int i = 0; i < nets; i++)
            mean += logs[k][i] / nets;
        printf(" %.2g", exp(mean));
    }
    puts("");
}

static void compare(const struct problem *p, int nets, size_t widest, uint64_t seed)
{
    static double logs[DISTANCES][WIDTHS][MOST_NETS];
    size_t widths[WIDTHS];
    setup s;
    open_problem(p, &s);
    for (int k = 0; k < WIDTHS; k++) {
        widths[k] = widest >> (WIDTHS - 1 - k);
        for (int i = 0; i < nets; i++) {
            double one[DISTANCES];
            measure(&s, widths[k], seed + (uint64_t)(k * nets + i), one);
            for (int d = 0; d < DISTANCES; d++)
                logs[d][k][i] = one[d];
        }
    }
    printf("%s, NTK scale, %d steps: %d networks at n = %zu ... %zu\n", p->name, STEPS, nets, widths[0], widest);
    for (int d = 0; d < DISTANCES; d++)
        tell(names[d], d == OWN_KERNEL && p->kinks ? with_kinks : theory[d], widths, logs[d], nets);
    fflush(stdout);
    tp_program_free(s.program);
    nn_net_free(s.net);
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    const char *name = argc > 1 && strcmp(argv[1], "all") ? argv[1] : "";
    long numbers[] = { 32, 2048, 1 };
    for (int k = 2; k < argc && k < 5; k++)
        numbers[k - 2] = strtol(argv[k], NULL, 10);
    if (numbers[0] < 2 || numbers[0] > MOST_NETS || numbers[1] < 1 << WIDTHS)
        return fprintf(stderr, "approach: 2 to %d networks, and a width of %d or more\n", MOST_NETS, 1 << WIDTHS), 2;
    for (size_t k = 0; k < sizeof problems / sizeof *problems; k++)
        if (!strncmp(problems[k].name, name, strlen(name)))
            compare(&problems[k], (int)numbers[0], (size_t)numbers[1], (uint64_t)numbers[2]);
    return 0;
}
