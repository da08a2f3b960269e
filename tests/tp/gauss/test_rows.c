/* test_rows.c: the fast ways of tp/gauss beside plain ones, in every instruction set of this machine: rows of pairs by
 * their correlations beside the formulas in 77 digits (MPFR), loops beside loops, coefficients interpolated over the
 * variance beside those of the rule. */
#include "tests/support/real.h"
#include "tp/gauss/gauss.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
enum { N = 37 };
static const double unit = DBL_EPSILON / 2, pi = 3.14159265358979323846;

/* A row of one sample with N others. */
typedef struct {
    double q, others[N], cov[N], inverse[N + 1], root[N + 1], erf[N + 1];
} row;

static row make_row(double q, double other, const double *correlations)
{
    row r = { .q = q };
    for (int k = 0; k <= N; k++) {
        double v = k < N ? other * (1 + 0.01 * k) : q;
        r.inverse[k] = 1 / sqrt(v);
        r.root[k] = sqrt(v);
        r.erf[k] = sqrt(2 / (1 + 2 * v));
        if (k < N) {
            r.others[k] = v;
            r.cov[k] = correlations[k] * sqrt(q) * sqrt(v);
        }
    }
    return r;
}

/* From -1 to 1, both ends and what is next to them among them. */
static void fill_correlations(double *c)
{
    const double ends[] = {
        1, 1 - 0x1p-53, 1 - 1e-15, 1 - 1e-12, 1 - 1e-9, 1 - 0x1p-17, 1 - 1e-4, 0.85, 0, 1e-200, 1e-9
    };
    for (int k = 0; k < N; k++)
        c[k] = cos(pi * k / (N - 1));
    for (size_t k = 0; k < COUNT(ends); k++) {
        c[2 * k] = ends[k];
        c[2 * k + 1] = -ends[k];
    }
}

/* By how much an angle moves with a cosine of this sine, of roundings of it. */
static double moved(double sine)
{
    const double off = 5 * unit;
    return off / fmax(sine, sqrt(off));
}

static void check_relu(const tp_vector *vector, const row *r)
{
    double relu[N], step[N];
    const tp_side one = { &r->inverse[N], &r->root[N] }, many = { r->inverse, r->root };
    double most = vector->relu_rows(1, N, &one, &many, r->cov, relu, step);
    cr_expect(most >= 1 - 4 * unit && most <= 1 + 8 * unit);
    for (int k = 0; k < N; k++) {
        real q12 = real_of(r->cov[k]), product = real_mul(real_of(r->q), real_of(r->others[k]));
        real det = real_sub(product, real_mul(q12, q12)), none = real_of(0), d = real_sqrt(product);
        real t = real_sqrt(real_sign(det) > 0 ? det : none), phi = real_atan2(t, real_neg(q12));
        double sine = real_double(real_div(t, d)), turns = real_double(phi) / (2 * pi);
        double value = real_double(real_div(real_add(t, real_mul(phi, q12)), d)) / (2 * pi);
        cr_expect(fabs(step[k] - turns) <= moved(sine) / (2 * pi) + 2 * unit, "step %g, %g, %.17g: %.17g, not %.17g",
                  r->q, r->others[k], r->cov[k], step[k], turns);
        cr_expect(fabs(relu[k] / real_double(d) - value) <= 6 * unit, "relu %g, %g, %.17g: off by %g", r->q,
                  r->others[k], r->cov[k], relu[k] / real_double(d) - value);
    }
}

static void check_erf(const tp_vector *vector, const row *r)
{
    double erf[N], slope[N];
    const tp_side one = { &r->inverse[N], &r->erf[N] }, many = { r->inverse, r->erf };
    vector->erf_rows(1, N, &one, &many, r->cov, erf, slope);
    for (int k = 0; k < N; k++) {
        real first = real_add(real_of(1), real_scale(2, real_of(r->q)));
        real product = real_mul(first, real_add(real_of(1), real_scale(2, real_of(r->others[k]))));
        real x = real_scale(2, real_of(r->cov[k])), det = real_sub(product, real_mul(x, x));
        double sine = real_double(real_sqrt(real_div(det, product)));
        double want = real_double(real_atan2(x, real_sqrt(det))) * 2 / pi, size = fabs(want);
        double want_slope = 4 / pi / real_double(real_sqrt(det));
        if (real_sign(det) <= 0 || sine < 1e-6)
            continue; /* near 1, where no row is used */
        cr_expect(fabs(erf[k] - want) <= moved(sine) + 4 * unit * size, "erf %g, %g, %.17g: %.17g, not %.17g", r->q,
                  r->others[k], r->cov[k], erf[k], want);
        cr_expect(fabs(slope[k] / want_slope - 1) <= 6 * unit / (sine * sine) + 8 * unit,
                  "erf' %g, %g, %.17g: %.17g, not %.17g", r->q, r->others[k], r->cov[k], slope[k], want_slope);
    }
}

Test(rows, are_the_formulas_at_any_norms)
{
    const double norms[] = { 1, 0.3, 1e3, 1e-150, 1e150, 1e-75 };
    double correlations[N];
    fill_correlations(correlations);
    for (int set = 0; tp_vector_at(set); set++)
        for (size_t i = 0; i < COUNT(norms); i++)
            for (size_t j = 0; j < COUNT(norms); j++) {
                row r = make_row(norms[i] * norms[i], norms[j] * norms[j], correlations);
                check_relu(tp_vector_at(set), &r);
                check_erf(tp_vector_at(set), &r);
            }
}

Test(rows, do_not_depend_on_their_length)
{
    double correlations[N], whole[2][N], part[2][N];
    fill_correlations(correlations);
    row r = make_row(1.7, 0.9, correlations);
    const tp_side one = { &r.inverse[N], &r.root[N] };
    for (int set = 0; tp_vector_at(set); set++) {
        const tp_vector *vector = tp_vector_at(set);
        vector->relu_rows(1, N, &one, &(tp_side){ r.inverse, r.root }, r.cov, whole[0], whole[1]);
        for (size_t n = 1; n <= N; n++)
            for (size_t at = 0; at + n <= N; at += 5) {
                vector->relu_rows(1, n, &one, &(tp_side){ r.inverse + at, r.root + at }, r.cov + at, part[0], part[1]);
                cr_expect(memcmp(part[0], whole[0] + at, n * sizeof(double)) == 0);
                cr_expect(memcmp(part[1], whole[1] + at, n * sizeof(double)) == 0);
            }
    }
}

/* The first rows of a block one by one, of few columns and of many. */
Test(rows, are_those_of_a_block)
{
    enum { ROWS = 3 };
    double correlations[N], cov[ROWS * N], block[2][ROWS * N], alone[2][N];
    for (int k = 0; k < N; k++)
        correlations[k] = 0.9 * sin(2.3 * k);
    row r = make_row(1.7, 0.9, correlations);
    for (int set = 0; tp_vector_at(set); set++)
        for (int which = 0; which < 2; which++) {
            tp_pair_rows *of = which ? tp_vector_at(set)->erf_rows : tp_vector_at(set)->relu_rows;
            const double *scales = which ? r.erf : r.root;
            const tp_side sides = { r.inverse, scales };
            for (size_t n = 1; n <= N; n++) {
                for (size_t i = 0; i < ROWS; i++)
                    for (size_t k = 0; k < n; k++)
                        cov[i * n + k] = correlations[(7 * i + k) % N] / (r.inverse[i] * r.inverse[k]);
                double most = of(ROWS, n, &sides, &sides, cov, block[0], block[1]), largest = 0;
                for (size_t i = 0; i < ROWS; i++) {
                    const tp_side one = { r.inverse + i, scales + i };
                    largest = fmax(largest, of(1, n, &one, &sides, cov + i * n, alone[0], alone[1]));
                    for (int k = 0; k < 2; k++)
                        cr_expect(memcmp(alone[k], block[k] + i * n, n * sizeof(double)) == 0);
                }
                cr_expect(most >= largest && most <= largest);
            }
        }
}

Test(rows, tell_the_largest_correlation_and_pass_by_no_numbers)
{
    double correlations[N], first[N], second[N];
    for (int k = 0; k < N; k++)
        correlations[k] = 0.5 * sin(k);
    row r = make_row(1.7, 0.9, correlations);
    r.cov[20] = -0.75 * sqrt(r.q) * sqrt(r.others[20]);
    r.cov[21] = (double)NAN;
    const tp_side one = { &r.inverse[N], &r.root[N] }, many = { r.inverse, r.root };
    for (int set = 0; tp_vector_at(set); set++) {
        const tp_vector *vector = tp_vector_at(set);
        cr_expect(fabs(vector->relu_rows(1, N, &one, &many, r.cov, first, second) - 0.75) <= 4 * unit);
        cr_expect(isnan(first[21]) && isnan(second[21]));
    }
}

enum { MOST = 40, TERMS = 9, STRIDE = 64, SIZE = 5 };

/* Sums and products of up to three arrays, of which any may be missing or be the output. */
static void check_combinations(const tp_vector *vector, size_t n, const double *x, const double *y, const double *z)
{
    double sum[STRIDE], product[STRIDE];
    for (int which = 0; which < 16; which++) {
        const double *b = which & 1 ? y : NULL, *d = which & 2 ? z : NULL;
        memcpy(sum, which & 4 ? x : z, sizeof sum);
        memcpy(product, which & 4 ? x : z, sizeof product);
        vector->sum3(n, 2, 3, which & 4 ? sum : x, -4, b, 5, which & 8 && !(which & 4) && d ? sum : d, sum);
        vector->weigh(n, which & 4 ? product : x, 2, -4, y, 5, which & 8 && !(which & 4) && d ? product : d, product);
        for (size_t j = 0; j < n; j++) {
            double more = d ? 5 * z[j] : 0;
            cr_expect(fabs(sum[j] - (2 + 3 * x[j] - (b ? 4 * y[j] : 0) + more)) <= 1e-14);
            cr_expect(fabs(product[j] - (x[j] * (2 - 4 * y[j]) + more)) <= 1e-14);
        }
    }
}

Test(loops, are_plain_loops_in_every_set)
{
    double f[TERMS], g[TERMS * STRIDE], x[STRIDE], y[STRIDE], out[STRIDE];
    for (int k = 0; k < TERMS * STRIDE; k++)
        g[k] = sin(k);
    for (int k = 0; k < TERMS; k++)
        f[k] = cos(k);
    for (int k = 0; k < STRIDE; k++) {
        x[k] = sin(3 * k);
        y[k] = cos(5 * k);
    }
    for (int set = 0; tp_vector_at(set); set++) {
        const tp_vector *vector = tp_vector_at(set);
        for (size_t n = 1; n <= MOST; n++) {
            vector->affine2(n, 2, 3, x, -4, y, out);
            for (size_t j = 0; j < n; j++)
                cr_expect(!(fabs(out[j] - (2 + 3 * x[j] - 4 * y[j])) > 0));
            vector->products(1, n, SIZE, f, g, STRIDE, out);
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (int k = 0; k < SIZE; k++)
                    sum += f[k] * g[k * STRIDE + (int)j];
                cr_expect(fabs(out[j] - sum) <= 1e-14);
            }
            check_combinations(vector, n, x, y, g);
            cr_expect(vector->within(n, y, 0, 1) && !vector->within(n, y, 0, 0.9 * fabs(y[n - 1])));
            cr_expect(!vector->within(n, y, 1.1 * fabs(y[n - 1]), INFINITY));
        }
        double not_a_number[] = { 1, 2, (double)NAN, 4, 5, 6, 7, 8, 9, (double)INFINITY };
        cr_expect(!vector->within(8, not_a_number, 0, DBL_MAX) && !vector->within(3, not_a_number, 0, DBL_MAX));
        cr_expect(!vector->within(7, not_a_number + 3, 0, DBL_MAX) && vector->within(6, not_a_number + 3, 4, 9));
    }
}

/* Rows by fours and ones, columns by few vectors and one, the last ones twice. */
Test(loops, products_are_plain_sums)
{
    enum { HIGH = 9, WIDEST = 75, DEEP = 67, ROOM = 88, GUARD = 7 };
    static double x[HIGH * DEEP], turned[DEEP * ROOM], out[HIGH * WIDEST + 1];
    for (int k = 0; k < HIGH * DEEP; k++)
        x[k] = sin(3 * k);
    for (int k = 0; k < DEEP * ROOM; k++)
        turned[k] = cos(5 * k);
    for (int set = 0; tp_vector_at(set); set++)
        for (size_t rows = 1; rows <= HIGH; rows++)
            for (size_t columns = 1; columns <= WIDEST; columns++) {
                size_t size = columns % 3 ? DEEP : 1 + columns % 5;
                out[rows * columns] = GUARD;
                tp_vector_at(set)->products(rows, columns, size, x, turned, ROOM, out);
                for (size_t at = 0; at < rows * columns; at++) {
                    double sum = 0;
                    for (size_t k = 0; k < size; k++)
                        sum += x[at / columns * size + k] * turned[k * ROOM + at % columns];
                    cr_expect(fabs(out[at] - sum) <= 1e-13, "%zu x %zu x %zu", rows, columns, size);
                }
                cr_expect(!(fabs(out[rows * columns] - GUARD) > 0));
            }
}

enum { FEW = 23, COLUMNS = 230, WIDTH = 256, LEVELS = 3 };

/* sum_k f_k g_kj x^k of so many terms, times c where it is odd. */
static double plain_sum(const tp_sum_of *s, size_t terms, size_t j, double c)
{
    double sum = 0, x = s->squared ? c * c : c;
    for (size_t k = terms; k-- > 0;)
        sum = sum * x + s->f[k * s->f_step] * s->g[k * s->g_step + j];
    return s->odd ? sum * c : sum;
}

/* Neighbours take as many terms as their largest correlation needs, never fewer than a number's own. */
static void check_series(const tp_vector *vector, size_t n, const tp_sum_of *s, const tp_terms *enough, double *q12)
{
    double out[COLUMNS], most = 0;
    bool skipped = false;
    double largest = vector->series(n, s, enough, q12, out, &skipped);
    for (size_t j = 0; j < n; j++) {
        double c = q12[j] * s->inverse * s->inverses[j];
        size_t need = 0;
        bool found = false;
        if (fabs(c) > 1.1) {
            cr_expect(isnan(out[j]));
            continue;
        }
        c = fmin(1, fmax(-1, c));
        while (fabs(c) > enough->reach[need])
            need++;
        for (size_t level = need; level < LEVELS; level++)
            found = found || fabs(out[j] - plain_sum(s, enough->terms[level], j, c)) <= 1e-13;
        cr_expect(found, "%zu of %zu at %g: %.17g", j, n, c, out[j]);
        most = need + 1 == LEVELS ? fmax(most, fabs(c)) : most;
    }
    cr_expect(fabs(largest - most) <= 2 * unit);
    cr_expect(skipped);
    vector->series(n, s, enough, q12, q12, &skipped); /* in place */
    cr_expect(memcmp(out, q12, n * sizeof *out) == 0);
}

Test(loops, series_take_the_terms_that_they_need)
{
    double f[2 * FEW], g[FEW * WIDTH], inverses[COLUMNS], q12[COLUMNS];
    tp_terms enough = { .n = LEVELS, .terms = { 4, 11, FEW }, .reach = { 0.1, 0.6 } };
    for (int k = LEVELS - 1; k < TP_FIRST_ENOUGH; k++)
        enough.reach[k] = INFINITY;
    for (int k = 0; k < 2 * FEW; k++)
        f[k] = 2 + cos(k);
    for (int k = 0; k < FEW * WIDTH; k++)
        g[k] = 2 + sin(k);
    for (int set = 0; tp_vector_at(set); set++)
        for (int kind = 0; kind < 4; kind++)
            for (size_t n = 1; n <= COLUMNS; n++) {
                const tp_sum_of s = { f, g, 2, WIDTH, 0.5, inverses, kind % 2, kind / 2 };
                for (int j = 0; j < COLUMNS; j++) { /* small ones first; beyond 1 by a rounding, and by more */
                    inverses[j] = 2 + sin(j);
                    double c = j < 80             ? 0.09 * sin(j)
                               : j < 160          ? 0.5 * cos(j)
                               : j < COLUMNS - 2  ? -0.9
                               : j == COLUMNS - 2 ? 1 + 1e-15
                                                  : 2;
                    q12[j] = c / inverses[j] / 0.5;
                }
                check_series(tp_vector_at(set), n, &s, &enough, q12);
            }
}

/* Series of many variances, which are interpolated, beside those of one alone, which are not. */
Test(families, are_the_rule_s_coefficients)
{
    enum { SAMPLES = 40 };
    const ad_op ops[] = { AD_TANH, AD_SIGMOID, AD_SOFTPLUS, AD_SIN };
    const double ranges[][2] = { { 0.5, 2 }, { 0.02, 6 }, { 1, 1 }, { 0.9, 300 }, { 1e-8, 1e-7 } };
    for (size_t i = 0; i < COUNT(ops); i++) {
        tp_univariate f = tp_univariate_op(ops[i], 0);
        tp_mehler_family *family = NULL;
        ad_error error = { 0 };
        for (size_t range = 0; range < COUNT(ranges); range++) {
            double q[SAMPLES];
            for (int k = 0; k < SAMPLES; k++)
                q[k] = ranges[range][0] * pow(ranges[range][1] / ranges[range][0], k / (SAMPLES - 1.0));
            tp_mehler *many = tp_mehler_new_of(&family, &f, SAMPLES, q, 0, q[SAMPLES - 1], &error);
            cr_assert(many, "%s", error.text);
            for (int k = 0; k < SAMPLES; k += 13) {
                tp_mehler *one = tp_mehler_new(&f, 1, &q[k], 0, 0, &error);
                cr_assert(one, "%s", error.text);
                double size = sqrt(one->squares[0]);
                cr_expect(fabs(many->squares[k] / one->squares[0] - 1) <= 2e-14, "op %d at %g: %.17g, not %.17g",
                          ops[i], q[k], many->squares[k], one->squares[0]);
                for (size_t t = 0; t < many->terms && many->first + t * many->step < one->degrees; t++) {
                    size_t degree = many->first + t * many->step, at = (degree - one->first) / one->step;
                    double want = degree >= one->first && (degree - one->first) % one->step == 0 && at < one->terms
                                      ? tp_mehler_coefficient(one, 0, at)
                                      : 0;
                    cr_expect(fabs(tp_mehler_coefficient(many, (size_t)k, t) - want) <= 3e-13 * size,
                              "op %d at %g, degree %zu: %g, not %g", ops[i], q[k], degree,
                              tp_mehler_coefficient(many, (size_t)k, t), want);
                }
                tp_mehler_free(one);
            }
            tp_mehler_free(many);
        }
        tp_mehler_family_free(family);
    }
}

Test(families, slopes_and_changes_are_plain_sums)
{
    enum { SAMPLES = 70, POINTS = 36 };
    const ad_op ops[] = { AD_TANH, AD_SIGMOID };
    double q[SAMPLES], c[POINTS], slopes[POINTS];
    ad_error error = { 0 };
    for (int k = 0; k < SAMPLES; k++)
        q[k] = k == 5 ? 0 : 0.1 + 0.04 * k;
    for (int i = 0; i < POINTS; i++)
        c[i] = 1 - exp2(-i / 2.0) * 0.999;
    for (size_t op = 0; op < COUNT(ops); op++) {
        tp_univariate f = tp_univariate_op(ops[op], 0);
        tp_mehler *m = tp_mehler_new(&f, SAMPLES, q, 0, 0, &error);
        cr_assert(m, "%s", error.text);
        double most = 0;
        for (size_t j = 0; j < SAMPLES; j++) {
            double change = 0, all = 0;
            tp_mehler_slopes(m, j, POINTS, c, slopes);
            for (int i = 0; i < POINTS; i++) {
                double sum = 0;
                for (size_t t = 0; t < m->terms; t++) {
                    double k = (double)(m->first + m->step * t), a = tp_mehler_coefficient(m, j, t);
                    sum += m->squares[j] > 0 ? k * a * a * pow(c[i], k - 1) / m->squares[j] : 0;
                }
                cr_expect(fabs(slopes[i] - sum) <= 1e-12 * (1 + sum), "%zu at %g: %g, not %g", j, c[i], slopes[i], sum);
            }
            for (size_t t = 0; t < m->terms; t++) {
                double k = (double)(m->first + m->step * t), a = tp_mehler_coefficient(m, j, t);
                size_t two = t + 2 / m->step;
                double above = two < m->terms ? tp_mehler_coefficient(m, j, two) : 0;
                change += a * (k * a + sqrt((k + 1) * (k + 2)) * above);
                all += a * a;
            }
            most = fmax(most, all > 0 ? fabs(change) / all : 0);
        }
        cr_expect(fabs(tp_mehler_change(m) - most) <= 1e-12 * most);
        tp_mehler_free(m);
    }
}

/* tanh and a bump, as large as its parameter. */
static void eval_bumped(const tp_univariate *u, size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        double at = x[i];
        y[i] = tanh(at) + u->parameter * exp(-(at - 2) * (at - 2));
    }
}

enum { MEMO_SAMPLES = 30 };

static tp_mehler *bumped_series(double bump, long *allocations, ad_error *error)
{
    tp_univariate f = { .form = TP_NUMERIC, .parameter = bump, .eval = eval_bumped };
    tp_mehler_family *family = NULL;
    double q[MEMO_SAMPLES];
    for (int k = 0; k < MEMO_SAMPLES; k++)
        q[k] = 0.3 + 0.1 * k;
    long before = ad_allocations();
    tp_mehler *made = tp_mehler_new_of(&family, &f, MEMO_SAMPLES, q, 0, 0, error);
    *allocations = ad_allocations() - before;
    tp_mehler_family_free(family);
    return made;
}

static bool equal_series(const tp_mehler *a, const tp_mehler *b)
{
    return a->terms == b->terms && a->degrees == b->degrees &&
           memcmp(a->squares, b->squares, a->count * sizeof *a->squares) == 0 &&
           memcmp(a->columns, b->columns, a->terms * a->stride * sizeof *a->columns) == 0;
}

/* Families of functions with the same values know what the first one found, to the bit; one that differs by 1e-12
 * around a point does not get it. */
Test(families, share_what_was_found_of_the_same_values)
{
    const double bumps[] = { 0, 1e-12, 1e-7, 1e-3 };
    ad_error error = { 0 };
    for (size_t i = 0; i < COUNT(bumps); i++) {
        long first, second;
        tp_mehler *found = bumped_series(bumps[i], &first, &error), *again = bumped_series(bumps[i], &second, &error);
        cr_assert(found && again, "%s", error.text);
        cr_expect(second < first, "bump %g: %ld allocations, and %ld", bumps[i], first, second);
        cr_expect(equal_series(found, again), "bump %g", bumps[i]);
        for (size_t k = 0; k < MEMO_SAMPLES; k += 7) {
            tp_univariate f = { .form = TP_NUMERIC, .parameter = bumps[i], .eval = eval_bumped };
            double q = 0.3 + 0.1 * (double)k, mean = 0;
            cr_assert(tp_quadrature(&f, &f, q, q, q, &mean, NULL, &error) == 0, "%s", error.text);
            cr_expect(fabs(found->squares[k] / mean - 1) <= 2e-14, "bump %g at %g: %.17g, not %.17g", bumps[i], q,
                      found->squares[k], mean);
        }
        tp_mehler_free(found);
        tp_mehler_free(again);
    }
}

/* argument: a bump; the result: how many of its series were not the first one. */
static void *find_often(void *argument)
{
    double bump = *(double *)argument;
    ad_error error = { 0 };
    long ignored;
    size_t wrong = 0;
    tp_mehler *first = bumped_series(bump, &ignored, &error);
    for (int k = 0; k < 20; k++) {
        tp_mehler *other = first ? bumped_series(bump + (k % 2 ? 1e-6 * k : 0), &ignored, &error) : NULL;
        wrong += !other || equal_series(first, other) != (k % 2 == 0);
        tp_mehler_free(other);
    }
    tp_mehler_free(first);
    *(double *)argument = (double)wrong;
    return NULL;
}

Test(families, share_among_threads)
{
    pthread_t threads[4];
    double bumps[COUNT(threads)] = { 1e-3, 1e-3, 2e-3, 4e-3 };
    for (size_t k = 0; k < COUNT(threads); k++)
        cr_assert(pthread_create(&threads[k], NULL, find_often, &bumps[k]) == 0);
    for (size_t k = 0; k < COUNT(threads); k++) {
        pthread_join(threads[k], NULL);
        cr_expect(!(bumps[k] > 0), "%g series are not those that were found first", bumps[k]);
    }
}

/* ---- pairs of points ---- */
enum { POINTS = 11, PAIRS = 13 };

/* Points of one sample and of TP_LANES others; the first of either are 0. */
typedef struct {
    double inverse[POINTS], root[POINTS], variance[POINTS], variances[POINTS * TP_LANES], inverses[POINTS * TP_LANES],
        roots[POINTS * TP_LANES];
    double none[TP_LANES], in[PAIRS * TP_LANES], tangent[PAIRS * TP_LANES];
    int32_t first[PAIRS], second[PAIRS];
} met;

static met make_met(void)
{
    met m = { 0 };
    for (int k = 1; k < POINTS; k++) {
        m.inverse[k] = 1 / sqrt(1 + 0.1 * k);
        m.root[k] = sqrt(1 + 0.1 * k);
        m.variance[k] = 1 + 0.1 * k;
    }
    for (int k = TP_LANES; k < POINTS * TP_LANES; k++) {
        m.inverses[k] = 1 / sqrt(2 + sin(k));
        m.roots[k] = sqrt(2 + sin(k));
        m.variances[k] = 2 + sin(k);
    }
    for (int i = 0; i < PAIRS; i++) {
        m.first[i] = i * 5 % POINTS;
        m.second[i] = i * 3 % POINTS;
        for (int t = 0; t < TP_LANES; t++) {
            double scale = m.root[m.first[i]] * m.roots[m.second[i] * TP_LANES + t];
            m.in[i * TP_LANES + t] = scale * cos(7 * i + t) / 3; /* correlations from -1 to 1 */
            m.tangent[i * TP_LANES + t] = sin(i + 3 * t);
        }
    }
    return m;
}

Test(points, are_rows_pair_by_pair)
{
    const met m = make_met();
    for (int set = 0; tp_vector_at(set); set++)
        for (size_t n = 1; n <= PAIRS; n++) {
            const tp_vector *vector = tp_vector_at(set);
            const tp_points points = { .first = m.first,
                                       .second = m.second,
                                       .one = { m.inverse, m.root },
                                       .others = { m.inverses, m.roots },
                                       .variance = m.variance,
                                       .variances = m.variances };
            const double line = 0x1p-48;
            bool beyond;

            double out[PAIRS * TP_LANES], slopes[PAIRS * TP_LANES], same[PAIRS * TP_LANES], most = 0;
            double largest = vector->relu_points(n, &points, 3, m.in, 0.5, m.tangent, line, &beyond, out, slopes);
            vector->relu_points(n, &points, 3, m.in, 0.5, m.tangent, line, &beyond, NULL, same);
            cr_expect_arr_eq(same, slopes, n * TP_LANES * sizeof *same);
            for (size_t i = 0; i < n; i++) {
                size_t a = (size_t)m.first[i], b = (size_t)m.second[i] * TP_LANES;
                double q12[TP_LANES], relu[TP_LANES], step[TP_LANES];
                for (int t = 0; t < TP_LANES; t++)
                    q12[t] = 3 * m.in[i * TP_LANES + (size_t)t];
                most = fmax(most, vector->relu_rows(1, TP_LANES, &(tp_side){ m.inverse + a, m.root + a },
                                                    &(tp_side){ m.inverses + b, m.roots + b }, q12, relu, step));
                for (size_t t = 0; t < TP_LANES; t++) {
                    bool none = a == 0 || m.second[i] == 0;
                    size_t at = i * TP_LANES + t;
                    double slope = 0.5 * m.tangent[at] * step[t];
                    cr_expect(out[at] >= (none ? 0 : relu[t]) && out[at] <= (none ? 0 : relu[t]), "%zu: %g", at,
                              out[at]);
                    cr_expect(slopes[at] >= (none ? 0 : slope) && slopes[at] <= (none ? 0 : slope), "%zu: %g", at,
                              slopes[at]);
                }
            }
            cr_expect(largest >= most && largest <= most);
        }
}

/* One point each of variances 2 and 8, or 2 and 2: collinear up to roundings, opposite, next to it, apart. */
Test(points, on_a_line_correlations_are_one)
{
    enum { KINDS = 4 };
    const int32_t zero = 0;
    const double line = 0x1p-48, correlations[KINDS] = { 1 + 0x1p-50, -1, 1 - 0x1p-40, 0.3 };
    for (int set = 0; tp_vector_at(set); set++)
        for (int k = 0; k < KINDS; k++)
            for (int equal = 0; equal < 2; equal++) {
                double q = 2, others[TP_LANES], in[TP_LANES], root = sqrt(2), roots[TP_LANES], inverse = 1 / root;
                double inverses[TP_LANES], tangent[TP_LANES], out[TP_LANES], slopes[TP_LANES];
                bool beyond, on = k < 2;
                for (int t = 0; t < TP_LANES; t++) {
                    others[t] = equal ? 2 : 8;
                    roots[t] = sqrt(others[t]);
                    inverses[t] = 1 / roots[t];
                    in[t] = k == 1 && equal ? -2 : correlations[k] * sqrt(q * others[t]);
                    tangent[t] = 1;
                }
                const tp_points points = { &zero, &zero, { &inverse, &root }, { inverses, roots }, &q, others };
                double most = tp_vector_at(set)->relu_points(1, &points, 1, in, 1, tangent, line, &beyond, out, slopes);
                cr_expect(beyond == (on && !(k == 1 && equal)) && (on ? most <= 0 : most > 0), "%d, %d", k, equal);
                if (on)
                    cr_expect(fabs(out[3] - (k ? 0 : sqrt(q * others[3]) / 2)) <= 4 * unit &&
                              fabs(slopes[3] - !k * 0.5) <= 0);
            }
}

Test(points, sums_are_plain_loops_in_every_set)
{
    enum { FAN = 4, MANY = 9 };
    const met m = make_met();
    int32_t rows[MANY * FAN], two[2 * MANY * FAN];
    for (int k = 0; k < MANY * FAN; k++) {
        rows[k] = k * 7 % (PAIRS + 1) - 1; /* -1: none */
        two[2 * k] = k / 5;
        two[2 * k + 1] = k * 7 % POINTS;
    }
    for (int set = 0; tp_vector_at(set); set++)
        for (size_t fan = 1; fan <= FAN; fan++)
            for (int starts = 0; starts < 2; starts++) {
                const tp_vector *vector = tp_vector_at(set);
                double out[MANY * TP_LANES], dots[MANY * TP_LANES], added[MANY * TP_LANES], plain[MANY * TP_LANES];
                for (int k = 0; k < MANY * TP_LANES; k++)
                    out[k] = added[k] = plain[k] = cos(k);
                vector->gather(MANY, fan, rows, 0.7, m.in, starts, out); /* before them stand zeros */
                vector->dots(MANY, fan, two, m.roots, m.in, dots);
                vector->scatter(MANY * fan, two, 0.7, m.in, added);
                for (size_t k = 0; k < MANY * fan; k++)
                    for (int t = 0; t < TP_LANES; t++)
                        plain[two[2 * k] * TP_LANES + t] += 0.7 * m.in[two[2 * k + 1] * TP_LANES + t];
                for (int i = 0; i < MANY * TP_LANES; i++) {
                    double sum = 0, dot = 0;
                    for (int k = i / TP_LANES * (int)fan; k < (i / TP_LANES + 1) * (int)fan; k++) {
                        sum += rows[k] < 0 ? 0 : m.in[rows[k] * TP_LANES + i % TP_LANES];
                        dot += m.roots[two[2 * k] * TP_LANES] * m.in[two[2 * k + 1] * TP_LANES + i % TP_LANES];
                    }
                    cr_expect(fabs(out[i] - (0.7 * sum + (starts ? 0 : cos(i)))) <= 8 * unit, "gather %zu, %d", fan, i);
                    cr_expect(fabs(dots[i] - dot) <= 32 * unit, "dots %zu, %d", fan, i);
                    cr_expect(fabs(added[i] - plain[i]) <= 32 * unit, "scatter %zu, %d", fan, i);
                }
            }
}
