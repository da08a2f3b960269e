/* convergence.c: does the kernel of single networks come closer to a number as their width grows?
 *
 * What is random in a kernel that has a limit falls like n^(-1/2): its variance, relative to the kernel, is WIDER times
 * less at WIDER times the width. That of a kernel that stays random does not fall: where an average whose mean is 0, or
 * at a jump, or is another one's, is asked for its sign or for who is larger, or two such are divided, no rule over the
 * orders of things sees that its fluctuations decide. The logarithm of the ratio of two variances over R runs each
 * spreads by 0.8 for R = 8, 0.37 for R = 32 and 0.26 for R = 64 where these are normal, so that what is suspicious at
 * first is looked at again, and then at a larger width. */
#include "autodiff/base/base.h"
#include "tp/executor/executor.h"

#include <math.h>
#include <string.h>

enum { WIDER = 16, ROWS = 6, LOOKS = 3, LEAST_WIDTH = 16, LAST_WIDTH = 4096 };

/* Means and variances of entries over networks of one width. */
typedef struct {
    double mean[ROWS * ROWS], squares[ROWS * ROWS];
} spread;

typedef struct {
    const tp_program *program;
    tp_kernel_kind which;
    const double *x;
    size_t rows;
    tp_sampling sampling; /* the widest network, by independent draws */
} question;

static int measure(const question *q, size_t width, int runs, int first, spread *s, ad_error *error)
{
    double one[ROWS * ROWS];
    memset(s, 0, sizeof *s);
    for (int run = 1; run <= runs; run++) {
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

/* By how much the relative variance of the entry for which it is least falls, as a logarithm; INFINITY: none varies.
 * *worst: relative standard deviations of that entry. */
static double least_fall(const spread *narrow, const spread *wide, size_t count, int runs, double *worst)
{
    const double rounding = 1e-6;
    double least = INFINITY, size = size_of(narrow, count), wide_size = size_of(wide, count);
    for (size_t i = 0; i < count; i++) {
        double a = sqrt(narrow->squares[i] / (runs - 1)) / size, b = sqrt(wide->squares[i] / (runs - 1)) / wide_size;
        if (!(b > rounding) || !(2 * log(a / b) < least))
            continue;
        least = 2 * log(a / b);
        worst[0] = a;
        worst[1] = b;
    }
    return least;
}

static int is_random(const question *q, ad_error *error)
{
    const int runs[LOOKS] = { 8, 32, 64 };
    const double falls[LOOKS] = { log(WIDER) / 2, log(WIDER) / 2, log(WIDER) / 4 }; /* heavy tails fall late */
    double worst[2] = { 0 };
    spread narrow, wide;
    size_t narrower = 0, width = q->sampling.samples;
    for (int look = 0; look < LOOKS; look++) {
        size_t at = look < LOOKS - 1 ? width : 4 * width > LAST_WIDTH ? 4 * width : LAST_WIDTH;
        narrower = at / WIDER < LEAST_WIDTH ? LEAST_WIDTH : at / WIDER;
        if (measure(q, narrower, runs[look], 1000 * look, &narrow, error) ||
            measure(q, narrower * WIDER, runs[look], 1000 * look + 500, &wide, error))
            return -1;
        if (least_fall(&narrow, &wide, q->rows * q->rows, runs[look], worst) > falls[look])
            return 0;
    }
    return ad_fail(error,
                   "this kernel stays random at every width: an entry of single networks varies by %.2g of the "
                   "kernel's size at width %zu and still by %.2g at %zu",
                   worst[0], narrower, worst[1], narrower * WIDER);
}

int tp_check_convergence(const tp_program *program, tp_kernel_kind which, const tp_sampling *sampling, const double *x,
                         size_t rows, ad_error *error)
{
    size_t features = nn_features(program->net), picked = rows < ROWS ? rows : ROWS;
    if (program->coupled || rows == 0)
        return 0;
    double *some = ad_reserve(picked * features, sizeof *some, "inputs", error);
    if (!some)
        return -1;
    for (size_t i = 0; i < picked; i++)
        memcpy(some + i * features, x + i * rows / picked * features, features * sizeof *some);
    question q = { program, which, some, picked, *sampling };
    q.sampling.independent = true;
    int status = is_random(&q, error);
    ad_free(some);
    return status ? -1 : 0;
}
