/* What a kernel says of its error is true: against recursions in long double, where inputs are collinear, layers many
 * and chaotic, terms cancel, batches are of two, powers high, and variances at the ends of a double's range. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { MOST = 8, D = 3 };
static const long double pi = 3.141592653589793238462643383279503L;

/* The kernel (rows, rows), and its error. */
static double solve(nn_function function, const char *const *settings, tp_kernel_kind which, size_t features,
                    size_t rows, const double *x, double *out)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, &(nn_spec){ .features = features, .outputs = 1, .settings = settings }, &error);
    cr_assert(net, "%s", error.text);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    tp_kernel kernel;
    cr_assert_eq(tp_limit(program, which, x, rows, NULL, 0, NULL, &kernel, &error), 0, "%s", error.text);
    cr_assert_eq(kernel.n_terms, 1);
    memcpy(out, kernel.terms[0].values, rows * rows * sizeof *out);
    double said = kernel.error;
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
    return said;
}

static void expect_true(const char *name, size_t rows, const double *found, const long double *truth, double said,
                        double most)
{
    long double worst = 0;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < rows; j++) {
            long double size = sqrtl(truth[i * rows + i]) * sqrtl(truth[j * rows + j]);
            worst = fmaxl(worst, fabsl((long double)found[i * rows + j] - truth[i * rows + j]) / size);
        }
    cr_log_info("%s: off by %.2Lg, said %.2g", name, worst, said);
    cr_expect(worst <= (long double)said, "%s: off by %Lg, said %g", name, worst, said);
    cr_expect(said > 0 && said < most, "%s: said %g", name, said);
}

/* ---- layers in long double ---- */
typedef enum { RELU, ERF, SIN, SIGN, STEP } kind;
static const char *const phis[] = { "relu", "erf", "sin", "sign", "step" };

/* Correlations that rounding alone keeps from 1 and -1 are these. */
static long double correlation(long double q1, long double q2, long double c)
{
    long double r = c / sqrtl(q1) / sqrtl(q2);
    return 1 - fabsl(r) < 1e-17L ? copysignl(1, r) : r;
}

static long double value_of(kind k, long double a, long double b, long double c)
{
    long double r = correlation(a, b, c);
    switch (k) {
    case RELU:
        return sqrtl(a) * sqrtl(b) * (sqrtl(1 - r * r) + (pi - acosl(r)) * r) / (2 * pi);
    case ERF:
        return 2 / pi * asinl(2 * c / sqrtl((1 + 2 * a) * (1 + 2 * b)));
    case SIN:
        return expl(-(a + b) / 2) * sinhl(c);
    case SIGN:
        return 2 / pi * asinl(r);
    case STEP:
        return (pi - acosl(r)) / (2 * pi);
    }
    return 0;
}

static long double slope_of(kind k, long double a, long double b, long double c)
{
    switch (k) {
    case RELU:
        return (pi - acosl(correlation(a, b, c))) / (2 * pi);
    case ERF:
        return 4 / pi / sqrtl((1 + 2 * a) * (1 + 2 * b) - 4 * c * c);
    case SIN:
        return expl(-(a + b) / 2) * coshl(c);
    default:
        return 0;
    }
}

/* The mlp without biases: K' = s^2 E f f; Theta' = E f f + s^2 Theta E f' f'. */
static void layers(kind k, int depth, double sigma, tp_kernel_kind which, size_t features, size_t rows, const double *x,
                   long double *out)
{
    long double square = (long double)sigma * sigma, cov[MOST * MOST], theta[MOST * MOST];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < rows; j++) {
            long double sum = 0;
            for (size_t m = 0; m < features; m++)
                sum += (long double)x[i * features + m] * x[j * features + m] / features;
            theta[i * rows + j] = sum;
            cov[i * rows + j] = square * sum;
        }
    for (int layer = 0; layer < depth; layer++) {
        long double next[MOST * MOST];
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < rows; j++) {
                long double a = cov[i * rows + i], b = cov[j * rows + j], c = cov[i * rows + j];
                long double value = value_of(k, a, b, c);
                theta[i * rows + j] = value + square * theta[i * rows + j] * slope_of(k, a, b, c);
                next[i * rows + j] = square * value;
            }
        memcpy(cov, next, sizeof cov);
    }
    memcpy(out, which == TP_NTK ? theta : cov, rows * rows * sizeof *out);
}

static void compare(const char *name, kind k, int depth, double sigma, tp_kernel_kind which, size_t features,
                    size_t rows, const double *x, double most)
{
    char text[3][40];
    double found[MOST * MOST];
    long double truth[MOST * MOST];
    snprintf(text[0], sizeof text[0], "depth=%d", depth);
    snprintf(text[1], sizeof text[1], "phi=%s", phis[k]);
    snprintf(text[2], sizeof text[2], "sigma_w=%.17g", sigma);
    const char *settings[] = { text[0], text[1], text[2], NULL };
    double said = solve(nn_builtin("mlp"), settings, which, features, rows, x, found);
    layers(k, depth, sigma, which, features, rows, x, truth);
    expect_true(name, rows, found, truth, said, most);
}

static const double spread[5 * D] = { 1, 0.2, -0.5, 0.3, -1.1, 0.8, -0.6, 0.4, 1.7, 1.2, 0.1, 0.9, -0.2, -0.7, -1.3 };

/* One feature, and three with all rows on a line, to either side. */
Test(errors, inputs_on_a_line)
{
    static const double one[6] = { 0.5, 1, 2, 3, -1, -4 };
    static const double three[6 * D] = { 1,    2,   3,    2,  4,  6,  -1,      -2,      -3,
                                         0.25, 0.5, 0.75, -3, -6, -9, 0x1p-17, 0x1p-16, 0x3p-17 };
    for (int k = RELU; k <= STEP; k++)
        for (int depth = 1; depth <= 5; depth += 2)
            for (int which = TP_NTK; which <= TP_NNGP; which++) {
                if (which == TP_NTK && k >= SIGN)
                    continue;
                compare("one feature", (kind)k, depth, sqrt(2), (tp_kernel_kind)which, 1, 6, one, 1e-12);
                compare("collinear", (kind)k, depth, sqrt(2), (tp_kernel_kind)which, D, 6, three, 1e-11);
            }
}

/* Of collinear inputs, ReLU's NTK of depth 1 is |x x'| (1/2 + 1/2) or 0, to the last digits. */
Test(errors, relu_of_one_feature_is_exact)
{
    static const double x[6] = { 0.5, 1, 2, 3, -1, -4 };
    const char *settings[] = { "depth=1", "phi=relu", "sigma_w=1.4142135623730951", NULL };
    double found[36];
    solve(nn_builtin("mlp"), settings, TP_NTK, 1, 6, x, found);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            double truth = x[i] * x[j] > 0 ? 2 * x[i] * x[j] : 0;
            cr_expect_float_eq(found[i * 6 + j], truth, 4e-15 * fabs(x[i] * x[j]), "%d, %d: %.17g", i, j,
                               found[i * 6 + j]);
        }
}

Test(errors, ordinary_inputs)
{
    for (int k = RELU; k <= SIN; k++)
        for (int which = TP_NTK; which <= TP_NNGP; which++)
            compare("ordinary", (kind)k, 3, sqrt(2), (tp_kernel_kind)which, D, 5, spread, 1e-12);
}

Test(errors, many_chaotic_layers)
{
    compare("erf", ERF, 64, 2.5, TP_NNGP, D, 5, spread, 1e-11);
    compare("sin", SIN, 64, 2.5, TP_NNGP, D, 5, spread, 1e-11);
    compare("sin", SIN, 64, 2.5, TP_NTK, D, 5, spread, 1e-10);
    compare("sign", SIGN, 64, 2.5, TP_NNGP, D, 5, spread, 1e-11);
    compare("step", STEP, 64, 2.5, TP_NNGP, D, 5, spread, 1e-11);
}

/* Chaos drives what is near apart: what is left of 1e-5 after 12 layers. */
Test(errors, near_inputs_in_chaos)
{
    static const double x[3 * D] = { 1, 0.2, -0.5, 1.00001, 0.2, -0.5, 0.3, -1.1, 0.8 };
    compare("erf", ERF, 12, 2.5, TP_NNGP, D, 3, x, 1e-8);
    compare("sin", SIN, 12, 2.5, TP_NTK, D, 3, x, 1e-6);
}

/* Squared norms from 1e-280 to 1e280. */
Test(errors, variances_of_every_size)
{
    for (int power = -140; power <= 140; power += 70) {
        double x[5 * D];
        for (int i = 0; i < 5 * D; i++)
            x[i] = spread[i] * pow(10, power);
        compare("relu", RELU, 3, sqrt(2), TP_NTK, D, 5, x, 1e-12);
        compare("sign", SIGN, 3, sqrt(2), TP_NNGP, D, 5, x, 1e-12);
    }
}

/* ---- terms that cancel: v (erf(U x) - erf(U x0)) ---- */
static ad_var centred(nn_net *net, ad_var x)
{
    ad_axis features = ad_fixed(nn_graph(net), "features", D), n = nn_width(net, "n");
    nn_weight u = nn_make_weight(net, "u", features, n, 1);
    ad_var x0 = ad_constant(nn_graph(net), 0.75, *ad_shape_get(x));
    return nn_readout(net, "v", ad_sub(ad_erf(nn_apply(u, x)), ad_erf(nn_apply(u, x0))));
}

Test(errors, terms_that_cancel)
{
    double x[4 * D] = { 0.75, 0.75, 0.76, 0.7, 0.8, 0.75, -1, 2, 0.5, 0.7501, 0.75, 0.75 }, found[16];
    const double x0[D] = { 0.75, 0.75, 0.75 };
    long double truth[16];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const double *row[3] = { x + i * D, x + j * D, x0 };
            long double q[3][3] = { { 0 } }, e[3][3];
            for (int a = 0; a < 3; a++)
                for (int b = 0; b < 3; b++)
                    for (int m = 0; m < D; m++)
                        q[a][b] += (long double)row[a][m] * row[b][m] / D;
            for (int a = 0; a < 3; a++)
                for (int b = 0; b < 3; b++)
                    e[a][b] = value_of(ERF, q[a][a], q[b][b], q[a][b]);
            truth[i * 4 + j] = e[0][1] - e[0][2] - e[2][1] + e[2][2];
        }
    double said = solve(centred, NULL, TP_NNGP, D, 4, x, found);
    expect_true("centred", 4, found, truth, said, 1e-3);
}

/* f(x) - f(x0), with f an mlp. */
static ad_var centred_mlp(nn_net *net, ad_var x)
{
    int depth = (int)nn_setting_int(net, "depth", 1, 1, 8);
    const char *phi = nn_setting_text(net, "phi", "relu");
    ad_axis in = ad_fixed(nn_graph(net), "features", D), outputs = ad_fixed(nn_graph(net), "outputs", 1);
    ad_var h[2] = { x, ad_constant(nn_graph(net), 0.75, *ad_shape_get(x)) };
    for (int l = 0; l <= depth; l++) {
        ad_axis out = l < depth ? nn_width(net, nn_name(net, "n%d", l)) : outputs;
        nn_weight w = nn_make_weight(net, nn_name(net, "w%d", l), in, out, 1.3);
        for (int k = 0; k < 2; k++)
            h[k] = l < depth ? nn_activation(net, phi, nn_apply(w, h[k])) : nn_apply(w, h[k]);
        in = out;
    }
    return ad_sub(h[0], h[1]);
}

/* The row of x0 is 0 to what is said, and takes no digits from the others. */
Test(errors, a_row_that_cancels_leaves_the_others_their_digits)
{
    static const char *const depths[] = { "depth=1", "depth=2", "depth=3", "depth=8" };
    static const char *const functions[] = { "phi=relu", "phi=erf", "phi=tanh" };
    double x[4 * D] = { 0.75, 0.75, 0.75, 1.5, 0.7, 0.8, -1, 2, 0.5, 0.3, -0.9, 0.75 }, found[16];
    for (int k = 0; k < 24; k++) {
        const char *settings[] = { depths[k % 4], functions[k / 8], NULL };
        double said = solve(centred_mlp, settings, k / 4 % 2 ? TP_NTK : TP_NNGP, D, 4, x, found), largest = 0;
        for (int i = 0; i < 4; i++)
            largest = fmax(largest, found[i * 5]);
        cr_expect(said < 1e-5, "%s %s: said %g", settings[0], settings[1], said);
        for (int j = 0; j < 4; j++)
            cr_expect(fabs(found[j]) <= said * sqrt(largest * (j ? found[j * 5] : largest)), "%s %s: %g, said %g",
                      settings[0], settings[1], found[j], said);
    }
}

/* phi(U x + U sin x): the covariance has products of x with sin x, whose sizes are not what the variance is made of. */
static ad_var of_two_views(nn_net *net, ad_var x)
{
    nn_weight u = nn_make_weight(net, "u", ad_shape_get(x)->axes[1], nn_width(net, "n"), 1);
    ad_var v = ad_add(nn_apply(u, x), nn_apply(u, ad_sin(x)));
    return nn_readout(net, "v", nn_activation(net, nn_setting_text(net, "phi", "relu"), v));
}

/* phi(W tanh(U x)): the correlation of equal rows is 1 without an error, and its covariance a rounding off. */
static ad_var of_one_view(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width(net, "m");
    nn_weight u = nn_make_weight(net, "u", ad_shape_get(x)->axes[1], n, 1.7), w = nn_make_weight(net, "w", n, m, 1.3);
    ad_var h = nn_apply(w, ad_tanh(nn_apply(u, x)));
    return nn_readout(net, "v", nn_activation(net, nn_setting_text(net, "phi", "relu"), h));
}

/* Rows that a second set has again, so that the correlation is 1, against the same from one set. */
static void expect_alike(nn_function function, const char *phi, tp_kernel_kind which, double most)
{
    enum { ROWS = 5 };
    const char *settings[] = { phi, NULL };
    ad_error error = { 0 };
    double one[ROWS * ROWS], said = solve(function, settings, which, D, ROWS, spread, one);
    nn_net *net = nn_trace(function, &(nn_spec){ .features = D, .settings = settings }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    tp_kernel kernel;
    cr_assert(program && tp_limit(program, which, spread, ROWS, spread, ROWS, NULL, &kernel, &error) == 0, "%s",
              error.text);
    for (int i = 0; i < ROWS * ROWS; i++) {
        double off = fabs(kernel.terms[0].values[i] - one[i]);
        double size = sqrt(one[i / ROWS * (ROWS + 1)] * one[i % ROWS * (ROWS + 1)]);
        cr_expect(off <= (said + kernel.error) * size, "%s, entry %d: off by %g, said %g and %g", phi, i, off / size,
                  said, kernel.error);
    }
    cr_expect(kernel.error < most, "%s: said %g", phi, kernel.error);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

Test(errors, a_second_set_of_the_same_rows)
{
    static const char *const names[] = { "phi=relu", "phi=elu", "phi=step", "phi=tanh", "phi=hard_tanh" };
    for (int k = 0; k < 10; k++) {
        expect_alike(of_two_views, names[k / 2], k % 2 ? TP_NNGP : TP_NTK, 1e-6);
        expect_alike(of_one_view, names[k / 2], k % 2 ? TP_NNGP : TP_NTK, 1e-6);
    }
}

/* ---- x^32: E h^64 = 63!! q^32 ---- */
static ad_var high_power(nn_net *net, ad_var x)
{
    ad_axis features = ad_fixed(nn_graph(net), "features", D), n = nn_width(net, "n");
    ad_var h = nn_apply(nn_make_weight(net, "u", features, n, 1), x);
    for (int k = 0; k < nn_setting_int(net, "times", 5, 1, 20); k++)
        h = ad_mul(h, h);
    return nn_readout(net, "v", h);
}

Test(errors, a_high_power)
{
    const double x[D] = { 1, 1, 1 };
    double found;
    long double truth = 1;
    for (int k = 63; k > 0; k -= 2)
        truth *= k;
    double said = solve(high_power, NULL, TP_NNGP, D, 1, x, &found);
    expect_true("x^32", 1, &found, &truth, said, 1e-11);
}

/* ---- refusals ---- */
static void expect_refused(nn_function function, const char *const *settings, tp_engine engine, const char *words)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, &(nn_spec){ .features = D, .outputs = 1, .settings = settings }, &error);
    cr_assert(net, "%s", error.text);
    tp_program *program = tp_translate(net, &error);
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = engine };
    cr_assert(program, "%s", error.text);
    cr_expect_eq(tp_limit(program, TP_NTK, spread, 2, NULL, 0, &spec, &kernel, &error), -1);
    cr_expect(strstr(error.text, words), "%s", error.text);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

/* The derivative of sqrt |x| has no second moment. */
static ad_var root(nn_net *net, ad_var x)
{
    ad_axis features = ad_fixed(nn_graph(net), "features", D), n = nn_width(net, "n");
    return nn_readout(net, "v", ad_sqrt(ad_abs(nn_apply(nn_make_weight(net, "u", features, n, 1), x))));
}

Test(errors, infinite_expectations_are_refused)
{
    expect_refused(root, NULL, TP_ENGINE_EXACT, "does not converge");
    expect_refused(root, NULL, TP_ENGINE_SAMPLE, "does not converge");
    expect_refused(root, NULL, TP_ENGINE_AUTO, "does not converge");
}

Test(errors, a_range_that_is_left_is_named)
{
    const char *times[] = { "times=9", "times=10", "times=11", "times=14" }; /* from 10 on weights' factors underflow */
    for (size_t k = 0; k < sizeof times / sizeof *times; k++) {
        expect_refused(high_power, (const char *[]){ times[k], NULL }, TP_ENGINE_EXACT, "range of a double");
        expect_refused(high_power, (const char *[]){ times[k], NULL }, TP_ENGINE_AUTO, "range of a double");
    }
}

/* What is scaled down by so much that its kernel is below a double's range is not 0. */
static ad_var scaled_down(nn_net *net, ad_var x)
{
    ad_var h = ad_scale(ad_relu(nn_dense(net, "u", x, nn_width(net, "n"))), 1e-100);
    return ad_scale(nn_readout(net, "v", ad_scale(h, 1e-100)), 1e-100);
}

Test(errors, what_is_below_the_range_is_not_zero)
{
    expect_refused(scaled_down, NULL, TP_ENGINE_EXACT, "range of a double");
    expect_refused(scaled_down, NULL, TP_ENGINE_AUTO, "range of a double");
}

/* tanh(c h) tanh(2 c h) at a deviation of 1e8: a dip as thin as that, whose slopes no bound follows. */
static ad_var all_but_a_jump(nn_net *net, ad_var x)
{
    ad_var h = ad_scale(nn_dense(net, "u", x, nn_width(net, "n")), 1e8);
    return nn_readout(net, "v", ad_mul(ad_tanh(h), ad_tanh(ad_scale(h, 2))));
}

Test(errors, a_kernel_without_a_sure_digit_is_refused)
{
    expect_refused(all_but_a_jump, NULL, TP_ENGINE_EXACT, "no digit of it is sure");
    expect_refused(all_but_a_jump, NULL, TP_ENGINE_AUTO, "no digit of it is sure");
}

static ad_var saturates(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_readout(net, "v", ad_tanh(ad_scale_by(nn_dense(net, "u", x, n), 1, n, 0.5)));
}

Test(errors, what_grows_is_told_with_its_power)
{
    for (tp_engine engine = TP_ENGINE_AUTO; engine <= TP_ENGINE_SAMPLE; engine++)
        expect_refused(saturates, NULL, engine, "its argument grows like n^0.5");
    expect_refused(saturates, NULL, TP_ENGINE_AUTO, "a scale of n^-0.5 before it");
}

/* ---- a batch of two: after normalisation both are +-d / sqrt(d^2 + 4 epsilon), d Gaussian ---- */
Test(errors, a_batch_of_two)
{
    enum { NODES = 4000 };
    const char *settings[] = { "depth=1", "phi=tanh", "sigma_w=1.4142135623730951", NULL };
    const double x[2 * D] = { 1, 2, 3, 1.5, -0.3, 0.4 }, epsilon = 1e-5;
    long double variance = 0, square = (long double)1.4142135623730951 * 1.4142135623730951, sum = 0;
    for (int m = 0; m < D; m++)
        variance += square * ((long double)x[m] - x[D + m]) * ((long double)x[m] - x[D + m]) / D;
    for (int k = -NODES; k <= NODES; k++) { /* d = deviation e^t, both signs */
        long double t = 40.0L * k / NODES - 15, d = expl(t),
                    y = tanhl(sqrtl(variance) * d / sqrtl(variance * d * d + 4 * (long double)epsilon));
        sum += 2 * 40.0L / NODES * d * expl(-d * d / 2) / sqrtl(2 * pi) * y * y;
    }
    long double truth[4] = { square * sum, -square * sum, -square * sum, square * sum };
    double found[4], said = solve(nn_builtin("batchnorm"), settings, TP_NNGP, D, 2, x, found);
    expect_true("a batch of two", 2, found, truth, said, 1e-11);
}

/* ---- functions that are paired with others ---- */
static ad_var two_functions(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "a", x, nn_width(net, "n"));
    return nn_readout(net, "readout", ad_add(ad_tanh(h), ad_softplus(h)));
}

/* The coefficients of softplus fall faster than tanh's; of inputs near each other a pair of both has them all by its
 * series, 1e-13, where quadrature says 7e-13 and takes a thousand times as long. */
Test(errors, pairs_of_unlike_functions_go_by_their_series)
{
    enum { ROWS = 24 };
    double x[ROWS * D], out[ROWS * ROWS];
    for (int i = 0; i < ROWS; i++)
        memcpy(x + (ptrdiff_t)i * D, (double[]){ 1.5, 0.02 * i, 0.5 }, D * sizeof *x);
    double said = solve(two_functions, NULL, TP_NTK, D, ROWS, x, out);
    cr_expect(said > 0 && said < 3e-13, "said %g", said);
}

/* ---- functions that are too large ---- */
static ad_var of_many_numbers(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var y = nn_dense(net, "h", in, n), m = ad_mean(ad_square(y), ad_shape_of(n));
    for (int k = 0; k < 70; k++)
        y = ad_tanh(ad_mul(y, ad_power(m, 0.1 + 0.01 * k)));
    return nn_readout(net, "v", y);
}

static ad_var of_many_kinks(nn_net *net, ad_var in)
{
    ad_var h = ad_tanh(nn_dense(net, "h", in, nn_width(net, "n"))), y = h;
    for (int k = 0; k < 70; k++)
        y = ad_add(y, ad_abs(ad_sub(h, ad_constant(in.graph, 0.02 * (k - 35), *ad_shape_get(h)))));
    return nn_readout(net, "v", ad_tanh(y));
}

/* Are refused at the line of the op whose function it is. */
Test(errors, functions_that_are_too_large_have_a_line)
{
    static const double x[] = { 1, 0.3, 0.2, 0.4, -0.8, 1 };
    static const struct {
        nn_function network;
        const char *says;
    } large[] = { { of_many_numbers, "tanh: a function of 69 scalars" },
                  { of_many_kinks, "tanh: a function with 65 kinks" } };
    for (size_t k = 0; k < sizeof large / sizeof *large; k++) {
        ad_error error = { 0 };
        nn_net *net = nn_trace(large[k].network, &(nn_spec){ .features = 3 }, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        tp_kernel kernel;
        cr_assert(program, "%s", error.text);
        cr_expect(tp_limit(program, TP_NNGP, x, 2, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel,
                           &error) != 0);
        cr_expect(strstr(error.text, large[k].says) && strstr(error.text, "test_errors.c:"), "%s", error.text);
        tp_program_free(program);
        nn_net_free(net);
    }
}
