/* The executor at n = infinity: its operators against their definition, its kernels against the exact engine, formulas
 * and wide finite networks. Seeds are fixed, so each outcome is; false-alarm rates are those of a change of seed. */
#include "limn.h"
#include "tests/support/reference.h"
#include "tp/executor/draws.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- operators ---- */
static double mean_product(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum / (double)n;
}

Test(sample, points_are_permutations)
{
    enum { BITS = 7, SIZE = 1 << BITS };
    tp_sobol sobol = { .seed = 3, .bits = BITS };
    uint32_t before[SIZE] = { 0 }, points[SIZE];
    for (int d = 0; d < 300; d++) {
        int seen[SIZE] = { 0 };
        tp_sobol_next(&sobol, SIZE, points);
        for (int s = 0; s < SIZE; s++)
            cr_assert(points[s] < SIZE && !seen[points[s]]++, "dimension %d", d);
        cr_assert(memcmp(before, points, sizeof points) != 0);
        memcpy(before, points, sizeof points);
    }
}

Test(sample, draws_are_normal_and_orthogonal)
{
    enum { SIZE = 4096, DRAWS = 40 };
    tp_space space;
    tp_rows rows = { .length = SIZE };
    ad_error error = { 0 };
    cr_assert_eq(tp_space_new(&space, SIZE, 1, &error), 0);
    cr_assert_eq(tp_draw(&space, DRAWS / 2, NULL, &rows, &error), 0);
    double shift = SIZE * 0.5 * erfc(-space.quantile[0] / sqrt(2));
    cr_assert(shift > 0 && shift < 1, "%g", shift);
    for (int k = 0; k < SIZE / 2; k++) { /* the table of quantiles against the distribution function, from both ends */
        double low = (k + shift) / SIZE, high = (k + 1 - shift) / SIZE;
        cr_assert_float_eq(0.5 * erfc(-space.quantile[k] / sqrt(2)), low, 1e-15 + 1e-13 * low);
        cr_assert_float_eq(0.5 * erfc(space.quantile[SIZE - 1 - k] / sqrt(2)), high, 1e-15 + 1e-13 * high);
    }
    cr_assert_eq(tp_draw(&space, DRAWS / 2, NULL, &rows, &error), 0);
    for (int a = 0; a < DRAWS; a++) {
        const double *x = rows.data + (size_t)a * SIZE;
        double sum = 0, fourth = 0;
        for (int s = 0; s < SIZE; s++) {
            sum += x[s] / SIZE;
            fourth += pow(x[s], 4) / SIZE;
        }
        cr_expect(fabs(sum) < 1e-13);
        cr_expect_float_eq(fourth, 3, 0.1, "fourth moment %g", fourth); /* quasi-random; iid would spread by 0.15 */
        for (int b = 0; b <= a; b++)
            cr_expect_float_eq(mean_product(x, rows.data + (size_t)b * SIZE, SIZE), a == b, 1e-13);
    }
    cr_expect_eq(tp_draw(&space, SIZE / 2, NULL, &rows, &error), -1);
    cr_expect(strstr(error.text, "too few"), "%s", error.text);
    ad_free(rows.data);
    tp_space_free(&space);
}

/* E x^12 = 10395 and E tanh(x)^2, of one draw: nearly all of the first lies in the tails, where samples are few. The
 * mean over runs lies within 8 of its standard errors, a Student variable of 63 degrees of freedom but once in 3e10; at
 * fixed quantiles all runs would agree, on a wrong value. */
Test(sample, runs_differ_by_what_samples_leave_out)
{
    enum { SIZE = 1024, RUNS = 64 };
    const double truth[2] = { 10395, 0.39429449039784 };
    double mean[2] = { 0 }, squares[2] = { 0 };
    for (int run = 0; run < RUNS; run++) {
        tp_space space;
        tp_rows x = { .length = SIZE };
        ad_error error = { 0 };
        cr_assert(!tp_space_new(&space, SIZE, 100 + (uint64_t)run, &error) && !tp_draw(&space, 1, NULL, &x, &error));
        for (int which = 0; which < 2; which++) {
            double value = 0;
            for (int s = 0; s < SIZE; s++)
                value += (which ? pow(tanh(x.data[s]), 2) : pow(x.data[s], 12)) / SIZE;
            mean[which] += value / RUNS;
            squares[which] += value * value / RUNS;
        }
        ad_free(x.data);
        tp_space_free(&space);
    }
    for (int which = 0; which < 2; which++) {
        double deviation = sqrt((squares[which] - mean[which] * mean[which]) / (RUNS - 1));
        cr_expect(fabs(mean[which] - truth[which]) < 8 * deviation, "%g +- %g, not %g", mean[which], deviation,
                  truth[which]);
        cr_expect_gt(deviation, 1e-7 * truth[which]);
    }
}

/* W is n1 x n2 with entries N(0, 1/n2): <W'y, x> = n1/n2 <y, Wx> under the means, whatever was asked before. */
Test(sample, operators_are_adjoint)
{
    enum { IN = 256, OUT = 512, VECTORS = 3 };
    tp_space in, out;
    tp_operator w;
    ad_error error = { 0 };
    cr_assert(!tp_space_new(&in, IN, 1, &error) && !tp_space_new(&out, OUT, 2, &error));
    tp_operator_new(&w, &in, 0, &out, false);
    static double x[VECTORS][IN], y[VECTORS][OUT], wx[VECTORS][OUT], wy[VECTORS][IN];
    for (int round = 0; round < VECTORS; round++) {
        ad_normal(5, (uint64_t)round, 0, IN, x[round]);
        ad_normal(6, (uint64_t)round, 0, OUT, y[round]);
        for (int s = 0; s < OUT && round; s++) /* nonlinear images of what was there before */
            y[round][s] = tanh(wx[round - 1][s]) + 0.3;
        for (int s = 0; s < IN && round; s++)
            x[round][s] = fmax(0, wy[round - 1][s]) + x[round - 1][s];
        cr_assert_eq(tp_operator_apply(&w, false, 1, x[round], wx[round], &error), 0, "%s", error.text);
        cr_assert_eq(tp_operator_apply(&w, true, 1, y[round], wy[round], &error), 0, "%s", error.text);
    }
    for (int a = 0; a < VECTORS; a++)
        for (int b = 0; b < VECTORS; b++) {
            double left = mean_product(wy[a], x[b], IN), right = (double)OUT / IN * mean_product(y[a], wx[b], OUT);
            cr_expect_float_eq(left, right, 1e-12 * (1 + fabs(right)), "%d, %d: %g and %g", a, b, left, right);
        }
    double again[OUT] = { 0 }, sum[IN];
    for (int s = 0; s < IN; s++)
        sum[s] = 2 * x[0][s] - x[2][s];
    cr_assert_eq(tp_operator_apply(&w, false, 1, sum, again, &error), 0);
    for (int s = 0; s < OUT; s++) /* one and the same linear map */
        cr_assert_float_eq(again[s], 2 * wx[0][s] - wx[2][s], 1e-11);
    tp_operator_free(&w);
    tp_space_free(&in);
    tp_space_free(&out);
}

/* W of Haar's law keeps products and W' undoes it, whichever of them was asked first; what it gives of a direction it
 * has not seen is normal. */
Test(sample, an_orthogonal_matrix)
{
    enum { SIZE = 4096, VECTORS = 3 };
    tp_space space;
    tp_operator w;
    ad_error error = { 0 };
    static double x[2 * VECTORS][SIZE], y[2 * VECTORS][SIZE], back[SIZE];
    cr_assert(!tp_space_new(&space, SIZE, 3, &error));
    tp_operator_new(&w, &space, 0, &space, true);
    for (int k = 0; k < 2 * VECTORS; k++) {
        bool transposed = k % 2;
        double *from = transposed ? y[k] : x[k], *to = transposed ? x[k] : y[k];
        ad_normal(7, (uint64_t)k, 0, SIZE, from);
        for (int s = 0; s < SIZE && k; s++) /* images of what was there before */
            from[s] += tanh(transposed ? y[k - 1][s] : x[k - 1][s]) + 0.3;
        cr_assert_eq(tp_operator_apply(&w, transposed, 1, from, to, &error), 0, "%s", error.text);
        memset(back, 0, sizeof back);
        cr_assert_eq(tp_operator_apply(&w, !transposed, 1, to, back, &error), 0, "%s", error.text);
        for (int s = 0; s < SIZE; s++)
            cr_assert_float_eq(back[s], from[s], 1e-11);
    }
    for (int a = 0; a < 2 * VECTORS; a++)
        for (int b = 0; b < 2 * VECTORS; b++)
            cr_expect_float_eq(mean_product(x[a], x[b], SIZE), mean_product(y[a], y[b], SIZE), 1e-11);
    double size = mean_product(y[0], y[0], SIZE), fourth = 0;
    for (int s = 0; s < SIZE; s++)
        fourth += pow(y[0][s], 4) / SIZE;
    cr_expect_float_eq(fourth / (size * size), 3,
                       0.1); /* samples of a normal number spread by sqrt(96 / SIZE) = 0.15 */
    tp_operator_free(&w);
    tp_space_free(&space);
}

/* WW'x = x + a Gaussian of variance 1 for Gaussian x: second moment 2, fourth 12, E[x WW'x] = 1; W(W~x) has mean
 * product 0 with x and fourth moment 3. Plain sampling would spread by 0.006 and 0.06 at this size. */
Test(sample, a_matrix_and_its_transpose)
{
    enum { SIZE = 65536 };
    tp_space space;
    tp_operator w[2];
    tp_rows x = { .length = SIZE };
    ad_error error = { 0 };
    cr_assert(!tp_space_new(&space, SIZE, 4, &error) && !tp_draw(&space, 1, NULL, &x, &error));
    for (int different = 0; different < 2; different++) {
        double *z = calloc(SIZE, sizeof *z), *y = calloc(SIZE, sizeof *y), fourth = 0;
        for (int k = 0; k < 2; k++)
            tp_operator_new(&w[k], &space, 0, &space, false);
        cr_assert(!tp_operator_apply(&w[different], true, 1, x.data, z, &error) &&
                  !tp_operator_apply(&w[0], false, 1, z, y, &error));
        for (int s = 0; s < SIZE; s++)
            fourth += pow(y[s], 4) / SIZE;
        cr_expect_float_eq(mean_product(y, y, SIZE), different ? 1 : 2, 1e-12);
        cr_expect_float_eq(mean_product(y, x.data, SIZE), different ? 0 : 1, 1e-12);
        cr_expect_float_eq(fourth, different ? 3 : 12, different ? 0.03 : 0.12, "%g", fourth);
        for (int k = 0; k < 2; k++)
            tp_operator_free(&w[k]);
        free(z);
        free(y);
    }
    ad_free(x.data);
    tp_space_free(&space);
}

/* ---- kernels ---- */
enum { ROWS = 5, FEATURES = 8 };

static tp_kernel solve(nn_function function, const nn_spec *spec, tp_kernel_kind which, const double *x, size_t rows,
                       const double *x2, size_t rows2, const tp_limit_spec *limit)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    nn_net *net = nn_trace(function, spec, &error);
    cr_assert(net, "%s", error.text);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    cr_assert_eq(tp_limit(program, which, x, rows, x2, rows2, limit, &kernel, &error), 0, "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    return kernel;
}

/* Relative Frobenius distance. */
static double apart(const double *a, const double *b, size_t n)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        off += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(off / size);
}

static ad_var linear(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 2);
    ad_var h = nn_dense(net, "first", x, n);
    nn_weight w = nn_make_weight(net, "w", n, m, 1.3);
    for (int t = 0; t < 3; t++)
        h = ad_add(h, nn_dense(net, nn_name(net, "back%d", t), nn_apply(w, h), n));
    return nn_readout(net, "readout", h);
}

Test(sample, linear_networks_are_exact_at_any_number_of_samples)
{
    double x[ROWS * FEATURES];
    ad_normal(1, 1, 0, ROWS * FEATURES, x);
    nn_spec spec = { .features = FEATURES };
    for (int which = TP_NTK; which <= TP_NNGP; which++) {
        tp_kernel exact = solve(linear, &spec, (tp_kernel_kind)which, x, ROWS, NULL, 0, NULL);
        for (size_t samples = 256; samples <= 1024; samples *= 2) {
            tp_limit_spec limit = { .engine = TP_ENGINE_SAMPLE, .samples = samples, .runs = 2 };
            tp_kernel sampled = solve(linear, &spec, (tp_kernel_kind)which, x, ROWS, NULL, 0, &limit);
            double off = apart(sampled.terms[0].values, exact.terms[0].values, ROWS * ROWS);
            cr_expect_lt(off, 1e-12, "%zu samples: %g", samples, off);
            tp_kernel_free(&sampled);
        }
        tp_kernel_free(&exact);
    }
    ad_error error = { 0 };
    tp_kernel kernel;
    nn_net *net = nn_trace(linear, &spec, &error);
    tp_program *program = tp_translate(net, &error);
    tp_limit_spec few = { .engine = TP_ENGINE_SAMPLE, .rule = TP_RULE_GENERAL, .samples = 16, .runs = 2 };
    cr_expect(tp_limit(program, TP_NTK, x, ROWS, NULL, 0, &few, &kernel, &error) < 0 && strstr(error.text, "too few"),
              "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}

/* Distances beyond four standard errors of a mean over 16 runs: less than one in 500 for each of the twelve cases, were
 * the entries independent. */
Test(sample, agrees_with_the_exact_engine)
{
    static const char *const all[][3] = { { "phi=relu", "sigma_b=0.3" }, { "phi=tanh", "sigma_w=1.2" },
                                          { "phi=gelu", "sigma_b=0" },   { "phi=erf", "depth=1" },
                                          { "phi=abs", "depth=2" },      { "phi=sin", "depth=2" } };
    double x[ROWS * FEATURES], x2[3 * FEATURES];
    ad_normal(1, 1, 0, ROWS * FEATURES, x);
    ad_normal(1, 2, 0, 3 * FEATURES, x2);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int which = TP_NTK; which <= TP_NNGP; which++) {
            nn_spec spec = { .features = FEATURES,
                             .settings = (const char *[]){ all[i][0], all[i][1], NULL },
                             .sigma_in = i % 2 ? NN_SIGMA_INIT : NN_SIGMA_MULTIPLIER };
            tp_limit_spec limit = { .engine = TP_ENGINE_SAMPLE, .runs = 16 };
            tp_kernel exact = solve(nn_builtin("mlp"), &spec, (tp_kernel_kind)which, x, ROWS, x2, 3, NULL);
            tp_kernel sampled = solve(nn_builtin("mlp"), &spec, (tp_kernel_kind)which, x, ROWS, x2, 3, &limit);
            double off = apart(sampled.terms[0].values, exact.terms[0].values, ROWS * 3);
            cr_expect(off < 4 * sampled.error, "%s: off by %g, said %g", all[i][0], off, sampled.error);
            cr_expect_lt(sampled.error, 0.02, "%s: %g", all[i][0], sampled.error);
            for (int k = 0; k < ROWS * 3; k++)
                cr_expect(fabs(sampled.terms[0].values[k] - exact.terms[0].values[k]) < 6 * sampled.deviations[k]);
            tp_kernel_free(&exact);
            tp_kernel_free(&sampled);
        }
}

/* Functions that bend within 1 of 0, or are large in the tails, at wider and wider preactivations, several rows, the
 * largest of them anywhere: a kernel that is given is right, within t of seven degrees of freedom at one in 10^5 for
 * each of the 162 entries; where few samples see what it is made of there is none. */
Test(sample, what_few_samples_see_is_refused)
{
    static const char *const functions[] = { "phi=tanh", "phi=erf", "phi=sigmoid", "phi=exp" };
    static const double sizes[] = { 1, 10, 1e3, 1e8, 1e30, 1e100 };
    int refused[4] = { 0 }, given = 0;
    for (int f = 0; f < 4; f++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            for (int which = TP_NTK; which <= TP_NNGP; which++) {
                double x[3 * FEATURES];
                ad_error error = { 0 };
                tp_kernel sampled, exact;
                ad_normal(1, 9, 0, 3 * FEATURES, x);
                for (int i = 0; i < FEATURES; i++)
                    x[k % 3 * FEATURES + (size_t)i] *= f == 3 ? sqrt(sizes[k] / 10) : sizes[k];
                nn_spec spec = { .features = FEATURES, .settings = (const char *[]){ functions[f], "depth=1", NULL } };
                nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
                tp_program *program = tp_translate(net, &error);
                tp_limit_spec limit = { .engine = TP_ENGINE_SAMPLE, .samples = 1024 };
                int status = tp_limit(program, (tp_kernel_kind)which, x, 3, NULL, 0, &limit, &sampled, &error);
                refused[f] += status < 0;
                given += status == 0;
                if (status < 0 && f < 3)
                    cr_expect(strstr(error.text, "too few are where"), "%s", error.text);
                if (!status) {
                    cr_assert_eq(tp_limit(program, (tp_kernel_kind)which, x, 3, NULL, 0, NULL, &exact, &error), 0);
                    for (int i = 0; i < 9; i++)
                        cr_expect(fabs(sampled.terms[0].values[i] - exact.terms[0].values[i]) <
                                      10.1 * sampled.deviations[i],
                                  "%s, %g, kernel %d: %g, sampled %g with %g", functions[f], sizes[k], which,
                                  exact.terms[0].values[i], sampled.terms[0].values[i], sampled.deviations[i]);
                    tp_kernel_free(&exact);
                    tp_kernel_free(&sampled);
                }
                tp_program_free(program);
                nn_net_free(net);
            }
    cr_expect(refused[0] >= 4 && refused[1] >= 4 && refused[2] >= 4 && refused[3] >= 6, "%d %d %d %d", refused[0],
              refused[1], refused[2], refused[3]);
    cr_expect_geq(given, 24);
}

/* 100 dense layers of erf(h), or h and these. */
static bool skips;
static ad_var deep(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n);
    for (int k = 0; k < 100; k++) {
        ad_var g =
            nn_dense_with(net, nn_name(net, "layer%d", k), ad_erf(h), n, .sigma_w = 1.2, .bias = true, .sigma_b = 0.3);
        h = skips ? ad_add(h, g) : g;
    }
    return nn_readout(net, "readout", h);
}

/* Runs of the kernel between two inputs: mean and standard deviation; false where the samples are too few. */
static bool run_deep(size_t samples, const double *x, double *mean, double *deviation, double *exact)
{
    enum { RUNS = 10 };
    nn_spec spec = { .features = FEATURES };
    ad_error error = { 0 };
    double sum = 0, squares = 0, one[4];
    bool enough = true;
    nn_net *net = nn_trace(deep, &spec, &error);
    tp_program *program = tp_translate(net, &error);
    for (uint64_t run = 1; run <= RUNS && enough; run++) {
        tp_sampling sampling = { .samples = samples, .seed = run };
        enough = !tp_sample_once(program, TP_NNGP, &sampling, x, 2, NULL, 0, one, &error);
        sum += one[1] / RUNS;
        squares += one[1] * one[1] / RUNS;
    }
    cr_expect(enough || strstr(error.text, "too few"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    tp_kernel kernel = solve(deep, &spec, TP_NNGP, x, 2, NULL, 0, NULL);
    *exact = kernel.terms[0].values[1];
    *mean = sum;
    *deviation = sqrt(squares - sum * sum);
    tp_kernel_free(&kernel);
    return enough;
}

/* The draws of different layers do not meet: 64 samples are enough for any depth, and the mean of runs is as near as
 * their spread tells (5 standard errors: once in a thousand changes of seeds). Where there are skips all meet. */
Test(sample, layers_that_do_not_meet_draw_apart)
{
    double x[2 * FEATURES], mean, deviation, exact;
    ad_normal(1, 1, 0, 2 * FEATURES, x);
    skips = false;
    cr_expect(run_deep(64, x, &mean, &deviation, &exact));
    cr_assert(run_deep(1024, x, &mean, &deviation, &exact));
    cr_expect_lt(fabs(mean - exact), 5 * deviation / 3, "%g, not %g, spread %g", mean, exact, deviation);
    cr_expect_lt(deviation, 0.02 * exact, "%g of %g", deviation, exact);
    skips = true;
    cr_expect(!run_deep(64, x, &mean, &deviation, &exact));
}

/* Outputs that are not alike and have a readout in common: v erf(U x) and v erf(U x) / 2 + 2 v' relu(U x). */
static ad_var unlike_heads(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), one = ad_fixed(nn_graph(net), "one", 1);
    ad_var h = nn_dense(net, "u", x, n), f = nn_apply(nn_make_weight(net, "v", n, one, 1), ad_erf(h));
    ad_var g = nn_apply(nn_make_weight(net, "w", n, one, 2), ad_relu(h));
    return ad_concat((ad_var[]){ f, ad_add(ad_scale(f, 0.5), g) }, 2, (ad_axis[]){ one, one }, nn_outputs(net));
}

Test(sample, of_each_output_and_between_them)
{
    double x[ROWS * FEATURES], x2[3 * FEATURES];
    ad_normal(2, 1, 0, ROWS * FEATURES, x);
    ad_normal(2, 2, 0, 3 * FEATURES, x2);
    nn_spec spec = { .features = FEATURES, .outputs = 2 };
    for (int k = 0; k < 8; k++) {
        bool second = k & 4;
        tp_limit_spec asked = { .output = (size_t)(k & 1), .output2 = (size_t)(k >> 1 & 1) }, by_samples = asked;
        by_samples.engine = TP_ENGINE_SAMPLE;
        by_samples.runs = 16;
        size_t count = ROWS * (second ? 3 : ROWS);
        tp_kernel exact = solve(unlike_heads, &spec, TP_NTK, x, ROWS, second ? x2 : NULL, 3, &asked);
        tp_kernel sampled = solve(unlike_heads, &spec, TP_NTK, x, ROWS, second ? x2 : NULL, 3, &by_samples);
        for (size_t i = 0; i < count; i++) {
            double off = fabs(sampled.terms[0].values[i] - exact.terms[0].values[i]);
            cr_expect(off < 6 * sampled.deviations[i], "%d, entry %zu: %g of %g by samples, said %g", k, i,
                      sampled.terms[0].values[i], exact.terms[0].values[i], sampled.deviations[i]);
        }
        cr_expect(sampled.error < 0.02, "%d: said %g", k, sampled.error);
        tp_kernel_free(&exact);
        tp_kernel_free(&sampled);
    }
}

/* f = (1/n) sum of v relu(h2), every v = 1 at the start (THEORY section 1): n times the NTK tends to
 * R(Q2) + s S(Q2) R(Q1) + [s S(Q2) S(Q1) + theta theta' R(Q1)] xx'/d, s = sigma^2; the simple rule drops theta. */
static ad_var averaging(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_apply(nn_make_weight(net, "first", ad_shape_get(x)->axes[1], n, 1), x));
    h = ad_relu(nn_apply(nn_make_weight(net, "second", n, n, 1.41421356237309504880), h));
    ad_var v = ad_param(nn_graph(net), "v", ad_shape_of(n, nn_outputs(net)), (ad_init){ .mean = 1, .rate = 1 });
    return ad_scale_by(ad_matmul(h, v), 1, n, -1);
}

static double relu_relu(double a, double b, double c, double *step_step)
{
    double size = sqrt(a * b), angle = acos(fmin(1, fmax(-1, c / size)));
    *step_step = (M_PI - angle) / (2 * M_PI);
    return size * (sin(angle) + (M_PI - angle) * cos(angle)) / (2 * M_PI);
}

Test(sample, the_general_rule_of_an_averaging_readout)
{
    enum { N = 6, D = 4 };
    double *x = reference_inputs(N, D), truth[N * N], gram[N * N], r1[N * N], s1[N * N];
    for (int i = 0; i < N * N; i++) {
        gram[i] = 0;
        for (int k = 0; k < D; k++)
            gram[i] += x[i / N * D + k] * x[i % N * D + k] / D;
    }
    for (int i = 0; i < N * N; i++)
        r1[i] = relu_relu(gram[i / N * (N + 1)], gram[i % N * (N + 1)], gram[i], &s1[i]);
    for (int i = 0; i < N * N; i++) {
        double qa = 2 * r1[i / N * (N + 1)], qb = 2 * r1[i % N * (N + 1)], s2, r2 = relu_relu(qa, qb, 2 * r1[i], &s2);
        double theta = 2 / sqrt(2 * M_PI * qa) * 2 / sqrt(2 * M_PI * qb);
        truth[i] = r2 + 2 * s2 * r1[i] + (2 * s2 * s1[i] + theta * r1[i]) * gram[i];
    }
    nn_spec spec = { .features = D, .sigma_in = NN_SIGMA_MULTIPLIER };
    tp_limit_spec limit = { .engine = TP_ENGINE_SAMPLE, .samples = 16384, .runs = 16 };
    tp_kernel kernel = solve(averaging, &spec, TP_NTK, x, N, NULL, 0, &limit);
    double off = apart(kernel.terms[0].values, truth, N * N);
    cr_expect_eq(kernel.terms[0].power, -1);
    cr_expect(off < 3 * kernel.error, "off by %g, said %g", off, kernel.error);
    cr_expect_lt(kernel.error, 0.01, "%g", kernel.error);
    cr_expect_float_eq(kernel.simple_rule_error, 0.17, 0.01, "%g", kernel.simple_rule_error);
    cr_expect(strstr(kernel.method, "not BP-like"), "%s", kernel.method);
    tp_kernel_free(&kernel);
    free(x);
}

/* ---- beside wide finite networks ---- */
static ad_var tied(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 0.5);
    nn_weight w = nn_make_weight(net, "w", n, m, 1.4);
    ad_var h = ad_relu(nn_dense(net, "first", x, n));
    return nn_readout(net, "readout", ad_relu(nn_apply_t(w, ad_relu(nn_apply(w, h)))));
}

static ad_var gated(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2), g = nn_make_weight(net, "g", n, n, 1);
    ad_var h = ad_tanh(nn_dense(net, "first", x, n));
    for (int t = 0; t < 2; t++) {
        ad_var gate = ad_sigmoid(nn_apply(g, h));
        h = ad_add(ad_mul(gate, h), ad_sub(ad_tanh(nn_apply(w, h)), ad_mul(gate, ad_tanh(nn_apply(w, h)))));
    }
    return nn_readout(net, "readout", h);
}

static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "first", x, n));
    h = nn_dense(net, "second", h, n);
    ad_var size = ad_rsqrt(ad_mean(ad_square(h), ad_shape_of(n)));
    h = ad_tanh(ad_mul(h, ad_expand(size, *ad_shape_get(h))));
    return nn_readout(net, "readout", h);
}

/* Entry by entry, the mean over seeds at width 1024 against the sampled limit: the difference in its standard error,
 * from both, and a bias of order 1/n that is allowed for, 2/n of the diagonal. 15 entries and three nets: 4.2 standard
 * errors of
 * 24 seeds' Student distribution is one false alarm in about 60 changes of seed. */
Test(sample, agrees_with_wide_networks_where_there_is_no_exact_rule)
{
    enum { WIDTH = 1024, SEEDS = 24 };
    static const nn_function all[] = { tied, gated, normalised };
    static const char *const names[] = { "tied", "gated", "normalised" };
    double x[ROWS * FEATURES];
    ad_normal(1, 3, 0, ROWS * FEATURES, x);
    for (int i = 0; i < 3; i++) {
        nn_spec spec = { .features = FEATURES };
        tp_limit_spec limit = { .engine = TP_ENGINE_SAMPLE, .samples = 8192, .threads = 2 };
        tp_kernel kernel = solve(all[i], &spec, TP_NTK, x, ROWS, NULL, 0, &limit);
        double sum[ROWS * ROWS] = { 0 }, squares[ROWS * ROWS] = { 0 }, one[ROWS * ROWS];
        ad_error error = { 0 };
        nn_net *net = nn_trace(all[i], &spec, &error);
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            nn_model *model = nn_model_new(net, WIDTH, seed, AD_FLOAT, 2, &error);
            cr_assert(model && nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, one, &error) == 0, "%s", error.text);
            for (int k = 0; k < ROWS * ROWS; k++) {
                sum[k] += one[k] / SEEDS;
                squares[k] += one[k] * one[k] / SEEDS;
            }
            nn_model_free(model);
        }
        for (int k = 0; k < ROWS * ROWS; k++) {
            const double *limit_value = kernel.terms[0].values;
            double seeds = sqrt(fmax(0, squares[k] - sum[k] * sum[k]) / (SEEDS - 1));
            double bias = 2.0 / WIDTH * sqrt(limit_value[k / ROWS * (ROWS + 1)] * limit_value[k % ROWS * (ROWS + 1)]);
            double off = fabs(sum[k] - limit_value[k]);
            cr_expect(off < 4.2 * hypot(seeds, kernel.deviations[k]) + bias,
                      "%s, entry %d: %g and %g, errors %g and %g", names[i], k, sum[k], limit_value[k], seeds,
                      kernel.deviations[k]);
        }
        tp_kernel_free(&kernel);
        nn_net_free(net);
    }
}

Test(sample, says_how_a_limit_was_found)
{
    double x[2 * FEATURES];
    ad_normal(1, 4, 0, 2 * FEATURES, x);
    nn_spec spec = { .features = FEATURES };
    tp_kernel exact = solve(nn_builtin("mlp"), &spec, TP_NTK, x, 2, NULL, 0, NULL);
    cr_expect_str_eq(exact.method, "closed forms");
    tp_kernel sampled = solve(gated, &spec, TP_NTK, x, 2, NULL, 0, NULL);
    cr_expect(strstr(sampled.method, "no exact rule") && strstr(sampled.method, "test_sample.c"), "%s", sampled.method);
    ad_error error = { 0 };
    nn_net *net = nn_trace(tied, &spec, &error);
    tp_program *program = tp_translate(net, &error);
    tp_kernel kernel;
    cr_expect(tp_limit(program, TP_NTK, x, 2, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel, &error) <
              0);
    cr_expect(strstr(error.text, "together with its transpose"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    tp_kernel_free(&exact);
    tp_kernel_free(&sampled);
}
