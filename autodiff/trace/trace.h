/* graph.h: the inside of a graph, for the files of this folder. */
#ifndef LIMN_AUTODIFF_GRAPH_H
#define LIMN_AUTODIFF_GRAPH_H
#include "autodiff/autodiff.h"

typedef struct {
    char name[32];
    ad_kind kind;
    double ratio;
    size_t size;
} ad_axis_row;

struct ad_graph {
    ad_arena *arena;
    ad_node **nodes;
    int n_nodes, n_room;
    ad_axis_row *axes; /* axes[0] is no axis */
    int n_axes, axes_room;
    ad_error error;
};

/* Binary op on operands neither of which need hold all axes of the other: what a user must expand explicitly, the
 * derivative rules may combine, because the axes of a seed are foreign by design. */
ad_var ad_combine(ad_where where, ad_op op, ad_var a, ad_var b);
/* Appends a node whose shape the caller vouches for. */
ad_var ad_node_make(ad_graph *graph, ad_node node, int n_in, const int *in);
ad_shape ad_shape_minus(const ad_shape *a, const ad_shape *b);
ad_shape ad_shape_union(const ad_shape *a, const ad_shape *b);
ad_shape ad_shape_meet(const ad_shape *a, const ad_shape *b);
bool ad_shape_within(const ad_shape *part, const ad_shape *whole);
ad_shape ad_shape_replace(ad_shape shape, ad_axis from, ad_axis to);
void ad_shape_push(ad_shape *shape, ad_axis axis);
#endif
