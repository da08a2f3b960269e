/* simple_rules.c: whether the simple rules hold on samples: a program's gradients by vectors are linear in draws of the
 * backward pass alone. */
#include "tp/executor/executor.h"

#include "autodiff/base/base.h"

#include <math.h>

/* What a node is in the draws of the backward pass: free of them, linear, or neither. */
typedef enum { FREE, LINEAR, NEITHER } kind;

/* A parameter of one width whose mean is 0, with which the forward pass takes averages alone. */
static bool is_readout(const tp_program *program, int param)
{
    const ad_node *node = ad_node_of(program->graph, param);
    bool averaged = program->widths[param] == 1 && !(fabs(node->init->mean) > 0);
    for (int id = 0; id < program->forward && averaged; id++) {
        const ad_node *use = ad_node_of(program->graph, id);
        for (int k = 0; program->lives[id] && k < use->n_in; k++)
            if (program->params[use->in[k]] == param && program->params[id] != param && program->widths[id] > 0)
                averaged = false;
    }
    return averaged;
}

static kind product(kind a, kind b)
{
    return a == FREE ? b : b == FREE ? a : NEITHER;
}

static bool is_zero(const ad_node *node)
{
    return node->op == AD_CONSTANT && !(fabs(node->c) > 0);
}

static kind sum(const tp_program *program, const ad_node *node, const unsigned char *kinds)
{
    int found = -1;
    for (int k = 0; k < node->n_in; k++) {
        if (is_zero(ad_node_of(program->graph, node->in[k])))
            continue;
        if (found >= 0 && kinds[node->in[k]] != found)
            return NEITHER;
        found = kinds[node->in[k]];
    }
    return found < 0 ? FREE : (kind)found;
}

static kind kind_of(const tp_program *program, int id, const unsigned char *kinds)
{
    const ad_node *node = ad_node_of(program->graph, id);
    kind first = node->n_in > 0 ? (kind)kinds[node->in[0]] : FREE, second = FREE, most = first;
    for (int k = 1; k < node->n_in; k++) {
        second = k == 1 ? (kind)kinds[node->in[k]] : second;
        most = kinds[node->in[k]] > most ? (kind)kinds[node->in[k]] : most;
    }
    switch (node->op) {
    case AD_PARAM:
        return is_readout(program, id) ? LINEAR : FREE;
    case AD_IDENTITY:
    case AD_NEG:
    case AD_SCALE:
    case AD_SUM:
    case AD_EXPAND:
    case AD_SLICE:
    case AD_UNSLICE:
    case AD_WINDOWS:
    case AD_UNWINDOWS:
    case AD_RESHAPE:
    case AD_RELABEL:
    case AD_TRANSPOSE:
        return first;
    case AD_ADD:
    case AD_SUB:
    case AD_CONCAT:
        return sum(program, node, kinds);
    case AD_MUL:
    case AD_CONTRACT:
        return product(first, second);
    case AD_DIV:
        return second == FREE ? first : NEITHER;
    default:
        return most == FREE ? FREE : NEITHER;
    }
}

/* W takes what is free of the backward pass's draws, and W' what is linear in them: the first of a matrix's axes of
 * width is what W sums over. */
static bool goes_one_way(const tp_program *program, int id, const unsigned char *kinds)
{
    const ad_node *node = ad_node_of(program->graph, id);
    ad_shape names;
    for (int k = 0; node->op == AD_CONTRACT && k < 2; k++) {
        int param = tp_peel(program->graph, node->in[k], &names), wide = 0;
        if (param < 0 || program->widths[param] != 2)
            continue;
        bool second = false;
        for (int i = 0; i < names.rank; i++)
            if (tp_is_width(program->graph, names.axes[i]) && wide++ == 1)
                second = ad_has(&node->over, names.axes[i]);
        if (kinds[node->in[1 - k]] != (second ? LINEAR : FREE))
            return false;
    }
    return true;
}

static bool sites_hold(const tp_program *program, const unsigned char *kinds)
{
    for (int i = 0; i < program->n_all_sites; i++) {
        const ad_site *site = &program->all_sites[i];
        bool vector = program->widths[site->delta.id] > 0;
        if (!program->lives[site->delta.id])
            continue;
        if (kinds[site->delta.id] != (vector ? LINEAR : FREE) || (site->y.graph && kinds[site->y.id] != FREE))
            return false;
    }
    return true;
}

bool tp_simple_holds(const tp_program *program, bool *linear)
{
    unsigned char *kinds = ad_alloc((size_t)program->n_nodes + 1, 1, "simple rules", NULL);
    bool holds = kinds != NULL;
    for (int id = 0; id < program->n_nodes && holds; id++) {
        if (!program->lives[id])
            continue;
        const ad_init *init = ad_node_of(program->graph, id)->init;
        if (init && init->orthogonal) { /* its uses know of each other */
            holds = false;
            break;
        }
        kinds[id] = (unsigned char)kind_of(program, id, kinds);
        holds = goes_one_way(program, id, kinds);
        if (linear)
            linear[id] = kinds[id] == LINEAR;
    }
    holds = holds && sites_hold(program, kinds);
    ad_free(kinds);
    return holds;
}
