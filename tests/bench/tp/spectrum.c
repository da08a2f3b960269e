/* spectrum.c: spectra of Jacobians at full size: what a density and moments cost, and how far networks are.
 *
 *     build/bench/spectrum cost                 a density of 400 points by depth; ten moments by the executor
 *     build/bench/spectrum laws [WIDTH] [L]     Kolmogorov distances of four pooled networks (2000; 1, 4 and 16)
 *     build/bench/spectrum moments [WIDTH] [NETWORK]   networks that share weights, or add (4096, and narrow)
 *     build/bench/spectrum decay [WIDTH]        correlations over depth beside depth scales (4096) */
#include "autodiff/trace/trace.h"
#include "limn.h"
#include "tests/bench/bench.h"
#include "tests/support/jacobians.h"
#include "tests/support/trials.h"
#include "tp/spectrum/inside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, SEEDS = 4, MOMENTS = 3 };
static double input[FEATURES];

typedef struct {
    nn_net *net;
    tp_program *program;
} network;

static void stop_on(const ad_error *error)
{
    if (!error->text[0])
        return;
    fprintf(stderr, "spectrum: %s\n", error->text);
    exit(1);
}

static network made(nn_function function, const char *name, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .settings = settings, .name = name };
    if (strcmp(name, "rnn") == 0)
        memcpy(spec.shape, (size_t[4]){ 8, 3 }, sizeof spec.shape);
    network n = { .net = nn_trace(function ? function : nn_builtin(name), &spec, &error) };
    stop_on(&error);
    n.program = tp_translate(n.net, &error);
    stop_on(&error);
    return n;
}

static void unmake(network *n)
{
    tp_program_free(n->program);
    nn_net_free(n->net);
}

static double solve(const network *n, tp_spectrum_spec spec, tp_spectrum *s)
{
    ad_error error = { 0 };
    double start = bench_seconds();
    tp_spectrum_find(n->program, input, &spec, s, &error);
    stop_on(&error);
    return bench_seconds() - start;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- what it costs ---- */
static void cost(void)
{
    const int layers[] = { 1, 4, 16, 64, 100 };
    puts("density of 400 points, tanh, sigma_w = 1.2: all of tp_spectrum_find, one thread");
    for (int i = 0; i < 5; i++) {
        char depth[30];
        snprintf(depth, sizeof depth, "depth=%d", layers[i] + 1);
        network n = made(NULL, "mlp", (const char *const[]){ "phi=tanh", "sigma_w=1.2", depth, NULL });
        tp_spectrum s;
        double best = INFINITY;
        for (int k = 0; k < 5; k++) {
            best = fmin(best, solve(&n, (tp_spectrum_spec){ 0 }, &s));
            if (k < 4)
                tp_spectrum_free(&s);
        }
        printf("  L = %-4d %7.1f ms  %zu points, %s\n", layers[i], 1e3 * best, s.points,
               s.has_law ? "whole" : s.method);
        tp_spectrum_free(&s);
        unmake(&n);
    }
    network n = made(NULL, "mlp", (const char *const[]){ "phi=tanh", NULL });
    tp_spectrum s;
    tp_spectrum_spec spec = { .moments = 10, .engine = TP_ENGINE_SAMPLE, .samples = 16384 };
    printf("10 moments of a tanh net of 3 layers by the executor, 8 runs of 16384 samples: %.2f s\n",
           solve(&n, spec, &s));
    tp_spectrum_free(&s);
    unmake(&n);
}

/* ---- laws ---- */
static double kolmogorov(const network *n, const tp_spectrum *s, size_t width)
{
    ad_error error = { 0 };
    double *all = ad_alloc(SEEDS * width, sizeof *all, "squares", &error);
    for (size_t seed = 0; seed < SEEDS && all; seed++) {
        double *values;
        size_t count;
        nn_model *model = nn_model_new(n->net, width, seed + 1, AD_DOUBLE, 1, &error);
        tp_jacobian_squares(n->program, model, input, NULL, NULL, &values, &count, &error);
        stop_on(&error);
        memcpy(all + seed * width, values, width * sizeof *values);
        ad_free(values);
        nn_model_free(model);
    }
    stop_on(&error);
    qsort(all, SEEDS * width, sizeof *all, ascending);
    double found = tp_spectrum_distance(s, all, SEEDS * width);
    ad_free(all);
    return found;
}

static void laws(size_t width, int only)
{
    const char *const phis[] = { "phi=tanh", "phi=erf", "phi=relu", "phi=hard_tanh" };
    const char *const weights[] = { "weights=gaussian", "weights=orthogonal" };
    const int layers[] = { 1, 4, 16 };
    printf("Kolmogorov distance of 4 pooled networks of width %zu\n", width);
    for (int i = 0; i < 3; i++)
        for (int p = 0; p < 4; p++)
            for (int w = 0; w < 2; w++) {
                char depth[30];
                tp_spectrum s;
                if (only && layers[i] != only)
                    continue;
                snprintf(depth, sizeof depth, "depth=%d", layers[i] + 1);
                network n = made(NULL, "mlp", (const char *const[]){ phis[p], weights[w], depth, NULL });
                solve(&n, (tp_spectrum_spec){ 0 }, &s);
                printf("  L = %-3d %-14s %-19s ", layers[i], phis[p], weights[w]);
                if (s.has_law)
                    printf("%.4f\n", kolmogorov(&n, &s, width));
                else
                    printf("%s\n", s.method);
                fflush(stdout);
                tp_spectrum_free(&s);
                unmake(&n);
            }
}

/* ---- moments ---- */
/* Moments of one network, by all singular values. */
static void measure(const network *n, size_t width, uint64_t seed, double *moments)
{
    ad_error error = { 0 };
    double *values;
    size_t count;
    nn_model *model = nn_model_new(n->net, width, seed, AD_DOUBLE, 1, &error);
    tp_jacobian_squares(n->program, model, input, NULL, NULL, &values, &count, &error);
    stop_on(&error);
    for (int k = 0; k < MOMENTS; k++) {
        moments[k] = 0;
        for (size_t i = 0; i < count; i++)
            moments[k] += pow(values[i], k + 1) / (double)count;
    }
    ad_free(values);
    nn_model_free(model);
}

/* The same, up to chance, by products of J with one random vector. */
static void probe(const network *n, const ad_var *vectors, size_t width, uint64_t seed, double *moments)
{
    ad_error error = { 0 };
    nn_model *model = nn_model_new(n->net, width, seed, AD_DOUBLE, 1, &error);
    double *values = ad_alloc(width, sizeof *values, "a vector", &error);
    stop_on(&error);
    for (int k = 0; k < MOMENTS; k++) {
        nn_activations(model, vectors[k], input, 1, values, &error);
        stop_on(&error);
        moments[k] = 0;
        for (size_t i = 0; i < width; i++)
            moments[k] += values[i] * values[i] / (double)width;
    }
    ad_free(values);
    nn_model_free(model);
}

/* The parameter of this name. */
static ad_var parameter(const network *n, const char *name)
{
    ad_graph *graph = nn_graph(n->net);
    for (int id = ad_graph_size(graph) - 1; id >= 0; id--) {
        const ad_node *node = ad_node_of(graph, id);
        if (node->op == AD_PARAM && strncmp(node->name, name, strlen(name)) == 0)
            return (ad_var){ graph, id };
    }
    fprintf(stderr, "spectrum: no %s\n", name);
    exit(1);
}

/* The vectors whose mean squares are moments; their direction is the readout's, which J does not know. */
static void make_vectors(const network *n, ad_var *vectors)
{
    ad_error error = { 0 };
    tp_vectors between;
    tp_find_vectors(n->program, NULL, NULL, &between, &error);
    tp_jacobian_vectors(n->program, &between, MOMENTS, vectors, &error);
    stop_on(&error);
    ad_var direction = parameter(n, "a direction"), readout = parameter(n, "readout.weight");
    const ad_shape *shape = ad_shape_get(readout), *wanted = ad_shape_get(direction);
    for (int i = 0; i < shape->rank; i++)
        if (!ad_has(wanted, shape->axes[i]))
            readout = ad_sum(readout, (ad_shape){ .rank = 1, .axes = { shape->axes[i] } });
    for (int k = 0; k < MOMENTS; k++)
        vectors[k] = ad_replace(vectors[k], &direction, &readout, 1);
}

typedef struct {
    double mean[MOMENTS], error[MOMENTS], one[MOMENTS]; /* relative to the limit */
} deviation;

static void add(deviation *d, const tp_spectrum *s, const double *moments, int seed)
{
    for (int k = 0; k < MOMENTS; k++) {
        double off = moments[k] / s->moments[k] - 1;
        d->mean[k] += (off - d->mean[k]) / seed;
        d->one[k] += (off * off - d->one[k]) / seed;
        d->error[k] = sqrt(fmax(0, d->one[k] - d->mean[k] * d->mean[k]) / fmax(1, seed - 1));
    }
}

static double slope(const double *x, const double *y, int n)
{
    double sx = 0, sy = 0, xx = 0, xy = 0;
    for (int i = 0; i < n; i++) {
        sx += x[i];
        sy += y[i];
        xx += x[i] * x[i];
        xy += x[i] * y[i];
    }
    return (n * xy - sx * sy) / (n * xx - sx * sx);
}

/* At `width` how many of their errors networks' means are off; from the width `narrowest` on how fast that falls. A
 * mean is a fifth of one network's deviation at any width, and takes thousands of networks to see: `networks` there. */
static void compare(network n, const char *what, size_t width, size_t narrowest, int networks)
{
    enum { WIDTHS = 4, PROBES = 32 };
    const int counts[WIDTHS] = { networks, networks / 2, networks / 8, networks / 32 };
    tp_spectrum s;
    ad_var vectors[MOMENTS];
    deviation wide = { 0 }, narrow[WIDTHS] = { 0 };
    double one[MOMENTS], logs[WIDTHS], means[WIDTHS], errors[WIDTHS], ones[WIDTHS];
    solve(&n, (tp_spectrum_spec){ .moments = MOMENTS, .samples = 16384 }, &s);
    printf("%s: %s\n", what, s.method);
    for (int i = 0; i < WIDTHS; i++) {
        size_t at = narrowest << i;
        logs[i] = log((double)at);
        for (int seed = 1; seed <= counts[i]; seed++) {
            measure(&n, at, (uint64_t)seed, one);
            add(&narrow[i], &s, one, seed);
        }
    }
    make_vectors(&n, vectors);
    for (int seed = 1; seed <= PROBES; seed++) {
        probe(&n, vectors, width, (uint64_t)seed, one);
        add(&wide, &s, one, seed);
    }
    for (int k = 0; k < MOMENTS; k++) {
        double limit = s.errors[k] / s.moments[k];
        printf("  m_%d %.6g: n = %zu %+.4f ± %.4f of it, limit ± %.4f, %.1f errors", k + 1, s.moments[k], width,
               wide.mean[k], wide.error[k], limit, fabs(wide.mean[k]) / hypot(wide.error[k], limit));
        for (int i = 0; i < WIDTHS; i++) {
            printf("; n = %zu %+.4f ± %.4f, one %.3f", narrowest << i, narrow[i].mean[k], narrow[i].error[k],
                   sqrt(narrow[i].one[k]));
            means[i] = log(fabs(narrow[i].mean[k]));
            errors[i] = hypot(narrow[i].error[k], limit) / fabs(narrow[i].mean[k]);
            ones[i] = log(narrow[i].one[k]) / 2;
        }
        trial of_means = trial_slope(WIDTHS, logs, means, errors); /* each width weighed by its relative error */
        printf("; slopes: mean %.2f ± %.2f, one network %.2f\n", of_means.mean, of_means.squares,
               slope(logs, ones, WIDTHS));
    }
    fflush(stdout);
    tp_spectrum_free(&s);
    unmake(&n);
}

/* only: a name, or "" for all. */
static void moments(size_t width, const char *only)
{
    static const struct {
        const char *what;
        nn_function function;
        const char *name, *settings[3];
        size_t narrowest;
        int networks;
    } networks[] = { { "tied", jacobian_tied, "tied", { NULL }, 64, 32000 },
                     { "residual", jacobian_residual, "residual", { NULL }, 32, 16000 },
                     { "rnn", NULL, "rnn", { "phi=tanh", NULL }, 128, 8000 },
                     { "lstm", NULL, "rnn", { "cell=lstm", "sigma_w=1.5", NULL }, 32, 16000 } };
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (!only[0] || strcmp(only, networks[i].what) == 0)
            compare(made(networks[i].function, networks[i].name, networks[i].settings), networks[i].what, width,
                    networks[i].narrowest, networks[i].networks);
}

/* ---- depth scales ---- */
/* Correlations of two inputs over the layers of a network of this width, tanh, each row of weights drawn when it is
 * used. */
static void propagate(size_t width, int layers, uint64_t seed, double sigma_w, double sigma_b, double q, double *c)
{
    ad_error error = { 0 };
    double *memory = ad_alloc(5 * width, sizeof *memory, "signals", &error), norm[3];
    stop_on(&error);
    double *row = memory, *h[2] = { memory + width, memory + 2 * width },
           *next[2] = { memory + 3 * width, memory + 4 * width };
    double start = c[0];
    ad_normal(seed, ad_stream("signals"), 0, 2 * width, h[0]);
    for (size_t i = 0; i < width; i++) {
        h[1][i] = sqrt(q) * (start * h[0][i] + sqrt(1 - start * start) * h[1][i]);
        h[0][i] *= sqrt(q);
    }
    for (int l = 0; l < layers; l++) {
        memset(norm, 0, sizeof norm);
        for (size_t i = 0; i < width; i++) {
            norm[0] += h[0][i] * h[0][i];
            norm[1] += h[0][i] * h[1][i];
            norm[2] += h[1][i] * h[1][i];
        }
        c[l] += norm[1] / sqrt(norm[0] * norm[2]) - (l ? 0 : start);
        for (size_t i = 0; i < 2 * width; i++)
            h[0][i] = tanh(h[0][i]);
        for (size_t i = 0; i < width; i++) {
            double bias, sum[2] = { 0 };
            ad_normal(seed + (uint64_t)l, ad_stream("weights"), i * width, width, row);
            ad_normal(seed + (uint64_t)l, ad_stream("biases"), i, 1, &bias);
            for (size_t j = 0; j < width; j++) {
                sum[0] += row[j] * h[0][j];
                sum[1] += row[j] * h[1][j];
            }
            for (int k = 0; k < 2; k++)
                next[k][i] = sigma_w / sqrt((double)width) * sum[k] + sigma_b * bias;
        }
        for (int k = 0; k < 2; k++) {
            double *swap = h[k];
            h[k] = next[k];
            next[k] = swap;
        }
    }
    ad_free(memory);
}

enum { LAYERS = 8, NETWORKS = 16 };

/* The limit's correlations over the same layers, which come to their exponential decay only near the fixed point. */
static void limit_correlations(const tp_critical *at, double *c)
{
    tp_univariate f = tp_univariate_op(AD_TANH, 0);
    ad_error error = { 0 };
    for (int l = 0; l + 1 < LAYERS; l++) {
        double mean;
        tp_quadrature(&f, &f, at->q, at->q, c[l] * at->q, &mean, NULL, &error);
        stop_on(&error);
        c[l + 1] = (at->sigma_w * at->sigma_w * mean + at->sigma_b * at->sigma_b) / at->q;
    }
}

/* -1 / slope of log |c_l - c*| from the first layer on. */
static double decay_length(const double *c, double fixed)
{
    double x[LAYERS], y[LAYERS];
    for (int l = 0; l < LAYERS; l++) {
        x[l] = l;
        y[l] = log(fabs(c[l] - fixed));
    }
    return -1 / slope(x + 1, y + 1, LAYERS - 1);
}

/* Of the mean over all networks, and its standard error by leaving one out (the jackknife). */
static double measured_length(double (*one)[LAYERS], double fixed, double *error)
{
    double left[NETWORKS], mean[LAYERS], all = 0, sum = 0;
    for (int without = -1; without < NETWORKS; without++) {
        memset(mean, 0, sizeof mean);
        for (int k = 0; k < NETWORKS; k++)
            for (int l = 0; l < LAYERS && k != without; l++)
                mean[l] += one[k][l] / (without < 0 ? NETWORKS : NETWORKS - 1);
        double length = decay_length(mean, fixed);
        if (without < 0)
            all = length;
        else
            left[without] = length;
    }
    for (int k = 0; k < NETWORKS; k++)
        sum += (left[k] - all) * (left[k] - all);
    *error = sqrt(sum * (NETWORKS - 1) / NETWORKS);
    return all;
}

static void decay(size_t width)
{
    const char *const cases[2][2] = { { "sigma_w=1.2", "sigma_b=0.3" }, { "sigma_w=2.5", "sigma_b=0.3" } };
    printf("decay of correlations of tanh networks of width %zu, %d of them, over %d layers\n", width, NETWORKS,
           LAYERS);
    for (int k = 0; k < 2; k++) {
        network n = made(NULL, "mlp", (const char *const[]){ "phi=tanh", cases[k][0], cases[k][1], NULL });
        tp_critical at;
        ad_error error = { 0 };
        double limit[LAYERS] = { 0 }, one[NETWORKS][LAYERS] = { { 0 } }, spread;
        tp_critical_find(n.program, input, &at, &error);
        stop_on(&error);
        limit[0] = at.correlation < 1 ? at.correlation + 0.3 * (1 - at.correlation) : 0.9;
        limit_correlations(&at, limit);
        for (uint64_t seed = 0; seed < NETWORKS; seed++) {
            one[seed][0] = limit[0];
            propagate(width, LAYERS, 100 * (seed + 1), at.sigma_w, at.sigma_b, at.q, one[seed]);
        }
        double measured = measured_length(one, at.correlation, &spread);
        printf("  %s %s: xi_c %.3f; over these layers the limit %.3f, measured %.3f ± %.3f\n", cases[k][0], cases[k][1],
               at.correlation_length, decay_length(limit, at.correlation), measured, spread);
        fflush(stdout);
        unmake(&n);
    }
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    for (int i = 0; i < FEATURES; i++)
        input[i] = cos(1.3 * i);
    const char *what = argc > 1 ? argv[1] : "cost";
    size_t width = argc > 2 ? (size_t)atol(argv[2]) : 0;
    if (strcmp(what, "cost") == 0) {
        cost();
    } else if (strcmp(what, "laws") == 0) {
        laws(width ? width : 2000, argc > 3 ? atoi(argv[3]) : 0);
    } else if (strcmp(what, "moments") == 0) {
        moments(width ? width : 4096, argc > 3 ? argv[3] : "");
    } else if (strcmp(what, "decay") == 0) {
        decay(width ? width : 4096);
    } else {
        fputs("spectrum cost | laws [WIDTH] [L] | moments [WIDTH] [NETWORK] | decay [WIDTH]\n", stderr);
        return 2;
    }
    return 0;
}
