/* Kernels over positions by arrays, held against the recursion by quantities, which finds the same values pair of
 * positions by pair of positions. */
#include "limn.h"
#include "tp/positions/positions.h"
#include "tp/recursion/recursion.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, ROWS2 = 9, HIGH = 4, WIDE = 3, CHANNELS = 2, FEATURES = HIGH * WIDE * CHANNELS };

/* ---- networks ---- */
static ad_var strided(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_conv_with(net, "a", x, n, .filter = { 3, 2 }, .stride = { 2, 1 }, .bias = true, .sigma_b = 0.4));
    x = ad_erf(nn_conv_with(net, "b", x, n, .filter = { 2 }, .padding = NN_CIRCULAR, .sigma_w = 1.3));
    return nn_flatten_readout(net, "out", x);
}

static ad_var dilated(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 2);
    x = ad_tanh(nn_conv_with(net, "a", x, n, .filter = { 2, 2 }, .dilation = { 2, 1 }, .padding = NN_VALID));
    x = ad_gelu(nn_conv_with(net, "b", x, m, .bias = true, .sigma_b = 0.2));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

/* One filter twice, and what passes it by. */
static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_conv(net, "in", x, n);
    for (int k = 0; k < 2; k++)
        h = ad_add(h, ad_scale(nn_conv(net, nn_name(net, "block%d", k), ad_relu(h), n), 0.7));
    h = nn_average_pool(net, ad_relu(h));
    return nn_flatten_readout(net, "out", h);
}

/* After a function comes a sum of functions, and then a filter. */
static ad_var branches(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_conv(net, "u", x, n), v = nn_conv_with(net, "v", x, n, .filter = { 1 });
    ad_var both = ad_add(ad_tanh(u), ad_scale(ad_erf(ad_add(u, v)), 0.5));
    return nn_flatten_readout(net, "out", ad_abs(nn_conv_with(net, "w", both, n, .padding = NN_VALID)));
}

static ad_var sequence(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_conv_with(net, "a", x, n, .filter = { 3 }));
    x = ad_softplus(nn_conv_with(net, "b", x, n, .filter = { 3 }, .stride = { 2 }, .padding = NN_VALID));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

/* Layer normalisation of the channels of each position, and of all positions together. */
static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_conv_with(net, "a", x, n, .bias = true, .sigma_b = 0.3);
    x = ad_relu(nn_layernorm_with(net, "one", x, .epsilon = 0.1));
    x = nn_layernorm_with(net, "two", nn_conv_with(net, "b", x, n, .filter = { 2 }, .stride = { 2, 1 }), .epsilon = 1);
    return nn_flatten_readout(net, "out", ad_tanh(x));
}

static ad_var whole_picture(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_conv(net, "a", x, n);
    const ad_axis *axes = ad_shape_get(u)->axes; /* (batch, rows, columns, n) */
    ad_shape over = ad_shape_of(axes[1], axes[2], axes[3]);
    u = ad_gelu(nn_layernorm_with(net, "norm", u, .over = over));
    return nn_readout(net, "out", nn_global_pool(net, u));
}

/* Normalised branches beside what passes them by, without a mean, and with a gain that does not learn. */
static ad_var normalised_residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_conv(net, "in", x, n);
    for (int k = 0; k < 2; k++) {
        ad_var square = ad_mean(ad_square(h), ad_shape_of(n));
        ad_var z = ad_mul(h, ad_rsqrt(ad_add(square, ad_constant(nn_graph(net), 0.5, (ad_shape){ 0 }))));
        h = ad_add(h, nn_conv(net, nn_name(net, "block%d", k), ad_gelu(z), n));
    }
    h = nn_layernorm_with(net, "last", h, .affine = true);
    nn_freeze(net, "last.*");
    return nn_flatten_readout(net, "out", ad_erf(h));
}

/* Masks after a function, before a pool, of one of two branches, and twice of one vector. */
static ad_var dropped(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dropout(net, "one", ad_relu(nn_conv(net, "a", x, n)), 0.6);
    h = ad_relu(nn_conv_with(net, "b", h, n, .bias = true, .sigma_b = 0.2));
    h = ad_add(h, nn_dropout(net, "two", h, 0.5));
    h = nn_average_pool(net, ad_add(h, ad_scale(nn_dropout(net, "three", h, 0.8), 0.5)));
    return nn_readout(net, "out", nn_global_pool(net, ad_tanh(nn_conv_with(net, "c", h, n, .filter = { 2, 1 }))));
}

static ad_var dropped_normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_gelu(nn_layernorm_with(net, "norm", nn_conv(net, "a", x, n), .epsilon = 0.3));
    x = nn_conv_with(net, "b", nn_dropout(net, "one", x, 0.7), n, .stride = { 2 });
    return nn_flatten_readout(net, "out", nn_dropout(net, "two", ad_relu(x), 0.9));
}

static const struct {
    const char *name;
    nn_function network;
    bool sequence;
} networks[] = {
    { "strided", strided, false },
    { "dilated", dilated, false },
    { "residual", residual, false },
    { "branches", branches, false },
    { "sequence", sequence, true },
    { "normalised", normalised, false },
    { "whole picture", whole_picture, false },
    { "normalised residual", normalised_residual, false },
    { "dropped", dropped, false },
    { "dropped normalised", dropped_normalised, false },
};

static tp_program *translate(int which, nn_sigma_in sigma_in, nn_net **net)
{
    ad_error error = { 0 };
    nn_spec spec = { .outputs = 2, .sigma_in = sigma_in, .shape = { HIGH, WIDE, CHANNELS } };
    if (networks[which].sequence)
        memcpy(spec.shape, (size_t[]){ HIGH * WIDE, CHANNELS, 0, 0 }, sizeof spec.shape);
    *net = nn_trace(networks[which].network, &spec, &error);
    tp_program *program = *net ? tp_translate_training(*net, &error) : NULL;
    cr_assert(program, "%s: %s", networks[which].name, error.text);
    return program;
}

/* Inputs of all kinds: some zeros, some rows that are multiples of others. */
static double *make_inputs(size_t rows, uint64_t seed)
{
    double *x = malloc(rows * FEATURES * sizeof *x);
    ad_normal(seed, ad_stream("positions"), 0, rows * FEATURES, x);
    for (size_t i = 0; i < rows * FEATURES; i++)
        x[i] *= i % 7 ? 1 : 0;
    for (size_t k = 0; k < FEATURES && rows > 2; k++)
        x[2 * FEATURES + k] = -1.5 * x[k];
    return x;
}

static double worst(const tp_kernel *a, const tp_kernel *b, const double *size1, const double *size2)
{
    double most = 0;
    for (size_t i = 0; i < a->rows * a->rows2; i++) {
        double size = sqrt(size1[i / a->rows2] * size2[i % a->rows2]);
        most = fmax(most, fabs(a->terms[0].values[i] - b->terms[0].values[i]) / size);
    }
    return most;
}

static void both(const tp_program *program, tp_kernel_kind which, const double *x, const double *x2, size_t rows2,
                 const tp_limit_spec *spec, tp_kernel found[2], const char *name)
{
    ad_error error = { 0 };
    int status = tp_limit_positions(program, which, x, ROWS, x2, rows2, spec, &found[0], &error);
    cr_assert_eq(status, 0, "%s: %d %s", name, status, error.text);
    status = tp_limit_exact(program, which, x, ROWS, x2, rows2, spec, TP_RULES_BP, &found[1], NULL, &error);
    cr_assert_eq(status, 0, "%s: %d %s", name, status, error.text);
    cr_assert_eq(found[0].n_terms, found[1].n_terms, "%s", name);
    cr_expect(found[0].n_terms == 0 || fabs(found[0].terms[0].power - found[1].terms[0].power) < 1e-9);
}

/* Of one set, of two, with one thread and two; NNGP and NTK; either convention of sigma. Closed forms agree to
 * roundings, series to theirs; and to what is stated. */
Test(positions, arrays_and_quantities_have_the_same_kernel)
{
    double *x = make_inputs(ROWS, 1), *x2 = make_inputs(ROWS2, 2);
    for (int k = 0; k < (int)(sizeof networks / sizeof *networks); k++)
        for (int convention = 0; convention < 2; convention++) {
            nn_net *net;
            tp_program *program = translate(k, convention ? NN_SIGMA_MULTIPLIER : NN_SIGMA_INIT, &net);
            for (tp_kernel_kind which = TP_NTK; which <= TP_NNGP; which++) {
                tp_kernel one[2], two[2], other;
                ad_error unrelated = { 0 };
                double size[ROWS], size2[ROWS2];
                tp_limit_spec spec = { .threads = 1 }, threads = { .threads = 2 };
                both(program, which, x, NULL, 0, &spec, one, networks[k].name);
                both(program, which, x, x2, ROWS2, &threads, two, networks[k].name);
                for (size_t i = 0; i < ROWS2; i++) {
                    tp_kernel self;
                    ad_error error = { 0 };
                    cr_assert_eq(tp_limit_exact(program, which, x2 + i * FEATURES, 1, NULL, 0, &spec, TP_RULES_BP,
                                                &self, NULL, &error),
                                 0, "%s", error.text);
                    size2[i] = self.terms[0].values[0];
                    tp_kernel_free(&self);
                }
                for (size_t i = 0; i < ROWS; i++)
                    size[i] = one[1].terms[0].values[i * ROWS + i];
                double stated = one[0].error + one[1].error, off = worst(&one[0], &one[1], size, size);
                cr_expect(off <= 3e-12 && off <= stated, "%s: off by %g of a stated %g", networks[k].name, off, stated);
                off = worst(&two[0], &two[1], size, size2);
                stated = two[0].error + two[1].error;
                cr_expect(off <= 3e-12 && off <= stated, "%s, two sets: off by %g of a stated %g", networks[k].name,
                          off, stated);
                /* of different outputs there is no kernel: their readouts are independent */
                spec.output2 = 1;
                cr_expect(tp_limit_positions(program, which, x, ROWS, x2, ROWS2, &spec, &other, &unrelated) == 0 &&
                              other.n_terms == 0,
                          "%s: %s", networks[k].name, unrelated.text);
                tp_kernel_free(&other);
                for (int side = 0; side < 2; side++) {
                    tp_kernel_free(&one[side]);
                    tp_kernel_free(&two[side]);
                }
            }
            tp_program_free(program);
            nn_net_free(net);
        }
    free(x);
    free(x2);
}

/* The same bits at any number of threads, symmetric, and a row against itself is the same as among others. */
Test(positions, threads_and_sets_make_no_difference)
{
    nn_net *net;
    tp_program *program = translate(0, NN_SIGMA_INIT, &net);
    double *x = make_inputs(ROWS2, 3);
    tp_kernel one, two, part;
    ad_error error = { 0 };
    cr_assert_eq(tp_limit_positions(program, TP_NTK, x, ROWS2, NULL, 0, &(tp_limit_spec){ .threads = 1 }, &one, &error),
                 0);
    cr_assert_eq(tp_limit_positions(program, TP_NTK, x, ROWS2, NULL, 0, &(tp_limit_spec){ .threads = 2 }, &two, &error),
                 0);
    cr_assert_eq(tp_limit_positions(program, TP_NTK, x, ROWS2, x + 3 * FEATURES, 2, &(tp_limit_spec){ .threads = 1 },
                                    &part, &error),
                 0);
    for (size_t i = 0; i < ROWS2; i++)
        for (size_t j = 0; j < ROWS2; j++) {
            double value = one.terms[0].values[i * ROWS2 + j];
            cr_expect(value == two.terms[0].values[i * ROWS2 + j] && value == one.terms[0].values[j * ROWS2 + i]);
            if ((j == 3 || j == 4) && i <= j)
                cr_expect(value == part.terms[0].values[i * 2 + j - 3]);
        }
    tp_kernel_free(&one);
    tp_kernel_free(&two);
    tp_kernel_free(&part);
    tp_program_free(program);
    nn_net_free(net);
    free(x);
}

/* A part of the tangent kernel by the parameters that count. */
Test(positions, parts_by_parameter)
{
    nn_net *net;
    tp_program *program = translate(2, NN_SIGMA_INIT, &net);
    double *x = make_inputs(ROWS, 4), sum[ROWS * ROWS] = { 0 };
    ad_error error = { 0 };
    tp_kernel all;
    cr_assert_eq(tp_limit(program, TP_NTK, x, ROWS, NULL, 0, NULL, &all, &error), 0, "%s", error.text);
    cr_assert(strstr(all.method, "over positions"), "%s", all.method);
    for (int k = 0; k < nn_n_params(net); k++) {
        bool params[16] = { false };
        tp_kernel part;
        params[k] = true;
        cr_assert_eq(tp_limit(program, TP_NTK, x, ROWS, NULL, 0, &(tp_limit_spec){ .params = params }, &part, &error),
                     0, "%s", error.text);
        for (size_t i = 0; i < ROWS * ROWS; i++)
            sum[i] += part.terms[0].values[i];
        tp_kernel_free(&part);
    }
    for (size_t i = 0; i < ROWS * ROWS; i++)
        cr_expect(fabs(sum[i] - all.terms[0].values[i]) < 1e-12);
    tp_kernel_free(&all);
    tp_program_free(program);
    nn_net_free(net);
    free(x);
}

/* What is linear in its vectors but has another argument than a Gaussian one, and matrices of both ways. */
static ad_var nested(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = ad_relu(nn_conv(net, "u", x, n));
    return nn_flatten_readout(net, "out", ad_tanh(ad_add(u, nn_conv(net, "v", u, n))));
}

static ad_var of_outputs(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return ad_tanh(nn_flatten_readout(net, "out", ad_relu(nn_conv(net, "u", x, n))));
}

/* A gain's own part of the tangent kernel is no product with that of the slope. */
static ad_var with_gains(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_layernorm_with(net, "norm", nn_conv(net, "u", x, n), .affine = true);
    return nn_flatten_readout(net, "out", ad_relu(u));
}

/* A function of what is dropped out. */
static ad_var of_masks(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_flatten_readout(net, "out", ad_tanh(nn_dropout(net, "drop", nn_conv(net, "u", x, n), 0.5)));
}

Test(positions, other_programs_are_handed_back)
{
    static const nn_function others[] = { nested, of_outputs, with_gains, of_masks };
    double *x = make_inputs(ROWS, 5);
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        ad_error error = { 0 };
        nn_spec spec = { .outputs = 1, .shape = { HIGH, WIDE, CHANNELS } };
        nn_net *net = nn_trace(others[k], &spec, &error);
        tp_program *program = net ? tp_translate_training(net, &error) : NULL;
        tp_kernel kernel;
        cr_assert(program, "%s", error.text);
        cr_expect_eq(tp_limit_positions(program, TP_NTK, x, ROWS, NULL, 0, &(tp_limit_spec){ 0 }, &kernel, &error), 1);
        cr_expect_eq(kernel.n_terms, 0);
        tp_program_free(program);
        nn_net_free(net);
    }
    free(x);
}

/* Numbers near the ends of a double's range: 0 and infinity would be printed of what is neither. */
Test(positions, extreme_inputs_are_handed_back)
{
    static const double scales[] = { 1e160, 1e-110, 1e-160 };
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
        nn_net *net;
        tp_program *program = translate(0, NN_SIGMA_INIT, &net);
        double *x = make_inputs(ROWS, 7);
        ad_error error = { 0 };
        tp_kernel kernel;
        for (size_t i = 0; i < ROWS * FEATURES; i++)
            x[i] *= scales[k];
        cr_expect_eq(tp_limit_positions(program, TP_NTK, x, ROWS, NULL, 0, &(tp_limit_spec){ 0 }, &kernel, &error), 1);
        cr_expect_eq(kernel.n_terms, 0);
        tp_program_free(program);
        nn_net_free(net);
        free(x);
    }
}

static void run_out(int which)
{
    nn_net *net;
    tp_program *program = translate(which, NN_SIGMA_INIT, &net);
    double *x = make_inputs(ROWS, 6);
    for (long k = 1, failed = 1; failed; k += k < 300 ? 1 : 37) {
        ad_error error = { 0 };
        tp_kernel kernel;
        ad_hook_allocation(k);
        failed =
            tp_limit_positions(program, TP_NTK, x, ROWS, NULL, 0, &(tp_limit_spec){ .threads = 1 }, &kernel, &error);
        ad_hook_allocation(0);
        cr_expect(!failed || (failed < 0 && error.text[0]), "%s, allocation %ld: %ld, %s", networks[which].name, k,
                  failed, error.text);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    nn_net_free(net);
    free(x);
}

Test(positions, memory_that_runs_out)
{
    run_out(1);
    run_out((int)(sizeof networks / sizeof *networks) - 1); /* normalised, and dropped out */
}
