/* symbols.c: refusals, and what a node's axes are to coordinates: points of fixed ones, sizes of all. */
#include "tp/symbolic/symbolic.h"

#include <math.h>
#include <stdarg.h>

int tp_refuse(tp_algebra *algebra, int node, const char *format, ...)
{
    char text[300];
    va_list args;
    if (algebra->waits)
        return -1;
    va_start(args, format);
    ad_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const ad_node *n = ad_node_of(algebra->graph, node);
    algebra->refused = true;
    return ad_fail(algebra->error, "%s:%d: %s: %s", n->where.file, n->where.line, tp_node_name(n), text);
}

bool tp_is_full(const tp_algebra *algebra)
{
    if (!algebra->arena || !ad_arena_is_full(algebra->arena))
        return false;
    ad_fail(algebra->error,
            "the recursion has too many quantities, of %d GB and more: fewer layers, steps or positions, or --engine "
            "sample",
            TP_MOST_GIGABYTES);
    return true;
}

int tp_lacks_memory(const tp_algebra *algebra)
{
    return algebra->waits ? -1 : ad_fail(algebra->error, "out of memory while solving the program");
}

int tp_had_memory(const tp_algebra *algebra)
{
    return algebra->starved && *algebra->starved ? tp_lacks_memory(algebra) : 0;
}

tp_point tp_point_of(const tp_algebra *algebra, int node, const ad_shape *without)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_node_of(algebra->graph, node)->shape;
    for (int i = 0; i < shape->rank; i++)
        if (ad_axis_kind(algebra->graph, shape->axes[i]) == AD_FIXED && !(without && ad_has(without, shape->axes[i])))
            tp_point_set(&point, shape->axes[i], 0);
    return point;
}

bool tp_point_next(const tp_algebra *algebra, tp_point *point)
{
    for (int i = point->n - 1; i >= 0; i--) {
        if (++point->at[i].index < (int)ad_axis_fixed(algebra->graph, point->at[i].axis))
            return true;
        point->at[i].index = 0;
    }
    return false;
}

double tp_axis_factor(const tp_algebra *algebra, ad_axis axis, double *power)
{
    *power = 0;
    if (axis.id == 0)
        return 1;
    if (ad_axis_kind(algebra->graph, axis) == AD_FIXED)
        return (double)ad_axis_fixed(algebra->graph, axis);
    *power = 1;
    return ad_axis_ratio(algebra->graph, axis);
}

int tp_without_scale(const tp_algebra *algebra, int node, double *c, double *power)
{
    int inside = node;
    double factor = 1, exponent = 0;
    while (!tp_is_data(algebra, inside) && ad_node_of(algebra->graph, inside)->op == AD_SCALE) {
        const ad_node *n = ad_node_of(algebra->graph, inside);
        double p, size = tp_axis_factor(algebra, n->axis, &p);
        factor *= n->c * pow(size, n->power);
        exponent += p * n->power;
        inside = n->in[0];
    }
    if (!tp_is_data(algebra, inside))
        return node;
    *c *= factor;
    *power += exponent;
    return inside;
}

/* The point of a node's operand where a fixed axis is moved; it may lie outside, among zeros. */
static void step_into(const ad_node *node, tp_point *point)
{
    int index = tp_point_index(point, node->axis2);
    if (node->op == AD_WINDOWS)
        index = tp_window_entry(node, index, tp_point_index(point, node->axis3));
    else
        index += node->op == AD_SLICE ? (int)node->start : -(int)node->start;
    tp_point_set(point, node->axis, index);
}

int tp_data_source(const tp_algebra *algebra, int node, ad_axis axis, tp_point *point)
{
    const ad_node *n = ad_node_of(algebra->graph, node);
    while ((n->op == AD_WINDOWS || n->op == AD_UNSLICE || n->op == AD_SLICE) && !ad_same(n->axis2, axis) &&
           !ad_same(n->axis3, axis)) {
        step_into(n, point);
        int index = tp_point_index(point, n->axis);
        if (index < 0 || index >= (int)ad_axis_fixed(algebra->graph, n->axis))
            return -1;
        node = n->in[0];
        n = ad_node_of(algebra->graph, node);
        tp_point own;
        memset(&own, 0, sizeof own);
        for (int i = 0; i < n->shape.rank; i++)
            if (tp_point_index(point, n->shape.axes[i]) >= 0)
                tp_point_set(&own, n->shape.axes[i], tp_point_index(point, n->shape.axes[i]));
        *point = own;
    }
    return node;
}

void tp_data_rows(const ad_graph *graph, int node, const tp_point *at, ad_axis axis, const ad_sizes *sizes,
                  const double *values, size_t rows, size_t size, double *out)
{
    const ad_shape *shape = &ad_node_of(graph, node)->shape;
    size_t stride = 1, offset = 0, row_stride = 0, k_stride = 0;
    for (int i = shape->rank - 1; i >= 0; i--) {
        ad_axis own = shape->axes[i];
        if (ad_same(own, axis))
            k_stride = stride;
        else if (ad_axis_kind(graph, own) == AD_BATCH)
            row_stride = stride;
        else
            offset += (size_t)tp_point_index(at, own) * stride;
        stride *= ad_axis_size(graph, own, sizes);
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < size; k++)
            out[i * size + k] = values[offset + i * row_stride + k * k_stride];
}

const tp_coordinate *tp_nested(const tp_algebra *algebra, int lin)
{
    const tp_lin *l = tp_lin_at(algebra, lin);
    const tp_gvar *g = l->n == 1 ? tp_gvar_at(algebra, l->parts[0].gvar) : NULL;
    return g && g->argument == TP_OF_COORDINATE ? tp_coordinate_at(algebra, g->node) : NULL;
}
