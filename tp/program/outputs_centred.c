/* outputs_centred.c: is the mean of the outputs over all initial networks 0? Shown from the trace: every summand of
 * them has a random parameter of mean 0 as a factor, on which its other factors do not depend. */
#include "tp/program/program.h"

#include <math.h>

/* One operand, or several of the same kind, met linearly. */
static bool is_linear(ad_op op)
{
    switch (op) {
    case AD_IDENTITY:
    case AD_NEG:
    case AD_ADD:
    case AD_SUB:
    case AD_SCALE:
    case AD_SUM:
    case AD_EXPAND:
    case AD_TRANSPOSE:
    case AD_RESHAPE:
    case AD_RELABEL:
    case AD_SLICE:
    case AD_UNSLICE:
    case AD_WINDOWS:
    case AD_UNWINDOWS:
    case AD_CONCAT:
        return true;
    default:
        return false;
    }
}

/* The parameter of mean 0 that the node is, or is a product with, under what is linear; -1: none is seen. */
static int factor_of(const tp_program *program, int id)
{
    const ad_node *node = ad_node_of(program->graph, id);
    while (node->n_in > 0) {
        int next = node->in[0];
        if (node->op == AD_MUL || node->op == AD_CONTRACT)
            next = program->params[node->in[1]] >= 0 ? node->in[1] : node->in[0];
        else if (!is_linear(node->op) || node->n_in > 1)
            return -1;
        id = next;
        node = ad_node_of(program->graph, id);
    }
    return node->op == AD_PARAM && !(fabs(node->init->mean) > 0) ? id : -1;
}

/* Does the node depend on the parameter? *of and reached: the one that was asked for last, and what depends on it. */
static bool depends(const tp_program *program, int id, int param, int *of, bool *reached)
{
    if (*of != param) {
        *of = param;
        for (int k = 0; k < program->forward; k++) {
            const ad_node *node = ad_node_of(program->graph, k);
            reached[k] = k == param;
            for (int i = 0; i < node->n_in; i++)
                reached[k] |= reached[node->in[i]];
        }
    }
    return reached[id];
}

/* A product: the operand whose mean is still to be shown 0, -1: none, as this one has a factor; -2: it cannot be. */
static int left_of_product(const tp_program *program, const ad_node *node, int *of, bool *reached)
{
    for (int k = 1; k >= 0; k--) {
        int param = factor_of(program, node->in[k]);
        if (param < 0 || depends(program, node->in[1 - k], param, of, reached))
            continue;
        const ad_node *within = ad_node_of(program->graph, node->in[k]);
        while (within->n_in == 1)
            within = ad_node_of(program->graph, within->in[0]);
        if (within->op == AD_PARAM)
            return -1;
        int other = program->params[within->in[1]] >= 0 ? within->in[0] : within->in[1];
        if (!depends(program, other, param, of, reached))
            return -1;
    }
    return !program->learns[node->in[1]] ? node->in[0] : !program->learns[node->in[0]] ? node->in[1] : -2;
}

/* Marks as wanted what the node's mean follows from; false where it does not. */
static bool follow(const tp_program *program, const ad_node *node, bool *wanted, int *of, bool *reached)
{
    if (node->op == AD_PARAM)
        return !(fabs(node->init->mean) > 0);
    if (node->op == AD_CONSTANT)
        return !(fabs(node->c) > 0);
    if (is_linear(node->op)) {
        for (int k = 0; k < node->n_in; k++)
            wanted[node->in[k]] = true;
        return true;
    }
    int left = -2;
    if (node->op == AD_MUL || node->op == AD_CONTRACT)
        left = left_of_product(program, node, of, reached);
    else if (node->op == AD_DIV && !program->learns[node->in[1]])
        left = node->in[0];
    if (left >= 0)
        wanted[left] = true;
    return left > -2;
}

bool tp_outputs_centred(const tp_program *program, char *text, size_t size)
{
    bool *wanted = ad_alloc((size_t)program->forward + 1, sizeof *wanted, "the outputs of a program", NULL);
    bool *reached = ad_alloc((size_t)program->forward + 1, sizeof *reached, "the outputs of a program", NULL);
    int of = -1, id = program->output.id;
    bool centred = wanted && reached;
    if (centred)
        wanted[id] = true;
    for (; id >= 0 && centred; id--)
        if (wanted[id] && !follow(program, ad_node_of(program->graph, id), wanted, &of, reached)) {
            const ad_node *node = ad_node_of(program->graph, id);
            centred = false;
            snprintf(text, size, "%s:%d: %s", tp_short_file(node->where.file), node->where.line, tp_node_name(node));
        }
    if (!wanted || !reached)
        snprintf(text, size, "out of memory");
    ad_free(wanted);
    ad_free(reached);
    return centred;
}
