/* dependence.c: what lies on the way to a node: do entries of an axis meet there, and the same computation from other
 * nodes. */
#include "autodiff/trace/trace.h"

/* Does the node sum, gather or normalise over the axis? */
static bool runs_along(const ad_node *node, ad_axis axis)
{
    bool along =
        (node->op >= AD_LOGSUMEXP || node->op == AD_GATHER || node->op == AD_SCATTER || node->op == AD_RELABEL) &&
        node->axis.id == axis.id;
    return along || ad_has(&node->over, axis);
}

/* `learning`: on the way from a parameter alone. */
static bool meets(ad_var y, ad_axis axis, bool learning)
{
    ad_graph *graph = y.graph;
    if (!graph || y.id < 0)
        return false;
    bool *reached = ad_arena_alloc(graph->arena, (size_t)y.id + 1, sizeof *reached);
    bool *learns = ad_arena_alloc(graph->arena, (size_t)y.id + 1, sizeof *learns);
    if (!reached || !learns)
        return true;
    for (int id = 0; id <= y.id; id++) {
        const ad_node *node = graph->nodes[id];
        learns[id] = node->op == AD_PARAM;
        for (int k = 0; k < node->n_in; k++)
            learns[id] |= learns[node->in[k]];
    }
    reached[y.id] = true;
    for (int id = y.id; id >= 0; id--) {
        const ad_node *node = graph->nodes[id];
        if (!reached[id] || (learning && !learns[id]))
            continue;
        if (runs_along(node, axis))
            return true;
        for (int k = 0; k < node->n_in; k++)
            reached[node->in[k]] = true;
    }
    return false;
}

bool ad_parameters_coupled(ad_var y, ad_axis axis)
{
    return meets(y, axis, true);
}

bool ad_coupled(ad_var y, ad_axis axis)
{
    return meets(y, axis, false);
}

ad_var ad_replace_also(ad_where where, ad_var y, const ad_var *from, const ad_var *to, int n, ad_var *also, int n_also)
{
    ad_graph *graph = y.graph;
    if (!ad_alive(where, "replace", y))
        return y;
    if (n < 0 || (n > 0 && (!from || !to)))
        return ad_poison(graph, where, "replace: its lists of %d nodes are missing (NULL)", n);
    int *becomes = ad_arena_alloc(graph->arena, (size_t)y.id + 1, sizeof *becomes);
    bool *reached = ad_arena_alloc(graph->arena, (size_t)y.id + 1, sizeof *reached);
    if (!becomes || !reached)
        return ad_poison(graph, where, "replace: out of memory");
    for (int id = 0; id <= y.id; id++)
        becomes[id] = id;
    for (int i = 0; i < n; i++) {
        char one[160], two[160];
        if (!ad_common_graph(where, "replace", y, from[i]) || !ad_common_graph(where, "replace", y, to[i]))
            return ad_poisoned(y);
        if (!ad_shape_equal(ad_shape_get(from[i]), ad_shape_get(to[i])))
            return ad_poison(graph, where, "replace: %s by %s",
                             from[i].id < 0 ? "?" : ad_shape_text(graph, ad_shape_get(from[i]), one, sizeof one),
                             to[i].id < 0 ? "?" : ad_shape_text(graph, ad_shape_get(to[i]), two, sizeof two));
        if (from[i].id <= y.id)
            becomes[from[i].id] = to[i].id;
    }
    reached[y.id] = true;
    for (int id = y.id; id >= 0; id--) {
        if (reached[id] && becomes[id] < id)
            reached[becomes[id]] = true;
        for (int k = 0; reached[id] && becomes[id] == id && k < graph->nodes[id]->n_in; k++)
            reached[graph->nodes[id]->in[k]] = true;
    }
    for (int id = 0; id <= y.id; id++) {
        ad_node node = *graph->nodes[id];
        bool changed = false;
        if (reached[id] && becomes[id] < id)
            becomes[id] = becomes[becomes[id]];
        if (!reached[id] || becomes[id] != id)
            continue;
        for (int k = 0; k < node.n_in; k++)
            changed |= becomes[node.in[k]] != node.in[k];
        if (!changed)
            continue;
        int *in = ad_arena_alloc(graph->arena, (size_t)node.n_in, sizeof *in);
        if (!in)
            return ad_poison(graph, where, "replace: out of memory");
        for (int k = 0; k < node.n_in; k++)
            in[k] = becomes[node.in[k]];
        becomes[id] = ad_node_make(graph, node, node.n_in, in).id;
    }
    for (int i = 0; i < n_also; i++)
        if (reached[also[i].id])
            also[i].id = becomes[also[i].id];
    return (ad_var){ graph, ad_failed(graph) ? -1 : becomes[y.id] };
}

ad_var ad_replace_at(ad_where where, ad_var y, const ad_var *from, const ad_var *to, int n)
{
    return ad_replace_also(where, y, from, to, n, NULL, 0);
}
