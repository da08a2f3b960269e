/* outputs_alike.c: are a network's outputs exchangeable? */
#include "tp/program/program.h"

/* Does the op treat the entries of every axis that it keeps alike? What picks, joins or numbers entries does not. */
static bool treats_alike(const ad_node *node, ad_axis axis)
{
    switch (node->op) {
    case AD_INPUT:
    case AD_UNSLICE:
    case AD_CONCAT:
    case AD_RESHAPE:
    case AD_GATHER:
    case AD_SCATTER:
    case AD_ARGMAX:
        return false;
    case AD_SLICE:
        return !ad_same(node->axis, axis) && !ad_same(node->axis2, axis);
    case AD_DELTA:
        return !ad_same(node->axis, axis) && !ad_same(node->axis2, axis);
    default:
        return true;
    }
}

/* Follows the axis from the output down to where it begins: parameters, whose entries are drawn alike. */
static bool axis_alike(const tp_program *program, ad_axis axis, int depth)
{
    const ad_graph *graph = program->graph;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(graph, id);
        if (!program->lives[id] || !ad_has(&node->shape, axis))
            continue;
        if (!treats_alike(node, axis))
            return false;
        if (node->op == AD_RELABEL && ad_same(node->axis2, axis) &&
            (depth == 0 || !axis_alike(program, node->axis, depth - 1)))
            return false;
    }
    return true;
}

bool tp_outputs_alike(const tp_program *program)
{
    return nn_n_outputs(program->net) == 1 || axis_alike(program, nn_outputs(program->net), AD_MAX_RANK);
}
