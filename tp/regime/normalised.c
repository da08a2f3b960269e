/* normalised.c: what divides a vector by its own root mean square, as layer and batch normalisation do, whatever of
 * products, quotients, roots and powers it is written with: y = c (s sum c^2 + epsilon)^(-1/2). Its root mean square
 * over the axes of the sum, of N entries, is at most (s N)^(-1/2), whatever c is. */
#include "tp/regime/exponents.h"

#include <math.h>

/* Where a walk down is: the node it began at is e^factor (the node)^power, or, of what is added on the way, more. */
typedef struct {
    int id;
    double factor, power;
} chain;

static bool is_nonnegative(const ad_graph *graph, int id)
{
    while (tp_renames(ad_node_of(graph, id)->op)) {
        const ad_node *node = ad_node_of(graph, id);
        if (node->op == AD_NEG || node->c < 0)
            return false;
        id = node->in[0];
    }
    return ad_node_of(graph, id)->op == AD_CONSTANT && ad_node_of(graph, id)->c >= 0;
}

/* Other names of axes may lead from a matrix's rows to the norms of its columns. */
static bool keeps_places(ad_op op)
{
    return op == AD_IDENTITY || op == AD_EXPAND;
}

/* One node down. What is added is not negative, and may be left out where the result only gets larger by that. */
static bool descend(const tp_exponents *e, chain *at, double side)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *node = ad_node_of(graph, at->id);
    int k = 0;
    switch (node->op) {
    case AD_SCALE:
        if (!(node->c > 0))
            return false;
        at->factor += at->power * tp_exponent_of_scale(e, node);
        break;
    case AD_SQRT:
        at->power /= 2;
        break;
    case AD_RSQRT:
        at->power /= -2;
        break;
    case AD_POWER:
        at->power *= node->c;
        break;
    case AD_DIV:
        if (ad_node_of(graph, node->in[0])->op != AD_CONSTANT || !(ad_node_of(graph, node->in[0])->c > 0))
            return false;
        at->factor += at->power * log(ad_node_of(graph, node->in[0])->c);
        at->power = -at->power;
        k = 1;
        break;
    case AD_ADD:
        k = is_nonnegative(graph, node->in[1]) ? 0 : 1;
        if (!(at->power * side > 0) || !is_nonnegative(graph, node->in[1 - k]))
            return false;
        break;
    default:
        if (!keeps_places(node->op))
            return false;
    }
    at->id = node->in[k];
    return true;
}

static bool is_square_of(const ad_graph *graph, int id, int c)
{
    const ad_node *node = ad_node_of(graph, id);
    return (node->op == AD_SQUARE && node->in[0] == c) || (node->op == AD_MUL && node->in[0] == c && node->in[1] == c);
}

/* Is the end of the chain a sum of c^2, which may have a factor but no power of its own? `over` becomes its axes. */
static bool sums_squares(const tp_exponents *e, chain *at, int c, ad_shape *over)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *node = ad_node_of(graph, at->id);
    *over = node->over;
    if (node->op == AD_CONTRACT)
        return node->in[0] == c && node->in[1] == c;
    if (node->op != AD_SUM)
        return false;
    at->id = node->in[0];
    while (!is_square_of(graph, at->id, c)) {
        ad_op op = ad_node_of(graph, at->id)->op;
        if ((op != AD_SCALE && !keeps_places(op)) || !descend(e, at, 0))
            return false;
    }
    return true;
}

/* Of c times what begins at `id`, or, with the side 1, divided by it; INFINITY: no bound. */
static double bound_of(const tp_exponents *e, int id, int c, double side)
{
    chain at = { .id = id, .power = 1 };
    ad_shape over;
    while (descend(e, &at, side))
        ;
    if (!sums_squares(e, &at, c, &over) || fabs(at.power - side / 2) > 0)
        return INFINITY;
    double entries =
        tp_count_widths(e->program->graph, &over) * e->log_n + tp_exponent_of_fixed(e->program->graph, &over);
    return -side * at.factor - entries / 2;
}

double tp_normalised_bound(const tp_exponents *e, int id)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    if (node->op == AD_DIV)
        return bound_of(e, node->in[1], node->in[0], 1);
    if (node->op != AD_MUL)
        return INFINITY;
    return fmin(bound_of(e, node->in[0], node->in[1], -1), bound_of(e, node->in[1], node->in[0], -1));
}
