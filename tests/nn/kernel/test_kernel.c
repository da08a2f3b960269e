/* The empirical kernels against Jacobians by finite differences, for networks of every kind, and against references. */
#include "nn/kernel/kernel.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 6, OUTPUTS = 3, ROWS = 4, ROWS2 = 3, WIDTH = 7 };

static void fill(double *x, size_t count, double phase)
{
    for (size_t i = 0; i < count; i++)
        x[i] = sin(phase + 1.7 * (double)i + 0.3 * (double)(i * i % 17));
}

/* ---- networks ---- */
static ad_var mlp_bias(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), wide = nn_width_ratio(net, "m", 2);
    x = ad_tanh(nn_dense_with(net, "one", x, n, .sigma_w = 1.3, .bias = true, .sigma_b = 0.4));
    x = ad_tanh(nn_dense_with(net, "two", x, n, .bias = true, .sigma_b = 0.2));
    x = ad_tanh(nn_dense(net, "three", x, wide));
    return nn_readout_with(net, "readout", x, .sigma_w = 1.1, .bias = true, .sigma_b = 0.5);
}

static ad_var shared(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_tanh(nn_dense(net, "embed", x, n));
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2), b = nn_make_bias(net, "b", n, 0.3);
    for (int i = 0; i < 3; i++)
        x = ad_tanh(nn_add_bias(b, nn_apply(w, x)));
    return nn_readout(net, "readout", x);
}

static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int i = 0; i < 2; i++)
        h = ad_add(h, nn_dense_with(net, nn_name(net, "block%d", i), ad_tanh(h), n, .bias = true, .sigma_b = 0.1));
    return ad_add(nn_readout(net, "readout", ad_tanh(h)), nn_readout(net, "skip", x));
}

/* The same weight applied forward and transposed. */
static ad_var tied(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 1.5);
    x = ad_tanh(nn_dense(net, "embed", x, n));
    nn_weight w = nn_make_weight(net, "w", n, m, 1);
    x = ad_tanh(nn_apply_t(w, ad_tanh(nn_apply(w, x))));
    return nn_readout(net, "readout", x);
}

/* Two uses of one weight whose inputs differ and whose adjoint is the same. */
static ad_var twice(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1);
    ad_var a = ad_tanh(nn_dense(net, "a", x, n)), b = ad_sin(nn_dense(net, "b", x, n));
    return nn_readout(net, "readout", ad_tanh(ad_add(nn_apply(w, a), nn_apply(w, b))));
}

/* Samples meet: the mean over the batch is taken off, then the deviation is divided out. */
static ad_var coupled(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_shape batch = ad_shape_of(nn_batch(net));
    for (int i = 0; i < 2; i++) {
        x = nn_dense_with(net, nn_name(net, "dense%d", i), x, n, .bias = i > 0, .sigma_b = i > 0 ? 0.3 : 0);
        x = ad_sub(x, ad_mean(x, batch));
        ad_var variance = ad_mean(ad_square(x), batch);
        ad_var small = ad_constant(nn_graph(net), 0.1, *ad_shape_get(variance));
        x = ad_tanh(ad_mul(x, ad_rsqrt(ad_add(variance, small))));
    }
    return nn_readout(net, "readout", x);
}

/* Parameters meet before they meet a sample. */
static ad_var product(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), in = ad_shape_get(x)->axes[1];
    nn_weight gain = nn_make_bias(net, "gain", n, 1), w = nn_make_weight(net, "w", in, n, 1);
    ad_var effective = ad_mul(ad_tanh(w.omega), ad_exp(gain.omega));
    return nn_readout(net, "readout", ad_tanh(ad_contract(x, effective, ad_shape_of(in))));
}

/* One weight over all times at once, a bias, and a mean over time; the input is (batch, time, features). */
static ad_var over_time(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1];
    x = ad_tanh(nn_dense_with(net, "one", x, n, .bias = true, .sigma_b = 0.3));
    x = ad_tanh(nn_dense_with(net, "two", x, n, .bias = true, .sigma_b = 0.3));
    return nn_readout(net, "readout", ad_mean(x, ad_shape_of(time)));
}

static ad_var recurrent(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], in = ad_shape_get(x)->axes[2];
    nn_weight u = nn_make_weight(net, "u", n, n, 1.2), w = nn_make_weight(net, "w", in, n, 1.1);
    nn_weight b = nn_make_bias(net, "b", n, 0.1);
    ad_var h = { nn_graph(net), -1 };
    for (size_t t = 0; t < ad_axis_fixed(nn_graph(net), time); t++) {
        ad_var in_t = nn_add_bias(b, nn_apply(w, ad_take_at(AD_HERE, x, time, t)));
        h = ad_tanh(h.id < 0 ? in_t : ad_add(nn_apply(u, h), in_t));
    }
    return nn_readout(net, "readout", h);
}

static const struct {
    nn_function function;
    size_t shape[4];
    bool together;
} cases[] = {
    { mlp_bias, { 0 }, false }, { shared, { 0 }, false },       { residual, { 0 }, false },
    { tied, { 0 }, false },     { twice, { 0 }, false },        { coupled, { 0 }, true },
    { product, { 0 }, false },  { over_time, { 3, 2 }, false }, { recurrent, { 3, 2 }, false },
};
enum { CASES = sizeof cases / sizeof *cases };

static nn_net *trace_case(size_t k, nn_parametrization scale, nn_sigma_in sigma_in)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS, .parametrization = scale, .sigma_in = sigma_in };
    for (int i = 0; i < 4; i++)
        spec.shape[i] = cases[k].shape[i];
    nn_net *net = nn_trace(cases[k].function, &spec, &error);
    cr_assert(net, "case %zu: %s", k, error.text);
    return net;
}

/* J (rows, outputs, parameters) by central differences. */
static double *jacobian(nn_model *model, const double *x, size_t rows)
{
    const double h = 1e-4;
    size_t count = nn_model_size(model), wide = rows * OUTPUTS;
    double *j = calloc(wide * count, sizeof *j), *w = nn_param_values(model, 0, NULL);
    double *f[4];
    for (int s = 0; s < 4; s++)
        f[s] = calloc(wide, sizeof **f);
    for (size_t p = 0; p < count; p++) {
        static const double steps[] = { 1, -1, 2, -2 };
        double kept = w[p];
        for (int s = 0; s < 4; s++) {
            w[p] = kept + steps[s] * h;
            cr_assert(nn_forward(model, x, rows, f[s], NULL) == 0);
        }
        w[p] = kept;
        for (size_t i = 0; i < wide; i++)
            j[i * count + p] = (8 * (f[0][i] - f[1][i]) - (f[2][i] - f[3][i])) / (12 * h);
    }
    for (int s = 0; s < 4; s++)
        free(f[s]);
    return j;
}

static void check_near(double got, double want, double tolerance, const char *what, size_t k)
{
    cr_assert(fabs(got - want) <= tolerance * (1 + fabs(want)), "%s, case %zu: %.15g, not %.15g", what, k, got, want);
}

/* All of a model's kernels against J J^T. */
static void compare(nn_model *model, size_t k, double tolerance)
{
    ad_error error = { 0 };
    double x[ROWS * FEATURES], x2[ROWS2 * FEATURES], full[ROWS * ROWS * OUTPUTS * OUTPUTS], mean[ROWS * ROWS];
    fill(x, ROWS * FEATURES, 0.3);
    fill(x2, ROWS2 * FEATURES, 2.1);
    double *j = jacobian(model, x, ROWS), *j2 = jacobian(model, x2, ROWS2);
    size_t count = nn_model_size(model);
    for (int square = 1; square >= 0; square--) {
        size_t rows2 = square ? ROWS : ROWS2;
        const double *right = square ? j : j2;
        cr_assert(nn_ntk(model, x, ROWS, square ? NULL : x2, ROWS2, NN_FULL, full, &error) == 0, "%s", error.text);
        cr_assert(nn_ntk(model, x, ROWS, square ? NULL : x2, ROWS2, NN_MEAN, mean, &error) == 0, "%s", error.text);
        for (size_t a = 0; a < ROWS; a++)
            for (size_t b = 0; b < rows2; b++) {
                double trace = 0;
                for (size_t o = 0; o < OUTPUTS; o++)
                    for (size_t p = 0; p < OUTPUTS; p++) {
                        double want = 0;
                        for (size_t w = 0; w < count; w++)
                            want += j[(a * OUTPUTS + o) * count + w] * right[(b * OUTPUTS + p) * count + w];
                        check_near(full[((a * rows2 + b) * OUTPUTS + o) * OUTPUTS + p], want, tolerance, "full", k);
                        trace += o == p ? want / OUTPUTS : 0;
                    }
                check_near(mean[a * rows2 + b], trace, tolerance, "mean", k);
            }
    }
    free(j);
    free(j2);
}

Test(kernel, is_the_jacobian_squared)
{
    for (size_t k = 0; k < CASES; k++) {
        nn_net *net = trace_case(k, NN_NTK, NN_SIGMA_INIT);
        nn_model *model = nn_model_new(net, WIDTH, 5 + k, AD_DOUBLE, 1, NULL);
        compare(model, k, 1e-9);
        nn_model_free(model);
        nn_net_free(net);
    }
}

Test(kernel, holds_in_every_parametrization)
{
    for (int scale = NN_NTK; scale <= NN_MUP; scale++)
        for (int sigma_in = NN_SIGMA_INIT; sigma_in <= NN_SIGMA_MULTIPLIER; sigma_in++) {
            nn_net *net = trace_case(0, (nn_parametrization)scale, (nn_sigma_in)sigma_in);
            nn_model *model = nn_model_new(net, WIDTH, 3, AD_DOUBLE, 1, NULL);
            compare(model, (size_t)scale, 1e-8);
            nn_model_free(model);
            nn_net_free(net);
        }
}

Test(kernel, same_in_float_and_by_threads)
{
    double x[ROWS * FEATURES], one[ROWS * ROWS * OUTPUTS * OUTPUTS], two[ROWS * ROWS * OUTPUTS * OUTPUTS];
    fill(x, ROWS * FEATURES, 0.3);
    for (size_t k = 0; k < CASES; k++) {
        nn_net *net = trace_case(k, NN_NTK, NN_SIGMA_INIT);
        for (int threads = 1; threads <= 2; threads++) {
            nn_model *a = nn_model_new(net, 40, 1, AD_DOUBLE, 1, NULL),
                     *b = nn_model_new(net, 40, 1, AD_FLOAT, threads, NULL);
            cr_assert(nn_ntk(a, x, ROWS, NULL, 0, NN_FULL, one, NULL) == 0);
            cr_assert(nn_ntk(b, x, ROWS, NULL, 0, NN_FULL, two, NULL) == 0);
            for (size_t i = 0; i < ROWS * ROWS * OUTPUTS * OUTPUTS; i++)
                check_near(two[i], one[i], 2e-5, "float", k);
            nn_model_free(a);
            nn_model_free(b);
        }
        nn_net_free(net);
    }
}

/* More samples than one tile holds, and more than one tile of gradients. */
Test(kernel, is_the_same_in_tiles)
{
    enum { MANY = 1100, EDGE = 3 };
    ad_error error = { 0 };
    double *x = malloc(MANY * FEATURES * sizeof *x), *all = malloc(MANY * MANY * OUTPUTS * OUTPUTS * sizeof *all);
    double corner[EDGE * EDGE * OUTPUTS * OUTPUTS];
    fill(x, MANY * FEATURES, 0.3);
    for (size_t k = 1; k < 4; k += 2) { /* shared, by pairs; tied, by gradients */
        nn_net *net = trace_case(k, NN_NTK, NN_SIGMA_INIT);
        nn_model *model = nn_model_new(net, 40, 1, AD_DOUBLE, 1, NULL);
        cr_assert(nn_ntk(model, x, MANY, NULL, 0, NN_FULL, all, &error) == 0, "%s", error.text);
        for (size_t at = 0; at + EDGE <= MANY; at += 1097)
            for (size_t at2 = 0; at2 + EDGE <= MANY; at2 += 1097) {
                cr_assert(nn_ntk(model, x + at * FEATURES, EDGE, x + at2 * FEATURES, EDGE, NN_FULL, corner, NULL) == 0);
                for (size_t a = 0; a < EDGE; a++)
                    for (size_t b = 0; b < EDGE; b++)
                        for (size_t o = 0; o < OUTPUTS * OUTPUTS; o++)
                            check_near(all[((at + a) * MANY + at2 + b) * OUTPUTS * OUTPUTS + o],
                                       corner[(a * EDGE + b) * OUTPUTS * OUTPUTS + o], 1e-12, "tiles", k);
            }
        nn_model_free(model);
        nn_net_free(net);
    }
    free(x);
    free(all);
}

/* Parameters that meet before they meet a sample have a seed for each sample of a tile, in tiles as small as memory
 * asks. */
Test(kernel, seeds_of_samples_that_do_not_meet)
{
    enum { MANY = 23, OTHER = 5, COUNT = MANY * MANY * OUTPUTS * OUTPUTS };
    static double x[MANY * FEATURES], x2[OTHER * FEATURES], whole[COUNT], some[COUNT];
    fill(x, MANY * FEATURES, 0.3);
    fill(x2, OTHER * FEATURES, 1.9);
    nn_net *net = trace_case(6, NN_NTK, NN_SIGMA_INIT);
    for (int form = 0; form < 8; form++) {
        bool square = form & 1;
        size_t columns = square ? MANY : OTHER, count = MANY * columns * (form & 2 ? OUTPUTS * OUTPUTS : 1);
        nn_model *models[2];
        for (int k = 0; k < 2; k++) {
            models[k] = nn_model_new(net, form & 4 ? 40 : 7, 1, AD_DOUBLE, 1, NULL);
            models[k]->limits.whole = k ? 10000 : 0;
            cr_assert(nn_ntk(models[k], x, MANY, square ? NULL : x2, OTHER, form & 2 ? NN_FULL : NN_MEAN,
                             k ? some : whole, NULL) == 0);
        }
        cr_assert(models[0]->kernel->last->tile == MANY && models[1]->kernel->last->tile < MANY / 2);
        for (size_t i = 0; i < count; i++)
            check_near(some[i], whole[i], 1e-11, "seeds", (size_t)form);
        nn_model_free(models[0]);
        nn_model_free(models[1]);
    }
    nn_net_free(net);
}

/* ---- references ---- */
/* Weights by the file's formula; outputs, full kernel and mean to 1e-11. */
static void against_reference(nn_model *model, const char *name, const double *x, size_t rows)
{
    reference *ref = reference_read(name);
    size_t outputs = nn_n_outputs(nn_model_net(model));
    for (int l = 0; l < nn_n_params(nn_model_net(model)); l++) {
        size_t count;
        double *w = nn_param_values(model, l, &count);
        for (size_t k = 0; k < count; k++) {
            double d = (double)k;
            w[k] = sqrt(2) * sin(1.3 * (l + 1) + 2.399963229728653 * d + 0.11 * d * d / (double)count);
        }
    }
    double *f = malloc(rows * outputs * sizeof *f), *mean = malloc(rows * rows * sizeof *mean);
    double *full = malloc(rows * rows * outputs * outputs * sizeof *full);
    cr_assert(nn_forward(model, x, rows, f, NULL) == 0);
    cr_assert(nn_ntk(model, x, rows, NULL, 0, NN_FULL, full, NULL) == 0);
    cr_assert(nn_ntk(model, x, rows, NULL, 0, NN_MEAN, mean, NULL) == 0);
    const double *want = reference_array(ref, "outputs", rows * outputs);
    for (size_t i = 0; i < rows * outputs; i++)
        check_near(f[i], want[i], 1e-11, name, i);
    want = reference_array(ref, "ntk_full", rows * rows * outputs * outputs);
    for (size_t i = 0; i < rows * rows * outputs * outputs; i++)
        check_near(full[i], want[i], 1e-11, name, i);
    want = reference_array(ref, "ntk_trace_mean", rows * rows);
    for (size_t i = 0; i < rows * rows; i++)
        check_near(mean[i], want[i], 1e-11, name, i);
    free(f);
    free(mean);
    free(full);
    reference_free(ref);
}

Test(kernel, reference_mlp)
{
    static const char *const settings[] = { "depth=2", "sigma_w=1.5", "sigma_b=0.3", NULL };
    ad_error error = { 0 };
    nn_net *net = nn_trace(
        nn_builtin("mlp"),
        &(nn_spec){ .features = 10, .outputs = 3, .settings = settings, .sigma_in = NN_SIGMA_MULTIPLIER }, &error);
    cr_assert(net, "%s", error.text);
    nn_model *model = nn_model_new(net, 16, 1, AD_DOUBLE, 1, NULL);
    double *x = reference_inputs(5, 10);
    against_reference(model, "emp_mlp_relu_w16_d2_out3", x, 5);
    free(x);
    nn_model_free(model);
    nn_net_free(net);
}

/* params W, U, b, v; h_0 = 0 */
static ad_var reference_network(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], in = ad_shape_get(x)->axes[2];
    nn_weight w = nn_make_weight(net, "w", in, n, 1.1), u = nn_make_weight(net, "u", n, n, 1.2);
    nn_weight b = nn_make_bias(net, "b", n, 0.1);
    ad_var h = { nn_graph(net), -1 };
    for (size_t t = 0; t < 4; t++) {
        ad_var in_t = nn_add_bias(b, nn_apply(w, ad_take_at(AD_HERE, x, time, t)));
        h = ad_tanh(h.id < 0 ? in_t : ad_add(nn_apply(u, h), in_t));
    }
    return nn_readout(net, "v", h);
}

Test(kernel, reference_recurrent)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(reference_network, &(nn_spec){ .shape = { 4, 3 }, .sigma_in = NN_SIGMA_MULTIPLIER }, &error);
    cr_assert(net, "%s", error.text);
    nn_model *model = nn_model_new(net, 16, 1, AD_DOUBLE, 1, NULL);
    double *x = reference_inputs(5, 12);
    against_reference(model, "emp_rnn_tanh_w16_4x3", x, 5);
    free(x);
    nn_model_free(model);
    nn_net_free(net);
}

/* ---- nngp ---- */
/* The mean of f f' over draws of the readout, against the formula; every draw is a model of another seed whose hidden
 * layers are copied. */
Test(kernel, nngp_is_the_covariance_over_readouts)
{
    enum { DRAWS = 4000 };
    for (int sigma_in = NN_SIGMA_INIT; sigma_in <= NN_SIGMA_MULTIPLIER; sigma_in++) {
        nn_net *net = trace_case(0, NN_STANDARD, (nn_sigma_in)sigma_in);
        nn_model *model = nn_model_new(net, 20, 3, AD_DOUBLE, 1, NULL);
        double x[ROWS * FEATURES], kernel[ROWS * ROWS * OUTPUTS * OUTPUTS], mean[ROWS * ROWS], f[ROWS * OUTPUTS];
        double sum[ROWS * OUTPUTS][ROWS * OUTPUTS] = { 0 };
        fill(x, ROWS * FEATURES, 0.3);
        cr_assert(nn_nngp(model, x, ROWS, NULL, 0, NN_FULL, kernel, NULL) == 0);
        cr_assert(nn_nngp(model, x, ROWS, NULL, 0, NN_MEAN, mean, NULL) == 0);
        for (uint64_t draw = 0; draw < DRAWS; draw++) {
            nn_model *other = nn_model_new(net, 20, 1000 + draw, AD_DOUBLE, 1, NULL);
            for (int k = 0; k < nn_n_params(net); k++) {
                size_t count;
                double *to = nn_param_values(other, k, &count);
                if (strncmp(ad_node_of(nn_graph(net), nn_param(net, k).id)->name, "readout", 7) != 0)
                    memcpy(to, nn_param_values(model, k, NULL), count * sizeof *to);
            }
            cr_assert(nn_forward(other, x, ROWS, f, NULL) == 0);
            for (size_t a = 0; a < ROWS * OUTPUTS; a++)
                for (size_t b = 0; b < ROWS * OUTPUTS; b++)
                    sum[a][b] += f[a] * f[b] / DRAWS;
            nn_model_free(other);
        }
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < ROWS; j++)
                for (size_t o = 0; o < OUTPUTS; o++)
                    for (size_t p = 0; p < OUTPUTS; p++) {
                        double got = kernel[((i * ROWS + j) * OUTPUTS + o) * OUTPUTS + p];
                        check_near(got, o == p ? mean[i * ROWS + j] : 0, 1e-12, "nngp, diagonal", i);
                        check_near(got, sum[i * OUTPUTS + o][j * OUTPUTS + p], 0.06, "nngp", i);
                    }
        nn_model_free(model);
        nn_net_free(net);
    }
}

static ad_var no_readout(nn_net *net, ad_var x)
{
    return ad_tanh(nn_readout(net, "readout", ad_tanh(nn_dense(net, "dense", x, nn_width(net, "n")))));
}

Test(kernel, nngp_needs_a_readout)
{
    ad_error error = { 0 };
    double x[FEATURES] = { 1 }, k;
    nn_net *net = nn_trace(no_readout, &(nn_spec){ .features = FEATURES }, NULL);
    nn_model *model = nn_model_new(net, 5, 1, AD_DOUBLE, 1, NULL);
    cr_assert(nn_nngp(model, x, 1, NULL, 0, NN_MEAN, &k, &error) != 0);
    cr_assert(strstr(error.text, "test_kernel.c") && strstr(error.text, "tanh"), "%s", error.text);
    nn_model_free(model);
    nn_net_free(net);
}

Test(kernel, refuses_what_is_not_finite)
{
    ad_error error = { 0 };
    double x[2 * FEATURES] = { 0 }, k[4];
    nn_net *net = trace_case(0, NN_NTK, NN_SIGMA_INIT);
    nn_model *model = nn_model_new(net, 5, 1, AD_FLOAT, 1, NULL);
    x[FEATURES + 2] = 1e300; /* not finite as float */
    cr_assert(nn_ntk(model, x, 2, NULL, 0, NN_MEAN, k, &error) != 0);
    cr_assert(strstr(error.text, "row 1"), "%s", error.text);
    nn_model_free(model);
    nn_net_free(net);
}

/* The plan and the buffers stay for the next call. */
Test(kernel, traces_once)
{
    double x[ROWS * FEATURES], k[ROWS * ROWS];
    fill(x, ROWS * FEATURES, 0.3);
    nn_net *net = trace_case(0, NN_NTK, NN_SIGMA_INIT);
    nn_model *model = nn_model_new(net, 5, 1, AD_DOUBLE, 1, NULL);
    cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k, NULL) == 0);
    int nodes = ad_graph_size(nn_graph(net));
    cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k, NULL) == 0);
    cr_assert(ad_graph_size(nn_graph(net)) == nodes);
    nn_model_free(model);
    nn_net_free(net);
}

Test(kernel, survives_every_failed_allocation)
{
    double x[ROWS * FEATURES], k[ROWS * ROWS];
    fill(x, ROWS * FEATURES, 0.3);
    for (long fail = 1, done = 0; !done; fail++) {
        ad_error error = { 0 };
        nn_net *net = trace_case(1, NN_NTK, NN_SIGMA_INIT);
        nn_model *model = nn_model_new(net, 5, 1, AD_DOUBLE, 1, NULL);
        ad_hook_allocation(fail);
        int failed = nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k, &error);
        ad_hook_allocation(0);
        done = !failed;
        cr_assert(!failed || error.text[0]);
        cr_assert(fail < 1000);
        nn_model_free(model);
        nn_net_free(net);
    }
}
