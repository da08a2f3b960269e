/* The general rule, with Z dot, by the exact engine: against formulas, the executor at n = infinity, and wide
 * networks. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 6, D = 4 };

typedef struct {
    nn_net *net;
    tp_program *program;
} traced;

static traced trace(nn_function function, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = D, .sigma_in = NN_SIGMA_MULTIPLIER, .settings = settings };
    nn_net *net = nn_trace(function, &spec, &error);
    cr_assert(net, "%s", error.text);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    return (traced){ net, program };
}

static void release(traced t)
{
    tp_program_free(t.program);
    nn_net_free(t.net);
}

static tp_kernel solve(traced t, tp_kernel_kind which, const double *x, const tp_limit_spec *spec)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    cr_assert_eq(tp_limit(t.program, which, x, N, NULL, 0, spec, &kernel, &error), 0, "%s", error.text);
    cr_assert_eq(kernel.n_terms, 1, "%d powers of n", kernel.n_terms);
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

/* ---- an averaging readout ---- */
/* f = (1/n) sum of v phi(h2), h2 = sigma omega phi(h1) / sqrt(n), h1 = U x / sqrt(d); v ~ N(1, spread^2). */
static ad_var averaging(nn_net *net, ad_var x)
{
    const char *phi = nn_setting_text(net, "phi", "relu");
    double spread = nn_setting_real(net, "spread", 0), sigma = nn_setting_real(net, "sigma", 1.41421356237309504880);
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_apply(nn_make_weight(net, "first", ad_shape_get(x)->axes[1], n, 1), x);
    h = nn_apply(nn_make_weight(net, "second", n, n, sigma), nn_activation(net, phi, h));
    ad_init init = { .mean = 1, .deviation = spread, .rate = 1 };
    ad_var v = ad_param(nn_graph(net), "v", ad_shape_of(n, nn_outputs(net)), init);
    return ad_scale_by(ad_matmul(nn_activation(net, phi, h), v), 1, n, -1);
}

static void gram_of(const double *x, double *gram)
{
    for (int i = 0; i < N * N; i++) {
        gram[i] = 0;
        for (int k = 0; k < D; k++)
            gram[i] += x[i / N * D + k] * x[i % N * D + k] / D;
    }
}

static double relu_relu(double a, double b, double c, double *step_step)
{
    double size = sqrt(a * b), angle = acos(fmin(1, fmax(-1, c / size)));
    *step_step = (M_PI - angle) / (2 * M_PI);
    return size * (sin(angle) + (M_PI - angle) * cos(angle)) / (2 * M_PI);
}

/* n times the NTK of ReLU and v = 1: R(Q2) + s S(Q2) R(Q1) + [s S(Q2) S(Q1) + theta theta' R(Q1)] x x'/d, s = sigma^2 =
 * 2, theta_i = s / sqrt(2 pi Q2_ii) (THEORY section 1). With v ~ N(1, 1), E v v' is 2 instead of 1 where v meets
 * itself. */
static void averaged_relu(const double *x, double square, double *truth)
{
    double gram[N * N], r1[N * N], s1[N * N];
    gram_of(x, gram);
    for (int i = 0; i < N * N; i++)
        r1[i] = relu_relu(gram[i / N * (N + 1)], gram[i % N * (N + 1)], gram[i], &s1[i]);
    for (int i = 0; i < N * N; i++) {
        double qa = 2 * r1[i / N * (N + 1)], qb = 2 * r1[i % N * (N + 1)], s2, r2 = relu_relu(qa, qb, 2 * r1[i], &s2);
        double theta = 2 / sqrt(2 * M_PI * qa) * 2 / sqrt(2 * M_PI * qb);
        truth[i] = r2 + square * 2 * s2 * r1[i] + (square * 2 * s2 * s1[i] + theta * r1[i]) * gram[i];
    }
}

/* What is dropped is 17 % and 11 % of it (THEORY section 1). */
Test(general, an_averaging_readout)
{
    static const struct {
        const char *spread;
        double square, dropped;
    } rows[] = { { "spread=0", 1, 0.17 }, { "spread=1", 2, 0.11 } };
    double *x = reference_inputs(N, D), truth[N * N];
    for (int i = 0; i < 2; i++) {
        traced t = trace(averaging, (const char *[]){ rows[i].spread, NULL });
        tp_kernel kernel = solve(t, TP_NTK, x, NULL);
        averaged_relu(x, rows[i].square, truth);
        double off = apart(kernel.terms[0].values, truth, N * N);
        cr_log_info("%s: off by %.2g relative; %s", rows[i].spread, off, kernel.method);
        cr_expect_lt(off, 1e-13, "%s: %g", rows[i].spread, off);
        cr_expect_eq(kernel.terms[0].power, -1);
        cr_expect(kernel.error > off && kernel.error < 1e-13, "%g", kernel.error);
        cr_expect_float_eq(kernel.simple_rule_error, rows[i].dropped, 0.01, "%g", kernel.simple_rule_error);
        cr_expect(strstr(kernel.method, "closed forms; general rule") && strstr(kernel.method, "mean is not zero"),
                  "%s", kernel.method);
        tp_kernel_free(&kernel);
        release(t);
    }
    free(x);
}

/* The mean of 64 networks of width 1500; a single one is off by 5 %, the mean by 0.6 %. */
Test(general, an_averaging_readout_at_a_finite_width)
{
    enum { WIDTH = 1500, SEEDS = 64 };
    ad_error error = { 0 };
    double *x = reference_inputs(N, D), k[N * N], mean[N * N] = { 0 };
    traced t = trace(averaging, NULL);
    tp_kernel kernel = solve(t, TP_NTK, x, NULL);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_model_new(t.net, WIDTH, seed, AD_FLOAT, 1, &error);
        cr_assert(model && nn_ntk(model, x, N, NULL, 0, NN_MEAN, k, &error) == 0, "%s", error.text);
        for (int i = 0; i < N * N; i++)
            mean[i] += WIDTH * k[i] / SEEDS;
        nn_model_free(model);
    }
    double off = apart(mean, kernel.terms[0].values, N * N);
    cr_log_info("%d networks of width %d: off by %.2g relative", SEEDS, WIDTH, off);
    cr_expect_lt(off, 0.01, "%g", off);
    tp_kernel_free(&kernel);
    release(t);
    free(x);
}

/* ---- against the executor ---- */
/* Both ways of one matrix, of widths n and n/2; h is linear, so the argument of the second phi is a combination of
 * Gaussians. */
static ad_var back_and_forth(nn_net *net, ad_var x)
{
    const char *phi = nn_setting_text(net, "phi", "identity");
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 0.5);
    nn_weight w = nn_make_weight(net, "w", n, m, 1.4);
    ad_var h = nn_dense(net, "first", x, n);
    return nn_readout(net, "readout", nn_activation(net, phi, nn_apply_t(w, nn_activation(net, phi, nn_apply(w, h)))));
}

/* No random readout: the output is an average itself. */
static ad_var no_readout(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_activation(net, nn_setting_text(net, "phi", "relu"), nn_dense(net, "u", nn_dense(net, "h", x, n), n));
    return ad_expand(ad_mean(h, ad_shape_of(n)), ad_shape_of(ad_shape_get(x)->axes[0], nn_outputs(net)));
}

/* W' meets a function of two earlier products of W. */
static ad_var twice(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 0.8);
    ad_var a = nn_dense(net, "a", x, n), b = nn_dense(net, "b", x, n);
    ad_var u = ad_erf(ad_add(nn_apply(w, a), ad_scale(nn_apply(w, ad_add(a, b)), 0.5)));
    return nn_readout(net, "readout", ad_erf(ad_add(a, nn_apply_t(w, u))));
}

/* The limit by both engines; 5 standard errors of a mean over 8 runs, relative Frobenius, for strongly correlated
 * entries: P(|t| > 5) is 0.002 at 7 degrees of freedom, for each of ten. */
Test(general, agrees_with_the_executor)
{
    static const struct {
        const char *name;
        nn_function function;
        const char *phi;
    } rows[] = {
        { "averaged square", averaging, "phi=square" }, { "averaged erf", averaging, "phi=erf" },
        { "averaged gelu", averaging, "phi=gelu" },     { "averaged tanh", averaging, "phi=tanh" },
        { "tied relu", back_and_forth, "phi=relu" },    { "tied erf", back_and_forth, "phi=erf" },
        { "tied sin", back_and_forth, "phi=sin" },      { "tied tanh", back_and_forth, "phi=tanh" },
        { "no readout", no_readout, "phi=relu" },       { "twice", twice, NULL },
    };
    double *x = reference_inputs(N, D);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        traced t = trace(rows[i].function, (const char *[]){ rows[i].phi, NULL });
        tp_limit_spec sampled = { .engine = TP_ENGINE_SAMPLE, .samples = 16384 };
        tp_kernel a = solve(t, TP_NTK, x, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }),
                  b = solve(t, TP_NTK, x, &sampled);
        double off = apart(b.terms[0].values, a.terms[0].values, N * N);
        cr_log_info("%s: apart by %.2g, said %.2g; the simple rule off by %.2g (%s)", rows[i].name, off, b.error,
                    a.simple_rule_error, a.method);
        cr_expect(fabs(a.terms[0].power - b.terms[0].power) < 1e-9, "%s", rows[i].name);
        cr_expect(off < 5 * b.error, "%s: apart by %g, said %g", rows[i].name, off, b.error);
        cr_expect_lt(b.error, 0.01, "%s: %g", rows[i].name, b.error);
        tp_kernel_free(&a);
        tp_kernel_free(&b);
        release(t);
    }
    free(x);
}

/* f = v W'W h: |W'W h|^2 / n tends to K times the second moment r + r^2 of Marchenko and Pastur's law, r = m/n = 1/2,
 * times sigma^4. The executor gives both kernels to rounding, whatever its samples. */
Test(general, a_linear_network_both_ways)
{
    double *x = reference_inputs(N, D), gram[N * N];
    traced t = trace(back_and_forth, NULL);
    tp_kernel exact[2];
    for (int which = TP_NTK; which <= TP_NNGP; which++) {
        exact[which] = solve(t, (tp_kernel_kind)which, x, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT });
        for (size_t samples = 128; samples <= 512; samples *= 4) {
            tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = samples, .runs = 2 };
            tp_kernel sampled = solve(t, (tp_kernel_kind)which, x, &spec);
            double off = apart(sampled.terms[0].values, exact[which].terms[0].values, N * N);
            cr_expect_lt(off, 1e-12, "%zu samples: %g", samples, off);
            tp_kernel_free(&sampled);
        }
    }
    gram_of(x, gram);
    for (int i = 0; i < N * N; i++)
        gram[i] *= 0.75 * pow(1.4, 4);
    cr_expect_lt(apart(exact[TP_NNGP].terms[0].values, gram, N * N), 1e-14);
    tp_kernel_free(&exact[0]);
    tp_kernel_free(&exact[1]);
    release(t);
    free(x);
}

/* Two steps of gradient descent on one example h', of label 1, unrolled (THEORY section 4). f = v (W h) / n is 0 at the
 * start, so the first step at rate n c adds c v <h', h> / n to W h, and c W h' to v; in the second W alone learns,
 * whose part is -c (f - 1) v <h', h> / n. x is (point, features), the example's point first. */
static ad_var trained(nn_net *net, ad_var x)
{
    const double c = 0.7;
    ad_axis n = nn_width(net, "n"), point = ad_shape_get(x)->axes[1], one = nn_outputs(net);
    ad_shape width = ad_shape_of(n);
    nn_weight w = nn_make_weight(net, "w", n, n, 1.1);
    ad_var h = nn_dense(net, "first", x, n), seen = ad_take(h, point, 0), asked = ad_take(h, point, 1);
    ad_var v = ad_param(nn_graph(net), "v", ad_shape_of(n, one), (ad_init){ .deviation = 1, .rate = 1 });
    v = ad_take(ad_expand(v, ad_shape_of(ad_shape_get(x)->axes[0], n, one)), one, 0);
    ad_var overlap = ad_mean(ad_mul(seen, asked), width), own = ad_mean(ad_square(seen), width);
    ad_var u = ad_add(nn_apply(w, asked), ad_scale(ad_mul(v, overlap), c));
    ad_var u_seen = ad_add(nn_apply(w, seen), ad_scale(ad_mul(v, own), c));
    v = ad_add(v, ad_scale(nn_apply(w, seen), c));
    ad_var off = ad_sub(ad_mean(ad_mul(v, u_seen), width), ad_constant(x.graph, 1, (ad_shape){ 0 }));
    u = ad_sub(u, ad_scale(ad_mul(v, ad_mul(overlap, off)), c));
    return ad_expand(ad_mean(ad_mul(v, u), width), ad_shape_of(ad_shape_get(x)->axes[0], one));
}

Test(general, linear_training_is_exact_at_any_number_of_samples)
{
    ad_error error = { 0 };
    double *x = reference_inputs(N, 2 * D);
    nn_net *net = nn_trace(trained, &(nn_spec){ .shape = { 2, D } }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    traced t = { net, program };
    tp_kernel exact = solve(t, TP_NTK, x, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT });
    cr_log_info("%s", exact.method);
    for (size_t samples = 16; samples <= 2048; samples *= 4) {
        tp_kernel sampled = solve(t, TP_NTK, x, &(tp_limit_spec){ .engine = TP_ENGINE_SAMPLE, .samples = samples });
        double off = apart(sampled.terms[0].values, exact.terms[0].values, N * N);
        cr_expect_lt(off, 1e-12, "%zu samples: %g", samples, off);
        tp_kernel_free(&sampled);
    }
    tp_kernel_free(&exact);
    release(t);
    free(x);
}

/* ---- beside wide networks ---- */
/* Entry by entry, the mean over 24 seeds of width 1024 within 5 standard errors and a bias of 4/n of the largest entry:
 * P(|t| > 5) < 5e-5 at 23 degrees of freedom, for each of 21 entries. */
Test(general, agrees_with_wide_networks)
{
    enum { WIDTH = 1024, SEEDS = 24 };
    ad_error error = { 0 };
    double *x = reference_inputs(N, D), k[N * N], mean[N * N] = { 0 }, variance[N * N] = { 0 }, largest = 0;
    traced t = trace(back_and_forth, (const char *[]){ "phi=erf", NULL });
    tp_kernel kernel = solve(t, TP_NTK, x, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT });
    for (int seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_model_new(t.net, WIDTH, (uint64_t)seed, AD_FLOAT, 1, &error);
        cr_assert(model && nn_ntk(model, x, N, NULL, 0, NN_MEAN, k, &error) == 0, "%s", error.text);
        for (int i = 0; i < N * N; i++) {
            double off = k[i] - mean[i];
            mean[i] += off / seed;
            variance[i] += off * (k[i] - mean[i]) / (SEEDS - 1);
        }
        nn_model_free(model);
    }
    for (int i = 0; i < N * N; i++)
        largest = fmax(largest, fabs(kernel.terms[0].values[i]));
    for (int i = 0; i < N * N; i++)
        cr_expect_lt(fabs(mean[i] - kernel.terms[0].values[i]), 5 * sqrt(variance[i] / SEEDS) + 4.0 / WIDTH * largest,
                     "entry %d: %g and %g", i, mean[i], kernel.terms[0].values[i]);
    tp_kernel_free(&kernel);
    release(t);
    free(x);
}

/* ---- what has no exact form, and what needs no Z dot ---- */
static ad_var mixed(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1);
    return nn_readout(net, "readout", ad_relu(nn_apply_t(w, ad_relu(nn_apply(w, ad_relu(nn_dense(net, "h", x, n)))))));
}

Test(general, goes_to_the_executor_where_there_is_no_exact_rule)
{
    ad_error error = { 0 };
    double *x = reference_inputs(N, D);
    traced t = trace(mixed, NULL);
    tp_kernel kernel = solve(t, TP_NTK, x, NULL);
    cr_expect(strstr(kernel.method, "sampled") && strstr(kernel.method, "not BP-like") &&
                  strstr(kernel.method, "several G-vars"),
              "%s", kernel.method);
    cr_expect_gt(kernel.simple_rule_error, 0.05);
    tp_kernel_free(&kernel);
    cr_expect_eq(
        tp_limit(t.program, TP_NTK, x, N, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel, &error), -1);
    cr_expect(strstr(error.text, "together with its transpose") && strstr(error.text, "several G-vars"), "%s",
              error.text);
    release(t);
    free(x);
}

/* Of a BP-like program both rules give the same numbers. */
Test(general, a_bp_like_program_has_no_z_dot)
{
    static const char *const settings[][3] = { { "phi=relu", "sigma_b=0.3" }, { "phi=tanh", "depth=3" } };
    double *x = reference_inputs(N, D);
    for (int i = 0; i < 2; i++) {
        traced t = trace(nn_builtin("mlp"), settings[i]);
        tp_kernel a = solve(t, TP_NTK, x, NULL), b = solve(t, TP_NTK, x, &(tp_limit_spec){ .rule = TP_RULE_GENERAL });
        cr_expect_lt(apart(b.terms[0].values, a.terms[0].values, N * N), 1e-14);
        tp_kernel_free(&a);
        tp_kernel_free(&b);
        release(t);
    }
    free(x);
}
