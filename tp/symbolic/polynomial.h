/* polynomial.h: the inside of coordinates: what polynomial.c makes them with, for coordinate.c and zdot.c. */
#ifndef LIMN_TP_SYMBOLIC_POLYNOMIAL_H
#define LIMN_TP_SYMBOLIC_POLYNOMIAL_H
#include "tp/symbolic/symbolic.h"

/* c times a scalar times a function, or c times a scalar, as a function; -1 without memory. */
int tp_fn_times_scalar(tp_algebra *, double c, int scalar, int fn);
int tp_fn_of_scalar(tp_algebra *, double c, int scalar);
int tp_fn_sum(tp_algebra *, int sum, int part); /* both functions; a sum of -1 is none yet */

/* A polynomial under way. Start with TP_EMPTY. */
typedef struct {
    double rest, square;
    int rest_node, n, capacity;
    tp_term *terms;
} tp_builder;
#define TP_EMPTY ((tp_builder){ .rest = -INFINITY, .square = -INFINITY, .rest_node = -1 })
void tp_leave(tp_builder *, double power, int node);                /* something of order n^power is left out */
void tp_leave_square(tp_builder *, double power);                   /* the root of whose mean square is this */
bool tp_push_term(tp_algebra *, tp_builder *, const tp_term *term); /* into an equal one if there is one */
bool tp_push_scaled(tp_algebra *, tp_builder *, int x, double c, double power); /* c n^power times a coordinate */
int tp_finish(tp_algebra *, tp_builder *);                                      /* the coordinate, in normal form */
bool tp_term_is_linear(const tp_algebra *, const tp_term *term);                /* is it a multiple of one lin? */
/* The lin of the terms of x that are multiples of lins, -1 if there are none, -2 without memory. */
int tp_linear_part(tp_algebra *, const tp_coordinate *x);
/* Z dot of a product with a matrix, in units of its G-var, where `vector` is what is multiplied. */
int tp_response(tp_algebra *, int node, const tp_gvar *product, int vector);
#endif
