/* power.c: the power of n that a sampled kernel goes with, of its first entry at S samples and at S/4, or S/2 where a
 * quarter leaves no room for the draws.
 *
 * Powers are multiples of 1/2. One is ruled out where runs that it brings to one scale cannot have one law, by the
 * ranks of all pairs of a run at S and one at fewer (Mann and Whitney): means and deviations of runs say little where
 * tails are heavy, ranks do not ask for them. A power is told once its neighbours are ruled out; those above the bound
 * that the trace proves (tp_power_bound) are so from the start, for where tails are heavy the sample means of positive
 * numbers grow with the samples. A neighbour that is right is ruled out once in 10,000 kernels. */
#include "autodiff/base/base.h"
#include "tp/executor/executor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEWEST = 4, FIRST_RUNS = 8, MOST_RUNS = TP_MOST_RUNS };
static const double tiny = 1e-9;

typedef struct {
    int n;
    double at[MOST_RUNS];
} runs;

/* Can factor times v not have the law of w, but a larger one? The share of pairs that are larger, in its deviations
 * where the laws are one: of 8 runs each all pairs, 7.8e-5; else 4 deviations, 3.2e-5 of the normal law's. */
static bool is_above(const runs *v, double factor, const runs *w)
{
    double larger = 0, n = v->n, m = w->n, most = n * m;
    for (int i = 0; i < v->n; i++)
        for (int j = 0; j < w->n; j++)
            larger += factor * v->at[i] > w->at[j];
    return larger >= most || larger - most / 2 > 4 * sqrt(most * (n + m + 1) / 12);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const runs *v)
{
    runs sorted = *v;
    qsort(sorted.at, (size_t)sorted.n, sizeof *sorted.at, compare);
    return (sorted.at[(sorted.n - 1) / 2] + sorted.at[sorted.n / 2]) / 2;
}

/* False where not both neighbours are ruled out, or the medians do not go like this power. A bound that is no multiple
 * of 1/2 counts as the multiple below it. */
static bool decide(const runs *v, const runs *w, double ratio, double bound, double *power)
{
    double exact = log(median(v) / median(w)) / log(ratio), top = floor(2 * bound + tiny) / 2;
    *power = fmin(round(2 * exact) / 2, top) + 0.0; /* 0, not -0 */
    bool at_top = *power >= top - tiny;
    if (!isfinite(exact) || exact < *power - 0.2 || (!at_top && exact > *power + 0.2))
        return false;
    return is_above(v, pow(ratio, 0.5 - *power), w) && (at_top || is_above(w, pow(ratio, 0.5 + *power), v));
}

/* More of the first entry's values at so many samples, up to `n`; `all` has room for the kernel. */
static int add_runs(const tp_program *program, tp_kernel_kind which, const tp_sampling *sampling, size_t samples,
                    const double *x, size_t batch, int n, double *all, runs *to, ad_error *error)
{
    for (; to->n < n; to->n++) {
        tp_sampling one = *sampling;
        one.samples = samples;
        one.seed += 1009 * (uint64_t)to->n + (samples < sampling->samples ? 500 : 1);
        if (tp_sample_once(program, which, &one, x, batch, NULL, 0, all, error))
            return -1;
        to->at[to->n] = fabs(all[0]);
    }
    return 0;
}

static bool all_zero(const runs *v)
{
    for (int i = 0; i < v->n; i++)
        if (v->at[i] > 0)
            return false;
    return true;
}

int tp_find_power(const tp_program *program, tp_kernel_kind which, const tp_sampling *sampling, const double *x,
                  size_t rows, const double *first, int n_first, double *power, ad_error *error)
{
    size_t batch = program->meets ? rows : 1, ratio = FEWEST, samples = sampling->samples;
    double bound = tp_power_bound(program, which), *all = ad_alloc(batch * batch, sizeof *all, "a kernel", error);
    runs v = { .n = n_first < FIRST_RUNS ? n_first : FIRST_RUNS }, w = { 0 };
    ad_error too_few = { 0 };
    bool decided = false;
    for (int i = 0; i < v.n; i++)
        v.at[i] = fabs(first[i]);
    int status = all ? 0 : -1;
    if (!status && add_runs(program, which, sampling, samples / ratio, x, batch, 1, all, &w, &too_few))
        ratio = 2;
    for (int n = FIRST_RUNS; n <= MOST_RUNS && !status && !decided; n *= 2) {
        status = add_runs(program, which, sampling, samples, x, batch, n, all, &v, error);
        if (!status)
            status = add_runs(program, which, sampling, samples / ratio, x, batch, n, all, &w, error);
        *power = 0;
        decided = !status && ((all_zero(&v) && all_zero(&w)) || decide(&v, &w, (double)ratio, bound, power));
    }
    ad_free(all);
    if (status || decided)
        return status;
    return ad_fail(error,
                   "the sampled kernel is not seen to go like one power of n (medians of %d runs are %g at %zu samples "
                   "and %g at %zu): more samples, or --engine exact",
                   v.n, median(&w), samples / ratio, median(&v), samples);
}
