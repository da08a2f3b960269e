/* band_form.c: a kernel as Q B Q', B with DIAGONALS below its own, and what gradient flow asks of it, by few solves.
 *
 * All of the reduction is products of matrices, where a tridiagonal form is half products with a vector and
 * eigenvectors are as much again. What flow needs of K y is (1 - e^-tK) / K y, that is 1 / (2 pi i) times the integral
 * of e^z / z (z / t + K)^-1 y around the negative axis. On the hyperbola z = mu (1 + sin(i u - alpha)) the midpoint
 * rule with POLES nodes above the axis, and their conjugates, has it to 10^-POLES for all t lambda >= 0 alike
 * (Weideman and Trefethen, Parabolic and hyperbolic contours for computing the Bromwich integral, Math. Comp. 76, 2007,
 * section 4): here 2e-13 of each mode's own, which rounding decides. */
#include "tp/predict/kernel_model.h"

#include "autodiff/base/base.h"

#include <cblas.h>
#include <complex.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { DIAGONALS = 64, POLES = 16, TOGETHER = 64 /* right sides of a solve */ };

/* LAPACK's reduction to a band by Householder's reflections, a panel of columns at a time; LAPACKE has no name for it.
 * The last number is the length of uplo. */
extern void dsytrd_sy2sb_(const char *uplo, const lapack_int *n, const lapack_int *kd, double *a, const lapack_int *lda,
                          double *ab, const lapack_int *ldab, double *tau, double *work, const lapack_int *lwork,
                          lapack_int *info, size_t length);

int tp_band_diagonals(size_t n)
{
    return n > DIAGONALS ? DIAGONALS : (int)(n - 1);
}

double tp_band_bytes(size_t n)
{
    double wide = (double)n, kept = wide * (tp_band_diagonals(n) + 3), solve = 2 * wide * (3 * DIAGONALS + TOGETHER);
    return 8 * (wide * wide + kept + solve);
}

/* The workspace that LAPACK asks for at a size of -1. */
static double *work_of(double asked, lapack_int *size, ad_error *error)
{
    *size = (lapack_int)asked;
    return ad_alloc((size_t)asked, sizeof(double), "the work of a reduction to a band", error);
}

int tp_band_reduce(tp_kernel_model *m, ad_error *error)
{
    lapack_int n = (lapack_int)m->n, below = tp_band_diagonals(m->n), rows = below + 1, size = -1, info = 0;
    double asked = 0;
    dsytrd_sy2sb_("L", &n, &below, m->factor, &n, NULL, &rows, NULL, &asked, &size, &info, 1);
    double *work = work_of(asked, &size, error);
    int status = work && (m->band = ad_alloc(m->n * (size_t)rows, sizeof *m->band, "a band", error)) &&
                         (m->tau = ad_alloc(m->n, sizeof *m->tau, "reflections", error))
                     ? 0
                     : -1;
    if (!status) {
        dsytrd_sy2sb_("L", &n, &below, m->factor, &n, m->band, &rows, m->tau, work, &size, &info, 1);
        status = info ? ad_fail(error, "predict: LAPACK found no band form of the kernel") : 0;
    }
    ad_free(work);
    return status;
}

int tp_band_values(tp_kernel_model *m, ad_error *error)
{
    lapack_int below = tp_band_diagonals(m->n), rows = below + 1;
    size_t size = m->n * (size_t)rows;
    double *copy = ad_alloc(size, sizeof *copy, "a band", error);
    if (!copy || !(m->values = ad_alloc(m->n, sizeof *m->values, "eigenvalues", error))) {
        ad_free(copy);
        return -1;
    }
    memcpy(copy, m->band, size * sizeof *copy);
    lapack_int info =
        LAPACKE_dsbevd(LAPACK_COL_MAJOR, 'N', 'L', (lapack_int)m->n, below, copy, rows, m->values, NULL, 1);
    ad_free(copy);
    return info ? ad_fail(error, "predict: LAPACK found no eigenvalues of the kernel") : 0;
}

void tp_band_lift(tp_kernel_model *m, double by)
{
    size_t rows = (size_t)tp_band_diagonals(m->n) + 1;
    for (size_t i = 0; i < m->n; i++)
        m->band[i * rows] += by;
}

/* ---- Q ---- */
int tp_band_turn(const tp_kernel_model *m, bool back, const tp_vectors *v, ad_error *error)
{
    lapack_int n = (lapack_int)m->n, below = tp_band_diagonals(m->n), wide = (lapack_int)v->count, size = -1;
    lapack_int panels = below ? (n - 1) / below : 0, pitch = v->rows ? n : wide;
    char side = v->rows ? 'L' : 'R', transposed = back == v->rows ? 'N' : 'T';
    double asked = 0;
    if (panels == 0)
        return 0;
    LAPACKE_dormqr_work(LAPACK_COL_MAJOR, side, transposed, v->rows ? n : wide, v->rows ? wide : n, below, m->factor, n,
                        m->tau, v->x, pitch, &asked, size);
    double *work = work_of(asked, &size, error);
    for (lapack_int k = 0; k < panels && work; k++) {
        lapack_int first = (back ? panels - 1 - k : k) * below, left = n - first - below;
        lapack_int reflections = left < below ? left : below;
        const double *panel = m->factor + (size_t)first * m->n + (size_t)(first + below);
        double *part = v->x + (size_t)(first + below) * (v->rows ? 1 : v->count);
        LAPACKE_dormqr_work(LAPACK_COL_MAJOR, side, transposed, v->rows ? left : wide, v->rows ? wide : left,
                            reflections, panel, n, m->tau + first, part, pitch, work, size);
    }
    ad_free(work);
    return work ? 0 : -1;
}

/* ---- functions of B ---- */
/* From an entry of a vector to the next one, and from a vector to the next. */
static size_t along(const tp_vectors *v)
{
    return v->rows ? 1 : v->count;
}

static size_t across(const tp_kernel_model *m, const tp_vectors *v)
{
    return v->rows ? m->n : 1;
}

void tp_band_product(const tp_kernel_model *m, const tp_vectors *v, double *out)
{
    lapack_int below = tp_band_diagonals(m->n);
    int step = (int)along(v);
    for (size_t c = 0; c < v->count; c++, out += across(m, v))
        cblas_dsbmv(CblasColMajor, CblasLower, (int)m->n, below, 1, m->band, below + 1, v->x + c * across(m, v), step,
                    0, out, step);
}

/* B + shift in blocks of the band's width, which make it block tridiagonal: D_b on the diagonal, E_b (upper triangular)
 * left of it. Eliminated from above without exchanging blocks: its numbers are B's, which are at least 0, moved by a
 * shift off the negative axis, so that no D is near singular. */
typedef struct {
    size_t n, width, blocks;
    bool inverts; /* Are blocks far from singular, so that products with their inverses do? These are faster. */
    double complex *pivot; /* (blocks, width, width), by columns: P_b = D_b - E_b P_b-1^-1 E_b', as L U or inverted */
    double complex *left;  /* E_b */
    double complex *right; /* P_b^-1 E_b+1' */
    double complex *sides; /* (TOGETHER, n): right sides, and what is found of them in place */
    double complex *work;  /* (width, width) or (TOGETHER, width) */
    lapack_int *order;     /* (blocks, width): of the rows of P_b */
} solver;

static void solver_free(solver *s)
{
    ad_free(s->pivot);
    ad_free(s->left);
    ad_free(s->right);
    ad_free(s->sides);
    ad_free(s->work);
    ad_free(s->order);
}

static int solver_new(const tp_kernel_model *m, solver *s, ad_error *error)
{
    size_t width = (size_t)tp_band_diagonals(m->n) ? (size_t)tp_band_diagonals(m->n) : 1,
           blocks = (m->n + width - 1) / width;
    *s = (solver){ .n = m->n, .width = width, .blocks = blocks };
    if ((s->pivot = ad_alloc(blocks * width * width, sizeof *s->pivot, "a band", error)) &&
        (s->left = ad_alloc(blocks * width * width, sizeof *s->left, "a band", error)) &&
        (s->right = ad_alloc(blocks * width * width, sizeof *s->right, "a band", error)) &&
        (s->sides = ad_alloc(TOGETHER * m->n, sizeof *s->sides, "right sides", error)) &&
        (s->work = ad_alloc((width > TOGETHER ? width : TOGETHER) * width, sizeof *s->work, "a block", error)) &&
        (s->order = ad_alloc(blocks * width, sizeof *s->order, "pivots", error)))
        return 0;
    solver_free(s);
    return -1;
}

static size_t rows_of(const solver *s, size_t block)
{
    return s->n - block * s->width < s->width ? s->n - block * s->width : s->width;
}

/* c = keep c + by a b, with a of the leading dimension `width`. */
static void multiply(const solver *s, size_t rows, size_t columns, size_t inner, double complex by,
                     const double complex *a, const double complex *b, size_t b_pitch, double complex keep,
                     double complex *c, size_t c_pitch)
{
    cblas_zgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)columns, (int)inner, &by, a, (int)s->width,
                b, (int)b_pitch, &keep, c, (int)c_pitch);
}

/* to = P_b^-1 x. */
static void divide(const solver *s, size_t b, const double complex *x, size_t columns, size_t pitch, double complex *to,
                   size_t to_pitch)
{
    size_t w = s->width, rows = rows_of(s, b);
    if (s->inverts) {
        multiply(s, rows, columns, rows, 1, s->pivot + b * w * w, x, pitch, 0, to, to_pitch);
        return;
    }
    for (size_t c = 0; c < columns; c++)
        memcpy(to + c * to_pitch, x + c * pitch, rows * sizeof *x);
    LAPACKE_zgetrs_work(LAPACK_COL_MAJOR, 'N', (lapack_int)rows, (lapack_int)columns, s->pivot + b * w * w,
                        (lapack_int)w, s->order + b * w, to, (lapack_int)to_pitch);
}

/* P_b in its own place as L U, or its inverse; LAPACK's status. */
static int decompose(const solver *s, size_t b)
{
    lapack_int rows = (lapack_int)rows_of(s, b), w = (lapack_int)s->width, *order = s->order + b * s->width;
    double complex *p = s->pivot + b * s->width * s->width;
    lapack_int info = LAPACKE_zgetrf_work(LAPACK_COL_MAJOR, rows, rows, p, w, order);
    return info || !s->inverts ? info : LAPACKE_zgetri_work(LAPACK_COL_MAJOR, rows, p, w, order, s->work, w * w);
}

static int factor(const tp_kernel_model *m, double complex shift, solver *s)
{
    const double far = 1e-3; /* a shift, relative to the largest number: an inverse then keeps 12 digits */
    s->inverts = cabs(shift) > far * m->largest;
    size_t w = s->width, pitch = (size_t)tp_band_diagonals(m->n) + 1;
    for (size_t b = 0; b < s->blocks; b++) {
        size_t rows = rows_of(s, b), first = b * w;
        double complex *d = s->pivot + b * w * w, *e = s->left + b * w * w, *g = s->right + (b ? b - 1 : 0) * w * w;
        for (size_t j = 0; j < rows; j++)
            for (size_t i = j; i < rows; i++)
                d[j * w + i] = d[i * w + j] = m->band[(first + j) * pitch + i - j] + (i == j ? shift : 0);
        for (size_t j = 0; j < w && b; j++)
            for (size_t i = 0; i < rows; i++)
                s->work[i * w + j] = e[j * w + i] = i <= j ? m->band[(first - w + j) * pitch + w + i - j] : 0;
        if (b) {
            divide(s, b - 1, s->work, rows, w, g, w);
            multiply(s, rows, rows, w, -1, e, g, w, 1, d, w);
        }
        if (decompose(s, b))
            return -1;
    }
    return 0;
}

/* sides = (B + shift)^-1 sides, of so many columns. */
static void solve(const solver *s, size_t columns)
{
    size_t w = s->width;
    for (size_t b = 0; b < s->blocks; b++) {
        double complex *x = s->sides + b * w;
        if (b)
            multiply(s, rows_of(s, b), columns, w, -1, s->left + b * w * w, x - w, s->n, 1, x, s->n);
        divide(s, b, x, columns, s->n, s->work, w);
        for (size_t c = 0; c < columns; c++)
            memcpy(x + c * s->n, s->work + c * w, rows_of(s, b) * sizeof *x);
    }
    for (size_t b = s->blocks - 1; b-- > 0;) {
        double complex *x = s->sides + b * w;
        multiply(s, w, columns, rows_of(s, b + 1), -1, s->right + b * w * w, x + w, s->n, 1, x, s->n);
    }
}

/* The node k of the contour, and its weight: e^z z' / z times the step over pi i. */
static double complex node(int k, double complex *weight)
{
    const double pi = 3.14159265358979323846, step = 1.081792140 / POLES, mu = 4.492075287 * POLES, alpha = 1.172104229;
    double u = (k + 0.5) * step;
    double complex z = mu * (1 + csin(I * u - alpha)), slope = I * mu * ccos(I * u - alpha);
    *weight = step / (pi * I) * cexp(z) * slope / z;
    return z;
}

/* out += Re(weight (B + shift)^-1 x). */
static int add_solution(const tp_kernel_model *m, solver *s, double complex shift, double complex weight,
                        const tp_vectors *v, double *out)
{
    size_t step = along(v), next = across(m, v);
    if (factor(m, shift, s))
        return -1;
    for (size_t first = 0; first < v->count; first += TOGETHER) {
        size_t wide = v->count - first < TOGETHER ? v->count - first : TOGETHER;
        for (size_t c = 0; c < wide; c++)
            for (size_t i = 0; i < m->n; i++)
                s->sides[c * m->n + i] = v->x[(first + c) * next + i * step];
        solve(s, wide);
        for (size_t c = 0; c < wide; c++)
            for (size_t i = 0; i < m->n; i++)
                out[(first + c) * next + i * step] += creal(weight * s->sides[c * m->n + i]);
    }
    return 0;
}

int tp_band_gain(const tp_kernel_model *m, double unit, const tp_vectors *v, double *out, ad_error *error)
{
    solver s;
    bool over = unit * m->smallest > 40; /* e^-40 is below rounding */
    memset(out, 0, v->count * m->n * sizeof *out);
    if (!(unit > 0))
        return 0;
    if (solver_new(m, &s, error))
        return -1;
    int status = over ? add_solution(m, &s, 0, 1, v, out) : 0;
    for (int k = 0; k < POLES && !status && !over; k++) {
        double complex weight, z = node(k, &weight);
        status = add_solution(m, &s, z / unit, weight, v, out);
    }
    if (status)
        ad_fail(error, "predict: LAPACK cannot solve with the kernel's band form");
    solver_free(&s);
    return status;
}
