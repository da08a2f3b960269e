/* drift_log.c: the drift that a fit measures on its way: when, and as a CSV that grows with it.
 *
 * A resumed fit leaves the same CSV as one that was never broken: its file is rewritten up to the checkpoint's step,
 * less rows that only the end of the broken fit had, and goes on from there. Rows reach the disk before the checkpoint
 * does, so that none is missing. Theta_0 is not in the checkpoint: it is measured again, of the network as it was
 * drawn, and the file's first row tells whether that is the same one. */
#include "nn/drift/drift.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN(field)                                                                                                  \
    {                                                                                                                  \
#field, offsetof(nn_drift_row, field)                                                                          \
    }
#define EIGENVALUE(k)                                                                                                  \
    {                                                                                                                  \
        "eigenvalue" #k, offsetof(nn_drift_row, eigenvalues) + ((k)-1) * sizeof(double)                                \
    }
/* After the step, all double. */
static const struct {
    const char *name;
    size_t at;
} columns[] = { COLUMN(epoch),
                COLUMN(batch_loss),
                COLUMN(loss),
                COLUMN(accuracy),
                COLUMN(norm),
                COLUMN(from_start),
                COLUMN(from_limit),
                COLUMN(alignment),
                COLUMN(centred_alignment),
                COLUMN(label_alignment),
                COLUMN(centred_label_alignment),
                COLUMN(effective_rank),
                COLUMN(condition),
                EIGENVALUE(1),
                EIGENVALUE(2),
                EIGENVALUE(3),
                EIGENVALUE(4),
                EIGENVALUE(5) };
enum { COLUMNS = sizeof columns / sizeof *columns, LINE = 32 * (COLUMNS + 1) };
_Static_assert(NN_EIGENVALUES == 5, "a column an eigenvalue");

struct nn_watch {
    nn_drift *drift;
    const nn_drift_spec *spec;
    long steps, apart, next; /* of the fit; between two measurements; of the next one */
    size_t per_epoch;
    nn_drift_row row;
    ad_file *csv;
    long measured;
    double seconds, last; /* of all measurements, of the last one */
};

/* ---- when ---- */
long nn_schedule_after(nn_drift_schedule schedule, long apart, long steps, long step)
{
    long next = steps;
    if (step >= steps)
        return LONG_MAX;
    if (schedule == NN_LOG_STEPS) {
        double many = (double)apart, k = step > 0 ? floor(many * log10((double)step)) : 0;
        while (pow(10, k / many) < (double)steps && lround(pow(10, k / many)) <= step)
            k++;
        next = lround(fmin(pow(10, k / many), (double)steps));
    } else if (schedule != NN_ENDS && apart <= steps) {
        next = (step / apart + 1) * apart;
    }
    return next < steps ? next : steps;
}

static long step_after(const nn_watch *w, long step)
{
    return nn_schedule_after(w->spec->schedule, w->apart, w->steps, step);
}

long nn_schedule_apart(nn_drift_schedule schedule, long every, size_t per_epoch, long steps)
{
    long apart = every ? every : schedule == NN_LOG_STEPS ? 10 : 1;
    return schedule == NN_EPOCHS && __builtin_mul_overflow(apart, (long)per_epoch, &apart) ? steps : apart;
}

static int settle(nn_watch *w, ad_error *error)
{
    long every = w->spec->every;
    if (every < 0 || every > 1000000000)
        return ad_fail(error, "drift: a measurement every %ld: it must be from 1 to 10^9", every);
    if (!(w->spec->share >= 0 && w->spec->share < 1))
        return ad_fail(error, "drift: a share of %g of the time: it must be from 0 to 1", w->spec->share);
    w->apart = nn_schedule_apart(w->spec->schedule, every, w->per_epoch, w->steps);
    return 0;
}

/* ---- the file ---- */
static double value_of(const nn_drift_row *row, int column)
{
    double value;
    memcpy(&value, (const char *)row + columns[column].at, sizeof value);
    return value;
}

static size_t header_line(char *line)
{
    size_t used = (size_t)snprintf(line, LINE, "step");
    for (int k = 0; k < COLUMNS; k++)
        used += (size_t)snprintf(line + used, LINE - used, ",%s", columns[k].name);
    return used + (size_t)snprintf(line + used, LINE - used, "\n");
}

static size_t row_line(const nn_drift_row *row, char *line)
{
    size_t used = (size_t)snprintf(line, LINE, "%ld", row->step);
    for (int k = 0; k < COLUMNS; k++) {
        double value = value_of(row, k);
        used += (size_t)ad_snprintf(line + used, LINE - used, isnan(value) ? "," : ",%.10g", value);
    }
    return used + (size_t)snprintf(line + used, LINE - used, "\n");
}

/* Hands the row out, then writes its line. */
static int emit(nn_watch *w, ad_error *error)
{
    char line[LINE];
    w->measured++;
    if (w->spec->each && w->spec->each(&w->row, w->spec->context, error) != 0)
        return ad_fail(error, "drift: stopped at step %ld", w->row.step);
    return w->csv ? ad_file_write(w->csv, line, row_line(&w->row, line), error) : 0;
}

/* Is the line of step 0 that of this start? What is compared may differ by rounding: other threads, another machine. */
static bool same_start(const nn_watch *w, const char *line)
{
    static const size_t compared[] = { offsetof(nn_drift_row, loss), offsetof(nn_drift_row, norm),
                                       offsetof(nn_drift_row, from_limit) };
    for (int k = 0; k < COLUMNS && (line = strchr(line, ',')); k++) {
        double value = value_of(&w->row, k), found = ad_number(++line, NULL);
        for (size_t i = 0; i < sizeof compared / sizeof *compared; i++)
            if (columns[k].at == compared[i] &&
                (isnan(value) ? *line != ',' : *line == ',' || !(fabs(found - value) <= 1e-3 * fabs(value))))
                return false;
    }
    return line != NULL;
}

/* Picks the lines that a fit unbroken up to step `done` would have written, and moves them together. */
static int pick_lines(const nn_watch *w, char *text, size_t *used, long done, ad_error *error)
{
    const char *path = w->spec->csv;
    char header[LINE];
    size_t length = header_line(header);
    if (strncmp(text, header, length) != 0)
        return ad_fail(error, "%s: cannot resume: its first line is not that of a drift", path);
    char *to = text + length, *end;
    long expected = 0; /* where no measurement is left out */
    for (char *line = to; (end = strchr(line, '\n')); line = end + 1) {
        char *rest;
        long step = strtol(line, &rest, 10);
        if (rest == line || *rest != ',' || (to == text + length && (step != 0 || !same_start(w, line))))
            return ad_fail(error, "%s: cannot resume: it is of another start, other probes or another limit", path);
        while (w->spec->share > 0 && expected < step)
            expected = step_after(w, expected);
        if (step > done || expected > done || step > expected)
            break;
        if (step < expected) /* the end of a fit that was shorter */
            continue;
        memmove(to, line, (size_t)(end + 1 - line));
        to += end + 1 - line;
        expected = step_after(w, step);
    }
    *used = (size_t)(to - text);
    if (to == text + length || (expected <= done && !(w->spec->share > 0)))
        return ad_fail(error, "%s: cannot resume: it has no row of step %ld", path, expected);
    return 0;
}

static int resume_file(const nn_watch *w, long done, ad_error *error)
{
    size_t bytes, used = 0;
    char *text = ad_file_read(w->spec->csv, SIZE_MAX / 4, &bytes, error);
    int failed = text ? pick_lines(w, text, &used, done, error) : -1;
    ad_file *file = failed ? NULL : ad_file_create(w->spec->csv, error);
    if (file && ad_file_write(file, text, used, error) != 0) {
        ad_file_discard(file);
        file = NULL;
    }
    failed = file ? ad_file_close(file, error) : -1;
    ad_free(text);
    return failed;
}

/* ---- with a fit ---- */
static int measure(nn_watch *w, ad_error *error)
{
    double start = ad_seconds();
    int failed = nn_drift_measure(w->drift, &w->row, error);
    w->last = ad_seconds() - start;
    w->seconds += w->last;
    return failed;
}

nn_watch *nn_watch_new(nn_model *model, const nn_fit_spec *spec, long steps, size_t per_epoch, ad_error *error)
{
    nn_watch *w = ad_alloc(1, sizeof *w, "a drift", error);
    if (!w)
        return NULL;
    *w = (nn_watch){ .spec = spec->drift, .steps = steps, .per_epoch = per_epoch };
    if (settle(w, error) == 0 && (w->drift = nn_drift_new(model, spec->drift, spec->loss, error)) &&
        measure(w, error) == 0)
        return w;
    nn_watch_free(w);
    return NULL;
}

int nn_watch_begin(nn_watch *w, bool resumed, long done, ad_error *error)
{
    char line[LINE];
    if (done > w->steps) /* a checkpoint from beyond the end: nothing is left to do */
        return 0;
    w->next = step_after(w, done);
    if (resumed && w->spec->csv && resume_file(w, done, error) != 0)
        return -1;
    if (w->spec->csv && !(w->csv = ad_file_stream(w->spec->csv, resumed, error)))
        return -1;
    if (resumed)
        return 0;
    return w->csv && ad_file_write(w->csv, line, header_line(line), error) != 0 ? -1 : emit(w, error);
}

int nn_watch_step(nn_watch *w, nn_progress *progress, ad_error *error)
{
    double share = w->spec->share;
    bool due = progress->step == w->next, last = progress->step == w->steps;
    int failed = 0;
    if (due)
        w->next = step_after(w, progress->step);
    if (due && (last || !(share > 0) || w->seconds + w->last <= share * (progress->seconds + w->last))) {
        failed = measure(w, error);
        w->row.step = progress->step;
        w->row.epoch = (double)progress->step / (double)w->per_epoch;
        w->row.batch_loss = progress->loss;
        if (!failed)
            failed = emit(w, error);
    }
    progress->measured = w->measured;
    progress->measuring = w->seconds;
    return failed;
}

int nn_watch_sync(nn_watch *w, ad_error *error)
{
    return w->csv ? ad_file_sync(w->csv, error) : 0;
}

void nn_watch_free(nn_watch *w)
{
    if (!w)
        return;
    ad_file_discard(w->csv);
    nn_drift_free(w->drift);
    ad_free(w);
}
