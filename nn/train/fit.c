/* fit.c: the whole fit: steps, and between them what watches, reports and saves. A step allocates nothing. */
#include "nn/train/train.h"

#include "autodiff/base/base.h"

#include <math.h>

typedef struct {
    nn_model *model;
    nn_fit_spec spec; /* with its defaults filled in */
    nn_feed feed;
    nn_trainer *trainer;
    nn_watch *watch;
    nn_best best;
    nn_mark marks[NN_MAX_MARKS];
    int n_marks;
    nn_progress progress;
    nn_position at;
    nn_bar bar;
    long first; /* the step it goes on from */
    double start;
    bool stopped, saved; /* by the callback; since the last step */
} nn_fitting;

long nn_fit_steps(const nn_fit_spec *spec, size_t per_epoch)
{
    double steps = spec->steps > 0 ? (double)spec->steps : ceil(spec->epochs * (double)per_epoch);
    return steps >= 1 && steps < 1e15 ? (long)steps : 0;
}

static nn_fit_state state_of(nn_fitting *f)
{
    return (nn_fit_state){ .model = f->model,
                           .rule = nn_trainer_rule(f->trainer),
                           .best = &f->best,
                           .position = &f->at,
                           .marks = f->marks,
                           .n_marks = f->n_marks };
}

static void tell_best(nn_fitting *f)
{
    f->progress.validation_loss = f->best.last;
    f->progress.best_loss = f->best.step ? f->best.loss : (double)NAN;
    f->progress.best_step = (long)f->best.step;
}

/* Drift is measured of the network as it was drawn, and so before a checkpoint is read. */
static int open_fit(nn_fitting *f, const nn_data *data, ad_error *error)
{
    nn_fit_spec *spec = &f->spec;
    if (nn_rule_settle(spec, error) != 0 ||
        nn_feed_open(&f->feed, f->model->net, f->model->type, data, spec, error) != 0)
        return -1;
    f->progress.steps = nn_fit_steps(spec, f->feed.per_epoch);
    if (f->progress.steps == 0)
        return ad_fail(error, "fit: neither steps (%ld) nor epochs (%g) is positive", spec->steps, spec->epochs);
    if (!(f->trainer = nn_trainer_new(f->model, spec, f->feed.batch, error)))
        return -1;
    if (spec->checkpoint || spec->resume)
        f->n_marks = nn_make_marks(f->marks, f->model, data, spec, f->feed.batch, f->progress.steps);
    if (spec->drift && !(f->watch = nn_watch_new(f->model, spec, f->progress.steps, f->feed.per_epoch, error)))
        return -1;
    if (nn_best_open(&f->best, f->model, spec, error) != 0)
        return -1;
    nn_fit_state state = state_of(f);
    if (spec->resume && nn_checkpoint_read(spec->resume, &state, error) != 0)
        return -1;
    f->first = f->progress.step = (long)f->at.step;
    f->progress.loss = f->at.loss;
    tell_best(f);
    f->stopped = nn_best_is_over(&f->best, spec);
    return f->watch ? nn_watch_begin(f->watch, spec->resume != NULL, f->first, error) : 0;
}

/* One step, and where the fit then stands. */
static int take_step(nn_fitting *f, ad_error *error)
{
    const void *x, *y;
    long step = f->progress.step, per_epoch = (long)f->feed.per_epoch;
    size_t rows = nn_feed_batch(&f->feed, step, &x, &y);
    if (step % per_epoch == 0) {
        f->at.epoch_loss = 0;
        f->at.epoch_rows = 0;
    }
    nn_trainer_scale_rate(f->trainer, nn_schedule_factor(&f->spec, step, f->progress.steps, f->feed.per_epoch));
    if (nn_trainer_step(f->trainer, x, y, rows, &f->at.loss, error) != 0)
        return -1;
    f->at.step = (uint64_t)step + 1;
    f->at.epoch_loss += f->at.loss * (double)rows;
    f->at.epoch_rows += rows;
    f->progress.step = step + 1;
    f->progress.epoch = step / per_epoch;
    f->progress.loss = f->at.loss;
    f->progress.mean_loss = f->at.epoch_loss / (double)f->at.epoch_rows;
    f->progress.seconds = ad_seconds() - f->start;
    f->saved = false;
    return 0;
}

/* Rows of the drift are on the disk before the checkpoint is. */
static int save_fit(nn_fitting *f, ad_error *error)
{
    f->saved = true;
    if (f->watch && nn_watch_sync(f->watch, error) != 0)
        return -1;
    nn_fit_state state = state_of(f);
    return nn_checkpoint_write(f->spec.checkpoint, &state, error);
}

/* What comes after a step: drift, validation, the callback, the bar, a checkpoint. */
static int after_step(nn_fitting *f, ad_error *error)
{
    const nn_fit_spec *spec = &f->spec;
    nn_progress *p = &f->progress;
    if (f->watch && nn_watch_step(f->watch, p, error) != 0)
        return -1;
    bool last = p->step == p->steps;
    if (f->best.data && p->step % (long)f->feed.per_epoch == 0) {
        if (nn_best_look(&f->best, f->model, spec, p->step, error) != 0)
            return -1;
        tell_best(f);
        f->stopped = nn_best_is_over(&f->best, spec);
    }
    p->seconds = ad_seconds() - f->start;
    last |= f->stopped;
    if (spec->callback && (last || (spec->every > 0 && p->step % spec->every == 0)))
        f->stopped |= spec->callback(p, f->model, spec->context) != 0;
    nn_bar_show(&f->bar, p, f->first, last || f->stopped);
    bool due = spec->checkpoint_every > 0 && p->step % spec->checkpoint_every == 0;
    return spec->checkpoint && (last || f->stopped || due) ? save_fit(f, error) : 0;
}

static int run_fit(nn_fitting *f, ad_error *error)
{
    while (f->progress.step < f->progress.steps && !f->stopped)
        if (take_step(f, error) != 0 || after_step(f, error) != 0) {
            nn_bar_break(&f->bar);
            return -1;
        }
    return f->spec.checkpoint && !f->saved ? save_fit(f, error) : 0; /* nothing was left to do */
}

int nn_fit(nn_model *model, const nn_data *data, const nn_fit_spec *spec, nn_progress *last, ad_error *error)
{
    if (!ad_given(model, "the model that is to be fitted", error) || !ad_given(data, "the data of a fit", error) ||
        !ad_given(spec, "the spec of a fit", error))
        return -1;
    nn_fitting f = { .model = model, .spec = *spec, .bar = nn_bar_new(spec->progress), .start = ad_seconds() };
    int failed = open_fit(&f, data, error);
    if (!failed) {
        failed = run_fit(&f, error);
        if (f.at.epoch_rows)
            f.progress.mean_loss = f.at.epoch_loss / (double)f.at.epoch_rows;
    }
    if (last)
        *last = f.progress;
    if (!failed)
        nn_best_restore(&f.best, model);
    nn_best_close(&f.best);
    nn_watch_free(f.watch);
    nn_trainer_free(f.trainer);
    nn_feed_close(&f.feed);
    return failed;
}
