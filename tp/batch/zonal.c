/* zonal.c: expectations over the sphere of functions of one projection each, by Gegenbauer polynomials (THEORY, 7,
 * Degrees): with p_j orthonormal for the law of <omega, e>, E p_i(<omega, e>) p_j(<omega, e'>) is 0 for i != j, and
 * else p_j(<e, e'>) / p_j(1). */
#include "tp/batch/zonal.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { NODES = 96, DEGREES = 64 };

/* s p_j = b_j+1 p_j+1 + b_j p_j-1 in k dimensions, k >= 3. */
static double recurrence(double j, double k)
{
    double lambda = (k - 2) / 2;
    return j < 1 ? 0 : j < 2 ? 1 / sqrt(k) : sqrt(j * (j + 2 * lambda - 1) / (4 * (j + lambda) * (j + lambda - 1)));
}

static void polynomials(double s, double k, int count, double *p)
{
    p[0] = 1;
    p[1] = s * sqrt(k);
    for (int j = 1; j + 1 < count; j++)
        p[j + 1] = (s * p[j] - recurrence(j, k) * p[j - 1]) / recurrence(j + 1, k);
}

typedef struct {
    double s[NODES], weight[NODES], p[NODES][NODES];
} rule;

/* Gauss's: nodes are the Jacobi matrix's eigenvalues, weights 1 / sum p_j^2. */
static int find_rule(size_t k, rule *r)
{
    double below[NODES] = { 0 };
    memset(r->s, 0, sizeof r->s);
    for (int j = 0; j + 1 < NODES; j++)
        below[j] = recurrence(j + 1, (double)k);
    if (LAPACKE_dsterf(NODES, r->s, below) != 0)
        return -1;
    for (int i = 0; i < NODES; i++) {
        double squares = 0;
        polynomials(r->s[i], (double)k, NODES, r->p[i]);
        for (int j = 0; j < NODES; j++)
            squares += r->p[i][j] * r->p[i][j];
        r->weight[i] = 1 / squares;
    }
    return 0;
}

/* E f p_j of the projections on each row; *left: the largest share of E f^2 that is in none of them. */
static void coefficients(const rule *r, const tp_block_function *f, size_t rows, const double *size, double *c,
                         double *left)
{
    for (size_t a = 0; a < rows; a++, c += DEGREES) {
        double x[NODES], y[NODES], squares = 0, found = 0;
        for (int i = 0; i < NODES; i++)
            x[i] = size[a] * r->s[i];
        f->eval(f->context, NODES, x, y);
        for (int i = 0; i < NODES; i++) {
            squares += r->weight[i] * y[i] * y[i];
            for (int j = 0; j < DEGREES; j++)
                c[j] += r->weight[i] * y[i] * r->p[i][j];
        }
        for (int j = 0; j < DEGREES; j++)
            found += c[j] * c[j];
        *left = squares > 0 ? fmax(*left, (squares - found) / squares) : *left;
    }
}

static void row_sizes(size_t rows, size_t k, const double *a, double *size)
{
    for (size_t i = 0; i < rows; i++) {
        size[i] = 0;
        for (size_t j = 0; j < k; j++)
            size[i] += a[i * k + j] * a[i * k + j];
        size[i] = sqrt(size[i]);
    }
}

int tp_zonal(const tp_zonal_spec *z, double *out, double *left, ad_error *error)
{
    size_t m = z->rows, n = z->rows2, k = z->dimensions;
    rule *r = ad_alloc(1, sizeof *r, "a quadrature", error);
    double *size = r ? ad_alloc((m + n) * (DEGREES + 1), sizeof *size, "zonal functions", error) : NULL;
    if (!size || find_rule(k, r)) {
        ad_free(r);
        ad_free(size);
        return ad_fail(error, "out of memory, or no quadrature, for zonal functions");
    }
    double *c = size + m + n, *c2 = c + m * DEGREES, p[DEGREES], one[DEGREES];
    row_sizes(m, k, z->a, size);
    row_sizes(n, k, z->b, size + m);
    *left = 0;
    coefficients(r, z->f, m, size, c, left);
    coefficients(r, z->g, n, size + m, c2, left);
    polynomials(1, (double)k, DEGREES, one);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double cosine = 0, sum = 0, sizes = size[i] * size[m + j];
            for (size_t d = 0; d < k; d++)
                cosine += z->a[i * k + d] * z->b[j * k + d];
            polynomials(sizes > 0 ? fmax(-1, fmin(1, cosine / sizes)) : 0, (double)k, DEGREES, p);
            for (int d = 0; d < DEGREES; d++)
                sum += c[i * DEGREES + (size_t)d] * c2[j * DEGREES + (size_t)d] * p[d] / one[d];
            out[i * n + j] = sum;
        }
    ad_free(r);
    ad_free(size);
    return 0;
}
