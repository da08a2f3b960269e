/* sources.c: errors at (i, i) that cancel. A normalised variance K / (K + eps) is a product of K and twice a function
 * of K: each errs by what K does, and the product by eps / (K + eps) of that. So with each value goes which variance it
 * is a function of, its source, an expectation or an inner product, and the slope of its log by the log of that. */
#include "tp/recursion/solver.h"

#include <math.h>

static const double unit = 0x1p-53;
enum { NO_SOURCE = -1, CONSTANT = -2 };

int tp_sources_begin(tp_solver *s)
{
    tp_errors *e = &s->errors;
    size_t n = (size_t)s->n;
    for (int id = 0; id < s->n; id++)
        e->normalises = e->normalises || (s->alone[id] && tp_quantity_at(&s->algebra, id)->kind == TP_Q_FUNCTION);
    for (int set = 0; set < 2; set++) {
        e->source[set] = set && s->same ? e->source[0] : ad_arena_alloc(s->algebra.arena, n, sizeof *e->source[set]);
        e->own[set] = set && s->same ? e->own[0] : ad_arena_alloc(s->algebra.arena, n, sizeof *e->own[set]);
        if (!e->source[set] || !e->own[set])
            return ad_fail(s->error, "out of memory for the errors of %d quantities", s->n);
    }
    return 0;
}

/* A power of its argument's variance? */
static bool is_power(const tp_univariate *f)
{
    return f->form == TP_ONE || f->form == TP_ID || f->form == TP_SQUARE || f->form == TP_POWER;
}

/* The source of both together, if they are one. */
static int joined(int a, int b)
{
    return a == CONSTANT ? b : b == CONSTANT || a == b ? a : NO_SOURCE;
}

static const double *slopes_of(const tp_solver *s, int id)
{
    return s->errors.sizes[id][2];
}

static void scale_from(const tp_solver *s, int from, double times, size_t rows, double *slopes)
{
    const double *in = slopes_of(s, from);
    for (size_t i = 0; i < rows; i++)
        slopes[i] = times * in[i];
}

/* Of positive parts, each by its share. */
static int of_sum(tp_solver *s, const tp_quantity *q, int set, const double *value, double *own, double *slopes)
{
    int source = q->c >= 0 ? CONSTANT : NO_SOURCE;
    size_t rows = s->rows[set];
    for (size_t i = 0; i < rows; i++)
        slopes[i] = 0;
    for (int k = 0; k < q->n; k++) {
        int part = q->parts[k].q;
        const double *in = slopes_of(s, part), *at = s->single[set][part];
        source = q->parts[k].c >= 0 && in && at ? joined(source, s->errors.source[set][part]) : NO_SOURCE;
        if (source == NO_SOURCE)
            return source;
        *own = fmax(*own, s->errors.own[set][part]);
        for (size_t i = 0; i < rows; i++) {
            if (at[i] < 0)
                return NO_SOURCE;
            slopes[i] += value[i] > 0 ? q->parts[k].c * at[i] / value[i] * in[i] : 0;
        }
    }
    *own += unit * (2 + 2 * sqrt(q->n));
    return source;
}

static int of_product(tp_solver *s, const tp_quantity *q, int set, double *own, double *slopes)
{
    const double *a = slopes_of(s, q->a), *b = slopes_of(s, q->b);
    int source = a && b ? joined(s->errors.source[set][q->a], s->errors.source[set][q->b]) : NO_SOURCE;
    for (size_t i = 0; i < s->rows[set] && source != NO_SOURCE; i++)
        slopes[i] = a[i] + b[i];
    *own = s->errors.own[set][q->a] + s->errors.own[set][q->b] + unit;
    return source;
}

/* f(x): slopes holds x f' / f. */
static int of_function(tp_solver *s, const tp_quantity *q, int id, int set, double *own, double *slopes)
{
    const double *in = slopes_of(s, q->a);
    bool known = in != NULL;
    for (size_t i = 0; i < s->rows[set] && known; i++) {
        known = !isnan(slopes[i]);
        slopes[i] *= in[i];
    }
    if (!known)
        return NO_SOURCE;
    *own = s->errors.gain[id] * s->errors.own[set][q->a] + 4 * unit;
    return s->errors.source[set][q->a];
}

/* E 1 x^k and E x^j x^k are powers of the variance, too; other expectations of one variable are sources. */
static int of_expectation(const tp_solver *s, const tp_quantity *q, int id, int set, double local, double *own,
                          double *slopes)
{
    const tp_univariate *f = &s->plans[id]->f->u, *g = &s->plans[id]->g->u;
    int variance = f->form == TP_ONE ? q->var_b : q->var_a;
    bool line = (q->b == q->var_a && q->b == q->var_b) || f->form == TP_ONE || g->form == TP_ONE;
    if (line && is_power(f) && is_power(g) && slopes_of(s, variance)) {
        double degree = (tp_fn_degree(&s->algebra, q->fn_a) + tp_fn_degree(&s->algebra, q->fn_b)) / 2;
        scale_from(s, variance, degree, s->rows[set], slopes);
        *own = degree * s->errors.own[set][variance] + local;
        return s->errors.source[set][variance];
    }
    return line && q->fn_a == q->fn_b ? id : NO_SOURCE;
}

double tp_find_source(tp_solver *s, int id, int set, double local, double *slopes)
{
    const tp_quantity *q = tp_quantity_at(&s->algebra, id);
    const double *value = s->single[set][id];
    double own = 0, most = 0;
    int source = NO_SOURCE;
    if (value && q->kind == TP_Q_SUM)
        source = of_sum(s, q, set, value, &own, slopes);
    else if (value && q->kind == TP_Q_PRODUCT)
        source = of_product(s, q, set, &own, slopes);
    else if (value && q->kind == TP_Q_FUNCTION)
        source = of_function(s, q, id, set, &own, slopes);
    else if (value && q->kind == TP_Q_EXPECT)
        source = of_expectation(s, q, id, set, local, &own, slopes);
    else if (value && (q->kind == TP_Q_FIRST || q->kind == TP_Q_SECOND) && slopes_of(s, q->a)) {
        scale_from(s, q->a, 1, s->rows[set], slopes);
        own = s->errors.own[set][q->a];
        source = s->errors.source[set][q->a];
    } else if (q->kind == TP_Q_NUMBER || q->kind == TP_Q_GRAM)
        source = q->kind == TP_Q_NUMBER ? CONSTANT : s->gram_blocks[id][0] == s->gram_blocks[id][1] ? id : NO_SOURCE;
    bool first = source == id || q->kind == TP_Q_NUMBER;
    for (size_t i = 0; i < s->rows[set]; i++) {
        slopes[i] = first ? source == id : slopes[i];
        most = fmax(most, fabs(slopes[i]));
    }
    s->errors.source[set][id] = source;
    s->errors.own[set][id] = first ? 0 : own;
    return source < 0 || first ? INFINITY : most * s->errors.relative[set][source] + own;
}
