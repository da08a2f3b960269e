/* selection.c: what a kernel machine says of rows that it was not trained on: leave-one-out, folds, and the likelihood
 * of a Gaussian process. */
#include "tp/predict/kernel_model.h"

#include "autodiff/autodiff.h"
#include "autodiff/base/base.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From so many ridges on eigenvectors cost less than a Cholesky factor each. */
enum { MANY_RIDGES = 24 };

static const double log_two_pi = 1.8378770664093453;

/* The outputs of an input that the kernel tells apart. */
static size_t block_of(const tp_selection *s)
{
    return s->outputs > 1 ? s->outputs : 1;
}

static int check(const tp_selection *s, size_t n, const double *y, size_t columns, int *threads, ad_error *error)
{
    if (n % block_of(s))
        return ad_fail(error, "predict: a kernel of %zu rows, %zu outputs an input", n, block_of(s));
    n /= block_of(s);
    columns *= block_of(s);
    if (n < 2 || columns == 0 || columns > INT32_MAX / 8)
        return ad_fail(error, "predict: %zu rows with %zu targets each: at least two rows are needed to leave one out",
                       n, columns);
    if (!(s->error >= 0 && isfinite(s->error)))
        return ad_fail(error, "predict: a kernel's error %g is not from 0 up", s->error);
    for (size_t k = 0; k < s->n_ridges; k++)
        if (!(s->ridges[k] >= 0 && isfinite(s->ridges[k])))
            return ad_fail(error, "predict: ridge %g is not from 0 up", s->ridges[k]);
    if (!(s->noise >= 0 && isfinite(s->noise)))
        return ad_fail(error, "predict: noise %g is not from 0 up", s->noise);
    return tp_check_finite("targets", y, n, columns, error) || !(*threads = ad_threads(s->threads, error)) ? -1 : 0;
}

/* The means of y (n, columns) over the inputs, (block, columns); 0 unless centred. */
static void find_means(const tp_selection *s, const double *y, size_t n, size_t columns, double *means)
{
    size_t wide = columns * block_of(s), inputs = n / block_of(s);
    memset(means, 0, wide * sizeof *means);
    for (size_t i = 0; i < n * columns && s->centre; i++)
        means[i % wide] += y[i] / (double)inputs;
}

/* gains[i] = 1 / (lambda_i + added), and the sum of log(lambda_i + added). False where that is not positive definite
 * beyond rounding, and beyond what the kernel's error hides. */
static bool invert(const double *values, size_t n, double added, double hidden, double *gains, double *log_determinant)
{
    *log_determinant = 0;
    if (!(values[0] + added > fmax(hidden, (double)n * DBL_EPSILON * (values[n - 1] + added))))
        return false;
    for (size_t i = 0; i < n; i++) {
        gains[i] = 1 / (values[i] + added);
        *log_determinant += log(values[i] + added);
    }
    return true;
}

static void fill_nan(double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (double)NAN;
}

/* ---- leave-one-out ---- */
typedef struct {
    size_t n, columns, block, wide; /* block: rows of an input; wide: columns, and one for each row of a block */
    double *vectors, *values;
    double *squares;                  /* (n, n): of the eigenvectors' entries; where a block has more than one row, they
                                         themselves times the roots of the gains */
    double *means;                    /* (block, columns) */
    double *centred;                  /* (n, wide): y - m, and 1 in the column of the row's place in its block */
    double *modes, *weighed, *solved; /* (n, wide) */
    double *gains;                    /* (n) */
    double *diagonal;                 /* (n / block, block, block): the blocks of A^-1 */
} loo;

static int open_loo(loo *j, const double *kernel, const tp_selection *s, const double *y, ad_error *error)
{
    size_t n = j->n, block = j->block, wide = j->wide = j->columns + block, count = n * wide;
    j->vectors =
        ad_reserve(2 * n * n + 4 * count + (2 + block) * n + block * wide, sizeof *j->vectors, "leave-one-out", error);
    if (!j->vectors)
        return -1;
    j->squares = j->vectors + n * n;
    j->centred = j->squares + n * n;
    j->modes = j->centred + count;
    j->weighed = j->modes + count;
    j->solved = j->weighed + count;
    j->values = j->solved + count;
    j->gains = j->values + n;
    j->diagonal = j->gains + n;
    j->means = j->diagonal + n * block;
    memcpy(j->vectors, kernel, n * n * sizeof *kernel);
    if (tp_eigenvectors(j->vectors, n, j->values, error))
        return -1;
    for (size_t i = 0; i < n * n; i++)
        j->squares[i] = j->vectors[i] * (block > 1 ? 1 : j->vectors[i]);
    find_means(s, y, n, j->columns, j->means);
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < j->columns; c++)
            j->centred[i * wide + c] = y[i * j->columns + c] - j->means[i % block * j->columns + c];
        for (size_t c = 0; c < block; c++)
            j->centred[i * wide + j->columns + c] = i % block == c;
    }
    int side = (int)n, columns = (int)wide;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, side, columns, side, 1, j->vectors, side, j->centred,
                columns, 0, j->modes, columns);
    return 0;
}

/* The blocks of A^-1. */
static void invert_blocks(loo *j)
{
    int side = (int)j->n, block = (int)j->block;
    if (block == 1) {
        cblas_dgemv(CblasRowMajor, CblasTrans, side, side, 1, j->squares, side, j->gains, 1, 0, j->diagonal, 1);
        return;
    }
    for (size_t i = 0; i < j->n * j->n; i++)
        j->squares[i] = sqrt(j->gains[i / j->n]) * j->vectors[i];
    for (size_t i = 0; i < j->n; i += j->block)
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, block, side, 1, j->squares + i, side, 0,
                    j->diagonal + i * j->block, block);
}

/* One ridge: solved = A^-1 (y - m, 1), diagonal; the quadratic form (y - m)' A^-1 (y - m). */
static double solve_loo(loo *j)
{
    int side = (int)j->n, columns = (int)j->wide;
    double form = 0;
    for (size_t i = 0; i < j->n; i++)
        for (size_t c = 0; c < j->wide; c++) {
            double mode = j->modes[i * j->wide + c];
            j->weighed[i * j->wide + c] = j->gains[i] * mode;
            form += c < j->columns ? j->gains[i] * mode * mode : 0;
        }
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, side, columns, side, 1, j->vectors, side, j->weighed, columns,
                0, j->solved, columns);
    invert_blocks(j);
    return form;
}

/* The residuals of an input's rows, (block, columns): what is in them by its block of A^-1. */
static void solve_block(const loo *j, double *inverse, double *residuals)
{
    lapack_int block = (lapack_int)j->block, columns = (lapack_int)j->columns;
    if (block == 1) {
        for (size_t c = 0; c < j->columns; c++)
            residuals[c] /= *inverse;
    } else if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', block, inverse, block) != 0) {
        fill_nan(residuals, j->block * j->columns);
    } else {
        for (int turn = 0; turn < 2; turn++)
            cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, turn ? CblasNoTrans : CblasTrans, CblasNonUnit, block,
                        columns, 1, inverse, block, residuals, columns);
    }
}

/* Without an input the mean of the centred targets is -(y_i - m) / (inputs - 1), as they sum to 0. */
static void leave_out_each(const loo *j, bool centre, const double *y, double *out)
{
    size_t columns = j->columns, inputs = j->n / j->block;
    for (size_t first = 0; first < j->n; first += j->block) {
        double *at = out + first * columns;
        for (size_t i = 0; i < j->block * columns; i++) {
            const double *solved = j->solved + (first + i / columns) * j->wide;
            at[i] = solved[i % columns];
            for (size_t o = 0; o < j->block && centre; o++)
                at[i] += j->centred[(first + o) * j->wide + i % columns] / (double)(inputs - 1) * solved[columns + o];
        }
        solve_block(j, j->diagonal + first * j->block, at);
        for (size_t i = 0; i < j->block * columns; i++)
            at[i] = y[first * columns + i] - at[i];
    }
}

int tp_leave_one_out(const double *kernel, size_t n, const tp_selection *s, const double *y, size_t columns,
                     double *out, double *likelihood, ad_error *error)
{
    double diagonal, determinant;
    int threads;
    loo j = { .n = n, .columns = columns, .block = block_of(s) };
    if (check(s, n, y, columns, &threads, error) || tp_check_kernel(kernel, n, &diagonal, error))
        return -1;
    int before = ad_blas_begin(threads), status = open_loo(&j, kernel, s, y, error);
    for (size_t k = 0; k < s->n_ridges && !status; k++) {
        double *at = out + k * n * columns, wide = (double)columns;
        if (!invert(j.values, n, s->ridges[k] * diagonal + s->noise, tp_hidden(s->error, n, diagonal), j.gains,
                    &determinant)) {
            fill_nan(at, n * columns);
            if (likelihood)
                likelihood[k] = (double)NAN;
            continue;
        }
        double form = solve_loo(&j);
        leave_out_each(&j, s->centre, y, at);
        if (likelihood)
            likelihood[k] = -(form + wide * determinant + wide * (double)n * log_two_pi) / 2;
    }
    ad_blas_end(before);
    ad_free(j.vectors);
    return status;
}

/* ---- a fold ---- */
/* The rows that train, `kept` of them, and those that are left out. */
typedef struct {
    const tp_selection *spec;
    size_t n, columns, kept, out;
    size_t *rows; /* (n): kept, then out */
    double diagonal;
    double *kernel, *cross;           /* (kept, kept), (out, kept) */
    double *factor, *values, *gains;  /* (kept, kept), (kept), (kept) */
    double *means, *centred, *solved; /* (block, columns), (kept, columns) */
    double *modes, *found, *work;     /* (kept, columns), (out, columns), (3 kept) */
    lapack_int *i_work;               /* (kept) */
} fold_job;

static int open_fold(fold_job *j, const double *kernel, const double *y, ad_error *error)
{
    size_t kept = j->kept, out = j->out, count = kept * j->columns, wide = j->columns * block_of(j->spec);
    j->kernel = ad_reserve(2 * kept * kept + out * kept + 5 * kept + 3 * count + out * j->columns + wide,
                           sizeof *j->kernel, "a fold", error);
    j->i_work = ad_alloc(kept, sizeof *j->i_work, "a fold", error);
    if (!j->kernel || !j->i_work)
        return -1;
    j->factor = j->kernel + kept * kept;
    j->cross = j->factor + kept * kept;
    j->values = j->cross + out * kept;
    j->gains = j->values + kept;
    j->work = j->gains + kept;
    j->centred = j->work + 3 * kept;
    j->solved = j->centred + count;
    j->modes = j->solved + count;
    j->means = j->modes + count;
    j->found = j->means + wide;
    for (size_t a = 0; a < j->n; a++)
        for (size_t b = 0; b < kept; b++)
            (a < kept ? j->kernel + a * kept : j->cross + (a - kept) * kept)[b] =
                kernel[j->rows[a] * j->n + j->rows[b]];
    for (size_t i = 0; i < kept; i++)
        memcpy(j->centred + i * j->columns, y + j->rows[i] * j->columns, j->columns * sizeof *y);
    find_means(j->spec, j->centred, kept, j->columns, j->means);
    for (size_t i = 0; i < count; i++)
        j->centred[i] -= j->means[i % wide];
    return tp_check_kernel(j->kernel, kept, &j->diagonal, error);
}

/* solved = A^-1 (y - m) by Cholesky; false where A is not positive definite beyond rounding and the kernel's error. Its
 * inverse's norm, row sums at the most, is at least one over the smallest eigenvalue. */
static bool solve_by_cholesky(fold_job *j, double added)
{
    size_t kept = j->kept;
    lapack_int n = (lapack_int)kept;
    int side = (int)kept, wide = (int)j->columns;
    double norm = 0, reciprocal = 0;
    memcpy(j->factor, j->kernel, kept * kept * sizeof *j->factor);
    for (size_t i = 0; i < kept; i++) {
        j->factor[i * kept + i] += added;
        norm = fmax(norm, cblas_dasum(side, j->factor + i * kept, 1));
    }
    /* the lower triangle of the column order is the upper one of the row order */
    if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, j->factor, n) != 0 ||
        LAPACKE_dpocon_work(LAPACK_COL_MAJOR, 'L', n, j->factor, n, norm, &reciprocal, j->work, j->i_work) != 0 ||
        !(reciprocal * norm > fmax(tp_hidden(j->spec->error, j->kept, j->diagonal), (double)kept * DBL_EPSILON * norm)))
        return false;
    memcpy(j->solved, j->centred, kept * j->columns * sizeof *j->solved);
    for (int turn = 0; turn < 2; turn++)
        cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, turn ? CblasNoTrans : CblasTrans, CblasNonUnit, side, wide, 1,
                    j->factor, side, j->solved, wide);
    return true;
}

/* The same by eigenvectors, which are in `factor`; modes are those of y - m. */
static bool solve_by_eigenvectors(fold_job *j, double added)
{
    int side = (int)j->kept, wide = (int)j->columns;
    double determinant;
    if (!invert(j->values, j->kept, added, tp_hidden(j->spec->error, j->kept, j->diagonal), j->gains, &determinant))
        return false;
    double *weighed = j->centred; /* has become the modes, and is needed no more */
    for (size_t i = 0; i < j->kept * j->columns; i++)
        weighed[i] = j->gains[i / j->columns] * j->modes[i];
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, side, wide, side, 1, j->factor, side, weighed, wide, 0,
                j->solved, wide);
    return true;
}

static int solve_fold(fold_job *j, double *out, ad_error *error)
{
    int side = (int)j->kept, wide = (int)j->columns, rows = (int)j->out;
    bool vectors = j->spec->n_ridges >= MANY_RIDGES;
    if (vectors) {
        memcpy(j->factor, j->kernel, j->kept * j->kept * sizeof *j->factor);
        if (tp_eigenvectors(j->factor, j->kept, j->values, error))
            return -1;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, side, wide, side, 1, j->factor, side, j->centred, wide,
                    0, j->modes, wide);
    }
    for (size_t k = 0; k < j->spec->n_ridges; k++, out += j->n * j->columns) {
        double added = j->spec->ridges[k] * j->diagonal + j->spec->noise;
        if ((vectors ? solve_by_eigenvectors : solve_by_cholesky)(j, added))
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, wide, side, 1, j->cross, side, j->solved, wide,
                        0, j->found, wide);
        else
            fill_nan(j->found, j->out * j->columns);
        for (size_t i = 0; i < j->out; i++) {
            size_t row = j->rows[j->kept + i];
            const double *mean = j->means + row % block_of(j->spec) * j->columns;
            for (size_t c = 0; c < j->columns; c++)
                out[row * j->columns + c] = mean[c] + j->found[i * j->columns + c];
        }
    }
    return 0;
}

/* Rows that are kept, and the others behind them. */
static int part_rows(fold_job *j, const double *kernel, const size_t *folds, size_t fold, ad_error *error)
{
    size_t n = j->n, block = block_of(j->spec);
    for (size_t i = 0; i < n; i++) {
        j->kept += folds[i] != fold;
        if (folds[i] != folds[i - i % block])
            return ad_fail(error, "predict: row %zu is not in the fold of its input's other outputs", i);
    }
    for (size_t i = 0, kept = 0; i < n; i++)
        j->rows[folds[i] != fold ? kept++ : j->kept + j->out++] = i;
    if (!j->kept || !j->out)
        return ad_fail(error, "predict: fold %zu has %zu of %zu rows", fold, j->out, n);
    for (size_t i = 0; i < n * j->kept; i++) {
        size_t row = j->rows[i / j->kept], column = j->rows[i % j->kept];
        if (!isfinite(kernel[row * n + column]))
            return ad_fail(error, "predict: the kernel of inputs %zu and %zu (counted from 0) is %g", row, column,
                           kernel[row * n + column]);
    }
    return 0;
}

int tp_leave_fold_out(const double *kernel, size_t n, const tp_selection *s, const double *y, size_t columns,
                      const size_t *folds, size_t fold, double *out, ad_error *error)
{
    int threads;
    if (check(s, n, y, columns, &threads, error))
        return -1;
    fold_job j = { .spec = s, .n = n, .columns = columns };
    if (!(j.rows = ad_alloc(n, sizeof *j.rows, "a fold", error)))
        return -1;
    int status = part_rows(&j, kernel, folds, fold, error), before = ad_blas_begin(threads);
    if (!status)
        status = open_fold(&j, kernel, y, error);
    if (!status)
        status = solve_fold(&j, out, error);
    ad_blas_end(before);
    ad_free(j.rows);
    ad_free(j.kernel);
    ad_free(j.i_work);
    return status;
}

/* ---- dealing ---- */
typedef struct {
    double class, key;
    size_t row;
} card;

/* By class, then at random. */
static int compare_cards(const void *left, const void *right)
{
    const card *a = left, *b = right;
    if (a->class < b->class || a->class > b->class)
        return a->class < b->class ? -1 : 1;
    if (a->key < b->key || a->key > b->key)
        return a->key < b->key ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

int tp_deal_folds(const double *classes, size_t rows, size_t k, uint64_t seed, size_t *folds, ad_error *error)
{
    if (k < 2 || k > rows)
        return ad_fail(error, "predict: %zu folds of %zu rows: there are at least 2, and a row for each", k, rows);
    if (tp_check_finite("classes", classes, rows, 1, error))
        return -1;
    card *cards = ad_alloc(rows, sizeof *cards, "folds", error);
    double *keys = cards ? ad_alloc(rows, sizeof *keys, "folds", error) : NULL;
    if (keys) {
        ad_normal(seed, ad_stream("folds"), 0, rows, keys);
        for (size_t i = 0; i < rows; i++)
            cards[i] = (card){ classes ? classes[i] : 0, keys[i], i };
        qsort(cards, rows, sizeof *cards, compare_cards);
        for (size_t i = 0; i < rows; i++)
            folds[cards[i].row] = i % k;
    }
    ad_free(cards);
    ad_free(keys);
    return keys ? 0 : -1;
}
