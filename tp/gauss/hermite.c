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

/* Has the function of root x pieces that are shorter than this? Steps would miss what such pieces resolve. */
static bool has_short_pieces(const tp_univariate *f, double root, double length, double width)
{
    bool has = false;
    for (int k = 0; k + 1 < f->n_pieces && root > 0; k++)
        has = has || (fabs(f->pieces[k]) < root * length && f->pieces[k + 1] - f->pieces[k] < root * width);
    return has;
}

/* Nodes on [-length, length] for a function of sqrt(q) x with the given kinks. A panel is five steps wide; where pieces
 * are shorter, none reaches beyond its piece. A function of a large variance varies in thin layers, around 0 and the
 * kinks: steps of the order of its layer there, wider ones beyond, so that their number grows like log q. */
int tp_hermite_rule_fill(tp_hermite_rule *r, const tp_univariate *f, double root, ad_error *error)
{
    double cuts[MOST_CUTS + TP_MOST_PIECES + 3], gauss_x[PANEL], gauss_w[PANEL];
    size_t n = 0;
    if (f->n_kinks > MOST_CUTS)
        return ad_fail(error, "Mehler's series: a function with %d kinks; at most %d are integrated", f->n_kinks,
                       MOST_CUTS);
    cuts[n++] = -r->length;
    for (int k = 0; k < f->n_kinks && root > 0; k++)
        n = add_cut(cuts, n, f->kinks[k] / root, r->length);
    if (r->thin < 1)
        n = add_cut(cuts, n, 0, r->length);
    r->cut = has_short_pieces(f, root, r->length, 5 * r->h);
    for (int k = 0; k < f->n_pieces && r->cut; k++)
        n = add_cut(cuts, n, f->pieces[k] / root, r->length);
    cuts[n++] = r->length;
    bool panels = f->n_kinks > 0 || r->thin < 1 || r->cut;
    r->symmetric = !panels;
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
/* Degrees that are found together: their polynomials at a chunk's nodes stay in the nearest caches. */
enum { DEGREES = 64 };

tp_hermite_scratch tp_hermite_take(size_t count, ad_error *error)
{
    static const char what[] = "Mehler's coefficients";
    size_t chunk = count < TP_HERMITE_CHUNK ? count : TP_HERMITE_CHUNK;
    tp_hermite_scratch s = { .values = ad_reserve(2 * chunk * TP_HERMITE_CHUNK, sizeof(double), what, error),
                             .hermite =
                                 ad_reserve((2 + (size_t)DEGREES) * TP_HERMITE_CHUNK, sizeof(double), what, error),
                             .products = ad_reserve(chunk * DEGREES, sizeof(double), what, error) };
    s.mirrored = s.values ? s.values + chunk * TP_HERMITE_CHUNK : NULL;
    return s;
}

void tp_hermite_give(tp_hermite_scratch *s)
{
    ad_free(s->values);
    ad_free(s->hermite);
    ad_free(s->products);
}

bool tp_hermite_taken(const tp_hermite_scratch *s)
{
    return s->values && s->hermite && s->products;
}

/* Nodes of a rule, and what they weigh. */
typedef struct {
    size_t n;
    const double *x, *w;
    double gauss[TP_HERMITE_CHUNK]; /* e^{-x^2/4} */
} chunk;

/* y (n): f(root x) w; adds what they are in E f^2. */
static int weighed_values(const tp_univariate *f, const chunk *c, double root, double *y, double *square,
                          ad_error *error)
{
    double at[TP_HERMITE_CHUNK];
    for (size_t i = 0; i < c->n; i++)
        at[i] = root * c->x[i];
    tp_evaluate(f, c->n, at, y);
    for (size_t i = 0; i < c->n; i++) {
        if (!isfinite(y[i]))
            return ad_fail(error,
                           isnan(y[i]) ? "Mehler's series: the function is not a number at x = %.17g"
                                       : "Mehler's series: the function leaves the range of a double (1.8e308) "
                                         "at x = %.17g, which counts at this deviation: smaller inputs, "
                                         "weights or powers keep it",
                           at[i]);
        *square += c->w[i] * c->gauss[i] * y[i] * y[i];
        y[i] *= c->w[i];
    }
    return 0;
}

/* Nodes x > 0 stand for -x, too: y(x) + y(-x), which even degrees see, in y, and y(x) - y(-x), which odd ones do, in
 * mirrored. A node at 0 is its own mirror. */
static int fold(const tp_univariate *f, const chunk *c, double root, double *y, double *mirrored, double *square,
                ad_error *error)
{
    double negative[TP_HERMITE_CHUNK];
    chunk left = *c;
    bool zero = !(c->x[0] > 0);
    for (size_t i = 0; i < c->n; i++)
        negative[i] = -c->x[i];
    left.x = negative + zero;
    left.w += zero;
    memmove(left.gauss, left.gauss + zero, (c->n - zero) * sizeof *left.gauss);
    left.n -= zero;
    if (weighed_values(f, c, root, y, square, error) || weighed_values(f, &left, root, mirrored + zero, square, error))
        return -1;
    if (zero)
        mirrored[0] = 0;
    for (size_t i = 0; i < c->n; i++) {
        double right = y[i], other = mirrored[i];
        y[i] = right + other;
        mirrored[i] = i < zero ? 0 : right - other;
    }
    return 0;
}

/* psi of the degrees from `from` on at the chunk's nodes, in rows 2, 3, ...; rows 0 and 1 have the two degrees before,
 * and then those that the next ones need. */
static void fill_polynomials(const chunk *c, size_t from, size_t degrees, double *rows)
{
    const tp_vector *vector = tp_vector_get();
    if (from > 0)
        memcpy(rows, rows + (size_t)DEGREES * TP_HERMITE_CHUNK, 2 * sizeof *rows * TP_HERMITE_CHUNK);
    for (size_t k = from; k < from + degrees; k++) {
        double *row = rows + (2 + k - from) * TP_HERMITE_CHUNK, up = 1 / sqrt((double)k);
        if (k == 0) {
            memset(rows, 0, 2 * sizeof *rows * TP_HERMITE_CHUNK);
            memcpy(row, c->gauss, c->n * sizeof *row);
        } else
            vector->hermite(c->n, up, sqrt((double)k - 1) * up, c->x, row - 2 * (ptrdiff_t)TP_HERMITE_CHUNK,
                            row - TP_HERMITE_CHUNK, row);
    }
}

static bool all_zero(size_t n, const double *x)
{
    for (size_t i = 0; i < n; i++)
        if (fabs(x[i]) > 0)
            return false;
    return true;
}

/* products (count, rows): of values (count, n) with every other polynomial from `row` on. */
static void multiply(size_t count, size_t rows, size_t n, const double *values, const double *row, double *products)
{
    const int chunk_size = TP_HERMITE_CHUNK;
    if (count > FEW_SAMPLES) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, (int)rows, (int)n, 1, values, chunk_size, row,
                    2 * chunk_size, 0, products, (int)rows);
        return;
    }
    for (size_t j = 0; j < count; j++) { /* dgemm would copy all of the polynomials */
        const double *own = values + j * TP_HERMITE_CHUNK;
        if (all_zero(n, own))
            memset(products + j * rows, 0, rows * sizeof *products);
        else
            cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)rows, (int)n, 1, row, 2 * chunk_size, own, 1, 0,
                        products + j * rows, 1);
    }
}

/* Which degrees are asked for: first, first + step, ..., so many terms. */
typedef struct {
    size_t first, step, terms;
} asked;

/* Adds a chunk's part to out (count, terms), of the degrees [from, from + degrees) of one parity. */
static void add_parity(const asked *a, size_t count, size_t n, size_t from, size_t degrees, size_t parity,
                       const double *values, const tp_hermite_scratch *s, double *out)
{
    size_t k = from > a->first ? from : a->first;
    k += k % 2 != parity;
    if (k >= from + degrees || (a->step == 2 && a->first % 2 != parity))
        return;
    size_t rows = (from + degrees - k + 1) / 2, term = (k - a->first) / a->step, apart = 2 / a->step;
    multiply(count, rows, n, values, s->hermite + (2 + k - from) * TP_HERMITE_CHUNK, s->products);
    for (size_t j = 0; j < count; j++)
        for (size_t i = 0; i < rows; i++)
            out[j * a->terms + term + i * apart] += s->products[j * rows + i];
}

/* out (count, terms): the degrees first, first + step, ... below `degrees`; squares (count): E f^2. */
int tp_hermite_coefficients(const tp_univariate *f, size_t count, const double *q, const tp_hermite_rule *r,
                            size_t degrees, size_t first, size_t step, size_t terms, double *out, double *squares,
                            const tp_hermite_scratch *s, ad_error *error)
{
    const asked a = { first, step, terms };
    size_t highest = first + step * (terms - 1) + 1;
    memset(out, 0, count * terms * sizeof *out);
    memset(squares, 0, count * sizeof *squares);
    highest = highest < degrees ? highest : degrees;
    for (size_t start = r->symmetric ? r->n / 2 : 0; start < r->n; start += TP_HERMITE_CHUNK) {
        chunk c = { .n = r->n - start, .x = r->x + start, .w = r->w + start };
        c.n = c.n < TP_HERMITE_CHUNK ? c.n : TP_HERMITE_CHUNK;
        for (size_t i = 0; i < c.n; i++)
            c.gauss[i] = exp(-c.x[i] * c.x[i] / 4);
        for (size_t j = 0; j < count; j++) {
            double *y = s->values + j * TP_HERMITE_CHUNK, *mirrored = s->mirrored + j * TP_HERMITE_CHUNK;
            if (r->symmetric ? fold(f, &c, sqrt(q[j]), y, mirrored, &squares[j], error)
                             : weighed_values(f, &c, sqrt(q[j]), y, &squares[j], error))
                return -1;
        }
        for (size_t from = 0; from < highest; from += DEGREES) {
            size_t some = highest - from < DEGREES ? highest - from : DEGREES;
            fill_polynomials(&c, from, some, s->hermite);
            add_parity(&a, count, c.n, from, some, 0, s->values, s, out);
            add_parity(&a, count, c.n, from, some, 1, r->symmetric ? s->mirrored : s->values, s, out);
        }
    }
    return 0;
}

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
    double h = 2 * 3.14159265358979323846 / (sqrt((double)degrees) + 12 + 24 * fmin(fmax(root, 1), resolved));
    r->h = r->h > 0 ? fmin(h, r->h) : h;
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
        if (moved[0] && !halve) /* an error that falls like the step is so much larger than what a step moves it by */
            *difference /= 1 - golden;
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
