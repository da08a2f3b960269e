/* mehler.c: Mehler's series, E f(a) g(b) = sum_k f_k g_k c^k with f_k = E f(sqrt(q) x) h_k(x), h_k = He_k /
 * sqrt(k!).
 *
 * Coefficients: a trapezoid rule in x (between kinks: Gauss-Legendre panels) with the Hermite functions
 * psi_k = h_k e^{-x^2/4} by the stable recursion sqrt(k+1) psi_{k+1} = x psi_k - sqrt(k) psi_{k-1}, and e^{-x^2/4} left
 * for the weight; over all samples at once this is a matrix product. What a series of d degrees leaves out is at most
 * |c|^d sqrt(T_f T_g), with T = E f^2 - sum_{k < d} f_k^2 (Cauchy-Schwarz). */
#include "autodiff/plan/plan.h"
#include "tp/gauss/gauss.h"
#include "tp/gauss/simd.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum {
    CHUNK = 256,
    FEW_DEGREES = 1024,
    MOST_DEGREES = 16 * FEW_DEGREES,
    PANEL = 32,
    MOST_NODES = 1 << 17,
    FEW_SAMPLES = 3
};

static const double root_2pi = 2.50662827463100050242;
static const double golden = 0.61803398874989485; /* of steps: what two see alike is no wave that both miss */

/* ---- nodes ---- */
typedef struct {
    double h, length;
    double thin; /* below 1: the layers' part of a step */
    size_t n;
    double *x, *w; /* w: the rule's weight times e^{-x^2/4} / sqrt(2 pi) */
} rule;

static void rule_free(rule *r)
{
    ad_free(r->x);
    ad_free(r->w);
    r->x = r->w = NULL;
}

enum { MOST_CUTS = 64 };

static size_t add_cut(double *cuts, size_t n, double at, double length)
{
    if (!(fabs(at) < length))
        return n;
    size_t i = n;
    for (; i > 1 && cuts[i - 1] > at; i--)
        cuts[i] = cuts[i - 1];
    cuts[i] = at;
    return n + 1;
}

/* The ends of the panels from left to right: of one width, or, towards both ends of [left, right], in steps that double
 * from `layer` on. ends may be NULL; returns how many panels there are. */
static size_t place_panels(double left, double right, double width, double layer, double *ends)
{
    if (!(layer < width)) {
        size_t count = (size_t)ceil((right - left) / width);
        for (size_t j = 0; ends && j <= count; j++)
            ends[j] = left + (right - left) * (double)j / (double)count;
        return count;
    }
    double half = (right - left) / 2, at = 0, step = layer;
    size_t count = 0, panels = 0;
    for (; at < half; at += step, step = fmin(2 * step, width))
        panels += 2;
    for (at = 0, step = layer; ends && at < half; at += step, step = fmin(2 * step, width), count++) {
        ends[count] = left + at;
        ends[panels - count] = right - at; /* an end at 0 keeps the layer's digits on both sides */
    }
    if (ends)
        ends[count] = left + half;
    return panels;
}

/* Nodes on [-length, length] for a function of sqrt(q) x with the given kinks. A panel is five steps wide. A function
 * of a large variance varies in thin layers, around 0 and the kinks: steps of the order of its layer there, wider ones
 * beyond, so that their number grows like log q. */
static int rule_fill(rule *r, const tp_univariate *f, double root, ad_error *error)
{
    double cuts[MOST_CUTS + 3], gauss_x[PANEL], gauss_w[PANEL];
    size_t n = 0;
    if (f->n_kinks > MOST_CUTS)
        return ad_fail(error, "Mehler's series: a function with %d kinks; at most %d are integrated", f->n_kinks,
                       MOST_CUTS);
    cuts[n++] = -r->length;
    for (int k = 0; k < f->n_kinks && root > 0; k++)
        n = add_cut(cuts, n, f->kinks[k] / root, r->length);
    if (r->thin < 1)
        n = add_cut(cuts, n, 0, r->length);
    cuts[n++] = r->length;
    bool panels = f->n_kinks > 0 || r->thin < 1;
    size_t side = (size_t)ceil(r->length / r->h), nodes = 2 * side + 1, most = 0;
    double width = 5 * r->h, layer = width * r->thin;
    if (panels) {
        nodes = 0;
        for (size_t k = 0; k + 1 < n; k++) {
            size_t count = cuts[k + 1] > cuts[k] ? place_panels(cuts[k], cuts[k + 1], width, layer, NULL) : 0;
            nodes += PANEL * count;
            most = most > count ? most : count;
        }
        tp_legendre(PANEL, gauss_x, gauss_w);
    }
    double *ends = ad_alloc(most + 1, sizeof *ends, "the nodes of Mehler's series", error);
    rule_free(r);
    r->n = nodes;
    r->x = ad_alloc(nodes, sizeof *r->x, "the nodes of Mehler's series", error);
    r->w = ad_alloc(nodes, sizeof *r->w, "the nodes of Mehler's series", error);
    if (!r->x || !r->w || !ends) {
        ad_free(ends);
        return -1;
    }
    for (size_t i = 0; !panels && i < nodes; i++) {
        r->x[i] = ((double)i - (double)side) * r->h;
        r->w[i] = r->h;
    }
    size_t at = 0;
    for (size_t k = 0; panels && k + 1 < n; k++) {
        size_t count = cuts[k + 1] > cuts[k] ? place_panels(cuts[k], cuts[k + 1], width, layer, ends) : 0;
        for (size_t j = 0; j < count; j++) {
            double half = (ends[j + 1] - ends[j]) / 2, middle = ends[j] + half;
            for (int i = 0; i < PANEL; i++, at++) {
                r->x[at] = middle + half * gauss_x[i];
                r->w[at] = half * gauss_w[i];
            }
        }
    }
    ad_free(ends);
    for (size_t i = 0; i < nodes; i++)
        r->w[i] *= exp(-r->x[i] * r->x[i] / 4) / root_2pi;
    return 0;
}

/* ---- coefficients ---- */
typedef struct {
    double *values;  /* (samples, CHUNK) */
    double *hermite; /* (terms, CHUNK) */
} scratch;

/* out (count, terms): the degrees first, first + step, ... below `degrees`; squares (count): E f^2. */
static int coefficients(const tp_univariate *f, size_t count, const double *q, const rule *r, size_t degrees,
                        size_t first, size_t step, size_t terms, double *out, double *squares, const scratch *s,
                        ad_error *error)
{
    const tp_vector *vector = tp_vector_get();
    double before[CHUNK], now[CHUNK];
    memset(out, 0, count * terms * sizeof *out);
    memset(squares, 0, count * sizeof *squares);
    for (size_t start = 0; start < r->n; start += CHUNK) {
        size_t n = r->n - start < CHUNK ? r->n - start : CHUNK;
        const double *x = r->x + start, *w = r->w + start;
        double gauss[CHUNK]; /* e^{-x^2/4} */
        for (size_t i = 0; i < n; i++) {
            gauss[i] = exp(-x[i] * x[i] / 4);
            before[i] = 0;
            now[i] = gauss[i];
        }
        for (size_t k = 0, term = 0; k < degrees && term < terms; k++) {
            if (k == first + step * term)
                memcpy(s->hermite + term++ * CHUNK, now, n * sizeof *now);
            double up = 1 / sqrt((double)k + 1), down = sqrt((double)k) * up;
            vector->hermite(n, up, down, x, before, now);
        }
        for (size_t j = 0; j < count; j++) {
            double *y = s->values + j * CHUNK, root = sqrt(q[j]), square = 0;
            for (size_t i = 0; i < n; i++)
                now[i] = root * x[i];
            tp_evaluate(f, n, now, y);
            for (size_t i = 0; i < n; i++) {
                if (!isfinite(y[i]))
                    return ad_fail(error,
                                   isnan(y[i]) ? "Mehler's series: the function is not a number at x = %.17g"
                                               : "Mehler's series: the function leaves the range of a double (1.8e308) "
                                                 "at x = %.17g, which counts at this deviation: smaller inputs, "
                                                 "weights or powers keep it",
                                   now[i]);
                square += w[i] * gauss[i] * y[i] * y[i];
                y[i] *= w[i];
            }
            squares[j] += square;
        }
        if (count > FEW_SAMPLES)
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, (int)terms, (int)n, 1, s->values, CHUNK,
                        s->hermite, CHUNK, 1, out, (int)terms);
        for (size_t j = 0; j < count && count <= FEW_SAMPLES; j++) /* dgemm would copy all of the polynomials */
            cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)terms, (int)n, 1, s->hermite, CHUNK, s->values + j * CHUNK, 1,
                        1, out + j * terms, 1);
    }
    return 0;
}

/* Finds a rule that settles all coefficients up to `degrees` at one variance, and leaves them in out. */
static int settle(const tp_univariate *f, double q, size_t degrees, rule *r, double *out, double *square,
                  const scratch *s, double *difference, ad_error *error)
{
    double root = sqrt(q), *other = ad_alloc(degrees, sizeof *other, "Mehler's coefficients", error);
    rule trial = { 0 };
    int status = -1;
    if (!other)
        return -1;
    /* The highest degree oscillates with frequency sqrt(degrees), and tanh's transform has fallen to 1e-16 at 24
     * root. */
    const double resolved = 10; /* a deviation up to which steps of one width do */
    r->h = 2 * 3.14159265358979323846 / (sqrt((double)degrees) + 12 + 24 * fmin(fmax(root, 1), resolved));
    r->length = 12.5;
    r->thin = root > resolved ? resolved / root : 1;
    if (rule_fill(r, f, root, error) || coefficients(f, 1, &q, r, degrees, 0, 1, degrees, out, square, s, error))
        goto done;
    for (;;) {
        bool moved[2] = { false, false };
        *difference = 0;
        for (int widen = 0; widen < 2; widen++) {
            double second, most = 0;
            trial.h = widen ? r->h : r->h * golden;
            trial.length = widen ? 1.4 * r->length : r->length;
            trial.thin = r->thin;
            if (rule_fill(&trial, f, root, error) ||
                coefficients(f, 1, &q, &trial, degrees, 0, 1, degrees, other, &second, s, error))
                goto done;
            for (size_t k = 0; k < degrees; k++)
                most = fmax(most, fabs(other[k] - out[k]));
            double size = sqrt(fmax(*square, second));
            most = fmax(most, size > 0 ? fabs(second - *square) / size : 0);
            moved[widen] = most > 1e-14 * size;
            *difference = fmax(*difference, size > 0 ? most / size : 0);
        }
        /* past 38 the weights of E f^2 underflow */
        bool halve = moved[0] && r->n < MOST_NODES / 4, widen = moved[1] && r->length < 38;
        if (!halve && !widen)
            break;
        r->h *= halve ? golden : 1;
        r->length *= widen ? 1.4 : 1;
        if (rule_fill(r, f, root, error) || coefficients(f, 1, &q, r, degrees, 0, 1, degrees, out, square, s, error))
            goto done;
    }
    status = 0;
done:
    rule_free(&trial);
    ad_free(other);
    return status;
}

/* What is left of E f^2 beyond all coefficients, unless it is lost in roundoff. */
static double beyond(double square, double energy)
{
    return square - energy > 4e-15 * square ? square - energy : 0;
}

/* Does a series that has not settled at so many degrees settle before there are the most? Of a smooth function the
 * tails fall like exp(-a sqrt(degree)), a the distance of its nearest pole. */
static bool grows(const tp_univariate *f, const double *all, size_t degrees, double square, double tolerance)
{
    double energy = 0, upper = 0;
    for (size_t k = 0; k < degrees; k++) {
        energy += all[k] * all[k];
        upper += k < degrees / 4 ? 0 : all[k] * all[k];
    }
    double tail = beyond(square, energy), before = tail + upper;
    if (f->n_kinks > 0 || degrees == MOST_DEGREES || tail <= tolerance * square)
        return false;
    double more =
        sqrt((double)MOST_DEGREES / (double)degrees); /* log(before / tail) is half of a sqrt(degrees) times 2 */
    return log(tail / square) - 2 * (more - 1) * log(before / tail) <= log(tolerance);
}

/* Which degrees to keep: all, or those of one parity if the others carry nothing; and how many for the tolerance.
 * Returns sum_{k >= degrees} f_k^2 / E f^2. */
static double choose(tp_mehler *m, const double *all, size_t most, double square)
{
    double energy[2] = { 0, 0 }, nothing = 1e-26 * square, enough = m->tolerance * m->tolerance * square;
    for (size_t k = 0; k < most; k++)
        energy[k % 2] += all[k] * all[k];
    m->step = energy[0] <= nothing || energy[1] <= nothing ? 2 : 1;
    m->first = energy[0] <= nothing && energy[1] > nothing;
    double tail = beyond(square, energy[0] + energy[1]);
    m->degrees = most;
    for (size_t k = most; k-- > m->first + 1; m->degrees = k) {
        double term = m->step == 2 && k % 2 != m->first ? 0 : all[k] * all[k];
        if (tail + term > enough)
            break;
        tail += term;
    }
    m->terms = (m->degrees - m->first + m->step - 1) / m->step;
    return square > 0 ? tail / square : 0;
}

/* Tails of every sample relative to its sqrt(E f^2), and the largest of them degree by degree. Where a sample's own
 * rest is lost in roundoff, that of the largest variance stands for it. */
static void fill_tails(tp_mehler *m, double least)
{
    const double *squares = m->squares;
    for (size_t j = 0; j < m->count; j++) {
        const double *row = m->coefficients + j * m->terms;
        double energy = 0;
        if (!(squares[j] > 0))
            continue;
        for (size_t k = 0; k < m->terms; k++)
            energy += row[k] * row[k];
        double left = fmax(beyond(squares[j], energy), least * squares[j]);
        m->rests[j] = sqrt(left / squares[j]);
        for (size_t d = m->degrees + 1, k = m->terms; d-- > 0;) {
            if (k > 0 && d == m->first + m->step * (k - 1)) {
                k--;
                left += row[k] * row[k];
            }
            m->tails[d] = fmax(m->tails[d], sqrt(left / squares[j]));
        }
    }
}

static int fill_series(tp_mehler *m, const tp_univariate *f, const double *q, rule *r, double least, const scratch *s,
                       ad_error *error)
{
    bool shared = true; /* kinks at 0 stay where they are at every variance */
    for (int k = 0; k < f->n_kinks; k++)
        shared = shared && !(fabs(f->kinks[k]) > 0);
    size_t block = shared ? CHUNK : 1;
    for (size_t j = 0; j < m->count; j += block) {
        size_t n = m->count - j < block ? m->count - j : block;
        if ((!shared && rule_fill(r, f, sqrt(q[j]), error)) ||
            coefficients(f, n, q + j, r, m->degrees, m->first, m->step, m->terms, m->coefficients + j * m->terms,
                         m->squares + j, s, error))
            return -1;
    }
    fill_tails(m, least);
    for (size_t j = 0; j < m->count; j++) {
        m->inverses[j] = q[j] > 0 ? 1 / sqrt(q[j]) : 0;
        for (size_t k = 0; k < m->terms; k++)
            m->columns[k * m->stride + j] = m->coefficients[j * m->terms + k];
    }
    return 0;
}

tp_mehler *tp_mehler_new(const tp_univariate *f, size_t count, const double *q, double tolerance, size_t most,
                         ad_error *error)
{
    static const char what[] = "Mehler's coefficients";
    double q_most = 0, square = 0;
    if (!f->eval) {
        ad_fail(error, "Mehler's series: the function cannot be evaluated");
        return NULL;
    }
    for (size_t j = 0; j < count; j++) {
        if (!(q[j] >= 0 && isfinite(q[j]))) {
            ad_fail(error, "Mehler's series: sample %zu has variance %g", j, q[j]);
            return NULL;
        }
        q_most = fmax(q_most, q[j]);
    }
    bool fixed = most > 0;
    most = !fixed ? FEW_DEGREES : most > MOST_DEGREES ? MOST_DEGREES : most;
    tp_mehler *m = ad_alloc(1, sizeof *m, what, error);
    double *all = ad_alloc(most, sizeof *all, what, error);
    scratch s = { ad_reserve((count < CHUNK ? count : CHUNK) * CHUNK, sizeof *s.values, what, error),
                  ad_reserve(most * CHUNK, sizeof *s.hermite, what, error) };
    rule r = { 0 };
    bool made = false;
    if (!m || !all || !s.values || !s.hermite)
        goto done;
    m->count = count;
    m->tolerance = fmax(tolerance > 0 ? tolerance : 1e-13, 1e-14);
    if (settle(f, q_most, most, &r, all, &square, &s, &m->difference, error))
        goto done;
    while (!fixed && grows(f, all, most, square, m->tolerance)) {
        most *= 4;
        ad_free(all);
        ad_free(s.hermite);
        all = ad_alloc(most, sizeof *all, what, error);
        s.hermite = ad_reserve(most * CHUNK, sizeof *s.hermite, what, error);
        rule_free(&r);
        if (!all || !s.hermite || settle(f, q_most, most, &r, all, &square, &s, &m->difference, error))
            goto done;
    }
    double least = choose(m, all, most, square);
    m->stride = (count + TP_BLOCK + 7) / 8 * 8; /* a block may start at any column */
    m->coefficients = ad_alloc(count * m->terms, sizeof *m->coefficients, what, error);
    m->columns = ad_alloc(m->terms * m->stride, sizeof *m->columns, what, error);
    m->tails = ad_alloc(m->degrees + 1, sizeof *m->tails, what, error);
    m->rests = ad_alloc(count, sizeof *m->rests, what, error);
    m->inverses = ad_alloc(count, sizeof *m->inverses, what, error);
    m->squares = ad_alloc(count, sizeof *m->squares, what, error);
    made = m->coefficients && m->columns && m->tails && m->rests && m->inverses && m->squares &&
           fill_series(m, f, q, &r, least, &s, error) == 0;
done:
    rule_free(&r);
    ad_free(all);
    ad_free(s.values);
    ad_free(s.hermite);
    if (!made) {
        tp_mehler_free(m);
        return NULL;
    }
    return m;
}

void tp_mehler_free(tp_mehler *m)
{
    if (!m)
        return;
    ad_free(m->coefficients);
    ad_free(m->columns);
    ad_free(m->tails);
    ad_free(m->rests);
    ad_free(m->inverses);
    ad_free(m->squares);
    ad_free(m);
}

/* ---- pairs ---- */
/* The correlation; 1 for roundoff beyond 1, NaN for what is no covariance. */
static double correlation(double q12, double inverse1, double inverse2)
{
    double c = q12 * inverse1 * inverse2;
    return fabs(c) <= 1 ? c : fabs(c) <= 1 + 5e-7 ? copysign(1, c) : (double)NAN;
}

/* The degrees that two series have in common; none if one function is odd and the other even. */
typedef struct {
    bool orthogonal;
    size_t first, step, terms, degrees, f_at, f_step, g_at, g_step; /* f_at: the first common one among f's terms */
} common;

static common shared_degrees(const tp_mehler *f, const tp_mehler *g)
{
    common s = { .step = f->step > g->step ? f->step : g->step, .first = f->first > g->first ? f->first : g->first };
    s.degrees = f->degrees < g->degrees ? f->degrees : g->degrees;
    s.orthogonal = f->step == 2 && g->step == 2 && f->first != g->first;
    if (s.orthogonal)
        return s;
    s.terms = s.degrees > s.first ? (s.degrees - s.first + s.step - 1) / s.step : 0;
    s.f_at = (s.first - f->first) / f->step;
    s.g_at = (s.first - g->first) / g->step;
    s.f_step = s.step / f->step;
    s.g_step = s.step / g->step;
    return s;
}

static double rest(const tp_mehler *m, size_t i, size_t degrees)
{
    return degrees == m->degrees ? m->rests[i] : m->tails[degrees];
}

double tp_mehler_bound(const tp_mehler *f, const tp_mehler *g, size_t i, size_t j, double q12)
{
    common s = shared_degrees(f, g);
    double c = fabs(correlation(q12, f->inverses[i], g->inverses[j]));
    if (s.orthogonal)
        return 0;
    return pow(c, (double)s.degrees) * rest(f, i, s.degrees) * rest(g, j, s.degrees);
}

enum { EVERY = 4, MOST_STEPS = MOST_DEGREES / EVERY + 1 };

double tp_mehler_tile(const tp_mehler *f, const tp_mehler *g, size_t row, size_t rows, size_t column, size_t columns,
                      const double *q12, size_t q12_stride, double *out, size_t out_stride)
{
    const tp_vector *vector = tp_vector_get();
    common s = shared_degrees(f, g);
    if (s.orthogonal) {
        for (size_t i = 0; i < rows; i++)
            memset(out + i * out_stride, 0, columns * sizeof *out);
        return 0;
    }
    /* left[k]: what EVERY * (k + 1) terms leave out where |c| = 1; at c it is left[k] |c|^d, d the first degree left
     * out */
    double left[MOST_STEPS], tolerance = fmin(f->tolerance, g->tolerance);
    size_t steps = 0;
    for (size_t terms = EVERY; terms < s.terms; terms += EVERY) {
        size_t d = s.first + s.step * terms;
        left[steps++] = f->tails[d] * g->tails[d];
    }
    double largest = 0, skipped = 0;
    for (size_t at = 0; at < columns; at += TP_BLOCK) {
        size_t n = columns - at < TP_BLOCK ? columns - at : TP_BLOCK;
        const double *block = g->columns + s.g_at * g->stride + column + at, *inverse = g->inverses + column + at;
        for (size_t i = 0; i < rows; i++) {
            const double *cov = q12 + i * q12_stride + at;
            double c[TP_BLOCK] = { 0 }, x[TP_BLOCK], sum[TP_BLOCK], most = 0, *to = out + i * out_stride + at;
            for (size_t j = 0; j < n; j++) {
                c[j] = correlation(cov[j], f->inverses[row + i], inverse[j]);
                most = fmax(most, fabs(c[j]));
            }
            for (size_t j = 0; j < TP_BLOCK; j++)
                x[j] = s.step == 2 ? c[j] * c[j] : c[j];
            double ratio = 1;
            for (size_t k = 0; k < EVERY * s.step; k++)
                ratio *= most;
            double power = s.first ? most * ratio : ratio;
            size_t enough = 0; /* the first step that meets the tolerance in the whole block */
            while (enough < steps && !(left[enough] * power <= tolerance)) {
                power *= ratio;
                enough++;
            }
            bool all = enough == steps;
            size_t terms = all ? s.terms : EVERY * (enough + 1);
            vector->horner(terms, f->coefficients + (row + i) * f->terms + s.f_at, s.f_step, block,
                           s.g_step * g->stride, x, sum);
            for (size_t j = 0; j < n; j++)
                to[j] = s.first ? c[j] * sum[j] : sum[j];
            if (all)
                largest = fmax(largest, most);
            else
                skipped = fmax(skipped, left[enough] * power);
        }
    }
    return fmax(skipped, pow(largest, (double)s.degrees) * f->tails[s.degrees] * g->tails[s.degrees]);
}
