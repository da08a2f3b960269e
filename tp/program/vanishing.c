/* vanishing.c: what vanishes beside the kernel's limit by powers of n that stand in the trace, as data times n^(-1/2)
 * beside data: samples, which stand in for n, would have it in their sums. Of every node a power of n bounds its size,
 * and another by how much its change changes the kernel; what is below the limit by both is left out.
 *
 * That is first order in the change: each node is as large as its bound, so that the product of two changes is below
 * either. Functions are taken at arguments that a change does not take onto a jump or a pole; one whose argument is all
 * left out and that is not continuous at 0 is refused. */
#include "autodiff/trace/trace.h"
#include "tp/program/size_bounds.h"

#include <math.h>

static const double tiny = 1e-9;

typedef struct {
    const tp_program *program;
    tp_size_bound *size;
    double *weight; /* by node: a change of n^p in it is one of n^(p + weight) at most in the kernel; -INFINITY: none */
} analysis;

/* dy/dx of a function of x. */
static double slope_of_function(const ad_node *node, tp_size_bound x)
{
    const ad_op_facts *facts = ad_op_facts_of(node->op);
    double degree = ad_op_degree(node->op, node->c);
    bool known = facts && node->op != AD_CUSTOM;
    if (known && isfinite(degree) && degree >= 1)
        return degree > 1 ? (degree - 1) * x.power : 0;
    if (known && isfinite(degree) && !(fabs(degree) > 0))
        return -x.power; /* so large a share of coordinates is taken to the other side of a jump */
    if (known && isfinite(degree))
        return isfinite(x.least) ? fmax((degree - 1) * x.least, (degree - 1) * x.power) : INFINITY;
    if (tp_grows_at_zero(node->op, node->c))
        return isfinite(x.least) ? -x.least : INFINITY;
    return x.power > 0 && !(known && (facts->growth == AD_BOUNDED || facts->growth == AD_LINEAR)) ? INFINITY : 0;
}

/* Of input k of a node. */
static double slope(const analysis *a, const ad_node *node, int k)
{
    const tp_size_bound *x = &a->size[node->in[k]];
    if (ad_is_unary(node->op))
        return slope_of_function(node, *x);
    switch (node->op) {
    case AD_SCALE:
        return tp_is_width(a->program->graph, node->axis) ? node->power : 0;
    case AD_MUL:
        return a->size[node->in[1 - k]].power;
    case AD_DIV: {
        double least = a->size[node->in[1]].least;
        return !isfinite(least) ? INFINITY : k == 0 ? -least : a->size[node->in[0]].power - 2 * least;
    }
    case AD_SUM:
        return tp_power_of_sum(a->program, node);
    case AD_CONTRACT:
        return a->size[node->in[1 - k]].power + tp_power_of_sum(a->program, node);
    default:
        return 0;
    }
}

static void raise_to(double *weight, double power)
{
    if (power > *weight || isnan(power))
        *weight = isnan(power) ? INFINITY : power;
}

/* params: the power that a site's part in the kernel has besides, by parameter as tp_kernel_weight reads it. Returns
 * the kernel's. */
static double weigh(analysis *a, const double *params)
{
    const tp_program *program = a->program;
    double most = -INFINITY;
    for (int i = 0; i < program->n_sites; i++) {
        const ad_site *site = &program->sites[i];
        double power = tp_power_of_site(program, site, a->size) + tp_kernel_weight(program, params, site->param.id);
        if (!(power > -INFINITY))
            continue;
        most = fmax(most, power);
        raise_to(&a->weight[site->delta.id], power - a->size[site->delta.id].power);
        if (site->y.graph)
            raise_to(&a->weight[site->y.id], power - a->size[site->y.id].power);
    }
    for (int id = program->n_nodes - 1; id >= 0; id--) {
        const ad_node *node = ad_node_of(program->graph, id);
        for (int k = 0; k < node->n_in && a->weight[id] > -INFINITY; k++)
            raise_to(&a->weight[node->in[k]], a->weight[id] + slope(a, node, k));
    }
    return most;
}

/* Is it left out where what is below n^floor is? Where that has limits (floor <= 0) these are what a power of n makes
 * smaller, and nothing else, for bounds of other kinds may be far from what is there. */
static bool is_left_out(const analysis *a, int id, double floor)
{
    const tp_program *program = a->program;
    const ad_node *node = ad_node_of(program->graph, id);
    bool smaller = node->op == AD_SCALE && tp_is_width(program->graph, node->axis) && node->power < 0;
    return program->lives[id] && node->n_in > 0 && program->widths[id] < 2 && (smaller || floor > tiny) &&
           a->weight[id] > -INFINITY && a->size[id].power + a->weight[id] < floor - tiny;
}

/* Is a node 0 where these inputs are? */
static bool is_zero(const ad_node *node, const bool *zero)
{
    int zeros = 0;
    for (int k = 0; k < node->n_in; k++)
        zeros += zero[node->in[k]];
    if (node->op == AD_MUL || node->op == AD_CONTRACT)
        return zeros > 0;
    if (ad_is_unary(node->op)) {
        const ad_op_facts *facts = ad_op_facts_of(node->op);
        return zeros && node->op != AD_CUSTOM && !(fabs(facts->at_zero) > 0) && !isnan(facts->at_zero);
    }
    bool linear = node->op != AD_DIV && node->op != AD_SOFTMAX && node->op != AD_LOGSUMEXP && node->op != AD_ARGMAX;
    return linear && node->n_in > 0 && zeros == node->n_in;
}

/* -1 with an error where all of a function's argument is left out, and it is not continuous at 0. */
static int check_functions(const analysis *a, const bool *left_out, double floor, ad_error *error)
{
    const tp_program *program = a->program;
    bool *zero = ad_alloc((size_t)program->n_nodes + 1, sizeof *zero, "the powers of a program", error);
    int status = zero ? 0 : -1;
    for (int id = 0; id < program->n_nodes && !status; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        zero[id] = left_out[id] || is_zero(node, zero);
        bool counts = program->lives[id] && !(a->size[id].power + a->weight[id] < floor - tiny);
        if (counts && !left_out[id] && ad_is_unary(node->op) && zero[node->in[0]] &&
            tp_breaks_at_zero(node->op, node->c, node->function))
            status = ad_fail(error,
                             "%s:%d: %s: its argument vanishes like n^%g, and it is not continuous at 0: the limit is "
                             "that of what vanishes, which samples do not see",
                             tp_short_file(node->where.file), node->where.line, tp_node_name(node),
                             a->size[node->in[0]].power);
    }
    ad_free(zero);
    return status;
}

/* params is freed. of_output: the weight of the output itself. */
static int find(const tp_program *program, double *params, double of_output, double *floor, bool *left_out,
                double *largest, ad_error *error)
{
    size_t n = (size_t)program->n_nodes + 1;
    analysis a = { .program = program, .size = ad_alloc(n, sizeof *a.size, "the powers of a program", error) };
    a.weight = a.size ? ad_alloc(n, sizeof *a.weight, "the powers of a program", error) : NULL;
    int status = a.weight && params ? 0 : -1;
    *largest = -INFINITY;
    if (!status) {
        tp_bound_sizes(program, true, a.size);
        for (int id = 0; id < program->n_nodes; id++)
            a.weight[id] = -INFINITY;
        a.weight[program->output.id] = of_output;
        *floor = fmin(*floor, weigh(&a, params));
        for (int id = 0; id < program->n_nodes; id++) {
            left_out[id] = is_left_out(&a, id, *floor);
            bool left =
                left_out[id] || (tp_left_order(ad_node_of(program->graph, id)) >= 0 && a.weight[id] > -INFINITY);
            *largest = left ? fmax(*largest, a.size[id].power + a.weight[id]) : *largest;
        }
        status = check_functions(&a, left_out, *floor, error);
    }
    ad_free(params);
    ad_free(a.weight);
    ad_free(a.size);
    return status;
}

int tp_find_vanishing(const tp_program *program, tp_kernel_kind which, double *floor, bool *left_out, double *largest,
                      ad_error *error)
{
    return find(program, tp_kernel_weights(program, which, error), -INFINITY, floor, left_out, largest, error);
}

int tp_find_vanishing_steps(const tp_program *view, bool *left_out, ad_error *error)
{
    const nn_net *net = view->net;
    double floor = 0, largest,
           *rates = ad_alloc((size_t)nn_n_params(net) + 1, sizeof *rates, "the powers of rates", error);
    for (int k = 0; rates && k < nn_n_params(net); k++) {
        const ad_init *init = ad_node_of(view->graph, nn_param(net, k).id)->init;
        rates[k] = tp_is_width(view->graph, init->axis) ? init->rate_power : 0;
    }
    return find(view, rates, 0, &floor, left_out, &largest, error);
}
