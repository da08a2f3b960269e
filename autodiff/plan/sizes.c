/* sizes.c: the sizes of a run turned into strides, offsets and loops; again only when a run asks for other sizes. */
#include "autodiff/plan/steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t size_of(const ad_plan *plan, ad_axis axis)
{
    return ad_axis_size(plan->graph, axis, &plan->sizes);
}

static double factor_of(const ad_plan *plan, const ad_node *node)
{
    if (node->op != AD_SCALE)
        return node->op == AD_NEG ? -1 : 1;
    return node->axis.id ? node->c * pow((double)size_of(plan, node->axis), node->power) : node->c;
}

static int check_sizes(ad_plan *plan, const ad_sizes *sizes, ad_error *error)
{
    if (sizes->n != plan->capacity.n)
        return ad_fail(error, "run: n is %zu, the plan is for %zu", sizes->n, plan->capacity.n);
    for (int k = 0; k < plan->n_live; k++) {
        int id = plan->live[k];
        const ad_node *node = ad_node_of(plan->graph, id);
        if (plan->parts[id].kind == AD_PART_DEAD)
            continue;
        for (int i = 0; i < node->shape.rank; i++) {
            ad_axis axis = node->shape.axes[i];
            size_t size = ad_axis_size(plan->graph, axis, sizes);
            size_t capacity = ad_axis_size(plan->graph, axis, &plan->capacity);
            if (size == 0)
                return ad_fail(error, "run: axis %s is not bound to a size above 0 (used at %s:%d)",
                               ad_axis_name(plan->graph, axis), node->where.file, node->where.line);
            if (size > capacity)
                return ad_fail(error, "run: axis %s has size %zu, the plan is for at most %zu",
                               ad_axis_name(plan->graph, axis), size, capacity);
        }
    }
    return 0;
}

static ptrdiff_t stride_in(const ad_plan *plan, int id, ad_axis axis)
{
    int at = ad_shape_position(&ad_node_of(plan->graph, id)->shape, axis);
    return at < 0 ? 0 : plan->parts[id].stride[at];
}

static void row_major(const ad_plan *plan, const ad_shape *shape, ptrdiff_t *stride)
{
    ptrdiff_t step = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= (ptrdiff_t)size_of(plan, shape->axes[i]);
    }
}

static int mismatch(const ad_node *node, ad_error *error)
{
    return ad_fail(error, "%s:%d: %s: the sizes of its axes do not fit in this run", node->where.file, node->where.line,
                   ad_op_name(node->op));
}

/* Sizes that only a run knows: a relabelled axis keeps its size, a slice lies within. */
static int check_node(const ad_plan *plan, const ad_node *node, ad_error *error)
{
    switch (node->op) {
    case AD_RELABEL:
    case AD_DELTA:
        return size_of(plan, node->axis) == size_of(plan, node->axis2) ? 0 : mismatch(node, error);
    case AD_SLICE:
        return node->start + (node->axis2.id ? size_of(plan, node->axis2) : 1) <= size_of(plan, node->axis)
                   ? 0
                   : mismatch(node, error);
    case AD_UNSLICE:
        return node->start + (node->axis.id ? size_of(plan, node->axis) : 1) <= size_of(plan, node->axis2)
                   ? 0
                   : mismatch(node, error);
    case AD_RESHAPE:
        return ad_elements(plan->graph, &node->shape, &plan->sizes) ==
                       ad_elements(plan->graph, &ad_node_of(plan->graph, node->in[0])->shape, &plan->sizes)
                   ? 0
                   : mismatch(node, error);
    default:
        return 0;
    }
}

static void size_part(ad_plan *plan, int id)
{
    const ad_node *node = ad_node_of(plan->graph, id);
    ad_part *part = &plan->parts[id];
    part->factor = 1;
    part->offset = 0;
    if (part->kind == AD_PART_CONSTANT) {
        memset(part->stride, 0, sizeof part->stride);
        return;
    }
    if (part->kind != AD_PART_VIEW) {
        row_major(plan, &node->shape, part->stride);
        return;
    }
    int from = part->twin ? part->twin - 1 : node->in[0];
    const ad_part *in = &plan->parts[from];
    part->offset = in->offset;
    part->factor = in->factor;
    if (node->op == AD_RESHAPE) {
        row_major(plan, &node->shape, part->stride);
        return;
    }
    if (part->twin) {
        memcpy(part->stride, in->stride, sizeof part->stride);
        return;
    }
    if ((node->op == AD_SCALE || node->op == AD_NEG) && part->folded < 0)
        part->factor *= factor_of(plan, node);
    for (int i = 0; i < node->shape.rank; i++) {
        ad_axis axis = node->shape.axes[i];
        bool windows = node->op == AD_WINDOWS;
        bool renamed = (windows || node->op == AD_RELABEL || node->op == AD_SLICE) && ad_same(axis, node->axis2);
        bool within = windows && ad_same(axis, node->axis3);
        part->stride[i] = stride_in(plan, from, renamed || within ? node->axis : axis);
        if (windows && renamed)
            part->stride[i] *= (ptrdiff_t)node->stride;
        if (within)
            part->stride[i] *= node->dilation;
    }
    if (node->op == AD_SLICE || node->op == AD_WINDOWS)
        part->offset += (ptrdiff_t)node->start * stride_in(plan, from, node->axis);
}

static void size_group(ad_plan *plan, ad_group *group)
{
    const ad_shape *domain = &group->domain;
    int rank = 0;
    for (int o = 0; o < group->n_operands; o++)
        group->operands[o].offset = plan->parts[group->operands[o].node].offset;
    for (int i = 0; i < domain->rank; i++) {
        size_t size = size_of(plan, domain->axes[i]);
        bool joins = rank > 0;
        if (size == 1)
            continue;
        for (int o = 0; o < group->n_operands && joins; o++)
            joins = group->operands[o].stride[rank - 1] ==
                    stride_in(plan, group->operands[o].node, domain->axes[i]) * (ptrdiff_t)size;
        int to = joins ? rank - 1 : rank++;
        group->size[to] = joins ? group->size[to] * size : size;
        for (int o = 0; o < group->n_operands; o++)
            group->operands[o].stride[to] = stride_in(plan, group->operands[o].node, domain->axes[i]);
    }
    if (rank == 0) {
        group->size[rank++] = 1;
        for (int o = 0; o < group->n_operands; o++)
            group->operands[o].stride[0] = 0;
    }
    group->rank = group->split = rank;
    group->inner = 1;
    while (group->split > 1 && group->inner * group->size[group->split - 1] <= AD_BLOCK)
        group->inner *= group->size[--group->split];
    size_t limit = AD_BLOCK / group->inner, size = group->size[group->split - 1];
    group->chunk = size < limit ? size : limit;
    group->n_blocks = (size + group->chunk - 1) / group->chunk;
    group->total = size * group->inner;
    for (int i = 0; i < group->split - 1; i++) {
        group->n_blocks *= group->size[i];
        group->total *= group->size[i];
    }
    for (int o = 0; o < group->n_operands; o++) {
        ad_operand *operand = &group->operands[o];
        ptrdiff_t step = 1;
        operand->direct = true;
        for (int i = rank - 1; i >= group->split - 1; i--) {
            operand->direct = operand->direct && (operand->stride[i] == step || group->size[i] == 1 ||
                                                  (i == group->split - 1 && group->chunk == 1));
            step *= (ptrdiff_t)group->size[i];
        }
        operand->steady = !operand->direct;
        for (int i = 0; i < group->split; i++)
            operand->steady = operand->steady && operand->stride[i] == 0;
    }
    for (int i = 0; i < group->n_links; i++) {
        const ad_node *node = ad_node_of(plan->graph, group->links[i].node);
        if (node->op == AD_SCALE)
            group->links[i].p = factor_of(plan, node);
    }
}

static void size_product(ad_plan *plan, ad_step *step, const ad_node *node)
{
    ad_product_axis axes[2 * AD_MAX_RANK];
    int n = 0;
    const ad_shape *a = &ad_node_of(plan->graph, step->in[0])->shape, *b = &ad_node_of(plan->graph, step->in[1])->shape;
    for (int i = 0; i < a->rank + b->rank; i++) {
        ad_axis axis = i < a->rank ? a->axes[i] : b->axes[i - a->rank];
        bool in_a = i < a->rank;
        if (!in_a && ad_shape_position(a, axis) >= 0)
            continue;
        int out = ad_shape_position(&node->shape, axis);
        axes[n++] = (ad_product_axis){ .size = size_of(plan, axis),
                                       .in_a = in_a,
                                       .in_b = ad_shape_position(b, axis) >= 0,
                                       .in_c = out >= 0,
                                       .a = stride_in(plan, step->in[0], axis),
                                       .b = stride_in(plan, step->in[1], axis),
                                       .c = out >= 0 ? plan->parts[step->node].stride[out] : 0 };
    }
    size_t capacity[2];
    for (int i = 0; i < 2; i++)
        capacity[i] = !plan->planned        ? SIZE_MAX
                      : step->packed[i] < 0 ? 0
                                            : plan->storages[step->packed[i]].bytes / plan->element;
    ad_product_size(step->product, n, axes, capacity[0], capacity[1]);
    step->alpha = plan->parts[step->node].post * plan->parts[step->in[0]].factor * plan->parts[step->in[1]].factor;
}

static void size_sum(ad_plan *plan, ad_step *step, const ad_node *node)
{
    const ad_shape *shape = &ad_node_of(plan->graph, step->in[0])->shape;
    step->nests->outer.rank = step->nests->inner.rank = 0;
    for (int i = 0; i < node->shape.rank; i++)
        ad_nest_add(&step->nests->outer, size_of(plan, node->shape.axes[i]), plan->parts[step->node].stride[i],
                    stride_in(plan, step->in[0], node->shape.axes[i]), 0);
    for (int i = 0; i < shape->rank; i++)
        if (ad_shape_position(&node->shape, shape->axes[i]) < 0)
            ad_nest_add(&step->nests->inner, size_of(plan, shape->axes[i]), 0, plan->parts[step->in[0]].stride[i], 0);
    ad_nest *inner = &step->nests->inner;
    for (int i = 1; i < inner->rank; i++) /* largest stride outermost */
        for (int k = i; k > 0 && inner->stride[1][k] > inner->stride[1][k - 1]; k--) {
            size_t size = inner->size[k];
            ptrdiff_t stride = inner->stride[1][k];
            inner->size[k] = inner->size[k - 1];
            inner->stride[1][k] = inner->stride[1][k - 1];
            inner->size[k - 1] = size;
            inner->stride[1][k - 1] = stride;
        }
    ad_nest_collapse(&step->nests->outer, 2);
    ad_nest_collapse(inner, 2);
    step->alpha = plan->parts[step->node].post * plan->parts[step->in[0]].factor;
}

/* Where part number `part` of a concat begins along the new axis. */
static size_t part_start(const ad_plan *plan, const ad_node *node, int part)
{
    size_t start = 0;
    for (int i = 0; i < part; i++)
        start += node->part_axes[i].id ? size_of(plan, node->part_axes[i]) : 1;
    return start;
}

/* What the axis of an unslice is called in the source of all that are one step, and where that begins. */
static size_t find_inside(const ad_plan *plan, int id, int source, ad_axis *axis)
{
    size_t start = 0;
    for (; id != source; id = ad_node_of(plan->graph, id)->in[0]) {
        const ad_node *node = ad_node_of(plan->graph, id);
        if (ad_same(*axis, node->axis2)) {
            start += node->start;
            *axis = node->axis;
        }
    }
    return start;
}

/* A whole copy, a part of a concat, or an unslice: loops over the source's axes, and those it is repeated along. */
static void size_copy(ad_plan *plan, ad_step *step, const ad_node *node)
{
    ptrdiff_t out[AD_MAX_RANK];
    int from = step->in[0];
    bool to_output = from == step->node;
    const ad_shape *source = &ad_node_of(plan->graph, from)->shape;
    row_major(plan, &node->shape, out);
    step->nests->outer.rank = 0;
    step->offset_out = 0;
    if (!to_output && node->op == AD_RESHAPE) { /* row-major order of the source */
        row_major(plan, source, out);
        for (int i = 0; i < source->rank; i++)
            ad_nest_add(&step->nests->outer, size_of(plan, source->axes[i]), out[i], plan->parts[from].stride[i], 0);
    } else {
        for (int i = 0; i < node->shape.rank; i++) {
            ad_axis axis = node->shape.axes[i];
            if (!to_output && node->op == AD_CONCAT && ad_same(axis, node->axis)) {
                step->offset_out += (ptrdiff_t)part_start(plan, node, step->part) * out[i];
                axis = node->part_axes[step->part];
            } else if (!to_output && node->op == AD_UNSLICE) {
                step->offset_out += (ptrdiff_t)find_inside(plan, step->node, from, &axis) * out[i];
            }
            if (axis.id)
                ad_nest_add(&step->nests->outer, size_of(plan, axis), out[i], stride_in(plan, from, axis), 0);
        }
    }
    ad_nest_collapse(&step->nests->outer, 2);
}

/* Neighbours in the result stand in the innermost loop. */
static void longest_stride_first(ad_nest *nest)
{
    for (int i = 1; i < nest->rank; i++)
        for (int k = i; k > 0 && labs(nest->stride[0][k]) > labs(nest->stride[0][k - 1]); k--) {
            ad_nest old = *nest;
            nest->size[k] = old.size[k - 1];
            nest->size[k - 1] = old.size[k];
            for (int o = 0; o < 2; o++) {
                nest->stride[o][k] = old.stride[o][k - 1];
                nest->stride[o][k - 1] = old.stride[o][k];
            }
        }
}

/* Loops over the axes of windows, to where each entry lies in the whole. */
static void size_add(ad_plan *plan, ad_step *step, const ad_node *node)
{
    const ad_shape *source = &ad_node_of(plan->graph, step->in[0])->shape;
    ptrdiff_t along = stride_in(plan, step->node, node->axis);
    step->nests->outer.rank = 0;
    step->offset_out = (ptrdiff_t)node->start * along;
    for (int i = 0; i < source->rank; i++) {
        ad_axis axis = source->axes[i];
        ptrdiff_t out = ad_same(axis, node->axis2)   ? along * (ptrdiff_t)node->stride
                        : ad_same(axis, node->axis3) ? along * node->dilation
                                                     : stride_in(plan, step->node, axis);
        ad_nest_add(&step->nests->outer, size_of(plan, axis), out, plan->parts[step->in[0]].stride[i], 0);
    }
    longest_stride_first(&step->nests->outer);
    ad_nest_collapse(&step->nests->outer, 2);
}

/* Gather loops over the result's axes, scatter over those of x; the strides along the picked axis stay apart. */
static void size_pick(ad_plan *plan, ad_step *step, const ad_node *node)
{
    bool gather = node->op == AD_GATHER;
    const ad_shape *domain = gather ? &node->shape : &ad_node_of(plan->graph, step->in[0])->shape;
    step->nests->outer.rank = 0;
    for (int i = 0; i < domain->rank; i++) {
        ad_axis axis = domain->axes[i];
        bool picked = ad_same(axis, node->axis);
        int out = ad_shape_position(&node->shape, axis);
        ad_nest_add(&step->nests->outer, size_of(plan, axis),
                    out < 0 || (!gather && picked) ? 0 : plan->parts[step->node].stride[out],
                    gather && picked ? 0 : stride_in(plan, step->in[0], axis), stride_in(plan, step->in[1], axis));
    }
    ad_nest_collapse(&step->nests->outer, 3);
    step->length = size_of(plan, node->axis);
    step->along = gather ? stride_in(plan, step->in[0], node->axis) : 0;
    step->along_out = gather ? 0 : stride_in(plan, step->node, node->axis);
}

static void size_rows(ad_plan *plan, ad_step *step, const ad_node *node)
{
    const ad_shape *shape = &ad_node_of(plan->graph, step->in[0])->shape;
    step->nests->outer.rank = 0;
    for (int i = 0; i < shape->rank; i++)
        if (!ad_same(shape->axes[i], node->axis))
            ad_nest_add(&step->nests->outer, size_of(plan, shape->axes[i]), stride_in(plan, step->node, shape->axes[i]),
                        plan->parts[step->in[0]].stride[i], 0);
    ad_nest_collapse(&step->nests->outer, 2);
    step->length = size_of(plan, node->axis);
    step->along = stride_in(plan, step->in[0], node->axis);
    step->along_out = stride_in(plan, step->node, node->axis);
    if (!plan->planned && step->length > plan->longest_row)
        plan->longest_row = step->length;
}

int ad_plan_size(ad_plan *plan, const ad_sizes *sizes, ad_error *error)
{
    plan->sized = false;
    if (check_sizes(plan, sizes, error) != 0)
        return -1;
    plan->sizes = *sizes;
    for (int k = 0; k < plan->n_live; k++)
        if (plan->parts[plan->live[k]].kind != AD_PART_DEAD &&
            check_node(plan, ad_node_of(plan->graph, plan->live[k]), error) != 0)
            return -1;
    for (int k = 0; k < plan->n_live; k++)
        plan->parts[plan->live[k]].post = 1;
    for (int k = 0; k < plan->n_live; k++) {
        int id = plan->live[k];
        ad_part *part = &plan->parts[id];
        if (part->kind == AD_PART_DEAD)
            continue;
        size_part(plan, id);
        if (part->kind == AD_PART_VIEW && part->folded >= 0)
            plan->parts[part->folded].post *= factor_of(plan, ad_node_of(plan->graph, id));
    }
    for (int s = 0; s < plan->n_steps; s++) {
        ad_step *step = &plan->steps[s];
        const ad_node *node = ad_node_of(plan->graph, step->node);
        for (int i = 0; i < step->n_in; i++)
            step->offset[i] = plan->parts[step->in[i]].offset;
        switch (step->action) {
        case AD_DO_GROUP:
            size_group(plan, step->group);
            break;
        case AD_DO_PRODUCT:
            size_product(plan, step, node);
            break;
        case AD_DO_SUM:
            size_sum(plan, step, node);
            break;
        case AD_DO_COPY:
            size_copy(plan, step, node);
            break;
        case AD_DO_ADD:
            size_add(plan, step, node);
            break;
        case AD_DO_ZERO:
            step->count = ad_elements(plan->graph, &node->shape, &plan->sizes);
            break;
        case AD_DO_DELTA:
            step->length = size_of(plan, node->axis);
            step->along_out = stride_in(plan, step->node, node->axis) + stride_in(plan, step->node, node->axis2);
            break;
        case AD_DO_GATHER:
        case AD_DO_SCATTER:
            size_pick(plan, step, node);
            break;
        case AD_DO_ROWS:
            size_rows(plan, step, node);
            break;
        }
    }
    plan->sized = true;
    return 0;
}
