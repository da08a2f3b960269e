/* second_opinion.c: an exact kernel held against the executor's samples of the same program, which share nothing with
 * the rules but the trace.
 *
 * A mean over independent runs is off by its standard errors as Student's variable is, and by a bias of the finite
 * number of samples S, of order 1/S, that their spread does not show: measured over networks of all kinds, at most 0.4
 * of one run's spread at S = 128 and 0.25 at S = 512, mostly less than 0.1. So what seems wrong is measured again,
 * without the bias, by 2 K(S) - K(S/2) of fresh runs, before it is said to be wrong.
 *
 * What no run has seen is not in the runs' spread: where a function bends in a part so thin that it falls between two
 * samples, all runs may agree to the last digit on what the thin part would change. How much that is at most, of an
 * entry that seems wrong, is found from the function and its argument's variance, and added to what the entry may be
 * off by. */
#include "autodiff/base/base.h"
#include "tp/executor/executor.h"
#include "tp/recursion/recursion.h"
#include "tp/sampled.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum {
    PICKED = 4, /* rows of one set, at most */
    MOST_ENTRIES = 10,
    CANDIDATES = 128, /* rows, evenly spread, whose angles are compared */
    LEAST_SAMPLES = 256,
    MOST_SAMPLES = 4096,
    CLOSER = 4, /* times the samples */
    LEAST_RUNS = 8,
    MOST_RUNS = 64,
    CLOSER_RUNS = 32, /* at least */
    LEAST_RANK = 8,   /* of a batch that is normalised */
    FIRST_SEED = 7000001,
    CLOSER_SEED = FIRST_SEED + MOST_RUNS,
};

/* Probabilities that a right kernel is beyond, and how far off a mean is allowed to be at all. */
static const double suspicious = 1e-3, wrong = 1e-6, widest = 0.1, rounding = 1e-9;
static const double least_closer = 5; /* seconds that a closer look may take however short the first one is */
static const double a_second = (double)(1ull << 32); /* as work of the executor: no clock is asked */

/* An entry of the kernel that was found, and of the executor's. */
typedef struct {
    size_t row, row2;     /* in the kernel that was found */
    size_t at, own, own2; /* in the executor's: the entry and, where there is one, those of the rows with themselves */
    double scale;         /* sqrt(K(x, x) K(y, y)), the mean of runs: of heavy tails the largest one says little */
    double one, squares;  /* one run's, and the mean of the squares of all, relative to that */
} entry;

typedef struct {
    const tp_program *program;
    tp_kernel_kind which;
    const tp_limit_spec *spec;
    const tp_kernel *found;
    double power;                 /* the leading one of n: all values are over n^power */
    double floor;                 /* the lowest: what vanishes beside it is not in the samples, which stand in for n */
    const double *given, *given2; /* of the kernel that was found */
    const double *x, *x2;         /* of the executor */
    bool whole;                   /* samples meet, in the network or in its data: all rows are one batch */
    double *gathered;             /* x, unless it is whole */
    size_t rows, rows2;           /* of the executor's kernel */
    entry entries[MOST_ENTRIES];
    int n;
    double *one; /* (rows, rows2): a run */
    tp_work work;
} question;

/* What so many runs said: of each entry the mean distance from what was found, and its standard error. */
typedef struct {
    size_t samples;
    int runs;
    double unit;
    double mean[MOST_ENTRIES], error[MOST_ENTRIES]; /* times unit: in units of the largest entry */
    double unseen[MOST_ENTRIES];                    /* what samples may miss of an entry, relative to its scale */
    double deviation, precision;                    /* precision: of those that are judged */
    int worst, judged; /* judged: entries that are larger than what the kernel's error lets pass */
} answer;

/* ---- rows ---- */
static double angle_cosine(const double *a, const double *b, size_t features)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < features; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? fabs(ab) / sqrt(aa * bb) : 0;
}

/* The two rows, of x and of x2 (NULL: of x), that are nearest to parallel and not the same. */
static void find_parallel(const double *x, size_t rows, const double *x2, size_t rows2, size_t features,
                          size_t found[2])
{
    const double *y = x2 ? x2 : x;
    size_t columns = x2 ? rows2 : rows, step = 1 + (rows - 1) / CANDIDATES, step2 = 1 + (columns - 1) / CANDIDATES;
    double closest = -1;
    found[0] = found[1] = 0;
    for (size_t i = 0; i < rows; i += step)
        for (size_t j = x2 ? 0 : i + step; j < columns; j += step2) {
            const double *a = x + i * features, *b = y + j * features;
            double cosine = angle_cosine(a, b, features);
            if (cosine > closest && memcmp(a, b, features * sizeof *a) != 0) {
                closest = cosine;
                found[0] = i;
                found[1] = j;
            }
        }
}

static int add_row(size_t row, size_t *picked, int n)
{
    for (int k = 0; k < n; k++)
        if (picked[k] == row)
            return n;
    picked[n] = row;
    return n + 1;
}

static void free_entries(question *q)
{
    ad_free(q->gathered);
    ad_free(q->one);
    q->gathered = q->one = NULL;
    q->n = 0;
}

/* The entries that are compared, between the first, the last and the most parallel rows, or `few`: between the latter
 * alone. And the executor's inputs: the picked rows as one batch or, where samples meet, all rows as they are. */
static int choose_entries(question *q, const size_t parallel[2], bool few, ad_error *error)
{
    const double *x = q->given, *x2 = q->given2;
    size_t features = nn_features(q->program->net), rows = q->found->rows, rows2 = q->found->rows2;
    size_t picked[2][PICKED];
    int n[2] = { 0 };
    for (int k = 0; k < 2; k++) {
        n[k] = add_row(parallel[x2 ? k : 0], picked[k], 0);
        n[k] = x2 ? n[k] : add_row(parallel[1], picked[k], n[k]);
        n[k] = few ? n[k] : add_row(k && x2 ? rows2 - 1 : rows - 1, picked[k], add_row(0, picked[k], n[k]));
    }
    free_entries(q);
    bool coupled = q->whole;
    size_t side = x2 ? (size_t)(n[0] + n[1]) : (size_t)n[0];
    q->x = x;
    q->x2 = coupled ? x2 : NULL;
    q->rows = coupled ? rows : side;
    q->rows2 = coupled && x2 ? rows2 : q->rows;
    if (!coupled && !(q->x = q->gathered = ad_alloc(side * features, sizeof(double), "inputs", error)))
        return -1;
    for (size_t i = 0; i < side && !coupled; i++) {
        bool second = i >= (size_t)n[0];
        const double *from = second ? x2 + picked[1][i - (size_t)n[0]] * features : x + picked[0][i] * features;
        memcpy(q->gathered + i * features, from, features * sizeof *from);
    }
    for (int i = 0; i < n[0]; i++)
        for (int j = x2 ? 0 : i; j < n[1]; j++) {
            size_t a = coupled ? picked[0][i] : (size_t)i;
            size_t b = coupled ? picked[1][j] : (size_t)(x2 ? n[0] + j : j);
            size_t own = x2 && coupled ? SIZE_MAX : a * (q->rows2 + 1);
            q->entries[q->n++] = (entry){ .row = picked[0][i],
                                          .row2 = picked[1][j],
                                          .at = a * q->rows2 + b,
                                          .own = own,
                                          .own2 = own == SIZE_MAX ? own : b * (q->rows2 + 1) };
        }
    return (q->one = ad_alloc(q->rows * q->rows2, sizeof *q->one, "a second opinion", error)) ? 0 : -1;
}

/* ---- runs ---- */
/* A kernel that was found as floats, which have one term. */
static const float *found_floats(const question *q, size_t row)
{
    size_t stride = q->spec->stride ? q->spec->stride : q->found->rows2;
    return q->spec->floats && !q->found->terms[0].values ? q->spec->floats + row * stride : NULL;
}

/* The kernel that was found at n = samples, over n^power. */
static double found_at(const question *q, const entry *e, size_t samples)
{
    double sum = 0;
    if (found_floats(q, e->row))
        return (double)found_floats(q, e->row)[e->row2];
    for (int k = 0; k < q->found->n_terms; k++)
        sum += q->found->terms[k].values[e->row * q->found->rows2 + e->row2] *
               pow((double)samples, q->found->terms[k].power - q->power);
    return sum;
}

/* The largest entry of what was found, so taken. Entries of rows whose own kernel is 0, by terms that cancel, are as
 * exact as its error of the largest ones. */
static double largest_found(const question *q, size_t samples)
{
    double sum = 0;
    for (size_t i = 0; i < q->found->rows && found_floats(q, i); i++) {
        const float *row = found_floats(q, i);
        sum = fmax(sum, fabs((double)row[cblas_isamax((blasint)q->found->rows2, row, 1)]));
    }
    for (int k = 0; k < q->found->n_terms && !found_floats(q, 0); k++) {
        const double *values = q->found->terms[k].values;
        size_t at = cblas_idamax((blasint)(q->found->rows * q->found->rows2), values, 1);
        sum += fabs(values[at]) * pow((double)samples, q->found->terms[k].power - q->power);
    }
    return sum;
}

static int run_once(question *q, size_t samples, uint64_t seed, ad_error *error)
{
    tp_sampling sampling = { .samples = samples,
                             .seed = q->spec->seed + seed,
                             .threads = q->spec->threads,
                             .output = q->spec->output,
                             .output2 = q->spec->output2,
                             .work = &q->work,
                             .floor = q->floor };
    if (tp_sample_once(q->program, q->which, &sampling, q->x, q->rows, q->x2, q->rows2, q->one, error))
        return -1;
    for (int k = 0; k < q->n; k++)
        if (!isfinite(q->one[q->entries[k].at]))
            return ad_fail(error, "a run of %zu samples leaves the range of a double", samples);
    return 0;
}

/* Distances of one run, times weight, are added, and its share of the mean scales. */
static int add_run(question *q, size_t samples, uint64_t seed, double weight, double share, double *distances,
                   ad_error *error)
{
    double unit = pow((double)samples, -q->power), largest = 0;
    if (run_once(q, samples, seed, error))
        return -1;
    for (int k = 0; k < q->n; k++)
        largest = fmax(largest, fabs(unit * q->one[q->entries[k].at]));
    for (int k = 0; k < q->n; k++) {
        entry *e = &q->entries[k];
        double scale = e->own == SIZE_MAX ? largest : unit * sqrt(fabs(q->one[e->own] * q->one[e->own2]));
        e->one = e->one > 0 ? e->one : scale;
        e->scale += share * scale;
        e->squares += e->one > 0 ? share * (scale / e->one) * (scale / e->one) : 0;
        distances[k] += weight * (unit * q->one[e->at] - found_at(q, e, samples));
    }
    return 0;
}

/* In seconds. */
static double spent(const question *q)
{
    return q->work.done / a_second;
}

/* What begins is to take so many seconds at most, give or take one step of a run: beyond them a run fails. */
static void allow(question *q, double seconds)
{
    q->work.most = isfinite(seconds) ? fmax(q->work.done + seconds * a_second, 1) : 0;
}

/* After `run` runs that took so long: are they all that there is time for? -1 with an error where there is none for the
 * least. */
static int is_last_run(const answer *a, int run, double took, double seconds, ad_error *error)
{
    double least = took * LEAST_RUNS / run;
    if (run < LEAST_RUNS && least > seconds)
        return ad_fail(error, "%d runs of %zu samples take about %.2g s, and it may take %.2g s", LEAST_RUNS,
                       a->samples, least, seconds);
    return run == a->runs || (run >= LEAST_RUNS && took * (run + 1) / run > seconds);
}

/* Distances of so many runs, their standard errors, and scales. Without a bound of time: seconds INFINITY. */
static int add_runs(question *q, answer *a, bool closer, double unit, double seconds, ad_error *error)
{
    double start = spent(q);
    allow(q, seconds);
    for (int k = 0; k < q->n; k++)
        q->entries[k].scale = q->entries[k].one = q->entries[k].squares = 0;
    for (int run = 1, last = 0; !last; run++) {
        double distances[MOST_ENTRIES] = { 0 }, share = closer ? 0.5 : 1;
        uint64_t seed = (uint64_t)run + (closer ? CLOSER_SEED : FIRST_SEED);
        if (add_run(q, a->samples, seed, closer ? 2 : 1, share, distances, error) ||
            (closer && add_run(q, a->samples / 2, seed + MOST_RUNS, -1, share, distances, error)))
            return -1;
        ad_add_run(distances, unit, (size_t)q->n, run, a->mean, a->error);
        if ((last = is_last_run(a, run, spent(q) - start, seconds, error)) < 0)
            return -1;
        a->runs = last ? run : a->runs;
    }
    ad_standard_errors(a->error, (size_t)q->n, a->runs);
    for (int k = 0; k < q->n; k++) {
        q->entries[k].scale /= a->runs;
        q->entries[k].squares /= a->runs;
    }
    return 0;
}

/* Of an entry, in units of the largest. */
static double scale_of(const question *q, const answer *a, int k)
{
    return q->entries[k].scale * a->unit;
}

static void find_worst(const question *q, answer *a)
{
    a->deviation = 0;
    for (int k = 0; k < q->n; k++) {
        double scale = scale_of(q, a, k), error_of_mean = a->error[k] + rounding * 1e-3 * scale;
        double allowed = (q->found->error + rounding + a->unseen[k]) * scale + q->found->error;
        double far = fmax(0, fabs(a->mean[k]) - allowed);
        if (far > 0 && far / error_of_mean > a->deviation) {
            a->deviation = far / error_of_mean;
            a->worst = k;
        }
    }
}

/* a->samples and a->runs are given, the latter as the most that there are. closer: by fresh draws, and what they tend
 * to, in as many runs as there is time for. */
static int ask(question *q, answer *a, bool closer, double seconds, ad_error *error)
{
    double largest = largest_found(q, a->samples);
    a->unit = largest > 0 ? 1 / largest : 1;
    if (add_runs(q, a, closer, a->unit, seconds, error))
        return -1;
    a->judged = 0;
    find_worst(q, a);
    for (int k = 0; k < q->n; k++) {
        double scale = scale_of(q, a, k);
        bool judged = !(largest > 0) || scale >= q->found->error;
        a->judged += judged;
        if (judged && scale > 0)
            a->precision = fmax(a->precision, a->error[k] / scale);
    }
    return 0;
}

/* The seconds that one run takes; -1 with an error. */
static double time_run(question *q, size_t samples, ad_error *error)
{
    double start = spent(q);
    return run_once(q, samples, FIRST_SEED, error) ? -1 : spent(q) - start;
}

/* Samples and runs that the time is enough for, from the least samples on that the program's draws leave room for;
 * false, and why. A run that fails takes less time than one that does not. */
static bool choose_size(question *q, double seconds, answer *a, char *why, size_t size)
{
    ad_error error = { 0 };
    allow(q, seconds / LEAST_RUNS);
    double took = time_run(q, a->samples = LEAST_SAMPLES, &error);
    while (took < 0 && a->samples < MOST_SAMPLES && !tp_work_is_over(&q->work)) {
        error = (ad_error){ 0 };
        allow(q, seconds / LEAST_RUNS);
        took = time_run(q, a->samples *= 2, &error);
    }
    if (took < 0) {
        if (tp_work_is_over(&q->work))
            ad_snprintf(why, size, "%d runs of %zu samples take longer than the %.2g s that the check may take",
                        LEAST_RUNS, a->samples, seconds);
        else
            snprintf(why, size, "%s", error.text);
        return false;
    }
    for (a->runs = MOST_RUNS; a->runs > LEAST_RUNS && a->runs * took > seconds;)
        a->runs /= 2;
    allow(q, INFINITY);
    while (a->samples < MOST_SAMPLES && took >= 0 && 2 * a->runs * took <= seconds)
        took = time_run(q, a->samples *= 2, &error);
    return true;
}

/* All entries that the time is enough for, and the size; false, and why, where it is enough for none. -1 with an
 * error. */
static int choose(question *q, double seconds, answer *a, char *why, size_t size, ad_error *error)
{
    size_t parallel[2];
    answer more = { 0 };
    char no_more[512];
    find_parallel(q->given, q->found->rows, q->given2, q->found->rows2, nn_features(q->program->net), parallel);
    if (choose_entries(q, parallel, true, error))
        return -1;
    if (!choose_size(q, seconds, a, why, size))
        return 0;
    if (!q->whole && a->runs < MOST_RUNS)
        return 1;
    if (choose_entries(q, parallel, false, error))
        return -1;
    if (choose_size(q, seconds, &more, no_more, sizeof no_more))
        *a = more;
    else if (choose_entries(q, parallel, true, error))
        return -1;
    return 1;
}

/* ---- what there is no second opinion of ---- */
/* How many directions the batch x, (rows, features), has about its mean: (sum of variances)^2 / sum of their squares;
 * -1 without memory. */
static double effective_rank(const double *x, size_t rows, size_t features)
{
    double *centred = ad_alloc(rows * features, sizeof *centred, "a batch", NULL);
    double *gram = ad_alloc(rows * rows, sizeof *gram, "a batch", NULL), trace = 0, squares = 0;
    for (size_t j = 0; j < features && centred && gram; j++) {
        double mean = 0;
        for (size_t i = 0; i < rows; i++)
            mean += x[i * features + j] / (double)rows;
        for (size_t i = 0; i < rows; i++)
            centred[i * features + j] = x[i * features + j] - mean;
    }
    if (centred && gram)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)rows, (int)features, 1, centred,
                    (int)features, centred, (int)features, 0, gram, (int)rows);
    for (size_t i = 0; i < rows * rows && centred && gram; i++) {
        trace += i % (rows + 1) ? 0 : gram[i];
        squares += gram[i] * gram[i];
    }
    bool there = centred && gram;
    ad_free(centred);
    ad_free(gram);
    return !there ? -1 : squares > 0 ? trace * trace / squares : 0;
}

/* False, and why, where samples cannot judge the kernel. */
static bool has_opinion(const question *q, char *why, size_t size)
{
    size_t features = nn_features(q->program->net);
    *why = 0;
    if (q->found->deviations)
        snprintf(why, size, "the kernel is of samples itself");
    else if (q->spec->output != q->spec->output2)
        snprintf(why, size, "the kernel is between two outputs");
    else if (q->spec->rule == TP_RULE_BP)
        snprintf(why, size, "the simple rule was asked for, and samples follow the general one");
    else if (q->program->coupled && q->which == TP_NTK) {
        double rank = effective_rank(q->given, q->found->rows, features);
        rank = q->given2 ? fmin(rank, effective_rank(q->given2, q->found->rows2, features)) : rank;
        if (rank < LEAST_RANK)
            ad_snprintf(
                why, size,
                "a batch of %.2g directions is normalised, and where there are fewer than %d gradients have heavy "
                "tails, which samples miss",
                fmax(rank, 0), LEAST_RANK);
    }
    return !*why;
}

/* ---- judging ---- */
static double bound(const question *q, const answer *a, double probability)
{
    return ad_student(probability / q->n, a->runs - 1);
}

static void tell_spread(const answer *a, double spread, char *why, size_t size)
{
    ad_snprintf(why, size, "samples spread too widely: the mean of %d runs of %zu has a standard error of %.2g %%",
                a->runs, a->samples, 100 * spread);
}

/* The standard error of an entry's scale, relative to it: far below what was found its distances from that are all but
 * equal, however its runs spread. */
static double spread_of(const entry *e, int runs)
{
    double mean = e->one > 0 ? e->scale / e->one : 0;
    return mean > 0 ? sqrt(fmax(0, e->squares / (mean * mean) - 1) / runs) : 0;
}

/* Do few samples see what the worst entry is made of, so that runs that all miss it agree? True, and why. Else what
 * they may miss of it is known: of a closer look, which is 2 K(S) - K(S/2), three times that of S/2 samples. */
static bool misses_some(const question *q, answer *a, char *why, size_t size)
{
    ad_error found = { 0 };
    double hidden, all = 0;
    const entry *e = &q->entries[a->worst];
    size_t features = nn_features(q->program->net);
    const double *rows[2] = { q->given + e->row * features, (q->given2 ? q->given2 : q->given) + e->row2 * features };
    if (spread_of(e, a->runs) > widest) {
        tell_spread(a, spread_of(e, a->runs), why, size);
        return true;
    }
    for (int side = 0; side < 2 && !q->whole; side++) {
        if (tp_enough_samples(q->program, q->which, a->samples / 2, q->spec->threads, rows[side], 1, &hidden, &found)) {
            ad_snprintf(why, size, "%s", found.text);
            return true;
        }
        all += hidden;
    }
    if (all > 0 && !(e->scale > 0)) {
        ad_snprintf(why, size,
                    "all %d runs of %zu samples are 0 where the kernel is not, and functions bend between two samples",
                    a->runs, a->samples);
        return true;
    }
    a->unseen[a->worst] = 3 * all;
    return false;
}

/* Is an entry off by more than chance, and by more than what samples may miss of it? -1: samples cannot tell, and *why
 * is why. */
static int is_off(const question *q, answer *a, char *why, size_t size)
{
    double least = bound(q, a, wrong);
    for (int k = 0; k < q->n && a->deviation > least; k++) {
        int worst = a->worst;
        if (misses_some(q, a, why, size))
            return -1;
        find_worst(q, a);
        if (a->worst == worst && a->deviation > least)
            return 1;
    }
    return a->deviation > least;
}

static int accuse(const question *q, const answer *a, ad_error *error)
{
    const entry *e = &q->entries[a->worst];
    double found = found_at(q, e, a->samples);
    char power[40] = "";
    if (fabs(q->power) > 1e-9)
        ad_snprintf(power, sizeof power, " n^%g", q->power);
    return ad_fail(
        error,
        "the exact limit disagrees with samples of the same program: the %s of inputs %zu and %zu (counted "
        "from 0) is %.10g%s by exact rules and %.10g%s by samples, %.3g standard errors away, where %.3g are "
        "chance (%d runs of %zu samples); please report this network",
        q->which == TP_NTK ? "NTK" : "NNGP kernel", e->row, e->row2, found, power,
        found + a->mean[a->worst] * largest_found(q, a->samples), power, a->deviation, bound(q, a, wrong), a->runs,
        a->samples);
}

static void tell(const answer *a, tp_opinion *opinion)
{
    opinion->checked = true;
    opinion->entries = a->judged;
    opinion->runs = a->runs;
    opinion->samples = a->samples;
    opinion->deviation = a->deviation;
    opinion->precision = a->precision;
    ad_snprintf(opinion->text, sizeof opinion->text,
                "checked against samples: worst deviation %.1f standard errors over %d entries (%d runs of %zu "
                "samples, good to %.1g %%)",
                a->deviation, a->judged, a->runs, a->samples, 100 * a->precision);
}

/* Do leading powers of n cancel in the kernel, so that no bound tells which others vanish beside it? */
static bool cancels(const question *q)
{
    double power = INFINITY, largest;
    ad_error none = { 0 };
    bool *left_out = ad_alloc((size_t)q->program->n_nodes + 1, sizeof *left_out, "the powers of a program", NULL);
    bool known = left_out && !tp_find_vanishing(q->program, q->which, &power, left_out, &largest, &none);
    ad_free(left_out);
    return known && power > q->power + 1e-9;
}

/* Does the worst entry's distance fall as samples grow, by more than chance? So do parts of lower powers of n where
 * leading ones cancel, as samples stand in for n; an entry that is wrong stays where it is. */
static bool comes_nearer(const question *q, const answer *first, const answer *last)
{
    int k = last->worst;
    if (!cancels(q))
        return false;
    double before = fabs(first->mean[k]), after = fabs(last->mean[k]), sure = 4;
    return after < 0.6 * before && before - after > sure * hypot(first->error[k], last->error[k]);
}

/* 0: agrees, or *why is why it is unchecked; -1: disagrees. */
static int judge(question *q, double seconds, tp_opinion *opinion, char *why, size_t size, ad_error *error)
{
    answer first = { 0 }, second = { 0 };
    ad_error failure = { 0 };
    int status = choose(q, seconds, &first, why, size, error);
    if (status <= 0)
        return status;
    if (ask(q, &first, false, INFINITY, &failure)) {
        snprintf(why, size, "%s", failure.text);
        return 0;
    }
    second.samples = CLOSER * first.samples;
    second.runs = first.runs < CLOSER_RUNS ? CLOSER_RUNS : first.runs;
    bool closer = first.deviation > bound(q, &first, suspicious);
    if (closer && ask(q, &second, true, fmax(10 * seconds, least_closer), &failure)) {
        ad_snprintf(why, size,
                    "an entry is %.1f standard errors off by %d runs of %zu samples, and there is no closer look: "
                    "%s",
                    first.deviation, first.runs, first.samples, failure.text);
        return 0;
    }
    answer *last = closer ? &second : &first;
    if (last->precision > widest) {
        tell_spread(last, last->precision, why, size);
        return 0;
    }
    int off = closer ? is_off(q, last, why, size) : 0;
    if (off < 0)
        return 0;
    if (off && comes_nearer(q, &first, last)) {
        ad_snprintf(
            why, size,
            "samples stand in for n, and lower powers of it beside the kernel: %.2g off at %zu samples, and %.2g "
            "at %zu",
            fabs(first.mean[last->worst]), first.samples, fabs(last->mean[last->worst]), last->samples);
        return 0;
    }
    if (!off && last->judged == 0) {
        ad_snprintf(why, size, "what is compared is nothing beside the kernel's largest entry, whose error hides it");
        return 0;
    }
    tell(last, opinion);
    return off ? accuse(q, last, error) : 0;
}

int tp_hear_samples(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                    size_t rows2, const tp_limit_spec *spec, const tp_kernel *found, double seconds,
                    tp_opinion *opinion, ad_error *error)
{
    question q = { .program = program,
                   .which = which,
                   .spec = spec,
                   .found = found,
                   .power = -(double)INFINITY,
                   .floor = (double)INFINITY,
                   .whole = program->meets,
                   .given = x,
                   .given2 = x2 };
    char why[512];
    if (!ad_threads(spec->threads, error))
        return -1;
    if (found->rows != rows || found->rows2 != (x2 ? rows2 : rows) || found->n_terms < 1)
        return ad_fail(error, "a second opinion: the kernel is (%zu, %zu), the inputs are %zu and %zu", found->rows,
                       found->rows2, rows, x2 ? rows2 : rows);
    for (int k = 0; k < found->n_terms; k++) {
        q.power = fmax(q.power, found->terms[k].power);
        q.floor = fmin(q.floor, found->terms[k].power);
    }
    int status = has_opinion(&q, why, sizeof why) ? judge(&q, seconds, opinion, why, sizeof why, error) : 0;
    if (!opinion->checked)
        snprintf(opinion->text, sizeof opinion->text, "unchecked: %s", why);
    free_entries(&q);
    return status;
}
