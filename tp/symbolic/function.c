/* function.c: evaluating the univariate functions of coordinates, and finding their kinks. */
#include "tp/symbolic/function.h"
#include "autodiff/plan/plan.h"
#include "tp/gauss/gauss.h"

#include <math.h>
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

/* NAN without memory, which only functions of many parts need. */
void tp_fn_eval(const tp_algebra *algebra, int fn, const tp_sample *sample, size_t n, const double *x, double *y)
{
    enum { FEW = 24 };
    const tp_fn_parts *p = &algebra->parts[fn];
    double few[FEW * BLOCK];
    double *values = p->n <= FEW ? few : ad_reserve((size_t)p->n * BLOCK, sizeof *values, "a function", NULL);
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        for (int k = 0; values && k < p->n; k++) {
            double *to = k + 1 < p->n ? values + (size_t)k * BLOCK : y + i;
            eval_part(tp_fn_at(algebra, p->at[k].id), sample, count, x + i, values + (ptrdiff_t)p->at[k].a * BLOCK,
                      values + (ptrdiff_t)p->at[k].b * BLOCK, to);
        }
        for (size_t k = 0; k < count && !values; k++)
            y[i + k] = (double)NAN;
    }
    if (values != few)
        ad_free(values);
}

static int add_kink(double *kinks, int count, int room, double at)
{
    for (int i = 0; i < count && i < room; i++)
        if (fabs(kinks[i] - at) < 1e-12)
            return count;
    if (count < room)
        kinks[count] = at;
    return count + 1;
}

/* Where f(x) = level: changes of sign on a fine grid, by bisection. The variable itself is exact. */
static int add_roots(const tp_algebra *algebra, int fn, const tp_sample *sample, double level, double *kinks, int count,
                     int room)
{
    if (tp_fn_at(algebra, fn)->op == TP_VARIABLE)
        return add_kink(kinks, count, room, level);
    enum { CELLS = 4096 };
    const double reach = 64;
    double before = 0;
    for (int i = 0; i <= CELLS; i++) {
        double x = -reach + 2 * reach * i / CELLS, y;
        tp_fn_eval(algebra, fn, sample, 1, &x, &y);
        y -= level;
        if (i > 0 && (before < 0) != (y < 0)) {
            double lo = x - 2 * reach / CELLS, hi = x, at_lo = before;
            for (int k = 0; k < 60; k++) {
                double mid = (lo + hi) / 2, value;
                tp_fn_eval(algebra, fn, sample, 1, &mid, &value);
                if ((value - level < 0) == (at_lo < 0))
                    lo = mid;
                else
                    hi = mid;
            }
            count = add_kink(kinks, count, room, fabs(hi) < 1e-15 ? 0 : hi);
        }
        before = y;
    }
    return count;
}

int tp_fn_kinks(const tp_algebra *algebra, int fn, const tp_sample *sample, double *kinks, int room)
{
    const tp_fn_parts *p = &algebra->parts[fn];
    int count = 0;
    for (int k = 0; k < p->n; k++) {
        const tp_fn *f = tp_fn_at(algebra, p->at[k].id);
        int own = 0;
        const double *levels = tp_fn_arguments(f) == 1 ? tp_fn_own_kinks(f, &own) : NULL;
        for (int i = 0; i < own; i++)
            count = add_roots(algebra, f->a, sample, levels[i], kinks, count, room);
    }
    return count;
}

int tp_fn_scalars(const tp_algebra *algebra, int fn, int *scalars, int room)
{
    const tp_fn_parts *p = &algebra->parts[fn];
    int count = 0;
    for (int k = 0; k < p->n; k++) {
        const tp_fn *f = tp_fn_at(algebra, p->at[k].id);
        if (f->op == TP_SCALAR && count++ < room)
            scalars[count - 1] = f->a;
    }
    return count;
}
