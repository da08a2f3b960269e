/* Parts of empirical kernels: of some parameters, and of hidden vectors, against Jacobians by finite differences. */
#include "nn/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 5, OUTPUTS = 2, ROWS = 4, ROWS2 = 3, WIDTH = 6 };
static ad_var hidden; /* of the network that was traced last */

static void fill(double *x, size_t count, double phase)
{
    for (size_t i = 0; i < count; i++)
        x[i] = sin(phase + 1.7 * (double)i + 0.3 * (double)(i * i % 17));
}

/* A shared matrix and biases; the vector is in the middle. */
static ad_var deep(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2), b = nn_make_bias(net, "b", n, 0.3);
    x = ad_tanh(nn_dense_with(net, "one", x, n, .bias = true, .sigma_b = 0.4));
    x = ad_tanh(nn_add_bias(b, nn_apply(w, x)));
    hidden = nn_add_bias(b, nn_apply(w, x));
    return nn_readout_with(net, "readout", ad_tanh(hidden), .bias = true, .sigma_b = 0.5);
}

/* The batch is normalised before the vector. */
static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_tanh(nn_batchnorm(net, "norm", nn_dense(net, "one", x, n)));
    hidden = nn_dense(net, "two", x, n);
    return nn_readout(net, "readout", ad_tanh(hidden));
}

static nn_net *trace(nn_function function)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, &(nn_spec){ .features = FEATURES, .outputs = OUTPUTS }, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

/* (rows, wide, parameters) of the vector by central differences; of the outputs where vector.graph is NULL. */
static double *jacobian(nn_model *model, ad_var vector, size_t wide, const double *x, size_t rows)
{
    const double h = 1e-4;
    static const double steps[] = { 1, -1, 2, -2 };
    size_t count = nn_model_size(model), size = rows * wide;
    double *j = calloc(size * count, sizeof *j), *w = nn_param_values(model, 0, NULL), *f[4];
    for (int s = 0; s < 4; s++)
        f[s] = calloc(size, sizeof **f);
    for (size_t p = 0; p < count; p++) {
        double kept = w[p];
        for (int s = 0; s < 4; s++) {
            w[p] = kept + steps[s] * h;
            cr_assert((vector.graph ? nn_activations(model, vector, x, rows, f[s], NULL)
                                    : nn_forward(model, x, rows, f[s], NULL)) == 0);
        }
        w[p] = kept;
        for (size_t i = 0; i < size; i++)
            j[i * count + p] = (8 * (f[0][i] - f[1][i]) - (f[2][i] - f[3][i])) / (12 * h);
    }
    for (int s = 0; s < 4; s++)
        free(f[s]);
    return j;
}

/* The products of Jacobians over the parameters that count, against nn_ntk_part: all blocks and their mean. */
static void compare(nn_model *model, const nn_kernel_part *part, size_t wide, bool square)
{
    ad_error error = { 0 };
    double x[ROWS * FEATURES], x2[ROWS2 * FEATURES];
    size_t rows2 = square ? ROWS : ROWS2, count = nn_model_size(model), size;
    fill(x, ROWS * FEATURES, 0.3);
    fill(x2, ROWS2 * FEATURES, 2.1);
    double *full = calloc(ROWS * rows2 * wide * wide, sizeof *full), mean[ROWS * ROWS];
    double *j = jacobian(model, part->of, wide, x, ROWS);
    double *j2 = square ? j : jacobian(model, part->of, wide, x2, ROWS2);
    bool *counts = calloc(count, sizeof *counts), *at = counts;
    for (int k = 0; k < nn_n_params(nn_model_net(model)); k++) {
        nn_param_values(model, k, &size);
        for (size_t i = 0; i < size; i++)
            *at++ = !part->params || part->params[k];
    }
    const double *second = square ? NULL : x2;
    cr_assert(nn_ntk_part(model, part, x, ROWS, second, ROWS2, NN_FULL, full, &error) == 0, "%s", error.text);
    cr_assert(nn_ntk_part(model, part, x, ROWS, second, ROWS2, NN_MEAN, mean, &error) == 0, "%s", error.text);
    for (size_t i = 0; i < ROWS * rows2; i++) {
        double trace_of = 0;
        for (size_t q = 0; q < wide * wide; q++) {
            double want = 0;
            for (size_t p = 0; p < count; p++)
                if (counts[p])
                    want +=
                        j[(i / rows2 * wide + q / wide) * count + p] * j2[(i % rows2 * wide + q % wide) * count + p];
            trace_of += q / wide == q % wide ? want / (double)wide : 0;
            double got = full[i * wide * wide + q];
            cr_assert(fabs(got - want) <= 1e-8 * (1 + fabs(want)), "%.15g, not %.15g", got, want);
        }
        cr_assert(fabs(mean[i] - trace_of) <= 1e-8 * (1 + fabs(trace_of)), "%.15g, not %.15g", mean[i], trace_of);
    }
    free(full);
    free(counts);
    if (!square)
        free(j2);
    free(j);
}

Test(kernel_parts, are_the_columns_of_the_jacobian)
{
    nn_function const functions[] = { deep, normalised };
    for (int f = 0; f < 2; f++) {
        nn_net *net = trace(functions[f]);
        nn_model *model = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL);
        nn_set_mode(model, NN_TRAINING);
        int n = nn_n_params(net);
        for (int k = 0; k < n; k++) {
            bool params[16] = { false };
            params[k] = params[(k + 1) % n] = true;
            compare(model, &(nn_kernel_part){ .params = params }, OUTPUTS, k % 2);
        }
        nn_model_free(model);
        nn_net_free(net);
    }
}

Test(kernel_parts, of_a_vector_are_those_of_its_coordinates)
{
    nn_function const functions[] = { deep, normalised };
    for (int f = 0; f < 2; f++) {
        nn_net *net = trace(functions[f]);
        ad_var vector = hidden;
        nn_model *model = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL);
        nn_set_mode(model, NN_TRAINING);
        bool params[16] = { true };
        compare(model, &(nn_kernel_part){ .of = vector }, WIDTH, true);
        compare(model, &(nn_kernel_part){ .of = vector }, WIDTH, false);
        compare(model, &(nn_kernel_part){ .of = vector, .params = params }, WIDTH, true);
        compare(model, &(nn_kernel_part){ 0 }, OUTPUTS, false); /* the outputs again, after it */
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* Batches whose seeds come one after another have the same parts. */
Test(kernel_parts, sum_up_to_the_whole)
{
    enum { COUNT = ROWS * ROWS2 * OUTPUTS * OUTPUTS };
    double x[ROWS * FEATURES], x2[ROWS2 * FEATURES], whole[COUNT], one[COUNT], sum[COUNT] = { 0 };
    nn_net *net = trace(deep);
    nn_model *model = nn_model_new(net, 40, 2, AD_DOUBLE, 1, NULL);
    fill(x, ROWS * FEATURES, 0.3);
    fill(x2, ROWS2 * FEATURES, 2.1);
    cr_assert(nn_ntk(model, x, ROWS, x2, ROWS2, NN_FULL, whole, NULL) == 0);
    for (int k = 0; k < nn_n_params(net); k++) {
        bool params[16] = { false };
        params[k] = true;
        cr_assert(nn_ntk_part(model, &(nn_kernel_part){ .params = params }, x, ROWS, x2, ROWS2, NN_FULL, one, NULL) ==
                  0);
        for (int i = 0; i < COUNT; i++)
            sum[i] += one[i];
    }
    for (int i = 0; i < COUNT; i++)
        cr_assert(fabs(sum[i] - whole[i]) <= 1e-12 * (1 + fabs(whole[i])), "%.15g, not %.15g", sum[i], whole[i]);
    nn_model_free(model);
    nn_net_free(net);
}

Test(kernel_parts, nngp_of_a_vector_is_its_second_moment)
{
    double x[ROWS * FEATURES], x2[ROWS2 * FEATURES], h[ROWS * WIDTH], h2[ROWS2 * WIDTH], k[ROWS * ROWS];
    nn_net *net = trace(deep);
    ad_var vector = hidden;
    nn_model *model = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL);
    fill(x, ROWS * FEATURES, 0.3);
    fill(x2, ROWS2 * FEATURES, 2.1);
    cr_assert(nn_activations(model, vector, x, ROWS, h, NULL) == 0);
    cr_assert(nn_activations(model, vector, x2, ROWS2, h2, NULL) == 0);
    for (int square = 0; square < 2; square++) {
        size_t columns = square ? ROWS : ROWS2;
        const double *right = square ? h : h2;
        cr_assert(nn_nngp_vector(model, vector, x, ROWS, square ? NULL : x2, ROWS2, k, NULL) == 0);
        for (size_t i = 0; i < ROWS * columns; i++) {
            double want = 0;
            for (size_t c = 0; c < WIDTH; c++)
                want += h[i / columns * WIDTH + c] * right[i % columns * WIDTH + c] / WIDTH;
            cr_assert(fabs(k[i] - want) <= 1e-14 * (1 + fabs(want)));
        }
    }
    nn_model_free(model);
    nn_net_free(net);
}

Test(kernel_parts, refuse_what_is_no_vector)
{
    double x[ROWS * FEATURES], k[ROWS * ROWS];
    ad_error error = { 0 };
    nn_net *net = trace(normalised), *other = trace(deep);
    ad_var foreign = hidden;
    nn_model *model = nn_model_new(net, WIDTH, 5, AD_DOUBLE, 1, NULL);
    fill(x, ROWS * FEATURES, 0.3);
    nn_kernel_part part = { .of = foreign };
    cr_assert(nn_ntk_part(model, &part, x, ROWS, NULL, 0, NN_MEAN, k, &error) != 0 &&
              strstr(error.text, "not of this"));
    part.of = nn_param(net, 0);
    error = (ad_error){ 0 };
    cr_assert(nn_ntk_part(model, &part, x, ROWS, NULL, 0, NN_MEAN, k, &error) != 0 && strstr(error.text, "no vector"));
    part.of = nn_output(net);
    nn_set_mode(model, NN_EVALUATION);
    error = (ad_error){ 0 };
    cr_assert(nn_ntk_part(model, &part, x, ROWS, NULL, 0, NN_MEAN, k, &error) != 0 && strstr(error.text, "evaluation"));
    nn_model_free(model);
    nn_net_free(net);
    nn_net_free(other);
}
