/* cubature.c: points of the normal law and weights by which polynomials are integrated exactly: the even ones up to a
 * degree, as many as a part of the points can carry. Of a smooth function what is left has higher degrees alone.
 *
 * These polynomials are large where points of the law are few: the points are spread more widely, each with w, the
 * ratio
 * of the two laws. The weights w (1 + Phi^T c) are the nearest to these, Phi the products of normalised Hermite
 * polynomials at the points: Phi W Phi^T c = e_0 - Phi w, by conjugate gradients, as Phi W Phi^T is nearly one.
 *
 * In one dimension or two the trapezoid rule is better, whose error falls exponentially. */
#include "autodiff/base/base.h"
#include "tp/gauss/gauss.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* More products than this reaches in few variables follow the points themselves: their means are then off by as much as
 * the runs spread. */
enum { HIGHEST = 6 };

/* How many products of degree k there are of `dims` variables: (k + dims - 1 over k). */
static double products(int dims, int k)
{
    double count = 1;
    for (int i = 1; i <= k; i++)
        count *= (double)(dims + i - 1) / i;
    return count;
}

/* The highest even degree of which, with all below, there are at most so many; *count: how many. */
static int degree_of(int dims, double most, int *count)
{
    int degree = 0;
    double all = 1;
    while (degree < HIGHEST && all + products(dims, degree + 2) <= most)
        all += products(dims, degree += 2);
    *count = (int)(all + 0.5);
    return degree;
}

/* The exponents of the next product of the same degree; false after the last. */
static bool next_exponents(int dims, int *e)
{
    int i = 0;
    while (i < dims && e[i] == 0)
        i++;
    if (i >= dims - 1)
        return false;
    int moved = e[i];
    e[i] = 0;
    e[0] = moved - 1;
    e[i + 1]++;
    return true;
}

/* h (dims, degree + 1, n): He_k(z) / sqrt(k!). */
static void fill_hermite(int dims, int degree, size_t n, const double *z, double *h)
{
    for (int d = 0; d < dims; d++)
        for (int k = 0; k <= degree; k++) {
            double *to = h + ((size_t)d * (size_t)(degree + 1) + (size_t)k) * n;
            const double *x = z + (size_t)d * n, *last = to - n, *before = last - n;
            for (size_t i = 0; i < n; i++)
                to[i] = k == 0 ? 1 : k == 1 ? x[i] : (x[i] * last[i] - sqrt(k - 1) * before[i]) / sqrt(k);
        }
}

static void fill_products(int dims, int degree, size_t n, const double *h, int count, double *phi)
{
    int row = 0, e[TP_MOST_CUBED] = { 0 };
    for (int total = 0; total <= degree; total += 2) {
        memset(e, 0, sizeof e);
        e[0] = total;
        do {
            double *to = phi + (size_t)row++ * n;
            bool first = true;
            for (int d = 0; d < dims; d++) {
                const double *of = h + ((size_t)d * (size_t)(degree + 1) + (size_t)e[d]) * n;
                if (e[d] && first)
                    memcpy(to, of, n * sizeof *to);
                else if (e[d])
                    tp_array_multiply(n, to, of, to);
                first = first && !e[d];
            }
            for (size_t i = 0; i < n && first; i++)
                to[i] = 1;
        } while (row < count && next_exponents(dims, e));
    }
}

/* c with A c = r, A = Phi W Phi^T, of which the lower triangle is there; r is used up, p and q are room for `count`
 * numbers each. */
static void solve(int count, const double *a, double *r, double *c, double *p, double *q)
{
    enum { MOST_STEPS = 100 };
    double size = cblas_ddot(count, r, 1, r, 1), first = size;
    memset(c, 0, (size_t)count * sizeof *c);
    memcpy(p, r, (size_t)count * sizeof *p);
    for (int step = 0; step < MOST_STEPS && size > 1e-26 * first; step++) {
        cblas_dsymv(CblasRowMajor, CblasLower, count, 1, a, count, p, 1, 0, q, 1);
        double by = size / cblas_ddot(count, p, 1, q, 1);
        cblas_daxpy(count, by, p, 1, c, 1);
        cblas_daxpy(count, -by, q, 1, r, 1);
        double left = cblas_ddot(count, r, 1, r, 1);
        cblas_dscal(count, left / size, p, 1);
        cblas_daxpy(count, 1, r, 1, p, 1);
        size = left;
    }
}

/* Phi W Phi^T, its lower triangle; `root` is room for as many numbers as Phi has. */
static void fill_gram(int count, size_t n, const double *phi, const double *w, double *root, double *a)
{
    for (size_t i = 0; i < n; i++)
        root[i] = sqrt(w[i]);
    for (size_t k = (size_t)count; k-- > 0;) /* the first row of Phi is 1, and its place is the roots' own */
        for (size_t i = 0; i < n; i++)
            root[k * n + i] = phi[k * n + i] * root[i];
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, count, (int)n, 1, root, (int)n, 0, a, count);
}

/* Points that are spread more widely by `spread`, and what each weighs by the ratio of the two laws. */
static void spread_points(int dims, size_t n, size_t stride, const double *z, double spread, double *x, double *w)
{
    for (size_t i = 0; i < n; i++)
        w[i] = 0;
    for (int d = 0; d < dims; d++)
        for (size_t i = 0; i < n; i++) {
            double at = z[(size_t)d * stride + i];
            x[(size_t)d * n + i] = spread * at;
            w[i] += at * at;
        }
    for (size_t i = 0; i < n; i++)
        w[i] = pow(spread, dims) * exp((1 - spread * spread) / 2 * w[i]) / (double)n;
}

void tp_normal_grid(int dims, size_t n, const double *shift, double *x, double *w)
{
    const double reach = 7, root_pi2 = 2.50662827463100050242;
    size_t side = dims == 1 ? n : (size_t)sqrt((double)n + 0.5);
    double h = 2 * reach / (double)side;
    memset(w, 0, n * sizeof *w);
    memset(x, 0, (size_t)dims * n * sizeof *x);
    for (size_t i = 0; i < (dims == 1 ? n : side * side); i++) {
        size_t at[2] = { i % side, i / side };
        double squares = 0;
        for (int d = 0; d < dims; d++) {
            double value = x[(size_t)d * n + i] = h * ((double)at[d] + shift[d]) - reach;
            squares += value * value;
        }
        w[i] = pow(h / root_pi2, dims) * exp(-squares / 2);
    }
}

int tp_cubature(int dims, size_t n, size_t stride, const double *z, double *x, double *w, ad_error *error)
{
    const double part = 1.0 / 4, most = 640;
    int count, degree = degree_of(dims, fmin(part * (double)n, most), &count);
    if (degree <= 2 && n == stride) { /* which they integrate as they are */
        memcpy(x, z, (size_t)dims * n * sizeof *x);
        for (size_t i = 0; i < n; i++)
            w[i] = 1 / (double)n;
        return 0;
    }
    size_t tables = (size_t)dims * (size_t)(degree + 1) * n, rows = (size_t)count;
    double *h = ad_reserve(tables, sizeof *h, "points", error);
    double *phi = ad_reserve(2 * rows * n + rows * rows + 4 * rows + n, sizeof *phi, "points", error);
    if (h && phi) {
        double *root = phi + rows * n, *a = root + rows * n, *r = a + rows * rows;
        double *c = r + rows, *p = c + rows, *q = p + rows, *t = q + rows;
        spread_points(dims, n, stride, z, sqrt(1 + 4.0 / dims), x, w);
        fill_hermite(dims, degree, n, x, h);
        fill_products(dims, degree, n, h, count, phi);
        cblas_dgemv(CblasRowMajor, CblasNoTrans, count, (int)n, -1, phi, (int)n, w, 1, 0, r, 1);
        r[0] += 1;
        fill_gram(count, n, phi, w, root, a);
        solve(count, a, r, c, p, q);
        for (size_t i = 0; i < n; i++)
            t[i] = 1;
        cblas_dgemv(CblasRowMajor, CblasTrans, count, (int)n, 1, phi, (int)n, c, 1, 1, t, 1);
        tp_array_multiply(n, w, t, w);
    }
    bool made = h && phi;
    ad_free(h);
    ad_free(phi);
    return made ? 0 : -1;
}
