/* variances.c: how an expectation at (i, i) moves with its variance q. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <math.h>

/* NaN where a sample's series is not as good as whole. */
static double by_series(const tp_univariate *f, const tp_mehler *m, size_t rows)
{
    for (size_t i = 0; i < rows; i++)
        if (!tp_is_whole(f, m, i))
            return (double)NAN;
    return tp_mehler_change(m);
}

/* By differences, of every row. */
static double by_forms(const tp_univariate *f, const tp_univariate *g, const double *v, const double *const norms[2],
                       size_t rows)
{
    enum { BLOCK = 64 };
    const double h = 1e-3;
    double most = 0, up[BLOCK], down[BLOCK];
    for (size_t i = 0; i < rows; i += BLOCK) {
        size_t n = rows - i < BLOCK ? rows - i : BLOCK;
        for (size_t k = 0; k < n; k++) {
            up[k] = v[i + k] * (1 + h);
            down[k] = v[i + k] * (1 - h);
        }
        tp_closed(f, g, n, up, up, up, NULL, up);
        tp_closed(f, g, n, down, down, down, NULL, down);
        for (size_t k = 0; k < n; k++) {
            double size = sqrt(norms[0][i + k]) * sqrt(norms[1][i + k]), change = fabs(up[k] - down[k]) / (2 * h);
            most = fmax(most, size > 0 ? change / size : 0);
        }
    }
    return most;
}

/* By differences at some of them. */
static double by_rule(const tp_solver *s, const tp_quantity *q, int set)
{
    const double h = 0.01;
    const double *v = s->single[set][q->var_a];
    double found[TP_MAX_PROBES] = { 0 };
    tp_probes p = tp_probe(v, s->rows[set], 3);
    for (int k = 0; k < p.n; k++) {
        tp_fn_context contexts[2];
        tp_univariate f = tp_function_at(s, q->fn_a, set, p.rows[k], &contexts[0]);
        tp_univariate g = tp_function_at(s, q->fn_b, set, p.rows[k], &contexts[1]);
        double up, down, ff, gg, more = p.q[k] * (1 + h), less = p.q[k] * (1 - h), at = p.q[k];
        ad_error ignored = { 0 };
        if (tp_quadrature(&f, &g, more, more, more, &up, NULL, &ignored) ||
            tp_quadrature(&f, &g, less, less, less, &down, NULL, &ignored) ||
            tp_quadrature(&f, &f, at, at, at, &ff, NULL, &ignored) ||
            tp_quadrature(&g, &g, at, at, at, &gg, NULL, &ignored))
            continue;
        double size = sqrt(ff) * sqrt(gg), change = fabs(up - down) / (2 * h);
        found[k] = size > 0 ? change / size : 0;
    }
    return 1.1 * tp_most_probed(&p, found);
}

double tp_line_change(const tp_solver *s, int id, int set)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const tp_univariate *f = &s->functions[q->fn_a]->u, *g = &s->functions[q->fn_b]->u;
    const double *norms[2] = { s->errors.of[set][0][id]->norms, s->errors.of[set][1][id]->norms };
    const tp_series_entry *made = q->fn_a == q->fn_b ? tp_series_of(s, q->fn_a, q->var_a, set) : NULL;
    const tp_mehler *series = made ? made->series : NULL;
    double degree = tp_fn_degree(&s->algebra, q->fn_a) + tp_fn_degree(&s->algebra, q->fn_b);
    double by = series ? by_series(f, series, s->rows[set]) : (double)NAN;
    if (!isnan(degree))
        return degree / 2;
    if (!isnan(by))
        return by;
    return tp_has_closed(f, g) ? by_forms(f, g, s->single[set][q->var_a], norms, s->rows[set]) : by_rule(s, q, set);
}
