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

/* The kernels of a seed's network on language_inputs, three ways; finite networks only if asked for, on suspicion, or
 * where the executor is not a way. 0, or -1 with an error where limn fails otherwise than by a refusal.
 *
 * A suspicion is an entry 6 of its standard errors off (Student, 7 degrees of freedom: 5e-4). Then all is done again
 * from other seeds, at 4 times the samples, in 32 runs: a disagreement is one that is as large as half of the first
 * one, so that no bias like 1/S is one, and beyond 7 standard errors (31 degrees of freedom: 8e-8). With 4 inputs, 10
 * entries, and 5 kernels of a network that is at most 4e-6 a network, 1.2 % of one false alarm in 3,000; the two
 * conditions together make it less. Finite networks alike: 8 of width 512, then 32 of widths 512 and 2048,
 * extrapolated by 1/n and by 1/sqrt(n), which must both disagree. */
int verdict_of(uint64_t seed, bool finite, verdict_result *result, ad_error *error);
/* The exact kernels of the network against those of the same network written otherwise (language_style), with its rows
 * in another order, with the inputs as a second set, and against what all kernels are: symmetric, positive
 * semidefinite. To the stated errors. */
int verdict_of_styles(uint64_t seed, verdict_result *result, ad_error *error);

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
