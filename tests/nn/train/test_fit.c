/* Training: gradients, optimizers against scalar loops, resuming, files that are damaged, losses that blow up. */
#include "nn/nn.h"
#include "nn/safetensors/safetensors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEATURES = 5, OUTPUTS = 3, ROWS = 22 };

typedef struct {
    double x[ROWS * FEATURES], labels[ROWS], targets[ROWS * OUTPUTS];
} samples;

static samples make_samples(void)
{
    samples s;
    for (int i = 0; i < ROWS * FEATURES; i++)
        s.x[i] = sin(0.3 + 1.7 * i + 0.01 * i * i);
    for (int i = 0; i < ROWS; i++)
        s.labels[i] = (i * 7 + 1) % OUTPUTS;
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        s.targets[i] = cos(2.1 * i);
    return s;
}

static nn_data data_of(const samples *s, nn_loss loss)
{
    if (loss == NN_SQUARE)
        return (nn_data){ .x = s->x, .y = s->targets, .rows = ROWS };
    return (nn_data){ .x = s->x, .y = s->labels, .rows = ROWS, .classes = OUTPUTS };
}

static nn_net *make_net(nn_parametrization scale)
{
    static const char *const settings[] = { "depth=2", "phi=tanh", "sigma_b=0.2", NULL };
    ad_error error = { 0 };
    nn_net *net = nn_trace(
        nn_builtin("mlp"),
        &(nn_spec){
            .features = FEATURES, .outputs = OUTPUTS, .parametrization = scale, .settings = settings, .name = "mlp" },
        &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static nn_model *make_model(nn_net *net, ad_type type)
{
    return nn_model_new(net, 6, 4, type, 1, NULL);
}

/* A file name of this process's own in the build's folder. */
static const char *temporary(const char *name)
{
    static char paths[8][300];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "/tmp/limn-%ld-%s", (long)getpid(), name);
    return path;
}

static double full_loss(nn_model *model, const nn_data *data, nn_loss loss)
{
    double value = 0;
    cr_assert(nn_evaluate(model, data, loss, &value, NULL, NULL) == 0);
    return value;
}

/* ---- gradients ---- */
/* A step of SGD at rate 1 shows the gradient; the loss's own definition is nn_evaluate's, in plain C. */
Test(fit, gradient_is_the_difference_of_losses)
{
    samples s = make_samples();
    for (int loss = NN_SQUARE; loss <= NN_CROSS_ENTROPY; loss++) {
        nn_data data = data_of(&s, (nn_loss)loss);
        nn_net *net = make_net(NN_NTK);
        nn_model *model = make_model(net, AD_DOUBLE);
        size_t count = nn_model_size(model);
        double *w = nn_param_values(model, 0, NULL), *numeric = calloc(count, sizeof *numeric),
               *before = calloc(count, sizeof *w);
        for (size_t p = 0; p < count; p++) {
            const double h = 1e-5;
            double kept = w[p];
            w[p] = kept + h;
            numeric[p] = full_loss(model, &data, (nn_loss)loss);
            w[p] = kept - h;
            numeric[p] = (numeric[p] - full_loss(model, &data, (nn_loss)loss)) / (2 * h);
            w[p] = kept;
        }
        memcpy(before, w, count * sizeof *w);
        double mean = full_loss(model, &data, (nn_loss)loss);
        nn_progress last;
        ad_error error = { 0 };
        cr_assert(nn_fit(model, &data, &(nn_fit_spec){ .loss = (nn_loss)loss, .rate = 1, .steps = 1 }, &last, &error) ==
                      0,
                  "%s", error.text);
        cr_assert_float_eq(last.loss, mean, 1e-12);
        for (size_t p = 0; p < count; p++)
            cr_assert_float_eq(before[p] - w[p], numeric[p], 1e-9, "loss %d, %zu: %g, not %g", loss, p,
                               before[p] - w[p], numeric[p]);
        free(numeric);
        free(before);
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* With class numbers the square loss takes one-hot rows. */
Test(fit, square_loss_of_classes_is_one_hot)
{
    samples s = make_samples();
    double one_hot[ROWS * OUTPUTS] = { 0 }, a, b, accuracy;
    for (int i = 0; i < ROWS; i++)
        one_hot[i * OUTPUTS + (int)s.labels[i]] = 1;
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_DOUBLE), *other = make_model(net, AD_DOUBLE);
    nn_data classes = data_of(&s, NN_CROSS_ENTROPY), rows = { .x = s.x, .y = one_hot, .rows = ROWS };
    nn_fit_spec spec = { .loss = NN_SQUARE, .rate = 0.5, .steps = 5, .batch = 8 };
    cr_assert(nn_fit(model, &classes, &spec, NULL, NULL) == 0);
    cr_assert(nn_fit(other, &rows, &spec, NULL, NULL) == 0);
    cr_assert(memcmp(nn_param_values(model, 0, NULL), nn_param_values(other, 0, NULL),
                     nn_model_size(model) * sizeof(double)) == 0);
    cr_assert(nn_evaluate(model, &classes, NN_SQUARE, &a, &accuracy, NULL) == 0);
    cr_assert(nn_evaluate(other, &rows, NN_SQUARE, &b, NULL, NULL) == 0);
    cr_assert_float_eq(a, b, 1e-15);
    cr_assert(accuracy >= 0 && accuracy <= 1);
    nn_model_free(model);
    nn_model_free(other);
    nn_net_free(net);
}

/* ---- optimizers ---- */
/* The factor of a parameter's rate at the width 6, base width 3: in the mean-field scale gradient descent learns at
 * rate times n; of an optimizer that divides by the gradient's size the powers are those of test_rate_powers. */
static double factor_of(int kind, nn_parametrization scale, const char *name)
{
    bool adapts = kind == NN_ADAM || kind == NN_RMSPROP || kind == NN_ADAMW;
    if (adapts)
        return scale == NN_NTK && strstr(name, "weight") && strcmp(name, "dense1.weight") != 0 ? 1 / sqrt(2) : 1;
    return scale == NN_MEANFIELD && strcmp(name, "readout.bias") != 0 ? 6 : 1;
}

/* Gradients by finite differences of the same loss, updates by scalar loops from the definitions. */
Test(fit, optimizers_do_what_they_say)
{
    enum { STEPS = 4 };
    samples s = make_samples();
    nn_data data = data_of(&s, NN_CROSS_ENTROPY);
    for (int kind = NN_SGD; kind <= NN_ADAM; kind++)
        for (int scale = NN_NTK; scale <= NN_MEANFIELD; scale += 2) { /* mean-field learns at rate times n */
            nn_net *net = make_net((nn_parametrization)scale);
            nn_model *model = make_model(net, AD_DOUBLE), *own = make_model(net, AD_DOUBLE);
            size_t count = nn_model_size(model);
            double *w = nn_param_values(own, 0, NULL), *got = nn_param_values(model, 0, NULL), rate = 0.05;
            double *g = calloc(count, sizeof *g), *m = calloc(count, sizeof *m), *v = calloc(count, sizeof *v);
            nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY,
                                 .optimizer = (nn_optimizer)kind,
                                 .rate = rate,
                                 .momentum = 0.8,
                                 .beta1 = 0.7,
                                 .beta2 = 0.95,
                                 .epsilon = 1e-3,
                                 .steps = STEPS,
                                 .base_width = 3 };
            cr_assert(nn_fit(model, &data, &spec, NULL, NULL) == 0);
            for (int t = 1; t <= STEPS; t++) {
                for (size_t p = 0; p < count; p++) {
                    const double h = 1e-5;
                    double kept = w[p];
                    w[p] = kept + h;
                    g[p] = full_loss(own, &data, NN_CROSS_ENTROPY);
                    w[p] = kept - h;
                    g[p] = (g[p] - full_loss(own, &data, NN_CROSS_ENTROPY)) / (2 * h);
                    w[p] = kept;
                }
                size_t p = 0;
                for (int k = 0; k < nn_n_params(net); k++) {
                    size_t n;
                    nn_param_values(own, k, &n);
                    const char *name = ad_node_of(nn_graph(net), nn_param(net, k).id)->name;
                    double r = rate * factor_of(kind, (nn_parametrization)scale, name);
                    for (size_t end = p + n; p < end; p++) {
                        if (kind == NN_SGD) {
                            w[p] -= r * g[p];
                        } else if (kind == NN_MOMENTUM) {
                            v[p] = 0.8 * v[p] + g[p];
                            w[p] -= r * v[p];
                        } else {
                            m[p] = 0.7 * m[p] + 0.3 * g[p];
                            v[p] = 0.95 * v[p] + 0.05 * g[p] * g[p];
                            w[p] -= r * (m[p] / (1 - pow(0.7, t))) / (sqrt(v[p] / (1 - pow(0.95, t))) + 1e-3);
                        }
                    }
                }
            }
            for (size_t p = 0; p < count; p++)
                cr_assert_float_eq(got[p], w[p], 1e-7, "optimizer %d, scale %d, %zu: %.12g, not %.12g", kind, scale, p,
                                   got[p], w[p]);
            free(g);
            free(m);
            free(v);
            nn_model_free(model);
            nn_model_free(own);
            nn_net_free(net);
        }
}

/* One step of omega w by gradient g at step t, in plain scalars; m and v are the optimizer's. */
static double twin_step(int kind, double w, double g, double decay, double r, long t, double *m, double *v)
{
    switch (kind) {
    case NN_SGD:
        return w - r * (g + decay * w);
    case NN_MOMENTUM:
        *v = 0.8 * *v + g + decay * w;
        return w - r * *v;
    case NN_ADAM:
        g += decay * w;
        *m = 0.7 * *m + 0.3 * g;
        *v = 0.95 * *v + 0.05 * g * g;
        return w - r * (*m / (1 - pow(0.7, (double)t))) / (sqrt(*v / (1 - pow(0.95, (double)t))) + 1e-3);
    case NN_RMSPROP:
        g += decay * w;
        *v = 0.99 * *v + 0.01 * g * g;
        return w - r * g / (sqrt(*v) + 1e-3);
    case NN_ADAMW:
        decay = decay > 0 ? decay : 0.01;
        *m = 0.7 * *m + 0.3 * g;
        *v = 0.95 * *v + 0.05 * g * g;
        return w - r * decay * w -
               r * (*m / (1 - pow(0.7, (double)t))) / (sqrt(*v / (1 - pow(0.95, (double)t))) + 1e-3);
    default:
        cr_assert_fail("optimizer %d has no twin", kind);
        return 0;
    }
}

/* Gradients are those that a step of SGD at rate 1 shows; then the trainer's steps are the scalar ones to rounding,
 * with a weight decay and without, where the parameters have rates of their own as well. */
Test(fit, optimizers_are_their_scalar_twins)
{
    enum { STEPS = 6 };
    samples s = make_samples();
    nn_data data = data_of(&s, NN_CROSS_ENTROPY);
    for (int kind = NN_SGD; kind < NN_N_OPTIMIZERS; kind++)
        for (int form = 0; form < 4; form++) {
            nn_parametrization scale = form % 2 ? NN_MEANFIELD : NN_NTK;
            double decay = form / 2 ? 0.03 : 0;
            nn_net *net = make_net(scale);
            nn_model *model = make_model(net, AD_DOUBLE), *own = make_model(net, AD_DOUBLE);
            size_t count = nn_model_size(model);
            double *w = nn_param_values(own, 0, NULL), *got = nn_param_values(model, 0, NULL);
            double *m = calloc(count, sizeof *m), *v = calloc(count, sizeof *v), *kept = calloc(count, sizeof *v);
            nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY,
                                 .optimizer = (nn_optimizer)kind,
                                 .rate = 0.05,
                                 .weight_decay = decay,
                                 .momentum = 0.8,
                                 .beta1 = 0.7,
                                 .beta2 = 0.95,
                                 .epsilon = 1e-3,
                                 .steps = STEPS,
                                 .base_width = 3 };
            cr_assert(nn_fit(model, &data, &spec, NULL, NULL) == 0);
            for (long t = 1; t <= STEPS; t++) {
                memcpy(kept, w, count * sizeof *w);
                cr_assert(nn_fit(own, &data, &(nn_fit_spec){ .loss = NN_CROSS_ENTROPY, .rate = 1, .steps = 1 }, NULL,
                                 NULL) == 0);
                size_t p = 0;
                for (int k = 0; k < nn_n_params(net); k++) {
                    size_t n;
                    nn_param_values(own, k, &n);
                    const char *name = ad_node_of(nn_graph(net), nn_param(net, k).id)->name;
                    double plain = factor_of(NN_SGD, scale, name), factor = factor_of(kind, scale, name);
                    for (size_t end = p + n; p < end; p++)
                        w[p] =
                            twin_step(kind, kept[p], (kept[p] - w[p]) / plain, decay, 0.05 * factor, t, &m[p], &v[p]);
                }
            }
            for (size_t p = 0; p < count; p++)
                cr_assert_float_eq(got[p], w[p], 1e-12, "%s, form %d, %zu: %.15g, not %.15g",
                                   nn_optimizer_name((nn_optimizer)kind), form, p, got[p], w[p]);
            free(m);
            free(v);
            free(kept);
            nn_model_free(model);
            nn_model_free(own);
            nn_net_free(net);
        }
}

Test(fit, float_follows_double)
{
    samples s = make_samples();
    nn_data data = data_of(&s, NN_CROSS_ENTROPY);
    for (int kind = NN_SGD; kind <= NN_ADAM; kind++) {
        nn_net *net = make_net(NN_NTK);
        nn_model *a = make_model(net, AD_DOUBLE), *b = make_model(net, AD_FLOAT);
        nn_fit_spec spec = {
            .loss = NN_CROSS_ENTROPY, .optimizer = (nn_optimizer)kind, .rate = 0.01, .steps = 20, .batch = 7
        };
        cr_assert(nn_fit(a, &data, &spec, NULL, NULL) == 0 && nn_fit(b, &data, &spec, NULL, NULL) == 0);
        const double *one = nn_param_values(a, 0, NULL);
        const float *two = nn_param_values(b, 0, NULL);
        for (size_t i = 0; i < nn_model_size(a); i++)
            cr_assert_float_eq(one[i], (double)two[i], 2e-4);
        nn_model_free(a);
        nn_model_free(b);
        nn_net_free(net);
    }
}

/* An epoch sees every row once, whatever the batch: with a rate of nearly nothing its mean loss is the whole loss. */
Test(fit, an_epoch_is_a_permutation)
{
    samples s = make_samples();
    nn_data data = data_of(&s, NN_CROSS_ENTROPY);
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_DOUBLE);
    for (size_t batch = 1; batch <= ROWS; batch += 3) {
        nn_progress last;
        double loss = full_loss(model, &data, NN_CROSS_ENTROPY);
        nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY, .rate = 1e-13, .epochs = 3, .batch = batch, .seed = batch };
        cr_assert(nn_fit(model, &data, &spec, &last, NULL) == 0);
        cr_assert_float_eq(last.mean_loss, loss, 1e-10);
        cr_assert(last.step == (long)(3 * ((ROWS + batch - 1) / batch)) && last.epoch == 2);
    }
    nn_model_free(model);
    nn_net_free(net);
}

Test(fit, a_step_allocates_nothing)
{
    samples s = make_samples();
    nn_net *net = make_net(NN_NTK);
    for (int type = AD_FLOAT; type <= AD_DOUBLE; type++)
        for (int kind = NN_SGD; kind < NN_N_OPTIMIZERS; kind++) {
            nn_model *model = make_model(net, (ad_type)type);
            float x[8 * FEATURES] = { 0 }, y[8] = { 0 };
            const void *xs = type == AD_FLOAT ? (const void *)x : s.x,
                       *ys = type == AD_FLOAT ? (const void *)y : s.labels;
            nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY, .optimizer = (nn_optimizer)kind, .weight_decay = 0.1 };
            nn_trainer *trainer = nn_trainer_new(model, &spec, 8, NULL);
            double loss;
            cr_assert(nn_trainer_step(trainer, xs, ys, 8, &loss, NULL) == 0);
            long before = ad_allocations();
            for (size_t rows = 1; rows <= 8; rows++)
                cr_assert(nn_trainer_step(trainer, xs, ys, rows, &loss, NULL) == 0);
            cr_assert(ad_allocations() == before);
            cr_assert(nn_trainer_step(trainer, xs, ys, 9, &loss, NULL) != 0);
            nn_trainer_free(trainer);
            nn_model_free(model);
        }
    nn_net_free(net);
}

/* ---- stopping ---- */
typedef struct {
    long calls, stop_at;
} watch;

static int watch_step(const nn_progress *progress, nn_model *model, void *context)
{
    watch *w = context;
    (void)model;
    w->calls++;
    return progress->step == w->stop_at;
}

Test(fit, callback_can_stop)
{
    samples s = make_samples();
    nn_data data = data_of(&s, NN_CROSS_ENTROPY);
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_DOUBLE);
    watch w = { .stop_at = 6 };
    nn_progress last;
    nn_fit_spec spec = {
        .loss = NN_CROSS_ENTROPY, .rate = 0.1, .steps = 10, .every = 2, .callback = watch_step, .context = &w
    };
    cr_assert(nn_fit(model, &data, &spec, &last, NULL) == 0);
    cr_assert(w.calls == 3 && last.step == 6 && last.steps == 10);
    w = (watch){ 0 };
    spec.every = 0;
    cr_assert(nn_fit(model, &data, &spec, &last, NULL) == 0);
    cr_assert(w.calls == 1 && last.step == 10);
    nn_model_free(model);
    nn_net_free(net);
}

Test(fit, a_loss_that_is_not_finite_stops_it)
{
    samples s = make_samples();
    nn_data data = data_of(&s, NN_SQUARE);
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_FLOAT);
    ad_error error = { 0 };
    nn_progress last;
    cr_assert(nn_fit(model, &data, &(nn_fit_spec){ .loss = NN_SQUARE, .rate = 1e4, .steps = 500 }, &last, &error) != 0);
    cr_assert(strstr(error.text, "loss is not finite at step ") && strstr(error.text, "(rate 10000): lower --rate"),
              "%s", error.text);
    cr_assert(isfinite(last.loss) && last.step > 0 && last.step < 500);
    nn_model_free(model);
    nn_net_free(net);
}

Test(fit, wrong_requests_are_refused)
{
    samples s = make_samples();
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_DOUBLE);
    static const struct {
        nn_fit_spec spec;
        const char *says;
    } wrong[] = {
        { { .rate = -1, .steps = 1 }, "rate -1" },
        { { .rate = INFINITY, .steps = 1 }, "rate inf" },
        { { .momentum = 1.5, .steps = 1 }, "momentum 1.5" },
        { { .weight_decay = -0.1, .steps = 1 }, "weight decay -0.1" },
        { { .weight_decay = NAN, .steps = 1 }, "weight decay nan" },
        { { .steps = 0 }, "neither steps" },
        { { .steps = -3 }, "neither steps" },
        { { .loss = NN_CROSS_ENTROPY, .steps = 1 }, "class numbers" },
        { { .steps = 1, .resume = "/nowhere/at/all" }, "/nowhere/at/all: cannot read" },
        { { .steps = 1, .checkpoint = "/nowhere/at/all" }, "/nowhere/at/all: cannot write" },
    };
    nn_data data = data_of(&s, NN_SQUARE);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        cr_assert(nn_fit(model, &data, &wrong[i].spec, NULL, &error) != 0);
        cr_assert(strstr(error.text, wrong[i].says), "%zu: %s", i, error.text);
    }
    ad_error error = { 0 };
    s.labels[3] = OUTPUTS;
    data = data_of(&s, NN_CROSS_ENTROPY);
    cr_assert(nn_fit(model, &data, &(nn_fit_spec){ .loss = NN_CROSS_ENTROPY, .steps = 1 }, NULL, &error) != 0);
    cr_assert(strstr(error.text, "row 3: 3 is no class from 0 to 2"), "%s", error.text);
    error.text[0] = 0;
    s.x[FEATURES * 2] = NAN;
    data = data_of(&s, NN_SQUARE);
    cr_assert(nn_fit(model, &data, &(nn_fit_spec){ .steps = 1 }, NULL, &error) != 0);
    cr_assert(strstr(error.text, "x: row 2"), "%s", error.text);
    nn_model_free(model);
    nn_net_free(net);
}

Test(fit, progress_is_a_line_where_there_is_no_terminal)
{
    samples s = make_samples();
    nn_data data = data_of(&s, NN_SQUARE);
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_DOUBLE);
    FILE *file = tmpfile();
    char text[4096] = "";
    cr_assert(nn_fit(model, &data, &(nn_fit_spec){ .rate = 0.01, .steps = 300, .progress = file }, NULL, NULL) == 0);
    rewind(file);
    size_t used = fread(text, 1, sizeof text - 1, file), lines = 0;
    for (size_t i = 0; i < used; i++)
        lines += text[i] == '\n';
    cr_assert(lines >= 1 && lines <= 10 && strstr(text, "step 300 of 300") && !strchr(text, '\r'), "%s", text);
    fclose(file);
    nn_model_free(model);
    nn_net_free(net);
}

/* ---- resuming ---- */
Test(fit, resumes_bit_for_bit)
{
    samples s = make_samples();
    nn_data data = data_of(&s, NN_CROSS_ENTROPY);
    const char *path = temporary("resume");
    for (int type = AD_FLOAT; type <= AD_DOUBLE; type++)
        for (int kind = NN_SGD; kind < NN_N_OPTIMIZERS; kind++)
            for (long stop = 4; stop <= 11; stop += 7) { /* within an epoch of 4 steps, and at its end */
                nn_net *net = make_net(NN_NTK);
                nn_model *whole = make_model(net, (ad_type)type), *parts = make_model(net, (ad_type)type);
                nn_progress one, two;
                ad_error error = { 0 };
                nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY,
                                     .optimizer = (nn_optimizer)kind,
                                     .rate = 0.01,
                                     .weight_decay = stop == 4 ? 0 : 0.03,
                                     .batch = 6,
                                     .seed = 9,
                                     .steps = 15 };
                cr_assert(nn_fit(whole, &data, &spec, &one, NULL) == 0);
                nn_fit_spec first = spec;
                first.steps = stop;
                first.checkpoint = path;
                cr_assert(nn_fit(parts, &data, &first, NULL, &error) == 0, "%s", error.text);
                nn_model *later = nn_model_new(net, 6, 77, (ad_type)type, 1, NULL);
                spec.resume = path;
                cr_assert(nn_fit(later, &data, &spec, &two, &error) == 0, "%s", error.text);
                size_t bytes = nn_model_size(whole) * (type == AD_FLOAT ? sizeof(float) : sizeof(double));
                cr_assert(memcmp(nn_param_values(whole, 0, NULL), nn_param_values(later, 0, NULL), bytes) == 0);
                cr_assert(memcmp(&one.loss, &two.loss, sizeof one.loss) == 0);
                cr_assert(memcmp(&one.mean_loss, &two.mean_loss, sizeof one.loss) == 0);
                cr_assert(one.step == two.step && one.epoch == two.epoch);
                nn_model_free(whole);
                nn_model_free(parts);
                nn_model_free(later);
                nn_net_free(net);
            }
    remove(path);
}

Test(fit, resuming_another_run_is_refused)
{
    samples s = make_samples(), other = make_samples();
    other.x[7] += 1e-9;
    nn_data data = data_of(&s, NN_CROSS_ENTROPY), changed = data_of(&other, NN_CROSS_ENTROPY);
    const char *path = temporary("another");
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_DOUBLE), *wide = nn_model_new(net, 7, 4, AD_DOUBLE, 1, NULL);
    nn_model *single = make_model(net, AD_FLOAT);
    nn_fit_spec spec = {
        .loss = NN_CROSS_ENTROPY, .optimizer = NN_ADAM, .rate = 0.01, .batch = 6, .steps = 5, .checkpoint = path
    };
    cr_assert(nn_fit(model, &data, &spec, NULL, NULL) == 0);
    spec.checkpoint = NULL;
    spec.resume = path;
    nn_fit_spec faster = spec, larger = spec, plain = spec, seeded = spec, square = spec, decaying = spec, based = spec;
    based.base_width = 6;
    decaying.weight_decay = 0.1;
    faster.rate = 0.02;
    larger.batch = 7;
    plain.optimizer = NN_SGD;
    seeded.seed = 5;
    square.loss = NN_SQUARE;
    const struct {
        nn_model *model;
        const nn_data *data;
        const nn_fit_spec *spec;
        const char *says;
    } wrong[] = {
        { model, &data, &faster, "rate was 0.01" },
        { model, &data, &larger, "batch was 6, now it is 7" },
        { model, &data, &decaying, "weight_decay was not given, now it is 0.1" },
        { model, &data, &based, "base_width was 512, now it is 6" },
        { model, &data, &plain, "optimizer was adam" },
        { model, &data, &seeded, "seed was 0, now it is 5" },
        { model, &data, &square, "loss was cross-entropy" },
        { model, &changed, &spec, "data was" },
        { wide, &data, &spec, "width was 6, now it is 7" },
        { single, &data, &spec, "type was double" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        size_t bytes = nn_model_size(wrong[i].model) * (wrong[i].model == single ? sizeof(float) : sizeof(double));
        void *kept = malloc(bytes);
        memcpy(kept, nn_param_values(wrong[i].model, 0, NULL), bytes);
        cr_assert(nn_fit(wrong[i].model, wrong[i].data, wrong[i].spec, NULL, &error) != 0);
        cr_assert(strstr(error.text, wrong[i].says), "%zu: %s", i, error.text);
        cr_assert(memcmp(kept, nn_param_values(wrong[i].model, 0, NULL), bytes) == 0);
        free(kept);
    }
    remove(path);
    nn_model_free(model);
    nn_model_free(wide);
    nn_model_free(single);
    nn_net_free(net);
}

/* ---- weights in files ---- */
Test(fit, weights_come_back)
{
    const char *path = temporary("weights");
    nn_net *net = make_net(NN_NTK);
    for (int from = AD_FLOAT; from <= AD_DOUBLE; from++)
        for (int to = AD_FLOAT; to <= AD_DOUBLE; to++) {
            nn_model *a = nn_model_new(net, 6, 1, (ad_type)from, 1, NULL),
                     *b = nn_model_new(net, 6, 2, (ad_type)to, 1, NULL);
            ad_error error = { 0 };
            cr_assert(nn_save(a, path, &error) == 0 && nn_load(b, path, &error) == 0, "%s", error.text);
            for (size_t i = 0; i < nn_model_size(a); i++) {
                double x = from == AD_FLOAT ? (double)((float *)nn_param_values(a, 0, NULL))[i]
                                            : ((double *)nn_param_values(a, 0, NULL))[i];
                double y = to == AD_FLOAT ? (double)((float *)nn_param_values(b, 0, NULL))[i]
                                          : ((double *)nn_param_values(b, 0, NULL))[i];
                cr_assert(to == AD_FLOAT ? (float)x == (float)y : memcmp(&x, &y, sizeof x) == 0);
            }
            nn_model_free(a);
            nn_model_free(b);
        }
    remove(path);
    nn_net_free(net);
}

static void write_file(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, count, file) == count);
    fclose(file);
}

/* A file of a header and `data` zero bytes; length 0: the header's own. */
static void write_header(const char *path, const char *header, uint64_t length, size_t data)
{
    char bytes[4096] = { 0 };
    size_t used = strlen(header);
    if (length == 0)
        length = used;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, used);
    write_file(path, bytes, 8 + used + data);
}

/* A network of two numbers: readout.weight (1, 1), readout.bias (1). */
static ad_var tiny(nn_net *net, ad_var x)
{
    return nn_readout_with(net, "readout", x, .bias = true, .sigma_b = 1);
}

Test(fit, damaged_files_are_refused)
{
#define WEIGHT "\"readout.weight\":{\"dtype\":\"F64\",\"shape\":[1,1],\"data_offsets\":[0,8]}"
#define BIAS "\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}"
    static const struct {
        const char *header;
        uint64_t length;
        size_t data;
        const char *says; /* NULL: it is fine */
    } files[] = {
        { "{" WEIGHT "," BIAS "}", 0, 16, NULL },
        { "{\"__metadata__\":{\"a\":\"b\"}," BIAS "," WEIGHT "}   ", 0, 16, NULL },
        { "", 0, 0, "not JSON" },
        { "{" WEIGHT "," BIAS "}", (uint64_t)1 << 62, 16, "not a .safetensors file" },
        { "{" WEIGHT "," BIAS "}", UINT64_MAX, 16, "not a .safetensors file" },
        { "{" WEIGHT "," BIAS "}", 20, 16, "not JSON" },
        { "{" WEIGHT "," BIAS "}", 0, 15, "cut off" },
        { "{" WEIGHT "," BIAS "}", 0, 17, "17 bytes of data" },
        { "{" WEIGHT "," BIAS "}", 0, 24, "24 bytes of data" },
        { "[1,2]", 0, 16, "not JSON" },
        { "{" WEIGHT "}", 0, 8, "no tensor readout.bias" },
        { "{" WEIGHT "," BIAS ",\"more\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[16,20]}}", 0, 20,
          "tensor more is no parameter" },
        { "{" WEIGHT "," WEIGHT "}", 0, 8, "stands twice" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 0, 8,
          "share data" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[16,24]}}", 0, 24,
          "24 bytes of data, the tensors take 16" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[8,16]}}", 0, 16,
          "type F8_E4M3 is not read: write it as F32" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[8,16]}}", 0, 16,
          "shape (4), the network at width 6 has (1)" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[8,16]}}", 0, 16,
          "type U64" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[1,1],\"data_offsets\":[8,16]}}", 0, 16,
          "shape (1, 1), the network at width 6 has (1)" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[8,24]}}", 0, 24,
          "shape (2), the network at width 6 has (1)" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[8,16]}}", 0, 16,
          "8 bytes of data, its shape takes 16" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[-1],\"data_offsets\":[8,16]}}", 0, 16,
          "not a list" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[0.5],\"data_offsets\":[8,16]}}", 0, 16,
          "not a list" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[8,16]}}", 0,
          16, "not a list" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[4294967296,4294967296,4294967296],"
          "\"data_offsets\":[8,16]}}",
          0, 16, "too large" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[8,16]}}",
          0, 16, "not a list" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[16,8]}}", 0, 16, "ordered" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8]}}", 0, 16, "ordered" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":\"F64\",\"shape\":[1]}}", 0, 16, "missing" },
        { "{" WEIGHT ",\"readout.bias\":7}", 0, 16, "missing" },
        { "{" WEIGHT ",\"readout.bias\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[8,16]}}", 0, 16, "missing" },
    };
    const char *path = temporary("damaged");
    nn_net *net = nn_trace(tiny, &(nn_spec){ .features = 1 }, NULL);
    nn_model *model = nn_model_new(net, 6, 1, AD_DOUBLE, 1, NULL);
    double *w = nn_param_values(model, 0, NULL);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ad_error error = { 0 };
        w[0] = 3;
        w[1] = 4;
        write_header(path, files[i].header, files[i].length, files[i].data);
        int failed = nn_load(model, path, &error);
        cr_assert(failed == (files[i].says ? -1 : 0), "%zu: %s", i, error.text);
        cr_assert(!files[i].says || strstr(error.text, files[i].says), "%zu: %s", i, error.text);
        cr_assert((w[0] > 2 && w[1] > 3) == (files[i].says != NULL), "%zu: changed in part", i);
    }
    ad_error error = { 0 };
    write_file(path, "abc", 3);
    cr_assert(nn_load(model, path, &error) != 0 && strstr(error.text, "not a .safetensors file"));
    /* numbers that are not finite, in double and once they are float */
    nn_model *single = nn_model_new(net, 6, 1, AD_FLOAT, 1, NULL);
    double numbers[2] = { 1, NAN };
    nn_tensor tensors[] = {
        { .name = "readout.weight", .dtype = NN_F64, .rank = 2, .shape = { 1, 1 }, .data = numbers },
        { .name = "readout.bias", .dtype = NN_F64, .rank = 1, .shape = { 1 }, .data = numbers + 1 },
    };
    cr_assert(nn_tensors_write(path, tensors, 2, NULL, 0, NULL) == 0);
    error.text[0] = 0;
    cr_assert(nn_load(model, path, &error) != 0 && strstr(error.text, "readout.bias: number 0 is nan"), "%s",
              error.text);
    numbers[1] = 1e200;
    cr_assert(nn_tensors_write(path, tensors, 2, NULL, 0, NULL) == 0);
    cr_assert(nn_load(model, path, NULL) == 0);
    error.text[0] = 0;
    cr_assert(nn_load(single, path, &error) != 0 && strstr(error.text, "1e+200"), "%s", error.text);
    remove(path);
    nn_model_free(model);
    nn_model_free(single);
    nn_net_free(net);
}

/* Every cut of a whole file, and every byte of its header changed, is refused or read; none harms. */
Test(fit, any_damage_is_survived)
{
    const char *path = temporary("cut");
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_FLOAT);
    size_t bytes;
    cr_assert(nn_save(model, path, NULL) == 0);
    char *whole = ad_file_read(path, 1 << 20, &bytes, NULL);
    for (size_t cut = 0; cut < bytes; cut += cut < 700 ? 1 : 97) {
        write_file(path, whole, cut);
        cr_assert(nn_load(model, path, NULL) != 0);
    }
    for (size_t i = 0; i < 600; i++) {
        char kept = whole[i];
        whole[i] = (char)(kept ^ (1 << i % 8));
        write_file(path, whole, bytes);
        nn_load(model, path, NULL);
        whole[i] = kept;
    }
    ad_free(whole);
    remove(path);
    nn_model_free(model);
    nn_net_free(net);
}

Test(fit, a_failed_write_leaves_the_old_file)
{
    const char *path = temporary("old");
    nn_net *net = make_net(NN_NTK);
    nn_model *model = make_model(net, AD_DOUBLE), *other = nn_model_new(net, 6, 8, AD_DOUBLE, 1, NULL);
    cr_assert(nn_save(model, path, NULL) == 0);
    for (long k = 1;; k++) {
        ad_error error = { 0 };
        ad_hook_write(k);
        int failed = nn_save(other, path, &error);
        ad_hook_write(0);
        if (!failed)
            break;
        cr_assert(strstr(error.text, "cannot write"), "%s", error.text);
        nn_model *back = nn_model_new(net, 6, 9, AD_DOUBLE, 1, NULL);
        cr_assert(nn_load(back, path, NULL) == 0);
        cr_assert(memcmp(nn_param_values(back, 0, NULL), nn_param_values(model, 0, NULL),
                         nn_model_size(model) * sizeof(double)) == 0);
        nn_model_free(back);
        cr_assert(k < 100);
    }
    remove(path);
    nn_model_free(model);
    nn_model_free(other);
    nn_net_free(net);
}

Test(fit, survives_every_failed_allocation)
{
    samples s = make_samples();
    nn_data data = data_of(&s, NN_CROSS_ENTROPY);
    const char *path = temporary("memory");
    for (long fail = 1, done = 0; !done; fail++) {
        nn_net *net = make_net(NN_NTK);
        nn_model *model = make_model(net, AD_FLOAT);
        ad_error error = { 0 };
        nn_fit_spec spec = {
            .loss = NN_CROSS_ENTROPY, .optimizer = NN_ADAM, .steps = 3, .batch = 8, .checkpoint = path
        };
        ad_hook_allocation(fail);
        int failed = nn_fit(model, &data, &spec, NULL, &error);
        ad_hook_allocation(0);
        done = !failed;
        cr_assert(!failed || error.text[0]);
        cr_assert(fail < 1000);
        nn_model_free(model);
        nn_net_free(net);
    }
    remove(path);
}
