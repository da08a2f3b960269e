/* two_spheres.c: expectations of functions of two batches, by pairs of directions. */
#include "tp/batch/two_spheres.h"

#include "autodiff/base/base.h"
#include "tp/batch/directions.h"
#include "tp/executor/executor.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { MOST_ROWS = 32, MOST_TERMS = 200, LANES = 16, BLOCK = 64, FEWER = 8, EVEN = 0, ODD = 1 };
static const double most_correlation = 0.8, most_spread = 4; /* of the weights: their mean square */

/* One batch: n directions, and what functions make of them, in their parts that are even and odd in the direction. */
typedef struct {
    size_t rows, k, n;
    double decay, root;
    tp_slopes g;
    const tp_block_function *f, *slope;
    double *map;                  /* G (rows, k) */
    double *x, *share;            /* (n, k), directions; (n), what each counts for, 1 in all */
    double *a, *factor;           /* (n): A; what a direction's functions are multiplied by */
    double *along;                /* (n, min(k, k')): gamma of a pair is the product of two rows */
    double *r, *v, *plus, *minus; /* (n, rows): u at radius 1; scratch */
    double *parts;                /* (n, 4 rows): f even, g even, f odd, g odd */
} half;

typedef struct {
    const tp_sphere_spec *spec;
    const tp_batchnorm *layer;
    half sides[2];
    size_t n, correlated; /* directions; min(k, k') */
    double spread, most;  /* prod (1 - rho^2)^(-1/2), the largest rho */
    /* (BLOCK, n); (BLOCK, 2 rows2^2); (n, 2 rows2^2); (rows, rows2); (2, rows2); (correlated) */
    double *memory, *weights, *sums, *jacobians, *theta, *through, *rho;
} pairs;

/* The even or the odd terms of a series in gamma. */
typedef struct {
    int n;
    bool odd;
    double at[MOST_TERMS];
} series;

/* ---- the axes of either batch ---- */
/* In v (k, joint) the eigenvectors of F'F of one batch that have variance, one a row. */
static int own_directions(const tp_batchnorm *layer, int side, double *v, ad_error *error)
{
    size_t joint = layer->rank, rows = layer->side[side].rows, k = layer->side[side].rank;
    const double *f = layer->f + (side ? layer->side[0].rows * joint : 0);
    double *gram = ad_alloc(joint * joint + joint, sizeof *gram, "batchnorm", error);
    if (!gram)
        return -1;
    tp_product(CblasTrans, CblasNoTrans, joint, joint, rows, 1, f, f, 0, gram);
    int status = tp_batchnorm_eigen(joint, gram, gram + joint * joint, error);
    if (!status)
        memcpy(v, gram + (joint - k) * joint, k * joint * sizeof *v);
    ad_free(gram);
    return status;
}

/* Maps of both batches in axes that correlate one by one, and rho, which descend. */
static int find_axes(pairs *p, ad_error *error)
{
    const tp_batchnorm *layer = p->layer;
    half *a = &p->sides[0], *b = &p->sides[1];
    size_t joint = layer->rank, k = a->k, l = b->k;
    double *memory = ad_alloc((k + l) * joint + k * l + k * k + l * l + a->rows * k + b->rows * l, sizeof *memory,
                              "batchnorm", error);
    if (!memory)
        return -1;
    double *v = memory, *w = v + k * joint, *r = w + l * joint, *left = r + k * l, *right = left + k * k,
           *map = right + l * l;
    int status = own_directions(layer, 0, v, error) || own_directions(layer, 1, w, error) ? -1 : 0;
    if (!status) {
        tp_product(CblasNoTrans, CblasTrans, k, l, joint, 1, v, w, 0, r);
        if (LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'A', (lapack_int)k, (lapack_int)l, r, (lapack_int)l, p->rho, left,
                           (lapack_int)k, right, (lapack_int)l) != 0)
            status = ad_fail(error, "batchnorm: LAPACK found no singular values of two batches' correlations");
    }
    if (!status) {
        tp_product(CblasNoTrans, CblasTrans, a->rows, k, joint, 1, layer->f, v, 0, map);
        tp_product(CblasNoTrans, CblasNoTrans, a->rows, k, k, 1, map, left, 0, a->map);
        tp_product(CblasNoTrans, CblasTrans, b->rows, l, joint, 1, layer->f + a->rows * joint, w, 0, map);
        tp_product(CblasNoTrans, CblasTrans, b->rows, l, l, 1, map, right, 0, b->map);
    }
    ad_free(memory);
    return status;
}

/* ---- directions ---- */
/* A, the rows whose products are gamma, and r. */
static void correlate(half *h, const double *rho, size_t correlated)
{
    for (size_t i = 0; i < h->n; i++) {
        double *along = h->along + i * correlated;
        const double *x = h->x + i * h->k;
        h->a[i] = 1;
        for (size_t j = 0; j < correlated; j++) {
            double more = rho[j] / (1 - rho[j] * rho[j]);
            h->a[i] += x[j] * x[j] * rho[j] * more;
            along[j] = x[j] * sqrt(more);
        }
        cblas_dscal((int)correlated, 1 / sqrt(h->a[i]), along, 1);
    }
    tp_product(CblasNoTrans, CblasTrans, h->n, h->rows, h->k, 1, h->x, h->map, 0, h->r);
}

/* ---- functions ---- */
/* 1 / rho at radius s, s^2 = degrees / A: where epsilon is small, what it does is 1 / s^2's mean to first order. */
static double inverse_size(const half *h, size_t i, double degrees)
{
    const double *r = h->r + i * h->rows;
    return 1 / sqrt(cblas_ddot((int)h->rows, r, 1, r, 1) + h->decay * h->a[i] / degrees);
}

/* The even and the odd part of what is in plus at x and in minus at -x, times the direction's factor: of f, or of g. */
static void split_parts(const half *h, bool g)
{
    size_t m = h->rows;
    for (size_t i = 0; i < h->n; i++)
        for (size_t b = 0; b < m; b++) {
            double plus = h->plus[i * m + b], minus = h->minus[i * m + b];
            double *out = h->parts + (4 * i + g) * m + b;
            out[0] = h->factor[i] * (plus + minus) / 2;
            out[2 * m] = h->factor[i] * (plus - minus) / 2;
        }
}

static double slope_at(const tp_slopes *g, double z)
{
    return z > 0 ? g->above : z < 0 ? g->below : g->at_zero;
}

/* v = z, `degrees` as above; f there, and at -z, which v is then. */
static void fill_function(half *h, const tp_block_function *f, double degrees)
{
    size_t m = h->rows, count = h->n * m;
    for (size_t i = 0; i < h->n; i++) {
        double c = h->root * inverse_size(h, i, degrees);
        for (size_t b = i * m; b < (i + 1) * m; b++)
            h->v[b] = c * h->r[b];
    }
    f->eval(f->context, count, h->v, h->plus);
    cblas_dscal((int)count, -1, h->v, 1);
    f->eval(f->context, count, h->v, h->minus);
}

static void fill_values(half *h)
{
    for (size_t i = 0; i < h->n; i++)
        h->factor[i] = h->share[i] * pow(h->a[i], -(double)h->k / 2);
    fill_function(h, h->f, (double)h->k - 1);
    split_parts(h, false);
    for (size_t b = 0; b < h->n * h->rows; b++) {
        h->minus[b] = h->v[b] * slope_at(&h->g, h->v[b]);
        h->plus[b] = -h->v[b] * slope_at(&h->g, -h->v[b]);
    }
    split_parts(h, true);
}

/* Slopes, times sqrt(B) / rho at radius 1; v = r / rho. */
static void fill_slopes(half *h)
{
    double degrees = fmax(1, (double)h->k - 3);
    for (size_t i = 0; i < h->n; i++)
        h->factor[i] = h->root * inverse_size(h, i, degrees) * h->share[i] * pow(h->a[i], -((double)h->k - 1) / 2);
    fill_function(h, h->slope, degrees);
    split_parts(h, false);
    for (size_t b = 0; b < h->n * h->rows; b++) {
        h->minus[b] = slope_at(&h->g, h->v[b]);
        h->plus[b] = slope_at(&h->g, -h->v[b]);
    }
    split_parts(h, true);
    cblas_dscal((int)(h->n * h->rows), -1 / h->root, h->v, 1);
}

/* ---- weights of pairs ---- */
static double log_moment(double m) /* log a_m */
{
    return (m - 1) / 2 * log(2) + lgamma((m + 1) / 2);
}

/* The even or the odd terms of the series in gamma, of both densities' norms. What is left out is far below what is
 * sampled. p, q: the powers of s and t. */
static series find_series(const pairs *p, double power, double power2, int parity)
{
    double norm = log_moment((double)p->sides[0].k - 1) + log_moment((double)p->sides[1].k - 1), whole = 0;
    series c = { .odd = parity == ODD };
    for (int j = parity; c.n < MOST_TERMS; j += 2) {
        c.at[c.n] = p->spread * exp(log_moment(power + j) + log_moment(power2 + j) - lgamma(j + 1.0) - norm);
        double size = c.at[c.n++] * pow(p->most, j);
        whole += size;
        if (!(size > 1e-9 * whole))
            break;
    }
    return c;
}

/* weights (BLOCK, n): of pairs of BLOCK directions of the first batch, from `first` on, the part of each that is even
 * or odd in either direction. */
static void weigh_pairs(pairs *p, size_t first, const series *c)
{
    const half *a = &p->sides[0], *b = &p->sides[1];
    size_t n = p->n, k = p->correlated;
    tp_product(CblasNoTrans, CblasTrans, BLOCK, n, k, 1, a->along + first * k, b->along, 0, p->weights);
    for (double *w = p->weights; w < p->weights + BLOCK * n; w += LANES) {
        double square[LANES], sum[LANES];
        for (int j = 0; j < LANES; j++) {
            square[j] = w[j] * w[j];
            sum[j] = c->at[c->n - 1];
        }
        for (int i = c->n - 2; i >= 0; i--)
            for (int j = 0; j < LANES; j++)
                sum[j] = sum[j] * square[j] + c->at[i];
        for (int j = 0; j < LANES; j++)
            w[j] = c->odd ? sum[j] * w[j] : sum[j];
    }
}

/* ---- sums over pairs ---- */
/* Is the even or the odd part of one batch's functions none, but for roundings? */
static bool is_none(const half *h, int parity)
{
    size_t m = h->rows;
    double largest[2] = { 0 };
    for (size_t i = 0; i < h->n; i++)
        for (size_t b = 0; b < 4 * m; b++)
            largest[b / (2 * m)] = fmax(largest[b / (2 * m)], fabs(h->parts[i * 4 * m + b]));
    return largest[parity] <= 1e-14 * largest[1 - parity];
}

/* out += F' W F' of f less that of g, of one parity. */
static void add_forward(pairs *p, int parity, double *out)
{
    const half *a = &p->sides[0], *b = &p->sides[1];
    size_t n = p->n, m = a->rows, l = b->rows;
    series c = find_series(p, (double)a->k - 1, (double)b->k - 1, parity);
    for (size_t first = 0; first < n; first += BLOCK) {
        weigh_pairs(p, first, &c);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, BLOCK, (int)(2 * l), (int)n, 1, p->weights, (int)n,
                    b->parts + (size_t)parity * 2 * l, (int)(4 * l), 0, p->sums, (int)(2 * l));
        for (size_t g = 0; g < 2; g++)
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)l, BLOCK, g ? -1 : 1,
                        a->parts + first * 4 * m + (2 * (size_t)parity + g) * m, (int)(4 * m), p->sums + g * l,
                        (int)(2 * l), 1, out, (int)l);
    }
}

/* out += (J_i theta) sums', J = diag(slope) (I - v v'). */
static void add_direction(pairs *p, size_t i, const double *slope, double sign, const double *sums, double *out)
{
    const half *a = &p->sides[0];
    size_t m = a->rows, l = p->sides[1].rows;
    const double *v = a->v + i * m;
    double *row = p->through + l;
    cblas_dgemv(CblasRowMajor, CblasTrans, (int)m, (int)l, 1, p->theta, (int)l, v, 1, 0, p->through, 1);
    for (size_t b = 0; b < m; b++) {
        for (size_t d = 0; d < l; d++)
            row[d] = slope[b] * (p->theta[b * l + d] - v[b] * p->through[d]);
        cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)l, (int)l, sign, sums, (int)l, row, 1, 1, out + b * l, 1);
    }
}

/* out += sum over pairs of w J theta J' of f less that of g, of one parity of the slopes; v v' is even. */
static void add_backward(pairs *p, int parity, double *out)
{
    const half *a = &p->sides[0], *b = &p->sides[1];
    size_t n = p->n, m = a->rows, l = b->rows, squares = l * l;
    series c = find_series(p, (double)a->k - 2, (double)b->k - 2, parity);
    double *jacobian = p->jacobians;
    for (size_t j = 0; j < n; j++)
        for (size_t row = 0; row < 2 * l; row++) { /* f's, and then g's */
            double slope = b->parts[j * 4 * l + 2 * (size_t)parity * l + row];
            const double *v = b->v + j * l;
            for (size_t d = 0; d < l; d++)
                *jacobian++ = slope * ((row % l == d) - v[row % l] * v[d]);
        }
    for (size_t first = 0; first < n; first += BLOCK) {
        weigh_pairs(p, first, &c);
        tp_product(CblasNoTrans, CblasNoTrans, BLOCK, 2 * squares, n, 1, p->weights, p->jacobians, 0, p->sums);
        for (size_t i = 0; i < BLOCK; i++)
            for (size_t g = 0; g < 2; g++)
                add_direction(p, first + i, a->parts + ((first + i) * 4 + 2 * (size_t)parity + g) * m, g ? -1 : 1,
                              p->sums + (2 * i + g) * squares, out);
    }
}

/* ---- the whole ---- */
/* How much epsilon moves log rho, over the radius: the mean of the inverse eigenvalues is at least that of 1 / |r|^2
 * over directions, by Jensen. The radius of inverse_size leaves a third of it or less where batches correlate
 * little. */
static double epsilon_share(const tp_batchnorm *layer, int side)
{
    const tp_batch *b = &layer->side[side];
    double sum = 0, k = (double)b->rank;
    for (size_t j = 0; j < layer->rank; j++)
        sum += layer->mu[side][j] > 0 ? 1 / layer->mu[side][j] : 0;
    return !(b->decay > 0) ? 0 : k > 3 ? b->decay * sum / k / (k - 3) : INFINITY;
}

static bool is_linear(const tp_slopes *g)
{
    return fabs(g->above - g->below) <= 1e-9 * fabs(g->above);
}

static bool is_case(const pairs *p)
{
    const tp_batchnorm *layer = p->layer;
    if (layer->one || !p->spec->smooth || layer->joint_rank != layer->side[0].rank + layer->side[1].rank)
        return false;
    for (int i = 0; i < 2; i++)
        if (layer->side[i].constant || layer->side[i].rank < 3 || layer->side[i].rows > MOST_ROWS)
            return false;
    return epsilon_share(layer, 0) + epsilon_share(layer, 1) <= p->spec->most_off;
}

static int open_pairs(pairs *p, ad_error *error)
{
    const size_t n = p->n, m = p->sides[0].rows, l = p->sides[1].rows, squares = l * l;
    size_t total = BLOCK * n + 2 * (BLOCK + n) * squares + m * l + 2 * l + p->correlated;
    for (int i = 0; i < 2; i++) {
        const half *h = &p->sides[i];
        total += h->rows * h->k + n * (h->k + p->correlated + 3 + 8 * h->rows);
    }
    double *next = p->memory = ad_alloc(total, sizeof *next, "pairs of directions", error);
    if (!next)
        return -1;
    for (int i = 0; i < 2; i++) {
        half *h = &p->sides[i];
        const size_t one = n * h->rows;
        double **parts[] = { &h->map, &h->x, &h->share, &h->a,     &h->factor, &h->along,
                             &h->r,   &h->v, &h->plus,  &h->minus, &h->parts };
        const size_t sizes[] = { h->rows * h->k, n * h->k, n, n, n, n * p->correlated, one, one, one, one, 4 * one };
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; next += sizes[k++])
            *parts[k] = next;
    }
    p->weights = next;
    p->sums = p->weights + BLOCK * n;
    p->jacobians = p->sums + 2 * (size_t)BLOCK * squares;
    p->theta = p->jacobians + 2 * n * squares;
    p->through = p->theta + m * l;
    p->rho = p->through + 2 * l;
    return 0;
}

/* Correlations; 1: they are too large. */
static int find_correlations(pairs *p, ad_error *error)
{
    double log_spread = 0;
    if (find_axes(p, error))
        return -1;
    p->most = p->rho[0];
    for (size_t j = 0; j < p->correlated && p->most <= most_correlation; j++)
        log_spread -= log1p(-p->rho[j] * p->rho[j]);
    p->spread = exp(log_spread / 2);
    return p->most <= most_correlation && log_spread <= log(most_spread) ? 0 : 1;
}

/* Each batch's own first draws, which are the most even ones. */
static int draw_directions(pairs *p, ad_error *error)
{
    int status = 0;
    for (uint64_t i = 0; i < 2 && !status; i++) {
        half *h = &p->sides[i];
        tp_space space = { 0 };
        tp_rows columns = { .length = p->n };
        status = tp_space_new(&space, p->n, 2 * p->spec->seed + i, error);
        if (!status)
            status = tp_draw(&space, (int)h->k, NULL, &columns, error);
        if (!status)
            status = tp_place_directions(p->n, h->k, columns.data, h->x, h->share, error);
        ad_free(columns.data);
        tp_space_free(&space);
    }
    return status;
}

static void sum_pairs(pairs *p, double *out)
{
    bool back = p->spec->theta;
    for (int i = 0; i < 2; i++) {
        correlate(&p->sides[i], p->rho, p->correlated);
        back ? fill_slopes(&p->sides[i]) : fill_values(&p->sides[i]);
    }
    for (int parity = EVEN; parity <= ODD; parity++)
        if (!is_none(&p->sides[0], parity) && !is_none(&p->sides[1], parity))
            back ? add_backward(p, parity, out) : add_forward(p, parity, out);
}

/* Both batches, what is sampled of them, and memory for n directions of each. */
static int begin_pairs(pairs *p, size_t n, ad_error *error)
{
    const tp_batchnorm *layer = p->layer;
    p->n = n;
    for (int i = 0; i < 2; i++)
        p->sides[i] = (half){ .rows = layer->side[i].rows,
                              .k = layer->side[i].rank,
                              .n = n,
                              .decay = layer->side[i].decay,
                              .root = sqrt((double)layer->side[i].rows),
                              .f = &p->spec->f[i],
                              .slope = &p->spec->slope[i] };
    p->correlated = p->sides[0].k < p->sides[1].k ? p->sides[0].k : p->sides[1].k;
    return open_pairs(p, error);
}

/* Directions of either batch; 0: it is no case. */
static size_t count_directions(const pairs *p)
{
    size_t n = p->spec->samples / FEWER / BLOCK * BLOCK;
    return is_case(p) && n >= 4 * p->layer->rank ? n : 0;
}

int tp_spheres_apart(const tp_sphere_spec *spec, bool *apart, ad_error *error)
{
    tp_batchnorm *layer = tp_batchnorm_factor(&spec->layer, error);
    pairs p = { .spec = spec, .layer = layer };
    int threads = ad_blas_begin(1), status = layer ? 1 : -1;
    if (layer && count_directions(&p) > 0)
        status = begin_pairs(&p, 0, error) ? -1 : find_correlations(&p, error);
    ad_blas_end(threads);
    ad_free(p.memory);
    tp_batchnorm_free(layer);
    *apart = status == 0;
    return status < 0 ? -1 : 0;
}

int tp_two_spheres(const tp_sphere_spec *spec, const tp_batchnorm *layer, double *out, bool *whole, double *off,
                   ad_error *error)
{
    pairs p = { .spec = spec, .layer = layer };
    size_t count = layer->side[0].rows * layer->side[1].rows, n = spec->own ? 0 : count_directions(&p);
    if (n == 0)
        return 1;
    *whole = !is_linear(&layer->phi) || !is_linear(&layer->phi2); /* a kink costs more than g saves */
    int status = begin_pairs(&p, n, error) ? -1 : find_correlations(&p, error);
    for (int i = 0; i < 2 && !*whole; i++)
        p.sides[i].g = i ? layer->phi2 : layer->phi;
    if (!status)
        status = draw_directions(&p, error);
    if (!status) {
        memset(out, 0, count * sizeof *out);
        if (spec->theta) {
            memcpy(p.theta, spec->theta, count * sizeof *out);
            tp_centre(layer->side[0].rows, layer->side[1].rows, p.theta);
        }
        sum_pairs(&p, out);
        if (spec->theta)
            cblas_dscal((int)count, 1 / sqrt(layer->side[0].scale * layer->side[1].scale), out, 1);
        *off = (epsilon_share(layer, 0) + epsilon_share(layer, 1)) / 2;
    }
    ad_free(p.memory);
    return status;
}
