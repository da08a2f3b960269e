/* fill.c: how an expectation is found, and one quantity over the pairs of a tile. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* Of the quantity under way. */
static void note_error(tp_tile *t, double error)
{
    t->now.local = fmax(t->now.local, error);
}

/* ---- expectations ---- */
/* A function of the algebra as gauss.h knows it. */
static int make_function(const tp_solver *s, int fn, tp_function *made)
{
    made->n_scalars = tp_fn_scalars(&s->algebra, fn, NULL, 0);
    char place[TP_PLACE_TEXT];
    if (made->n_scalars > TP_MAX_SCALARS)
        return ad_fail(s->error, "%sa function of %d scalars; at most %d are evaluated",
                       tp_fn_place(&s->algebra, fn, place), made->n_scalars, TP_MAX_SCALARS);
    return tp_univariate_of(&s->algebra, fn, &made->u);
}

static const tp_function *find_function(tp_solver *s, int fn)
{
    if (s->functions[fn])
        return s->functions[fn];
    tp_function *made = ad_arena_alloc(s->algebra.arena, 1, sizeof *made);
    if (!made) {
        ad_fail(s->error, "out of memory for a function");
        return NULL;
    }
    return make_function(s, fn, made) ? NULL : (s->functions[fn] = made);
}

/* Series that stop early serve pairs that are not near 1 or -1, the rule all others: of kinks, whose coefficients fall
 * slowly, and of a few pairs of a short function, for which more degrees are more work than the rule. */
enum { KINKED_DEGREES = 384, FEW_DEGREES = 1024, FEW_PARTS = 256 };

static size_t most_degrees(const tp_solver *s, int fn, const tp_univariate *f, size_t count)
{
    if (f->n_kinks > 0 || s->functions[fn]->n_scalars > 0)
        return KINKED_DEGREES;
    const tp_fn_parts *parts = tp_fn_parts_of(&s->algebra, fn);
    size_t n = parts ? (size_t)parts->n : 0;
    tp_fn_parts_end(&s->algebra, fn, parts);
    return n * count * count <= FEW_PARTS ? FEW_DEGREES : 0;
}

/* The variances of a function's arguments, each once, into f: none of one that is paired with others, or between two
 * sets. */
static int find_variances(tp_solver *s, int fn, tp_function *f)
{
    bool *seen = ad_alloc((size_t)s->n, sizeof *seen, "variances", s->error), alike = s->same;
    size_t count = 1;
    if (!seen)
        return -1;
    for (int id = 0; id < s->n && alike; id++) {
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        if (q->kind != TP_Q_EXPECT || (q->fn_a != fn && q->fn_b != fn))
            continue;
        alike = q->fn_a == q->fn_b;
        count += (size_t)!seen[q->var_a] + (size_t)!seen[q->var_b];
        seen[q->var_a] = seen[q->var_b] = true;
    }
    f->variances = ad_arena_alloc(s->algebra.arena, count, sizeof *f->variances);
    for (int id = 0; id < s->n && alike && f->variances; id++)
        if (seen[id])
            f->variances[f->n_variances++] = id;
    ad_free(seen);
    return f->variances ? 0 : ad_fail(s->error, "out of memory for variances");
}

/* The largest variance known at which a function is that is paired with itself alone, at whatever variances: its series
 * may then be shorter. 0 of others: beside coefficients that fall more slowly a short series would leave too much. */
static int highest_alike(tp_solver *s, int fn, double *highest)
{
    tp_function *f = s->functions[fn];
    *highest = 0;
    if (!f->variances && find_variances(s, fn, f))
        return -1;
    for (int k = 0; k < f->n_variances; k++) {
        const double *values = s->single[0][f->variances[k]];
        for (size_t i = 0; values && i < s->rows[0]; i++)
            *highest = values[i] > *highest ? values[i] : *highest;
    }
    return 0;
}

/* NULL of a function with kinks or scalars that panels do not resolve, as a singular one: the rule alone integrates
 * it; of others with an error. highest: highest_alike's. */
static tp_mehler *new_series(const tp_solver *s, int fn, const tp_univariate *f, double highest, size_t count,
                             const double *q, ad_error *error)
{
    const double resolved = 2e-13;
    size_t most = most_degrees(s, fn, f, count);
    tp_mehler *made = most > 0 ? tp_mehler_new(f, count, q, s->tolerance, most, error)
                               : tp_mehler_new_of(&s->functions[fn]->family, f, count, q, s->tolerance, highest, error);
    if (!made || made->difference <= resolved || most != KINKED_DEGREES)
        return made;
    tp_mehler_free(made);
    return NULL;
}

static tp_series_entry *add_entry(tp_solver *s, tp_series_entry with)
{
    tp_series_entry *entry = ad_arena_alloc(s->algebra.arena, 1, sizeof *entry);
    if (!entry) {
        tp_mehler_free(with.series);
        ad_fail(s->error, "out of memory for a series");
        return NULL;
    }
    *entry = with;
    entry->next = s->series;
    entry->alike = s->series_at[with.variance];
    return s->series = s->series_at[with.variance] = entry;
}

/* Of a function with scalars, one of each row: another row's falls otherwise. */
static int find_rows(tp_solver *s, int fn, int variance, int set, const tp_mehler ***found)
{
    size_t rows = s->rows[set];
    const tp_mehler **all = ad_arena_alloc(s->algebra.arena, rows, sizeof *all);
    if (!all)
        return ad_fail(s->error, "out of memory for a series");
    for (size_t i = 0; i < rows; i++) {
        tp_fn_context context;
        ad_error ignored = { 0 };
        tp_univariate f = tp_function_at(s, fn, set, i, &context);
        tp_mehler *made = new_series(s, fn, &f, 0, 1, &s->single[set][variance][i], &ignored);
        if (made && !add_entry(s, (tp_series_entry){ .fn = -1, .variance = variance, .series = made }))
            return -1;
        all[i] = made;
    }
    *found = all;
    return 0;
}

const tp_series_entry *tp_series_of(const tp_solver *s, int fn, int variance, int set)
{
    for (const tp_series_entry *e = s->series_at[variance]; e; e = e->alike)
        if (e->fn == fn && e->set == set)
            return e;
    return NULL;
}

/* The series of a function at the variances of a set's samples. */
static int find_series(tp_solver *s, int fn, int variance, int set, const tp_mehler **series, const tp_mehler ***rows)
{
    const tp_function *f = s->functions[fn];
    const tp_series_entry *known = tp_series_of(s, fn, variance, set);
    if (known) {
        *series = known->series;
        *rows = known->rows;
        return 0;
    }
    tp_series_entry made = { .fn = fn, .variance = variance, .set = set };
    ad_error error = { 0 };
    if (f->n_scalars > 0) {
        if (find_rows(s, fn, variance, set, &made.rows))
            return -1;
    } else {
        double highest;
        if (highest_alike(s, fn, &highest))
            return -1;
        made.series = new_series(s, fn, &f->u, highest, s->rows[set], s->single[set][variance], &error);
        if (!made.series && f->u.n_kinks == 0)
            return ad_fail(s->error, "%s", error.text);
    }
    *series = made.series;
    *rows = made.rows;
    return add_entry(s, made) ? 0 : -1;
}

/* Of both functions, for pairs of these two sets. */
int tp_plan_series(tp_solver *s, int id, int first, int second)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    tp_expect_plan *plan = s->plans[id];
    if (find_series(s, q->fn_a, q->var_a, first, &plan->series[0][first], &plan->rows[0][first]))
        return -1;
    return find_series(s, q->fn_b, q->var_b, second, &plan->series[1][second], &plan->rows[1][second]);
}

int tp_plan_expect(tp_solver *s, int id)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id), *cov = tp_quantity_at(&s->algebra, q->a);
    tp_expect_plan *plan = ad_arena_alloc(s->algebra.arena, 1, sizeof *plan);
    if (!plan)
        return ad_fail(s->error, "out of memory for an expectation");
    s->plans[id] = plan;
    plan->f = find_function(s, q->fn_a);
    plan->g = plan->f ? find_function(s, q->fn_b) : NULL;
    if (!plan->g)
        return -1;
    plan->by = tp_has_closed(&plan->f->u, &plan->g->u) ? TP_BY_CLOSED : TP_BY_SERIES;
    plan->pair_rows = q->fn_a == q->fn_b ? tp_closed_rows(&plan->f->u) : NULL;
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
static void fill_gram(const tp_solver *s, int id, const tp_tile *t, double *out)
{
    const tp_panel *p = t->panel;
    if (p && p->values[id]) {
        const double *from = p->values[id] + (t->row0 - p->row0) * p->columns + (t->column0 - p->column0);
        for (size_t i = 0; i < t->rows && out != from; i++)
            memcpy(out + i * t->columns, from + i * p->columns, t->columns * sizeof *out);
        return;
    }
    const tp_data_block *a = &s->blocks[s->gram_blocks[id][0]], *b = &s->blocks[s->gram_blocks[id][1]];
    const double *x = a->rows[t->set[0]] + t->row0 * a->size;
    const double *y = b->rows[t->set[1]] + t->column0 * b->size;
    if (t->alone)
        for (size_t i = 0; i < t->rows; i++)
            out[i] = cblas_ddot((int)a->size, x + i * a->size, 1, y + i * a->size, 1);
    else if (b->turned[t->set[1]])
        tp_array_products(t->rows, t->columns, a->size, x, b->turned[t->set[1]] + t->column0, b->stride[t->set[1]],
                          out);
    else
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)t->rows, (int)t->columns, (int)a->size, 1, x,
                    (int)a->size, y, (int)b->size, 0, out, (int)t->columns);
}

/* Half squared distances of pairs that are nearly parallel, where the covariance alone has lost them. */
static const double *near_pairs(const tp_solver *s, const tp_expect_plan *plan, const tp_tile *t, const double *cov)
{
    if (plan->gram < 0 || t->alone)
        return NULL;
    const tp_data_block *a = &s->blocks[s->gram_blocks[plan->gram][0]];
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
int tp_find_kinks(tp_solver *s, int fn, int set)
{
    tp_function *f = s->functions[fn];
    size_t rows = s->rows[set];
    if (f->n_scalars == 0 || f->kinks[set] || tp_fn_smooth(&s->algebra, fn))
        return 0;
    f->kinks[set] = ad_arena_alloc(s->algebra.arena, rows * TP_MAX_KINKS, sizeof(double));
    f->n_kinks[set] = ad_arena_alloc(s->algebra.arena, rows, sizeof(int));
    if (!f->kinks[set] || !f->n_kinks[set])
        return ad_fail(s->error, "out of memory for the kinks of a function");
    for (size_t i = 0; i < rows; i++) {
        tp_sample sample = { s->single[set], i };
        f->n_kinks[set][i] = tp_fn_kinks(&s->algebra, fn, &sample, f->kinks[set] + i * TP_MAX_KINKS, TP_MAX_KINKS);
        if (f->n_kinks[set][i] < 0)
            return tp_lacks_memory(&s->algebra);
        if (f->n_kinks[set][i] > TP_MAX_KINKS)
            return tp_too_many_kinks(&s->algebra, s->error, fn, f->n_kinks[set][i]);
    }
    return 0;
}

tp_univariate tp_function_at(const tp_solver *s, int fn, int set, size_t row, tp_fn_context *context)
{
    const tp_function *f = s->functions[fn];
    tp_univariate u = f->u;
    if (f->n_scalars == 0)
        return u;
    *context = (tp_fn_context){ &s->algebra, fn, { s->single[set], row } };
    u.context = context;
    if (f->kinks[set]) {
        u.kinks = f->kinks[set] + row * TP_MAX_KINKS;
        u.n_kinks = f->n_kinks[set][row];
    }
    return u;
}

/* The rule for rows i and k of the tile's sets. */
static int by_rule(tp_solver *s, int id, const tp_tile *t, size_t i, size_t k, double q11, double q22, double q12,
                   double *value, double *estimate, double *size, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    tp_fn_context contexts[2];
    tp_univariate f = tp_function_at(s, q->fn_a, t->set[0], t->row0 + i, &contexts[0]);
    tp_univariate g = tp_function_at(s, q->fn_b, t->set[1], t->column0 + k, &contexts[1]);
    size_t work, most = tp_most_work(s->rows[0] * s->rows[1]);
    int status = tp_quadrature_sized(&f, &g, q11, q22, q12, value, estimate, size, &work, error);
    s->work += work;
    if (!status && s->work > most)
        status = tp_too_much_work(most, error);
    if (status == TP_DIVERGES)
        s->diverges = true;
    if (status == TP_TOO_LONG)
        s->too_long = true;
    return status ? -1 : 0;
}

static void spread_variances(const tp_tile *t, const double *v1, const double *v2)
{
    for (size_t i = 0; i < t->rows; i++) {
        for (size_t k = 0; k < t->columns; k++)
            t->q11[i * t->columns + k] = v1[i];
        memcpy(t->q22 + i * t->columns, t->alone ? v2 + i : v2, t->columns * sizeof *v2);
    }
}

static int pair_by_rule(tp_solver *s, int id, tp_tile *t, size_t at, const double *cov, double *out, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    size_t row = at / t->columns, column = t->alone ? row : at % t->columns;
    bool itself = s->x[t->set[0]] == s->x[t->set[1]] && t->row0 + row == t->column0 + column && q->b == q->var_a &&
                  q->b == q->var_b; /* whose covariance, by a series, has lost what a thin layer would be made of */
    double q11 = s->single[t->set[0]][q->var_a][t->row0 + row];
    double q22 = s->single[t->set[1]][q->var_b][t->column0 + column];
    double estimate = 0, size = 0, q12 = itself ? q11 : cov[at];
    if (by_rule(s, id, t, row, column, q11, q22, q12, &out[at], &estimate, &size, error))
        return -1;
    note_error(t, size > 0 ? estimate / size : 0);
    return 0;
}

static int fill_by_rule(tp_solver *s, int id, tp_tile *t, const double *cov, double *out, ad_error *error)
{
    for (size_t at = 0; at < t->rows * t->columns; at++)
        if (pair_by_rule(s, id, t, at, cov, out, error))
            return -1;
    return 0;
}

/* A series, and which of its samples. */
typedef struct {
    const tp_mehler *series;
    size_t row;
} sample_series;

static sample_series series_at(const tp_expect_plan *plan, int side, int set, size_t row)
{
    const tp_mehler *const *rows = plan->rows[side][set];
    return rows ? (sample_series){ rows[row], 0 } : (sample_series){ plan->series[side][set], row };
}

/* What the series of a pair may leave out. */
static double most_left(const tp_solver *s, const tp_mehler *f, const tp_mehler *g)
{
    return 10 * fmax(s->tolerance, 1e-13) * f->tails[0] * g->tails[0];
}

/* Pair by pair: where either function is another one for each sample, and at (i, i). */
static int fill_by_pairs(tp_solver *s, int id, tp_tile *t, const double *cov, double *out, ad_error *error)
{
    const tp_expect_plan *plan = s->plans[id];
    for (size_t at = 0; at < t->rows * t->columns; at++) {
        size_t row = at / t->columns, column = t->alone ? row : at % t->columns;
        sample_series f = series_at(plan, 0, t->set[0], t->row0 + row);
        sample_series g = series_at(plan, 1, t->set[1], t->column0 + column);
        double limit = f.series && g.series ? most_left(s, f.series, g.series) : 0;
        double bound = f.series && g.series ? tp_mehler_bound(f.series, g.series, f.row, g.row, cov[at]) : INFINITY;
        if (!(bound <= limit)) {
            if (pair_by_rule(s, id, t, at, cov, out, error))
                return -1;
            continue;
        }
        tp_mehler_tile(f.series, g.series, f.row, 1, g.row, 1, cov + at, 1, out + at, 1);
        note_error(t, f.series->difference + g.series->difference + bound);
    }
    return 0;
}

/* The place of a row's sample among the tile's columns. */
static bool at_own(const tp_tile *t, size_t i, size_t *place)
{
    *place = t->row0 + i - t->column0;
    return t->row0 + i >= t->column0 && *place < t->columns;
}

/* Covariances of samples with themselves, which are near no others, are 0 meanwhile. */
static void hide_own(const tp_solver *s, const tp_tile *t, double *cov)
{
    size_t place = 0;
    for (size_t i = 0; tp_holds_own(s, t) && i < t->rows; i++)
        if (at_own(t, i, &place)) {
            t->q11[i] = cov[i * t->columns + place];
            cov[i * t->columns + place] = 0;
        }
}

static void show_own(const tp_solver *s, const tp_tile *t, double *cov)
{
    size_t place = 0;
    for (size_t i = 0; tp_holds_own(s, t) && i < t->rows; i++)
        if (at_own(t, i, &place))
            cov[i * t->columns + place] = t->q11[i];
}

/* All pairs; what is found of a sample with itself, for which most terms are needed, is not its value, which is
 * known. */
static double fill_tile(const tp_solver *s, const tp_mehler *f, const tp_mehler *g, const tp_tile *t, double *cov,
                        double *out)
{
    hide_own(s, t, cov);
    double bound = tp_mehler_tile(f, g, t->row0, t->rows, t->column0, t->columns, cov, t->columns, out, t->columns);
    show_own(s, t, cov);
    return bound;
}

/* Pairs too close to c = 1 for the series go through the rule; so do variances themselves, which are
 * one-dimensional. */
static int fill_by_series(tp_solver *s, int id, tp_tile *t, double *cov, double *out, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const tp_expect_plan *plan = s->plans[id];
    const tp_mehler *f = plan->series[0][t->set[0]], *g = plan->series[1][t->set[1]];
    if (t->alone && q->b == q->var_a && q->b == q->var_b) {
        if (q->fn_a != q->fn_b || !f || plan->f->u.n_kinks > 0)
            return fill_by_rule(s, id, t, cov, out, error);
        memcpy(out, f->squares, t->rows * sizeof *out); /* E f^2 is there with the series */
        note_error(t, 2 * f->difference);
        return 0;
    }
    if (t->alone || !f || !g)
        return fill_by_pairs(s, id, t, cov, out, error);
    double limit = most_left(s, f, g);
    double bound = fill_tile(s, f, g, t, cov, out);
    note_error(t, f->difference + g->difference + fmin(bound, limit));
    if (bound <= limit)
        return 0;
    for (size_t at = 0; at < t->rows * t->columns; at++)
        if (!(tp_mehler_bound(f, g, t->row0 + at / t->columns, t->column0 + at % t->columns, cov[at]) <= limit) &&
            pair_by_rule(s, id, t, at, cov, out, error))
            return -1;
    return 0;
}

/* An expectation of f f, and its partner's (-1: none), by the correlations, if none is near 1 or -1: else false. What
 * is found of a sample with itself is not its value, which is known. */
static bool fill_rows(const tp_solver *s, int id, int partner, tp_tile *t, double *cov)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const tp_scales *rows = &s->errors.scales[t->set[0]][q->var_a], *columns = &s->errors.scales[t->set[1]][q->var_b];
    tp_form form = s->plans[id]->f->u.form;
    bool first = form == TP_RELU || form == TP_ERF, erf = form == TP_ERF || form == TP_ERF_GRAD;
    double *other = partner >= 0 ? t->values[partner] : t->half, *value = t->values[id];
    if (!s->plans[id]->pair_rows || t->alone || t->pair || !rows->positive || !columns->positive)
        return false;
    const tp_side down = { rows->inverse + t->row0, (erf ? rows->erf : rows->root) + t->row0 };
    const tp_side across = { columns->inverse + t->column0, (erf ? columns->erf : columns->root) + t->column0 };
    hide_own(s, t, cov);
    t->now.most =
        s->plans[id]->pair_rows(t->rows, t->columns, &down, &across, cov, first ? value : other, first ? other : value);
    show_own(s, t, cov);
    t->now.has_near = false;
    return t->now.most <= 1 - TP_NEAR;
}

/* An expectation, and its partner's (-1: none) at the same covariances. */
static int fill_expect(tp_solver *s, int id, int partner, tp_tile *t, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const tp_expect_plan *plan = s->plans[id];
    const double *v1 = s->single[t->set[0]][q->var_a] + t->row0, *v2 = s->single[t->set[1]][q->var_b] + t->column0;
    double *cov = t->values[t->alone ? q->b : q->a], *out = t->values[id];
    size_t n = t->rows * t->columns;
    if (fill_rows(s, id, partner, t, cov))
        return 0;
    if (!t->alone)
        tp_find_near(s, q, t, cov);
    if (plan->by != TP_BY_CLOSED)
        return fill_by_series(s, id, t, cov, out, error);
    spread_variances(t, v1, v2);
    if (partner >= 0) {
        tp_closed_pair(&plan->f->u, &s->plans[partner]->f->u, n, t->q11, t->q22, cov, near_pairs(s, plan, t, cov), out,
                       t->values[partner]);
        return 0;
    }
    tp_closed(&plan->f->u, &plan->g->u, n, t->q11, t->q22, cov, near_pairs(s, plan, t, cov), out);
    return 0;
}

/* Softmax and the like of m numbers x: entry `entry` of the result. */
static double along_entry(int op, const double *x, int m, int entry)
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

static int fill_along(const tp_solver *s, int id, const tp_tile *t, size_t n, double *out, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    double *x = ad_alloc((size_t)q->n, sizeof *x, "a softmax", error);
    int status = 0;
    if (!x)
        return -1;
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < q->n; k++)
            x[k] = t->values[q->parts[k].q][i];
        if (q->jumps && status == 0 && tp_at_tie(x, q->n))
            status = tp_refuse_jump(&s->algebra, id, error);
        out[i] = along_entry(q->op, x, q->n, q->b);
    }
    ad_free(x);
    return status;
}

static int fill_function(const tp_solver *s, int id, const tp_tile *t, size_t n, double *out, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id), *of = tp_quantity_at(&s->algebra, q->a);
    const double *x = t->values[q->a];
    double size = of->kind == TP_Q_SUM ? fabs(of->c) : 0; /* quantities are of order one; what they are may be gone */
    for (int k = 0; k < of->n && of->kind == TP_Q_SUM; k++)
        size += fabs(of->parts[k].c);
    for (size_t i = 0; i < n && q->jumps; i++)
        if (tp_at_jump(&s->algebra, q->fn_a, x[i], size))
            return tp_refuse_jump(&s->algebra, id, error);
    tp_fn_eval(&s->algebra, q->fn_a, NULL, n, x, out);
    return 0;
}

/* A scalar of one side's samples, for every pair. */
static void fill_side(const tp_solver *s, const tp_quantity *q, const tp_tile *t, double *out)
{
    int side = q->kind == TP_Q_SECOND;
    const double *from = s->single[t->set[side]][q->a] + (side ? t->column0 : t->row0);
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < t->columns; k++)
            out[i * t->columns + k] = from[side && !t->alone ? k : i];
}

static void fill_data(const tp_solver *s, int id, const tp_tile *t, double *out)
{
    const double *from = s->blocks[s->gram_blocks[id][0]].rows[t->set[0]] + t->row0;
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < t->columns; k++)
            out[i * t->columns + k] = from[i];
}

int tp_fill(tp_solver *s, int id, int partner, tp_tile *t, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    double *out = t->values[id];
    size_t n = t->alone ? t->rows : t->rows * t->columns;
    t->now.local = 0;
    switch (q->kind) {
    case TP_Q_NUMBER:
        for (size_t i = 0; i < n; i++)
            out[i] = q->c;
        return 0;
    case TP_Q_SAME: /* a kernel's diagonal is what it is at (i, i), whatever its pairs say there */
        for (size_t i = 0; i < n; i++)
            out[i] = t->alone;
        return 0;
    case TP_Q_GRAM:
        fill_gram(s, id, t, out);
        return 0;
    case TP_Q_DATA:
        fill_data(s, id, t, out);
        return 0;
    case TP_Q_FUNCTION:
        return fill_function(s, id, t, n, out, error);
    case TP_Q_ALONG:
        return fill_along(s, id, t, n, out, error);
    case TP_Q_FIRST:
    case TP_Q_SECOND:
        fill_side(s, q, t, out);
        return 0;
    case TP_Q_SUM:
        if (q->n == 1)
            tp_array_affine(n, q->c, q->parts[0].c, t->values[q->parts[0].q], out);
        else
            tp_array_affine2(n, q->c, q->parts[0].c, t->values[q->parts[0].q], q->parts[1].c, t->values[q->parts[1].q],
                             out);
        for (int k = 2; k < q->n; k++)
            tp_array_accumulate(n, q->parts[k].c, t->values[q->parts[k].q], NULL, out);
        return 0;
    case TP_Q_PRODUCT:
        tp_array_multiply(n, t->values[q->a], t->values[q->b], out);
        return 0;
    case TP_Q_EXPECT:
        return fill_expect(s, id, partner, t, error);
    case TP_Q_GROUP: /* of grouped.c alone */
        return 0;
    }
    return 0;
}
