/* test_floats.c: limit kernels as floats beside their doubles, and the loops in floats beside the formulas, in every
 * instruction set of this machine. */
#include "limn.h"
#include "tp/gauss/gauss.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
static const double unit = FLT_EPSILON / 2, pi = 3.14159265358979323846;

enum { ROWS = 150, FEATURES = 8, MORE = 40 };

/* Draws; the second half repeats the first, moved by 2^-(k / 2) of its size; some of these turned to the other side. */
static double *draw_rows(size_t rows, uint64_t seed)
{
    double *x = malloc(rows * FEATURES * sizeof *x);
    cr_assert(x);
    ad_normal(seed, ad_stream("rows"), 0, rows * FEATURES, x);
    for (size_t i = rows / 2; i < rows; i++)
        for (size_t f = 0; f < FEATURES; f++) {
            double *at = x + i * FEATURES + f;
            *at = x[(i - rows / 2) * FEATURES + f] * (i % 5 ? 1 : -1) + exp2(-(double)(i - rows / 2) / 2) * *at;
        }
    return x;
}

static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense_with(net, "embed", x, n, .bias = true, .sigma_b = 0.3);
    for (int block = 1; block <= 3; block++)
        h = ad_add(h, nn_dense_with(net, nn_name(net, "block%d", block), ad_relu(h), n, .sigma_w = 1.3, .bias = true));
    return nn_readout(net, "readout", ad_relu(h));
}

static tp_program *translate(nn_function network, const char *const *settings, nn_net **net)
{
    ad_error error = { 0 };
    *net = nn_trace(network, &(nn_spec){ .features = FEATURES, .settings = settings }, &error);
    tp_program *program = *net ? tp_translate(*net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    return program;
}

/* Floats beside doubles: each within the error that is stated of it, and within `most`; own values rounded once. */
static void compare_rows(tp_program *program, tp_kernel_kind which, size_t rows, const double *x2, size_t rows2,
                         double most)
{
    enum { STRIDE = ROWS + 3 };
    static float floats[ROWS * STRIDE];
    ad_error error = { 0 };
    double *x = draw_rows(rows, 1), worst = 0;
    tp_kernel kernel, told, own[2];
    size_t columns = x2 ? rows2 : rows;
    for (size_t i = 0; i < COUNT(floats); i++)
        floats[i] = -7;
    const tp_limit_spec spec = { .floats = floats, .stride = STRIDE, .threads = 2 };
    cr_assert(!tp_limit(program, which, x, rows, x2, rows2, NULL, &kernel, &error), "%s", error.text);
    cr_assert(!tp_limit(program, which, x, rows, x2, rows2, &spec, &told, &error), "%s", error.text);
    cr_assert(!tp_limit(program, which, x, rows, NULL, 0, NULL, &own[0], &error), "%s", error.text);
    cr_assert(!tp_limit(program, which, x2 ? x2 : x, columns, NULL, 0, NULL, &own[1], &error), "%s", error.text);
    cr_assert(told.n_terms == 1 && !told.terms[0].values && told.rows2 == columns);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < STRIDE; j++) {
            if (j >= columns) {
                cr_assert(floats[i * STRIDE + j] == -7, "written beside the kernel");
                continue;
            }
            double value = kernel.terms[0].values[i * columns + j];
            double size = sqrt(own[0].terms[0].values[i * rows + i] * own[1].terms[0].values[j * columns + j]);
            worst = fmax(worst, fabs((double)floats[i * STRIDE + j] - value) / size);
            cr_assert(x2 || i != j || floats[i * STRIDE + j] == (float)value);
            cr_assert(x2 || floats[i * STRIDE + j] == floats[j * STRIDE + i]);
        }
    cr_expect(worst <= told.error + kernel.error, "%g beyond the stated %g", worst, told.error);
    cr_expect(worst <= most, "%g from the doubles", worst);
    cr_expect(told.error >= unit);
    for (int k = 0; k < 2; k++)
        tp_kernel_free(&own[k]);
    tp_kernel_free(&kernel);
    tp_kernel_free(&told);
    free(x);
}

static void compare(tp_program *program, tp_kernel_kind which, const double *x2, size_t rows2, double most)
{
    compare_rows(program, which, ROWS, x2, rows2, most);
}

/* In floats where no pair is near 1, in doubles where one is: both are among these rows. */
Test(floats, relu)
{
    const char *const *settings[] = { (const char *[]){ "depth=5", NULL },
                                      (const char *[]){ "depth=2", "sigma_b=0.5", NULL } };
    double *x2 = draw_rows(MORE, 2);
    for (size_t k = 0; k < COUNT(settings); k++) {
        nn_net *net;
        tp_program *program = translate(nn_builtin("mlp"), settings[k], &net);
        for (int which = TP_NTK; which <= TP_NNGP; which++) {
            compare(program, (tp_kernel_kind)which, NULL, 0, 1e-6);
            compare(program, (tp_kernel_kind)which, x2, MORE, 1e-6);
        }
        tp_program_free(program);
        nn_net_free(net);
    }
    free(x2);
}

Test(floats, residual)
{
    nn_net *net;
    tp_program *program = translate(residual, NULL, &net);
    compare(program, TP_NTK, NULL, 0, 1e-6);
    tp_program_free(program);
    nn_net_free(net);
}

/* In doubles, rounded once: other functions, and samples that meet. */
Test(floats, rounded)
{
    const struct {
        const char *name, *phi;
        size_t rows;
    } nets[] = { { "mlp", "phi=erf", ROWS }, { "batchnorm", "phi=relu", 6 } };
    for (size_t k = 0; k < COUNT(nets); k++) {
        nn_net *net;
        tp_program *program = translate(nn_builtin(nets[k].name), (const char *[]){ nets[k].phi, NULL }, &net);
        compare_rows(program, TP_NNGP, nets[k].rows, NULL, 0, 1.01 * unit);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* Whose NNGP kernel is known at n^1 alone. */
static ad_var summed(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "a", x, n)), sum = ad_scale_by(ad_sum(h, ad_shape_of(n)), 1, n, -0.5);
    ad_var f = nn_readout(net, "v", h);
    return ad_add(f, ad_expand(sum, *ad_shape_get(f)));
}

/* What grows with n, or leaves a float's range, is no kernel of floats. */
Test(floats, refused)
{
    static float floats[4];
    nn_net *net;
    ad_error error = { 0 };
    tp_kernel kernel;
    double x[2 * FEATURES] = { 1e25, 2, 3, [FEATURES] = 1e25, 4 };
    tp_program *program = translate(nn_builtin("mlp"), NULL, &net);
    const tp_limit_spec spec = { .floats = floats };
    cr_assert(tp_limit(program, TP_NTK, x, 2, NULL, 0, &spec, &kernel, &error));
    cr_expect(strstr(error.text, "range of a float"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    error = (ad_error){ 0 };
    x[0] = x[FEATURES] = 1;
    program = translate(summed, NULL, &net);
    cr_assert(tp_limit(program, TP_NNGP, x, 2, NULL, 0, &spec, &kernel, &error));
    cr_expect(strstr(error.text, "powers of n"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}

/* The loop over correlations beside the formulas in doubles. */
Test(floats, loops)
{
    enum { N = 37 };
    for (int k = 0; tp_singles_at(k); k++)
        for (size_t n = 1; n <= N; n++) {
            float cov[N], inverse[N], root[N], first[N], second[N], most = 0;
            const double q = 1.7;
            for (size_t i = 0; i < n; i++) {
                double v = 0.3 + 0.1 * (double)i, c = 0.98 * cos(pi * (double)i / (N - 1));
                inverse[i] = (float)(1 / sqrt(v));
                root[i] = (float)sqrt(v);
                cov[i] = (float)(c * sqrt(q * v));
            }
            most = tp_singles_at(k)->relu(n, (float)(1 / sqrt(q)), (float)sqrt(q), inverse, root, cov, first, second);
            double largest = 0;
            for (size_t i = 0; i < n; i++) {
                double v = 0.3 + 0.1 * (double)i, size = sqrt(q * v), c = (double)cov[i] / size, angle = acos(c);
                double slack = 12 * unit / sin(angle);
                largest = fmax(largest, fabs(c));
                cr_assert(fabs((double)second[i] - (pi - angle) / (2 * pi)) <= slack / 2, "step at %g: %g", c,
                          (double)second[i]);
                cr_assert(fabs((double)first[i] - size * (sin(angle) + (pi - angle) * c) / (2 * pi)) <=
                              size / 2 * 12 * unit,
                          "relu at %g: %g", c, (double)first[i]);
            }
            cr_assert(fabs((double)most - largest) <= 4 * unit);
        }
}
