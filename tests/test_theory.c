/* The statements of Tensor Programs II (arXiv:2006.14548) about vectors and matrices of a program, each beside networks
 * of finite width: Gaussian rows, shared matrices, the Master theorem, a matrix and its transpose.
 *
 * What is random has a fixed seed. A statement about an expectation is tested by means over NETS independent networks: a
 * mean lies more than BOUND of its standard errors from its expectation as often as a Student variable of 63 degrees of
 * freedom exceeds 6, 1.1e-7. Fewer than 100 such comparisons are made in this file: one false alarm in 90,000 changes of
 * all seeds. Where a statement has a rival, the same statistic must reject the rival by the same bound. */
#include "limn.h"
#include "tests/support/reference.h"
#include "tests/support/trials.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NETS = 64 };
static const double BOUND = 6;

#define expect_mean(trial, truth, allowed)                                                                             \
    cr_expect(distance(trial, truth, allowed) < BOUND, "%s: %g +- %g, theory %g", #trial, (trial).mean,                \
              error_of(trial), (double)(truth))
#define expect_not_mean(trial, rival)                                                                                  \
    cr_expect(distance(trial, rival, 0) > BOUND, "%s: %g +- %g is not told from %g", #trial, (trial).mean,             \
              error_of(trial), (double)(rival))

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

/* Kolmogorov's distance of values from the standard normal law: above t with probability at most 2 exp(-2 N t^2), for any
 * N (Massart 1990). */
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

/* At width n, h of one input is Gaussian of variance S = |relu(u)|^2 / n, which is random itself: with q = E relu^2 = 1/2,
 * E relu^4 = 3/2 (in units of the input's |x|^2 / d), Var S = 5 q^2 / n. So the excess kurtosis is 15 / n, and the squares
 * of two neurons are correlated, Cov(h_a^2, h_b^2) = 5 q^2 / n: rows are iid, and Gaussian, in the limit alone. */
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
            trial_draw(&net, (uint64_t)draw);
            const double *y = ad_output(net.plan, 0); /* (M, NEURONS) */
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

/* ---- vectors and matrices of one width ---- */
/* Products with random matrices (n, n'), entries N(0, 1/n), of vectors over n. */
typedef struct {
    ad_graph *graph;
    ad_axis n;
} space;

static space space_new(void)
{
    space s = { .graph = ad_graph_new(NULL) };
    s.n = ad_width(s.graph, "n", 1);
    return s;
}

static ad_var matrix(space s, const char *name)
{
    ad_init init = { .axis = s.n, .deviation = 1, .deviation_power = -0.5 };
    return ad_param(s.graph, name, ad_shape_of(s.n, ad_prime(s.n)), init);
}

static ad_var vector(space s, const char *name, double mean)
{
    return ad_param(s.graph, name, ad_shape_of(s.n), (ad_init){ .deviation = 1, .mean = mean });
}

static ad_var times(space s, ad_var w, ad_var x)
{
    ad_axis second = ad_prime(s.n);
    return ad_contract(w, ad_relabel(x, s.n, second), ad_shape_of(second));
}

static ad_var transposed_times(space s, ad_var w, ad_var x)
{
    return ad_relabel(ad_contract(w, x, ad_shape_of(s.n)), ad_prime(s.n), s.n);
}

static ad_var average(space s, ad_var x)
{
    return ad_mean(x, ad_shape_of(s.n));
}

static ad_var average_product(space s, ad_var x, ad_var y)
{
    return average(s, ad_mul(x, y));
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
 * With x of mean 1 and variance 1, Wx ~ N(0, 2) and relu(Wx) has E relu = 1/sqrt(pi), E relu^2 = 1. W relu(Wx) and
 * W relu(W~x) are both N(0, 1). Cov(W relu(Wx), Wx) = E relu(Z^Wx) Z^x = 1/sqrt(pi), for Wx is independent of x; and
 * Cov(W relu(W~x), W~x) = 0. Without a function between, Cov(WWx, Wx) = E Z^Wx Z^x = 0: the rule, not sharing by itself,
 * correlates. Finite widths are off by the order of 1/n: 4/n is allowed. */
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
 * With u of mean 1 and variance 1, x = relu(Wu) and x' = relu(Wx): Cov(Wx, Wx') = E Z^x Z^x', as if W were independent of
 * both, where Wu ~ N(0, 2), Var Wx = E relu(Wu)^2 = 1 and Cov(Wu, Wx) = E u relu(Wu) = 1/sqrt(pi). Finite widths are off
 * by the order of 1/n. */
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
 * u ~ N(0, 1), g1 = W relu(u), g2 = W relu(g1), g3 = V relu(g2) + g1: var g1 = 1/2, cov(g1, g2) = E relu(u) E relu(g1),
 * var g2 = 1/4, var g3 = 1/8 + 1/2, cov(g1, g3) = 1/2. psi over u, g1, g2, g3 is bounded by a polynomial. The error of an
 * average is Gaussian of order n^{-1/2}: with R networks, the logarithm of its root mean square has a standard error of
 * 1 / sqrt(2 R). The slope is asked within 5 of its errors of -1/2: 6e-7. Neither 0 nor -1 is as near. */
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
            trial_draw(&net, (uint64_t)(3000 + net_k));
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

/* ---- networks, forward and backward ---- */
enum { DEPTH = 3, ROWS = 2 };
static const double inputs[ROWS * M] = { 0.9, -1.1, 0.4, 0.5, 1.3, -0.7 };

/* h_1 = U x / sqrt(d), h_l = W_l x_{l-1} / sqrt(n) with the multipliers outside omega, x_l = phi(h_l), f = v x_L / sqrt(n),
 * v_a ~ N(mean, 1); and the adjoints of h_l and x_l, times sqrt(n). */
typedef struct {
    space s;
    ad_axis batch, d;
    ad_var x, h[DEPTH], activations[DEPTH], f, dh[DEPTH], dx[DEPTH];
    ad_site *sites;
    int n_sites;
} network;

static void half_square_value(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * x[i] / 2;
}

static void half_square_derivative(size_t n, const double *x, double *y)
{
    memcpy(y, x, n * sizeof *x);
}

static const ad_function half_square = { .name = "half_square",
                                         .count = 2,
                                         .derivatives = { half_square_value, half_square_derivative } };

static network network_new(ad_op phi, double readout_mean, double readout_deviation, bool shared, size_t rows)
{
    network m = { .s = space_new() };
    ad_graph *graph = m.s.graph;
    ad_axis n = m.s.n;
    m.batch = ad_fixed(graph, "batch", rows);
    m.d = ad_fixed(graph, "features", M);
    m.x = ad_input(graph, "x", ad_shape_of(m.batch, m.d));
    ad_var u = ad_param(graph, "u", ad_shape_of(m.d, n), (ad_init){ .deviation = 1 }), w = { 0 };
    for (int l = 0; l < DEPTH; l++) {
        if (l == 1 || (l > 1 && !shared))
            w = ad_param(graph, l == 1 ? "w1" : "w2", ad_shape_of(n, ad_prime(n)), (ad_init){ .deviation = 1 });
        m.h[l] = l == 0 ? ad_scale_by(ad_matmul(m.x, u), 1, m.d, -0.5)
                        : ad_scale_by(ad_matmul(m.activations[l - 1], w), 1, n, -0.5);
        m.activations[l] = phi == AD_CUSTOM ? ad_custom(&half_square, m.h[l]) : ad_unary_at(AD_HERE, phi, m.h[l], 0);
    }
    ad_var v = ad_param(graph, "v", ad_shape_of(n), (ad_init){ .deviation = readout_deviation, .mean = readout_mean });
    m.f = ad_scale_by(ad_contract(m.activations[DEPTH - 1], v, ad_shape_of(n)), 1, n, -0.5);
    ad_var wrt[2 * DEPTH], adjoints[2 * DEPTH];
    memcpy(wrt, m.h, sizeof m.h);
    memcpy(wrt + DEPTH, m.activations, sizeof m.activations);
    m.n_sites = ad_backward(m.f, ad_constant(graph, 1, *ad_shape_get(m.f)), wrt, 2 * DEPTH, adjoints, &m.sites);
    cr_assert(m.n_sites > 0, "%s", ad_message(graph));
    for (int l = 0; l < DEPTH; l++) {
        m.dh[l] = ad_scale_by(adjoints[l], 1, n, 0.5);
        m.dx[l] = ad_scale_by(adjoints[DEPTH + l], 1, n, 0.5);
    }
    return m;
}

/* ---- (f) a mean that is handed down ----
 * phi(z) = z^2/2: dx_{l-1} = W' dh_l has mean E x_{l-1} E[d dh_l / d h_l] by Z dot, dh_l = dx_l h_l. At the top dx_L = v:
 * E dx_{L-1} = E x_{L-1} E v. Below, dx_l contains (mean of dx_l) / (E x_l) x_l, which depends on h_l itself and adds
 * twice as much: E dx_{l-1} = 3 E x_{l-1} E dx_l. All of them vanish with the readout's mean. */
Test(theory, the_mean_of_gradients_of_squares_is_handed_down_from_the_readout)
{
    enum { N = 512 };
    for (int shifted = 0; shifted < 2; shifted++) {
        network m = network_new(AD_CUSTOM, shifted, 1, false, 1);
        ad_var means[2 * DEPTH];
        for (int l = 0; l < DEPTH; l++) {
            means[l] = average(m.s, m.dx[l]);
            means[DEPTH + l] = average(m.s, m.activations[l]);
        }
        trial_net net = trial_open(m.s.graph, means, 2 * DEPTH, &(ad_sizes){ .n = N });
        ad_bind(net.plan, m.x, inputs);
        trial gradient[DEPTH] = { 0 }, size[DEPTH] = { 0 };
        for (int k = 0; k < 2 * NETS; k++) {
            trial_draw(&net, (uint64_t)(5000 + k));
            for (int l = 0; l < DEPTH; l++) {
                trial_add(&gradient[l], *(const double *)ad_output(net.plan, l));
                trial_add(&size[l], *(const double *)ad_output(net.plan, DEPTH + l));
            }
        }
        trial_close(&net);
        double q = 0, mean = shifted; /* E x_1 = |x|^2 / 2d, E x_l = E x_{l-1}^2 / 2 = 3 q^2 / 8 of q = Var h_{l-1} */
        for (int k = 0; k < M; k++)
            q += inputs[k] * inputs[k] / M;
        double expected[DEPTH] = { q / 2 };
        for (int l = 1; l < DEPTH; l++) {
            q = 3 * q * q / 4;
            expected[l] = q / 2;
        }
        for (int l = DEPTH - 1; l >= 0; l--) {
            double allowed = 40.0 / N * fabs(mean); /* fourth powers of h, each of which spreads by the order of 1/n */
            expect_mean(gradient[l], mean, allowed);
            expect_mean(size[l], expected[l], 40.0 / N * expected[l]);
            if (shifted)
                expect_not_mean(gradient[l], 0);
            mean *= l == DEPTH - 1 ? expected[l - 1] : l > 0 ? 3 * expected[l - 1] : 0;
        }
        ad_graph_free(m.s.graph);
    }
}

/* ---- (h) two ways to one kernel, at any width ----
 * (5): the products of the gradients of all parameters, sample by sample. (9): layer by layer,
 * sum_l <dh_l, dh'_l> / n <x_{l-1}, x'_{l-1}> / n + <x_L, x'_L> / n; with one W in several layers, over all pairs of them. */
static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double by_gradients(network *m, size_t n, uint64_t seed)
{
    ad_var gradients[MOST_PARAMS], params[MOST_PARAMS];
    int count = 0;
    for (int id = ad_size(m->s.graph) - 1; id >= 0; id--)
        if (ad_look(m->s.graph, id)->op == AD_PARAM)
            params[count++] = (ad_var){ m->s.graph, id };
    for (int k = 0; k < count; k++)
        gradients[k] = ad_gradient(params[k], m->sites, m->n_sites, (ad_shape){ 0 });
    ad_sizes sizes = { .n = n };
    trial_net net = trial_open(m->s.graph, gradients, count, &sizes);
    double kernel = 0, *first[MOST_PARAMS];
    for (int row = 0; row < ROWS; row++) {
        ad_bind(net.plan, m->x, inputs + row * M);
        trial_draw(&net, seed);
        for (int k = 0; k < count; k++) {
            size_t size = ad_elements(m->s.graph, ad_shape_get(gradients[k]), &sizes);
            const double *g = ad_output(net.plan, k);
            if (row == 0) {
                first[k] = malloc(size * sizeof *g);
                memcpy(first[k], g, size * sizeof *g);
            } else {
                kernel += dot(first[k], g, size);
                free(first[k]);
            }
        }
    }
    trial_close(&net);
    return kernel;
}

/* pairs: also the products of different layers, which share W. */
static double by_layers(network *m, size_t n, uint64_t seed, bool pairs)
{
    ad_var outputs[2 * DEPTH];
    memcpy(outputs, m->dh, sizeof m->dh);
    memcpy(outputs + DEPTH, m->activations, sizeof m->activations);
    trial_net net = trial_open(m->s.graph, outputs, 2 * DEPTH, &(ad_sizes){ .n = n });
    ad_bind(net.plan, m->x, inputs);
    trial_draw(&net, seed);
    const double *dh[DEPTH], *x[DEPTH];
    for (int l = 0; l < DEPTH; l++) {
        dh[l] = ad_output(net.plan, l);
        x[l] = ad_output(net.plan, DEPTH + l);
    }
    double width = (double)n;
    double kernel = dot(x[DEPTH - 1], x[DEPTH - 1] + n, n) / width +
                    dot(dh[0], dh[0] + n, n) / width * dot(inputs, inputs + M, M) / M;
    for (int l = 1; l < DEPTH; l++)
        for (int k = 1; k < DEPTH; k++)
            if (l == k || pairs)
                kernel += dot(dh[l], dh[k] + n, n) / width * dot(x[l - 1], x[k - 1] + n, n) / width;
    trial_close(&net);
    return kernel;
}

Test(theory, the_kernel_splits_by_layers_at_any_width)
{
    for (int shared = 0; shared < 2; shared++)
        for (size_t n = 3; n <= 192; n *= 4) {
            network one = network_new(AD_TANH, 0, 1, shared, 1), m = network_new(AD_TANH, 0, 1, shared, ROWS);
            double gradients = by_gradients(&one, n, 60 + n), layers = by_layers(&m, n, 60 + n, shared);
            cr_expect_float_eq(layers, gradients, 1e-12 * fabs(gradients), "n = %zu: %.15g and %.15g", n, layers,
                               gradients);
            if (shared) { /* leaving out the pairs of different layers is another number */
                double apart = by_layers(&m, n, 60 + n, false);
                cr_expect(fabs(apart - gradients) > 1e-6 * fabs(gradients), "%g and %g", apart, gradients);
            }
            ad_graph_free(one.s.graph);
            ad_graph_free(m.s.graph);
        }
}

/* ---- (i) formula (17): psi(x, y, z, w) = x y phi'(z) phi'(w) ----
 * With a centred readout the average of dx dx' phi'(h) phi'(h') over a layer's neurons tends to
 * E[dx dx'] E[phi'(h) phi'(h')], for relu Pi_{l-1} = Pi_l E step step with Pi_L = E v^2. With all v = 1 it does not: dx and
 * h of the lower layers are correlated. */
static void relu_products(double *truth)
{
    double q[3] = { 0 }, steps[DEPTH], pi = 1;
    for (int k = 0; k < M; k++) {
        q[0] += inputs[k] * inputs[k] / M;
        q[1] += inputs[M + k] * inputs[M + k] / M;
        q[2] += inputs[k] * inputs[M + k] / M;
    }
    for (int l = 0; l < DEPTH; l++) {
        steps[l] = expected_step_step(q[0], q[1], q[2]);
        q[2] = expected_relu_relu(q[0], q[1], q[2]);
        q[0] /= 2;
        q[1] /= 2;
    }
    for (int l = DEPTH - 1; l >= 0; l--)
        truth[l] = pi *= steps[l];
}

Test(theory, gradients_and_preactivations_are_independent_in_the_limit)
{
    enum { N = 512 };
    for (int ones = 0; ones < 2; ones++) {
        network m = network_new(AD_RELU, ones, !ones, false, ROWS);
        ad_var products[DEPTH];
        double truth[DEPTH];
        for (int l = 0; l < DEPTH; l++) {
            ad_var psi = ad_mul(m.dx[l], ad_step(m.h[l])); /* (batch, n) */
            products[l] = average_product(m.s, ad_take(psi, m.batch, 0), ad_take(psi, m.batch, 1));
        }
        trial_net net = trial_open(m.s.graph, products, DEPTH, &(ad_sizes){ .n = N });
        ad_bind(net.plan, m.x, inputs);
        trial t[DEPTH] = { 0 };
        for (int k = 0; k < 2 * NETS; k++) {
            trial_draw(&net, (uint64_t)(7000 + k));
            for (int l = 0; l < DEPTH; l++)
                trial_add(&t[l], *(const double *)ad_output(net.plan, l));
        }
        trial_close(&net);
        relu_products(truth);
        for (int l = 0; l < DEPTH; l++)
            if (!ones || l == DEPTH - 1)
                expect_mean(t[l], truth[l], 4.0 / N * truth[l]);
            else
                expect_not_mean(t[l], truth[l]);
        ad_graph_free(m.s.graph);
    }
}

/* ---- (g) Proposition 2 ----
 * The simple rule's error, relative Frobenius, on x[i,j] of shape (6, 4): 17 % for averaging ReLU units with sigma^2 = 2,
 * 68 % for their squares, 11 % with readout weights N(1, 1) and ReLU. */
typedef enum { CENTRED, AVERAGED, AVERAGED_SQUARES, NOT_CENTRED, NOT_RANDOM, USED_ELSEWHERE, N_READOUTS } readout;

static ad_var averaging(nn_net *net, ad_var x)
{
    readout kind = (readout)nn_setting_int(net, "readout", 0, 0, N_READOUTS - 1);
    bool square = kind == AVERAGED_SQUARES;
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_apply(nn_make_weight(net, "first", ad_shape_get(x)->axes[1], n, 1), x);
    nn_weight w = nn_make_weight(net, "second", n, n, sqrt(2));
    h = nn_apply(w, square ? ad_square(h) : ad_relu(h));
    h = square ? ad_square(h) : ad_relu(h);
    ad_init init = { .mean = kind == CENTRED || kind == USED_ELSEWHERE ? 0 : 1,
                     .deviation = kind == AVERAGED || kind == AVERAGED_SQUARES || kind == NOT_RANDOM ? 0 : 1,
                     .rate = 1 };
    ad_var v = ad_param(nn_graph(net), "v", ad_shape_of(n, nn_outputs(net)), init);
    if (kind == CENTRED || kind == USED_ELSEWHERE) {
        ad_var f = ad_scale_by(ad_contract(h, v, ad_shape_of(n)), 1, n, -0.5);
        return kind == CENTRED ? f : ad_add(f, ad_scale_by(ad_contract(ad_tanh(h), v, ad_shape_of(n)), 1, n, -0.5));
    }
    return ad_scale_by(ad_contract(h, v, ad_shape_of(n)), 1, n, -1);
}

Test(theory, each_condition_of_proposition_2_matters_and_is_checked)
{
    enum { INPUTS = 6, D = 4 };
    static const struct {
        readout kind;
        double wrong; /* the simple rule's error */
        const char *says;
    } rows[] = {
        { CENTRED, 0, "" },
        { AVERAGED, 0.17, "v is a readout whose mean is not zero" },
        { AVERAGED_SQUARES, 0.68, "v is a readout whose mean is not zero" },
        { NOT_CENTRED, 0.11, "v is a readout whose mean is not zero" },
        { NOT_RANDOM, 0.17, "v is a readout that is not drawn at random" },
        { USED_ELSEWHERE, 0, "v is a readout that is used elsewhere, too" },
    };
    double *x = reference_inputs(INPUTS, D);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ad_error error = { 0 };
        char setting[16];
        snprintf(setting, sizeof setting, "readout=%d", (int)rows[i].kind);
        nn_net *net = nn_trace(
            averaging,
            &(nn_spec){ .features = D, .sigma_in = NN_SIGMA_MULTIPLIER, .settings = (const char *[]){ setting, NULL } },
            &error);
        cr_assert(net, "%s", error.text);
        tp_program *program = tp_translate(net, &error);
        cr_assert(program, "%s", error.text);
        tp_checks checks;
        tp_kernel kernel;
        int broken = tp_check(program, &checks, &error);
        cr_expect_eq(broken, rows[i].kind != CENTRED);
        const char *texts[] = { checks.text[1], checks.text[2], checks.text[3] };
        bool said = !broken;
        for (int k = 0; k < 3; k++)
            said = said || strstr(texts[k], rows[i].says);
        cr_expect(said, "%d: %s; %s; %s", (int)i, texts[0], texts[1], texts[2]);
        tp_limit_spec spec = { .samples = 16384, .runs = 8 };
        cr_assert_eq(tp_limit(program, TP_NTK, x, INPUTS, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
        cr_expect_eq(strstr(kernel.method, "not BP-like") != NULL, broken, "%s", kernel.method);
        /* the figures have two digits; the sampled kernel's own error comes on top. For a readout that is used twice, linearly,
         * the simple rule is right all the same: the condition is sufficient. */
        cr_expect(fabs(kernel.simple_rule_error - rows[i].wrong) < 0.006 + 4 * kernel.error,
                  "%d: %g, theory %g, error %g", (int)i, kernel.simple_rule_error, rows[i].wrong, kernel.error);
        tp_kernel_free(&kernel);
        tp_free(program);
        nn_net_free(net);
    }
    free(x);
}
