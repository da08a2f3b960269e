/* read_out_last.c: a network that takes a derivative of its own output, with respect to its input or a hidden vector,
 * begins with the readout and ends with a sum over the width of what the backward pass makes of it: of vectors, which
 * rules take for an average, and here it is one of mean 0. The output f is linear in the readout v; by Euler
 *
 *     f = sum over alpha  v_alpha  df / dv_alpha  +  f at v = 0,
 *
 * in which the readout is last, as rules have it, and no matrix is used with its transpose any more. It is the same
 * function, so it has the same kernels. */
#include "autodiff/trace/trace.h"
#include "tp/program/program.h"

#include <math.h>

/* What a node is in the readouts: independent, linear without a constant part, linear with one, or another function. */
typedef enum { CONSTANT, LINEAR, AFFINE, NONLINEAR } degree;

typedef struct {
    ad_graph *graph;
    ad_var output;
    ad_axis outputs, batch;
    bool *lives, *reads; /* by node: the output is made of it; a readout */
    degree *degrees;
} euler;

static bool moves(ad_op op)
{
    return op == AD_IDENTITY || op == AD_NEG || op == AD_SCALE || op == AD_SUM || op == AD_EXPAND || op == AD_SLICE ||
           op == AD_UNSLICE || op == AD_RESHAPE || op == AD_RELABEL || op == AD_TRANSPOSE || op == AD_WINDOWS ||
           op == AD_UNWINDOWS;
}

static bool adds(ad_op op)
{
    return op == AD_ADD || op == AD_SUB || op == AD_CONCAT;
}

static degree degree_of(const euler *e, int id)
{
    const ad_node *node = ad_node_of(e->graph, id);
    degree least = NONLINEAR, most = CONSTANT, first = node->n_in > 0 ? e->degrees[node->in[0]] : CONSTANT;
    if (node->op == AD_PARAM)
        return e->reads[id] ? LINEAR : CONSTANT;
    for (int k = 0; k < node->n_in; k++) {
        degree d = e->degrees[node->in[k]];
        least = d < least ? d : least;
        most = d > most ? d : most;
    }
    if (most == CONSTANT || most == NONLINEAR || moves(node->op))
        return most;
    if (adds(node->op))
        return least < most ? AFFINE : most;
    if (node->op == AD_MUL || node->op == AD_CONTRACT)
        return least == CONSTANT ? most : NONLINEAR;
    bool first_alone = node->op == AD_DIV || node->op == AD_GATHER || node->op == AD_SCATTER;
    return first_alone && e->degrees[node->in[1]] == CONSTANT ? first : NONLINEAR;
}

/* Is the output linear in these parameters? */
static bool is_linear(euler *e)
{
    for (int id = 0; id <= e->output.id; id++)
        e->degrees[id] = e->lives[id] ? degree_of(e, id) : CONSTANT;
    return e->degrees[e->output.id] == LINEAR || e->degrees[e->output.id] == AFFINE;
}

static bool may_read_out(const euler *e, int id)
{
    const ad_node *node = ad_node_of(e->graph, id);
    return e->lives[id] && node->op == AD_PARAM && tp_count_widths(e->graph, &node->shape) == 1 &&
           node->init->deviation > 0 && !(fabs(node->init->mean) > 0);
}

/* A sum over the width of a vector that a readout was multiplied into before; -1: none. */
static int early_readout(const euler *e)
{
    for (int id = 0; id <= e->output.id; id++) {
        const ad_node *node = ad_node_of(e->graph, id);
        for (int k = 0; e->lives[id] && tp_is_average(e->graph, id) && k < node->n_in; k++) {
            ad_shape names;
            degree d = e->degrees[node->in[k]];
            if ((d == LINEAR || d == AFFINE) && tp_peel(e->graph, node->in[k], &names) < 0)
                return id;
        }
    }
    return -1;
}

/* The readouts: the parameters with the outputs' axis, or else the last vector that the output is linear in. The
 * node where the first of them is summed too late; -1: there is none. */
static int find_readouts(euler *e)
{
    bool any = false;
    for (int id = 0; id <= e->output.id; id++) {
        e->reads[id] = may_read_out(e, id) && ad_has(&ad_node_of(e->graph, id)->shape, e->outputs);
        any |= e->reads[id];
    }
    if (any)
        return is_linear(e) ? early_readout(e) : -1;
    for (int id = e->output.id; id >= 0; id--) {
        if (!may_read_out(e, id))
            continue;
        e->reads[id] = true;
        if (is_linear(e))
            return early_readout(e);
        e->reads[id] = false;
    }
    return -1;
}

/* x with the axes of a shape, in their order. */
static ad_var shaped(ad_where where, ad_var x, const ad_shape *shape)
{
    return ad_transpose_at(where, ad_expand_at(where, x, *shape), *shape);
}

/* What is left of a node where the readouts are 0, of operands that are known; id -1: nothing. */
static ad_var without_readouts(const euler *e, int id, const ad_var *left)
{
    ad_node node = *ad_node_of(e->graph, id);
    ad_var now = { e->graph, id };
    if (e->degrees[id] != AFFINE)
        return e->degrees[id] == CONSTANT ? now : (ad_var){ e->graph, -1 };
    int *in = ad_arena_alloc(e->graph->arena, (size_t)node.n_in, sizeof *in);
    for (int k = 0; in && k < node.n_in; k++) {
        const ad_shape *shape = &ad_node_of(e->graph, node.in[k])->shape;
        ad_var part = left[node.in[k]];
        if (part.id < 0)
            part = ad_constant_at(node.where, e->graph, 0, *shape);
        in[k] = shaped(node.where, part, shape).id;
    }
    return in && !ad_failed(e->graph) ? ad_node_make(e->graph, node, node.n_in, in) : (ad_var){ e->graph, -1 };
}

/* The output where the readouts are 0; id -1: nothing, or memory is out. */
static ad_var constant_part(const euler *e)
{
    ad_var none = { e->graph, -1 };
    ad_var *left = ad_arena_alloc(e->graph->arena, (size_t)e->output.id + 1, sizeof *left);
    for (int id = 0; left && id <= e->output.id; id++)
        left[id] = e->lives[id] ? without_readouts(e, id, left) : none;
    return left ? left[e->output.id] : none;
}

/* sum v df/dv of one readout, over (batch, outputs); the cotangent's own axis, if it has one, is `seed`. */
static ad_var read_out(const euler *e, int id, ad_where where, const ad_site *sites, int n_sites, ad_axis seed)
{
    ad_var v = { e->graph, id };
    const ad_shape *own = ad_shape_get(v);
    ad_shape keep = seed.id ? ad_shape_of(e->batch, seed) : ad_shape_of(e->batch), width = { 0 }, rest = { 0 };
    for (int i = 0; i < own->rank; i++) {
        if (tp_is_width(e->graph, own->axes[i]))
            ad_shape_push(&width, own->axes[i]);
        else if (seed.id || !ad_same(own->axes[i], e->outputs))
            ad_shape_push(&rest, own->axes[i]);
    }
    ad_var slope = ad_gradient(v, sites, n_sites, keep);
    if (slope.id < 0)
        return slope;
    ad_shape whole = ad_shape_union(&keep, own);
    slope = shaped(where, slope, &whole);
    ad_var f = ad_sum_at(where, ad_contract_at(where, slope, v, width), rest);
    return shaped(where, seed.id ? ad_relabel_at(where, f, seed, e->outputs) : f, ad_shape_get(e->output));
}

/* Does every output have readouts of its own, which no other meets or takes? */
static bool outputs_apart(const euler *e)
{
    bool apart = true;
    for (int id = 0; id <= e->output.id && apart; id++) {
        const ad_node *node = ad_node_of(e->graph, id);
        if (e->degrees[id] == CONSTANT)
            continue;
        bool kept = node->op == AD_PARAM || node->op == AD_ADD || node->op == AD_SUB || node->op == AD_MUL ||
                    node->op == AD_DIV || node->op == AD_NEG || node->op == AD_IDENTITY || node->op == AD_SCALE ||
                    node->op == AD_TRANSPOSE || node->op == AD_EXPAND || node->op == AD_SUM || node->op == AD_CONTRACT;
        apart = kept && ad_has(&node->shape, e->outputs);
    }
    return apart;
}

/* The output with its readouts last. Where outputs are apart, one backward pass is all of theirs. */
static ad_var rewritten(const euler *e, int late)
{
    ad_graph *graph = e->graph;
    ad_where where = ad_node_of(graph, late)->where;
    bool meet = ad_axis_fixed(graph, e->outputs) > 1 && !outputs_apart(e);
    ad_axis seed = meet ? ad_unused_prime(graph, e->output.id, e->outputs) : (ad_axis){ 0 };
    ad_var cotangent =
        meet ? ad_delta_at(where, graph, seed, e->outputs) : ad_constant_at(where, graph, 1, *ad_shape_get(e->output));
    ad_site *sites;
    int n_sites = ad_backward_at(where, e->output, cotangent, NULL, 0, NULL, &sites);
    ad_var total = constant_part(e);
    for (int id = 0; id <= e->output.id && n_sites > 0; id++) {
        ad_var part = e->reads[id] ? read_out(e, id, where, sites, n_sites, seed) : (ad_var){ graph, -1 };
        if (part.id >= 0)
            total = total.id < 0 ? part : ad_combine(where, AD_ADD, total, part);
    }
    return ad_failed(graph) || n_sites < 0 ? (ad_var){ graph, -1 } : total;
}

ad_var tp_read_out_last(ad_var output, ad_axis outputs, ad_axis batch)
{
    ad_graph *graph = output.graph;
    size_t n = (size_t)output.id + 1;
    euler e = { .graph = graph, .output = output, .outputs = outputs, .batch = batch };
    e.lives = ad_arena_alloc(graph->arena, n, sizeof *e.lives);
    e.reads = ad_arena_alloc(graph->arena, n, sizeof *e.reads);
    e.degrees = ad_arena_alloc(graph->arena, n, sizeof *e.degrees);
    if (!e.lives || !e.reads || !e.degrees)
        return (ad_var){ graph, -1 };
    e.lives[output.id] = true;
    for (int id = output.id; id >= 0; id--)
        for (int k = 0; e.lives[id] && k < ad_node_of(graph, id)->n_in; k++)
            e.lives[ad_node_of(graph, id)->in[k]] = true;
    int late = ad_parameters_coupled(output, batch) ? -1 : find_readouts(&e);
    return late < 0 ? output : rewritten(&e, late);
}
