/* Normalisation at a finite width: the layers against their formulas, gradients and kernels against finite differences
 * in both modes, running statistics against a plain loop, files, and the cases at the edge. */
#include "datasets/datasets.h"
#include "nn/kernel/kernel.h"
#include "nn/safetensors/safetensors.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEATURES = 6, OUTPUTS = 3, ROWS = 5, ROWS2 = 4, WIDTH = 7 };

static void fill(double *x, size_t count, double phase)
{
    for (size_t i = 0; i < count; i++)
        x[i] = sin(phase + 1.7 * (double)i + 0.3 * (double)(i * i % 17));
}

/* ---- networks ---- */
static ad_var before_phi(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int i = 0; i < 2; i++) {
        x = nn_dense(net, nn_name(net, "dense%d", i), x, n);
        x = ad_tanh(nn_batchnorm_with(net, nn_name(net, "norm%d", i), x, .epsilon = 0.1, .affine = i > 0));
    }
    return nn_readout(net, "readout", x);
}

static ad_var after_phi(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), wide = nn_width_ratio(net, "m", 2);
    x = ad_tanh(nn_dense_with(net, "one", x, n, .bias = true, .sigma_b = 0.3));
    x = nn_batchnorm_with(net, "norm", x, .epsilon = 0.05, .affine = true);
    x = ad_tanh(nn_dense(net, "two", x, wide));
    return nn_readout(net, "readout", x);
}

/* The data meet, and no parameter does. */
static ad_var of_inputs(nn_net *net, ad_var x)
{
    x = nn_batchnorm(net, "norm", x);
    return nn_readout(net, "readout", ad_tanh(nn_dense(net, "dense", x, nn_width(net, "n"))));
}

static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    ad_var u = nn_dense(net, "up", ad_tanh(nn_batchnorm_with(net, "first", h, .epsilon = 0.1)), n);
    u = nn_dense(net, "down", ad_tanh(nn_batchnorm_with(net, "second", u, .epsilon = 0.1, .affine = true)), n);
    return nn_readout(net, "readout", ad_tanh(ad_add(h, u)));
}

/* Statistics of each step's own; gamma and beta stand in the weights. */
static ad_var recurrent(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], in = ad_shape_get(x)->axes[2];
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2), u = nn_make_weight(net, "u", in, n, 1.1);
    ad_var h = { nn_graph(net), -1 };
    for (size_t t = 0; t < ad_axis_fixed(nn_graph(net), time); t++) {
        ad_var s = nn_apply(u, ad_take(x, time, t));
        if (t > 0)
            s = ad_add(s, nn_apply(w, h));
        h = ad_tanh(nn_batchnorm_with(net, nn_name(net, "norm%zu", t), s, .epsilon = 0.1));
    }
    return nn_readout(net, "readout", h);
}

static ad_var over_time(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1];
    x = nn_dense(net, "one", x, n);
    x = ad_tanh(
        nn_batchnorm_with(net, "all", x, .epsilon = 0.1, .affine = true, .over = ad_shape_of(nn_batch(net), time)));
    x = ad_tanh(nn_batchnorm_with(net, "each", nn_dense(net, "two", x, n), .epsilon = 0.1));
    return nn_readout(net, "readout", ad_mean(x, ad_shape_of(time)));
}

static ad_var of_one_sample(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_groupnorm_with(net, "group", x, 3, .epsilon = 0.1, .affine = true);
    x = ad_tanh(nn_layernorm_with(net, "layer", nn_dense(net, "one", x, n), .epsilon = 0.1, .affine = true));
    return nn_readout(net, "readout", x);
}

static const struct {
    const char *name;
    nn_function function;
    size_t shape[2];
    bool couples, mixes; /* in training */
} cases[] = {
    { "before phi", before_phi, { 0 }, true, true },         { "after phi", after_phi, { 0 }, true, true },
    { "of inputs", of_inputs, { 0 }, false, true },          { "residual", residual, { 0 }, true, true },
    { "recurrent", recurrent, { 3, 2 }, true, true },        { "over time", over_time, { 3, 2 }, true, true },
    { "of one sample", of_one_sample, { 0 }, false, false },
};
enum { CASES = sizeof cases / sizeof *cases };

static nn_net *trace(nn_function function, const size_t *shape, nn_parametrization scale)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS, .parametrization = scale };
    for (int i = 0; i < 2 && shape; i++)
        spec.shape[i] = shape[i];
    nn_net *net = nn_trace(function, &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static nn_net *trace_built_in(const char *const *settings, size_t features, size_t outputs)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = features, .outputs = outputs, .settings = settings, .name = "batchnorm" };
    nn_net *net = nn_trace(nn_builtin("batchnorm"), &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

/* Running statistics that no batch has. */
static void shake(nn_model *model)
{
    for (int k = 0; k < nn_n_statistics(nn_model_net(model)); k++) {
        size_t count;
        double *values = nn_statistic(model, k, &count);
        for (size_t i = 0; i < count; i++)
            values[i] = k % 2 ? 0.5 + 0.1 * (double)(i + (size_t)k) : 0.2 * sin((double)(3 * i) + k);
    }
}

static const char *temporary(const char *name)
{
    static char paths[4][300];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "/tmp/limn-norm-%ld-%s", (long)getpid(), name);
    return path;
}

/* ---- what the layers compute ---- */
static ad_var bare_batch(nn_net *net, ad_var x)
{
    return nn_batchnorm_with(net, "norm", x, .epsilon = 0.3, .affine = true);
}

static ad_var bare_layer(nn_net *net, ad_var x)
{
    return nn_layernorm_with(net, "norm", x, .epsilon = 0.3, .affine = true);
}

static ad_var bare_group(nn_net *net, ad_var x)
{
    return nn_groupnorm_with(net, "norm", x, 2, .epsilon = 0.3, .affine = true);
}

/* (x - m) / sqrt(v + 0.3) gamma + beta, where those share m and v whose same[] agrees. */
static void textbook(const double *x, const int *same, const double *gamma, const double *beta, double *y)
{
    for (int i = 0; i < ROWS * FEATURES; i++) {
        double count = 0, m = 0, v = 0;
        for (int k = 0; k < ROWS * FEATURES; k++)
            if (same[k] == same[i]) {
                count += 1;
                m += x[k];
            }
        m /= count;
        for (int k = 0; k < ROWS * FEATURES; k++)
            if (same[k] == same[i])
                v += (x[k] - m) * (x[k] - m) / count;
        y[i] = (x[i] - m) / sqrt(v + 0.3) * gamma[i % FEATURES] + beta[i % FEATURES];
    }
}

Test(norm, layers_compute_what_they_say)
{
    static const nn_function functions[] = { bare_batch, bare_layer, bare_group };
    double x[ROWS * FEATURES], want[ROWS * FEATURES], got[ROWS * FEATURES];
    fill(x, ROWS * FEATURES, 0.4);
    for (int kind = 0; kind < 3; kind++) {
        int same[ROWS * FEATURES];
        for (int i = 0; i < ROWS * FEATURES; i++)
            same[i] = kind == 0 ? i % FEATURES : kind == 1 ? i / FEATURES : i / (FEATURES / 2);
        nn_net *net = trace(functions[kind], NULL, NN_NTK);
        nn_model *model = nn_model_new(net, 2, 1, AD_DOUBLE, 1, NULL);
        size_t count;
        double *gamma = nn_param_values(model, 0, &count), *beta = nn_param_values(model, 1, NULL);
        cr_assert_eq(count, (size_t)FEATURES);
        for (size_t i = 0; i < count; i++) {
            cr_assert_float_eq(gamma[i], 1, 0);
            cr_assert_float_eq(beta[i], 0, 0);
            gamma[i] = 0.7 + 0.1 * (double)i;
            beta[i] = 0.3 * cos((double)i);
        }
        nn_set_mode(model, NN_TRAINING);
        cr_assert(nn_forward(model, x, ROWS, got, NULL) == 0);
        textbook(x, same, gamma, beta, want);
        for (int i = 0; i < ROWS * FEATURES; i++)
            cr_assert_float_eq(got[i], want[i], 1e-14, "kind %d, %d: %g, not %g", kind, i, got[i], want[i]);
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* Before any step of a fit the statistics are 0 and 1, as PyTorch's are. */
Test(norm, evaluation_starts_at_mean_zero_and_variance_one)
{
    double x[ROWS * FEATURES], got[ROWS * FEATURES];
    fill(x, ROWS * FEATURES, 0.4);
    nn_net *net = trace(bare_batch, NULL, NN_NTK);
    nn_model *model = nn_model_new(net, 2, 1, AD_DOUBLE, 1, NULL);
    cr_assert_eq(nn_n_statistics(net), 2);
    cr_assert_str_eq(nn_statistic_name(net, 0), "norm.running_mean");
    cr_assert_str_eq(nn_statistic_name(net, 1), "norm.running_var");
    cr_assert(nn_forward(model, x, ROWS, got, NULL) == 0);
    for (int i = 0; i < ROWS * FEATURES; i++)
        cr_assert_float_eq(got[i], x[i] / sqrt(1.3), 1e-15);
    shake(model);
    const double *m = nn_statistic(model, 0, NULL), *v = nn_statistic(model, 1, NULL);
    cr_assert(nn_forward(model, x, ROWS, got, NULL) == 0);
    for (int i = 0; i < ROWS * FEATURES; i++)
        cr_assert_float_eq(got[i], (x[i] - m[i % FEATURES]) / sqrt(v[i % FEATURES] + 0.3), 1e-15);
    nn_model_free(model);
    nn_net_free(net);
}

Test(norm, samples_meet_in_training_alone)
{
    double x[ROWS * FEATURES], all[ROWS * OUTPUTS], one[OUTPUTS];
    fill(x, ROWS * FEATURES, 0.3);
    for (size_t k = 0; k < CASES; k++) {
        nn_net *net = trace(cases[k].function, cases[k].shape, NN_NTK);
        nn_model *model = nn_model_new(net, WIDTH, 3, AD_DOUBLE, 1, NULL);
        cr_assert_eq(ad_parameters_coupled(nn_output(net), nn_batch(net)), cases[k].couples, "%s", cases[k].name);
        cr_assert_eq(ad_coupled(nn_output(net), nn_batch(net)), cases[k].mixes, "%s", cases[k].name);
        shake(model);
        for (int mode = NN_TRAINING; mode <= NN_EVALUATION; mode++) {
            double worst = 0;
            nn_set_mode(model, (nn_mode)mode);
            cr_assert(nn_forward(model, x, ROWS, all, NULL) == 0);
            for (size_t i = 0; i < ROWS; i++) {
                cr_assert(nn_forward(model, x + i * FEATURES, 1, one, NULL) == 0);
                for (size_t o = 0; o < OUTPUTS; o++)
                    worst = fmax(worst, fabs(one[o] - all[i * OUTPUTS + o]));
            }
            bool alone = mode == NN_EVALUATION || !cases[k].mixes;
            cr_assert(alone ? worst < 1e-13 : worst > 1e-3, "%s, mode %d: %g", cases[k].name, mode, worst);
        }
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* ---- gradients and kernels ---- */
/* J (rows, outputs, parameters) by central differences of fourth order. */
static double *jacobian(nn_model *model, const double *x, size_t rows)
{
    static const double steps[] = { 1, -1, 2, -2 };
    const double h = 1e-4;
    size_t count = nn_model_size(model), wide = rows * OUTPUTS;
    double *j = calloc(wide * count, sizeof *j), *w = nn_param_values(model, 0, NULL), f[4][ROWS * OUTPUTS];
    for (size_t p = 0; p < count; p++) {
        double kept = w[p];
        for (int s = 0; s < 4; s++) {
            w[p] = kept + steps[s] * h;
            cr_assert(nn_forward(model, x, rows, f[s], NULL) == 0);
        }
        w[p] = kept;
        for (size_t i = 0; i < wide; i++)
            j[i * count + p] = (8 * (f[0][i] - f[1][i]) - (f[2][i] - f[3][i])) / (12 * h);
    }
    return j;
}

static void check_near(double got, double want, const char *name, int mode)
{
    cr_assert(fabs(got - want) <= 1e-8 * (1 + fabs(want)), "%s, mode %d: %.15g, not %.15g", name, mode, got, want);
}

/* The kernels of x against itself and against x2 from the Jacobians; weights: by number of a parameter. */
static void compare(nn_model *model, bool nngp, const double *weights, const char *name, int mode)
{
    ad_error error = { 0 };
    double x[ROWS * FEATURES], x2[ROWS2 * FEATURES], full[ROWS * ROWS * OUTPUTS * OUTPUTS], mean[ROWS * ROWS];
    fill(x, ROWS * FEATURES, 0.3);
    fill(x2, ROWS2 * FEATURES, 2.1);
    double *j = jacobian(model, x, ROWS), *j2 = jacobian(model, x2, ROWS2);
    size_t count = nn_model_size(model);
    for (int square = 1; square >= 0; square--) {
        size_t rows2 = square ? ROWS : ROWS2;
        const double *right = square ? j : j2, *second = square ? NULL : x2;
        cr_assert((nngp ? nn_nngp : nn_ntk)(model, x, ROWS, second, ROWS2, NN_FULL, full, &error) == 0, "%s",
                  error.text);
        cr_assert((nngp ? nn_nngp : nn_ntk)(model, x, ROWS, second, ROWS2, NN_MEAN, mean, &error) == 0, "%s",
                  error.text);
        for (size_t a = 0; a < ROWS; a++)
            for (size_t b = 0; b < rows2; b++) {
                double trace_of = 0;
                for (size_t o = 0; o < OUTPUTS; o++)
                    for (size_t p = 0; p < OUTPUTS; p++) {
                        double want = 0;
                        for (size_t w = 0; w < count; w++)
                            want +=
                                weights[w] * j[(a * OUTPUTS + o) * count + w] * right[(b * OUTPUTS + p) * count + w];
                        check_near(full[((a * rows2 + b) * OUTPUTS + o) * OUTPUTS + p], want, name, mode);
                        trace_of += o == p ? want / OUTPUTS : 0;
                    }
                check_near(mean[a * rows2 + b], trace_of, name, mode);
            }
    }
    free(j);
    free(j2);
}

/* In training every output's gradient goes through all samples of its batch, in evaluation through its own; the NNGP
 * kernel is the readout's part, of variance 1. */
Test(norm, kernels_are_the_jacobian_squared_in_both_modes)
{
    for (size_t k = 0; k < 2 * CASES; k++)
        for (int mode = NN_TRAINING; mode <= NN_EVALUATION; mode++) {
            size_t width = k < CASES ? WIDTH : 2 * WIDTH; /* more, and fewer, uses of a weight than it has rows */
            const char *name = cases[k % CASES].name;
            nn_net *net = trace(cases[k % CASES].function, cases[k % CASES].shape, NN_NTK);
            nn_model *model = nn_model_new(net, width, 5 + k, AD_DOUBLE, 1, NULL);
            size_t count = nn_model_size(model), readout;
            double *weights = calloc(count, sizeof *weights);
            nn_param_values(model, nn_n_params(net) - 1, &readout);
            shake(model);
            nn_set_mode(model, (nn_mode)mode);
            for (size_t w = count - readout; w < count; w++)
                weights[w] = 1;
            compare(model, true, weights, name, mode);
            for (size_t w = 0; w < count; w++)
                weights[w] = 1;
            compare(model, false, weights, name, mode);
            free(weights);
            nn_model_free(model);
            nn_net_free(net);
        }
}

/* With little memory the seeds of a batch come in stores, two at a time, and the kernel is the same: by gradients and
 * by the adjoints, in one store and in several, of one batch and of two. */
Test(norm, kernels_by_seeds_are_those_of_all_at_once)
{
    enum { MOST = 7, SQUARE = MOST * MOST * OUTPUTS * OUTPUTS };
    static const nn_kernel_limits limits[] = {
        { .whole = 1 },
        { .whole = 1, .run = 1, .store = 1 },
        { .whole = 1, .run = 1, .store = 20000 },
        { .whole = 1, .run = 60000, .store = 60000 },
        { .whole = 1, .longest = 5 }, /* as if BLAS could not count a parameter's entries */
    };
    enum { LIMITS = sizeof limits / sizeof *limits };
    double x[MOST * FEATURES], x2[ROWS2 * FEATURES], whole[SQUARE], some[SQUARE];
    fill(x, MOST * FEATURES, 0.3);
    fill(x2, ROWS2 * FEATURES, 2.1);
    for (size_t k = 0; k < 2 * CASES; k++)
        for (size_t form = 0; form < 12; form++) {
            bool full = form % 2, square = form / 2 % 2, nngp = form / 4 == 1, training = form / 4 == 2;
            size_t outputs = full ? OUTPUTS * OUTPUTS : 1, columns = square ? MOST : ROWS2;
            nn_net *net = trace(cases[k % CASES].function, cases[k % CASES].shape, training ? NN_MUP : NN_NTK);
            nn_model *model = nn_model_new(net, k < CASES ? WIDTH : 3 * WIDTH, 5 + k, AD_DOUBLE, 1, NULL);
            shake(model);
            for (size_t l = 0; l <= LIMITS; l++) {
                ad_error error = { 0 };
                double largest = 0, off = 0;
                model->limits = l ? limits[l - 1] : (nn_kernel_limits){ 0 };
                nn_kernel_free(model->kernel); /* which knows the form, and would not lay it out again */
                model->kernel = NULL;
                long allocations = 0;
                for (int turn = 0; turn < 2; turn++) { /* the second one needs nothing anew */
                    allocations = ad_allocations();
                    int status = (nngp       ? nn_nngp
                                  : training ? nn_training_kernel
                                             : nn_ntk)(model, x, MOST, square ? NULL : x2, ROWS2,
                                                       full ? NN_FULL : NN_MEAN, l ? some : whole, &error);
                    cr_assert(status == 0, "%s: %s", cases[k % CASES].name, error.text);
                }
                cr_assert_eq(ad_allocations(), allocations);
                const nn_call *call = model->kernel->last;
                bool stores = l > 0 && cases[k % CASES].couples;
                cr_assert(call->by_seeds == stores && (!stores || l != 2 || call->store == 1));
                for (size_t i = 0; i < MOST * columns * outputs && l; i++) {
                    largest = fmax(largest, fabs(whole[i]));
                    off = fmax(off, fabs(some[i] - whole[i]));
                }
                cr_assert(!l || (off <= 1e-11 * largest && largest > 0), "%s, form %zu, limits %zu: off by %g of %g",
                          cases[k % CASES].name, form, l, off, largest);
            }
            nn_model_free(model);
            nn_net_free(net);
        }
}

/* Means over 60 networks of width 4096 against the exact limit of one layer at epsilon = 0: blocks of a batch against
 * itself (21 entries that differ) and against another (36), NNGP and NTK, 156 in all. Each is within 5 standard errors:
 * Student's t with 59 degrees of freedom is beyond in 6e-6 of the cases, so that a false alarm has less than 1e-3. The
 * bias of a finite width is of order 1/n, an eighth of a standard error, which is of order 1/sqrt(60 n). */
Test(norm, wide_networks_tend_to_the_reference)
{
    enum { SEEDS = 60, B = 6, BLOCKS = 6 };
    static const char *const settings[] = { "depth=1", "eps=0", "sigma_w=1", NULL };
    static const char *const keys[BLOCKS] = { "limit.gp1",  "limit.gp2",  "limit.gpx",
                                              "limit.ntk1", "limit.ntk2", "limit.ntkx" };
    static double sums[BLOCKS][B * B], squares[BLOCKS][B * B];
    ad_error error = { 0 };
    double *x = reference_inputs(2 * B, 10), k[B * B];
    reference *ref = reference_read("bn_relu_b6_b6_depth1");
    nn_spec spec = { .features = 10, .settings = settings, .sigma_in = NN_SIGMA_MULTIPLIER };
    nn_net *net = nn_trace(nn_builtin("batchnorm"), &spec, &error);
    cr_assert(net, "%s", error.text);
    for (int seed = 0; seed < SEEDS; seed++) {
        nn_model *model = nn_model_new(net, 4096, (uint64_t)seed, AD_DOUBLE, 1, NULL);
        for (int b = 0; b < BLOCKS; b++) {
            const double *first = x + (b % 3 == 1) * B * 10, *second = b % 3 == 2 ? x + B * 10 : NULL;
            cr_assert((b < 3 ? nn_nngp : nn_ntk)(model, first, B, second, B, NN_MEAN, k, &error) == 0, "%s",
                      error.text);
            for (int i = 0; i < B * B; i++) {
                sums[b][i] += k[i];
                squares[b][i] += k[i] * k[i];
            }
        }
        nn_model_free(model);
    }
    for (int b = 0; b < BLOCKS; b++) {
        const double *want = reference_array(ref, keys[b], B * B);
        for (int i = 0; i < B * B; i++) {
            double mean = sums[b][i] / SEEDS, variance = (squares[b][i] - SEEDS * mean * mean) / (SEEDS - 1);
            double standard_error = sqrt(variance / SEEDS);
            cr_expect(fabs(mean - want[i]) < 5 * standard_error, "%s %d: %g, not %g, in %g", keys[b], i, mean, want[i],
                      standard_error);
            cr_expect_lt(standard_error, 0.02 * fabs(want[0]));
        }
    }
    free(x);
    reference_free(ref);
    nn_net_free(net);
}

/* Left to itself a kernel is one of training, and outputs are those of evaluation. */
Test(norm, modes_where_none_is_given)
{
    double x[ROWS * FEATURES], kernels[3][ROWS * ROWS], outputs[3][ROWS * OUTPUTS];
    fill(x, ROWS * FEATURES, 0.3);
    nn_net *net = trace(before_phi, NULL, NN_NTK);
    nn_model *model = nn_model_new(net, WIDTH, 3, AD_DOUBLE, 1, NULL);
    for (int mode = NN_AUTO; mode <= NN_EVALUATION; mode++) {
        nn_set_mode(model, (nn_mode)mode);
        cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, kernels[mode], NULL) == 0);
        cr_assert(nn_forward(model, x, ROWS, outputs[mode], NULL) == 0);
    }
    cr_assert(memcmp(kernels[NN_AUTO], kernels[NN_TRAINING], sizeof *kernels) == 0);
    cr_assert(memcmp(outputs[NN_AUTO], outputs[NN_EVALUATION], sizeof *outputs) == 0);
    cr_assert(memcmp(kernels[NN_TRAINING], kernels[NN_EVALUATION], sizeof *kernels) != 0);
    cr_assert(memcmp(outputs[NN_TRAINING], outputs[NN_EVALUATION], sizeof *outputs) != 0);
    nn_model_free(model);
    nn_net_free(net);
}

/* In evaluation samples are apart, and a kernel goes by tiles: with a seed for each pair of samples, the adjoints of
 * these rows would take 20 GB. */
Test(norm, an_evaluation_kernel_is_no_coupled_one)
{
    enum { MANY = 1600, EDGE = 3 };
    double *x = malloc(MANY * FEATURES * sizeof *x), *all = malloc(MANY * MANY * sizeof *all), corner[EDGE * EDGE];
    fill(x, MANY * FEATURES, 0.3);
    nn_net *net = trace(before_phi, NULL, NN_NTK);
    nn_model *model = nn_model_new(net, 300, 1, AD_DOUBLE, 1, NULL);
    nn_set_mode(model, NN_EVALUATION);
    cr_assert(nn_ntk(model, x, MANY, NULL, 0, NN_MEAN, all, NULL) == 0);
    cr_assert(nn_ntk(model, x + (MANY - EDGE) * FEATURES, EDGE, x, EDGE, NN_MEAN, corner, NULL) == 0);
    for (size_t a = 0; a < EDGE; a++)
        for (size_t b = 0; b < EDGE; b++)
            cr_assert_float_eq(all[(MANY - EDGE + a) * MANY + b], corner[a * EDGE + b], 1e-12);
    free(x);
    free(all);
    nn_model_free(model);
    nn_net_free(net);
}

static double training_loss(nn_model *model, const double *x, const double *y)
{
    double f[ROWS * OUTPUTS], sum = 0;
    cr_assert(nn_forward(model, x, ROWS, f, NULL) == 0);
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        sum += (f[i] - y[i]) * (f[i] - y[i]) / 2 / ROWS;
    return sum;
}

/* One step of gradient descent at rate 1 shows the gradient, in every network and parametrization; gamma's and beta's
 * rate in mu-P, and every rate in the mean-field scale, is n. */
Test(norm, gradients_are_differences_of_the_training_loss)
{
    const double h = 1e-5;
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS];
    fill(x, ROWS * FEATURES, 0.3);
    fill(y, ROWS * OUTPUTS, 1.3);
    for (size_t k = 0; k < CASES; k++)
        for (int scale = NN_NTK; scale <= NN_MUP; scale++) {
            nn_net *net = trace(cases[k].function, cases[k].shape, (nn_parametrization)scale);
            nn_model *model = nn_model_new(net, WIDTH, 5 + k, AD_DOUBLE, 1, NULL);
            nn_data data = { .x = x, .y = y, .rows = ROWS };
            double *w = nn_param_values(model, 0, NULL);
            nn_set_mode(model, NN_TRAINING);
            for (int p = 0; p < nn_n_params(net); p++) {
                const ad_node *node = ad_node_of(nn_graph(net), nn_param(net, p).id);
                double rate = node->init->rate;
                size_t count;
                double *values = nn_param_values(model, p, &count), *numeric = calloc(count, sizeof *numeric);
                double *kept = malloc(nn_model_size(model) * sizeof *kept);
                memcpy(kept, w, nn_model_size(model) * sizeof *kept);
                if (node->init->axis.id)
                    rate *= pow((double)ad_axis_size(nn_graph(net), node->init->axis, &(ad_sizes){ .n = WIDTH }),
                                node->init->rate_power);
                for (size_t i = 0; i < count; i++) {
                    double value = values[i], loss;
                    values[i] = value + h;
                    loss = training_loss(model, x, y);
                    values[i] = value - h;
                    numeric[i] = (loss - training_loss(model, x, y)) / (2 * h);
                    values[i] = value;
                }
                nn_progress last;
                cr_assert(
                    nn_fit(model, &data, &(nn_fit_spec){ .loss = NN_SQUARE, .rate = 1, .steps = 1 }, &last, NULL) == 0);
                size_t first = (size_t)(values - w);
                for (size_t i = 0; i < count; i++)
                    cr_assert_float_eq((kept[first + i] - values[i]) / rate, numeric[i], 2e-8, "%s, scale %d, %s %zu",
                                       cases[k].name, scale, node->name, i);
                memcpy(w, kept, nn_model_size(model) * sizeof *kept);
                cr_assert_float_eq(last.loss, training_loss(model, x, y), 1e-12);
                free(numeric);
                free(kept);
            }
            nn_model_free(model);
            nn_net_free(net);
        }
}

/* ---- running statistics ---- */
static ad_var one_layer(nn_net *net, ad_var x)
{
    x = nn_batchnorm_with(net, "norm", x, .momentum = 0.3);
    return nn_readout(net, "readout", x);
}

/* By the loop of the definition, over batches of 2, 2 and 1: the last moves the mean alone. */
Test(norm, running_statistics_follow_the_batches)
{
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS], mean[FEATURES] = { 0 }, variance[FEATURES], loss;
    fill(x, ROWS * FEATURES, 0.4);
    fill(y, ROWS * OUTPUTS, 1.4);
    nn_net *net = trace(one_layer, NULL, NN_NTK);
    for (int type = AD_FLOAT; type <= AD_DOUBLE; type++) {
        nn_model *model = nn_model_new(net, 2, 1, (ad_type)type, 1, NULL);
        nn_trainer *trainer = nn_trainer_new(model, &(nn_fit_spec){ .loss = NN_SQUARE, .rate = 0.01 }, 2, NULL);
        float xf[ROWS * FEATURES], yf[ROWS * OUTPUTS];
        for (int i = 0; i < ROWS * FEATURES; i++)
            xf[i] = (float)x[i];
        for (int i = 0; i < ROWS * OUTPUTS; i++)
            yf[i] = (float)y[i];
        for (int f = 0; f < FEATURES; f++) {
            mean[f] = 0;
            variance[f] = 1;
        }
        long allocations = 0;
        for (size_t first = 0; first < ROWS; first += 2) {
            size_t rows = ROWS - first < 2 ? ROWS - first : 2;
            const void *xs = type == AD_FLOAT ? (const void *)(xf + first * FEATURES) : x + first * FEATURES;
            const void *ys = type == AD_FLOAT ? (const void *)(yf + first * OUTPUTS) : y + first * OUTPUTS;
            cr_assert(nn_trainer_step(trainer, xs, ys, rows, &loss, NULL) == 0);
            if (first == 0)
                allocations = ad_allocations();
            for (size_t f = 0; f < FEATURES; f++) {
                double m = 0, v = 0;
                for (size_t i = first; i < first + rows; i++)
                    m += x[i * FEATURES + f] / (double)rows;
                for (size_t i = first; i < first + rows; i++)
                    v += pow(x[i * FEATURES + f] - m, 2);
                mean[f] = 0.7 * mean[f] + 0.3 * m;
                if (rows > 1)
                    variance[f] = 0.7 * variance[f] + 0.3 * v / (double)(rows - 1);
            }
        }
        cr_assert_eq(ad_allocations(), allocations);
        const void *m = nn_statistic(model, 0, NULL), *v = nn_statistic(model, 1, NULL);
        for (int f = 0; f < FEATURES; f++) {
            double got_m = type == AD_FLOAT ? (double)((const float *)m)[f] : ((const double *)m)[f];
            double got_v = type == AD_FLOAT ? (double)((const float *)v)[f] : ((const double *)v)[f];
            cr_assert_float_eq(got_m, mean[f], type == AD_FLOAT ? 1e-6 : 1e-15);
            cr_assert_float_eq(got_v, variance[f], type == AD_FLOAT ? 1e-6 : 1e-15);
        }
        nn_trainer_free(trainer);
        nn_model_free(model);
    }
    nn_net_free(net);
}

/* ---- files ---- */
static const char *const small[] = { "depth=2", "affine=yes", "phi=tanh", NULL };

typedef struct {
    double x[22 * FEATURES], labels[22];
} samples;

static nn_data make_data(samples *s)
{
    fill(s->x, 22 * FEATURES, 0.2);
    for (int i = 0; i < 22; i++)
        s->labels[i] = (i * 7 + 1) % OUTPUTS;
    return (nn_data){ .x = s->x, .y = s->labels, .rows = 22, .classes = OUTPUTS };
}

static void expect_same(nn_model *a, nn_model *b, size_t bytes)
{
    cr_assert(memcmp(nn_param_values(a, 0, NULL), nn_param_values(b, 0, NULL), nn_model_size(a) * bytes) == 0);
    for (int k = 0; k < nn_n_statistics(nn_model_net(a)); k++) {
        size_t count;
        const void *one = nn_statistic(a, k, &count);
        cr_assert(memcmp(one, nn_statistic(b, k, NULL), count * bytes) == 0, "%s",
                  nn_statistic_name(nn_model_net(a), k));
    }
}

Test(norm, a_fit_resumes_bit_for_bit_and_its_weights_come_back)
{
    samples s;
    nn_data data = make_data(&s);
    const char *path = temporary("resume"), *weights = temporary("weights");
    for (int type = AD_FLOAT; type <= AD_DOUBLE; type++)
        for (long stop = 4; stop <= 11; stop += 7) {
            ad_error error = { 0 };
            nn_net *net = trace_built_in(small, FEATURES, OUTPUTS);
            nn_model *whole = nn_model_new(net, 6, 4, (ad_type)type, 1, NULL),
                     *parts = nn_model_new(net, 6, 4, (ad_type)type, 1, NULL);
            nn_model *later = nn_model_new(net, 6, 77, (ad_type)type, 1, NULL),
                     *read = nn_model_new(net, 6, 78, (ad_type)type, 1, NULL);
            nn_fit_spec spec = {
                .loss = NN_CROSS_ENTROPY, .optimizer = NN_ADAM, .rate = 0.01, .batch = 6, .steps = 15
            };
            size_t bytes = type == AD_FLOAT ? sizeof(float) : sizeof(double);
            double one, two;
            cr_assert(nn_fit(whole, &data, &spec, NULL, NULL) == 0);
            nn_fit_spec first = spec;
            first.steps = stop;
            first.checkpoint = path;
            cr_assert(nn_fit(parts, &data, &first, NULL, &error) == 0, "%s", error.text);
            spec.resume = path;
            cr_assert(nn_fit(later, &data, &spec, NULL, &error) == 0, "%s", error.text);
            expect_same(whole, later, bytes);
            cr_assert(nn_load(read, path, &error) == 0, "%s", error.text);
            expect_same(parts, read, bytes);
            cr_assert(nn_save(whole, weights, &error) == 0, "%s", error.text);
            cr_assert(nn_load(read, weights, &error) == 0, "%s", error.text);
            expect_same(whole, read, bytes);
            cr_assert(nn_evaluate(whole, &data, NN_CROSS_ENTROPY, &one, NULL, NULL) == 0);
            cr_assert(nn_evaluate(read, &data, NN_CROSS_ENTROPY, &two, NULL, NULL) == 0);
            cr_assert(memcmp(&one, &two, sizeof one) == 0);
            nn_tensors *file = nn_tensors_read(weights, &error);
            const nn_tensor *t = nn_tensors_find(file, "norm2.running_var");
            cr_assert(t && t->rank == 1 && t->shape[0] == 6);
            cr_assert(nn_tensors_find(file, "norm1.running_mean") && nn_tensors_find(file, "norm1.weight") &&
                      nn_tensors_find(file, "norm1.bias"));
            nn_tensors_free(file);
            nn_model_free(whole);
            nn_model_free(parts);
            nn_model_free(later);
            nn_model_free(read);
            nn_net_free(net);
        }
    remove(path);
    remove(weights);
}

/* Weights without statistics, and a variance below 0; the model stays what it was. */
Test(norm, files_without_statistics_are_refused)
{
    const char *path = temporary("damaged");
    ad_error error = { 0 };
    nn_net *net = trace(one_layer, NULL, NN_NTK);
    nn_model *model = nn_model_new(net, 2, 1, AD_DOUBLE, 1, NULL), *other = nn_model_new(net, 2, 1, AD_DOUBLE, 1, NULL);
    nn_tensor readout = { .name = "readout.weight",
                          .dtype = NN_F64,
                          .rank = 2,
                          .shape = { FEATURES, OUTPUTS },
                          .data = nn_param_values(model, 0, NULL) };
    cr_assert(nn_tensors_write(path, &readout, 1, NULL, 0, NULL) == 0);
    cr_assert(nn_load(model, path, &error) != 0);
    cr_assert(strstr(error.text, "no tensor norm.running_mean"), "%s", error.text);
    ((double *)nn_statistic(other, 1, NULL))[2] = -0.5;
    error.text[0] = 0;
    cr_assert(nn_save(other, path, NULL) == 0 && nn_load(model, path, &error) != 0);
    cr_assert(strstr(error.text, "norm.running_var: number 2 is -0.5"), "%s", error.text);
    cr_assert_float_eq(((double *)nn_statistic(model, 1, NULL))[2], 1, 0);
    nn_model_free(model);
    nn_model_free(other);
    nn_net_free(net);
    remove(path);
}

/* ---- at the edge ---- */
static const char *const with_epsilon[] = { "depth=1", "eps=0.1", NULL }, *const exact[] = { "depth=1", "eps=0", NULL };

/* Each way of running in training is refused, with these words; the statistics stay what they were. */
static void expect_refused(nn_net *net, const double *x, size_t rows, const char *words)
{
    double f[ROWS * OUTPUTS], kernel[ROWS * ROWS], y[ROWS * OUTPUTS] = { 0 };
    nn_data data = { .x = x, .y = y, .rows = rows };
    for (int type = AD_FLOAT; type <= AD_DOUBLE; type++) {
        nn_model *model = nn_model_new(net, 6, 1, (ad_type)type, 1, NULL),
                 *same = nn_model_new(net, 6, 1, (ad_type)type, 1, NULL);
        nn_set_mode(model, NN_TRAINING);
        for (int way = 0; way < 4; way++) {
            ad_error error = { 0 };
            nn_fit_spec fit = { .loss = NN_SQUARE, .rate = 0.1, .steps = 1 };
            int failed = way == 0   ? nn_forward(model, x, rows, f, &error)
                         : way == 1 ? nn_fit(model, &data, &fit, NULL, &error)
                         : way == 2 ? nn_ntk(model, x, rows, NULL, 0, NN_MEAN, kernel, &error)
                                    : nn_nngp(model, x, rows, x, rows, NN_MEAN, kernel, &error);
            cr_assert(failed && strstr(error.text, words), "way %d, type %d: \"%s\"", way, type, error.text);
        }
        expect_same(model, same, type == AD_FLOAT ? sizeof(float) : sizeof(double));
        nn_model_free(model);
        nn_model_free(same);
    }
}

/* z = 0 rsqrt(epsilon) = 0: with relu, no output; without epsilon an error. */
Test(norm, a_batch_without_variance)
{
    double x[ROWS * FEATURES], f[ROWS * OUTPUTS], kernel[ROWS * ROWS];
    nn_net *one = trace_built_in(with_epsilon, FEATURES, OUTPUTS), *none = trace_built_in(exact, FEATURES, OUTPUTS);
    nn_model *model = nn_model_new(one, 6, 1, AD_DOUBLE, 1, NULL);
    nn_set_mode(model, NN_TRAINING);
    for (size_t rows = 1; rows <= ROWS; rows += ROWS - 1) {
        for (size_t i = 0; i < ROWS * FEATURES; i++)
            x[i] = sin(1.3 * (double)(i % FEATURES)); /* all samples equal */
        cr_assert(nn_forward(model, x, rows, f, NULL) == 0);
        for (size_t i = 0; i < rows * OUTPUTS; i++)
            cr_assert_float_eq(f[i], 0, 1e-14);
        cr_assert(nn_ntk(model, x, rows, NULL, 0, NN_MEAN, kernel, NULL) == 0);
        for (size_t i = 0; i < rows * rows; i++)
            cr_assert(isfinite(kernel[i]));
        expect_refused(none, x, rows,
                       rows == 1 ? "batchnorm norm1: a batch of one sample has variance 0"
                                 : "norm1: unit 0 has variance 0 over the batch, and epsilon is 0");
    }
    nn_model_free(model);
    nn_net_free(one);
    nn_net_free(none);
}

/* Samples that equal each other have equal outputs and kernels, with and without epsilon. */
Test(norm, identical_samples_in_a_batch)
{
    double x[ROWS * FEATURES], f[ROWS * OUTPUTS], k[ROWS * ROWS];
    fill(x, ROWS * FEATURES, 0.7);
    memcpy(x + 3 * FEATURES, x, FEATURES * sizeof *x);
    for (int e = 0; e < 2; e++) {
        nn_net *net = trace_built_in(e ? with_epsilon : exact, FEATURES, OUTPUTS);
        nn_model *model = nn_model_new(net, 30, 1, AD_DOUBLE, 1, NULL);
        nn_set_mode(model, NN_TRAINING);
        cr_assert(nn_forward(model, x, ROWS, f, NULL) == 0);
        cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k, NULL) == 0);
        for (int o = 0; o < OUTPUTS; o++)
            cr_assert_float_eq(f[o], f[3 * OUTPUTS + o], 1e-13);
        for (int i = 0; i < ROWS; i++)
            cr_assert_float_eq(k[i], k[3 * ROWS + i], 1e-12 * fabs(k[0]));
        nn_model_free(model);
        nn_net_free(net);
    }
}

static ad_var negative(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_batchnorm_with(net, "norm", x, .epsilon = -1e-5));
}

static ad_var impatient(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_batchnorm_with(net, "norm", x, .momentum = 1.5));
}

static ad_var foreign(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_batchnorm_with(net, "norm", x, .over = ad_shape_of(nn_width(net, "n"))));
}

static ad_var twice(nn_net *net, ad_var x)
{
    ad_shape over = ad_shape_of(nn_batch(net), nn_batch(net));
    return nn_readout(net, "readout", nn_batchnorm_with(net, "norm", x, .over = over));
}

static ad_var same_name(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_batchnorm(net, "norm", nn_batchnorm(net, "norm", x)));
}

static ad_var batch_in_layer(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_layernorm_with(net, "norm", x, .over = ad_shape_of(nn_batch(net))));
}

static ad_var features_in_batch(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_batchnorm_with(net, "norm", x, .over = ad_shape_of(ad_shape_get(x)->axes[1])));
}

static ad_var four_groups(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_groupnorm(net, "norm", x, 4));
}

static ad_var groups_of_a_width(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_groupnorm(net, "norm", nn_dense(net, "dense", x, nn_width(net, "n")), 2));
}

Test(norm, wrong_layers_are_told_where)
{
    static const struct {
        nn_function function;
        const char *words;
    } wrong[] = {
        { negative, "batchnorm norm: epsilon -1e-05: it must not be negative" },
        { impatient, "batchnorm norm: momentum 1.5 is not from 0 to 1" },
        { foreign, "batchnorm norm: no axis n in (batch, features)" },
        { twice, "batchnorm norm: twice the axis batch in (batch, features)" },
        { same_name, "the name \"norm.running_mean\" is taken" },
        { batch_in_layer, "layernorm norm: its statistics are of one sample, not over the batch" },
        { features_in_batch, "batchnorm norm: its statistics are over the batch" },
        { four_groups, "groupnorm norm: 4 groups of the last axis of (batch, features)" },
        { groups_of_a_width, "groupnorm norm: 2 groups of the last axis of (batch, n), which is fixed" },
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        ad_error error = { 0 };
        nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS };
        cr_assert(!nn_trace(wrong[k].function, &spec, &error), "%s", wrong[k].words);
        cr_assert(strstr(error.text, wrong[k].words) && strstr(error.text, "test_norm.c:"), "\"%s\"", error.text);
    }
    static const char *const settings[][2] = { { "eps=-1e-5" }, { "affine=maybe" }, { "sigma_w=0" } };
    static const char *const words[] = { "eps=-1e-5: it must be a number that is not negative",
                                         "affine=maybe: it must be no or yes", "sigma_w=0: it must be a positive" };
    for (size_t k = 0; k < 3; k++) {
        ad_error error = { 0 };
        nn_spec spec = { .features = FEATURES, .settings = settings[k] };
        cr_assert(!nn_trace(nn_builtin("batchnorm"), &spec, &error));
        cr_assert(strstr(error.text, words[k]), "\"%s\"", error.text);
    }
}

/* ---- training ---- */
/* The first 1,200 of the 8 x 8 digits, in batches of 64 with one of 48 that remains; accuracy on the other 597 with the
 * running statistics. A network of chance has 10 %; this one has about 95 %. */
Test(norm, digits_are_learned)
{
    static const char *const settings[] = { "depth=2", "affine=yes", NULL };
    ad_error error = { 0 };
    ds_data *digits = ds_load("digits", NULL, &error);
    cr_assert(digits, "%s", error.text);
    nn_net *net = trace_built_in(settings, digits->features, 10);
    nn_model *model = nn_model_new(net, 64, 1, AD_FLOAT, 1, NULL);
    nn_data train = { digits->x, digits->y, 1200, 10 };
    nn_data test = { digits->x + 1200 * digits->features, digits->y + 1200, digits->rows - 1200, 10 };
    nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .optimizer = NN_ADAM, .rate = 0.01, .batch = 64, .epochs = 8 };
    double accuracy, loss;
    cr_assert(nn_fit(model, &train, &fit, NULL, &error) == 0, "%s", error.text);
    cr_assert(nn_evaluate(model, &test, NN_CROSS_ENTROPY, &loss, &accuracy, NULL) == 0);
    cr_expect_gt(accuracy, 0.9);
    nn_model_free(model);
    nn_net_free(net);
    ds_free(digits);
}

/* Within a recurrent net, and twice in a residual block. */
Test(norm, every_network_trains)
{
    double x[22 * FEATURES], y[22 * OUTPUTS], start = 0, end = 0;
    fill(x, 22 * FEATURES, 0.3);
    fill(y, 22 * OUTPUTS, 1.1);
    nn_data data = { .x = x, .y = y, .rows = 22 };
    for (size_t k = 0; k < CASES; k++) {
        nn_net *net = trace(cases[k].function, cases[k].shape, NN_NTK);
        nn_model *model = nn_model_new(net, 64, 1, AD_FLOAT, 1, NULL);
        nn_fit_spec fit = { .loss = NN_SQUARE, .optimizer = NN_ADAM, .rate = 0.02, .steps = 300 };
        nn_set_mode(model, NN_TRAINING);
        cr_assert(nn_evaluate(model, &data, NN_SQUARE, &start, NULL, NULL) == 0);
        cr_assert(nn_fit(model, &data, &fit, NULL, NULL) == 0);
        cr_assert(nn_evaluate(model, &data, NN_SQUARE, &end, NULL, NULL) == 0);
        cr_expect_lt(end, 0.2 * start, "%s: %g, then %g", cases[k].name, start, end);
        nn_model_free(model);
        nn_net_free(net);
    }
}

Test(norm, survives_every_failed_allocation)
{
    double f[ROWS * OUTPUTS], kernel[ROWS * ROWS];
    samples s;
    nn_data data = make_data(&s);
    const char *path = temporary("memory");
    for (long fail = 1, done = 0; !done; fail++) {
        ad_error error = { 0 };
        nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS, .settings = exact };
        nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .rate = 0.01, .steps = 1, .batch = 8, .checkpoint = path };
        ad_hook_allocation(fail);
        nn_net *net = nn_trace(nn_builtin("batchnorm"), &spec, &error);
        nn_model *model = net ? nn_model_new(net, 4, 1, AD_DOUBLE, 1, &error) : NULL;
        int failed = !model || nn_fit(model, &data, &fit, NULL, &error);
        for (int mode = NN_TRAINING; mode <= NN_EVALUATION && !failed; mode++) {
            nn_set_mode(model, (nn_mode)mode);
            failed =
                nn_forward(model, s.x, ROWS, f, &error) || nn_ntk(model, s.x, ROWS, NULL, 0, NN_MEAN, kernel, &error);
        }
        if (!failed) { /* and by seeds */
            model->limits = (nn_kernel_limits){ .whole = 1, .run = 1, .store = 1 };
            nn_set_mode(model, NN_TRAINING);
            failed = nn_ntk(model, s.x, ROWS, s.x, ROWS, NN_MEAN, kernel, &error);
        }
        ad_hook_allocation(0);
        done = !failed;
        cr_assert(!failed || error.text[0]);
        cr_assert(fail < 2000);
        nn_model_free(model);
        nn_net_free(net);
    }
    remove(path);
}
