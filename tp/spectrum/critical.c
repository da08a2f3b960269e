/* critical.c: where a layer's Jacobian has mean squared singular value 1, and how fast depth forgets: of the maps
 *   q -> sigma_w^2 E phi(h)^2 + sigma_b^2,  h ~ N(0, q),  c -> (sigma_w^2 E phi(h) phi(h') + sigma_b^2) / q
 * the fixed points and the slopes there (Poole et al., arXiv:1606.05340; Schoenholz et al., arXiv:1611.01232). */
#include "tp/spectrum/inside.h"

#include <math.h>
#include <string.h>

typedef struct {
    tp_univariate phi, slope;
    double weight, bias; /* sigma_w^2, sigma_b^2 */
    double at_zero;
    double square_at_zero; /* E phi'(h)^2 as the variance of h goes to 0: of the slopes on both sides */
    bool bends;            /* these differ */
    bool homogeneous;      /* phi(c h) = c phi(h), as relu's: any variance will do */
    ad_error *error;
    bool failed;
} maps;

static const double smallest = 1e-6, largest = 400; /* variances that are looked at */

/* E f(h) f(h') at variance q and correlation c. */
static double mean_of(maps *m, const tp_univariate *f, double q, double c)
{
    double value = NAN;
    if (!m->failed && tp_quadrature(f, f, q, q, q * c, &value, NULL, m->error))
        m->failed = true;
    return value;
}

static double next_q(maps *m, double q)
{
    return m->weight * mean_of(m, &m->phi, q, 1) + m->bias;
}

/* Of f that changes its sign between: the place, by the false position with halved weights (Illinois). */
static double root_of(maps *m, double (*f)(maps *, double, double), double parameter, double low, double high)
{
    double a = f(m, low, parameter), b = f(m, high, parameter), at = low;
    for (int k = 0; k < 100 && !m->failed && fabs(high - low) > 1e-13 * fabs(high) && fabs(a) > 0; k++) {
        double x = high - b * (high - low) / (b - a), y;
        if (!(fabs(b) > 0) || fabs(x - at) < 1e-14 * fabs(x))
            return x;
        at = x;
        y = f(m, x, parameter);
        if (y * b <= 0) {
            low = high;
            a = b;
        } else {
            a /= 2;
        }
        high = x;
        b = y;
    }
    return fabs(b) > 0 && !(fabs(a) > 0) ? low : high;
}

static double q_moves(maps *m, double log_q, double unused)
{
    (void)unused;
    return next_q(m, exp(log_q)) * exp(-log_q) - 1;
}

/* The variance that layers lead to from q: 0 or infinite beyond what is looked at. */
static double fixed_q(maps *m, double q)
{
    double at = log(q), rises = q_moves(m, at, 0), step = rises > 0 ? 0.1 : -0.1;
    if (fabs(rises) < 1e-13)
        return q;
    while (!m->failed) {
        double next = at + step, moves;
        if (next < log(smallest))
            return 0;
        if (next > log(largest))
            return INFINITY;
        moves = q_moves(m, next, 0);
        if (m->failed && rises > 0 && !strstr(m->error->text, "memory")) { /* it grew out of a double's range */
            m->failed = false;
            *m->error->text = 0;
            return INFINITY;
        }
        if (moves * rises <= 0)
            return exp(root_of(m, q_moves, 0, fmin(at, next), fmax(at, next)));
        at = next;
    }
    return NAN;
}

/* ---- the line ---- */
/* sigma_b^2 at which q is a fixed point with chi = 1, minus the wanted one. */
static double bias_off(maps *m, double log_q, double wanted)
{
    double q = exp(log_q);
    return q - mean_of(m, &m->phi, q, 1) / mean_of(m, &m->slope, q, 1) - wanted;
}

static void add_point(tp_critical *c, double sigma_b, double sigma_w, double q)
{
    if (c->n_line < (int)(sizeof c->line / sizeof *c->line))
        c->line[c->n_line++] = (tp_critical_point){ sigma_b, sigma_w, q };
}

/* The smallest q > 0 of that sigma_b. */
static void find_point(maps *m, tp_critical *c, double sigma_b)
{
    const double step = 0.25;
    double low = log(smallest), before = bias_off(m, low, sigma_b * sigma_b);
    for (; low < log(largest) && !m->failed; low += step) {
        double after = bias_off(m, low + step, sigma_b * sigma_b);
        if (before * after <= 0 && fabs(before) + fabs(after) > 0) {
            double q = exp(root_of(m, bias_off, sigma_b * sigma_b, low, low + step));
            add_point(c, sigma_b, 1 / sqrt(mean_of(m, &m->slope, q, 1)), q);
            return;
        }
        before = after;
    }
}

static void find_line(maps *m, tp_critical *c)
{
    if (m->homogeneous) {
        add_point(c, 0, 1 / sqrt(mean_of(m, &m->slope, 1, 1)), NAN);
        return;
    }
    if (!(fabs(m->at_zero) > 0) && m->square_at_zero > 0)
        add_point(c, 0, 1 / sqrt(m->square_at_zero), 0);
    else
        find_point(m, c, 0);
    for (int k = 1; k <= 20; k++)
        find_point(m, c, 0.05 * k);
}

/* ---- the network's own ---- */
static double c_moves(maps *m, double c, double q)
{
    return (m->weight * mean_of(m, &m->phi, q, c) + m->bias) / q - c;
}

static double length_of(double slope)
{
    return fabs(slope - 1) < 1e-9 ? INFINITY : slope > 0 ? -1 / log(slope) : 0;
}

/* Where signals vanish or grow: correlations that are kept, as by a line, tend to what they were at first; where the
 * function bends at 0, to 1, but by no rate. */
static void find_limit(maps *m, tp_critical *c)
{
    bool known = m->homogeneous || (!(c->q > 0) && m->bends);
    c->chi = m->homogeneous ? m->weight * mean_of(m, &m->slope, 1, 1) : c->q > 0 ? NAN : m->weight * m->square_at_zero;
    c->correlation = known ? 1 : NAN;
    c->correlation_length = known ? INFINITY : NAN;
    c->variance_length = !(c->q > 0) ? length_of(c->chi) : m->homogeneous ? INFINITY : NAN;
}

static void find_own(maps *m, double q, tp_critical *c)
{
    c->q = fixed_q(m, q);
    c->correlation = 1;
    if (!(c->q > 0) || isinf(c->q)) {
        find_limit(m, c);
        return;
    }
    double h = 1e-3, up = next_q(m, c->q * (1 + h)), down = next_q(m, c->q * (1 - h));
    c->chi = m->weight * mean_of(m, &m->slope, c->q, 1);
    c->variance_length = length_of((up - down) / (2 * h * c->q));
    double slope = c->chi;
    if (c->chi > 1 + 1e-9) {                             /* two inputs part: the other fixed point */
        bool odd = !(fabs(c_moves(m, 0, c->q)) > 1e-14); /* E phi = 0 without a bias: 0 is the point itself */
        c->correlation = odd ? 0 : root_of(m, c_moves, c->q, 0, 1 - 1e-7);
        slope = m->weight * mean_of(m, &m->slope, c->q, c->correlation);
    }
    c->correlation_length = length_of(slope);
}

static void look_at_zero(maps *m)
{
    const double probe[2] = { 0.3, 3 }, sides[2] = { -1e-9, 1e-9 }, zero = 0;
    double slopes[2];
    m->phi.eval(&m->phi, 1, &zero, &m->at_zero);
    m->slope.eval(&m->slope, 2, sides, slopes);
    m->square_at_zero = (slopes[0] * slopes[0] + slopes[1] * slopes[1]) / 2;
    if (m->square_at_zero < 1e-14) /* of a slope that is 0 at 0 */
        m->square_at_zero = 0;
    m->bends = fabs(slopes[1] - slopes[0]) > 1e-6 * (fabs(slopes[0]) + fabs(slopes[1]));
    m->homogeneous = true;
    for (int k = 0; k < 2; k++)
        m->homogeneous = m->homogeneous && fabs(bias_off(m, log(probe[k]), 0)) < 1e-9 * probe[k];
}

int tp_critical_find(tp_program *program, const double *x, tp_critical *critical, ad_error *error)
{
    tp_vectors between;
    tp_layer layer;
    tp_slope slope = { .program = program, .error = error };
    maps m = { .error = error };
    *critical = (tp_critical){ 0 };
    if (!program || !x)
        return ad_fail(error, "critical: no %s (NULL)", program ? "input" : "program");
    if (tp_find_vectors(program, NULL, NULL, &between, error) || tp_first_layer(program, &between, x, &layer, error) ||
        tp_slope_open(&slope, layer.function, layer.argument) || tp_slope_univariates(&slope, &m.phi, &m.slope))
        return -1;
    m.weight = layer.weight_square;
    m.bias = layer.bias_square;
    look_at_zero(&m);
    critical->sigma_w = sqrt(m.weight);
    critical->sigma_b = sqrt(m.bias);
    find_own(&m, layer.variance, critical);
    find_line(&m, critical);
    return m.failed ? -1 : 0;
}
