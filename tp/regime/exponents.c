/* exponents.c: sizes through the forward and the backward pass, node by node: at the start, and of changes. */
#include "tp/regime/exponents.h"

#include <math.h>
#include <string.h>

/* The sum over axes of a product with these strips and of this size where they all are: what is of one sign, by the law
 * of large numbers, else by the central limit theorem. */
static double summed(const tp_exponents *e, double size, const tp_strips *strips, const ad_shape *over, bool centred)
{
    const ad_graph *graph = e->program->graph;
    double widths = tp_count_widths(graph, over) * e->log_n, rare = widths > 0 ? tp_strips_rarity(e, strips) : 0;
    return size + (centred ? (widths - rare + tp_exponent_of_fixed(graph, over)) / 2
                           : widths - rare + tp_exponent_of_fixed(graph, over) / 2);
}

/* The size of a node where its strips are. */
static double peak(const tp_exponents *e, double size, const tp_strips *strips)
{
    return size > -INFINITY ? size + tp_strips_rarity(e, strips) / 2 : size;
}

/* ---- at the start ---- */
static double start_of_product(const tp_exponents *e, int id, tp_strips *own)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    int a = node->in[0], b = node->in[1];
    double size =
        peak(e, e->start[a], tp_strips_of(e, e->narrow, a)) + peak(e, e->start[b], tp_strips_of(e, e->narrow, b));
    tp_strips_join(e, own, tp_strips_of(e, e->narrow, a));
    tp_strips_join(e, own, tp_strips_of(e, e->narrow, b));
    if (node->op == AD_MUL) {
        return fmin(size - tp_strips_rarity(e, own) / 2, tp_normalised_bound(e, id));
    }
    bool centred = tp_product_centred(e, a, b, &node->over) || tp_is_random_matrix(e, a) || tp_is_random_matrix(e, b);
    double sum = summed(e, size, own, &node->over, centred);
    if (!centred)
        sum = tp_split_sum(e, sum, summed(e, size, own, &node->over, true),
                           tp_rest_of_sum(e, a, TP_AT_START, b, TP_AT_START, &node->over), &e->split[id]);
    tp_strips_none(e, own);
    return sum;
}

/* What a node is the sum of, or made of otherwise: strips are kept that all parts have which lead. */
static double sum_of(const tp_exponents *e, const ad_node *node, const double *sizes, tp_strips *sets, tp_strips *own)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *whole = tp_whole_of(graph, node);
    bool any = false, adds = node->op == AD_ADD || node->op == AD_SUB;
    double most = -INFINITY;
    for (int k = 0; k < whole->n_in; k++)
        if (tp_takes_part(graph, node, k))
            most = adds ? tp_exponent_sum(most, sizes[whole->in[k]]) : fmax(most, sizes[whole->in[k]]);
    for (int k = 0; k < whole->n_in; k++) {
        if (!tp_takes_part(graph, node, k) || !(sizes[whole->in[k]] > most - 1 - e->log_n / 100))
            continue;
        (any ? tp_strips_meet : tp_strips_join)(e, own, tp_strips_of(e, sets, whole->in[k]));
        any = true;
    }
    return most;
}

/* A sum over axes; over a width of a function it is the function's mean, a square's not its root mean square. */
static double start_of_total(const tp_exponents *e, int id)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    int in = node->in[0];
    const tp_curve *curve = e->curves.curve[in];
    const tp_strips *strips = tp_strips_of(e, e->narrow, in);
    double widths = tp_count_widths(e->program->graph, &node->over) * e->log_n;
    if (curve && widths > 0 && !e->centred[in]) {
        double mean = tp_curve_mean(curve, e->start[tp_curve_argument(e->program, &e->curves, in)]);
        if (mean > -INFINITY)
            return mean + widths + tp_exponent_of_fixed(e->program->graph, &node->over) / 2;
    }
    double size = peak(e, e->start[in], strips), sum = summed(e, size, strips, &node->over, e->centred[in]);
    if (e->centred[in])
        return sum;
    return tp_split_sum(e, sum, summed(e, size, strips, &node->over, true),
                        tp_rest_of_sum(e, in, TP_AT_START, -1, TP_AT_START, &node->over), &e->split[id]);
}

/* x - c x or x + c x, as of a gate's 1 - z, where c is a function of one vector, and x in the product may be negated:
 * *gate is the product's node, *factor c's, *sign that of c; x's node, or -1. The terms are not independent. */
static int gated(const tp_exponents *e, const ad_node *node, int *gate, int *factor, double *sign)
{
    const ad_graph *graph = e->program->graph;
    for (int k = 0; k < 2 && (node->op == AD_ADD || node->op == AD_SUB); k++) {
        const ad_node *product = ad_node_of(graph, node->in[k]);
        for (int i = 0; i < 2 && product->op == AD_MUL; i++) {
            int x = product->in[i];
            const ad_node *own = ad_node_of(graph, x);
            bool negated = x != node->in[1 - k] && own->op == AD_NEG;
            if ((negated ? own->in[0] : x) != node->in[1 - k] || !e->curves.curve[product->in[1 - i]])
                continue;
            *gate = node->in[k];
            *factor = product->in[1 - i];
            *sign = (node->op == AD_SUB ? -1 : 1) * (negated ? -1 : 1);
            return node->in[1 - k];
        }
    }
    return -1;
}

/* The log of the root of E (1 + sign c)^2. */
static double gate_size(const tp_exponents *e, int factor, double sign)
{
    int x = tp_curve_argument(e->program, &e->curves, factor);
    return tp_curve_rest(e->curves.curve[factor], e->start[x], 0 - sign);
}

/* Of a sum of which terms cancel; of the strips those that all the terms have which lead. */
static double start_of_cancelled(const tp_exponents *e, const tp_cancelled *c, tp_strips *own)
{
    double most = -INFINITY;
    bool any = false;
    for (int i = 0; i < c->n; i++)
        most = tp_exponent_sum(most, tp_term_start(e, &c->terms[i]));
    for (int i = 0; i < c->n; i++) {
        const tp_term *t = &c->terms[i];
        if (!(tp_term_start(e, t) > most - 1 - e->log_n / 100))
            continue;
        const tp_strips *strips = tp_strips_of(e, e->narrow, t->id);
        if (t->over.rank > 0 && t->family < 0)
            tp_strips_none(e, own);
        else
            (any ? tp_strips_meet : tp_strips_join)(e, own, strips);
        any = true;
    }
    double factor = c->factor < 0 ? 0 : e->start[c->factor];
    return most + (c->divides ? -factor : factor);
}

static double start_of_sum(const tp_exponents *e, int id, tp_strips *own)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    int gate, factor;
    double sign;
    int x = gated(e, node, &gate, &factor, &sign);
    if (x < 0)
        return sum_of(e, node, e->start, e->narrow, own);
    tp_strips_join(e, own, tp_strips_of(e, e->narrow, x));
    e->gain[id] = gate_size(e, factor, sign);
    return e->start[x] + e->gain[id];
}

/* Of entries put at an index among zeros, which is no term: their root mean square over all. */
static double spread_out(const tp_exponents *e, const ad_node *node)
{
    const ad_shape entries = ad_shape_of(node->axis);
    double sum = tp_exponent_of_fixed(e->program->graph, &node->over);
    return node->op == AD_SCATTER ? (sum - tp_exponent_of_fixed(e->program->graph, &entries)) / 2 : 0;
}

static double start_of(const tp_exponents *e, int id)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *node = ad_node_of(graph, id);
    const tp_curve *curve = e->curves.curve[id];
    double a = node->n_in > 0 ? e->start[node->in[0]] : 0;
    tp_strips *own = tp_strips_of(e, e->narrow, id);
    tp_strips_none(e, own);
    if (tp_cancelled_at_start(e, id))
        return start_of_cancelled(e, tp_cancelled_at_start(e, id), own);
    if (curve) {
        int x = tp_curve_argument(e->program, &e->curves, id);
        e->gain[id] = tp_curve_slope(curve, e->start[x]);
        if (curve->narrow)
            tp_strips_add(own, e->strip[x]);
        return tp_curve_size(curve, e->start[x]);
    }
    switch (node->op) {
    case AD_PARAM:
        return e->spread[id] + e->front[id];
    case AD_INPUT:
        return e->inputs;
    case AD_DELTA:
    case AD_SOFTMAX:
    case AD_ARGMAX:
        return 0;
    case AD_CONSTANT:
        return fabs(node->c) > 0 ? log(fabs(node->c)) : -INFINITY;
    case AD_SCALE:
        tp_strips_join(e, own, tp_strips_of(e, e->narrow, node->in[0]));
        return a + tp_exponent_of_scale(e, node);
    case AD_GATHER:
    case AD_SCATTER:
        tp_strips_join(e, own, tp_strips_of(e, e->narrow, node->in[0]));
        return a + spread_out(e, node);
    case AD_LOGSUMEXP:
        return fmax(a, 0);
    case AD_MUL:
    case AD_CONTRACT:
        return start_of_product(e, id, own);
    case AD_DIV:
        tp_strips_join(e, own, tp_strips_of(e, e->narrow, node->in[0]));
        return fmin(a - e->start[node->in[1]], tp_normalised_bound(e, id));
    case AD_SUM:
        return start_of_total(e, id);
    default:
        return start_of_sum(e, id, own);
    }
}

/* ---- changes ---- */
/* A change is made of a part that is within strips and of one that is not, which add up independently. */
typedef struct {
    double narrow, free;
} parts;

static const parts nothing = { -INFINITY, -INFINITY };

static parts as_free(parts p)
{
    return (parts){ -INFINITY, tp_exponent_sum(p.narrow, p.free) };
}

static parts parts_of(const tp_exponents *e, int id)
{
    return (parts){ e->inside[id], e->outside[id] };
}

/* Adds a part within strips to a sum: of two sets of strips that of the larger is kept. */
static void add_parts(const tp_exponents *e, parts *sum, tp_strips *strips, parts one, const tp_strips *own)
{
    sum->free = tp_exponent_sum(sum->free, one.free);
    if (!(one.narrow > -INFINITY))
        return;
    if (memcmp(strips, own, e->words * sizeof *own) == 0) {
        sum->narrow = tp_exponent_sum(sum->narrow, one.narrow);
        return;
    }
    bool larger = one.narrow > sum->narrow;
    sum->free = tp_exponent_sum(sum->free, larger ? sum->narrow : one.narrow);
    sum->narrow = larger ? one.narrow : sum->narrow;
    if (larger)
        memcpy(strips, own, e->words * sizeof *own);
}

/* Of y = f(x) by a change of x that is larger than x: from about f(0) to f there; of what has a pole at 0, the larger
 * of what it was and what it is. */
static double far_change(const tp_exponents *e, const tp_curve *curve, int x, int id)
{
    double there = tp_curve_distance(curve, e->change[x]);
    return curve->at_points ? fmax(e->start[id], there) : there;
}

/* y = f(x). Small changes: f'(x) dx. A change that is larger than the strip where f' is not 0 crosses it from a share
 * dx / |x| of all places; one that is larger than x itself takes f as far as it goes. */
static parts function_change(const tp_exponents *e, int id, tp_strips *own)
{
    const tp_curve *curve = e->curves.curve[id];
    int x = tp_curve_argument(e->program, &e->curves, id);
    double gain = e->gain[id];
    parts in = parts_of(e, x), out = nothing;
    if (!(e->change[x] > -INFINITY) || !(gain > -INFINITY || (!e->linear && e->change[x] > e->start[x])))
        return nothing;
    if (!e->linear && e->change[x] > e->start[x])
        return (parts){ -INFINITY, far_change(e, curve, x, id) };
    const tp_strips *moved = tp_strips_of(e, e->moved, x);
    bool crosses = !e->linear && curve->narrow_slope;
    out.free = gain + (crosses && in.free > 0 ? in.free / 2 : in.free);
    tp_strips_join(e, own, moved);
    if (!curve->narrow_slope) {
        out.narrow = gain + in.narrow;
        return out;
    }
    tp_strips_add(own, e->strip[x]);
    double high = peak(e, in.narrow, moved), rare = tp_strips_rarity(e, own);
    out.narrow = gain + e->rarity[e->strip[x]] / 2 + high - rare / 2;
    if (crosses && high > 0)
        out.narrow -= memcmp(moved, own, e->words * sizeof *own) == 0 ? high : high / 2;
    return out;
}

static double rows_rarity(const tp_exponents *e, int param)
{
    return tp_strips_rarity(e, tp_strips_of(e, e->rows[0], param)) +
           tp_strips_rarity(e, tp_strips_of(e, e->rows[1], param));
}

double tp_exponent_reach(const tp_exponents *e, int other)
{
    const tp_program *p = e->program;
    bool both = e->met >= 0 && other >= 0 && p->data[e->met] && p->data[other];
    return both && tp_renamed(p->graph, e->met) != tp_renamed(p->graph, other) ? e->overlap : 0;
}

/* Of what a change meets: as it started, or as numbers have changed it. */
static double met_size(const tp_exponents *e, int id)
{
    return e->linear ? e->start[id] : fmax(e->start[id], e->by_numbers[id]);
}

/* The change of a parameter times what it meets. */
static parts update_product(const tp_exponents *e, const ad_node *node, int own, int other, tp_strips *to)
{
    const ad_graph *graph = e->program->graph;
    ad_shape names = { 0 };
    int param = tp_peel(graph, own, &names), side = 0;
    tp_strips *gone = e->work;
    const tp_strips *met = tp_strips_of(e, e->narrow, other);
    double widths = node->op == AD_CONTRACT ? tp_count_widths(graph, &node->over) : 0;
    double entries = node->op == AD_CONTRACT ? widths * e->log_n + tp_exponent_of_fixed(graph, &node->over) : 0;
    double size = peak(e, met_size(e, other), met) + entries;
    parts out = parts_of(e, own);
    tp_strips_none(e, gone);
    for (int k = 0; k < names.rank && side < 2; k++) {
        if (!tp_is_width(graph, names.axes[k]))
            continue;
        bool over = node->op == AD_CONTRACT && ad_has(&node->over, names.axes[k]);
        tp_strips_join(e, over ? gone : to, tp_strips_of(e, e->rows[side], param));
        side++;
    }
    tp_strips_join(e, widths > 0 ? gone : to, met);
    double missed = widths > 0 ? tp_strips_rarity(e, met) : tp_strips_rarity(e, met) / 2;
    out.narrow += rows_rarity(e, param) / 2 + size - tp_strips_rarity(e, gone) - tp_strips_rarity(e, to) / 2 +
                  tp_exponent_reach(e, other);
    out.free += size - missed;
    return out;
}

/* The change by numbers' updates of node id, a sum over widths of a b: they change what cancels and what does not. */
static double by_numbers(const tp_exponents *e, int id, double whole, double centred, int a, int b, tp_when when_b,
                         const ad_shape *over)
{
    if (!e->numbers || tp_count_widths(e->program->graph, over) == 0)
        return whole;
    tp_split split = e->split_change[id];
    double size = tp_split_sum(e, whole, centred, tp_rest_of_sum(e, a, TP_CHANGED_BY, b, when_b, over), &split);
    if (e->linear && split > e->split_change[id])
        e->split_change[id] = split;
    return size;
}

/* The change of factor `own` times the other one; what was not changed of a random matrix meets everything
 * incoherently, also what it made itself (n^1/2 from there, n^1/2 from here). */
static parts factor_change(const tp_exponents *e, int id, int own, int other, tp_strips *to)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    const tp_strips *moved = tp_strips_of(e, e->moved, own), *met = tp_strips_of(e, e->narrow, other);
    parts out = parts_of(e, own);
    tp_strips_none(e, to);
    double there = met_size(e, other);
    if (!(e->change[own] > -INFINITY) || !(there > -INFINITY))
        return nothing;
    if (e->program->params[own] >= 0 && !tp_is_random_matrix(e, other))
        return update_product(e, node, own, other, to);
    double high = peak(e, out.narrow, moved), size = peak(e, there, met);
    tp_strips_join(e, to, moved);
    tp_strips_join(e, to, met);
    if (node->op == AD_MUL)
        return (parts){ high + size - tp_strips_rarity(e, to) / 2, out.free + there };
    bool random = tp_is_random_matrix(e, other) || (e->numbers && tp_product_centred(e, own, other, &node->over));
    parts centred = { summed(e, high + size, to, &node->over, true),
                      summed(e, out.free + size, met, &node->over, true) };
    out.narrow = summed(e, high + size, to, &node->over, random);
    out.free = summed(e, out.free + size, met, &node->over, random);
    tp_strips_none(e, to);
    out = as_free(out);
    if (!random)
        out.free = by_numbers(e, id, out.free, as_free(centred).free, own, other, TP_AT_START, &node->over);
    return out;
}

static parts product_change(const tp_exponents *e, int id, tp_strips *own)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    parts sum = nothing;
    double widths = node->op == AD_CONTRACT ? tp_count_widths(e->program->graph, &node->over) : 0;
    tp_strips *one = e->work + e->words;
    for (int k = 0; k < 2; k++) {
        parts change = factor_change(e, id, node->in[k], node->in[1 - k], one);
        add_parts(e, &sum, own, change, one);
    }
    bool cancels = e->numbers && widths > 0 && tp_product_centred(e, node->in[0], node->in[1], &node->over);
    double both = e->change[node->in[0]] + e->change[node->in[1]] + (cancels ? widths / 2 : widths) * e->log_n;
    if (!cancels && !e->linear)
        both =
            by_numbers(e, id, both, both - widths / 2 * e->log_n, node->in[0], node->in[1], TP_CHANGED_BY, &node->over);
    if (!e->linear)
        sum.free = fmax(sum.free, both);
    return sum;
}

static parts param_change(const tp_exponents *e, int id, tp_strips *own)
{
    if ((e->program->widths[id] == 0) != e->numbers)
        return nothing;
    if (e->program->widths[id] == 1)
        tp_strips_join(e, own, tp_strips_of(e, e->rows[0], id));
    return (parts){ e->update[id] + e->front[id] - rows_rarity(e, id) / 2, e->others[id] + e->front[id] };
}

/* Of x (1 - c): dx (1 - c) and x dc. */
static parts gated_change(const tp_exponents *e, int id, int x, int gate, int factor, tp_strips *own)
{
    tp_strips *one = e->work + e->words;
    parts change = factor_change(e, gate, factor, x, one), sum = parts_of(e, x);
    sum.narrow += e->gain[id];
    sum.free += e->gain[id];
    tp_strips_join(e, own, tp_strips_of(e, e->moved, x));
    add_parts(e, &sum, own, change, one);
    return sum;
}

/* The change of a term's sum over axes. */
static parts total_change(const tp_exponents *e, int id, const tp_term *t)
{
    double change = e->change[t->id], centred = change + tp_term_total(e, t, true);
    if (e->numbers && e->centred[t->id])
        return (parts){ -INFINITY, centred };
    double whole = change + tp_term_total(e, t, false);
    return (parts){ -INFINITY, by_numbers(e, id, whole, centred, t->id, -1, TP_AT_START, &t->over) };
}

/* Of what is left of a sum of which terms cancel: of x - mean x the part of x's change that differs along the axes. */
static parts cancelled_change(const tp_exponents *e, int id, const tp_cancelled *c, tp_strips *own)
{
    parts sum = nothing;
    double start = -INFINITY, factor = c->factor < 0 ? 0 : e->start[c->factor] * (c->divides ? -1 : 1);
    for (int i = 0; i < c->n; i++) {
        const tp_term *t = &c->terms[i];
        bool sums = t->over.rank > 0 && t->family < 0;
        parts one = sums ? total_change(e, id, t) : parts_of(e, t->id);
        double scale = tp_term_scale(e, t) + factor;
        if (t->family >= 0 && e->change[t->id] > -INFINITY)
            scale += e->varying_change[t->family][t->id] - e->change[t->id];
        one.narrow += scale;
        one.free += scale;
        add_parts(e, &sum, own, one, tp_strips_of(e, e->moved, t->id));
        start = tp_exponent_sum(start, tp_term_start(e, t));
    }
    if (c->factor >= 0)
        sum.free = tp_exponent_sum(sum.free, start + e->change[c->factor] + (c->divides ? 2 * factor : 0));
    return sum;
}

static parts sum_change(const tp_exponents *e, int id, tp_strips *own)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    int gate, factor;
    double sign;
    int x = e->linear ? gated(e, node, &gate, &factor, &sign) : -1;
    parts sum = nothing;
    if (x >= 0)
        return gated_change(e, id, x, gate, factor, own);
    const ad_node *whole = tp_whole_of(e->program->graph, node);
    for (int k = 0; k < whole->n_in; k++)
        if (tp_takes_part(e->program->graph, node, k))
            add_parts(e, &sum, own, parts_of(e, whole->in[k]), tp_strips_of(e, e->moved, whole->in[k]));
    return sum;
}

static parts quotient_change(const tp_exponents *e, const ad_node *node)
{
    int over = node->in[0], under = node->in[1];
    return (parts){ -INFINITY,
                    fmax(e->change[over] - e->start[under], e->start[over] + e->change[under] - 2 * e->start[under]) };
}

/* What is normalised changes by no more than what it is at most. */
static parts bounded(const tp_exponents *e, int id, parts change)
{
    double most = tp_normalised_bound(e, id);
    return !e->linear && most < INFINITY ? (parts){ -INFINITY, fmin(as_free(change).free, most) } : change;
}

static double summed_change(const tp_exponents *e, const ad_node *node, parts a, const tp_strips *moved, bool centred)
{
    a.narrow = summed(e, peak(e, a.narrow, moved), moved, &node->over, centred);
    tp_strips_none(e, e->work);
    a.free = summed(e, a.free, e->work, &node->over, centred);
    return as_free(a).free;
}

static parts sum_over_axes_change(const tp_exponents *e, int id, parts a, const tp_strips *moved)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    bool cancels = e->numbers && e->centred[node->in[0]];
    double sum = summed_change(e, node, a, moved, cancels);
    if (!cancels)
        sum = by_numbers(e, id, sum, summed_change(e, node, a, moved, true), node->in[0], -1, TP_AT_START, &node->over);
    return (parts){ -INFINITY, sum };
}

static parts change_of(const tp_exponents *e, int id, tp_strips *own)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    int in = node->n_in > 0 ? node->in[0] : -1;
    parts a = in >= 0 ? parts_of(e, in) : nothing;
    const tp_strips *moved = in >= 0 ? tp_strips_of(e, e->moved, in) : NULL;
    const tp_cancelled *cancelled = e->linear && e->by_drawn ? tp_cancelled_at_start(e, id) : e->cancelled[id];
    if (cancelled)
        return cancelled_change(e, id, cancelled, own);
    if (e->curves.curve[id])
        return function_change(e, id, own);
    switch (node->op) {
    case AD_PARAM:
        return param_change(e, id, own);
    case AD_SCALE:
        tp_strips_join(e, own, moved);
        return (parts){ a.narrow + tp_exponent_of_scale(e, node), a.free + tp_exponent_of_scale(e, node) };
    case AD_GATHER:
    case AD_SCATTER:
        tp_strips_join(e, own, moved);
        return (parts){ a.narrow + spread_out(e, node), a.free + spread_out(e, node) };
    case AD_SOFTMAX:
    case AD_ARGMAX:
        a = as_free(a);
        a.free = e->linear ? a.free : fmin(a.free, 0);
        return a;
    case AD_SUM:
        return sum_over_axes_change(e, id, a, moved);
    case AD_MUL:
        return bounded(e, id, product_change(e, id, own));
    case AD_CONTRACT:
        return product_change(e, id, own);
    case AD_DIV:
        return bounded(e, id, quotient_change(e, node));
    default:
        return sum_change(e, id, own);
    }
}

void tp_exponents_start(const tp_exponents *e)
{
    for (int id = 0; id < e->program->n_nodes; id++)
        if (e->program->lives[id]) {
            tp_strips *own = tp_strips_of(e, e->narrow, id);
            e->start[id] = start_of(e, id);
            if (e->settled)
                memcpy(own, tp_strips_of(e, e->settled, id), e->words * sizeof *own);
            tp_strips_measure(e, id);
            tp_varying_start(e, id);
            tp_mixed_start(e, id);
        }
}

static void find_change(const tp_exponents *e, int id)
{
    tp_strips *own = tp_strips_of(e, e->moved, id);
    tp_strips_none(e, own);
    parts p = change_of(e, id, own);
    if (e->program->params[id] < 0 && !tp_strips_any(e, own))
        p = as_free(p);
    e->inside[id] = p.narrow;
    e->outside[id] = p.free;
    e->change[id] = tp_exponent_sum(p.narrow, p.free);
    tp_varying_change(e, id);
    tp_mixed_change(e, id);
}

/* The change of a number is one by numbers, whatever makes it. */
static void hand_over(const tp_exponents *e, const tp_exponents *numbered, int id)
{
    numbered->outside[id] = numbered->change[id] = tp_exponent_sum(numbered->change[id], e->change[id]);
    numbered->inside[id] = e->inside[id] = e->outside[id] = e->change[id] = -INFINITY;
    for (int family = 0; family < e->n_families; family++) {
        numbered->varying_change[family][id] =
            fmax(numbered->varying_change[family][id], e->varying_change[family][id]);
        e->varying_change[family][id] = -INFINITY;
    }
}

void tp_exponents_change(const tp_exponents *e)
{
    tp_exponents numbered = *e;
    numbered.numbers = true;
    numbered.change = e->by_numbers;
    numbered.inside = e->numbered->inside;
    numbered.outside = e->numbered->outside;
    numbered.by_numbers = e->numbered->none;
    numbered.moved = e->numbered->moved;
    for (int family = 0; family < e->n_families; family++)
        numbered.varying_change[family] = e->numbered->varying_change[family];
    for (int id = 0; id < e->program->n_nodes; id++) {
        if (!e->program->lives[id])
            continue;
        find_change(&numbered, id);
        find_change(e, id);
        if (e->program->widths[id] == 0)
            hand_over(e, &numbered, id);
    }
}
