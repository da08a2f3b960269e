/* tiles.c: the kernel over pairs: blocks of rows and columns, which threads take, in strips of a few rows, so that all
 * quantities of a strip stay in the nearest cache, the program as the inner loop. */
#include "autodiff/base/base.h"
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <math.h>
#include <string.h>

/* A block's edges, at most, and how many blocks there are for threads to take, at least; the caches that strips are to
 * fit in; pairs that make up for what a step costs, and for series whose coefficients come from a farther cache; the
 * number of products of data up to which they are found block by block. */
enum {
    HIGH = 128,
    WIDE = 128,
    FEW_BLOCKS = 8,
    NEAREST = 24 * 1024,
    CACHE = 512 * 1024,
    FEW_PAIRS = 512,
    FEW_BY_SERIES = 2048,
    MOST_PANELS = 8
};

/* A quantity that has just been filled: of one pair, its error; of a tile, what will tell it. */
static void note(const tp_solver *s, int id, tp_tile *t)
{
    if (t->seen && s->plans[id])
        t->seen[id] = t->now;
    if (!t->pair)
        return;
    tp_bound(s, id, t);
    tp_fill_near(s, id, t);
}

/* The partner of a quantity that is found in one go with it, itself being the first of the two. */
static int partner_of(const tp_solver *s, int id)
{
    return s->partner[id] > id ? s->partner[id] : -1;
}

static bool is_found_before(const tp_solver *s, int id)
{
    return s->partner[id] >= 0 && s->partner[id] < id;
}

/* The sum of a kernel's summands: their error is that of the worst. */
static double summand_error(const tp_solver *s, int id, const double *e)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    return q->kind == TP_Q_PRODUCT ? e[q->a] + e[q->b] : e[id];
}

static double kernel_error(const tp_solver *s, int id, const double *e)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    double most = q->kind == TP_Q_SUM ? 0 : summand_error(s, id, e);
    for (int k = 0; k < q->n && q->kind == TP_Q_SUM; k++)
        most = fmax(most, summand_error(s, q->parts[k].q, e));
    return most;
}

/* Kernels' errors, of all pairs and of those that are not near; of a tile from what is seen of its expectations. */
static void state_errors(const tp_solver *s, const tp_series *series, tp_tile *t, double stated[2])
{
    for (int id = 0; id < s->n && t->seen; id++)
        if (s->paired[id]) {
            t->now = t->seen[id];
            tp_bound(s, id, t);
        }
    stated[0] = stated[1] = 0;
    for (int k = 0; k < series->n; k++)
        for (int near = 0; near < 2; near++) {
            int id = series->at[k].q;
            stated[near] = fmax(stated[near], tp_stated(s, id, kernel_error(s, id, t->error[near])));
        }
}

/* Kernels' values into place, those of samples with themselves as they are known. */
static int place(const tp_solver *s, const tp_series *series, tp_kernel *kernel, const tp_tile *t,
                 double *const *totals, ad_error *error)
{
    bool finite = true;
    for (int k = 0; k < series->n; k++)
        finite = tp_place(s, t, totals[k], NULL, s->single[0][series->at[k].q], kernel->terms[k].values) && finite;
    return finite ? 0 : tp_beyond_range(s, t, error);
}

/* The steps over a tile. */
static int solve_tile(tp_solver *s, const tp_series *series, tp_kernel *kernel, tp_tile *t, double *const *totals,
                      ad_error *error)
{
    size_t n = t->rows * t->columns;
    for (int k = 0; k < series->n; k++)
        if (!s->schedule.begins[k])
            memset(totals[k], 0, n * sizeof *totals[k]);
    for (int i = 0; i < s->schedule.n_steps; i++) {
        const tp_step *step = &s->schedule.steps[i];
        if (i + TP_AHEAD < s->schedule.n_steps && step[TP_AHEAD].kind == TP_STEP_FILL)
            __builtin_prefetch(tp_quantity_at(&s->algebra, step[TP_AHEAD].out));
        const double *b = step->b >= 0 ? t->values[step->b] : NULL, *d = step->d >= 0 ? t->values[step->d] : NULL;
        if (step->kind == TP_STEP_FILL) {
            if (tp_fill(s, step->out, step->partner, t, error))
                return -1;
            note(s, step->out, t);
            if (step->partner >= 0)
                note(s, step->partner, t);
        } else if (step->kind == TP_STEP_SUM) {
            tp_array_sum3(n, step->c, step->ca, t->values[step->a], step->cb, b, step->cd, d, t->values[step->out]);
        } else {
            tp_array_weigh(n, t->values[step->a], step->c, step->cb, b, step->cd, d, t->values[step->out]);
        }
    }
    return place(s, series, kernel, t, totals, error);
}

/* Is it one of the series' sums that nothing else reads? */
static bool is_total(const tp_solver *s, const tp_series *series, int id)
{
    bool term = false;
    for (int k = 0; k < series->n; k++)
        term = term || series->at[k].q == id;
    return term && tp_quantity_at(&s->algebra, id)->kind == TP_Q_SUM && s->schedule.slot[id] < 0;
}

/* All quantities of one pair, and the series' sums of them. */
static int solve_pair(tp_solver *s, const tp_series *series, tp_kernel *kernel, tp_tile *t, double *const *totals,
                      ad_error *error)
{
    for (int id = 0; id < s->n; id++) {
        int partner = partner_of(s, id);
        if (!s->paired[id] || is_found_before(s, id) || is_total(s, series, id))
            continue;
        if (tp_fill(s, id, partner, t, error))
            return -1;
        note(s, id, t);
        if (partner >= 0)
            note(s, partner, t);
    }
    for (int k = 0; k < series->n; k++) {
        int id = series->at[k].q;
        const tp_quantity *q = tp_quantity_at(&s->algebra, id);
        bool total = is_total(s, series, id);
        *totals[k] = total ? q->c : *t->values[id];
        for (int m = 0; total && m < q->n; m++)
            *totals[k] += q->parts[m].c * *t->values[q->parts[m].q];
    }
    return place(s, series, kernel, t, totals, error);
}

/* ---- blocks ---- */
/* How rows and columns are divided: blocks of `high` by `wide`, in strips of `rows`. */
typedef struct {
    size_t high, wide, rows, down, across;
} division;

static size_t equal_parts(size_t of, size_t most)
{
    size_t parts = (of + most - 1) / most;
    return (of + parts - 1) / parts;
}

static bool reads_series(const tp_solver *s)
{
    bool reads = false;
    for (int id = 0; id < s->n && !reads; id++)
        reads = s->paired[id] && s->plans[id] && s->plans[id]->series[0][0];
    return reads;
}

/* Rows of a strip: as many as the nearest cache holds, or as make up for what a step costs, and a little more where a
 * block then is whole strips. */
static size_t strip_rows(const tp_solver *s, const tp_series *series, const division *d)
{
    size_t number = tp_single_serves(s, series) ? sizeof(float) : sizeof(double);
    size_t row = ((size_t)s->schedule.n_slots + 3 + (size_t)series->n) * d->wide * number, rows = NEAREST / row;
    size_t pairs = reads_series(s) ? FEW_BY_SERIES : FEW_PAIRS;
    size_t enough = (pairs + d->wide - 1) / d->wide, most = CACHE / row;
    rows = rows > enough ? rows : enough;
    rows = rows < most ? rows : most;
    rows = rows < 1 ? 1 : rows < d->high ? rows : d->high;
    size_t whole = equal_parts(d->high, d->high / (d->high / rows));
    return whole <= most ? whole : rows;
}

/* The same for any number of threads, and so are the roundings. */
static division divide(const tp_solver *s, const tp_series *series)
{
    division d = { .high = equal_parts(s->rows[0], HIGH), .wide = (equal_parts(s->rows[1], WIDE) + 7) / 8 * 8 };
    d.across = (s->rows[1] + d.wide - 1) / d.wide;
    d.rows = strip_rows(s, series, &d);
    while (d.high / 2 >= d.rows && s->rows[0] / d.high * d.across < FEW_BLOCKS)
        d.high = equal_parts(s->rows[0], d.high / 2);
    d.down = (s->rows[0] + d.high - 1) / d.high;
    d.rows = strip_rows(s, series, &d);
    return d;
}

/* Is a part of the pairs computed that begins and ends there? */
static bool is_computed(const tp_solver *s, size_t first_row, size_t last_column)
{
    return !tp_by_halves(s) || last_column >= first_row;
}

/* What a thread has: memory of a tile, and, once there are pairs near 1 or -1, of one pair. */
typedef struct {
    tp_tile tile, one;
    tp_near pair;
    double *totals[TP_MAX_POWERS], *single[TP_MAX_POWERS];
    double **values, *memory, *numbers;
    tp_panel panel;
    double **own;         /* by quantity: its values' place in a strip, where the panel does not serve */
    tp_seen *seen, *most; /* by quantity: of a tile; the worst of all tiles without pairs near 1 or -1 */
    double worst;         /* error of the others so far */
    tp_single *floats;    /* strips in floats; NULL */
} worker;

static bool is_product(const tp_solver *s, int id)
{
    return s->schedule.slot[id] >= 0 && tp_quantity_at(&s->algebra, id)->kind == TP_Q_GRAM;
}

static int worker_begin(worker *w, const tp_solver *s, const tp_series *series, const division *d, ad_error *error)
{
    size_t n = (size_t)s->n, area = d->rows * d->wide, blocks = (size_t)s->schedule.n_slots + (size_t)series->n + 3;
    size_t panels = 0;
    for (int id = 0; id < s->n; id++)
        panels += is_product(s, id);
    panels = panels <= MOST_PANELS ? panels : 0;
    w->values = ad_alloc(5 * n + TP_MAX_POWERS + 1, sizeof *w->values, "a tile", error);
    w->memory = ad_alloc(blocks * area + 2 * n + (area + 7) / 8 + panels * d->high * d->wide, sizeof *w->memory,
                         "a tile", error);
    w->seen = ad_alloc(2 * n + 1, sizeof *w->seen, "a tile", error);
    if (!w->values || !w->memory || !w->seen)
        return -1;
    w->most = w->seen + n;
    double *next = w->memory;
    for (int k = 0; k < series->n; k++, next += area)
        w->totals[k] = w->values[2 * n + (size_t)k] = next;
    w->tile =
        (tp_tile){ .values = w->values, .q11 = next, .q22 = next + area, .half = next + 2 * area, .seen = w->seen };
    next += 3 * area;
    for (int id = 0; id < 2 * s->n; id++)
        if (s->schedule.slot[id] >= 0)
            w->values[id] = next + (size_t)s->schedule.slot[id] * area;
    next += (size_t)s->schedule.n_slots * area;
    w->panel.values = w->values + 3 * n + TP_MAX_POWERS;
    w->own = w->values + 4 * n + TP_MAX_POWERS;
    memcpy(w->own, w->values, n * sizeof *w->own);
    for (int id = 0; id < s->n && panels > 0; id++)
        if (is_product(s, id)) {
            w->panel.values[id] = next;
            next += d->high * d->wide;
        }
    w->tile.panel = panels > 0 ? &w->panel : NULL;
    w->tile.error[0] = next;
    w->tile.error[1] = w->tile.error[0] + n;
    w->tile.nearly = (unsigned char *)(w->tile.error[1] + n);
    return 0;
}

/* A tile of one pair, each quantity with a number of its own. */
static int one_begin(worker *w, const tp_solver *s, ad_error *error)
{
    size_t n = (size_t)s->n;
    if (w->numbers)
        return 0;
    w->numbers = ad_alloc(7 * n + TP_MAX_POWERS + 3, sizeof *w->numbers, "a pair", error);
    if (!w->numbers)
        return -1;
    double *next = w->numbers;
    double **parts[] = { &w->one.error[0], &w->one.error[1], &w->pair.gap,
                         &w->pair.off,     &w->pair.size[0], &w->pair.size[1] };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++, next += n)
        *parts[k] = next;
    w->one.values = w->values + 2 * n + TP_MAX_POWERS;
    for (size_t id = 0; id < n; id++)
        w->one.values[id] = next++;
    for (int k = 0; k < TP_MAX_POWERS; k++)
        w->single[k] = next++;
    w->one.q11 = next;
    w->one.q22 = next + 1;
    w->one.half = next + 2;
    w->one.rows = w->one.columns = 1;
    w->one.pair = &w->pair;
    return 0;
}

/* The pairs of a tile that are near 1 or -1, one by one. */
static int solve_near(tp_solver *s, const tp_series *series, tp_kernel *kernel, worker *w, ad_error *error)
{
    const tp_tile *t = &w->tile;
    double stated[2];
    if (one_begin(w, s, error))
        return -1;
    for (size_t at = 0; at < t->rows * t->columns; at++) {
        size_t row = t->row0 + at / t->columns, column = t->column0 + at % t->columns;
        if (!t->nearly[at] || (tp_by_halves(s) && column < row))
            continue;
        w->one.row0 = row;
        w->one.column0 = column;
        w->one.set[1] = t->set[1];
        if (solve_pair(s, series, kernel, &w->one, w->single, error))
            return -1;
        state_errors(s, series, &w->one, stated);
        w->worst = fmax(w->worst, stated[0]);
    }
    return 0;
}

static void take_most(const tp_solver *s, tp_seen *most, const tp_seen *seen)
{
    for (int id = 0; id < s->n; id++)
        if (s->plans[id] && s->paired[id]) {
            most[id].local = fmax(most[id].local, seen[id].local);
            most[id].most = fmax(most[id].most, seen[id].most);
        }
}

static int solve_strip(tp_solver *s, const tp_series *series, tp_kernel *kernel, worker *w, ad_error *error)
{
    double stated[2];
    const float *total;
    if (w->floats && tp_single_solve(s, w->floats, &w->tile, &total, error))
        return -1;
    if (w->floats && total)
        return tp_place(s, &w->tile, NULL, total, s->single[0][series->at[0].q], NULL)
                   ? 0
                   : tp_beyond_range(s, &w->tile, error);
    w->tile.n_near = 0;
    memset(w->tile.nearly, 0, w->tile.rows * w->tile.columns);
    if (solve_tile(s, series, kernel, &w->tile, w->totals, error))
        return -1;
    if (!w->tile.n_near) {
        take_most(s, w->most, w->seen);
        return 0;
    }
    state_errors(s, series, &w->tile, stated);
    bool again = w->tile.n_near && stated[0] > 4 * stated[1] + 1e-14;
    w->worst = fmax(w->worst, stated[again]);
    return again ? solve_near(s, series, kernel, w, error) : 0;
}

/* The products of data over a block. */
static int fill_panel(tp_solver *s, worker *w, size_t rows, ad_error *error)
{
    tp_panel *panel = &w->panel;
    tp_tile t = w->tile;
    panel->row0 = t.row0;
    panel->column0 = t.column0;
    panel->columns = t.columns;
    t.panel = NULL;
    t.rows = rows;
    t.values = panel->values;
    for (int id = 0; id < s->n && w->tile.panel; id++)
        if (panel->values[id] && tp_fill(s, id, -1, &t, error))
            return -1;
    return 0;
}

/* Whole rows of the panel are read where they are. */
static void use_panel(const tp_solver *s, worker *w)
{
    const tp_panel *p = &w->panel;
    const tp_tile *t = &w->tile;
    bool whole = t->columns == p->columns;
    for (int id = 0; id < s->n && t->panel; id++)
        if (p->values[id])
            t->values[id] = whole ? p->values[id] + (t->row0 - p->row0) * p->columns : w->own[id];
}

/* The strips of the block that begins at (row, column). */
static int solve_block(tp_solver *s, const tp_series *series, tp_kernel *kernel, worker *w, const division *d,
                       size_t row, size_t column, ad_error *error)
{
    size_t end_row = row + d->high < s->rows[0] ? row + d->high : s->rows[0];
    size_t end = column + d->wide < s->rows[1] ? column + d->wide : s->rows[1];
    tp_tile *t = &w->tile;
    t->row0 = row;
    t->column0 = column;
    t->columns = end - column;
    t->set[1] = s->same ? 0 : 1;
    if (fill_panel(s, w, end_row - row, error))
        return -1;
    tp_single_anew(w->floats);
    for (; t->row0 < end_row && is_computed(s, t->row0, end - 1); t->row0 += t->rows) {
        t->column0 = tp_by_halves(s) && t->row0 > column ? t->row0 : column;
        t->columns = end - t->column0;
        t->rows = d->rows * d->wide / t->columns; /* more where the columns are few */
        t->rows = t->rows < end_row - t->row0 ? t->rows : end_row - t->row0;
        use_panel(s, w);
        if (solve_strip(s, series, kernel, w, error))
            return -1;
    }
    if (tp_by_halves(s))
        tp_place_mirrored(s, kernel, row, end_row, column, end);
    return 0;
}

/* A block is done, of so many. */
static void tell_progress(const tp_limit_spec *spec, size_t *done, size_t all)
{
    if (!spec->progress)
        return;
#pragma omp critical(limn_limit_progress)
    spec->progress((double)++*done / (double)all, spec->context);
}

static void unfold(const tp_solver *s, tp_kernel *kernel)
{
    size_t n = s->rows[0];
    for (int k = 0; k < kernel->n_terms; k++) {
        double *a = kernel->terms[k].values;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++)
                a[i * n + j] = a[j * n + i] = a[i * n + j] / 2 + a[j * n + i] / 2;
    }
}

int tp_solve_tiles(tp_solver *s, const tp_series *series, tp_kernel *kernel, const tp_limit_spec *spec, int threads)
{
    division d = divide(s, series);
    size_t done = 0, blocks = 0;
    for (size_t k = 0; k < d.down * d.across; k++)
        blocks += is_computed(s, k / d.across * d.high, k % d.across * d.wide + d.wide - 1);
    int failed = 0;
    bool single = tp_single_serves(s, series);
    double stated[2], *errors = ad_arena_alloc(s->algebra.arena, 2 * (size_t)s->n, sizeof *errors);
    tp_tile all = { .rows = s->rows[0],
                    .columns = s->rows[1],
                    .set = { 0, s->same ? 0 : 1 },
                    .seen = ad_arena_alloc(s->algebra.arena, (size_t)s->n, sizeof *all.seen),
                    .error = { errors, errors ? errors + s->n : NULL } };
    tp_tile floats = all;
    floats.seen = ad_arena_alloc(s->algebra.arena, (size_t)s->n, sizeof *all.seen);
    if (!errors || !all.seen || !floats.seen)
        return ad_fail(s->error, "out of memory for the errors of a kernel");
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        ad_error error = { 0 };
        worker w = { .worst = 0 };
        failed = worker_begin(&w, s, series, &d, &error) != 0 ||
                 (single && !(w.floats = tp_single_new(s, d.rows * d.wide, &error)));
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < d.down * d.across; k++) {
            size_t row = k / d.across * d.high, column = k % d.across * d.wide;
            if (failed || !is_computed(s, row, column + d.wide - 1))
                continue;
            failed = solve_block(s, series, kernel, &w, &d, row, column, &error) != 0;
            tell_progress(spec, &done, blocks);
        }
#pragma omp critical
        {
            kernel->error = fmax(kernel->error, w.worst);
            if (w.most)
                take_most(s, all.seen, w.most);
            if (w.floats)
                take_most(s, floats.seen, tp_single_seen(w.floats));
            if (failed)
                ad_fail(s->error, "%s", error.text);
        }
        ad_free(w.values);
        ad_free(w.memory);
        ad_free(w.numbers);
        ad_free(w.seen);
        tp_single_free(w.floats);
    }
    if (failed)
        return -1;
    state_errors(s, series, &all, stated);
    kernel->error = fmax(kernel->error, stated[0]);
    if (single) {
        s->unit = TP_SINGLE_UNIT;
        state_errors(s, series, &floats, stated);
        s->unit = TP_DOUBLE_UNIT;
        kernel->error = fmax(kernel->error, stated[0]);
    }
    kernel->error += s->floats ? TP_SINGLE_UNIT : 0;
    if (s->folded)
        unfold(s, kernel);
    return 0;
}
