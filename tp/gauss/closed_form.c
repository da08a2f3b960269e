/* closed_form.c: expectations in closed form. The pairs that every kernel needs are whole loops of simd.c; what is
 * left follows from them by linearity, by parity, or by Stein's lemma, E a g(b) = q12 E g'(b), from the moments of
 * g. */
#include "tp/gauss/gauss.h"
#include "tp/gauss/simd.h"

#include <math.h>

enum { CHUNK = 512 };

/* The degree of a power, -1 for other forms. */
static int power_of(const tp_univariate *u)
{
    return u->form == TP_ONE      ? 0
           : u->form == TP_ID     ? 1
           : u->form == TP_SQUARE ? 2
           : u->form == TP_POWER  ? (int)u->parameter
                                  : -1;
}

/* E f, E f' and E f'' at variance q > 0, the last two in the sense of distributions. */
static void moments(const tp_univariate *f, double q, double m[3])
{
    const double root_pi = 1.77245385090551602730, root_2pi = 2.50662827463100050242;
    double density = 1 / (root_2pi * sqrt(q)), t, u;
    tp_piecewise p;
    m[0] = m[1] = m[2] = 0;
    if (tp_piecewise_of(f, &p)) {
        if (p.degree == 1) {
            m[0] = p.bend * sqrt(q) / root_2pi;
            m[1] = p.line + p.bend / 2;
            m[2] = p.bend * density;
        } else {
            m[0] = p.line + p.bend / 2;
            m[1] = p.bend * density;
        }
        return;
    }
    switch (f->form) {
    case TP_ERF:
        m[1] = 2 / (root_pi * sqrt(1 + 2 * q));
        return;
    case TP_ERF_GRAD:
        m[0] = 2 / (root_pi * sqrt(1 + 2 * q));
        m[2] = -2 * m[0] / (1 + 2 * q);
        return;
    case TP_SIN:
        m[1] = exp(-q / 2);
        return;
    case TP_COS:
        m[0] = exp(-q / 2);
        m[2] = -m[0];
        return;
    case TP_EXP:
        m[0] = m[1] = m[2] = exp(q / 2);
        return;
    case TP_GELU:
        t = 1 / (root_2pi * sqrt(1 + q)); /* E of the normal density */
        m[0] = q * t;
        m[1] = 0.5;
        m[2] = t * (2 + q) / (1 + q);
        return;
    case TP_GELU_GRAD:
        t = 1 / (root_2pi * sqrt(1 + q));
        u = t * (2 + q) / (1 + q);
        m[0] = 0.5;
        m[1] = u;
        return;
    default:
        return;
    }
}

static double at_zero(const tp_univariate *f)
{
    double zero = 0, value = 0;
    f->eval(f, 1, &zero, &value);
    return value;
}

static bool is_zero(double q)
{
    return !(fabs(q) > 0) && q >= 0;
}

/* E a^m g(b), m <= 2: g's mean, q12 E g', q11 E g + q12^2 E g''. At variance 0 g is a constant. */
static double stein(int m, const tp_univariate *g, double q11, double q22, double q12)
{
    double e[3];
    if (q11 < 0 || q22 < 0 || q12 * q12 > (1 + 1e-6) * q11 * q22)
        return (double)NAN;
    if (is_zero(q22)) {
        double value = at_zero(g);
        return m == 0 ? value : m == 1 ? 0 * value : q11 * value;
    }
    moments(g, q22, e);
    return m == 0 ? e[0] : m == 1 ? q12 * e[1] : q11 * e[0] + q12 * q12 * e[2];
}

/* Isserlis: E a^m b^n = sum_j j! C(m, j) C(n, j) (m-j-1)!! (n-j-1)!! q11^((m-j)/2) q22^((n-j)/2) q12^j over j of m's
 * and n's parity; all terms have one sign. */
static double isserlis(int m, int n, double q11, double q22, double q12)
{
    if (q11 < 0 || q22 < 0 || q12 * q12 > (1 + 1e-6) * q11 * q22)
        return (double)NAN;
    if ((m + n) % 2)
        return 0 * (q11 + q22 + q12);
    double sum = 0;
    for (int j = m % 2; j <= m && j <= n; j += 2) {
        double term = 1;
        for (int i = 0; i < j; i++)
            term *= (double)(m - i) * (n - i) / (i + 1) * q12;
        for (int i = m - j - 1; i > 0; i -= 2)
            term *= i * q11;
        for (int i = n - j - 1; i > 0; i -= 2)
            term *= i * q22;
        sum += term;
    }
    return sum;
}

/* E step(a) relu(b) = (sqrt q22 + q12 / sqrt q11) / (2 sqrt(2 pi)); for q12 < 0 through
 * d^2 - q12^2 = (d + q12)(d - q12), d = sqrt(q11 q22), where the sum cancels. Both variances are scaled to order
 * one. */
static double step_relu(double q11, double q22, double q12)
{
    int k1, k2;
    if (is_zero(q11) || is_zero(q22))
        return 0;
    double a = tp_order_one(q11, &k1), b = tp_order_one(q22, &k2), c = ldexp(q12, -(k1 + k2) / 2);
    double root = sqrt(a), d = root * sqrt(b), sum = d + c, p1 = a * b, p2 = c * c;
    if (p2 > (1 + 1e-6) * p1)
        return (double)NAN;
    if (c < 0) {
        double det = (p1 - p2) + (fma(a, b, -p1) - fma(c, c, -p2));
        sum = (det > 0 ? det : 0) / (d - c);
    }
    return ldexp(sum / (2 * 2.50662827463100050242 * root), k2 / 2);
}

typedef enum { NONE, SAME, NOTHING, POWERS, STEIN, STEIN_SWAPPED, BENT, EXP_WAVE, EXP_WAVE_SWAPPED } way;

static bool is_wave(const tp_univariate *u)
{
    return u->form == TP_SIN || u->form == TP_COS;
}

static way way_of(const tp_univariate *f, const tp_univariate *g)
{
    tp_piecewise p;
    int m = power_of(f), n = power_of(g);
    if (m >= 0 && n >= 0)
        return POWERS;
    if (f->parity * g->parity == -1)
        return NOTHING;
    if (f->form == TP_NUMERIC || g->form == TP_NUMERIC)
        return NONE;
    if (m >= 0)
        return m <= 2 ? STEIN : NONE;
    if (n >= 0)
        return n <= 2 ? STEIN_SWAPPED : NONE;
    if (tp_piecewise_of(f, &p) && tp_piecewise_of(g, &p))
        return BENT;
    if (f->form == g->form)
        return SAME;
    if (f->form == TP_EXP && is_wave(g))
        return EXP_WAVE;
    if (is_wave(f) && g->form == TP_EXP)
        return EXP_WAVE_SWAPPED;
    return NONE;
}

/* E e^a sin b = e^((q11 - q22) / 2) sin q12, likewise cos: the tilt by e^a moves b's mean by q12. */
static double exp_wave(const tp_univariate *wave, double q11, double q22, double q12)
{
    return exp((q11 - q22) / 2) * (wave->form == TP_SIN ? sin(q12) : cos(q12));
}

/* Pairs of piecewise functions over at most CHUNK pairs. */
static void bent(const tp_univariate *f, const tp_univariate *g, size_t n, const double *q11, const double *q22,
                 const double *q12, const double *half, double *out)
{
    const tp_vector *vector = tp_vector_get();
    tp_piecewise p = { 0 }, r = { 0 };
    double curve[CHUNK];
    tp_piecewise_of(f, &p);
    tp_piecewise_of(g, &r);
    bool signs = f->form == TP_SIGN || g->form == TP_SIGN;
    if (f->form == TP_SIGN && g->form == TP_SIGN) {
        vector->sign(n, q11, q22, q12, half, out, NULL);
        return;
    }
    if (p.degree == r.degree)
        vector->relu(n, q11, q22, q12, half, p.degree ? curve : NULL, p.degree ? NULL : curve);
    for (size_t i = 0; i < n; i++) {
        double both = p.bend * r.bend, c = q12[i], value;
        bool none1 = is_zero(q11[i]), none2 = is_zero(q22[i]);
        if (p.degree == 1 && r.degree == 1)
            value = (p.line * r.line + (p.line * r.bend + p.bend * r.line) / 2) * c + both * curve[i];
        else if (p.degree == 0 && r.degree == 0)
            value = p.line * r.line + p.line * r.bend * (none2 ? 0 : 0.5) + p.bend * r.line * (none1 ? 0 : 0.5) +
                    both * curve[i];
        else {
            bool first = p.degree == 0; /* the step is f's */
            double step_q = first ? q11[i] : q22[i], relu_q = first ? q22[i] : q11[i];
            const tp_piecewise *s = first ? &p : &r, *l = first ? &r : &p;
            const double root_2pi = 2.50662827463100050242;
            value = s->line * l->bend * sqrt(relu_q) / root_2pi;
            if (!is_zero(step_q))
                value += s->bend * l->line * c / (root_2pi * sqrt(step_q));
            value += both * step_relu(step_q, relu_q, c);
        }
        if (signs && ((none1 && f->form == TP_SIGN) || (none2 && g->form == TP_SIGN)))
            value = 0;
        out[i] = value;
    }
}

/* Loops of simd.c for a function with itself. */
static void same(tp_form form, size_t n, const double *q11, const double *q22, const double *q12, const double *half,
                 double *out)
{
    const tp_vector *vector = tp_vector_get();
    switch (form) {
    case TP_ERF:
        vector->erf(n, q11, q22, q12, half, out, NULL);
        return;
    case TP_ERF_GRAD:
        vector->erf(n, q11, q22, q12, half, NULL, out);
        return;
    case TP_SIN:
        vector->wave(n, q11, q22, q12, half, out, NULL);
        return;
    case TP_COS:
        vector->wave(n, q11, q22, q12, half, NULL, out);
        return;
    case TP_EXP:
        vector->exp(n, q11, q22, q12, half, out, NULL);
        return;
    case TP_GELU:
        vector->gelu(n, q11, q22, q12, half, out, NULL);
        return;
    case TP_GELU_GRAD:
        vector->gelu(n, q11, q22, q12, half, NULL, out);
        return;
    default:
        return;
    }
}

bool tp_has_closed(const tp_univariate *f, const tp_univariate *g)
{
    return way_of(f, g) != NONE;
}

bool tp_closed(const tp_univariate *f, const tp_univariate *g, size_t n, const double *q11, const double *q22,
               const double *q12, const double *half_distance, double *out)
{
    way by = way_of(f, g);
    switch (by) {
    case NONE:
        return false;
    case SAME:
        same(f->form, n, q11, q22, q12, half_distance, out);
        return true;
    case BENT:
        if ((f->form == TP_RELU && g->form == TP_RELU) || (f->form == TP_STEP && g->form == TP_STEP)) {
            bool relu = f->form == TP_RELU;
            tp_vector_get()->relu(n, q11, q22, q12, half_distance, relu ? out : NULL, relu ? NULL : out);
            return true;
        }
        for (size_t i = 0; i < n; i += CHUNK)
            bent(f, g, n - i < CHUNK ? n - i : CHUNK, q11 + i, q22 + i, q12 + i,
                 half_distance ? half_distance + i : NULL, out + i);
        return true;
    default:
        break;
    }
    int m = power_of(f), k = power_of(g);
    for (size_t i = 0; i < n; i++) {
        double a = q11[i], b = q22[i], c = q12[i];
        switch (by) {
        case POWERS:
            out[i] = isserlis(m, k, a, b, c);
            break;
        case STEIN:
            out[i] = stein(m, g, a, b, c);
            break;
        case STEIN_SWAPPED:
            out[i] = stein(k, f, b, a, c);
            break;
        case EXP_WAVE:
            out[i] = exp_wave(g, a, b, c);
            break;
        case EXP_WAVE_SWAPPED:
            out[i] = exp_wave(f, b, a, c);
            break;
        default:
            out[i] = 0;
            break;
        }
    }
    return true;
}

bool tp_closed_pair(const tp_univariate *f, const tp_univariate *df, size_t n, const double *q11, const double *q22,
                    const double *q12, const double *half_distance, double *out_f, double *out_df)
{
    const tp_vector *vector = tp_vector_get();
    tp_pairs *both = f->form == TP_RELU && df->form == TP_STEP        ? vector->relu
                     : f->form == TP_ERF && df->form == TP_ERF_GRAD   ? vector->erf
                     : f->form == TP_GELU && df->form == TP_GELU_GRAD ? vector->gelu
                     : f->form == TP_SIN && df->form == TP_COS        ? vector->wave
                                                                      : NULL;
    if (both) {
        both(n, q11, q22, q12, half_distance, out_f, out_df);
        return true;
    }
    if (f->form == TP_LEAKY && df->form == TP_LEAKY_STEP && !(fabs(f->parameter - df->parameter) > 0)) {
        double slope = f->parameter, square = (1 - slope) * (1 - slope), relu[CHUNK], step[CHUNK];
        for (size_t i = 0; i < n; i += CHUNK) {
            size_t count = n - i < CHUNK ? n - i : CHUNK;
            vector->relu(count, q11 + i, q22 + i, q12 + i, half_distance ? half_distance + i : NULL, relu, step);
            for (size_t k = 0; k < count; k++) {
                double c = q12[i + k], halves = 1 - is_zero(q11[i + k]) * 0.5 - is_zero(q22[i + k]) * 0.5;
                out_f[i + k] = slope * c + square * relu[k];
                out_df[i + k] = slope * slope + slope * (1 - slope) * halves + square * step[k];
            }
        }
        return true;
    }
    if (!tp_has_closed(f, f) || !tp_has_closed(df, df))
        return false;
    double first[CHUNK];
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t count = n - i < CHUNK ? n - i : CHUNK;
        const double *half = half_distance ? half_distance + i : NULL;
        tp_closed(f, f, count, q11 + i, q22 + i, q12 + i, half, first);
        tp_closed(df, df, count, q11 + i, q22 + i, q12 + i, half, out_df + i);
        for (size_t k = 0; k < count; k++)
            out_f[i + k] = first[k];
    }
    return true;
}

tp_pair_rows *tp_closed_rows(const tp_univariate *f)
{
    const tp_vector *vector = tp_vector_get();
    switch (f->form) {
    case TP_RELU:
    case TP_STEP:
        return vector->relu_rows;
    case TP_ERF:
    case TP_ERF_GRAD:
        return vector->erf_rows;
    default:
        return NULL;
    }
}
