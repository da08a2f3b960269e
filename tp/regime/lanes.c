/* lanes.c: vectors put together along a fixed axis count as the largest of them. What is divided by them is then not
 * bounded: so what is taken out of them is followed to its part, and where they stay together they divide nothing. */
#include "tp/regime/exponents.h"

#include "autodiff/trace/trace.h"

#include <math.h>

static size_t length_of(const ad_graph *graph, ad_axis axis)
{
    return axis.id ? ad_axis_fixed(graph, axis) : 1;
}

const ad_node *tp_whole_of(const ad_graph *graph, const ad_node *node)
{
    const ad_node *in = node->op == AD_SLICE ? ad_node_of(graph, node->in[0]) : node;
    return in->op == AD_CONCAT && in->axis.id == node->axis.id ? in : node;
}

bool tp_takes_part(const ad_graph *graph, const ad_node *node, int k)
{
    const ad_node *whole = tp_whole_of(graph, node);
    if (whole == node)
        return true;
    size_t from = 0;
    for (int i = 0; i < k; i++)
        from += length_of(graph, whole->part_axes[i]);
    return node->start < from + length_of(graph, whole->part_axes[k]) &&
           node->start + length_of(graph, node->axis2) > from;
}

/* The axis along which a node's vectors are of different powers of n: 0: none, -1: not one alone. */
static int uneven_axis(const tp_exponents *e, const ad_node *node, const int *uneven)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *whole = tp_whole_of(graph, node);
    double most = -INFINITY, least = INFINITY;
    int axis = 0;
    for (int k = 0; k < whole->n_in; k++) {
        int in = whole->in[k], before = axis;
        if (!tp_takes_part(graph, node, k))
            continue;
        axis = axis == 0 || axis == uneven[in] ? uneven[in] : uneven[in] == 0 ? axis : -1;
        if (whole->op != AD_CONCAT || !isfinite(e->start[in]))
            continue;
        most = fmax(most, e->start[in]);
        least = fmin(least, e->start[in]);
        if (most - least > 1e-9 * e->log_n)
            axis = before == 0 || before == node->axis.id ? node->axis.id : -1;
    }
    for (int k = 0; k < node->over.rank && axis > 0; k++)
        axis = node->over.axes[k].id == axis ? 0 : axis;
    return axis;
}

int tp_check_lanes(const tp_exponents *e, ad_arena *arena, ad_error *error)
{
    const tp_program *p = e->program;
    int *uneven = ad_arena_alloc(arena, (size_t)p->n_nodes + 1, sizeof *uneven);
    if (!uneven)
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < p->n_nodes; id++) {
        const ad_node *node = ad_node_of(p->graph, id);
        if (!p->lives[id])
            continue;
        uneven[id] = uneven_axis(e, node, uneven);
        bool divides = node->op == AD_RSQRT || (node->op == AD_POWER && node->c < 0);
        if (node->op == AD_DIV ? uneven[node->in[1]] != 0 : divides && uneven[node->in[0]] != 0)
            return ad_fail(error,
                           "%s:%d: regime: divides by vectors of different powers of n that were put together, whose "
                           "own powers are not derived: divide by each before it is stacked",
                           node->where.file, node->where.line);
    }
    return 0;
}
