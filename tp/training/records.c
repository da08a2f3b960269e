/* records.c: what a training measures, its mean over the runs and the error of that mean (Welford's sums). */
#include "autodiff/base/base.h"
#include "tp/training/inside.h"

#include <limits.h>
#include <math.h>

static int count_rows(const tp_training_job *job)
{
    int n = 0;
    for (long step = 0; step != LONG_MAX && n < INT_MAX; n++)
        step = nn_schedule_after(job->spec.schedule, job->apart, job->steps, step);
    return n;
}

static int open_row(const tp_training_job *job, tp_trained *out, long step, tp_trained_row *row, ad_error *error)
{
    size_t points = job->points * job->outputs, kernel = job->probes * job->probes;
    double *numbers = ad_arena_alloc(out->memory, 2 * points + 4 * kernel + 1, sizeof *numbers);
    if (!numbers)
        return ad_fail(error, "out of memory for what a training measures");
    *row = (tp_trained_row){ .step = step, .epoch = (double)step / (double)job->feed.per_epoch };
    row->f = numbers;
    row->f_error = numbers + points;
    if (kernel) {
        row->kernel = numbers + 2 * points;
        row->kernel_error = row->kernel + kernel;
        row->features = row->kernel + 2 * kernel;
        row->features_error = row->kernel + 3 * kernel;
    }
    return 0;
}

int tp_records_open(const tp_training_job *job, tp_trained *out, ad_error *error)
{
    out->points = job->points;
    out->outputs = job->outputs;
    out->probes = job->probes;
    out->kernel_regime = job->kernel_regime;
    out->n_rows = count_rows(job);
    if (!(out->memory = ad_arena_new(error)))
        return -1;
    if (!(out->rows = ad_arena_alloc(out->memory, (size_t)out->n_rows, sizeof *out->rows)))
        return ad_fail(error, "out of memory for what a training measures");
    long step = 0;
    for (int k = 0; k < out->n_rows; k++) {
        if (open_row(job, out, step, &out->rows[k], error))
            return -1;
        step = nn_schedule_after(job->spec.schedule, job->apart, job->steps, step);
    }
    return 0;
}

/* Number `run` of the values, from 0, into its mean and the sum of squares about it. */
static void add(const double *mean, const double *squares, size_t n, int run, const double *values)
{
    double *m = (double *)mean, *s = (double *)squares;
    for (size_t i = 0; i < n; i++) {
        double off = values[i] - m[i];
        m[i] += off / (run + 1);
        s[i] += off * (values[i] - m[i]);
    }
}

void tp_records_add(const tp_training_job *job, tp_trained *out, int k, int run, const double *f, const double *kernel,
                    const double *features)
{
    tp_trained_row *row = &out->rows[k];
    size_t n = job->probes * job->probes, first = 0;
    add(row->f, row->f_error, job->points * job->outputs, run, f);
    if (n) {
        add(row->kernel, row->kernel_error, n, run, kernel);
        add(row->features, row->features_error, n, run, features);
    }
    for (int p = 0; p < 2; p++) {
        double loss = NAN, accuracy = NAN;
        if (job->parts[p].rows && job->parts[p].y)
            nn_score(job->spec.fit.loss, f + first * job->outputs, &job->parts[p], job->outputs, job->one_hot, &loss,
                     &accuracy);
        add(&row->loss[p], &row->loss_error[p], 1, run, &loss);
        add(&row->accuracy[p], &row->accuracy_error[p], 1, run, &accuracy);
        first += job->parts[p].rows;
    }
}

static void finish(const double *squares, size_t n, int runs)
{
    double *s = (double *)squares, factor = ad_stated_factor(runs);
    for (size_t i = 0; i < n; i++)
        s[i] = factor * sqrt(s[i] / (runs - 1) / runs);
}

void tp_records_finish(const tp_training_job *job, tp_trained *out)
{
    for (int k = 0; k < out->n_rows; k++) {
        tp_trained_row *row = &out->rows[k];
        finish(row->f_error, job->points * job->outputs, out->runs);
        if (job->probes) {
            finish(row->kernel_error, job->probes * job->probes, out->runs);
            finish(row->features_error, job->probes * job->probes, out->runs);
        }
        finish(row->loss_error, 2, out->runs);
        finish(row->accuracy_error, 2, out->runs);
    }
}

void tp_trained_free(tp_trained *training)
{
    ad_arena_free(training->memory);
    *training = (tp_trained){ 0 };
}
