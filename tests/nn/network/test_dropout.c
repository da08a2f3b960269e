/* Dropout: a fit's steps against plain loops with the same masks, gradients against differences of losses, the identity
 * in all else, the law of the masks, and what is refused. */
#include "nn/nn.h"
#include "tp/tp.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEATURES = 5, OUTPUTS = 3, ROWS = 22, WIDTH = 6 };

static void make_samples(double *x, double *y)
{
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(0.3 + 1.7 * i + 0.01 * i * i);
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        y[i] = cos(2.1 * i);
}

/* One after a function, one after a normalised sum: some of what the batch's statistics are of is dropped. */
static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_dropout(net, "inputs", x, 0.8);
    ad_var h = ad_tanh(nn_dense_with(net, "one", x, n, .bias = true, .sigma_b = 0.2));
    ad_var u =
        nn_batchnorm_with(net, "norm", nn_dense(net, "two", nn_dropout(net, "hidden", h, 0.6), n), .epsilon = 0.1);
    return nn_readout(net, "readout", ad_add(h, nn_dropout(net, "last", ad_tanh(u), 0.5)));
}

static nn_net *trace(nn_function function, const char *dropout)
{
    const char *const settings[] = { "depth=1", "phi=tanh", dropout, NULL };
    ad_error error = { 0 };
    bool own = !function;
    nn_net *net =
        nn_trace(own ? nn_builtin("mlp") : function,
                 &(nn_spec){ .features = FEATURES, .outputs = OUTPUTS, .settings = own ? settings : NULL }, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

/* The loss of every step of a fit that moves nothing, by a loop over the definition with ad_uniform's masks. */
Test(dropout, steps_are_those_of_plain_masks)
{
    enum { STEPS = 5 };
    const double keep = 0.7;
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS], u[ROWS * WIDTH];
    make_samples(x, y);
    nn_net *net = trace(NULL, "dropout=0.7");
    nn_model *model = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL);
    nn_trainer *trainer =
        nn_trainer_new(model, &(nn_fit_spec){ .loss = NN_SQUARE, .frozen = true, .seed = 11 }, ROWS, NULL);
    const double *w = nn_param_values(model, 0, NULL), *v = nn_param_values(model, 1, NULL);
    int kept = 0;
    for (long step = 0; step < STEPS; step++) {
        double loss, sum = 0;
        cr_assert(nn_trainer_step(trainer, x, y, ROWS, &loss, NULL) == 0);
        ad_uniform(11, ad_stream("dropout1") ^ ad_stream("dropout"), (uint64_t)step * ROWS * WIDTH, ROWS * WIDTH, u);
        for (int i = 0; i < ROWS; i++)
            for (int o = 0; o < OUTPUTS; o++) {
                double f = 0;
                for (int a = 0; a < WIDTH; a++) {
                    double h = 0;
                    for (int b = 0; b < FEATURES; b++)
                        h += x[i * FEATURES + b] * w[b * WIDTH + a] / sqrt(FEATURES);
                    f += u[i * WIDTH + a] < keep ? tanh(h) / keep * v[a * OUTPUTS + o] / sqrt(WIDTH) : 0;
                    kept += o == 0 && u[i * WIDTH + a] < keep;
                }
                sum += (f - y[i * OUTPUTS + o]) * (f - y[i * OUTPUTS + o]);
            }
        cr_assert_float_eq(loss, sum / (2 * ROWS), 1e-12);
    }
    double n = STEPS * ROWS * WIDTH; /* five deviations */
    cr_assert(fabs(kept - keep * n) < 5 * sqrt(keep * (1 - keep) * n), "%d of %g", kept, n);
    nn_trainer_free(trainer);
    nn_model_free(model);
    nn_net_free(net);
}

/* What is dropped out is so in one place: not where the vector is used besides, and each of several has its masks. */
static ad_var several(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "one", x, n));
    ad_var g = ad_tanh(nn_dense(net, "two", nn_dropout(net, "below", h, 0.6), n));
    return nn_readout(net, "readout", ad_add(h, ad_add(g, nn_dropout(net, "above", g, 0.8))));
}

Test(dropout, several_have_masks_of_their_own)
{
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS], u[ROWS * WIDTH], m[ROWS * WIDTH], loss, sum = 0;
    make_samples(x, y);
    nn_net *net = trace(several, NULL);
    nn_model *model = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL);
    nn_trainer *trainer =
        nn_trainer_new(model, &(nn_fit_spec){ .loss = NN_SQUARE, .frozen = true, .seed = 11 }, ROWS, NULL);
    const double *w = nn_param_values(model, 0, NULL), *w2 = nn_param_values(model, 1, NULL),
                 *v = nn_param_values(model, 2, NULL);
    ad_uniform(11, ad_stream("below") ^ ad_stream("dropout"), 0, ROWS * WIDTH, u);
    ad_uniform(11, ad_stream("above") ^ ad_stream("dropout"), 0, ROWS * WIDTH, m);
    for (int i = 0; i < ROWS; i++) {
        double h[WIDTH], g[WIDTH];
        for (int a = 0; a < WIDTH; a++) {
            h[a] = 0;
            for (int b = 0; b < FEATURES; b++)
                h[a] += x[i * FEATURES + b] * w[b * WIDTH + a] / sqrt(FEATURES);
            h[a] = tanh(h[a]);
        }
        for (int a = 0; a < WIDTH; a++) {
            g[a] = 0;
            for (int b = 0; b < WIDTH; b++)
                g[a] += (u[i * WIDTH + b] < 0.6 ? h[b] / 0.6 : 0) * w2[b * WIDTH + a] / sqrt(WIDTH);
            g[a] = tanh(g[a]);
        }
        for (int o = 0; o < OUTPUTS; o++) {
            double f = 0;
            for (int a = 0; a < WIDTH; a++)
                f += (h[a] + g[a] + (m[i * WIDTH + a] < 0.8 ? g[a] / 0.8 : 0)) * v[a * OUTPUTS + o] / sqrt(WIDTH);
            sum += (f - y[i * OUTPUTS + o]) * (f - y[i * OUTPUTS + o]);
        }
    }
    cr_assert(nn_trainer_step(trainer, x, y, ROWS, &loss, NULL) == 0);
    cr_assert_float_eq(loss, sum / (2 * ROWS), 1e-12);
    nn_trainer_free(trainer);
    nn_model_free(model);
    nn_net_free(net);
}

/* Masks are a step's and a seed's: the loss of the first step as a function of the weights, and its gradient. */
static double first_loss(const nn_net *net, const double *w, size_t count, const double *x, const double *y,
                         double *after)
{
    nn_model *model = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL);
    double *own = nn_param_values(model, 0, NULL), loss;
    if (w)
        memcpy(own, w, count * sizeof *w);
    nn_fit_spec spec = { .loss = NN_SQUARE, .rate = 1, .seed = 5 };
    nn_trainer *trainer = nn_trainer_new(model, &spec, ROWS, NULL);
    cr_assert(nn_trainer_step(trainer, x, y, ROWS, &loss, NULL) == 0);
    if (after)
        memcpy(after, own, count * sizeof *w);
    nn_trainer_free(trainer);
    nn_model_free(model);
    return loss;
}

Test(dropout, gradients_are_differences_of_losses)
{
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS];
    make_samples(x, y);
    nn_net *net = trace(normalised, NULL);
    nn_model *model = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL);
    size_t count = nn_model_size(model);
    double *w = nn_param_values(model, 0, NULL), *after = calloc(count, sizeof *after);
    first_loss(net, w, count, x, y, after);
    for (size_t p = 0; p < count; p++) {
        const double h = 1e-5;
        double start = w[p];
        w[p] = start + h;
        double above = first_loss(net, w, count, x, y, NULL);
        w[p] = start - h;
        double below = first_loss(net, w, count, x, y, NULL);
        w[p] = start;
        cr_assert_float_eq(start - after[p], (above - below) / (2 * h), 1e-8, "%zu", p);
    }
    free(after);
    nn_model_free(model);
    nn_net_free(net);
}

/* Outputs, evaluations, kernels and limits are those of the network without it. */
Test(dropout, is_the_identity_elsewhere)
{
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS], f[2][ROWS * OUTPUTS], k[2][ROWS * ROWS], t[2][ROWS * ROWS];
    make_samples(x, y);
    for (int with = 0; with < 2; with++) {
        nn_net *net = trace(NULL, with ? "dropout=0.5" : "dropout=1");
        nn_model *model = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL);
        ad_error error = { 0 };
        cr_assert(nn_forward(model, x, ROWS, f[with], &error) == 0, "%s", error.text);
        cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k[with], &error) == 0, "%s", error.text);
        tp_program *program = tp_translate(net, &error);
        tp_kernel limit = { 0 };
        cr_assert(program && tp_limit(program, TP_NTK, x, ROWS, NULL, 0, NULL, &limit, &error) == 0, "%s", error.text);
        for (size_t i = 0; i < ROWS * ROWS; i++)
            t[with][i] = limit.terms[0].values[i];
        tp_kernel_free(&limit);
        tp_program_free(program);
        nn_model_free(model);
        nn_net_free(net);
    }
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        cr_assert_float_eq(f[0][i], f[1][i], 1e-14);
    for (int i = 0; i < ROWS * ROWS; i++) {
        cr_assert_float_eq(k[0][i], k[1][i], 1e-13);
        cr_assert_float_eq(t[0][i], t[1][i], 1e-13);
    }
}

/* Masks are a function of the step: a fit that is resumed drops what it would have dropped. */
Test(dropout, resumes_bit_for_bit)
{
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS];
    char path[300];
    make_samples(x, y);
    snprintf(path, sizeof path, "/tmp/limn-%ld-dropout", (long)getpid());
    nn_net *net = trace(normalised, NULL);
    nn_data data = { .x = x, .y = y, .rows = ROWS };
    nn_model *whole = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL),
             *part = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL);
    nn_fit_spec spec = { .loss = NN_SQUARE, .rate = 0.05, .batch = 6, .seed = 2, .steps = 11 };
    ad_error error = { 0 };
    cr_assert(nn_fit(whole, &data, &spec, NULL, &error) == 0, "%s", error.text);
    spec.steps = 6;
    spec.checkpoint = path;
    cr_assert(nn_fit(part, &data, &spec, NULL, &error) == 0, "%s", error.text);
    spec.steps = 11;
    spec.resume = path;
    cr_assert(nn_fit(part, &data, &spec, NULL, &error) == 0, "%s", error.text);
    cr_assert(memcmp(nn_param_values(whole, 0, NULL), nn_param_values(part, 0, NULL),
                     nn_model_size(whole) * sizeof(double)) == 0);
    remove(path);
    nn_model_free(whole);
    nn_model_free(part);
    nn_net_free(net);
}

static ad_var keeps_nothing(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_dropout(net, "drop", x, 0));
}

static ad_var keeps_more_than_all(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_dropout(net, "drop", x, 1.5));
}

static ad_var named_twice(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", nn_dropout(net, "drop", nn_dropout(net, "drop", x, 0.5), 0.5));
}

static ad_var of_no_sample(nn_net *net, ad_var x)
{
    ad_var one = ad_constant(nn_graph(net), 1, (ad_shape){ 0 });
    return nn_readout(net, "readout", ad_mul(x, nn_dropout(net, "drop", one, 0.5)));
}

Test(dropout, wrong_requests_are_refused)
{
    static const struct {
        nn_function function;
        const char *says;
    } wrong[] = { { keeps_nothing, "dropout drop: 0 is the probability to keep" },
                  { keeps_more_than_all, "dropout drop: 1.5" },
                  { named_twice, "there is one of this name" },
                  { of_no_sample, "its input has no batch" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        cr_assert(!nn_trace(wrong[i].function, &(nn_spec){ .features = 3 }, &error), "%zu", i);
        cr_assert(strstr(error.text, wrong[i].says), "%zu: %s", i, error.text);
    }
    const char *const settings[] = { "dropout=0", NULL };
    ad_error error = { 0 };
    cr_assert(!nn_trace(nn_builtin("mlp"), &(nn_spec){ .features = 3, .settings = settings }, &error));
    cr_assert(strstr(error.text, "dropout=0"), "%s", error.text);
}
