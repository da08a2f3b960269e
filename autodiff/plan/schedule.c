/* schedule.c: from a graph to a list of steps.
 *
 * 1. Which nodes the outputs need, and which scales fold into a contraction's factor. 2. Steps in the order of the
 * nodes; coordinatewise nodes join the newest group of their domain that comes after all that they read. 3. Groups as
 * chains of loops. 4. Where outputs end up, and which products wait for ad_update. */
#include "autodiff/plan/steps.h"

#include <stdlib.h>

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

/* A change of strides whatever the input's layout; a reshape is one only for dense inputs. A sum over axes of one entry
 * each drops them. */
static bool is_view(const ad_graph *graph, const ad_node *node)
{
    switch (node->op) {
    case AD_IDENTITY:
    case AD_EXPAND:
    case AD_SLICE:
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_WINDOWS:
        return true;
    case AD_SUM:
        for (int i = 0; i < node->over.rank; i++)
            if (ad_axis_fixed(graph, node->over.axes[i]) != 1)
                return false;
        return true;
    default:
        return false;
    }
}

/* ---- 1: what is needed ---- */
static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* The nodes that the results need, by number: a plan of a part of a graph takes no more time than the part. */
static int find_live(ad_plan *plan, ad_error *error)
{
    bool *seen = ad_alloc((size_t)plan->n_nodes, sizeof *seen, "a plan", error);
    int n = 0;
    for (int i = 0; i < plan->n_results && seen; i++) {
        int id = plan->results[i].node;
        if (!seen[id])
            plan->live[n++] = id;
        seen[id] = true;
    }
    for (int at = 0; at < n; at++) {
        const ad_node *node = ad_node_of(plan->graph, plan->live[at]);
        for (int i = 0; i < node->n_in && !plan->given[plan->live[at]]; i++)
            if (!seen[node->in[i]]) {
                plan->live[n++] = node->in[i];
                seen[node->in[i]] = true;
            }
    }
    qsort(plan->live, (size_t)n, sizeof *plan->live, by_number);
    plan->n_live = n;
    bool made = seen != NULL;
    ad_free(seen);
    return made ? 0 : -1;
}

/* The node that stands for one: itself, or the first of its twins. */
static int first_twin(const ad_plan *plan, int id)
{
    return plan->parts[id].twin ? plan->parts[id].twin - 1 : id;
}

static bool is_twin(const ad_plan *plan, const ad_node *a, const ad_node *b)
{
    if (a->op != b->op || a->n_in != b->n_in || !ad_shape_equal(&a->shape, &b->shape))
        return false;
    for (int i = 0; i < a->n_in; i++)
        if (first_twin(plan, a->in[i]) != first_twin(plan, b->in[i]))
            return false;
    return true;
}

/* Sums, and coordinatewise ops of two, that are computed twice: the gradients of two biases of one sum. Of nodes with
 * the same first operand the newest is remembered. */
static int find_twins(ad_plan *plan, ad_error *error)
{
    int *newest = ad_alloc((size_t)plan->n_nodes, sizeof *newest, "a plan", error); /* by operand, from 1 on */
    for (int k = 0; k < plan->n_live && newest; k++) {
        int id = plan->live[k];
        const ad_node *node = ad_node_of(plan->graph, id);
        if (plan->given[id] || (node->op != AD_SUM && !ad_is_binary(node->op)))
            continue;
        int *other = &newest[first_twin(plan, node->in[0])];
        const ad_node *before = *other ? ad_node_of(plan->graph, *other - 1) : NULL;
        if (before && is_twin(plan, node, before) && ad_shape_equal(&node->over, &before->over))
            plan->parts[id].twin = *other;
        else
            *other = id + 1;
    }
    bool made = newest != NULL;
    ad_free(newest);
    return made ? 0 : -1;
}

static void find_uses(ad_plan *plan)
{
    for (int i = 0; i < plan->n_results; i++) {
        plan->parts[plan->results[i].node].uses++;
        plan->parts[plan->results[i].node].plain = true;
    }
    for (int k = plan->n_live - 1; k >= 0; k--) {
        int id = plan->live[k];
        ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        bool passes = is_view(plan->graph, node) || is_linear(node->op);
        if (!part->uses || plan->given[id])
            continue;
        if (part->twin) {
            plan->parts[part->twin - 1].uses++;
            plan->parts[part->twin - 1].plain |= part->plain;
            continue;
        }
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
    while (plan->parts[id].uses == 1 && is_view(plan->graph, ad_node_of(plan->graph, id)) && !plan->given[id] &&
           !plan->parts[id].twin)
        id = ad_node_of(plan->graph, id)->in[0];
    if (plan->given[id] || plan->parts[id].twin)
        return -1;
    if (plan->parts[id].uses == 1 && is_linear(ad_node_of(plan->graph, id)->op))
        return plan->parts[id].folded;
    return plan->parts[id].uses == 1 && takes_factor(ad_node_of(plan->graph, id)) ? id : -1;
}

/* ---- 2: steps ---- */
static ad_step *add_step(ad_plan *plan, ad_action action, int node)
{
    ad_step *step = &plan->steps[plan->n_steps++];
    *step = (ad_step){ .action = action, .node = node, .part = -1, .storage = -1, .packed = { -1, -1 } };
    return step;
}

static void reads(ad_step *step, int node)
{
    step->in[step->n_in++] = node;
}

/* The list that the newest group of a domain is in. */
static int *domain_list(ad_plan *plan, const ad_shape *domain)
{
    unsigned hash = 0;
    for (int i = 0; i < domain->rank; i++)
        hash = hash * 31 + (unsigned)domain->axes[i].id * 7 + (unsigned)domain->axes[i].prime;
    return &plan->domains[hash % AD_DOMAIN_LISTS];
}

/* The newest group of this domain if it comes after all inputs and has room; else a new one at the end. A group's
 * registers are as many as its operands: of any number of nodes some groups of a bounded size each. */
static int group_for(ad_plan *plan, int id, ad_error *error)
{
    enum { MOST_LINKS = 64 };
    const ad_node *node = ad_node_of(plan->graph, id);
    int earliest = 0, *list = domain_list(plan, &node->shape), *at = list;
    for (int i = 0; i < node->n_in; i++) {
        const ad_part *in = &plan->parts[node->in[i]];
        int after = in->kind == AD_PART_MEMBER ? in->step : in->step + 1;
        earliest = after > earliest ? after : earliest;
    }
    while (*at >= 0 && !ad_shape_equal(&plan->steps[*at].group->domain, &node->shape))
        at = &plan->steps[*at].group->older;
    if (*at >= earliest && plan->steps[*at].group->n_links < MOST_LINKS) {
        plan->steps[*at].group->n_links++;
        return *at;
    }
    ad_group *group = ad_plan_take(plan, 1, sizeof *group, error);
    if (!group)
        return -1;
    group->domain = node->shape;
    group->n_links = 1;
    if (*at >= 0) /* in the place of the one that was the newest */
        group->older = plan->steps[*at].group->older;
    else
        group->older = -1;
    *at = plan->n_steps;
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
        return ad_shape_equal(&node->shape, &in->shape);
    case AD_EXPAND:
    case AD_WINDOWS:
        return false;
    default:
        return true;
    }
}

static void make_view(ad_plan *plan, int id)
{
    const ad_node *node = ad_node_of(plan->graph, id);
    ad_part *part = &plan->parts[id];
    const ad_part *in = &plan->parts[part->twin ? part->twin - 1 : node->in[0]];
    part->kind = AD_PART_VIEW;
    part->base = in->base;
    part->step = in->step;
    part->storage = in->storage;
    part->dense = in->dense && (part->twin || stays_dense(node, ad_node_of(plan->graph, node->in[0])));
    part->whole = in->whole && part->dense && node->op != AD_SLICE;
}

/* An unslice that the steps before this are of and that another one alone reads is one with that: its steps are taken
 * back. */
static bool join_unslice(ad_plan *plan, int inner)
{
    ad_part *part = &plan->parts[inner];
    int last = plan->n_steps - 1;
    if (part->kind != AD_PART_RESULT || part->uses > 1 || ad_node_of(plan->graph, inner)->op != AD_UNSLICE ||
        last < 1 || plan->steps[last].node != inner)
        return false;
    part->kind = AD_PART_DEAD;
    part->storage = -1;
    plan->n_steps -= 2;
    return true;
}

/* What unslices that are joined begin with. */
static int unsliced(const ad_plan *plan, int id)
{
    while (plan->parts[id].kind == AD_PART_DEAD)
        id = ad_node_of(plan->graph, id)->in[0];
    return id;
}

static int make_result(ad_plan *plan, int id, ad_error *error)
{
    const ad_node *node = ad_node_of(plan->graph, id);
    ad_part *part = &plan->parts[id];
    int first = plan->n_steps;
    ad_step *step;
    part->kind = AD_PART_RESULT;
    part->storage = ad_plan_add_storage(plan, first, true);
    switch (node->op) {
    case AD_CONTRACT:
        step = add_step(plan, AD_DO_PRODUCT, id);
        reads(step, node->in[0]);
        reads(step, node->in[1]);
        if (!(step->product = ad_plan_take(plan, 1, sizeof *step->product, error)))
            return -1;
        break;
    case AD_SUM:
        reads(add_step(plan, AD_DO_SUM, id), node->in[0]);
        break;
    case AD_UNSLICE:
        first -= 2 * join_unslice(plan, node->in[0]);
        plan->storages[part->storage].first = plan->storages[part->storage].last = first;
        add_step(plan, AD_DO_ZERO, id);
        reads(add_step(plan, AD_DO_COPY, id), unsliced(plan, node->in[0]));
        break;
    case AD_UNWINDOWS:
        add_step(plan, AD_DO_ZERO, id);
        reads(add_step(plan, AD_DO_ADD, id), node->in[0]);
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
    for (int k = 0; k < plan->n_live; k++) {
        int id = plan->live[k];
        ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        *part = (ad_part){ .uses = part->uses,
                           .twin = part->twin,
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
            part->storage = ad_plan_add_storage(plan, -1, false);
            plan->leaves[plan->n_leaves++] = id;
        } else if (node->op == AD_CONSTANT) {
            part->kind = AD_PART_CONSTANT;
            part->dense = part->whole = node->shape.rank == 0;
            part->storage = ad_plan_add_storage(plan, -1, false);
            char *value = ad_plan_take(plan, 1, sizeof(double), error);
            if (!value)
                return -1;
            plan->loops->from_double(1, value, &(double){ node->c }, 1);
            plan->storages[part->storage].data = value;
        } else if (part->twin || is_view(plan->graph, node) ||
                   (node->op == AD_RESHAPE && plan->parts[node->in[0]].dense)) {
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

/* ---- 3: groups ---- */
/* A member with one input whose users are all in one later group moves there: one buffer is read, none written. Also
 * finds which members are used outside their group. */
static void sink(ad_plan *plan)
{
    for (int i = 0; i < plan->n_results; i++)
        plan->parts[plan->results[i].node].only = -2;
    for (int k = plan->n_live - 1; k >= 0; k--) {
        int id = plan->live[k];
        ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        if (!part->uses || plan->given[id])
            continue;
        if (part->kind == AD_PART_MEMBER && node->n_in == 1 && part->only > part->step)
            part->step = part->only;
        for (int i = 0; i < (part->twin ? 1 : node->n_in); i++) {
            ad_part *in = &plan->parts[part->twin ? part->twin - 1 : node->in[i]];
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
    int *last = ad_plan_take(plan, (size_t)group->n_links, sizeof *last, error);
    int *spare = ad_plan_take(plan, (size_t)group->n_links, sizeof *spare, error);
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

/* Counts the links of every group, and makes room for them and their operands. */
static int make_links(ad_plan *plan, ad_error *error)
{
    for (int s = 0; s < plan->n_steps; s++)
        if (plan->steps[s].group)
            plan->steps[s].group->n_links = 0;
    for (int k = 0; k < plan->n_live; k++)
        if (plan->parts[plan->live[k]].kind == AD_PART_MEMBER)
            plan->steps[plan->parts[plan->live[k]].step].group->n_links++;
    for (int s = 0; s < plan->n_steps; s++) {
        ad_group *group = plan->steps[s].group;
        if (!group)
            continue;
        group->operands = ad_plan_take(plan, 2 * (size_t)group->n_links, sizeof *group->operands, error);
        group->links = ad_plan_take(plan, (size_t)group->n_links, sizeof *group->links, error);
        if (!group->operands || !group->links)
            return -1;
        group->n_links = 0;
    }
    return 0;
}

static bool in_group(const ad_plan *plan, int node, int step)
{
    return plan->parts[node].kind == AD_PART_MEMBER && plan->parts[node].step == step;
}

/* The operands from outside come first among a group's slots. */
static void find_operands(ad_plan *plan)
{
    for (int k = 0; k < plan->n_live; k++) {
        int id = plan->live[k];
        const ad_part *part = &plan->parts[id];
        const ad_node *node = ad_node_of(plan->graph, id);
        for (int i = 0; part->kind == AD_PART_MEMBER && i < node->n_in; i++)
            if (!in_group(plan, node->in[i], part->step))
                operand_slot(plan->steps[part->step].group, node->in[i]);
    }
}

static void add_link(ad_plan *plan, int id)
{
    ad_part *part = &plan->parts[id];
    const ad_node *node = ad_node_of(plan->graph, id);
    ad_group *group = plan->steps[part->step].group;
    ad_link *link = &group->links[group->n_links];
    int slots[2];
    part->slot = group->n_operands + group->n_links++;
    for (int i = 0; i < 2; i++) {
        int from = node->in[i < node->n_in ? i : 0];
        slots[i] = in_group(plan, from, part->step) ? plan->parts[from].slot : operand_slot(group, from);
    }
    if (part->only != part->step)
        part->storage = ad_plan_add_storage(plan, part->step, true);
    *link = (ad_link){ .function = node->function,
                       .order = node->order,
                       .node = id,
                       .storage = part->storage,
                       .a = slots[0],
                       .b = slots[1],
                       .p = node->c,
                       .loop = node->op == AD_CUSTOM ? NULL
                                                     : plan->loops->op[node->op == AD_CONTRACT ? AD_MUL : node->op] };
}

static int fill_groups(ad_plan *plan, ad_error *error)
{
    if (make_links(plan, error) != 0)
        return -1;
    find_operands(plan);
    for (int k = 0; k < plan->n_live; k++)
        if (plan->parts[plan->live[k]].kind == AD_PART_MEMBER)
            add_link(plan, plan->live[k]);
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
    int *number = ad_plan_take(plan, (size_t)plan->n_steps, sizeof *number, error);
    int kept = 0;
    if (!number)
        return -1;
    for (int s = 0; s < plan->n_steps; s++) {
        number[s] = kept;
        if (!plan->steps[s].group || plan->steps[s].group->n_links)
            plan->steps[kept++] = plan->steps[s];
    }
    for (int k = 0; k < plan->n_live; k++)
        if (plan->parts[plan->live[k]].step >= 0)
            plan->parts[plan->live[k]].step = number[plan->parts[plan->live[k]].step];
    for (int i = 0; i < plan->n_storages; i++)
        if (plan->storages[i].first >= 0)
            plan->storages[i].first = plan->storages[i].last = number[plan->storages[i].first];
    plan->n_steps = kept;
    return 0;
}

/* ---- 4: outputs ---- */
/* An output is computed in its own buffer if it is all of one that no other output has; else it is copied there. */
static int place_results(ad_plan *plan, ad_error *error)
{
    bool *taken = ad_plan_take(plan, (size_t)plan->n_storages, sizeof *taken, error);
    for (int i = 0; taken && i < plan->n_results; i++) {
        ad_result *result = &plan->results[i];
        const ad_part *part = &plan->parts[result->node];
        const ad_part *base = &plan->parts[part->base];
        bool own = part->whole && (base->kind == AD_PART_MEMBER || base->kind == AD_PART_RESULT);
        result->storage = base->storage;
        if (own && !taken[base->storage]) {
            taken[base->storage] = true;
        } else {
            result->storage = ad_plan_add_storage(plan, plan->n_steps, true);
            ad_step *step = add_step(plan, AD_DO_COPY, result->node);
            step->storage = result->storage;
            reads(step, result->node);
        }
        plan->storages[result->storage].last = plan->steps_capacity; /* after all steps */
    }
    return taken ? 0 : -1;
}

/* Is an output the only one to see its base, perhaps through views and scales that the base has taken over? */
static bool sees_alone(const ad_plan *plan, int id)
{
    int base = plan->parts[id].base;
    while (id != base && plan->parts[id].uses == 1 && !plan->parts[id].twin)
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

/* The most steps that a node can become. */
static int most_steps(const ad_plan *plan, int id)
{
    const ad_node *node = ad_node_of(plan->graph, id);
    if (!plan->parts[id].uses || plan->given[id] || is_view(plan->graph, node))
        return 0;
    switch (node->op) {
    case AD_INPUT:
    case AD_PARAM:
    case AD_CONSTANT:
        return 0;
    case AD_CONCAT:
        return node->n_in;
    case AD_UNSLICE:
    case AD_UNWINDOWS:
    case AD_DELTA:
    case AD_SCATTER:
        return 2;
    default:
        return 1;
    }
}

/* The most steps and buffers that there can be: a buffer for every node, two packed operands for every step, and the
 * outputs' copies. */
static int reserve_steps(ad_plan *plan, ad_error *error)
{
    int nodes = 0;
    for (int k = 0; k < plan->n_live; k++) {
        int id = plan->live[k];
        nodes += plan->parts[id].uses > 0;
        plan->steps_capacity += most_steps(plan, id);
    }
    plan->steps_capacity += plan->n_results;
    size_t storages = (size_t)nodes + 2 * (size_t)plan->steps_capacity + (size_t)plan->n_results;
    plan->steps = ad_plan_take(plan, (size_t)plan->steps_capacity, sizeof *plan->steps, error);
    plan->storages = ad_plan_take(plan, storages, sizeof *plan->storages, error);
    return plan->steps && plan->storages ? 0 : -1;
}

/* Steps that loop over their operands themselves have nests. */
static int make_nests(ad_plan *plan, ad_error *error)
{
    for (int s = 0; s < plan->n_steps; s++) {
        ad_step *step = &plan->steps[s];
        bool loops = step->action != AD_DO_GROUP && step->action != AD_DO_PRODUCT && step->action != AD_DO_ZERO;
        if (loops && !(step->nests = ad_plan_take(plan, 1, sizeof *step->nests, error)))
            return -1;
    }
    return 0;
}

int ad_plan_schedule(ad_plan *plan, const ad_var *outputs, const ad_plan_spec *spec, ad_error *error)
{
    size_t nodes = (size_t)plan->n_nodes;
    plan->parts = ad_plan_take(plan, nodes, sizeof *plan->parts, error);
    plan->leaves = ad_plan_take(plan, nodes, sizeof *plan->leaves, error);
    plan->results = ad_plan_take(plan, (size_t)plan->n_results, sizeof *plan->results, error);
    plan->live = ad_plan_take(plan, nodes, sizeof *plan->live, error);
    plan->given = ad_plan_take(plan, nodes, sizeof *plan->given, error);
    if (!plan->parts || !plan->leaves || !plan->results || !plan->live || !plan->given)
        return -1;
    for (int i = 0; i < spec->n_given; i++)
        plan->given[spec->given[i].id] = true;
    for (int i = 0; i < plan->n_results; i++)
        plan->results[i] = (ad_result){ outputs[i].id, -1, -1 };
    for (int k = 0; k < AD_DOMAIN_LISTS; k++)
        plan->domains[k] = -1;
    if (find_live(plan, error) != 0 || find_twins(plan, error) != 0)
        return -1;
    find_uses(plan);
    if (reserve_steps(plan, error) != 0 || make_steps(plan, error) != 0)
        return -1;
    sink(plan);
    if (fill_groups(plan, error) != 0 || drop_empty(plan, error) != 0 || place_results(plan, error) != 0)
        return -1;
    defer_updates(plan, spec->updates);
    return make_nests(plan, error);
}
