/* cancelled.c: sums of which terms cancel exactly, as the trace shows: what is added and taken off again, a + b - a,
 * and the mean that is taken off over axes, x - mean x, of which nothing is left where x is the same along these.
 *
 * A sum is taken apart into terms c t, or c sum t over axes, those of the latest nodes first: what two ways lead to is
 * met by both. What is the same along an axis has as its sum the axis' size times itself. */
#include "tp/regime/exponents.h"

#include "autodiff/trace/trace.h"

#include <math.h>
#include <string.h>

enum { PARTS = 64 /* that are taken apart of one sum */, DEEP = 8, LOOKS = 512 /* at sums inside of sums */ };
static const double rounding = 1e-12;

typedef struct {
    const tp_exponents *e;
    const double *numbers; /* by node: NAN: not known; NULL: constants alone are */
    const int *first;
    tp_term terms[TP_MOST_TERMS];
    int n, depth, *looks; /* depth: inside of so many others, which share what is left of LOOKS */
    bool cancels, full;
} sum;

/* ---- what is the same along an axis ---- */
/* Of the node's own axes; of the nodes before, these are known. */
static ad_shape find_constant(const tp_exponents *e, int id)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    const ad_shape *in = node->n_in > 0 ? &ad_node_of(e->program->graph, node->in[0])->shape : NULL;
    ad_shape same = node->n_in > 0 ? e->same[node->in[0]] : (ad_shape){ 0 };
    if (node->op == AD_CONSTANT)
        return node->shape;
    if (node->op == AD_EXPAND) {
        ad_shape new = ad_shape_minus(&node->shape, in);
        return ad_shape_union(&same, &new);
    }
    if (node->op == AD_RELABEL)
        return ad_shape_replace(same, node->axis, node->axis2);
    if (node->op == AD_SLICE)
        return ad_has(&same, node->axis) ? ad_shape_replace(same, node->axis, node->axis2) : same;
    if (node->op == AD_SUM)
        return ad_shape_minus(&same, &node->over);
    if (ad_is_unary(node->op) || node->op == AD_SCALE || node->op == AD_TRANSPOSE)
        return same;
    same = (ad_shape){ 0 };
    for (int k = 0; k < node->shape.rank && (ad_is_binary(node->op) || node->op == AD_CONTRACT); k++) {
        bool all = true;
        for (int i = 0; i < node->n_in; i++)
            all = all && tp_same_along(e, node->in[i], node->shape.axes[k]);
        if (all)
            ad_shape_push(&same, node->shape.axes[k]);
    }
    return same;
}

bool tp_same_along(const tp_exponents *e, int id, ad_axis axis)
{
    return !ad_has(&ad_node_of(e->program->graph, id)->shape, axis) || ad_has(&e->same[id], axis);
}

/* ---- terms ---- */
/* Times size(axis)^p. */
static void times_axis(sum *s, tp_term *t, ad_axis axis, double p)
{
    size_t fixed = axis.id ? ad_axis_fixed(s->e->program->graph, axis) : 0;
    int at = ad_shape_position(&t->sized, axis);
    if (fixed > 0 || !axis.id) {
        t->c *= fixed > 0 ? pow((double)fixed, p) : 1;
        return;
    }
    if (at < 0 && (s->full |= t->sized.rank == AD_MAX_RANK))
        return;
    if (at < 0) {
        at = t->sized.rank;
        ad_shape_push(&t->sized, axis);
        t->powers[at] = 0;
    }
    t->powers[at] += p;
}

static double power_of(const tp_term *t, ad_axis axis)
{
    int at = ad_shape_position(&t->sized, axis);
    return at < 0 ? 0 : t->powers[at];
}

/* The same power of every axis' size? */
static bool same_size(const tp_term *a, const tp_term *b)
{
    for (int k = 0; k < a->sized.rank; k++)
        if (fabs(a->powers[k] - power_of(b, a->sized.axes[k])) > rounding)
            return false;
    for (int k = 0; k < b->sized.rank; k++)
        if (fabs(b->powers[k] - power_of(a, b->sized.axes[k])) > rounding)
            return false;
    return true;
}

static bool opposite(double a, double b)
{
    return fabs(a + b) <= rounding * (fabs(a) + fabs(b));
}

/* Are a and b the terms of x - mean x? Makes a that difference. */
static bool pair_up(sum *s, tp_term *a, const tp_term *b)
{
    if (a->id != b->id || a->over.rank > 0 || b->over.rank == 0 || a->family >= 0)
        return false;
    tp_term whole = *b;
    for (int k = 0; k < b->over.rank; k++)
        times_axis(s, &whole, b->over.axes[k], 1);
    if (!opposite(a->c, whole.c) || !same_size(a, &whole))
        return false;
    a->over = b->over;
    a->family = 0;
    return true;
}

static void drop(sum *s, int i)
{
    s->terms[i] = s->terms[--s->n];
}

static bool same_kind(const tp_term *a, const tp_term *b)
{
    return a->id == b->id && a->family < 0 && b->family < 0 && ad_shape_same(&a->over, &b->over) && same_size(a, b);
}

/* Adds a term: to one of its kind, or beside the others. */
static void put(sum *s, tp_term t)
{
    const ad_graph *graph = s->e->program->graph;
    ad_shape over = { 0 };
    for (ad_op op; (op = ad_node_of(graph, t.id)->op) == AD_IDENTITY || op == AD_EXPAND || op == AD_TRANSPOSE;)
        t.id = ad_node_of(graph, t.id)->in[0];
    t.id = s->first[t.id];
    for (int k = 0; k < t.over.rank; k++)
        if (tp_same_along(s->e, t.id, t.over.axes[k]))
            times_axis(s, &t, t.over.axes[k], 1);
        else
            ad_shape_push(&over, t.over.axes[k]);
    t.over = over;
    for (int i = 0; i < s->n; i++) {
        if (!same_kind(&s->terms[i], &t))
            continue;
        s->cancels |= opposite(s->terms[i].c, t.c);
        if (opposite(s->terms[i].c, t.c))
            drop(s, i);
        else
            s->terms[i].c += t.c;
        return;
    }
    if ((s->full |= s->n == TP_MOST_TERMS))
        return;
    s->terms[s->n++] = t;
    for (int i = 0; i + 1 < s->n; i++) {
        bool first = pair_up(s, &s->terms[i], &t), second = !first && pair_up(s, &s->terms[s->n - 1], &s->terms[i]);
        if (!first && !second)
            continue;
        s->cancels = true;
        drop(s, first ? s->n - 1 : i);
        return;
    }
}

/* A sum with the factor c, as a product with a number is one; k: of what. */
static bool multiplies_number(const sum *s, const ad_node *node, int *k, double *c)
{
    for (*k = 0; *k < 2 && (node->op == AD_CONTRACT || (s->numbers && node->op == AD_MUL)); ++*k) {
        const ad_node *other = ad_node_of(s->e->program->graph, node->in[1 - *k]);
        *c = s->numbers ? s->numbers[node->in[1 - *k]] : other->op == AD_CONSTANT ? other->c : NAN;
        if (!isnan(*c))
            return true;
    }
    return false;
}

int tp_summed_factor(const tp_exponents *e, int id, const ad_shape *over)
{
    for (const ad_node *node; (node = ad_node_of(e->program->graph, id))->op == AD_MUL || node->op == AD_CONTRACT;) {
        bool same[2] = { true, true };
        for (int k = 0; k < 2; k++)
            for (int i = 0; i < over->rank; i++)
                same[k] = same[k] && tp_same_along(e, node->in[k], over->axes[i]);
        if (!same[0] && !same[1])
            break;
        id = node->in[same[0]];
    }
    return id;
}

static bool sum_is_zero(const sum *outer, int id, const ad_shape *over);

/* Is it a sum of a product with factors that are the same along its axes, of which without these nothing is left? What
 * lies deeper than is looked for counts as left. */
static bool vanishes(const sum *s, const tp_term *t)
{
    int factor = t->over.rank > 0 ? tp_summed_factor(s->e, t->id, &t->over) : t->id;
    return factor != t->id && s->depth < DEEP && --*s->looks >= 0 && sum_is_zero(s, factor, &t->over);
}

static bool goes_apart(const sum *s, const tp_term *t)
{
    const ad_node *node = ad_node_of(s->e->program->graph, t->id);
    int k;
    double c;
    return t->family < 0 && (node->op == AD_ADD || node->op == AD_SUB || node->op == AD_NEG || node->op == AD_SCALE ||
                             node->op == AD_SUM || multiplies_number(s, node, &k, &c) ||
                             (node->op == AD_SLICE && ad_has(&s->e->same[node->in[0]], node->axis)) || vanishes(s, t));
}

static void take_apart(sum *s, int i)
{
    tp_term t = s->terms[i];
    const ad_node *node = ad_node_of(s->e->program->graph, t.id);
    int k = 0;
    double c = 1;
    drop(s, i);
    if (vanishes(s, &t)) {
        s->cancels = true;
        return;
    }
    if (node->op == AD_SUM || multiplies_number(s, node, &k, &c))
        t.over = ad_shape_union(&t.over, &node->over);
    t.c *= node->op == AD_SCALE ? node->c : node->op == AD_NEG ? -1 : c;
    if (node->op == AD_SCALE)
        times_axis(s, &t, node->axis, node->power);
    t.id = node->in[node->op == AD_ADD || node->op == AD_SUB ? 0 : k];
    put(s, t);
    t.id = node->in[node->n_in - 1];
    t.c *= node->op == AD_SUB ? -1 : 1;
    if (node->op == AD_ADD || node->op == AD_SUB)
        put(s, t);
}

/* Takes apart what there is; a sum that is too long is none that cancels. */
static void reduce(sum *s)
{
    for (int count = 0; count < PARTS && !s->full; count++) {
        int latest = -1;
        for (int i = 0; i < s->n; i++)
            if (goes_apart(s, &s->terms[i]) && (latest < 0 || s->terms[i].id > s->terms[latest].id))
                latest = i;
        if (latest < 0)
            break;
        take_apart(s, latest);
    }
    s->cancels &= !s->full;
}

static tp_term term_of(int id, double c)
{
    return (tp_term){ .id = id, .family = -1, .c = c };
}

static bool sum_is_zero(const sum *outer, int id, const ad_shape *over)
{
    sum s = *outer;
    s.n = 0;
    s.depth++;
    s.cancels = s.full = false;
    tp_term t = term_of(id, 1);
    t.over = *over;
    put(&s, t);
    reduce(&s);
    return s.cancels && s.n == 0;
}

/* Of a r - b r or a / r - b / r: r, under other names of its axes perhaps, else -1; a and b; is it divided by? */
static int common_factor(const sum *s, const ad_node *node, int parts[2], bool *divides)
{
    const ad_graph *graph = s->e->program->graph;
    const ad_node *a = ad_node_of(graph, node->in[0]), *b = ad_node_of(graph, node->in[1]);
    *divides = a->op == AD_DIV;
    for (int i = 0; i < 4 && a->op == b->op && (a->op == AD_MUL || a->op == AD_DIV); i++) {
        int k = i / 2, m = i % 2, r = a->in[k], other = b->in[m];
        while (ad_node_of(graph, r)->op == AD_EXPAND)
            r = ad_node_of(graph, r)->in[0];
        while (ad_node_of(graph, other)->op == AD_EXPAND)
            other = ad_node_of(graph, other)->in[0];
        if (s->first[r] != s->first[other] || (*divides && (k == 0 || m == 0)))
            continue;
        parts[0] = a->in[1 - k];
        parts[1] = b->in[1 - m];
        return r;
    }
    return -1;
}

/* Which of the axes that means are taken off over these are: a new one, perhaps; -1: there are too many. */
static int family_of(tp_exponents *e, const ad_shape *over)
{
    for (int i = 0; i < e->n_families; i++)
        if (ad_shape_same(&e->families[i], over))
            return i;
    if (e->n_families == TP_FAMILIES)
        return -1;
    e->families[e->n_families] = *over;
    return e->n_families++;
}

static int keep(tp_exponents *e, int id, const sum *s, int factor, bool divides, ad_arena *arena, ad_error *error)
{
    const tp_cancelled **to = s->numbers ? &e->cancelled_at_start[id] : &e->cancelled[id];
    tp_cancelled *kept = ad_arena_alloc(arena, 1, sizeof *kept);
    tp_term *terms = ad_arena_alloc(arena, (size_t)s->n + 1, sizeof *terms);
    if (!kept || !terms)
        return ad_fail(error, "regime: out of memory");
    memcpy(terms, s->terms, (size_t)s->n * sizeof *terms);
    for (int i = 0; i < s->n; i++)
        if (terms[i].family >= 0 && (terms[i].family = family_of(e, &terms[i].over)) < 0)
            return 0;
    *kept = (tp_cancelled){ .terms = terms, .n = s->n, .factor = factor, .divides = divides };
    *to = kept;
    return 0;
}

static sum empty(const tp_exponents *e, bool at_start, int *looks)
{
    return (sum){ .e = e,
                  .numbers = at_start ? e->initial : NULL,
                  .first = at_start ? e->first_at_start : e->first,
                  .looks = looks };
}

static int visit(tp_exponents *e, int id, bool at_start, ad_arena *arena, ad_error *error)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    int parts[2], factor = -1, looks = LOOKS;
    sum s = empty(e, at_start, &looks);
    bool divides = false, joins = node->op == AD_ADD || node->op == AD_SUB;
    if (!joins && node->op != AD_SUM)
        return 0;
    put(&s, term_of(id, 1));
    reduce(&s);
    if (!s.cancels && joins && (factor = common_factor(&s, node, parts, &divides)) >= 0) {
        s = empty(e, at_start, &looks);
        put(&s, term_of(parts[0], 1));
        put(&s, term_of(parts[1], node->op == AD_SUB ? -1 : 1));
        reduce(&s);
    }
    bool more = !at_start || !e->cancelled[id] || s.n < e->cancelled[id]->n;
    return s.cancels && more ? keep(e, id, &s, factor, divides, arena, error) : 0;
}

const tp_cancelled *tp_cancelled_at_start(const tp_exponents *e, int id)
{
    return e->cancelled_at_start[id] ? e->cancelled_at_start[id] : e->cancelled[id];
}

bool tp_sum_is_zero(const tp_exponents *e, int id, const ad_shape *over)
{
    int looks = LOOKS;
    sum s = empty(e, false, &looks);
    return sum_is_zero(&s, id, over);
}

int tp_find_cancelled(tp_exponents *e, ad_arena *arena, ad_error *error)
{
    int n = e->program->n_nodes;
    e->same = ad_arena_alloc(arena, (size_t)n + 1, sizeof *e->same);
    e->cancelled = ad_arena_alloc(arena, (size_t)n + 1, sizeof *e->cancelled);
    e->cancelled_at_start = ad_arena_alloc(arena, (size_t)n + 1, sizeof *e->cancelled_at_start);
    if (!e->same || !e->cancelled || !e->cancelled_at_start)
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < n; id++) {
        e->same[id] = find_constant(e, id);
        if (e->program->lives[id] && (visit(e, id, false, arena, error) || visit(e, id, true, arena, error)))
            return -1;
    }
    for (int i = 0; i < e->n_families; i++) {
        double **all[] = { &e->varying[i], &e->varying_change[i], &e->bend[i], &e->numbered->varying_change[i] };
        for (int k = 0; k < 4; k++)
            if (!(*all[k] = ad_arena_alloc(arena, (size_t)n + 1, sizeof **all[k])))
                return ad_fail(error, "regime: out of memory");
    }
    return 0;
}
