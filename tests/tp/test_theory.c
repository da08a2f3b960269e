/* Statements of Tensor Programs II (arXiv:2006.14548) about vectors and matrices of a program, beside finite widths:
 * Gaussian rows, shared matrices, the Master theorem, a matrix and its transpose.
 *
 * What is random has a fixed seed. Fewer than 100 means are compared with BOUND (trials.h): one false alarm in
 * 90,000 changes of all seeds. Where a statement has a rival, the same statistic must reject it. */
#include "tests/support/trials.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- (a) a batch through a layer ---- */
enum { M = 3, FEATURES = 2, NEURONS = 2 };
static const double batch_x[M * FEATURES] = { 1, 0.5, -0.3, 1.2, 0.8, -0.9 };

/* h (M, NEURONS): the first neurons of the second layer, W relu(U x) with n inputs each. */
static ad_var second_layer(ad_graph *graph, ad_var *x, ad_var *hidden)
{
    ad_axis batch = ad_batch(graph, "batch"), d = ad_fixed(graph, "features", FEATURES), n = ad_width(graph, "n", 1);
    ad_axis neurons = ad_fixed(graph, "neurons", NEURONS);
    ad_var u = ad_param(graph, "u", ad_shape_of(d, n), (ad_init){ .axis = d, .deviation = 1, .deviation_power = -0.5 });
    ad_var w =
        ad_param(graph, "w", ad_shape_of(n, neurons), (ad_init){ .axis = n, .deviation = 1, .deviation_power = -0.5 });
    *x = ad_input(graph, "x", ad_shape_of(batch, d));
    *hidden = ad_relu(ad_matmul(*x, u));
    return ad_matmul(*hidden, w);
}

/* Kolmogorov's distance of values from the standard normal law: above t with probability at most 2 exp(-2 N t^2),
 * for any N (Massart 1990). */
static int increasing(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double kolmogorov(double *values, size_t count)
{
    double worst = 0;
    qsort(values, count, sizeof *values, increasing);
    for (size_t i = 0; i < count; i++) {
        double p = 0.5 * erfc(-values[i] / sqrt(2));
        worst = fmax(worst, fmax(p - (double)i / (double)count, (double)(i + 1) / (double)count - p));
    }
    return worst;
}

static double massart(size_t count, double probability)
{
    return sqrt(log(2 / probability) / (2 * (double)count));
}

/* At width n, h of one input is Gaussian of variance S = |relu(u)|^2 / n, which is random itself: with q = E relu^2
 * = 1/2, E relu^4 = 3/2 (in units of the input's |x|^2 / d), Var S = 5 q^2 / n. So the excess kurtosis is 15 / n,
 * and the squares of two neurons are correlated, Cov(h_a^2, h_b^2) = 5 q^2 / n: rows are iid, and Gaussian, in the
 * limit alone. */
Test(theory, rows_become_iid_and_columns_jointly_gaussian)
{
    enum { WIDTHS = 4, DRAWS = 24000 };
    static const size_t widths[WIDTHS] = { 4, 16, 64, 256 };
    double logs[WIDTHS], kurtosis_logs[WIDTHS], errors[WIDTHS], covariance[M * M];
    for (int i = 0; i < M * M; i++) { /* Sigma = E relu relu, the arc-cosine kernel */
        double g[3] = { 0 };
        for (int k = 0; k < FEATURES; k++) {
            double a = batch_x[i / M * FEATURES + k], b = batch_x[i % M * FEATURES + k];
            g[0] += a * a / FEATURES;
            g[1] += b * b / FEATURES;
            g[2] += a * b / FEATURES;
        }
        covariance[i] = expected_relu_relu(g[0], g[1], g[2]);
    }
    double c[M] = { 1, -2, 1.5 }, variance = 0; /* a combination of columns */
    for (int i = 0; i < M * M; i++)
        variance += c[i / M] * c[i % M] * covariance[i];
    double *combined = calloc(DRAWS, sizeof *combined);
    for (int w = 0; w < WIDTHS; w++) {
        ad_graph *graph = ad_graph_new(NULL);
        ad_var x, hidden, h = second_layer(graph, &x, &hidden);
        ad_sizes sizes = { .n = widths[w], .n_batches = 1 };
        sizes.batches[0].axis = ad_batch(graph, "batch");
        sizes.batches[0].size = M;
        trial_net net = trial_open(graph, (ad_var[]){ h }, 1, &sizes);
        ad_bind(net.plan, x, batch_x);
        trial fourth = { 0 }, across = { 0 }, products = { 0 }, sigma[M * M] = { { 0 } };
        for (int draw = 0; draw < DRAWS; draw++) {
            trial_draw(&net, (uint64_t)(DRAWS * w + draw)); /* no two networks share draws */
            const double *y = ad_output(net.plan, 0);       /* (M, NEURONS) */
            double q = covariance[0];
            trial_add(&fourth, pow(y[0], 4) / (q * q) - 3);
            trial_add(&across, (y[0] * y[0] / q - 1) * (y[1] * y[1] / q - 1));
            trial_add(&products, y[0] * y[1] / q);
            for (int i = 0; i < M * M; i++)
                trial_add(&sigma[i], y[i / M * NEURONS] * y[i % M * NEURONS]);
            combined[draw] = 0;
            for (int m = 0; m < M; m++)
                combined[draw] += c[m] * y[m * NEURONS] / sqrt(variance);
        }
        double n = (double)widths[w];
        expect_mean(fourth, 15 / n, 0);
        expect_mean(across, 5 / n, 0);
        expect_mean(products, 0, 0);
        for (int i = 0; i < M * M; i++) /* at every width */
            expect_mean(sigma[i], covariance[i], 0);
        double far = kolmogorov(combined, DRAWS);
        if (widths[w] == 256)
            cr_expect_lt(far, massart(DRAWS, 1e-6), "%g", far);
        if (widths[w] == 4) {
            cr_expect_gt(far, massart(DRAWS, 1e-6), "%g: the statistic does not see a law that is not Gaussian", far);
            expect_not_mean(fourth, 0);
            expect_not_mean(across, 0);
        }
        logs[w] = log(n);
        kurtosis_logs[w] = log(fmax(fourth.mean, 1e-9));
        errors[w] = error_of(fourth) / fourth.mean;
        trial_close(&net);
        ad_graph_free(graph);
    }
    trial slope = trial_slope(3, logs, kurtosis_logs, errors); /* at 256 the kurtosis is within its error of 0 */
    cr_expect_float_eq(slope.mean, -1, BOUND * slope.squares, "slope %g +- %g", slope.mean, slope.squares);
    free(combined);
}

/* Each of `count` averages over `nets` networks of width n. */
static void measure(space s, const ad_var *averages, int count, size_t n, int nets, uint64_t seed, trial *trials)
{
    trial_net net = trial_open(s.graph, averages, count, &(ad_sizes){ .n = n });
    memset(trials, 0, (size_t)count * sizeof *trials);
    for (int k = 0; k < nets; k++) {
        trial_draw(&net, seed + (uint64_t)k);
        for (int i = 0; i < count; i++)
            trial_add(&trials[i], *(const double *)ad_output(net.plan, i));
    }
    trial_close(&net);
}

/* ---- (b) a matrix used twice ----
 * With x of mean 1 and variance 1, Wx ~ N(0, 2) and relu(Wx) has E relu = 1/sqrt(pi), E relu^2 = 1. W relu(Wx) and W
 * relu(W~x) are both N(0, 1). Cov(W relu(Wx), Wx) = E relu(Z^Wx) Z^x = 1/sqrt(pi), for Wx is independent of x; and
 * Cov(W relu(W~x), W~x) = 0. Without a function between, Cov(WWx, Wx) = E Z^Wx Z^x = 0: the rule, not sharing by
 * itself, correlates. Finite widths are off by the order of 1/n: 4/n is allowed. */
Test(theory, a_matrix_used_twice_has_the_law_of_two_but_remembers_itself)
{
    enum { N = 512 };
    space s = space_new();
    ad_var w = matrix(s, "w"), other = matrix(s, "other"), x = vector(s, "x", 1);
    ad_var wx = times(s, w, x), ox = times(s, other, x);
    ad_var y = times(s, w, ad_relu(wx)), z = times(s, w, ad_relu(ox)), wwx = times(s, w, wx), wox = times(s, w, ox);
    ad_var y2 = ad_square(y), z2 = ad_square(z);
    ad_var averages[] = {
        average(s, y2),
        average(s, z2),
        average(s, ad_square(y2)),
        average(s, ad_square(z2)),
        average(s, ad_cos(y)),
        average(s, ad_cos(z)),
        average_product(s, y, wx),
        average_product(s, z, ox),
        average_product(s, wwx, wx),
        average(s, ad_square(wwx)),
        average(s, ad_square(wox)),
        average(s, y),
        average(s, z),
    };
    trial t[sizeof averages / sizeof *averages];
    measure(s, averages, (int)(sizeof averages / sizeof *averages), N, NETS, 1000, t);
    double allowed = 4.0 / N, together = 1 / sqrt(acos(-1));
    for (int which = 0; which < 2; which++) {
        expect_mean(t[which], 1, allowed);
        expect_mean(t[2 + which], 3, 12 * allowed);
        expect_mean(t[4 + which], exp(-0.5), allowed);
        expect_mean(t[9 + which], 2, 2 * allowed);
        expect_mean(t[11 + which], 0, 0);
    }
    expect_mean(t[6], together, allowed);
    expect_not_mean(t[6], 0);
    expect_mean(t[7], 0, allowed);
    expect_not_mean(t[7], together);
    expect_mean(t[8], 0, allowed);
    ad_graph_free(s.graph);
}

/* ---- (c) arguments that depend on the matrix itself ----
 * With u of mean 1 and variance 1, x = relu(Wu) and x' = relu(Wx): Cov(Wx, Wx') = E Z^x Z^x', as if W were
 * independent of both, where Wu ~ N(0, 2), Var Wx = E relu(Wu)^2 = 1 and Cov(Wu, Wx) = E u relu(Wu) = 1/sqrt(pi).
 * Finite widths are off by the order of 1/n. */
Test(theory, the_covariance_rule_holds_for_arguments_that_depend_on_the_matrix)
{
    enum { N = 512 };
    space s = space_new();
    ad_var w = matrix(s, "w"), u = vector(s, "u", 1), wu = times(s, w, u);
    ad_var x = ad_relu(wu), wx = times(s, w, x), x2 = ad_relu(wx), wx2 = times(s, w, x2);
    ad_var back = transposed_times(s, w, u), wback = times(s, w, back);
    ad_var averages[] = { average_product(s, wx, wx2), average_product(s, wu, wx), average(s, ad_square(wx2)),
                          average(s, ad_square(wback)) };
    trial t[4];
    measure(s, averages, 4, N, NETS, 2000, t);
    double allowed = 4.0 / N, q12 = 1 / sqrt(acos(-1));
    expect_mean(t[1], q12, allowed);
    expect_mean(t[0], expected_relu_relu(2, 1, q12), allowed);
    expect_not_mean(t[0], expected_relu_relu(2, 1, 0)); /* what forgetting that W is shared gives */
    expect_mean(t[2], 0.5, allowed);
    /* The rule as it stands fails for x = W'u: Var WW'u is not E (W'u)^2 = E u^2 = 2, but 4 (Z dot is u itself). */
    expect_mean(t[3], 4, 4 * allowed);
    expect_not_mean(t[3], 2);
    ad_graph_free(s.graph);
}

/* ---- (d) the Master theorem ----
 * u ~ N(0, 1), g1 = W relu(u), g2 = W relu(g1), g3 = V relu(g2) + g1: var g1 = 1/2, cov(g1, g2) = E relu(u) E
 * relu(g1), var g2 = 1/4, var g3 = 1/8 + 1/2, cov(g1, g3) = 1/2. psi over u, g1, g2, g3 is bounded by a polynomial.
 * The error of an average is Gaussian of order n^{-1/2}: with R networks, the logarithm of its root mean square has
 * a standard error of 1 / sqrt(2 R). The slope is asked within 5 of its errors of -1/2: 6e-7. Neither 0 nor -1 is as
 * near. */
Test(theory, averages_over_neurons_tend_to_expectations_at_the_rate_of_the_root_of_n)
{
    enum { WIDTHS = 6, R = 200, PSIS = 3 };
    space s = space_new();
    ad_var u = vector(s, "u", 0), w = matrix(s, "w"), v = matrix(s, "v");
    ad_var g1 = times(s, w, ad_relu(u)), g2 = times(s, w, ad_relu(g1)), g3 = ad_add(times(s, v, ad_relu(g2)), g1);
    double pi = acos(-1), q12 = sqrt(0.5) / (2 * pi), q33 = 0.125 + 0.5;
    ad_var psis[PSIS] = {
        average_product(s, ad_relu(g1), ad_relu(g2)),
        average_product(s, ad_mul(ad_square(u), ad_erf(g1)), ad_erf(g3)),
        average_product(s, ad_square(g1), ad_square(g2)),
    };
    double truth[PSIS] = {
        expected_relu_relu(0.5, 0.25, q12),
        2 / pi * asin(2 * 0.5 / sqrt((1 + 2 * 0.5) * (1 + 2 * q33))),
        0.5 * 0.25 + 2 * q12 * q12,
    };
    double logs[WIDTHS], errors[PSIS][WIDTHS], deviations[WIDTHS];
    for (int k = 0; k < WIDTHS; k++) {
        size_t n = (size_t)16 << k;
        double squares[PSIS] = { 0 };
        trial_net net = trial_open(s.graph, psis, PSIS, &(ad_sizes){ .n = n });
        for (int net_k = 0; net_k < R; net_k++) {
            trial_draw(&net, (uint64_t)(3000 + R * k + net_k)); /* no two networks share draws */
            for (int i = 0; i < PSIS; i++)
                squares[i] += pow(*(const double *)ad_output(net.plan, i) - truth[i], 2) / R;
        }
        trial_close(&net);
        logs[k] = log((double)n);
        deviations[k] = 1 / sqrt(2.0 * R);
        for (int i = 0; i < PSIS; i++)
            errors[i][k] = log(squares[i]) / 2;
    }
    for (int i = 0; i < PSIS; i++) {
        trial slope = trial_slope(WIDTHS - 2, logs + 2, errors[i] + 2, deviations);
        cr_expect(fabs(slope.mean + 0.5) < 5 * slope.squares, "psi %d: slope %g +- %g", i, slope.mean, slope.squares);
        cr_expect(5 * slope.squares < 0.25, "a slope of 0 or -1 would not be told from -1/2");
    }
    ad_graph_free(s.graph);
}

/* ---- (e) a matrix and its transpose ----
 * z = WW'x = Z + x, with x ~ N(0, 1) and Z ~ N(0, 1) independent of x: E z x = 1 exactly at any n, E z^2 = 2 + 1/n by
 * Wishart's moments, E z^4 = 12 in the limit. WWx and W W~'x: 0, 1, 3. For x of mean 1: E z = 1. */
Test(theory, a_matrix_after_its_transpose_has_a_mean)
{
    enum { N = 512 };
    space s = space_new();
    ad_var w = matrix(s, "w"), other = matrix(s, "other"), x = vector(s, "x", 0), shifted = vector(s, "shifted", 1);
    ad_var z[3] = { times(s, w, transposed_times(s, w, x)), times(s, w, times(s, w, x)),
                    times(s, w, transposed_times(s, other, x)) };
    ad_var averages[12];
    for (int k = 0; k < 3; k++) {
        averages[k] = average_product(s, z[k], x);
        averages[3 + k] = average(s, ad_square(z[k]));
        averages[6 + k] = average(s, ad_square(ad_square(z[k])));
    }
    averages[9] = average(s, times(s, w, transposed_times(s, w, shifted)));
    averages[10] = average(s, times(s, w, times(s, w, shifted)));
    averages[11] = average(s, times(s, w, transposed_times(s, other, shifted)));
    trial t[12];
    measure(s, averages, 12, N, 2 * NETS, 4000, t);
    double allowed = 4.0 / N;
    expect_mean(t[0], 1, 0);
    expect_mean(t[3], 2 + 1.0 / N, 0);
    expect_mean(t[6], 12, 12 * allowed);
    expect_not_mean(t[0], 0);
    expect_not_mean(t[3], 1);
    expect_not_mean(t[6], 3);
    expect_mean(t[9], 1, 0);
    for (int k = 1; k < 3; k++) {
        expect_mean(t[k], 0, allowed);
        expect_mean(t[3 + k], 1, allowed);
        expect_mean(t[6 + k], 3, 3 * allowed);
        expect_mean(t[9 + k], 0, allowed);
    }
    ad_graph_free(s.graph);
}
