/* custom.c: users' functions, looked at once in a graph: is the function one of all the numbers that its argument may
 * be, is each derivative that of the one before, and do they jump at stated kinks alone?
 *
 * Derivatives are compared with central differences of every step from 0.05 down to 1e-12, and one that agrees is
 * enough: a steep function agrees at small steps, one with much rounding at large ones, and a wrong derivative at none.
 * Jumps are looked for by halving: between the ends of an interval a continuous function's difference shrinks with it,
 * a jump's stays. */
#include "autodiff/trace/trace.h"

#include <math.h>

enum { POINTS = 161, ENDS = 10, ORDINARY = 5, KINKS = sizeof((ad_function *)0)->kinks / sizeof(double) };
enum { ORDERS = sizeof((ad_function *)0)->derivatives / sizeof((ad_function *)0)->derivatives[0] };
static const double agrees = 1e-3, jumps = 1e-3, negligible = 1e-9;

struct ad_checked {
    struct ad_checked *next;
    const ad_function *function;
    bool anywhere; /* at every ordinary number */
};

static double value(const ad_function *f, int order, double x)
{
    double y = NAN;
    f->derivatives[order](1, &x, &y);
    return y;
}

/* The points that are looked at: even ones, those that are no halves moved a little. */
static double point(int k)
{
    double even = (k - (POINTS - 1) / 2) * (2.0 * ENDS / (POINTS - 1));
    return 2 * even > floor(2 * even) ? even + 0.01 * sin(3.0 * k) : even;
}

static double to_nearest_kink(const ad_function *f, double x)
{
    double distance = INFINITY;
    for (int k = 0; k < f->n_kinks; k++)
        distance = fmin(distance, fabs(x - f->kinks[k]));
    return distance;
}

/* The first kink from a to b; NAN if there is none. */
static double kink_between(const ad_function *f, double a, double b)
{
    double first = NAN;
    for (int k = 0; k < f->n_kinks; k++)
        if (f->kinks[k] >= a && f->kinks[k] <= b)
            first = fmin(first, f->kinks[k]);
    return first;
}

/* ---- what is written of it ---- */
static bool well_written(ad_where where, ad_graph *graph, const ad_function *f)
{
    if (!f)
        ad_poison(graph, where, "custom: the function is missing (NULL)");
    else if (ad_has_text(where, "custom", graph, "function's name", f->name)) {
        if (f->count < 1 || f->count > ORDERS || !f->derivatives[0])
            ad_poison(graph, where, "%s: %d functions, itself and derivatives: there are 1 to %d, the first not NULL",
                      f->name, f->count, ORDERS);
        else if (f->n_kinks < 0 || f->n_kinks > KINKS)
            ad_poison(graph, where, "%s: %d kinks, at most %d are carried", f->name, f->n_kinks, KINKS);
        for (int k = 0; !ad_failed(graph) && k < f->n_kinks; k++)
            if (!isfinite(f->kinks[k]))
                ad_poison(graph, where, "%s: kink %d is at %g", f->name, k, f->kinks[k]);
    }
    return !ad_failed(graph);
}

/* ---- numbers ---- */
/* May the node be any number? So is what is linear in parameters, with nothing between that bounds it. */
static bool any_number(ad_var x)
{
    ad_graph *graph = x.graph;
    bool *reached = ad_arena_alloc(graph->arena, (size_t)x.id + 1, sizeof *reached), any = false;
    for (int id = x.id; reached && id >= 0 && !any; id--) {
        const ad_node *node = graph->nodes[id];
        bool linear = node->op == AD_ADD || node->op == AD_SUB || node->op == AD_NEG ||
                      (node->op >= AD_SCALE && node->op < AD_LOGSUMEXP);
        reached[x.id] = true;
        any = reached[id] && node->op == AD_PARAM && node->init->deviation > 0;
        for (int k = 0; reached[id] && linear && k < node->n_in; k++)
            reached[node->in[k]] = true;
    }
    return any;
}

static bool finite_at(ad_where where, const ad_function *f, int order, double x, ad_graph *graph)
{
    double y = value(f, order, x);
    if (isfinite(y))
        return true;
    ad_poison(graph, where, "%s: %s%.*d at %g is %g: its argument may be any number", f->name,
              order ? "derivative " : "the value", order > 0, order, x, y);
    return false;
}

/* Returns how many points there are at which all that is given is finite. */
static int finite_points(const ad_function *f)
{
    int n = 0;
    for (int i = 0; i < POINTS; i++) {
        bool finite = true;
        for (int order = 0; order < f->count; order++)
            finite = finite && (!f->derivatives[order] || isfinite(value(f, order, point(i))));
        n += finite;
    }
    return n;
}

static bool has_values(ad_where where, const ad_function *f, ad_graph *graph)
{
    if (finite_points(f) == 0)
        ad_poison(graph, where, "%s: it has no finite value from %d to %d", f->name, -ENDS, ENDS);
    return !ad_failed(graph);
}

static bool has_all_values(ad_where where, const ad_function *f, ad_graph *graph)
{
    for (int order = 0; order < f->count; order++)
        for (int i = 0; f->derivatives[order] && i < POINTS; i++) {
            double x = point(i);
            if (fabs(x) <= ORDINARY && (order == 0 || to_nearest_kink(f, x) > 0) &&
                !finite_at(where, f, order, x, graph))
                return false;
        }
    return true;
}

/* ---- derivatives ---- */
/* The central difference that is nearest to d; NAN where there is none. */
static double nearest_difference(const ad_function *f, int order, double x, double d)
{
    double best = NAN, room = 0.5 * to_nearest_kink(f, x);
    for (double h = 0.05; h > 1e-12; h /= 2) {
        if (h > room)
            continue;
        double difference = (value(f, order, x + h) - value(f, order, x - h)) / ((x + h) - (x - h));
        if (isfinite(difference) && !(fabs(difference - d) >= fabs(best - d)))
            best = difference;
    }
    return best;
}

static bool derivative_holds(ad_where where, const ad_function *f, int order, ad_graph *graph)
{
    double most = 0;
    for (int i = 0; i < POINTS; i++) {
        double d = value(f, order + 1, point(i));
        most = isfinite(d) ? fmax(most, fabs(d)) : most;
    }
    for (int i = 0; i < POINTS; i++) {
        double x = point(i), d = value(f, order + 1, x), found = NAN;
        if (isfinite(d) && isfinite(value(f, order, x)))
            found = nearest_difference(f, order, x, d);
        double allowed = agrees * fmax(fmax(fabs(d), fabs(found)), fmin(1, 0.01 * most)) + negligible;
        if (fabs(found - d) > allowed) {
            ad_poison(graph, where, "%s: derivative %d at %g is %.6g, differences of %s give %.6g", f->name, order + 1,
                      x, d, order ? "the one before" : "the function", found);
            return false;
        }
    }
    return true;
}

/* ---- jumps ---- */
/* Where between a and b the derivative jumps, but at kinks: a point, and by how much, which is more than `least`; NAN
 * if nowhere. */
static double jump_between(const ad_function *f, int order, double a, double b, double least, double *by)
{
    double kink = kink_between(f, a, b), beside = negligible * fmax(1, fabs(kink));
    if (!isnan(kink)) {
        double at = a < kink - beside ? jump_between(f, order, a, kink - beside, least, by) : NAN;
        return isnan(at) && kink + beside < b ? jump_between(f, order, kink + beside, b, least, by) : at;
    }
    double left = value(f, order, a), right = value(f, order, b);
    while (fabs(right - left) > least) {
        double middle = a + (b - a) / 2, y = value(f, order, middle);
        if (!(middle > a && middle < b)) {
            *by = right - left;
            return fabs(*by) > negligible * fmax(fabs(left), fabs(right)) ? b : NAN;
        }
        bool first = fabs(y - left) > fabs(right - y);
        if (!isfinite(y)) {
            *by = INFINITY;
            return middle;
        }
        b = first ? middle : b;
        right = first ? y : right;
        a = first ? a : middle;
        left = first ? left : y;
    }
    return NAN;
}

/* A pole is none of an argument's that may not reach it. */
static bool jumps_at_kinks(ad_where where, const ad_function *f, int order, bool anywhere, ad_graph *graph)
{
    enum { PARTS = 4 };
    const double pole = 1e9;
    double most = negligible, by = 0;
    for (int i = 0; i < POINTS; i++) {
        double y = value(f, order, point(i));
        most = isfinite(y) ? fmax(most, fmin(fabs(y), 1e3)) : most;
    }
    for (int i = 0; i < PARTS * (POINTS - 1); i++) {
        double low = point(i / PARTS), step = (point(i / PARTS + 1) - low) / PARTS;
        double a = low + step * (i % PARTS), b = i % PARTS == PARTS - 1 ? point(i / PARTS + 1) : a + step;
        double at = jump_between(f, order, a, b, jumps * most, &by);
        if (isnan(at) || (!anywhere && fabs(by) > pole))
            continue;
        char what[32] = "the function";
        if (order)
            snprintf(what, sizeof what, "derivative %d", order);
        at = fabs(at) < 1e-200 ? 0 : at;
        if (fabs(by) > pole)
            ad_poison(graph, where, "%s: %s has a pole at %.6g: its argument may be any number", f->name, what, at);
        else
            ad_poison(graph, where, "%s: %s jumps by %.6g at %.6g, which is none of the %d kinks stated", f->name, what,
                      by, at, f->n_kinks);
        return false;
    }
    return true;
}

bool ad_function_sound(ad_where where, const ad_function *function, ad_var x)
{
    ad_graph *graph = x.graph;
    struct ad_checked *seen = graph->checked;
    while (seen && seen->function != function)
        seen = seen->next;
    bool anywhere = !(seen && seen->anywhere) && any_number(x);
    if (!seen && (!well_written(where, graph, function) || !has_values(where, function, graph)))
        return false;
    if (anywhere && !has_all_values(where, function, graph))
        return false;
    if (seen) {
        seen->anywhere = seen->anywhere || anywhere;
        return true;
    }
    for (int order = 0; order < function->count && !ad_failed(graph); order++)
        if (function->derivatives[order])
            jumps_at_kinks(where, function, order, anywhere, graph);
    for (int order = 0; order + 1 < function->count && !ad_failed(graph); order++)
        if (function->derivatives[order] && function->derivatives[order + 1])
            derivative_holds(where, function, order, graph);
    if (!(seen = ad_arena_alloc(graph->arena, 1, sizeof *seen))) {
        ad_poison(graph, where, "%s: out of memory", function->name);
        return false;
    }
    if (ad_failed(graph))
        return false;
    *seen = (struct ad_checked){ graph->checked, function, anywhere };
    graph->checked = seen;
    return true;
}
