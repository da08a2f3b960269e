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
    ad_shape outside = ad_node_of(graph, node)->shape, inside = outside; /* an axis here, and what it is further in */
    while (renames(ad_node_of(graph, node)->op)) {
        const ad_node *n = ad_node_of(graph, node);
        for (int i = 0; n->op == AD_RELABEL && i < inside.rank; i++)
            if (ad_same(inside.axes[i], n->axis2))
                inside.axes[i] = n->axis;
        node = n->in[0];
    }
    const ad_node *param = ad_node_of(graph, node);
    if (param->op != AD_PARAM)
        return -1;
    *names = param->shape;
    for (int k = 0; k < names->rank; k++)
        for (int i = 0; i < inside.rank; i++)
            if (ad_same(param->shape.axes[k], inside.axes[i]))
                names->axes[k] = outside.axes[i];
    return node;
}

void tp_measure(const ad_graph *graph, int from, int to, int *widths, int *params)
{
    for (int id = from; id < to; id++) {
        const ad_node *node = ad_node_of(graph, id);
        widths[id] = tp_count_widths(graph, &node->shape);
        params[id] = node->op == AD_PARAM ? id : renames(node->op) ? params[node->in[0]] : -1;
    }
}
