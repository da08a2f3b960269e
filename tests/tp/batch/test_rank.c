/* Batches of small rank, normalised without epsilon: at rank 1 z is 1 or -1 times fixed numbers, nothing goes back, and
 * all is in closed form; at rank 2 the NTK is infinite. Against these forms and finite networks. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { D = 3, MOST = 4 };
static const double two[2][D] = { { 1, 1, 1 }, { 0.5, -0.75, 1.25 } };
static const double other[2][D] = { { 0.3, 1.1, 0.2 }, { -0.5, 0.75, 0.25 } };
static const double twice[4][D] = { { 1, 1, 1 }, { 0.5, -0.75, 1.25 }, { 1, 1, 1 }, { 0.5, -0.75, 1.25 } };
static const double three_of_two[3][D] = { { 1, 1, 1 }, { 1, 1, 1 }, { 0.5, -0.75, 1.25 } };
static const double line[3][D] = { { 1, 1, 1 }, { 2, 2, 2 }, { -0.5, -0.5, -0.5 } };
static const double plane[3][D] = { { 1, 1, 1 }, { 0.5, -0.75, 1.25 }, { 0.3, 1.1, 0.2 } };

static ad_var tower(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    long depth = nn_setting_int(net, "depth", 1, 1, 9);
    double epsilon = nn_setting_real(net, "epsilon", 0);
    const char *phi = nn_setting_text(net, "phi", "relu");
    for (long k = 1; k <= depth; k++) {
        nn_norm_spec spec = { .epsilon = epsilon, .exact = !(epsilon > 0) };
        ad_var u = nn_dense(net, nn_name(net, "dense%ld", k), x, n);
        x = nn_activation(net, phi, nn_batchnorm_at(AD_HERE, net, nn_name(net, "norm%ld", k), u, &spec));
    }
    return nn_readout(net, "readout", x);
}

static nn_net *traced(const char *depth, const char *phi, const char *epsilon)
{
    ad_error error = { 0 };
    const char *const settings[] = { depth, phi, epsilon, NULL };
    nn_net *net = nn_trace(tower, &(nn_spec){ .features = D, .settings = settings }, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

/* 0, or -1 with the error. */
static int limit(nn_net *net, tp_kernel_kind which, const double *x, size_t rows, const double *x2, size_t rows2,
                 tp_kernel *kernel, ad_error *error)
{
    tp_program *program = tp_translate(net, error);
    cr_assert(program, "%s", error->text);
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
    int status = tp_limit(program, which, x, rows, x2, rows2, &spec, kernel, error);
    tp_program_free(program);
    return status;
}

/* The fixed numbers c of a batch of rank 1, z = c or -c: those of the data's projection onto its direction. */
static void fixed_numbers(const double *x, size_t rows, double *c)
{
    double mean[D] = { 0 }, squares = 0, along = 0;
    size_t far = 0;
    for (size_t i = 0; i < rows * D; i++)
        mean[i % D] += x[i] / (double)rows;
    for (size_t i = 0; i < rows; i++) {
        double length = 0;
        for (int k = 0; k < D; k++)
            length += pow(x[i * D + (size_t)k] - mean[k], 2);
        far = length > along ? i : far;
        along = fmax(along, length);
    }
    for (size_t i = 0; i < rows; i++) {
        c[i] = 0;
        for (int k = 0; k < D; k++)
            c[i] += (x[i * D + (size_t)k] - mean[k]) * (x[far * D + (size_t)k] - mean[k]);
        squares += c[i] * c[i] / (double)rows;
    }
    for (size_t i = 0; i < rows; i++)
        c[i] /= sqrt(squares);
}

static double relu(double x)
{
    return x > 0 ? x : 0;
}

/* K = (phi(c) phi(c)' + phi(-c) phi(-c)') / 2, and Theta is K: the readout's own part. */
static void expect_rank_one(const char *name, const double *x, size_t rows, const char *depth, double (*phi)(double))
{
    double c[MOST];
    fixed_numbers(x, rows, c);
    for (int which = TP_NTK; which <= TP_NNGP; which++) {
        ad_error error = { 0 };
        tp_kernel kernel;
        nn_net *net = traced(depth, phi == relu ? "phi=relu" : "phi=tanh", "epsilon=0");
        cr_assert_eq(limit(net, (tp_kernel_kind)which, x, rows, NULL, 0, &kernel, &error), 0, "%s", error.text);
        for (size_t i = 0; i < rows * rows; i++) {
            double a = c[i / rows], b = c[i % rows], right = (phi(a) * phi(b) + phi(-a) * phi(-b)) / 2;
            cr_expect_float_eq(kernel.terms[0].values[i], right, 1e-9, "%s, %s: %.12g at %zu, not %.12g", name, depth,
                               kernel.terms[0].values[i], i, right);
        }
        cr_expect(which == TP_NNGP || strstr(kernel.method, "nothing goes back"), "%s", kernel.method);
        tp_kernel_free(&kernel);
        nn_net_free(net);
    }
}

Test(rank, a_batch_of_two_has_a_finite_ntk_at_any_depth)
{
    expect_rank_one("two", two[0], 2, "depth=1", relu);
    expect_rank_one("two", two[0], 2, "depth=3", relu);
    expect_rank_one("two", two[0], 2, "depth=3", tanh);
    expect_rank_one("two twice", twice[0], 4, "depth=1", relu);
    expect_rank_one("two twice", twice[0], 4, "depth=2", tanh);
    expect_rank_one("three of two", three_of_two[0], 3, "depth=1", relu);
    expect_rank_one("three of two", three_of_two[0], 3, "depth=2", relu);
}

Test(rank, collinear_inputs_after_one_layer_and_after_two)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    expect_rank_one("line", line[0], 3, "depth=1", relu);
    expect_rank_one("line", line[0], 3, "depth=1", tanh);
    nn_net *net = traced("depth=2", "phi=relu", "epsilon=0");
    cr_expect_eq(limit(net, TP_NTK, line[0], 3, NULL, 0, &kernel, &error), -1);
    cr_expect(strstr(error.text, "infinite") && strstr(error.text, "has 2 (3 samples)"), "%s", error.text);
    error = (ad_error){ 0 };
    cr_expect_eq(limit(net, TP_NNGP, line[0], 3, NULL, 0, &kernel, &error), 0, "%s", error.text);
    tp_kernel_free(&kernel);
    error = (ad_error){ 0 };
    cr_expect_eq(limit(net, TP_NTK, plane[0], 3, NULL, 0, &kernel, &error), -1);
    cr_expect(strstr(error.text, "infinite"), "%s", error.text);
    nn_net_free(net);
}

/* Two batches against finite networks: the mean over 8 of width 2048, within 12 standard errors (7 degrees of
 * freedom). */
static void expect_networks(const char *depth, const char *epsilon, const double *x, size_t rows, const double *x2,
                            size_t rows2)
{
    enum { SEEDS = 8, WIDTH = 2048 };
    ad_error error = { 0 };
    tp_kernel kernel;
    size_t count = rows * (x2 ? rows2 : rows);
    double one[MOST * MOST], mean[MOST * MOST] = { 0 }, squares[MOST * MOST] = { 0 };
    nn_net *net = traced(depth, "phi=relu", epsilon);
    cr_assert_eq(limit(net, TP_NTK, x, rows, x2, rows2, &kernel, &error), 0, "%s", error.text);
    for (int seed = 0; seed < SEEDS; seed++) {
        nn_model *model = nn_model_new(net, WIDTH, (uint64_t)seed + 1, AD_DOUBLE, 1, &error);
        cr_assert(model && nn_ntk(model, x, rows, x2, rows2, NN_MEAN, one, &error) == 0, "%s", error.text);
        for (size_t i = 0; i < count; i++) {
            mean[i] += one[i] / SEEDS;
            squares[i] += one[i] * one[i] / SEEDS;
        }
        nn_model_free(model);
    }
    for (size_t i = 0; i < count; i++) {
        double off = sqrt(fmax(0, squares[i] - mean[i] * mean[i]) / (SEEDS - 1));
        cr_expect(fabs(mean[i] - kernel.terms[0].values[i]) < 12 * off + 1e-9, "%s %s, %zu: %g +- %g, the limit %g",
                  depth, epsilon, i, mean[i], off, kernel.terms[0].values[i]);
    }
    tp_kernel_free(&kernel);
    nn_net_free(net);
}

Test(rank, two_batches_and_finite_networks)
{
    expect_networks("depth=1", "epsilon=0", two[0], 2, NULL, 0);
    expect_networks("depth=2", "epsilon=0", two[0], 2, other[0], 2);
    expect_networks("depth=1", "epsilon=0", two[0], 2, plane[0], 3);
    expect_networks("depth=1", "epsilon=0.1", two[0], 2, NULL, 0);
}

Test(rank, the_order_of_limits_is_told)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    nn_net *net = traced("depth=1", "phi=relu", "epsilon=0.001");
    cr_assert_eq(limit(net, TP_NTK, two[0], 2, NULL, 0, &kernel, &error), 0, "%s", error.text);
    cr_expect(strstr(kernel.method, "n to infinity at this epsilon"), "%s", kernel.method);
    cr_expect(kernel.terms[0].values[0] > 4, "%g: it diverges like epsilon^(-1/2)", kernel.terms[0].values[0]);
    tp_kernel_free(&kernel);
    nn_net_free(net);
}

/* Two batches at epsilon = 0 whose centred rows span a plane together: no layer has the rank that the NTK needs. */
Test(rank, of_two_batches_is_told)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    nn_net *net = traced("depth=1", "phi=relu", "epsilon=0");
    double turned[3][D];
    for (int i = 0; i < 3; i++)
        memcpy(turned[i], plane[2 - i], sizeof turned[i]);
    cr_assert_neq(limit(net, TP_NTK, plane[0], 3, turned[0], 3, &kernel, &error), 0);
    cr_expect(strstr(error.text, "need ranks 2 and 2, together 3, and have 2 and 2, together 2"), "%s", error.text);
    error = (ad_error){ 0 };
    cr_assert_eq(limit(net, TP_NNGP, plane[0], 3, turned[0], 3, &kernel, &error), 0, "%s", error.text);
    tp_kernel_free(&kernel);
    nn_net_free(net);
}
