/* convergence.c: does the kernel of single networks come closer to a number as their width grows?
 *
 * What is random in a kernel that has a limit falls like n^(-1/2): its variance, relative to the kernel, is WIDER times
 * less at WIDER times the width. That of a kernel that stays random does not fall: where an average whose mean is 0, or
 * at a jump, or is another one's, is asked for its sign or for who is larger, or two such are divided, no rule over the
 * orders of things sees that its fluctuations decide. The logarithm of the ratio of two variances over R runs each
 * spreads by 2 / sqrt(R - 1) where these are normal: 0.8 for R = 8, 0.36 for R = 32 and 0.25 for R = 64. So a look
 * takes 8 runs more, up to 32, until three of these deviations do not reach the bound, and the rows that are suspicious
 * then are looked at again at a larger width, by up to 64. */
#include "autodiff/base/base.h"
#include "tp/executor/executor.h"

#include <math.h>
#include <string.h>

enum { WIDER = 16, ROWS = 6, LEAST_WIDTH = 16, LAST_WIDTH = 4096, RUNS = 32, LAST_RUNS = 64, STEP = 8 };

/* Means and variances of entries over networks of one width; size: the kernel's, in the mean square of its entries, or
 * where it is between two outputs, and may be 0, that of the first one's own. */
typedef struct {
    double mean[ROWS * ROWS], squares[ROWS * ROWS], size;
} spread;

typedef struct {
    const tp_program *program;
    tp_kernel_kind which;
    const double *x;
    size_t rows;
    tp_sampling sampling; /* the widest network, by independent draws */
} question;

/* Runs number `from` + 1 to `to` of a look. */
static int measure(const question *q, size_t width, int from, int to, int first, spread *s, ad_error *error)
{
    double one[ROWS * ROWS];
    for (int run = from + 1; run <= to; run++) {
        tp_sampling sampling = q->sampling;
        sampling.samples = width;
        sampling.seed += 7919 * (uint64_t)(first + run);
        if (tp_sample_once(q->program, q->which, &sampling, q->x, q->rows, NULL, 0, one, error))
            return -1;
        ad_add_run(one, 1, q->rows * q->rows, run, s->mean, s->squares);
    }
    return 0;
}

static double size_of(const spread *s, size_t count)
{
    double size = 0;
    for (size_t i = 0; i < count; i++)
        size += s->mean[i] * s->mean[i];
    return sqrt(size / (double)count);
}

/* Of the spread of networks that are measured. */
static int find_size(const question *q, size_t width, int first, spread *s, ad_error *error)
{
    size_t count = q->rows * q->rows;
    if (q->sampling.output == q->sampling.output2) {
        s->size = size_of(s, count);
    } else if (!(s->size > 0)) {
        question own = *q;
        spread of = { 0 };
        own.sampling.output2 = own.sampling.output;
        if (measure(&own, width, 0, STEP, first, &of, error))
            return -1;
        s->size = size_of(&of, count);
    }
    return 0;
}

/* By how much the relative variance of an entry falls, as a logarithm; INFINITY: it does not vary. deviations: of the
 * narrow and the wide networks, relative to the kernel. Where wide ones vary by its own order, its mean over a few runs
 * is no size to go by: the root of the mean square, which holds the variance, is. */
static double fall_of(const spread *narrow, const spread *wide, size_t i, int runs, double *deviations)
{
    const double rounding = 1e-6, large = 0.3;
    deviations[0] = sqrt(narrow->squares[i] / (runs - 1)) / narrow->size;
    deviations[1] = sqrt(wide->squares[i] / (runs - 1)) / wide->size;
    if (!(deviations[1] > rounding))
        return INFINITY;
    double ratio = deviations[0] / deviations[1];
    if (deviations[1] > large)
        ratio *= sqrt((1 + deviations[1] * deviations[1]) / (1 + deviations[0] * deviations[0]));
    return 2 * log(ratio);
}

/* What a look saw: the entry that falls least, and the rows of entries that fall by no more than `needed`. */
typedef struct {
    double least, needed, worst[2];
    bool suspicious[ROWS];
    size_t narrow, wide;
} look;

static void judge(const question *q, const spread *narrow, const spread *wide, int runs, look *l)
{
    size_t count = q->rows * q->rows;
    memset(l->suspicious, 0, sizeof l->suspicious);
    l->least = INFINITY;
    for (size_t i = 0; i < count; i++) {
        double deviations[2], fall = fall_of(narrow, wide, i, runs, deviations);
        if (!(fall > l->needed))
            l->suspicious[i / q->rows] = l->suspicious[i % q->rows] = true;
        if (fall > l->least)
            continue;
        l->least = fall;
        memcpy(l->worst, deviations, sizeof deviations);
    }
}

/* At networks of width `at` and WIDER times less, by `most` runs of each, or after `least` by as many as decide. */
static int take_look(const question *q, size_t at, int least, int most, int first, look *l, ad_error *error)
{
    spread narrow = { 0 }, wide = { 0 };
    bool clear = false;
    size_t width = at / WIDER < LEAST_WIDTH ? LEAST_WIDTH : at / WIDER;
    for (int runs = 0, next = least; runs < most && !clear; next = next + STEP < most ? next + STEP : most) {
        if (measure(q, width, runs, next, first, &narrow, error) ||
            measure(q, width * WIDER, runs, next, first + 500, &wide, error) ||
            find_size(q, width, first, &narrow, error) || find_size(q, width * WIDER, first + 500, &wide, error))
            return -1;
        runs = next;
        judge(q, &narrow, &wide, runs, l);
        l->narrow = width;
        l->wide = width * WIDER;
        clear = l->least > l->needed + 3 * 2 / sqrt(runs - 1);
    }
    return 0;
}

/* The question about the rows that are suspicious, whose inputs `x` has room for. */
static question narrowed(const question *q, const look *l, double *x)
{
    size_t features = nn_features(q->program->net);
    question fewer = *q;
    fewer.x = x;
    fewer.rows = 0;
    for (size_t i = 0; i < q->rows; i++)
        if (l->suspicious[i])
            memcpy(x + fewer.rows++ * features, q->x + i * features, features * sizeof *x);
    return fewer;
}

/* Two looks at most; `x` has room for the inputs. */
static int find_random(const question *q, double *x, look *l, ad_error *error)
{
    size_t width = q->sampling.samples, last = 4 * width > LAST_WIDTH ? 4 * width : LAST_WIDTH;
    l->needed = log(WIDER) / 2;
    if (take_look(q, width, STEP, RUNS, 0, l, error))
        return -1;
    if (l->least > l->needed)
        return 0;
    question fewer = narrowed(q, l, x);
    l->needed = log(WIDER) / 4; /* heavy tails fall late */
    if (take_look(&fewer, last, 2 * STEP, LAST_RUNS, 1000, l, error))
        return -1;
    return l->least > l->needed ? 0 : 1;
}

static int is_random(const question *q, double *x, ad_error *error)
{
    look l = { 0 };
    ad_error failure = { 0 };
    int status = find_random(q, x, &l, &failure);
    if (status == 0)
        return 0;
    if (status > 0)
        return ad_fail(error,
                       "this kernel stays random at every width: an entry of single networks varies by %.2g of the "
                       "kernel's size at width %zu and still by %.2g at %zu, or has tails too heavy for these to tell",
                       l.worst[0], l.narrow, l.worst[1], l.wide);
    if (!tp_work_is_over(q->sampling.work))
        return ad_fail(error, "%s", failure.text);
    char seen[200] = "";
    if (l.wide)
        ad_snprintf(seen, sizeof seen,
                    "an entry of single networks varies by %.2g of the kernel's size at width %zu and by %.2g at %zu, "
                    "and ",
                    l.worst[0], l.narrow, l.worst[1], l.wide);
    return ad_fail(error,
                   "whether this kernel has a limit is not shown: %sas many networks as would tell take more than %.2g "
                   "multiplications: more runs (--runs) allow as many as they take themselves",
                   seen, q->sampling.work->most);
}

int tp_check_convergence(const tp_program *program, tp_kernel_kind which, const tp_sampling *sampling, const double *x,
                         size_t rows, ad_error *error)
{
    size_t features = nn_features(program->net), picked = rows < ROWS ? rows : ROWS;
    if (program->meets || rows == 0)
        return 0;
    double *some = ad_reserve(2 * picked * features, sizeof *some, "inputs", error);
    if (!some)
        return -1;
    for (size_t i = 0; i < picked; i++)
        memcpy(some + i * features, x + i * rows / picked * features, features * sizeof *some);
    question q = { program, which, some, picked, *sampling };
    q.sampling.independent = true;
    int status = is_random(&q, some + picked * features, error);
    ad_free(some);
    return status ? -1 : 0;
}
