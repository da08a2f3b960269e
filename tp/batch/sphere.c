/* sphere.c: expectations of any functions after batch normalisation, over blocks of sampled directions. */
#include "tp/batch/sphere.h"

#include "autodiff/base/base.h"
#include "tp/batch/batchnorm_factor.h"
#include "tp/executor/executor.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { BLOCK = 128, MAX_RADII = 512, MAX_GAUSS = 12 };

/* The radius: nodes t of weights for 1 (forward) and for 1 / t^2 (backward, where epsilon = 0 alone leaves that). */
typedef struct {
    int n;
    double t[MAX_RADII], forward[MAX_RADII], backward[MAX_RADII];
    double sum, back; /* of the forward weights, and of the backward ones over t^2 */
} radii;

/* For each function's batch, (BLOCK, rows): r, z, v = r / rho; f(z) and f'(z) sqrt(B) / rho, and those of g. */
typedef struct {
    size_t rows;
    int batch;
    const double *f;
    double root, decay;
    double *r, *size, *z, *v, *y[2], *slope[2];
    double even, *flat[2], *steep[2]; /* sqrt(B) / the mean size of r; zeta = even r, f(zeta); f'(zeta) even, g' even */
    tp_slopes g;
} side;

typedef struct {
    const tp_sphere_spec *spec;
    const tp_batchnorm *layer;
    side sides[2];
    double *memory, *x, *through, *back, *scratch, *scratch2, *theta; /* v theta, v' theta'; theta centred */
    double *v, *t, *straight, *weight; /* weight (BLOCK): what a direction counts for beside others */
    bool zonal;                        /* what f(zeta) gives is known, and not sampled */
    double tilt;                       /* of m directions of the first batch's own m - 2; 0: directions are uniform */
} sphere;

static const double radius_off = 2e-5, line_off = 1e-13; /* what the rules leave, relative to what they are of */

/* The mean of 1 / |r|^2 over directions, at most: by Jensen the mean of the inverse eigenvalues of F'F, over the square
 * of the part that lies in their space, which is Beta's. INFINITY if it may be. */
static double most_inverse(const double *values, size_t k)
{
    double sum = 0, m = 0;
    for (size_t j = 0; j < k; j++)
        if (values[j] > 0) {
            sum += 1 / values[j];
            m++;
        }
    return m > 4 ? sum / m * ((double)k - 2) / (m - 2) : INFINITY;
}

/* n nodes of Gauss's rule for x^a e^-x / Gamma(a + 1), by its Jacobi matrix (Golub and Welsch): 0 if that is found. */
static int laguerre(int n, double a, double *x, double *weights)
{
    double diagonal[MAX_GAUSS], below[MAX_GAUSS], vectors[MAX_GAUSS * MAX_GAUSS];
    for (int i = 0; i < n; i++) {
        diagonal[i] = 2 * i + a + 1;
        below[i] = sqrt((i + 1) * (i + 1 + a));
    }
    if (LAPACKE_dstev(LAPACK_COL_MAJOR, 'V', n, diagonal, below, vectors, n) != 0)
        return -1;
    for (int i = 0; i < n; i++) {
        x[i] = diagonal[i];
        weights[i] = vectors[(size_t)i * (size_t)n] * vectors[(size_t)i * (size_t)n];
    }
    return 0;
}

/* Where epsilon is small beside the variances the integrands are all but constant in t: Gauss's rule in x = t^2 / 2 for
 * the weight x^(k/2 - 1) e^-x forward, x^(k/2 - 2) e^-x backward. To first order they move as epsilon / t^2, of which
 * the rule's error is known: beyond it are its squares. Few nodes leave less than the trapezoid rule does; false if
 * none. */
static bool find_gauss_radii(const sphere *s, radii *out)
{
    const tp_batchnorm *layer = s->layer;
    double k = (double)layer->rank, a = k / 2 - (s->spec->theta ? 2 : 1), share = 0;
    for (int i = 0; i < 2; i++) {
        const double *values = layer->one ? layer->lambda : layer->mu[i];
        if (layer->side[i].decay > 0)
            share = fmax(share, layer->side[i].decay * most_inverse(values, layer->rank));
    }
    if (!(a > 0) || !(share / (2 * a) < 1e-2))
        return false;
    for (int n = 1; n <= MAX_GAUSS; n++) {
        double x[MAX_GAUSS], weights[MAX_GAUSS], inverse = -1 / a;
        if (laguerre(n, a, x, weights))
            return false;
        for (int i = 0; i < n; i++)
            inverse += weights[i] / x[i];
        if (share * fabs(inverse) > radius_off / 2)
            continue;
        out->n = n;
        for (int i = 0; i < n; i++) {
            out->t[i] = sqrt(2 * x[i]);
            out->backward[i] = weights[i] / (k - 2) * 2 * x[i]; /* times t^2, which 1 / (rho rho') has */
            out->forward[i] = weights[i];
        }
        return true;
    }
    return false;
}

/* log t in steps h. Where log t = u + iv, the integrand t^k exp(-t^2 / 2) / (rho rho') grows by exp(k v^2) at most near
 * its peak, t^2 = k, and it is analytic up to v = pi / 4: the trapezoid rule is good to exp(k v^2 - 2 pi v / h) with
 * the best v, pi / (k h) or pi / 4, 2e-5 of what is sampled. Tails below 1e-6 are left out. In rank 1 nothing is
 * sampled, and a step of 1/8 and tails below 1e-17 leave roundings. */
static void find_radii(const sphere *s, radii *out)
{
    double k = (double)s->layer->rank, d1 = s->layer->side[0].decay, d2 = s->layer->side[1].decay, largest = -INFINITY,
           u = 0;
    bool line = s->layer->rank == 1;
    const double h = line ? 0.125 : fmin(0.45, 0.95 / sqrt(k)), tail = line ? 40 : 14;
    double norm = (k / 2 - 1) * log(2) + lgamma(k / 2);
    *out = (radii){ .n = 1, .t = { 1 }, .forward = { 1 }, .backward = { k > 2 ? 1 / (k - 2) : 0 } };
    if ((!(d1 > 0) && !(d2 > 0)) || find_gauss_radii(s, out))
        return;
    out->n = 0;
    for (double high = log(k + (line ? 80 : 40)) / 2 + 0.3; out->n < MAX_RADII; out->n++) {
        u = high - h * out->n;
        double t = exp(u), log_weight = k * u - t * t / 2 - norm;
        double both = log_weight - log((t * t + d1) * (t * t + d2)) / 2;
        out->t[out->n] = t;
        out->forward[out->n] = out->backward[out->n] = h * exp(log_weight);
        largest = fmax(largest, fmax(both, log_weight));
        if (fmax(both, log_weight) < largest - tail && t * t < k)
            break;
    }
}

static int open_sphere(sphere *s, ad_error *error)
{
    const tp_batchnorm *layer = s->layer;
    int own = s->spec->own, batches[2] = { own ? own - 1 : 0, own ? own - 1 : 1 };
    size_t m = layer->side[batches[0]].rows, n = layer->side[batches[1]].rows, k = layer->rank;
    size_t each = BLOCK * (13 * (m + n) + 3 + k) + 2 * m * n;
    double *next = s->memory = ad_alloc(each, sizeof *next, "batchnorm", error);
    if (!next)
        return -1;
    for (int i = 0; i < 2; i++) {
        side *at = &s->sides[i];
        const tp_batch *batch = &layer->side[batches[i]];
        *at = (side){ .rows = batch->rows,
                      .batch = batches[i],
                      .decay = batch->decay,
                      .f = layer->one ? layer->f : layer->turned + (batches[i] ? layer->side[0].rows * k : 0),
                      .root = sqrt((double)batch->rows),
                      .g = i ? layer->phi2 : layer->phi };
        double **parts[] = { &at->r,        &at->z,       &at->v,       &at->y[0],     &at->y[1],    &at->slope[0],
                             &at->slope[1], &at->flat[0], &at->flat[1], &at->steep[0], &at->steep[1] };
        for (int p = 0; p < 11; p++, next += BLOCK * at->rows)
            *parts[p] = next;
        at->size = next;
        next += BLOCK;
    }
    s->through = next;
    s->back = s->through + BLOCK * n;
    s->scratch = s->back + BLOCK * m;
    s->scratch2 = s->scratch + BLOCK * m;
    s->x = s->scratch2 + BLOCK * n;
    s->theta = s->x + BLOCK * k;
    s->straight = s->theta + m * n;
    s->weight = s->straight + m * n;
    if (s->spec->theta) {
        memcpy(s->theta, s->spec->theta, m * n * sizeof *next);
        tp_centre(m, n, s->theta);
    }
    return 0;
}

/* The first one again, if all is the same. */
static side *second_side(sphere *s)
{
    bool alike = s->layer->one || s->sides[0].batch == s->sides[1].batch;
    return &s->sides[alike && s->spec->f[0].context == s->spec->f[1].context ? 0 : 1];
}

/* r of `count` directions, and |r|^2. */
static void place_directions(const sphere *s, side *at, size_t count)
{
    size_t k = s->layer->rank;
    tp_product(CblasNoTrans, CblasTrans, count, at->rows, k, 1, s->x, at->f, 0, at->r);
    for (size_t i = 0; i < count; i++)
        at->size[i] = cblas_ddot((int)at->rows, at->r + i * at->rows, 1, at->r + i * at->rows, 1);
}

/* ---- what is known of the functions at zeta ---- */
/* Is g linear on both sides of 0 alike, as it is where f is odd? */
static bool is_linear(const side *at)
{
    return fabs(at->g.above - at->g.below) <= 1e-9 * fabs(at->g.above);
}

static void choose_zonal(sphere *s)
{
    size_t k = s->layer->rank;
    s->zonal = s->spec->smooth && k >= 5;
    for (int i = 0; i < 2; i++) {
        side *at = &s->sides[i];
        double squares = cblas_ddot((int)(at->rows * k), at->f, 1, at->f, 1);
        at->even = squares > 0 ? at->root / sqrt(squares / (double)k) : 0;
        s->zonal = s->zonal && is_linear(at) && squares > 0;
    }
}

static void fill_zonal(const sphere *s, side *at, int which, size_t count)
{
    const tp_block_function *f = &s->spec->f[which], *slope = &s->spec->slope[which];
    for (size_t b = 0; b < count * at->rows; b++)
        at->flat[0][b] = at->even * at->r[b];
    if (!s->spec->theta) {
        f->eval(f->context, count * at->rows, at->flat[0], at->flat[1]);
        return;
    }
    slope->eval(slope->context, count * at->rows, at->flat[0], at->steep[0]);
    for (size_t i = 0; i < count; i++)
        cblas_dscal((int)at->rows, at->even * (which ? 1 : s->weight[i]), at->steep[0] + i * at->rows, 1);
}

/* The block's own sum of it is taken away. forward, backward: the radius's weights in all. */
static void drop_zonal(const sphere *s, const side *a, const side *b, size_t count, double forward, double backward)
{
    size_t m = a->rows, n = b->rows;
    if (s->spec->theta) {
        tp_product(CblasTrans, CblasNoTrans, m, n, count, -backward, a->steep[0], b->steep[0], 1, s->straight);
        return;
    }
    tp_product(CblasTrans, CblasNoTrans, m, n, count, -forward, a->flat[1], b->flat[1], 1, s->v);
    tp_product(CblasTrans, CblasNoTrans, m, n, count, forward * a->g.above * b->g.above, a->flat[0], b->flat[0], 1,
               s->v);
}

/* And its expectation is added. */
static int add_zonal(const sphere *s, const side *a, const side *b, double forward, double backward, double *left,
                     ad_error *error)
{
    size_t m = a->rows, n = b->rows, k = s->layer->rank;
    double *own = ad_alloc((m + n) * k + m * n, sizeof *own, "zonal functions", error);
    if (!own)
        return -1;
    double *other = own + m * k, *out = other + n * k;
    for (size_t i = 0; i < m * k; i++)
        own[i] = a->even * a->f[i];
    for (size_t i = 0; i < n * k; i++)
        other[i] = b->even * b->f[i];
    const tp_block_function *f = s->spec->theta ? s->spec->slope : s->spec->f;
    double c = s->spec->theta ? backward * a->even * b->even : forward, *sum = s->spec->theta ? s->straight : s->v;
    tp_zonal_spec spec = { f, b == a ? f : f + 1, k, m, n, own, other };
    int status = tp_zonal(&spec, out, left, error);
    for (size_t i = 0; i < m * n && !status; i++)
        sum[i] += c * out[i];
    if (!s->spec->theta)
        tp_product(CblasNoTrans, CblasTrans, m, n, k, -forward * a->g.above * b->g.above / (double)k, own, other, 1,
                   s->v);
    ad_free(own);
    return status;
}

/* ---- what is sampled ---- */
/* z = sqrt(B) t r / rho, and what f and g make of it. */
static void fill_functions(const sphere *s, side *at, int which, size_t count, double t)
{
    size_t n = at->rows;
    const tp_block_function *f = &s->spec->f[which], *slope = &s->spec->slope[which];
    for (size_t i = 0; i < count; i++) {
        double rho = sqrt(t * t * at->size[i] + at->decay), c = rho > 0 ? t / rho : 0;
        for (size_t b = i * n; b < (i + 1) * n; b++) {
            at->v[b] = c * at->r[b];
            at->z[b] = at->root * at->v[b];
        }
    }
    if (!s->spec->theta) {
        f->eval(f->context, count * n, at->z, at->y[0]);
        for (size_t b = 0; b < count * n; b++)
            at->y[1][b] = at->z[b] * (at->z[b] > 0 ? at->g.above : at->g.below);
        return;
    }
    slope->eval(slope->context, count * n, at->z, at->slope[0]);
    for (size_t i = 0; i < count; i++) {
        double rho = sqrt(t * t * at->size[i] + at->decay), c = rho > 0 ? at->root / rho : 0;
        c *= which ? 1 : s->weight[i];
        for (size_t b = i * n; b < (i + 1) * n; b++) {
            at->slope[0][b] *= c;
            at->slope[1][b] = c * (at->z[b] > 0 ? at->g.above : at->z[b] < 0 ? at->g.below : at->g.at_zero);
        }
    }
}

static void multiply_entries(size_t count, const double *a, const double *b, double *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = a[i] * b[i];
}

/* J = diag(slope) (I - v v') G, so that with P, Q the slopes of either batch
 *   J theta J' = P Q' o theta - (P o v)(Q o theta' v)' - (P o theta v')(Q o v')' + (P o v) v' theta v' (Q o v')'. */
static void add_backward(const sphere *s, const side *a, const side *b, size_t count, double weight)
{
    size_t m = a->rows, n = b->rows;
    tp_product(CblasNoTrans, CblasNoTrans, count, n, m, 1, a->v, s->theta, 0, s->through);
    tp_product(CblasNoTrans, CblasTrans, count, m, n, 1, b->v, s->theta, 0, s->back);
    for (size_t i = 0; i < count; i++) {
        double inner = cblas_ddot((int)n, s->through + i * n, 1, b->v + i * n, 1);
        for (size_t c = i * n; c < (i + 1) * n; c++)
            s->through[c] = inner * b->v[c] - s->through[c];
    }
    for (int k = 0; k < 2; k++, weight = -weight) { /* f, less g */
        tp_product(CblasTrans, CblasNoTrans, m, n, count, weight, a->slope[k], b->slope[k], 1, s->straight);
        multiply_entries(count * m, a->slope[k], a->v, s->scratch);
        multiply_entries(count * n, b->slope[k], s->through, s->scratch2);
        tp_product(CblasTrans, CblasNoTrans, m, n, count, weight, s->scratch, s->scratch2, 1, s->t);
        multiply_entries(count * m, a->slope[k], s->back, s->scratch);
        multiply_entries(count * n, b->slope[k], b->v, s->scratch2);
        tp_product(CblasTrans, CblasNoTrans, m, n, count, -weight, s->scratch, s->scratch2, 1, s->t);
    }
}

/* One block of directions, for which r is placed. */
static void add_block(const sphere *s, side *a, side *b, size_t count, const radii *radius, double share)
{
    size_t m = a->rows, n = b->rows;
    if (s->zonal) {
        fill_zonal(s, a, 0, count);
        if (b != a)
            fill_zonal(s, b, 1, count);
        drop_zonal(s, a, b, count, share * radius->sum, share * radius->back);
    }
    for (int q = 0; q < radius->n; q++) {
        fill_functions(s, a, 0, count, radius->t[q]);
        if (b != a)
            fill_functions(s, b, 1, count, radius->t[q]);
        for (int g = 0; g < 2 && !s->spec->theta; g++) /* f, less g */
            tp_product(CblasTrans, CblasNoTrans, m, n, count, (g ? -share : share) * radius->forward[q], a->y[g],
                       b->y[g], 1, s->v);
        if (s->spec->theta)
            add_backward(s, a, b, count, share * radius->backward[q]);
    }
}

/* Backward, 1 / |r|^2 of two batches that nearly agree is that of the few directions omega_1 in which the first has its
 * variance, and has a heavy tail there, though |omega|^2 is 1. So where the second has most of its own in them, too,
 * they are drawn from a density that is 1 / |omega_1|^2 times as high, and count for as much less: with m of k
 * dimensions that is E 1 / |omega_1|^2 = (k - 2) / (m - 2), and omega is x / |x| where |x_1|^2 has the law of
 * chi_(m-2)^2, that of chi_m^2 times U^(2 / (m - 2)), U uniform. */
static void choose_tilt(sphere *s)
{
    const tp_batchnorm *layer = s->layer;
    size_t k = layer->rank, m = layer->side[0].rank;
    double shared = 0, all = 0;
    s->tilt = 0;
    for (size_t i = 0; i < BLOCK; i++)
        s->weight[i] = 1;
    if (!s->spec->theta || layer->one || m < 3 || m == k)
        return;
    for (size_t i = 0; i < s->sides[1].rows * k; i++) {
        double square = s->sides[1].f[i] * s->sides[1].f[i];
        all += square;
        shared += layer->mu[0][i % k] > 0 ? square : 0;
    }
    s->tilt = shared > 0.5 * all ? (double)m - 2 : 0;
}

/* Direction `at` of `total`, as the block's number i: columns (k, total) of normal draws, and one more for U. */
static void draw_direction(sphere *s, const double *columns, size_t total, size_t at, size_t i)
{
    size_t k = s->layer->rank;
    const double *mu = s->layer->mu[0];
    double *x = s->x + i * k, of_first = 0;
    double shorter = s->tilt > 0 ? pow(erfc(-columns[k * total + at] / sqrt(2)) / 2, 1 / s->tilt) : 1;
    for (size_t j = 0; j < k; j++) {
        bool first = s->tilt > 0 && mu[j] > 0;
        x[j] = columns[j * total + at] * (first ? shorter : 1);
        of_first += first ? x[j] * x[j] : 0;
    }
    double size = cblas_ddot((int)k, x, 1, x, 1);
    cblas_dscal((int)k, 1 / sqrt(size), x, 1);
    if (s->tilt > 0)
        s->weight[i] = ((double)k - 2) / s->tilt * of_first / size;
}

/* The directions of F that the first batch has no part in come with either sign: what the batches do not share
 * cancels. */
static void sum_directions(sphere *s, const radii *radius, const double *columns, size_t total)
{
    const tp_batchnorm *layer = s->layer;
    size_t k = layer->rank;
    side *a = &s->sides[0], *b = second_side(s);
    bool apart = false;
    for (size_t j = 0; j < k; j++)
        apart |= !layer->one && b->batch == 1 && !(layer->mu[0][j] > 0);
    for (size_t first = 0; first < total; first += BLOCK) {
        size_t count = total - first < BLOCK ? total - first : BLOCK;
        for (size_t i = 0; i < count; i++)
            draw_direction(s, columns, total, first + i, i);
        place_directions(s, a, count);
        if (b != a)
            place_directions(s, b, count);
        add_block(s, a, b, count, radius, (apart ? 0.5 : 1) / (double)total);
        if (!apart)
            continue;
        for (size_t i = 0; i < count * k; i++)
            s->x[i] *= layer->mu[0][i % k] > 0 ? 1 : -1;
        if (a->batch == 1)
            place_directions(s, a, count);
        if (b != a && b->batch == 1)
            place_directions(s, b, count);
        add_block(s, a, b, count, radius, 0.5 / (double)total);
    }
}

static int run(sphere *s, double *off, ad_error *error)
{
    double left = 0;
    size_t k = s->layer->rank, count = s->sides[0].rows * s->sides[1].rows;
    tp_space space = { 0 };
    tp_rows columns = { .length = s->spec->samples };
    const double line[2] = { 1, -1 };
    radii radius;
    find_radii(s, &radius);
    radius.sum = radius.back = 0;
    for (int q = 0; q < radius.n; q++) {
        radius.sum += radius.forward[q];
        radius.back += radius.backward[q] / (radius.t[q] * radius.t[q]);
    }
    choose_zonal(s);
    choose_tilt(s);
    int status = k == 1 ? 0 : tp_space_new(&space, s->spec->samples, s->spec->seed, error);
    if (!status && k > 1)
        status = tp_draw(&space, (int)k + (s->tilt > 0), NULL, &columns, error);
    memset(s->spec->theta ? s->t : s->v, 0, count * sizeof *s->v);
    if (!status)
        sum_directions(s, &radius, k == 1 ? line : columns.data, k == 1 ? 2 : s->spec->samples);
    if (!status && s->zonal)
        status = add_zonal(s, &s->sides[0], second_side(s), radius.sum, radius.back, &left, error);
    *off = fmax(*off, sqrt(left));
    for (size_t i = 0; i < count && s->spec->theta && !status; i++)
        s->t[i] = (s->t[i] + s->theta[i] * s->straight[i]) / sqrt(s->layer->side[0].scale * s->layer->side[1].scale);
    ad_free(columns.data);
    tp_space_free(&space);
    return status;
}

tp_slopes tp_nearest_slopes(const tp_block_function *f)
{
    enum { NODES = 128 };
    double x[2 * NODES + 1], y[2 * NODES + 1], sum[2] = { 0 }, size = 0;
    for (int i = 0; i < 2 * NODES + 1; i++)
        x[i] = 4.0 * (i - NODES) / NODES;
    f->eval(f->context, 2 * NODES + 1, x, y);
    for (int i = 1; i <= NODES; i++) {
        double weight = exp(-x[NODES + i] * x[NODES + i] / 2);
        size += weight * x[NODES + i] * x[NODES + i];
        for (int half = 0; half < 2; half++)
            sum[half] += weight * x[NODES + i] * (y[NODES + (half ? -i : i)] - y[NODES]);
    }
    return (tp_slopes){ sum[0] / size, -sum[1] / size, (sum[0] - sum[1]) / size / 2 };
}

int tp_sphere(const tp_sphere_spec *spec, double *out, bool *whole, double *off, bool *sampled, ad_error *error)
{
    tp_batchnorm *layer = tp_batchnorm_factor(&spec->layer, error);
    sphere s = { .spec = spec, .layer = layer, .v = out, .t = out };
    int threads = ad_blas_begin(1), status = layer ? tp_two_spheres(spec, layer, out, whole, off, error) : -1;
    *sampled = layer && layer->rank > 1;
    if (status == 1 && !(status = open_sphere(&s, error))) {
        *whole = false;
        *off = layer->rank == 1 ? line_off : layer->side[0].decay > 0 || layer->side[1].decay > 0 ? radius_off : 0;
        status = run(&s, off, error);
    }
    ad_blas_end(threads);
    ad_free(s.memory);
    tp_batchnorm_free(layer);
    return status;
}
