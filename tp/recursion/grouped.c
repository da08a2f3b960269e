/* grouped.c: a kernel whose recursion has expectations of many functions of few correlated Gaussians, by points.
 *
 * A group's Gaussians are L z, L L^T their covariance, which the recursion has found before, and z a run's points: the
 * expectation is a mean over these alone, of as many dimensions as there are Gaussians. Gates of their own matrices are
 * groups of their own; what is of two functions or fewer has few dimensions. Every quantity has a value in each run,
 * made of the same run's: whatever an error does later, the spread of the runs tells it. */
#include "autodiff/base/base.h"
#include "tp/recursion/solver.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* Rows of numbers, one a point: the variables, then what is made of them, each of rows before it. */
typedef struct {
    int fn, of;   /* of a function: its argument's row */
    int first, n; /* of a polynomial (fn = -1): its terms */
} row_step;
typedef struct {
    double c;
    int n, rows[TP_MAX_FACTORS];
} row_term;

/* How a group's product is computed. */
typedef struct {
    int n_lins, n_steps, n_terms, n_factors, steps_capacity, terms_capacity;
    tp_group_lin lins[TP_MAX_GROUP];
    row_step *steps;
    row_term *terms;
    int factors[2 * TP_MAX_FACTORS]; /* rows that are multiplied */
    int like[2];                     /* rows whose product has an expectation that is known */
} group_plan;

typedef struct {
    tp_solver *s;
    const tp_group_points *points;
    size_t runs, stride;  /* stride: numbers of a sample or pair, (quantities, runs) */
    double *single[2];    /* (rows, quantities, runs): values at (i, i) of either set */
    group_plan **plans;   /* by quantity: of a group, or of an expectation without a closed form */
    tp_univariate *forms; /* (quantities, 2): of an expectation with one */
    struct {
        size_t n;
        double *x, *w;
    } rules[TP_MAX_GROUP + 1]; /* by the number of variables d: (runs, d, n) and (runs, n) */
} grouped;

/* ---- plans ---- */
static int add_step(grouped *g, group_plan *p, row_step step)
{
    for (int k = 0; k < p->n_steps && step.fn >= 0; k++)
        if (p->steps[k].fn == step.fn && p->steps[k].of == step.of)
            return p->n_lins + k;
    if (!ad_arena_grow(g->s->algebra.arena, (void **)&p->steps, p->n_steps, &p->steps_capacity, sizeof *p->steps))
        return tp_lacks_memory(&g->s->algebra);
    p->steps[p->n_steps] = step;
    return p->n_lins + p->n_steps++;
}

/* Is a function made of ops that are smooth and grow linearly at most? Of others points may miss what decides. */
static bool is_tame(const tp_algebra *algebra, int fn)
{
    const tp_fn_parts *parts = tp_fn_parts_of(algebra, fn);
    bool tame = parts != NULL;
    for (int k = 0; tame && k < parts->n; k++) {
        int op = tp_fn_at(algebra, parts->at[k].id)->op;
        const ad_op_facts *facts = op < AD_N_OPS ? ad_op_facts_of((ad_op)op) : NULL;
        bool power = op == AD_SQUARE || (op == AD_POWER && tp_fn_exponent(algebra, parts->at[k].id) > 0);
        bool simple = facts && facts->breaks == AD_SMOOTH && facts->domain == AD_REALS &&
                      (facts->growth == AD_BOUNDED || facts->growth == AD_LINEAR);
        tame = op == TP_VARIABLE || op == TP_NUMBER || op == TP_PLUS || op == TP_TIMES || power || simple;
    }
    tp_fn_parts_end(algebra, fn, parts);
    return tame;
}

/* TP_NO_RULE where points are none for it. */
static int row_of_function(grouped *g, group_plan *p, int fn, int of)
{
    if (fn == g->s->algebra.variable)
        return of;
    if (tp_fn_prepare(&g->s->algebra, fn))
        return -1;
    return is_tame(&g->s->algebra, fn) ? add_step(g, p, (row_step){ .fn = fn, .of = of }) : TP_NO_RULE;
}

static int row_of_factor(grouped *g, group_plan *p, tp_factor f, int second);

/* The row of a coordinate that a function is taken of. */
static int row_of_coordinate(grouped *g, group_plan *p, const tp_coordinate *x, int second)
{
    row_term *terms = ad_arena_alloc(g->s->algebra.arena, (size_t)x->n, sizeof *terms);
    if (!terms)
        return tp_lacks_memory(&g->s->algebra);
    for (int i = 0; i < x->n; i++) {
        terms[i] = (row_term){ .c = x->terms[i].c, .n = x->terms[i].n };
        for (int m = 0; m < x->terms[i].n; m++)
            if ((terms[i].rows[m] = row_of_factor(g, p, x->terms[i].factors[m], second)) < 0)
                return terms[i].rows[m];
    }
    row_step step = { .fn = -1, .first = p->n_terms, .n = x->n };
    for (int i = 0; i < x->n; i++) {
        if (!ad_arena_grow(g->s->algebra.arena, (void **)&p->terms, p->n_terms, &p->terms_capacity, sizeof *p->terms))
            return tp_lacks_memory(&g->s->algebra);
        p->terms[p->n_terms++] = terms[i];
    }
    return add_step(g, p, step);
}

static int row_of_factor(grouped *g, group_plan *p, tp_factor f, int second)
{
    const tp_algebra *algebra = &g->s->algebra;
    const tp_coordinate *nested = tp_nested(algebra, f.lin);
    int of = 0;
    if (nested)
        of = row_of_coordinate(g, p, nested, second);
    else
        while (p->lins[of].lin != f.lin || p->lins[of].second != second)
            of++;
    return of < 0 ? of : row_of_function(g, p, f.fn, of);
}

static int plan_group(grouped *g, int id)
{
    tp_algebra *algebra = &g->s->algebra;
    const tp_quantity *q = tp_quantity_at(algebra, id);
    const tp_group *group = tp_group_at(algebra, q->a);
    group_plan *p = g->plans[id] = ad_arena_alloc(algebra->arena, 1, sizeof *p);
    if (!p)
        return tp_lacks_memory(algebra);
    p->n_lins = tp_group_lins(algebra, q->a, p->lins);
    for (int k = 0; k < group->n; k++)
        if ((p->factors[p->n_factors++] = row_of_factor(g, p, group->at[k].factor, group->at[k].second)) < 0)
            return p->factors[k];
    for (int k = 0; k < 2 && q->b >= 0; k++) {
        const row_step *step = &p->steps[p->factors[k] - p->n_lins];
        p->like[k] = step->fn >= 0 ? step->of : p->factors[k];
    }
    return 0;
}

/* E f(u) g(v): a closed form, or a group of two. */
static int plan_pair(grouped *g, int id)
{
    tp_algebra *algebra = &g->s->algebra;
    const tp_quantity *q = tp_quantity_at(algebra, id);
    int scalar;
    if (tp_fn_scalars(algebra, q->fn_a, &scalar, 1) > 0 || tp_fn_scalars(algebra, q->fn_b, &scalar, 1) > 0)
        return TP_NO_RULE;
    tp_univariate *u = &g->forms[2 * (size_t)id];
    if (tp_univariate_row(algebra, q->fn_a, u) && tp_univariate_row(algebra, q->fn_b, u + 1) && tp_has_closed(u, u + 1))
        return 0;
    group_plan *p = g->plans[id] = ad_arena_alloc(algebra->arena, 1, sizeof *p);
    if (!p)
        return tp_lacks_memory(algebra);
    double number;
    p->n_lins = tp_fn_is_number(algebra, q->fn_b, &number) ? 1 : 2;
    for (int k = 0; k < p->n_lins; k++)
        if ((p->factors[p->n_factors++] = row_of_function(g, p, k ? q->fn_b : q->fn_a, k)) < 0)
            return p->factors[k];
    return 0;
}

static int plan_all(grouped *g)
{
    tp_solver *s = g->s;
    for (int id = 0; id < s->n; id++) {
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        if (!s->alone[id] && !s->paired[id])
            continue;
        if (q->kind == TP_Q_ALONG || q->jumps)
            return TP_NO_RULE;
        int status = q->kind == TP_Q_GROUP ? plan_group(g, id) : q->kind == TP_Q_EXPECT ? plan_pair(g, id) : 0;
        if (status)
            return status;
    }
    return 0;
}

/* ---- one group ---- */
/* L with L L^T the covariance a, both packed by rows; what roundings or a run's errors make negative is 0. */
static void factorise(int n, const double *a, double *l)
{
    const double least = 1e-11;
    for (int i = 0; i < n; i++) {
        const double *of = a + (size_t)i * (size_t)(i + 1) / 2;
        double *row = l + (size_t)i * (size_t)(i + 1) / 2, left = of[i];
        for (int k = 0; k < i; k++) {
            const double *before = l + (size_t)k * (size_t)(k + 1) / 2;
            double sum = of[k];
            for (int m = 0; m < k; m++)
                sum -= row[m] * before[m];
            row[k] = before[k] > 0 ? sum / before[k] : 0;
            left -= row[k] * row[k];
        }
        double scale = left < 0 && of[i] > 0 ? sqrt(of[i] / (of[i] - left)) : 1;
        for (int k = 0; k < i; k++)
            row[k] *= scale;
        row[i] = left > least * of[i] ? sqrt(left) : 0;
    }
}

enum { CHUNK = 256 };

static void run_step(const grouped *g, const group_plan *p, int k, size_t n, double (*rows)[CHUNK])
{
    const row_step *step = &p->steps[k];
    double *to = rows[p->n_lins + k];
    if (step->fn >= 0) {
        tp_fn_eval(&g->s->algebra, step->fn, NULL, n, rows[step->of], to);
        return;
    }
    memset(to, 0, n * sizeof *to);
    for (int t = step->first; t < step->first + step->n; t++) {
        const row_term *term = &p->terms[t];
        double product[CHUNK];
        for (size_t i = 0; i < n; i++)
            product[i] = term->c;
        for (int m = 0; m < term->n; m++)
            for (size_t i = 0; i < n; i++)
                product[i] *= rows[term->rows[m]][i];
        for (size_t i = 0; i < n; i++)
            to[i] += product[i];
    }
}

/* Sums over a run's points. */
typedef struct {
    double product, like, likes, both; /* of the group's product, of what is like it, of that squared, and of both */
} sums;

static void add_sums(const grouped *g, const group_plan *p, size_t n, const double *w, double (*rows)[CHUNK],
                     const double *known, sums *sum)
{
    double product[CHUNK], like[CHUNK];
    for (int k = 0; k < p->n_steps; k++)
        run_step(g, p, k, n, rows);
    memcpy(product, rows[p->factors[0]], n * sizeof *product);
    for (int k = 1; k < p->n_factors; k++)
        tp_array_multiply(n, product, rows[p->factors[k]], product);
    sum->product += cblas_ddot((int)n, product, 1, w, 1) / 2;
    if (!known)
        return;
    tp_array_multiply(n, rows[p->like[0]], rows[p->like[1]], like);
    sum->like += cblas_ddot((int)n, like, 1, w, 1) / 2;
    tp_array_multiply(n, product, like, product);
    sum->both += cblas_ddot((int)n, product, 1, w, 1) / 2;
    tp_array_multiply(n, like, like, like);
    sum->likes += cblas_ddot((int)n, like, 1, w, 1) / 2;
}

/* The mean of the group's product over a run's points; with that of what is like it, known: regressed on it. */
static double mean_of(const grouped *g, const group_plan *p, size_t run, const double *covariance, const double *known,
                      double (*rows)[CHUNK])
{
    size_t count = g->rules[p->n_lins].n;
    const double *x = g->rules[p->n_lins].x + run * (size_t)p->n_lins * count, *w = g->rules[p->n_lins].w + run * count;
    double l[TP_MAX_GROUP * (TP_MAX_GROUP + 1) / 2];
    sums sum = { 0 };
    factorise(p->n_lins, covariance, l);
    for (size_t start = 0; start < count; start += CHUNK) {
        size_t n = count - start < CHUNK ? count - start : CHUNK;
        for (int i = 0; i < p->n_lins; i++) {
            const double *row = l + (size_t)i * (size_t)(i + 1) / 2;
            memset(rows[i], 0, n * sizeof **rows);
            for (int k = 0; k <= i; k++)
                if (fabs(row[k]) > 0)
                    tp_array_accumulate(n, row[k], x + (size_t)k * count + start, NULL, rows[i]);
        }
        add_sums(g, p, n, w + start, rows, known, &sum);
        for (int i = 0; i < p->n_lins; i++)
            tp_array_affine(n, 0, -1, rows[i], rows[i]);
        add_sums(g, p, n, w + start, rows, known, &sum);
    }
    double variance = sum.likes - sum.like * sum.like;
    return known && variance > 0 ? sum.product - (sum.both - sum.product * sum.like) / variance * (sum.like - *known)
                                 : sum.product;
}

/* ---- quantities ---- */
/* A sample or a pair: what is known of either side's sample, and where its own values go. */
typedef struct {
    bool alone;
    int set[2];
    size_t row[2];
    const double *side[2]; /* (quantities, runs) */
    double *values;        /* (quantities, runs) */
    double (*rows)[CHUNK];
} pair_of;

static void solve_group(const grouped *g, int id, const pair_of *t, double *out)
{
    const tp_quantity *q = tp_quantity_at(&g->s->algebra, id);
    double covariance[TP_MAX_GROUP * (TP_MAX_GROUP + 1) / 2];
    for (size_t r = 0; r < g->runs; r++) {
        const double *known = q->b < 0 ? NULL : t->values + (size_t)q->parts[q->b].q * g->runs + r;
        for (int k = 0; k < (q->b < 0 ? q->n : q->b); k++)
            covariance[k] = t->values[(size_t)q->parts[k].q * g->runs + r];
        out[r] = mean_of(g, g->plans[id], r, covariance, known, t->rows);
    }
}

static void solve_pair(const grouped *g, int id, const pair_of *t, double *out)
{
    const tp_quantity *q = tp_quantity_at(&g->s->algebra, id);
    size_t runs = g->runs;
    const double *cov = t->values + (size_t)(t->alone ? q->b : q->a) * runs;
    const double *va = t->side[0] + (size_t)q->var_a * runs, *vb = t->side[1] + (size_t)q->var_b * runs;
    const tp_univariate *u = &g->forms[2 * (size_t)id];
    if (!g->plans[id]) {
        tp_closed(u, u + 1, runs, va, vb, cov, NULL, out);
        return;
    }
    for (size_t r = 0; r < runs; r++)
        out[r] = mean_of(g, g->plans[id], r, (double[]){ va[r], cov[r], vb[r] }, NULL, t->rows);
}

static double gram_of(const grouped *g, int id, const pair_of *t)
{
    const tp_solver *s = g->s;
    const tp_data_block *a = &s->blocks[s->gram_blocks[id][0]], *b = &s->blocks[s->gram_blocks[id][1]];
    return cblas_ddot((int)a->size, a->rows[t->set[0]] + t->row[0] * a->size, 1,
                      b->rows[t->set[1]] + t->row[1] * b->size, 1);
}

static void solve_quantity(const grouped *g, int id, const pair_of *t)
{
    const tp_solver *s = g->s;
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    size_t runs = g->runs;
    double *out = t->values + (size_t)id * runs, number = q->c;
    const double *a = q->a < 0 ? NULL : t->values + (size_t)q->a * runs;
    const double *b = q->b < 0 ? NULL : t->values + (size_t)q->b * runs;
    switch (q->kind) {
    case TP_Q_SUM:
        for (size_t r = 0; r < runs; r++)
            out[r] = q->c;
        for (int k = 0; k < q->n; k++)
            for (size_t r = 0; r < runs; r++)
                out[r] += q->parts[k].c * t->values[(size_t)q->parts[k].q * runs + r];
        return;
    case TP_Q_PRODUCT:
        for (size_t r = 0; r < runs; r++)
            out[r] = a[r] * b[r];
        return;
    case TP_Q_FUNCTION:
        tp_fn_eval(&s->algebra, q->fn_a, NULL, runs, a, out);
        return;
    case TP_Q_FIRST:
    case TP_Q_SECOND:
        memcpy(out, t->side[q->kind == TP_Q_SECOND] + (size_t)q->a * runs, runs * sizeof *out);
        return;
    case TP_Q_EXPECT:
        solve_pair(g, id, t, out);
        return;
    case TP_Q_GROUP:
        solve_group(g, id, t, out);
        return;
    case TP_Q_SAME:
        number = t->alone;
        break;
    case TP_Q_GRAM:
        number = gram_of(g, id, t);
        break;
    case TP_Q_DATA:
        number = s->blocks[s->gram_blocks[id][0]].rows[t->set[0]][t->row[0]];
        break;
    case TP_Q_NUMBER:
    case TP_Q_ALONG:
        break;
    }
    for (size_t r = 0; r < runs; r++)
        out[r] = number;
}

/* Everything at (i, i) of a set's sample, or of a pair. */
static void solve_needed(const grouped *g, const bool *needed, const pair_of *t)
{
    for (int id = 0; id < g->s->n; id++)
        if (needed[id])
            solve_quantity(g, id, t);
}

/* ---- the kernel ---- */
static pair_of sample_of(const grouped *g, int set, size_t row)
{
    double *own = g->single[set] + row * g->stride;
    return (pair_of){ .alone = true, .set = { set, set }, .row = { row, row }, .side = { own, own }, .values = own };
}

/* Pairs and samples as one list: first the samples of either set, then, when these are known, the pairs. */
static int solve_all(const grouped *g, const tp_series *series, int threads, double *values)
{
    tp_solver *s = g->s;
    size_t rows = s->rows[0], columns = s->rows[1], both = s->same ? rows : rows + columns, count = rows * columns;
    int failed = 0, q = series->n ? series->at[0].q : TP_Q_ZERO, most = TP_MAX_GROUP;
    for (int id = 0; id < s->n; id++)
        if (g->plans[id] && g->plans[id]->n_lins + g->plans[id]->n_steps > most)
            most = g->plans[id]->n_lins + g->plans[id]->n_steps;
#pragma omp parallel num_threads(threads)
    {
        double(*room)[CHUNK] = ad_alloc((size_t)most, sizeof *room, "a group's rows", NULL);
        double *pair = ad_alloc(g->stride, sizeof *pair, "a pair's quantities", NULL);
        if (!room || !pair) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < both; i++) {
            pair_of t = sample_of(g, i >= rows, i >= rows ? i - rows : i);
            t.rows = room;
            if (room)
                solve_needed(g, s->alone, &t);
        }
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < count; k++) {
            size_t i = k / columns, j = k % columns;
            if (!room || !pair || (s->same && j < i))
                continue;
            const double *from = sample_of(g, 0, i).values;
            if (!s->same || i != j) {
                pair_of t = { .set = { 0, s->same ? 0 : 1 }, .row = { i, j }, .values = pair, .rows = room };
                t.side[0] = from;
                t.side[1] = sample_of(g, t.set[1], j).values;
                solve_needed(g, s->paired, &t);
                from = pair;
            }
            for (size_t r = 0; r < g->runs; r++) {
                values[(r * rows + i) * columns + j] = from[(size_t)q * g->runs + r];
                if (s->same)
                    values[(r * rows + j) * columns + i] = from[(size_t)q * g->runs + r];
            }
        }
        ad_free(room);
        ad_free(pair);
    }
    return failed ? ad_fail(s->error, "out of memory for a kernel's quantities") : 0;
}

/* Few dimensions need few points. */
static size_t points_of(const grouped *g, int n)
{
    return n == 1 ? g->points->count / 8 : g->points->count;
}

/* Evaluations of functions and multiply-adds, these by tens. */
static double work_of(const grouped *g)
{
    const tp_solver *s = g->s;
    double samples = (double)s->rows[0] + (s->same ? 0 : (double)s->rows[1]), total = 0;
    double pairs = s->same ? samples * (samples - 1) / 2 : (double)s->rows[0] * (double)s->rows[1];
    for (int id = 0; id < s->n; id++) {
        const group_plan *p = g->plans[id];
        if (p)
            total += (double)points_of(g, p->n_lins) * ((s->alone[id] ? samples : 0) + (s->paired[id] ? pairs : 0)) *
                     (p->n_steps + p->n_lins * (p->n_lins + 1) / 20.0 + p->n_factors / 10.0);
    }
    return 2 * total * (double)g->runs;
}

/* Of as many variables as some group has. */
static int find_rules(grouped *g)
{
    const tp_group_points *points = g->points;
    ad_arena *arena = g->s->algebra.arena;
    for (int id = 0; id < g->s->n; id++) {
        int n = g->plans[id] ? g->plans[id]->n_lins : 0;
        if (n == 0 || g->rules[n].n)
            continue;
        size_t count = g->rules[n].n = points_of(g, n), d = (size_t)n;
        g->rules[n].x = ad_arena_alloc(arena, g->runs * d * count, sizeof(double));
        g->rules[n].w = ad_arena_alloc(arena, g->runs * count, sizeof(double));
        if (!g->rules[n].x || !g->rules[n].w)
            return tp_lacks_memory(&g->s->algebra);
        for (size_t r = 0; r < g->runs; r++)
            if (tp_cubature(n, count, points->count, points->z + r * (size_t)points->dims * points->count,
                            g->rules[n].x + r * d * count, g->rules[n].w + r * count, g->s->error))
                return -1;
    }
    return 0;
}

static int prepare(grouped *g, const tp_series *series)
{
    tp_solver *s = g->s;
    ad_arena *arena = s->algebra.arena;
    size_t n = (size_t)(s->n = s->algebra.quantities.n);
    g->stride = n * g->runs;
    s->alone = ad_arena_alloc(arena, n, sizeof *s->alone);
    s->paired = ad_arena_alloc(arena, n, sizeof *s->paired);
    s->kept = ad_arena_alloc(arena, n, sizeof *s->kept);
    s->gram_blocks = ad_arena_alloc(arena, n, sizeof *s->gram_blocks);
    g->plans = ad_arena_alloc(arena, n, sizeof(group_plan *));
    g->forms = ad_arena_alloc(arena, 2 * n, sizeof *g->forms);
    if (!s->alone || !s->paired || !s->kept || !s->gram_blocks || !g->plans || !g->forms)
        return ad_fail(s->error, "out of memory for %d quantities", s->n);
    tp_find_needed(s, series);
    int status = tp_fill_blocks(s) ? -1 : plan_all(g);
    for (int set = 0; set < (s->same ? 1 : 2) && !status; set++) {
        g->single[set] = ad_alloc(s->rows[set] * g->stride, sizeof(double), "quantities of samples", s->error);
        status = g->single[set] ? 0 : -1;
    }
    return status;
}

int tp_limit_grouped(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                     size_t rows2, const tp_limit_spec *spec, const tp_group_points *points, double most, double *work,
                     double *values, double *power, ad_error *error)
{
    int threads = ad_threads(spec->threads, error);
    tp_series series = { .n = 0 };
    tp_solver s = { .x = { x, x2 ? x2 : x },
                    .rows = { rows, x2 ? rows2 : rows },
                    .same = !x2 && spec->output == spec->output2,
                    .error = error };
    grouped g = { .s = &s, .points = points, .runs = (size_t)points->runs };
    if (!threads)
        return -1;
    int status = tp_algebra_new(&s.algebra, program, error);
    s.algebra.rules = TP_RULES_BP;
    s.algebra.by_groups = true;
    s.algebra.outputs[0] = (int)spec->output;
    s.algebra.outputs[1] = (int)spec->output2;
    if (!status && (which == TP_NTK ? tp_ntk_series(&s.algebra, &series, NULL) : tp_nngp_series(&s.algebra, &series)))
        status = TP_NO_RULE;
    if (!status)
        status = series.n > 1 ? TP_NO_RULE : prepare(&g, &series);
    *power = series.n ? series.at[0].power : 0;
    if (!status) {
        *work = work_of(&g);
        status = *work > most ? TP_NO_RULE : find_rules(&g) ? -1 : solve_all(&g, &series, threads, values);
    }
    if (!s.same)
        ad_free(g.single[1]);
    ad_free(g.single[0]);
    tp_free_blocks(&s);
    tp_algebra_free(&s.algebra);
    return status;
}
