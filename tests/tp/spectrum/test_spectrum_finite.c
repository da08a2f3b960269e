/* Limits of Jacobians' spectra beside those of finite networks: distribution functions of chains, moments of networks
 * that share weights, and that the executor and the exact ways agree. */
#include "limn.h"
#include "tests/support/jacobians.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 24, MOST = 8 };
static double input[FEATURES];

/* Widths that differ. */
static ad_var narrowing(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), half = nn_width_ratio(net, "half", 0.5), wide = nn_width_ratio(net, "wide", 1.5);
    ad_var h = ad_tanh(nn_dense(net, "first", x, n));
    h = ad_relu(nn_dense(net, "second", h, half));
    return nn_readout(net, "readout", ad_tanh(nn_dense(net, "third", h, wide)));
}

/* h sigmoid(2h) = swish(2h)/2, by hand and by the table. */
static ad_var by_hand(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n);
    h = nn_dense_with(net, "second", ad_mul(h, ad_sigmoid(ad_scale(h, 2))), n, .sigma_w = 1.7);
    return nn_readout(net, "readout", ad_mul(h, ad_sigmoid(ad_scale(h, 2))));
}

/* h / (1 + h^2), its 1 spread over the width by hand. */
static ad_var by_constant(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n), one = ad_constant(nn_graph(net), 1, *ad_shape_get(h));
    h = nn_dense(net, "second", ad_div(h, ad_add(ad_square(h), one)), n);
    return nn_readout(net, "readout", ad_tanh(h));
}

static ad_var by_table(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n);
    h = nn_dense_with(net, "second", ad_scale(ad_swish(ad_scale(h, 2)), 0.5), n, .sigma_w = 1.7);
    return nn_readout(net, "readout", ad_scale(ad_swish(ad_scale(h, 2)), 0.5));
}

static nn_net *traced(nn_function function, const char *name, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .settings = settings, .name = name };
    if (strcmp(name, "rnn") == 0)
        memcpy(spec.shape, (size_t[4]){ 8, 3 }, sizeof spec.shape);
    for (int i = 0; i < FEATURES; i++)
        input[i] = cos(1.3 * i);
    nn_net *net = nn_trace(function ? function : nn_builtin(name), &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static void solve(tp_program *program, tp_spectrum_spec spec, tp_spectrum *s)
{
    ad_error error = { 0 };
    cr_assert_eq(tp_spectrum_find(program, input, &spec, s, &error), 0, "%s", error.text);
}

/* Moments of `seeds` networks at width n: their means, and standard errors of these. */
static void measure(nn_net *net, tp_program *program, size_t n, int seeds, int count, double *mean, double *error)
{
    double squares[MOST] = { 0 };
    ad_error failure = { 0 };
    memset(mean, 0, (size_t)count * sizeof *mean);
    for (int seed = 1; seed <= seeds; seed++) {
        double *values;
        size_t size;
        nn_model *model = nn_model_new(net, n, (uint64_t)seed, AD_DOUBLE, 1, &failure);
        cr_assert_eq(tp_jacobian_squares(program, model, input, NULL, NULL, &values, &size, &failure), 0, "%s",
                     failure.text);
        for (int k = 0; k < count; k++) {
            double moment = 0;
            for (size_t i = 0; i < size; i++)
                moment += pow(values[i], k + 1) / (double)size;
            mean[k] += moment / seeds;
            squares[k] += moment * moment / seeds;
        }
        ad_free(values);
        nn_model_free(model);
    }
    for (int k = 0; k < count; k++)
        error[k] = sqrt(fmax(0, squares[k] - mean[k] * mean[k]) / (seeds - 1));
}

/* A function that takes h and 2h, whose 1/sqrt(n) are two factors of one product, is one of h: a chain with a density,
 * whose preactivations are h; by the table both are 2h. */
Test(spectrum_finite, functions_of_scaled_arguments)
{
    nn_function functions[2] = { by_hand, by_table };
    tp_spectrum s[3];
    for (int i = 0; i < 3; i++) {
        nn_net *net = traced(functions[i / 2], "own", NULL);
        ad_error error = { 0 };
        tp_program *program = tp_translate(net, &error);
        cr_assert(program, "%s", error.text);
        solve(program, i == 1 ? (tp_spectrum_spec){ .from = "h1", .to = "h2" } : (tp_spectrum_spec){ 0 }, &s[i]);
        cr_assert(s[i].has_law, "%s", s[i].method);
        for (int k = 0; k < 4; k++)
            cr_assert(fabs(s[i].moments[k] / s[0].moments[k] - 1) < 1e-12, "%d: %.17g for %.17g", i, s[i].moments[k],
                      s[0].moments[k]);
        cr_assert(fabs(s[i].log_support[1] - s[0].log_support[1]) < 1e-9);
        tp_program_free(program);
        nn_net_free(net);
    }
    for (int i = 0; i < 3; i++)
        tp_spectrum_free(&s[i]);
    nn_net *net = traced(by_constant, "own", NULL);
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    solve(program, (tp_spectrum_spec){ .moments = 1 }, &s[0]);
    cr_assert(s[0].has_law, "%s", s[0].method);
    double q = 0, mean = 0, step = 1e-3; /* E ((1 - h^2) / (1 + h^2)^2)^2 by the trapezoid rule */
    for (int i = 0; i < FEATURES; i++)
        q += input[i] * input[i] / FEATURES;
    for (double g = -12; g < 12; g += step) {
        double h2 = q * g * g;
        mean += step * exp(-g * g / 2) / sqrt(2 * acos(-1)) * pow((1 - h2) / pow(1 + h2, 2), 2);
    }
    cr_assert(fabs(s[0].moments[0] / mean - 1) < 1e-10, "%.17g for %.17g", s[0].moments[0], mean);
    tp_spectrum_free(&s[0]);
    tp_program_free(program);
    nn_net_free(net);
}

/* Thousands of networks may be measured with one program: its trace holds a Jacobian once. */
Test(spectrum_finite, networks_share_the_nodes_of_a_jacobian)
{
    nn_net *net = traced(NULL, "mlp", (const char *const[]){ "phi=tanh", NULL });
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    nn_model *model = nn_model_new(net, 16, 1, AD_DOUBLE, 1, &error);
    const char *const from[] = { NULL, "h2", "h2", NULL, NULL };
    double first[2] = { 0 }, *values;
    int nodes[5];
    for (int k = 0; k < 5; k++) {
        size_t size;
        cr_assert_eq(tp_jacobian_squares(program, model, input, from[k], NULL, &values, &size, &error), 0, "%s",
                     error.text);
        double *same = &first[from[k] != NULL];
        cr_assert(!(*same > 0) || fabs(values[15] - *same) <= 1e-12 * *same, "%d: %g, %g", k, values[15], *same);
        *same = values[15];
        nodes[k] = ad_graph_size(nn_graph(net));
        ad_free(values);
    }
    cr_assert(fabs(first[0] - first[1]) > 1e-3, "%g", first[0]);
    cr_assert(nodes[2] == nodes[1] && nodes[4] == nodes[3], "%d %d; %d %d", nodes[1], nodes[2], nodes[3], nodes[4]);
    nn_model_free(model);
    tp_program_free(program);
    nn_net_free(net);
}

/* The limit's moments and those of networks of width n, whose mean is off by c / n: two widths take it out. */
static void moments_agree(nn_function function, const char *name, const char *const *settings, size_t n, int seeds,
                          int count)
{
    double wide[MOST], wide_error[MOST], narrow[MOST], narrow_error[MOST];
    tp_spectrum s;
    nn_net *net = traced(function, name, settings);
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    solve(program, (tp_spectrum_spec){ .moments = count }, &s);
    measure(net, program, n, seeds, count, wide, wide_error);
    measure(net, program, n / 2, 4 * seeds, count, narrow, narrow_error);
    for (int k = 0; k < count; k++) {
        double found = 2 * wide[k] - narrow[k];
        double spread = sqrt(4 * pow(wide_error[k], 2) + pow(narrow_error[k], 2) + pow(s.errors[k], 2));
        cr_assert(fabs(found - s.moments[k]) < 4 * spread + 0.01 * s.moments[k], "%s m_%d: %g ± %g for %g ± %g", name,
                  k + 1, found, spread, s.moments[k], s.errors[k]);
        cr_assert(spread < 0.2 * s.moments[k], "%s m_%d: %g of %g", name, k + 1, spread, s.moments[k]);
    }
    tp_spectrum_free(&s);
    tp_program_free(program);
    nn_net_free(net);
}

Test(spectrum_finite, networks_that_share_weights)
{
    moments_agree(jacobian_tied, "tied", NULL, 256, 24, 3);
    moments_agree(jacobian_residual, "residual", NULL, 256, 24, 3);
    moments_agree(NULL, "rnn", (const char *const[]){ "phi=tanh", "sigma_w=0.9", NULL }, 160, 120, 2);
    moments_agree(NULL, "rnn", (const char *const[]){ "cell=lstm", "sigma_w=1.5", NULL }, 128, 24, 1);
}

/* The squared singular values of 1 + W and of W + W', W of Haar's law, are 2 + 2 cos: their moments are binomials. */
Test(spectrum_finite, sums_with_one_orthogonal_matrix)
{
    const double binomials[] = { 2, 6, 20, 70, 252, 924 };
    const nn_function functions[] = { jacobian_haar_sum, jacobian_haar_both };
    for (int f = 0; f < 2; f++) {
        ad_error error = { 0 };
        tp_spectrum s;
        nn_net *net = traced(functions[f], "sum", NULL);
        tp_program *program = tp_translate(net, &error);
        solve(program, (tp_spectrum_spec){ .from = "h1", .moments = 6, .samples = 1024, .runs = 2 }, &s);
        for (int k = 0; k < 6; k++)
            cr_expect(fabs(s.moments[k] / binomials[k] - 1) < 1e-11, "m_%d: %.15g", k + 1, s.moments[k]);
        tp_spectrum_free(&s);
        cr_assert_eq(tp_spectrum_find(program, input, &(tp_spectrum_spec){ .from = "h1", .engine = TP_ENGINE_EXACT },
                                      &s, &error),
                     -1);
        cr_expect(strstr(error.text, "starts orthogonal"), "%s", error.text);
        tp_program_free(program);
        nn_net_free(net);
    }
}

Test(spectrum_finite, orthogonal_matrices_outside_of_chains)
{
    moments_agree(jacobian_haar_shared, "shared", NULL, 256, 24, 3);
    moments_agree(jacobian_haar_tied, "tied", NULL, 256, 24, 3);
    moments_agree(jacobian_haar_residual, "residual", NULL, 256, 24, 3);
}

Test(spectrum_finite, widths_that_differ)
{
    moments_agree(narrowing, "narrowing", NULL, 256, 24, 3);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The distance of four networks' pooled squares from the law. */
static double distance_at(nn_net *net, tp_program *program, const tp_spectrum *s, size_t n)
{
    enum { SEEDS = 4 };
    ad_error error = { 0 };
    double *all = ad_alloc(SEEDS * n, sizeof *all, "squares", &error);
    for (size_t seed = 0; seed < SEEDS; seed++) {
        double *values;
        size_t size;
        nn_model *model = nn_model_new(net, n, seed + 1, AD_DOUBLE, 1, &error);
        cr_assert_eq(tp_jacobian_squares(program, model, input, NULL, NULL, &values, &size, &error), 0, "%s",
                     error.text);
        memcpy(all + seed * n, values, n * sizeof *values);
        ad_free(values);
        nn_model_free(model);
    }
    qsort(all, SEEDS * n, sizeof *all, ascending);
    double found = tp_spectrum_distance(s, all, SEEDS * n);
    ad_free(all);
    return found;
}

/* Below `most` at width n, and falling. */
static void laws_agree(const char *phi, const char *sigma, const char *weights, int layers, size_t n, double most)
{
    char depth[30];
    snprintf(depth, sizeof depth, "depth=%d", layers + 1);
    const char *settings[] = { depth, phi, sigma, weights, NULL };
    nn_net *net = traced(NULL, "mlp", settings);
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    tp_spectrum s;
    solve(program, (tp_spectrum_spec){ 0 }, &s);
    cr_assert(s.has_law, "%s %s %d: %s", phi, weights, layers, s.method);
    double wide = distance_at(net, program, &s, n), narrow = distance_at(net, program, &s, n / 8);
    cr_assert(wide < most && (wide < 0.8 * narrow || wide < 0.01), "%s %s %s %d: %g, %g", phi, sigma, weights, layers,
              narrow, wide);
    tp_spectrum_free(&s);
    tp_program_free(program);
    nn_net_free(net);
}

Test(spectrum_finite, distribution_functions)
{
    const char *const phis[] = { "phi=tanh", "phi=erf", "phi=hard_tanh", "phi=relu" };
    for (int p = 0; p < 4; p++)
        for (int layers = 1; layers <= 4; layers += 3) {
            laws_agree(phis[p], "sigma_w=1.3", "weights=gaussian", layers, 384, 0.03);
            laws_agree(phis[p], "sigma_w=1.3", "weights=orthogonal", layers, 384, 0.03);
        }
}

static void note_share(double share, void *context)
{
    double *last = context;
    cr_assert(share > *last && share < 1, "%g after %g", share, *last);
    *last = share;
}

/* E e^2h at a variance near 1 is in reach of samples, high moments of it are not: those that are found are told. */
Test(spectrum_finite, moments_beyond_samples)
{
    nn_net *net = traced(NULL, "mlp", (const char *const[]){ "phi=exp", "sigma_w=0.7", NULL });
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    tp_spectrum chain, sampled;
    double share = 0;
    solve(program, (tp_spectrum_spec){ .moments = 1 }, &chain);
    solve(program,
          (tp_spectrum_spec){
              .moments = 8, .engine = TP_ENGINE_SAMPLE, .samples = 1024, .progress = note_share, .context = &share },
          &sampled);
    cr_assert(sampled.n_moments >= 1 && sampled.n_moments < 8, "%d", sampled.n_moments);
    cr_assert(strstr(sampled.method, "needs more samples"), "%s", sampled.method);
    double off = fabs(sampled.moments[0] - chain.moments[0]);
    cr_assert(off < 4 * sampled.errors[0], "%g ± %g for %g", sampled.moments[0], sampled.errors[0], chain.moments[0]);
    cr_assert(share > 0.5);
    tp_spectrum_free(&chain);
    tp_spectrum_free(&sampled);
    tp_program_free(program);
    nn_net_free(net);
}

/* The executor, which needs the trace alone, and the series of a chain; the general rule. */
Test(spectrum_finite, ways_agree)
{
    nn_net *net = traced(NULL, "mlp", (const char *const[]){ "phi=tanh", NULL });
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    tp_spectrum chain, sampled;
    solve(program, (tp_spectrum_spec){ .moments = 5 }, &chain);
    solve(program, (tp_spectrum_spec){ .moments = 5, .engine = TP_ENGINE_SAMPLE }, &sampled);
    for (int k = 0; k < 5; k++)
        cr_assert(fabs(chain.moments[k] - sampled.moments[k]) < 4 * sampled.errors[k], "m_%d %g %g ± %g", k + 1,
                  chain.moments[k], sampled.moments[k], sampled.errors[k]);
    tp_program_free(program);
    nn_net_free(net);
    net = traced(NULL, "mlp", (const char *const[]){ "phi=identity", "sigma_w=1", NULL });
    program = tp_translate(net, &error);
    solve(program, (tp_spectrum_spec){ .moments = 4, .engine = TP_ENGINE_SAMPLE, .samples = 256 }, &sampled);
    const double linear[] = { 1, 3, 12, 55 }; /* linear networks are exact on samples of any number */
    for (int k = 0; k < 4; k++)
        cr_assert(fabs(sampled.moments[k] - linear[k]) < 1e-9 * linear[k], "%.15g", sampled.moments[k]);
    tp_program_free(program);
    nn_net_free(net);
    net = traced(jacobian_tied, "tied", NULL);
    program = tp_translate(net, &error);
    tp_spectrum exact;
    solve(program, (tp_spectrum_spec){ .moments = 3, .engine = TP_ENGINE_EXACT }, &exact);
    solve(program, (tp_spectrum_spec){ .moments = 3, .engine = TP_ENGINE_SAMPLE }, &sampled);
    for (int k = 0; k < 3; k++)
        cr_assert(fabs(exact.moments[k] - sampled.moments[k]) < 4 * sampled.errors[k], "m_%d %g %g", k + 1,
                  exact.moments[k], sampled.moments[k]);
    tp_spectrum_free(&chain);
    tp_program_free(program);
    nn_net_free(net);
}
