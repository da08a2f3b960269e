/* batchnorm_factor.c: from the covariances of a layer to F, Omega = F F' over both batches, and to the weights of its
 * nodes. */
#include "tp/batch/batchnorm_factor.h"

#include "autodiff/base/base.h"

#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

static const double minimum_share = 1e-12; /* of the largest variance, that a direction must have */

/* ---- small matrices ---- */
void tp_product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                const double *b, double beta, double *c)
{
    int lda = (int)(ta == CblasTrans ? m : k), ldb = (int)(tb == CblasTrans ? k : n);
    cblas_dgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, alpha, a, lda, b, ldb, beta, c, (int)n);
}

void tp_centre(size_t rows, size_t columns, double *a)
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

int tp_batchnorm_eigen(size_t n, double *a, double *values, ad_error *error)
{
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(a[i]))
            return ad_fail(error, "batchnorm: the covariance of the batch leaves the range of a double (1.8e308): "
                                  "smaller inputs or weights keep it");
    if (LAPACKE_dsyev(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)n, a, (lapack_int)n, values) != 0)
        return ad_fail(error, "batchnorm: LAPACK found no eigenvalues of a covariance");
    return 0;
}

/* ---- from covariances to F ---- */
/* Scale, floor and decay of a batch. Differences of entries of k carry k's roundoff, which is no variance. */
static int find_scale(tp_batch *b, const double *k, double epsilon, ad_error *error)
{
    size_t n = b->rows;
    double largest = 0, *copy = ad_alloc(n * n + n, sizeof *copy, "batchnorm", error);
    if (!copy)
        return -1;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(k[i * n + i]));
    memcpy(copy, k, n * n * sizeof *copy);
    tp_centre(n, n, copy);
    int status = tp_batchnorm_eigen(n, copy, copy + n * n, error);
    double top = copy[n * n + n - 1], minimum = copy[n * n], noise = 4 * (double)n * DBL_EPSILON * largest;
    ad_free(copy);
    if (status < 0)
        return -1;
    if (minimum < -1e-8 * largest)
        return ad_fail(error, "batchnorm: the matrix is no covariance: after centring it has the eigenvalue %g",
                       minimum);
    b->constant = top <= noise;
    if (b->constant && !(epsilon > 0))
        return ad_fail(error, "batchnorm: a batch of %zu equal samples has variance 0, which epsilon = 0 divides by",
                       n);
    b->scale = b->constant ? epsilon : top;
    b->noise = noise / (fmax(top, 0) + (double)n * epsilon);
    b->floor = b->constant ? minimum_share : fmax(minimum_share, noise / top);
    b->decay = (double)n * epsilon / b->scale;
    b->c = 1 / sqrt(2 * (1 + b->decay));
    return 0;
}

/* One block of the joint covariance: centred and scaled. */
static int place_block(const tp_batchnorm *layer, int first, int second, const double *k, double *joint,
                       ad_error *error)
{
    const tp_batch *a = &layer->side[first], *b = &layer->side[second];
    if (a->constant || b->constant)
        return 0;
    double *copy = ad_alloc(a->rows * b->rows, sizeof *copy, "batchnorm", error),
           factor = 1 / sqrt(a->scale * b->scale);
    if (!copy)
        return -1;
    memcpy(copy, k, a->rows * b->rows * sizeof *copy);
    tp_centre(a->rows, b->rows, copy);
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
static int keep_directions(tp_batchnorm *layer, const double *vectors, const double *values, double floor,
                           ad_error *error)
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
    tp_product(CblasTrans, CblasNoTrans, r, r, n, 1, f, f, 0, gram);
    if (tp_batchnorm_eigen(r, gram, values, error) < 0)
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
        tp_product(CblasNoTrans, CblasTrans, layer->total, r, r, 1, layer->f, gram, 0, layer->turned);
    ad_free(gram);
    return status;
}

static int factor_joint(tp_batchnorm *layer, const tp_batchnorm_spec *spec, ad_error *error)
{
    size_t n = layer->total;
    double *joint = ad_alloc(n * n + n, sizeof *joint, "batchnorm", error);
    if (!joint)
        return -1;
    double floor = fmax(layer->side[0].floor, layer->side[1].floor);
    int status = place_block(layer, 0, 0, spec->k11, joint, error);
    if (!status && !layer->one)
        status = place_block(layer, 0, 1, spec->k12, joint, error) < 0
                     ? -1
                     : place_block(layer, 1, 1, spec->k22, joint, error);
    if (!status)
        status = tp_batchnorm_eigen(n, joint, joint + n * n, error);
    if (!status && joint[n * n] < -1e-8 - floor)
        status = ad_fail(error, "batchnorm: the covariances of two batches do not fit together: eigenvalue %g",
                         joint[n * n]);
    if (!status)
        status = keep_directions(layer, joint, joint + n * n, floor, error);
    if (!status)
        status = find_ranks(layer, floor, error);
    ad_free(joint);
    return status;
}

/* E 1 / (rho1 rho2) is finite at epsilon = 0 if s and t, growing together or alone, leave det(I + 2 Omega D)^(-1/2)
 * integrable: ranks >= 2 and joint rank >= 3; of one batch, rank >= 3. */
static int check_finite(const tp_batchnorm *layer, const tp_batchnorm_spec *spec, ad_error *error)
{
    if (tp_batchnorm_stops(layer))
        return 0;
    size_t r1 = layer->side[0].rank, r2 = layer->side[1].rank, both = layer->joint_rank;
    bool free1 = spec->epsilon > 0, free2 = layer->one ? free1 : spec->epsilon2 > 0;
    if (!layer->backward || ((free1 || r1 >= 2) && (free2 || r2 >= 2) && (free1 || free2 || both >= 3)))
        return 0;
    if (layer->one)
        return ad_fail(error,
                       "batchnorm: the tangent kernel is infinite: at epsilon = 0 the centred batch needs rank 3 (or "
                       "1, through which nothing goes back), and has %zu (%zu samples)",
                       both, layer->side[0].rows);
    return ad_fail(error,
                   "batchnorm: the tangent kernel is infinite: at epsilon = 0 the centred batches need ranks 2 and 2, "
                   "together 3, and have %zu and %zu, together %zu",
                   r1, r2, both);
}

bool tp_batchnorm_stops(const tp_batchnorm *layer)
{
    bool stops = false;
    for (int i = 0; i < 2; i++)
        stops = stops || (!(layer->side[i].decay > 0) && layer->side[i].rank == 1);
    return stops;
}

int tp_batchnorm_rank(const tp_batchnorm *layer)
{
    size_t a = layer->side[0].rank, b = layer->side[1].rank;
    return (int)(a < b ? a : b);
}

bool tp_batchnorm_heavy(const tp_batchnorm *layer, size_t *rank)
{
    bool free1 = layer->side[0].decay > 0, free2 = layer->side[1].decay > 0;
    *rank = layer->joint_rank;
    return (!free1 && layer->side[0].rank < 3) || (!free2 && layer->side[1].rank < 3) ||
           (!free1 && !free2 && layer->joint_rank < 5);
}

/* ---- weights ---- */
double tp_batchnorm_log_det(const double *values, size_t n, double s)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += log1p(2 * s * values[k]);
    return -0.5 * sum;
}

double tp_batchnorm_log_weight(const tp_batchnorm *layer, const tp_node_line *at, size_t j)
{
    const tp_abscissa *p = &layer->points[j];
    return at->log_weight + p->log_weight + tp_batchnorm_log_det(at->nu, layer->rank, p->t) -
           p->t * layer->side[1].decay;
}

/* ---- a layer ---- */
static int prepare(tp_batchnorm *layer, const tp_batchnorm_spec *spec, ad_error *error)
{
    tp_batch *b = layer->side;
    layer->v = ad_alloc(b[0].rows * b[1].rows, sizeof *layer->v, "batchnorm", error);
    if (!layer->v || find_scale(&b[0], spec->k11, spec->epsilon, error) < 0)
        return -1;
    if (layer->one)
        b[1] = b[0];
    else if (find_scale(&b[1], spec->k22, spec->epsilon2, error) < 0)
        return -1;
    if (factor_joint(layer, spec, error) < 0 || check_finite(layer, spec, error) < 0)
        return -1;
    layer->backward = layer->backward && !tp_batchnorm_stops(layer);
    return 0;
}

static bool valid(double epsilon)
{
    return epsilon >= 0 && isfinite(epsilon);
}

tp_batchnorm *tp_batchnorm_factor(const tp_batchnorm_spec *spec, ad_error *error)
{
    if (!valid(spec->epsilon) || (spec->rows2 && !valid(spec->epsilon2))) {
        ad_fail(error, "batchnorm: epsilon must be a number >= 0, not %g",
                valid(spec->epsilon) ? spec->epsilon2 : spec->epsilon);
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
    layer->phi2 = spec->phi2;
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
