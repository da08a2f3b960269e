/* initial.c: what is one number at the start in all coordinates, whatever is drawn: parameters that start at a
 * constant, as gains at 1, functions of these, and what they are 0 with. By such numbers sums may cancel at the start
 * that do not afterwards, g h - h for a gain g = 1: what is called with them is not saturated. */
#include "tp/regime/exponents.h"

#include "autodiff/plan/plan.h"

#include <math.h>

static bool grows(const ad_graph *graph, const ad_node *node)
{
    return node->op == AD_SCALE && tp_is_width(graph, node->axis) && fabs(node->power) > 0;
}

static bool is_zero(double x)
{
    return !isnan(x) && !(fabs(x) > 0);
}

static double value_of(const ad_graph *graph, const ad_node *node, const double *values, bool as_traced)
{
    double a = node->n_in > 0 ? values[node->in[0]] : NAN, b = node->n_in > 1 ? values[node->in[1]] : a, y = NAN;
    bool multiplies = node->op == AD_MUL || node->op == AD_CONTRACT;
    if (node->op == AD_PARAM)
        return node->init->deviation > 0 || !as_traced ? NAN : node->init->mean;
    if (node->op == AD_CONSTANT)
        return node->c;
    if ((multiplies && (is_zero(a) || is_zero(b))) || (node->op == AD_SUM && is_zero(a)))
        return 0;
    if (isnan(a) || isnan(b))
        return NAN;
    if (tp_renames(node->op) || node->op == AD_SLICE)
        return grows(graph, node) ? NAN : a * tp_linear_factor(graph, node);
    if (multiplies)
        return node->over.rank == 0 ? a * b : NAN;
    if (node->op == AD_CUSTOM)
        node->function->derivatives[node->order](1, &a, &y);
    else if (ad_is_unary(node->op) || node->op == AD_ADD || node->op == AD_SUB || node->op == AD_DIV)
        ad_loops_get(AD_DOUBLE)->op[node->op](1, &y, &a, &b, node->c);
    return isfinite(y) ? y : NAN;
}

int tp_find_initial(tp_exponents *e, bool as_traced, ad_arena *arena, ad_error *error)
{
    int n = e->program->n_nodes;
    double *values = ad_arena_alloc(arena, (size_t)n + 1, sizeof *values);
    if (!values)
        return ad_fail(error, "regime: out of memory");
    e->initial = values;
    for (int id = 0; id < n; id++)
        values[id] = value_of(e->program->graph, ad_node_of(e->program->graph, id), values, as_traced);
    return 0;
}
