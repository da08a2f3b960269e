/* outputs_alike.c: are a network's outputs exchangeable? */
#include "tp/program/program.h"

#include <math.h>

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
    case AD_WINDOWS:
    case AD_UNWINDOWS:
        return !ad_same(node->axis, axis) && !ad_same(node->axis2, axis) && !ad_same(node->axis3, axis);
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

/* What the outputs' axis is called at a node, and whether entries of it there share no parameter, each with a mean of
 * 0: whatever they are made of, a factor of its own is in every term. */
typedef struct {
    ad_axis axis; /* none: it is not asked for */
    bool independent;
} entries;

/* The axis within the node's operands. */
static ad_axis axis_within(const ad_node *node, ad_axis axis)
{
    return node->op == AD_RELABEL && ad_same(node->axis2, axis) ? node->axis : axis;
}

/* Names the axis on the way down from the output; false where a node is met by two names. */
static bool name_axis(const ad_graph *graph, int output, entries *of)
{
    bool one_name = true;
    for (int id = output; id >= 0 && one_name; id--) {
        const ad_node *node = ad_node_of(graph, id);
        ad_axis axis = axis_within(node, of[id].axis);
        for (int k = 0; k < node->n_in && of[id].axis.id; k++) {
            entries *operand = &of[node->in[k]];
            if (!ad_has(&ad_node_of(graph, node->in[k])->shape, axis))
                continue;
            one_name = one_name && (!operand->axis.id || ad_same(operand->axis, axis));
            operand->axis = axis;
        }
    }
    return one_name;
}

/* Of operands that are known. */
static bool node_independent(const ad_graph *graph, int id, const entries *of)
{
    const ad_node *node = ad_node_of(graph, id);
    if (node->op == AD_PARAM)
        return !(fabs(node->init->mean) > 0);
    if (!treats_alike(node, of[id].axis))
        return false;
    ad_axis axis = axis_within(node, of[id].axis);
    bool sum = node->op == AD_ADD || node->op == AD_SUB, product = node->op == AD_MUL || node->op == AD_CONTRACT;
    bool moved = node->op == AD_SCALE || node->op == AD_RELABEL || node->op == AD_TRANSPOSE || node->op == AD_SUM ||
                 node->op == AD_SLICE || node->op == AD_NEG || node->op == AD_EXPAND;
    int with = 0, independent = 0;
    for (int k = 0; k < node->n_in && (sum || product || moved); k++)
        if (ad_has(&ad_node_of(graph, node->in[k])->shape, axis)) {
            with++;
            independent += of[node->in[k]].independent;
        }
    return product ? with == 1 && independent == 1 : with == node->n_in && independent == with && with > 0;
}

int tp_find_independence(tp_program *program, ad_error *error)
{
    ad_axis axis = nn_outputs(program->net);
    int output = program->output.id;
    program->independent = nn_n_outputs(program->net) == 1;
    if (program->independent)
        return 0;
    entries *of = ad_alloc((size_t)output + 1, sizeof *of, "the outputs of a program", error);
    if (!of)
        return -1;
    of[output].axis = axis;
    bool independent = axis_alike(program, axis, AD_MAX_RANK) && name_axis(program->graph, output, of);
    for (int id = 0; id <= output && independent; id++)
        of[id].independent = of[id].axis.id && node_independent(program->graph, id, of);
    program->independent = independent && of[output].independent;
    ad_free(of);
    return 0;
}

bool tp_outputs_independent(const tp_program *program)
{
    return program->independent;
}
