/* walk.h: private: the way down a trace from the second vector of a Jacobian to the first. */
#ifndef LIMN_TP_SPECTRUM_WALK_H
#define LIMN_TP_SPECTRUM_WALK_H
#include "autodiff/trace/trace.h"
#include "tp/spectrum/inside.h"

/* A function between two vectors. */
typedef struct {
    int factor, v, argument;
    double mean_square, power; /* of v: times n^power */
} tp_piece;
typedef struct {
    tp_program *program;
    const ad_graph *graph;
    const double *x;
    int from, to;
    bool *reach;  /* by node: depends on `from` */
    bool one_way; /* no matrix is used together with its transpose */
    tp_chain *chain;
    int capacity;
    tp_piece *pieces;
    int n_pieces, piece_capacity;
    double log_scale, power; /* of the square of J: what scales and deviations bring, times n^power */
    ad_error *error;
} tp_walk;

/* Set program, x and error. The caller frees `reach` with ad_free. */
int tp_walk_begin(tp_walk *w, const tp_vectors *between);
const ad_node *tp_walk_node(const tp_walk *w, int id);
/* -1, with op, file and line of the node in the error. */
int tp_walk_refuse(const tp_walk *w, int id, const char *why);
/* The size in n of a vector's width. */
double tp_walk_space(const tp_walk *w, int id);
/* How often the forward pass multiplies with a parameter. */
int tp_walk_uses(const tp_walk *w, int param);
/* How many nodes of the forward pass take a node as an operand. */
int tp_walk_takers(const tp_walk *w, int operand);
/* W x, or W' x: which operand is the matrix; -1: none is. */
int tp_walk_operand(const tp_walk *w, const ad_node *node);
/* The matrix of such a product as a factor, of a square that grows as n^*power. */
int tp_walk_matrix(const tp_walk *w, int id, int operand, tp_chain_factor *factor, double *power);
/* What a scale brings to the square of J: c^2 as a logarithm, and a power of n. */
void tp_walk_scale(const tp_walk *w, const ad_node *node, double *log_scale, double *power);
/* The Gaussian vector that a coordinatewise function is of: all ways from v to `from` lead through it. -1 with an error
 * where there is none. */
int tp_walk_argument(const tp_walk *w, int v);
/* The variance n^power that the exact engine finds of a Gaussian vector at the input. */
int tp_walk_variance(const tp_walk *w, int id, double *variance, double *power);
/* Of a bias that is used once, spread and scaled; -1, without an error, where it is none. */
int tp_walk_bias(const tp_walk *w, int id, double *variance, double *power);
#endif
