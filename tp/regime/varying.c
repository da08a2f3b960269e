/* varying.c: the part of a node that differs along the axes over which a mean is taken off: x - mean x is of that
 * part's size, whatever x is beside it. Of b + h with a bias b that all samples share, h alone is left over the batch;
 * of tanh(b + h) with a small h, tanh'(b) h; of a sigmoid of what vanishes, over its units, a quarter of that. The size
 * is a bound from above; it is as large as the node's own at most, as a mean is a projection. */
#include "tp/regime/exponents.h"

#include <math.h>

typedef struct {
    const tp_exponents *e;
    const double *sizes, *changes; /* of the parts, by node */
    const ad_shape *over;
    int family;
} part;

static part part_of(const tp_exponents *e, int family)
{
    return (part){ e, e->varying[family], e->varying_change[family], &e->families[family], family };
}

/* Is it the same along all of the axes? */
static bool is_same(const part *p, int id)
{
    for (int k = 0; k < p->over->rank; k++)
        if (!tp_same_along(p->e, id, p->over->axes[k]))
            return false;
    return true;
}

/* Of what is all of a node: 0. */
static double share(double of, double all)
{
    return all > -INFINITY ? fmin(of - all, 0) : -INFINITY;
}

static double share_at_start(const part *p, int id)
{
    return share(p->sizes[id], p->e->start[id]);
}

static double share_of_change(const part *p, int id)
{
    return share(p->changes[id], p->e->change[id]);
}

/* ---- terms of sums that cancel ---- */
double tp_term_scale(const tp_exponents *e, const tp_term *t)
{
    double scale = log(fabs(t->c));
    for (int k = 0; k < t->sized.rank; k++)
        scale += tp_exponent_of_axis(e, t->sized.axes[k], t->powers[k]);
    return scale;
}

double tp_term_total(const tp_exponents *e, const tp_term *t, bool centred)
{
    if (t->family >= 0)
        return 0;
    const ad_graph *graph = e->program->graph;
    double widths = tp_count_widths(graph, &t->over) * e->log_n;
    return (centred ? widths / 2 : widths) + tp_exponent_of_fixed(graph, &t->over) / 2;
}

double tp_term_start(const tp_exponents *e, const tp_term *t)
{
    double size = t->family >= 0 ? e->varying[t->family][t->id] : e->start[t->id];
    double sum = size + tp_term_total(e, t, e->centred[t->id]);
    if (t->family < 0 && !e->centred[t->id] && t->over.rank > 0) {
        double rest = tp_rest_of_sum(e, t->id, TP_AT_START, -1, TP_AT_START, &t->over);
        sum = tp_split_sum(e, sum, size + tp_term_total(e, t, true), rest, &e->split_total[t->id]);
    }
    return sum + tp_term_scale(e, t);
}

/* Of such a node, at the start or of its change: of x - mean x over some axes the part that differs along others is no
 * larger than either's. */
static double part_of_terms(const part *p, int id, bool change)
{
    const tp_exponents *e = p->e;
    const tp_cancelled *c = e->cancelled[id];
    double most = -INFINITY;
    for (int i = 0; i < c->n; i++) {
        const tp_term *t = &c->terms[i];
        double own = (change ? p->changes : p->sizes)[t->id];
        if (t->family >= 0)
            own = fmin(own, (change ? e->varying_change : e->varying)[t->family][t->id]);
        most = tp_exponent_sum(most, own + tp_term_total(e, t, !change && e->centred[t->id]) + tp_term_scale(e, t));
    }
    return most;
}

/* ---- at the start ---- */
/* y = f(x): f'(x) dx; where f jumps, all of it for those that cross. */
static double part_of_function(const part *p, int id)
{
    const tp_exponents *e = p->e;
    const tp_curve *curve = e->curves.curve[id];
    int x = tp_curve_argument(e->program, &e->curves, id);
    double dx = p->sizes[x], size = e->gain[id] + dx;
    if (!(dx > -INFINITY))
        return -INFINITY;
    if (curve->jumps)
        size = fmax(size, e->start[id] + share_at_start(p, x) / 2);
    return curve->at_points ? size : fmin(size, tp_curve_deviation(curve, e->start[x]));
}

static double part_of_product(const part *p, const ad_node *node)
{
    const tp_exponents *e = p->e;
    int a = node->in[0], b = node->in[1];
    double under = node->op == AD_DIV ? -e->start[b] : e->start[b];
    return tp_exponent_sum(p->sizes[a] + under, e->start[a] + under + share_at_start(p, b));
}

/* Is the axis one of those? */
static bool is_over(const part *p, ad_axis axis)
{
    return axis.id && ad_has(p->over, axis);
}

/* Of what moves entries along the axes, all of it may differ. */
static bool moves_along(const part *p, const ad_node *node)
{
    const ad_shape *in = &ad_node_of(p->e->program->graph, node->in[0])->shape;
    bool moves = is_over(p, node->axis) || is_over(p, node->axis2) || is_over(p, node->axis3);
    for (int k = 0; k < node->shape.rank; k++)
        moves |= is_over(p, node->shape.axes[k]) && !ad_has(in, node->shape.axes[k]);
    return moves;
}

static bool sums(ad_op op)
{
    return op == AD_ADD || op == AD_SUB || op == AD_CONCAT;
}

/* The largest of what a node is put together of. */
static double part_of_sum(const part *p, const ad_node *node, const double *parts)
{
    const ad_graph *graph = p->e->program->graph;
    const ad_node *whole = tp_whole_of(graph, node);
    double most = -INFINITY;
    for (int k = 0; k < whole->n_in; k++)
        if (tp_takes_part(graph, node, k))
            most = tp_exponent_sum(most, parts[whole->in[k]]);
    return most;
}

/* A node's part by that of its operand, which it moves or renames, or all of it. */
static double moved_part(const part *p, int id, double all, double of_operand)
{
    const ad_node *node = ad_node_of(p->e->program->graph, id);
    bool takes = node->op == AD_SLICE || node->op == AD_EXPAND || node->op == AD_TRANSPOSE || node->op == AD_SOFTMAX ||
                 node->op == AD_LOGSUMEXP || node->op == AD_MAX;
    bool known = takes || (node->n_in == 1 && node->op != AD_ARGMAX && !moves_along(p, node));
    return known ? fmin(all, of_operand) : all;
}

/* Of a node that scales, puts together, moves or renames what it reads, whose parts these are. */
static double carried_part(const part *p, int id, double all, const double *parts)
{
    const tp_exponents *e = p->e;
    const ad_node *node = ad_node_of(e->program->graph, id), *whole = tp_whole_of(e->program->graph, node);
    if (node->op == AD_SCALE || node->op == AD_NEG || node->op == AD_IDENTITY)
        return parts[node->in[0]] + (node->op == AD_SCALE ? tp_exponent_of_scale(e, node) : 0);
    if (sums(whole->op) && !(whole->op == AD_CONCAT && is_over(p, whole->axis)))
        return part_of_sum(p, node, parts);
    return node->n_in > 0 ? moved_part(p, id, all, parts[node->in[0]]) : all;
}

static double part_at_start(const part *p, int id)
{
    const tp_exponents *e = p->e;
    const ad_node *node = ad_node_of(e->program->graph, id);
    if (is_same(p, id))
        return -INFINITY;
    if (e->cancelled[id] && e->cancelled[id]->factor < 0)
        return part_of_terms(p, id, false);
    if (e->curves.curve[id])
        return part_of_function(p, id);
    if (node->op == AD_PARAM)
        return e->drawn[id] + e->front[id];
    if (node->op == AD_MUL || node->op == AD_DIV)
        return part_of_product(p, node);
    if (node->op == AD_CONTRACT)
        return e->start[id] + fmax(share_at_start(p, node->in[0]), share_at_start(p, node->in[1]));
    if (node->op == AD_SUM)
        return e->start[id] + share_at_start(p, node->in[0]);
    return carried_part(p, id, e->start[id], p->sizes);
}

/* Of f'(x). */
static double bend_of(const part *p, int id)
{
    const tp_exponents *e = p->e;
    const tp_curve *curve = e->curves.curve[id];
    int x = tp_curve_argument(e->program, &e->curves, id);
    if (curve->bends || curve->jumps)
        return e->gain[id] + share_at_start(p, x) / 2;
    return fmin(e->gain[id], tp_curve_bend(curve, e->start[x]) + p->sizes[x]);
}

void tp_varying_start(const tp_exponents *e, int id)
{
    for (int family = 0; family < e->n_families; family++) {
        part p = part_of(e, family);
        e->varying[family][id] = fmin(part_at_start(&p, id), e->start[id]);
        e->bend[family][id] = e->curves.curve[id] ? bend_of(&p, id) : -INFINITY;
    }
}

/* ---- changes ---- */
/* Of the change that operand `own` of a product makes. */
static double share_by(const part *p, int own, int other)
{
    const tp_exponents *e = p->e;
    if (!(e->change[own] > -INFINITY))
        return -INFINITY;
    double rest = fmax(share_of_change(p, own), share_at_start(p, other));
    return e->linear || !(e->change[other] > -INFINITY) ? rest : fmax(rest, share_of_change(p, other));
}

static double change_of_function(const part *p, int id)
{
    const tp_exponents *e = p->e;
    int x = tp_curve_argument(e->program, &e->curves, id);
    if (!(e->gain[id] > -INFINITY) || (!e->linear && e->change[x] > e->start[x]))
        return e->change[id];
    return e->change[id] + fmax(share_of_change(p, x), share(e->bend[p->family][id], e->gain[id]));
}

static double part_of_change(const part *p, int id)
{
    const tp_exponents *e = p->e;
    const ad_node *node = ad_node_of(e->program->graph, id);
    if (is_same(p, id) || !(e->change[id] > -INFINITY))
        return -INFINITY;
    if (e->cancelled[id] && e->cancelled[id]->factor < 0)
        return part_of_terms(p, id, true);
    if (e->curves.curve[id])
        return change_of_function(p, id);
    if (node->op == AD_MUL || node->op == AD_DIV || node->op == AD_CONTRACT)
        return e->change[id] + fmax(share_by(p, node->in[0], node->in[1]), share_by(p, node->in[1], node->in[0]));
    if (node->op == AD_SUM)
        return e->change[id] + share_of_change(p, node->in[0]);
    return carried_part(p, id, e->change[id], p->changes);
}

void tp_varying_change(const tp_exponents *e, int id)
{
    for (int family = 0; family < e->n_families; family++) {
        part p = part_of(e, family);
        e->varying_change[family][id] = fmin(part_of_change(&p, id), e->change[id]);
    }
}
