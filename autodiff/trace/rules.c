/* rules.c: the derivative of every op, as nodes. A rule is given the adjoint g of a node and gives its operands theirs.
 * The slopes of coordinatewise functions are those of ops.def.
 *
 * An adjoint may lack axes of its node: it is constant along them. It may have axes the node has not: those of the
 * cotangent, which every rule carries along. */
#include "autodiff/base/base.h"
#include "autodiff/trace/derivative.h"

static ad_var var_at(const ad_pass *p, int id)
{
    return (ad_var){ p->graph, id };
}

static const ad_axis no_axis = { 0 };

/* Sums an adjoint given over `full` down to the axes of `to`; where it is constant along an axis, that is a factor. */
static ad_var reduce(const ad_pass *p, ad_var adjoint, const ad_shape *full, const ad_shape *to)
{
    ad_shape gone = ad_shape_minus(full, to);
    ad_shape summed = ad_shape_meet(&gone, ad_shape_get(adjoint));
    ad_shape factors = ad_shape_minus(&gone, &summed);
    adjoint = ad_sum_at(p->where, adjoint, summed);
    for (int i = 0; i < factors.rank; i++)
        adjoint = ad_scale_at(p->where, adjoint, 1, factors.axes[i], 1);
    return adjoint;
}

void ad_pass_add_site(ad_pass *p, ad_site site)
{
    void *sites = p->sites;
    if (!ad_arena_grow(p->graph->arena, &sites, p->n_sites, &p->sites_capacity, sizeof site)) {
        ad_poison(p->graph, p->where, "backward: out of memory");
        return;
    }
    p->sites = sites;
    p->sites[p->n_sites++] = site;
}

/* Adds `part`, an adjoint given over the axes `full`, to operand k of a node. */
static void give(ad_pass *p, const ad_node *node, int k, ad_var part, const ad_shape *full)
{
    int id = node->in[k];
    if (!p->wanted[id])
        return;
    if (p->graph->nodes[id]->op == AD_PARAM) {
        ad_shape all = ad_shape_union(ad_shape_get(part), full);
        ad_pass_add_site(p, (ad_site){ .param = var_at(p, id), .delta = ad_expand_at(p->where, part, all) });
        return;
    }
    part = reduce(p, part, full, &p->graph->nodes[id]->shape);
    p->adjoint[id] = p->adjoint[id].id < 0 ? part : ad_combine(p->where, AD_ADD, p->adjoint[id], part);
}

/* dy/dx of a coordinatewise op, as nodes; id -1 with a healthy graph where it is zero. */
static ad_var slope(const ad_pass *at, const ad_node *node, ad_var x, ad_var y)
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
#define AD_UNARY(NAME, name, formula, lo, hi, has_p, use, kinks, breaks, at_zero, parity, degree, domain, growth,      \
                 form, derivative)                                                                                     \
    case AD_##NAME:                                                                                                    \
        return derivative;
#define AD_WITHOUT_CUSTOM
#include "autodiff/ops.def"
    default:
        return ad_custom_at(w, node->function, node->order + 1, x);
    }
}

/* ---- what acts on every entry alone ---- */
static void unary_rule(ad_pass *p, const ad_node *node, ad_var g, ad_var a, ad_var y)
{
    ad_var d = slope(p, node, a, y);
    if (d.id >= 0)
        give(p, node, 0, ad_combine(p->where, AD_MUL, g, d), &node->shape);
}

static void binary_rule(ad_pass *p, const ad_node *node, ad_var g, ad_var a, ad_var b, ad_var y)
{
    ad_where w = p->where;
    const ad_shape *full = &node->shape;
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
    default: /* y = a / b */
        g = ad_combine(w, AD_DIV, g, b);
        give(p, node, 0, g, full);
        if (p->wanted[b.id])
            give(p, node, 1, ad_unary_at(w, AD_NEG, ad_combine(w, AD_MUL, g, y), 0), full);
    }
}

/* ---- what runs along axes ---- */
/* u = contract(a, b): the adjoint of a is the contraction of u's with b over what a has not. */
static void contract_rule(ad_pass *p, const ad_node *node, ad_var g)
{
    for (int k = 0; k < 2; k++) {
        ad_var self = var_at(p, node->in[k]), other = var_at(p, node->in[1 - k]);
        if (!p->wanted[self.id])
            continue;
        if (p->graph->nodes[self.id]->op == AD_PARAM) {
            ad_shape all = ad_shape_union(ad_shape_get(g), &node->shape);
            ad_pass_add_site(
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

static ad_var with_axis(const ad_pass *p, ad_var g, ad_axis axis)
{
    ad_shape shape = *ad_shape_get(g);
    if (!ad_has(&shape, axis))
        ad_shape_push(&shape, axis);
    return ad_expand_at(p->where, g, shape);
}

static void reshape_rule(ad_pass *p, const ad_node *node, ad_var g)
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

static void concat_rule(ad_pass *p, const ad_node *node, ad_var g)
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

/* The adjoint of what lies elsewhere: g, with its axes renamed or put back among zeros. */
static void slice_rule(ad_pass *p, const ad_node *node, ad_var g, ad_var a)
{
    g = with_axis(p, g, node->axis2);
    give(p, node, 0, ad_pad_at(p->where, g, node->axis2, node->start, node->axis), ad_shape_get(a));
}

/* g as a product with factors: which of its operands has the axis, and the other not; -1 if it is none, or sums over
 * the axis. *product: the contraction. */
static int factor_with(const ad_pass *p, ad_var g, ad_axis axis, int *product)
{
    const ad_node *node = ad_node_of(p->graph, *product = g.id);
    while (node->op == AD_SCALE)
        node = ad_node_of(p->graph, *product = node->in[0]);
    if (node->op != AD_CONTRACT || ad_has(&node->over, axis))
        return -1;
    bool has[2];
    for (int k = 0; k < 2; k++)
        has[k] = ad_has(&ad_node_of(p->graph, node->in[k])->shape, axis);
    return has[0] == has[1] ? -1 : has[1];
}

/* The contraction that g is, under its factors, with another operand number k, over these axes. */
static ad_var product_again(const ad_pass *p, ad_var g, int product, int k, ad_var operand, ad_shape over)
{
    const ad_node *node = ad_node_of(p->graph, g.id);
    if (g.id != product)
        return ad_scale_at(p->where, product_again(p, var_at(p, node->in[0]), product, k, operand, over), node->c,
                           node->axis, node->power);
    ad_var other = var_at(p, node->in[1 - k]);
    return ad_contract_at(p->where, k ? other : operand, k ? operand : other, over);
}

/* Is it windows, or a part of them? */
static bool reads_windows(const ad_pass *p, int id)
{
    const ad_node *node = ad_node_of(p->graph, id);
    while (node->op == AD_SLICE)
        node = ad_node_of(p->graph, node->in[0]);
    return node->op == AD_WINDOWS;
}

/* A part of a filter's product is the product of a part of the windows: the rest need not be computed. */
static void unslice_rule(ad_pass *p, const ad_node *node, ad_var g, ad_var a)
{
    int product, k = factor_with(p, g, node->axis2, &product);
    size_t count = ad_axis_fixed(p->graph, node->axis);
    if (k >= 0 && reads_windows(p, ad_node_of(p->graph, product)->in[k])) {
        const ad_node *whole = ad_node_of(p->graph, product);
        ad_var part = ad_slice_at(p->where, var_at(p, whole->in[k]), node->axis2, node->start, count, node->axis);
        g = product_again(p, g, product, k, part, whole->over);
    } else if (ad_has(ad_shape_get(g), node->axis2)) {
        g = ad_slice_at(p->where, g, node->axis2, node->start, count, node->axis);
    }
    give(p, node, 0, g, ad_shape_get(a));
}

static ad_window window_of(const ad_node *node)
{
    return (ad_window){ node->start, node->stride, node->dilation };
}

/* x among zeros along the axis; below windows over other axes, so that these stay what costs nothing. */
static ad_var pad_below(const ad_pass *p, ad_var x, ad_axis axis, size_t before, ad_axis as)
{
    const ad_node *node = ad_node_of(p->graph, x.id);
    if (node->op != AD_WINDOWS || ad_same(node->axis2, axis) || ad_same(node->axis3, axis))
        return ad_pad_at(p->where, x, axis, before, as);
    ad_var inside = pad_below(p, var_at(p, node->in[0]), axis, before, as);
    return ad_windows_at(p->where, inside, node->axis, node->axis2, node->axis3, window_of(node));
}

/* An axis of size `size` for zeros around another, under a name that the user's axes cannot have. */
static ad_axis padded_axis(const ad_pass *p, ad_axis axis, size_t size)
{
    char name[32];
    snprintf(name, sizeof name, "%.12s*%d*%zu", ad_axis_name(p->graph, axis), axis.id, size);
    ad_axis padded = ad_fixed_at(p->where, p->graph, name, size);
    padded.prime = axis.prime;
    return padded;
}

/* Windows of stride 1 under a product with a filter, u(p) = sum over k of x(start + p + d k) w(k): the adjoint of x is
 * the filter's product with windows that run backwards, x'(h) = sum over k of u'(h - start - d k) w(k), and no adjoint
 * of the windows is formed. id -1 where g is none. */
static ad_var filter_adjoint(ad_pass *p, const ad_node *node, ad_var g)
{
    const ad_var none = { p->graph, -1 };
    int product, k = factor_with(p, g, node->axis2, &product);
    if (k < 0 || node->stride != 1 || factor_with(p, g, node->axis3, &product) != 1 - k)
        return none;
    const ad_node *whole = ad_node_of(p->graph, product);
    ad_var u = var_at(p, whole->in[k]);
    size_t size = ad_axis_fixed(p->graph, node->axis), length = ad_axis_fixed(p->graph, node->axis3);
    size_t reach = (length - 1) * (size_t)(node->dilation < 0 ? -node->dilation : node->dilation);
    size_t forward = node->dilation > 0 ? reach : 0;
    if (ad_shape_get(u)->rank == AD_MAX_RANK)
        return none;
    ad_axis padded = padded_axis(p, node->axis2, size + reach);
    u = pad_below(p, u, node->axis2, node->start + forward, padded);
    u = ad_windows_at(p->where, u, padded, node->axis, node->axis3, (ad_window){ forward, 1, -node->dilation });
    ad_shape over = whole->over;
    ad_shape_push(&over, node->axis3);
    return product_again(p, g, product, k, u, over);
}

static void windows_rule(ad_pass *p, const ad_node *node, ad_var g, ad_var a)
{
    ad_var by_filter = filter_adjoint(p, node, g);
    if (by_filter.id < 0) {
        g = with_axis(p, with_axis(p, g, node->axis2), node->axis3);
        by_filter = ad_unwindows_at(p->where, g, node->axis2, node->axis3, node->axis, window_of(node));
    }
    give(p, node, 0, by_filter, ad_shape_get(a));
}

static void unwindows_rule(ad_pass *p, const ad_node *node, ad_var g, ad_var a)
{
    if (ad_has(ad_shape_get(g), node->axis))
        g = ad_windows_at(p->where, g, node->axis, node->axis2, node->axis3, window_of(node));
    give(p, node, 0, g, ad_shape_get(a));
}

/* A parameter that is gathered from is a site: the product with one-hot rows. */
static void gather_rule(ad_pass *p, const ad_node *node, ad_var g, ad_var a, ad_var index)
{
    if (ad_node_of(p->graph, a.id)->op == AD_PARAM) {
        ad_shape all = ad_shape_union(ad_shape_get(g), &node->shape);
        ad_pass_add_site(p, (ad_site){ .param = a,
                                       .y = ad_one_hot_at(p->where, index, node->axis),
                                       .delta = ad_expand_at(p->where, g, all),
                                       .over = ad_shape_of(node->axis) });
        return;
    }
    ad_shape whole = ad_shape_union(ad_shape_get(g), ad_shape_get(index));
    ad_shape over = ad_shape_minus(ad_shape_get(index), ad_shape_get(a));
    g = ad_expand_at(p->where, g, whole);
    give(p, node, 0, ad_scatter_at(p->where, g, index, node->axis, over), ad_shape_get(a));
}

/* y = softmax a: y (g - sum g y). */
static void softmax_rule(ad_pass *p, const ad_node *node, ad_var g, ad_var y)
{
    ad_where w = p->where;
    ad_var gy = ad_combine(w, AD_MUL, g, y);
    ad_var mean = ad_sum_at(w, gy, ad_shape_of(node->axis));
    give(p, node, 0, ad_combine(w, AD_SUB, gy, ad_combine(w, AD_MUL, y, mean)), &node->shape);
}

void ad_pass_rule(ad_pass *p, int id, ad_var g)
{
    const ad_node *node = p->graph->nodes[id];
    ad_where w = p->where;
    ad_var y = var_at(p, id), a = var_at(p, node->n_in > 0 ? node->in[0] : -1);
    ad_var b = var_at(p, node->n_in > 1 ? node->in[1] : -1);
    if (ad_is_unary(node->op)) {
        unary_rule(p, node, g, a, y);
        return;
    }
    if (ad_is_binary(node->op)) {
        binary_rule(p, node, g, a, b, y);
        return;
    }
    switch (node->op) {
    case AD_SCALE:
        give(p, node, 0, ad_scale_at(w, g, node->c, node->axis, node->power), &node->shape);
        return;
    case AD_CONTRACT:
        contract_rule(p, node, g);
        return;
    case AD_SUM:
        give(p, node, 0, g, ad_shape_get(a));
        return;
    case AD_EXPAND:
    case AD_TRANSPOSE:
        give(p, node, 0, g, &node->shape);
        return;
    case AD_SLICE:
        slice_rule(p, node, g, a);
        return;
    case AD_UNSLICE:
        unslice_rule(p, node, g, a);
        return;
    case AD_WINDOWS:
        windows_rule(p, node, g, a);
        return;
    case AD_UNWINDOWS:
        unwindows_rule(p, node, g, a);
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
    case AD_GATHER:
        gather_rule(p, node, g, a, b);
        return;
    case AD_SCATTER:
        g = with_axis(p, g, node->axis);
        give(p, node, 0, ad_gather_at(w, g, b, node->axis), ad_shape_get(a));
        return;
    case AD_LOGSUMEXP:
        give(p, node, 0, ad_combine(w, AD_MUL, g, ad_softmax_at(w, a, node->axis)), ad_shape_get(a));
        return;
    case AD_SOFTMAX:
        softmax_rule(p, node, g, y);
        return;
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
