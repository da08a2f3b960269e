/* evaluate.c: a kernel's recursion in numbers. Variances are quantities at (i, i): they are computed first, for each
 * sample of either set; then tiles.c fills all pairs. Where a pair is a sample against itself, the kernel is the value
 * found along with the variances, so that the diagonal is exact. */
#include "autodiff/base/base.h"
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- what is needed ---- */
/* The scalars in the functions of an expectation: how many, TP_MAX_SCALARS of either at most. */
static int read_scalars(const tp_solver *s, const tp_quantity *q, int *scalars)
{
    int n = tp_fn_scalars(&s->algebra, q->fn_a, scalars, TP_MAX_SCALARS);
    n = n < TP_MAX_SCALARS ? n : TP_MAX_SCALARS;
    int more = tp_fn_scalars(&s->algebra, q->fn_b, scalars + n, TP_MAX_SCALARS);
    return n + (more < TP_MAX_SCALARS ? more : TP_MAX_SCALARS);
}

/* What a quantity's value at (i, i) is computed from: number k of it, or -1 beyond the last. */
static int read_alone(const tp_solver *s, int id, int k)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    int scalars[2 * TP_MAX_SCALARS], n;
    switch (q->kind) {
    case TP_Q_SUM:
    case TP_Q_ALONG:
    case TP_Q_GROUP:
        return k < q->n ? q->parts[k].q : -1;
    case TP_Q_PRODUCT:
        return k == 0 ? q->a : k == 1 ? q->b : -1;
    case TP_Q_FUNCTION:
    case TP_Q_FIRST:
    case TP_Q_SECOND:
        return k == 0 ? q->a : -1;
    case TP_Q_EXPECT:
        if (k < 3)
            return k == 0 ? q->b : k == 1 ? q->var_a : q->var_b;
        n = read_scalars(s, q, scalars);
        return k - 3 < n ? scalars[k - 3] : -1;
    default:
        return -1;
    }
}

/* At (i, i), and from now on. */
static void keep_alone(const tp_solver *s, int id)
{
    s->alone[id] = s->kept[id] = true;
}

/* What a quantity that is needed for pairs reads. */
static void need_operands(const tp_solver *s, int id)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    if (q->kind == TP_Q_FIRST || q->kind == TP_Q_SECOND) {
        keep_alone(s, q->a);
        return;
    }
    for (int i = 0; i < q->n; i++)
        s->paired[q->parts[i].q] = true;
    if (q->kind == TP_Q_PRODUCT || q->kind == TP_Q_FUNCTION || q->kind == TP_Q_EXPECT)
        s->paired[q->a] = true;
    if (q->kind == TP_Q_PRODUCT)
        s->paired[q->b] = true;
    if (q->kind != TP_Q_EXPECT)
        return;
    int scalars[2 * TP_MAX_SCALARS], n = read_scalars(s, q, scalars);
    keep_alone(s, q->var_a);
    keep_alone(s, q->var_b);
    for (int k = 0; k < n; k++)
        keep_alone(s, scalars[k]);
}

void tp_find_needed(const tp_solver *s, const tp_series *series)
{
    for (int k = 0; k < series->n; k++) {
        s->paired[series->at[k].q] = true;
        keep_alone(s, series->at[k].q);
    }
    for (int id = s->n - 1; id >= 0; id--) {
        if (s->paired[id])
            need_operands(s, id);
        for (int k = 0, in; s->alone[id] && (in = read_alone(s, id, k)) >= 0; k++)
            s->alone[in] = true;
    }
}

/* ---- the run ---- */
/* What a set's values at (i, i) are kept in: blocks of rows, taken over after the last use. */
typedef struct {
    size_t rows;
    double **freed;
    int n_freed;
    int *last;     /* by quantity: the last one that reads it; itself where none does */
    int *total;    /* by quantity: the kernel's sum that it is a summand of, or -1 */
    double *times; /* ... times this */
} rows_pool;

static double *take_rows(const tp_solver *s, rows_pool *pool)
{
    if (pool->n_freed)
        return pool->freed[--pool->n_freed];
    double *rows = ad_arena_alloc(s->algebra.arena, pool->rows, sizeof *rows);
    if (!rows)
        ad_fail(s->error, "out of memory for variances");
    return rows;
}

static bool is_streamed(const rows_pool *pool, int id)
{
    return pool->total[id] == id;
}

/* A kernel is a long sum. Its summands are added to it as they come, so that they need not wait for each other. */
static void stream_totals(const tp_solver *s, const tp_series *series, rows_pool *pool)
{
    for (int k = 0; k < series->n; k++) {
        int id = series->at[k].q;
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        bool alone = q->kind == TP_Q_SUM && pool->total[id] < 0 && pool->last[id] == id;
        for (int i = 0; i < q->n && alone; i++)
            alone = pool->total[q->parts[i].q] < 0;
        if (!alone)
            continue;
        pool->total[id] = id;
        for (int i = 0; i < q->n; i++) {
            pool->total[q->parts[i].q] = id;
            pool->times[q->parts[i].q] = q->parts[i].c;
        }
    }
}

static int pool_begin(const tp_solver *s, rows_pool *pool, const tp_series *series, double **values)
{
    size_t n = (size_t)s->n;
    ad_arena *arena = s->algebra.arena;
    pool->freed = ad_arena_alloc(arena, n, sizeof *pool->freed);
    pool->last = ad_arena_alloc(arena, n, sizeof *pool->last);
    pool->total = ad_arena_alloc(arena, n, sizeof *pool->total);
    pool->times = ad_arena_alloc(arena, n, sizeof *pool->times);
    if (!pool->freed || !pool->last || !pool->total || !pool->times)
        return ad_fail(s->error, "out of memory for variances");
    for (int id = 0; id < s->n; id++) {
        pool->total[id] = -1;
        pool->last[id] = id;
    }
    for (int k = 0; k < series->n; k++) /* what another quantity reads is not streamed */
        for (int id = series->at[k].q + 1; id < s->n; id++)
            for (int i = 0, in; s->alone[id] && (in = read_alone(s, id, i)) >= 0; i++)
                if (in == series->at[k].q)
                    pool->last[in] = id;
    stream_totals(s, series, pool);
    for (int at = 0; at < s->n; at++)
        for (int k = 0, in, id = s->order[at];
             s->alone[id] && !is_streamed(pool, id) && (in = read_alone(s, id, k)) >= 0; k++)
            pool->last[in] = id;
    for (int id = 0; id < s->n; id++)
        if (is_streamed(pool, id)) {
            values[id] = take_rows(s, pool);
            if (!values[id])
                return -1;
            for (size_t i = 0; i < pool->rows; i++)
                values[id][i] = tp_quantity_at(&s->algebra, id)->c;
        }
    return 0;
}

/* A quantity at (i, i) for all samples of a set, and its partner with it. */
static int solve_row(tp_solver *s, int id, int set, tp_tile *t, rows_pool *pool)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    double **values = s->single[set];
    int partner = s->partner[id] >= 0 && s->alone[s->partner[id]] ? s->partner[id] : -1;
    if (values[id])
        return 0;
    values[id] = take_rows(s, pool);
    if (values[id] && partner >= 0)
        values[partner] = take_rows(s, pool);
    if (!values[id] || (partner >= 0 && !values[partner]))
        return -1;
    if (q->kind == TP_Q_EXPECT && (tp_find_kinks(s, q->fn_a, set) || tp_find_kinks(s, q->fn_b, set) ||
                                   (s->plans[id]->by == TP_BY_SERIES && tp_plan_series(s, id, set, set))))
        return -1;
    return tp_fill(s, id, partner, t, s->error);
}

static void give_back(const tp_solver *s, int id, double **values, rows_pool *pool)
{
    if (s->kept[id] || !values[id])
        return;
    pool->freed[pool->n_freed++] = values[id];
    values[id] = NULL;
}

/* ---- what leaves the range of a double ---- */
static int check_finite(const tp_solver *s, int set, const double *values)
{
    if (tp_array_within(s->rows[set], values, 0, DBL_MAX))
        return 0;
    for (size_t i = 0; i < s->rows[set]; i++)
        if (!isfinite(values[i]))
            return ad_fail(s->error,
                           "the limit kernel leaves the range of a double (1.8e308): a variance on the way to it is %g "
                           "for row %zu of the %s inputs: smaller inputs or weights keep it",
                           fabs(values[i]), i, set ? "second" : "first");
    return 0;
}

static size_t find_least(const double *values, size_t from, size_t rows)
{
    while (from < rows && fabs(values[from]) >= TP_LEAST)
        from++;
    return from;
}

static bool is_zero(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

/* Is it E f(u)^2, and 0 where u is, and only there? So of f(a x) = a^d f(x), d > 0, and of what is linear near 0. */
static bool vanishes_with(const tp_solver *s, int id, int set, size_t row)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    if (q->fn_a != q->fn_b || q->b != q->var_a || q->b != q->var_b)
        return false;
    bool scales = tp_fn_degree(&s->algebra, q->fn_a) > 0;
    double near = scales ? 1 : 1e-100, at[2] = { near, -near }, y[2];
    tp_fn_context context;
    tp_univariate f = tp_function_at(s, q->fn_a, set, row, &context);
    tp_evaluate(&f, 2, at, y);
    double size = fmax(fabs(y[0]), fabs(y[1]));
    return scales ? size > 0 : size > 1e-110 && size < 1e-90;
}

/* Is one of these values at (i, i) below the least, and not 0 if it were computed exactly? lost: the same of those that
 * it reads. */
static bool is_lost(const tp_solver *s, int id, int set, const bool *lost)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const double *values = s->single[set][id];
    size_t rows = s->rows[set];
    if (tp_array_within(rows, values, TP_LEAST, INFINITY))
        return false;
    size_t i = find_least(values, 0, rows);
    bool read = false;
    if (q->kind == TP_Q_GRAM && s->gram_blocks[id][0] == s->gram_blocks[id][1]) {
        const tp_data_block *block = &s->blocks[s->gram_blocks[id][0]];
        for (; i < rows && !read; i = find_least(values, i + 1, rows))
            read = !is_zero(block->rows[set] + i * block->size, block->size);
    } else if (q->kind == TP_Q_SUM) {
        const double *part = q->n == 1 ? s->single[set][q->parts[0].q] : NULL;
        for (int k = 0; k < q->n; k++)
            read = read || lost[q->parts[k].q];
        for (; part && i < rows && !read; i = find_least(values, i + 1, rows))
            read = part[i] != 0;
    } else if (q->kind == TP_Q_PRODUCT) {
        read = lost[q->a] || lost[q->b];
    } else if (q->kind == TP_Q_EXPECT) {
        const double *variance = s->single[set][q->var_a];
        read = lost[q->var_a] || lost[q->var_b];
        for (bool same = !read && vanishes_with(s, id, set, i); same && i < rows && !read;
             i = find_least(values, i + 1, rows))
            read = variance[i] > 0;
    }
    return read;
}

/* -1 with an error where a kernel, or a jump or kink, reads what is lost. */
static int check_lost(const tp_solver *s, int id, const bool *lost, bool kernel)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const tp_expect_plan *plan = q->kind == TP_Q_EXPECT ? s->plans[id] : NULL;
    bool bends = plan && (plan->f->u.n_kinks > 0 || plan->g->u.n_kinks > 0);
    if (kernel ? !lost[id] : !(bends && (lost[q->var_a] || lost[q->var_b])))
        return 0;
    return ad_fail(s->error,
                   "the limit kernel leaves the range of a double: a variance on the way to it is below %g, and not 0: "
                   "larger inputs or weights keep it, or rows of zeros",
                   TP_LEAST);
}

/* All values at (i, i), for either set, quantity after quantity. */
static int solve_alone(tp_solver *s, const tp_series *series)
{
    for (int set = 0; set < (s->same ? 1 : 2); set++) {
        rows_pool pool = { .rows = s->rows[set] };
        double *scratch = ad_arena_alloc(s->algebra.arena, 3 * pool.rows, sizeof *scratch), **values = s->single[set];
        bool *lost = ad_arena_alloc(s->algebra.arena, (size_t)s->n, sizeof *lost);
        if (!scratch || !lost)
            return ad_fail(s->error, "out of memory for variances");
        tp_tile t = { .rows = pool.rows,
                      .columns = 1,
                      .set = { set, set },
                      .alone = true,
                      .values = values,
                      .q11 = scratch,
                      .q22 = scratch + pool.rows,
                      .half = scratch + 2 * pool.rows };
        if (pool_begin(s, &pool, series, values))
            return -1;
        for (int id = 0; id < s->n; id++)
            if (is_streamed(&pool, id))
                tp_errors_start(s, id, pool.rows);
        for (int at = 0; at < s->n; at++) {
            int id = s->order[at];
            if (at + TP_AHEAD < s->n)
                __builtin_prefetch(tp_quantity_at(&s->algebra, s->order[at + TP_AHEAD]));
            bool computed = s->alone[id] && !is_streamed(&pool, id);
            int total = computed ? pool.total[id] : -1;
            if (computed && (solve_row(s, id, set, &t, &pool) || check_finite(s, set, values[id])))
                return -1;
            if ((s->alone[id] || s->paired[id]) &&
                tp_errors_alone(s, id, set, &t, total, total < 0 ? 0 : pool.times[id]))
                return -1;
            if (!computed)
                continue;
            lost[id] = is_lost(s, id, set, lost);
            if (check_lost(s, id, lost, false))
                return -1;
            if (pool.total[id] >= 0)
                tp_array_accumulate(pool.rows, pool.times[id], values[id], NULL, values[pool.total[id]]);
            for (int k = 0, in; (in = read_alone(s, id, k)) >= 0; k++)
                if (pool.last[in] == id)
                    give_back(s, in, values, &pool);
            if (pool.last[id] == id)
                give_back(s, id, values, &pool);
        }
        for (int k = 0; k < series->n; k++) {
            int id = series->at[k].q; /* a streamed sum is complete now */
            lost[id] = lost[id] || (is_streamed(&pool, id) && is_lost(s, id, set, lost));
            if (check_lost(s, id, lost, true))
                return -1;
        }
    }
    return 0;
}

/* Expectations of f f and of f' f' at the same covariances, which have their closed forms in common. */
static bool are_partners(const tp_solver *s, int id, int other)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id), *r = tp_quantity_at(&s->algebra, other);
    const tp_expect_plan *p = s->plans[id], *d = s->plans[other];
    if (q->a != r->a || q->b != r->b || q->var_a != r->var_a || q->var_b != r->var_b || q->fn_a != q->fn_b ||
        r->fn_a != r->fn_b)
        return false;
    return (p->f->u.form == TP_RELU && d->f->u.form == TP_STEP) ||
           (p->f->u.form == TP_ERF && d->f->u.form == TP_ERF_GRAD) ||
           (p->f->u.form == TP_GELU && d->f->u.form == TP_GELU_GRAD) ||
           (p->f->u.form == TP_SIN && d->f->u.form == TP_COS);
}

/* by_argument[q]: the last expectation seen whose covariance is q. */
static void find_partners(tp_solver *s, int *by_argument)
{
    for (int id = 0; id < s->n; id++)
        s->partner[id] = by_argument[id] = -1;
    for (int id = 0; id < s->n; id++) {
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        if (q->kind != TP_Q_EXPECT || !s->paired[id] || s->plans[id]->by != TP_BY_CLOSED)
            continue;
        int other = by_argument[q->a];
        by_argument[q->a] = id;
        if (other < 0 || s->partner[other] >= 0 || !(are_partners(s, id, other) || are_partners(s, other, id)))
            continue;
        s->partner[id] = other;
        s->partner[other] = id;
    }
}

/* What a quantity's value and error at (i, i) are made of. */
static int read_with_errors(const tp_solver *s, int id, int k)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    bool expectation = q->kind == TP_Q_EXPECT;
    return expectation && k == 0 ? q->a : read_alone(s, id, k - expectation);
}

/* Group by group of the schedule, as few values and errors are held then, each quantity after what it reads. */
static int find_order(tp_solver *s)
{
    size_t n = (size_t)s->n;
    int *numbers = ad_alloc(4 * n, sizeof *numbers, "an order of quantities", s->error);
    s->order = ad_arena_alloc(s->algebra.arena, n, sizeof *s->order);
    if (!numbers || !s->order) {
        ad_free(numbers);
        return ad_fail(s->error, "out of memory for %d quantities", s->n);
    }
    int *next = numbers, *stack = numbers + n, *seen = numbers + 2 * n, *last = numbers + 3 * n, n_ordered = 0;
    for (int id = 0; id < s->n; id++) { /* a group's quantities one after the other */
        int group = s->schedule.group[id];
        next[id] = -1;
        next[last[group]] = id != group ? id : next[last[group]];
        last[group] = id;
    }
    for (int group = 0; group < s->n; group++)
        for (int id = s->schedule.group[group] == group ? group : -1; id >= 0; id = next[id]) {
            int waiting = 0;
            if (seen[id] >= 0)
                stack[waiting++] = id;
            while (waiting > 0) {
                int top = stack[waiting - 1], in = seen[top] >= 0 ? read_with_errors(s, top, seen[top]++) : -1;
                if (in >= 0 && seen[in] >= 0) {
                    stack[waiting++] = in;
                } else if (in < 0) {
                    if (seen[top] >= 0)
                        s->order[n_ordered++] = top;
                    seen[top] = -1;
                    waiting--;
                }
            }
        }
    ad_free(numbers);
    return 0;
}

static int prepare(tp_solver *s, const tp_series *series)
{
    tp_algebra *a = &s->algebra;
    s->n = a->quantities.n;
    size_t n = (size_t)s->n;
    s->alone = ad_arena_alloc(a->arena, n, sizeof *s->alone);
    s->paired = ad_arena_alloc(a->arena, n, sizeof *s->paired);
    s->single[0] = ad_arena_alloc(a->arena, n, sizeof *s->single[0]);
    s->single[1] = s->same ? s->single[0] : ad_arena_alloc(a->arena, n, sizeof *s->single[1]);
    s->kept = ad_arena_alloc(a->arena, n, sizeof *s->kept);
    s->functions = ad_arena_alloc(a->arena, (size_t)a->fns.n, sizeof *s->functions);
    s->gram_blocks = ad_arena_alloc(a->arena, n, sizeof *s->gram_blocks);
    s->plans = ad_arena_alloc(a->arena, n, sizeof *s->plans);
    s->partner = ad_arena_alloc(a->arena, n, sizeof *s->partner);
    s->series_at = ad_arena_alloc(a->arena, n, sizeof *s->series_at);
    int *by_argument = ad_arena_alloc(a->arena, n, sizeof *by_argument);
    if (!s->alone || !s->paired || !s->single[0] || !s->single[1] || !s->kept || !s->functions || !s->gram_blocks ||
        !s->plans || !s->partner || !s->series_at || !by_argument)
        return ad_fail(s->error, "out of memory for %d quantities", s->n);
    tp_find_needed(s, series);
    if (tp_fill_blocks(s))
        return -1;
    for (int id = 0; id < s->n; id++)
        if (tp_quantity_at(a, id)->kind == TP_Q_EXPECT && (s->alone[id] || s->paired[id]) && tp_plan_expect(s, id))
            return -1;
    find_partners(s, by_argument);
    if (tp_schedule_new(&s->schedule, a, series, s->paired, s->partner, s->error))
        return -1;
    return find_order(s) || tp_errors_begin(s) || tp_near_begin(s) ? -1 : 0;
}

static int plan_all_series(tp_solver *s)
{
    for (int id = 0; id < s->n; id++)
        if (s->paired[id] && s->plans[id] && s->plans[id]->by == TP_BY_SERIES &&
            tp_plan_series(s, id, 0, s->same ? 0 : 1))
            return -1;
    return 0;
}

static void release(tp_solver *s)
{
    tp_free_blocks(s);
    for (tp_series_entry *e = s->series; e; e = e->next)
        tp_mehler_free(e->series);
    for (int fn = 0; s->functions && fn < s->algebra.fns.n; fn++)
        if (s->functions[fn])
            tp_mehler_family_free(s->functions[fn]->family);
    tp_schedule_free(&s->schedule);
    tp_algebra_free(&s->algebra);
}

/* Do jumps, or terms that cancel to a millionth, let roundings of the inputs through to the kernel? */
static bool is_fragile(const tp_solver *s, const tp_series *series)
{
    const double millionth = 1e6;
    bool cancels = false;
    for (int k = 0; k < series->n; k++)
        for (int set = 0; set < (s->same ? 1 : 2); set++)
            cancels = cancels ||
                      s->errors.stated[set][0][series->at[k].q] * s->errors.stated[set][1][series->at[k].q] > millionth;
    return cancels || s->errors.jumps;
}

/* What an input's kernel with itself is, beside which errors are told, floats must have all digits of. */
static int check_floats(const tp_solver *s, const tp_series *series)
{
    for (int set = 0; s->floats && set < (s->same ? 1 : 2); set++) {
        const double *own = s->single[set][series->at[0].q];
        for (size_t row = 0; own && row < s->rows[set]; row++)
            if (fabs(own[row]) > 0 && fabs(own[row]) < (double)FLT_MIN)
                return ad_fail(s->error,
                               "the limit kernel of input %zu with itself, %.2g, is too small for a float (1.2e-38): "
                               "larger inputs or weights keep it, or doubles",
                               row, own[row]);
    }
    return 0;
}

int tp_limit_exact(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                   size_t rows2, const tp_limit_spec *spec, tp_rules rules, tp_kernel *kernel, bool *fragile,
                   ad_error *error)
{
    memset(kernel, 0, sizeof *kernel);
    int threads = ad_threads(spec->threads, error);
    if (!threads)
        return -1;
    tp_solver s = { .x = { x, x2 ? x2 : x },
                    .rows = { rows, x2 ? rows2 : rows },
                    .same = !x2 && spec->output == spec->output2,
                    .error = error,
                    .unit = TP_DOUBLE_UNIT,
                    .tolerance = spec->tolerance > 0 ? spec->tolerance : 1e-13 };
    tp_series series = { .n = 0 };
    int blas_threads = ad_blas_begin(threads);
    int status = tp_algebra_new(&s.algebra, program, error);
    s.algebra.rules = rules;
    s.folded = s.same;
    s.algebra.outputs[0] = (int)spec->output;
    s.algebra.outputs[1] = (int)spec->output2;
    if (!status &&
        (which == TP_NTK ? tp_ntk_series(&s.algebra, &series, &s.folded) : tp_nngp_series(&s.algebra, &series)))
        status = s.algebra.no_limit    ? -1
                 : s.algebra.cut       ? TP_CUT
                 : s.algebra.not_bp    ? TP_NOT_BP
                 : s.algebra.too_large ? TP_TOO_LARGE
                 : s.algebra.refused   ? TP_NO_RULE
                                       : -1;
    if (!status)
        status = prepare(&s, &series);
    kernel->rows = s.rows[0];
    kernel->rows2 = s.rows[1];
    if (!status && spec->floats && series.n == 1 && !(fabs(series.at[0].power) > 0) && !s.folded) {
        s.floats = spec->floats;
        s.stride = spec->stride ? spec->stride : s.rows[1];
    }
    for (int k = 0; k < series.n && !status; k++) {
        kernel->terms[k].power = series.at[k].power;
        if (!s.floats)
            kernel->terms[k].values = ad_reserve(s.rows[0] * s.rows[1], sizeof(double), "a limit kernel", error);
        status = s.floats || kernel->terms[k].values ? 0 : -1;
        kernel->n_terms = k + 1;
    }
    if (!status)
        status = solve_alone(&s, &series) || check_floats(&s, &series) || plan_all_series(&s) ||
                 tp_had_memory(&s.algebra) || tp_solve_tiles(&s, &series, kernel, spec, threads);
    if (!status)
        status = tp_had_memory(&s.algebra);
    if (!status)
        snprintf(kernel->method, sizeof kernel->method, "%s%s",
                 s.closed ? "closed forms" : "exact rules, series and quadrature", s.algebra.left);
    if (fragile)
        *fragile = !status && is_fragile(&s, &series);
    if (status == -1 && tp_is_full(&s.algebra))
        status = TP_TOO_LARGE;
    if (status && status != TP_NO_RULE && status != TP_NOT_BP && status != TP_TOO_LARGE && status != TP_CUT)
        status = s.diverges ? TP_INFINITE : s.too_long ? TP_NO_RULE : -1;
    release(&s);
    ad_blas_end(blas_threads);
    return status;
}

int tp_check_limit(const tp_program *program, tp_kernel_kind which, ad_error *error)
{
    tp_algebra algebra;
    tp_series series;
    ad_error refusal = { 0 };
    int status = tp_algebra_new(&algebra, program, error);
    algebra.error = &refusal;
    algebra.rules = TP_RULES_BP_UNCHECKED;
    if (!status && (which == TP_NTK ? tp_ntk_series(&algebra, &series, NULL) : tp_nngp_series(&algebra, &series)) &&
        (algebra.no_limit || algebra.cut))
        status = ad_fail(error, "%s", refusal.text);
    status = status && algebra.grows ? TP_GROWS : status && !algebra.no_limit && algebra.cut ? TP_CUT : status;
    tp_algebra_free(&algebra);
    return status;
}
