/* limit.c: evaluating a kernel's recursion: over tiles of sample pairs, the program as the inner loop.
 *
 * Variances are quantities at (i, i): they are computed first, for each sample of either set. Then every tile of pairs is
 * filled quantity by quantity, threads taking tiles. Where a tile holds a sample against itself, the kernel is the value
 * found along with the variances, so that the diagonal is exact. */
#include "tp/gauss.h"
#include "tp/recursion.h"
#include "tp/schedule.h"
#include "tp/vector.h"

#include <cblas.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { TILE = 64, LEAST_TILE = 16, CACHE = 512 * 1024, MOST_SCALARS = 64 };

/* Data that a Gram quantity meets: (rows, size) of one set, contiguous; without an axis a single entry of each sample. */
typedef struct {
    int node, from; /* from: a point's number */
    ad_axis axis;
    size_t size;
    double *rows[2];
} data_block;

typedef enum { BY_NOTHING, BY_CLOSED, BY_SERIES, BY_RULE } method;
enum { MOST_KINKS = 64 };
/* A function of the algebra as gauss.h knows it. One with scalars is another function for each sample of either set, and
 * has its kinks elsewhere: (rows, MOST_KINKS) of them, and how many. */
typedef struct {
    tp_univariate u;
    int n_scalars;
    double *kinks[2];
    int *n_kinks[2];
} function;

/* How an expectation is found. */
typedef struct {
    method by;
    const function *f, *g;
    const tp_mehler *series[2][2]; /* of f and of g, over the samples of either set; NULL: not yet made */
    double scale;        /* half squared distances are scale times the data's, where cov is affine in one Gram; else 0 */
    int gram;
} expect_plan;

/* Mehler's series of a function, over the samples of a set, whose variances are a quantity. */
typedef struct series_entry {
    struct series_entry *next;
    int fn, variance, set;
    tp_mehler *series;
} series_entry;

typedef struct {
    tp_algebra algebra;
    const double *x[2];
    size_t rows[2];
    bool same, folded; /* one set of inputs; the kernel is (Q + Q^T) / 2 of the series' values Q */
    int n; /* quantities */
    bool *alone, *paired; /* needed at (i, i); needed for pairs */
    double **single[2];   /* [quantity][row]: values at (i, i) of either set, NULL where no longer needed */
    bool *kept;           /* by quantity: what pairs, functions and kernels read of them */
    data_block *blocks;
    int n_blocks, blocks_room, (*gram_blocks)[2];
    function **functions; /* by the algebra's number; NULL where no expectation is taken of it */
    expect_plan **plans;  /* by quantity, NULL but for expectations that are needed */
    tp_schedule schedule;
    int *partner;             /* by quantity: the expectation that is found in one go with it, or -1 */
    series_entry *series;     /* all of them, each made once */
    double tolerance;
    _Atomic double worst;
    ad_error *error;
} solver;

static void note_error(solver *s, double error)
{
    double seen = atomic_load(&s->worst);
    while (error > seen && !atomic_compare_exchange_weak(&s->worst, &seen, error)) {
    }
}

/* ---- data ---- */
static int find_block(solver *s, int node, int from, ad_axis axis)
{
    for (int i = 0; i < s->n_blocks; i++)
        if (s->blocks[i].node == node && ad_same(s->blocks[i].axis, axis) && s->blocks[i].from == from)
            return i;
    if (s->n_blocks == s->blocks_room) {
        int room = s->blocks_room ? 2 * s->blocks_room : 8;
        data_block *larger = ad_arena_alloc(s->algebra.arena, (size_t)room, sizeof *larger);
        if (!larger)
            return ad_fail(s->error, "out of memory for %d blocks of data", room);
        if (s->n_blocks)
            memcpy(larger, s->blocks, (size_t)s->n_blocks * sizeof *larger);
        s->blocks = larger;
        s->blocks_room = room;
    }
    data_block *b = &s->blocks[s->n_blocks];
    *b = (data_block){ .node = node, .from = from, .axis = axis,
                       .size = axis.id ? ad_axis_fixed(s->algebra.graph, axis) : 1 };
    return s->n_blocks++;
}

/* Copies (rows, size) at the block's fixed axes out of its node's values. */
static int fill_block(const solver *s, data_block *b, int set, const double *values, const ad_sizes *sizes)
{
    const ad_graph *graph = s->algebra.graph;
    const ad_shape *shape = &ad_look(graph, b->node)->shape;
    size_t rows = s->rows[set], stride = 1, offset = 0, row_stride = 0, k_stride = 0;
    b->rows[set] = ad_alloc(rows * b->size, sizeof(double), "the limit's inputs", s->error);
    if (!b->rows[set])
        return -1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        ad_axis axis = shape->axes[i];
        if (ad_same(axis, b->axis))
            k_stride = stride;
        else if (ad_axis_kind(graph, axis) == AD_BATCH)
            row_stride = stride;
        else
            offset += (size_t)tp_point_index(tp_point_at(&s->algebra, b->from), axis) * stride;
        stride *= ad_axis_size(graph, axis, sizes);
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < b->size; k++)
            b->rows[set][i * b->size + k] = values[offset + i * row_stride + k * k_stride];
    return 0;
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
static int fill_blocks(const solver *s, int set)
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

/* ---- what is needed ---- */
/* The scalars in the functions of an expectation: how many, MOST_SCALARS of either at most. */
static int read_scalars(const solver *s, const tp_quantity *q, int *scalars)
{
    int n = tp_fn_scalars(&s->algebra, q->fn_a, scalars, MOST_SCALARS);
    n = n < MOST_SCALARS ? n : MOST_SCALARS;
    int more = tp_fn_scalars(&s->algebra, q->fn_b, scalars + n, MOST_SCALARS);
    return n + (more < MOST_SCALARS ? more : MOST_SCALARS);
}

/* What a quantity's value at (i, i) is computed from: number k of it, or -1 beyond the last. */
static int read_alone(const solver *s, int id, int k)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    int scalars[2 * MOST_SCALARS], n;
    switch (q->kind) {
    case TP_Q_SUM:
    case TP_Q_ALONG:
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

static void need_alone(const solver *s, int id)
{
    if (s->alone[id])
        return;
    s->alone[id] = true;
    for (int k = 0, in; (in = read_alone(s, id, k)) >= 0; k++)
        need_alone(s, in);
}

/* At (i, i), and from now on. */
static void keep_alone(const solver *s, int id)
{
    need_alone(s, id);
    s->kept[id] = true;
}

static void need_paired(const solver *s, int id)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    if (s->paired[id])
        return;
    s->paired[id] = true;
    if (q->kind == TP_Q_FIRST || q->kind == TP_Q_SECOND) {
        keep_alone(s, q->a);
        return;
    }
    for (int i = 0; i < q->n; i++)
        need_paired(s, q->parts[i].q);
    if (q->kind == TP_Q_PRODUCT || q->kind == TP_Q_FUNCTION || q->kind == TP_Q_EXPECT)
        need_paired(s, q->a);
    if (q->kind == TP_Q_PRODUCT)
        need_paired(s, q->b);
    if (q->kind != TP_Q_EXPECT)
        return;
    int scalars[2 * MOST_SCALARS], n = read_scalars(s, q, scalars);
    keep_alone(s, q->var_a);
    keep_alone(s, q->var_b);
    for (int k = 0; k < n; k++)
        keep_alone(s, scalars[k]);
}

/* ---- expectations ---- */
typedef struct {
    const tp_algebra *algebra;
    int fn;
    tp_sample sample;
} function_context;

static void eval_function(const tp_univariate *u, size_t n, const double *x, double *y)
{
    const function_context *context = u->context;
    tp_fn_eval(context->algebra, context->fn, &context->sample, n, x, y);
}

static int too_many_kinks(ad_error *error, int found)
{
    return ad_fail(error, "a function with %d kinks; at most %d are integrated", found, MOST_KINKS);
}

/* By its form if it is a row of the table, else by evaluating it. */
static int make_function(const solver *s, int fn, function *made)
{
    const tp_fn *f = tp_fn_at(&s->algebra, fn);
    made->n_scalars = tp_fn_scalars(&s->algebra, fn, NULL, 0);
    if (made->n_scalars > MOST_SCALARS)
        return ad_fail(s->error, "a function of %d scalars; at most %d are evaluated", made->n_scalars, MOST_SCALARS);
    if (f->op == TP_VARIABLE) {
        made->u = tp_univariate_form(TP_ID, 0);
        return 0;
    }
    if (f->op == TP_NUMBER && !(fabs(f->p - 1) > 0)) {
        made->u = tp_univariate_form(TP_ONE, 0);
        return 0;
    }
    if (f->op < AD_CUSTOM && f->a == s->algebra.variable) {
        made->u = tp_univariate_op((ad_op)f->op, f->p);
        return 0;
    }
    function_context *context = ad_arena_alloc(s->algebra.arena, 1, sizeof *context);
    double *kinks = ad_arena_alloc(s->algebra.arena, MOST_KINKS, sizeof *kinks);
    if (!context || !kinks)
        return ad_fail(s->error, "out of memory for a function");
    *context = (function_context){ .algebra = &s->algebra, .fn = fn };
    int found = made->n_scalars ? 0 : tp_fn_kinks(&s->algebra, fn, NULL, kinks, MOST_KINKS);
    if (found > MOST_KINKS)
        return too_many_kinks(s->error, found);
    made->u = (tp_univariate){ .form = TP_NUMERIC, .eval = eval_function, .context = context, .kinks = kinks,
                               .n_kinks = found, .parity = tp_fn_parity(&s->algebra, fn) };
    return 0;
}

static const function *find_function(solver *s, int fn)
{
    if (s->functions[fn])
        return s->functions[fn];
    function *made = ad_arena_alloc(s->algebra.arena, 1, sizeof *made);
    if (!made) {
        ad_fail(s->error, "out of memory for a function");
        return NULL;
    }
    return make_function(s, fn, made) ? NULL : (s->functions[fn] = made);
}

/* The series of a function at the variances of a set's samples; NULL with an error. */
static const tp_mehler *find_series(solver *s, int fn, const tp_univariate *f, int variance, int set)
{
    for (const series_entry *e = s->series; e; e = e->next)
        if (e->fn == fn && e->variance == variance && e->set == set)
            return e->series;
    series_entry *entry = ad_arena_alloc(s->algebra.arena, 1, sizeof *entry);
    if (!entry) {
        ad_fail(s->error, "out of memory for a series");
        return NULL;
    }
    tp_mehler *made = tp_mehler_new(f, s->rows[set], s->single[set][variance], s->tolerance, 0, s->error);
    if (!made)
        return NULL;
    note_error(s, made->difference);
    *entry = (series_entry){ s->series, fn, variance, set, made };
    s->series = entry;
    return made;
}

/* Of both functions, for pairs of these two sets. */
static int plan_series(solver *s, int id, int first, int second)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    expect_plan *plan = s->plans[id];
    plan->series[0][first] = find_series(s, q->fn_a, &plan->f->u, q->var_a, first);
    plan->series[1][second] = plan->series[0][first] ? find_series(s, q->fn_b, &plan->g->u, q->var_b, second) : NULL;
    return plan->series[1][second] ? 0 : -1;
}

static int plan_expect(solver *s, int id)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id), *cov = tp_quantity_at(&s->algebra, q->a);
    expect_plan *plan = ad_arena_alloc(s->algebra.arena, 1, sizeof *plan);
    if (!plan)
        return ad_fail(s->error, "out of memory for an expectation");
    s->plans[id] = plan;
    plan->f = find_function(s, q->fn_a);
    plan->g = plan->f ? find_function(s, q->fn_b) : NULL;
    if (!plan->g)
        return -1;
    plan->by = tp_has_closed(&plan->f->u, &plan->g->u) ? BY_CLOSED
               : plan->f->n_scalars + plan->g->n_scalars > 0 ? BY_RULE
               : plan->f->u.n_kinks + plan->g->u.n_kinks == 0 ? BY_SERIES : BY_RULE;
    plan->gram = -1;
    int part = cov->kind == TP_Q_GRAM ? q->a : cov->kind == TP_Q_SUM && cov->n == 1 ? cov->parts[0].q : -1;
    const tp_quantity *gram = part >= 0 ? tp_quantity_at(&s->algebra, part) : NULL;
    if (gram && gram->kind == TP_Q_GRAM && q->var_a == q->a && q->var_b == q->a &&
        s->gram_blocks[part][0] == s->gram_blocks[part][1]) {
        plan->gram = part;
        plan->scale = cov->kind == TP_Q_GRAM ? 1 : cov->parts[0].c;
    }
    return 0;
}

/* ---- one quantity over n pairs ---- */
typedef struct {
    size_t rows, columns;       /* of the tile; for values at (i, i): rows = n, columns = 1 */
    size_t row0, column0;
    int set[2];                 /* which set the rows and the columns are of */
    bool alone;                 /* values at (i, i) */
    double **values;            /* by quantity */
    double *q11, *q22, *half;   /* scratch of the tile's size */
} tile;

static void fill_gram(const solver *s, int id, const tile *t, double *out)
{
    const data_block *a = &s->blocks[s->gram_blocks[id][0]], *b = &s->blocks[s->gram_blocks[id][1]];
    const double *x = a->rows[t->set[0]] + t->row0 * a->size;
    const double *y = b->rows[t->set[1]] + t->column0 * b->size;
    if (t->alone)
        for (size_t i = 0; i < t->rows; i++)
            out[i] = cblas_ddot((int)a->size, x + i * a->size, 1, y + i * a->size, 1);
    else
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)t->rows, (int)t->columns, (int)a->size, 1, x,
                    (int)a->size, y, (int)b->size, 0, out, (int)t->columns);
}

/* Half squared distances of pairs that are nearly parallel, where the covariance alone has lost them. */
static const double *near_pairs(const solver *s, const expect_plan *plan, const tile *t, const double *cov)
{
    if (plan->gram < 0 || t->alone)
        return NULL;
    const data_block *a = &s->blocks[s->gram_blocks[plan->gram][0]];
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < t->columns; k++) {
            size_t at = i * t->columns + k;
            t->half[at] = (t->q11[at] + t->q22[at]) / 2 - cov[at];
            if (t->half[at] > 0.02 * t->q11[at])
                continue;
            const double *x = a->rows[t->set[0]] + (t->row0 + i) * a->size;
            const double *y = a->rows[t->set[1]] + (t->column0 + k) * a->size;
            double sum = 0;
            for (size_t m = 0; m < a->size; m++)
                sum += (x[m] - y[m]) * (x[m] - y[m]);
            t->half[at] = plan->scale * sum / 2;
        }
    return t->half;
}

/* The kinks of one function for every sample of a set: found once the variances and scalars are. */
static int find_kinks(solver *s, int fn, int set)
{
    function *f = s->functions[fn];
    size_t rows = s->rows[set];
    if (f->n_scalars == 0 || f->kinks[set] || tp_fn_smooth(&s->algebra, fn))
        return 0;
    f->kinks[set] = ad_arena_alloc(s->algebra.arena, rows * MOST_KINKS, sizeof(double));
    f->n_kinks[set] = ad_arena_alloc(s->algebra.arena, rows, sizeof(int));
    if (!f->kinks[set] || !f->n_kinks[set])
        return ad_fail(s->error, "out of memory for the kinks of a function");
    for (size_t i = 0; i < rows; i++) {
        tp_sample sample = { s->single[set], i };
        f->n_kinks[set][i] = tp_fn_kinks(&s->algebra, fn, &sample, f->kinks[set] + i * MOST_KINKS, MOST_KINKS);
        if (f->n_kinks[set][i] > MOST_KINKS)
            return too_many_kinks(s->error, f->n_kinks[set][i]);
    }
    return 0;
}

/* The function as it is for a row of a set: its scalars, and its kinks. */
static tp_univariate at_sample(const solver *s, int fn, int set, size_t row, function_context *context)
{
    const function *f = s->functions[fn];
    tp_univariate u = f->u;
    if (f->n_scalars == 0)
        return u;
    *context = (function_context){ &s->algebra, fn, { s->single[set], row } };
    u.context = context;
    if (f->kinks[set]) {
        u.kinks = f->kinks[set] + row * MOST_KINKS;
        u.n_kinks = f->n_kinks[set][row];
    }
    return u;
}

/* The rule for rows i and k of the tile's sets. */
static int by_rule(const solver *s, int id, const tile *t, size_t i, size_t k, double q11, double q22, double q12,
                   double *value, double *estimate, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    function_context contexts[2];
    tp_univariate f = at_sample(s, q->fn_a, t->set[0], t->row0 + i, &contexts[0]);
    tp_univariate g = at_sample(s, q->fn_b, t->set[1], t->column0 + k, &contexts[1]);
    return tp_quadrature(&f, &g, q11, q22, q12, value, estimate, error);
}

static void spread_variances(const tile *t, const double *v1, const double *v2)
{
    for (size_t i = 0; i < t->rows; i++) {
        for (size_t k = 0; k < t->columns; k++)
            t->q11[i * t->columns + k] = v1[i];
        memcpy(t->q22 + i * t->columns, t->alone ? v2 + i : v2, t->columns * sizeof *v2);
    }
}

/* Pairs too close to c = 1 for the series go through the rule; so do variances themselves, which are one-dimensional. */
static int fill_by_series(solver *s, int id, const tile *t, const double *cov, double *out, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const tp_mehler *f = s->plans[id]->series[0][t->set[0]], *g = s->plans[id]->series[1][t->set[1]];
    double size = f->tails[0] * g->tails[0], limit = fmax(s->tolerance, 1e-13) * size, bound = 0;
    bool line = t->alone && q->b == q->var_a && q->b == q->var_b;
    if (!t->alone)
        bound = tp_mehler_tile(f, g, t->row0, t->rows, t->column0, t->columns, cov, t->columns, out, t->columns);
    for (size_t i = 0; i < t->rows && t->alone && !line; i++)
        bound = fmax(bound, tp_mehler_tile(f, g, i, 1, i, 1, cov + i, 1, out + i, 1));
    if (bound <= 10 * limit && !line) {
        note_error(s, size > 0 ? bound / size : 0);
        return 0;
    }
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < t->columns; k++) {
            size_t at = i * t->columns + k, column = t->alone ? i : t->column0 + k;
            double estimate = 0;
            if (!line && tp_mehler_bound(f, g, t->row0 + i, column, cov[at]) <= 10 * limit)
                continue;
            if (by_rule(s, id, t, i, t->alone ? i : k, t->q11[at], t->q22[at], cov[at], &out[at], &estimate, error))
                return -1;
            note_error(s, size > 0 ? estimate / size : 0);
        }
    return 0;
}

/* An expectation, and its partner's (-1: none) at the same covariances. */
static int fill_expect(solver *s, int id, int partner, const tile *t, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const expect_plan *plan = s->plans[id];
    const double *v1 = s->single[t->set[0]][q->var_a] + t->row0, *v2 = s->single[t->set[1]][q->var_b] + t->column0;
    const double *cov = t->values[t->alone ? q->b : q->a];
    double *out = t->values[id];
    size_t n = t->rows * t->columns;
    spread_variances(t, v1, v2);
    if (partner >= 0) {
        tp_closed_pair(&plan->f->u, &s->plans[partner]->f->u, n, t->q11, t->q22, cov, near_pairs(s, plan, t, cov), out,
                       t->values[partner]);
        return 0;
    }
    if (plan->by == BY_CLOSED) {
        tp_closed(&plan->f->u, &plan->g->u, n, t->q11, t->q22, cov, near_pairs(s, plan, t, cov), out);
        return 0;
    }
    if (plan->by == BY_SERIES)
        return fill_by_series(s, id, t, cov, out, error);
    for (size_t i = 0; i < n; i++) {
        double estimate = 0;
        size_t row = i / t->columns, column = t->alone ? row : i % t->columns;
        if (by_rule(s, id, t, row, column, t->q11[i], t->q22[i], cov[i], &out[i], &estimate, error))
            return -1;
        if (fabs(out[i]) > 0)
            note_error(s, estimate / fabs(out[i]));
    }
    return 0;
}

/* Softmax and the like of m numbers x: entry `entry` of the result. */
static double along(int op, const double *x, int m, int entry)
{
    int largest = 0;
    for (int k = 1; k < m; k++)
        if (x[k] > x[largest])
            largest = k;
    if (op == AD_MAX)
        return x[largest];
    if (op == AD_ARGMAX)
        return largest == entry;
    double sum = 0;
    for (int k = 0; k < m; k++)
        sum += exp(x[k] - x[largest]);
    return op == AD_SOFTMAX ? exp(x[entry] - x[largest]) / sum : x[largest] + log(sum);
}

static int fill_along(const solver *s, int id, const tile *t, size_t n, double *out, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    double *x = ad_alloc((size_t)q->n, sizeof *x, "a softmax", error);
    if (!x)
        return -1;
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < q->n; k++)
            x[k] = t->values[q->parts[k].q][i];
        out[i] = along(q->op, x, q->n, q->b);
    }
    ad_free(x);
    return 0;
}

/* A scalar of one side's samples, for every pair. */
static void fill_side(const solver *s, const tp_quantity *q, const tile *t, double *out)
{
    int side = q->kind == TP_Q_SECOND;
    const double *from = s->single[t->set[side]][q->a] + (side ? t->column0 : t->row0);
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < t->columns; k++)
            out[i * t->columns + k] = from[side && !t->alone ? k : i];
}

static void fill_data(const solver *s, int id, const tile *t, double *out)
{
    const double *from = s->blocks[s->gram_blocks[id][0]].rows[t->set[0]] + t->row0;
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < t->columns; k++)
            out[i * t->columns + k] = from[i];
}

static int fill(solver *s, int id, int partner, const tile *t, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    double *out = t->values[id];
    size_t n = t->alone ? t->rows : t->rows * t->columns;
    switch (q->kind) {
    case TP_Q_NUMBER:
        for (size_t i = 0; i < n; i++)
            out[i] = q->c;
        return 0;
    case TP_Q_GRAM: fill_gram(s, id, t, out); return 0;
    case TP_Q_DATA: fill_data(s, id, t, out); return 0;
    case TP_Q_FUNCTION:
        tp_fn_eval(&s->algebra, q->fn_a, NULL, n, t->values[q->a], out);
        return 0;
    case TP_Q_ALONG: return fill_along(s, id, t, n, out, error);
    case TP_Q_FIRST:
    case TP_Q_SECOND: fill_side(s, q, t, out); return 0;
    case TP_Q_SUM:
        tp_vector_get()->affine(n, q->c, q->parts[0].c, t->values[q->parts[0].q], out);
        for (int k = 1; k < q->n; k++)
            tp_vector_get()->accumulate(n, q->parts[k].c, t->values[q->parts[k].q], NULL, out);
        return 0;
    case TP_Q_PRODUCT: tp_vector_get()->multiply(n, t->values[q->a], t->values[q->b], out); return 0;
    case TP_Q_EXPECT: return fill_expect(s, id, partner, t, error);
    }
    return 0;
}

/* ---- the run ---- */
/* What a set's values at (i, i) are kept in: blocks of rows, taken over after the last use. */
typedef struct {
    size_t rows;
    double **freed;
    int n_freed;
    int *last;    /* by quantity: the last one that reads it; itself where none does */
    int *total;   /* by quantity: the kernel's sum that it is a summand of, or -1 */
    double *times; /* ... times this */
} rows_pool;

static double *take_rows(const solver *s, rows_pool *pool)
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
static void stream_totals(const solver *s, const tp_series *series, rows_pool *pool)
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

static int pool_begin(const solver *s, rows_pool *pool, const tp_series *series, double **values)
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
    for (int id = 0; id < s->n; id++)
        for (int k = 0, in; s->alone[id] && !is_streamed(pool, id) && (in = read_alone(s, id, k)) >= 0; k++)
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
static int solve_row(solver *s, int id, int set, const tile *t, rows_pool *pool)
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
    if (q->kind == TP_Q_EXPECT &&
        (find_kinks(s, q->fn_a, set) || find_kinks(s, q->fn_b, set) ||
         (s->plans[id]->by == BY_SERIES && plan_series(s, id, set, set))))
        return -1;
    return fill(s, id, partner, t, s->error);
}

static void give_back(const solver *s, int id, double **values, rows_pool *pool)
{
    if (s->kept[id] || !values[id])
        return;
    pool->freed[pool->n_freed++] = values[id];
    values[id] = NULL;
}

/* All values at (i, i), for either set, quantity after quantity. */
static int solve_alone(solver *s, const tp_series *series)
{
    for (int set = 0; set < (s->same ? 1 : 2); set++) {
        rows_pool pool = { .rows = s->rows[set] };
        double *scratch = ad_arena_alloc(s->algebra.arena, 3 * pool.rows, sizeof *scratch), **values = s->single[set];
        if (!scratch)
            return ad_fail(s->error, "out of memory for variances");
        tile t = { .rows = pool.rows, .columns = 1, .set = { set, set }, .alone = true, .values = values, .q11 = scratch,
                   .q22 = scratch + pool.rows, .half = scratch + 2 * pool.rows };
        if (pool_begin(s, &pool, series, values))
            return -1;
        for (int id = 0; id < s->n; id++) {
            if (!s->alone[id] || is_streamed(&pool, id))
                continue;
            if (solve_row(s, id, set, &t, &pool))
                return -1;
            if (pool.total[id] >= 0)
                tp_vector_get()->accumulate(pool.rows, pool.times[id], values[id], NULL, values[pool.total[id]]);
            for (int k = 0, in; (in = read_alone(s, id, k)) >= 0; k++)
                if (pool.last[in] == id)
                    give_back(s, in, values, &pool);
            if (pool.last[id] == id)
                give_back(s, id, values, &pool);
        }
    }
    return 0;
}

/* Are the values at (j, i) those at (i, j), and only the latter computed? */
static bool by_halves(const solver *s)
{
    return s->same && !s->folded;
}

/* One tile: all quantities, then the kernels' values into place, mirrored where only one half is computed. */
static int solve_tile(solver *s, const tp_series *series, tp_kernel *kernel, const tile *t, double *const *totals,
                      ad_error *error)
{
    size_t n = t->rows * t->columns;
    bool half = by_halves(s);
    for (int k = 0; k < series->n; k++)
        memset(totals[k], 0, n * sizeof *totals[k]);
    for (int i = 0; i < s->schedule.n_steps; i++) {
        const tp_step *step = &s->schedule.steps[i];
        if (step->kind == TP_STEP_FILL) {
            if (fill(s, step->id, step->partner, t, error))
                return -1;
            continue;
        }
        const double *a = t->values[step->id], *b = step->partner >= 0 ? t->values[step->partner] : NULL;
        tp_vector_get()->accumulate(n, step->c, a, b, totals[step->term]);
    }
    for (int k = 0; k < series->n; k++) {
        const double *from = totals[k], *diagonal = s->single[0][series->at[k].q];
        double *to = kernel->terms[k].values;
        for (size_t i = 0; i < t->rows; i++)
            for (size_t j = 0; j < t->columns; j++) {
                size_t row = t->row0 + i, column = t->column0 + j;
                double value = from[i * t->columns + j];
                if (s->same && row == column)
                    value = diagonal[row];
                if (half && column < row)
                    continue;
                to[row * kernel->rows2 + column] = value;
                if (half)
                    to[column * kernel->rows2 + row] = value;
            }
    }
    return 0;
}

/* The edge of tiles: as large as the slots leave room for in a cache, and of equal parts of the rows. */
static size_t tile_edge(const solver *s, size_t rows)
{
    size_t edge = TILE, slots = (size_t)s->schedule.n_slots + 3 + TP_MAX_POWERS;
    while (edge > LEAST_TILE && slots * edge * edge * sizeof(double) > CACHE)
        edge -= LEAST_TILE / 2;
    size_t parts = (rows + edge - 1) / edge;
    return (rows + parts - 1) / parts;
}

static int solve_tiles(solver *s, const tp_series *series, tp_kernel *kernel, int threads)
{
    size_t high = tile_edge(s, s->rows[0]), wide = s->same ? high : tile_edge(s, s->rows[1]), area = high * wide;
    size_t down = (s->rows[0] + high - 1) / high, across = (s->rows[1] + wide - 1) / wide;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        ad_error error = { 0 };
        double *totals[TP_MAX_POWERS], **values = ad_alloc((size_t)s->n + 1, sizeof *values, "a tile", &error);
        size_t blocks = (size_t)s->schedule.n_slots + (size_t)series->n + 3;
        double *memory = ad_alloc(blocks * area, sizeof *memory, "a tile", &error), *next = memory;
        failed = !values || !memory;
        for (int k = 0; k < series->n && !failed; k++, next += area)
            totals[k] = next;
        double *scratch = next;
        for (int id = 0; id < s->n && !failed; id++)
            if (s->schedule.slot[id] >= 0)
                values[id] = scratch + (3 + (size_t)s->schedule.slot[id]) * area;
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < down * across; k++) {
            size_t i = k / across * high, j = k % across * wide;
            if (failed || (by_halves(s) && j + wide <= i))
                continue;
            tile t = { .rows = s->rows[0] - i < high ? s->rows[0] - i : high,
                       .columns = s->rows[1] - j < wide ? s->rows[1] - j : wide, .row0 = i, .column0 = j,
                       .set = { 0, s->same ? 0 : 1 }, .values = values, .q11 = scratch, .q22 = scratch + area,
                       .half = scratch + 2 * area };
            failed = solve_tile(s, series, kernel, &t, totals, &error) != 0;
        }
        if (failed)
#pragma omp critical
            ad_fail(s->error, "%s", error.text);
        ad_free(values);
        ad_free(memory);
    }
    return failed ? -1 : 0;
}

static void unfold(const solver *s, tp_kernel *kernel)
{
    size_t n = s->rows[0];
    for (int k = 0; k < kernel->n_terms; k++) {
        double *a = kernel->terms[k].values;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++)
                a[i * n + j] = a[j * n + i] = (a[i * n + j] + a[j * n + i]) / 2;
    }
}

/* Expectations of f f and of f' f' at the same covariances, which have their closed forms in common. */
static bool are_partners(const solver *s, int id, int other)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id), *r = tp_quantity_at(&s->algebra, other);
    const expect_plan *p = s->plans[id], *d = s->plans[other];
    if (q->a != r->a || q->b != r->b || q->var_a != r->var_a || q->var_b != r->var_b || q->fn_a != q->fn_b ||
        r->fn_a != r->fn_b)
        return false;
    return (p->f->u.form == TP_RELU && d->f->u.form == TP_STEP) || (p->f->u.form == TP_ERF && d->f->u.form == TP_ERF_GRAD) ||
           (p->f->u.form == TP_GELU && d->f->u.form == TP_GELU_GRAD) || (p->f->u.form == TP_SIN && d->f->u.form == TP_COS);
}

/* by_argument[q]: the last expectation seen whose covariance is q. */
static void find_partners(solver *s, int *by_argument)
{
    for (int id = 0; id < s->n; id++)
        s->partner[id] = by_argument[id] = -1;
    for (int id = 0; id < s->n; id++) {
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        if (q->kind != TP_Q_EXPECT || !s->paired[id] || s->plans[id]->by != BY_CLOSED)
            continue;
        int other = by_argument[q->a];
        by_argument[q->a] = id;
        if (other < 0 || s->partner[other] >= 0 || !(are_partners(s, id, other) || are_partners(s, other, id)))
            continue;
        s->partner[id] = other;
        s->partner[other] = id;
    }
}

static int prepare(solver *s, const tp_series *series)
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
    int *by_argument = ad_arena_alloc(a->arena, n, sizeof *by_argument);
    if (!s->alone || !s->paired || !s->single[0] || !s->single[1] || !s->kept || !s->functions || !s->gram_blocks || !s->plans ||
        !s->partner || !by_argument)
        return ad_fail(s->error, "out of memory for %d quantities", s->n);
    for (int k = 0; k < series->n; k++) {
        need_paired(s, series->at[k].q);
        keep_alone(s, series->at[k].q);
    }
    for (int id = 0; id < s->n; id++) {
        const tp_quantity *q = tp_quantity_at(a, id);
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
        if (fill_blocks(s, set))
            return -1;
    for (int id = 0; id < s->n; id++)
        if (tp_quantity_at(a, id)->kind == TP_Q_EXPECT && (s->alone[id] || s->paired[id]) && plan_expect(s, id))
            return -1;
    find_partners(s, by_argument);
    return tp_schedule_new(&s->schedule, a, series, s->paired, s->partner, s->error);
}

static int plan_all_series(solver *s)
{
    for (int id = 0; id < s->n; id++)
        if (s->paired[id] && s->plans[id] && s->plans[id]->by == BY_SERIES && plan_series(s, id, 0, s->same ? 0 : 1))
            return -1;
    return 0;
}

static void release(solver *s)
{
    for (int i = 0; i < s->n_blocks; i++)
        for (int set = 0; set < 2; set++)
            ad_free(s->blocks[i].rows[set]);
    for (series_entry *e = s->series; e; e = e->next)
        tp_mehler_free(e->series);
    tp_schedule_free(&s->schedule);
    tp_algebra_free(&s->algebra);
}

int tp_check_rows(const tp_program *program, const double *x, size_t rows, const char *which, ad_error *error)
{
    size_t features = nn_features(program->net);
    if (rows == 0)
        return ad_fail(error, "limit: %s inputs have no rows", which);
    for (size_t i = 0; i < rows * features; i++)
        if (!isfinite(x[i]))
            return ad_fail(error, "limit: %s inputs: row %zu, column %zu is %g", which, i / features, i % features, x[i]);
    return 0;
}

int tp_limit_exact(const tp_program *program, tp_which which, const double *x, size_t rows, const double *x2,
                   size_t rows2, const tp_limit_spec *spec, tp_rules rules, tp_kernel *kernel, ad_error *error)
{
    memset(kernel, 0, sizeof *kernel);
    solver s = { .x = { x, x2 ? x2 : x }, .rows = { rows, x2 ? rows2 : rows }, .same = !x2 && spec->output == spec->output2, .error = error,
                 .tolerance = spec->tolerance > 0 ? spec->tolerance : 1e-13 };
    tp_series series = { .n = 0 };
    int status = tp_algebra_new(&s.algebra, program, error);
    s.algebra.rules = rules;
    s.folded = s.same;
    s.algebra.outputs[0] = (int)spec->output;
    s.algebra.outputs[1] = (int)spec->output2;
    if (!status && (which == TP_NTK ? tp_ntk_series(&s.algebra, &series, &s.folded) : tp_nngp_series(&s.algebra, &series)))
        status = s.algebra.no_limit ? -1 : s.algebra.not_bp ? TP_NOT_BP : TP_NO_RULE;
    if (!status)
        status = prepare(&s, &series);
    kernel->rows = s.rows[0];
    kernel->rows2 = s.rows[1];
    for (int k = 0; k < series.n && !status; k++) {
        kernel->terms[k].power = series.at[k].power;
        kernel->terms[k].values = ad_alloc(s.rows[0] * s.rows[1], sizeof(double), "a limit kernel", error);
        status = kernel->terms[k].values ? 0 : -1;
        kernel->n_terms = k + 1;
    }
    if (!status)
        status = solve_alone(&s, &series) || plan_all_series(&s) ||
                 solve_tiles(&s, &series, kernel, spec->threads > 0 ? spec->threads : 1);
    if (!status && s.folded)
        unfold(&s, kernel);
    kernel->error = s.worst;
    release(&s);
    if (status)
        tp_kernel_free(kernel);
    return status == TP_NO_RULE || status == TP_NOT_BP ? status : status ? -1 : 0;
}

int tp_check_limit(const tp_program *program, tp_which which, ad_error *error)
{
    tp_algebra algebra;
    tp_series series;
    ad_error refusal = { 0 };
    int status = tp_algebra_new(&algebra, program, error);
    algebra.error = &refusal;
    algebra.rules = TP_RULES_BP_UNCHECKED;
    if (!status && (which == TP_NTK ? tp_ntk_series(&algebra, &series, NULL) : tp_nngp_series(&algebra, &series)) &&
        algebra.no_limit)
        status = ad_fail(error, "%s", refusal.text);
    tp_algebra_free(&algebra);
    return status;
}

void tp_kernel_free(tp_kernel *kernel)
{
    for (int k = 0; k < kernel->n_terms; k++)
        ad_free(kernel->terms[k].values);
    ad_free(kernel->deviations);
    memset(kernel, 0, sizeof *kernel);
}

void tp_kernel_at(const tp_kernel *kernel, double n, double *out)
{
    size_t count = kernel->rows * kernel->rows2;
    memset(out, 0, count * sizeof *out);
    for (int k = 0; k < kernel->n_terms; k++) {
        double factor = pow(n, kernel->terms[k].power);
        for (size_t i = 0; i < count; i++)
            out[i] += factor * kernel->terms[k].values[i];
    }
}

bool tp_kernel_converges(const tp_kernel *kernel)
{
    for (int k = 0; k < kernel->n_terms; k++)
        if (fabs(kernel->terms[k].power) > 1e-9)
            return false;
    return true;
}
