/* hermite.c: the normalised Hermite coefficients f_k = E f(sqrt(q) x) h_k(x), h_k = He_k / sqrt(k!), by quadrature: a
 * trapezoid rule in x (between kinks: Gauss-Legendre panels) with the Hermite functions psi_k = h_k e^{-x^2/4} by the
 * stable recursion sqrt(k+1) psi_{k+1} = x psi_k - sqrt(k) psi_{k-1}, and e^{-x^2/4} left for the weight; over all
 * samples at once this is a matrix product. */
#include "tp/gauss/hermite.h"

#include "tp/gauss/simd.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { PANEL = 32, MOST_NODES = 1 << 17, FEW_SAMPLES = 3 };

static const double root_2pi = 2.50662827463100050242;
static const double golden = 0.61803398874989485; /* of steps: what two see alike is no wave that both miss */

/* ---- nodes ---- */
void tp_hermite_rule_free(tp_hermite_rule *r)
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
int tp_hermite_rule_fill(tp_hermite_rule *r, const tp_univariate *f, double root, ad_error *error)
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
    tp_hermite_rule_free(r);
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
tp_hermite_scratch tp_hermite_take(size_t count, size_t most, ad_error *error)
{
    static const char what[] = "Mehler's coefficients";
    return (tp_hermite_scratch){ ad_reserve((count < TP_HERMITE_CHUNK ? count : TP_HERMITE_CHUNK) * TP_HERMITE_CHUNK,
                                            sizeof(double), what, error),
                                 ad_reserve(most * TP_HERMITE_CHUNK, sizeof(double), what, error) };
}

void tp_hermite_give(tp_hermite_scratch *s)
{
    ad_free(s->values);
    ad_free(s->hermite);
}

/* out (count, terms): the degrees first, first + step, ... below `degrees`; squares (count): E f^2. */
int tp_hermite_coefficients(const tp_univariate *f, size_t count, const double *q, const tp_hermite_rule *r,
                            size_t degrees, size_t first, size_t step, size_t terms, double *out, double *squares,
                            const tp_hermite_scratch *s, ad_error *error)
{
    const tp_vector *vector = tp_vector_get();
    double before[TP_HERMITE_CHUNK], now[TP_HERMITE_CHUNK];
    memset(out, 0, count * terms * sizeof *out);
    memset(squares, 0, count * sizeof *squares);
    for (size_t start = 0; start < r->n; start += TP_HERMITE_CHUNK) {
        size_t n = r->n - start < TP_HERMITE_CHUNK ? r->n - start : TP_HERMITE_CHUNK;
        const double *x = r->x + start, *w = r->w + start;
        double gauss[TP_HERMITE_CHUNK]; /* e^{-x^2/4} */
        for (size_t i = 0; i < n; i++) {
            gauss[i] = exp(-x[i] * x[i] / 4);
            before[i] = 0;
            now[i] = gauss[i];
        }
        for (size_t k = 0, term = 0; k < degrees && term < terms; k++) {
            if (k == first + step * term)
                memcpy(s->hermite + term++ * TP_HERMITE_CHUNK, now, n * sizeof *now);
            double up = 1 / sqrt((double)k + 1), down = sqrt((double)k) * up;
            vector->hermite(n, up, down, x, before, now);
        }
        for (size_t j = 0; j < count; j++) {
            double *y = s->values + j * TP_HERMITE_CHUNK, root = sqrt(q[j]), square = 0;
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
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, (int)terms, (int)n, 1, s->values,
                        TP_HERMITE_CHUNK, s->hermite, TP_HERMITE_CHUNK, 1, out, (int)terms);
        for (size_t j = 0; j < count && count <= FEW_SAMPLES; j++) /* dgemm would copy all of the polynomials */
            cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)terms, (int)n, 1, s->hermite, TP_HERMITE_CHUNK,
                        s->values + j * TP_HERMITE_CHUNK, 1, 1, out + j * terms, 1);
    }
    return 0;
}

/* Finds a rule that settles all coefficients up to `degrees` at one variance, and leaves them in out. */
int tp_hermite_settle(const tp_univariate *f, double q, size_t degrees, tp_hermite_rule *r, double *out, double *square,
                      const tp_hermite_scratch *s, double *difference, ad_error *error)
{
    double root = sqrt(q), *other = ad_alloc(degrees, sizeof *other, "Mehler's coefficients", error);
    tp_hermite_rule trial = { 0 };
    int status = -1;
    if (!other)
        return -1;
    /* The highest degree oscillates with frequency sqrt(degrees), and tanh's transform has fallen to 1e-16 at 24
     * root. */
    const double resolved = 10; /* a deviation up to which steps of one width do */
    r->h = 2 * 3.14159265358979323846 / (sqrt((double)degrees) + 12 + 24 * fmin(fmax(root, 1), resolved));
    r->length = 12.5;
    r->thin = root > resolved ? resolved / root : 1;
    if (tp_hermite_rule_fill(r, f, root, error) ||
        tp_hermite_coefficients(f, 1, &q, r, degrees, 0, 1, degrees, out, square, s, error))
        goto done;
    for (;;) {
        bool moved[2] = { false, false };
        *difference = 0;
        for (int widen = 0; widen < 2; widen++) {
            double second, most = 0;
            trial.h = widen ? r->h : r->h * golden;
            trial.length = widen ? 1.4 * r->length : r->length;
            trial.thin = r->thin;
            if (tp_hermite_rule_fill(&trial, f, root, error) ||
                tp_hermite_coefficients(f, 1, &q, &trial, degrees, 0, 1, degrees, other, &second, s, error))
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
        if (tp_hermite_rule_fill(r, f, root, error) ||
            tp_hermite_coefficients(f, 1, &q, r, degrees, 0, 1, degrees, out, square, s, error))
            goto done;
    }
    status = 0;
done:
    tp_hermite_rule_free(&trial);
    ad_free(other);
    return status;
}

static double energy_of(size_t from, size_t to, const double *all)
{
    double energy = 0;
    for (size_t k = from; k < to; k++)
        energy += all[k] * all[k];
    return energy;
}

double tp_hermite_beyond(size_t degrees, const double *all, double square, double noise)
{
    double lost = 4e-15 * square, left = tp_hermite_short(square, energy_of(0, degrees, all));
    double before = energy_of(degrees / 4, degrees / 2, all), last = energy_of(degrees / 2, degrees, all);
    double errors = (double)degrees * noise * noise * square;
    if (left > 0)
        return left;
    if (last <= errors)
        return fmin(lost, errors);
    return last < before ? fmin(lost, last * last / (before - last)) : lost;
}

/* Does a series that has not settled at so many degrees settle before there are the most, or nearly so, that but few
 * pairs are left to the rule? Of a smooth function the tails fall like exp(-a sqrt(degree)), a the distance of its
 * nearest pole; as far as it goes, powers of the degree in front of that hide some of it. */
bool tp_hermite_grows(const tp_univariate *f, const double *all, size_t degrees, double square, double tolerance)
{
    double tail = tp_hermite_short(square, energy_of(0, degrees, all));
    double before = tail + energy_of(degrees / 4, degrees, all);
    if (f->n_kinks > 0 || degrees == TP_MOST_DEGREES || tail <= tolerance * square)
        return false;
    double more =
        sqrt((double)TP_MOST_DEGREES / (double)degrees); /* log(before / tail) is half of a sqrt(degrees) times 2 */
    return log(tail / square) - 2 * (more - 1) * log(before / tail) <= log(sqrt(tolerance));
}
