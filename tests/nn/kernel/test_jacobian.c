/* Products of the Jacobian and vectors, and linearised outputs, against the explicit kernel and finite differences. */
#include "autodiff/base/base.h"
#include "nn/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 6, OUTPUTS = 3, ROWS = 5, ROWS2 = 4, WIDTH = 7 };

static void fill(double *x, size_t count, double phase)
{
    for (size_t i = 0; i < count; i++)
        x[i] = sin(phase + 1.7 * (double)i + 0.3 * (double)(i * i % 17));
}

static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2), b = nn_make_bias(net, "b", n, 0.3);
    ad_var h = nn_dense_with(net, "embed", x, n, .bias = true, .sigma_b = 0.2);
    for (int i = 0; i < 2; i++)
        h = ad_add(h, nn_add_bias(b, nn_apply_t(w, ad_erf(nn_apply(w, ad_relu(h))))));
    return nn_readout(net, "readout", ad_tanh(nn_layernorm(net, "norm", h)));
}

static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_tanh(nn_batchnorm_with(net, "norm", nn_dense(net, "one", x, n), .affine = true));
    return nn_readout(net, "readout", ad_gelu(nn_dense(net, "two", x, n)));
}

/* Of which the second derivative is not known. */
static void cube(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * x[i] * x[i] / 6;
}

static void cube_slope(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * x[i] / 2;
}

static ad_var own(nn_net *net, ad_var x)
{
    static const ad_function function = { .name = "cube", .count = 2, .derivatives = { cube, cube_slope } };
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], in = ad_shape_get(x)->axes[2];
    nn_weight u = nn_make_weight(net, "u", n, n, 1.2), w = nn_make_weight(net, "in", in, n, 1.1);
    ad_var h = nn_apply(w, ad_take_at(AD_HERE, x, time, 0));
    for (size_t t = 1; t < 3; t++)
        h = ad_custom(&function, ad_add(nn_apply(u, h), nn_apply(w, ad_take_at(AD_HERE, x, time, t))));
    return nn_readout(net, "readout", h);
}

static const struct {
    nn_function function;
    size_t shape[4];
} cases[] = { { residual, { 0 } }, { normalised, { 0 } }, { own, { 3, 2 } } };
enum { CASES = sizeof cases / sizeof *cases };

static nn_net *trace(size_t k, nn_parametrization scale)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS, .parametrization = scale };
    memcpy(spec.shape, cases[k].shape, sizeof spec.shape);
    nn_net *net = nn_trace(cases[k].function, &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static void near(const char *what, size_t k, double got, double want, double tolerance)
{
    cr_assert(fabs(got - want) <= tolerance * (1 + fabs(want)), "%s, case %zu: %.15g, not %.15g", what, k, got, want);
}

Test(jacobian, ntk_vector_is_the_kernel_times_it)
{
    double x[ROWS * FEATURES], x2[ROWS2 * FEATURES], v[ROWS * OUTPUTS], out[ROWS * OUTPUTS];
    double full[ROWS * ROWS * OUTPUTS * OUTPUTS];
    ad_error error = { 0 };
    fill(x, ROWS * FEATURES, 0.3);
    fill(x2, ROWS2 * FEATURES, 2.1);
    fill(v, ROWS * OUTPUTS, 0.9);
    for (size_t k = 0; k < CASES; k++)
        for (int scale = NN_NTK; scale <= NN_MUP; scale++)
            for (int form = 0; form < 4; form++) {
                size_t columns = form & 1 ? ROWS : ROWS2;
                const double *second = form & 1 ? NULL : x2;
                nn_net *net = trace(k, (nn_parametrization)scale);
                nn_model *model = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL);
                nn_set_mode(model, form & 2 ? NN_EVALUATION : NN_AUTO);
                cr_assert(nn_ntk(model, x, ROWS, second, ROWS2, NN_FULL, full, NULL) == 0);
                cr_assert(nn_ntk_vector(model, x, ROWS, second, ROWS2, v, out, &error) == 0, "%s", error.text);
                for (size_t i = 0; i < ROWS * OUTPUTS; i++) {
                    double want = 0;
                    for (size_t j = 0; j < columns * OUTPUTS; j++)
                        want += full[((i / OUTPUTS * columns + j / OUTPUTS) * OUTPUTS + i % OUTPUTS) * OUTPUTS +
                                     j % OUTPUTS] *
                                v[j];
                    near("theta v", k, out[i], want, 1e-11);
                }
                nn_model_free(model);
                nn_net_free(net);
            }
}

/* J t and J^T v by central differences along t, and by <v, J t> = <J^T v, t>. */
Test(jacobian, products_are_directional_derivatives)
{
    const double step = 1e-4;
    static const double at[] = { 1, -1, 2, -2 };
    double x[ROWS * FEATURES], v[ROWS * OUTPUTS], jt[ROWS * OUTPUTS], f[4][ROWS * OUTPUTS];
    ad_error error = { 0 };
    fill(x, ROWS * FEATURES, 0.3);
    fill(v, ROWS * OUTPUTS, 0.9);
    for (size_t k = 0; k < CASES; k++)
        for (int mode = NN_AUTO; mode <= NN_EVALUATION; mode++) {
            nn_net *net = trace(k, NN_NTK);
            nn_model *model = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL);
            size_t size = nn_model_size(model);
            nn_set_mode(model, (nn_mode)mode);
            double *w = nn_param_values(model, 0, NULL), *w0 = malloc(size * sizeof *w0), *t = malloc(size * sizeof *t);
            double *vj = malloc(size * sizeof *vj), one = 0, two = 0;
            memcpy(w0, w, size * sizeof *w);
            fill(t, size, 0.5);
            for (int s = 0; s < 4; s++) {
                for (size_t p = 0; p < size; p++)
                    w[p] = w0[p] + at[s] * step * t[p];
                cr_assert(nn_forward(model, x, ROWS, f[s], NULL) == 0);
            }
            memcpy(w, w0, size * sizeof *w);
            cr_assert(nn_jacobian_vector(model, x, ROWS, t, jt, &error) == 0, "%s", error.text);
            cr_assert(nn_vector_jacobian(model, x, ROWS, v, vj, &error) == 0, "%s", error.text);
            for (size_t i = 0; i < ROWS * OUTPUTS; i++) {
                near("J t", k, jt[i], (8 * (f[0][i] - f[1][i]) - (f[2][i] - f[3][i])) / (12 * step), 1e-8);
                one += v[i] * jt[i];
            }
            for (size_t p = 0; p < size; p++)
                two += vj[p] * t[p];
            near("<v, J t>", k, one, two, 1e-12);
            free(w0);
            free(t);
            free(vj);
            nn_model_free(model);
            nn_net_free(net);
        }
}

/* At w0 they are the outputs; near it they are off by the square of the distance. */
Test(jacobian, linearised_outputs_are_tangent)
{
    double x[ROWS * FEATURES], f[ROWS * OUTPUTS], lin[ROWS * OUTPUTS], off[2];
    ad_error error = { 0 };
    fill(x, ROWS * FEATURES, 0.3);
    for (size_t k = 0; k < CASES; k++) {
        nn_net *net = trace(k, NN_NTK);
        nn_model *model = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL);
        nn_model *moved = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL);
        size_t size = nn_model_size(model);
        double *w0 = nn_param_values(model, 0, NULL), *w = nn_param_values(moved, 0, NULL);
        cr_assert(nn_forward(model, x, ROWS, f, NULL) == 0);
        cr_assert(nn_linearised(model, w, x, ROWS, lin, &error) == 0, "%s", error.text);
        for (size_t i = 0; i < ROWS * OUTPUTS; i++)
            cr_assert(!(fabs(f[i] - lin[i]) > 0));
        for (int s = 0; s < 2; s++) {
            double distance = s ? 5e-4 : 1e-3;
            for (size_t p = 0; p < size; p++)
                w[p] = w0[p] + distance * sin(0.7 * (double)p);
            cr_assert(nn_forward(moved, x, ROWS, f, NULL) == 0);
            cr_assert(nn_linearised(model, w, x, ROWS, lin, NULL) == 0);
            off[s] = 0;
            for (size_t i = 0; i < ROWS * OUTPUTS; i++)
                off[s] += fabs(f[i] - lin[i]);
        }
        cr_assert(off[0] > 0 && fabs(off[0] / off[1] - 4) < 0.15, "case %zu: %g, %g", k, off[0], off[1]);
        nn_model_free(model);
        nn_model_free(moved);
        nn_net_free(net);
    }
}

/* More rows than one chunk, in float, and plans that are kept. */
Test(jacobian, chunks_types_and_plans)
{
    enum { MANY = 1100 };
    double *x = malloc(MANY * FEATURES * sizeof *x), *v = malloc(MANY * OUTPUTS * sizeof *v);
    double *whole = malloc(MANY * OUTPUTS * sizeof *whole), *some = malloc(MANY * OUTPUTS * sizeof *some);
    fill(x, MANY * FEATURES, 0.3);
    fill(v, MANY * OUTPUTS, 1.1);
    nn_net *net = trace(0, NN_NTK);
    nn_model *model = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL),
             *one = nn_model_new(net, WIDTH, 5, AD_FLOAT, 1, NULL);
    size_t size = nn_model_size(model);
    double *all = malloc(size * sizeof *all), *part = malloc(size * sizeof *part), *sum = calloc(size, sizeof *sum);
    cr_assert(nn_vector_jacobian(model, x, MANY, v, all, NULL) == 0);
    for (size_t first = 0; first < MANY; first += 100) {
        cr_assert(nn_vector_jacobian(model, x + first * FEATURES, 100, v + first * OUTPUTS, part, NULL) == 0);
        for (size_t p = 0; p < size; p++)
            sum[p] += part[p];
    }
    for (size_t p = 0; p < size; p++)
        near("chunks", 0, all[p], sum[p], 1e-10);
    cr_assert(nn_jacobian_vector(model, x, MANY, part, whole, NULL) == 0);
    long before = ad_allocations();
    cr_assert(nn_jacobian_vector(model, x, MANY, part, whole, NULL) == 0 && ad_allocations() == before);
    cr_assert(nn_jacobian_vector(one, x, MANY, part, some, NULL) == 0);
    for (size_t i = 0; i < MANY * OUTPUTS; i++)
        near("float", 0, some[i], whole[i], 1e-3);
    x[7] = (double)NAN;
    ad_error error = { 0 };
    cr_assert(nn_jacobian_vector(model, x, MANY, part, whole, &error) != 0 && strstr(error.text, "not finite"));
    free(all);
    free(part);
    free(sum);
    free(whole);
    free(some);
    free(x);
    free(v);
    nn_model_free(model);
    nn_model_free(one);
    nn_net_free(net);
}
