/* function.c: evaluating the univariate functions of coordinates, and finding their kinks. */
#include "autodiff/plan/plan.h"
#include "tp/gauss/gauss.h"
#include "tp/symbolic/symbolic.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 128 };

/* The points where a function of the op table or a user's, or its derivative, jumps. */
static const double *kinks_of(const tp_fn *f, int *count)
{
    if (f->op == AD_CUSTOM) {
        *count = f->function->n_kinks;
        return f->function->kinks;
    }
    const ad_op_facts *facts = f->op < AD_CUSTOM ? ad_op_facts_of((ad_op)f->op) : NULL;
    *count = facts ? facts->n_kinks : 0;
    return facts ? facts->kinks : NULL;
}

static void eval_block(const tp_algebra *algebra, int fn, const tp_sample *sample, size_t n, const double *x, double *y)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    const ad_loops *loops = ad_loops_get(AD_DOUBLE);
    double a[BLOCK], b[BLOCK];
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
        eval_block(algebra, f->a, sample, n, x, a);
        eval_block(algebra, f->b, sample, n, x, b);
        loops->op[f->op == TP_PLUS ? AD_ADD : AD_MUL](n, y, a, b, 0);
        return;
    case TP_INVERSE:
        eval_block(algebra, f->a, sample, n, x, a);
        for (size_t i = 0; i < n; i++)
            y[i] = fabs(a[i]) > 0 ? 1 / a[i] : 0;
        return;
    case AD_CUSTOM:
        eval_block(algebra, f->a, sample, n, x, a);
        f->function->derivatives[f->order](n, a, y);
        return;
    default:
        eval_block(algebra, f->a, sample, n, x, a);
        loops->op[f->op](n, y, a, NULL, f->p);
    }
}

void tp_fn_eval(const tp_algebra *algebra, int fn, const tp_sample *sample, size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i += BLOCK)
        eval_block(algebra, fn, sample, n - i < BLOCK ? n - i : BLOCK, x + i, y + i);
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

static bool is_leaf(const tp_fn *f)
{
    return f->op == TP_VARIABLE || f->op == TP_NUMBER || f->op == TP_SCALAR;
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

static int collect(const tp_algebra *algebra, int fn, const tp_sample *sample, double *kinks, int count, int room)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    if (is_leaf(f))
        return count;
    count = collect(algebra, f->a, sample, kinks, count, room);
    if (f->op == TP_PLUS || f->op == TP_TIMES)
        return collect(algebra, f->b, sample, kinks, count, room);
    int own;
    const double *levels = kinks_of(f, &own);
    for (int i = 0; i < own; i++)
        count = add_roots(algebra, f->a, sample, levels[i], kinks, count, room);
    return count;
}

int tp_fn_kinks(const tp_algebra *algebra, int fn, const tp_sample *sample, double *kinks, int room)
{
    return collect(algebra, fn, sample, kinks, 0, room);
}

bool tp_fn_smooth(const tp_algebra *algebra, int fn)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    if (is_leaf(f))
        return true;
    if (f->op == TP_PLUS || f->op == TP_TIMES)
        return tp_fn_smooth(algebra, f->a) && tp_fn_smooth(algebra, f->b);
    int own;
    kinks_of(f, &own);
    return own == 0 && tp_fn_smooth(algebra, f->a);
}

int tp_fn_parity(const tp_algebra *algebra, int fn)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    if (is_leaf(f))
        return f->op == TP_VARIABLE ? -1 : 1;
    int a = tp_fn_parity(algebra, f->a);
    if (f->op == TP_PLUS || f->op == TP_TIMES) {
        int b = tp_fn_parity(algebra, f->b);
        return f->op == TP_TIMES ? a * b : a == b ? a : 0;
    }
    if (a == 1)
        return 1;
    return f->op == AD_CUSTOM ? 0 : a * a * tp_univariate_op((ad_op)f->op, f->p).parity;
}

static int gather_scalars(const tp_algebra *algebra, int fn, int *scalars, int count, int room)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    if (f->op == TP_SCALAR && count < room)
        scalars[count] = f->a;
    if (is_leaf(f))
        return count + (f->op == TP_SCALAR);
    count = gather_scalars(algebra, f->a, scalars, count, room);
    return f->op == TP_PLUS || f->op == TP_TIMES ? gather_scalars(algebra, f->b, scalars, count, room) : count;
}

int tp_fn_scalars(const tp_algebra *algebra, int fn, int *scalars, int room)
{
    return gather_scalars(algebra, fn, scalars, 0, room);
}
