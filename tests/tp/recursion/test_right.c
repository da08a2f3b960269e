/* Limits of networks whose uses of a parameter look different, whose powers of n stand in unusual places, whose inputs
 * have norms of every size; and what is refused, as it stays random. Against closed forms written out here. */
#include "limn.h"
#include "tp/gauss/gauss.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { N = 4, D = 3 };
static const double x[N][D] = { { 1, 1, 1 }, { 1.3, 0.9, 0.8 }, { 0.5, -0.75, 1.25 }, { -0.7, 1.1, 0.15 } };

static tp_program *traced(nn_function function, size_t outputs, nn_net **net)
{
    ad_error error = { 0 };
    *net = nn_trace(function, &(nn_spec){ .features = D, .outputs = outputs }, &error);
    cr_assert(*net, "%s", error.text);
    tp_program *program = tp_translate(*net, &error);
    cr_assert(program, "%s", error.text);
    return program;
}

/* The kernel (N, N), which must be of the power and found exactly. */
static void exact(nn_function function, tp_kernel_kind which, const double *inputs, double power, double *out)
{
    nn_net *net;
    tp_program *program = traced(function, 1, &net);
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
    cr_assert_eq(tp_limit(program, which, inputs, N, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
    cr_assert_eq(kernel.n_terms, 1);
    cr_expect_float_eq(kernel.terms[0].power, power, 1e-12);
    memcpy(out, kernel.terms[0].values, N * N * sizeof *out);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

/* The executor's NTK by this seed is `exactly`, within 7 of its deviations. */
static void expect_sampled(nn_function function, uint64_t seed, const double *exactly)
{
    nn_net *net;
    tp_program *program = traced(function, 1, &net);
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .seed = seed };
    cr_assert_eq(tp_limit(program, TP_NTK, x[0], N, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
    for (int i = 0; i < N * N; i++)
        cr_expect(fabs(kernel.terms[0].values[i] - exactly[i]) < 7 * kernel.deviations[i], "%d: %g, exactly %g, +- %g",
                  i, kernel.terms[0].values[i], exactly[i], kernel.deviations[i]);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

static void expect_kernel(const char *name, const double *found, double (*truth)(const double *, const double *))
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double right = truth(x[i], x[j]);
            cr_expect(fabs(found[i * N + j] - right) < 1e-13, "%s (%d, %d): %.17g, %.17g is right", name, i, j,
                      found[i * N + j], right);
        }
}

static double dot(const double *a, const double *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static double arcsine(double a, double b, double c)
{
    return 2 / 3.14159265358979323846 * asin(2 * c / sqrt((1 + 2 * a) * (1 + 2 * b)));
}

static double arcsine_slope(double a, double b, double c)
{
    return 4 / 3.14159265358979323846 / sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * c * c);
}

static double erf_at(const double *a, const double *b)
{
    return arcsine(dot(a, a) / D, dot(b, b) / D, dot(a, b) / D);
}

static double erf_slope_at(const double *a, const double *b)
{
    return arcsine_slope(dot(a, a) / D, dot(b, b) / D, dot(a, b) / D);
}

/* ---- one parameter, used in two ways ---- */
static const double ones[D] = { 1, 1, 1 };

static ad_var centred(nn_net *net, ad_var in)
{
    nn_weight u = nn_make_weight(net, "u", ad_fixed(nn_graph(net), "features", D), nn_width(net, "n"), 1);
    ad_var origin = ad_constant(nn_graph(net), 1, *ad_shape_get(in));
    return nn_readout(net, "v", ad_sub(ad_erf(nn_apply(u, in)), ad_erf(nn_apply(u, origin))));
}

static double centred_nngp(const double *a, const double *b)
{
    return erf_at(a, b) - erf_at(a, ones) - erf_at(ones, b) + erf_at(ones, ones);
}

static double centred_ntk(const double *a, const double *b)
{
    return centred_nngp(a, b) + (erf_slope_at(a, b) * dot(a, b) - erf_slope_at(a, ones) * dot(a, ones) -
                                 erf_slope_at(ones, b) * dot(ones, b) + erf_slope_at(ones, ones) * D) /
                                    D;
}

Test(right, a_matrix_that_meets_data_and_a_constant)
{
    double kernel[N * N];
    exact(centred, TP_NNGP, x[0], 0, kernel);
    expect_kernel("centred, NNGP", kernel, centred_nngp);
    exact(centred, TP_NTK, x[0], 0, kernel);
    expect_kernel("centred, NTK", kernel, centred_ntk);
}

/* erf of U x, and erf of U's own second row. */
static ad_var with_row(nn_net *net, ad_var in)
{
    ad_axis features = ad_fixed(nn_graph(net), "features", D);
    nn_weight u = nn_make_weight(net, "u", features, nn_width(net, "n"), 1);
    ad_var h = nn_apply(u, in), row = ad_take(u.omega, features, 1);
    return nn_readout(net, "v", ad_add(ad_erf(h), ad_erf(ad_expand(row, *ad_shape_get(h)))));
}

/* The row is N(0, 1), and its covariance with U x / sqrt(d) is x_1 / sqrt(d). */
static double with_row_nngp(const double *a, const double *b)
{
    double qa = dot(a, a) / D, qb = dot(b, b) / D, root = sqrt(D);
    return erf_at(a, b) + arcsine(qa, 1, a[1] / root) + arcsine(1, qb, b[1] / root) + arcsine(1, 1, 1);
}

static double with_row_ntk(const double *a, const double *b)
{
    double qa = dot(a, a) / D, qb = dot(b, b) / D, root = sqrt(D);
    return with_row_nngp(a, b) + erf_slope_at(a, b) * dot(a, b) / D + arcsine_slope(qa, 1, a[1] / root) * a[1] / root +
           arcsine_slope(1, qb, b[1] / root) * b[1] / root + arcsine_slope(1, 1, 1);
}

Test(right, a_matrix_that_meets_data_and_is_read_by_rows)
{
    double kernel[N * N];
    exact(with_row, TP_NNGP, x[0], 0, kernel);
    expect_kernel("row, NNGP", kernel, with_row_nngp);
    exact(with_row, TP_NTK, x[0], 0, kernel);
    expect_kernel("row, NTK", kernel, with_row_ntk);
}

/* Where samples meet there is no rule for such uses: the exact engine says so, and gives no independent ones. */
static ad_var normalised_with_row(nn_net *net, ad_var in)
{
    ad_axis features = ad_fixed(nn_graph(net), "features", D);
    nn_weight u = nn_make_weight(net, "u", features, nn_width(net, "n"), 1);
    ad_var h = nn_apply(u, in), row = ad_take(u.omega, features, 1);
    return nn_readout(net, "v", ad_add(ad_relu(nn_batchnorm(net, "bn", h)), ad_relu(ad_expand(row, *ad_shape_get(h)))));
}

Test(right, rows_beside_normalised_data_are_not_independent)
{
    for (int which = 0; which < 2; which++) {
        nn_net *net;
        tp_program *program = traced(normalised_with_row, 1, &net);
        ad_error error = { 0 };
        tp_kernel kernel = { 0 };
        tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
        cr_expect(tp_limit(program, which ? TP_NNGP : TP_NTK, x[0], N, NULL, 0, &spec, &kernel, &error) != 0);
        cr_expect(strstr(error.text, "read by rows"), "%s", error.text);
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* U^T erf(U x) / sqrt(n) is sqrt(n) E[U_0 erf(U x)] at its leading order: its kernel is n times a product. */
static ad_var tied(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", D);
    nn_weight u = nn_make_weight(net, "u", features, n, 1);
    ad_var back = ad_scale_by(ad_matmul_t(ad_erf(nn_apply(u, in)), u.omega), 1, n, -0.5);
    return ad_relabel(ad_slice_at(AD_HERE, back, features, 0, 1, ad_fixed(nn_graph(net), "first", 1)),
                      ad_fixed(nn_graph(net), "first", 1), nn_outputs(net));
}

static double tied_nngp(const double *a, const double *b)
{
    double slope_a = 2 / sqrt(3.14159265358979323846 * (1 + 2 * dot(a, a) / D));
    double slope_b = 2 / sqrt(3.14159265358979323846 * (1 + 2 * dot(b, b) / D));
    return slope_a * slope_b * a[0] * b[0] / D;
}

Test(right, a_matrix_and_its_transpose_on_a_fixed_axis_grow)
{
    double kernel[N * N];
    exact(tied, TP_NNGP, x[0], 1, kernel);
    expect_kernel("tied, NNGP", kernel, tied_nngp);
}

/* v relu(U x) + sum relu(U x) / sqrt(n): the sum has a mean of order sqrt(n), and fluctuates at order one, as v's part
 * does. The kernel is known at n^1 alone. */
static ad_var summed(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "a", in, n)), sum = ad_scale_by(ad_sum(h, ad_shape_of(n)), 1, n, -0.5);
    ad_var f = nn_readout(net, "v", h);
    return ad_add(f, ad_expand(sum, *ad_shape_get(f)));
}

static double summed_nngp(const double *a, const double *b)
{
    return sqrt(dot(a, a) / D) * sqrt(dot(b, b) / D) / (2 * 3.14159265358979323846);
}

Test(right, a_power_at_which_the_outputs_fluctuate_is_left_out)
{
    double kernel[N * N];
    exact(summed, TP_NNGP, x[0], 1, kernel);
    expect_kernel("summed, NNGP", kernel, summed_nngp);
}

/* Averages of odd functions vanish, and only their fluctuations are left: their sign, and what is divided by them, are
 * random at any width, and no samples have a limit of them. */
static ad_var gated_by_vanishing(nn_net *net, ad_var in, ad_op op)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "a", in, n), mean = ad_mean(ad_erf(h), ad_shape_of(n));
    return nn_readout(net, "v", ad_mul(ad_erf(h), ad_expand(ad_unary_at(AD_HERE, op, mean, -1), *ad_shape_get(h))));
}

static ad_var gated_by_step(nn_net *net, ad_var in)
{
    return gated_by_vanishing(net, in, AD_STEP);
}

static ad_var gated_by_inverse(nn_net *net, ad_var in)
{
    return gated_by_vanishing(net, in, AD_POWER);
}

/* The step of U s / n, s = U' cos(U x), which is even: what has no limit but 0 is met by rows, over the features. */
static ad_var rows_of_vanishing(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", D);
    nn_weight u = nn_make_weight(net, "u", features, n, 1);
    ad_var back = ad_matmul_t(ad_cos(nn_apply(u, in)), u.omega);
    return nn_readout(net, "v", ad_step(nn_apply(u, ad_scale_by(back, 1, n, -1))));
}

Test(right, the_sign_and_the_inverse_of_what_vanishes_are_random)
{
    nn_function functions[] = { gated_by_step, gated_by_inverse, rows_of_vanishing };
    for (int k = 0; k < 12; k++) {
        nn_net *net;
        tp_program *program = traced(functions[k / 4], 1, &net);
        ad_error error = { 0 };
        tp_kernel kernel = { 0 };
        tp_limit_spec spec = { .engine = k & 1 ? TP_ENGINE_SAMPLE : TP_ENGINE_AUTO };
        cr_expect(tp_limit(program, k & 2 ? TP_NNGP : TP_NTK, x[0], N, NULL, 0, &spec, &kernel, &error) != 0);
        cr_expect(strstr(error.text, "what vanishes, which is random"), "%s", error.text);
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* ---- powers of n ---- */
static ad_var gated(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", D);
    return ad_mul(nn_readout(net, "v", ad_erf(nn_dense(net, "a", in, n))), ad_take(in, features, 0));
}

static double gated_ntk(const double *a, const double *b)
{
    return a[0] * b[0] * (erf_at(a, b) + erf_slope_at(a, b) * dot(a, b) / D);
}

/* n^(1/4) in the network, taken back on the data, behind the readout, and on a constant. */
static ad_var scaled(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", D);
    ad_var gate = ad_scale_by(ad_take(in, features, 0), 1, n, -0.25);
    ad_var up = ad_scale_by(ad_constant(nn_graph(net), 1, *ad_shape_get(gate)), 1, n, 0.25);
    ad_var h = nn_dense(net, "a", ad_scale_by(ad_scale_by(in, 1, n, 0.5), 1, n, -0.5), n);
    ad_var f = ad_mul(nn_readout(net, "v", ad_erf(h)), gate);
    return ad_mul(ad_scale_by(ad_scale_by(f, 1, n, 0.7), 1, n, -0.7), up);
}

/* h^2, the powers inside the square and behind it; E h^2 h'^2 and E h h' of it, h of variance |x|^2/D. */
static ad_var square_of_vanishing(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_scale_by(nn_dense(net, "a", in, n), 1, n, -0.5);
    return nn_readout(net, "v", ad_scale_by(ad_square(h), 1, n, 1));
}

static double square_nngp(const double *a, const double *b)
{
    double c = dot(a, b) / D;
    return dot(a, a) / D * dot(b, b) / D + 2 * c * c;
}

static double square_ntk(const double *a, const double *b)
{
    double c = dot(a, b) / D;
    return square_nngp(a, b) + 4 * c * c;
}

Test(right, powers_of_n_are_kept_where_they_stand)
{
    double kernel[N * N];
    exact(square_of_vanishing, TP_NNGP, x[0], 0, kernel);
    expect_kernel("square", kernel, square_nngp);
    exact(square_of_vanishing, TP_NTK, x[0], 0, kernel);
    expect_kernel("square", kernel, square_ntk);
    exact(gated, TP_NTK, x[0], 0, kernel);
    expect_kernel("gated", kernel, gated_ntk);
    exact(scaled, TP_NTK, x[0], 0, kernel);
    expect_kernel("scaled", kernel, gated_ntk);
}

/* ---- what stays random ---- */
static ad_var hidden(nn_net *net, ad_var in)
{
    return ad_relu(nn_dense(net, "d", in, nn_width(net, "n")));
}

static ad_var softmax(nn_net *net, ad_var in)
{
    return ad_softmax(nn_readout(net, "r", hidden(net, in)), nn_outputs(net));
}

static ad_var largest(nn_net *net, ad_var in)
{
    ad_var f = nn_readout(net, "r", hidden(net, in));
    return ad_sub(f, ad_expand(ad_max(f, nn_outputs(net)), *ad_shape_get(f)));
}

static ad_var bounded(nn_net *net, ad_var in)
{
    return ad_tanh(nn_readout(net, "r", hidden(net, in)));
}

static ad_var bounded_batch(nn_net *net, ad_var in)
{
    ad_var u = nn_batchnorm_with(net, "bn", nn_dense(net, "d", in, nn_width(net, "n")), .epsilon = 0.5);
    return ad_tanh(nn_readout(net, "r", ad_relu(u)));
}

static ad_var bottleneck(nn_net *net, ad_var in)
{
    ad_var b = nn_dense(net, "b", hidden(net, in), ad_fixed(nn_graph(net), "three", 3));
    return nn_readout(net, "r", ad_relu(nn_dense(net, "e", b, nn_width(net, "n"))));
}

static ad_var number(nn_net *net, double mean, double deviation)
{
    return ad_param(nn_graph(net), "s", (ad_shape){ 0 },
                    (ad_init){ .mean = mean, .deviation = deviation, .multiplier = 1, .rate = 1 });
}

static ad_var learned_gain(nn_net *net, ad_var in)
{
    return nn_readout(net, "r", ad_mul(hidden(net, in), number(net, 1, 0)));
}

static ad_var random_gain(nn_net *net, ad_var in)
{
    return nn_readout(net, "r", ad_tanh(ad_mul(hidden(net, in), number(net, 0, 1))));
}

static ad_var temperature(nn_net *net, ad_var in)
{
    return ad_mul(nn_readout(net, "r", hidden(net, in)), number(net, 1, 0));
}

Test(right, what_stays_random_is_refused_by_every_engine)
{
    static const struct {
        const char *name;
        nn_function function;
        const char *told;
    } rows[] = { { "softmax", softmax, "softmax" },
                 { "max", largest, "max" },
                 { "tanh", bounded, "tanh" },
                 { "tanh of a batch's", bounded_batch, "tanh" },
                 { "bottleneck", bottleneck, "contract" },
                 { "gain", learned_gain, "fluctuations" },
                 { "random gain", random_gain, "mul" },
                 { "temperature", temperature, "fluctuations" } };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        for (int engine = 0; engine < 2; engine++) {
            nn_net *net;
            tp_program *program = traced(rows[k].function, 2, &net);
            ad_error error = { 0 };
            tp_kernel kernel = { 0 };
            tp_limit_spec spec = { .engine = engine ? TP_ENGINE_SAMPLE : TP_ENGINE_AUTO, .samples = 256, .runs = 2 };
            cr_expect(tp_limit(program, TP_NTK, x[0], N, NULL, 0, &spec, &kernel, &error) != 0, "%s: a limit",
                      rows[k].name);
            if (!engine)
                cr_expect(strstr(error.text, rows[k].told) || strstr(error.text, "fluctuations"), "%s: %s",
                          rows[k].name, error.text);
            tp_kernel_free(&kernel);
            tp_program_free(program);
            nn_net_free(net);
        }
}

/* ---- outputs that are not alike ---- */
static ad_var two_heads(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), one = ad_fixed(nn_graph(net), "one", 1);
    ad_var h = ad_erf(nn_dense(net, "d1", in, n));
    ad_var heads[2] = { nn_apply(nn_make_weight(net, "r1", n, one, 1), h),
                        nn_apply(nn_make_weight(net, "r2", n, one, 3), h) };
    return ad_concat(heads, 2, (ad_axis[]){ one, one }, nn_outputs(net));
}

static double first_head(const double *a, const double *b)
{
    return erf_at(a, b) + erf_slope_at(a, b) * dot(a, b) / D;
}

static double second_head(const double *a, const double *b)
{
    return erf_at(a, b) + 9 * erf_slope_at(a, b) * dot(a, b) / D;
}

static double nothing_between(const double *a, const double *b)
{
    return 0 * a[0] * b[0];
}

/* One readout, and an output for each of two features that it is times: between the outputs the kernel of an input
 * with itself may be 0 where that with others is not. */
static ad_var gates(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", D);
    ad_axis one = ad_fixed(nn_graph(net), "one", 1);
    ad_var f = nn_apply(nn_make_weight(net, "v", n, one, 1), ad_erf(nn_dense(net, "a", in, n))), parts[2];
    for (size_t k = 0; k < 2; k++)
        parts[k] = ad_mul(f, ad_expand(ad_take(in, features, k), *ad_shape_get(f)));
    return ad_concat_at(AD_HERE, parts, 2, (ad_axis[]){ one, one }, nn_outputs(net));
}

Test(right, between_outputs_an_input_may_be_alone_at_zero)
{
    static const double inputs[3][D] = { { 1, 0, 1 }, { 0.5, 2, 1 }, { -1, 1, 0.3 } };
    nn_net *net;
    tp_program *program = traced(gates, 2, &net);
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT, .output2 = 1 };
    cr_assert_eq(tp_limit(program, TP_NNGP, inputs[0], 3, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            double right = inputs[i][0] * inputs[j][1] * erf_at(inputs[i], inputs[j]);
            cr_expect_float_eq(kernel.terms[0].values[i * 3 + j], right, 1e-13, "(%d, %d): %.17g, %.17g is right", i, j,
                               kernel.terms[0].values[i * 3 + j], right);
        }
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

Test(right, each_output_has_its_own_kernel)
{
    double (*const truths[])(const double *, const double *) = { first_head, nothing_between, nothing_between,
                                                                 second_head };
    nn_net *net;
    tp_program *program = traced(two_heads, 2, &net);
    cr_expect_not(tp_outputs_alike(program));
    for (size_t pair = 0; pair < 4; pair++) {
        ad_error error = { 0 };
        tp_kernel kernel;
        tp_limit_spec spec = { .engine = TP_ENGINE_EXACT, .output = pair / 2, .output2 = pair % 2 };
        cr_assert_eq(tp_limit(program, TP_NTK, x[0], N, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
        double found[N * N];
        tp_kernel_at(&kernel, 1, found);
        expect_kernel("heads", found, truths[pair]);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    nn_net_free(net);
    program = traced(softmax, 3, &net);
    cr_expect(tp_outputs_alike(program));
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- a rate of 0 ---- */
static ad_var frozen(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), outputs = nn_outputs(net);
    ad_var h = ad_erf(nn_dense(net, "a", in, n));
    ad_var v = ad_param(nn_graph(net), "v", ad_shape_of(n, outputs),
                        (ad_init){ .axis = n, .deviation = 1, .multiplier = 1, .multiplier_power = -0.5, .rate = 0 });
    return ad_scale_by(ad_matmul(h, v), 1, n, -0.5);
}

static double frozen_kernel(const double *a, const double *b)
{
    return erf_slope_at(a, b) * dot(a, b) / D;
}

Test(right, what_does_not_learn_is_left_out_of_the_training_kernel)
{
    nn_net *net;
    tp_program *program = traced(frozen, 1, &net);
    for (int engine = 0; engine < 2; engine++) {
        ad_error error = { 0 };
        tp_kernel kernel;
        tp_limit_spec spec = { .engine = engine ? TP_ENGINE_SAMPLE : TP_ENGINE_EXACT, .samples = 8192, .runs = 8 };
        cr_assert_eq(tp_training_kernel(program, x[0], N, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
        if (!engine)
            expect_kernel("frozen", kernel.terms[0].values, frozen_kernel);
        for (int i = 0; i < N * N && engine; i++) /* Student's t of 7 degrees of freedom: P(|t| > 12) < 7e-6 */
            cr_expect(fabs(kernel.terms[0].values[i] - frozen_kernel(x[i / N], x[i % N])) <
                          12 * kernel.deviations[i] + 1e-4,
                      "frozen, sampled, %d", i);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- norms of every size ---- */
static ad_var signs(nn_net *net, ad_var in)
{
    return nn_readout(net, "v", ad_sign(nn_dense(net, "a", in, nn_width(net, "n"))));
}

static ad_var steep(nn_net *net, ad_var in)
{
    return nn_readout(net, "v", ad_tanh(nn_dense(net, "a", in, nn_width(net, "n"))));
}

static ad_var rectified(nn_net *net, ad_var in)
{
    return nn_readout(net, "v", ad_relu(nn_dense(net, "a", in, nn_width(net, "n"))));
}

Test(right, digits_are_kept_at_every_ratio_of_norms)
{
    for (int e = -140; e <= 140; e += 20) {
        double inputs[N * D], kernel[N * N], relu[N * N], scale[N];
        for (int i = 0; i < N; i++) {
            scale[i] = pow(10, i % 2 ? e : 0);
            for (int k = 0; k < D; k++)
                inputs[i * D + k] = scale[i] * x[i][k];
        }
        exact(signs, TP_NNGP, inputs, 0, kernel);
        exact(rectified, TP_NNGP, inputs, 0, relu);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double size = sqrt(dot(x[i], x[i]) * dot(x[j], x[j])), c = i == j ? 1 : dot(x[i], x[j]) / size;
                double angle = acos(c), right = 1 - 2 / 3.14159265358979323846 * angle;
                double of_relu =
                    size / D * (sin(angle) + (3.14159265358979323846 - angle) * c) / 6.28318530717958647693;
                cr_expect(fabs(kernel[i * N + j] - right) < 1e-14, "sign, 1e%d (%d, %d): %.17g, %.17g", e, i, j,
                          kernel[i * N + j], right);
                cr_expect(fabs(relu[i * N + j] / scale[i] / scale[j] - of_relu) < 1e-14 * size, "relu, 1e%d (%d, %d)",
                          e, i, j);
            }
    }
}

/* tanh of ever larger arguments tends to the sign, and its NTK's own part to a number of order 1. */
Test(right, saturating_functions_at_every_scale)
{
    double before[N * N] = { 0 };
    for (int e = 8; e <= 120; e += 28) {
        double inputs[N * D], kernel[N * N], limit[N * N], ntk[N * N];
        for (int i = 0; i < N * D; i++)
            inputs[i] = pow(10, e) * x[i / D][i % D];
        exact(steep, TP_NNGP, inputs, 0, kernel);
        exact(signs, TP_NNGP, inputs, 0, limit);
        exact(steep, TP_NTK, inputs, 0, ntk);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                cr_expect(fabs(kernel[i * N + j] - limit[i * N + j]) < 1e-7, "1e%d (%d, %d)", e, i, j);
                double own = i == j ? 0 : ntk[i * N + j] - kernel[i * N + j];
                if (e > 8)
                    cr_expect(fabs(own - before[i * N + j]) < 1e-6 * (1 + fabs(own)),
                              "NTK, 1e%d (%d, %d): %.12g, %.12g", e, i, j, own, before[i * N + j]);
                before[i * N + j] = own;
            }
    }
}

/* The networks of one hidden layer fail at variances below 1e-300, where their kernels were 0 or without digits; a bias
 * keeps them, rows of zeros are none, and of a cosine they are 1. */
Test(right, what_falls_below_the_range_is_refused)
{
    static const struct {
        const char *phi, *bias;
        double scale;
        bool found;
    } cases[] = { { "relu", "none", 1e-149, true },   { "relu", "none", 1e-154, false },
                  { "relu", "none", 1e-170, false },  { "sign", "none", 1e-160, false },
                  { "tanh", "none", 1e-170, false },  { "square", "none", 1e-70, true },
                  { "square", "none", 1e-80, false }, { "relu", "0.5", 1e-170, true },
                  { "cos", "none", 1e-170, true } };
    for (size_t k = 0; k < 2 * sizeof cases / sizeof *cases; k++) {
        ad_error error = { 0 };
        char phi[32], bias[32];
        double inputs[(N + 1) * D] = { 0 }; /* the last row is 0 */
        snprintf(phi, sizeof phi, "phi=%s", cases[k / 2].phi);
        snprintf(bias, sizeof bias, "sigma_b=%s", cases[k / 2].bias);
        for (int i = 0; i < N * D; i++)
            inputs[i] = cases[k / 2].scale * x[i / D][i % D];
        const char *settings[] = { phi, bias, "depth=1", NULL };
        nn_net *net = nn_trace(nn_builtin("mlp"), &(nn_spec){ .features = D, .settings = settings }, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        tp_kernel kernel = { 0 };
        cr_assert(program, "%s", error.text);
        int status = tp_limit(program, k % 2 ? TP_NTK : TP_NNGP, inputs, N + 1, NULL, 0, NULL, &kernel, &error);
        cr_expect_eq(status == 0, cases[k / 2].found, "%s at %g: %d: %s", phi, cases[k / 2].scale, status, error.text);
        cr_expect(status == 0 || strstr(error.text, "leaves the range of a double"), "%s", error.text);
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* ---- an axis of the network's own that the backward pass would like to have ---- */
static ad_var over_primed(nn_net *net, ad_var in)
{
    ad_axis outputs = nn_outputs(net), again = ad_prime(outputs);
    ad_var u = nn_readout(net, "v", ad_erf(nn_dense(net, "a", in, nn_width(net, "n"))));
    ad_var gate = ad_expand(ad_constant(nn_graph(net), 1, ad_shape_of(again)), ad_shape_of(nn_batch(net), again));
    return ad_relabel(ad_mul(ad_relabel(u, outputs, again), gate), again, outputs);
}

Test(right, outputs_that_were_called_by_their_prime)
{
    double kernel[N * N];
    exact(over_primed, TP_NTK, x[0], 0, kernel);
    expect_kernel("primed", kernel, first_head);
}

/* ---- data over a width ---- */
static ad_var spread_over(nn_net *net, ad_var small)
{
    return ad_expand(small, ad_shape_of(nn_batch(net), nn_width(net, "n")));
}

/* v times x_1, which is picked after all features are spread over the width. */
static ad_var picked_late(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", D);
    ad_var late = ad_take(ad_expand(in, ad_shape_of(nn_batch(net), features, n)), features, 1);
    return nn_readout(net, "v", ad_mul(ad_erf(nn_dense(net, "a", in, n)), late));
}

static double picked(const double *a, const double *b)
{
    return a[1] * b[1] * erf_at(a, b);
}

/* A gate by the features' mean. */
static ad_var gated_by_mean(nn_net *net, ad_var in)
{
    ad_axis features = ad_fixed(nn_graph(net), "features", D);
    ad_var h = ad_erf(nn_dense(net, "a", in, nn_width(net, "n")));
    return nn_readout(net, "v", ad_mul(h, spread_over(net, ad_mean(in, ad_shape_of(features)))));
}

static double by_mean(const double *a, const double *b)
{
    return (a[0] + a[1] + a[2]) * (b[0] + b[1] + b[2]) / 9 * erf_at(a, b);
}

/* The mean over the width of the features by the width; the gate is their sum of squares. */
static ad_var gated_by_average(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", D);
    ad_var wide = ad_expand(ad_square(in), ad_shape_of(nn_batch(net), features, n));
    ad_var gate = ad_sum(ad_mean(wide, ad_shape_of(n)), ad_shape_of(features));
    return nn_readout(net, "v", ad_mul(ad_erf(nn_dense(net, "a", in, n)), spread_over(net, gate)));
}

static double by_average(const double *a, const double *b)
{
    return dot(a, a) * dot(b, b) * erf_at(a, b);
}

Test(right, data_spread_over_a_width_are_read_where_they_are)
{
    double kernel[N * N];
    exact(picked_late, TP_NNGP, x[0], 0, kernel);
    expect_kernel("picked late", kernel, picked);
    exact(gated_by_mean, TP_NNGP, x[0], 0, kernel);
    expect_kernel("gated by the mean", kernel, by_mean);
    exact(gated_by_average, TP_NNGP, x[0], 0, kernel);
    expect_kernel("gated by an average", kernel, by_average);
}

/* ---- a kernel that is 0 ---- */
static ad_var flat(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    return ad_expand(ad_mean(ad_step(nn_dense(net, "a", in, n)), ad_shape_of(n)),
                     ad_shape_of(nn_batch(net), nn_outputs(net)));
}

/* Nothing goes back through a step: the kernel has no terms, by either rule. */
Test(right, nothing_learns_through_a_jump)
{
    nn_net *net;
    tp_program *program = traced(flat, 1, &net);
    ad_error error = { 0 };
    tp_kernel kernel;
    double values[N * N];
    cr_assert_eq(tp_limit(program, TP_NTK, x[0], N, NULL, 0, NULL, &kernel, &error), 0, "%s", error.text);
    tp_kernel_at(&kernel, 100, values);
    for (int i = 0; i < N * N; i++)
        cr_expect(!(fabs(values[i]) > 0), "%d: %g", i, values[i]);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- outputs whose mean over networks is 0 ---- */
static int mean_case;

static ad_var with_mean(nn_net *net, ad_var in)
{
    ad_graph *graph = nn_graph(net);
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "a", in, n)), f = nn_readout(net, "v", h);
    nn_weight bias = nn_make_bias(net, "b", nn_outputs(net), 1);
    ad_init three = { .mean = 3, .deviation = 1, .rate = 1, .multiplier = 1 };
    ad_var squared = ad_expand(ad_mean(ad_square(h), ad_shape_of(n)), *ad_shape_get(f));
    switch (mean_case) {
    case 0:
        return nn_add_bias(bias, f);
    case 1:
        return ad_mul(f, ad_expand(ad_take(in, ad_fixed(graph, "features", D), 0), *ad_shape_get(f)));
    case 2:
        return ad_mul(squared, f);
    case 3:
        return ad_sub(f, ad_scale(ad_mul(f, squared), 0.5));
    case 4:
        return ad_add(f, ad_constant(graph, 3, *ad_shape_get(f)));
    case 5:
        return ad_add(f, ad_expand(ad_take(in, ad_fixed(graph, "features", D), 0), *ad_shape_get(f)));
    case 6:
        return ad_add(f, squared);
    case 7:
        return ad_add(f, ad_expand(ad_param(graph, "three", ad_shape_of(nn_outputs(net)), three), *ad_shape_get(f)));
    case 8:
        return ad_mul(f, f);
    default: /* v (relu(U x) v'), v' the same weights */
        return ad_scale(ad_mul(f, nn_add_bias(bias, ad_scale(f, 0))), 1);
    }
}

Test(right, outputs_are_centred_where_it_is_shown)
{
    for (mean_case = 0; mean_case < 10; mean_case++) {
        nn_net *net;
        char where[200] = "";
        tp_program *program = traced(with_mean, 1, &net);
        bool centred = tp_outputs_centred(program, where, sizeof where);
        cr_expect_eq(centred, mean_case < 4, "%d: %s", mean_case, where);
        cr_expect(centred || strstr(where, ".c:"), "%d: %s", mean_case, where);
        cr_expect(mean_case != 7 || strstr(where, ": three"), "%s", where); /* a parameter has a name */
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* ---- jumps that are touched and not crossed ---- */
/* step(tanh(v)^2) is 1 but at v = 0, and so is what is made of it. */
static ad_var touched(nn_net *net, ad_var in)
{
    ad_var v = nn_dense(net, "u", in, nn_width(net, "n")), square = ad_mul(ad_tanh(v), ad_tanh(v));
    return nn_readout(net, "r", ad_mul(ad_step(ad_mul(ad_step(square), square)), ad_step(square)));
}

static double one_between(const double *a, const double *b)
{
    (void)a;
    (void)b;
    return 1;
}

/* step(v (v - 1)^2) = step(v) but at v = 1. */
static ad_var touched_at_one(nn_net *net, ad_var in)
{
    ad_var v = nn_dense(net, "u", in, nn_width(net, "n"));
    ad_var less = ad_sub(v, ad_constant(nn_graph(net), 1, *ad_shape_get(v)));
    return nn_readout(net, "r", ad_step(ad_mul(v, ad_mul(less, less))));
}

static double both_positive(const double *a, const double *b)
{
    double c = fmin(1, dot(a, b) / sqrt(dot(a, a) * dot(b, b)));
    return 0.25 + asin(c) / (2 * 3.14159265358979323846);
}

Test(right, a_jump_that_is_touched_and_not_crossed)
{
    double kernel[N * N];
    exact(touched, TP_NNGP, x[0], 0, kernel);
    expect_kernel("touched at 0", kernel, one_between);
    exact(touched_at_one, TP_NNGP, x[0], 0, kernel);
    expect_kernel("touched at 1", kernel, both_positive);
}

/* ---- functions with kinks: their series against the plane's rule, pair by pair ---- */
typedef void evaluation(const tp_univariate *u, size_t n, const double *from, double *to);

static double by_quadrature(evaluation *eval, const double *kinks, int n_kinks, const double *a, const double *b)
{
    tp_univariate f = { .form = TP_NUMERIC, .eval = eval, .kinks = kinks, .n_kinks = n_kinks };
    double value;
    ad_error error = { 0 };
    cr_assert_eq(tp_quadrature(&f, &f, dot(a, a) / D, dot(b, b) / D, dot(a, b) / D, &value, NULL, &error), 0, "%s",
                 error.text);
    return value;
}

static ad_var bent_twice(nn_net *net, ad_var in)
{
    ad_var v = nn_dense(net, "u", in, nn_width(net, "n"));
    return nn_readout(net, "r", ad_mul(ad_hard_tanh(v), ad_add(ad_cos(v), v)));
}

static void eval_bent_twice(const tp_univariate *u, size_t n, const double *from, double *to)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        to[i] = fmax(-1, fmin(1, from[i])) * (cos(from[i]) + from[i]);
}

static double bent_twice_nngp(const double *a, const double *b)
{
    static const double kinks[] = { -1, 1 };
    return by_quadrature(eval_bent_twice, kinks, 2, a, b);
}

Test(right, a_product_with_kinks)
{
    double kernel[N * N];
    exact(bent_twice, TP_NNGP, x[0], 0, kernel);
    expect_kernel("hard_tanh(v) (cos(v) + v)", kernel, bent_twice_nngp);
}

/* Two kinks nearer to each other than the cells of the grid that finds them. */
static ad_var jumps_twice(nn_net *net, ad_var in)
{
    ad_var v = nn_dense(net, "u", in, nn_width(net, "n"));
    ad_var less = ad_sub(v, ad_constant(nn_graph(net), 0.01, *ad_shape_get(v)));
    return nn_readout(net, "r", ad_sign(ad_mul(v, less)));
}

static void eval_jumps_twice(const tp_univariate *u, size_t n, const double *from, double *to)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] > 0 && from[i] < 0.01 ? -1 : 1;
}

static double jumps_twice_nngp(const double *a, const double *b)
{
    static const double kinks[] = { 0, 0.01 };
    return by_quadrature(eval_jumps_twice, kinks, 2, a, b);
}

/* cos^2 reaches 1 without crossing it, and is rounded to 1 for 1e-8 around. */
static ad_var touches_everywhere(nn_net *net, ad_var in)
{
    ad_var v = nn_dense(net, "u", in, nn_width(net, "n")), square = ad_mul(ad_cos(v), ad_cos(v));
    ad_var one = ad_constant(nn_graph(net), 1, *ad_shape_get(v));
    return nn_readout(net, "r", ad_step(ad_sub(one, square)));
}

Test(right, jumps_that_share_a_cell)
{
    double kernel[N * N];
    exact(jumps_twice, TP_NNGP, x[0], 0, kernel);
    expect_kernel("sign(v (v - 0.01))", kernel, jumps_twice_nngp);
    exact(touches_everywhere, TP_NNGP, x[0], 0, kernel);
    expect_kernel("step(1 - cos^2)", kernel, one_between);
}

/* ---- parameters that meet before any sample ---- */
/* erf(U x + W b): W b is of no sample, and each sample has its gradient. */
static ad_var shifted(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1), b = nn_make_bias(net, "b", n, 1);
    ad_var h = nn_dense(net, "u", in, n), shift = nn_apply(w, b.omega);
    return nn_readout(net, "v", ad_erf(ad_add(h, ad_expand(shift, *ad_shape_get(h)))));
}

static double shifted_nngp(const double *a, const double *b)
{
    return arcsine(dot(a, a) / D + 1, dot(b, b) / D + 1, dot(a, b) / D + 1);
}

static double shifted_ntk(const double *a, const double *b)
{
    double slope = arcsine_slope(dot(a, a) / D + 1, dot(b, b) / D + 1, dot(a, b) / D + 1);
    return shifted_nngp(a, b) + slope * (dot(a, b) / D + 2);
}

Test(right, a_matrix_times_a_parameter)
{
    double exactly[N * N];
    exact(shifted, TP_NNGP, x[0], 0, exactly);
    expect_kernel("shifted, NNGP", exactly, shifted_nngp);
    exact(shifted, TP_NTK, x[0], 0, exactly);
    expect_kernel("shifted, NTK", exactly, shifted_ntk);
    expect_sampled(shifted, 5, exactly);
}

/* ---- kernels without digits ---- */
/* The average of sin(u w) vanishes, and no exact rule knows: samples have nothing but its fluctuations. */
static ad_var times_vanishing(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_dense(net, "u", in, n), w = nn_dense(net, "w", in, n);
    ad_var mean = ad_mean(ad_sin(ad_mul(u, w)), ad_shape_of(n));
    return nn_readout(net, "v", ad_mul(ad_erf(u), ad_expand(mean, *ad_shape_get(u))));
}

Test(right, what_runs_do_not_agree_on_is_refused)
{
    nn_net *net;
    tp_program *program = traced(times_vanishing, 1, &net);
    ad_error error = { 0 };
    tp_kernel kernel;
    cr_expect(tp_limit(program, TP_NNGP, x[0], N, NULL, 0, NULL, &kernel, &error) != 0);
    cr_expect(strstr(error.text, "stays random at every width"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}

/* gelu of outputs behind batch normalisation: sampled covariances of equal batches pass their variances. */
static ad_var normalised(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_gelu(nn_batchnorm(net, "n", nn_dense(net, "u", in, n)));
    return nn_readout(net, "v", ad_gelu(nn_dense(net, "w", h, n)));
}

Test(right, a_batch_given_twice_or_shuffled)
{
    double shuffled[N][D];
    nn_net *net;
    tp_program *program = traced(normalised, 1, &net);
    ad_error error = { 0 };
    tp_kernel once, twice, moved;
    for (int i = 0; i < N; i++)
        memcpy(shuffled[i], x[N - 1 - i], sizeof *shuffled);
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT, .samples = 2048 };
    cr_assert_eq(tp_limit(program, TP_NTK, x[0], N, NULL, 0, &spec, &once, &error), 0, "%s", error.text);
    cr_assert_eq(tp_limit(program, TP_NTK, x[0], N, x[0], N, &spec, &twice, &error), 0, "%s", error.text);
    cr_assert_eq(tp_limit(program, TP_NTK, x[0], N, shuffled[0], N, &spec, &moved, &error), 0, "%s", error.text);
    for (int i = 0; i < N * N; i++) {
        int at = i / N * N + N - 1 - i % N;
        double value = once.terms[0].values[i], same = moved.terms[0].values[at];
        double off =
            hypot(once.deviations[i], moved.deviations[at]); /* 64 runs each: six of it by chance once in 1e7 */
        cr_expect_float_eq(twice.terms[0].values[i], value, 0);
        cr_expect(fabs(same - value) < 6 * off, "%d: %g and %g", i, value, same);
        cr_expect(off < 0.005 * sqrt(once.terms[0].values[i / N * (N + 1)] * once.terms[0].values[i % N * (N + 1)]),
                  "%d: %g", i, off);
    }
    tp_kernel_free(&once);
    tp_kernel_free(&twice);
    tp_kernel_free(&moved);
    tp_program_free(program);
    nn_net_free(net);
}

/* U2 s / n, s = U1' erf(U x), is random, and vanishes: what is left of its sine is 0, and a bias. By the orders of its
 * parts alone the executor could not tell. */
static ad_var beside_vanishing(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), features = ad_fixed(nn_graph(net), "features", D);
    nn_weight u1 = nn_make_weight(net, "u1", features, n, 1), u2 = nn_make_weight(net, "u2", features, n, 1);
    ad_var back = ad_scale_by(ad_matmul_t(ad_erf(nn_dense(net, "u", in, n)), u1.omega), 1, n, -1);
    ad_var h = nn_dense(net, "w", ad_sin(nn_apply(u2, back)), n);
    return nn_readout(net, "v", ad_erf(nn_add_bias(nn_make_bias(net, "b", n, 1), h)));
}

static double beside_vanishing_ntk(const double *a, const double *b)
{
    (void)a;
    (void)b;
    return arcsine(1, 1, 1) + arcsine_slope(1, 1, 1);
}

Test(right, what_the_exact_engine_has_is_sampled)
{
    double exactly[N * N];
    exact(beside_vanishing, TP_NTK, x[0], 0, exactly);
    expect_kernel("beside what vanishes", exactly, beside_vanishing_ntk);
    expect_sampled(beside_vanishing, 3, exactly);
}

/* ---- roots ---- */
static ad_var root_of_square(nn_net *net, ad_var in)
{
    ad_var h = nn_dense_with(net, "d", in, nn_width(net, "n"), .sigma_w = 1);
    return nn_readout_with(net, "r", ad_sqrt(ad_square(h)), .sigma_w = 1);
}

/* E |a| |b|. */
static double sizes(const double *a, const double *b)
{
    double p = dot(a, a) / D, q = dot(b, b) / D, c = fmin(1, dot(a, b) / D / sqrt(p * q));
    return 2 / 3.14159265358979323846 * sqrt(p * q) * (sqrt(1 - c * c) + c * asin(c));
}

/* A square root has a kink at 0, where its argument turns. */
Test(right, the_root_of_a_square_is_the_size)
{
    double found[N * N];
    exact(root_of_square, TP_NNGP, &x[0][0], 0, found);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            cr_expect(fabs(found[i * N + j] - sizes(x[i], x[j])) < 1e-11, "(%d, %d): %.17g", i, j, found[i * N + j]);
}

/* ---- quadratures that would never end ---- */
enum { ROOTS = 8 };
static const double root_at[ROOTS] = { -1.05, -0.75, -0.45, -0.15, 0.15, 0.45, 0.75, 1.05 };

/* The root of |(x - r1) ... (x - r8)|. */
static void roots_value(size_t n, const double *from, double *to)
{
    for (size_t i = 0; i < n; i++) {
        double product = 1;
        for (int k = 0; k < ROOTS; k++)
            product *= from[i] - root_at[k];
        to[i] = sqrt(fabs(product));
    }
}

static void roots_slope(size_t n, const double *from, double *to)
{
    roots_value(n, from, to);
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < ROOTS; k++)
            sum += fabs(from[i] - root_at[k]) > 0 ? 0.5 / (from[i] - root_at[k]) : 0;
        to[i] *= sum;
    }
}

static const ad_function roots = { .name = "roots",
                                   .count = 2,
                                   .derivatives = { roots_value, roots_slope },
                                   .n_kinks = ROOTS,
                                   .kinks = { -1.05, -0.75, -0.45, -0.15, 0.15, 0.45, 0.75, 1.05 } };

static ad_var many_roots(nn_net *net, ad_var in)
{
    ad_var v = nn_dense(net, "u", in, nn_width(net, "n"));
    return nn_readout(net, "r", ad_custom(&roots, v));
}

/* By a count and not a clock, so that every machine has the same refusal. */
Test(right, quadratures_that_take_too_much_work_are_left_to_samples)
{
    nn_net *net;
    tp_program *program = traced(many_roots, 1, &net);
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
    cr_assert_eq(tp_limit(program, TP_NNGP, x[0], 2, NULL, 0, &spec, &kernel, &error), -1);
    cr_expect(strstr(error.text, "by quadrature, which takes more than 67108864 evaluations"), "%s", error.text);
    error.text[0] = 0;
    spec = (tp_limit_spec){ .samples = 4096, .runs = 8 };
    cr_assert_eq(tp_limit(program, TP_NNGP, x[0], 2, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
    cr_expect(strstr(kernel.no_rule, "by quadrature"), "%s", kernel.no_rule);
    cr_expect(kernel.deviations != NULL);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- data that are normalised over a batch ---- */
static ad_var of_normalised_data(nn_net *net, ad_var in)
{
    return nn_readout(net, "v", ad_erf(nn_dense(net, "u", nn_batchnorm(net, "b", in), nn_width(net, "n"))));
}

/* Two rows, normalised as by nn_batchnorm. */
static void normalise_pair(const double (*rows)[D], double (*to)[D])
{
    for (int k = 0; k < D; k++) {
        double half = (rows[0][k] - rows[1][k]) / 2;
        to[0][k] = half / sqrt(half * half + 1e-5);
        to[1][k] = -to[0][k];
    }
}

/* Either batch apart, by both engines. */
Test(right, batches_of_data_are_normalised_apart)
{
    enum { PAIR = 2 };
    double a[PAIR][D], b[PAIR][D];
    nn_net *net;
    tp_program *program = traced(of_normalised_data, 1, &net);
    ad_error error = { 0 };
    normalise_pair(x, a);
    normalise_pair(x + PAIR, b);
    for (int engine = 0; engine < 2; engine++) {
        tp_kernel kernel;
        tp_limit_spec spec = { .engine = engine ? TP_ENGINE_SAMPLE : TP_ENGINE_EXACT, .seed = 3 };
        cr_assert_eq(tp_limit(program, TP_NNGP, x[0], PAIR, x[PAIR], PAIR, &spec, &kernel, &error), 0, "%s",
                     error.text);
        for (int i = 0; i < PAIR * PAIR; i++) {
            const double *p = a[i / PAIR], *q = b[i % PAIR];
            double truth = arcsine(dot(p, p) / D, dot(q, q) / D, dot(p, q) / D);
            cr_expect(fabs(kernel.terms[0].values[i] - truth) <= (engine ? 7 * kernel.deviations[i] : 1e-12),
                      "%d, %d: %g, not %g", engine, i, kernel.terms[0].values[i], truth);
        }
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    nn_net_free(net);
}
