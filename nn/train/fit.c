/* fit.c: training: batches, steps, and where a fit stands. A step allocates nothing. */
#include "nn/network/network.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct nn_trainer {
    nn_model *model;
    const nn_traced_loss *traced;
    ad_plan *plan;
    nn_rule *rule;
    size_t rows; /* capacity */
    double rate;
};

static double preset(double value, double otherwise)
{
    return fabs(value) > 0 ? value : otherwise;
}

/* Fills in the defaults; refuses what cannot train. */
static int settle(nn_fit_spec *spec, ad_error *error)
{
    static const double rates[] = { [NN_SGD] = 1, [NN_MOMENTUM] = 0.1, [NN_ADAM] = 1e-3 };
    spec->rate = preset(spec->rate, rates[spec->optimizer]);
    spec->momentum = preset(spec->momentum, 0.9);
    spec->beta1 = preset(spec->beta1, 0.9);
    spec->beta2 = preset(spec->beta2, 0.999);
    spec->epsilon = preset(spec->epsilon, 1e-8);
    if (!(spec->rate > 0) || !isfinite(spec->rate))
        return ad_fail(error, "fit: rate %g is not positive", spec->rate);
    if (!(spec->momentum >= 0 && spec->momentum < 1))
        return ad_fail(error, "fit: momentum %g is not from 0 to 1", spec->momentum);
    if (!(spec->beta1 >= 0 && spec->beta1 < 1 && spec->beta2 >= 0 && spec->beta2 < 1 && spec->epsilon > 0))
        return ad_fail(error, "fit: Adam's beta1 %g, beta2 %g are not from 0 to 1, or epsilon %g is not positive",
                       spec->beta1, spec->beta2, spec->epsilon);
    return 0;
}

nn_trainer *nn_trainer_new(nn_model *model, const nn_fit_spec *fit_spec, size_t batch, ad_error *error)
{
    nn_fit_spec spec = *fit_spec;
    const nn_net *net = model->net;
    int n_params = net->n_params, n_outputs = 1;
    nn_trainer *trainer = ad_alloc(1, sizeof *trainer, "a trainer", error);
    ad_var *outputs = ad_alloc((size_t)(n_params + net->n_statistics) + 1, sizeof *outputs, "a trainer", error);
    int *gradients = ad_alloc((size_t)n_params + 1, sizeof *gradients, "a trainer", error);
    bool done = false;
    if (!trainer || !outputs || !gradients || settle(&spec, error) != 0)
        goto end;
    *trainer = (nn_trainer){ .model = model, .rows = batch, .rate = spec.rate };
    if (!(trainer->traced = nn_trace_loss(net, spec.loss, error)))
        goto end;
    outputs[0] = trainer->traced->loss;
    n_outputs += nn_norm_outputs(net, false, outputs + n_outputs);
    for (int k = 0; k < n_params; k++) {
        gradients[k] = trainer->traced->gradients[k].id < 0 ? -1 : n_outputs;
        if (gradients[k] >= 0)
            outputs[n_outputs++] = trainer->traced->gradients[k];
    }
    if (!(trainer->rule = nn_rule_new(model, &spec, gradients, error)))
        goto end;
    ad_plan_spec plan = { .type = model->type,
                          .threads = model->threads,
                          .capacity = nn_sizes(model, batch),
                          .updates = nn_rule_updates(trainer->rule) };
    if (!(trainer->plan = ad_plan_new(outputs, n_outputs, &plan, error)))
        goto end;
    nn_bind_params(model, trainer->plan);
    done = true;
end:
    ad_free(outputs);
    ad_free(gradients);
    if (!done)
        nn_trainer_free(trainer);
    return done ? trainer : NULL;
}

void nn_trainer_free(nn_trainer *trainer)
{
    if (!trainer)
        return;
    ad_plan_free(trainer->plan);
    nn_rule_free(trainer->rule);
    ad_free(trainer);
}

nn_rule *nn_trainer_rule(nn_trainer *trainer)
{
    return trainer->rule;
}

int nn_trainer_step(nn_trainer *trainer, const void *x, const void *y, size_t rows, double *loss, ad_error *error)
{
    nn_model *model = trainer->model;
    if (rows == 0 || rows > trainer->rows)
        return ad_fail(error, "fit: a batch of %zu rows, the trainer was made for %zu", rows, trainer->rows);
    if (nn_norm_check_rows(model, rows, error) != 0)
        return -1;
    ad_sizes sizes = nn_sizes(model, rows);
    ad_bind(trainer->plan, model->net->input, x);
    ad_bind(trainer->plan, trainer->traced->target, y);
    if (ad_run(trainer->plan, &sizes, error) != 0 || nn_norm_check(model, trainer->plan, 1, rows, error) != 0)
        return -1;
    *loss = nn_value(ad_output(trainer->plan, 0), 0, model->type);
    long step = *nn_rule_time(trainer->rule) + 1;
    if (!isfinite(*loss))
        return ad_fail(error, "loss is not finite at step %ld (rate %g): lower --rate", step, trainer->rate);
    nn_norm_update(model, trainer->plan, 1, rows);
    nn_rule_step(trainer->rule, trainer->plan, model->values);
    return 0;
}

/* ---- batches ---- */
/* A data set in the model's type, and the order of its rows in one epoch. */
typedef struct {
    const void *x;   /* (rows, features) */
    void *own_x, *y; /* own_x: x where it had to be converted; y: (rows, columns) */
    size_t rows, features, columns, batch, per_epoch, bytes;
    bool shuffled;
    size_t *order;
    long order_epoch; /* -1: none yet */
    void *batch_x, *batch_y;
    uint64_t seed;
} feed;

static void feed_free(feed *f)
{
    ad_free(f->own_x);
    ad_free(f->y);
    ad_free(f->order);
    ad_free(f->batch_x);
    ad_free(f->batch_y);
}

static int feed_open(feed *f, const nn_model *model, const nn_data *data, const nn_fit_spec *spec, ad_error *error)
{
    size_t bad = 0, rows = data->rows, features = nn_features(model->net);
    *f = (feed){
        .rows = rows, .features = features, .bytes = nn_bytes(model->type), .order_epoch = -1, .seed = spec->seed
    };
    if (nn_check_data(model->net, data, spec->loss, error) != 0)
        return -1;
    if (!(f->y = nn_targets(model, data, spec->loss, &f->columns, error)) ||
        !(f->own_x = ad_alloc(rows * features, f->bytes, "inputs", error)))
        return -1;
    f->x = f->own_x;
    if (!nn_convert(data->x, rows * features, model->type, f->own_x, &bad))
        return ad_fail(error, "x: row %zu holds a number that is not finite", bad / features);
    f->batch = spec->batch == 0 || spec->batch > rows ? rows : spec->batch;
    f->per_epoch = (rows + f->batch - 1) / f->batch;
    f->shuffled = f->batch < rows;
    if (f->shuffled && (!(f->order = ad_alloc(rows, sizeof *f->order, "the order of rows", error)) ||
                        !(f->batch_x = ad_alloc(f->batch * features, f->bytes, "a batch", error)) ||
                        !(f->batch_y = ad_alloc(f->batch * f->columns, f->bytes, "a batch", error))))
        return -1;
    return 0;
}

/* Fisher and Yates; the permutation is a function of seed and epoch alone. */
static void shuffle(feed *f, long epoch)
{
    enum { DRAWS = 512 };
    double u[DRAWS];
    uint64_t stream = ad_stream("shuffle") ^ (uint64_t)epoch << 1;
    for (size_t i = 0; i < f->rows; i++)
        f->order[i] = i;
    for (size_t i = f->rows - 1, drawn = 0; i > 0; i--, drawn++) {
        if (drawn % DRAWS == 0)
            ad_uniform(f->seed, stream, drawn, DRAWS, u);
        size_t k = (size_t)(u[drawn % DRAWS] * (double)(i + 1)), swap = f->order[i];
        f->order[i] = f->order[k];
        f->order[k] = swap;
    }
    f->order_epoch = epoch;
}

/* The batch of a step: its rows, and how many. */
static size_t feed_batch(feed *f, long step, const void **x, const void **y)
{
    long epoch = step / (long)f->per_epoch;
    size_t first = (size_t)(step % (long)f->per_epoch) * f->batch;
    size_t count = f->rows - first < f->batch ? f->rows - first : f->batch;
    *x = f->x;
    *y = f->y;
    if (!f->shuffled)
        return count;
    if (f->order_epoch != epoch)
        shuffle(f, epoch);
    size_t wide = f->features * f->bytes, narrow = f->columns * f->bytes;
    for (size_t i = 0; i < count; i++) {
        size_t row = f->order[first + i];
        memcpy((char *)f->batch_x + i * wide, (const char *)f->x + row * wide, wide);
        memcpy((char *)f->batch_y + i * narrow, (const char *)f->y + row * narrow, narrow);
    }
    *x = f->batch_x;
    *y = f->batch_y;
    return count;
}

/* ---- the whole fit ---- */
enum { MARKS = 16 };

static uint64_t hash(uint64_t seed, const double *data, size_t count)
{
    const unsigned char *bytes = (const unsigned char *)data;
    for (size_t i = 0; i < count * sizeof *data; i++)
        seed = (seed ^ bytes[i]) * 0x100000001b3u;
    return seed;
}

/* What must be the same for a resumed fit to go on as if it had not stopped. */
static int make_marks(nn_mark *marks, const nn_model *model, const nn_data *data, const nn_fit_spec *spec, size_t batch)
{
    static const char *const losses[] = { "square", "cross-entropy" }, *const rules[] = { "sgd", "momentum", "adam" };
    int n = 0;
#define MARK(name, ...)                                                                                                \
    marks[n].key = name;                                                                                               \
    ad_snprintf(marks[n++].value, sizeof marks->value, __VA_ARGS__)
    MARK("network", "%.60s", nn_title(model->net));
    MARK("width", "%zu", model->n);
    MARK("type", "%s", model->type == AD_FLOAT ? "float" : "double");
    MARK("loss", "%s", losses[spec->loss]);
    MARK("optimizer", "%s", rules[spec->optimizer]);
    MARK("rate", "%.17g", spec->rate);
    if (spec->optimizer == NN_MOMENTUM) {
        MARK("momentum", "%.17g", spec->momentum);
    }
    if (spec->optimizer == NN_ADAM) {
        MARK("beta1", "%.17g", spec->beta1);
        MARK("beta2", "%.17g", spec->beta2);
        MARK("epsilon", "%.17g", spec->epsilon);
    }
    MARK("batch", "%zu", batch);
    MARK("rows", "%zu", data->rows);
    MARK("seed", "%" PRIu64, spec->seed);
    size_t columns = data->classes ? 1 : nn_n_outputs(model->net);
    uint64_t sum = hash(0xcbf29ce484222325u, data->x, data->rows * nn_features(model->net));
    MARK("data", "%016" PRIx64, hash(sum, data->y, data->rows * columns));
#undef MARK
    return n;
}

static long count_steps(const nn_fit_spec *spec, size_t per_epoch)
{
    double steps = spec->steps > 0 ? (double)spec->steps : ceil(spec->epochs * (double)per_epoch);
    return steps >= 1 && steps < 1e15 ? (long)steps : 0;
}

int nn_fit(nn_model *model, const nn_data *data, const nn_fit_spec *fit_spec, nn_progress *last, ad_error *error)
{
    nn_fit_spec spec = *fit_spec;
    feed f = { 0 };
    nn_trainer *trainer = NULL;
    nn_watch *watch = NULL;
    nn_mark marks[MARKS];
    nn_progress progress = { 0 };
    nn_position at = { 0 };
    nn_bar bar = nn_bar_new(spec.progress);
    int failed = -1, n_marks = 0;
    double start = ad_seconds();
    if (settle(&spec, error) != 0 || feed_open(&f, model, data, &spec, error) != 0)
        goto done;
    progress.steps = count_steps(&spec, f.per_epoch);
    if (progress.steps == 0) {
        ad_fail(error, "fit: neither steps (%ld) nor epochs (%g) is positive", spec.steps, spec.epochs);
        goto done;
    }
    if (!(trainer = nn_trainer_new(model, &spec, f.batch, error)))
        goto done;
    if (spec.checkpoint || spec.resume)
        n_marks = make_marks(marks, model, data, &spec, f.batch);
    if (spec.drift && !(watch = nn_watch_new(model, &spec, progress.steps, f.per_epoch, error)))
        goto done;
    if (spec.resume && nn_checkpoint_read(spec.resume, model, trainer->rule, marks, n_marks, &at, error) != 0)
        goto done;
    if (watch && nn_watch_begin(watch, spec.resume != NULL, (long)at.step, error) != 0)
        goto done;

    failed = 0;
    long first = (long)at.step;
    bool stop = false, saved = false;
    progress.step = first;
    progress.loss = at.loss;
    while (progress.step < progress.steps && !stop && !failed) {
        const void *x, *y;
        long step = progress.step;
        size_t rows = feed_batch(&f, step, &x, &y);
        if (step % (long)f.per_epoch == 0) {
            at.epoch_loss = 0;
            at.epoch_rows = 0;
        }
        if (nn_trainer_step(trainer, x, y, rows, &at.loss, error) != 0) {
            failed = -1;
            break;
        }
        at.step = (uint64_t)step + 1;
        at.epoch_loss += at.loss * (double)rows;
        at.epoch_rows += rows;
        progress.step = step + 1;
        progress.epoch = step / (long)f.per_epoch;
        progress.loss = at.loss;
        progress.mean_loss = at.epoch_loss / (double)at.epoch_rows;
        progress.seconds = ad_seconds() - start;
        if (watch && nn_watch_step(watch, &progress, error) != 0) {
            failed = -1;
            break;
        }
        progress.seconds = ad_seconds() - start;
        bool is_last = progress.step == progress.steps;
        if (spec.callback && (is_last || (spec.every > 0 && progress.step % spec.every == 0)))
            stop = spec.callback(&progress, model, spec.context) != 0;
        nn_bar_show(&bar, &progress, first, is_last || stop);
        saved = false;
        if (spec.checkpoint &&
            (is_last || stop || (spec.checkpoint_every > 0 && progress.step % spec.checkpoint_every == 0))) {
            failed = watch && nn_watch_sync(watch, error) != 0
                         ? -1
                         : nn_checkpoint_write(spec.checkpoint, model, trainer->rule, marks, n_marks, &at, error);
            saved = true;
        }
    }
    if (failed)
        nn_bar_break(&bar);
    else if (spec.checkpoint && !saved) /* nothing was left to do */
        failed = nn_checkpoint_write(spec.checkpoint, model, trainer->rule, marks, n_marks, &at, error);
    if (at.epoch_rows)
        progress.mean_loss = at.epoch_loss / (double)at.epoch_rows;
done:
    if (last)
        *last = progress;
    nn_watch_free(watch);
    nn_trainer_free(trainer);
    feed_free(&f);
    return failed;
}

int nn_evaluate(nn_model *model, const nn_data *data, nn_loss loss, double *mean_loss, double *accuracy,
                ad_error *error)
{
    size_t outputs = nn_n_outputs(model->net);
    double mean = 0, share = 0;
    if (nn_check_data(model->net, data, loss, error) != 0)
        return -1;
    double *f = ad_alloc(data->rows * outputs, sizeof *f, "outputs", error);
    double *one_hot = ad_alloc(outputs, sizeof *one_hot, "a target", error);
    int failed = !f || !one_hot || nn_forward(model, data->x, data->rows, f, error) != 0 ? -1 : 0;
    if (!failed)
        nn_score(loss, f, data, outputs, one_hot, &mean, &share);
    if (!failed && mean_loss)
        *mean_loss = mean;
    if (!failed && accuracy)
        *accuracy = share;
    ad_free(f);
    ad_free(one_hot);
    return failed;
}
