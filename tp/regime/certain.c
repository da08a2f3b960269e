/* certain.c: which sizes are sizes, and not bounds from above alone. A sum is taken to be as large as its largest term,
 * and one over a width to be coherent; terms that cancel for a reason that the trace does not show make it smaller.
 * That is safe where a size only multiplies, and is not where it divides. Shown are: sums of terms that a change of
 * sign of a parameter's entries tells apart, E (a + b)^2 = E a^2 + E b^2, that are all of one sign, or of which one
 * leads; sums over widths that are incoherent, or of one sign; products with a factor that has no zeros or is drawn
 * independently. Inputs are taken to be generic. */
#include "tp/regime/exponents.h"

#include "autodiff/trace/trace.h"

#include <math.h>

typedef struct {
    const tp_exponents *e;
    bool *size, *sign;          /* by node: its size is one; it is nowhere below 0 */
    bool *varying[TP_FAMILIES]; /* and that of its part that differs along axes of a family */
    uint32_t *met;              /* by node: the families over which a mean was taken off what it is made of */
} proof;

static const double tiny = 1e-9;

static const ad_node *node_of(const proof *p, int id)
{
    return ad_node_of(p->e->program->graph, id);
}

static bool leads(const proof *p, double size, double most)
{
    return size > -INFINITY && size > most - tiny * p->e->log_n;
}

/* ---- one sign ---- */
static bool has_sign(const proof *p, int id)
{
    const ad_node *node = node_of(p, id);
    const tp_curve *curve = p->e->curves.curve[id];
    int a = node->n_in > 0 ? node->in[0] : -1, b = node->n_in > 1 ? node->in[1] : a;
    switch (node->op) {
    case AD_CONSTANT:
        return node->c >= 0;
    case AD_SOFTMAX:
    case AD_ARGMAX:
    case AD_DELTA:
        return true;
    case AD_PARAM:
        return !(node->init->deviation > 0) && node->init->mean >= 0;
    case AD_SCALE:
        return node->c >= 0 && p->sign[a];
    case AD_MUL:
    case AD_CONTRACT:
        return a == b || (p->sign[a] && p->sign[b]);
    case AD_SQUARE:
    case AD_ABS:
    case AD_EXP:
    case AD_RELU:
    case AD_SQRT:
    case AD_RSQRT:
    case AD_SIGMOID:
    case AD_SOFTPLUS:
    case AD_STEP:
        return true;
    case AD_ADD:
    case AD_DIV:
    case AD_SUM:
    case AD_EXPAND:
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_SLICE:
    case AD_MAX:
        return p->sign[a] && p->sign[b];
    default:
        return curve && curve->positive;
    }
}

/* ---- products ---- */
/* A parameter by any name, or a number: it vanishes nowhere that another factor decides. */
static bool stands_apart(const proof *p, int id)
{
    return p->e->program->params[id] >= 0 || p->e->program->widths[id] == 0;
}

/* Bounded away from 0 for most of its arguments. */
static bool has_no_zeros(const proof *p, int id)
{
    const tp_curve *curve = p->e->curves.curve[id];
    return curve && curve->positive && !curve->narrow;
}

static bool multiplies(const proof *p, int a, int b)
{
    return a == b || stands_apart(p, a) || stands_apart(p, b) || has_no_zeros(p, a) || has_no_zeros(p, b);
}

static bool is_drawn(const proof *p, int id)
{
    int param = p->e->program->params[id];
    return param >= 0 && p->e->drawn[param] > -INFINITY;
}

/* ---- sums of terms ---- */
typedef struct {
    int id;
    double size;
    bool certain, sign;
} term;

/* Does a parameter's change of signs change that of one of these, and not the other? */
static bool told_apart(const proof *p, int a, int b)
{
    const tp_exponents *e = p->e;
    for (size_t i = 0; i < e->signs; i++) {
        uint64_t own_a = e->own[(size_t)a * e->signs + i], own_b = e->own[(size_t)b * e->signs + i];
        if ((own_a & e->unmoved[(size_t)b * e->signs + i]) | (own_b & e->unmoved[(size_t)a * e->signs + i]))
            return true;
    }
    return false;
}

/* Of n terms, those that lead are told apart, or of one sign. */
static bool adds_up(const proof *p, const term *terms, int n)
{
    double most = -INFINITY;
    bool certain = false, apart = true, sign = true;
    for (int i = 0; i < n; i++)
        most = fmax(most, terms[i].size);
    for (int i = 0; i < n; i++) {
        if (!leads(p, terms[i].size, most))
            continue;
        certain |= terms[i].certain;
        sign &= terms[i].sign;
        for (int k = 0; k < i; k++)
            apart &= !leads(p, terms[k].size, most) || told_apart(p, terms[i].id, terms[k].id);
    }
    return certain && (apart || sign);
}

/* Of what is put together, at the start or of a family: one that leads is enough. */
static bool one_leads(const proof *p, const ad_node *whole, const ad_node *node, const double *sizes, const bool *known)
{
    double most = -INFINITY;
    bool certain = false;
    for (int k = 0; k < whole->n_in; k++)
        if (tp_takes_part(p->e->program->graph, node, k))
            most = fmax(most, sizes[whole->in[k]]);
    for (int k = 0; k < whole->n_in; k++)
        certain |=
            tp_takes_part(p->e->program->graph, node, k) && leads(p, sizes[whole->in[k]], most) && known[whole->in[k]];
    return certain;
}

static bool sum_adds_up(const proof *p, const ad_node *node, const double *sizes, const bool *known)
{
    term terms[2];
    for (int k = 0; k < 2; k++)
        terms[k] = (term){ .id = node->in[k],
                           .size = sizes[node->in[k]],
                           .certain = known[node->in[k]],
                           .sign = node->op == AD_ADD && p->sign[node->in[k]] };
    return adds_up(p, terms, 2);
}

/* Of a sum of which terms cancel, what is left; family -1: its size, else the part that differs along that one's axes.
 */
static bool rest_adds_up(const proof *p, const tp_cancelled *c, int family)
{
    term terms[TP_MOST_TERMS];
    if (c->factor >= 0 && (family >= 0 || !p->size[c->factor]))
        return false;
    for (int i = 0; i < c->n; i++) {
        const tp_term *t = &c->terms[i];
        bool single = t->over.rank == 0 || t->family >= 0, same = family < 0 || t->family < 0 || family == t->family;
        int of = t->family >= 0 ? t->family : family;
        terms[i] = (term){ .id = t->id,
                           .size = tp_term_start(p->e, t),
                           .certain = single && same && (of < 0 ? p->size[t->id] : p->varying[of][t->id]),
                           .sign = t->c > 0 && t->family < 0 && p->sign[t->id] };
        if (family >= 0)
            terms[i].size += fmin(p->e->varying[family][t->id] - p->e->start[t->id], 0) * (t->family < 0);
    }
    return adds_up(p, terms, c->n);
}

/* Was a mean over one of these axes taken off what the node is made of? */
static bool had_mean_off(const proof *p, int id, const ad_shape *over)
{
    for (int i = 0; i < p->e->n_families; i++)
        if (p->met[id] >> i & 1 && ad_shape_meet(&p->e->families[i], over).rank > 0)
            return true;
    return false;
}

/* ---- sums over axes ---- */
static bool total_adds_up(const proof *p, int id)
{
    const tp_exponents *e = p->e;
    const ad_node *node = node_of(p, id), *in = node_of(p, node->in[0]);
    const tp_curve *curve = e->curves.curve[node->in[0]];
    bool widths = tp_count_widths(e->program->graph, &node->over) > 0;
    if (!p->size[node->in[0]])
        return false;
    if (p->sign[node->in[0]] || (in->op == AD_MUL && p->sign[tp_summed_factor(e, node->in[0], &node->over)]) ||
        (widths && e->centred[node->in[0]]))
        return true;
    if (widths)
        return curve &&
               tp_curve_mean(curve, e->start[tp_curve_argument(e->program, &e->curves, node->in[0])]) > -INFINITY;
    if (in->op == AD_CONCAT && ad_has(&node->over, in->axis)) {
        int leading = 0;
        for (int k = 0; k < in->n_in; k++)
            leading += leads(p, e->start[in->in[k]], e->start[node->in[0]]);
        return leading == 1;
    }
    return !had_mean_off(p, node->in[0], &node->over);
}

static bool product_adds_up(const proof *p, int id)
{
    const tp_exponents *e = p->e;
    const ad_node *node = node_of(p, id);
    int a = node->in[0], b = node->in[1];
    bool widths = tp_count_widths(e->program->graph, &node->over) > 0, one_sign = a == b || (p->sign[a] && p->sign[b]);
    if (!p->size[a] || !p->size[b] || !multiplies(p, a, b))
        return false;
    if (one_sign || (!widths && (is_drawn(p, a) || is_drawn(p, b))))
        return true;
    if (!widths)
        return !had_mean_off(p, a, &node->over) && !had_mean_off(p, b, &node->over);
    return tp_product_centred(e, a, b, &node->over) || tp_is_random_matrix(e, a) || tp_is_random_matrix(e, b);
}

/* ---- nodes ---- */
static bool function_is_certain(const proof *p, int id)
{
    const tp_curve *curve = p->e->curves.curve[id];
    int x = tp_curve_argument(p->e->program, &p->e->curves, id);
    return p->size[x] || (curve->positive && !curve->at_points && p->e->start[x] < tiny * p->e->log_n);
}

static bool is_certain(const proof *p, int id)
{
    const tp_exponents *e = p->e;
    const ad_node *node = node_of(p, id), *whole = tp_whole_of(e->program->graph, node);
    if (!(e->start[id] > -INFINITY))
        return false;
    if (tp_cancelled_at_start(e, id))
        return rest_adds_up(p, tp_cancelled_at_start(e, id), -1);
    if (e->curves.curve[id])
        return function_is_certain(p, id);
    switch (node->op) {
    case AD_PARAM:
    case AD_INPUT:
    case AD_CONSTANT:
    case AD_DELTA:
    case AD_SOFTMAX:
    case AD_ARGMAX:
        return true;
    case AD_ADD:
    case AD_SUB:
        return sum_adds_up(p, node, e->start, p->size);
    case AD_MUL:
        return p->size[node->in[0]] && p->size[node->in[1]] && multiplies(p, node->in[0], node->in[1]);
    case AD_DIV:
        return p->size[node->in[0]] && multiplies(p, node->in[0], node->in[1]);
    case AD_SUM:
        return total_adds_up(p, id);
    case AD_CONTRACT:
        return product_adds_up(p, id);
    case AD_LOGSUMEXP:
    case AD_MAX:
        return false;
    default:
        return whole->op == AD_CONCAT ? one_leads(p, whole, node, e->start, p->size)
                                      : node->n_in > 0 && p->size[node->in[0]];
    }
}

/* ---- what differs along axes ---- */
static bool has_axis_of(const proof *p, int id, int family)
{
    ad_shape meet = ad_shape_meet(&node_of(p, id)->shape, &p->e->families[family]);
    return meet.rank > 0;
}

/* Entries along a width have signs of their own, and no mean. */
static bool has_own_signs(const proof *p, int id, int family)
{
    ad_shape meet = ad_shape_meet(&node_of(p, id)->shape, &p->e->families[family]);
    bool own = false;
    for (size_t i = 0; i < p->e->signs; i++)
        own |= p->e->own[(size_t)id * p->e->signs + i] != 0;
    return own && tp_count_widths(p->e->program->graph, &meet) > 0;
}

/* Of a product: the factor that differs, where the other does by less. */
static bool product_varies(const proof *p, int id, int family)
{
    const tp_exponents *e = p->e;
    const double *part = e->varying[family];
    int a = node_of(p, id)->in[0], b = node_of(p, id)->in[1];
    double by_a = part[a] - e->start[a], by_b = part[b] - e->start[b];
    if (!p->size[a] || !p->size[b])
        return false;
    if (a == b)
        return p->varying[family][a];
    if (leads(p, by_a, by_b) && leads(p, by_b, by_a))
        return false;
    return p->varying[family][by_a > by_b ? a : b] && multiplies(p, a, b);
}

/* A product with what is drawn and has none of the axes is as different along them as the other factor. */
static bool matrix_varies(const proof *p, int id, int family)
{
    int a = node_of(p, id)->in[0], b = node_of(p, id)->in[1];
    for (int k = 0; k < 2; k++) {
        int drawn = k ? b : a, other = k ? a : b;
        if (is_drawn(p, drawn) && !(p->e->varying[family][drawn] > -INFINITY))
            return p->size[id] && p->varying[family][other];
        if (is_drawn(p, drawn))
            return p->size[id];
    }
    return false;
}

static bool varies(const proof *p, int id, int family)
{
    const tp_exponents *e = p->e;
    const ad_node *node = node_of(p, id), *whole = tp_whole_of(e->program->graph, node);
    if (!(e->varying[family][id] > -INFINITY))
        return false;
    if (has_own_signs(p, id, family))
        return p->size[id] && leads(p, e->varying[family][id], e->start[id]);
    if (tp_cancelled_at_start(e, id))
        return rest_adds_up(p, tp_cancelled_at_start(e, id), family);
    if (e->curves.curve[id])
        return p->varying[family][tp_curve_argument(e->program, &e->curves, id)];
    switch (node->op) {
    case AD_PARAM:
    case AD_INPUT:
    case AD_DELTA:
        return has_axis_of(p, id, family);
    case AD_ADD:
    case AD_SUB:
        return sum_adds_up(p, node, e->varying[family], p->varying[family]);
    case AD_MUL:
    case AD_DIV:
        return product_varies(p, id, family);
    case AD_CONTRACT:
        return matrix_varies(p, id, family);
    case AD_SUM:
        return p->size[id] && p->varying[family][node->in[0]] && e->centred[node->in[0]];
    case AD_RELABEL:
        return !ad_has(&e->families[family], node->axis) && !ad_has(&e->families[family], node->axis2) &&
               p->varying[family][node->in[0]];
    case AD_SCALE:
    case AD_NEG:
    case AD_IDENTITY:
    case AD_EXPAND:
    case AD_TRANSPOSE:
    case AD_SLICE:
    case AD_CONCAT:
        return whole->op == AD_CONCAT ? one_leads(p, whole, node, e->varying[family], p->varying[family])
                                      : p->varying[family][node->in[0]];
    default:
        return false;
    }
}

static void visit(const proof *p, int id)
{
    const ad_node *node = node_of(p, id);
    const tp_cancelled *c = tp_cancelled_at_start(p->e, id);
    for (int k = 0; k < node->n_in; k++)
        p->met[id] |= p->met[node->in[k]];
    for (int i = 0; c && i < c->n; i++)
        if (c->terms[i].family >= 0)
            p->met[id] |= (uint32_t)1 << c->terms[i].family;
    p->sign[id] = has_sign(p, id);
    p->size[id] = is_certain(p, id);
    for (int family = 0; family < p->e->n_families; family++)
        p->varying[family][id] = varies(p, id, family);
}

/* What the node divides by; -1: nothing. */
static int divisor(const ad_node *node)
{
    if (node->op == AD_DIV)
        return node->in[1];
    return node->op == AD_RSQRT || node->op == AD_LOG || (node->op == AD_POWER && node->c < 0) ? node->in[0] : -1;
}

int tp_check_divisors(const tp_exponents *e, ad_arena *arena, ad_error *error)
{
    size_t n = (size_t)e->program->n_nodes + 1;
    proof p = { .e = e };
    p.size = ad_arena_alloc(arena, n, sizeof *p.size);
    p.sign = ad_arena_alloc(arena, n, sizeof *p.sign);
    p.met = ad_arena_alloc(arena, n, sizeof *p.met);
    for (int i = 0; i < e->n_families; i++)
        if (!(p.varying[i] = ad_arena_alloc(arena, n, sizeof *p.varying[i])))
            return ad_fail(error, "regime: out of memory");
    if (!p.size || !p.sign || !p.met)
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < e->program->n_nodes; id++) {
        if (!e->program->lives[id])
            continue;
        visit(&p, id);
        const ad_node *node = node_of(&p, id);
        int under = divisor(node);
        if (under >= 0 && !p.size[under])
            return ad_fail(error,
                           "%s:%d: regime: not known: it divides by %s; divide by what is of one sign, as a mean "
                           "square, or add a constant to it",
                           node->where.file, node->where.line,
                           e->start[under] > -INFINITY
                               ? "a sum whose terms may cancel, and whose size is bounded from above alone"
                               : "what is 0 at the start");
    }
    return 0;
}
