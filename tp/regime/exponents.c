/* exponents.c: powers of n through the forward and the backward pass, node by node: of sizes at the start, and of
 * changes. */
#include "tp/regime/exponents.h"

#include <math.h>

double tp_exponent_now(const tp_exponents *e, int node)
{
    return fmax(e->start[node], e->change[node]);
}

static double scale_power(const ad_graph *graph, const ad_node *node)
{
    return node->axis.id && tp_is_width(graph, node->axis) ? node->power : 0;
}

/* A matrix of two widths, whose entries are independent and of mean 0 at the start. */
static bool is_random_matrix(const tp_exponents *e, int id)
{
    int param = e->program->params[id];
    return e->program->widths[id] > 1 && param >= 0 && !(fabs(ad_node_of(e->program->graph, param)->init->mean) > 0);
}

/* What a sum over the width axes `over` of a node of this sign law grows by. */
static double coherence(const ad_graph *graph, const ad_shape *over, bool centred)
{
    return tp_count_widths(graph, over) * (centred ? 0.5 : 1);
}

/* c / sqrt(mean c^2 + epsilon) over a width, as in layer normalisation: its mean square is at most 1, whatever c is. */
static bool is_normalised(const ad_graph *graph, const ad_node *node)
{
    for (int k = 0; node->op == AD_MUL && k < 2; k++) {
        const ad_node *at = ad_node_of(graph, node->in[k]);
        bool root = false, summed = false;
        while (at->n_in > 0 && at->op != AD_SQUARE && at->op != AD_MUL && at->op != AD_CONTRACT) {
            root |= at->op == AD_RSQRT;
            summed |= at->op == AD_SUM && tp_count_widths(graph, &at->over) == 1;
            at = ad_node_of(graph, at->in[0]);
        }
        if (root && summed && at->op == AD_SQUARE && at->in[0] == node->in[1 - k])
            return true;
    }
    return false;
}

static double start_of(const tp_exponents *e, int id)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *node = ad_node_of(graph, id);
    double a = node->n_in > 0 ? e->start[node->in[0]] : 0, b = node->n_in > 1 ? e->start[node->in[1]] : 0, most = a;
    if (ad_is_unary(node->op))
        return tp_function_size(node, a);
    switch (node->op) {
    case AD_PARAM:
        return e->spread[id] + e->front[id];
    case AD_INPUT:
    case AD_DELTA:
    case AD_SOFTMAX:
    case AD_ARGMAX:
        return 0;
    case AD_CONSTANT:
        return fabs(node->c) > 0 ? 0 : -INFINITY;
    case AD_SCALE:
        return a + scale_power(graph, node);
    case AD_LOGSUMEXP:
        return fmax(a, 0);
    case AD_MUL:
        return is_normalised(graph, node) ? fmin(a + b, 0) : a + b;
    case AD_DIV:
        return a - b;
    case AD_SUM:
        return a + coherence(graph, &node->over, e->centred[id]);
    case AD_CONTRACT:
        return a + b +
               coherence(graph, &node->over,
                         e->centred[id] || is_random_matrix(e, node->in[0]) || is_random_matrix(e, node->in[1]));
    default:
        for (int k = 1; k < node->n_in; k++)
            most = fmax(most, e->start[node->in[k]]);
        return most;
    }
}

/* The change of a product: that of each factor times the other one; what was not changed of a random matrix meets
 * everything incoherently, also what it made itself (n^1/2 from there, n^1/2 from here). */
static double product_change(const tp_exponents *e, const ad_node *node)
{
    double most = -INFINITY, widths = node->op == AD_CONTRACT ? tp_count_widths(e->program->graph, &node->over) : 0;
    for (int k = 0; k < 2; k++) {
        int own = node->in[k], other = node->in[1 - k];
        double coherent = is_random_matrix(e, other) ? widths / 2 : widths;
        most = fmax(most, e->change[own] + e->start[other] + coherent);
        if (!e->linear)
            most = fmax(most, e->change[own] + e->change[other] + widths);
    }
    return most;
}

static double change_of(const tp_exponents *e, int id)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *node = ad_node_of(graph, id);
    double a = node->n_in > 0 ? e->change[node->in[0]] : -INFINITY, most = a;
    if (ad_is_unary(node->op))
        return tp_function_change(node, e->start[node->in[0]], a, e->linear);
    switch (node->op) {
    case AD_PARAM:
        return e->update[id] + e->front[id];
    case AD_SCALE:
        return a + scale_power(graph, node);
    case AD_SOFTMAX:
    case AD_ARGMAX:
        return e->linear ? a : fmin(a, 0);
    case AD_SUM:
        return a + tp_count_widths(graph, &node->over);
    case AD_MUL:
        return !e->linear && is_normalised(graph, node) ? fmin(product_change(e, node), 0) : product_change(e, node);
    case AD_CONTRACT:
        return product_change(e, node);
    case AD_DIV:
        return fmax(a - e->start[node->in[1]],
                    e->start[node->in[0]] + e->change[node->in[1]] - 2 * e->start[node->in[1]]);
    default:
        for (int k = 1; k < node->n_in; k++)
            most = fmax(most, e->change[node->in[k]]);
        return most;
    }
}

void tp_exponents_start(const tp_exponents *e)
{
    for (int id = 0; id < e->program->n_nodes; id++)
        if (e->program->lives[id])
            e->start[id] = start_of(e, id);
}

void tp_exponents_change(const tp_exponents *e)
{
    for (int id = 0; id < e->program->n_nodes; id++)
        if (e->program->lives[id])
            e->change[id] = change_of(e, id);
}
