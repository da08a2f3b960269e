/* Weights that start orthogonal: that they are, by Haar's law; their kernels in the limit; what is refused. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static double ratio_in = 1, ratio_out = 1;

static ad_var two_layers(nn_net *net, ad_var x)
{
    ad_axis a = nn_width_ratio(net, "a", ratio_in), b = nn_width_ratio(net, "b", ratio_out);
    ad_var h = ad_tanh(nn_dense(net, "first", x, a));
    h = ad_tanh(nn_dense_with(net, "second", h, b, .sigma_w = 1.5, .orthogonal = true));
    return nn_readout(net, "readout", h);
}

static ad_var used_twice(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_orthogonal(net, "w", n, n, 1);
    ad_var h = ad_tanh(nn_dense(net, "first", x, n));
    h = ad_tanh(nn_apply(w, h));
    return nn_readout(net, "readout", ad_tanh(nn_apply(w, h)));
}

static ad_var with_its_transpose(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_orthogonal(net, "w", n, n, 1);
    ad_var h = ad_relu(nn_apply(w, ad_relu(nn_dense(net, "first", x, n))));
    return nn_readout(net, "readout", ad_relu(nn_apply_t(w, h)));
}

static ad_var undone(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_orthogonal(net, "w", n, n, 1);
    return nn_readout(net, "readout", nn_apply_t(w, nn_apply(w, nn_dense(net, "first", x, n))));
}

static ad_var rectangular(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 2);
    nn_weight w = nn_orthogonal(net, "w", n, m, 1);
    ad_var h = ad_relu(nn_apply(w, ad_relu(nn_dense(net, "first", x, n))));
    return nn_readout(net, "readout", ad_relu(nn_apply_t(w, h)));
}

static ad_var of_the_input(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_readout(net, "readout", ad_tanh(nn_dense_with(net, "first", x, n, .orthogonal = true)));
}

static nn_net *traced(nn_function function, nn_parametrization scale)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = 3, .parametrization = scale };
    nn_net *net = nn_trace(function, &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

/* The second layer's omega (in, out), times what makes it orthogonal: its Gram matrix on the smaller side is 1. */
static void is_orthogonal(size_t n, ad_type type, nn_parametrization scale)
{
    ad_error error = { 0 };
    nn_net *net = traced(two_layers, scale);
    nn_model *model = nn_model_new(net, n, 7, type, 1, &error);
    cr_assert(model, "%s", error.text);
    size_t count, in = (size_t)lround(ratio_in * (double)n), out = (size_t)lround(ratio_out * (double)n);
    const void *values = nn_param_values(model, 1, &count);
    cr_assert_eq(count, in * out);
    double size = (double)(in > out ? in : out), c = 1 / 1.5;
    c *= scale == NN_NTK ? 1 / sqrt(size) : sqrt((double)in / size); /* omega's deviation is 1.5, or 1.5/sqrt(in) */
    size_t small = in > out ? out : in, large = in > out ? in : out;
    for (size_t i = 0; i < small; i++)
        for (size_t k = 0; k <= i; k++) {
            double sum = 0;
            for (size_t j = 0; j < large; j++) {
                size_t p = in > out ? j * out + i : i * out + j, q = in > out ? j * out + k : k * out + j;
                sum += type == AD_FLOAT ? (double)((const float *)values)[p] * (double)((const float *)values)[q]
                                        : ((const double *)values)[p] * ((const double *)values)[q];
            }
            double tolerance = type == AD_FLOAT ? 1e-5 : 1e-12;
            cr_assert(fabs(sum * c * c - (i == k)) < tolerance, "%zu %zu: %g", i, k, sum * c * c);
        }
    nn_model_free(model);
    nn_net_free(net);
}

Test(orthogonal, weights_are_orthogonal)
{
    is_orthogonal(20, AD_DOUBLE, NN_NTK);
    is_orthogonal(20, AD_FLOAT, NN_NTK);
    is_orthogonal(20, AD_DOUBLE, NN_STANDARD);
    ratio_out = 2;
    is_orthogonal(10, AD_DOUBLE, NN_NTK);
    ratio_out = 0.5;
    is_orthogonal(10, AD_DOUBLE, NN_NTK);
    ratio_out = 1;
}

/* Of Haar's law E tr Q = 0 and E (tr Q)^2 = 1 (Diaconis and Shahshahani, 1994); without the signs' turn the trace of a
 * Householder Q is far from it. */
Test(orthogonal, the_law_is_haars)
{
    enum { N = 8, DRAWS = 4000 };
    ad_error error = { 0 };
    ad_graph *graph = ad_graph_new(&error);
    ad_axis n = ad_width(graph, "n", 1);
    ad_init init = { .axis = n, .deviation = 1, .deviation_power = -0.5, .multiplier = 1, .orthogonal = true };
    ad_var w = ad_param(graph, "w", ad_shape_of(n, ad_prime(n)), init);
    double sum = 0, squares = 0, values[N * N];
    for (uint64_t seed = 1; seed <= DRAWS; seed++) {
        double trace = 0;
        cr_assert_eq(ad_draw(w, &(ad_sizes){ .n = N }, seed, AD_DOUBLE, values, &error), 0, "%s", error.text);
        for (int i = 0; i < N; i++)
            trace += values[i * N + i];
        sum += trace / DRAWS;
        squares += trace * trace / DRAWS;
    }
    cr_assert(fabs(sum) < 4 / sqrt(DRAWS), "%g", sum);
    cr_assert(fabs(squares - 1) < 4 * sqrt(2.0 / DRAWS), "%g", squares);
    ad_graph_free(graph);
}

/* Limit kernels are those of Gaussian weights, and a wide network's are near. */
Test(orthogonal, limit_kernels_are_those_of_gaussian_weights)
{
    enum { SEEDS = 40 };
    const double x[6] = { 1, -0.5, 0.75, 0.2, 0.9, -0.4 };
    for (int kind = 0; kind < 2; kind++) {
        tp_kernel kernels[2];
        double finite[4] = { 0 };
        for (int o = 0; o < 2; o++) {
            const char *settings[] = { "phi=tanh", o ? "weights=orthogonal" : "weights=gaussian", NULL };
            nn_spec spec = { .features = 3, .settings = settings, .name = "mlp" };
            ad_error error = { 0 };
            nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
            tp_program *program = tp_translate(net, &error);
            tp_kernel_kind which = kind ? TP_NTK : TP_NNGP;
            cr_assert_eq(tp_limit(program, which, x, 2, NULL, 0, NULL, &kernels[o], &error), 0, "%s", error.text);
            if (o) {
                for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                    double one[4];
                    nn_model *model = nn_model_new(net, 256, seed, AD_DOUBLE, 1, &error);
                    cr_assert_eq((kind ? nn_ntk : nn_nngp)(model, x, 2, NULL, 0, NN_MEAN, one, &error), 0);
                    nn_model_free(model);
                    for (int i = 0; i < 4; i++)
                        finite[i] += one[i] / SEEDS;
                }
            }
            tp_program_free(program);
            nn_net_free(net);
        }
        for (int i = 0; i < 4; i++) {
            double limit = kernels[1].terms[0].values[i];
            cr_assert(fabs(limit - kernels[0].terms[0].values[i]) < 1e-13 * fabs(limit));
            cr_assert(fabs(finite[i] - limit) < 0.05 * kernels[1].terms[0].values[0], "%g %g", finite[i], limit);
        }
        tp_kernel_free(&kernels[0]);
        tp_kernel_free(&kernels[1]);
    }
}

/* The mean of networks' kernels at x, with its standard error. */
static void measure(nn_net *net, tp_kernel_kind which, size_t n, int seeds, const double *x, double *mean, double *off)
{
    ad_error error = { 0 };
    double squares = 0, one;
    *mean = 0;
    for (int seed = 1; seed <= seeds; seed++) {
        nn_model *model = nn_model_new(net, n, (uint64_t)seed, AD_DOUBLE, 1, &error);
        cr_assert_eq((which == TP_NTK ? nn_ntk : nn_nngp)(model, x, 1, NULL, 0, NN_MEAN, &one, &error), 0, "%s",
                     error.text);
        nn_model_free(model);
        *mean += one / seeds;
        squares += one * one / seeds;
    }
    *off = sqrt(fmax(0, squares - *mean * *mean) / (seeds - 1));
}

/* One matrix used twice, with itself or its transpose: by samples, as networks of two widths have it, whose means are
 * off by c / n. In linear layers W' W = 1 makes kernels that are known. */
Test(orthogonal, one_matrix_used_twice)
{
    const double x[3] = { 1, -0.5, 0.75 };
    const nn_function functions[] = { used_twice, with_its_transpose };
    for (int f = 0; f < 2; f++)
        for (int kind = 0; kind < 2; kind++) {
            ad_error error = { 0 };
            tp_kernel kernel;
            tp_kernel_kind which = kind ? TP_NTK : TP_NNGP;
            double wide, narrow, wide_off, narrow_off;
            nn_net *net = traced(functions[f], NN_NTK);
            tp_program *program = tp_translate(net, &error);
            cr_assert(program, "%s", error.text);
            cr_assert_eq(tp_limit(program, which, x, 1, NULL, 0, NULL, &kernel, &error), 0, "%s", error.text);
            cr_assert(kernel.deviations && strstr(kernel.no_rule, "w starts orthogonal and is used 2 times"), "%s",
                      kernel.no_rule);
            measure(net, which, 64, 1000, x, &wide, &wide_off);
            measure(net, which, 32, 4000, x, &narrow, &narrow_off);
            double limit = kernel.terms[0].values[0], found = 2 * wide - narrow,
                   spread = sqrt(4 * wide_off * wide_off + narrow_off * narrow_off);
            cr_expect(fabs(found - limit) < 4 * hypot(spread, kernel.deviations[0]), "%d %d: %g ± %g, not %g ± %g", f,
                      kind, found, spread, limit, kernel.deviations[0]);
            cr_expect(spread < 0.03 * limit);
            tp_kernel_free(&kernel);
            tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
            cr_assert_eq(tp_limit(program, which, x, 1, NULL, 0, &spec, &kernel, &error), -1);
            cr_expect(strstr(error.text, "w starts orthogonal"), "%s", error.text);
            tp_program_free(program);
            nn_net_free(net);
        }
}

/* f = v W' W U x / sqrt(n) = v U x: its NNGP kernel is that without W, and the parts of its NTK by U, v and either use
 * of W are each |x|^2 / d. */
Test(orthogonal, a_matrix_undone)
{
    const double x[3] = { 1, -0.5, 0.75 };
    double size = (1 + 0.25 + 0.5625) / 3;
    ad_error error = { 0 };
    nn_net *net = traced(undone, NN_NTK);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    for (int kind = 0; kind < 2; kind++) {
        tp_kernel kernel;
        cr_assert_eq(tp_limit(program, kind ? TP_NTK : TP_NNGP, x, 1, NULL, 0, NULL, &kernel, &error), 0, "%s",
                     error.text);
        double wide, off, limit = kernel.terms[0].values[0];
        measure(net, kind ? TP_NTK : TP_NNGP, 64, 1000, x, &wide, &off);
        cr_expect(fabs(limit - (kind ? 4 : 1) * size) < 1e-10 * size, "%d: %.15g of %g (networks: %g ± %g)", kind,
                  limit / size, size, wide, off);
        cr_expect(fabs(wide - limit) < 4 * off + 0.1 * limit, "%d: %g, networks %g ± %g", kind, limit, wide, off);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    nn_net_free(net);
}

Test(orthogonal, what_has_no_rule_is_refused)
{
    const double x[3] = { 1, -0.5, 0.75 };
    ad_error error = { 0 };
    tp_kernel kernel;
    nn_net *net = traced(rectangular, NN_NTK);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    cr_assert_eq(tp_limit(program, TP_NTK, x, 1, NULL, 0, NULL, &kernel, &error), -1);
    cr_assert(strstr(error.text, "w starts orthogonal between widths of different size"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    nn_spec net_spec = { .features = 3 };
    error = (ad_error){ 0 };
    cr_assert(!nn_trace(of_the_input, &net_spec, &error));
    cr_assert(strstr(error.text, "orthogonal first.weight: it is between two widths"), "%s", error.text);
}
