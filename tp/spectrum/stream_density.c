/* stream_density.c: the density of streams over log lambda, -Im M / pi, by continuation along lambda from a point
 * inside; its ends are where that is 0. */
#include "autodiff/base/base.h"
#include "tp/spectrum/streams.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

typedef struct {
    tp_cavity cavity;
    double complex *inside, *u, *kept, *last; /* solutions: at `from`, and work */
    double from;
    tp_grid grid;
} march;

/* The density at log lambda from the solution u nearby; 0 where there is none. */
static double density_at(march *w, double at, double complex *u)
{
    double complex m;
    return tp_cavity_solve(&w->cavity, at, u, &m) && cimag(m) < -1e-9 ? -cimag(m) / pi : 0;
}

static void copy(const march *w, double complex *to, const double complex *from)
{
    memcpy(to, from, (size_t)w->cavity.unknowns * sizeof *to);
}

/* A point with a density. */
static bool find_inside(march *w, double mean)
{
    const double shifts[] = { 0, -0.3, 0.2, -1, 0.5, -2, 1, -4 };
    double complex m;
    for (size_t k = 0; k < sizeof shifts / sizeof *shifts; k++) {
        w->from = log(mean) + shifts[k];
        if (tp_cavity_enter(&w->cavity, w->from, w->inside, &m) && cimag(m) < -1e-3)
            return true;
    }
    return false;
}

/* From inside to where the density ends, or, towards 0, where less mass than `tail` is left. */
static bool find_end(march *w, int sign, double *end, bool *edge, double *mass)
{
    const double tail = 1e-8, finest = 1e-7, farthest = 80;
    double at = w->from, step = 0.02, before = 0, last, way = 0;
    copy(w, w->u, w->inside);
    last = density_at(w, at, w->u);
    *mass = 0;
    *edge = true;
    while (step > finest) {
        copy(w, w->kept, w->u);
        double here = density_at(w, at + sign * step, w->u);
        if (!(here > 0) || (here < 0.3 * last && step > 1e-5)) {
            copy(w, w->u, w->kept);
            step /= 2;
            continue;
        }
        at += sign * step;
        way = step;
        before = last;
        last = here;
        step = fmin(1.5 * step, 0.5);
        double growth = (log(before) - log(last)) / way; /* of a power of lambda */
        if (sign < 0 && growth > 0.05 && last / growth < tail && w->from - at > 4) {
            *edge = false;
            *mass = last / growth;
            break;
        }
        if (fabs(at - w->from) > farthest)
            return false;
    }
    *end = at;
    if (*edge && before > last) /* a root: its square is a line */
        *end += sign * way * last * last / (before * before - last * last);
    return true;
}

/* The density from the i-th point on, up or down the grid. */
static bool follow(march *w, size_t first, int direction, double *density)
{
    int unknowns = w->cavity.unknowns;
    double at = w->from, before = at;
    copy(w, w->u, w->inside);
    copy(w, w->kept, w->inside);
    for (size_t i = first; i < w->grid.n; i += (size_t)(ptrdiff_t)direction) { /* below 0 it wraps */
        double next = tp_grid_at(&w->grid, i), share = fabs(at - before) > 0 ? (next - at) / (at - before) : 0;
        double complex m;
        copy(w, w->last, w->u);
        for (int k = 0; k < unknowns && fabs(share) < 3; k++)
            w->u[k] += share * (w->u[k] - w->kept[k]);
        bool solved = tp_cavity_solve(&w->cavity, next, w->u, &m) && cimag(m) < 0;
        if (!solved) {
            copy(w, w->u, w->last);
            solved = (tp_cavity_solve(&w->cavity, next, w->u, &m) && cimag(m) < 0) ||
                     tp_cavity_enter(&w->cavity, next, w->u, &m);
        }
        if (!solved)
            return false;
        density[i] = fmax(0, -cimag(m) / pi);
        copy(w, w->kept, w->last);
        before = at;
        at = next;
    }
    return true;
}

/* Mass 1, and the first two moments. */
static int check_whole(const tp_spectrum *s, double *off, ad_error *error)
{
    const double most[3] = { 1e-5, 0.01, 0.02 };
    *off = 0;
    for (int k = 0; k <= 2 && k <= s->n_moments; k++) {
        double sum = k ? 0 : s->left_out, wanted = k ? s->moments[k - 1] : 1, error_of = k ? s->errors[k - 1] : 0;
        for (size_t i = 0; i < s->points; i++)
            sum += s->weights[i] * s->per_log[i] * exp(k * s->log_lambda[i]);
        double here = fabs(sum / wanted - 1);
        *off = fmax(*off, here);
        if (!(here < most[k] + 4 * error_of / wanted))
            return ad_fail(error,
                           "spectrum: the density found has moment %d %.6g for %.6g: it has atoms or more than one "
                           "band; its moments are known",
                           k, sum, wanted);
    }
    return 0;
}

static int fill(march *w, tp_spectrum *s, double *off, ad_error *error)
{
    bool low_edge, high_edge;
    double low, high, mass;
    if (!find_inside(w, s->moments[0]) || !find_end(w, 1, &high, &high_edge, &mass) ||
        !find_end(w, -1, &low, &low_edge, &mass))
        return ad_fail(error, "spectrum: the density of these sums is not resolved; its moments are");
    w->grid = (tp_grid){ low_edge ? TP_TWO_EDGES : TP_EDGE_AND_TAIL, s->points, low, high };
    size_t first = 0;
    while (first + 1 < s->points && tp_grid_at(&w->grid, first) > w->from)
        first++;
    if (!follow(w, first, 1, s->per_log) || (first > 0 && !follow(w, first - 1, -1, s->per_log)))
        return ad_fail(error, "spectrum: the density of these sums is not resolved; its moments are");
    s->left_out = low_edge ? 0 : mass;
    tp_density_fill(s, &w->grid, 1);
    tp_density_sum(s);
    s->log_support[0] = low_edge ? low : -INFINITY;
    s->log_support[1] = high;
    s->largest = exp(high / 2);
    s->smallest = low_edge ? exp(low / 2) : 0;
    s->condition = low_edge ? s->largest / s->smallest : INFINITY;
    s->has_law = true;
    return check_whole(s, off, error);
}

int tp_stream_density(const tp_streams *streams, size_t points, tp_spectrum *s, double *off, ad_error *error)
{
    march w = { 0 };
    if (tp_cavity_open(&w.cavity, streams, error))
        return -1;
    size_t n = (size_t)w.cavity.unknowns;
    int status = -1;
    w.inside = ad_alloc(4 * n, sizeof *w.inside, "a density", error);
    w.u = w.inside + n;
    w.kept = w.u + n;
    w.last = w.kept + n;
    for (size_t times = 1; w.inside && status && times <= 4; times *= 2) {
        ad_error refusal = { 0 };
        status = tp_density_reserve(s, points * times, error) || fill(&w, s, off, &refusal) ? -1 : 0;
        if (!status)
            break;
        tp_density_free(s);
        s->has_law = false;
        if (times == 4 || *off > 0.01) { /* more points would not mend that */
            ad_fail(error, "%s", refusal.text);
            break;
        }
    }
    ad_free(w.inside);
    tp_cavity_close(&w.cavity);
    return status;
}
