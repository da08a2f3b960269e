/* architecture.h: random networks, each a function of its seed, and how three ways to their kernels compare. */
#ifndef LIMN_TESTS_ARCHITECTURE_H
#define LIMN_TESTS_ARCHITECTURE_H
#include "limn.h"

/* Traces the network of a seed, from all coordinatewise ops of the table: layers between widths n/2, n and 2n,
 * matrices used again and transposed, biases, recurrences, residual sums, skips from the input, gates, layer
 * normalisation, averages that scale vectors; read out by one head or two, with a bias, or by an average. NULL with
 * an error. */
nn_net *architecture_trace(uint64_t seed, ad_error *error);
/* What it is, in the order of its trace: "v1 = W1 tanh(v0) [n]; ...". Of the network traced last. */
const char *architecture_story(void);

/* Sums over networks. */
typedef struct {
    int nets, kernels, exact, general, entries; /* exact: kernels; general: networks that are not BP-like */
    double squares;                             /* of the finite networks' distances, in their standard errors */
    double worst_finite, worst_exact;           /* of the last network */
    int disagreements;
    char text[2000]; /* of the last network: what disagrees, with its seed and story */
} architecture_tally;

enum { ARCHITECTURE_WIDTH = 1024, ARCHITECTURE_SEEDS = 8 };
/* NTK and NNGP kernel of the network of a seed, on three inputs: the exact engine where it has rules, the executor
 * at n = infinity, and ARCHITECTURE_SEEDS networks of width ARCHITECTURE_WIDTH. How many of the comparisons fail; -1
 * with an error that tells the story.
 *
 * Entry by entry, the mean over 8 networks is to lie within 12 standard errors (its own and the executor's together)
 * of the executor's value, after a bias of 4/n of the diagonal. A Student variable of 7 degrees of freedom lies
 * beyond 12 with probability 6.3e-6; with 6 entries and 2 kernels, one false alarm in 13,000 networks. The exact
 * kernel is to lie within 12 of the executor's own standard errors, of 8 runs, in Frobenius norm: at most as often
 * again. */
int architecture_compare(uint64_t seed, int threads, architecture_tally *tally, ad_error *error);
#endif
