/* directions.c: shares of directions, by which polynomials have their means. */
#include "tp/batch/directions.h"

#include "autodiff/base/base.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>

enum { MOST_DEGREE = 6, MOST_MONOMIALS = 256 };

/* (k + d - 1 over d): monomials of degree d in k dimensions. */
static double count_monomials(size_t k, int degree)
{
    double count = 1;
    for (int i = 0; i < degree; i++)
        count *= ((double)k + i) / (i + 1);
    return round(count);
}

/* The largest that n directions leave room for; 0: less than 4. */
static int find_degree(size_t k, size_t n)
{
    int degree = MOST_DEGREE;
    while (degree >= 4 && (2 * count_monomials(k, degree) > (double)n || count_monomials(k, degree) > MOST_MONOMIALS))
        degree -= 2;
    return degree >= 4 && k > 1 ? degree : 0;
}

/* The mean over the sphere of the monomial whose `degree` factors are these axes, ascending: of each axis's power m the
 * product of m - 1, m - 3, ..., over k (k + 2) (k + 4) ... */
static double mean_of(size_t k, int degree, const size_t *axes)
{
    double mean = 1;
    for (int i = 0, power = 0; i < degree; i++) {
        mean *= power % 2 ? (double)power : 1;
        power++;
        if (i + 1 == degree || axes[i + 1] != axes[i]) {
            mean *= power % 2 ? 0 : 1;
            power = 0;
        }
    }
    for (int i = 0; i < degree / 2; i++)
        mean /= (double)k + 2 * i;
    return mean;
}

/* out (n, m) of all monomials, and their means (m). */
static void fill_monomials(size_t n, size_t k, int degree, size_t m, const double *x, double *out, double *means)
{
    size_t axes[MOST_DEGREE] = { 0 };
    for (size_t column = 0; column < m; column++) {
        means[column] = mean_of(k, degree, axes);
        for (size_t i = 0; i < n; i++) {
            double product = 1;
            for (int d = 0; d < degree; d++)
                product *= x[i * k + axes[d]];
            out[i * m + column] = product;
        }
        int last = degree - 1; /* the next ascending list of axes */
        while (last > 0 && axes[last] == k - 1)
            last--;
        for (size_t next = axes[last] + 1; last < degree; last++)
            axes[last] = next;
    }
}

/* share += p (p'p)^-1 (means - p' share), p (n, m) the monomials: on the sphere those of degree d span all even ones
 * below. Equal shares stay where p'p is singular. */
static int balance(size_t n, size_t k, int degree, const double *x, double *share, ad_error *error)
{
    size_t m = (size_t)count_monomials(k, degree);
    double *p = ad_alloc((n + m + 1) * m, sizeof *p, "directions", error);
    if (!p)
        return -1;
    double *gram = p + n * m, *means = gram + m * m;
    fill_monomials(n, k, degree, m, x, p, means);
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)m, (int)n, 1, p, (int)m, 0, gram, (int)m);
    cblas_dgemv(CblasRowMajor, CblasTrans, (int)n, (int)m, -1, p, (int)m, share, 1, 1, means, 1);
    if (LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', (lapack_int)m, 1, gram, (lapack_int)m, means, 1) == 0)
        cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)n, (int)m, 1, p, (int)m, means, 1, 1, share, 1);
    ad_free(p);
    return 0;
}

int tp_place_directions(size_t n, size_t k, const double *columns, double *x, double *share, ad_error *error)
{
    int degree = find_degree(k, n);
    for (size_t i = 0; i < n; i++) {
        double size = 0;
        for (size_t j = 0; j < k; j++)
            size += pow(x[i * k + j] = columns[j * n + i], 2);
        cblas_dscal((int)k, 1 / sqrt(size), x + i * k, 1);
        share[i] = 1 / (double)n;
    }
    return degree ? balance(n, k, degree, x, share, error) : 0;
}
