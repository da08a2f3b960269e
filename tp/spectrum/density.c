/* density.c: the density of a chain over log lambda, lambda rho(lambda) = -Im M / pi, by continuation along lambda. */
#include "autodiff/base/base.h"
#include "tp/spectrum/chain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double pi = 3.14159265358979323846;
static const double tail = 1e-9; /* mass that is left out near 0, */
static const double left = 1e-7; /* and at most, where the density cannot be followed as far */

typedef struct {
    const tp_equation *e;
    tp_edges edges;
    tp_grid points;
    double complex *u[4]; /* the last three solutions, and the one that is sought */
    ad_error *error;
} grid;

/* From a point inside to where less mass than `tail` is beyond, towards 0 (sign -1) or away from it, as the density and
 * its slope there tell. False where it cannot be followed so far. */
static bool find_tail(grid *g, double inside, int sign, double complex *u, double *end, double *mass)
{
    double range = fmin(1, g->edges.high - g->edges.low), at = inside, step = 0.5 * range, last = 0;
    double complex slope, above;
    size_t size = TP_UNKNOWNS(g->e) * sizeof *u;
    double complex *kept = g->u[3];
    *mass = INFINITY;
    if (!tp_equation_enter(g->e, inside, u))
        return false;
    for (int k = 0; k < 4000 && *mass > tail && step > 1e-4 * range; k++) {
        memcpy(kept, u, size);
        bool solved = tp_equation_solve(g->e, at + sign * step, u, &slope) && cimag(u[0]) < 0;
        tp_equation_m(g->e, u, &above);
        double density = -cimag(above) / pi, growth = -sign * cimag(1 / slope) / pi; /* towards the inside */
        if (!solved || (density < 0.05 * last && step > 2e-3 * range)) { /* a fall is followed in small steps */
            memcpy(u, kept, size);
            step /= 2;
            continue;
        }
        at += sign * step;
        last = density;
        *mass = growth > 0 ? density / g->e->to * density / growth : density < 1e-12 ? density : INFINITY;
        step = fmin(step * 1.3, 4);
    }
    *end = at;
    return *mass <= left;
}

/* Which ends are edges, and which are tails that are cut: a support may go on where next to no mass is. */
static int find_ends(grid *g, double inside, double complex *u, tp_spectrum *s)
{
    const double near = 0.02 * fmin(1, g->edges.high - g->edges.low); /* an edge is reached, not a tail */
    double end, mass;
    bool low_edge = g->edges.high - g->edges.low < 60, high_edge = true;
    if (!g->e->gaussian && !g->edges.high_open && find_tail(g, inside, 1, u, &end, &mass) &&
        end < g->edges.high - near) {
        g->edges.high = end;
        high_edge = false;
    }
    if (!g->e->gaussian && low_edge && !g->edges.low_open && find_tail(g, inside, -1, u, &end, &mass) &&
        end > g->edges.low + near)
        low_edge = false;
    if (!low_edge) {
        if (!find_tail(g, inside, -1, u, &end, &mass))
            return -1;
        low_edge = end - g->edges.low < 1; /* a far edge, not a tail */
        if (!low_edge) {
            g->edges.low = end;
            s->left_out = mass;
        }
    }
    if (low_edge && !high_edge)
        return -1;
    g->points.kind = low_edge ? TP_TWO_EDGES : high_edge ? TP_EDGE_AND_TAIL : TP_TWO_TAILS;
    return 0;
}

/* The next solution from the last ones, by a parabola through them; had: how many there are. */
static void extrapolate(grid *g, int had)
{
    for (int k = 0; k <= g->e->n; k++)
        g->u[3][k] = had > 2   ? 3 * g->u[2][k] - 3 * g->u[1][k] + g->u[0][k]
                     : had > 1 ? 2 * g->u[2][k] - g->u[1][k]
                               : g->u[2][k];
}

static int march(grid *g, size_t first, int direction, double complex *start, double *density)
{
    size_t size = TP_UNKNOWNS(g->e) * sizeof *start;
    int had = 1;
    double complex above;
    memcpy(g->u[2], start, size);
    for (size_t i = first; i < g->points.n; i += (size_t)(ptrdiff_t)direction) { /* below 0 it wraps */
        extrapolate(g, had);
        if (!tp_equation_solve(g->e, tp_grid_at(&g->points, i), g->u[3], NULL)) {
            memcpy(g->u[3], g->u[2], size);
            if (!tp_equation_enter(g->e, tp_grid_at(&g->points, i), g->u[3]))
                return -1;
        }
        tp_equation_m(g->e, g->u[3], &above);
        density[i] = fmax(0, -cimag(above) / pi);
        double complex *oldest = g->u[0];
        g->u[0] = g->u[1];
        g->u[1] = g->u[2];
        g->u[2] = g->u[3];
        g->u[3] = oldest;
        had = had < 3 ? had + 1 : 3;
    }
    return 0;
}

/* A point inside the support: the mean of what is not 0. */
static double inside_of(const grid *g, const tp_spectrum *s)
{
    double mean = g->e->first / g->e->to, mass = 1;
    for (int k = 0; k < s->n_atoms; k++) {
        mean -= s->atoms[k].at * s->atoms[k].mass;
        mass -= s->atoms[k].mass;
    }
    double at = log(mean / mass), high = g->edges.high, low = g->edges.low;
    if (!(at < high))
        at = high - 1e-3;
    return at > low ? at : (low + high) / 2;
}

static int fill(grid *g, tp_spectrum *s)
{
    double inside = inside_of(g, s);
    double complex *start = g->u[3] + TP_UNKNOWNS(g->e);
    s->left_out = 0;
    if (find_ends(g, inside, start, s))
        return ad_fail(g->error, "spectrum: the density of this chain is not resolved near its ends; its moments are");
    g->points.low = g->edges.low;
    g->points.high = g->edges.high;
    size_t first = 0;
    while (first + 1 < g->points.n && tp_grid_at(&g->points, first) > inside)
        first++;
    double *density = s->per_log;
    if (!tp_equation_enter(g->e, tp_grid_at(&g->points, first), start) || march(g, first, 1, start, density) ||
        (first > 0 && march(g, first - 1, -1, start, density)))
        return ad_fail(g->error, "spectrum: the density of this chain is not resolved; its moments are");
    tp_density_fill(s, &g->points, g->e->to);
    return 0;
}

static bool is_unbounded(const tp_equation *e)
{
    for (int k = 0; k < e->n; k++)
        if (e->diagonals[k]->law.unbounded)
            return true;
    return false;
}

/* -1 where the density and the atoms have not the mass and the moments of the chain: it is not the whole of the
 * spectrum. */
static int check_whole(const tp_equation *e, const tp_spectrum *s, ad_error *error)
{
    enum { CHECKED = 4 };
    const double most = 5e-7;
    double moments[CHECKED + 1] = { 1 }, sums[CHECKED + 1] = { s->left_out }, scale = e->first / e->to;
    tp_chain scaled = *e->chain; /* to a mean of 1, so that all of them are in a double's range */
    scaled.log_scale -= log(scale);
    if (tp_chain_moments(&scaled, CHECKED, moments + 1, error))
        return -1;
    for (int k = 0; k <= CHECKED; k++) {
        for (int a = 0; a < s->n_atoms; a++)
            sums[k] += s->atoms[a].mass * (k ? pow(s->atoms[a].at / scale, k) : 1);
        for (size_t i = 0; i < s->points; i++)
            sums[k] += s->weights[i] * s->per_log[i] * exp(k * (s->log_lambda[i] - log(scale)));
        if (!(fabs(sums[k] - moments[k]) < most * moments[k]))
            return ad_fail(error,
                           "spectrum: the density found has moment %d %.8g for %.8g, in units of the first: %s; its "
                           "moments are known",
                           k, sums[k], moments[k],
                           is_unbounded(e) ? "a derivative has no bound, and the tail is not resolved"
                                           : "it has more than one band, or needs more points");
    }
    return 0;
}

static void tell_ends(const tp_equation *e, const tp_edges *edges, tp_spectrum *s)
{
    double low = edges->empty ? INFINITY : exp(edges->low), high = edges->empty ? 0 : exp(edges->high);
    bool unbounded = is_unbounded(e);
    for (int k = 0; k < s->n_atoms; k++) {
        low = fmin(low, s->atoms[k].at);
        high = fmax(high, s->atoms[k].at);
    }
    s->largest = unbounded ? INFINITY : sqrt(high);
    s->smallest = sqrt(low);
    s->condition = low > 0 ? s->largest / s->smallest : INFINITY;
    s->log_support[0] = edges->empty ? NAN : edges->low;
    s->log_support[1] = edges->empty ? NAN : unbounded ? INFINITY : edges->high;
}

static int fill_points(const tp_equation *e, const tp_edges *edges, size_t points, tp_spectrum *s, ad_error *error)
{
    grid g = { .e = e, .edges = *edges, .points.n = points, .error = error };
    size_t size = TP_UNKNOWNS(e);
    double complex *memory = ad_alloc(5 * size, sizeof *memory, "a density", error);
    for (size_t k = 0; k < 4 && memory; k++)
        g.u[k] = memory + k * size;
    int status = memory ? tp_density_reserve(s, points, error) : -1;
    if (!status)
        status = fill(&g, s);
    ad_free(memory);
    return status ? -1 : 0;
}

/* ---- several bands ---- */
/* The density at log lambda by the way from outside the line, which knows no gaps. */
static bool is_inside(const tp_equation *e, double at, double complex *u)
{
    double complex above;
    if (!tp_equation_enter(e, at, u))
        return false;
    tp_equation_m(e, u, &above);
    return -cimag(above) / pi > 1e-6;
}

/* The bands between the ends, ascending: where the density begins and where it stops, narrowed down. */
static int find_bands(const tp_equation *e, const tp_edges *edges, double complex *u, double bands[][2])
{
    enum { SCANNED = 400 };
    int n = 0;
    bool before = false;
    double last = edges->low;
    for (int i = 0; i <= SCANNED; i++) {
        double at = edges->low + (edges->high - edges->low) * (i + 0.5) / (SCANNED + 1);
        bool here = is_inside(e, at, u);
        double low = last, high = at;
        if (here != before && i > 0)
            for (int k = 0; k < 48; k++) {
                double middle = (low + high) / 2;
                *(is_inside(e, middle, u) == before ? &low : &high) = middle;
            }
        if (here && !before && n == TP_BANDS)
            return 0;
        if (here && !before)
            bands[n++][0] = i > 0 ? high : edges->low;
        if (!here && before)
            bands[n - 1][1] = low;
        before = here;
        last = at;
    }
    if (before)
        bands[n - 1][1] = edges->high;
    return n;
}

/* One band's share of the lists, from `first` on. */
static int fill_band(grid *g, const tp_grid *points, size_t first, double complex *start, tp_spectrum *s)
{
    tp_spectrum part = *s;
    size_t middle = points->n / 2;
    g->points = *points;
    part.log_lambda += first;
    part.per_log += first;
    part.weights += first;
    if (!tp_equation_enter(g->e, tp_grid_at(&g->points, middle), start) || march(g, middle, 1, start, part.per_log) ||
        march(g, middle - 1, -1, start, part.per_log))
        return ad_fail(g->error, "spectrum: a band of the density is not resolved");
    tp_density_fill(&part, &g->points, g->e->to);
    return 0;
}

/* Of a support with gaps; points are of each band. */
static int fill_bands(const tp_equation *e, const tp_edges *edges, size_t points, tp_spectrum *s, ad_error *error)
{
    grid g = { .e = e, .edges = *edges, .error = error };
    size_t size = TP_UNKNOWNS(e);
    double complex *memory = ad_alloc(5 * size, sizeof *memory, "a density", error);
    for (size_t k = 0; k < 4 && memory; k++)
        g.u[k] = memory + k * size;
    bool tail_at_0 = !isfinite(edges->low);
    if (tail_at_0)
        g.edges.low = fmin(edges->high, log(e->first)) - 40;
    int n = memory ? find_bands(e, &g.edges, memory + 4 * size, s->bands) : 0;
    int status = n > 1 ? tp_density_reserve(s, points * (size_t)n, error) : -1;
    s->left_out = 0;
    if (!status && tail_at_0)
        status = find_tail(&g, s->bands[0][1] - 0.5, -1, memory + 4 * size, &s->bands[0][0], &s->left_out) ? 0 : -1;
    for (int k = 0; k < n && !status; k++)
        status = fill_band(
            &g,
            &(tp_grid){ tail_at_0 && k == 0 ? TP_EDGE_AND_TAIL : TP_TWO_EDGES, points, s->bands[k][0], s->bands[k][1] },
            points * (size_t)k, memory + 4 * size, s);
    if (tail_at_0)
        s->bands[0][0] = -INFINITY;
    s->n_bands = status ? 0 : n;
    ad_free(memory);
    return status;
}

/* A function between orthogonal matrices alone: the spectrum is its law. Its values' neighbourhoods meet halfway. */
static int copy_law(const tp_equation *e, tp_spectrum *s, ad_error *error)
{
    const tp_law *law = &e->diagonals[0]->law;
    double scale = log(e->first) - log(law->derivative);
    if (tp_density_reserve(s, law->n, error))
        return -1;
    s->points = 0;
    for (size_t i = 0; i < law->n; i++) {
        if (law->atoms[i])
            continue;
        double at = log(law->squares[i]), low = i ? log(law->squares[i - 1]) : at, high = at;
        if (i + 1 < law->n)
            high = log(law->squares[i + 1]);
        s->log_lambda[s->points] = at + scale;
        s->weights[s->points] = (high - low) / 2;
        s->per_log[s->points++] = 2 * law->masses[i] / (high - low);
    }
    return 0;
}

static int find_density(const tp_equation *e, size_t points, tp_spectrum *s, ad_error *error)
{
    tp_edges edges;
    ad_error refusal = { 0 };
    for (int k = 0; k < e->n; k++)
        if (e->diagonals[k]->law.rounded > left)
            return ad_fail(error,
                           "spectrum: the derivative of a function, at arguments of deviation %.2g, leaves a double's "
                           "range on a share %.1e of them",
                           sqrt(e->diagonals[k]->law.variance), e->diagonals[k]->law.rounded);
    if ((s->n_atoms = tp_find_atoms(e, &s->atoms, error)) < 0)
        return -1;
    if (!e->gaussian && e->n == 1) {
        const tp_law *law = &e->diagonals[0]->law;
        double scale = log(e->first) - log(law->derivative);
        edges = (tp_edges){ .low = law->vanishes ? -INFINITY : log(law->least) + scale,
                            .high = log(law->most) + scale,
                            .empty = law->atoms[0] && law->atoms[law->n - 1] };
        tell_ends(e, &edges, s);
        return copy_law(e, s, error);
    }
    if (tp_find_edges(e, &edges, error))
        return -1;
    tell_ends(e, &edges, s);
    bool filled = false;
    size_t most = is_unbounded(e) ? 1 : 16; /* no grid holds a tail without an end */
    for (size_t times = 1; times <= most && !edges.empty; times *= 2) {
        refusal = (ad_error){ 0 };
        filled = fill_points(e, &edges, points * times, s, &refusal) == 0;
        if (filled && !check_whole(e, s, &refusal))
            break;
        tp_density_free(s);
    }
    for (size_t times = 1; times <= 4 && most > 1 && filled && *refusal.text;
         times *= 2) { /* something is missing: a band */
        ad_error gaps = { 0 };
        if (!fill_bands(e, &edges, points * times, s, &gaps) && !check_whole(e, s, &gaps))
            refusal = (ad_error){ 0 };
        else
            tp_density_free(s);
    }
    return *refusal.text ? ad_fail(error, "%s", refusal.text) : check_whole(e, s, error);
}

int tp_chain_density(const tp_chain *chain, size_t points, tp_spectrum *s, ad_error *error)
{
    tp_equation e;
    if (tp_equation_of(&e, chain, error))
        return -1;
    int status = find_density(&e, points, s, error);
    if (!status)
        tp_density_sum(s);
    s->has_law = !status;
    tp_equation_free(&e);
    return status;
}
