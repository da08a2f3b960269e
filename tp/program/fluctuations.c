/* fluctuations.c: numbers that stay random as the width grows, and what is done with them. A product of a vector with a
 * readout's weights, a parameter without a width, a weight of a bottleneck: each is one Gaussian of order one that all
 * coordinates share, not a vector of many, and no Master theorem averages it. A network may end in such numbers,
 * linearly: that is a Gaussian process. A function of one, or its product with what learns, makes the tangent kernel
 * random.
 *
 * By node, from the trace alone: the order n^size of a coordinate at most, and the order n^spread of what of it is
 * random and shared. An average over the width, which adds 1 to the size, fluctuates by 1/2. */
#include "tp/program/expansion.h"

#include <math.h>

typedef struct {
    double size, spread; /* -INFINITY: none */
    bool positive;       /* no coordinate is negative, and what they are summed to is of this size, not less */
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
    order o = { fabs(node->init->mean) > 0 ? fmax(0, deviation) : deviation, -INFINITY, false };
    if (tp_count_widths(graph, &node->shape) == 0)
        o.spread = deviation;
    return o;
}

static order product(order a, order b)
{
    return (order){ a.size + b.size, fmax(a.spread + b.size, a.size + b.spread), a.positive && b.positive };
}

/* A sum over the width: of numbers that differ, and are centred or not. A matrix and a vector make a vector again. */
static order over_width(order summed, bool matrix)
{
    order o = { summed.size + (matrix ? 0.5 : 1), summed.spread + (matrix ? 0.5 : 1), summed.positive };
    if (!matrix)
        o.spread = fmax(o.spread, summed.size + 0.5);
    return o;
}

/* What fluctuates less than it amounts to is a number up to a factor that tends to 1. */
static bool is_number(order o)
{
    return o.spread < -TINY || (o.positive && o.spread < o.size - TINY);
}

/* x^degree of such a number. */
static order power_of(order x, double degree)
{
    return (order){ degree * x.size, x.spread + (degree - 1) * x.size, true };
}

static bool never_negative(const ad_node *node)
{
    const ad_op_facts *facts = ad_op_facts_of(node->op);
    return facts && (facts->lowest >= 0 || node->op == AD_SQUARE || node->op == AD_ABS || node->op == AD_RELU ||
                     node->op == AD_STEP);
}

static order of_node(const ad_graph *graph, const ad_node *node, const order *orders)
{
    order a = node->n_in > 0 ? orders[node->in[0]] : (order){ 0, -INFINITY, false };
    switch (node->op) {
    case AD_PARAM:
        return of_param(graph, node);
    case AD_SCALE: {
        bool width = node->axis.id && ad_axis_kind(graph, node->axis) == AD_WIDTH;
        double power = fabs(node->c) > 0 ? width ? node->power : 0 : -INFINITY;
        return (order){ a.size + power, a.spread + power, a.positive && node->c > 0 };
    }
    case AD_MUL:
        return product(a, orders[node->in[1]]);
    case AD_DIV: {
        order b = orders[node->in[1]];
        bool number = b.positive && b.spread < b.size - TINY;
        return product(a, number ? power_of(b, -1) : (order){ 0, b.spread, false });
    }
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
            a = (order){ fmax(a.size, b.size), fmax(a.spread, b.spread), a.positive && b.positive };
        }
        if (node->op == AD_CONSTANT)
            a.positive = node->c >= 0;
        if (!ad_is_unary(node->op) || node->op == AD_IDENTITY)
            return a;
        if (isfinite(ad_op_degree(node->op, node->c)) && a.positive && node->op != AD_NEG)
            return power_of(a, ad_op_degree(node->op, node->c));
        if (node->op != AD_NEG)
            a.size = a.size < 0 && isfinite(a.size) ? tp_order_at_zero(node) * a.size : 0;
        a.positive = never_negative(node);
        return a;
    }
}

/* By node: does a parameter that has a site move it? */
static bool *find_moved(const tp_program *program, tp_kernel_kind which, ad_error *error)
{
    bool *moved = ad_alloc((size_t)program->forward + 1, sizeof *moved, "the orders of a program", error);
    for (int k = 0; moved && which == TP_NTK && k < program->n_sites; k++)
        moved[program->sites[k].param.id] = true;
    for (int id = 0; moved && id < program->forward; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        for (int k = 0; k < node->n_in; k++)
            moved[id] = moved[id] || moved[node->in[k]];
    }
    return moved;
}

/* The operand that stays random and is not met linearly here; -1: none. A product of two random numbers is not linear,
 * nor is that of one and of what learns: its own gradient is random. */
static int random_operand(const ad_node *node, const order *orders, const bool *moved)
{
    bool linear = !ad_is_unary(node->op) || node->op == AD_IDENTITY || node->op == AD_NEG;
    linear =
        linear && node->op != AD_LOGSUMEXP && node->op != AD_SOFTMAX && node->op != AD_MAX && node->op != AD_ARGMAX;
    bool bilinear = node->op == AD_MUL || node->op == AD_CONTRACT || node->op == AD_DIV;
    for (int k = 0; k < node->n_in; k++) {
        int other = node->n_in > 1 ? node->in[1 - k] : -1;
        order x = orders[node->in[k]];
        bool partner = other >= 0 && (moved[other] || orders[other].spread > -TINY);
        bool by_degree = is_number(x) && (node->op == AD_DIV || isfinite(ad_op_degree(node->op, node->c)));
        bool met = !linear || (bilinear && partner) || (node->op == AD_DIV && k == 1);
        if (met && x.spread > -TINY && !by_degree)
            return node->in[k];
    }
    return -1;
}

/* What a user calls the number that is maybe renamed. */
static const char *name_of(const tp_program *program, int id)
{
    const ad_node *node = ad_node_of(program->graph, id);
    while (!node->name && (node->op == AD_SCALE || node->op == AD_EXPAND || node->op == AD_RELABEL))
        node = ad_node_of(program->graph, node->in[0]);
    return tp_node_name(node);
}

static int refuse_node(const tp_program *program, int id, int random, double spread, ad_error *error)
{
    const ad_node *node = ad_node_of(program->graph, id), *from = ad_node_of(program->graph, random);
    char power[40] = "order one";
    if (spread > TINY)
        ad_snprintf(power, sizeof power, "order n^%g", spread);
    return ad_fail(
        error,
        "%s:%d: %s: it meets a number whose fluctuations, of %s, do not vanish: %s of line %d, the same for all "
        "coordinates, no vector over a width",
        node->where.file, node->where.line, tp_node_name(node), power, name_of(program, random), from->where.line);
}

int tp_check_fluctuations(const tp_program *program, tp_kernel_kind which, ad_error *error)
{
    const ad_graph *graph = program->graph;
    order *orders = ad_alloc((size_t)program->forward + 1, sizeof *orders, "the orders of a program", error);
    bool *moved = find_moved(program, which, error);
    int status = orders && moved ? 0 : -1;
    for (int id = 0; id < program->forward && !status; id++) {
        const ad_node *node = ad_node_of(graph, id);
        orders[id] = of_node(graph, node, orders);
        int random = program->lives[id] ? random_operand(node, orders, moved) : -1;
        if (random >= 0)
            status = refuse_node(program, id, random, orders[random].spread, error);
    }
    ad_free(orders);
    ad_free(moved);
    return status;
}

/* Jumps it, has it a pole, or does it ask who is the largest? */
static bool is_broken(const ad_node *node)
{
    const ad_op_facts *facts = ad_op_facts_of(node->op);
    bool pole = facts && (facts->domain == AD_POSITIVES || (facts->domain == AD_BY_P && node->c < 0));
    return node->op == AD_ARGMAX || node->op == AD_DIV || pole ||
           (ad_is_unary(node->op) && facts && facts->n_kinks > 0 && facts->breaks == AD_JUMPS);
}

int tp_find_suspect(const tp_program *program)
{
    int n = program->forward, found = -1;
    bool *averages = ad_alloc((size_t)n + 1, sizeof *averages, "the averages of a program", NULL);
    for (int id = 0; averages && id < n && found < 0; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        if (!program->lives[id])
            continue;
        averages[id] = program->learns[id] && tp_is_average(program->graph, id);
        bool reached = false;
        for (int k = node->op == AD_DIV; k < node->n_in; k++)
            reached |= averages[node->in[k]];
        found = reached && is_broken(node) ? id : -1;
        for (int k = 0; k < node->n_in; k++)
            averages[id] |= averages[node->in[k]];
    }
    ad_free(averages);
    return found;
}
