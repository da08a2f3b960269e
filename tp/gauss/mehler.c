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
        double left = fmax(tp_hermite_short(squares[j], energy), least * squares[j]), inverse = 1 / squares[j];
        m->rests[j] = sqrt(left / squares[j]);
        for (size_t d = m->degrees + 1, k = m->terms; d-- > 0;) {
            if (k > 0 && d == m->first + m->step * (k - 1)) {
                k--;
                left += row[k] * row[k];
            }
            double ratio = left * inverse;
            m->tails[d] = ratio > m->tails[d] ? ratio : m->tails[d];
        }
    }
    for (size_t d = 0; d <= m->degrees; d++) {
        m->tails[d] = sqrt(m->tails[d]);
        m->log_tails[d] = log(m->tails[d]);
    }
}

/* Coefficients (count, terms) and E f^2 at these variances, by the rule. */
static int by_rule(tp_mehler_family *y, const tp_univariate *f, size_t count, const double *q, double *out,
                   double *squares, ad_error *error)
{
    bool shared = true; /* kinks at 0 stay where they are at every variance */
    for (int k = 0; k < f->n_kinks; k++)
        shared = shared && !(fabs(f->kinks[k]) > 0);
    size_t block = shared ? TP_HERMITE_CHUNK : 1;
    tp_hermite_scratch s = tp_hermite_take(count, y->terms, error);
    int status = s.values && s.hermite ? 0 : -1;
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

/* The same from the table, of the first so many terms. */
static int by_table(const tp_mehler_family *y, size_t terms, size_t count, const double *q, double *out,
                    double *squares, ad_error *error)
{
    size_t width = terms + 1, block = count < TP_HERMITE_CHUNK ? count : TP_HERMITE_CHUNK;
    double *values = ad_reserve(block * width, sizeof *values, "Mehler's coefficients", error);
    int status = values ? 0 : -1;
    for (size_t j = 0; j < count && !status; j += block) {
        size_t n = count - j < block ? count - j : block;
        status = tp_chebyshev_get(&y->table, width, n, q + j, values, error);
        for (size_t i = 0; i < n && !status; i++) {
            double root = exp(values[i * width] / 2);
            squares[j + i] = root * root;
            for (size_t k = 0; k < terms; k++)
                out[(j + i) * terms + k] = root * values[i * width + 1 + k];
        }
    }
    ad_free(values);
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
    most = !fixed ? TP_FEW_DEGREES : most > TP_MOST_DEGREES ? TP_MOST_DEGREES : most;
    for (bool more = true; more; most *= 4) {
        tp_hermite_scratch s = tp_hermite_take(1, most, error);
        double *all = ad_alloc(most, sizeof *all, "Mehler's coefficients", error);
        tp_hermite_rule_free(&y->nodes);
        status = s.values && s.hermite && all
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

static int fill_series(tp_mehler *m, tp_mehler_family *y, double least, const tp_univariate *f, const double *q,
                       ad_error *error)
{
    int status = y->table.n > 0 ? by_table(y, m->terms, m->count, q, m->coefficients, m->squares, error)
                                : by_rule(y, f, m->count, q, m->coefficients, m->squares, error);
    if (status)
        return -1;
    fill_tails(m, least);
    for (size_t j = 0; j < m->count; j++)
        m->inverses[j] = q[j] > 0 ? 1 / sqrt(q[j]) : 0;
    for (size_t first = 0; first < m->count; first += LINE)
        for (size_t k = 0; k < m->terms; k++)
            for (size_t j = first; j < m->count && j < first + LINE; j++)
                m->columns[k * m->stride + j] = m->coefficients[j * m->terms + k];
    return 0;
}

/* The degrees that variances up to `high` need, of those that the table has. */
static int trim(const tp_mehler_family *y, double high, tp_mehler_family *own, ad_error *error)
{
    double square = 0, *row = ad_alloc(y->terms + y->degrees, sizeof *row, "Mehler's coefficients", error);
    if (!row || by_table(y, y->terms, 1, &high, row, &square, error)) {
        ad_free(row);
        return -1;
    }
    double *all = row + y->terms;
    for (size_t k = 0; k < y->terms; k++)
        all[y->first + k * y->step] = row[k];
    own->least = choose(own, all, y->degrees, square, y->least * square);
    ad_free(row);
    return 0;
}

static tp_mehler *make_series(tp_mehler_family *y, const tp_univariate *f, size_t count, const double *q, size_t most,
                              bool shared, ad_error *error)
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
    if (fit(y, f, count, low, high, most, shared, error))
        return NULL;
    tp_mehler_family own = *y;
    if (y->table.n > 0 && trim(y, high, &own, error))
        return NULL;
    tp_mehler *m = ad_alloc(1, sizeof *m, what, error);
    if (!m)
        return NULL;
    *m = (tp_mehler){ .count = count, .degrees = own.degrees, .terms = own.terms, .first = y->first, .step = y->step };
    m->tolerance = y->tolerance;
    m->difference = y->difference;
    m->stride = (count + TP_BLOCK + 7) / 8 * 8; /* a block may start at any column */
    m->coefficients = ad_alloc(count * m->terms, sizeof *m->coefficients, what, error);
    m->columns = ad_alloc(m->terms * m->stride, sizeof *m->columns, what, error);
    m->tails = ad_alloc(2 * (m->degrees + 1), sizeof *m->tails, what, error);
    m->log_tails = m->tails ? m->tails + m->degrees + 1 : NULL;
    m->rests = ad_alloc(count, sizeof *m->rests, what, error);
    m->inverses = ad_alloc(count, sizeof *m->inverses, what, error);
    m->squares = ad_alloc(count, sizeof *m->squares, what, error);
    if (m->coefficients && m->columns && m->tails && m->rests && m->inverses && m->squares &&
        fill_series(m, y, own.least, f, q, error) == 0)
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
    tp_mehler *made = can_evaluate(f, error) ? make_series(&y, f, count, q, most, false, error) : NULL;
    tp_hermite_rule_free(&y.nodes);
    tp_chebyshev_free(&y.table);
    return made;
}

tp_mehler *tp_mehler_new_of(tp_mehler_family **family, const tp_univariate *f, size_t count, const double *q,
                            double tolerance, ad_error *error)
{
    if (!can_evaluate(f, error))
        return NULL;
    if (!*family) {
        *family = ad_alloc(1, sizeof **family, "Mehler's coefficients", error);
        if (!*family)
            return NULL;
        (*family)->tolerance = least_tolerance(tolerance);
    }
    return make_series(*family, f, count, q, 0, true, error);
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

enum { EVERY = 4 };

/* The log of what terms up to degree d leave out where |c| = exp(log_c). */
static double log_left(const tp_mehler *f, const tp_mehler *g, const common *s, size_t step, double log_c)
{
    size_t d = s->first + s->step * EVERY * (step + 1);
    return f->log_tails[d] + g->log_tails[d] + (double)d * log_c;
}

/* The first of `steps`, of EVERY terms each, after which what is left out is within the tolerance, or all. It falls
 * from step to step, and is looked for from where it was last. */
static size_t enough_steps(const tp_mehler *f, const tp_mehler *g, const common *s, size_t steps, size_t last,
                           double log_c, double log_tolerance)
{
    size_t at = last < steps ? last : steps;
    while (at < steps && log_left(f, g, s, at, log_c) > log_tolerance)
        at++;
    while (at > 0 && log_left(f, g, s, at - 1, log_c) <= log_tolerance)
        at--;
    return at;
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
    double log_tolerance = log(fmin(f->tolerance, g->tolerance));
    size_t steps = s.terms > 0 ? (s.terms - 1) / EVERY : 0;
    double largest = 0, log_skipped = -INFINITY;
    size_t blocks = (columns + TP_BLOCK - 1) / TP_BLOCK,
           wide = ((columns + blocks - 1) / blocks + LINE - 1) / LINE * LINE;
    size_t enough = 0;
    for (size_t at = 0; at < columns; at += wide) {
        size_t n = columns - at < wide ? columns - at : wide;
        const double *block = g->columns + s.g_at * g->stride + column + at, *inverse = g->inverses + column + at;
        for (size_t i = 0; i < rows; i++) {
            const double *cov = q12 + i * q12_stride + at;
            double c[TP_BLOCK] = { 0 }, x[TP_BLOCK], sum[TP_BLOCK], *to = out + i * out_stride + at;
            double most = vector->correlate(n, f->inverses[row + i], inverse, cov, c);
            if (s.step == 2)
                vector->multiply(TP_BLOCK, c, c, x);
            double log_c = log(most);
            enough = enough_steps(f, g, &s, steps, enough, log_c, log_tolerance);
            bool all = enough == steps;
            size_t terms = all ? s.terms : EVERY * (enough + 1);
            vector->horner(n, terms, f->coefficients + (row + i) * f->terms + s.f_at, s.f_step, block,
                           s.g_step * g->stride, s.step == 2 ? x : c, sum);
            if (s.first)
                vector->multiply(n, c, sum, to);
            else
                memcpy(to, sum, n * sizeof *to);
            if (all)
                largest = fmax(largest, most);
            else
                log_skipped = fmax(log_skipped, log_left(f, g, &s, enough, log_c));
        }
    }
    return fmax(exp(log_skipped), pow(largest, (double)s.degrees) * f->tails[s.degrees] * g->tails[s.degrees]);
}
