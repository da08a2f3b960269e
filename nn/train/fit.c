/* fit.c: the whole fit: steps, and between them what watches, reports and saves. A step allocates nothing. */
#include "nn/train/train.h"

#include <math.h>

typedef struct {
    nn_model *model;
    nn_fit_spec spec; /* with its defaults filled in */
    nn_feed feed;
    nn_trainer *trainer;
    nn_watch *watch;
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
        f->n_marks = nn_make_marks(f->marks, f->model, data, spec, f->feed.batch);
    if (spec->drift && !(f->watch = nn_watch_new(f->model, spec, f->progress.steps, f->feed.per_epoch, error)))
        return -1;
    if (spec->resume && nn_checkpoint_read(spec->resume, f->model, nn_trainer_rule(f->trainer), f->marks, f->n_marks,
                                           &f->at, error) != 0)
        return -1;
    f->first = f->progress.step = (long)f->at.step;
    f->progress.loss = f->at.loss;
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
    return nn_checkpoint_write(f->spec.checkpoint, f->model, nn_trainer_rule(f->trainer), f->marks, f->n_marks, &f->at,
                               error);
}

/* What comes after a step: drift, the callback, the bar, a checkpoint. */
static int after_step(nn_fitting *f, ad_error *error)
{
    const nn_fit_spec *spec = &f->spec;
    nn_progress *p = &f->progress;
    if (f->watch && nn_watch_step(f->watch, p, error) != 0)
        return -1;
    p->seconds = ad_seconds() - f->start;
    bool last = p->step == p->steps;
    if (spec->callback && (last || (spec->every > 0 && p->step % spec->every == 0)))
        f->stopped = spec->callback(p, f->model, spec->context) != 0;
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
    nn_fitting f = { .model = model, .spec = *spec, .bar = nn_bar_new(spec->progress), .start = ad_seconds() };
    int failed = open_fit(&f, data, error);
    if (!failed) {
        failed = run_fit(&f, error);
        if (f.at.epoch_rows)
            f.progress.mean_loss = f.at.epoch_loss / (double)f.at.epoch_rows;
    }
    if (last)
        *last = f.progress;
    nn_watch_free(f.watch);
    nn_trainer_free(f.trainer);
    nn_feed_close(&f.feed);
    return failed;
}
