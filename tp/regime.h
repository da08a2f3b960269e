/* regime.h: what a parametrization does as n grows, from the symbolic exponents of a traced network alone.
 *
 *     tp_program *program = tp_translate(net, &error);
 *     tp_regime regime;
 *     tp_regime_find(program, &(tp_regime_spec){ .optimizer = NN_ADAM }, &regime, &error);
 *     puts(regime.verdict);
 *     tp_regime_free(&regime);
 *
 * For every vector of the forward pass and the output: the power of n of a coordinate's size at the start, of its
 * change after one step and after several, by the rules of Tensor Programs IV (arXiv:2011.14522) and IVb
 * (arXiv:2308.01814): a Gaussian matrix sums incoherently, n^1/2; an update of it and the input that made it
 * coherently, n; an average over coordinates by the law of large numbers, n, unless each is odd in random entries of
 * its own: one sign that all share does not cancel. Where preactivations grow, derivatives of bounded functions are of
 * order one in a falling share of the units, whose updates are made of the same derivatives (strips.c); a positively
 * homogeneous function's are not. A number that all coordinates share, learned or computed, changes what it multiplies
 * by one factor: sums that cancelled still do. Sums are taken to be as large as their largest term; what cancels as the
 * trace shows, is left out, in x - mean x all that is the same along the axes of the mean; what else cancels, is
 * bounded from above.
 * A bound is no size to divide by: that is an error, "not known". The loss is the square loss without weight decay;
 * inputs, targets and the number of steps do not grow.
 *
 * Threads: as tp.h has it; the program is only read. */
#ifndef LIMN_TP_REGIME_H
#define LIMN_TP_REGIME_H
#include "tp.h"

LIMN_API_BEGIN

/* W = n^-a omega, omega ~ N(0, sigma^2 n^-2b), learning rate eta n^-c (THEORY section 2). NAN: as the network has
 * it. */
typedef struct {
    double a, b, c;
} tp_abc;

typedef struct {
    nn_optimizer optimizer;
    const tp_abc *abc; /* (nn_n_params): of each parameter in place of the trace's; NULL: as traced, with the rates of
                          nn_rate_powers */
    bool parts;        /* find them, too */
    size_t near[2];    /* two widths, the first the smaller: find near_start and near_response; 0: do not */
    double inputs;     /* of near: the root mean square of the inputs; 0: 1; */
    size_t rows;       /* how many inputs a batch has; 0, 1: one; */
    double overlap;    /* and what an update by one does to another, as a share of what it does to that one, |cos|, or
                          by the data of one step of a sequence to those of another */
} tp_regime_spec;

/* Powers of n; -INFINITY: it does not change at all. */
typedef struct {
    const char *name; /* the vector's line in the program, "h2"; "f": the output; of what a function takes in with a
                         parameter and no line names, which is listed where it grows: the sum, "g1 + b1" */
    ad_where where;   /* of that line */
    int node;         /* of the trace; what reads it multiplies it by n^front, which counts in all that follows */
    double front;
    double start;          /* of a coordinate's size */
    double first, several; /* of its change after one step, and after several */
    double response;       /* of its change after one step, to first order in a small rate: `first`, but where changes
                              are larger than what they change, as of a scale that diverges */
    /* Of a small rate, the first step that changes it at all and the power of that change, to the lowest order in the
     * rate: 1 and `response`, but where the first step's change to first order is 0, as behind readouts that start from
     * 0; 0: none of several does. */
    int moves;
    double later;
    /* The slope of the log of start, and of response by the parameters that lead it, between the widths `near`, from
     * sizes with their constants: where terms of lower order are not small yet, as of tanh(h) for h ~ n^-1/4, or a
     * constant leads only beyond, as a normalisation's epsilon. -INFINITY: none. */
    double near_start, near_response;
    /* It grows and breaks nothing: only products take it in, of which none grows, as they do the reciprocal deviation
     * of a vector that vanishes. */
    bool factor;
} tp_growing;

/* A constant that what vanishes as n grows is added to, as the epsilon of a normalisation, leads from a width on. */
typedef struct {
    ad_where where;
    double value, width; /* width INFINITY: beyond e^80 */
} tp_constant;

typedef struct {
    const char *name; /* of the parameter */
    ad_where where;
    double rate;      /* the power of n of its learning rate; NAN: it is frozen */
    double change;    /* of what its first update alone changes in the vector that it makes */
    double suggested; /* the power of the rate with which that change is of order one */
} tp_layer_rate;

typedef struct {
    int n_vectors, n_params; /* the output is the last vector */
    tp_growing *vectors;
    tp_layer_rate *params;
    bool stable;     /* nothing but factors grows with n, at the start or while it trains */
    bool trains;     /* the output's change is of order one */
    bool features;   /* a hidden vector's change is of order one; factors have no part in it */
    int breaks;      /* the first vector that grows and is no factor, -1: none */
    bool suggestion; /* with the suggested powers of all rates it is stable */
    char verdict[600];
    void *memory;
    int n_constants;
    tp_constant *constants; /* in the order of the trace */
    double *parts; /* (n_vectors, n_params): what the first update of one parameter alone adds to a vector's `response`,
                      which is the largest of them; -INFINITY: nothing; NULL: not asked for */
} tp_regime;

int tp_regime_find(const tp_program *program, const tp_regime_spec *spec, tp_regime *regime, ad_error *error);
void tp_regime_free(tp_regime *regime);

LIMN_API_END
#endif
