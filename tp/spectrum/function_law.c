/* function_law.c: the law of a coordinatewise function's squared derivative under the Gaussian law of its argument, by
 * Gauss-Legendre rules between the points where a function of the trace has kinks. */
#include "autodiff/trace/trace.h"
#include "nn/network/network.h"
#include "tp/gauss/gauss.h"
#include "tp/spectrum/inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = TP_PANEL_NODES, GRID = 2048, MOST_MARKS = 200 };
static const double reach = 9; /* deviations: beyond are 2e-19 of the mass */
/* Panels next to a zero of the derivative shrink towards it, each to a quarter, down to a length of this order. */
static const double finest = 1e-11;

/* A point between two panels, in deviations. */
typedef struct {
    double at;
    bool zero, kink; /* of the derivative; of a function in it */
} mark;

static int kinks_of(const ad_node *node, const double **kinks)
{
    if (node->op == AD_CUSTOM) {
        *kinks = node->function->kinks;
        return node->function->n_kinks;
    }
    if (!ad_is_unary(node->op))
        return 0;
    *kinks = ad_op_facts_of(node->op)->kinks;
    return ad_op_facts_of(node->op)->n_kinks;
}

/* s'(a) = s(a) s(-a) of the sigmoid s, and tanh' a = 4 s'(2 a), to all digits: 1 - y^2 and y - y^2, as the trace has
 * them, round to 0 where they are small. *exact: the node's value so; false where it is neither. */
static bool find_difference(ad_var node, ad_var *exact)
{
    ad_graph *graph = node.graph;
    const ad_node *difference = ad_node_of(graph, node.id);
    if (difference->op != AD_SUB)
        return false;
    const ad_node *one = ad_node_of(graph, difference->in[0]), *square = ad_node_of(graph, difference->in[1]);
    if (square->op != AD_SQUARE)
        return false;
    const ad_node *y = ad_node_of(graph, square->in[0]);
    while (one->op == AD_EXPAND)
        one = ad_node_of(graph, one->in[0]);
    bool tanh = y->op == AD_TANH && one->op == AD_CONSTANT && !(one->c < 1) && !(one->c > 1);
    if (!tanh && !(y->op == AD_SIGMOID && difference->in[0] == square->in[0]))
        return false;
    double c = tanh ? 2 : 1;
    ad_var a = { graph, y->in[0] };
    *exact = ad_scale(ad_mul(ad_sigmoid(ad_scale(a, c)), ad_sigmoid(ad_scale(a, -c))), c * c);
    return true;
}

/* The derivative by ways that keep its digits. */
static ad_var without_differences(ad_var derivative, int first)
{
    enum { MOST = 32 };
    ad_var from[MOST], to[MOST];
    int n = 0, last = ad_graph_size(derivative.graph);
    for (int id = first; id < last && n < MOST; id++) {
        from[n] = (ad_var){ derivative.graph, id };
        n += find_difference(from[n], &to[n]);
    }
    return n ? ad_replace(derivative, from, to, n) : derivative;
}

/* v with the fresh input in the place of its argument, and of it in that of what the argument scales, and of its other
 * scales. */
static ad_var replaced(ad_var v, ad_var argument, ad_var input)
{
    enum { MOST = 32 };
    ad_graph *graph = v.graph;
    const ad_node *scale = ad_node_of(graph, argument.id);
    ad_var from[MOST] = { argument }, to[MOST] = { input };
    int n = 1;
    if (scale->op == AD_SCALE && fabs(scale->c) > 0) {
        from[n] = (ad_var){ graph, scale->in[0] };
        to[n++] = ad_scale_by(input, 1 / scale->c, scale->axis, -scale->power);
        for (int id = scale->in[0] + 1; id <= v.id && n < MOST; id++) {
            const ad_node *other = ad_node_of(graph, id);
            if (id == argument.id || other->op != AD_SCALE || other->in[0] != scale->in[0])
                continue;
            from[n] = (ad_var){ graph, id };
            to[n++] = ad_scale_by(to[1], other->c, other->axis, other->power);
        }
    }
    return ad_replace(v, from, to, n);
}

/* Takes a power of n that is left before the function off it. */
static void take_outer(tp_slope *s)
{
    const ad_graph *graph = s->program->graph;
    s->outer = 1;
    s->outer_power = 0;
    for (const ad_node *node;
         (node = ad_node_of(graph, s->function.id))->op == AD_SCALE && tp_is_width(graph, node->axis);) {
        double c = node->c, power = 0;
        tp_times_axis(graph, node->axis, node->power, &c, &power);
        s->outer *= c * c;
        s->outer_power += 2 * power;
        s->function.id = node->in[0];
    }
}

/* -1 where a power of n is left within it. */
static int check_powers(const tp_slope *s, int first)
{
    const ad_graph *graph = s->program->graph;
    int last = s->function.id, found = 0;
    bool *within = ad_alloc((size_t)last + 1, sizeof *within, "a law", s->error);
    if (!within)
        return -1;
    within[last] = true;
    for (int id = last; id >= first && !found; id--) {
        const ad_node *node = ad_node_of(graph, id);
        for (int k = 0; k < node->n_in && within[id]; k++)
            within[node->in[k]] = true;
        if (within[id] && node->op == AD_SCALE && tp_is_width(graph, node->axis))
            found = ad_fail(s->error, "%s:%d: scale: a power of n within a function", tp_short_file(node->where.file),
                            node->where.line);
    }
    ad_free(within);
    return found;
}

/* v with a fresh input in the place of its argument, and the derivative by it, as new nodes of the graph. */
int tp_slope_open(tp_slope *s, ad_var v, ad_var argument)
{
    ad_graph *graph = v.graph;
    const nn_net *net = s->program->net;
    ad_mark before = nn_growth_begin(net);
    int first = ad_graph_size(graph);
    ad_shape shape = *ad_shape_get(argument);
    s->argument = ad_input(graph, nn_name(s->program->net, "a vector %d", first), shape);
    s->function = replaced(v, argument, s->argument);
    if (s->function.id >= 0)
        take_outer(s);
    ad_var one = ad_constant(graph, 1, *ad_shape_get(s->function));
    if (ad_backward(s->function, one, &s->argument, 1, &s->derivative, NULL) < 0)
        s->derivative.id = -1;
    if (s->derivative.id >= 0)
        s->derivative = without_differences(s->derivative, first);
    int last = ad_graph_size(graph);
    for (int id = first; id < last && s->n_kinked < TP_MOST_KINKED; id++) {
        const double *kinks;
        const ad_node *node = ad_node_of(graph, id);
        if (kinks_of(node, &kinks) > 0)
            s->kinked[s->n_kinked++] = (ad_var){ graph, id };
    }
    return nn_growth_end(net, before, "spectrum", s->error) ? -1 : check_powers(s, first);
}

int tp_slope_evaluate(const tp_slope *s, ad_var output, size_t n, const double *points, double *out)
{
    const ad_graph *graph = s->program->graph;
    ad_axis width = { 0 };
    const ad_shape *shape = ad_shape_get(s->argument);
    for (int i = 0; i < shape->rank; i++)
        if (tp_is_width(graph, shape->axes[i]))
            width = shape->axes[i];
    ad_sizes sizes = { .n = (size_t)ceil((double)n / ad_axis_ratio(graph, width)) + 1, .n_batches = 1 };
    sizes.batches[0].axis = nn_batch(s->program->net);
    sizes.batches[0].size = 1;
    size_t count = ad_axis_size(graph, width, &sizes);
    ad_plan_spec spec = { .type = AD_DOUBLE, .capacity = sizes };
    double *values = ad_alloc(count, sizeof *values, "a law", s->error);
    ad_plan *plan = values ? nn_plan_new(s->program->net, &output, 1, &spec, s->error) : NULL;
    int status = plan ? 0 : -1;
    for (size_t i = 0; i < count && values; i++)
        values[i] = i < n ? points[i] : 0;
    if (!status) {
        ad_bind(plan, s->argument, values);
        status = ad_run(plan, &sizes, s->error);
    }
    if (!status) {
        bool spread = ad_elements(graph, ad_shape_get(output), &sizes) >= count; /* a constant has no width */
        const double *found = ad_output(plan, 0);
        for (size_t i = 0; i < n; i++)
            out[i] = found[spread ? i : 0];
    }
    ad_plan_free(plan);
    ad_free(values);
    return status;
}

static int ascending(const void *a, const void *b)
{
    double x = ((const mark *)a)->at, y = ((const mark *)b)->at;
    return (x > y) - (x < y);
}

/* Where an argument passes a kink between two neighbours of a grid, narrowed down grid by grid. */
static int narrow(const tp_slope *s, ad_var which, double kink, double low, double high, double *at)
{
    double points[GRID], values[GRID];
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < GRID; i++)
            points[i] = low + (high - low) * i / (GRID - 1);
        if (tp_slope_evaluate(s, which, GRID, points, values))
            return -1;
        int i = 1;
        while (i < GRID - 1 && (values[i] - kink) * (values[0] - kink) > 0)
            i++;
        low = points[i - 1];
        high = points[i];
        if (!(high - low > 4e-16 * fmax(fabs(low), fabs(high))))
            break;
    }
    *at = (low + high) / 2;
    return 0;
}

/* Where a node passes a level, over points of the argument. */
static int add_marks(const tp_slope *s, ad_var node, double level, double deviation, bool zero, mark *marks, int *n)
{
    double points[GRID], values[GRID];
    for (int i = 0; i < GRID; i++)
        points[i] = deviation * reach * (2.0 * i / (GRID - 1) - 1);
    if (tp_slope_evaluate(s, node, GRID, points, values))
        return -1;
    for (int i = 0; i + 1 < GRID; i++) {
        double a = values[i] - level, b = values[i + 1] - level, at;
        if ((a < 0) == (b < 0) || (!(a > 0) && !(a < 0)))
            continue;
        if (*n == MOST_MARKS)
            return ad_fail(s->error, "spectrum: a function has more than %d kinks and zeros", (int)MOST_MARKS);
        if (narrow(s, node, level, points[i], points[i + 1], &at))
            return -1;
        marks[(*n)++] = (mark){ at / deviation, zero, !zero };
    }
    return 0;
}

/* Ends, kinks and zeros, ascending; returns how many, -1 on error. */
static int find_marks(const tp_slope *s, double deviation, mark *marks)
{
    double middle[2] = { 0, deviation }, values[2];
    int n = 0;
    if (tp_slope_evaluate(s, s->derivative, 2, middle, values))
        return -1;
    marks[n++] = (mark){ .at = -reach };
    marks[n++] = (mark){ .zero = fabs(values[0]) < 1e-9 * fabs(values[1]) };
    marks[n++] = (mark){ .at = reach };
    for (int w = 0; w < s->n_kinked; w++) {
        const double *kinks;
        const ad_node *node = ad_node_of(s->program->graph, s->kinked[w].id);
        ad_var argument = { s->program->graph, node->in[0] };
        int count = kinks_of(node, &kinks);
        for (int k = 0; k < count; k++)
            if (add_marks(s, argument, kinks[k], deviation, false, marks, &n))
                return -1;
    }
    if (add_marks(s, s->derivative, 0, deviation, true, marks, &n))
        return -1;
    qsort(marks, (size_t)n, sizeof *marks, ascending);
    int kept = 1;
    for (int k = 1; k < n; k++) {
        if (marks[k].at - marks[kept - 1].at > 1e-12)
            marks[kept++] = marks[k];
        else
            marks[kept - 1] = (mark){ marks[kept - 1].at, marks[kept - 1].zero || marks[k].zero,
                                      marks[kept - 1].kink || marks[k].kink };
    }
    return kept;
}

/* Points and masses of the argument over its deviation. */
typedef struct {
    double deviation, coarse, x[NODES], w[NODES]; /* coarse: how many times longer panels are than usual */
    double *points, *masses;                      /* NULL: they are counted */
    double *ends;                                 /* of each panel */
    size_t n;
} nodes;

static void lay_panel(nodes *l, double low, double high)
{
    const double root = 2.50662827463100050; /* of 2 pi */
    if (l->ends) {
        l->ends[2 * (l->n / NODES)] = low;
        l->ends[2 * (l->n / NODES) + 1] = high;
    }
    for (int i = 0; i < NODES; i++) {
        double at = low + (high - low) * (l->x[i] + 1) / 2;
        if (l->points) {
            l->points[l->n] = at * l->deviation;
            l->masses[l->n] = l->w[i] / 2 * (high - low) * exp(-at * at / 2) / root;
        }
        l->n++;
    }
}

/* From a zero of the derivative, panels that grow. */
static void lay_graded(nodes *l, double zero, double far)
{
    double length = far - zero;
    for (; fabs(length) > finest; length /= 4)
        lay_panel(l, fmin(zero + length / 4, zero + length), fmax(zero + length / 4, zero + length));
    lay_panel(l, fmin(zero, zero + length), fmax(zero, zero + length));
}

/* A panel is as long as the argument's 1, or a deviation where that is less; arguments that are wider than `even`
 * have longer ones far out, where functions keep to powers or come to rest. Where a panel ends is where `panel_of` is
 * a whole number. */
static const double even = 64, near = 32, longer_by = 4; /* a panel from x to x + x/4 */

static double panel_of(const nodes *l, double at)
{
    double x = fabs(at) * l->deviation;
    return copysign((x < near ? x : near + longer_by * log(x / near)) / l->coarse, at);
}

static double end_of(const nodes *l, double panel)
{
    double p = fabs(panel) * l->coarse;
    return copysign((p < near ? p : near * exp((p - near) / longer_by)) / l->deviation, panel);
}

static void lay_nodes(nodes *l, const mark *marks, int n)
{
    double piece = l->coarse / fmax(1, l->deviation);
    bool wide = l->deviation > even;
    l->n = 0;
    for (int k = 0; k + 1 < n; k++) {
        double low = marks[k].at, high = marks[k + 1].at;
        double first = wide ? panel_of(l, low) : 0, last = wide ? panel_of(l, high) : (high - low) / piece;
        int panels = (int)ceil(last - first);
        if (panels < 2 && marks[k].zero && marks[k + 1].zero)
            panels = 2;
        for (int p = 0; p < panels; p++) {
            double from = low + (high - low) * p / panels, to = low + (high - low) * (p + 1) / panels;
            if (wide && p > 0)
                from = end_of(l, first + (last - first) * p / panels);
            if (wide && p + 1 < panels)
                to = end_of(l, first + (last - first) * (p + 1) / panels);
            if (p == 0 && marks[k].zero)
                lay_graded(l, from, to);
            else if (p == panels - 1 && marks[k + 1].zero)
                lay_graded(l, to, from);
            else
                lay_panel(l, from, to);
        }
    }
}

/* Does the derivative grow on, and does it vanish, far beyond what the rule's nodes reach or between them? */
static int find_bounds(const tp_slope *s, double deviation, const mark *marks, int n, tp_law *law)
{
    double points[4] = { -100 * deviation, 100 * deviation, -1e6 * deviation, 1e6 * deviation }, values[4];
    if (tp_slope_evaluate(s, s->derivative, 4, points, values))
        return -1;
    double most = fmax(values[0] * values[0], values[1] * values[1]);
    law->unbounded = !(most <= 10 * (law->n ? law->squares[law->n - 1] : 0)) && most > 0;
    for (int k = 2; k < 4 && law->n; k++)
        law->vanishes = law->vanishes || fabs(values[k]) < 1e-6 * sqrt(law->squares[0]);
    for (int k = 0; k < n; k++)
        law->vanishes = law->vanishes || marks[k].zero;
    return 0;
}

/* The largest d^2 (sign 1) or the least (-1) next to the points' own, by grids that close in on it. */
static int close_in(const tp_slope *s, const nodes *l, int sign, double *best)
{
    enum { POINTS = 65 };
    size_t at = 0;
    for (size_t i = 1; i < l->n; i++)
        if (sign * (l->points[i] - l->points[at]) > 0)
            at = i;
    double low = l->ends[2 * (at / NODES)], high = l->ends[2 * (at / NODES) + 1], length = high - low;
    low = fmax(low - length, -reach);
    high = fmin(high + length, reach);
    for (int round = 0; round < 10; round++) {
        double points[POINTS], values[POINTS];
        int k = 0;
        for (int i = 0; i < POINTS; i++)
            points[i] = l->deviation * (low + (high - low) * i / (POINTS - 1));
        if (tp_slope_evaluate(s, s->derivative, POINTS, points, values))
            return -1;
        for (int i = 1; i < POINTS; i++)
            if (sign * (fabs(values[i]) - fabs(values[k])) > 0)
                k = i;
        if (sign * (values[k] * values[k] - *best) > 0)
            *best = values[k] * values[k];
        double step = (high - low) / (POINTS - 1), middle = low + step * k;
        low = fmax(low, middle - 2 * step);
        high = fmin(high, middle + 2 * step);
    }
    return 0;
}

/* The law's least and most, far out included, where they are no atoms, which are known. */
static int find_ends(const tp_slope *s, const nodes *l, tp_law *law)
{
    double points[2] = { -1e6 * l->deviation, 1e6 * l->deviation }, values[2];
    if (!law->n || law->unbounded)
        return 0;
    if ((!law->atoms[law->n - 1] && close_in(s, l, 1, &law->most)) ||
        (!law->atoms[0] && close_in(s, l, -1, &law->least)) || tp_slope_evaluate(s, s->derivative, 2, points, values))
        return -1;
    for (int k = 0; k < 2; k++) {
        law->most = fmax(law->most, values[k] * values[k]);
        law->least = fmin(law->least, values[k] * values[k]);
    }
    return 0;
}

/* The panels on which d^2 is smooth, above 0, and varies. */
static int fill_panels(tp_law *law, size_t n, const double *squares, const double *ends, ad_error *error)
{
    if (!(law->panels = ad_alloc(n, sizeof *law->panels, "a law", error)))
        return -1;
    for (size_t p = 0; p < n; p++) {
        const double *at = squares + p * NODES;
        double least = at[0], most = at[0];
        for (int i = 1; i < NODES; i++) {
            least = fmin(least, at[i]);
            most = fmax(most, at[i]);
        }
        if (least > 1e-280 && most > least * (1 + 1e-9) && ends[2 * p + 1] - ends[2 * p] > 2 * finest)
            tp_panel_fill(&law->panels[law->n_panels++], ends[2 * p], ends[2 * p + 1], at);
    }
    return 0;
}

/* Of d^2 without a bound, nodes from `reach` on, up to where the law's own density is 1e-297, or d^2 leaves a double's
 * range. */
static int fill_far(const tp_slope *s, double deviation, tp_law *law, double *mean_square)
{
    const double end = 37;
    nodes l = { .deviation = deviation };
    size_t panels = (size_t)ceil((end - reach) * fmax(1, fmin(deviation, even))), n = panels * NODES, kept = panels;
    double *values = ad_alloc(6 * n, sizeof *values, "a law", s->error);
    if (!values)
        return -1;
    double *slopes = values + 2 * n, *masses = values + 4 * n;
    tp_legendre(NODES, l.x, l.w);
    l.points = values;
    l.masses = masses;
    for (int side = -1; side <= 1; side += 2)
        for (size_t p = 0; p < panels; p++) {
            double step = (end - reach) / (double)panels, from = reach + step * (double)p;
            lay_panel(&l, side < 0 ? -from - step : from, side < 0 ? -from : from + step);
        }
    memcpy(slopes, values, 2 * n * sizeof *values);
    int status = tp_slope_evaluate(s, s->function, 2 * n, values, values) ||
                         tp_slope_evaluate(s, s->derivative, 2 * n, slopes, slopes)
                     ? -1
                     : 0;
    for (size_t i = 0; i < 2 * n; i++) {
        slopes[i] *= slopes[i];
        if (!isfinite(slopes[i]) || !isfinite(values[i] * values[i]))
            kept = i % n / NODES < kept ? i % n / NODES : kept;
    }
    law->n_far = kept * NODES;
    law->far_squares = status || !kept ? NULL : ad_alloc(4 * law->n_far, sizeof(double), "a law", s->error);
    law->far_masses = law->far_squares ? law->far_squares + 2 * law->n_far : NULL;
    status = status || (kept && !law->far_squares) ? -1 : 0;
    law->n_far = law->far_squares ? law->n_far : 0;
    for (size_t i = 0; i < 2 * law->n_far; i++) {
        size_t at = i / law->n_far * n + i % law->n_far;
        law->far_squares[i] = slopes[at];
        law->far_masses[i] = masses[at];
        law->derivative += slopes[at] * masses[at];
        *mean_square += values[at] * values[at] * masses[at];
    }
    ad_free(values);
    return status;
}

/* Nodes, and the function and its squared derivative there; values (4, n) of ad_alloc: points, which are lost to the
 * squares, masses, values and ends of panels. */
static int evaluate_nodes(const tp_slope *s, nodes *l, const mark *marks, int n_marks, double **values)
{
    tp_legendre(NODES, l->x, l->w);
    l->points = l->masses = l->ends = NULL;
    lay_nodes(l, marks, n_marks);
    size_t n = l->n;
    if (!(*values = ad_alloc(4 * n, sizeof **values, "a law", s->error)))
        return -1;
    l->points = *values;
    l->masses = *values + n;
    l->ends = *values + 3 * n;
    lay_nodes(l, marks, n_marks);
    if (tp_slope_evaluate(s, s->function, n, l->points, *values + 2 * n) ||
        tp_slope_evaluate(s, s->derivative, n, l->points, l->points))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(l->points[i]))
            return ad_fail(s->error, "spectrum: a derivative is %g", l->points[i]);
        l->points[i] *= l->points[i];
    }
    return 0;
}

enum { INTEGRALS = 3 };
static void integrate(const nodes *l, double *integrals)
{
    const double *values = l->points + 2 * l->n;
    memset(integrals, 0, INTEGRALS * sizeof *integrals);
    for (size_t i = 0; i < l->n; i++) {
        integrals[0] += l->masses[i] * values[i] * values[i];
        integrals[1] += l->masses[i] * l->points[i];
        integrals[2] += l->masses[i] * l->points[i] * l->points[i];
    }
}

/* Nodes whose panels, at twice their length, integrate to the same but for 1e-8: their own error is then a rounding's,
 * as it falls geometrically. Panels are halved until that holds; *values as above. */
static int resolve_nodes(const tp_slope *s, nodes *l, const mark *marks, int n_marks, double **values)
{
    const double most = 1e-8, shortest = 0.125;
    double now[INTEGRALS], before[INTEGRALS];
    *values = NULL;
    for (double length = 2; length >= shortest; length /= 2) {
        bool same = length < 2;
        ad_free(*values);
        l->coarse = length;
        if (evaluate_nodes(s, l, marks, n_marks, values))
            return -1;
        integrate(l, now);
        for (int k = 0; k < INTEGRALS && same; k++)
            same = !isfinite(now[k]) || fabs(now[k] - before[k]) <= most * now[k];
        if (same)
            return 0;
        memcpy(before, now, sizeof now);
    }
    return ad_fail(s->error,
                   "spectrum: a function of an argument as wide as %.2g turns too fast to be integrated, or has kinks "
                   "that it does not name",
                   l->deviation);
}

/* A derivative that is 0 on all of a piece between two marks is; on part of one it is what has left a double's range:
 * next to 0, and the mass of it. */
static double raise_rounded(const nodes *l, const mark *marks, int n_marks)
{
    const double least = 1e-300, sliver = 1e-6; /* next to a mark, which is where it is but for roundings */
    double rounded = 0;
    size_t panels = l->n / NODES, p = 0;
    for (int k = 0; k + 1 < n_marks; k++) {
        size_t first = p;
        bool any = false;
        for (; p < panels && l->ends[2 * p] < marks[k + 1].at - finest / 2; p++)
            for (int i = 0; i < NODES; i++)
                any = any || l->points[p * NODES + (size_t)i] > least;
        for (size_t i = first * NODES; i < p * NODES && any; i++)
            if (!(l->points[i] > least) && l->ends[2 * (i / NODES) + 1] - l->ends[2 * (i / NODES)] > sliver) {
                l->points[i] = least;
                rounded += l->masses[i];
            }
    }
    return rounded;
}

static int fill_law(const tp_slope *s, double deviation, bool ends, tp_law *law, double *mean_square)
{
    mark marks[MOST_MARKS];
    int n_marks = find_marks(s, deviation, marks);
    if (n_marks < 0)
        return -1;
    nodes l = { .deviation = deviation };
    double *values, integrals[INTEGRALS], rounded = 0;
    int status = resolve_nodes(s, &l, marks, n_marks, &values);
    if (!status) {
        integrate(&l, integrals);
        *mean_square += integrals[0];
        rounded = raise_rounded(&l, marks, n_marks);
        status = tp_law_of(law, l.n, l.points, l.masses, s->error) ||
                         fill_panels(law, l.n / NODES, l.points, l.ends, s->error)
                     ? -1
                     : 0;
    }
    law->variance = deviation * deviation;
    law->outer = s->outer;
    law->outer_power = s->outer_power;
    law->rounded = rounded;
    law->vanishes = rounded > 0;
    status = status || find_bounds(s, deviation, marks, n_marks, law) || (ends && find_ends(s, &l, law)) ? -1 : 0;
    ad_free(values);
    return !status && law->unbounded ? fill_far(s, deviation, law, mean_square) : status;
}

/* ---- as a function that gauss/ knows ---- */
static void eval_node(const tp_slope *s, ad_var node, size_t n, const double *x, double *y)
{
    if (tp_slope_evaluate(s, node, n, x, y))
        for (size_t i = 0; i < n; i++)
            y[i] = NAN;
}

static void eval_function(const tp_univariate *u, size_t n, const double *x, double *y)
{
    const tp_slope *s = u->context;
    eval_node(s, s->function, n, x, y);
}

static void eval_derivative(const tp_univariate *u, size_t n, const double *x, double *y)
{
    const tp_slope *s = u->context;
    eval_node(s, s->derivative, n, x, y);
}

int tp_slope_univariates(tp_slope *s, tp_univariate *function, tp_univariate *derivative)
{
    const double widest = 12; /* deviations in which kinks are looked for */
    mark marks[MOST_MARKS];
    int n = find_marks(s, widest, marks);
    if (n < 0)
        return -1;
    for (int k = 0; k < n && s->n_kinks < TP_MOST_KINKED; k++)
        if (marks[k].kink)
            s->kinks[s->n_kinks++] = marks[k].at * widest;
    *function = (tp_univariate){
        .form = TP_NUMERIC, .eval = eval_function, .context = s, .kinks = s->kinks, .n_kinks = s->n_kinks
    };
    *derivative = *function;
    derivative->eval = eval_derivative;
    return 0;
}

int tp_law_of_function(tp_program *program, ad_var v, ad_var argument, double variance, bool ends, tp_law *law,
                       double *mean_square, ad_error *error)
{
    tp_slope s = { .program = program, .error = error };
    *law = (tp_law){ 0 };
    *mean_square = 0;
    if (tp_slope_open(&s, v, argument))
        return -1;
    return fill_law(&s, sqrt(variance), ends, law, mean_square);
}
