/* single.c: strips of pairs in floats: products of data in doubles, rounded once, then the schedule's steps in floats.
 *
 * A correlation c near 1 has lost 1 - c in floats, and its angle with it: such strips are left to the doubles. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <math.h>
#include <string.h>

/* Correlations are near 1 in floats from here on: an angle's error is then at most six times the correlation's. */
static const float near_one = 1 - 0x1p-6F;

enum { FIRST_STRIPS = 2 }; /* of a block: where each has a pair near 1, the others are not tried */

/* Of a variance's quantity, by set. */
typedef struct {
    float *inverse, *root;
} scales;

struct tp_single {
    const tp_singles *loops;
    float **values; /* by block of the schedule */
    scales *scales[2];
    float *memory, *total, *none;
    tp_seen *seen, *now;
    int tried, served; /* strips of the block under way */
};

static bool serves_expectation(const tp_solver *s, int id)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const tp_expect_plan *plan = s->plans[id];
    int second = s->same ? 0 : 1;
    bool form = plan->f->u.form == TP_RELU || plan->f->u.form == TP_STEP;
    return plan->pair_rows && form && s->errors.scales[0][q->var_a].positive &&
           s->errors.scales[second][q->var_b].positive;
}

/* Of numbers of order one to a few thousand in either direction: beyond, floats lose digits where doubles do not. */
static bool is_moderate(const double *values, size_t rows)
{
    for (size_t i = 0; i < rows; i++)
        if (!(values[i] > 1e-12 && values[i] < 1e12))
            return false;
    return true;
}

bool tp_single_serves(const tp_solver *s, const tp_series *series)
{
    if (!s->floats || series->n != 1)
        return false;
    for (int k = 0; k < s->schedule.n_steps; k++) {
        const tp_step *step = &s->schedule.steps[k];
        if (step->kind != TP_STEP_FILL)
            continue;
        const tp_quantity *q = tp_quantity_at(&s->algebra, step->out);
        if (q->kind == TP_Q_NUMBER || q->kind == TP_Q_GRAM)
            continue;
        if (q->kind != TP_Q_EXPECT || !serves_expectation(s, step->out))
            return false;
        for (int set = 0; set < (s->same ? 1 : 2); set++)
            if (!is_moderate(s->single[set][set ? q->var_b : q->var_a], s->rows[set]))
                return false;
    }
    return true;
}

/* The scales of a variance, once for all expectations of it. */
static float *narrow_scales(const tp_solver *s, tp_single *w, int id, float *next)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    for (int side = 0; side < 2; side++) {
        int set = side && !s->same ? 1 : 0, variance = side ? q->var_b : q->var_a;
        size_t rows = s->rows[set];
        const tp_scales *from = &s->errors.scales[set][variance];
        scales *to = &w->scales[set][variance];
        if (to->inverse)
            continue;
        *to = (scales){ next, next + rows };
        w->loops->narrow(rows, from->inverse, to->inverse);
        w->loops->narrow(rows, from->root, to->root);
        next += 2 * rows;
    }
    return next;
}

tp_single *tp_single_new(tp_solver *s, size_t area, ad_error *error)
{
    enum { WIDEST = 16 }; /* floats of a vector */
    size_t n = (size_t)s->n, expectations = 0, rows = s->rows[0] + (s->same ? 0 : s->rows[1]);
    for (int id = 0; id < s->n; id++)
        expectations += s->schedule.slot[id] >= 0 && tp_quantity_at(&s->algebra, id)->kind == TP_Q_EXPECT;
    tp_single *w = ad_alloc(1, sizeof *w, "a tile", error);
    if (!w)
        return NULL;
    w->loops = tp_singles_at(0);
    area = (area + WIDEST - 1) / WIDEST * WIDEST;
    w->values = ad_alloc(2 * n + 1, sizeof *w->values, "a tile", error);
    w->scales[0] = ad_alloc(2 * n + 1, sizeof *w->scales[0], "a tile", error);
    w->seen = ad_alloc(2 * n + 1, sizeof *w->seen, "a tile", error);
    w->memory = ad_alloc(((size_t)s->schedule.n_slots + 2) * area + 4 * expectations * rows, sizeof *w->memory,
                         "a tile", error);
    if (!w->values || !w->scales[0] || !w->seen || !w->memory) {
        tp_single_free(w);
        return NULL;
    }
    w->scales[1] = s->same ? w->scales[0] : w->scales[0] + n;
    w->now = w->seen + n;
    w->total = w->memory;
    w->none = w->total + area;
    float *next = w->none + area;
    for (int id = 0; id < 2 * s->n; id++)
        if (s->schedule.slot[id] >= 0)
            w->values[id] = next + (size_t)s->schedule.slot[id] * area;
    w->values[2 * n] = w->total;
    next += (size_t)s->schedule.n_slots * area;
    for (int id = 0; id < s->n; id++)
        if (s->schedule.slot[id] >= 0 && tp_quantity_at(&s->algebra, id)->kind == TP_Q_EXPECT)
            next = narrow_scales(s, w, id, next);
    return w;
}

void tp_single_free(tp_single *w)
{
    if (!w)
        return;
    ad_free(w->values);
    ad_free(w->scales[0]);
    ad_free(w->seen);
    ad_free(w->memory);
    ad_free(w);
}

void tp_single_anew(tp_single *w)
{
    if (w)
        w->tried = w->served = 0;
}

const tp_seen *tp_single_seen(const tp_single *w)
{
    return w->seen;
}

/* An expectation and its partner; false where a pair is near 1 or -1. */
static bool fill_expectation(const tp_solver *s, tp_single *w, int id, int partner, const tp_tile *t)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const scales *down = &w->scales[t->set[0]][q->var_a], *across = &w->scales[t->set[1]][q->var_b];
    bool own = tp_holds_own(s, t), first = s->plans[id]->f->u.form == TP_RELU;
    float *cov = w->values[q->a], *value = w->values[id], *other = partner >= 0 ? w->values[partner] : w->none;
    float most = 0;
    for (size_t i = 0; i < t->rows && most <= near_one; i++) {
        size_t at = i * t->columns, place = t->row0 + i - t->column0, row = t->row0 + i;
        bool same = own && row >= t->column0 && place < t->columns;
        float kept = same ? cov[at + place] : 0;
        if (same) /* what is found of a sample with itself is not its value, which is known */
            cov[at + place] = 0;
        float found = w->loops->relu(t->columns, down->inverse[row], down->root[row], across->inverse + t->column0,
                                     across->root + t->column0, cov + at, (first ? value : other) + at,
                                     (first ? other : value) + at);
        if (same)
            cov[at + place] = kept;
        most = found > most ? found : most;
    }
    w->now[id].most = most;
    if (partner >= 0)
        w->now[partner].most = most;
    return most <= near_one;
}

static int fill(tp_solver *s, tp_single *w, const tp_step *step, tp_tile *t, bool *near, ad_error *error)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, step->out);
    size_t n = t->rows * t->columns;
    float *out = w->values[step->out];
    switch (q->kind) {
    case TP_Q_NUMBER:
        for (size_t i = 0; i < n; i++)
            out[i] = (float)q->c;
        break;
    case TP_Q_GRAM:
        if (tp_fill(s, step->out, -1, t, error))
            return -1;
        w->loops->narrow(n, t->values[step->out], out);
        break;
    default:
        *near = !fill_expectation(s, w, step->out, step->partner, t);
        break;
    }
    return 0;
}

static void combine(const tp_single *w, const tp_step *step, size_t n)
{
    const float *a = w->values[step->a], *b = step->b >= 0 ? w->values[step->b] : NULL;
    const float *d = step->d >= 0 ? w->values[step->d] : NULL;
    float c = (float)step->c, ca = (float)step->ca, cb = (float)step->cb, cd = (float)step->cd;
    if (step->kind == TP_STEP_SUM)
        w->loops->sum3(n, c, ca, a, cb, b, cd, d, w->values[step->out]);
    else
        w->loops->weigh(n, a, c, cb, b, cd, d, w->values[step->out]);
}

static void take_most(const tp_solver *s, tp_single *w)
{
    for (int id = 0; id < s->n; id++)
        if (s->plans[id] && s->paired[id])
            w->seen[id].most = fmax(w->seen[id].most, w->now[id].most);
}

int tp_single_solve(tp_solver *s, tp_single *w, tp_tile *t, const float **total, ad_error *error)
{
    size_t n = t->rows * t->columns;
    bool near = false;
    *total = NULL;
    if (w->tried >= FIRST_STRIPS && !w->served)
        return 0;
    w->tried++;
    for (int k = 0; k < s->schedule.n_steps && !near; k++) {
        const tp_step *step = &s->schedule.steps[k];
        if (step->kind != TP_STEP_FILL)
            combine(w, step, n);
        else if (fill(s, w, step, t, &near, error))
            return -1;
    }
    if (near)
        return 0;
    if (!s->schedule.begins[0])
        memset(w->total, 0, n * sizeof *w->total);
    w->served++;
    take_most(s, w);
    *total = w->total;
    return 0;
}
