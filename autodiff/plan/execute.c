/* execute.c: a run: a walk over an array of steps, which allocates nothing. */
#include "autodiff/plan/steps.h"

#include <math.h>
#include <string.h>

/* Elements times ops above which a step is shared among threads. */
static const double worth_threads = 1 << 17;

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
static void call_function(const ad_plan *plan, const ad_link *link, size_t count, char *blocks, void *y, const void *a)
{
    double *x = (double *)(void *)blocks, *value = x + AD_BLOCK;
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

/* The first piece of thread t of so many. No parallel region with num_threads has an if clause: libomp 14 keeps the
 * number of one that is not taken for the next region, OpenBLAS's, which then waits for threads that are not there. */
static size_t piece_of(size_t pieces, int t, int threads)
{
    return pieces * (size_t)t / (size_t)threads;
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
        run_blocks(plan, group, plan->scratch + (size_t)t * plan->scratch_bytes, piece_of(group->n_blocks, t, threads),
                   piece_of(group->n_blocks, t + 1, threads));
}

/* Sums in double. If neighbours in memory are summed, row by row, sums that lie side by side being put in place
 * together; if they are kept, whole rows are added up. */
static void sum_rows(const ad_plan *plan, const ad_step *step, size_t first, size_t last)
{
    enum { TOGETHER = 64 };
    const ad_nest *in = &step->nests->inner, *kept = &step->nests->outer;
    const char *x = operand_place(plan, step, 0);
    char *y = place(plan, step->storage, 0), *to = y;
    ptrdiff_t e = (ptrdiff_t)plan->element, out[3], at[3] = { 0 };
    size_t width = in->rank ? in->size[in->rank - 1] : 1, turns = ad_nest_turns(in, in->rank - 1), waiting = 0;
    size_t index[AD_MAX_LOOPS] = { 0 }, place_of[AD_MAX_LOOPS] = { 0 };
    ptrdiff_t gap = in->rank ? in->stride[1][in->rank - 1] : 1;
    bool dense = kept->rank > 0 && kept->stride[0][kept->rank - 1] == 1;
    double totals[TOGETHER];
    ad_nest_seek(kept, kept->rank, first, place_of, out);
    for (size_t turn = first; turn < last; turn++) {
        double total = 0;
        for (size_t t = 0; t < turns; t++) {
            total += plan->loops->sum(width, x + (out[1] + at[1]) * e, gap);
            if (turns > 1) /* and after the last one at the first again */
                ad_nest_next(in, in->rank - 1, index, at);
        }
        if (!waiting)
            to = y + out[0] * e;
        totals[waiting++] = total;
        ad_nest_next(kept, kept->rank, place_of, out);
        if (dense && waiting < TOGETHER && place_of[kept->rank - 1] && turn + 1 < last)
            continue;
        plan->loops->from_double(waiting, to, totals, step->alpha);
        waiting = 0;
    }
}

static void sum_columns(const ad_plan *plan, const ad_step *step, double *sums, size_t first, size_t last)
{
    const ad_nest *in = &step->nests->inner, *kept = &step->nests->outer;
    const char *x = operand_place(plan, step, 0);
    char *y = place(plan, step->storage, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element;
    size_t width = kept->size[kept->rank - 1], chunks = (width + AD_BLOCK - 1) / AD_BLOCK;
    size_t turns = ad_nest_turns(in, in->rank);
    for (size_t piece = first; piece < last; piece++) {
        size_t index[AD_MAX_LOOPS] = { 0 }, start = piece % chunks * AD_BLOCK;
        size_t count = width - start < AD_BLOCK ? width - start : AD_BLOCK;
        ptrdiff_t out[3], at[3] = { 0 };
        ad_nest_seek(kept, kept->rank - 1, piece / chunks, NULL, out);
        memset(sums, 0, count * sizeof *sums);
        for (size_t t = 0; t < turns; t++) {
            plan->loops->accumulate(count, sums, x + (out[1] + at[1] + (ptrdiff_t)start) * e, 1);
            ad_nest_next(in, in->rank, index, at);
        }
        plan->loops->from_double(count, y + (out[0] + (ptrdiff_t)start) * e, sums, step->alpha);
    }
}

enum { FEW_ROWS = 64 };

/* Few rows, as those of a window, added up in one go. */
static void sum_few_rows(const ad_plan *plan, const ad_step *step, size_t first, size_t last)
{
    const ad_nest *in = &step->nests->inner, *kept = &step->nests->outer;
    const char *x = operand_place(plan, step, 0);
    char *y = place(plan, step->storage, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element, rows[FEW_ROWS], at[3] = { 0 }, out[3];
    size_t index[AD_MAX_LOOPS] = { 0 }, turns = ad_nest_turns(in, in->rank);
    for (size_t t = 0; t < turns; t++) {
        rows[t] = at[1];
        ad_nest_next(in, in->rank, index, at);
    }
    ad_nest_seek(kept, kept->rank - 1, first, index, out);
    for (size_t piece = first; piece < last; piece++) {
        plan->loops->add_rows(kept->size[kept->rank - 1], y + out[0] * e, x + out[1] * e, turns, rows, step->alpha);
        ad_nest_next(kept, kept->rank - 1, index, out);
    }
}

static void sum_part(const ad_plan *plan, const ad_step *step, bool columns, size_t pieces, int t, int threads)
{
    size_t first = piece_of(pieces, t, threads), last = piece_of(pieces, t + 1, threads);
    if (columns && step->nests->outer.size[step->nests->outer.rank - 1] <= AD_BLOCK &&
        ad_nest_turns(&step->nests->inner, step->nests->inner.rank) <= FEW_ROWS)
        sum_few_rows(plan, step, first, last);
    else if (columns)
        sum_columns(plan, step, (double *)(void *)(plan->scratch + (size_t)t * plan->scratch_bytes), first, last);
    else
        sum_rows(plan, step, first, last);
}

static void run_sum(const ad_plan *plan, const ad_step *step)
{
    const ad_nest *in = &step->nests->inner, *kept = &step->nests->outer;
    bool columns = kept->rank > 0 && in->rank > 0 && kept->stride[1][kept->rank - 1] == 1 &&
                   kept->stride[0][kept->rank - 1] == 1 && in->stride[1][in->rank - 1] != 1;
    size_t pieces = ad_nest_turns(kept, kept->rank - columns);
    double work = (double)ad_nest_turns(kept, kept->rank) * (double)ad_nest_turns(in, in->rank);
    if (columns)
        pieces *= (kept->size[kept->rank - 1] + AD_BLOCK - 1) / AD_BLOCK;
    int threads = threads_for(plan, work, pieces);
    if (threads <= 1) {
        sum_part(plan, step, columns, pieces, 0, 1);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        sum_part(plan, step, columns, pieces, t, threads);
}

static void copy_part(const ad_plan *plan, const ad_step *step, size_t turns, int t, int threads)
{
    const ad_nest *nest = &step->nests->outer;
    char *y = place(plan, step->storage, step->offset_out);
    const char *x = operand_place(plan, step, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element;
    int rank = nest->rank - 1;
    for (size_t turn = piece_of(turns, t, threads); turn < piece_of(turns, t + 1, threads); turn++) {
        ptrdiff_t at[3];
        ad_nest_seek(nest, rank, turn, NULL, at);
        plan->loops->copy(nest->size[rank], y + at[0] * e, nest->stride[0][rank], x + at[1] * e, nest->stride[1][rank]);
    }
}

static void run_copy(const ad_plan *plan, const ad_step *step)
{
    const ad_nest *nest = &step->nests->outer;
    int rank = nest->rank - 1;
    if (rank < 0) {
        memcpy(place(plan, step->storage, step->offset_out), operand_place(plan, step, 0), plan->element);
        return;
    }
    size_t turns = ad_nest_turns(nest, rank);
    int threads = threads_for(plan, (double)turns * (double)nest->size[rank], turns);
    if (threads <= 1) {
        copy_part(plan, step, turns, 0, 1);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        copy_part(plan, step, turns, t, threads);
}

static double number_at(const ad_plan *plan, const char *data)
{
    double value;
    plan->loops->to_double(1, &value, data);
    return value;
}

/* The number 1 in the plan's type. */
static const void *unit_of(const ad_plan *plan)
{
    static const double one[1] = { 1 };
    static const float one_float[1] = { 1 };
    return plan->type == AD_DOUBLE ? (const void *)one : (const void *)one_float;
}

/* Windows added to where they lie, which overlap: by one thread. */
static void run_add(const ad_plan *plan, const ad_step *step)
{
    const ad_nest *nest = &step->nests->outer;
    char *y = place(plan, step->storage, step->offset_out);
    const char *x = operand_place(plan, step, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element, at[3] = { 0 };
    size_t index[AD_MAX_LOOPS] = { 0 };
    int rank = nest->rank > 0 ? nest->rank - 1 : 0;
    size_t width = nest->rank > 0 ? nest->size[rank] : 1, turns = ad_nest_turns(nest, rank);
    ptrdiff_t gap_y = nest->rank > 0 ? nest->stride[0][rank] : 1, gap_x = nest->rank > 0 ? nest->stride[1][rank] : 1;
    for (size_t t = 0; t < turns; t++) {
        plan->loops->multiply_add(width, y + at[0] * e, gap_y, x + at[1] * e, gap_x, unit_of(plan), 0, 1);
        ad_nest_next(nest, rank, index, at);
    }
}

/* Gather: out[...] = table[..., index[...], ...]. Scatter: out[..., index[...], ...] += x[...], in the order of x. */
static int run_pick(const ad_plan *plan, const ad_step *step, ad_error *error)
{
    const ad_nest *nest = &step->nests->outer;
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
    size_t turns = ad_nest_turns(nest, rank);
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
            plan->loops->multiply_add(width, to, gap_y, from, gap_x, unit_of(plan), 0, 1);
        ad_nest_next(nest, rank, index, at);
    }
    return 0;
}

static void row_range(const ad_plan *plan, const ad_step *step, ad_op op, char *scratch, size_t first, size_t last)
{
    const ad_nest *nest = &step->nests->outer;
    char *y = place(plan, step->storage, 0), *row = scratch, *result = scratch + plan->longest_row * plan->element;
    const char *x = operand_place(plan, step, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element;
    bool one = op == AD_LOGSUMEXP || op == AD_MAX, copies = step->along != 1;
    bool spreads = !one && step->along_out != 1;
    for (size_t turn = first; turn < last; turn++) {
        ptrdiff_t at[3];
        ad_nest_seek(nest, nest->rank, turn, NULL, at);
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

/* The largest of many rows at once, whose entries k are neighbours in memory. */
static void column_range(const ad_plan *plan, const ad_step *step, ad_op op, size_t first, size_t last)
{
    const ad_nest *nest = &step->nests->outer;
    char *y = place(plan, step->storage, 0);
    const char *x = operand_place(plan, step, 0);
    ptrdiff_t e = (ptrdiff_t)plan->element;
    size_t width = nest->size[nest->rank - 1];
    for (size_t turn = first; turn < last; turn++) {
        ptrdiff_t at[3];
        ad_nest_seek(nest, nest->rank - 1, turn, NULL, at);
        if (op == AD_MAX)
            plan->loops->max_along(width, step->length, y + at[0] * e, x + at[1] * e, step->along);
        else
            plan->loops->argmax_along(width, step->length, y + at[0] * e, step->along_out, x + at[1] * e, step->along);
    }
}

static void rows_part(const ad_plan *plan, const ad_step *step, bool columns, size_t turns, int t, int threads)
{
    ad_op op = ad_node_of(plan->graph, step->node)->op;
    size_t first = piece_of(turns, t, threads), last = piece_of(turns, t + 1, threads);
    if (columns)
        column_range(plan, step, op, first, last);
    else
        row_range(plan, step, op, plan->scratch + (size_t)t * plan->scratch_bytes, first, last);
}

static void run_rows(const ad_plan *plan, const ad_step *step)
{
    ad_op op = ad_node_of(plan->graph, step->node)->op;
    const ad_nest *nest = &step->nests->outer;
    int last = nest->rank - 1;
    bool columns =
        (op == AD_MAX || op == AD_ARGMAX) && last >= 0 && nest->stride[0][last] == 1 && nest->stride[1][last] == 1;
    size_t turns = ad_nest_turns(nest, nest->rank - columns);
    double work = 8.0 * (double)ad_nest_turns(nest, nest->rank) * (double)step->length;
    int threads = threads_for(plan, work, turns);
    if (threads <= 1) {
        rows_part(plan, step, columns, turns, 0, 1);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        rows_part(plan, step, columns, turns, t, threads);
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
                   operand_place(plan, step, 1), step->packed[0] < 0 ? NULL : place(plan, step->packed[0], 0),
                   step->packed[1] < 0 ? NULL : place(plan, step->packed[1], 0));
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
    case AD_DO_ADD:
        run_add(plan, step);
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
        bool direct = step->product->method == AD_BY_GEMM && step->product->sums.rank == 0;
        run_product(plan, step, direct ? factor * step->alpha : step->alpha, direct ? keep : 0,
                    direct ? data : place(plan, step->storage, 0));
        ad_blas_end(blas_threads);
        if (direct)
            return 0;
    }
    size_t count = ad_elements(plan->graph, &ad_node_of(plan->graph, result->node)->shape, &plan->sizes);
    if (keep < 1 || keep > 1)
        plan->loops->op[AD_SCALE](count, data, data, data, keep);
    plan->loops->multiply_add(count, data, 1, place(plan, result->storage, 0), 1, unit_of(plan), 0, factor);
    return 0;
}
