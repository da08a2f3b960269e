/* near.c: one pair of samples whose correlation is near 1 or -1 somewhere: 1 - |c| of every quantity, the gap, which
 * numbers near 1 have lost. Of data it is found from the data; of a sum of covariances whose signs agree it is
 * sum_k (w_k - v_k)^2 / 2 + w_k v_k gap_k, w_k^2 and v_k^2 being the parts' shares of the sizes of either side; of
 * a product a + b - a b; of expectations as gauss.h has it. An error of the gap comes in absolute. As 1 - F is concave,
 * an expectation makes it neither larger relative to the gap, nor more than F moves from 1 for it. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <math.h>

static const double unit = 0x1p-53;

/* ---- data ---- */
/* A number in two parts, the second a rounding of the first. */
typedef struct {
    double high, low;
} twofold;

static twofold plus(twofold a, twofold b)
{
    double sum = a.high + b.high, back = sum - a.high;
    double low = (a.high - (sum - back)) + (b.high - back) + a.low + b.low, high = sum + low;
    return (twofold){ high, low - (high - sum) };
}

static twofold product(double a, double b)
{
    double high = a * b, low = fma(a, b, -high);
    return (twofold){ high, low };
}

static twofold dot(size_t n, const double *x, const double *y, int down)
{
    twofold sum = { 0, 0 };
    for (size_t k = 0; k < n; k++)
        sum = plus(sum, product(ldexp(x[k], down), ldexp(y[k], down)));
    return sum;
}

/* Are x and y multiples of each other, exactly? */
static bool are_multiples(size_t n, const double *x, const double *y, int down)
{
    size_t at = 0;
    for (size_t k = 1; k < n; k++)
        at = fabs(x[k]) > fabs(x[at]) ? k : at;
    for (size_t k = 0; k < n; k++) {
        twofold a = product(ldexp(x[at], down), ldexp(y[k], down)), b = product(ldexp(x[k], down), ldexp(y[at], down));
        if (fabs(a.high - b.high) > 0 || fabs(a.low - b.low) > 0)
            return false;
    }
    return true;
}

/* 1 - |c| of x and y, from the part of y across x; and its error. */
static double gap_of_data(size_t n, const double *x, const double *y, double *off)
{
    double most = 0, square = 0, size = 0;
    int down;
    *off = 0;
    for (size_t k = 0; k < n; k++)
        most = fmax(most, fmax(fabs(x[k]), fabs(y[k])));
    frexp(most, &down);
    if (are_multiples(n, x, y, -down))
        return 0;
    twofold xx = dot(n, x, x, -down), xy = dot(n, x, y, -down);
    if (!(xx.high > 0))
        return 0;
    double first = xy.high / xx.high;
    twofold left = plus(xy, product(-first, xx.high));
    twofold along = plus((twofold){ first, 0 }, (twofold){ (left.high + left.low - first * xx.low) / xx.high, 0 });
    for (size_t k = 0; k < n; k++) {
        double a = ldexp(x[k], -down), b = ldexp(y[k], -down);
        twofold across = plus(plus((twofold){ b, 0 }, product(-along.high, a)), (twofold){ -along.low * a, 0 });
        square += across.high * across.high;
        size += b * b;
    }
    double sine = size > 0 ? fmin(1, square / size) : 0, gap = sine / (1 + sqrt(1 - sine));
    *off = gap * unit * (8 + (double)n) + sqrt(2 * gap) * 0x1p-100 + 0x1p-200;
    return gap;
}

/* ---- quantities ---- */
/* A correlation of these sizes that is told by its value alone. */
static void from_value(tp_tile *t, int id)
{
    const tp_near *p = t->pair;
    double size = sqrt(p->size[0][id]) * sqrt(p->size[1][id]);
    p->gap[id] = size > 0 ? fmax(0, 1 - fabs(*t->values[id]) / size) : 0;
    p->off[id] = size > 0 ? t->error[0][id] + 4 * unit : 0;
}

static void near_gram(const tp_solver *s, int id, tp_tile *t)
{
    const tp_near *p = t->pair;
    const double *rows[2];
    size_t n = 0;
    for (int side = 0; side < 2; side++) {
        const tp_data_block *b = &s->blocks[s->gram_blocks[id][side]];
        n = b->size;
        rows[side] = b->rows[t->set[side]] + (side ? t->column0 : t->row0) * n;
        p->size[side][id] = dot(n, rows[side], rows[side], 0).high;
    }
    p->gap[id] = gap_of_data(n, rows[0], rows[1], &p->off[id]);
}

/* Parts with the sum's sign; NaN where one counts against the others, and their gaps tell nothing. */
static void near_sum(const tp_quantity *q, int id, tp_tile *t)
{
    const tp_near *p = t->pair;
    double size[2] = { fabs(q->c), fabs(q->c) }, value = *t->values[id];
    bool sound = q->c >= 0;
    for (int k = 0; k < q->n; k++) {
        sound = sound && q->parts[k].c > 0 && !isnan(p->gap[q->parts[k].q]);
        for (int side = 0; side < 2; side++)
            size[side] += fabs(q->parts[k].c) * p->size[side][q->parts[k].q];
    }
    p->size[0][id] = size[0];
    p->size[1][id] = size[1];
    from_value(t, id);
    if (!sound)
        p->gap[id] = (double)NAN;
    if (!sound || p->gap[id] > 0.1 || !(size[0] > 0) || !(size[1] > 0))
        return;
    double gap = 0, off = 0, roundings = 4 * unit;
    for (int k = -1; k < q->n; k++) {
        int part = k < 0 ? TP_Q_ONE : q->parts[k].q;
        double c = k < 0 ? q->c : q->parts[k].c, at = k < 0 ? 1 : *t->values[part];
        double w = sqrt(c * (k < 0 ? 1 : p->size[0][part]) / size[0]);
        double v = sqrt(c * (k < 0 ? 1 : p->size[1][part]) / size[1]);
        double own = k < 0 ? 0 : p->gap[part];
        if (q->n == 1 && !(q->c > 0) && k == 0)
            w = v = 1;
        gap += (w - v) * (w - v) / 2 + w * v * (at * value >= 0 ? own : 2 - own);
        off += w * v * (k < 0 ? 0 : p->off[part]);
        roundings = fmax(roundings, k < 0 ? 0 : 2 * t->error[1][part]);
    }
    bool alone = q->n == 1 && !(q->c > 0);
    p->gap[id] = gap;
    p->off[id] = off + (alone ? 4 * unit * gap : roundings * (4 * sqrt(2 * gap) + roundings) + 4 * unit * gap);
}

static void near_product(const tp_quantity *q, int id, tp_tile *t)
{
    const tp_near *p = t->pair;
    double a = p->gap[q->a], b = p->gap[q->b];
    for (int side = 0; side < 2; side++)
        p->size[side][id] = p->size[side][q->a] * p->size[side][q->b];
    p->gap[id] = a + b - a * b;
    p->off[id] = p->off[q->a] + p->off[q->b] + unit * p->gap[id];
}

/* 1 - F of one function, of any where there is no closed form of it. */
static double fall(const tp_univariate *f, const tp_profile *profile, double gap)
{
    double closed = gap <= 1 ? tp_near_fall(f, gap) : (double)NAN;
    return isnan(closed) ? tp_moved(profile, profile, 1, gap) : closed;
}

/* Is there tp_near_smooth of it? */
static bool is_smooth(const tp_univariate *f, double v1, double v2, int sign, double gap)
{
    double v = fmax(v1, v2);
    if (f->n_kinks > 0 || (sign < 0 && f->parity == 0) || !(v <= 1e4 && v * gap <= 0.05))
        return false;
    return tp_near_slope(f, v) <= 16 * fmax(1, v); /* else it turns too fast */
}

/* Is the value at (i, i) its size, as it is of products with itself, their sums and products? Not of x's product with
 * sin x, say, whose size is |x|^2 on one side and |sin x|^2 on the other. */
static bool is_own_size(const tp_solver *s, const tp_quantity *q, int id)
{
    switch (q->kind) {
    case TP_Q_NUMBER:
        return q->c >= 0;
    case TP_Q_SAME:
        return true;
    case TP_Q_GRAM:
        return s->gram_blocks[id][0] == s->gram_blocks[id][1];
    case TP_Q_SUM:
        for (int k = 0; k < q->n; k++)
            if (!(q->parts[k].c >= 0) || !s->sized[q->parts[k].q])
                return false;
        return q->c >= 0;
    case TP_Q_PRODUCT:
        return s->sized[q->a] && s->sized[q->b];
    case TP_Q_EXPECT:
        return q->fn_a == q->fn_b && q->var_a == q->var_b;
    default:
        return false;
    }
}

int tp_near_begin(tp_solver *s)
{
    s->sized = ad_arena_alloc(s->algebra.arena, (size_t)s->n, sizeof *s->sized);
    if (!s->sized)
        return ad_fail(s->error, "out of memory for %d quantities", s->n);
    for (int id = 0; id < s->n; id++)
        s->sized[id] = is_own_size(s, tp_quantity_at(&s->algebra, id), id);
    return 0;
}

/* Is this side of a covariance's size the variance, term by term? */
static bool is_variance(const tp_solver *s, int cov, int variance, int side)
{
    const tp_quantity *c = tp_quantity_at(&s->algebra, cov), *v = tp_quantity_at(&s->algebra, variance);
    if (cov == variance)
        return s->sized[cov];
    if (c->kind != v->kind || fabs(c->c - v->c) > 0 || c->n != v->n)
        return false;
    switch (c->kind) {
    case TP_Q_NUMBER:
    case TP_Q_SAME:
        return true;
    case TP_Q_GRAM:
        return s->gram_blocks[cov][side] == s->gram_blocks[variance][0] &&
               s->gram_blocks[cov][side] == s->gram_blocks[variance][1];
    case TP_Q_SUM:
        for (int k = 0; k < c->n; k++) {
            bool found = false;
            for (int m = 0; m < v->n && !found; m++)
                found =
                    !(fabs(c->parts[k].c - v->parts[m].c) > 0) && is_variance(s, c->parts[k].q, v->parts[m].q, side);
            if (!found)
                return false;
        }
        return true;
    case TP_Q_PRODUCT:
        return (is_variance(s, c->a, v->a, side) && is_variance(s, c->b, v->b, side)) ||
               (is_variance(s, c->a, v->b, side) && is_variance(s, c->b, v->a, side));
    case TP_Q_EXPECT: {
        int fn = side ? c->fn_b : c->fn_a, var = side ? c->var_b : c->var_a;
        return v->fn_a == fn && v->fn_b == fn && v->var_a == var && v->var_b == var;
    }
    default:
        return false;
    }
}

/* 1 - |c| of an expectation's arguments, whose variances may have more terms than the covariance; and its error. */
static double gap_of_arguments(const tp_solver *s, const tp_quantity *q, const tp_near *p, const double v[2],
                               double *off)
{
    double gap = p->gap[q->a], part = 1;
    *off = p->off[q->a];
    for (int side = 0; side < 2; side++)
        if (!is_variance(s, q->a, side ? q->var_b : q->var_a, side)) {
            part *= sqrt(p->size[side][q->a] / v[side]);
            *off += 16 * unit;
        }
    gap += (1 - gap) * (1 - part);
    return gap < 0 ? (gap + *off >= 0 ? 0 : (double)NAN) : gap;
}

/* What near_expect knows of its pair. */
typedef struct {
    double v1, v2, gap;
    int sign;
} arguments;

/* The value of an expectation by the gap, and the gap of what comes out, NaN where that is not known; false, and the
 * value as it is, without a way. */
static bool near_value(const tp_solver *s, const tp_quantity *q, int id, const arguments *at, tp_tile *t, double *out)
{
    const tp_near *p = t->pair;
    const tp_expect_plan *plan = s->plans[id];
    const tp_univariate *f = &plan->f->u, *g = &plan->g->u;
    double size1 = p->size[0][id], size2 = p->size[1][id], size = sqrt(size1) * sqrt(size2), moved, of, value;
    bool same = q->fn_a == q->fn_b;
    *out = (double)NAN;
    if (tp_near_piecewise(f, g, at->v1, at->v2, at->sign, at->gap, t->values[id], out))
        return true;
    if (same && size > 0 && is_smooth(f, at->v1, at->v2, at->sign, at->gap)) {
        *out = tp_near_smooth(f, at->v1, at->v2, at->gap, size1, size2);
        *t->values[id] = (at->sign < 0 ? f->parity : 1) * size * (1 - *out);
        return true;
    }
    ad_error ignored = { 0 };
    if (plan->by == TP_BY_CLOSED || f->n_kinks + g->n_kinks == 0 ||
        tp_quadrature_near(f, g, at->v1, at->v2, at->sign, at->gap, &value, &moved, &of, &ignored))
        return false;
    *t->values[id] = value;
    t->now.local = of > 0 ? moved / of : 0;
    if (same && (at->sign > 0 || f->parity != 0) && !(at->gap > 0) && !(fabs(at->v1 - at->v2) > 0))
        *out = 0;
    return true;
}

static void near_expect(const tp_solver *s, const tp_quantity *q, int id, tp_tile *t)
{
    const tp_near *p = t->pair;
    const tp_expect_plan *plan = s->plans[id];
    const tp_univariate *f = &plan->f->u, *g = &plan->g->u;
    const tp_profile *of[2] = { s->errors.of[t->set[0]][0][id], s->errors.of[t->set[1]][1][id] };
    double v1 = s->single[t->set[0]][q->var_a][t->row0], v2 = s->single[t->set[1]][q->var_b][t->column0];
    double out, off, gap = gap_of_arguments(s, q, p, (const double[2]){ v1, v2 }, &off);
    const arguments at = { v1, v2, gap, *t->values[q->a] < 0 ? -1 : 1 };
    p->size[0][id] = of[0]->norms[t->row0];
    p->size[1][id] = of[1]->norms[t->column0];
    from_value(t, id);
    if (f->parity * g->parity == -1 || isnan(gap) || !(v1 > 0) || !(v2 > 0) || gap > 0.02 ||
        plan->f->n_scalars + plan->g->n_scalars > 0)
        return;
    if (!near_value(s, q, id, &at, t, &out))
        off += 4 * unit; /* of the correlation itself */
    double most = sqrt(fall(f, of[0], gap) * fall(g, of[1], gap));
    double moved = sqrt(fall(f, of[0], off) * fall(g, of[1], off));
    moved = gap > 0 ? fmin(moved, most * off / gap) : moved;
    double variances = tp_variance_error(s, id, t->set[0], t->set[1], 1 - gap);
    t->error[0][id] = t->error[1][id] = tp_local_error(s, id, t) + moved + variances;
    from_value(t, id);
    if (isnan(out))
        return;
    bool jumps = of[0]->jumps || of[1]->jumps;
    double shift = isnan(of[0]->degree + of[1]->degree) ? 2 * variances + 4 * unit : 0;
    p->gap[id] = out;
    p->off[id] = moved + 8 * unit * out + shift * (jumps ? 1 : 4 * sqrt(2 * out) + shift);
}

void tp_fill_near(const tp_solver *s, int id, tp_tile *t)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const tp_near *p = t->pair;
    double value = *t->values[id];
    p->gap[id] = p->off[id] = 0;
    p->size[0][id] = p->size[1][id] = fabs(value);
    switch (q->kind) {
    case TP_Q_NUMBER:
    case TP_Q_FUNCTION:
    case TP_Q_ALONG:
    case TP_Q_GROUP:
        return;
    case TP_Q_SAME: /* at (i, i) it is 1 */
        p->size[0][id] = p->size[1][id] = 1;
        p->gap[id] = 1;
        return;
    case TP_Q_DATA:
    case TP_Q_FIRST:
    case TP_Q_SECOND:
        p->size[q->kind == TP_Q_SECOND][id] = value * value;
        p->size[q->kind != TP_Q_SECOND][id] = 1;
        return;
    case TP_Q_GRAM:
        near_gram(s, id, t);
        return;
    case TP_Q_SUM:
        near_sum(q, id, t);
        return;
    case TP_Q_PRODUCT:
        near_product(q, id, t);
        return;
    case TP_Q_EXPECT:
        near_expect(s, q, id, t);
        return;
    }
}
