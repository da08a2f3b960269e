/* mehler.c: Mehler's series, E f(a) g(b) = sum_k f_k g_k c^k of the Hermite coefficients that hermite.c finds. What a
 * series of d degrees leaves out is at most |c|^d sqrt(T_f T_g), with T = E f^2 - sum_{k < d} f_k^2 (Cauchy and
 * Schwarz). */
#include "tp/gauss/chebyshev.h"
#include "tp/gauss/gauss.h"
#include "tp/gauss/hermite.h"
#include "tp/gauss/memo.h"
#include "tp/gauss/simd.h"

#include <math.h>
#include <string.h>

enum { LINE = 8 }; /* numbers of a cache line */

/* What series of one function have in common: nodes, degrees, and the coefficients over variances, where that pays. */
struct tp_mehler_family {
    double low, high; /* variances that it serves */
    double tolerance, least, difference;
    size_t degrees, terms, first, step, seen; /* seen: variances that were asked for */
    tp_hermite_rule nodes;
    tp_chebyshev table; /* log E f^2, and f_k / sqrt(E f^2); n = 0: none */
};

/* Which degrees to keep: all, or those of one parity if the others carry nothing; and how many for the tolerance.
 * tail: what is left beyond `most`. Returns sum_{k >= degrees} f_k^2 / E f^2. */
static double choose(tp_mehler_family *m, const double *all, size_t most, double square, double tail)
{
    double energy[2] = { 0, 0 }, nothing = 1e-26 * square, enough = m->tolerance * m->tolerance * square;
    for (size_t k = 0; k < most; k++)
        energy[k % 2] += all[k] * all[k];
    m->step = energy[0] <= nothing || energy[1] <= nothing ? 2 : 1;
    m->first = energy[0] <= nothing && energy[1] > nothing;
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

/* Series are cut before these degrees: a few more each time, and later a part more. */
enum { FIRST_DEGREE = 4, FEW_DEGREES = 64, PART = 4 };

static size_t next_degree(size_t d)
{
    return d + (d < FEW_DEGREES ? FIRST_DEGREE : d / PART);
}

/* What every sample leaves out relative to its sqrt(E f^2), and of all samples degree by degree the largest tails.
 * Where a sample's own rest is lost in roundoff, that of the largest variance stands for it. scratch: (2 stride). */
static void fill_tails(tp_mehler *m, double least, double *scratch)
{
    const tp_vector *vector = tp_vector_get();
    double *energy = scratch, *inverse = scratch + m->stride, rest = 0, log_tolerance = log(m->tolerance);
    for (size_t j = 0; j < m->count; j++) {
        energy[j] = 0;
        inverse[j] = m->squares[j] > 0 ? 1 / m->squares[j] : 0;
    }
    for (size_t d = m->degrees + 1, k = m->terms; d-- > 0;) { /* without the rests */
        m->tails[d] = d < m->degrees ? m->tails[d + 1] : 0;
        if (k > 0 && d == m->first + m->step * (k - 1)) {
            const double *term = m->columns + --k * m->stride;
            vector->accumulate(m->count, 1, term, term, energy);
            m->tails[d] = vector->largest(m->count, energy, inverse);
        }
    }
    for (size_t j = 0; j < m->count; j++) {
        double left = fmax(tp_hermite_short(m->squares[j], energy[j]), least * m->squares[j]) * inverse[j];
        m->rests[j] = sqrt(left);
        rest = fmax(rest, left);
    }
    for (size_t d = 0; d <= m->degrees; d++)
        m->tails[d] = sqrt(m->tails[d] + rest);
    for (size_t d = FIRST_DEGREE, k = 0; d < m->degrees && k < TP_MOST_ENOUGH; d = next_degree(d), k++)
        m->reach[k] = exp((log_tolerance / 2 - log(m->tails[d])) / (double)d);
}

/* Coefficients (count, terms) and E f^2 at these variances, by the rule. */
static int by_rule(tp_mehler_family *y, const tp_univariate *f, size_t count, const double *q, double *out,
                   double *squares, ad_error *error)
{
    bool shared = !y->nodes.cut; /* kinks at 0 stay where they are at every variance */
    for (int k = 0; k < f->n_kinks; k++)
        shared = shared && !(fabs(f->kinks[k]) > 0);
    size_t block = shared ? TP_HERMITE_CHUNK : 1;
    tp_hermite_scratch s = tp_hermite_take(count, error);
    int status = tp_hermite_taken(&s) ? 0 : -1;
    for (size_t j = 0; j < count && !status; j += block) {
        size_t n = count - j < block ? count - j : block;
        if ((!shared && tp_hermite_rule_fill(&y->nodes, f, sqrt(q[j]), error)) ||
            tp_hermite_coefficients(f, n, q + j, &y->nodes, y->degrees, y->first, y->step, y->terms, out + j * y->terms,
                                    squares + j, &s, error))
            status = -1;
    }
    tp_hermite_give(&s);
    return status;
}

/* E f^2 and the first so many coefficients from the table: (1 + terms, stride), 0 beyond count but for E f^2. */
static int by_table(const tp_mehler_family *y, size_t terms, size_t count, const double *q, size_t stride, double *out,
                    ad_error *error)
{
    double *roots = ad_reserve(count, sizeof *roots, "Mehler's coefficients", error);
    int status = roots ? tp_chebyshev_get(&y->table, terms + 1, count, q, stride, out, error) : -1;
    for (size_t j = 0; j < count && !status; j++) {
        roots[j] = exp(out[j] / 2);
        out[j] = roots[j] * roots[j];
    }
    for (size_t k = 1; k <= terms && !status; k++)
        tp_array_multiply(count, out + k * stride, roots, out + k * stride);
    ad_free(roots);
    return status;
}

/* A table of the family's range, kept where it has all digits. */
static int fill_table(tp_mehler_family *y, const tp_univariate *f, ad_error *error)
{
    const double digits = 6e-15; /* a sum over the nodes rounds to 2e-15 */
    size_t n = tp_chebyshev_nodes(y->low, y->high), width = y->terms + 1;
    tp_chebyshev_free(&y->table);
    if (n == 0)
        return 0;
    double *q = ad_alloc(2 * n, sizeof *q, "Mehler's coefficients", error), *squares = q ? q + n : NULL;
    double *found = q ? ad_alloc(n * y->terms, sizeof *found, "Mehler's coefficients", error) : NULL;
    double *values = found ? ad_alloc(n * width, sizeof *values, "Mehler's coefficients", error) : NULL;
    bool some = true;
    int status = -1;
    if (!values)
        goto done;
    tp_chebyshev_at(y->low, y->high, n, q);
    if (by_rule(y, f, n, q, found, squares, error))
        goto done;
    for (size_t i = 0; i < n; i++) {
        some = some && squares[i] > 0;
        for (size_t k = 0; k < y->terms && some; k++)
            values[i * width + 1 + k] = found[i * y->terms + k] / sqrt(squares[i]);
        values[i * width] = some ? log(squares[i]) : 0;
    }
    status = some ? tp_chebyshev_new(&y->table, y->low, y->high, n, width, values, error) : 0;
    if (y->table.last > digits)
        tp_chebyshev_free(&y->table);
    else if (y->table.n > 0)
        y->difference += y->table.last;
done:
    ad_free(q);
    ad_free(found);
    ad_free(values);
    return status;
}

/* Nodes and degrees for variances up to y->high. */
static int find_degrees(tp_mehler_family *y, const tp_univariate *f, size_t most, ad_error *error)
{
    bool fixed = most > 0;
    double square = 0;
    int status = -1;
    y->nodes.h = 0;
    most = !fixed ? TP_FEW_DEGREES : most > TP_MOST_DEGREES ? TP_MOST_DEGREES : most;
    for (bool more = true; more; most *= 4) {
        tp_hermite_scratch s = tp_hermite_take(1, error);
        double *all = ad_alloc(most, sizeof *all, "Mehler's coefficients", error);
        tp_hermite_rule_free(&y->nodes);
        status = tp_hermite_taken(&s) && all
                     ? tp_hermite_settle(f, y->high, most, &y->nodes, all, &square, &s, &y->difference, error)
                     : -1;
        more = !status && !fixed && tp_hermite_grows(f, all, most, square, y->tolerance);
        if (!status && !more)
            y->least = choose(y, all, most, square, tp_hermite_beyond(most, all, square, y->difference));
        tp_hermite_give(&s);
        ad_free(all);
    }
    return status;
}

/* A range that another kernel's variances are likely to ask for, too: ends at powers of 2 and of its root, an octave
 * at least. */
static void widen(double *low, double *high)
{
    *low = exp2(floor(log2(*low)));
    *high = fmax(exp2(ceil(2 * log2(*high)) / 2), 2 * *low);
}

/* What was found of this function and range before; else finds it, and keeps it. */
static int find_shared(tp_mehler_family *y, const tp_univariate *f, ad_error *error)
{
    tp_noted notes;
    tp_found found;
    if (tp_memo_get(f, y->low, y->high, y->tolerance, &found)) {
        *y = (tp_mehler_family){ y->low,      y->high,     y->tolerance, found.least, found.difference, found.degrees,
                                 found.terms, found.first, found.step,   y->seen,     y->nodes,         found.table };
        return 0;
    }
    tp_univariate noted = tp_noted_begin(&notes, f);
    int status = find_degrees(y, &noted, 0, error) ? -1 : fill_table(y, &noted, error);
    if (!status && y->table.n > 0) {
        found = (tp_found){ y->low,     y->high,  y->tolerance, y->least, y->difference,
                            y->degrees, y->terms, y->first,     y->step,  y->table };
        tp_memo_put(&found, &notes);
    }
    tp_noted_free(&notes);
    return status;
}

/* Makes the family fit for these variances too. shared: others will follow. */
static int fit(tp_mehler_family *y, const tp_univariate *f, size_t count, double low, double high, size_t most,
               bool shared, ad_error *error)
{
    const double wide = 1e3; /* a range that a table is not for */
    const size_t many = 24;
    bool known = y->degrees > 0;
    y->seen += count;
    if (known && low >= y->low && high <= y->high && y->table.n > 0)
        return 0;
    bool range = !most && f->n_kinks == 0 && y->seen >= many && low > 0 && high < wide * low;
    if (range && shared) {
        bool near = known && y->table.n > 0 && fmax(high, y->high) < wide * fmin(low, y->low);
        low = fmin(low, near ? y->low : INFINITY);
        high = fmax(high, near ? y->high : 0);
        widen(&low, &high);
    }
    y->low = low;
    y->high = high;
    tp_chebyshev_free(&y->table);
    if (range && shared)
        return find_shared(y, f, error);
    if (find_degrees(y, f, most, error))
        return -1;
    return range ? fill_table(y, f, error) : 0;
}

/* As by_table, by the rule. */
static int columns_by_rule(tp_mehler *m, tp_mehler_family *y, const tp_univariate *f, const double *q, ad_error *error)
{
    double *rows = ad_reserve(m->count * m->terms, sizeof *rows, "Mehler's coefficients", error);
    int status = rows ? by_rule(y, f, m->count, q, rows, m->squares, error) : -1;
    for (size_t first = 0; first < m->count && !status; first += LINE)
        for (size_t k = 0; k < m->terms; k++)
            for (size_t j = first; j < m->count && j < first + LINE; j++)
                m->columns[k * m->stride + j] = rows[j * m->terms + k];
    for (size_t k = 0; k < m->terms && !status; k++)
        memset(m->columns + k * m->stride + m->count, 0, (m->stride - m->count) * sizeof *m->columns);
    ad_free(rows);
    return status;
}

static int fill_series(tp_mehler *m, tp_mehler_family *y, double least, const tp_univariate *f, const double *q,
                       ad_error *error)
{
    double *scratch = ad_reserve(2 * m->stride, sizeof *scratch, "Mehler's coefficients", error);
    int status = !scratch         ? -1
                 : y->table.n > 0 ? by_table(y, m->terms, m->count, q, m->stride, m->squares, error)
                                  : columns_by_rule(m, y, f, q, error);
    if (!status)
        fill_tails(m, least, scratch);
    for (size_t j = 0; j < m->count; j++)
        m->inverses[j] = q[j] > 0 ? 1 / sqrt(q[j]) : 0;
    ad_free(scratch);
    return status;
}

/* The degrees that variances up to `high` need, of those that the table has: so many that a pair of functions that fall
 * alike, of which the products of both rests are left out, has them all. */
static int trim(const tp_mehler_family *y, double high, tp_mehler_family *own, ad_error *error)
{
    double *row = ad_alloc(1 + y->terms + y->degrees, sizeof *row, "Mehler's coefficients", error);
    if (!row || by_table(y, y->terms, 1, &high, 1, row, error)) {
        ad_free(row);
        return -1;
    }
    double *all = row + 1 + y->terms;
    const double rest = 1e-7;
    own->tolerance = fmax(own->tolerance, rest);
    for (size_t k = 0; k < y->terms; k++)
        all[y->first + k * y->step] = row[1 + k];
    own->least = choose(own, all, y->degrees, row[0], y->least * row[0]);
    ad_free(row);
    return 0;
}

static tp_mehler *make_series(tp_mehler_family *y, const tp_univariate *f, size_t count, const double *q, size_t most,
                              bool shared, double highest, ad_error *error)
{
    static const char what[] = "Mehler's coefficients";
    double low = INFINITY, high = 0;
    for (size_t j = 0; j < count; j++) {
        if (!(q[j] >= 0 && isfinite(q[j]))) {
            ad_fail(error, "Mehler's series: sample %zu has variance %g", j, q[j]);
            return NULL;
        }
        low = fmin(low, q[j]);
        high = fmax(high, q[j]);
    }
    high = fmax(high, highest);
    if (fit(y, f, count, low, high, most, shared, error))
        return NULL;
    tp_mehler_family own = *y;
    if (highest > 0 && y->table.n > 0 && trim(y, high, &own, error))
        return NULL;
    tp_mehler *m = ad_alloc(1, sizeof *m, what, error);
    if (!m)
        return NULL;
    *m = (tp_mehler){ .count = count, .degrees = own.degrees, .terms = own.terms, .first = y->first, .step = y->step };
    m->tolerance = y->tolerance;
    m->difference = y->difference;
    m->stride = tp_array_stride(count, LINE - 1); /* a vector may begin at any sample */
    m->squares = ad_reserve((1 + m->terms) * m->stride, sizeof *m->squares, what, error);
    m->columns = m->squares ? m->squares + m->stride : NULL;
    m->tails = ad_alloc(m->degrees + 1, sizeof *m->tails, what, error);
    m->rests = ad_alloc(2 * count, sizeof *m->rests, what, error);
    m->inverses = m->rests ? m->rests + count : NULL;
    if (m->squares && m->tails && m->rests && fill_series(m, y, own.least, f, q, error) == 0)
        return m;
    tp_mehler_free(m);
    return NULL;
}

static bool can_evaluate(const tp_univariate *f, ad_error *error)
{
    return f->eval || ad_fail(error, "Mehler's series: the function cannot be evaluated") == 0;
}

static double least_tolerance(double tolerance)
{
    return fmax(tolerance > 0 ? tolerance : 1e-13, 1e-14);
}

tp_mehler *tp_mehler_new(const tp_univariate *f, size_t count, const double *q, double tolerance, size_t most,
                         ad_error *error)
{
    tp_mehler_family y = { .tolerance = least_tolerance(tolerance) };
    tp_mehler *made = can_evaluate(f, error) ? make_series(&y, f, count, q, most, false, 0, error) : NULL;
    tp_hermite_rule_free(&y.nodes);
    tp_chebyshev_free(&y.table);
    return made;
}

tp_mehler *tp_mehler_new_of(tp_mehler_family **family, const tp_univariate *f, size_t count, const double *q,
                            double tolerance, double highest, ad_error *error)
{
    if (!can_evaluate(f, error))
        return NULL;
    if (!*family) {
        *family = ad_alloc(1, sizeof **family, "Mehler's coefficients", error);
        if (!*family)
            return NULL;
        (*family)->tolerance = least_tolerance(tolerance);
    }
    return make_series(*family, f, count, q, 0, true, highest, error);
}

void tp_mehler_family_free(tp_mehler_family *family)
{
    if (!family)
        return;
    tp_hermite_rule_free(&family->nodes);
    tp_chebyshev_free(&family->table);
    ad_free(family);
}

void tp_mehler_free(tp_mehler *m)
{
    if (!m)
        return;
    ad_free(m->squares);
    ad_free(m->tails);
    ad_free(m->rests);
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

/* So many terms are enough for all correlations up to some `reach`. */
static void enough_terms(const tp_mehler *f, const tp_mehler *g, const common *s, tp_terms *enough)
{
    double mean = sqrt(f->tolerance) * sqrt(g->tolerance), least = fmin(f->tolerance, g->tolerance);
    bool differ = least < mean * (1 - 1e-9);
    size_t n = 0;
    for (size_t d = FIRST_DEGREE; d < s->degrees && n + 1 < TP_MOST_ENOUGH; d = next_degree(d), n++) {
        enough->terms[n] = s->step == 2 ? (d - s->first + 1) / 2 : d - s->first;
        enough->reach[n] = f->reach[n] * g->reach[n] * (differ ? pow(least / mean, 1 / (double)d) : 1);
    }
    enough->terms[n] = s->terms;
    enough->n = n + 1;
    for (size_t k = n; k == n || k < TP_FIRST_ENOUGH; k++)
        enough->reach[k] = INFINITY;
}

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
    tp_terms enough;
    enough_terms(f, g, &s, &enough);
    double largest = 0;
    bool skipped = false;
    for (size_t i = 0; i < rows; i++) {
        const tp_sum_of sum = { .f = f->columns + s.f_at * f->stride + row + i,
                                .g = g->columns + s.g_at * g->stride + column,
                                .f_step = s.f_step * f->stride,
                                .g_step = s.g_step * g->stride,
                                .inverse = f->inverses[row + i],
                                .inverses = g->inverses + column,
                                .squared = s.step == 2,
                                .odd = s.first == 1 };
        double most = vector->series(columns, &sum, &enough, q12 + i * q12_stride, out + i * out_stride, &skipped);
        largest = fmax(largest, most);
    }
    double left = skipped ? fmin(f->tolerance, g->tolerance) : 0;
    if (largest > 0)
        left = fmax(left, pow(largest, (double)s.degrees) * f->tails[s.degrees] * g->tails[s.degrees]);
    return left;
}

/* ---- one function ---- */
/* By Horner's rule in chunks, from the highest terms down: what is found of them, times x^CHUNK, and the next ones. */
void tp_mehler_slopes(const tp_mehler *m, size_t sample, size_t n, const double *c, double *slopes)
{
    enum { CHUNK = 64, MOST = 64 };
    const tp_vector *vector = tp_vector_get();
    double weights[CHUNK], ones[MOST], found[MOST], power[MOST], scale = m->squares[sample];
    tp_sum_of sum = { .f = weights, .g = ones, .f_step = 1, .inverse = 1, .inverses = ones, .squared = m->step == 2 };
    tp_terms all = { .n = 1 };
    bool skipped = false;
    for (size_t k = 0; k < TP_FIRST_ENOUGH; k++)
        all.reach[k] = INFINITY;
    for (size_t i = 0; i < n; i++) {
        ones[i] = 1;
        slopes[i] = 0;
        power[i] = pow(c[i], (double)(m->step * CHUNK));
    }
    for (size_t end = m->terms, from; end > 0 && scale > 0; end = from) {
        from = (end - 1) / CHUNK * CHUNK;
        for (size_t k = from; k < end; k++) {
            double f = tp_mehler_coefficient(m, sample, k);
            weights[k - from] = (double)(m->first + m->step * k) * f * f / scale;
        }
        all.terms[0] = end - from;
        vector->series(n, &sum, &all, c, found, &skipped);
        for (size_t i = 0; i < n; i++)
            slopes[i] = slopes[i] * power[i] + found[i];
    }
    for (size_t i = 0; i < n; i++)
        slopes[i] *= pow(c[i], (double)m->first - 1);
}

double tp_mehler_change(const tp_mehler *m)
{
    enum { SAMPLES = 64 };
    const tp_vector *vector = tp_vector_get();
    size_t two = 2 / m->step; /* terms to the degree k + 2 */
    double most = 0;
    for (size_t j = 0, n; j < m->count; j += n) {
        double change[SAMPLES] = { 0 }, all[SAMPLES] = { 0 }, slope[SAMPLES];
        n = m->count - j < SAMPLES ? m->count - j : SAMPLES;
        for (size_t i = 0; i < m->terms; i++) {
            const double *f = m->columns + i * m->stride + j, *above = f + two * m->stride;
            double k = (double)(m->first + i * m->step);
            if (i + two < m->terms)
                vector->affine2(n, 0, k, f, sqrt((k + 1) * (k + 2)), above, slope);
            else
                vector->affine(n, 0, k, f, slope);
            vector->accumulate(n, 1, f, slope, change);
            vector->accumulate(n, 1, f, f, all);
        }
        for (size_t i = 0; i < n; i++)
            most = fmax(most, all[i] > 0 ? fabs(change[i]) / all[i] : 0);
    }
    return most;
}
