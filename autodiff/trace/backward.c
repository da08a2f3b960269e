/* grad.c: reverse mode, from graph to graph, and the derivative rule of every op.
 *
 * An adjoint may lack axes of its node: it is constant along them. It may have axes the node has not: those of the
 * seed, which every rule carries along. So the backward pass of a readout's output starts as a delta between outputs,
 * has no batch axis until an activation brings one, and all rows of the Jacobian come in one pass. */
#include "autodiff/trace/trace.h"

#include <math.h>
#include <string.h>

typedef struct {
    ad_where where;
    ad_graph *graph;
    ad_var *adjoint; /* by node; id -1: none yet */
    bool *wanted;    /* depends on a parameter or on one of wrt */
    int n_nodes;
    ad_site *sites;
    int n_sites, sites_room;
    ad_shape seed_axes;
} pass;

static ad_var var_at(const pass *p, int id)
{
    return (ad_var){ p->graph, id };
}

static const ad_axis no_axis = { 0, 0 };

/* Sums an adjoint given over `full` down to the axes of `to`; where it is constant along an axis, that is a factor. */
static ad_var reduce(const pass *p, ad_var adjoint, const ad_shape *full, const ad_shape *to)
{
    ad_shape gone = ad_shape_minus(full, to);
    ad_shape summed = ad_shape_meet(&gone, ad_shape_get(adjoint));
    ad_shape factors = ad_shape_minus(&gone, &summed);
    adjoint = ad_sum_at(p->where, adjoint, summed);
    for (int i = 0; i < factors.rank; i++)
        adjoint = ad_scale_at(p->where, adjoint, 1, factors.axes[i], 1);
    return adjoint;
}

static void add_site(pass *p, ad_site site)
{
    if (p->n_sites == p->sites_room) {
        int room = p->sites_room ? 2 * p->sites_room : 64;
        ad_site *larger = ad_arena_alloc(p->graph->arena, (size_t)room, sizeof *larger);
        if (!larger) {
            ad_poison(p->graph, p->where, "backward: out of memory");
            return;
        }
        if (p->n_sites)
            memcpy(larger, p->sites, (size_t)p->n_sites * sizeof *larger);
        p->sites = larger;
        p->sites_room = room;
    }
    p->sites[p->n_sites++] = site;
}

/* Adds `part`, an adjoint given over the axes `full`, to operand k of a node. */
static void give(pass *p, const ad_node *node, int k, ad_var part, const ad_shape *full)
{
    int id = node->in[k];
    if (!p->wanted[id])
        return;
    if (p->graph->nodes[id]->op == AD_PARAM) {
        ad_shape all = ad_shape_union(ad_shape_get(part), full);
        add_site(p, (ad_site){ .param = var_at(p, id), .delta = ad_expand_at(p->where, part, all) });
        return;
    }
    part = reduce(p, part, full, &p->graph->nodes[id]->shape);
    p->adjoint[id] = p->adjoint[id].id < 0 ? part : ad_combine(p->where, AD_ADD, p->adjoint[id], part);
}

/* dy/dx of a coordinatewise op, as nodes; id -1 with a healthy graph where it is zero. */
static ad_var slope(const pass *at, const ad_node *node, ad_var x, ad_var y)
{
    ad_where w = at->where;
    ad_var s, t, u;
    double p = node->c;
    switch (node->op) {
#define OF(OP, a) ad_unary_at(w, AD_##OP, a, 0)
#define OF_P(OP, a, parameter) ad_unary_at(w, AD_##OP, a, parameter)
#define PLUS(a, b) ad_combine(w, AD_ADD, a, b)
#define MINUS(a, b) ad_combine(w, AD_SUB, a, b)
#define TIMES(a, b) ad_combine(w, AD_MUL, a, b)
#define SCALED(c, a) ad_scale_at(w, a, c, no_axis, 0)
#define NUMBER(c) ad_constant_at(w, at->graph, c, (ad_shape){ 0 })
#define ZERO ((ad_var){ at->graph, -1 })
#define AD_UNARY(NAME, name, formula, lo, hi, has_p, use, kinks, breaks, at_zero, parity, degree, domain, growth, form, \
                 derivative)                                                                                           \
    case AD_##NAME:                                                                                                    \
        return derivative;
#define AD_WITHOUT_CUSTOM
#include "autodiff/ops.def"
    default:
        return ad_custom_at(w, node->function, node->order + 1, x);
    }
}

/* u = contract(a, b): the adjoint of a is the contraction of u's with b over what a has not. */
static void contract_rule(pass *p, const ad_node *node, ad_var g)
{
    for (int k = 0; k < 2; k++) {
        ad_var self = var_at(p, node->in[k]), other = var_at(p, node->in[1 - k]);
        if (!p->wanted[self.id])
            continue;
        if (p->graph->nodes[self.id]->op == AD_PARAM) {
            ad_shape all = ad_shape_union(ad_shape_get(g), &node->shape);
            add_site(
                p, (ad_site){ .param = self, .y = other, .delta = ad_expand_at(p->where, g, all), .over = node->over });
            continue;
        }
        ad_shape foreign = ad_shape_minus(ad_shape_get(other), ad_shape_get(self));
        ad_shape met = ad_shape_meet(&foreign, ad_shape_get(g));
        ad_shape constant = ad_shape_minus(&foreign, &met);
        ad_var part = ad_contract_at(p->where, g, ad_sum_at(p->where, other, constant), met);
        give(p, node, k, part, ad_shape_get(self));
        /* axes that only `self` and g have were outer in u and stand in g; those g lacks stay constant */
    }
}

static ad_var with_axis(const pass *p, ad_var g, ad_axis axis)
{
    ad_shape shape = *ad_shape_get(g);
    if (!ad_has(&shape, axis))
        ad_shape_push(&shape, axis);
    return ad_expand_at(p->where, g, shape);
}

static void reshape_rule(pass *p, const ad_node *node, ad_var g)
{
    const ad_shape *old = &p->graph->nodes[node->in[0]]->shape;
    ad_shape before = ad_shape_minus(old, &node->shape), after = ad_shape_minus(&node->shape, old);
    for (int i = 0; i < after.rank; i++)
        g = with_axis(p, g, after.axes[i]);
    if (before.rank == 2)
        g = ad_split_at(p->where, g, after.axes[0], before.axes[0], before.axes[1]);
    else
        g = ad_merge_at(p->where, g, after.axes[0], after.axes[1], before.axes[0]);
    give(p, node, 0, g, old);
}

static void concat_rule(pass *p, const ad_node *node, ad_var g)
{
    size_t start = 0;
    for (int k = 0; k < node->n_in; k++) {
        size_t count = ad_axis_fixed(p->graph, node->part_axes[k]);
        ad_var part = g;
        if (ad_has(ad_shape_get(g), node->axis))
            part = ad_slice_at(p->where, g, node->axis, start, count, node->part_axes[k]);
        give(p, node, k, part, &p->graph->nodes[node->in[k]]->shape);
        start += count;
    }
}

static void rule(pass *p, int id, ad_var g)
{
    const ad_node *node = p->graph->nodes[id];
    ad_where w = p->where;
    ad_var y = var_at(p, id), a = var_at(p, node->n_in > 0 ? node->in[0] : -1);
    ad_var b = var_at(p, node->n_in > 1 ? node->in[1] : -1);
    const ad_shape *full = &node->shape;
    if (ad_is_unary(node->op)) {
        ad_var d = slope(p, node, a, y);
        if (d.id >= 0)
            give(p, node, 0, ad_combine(w, AD_MUL, g, d), full);
        return;
    }
    switch (node->op) {
    case AD_ADD:
        give(p, node, 0, g, full);
        give(p, node, 1, g, full);
        return;
    case AD_SUB:
        give(p, node, 0, g, full);
        if (p->wanted[b.id])
            give(p, node, 1, ad_unary_at(w, AD_NEG, g, 0), full);
        return;
    case AD_MUL:
        if (p->wanted[a.id])
            give(p, node, 0, ad_combine(w, AD_MUL, g, b), full);
        if (p->wanted[b.id])
            give(p, node, 1, ad_combine(w, AD_MUL, g, a), full);
        return;
    case AD_DIV:
        g = ad_combine(w, AD_DIV, g, b);
        give(p, node, 0, g, full);
        if (p->wanted[b.id])
            give(p, node, 1, ad_unary_at(w, AD_NEG, ad_combine(w, AD_MUL, g, y), 0), full);
        return;
    case AD_SCALE:
        give(p, node, 0, ad_scale_at(w, g, node->c, node->axis, node->power), full);
        return;
    case AD_CONTRACT:
        contract_rule(p, node, g);
        return;
    case AD_SUM:
        give(p, node, 0, g, ad_shape_get(a));
        return;
    case AD_EXPAND:
        give(p, node, 0, g, full);
        return;
    case AD_SLICE: {
        g = with_axis(p, g, node->axis2);
        ad_shape shape = ad_shape_replace(*ad_shape_get(g), node->axis2, node->axis);
        ad_node put = {
            .op = AD_UNSLICE, .where = w, .shape = shape, .axis = node->axis2, .axis2 = node->axis, .start = node->start
        };
        give(p, node, 0, ad_node_make(p->graph, put, 1, &g.id), ad_shape_get(a));
        return;
    }
    case AD_UNSLICE:
        if (ad_has(ad_shape_get(g), node->axis2))
            g = ad_slice_at(w, g, node->axis2, node->start, ad_axis_fixed(p->graph, node->axis), node->axis);
        give(p, node, 0, g, ad_shape_get(a));
        return;
    case AD_CONCAT:
        concat_rule(p, node, g);
        return;
    case AD_RESHAPE:
        reshape_rule(p, node, g);
        return;
    case AD_RELABEL:
        if (ad_has(ad_shape_get(g), node->axis2))
            g = ad_relabel_at(w, g, node->axis2, node->axis);
        give(p, node, 0, g, ad_shape_get(a));
        return;
    case AD_TRANSPOSE:
        give(p, node, 0, g, full);
        return;
    case AD_GATHER: {
        if (ad_node_of(p->graph, a.id)->op == AD_PARAM) {
            ad_shape all = ad_shape_union(ad_shape_get(g), &node->shape);
            add_site(p, (ad_site){ .param = a,
                                   .y = ad_one_hot_at(w, b, node->axis),
                                   .delta = ad_expand_at(w, g, all),
                                   .over = ad_shape_of(node->axis) });
            return;
        }
        ad_shape whole = ad_shape_union(ad_shape_get(g), ad_shape_get(b));
        ad_shape over = ad_shape_minus(ad_shape_get(b), ad_shape_get(a));
        g = ad_expand_at(w, g, whole);
        give(p, node, 0, ad_scatter_at(w, g, b, node->axis, over), ad_shape_get(a));
        return;
    }
    case AD_SCATTER: {
        g = with_axis(p, g, node->axis);
        give(p, node, 0, ad_gather_at(w, g, b, node->axis), ad_shape_get(a));
        return;
    }
    case AD_LOGSUMEXP:
        give(p, node, 0, ad_combine(w, AD_MUL, g, ad_softmax_at(w, a, node->axis)), ad_shape_get(a));
        return;
    case AD_SOFTMAX: {
        ad_var gy = ad_combine(w, AD_MUL, g, y);
        ad_var mean = ad_sum_at(w, gy, ad_shape_of(node->axis));
        give(p, node, 0, ad_combine(w, AD_SUB, gy, ad_combine(w, AD_MUL, y, mean)), full);
        return;
    }
    case AD_MAX:
        give(p, node, 0, ad_combine(w, AD_MUL, g, ad_argmax_at(w, a, node->axis)), ad_shape_get(a));
        return;
    case AD_ARGMAX:
    case AD_INPUT:
    case AD_CONSTANT:
    case AD_DELTA:
        return;
    default:
        ad_poison(p->graph, node->where, "%s: no derivative rule", ad_op_name(node->op));
    }
}

int ad_backward_at(ad_where where, ad_var y, ad_var seed, const ad_var *wrt, int n_wrt, ad_var *wrt_adjoints,
                   ad_site **sites)
{
    ad_graph *graph = y.graph;
    if (!graph || y.id < 0 || seed.id < 0 || ad_failed(graph))
        return -1;
    for (int i = 0; i < n_wrt; i++) /* its adjoint cannot be told from that of its operand's other uses */
        if (wrt[i].id >= 0 && graph->nodes[wrt[i].id]->moved) {
            ad_poison(graph, where,
                      "backward: the factor of the scale of %s:%d has moved into what it multiplies: take the "
                      "derivative with respect to what is scaled",
                      graph->nodes[wrt[i].id]->where.file, graph->nodes[wrt[i].id]->where.line);
            return -1;
        }
    pass p = { .where = where, .graph = graph, .n_nodes = y.id + 1 };
    p.adjoint = ad_arena_alloc(graph->arena, (size_t)graph->n_nodes, sizeof *p.adjoint);
    p.wanted = ad_arena_alloc(graph->arena, (size_t)graph->n_nodes, sizeof *p.wanted);
    if (!p.adjoint || !p.wanted) {
        ad_poison(graph, where, "backward: out of memory");
        return -1;
    }
    for (int i = 0; i < n_wrt; i++)
        if (wrt[i].id >= 0)
            p.wanted[wrt[i].id] = true;
    for (int id = 0; id < graph->n_nodes; id++)
        p.adjoint[id] = (ad_var){ graph, -1 };
    for (int id = 0; id < p.n_nodes; id++) {
        const ad_node *node = graph->nodes[id];
        p.wanted[id] |= node->op == AD_PARAM;
        for (int k = 0; k < node->n_in; k++)
            if (!((node->op == AD_GATHER || node->op == AD_SCATTER) && k == 1)) /* an index has no derivative */
                p.wanted[id] |= p.wanted[node->in[k]];
    }
    p.seed_axes = ad_shape_minus(ad_shape_get(seed), ad_shape_get(y));
    if (graph->nodes[y.id]->op == AD_PARAM)
        add_site(&p, (ad_site){ .param = y, .delta = seed });
    p.adjoint[y.id] = seed;
    for (int id = y.id; id >= 0 && !ad_failed(graph); id--)
        if (p.adjoint[id].id >= 0 && p.wanted[id]) {
            p.where = graph->nodes[id]->where; /* a backward node points at the line of its forward node */
            rule(&p, id, p.adjoint[id]);
        }
    p.where = where;
    for (int i = 0; i < n_wrt; i++) {
        ad_var found = { graph, -1 };
        if (wrt[i].id >= 0 && wrt[i].id <= y.id && graph->nodes[wrt[i].id]->op == AD_PARAM)
            found = ad_gradient(wrt[i], p.sites, p.n_sites, p.seed_axes);
        else if (wrt[i].id >= 0 && wrt[i].id <= y.id)
            found = p.adjoint[wrt[i].id];
        if (found.id < 0)
            found = ad_constant_at(where, graph, 0, (ad_shape){ 0 });
        ad_shape whole = ad_shape_union(&p.seed_axes, ad_shape_get(wrt[i]));
        found = ad_expand_at(where, found, whole);
        wrt_adjoints[i] = ad_transpose_at(where, found, whole);
    }
    if (ad_failed(graph))
        return -1;
    /* the pass meets the last use first; the list is in the order of the trace */
    for (int i = 0, k = p.n_sites - 1; i < k; i++, k--) {
        ad_site swap = p.sites[i];
        p.sites[i] = p.sites[k];
        p.sites[k] = swap;
    }
    if (sites)
        *sites = p.sites;
    return p.n_sites;
}

/* The sum of y d over what `whole` lacks. */
static ad_var sum_site(ad_where w, ad_var y, ad_var d, const ad_shape *whole)
{
    ad_shape both = ad_shape_union(ad_shape_get(y), ad_shape_get(d)), over = ad_shape_minus(&both, whole);
    /* an axis that only one of the two has is summed alone */
    ad_shape meet = ad_shape_meet(&over, ad_shape_get(d));
    meet = ad_shape_meet(&meet, ad_shape_get(y));
    ad_shape only_y = ad_shape_meet(&over, ad_shape_get(y)), only_d = ad_shape_meet(&over, ad_shape_get(d));
    y = ad_sum_at(w, y, ad_shape_minus(&only_y, &meet));
    d = ad_sum_at(w, d, ad_shape_minus(&only_d, &meet));
    return ad_contract_at(w, y, d, meet);
}

/* The same where y is one-hot rows: d added at their indices. */
static ad_var sum_picks(ad_where w, const ad_node *one_hot, ad_var d, const ad_shape *whole)
{
    ad_var index = { d.graph, one_hot->in[1] };
    ad_shape all = ad_shape_union(ad_shape_get(d), ad_shape_get(index));
    ad_var part =
        ad_scatter_at(w, ad_expand_at(w, d, all), index, one_hot->axis, ad_shape_minus(ad_shape_get(index), whole));
    return ad_sum_at(w, part, ad_shape_minus(ad_shape_get(part), whole));
}

static bool is_one_hot(const ad_graph *graph, const ad_node *node)
{
    const ad_node *x = node->op == AD_SCATTER ? ad_node_of(graph, node->in[0]) : NULL;
    while (x && x->op == AD_EXPAND)
        x = ad_node_of(graph, x->in[0]);
    return x && x->op == AD_CONSTANT && !(fabs(x->c - 1) > 0) && node->over.rank == 0;
}

ad_var ad_gradient(ad_var param, const ad_site *sites, int n_sites, ad_shape keep)
{
    ad_graph *graph = param.graph;
    ad_var total = { graph, -1 };
    const ad_shape *own = ad_shape_get(param);
    ad_shape whole = ad_shape_union(&keep, own);
    for (int i = 0; i < n_sites; i++) {
        const ad_site *site = &sites[i];
        if (site->param.id != param.id)
            continue;
        ad_where w = graph->nodes[param.id]->where;
        ad_var part;
        if (!site->y.graph)
            part = ad_sum_at(w, site->delta, ad_shape_minus(ad_shape_get(site->delta), &whole));
        else if (is_one_hot(graph, ad_node_of(graph, site->y.id)))
            part = sum_picks(w, ad_node_of(graph, site->y.id), site->delta, &whole);
        else
            part = sum_site(w, site->y, site->delta, &whole);
        total = total.id < 0 ? part : ad_combine(w, AD_ADD, total, part);
    }
    if (total.id < 0 || ad_failed(graph))
        return total;
    ad_shape order = ad_shape_meet(&whole, ad_shape_get(total));
    return ad_transpose_at(graph->nodes[param.id]->where, total, order);
}
