/* float_model.c: a large kernel of floats: Cholesky's factor below its diagonal, the kernel itself above, by which
 * solves are refined in doubles. */
#include "autodiff/base/base.h"
#include "tp/predict/kernel_model.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

/* Columns of a panel; edges of the kernel's blocks in products; steps of conjugate gradients. */
enum { PANEL = 512, BLOCK = 256, STEPS = 100 };

static const double settled = 1e-10; /* residual over right side */

/* ---- the factor ---- */
/* The panel's columns from what is above the diagonal. */
static void restore(const tp_float_model *m, size_t from, size_t to)
{
    size_t n = m->n;
    for (size_t i = from; i < n; i++) {
        float *row = m->kernel + i * n;
        for (size_t k = from; k < to && k < i; k++)
            row[k] = m->kernel[k * n + i];
        if (i < to)
            row[i] = (float)(m->diagonal[i] + m->ridge);
    }
}

/* The mean of the diagonal. */
static double mean_of(const tp_float_model *m)
{
    double mean = 0;
    for (size_t i = 0; i < m->n; i++)
        mean += m->diagonal[i] / (double)m->n;
    return mean;
}

static int refuse(const tp_float_model *m, const char *what, ad_error *error)
{
    char cause[200];
    tp_repeats repeats;
    tp_repeats_float(m, FLT_EPSILON, &repeats);
    tp_repeats_tell(&repeats, 1, cause, sizeof cause);
    return ad_fail(error,
                   "the kernel of %zu training inputs with its ridge is %s%s: a larger --ridge, above %.2g of the mean "
                   "of its diagonal, doubles%s",
                   m->n, what, cause, 1e-7 * (double)m->n,
                   repeats.multiple ? ", or leaving out such rows would do" : " would do");
}

/* K + ridge = L L', panel by panel from the left, each by all before it. */
static int factor_panel(const tp_float_model *m, size_t from, size_t to, ad_error *error)
{
    blasint n = (blasint)m->n, wide = (blasint)(to - from), before = (blasint)from, below = (blasint)(m->n - to);
    float *block = m->kernel + from * m->n + from, *under = m->kernel + to * m->n + from;
    const float *left = m->kernel + from * m->n, *left_under = m->kernel + to * m->n;
    if (from > 0)
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasNoTrans, wide, before, -1, left, n, 1, block, n);
    if (from > 0 && below > 0)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, below, wide, before, -1, left_under, n, left, n, 1, under,
                    n);
    lapack_int status = LAPACKE_spotrf_work(LAPACK_COL_MAJOR, 'U', wide, block, n); /* this L by rows is U by columns */
    if (status)
        return refuse(m, "not positive definite in floats", error);
    if (below > 0)
        cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, below, wide, 1, block, n, under,
                    n);
    return 0;
}

/* The share of the work that is done with the first columns. */
static double share_of(size_t columns, size_t n)
{
    double x = (double)columns / (double)n;
    return x * x * (3 - 2 * x);
}

int tp_float_model_factor(tp_float_model *m, ad_error *error)
{
    tp_float_state *state = m->state;
    int threads = ad_threads(m->threads, error);
    if (!threads)
        return -1;
    for (size_t i = 0; i < m->n && !state->begun; i++)
        m->diagonal[i] = (double)m->kernel[i * m->n + i];
    state->begun = 1;
    m->ridge = m->relative * mean_of(m) + m->noise;
    if (fabs(state->ridge - m->ridge) > 0)
        state->columns = 0;
    state->ridge = m->ridge;
    int blas_threads = ad_blas_begin(threads), status = 0;
    while (state->columns < m->n && !status) {
        size_t from = state->columns, to = from + PANEL < m->n ? from + PANEL : m->n;
        restore(m, from, to);
        status = factor_panel(m, from, to, error);
        if (status)
            break;
        state->columns = to;
        if (m->progress)
            m->progress(share_of(to, m->n), m->context);
    }
    ad_blas_end(blas_threads);
    return status;
}

/* ---- products and solves ---- */
/* A block of the kernel above its diagonal, or on it, in doubles. */
static void widen(const tp_float_model *m, size_t row, size_t rows, size_t column, size_t columns, double *out)
{
    for (size_t i = 0; i < rows; i++) {
        const float *from = m->kernel + (row + i) * m->n + column;
        size_t first = row == column ? i + 1 : 0;
        for (size_t k = first; k < columns; k++)
            out[i * columns + k] = (double)from[k];
        if (row != column)
            continue;
        out[i * columns + i] = m->diagonal[row + i];
        for (size_t k = 0; k < i; k++)
            out[i * columns + k] = out[k * columns + i];
    }
}

int tp_float_model_product(const tp_float_model *m, const double *a, size_t columns, double *out, ad_error *error)
{
    blasint width = (blasint)columns;
    double *block = ad_alloc((size_t)BLOCK * BLOCK, sizeof *block, "a kernel's block", error);
    int threads = block ? ad_threads(m->threads, error) : 0;
    if (!threads) {
        ad_free(block);
        return -1;
    }
    int blas_threads = ad_blas_begin(threads);
    memset(out, 0, m->n * columns * sizeof *out);
    for (size_t i = 0; i < m->n; i += BLOCK)
        for (size_t k = i; k < m->n; k += BLOCK) {
            size_t rows = m->n - i < BLOCK ? m->n - i : BLOCK, wide = m->n - k < BLOCK ? m->n - k : BLOCK;
            blasint r = (blasint)rows, w = (blasint)wide;
            widen(m, i, rows, k, wide, block);
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, r, width, w, 1, block, w, a + k * columns, width, 1,
                        out + i * columns, width);
            if (k > i)
                cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, w, width, r, 1, block, w, a + i * columns, width,
                            1, out + k * columns, width);
        }
    ad_blas_end(blas_threads);
    ad_free(block);
    return 0;
}

/* z = L^-T L^-1 r, in floats. */
static void precondition(const tp_float_model *m, const double *r, size_t columns, float *work, double *z)
{
    blasint n = (blasint)m->n, width = (blasint)columns;
    size_t count = m->n * columns;
    double size = 0;
    for (size_t i = 0; i < count; i++)
        size = fmax(size, fabs(r[i]));
    for (size_t i = 0; i < count; i++)
        work[i] = size > 0 ? (float)(r[i] / size) : 0;
    for (int turned = 0; turned < 2; turned++)
        cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, turned ? CblasTrans : CblasNoTrans, CblasNonUnit, n, width, 1,
                    m->kernel, n, work, width);
    for (size_t i = 0; i < count; i++)
        z[i] = size * (double)work[i];
}

/* Column by column: out[c] = sum over rows of a b. */
static void dots(size_t n, size_t columns, const double *a, const double *b, double *out)
{
    memset(out, 0, columns * sizeof *out);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < columns; c++)
            out[c] += a[i * columns + c] * b[i * columns + c];
}

/* a += factor b, column by column. */
static void add(size_t n, size_t columns, const double *factor, const double *b, double *a)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < columns; c++)
            a[i * columns + c] += factor[c] * b[i * columns + c];
}

static double worst_of(size_t columns, const double *squares, const double *of)
{
    double worst = 0;
    for (size_t c = 0; c < columns; c++)
        worst = fmax(worst, of[c] > 0 ? sqrt(squares[c] / of[c]) : 0);
    return worst;
}

/* What conjugate gradients hold: (n, columns) each, and numbers by column. */
typedef struct {
    double *r, *z, *p, *q, *rz, *step, *squares, *sides;
    float *work;
} gradients;

static int gradients_begin(gradients *g, size_t n, size_t columns, double **memory, ad_error *error)
{
    size_t count = n * columns;
    *memory = ad_alloc(4 * count + 4 * columns, sizeof **memory, "conjugate gradients", error);
    g->work = ad_alloc(count, sizeof *g->work, "conjugate gradients", error);
    if (!*memory || !g->work)
        return -1;
    double *next = *memory;
    double **parts[] = { &g->r, &g->z, &g->p, &g->q };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++, next += count)
        *parts[k] = next;
    g->rz = next;
    g->step = next + columns;
    g->squares = next + 2 * columns;
    g->sides = next + 3 * columns;
    return 0;
}

/* One step for all columns at once; those that are done stand still. */
static int step(const tp_float_model *m, gradients *g, size_t columns, double *a, ad_error *error)
{
    if (tp_float_model_product(m, g->p, columns, g->q, error))
        return -1;
    for (size_t i = 0; i < m->n * columns; i++)
        g->q[i] += m->ridge * g->p[i];
    dots(m->n, columns, g->p, g->q, g->step);
    for (size_t c = 0; c < columns; c++)
        g->step[c] = g->step[c] > 0 ? g->rz[c] / g->step[c] : 0;
    add(m->n, columns, g->step, g->p, a);
    for (size_t c = 0; c < columns; c++)
        g->step[c] = -g->step[c];
    add(m->n, columns, g->step, g->q, g->r);
    precondition(m, g->r, columns, g->work, g->z);
    memcpy(g->step, g->rz, columns * sizeof *g->step);
    dots(m->n, columns, g->r, g->z, g->rz);
    for (size_t c = 0; c < columns; c++)
        g->step[c] = g->step[c] > 0 ? g->rz[c] / g->step[c] : 0;
    for (size_t i = 0; i < m->n; i++)
        for (size_t c = 0; c < columns; c++)
            g->p[i * columns + c] = g->z[i * columns + c] + g->step[c] * g->p[i * columns + c];
    return 0;
}

int tp_float_model_solve(tp_float_model *m, const double *y, size_t columns, double *a, ad_error *error)
{
    gradients g = { 0 };
    double *memory = NULL;
    size_t count = m->n * columns;
    int threads = ad_threads(m->threads, error);
    if (m->state->columns < m->n)
        return ad_fail(error, "a kernel of floats is solved with before it is factored");
    int status = !threads || gradients_begin(&g, m->n, columns, &memory, error) ? -1 : 0;
    int blas_threads = status ? 0 : ad_blas_begin(threads);
    memset(a, 0, count * sizeof *a);
    m->steps = 0;
    m->residual = 1;
    if (!status) {
        memcpy(g.r, y, count * sizeof *y);
        dots(m->n, columns, y, y, g.sides);
        precondition(m, g.r, columns, g.work, g.z);
        memcpy(g.p, g.z, count * sizeof *g.p);
        dots(m->n, columns, g.r, g.z, g.rz);
    }
    while (!status && m->residual > settled && m->steps < STEPS) {
        status = step(m, &g, columns, a, error);
        dots(m->n, columns, g.r, g.r, g.squares);
        m->residual = worst_of(columns, g.squares, g.sides);
        m->steps++;
    }
    if (!status &&
        tp_float_model_product(m, a, columns, g.q, error) == 0) { /* the residual itself, not the recurrence's */
        for (size_t i = 0; i < count; i++)
            g.q[i] = y[i] - g.q[i] - m->ridge * a[i];
        dots(m->n, columns, g.q, g.q, g.squares);
        m->residual = worst_of(columns, g.squares, g.sides);
        if (!(m->residual <= 1e-6))
            status = ad_fail(error, "the solve did not settle: a residual of %.2g after %d steps: a larger --ridge",
                             m->residual, m->steps);
    }
    if (blas_threads)
        ad_blas_end(blas_threads);
    ad_free(memory);
    ad_free(g.work);
    return status;
}

int tp_float_model_check(tp_float_model *m, ad_error *error)
{
    enum { COLUMNS = 4, ROUNDS = 3 };
    size_t count = m->n * COLUMNS;
    double squares[COLUMNS], before[COLUMNS], hidden = 2 * (double)FLT_EPSILON * sqrt((double)m->n) * mean_of(m);
    double *from = ad_alloc(2 * count, sizeof *from, "inverse iteration", error), *to = from ? from + count : NULL;
    tp_float_model by = *m; /* what the last solve told is the caller's */
    int status = from ? 0 : -1;
    m->smallest = (double)INFINITY;
    if (!status)
        ad_normal(1, ad_stream("inverse iteration"), 0, count, from);
    for (int round = 0; round < ROUNDS && !status; round++) {
        status = tp_float_model_solve(&by, from, COLUMNS, to, error);
        dots(m->n, COLUMNS, from, from, before);
        dots(m->n, COLUMNS, to, to, squares);
        for (int c = 0; c < COLUMNS && !status; c++)
            m->smallest = fmin(m->smallest, sqrt(before[c] / squares[c]));
        for (size_t i = 0; i < count && !status; i++)
            from[i] = to[i] / sqrt(squares[i % COLUMNS]);
    }
    ad_free(from);
    return status || m->smallest > hidden ? status : refuse(m, "singular in floats", error);
}
