/* mixed.c: vectors of which a part cancels along a width and the rest does not. What goes back through a layer
 * normalisation is (d - mean d - z mean(d z)) / s: of d each coordinate has a random sign of its own, where it comes
 * from a readout, while the means are numbers that all coordinates share, and smaller by n^1/2. Its sum over the width
 * with what does not know of these signs is n^1/2 |d| + n |means|, and not n |d|.
 *
 * So a sum's parts are kept apart by their signs: part 0 has none, the coordinates of another one are odd in entries of
 * their own of each parameter of its set. A part's size is a bound of its root mean square, and so is its sum with y by
 * Cauchy-Schwarz, n |part| |y|. Which parts there are is known from the trace, and how large they are at a width. */
#include "tp/regime/exponents.h"

#include "autodiff/trace/trace.h"

#include <math.h>
#include <string.h>

static const double tiny = 1e-9;

static const uint64_t *signs_of(const tp_exponents *e, const uint64_t *sets, int id)
{
    return sets + (size_t)id * e->signs;
}

static bool meet(const tp_exponents *e, const uint64_t *a, const uint64_t *b)
{
    for (size_t i = 0; i < e->signs; i++)
        if (a[i] & b[i])
            return true;
    return false;
}

/* ---- parts of any node ---- */
/* What is not mixed has two parts, of which one is nothing. */
static int n_parts(const tp_exponents *e, int id)
{
    return e->mixed[id] ? e->mixed[id]->n : 2;
}

static bool has_signs(const tp_exponents *e, int id)
{
    const uint64_t *own = signs_of(e, e->own, id);
    return meet(e, own, own);
}

/* The set of a part that has one. */
static const uint64_t *set_of(const tp_exponents *e, int id, int part)
{
    return e->mixed[id] ? e->mixed[id]->own + (size_t)part * e->signs : signs_of(e, e->own, id);
}

static double size_of(const tp_exponents *e, int id, int part, tp_when when)
{
    const tp_mixed *m = e->mixed[id];
    if (!m && (part == 1) != has_signs(e, id))
        return -INFINITY;
    double start = m ? m->start[part] : e->start[id], change = m ? m->change[part] : e->change[id];
    return when == TP_AT_START ? start : when == TP_CHANGED_BY ? change : fmax(start, change);
}

static double whole_size(const tp_exponents *e, int id, tp_when when)
{
    return when == TP_AT_START ? e->start[id] : when == TP_CHANGED_BY ? e->change[id] : tp_exponent_now(e, id);
}

/* ---- which there are ---- */
/* The part that this set is of: one whose set it meets, of which both know, or a new one. */
static int place(const tp_exponents *e, tp_mixed *m, const uint64_t *set)
{
    if (!meet(e, set, set))
        return 0;
    for (int k = 1; k < m->n; k++) {
        uint64_t *own = m->own + (size_t)k * e->signs;
        if (!meet(e, own, set))
            continue;
        for (size_t i = 0; i < e->signs; i++)
            own[i] &= set[i];
        return k;
    }
    if (m->n == TP_MOST_PARTS)
        return 0;
    memcpy(m->own + (size_t)m->n * e->signs, set, e->signs * sizeof *set);
    return m->n++;
}

/* Takes over the parts of operand k, with those of their signs that are among these; NULL: with all. */
static void take(const tp_exponents *e, tp_mixed *m, const ad_node *node, int k, bool apart, const uint64_t *among)
{
    uint64_t *set = m->own + (size_t)TP_MOST_PARTS * e->signs;
    m->to[k][0] = 0;
    for (int part = 1; part < n_parts(e, node->in[k]); part++) {
        const uint64_t *own = set_of(e, node->in[k], part);
        for (size_t i = 0; i < e->signs; i++)
            set[i] = apart ? own[i] & (among ? among[i] : ~(uint64_t)0) : 0;
        m->to[k][part] = (signed char)place(e, m, set);
    }
}

/* Of a product the parts of that factor of which some are left. */
static void take_factor(const tp_exponents *e, tp_mixed *m, const ad_node *node)
{
    for (int k = 0; k < (node->op == AD_DIV ? 1 : 2) && m->n == 1; k++) {
        const ad_shape *own = &ad_node_of(e->program->graph, node->in[k])->shape;
        bool apart = tp_widths_within(e->program->graph, &node->shape, own) ||
                     (node->op == AD_CONTRACT && tp_mixes(e, node->in[1 - k], node->in[k], node));
        m->side = k;
        take(e, m, node, k, apart, signs_of(e, e->unmoved, node->in[1 - k]));
    }
}

static void find_parts(const tp_exponents *e, int id, tp_mixed *m)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    m->n = 1;
    m->side = 0;
    if (node->op == AD_ADD || node->op == AD_SUB)
        for (int k = 0; k < 2; k++)
            take(e, m, node, k, tp_keeps_apart(e, node, k), NULL);
    else if (node->op == AD_MUL || node->op == AD_DIV || node->op == AD_CONTRACT)
        take_factor(e, m, node);
    else if ((node->op == AD_SUM || tp_renames(node->op)) && e->mixed[node->in[0]])
        take(e, m, node, 0, tp_keeps_apart(e, node, 0), NULL);
}

int tp_find_mixed(tp_exponents *e, ad_arena *arena, ad_error *error)
{
    const tp_program *p = e->program;
    size_t n = (size_t)p->n_nodes, words = (TP_MOST_PARTS + 1) * e->signs;
    tp_mixed found = { .own = ad_arena_alloc(arena, words, sizeof *found.own) };
    e->mixed = ad_arena_alloc(arena, n + 1, sizeof *e->mixed);
    tp_split **splits[] = { &e->split, &e->split_total, &e->split_change };
    for (int k = 0; k < 3; k++)
        if (!(*splits[k] = ad_arena_alloc(arena, n + 1, sizeof **splits[k])))
            return ad_fail(error, "regime: out of memory");
    if (!found.own || !e->mixed)
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < p->n_nodes; id++) {
        if (!p->lives[id] || p->widths[id] == 0 || has_signs(e, id))
            continue;
        memset(found.own, 0, words * sizeof *found.own);
        find_parts(e, id, &found);
        if (found.n == 1)
            continue;
        tp_mixed *m = e->mixed[id] = ad_arena_alloc(arena, 1, sizeof *m);
        uint64_t *own = ad_arena_alloc(arena, (size_t)found.n * e->signs, sizeof *own);
        if (!m || !own)
            return ad_fail(error, "regime: out of memory");
        memcpy(own, found.own, (size_t)found.n * e->signs * sizeof *own);
        *m = found;
        m->own = own;
        for (int k = 0; k < TP_MOST_PARTS; k++)
            m->start[k] = m->change[k] = -INFINITY;
    }
    return 0;
}

/* ---- how large they are ---- */
/* What an operand's part of this size is in the node, of a product beside the other factor of that size. */
static double carried(const tp_exponents *e, const ad_node *node, int k, int part, double size, double other)
{
    const ad_graph *graph = e->program->graph;
    double widths = tp_count_widths(graph, &node->over) * e->log_n,
           fixed = tp_exponent_of_fixed(graph, &node->over) / 2;
    bool has_all = tp_widths_within(graph, &node->over, &ad_node_of(graph, node->in[k])->shape);
    bool cancels = (part > 0 && has_all) || (node->op == AD_CONTRACT && tp_is_random_matrix(e, node->in[1 - k]));
    switch (node->op) {
    case AD_SCALE:
        return size + tp_exponent_of_scale(e, node);
    case AD_SUM:
        return size + (cancels ? widths / 2 : widths) + fixed;
    case AD_CONTRACT:
        return size + other + (cancels ? widths / 2 : widths) + fixed;
    case AD_MUL:
    case AD_DIV:
        return size + other;
    default:
        return size;
    }
}

/* The size of a product's other factor where it is largest, or of 1 by it. */
static double beside(const tp_exponents *e, const ad_node *node, int k, tp_when when)
{
    if (node->op != AD_MUL && node->op != AD_CONTRACT && node->op != AD_DIV)
        return when == TP_CHANGED_BY ? -INFINITY : 0;
    int other = node->in[1 - k];
    double size = whole_size(e, other, when), rare = tp_strips_rarity(e, tp_strips_of(e, e->narrow, other)) / 2;
    if (node->op == AD_DIV)
        return when == TP_CHANGED_BY ? size - 2 * e->start[other] : -e->start[other];
    return size > -INFINITY ? size + rare : size;
}

static void add_part(double *sums, int part, double size)
{
    sums[part] = tp_exponent_sum(sums[part], size);
}

static void sum_parts(const tp_exponents *e, int id, bool change)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    tp_mixed *m = e->mixed[id];
    double *sums = change ? m->change : m->start, most = change ? e->change[id] : e->start[id];
    bool adds = node->op == AD_ADD || node->op == AD_SUB,
         multiplies = beside(e, node, m->side, TP_CHANGED_BY) > -INFINITY;
    for (int part = 0; part < m->n; part++)
        sums[part] = -INFINITY;
    for (int k = adds ? 0 : m->side; k <= (adds ? 1 : m->side); k++)
        for (int part = 0; part < n_parts(e, node->in[k]); part++) {
            int to = m->to[k][part];
            double size = size_of(e, node->in[k], part, change ? TP_CHANGED_BY : TP_AT_START);
            double other = beside(e, node, k, change && !e->linear ? TP_NOW : TP_AT_START);
            add_part(sums, to, carried(e, node, k, to, size, other));
            if (change && multiplies)
                add_part(sums, to,
                         carried(e, node, k, to, size_of(e, node->in[k], part, TP_AT_START),
                                 beside(e, node, k, TP_CHANGED_BY)));
        }
    for (int part = 0; part < m->n; part++)
        sums[part] = fmin(sums[part], most);
}

void tp_mixed_start(const tp_exponents *e, int id)
{
    if (e->mixed[id])
        sum_parts(e, id, false);
}

void tp_mixed_change(const tp_exponents *e, int id)
{
    if (e->mixed[id] && e->numbers)
        sum_parts(e, id, true);
}

/* ---- sums over widths ---- */
/* Of a's parts those whose sum with b does not cancel; INFINITY: a's coordinates are not all that is summed. */
static double rest_by(const tp_exponents *e, int a, tp_when when_a, int b, tp_when when_b, const ad_shape *over)
{
    const ad_graph *graph = e->program->graph;
    if (!tp_widths_within(graph, over, &ad_node_of(graph, a)->shape))
        return INFINITY;
    double sum = -INFINITY;
    for (int part = 0; part < n_parts(e, a); part++) {
        const uint64_t *own = part > 0 ? set_of(e, a, part) : NULL;
        if (!own || !(b < 0 ? meet(e, own, own) : meet(e, own, signs_of(e, e->unmoved, b))))
            sum = tp_exponent_sum(sum, size_of(e, a, part, when_a));
    }
    double beside = b < 0 ? 0 : whole_size(e, b, when_b), widths = tp_count_widths(graph, over) * e->log_n;
    return sum > -INFINITY && beside > -INFINITY ? sum + beside + widths + tp_exponent_of_fixed(graph, over) / 2
                                                 : -INFINITY;
}

double tp_rest_of_sum(const tp_exponents *e, int a, tp_when when_a, int b, tp_when when_b, const ad_shape *over)
{
    double rest = rest_by(e, a, when_a, b, when_b, over);
    return b < 0 ? rest : fmin(rest, rest_by(e, b, when_b, a, when_a, over));
}

double tp_split_sum(const tp_exponents *e, double whole, double centred, double rest, tp_split *split)
{
    if (!e->settled)
        *split = !(rest < whole - tiny * e->log_n) ? TP_WHOLE : rest > centred + tiny * e->log_n ? TP_REST : TP_CENTRED;
    if (*split == TP_WHOLE)
        return whole;
    return *split == TP_CENTRED && e->settled ? centred : fmin(whole, tp_exponent_sum(centred, rest));
}
