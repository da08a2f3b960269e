/* batchnorm.c: with r the centred u over a batch, Omega its covariance, rho^2 = |r|^2 + B epsilon and phi homogeneous,
 * y = sqrt(B) phi(r) / rho. Laplace's formula turns the radii into Gaussian weights (Yang et al., arXiv:1902.08129):
 *
 *   one batch     1 / rho^(2k) = int s^(k-1) / (k-1)! e^(-s rho^2) ds. Under e^(-s |r|^2) r is N(0, A), A = (Omega^-1 +
 *                 2s)^-1, with mass det(I + 2s Omega)^(-1/2).
 *   two batches   1 / (rho1 rho2) = (4/pi) int int e^(-x^2 rho1^2 - y^2 rho2^2) dx dy over x, y > 0, s = x^2, t = y^2;
 *                 every further 1 / rho1^2 is a factor 2s, 1 / rho2^2 a factor 2t.
 *
 * As functions of s these have singularities on the negative axis alone: there only is a principal minor of A zero or
 * infinite, Im A being definite elsewhere. So the trapezoid rule converges exponentially in u, s = e^u (a strip of half
 * width pi), and in v, x = c sinh v (pi / 2, for c^2 <= 1 / 2 lambda_max); the latter has no left tail, the integrand
 * being even in x.
 *
 * Two batches: with Omega = F F' jointly, F1 and F2 its rows, the precision of r's coordinates under F is
 * I + 2s F1'F1 + 2t F2'F2. Whitened at t = 0 and diagonalised, F becomes L(s), and A = L diag(1 / (1 + 2t nu)) L': one
 * eigenproblem for each s (a line), and products of matrices for all its t. One batch is a single line, with L = F. */
#include "tp/batchnorm.h"
#include "autodiff/plan.h"
#include "tp/vector.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

static const double negligible = -39;    /* log of the weight, relative to the largest, of nodes that are left out */
static const double least_share = 1e-12; /* of the largest variance, that a direction must have */
static const double stands = 1e-10;      /* the step is halved until values move less */
enum { MOST_HALVINGS = 4, SHEET_DOUBLES = 1 << 17 };

/* A value of t: the integrand's weight without det^(-1/2) and epsilon. */
typedef struct {
    double t, log_weight;
    bool even; /* belongs to the rule of twice the step, too */
} abscissa;

/* All t of one s. */
typedef struct {
    double s, log_weight;
    bool even;
    size_t n;       /* so many t have weight */
    double *l, *nu; /* (rows + rows2, rank), (rank) */
} line;

/* What is the same for all nodes of a batch. */
typedef struct {
    size_t rows;
    double scale; /* what Omega is divided by: its largest eigenvalue, 1 becomes the largest */
    double floor; /* directions below do not count */
    double decay; /* B epsilon / scale */
    double c;     /* x = c sinh v */
    size_t rank;
    bool constant;
} batch;

struct tp_batchnorm {
    batch side[2]; /* the same for one batch */
    bool one, backward;
    tp_slopes phi;
    size_t total, rank, joint_rank; /* total: rows of F; rank: its columns, max(joint_rank, 1) */
    double *f;                      /* (total, rank) */
    double *lambda;                 /* (rank): eigenvalues of F'F, which is diagonal */
    double *turned, *mu[2];         /* F V; F1'F1 = V mu[0] V', mu[1] of F2'F2 */
    size_t n_lines, n_points;
    line *lines;
    abscissa *points;
    double *lines_memory;
    double *v;
    double difference;
};

/* ---- small matrices ---- */
static void product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                    const double *b, double beta, double *c)
{
    int lda = (int)(ta == CblasTrans ? m : k), ldb = (int)(tb == CblasTrans ? k : n);
    cblas_dgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, alpha, a, lda, b, ldb, beta, c, (int)n);
}

/* a = G a G, the means of rows and columns removed. */
static void centre(size_t rows, size_t columns, double *a)
{
    for (size_t i = 0; i < rows; i++) {
        double mean = 0;
        for (size_t j = 0; j < columns; j++)
            mean += a[i * columns + j] / (double)columns;
        for (size_t j = 0; j < columns; j++)
            a[i * columns + j] -= mean;
    }
    for (size_t j = 0; j < columns; j++) {
        double mean = 0;
        for (size_t i = 0; i < rows; i++)
            mean += a[i * columns + j] / (double)rows;
        for (size_t i = 0; i < rows; i++)
            a[i * columns + j] -= mean;
    }
}

/* Symmetric a (n, n) becomes its eigenvectors, one a row; values ascend. */
static int eigen(size_t n, double *a, double *values, ad_error *error)
{
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(a[i]))
            return ad_fail(error, "batchnorm: the covariance is not finite");
    if (LAPACKE_dsyev(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)n, a, (lapack_int)n, values) != 0)
        return ad_fail(error, "batchnorm: LAPACK found no eigenvalues of a covariance");
    return 0;
}

/* ---- from covariances to F ---- */
/* Scale, floor and decay of a batch. Differences of entries of k carry k's roundoff, which is no variance. */
static int find_scale(batch *b, const double *k, double epsilon, ad_error *error)
{
    size_t n = b->rows;
    double largest = 0, *copy = ad_alloc(n * n + n, sizeof *copy, "batchnorm", error);
    if (!copy)
        return -1;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(k[i * n + i]));
    memcpy(copy, k, n * n * sizeof *copy);
    centre(n, n, copy);
    int status = eigen(n, copy, copy + n * n, error);
    double top = copy[n * n + n - 1], least = copy[n * n], noise = 4 * (double)n * DBL_EPSILON * largest;
    ad_free(copy);
    if (status < 0)
        return -1;
    if (least < -1e-8 * largest)
        return ad_fail(error, "batchnorm: the matrix is no covariance: after centring it has the eigenvalue %g", least);
    b->constant = top <= noise;
    if (b->constant && !(epsilon > 0))
        return ad_fail(error, "batchnorm: a batch of %zu equal samples has variance 0, which epsilon = 0 divides by",
                       n);
    b->scale = b->constant ? epsilon : top;
    b->floor = b->constant ? least_share : fmax(least_share, noise / top);
    b->decay = (double)n * epsilon / b->scale;
    b->c = 1 / sqrt(2 * (1 + b->decay));
    return 0;
}

/* One block of the joint covariance: centred and scaled. */
static int place(const tp_batchnorm *layer, int first, int second, const double *k, double *joint, ad_error *error)
{
    const batch *a = &layer->side[first], *b = &layer->side[second];
    if (a->constant || b->constant)
        return 0;
    double *copy = ad_alloc(a->rows * b->rows, sizeof *copy, "batchnorm", error),
           factor = 1 / sqrt(a->scale * b->scale);
    if (!copy)
        return -1;
    memcpy(copy, k, a->rows * b->rows * sizeof *copy);
    centre(a->rows, b->rows, copy);
    size_t top = first ? layer->side[0].rows : 0, left = second ? layer->side[0].rows : 0, n = layer->total;
    for (size_t i = 0; i < a->rows; i++)
        for (size_t j = 0; j < b->rows; j++) {
            double value = factor * copy[i * b->rows + j];
            joint[(top + i) * n + left + j] = value;
            joint[(left + j) * n + top + i] = value;
        }
    ad_free(copy);
    return 0;
}

/* F's columns are the kept eigenvectors times the roots of their values; rows without variance are exactly 0. */
static int keep(tp_batchnorm *layer, const double *vectors, const double *values, double floor, ad_error *error)
{
    size_t n = layer->total, first = n;
    while (first > 0 && values[first - 1] > floor)
        first--;
    layer->joint_rank = n - first;
    layer->rank = layer->joint_rank ? layer->joint_rank : 1;
    size_t r = layer->rank;
    layer->f = ad_alloc(2 * n * r + 3 * r, sizeof *layer->f, "batchnorm", error);
    if (!layer->f)
        return -1;
    layer->turned = layer->f + n * r;
    layer->lambda = layer->turned + n * r;
    layer->mu[0] = layer->lambda + r;
    layer->mu[1] = layer->mu[0] + r;
    for (size_t k = 0; k < layer->joint_rank; k++) {
        layer->lambda[k] = values[first + k];
        for (size_t i = 0; i < n; i++)
            layer->f[i * r + k] = vectors[(first + k) * n + i] * sqrt(values[first + k]);
    }
    for (size_t i = 0; i < n; i++)
        if (cblas_ddot((int)r, layer->f + i * r, 1, layer->f + i * r, 1) <= floor)
            memset(layer->f + i * r, 0, r * sizeof *layer->f);
    return 0;
}

/* A batch's rank, and in `gram` the eigenvectors of its F'F; mu is exactly 0 where there is no direction. */
static int find_rank(tp_batchnorm *layer, int side, double floor, double *gram, ad_error *error)
{
    size_t r = layer->rank, n = layer->side[side].rows;
    double *values = layer->mu[side];
    const double *f = layer->f + (side ? layer->side[0].rows * r : 0);
    product(CblasTrans, CblasNoTrans, r, r, n, 1, f, f, 0, gram);
    if (eigen(r, gram, values, error) < 0)
        return -1;
    layer->side[side].rank = 0;
    for (size_t k = 0; k < r; k++) {
        values[k] = values[k] > floor ? values[k] : 0;
        layer->side[side].rank += values[k] > 0;
    }
    return 0;
}

static int find_ranks(tp_batchnorm *layer, double floor, ad_error *error)
{
    size_t r = layer->rank;
    if (layer->one) {
        layer->side[0].rank = layer->side[1].rank = layer->joint_rank;
        return 0;
    }
    double *gram = ad_alloc(r * r, sizeof *gram, "batchnorm", error);
    int status = gram ? find_rank(layer, 1, floor, gram, error) : -1;
    if (!status)
        status = find_rank(layer, 0, floor, gram, error);
    if (!status)
        product(CblasNoTrans, CblasTrans, layer->total, r, r, 1, layer->f, gram, 0, layer->turned);
    ad_free(gram);
    return status;
}

static int factor(tp_batchnorm *layer, const tp_batchnorm_spec *spec, ad_error *error)
{
    size_t n = layer->total;
    double *joint = ad_alloc(n * n + n, sizeof *joint, "batchnorm", error);
    if (!joint)
        return -1;
    double floor = fmax(layer->side[0].floor, layer->side[1].floor);
    int status = place(layer, 0, 0, spec->k11, joint, error);
    if (!status && !layer->one)
        status = place(layer, 0, 1, spec->k12, joint, error) < 0 ? -1 : place(layer, 1, 1, spec->k22, joint, error);
    if (!status)
        status = eigen(n, joint, joint + n * n, error);
    if (!status && joint[n * n] < -1e-8 - floor)
        status = ad_fail(error, "batchnorm: the covariances of two batches do not fit together: eigenvalue %g",
                         joint[n * n]);
    if (!status)
        status = keep(layer, joint, joint + n * n, floor, error);
    if (!status)
        status = find_ranks(layer, floor, error);
    ad_free(joint);
    return status;
}

/* E 1 / (rho1 rho2) is finite at epsilon = 0 if s and t, growing together or alone, leave det(I + 2 Omega D)^(-1/2)
 * integrable: ranks >= 2 and joint rank >= 3; of one batch, rank >= 3. */
static int check_finite(const tp_batchnorm *layer, double epsilon, ad_error *error)
{
    size_t r1 = layer->side[0].rank, r2 = layer->side[1].rank, both = layer->joint_rank;
    if (!layer->backward || epsilon > 0 || (both >= 3 && r1 >= 2 && r2 >= 2))
        return 0;
    if (layer->one)
        return ad_fail(error,
                       "batchnorm: the tangent kernel is infinite: at epsilon = 0 the centred batch needs rank 3, and "
                       "has %zu (%zu samples)",
                       both, layer->side[0].rows);
    return ad_fail(error,
                   "batchnorm: the tangent kernel is infinite: at epsilon = 0 the centred batches need ranks 2 and 2, "
                   "together 3, and have %zu and %zu, together %zu",
                   r1, r2, both);
}

/* ---- the rule ---- */
static double log_det(const double *values, size_t n, double s)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += log1p(2 * s * values[k]);
    return -0.5 * sum;
}

/* |phi(r)|^2 decays like A, that is like 1 / 2s; phi' does not. */
static double forward_decay(const tp_batchnorm *layer, double s)
{
    return layer->backward ? 0 : -log1p(2 * s);
}

/* One batch: u from `*low` in `return value` steps of h. */
static size_t span_of_one(const tp_batchnorm *layer, double h, double *low)
{
    const batch *b = layer->side;
    double middle = -log1p(b->decay), high = middle, drop;
    do {
        double s = exp(++high);
        drop = high - middle + log_det(layer->lambda, layer->rank, s) - s * b->decay + forward_decay(layer, s);
    } while (drop > negligible);
    *low = middle + negligible;
    return (size_t)((high - *low) / h) + 1;
}

/* Two batches: v up to where neither s alone nor s and t together have weight. */
static double span_of_two(const tp_batchnorm *layer, int side)
{
    const batch *b = &layer->side[side], *other = &layer->side[!side];
    double v = 0, alone, together;
    do {
        v += 0.5;
        double s = pow(b->c * sinh(v), 2), t = pow(other->c * sinh(v), 2), half = forward_decay(layer, s) / 2;
        alone = log(cosh(v)) + log_det(layer->mu[side], layer->rank, s) - s * b->decay + half;
        together = 2 * log(cosh(v)) + log_det(layer->lambda, layer->rank, fmin(s, t)) - s * b->decay -
                   t * other->decay + half + forward_decay(layer, t) / 2;
    } while (alone > negligible || together > negligible);
    return v;
}

static void fill_point(const tp_batchnorm *layer, size_t j, double h, double low)
{
    abscissa *p = &layer->points[j];
    double v = low + (double)j * h;
    p->even = j % 2 == 0;
    if (layer->one) {
        p->t = exp(v);
        p->log_weight = v + log(h);
    } else {
        p->t = pow(layer->side[1].c * sinh(v), 2);
        p->log_weight = log(layer->side[1].c * cosh(v) * h * (j ? 1 : 0.5));
    }
}

static double log_weight(const tp_batchnorm *layer, const line *at, size_t j)
{
    const abscissa *p = &layer->points[j];
    return at->log_weight + p->log_weight + log_det(at->nu, layer->rank, p->t) - p->t * layer->side[1].decay;
}

/* L(s) and nu(s). gram is scratch (rank, rank). */
static int fill_line(const tp_batchnorm *layer, line *at, size_t i, double h, double *whitened, double *gram,
                     ad_error *error)
{
    const batch *b = layer->side;
    size_t r = layer->rank, n = layer->total;
    double v = (double)i * h;
    at->even = i % 2 == 0;
    at->s = pow(b->c * sinh(v), 2);
    at->log_weight = log(4 / 3.14159265358979323846 * b->c * cosh(v) * h * (i ? 1 : 0.5)) +
                     log_det(layer->mu[0], r, at->s) - at->s * b->decay;
    for (size_t k = 0; k < r; k++)
        for (size_t j = 0; j < n; j++)
            whitened[j * r + k] = layer->turned[j * r + k] / sqrt(1 + 2 * at->s * layer->mu[0][k]);
    const double *second = whitened + b->rows * r;
    product(CblasTrans, CblasNoTrans, r, r, layer->side[1].rows, 1, second, second, 0, gram);
    if (eigen(r, gram, at->nu, error) < 0)
        return -1;
    for (size_t k = 0; k < r; k++)
        if (k < r - layer->side[1].rank || at->nu[k] < 0)
            at->nu[k] = 0;
    product(CblasNoTrans, CblasTrans, n, r, r, 1, whitened, gram, 0, at->l);
    return 0;
}

static int allocate(tp_batchnorm *layer, size_t n_lines, size_t n_points, ad_error *error)
{
    size_t each = (layer->total + 1) * layer->rank;
    ad_free(layer->lines);
    ad_free(layer->points);
    ad_free(layer->lines_memory);
    layer->n_lines = n_lines;
    layer->n_points = n_points;
    layer->points = ad_alloc(n_points, sizeof *layer->points, "batchnorm", error);
    layer->lines = ad_alloc(n_lines, sizeof *layer->lines, "batchnorm", error);
    layer->lines_memory = ad_alloc(n_lines * each, sizeof *layer->lines_memory, "batchnorm", error);
    if (!layer->points || !layer->lines || !layer->lines_memory)
        return -1;
    for (size_t i = 0; i < n_lines; i++) {
        layer->lines[i].l = layer->lines_memory + i * each;
        layer->lines[i].nu = layer->lines[i].l + layer->total * layer->rank;
    }
    return 0;
}

static int fill_rule_of_two(tp_batchnorm *layer, double h, ad_error *error)
{
    size_t r = layer->rank, n_lines = (size_t)(span_of_two(layer, 0) / h) + 1;
    if (allocate(layer, n_lines, (size_t)(span_of_two(layer, 1) / h) + 1, error) < 0)
        return -1;
    double *scratch = ad_alloc(layer->total * r + r * r, sizeof *scratch, "batchnorm", error);
    int status = scratch ? 0 : -1;
    for (size_t j = 0; j < layer->n_points; j++)
        fill_point(layer, j, h, 0);
    double least = negligible + log(layer->side[0].c * layer->side[1].c);
    for (size_t i = 0; i < n_lines && !status; i++) {
        line *at = &layer->lines[i];
        status = fill_line(layer, at, i, h, scratch, scratch + layer->total * r, error);
        at->n = layer->n_points;
        while (!status && at->n && log_weight(layer, at, at->n - 1) < least)
            at->n--;
    }
    ad_free(scratch);
    return status;
}

static int fill_rule_of_one(tp_batchnorm *layer, double h, ad_error *error)
{
    double low;
    size_t n = span_of_one(layer, h, &low);
    if (allocate(layer, 1, n, error) < 0)
        return -1;
    memcpy(layer->lines->l, layer->f, layer->total * layer->rank * sizeof *layer->f);
    memcpy(layer->lines->nu, layer->lambda, layer->rank * sizeof *layer->f);
    for (size_t j = 0; j < n; j++)
        fill_point(layer, j, h, low);
    layer->lines->n = n;
    layer->lines->even = true;
    return 0;
}

/* ---- nodes ---- */
/* One node (s, t): the covariances A and the expectations of phi phi, phi' phi' and, up to A's diagonal, phi phi''. */
typedef struct {
    const double *a11, *a22, *a12; /* (rows, rows), (rows2, rows2), (rows, rows2) */
    const double *r, *s, *h;       /* (rows, rows2) */
    double *i1, *i2;               /* E phi(r_b) phi''(r_c) = i2_c h_bc, E phi''(r_b) phi(r_c) = i1_b h_bc */
    double w0, w1, w2, w3;         /* weights of 1, 1 / rho1^2, 1 / rho2^2 and both */
    bool even;
} node;

typedef struct {
    size_t most; /* nodes at once */
    double *memory, *d, *a11, *a22, *a12, *c, *ones, *r, *s, *i1, *i2;
    double *outer11, *outer22, *outer12; /* (rank, rows rows) ...: what a line's A are made of */
} sheet;

static int sheet_allocate(const tp_batchnorm *layer, sheet *at, ad_error *error)
{
    size_t m = layer->side[0].rows, n = layer->side[1].rows, r = layer->rank;
    size_t apart = layer->one ? 0 : m * m + n * n, each = r + apart + 5 * m * n + m + n;
    at->most = SHEET_DOUBLES / each + 1;
    at->most = at->most < layer->n_points ? at->most : layer->n_points;
    at->memory = ad_alloc(at->most * each + r * (apart + m * n), sizeof *at->memory, "batchnorm", error);
    if (!at->memory)
        return -1;
    double *next = at->memory, **shared[] = { &at->a12, &at->c, &at->ones, &at->r, &at->s };
    for (size_t i = 0; i < 5; i++, next += at->most * m * n)
        *shared[i] = next;
    at->d = next;
    at->i1 = at->d + at->most * r;
    at->i2 = at->i1 + at->most * m;
    at->outer12 = at->i2 + at->most * n;
    at->a11 = at->a22 = at->a12;
    at->outer11 = at->outer22 = at->outer12;
    if (!layer->one) {
        at->outer11 = at->outer12 + r * m * n;
        at->outer22 = at->outer11 + r * m * m;
        at->a11 = at->outer22 + r * n * n;
        at->a22 = at->a11 + at->most * m * m;
    }
    for (size_t i = 0; i < at->most * m * n; i++)
        at->ones[i] = 1;
    return 0;
}

static void outer(size_t r, size_t m, size_t n, const double *a, const double *b, double *out)
{
    for (size_t k = 0; k < r; k++)
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++)
                out[(k * m + i) * n + j] = a[i * r + k] * b[j * r + k];
}

static void sheet_open(const tp_batchnorm *layer, sheet *at, const line *of)
{
    size_t m = layer->side[0].rows, n = layer->side[1].rows, r = layer->rank;
    const double *l1 = of->l, *l2 = layer->one ? l1 : l1 + m * r;
    outer(r, m, n, l1, l2, at->outer12);
    if (!layer->one) {
        outer(r, m, m, l1, l1, at->outer11);
        outer(r, n, n, l2, l2, at->outer22);
    }
}

/* Correlations. What roundoff leaves of equal or opposite samples is removed: the angle is its root. */
static void correlate(size_t m, size_t n, const double *a11, const double *a22, const double *a12, double *c)
{
    const double near = 16 * DBL_EPSILON;
    for (size_t b = 0; b < m; b++)
        for (size_t d = 0; d < n; d++) {
            double size = sqrt(a11[b * m + b] * a22[d * n + d]), value = size > 0 ? a12[b * n + d] / size : 0;
            c[b * n + d] = value > 1 - near ? 1 : value < near - 1 ? -1 : value;
        }
}

/* From relu's expectations at unit variances to phi's; c becomes h. With phi = below u + (above - below) relu,
 * E relu relu = (sqrt det + ...) / 2 pi gives E relu(r_b) delta(r_c) = sqrt(det) / (2 pi A_cc) = (R - S A_bc) / A_cc
 * (THEORY section 3(d)). */
static void bend(const tp_slopes *phi, size_t m, size_t n, const double *a11, const double *a22, const double *a12,
                 double *c, double *r, double *s)
{
    double straight = phi->above * phi->below, bent = (phi->above - phi->below) * (phi->above - phi->below);
    double mean = (phi->above + phi->below) / 2;
    for (size_t b = 0; b < m; b++)
        for (size_t d = 0; d < n; d++) {
            size_t at = b * n + d;
            double q1 = a11[b * m + b], q2 = a22[d * n + d], size = sqrt(q1 * q2);
            c[at] = bent * size * (r[at] - s[at] * c[at]);
            r[at] = straight * a12[at] + bent * size * r[at];
            s[at] = straight + bent * s[at];
            if (!(size > 0)) {
                s[at] = (q1 > 0 ? mean : phi->at_zero) * (q2 > 0 ? mean : phi->at_zero);
                r[at] = c[at] = 0;
            }
        }
}

static void invert_diagonal(size_t n, const double *a, double *inverse)
{
    for (size_t i = 0; i < n; i++)
        inverse[i] = a[i * n + i] > 0 ? 1 / a[i * n + i] : 0;
}

/* Nodes first, ..., first + count - 1 of a line. */
static void sheet_fill(const tp_batchnorm *layer, sheet *at, const line *of, size_t first, size_t count)
{
    size_t m = layer->side[0].rows, n = layer->side[1].rows, r = layer->rank;
    for (size_t j = 0; j < count; j++)
        for (size_t k = 0; k < r; k++)
            at->d[j * r + k] = 1 / (1 + 2 * layer->points[first + j].t * of->nu[k]);
    product(CblasNoTrans, CblasNoTrans, count, m * n, r, 1, at->d, at->outer12, 0, at->a12);
    if (!layer->one) {
        product(CblasNoTrans, CblasNoTrans, count, m * m, r, 1, at->d, at->outer11, 0, at->a11);
        product(CblasNoTrans, CblasNoTrans, count, n * n, r, 1, at->d, at->outer22, 0, at->a22);
    }
    for (size_t j = 0; j < count; j++)
        correlate(m, n, at->a11 + j * m * m, at->a22 + j * n * n, at->a12 + j * m * n, at->c + j * m * n);
    tp_vector_get()->relu(count * m * n, at->ones, at->ones, at->c, NULL, at->r, at->s);
    for (size_t j = 0; j < count; j++) {
        bend(&layer->phi, m, n, at->a11 + j * m * m, at->a22 + j * n * n, at->a12 + j * m * n, at->c + j * m * n,
             at->r + j * m * n, at->s + j * m * n);
        invert_diagonal(m, at->a11 + j * m * m, at->i1 + j * m);
        invert_diagonal(n, at->a22 + j * n * n, at->i2 + j * n);
    }
}

static node node_at(const tp_batchnorm *layer, const sheet *at, const line *of, size_t first, size_t j)
{
    size_t m = layer->side[0].rows, n = layer->side[1].rows;
    const abscissa *p = &layer->points[first + j];
    double w = sqrt((double)m * (double)n) * exp(log_weight(layer, of, first + j)), s = of->s, t = p->t;
    bool one = layer->one;
    return (node){ .a11 = at->a11 + j * m * m,
                   .a22 = at->a22 + j * n * n,
                   .a12 = at->a12 + j * m * n,
                   .r = at->r + j * m * n,
                   .s = at->s + j * m * n,
                   .h = at->c + j * m * n,
                   .i1 = at->i1 + j * m,
                   .i2 = at->i2 + j * n,
                   .even = of->even && p->even,
                   .w0 = w,
                   .w1 = one ? t * w : 2 * s * w,
                   .w2 = one ? t * w : 2 * t * w,
                   .w3 = one ? t * t / 2 * w : 4 * s * t * w };
}

/* Calls visit for every node. */
static int sweep(const tp_batchnorm *layer, void (*visit)(const node *, void *), void *context, ad_error *error)
{
    sheet at;
    if (sheet_allocate(layer, &at, error) < 0)
        return -1;
    for (size_t i = 0; i < layer->n_lines; i++) {
        const line *of = &layer->lines[i];
        sheet_open(layer, &at, of);
        for (size_t first = 0; first < of->n; first += at.most) {
            size_t count = of->n - first < at.most ? of->n - first : at.most;
            sheet_fill(layer, &at, of, first, count);
            for (size_t j = 0; j < count; j++) {
                node here = node_at(layer, &at, of, first, j);
                visit(&here, context);
            }
        }
    }
    ad_free(at.memory);
    return 0;
}

/* ---- sums over the nodes, and over those of twice the step ---- */
typedef struct {
    size_t count;
    double *fine, *coarse;
} sums;

static void add(const sums *to, const node *at, double weight, const double *values)
{
    cblas_daxpy((int)to->count, weight, values, 1, to->fine, 1);
    if (at->even)
        cblas_daxpy((int)to->count, weight, values, 1, to->coarse, 1);
}

/* The coarse rule has this weight for each of the fine rule's. */
static double coarse_factor(const tp_batchnorm *layer)
{
    return layer->one ? 2 : 4;
}

static double difference_of(const tp_batchnorm *layer, const sums *of)
{
    double most = 0, largest = 0;
    for (size_t i = 0; i < of->count; i++) {
        most = fmax(most, fabs(of->fine[i] - coarse_factor(layer) * of->coarse[i]));
        largest = fmax(largest, fabs(of->fine[i]));
    }
    return largest > 0 ? most / largest : 0;
}

typedef struct {
    sums v, slopes;
} integrals;

static void add_integrals(const node *at, void *context)
{
    integrals *to = context;
    add(&to->v, at, at->w0, at->r);
    add(&to->slopes, at, at->w0, at->s);
}

static int integrate(tp_batchnorm *layer, double h, ad_error *error)
{
    size_t count = layer->side[0].rows * layer->side[1].rows;
    int status = layer->one ? fill_rule_of_one(layer, h, error) : fill_rule_of_two(layer, h, error);
    double *memory = status ? NULL : ad_alloc(3 * count, sizeof *memory, "batchnorm", error);
    if (!memory)
        return -1;
    integrals to = { { count, layer->v, memory }, { count, memory + count, memory + 2 * count } };
    memset(layer->v, 0, count * sizeof *layer->v);
    status = sweep(layer, add_integrals, &to, error);
    layer->difference = difference_of(layer, &to.v);
    if (layer->backward)
        layer->difference = fmax(layer->difference, difference_of(layer, &to.slopes));
    ad_free(memory);
    return status;
}

static int choose_rule(tp_batchnorm *layer, ad_error *error)
{
    double h = layer->one ? 0.5 : 0.25;
    int status = integrate(layer, h, error);
    for (int k = 0; k < MOST_HALVINGS && !status && layer->difference > stands; k++)
        status = integrate(layer, h = h / 2, error);
    if (!status && !(layer->difference < 1e-6))
        return ad_fail(error, "batchnorm: the quadrature does not converge: the last halving moved it by %g",
                       layer->difference);
    return status;
}

/* ---- a layer ---- */
static int prepare(tp_batchnorm *layer, const tp_batchnorm_spec *spec, ad_error *error)
{
    batch *b = layer->side;
    layer->v = ad_alloc(b[0].rows * b[1].rows, sizeof *layer->v, "batchnorm", error);
    if (!layer->v || find_scale(&b[0], spec->k11, spec->epsilon, error) < 0)
        return -1;
    if (layer->one)
        b[1] = b[0];
    else if (find_scale(&b[1], spec->k22, spec->epsilon, error) < 0)
        return -1;
    if (factor(layer, spec, error) < 0 || check_finite(layer, spec->epsilon, error) < 0)
        return -1;
    return choose_rule(layer, error);
}

tp_batchnorm *tp_batchnorm_new(const tp_batchnorm_spec *spec, ad_error *error)
{
    if (!(spec->epsilon >= 0 && isfinite(spec->epsilon))) {
        ad_fail(error, "batchnorm: epsilon must be a number >= 0, not %g", spec->epsilon);
        return NULL;
    }
    if (!spec->rows) {
        ad_fail(error, "batchnorm: a batch without samples");
        return NULL;
    }
    tp_batchnorm *layer = ad_alloc(1, sizeof *layer, "batchnorm", error);
    if (!layer)
        return NULL;
    layer->one = spec->rows2 == 0;
    layer->backward = spec->backward;
    layer->phi = spec->phi;
    layer->side[0].rows = spec->rows;
    layer->side[1].rows = layer->one ? spec->rows : spec->rows2;
    layer->total = spec->rows + spec->rows2;
    int threads = ad_blas_begin(1), status = prepare(layer, spec, error);
    ad_blas_end(threads);
    if (!status)
        return layer;
    tp_batchnorm_free(layer);
    return NULL;
}

void tp_batchnorm_free(tp_batchnorm *layer)
{
    if (!layer)
        return;
    ad_free(layer->f);
    ad_free(layer->v);
    ad_free(layer->lines);
    ad_free(layer->points);
    ad_free(layer->lines_memory);
    ad_free(layer);
}

const double *tp_batchnorm_forward(const tp_batchnorm *layer)
{
    return layer->v;
}

double tp_batchnorm_difference(const tp_batchnorm *layer)
{
    return layer->difference;
}

/* ---- T and its transpose ----
 * dr = sqrt(B) / rho [dy phi'(r) - r / rho^2 sum_b phi(r_b) dy_b], du = G dr; by Stein's lemma, a, b in the first
 * batch, c, d in the second:
 *
 *   E r_a phi_b phi'_c     = A_ab S_bc + A_ac i2_c H_bc
 *   E r_a r_c phi_b phi_d  = A_ac R_bd + A_ab (A_bc i1_b H_bd + A_cd S_bd) + A_ad (A_bc S_bd + A_cd i2_d H_bd)
 *
 * so that with P = Pi o S, p = i1 o (Pi o H) 1, q = i2 o (Pi o H)' 1, at one node
 *
 *   G1 [w0 P - w1 (A11 P + A12 diag q) - w2 (P A22 + diag p A12)
 *       + w3 (A12 <Pi, R> + A11 diag p A12 + A11 P A22 + A12 P' A12 + A12 diag q A22)] G2. */
typedef struct {
    size_t m, n;
    const double *x; /* the argument; centred for the transpose */
    sums to;
    double *p, *q;                      /* (m), (n) */
    double *one, *two, *three, *square; /* (m, n) three times, (n, n) */
} map;

static void add_backward(const node *at, void *context)
{
    map *t = context;
    size_t m = t->m, n = t->n;
    double inner = 0, *pi_s = t->one, *middle = t->two, *sum = t->three, *square = t->square;
    memset(t->q, 0, n * sizeof *t->q);
    for (size_t b = 0; b < m; b++) {
        t->p[b] = 0;
        for (size_t d = 0; d < n; d++) {
            size_t i = b * n + d;
            double ph = t->x[i] * at->h[i];
            pi_s[i] = t->x[i] * at->s[i];
            inner += t->x[i] * at->r[i];
            t->p[b] += at->i1[b] * ph;
            t->q[d] += at->i2[d] * ph;
        }
    }
    product(CblasNoTrans, CblasNoTrans, m, n, n, 1, pi_s, at->a22, 0, middle);
    product(CblasTrans, CblasNoTrans, n, n, m, at->w3, pi_s, at->a12, 0, square);
    for (size_t b = 0; b < m; b++)
        for (size_t d = 0; d < n; d++) {
            size_t i = b * n + d;
            double right = middle[i] + t->p[b] * at->a12[i];
            sum[i] = at->w0 * pi_s[i] - at->w2 * right;
            middle[i] = at->w3 * right - at->w1 * pi_s[i];
        }
    for (size_t d = 0; d < n; d++) {
        for (size_t c = 0; c < n; c++)
            square[d * n + c] += at->w3 * t->q[d] * at->a22[d * n + c];
        square[d * n + d] += at->w3 * inner - at->w1 * t->q[d];
    }
    product(CblasNoTrans, CblasNoTrans, m, n, m, 1, at->a11, middle, 1, sum);
    product(CblasNoTrans, CblasNoTrans, m, n, n, 1, at->a12, square, 1, sum);
    add(&t->to, at, 1, sum);
}

static void add_transpose(const node *at, void *context)
{
    map *t = context;
    size_t m = t->m, n = t->n;
    double inner = 0, *left = t->one, *right = t->two, *sum = t->three;
    product(CblasNoTrans, CblasNoTrans, m, n, m, 1, at->a11, t->x, 0, left);
    product(CblasNoTrans, CblasNoTrans, m, n, n, 1, t->x, at->a22, 0, right);
    product(CblasTrans, CblasNoTrans, n, n, m, at->w3, t->x, at->a12, 0, t->square);
    product(CblasNoTrans, CblasNoTrans, m, n, m, at->w3, at->a11, right, 0, sum);
    product(CblasNoTrans, CblasNoTrans, m, n, n, 1, at->a12, t->square, 1, sum);
    memset(t->q, 0, n * sizeof *t->q);
    for (size_t b = 0; b < m; b++) {
        t->p[b] = 0;
        for (size_t d = 0; d < n; d++) {
            size_t i = b * n + d;
            inner += at->w3 * at->a12[i] * t->x[i];
            t->p[b] += at->i1[b] * at->a12[i] * (at->w3 * left[i] - at->w2 * t->x[i]);
            t->q[d] += at->i2[d] * at->a12[i] * (at->w3 * right[i] - at->w1 * t->x[i]);
        }
    }
    for (size_t b = 0; b < m; b++)
        for (size_t d = 0; d < n; d++) {
            size_t i = b * n + d;
            double weight = sum[i] + at->w0 * t->x[i] - at->w1 * left[i] - at->w2 * right[i];
            sum[i] = weight * at->s[i] + (t->p[b] + t->q[d]) * at->h[i] + inner * at->r[i];
        }
    add(&t->to, at, 1, sum);
}

static int apply(const tp_batchnorm *layer, bool transpose, const double *pi, double *out, double *difference,
                 ad_error *error)
{
    size_t m = layer->side[0].rows, n = layer->side[1].rows, count = m * n;
    double *memory = ad_alloc(6 * count + n * n + m + n, sizeof *memory, "batchnorm", error);
    if (!memory)
        return -1;
    map t = { .m = m, .n = n, .x = memory, .to = { count, memory + count, memory + 2 * count } };
    t.one = memory + 3 * count;
    t.two = t.one + count;
    t.three = t.two + count;
    t.square = t.three + count;
    t.p = t.square + n * n;
    t.q = t.p + m;
    memcpy(memory, pi, count * sizeof *memory);
    if (transpose)
        centre(m, n, memory);
    int threads = ad_blas_begin(1), status = sweep(layer, transpose ? add_transpose : add_backward, &t, error);
    ad_blas_end(threads);
    if (!transpose) {
        centre(m, n, t.to.fine);
        centre(m, n, t.to.coarse);
    }
    for (size_t i = 0; i < count && !status; i++)
        out[i] = t.to.fine[i] / sqrt(layer->side[0].scale * layer->side[1].scale);
    if (difference)
        *difference = difference_of(layer, &t.to);
    ad_free(memory);
    return status;
}

int tp_batchnorm_backward(const tp_batchnorm *layer, const double *pi, double *out, double *difference, ad_error *error)
{
    return apply(layer, false, pi, out, difference, error);
}

int tp_batchnorm_transpose(const tp_batchnorm *layer, const double *pi, double *out, double *difference,
                           ad_error *error)
{
    return apply(layer, true, pi, out, difference, error);
}

/* ---- the network ----
 * K_0 = x x' / d, Sigma_l = sigma^2 K_(l-1), K_l = V(Sigma_l); with c = 1 or sigma (THEORY section 2)
 * Theta_0 = c^2 K_0, Theta_l = c^2 K_l + sigma^2 T_l*(Theta_(l-1)). Blocks: 0 the first batch, 1 the second, 2
 * between. */
typedef struct {
    const tp_batchnorm_net *net;
    size_t rows[2];
    bool one;
    double *k[3], *theta; /* theta NULL: not wanted */
    double difference;
} tower;

static size_t block_count(const tower *t, int block)
{
    return t->rows[block == 1] * t->rows[block != 0];
}

/* Batch normalisation is blind to a shift of a batch; subtracting its first sample keeps small differences exact. */
static void shift(size_t rows, size_t features, const double *x, double *out)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < features; j++)
            out[i * features + j] = x[i * features + j] - x[j];
}

static int input_covariances(tower *t, const double *x, const double *x2, size_t features, ad_error *error)
{
    size_t m = t->rows[0], n = t->rows[1];
    double *memory = ad_alloc((m + n) * features, sizeof *memory, "batchnorm", error), *second = memory + m * features;
    if (!memory)
        return -1;
    shift(m, features, x, memory);
    double factor = 1 / (double)features;
    product(CblasNoTrans, CblasTrans, m, m, features, factor, memory, memory, 0, t->k[0]);
    if (!t->one) {
        shift(n, features, x2, second);
        product(CblasNoTrans, CblasTrans, n, n, features, factor, second, second, 0, t->k[1]);
        product(CblasNoTrans, CblasTrans, m, n, features, factor, memory, second, 0, t->k[2]);
    }
    ad_free(memory);
    return 0;
}

static tp_batchnorm *layer_of(const tower *t, int block, ad_error *error)
{
    tp_batchnorm_spec spec = {
        .rows = t->rows[block == 1], .k11 = t->k[block == 1], .epsilon = t->net->epsilon, .phi = t->net->phi
    };
    if (block == 2) {
        spec.rows2 = t->rows[1];
        spec.k22 = t->k[1];
        spec.k12 = t->k[2];
    }
    spec.backward = t->theta && (t->one || block == 2);
    return tp_batchnorm_new(&spec, error);
}

/* One step of Theta's recursion, with the covariance that the layer gives. */
static int tangent(tower *t, const tp_batchnorm *layer, ad_error *error)
{
    double sigma = t->net->sigma_w, c = t->net->sigma_in == NN_SIGMA_MULTIPLIER ? sigma : 1, difference;
    const double *v = tp_batchnorm_forward(layer);
    if (tp_batchnorm_transpose(layer, t->theta, t->theta, &difference, error) < 0)
        return -1;
    t->difference = fmax(t->difference, difference);
    for (size_t i = 0; i < block_count(t, t->one ? 0 : 2); i++)
        t->theta[i] = c * c * v[i] + sigma * sigma * t->theta[i];
    return 0;
}

/* From the outputs of one layer to those of the next; the last needs the wanted block alone. */
static int climb(tower *t, bool last, ad_error *error)
{
    tp_batchnorm *layers[3] = { NULL, NULL, NULL };
    int status = 0, wanted = t->one ? 0 : 2;
    double sigma = t->net->sigma_w;
    for (int b = 0; b <= wanted; b++)
        cblas_dscal((int)block_count(t, b), sigma * sigma, t->k[b], 1);
    for (int b = 0; b <= wanted && !status; b++) {
        if (last && b != wanted)
            continue;
        layers[b] = layer_of(t, b, error);
        status = layers[b] ? 0 : -1;
    }
    if (!status && t->theta)
        status = tangent(t, layers[wanted], error);
    for (int b = 0; b <= wanted; b++) {
        if (!status && layers[b]) {
            t->difference = fmax(t->difference, tp_batchnorm_difference(layers[b]));
            memcpy(t->k[b], tp_batchnorm_forward(layers[b]), block_count(t, b) * sizeof(double));
        }
        tp_batchnorm_free(layers[b]);
    }
    return status;
}

static int run(tower *t, const double *x, const double *x2, size_t features, ad_error *error)
{
    double sigma = t->net->sigma_w, c = t->net->sigma_in == NN_SIGMA_MULTIPLIER ? sigma : 1;
    int wanted = t->one ? 0 : 2;
    if (input_covariances(t, x, x2, features, error) < 0)
        return -1;
    for (size_t i = 0; t->theta && i < block_count(t, wanted); i++)
        t->theta[i] = c * c * t->k[wanted][i];
    for (size_t l = 1; l <= t->net->depth; l++)
        if (climb(t, l == t->net->depth, error) < 0)
            return -1;
    return 0;
}

int tp_batchnorm_kernels(const tp_batchnorm_net *net, const double *x, size_t rows, const double *x2, size_t rows2,
                         size_t features, double *nngp, double *ntk, double *difference, ad_error *error)
{
    if (!net->depth || !rows || !features || (x2 && !rows2))
        return ad_fail(error, "batchnorm: depth, samples and features must be at least 1");
    if (!(net->sigma_w > 0 && isfinite(net->sigma_w)))
        return ad_fail(error, "batchnorm: sigma_w must be a number > 0, not %g", net->sigma_w);
    tower t = { .net = net, .rows = { rows, x2 ? rows2 : rows }, .one = !x2 };
    size_t m = rows, n = t.rows[1], count = m * n;
    double *memory = ad_alloc(m * m + n * n + 2 * count, sizeof *memory, "batchnorm", error);
    if (!memory)
        return -1;
    t.k[0] = memory;
    t.k[1] = t.k[0] + m * m;
    t.k[2] = t.k[1] + n * n;
    t.theta = ntk ? t.k[2] + count : NULL;
    int status = run(&t, x, x2, features, error);
    const double *last = t.k[t.one ? 0 : 2];
    for (size_t i = 0; i < count && !status; i++) {
        if (nngp)
            nngp[i] = net->sigma_w * net->sigma_w * last[i];
        if (ntk)
            ntk[i] = t.theta[i];
    }
    if (!status && difference)
        *difference = t.difference;
    ad_free(memory);
    return status;
}
