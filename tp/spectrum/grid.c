/* grid.c: points of log lambda, and what a density over them is.
 *
 * Points are midpoints of equal pieces of a parameter t, in which a density is smooth up to its ends: log lambda = high
 * - t^2 where the support reaches 0, and (high + low + (high - low) cos t) / 2 where it has two ends; so sums over
 * points are integrals to many digits (the midpoint rule of an even function). */
#include "autodiff/base/base.h"
#include "tp/spectrum/chain.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

static double step_of(const tp_grid *g)
{
    double range = g->high - g->low;
    return (g->kind == TP_TWO_EDGES ? pi : g->kind == TP_EDGE_AND_TAIL ? sqrt(range) : range) / (double)g->n;
}

double tp_grid_at(const tp_grid *g, size_t i)
{
    double t = ((double)i + 0.5) * step_of(g);
    switch (g->kind) {
    case TP_EDGE_AND_TAIL:
        return g->high - t * t;
    case TP_TWO_EDGES:
        return g->low + (g->high - g->low) * pow(cos(t / 2), 2);
    case TP_TWO_TAILS:
        return g->high - t;
    }
    return NAN;
}

/* |d log lambda / dt| dt */
double tp_grid_weight(const tp_grid *g, size_t i)
{
    double step = step_of(g), t = ((double)i + 0.5) * step;
    return step * (g->kind == TP_TWO_EDGES ? (g->high - g->low) * sin(t) / 2 : g->kind == TP_EDGE_AND_TAIL ? 2 * t : 1);
}

void tp_density_fill(tp_spectrum *s, const tp_grid *g, double mass)
{
    for (size_t i = 0; i < g->n; i++) {
        s->log_lambda[i] = tp_grid_at(g, i);
        s->weights[i] = tp_grid_weight(g, i);
        s->per_log[i] /= mass;
    }
    for (size_t i = 0, k = g->n - 1; i < k; i++, k--) { /* ascending */
        double *lists[3] = { s->log_lambda, s->weights, s->per_log };
        for (int j = 0; j < 3; j++) {
            double swap = lists[j][i];
            lists[j][i] = lists[j][k];
            lists[j][k] = swap;
        }
    }
}

/* The mass below each point, from the left: the masses between are sums of halves. */
void tp_density_sum(tp_spectrum *s)
{
    double below = s->left_out;
    for (size_t i = 0; i < s->points; i++) {
        double piece = s->weights[i] * s->per_log[i];
        s->continuous[i] = below + piece / 2;
        below += piece;
    }
}

int tp_density_reserve(tp_spectrum *s, size_t points, ad_error *error)
{
    s->points = points;
    s->log_lambda = ad_alloc(points, sizeof(double), "a density", error);
    s->per_log = ad_alloc(points, sizeof(double), "a density", error);
    s->continuous = ad_alloc(points, sizeof(double), "a density", error);
    s->weights = ad_alloc(points, sizeof(double), "a density", error);
    return s->log_lambda && s->per_log && s->continuous && s->weights ? 0 : -1;
}

void tp_density_free(tp_spectrum *s)
{
    ad_free(s->log_lambda);
    ad_free(s->per_log);
    ad_free(s->continuous);
    ad_free(s->weights);
    s->log_lambda = s->per_log = s->continuous = s->weights = NULL;
    s->points = 0;
}

void tp_spectrum_free(tp_spectrum *s)
{
    tp_density_free(s);
    ad_free(s->atoms);
    memset(s, 0, sizeof *s);
}
