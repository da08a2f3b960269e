/* kernel_model.c: a kernel factored once: eigenvectors, a band form, or Cholesky's factor with the two ends of the
 * spectrum by Lanczos; the first and the last also over ranks. */
#include "tp/predict/kernel_model.h"
#include "tp/ranks/ranks.h"

#include "autodiff/autodiff.h"
#include "autodiff/base/base.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

enum {
    MAX_STEPS = 100,    /* of Lanczos */
    MAX_INPUTS = 32000, /* LAPACK counts the work of an eigendecomposition, 2 n^2, in 32 bits */
};
static const double lanczos_tolerance = 1e-10;

/* ---- an end of the spectrum ---- */
/* y = K x, or y = K^-1 x by Cholesky's factor U, or by L over ranks. */
typedef struct {
    const double *matrix;
    size_t n;
    bool inverse;
    const tp_spread *spread; /* in place of the matrix */
    int below;               /* > 0: the matrix is a band's lower half, or its factor L, by columns */
} linear;

int tp_spread_divide(const tp_spread *l, double *x, size_t columns, ad_error *error)
{
    tp_spread *sides = tp_spread_new(l->rows, columns, l->side, error);
    if (!sides)
        return -1;
    for (size_t k = 0; k < sides->local[1]; k++)
        for (size_t i = 0; i < sides->local[0]; i++)
            sides->values[k * sides->local[0] + i] =
                x[tp_spread_whole(sides, 0, i) * columns + tp_spread_whole(sides, 1, k)];
    int status = tp_ranks_agree(tp_spread_solve(l, sides, error), error);
    memset(x, 0, l->rows * columns * sizeof *x);
    for (size_t k = 0; k < sides->local[1]; k++)
        for (size_t i = 0; i < sides->local[0]; i++)
            x[tp_spread_whole(sides, 0, i) * columns + tp_spread_whole(sides, 1, k)] =
                sides->values[k * sides->local[0] + i];
    tp_ranks_sum(x, l->rows * columns);
    tp_spread_free(sides);
    return status;
}

static int apply(const linear *l, const double *x, double *y, ad_error *error)
{
    int n = (int)l->n;
    if (l->spread && !l->inverse)
        return tp_spread_symmetric(l->spread, x, 1, y, error);
    if (l->below && !l->inverse) {
        cblas_dsbmv(CblasColMajor, CblasLower, n, l->below, 1, l->matrix, l->below + 1, x, 1, 0, y, 1);
        return 0;
    }
    if (!l->inverse) {
        cblas_dsymv(CblasRowMajor, CblasUpper, n, 1, l->matrix, n, x, 1, 0, y, 1);
        return 0;
    }
    memcpy(y, x, l->n * sizeof *y);
    if (l->spread)
        return tp_spread_divide(l->spread, y, 1, error);
    if (l->below) {
        for (int k = 0; k < 2; k++)
            cblas_dtbsv(CblasColMajor, CblasLower, k ? CblasTrans : CblasNoTrans, CblasNonUnit, n, l->below, l->matrix,
                        l->below + 1, y, 1);
        return 0;
    }
    cblas_dtrsv(CblasRowMajor, CblasUpper, CblasTrans, CblasNonUnit, n, l->matrix, n, y, 1);
    cblas_dtrsv(CblasRowMajor, CblasUpper, CblasNoTrans, CblasNonUnit, n, l->matrix, n, y, 1);
    return 0;
}

/* The largest eigenvalue by Lanczos with full orthogonalization (Golub and Van Loan, Matrix Computations, 10.1): the
 * largest one of the tridiagonal matrix of alpha and beta, until its residual, beta_m times the last entry of its
 * eigenvector, is small. Without that *settled is false, and the eigenvalue is at least this. */
static int find_largest(const linear *l, double *largest, bool *settled, ad_error *error)
{
    size_t n = l->n, maximum = n < MAX_STEPS ? n : MAX_STEPS;
    double *basis = ad_alloc((maximum + 2) * n + maximum * (maximum + 6), sizeof *basis, "Lanczos vectors", error);
    if (l->spread ? tp_ranks_agree(basis ? 0 : -1, error) : !basis) {
        ad_free(basis);
        return -1;
    }
    double *w = basis + (maximum + 1) * n, *vectors = w + n, *alpha = vectors + maximum * maximum,
           *beta = alpha + maximum;
    double *diagonal = beta + maximum, *off = diagonal + maximum, *work = off + maximum; /* work (2 maximum) */
    int status = 0, wide = (int)n;
    *settled = false;
    ad_normal(1, ad_stream("lanczos"), 0, n, basis);
    cblas_dscal(wide, 1 / cblas_dnrm2(wide, basis, 1), basis, 1);
    for (size_t m = 1; m <= maximum; m++) {
        if ((status = apply(l, basis + (m - 1) * n, w, error)))
            break;
        alpha[m - 1] = cblas_ddot(wide, basis + (m - 1) * n, 1, w, 1);
        for (size_t k = 0; k < 2 * m; k++)
            cblas_daxpy(wide, -cblas_ddot(wide, basis + k % m * n, 1, w, 1), basis + k % m * n, 1, w, 1);
        beta[m - 1] = cblas_dnrm2(wide, w, 1);
        memcpy(diagonal, alpha, m * sizeof *diagonal);
        memcpy(off, beta, m * sizeof *off);
        lapack_int order = (lapack_int)m;
        if (LAPACKE_dstev_work(LAPACK_COL_MAJOR, 'V', order, diagonal, off, vectors, order, work) != 0) {
            status = ad_fail(error, "predict: LAPACK found no eigenvalues in %zu steps of Lanczos", m);
            break;
        }
        *largest = diagonal[m - 1];
        *settled = beta[m - 1] * fabs(vectors[m * m - 1]) <= lanczos_tolerance * fabs(*largest) || m == n;
        if (*settled)
            break;
        memcpy(basis + m * n, w, n * sizeof *w);
        cblas_dscal(wide, 1 / beta[m - 1], basis + m * n, 1);
    }
    ad_free(basis);
    return status;
}

/* ---- factoring ---- */
/* What rounding of the factoring moves an eigenvalue by. */
static double rounding(const tp_kernel_model *m)
{
    return (double)m->n * DBL_EPSILON * m->largest;
}

double tp_model_resolution(const tp_kernel_model *m)
{
    return fmax(rounding(m), tp_hidden(m->error, m->n, m->diagonal));
}

/* What hides small eigenvalues, and the rows that repeat others. */
static void tell_cause(const tp_kernel_model *m, char *text, size_t size)
{
    double resolution = tp_model_resolution(m);
    bool rounded = resolution > tp_hidden(m->error, m->n, m->diagonal);
    int used = rounded ? snprintf(text, size, ", rounding hides those below %.1e", resolution)
                       : snprintf(text, size, ", its error of %.0e hides those below %.1e", m->error, resolution);
    tp_repeats_tell(&m->repeats, m->outputs, text + used, size - (size_t)used);
}

/* Names a ridge, a power of ten, that lifts the smallest eigenvalue well above what is resolved. */
int tp_model_refuse(const tp_kernel_model *m, const char *what, double smallest, ad_error *error)
{
    char cause[200] = "";
    bool singular = smallest >= -tp_model_resolution(m);
    double lift = fmax(100 * rounding(m), 10 * tp_hidden(m->error, m->n, m->diagonal));
    double condition = m->largest / fmax(fabs(smallest), DBL_EPSILON * m->largest);
    lift = fmax(lift, smallest < 0 ? -2 * smallest : 0);
    if (singular)
        tell_cause(m, cause, sizeof cause);
    return ad_fail(error,
                   "the kernel of %zu training inputs is %s, condition number %.3g%s (largest eigenvalue %.3g%s): "
                   "nothing is inverted; --ridge %.0e (of the mean of the diagonal, %.3g)%s%s would do",
                   m->n, what, condition, fabs(smallest) > 0 ? "" : " or more", m->largest, cause,
                   pow(10, ceil(log10((lift + m->ridge) / m->diagonal))), m->diagonal, singular ? ", finite times" : "",
                   singular && m->repeats.multiple ? ", or leaving out such rows" : "");
}

int tp_eigenvectors(double *matrix, size_t n, double *values, ad_error *error)
{
    lapack_int order = (lapack_int)n, i_size = 3 + 5 * order;
    size_t size = 1 + 6 * n + 2 * n * n;
    double *work = NULL;
    lapack_int *i_work = NULL;
    int status = -1;
    if (n > MAX_INPUTS)
        return ad_fail(error, "predict: a kernel of %zu inputs, of which eigenvalues are for %d: t = inf takes more", n,
                       MAX_INPUTS);
    if ((work = ad_alloc(size, sizeof *work, "the work of an eigendecomposition", error)) &&
        (i_work = ad_alloc((size_t)i_size, sizeof *i_work, "the work of an eigendecomposition", error)))
        status = 0;
    if (!status && LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'L', order, matrix, order, values, work, (lapack_int)size,
                                       i_work, i_size) != 0)
        status = ad_fail(error, "predict: LAPACK found no eigenvalues of the kernel");
    ad_free(work);
    ad_free(i_work);
    return status;
}

/* What the eigenvalues say; negative ones that are none beyond what is resolved are 0. */
static int judge(tp_kernel_model *m, ad_error *error)
{
    m->smallest = m->values[0];
    m->largest = m->values[m->n - 1];
    if (!(m->largest > 0) || m->smallest < -tp_model_resolution(m))
        return tp_model_refuse(m, "indefinite", m->smallest, error);
    m->condition = m->smallest > tp_model_resolution(m) ? m->largest / m->smallest : (double)INFINITY;
    for (size_t i = 0; i < m->n && m->values[i] < 0; i++)
        m->values[i] = 0;
    return 0;
}

static int by_eigenvalues(tp_kernel_model *m, ad_error *error)
{
    if (!(m->values = ad_alloc(m->n, sizeof *m->values, "eigenvalues", error)) ||
        tp_eigenvectors(m->factor, m->n, m->values, error))
        return -1;
    return judge(m, error);
}

/* The two ends of a band's spectrum; 1 where the smallest is not far above what is resolved, or Lanczos does not
 * settle: all eigenvalues tell more. */
static int find_ends(tp_kernel_model *m, ad_error *error)
{
    const double far = 10; /* times what is resolved */
    int below = tp_band_diagonals(m->n);
    size_t size = m->n * (size_t)(below + 1);
    double inverse = 0, *factor = below ? ad_alloc(size, sizeof *factor, "a band", error) : NULL;
    bool settled[2] = { false };
    if (!factor)
        return below ? -1 : 1;
    memcpy(factor, m->band, size * sizeof *factor);
    int status =
        find_largest(&(linear){ .matrix = m->band, .n = m->n, .below = below }, &m->largest, &settled[0], error);
    if (!status && LAPACKE_dpbtrf_work(LAPACK_COL_MAJOR, 'L', (lapack_int)m->n, below, factor, below + 1) != 0)
        status = 1;
    if (!status)
        status = find_largest(&(linear){ .matrix = factor, .n = m->n, .inverse = true, .below = below }, &inverse,
                              &settled[1], error);
    ad_free(factor);
    if (status)
        return status;
    m->smallest = 1 / inverse;
    m->condition = m->largest / m->smallest;
    return settled[0] && settled[1] && m->smallest > far * tp_model_resolution(m) ? 0 : 1;
}

static int by_band(tp_kernel_model *m, ad_error *error)
{
    if (tp_band_reduce(m, error))
        return -1;
    int ends = find_ends(m, error);
    if (ends < 0 || (ends && (tp_band_values(m, error) || judge(m, error))))
        return -1;
    if (m->smallest < 0)
        tp_band_lift(m, -m->smallest);
    return 0;
}

/* Cholesky's factor in the kernel's place: 1: not positive definite. */
static int factor(tp_kernel_model *m, ad_error *error)
{
    if (m->spread)
        return tp_spread_cholesky(m->spread, error);
    /* the lower triangle of the column order is the upper one of the row order */
    return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', (lapack_int)m->n, m->factor, (lapack_int)m->n) != 0;
}

static int by_cholesky(tp_kernel_model *m, ad_error *error)
{
    double inverse = 0;
    bool settled[2] = { false };
    if (find_largest(&(linear){ .matrix = m->factor, .n = m->n, .spread = m->spread }, &m->largest, &settled[0], error))
        return -1;
    int status = factor(m, error);
    if (status)
        return status > 0 ? tp_model_refuse(m, "not positive definite", 0, error) : -1;
    if (find_largest(&(linear){ .matrix = m->factor, .n = m->n, .inverse = true, .spread = m->spread }, &inverse,
                     &settled[1], error))
        return -1;
    m->smallest = 1 / inverse;
    if (!(m->smallest > tp_model_resolution(m)))
        return tp_model_refuse(m, "singular", m->smallest, error);
    m->condition = m->largest / m->smallest;
    m->bounds = !settled[0] || !settled[1];
    return 0;
}

int tp_check_finite(const char *what, const double *values, size_t n, size_t columns, ad_error *error)
{
    for (size_t i = 0; values && i < n * columns; i++)
        if (!isfinite(values[i]))
            return ad_fail(error, "predict: %s: row %zu is %g", what, i / columns, values[i]);
    return 0;
}

int tp_check_kernel(const double *kernel, size_t n, double *diagonal, ad_error *error)
{
    *diagonal = 0;
    if (n == 0 || n > INT32_MAX / 8)
        return ad_fail(error, "predict: a kernel of %zu inputs", n);
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(kernel[i]))
            return ad_fail(error, "predict: the kernel of inputs %zu and %zu (counted from 0) is %g", i / n, i % n,
                           kernel[i]);
    for (size_t i = 0; i < n; i++)
        *diagonal += kernel[i * n + i] / (double)n;
    if (!(*diagonal > 0))
        return ad_fail(error, "predict: the kernel's diagonal has mean %g: there is nothing to learn with", *diagonal);
    return 0;
}

static int check_spec(const tp_kernel_model_spec *spec, ad_error *error)
{
    if (!(spec->ridge >= 0 && isfinite(spec->ridge)))
        return ad_fail(error, "predict: ridge %g is not from 0 up", spec->ridge);
    if (spec->cholesky && spec->band)
        return ad_fail(error, "predict: a kernel is factored by Cholesky or as a band, not both");
    if (!(spec->noise >= 0 && isfinite(spec->noise)))
        return ad_fail(error, "predict: noise %g is not from 0 up", spec->noise);
    if (!(spec->error >= 0 && isfinite(spec->error)))
        return ad_fail(error, "predict: a kernel's error %g is not from 0 up", spec->error);
    return 0;
}

/* The kernel and what is asked of it; the mean of its diagonal. */
static int check_model(tp_kernel_model *m, const tp_kernel_model_spec *spec, ad_error *error)
{
    if (m->n % m->outputs)
        return ad_fail(error, "predict: a kernel of %zu rows is not one of %zu outputs an input", m->n, m->outputs);
    if (tp_check_kernel(m->factor, m->n, &m->diagonal, error))
        return -1;
    return check_spec(spec, error);
}

tp_kernel_model *tp_kernel_model_new(double *kernel, size_t n, const tp_kernel_model_spec *given, ad_error *error)
{
    tp_kernel_model_spec spec = given ? *given : (tp_kernel_model_spec){ 0 };
    int threads = ad_threads(spec.threads, error);
    tp_kernel_model *m =
        threads && ad_given(kernel, "the kernel", error) ? ad_alloc(1, sizeof *m, "a kernel model", error) : NULL;
    if (!m) {
        ad_free(kernel);
        return NULL;
    }
    *m = (tp_kernel_model){ .n = n,
                            .outputs = spec.outputs > 1 ? spec.outputs : 1,
                            .factor = kernel,
                            .threads = threads,
                            .error = spec.error };
    int status = check_model(m, &spec, error);
    if (!status) {
        tp_repeats_find(kernel, n, spec.error, &m->repeats);
        m->ridge = spec.ridge * m->diagonal + spec.noise;
        for (size_t i = 0; i < n; i++)
            kernel[i * n + i] += m->ridge;
        int before = ad_blas_begin(m->threads);
        status = (spec.cholesky ? by_cholesky : spec.band ? by_band : by_eigenvalues)(m, error);
        ad_blas_end(before);
    }
    if (!status)
        return m;
    tp_kernel_model_free(m);
    return NULL;
}

/* ---- over ranks ---- */
/* The mean of the diagonal, and the ridge added to it. */
static int lift(tp_kernel_model *m, const tp_kernel_model_spec *spec, ad_error *error)
{
    tp_spread *s = m->spread;
    size_t pitch = s->local[0];
    double sum = 0;
    int status = 0;
    for (size_t k = 0; k < s->local[1] && !status; k++)
        for (size_t i = 0; i < pitch && !status; i++) {
            double value = s->values[k * pitch + i];
            size_t row = tp_spread_whole(s, 0, i), column = tp_spread_whole(s, 1, k);
            if (!isfinite(value))
                status = ad_fail(error, "predict: the kernel of inputs %zu and %zu (counted from 0) is %g", row, column,
                                 value);
            sum += row == column ? value : 0;
        }
    if (tp_ranks_agree(status, error))
        return -1;
    tp_ranks_sum(&sum, 1);
    m->diagonal = sum / (double)m->n;
    if (!(m->diagonal > 0))
        return ad_fail(error, "predict: the kernel's diagonal has mean %g: there is nothing to learn with",
                       m->diagonal);
    if (tp_repeats_spread(s, spec->error, &m->repeats, error))
        return -1;
    m->ridge = spec->ridge * m->diagonal + spec->noise;
    for (size_t k = 0; k < s->local[1]; k++)
        for (size_t i = 0; i < pitch; i++)
            if (tp_spread_whole(s, 0, i) == tp_spread_whole(s, 1, k))
                s->values[k * pitch + i] += m->ridge;
    return 0;
}

/* Eigenvectors in the kernel's place. */
static int spread_eigenvalues(tp_kernel_model *m, ad_error *error)
{
    m->values = ad_alloc(m->n, sizeof *m->values, "eigenvalues", error);
    if (tp_ranks_agree(m->values ? 0 : -1, error))
        return -1;
    tp_spread *vectors = tp_spread_new(m->n, m->n, m->spread->side, error);
    int status = vectors ? tp_spread_eigen(m->spread, m->values, vectors, error) : -1;
    if (vectors)
        tp_spread_free(m->spread);
    m->spread = vectors ? vectors : m->spread;
    return status ? -1 : judge(m, error);
}

tp_kernel_model *tp_kernel_model_spread(tp_spread *kernel, const tp_kernel_model_spec *given, ad_error *error)
{
    tp_kernel_model_spec spec = given ? *given : (tp_kernel_model_spec){ 0 };
    tp_kernel_model *m = kernel ? ad_alloc(1, sizeof *m, "a kernel model", error) : NULL;
    int threads = m ? ad_threads(spec.threads, error) : 0, status = threads ? check_spec(&spec, error) : -1;
    if (!status && (spec.band || spec.outputs > 1 || kernel->rows != kernel->columns))
        status = ad_fail(error, "predict: over ranks a kernel is of one set, between inputs, and has no band form");
    if (tp_ranks_agree(status, error)) {
        tp_spread_free(kernel);
        ad_free(m);
        return NULL;
    }
    *m =
        (tp_kernel_model){ .n = kernel->rows, .outputs = 1, .threads = threads, .spread = kernel, .error = spec.error };
    int before = ad_blas_begin(threads);
    status = lift(m, &spec, error) || (spec.cholesky ? by_cholesky : spread_eigenvalues)(m, error);
    ad_blas_end(before);
    if (!tp_ranks_agree(status, error))
        return m;
    tp_kernel_model_free(m);
    return NULL;
}

void tp_kernel_model_free(tp_kernel_model *model)
{
    if (!model)
        return;
    ad_free(model->factor);
    ad_free(model->values);
    ad_free(model->band);
    ad_free(model->tau);
    tp_spread_free(model->spread);
    ad_free(model);
}

double tp_kernel_model_bytes(size_t n, const tp_kernel_model_spec *spec)
{
    double wide = (double)n, maximum = wide < MAX_STEPS ? wide : MAX_STEPS;
    bool cholesky = spec && spec->cholesky;
    if (spec && spec->band)
        return tp_band_bytes(n);
    return 8 * (cholesky ? wide * (wide + maximum + 2) + maximum * (maximum + 6) : wide * (3 * wide + 8));
}

/* ---- products ---- */
void tp_model_product(const tp_kernel_model *m, const double *a, size_t columns, double *scratch, double *out)
{
    int n = (int)m->n, wide = (int)columns, before = ad_blas_begin(m->threads);
    if (m->values) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, wide, n, 1, m->factor, n, a, wide, 0, scratch, wide);
        for (size_t i = 0; i < m->n; i++)
            for (size_t c = 0; c < columns; c++)
                scratch[i * columns + c] *= m->values[i];
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, wide, n, 1, m->factor, n, scratch, wide, 0, out, wide);
    } else {
        memcpy(out, a, m->n * columns * sizeof *out);
        for (int turn = 0; turn < 2; turn++)
            cblas_dtrmm(CblasRowMajor, CblasLeft, CblasUpper, turn ? CblasTrans : CblasNoTrans, CblasNonUnit, n, wide,
                        1, m->factor, n, out, wide);
    }
    ad_blas_end(before);
}

/* out = (K + ridge) a by the band form. */
static int band_product(const tp_kernel_model *m, const double *a, size_t columns, double *scratch, double *out,
                        ad_error *error)
{
    int before = ad_blas_begin(m->threads);
    memcpy(scratch, a, m->n * columns * sizeof *scratch);
    int status = tp_band_turn(m, false, &(tp_vectors){ scratch, columns, false }, error);
    if (!status) {
        tp_band_product(m, &(tp_vectors){ scratch, columns, false }, out);
        status = tp_band_turn(m, true, &(tp_vectors){ out, columns, false }, error);
    }
    ad_blas_end(before);
    return status;
}

/* out = (K + ridge) a over ranks. */
static int spread_product(const tp_kernel_model *m, const double *a, size_t columns, double *scratch, double *out,
                          ad_error *error)
{
    int before = ad_blas_begin(m->threads), status = tp_spread_multiply(m->spread, true, a, columns, scratch, error);
    for (size_t i = 0; i < m->n * columns && m->values; i++)
        scratch[i] *= m->values[i / columns];
    if (!status)
        status = tp_spread_multiply(m->spread, false, scratch, columns, out, error);
    ad_blas_end(before);
    return status;
}

/* f_0 + (K + ridge - without) a. */
static int outputs(const tp_kernel_model *m, double without, const double *a, size_t columns, const double *start,
                   double *out, ad_error *error)
{
    double *scratch = ad_alloc(m->n * columns, sizeof *scratch, "outputs", error);
    int status = scratch ? 0 : -1;
    if (m->spread && !(status = tp_ranks_agree(status, error)))
        status = spread_product(m, a, columns, scratch, out, error);
    else if (!status && m->band)
        status = band_product(m, a, columns, scratch, out, error);
    else if (!status)
        tp_model_product(m, a, columns, scratch, out);
    for (size_t i = 0; i < m->n * columns && !status; i++)
        out[i] += (start ? start[i] : 0) - without * a[i];
    ad_free(scratch);
    return status;
}

int tp_outputs(const tp_kernel_model *m, const double *a, size_t columns, const double *start, double *out,
               ad_error *error)
{
    return outputs(m, 0, a, columns, start, out, error);
}

int tp_fitted_values(const tp_kernel_model *m, const double *a, size_t columns, const double *start, double *out,
                     ad_error *error)
{
    return outputs(m, m->ridge, a, columns, start, out, error);
}

void tp_outputs_at(const tp_kernel_model *m, const double *cross, size_t rows, const double *a, size_t columns,
                   const double *start, double *out)
{
    int n = (int)m->n, wide = (int)columns, before = ad_blas_begin(m->threads);
    if (start)
        memcpy(out, start, rows * columns * sizeof *out);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, wide, n, 1, cross, n, a, wide, start ? 1 : 0, out,
                wide);
    ad_blas_end(before);
}

int tp_outputs_spread(const tp_kernel_model *m, const tp_spread *cross, const double *a, size_t columns,
                      const double *start, double *out, ad_error *error)
{
    int before = ad_blas_begin(m->threads), status = tp_spread_multiply(cross, true, a, columns, out, error);
    ad_blas_end(before);
    for (size_t i = 0; i < cross->columns * columns && start && !status; i++)
        out[i] += start[i];
    return status;
}
