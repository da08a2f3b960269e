/* profile.c: how far an expectation E f(a) g(b) moves when its arguments do.
 *
 * It is a power series in the correlation, sum_k f_k g_k c^k: its slope up to |c| <= m is at most the root of
 * sum_k k f_k^2 m^(k-1) times the same of g, and such a sum is at most the secant (1 - F(m)) / (1 - m) of F(m) =
 * E f(a) f(b) / E f^2 at correlation m, which is convex, with F(1) = 1. Near 1 the error of c itself bounds the change,
 * by F(1) - F(1 - e): of a function that jumps it is of the order sqrt(e). With the variances an expectation of
 * homogeneous functions goes by their degrees; else x d/dx takes h_k to k h_k + sqrt(k(k-1)) h_(k-2), whence
 * sqrt(s (s + 4)) with the slope s. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <math.h>
#include <string.h>

static const double near_one = 1 - TP_NEAR;

tp_probes tp_probe(const double *v, size_t rows, int most)
{
    size_t least = rows, largest = rows;
    for (size_t i = 0; i < rows; i++) {
        least = v[i] > 0 && (least == rows || v[i] < v[least]) ? i : least;
        largest = v[i] > 0 && (largest == rows || v[i] > v[largest]) ? i : largest;
    }
    if (least == rows)
        return (tp_probes){ .factor = 1 };
    tp_probes p = { .n = v[largest] < 1.5 * v[least] ? 1 : most, .factor = v[largest] < 1.01 * v[least] ? 1 : 1.1 };
    for (int k = 0; k < p.n; k++) {
        double part = p.n > 1 ? (double)k / (p.n - 1) : 1;
        p.rows[k] = k == 0 && p.n > 1 ? least : largest;
        p.q[k] = exp(log(v[least]) * (1 - part) + log(v[largest]) * part);
    }
    return p;
}

static double level_at(int k)
{
    return 1 - exp2(-k / 2.0);
}

/* sum_k k p_k m^(k-1) of weights p_k that sum to 1, at most: k m^(k-1) is largest at k = -1 / log m, or at 1. */
static double most_of_any(double m)
{
    double log_m = log(m);
    return log_m < -1 ? 1 : -1 / (exp(1) * m * log_m);
}

/* At correlation 1, of what does not jump. */
static void slopes_end(const tp_solver *s, int fn, int set, const tp_probes *p, double *slopes)
{
    double most = 0;
    for (int k = 0; k < p->n; k++) {
        tp_fn_context context;
        tp_univariate f = tp_function_at(s, fn, set, p->rows[k], &context);
        most = fmax(most, tp_near_slope(&f, p->q[k]));
    }
    slopes[TP_LEVELS - 1] = fmax(most, slopes[TP_LEVELS - 2]);
}

/* By the secant a little further on. */
static void slopes_closed(const tp_univariate *f, const tp_probes *p, double *slopes)
{
    enum { POINTS = 2 * TP_LEVELS };
    double gap[POINTS], q[POINTS], cov[POINTS], half[POINTS], value[POINTS]; /* two a level; the last gap is 0 */
    for (int level = 0; level < TP_LEVELS; level++) {
        gap[2 * level] = fmax(1 - level_at(level), TP_NEAR);
        gap[2 * level + 1] = level == TP_LEVELS - 1 ? 0 : gap[2 * level] * (31.0 / 32);
    }
    for (int k = 0; k < p->n; k++) {
        for (int i = 0; i < POINTS; i++) {
            q[i] = p->q[k];
            cov[i] = q[i] * (1 - gap[i]);
            half[i] = q[i] * gap[i];
        }
        tp_closed(f, f, POINTS, q, q, cov, half, value);
        double one = value[POINTS - 1];
        for (int i = 0; i < POINTS && one > 0 && isfinite(one); i += 2)
            slopes[i / 2] = fmax(slopes[i / 2], (value[i + 1] - value[i]) / one / (gap[i] - gap[i + 1]));
    }
}

static void slopes_series(const tp_mehler *m, const tp_probes *p, double *slopes)
{
    for (int k = 0; k < p->n; k++) {
        const double *row = m->coefficients + p->rows[k] * m->terms;
        double all = 0, rest = m->rests[p->rows[k]] * m->rests[p->rows[k]];
        for (size_t i = 0; i < m->terms; i++)
            all += row[i] * row[i];
        for (int level = 0; level < TP_LEVELS && all > 0; level++) {
            double c = level < TP_LEVELS - 1 ? fmax(level_at(level), 1e-3) : 1;
            double power = pow(c, (double)m->first - 1), sum = 0, up = m->step == 2 ? c * c : c;
            /* what is left of the powers is 2^-60 of 1 at most, and falls from degree 1 / (1 - c) on */
            for (size_t i = 0; i < m->terms; i++, power *= up) {
                double degree = (double)(m->first + m->step * i);
                sum += degree * row[i] * row[i] * power;
                if (degree * power < 0x1p-60 && degree * (1 - c) > 1)
                    break;
            }
            slopes[level] = fmax(slopes[level], sum / all + (level < TP_LEVELS - 1 ? rest * most_of_any(c) : 0));
        }
    }
}

/* By the general rule at some levels, and what holds of any function below them. */
static void slopes_rule(const tp_solver *s, int fn, int set, const tp_probes *p, double *slopes)
{
    static const int at[] = { 5, 13, TP_LEVELS - 2 };
    ad_error ignored = { 0 };
    for (int k = 0; k < p->n; k++) {
        double q = p->q[k], one = 0, value = 0;
        tp_fn_context context;
        tp_univariate f = tp_function_at(s, fn, set, p->rows[k], &context);
        bool there = tp_quadrature(&f, &f, q, q, q, &one, NULL, &ignored) == 0 && one > 0;
        for (int i = 0; i < 3; i++) {
            double gap = 1 - level_at(at[i]), slope = INFINITY;
            if (there && tp_quadrature(&f, &f, q, q, q * (1 - gap), &value, NULL, &ignored) == 0)
                slope = (1 - value / one) / gap;
            for (int level = i ? at[i - 1] + 1 : 0; level < TP_LEVELS && level <= at[i]; level++)
                slopes[level] = fmax(slopes[level], slope);
        }
        slopes[TP_LEVELS - 1] = slopes[TP_LEVELS - 2];
    }
    for (int level = 0; level < TP_LEVELS - 1; level++)
        slopes[level] = fmin(slopes[level], most_of_any(level_at(level)));
}

static bool jumps(const tp_solver *s, int fn, const tp_univariate *f)
{
    tp_piecewise p;
    if (f->form != TP_NUMERIC)
        return tp_piecewise_of(f, &p) && p.degree == 0;
    if (s->functions[fn]->n_scalars)
        return !tp_fn_smooth(&s->algebra, fn);
    for (int k = 0; k < f->n_kinks; k++) {
        double at = f->kinks[k], step = 1e-9 * fmax(1, fabs(at)), x[2] = { at - step, at + step }, y[2];
        f->eval(f, 2, x, y);
        if (!(fabs(y[1] - y[0]) <= 1e-6 * fmax(1, fmax(fabs(y[0]), fabs(y[1])))))
            return true;
    }
    return false;
}

static const tp_mehler *series_of(const tp_solver *s, int fn, int variance, int set)
{
    for (const tp_series_entry *e = s->series; e; e = e->next)
        if (e->fn == fn && e->variance == variance && e->set == set)
            return e->series;
    return NULL;
}

/* E f^2 of every row. */
static void fill_norms(const tp_solver *s, tp_profile *p, const tp_univariate *f, const tp_mehler *series,
                       const double *v, size_t rows)
{
    ad_error ignored = { 0 };
    if (tp_closed(f, f, rows, v, v, v, NULL, p->norms))
        return;
    for (size_t i = 0; i < rows; i++) {
        double sum = 0;
        for (size_t k = 0; series && k < series->terms; k++)
            sum += series->coefficients[i * series->terms + k] * series->coefficients[i * series->terms + k];
        if (!series) {
            tp_fn_context context;
            tp_univariate at = tp_function_at(s, p->fn, p->set, i, &context);
            if (tp_quadrature(&at, &at, v[i], v[i], v[i], &sum, NULL, &ignored))
                sum = INFINITY;
        }
        p->norms[i] = sum;
    }
}

/* known: E f^2 where it is there already, or NULL. */
const tp_profile *tp_find_profile(tp_solver *s, int fn, int variance, int set, const double *known)
{
    for (const tp_profile *p = s->errors.profiles[variance]; p; p = p->next)
        if (p->fn == fn && p->set == set)
            return p;
    const tp_univariate *f = &s->functions[fn]->u;
    const double *v = s->single[set][variance];
    size_t rows = s->rows[set];
    tp_profile *p = ad_arena_alloc(s->algebra.arena, 1, sizeof *p);
    double *norms = p ? ad_arena_alloc(s->algebra.arena, rows, sizeof *norms) : NULL;
    if (!norms) {
        ad_fail(s->error, "out of memory for the errors of an expectation");
        return NULL;
    }
    *p = (tp_profile){ s->errors.profiles[variance], fn, set, .norms = norms };
    const tp_mehler *series = series_of(s, fn, variance, set);
    bool closed = tp_has_closed(f, f);
    if (known)
        memcpy(norms, known, rows * sizeof *norms);
    else
        fill_norms(s, p, f, series, v, rows);
    p->degree = tp_fn_degree(&s->algebra, fn);
    p->jumps = jumps(s, fn, f);
    s->errors.jumps = s->errors.jumps || p->jumps;
    tp_probes at = tp_probe(v, rows, closed || series ? TP_MAX_PROBES : 2);
    if (closed)
        slopes_closed(f, &at, p->slopes);
    else if (series)
        slopes_series(series, &at, p->slopes);
    else
        slopes_rule(s, fn, set, &at, p->slopes);
    if (!p->jumps)
        slopes_end(s, fn, set, &at, p->slopes);
    for (int level = 0; level < TP_LEVELS; level++)
        p->slopes[level] *= at.factor * (level == TP_LEVELS - 1 ? 1.1 : 1);
    return s->errors.profiles[variance] = p;
}

/* Slopes up to a correlation; near 1, of what does not jump. */
static double slope_to(const tp_profile *f, const tp_profile *g, double most)
{
    int level = most <= near_one ? (int)ceil(-2 * log2(1 - most)) : TP_LEVELS - 1;
    return sqrt(f->slopes[level] * g->slopes[level]);
}

/* 1 - F(1 - off). With jumps it goes like an angle, of which the root falls short by pi / 2 at most. */
static double fall(const tp_profile *f, double off)
{
    return f->jumps ? 1.6 * f->slopes[TP_LEVELS - 2] * TP_NEAR * sqrt(off / TP_NEAR) : f->slopes[TP_LEVELS - 1] * off;
}

double tp_moved(const tp_profile *f, const tp_profile *g, double most, double off)
{
    double reach = most + off;
    if (!(off > 0))
        return 0;
    return fmin(2, reach <= near_one ? slope_to(f, g, reach) * off : sqrt(fall(f, off) * fall(g, off)));
}

double tp_scaled(const tp_profile *f, const tp_profile *g, double most)
{
    double slope = slope_to(f, g, most);
    return isnan(f->degree) ? (slope + sqrt(slope * (slope + 4))) / 2 : f->degree / 2;
}
