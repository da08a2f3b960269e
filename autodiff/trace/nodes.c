/* nodes.c: appending nodes, what holds for all of them, and a graph as text. */
#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"

#include <string.h>

bool ad_alive(ad_where where, const char *op, ad_var v)
{
    if (!v.graph) {
        ad_poison(ad_graph_traced(), where, "%s: its argument is a variable that was never set, of no graph", op);
        return false;
    }
    if (v.id < 0 || v.id >= v.graph->n_nodes) /* a poisoned one has its error already */
        ad_poison(v.graph, where, "%s: its argument is number %d of a graph that has %d nodes", op, v.id,
                  (int)v.graph->n_nodes);
    return v.id >= 0 && !ad_failed(v.graph);
}

ad_graph *ad_common_graph(ad_where where, const char *op, ad_var a, ad_var b)
{
    ad_graph *traced = ad_graph_traced();
    if (a.graph != b.graph && a.graph && b.graph) {
        ad_poison(traced ? traced : a.graph, where,
                  "%s: the arguments are of two graphs: a variable of another network, or of an earlier trace", op);
        return NULL;
    }
    if (!a.graph && b.graph)
        ad_poison(traced ? traced : b.graph, where, "%s: its first argument is a variable that was never set", op);
    if (a.graph && !b.graph)
        ad_poison(traced ? traced : a.graph, where, "%s: its second argument is a variable that was never set", op);
    return ad_alive(where, op, a) && ad_alive(where, op, b) ? a.graph : NULL;
}

static bool is_axis_of(const ad_graph *graph, ad_axis axis)
{
    return axis.graph == graph->mark && axis.id > 0 && axis.id < graph->n_axes;
}

bool ad_owns_axis(ad_where where, const char *op, ad_graph *graph, ad_axis axis)
{
    if (is_axis_of(graph, axis))
        return true;
    ad_poison(graph, where, axis.id ? "%s: an axis of another network" : "%s: an axis that was never set", op);
    return false;
}

bool ad_owns_shape(ad_where where, const char *op, ad_graph *graph, const ad_shape *shape)
{
    if (shape->rank > AD_MAX_RANK)
        ad_poison(graph, where, "%s: more than %d axes", op, AD_MAX_RANK);
    else if (shape->rank < 0)
        ad_poison(graph, where, "%s: %d axes", op, shape->rank);
    for (int i = 0; i < shape->rank && i < AD_MAX_RANK && ad_owns_axis(where, op, graph, shape->axes[i]); i++)
        ;
    return !ad_failed(graph);
}

bool ad_has_text(ad_where where, const char *op, ad_graph *graph, const char *what, const char *text)
{
    if (!text)
        ad_poison(graph, where, "%s: its %s is missing (NULL)", op, what);
    return text != NULL;
}

ad_var ad_poisoned(ad_var a)
{
    return (ad_var){ a.graph, -1 };
}

/* Checks what holds for all: rank, no axis twice, memory. */
ad_var ad_node_make(ad_graph *graph, ad_node node, int n_in, const int *in)
{
    char text[160];
    if (ad_failed(graph))
        return (ad_var){ graph, -1 };
    if (!ad_owns_shape(node.where, ad_op_name(node.op), graph, &node.shape))
        return (ad_var){ graph, -1 };
    for (int i = 0; i < node.shape.rank; i++) {
        for (int k = 0; k < i; k++)
            if (ad_same(node.shape.axes[i], node.shape.axes[k]))
                return ad_poison(graph, node.where, "%s: axis %s stands twice in %s", ad_op_name(node.op),
                                 ad_axis_name(graph, node.shape.axes[i]),
                                 ad_shape_text(graph, &node.shape, text, sizeof text));
    }
    void *nodes = graph->nodes;
    int *inputs = ad_arena_alloc(graph->arena, (size_t)n_in + 1, sizeof *inputs);
    ad_node *kept = ad_arena_alloc(graph->arena, 1, sizeof *kept);
    if (!inputs || !kept ||
        !ad_arena_grow(graph->arena, &nodes, graph->n_nodes, &graph->nodes_capacity, sizeof *graph->nodes))
        return ad_poison(graph, node.where, "%s: out of memory", ad_op_name(node.op));
    graph->nodes = nodes;
    if (n_in)
        memcpy(inputs, in, (size_t)n_in * sizeof *in);
    *kept = node;
    kept->in = inputs;
    kept->n_in = n_in;
    graph->nodes[graph->n_nodes] = kept;
    return (ad_var){ graph, graph->n_nodes++ };
}

ad_var ad_node_on(ad_var x, ad_node node)
{
    return ad_node_make(x.graph, node, 1, &x.id);
}

bool ad_needs_axis(ad_where where, const char *op, ad_var x, ad_axis axis)
{
    char text[160];
    if (!ad_alive(where, op, x) || !ad_owns_axis(where, op, x.graph, axis))
        return false;
    if (ad_has(ad_shape_get(x), axis))
        return true;
    ad_shape one = ad_shape_make(1, &axis);
    char name[64];
    ad_poison(x.graph, where, "%s: no axis %s in %s", op, ad_shape_text(x.graph, &one, name, sizeof name),
              ad_shape_text(x.graph, ad_shape_get(x), text, sizeof text));
    return false;
}

void ad_print(const ad_graph *graph, FILE *stream)
{
    char shape[160];
    void *locale = ad_c_locale_begin();
    for (int id = 0; id < graph->n_nodes; id++) {
        const ad_node *node = graph->nodes[id];
        fprintf(stream, "%%%d = %s", id, ad_op_name(node->op));
        for (int i = 0; i < node->n_in; i++)
            fprintf(stream, "%s%%%d", i ? ", " : " ", node->in[i]);
        if (node->name)
            fprintf(stream, " %s", node->name);
        if (node->op == AD_SCALE || node->op == AD_CONSTANT ||
            (ad_is_unary(node->op) && ad_op_facts_of(node->op)->takes_p))
            fprintf(stream, " %g", node->c);
        if (node->op == AD_SCALE && node->axis.id)
            fprintf(stream, " %s^%g", graph->axes[node->axis.id].name, node->power);
        if (node->over.rank)
            fprintf(stream, " over %s", ad_shape_text(graph, &node->over, shape, sizeof shape));
        fprintf(stream, " : %s    # %s:%d\n", ad_shape_text(graph, &node->shape, shape, sizeof shape), node->where.file,
                node->where.line);
    }
    ad_c_locale_end(locale);
}
