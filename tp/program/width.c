/* width.c: what a node is to the width: how many width axes it has, which parameter it renames, whether it averages. */
#include "tp/program/program.h"

int tp_count_widths(const ad_graph *graph, const ad_shape *shape)
{
    int count = 0;
    for (int i = 0; i < shape->rank; i++)
        count += tp_is_width(graph, shape->axes[i]);
    return count;
}

bool tp_is_average(const ad_graph *graph, int id)
{
    const ad_node *node = ad_node_of(graph, id);
    return (node->op == AD_SUM || node->op == AD_CONTRACT) && tp_count_widths(graph, &node->over) > 0 &&
           tp_count_widths(graph, &node->shape) == 0;
}

static bool renames(ad_op op)
{
    return op == AD_RELABEL || op == AD_TRANSPOSE;
}

int tp_peel(const ad_graph *graph, int node, ad_shape *names)
{
    const ad_node *n = ad_node_of(graph, node);
    if (n->op == AD_PARAM) {
        *names = n->shape;
        return node;
    }
    if (!renames(n->op))
        return -1;
    int param = tp_peel(graph, n->in[0], names);
    for (int i = 0; param >= 0 && n->op == AD_RELABEL && i < names->rank; i++)
        if (ad_same(names->axes[i], n->axis))
            names->axes[i] = n->axis2;
    return param;
}

void tp_measure(const ad_graph *graph, int from, int to, int *widths, int *params)
{
    for (int id = from; id < to; id++) {
        const ad_node *node = ad_node_of(graph, id);
        widths[id] = tp_count_widths(graph, &node->shape);
        params[id] = node->op == AD_PARAM ? id : renames(node->op) ? params[node->in[0]] : -1;
    }
}
