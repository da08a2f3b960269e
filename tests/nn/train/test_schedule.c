/* What a fit does beside its optimizer: schedules of the rate, clipped gradients, smoothed labels, a validation part;
 * each against the same in plain steps. */
#include "nn/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEATURES = 5, OUTPUTS = 3, ROWS = 22, HELD = 9 };

typedef struct {
    double x[ROWS * FEATURES], labels[ROWS];
} samples;

static samples make_samples(void)
{
    samples s;
    for (int i = 0; i < ROWS * FEATURES; i++)
        s.x[i] = sin(0.3 + 1.7 * i + 0.01 * i * i);
    for (int i = 0; i < ROWS; i++)
        s.labels[i] = (i * 7 + 1) % OUTPUTS;
    return s;
}

static nn_data rows_of(const samples *s, size_t first, size_t count)
{
    return (nn_data){ .x = s->x + first * FEATURES, .y = s->labels + first, .rows = count, .classes = OUTPUTS };
}

static nn_net *make_net(void)
{
    static const char *const settings[] = { "depth=2", "phi=tanh", "sigma_b=0.2", NULL };
    ad_error error = { 0 };
    nn_net *net =
        nn_trace(nn_builtin("mlp"),
                 &(nn_spec){ .features = FEATURES, .outputs = OUTPUTS, .settings = settings, .name = "mlp" }, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static nn_model *make_model(const nn_net *net)
{
    return nn_model_new(net, 6, 4, AD_DOUBLE, 1, NULL);
}

static double *weights_of(nn_model *model)
{
    return nn_param_values(model, 0, NULL);
}

static void assert_near(nn_model *one, nn_model *two, double tolerance, const char *what)
{
    for (size_t i = 0; i < nn_model_size(one); i++)
        cr_assert_float_eq(weights_of(one)[i], weights_of(two)[i], tolerance, "%s, %zu: %.15g, not %.15g", what, i,
                           weights_of(one)[i], weights_of(two)[i]);
}

/* ---- schedules ---- */
/* The factor of step t of `steps`, an epoch each, with 3 of warm-up. */
static double factor_at(nn_rate_schedule schedule, int t, int steps, double least)
{
    if (t < 3)
        return (t + 1) / 4.;
    double factor = 1;
    if (schedule == NN_RATE_STEP)
        for (int k = 3 + 4; k <= t; k += 4)
            factor *= 0.3;
    if (schedule == NN_RATE_COSINE)
        factor = least + (1 - least) * (1 + cos(3.14159265358979323846 * (t - 3) / (steps - 3))) / 2;
    return factor;
}

/* The weights after a fit, which are the caller's to free with the model. */
static nn_model *fitted(const nn_net *net, const nn_data *data, const nn_fit_spec *spec, nn_progress *last)
{
    ad_error error = { 0 };
    nn_model *model = make_model(net);
    cr_assert(nn_fit(model, data, spec, last, &error) == 0, "%s", error.text);
    return model;
}

/* A fit with a schedule is steps of a trainer, each with its own rate; and so are steps of a fit with that rate. */
Test(schedule, rates_are_those_of_plain_steps)
{
    enum { STEPS = 14 };
    samples s = make_samples();
    nn_data data = rows_of(&s, 0, ROWS);
    nn_net *net = make_net();
    for (int schedule = NN_RATE_CONSTANT; schedule <= NN_RATE_COSINE; schedule++)
        for (int kind = NN_SGD; kind <= NN_ADAM; kind++) {
            nn_fit_spec plain = { .loss = NN_CROSS_ENTROPY, .optimizer = (nn_optimizer)kind, .rate = 0.2 },
                        spec = plain;
            spec.steps = STEPS;
            spec.schedule = (nn_rate_schedule)schedule;
            spec.step_size = schedule == NN_RATE_STEP ? 4 : 0;
            spec.gamma = 0.3;
            spec.rate_min = schedule == NN_RATE_COSINE ? 0.05 : 0;
            spec.warm_up = 3;
            nn_model *model = fitted(net, &data, &spec, NULL), *steps = make_model(net), *fits = make_model(net);
            nn_trainer *trainer = nn_trainer_new(steps, &plain, ROWS, NULL);
            for (int t = 0; t < STEPS; t++) {
                double loss, factor = factor_at((nn_rate_schedule)schedule, t, STEPS, 0.25);
                nn_trainer_scale_rate(trainer, factor);
                cr_assert(nn_trainer_step(trainer, s.x, s.labels, ROWS, &loss, NULL) == 0);
                nn_fit_spec one = plain;
                one.rate = 0.2 * factor;
                one.steps = 1;
                cr_assert(kind != NN_SGD || nn_fit(fits, &data, &one, NULL, NULL) == 0);
            }
            assert_near(model, steps, 1e-13, "a trainer's steps");
            if (kind == NN_SGD)
                assert_near(model, fits, 1e-13, "fits of a step");
            nn_trainer_free(trainer);
            nn_model_free(model);
            nn_model_free(steps);
            nn_model_free(fits);
        }
    nn_net_free(net);
}

/* In batches a step size counts epochs. */
Test(schedule, a_step_size_is_in_epochs)
{
    samples s = make_samples();
    nn_data data = rows_of(&s, 0, ROWS);
    nn_net *net = make_net();
    nn_fit_spec spec = {
        .loss = NN_CROSS_ENTROPY, .rate = 0.2, .batch = 6, .epochs = 2, .schedule = NN_RATE_STEP, .step_size = 1
    };
    spec.gamma = 1e-300; /* the second epoch moves nothing */
    nn_fit_spec first = { .loss = NN_CROSS_ENTROPY, .rate = 0.2, .batch = 6, .epochs = 1 };
    nn_model *both = fitted(net, &data, &spec, NULL), *one = fitted(net, &data, &first, NULL);
    assert_near(both, one, 1e-15, "one epoch");
    nn_model_free(both);
    nn_model_free(one);
    nn_net_free(net);
}

/* ---- gradients ---- */
/* The gradient of the loss, which is what a step of gradient descent at rate 1 takes off. */
static double *gradient_of(const nn_net *net, const nn_data *data, double *norm)
{
    nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY, .rate = 1, .steps = 1 };
    nn_model *before = make_model(net), *after = fitted(net, data, &spec, NULL);
    double *g = calloc(nn_model_size(before), sizeof *g);
    *norm = 0;
    for (size_t i = 0; i < nn_model_size(before); i++) {
        g[i] = weights_of(before)[i] - weights_of(after)[i];
        *norm += g[i] * g[i];
    }
    *norm = sqrt(*norm);
    nn_model_free(before);
    nn_model_free(after);
    return g;
}

/* Below the norm gradients shrink by clip / (norm + 1e-6), before the decay; above it nothing changes. */
Test(schedule, gradients_are_clipped_by_their_norm)
{
    samples s = make_samples();
    nn_data data = rows_of(&s, 0, ROWS);
    nn_net *net = make_net();
    double norm, *g = gradient_of(net, &data, &norm);
    for (int kind = NN_SGD; kind < NN_N_OPTIMIZERS; kind++)
        for (int tight = 0; tight < 2; tight++) {
            nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY,
                                 .optimizer = (nn_optimizer)kind,
                                 .rate = 0.3,
                                 .weight_decay = 0.07,
                                 .epsilon = 0.01,
                                 .steps = 1,
                                 .base_width = 6 };
            nn_fit_spec clipped = spec;
            clipped.clip = tight ? 0.3 * norm : 1.01 * norm;
            nn_model *start = make_model(net), *free_one = fitted(net, &data, &spec, NULL),
                     *model = fitted(net, &data, &clipped, NULL);
            double shrink = tight ? clipped.clip / (norm + 1e-6) : 1;
            for (size_t i = 0; i < nn_model_size(model); i++) {
                double w = weights_of(start)[i], c = shrink * g[i], d = 0.07 * w, want = 0;
                switch (kind) {
                case NN_ADAM:
                    want = w - 0.3 * (c + d) / (fabs(c + d) + 0.01);
                    break;
                case NN_ADAMW:
                    want = w - 0.3 * d - 0.3 * c / (fabs(c) + 0.01);
                    break;
                case NN_RMSPROP:
                    want = w - 0.3 * (c + d) / (0.1 * fabs(c + d) + 0.01);
                    break;
                default:
                    want = w - 0.3 * (c + d);
                }
                cr_assert_float_eq(weights_of(model)[i], want, 1e-12, "%s, %zu", nn_optimizer_name((nn_optimizer)kind),
                                   i);
                cr_assert(tight || fabs(weights_of(model)[i] - weights_of(free_one)[i]) < 1e-14);
            }
            nn_model_free(start);
            nn_model_free(free_one);
            nn_model_free(model);
        }
    free(g);
    nn_net_free(net);
}

/* The gradient is linear in the targets: (1 - s) that of the labels, and s / outputs of each class for all rows. */
Test(schedule, smoothed_labels_are_a_mean_of_labels)
{
    const double smoothing = 0.3;
    samples s = make_samples(), other = s;
    nn_data data = rows_of(&s, 0, ROWS);
    nn_net *net = make_net();
    double norm, *want = gradient_of(net, &data, &norm);
    size_t count = 0;
    nn_model *start = make_model(net);
    count = nn_model_size(start);
    for (size_t i = 0; i < count; i++)
        want[i] *= 1 - smoothing;
    for (int class = 0; class < OUTPUTS; class ++) {
        for (int i = 0; i < ROWS; i++)
            other.labels[i] = class;
        nn_data all = rows_of(&other, 0, ROWS);
        double *g = gradient_of(net, &all, &norm);
        for (size_t i = 0; i < count; i++)
            want[i] += smoothing / OUTPUTS * g[i];
        free(g);
    }
    nn_progress last;
    nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY, .rate = 1, .steps = 1, .label_smoothing = smoothing };
    nn_model *model = fitted(net, &data, &spec, &last);
    double plain;
    cr_assert(nn_evaluate(start, &data, NN_CROSS_ENTROPY, &plain, NULL, NULL) == 0);
    cr_assert(fabs(last.loss - plain) > 1e-3);
    for (size_t i = 0; i < count; i++)
        cr_assert_float_eq(weights_of(start)[i] - weights_of(model)[i], want[i], 1e-12);
    free(want);
    nn_model_free(start);
    nn_model_free(model);
    nn_net_free(net);
}

/* ---- a validation part ---- */
enum { EPOCHS = 40 };
typedef struct {
    const nn_data *held;
    double losses[EPOCHS], *weights[EPOCHS];
    long calls, stop_at;
} watch;

static int watch_epoch(const nn_progress *progress, nn_model *model, void *context)
{
    watch *w = context;
    if (w->held) {
        cr_assert(nn_evaluate(model, w->held, NN_CROSS_ENTROPY, &w->losses[w->calls], NULL, NULL) == 0);
        w->weights[w->calls] = malloc(nn_model_size(model) * sizeof(double));
        memcpy(w->weights[w->calls], weights_of(model), nn_model_size(model) * sizeof(double));
    }
    w->calls++;
    return progress->step == w->stop_at;
}

/* The fit on its own shows every epoch's loss and weights; with patience it ends where they say, with the best. */
Test(schedule, patience_ends_with_the_best_weights)
{
    samples s = make_samples();
    nn_data data = rows_of(&s, 0, ROWS - HELD), held = rows_of(&s, ROWS - HELD, HELD);
    nn_net *net = make_net();
    watch w = { .held = &held };
    nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY,
                         .optimizer = NN_ADAM,
                         .rate = 0.02,
                         .batch = 5,
                         .epochs = EPOCHS,
                         .every = 3,
                         .callback = watch_epoch,
                         .context = &w };
    nn_model_free(fitted(net, &data, &spec, NULL));
    cr_assert(w.calls == EPOCHS);
    spec.every = 0;
    spec.validation = &held;
    spec.context = &(watch){ 0 };
    int ended = 0;
    for (long patience = 0; patience < 4; patience++) {
        long best = 0, epoch = 0;
        for (epoch = 0; epoch < EPOCHS; epoch++) {
            best = w.losses[epoch] < w.losses[best] ? epoch : best;
            if (patience && epoch - best >= patience) {
                ended++;
                epoch++;
                break;
            }
        }
        nn_progress last;
        char path[300];
        snprintf(path, sizeof path, "/tmp/limn-%ld-best", (long)getpid());
        spec.patience = patience;
        spec.best = path;
        nn_model *model = fitted(net, &data, &spec, &last), *file = make_model(net);
        cr_assert(last.step == 3 * epoch && last.best_step == 3 * (best + 1), "patience %ld: %ld, %ld, not %ld, %ld",
                  patience, last.step, last.best_step, 3 * epoch, 3 * (best + 1));
        cr_assert(fabs(last.best_loss - w.losses[best]) <= 0 && fabs(last.validation_loss - w.losses[epoch - 1]) <= 0);
        cr_assert(memcmp(weights_of(model), w.weights[best], nn_model_size(model) * sizeof(double)) == 0);
        cr_assert(nn_load(file, path, NULL) == 0);
        cr_assert(memcmp(weights_of(file), w.weights[best], nn_model_size(model) * sizeof(double)) == 0);
        remove(path);
        nn_model_free(model);
        nn_model_free(file);
    }
    cr_assert(ended >= 2); /* else nothing was asked */
    for (int k = 0; k < EPOCHS; k++)
        free(w.weights[k]);
    nn_net_free(net);
}

/* Stopped anywhere and resumed, a fit with all of these is the one that was not stopped, bit for bit. */
Test(schedule, resumes_bit_for_bit)
{
    samples s = make_samples();
    nn_data data = rows_of(&s, 0, ROWS - HELD), held = rows_of(&s, ROWS - HELD, HELD);
    nn_net *net = make_net();
    char path[300];
    snprintf(path, sizeof path, "/tmp/limn-%ld-stopped", (long)getpid());
    for (int kind = NN_SGD; kind < NN_N_OPTIMIZERS; kind++)
        for (long stop = 2; stop < 60; stop += 13) {
            watch w = { .stop_at = -1 };
            nn_progress one, two;
            nn_fit_spec spec = { .loss = NN_CROSS_ENTROPY,
                                 .optimizer = (nn_optimizer)kind,
                                 .rate = 0.03,
                                 .batch = 5,
                                 .epochs = 20,
                                 .seed = 3,
                                 .every = 1,
                                 .callback = watch_epoch,
                                 .context = &w,
                                 .schedule = NN_RATE_COSINE,
                                 .warm_up = 7,
                                 .clip = 0.4,
                                 .label_smoothing = 0.1,
                                 .validation = &held,
                                 .patience = 9 };
            nn_model *whole = fitted(net, &data, &spec, &one);
            w.stop_at = stop;
            spec.checkpoint = path;
            nn_model_free(fitted(net, &data, &spec, NULL));
            w.stop_at = -1;
            spec.checkpoint = NULL;
            spec.resume = path;
            nn_model *later = nn_model_new(net, 6, 77, AD_DOUBLE, 1, NULL);
            ad_error error = { 0 };
            cr_assert(nn_fit(later, &data, &spec, &two, &error) == 0, "%s", error.text);
            cr_assert(one.step == two.step && one.best_step == two.best_step);
            cr_assert(memcmp(&one.best_loss, &two.best_loss, sizeof one.best_loss) == 0);
            cr_assert(memcmp(weights_of(whole), weights_of(later), nn_model_size(whole) * sizeof(double)) == 0);
            spec.clip = 0.5;
            cr_assert(nn_fit(later, &data, &spec, NULL, &error) != 0);
            cr_assert(strstr(error.text, "clip was 0.4"), "%s", error.text);
            nn_model_free(whole);
            nn_model_free(later);
        }
    remove(path);
    nn_net_free(net);
}

Test(schedule, wrong_requests_are_refused)
{
    samples s = make_samples();
    nn_data data = rows_of(&s, 0, ROWS), none = { .classes = OUTPUTS };
    nn_net *net = make_net();
    nn_model *model = make_model(net);
    const struct {
        nn_fit_spec spec;
        const char *says;
    } wrong[] = {
        { { .schedule = NN_RATE_STEP, .steps = 1 }, "a step size of 0 epochs" },
        { { .step_size = 1, .steps = 1 }, "a step size of 1 epochs" },
        { { .schedule = NN_RATE_STEP, .step_size = 1, .gamma = -1, .steps = 1 }, "gamma -1" },
        { { .rate_min = 0.1, .steps = 1 }, "a smallest rate of 0.1" },
        { { .schedule = NN_RATE_COSINE, .rate = 0.1, .rate_min = 0.2, .steps = 1 }, "from 0 to the rate 0.1" },
        { { .warm_up = -1, .steps = 1 }, "-1 steps of warm-up" },
        { { .clip = -1, .steps = 1 }, "a norm of -1" },
        { { .clip = NAN, .steps = 1 }, "a norm of nan" },
        { { .loss = NN_CROSS_ENTROPY, .label_smoothing = 1, .steps = 1 }, "label smoothing 1" },
        { { .label_smoothing = 0.1, .steps = 1 }, "label smoothing is cross-entropy's" },
        { { .patience = 2, .steps = 1 }, "without validation data" },
        { { .best = "x", .steps = 1 }, "without validation data" },
        { { .patience = -2, .steps = 1 }, "a patience of -2" },
        { { .validation = &none, .steps = 1 }, "data: no rows" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        cr_assert(nn_fit(model, &data, &wrong[i].spec, NULL, &error) != 0, "%zu", i);
        cr_assert(strstr(error.text, wrong[i].says), "%zu: %s", i, error.text);
    }
    nn_model_free(model);
    nn_net_free(net);
}
