/* fluctuations.c: numbers that stay random as the width grows, and what is done with them. A product of a vector with a
 * readout's weights, a parameter without a width, a weight of a bottleneck: each is one Gaussian of order one that all
 * coordinates share, not a vector of many, and no Master theorem averages it. A network may end in such numbers,
 * linearly: that is a Gaussian process. A function of one, or its product with what learns, makes the tangent kernel
 * random.
 *
 * By node, from the trace alone: the order n^size of a coordinate at most, and the order n^spread of what of it is
 * random and shared. An average over the width, which adds 1 to the size, fluctuates by 1/2. */
#include "tp/program/program.h"

#include <math.h>

typedef struct {
    double size, spread; /* -INFINITY: none */
} order;

static const double TINY = 1e-9;

static double fan_in_power(const ad_graph *graph, const ad_init *init, double power)
{
    return init->axis.id && ad_axis_kind(graph, init->axis) == AD_WIDTH ? power : 0;
}

static order of_param(const ad_graph *graph, const ad_node *node)
{
    double deviation =
        node->init->deviation > 0 ? fan_in_power(graph, node->init, node->init->deviation_power) : -INFINITY;
    order o = { fabs(node->init->mean) > 0 ? fmax(0, deviation) : deviation, -INFINITY };
    if (tp_count_widths(graph, &node->shape) == 0)
        o.spread = deviation;
    return o;
}

static order product(order a, order b)
{
    return (order){ a.size + b.size, fmax(a.spread + b.size, a.size + b.spread) };
}

/* A sum over the width: of numbers that differ, and are centred or not. A matrix and a vector make a vector again. */
static order over_width(order summed, bool matrix)
{
    order o = { summed.size + (matrix ? 0.5 : 1), summed.spread + (matrix ? 0.5 : 1) };
    if (!matrix)
        o.spread = fmax(o.spread, summed.size + 0.5);
    return o;
}

static order of_node(const ad_graph *graph, const ad_node *node, const order *orders)
{
    order a = node->n_in > 0 ? orders[node->in[0]] : (order){ 0, -INFINITY };
    switch (node->op) {
    case AD_PARAM:
        return of_param(graph, node);
    case AD_SCALE: {
        bool width = node->axis.id && ad_axis_kind(graph, node->axis) == AD_WIDTH;
        double power = fabs(node->c) > 0 ? width ? node->power : 0 : -INFINITY;
        return (order){ a.size + power, a.spread + power };
    }
    case AD_MUL:
        return product(a, orders[node->in[1]]);
    case AD_DIV:
        return product(a, (order){ 0, orders[node->in[1]].spread });
    case AD_SUM:
    case AD_CONTRACT: {
        order all = node->op == AD_SUM ? a : product(a, orders[node->in[1]]);
        bool matrix = false;
        for (int k = 0; k < node->n_in; k++)
            matrix = matrix || tp_count_widths(graph, &ad_node_of(graph, node->in[k])->shape) > 1;
        return tp_count_widths(graph, &node->over) > 0 ? over_width(all, matrix) : all;
    }
    default:
        for (int k = 1; k < node->n_in; k++) {
            order b = orders[node->in[k]];
            a = (order){ fmax(a.size, b.size), fmax(a.spread, b.spread) };
        }
        if (ad_is_unary(node->op) && node->op != AD_IDENTITY && node->op != AD_NEG)
            a.size = 0;
        return a;
    }
}

/* The operand that stays random and is not met linearly here; -1: none. */
static int random_operand(const tp_program *program, const ad_node *node, const order *orders)
{
    bool linear = !ad_is_unary(node->op) || node->op == AD_IDENTITY || node->op == AD_NEG;
    linear =
        linear && node->op != AD_LOGSUMEXP && node->op != AD_SOFTMAX && node->op != AD_MAX && node->op != AD_ARGMAX;
    bool bilinear = node->op == AD_MUL || node->op == AD_CONTRACT || node->op == AD_DIV;
    for (int k = 0; k < node->n_in; k++) {
        int other = node->n_in > 1 ? node->in[1 - k] : -1;
        bool met = !linear || (bilinear && other >= 0 && program->learns[other]) || (node->op == AD_DIV && k == 1);
        if (met && orders[node->in[k]].spread > -TINY)
            return node->in[k];
    }
    return -1;
}

static int refuse_node(const tp_program *program, int id, int random, double spread, ad_error *error)
{
    const ad_node *node = ad_node_of(program->graph, id), *from = ad_node_of(program->graph, random);
    char power[40] = "order one";
    if (spread > TINY)
        snprintf(power, sizeof power, "order n^%g", spread);
    return ad_fail(
        error,
        "%s:%d: %s: it meets a number that stays random at n = infinity, of %s (%s of line %d: the same for all "
        "coordinates, no vector over a width), so the kernel is random, too. Ask for the kernel of the network "
        "without this step (its outputs before it), or freeze what learns there with a rate of 0",
        node->where.file, node->where.line, ad_op_name(node->op), power, ad_op_name(from->op), from->where.line);
}

int tp_check_fluctuations(const tp_program *program, ad_error *error)
{
    const ad_graph *graph = program->graph;
    order *orders = ad_alloc((size_t)program->forward + 1, sizeof *orders, "the orders of a program", error);
    int status = orders ? 0 : -1;
    for (int id = 0; id < program->forward && !status; id++) {
        const ad_node *node = ad_node_of(graph, id);
        orders[id] = of_node(graph, node, orders);
        int random = program->lives[id] && program->learns[id] ? random_operand(program, node, orders) : -1;
        if (random >= 0)
            status = refuse_node(program, id, random, orders[random].spread, error);
    }
    ad_free(orders);
    return status;
}
