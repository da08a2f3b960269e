/* function_parts.c: what a function is made of, each part once, and what is known of it from its parts. */
#include "autodiff/base/base.h"
#include "autodiff/plan/plan.h"
#include "tp/symbolic/function.h"

#include <math.h>
#include <string.h>

const double *tp_fn_own_kinks(const tp_fn *f, int *count)
{
    if (f->op == AD_CUSTOM) {
        *count = f->function->n_kinks;
        return f->function->kinks;
    }
    static const double origin[] = { 0 };
    if (f->op == AD_POWER &&
        (f->p < 0 || fabs(f->p - floor(f->p)) > 0)) { /* the table knows of no power in particular */
        *count = 1;
        return origin;
    }
    const ad_op_facts *facts = f->op < AD_CUSTOM ? ad_op_facts_of((ad_op)f->op) : NULL;
    *count = facts ? facts->n_kinks : 0;
    return facts ? facts->kinks : NULL;
}

/* Numbers the functions that one is made of, from 1 on in their order, into place (by function, 0 before); how many.
 * Arguments have smaller numbers than what is made of them, so that one pass down finds all. */
static int number_parts(const tp_algebra *algebra, int fn, int *place)
{
    int n = 0, open = 1, low = fn;
    place[fn] = 1;
    for (int id = fn; open > 0; low = id--) {
        const tp_fn *f = tp_fn_at(algebra, id);
        const int arguments[] = { f->a, f->b };
        open -= place[id];
        for (int k = 0; place[id] && k < tp_fn_arguments(f); k++) {
            open += !place[arguments[k]];
            place[arguments[k]] = 1;
        }
    }
    for (int id = low; id <= fn; id++)
        if (place[id])
            place[id] = ++n;
    return n;
}

/* A part's slot is free for others after the last one that reads it. last, freed: scratch, by part. */
static void assign_slots(tp_fn_parts *p, int *last, int *freed)
{
    int n_freed = 0;
    for (int k = 0; k < p->n; k++) {
        last[k] = k;
        if (p->at[k].a >= 0)
            last[p->at[k].a] = k;
        if (p->at[k].b >= 0)
            last[p->at[k].b] = k;
    }
    for (int k = 0; k < p->n; k++) {
        int a = p->at[k].a, b = p->at[k].b;
        p->at[k].slot = n_freed ? freed[--n_freed] : p->n_slots++;
        if (a >= 0 && last[a] == k)
            freed[n_freed++] = p->at[a].slot;
        if (b >= 0 && b != a && last[b] == k)
            freed[n_freed++] = p->at[b].slot;
    }
}

static size_t parts_size(const tp_fn_parts *p)
{
    return sizeof *p + (size_t)p->n * sizeof *p->at;
}

static tp_fn_parts *make_parts(const tp_algebra *algebra, int fn)
{
    int *place = ad_alloc((size_t)fn + 1, sizeof *place, "the parts of a function", NULL);
    int n = place ? number_parts(algebra, fn, place) : 0;
    tp_fn_parts *p = place ? ad_alloc(1, sizeof *p + (size_t)n * sizeof *p->at, "the parts of a function", NULL) : NULL;
    int *scratch = p ? ad_reserve(2 * (size_t)n, sizeof *scratch, "the parts of a function", NULL) : NULL;
    if (!scratch) {
        *algebra->starved = true;
        ad_free(place);
        ad_free(p);
        return NULL;
    }
    p->n = n;
    for (int id = fn, k = n; k > 0; id--) {
        if (!place[id])
            continue;
        const tp_fn *f = tp_fn_at(algebra, id);
        int count = tp_fn_arguments(f);
        k--;
        p->at[k].id = id;
        p->at[k].a = count > 0 ? place[f->a] - 1 : -1;
        p->at[k].b = count > 1 ? place[f->b] - 1 : -1;
    }
    assign_slots(p, scratch, scratch + n);
    ad_free(place);
    ad_free(scratch);
    return p;
}

bool tp_fn_keep(tp_algebra *algebra, int fn)
{
    void *all = algebra->parts, *nodes = algebra->fn_nodes;
    bool room = ad_arena_grow(algebra->arena, &all, fn, &algebra->parts_capacity, sizeof *algebra->parts) &&
                ad_arena_grow(algebra->arena, &nodes, fn, &algebra->fn_nodes_capacity, sizeof *algebra->fn_nodes);
    algebra->parts = all;
    algebra->fn_nodes = nodes;
    const tp_fn *f = tp_fn_at(algebra, fn);
    int count = tp_fn_arguments(f), node = algebra->node;
    if (room && node < 0 && count > 0) /* of an expectation: of what it is made of */
        node = algebra->fn_nodes[f->a] < 0 && count > 1 ? algebra->fn_nodes[f->b] : algebra->fn_nodes[f->a];
    if (room)
        algebra->fn_nodes[fn] = node;
    return room;
}

const char *tp_fn_place(const tp_algebra *algebra, int fn, char text[TP_PLACE_TEXT])
{
    int id = algebra->fn_nodes[fn] < 0 ? algebra->program->output.id : algebra->fn_nodes[fn];
    const ad_node *node = ad_node_of(algebra->graph, id);
    snprintf(text, TP_PLACE_TEXT, "%s:%d: %s: ", node->where.file, node->where.line, tp_node_name(node));
    return text;
}

const tp_fn_parts *tp_fn_parts_of(const tp_algebra *algebra, int fn)
{
    return algebra->parts[fn] ? algebra->parts[fn] : make_parts(algebra, fn);
}

void tp_fn_parts_end(const tp_algebra *algebra, int fn, const tp_fn_parts *parts)
{
    if (parts != algebra->parts[fn])
        ad_free((void *)parts);
}

int tp_fn_prepare(const tp_algebra *algebra, int fn)
{
    if (algebra->parts[fn])
        return 0;
    tp_fn_parts *made = make_parts(algebra, fn),
                *kept = made ? ad_arena_alloc(algebra->arena, 1, parts_size(made)) : NULL;
    if (kept)
        algebra->parts[fn] = memcpy(kept, made, parts_size(made));
    ad_free(made);
    return kept ? 0 : tp_lacks_memory(algebra);
}

/* Of a number that is the same wherever the sign is any function is one. */
static double part_degree(const tp_fn *f, double a, double b)
{
    bool unary = f->op <= AD_CUSTOM;
    if (unary && a >= 0 && a <= 0)
        return 0;
    switch (f->op) {
    case TP_VARIABLE:
        return 1;
    case TP_NUMBER:
        return 0;
    case TP_PLUS:
        return a >= b && a <= b ? a : (double)NAN;
    case TP_TIMES:
        return a + b;
    default:
        return f->op < AD_CUSTOM ? ad_op_degree((ad_op)f->op, f->p) * a : (double)NAN;
    }
}

void tp_fn_learn(const tp_algebra *algebra, tp_fn *f)
{
    int n = tp_fn_arguments(f), own = 0;
    f->parity = f->op == TP_VARIABLE ? -1 : 1;
    f->smooth = true;
    f->scalars = f->op == TP_SCALAR;
    f->depth = 1;
    f->degree = part_degree(f, (double)NAN, (double)NAN);
    if (n == 0)
        return;
    const tp_fn *a = tp_fn_at(algebra, f->a), *b = n > 1 ? tp_fn_at(algebra, f->b) : a;
    f->degree = part_degree(f, a->degree, b->degree);
    f->scalars = a->scalars || b->scalars;
    f->depth = 1 + (a->depth > b->depth ? a->depth : b->depth);
    if (n > 1) {
        f->parity = f->op == TP_TIMES ? a->parity * b->parity : a->parity == b->parity ? a->parity : 0;
        f->smooth = a->smooth && b->smooth;
        return;
    }
    tp_fn_own_kinks(f, &own);
    f->smooth = own == 0 && a->smooth;
    if (a->parity != 1)
        f->parity = f->op == AD_CUSTOM ? 0 : a->parity * a->parity * tp_univariate_op((ad_op)f->op, f->p).parity;
}
