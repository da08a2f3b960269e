/* trace.h: the inside of a graph, for its own files and for rooms that build nodes. */
#ifndef LIMN_AUTODIFF_TRACE_TRACE_H
#define LIMN_AUTODIFF_TRACE_TRACE_H
#include "autodiff/autodiff.h"

#include <stdatomic.h>

typedef struct {
    char name[32];
    ad_kind kind;
    double ratio;
    size_t size;
} ad_axis_row;

/* One thread at a time adds to a graph. Others may read meanwhile what they know of, plans that run among them: a node
 * or an axis never moves and never changes (but for `moved`, which only the derivative reads), and tables that were
 * outgrown stay in the arena, where they are right for all that was there before. */
struct ad_graph {
    ad_arena *arena;
    _Atomic(ad_node **) nodes;
    atomic_int n_nodes;
    _Atomic(ad_axis_row *) axes; /* axes[0] is no axis */
    atomic_int n_axes;
    int nodes_capacity, axes_capacity;
    int *named, n_named, named_capacity; /* the nodes with names by their hash, from 1 on, 0 where free (names.c) */
    unsigned char mark;         /* in its axes: graphs made one after the other have different ones, from 1 to 255 */
    struct ad_checked *checked; /* users' functions that were looked at (custom.c) */
    ad_error error;
};

/* A place to go back to: what is added after it, errors as well, can be dropped again if nobody knows of it yet. */
typedef struct {
    int nodes, axes;
} ad_mark;
ad_mark ad_graph_mark(const ad_graph *graph);
void ad_graph_rewind(ad_graph *graph, ad_mark mark);

/* Binary op on operands neither of which need hold all axes of the other: what a user must expand explicitly, the
 * derivative rules may combine, because the axes of a cotangent are foreign by design. */
ad_var ad_combine(ad_where where, ad_op op, ad_var a, ad_var b);
/* Appends a node whose shape the caller vouches for. */
ad_var ad_node_make(ad_graph *graph, ad_node node, int n_in, const int *in);
/* The same with one operand. */
ad_var ad_node_on(ad_var x, ad_node node);

/* Gives a parameter the rate 0, before anybody else reads the graph. */
void ad_param_freeze(ad_var param);

/* The node of this name; -1: none. */
int ad_named(const ad_graph *graph, const char *name);
/* Notes that the last node has a name, which no other has; false without memory. */
bool ad_note_name(ad_graph *graph);

/* The graph that this thread traces, from ad_graph_trace, which returns the one before, to its next call; NULL: none.
 * It is told of variables that belong to no graph, or to another one. */
ad_graph *ad_graph_trace(ad_graph *graph);
ad_graph *ad_graph_traced(void);

/* ---- what builders check ---- */
/* True for a graph; NULL is an error of the one that is traced. */
bool ad_has_graph(ad_where where, const char *op, const ad_graph *graph);
/* Not poisoned, and neither is its graph. What was never set, or is no variable of its graph, is an error of that
 * graph, or of the one that is traced. */
bool ad_alive(ad_where where, const char *op, ad_var v);
ad_var ad_poisoned(ad_var a);
/* The graph of an op's arguments if all is well, NULL if one is poisoned or they are of two graphs. */
ad_graph *ad_common_graph(ad_where where, const char *op, ad_var a, ad_var b);
/* True for an axis of the graph, and a list of at most AD_MAX_RANK of them; otherwise poisons. */
bool ad_owns_axis(ad_where where, const char *op, ad_graph *graph, ad_axis axis);
bool ad_owns_shape(ad_where where, const char *op, ad_graph *graph, const ad_shape *shape);
/* True for a text; NULL poisons: the op's `what` is missing. */
bool ad_has_text(ad_where where, const char *op, ad_graph *graph, const char *what, const char *text);
/* A user's function, looked at once in a graph: is it a function of all the numbers that its argument may be, are its
 * derivatives those of the ones before, and its kinks all that there are? False: poisoned. */
bool ad_function_sound(ad_where where, const ad_function *function, ad_var x);
/* True if x has the axis; otherwise poisons with the axis and the shape. */
bool ad_needs_axis(ad_where where, const char *op, ad_var x, ad_axis axis);

/* The axis, primed more often than in any node up to the last one: an axis for a cotangent that the trace has not. */
ad_axis ad_unused_prime(const ad_graph *graph, int last, ad_axis axis);

/* ---- shapes ---- */
ad_axis ad_unprimed(ad_axis axis);
ad_shape ad_shape_minus(const ad_shape *a, const ad_shape *b);
ad_shape ad_shape_union(const ad_shape *a, const ad_shape *b);
ad_shape ad_shape_meet(const ad_shape *a, const ad_shape *b);
bool ad_shape_within(const ad_shape *part, const ad_shape *whole);
/* dependence.c: as ad_replace, and also[i], which come before y, become what they are there; those that y does not
 * depend on stay. */
ad_var ad_replace_also(ad_where where, ad_var y, const ad_var *from, const ad_var *to, int n, ad_var *also, int n_also);
ad_shape ad_shape_replace(ad_shape shape, ad_axis from, ad_axis to);
void ad_shape_push(ad_shape *shape, ad_axis axis);
bool ad_shape_same(const ad_shape *a, const ad_shape *b);   /* the same axes in any order */
bool ad_shape_equal(const ad_shape *a, const ad_shape *b);  /* the same axes in the same order */
int ad_shape_position(const ad_shape *shape, ad_axis axis); /* of an axis; -1 if it is not there */
#endif
