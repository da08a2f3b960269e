/* memory.c: the buffers of a plan: what each holds, from which step to which, and where they lie. */
#include "autodiff/plan/steps.h"

#include <string.h>

void *ad_plan_take(ad_plan *plan, size_t count, size_t size, ad_error *error)
{
    void *memory = ad_arena_alloc(plan->arena, count ? count : 1, size);
    if (!memory)
        ad_fail(error, "out of memory: a plan of %d nodes", plan->n_nodes);
    return memory;
}

int ad_plan_add_storage(ad_plan *plan, int first, bool owned)
{
    plan->storages[plan->n_storages] = (ad_storage){ .first = first, .last = first, .alias = -1, .owned = owned };
    return plan->n_storages++;
}

static void extend_life(ad_plan *plan, int storage, int step)
{
    if (storage >= 0 && plan->storages[storage].last < step)
        plan->storages[storage].last = step;
}

static void find_lifetimes(ad_plan *plan)
{
    for (int k = 0; k < plan->n_live; k++) {
        int id = plan->live[k];
        ad_part *part = &plan->parts[id];
        if (part->kind == AD_PART_VIEW)
            part->storage = plan->parts[part->base].storage;
    }
    for (int s = 0; s < plan->n_steps; s++) {
        ad_step *step = &plan->steps[s];
        for (int i = 0; i < step->n_in; i++)
            extend_life(plan, plan->parts[step->in[i]].storage, step->deferred ? plan->steps_capacity : s);
        extend_life(plan, step->storage, s);
        for (int i = 0; step->group && i < step->group->n_operands; i++) {
            ad_operand *operand = &step->group->operands[i];
            operand->storage = plan->parts[operand->node].storage;
            extend_life(plan, operand->storage, s);
        }
    }
}

/* Of the buffers that a group reads, by storage: the last link that reads one, and whether a link may take it over. */
typedef struct {
    int *last_read;
    bool *free;
} in_place;

/* A buffer is free after its last reader if it ends at step s and every reader of it has the group's layout. */
static void find_free(const ad_plan *plan, int s, in_place *at)
{
    const ad_group *group = plan->steps[s].group;
    for (int k = 0; k < group->n_operands; k++) {
        int from = group->operands[k].storage;
        const ad_storage *storage = &plan->storages[from];
        at->last_read[from] = -1;
        at->free[from] = storage->owned && storage->last == s && storage->first < s;
    }
    for (int k = 0; k < group->n_operands; k++) {
        const ad_operand *operand = &group->operands[k];
        at->free[operand->storage] = at->free[operand->storage] && plan->parts[operand->node].whole &&
                                     ad_shape_equal(&ad_node_of(plan->graph, operand->node)->shape, &group->domain);
    }
    for (int l = 0; l < group->n_links; l++)
        for (int k = 0; k < 2; k++) {
            int slot = k ? group->links[l].b : group->links[l].a;
            if (slot < group->n_operands)
                at->last_read[group->operands[slot].storage] = l;
        }
}

/* A stored link takes the buffer of an operand that ends here, if every reader of that buffer in the group has the same
 * layout and has read a block before the link writes it. */
static int find_in_place(ad_plan *plan, ad_error *error)
{
    in_place at = { ad_plan_take(plan, (size_t)plan->n_storages, sizeof *at.last_read, error),
                    ad_plan_take(plan, (size_t)plan->n_storages, sizeof *at.free, error) };
    if (!at.last_read || !at.free)
        return -1;
    for (int s = 0; s < plan->n_steps; s++) {
        const ad_group *group = plan->steps[s].group;
        if (group)
            find_free(plan, s, &at);
        for (int l = 0; group && l < group->n_links; l++) {
            int own = group->links[l].storage;
            if (own < 0 || plan->storages[own].last >= plan->n_steps)
                continue;
            for (int o = 0; o < group->n_operands && plan->storages[own].alias < 0; o++) {
                int from = group->operands[o].storage;
                if (!at.free[from] || at.last_read[from] > l)
                    continue;
                plan->storages[own].alias = from;
                at.free[from] = false;
            }
        }
    }
    return 0;
}

/* ---- where buffers lie ---- */
/* Free memory between buffers, from `offset` up to `end`. */
typedef struct {
    size_t offset, end;
} gap;

typedef struct {
    int n;
    gap *at; /* by offset; no two touch; the last one has no end */
} gaps;

/* The first gap that does not lie below an offset. */
static int gap_from(const gaps *g, size_t offset)
{
    int low = 0, high = g->n;
    while (low < high) {
        int middle = (low + high) / 2;
        if (g->at[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remove_gap(gaps *g, int k)
{
    memmove(&g->at[k], &g->at[k + 1], (size_t)(--g->n - k) * sizeof *g->at);
}

static size_t take_gap(gaps *g, size_t bytes)
{
    int k = 0;
    while (g->at[k].end - g->at[k].offset < bytes)
        k++;
    size_t offset = g->at[k].offset;
    g->at[k].offset += bytes;
    if (g->at[k].offset == g->at[k].end)
        remove_gap(g, k);
    return offset;
}

static void give_gap(gaps *g, size_t offset, size_t end)
{
    int k = gap_from(g, offset); /* there is one: the last */
    bool below = k > 0 && g->at[k - 1].end == offset, above = g->at[k].offset == end;
    if (below && above) {
        g->at[k - 1].end = g->at[k].end;
        remove_gap(g, k);
    } else if (below) {
        g->at[k - 1].end = end;
    } else if (above) {
        g->at[k].offset = offset;
    } else {
        memmove(&g->at[k + 1], &g->at[k], (size_t)(g->n++ - k) * sizeof *g->at);
        g->at[k] = (gap){ offset, end };
    }
}

/* An alias prolongs the storage at the end of its chain, which is the one that it has afterwards. */
static void join_aliases(ad_plan *plan)
{
    for (int i = 0; i < plan->n_storages; i++) {
        int root = i, next;
        while (plan->storages[root].alias >= 0)
            root = plan->storages[root].alias;
        for (int k = i; k != root; k = next) {
            next = plan->storages[k].alias;
            plan->storages[k].alias = root;
        }
        extend_life(plan, root, plan->storages[i].last);
    }
}

/* The storages that own memory as lists by the step that they begin in (from 1 on) and end in: heads, then links. */
typedef struct {
    int *first, *next_first, *last, *next_last;
} lifetimes;

static int list_lifetimes(ad_plan *plan, lifetimes *l, ad_error *error)
{
    size_t steps = (size_t)plan->steps_capacity + 2, n = (size_t)plan->n_storages;
    l->first = ad_plan_take(plan, steps, sizeof *l->first, error);
    l->last = ad_plan_take(plan, steps, sizeof *l->last, error);
    l->next_first = ad_plan_take(plan, n, sizeof *l->next_first, error);
    l->next_last = ad_plan_take(plan, n, sizeof *l->next_last, error);
    if (!l->first || !l->last || !l->next_first || !l->next_last)
        return -1;
    for (size_t s = 0; s < steps; s++)
        l->first[s] = l->last[s] = -1;
    for (int i = plan->n_storages - 1; i >= 0; i--) {
        const ad_storage *storage = &plan->storages[i];
        if (!storage->owned || storage->alias >= 0)
            continue;
        l->next_first[i] = l->first[storage->first + 1];
        l->first[storage->first + 1] = i;
        l->next_last[i] = l->last[storage->last + 1];
        l->last[storage->last + 1] = i;
    }
    return 0;
}

/* First fit: step by step, among the buffers alive at the same time, the first gap that is large enough. */
static int lay_out(ad_plan *plan, ad_error *error)
{
    gaps g = { .n = 1, .at = ad_plan_take(plan, (size_t)plan->n_storages + 2, sizeof *g.at, error) };
    lifetimes l = { 0 };
    if (!g.at || list_lifetimes(plan, &l, error))
        return -1;
    g.at[0] = (gap){ 0, SIZE_MAX };
    for (int s = 0; s <= plan->steps_capacity + 1; s++) {
        for (int i = s > 0 ? l.last[s - 1] : -1; i >= 0; i = l.next_last[i]) {
            const ad_storage *storage = &plan->storages[i];
            if (storage->bytes > 0)
                give_gap(&g, storage->offset, storage->offset + (storage->bytes + 63) / 64 * 64);
        }
        for (int i = l.first[s]; i >= 0; i = l.next_first[i]) {
            ad_storage *storage = &plan->storages[i];
            size_t bytes = (storage->bytes + 63) / 64 * 64;
            storage->offset = bytes > 0 ? take_gap(&g, bytes) : 0;
            plan->memory_bytes =
                storage->offset + bytes > plan->memory_bytes ? storage->offset + bytes : plan->memory_bytes;
        }
    }
    return 0;
}

static int bytes_of(const ad_plan *plan, int id, size_t *bytes, ad_error *error)
{
    const ad_node *node = ad_node_of(plan->graph, id);
    *bytes = plan->element;
    for (int i = 0; i < node->shape.rank; i++)
        if (__builtin_mul_overflow(*bytes, ad_axis_size(plan->graph, node->shape.axes[i], &plan->capacity), bytes) ||
            *bytes > SIZE_MAX / 16)
            return ad_fail(error, "%s:%d: %s: too large for memory", node->where.file, node->where.line,
                           ad_op_name(node->op));
    return 0;
}

static int set_bytes(ad_plan *plan, ad_error *error)
{
    size_t bytes;
    for (int k = 0; k < plan->n_live; k++) {
        int id = plan->live[k];
        const ad_part *part = &plan->parts[id];
        if (part->kind == AD_PART_DEAD)
            continue;
        if (bytes_of(plan, id, &bytes, error))
            return -1;
        if (part->base == id && part->storage >= 0)
            plan->storages[part->storage].bytes = bytes;
    }
    for (int i = 0; i < plan->n_results; i++) {
        const ad_result *result = &plan->results[i];
        if (plan->parts[result->node].storage == result->storage)
            continue;
        if (bytes_of(plan, result->node, &bytes, error))
            return -1;
        plan->storages[result->storage].bytes = bytes;
    }
    return 0;
}

int ad_plan_measure(ad_plan *plan, ad_error *error)
{
    find_lifetimes(plan);
    return set_bytes(plan, error);
}

int ad_plan_allocate(ad_plan *plan, ad_error *error)
{
    for (int s = 0; s < plan->n_steps; s++) {
        ad_step *step = &plan->steps[s];
        for (int i = 0; step->product && i < 2; i++) {
            size_t packed = step->product->packed[i];
            if (packed) {
                step->packed[i] = ad_plan_add_storage(plan, s, true);
                plan->storages[step->packed[i]].bytes = packed * plan->element;
                extend_life(plan, step->packed[i], step->deferred ? plan->steps_capacity : s);
            }
        }
    }
    if (find_in_place(plan, error) != 0)
        return -1;
    join_aliases(plan);
    if (lay_out(plan, error) != 0)
        return -1;
    size_t rows = 2 * plan->longest_row * plan->element, sums = AD_BLOCK * sizeof(double);
    size_t group = (size_t)plan->registers * AD_BLOCK * plan->element + (size_t)plan->slots * sizeof(void *);
    plan->scratch_bytes = rows > sums ? rows : sums;
    plan->scratch_bytes = ((group > plan->scratch_bytes ? group : plan->scratch_bytes) + 63) / 64 * 64;
    size_t total = plan->memory_bytes + plan->scratch_bytes * (size_t)plan->threads;
    if (!(plan->memory = ad_alloc(total, 1, "the buffers of a plan", error)))
        return -1;
    plan->scratch = plan->memory + plan->memory_bytes;
    plan->memory_bytes = total;
    for (int i = 0; i < plan->n_storages; i++) {
        int root = plan->storages[i].alias >= 0 ? plan->storages[i].alias : i;
        if (plan->storages[i].owned)
            plan->storages[i].data = plan->memory + plan->storages[root].offset;
    }
    return 0;
}
