/* expansion.c: smooth functions of what vanishes. Where s = O(n^-p) by a power of n in the trace, phi(s) is nearly a
 * polynomial,
 *
 *     phi(s) = phi(0) + phi'(0) s + ... + c_m s^m + O(n^(-(m + 1) p)),
 *
 * of which rules know the limit, as they do not of phi: of n^(1/2) tanh(n^(-1/2) h) that of h. All coordinates are near
 * 0 at once, for the largest of n of a controlled function of Gaussians is n^o(1), so that phi's growth is of no
 * matter. What the polynomial leaves out stays in the trace, as a function that is 0 and of which the order is known:
 * the exact engine counts it to what a coordinate leaves out, and samples to what they leave out. It is differentiated
 * like any other, so that gradients leave out what its derivative is, an order less.
 *
 * Terms beyond the first are c n^(-kp) (n^p s)^k, so that what vanishes beside the limit is told by its power. */
#include "tp/program/expansion.h"
#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"

#include <math.h>
#include <string.h>

static const double tiny = 1e-9;

typedef struct {
    const tp_program *program;
    ad_graph *graph;
    ad_axis width; /* whose powers are taken */
    tp_size_bound *size;
    int *becomes; /* by node */
    int degree, found;
    struct {
        const ad_function *function;
        int order;
    } * left; /* each once: a graph looks at every function that it meets */
    int n_left, left_capacity;
} expander;

/* What a polynomial leaves out of a node's function of x. */
static ad_var what_is_left(expander *e, const ad_node *of, ad_var x, int order)
{
    const char *name = of->op == AD_CUSTOM ? of->function->name : ad_op_name(of->op);
    int k = 0;
    while (k < e->n_left && (e->left[k].function->name != name || e->left[k].order != order))
        k++;
    if (k == e->n_left) {
        void *all = e->left;
        const ad_function *made = tp_left_function(e->graph->arena, name, order);
        if (!made || !ad_arena_grow(e->graph->arena, &all, k, &e->left_capacity, sizeof *e->left))
            return ad_poison(e->graph, of->where, "out of memory for a function of what vanishes");
        e->left = all;
        e->left[k].function = made;
        e->left[e->n_left++].order = order;
    }
    return ad_custom_at(of->where, e->left[k].function, 0, x);
}

/* Is the argument 0 in the limit? */
static bool vanishes(const expander *e, const ad_node *node)
{
    double power = e->size[node->in[0]].power;
    return power < -tiny && isfinite(power);
}

static ad_var sum(ad_where where, ad_var total, ad_var term)
{
    return total.id < 0 ? term : ad_combine(where, AD_ADD, total, term);
}

/* Of a function that is not homogeneous: rules know those at any size. Of a number, which may stay random but for the
 * power of n, there are rules for the first power alone. id -1 where fewer than two coefficients are known. */
static ad_var polynomial(expander *e, int id)
{
    const ad_node *node = ad_node_of(e->graph, id);
    ad_var x = { e->graph, e->becomes[node->in[0]] }, none = { e->graph, -1 }, total = none;
    ad_where where = node->where;
    double c[TP_MOST_COEFFICIENTS], power = e->size[node->in[0]].power;
    int n = tp_taylor(node, c), of_number = e->program->widths[node->in[0]] == 0 && e->program->learns[node->in[0]];
    int degree = of_number ? 1 : e->degree, order = degree + 1;
    if (n < 2)
        return none;
    while (order < n && !(fabs(c[order]) > 0))
        order++;
    order = order < n ? order : n;
    if (fabs(c[0]) > 0)
        total = ad_constant_at(where, e->graph, c[0], *ad_shape_get(x));
    if (fabs(c[1]) > 0)
        total = sum(where, total, ad_scale_at(where, x, c[1], (ad_axis){ 0 }, 0));
    ad_var large = degree > 1 && n > 2 ? ad_scale_at(where, x, 1, e->width, -power) : x, to_k = large;
    for (int k = 2; k <= degree && k < n; k++) {
        to_k = ad_combine(where, AD_MUL, to_k, large);
        if (fabs(c[k]) > 0)
            total = sum(where, total, ad_scale_at(where, to_k, c[k], e->width, k * power));
    }
    e->found++;
    return sum(where, total, what_is_left(e, node, x, order));
}

static int expand_node(expander *e, int id)
{
    ad_node node = *ad_node_of(e->graph, id);
    bool function = ad_is_unary(node.op) && isnan(ad_op_degree(node.op, node.c)) && tp_left_order(&node) < 0;
    if (function && vanishes(e, &node)) {
        ad_var made = polynomial(e, id);
        if (made.id >= 0 || ad_failed(e->graph))
            return made.id;
    }
    int *in = ad_arena_alloc(e->graph->arena, (size_t)node.n_in + 1, sizeof *in);
    bool changed = false;
    for (int k = 0; in && k < node.n_in; k++) {
        in[k] = e->becomes[node.in[k]];
        changed = changed || in[k] != node.in[k];
    }
    return !in ? -1 : changed ? ad_node_make(e->graph, node, node.n_in, in).id : id;
}

/* A width whose size enters; no axis: none does. */
static ad_axis find_width(const tp_program *program)
{
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        for (int i = 0; program->lives[id] && i < node->shape.rank; i++)
            if (tp_is_width(program->graph, node->shape.axes[i]))
                return node->shape.axes[i];
    }
    return (ad_axis){ 0 };
}

ad_var tp_expand(const tp_program *program, int degree, int *n)
{
    ad_graph *graph = program->graph;
    ad_var none = { graph, -1 };
    expander e = { .program = program, .graph = graph, .width = find_width(program), .degree = degree };
    e.size = ad_arena_alloc(graph->arena, (size_t)program->n_nodes + 1, sizeof *e.size);
    e.becomes = ad_arena_alloc(graph->arena, (size_t)program->forward + 1, sizeof *e.becomes);
    *n = 0;
    if (!e.size || !e.becomes)
        return none;
    tp_bound_sizes(program, false, e.size);
    for (int id = 0; id <= program->output.id; id++) {
        e.becomes[id] = id;
        bool asked = program->lives[id] && ad_node_of(graph, id)->n_in > 0 && e.width.id;
        if (asked && (e.becomes[id] = expand_node(&e, id)) < 0)
            return none;
    }
    *n = e.found;
    return (ad_var){ graph, e.becomes[program->output.id] };
}
