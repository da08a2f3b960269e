/* near.c: one pair whose correlation is c = sign (1 - gap), gap near 0: expectations by the gap, which c itself has
 * lost to rounding, and the gap of what comes out, 1 - |E f(a) f(b)| / sqrt(E f(a)^2 E f(b)^2). */
#include "tp/gauss/gauss.h"

#include <math.h>

static const double pi = 3.14159265358979323846, root_2pi = 2.50662827463100050242;

bool tp_piecewise_of(const tp_univariate *u, tp_piecewise *p)
{
    double slope = u->parameter;
    switch (u->form) {
    case TP_RELU:
        *p = (tp_piecewise){ 1, 0, 1 };
        return true;
    case TP_LEAKY:
        *p = (tp_piecewise){ 1, slope, 1 - slope };
        return true;
    case TP_ABS:
        *p = (tp_piecewise){ 1, -1, 2 };
        return true;
    case TP_STEP:
        *p = (tp_piecewise){ 0, 0, 1 };
        return true;
    case TP_LEAKY_STEP:
        *p = (tp_piecewise){ 0, slope, 1 - slope };
        return true;
    case TP_SIGN:
        *p = (tp_piecewise){ 0, -1, 2 };
        return true;
    default:
        return false;
    }
}

/* As above, and x and 1. */
static bool pieces_of(const tp_univariate *u, tp_piecewise *p)
{
    if (u->form == TP_ID || u->form == TP_ONE) {
        *p = (tp_piecewise){ u->form == TP_ID, 1, 0 };
        return true;
    }
    return tp_piecewise_of(u, p);
}

bool tp_is_piecewise(const tp_univariate *u)
{
    tp_piecewise p;
    return pieces_of(u, &p);
}

/* f(-x), but at 0. */
static tp_piecewise reversed(tp_piecewise p)
{
    return p.degree ? (tp_piecewise){ 1, -p.line - p.bend, p.bend } : (tp_piecewise){ 0, p.line + p.bend, -p.bend };
}

/* (sin t - t cos t) / 2 pi = sum_k (-1)^(k+1) 2k t^(2k+1) / (2k+1)! / 2 pi. */
static double cusp(double t)
{
    double x = t * t, sum = 0, term = t * x / 6;
    if (t > 0.5)
        return (sin(t) - t * cos(t)) / (2 * pi);
    for (int k = 1; k < 10; k++) {
        sum += 2 * k * term;
        term *= -x / ((2 * k + 2) * (2 * k + 3));
    }
    return sum / (2 * pi);
}

/* Of f, g of one degree at unit variances and c = 1 - gap: E f g = straight c + bent (degree 1), straight + bent
 * (degree 0), straight being the value at c = 1. */
static void same_degree(tp_piecewise f, tp_piecewise g, double gap, double *straight, double *bent)
{
    double angle = 2 * asin(sqrt(gap / 2)), both = f.bend * g.bend;
    *straight = f.line * g.line + (f.line * g.bend + f.bend * g.line + both) / 2;
    *bent = f.degree ? both * cusp(angle) : -both * angle / (2 * pi);
}

/* A step's and a relu's kind at unit variances: E relu = 1 / sqrt(2 pi), E step(a) b = c / sqrt(2 pi) and
 * E step(a) relu(b) = (1 + c) / 2 sqrt(2 pi). */
static double mixed_degree(tp_piecewise step, tp_piecewise relu, double gap)
{
    double c = 1 - gap;
    return (step.line * relu.bend + step.bend * relu.line * c + step.bend * relu.bend * (1 + c) / 2) / root_2pi;
}

double tp_near_fall(const tp_univariate *f, double gap)
{
    tp_piecewise p;
    double straight, bent;
    if (!pieces_of(f, &p))
        return (double)NAN;
    same_degree(p, p, fmin(gap, 2), &straight, &bent);
    return straight > 0 ? (p.degree ? gap - bent / straight : -bent / straight) : 0;
}

bool tp_near_piecewise(const tp_univariate *f, const tp_univariate *g, double q11, double q22, int sign, double gap,
                       double *value, double *out)
{
    tp_piecewise p, r;
    double straight, bent, size1, size2;
    if (!pieces_of(f, &p) || !pieces_of(g, &r) || !(q11 > 0) || !(q22 > 0))
        return false;
    double scale = (p.degree ? sqrt(q11) : 1) * (r.degree ? sqrt(q22) : 1);
    tp_piecewise turned = sign < 0 ? reversed(r) : r;
    if (p.degree != r.degree) {
        *value = scale * (p.degree ? mixed_degree(turned, p, gap) : mixed_degree(p, turned, gap));
        *out = (double)NAN;
        return true;
    }
    same_degree(p, p, 0, &size1, &bent);
    same_degree(r, r, 0, &size2, &bent);
    same_degree(p, turned, gap, &straight, &bent);
    double size = sqrt(size1 * size2), unit = p.degree ? straight * (1 - gap) + bent : straight + bent;
    *value = scale * unit;
    *out = !(size > 0)                                 ? 0
           : fabs(fabs(straight) - size) > 1e-9 * size ? 1 - fabs(unit) / size
                                                       : (p.degree ? gap : 0) - copysign(1, straight) * bent / size;
    return true;
}

/* q E f'^2 / E f^2 of gelu, by the closed forms of THEORY section 3 (a) at q11 = q22 = q12. */
static double gelu_slope(double q)
{
    double det = 1 + 2 * q, p = 1 / (2 * pi * sqrt(det)), half = 0.25 + asin(q / (1 + q)) / (2 * pi);
    return 1 + p * (q / det) / (half + 2 * p * (q / (1 + q)));
}

/* In closed form, or a bound; NaN without one. */
static double known_slope(const tp_univariate *f, double q)
{
    double n = f->parameter, root = sqrt(1 + 4 * q);
    tp_piecewise p;
    if (pieces_of(f, &p) && (p.degree || !(fabs(p.bend) > 0)))
        return p.degree;
    switch (f->form) {
    case TP_GELU:
        return gelu_slope(q);
    case TP_SQUARE:
        return 4.0 / 3;
    case TP_POWER:
        return n > 0 ? n * n / (2 * n - 1) : 0;
    case TP_ERF: /* E erf^2 = (2 / pi) atan2(2 q, sqrt(1 + 4 q)) */
        return 2 * q / (root * atan2(2 * q, root));
    case TP_ERF_GRAD:
        return 4 * q * (q / (1 + 4 * q));
    case TP_EXP:
    case TP_SIN:
    case TP_COS:
        return 1 + q;
    default:
        return (double)NAN;
    }
}

bool tp_near_slope_known(const tp_univariate *f, double q, double *slope)
{
    *slope = q > 0 ? known_slope(f, q) : 0;
    return isfinite(*slope);
}

double tp_near_slope(const tp_univariate *f, double q)
{
    double known = q > 0 ? known_slope(f, q) : 0;
    tp_moments m;
    if (!isnan(known))
        return known;
    if (!tp_moments_of(f, q, 0, &m))
        return INFINITY;
    return m.square[0] > 0 ? q * (m.square[1] / m.square[0]) : 0;
}

enum { ACROSS = 10, ALONG = 256 };

/* The rule of Gauss and Hermite for the weight e^(-x^2 / 2) / sqrt(2 pi), positive nodes; by Newton's method on the
 * normalised polynomials. */
static void hermite(double x[ACROSS / 2], double w[ACROSS / 2])
{
    static const double start[ACROSS / 2] = { 0.4849, 1.4660, 2.4843, 3.5818, 4.8595 };
    for (int i = 0; i < ACROSS / 2; i++) {
        double z = start[i], below = 0;
        for (int step = 0; step < 8; step++) {
            double h = 1;
            below = 0;
            for (int k = 0; k < ACROSS; k++) {
                double next = (z * h - sqrt(k) * below) / sqrt(k + 1.0);
                below = h;
                h = next;
            }
            z -= h / (sqrt((double)ACROSS) * below); /* h' = sqrt(n) h_(n-1) */
        }
        x[i] = z;
        w[i] = 1 / (ACROSS * below * below);
    }
}

double tp_near_smooth(const tp_univariate *f, double q11, double q22, double gap, double size1, double size2)
{
    double root1 = sqrt(q11), root2 = sqrt(q22), alpha = sqrt(1 - gap / 2), beta = sqrt(gap / 2);
    double n1 = 1 / sqrt(size1), n2 = 1 / sqrt(size2);
    double step = 0.125 / fmax(fmax(root1, root2), 1), length = 8.6, total = 0, v[ACROSS / 2], weight[ACROSS / 2];
    size_t side = (size_t)ceil(length / step), nodes = 2 * side + 1;
    hermite(v, weight);
    for (size_t i = 0; i < nodes; i += ALONG) {
        size_t n = nodes - i < ALONG ? nodes - i : ALONG;
        for (int k = 0; k < ACROSS; k++) {
            double a[ALONG], b[ALONG], across = (k % 2 ? -1 : 1) * beta * v[k / 2], sum = 0;
            for (size_t j = 0; j < n; j++) {
                double u = ((double)(i + j) - (double)side) * step;
                a[j] = root1 * (alpha * u + across);
                b[j] = root2 * (alpha * u - across);
            }
            tp_evaluate(f, n, a, a);
            tp_evaluate(f, n, b, b);
            for (size_t j = 0; j < n; j++) {
                double u = ((double)(i + j) - (double)side) * step, d = n1 * a[j] - n2 * b[j];
                sum += exp(-u * u / 2) * d * d;
            }
            total += weight[k / 2] * sum;
        }
    }
    return total * step / root_2pi / 2;
}
