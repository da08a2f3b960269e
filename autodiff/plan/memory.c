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
    for (int id = 0; id < plan->n_nodes; id++) {
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

/* A stored link takes the buffer of an operand that ends here, if every reader of that buffer in the group has the same
 * layout and has read a block before the link writes it. */
static void find_in_place(ad_plan *plan)
{
    for (int s = 0; s < plan->n_steps; s++) {
        ad_group *group = plan->steps[s].group;
        for (int l = 0; group && l < group->n_links; l++) {
            ad_link *link = &group->links[l];
            if (link->storage < 0 || plan->storages[link->storage].last >= plan->n_steps)
                continue;
            for (int o = 0; o < group->n_operands && plan->storages[link->storage].alias < 0; o++) {
                int from = group->operands[o].storage;
                bool fits =
                    plan->storages[from].owned && plan->storages[from].last == s && plan->storages[from].first < s;
                for (int k = 0; k < group->n_operands; k++) {
                    const ad_operand *other = &group->operands[k];
                    if (other->storage != from)
                        continue;
                    fits = fits && plan->parts[other->node].whole &&
                           ad_shape_equal(&ad_node_of(plan->graph, other->node)->shape, &group->domain);
                    for (int j = l + 1; j < group->n_links; j++)
                        fits = fits && group->links[j].a != k && group->links[j].b != k;
                }
                for (int j = 0; j < group->n_links; j++)
                    fits =
                        fits && (group->links[j].storage < 0 || plan->storages[group->links[j].storage].alias != from);
                if (fits)
                    plan->storages[link->storage].alias = from;
            }
        }
    }
}

typedef struct {
    size_t offset, end;
    int last;
} interval;

/* First fit: among the buffers alive at the same time, sorted by offset, the first gap that is large enough. */
static int lay_out(ad_plan *plan, ad_error *error)
{
    interval *live = ad_plan_take(plan, (size_t)plan->n_storages, sizeof *live, error);
    int *order = ad_plan_take(plan, (size_t)plan->n_storages, sizeof *order, error);
    int n_live = 0, n = 0;
    if (!live || !order)
        return -1;
    for (int i = 0; i < plan->n_storages; i++) { /* an alias prolongs the storage at the end of its chain */
        int root = i;
        while (plan->storages[root].alias >= 0)
            root = plan->storages[root].alias;
        extend_life(plan, root, plan->storages[i].last);
    }
    for (int i = 0; i < plan->n_storages; i++) {
        int k = n;
        if (!plan->storages[i].owned || plan->storages[i].alias >= 0)
            continue;
        for (; k > 0 && plan->storages[order[k - 1]].first > plan->storages[i].first; k--)
            order[k] = order[k - 1];
        order[k] = i;
        n++;
    }
    for (int i = 0; i < n; i++) {
        ad_storage *storage = &plan->storages[order[i]];
        size_t bytes = (storage->bytes + 63) / 64 * 64, offset = 0;
        int kept = 0, at = 0;
        for (int k = 0; k < n_live; k++)
            if (live[k].last >= storage->first)
                live[kept++] = live[k];
        n_live = kept;
        while (at < n_live && live[at].offset < offset + bytes) {
            offset = live[at].end > offset ? live[at].end : offset;
            at++;
        }
        for (int k = n_live++; k > at; k--)
            live[k] = live[k - 1];
        live[at] = (interval){ offset, offset + bytes, storage->last };
        storage->offset = offset;
        plan->memory_bytes = offset + bytes > plan->memory_bytes ? offset + bytes : plan->memory_bytes;
    }
    return 0;
}

static int set_bytes(ad_plan *plan, ad_error *error)
{
    for (int id = 0; id < plan->n_nodes; id++) {
        const ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        size_t bytes = plan->element;
        if (part->kind == AD_PART_DEAD)
            continue;
        for (int i = 0; i < node->shape.rank; i++)
            if (__builtin_mul_overflow(bytes, ad_axis_size(plan->graph, node->shape.axes[i], &plan->capacity),
                                       &bytes) ||
                bytes > SIZE_MAX / 16)
                return ad_fail(error, "%s:%d: %s: too large for memory", node->where.file, node->where.line,
                               ad_op_name(node->op));
        if (part->base == id && part->storage >= 0)
            plan->storages[part->storage].bytes = bytes;
        for (int i = 0; i < plan->n_results; i++)
            if (plan->results[i].node == id && part->storage != plan->results[i].storage)
                plan->storages[plan->results[i].storage].bytes = bytes;
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
    find_in_place(plan);
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
        int root = i;
        while (plan->storages[root].alias >= 0)
            root = plan->storages[root].alias;
        if (plan->storages[i].owned)
            plan->storages[i].data = plan->memory + plan->storages[root].offset;
    }
    return 0;
}
