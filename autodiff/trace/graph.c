/* graph.c: a graph, its error, and looking at its nodes. */
#include "autodiff/trace/trace.h"

#include <stdarg.h>

enum { FIRST_NODES = 256, FIRST_AXES = 64 };

static unsigned char next_mark(void)
{
    static atomic_uint count;
    return (unsigned char)(1 + atomic_fetch_add(&count, 1) % 255);
}

static _Thread_local ad_graph *traced;

ad_graph *ad_graph_trace(ad_graph *graph)
{
    ad_graph *before = traced;
    traced = graph;
    return before;
}

ad_graph *ad_graph_traced(void)
{
    return traced;
}

ad_graph *ad_graph_new(ad_error *error)
{
    ad_graph *graph = ad_alloc(1, sizeof *graph, "a graph", error);
    if (!graph || !(graph->arena = ad_arena_new(error))) {
        ad_free(graph);
        return NULL;
    }
    graph->nodes = ad_arena_alloc(graph->arena, FIRST_NODES, sizeof(ad_node *));
    graph->axes = ad_arena_alloc(graph->arena, FIRST_AXES, sizeof(ad_axis_row));
    graph->nodes_capacity = FIRST_NODES;
    graph->axes_capacity = FIRST_AXES;
    graph->n_axes = 1;
    graph->mark = next_mark();
    if (!graph->nodes || !graph->axes) {
        ad_fail(error, "out of memory for a graph");
        ad_graph_free(graph);
        return NULL;
    }
    return graph;
}

void ad_graph_free(ad_graph *graph)
{
    if (!graph)
        return;
    ad_arena_free(graph->arena);
    ad_free(graph);
}

ad_mark ad_graph_mark(const ad_graph *graph)
{
    return (ad_mark){ .nodes = graph->n_nodes, .axes = graph->n_axes };
}

void ad_graph_rewind(ad_graph *graph, ad_mark mark)
{
    graph->n_nodes = mark.nodes;
    graph->n_axes = mark.axes;
    graph->error.text[0] = 0;
}

bool ad_failed(const ad_graph *graph)
{
    return graph->error.text[0] != 0;
}

const char *ad_message(const ad_graph *graph)
{
    return graph->error.text;
}

ad_var ad_poison(ad_graph *graph, ad_where where, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    ad_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (graph)
        ad_fail(&graph->error, "%s:%d: %s", where.file, where.line, text);
    return (ad_var){ graph, -1 };
}

bool(ad_has_graph)(ad_where where, const char *op, const ad_graph *graph)
{
    if (!graph)
        ad_poison(ad_graph_traced(), where, "%s: its graph is missing (NULL)", op);
    return graph != NULL;
}

int ad_graph_size(const ad_graph *graph)
{
    return graph->n_nodes;
}

const ad_node *ad_node_of(const ad_graph *graph, int id)
{
    return graph->nodes[id];
}

const ad_shape *ad_shape_get(ad_var v)
{
    static const ad_shape scalar = { 0 };
    return v.graph && v.id >= 0 && v.id < v.graph->n_nodes ? &v.graph->nodes[v.id]->shape : &scalar;
}
