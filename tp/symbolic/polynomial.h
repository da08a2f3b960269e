/* polynomial.h: the inside of the coordinates' algebra, for algebra.c, polynomial.c, coordinate.c and the recursion. */
#ifndef LIMN_TP_POLYNOMIAL_H
#define LIMN_TP_POLYNOMIAL_H
#include "tp/symbolic/symbolic.h"

#include <math.h>

/* Records that memory is out; -1. */
int tp_lacks_memory(const tp_algebra *);
/* c times a scalar times a function, or c times a scalar, as a function; -1 without memory. */
int tp_fn_times_scalar(tp_algebra *, double c, int scalar, int fn);
int tp_fn_of_scalar(tp_algebra *, double c, int scalar);
int tp_fn_sum(tp_algebra *, int sum, int part); /* both functions; a sum of -1 is none yet */
/* The fixed axes of a node at the indices that `from` gives, in the node's order; others (summed ones) are left out. */
tp_point tp_point_within(const tp_algebra *, int node, const tp_point *from);

/* A polynomial under way. Start with TP_EMPTY. */
typedef struct {
    double rest;
    int rest_node, n, room;
    tp_term *terms;
} tp_builder;
#define TP_EMPTY ((tp_builder){ .rest = -INFINITY, .rest_node = -1 })
void tp_leave(tp_builder *, double power, int node);                /* something of order n^power is left out */
bool tp_push_term(tp_algebra *, tp_builder *, const tp_term *term); /* into an equal one if there is one */
bool tp_push_scaled(tp_algebra *, tp_builder *, int x, double c, double power); /* c n^power times a coordinate */
int tp_finish(tp_algebra *, tp_builder *);                                      /* the coordinate, in normal form */
int tp_coordinate_number(tp_algebra *, double value);
bool tp_term_is_linear(const tp_algebra *, const tp_term *term); /* is it a multiple of one lin? */
/* The lin of the terms of x that are multiples of lins, -1 if there are none, -2 without memory. */
int tp_linear_part(tp_algebra *, const tp_coordinate *x);
#endif
