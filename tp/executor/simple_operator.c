/* simple_operator.c: a Gaussian matrix in one of its two ways, for programs of which the simple rules hold: then W x is
 * Gaussian with the covariances <x, x'> and independent of what W' gives (Tensor Programs II, Proposition 2), so that
 * neither has to know of the other, and draws need not be orthogonal: Cholesky's factor of the products' covariance is
 * applied to them. There may be more products than samples. */
#include "tp/executor/draws.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

void tp_simple_new(tp_simple *w, tp_space *out, size_t in_size, double weight, bool signs)
{
    *w = (tp_simple){ .out = out,
                      .weight = weight,
                      .signs = signs,
                      .seen = { .length = in_size },
                      .drawn = { .length = out->basis.length } };
}

void tp_simple_free(tp_simple *w)
{
    ad_free(w->seen.data);
    ad_free(w->drawn.data);
    ad_free(w->factor);
}

/* Room in the factor, row after row, for `n` directions. */
static int grow_factor(tp_simple *w, int n, ad_error *error)
{
    if (n <= w->capacity)
        return 0;
    int capacity = n > 2 * w->capacity ? n : 2 * w->capacity;
    double *larger = ad_alloc((size_t)capacity * (size_t)capacity, sizeof *larger, "a covariance's factor", error);
    if (!larger)
        return -1;
    for (int i = 0; i < w->seen.n; i++)
        memcpy(larger + (size_t)i * (size_t)capacity, w->factor + (size_t)i * (size_t)w->capacity,
               (size_t)(i + 1) * sizeof *larger);
    ad_free(w->factor);
    w->factor = larger;
    w->capacity = capacity;
    return 0;
}

/* Powers of 2 that bring rows of any size within a factor of 32 of the largest, and leave those that are there as they
 * are; what is new in a row is judged beside the row. */
static void find_sizes(int count, const double *covariances, double largest, double *sizes)
{
    const int step = 10;
    for (int i = 0; i < count; i++) {
        double share = covariances[(size_t)i * (size_t)(count + 1)] / largest;
        sizes[i] = share > 0 ? ldexp(1, step * (int)rint(log2(share) / 2 / step)) : 1;
    }
}

static void divide_by_sizes(int count, const double *sizes, double *covariances)
{
    for (int i = 0; i < count; i++)
        for (int j = 0; j <= i; j++) {
            double *entry = &covariances[(size_t)i * (size_t)count + (size_t)j];
            *entry = *entry / sizes[i] / sizes[j];
        }
}

/* The rows of a factor, which are by `order`. */
static void multiply_by_sizes(int count, const double *sizes, const lapack_int *order, double *factor)
{
    for (int i = 0; i < count; i++)
        for (int j = 0; j <= i; j++)
            factor[(size_t)i * (size_t)count + (size_t)j] *= sizes[order[i] - 1];
}

/* What the known directions leave of the covariances of x, factored: rest = L L' up to rounding, rows of x by `order`,
 * `rank` of them new. known (n, count): the coefficients on the known ones. */
static int factor_rest(tp_simple *w, int count, const double *x, double *known, double *rest, lapack_int *order,
                       int *rank, ad_error *error)
{
    int n = w->seen.n, length = (int)w->seen.length;
    double largest = 0;
    lapack_int found = 0;
    double *work = ad_alloc(3 * (size_t)count, sizeof *work, "a covariance's factor", error);
    if (!work)
        return -1;
    double *sizes = work + 2 * (size_t)count;
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, count, length, w->weight, x, length, 0, rest, count);
    for (int i = 0; i < count; i++)
        largest = fmax(largest, rest[(size_t)i * (size_t)(count + 1)]);
    find_sizes(count, rest, largest, sizes);
    if (n) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, count, length, w->weight, w->seen.data, length, x,
                    length, 0, known, count);
        cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, n, count, 1, w->factor,
                    w->capacity, known, count);
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, count, n, -1, known, count, 1, rest, count);
    }
    int info = 0;
    if (largest > 0) { /* row-major and lower: column-major and upper, U' U */
        divide_by_sizes(count, sizes, rest);
        info = LAPACKE_dpstrf_work(LAPACK_COL_MAJOR, 'U', count, rest, count, order, &found,
                                   1e-13 * (count + n) * largest, work);
        multiply_by_sizes(count, sizes, order, rest);
    }
    ad_free(work);
    *rank = (int)found;
    if (info < 0 || !isfinite(largest))
        return ad_fail(error, "a product with a matrix is not finite on samples");
    return 0;
}

/* The pivots of x become known directions. */
static void keep_pivots(tp_simple *w, int count, const double *x, const double *known, const double *rest,
                        const lapack_int *order, int rank)
{
    int n = w->seen.n;
    size_t length = w->seen.length, stride = (size_t)w->capacity;
    for (int k = 0; k < rank; k++) {
        size_t row = (size_t)order[k] - 1;
        double *to = w->factor + (size_t)(n + k) * stride;
        memcpy(w->seen.data + (size_t)(n + k) * length, x + row * length, length * sizeof *x);
        for (int i = 0; i < n; i++)
            to[i] = known[(size_t)i * (size_t)count + row];
        for (int i = 0; i <= k; i++)
            to[n + i] = rest[(size_t)k * (size_t)count + (size_t)i];
    }
    w->seen.n += rank;
}

int tp_simple_apply(tp_simple *w, int count, const double *x, double *y, ad_error *error)
{
    int n = w->seen.n, rank = 0, to = (int)w->drawn.length, status = -1;
    size_t size = (size_t)count;
    double *known = ad_alloc((size_t)n * size + 1, sizeof *known, "coefficients", error);
    double *rest = ad_alloc(size * size, sizeof *rest, "coefficients", error);
    double *fresh = ad_alloc(size * size, sizeof *fresh, "coefficients", error);
    lapack_int *order = ad_alloc(size, sizeof *order, "coefficients", error);
    if (!known || !rest || !fresh || !order || factor_rest(w, count, x, known, rest, order, &rank, error))
        goto done;
    if (rank && (!tp_rows_grow(&w->seen, rank, error) || grow_factor(w, n + rank, error) ||
                 tp_draw_plain(w->out, rank, w->signs, &w->drawn, error)))
        goto done;
    keep_pivots(w, count, x, known, rest, order, rank);
    for (int k = 0; k < count && rank; k++)
        for (int i = 0; i < rank && i <= k; i++)
            fresh[((size_t)order[k] - 1) * size + (size_t)i] = rest[(size_t)k * size + (size_t)i];
    if (n)
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, count, to, n, 1, known, count, w->drawn.data, to, 1, y,
                    to);
    if (rank)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, to, rank, 1, fresh, count, tp_row(&w->drawn, n),
                    to, 1, y, to);
    status = 0;
done:
    ad_free(known);
    ad_free(rest);
    ad_free(fresh);
    ad_free(order);
    return status;
}
