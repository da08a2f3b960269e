/* function.c: evaluating the univariate functions of coordinates, and finding their kinks. */
#include "tp/symbolic/function.h"
#include "autodiff/base/base.h"
#include "autodiff/plan/plan.h"
#include "tp/gauss/gauss.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 128 };

static void eval_part(const tp_fn *f, const tp_sample *sample, size_t n, const double *x, const double *a,
                      const double *b, double *y)
{
    const ad_loops *loops = ad_loops_get(AD_DOUBLE);
    switch (f->op) {
    case TP_VARIABLE:
        memcpy(y, x, n * sizeof *x);
        return;
    case TP_NUMBER:
        for (size_t i = 0; i < n; i++)
            y[i] = f->p;
        return;
    case TP_SCALAR:
        for (size_t i = 0; i < n; i++)
            y[i] = sample->values[f->a][sample->row];
        return;
    case TP_PLUS:
    case TP_TIMES:
        loops->op[f->op == TP_PLUS ? AD_ADD : AD_MUL](n, y, a, b, 0);
        return;
    case TP_INVERSE:
        for (size_t i = 0; i < n; i++)
            y[i] = fabs(a[i]) > 0 ? 1 / a[i] : 0;
        return;
    case AD_CUSTOM:
        f->function->derivatives[f->order](n, a, y);
        return;
    default:
        loops->op[f->op](n, y, a, NULL, f->p);
    }
}

/* The values of all parts at n <= BLOCK points: those in slots that none has taken over, the last one's in y. */
static void eval_parts(const tp_algebra *algebra, const tp_fn_parts *p, const tp_sample *sample, size_t n,
                       const double *x, double *slots, double *y)
{
    for (int k = 0; k < p->n; k++) {
        int a = p->at[k].a < 0 ? 0 : p->at[p->at[k].a].slot, b = p->at[k].b < 0 ? 0 : p->at[p->at[k].b].slot;
        double *to = k + 1 < p->n ? slots + (size_t)p->at[k].slot * BLOCK : y;
        eval_part(tp_fn_at(algebra, p->at[k].id), sample, n, x, slots + (size_t)a * BLOCK, slots + (size_t)b * BLOCK,
                  to);
    }
}

void tp_fn_eval_last(const tp_algebra *algebra, int fn, size_t n, const double *a, const double *b, double *y)
{
    eval_part(tp_fn_at(algebra, fn), NULL, n, a, a, b, y);
}

/* NAN without memory, which functions whose parts are not kept need, and those of many slots. */
void tp_fn_eval(const tp_algebra *algebra, int fn, const tp_sample *sample, size_t n, const double *x, double *y)
{
    enum { FEW = 16 };
    const tp_fn_parts *p = tp_fn_parts_of(algebra, fn);
    double few[FEW * BLOCK];
    double *slots =
        p && p->n_slots > FEW ? ad_reserve((size_t)p->n_slots * BLOCK, sizeof *slots, "a function", NULL) : few;
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        if (p && slots)
            eval_parts(algebra, p, sample, count, x + i, slots, y + i);
        for (size_t k = 0; k < count && !(p && slots); k++)
            y[i + k] = (double)NAN;
    }
    if (!slots)
        *algebra->starved = true;
    if (slots != few)
        ad_free(slots);
    tp_fn_parts_end(algebra, fn, p);
}

/* Unless there is one nearer than `near`. */
static int add_kink(double *kinks, int count, int room, double at, double near)
{
    for (int i = 0; i < count && i < room; i++)
        if (fabs(kinks[i] - at) < near)
            return count;
    if (count < room)
        kinks[count] = fabs(at) < near ? 0 : at;
    return count + 1;
}

/* The root of f(x) = level between lo and hi, where f - level changes its sign from at_lo, by bisection. */
static double find_root(const tp_algebra *algebra, int fn, const tp_sample *sample, double level, double lo, double hi,
                        bool at_lo)
{
    for (int k = 0; k < 60; k++) {
        double mid = (lo + hi) / 2, value;
        tp_fn_eval(algebra, fn, sample, 1, &mid, &value);
        if ((value - level < 0) == at_lo)
            lo = mid;
        else
            hi = mid;
    }
    return fabs(hi) < 1e-15 ? 0 : hi;
}

/* Where f - level, times -1 where it is negative at the ends, is least between lo and hi, by golden sections; *least:
 * how much it is there. */
static double find_turn(const tp_algebra *algebra, int fn, const tp_sample *sample, double level, bool negative,
                        double lo, double hi, double *least)
{
    const double golden = 0.61803398874989484820, sign = negative ? -1 : 1;
    double at[2] = { hi - golden * (hi - lo), lo + golden * (hi - lo) }, value[2];
    tp_fn_eval(algebra, fn, sample, 2, at, value);
    for (int k = 0; k < 80; k++) {
        bool left = sign * value[0] < sign * value[1];
        int kept = left ? 0 : 1, other = 1 - kept;
        lo = left ? lo : at[0];
        hi = left ? at[1] : hi;
        at[other] = at[kept];
        value[other] = value[kept];
        at[kept] = left ? hi - golden * (hi - lo) : lo + golden * (hi - lo);
        tp_fn_eval(algebra, fn, sample, 1, &at[kept], &value[kept]);
    }
    int nearest = sign * value[0] < sign * value[1] ? 0 : 1;
    *least = sign * (value[nearest] - level);
    return fabs(at[nearest]) < 1e-15 ? 0 : at[nearest];
}

/* A sign that f - level changes, f the argument of a part that jumps at the level, or whose derivative does: in cell
 * number `cell` of a fine grid, below which it is negative or not. The variable itself is exact: cell -1. Or the two
 * cells from `cell` on, where f may reach the level and turn: as a square does 0, with no sign to change, or change it
 * twice. */
typedef struct {
    int part, level, cell;
    bool negative, turns;
} crossing;

/* Parts first, then their levels, then from left to right. */
static int compare_crossings(const void *a, const void *b)
{
    const crossing *x = a, *y = b;
    int by_part = (x->part > y->part) - (x->part < y->part), by_level = (x->level > y->level) - (x->level < y->level);
    return by_part ? by_part : by_level ? by_level : (x->cell > y->cell) - (x->cell < y->cell);
}

typedef struct {
    crossing *at;
    int n, capacity;
} crossings;

enum { CELLS = 4096 };
static double grid_point(int i)
{
    const double reach = 64;
    return -reach + 2 * reach * i / CELLS;
}

static bool add_crossing(crossings *all, crossing c)
{
    if (!ad_grow((void **)&all->at, all->n, &all->capacity, sizeof *all->at, "kinks", NULL))
        return false;
    all->at[all->n++] = c;
    return true;
}

/* May what has these values at three points reach 0 between them, on one side of 0? */
static bool may_touch(double left, double middle, double right)
{
    double a = fabs(left), b = fabs(middle), c = fabs(right);
    bool one_side = (left < 0) == (middle < 0) && (middle < 0) == (right < 0);
    return one_side && b < a && b <= c && c > 0 && b < 0.75 * fmax(a, c);
}

/* Of part k on grid points from `first` on, x its argument's values there, x[-1] and x[-2] at the points before. */
static bool find_crossings(const tp_fn *f, int k, int first, int n, const double *x, crossings *all)
{
    int own = 0;
    const double *levels = tp_fn_own_kinks(f, &own);
    for (int level = 0; level < own; level++)
        for (int i = first > 0 ? 0 : 1; i < n; i++) {
            double before = x[i - 1] - levels[level], here = x[i] - levels[level];
            bool negative = before < 0, changes = negative != (here < 0);
            bool turns = first + i > 1 && may_touch(x[i - 2] - levels[level], before, here);
            if ((changes || turns) &&
                !add_crossing(all, (crossing){ k, level, first + i - (turns ? 2 : 1), negative, turns }))
                return false;
        }
    return true;
}

/* All parts' on the whole grid, each part evaluated once. Slots begin with the values at the last two points of the
 * block before, so that they are not shared here. */
static bool scan_grid(const tp_algebra *algebra, const tp_fn_parts *p, const tp_sample *sample, crossings *all)
{
    enum { ROOM = BLOCK + 2 };
    double x[BLOCK], *values = ad_reserve((size_t)p->n * ROOM, sizeof *values, "kinks", NULL);
    bool fine = values != NULL;
    for (int i = 0; i <= CELLS && fine; i += BLOCK) {
        int n = CELLS + 1 - i < BLOCK ? CELLS + 1 - i : BLOCK;
        for (int k = 0; k < n; k++)
            x[k] = grid_point(i + k);
        for (int k = 0; k < p->n && fine; k++) {
            const tp_fn *f = tp_fn_at(algebra, p->at[k].id);
            double *own = values + (size_t)k * ROOM + 2;
            const double *a = values + (size_t)(p->at[k].a < 0 ? 0 : p->at[k].a) * ROOM + 2;
            const double *b = values + (size_t)(p->at[k].b < 0 ? 0 : p->at[k].b) * ROOM + 2;
            own[-2] = i > 0 ? own[BLOCK - 2] : 0;
            own[-1] = i > 0 ? own[BLOCK - 1] : 0;
            eval_part(f, sample, (size_t)n, x, a, b, own);
            if (tp_fn_arguments(f) == 1 && tp_fn_at(algebra, f->a)->op != TP_VARIABLE)
                fine = find_crossings(f, k, i, n, a, all);
        }
    }
    ad_free(values);
    return fine;
}

/* Those whose argument is the variable. */
static bool add_exact(const tp_algebra *algebra, const tp_fn_parts *p, crossings *all)
{
    bool fine = true;
    for (int k = 0; k < p->n; k++) {
        const tp_fn *f = tp_fn_at(algebra, p->at[k].id);
        int own = 0;
        if (tp_fn_arguments(f) == 1 && tp_fn_at(algebra, f->a)->op == TP_VARIABLE)
            tp_fn_own_kinks(f, &own);
        for (int level = 0; level < own && fine; level++)
            fine = add_crossing(all, (crossing){ .part = k, .level = level, .cell = -1 });
    }
    return fine;
}

/* So much of the difference at its cells' ends is what rounding makes of a level that is reached. */
static const double reached = 1e-10;
/* Where it is reached and not crossed is known to the root of that. */
static const double told_apart = 1e-7;

/* The kinks of a crossing, by search in its cells, from left to right; how many: none where f turns before it reaches
 * the level, two where it turns beyond it. */
static int kinks_of(const tp_algebra *algebra, const tp_fn_parts *p, const tp_sample *sample, const crossing *c,
                    double kinks[2])
{
    const tp_fn *f = tp_fn_at(algebra, p->at[c->part].id);
    int own;
    double level = tp_fn_own_kinks(f, &own)[c->level], ends[2], least;
    kinks[0] = level;
    if (c->cell < 0)
        return 1;
    double lo = grid_point(c->cell), hi = grid_point(c->cell + (c->turns ? 2 : 1));
    if (!c->turns) {
        kinks[0] = find_root(algebra, f->a, sample, level, lo, hi, c->negative);
        return 1;
    }
    tp_fn_eval(algebra, f->a, sample, 2, (double[]){ lo, hi }, ends);
    double turn = find_turn(algebra, f->a, sample, level, c->negative, lo, hi, &least);
    double small = reached * fmax(fabs(ends[0] - level), fabs(ends[1] - level));
    if (least < -small) {
        kinks[0] = find_root(algebra, f->a, sample, level, lo, turn, c->negative);
        kinks[1] = find_root(algebra, f->a, sample, level, turn, hi, !c->negative);
        return 2;
    }
    kinks[0] = turn;
    return least <= small ? 1 : 0;
}

/* Are two crossings of one level, at these points, rounding's? f turns between them as it reaches the level: cos^2 is 1
 * in double precision up to 1e-8 from 0. */
static bool only_touches(const tp_algebra *algebra, const tp_fn_parts *p, const tp_sample *sample, const crossing *c,
                         const crossing *before, double at_before, double at)
{
    const double near = 1e-6;
    const tp_fn *f = tp_fn_at(algebra, p->at[c->part].id);
    if (c->cell < 0 || c->part != before->part || c->level != before->level || !(at - at_before < near))
        return false;
    int own;
    double level = tp_fn_own_kinks(f, &own)[c->level], x[2] = { (at_before + at) / 2, grid_point(c->cell + 1) }, y[2];
    tp_fn_eval(algebra, f->a, sample, 2, x, y);
    return fabs(y[0] - level) <= 4 * DBL_EPSILON * fabs(level) + reached * fabs(y[1] - level);
}

int tp_fn_kinks(const tp_algebra *algebra, int fn, const tp_sample *sample, double *kinks, int room)
{
    if (tp_fn_smooth(algebra, fn))
        return 0;
    const tp_fn_parts *p = tp_fn_parts_of(algebra, fn);
    crossings all = { 0 };
    bool fine = p && add_exact(algebra, p, &all) && scan_grid(algebra, p, sample, &all);
    int count = 0;
    if (fine && all.n > 0)
        qsort(all.at, (size_t)all.n, sizeof *all.at, compare_crossings);
    double found[2], before = -INFINITY;
    for (int i = 0; i < all.n && fine && count <= room; i++) {
        int n = kinks_of(algebra, p, sample, &all.at[i], found);
        bool touches = n > 0 && count > 0 && !(fabs(kinks[count - 1] - before) > 0) &&
                       only_touches(algebra, p, sample, &all.at[i], &all.at[i - 1], before, found[0]);
        double near = touches || (n == 1 && all.at[i].turns) ? told_apart : 1e-12;
        if (touches) {
            found[0] = (before + found[0]) / 2;
            count--;
        }
        for (int k = 0; k < n && count <= room; k++)
            count = add_kink(kinks, count, room, found[k], near);
        before = n > 0 ? found[n - 1] : before;
    }
    ad_free(all.at);
    tp_fn_parts_end(algebra, fn, p);
    return fine ? count : -1;
}

int tp_fn_scalars(const tp_algebra *algebra, int fn, int *scalars, int room)
{
    if (!tp_fn_at(algebra, fn)->scalars)
        return 0;
    const tp_fn_parts *p = tp_fn_parts_of(algebra, fn);
    int count = 0;
    for (int k = 0; p && k < p->n; k++) {
        const tp_fn *f = tp_fn_at(algebra, p->at[k].id);
        if (f->op == TP_SCALAR && count++ < room)
            scalars[count - 1] = f->a;
    }
    tp_fn_parts_end(algebra, fn, p);
    return count;
}
