/* backward.c: reverse mode, from graph to graph: the walk back over the nodes, and gradients from the uses of
 * parameters.
 *
 * The backward pass of a readout's output starts as a delta between outputs, has no batch axis until an activation
 * brings one, and all rows of the Jacobian come in one pass. */
#include "autodiff/trace/derivative.h"

#include <math.h>

/* Which nodes have a derivative that somebody wants: the operands of what depends on a parameter or on one of wrt. */
static void find_wanted(ad_pass *p, const ad_var *wrt, int n_wrt)
{
    ad_graph *graph = p->graph;
    for (int i = 0; i < n_wrt; i++)
        if (wrt[i].id >= 0)
            p->wanted[wrt[i].id] = true;
    for (int id = 0; id < p->n_nodes; id++) {
        const ad_node *node = graph->nodes[id];
        p->wanted[id] |= node->op == AD_PARAM && !p->wrt_alone;
        for (int k = 0; k < node->n_in; k++)
            if (!((node->op == AD_GATHER || node->op == AD_SCATTER) && k == 1)) /* an index has no derivative */
                p->wanted[id] |= p->wanted[node->in[k]];
    }
}

/* An axis of the cotangent that y has not is carried through the whole pass, and must be a new one: with an axis of
 * what y is made of it would be confused. False: poisoned. */
static bool carries_new_axes(const ad_pass *p, ad_var y)
{
    ad_graph *graph = p->graph;
    bool *reached = p->carried.rank ? ad_arena_alloc(graph->arena, (size_t)y.id + 1, sizeof *reached) : NULL;
    if (reached)
        reached[y.id] = true;
    for (int id = y.id; reached && id >= 0; id--) {
        const ad_node *node = graph->nodes[id];
        for (int k = 0; reached[id] && k < node->n_in; k++)
            reached[node->in[k]] = true;
        ad_shape met = reached[id] ? ad_shape_meet(&p->carried, &node->shape) : (ad_shape){ 0 };
        if (met.rank) {
            char text[160];
            ad_poison(graph, p->where,
                      "backward: the cotangent's axes %s stand in the %s of %s:%d, too, of which the derivative is "
                      "taken: give it others, their ad_prime",
                      ad_shape_text(graph, &met, text, sizeof text), ad_op_name(node->op), node->where.file,
                      node->where.line);
            return false;
        }
    }
    return true;
}

/* The adjoint of wrt with all of its axes and those that are carried; zero where nothing depends on it. */
static ad_var adjoint_of(const ad_pass *p, ad_var wrt)
{
    ad_graph *graph = p->graph;
    ad_var found = { graph, -1 };
    if (wrt.id >= 0 && wrt.id < p->n_nodes)
        found = graph->nodes[wrt.id]->op == AD_PARAM ? ad_gradient(wrt, p->sites, p->n_sites, p->carried)
                                                     : p->adjoint[wrt.id];
    if (found.id < 0)
        found = ad_constant_at(p->where, graph, 0, (ad_shape){ 0 });
    ad_shape whole = ad_shape_union(&p->carried, ad_shape_get(wrt));
    found = ad_expand_at(p->where, found, whole);
    return ad_transpose_at(p->where, found, whole);
}

/* A pass meets the last use first; the list is in the order of the trace. */
static void reverse_sites(ad_pass *p)
{
    for (int i = 0, k = p->n_sites - 1; i < k; i++, k--) {
        ad_site swap = p->sites[i];
        p->sites[i] = p->sites[k];
        p->sites[k] = swap;
    }
}

static int backward(ad_where where, ad_var y, ad_var cotangent, const ad_var *wrt, int n_wrt, bool wrt_alone,
                    ad_var *wrt_adjoints, ad_site **sites)
{
    ad_graph *graph = y.graph;
    for (int i = 0; i < n_wrt && wrt_adjoints; i++)
        wrt_adjoints[i] = (ad_var){ graph, -1 };
    if (!ad_common_graph(where, "backward", y, cotangent))
        return -1;
    if (n_wrt < 0 || (n_wrt > 0 && (!wrt || !wrt_adjoints))) {
        ad_poison(graph, where, "backward: its lists of %d nodes are missing (NULL)", n_wrt);
        return -1;
    }
    for (int i = 0; i < n_wrt; i++)
        if (!ad_common_graph(where, "backward", y, wrt[i]))
            return -1;
    for (int i = 0; i < n_wrt; i++) /* its adjoint cannot be told from that of its operand's other uses */
        if (graph->nodes[wrt[i].id]->moved) {
            ad_poison(graph, where,
                      "backward: the factor of the scale of %s:%d has moved into what it multiplies: take the "
                      "derivative with respect to what is scaled",
                      graph->nodes[wrt[i].id]->where.file, graph->nodes[wrt[i].id]->where.line);
            return -1;
        }
    ad_pass p = { .where = where, .graph = graph, .n_nodes = y.id + 1, .wrt_alone = wrt_alone };
    p.adjoint = ad_arena_alloc(graph->arena, (size_t)graph->n_nodes, sizeof *p.adjoint);
    p.wanted = ad_arena_alloc(graph->arena, (size_t)graph->n_nodes, sizeof *p.wanted);
    if (!p.adjoint || !p.wanted) {
        ad_poison(graph, where, "backward: out of memory");
        return -1;
    }
    for (int id = 0; id < graph->n_nodes; id++)
        p.adjoint[id] = (ad_var){ graph, -1 };
    find_wanted(&p, wrt, n_wrt);
    p.carried = ad_shape_minus(ad_shape_get(cotangent), ad_shape_get(y));
    if (!carries_new_axes(&p, y))
        return -1;
    if (graph->nodes[y.id]->op == AD_PARAM)
        ad_pass_add_site(&p, (ad_site){ .param = y, .delta = cotangent });
    else
        p.adjoint[y.id] = cotangent;
    for (int id = y.id; id >= 0 && !ad_failed(graph); id--)
        if (p.adjoint[id].id >= 0 && p.wanted[id]) {
            p.where = graph->nodes[id]->where; /* a backward node points at the line of its forward node */
            ad_pass_rule(&p, id, p.adjoint[id]);
        }
    p.where = where;
    for (int i = 0; i < n_wrt; i++)
        wrt_adjoints[i] = adjoint_of(&p, wrt[i]);
    if (ad_failed(graph))
        return -1;
    reverse_sites(&p);
    if (sites)
        *sites = p.sites;
    return p.n_sites;
}

int ad_backward_at(ad_where where, ad_var y, ad_var cotangent, const ad_var *wrt, int n_wrt, ad_var *wrt_adjoints,
                   ad_site **sites)
{
    return backward(where, y, cotangent, wrt, n_wrt, false, wrt_adjoints, sites);
}

int ad_adjoints_at(ad_where where, ad_var y, ad_var cotangent, const ad_var *wrt, int n_wrt, ad_var *wrt_adjoints)
{
    return backward(where, y, cotangent, wrt, n_wrt, true, wrt_adjoints, NULL) < 0 ? -1 : 0;
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
    if (!ad_alive(AD_HERE, "gradient", param))
        return total;
    if (n_sites > 0 && !sites)
        return ad_poison(graph, graph->nodes[param.id]->where, "gradient: its sites are missing (NULL)");
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
