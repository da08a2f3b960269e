/* inside.h: what the files of this room share that look at a program. */
#ifndef LIMN_TP_SPECTRUM_INSIDE_H
#define LIMN_TP_SPECTRUM_INSIDE_H
#include "tp/gauss/gauss.h"
#include "tp/program/program.h"
#include "tp/spectrum/chain.h"

/* Two vectors of the trace; the Jacobian asked for is scale n^power d to / d from. */
typedef struct {
    ad_var from, to;
    double scale, power;
} tp_vectors;

/* ---- vectors.c ---- */
/* By the names of the program's lines; NULL: the first and the last preactivation of the forward pass. */
int tp_find_vectors(const tp_program *program, const char *from, const char *to, tp_vectors *found, ad_error *error);
/* Is a vector a sum of products with parameters and of biases, all of mean 0? */
bool tp_is_gaussian(const tp_program *program, int id);
/* By node up to `to`: does it depend on `from`? Of ad_alloc. */
bool *tp_depends_on(const ad_graph *graph, int from, int to, ad_error *error);

/* ---- function_law.c ---- */
/* A coordinatewise function of one vector and its derivative, as nodes of their own, and the functions with kinks in
 * them. Set program and error, then open; where the argument is a scale, what it scales may be in v, too. */
enum { TP_MOST_KINKED = 32 };
typedef struct {
    tp_program *program;
    ad_var argument, function, derivative;
    double outer, outer_power; /* v^2 is outer n^outer_power times the function's square */
    int n_kinked, n_kinks;
    ad_var kinked[TP_MOST_KINKED];
    double kinks[TP_MOST_KINKED];
    ad_error *error;
} tp_slope;
int tp_slope_open(tp_slope *s, ad_var v, ad_var argument);
/* A node that is made of the argument alone, at n points of it; `out` may be the points. */
int tp_slope_evaluate(const tp_slope *s, ad_var node, size_t n, const double *points, double *out);
/* Both as functions for expectations over Gaussians, of variances up to about 100; they point to *s. */
int tp_slope_univariates(tp_slope *s, tp_univariate *function, tp_univariate *derivative);
/* The law of (d v / d argument)^2, and E v^2, where v is a coordinatewise function of the vector `argument`, Gaussian
 * with mean 0 and this variance; with `ends` its least and most, too. */
int tp_law_of_function(tp_program *program, ad_var v, ad_var argument, double variance, bool ends, tp_law *law,
                       double *mean_square, ad_error *error);

/* ---- print_equation.c ---- */
int tp_chain_print(const tp_chain *chain, FILE *out, ad_error *error);

/* ---- jacobian.c ---- */
/* `count` vectors whose mean squares are the moments, in order, as new nodes; they begin with a parameter of their own,
 * N(0, 1). */
int tp_jacobian_vectors(tp_program *program, const tp_vectors *between, int count, ad_var *vectors, ad_error *error);
/* spec->moments moments and errors at the input x, by the exact engine or the executor, and the method. */
int tp_jacobian_moments(tp_program *program, const tp_vectors *between, const double *x, const tp_spectrum_spec *spec,
                        tp_spectrum *s, ad_error *error);

/* ---- trace_chain.c ---- */
/* A layer of a chain: phi from a Gaussian vector, the matrix after it and the next vector's bias. */
typedef struct {
    ad_var function, argument;
    double variance;                   /* of the argument at the input */
    double weight_square, bias_square; /* sigma_w^2, sigma_b^2 */
} tp_layer;
/* The first one between the two vectors. */
int tp_first_layer(tp_program *program, const tp_vectors *between, const double *x, tp_layer *layer, ad_error *error);
/* The chain between the two at the input x; an error that names op, file and line where there is none. */
int tp_trace_chain(tp_program *program, const tp_vectors *between, const double *x, tp_chain *chain, ad_error *error);
#endif
