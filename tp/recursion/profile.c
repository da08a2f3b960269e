/* profile.c: how far an expectation E f(a) g(b) moves when its arguments do, relative to the root of E f^2 E g^2.
 *
 * It is a power series in the correlation, sum_k f_k g_k c^k of f's and g's normalised Hermite coefficients. Its slope
 * A(c) up to |c| <= m is at most the root of sum_k k f_k^2 m^(k-1) times the same of g, and such a sum is at most the
 * secant (1 - F(m)) / (1 - m) of F(m) = E f(a) f(b) / E f^2 at correlation m, which is convex, with F(1) = 1. Near 1
 * the error of c itself bounds the change, by F(1) - F(1 - e): of a function that jumps it is of the order sqrt(e).
 *
 * With the log of a variance it moves, at the same covariance, by half of sum_k sqrt((k+1)(k+2)) f_(k+2) g_k c^k, which
 * by Cauchy and Schwarz is at most sqrt(A_f (A_g + 1 / c)); at the same correlation by c A / 2 more, or, of homogeneous
 * functions, by half their degree. Of f that is linear but for a kink at 0, E f(a) f(b) = sqrt(q11 q22) F(c) E f^2, and
 * what covariance and variances bring, weighed by A and twice (F - c A) / 2, is no more than the largest of the three,
 * as F + (1 - c) A <= F(1) = 1: layers add up their errors, and do not multiply them. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <math.h>
#include <string.h>

static const double near_one = 1 - TP_NEAR;
static const double alike = 1e-9; /* variances that differ by less are one */

/* The row whose variance is nearest to q by its ratio. */
static size_t nearest(const double *v, size_t rows, double q)
{
    size_t best = rows;
    double least = INFINITY;
    for (size_t i = 0; i < rows; i++) {
        double off = v[i] > q ? v[i] / q : v[i] > 0 ? q / v[i] : INFINITY;
        best = off < least ? i : best;
        least = off < least ? off : least;
    }
    return best;
}

static void add_probe(tp_probes *p, size_t row, double q)
{
    for (int k = 0; k < p->n; k++)
        if (fabs(p->q[k] - q) <= alike * q)
            return;
    p->rows[p->n] = row;
    p->q[p->n++] = q;
}

tp_probes tp_probe(const double *v, size_t rows, int most)
{
    tp_probes p = { .n = 0 };
    double least = INFINITY, largest = 0;
    for (size_t i = 0; i < rows; i++) {
        least = v[i] > 0 && v[i] < least ? v[i] : least;
        largest = v[i] > largest ? v[i] : largest;
    }
    if (!(largest > 0))
        return p;
    if (rows <= (size_t)most) {
        for (size_t i = 0; i < rows; i++)
            if (v[i] > 0)
                add_probe(&p, i, v[i]);
        return p;
    }
    p.between = largest > (1 + alike) * least;
    for (int k = 0; k < most; k++) {
        double part = (double)k / (most - 1);
        size_t row = nearest(v, rows, exp(log(least) * (1 - part) + log(largest) * part));
        if (row < rows)
            add_probe(&p, row, v[row]);
    }
    return p;
}

double tp_most_probed(const tp_probes *p, const double *found)
{
    double most = 0, step = 0;
    for (int k = 0; k < p->n; k++) {
        most = fmax(most, found[k]);
        step = k && p->between ? fmax(step, fabs(found[k] - found[k - 1])) : step;
    }
    return most + step;
}

/* 1 - 2^(-k/2). */
static double level_at(int k)
{
    const double root = 0.70710678118654752440;
    return 1 - (k % 2 ? root : 1) / (double)((uint64_t)1 << k / 2);
}

/* The first of them from c < 1 on. */
static int level_above(double c)
{
    const double root = 0.70710678118654752440;
    int power;
    double part = frexp(1 - c, &power); /* from 1/2 to 1 */
    return -2 * power + (part < root ? 2 : 1);
}

/* sum_k k p_k m^(k-1) of weights p_k that sum to 1, at most: k m^(k-1) is largest at k = -1 / log m, or at 1. */
static double most_of_any(double m)
{
    double log_m = log(m);
    return log_m < -1 ? 1 : -1 / (exp(1) * m * log_m);
}

/* Of one variance, each by level. */
typedef double level_table[TP_LEVELS];

/* At correlation 1, of what does not jump: to a few per cent where there is no closed form. */
static double slope_at_one(const tp_univariate *f, double q)
{
    double known;
    return tp_near_slope_known(f, q, &known) ? known : 1.1 * tp_near_slope(f, q);
}

/* By the secant a little further on. */
static void slopes_closed(const tp_univariate *f, double q, level_table slopes)
{
    enum { POINTS = 2 * TP_LEVELS };
    double gap[POINTS], same[POINTS], cov[POINTS], half[POINTS], value[POINTS]; /* two a level; the last gap is 0 */
    for (int i = 0; i < POINTS; i++) {
        double left = fmax(1 - level_at(i / 2), TP_NEAR);
        gap[i] = i % 2 == 0 ? left : i / 2 == TP_LEVELS - 1 ? 0 : left * (31.0 / 32);
        same[i] = q;
        cov[i] = q * (1 - gap[i]);
        half[i] = q * gap[i];
    }
    tp_closed(f, f, POINTS, same, same, cov, half, value);
    double one = value[POINTS - 1];
    for (int i = 0; i < POINTS; i += 2)
        slopes[i / 2] = one > 0 && isfinite(one) ? (value[i + 1] - value[i]) / one / (gap[i] - gap[i + 1]) : 0;
}

/* The same from k = first on. */
static double most_from(size_t first, double m)
{
    return (double)first * -log(m) < 1 ? most_of_any(m) : (double)first * pow(m, (double)first - 1);
}

static void slopes_series(const tp_mehler *m, size_t row, level_table slopes)
{
    double rest = m->rests[row] * m->rests[row];
    level_table at;
    for (int level = 0; level < TP_LEVELS; level++)
        at[level] = level < TP_LEVELS - 1 ? fmax(level_at(level), 1e-3) : 1;
    tp_mehler_slopes(m, row, TP_LEVELS, at, slopes);
    for (int level = 0; level < TP_LEVELS - 1 && m->squares[row] > 0; level++)
        slopes[level] += rest * most_from(m->degrees, at[level]);
}

/* By the general rule at some levels, and what holds of any function below them. */
static void slopes_rule(const tp_univariate *f, double q, level_table slopes)
{
    static const int at[] = { 5, 13, TP_LEVELS - 2 };
    const double rough = 1e-8; /* a thousandth of the least gap */
    ad_error ignored = { 0 };
    double one = 0, value = 0, moved = 0;
    bool there = tp_quadrature(f, f, q, q, q, &one, NULL, &ignored) == 0 && one > 0;
    for (int i = 0; i < 3; i++) {
        double gap = 1 - level_at(at[i]), slope = INFINITY;
        there = there && tp_quadrature_rough(f, q, gap, rough, &value, &moved, &ignored) == 0;
        if (there)
            slope = (1 - (value - moved) / one) / gap;
        for (int level = i ? at[i - 1] + 1 : 0; level <= at[i]; level++)
            slopes[level] = fmin(slope, most_of_any(level_at(level)));
    }
    slopes[TP_LEVELS - 1] = slopes[TP_LEVELS - 2];
}

bool tp_is_whole(const tp_univariate *f, const tp_mehler *m, size_t row)
{
    const double roundoff = 2e-7;
    return m && m->rests[row] < (f->n_kinks == 0 ? roundoff : 1e-9);
}

static void fill_slopes(const tp_solver *s, tp_profile *p, const tp_mehler *series, const double *v, size_t rows)
{
    bool closed = tp_has_closed(&s->functions[p->fn]->u, &s->functions[p->fn]->u);
    tp_probes at = tp_probe(v, rows, closed || series ? TP_MAX_PROBES : 2);
    level_table slopes[TP_MAX_PROBES];
    double found[TP_MAX_PROBES];
    for (int k = 0; k < at.n; k++) {
        tp_fn_context context;
        tp_univariate f = tp_function_at(s, p->fn, p->set, at.rows[k], &context);
        if (closed)
            slopes_closed(&f, at.q[k], slopes[k]);
        else if (series)
            slopes_series(series, at.rows[k], slopes[k]);
        else
            slopes_rule(&f, at.q[k], slopes[k]);
        double *last = &slopes[k][TP_LEVELS - 1];
        if (!p->jumps && !tp_is_whole(&f, series, at.rows[k]))
            *last = fmax(slope_at_one(&f, at.q[k]), slopes[k][TP_LEVELS - 2]);
    }
    for (int level = 0; level < TP_LEVELS; level++) {
        for (int k = 0; k < at.n; k++)
            found[k] = slopes[k][level];
        p->slopes[level] = tp_most_probed(&at, found);
    }
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

/* E f^2 of every row. */
static void fill_norms(const tp_solver *s, tp_profile *p, const tp_univariate *f, const tp_mehler *series,
                       const double *v, size_t rows)
{
    ad_error ignored = { 0 };
    if (tp_closed(f, f, rows, v, v, v, NULL, p->norms))
        return;
    for (size_t i = 0; i < rows; i++) {
        double sum = series ? series->squares[i] : 0;
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
    const tp_series_entry *made = tp_series_of(s, fn, variance, set);
    const tp_mehler *series = made ? made->series : NULL;
    if (known)
        memcpy(norms, known, rows * sizeof *norms);
    else
        fill_norms(s, p, f, series, v, rows);
    p->degree = tp_fn_degree(&s->algebra, fn);
    p->jumps = jumps(s, fn, f);
    s->errors.jumps = s->errors.jumps || p->jumps;
    tp_piecewise pieces;
    p->linear = tp_piecewise_of(f, &pieces) && pieces.degree == 1;
    fill_slopes(s, p, series, v, rows);
    return s->errors.profiles[variance] = p;
}

/* The slope up to a correlation, by the chord between levels, as it is convex; near 1, of what does not jump. */
static double slope_of(const tp_profile *f, double most)
{
    if (!(most <= near_one))
        return f->slopes[TP_LEVELS - 1];
    int above = level_above(most);
    above = above < 1 ? 1 : above < TP_LEVELS - 2 ? above : TP_LEVELS - 2;
    double low = level_at(above - 1), high = level_at(above), part = fmin(1, fmax(0, (most - low) / (high - low)));
    return fmin(f->slopes[above], f->slopes[above - 1] * (1 - part) + f->slopes[above] * part);
}

static double slope_to(const tp_profile *f, const tp_profile *g, double most)
{
    return sqrt(slope_of(f, most) * slope_of(g, most));
}

/* 1 - F(1 - off). With jumps it goes like an angle, of which the root falls short by pi / 2 at most; 2 has room for
 * what the first layer's roundings are beyond their bound, of which roots of roots leave little. */
static double fall(const tp_profile *f, double off)
{
    return f->jumps ? 2 * f->slopes[TP_LEVELS - 2] * TP_NEAR * sqrt(off / TP_NEAR) : f->slopes[TP_LEVELS - 1] * off;
}

double tp_moved(const tp_profile *f, const tp_profile *g, double most, double off)
{
    double reach = most + off;
    if (!(off > 0))
        return 0;
    return fmin(2, reach <= near_one ? slope_to(f, g, reach) * off : sqrt(fall(f, off) * fall(g, off)));
}

/* With the log of f's variance at the same covariance, by slopes up to c. */
static double bent(double of_f, double of_g, double c)
{
    return sqrt(of_f * (of_g + 1 / c)) / 2;
}

/* Where that is looked at: the bound falls with c before it rises. */
static double bent_at(double most)
{
    const double least = 0.29;
    return fmin(1, fmax(most, least));
}

double tp_scaled(const tp_profile *f, const tp_profile *g, double most)
{
    double c = bent_at(most);
    return isnan(f->degree) ? slope_to(f, g, most) / 2 + bent(slope_of(f, c), slope_of(g, c), c) : f->degree / 2;
}

double tp_passed(const tp_profile *f, const tp_profile *g, double most, double cov, double first, double second)
{
    double reach = most + cov + (first + second) / 2, slope = slope_to(f, g, most) / 2;
    double c = bent_at(most), of_f = slope_of(f, c), of_g = slope_of(g, c);
    double bent_f = bent(of_f, of_g, c), bent_g = bent(of_g, of_f, c);
    double passed = tp_moved(f, g, most, cov + (first + second) / 2);
    passed += (isnan(f->degree) ? slope + bent_f : f->degree / 2) * first;
    passed += (isnan(g->degree) ? slope + bent_g : g->degree / 2) * second;
    if ((f->jumps || g->jumps) && reach > near_one)
        return passed;
    double direct = slope_to(f, g, reach) * cov + bent_f * first + bent_g * second;
    passed = fmin(passed, direct);
    return f->linear && f->fn == g->fn ? fmin(passed, fmax(cov, (first + second) / 2)) : passed;
}
