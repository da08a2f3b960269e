/* spectrum.c: spectra of Jacobians at full size: what a density and moments cost, and how far networks are.
 *
 *     build/bench/spectrum cost                 a density of 400 points by depth; ten moments by the executor
 *     build/bench/spectrum laws [WIDTH] [L]     Kolmogorov distances of four pooled networks (2000; 1, 4 and 16)
 *     build/bench/spectrum moments [WIDTH]      networks that share weights (4096 and its halves) beside the limit */
#include "limn.h"
#include "tests/support/jacobians.h"

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
    double start = ad_seconds();
    tp_spectrum_find(n->program, input, &spec, s, &error);
    stop_on(&error);
    return ad_seconds() - start;
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
static double distance(const network *n, const tp_spectrum *s, size_t width)
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
                    printf("%.4f\n", distance(&n, &s, width));
                else
                    printf("%s\n", s.method);
                fflush(stdout);
                tp_spectrum_free(&s);
                unmake(&n);
            }
}

/* ---- moments ---- */
/* Moments of one network. */
static void measure(const network *n, size_t width, uint64_t seed, double *moments)
{
    ad_error error = { 0 };
    double *values;
    size_t count;
    nn_model *model = nn_model_new(n->net, width, seed, AD_DOUBLE, 2, &error);
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

/* Mean deviation and one network's, relative to the limit, over widths. */
static void compare(network n, const char *what, size_t width)
{
    tp_spectrum s;
    solve(&n, (tp_spectrum_spec){ .moments = MOMENTS, .samples = 16384 }, &s);
    printf("%s: %s\n", what, s.method);
    for (size_t at = width / 16; at <= width; at *= 4) {
        int seeds = (int)(4 * width / at);
        double mean[MOMENTS] = { 0 }, squares[MOMENTS] = { 0 }, one[MOMENTS];
        for (int seed = 1; seed <= seeds; seed++) {
            measure(&n, at, (uint64_t)seed, one);
            for (int k = 0; k < MOMENTS; k++) {
                double off = one[k] / s.moments[k] - 1;
                mean[k] += off / seeds;
                squares[k] += off * off / seeds;
            }
        }
        printf("  n = %-5zu", at);
        for (int k = 0; k < MOMENTS; k++)
            printf("  m_%d mean off %+.4f ± %.4f, one %.4f (limit ± %.4f)", k + 1, mean[k],
                   sqrt(fmax(0, squares[k] - mean[k] * mean[k]) / (seeds - 1)), sqrt(squares[k]),
                   s.errors[k] / s.moments[k]);
        putchar('\n');
        fflush(stdout);
    }
    tp_spectrum_free(&s);
    unmake(&n);
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
        width = width ? width : 4096;
        compare(made(jacobian_tied, "tied", NULL), "tied", width);
        compare(made(jacobian_residual, "residual", NULL), "residual", width);
        compare(made(NULL, "rnn", (const char *const[]){ "phi=tanh", NULL }), "rnn", width);
        compare(made(NULL, "rnn", (const char *const[]){ "cell=lstm", NULL }), "lstm", width);
    } else {
        fputs("spectrum cost | laws [WIDTH] [L] | moments [WIDTH]\n", stderr);
        return 2;
    }
    return 0;
}
