/* verdict.h: what limn says of a random network (language.h), against truth: the exact engine, the executor at
 * n = infinity and wide finite networks; and the network written in other ways. */
#ifndef LIMN_TESTS_VERDICT_H
#define LIMN_TESTS_VERDICT_H
#include "tests/support/language.h"

typedef enum { VERDICT_EXACT, VERDICT_SAMPLED, VERDICT_REFUSED, VERDICTS } verdict;
extern const char *const verdict_names[VERDICTS];

typedef struct {
    verdict verdict;                   /* of the first output's NTK */
    int exact, sampled;                /* kernels, of NTK, NNGP and training kernel, between any two outputs */
    int by_sample, by_width, by_style; /* comparisons made: with the executor, finite networks, other ways to write */
    int second_looks;                  /* suspicions that more samples and networks were asked about */
    int disagreements;
    double seconds;    /* of the exact engine, its longest kernel */
    char refusal[300]; /* why it is not exact */
    char text[4000];   /* what disagrees */
    language_cells cells;
} verdict_result;

typedef struct {
    bool finite;     /* finite networks, too; else on suspicion, or where the executor is not a way */
    bool all_styles; /* every other way to write it, not one of them */
} verdict_spec;

/* The kernels of a seed's network on language_inputs, three ways, and written otherwise. 0, or -1 with an error where
 * limn fails otherwise than by a refusal.
 *
 * Truth. A suspicion is an entry 6 of its standard errors off (Student, 7 degrees of freedom: 5e-4). Then all is done
 * again from other seeds, at 4 times the samples, in 32 runs: a disagreement is one that is as large as 3/4 of the
 * first one, so that no bias like 1/sqrt(S) is one, and beyond 7 standard errors (31 degrees of freedom: 8e-8). With 3
 * inputs, 6 entries, and 5 kernels of a network that is at most 2.4e-6 a network, 0.7 % of one false alarm in 3,000;
 * the two conditions together make it less. Finite networks alike: 8 of width 256, then 32 of widths 128 and 1024,
 * extrapolated by 1/n and by 1/sqrt(n), which must both disagree, and must not have the limit between them.
 *
 * Otherwise. The exact kernel against that of the same network in another way (language_style), with its rows in
 * another order, with the inputs as a second set; symmetric, and positive semidefinite: all to the stated errors. */
int verdict_of(uint64_t seed, const verdict_spec *spec, verdict_result *result, ad_error *error);

/* Sums over networks: cells by verdict. */
typedef struct {
    int networks, by[VERDICTS];
    verdict_result sum;
    int count[AD_N_OPS][LANGUAGE_KINDS][LANGUAGE_KINDS][VERDICTS];
} verdict_table;
void verdict_add(verdict_table *table, const verdict_result *result);
/* A row an op and kind of its first argument, a column a kind of its last: exact/sampled/refused networks. In
 * Markdown. */
void verdict_print(const verdict_table *table, FILE *stream);
#endif
