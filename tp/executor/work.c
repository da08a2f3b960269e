/* work.c: what a run costs, counted before and while it is done, so that the same question has the same answer on every
 * machine, however busy: multiply-adds of products as 1, a coordinate of anything else as what it costs beside them. */
#include "tp/executor/sampler.h"

/* A coordinate that is computed, one that is copied or summed, and a node. */
static const double computed = 24, copied = 8, node_itself = 1 << 14;

int tp_count_work(const tp_sampler *s, double more)
{
    tp_work *work = s->work;
    if (!work)
        return 0;
    work->done += more;
    if (!(work->most > 0) || work->done <= work->most)
        return 0;
    return ad_fail(s->error, "a run of %zu samples takes more work than it may", s->sizes.n);
}

bool tp_work_is_over(const tp_work *work)
{
    return work->most > 0 && work->done > work->most;
}

static double size_over(const tp_sampler *s, const ad_shape *axes)
{
    double size = 1;
    for (int i = 0; i < axes->rank; i++)
        size *= (double)tp_sampler_size(s, axes->axes[i]);
    return size;
}

static double work_of(const tp_sampler *s, int id)
{
    const ad_node *node = ad_node_of(s->graph, id);
    double size = size_over(s, &node->shape);
    if (node->op == AD_CONTRACT)
        return size * size_over(s, &node->over) + computed * size;
    if (node->op == AD_SUM)
        return copied * size * size_over(s, &node->over);
    bool moves = node->op == AD_EXPAND || node->op == AD_RELABEL || node->op == AD_TRANSPOSE || node->op == AD_SLICE ||
                 node->op == AD_UNSLICE || node->op == AD_RESHAPE || node->op == AD_CONCAT;
    return (moves ? copied : computed) * size;
}

int tp_count_nodes(const tp_sampler *s)
{
    double sum = 0;
    for (int id = 0; id < s->program->n_nodes && s->work; id++) {
        int param;
        ad_shape names;
        if (!s->program->lives[id] || tp_operator_input(s, id, &param, &names) >= 0 ||
            ((param = tp_peel(s->graph, id, &names)) >= 0 && s->revealed_of[param] >= 0))
            continue;
        sum += node_itself + work_of(s, id);
    }
    return tp_count_work(s, sum);
}

int tp_count_product(const tp_sampler *s, const tp_operator *w, bool transposed, size_t rows, int seen_before)
{
    const tp_rows *seen = &w->seen[transposed], *back = &w->seen[!transposed];
    const tp_space *space = w->space[!transposed];
    double from = (double)seen->length, to = (double)back->length, fresh = seen->n - seen_before;
    double drawn = space->independent ? 2 * back->n : 4 * (space->basis.n + 2 * back->n);
    double avoided = space->independent || seen->n == seen_before ? 0 : 4.0 * back->n * (space->basis.n + back->n);
    return tp_count_work(s, (double)rows * (4 * from * seen->n + to * seen->n + (from + to) * back->n) +
                                to * (fresh * (drawn + copied) + avoided));
}

int tp_count_simple(const tp_sampler *s, const tp_simple *w, size_t rows)
{
    double pivots = w->seen.n, from = (double)w->seen.length, to = (double)w->drawn.length;
    return tp_count_work(s, (double)rows * pivots * (from + to + pivots));
}
