/* tally.h: what comparisons with the truth add up to, kind by kind. */
#ifndef LIMN_TESTS_TALLY_H
#define LIMN_TESTS_TALLY_H
#include "tests/support/truth.h"

typedef struct {
    int kernels, refused, failures;
    double worst; /* error / stated */
    int n;
    double *stated, *error, *ratio; /* of those that are not refused: error, what was stated, stated / error if > 0 */
    int ratios;
    char text[1500]; /* the worst one */
} tally;

typedef struct {
    tally kinds[N_TRUTH_KINDS], all;
} tallies;
/* The kernels of `count` cases from `first` on; failures and refusals are told to `stream` (NULL: not), and so is a
 * table. How many failed; -1 with an error. tallies_free what it leaves. */
int tallies_run(tallies *t, truth_case (*case_of)(uint64_t seed), uint64_t first, int count, FILE *stream,
                ad_error *error);
void tallies_print(const tallies *t, FILE *stream);
void tallies_free(tallies *t);
double tally_median(const double *values, int n); /* NAN of none */
#endif
