/* run.c: binds sizes to a plan, and runs its steps. Nothing here allocates.
 *
 * Sizing turns axes into strides once, and again only when a run asks for other sizes; running is a walk over an array
 * of steps. */
#include "autodiff/plan/plan.h"

#include <math.h>
#include <string.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

/* Elements times ops above which a step is shared among threads. */
static const double worth_threads = 1 << 17;

/* ---- nests ---- */
void ad_nest_collapse(ad_nest *nest, int operands)
{
    int kept = 0;
    for (int i = 0; i < nest->rank; i++) {
        if (nest->size[i] == 1)
            continue;
        bool joins = kept > 0;
        for (int o = 0; joins && o < operands; o++)
            joins = nest->stride[o][kept - 1] == nest->stride[o][i] * (ptrdiff_t)nest->size[i];
        int to = joins ? kept - 1 : kept++;
        nest->size[to] = joins ? nest->size[to] * nest->size[i] : nest->size[i];
        for (int o = 0; o < operands; o++)
            nest->stride[o][to] = nest->stride[o][i];
    }
    nest->rank = kept;
}

static size_t nest_turns(const ad_nest *nest, int rank)
{
    size_t turns = 1;
    for (int i = 0; i < rank; i++)
        turns *= nest->size[i];
    return turns;
}

/* Offsets of turn number `turn` of the first `rank` loops. */
static void nest_seek(const ad_nest *nest, int rank, size_t turn, ptrdiff_t at[3])
{
    at[0] = at[1] = at[2] = 0;
    for (int i = rank - 1; i >= 0; i--) {
        ptrdiff_t index = (ptrdiff_t)(turn % nest->size[i]);
        turn /= nest->size[i];
        for (int o = 0; o < 3; o++)
            at[o] += index * nest->stride[o][i];
    }
}

/* The next turn of the first `rank` loops, by adding to the offsets. */
static void nest_next(const ad_nest *nest, int rank, size_t index[AD_MAX_LOOPS], ptrdiff_t at[3])
{
    for (int i = rank - 1; i >= 0; i--) {
        for (int o = 0; o < 3; o++)
            at[o] += nest->stride[o][i];
        if (++index[i] < nest->size[i])
            return;
        index[i] = 0;
        for (int o = 0; o < 3; o++)
            at[o] -= nest->stride[o][i] * (ptrdiff_t)nest->size[i];
    }
}

static void nest_add(ad_nest *nest, size_t size, ptrdiff_t out, ptrdiff_t a, ptrdiff_t b)
{
    int i = nest->rank++;
    nest->size[i] = size;
    nest->stride[0][i] = out;
    nest->stride[1][i] = a;
    nest->stride[2][i] = b;
}

/* ---- sizing ---- */
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
    for (int id = 0; id < plan->n_nodes; id++) {
        const ad_node *node = ad_node_of(plan->graph, id);
        if (plan->parts[id].kind == AD_PART_DEAD)
            continue;
        for (int i = 0; i < node->shape.rank; i++) {
            ad_axis axis = node->shape.axes[i];
            size_t size = ad_axis_size(plan->graph, axis, sizes);
            size_t most = ad_axis_size(plan->graph, axis, &plan->capacity);
            if (size == 0)
                return ad_fail(error, "run: axis %s is not bound to a size above 0 (used at %s:%d)",
                               ad_axis_name(plan->graph, axis), node->where.file, node->where.line);
            if (size > most)
                return ad_fail(error, "run: axis %s has size %zu, the plan is for at most %zu",
                               ad_axis_name(plan->graph, axis), size, most);
        }
    }
    return 0;
}

static ptrdiff_t stride_in(const ad_plan *plan, int id, ad_axis axis)
{
    int at = ad_axis_at(&ad_node_of(plan->graph, id)->shape, axis);
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
    int from = node->in[0];
    const ad_part *in = &plan->parts[from];
    part->offset = in->offset;
    part->factor = in->factor;
    if (node->op == AD_RESHAPE) {
        row_major(plan, &node->shape, part->stride);
        return;
    }
    if ((node->op == AD_SCALE || node->op == AD_NEG) && part->folded < 0)
        part->factor *= factor_of(plan, node);
    for (int i = 0; i < node->shape.rank; i++) {
        ad_axis axis = node->shape.axes[i];
        bool renamed = (node->op == AD_RELABEL || node->op == AD_SLICE) && ad_same(axis, node->axis2);
        part->stride[i] = stride_in(plan, from, renamed ? node->axis : axis);
    }
    if (node->op == AD_SLICE)
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
    size_t most = AD_BLOCK / group->inner, size = group->size[group->split - 1];
    group->chunk = size < most ? size : most;
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
        if (!in_a && ad_axis_at(a, axis) >= 0)
            continue;
        int out = ad_axis_at(&node->shape, axis);
        axes[n++] = (ad_product_axis){ .size = size_of(plan, axis),
                                       .in_a = in_a,
                                       .in_b = ad_axis_at(b, axis) >= 0,
                                       .in_c = out >= 0,
                                       .a = stride_in(plan, step->in[0], axis),
                                       .b = stride_in(plan, step->in[1], axis),
                                       .c = out >= 0 ? plan->parts[step->node].stride[out] : 0 };
    }
    size_t room[2];
    for (int i = 0; i < 2; i++)
        room[i] = !plan->planned      ? SIZE_MAX
                  : step->room[i] < 0 ? 0
                                      : plan->storages[step->room[i]].bytes / plan->element;
    ad_product_size(step->product, n, axes, room[0], room[1]);
    step->alpha = plan->parts[step->node].post * plan->parts[step->in[0]].factor * plan->parts[step->in[1]].factor;
}

static void size_sum(ad_plan *plan, ad_step *step, const ad_node *node)
{
    const ad_shape *shape = &ad_node_of(plan->graph, step->in[0])->shape;
    step->nest.rank = step->inner.rank = 0;
    for (int i = 0; i < node->shape.rank; i++)
        nest_add(&step->nest, size_of(plan, node->shape.axes[i]), plan->parts[step->node].stride[i],
                 stride_in(plan, step->in[0], node->shape.axes[i]), 0);
    for (int i = 0; i < shape->rank; i++)
        if (ad_axis_at(&node->shape, shape->axes[i]) < 0)
            nest_add(&step->inner, size_of(plan, shape->axes[i]), 0, plan->parts[step->in[0]].stride[i], 0);
    ad_nest *inner = &step->inner;
    for (int i = 1; i < inner->rank; i++) /* largest stride outermost */
        for (int k = i; k > 0 && inner->stride[1][k] > inner->stride[1][k - 1]; k--) {
            size_t size = inner->size[k];
            ptrdiff_t stride = inner->stride[1][k];
            inner->size[k] = inner->size[k - 1];
            inner->stride[1][k] = inner->stride[1][k - 1];
            inner->size[k - 1] = size;
            inner->stride[1][k - 1] = stride;
        }
    ad_nest_collapse(&step->nest, 2);
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

/* A whole copy, a part of a concat, or an unslice: loops over the source's axes, and those it is repeated along. */
static void size_copy(ad_plan *plan, ad_step *step, const ad_node *node)
{
    ptrdiff_t out[AD_MAX_RANK];
    int from = step->in[0];
    bool to_output = from == step->node;
    const ad_shape *source = &ad_node_of(plan->graph, from)->shape;
    row_major(plan, &node->shape, out);
    step->nest.rank = 0;
    step->offset_out = 0;
    if (!to_output && node->op == AD_RESHAPE) { /* row-major order of the source */
        row_major(plan, source, out);
        for (int i = 0; i < source->rank; i++)
            nest_add(&step->nest, size_of(plan, source->axes[i]), out[i], plan->parts[from].stride[i], 0);
    } else {
        ad_axis inside = { 0, 0 }, across = { 0, 0 };
        size_t start = 0;
        if (!to_output && node->op == AD_CONCAT) {
            inside = node->part_axes[step->part];
            across = node->axis;
            start = part_start(plan, node, step->part);
        } else if (!to_output && node->op == AD_UNSLICE) {
            inside = node->axis;
            across = node->axis2;
            start = node->start;
        }
        for (int i = 0; i < node->shape.rank; i++) {
            ad_axis axis = node->shape.axes[i];
            if (across.id && ad_same(axis, across)) {
                step->offset_out += (ptrdiff_t)start * out[i];
                if (inside.id)
                    nest_add(&step->nest, size_of(plan, inside), out[i], stride_in(plan, from, inside), 0);
            } else {
                nest_add(&step->nest, size_of(plan, axis), out[i], stride_in(plan, from, axis), 0);
            }
        }
    }
    ad_nest_collapse(&step->nest, 2);
}

/* Gather loops over the result's axes, scatter over those of x; the strides along the picked axis stay apart. */
static void size_pick(ad_plan *plan, ad_step *step, const ad_node *node)
{
    bool gather = node->op == AD_GATHER;
    const ad_shape *domain = gather ? &node->shape : &ad_node_of(plan->graph, step->in[0])->shape;
    step->nest.rank = 0;
    for (int i = 0; i < domain->rank; i++) {
        ad_axis axis = domain->axes[i];
        bool picked = ad_same(axis, node->axis);
        int out = ad_axis_at(&node->shape, axis);
        nest_add(&step->nest, size_of(plan, axis),
                 out < 0 || (!gather && picked) ? 0 : plan->parts[step->node].stride[out],
                 gather && picked ? 0 : stride_in(plan, step->in[0], axis), stride_in(plan, step->in[1], axis));
    }
    ad_nest_collapse(&step->nest, 3);
    step->length = size_of(plan, node->axis);
    step->along = gather ? stride_in(plan, step->in[0], node->axis) : 0;
    step->along_out = gather ? 0 : stride_in(plan, step->node, node->axis);
}

static void size_rows(ad_plan *plan, ad_step *step, const ad_node *node)
{
    const ad_shape *shape = &ad_node_of(plan->graph, step->in[0])->shape;
    step->nest.rank = 0;
    for (int i = 0; i < shape->rank; i++)
        if (!ad_same(shape->axes[i], node->axis))
            nest_add(&step->nest, size_of(plan, shape->axes[i]), stride_in(plan, step->node, shape->axes[i]),
                     plan->parts[step->in[0]].stride[i], 0);
    ad_nest_collapse(&step->nest, 2);
    step->length = size_of(plan, node->axis);
    step->along = stride_in(plan, step->in[0], node->axis);
    step->along_out = stride_in(plan, step->node, node->axis);
    if (!plan->planned && step->length > plan->row_room)
        plan->row_room = step->length;
}

int ad_plan_size(ad_plan *plan, const ad_sizes *sizes, ad_error *error)
{
    plan->sized = false;
    if (check_sizes(plan, sizes, error) != 0)
        return -1;
    plan->sizes = *sizes;
    for (int id = 0; id < plan->n_nodes; id++)
        if (plan->parts[id].kind != AD_PART_DEAD && check_node(plan, ad_node_of(plan->graph, id), error) != 0)
            return -1;
    for (int id = 0; id < plan->n_nodes; id++)
        plan->parts[id].post = 1;
    for (int id = 0; id < plan->n_nodes; id++) {
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

/* ---- steps ---- */
static char *place(const ad_plan *plan, int storage, ptrdiff_t offset)
{
    return plan->storages[storage].data + offset * (ptrdiff_t)plan->element;
}

static char *operand_place(const ad_plan *plan, const ad_step *step, int i)
{
    return place(plan, plan->parts[step->in[i]].storage, step->offset[i]);
}

static int threads_for(const ad_plan *plan, double work, size_t pieces)
{
    size_t threads = work < worth_threads ? 1 : (size_t)plan->threads;
    return (int)(threads < pieces ? threads : pieces);
}

/* An operand's block, made contiguous in its register. */
static void fetch(const ad_plan *plan, const ad_group *group, const ad_operand *operand, const char *from, size_t rows,
                  char *to)
{
    const size_t *size = group->size + group->split - 1; /* size[0] is cut to `rows` */
    const ptrdiff_t *stride = operand->stride + group->split - 1;
    int last = group->rank - group->split;
    size_t index[AD_MAX_RANK] = { 0 }, width = last ? size[last] : rows, count = rows * group->inner;
    ptrdiff_t at = 0, e = (ptrdiff_t)plan->element;
    for (size_t done = 0; done < count; done += width) {
        plan->loops->copy(width, to + done * plan->element, 1, from + at * e, stride[last]);
        for (int i = last - 1; i >= 0; i--) {
            at += stride[i];
            if (i == 0 || ++index[i] < size[i])
                break;
            index[i] = 0;
            at -= stride[i] * (ptrdiff_t)size[i];
        }
    }
}

/* A user's function sees blocks of doubles. */
static void call_function(const ad_plan *plan, const ad_link *link, size_t count, char *room, void *y, const void *a)
{
    double *x = (double *)(void *)room, *value = x + AD_BLOCK;
    plan->loops->to_double(count, x, a);
    link->function->derivatives[link->order](count, x, value);
    plan->loops->from_double(count, y, value, 1);
}

static void run_blocks(const ad_plan *plan, const ad_group *group, char *scratch, size_t first, size_t last)
{
    char **slot = (char **)(void *)(scratch + (size_t)plan->registers * AD_BLOCK * plan->element);
    size_t width = AD_BLOCK * plan->element, e = plan->element;
    size_t size = group->size[group->split - 1], chunks = (size + group->chunk - 1) / group->chunk;
    for (int o = 0; o < group->n_operands; o++) {
        const ad_operand *operand = &group->operands[o];
        slot[o] = scratch + (size_t)o * width;
        if (operand->steady)
            fetch(plan, group, operand, place(plan, operand->storage, operand->offset), group->chunk, slot[o]);
    }
    for (size_t block = first; block < last; block++) {
        size_t outer = block / chunks, start = block % chunks * group->chunk;
        size_t rows = size - start < group->chunk ? size - start : group->chunk;
        size_t count = rows * group->inner, offset = (outer * size + start) * group->inner;
        for (int o = 0; o < group->n_operands; o++) {
            const ad_operand *operand = &group->operands[o];
            ptrdiff_t at = operand->offset + (ptrdiff_t)start * operand->stride[group->split - 1];
            size_t rest = outer;
            if (operand->steady)
                continue;
            for (int i = group->split - 2; i >= 0; i--) {
                at += (ptrdiff_t)(rest % group->size[i]) * operand->stride[i];
                rest /= group->size[i];
            }
            if (operand->direct)
                slot[o] = place(plan, operand->storage, at);
            else
                fetch(plan, group, operand, place(plan, operand->storage, at), rows, slot[o]);
        }
        char **results = slot + group->n_operands;
        for (int l = 0; l < group->n_links; l++) {
            const ad_link *link = &group->links[l];
            results[l] = link->storage >= 0 ? plan->storages[link->storage].data + offset * e
                                            : scratch + (size_t)link->reg * width;
            if (link->loop)
                link->loop(count, results[l], slot[link->a], slot[link->b], link->p);
            else
                call_function(plan, link, count, scratch + (size_t)group->n_registers * width, results[l],
                              slot[link->a]);
        }
    }
}

static void run_group(const ad_plan *plan, const ad_group *group)
{
    int threads = threads_for(plan, (double)group->total * group->n_links, group->n_blocks);
    if (threads <= 1) {
        run_blocks(plan, group, plan->scratch, 0, group->n_blocks);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        run_blocks(plan, group, plan->scratch + (size_t)t * plan->scratch_bytes,
                   group->n_blocks * (size_t)t / (size_t)threads, group->n_blocks * (size_t)(t + 1) / (size_t)threads);
}

/* Sums in double. If neighbours in memory are summed, row by row; if they are kept, whole rows are added up. */
static void sum_rows(const ad_plan *plan, const ad_step *step, size_t first, size_t last)
{
    const ad_nest *in = &step->inner;
    const char *x = operand_place(plan, step, 0);
    char *y = place(plan, step->storage, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element;
    size_t width = in->rank ? in->size[in->rank - 1] : 1, turns = nest_turns(in, in->rank - 1);
    ptrdiff_t gap = in->rank ? in->stride[1][in->rank - 1] : 1;
    for (size_t turn = first; turn < last; turn++) {
        size_t index[AD_MAX_LOOPS] = { 0 };
        ptrdiff_t out[3], at[3] = { 0 };
        double total = 0;
        nest_seek(&step->nest, step->nest.rank, turn, out);
        for (size_t t = 0; t < turns; t++) {
            total += plan->loops->sum(width, x + (out[1] + at[1]) * e, gap);
            nest_next(in, in->rank - 1, index, at);
        }
        plan->loops->from_double(1, y + out[0] * e, &total, step->alpha);
    }
}

static void sum_columns(const ad_plan *plan, const ad_step *step, double *sums, size_t first, size_t last)
{
    const ad_nest *in = &step->inner, *kept = &step->nest;
    const char *x = operand_place(plan, step, 0);
    char *y = place(plan, step->storage, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element;
    size_t width = kept->size[kept->rank - 1], chunks = (width + AD_BLOCK - 1) / AD_BLOCK;
    size_t turns = nest_turns(in, in->rank);
    for (size_t piece = first; piece < last; piece++) {
        size_t index[AD_MAX_LOOPS] = { 0 }, start = piece % chunks * AD_BLOCK;
        size_t count = width - start < AD_BLOCK ? width - start : AD_BLOCK;
        ptrdiff_t out[3], at[3] = { 0 };
        nest_seek(kept, kept->rank - 1, piece / chunks, out);
        memset(sums, 0, count * sizeof *sums);
        for (size_t t = 0; t < turns; t++) {
            plan->loops->accumulate(count, sums, x + (out[1] + at[1] + (ptrdiff_t)start) * e, 1);
            nest_next(in, in->rank, index, at);
        }
        plan->loops->from_double(count, y + (out[0] + (ptrdiff_t)start) * e, sums, step->alpha);
    }
}

static void run_sum(const ad_plan *plan, const ad_step *step)
{
    const ad_nest *in = &step->inner, *kept = &step->nest;
    bool columns = kept->rank > 0 && in->rank > 0 && kept->stride[1][kept->rank - 1] == 1 &&
                   kept->stride[0][kept->rank - 1] == 1 && in->stride[1][in->rank - 1] != 1;
    size_t pieces = nest_turns(kept, kept->rank - columns);
    double work = (double)nest_turns(kept, kept->rank) * (double)nest_turns(in, in->rank);
    if (columns)
        pieces *= (kept->size[kept->rank - 1] + AD_BLOCK - 1) / AD_BLOCK;
    int threads = threads_for(plan, work, pieces);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int t = 0; t < threads; t++) {
        size_t first = pieces * (size_t)t / (size_t)threads, last = pieces * (size_t)(t + 1) / (size_t)threads;
        if (columns)
            sum_columns(plan, step, (double *)(void *)(plan->scratch + (size_t)t * plan->scratch_bytes), first, last);
        else
            sum_rows(plan, step, first, last);
    }
}

static void run_copy(const ad_plan *plan, const ad_step *step)
{
    const ad_nest *nest = &step->nest;
    char *y = place(plan, step->storage, step->offset_out);
    const char *x = operand_place(plan, step, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element;
    int rank = nest->rank - 1;
    if (rank < 0) {
        memcpy(y, x, plan->element);
        return;
    }
    size_t turns = nest_turns(nest, rank);
    int threads = threads_for(plan, (double)turns * (double)nest->size[rank], turns);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int t = 0; t < threads; t++) {
        size_t first = turns * (size_t)t / (size_t)threads, last = turns * (size_t)(t + 1) / (size_t)threads;
        for (size_t turn = first; turn < last; turn++) {
            ptrdiff_t at[3];
            nest_seek(nest, rank, turn, at);
            plan->loops->copy(nest->size[rank], y + at[0] * e, nest->stride[0][rank], x + at[1] * e,
                              nest->stride[1][rank]);
        }
    }
}

static double number_at(const ad_plan *plan, const char *data)
{
    double value;
    plan->loops->to_double(1, &value, data);
    return value;
}

/* Gather: out[...] = table[..., index[...], ...]. Scatter: out[..., index[...], ...] += x[...], in the order of x. */
static int run_pick(const ad_plan *plan, const ad_step *step, ad_error *error)
{
    static const double one[1] = { 1 };
    static const float one_float[1] = { 1 };
    const void *unit = plan->type == AD_DOUBLE ? (const void *)one : (const void *)one_float;
    const ad_nest *nest = &step->nest;
    const ad_node *node = ad_node_of(plan->graph, step->node);
    char *y = place(plan, step->storage, 0);
    const char *x = operand_place(plan, step, 0), *picks = operand_place(plan, step, 1);
    ptrdiff_t e = (ptrdiff_t)plan->element, at[3] = { 0 };
    size_t index[AD_MAX_LOOPS] = { 0 };
    int rank = nest->rank;
    bool rows = rank > 0 && nest->stride[2][rank - 1] == 0; /* one index for a whole row */
    size_t width = rows ? nest->size[rank - 1] : 1;
    ptrdiff_t gap_y = rows ? nest->stride[0][rank - 1] : 1, gap_x = rows ? nest->stride[1][rank - 1] : 1;
    rank -= rows;
    size_t turns = nest_turns(nest, rank);
    for (size_t t = 0; t < turns; t++) {
        double pick = number_at(plan, picks + at[2] * e);
        if (!(pick >= 0 && pick < (double)step->length) || fabs(pick - floor(pick)) > 0)
            return ad_fail(error, "%s:%d: %s: index %g, axis %s has %zu entries", node->where.file, node->where.line,
                           ad_op_name(node->op), pick, ad_axis_name(plan->graph, node->axis), step->length);
        ptrdiff_t k = (ptrdiff_t)pick;
        char *to = y + (at[0] + k * step->along_out) * e;
        const char *from = x + (at[1] + k * step->along) * e;
        if (node->op == AD_GATHER)
            plan->loops->copy(width, to, gap_y, from, gap_x);
        else
            plan->loops->multiply_add(width, to, gap_y, from, gap_x, unit, 0, 1);
        nest_next(nest, rank, index, at);
    }
    return 0;
}

static void row_range(const ad_plan *plan, const ad_step *step, ad_op op, char *scratch, size_t first, size_t last)
{
    const ad_nest *nest = &step->nest;
    char *y = place(plan, step->storage, 0), *row = scratch, *result = scratch + plan->row_room * plan->element;
    const char *x = operand_place(plan, step, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element;
    bool one = op == AD_LOGSUMEXP || op == AD_MAX, copies = step->along != 1;
    bool spreads = !one && step->along_out != 1;
    for (size_t turn = first; turn < last; turn++) {
        ptrdiff_t at[3];
        nest_seek(nest, nest->rank, turn, at);
        const char *from = x + at[1] * e;
        char *to = y + at[0] * e;
        if (copies)
            plan->loops->copy(step->length, row, 1, from, step->along);
        void (*run)(size_t, void *, const void *) = op == AD_SOFTMAX     ? plan->loops->softmax
                                                    : op == AD_ARGMAX    ? plan->loops->argmax
                                                    : op == AD_LOGSUMEXP ? plan->loops->logsumexp
                                                                         : plan->loops->max;
        run(step->length, spreads ? result : to, copies ? row : from);
        if (spreads)
            plan->loops->copy(step->length, to, step->along_out, result, 1);
    }
}

static void run_rows(const ad_plan *plan, const ad_step *step)
{
    ad_op op = ad_node_of(plan->graph, step->node)->op;
    size_t turns = nest_turns(&step->nest, step->nest.rank);
    int threads = threads_for(plan, 8.0 * (double)turns * (double)step->length, turns);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int t = 0; t < threads; t++)
        row_range(plan, step, op, plan->scratch + (size_t)t * plan->scratch_bytes, turns * (size_t)t / (size_t)threads,
                  turns * (size_t)(t + 1) / (size_t)threads);
}

static bool same_sizes(const ad_sizes *a, const ad_sizes *b)
{
    bool same = a->n == b->n && a->n_batches == b->n_batches;
    for (int i = 0; same && i < a->n_batches; i++)
        same = a->batches[i].axis.id == b->batches[i].axis.id && a->batches[i].size == b->batches[i].size;
    return same;
}

static void run_product(const ad_plan *plan, const ad_step *step, double alpha, double keep, void *c)
{
    ad_product_run(step->product, plan->loops, plan->type, plan->threads, alpha, keep, c, operand_place(plan, step, 0),
                   operand_place(plan, step, 1), step->room[0] < 0 ? NULL : place(plan, step->room[0], 0),
                   step->room[1] < 0 ? NULL : place(plan, step->room[1], 0));
}

static int run_step(const ad_plan *plan, const ad_step *step, ad_error *error)
{
    switch (step->action) {
    case AD_DO_GROUP:
        run_group(plan, step->group);
        break;
    case AD_DO_PRODUCT:
        run_product(plan, step, step->alpha, 0, place(plan, step->storage, 0));
        break;
    case AD_DO_SUM:
        run_sum(plan, step);
        break;
    case AD_DO_COPY:
        run_copy(plan, step);
        break;
    case AD_DO_ZERO:
        memset(place(plan, step->storage, 0), 0, step->count * plan->element);
        break;
    case AD_DO_DELTA:
        plan->loops->copy(
            step->length, place(plan, step->storage, 0), step->along_out,
            plan->type == AD_DOUBLE ? (const void *)&(const double){ 1 } : (const void *)&(const float){ 1 }, 0);
        break;
    case AD_DO_GATHER:
    case AD_DO_SCATTER:
        return run_pick(plan, step, error);
    case AD_DO_ROWS:
        run_rows(plan, step);
        break;
    }
    return 0;
}

int ad_run(ad_plan *plan, const ad_sizes *sizes, ad_error *error)
{
    if ((!plan->sized || !same_sizes(sizes, &plan->sizes)) && ad_plan_size(plan, sizes, error) != 0)
        return -1;
    for (int i = 0; i < plan->n_leaves; i++)
        if (!plan->storages[plan->parts[plan->leaves[i]].storage].data) {
            const ad_node *node = ad_node_of(plan->graph, plan->leaves[i]);
            return ad_fail(error, "run: %s \"%s\" (%s:%d) is not bound", ad_op_name(node->op),
                           node->name ? node->name : "", node->where.file, node->where.line);
        }
    int blas_threads = ad_blas_begin(1), status = 0; /* threads are ours */
    for (int s = 0; s < plan->n_steps && status == 0; s++)
        if (!plan->steps[s].deferred)
            status = run_step(plan, &plan->steps[s], error);
    ad_blas_end(blas_threads);
    return status;
}

int ad_update(ad_plan *plan, int output, double keep, double factor, void *data)
{
    if (output < 0 || output >= plan->n_results || !plan->sized)
        return -1;
    const ad_result *result = &plan->results[output];
    const ad_step *step = result->step < 0 ? NULL : &plan->steps[result->step];
    if (step) {
        int blas_threads = ad_blas_begin(1);
        bool direct = step->product->method == AD_BY_GEMM;
        run_product(plan, step, direct ? factor * step->alpha : step->alpha, direct ? keep : 0,
                    direct ? data : place(plan, step->storage, 0));
        ad_blas_end(blas_threads);
        if (direct)
            return 0;
    }
    static const double one[1] = { 1 };
    static const float one_float[1] = { 1 };
    size_t count = ad_elements(plan->graph, &ad_node_of(plan->graph, result->node)->shape, &plan->sizes);
    if (keep < 1 || keep > 1)
        plan->loops->op[AD_SCALE](count, data, data, data, keep);
    plan->loops->multiply_add(count, data, 1, place(plan, result->storage, 0), 1,
                              plan->type == AD_DOUBLE ? (const void *)one : (const void *)one_float, 0, factor);
    return 0;
}
