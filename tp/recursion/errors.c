/* errors.c: what a kernel's error is at most, to first order, carried along the recursion.
 *
 * Sizes and e are those of solver.h. With them, of a sum the error is that of its worst part (Cauchy and Schwarz), of a
 * product the sum of both. How an
 * expectation moves with its arguments, profile.c tells. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double closed_units = 8; /* roundings of a closed form */
static const double row_units = 4;    /* of a correlation in rows */

/* ---- at (i, i) ---- */
/* What this one reads of values at (i, i) by their errors relative to themselves. */
static void find_related(const tp_solver *s, int id)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    bool *related = s->errors.related;
    int scalars[TP_MAX_SCALARS];
    related[id] = related[id] || s->kept[id];
    if (q->kind == TP_Q_FUNCTION || q->kind == TP_Q_FIRST || q->kind == TP_Q_SECOND)
        related[q->a] = true;
    if (!s->plans[id])
        return;
    related[q->var_a] = related[q->var_b] = true;
    for (int side = 0; side < 2; side++) {
        int n = tp_fn_scalars(&s->algebra, side ? q->fn_b : q->fn_a, scalars, TP_MAX_SCALARS);
        for (int k = 0; k < n && k < TP_MAX_SCALARS; k++)
            related[scalars[k]] = true;
    }
}

static void note_reader(tp_errors *e, int id, int reader)
{
    if (e->last[id] != reader)
        e->before[id] = e->last[id];
    e->last[id] = reader;
}

int tp_errors_begin(tp_solver *s)
{
    size_t n = (size_t)s->n;
    ad_arena *arena = s->algebra.arena;
    tp_errors *e = &s->errors;
    e->sizes = ad_arena_alloc(arena, n, sizeof *e->sizes);
    e->last = ad_arena_alloc(arena, n, sizeof *e->last);
    e->before = ad_arena_alloc(arena, n, sizeof *e->before);
    e->freed = ad_arena_alloc(arena, 3 * n, sizeof *e->freed);
    e->profiles = ad_arena_alloc(arena, n, sizeof(tp_profile *));
    e->related = ad_arena_alloc(arena, n, sizeof *e->related);
    e->gain = ad_arena_alloc(arena, n, sizeof *e->gain);
    e->shares = ad_arena_alloc(arena, n, sizeof *e->shares);
    bool there = e->sizes && e->last && e->before && e->freed && e->profiles && e->related && e->gain && e->shares;
    for (int set = 0; set < (s->same ? 1 : 2); set++) {
        there = there && (e->single[set] = ad_arena_alloc(arena, n, sizeof(double)));
        there = there && (e->relative[set] = ad_arena_alloc(arena, n, sizeof(double)));
        there = there && (e->scales[set] = ad_arena_alloc(arena, n, sizeof(tp_scales)));
        for (int side = 0; side < 2; side++) {
            there = there && (e->ratio[set][side] = ad_arena_alloc(arena, n, sizeof(double)));
            there = there && (e->stated[set][side] = ad_arena_alloc(arena, n, sizeof(double)));
            there = there && (e->reach[set][side] = ad_arena_alloc(arena, n, sizeof(double)));
            there = there && (e->moves[set][side] = ad_arena_alloc(arena, n, sizeof(double)));
            there = there && (e->of[set][side] = ad_arena_alloc(arena, n, sizeof(tp_profile *)));
        }
    }
    if (s->same) {
        e->single[1] = e->single[0];
        e->relative[1] = e->relative[0];
        e->scales[1] = e->scales[0];
        for (int side = 0; side < 2; side++) {
            e->ratio[1][side] = e->ratio[0][side];
            e->stated[1][side] = e->stated[0][side];
            e->reach[1][side] = e->reach[0][side];
            e->moves[1][side] = e->moves[0][side];
            e->of[1][side] = e->of[0][side];
        }
    }
    if (!there)
        return ad_fail(s->error, "out of memory for the errors of %d quantities", s->n);
    if (tp_sources_begin(s))
        return -1;
    s->closed = true;
    for (int id = 0; id < s->n; id++)
        e->last[id] = e->before[id] = id;
    for (int at = 0; at < s->n; at++) {
        int id = s->order[at];
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        find_related(s, id);
        if (!s->alone[id] && !s->paired[id])
            continue;
        s->closed = s->closed && (!s->plans[id] || s->plans[id]->by == TP_BY_CLOSED);
        for (int k = 0; k < q->n; k++)
            note_reader(e, q->parts[k].q, id);
        if (q->kind == TP_Q_PRODUCT || q->kind == TP_Q_FUNCTION || q->kind == TP_Q_FIRST || q->kind == TP_Q_SECOND ||
            q->kind == TP_Q_EXPECT)
            note_reader(e, q->a, id);
        if (q->kind == TP_Q_PRODUCT || q->kind == TP_Q_EXPECT)
            note_reader(e, q->b, id);
        if (q->kind == TP_Q_EXPECT) {
            note_reader(e, q->var_a, id);
            note_reader(e, q->var_b, id);
        }
    }
    return 0;
}

/* Blocks serve either set. */
static bool take_sizes(tp_solver *s, int id)
{
    tp_errors *e = &s->errors;
    size_t rows = s->rows[0] > s->rows[1] ? s->rows[0] : s->rows[1];
    for (int side = 0; side < (e->normalises ? 3 : 2); side++) {
        if (!e->sizes[id][side])
            e->sizes[id][side] =
                e->n_freed ? e->freed[--e->n_freed] : ad_arena_alloc(s->algebra.arena, rows, sizeof(double));
        if (!e->sizes[id][side]) {
            ad_fail(s->error, "out of memory for the errors of a kernel");
            return false;
        }
    }
    return true;
}

static void give_sizes(tp_solver *s, int id)
{
    for (int side = 0; side < 3; side++)
        if (s->errors.sizes[id][side]) {
            s->errors.freed[s->errors.n_freed++] = s->errors.sizes[id][side];
            s->errors.sizes[id][side] = NULL;
        }
}

/* The largest root of size over what it is relative to: the value itself, or where e sizes are as much the largest one.
 * Values that are all 0 count where e is 0. */
static double root_ratio(const double *size, const double *to, size_t rows, double e)
{
    const double roundings = 1 + 1e-12;
    double most = roundings, largest = 0;
    bool more = false;
    for (size_t i = 0; i < rows; i++)
        more |= size[i] > roundings * fabs(to[i]);
    for (size_t i = 0; i < rows && more; i++)
        largest = fmax(largest, fabs(to[i]));
    for (size_t i = 0; i < rows && more; i++) {
        double of = fabs(to[i]) > e * size[i] ? fabs(to[i]) : largest;
        if (size[i] > most * of && (of > 0 || e > 0))
            most = size[i] / of;
    }
    return sqrt(most);
}

/* The error of a value at (i, i) relative to itself. */
static double relative(const tp_solver *s, int set, int id)
{
    return s->errors.relative[set][id];
}

static double product_units(const tp_data_block *b)
{
    return 4 + sqrt((double)b->size);
}

static int gram_sizes(tp_solver *s, int id, int set, size_t rows, double *const sizes[2])
{
    for (int side = 0; side < 2; side++) {
        tp_data_block *b = &s->blocks[s->gram_blocks[id][side]];
        int n = (int)b->size;
        if (!b->squares[set]) {
            double *squares = ad_arena_alloc(s->algebra.arena, rows, sizeof *squares);
            if (!squares)
                return ad_fail(s->error, "out of memory for the errors of a kernel");
            for (size_t i = 0; i < rows; i++)
                squares[i] = cblas_ddot(n, b->rows[set] + i * b->size, 1, b->rows[set] + i * b->size, 1);
            b->squares[set] = squares;
        }
        memcpy(sizes[side], b->squares[set], rows * sizeof *sizes[side]);
    }
    return 0;
}

/* A residual network's variance has a part for each of its layers; a kernel's own sum may have many thousands, and the
 * worst of them will do. */
enum { MOST_SHARES = 2048 };

typedef struct {
    double error, share;
} weighed_part;

static int by_error(const void *a, const void *b)
{
    double x = ((const weighed_part *)a)->error, y = ((const weighed_part *)b)->error;
    return (x < y) - (x > y);
}

/* Of parts of errors e_k and shares of the size w_k and w'_k on either side, the sum of e_k sqrt(w_k w'_k): at most
 * that of e_k (w_k + w'_k) / 2, and so of the worst parts, each at its largest share, until the shares add up to 1. */
static double part_sum(const tp_solver *s, const tp_quantity *q, const double *errors, const double *shares)
{
    weighed_part parts[MOST_SHARES];
    double left = 1, sum = 0, most = 0;
    bool sorted = true;
    for (int k = 0; k < q->n; k++) {
        double error = errors[q->parts[k].q];
        if (shares)
            parts[k] = (weighed_part){ error, shares[k] };
        sorted = sorted && (k == 0 || error <= errors[q->parts[k - 1].q]);
        most = fmax(most, error);
    }
    if (shares && !sorted)
        qsort(parts, (size_t)q->n, sizeof *parts, by_error);
    for (int k = 0; k < q->n && shares && left > 0; k++) {
        double share = fmin(parts[k].share, left);
        sum += share * parts[k].error;
        left -= share;
    }
    return (shares ? sum : most) + s->unit * (2 + 2 * sqrt(q->n));
}

/* The largest c part / size, up to 1; of a size 0 it is 1. Divisions are slow, and few numbers are larger than all
 * before. */
static double largest_share(size_t rows, double c, const double *part, const double *size)
{
    double most = 0;
    for (size_t i = 0; i < rows && most < 1; i++)
        if (!(c * part[i] <= most * size[i]) || !(size[i] > 0)) {
            double share = size[i] > 0 ? c * part[i] / size[i] : 1;
            most = share > most ? share : most;
        }
    return most;
}

/* The largest shares of a sum's parts at the samples of any set. */
static int note_shares(tp_solver *s, int id, size_t rows, double *const sizes[3])
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    double **shares = &s->errors.shares[id];
    if (q->n > MOST_SHARES || (q->n == 1 && !(fabs(q->c) > 0)))
        return 0;
    if (!*shares && !(*shares = ad_arena_alloc(s->algebra.arena, (size_t)q->n, sizeof **shares)))
        return ad_fail(s->error, "out of memory for the errors of a kernel");
    for (int k = 0; k < q->n; k++)
        for (int side = 0; side < 2; side++) {
            const double *part = s->errors.sizes[q->parts[k].q][side];
            double most = part ? largest_share(rows, fabs(q->parts[k].c), part, sizes[side]) : 1;
            (*shares)[k] = fmin(1, fmax((*shares)[k], most));
        }
    return 0;
}

static int sum_sizes(tp_solver *s, int id, size_t rows, double *const sizes[3])
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < rows; i++)
            sizes[side][i] = fabs(q->c);
        for (int k = 0; k < q->n; k++)
            if (s->errors.sizes[q->parts[k].q][side])
                tp_array_accumulate(rows, fabs(q->parts[k].c), s->errors.sizes[q->parts[k].q][side], NULL, sizes[side]);
    }
    return q->kind == TP_Q_SUM ? note_shares(s, id, rows, sizes) : 0;
}

/* f(x) of numbers x: its size is |f|, and its relative error that of x times |x f' / f|, the gain. Where that is large
 * the size is |f| + |x f'|, so that its error is no more than the argument's. Into sizes[2], where it is there, goes
 * x f' / f, or NaN. Returns the gain, or 1. */
static double function_sizes(const tp_solver *s, const tp_quantity *q, size_t rows, const double *x,
                             double *const sizes[3])
{
    const double h = 1e-4, large = 4;
    double gain = 0;
    for (size_t i = 0; i < rows; i++) {
        double in[3] = { x[i], x[i] * (1 + h), x[i] * (1 - h) }, out[3];
        tp_fn_eval(&s->algebra, q->fn_a, NULL, 3, in, out);
        double slope = (out[1] - out[2]) / (2 * h), own = slope / out[0];
        sizes[0][i] = fabs(out[0]);
        sizes[1][i] = isfinite(slope) ? fabs(slope) : 0;
        gain = fabs(own) <= large ? fmax(gain, fabs(own)) : INFINITY;
        if (sizes[2])
            sizes[2][i] = own;
    }
    for (size_t i = 0; i < rows; i++) {
        sizes[0][i] = sizes[1][i] = sizes[0][i] + (gain > large ? sizes[1][i] : 0);
        if (sizes[2] && gain > large)
            sizes[2][i] = (double)NAN;
    }
    return gain > large ? 1 : gain;
}

/* Softmax and the like: absolute errors of the parts. */
static double along_error(const tp_solver *s, const tp_quantity *q, int set, size_t rows, const double *value,
                          double *const sizes[2])
{
    double off = 0;
    for (int k = 0; k < q->n; k++) {
        double *const *part = s->errors.sizes[q->parts[k].q];
        for (size_t i = 0; i < rows && part[0]; i++)
            off = fmax(off, s->errors.single[set][q->parts[k].q] * sqrt(part[0][i]) * sqrt(part[1][i]));
    }
    for (size_t i = 0; i < rows; i++)
        sizes[0][i] = sizes[1][i] = q->op == AD_SOFTMAX ? fabs(value[i]) : fabs(value[i]) + 1;
    return 2 * off + s->unit * (4 + q->n);
}

static double closed_error(const tp_solver *s, const tp_univariate *f, const tp_univariate *g, double largest)
{
    double units = closed_units;
    if (f->form == TP_EXP || g->form == TP_EXP)
        units += 4 * largest;
    return s->unit * (units + fabs(f->parameter) + fabs(g->parameter));
}

/* Of the scalars in its functions. */
static double scalar_error(const tp_solver *s, int fn, int set)
{
    if (s->functions[fn]->n_scalars == 0)
        return 0;
    int scalars[TP_MAX_SCALARS], n = tp_fn_scalars(&s->algebra, fn, scalars, TP_MAX_SCALARS);
    double most = 0;
    for (int k = 0; k < n && k < TP_MAX_SCALARS; k++)
        most += relative(s, set, scalars[k]);
    return 4 * most;
}

double tp_variance_error(const tp_solver *s, int id, int a, int b, double most)
{
    const tp_errors *e = &s->errors;
    const tp_profile *f = e->of[a][0][id], *g = e->of[b][1][id];
    return tp_scaled(f, g, most) * e->moves[a][0][id] + tp_scaled(g, f, most) * e->moves[b][1][id];
}

/* What covariance and variances bring, where the correlation is at most `most`; variances of sets a and b. */
static double passed_error(const tp_solver *s, int id, int a, int b, double cov, double most)
{
    const tp_errors *e = &s->errors;
    return tp_passed(e->of[a][0][id], e->of[b][1][id], most, cov, e->moves[a][0][id], e->moves[b][1][id]);
}

static double largest_of(const double *v, size_t rows)
{
    double most = 0;
    for (size_t i = 0; i < rows; i++)
        most = fmax(most, v[i]);
    return most;
}

double tp_local_error(const tp_solver *s, int id, const tp_tile *t)
{
    const tp_expect_plan *plan = s->plans[id];
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    if (plan->by != TP_BY_CLOSED)
        return t->now.local + s->unit * 40;
    if (plan->f->u.form != TP_EXP && plan->g->u.form != TP_EXP)
        return closed_error(s, &plan->f->u, &plan->g->u, 0);
    size_t rows = t->rows, columns = t->alone ? t->rows : t->columns;
    return closed_error(s, &plan->f->u, &plan->g->u,
                        largest_of(s->single[t->set[0]][q->var_a] + t->row0, rows) +
                            largest_of(s->single[t->set[1]][q->var_b] + t->column0, columns));
}

/* Of a variance, for correlations. */
static int find_scales(tp_solver *s, int variance, int set)
{
    const double *v = s->single[set][variance];
    tp_scales *scales = &s->errors.scales[set][variance];
    size_t rows = s->rows[set];
    if (scales->inverse)
        return 0;
    scales->inverse = ad_arena_alloc(s->algebra.arena, 3 * rows, sizeof(double));
    if (!scales->inverse)
        return ad_fail(s->error, "out of memory for correlations");
    scales->root = scales->inverse + rows;
    scales->erf = scales->root + rows;
    scales->positive = true;
    for (size_t i = 0; i < rows; i++) {
        bool some = v[i] > 0;
        scales->root[i] = some ? sqrt(v[i]) : 0;
        scales->inverse[i] = some ? 1 / scales->root[i] : 0;
        scales->erf[i] = sqrt(2 / (1 + 2 * v[i]));
        scales->positive = scales->positive && some;
    }
    return 0;
}

static int expect_alone(tp_solver *s, int id, int set, const tp_tile *t, double *const sizes[3], double *e)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const double *va = s->single[set][q->var_a], *vb = s->single[set][q->var_b], *value = s->single[set][id];
    size_t rows = s->rows[set];
    bool line = q->b == q->var_a && q->b == q->var_b;
    const tp_profile **of[2] = { s->errors.of[set][0], s->errors.of[set][1] };
    if (!va || !vb)
        return 0;
    if (tp_find_kinks(s, q->fn_a, set) || tp_find_kinks(s, q->fn_b, set) ||
        (s->plans[id]->by == TP_BY_SERIES && tp_plan_series(s, id, set, set)))
        return -1;
    if (find_scales(s, q->var_a, set) || find_scales(s, q->var_b, set))
        return -1;
    of[0][id] = tp_find_profile(s, q->fn_a, q->var_a, set, line && q->fn_a == q->fn_b ? value : NULL);
    of[1][id] = of[0][id] ? tp_find_profile(s, q->fn_b, q->var_b, set, NULL) : NULL;
    if (!of[1][id])
        return -1;
    for (int side = 0; side < 2; side++)
        memcpy(sizes[side], of[side][id]->norms, rows * sizeof(double));
    for (int side = 0; side < 2; side++) { /* how far terms of the covariance cancel */
        double *const *cov = s->errors.sizes[q->a];
        const double *v = side ? vb : va;
        s->errors.moves[set][side][id] =
            relative(s, set, side ? q->var_b : q->var_a) + scalar_error(s, side ? q->fn_b : q->fn_a, set);
        s->errors.reach[set][side][id] = cov[side] ? root_ratio(cov[side], v, rows, 0) : 1;
    }
    if (!value)
        return 0;
    *e = tp_local_error(s, id, t);
    if (line) {
        *e += tp_line_change(s, id, set) * (relative(s, set, q->b) + scalar_error(s, q->fn_a, set));
        return 0;
    }
    double most = 0;
    const double *cov = s->single[set][q->b];
    const double *inverse[2] = { s->errors.scales[set][q->var_a].inverse, s->errors.scales[set][q->var_b].inverse };
    for (size_t i = 0; i < rows; i++) {
        double c = fabs(cov[i]) * inverse[0][i] * inverse[1][i];
        most = c > most ? c : most;
    }
    double off = s->errors.single[set][q->b];
    for (int side = 0; side < 2; side++) {
        double *const *size = s->errors.sizes[q->b];
        off *= size[side] ? root_ratio(size[side], side ? vb : va, rows, 0) : 1;
    }
    *e += passed_error(s, id, set, set, off, most);
    return 0;
}

void tp_errors_start(tp_solver *s, int total, size_t rows)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, total);
    if (!take_sizes(s, total))
        return;
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < rows; i++)
            s->errors.sizes[total][side][i] = fabs(q->c);
}

static int own_sizes(tp_solver *s, int id, int set, const tp_tile *t, double *e)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const double *value = s->single[set][id], *errors = s->errors.single[set];
    double *const *sizes = s->errors.sizes[id];
    size_t rows = s->rows[set];
    switch (q->kind) {
    case TP_Q_EXPECT:
        return expect_alone(s, id, set, t, sizes, e);
    case TP_Q_SAME:
        for (int side = 0; side < 2; side++)
            for (size_t i = 0; i < rows; i++)
                sizes[side][i] = 1;
        *e = 0;
        return 0;
    case TP_Q_NUMBER:
    case TP_Q_SUM:
        if (sum_sizes(s, id, rows, sizes))
            return -1;
        *e = q->kind == TP_Q_SUM ? part_sum(s, q, errors, s->errors.shares[id]) : s->unit;
        return 0;
    case TP_Q_GRAM:
        *e = s->unit * product_units(&s->blocks[s->gram_blocks[id][0]]);
        return gram_sizes(s, id, set, rows, sizes);
    case TP_Q_PRODUCT:
        for (int side = 0; side < 2; side++)
            if (s->errors.sizes[q->a][side] && s->errors.sizes[q->b][side])
                tp_array_multiply(rows, s->errors.sizes[q->a][side], s->errors.sizes[q->b][side], sizes[side]);
        *e = errors[q->a] + errors[q->b] + s->unit;
        return 0;
    case TP_Q_FUNCTION:
        if (s->single[set][q->a])
            s->errors.gain[id] = fmax(s->errors.gain[id], function_sizes(s, q, rows, s->single[set][q->a], sizes));
        *e = s->errors.gain[id] * relative(s, set, q->a) + 4 * s->unit;
        return 0;
    case TP_Q_ALONG:
        *e = value ? along_error(s, q, set, rows, value, sizes) : 0;
        return 0;
    case TP_Q_DATA:
    case TP_Q_FIRST:
    case TP_Q_SECOND:
        value = q->kind == TP_Q_DATA ? s->blocks[s->gram_blocks[id][0]].rows[set] : s->single[set][q->a];
        for (size_t i = 0; i < rows && value; i++) {
            sizes[q->kind == TP_Q_SECOND][i] = value[i] * value[i];
            sizes[q->kind != TP_Q_SECOND][i] = 1;
        }
        *e = q->kind == TP_Q_DATA ? s->unit : relative(s, set, q->a);
        return 0;
    case TP_Q_GROUP: /* of grouped.c alone */
        return 0;
    }
    return 0;
}

int tp_errors_alone(tp_solver *s, int id, int set, const tp_tile *t, int total, double times)
{
    tp_errors *errors = &s->errors;
    size_t rows = s->rows[set];
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const double *value = s->single[set][id];
    bool streamed = errors->sizes[id][0] != NULL;
    double e = 0, by_source = INFINITY;
    if (!take_sizes(s, id))
        return -1;
    errors->source[set][id] = streamed ? -1 : errors->source[set][id];
    if (!streamed) {
        bool filled = q->kind == TP_Q_NUMBER || q->kind == TP_Q_SUM || q->kind == TP_Q_GRAM;
        for (int side = 0; side < 2 && !filled; side++)
            memset(errors->sizes[id][side], 0, rows * sizeof(double));
        if (own_sizes(s, id, set, t, &e))
            return -1;
        if (errors->normalises)
            by_source = tp_find_source(s, id, set, s->plans[id] ? tp_local_error(s, id, t) : 0, errors->sizes[id][2]);
        errors->single[set][id] = e = fmin(e, by_source);
    } else {
        errors->single[set][id] += s->unit * (2 + 2 * sqrt(q->n));
    }
    for (int side = 0; side < 2; side++) {
        const double *size = errors->sizes[id][side];
        bool read = value && errors->related[id];
        errors->ratio[set][side][id] = read ? root_ratio(size, value, rows, 0) : 1;
        /* between two outputs values at (i, i) are no squares, and may be 0 */
        errors->stated[set][side][id] = read && s->algebra.outputs[0] == s->algebra.outputs[1]
                                            ? root_ratio(size, value, rows, errors->single[set][id])
                                            : 1;
        if (total >= 0)
            tp_array_accumulate(rows, fabs(times), errors->sizes[id][side], NULL, errors->sizes[total][side]);
    }
    errors->relative[set][id] =
        fmin(errors->single[set][id] * errors->ratio[set][0][id] * errors->ratio[set][1][id], by_source);
    if (total >= 0) {
        errors->single[set][total] = fmax(errors->single[set][total], e);
        errors->last[id] = errors->last[id] == total ? errors->before[id] : errors->last[id];
    }
    int read[4] = { q->kind == TP_Q_PRODUCT || q->kind >= TP_Q_FUNCTION ? q->a : id,
                    q->kind == TP_Q_PRODUCT || q->kind == TP_Q_EXPECT ? q->b : id,
                    q->kind == TP_Q_EXPECT ? q->var_a : id, q->kind == TP_Q_EXPECT ? q->var_b : id };
    for (int k = 0; k < q->n; k++)
        if (errors->last[q->parts[k].q] == id)
            give_sizes(s, q->parts[k].q);
    for (int k = 0; k < 4; k++)
        if (read[k] != id && q->kind != TP_Q_ALONG && errors->last[read[k]] == id)
            give_sizes(s, read[k]);
    if (errors->last[id] == id)
        give_sizes(s, id);
    return 0;
}

/* ---- over a tile ---- */
static double expect_bound(const tp_solver *s, int id, const tp_tile *t, double e, bool near)
{
    const tp_univariate *f = &s->plans[id]->f->u, *g = &s->plans[id]->g->u;
    if (f->parity * g->parity == -1)
        return 0;
    double off = e * s->errors.reach[t->set[0]][0][id] * s->errors.reach[t->set[1]][1][id];
    if (s->plans[id]->pair_rows && !t->pair)
        off += row_units * s->unit;
    return tp_local_error(s, id, t) + passed_error(s, id, t->set[0], t->set[1], off, near ? 1 : t->now.most);
}

void tp_bound(const tp_solver *s, int id, tp_tile *t)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    for (int near = 1; near >= 0; near--) {
        double *e = t->error[near];
        switch (q->kind) {
        case TP_Q_SAME:
            e[id] = 0;
            break;
        case TP_Q_NUMBER:
        case TP_Q_DATA:
            e[id] = s->unit;
            break;
        case TP_Q_GRAM:
            e[id] = TP_DOUBLE_UNIT * product_units(&s->blocks[s->gram_blocks[id][0]]) + (s->unit - TP_DOUBLE_UNIT);
            break;
        case TP_Q_SUM:
            e[id] = part_sum(s, q, e, s->errors.shares[id]);
            break;
        case TP_Q_PRODUCT:
            e[id] = e[q->a] + e[q->b] + s->unit;
            break;
        case TP_Q_FUNCTION:
            e[id] = fmax(1, s->errors.gain[id]) * e[q->a] + 4 * s->unit;
            break;
        case TP_Q_ALONG:
            e[id] = 2 * part_sum(s, q, e, NULL);
            break;
        case TP_Q_FIRST:
        case TP_Q_SECOND:
            e[id] = relative(s, t->set[q->kind == TP_Q_SECOND], q->a);
            break;
        case TP_Q_EXPECT:
            if (!near && !t->now.has_near && !(e[q->a] > t->error[1][q->a]))
                e[id] = t->error[1][id];
            else
                e[id] = expect_bound(s, id, t, e[q->a], !near && t->now.has_near);
            break;
        case TP_Q_GROUP:
            break;
        }
        if (near && !t->n_near && !t->pair) {
            t->error[0][id] = e[id];
            return;
        }
    }
}

double tp_stated(const tp_solver *s, int id, double e)
{
    const tp_errors *errors = &s->errors;
    int second = s->same ? 0 : 1;
    double ratio = errors->stated[0][0][id] * errors->stated[second][1][id];
    return s->same ? fmax(e, errors->single[0][id]) * ratio : e * ratio;
}
