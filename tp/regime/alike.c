/* alike.c: nodes that are the same function of the same nodes, as two reciprocal roots of one variance that were asked
 * for apart: by a table of what is there. */
#include "tp/regime/exponents.h"

#include "autodiff/trace/trace.h"

#include <math.h>

typedef struct {
    const ad_graph *graph;
    const int *first;
    int *slots;
    size_t n_slots;
} table;

static size_t hash_of(const table *t, const ad_node *node)
{
    uint64_t h = (uint64_t)node->op + 1;
    for (int k = 0; k < node->n_in; k++)
        h = (h ^ (uint64_t)(t->first[node->in[k]] + 1)) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 20) % t->n_slots;
}

static bool same_axis(ad_axis a, ad_axis b)
{
    return a.id == b.id && a.prime == b.prime;
}

static bool same_number(double a, double b)
{
    return !(fabs(a - b) > 0);
}

static bool are_alike(const table *t, const ad_node *a, const ad_node *b)
{
    bool alike = a->op == b->op && a->n_in == b->n_in && ad_shape_equal(&a->shape, &b->shape) &&
                 ad_shape_same(&a->over, &b->over) && same_number(a->c, b->c) && same_number(a->power, b->power) &&
                 same_axis(a->axis, b->axis) && same_axis(a->axis2, b->axis2) && same_axis(a->axis3, b->axis3) &&
                 a->start == b->start && a->stride == b->stride && a->dilation == b->dilation &&
                 a->function == b->function && a->order == b->order && a->op != AD_CONCAT;
    for (int k = 0; alike && k < a->n_in; k++)
        alike = t->first[a->in[k]] == t->first[b->in[k]];
    return alike;
}

int tp_find_alike(tp_exponents *e, ad_arena *arena, ad_error *error)
{
    int n = e->program->n_nodes;
    table t = { .graph = e->program->graph, .n_slots = 2 * (size_t)n + 1 };
    int *first = ad_arena_alloc(arena, (size_t)n + 1, sizeof *first);
    t.slots = ad_arena_alloc(arena, t.n_slots, sizeof *t.slots); /* node + 1; 0: free */
    e->first = t.first = first;
    if (!first || !t.slots)
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < n; id++) {
        const ad_node *node = ad_node_of(t.graph, id);
        first[id] = id;
        if (node->n_in == 0)
            continue;
        size_t slot = hash_of(&t, node);
        while (t.slots[slot] && !are_alike(&t, ad_node_of(t.graph, t.slots[slot] - 1), node))
            slot = (slot + 1) % t.n_slots;
        if (t.slots[slot])
            first[id] = t.slots[slot] - 1;
        t.slots[slot] = first[id] + 1;
    }
    return 0;
}
