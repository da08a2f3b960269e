/* chebyshev.c: many functions of a variance at once, interpolated in log q by Chebyshev's polynomials. What is analytic
 * in q for |arg q| < pi, as expectations of functions that are analytic around the real line nearly are, converges like
 * r^-n, r that of the ellipse through +-i pi. */
#include "tp/gauss/chebyshev.h"
#include "tp/gauss/gauss.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { MOST = 64 };
static const double pi = 3.14159265358979323846;

size_t tp_chebyshev_nodes(double low, double high)
{
    const double digits = 38, strip = 2.6; /* 16.5 decimal ones; below pi, towards which functions grow */
    double half = fmax(log(high / low) / 2, 1e-3), z = strip / half, r = z + sqrt(z * z + 1);
    size_t n = 3 + (size_t)ceil(digits / log(r));
    return n <= MOST ? n : 0;
}

void tp_chebyshev_at(double low, double high, size_t n, double *q)
{
    for (size_t i = 0; i < n; i++) {
        double t = cos(pi * ((double)i + 0.5) / (double)n);
        q[i] = exp(log(low) + (t + 1) / 2 * log(high / low));
    }
}

/* (n, stride), of which (n, count): the polynomials at q. */
static void polynomials(const tp_chebyshev *t, size_t count, const double *q, size_t stride, double *out)
{
    double start = log(t->low), length = log(t->high / t->low);
    for (size_t j = 0; j < count; j++) {
        double x = 2 * (log(q[j]) - start) / length - 1, before = x, at = 1;
        for (size_t k = 0; k < t->n; k++) {
            double next = 2 * x * at - before;
            out[k * stride + j] = at;
            before = at;
            at = next;
        }
    }
}

int tp_chebyshev_new(tp_chebyshev *t, double low, double high, size_t n, size_t width, const double *values,
                     ad_error *error)
{
    double cosines[MOST * MOST];
    *t = (tp_chebyshev){ .low = low, .high = high, .n = n, .width = width };
    t->coefficients = ad_alloc(n * width, sizeof(double), "a table over variances", error);
    if (!t->coefficients)
        return -1;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < n; i++)
            cosines[k * n + i] = (k ? 2.0 : 1.0) / (double)n * cos(pi * (double)k * ((double)i + 0.5) / (double)n);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasTrans, (int)width, (int)n, (int)n, 1, values, (int)width, cosines,
                (int)n, 0, t->coefficients, (int)n);
    for (size_t i = 0; i < width; i++)
        for (size_t k = n > 2 ? n - 2 : 0; k < n; k++)
            t->last = fmax(t->last, fabs(t->coefficients[i * n + k]));
    return 0;
}

int tp_chebyshev_get(const tp_chebyshev *t, size_t width, size_t count, const double *q, size_t stride, double *out,
                     ad_error *error)
{
    double *at = ad_alloc(t->n * stride + TP_LANES, sizeof *at, "a table over variances", error);
    if (!at)
        return -1;
    polynomials(t, count, q, stride, at);
    tp_array_products(width, stride, t->n, t->coefficients, at, stride, out);
    ad_free(at);
    return 0;
}

void tp_chebyshev_free(tp_chebyshev *t)
{
    ad_free(t->coefficients);
    *t = (tp_chebyshev){ 0 };
}
