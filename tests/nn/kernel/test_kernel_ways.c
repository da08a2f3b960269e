/* The ways that a kernel is computed, each beside the plainest there is: the kernel times unit vectors, that is two
 * reverse passes for each column (jacobian.c), which knows of no panels, pairs, tiles or parts. */
#include "autodiff/base/base.h"
#include "nn/kernel/kernel.h"
#include "nn/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { FEATURES = 24, ROWS = 9, ROWS2 = 5, MOST_OUTPUTS = 5 };

static void fill(double *x, size_t count, double phase)
{
    for (size_t i = 0; i < count; i++)
        x[i] = sin(phase + 1.7 * (double)i + 0.3 * (double)(i * i % 17));
}

/* One weight around two normalisations. */
static ad_var twice(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2);
    ad_var h = nn_dense(net, "embed", x, n);
    for (int i = 0; i < 3; i++)
        h = nn_apply(w, ad_tanh(nn_batchnorm_with(net, nn_name(net, "norm%d", i), h, .affine = i == 1)));
    return nn_readout(net, "readout", ad_erf(h));
}

/* The same, but for one use that is transposed. */
static ad_var turned(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2);
    ad_var h = nn_apply(w, ad_tanh(nn_batchnorm(net, "norm1", nn_dense(net, "embed", x, n))));
    h = nn_apply_t(w, ad_tanh(nn_batchnorm(net, "norm2", h)));
    return nn_readout(net, "readout", ad_erf(h));
}

/* Branches that are normalised or not, and a normalisation of what is normalised; biases. */
static ad_var branches(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense_with(net, "embed", x, n, .bias = true, .sigma_b = 0.2);
    ad_var z = nn_batchnorm(net, "norm1", ad_gelu(nn_batchnorm_with(net, "norm2", h, .affine = true)));
    h = ad_sub(ad_scale(h, 0.5), nn_dense_with(net, "branch", z, n, .bias = true, .sigma_b = 0.3));
    h = ad_add(h, nn_dense(net, "other", ad_mul(ad_tanh(h), ad_sigmoid(z)), n));
    return nn_readout(net, "readout", ad_relu(nn_batchnorm(net, "norm3", h)));
}

/* A mean over samples, and features of a sample that meet. */
static ad_var meeting(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n), m = ad_mean(h, ad_shape_of(nn_batch(net)));
    h = ad_mul(ad_tanh(h), ad_expand(ad_sigmoid(m), *ad_shape_get(h)));
    h = nn_layernorm(net, "layer", nn_dense(net, "two", h, n));
    return nn_readout(net, "readout", ad_tanh(nn_batchnorm(net, "norm", nn_dense(net, "three", h, n))));
}

typedef enum { DENSE, APART, FACTORS, STEPS } way;

static const struct {
    const char *name;
    nn_function function;
    const char *settings[6];
    size_t width, outputs, shape[4];
    way way;
} cases[] = {
    { "mlp", NULL, { "depth=2", "phi=tanh" }, 12, 5, { 0 }, FACTORS },
    { "mlp", NULL, { "depth=3", "sigma_b=0.3" }, 12, 4, { 0 }, FACTORS },
    { "mlp", NULL, { "depth=2" }, 12, 3, { 0 }, DENSE },
    { "rnn", NULL, { "phi=tanh", "sigma_b=0.2" }, 16, 5, { 12, 2 }, STEPS },
    { "rnn", NULL, { "phi=relu", "depth=2", "readout=mean" }, 5, 3, { 8, 3 }, STEPS },
    { "rnn", NULL, { "cell=gru" }, 5, 2, { 6, 4 }, STEPS },
    { "cnn", NULL, { "depth=2", "readout=flatten" }, 4, 2, { 6, 4, 1 }, DENSE },
    { "batchnorm", NULL, { "depth=1", "affine=yes" }, 12, 4, { 0 }, APART },
    { "batchnorm", NULL, { "depth=2", "affine=yes" }, 12, 4, { 0 }, APART },
    { "batchnorm", NULL, { "depth=3", "phi=tanh" }, 12, 5, { 0 }, APART },
    { "batchnorm", NULL, { "depth=2" }, 80, 2, { 0 }, DENSE }, /* more statistics than seeds */
    { "twice", twice, { NULL }, 10, 5, { 0 }, APART },
    { "turned", turned, { NULL }, 10, 5, { 0 }, DENSE },
    { "branches", branches, { NULL }, 10, 5, { 0 }, APART },
    { "meeting", meeting, { NULL }, 6, 5, { 0 }, APART },
};
enum { CASES = sizeof cases / sizeof *cases };

static nn_model *open_model(size_t k, nn_parametrization scale, nn_net **net)
{
    ad_error error = { 0 };
    char outputs[32];
    const char *settings[8] = { NULL };
    int n = 0;
    for (; cases[k].settings[n]; n++)
        settings[n] = cases[k].settings[n];
    snprintf(outputs, sizeof outputs, "outputs=%zu", cases[k].outputs);
    settings[n] = cases[k].function ? NULL : outputs;
    nn_spec spec = { .outputs = cases[k].outputs, .parametrization = scale, .settings = settings };
    if (cases[k].shape[0])
        for (int i = 0; i < 4; i++)
            spec.shape[i] = cases[k].shape[i];
    else
        spec.features = FEATURES;
    *net = nn_trace(cases[k].function ? cases[k].function : nn_builtin(cases[k].name), &spec, &error);
    cr_assert(*net, "%s: %s", cases[k].name, error.text);
    nn_model *model = nn_model_new(*net, cases[k].width, 3 + k, AD_DOUBLE, 1, &error);
    cr_assert(model, "%s: %s", cases[k].name, error.text);
    return model;
}

/* Entry (i, j, o, p) of a kernel of so many columns. */
static double entry(const double *kernel, size_t columns, size_t outputs, size_t i, size_t j, size_t o, size_t p)
{
    return kernel[((i * columns + j) * outputs + o) * outputs + p];
}

/* The kernel by columns, (rows, columns, outputs, outputs). */
static void by_columns(nn_model *model, const double *x, const double *x2, size_t columns, size_t outputs, double *to)
{
    double unit[ROWS * MOST_OUTPUTS], column[ROWS * MOST_OUTPUTS];
    ad_error error = { 0 };
    for (size_t at = 0; at < columns * outputs; at++) {
        for (size_t i = 0; i < columns * outputs; i++)
            unit[i] = i == at;
        cr_assert(nn_ntk_vector(model, x, ROWS, x2, columns, unit, column, &error) == 0, "%s", error.text);
        for (size_t i = 0; i < ROWS; i++)
            for (size_t o = 0; o < outputs; o++)
                to[((i * columns + at / outputs) * outputs + o) * outputs + at % outputs] = column[i * outputs + o];
    }
}

static void compare(size_t k, const char *what, const double *got, const double *want, size_t columns, bool full)
{
    size_t outputs = cases[k].outputs, outs = full ? outputs : 1;
    double largest = 0, off = 0;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < columns; j++)
            for (size_t o = 0; o < outs; o++)
                for (size_t p = 0; p < outs; p++) {
                    double value = full ? entry(want, columns, outputs, i, j, o, p) : 0;
                    for (size_t q = 0; q < outputs && !full; q++)
                        value += entry(want, columns, outputs, i, j, q, q) / (double)outputs;
                    largest = fmax(largest, fabs(value));
                    off = fmax(off, fabs(entry(got, columns, outs, i, j, o, p) - value));
                }
    cr_assert(largest > 0 && off <= 1e-12 * largest, "%s %zu, %s, %zu columns, %s: off by %g of %g", cases[k].name, k,
              what, columns, full ? "full" : "mean", off, largest);
}

/* Was it computed in the way that the case is there for? */
static void check_way(size_t k, const nn_call *c, bool square, bool full)
{
    bool spare = false, steps = false;
    for (int i = 0; i < c->n_panels; i++) {
        spare = spare || c->panels[i].spare;
        steps = steps || c->panels[i].turns > 1;
    }
    cr_assert_eq(c->n_turned > 0, cases[k].way == APART && square, "%s %zu", cases[k].name, k);
    cr_assert(cases[k].way != FACTORS || spare == full, "%s %zu", cases[k].name, k);
    cr_assert(cases[k].way == FACTORS || cases[k].way == APART || !spare, "%s %zu", cases[k].name, k);
    cr_assert_eq(steps, cases[k].way == STEPS, "%s %zu", cases[k].name, k);
}

Test(kernel_ways, are_the_kernel_times_unit_vectors)
{
    enum { MOST = ROWS * ROWS * MOST_OUTPUTS * MOST_OUTPUTS };
    static const nn_parametrization scales[] = { NN_NTK, NN_STANDARD };
    static const size_t tiles[] = { 0, 1, 3000, 20000 }; /* of gradients: of one sample's line, and more */
    static double x[ROWS * FEATURES], x2[ROWS2 * FEATURES], want[MOST], got[MOST];
    fill(x, ROWS * FEATURES, 0.4);
    fill(x2, ROWS2 * FEATURES, 2.6);
    for (size_t k = 0; k < CASES; k++)
        for (size_t form = 0; form < 4; form++) {
            bool square = form % 2 == 0;
            size_t columns = square ? ROWS : ROWS2;
            nn_net *net;
            nn_model *model = open_model(k, scales[form / 2], &net);
            by_columns(model, x, square ? NULL : x2, columns, cases[k].outputs, want);
            for (int turn = 0; turn < 8; turn++) {
                bool full = turn % 2;
                ad_error error = { 0 };
                model->limits.gradients = tiles[turn / 2];
                if (model->kernel)
                    nn_kernel_free(model->kernel); /* which would not lay out the form again */
                model->kernel = NULL;
                for (int again = 0; again < 2; again++) { /* the second one needs nothing anew */
                    cr_assert(
                        nn_ntk(model, x, ROWS, square ? NULL : x2, columns, full ? NN_FULL : NN_MEAN, got, &error) == 0,
                        "%s: %s", cases[k].name, error.text);
                    compare(k, scales[form / 2] == NN_NTK ? "ntk" : "standard", got, want, columns, full);
                }
                check_way(k, model->kernel->last, square, full);
            }
            nn_model_free(model);
            nn_net_free(net);
        }
}

/* Taken apart or not, a batch's kernel is symmetric to the last bit, and in floats what it is in doubles. */
Test(kernel_ways, apart_in_floats)
{
    enum { MOST = ROWS * ROWS * MOST_OUTPUTS * MOST_OUTPUTS };
    static double x[ROWS * FEATURES], want[MOST], got[MOST];
    fill(x, ROWS * FEATURES, 1.4);
    for (size_t k = 0; k < CASES; k++) {
        nn_net *net;
        nn_model *model = open_model(k, NN_NTK, &net),
                 *floats = nn_model_new(net, cases[k].width, 3 + k, AD_FLOAT, 2, NULL);
        size_t outputs = cases[k].outputs;
        double largest = 0;
        ad_error error = { 0 };
        cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_FULL, want, &error) == 0, "%s", error.text);
        cr_assert(nn_ntk(floats, x, ROWS, NULL, 0, NN_FULL, got, &error) == 0, "%s", error.text);
        for (size_t i = 0; i < ROWS * ROWS * outputs * outputs; i++)
            largest = fmax(largest, fabs(want[i]));
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < ROWS; j++)
                for (size_t o = 0; o < outputs; o++)
                    for (size_t p = 0; p < outputs; p++) {
                        double value = entry(got, ROWS, outputs, i, j, o, p);
                        cr_assert(!(fabs(value - entry(got, ROWS, outputs, j, i, p, o)) > 0), "%s", cases[k].name);
                        cr_assert(fabs(value - entry(want, ROWS, outputs, i, j, o, p)) < 1e-5 * largest, "%s %zu",
                                  cases[k].name, k);
                    }
        nn_model_free(floats);
        nn_model_free(model);
        nn_net_free(net);
    }
}
