/* Choosing a kernel against naive twins in long double: a refit for every row that is left out, Cholesky's factor for
 * the likelihood; and what a fold must not see. */
#include "limn.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 23, K = 2, R = 4, MANY = 30 };

static const double ridges[R] = { 0, 1e-3, 0.1, 10 };

typedef struct {
    double kernel[N * N], y[N * K];
} problem;

static problem make_problem(void)
{
    problem p;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++)
            p.kernel[i * N + j] =
                2 * exp(-0.4 * abs(i - j)) + 0.3 * cos(1.7 * i) * cos(1.7 * j) + (i == j ? 0.05 * i : 0);
        for (int c = 0; c < K; c++)
            p.y[i * K + c] = 3 * c + sin(0.9 * i + c) + 0.2 * cos(5.0 * i * i);
    }
    return p;
}

/* x = A^-1 b by Gauss and Jordan with pivots; the determinant's logarithm. */
static long double solve(long double *a, size_t n, long double *b, size_t columns)
{
    long double logarithm = 0;
    for (size_t k = 0; k < n; k++) {
        size_t pivot = k;
        for (size_t i = k; i < n; i++)
            pivot = fabsl(a[i * n + k]) > fabsl(a[pivot * n + k]) ? i : pivot;
        for (size_t j = 0; j < n; j++) {
            long double t = a[k * n + j];
            a[k * n + j] = a[pivot * n + j];
            a[pivot * n + j] = t;
        }
        for (size_t c = 0; c < columns; c++) {
            long double t = b[k * columns + c];
            b[k * columns + c] = b[pivot * columns + c];
            b[pivot * columns + c] = t;
        }
        logarithm += logl(fabsl(a[k * n + k]));
        for (size_t i = 0; i < n; i++) {
            if (i == k)
                continue;
            long double factor = a[i * n + k] / a[k * n + k];
            for (size_t j = 0; j < n; j++)
                a[i * n + j] -= factor * a[k * n + j];
            for (size_t c = 0; c < columns; c++)
                b[i * columns + c] -= factor * b[k * columns + c];
        }
    }
    for (size_t i = 0; i < n * columns; i++)
        b[i] /= a[i / columns * n + i / columns];
    return logarithm;
}

/* The machine of the rows that are kept, with `added` on the diagonal, at the others: out (N, K). */
static void refit(const problem *p, const bool *kept, double added, bool centre, double *out)
{
    long double a[N * N], b[N * K], mean[K] = { 0 };
    size_t rows[N], n = 0;
    for (size_t i = 0; i < N; i++)
        if (kept[i])
            rows[n++] = i;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < K; c++)
            mean[c] += centre ? p->y[rows[i] * K + c] / (long double)n : 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            a[i * n + j] = p->kernel[rows[i] * N + rows[j]] + (i == j ? (long double)added : 0);
        for (size_t c = 0; c < K; c++)
            b[i * K + c] = p->y[rows[i] * K + c] - mean[c];
    }
    solve(a, n, b, K);
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < K && !kept[i]; c++) {
            long double f = mean[c];
            for (size_t j = 0; j < n; j++)
                f += p->kernel[i * N + rows[j]] * b[j * K + c];
            out[i * K + c] = (double)f;
        }
}

static double diagonal_of(const problem *p, const bool *kept)
{
    double sum = 0, count = 0;
    for (int i = 0; i < N; i++)
        if (kept[i]) {
            sum += p->kernel[i * N + i];
            count++;
        }
    return sum / count;
}

static double worst(const double *a, const double *b, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

static void loo(const problem *p, const tp_selection *s, double *out, double *likelihood)
{
    ad_error error = { 0 };
    cr_assert_eq(tp_leave_one_out(p->kernel, N, s, p->y, K, out, likelihood, &error), 0, "%s", error.text);
}

static void fold_out(const problem *p, const tp_selection *s, const size_t *folds, size_t fold, double *out)
{
    ad_error error = { 0 };
    cr_assert_eq(tp_leave_fold_out(p->kernel, N, s, p->y, K, folds, fold, out, &error), 0, "%s", error.text);
}

Test(selection, leave_one_out_is_a_refit_for_each_row)
{
    problem p = make_problem();
    for (int centre = 0; centre < 2; centre++)
        for (int noisy = 0; noisy < 2; noisy++) {
            tp_selection s = { .ridges = ridges, .n_ridges = R, .noise = noisy ? 0.37 : 0, .centre = centre };
            double out[R * N * K], likelihood[R], expected[N * K];
            bool kept[N];
            memset(kept, true, sizeof kept);
            double diagonal = diagonal_of(&p, kept);
            loo(&p, &s, out, likelihood);
            for (int r = 0; r < R; r++) {
                for (int i = 0; i < N; i++) {
                    kept[i] = false;
                    refit(&p, kept, ridges[r] * diagonal + s.noise, centre, expected);
                    kept[i] = true;
                }
                double off = worst(out + r * N * K, expected, N * K);
                cr_expect(off < 1e-10, "ridge %g, centre %d, noise %g: off by %g", ridges[r], centre, s.noise, off);
            }
        }
}

Test(selection, likelihood_is_that_of_a_gaussian)
{
    problem p = make_problem();
    for (int centre = 0; centre < 2; centre++) {
        tp_selection s = { .ridges = ridges, .n_ridges = R, .noise = 0.2, .centre = centre };
        double out[R * N * K], likelihood[R], diagonal = 0;
        loo(&p, &s, out, likelihood);
        for (int i = 0; i < N; i++)
            diagonal += p.kernel[i * N + i] / N;
        for (int r = 0; r < R; r++) {
            /* K = L L', by rows: log |K| = 2 sum log L_ii, y' K^-1 y = |L^-1 y|^2 */
            long double l[N * N] = { 0 }, sum = 0, mean[K] = { 0 };
            for (int i = 0; i < N * K; i++)
                mean[i % K] += centre ? p.y[i] / (long double)N : 0;
            for (int i = 0; i < N; i++)
                for (int j = 0; j <= i; j++) {
                    long double v = p.kernel[i * N + j] + (i == j ? ridges[r] * (long double)diagonal + s.noise : 0);
                    for (int k = 0; k < j; k++)
                        v -= l[i * N + k] * l[j * N + k];
                    l[i * N + j] = i == j ? sqrtl(v) : v / l[j * N + j];
                }
            for (int c = 0; c < K; c++) {
                long double z[N];
                for (int i = 0; i < N; i++) {
                    z[i] = p.y[i * K + c] - mean[c];
                    for (int k = 0; k < i; k++)
                        z[i] -= l[i * N + k] * z[k];
                    z[i] /= l[i * N + i];
                    sum -= z[i] * z[i] / 2 + logl(l[i * N + i]) + logl(2 * acosl(-1)) / 2;
                }
            }
            cr_expect(fabsl(sum - likelihood[r]) < 1e-10L * fabsl(sum), "ridge %g: %.15g, not %.15Lg", ridges[r],
                      likelihood[r], sum);
        }
    }
}

/* Few ridges and many take different factors. */
Test(selection, a_fold_is_a_refit_without_it)
{
    problem p = make_problem();
    double many[MANY];
    size_t folds[N];
    ad_error error = { 0 };
    for (int i = 0; i < MANY; i++)
        many[i] = i < R ? ridges[i] : pow(10, -5 + 0.2 * i);
    cr_assert_eq(tp_deal_folds(NULL, N, 5, 3, folds, &error), 0, "%s", error.text);
    for (int centre = 0; centre < 2; centre++)
        for (int all = 0; all < 2; all++) {
            tp_selection s = { .ridges = many, .n_ridges = all ? MANY : R, .noise = 0.01, .centre = centre };
            static double out[MANY * N * K];
            double expected[N * K];
            for (size_t fold = 0; fold < 5; fold++)
                fold_out(&p, &s, folds, fold, out);
            for (size_t r = 0; r < s.n_ridges; r++) {
                for (size_t fold = 0; fold < 5; fold++) {
                    bool kept[N];
                    for (int i = 0; i < N; i++)
                        kept[i] = folds[i] != fold;
                    refit(&p, kept, many[r] * diagonal_of(&p, kept) + s.noise, centre, expected);
                }
                double off = worst(out + r * N * K, expected, N * K);
                cr_expect(off < 1e-10, "ridge %g of %zu: off by %g", many[r], s.n_ridges, off);
            }
        }
}

/* Targets of the rows that are left out, and the kernel among them, may be anything: not a bit changes. */
Test(selection, a_fold_sees_nothing_of_the_rows_that_are_left_out)
{
    problem p = make_problem(), other = p;
    size_t folds[N];
    for (int i = 0; i < N; i++)
        folds[i] = (size_t)(i * 7 % 4);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            if (folds[i] == 2 && folds[j] == 2)
                other.kernel[i * N + j] = i == j ? 1e6 : -40 * (i + j);
    for (int i = 0; i < N * K; i++)
        if (folds[i / K] == 2)
            other.y[i] = 1e5 * i;
    double many[MANY];
    for (int i = 0; i < MANY; i++)
        many[i] = 1e-3 * (i + 1);
    for (int all = 0; all < 2; all++) {
        tp_selection s = { .ridges = many, .n_ridges = all ? MANY : R, .centre = true };
        static double out[MANY * N * K], again[MANY * N * K];
        memset(out, 0, sizeof out);
        memset(again, 0, sizeof again);
        fold_out(&p, &s, folds, 2, out);
        fold_out(&other, &s, folds, 2, again);
        cr_expect(memcmp(out, again, sizeof out) == 0, "off by %g", worst(out, again, MANY * N * K));
        for (size_t i = 0; i < s.n_ridges * N * K; i++)
            cr_expect((folds[i / K % N] == 2) == (fabs(out[i]) > 0), "entry %zu is %g", i, out[i]);
    }
}

/* ---- outputs that depend on each other ---- */
enum { OUTPUTS = 3, WIDE = 8 * OUTPUTS };

/* One that has WIDE rows, OUTPUTS an input. */
static void make_blocks(double *kernel, double *y)
{
    for (int i = 0; i < WIDE; i++) {
        for (int j = 0; j < WIDE; j++)
            kernel[i * WIDE + j] = exp(-0.3 * abs(i / OUTPUTS - j / OUTPUTS)) * (1 + 0.4 * (i % OUTPUTS)) *
                                       (1 + 0.4 * (j % OUTPUTS)) * cos(0.5 * (i % OUTPUTS - j % OUTPUTS)) +
                                   0.2 * exp(-abs(i - j)) + (i == j ? 0.1 : 0);
        y[i] = 2 * (i % OUTPUTS) + sin(1.3 * i) + 0.3 * cos(3.0 * i * i);
    }
}

/* The machine without the inputs of a fold, each output with a mean of its own, at these: out (WIDE). */
static void refit_blocks(const double *kernel, const double *y, const size_t *folds, size_t fold, const tp_selection *s,
                         double ridge, double *out)
{
    long double a[WIDE * WIDE], b[WIDE], mean[OUTPUTS] = { 0 }, diagonal = 0;
    size_t rows[WIDE], n = 0;
    for (size_t i = 0; i < WIDE; i++)
        if (folds[i] != fold)
            rows[n++] = i;
    for (size_t i = 0; i < n; i++) {
        mean[rows[i] % OUTPUTS] += s->centre ? y[rows[i]] * OUTPUTS / (long double)n : 0;
        diagonal += kernel[rows[i] * WIDE + rows[i]] / (long double)n;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            a[i * n + j] = kernel[rows[i] * WIDE + rows[j]] + (i == j ? ridge * diagonal + s->noise : 0);
        b[i] = y[rows[i]] - mean[rows[i] % OUTPUTS];
    }
    solve(a, n, b, 1);
    for (size_t i = 0; i < WIDE; i++) {
        long double f = mean[i % OUTPUTS];
        for (size_t j = 0; j < n; j++)
            f += kernel[i * WIDE + rows[j]] * b[j];
        out[i] = folds[i] == fold ? (double)f : out[i];
    }
}

/* By folds and one by one. What a ridge adds to leave-one-out is that of all rows, and so it is 0 there. */
Test(selection, outputs_of_an_input_are_left_out_together)
{
    static double kernel[WIDE * WIDE], hole[WIDE * WIDE], y[WIDE], out[MANY * WIDE], expected[WIDE], many[MANY];
    size_t folds[WIDE], each[WIDE];
    ad_error error = { 0 };
    make_blocks(kernel, y);
    for (size_t i = 0; i < WIDE; i++) {
        folds[i] = i / OUTPUTS * 7 % 3;
        each[i] = i / OUTPUTS;
    }
    for (int i = 0; i < MANY; i++)
        many[i] = pow(10, -5 + 0.2 * i);
    for (int turn = 0; turn < 4; turn++) {
        tp_selection s = { many, turn / 2 ? MANY : 4, 0.02, turn % 2, 1, OUTPUTS, 0 };
        for (size_t fold = 0; fold < 3; fold++) {
            for (size_t i = 0; i < WIDE * WIDE; i++)
                hole[i] = folds[i / WIDE] == fold && folds[i % WIDE] == fold ? (double)NAN : kernel[i];
            cr_assert_eq(tp_leave_fold_out(hole, WIDE, &s, y, 1, folds, fold, out, &error), 0, "%s", error.text);
        }
        for (size_t r = 0; r < s.n_ridges; r++) {
            for (size_t fold = 0; fold < 3; fold++)
                refit_blocks(kernel, y, folds, fold, &s, many[r], expected);
            cr_expect(worst(out + r * WIDE, expected, WIDE) < 1e-10, "ridge %g", many[r]);
        }
        s.ridges = ridges;
        s.n_ridges = 1;
        cr_assert_eq(tp_leave_one_out(kernel, WIDE, &s, y, 1, out, NULL, &error), 0, "%s", error.text);
        for (size_t i = 0; i < WIDE / OUTPUTS; i++)
            refit_blocks(kernel, y, each, i, &s, 0, expected);
        cr_expect(worst(out, expected, WIDE) < 1e-10, "off by %g", worst(out, expected, WIDE));
    }
    folds[1] = 2;
    cr_expect_neq(tp_leave_fold_out(kernel, WIDE, &(tp_selection){ ridges, 1, 0, false, 1, OUTPUTS, 0 }, y, 1, folds, 0,
                                    out, &error),
                  0);
    cr_expect(strstr(error.text, "row 1 is not in the fold of its input's other outputs"), "%s", error.text);
}

/* Of a kernel of rank 3 no ridge 0 is inverted; the others are. Nor is it where the kernel's own error makes it look
 * regular. */
Test(selection, a_ridge_that_leaves_it_singular_has_nan)
{
    problem p = make_problem();
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            p.kernel[i * N + j] = 1 + cos(i) * cos(j) + sin(2.0 * i) * sin(2.0 * j);
    double many[MANY] = { 0 }, likelihood[MANY];
    static double out[MANY * N * K];
    size_t folds[N];
    for (int i = 0; i < N; i++)
        folds[i] = (size_t)i % 2;
    for (int i = 1; i < MANY; i++)
        many[i] = 1e-6 * i;
    for (int turn = 0; turn < 4; turn++) {
        bool all = turn % 2;
        tp_selection s = { .ridges = many, .n_ridges = all ? MANY : 2, .error = turn / 2 ? 1e-11 : 0 };
        for (int i = 0; i < N && turn == 2; i++)
            p.kernel[i * (N + 1)] *= 1 + 1e-11;
        for (int one = 0; one < 2; one++) {
            if (one)
                loo(&p, &s, out, likelihood);
            else
                for (size_t fold = 0; fold < 2; fold++)
                    fold_out(&p, &s, folds, fold, out);
            for (size_t i = 0; i < s.n_ridges * N * K; i++)
                cr_expect(isnan(out[i]) == (i < N * K), "one %d: entry %zu is %g", one, i, out[i]);
        }
        cr_expect(isnan(likelihood[0]) && isfinite(likelihood[1]));
    }
}

Test(selection, folds_are_dealt_evenly_and_by_the_seed)
{
    enum { ROWS = 101, CLASSES = 3, FOLDS = 7 };
    double classes[ROWS];
    size_t folds[ROWS], again[ROWS], other[ROWS];
    ad_error error = { 0 };
    for (int i = 0; i < ROWS; i++)
        classes[i] = i < 60 ? 0 : i % 5 ? 1 : 2;
    for (int known = 0; known < 2; known++) {
        const double *given = known ? classes : NULL;
        cr_assert(!tp_deal_folds(given, ROWS, FOLDS, 5, folds, &error) &&
                  !tp_deal_folds(given, ROWS, FOLDS, 5, again, &error) &&
                  !tp_deal_folds(given, ROWS, FOLDS, 6, other, &error));
        cr_expect(memcmp(folds, again, sizeof folds) == 0 && memcmp(folds, other, sizeof folds) != 0);
        for (int label = -1; label < (known ? CLASSES : 0); label++) {
            int count[FOLDS] = { 0 }, least = ROWS, most = 0;
            for (int i = 0; i < ROWS; i++) {
                cr_assert_lt(folds[i], FOLDS);
                count[folds[i]] += label < 0 || (int)classes[i] == label;
            }
            for (int f = 0; f < FOLDS; f++) {
                least = count[f] < least ? count[f] : least;
                most = count[f] > most ? count[f] : most;
            }
            cr_expect(most - least <= 1, "class %d: %d to %d rows a fold", label, least, most);
        }
    }
}

static void refused(int status, const ad_error *error, const char *told)
{
    cr_expect(status == -1 && strstr(error->text, told), "%d: no \"%s\" in \"%s\"", status, told, error->text);
}

Test(selection, bad_arguments_are_told)
{
    problem p = make_problem();
    double bad[] = { -1 }, good[] = { 1 }, out[N * K];
    size_t folds[N] = { 0 };
    tp_selection s = { .ridges = good, .n_ridges = 1 };
    ad_error e[9] = { 0 };
    refused(tp_leave_one_out(p.kernel, N, &(tp_selection){ .ridges = bad, .n_ridges = 1 }, p.y, K, out, NULL, &e[0]),
            &e[0], "ridge -1");
    refused(tp_leave_one_out(p.kernel, N, &(tp_selection){ .noise = -2 }, p.y, K, out, NULL, &e[1]), &e[1], "noise -2");
    refused(tp_leave_one_out(p.kernel, 1, &s, p.y, K, out, NULL, &e[2]), &e[2], "two rows");
    refused(tp_leave_fold_out(p.kernel, N, &s, p.y, K, folds, 0, out, &e[3]), &e[3], "fold 0");
    refused(tp_leave_fold_out(p.kernel, N, &s, p.y, K, folds, 1, out, &e[4]), &e[4], "fold 1");
    refused(tp_deal_folds(NULL, N, 1, 1, folds, &e[5]), &e[5], "1 folds");
    refused(tp_deal_folds(NULL, N, N + 1, 1, folds, &e[6]), &e[6], "folds");
    p.y[3] = NAN;
    refused(tp_leave_one_out(p.kernel, N, &s, p.y, K, out, NULL, &e[7]), &e[7], "targets");
    p = make_problem();
    p.kernel[N + 1] = INFINITY;
    refused(tp_leave_one_out(p.kernel, N, &s, p.y, K, out, NULL, &e[8]), &e[8], "kernel");
}

/* With a ridge the function at its training inputs is not what training drives to the targets. */
Test(selection, fitted_values_are_the_functions)
{
    problem p = make_problem();
    for (int cholesky = 0; cholesky < 2; cholesky++) {
        tp_kernel_model_spec spec = { .ridge = 0.1, .noise = 0.2, .cholesky = cholesky };
        double *kernel = ad_alloc(N * N, sizeof *kernel, "a copy", NULL), a[N * K], f[N * K], g[N * K], time = INFINITY;
        memcpy(kernel, p.kernel, sizeof p.kernel);
        ad_error error = { 0 };
        tp_kernel_model *m = tp_kernel_model_new(kernel, N, &spec, &error);
        cr_assert(m, "%s", error.text);
        tp_training flow = { 0 };
        cr_assert_eq(tp_coefficients(m, &flow, p.y, K, NULL, &time, 1, a, &error), 0, "%s", error.text);
        cr_assert_eq(tp_fitted_values(m, a, K, NULL, f, &error), 0);
        tp_outputs_at(m, p.kernel, N, a, K, NULL, g);
        cr_expect(worst(f, g, N * K) < 1e-12, "off by %g", worst(f, g, N * K));
        cr_expect(worst(f, p.y, N * K) > 0.1);
        cr_assert_eq(tp_outputs(m, a, K, NULL, g, &error), 0);
        cr_expect(worst(g, p.y, N * K) < 1e-12);
        cr_expect(fabs(m->ridge - 0.1 * m->diagonal - 0.2) < 1e-14);
        tp_kernel_model_free(m);
    }
}
