/* plan.c: from a graph to a list of steps and the memory they need.
 *
 * 1. Which nodes the outputs need. 2. Which scales fold into a contraction's factor. 3. Steps in the order of the
 * nodes; coordinatewise nodes join the newest group of their domain that comes after all that they read. 4. Sizes at
 * capacity. 5. Buffers by lifetime, first fit. */
#include "autodiff/plan/plan.h"

#include <math.h>
#include <string.h>

int ad_axis_at(const ad_shape *shape, ad_axis axis)
{
    for (int i = 0; i < shape->rank; i++)
        if (ad_same(shape->axes[i], axis))
            return i;
    return -1;
}

static bool same_order(const ad_shape *a, const ad_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (!ad_same(a->axes[i], b->axes[i]))
            return false;
    return true;
}

static void *take(ad_plan *plan, size_t count, size_t size, ad_error *error)
{
    void *memory = ad_arena_alloc(plan->arena, count ? count : 1, size);
    if (!memory)
        ad_fail(error, "out of memory: a plan of %d nodes", plan->n_nodes);
    return memory;
}

static bool is_linear(ad_op op)
{
    return op == AD_SCALE || op == AD_NEG;
}

/* Contractions and sums multiply by a number at no cost; without summed axes a contraction is a coordinatewise mul. */
static bool takes_factor(const ad_node *node)
{
    return (node->op == AD_CONTRACT && node->over.rank > 0) || node->op == AD_SUM;
}

static bool is_coordinatewise(const ad_node *node)
{
    return ad_is_unary(node->op) || ad_is_binary(node->op) || node->op == AD_SCALE ||
           (node->op == AD_CONTRACT && node->over.rank == 0);
}

/* A change of strides whatever the input's layout; a reshape is one only for dense inputs. */
static bool is_view(ad_op op)
{
    return op == AD_IDENTITY || op == AD_EXPAND || op == AD_SLICE || op == AD_RELABEL || op == AD_TRANSPOSE;
}

/* ---- 1 and 2: what is needed ---- */
static void find_uses(ad_plan *plan)
{
    for (int i = 0; i < plan->n_results; i++) {
        plan->parts[plan->results[i].node].uses++;
        plan->parts[plan->results[i].node].plain = true;
    }
    for (int id = plan->n_nodes - 1; id >= 0; id--) {
        ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        bool passes = is_view(node->op) || is_linear(node->op);
        if (!part->uses || plan->given[id])
            continue;
        for (int i = 0; i < node->n_in; i++) {
            plan->parts[node->in[i]].uses++;
            plan->parts[node->in[i]].plain |= passes ? part->plain : !takes_factor(node);
        }
    }
}

/* The contraction or sum below a scale that nothing else uses; -1 if there is none. */
static int foldable(const ad_plan *plan, const ad_node *scale)
{
    int id = scale->in[0];
    while (plan->parts[id].uses == 1 && is_view(ad_node_of(plan->graph, id)->op) && !plan->given[id])
        id = ad_node_of(plan->graph, id)->in[0];
    if (plan->given[id])
        return -1;
    if (plan->parts[id].uses == 1 && is_linear(ad_node_of(plan->graph, id)->op))
        return plan->parts[id].folded;
    return plan->parts[id].uses == 1 && takes_factor(ad_node_of(plan->graph, id)) ? id : -1;
}

/* ---- 3: steps ---- */
static int add_storage(ad_plan *plan, int first, bool owned)
{
    plan->storages[plan->n_storages] = (ad_storage){ .first = first, .last = first, .alias = -1, .owned = owned };
    return plan->n_storages++;
}

static ad_step *add_step(ad_plan *plan, ad_action action, int node)
{
    ad_step *step = &plan->steps[plan->n_steps++];
    *step = (ad_step){ .action = action, .node = node, .part = -1, .storage = -1, .room = { -1, -1 } };
    return step;
}

static void reads(ad_step *step, int node)
{
    step->in[step->n_in++] = node;
}

/* The newest group of this domain that comes after all inputs; a new one at the end if there is none. */
static int group_for(ad_plan *plan, int id, ad_error *error)
{
    const ad_node *node = ad_node_of(plan->graph, id);
    int earliest = 0;
    for (int i = 0; i < node->n_in; i++) {
        const ad_part *in = &plan->parts[node->in[i]];
        int after = in->kind == AD_PART_MEMBER ? in->step : in->step + 1;
        earliest = after > earliest ? after : earliest;
    }
    for (int s = plan->n_steps - 1; s >= earliest; s--)
        if (plan->steps[s].action == AD_DO_GROUP && same_order(&plan->steps[s].group->domain, &node->shape))
            return s;
    ad_group *group = take(plan, 1, sizeof *group, error);
    if (!group)
        return -1;
    group->domain = node->shape;
    add_step(plan, AD_DO_GROUP, id)->group = group;
    return plan->n_steps - 1;
}

/* An axis that a slice of the first axis cuts keeps the view dense. */
static bool stays_dense(const ad_node *node, const ad_node *in)
{
    switch (node->op) {
    case AD_SLICE:
        return in->shape.rank > 0 && ad_same(in->shape.axes[0], node->axis) &&
               (!node->axis2.id || ad_same(node->shape.axes[0], node->axis2));
    case AD_TRANSPOSE:
        return same_order(&node->shape, &in->shape);
    case AD_EXPAND:
        return false;
    default:
        return true;
    }
}

static void make_view(ad_plan *plan, int id)
{
    const ad_node *node = ad_node_of(plan->graph, id);
    const ad_part *in = &plan->parts[node->in[0]];
    ad_part *part = &plan->parts[id];
    part->kind = AD_PART_VIEW;
    part->base = in->base;
    part->step = in->step;
    part->storage = in->storage;
    part->dense = in->dense && stays_dense(node, ad_node_of(plan->graph, node->in[0]));
    part->whole = in->whole && part->dense && node->op != AD_SLICE;
}

static int make_result(ad_plan *plan, int id, ad_error *error)
{
    const ad_node *node = ad_node_of(plan->graph, id);
    ad_part *part = &plan->parts[id];
    int first = plan->n_steps;
    ad_step *step;
    part->kind = AD_PART_RESULT;
    part->storage = add_storage(plan, first, true);
    switch (node->op) {
    case AD_CONTRACT:
        step = add_step(plan, AD_DO_PRODUCT, id);
        reads(step, node->in[0]);
        reads(step, node->in[1]);
        if (!(step->product = take(plan, 1, sizeof *step->product, error)))
            return -1;
        break;
    case AD_SUM:
        reads(add_step(plan, AD_DO_SUM, id), node->in[0]);
        break;
    case AD_UNSLICE:
        add_step(plan, AD_DO_ZERO, id);
        reads(add_step(plan, AD_DO_COPY, id), node->in[0]);
        break;
    case AD_RESHAPE:
        reads(add_step(plan, AD_DO_COPY, id), node->in[0]);
        break;
    case AD_CONCAT:
        for (int i = 0; i < node->n_in; i++) {
            step = add_step(plan, AD_DO_COPY, id);
            step->part = i;
            reads(step, node->in[i]);
        }
        break;
    case AD_DELTA:
        add_step(plan, AD_DO_ZERO, id);
        add_step(plan, AD_DO_DELTA, id);
        break;
    case AD_SCATTER:
        add_step(plan, AD_DO_ZERO, id);
        step = add_step(plan, AD_DO_SCATTER, id);
        reads(step, node->in[0]);
        reads(step, node->in[1]);
        break;
    case AD_GATHER:
        step = add_step(plan, AD_DO_GATHER, id);
        reads(step, node->in[0]);
        reads(step, node->in[1]);
        break;
    default: /* logsumexp, softmax, max, argmax */
        reads(add_step(plan, AD_DO_ROWS, id), node->in[0]);
    }
    for (int s = first; s < plan->n_steps; s++)
        plan->steps[s].storage = part->storage;
    part->step = plan->n_steps - 1;
    return 0;
}

static int make_steps(ad_plan *plan, ad_error *error)
{
    for (int id = 0; id < plan->n_nodes; id++) {
        ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        *part = (ad_part){ .uses = part->uses,
                           .plain = part->plain,
                           .base = id,
                           .folded = -1,
                           .step = -1,
                           .only = -1,
                           .slot = -1,
                           .storage = -1,
                           .dense = true,
                           .whole = true };
        if (!part->uses)
            continue;
        if (node->op == AD_INPUT || node->op == AD_PARAM || plan->given[id]) {
            part->kind = AD_PART_LEAF;
            part->storage = add_storage(plan, -1, false);
            plan->leaves[plan->n_leaves++] = id;
        } else if (node->op == AD_CONSTANT) {
            part->kind = AD_PART_CONSTANT;
            part->dense = part->whole = node->shape.rank == 0;
            part->storage = add_storage(plan, -1, false);
            char *value = take(plan, 1, sizeof(double), error);
            if (!value)
                return -1;
            plan->loops->from_double(1, value, &(double){ node->c }, 1);
            plan->storages[part->storage].data = value;
        } else if (is_view(node->op) || (node->op == AD_RESHAPE && plan->parts[node->in[0]].dense)) {
            make_view(plan, id);
        } else if (is_linear(node->op) && (!part->plain || (part->folded = foldable(plan, node)) >= 0)) {
            make_view(plan, id);
        } else if (is_coordinatewise(node)) {
            part->kind = AD_PART_MEMBER;
            if ((part->step = group_for(plan, id, error)) < 0)
                return -1;
        } else if (make_result(plan, id, error) != 0) {
            return -1;
        }
    }
    return 0;
}

/* A member with one input whose users are all in one later group moves there: one buffer is read, none written. Also
 * finds which members are used outside their group. */
static void sink(ad_plan *plan)
{
    for (int i = 0; i < plan->n_results; i++)
        plan->parts[plan->results[i].node].only = -2;
    for (int id = plan->n_nodes - 1; id >= 0; id--) {
        ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        if (!part->uses || plan->given[id])
            continue;
        if (part->kind == AD_PART_MEMBER && node->n_in == 1 && part->only > part->step)
            part->step = part->only;
        for (int i = 0; i < node->n_in; i++) {
            ad_part *in = &plan->parts[node->in[i]];
            int user = part->kind == AD_PART_MEMBER ? part->step : -2;
            in->only = in->only == -1 || in->only == user ? user : -2;
        }
    }
}

static int operand_slot(ad_group *group, int node)
{
    for (int i = 0; i < group->n_operands; i++)
        if (group->operands[i].node == node)
            return i;
    group->operands[group->n_operands].node = node;
    return group->n_operands++;
}

/* Registers of the links by their last reader within the group; operands have one each, in case they are copied. */
static int place_registers(ad_plan *plan, ad_group *group, ad_error *error)
{
    int *last = take(plan, (size_t)group->n_links, sizeof *last, error);
    int *spare = take(plan, (size_t)group->n_links, sizeof *spare, error);
    int n_spare = 0;
    if (!last || !spare)
        return -1;
    group->n_registers = group->n_operands;
    for (int i = 0; i < group->n_links; i++) {
        last[i] = i;
        for (int k = 0; k < 2; k++) {
            int slot = (k ? group->links[i].b : group->links[i].a) - group->n_operands;
            if (slot >= 0)
                last[slot] = i;
        }
    }
    for (int i = 0; i < group->n_links; i++) {
        ad_link *link = &group->links[i];
        for (int k = 0; k < 2; k++) {
            int slot = (k ? link->b : link->a) - group->n_operands;
            if (slot >= 0 && last[slot] == i && group->links[slot].storage < 0 && !(k && link->a == link->b))
                spare[n_spare++] = group->links[slot].reg;
        }
        if (link->storage < 0)
            link->reg = n_spare ? spare[--n_spare] : group->n_registers++;
    }
    return 0;
}

static int fill_groups(ad_plan *plan, ad_error *error)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int id = 0; id < plan->n_nodes; id++) {
            ad_part *part = &plan->parts[id];
            const ad_node *node = ad_node_of(plan->graph, id);
            if (part->kind != AD_PART_MEMBER)
                continue;
            ad_group *group = plan->steps[part->step].group;
            if (pass == 0) {
                group->n_links++;
                continue;
            }
            for (int i = 0; i < node->n_in; i++) {
                const ad_part *in = &plan->parts[node->in[i]];
                if (in->kind != AD_PART_MEMBER || in->step != part->step)
                    operand_slot(group, node->in[i]);
            }
        }
        for (int s = 0; pass == 0 && s < plan->n_steps; s++) {
            ad_group *group = plan->steps[s].group;
            if (!group)
                continue;
            group->operands = take(plan, 2 * (size_t)group->n_links, sizeof *group->operands, error);
            group->links = take(plan, (size_t)group->n_links, sizeof *group->links, error);
            if (!group->operands || !group->links)
                return -1;
            group->n_links = 0;
        }
    }
    for (int id = 0; id < plan->n_nodes; id++) {
        ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        if (part->kind != AD_PART_MEMBER)
            continue;
        ad_group *group = plan->steps[part->step].group;
        ad_link *link = &group->links[group->n_links];
        int slots[2];
        part->slot = group->n_operands + group->n_links++;
        for (int i = 0; i < 2; i++) {
            int from = node->in[i < node->n_in ? i : 0];
            const ad_part *in = &plan->parts[from];
            slots[i] = in->kind == AD_PART_MEMBER && in->step == part->step ? in->slot : operand_slot(group, from);
        }
        if (part->only != part->step)
            part->storage = add_storage(plan, part->step, true);
        *link =
            (ad_link){ .function = node->function,
                       .order = node->order,
                       .node = id,
                       .storage = part->storage,
                       .a = slots[0],
                       .b = slots[1],
                       .p = node->c,
                       .loop = node->op == AD_CUSTOM ? NULL
                                                     : plan->loops->op[node->op == AD_CONTRACT ? AD_MUL : node->op] };
    }
    for (int s = 0; s < plan->n_steps; s++) {
        ad_group *group = plan->steps[s].group;
        if (!group)
            continue;
        if (place_registers(plan, group, error) != 0)
            return -1;
        int custom = 0;
        for (int i = 0; i < group->n_links; i++)
            custom |= !group->links[i].loop;
        int registers = group->n_registers + (custom ? 4 : 0);
        plan->registers = registers > plan->registers ? registers : plan->registers;
        int slots = group->n_operands + group->n_links;
        plan->slots = slots > plan->slots ? slots : plan->slots;
    }
    return 0;
}

/* Sinking leaves empty groups: takes them out and renumbers. */
static int drop_empty(ad_plan *plan, ad_error *error)
{
    int *number = take(plan, (size_t)plan->n_steps, sizeof *number, error);
    int kept = 0;
    if (!number)
        return -1;
    for (int s = 0; s < plan->n_steps; s++) {
        number[s] = kept;
        if (!plan->steps[s].group || plan->steps[s].group->n_links)
            plan->steps[kept++] = plan->steps[s];
    }
    for (int id = 0; id < plan->n_nodes; id++)
        if (plan->parts[id].step >= 0)
            plan->parts[id].step = number[plan->parts[id].step];
    for (int i = 0; i < plan->n_storages; i++)
        if (plan->storages[i].first >= 0)
            plan->storages[i].first = plan->storages[i].last = number[plan->storages[i].first];
    plan->n_steps = kept;
    return 0;
}

/* An output is computed in its own buffer if it is all of one that no other output has; else it is copied there. */
static void place_results(ad_plan *plan)
{
    for (int i = 0; i < plan->n_results; i++) {
        ad_result *result = &plan->results[i];
        const ad_part *part = &plan->parts[result->node];
        const ad_part *base = &plan->parts[part->base];
        bool own = part->whole && (base->kind == AD_PART_MEMBER || base->kind == AD_PART_RESULT);
        for (int k = 0; k < i; k++)
            own = own && plan->results[k].storage != base->storage;
        result->storage = base->storage;
        if (!own) {
            result->storage = add_storage(plan, plan->n_steps, true);
            ad_step *step = add_step(plan, AD_DO_COPY, result->node);
            step->storage = result->storage;
            reads(step, result->node);
        }
        plan->storages[result->storage].last = plan->steps_room; /* after all steps */
    }
}

/* Is an output the only one to see its base, perhaps through views and scales that the base has taken over? */
static bool sees_alone(const ad_plan *plan, int id)
{
    int base = plan->parts[id].base;
    while (id != base && plan->parts[id].uses == 1)
        id = ad_node_of(plan->graph, id)->in[0];
    return id == base && plan->parts[id].uses == 1;
}

/* A product that is one update's and nobody else's waits for ad_update, which adds it to the caller's data in one call
 * of BLAS. Not if it reads a parameter, which another update may have changed by then. */
static void defer_updates(ad_plan *plan, int updates)
{
    for (int i = plan->n_results - updates; i < plan->n_results; i++) {
        ad_result *result = &plan->results[i];
        const ad_part *part = &plan->parts[result->node], *base = &plan->parts[part->base];
        if (!part->whole || base->kind != AD_PART_RESULT || !sees_alone(plan, result->node))
            continue;
        ad_step *step = &plan->steps[base->step];
        bool waits = step->action == AD_DO_PRODUCT && step->node == part->base;
        for (int k = 0; k < step->n_in; k++)
            waits = waits && ad_node_of(plan->graph, plan->parts[step->in[k]].base)->op != AD_PARAM;
        if (waits) {
            step->deferred = true;
            result->step = base->step;
        }
    }
}

/* ---- 5: memory ---- */
static void extend(ad_plan *plan, int storage, int step)
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
            extend(plan, plan->parts[step->in[i]].storage, step->deferred ? plan->steps_room : s);
        extend(plan, step->storage, s);
        for (int i = 0; step->group && i < step->group->n_operands; i++) {
            ad_operand *operand = &step->group->operands[i];
            operand->storage = plan->parts[operand->node].storage;
            extend(plan, operand->storage, s);
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
                           same_order(&ad_node_of(plan->graph, other->node)->shape, &group->domain);
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
    interval *live = take(plan, (size_t)plan->n_storages, sizeof *live, error);
    int *order = take(plan, (size_t)plan->n_storages, sizeof *order, error);
    int n_live = 0, n = 0;
    if (!live || !order)
        return -1;
    for (int i = 0; i < plan->n_storages; i++) { /* an alias prolongs the storage at the end of its chain */
        int root = i;
        while (plan->storages[root].alias >= 0)
            root = plan->storages[root].alias;
        extend(plan, root, plan->storages[i].last);
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

static int allocate(ad_plan *plan, ad_error *error)
{
    for (int s = 0; s < plan->n_steps; s++) {
        ad_step *step = &plan->steps[s];
        for (int i = 0; step->product && i < 2; i++) {
            size_t packed = step->product->packed[i];
            if (packed) {
                step->room[i] = add_storage(plan, s, true);
                plan->storages[step->room[i]].bytes = packed * plan->element;
                extend(plan, step->room[i], step->deferred ? plan->steps_room : s);
            }
        }
    }
    find_in_place(plan);
    if (lay_out(plan, error) != 0)
        return -1;
    size_t rows = 2 * plan->row_room * plan->element, sums = AD_BLOCK * sizeof(double);
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

static int build(ad_plan *plan, const ad_var *outputs, const ad_plan_spec *spec, ad_error *error)
{
    size_t nodes = (size_t)plan->n_nodes, edges = 0;
    for (int id = 0; id < plan->n_nodes; id++)
        edges += (size_t)ad_node_of(plan->graph, id)->n_in;
    plan->steps_room = (int)(2 * nodes + edges) + plan->n_results;
    plan->storages_room = plan->steps_room * 3;
    plan->parts = take(plan, nodes, sizeof *plan->parts, error);
    plan->leaves = take(plan, nodes, sizeof *plan->leaves, error);
    plan->results = take(plan, (size_t)plan->n_results, sizeof *plan->results, error);
    plan->given = take(plan, nodes, sizeof *plan->given, error);
    if (!plan->parts || !plan->leaves || !plan->results || !plan->given)
        return -1;
    for (int i = 0; i < spec->n_given; i++)
        plan->given[spec->given[i].id] = true;
    for (int i = 0; i < plan->n_results; i++)
        plan->results[i] = (ad_result){ outputs[i].id, -1, -1 };
    find_uses(plan);
    int used = 0, used_edges = 0;
    for (int id = 0; id < plan->n_nodes; id++)
        if (plan->parts[id].uses) {
            used++;
            used_edges += ad_node_of(plan->graph, id)->n_in;
        }
    plan->steps_room = 2 * used + used_edges + plan->n_results;
    plan->storages_room = plan->steps_room * 3;
    plan->steps = take(plan, (size_t)plan->steps_room, sizeof *plan->steps, error);
    plan->storages = take(plan, (size_t)plan->storages_room, sizeof *plan->storages, error);
    if (!plan->steps || !plan->storages || make_steps(plan, error) != 0)
        return -1;
    sink(plan);
    if (fill_groups(plan, error) != 0 || drop_empty(plan, error) != 0)
        return -1;
    place_results(plan);
    defer_updates(plan, spec->updates);
    find_lifetimes(plan);
    if (set_bytes(plan, error) != 0 || ad_plan_size(plan, &plan->capacity, error) != 0)
        return -1;
    plan->planned = true;
    plan->sized = false;
    return allocate(plan, error);
}

ad_plan *ad_plan_new(const ad_var *outputs, int n, const ad_plan_spec *spec, ad_error *error)
{
    if (n < 1 || !outputs[0].graph) {
        ad_fail(error, "plan: no outputs");
        return NULL;
    }
    const ad_graph *graph = outputs[0].graph;
    if (ad_failed(graph)) {
        ad_fail(error, "%s", ad_message(graph));
        return NULL;
    }
    if (spec->updates < 0 || spec->updates > n) {
        ad_fail(error, "plan: %d of %d outputs to be updates", spec->updates, n);
        return NULL;
    }
    for (int i = 0; i < n; i++)
        if (outputs[i].graph != graph || outputs[i].id < 0 || outputs[i].id >= ad_graph_size(graph)) {
            ad_fail(error, "plan: output %d is not a node of the first one's graph", i);
            return NULL;
        }
    for (int i = 0; i < spec->n_given; i++)
        if (spec->given[i].graph != graph || spec->given[i].id < 0 || spec->given[i].id >= ad_graph_size(graph)) {
            ad_fail(error, "plan: given node %d is not a node of the outputs' graph", i);
            return NULL;
        }
    int threads = ad_threads(spec->threads, error);
    ad_plan *plan = threads ? ad_alloc(1, sizeof *plan, "a plan", error) : NULL;
    if (!plan)
        return NULL;
    *plan = (ad_plan){ .graph = graph,
                       .loops = ad_loops_get(spec->type),
                       .type = spec->type,
                       .n_results = n,
                       .element = spec->type == AD_DOUBLE ? sizeof(double) : sizeof(float),
                       .threads = threads,
                       .capacity = spec->capacity,
                       .n_nodes = ad_graph_size(graph) };
    if (!(plan->arena = ad_arena_new(error)) || build(plan, outputs, spec, error) != 0) {
        ad_plan_free(plan);
        return NULL;
    }
    return plan;
}

void ad_plan_free(ad_plan *plan)
{
    if (!plan)
        return;
    ad_arena_free(plan->arena);
    ad_free(plan->memory);
    ad_free(plan);
}

size_t ad_plan_bytes(const ad_plan *plan)
{
    return plan->memory_bytes;
}

/* ---- binding ---- */
int ad_bind(ad_plan *plan, ad_var leaf, const void *data)
{
    if (leaf.graph != plan->graph || leaf.id < 0 || leaf.id >= ad_graph_size(plan->graph))
        return -1;
    ad_op op = ad_node_of(plan->graph, leaf.id)->op;
    if (op != AD_INPUT && op != AD_PARAM && !(leaf.id < plan->n_nodes && plan->given[leaf.id]))
        return -1;
    if (leaf.id < plan->n_nodes && plan->parts[leaf.id].kind == AD_PART_LEAF) /* else the outputs do not need it */
        memcpy(&plan->storages[plan->parts[leaf.id].storage].data, &data, sizeof data);
    return 0;
}

int ad_bind_output(ad_plan *plan, int output, void *data)
{
    if (output < 0 || output >= plan->n_results)
        return -1;
    ad_storage *storage = &plan->storages[plan->results[output].storage];
    storage->data = data ? data : plan->memory + storage->offset;
    return 0;
}

const void *ad_output(const ad_plan *plan, int output)
{
    return output < 0 || output >= plan->n_results ? NULL : plan->storages[plan->results[output].storage].data;
}

void ad_plan_print(const ad_plan *plan, FILE *stream)
{
    static const char *const actions[] = { "group", "product", "sum",     "copy", "zero",
                                           "delta", "gather",  "scatter", "rows" };
    static const char *const methods[] = { "gemm", "gemv", "dot", "loops" };
    char text[160];
    fprintf(stream, "%d steps, %zu bytes, %s loops\n", plan->n_steps, plan->memory_bytes, ad_loops_name());
    for (int s = 0; s < plan->n_steps; s++) {
        const ad_step *step = &plan->steps[s];
        const ad_node *node = ad_node_of(plan->graph, step->node);
        fprintf(stream, "%3d %-7s %s", s, actions[step->action],
                ad_shape_text(plan->graph, step->group ? &step->group->domain : &node->shape, text, sizeof text));
        for (int i = 0; i < step->n_in; i++)
            fprintf(stream, " %%%d", step->in[i]);
        if (step->storage >= 0)
            fprintf(stream, " -> %%%d", step->node);
        if (step->product)
            fprintf(stream, " by %s%s%s, m %zu, n %zu, k %zu", methods[step->product->method],
                    step->product->pack_a ? ", first packed" : "", step->product->pack_b ? ", second packed" : "",
                    step->product->m, step->product->n, step->product->k);
        for (int i = 0; step->group && i < step->group->n_links; i++) {
            const ad_link *link = &step->group->links[i];
            const ad_node *op = ad_node_of(plan->graph, link->node);
            fprintf(stream, "%s %%%d%s = %s", i ? ";" : ":", link->node, link->storage >= 0 ? "*" : "",
                    ad_op_name(op->op));
            for (int k = 0; k < op->n_in; k++)
                fprintf(stream, " %%%d", op->in[k]);
        }
        fprintf(stream, "\n");
    }
}
