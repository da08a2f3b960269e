/* data_blocks.c: the data that quantities read, computed and copied together. */
#include "autodiff/base/base.h"
#include "tp/recursion/solver.h"

/* The number of the block of a node's data at a point. */
static int find_block(tp_solver *s, int node, int from, ad_axis axis)
{
    for (int i = 0; i < s->n_blocks; i++)
        if (s->blocks[i].node == node && ad_same(s->blocks[i].axis, axis) && s->blocks[i].from == from)
            return i;
    if (!ad_arena_grow(s->algebra.arena, (void **)&s->blocks, s->n_blocks, &s->blocks_capacity, sizeof *s->blocks))
        return ad_fail(s->error, "out of memory for %d blocks of data", s->n_blocks + 1);
    tp_data_block *b = &s->blocks[s->n_blocks];
    *b = (tp_data_block){
        .node = node, .from = from, .axis = axis, .size = axis.id ? ad_axis_fixed(s->algebra.graph, axis) : 1
    };
    return s->n_blocks++;
}

static int turn_block(const tp_solver *s, tp_data_block *b, int set)
{
    size_t rows = s->rows[set];
    b->stride[set] = tp_array_stride(rows, TP_MORE);
    b->turned[set] = ad_alloc(b->size * b->stride[set], sizeof(double), "the limit's inputs", s->error);
    for (size_t i = 0; i < rows && b->turned[set]; i++)
        for (size_t k = 0; k < b->size; k++)
            b->turned[set][k * b->stride[set] + i] = b->rows[set][i * b->size + k];
    return b->turned[set] ? 0 : -1;
}

/* Copies (rows, size) at the block's fixed axes out of its node's values. */
static int fill_block(const tp_solver *s, tp_data_block *b, int set, const double *values, const ad_sizes *sizes)
{
    b->rows[set] = ad_alloc(s->rows[set] * b->size, sizeof(double), "the limit's inputs", s->error);
    if (!b->rows[set])
        return -1;
    tp_data_rows(s->algebra.graph, b->node, tp_point_at(&s->algebra, b->from), b->axis, sizes, values, s->rows[set],
                 b->size, b->rows[set]);
    return b->size > tp_array_small() ? 0 : turn_block(s, b, set);
}

/* Where a node stands among n of them; n if it does not. */
static int position_of(const ad_var *nodes, int n, int node)
{
    int k = 0;
    while (k < n && nodes[k].id != node)
        k++;
    return k;
}

/* Runs the data's nodes for one set, all in one plan, and fills the blocks. */
static int fill_set(const tp_solver *s, int set)
{
    ad_var input = nn_input(s->algebra.program->net);
    ad_plan_spec spec = { .type = AD_DOUBLE, .capacity = { .n = 1, .n_batches = 1 } };
    spec.capacity.batches[0].axis = nn_batch(s->algebra.program->net);
    spec.capacity.batches[0].size = s->rows[set];
    ad_var *nodes = ad_arena_alloc(s->algebra.arena, (size_t)s->n_blocks + 1, sizeof *nodes);
    ad_plan *plan = NULL;
    int n = 0, status = nodes ? 0 : ad_fail(s->error, "out of memory for the limit's inputs");
    for (int i = 0; i < s->n_blocks && !status; i++)
        if (s->blocks[i].node != input.id && position_of(nodes, n, s->blocks[i].node) == n)
            nodes[n++] = (ad_var){ s->algebra.graph, s->blocks[i].node };
    if (n > 0 && !status) {
        plan = ad_plan_new(nodes, n, &spec, s->error);
        if (!plan || ad_bind(plan, input, s->x[set]) || ad_run(plan, &spec.capacity, s->error))
            status = ad_fail(s->error, "the program's data cannot be computed");
    }
    for (int i = 0; i < s->n_blocks && !status; i++) {
        int k = position_of(nodes, n, s->blocks[i].node);
        status = fill_block(s, &s->blocks[i], set, k < n ? ad_output(plan, k) : s->x[set], &spec.capacity);
    }
    ad_plan_free(plan);
    return status;
}

int tp_fill_blocks(tp_solver *s)
{
    for (int id = 0; id < s->n; id++) {
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        if ((q->kind != TP_Q_GRAM && q->kind != TP_Q_DATA) || !(s->alone[id] || s->paired[id]))
            continue;
        int first = find_block(s, q->a, q->from_a, q->axis);
        int second = q->kind == TP_Q_GRAM && first >= 0 ? find_block(s, q->b, q->from_b, q->axis) : first;
        if (second < 0)
            return -1;
        s->gram_blocks[id][0] = first;
        s->gram_blocks[id][1] = second;
    }
    for (int set = 0; set < (s->same ? 1 : 2); set++)
        if (fill_set(s, set))
            return -1;
    return 0;
}

void tp_free_blocks(tp_solver *s)
{
    for (int i = 0; i < s->n_blocks; i++)
        for (int set = 0; set < 2; set++) {
            ad_free(s->blocks[i].rows[set]);
            ad_free(s->blocks[i].turned[set]);
        }
}
