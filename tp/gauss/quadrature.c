/* quadrature.c: E f(a) g(b) of one pair by quadrature. With a = sqrt(q11) u and correlation c = cos, s = sin:
 *
 *   smooth   a = sqrt(q11) (alpha u + beta v), b = sqrt(q22) (alpha u - beta v), alpha, beta = sqrt((1 +- c) / 2):
 *   product  trapezoid rule on [-L, L]^2, weights e^{-(u^2 + v^2) / 2}. Its error falls like the Fourier transform of
 *            the integrand at 2 pi / h, so shortening h and widening L until the value stands tells the error.
 *   kinked   a = sqrt(q11) u, b = sqrt(q22) (c u + s v): tanh-sinh rule over the parts of v between g's kinks, then
 *   over     the parts of u between f's kinks and the points where a kink of g crosses v = 0. The rule crowds towards
 *            the ends of every part, which resolves layers of any width there.
 *
 * At moderate variances Gauss-Legendre's rule is tried first in panels of these parts, where functions without a
 * singularity are analytic, with layers of width s around the crossings. It is taken where two
 * of its rules agree and a narrower range does not differ. */
#include "autodiff/plan/plan.h"
#include "tp/gauss/gauss.h"

#include <math.h>
#include <string.h>

enum { MOST_NODES = 8192, ROW = 256, MOST_KINKS = 64, COARSE = 3, FINE = 7, MOST_REACH = 7, MOST_PANELS = 32 };
enum { MOST_CUTS = MOST_KINKS + TP_MOST_PIECES };
enum { MOST_RULE = 2 * MOST_REACH * 128 + 1, MOST_ORDER = 40 };

static const double start_length = 8.6, root_2pi = 2.50662827463100050242, finest = 2e-14;
/* A step by which the next one is shorter: by no ratio of whole numbers, for a function that waves too fast for either
 * of two such steps may look the same to both. */
static const double golden = 0.61803398874989485;
/* Beyond this variance a smooth function varies in a thin layer around 0 and is cut there as at a kink. */
static const double large = 100;
/* A value that the last refinement still moves by this part of E |f g| does not converge: of the powers of |x|, -0.9
 * moves by 2e-5 under the tanh-sinh rule, -0.95 by 6e-4 and -1 by 9e-3. */
static const double diverges = 1e-3;

typedef struct {
    const tp_univariate *f, *g;
    double kinks1[MOST_CUTS + 3], kinks2[MOST_CUTS + 3]; /* and 0, where large variances crowd the structure */
    int n_kinks1, n_kinks2;
    double root1, root2; /* sqrt q11, sqrt q22 */
    double c, s, alpha, beta;
    double stands; /* a value does that moves by no more, relative to E |f g| */
    bool line;     /* a and b are functions of u alone */
    double reach;  /* of the tanh-sinh rule, for layers as thin as these deviations make them */
    size_t work;   /* evaluations of f and g so far */
    ad_error *error;
    bool failed;
} problem;

/* An estimate, and the same with |f g| in place of f g, to measure differences by. */
typedef struct {
    double value, size;
} estimate;

static void check(problem *p, const char *which, size_t n, const double *x, const double *y)
{
    for (size_t i = 0; i < n && !p->failed; i++)
        if (!isfinite(y[i])) {
            ad_fail(p->error,
                    isnan(y[i]) ? "expectation: the %s function is not a number at x = %.17g: not finite"
                                : "expectation: the %s function is not finite at x = %.17g: it has a pole there, or "
                                  "leaves the range of a double (1.8e308)",
                    which, x[i]);
            p->failed = true;
        }
}

static void add(const tp_univariate *f, problem *p, const char *which, size_t n, const double *x, double *y)
{
    p->work += n * (1 + (size_t)f->steps / 16);
    if (p->work > TP_MOST_WORK) {
        ad_fail(p->error,
                "an expectation of two functions by quadrature, which takes more than %d evaluations of them at "
                "q11 = %g, q22 = %g, c = %g",
                TP_MOST_WORK, p->root1 * p->root1, p->root2 * p->root2, p->c);
        p->failed = true;
        memset(y, 0, n * sizeof *y);
        return;
    }
    tp_evaluate(f, n, x, y);
    check(p, which, n, x, y);
}

static void normal_weights(size_t n, const double *x, double *w)
{
    for (size_t i = 0; i < n; i++)
        w[i] = -0.5 * x[i] * x[i];
    ad_loops_get(AD_DOUBLE)->op[AD_EXP](n, w, w, w, 0);
}

/* ---- smooth functions ---- */
static estimate trapezoid(problem *p, double h, double length)
{
    size_t side = (size_t)ceil(length / h), nodes = 2 * side + 1, rows = p->line ? 1 : nodes;
    double a[ROW], b[ROW], v[ROW], w[ROW], fa[ROW], gb[ROW];
    estimate sum = { 0, 0 };
    for (size_t i = 0; i < rows && !p->failed; i++) {
        double u = p->line ? 0 : ((double)i - (double)side) * h, row = 0, size = 0;
        for (size_t j = 0; j < nodes && !p->failed; j += ROW) {
            size_t n = nodes - j < ROW ? nodes - j : ROW;
            for (size_t k = 0; k < n; k++) {
                v[k] = ((double)(j + k) - (double)side) * h;
                a[k] = p->root1 * (p->line ? v[k] : p->alpha * u + p->beta * v[k]);
                b[k] = p->root2 * (p->line ? p->c * v[k] : p->alpha * u - p->beta * v[k]);
            }
            normal_weights(n, v, w);
            add(p->f, p, "first", n, a, fa);
            add(p->g, p, "second", n, b, gb);
            for (size_t k = 0; k < n; k++) {
                double term = w[k] * fa[k] * gb[k];
                row += term;
                size += fabs(term);
            }
        }
        double weight = h / root_2pi * (p->line ? 1 : exp(-u * u / 2) * h / root_2pi);
        sum.value += weight * row;
        sum.size += weight * size;
    }
    return sum;
}

static estimate smooth(problem *p, double *difference)
{
    double h = 0.25 / sqrt(fmax(fmax(p->root1 * p->root1, p->root2 * p->root2), 1)), length = start_length;
    const double most = p->line ? 1e6 : MOST_NODES;
    h = fmax(h, 8 * length / most);
    estimate now = trapezoid(p, h, length), best = now;
    while (!p->failed) {
        estimate finer = trapezoid(p, h * golden, length), wider = trapezoid(p, h, 1.5 * length);
        double by_step = fabs(finer.value - now.value), by_length = fabs(wider.value - now.value);
        double enough = p->stands * fmax(finer.size, wider.size);
        best = finer;
        *difference = by_step + by_length;
        bool halve = by_step > enough, widen = by_length > enough;
        /* past 38 the weights underflow: a value that still moves does not converge */
        if ((!halve && !widen) || (widen && length > 38))
            break;
        double next_h = halve ? h * golden : h, next_length = widen ? 1.5 * length : length;
        if (4 * next_length / next_h > most)
            break;
        now = halve && !widen ? finer : widen && !halve ? wider : trapezoid(p, next_h, next_length);
        h = next_h;
        length = next_length;
    }
    return best;
}

/* ---- functions with kinks ---- */
/* A rule on [-1, 1]: distances from the nearer end, and weights; nodes before `middle` are nearer to -1. panel: parts
 * that are longer are halved until they are not, and layers are parts of their own; 0: the rule takes parts as they
 * are. shorter: of fewer nodes, for parts that are no longer than its panel; NULL. */
typedef struct rule {
    size_t nodes, middle;
    const struct rule *shorter;
    double panel, distance[MOST_RULE], weight[MOST_RULE];
} rule;

static void fill_legendre(rule *r, size_t nodes, double panel)
{
    double x[MOST_ORDER];
    tp_legendre(nodes, x, r->weight);
    r->shorter = NULL;
    r->panel = panel;
    r->nodes = nodes;
    r->middle = nodes / 2;
    for (size_t i = 0; i < nodes; i++)
        r->distance[i] = 1 - fabs(x[i]);
}

/* The rule for this part. */
static const rule *rule_for(const rule *r, double length)
{
    while (r->shorter && length <= r->shorter->panel)
        r = r->shorter;
    return r;
}

/* Rules for parts of any length up to a panel: of a function that the first one resolves there, an analytic one, the
 * others resolve their shorter parts as well; where it has pieces all parts have the first. */
static void fill_panels(rule r[3], size_t nodes, double panel, bool alike)
{
    fill_legendre(&r[0], nodes, panel);
    if (alike)
        return;
    fill_legendre(&r[1], nodes * 2 / 3, panel / 4);
    fill_legendre(&r[2], nodes * 2 / 5, panel / 16);
    r[0].shorter = &r[1];
    r[1].shorter = &r[2];
}

/* The tanh-sinh rule up to t = reach: the nearest node to an end is 2 e^(-pi sinh t) from it. */
static void fill_rule(rule *r, int level, double reach)
{
    const double pi = 3.14159265358979323846;
    int side = (int)ceil(reach * ldexp(1, level));
    double h = ldexp(1, -level);
    r->shorter = NULL;
    r->panel = 0;
    r->nodes = 2 * (size_t)side + 1;
    r->middle = (size_t)side;
    for (int i = 0; i <= side; i++) {
        double t = (side - i) * h, e = exp(-pi * sinh(t)); /* 1 - tanh(pi / 2 sinh t) = 2 e / (1 + e) */
        double distance = 2 * e / (1 + e), weight = h * pi / 2 * cosh(t) * 4 * e / ((1 + e) * (1 + e));
        size_t mirror = (size_t)(2 * side - i);
        r->distance[i] = r->distance[mirror] = distance;
        r->weight[i] = r->weight[mirror] = weight;
    }
}

/* Where a variable is cut: its value there, and the kink of the function at that point if it is one. */
typedef struct {
    double at, kink;
    bool is_kink;
} cut;

static size_t add_cut(cut *cuts, size_t n, double length, cut c)
{
    if (!(fabs(c.at) < length))
        return n;
    size_t i = n;
    for (; i > 0 && cuts[i - 1].at > c.at; i--)
        cuts[i] = cuts[i - 1];
    cuts[i] = c;
    return n + 1;
}

static size_t add_ends(cut *cuts, size_t n, double length)
{
    for (size_t i = n; i > 0; i--)
        cuts[i] = cuts[i - 1];
    cuts[0] = (cut){ .at = -length };
    cuts[n + 1] = (cut){ .at = length };
    return n + 2;
}

/* Parts that are too long for the rule in equal panels; how many cuts there are then. */
static size_t add_panels(const rule *r, cut *cuts, size_t n)
{
    for (size_t k = 0; k + 1 < n && r->panel > 0; k++) {
        double left = cuts[k].at, length = cuts[k + 1].at - left;
        size_t more = (size_t)ceil(length / r->panel);
        more = more > 1 ? more - 1 : 0;
        memmove(&cuts[k + 1 + more], &cuts[k + 1], (n - k - 1) * sizeof *cuts);
        for (size_t i = 1; i <= more; i++)
            cuts[k + i] = (cut){ .at = left + length * (double)i / (double)(more + 1) };
        n += more;
        k += more;
    }
    return n;
}

/* So many of the rule's nodes from the first on, between two cuts: the variable x and slope * x + shift, measured from
 * the kink where there is one, so that a node stays on its side of it. Weights include the Gaussian. */
static void place(const rule *r, size_t first, size_t count, const cut *left, const cut *right, double slope,
                  double shift, double *x, double *y, double *w)
{
    double half = (right->at - left->at) / 2;
    for (size_t i = 0; i < count; i++) {
        const cut *end = first + i < r->middle ? left : right;
        double offset = (end == left ? 1 : -1) * half * r->distance[first + i];
        x[i] = end->at + offset;
        y[i] = end->is_kink ? end->kink + slope * offset : slope * x[i] + shift;
    }
    normal_weights(count, x, w);
    for (size_t i = 0; i < count; i++)
        w[i] *= r->weight[first + i] * half / root_2pi;
}

/* How many nodes from the first on are taken together. */
static size_t taken(const rule *r, size_t first)
{
    return r->nodes - first < ROW ? r->nodes - first : ROW;
}

/* E over v of g(root2 (c u + s v)). */
static estimate inner(problem *p, const rule *r, double length, double u)
{
    cut cuts[MOST_CUTS + 5 + MOST_PANELS];
    double v[ROW], b[ROW], w[ROW], gb[ROW];
    double slope = p->root2 * p->s, shift = p->root2 * p->c * u;
    estimate sum = { 0, 0 };
    size_t n = 0;
    for (int k = 0; k < p->n_kinks2; k++)
        n = add_cut(cuts, n, length, (cut){ (p->kinks2[k] - shift) / slope, p->kinks2[k], true });
    n = add_panels(r, cuts, add_ends(cuts, n, length));
    for (size_t k = 0; k + 1 < n && !p->failed; k++) {
        const rule *own = rule_for(r, cuts[k + 1].at - cuts[k].at);
        for (size_t first = 0, count; first < own->nodes && !p->failed; first += count) {
            count = taken(own, first);
            place(own, first, count, &cuts[k], &cuts[k + 1], slope, shift, v, b, w);
            add(p->g, p, "second", count, b, gb);
            for (size_t i = 0; i < count; i++) {
                sum.value += w[i] * gb[i];
                sum.size += fabs(w[i] * gb[i]);
            }
        }
    }
    return sum;
}

/* Over one part by its own rule, of so many nodes from the first on. */
static void add_outer(problem *p, const rule *r, const rule *own, size_t first, size_t count, const cut *part,
                      double length, estimate *sum)
{
    double u[ROW], a[ROW], b[ROW], w[ROW], fa[ROW], gb[ROW], slope = p->root2 * p->c;
    place(own, first, count, &part[0], &part[1], p->root1, 0, u, a, w);
    add(p->f, p, "first", count, a, fa);
    for (size_t i = 0; i < count && p->line; i++)
        b[i] = slope * u[i];
    if (p->line)
        add(p->g, p, "second", count, b, gb);
    for (size_t i = 0; i < count && !p->failed; i++) {
        double weight = w[i] * fa[i];
        if (p->line) {
            sum->value += weight * gb[i];
            sum->size += fabs(weight * gb[i]);
        } else if (fabs(weight) > 0) {
            estimate e = inner(p, r, length, u[i]);
            sum->value += weight * e.value;
            sum->size += fabs(weight) * e.size;
        }
    }
}

static estimate nested(problem *p, const rule *r, double length)
{
    cut cuts[4 * MOST_CUTS + 14 + MOST_PANELS];
    estimate sum = { 0, 0 };
    size_t n = 0;
    if (p->root1 > 0)
        for (int k = 0; k < p->n_kinks1; k++)
            n = add_cut(cuts, n, length, (cut){ p->kinks1[k] / p->root1, p->kinks1[k], true });
    double slope = p->root2 * p->c;
    if (fabs(slope) > 0)
        for (int k = 0; k < p->n_kinks2; k++) {
            double at = p->kinks2[k] / slope, layer = r->panel > 0 ? start_length * p->s / fabs(p->c) : 0;
            for (int side = -1; side <= 1; side++)
                if (side == 0 || (layer > 0 && layer < 2))
                    n = add_cut(cuts, n, length, (cut){ .at = at + side * layer });
        }
    n = add_panels(r, cuts, add_ends(cuts, n, length));
    for (size_t k = 0; k + 1 < n && !p->failed; k++) {
        if (!(cuts[k + 1].at > cuts[k].at))
            continue;
        const rule *own = rule_for(r, cuts[k + 1].at - cuts[k].at);
        for (size_t first = 0, count; first < own->nodes && !p->failed; first += count) {
            count = taken(own, first);
            add_outer(p, r, own, first, count, &cuts[k], length, &sum);
        }
    }
    return sum;
}

/* By panels: true where two rules agree, and the finer one over a narrower range. */
static bool panelled(problem *p, estimate *found, double *difference)
{
    static const struct {
        size_t order;
        double panel;
    } rules[] = { { 20, 4 }, { 28, 4 }, { MOST_ORDER, 4 }, { 28, 2 }, { MOST_ORDER, 2 }, { 28, 1 }, { MOST_ORDER, 1 } };
    double wide = 1.5 * start_length;
    bool alike = p->f->n_pieces + p->g->n_pieces > 0;
    rule r[3];
    if (fmax(p->root1, p->root2) > sqrt(large))
        return false;
    fill_panels(r, rules[0].order, rules[0].panel, alike);
    estimate now = nested(p, r, start_length);
    for (size_t k = 1; k < sizeof rules / sizeof *rules && !p->failed; k++) {
        fill_panels(r, rules[k].order, rules[k].panel, alike);
        *found = nested(p, r, wide);
        *difference = fabs(found->value - now.value);
        if (*difference > p->stands * found->size) {
            now = *found;
            continue;
        }
        if (k > 1) /* the rule before was over the wider range, too */
            *difference += fabs(found->value - nested(p, r, start_length).value);
        return *difference <= 2 * p->stands * found->size;
    }
    return false;
}

static estimate kinked(problem *p, double *difference)
{
    double length = start_length;
    rule r;
    estimate now = { 0, 0 };
    while (!p->failed) {
        fill_rule(&r, COARSE, p->reach);
        now = nested(p, &r, length);
        double by_step = INFINITY;
        int level = COARSE;
        while (!p->failed && level < FINE && by_step > p->stands * now.size) {
            fill_rule(&r, ++level, p->reach);
            estimate finer = nested(p, &r, length);
            by_step = fabs(finer.value - now.value);
            now = finer;
        }
        estimate wider = nested(p, &r, 1.5 * length);
        double by_length = fabs(wider.value - now.value);
        *difference = by_step + by_length;
        if (by_length <= fmax(p->stands * wider.size, by_step) || length > 38)
            break;
        length *= 1.5;
    }
    return now;
}

/* The kinks, the ends of pieces and 0, and where the layer around 0 is so thin that no rule over the whole would
 * resolve it, its edges; how many. */
static int copy_kinks(const tp_univariate *f, double root, double *kinks)
{
    const double thin = 1e5, edge = 40; /* tanh and its like have all but settled there */
    bool zero = false;
    int n = 0;
    for (; n < f->n_kinks; n++) {
        kinks[n] = f->kinks[n];
        zero = zero || !(fabs(kinks[n]) > 0);
    }
    for (int k = 0; k < f->n_pieces; k++)
        kinks[n++] = f->pieces[k];
    if (!zero)
        kinks[n++] = 0;
    if (root > thin) {
        kinks[n++] = -edge;
        kinks[n++] = edge;
    }
    return n;
}

static int begin(problem *p, const tp_univariate *f, const tp_univariate *g, double q11, double q22, ad_error *error)
{
    const double pi = 3.14159265358979323846;
    if (!f->eval || !g->eval)
        return ad_fail(error, "expectation: the %s function cannot be evaluated", f->eval ? "second" : "first");
    if (f->n_kinks > MOST_KINKS || g->n_kinks > MOST_KINKS)
        return ad_fail(error, "expectation: a function with %d kinks; at most %d are integrated",
                       f->n_kinks > g->n_kinks ? f->n_kinks : g->n_kinks, MOST_KINKS);
    *p = (problem){ .f = f, .g = g, .root1 = sqrt(q11), .root2 = sqrt(q22), .stands = finest, .error = error };
    p->n_kinks1 = copy_kinks(f, p->root1, p->kinks1);
    p->n_kinks2 = copy_kinks(g, p->root2, p->kinks2);
    p->reach = fmin(MOST_REACH, fmax(4, asinh(log(fmax(p->root1, p->root2) * 1e20) / pi)));
    return 0;
}

/* At correlation c and sine s. */
static int integrate(problem *p, double c, double s, double *value, double *difference, double *size)
{
    double q11 = p->root1 * p->root1, q22 = p->root2 * p->root2, moved = 0;
    bool smooths = p->f->n_kinks + p->g->n_kinks == 0 && fmax(q11, q22) <= large;
    p->line = !(s > 0);
    p->s = s;
    p->c = p->line ? (c < 0 ? -1 : 1) : c;
    /* 1 - c and 1 + c without cancellation: their product is s^2 */
    double plus = p->c >= 0 ? 1 + p->c : s * s / (1 - p->c), minus = p->c >= 0 ? s * s / (1 + p->c) : 1 - p->c;
    p->alpha = sqrt(plus / 2);
    p->beta = sqrt(minus / 2);
    estimate e = { 0, 0 };
    if (!panelled(p, &e, &moved))
        e = smooths ? smooth(p, &moved) : kinked(p, &moved);
    if (p->failed)
        return p->work > TP_MOST_WORK ? TP_TOO_LONG : -1;
    if (!isfinite(e.value))
        return ad_fail(p->error, "expectation: the integral overflows at q11 = %g, q22 = %g, c = %g", q11, q22, p->c);
    if (moved > diverges * e.size) {
        ad_fail(p->error,
                "expectation: the integral does not converge at q11 = %g, q22 = %g, c = %g: it is infinite, or a "
                "function has kinks that it does not name",
                q11, q22, p->c);
        return TP_DIVERGES;
    }
    if (value)
        *value = e.value;
    if (difference)
        *difference = moved;
    if (size)
        *size = e.size;
    return 0;
}

int tp_quadrature_sized(const tp_univariate *f, const tp_univariate *g, double q11, double q22, double q12,
                        double *value, double *difference, double *size, size_t *work, ad_error *error)
{
    int k1 = 0, k2 = 0; /* both variances scaled to order one: no product over- or underflows */
    double x = q11 > 0 ? tp_order_one(q11, &k1) : q11, y = q22 > 0 ? tp_order_one(q22, &k2) : q22;
    double z = ldexp(q12, -(k1 + k2) / 2), product = x * y, square = z * z;
    double det = (product - square) + (fma(x, y, -product) - fma(z, z, -square)), d = sqrt(product);
    problem p;
    if (work)
        *work = 0;
    if (!(q11 >= 0 && q22 >= 0 && det >= -1e-6 * product && isfinite(q11) && isfinite(q22)))
        return ad_fail(error, "expectation: q11 = %g, q22 = %g, q12 = %g is no covariance", q11, q22, q12);
    if (begin(&p, f, g, q11, q22, error))
        return -1;
    int status = integrate(&p, d > 0 ? fmax(-1, fmin(1, z / d)) : 1, det > 0 && d > 0 ? sqrt(det) / d : 0, value,
                           difference, size);
    if (work)
        *work = p.work;
    return status;
}

size_t tp_most_work(size_t entries)
{
    return 16 * (size_t)TP_MOST_WORK + entries * TP_MOST_WORK / 32;
}

int tp_too_much_work(size_t most, ad_error *error)
{
    ad_fail(error,
            "a kernel whose expectations by quadrature take more than %zu evaluations of functions, as those with many "
            "kinks or at large variances do",
            most);
    return TP_TOO_LONG;
}

int tp_quadrature_near(const tp_univariate *f, const tp_univariate *g, double q11, double q22, int sign, double gap,
                       double *value, double *difference, double *size, ad_error *error)
{
    problem p;
    if (begin(&p, f, g, q11, q22, error))
        return -1;
    return integrate(&p, sign * (1 - gap), sqrt(gap * (2 - gap)), value, difference, size);
}

int tp_quadrature_rough(const tp_univariate *f, double q, double gap, double tolerance, double *value,
                        double *difference, ad_error *error)
{
    problem p;
    if (begin(&p, f, f, q, q, error))
        return -1;
    p.stands = fmax(finest, tolerance);
    return integrate(&p, 1 - gap, sqrt(gap * (2 - gap)), value, difference, NULL);
}

int tp_quadrature(const tp_univariate *f, const tp_univariate *g, double q11, double q22, double q12, double *value,
                  double *difference, ad_error *error)
{
    return tp_quadrature_sized(f, g, q11, q22, q12, value, difference, NULL, NULL, error);
}
