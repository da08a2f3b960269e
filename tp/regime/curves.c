/* curves.c: coordinatewise functions of one vector, evaluated on a grid that is even in log |u|: their root mean
 * squares over a Gaussian of any deviation s, E f(x)^2 = int f(u)^2 e^(-u^2 / 2 s^2) du / (sqrt(2 pi) s) with
 * du = u dt, and where s is beyond the grid the power of s that f has at its end. */
#include "tp/regime/curves.h"

#include "autodiff/plan/plan.h"

#include <math.h>
#include <string.h>

enum { HALF = TP_CURVE_HALF, SIDES = TP_CURVE_SIDES, PER_UNIT = 8 };
static const double first = -16, reach = 9;         /* of t; of log s within which the grid holds what s asks for */
static const double rounding = 1e-12;               /* of a mean, beside that of |f|: it is none */
static const double negligible = 1e-6, step = 1e-4; /* the step of |u|, at most of 1, between points and those beside */

static double point(int k)
{
    double u = exp(first + (double)(k % HALF) / PER_UNIT);
    u += k < SIDES ? 0 : step * fmin(u, 1);
    return k % SIDES < HALF ? u : -u;
}

static double log_or_none(double x)
{
    return x > 0 ? log(x) : -INFINITY;
}

/* ---- root mean squares ---- */
/* The log of the larger of |f(s)|, |f(-s)|, where they are there. */
static double at_point(const double *values, double log_s)
{
    double place = (log_s - first) * PER_UNIT;
    int k = (int)fmin(fmax(floor(place), 0), HALF - 2);
    double ends[2];
    for (int i = 0; i < 2; i++) {
        double a = fabs(values[k + i]), b = fabs(values[HALF + k + i]);
        ends[i] = log_or_none(isnan(a) ? b : isnan(b) ? a : fmax(a, b));
    }
    return isfinite(ends[0]) && isfinite(ends[1]) ? ends[0] + (place - k) * (ends[1] - ends[0]) : ends[1];
}

/* Which mean of f over a Gaussian: log |E f|, log of the root of E (f - base)^2, of E f^4, of E (f - E f)^2. */
typedef enum { PLAIN, SQUARES, FOURTHS, DEVIATION } mean_kind;

/* Sums over the grid of a kind's terms, of these without their signs, and of weights. */
typedef struct {
    double terms, sizes, weights;
} totals;

static totals total(const tp_curve *c, const double *values, double log_s, double base, mean_kind kind)
{
    totals t = { 0 };
    double s = exp(log_s);
    for (int k = 0; k < SIDES; k++) {
        double u = c->points[k], weight = fabs(u) / s * exp(-u * u / (2 * s * s)), y = values[k] - base;
        if (!(weight > 1e-300) || isnan(y))
            continue;
        double term = weight * (kind == PLAIN ? y : kind == SQUARES ? y * y : y * y * y * y);
        t.terms += term;
        t.sizes += fabs(term);
        t.weights += weight;
    }
    return t;
}

static double mean_log(const tp_curve *c, const double *values, double log_s, double base, mean_kind kind)
{
    totals t = total(c, values, log_s, base, kind);
    if (fabs(t.terms) <= rounding * t.sizes)
        return -INFINITY;
    return log_or_none(fabs(t.terms / t.weights)) / (kind == PLAIN ? 1 : 2);
}

static double within(const tp_curve *curve, const double *values, double log_s, double base, mean_kind kind)
{
    if (curve->at_points)
        return at_point(values, log_s);
    totals t = kind == DEVIATION ? total(curve, values, log_s, 0, PLAIN) : (totals){ 0 };
    return kind == DEVIATION ? mean_log(curve, values, log_s, t.terms / t.weights, SQUARES)
                             : mean_log(curve, values, log_s, base, kind);
}

/* Beyond the grid as a power of s, in eighths. */
static double evaluate(const tp_curve *curve, const double *values, double log_s, double base, mean_kind kind)
{
    if (fabs(log_s) <= reach)
        return within(curve, values, log_s, base, kind);
    double side = log_s > 0 ? 1 : -1, end = within(curve, values, side * reach, base, kind);
    double before = within(curve, values, side * (reach - 1), base, kind);
    if (!isfinite(end) || !isfinite(before))
        return end;
    double power = round(8 * side * (end - before)) / 8;
    return fabs(power) > 0 ? end + power * (log_s - side * reach) : end;
}

static double at_zero(const tp_curve *curve)
{
    double f = (curve->values[0] + curve->values[HALF]) / 2;
    return curve->at_points || !isfinite(f) ? 0 : f;
}

double tp_curve_size(const tp_curve *curve, double log_x)
{
    return evaluate(curve, curve->values, log_x, 0, SQUARES);
}

double tp_curve_mean(const tp_curve *curve, double log_x)
{
    return evaluate(curve, curve->values, log_x, 0, PLAIN);
}

double tp_curve_slope(const tp_curve *curve, double log_x)
{
    return evaluate(curve, curve->slopes, log_x, 0, SQUARES);
}

double tp_curve_distance(const tp_curve *curve, double log_x)
{
    return evaluate(curve, curve->values, log_x, at_zero(curve), SQUARES);
}

double tp_curve_rest(const tp_curve *curve, double log_x, double c)
{
    return evaluate(curve, curve->values, log_x, c, SQUARES);
}

double tp_curve_deviation(const tp_curve *curve, double log_x)
{
    return evaluate(curve, curve->values, log_x, 0, DEVIATION);
}

double tp_curve_bend(const tp_curve *curve, double log_x)
{
    double values[SIDES];
    for (int k = 0; k < SIDES; k++) {
        int up = (k + 1) % HALF ? k + 1 : k, down = k % HALF ? k - 1 : k;
        values[k] = (curve->slopes[up] - curve->slopes[down]) / (curve->points[up] - curve->points[down]);
    }
    return evaluate(curve, values, log_x, 0, SQUARES);
}

double tp_curve_rarity(const tp_curve *curve, double log_x)
{
    const double *y = curve->narrow_slope ? curve->slopes : curve->values;
    return fmax(2 * evaluate(curve, y, log_x, 0, FOURTHS) - 4 * evaluate(curve, y, log_x, 0, SQUARES), 0);
}

/* ---- making ---- */
static bool is_narrow(const double *points, const double *values)
{
    double most = 0, far = 0;
    for (int k = 0; k < SIDES; k++) {
        double y = fabs(values[k]);
        if (!isfinite(y))
            return false;
        most = fmax(most, y);
        far = fabs(points[k]) > 1e3 ? fmax(far, y) : far;
    }
    return far < negligible * most;
}

/* What jumps at 0 has no slope there. */
static void differentiate(tp_curve *c)
{
    for (int k = 0; k < SIDES; k++)
        c->slopes[k] = (c->values[SIDES + k] - c->values[k]) / (c->points[SIDES + k] - c->points[k]);
}

/* Does it differ by more than a third of its range from one point to the next, or on both sides of 0? */
static bool breaks(const double *points, const double *values)
{
    double most = fmax(values[0], values[HALF]), least = fmin(values[0], values[HALF]), step_most = most - least;
    for (int k = 0; k + 1 < SIDES; k++) {
        most = fmax(most, values[k]);
        least = fmin(least, values[k]);
        if (k + 1 != HALF && fabs(points[k]) < 1e3)
            step_most = fmax(step_most, fabs(values[k + 1] - values[k]));
    }
    return isfinite(most - least) && most > least && step_most > (most - least) / 3;
}

/* Of arguments of order one, is it nowhere near 0? */
static bool is_positive(const tp_curve *c)
{
    double most = 0, least = INFINITY;
    for (int k = 0; k < SIDES; k++)
        if (fabs(c->points[k]) < 2 && !isnan(c->values[k])) {
            most = fmax(most, c->values[k]);
            least = fmin(least, c->values[k]);
        }
    return least > (c->at_points ? 0 : 1e-3 * most);
}

static void finish(tp_curve *c)
{
    for (int k = 0; k < SIDES; k++)
        c->at_points |= isnan(c->values[k]);
    c->at_points |=
        fabs(c->values[0]) > 1 / negligible || fabs(c->values[0]) > 1e3 * fabs(c->values[(size_t)8 * PER_UNIT]);
    differentiate(c);
    c->narrow = is_narrow(c->points, c->values);
    c->narrow_slope = is_narrow(c->points, c->slopes);
    c->jumps = breaks(c->points, c->values);
    c->bends = breaks(c->points, c->slopes);
    c->positive = is_positive(c);
}

static bool is_linear(ad_op op)
{
    return op == AD_IDENTITY || op == AD_NEG || op == AD_SCALE || op == AD_EXPAND || op == AD_TRANSPOSE;
}

static bool joins(ad_op op)
{
    return op == AD_ADD || op == AD_SUB || op == AD_MUL || op == AD_DIV;
}

/* What is made so far. `linear`: the node is its root times a constant. */
typedef struct {
    const tp_program *program;
    tp_curves *made;
    bool *linear;
    double *factors; /* a linear node's, or a constant's value */
    double *points;
} maker;

static bool carries(const maker *m, const ad_node *node)
{
    bool grows = node->op == AD_SCALE && tp_is_width(m->program->graph, node->axis) && fabs(node->power) > 0;
    return is_linear(node->op) && !grows;
}

/* The values of a node on the grid of its root, or, of a number without a width, of itself. */
static void values_of(const maker *m, int id, double *values)
{
    const tp_curve *curve = m->program->widths[id] > 0 ? m->made->curve[id] : NULL;
    for (int k = 0; k < TP_CURVE_POINTS; k++)
        values[k] = curve ? curve->values[k] : m->made->roots[id] < 0 ? m->factors[id] : m->factors[id] * m->points[k];
}

/* The one root of what a node reads: -1 where all is constant, -2 where there are two. */
static int common_root(const maker *m, const ad_node *node)
{
    int root = -1;
    for (int k = 0; k < node->n_in; k++) {
        int own = m->made->roots[node->in[k]];
        if (own >= 0 && root >= 0 && own != root)
            return -2;
        root = own >= 0 ? own : root;
    }
    return root;
}

/* Whether a sum or product of functions of the root is one that has a curve: sums of a vector and a constant have a
 * size of their own, which only the width decides. */
static bool has_curve(const maker *m, const ad_node *node)
{
    bool all_linear = true, constant = false;
    for (int k = 0; k < node->n_in; k++) {
        constant |= m->made->roots[node->in[k]] < 0;
        all_linear &= m->made->roots[node->in[k]] < 0 || m->linear[node->in[k]];
    }
    return !((node->op == AD_ADD || node->op == AD_SUB) && constant && all_linear);
}

static int make_curve(const maker *m, int id, ad_arena *arena, ad_error *error)
{
    const ad_node *node = ad_node_of(m->program->graph, id);
    double values[2][TP_CURVE_POINTS];
    tp_curve *curve = ad_arena_alloc(arena, 1, sizeof *curve);
    if (!curve)
        return ad_fail(error, "regime: out of memory");
    for (int k = 0; k < node->n_in && k < 2; k++)
        values_of(m, node->in[k], values[k]);
    if (node->op == AD_CUSTOM)
        node->function->derivatives[node->order](TP_CURVE_POINTS, values[0], curve->values);
    else if (is_linear(node->op))
        for (int k = 0; k < TP_CURVE_POINTS; k++)
            curve->values[k] = tp_linear_factor(m->program->graph, node) * values[0][k];
    else
        ad_loops_get(AD_DOUBLE)->op[node->op](TP_CURVE_POINTS, curve->values, values[0], values[1], node->c);
    curve->points = m->points;
    finish(curve);
    m->made->curve[id] = curve;
    return 0;
}

static int visit(const maker *m, int id, ad_arena *arena, ad_error *error)
{
    const ad_node *node = ad_node_of(m->program->graph, id);
    int *roots = m->made->roots;
    bool vector = m->program->widths[id] > 0;
    roots[id] = id;
    m->linear[id] = true;
    m->factors[id] = 1;
    if (node->op == AD_CONSTANT) {
        roots[id] = -1;
        m->factors[id] = node->c;
    } else if (carries(m, node) && (roots[node->in[0]] < 0 || vector)) {
        bool curved = m->made->curve[node->in[0]] && m->program->widths[node->in[0]] > 0;
        roots[id] = roots[node->in[0]];
        m->linear[id] = !curved;
        m->factors[id] = tp_linear_factor(m->program->graph, node) * m->factors[node->in[0]];
        return curved ? make_curve(m, id, arena, error) : 0;
    } else if (ad_is_unary(node->op) || (vector && joins(node->op))) {
        int root = vector ? common_root(m, node) : node->in[0];
        if (root == -1 || root == -2 || (joins(node->op) && !has_curve(m, node)))
            return 0;
        roots[id] = vector ? root : id;
        m->linear[id] = false;
        return make_curve(m, id, arena, error);
    }
    return 0;
}

int tp_curve_argument(const tp_program *p, const tp_curves *curves, int id)
{
    return curves->roots[id] == id ? ad_node_of(p->graph, id)->in[0] : curves->roots[id];
}

int tp_curves_make(const tp_program *p, ad_arena *arena, tp_curves *curves, ad_error *error)
{
    size_t n = (size_t)p->n_nodes + 1;
    maker m = { .program = p, .made = curves, .linear = ad_arena_alloc(arena, n, sizeof *m.linear) };
    m.factors = ad_arena_alloc(arena, n, sizeof *m.factors);
    m.points = ad_arena_alloc(arena, TP_CURVE_POINTS, sizeof *m.points);
    curves->roots = ad_arena_alloc(arena, n, sizeof *curves->roots);
    curves->curve = ad_arena_alloc(arena, n, sizeof *curves->curve);
    if (!m.linear || !m.factors || !m.points || !curves->roots || !curves->curve)
        return ad_fail(error, "regime: out of memory");
    for (int k = 0; k < TP_CURVE_POINTS; k++)
        m.points[k] = point(k);
    for (int id = 0; id < p->n_nodes; id++)
        if (p->lives[id] && visit(&m, id, arena, error))
            return -1;
    return 0;
}
