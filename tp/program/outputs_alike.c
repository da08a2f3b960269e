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

/* Does the node, which has the axis, have entries of it that share no parameter, each with a mean of 0? Whatever they
 * are made of, a factor of its own is in every term. */
static bool axis_independent(const ad_graph *graph, int id, ad_axis axis, signed char *known);

static bool find_independent(const ad_graph *graph, int id, ad_axis axis, signed char *known)
{
    const ad_node *node = ad_node_of(graph, id);
    if (node->op == AD_PARAM)
        return !(fabs(node->init->mean) > 0);
    if (node->op == AD_EXPAND || !treats_alike(node, axis))
        return ad_has(&ad_node_of(graph, node->n_in ? node->in[0] : id)->shape, axis) && node->op == AD_EXPAND &&
               axis_independent(graph, node->in[0], axis, known);
    if (node->op == AD_RELABEL && ad_same(node->axis2, axis))
        axis = node->axis;
    bool sum = node->op == AD_ADD || node->op == AD_SUB, product = node->op == AD_MUL || node->op == AD_CONTRACT;
    bool moved = node->op == AD_SCALE || node->op == AD_RELABEL || node->op == AD_TRANSPOSE || node->op == AD_SUM ||
                 node->op == AD_SLICE || node->op == AD_NEG;
    int with = 0, independent = 0;
    for (int k = 0; k < node->n_in && (sum || product || moved); k++)
        if (ad_has(&ad_node_of(graph, node->in[k])->shape, axis)) {
            with++;
            independent += axis_independent(graph, node->in[k], axis, known);
        }
    return product ? with == 1 && independent == 1 : with == node->n_in && independent == with && with > 0;
}

/* Each node once: `known` is 1 where it is, -1 where it is not. */
static bool axis_independent(const ad_graph *graph, int id, ad_axis axis, signed char *known)
{
    if (!known[id])
        known[id] = find_independent(graph, id, axis, known) ? 1 : -1;
    return known[id] > 0;
}

bool tp_outputs_independent(const tp_program *program)
{
    ad_axis axis = nn_outputs(program->net);
    if (nn_n_outputs(program->net) == 1)
        return true;
    signed char *known = ad_alloc((size_t)program->output.id + 1, 1, "the outputs of a program", NULL);
    bool independent = known && axis_alike(program, axis, AD_MAX_RANK) &&
                       axis_independent(program->graph, program->output.id, axis, known);
    ad_free(known);
    return independent;
}
