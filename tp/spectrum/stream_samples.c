/* stream_samples.c: samples of a stream's coordinates. What enters a stream is Gaussian and independent of all before,
 * for its matrix is used once; so the arguments of the functions that read it are a walk with independent steps. */
#include "autodiff/base/base.h"
#include "tp/spectrum/streams.h"

#include <math.h>

static double quantile(double u)
{
    return u < 0.5 ? ad_normal_quantile(u, 0) : -ad_normal_quantile(1 - u, 0);
}

/* Coordinate `which` of the i-th point of n in `dimensions`: equal steps, then Kronecker's sequence of the powers of
 * the number that is the golden ratio in dimension one. */
static double point(size_t i, size_t n, int which, int dimensions)
{
    double g = 1.5;
    if (which == 0)
        return ((double)i + 0.5) / (double)n;
    for (int k = 0; k < 60; k++)
        g = pow(1 + g, 1.0 / dimensions);
    double step = pow(g, -which), at = 0.5 + (double)(i + 1) * step;
    return at - floor(at);
}

/* The variance of a function's argument, and how it follows from the last one's: X = c X_last + step xi. An argument is
 * its event's factor times the stream. */
typedef struct {
    double variance, c, step;
} place;

static int find_place(const tp_walk *w, const tp_event *e, const place *last, double c, place *here)
{
    double power;
    if (tp_walk_variance(w, e->argument, &here->variance, &power))
        return -1;
    if (fabs(power) > 1e-9 || !(here->variance > 0))
        return tp_walk_refuse(w, e->v,
                              here->variance > 0 ? "its argument goes like a power of n" : "its argument is 0 here");
    double fresh = here->variance - c * c * last->variance;
    if (fresh < -1e-9 * here->variance)
        return tp_walk_refuse(w, e->v, "its argument is no sum of the stream's products: no density");
    here->c = c;
    here->step = fresh > 1e-12 * here->variance ? sqrt(fresh) : 0;
    return 0;
}

static int fill(const tp_walk *w, tp_event *e, size_t n, const double *points)
{
    tp_slope slope = { .program = w->program, .error = w->error };
    ad_var v = { w->program->graph, e->v }, argument = { w->program->graph, e->argument };
    double most = 0, far[3] = { 1e3 * fabs(points[0]) + 1e3, -1e3 * fabs(points[0]) - 1e3, 0 };
    if (!(e->squares = ad_alloc(n, sizeof *e->squares, "a law", w->error)) || tp_slope_open(&slope, v, argument) ||
        tp_slope_evaluate(&slope, slope.derivative, n, points, e->squares) ||
        tp_slope_evaluate(&slope, slope.derivative, 3, far, far))
        return -1;
    if (fabs(slope.outer_power) > 0)
        return tp_walk_refuse(w, e->v, "a power of n before a function: no density of a sum");
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(e->squares[i]))
            return tp_walk_refuse(w, e->v, "its derivative is not finite");
        e->squares[i] *= slope.outer * e->squares[i];
        most = fmax(most, e->squares[i]);
    }
    if (!(most > 0))
        return tp_walk_refuse(w, e->v, "its derivative is 0 almost everywhere, and so is what it reads");
    return slope.outer * far[0] * far[0] < 100 * most && slope.outer * far[1] * far[1] < 100 * most
               ? 0
               : tp_walk_refuse(w, e->v, "its derivative has no bound: no density of a sum");
}

static int sample_stream(const tp_walk *w, tp_stream *s, size_t samples)
{
    place *places = ad_alloc((size_t)s->n, sizeof *places, "a law", w->error), last = { 0 };
    double *points = places ? ad_alloc(samples, sizeof *points, "a law", w->error) : NULL;
    int dimensions = 0, status = points ? 0 : -1;
    double c = 1;
    for (int k = 0; k < s->n && !status; k++) {
        const tp_event *e = &s->events[k];
        if (e->v >= 0 && !(status = find_place(w, e, &last, c * e->factor, &places[k]))) {
            dimensions += places[k].step > 0;
            last = places[k];
            c = 1 / e->factor;
        }
        c *= e->kind == TP_TIMES ? e->factor : 1;
    }
    for (size_t i = 0; i < samples && points; i++)
        points[i] = 0;
    s->samples = dimensions ? samples : 1;
    for (int k = 0, which = 0; k < s->n && !status; k++) {
        if (s->events[k].v < 0)
            continue;
        for (size_t i = 0; i < samples; i++)
            points[i] = places[k].c * points[i] +
                        (places[k].step > 0 ? places[k].step * quantile(point(i, samples, which, dimensions)) : 0);
        which += places[k].step > 0;
        status = fill(w, &s->events[k], samples, points);
    }
    ad_free(places);
    ad_free(points);
    return status;
}

int tp_stream_samples(const tp_walk *walk, tp_streams *streams, size_t samples)
{
    for (int k = 0; k < streams->n; k++)
        if (sample_stream(walk, &streams->streams[k], samples))
            return -1;
    return 0;
}
