#include "tests/support/tally.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double tally_median(const double *values, int n)
{
    double *sorted = n ? malloc((size_t)n * sizeof *sorted) : NULL, middle = NAN;
    if (sorted) {
        memcpy(sorted, values, (size_t)n * sizeof *sorted);
        qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
        middle = (sorted[n / 2] + sorted[(n - 1) / 2]) / 2;
    }
    free(sorted);
    return middle;
}

static bool append(double **values, int n, double value)
{
    double *grown = realloc(*values, (size_t)(n + 1) * sizeof *grown);
    if (!grown)
        return false;
    *values = grown;
    grown[n] = value;
    return true;
}

/* Whether the memory was there. */
static bool add(tally *t, const truth_outcome *o, const char *story)
{
    double worst = o->error > 0 ? o->error / o->stated : 0;
    t->kernels++;
    t->refused += o->refused;
    if (o->refused)
        return true;
    t->failures += !(o->error <= o->stated);
    if (worst > t->worst) {
        t->worst = worst;
        snprintf(t->text, sizeof t->text, "%s", story);
    }
    bool fine = append(&t->stated, t->n, o->stated) && append(&t->error, t->n, o->error);
    t->n++;
    if (fine && o->error > 0)
        fine = append(&t->ratio, t->ratios++, o->stated / o->error);
    return fine;
}

static int run_case(tallies *t, truth_case c, uint64_t seed, FILE *stream, ad_error *error)
{
    static truth_kernels truth;
    char story[1500], network[400];
    truth_solve(&c, &truth);
    truth_tell(&c, network, sizeof network);
    for (int which = 0; which < 2; which++) {
        truth_outcome o;
        if (truth_compare(&c, &truth, which ? TP_NNGP : TP_NTK, &o, error))
            return -1;
        snprintf(story, sizeof story, "%d: %s of %s: error %.3g, stated %.3g; %s", (int)seed, which ? "NNGP" : "NTK",
                 network, o.error, o.stated, o.text);
        if (!add(&t->kinds[c.kind], &o, story) || !add(&t->all, &o, story))
            return ad_fail(error, "no memory for a tally");
        if (stream && (o.refused || !(o.error <= o.stated)))
            fprintf(stream, "%s %s\n", o.refused ? "refused" : "WRONG", story);
    }
    return 0;
}

int tallies_run(tallies *t, truth_case (*case_of)(uint64_t seed), uint64_t first, int count, FILE *stream,
                ad_error *error)
{
    for (int k = 0; k < count; k++)
        if (run_case(t, case_of(first + (uint64_t)k), first + (uint64_t)k, stream, error))
            return -1;
    return t->all.failures;
}

static void print_row(const char *name, const tally *t, FILE *stream)
{
    fprintf(stream, "%-18s %7d %7d %6d   %9.2g   %12.2g %12.2g %14.2g\n", name, t->kernels, t->refused, t->failures,
            t->worst, tally_median(t->stated, t->n), tally_median(t->error, t->n), tally_median(t->ratio, t->ratios));
}

void tallies_print(const tallies *t, FILE *stream)
{
    fprintf(stream,
            "kind               kernels refused  wrong  worst ratio   median stated  median error  stated / error\n");
    for (int k = 0; k < N_TRUTH_KINDS; k++)
        if (t->kinds[k].kernels)
            print_row(truth_kind_name((truth_kind)k), &t->kinds[k], stream);
    print_row("all", &t->all, stream);
}

static void release(tally *t)
{
    free(t->stated);
    free(t->error);
    free(t->ratio);
}

void tallies_free(tallies *t)
{
    for (int k = 0; k < N_TRUTH_KINDS; k++)
        release(&t->kinds[k]);
    release(&t->all);
}
