/* batchnorm_maps.c: V, T and its transpose: sums over the nodes of a layer's quadrature. */
#include "autodiff/base/base.h"
#include "tp/batch/batchnorm_factor.h"
#include "tp/gauss/gauss.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SHEET_DOUBLES = 1 << 17 };

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
    size_t capacity; /* nodes at once */
    double *memory, *d, *a11, *a22, *a12, *c, *ones, *r, *s, *i1, *i2;
    double *outer11, *outer22, *outer12; /* (rank, rows rows) ...: what a line's A are made of */
} sheet;

static int sheet_allocate(const tp_batchnorm *layer, sheet *at, ad_error *error)
{
    size_t m = layer->side[0].rows, n = layer->side[1].rows, r = layer->rank;
    size_t apart = layer->one ? 0 : m * m + n * n, each = r + apart + 5 * m * n + m + n;
    at->capacity = SHEET_DOUBLES / each + 1;
    at->capacity = at->capacity < layer->n_points ? at->capacity : layer->n_points;
    at->memory = ad_alloc(at->capacity * each + r * (apart + m * n), sizeof *at->memory, "batchnorm", error);
    if (!at->memory)
        return -1;
    double *next = at->memory, **shared[] = { &at->a12, &at->c, &at->ones, &at->r, &at->s };
    for (size_t i = 0; i < 5; i++, next += at->capacity * m * n)
        *shared[i] = next;
    at->d = next;
    at->i1 = at->d + at->capacity * r;
    at->i2 = at->i1 + at->capacity * m;
    at->outer12 = at->i2 + at->capacity * n;
    at->a11 = at->a22 = at->a12;
    at->outer11 = at->outer22 = at->outer12;
    if (!layer->one) {
        at->outer11 = at->outer12 + r * m * n;
        at->outer22 = at->outer11 + r * m * m;
        at->a11 = at->outer22 + r * n * n;
        at->a22 = at->a11 + at->capacity * m * m;
    }
    for (size_t i = 0; i < at->capacity * m * n; i++)
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

static void sheet_open(const tp_batchnorm *layer, sheet *at, const tp_node_line *of)
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

/* From relu's expectations at unit variances to phi's, of either batch its own; c becomes h. With phi = below u +
 * (above - below) relu, E u relu = A / 2, E relu relu = (sqrt det + ...) / 2 pi gives E relu(r_b) delta(r_c) =
 * sqrt(det) / (2 pi A_cc) = (R - S A_bc) / A_cc (THEORY section 3(d)). */
static void bend(const tp_slopes *phi, const tp_slopes *phi2, size_t m, size_t n, const double *a11, const double *a22,
                 const double *a12, double *c, double *r, double *s)
{
    double straight = (phi->above * phi2->below + phi->below * phi2->above) / 2;
    double bent = (phi->above - phi->below) * (phi2->above - phi2->below);
    double mean = (phi->above + phi->below) / 2, mean2 = (phi2->above + phi2->below) / 2;
    for (size_t b = 0; b < m; b++)
        for (size_t d = 0; d < n; d++) {
            size_t at = b * n + d;
            double q1 = a11[b * m + b], q2 = a22[d * n + d], size = sqrt(q1 * q2);
            c[at] = bent * size * (r[at] - s[at] * c[at]);
            r[at] = straight * a12[at] + bent * size * r[at];
            s[at] = straight + bent * s[at];
            if (!(size > 0)) {
                s[at] = (q1 > 0 ? mean : phi->at_zero) * (q2 > 0 ? mean2 : phi2->at_zero);
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
static void sheet_fill(const tp_batchnorm *layer, sheet *at, const tp_node_line *of, size_t first, size_t count)
{
    size_t m = layer->side[0].rows, n = layer->side[1].rows, r = layer->rank;
    for (size_t j = 0; j < count; j++)
        for (size_t k = 0; k < r; k++)
            at->d[j * r + k] = 1 / (1 + 2 * layer->points[first + j].t * of->nu[k]);
    tp_product(CblasNoTrans, CblasNoTrans, count, m * n, r, 1, at->d, at->outer12, 0, at->a12);
    if (!layer->one) {
        tp_product(CblasNoTrans, CblasNoTrans, count, m * m, r, 1, at->d, at->outer11, 0, at->a11);
        tp_product(CblasNoTrans, CblasNoTrans, count, n * n, r, 1, at->d, at->outer22, 0, at->a22);
    }
    for (size_t j = 0; j < count; j++)
        correlate(m, n, at->a11 + j * m * m, at->a22 + j * n * n, at->a12 + j * m * n, at->c + j * m * n);
    tp_univariate relu = tp_univariate_form(TP_RELU, 0), step = tp_univariate_form(TP_STEP, 0);
    tp_closed_pair(&relu, &step, count * m * n, at->ones, at->ones, at->c, NULL, at->r, at->s);
    for (size_t j = 0; j < count; j++) {
        bend(&layer->phi, &layer->phi2, m, n, at->a11 + j * m * m, at->a22 + j * n * n, at->a12 + j * m * n,
             at->c + j * m * n, at->r + j * m * n, at->s + j * m * n);
        invert_diagonal(m, at->a11 + j * m * m, at->i1 + j * m);
        invert_diagonal(n, at->a22 + j * n * n, at->i2 + j * n);
    }
}

static node node_at(const tp_batchnorm *layer, const sheet *at, const tp_node_line *of, size_t first, size_t j)
{
    size_t m = layer->side[0].rows, n = layer->side[1].rows;
    const tp_abscissa *p = &layer->points[first + j];
    double w = sqrt((double)m * (double)n) * exp(tp_batchnorm_log_weight(layer, of, first + j)), s = of->s, t = p->t;
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
        const tp_node_line *of = &layer->lines[i];
        sheet_open(layer, &at, of);
        for (size_t first = 0; first < of->n; first += at.capacity) {
            size_t count = of->n - first < at.capacity ? of->n - first : at.capacity;
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
    double off = 0, largest = 0;
    for (size_t i = 0; i < of->count; i++) {
        off = fmax(off, fabs(of->fine[i] - coarse_factor(layer) * of->coarse[i]));
        largest = fmax(largest, fabs(of->fine[i]));
    }
    return largest > 0 ? off / largest : 0;
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

int tp_batchnorm_integrate(tp_batchnorm *layer, ad_error *error)
{
    size_t count = layer->side[0].rows * layer->side[1].rows;
    double *memory = ad_alloc(3 * count, sizeof *memory, "batchnorm", error);
    if (!memory)
        return -1;
    integrals to = { { count, layer->v, memory }, { count, memory + count, memory + 2 * count } };
    memset(layer->v, 0, count * sizeof *layer->v);
    int status = sweep(layer, add_integrals, &to, error);
    layer->difference = difference_of(layer, &to.v);
    if (layer->backward)
        layer->difference = fmax(layer->difference, difference_of(layer, &to.slopes));
    ad_free(memory);
    return status;
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
    tp_product(CblasNoTrans, CblasNoTrans, m, n, n, 1, pi_s, at->a22, 0, middle);
    tp_product(CblasTrans, CblasNoTrans, n, n, m, at->w3, pi_s, at->a12, 0, square);
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
    tp_product(CblasNoTrans, CblasNoTrans, m, n, m, 1, at->a11, middle, 1, sum);
    tp_product(CblasNoTrans, CblasNoTrans, m, n, n, 1, at->a12, square, 1, sum);
    add(&t->to, at, 1, sum);
}

static void add_transpose(const node *at, void *context)
{
    map *t = context;
    size_t m = t->m, n = t->n;
    double inner = 0, *left = t->one, *right = t->two, *sum = t->three;
    tp_product(CblasNoTrans, CblasNoTrans, m, n, m, 1, at->a11, t->x, 0, left);
    tp_product(CblasNoTrans, CblasNoTrans, m, n, n, 1, t->x, at->a22, 0, right);
    tp_product(CblasTrans, CblasNoTrans, n, n, m, at->w3, t->x, at->a12, 0, t->square);
    tp_product(CblasNoTrans, CblasNoTrans, m, n, m, at->w3, at->a11, right, 0, sum);
    tp_product(CblasNoTrans, CblasNoTrans, m, n, n, 1, at->a12, t->square, 1, sum);
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
        tp_centre(m, n, memory);
    int threads = ad_blas_begin(1), status = sweep(layer, transpose ? add_transpose : add_backward, &t, error);
    ad_blas_end(threads);
    if (!transpose) {
        tp_centre(m, n, t.to.fine);
        tp_centre(m, n, t.to.coarse);
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
