/* power_bound.c: a power of n that a kernel does not exceed, from the trace alone: of every node the power that bounds
 * a coordinate's size. A Gaussian matrix, or a readout of what is made without it, sums incoherently, n^(1/2); anything
 * else is taken to sum coherently, n. What cancels is less, so that only upper bounds come of it; where a small
 * argument makes a large value, as of 1/x or log x, there is none, unless the argument is held off 0. */
#include "autodiff/trace/trace.h"
#include "tp/program/expansion.h"

#include <math.h>

static double width_power(const ad_graph *graph, ad_axis axis, double power)
{
    return tp_is_width(graph, axis) ? power : 0;
}

static tp_size_bound of_parameter(const ad_graph *graph, const ad_init *init)
{
    double spread = init->deviation > 0 ? width_power(graph, init->axis, init->deviation_power) : -INFINITY;
    return (tp_size_bound){ .power = fabs(init->mean) > 0 ? fmax(0, spread) : spread, .least = -INFINITY };
}

static tp_size_bound of_function(const ad_node *node, tp_size_bound x, bool steps)
{
    const ad_op_facts *facts = ad_op_facts_of(node->op);
    double degree = ad_op_degree(node->op, node->c);
    bool known = facts && node->op != AD_CUSTOM, even = node->op == AD_SQUARE || node->op == AD_ABS;
    tp_size_bound y = { .least = -INFINITY };
    if (node->op == AD_IDENTITY)
        return x;
    if (node->op == AD_NEG) {
        y.power = x.power;
        return y;
    }
    y.positive = known && (even || facts->lowest >= 0 || node->op == AD_RELU || node->op == AD_STEP ||
                           (x.positive && isfinite(degree)));
    if (x.power < 0 && !steps && !isfinite(degree) && !tp_grows_at_zero(node->op, node->c)) {
        int order = tp_order_at_zero(node);
        y.power = order ? order * x.power : 0;
        return y;
    }
    if (known && facts->growth == AD_BOUNDED)
        return y;
    if (known && isfinite(degree) && x.positive && isfinite(x.least))
        y.least = degree > 0 ? degree * x.least : isfinite(x.power) ? degree * x.power : -INFINITY;
    if (tp_grows_at_zero(node->op, node->c))
        y.power = isfinite(x.least) && isfinite(degree) ? fmax(degree * x.least, degree * x.power)
                  : x.least >= 0                        ? 0
                                                        : INFINITY;
    else if (known && isfinite(degree) && degree >= 0)
        y.power = degree > 0 ? degree * x.power : 0;
    else if (x.power > 0)
        y.power = known && facts->growth == AD_LINEAR ? x.power : INFINITY;
    return y;
}

static bool is_random_matrix(const tp_program *program, int id)
{
    int param = program->params[id];
    return program->widths[id] > 1 && param >= 0 && !(fabs(ad_node_of(program->graph, param)->init->mean) > 0);
}

static bool depends_on(const ad_graph *graph, int id, int param)
{
    bool found = id == param, *reached = ad_alloc((size_t)id + 1, sizeof *reached, "the powers of a program", NULL);
    for (int at = id; reached && at > param && !found; at--) {
        const ad_node *node = ad_node_of(graph, at);
        reached[id] = true;
        for (int k = 0; reached[at] && k < node->n_in; k++) {
            reached[node->in[k]] = true;
            found = found || node->in[k] == param;
        }
    }
    found = found || !reached;
    ad_free(reached);
    return found;
}

/* A product of a readout's weights, of mean 0, with what is made without them: operand k of the node. */
static bool is_read_out(const tp_program *program, const ad_node *node, int k)
{
    int param = program->params[node->in[k]];
    return program->widths[node->in[k]] == 1 && param >= 0 && !program->steps &&
           !(fabs(ad_node_of(program->graph, param)->init->mean) > 0) &&
           !depends_on(program->graph, node->in[1 - k], param);
}

double tp_power_of_sum(const tp_program *program, const ad_node *node)
{
    bool incoherent = false;
    for (int k = 0; k < node->n_in && node->op == AD_CONTRACT; k++)
        incoherent = incoherent || is_random_matrix(program, node->in[k]) || is_read_out(program, node, k);
    return tp_count_widths(program->graph, &node->over) * (incoherent ? 0.5 : 1);
}

/* A sum of what is at least n^least: so many widths as large; or, of means, as large as its bound. */
static double least_of_sum(const tp_program *program, const ad_node *node, double least, bool positive, double power,
                           bool means)
{
    double widths = tp_count_widths(program->graph, &node->over);
    return means && positive && widths > 0 && isfinite(power) ? power : least + widths;
}

static tp_size_bound of_node(const tp_program *program, const ad_node *node, bool means, const tp_size_bound *all)
{
    const ad_graph *graph = program->graph;
    tp_size_bound a = node->n_in > 0 ? all[node->in[0]] : (tp_size_bound){ .least = -INFINITY };
    tp_size_bound b = node->n_in > 1 ? all[node->in[1]] : (tp_size_bound){ .least = -INFINITY };
    bool both = a.positive && b.positive;
    double power;
    if (ad_is_unary(node->op))
        return of_function(node, a, program->steps);
    switch (node->op) {
    case AD_PARAM:
        return of_parameter(graph, node->init);
    case AD_CONSTANT:
        return (tp_size_bound){ fabs(node->c) > 0 ? 0 : -INFINITY, node->c >= 0, node->c > 0 ? 0 : -INFINITY };
    case AD_SOFTMAX:
    case AD_ARGMAX:
        return (tp_size_bound){ .positive = true, .least = -INFINITY };
    case AD_SCALE:
        power = width_power(graph, node->axis, node->power);
        return (tp_size_bound){ a.power + power, a.positive && node->c > 0, node->c > 0 ? a.least + power : -INFINITY };
    case AD_ADD:
        return (tp_size_bound){ fmax(a.power, b.power), both, both ? fmax(a.least, b.least) : -INFINITY };
    case AD_MUL:
        return (tp_size_bound){ a.power + b.power, both || node->in[0] == node->in[1], a.least + b.least };
    case AD_DIV:
        return (tp_size_bound){ isfinite(b.least) ? a.power - b.least : INFINITY, both, -INFINITY };
    case AD_SUM:
        power = a.power + tp_power_of_sum(program, node);
        return (tp_size_bound){ power, a.positive, least_of_sum(program, node, a.least, a.positive, power, means) };
    case AD_CONTRACT:
        power = a.power + b.power + tp_power_of_sum(program, node);
        both |= node->in[0] == node->in[1];
        return (tp_size_bound){ power, both, least_of_sum(program, node, a.least + b.least, both, power, means) };
    case AD_LOGSUMEXP:
        return (tp_size_bound){ .power = fmax(a.power, 0), .least = -INFINITY };
    default:
        for (int k = 1; k < node->n_in; k++) {
            tp_size_bound c = all[node->in[k]];
            a = (tp_size_bound){ fmax(a.power, c.power), a.positive && c.positive, fmin(a.least, c.least) };
        }
        a.positive = a.positive && node->n_in > 0 && node->op != AD_SUB;
        if (!a.positive || node->op == AD_UNSLICE || node->op == AD_SCATTER)
            a.least = -INFINITY;
        return a;
    }
}

void tp_bound_sizes(const tp_program *program, bool means, tp_size_bound *all)
{
    for (int id = 0; id < program->n_nodes; id++)
        all[id] = of_node(program, ad_node_of(program->graph, id), means, all);
}

double tp_power_of_site(const tp_program *program, const ad_site *site, const tp_size_bound *all)
{
    const ad_graph *graph = program->graph;
    const ad_shape *own = ad_shape_get(site->param), *delta = ad_shape_get(site->delta);
    bool product = site->y.graph;
    ad_shape reached = product ? ad_shape_union(delta, ad_shape_get(site->y)) : *delta;
    ad_shape beyond = ad_shape_minus(&reached, own);
    double power = all[site->delta.id].power + (product ? all[site->y.id].power : 0);
    return 2 * power + tp_count_widths(graph, own) + 2 * tp_count_widths(graph, &beyond);
}

double *tp_kernel_weights(const tp_program *program, tp_kernel_kind which, ad_error *error)
{
    enum { LOW = 10, HIGH = 20 };
    const nn_net *net = program->net;
    size_t n = (size_t)nn_n_params(net) + 1;
    double *powers = ad_alloc(3 * n, sizeof *powers, "weights", error);
    for (int k = 0; powers && which == TP_NNGP && program->probe < 0 && k < 2; k++) {
        ad_sizes sizes = { .n = (size_t)1 << (k ? HIGH : LOW) };
        if (nn_readout_variances(net, &sizes, powers + (size_t)(k + 1) * n, error)) {
            ad_free(powers);
            return NULL;
        }
    }
    for (size_t p = 0; powers && which == TP_NNGP && p < n; p++)
        powers[p] = program->probe >= 0 ? -INFINITY : log2(powers[2 * n + p] / powers[n + p]) / (HIGH - LOW);
    return powers;
}

double tp_kernel_weight(const tp_program *program, const double *weights, int param)
{
    if (param == program->probe)
        return 0;
    for (int p = 0; p < nn_n_params(program->net); p++)
        if (nn_param(program->net, p).id == param)
            return isnan(weights[p]) ? -INFINITY : weights[p];
    return -INFINITY;
}

double tp_power_bound(const tp_program *program, tp_kernel_kind which)
{
    ad_error none = { 0 };
    double most = -INFINITY, *weights = tp_kernel_weights(program, which, &none);
    tp_size_bound *all = ad_alloc((size_t)program->n_nodes + 1, sizeof *all, "the powers of a program", NULL);
    if (all)
        tp_bound_sizes(program, false, all);
    for (int i = 0; all && weights && i < program->n_sites; i++) {
        const ad_site *site = &program->sites[i];
        double power = tp_power_of_site(program, site, all) + tp_kernel_weight(program, weights, site->param.id);
        most = power < most ? most : power; /* NaN stays */
    }
    bool there = all && weights && !isnan(most);
    ad_free(all);
    ad_free(weights);
    return there ? most : INFINITY;
}
