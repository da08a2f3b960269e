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

/* The operand that the node is, as it is multiplied by 1 or 0 is added, with these numbers; -1: none. */
static int same_operand(const ad_graph *graph, const ad_node *node, const double *numbers)
{
    bool multiplies = node->op == AD_MUL || (node->op == AD_CONTRACT && node->over.rank == 0);
    bool adds = node->op == AD_ADD || node->op == AD_SUB;
    for (int k = 0; k < 2 && numbers && (multiplies || adds); k++) {
        int other = node->in[1 - k];
        bool same = !isnan(numbers[other]) && same_number(numbers[other], multiplies) && !(node->op == AD_SUB && k);
        if (same && ad_shape_equal(&node->shape, &ad_node_of(graph, node->in[k])->shape))
            return node->in[k];
    }
    return -1;
}

/* With what `numbers` has in the place of nodes; NULL: of none. */
static const int *find(const ad_graph *graph, int n, const double *numbers, ad_arena *arena, ad_error *error)
{
    table t = { .graph = graph, .n_slots = 2 * (size_t)n + 1 };
    int *first = ad_arena_alloc(arena, (size_t)n + 1, sizeof *first);
    t.slots = ad_arena_alloc(arena, t.n_slots, sizeof *t.slots); /* node + 1; 0: free */
    t.first = first;
    if (!first || !t.slots) {
        ad_fail(error, "regime: out of memory");
        return NULL;
    }
    for (int id = 0; id < n; id++) {
        const ad_node *node = ad_node_of(t.graph, id);
        int same = same_operand(graph, node, numbers);
        first[id] = same >= 0 ? first[same] : id;
        if (node->n_in == 0 || same >= 0)
            continue;
        size_t slot = hash_of(&t, node);
        while (t.slots[slot] && !are_alike(&t, ad_node_of(t.graph, t.slots[slot] - 1), node))
            slot = (slot + 1) % t.n_slots;
        if (t.slots[slot])
            first[id] = t.slots[slot] - 1;
        t.slots[slot] = first[id] + 1;
    }
    return first;
}

int tp_find_alike(tp_exponents *e, ad_arena *arena, ad_error *error)
{
    const tp_program *p = e->program;
    e->first = find(p->graph, p->n_nodes, NULL, arena, error);
    e->first_at_start = e->first ? find(p->graph, p->n_nodes, e->initial, arena, error) : NULL;
    return e->first_at_start ? 0 : -1;
}
