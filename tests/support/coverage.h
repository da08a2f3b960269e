/* coverage.h: how often intervals of the sampled engine hold the truth. */
#ifndef LIMN_TESTS_COVERAGE_H
#define LIMN_TESTS_COVERAGE_H
#include "tests/support/truth.h"

#include <stdio.h>

/* Of one entry of each kernel, for the entries of one kernel are not independent. */
typedef struct {
    int kernels, refused, held;
    int powers;     /* kernels that are said to grow or to vanish with n: none of these does */
    int below;      /* truths below their interval: half of those outside, unless there is a bias */
    double squares; /* of the distances in standard errors: (runs - 1) / (runs - 3) each, on average */
} coverage;

typedef struct {
    int seeds;      /* for each network; each is a kernel */
    int deep_seeds; /* for each of the deep kinds */
    size_t samples; /* 0: the engine's own choice, as of runs */
    int runs;
    bool heavy; /* functions that grow faster than linearly as well */
    bool only;  /* networks of one kind: */
    truth_kind kind;
} coverage_spec;
/* Student's 95 % intervals of deviations of `runs` runs, 0: 8: networks of all kinds but standard scale, which the
 * sampled engine refuses, with functions that have closed forms and grow at most linearly, and NNGP kernels and NTKs in
 * turn. The entry is between the first two rows. A line for each network to `stream` (NULL: none). 0, or -1 with an
 * error. */
int coverage_run(const coverage_spec *spec, coverage kinds[N_TRUTH_KINDS], FILE *stream, ad_error *error);
coverage coverage_sum(const coverage kinds[N_TRUTH_KINDS]);
void coverage_print(const char *name, const coverage *c, FILE *stream);
/* P(|T| <= t) of a Student variable. */
double student_within(double t, int freedom);
#endif
