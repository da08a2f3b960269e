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
#include "autodiff/plan/plan.h"
#include "tp/batch/batchnorm_inside.h"

#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

static const double negligible = -39;    /* log of the weight, relative to the largest, of nodes that are left out */
static const double least_share = 1e-12; /* of the largest variance, that a direction must have */
static const double stands = 1e-10;      /* the step is halved until values move less */
enum { MOST_HALVINGS = 4 };

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
    tp_product(CblasTrans, CblasNoTrans, r, r, n, 1, f, f, 0, gram);
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
        tp_product(CblasNoTrans, CblasTrans, layer->total, r, r, 1, layer->f, gram, 0, layer->turned);
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
static int check_finite(const tp_batchnorm *layer, const tp_batchnorm_spec *spec, ad_error *error)
{
    size_t r1 = layer->side[0].rank, r2 = layer->side[1].rank, both = layer->joint_rank;
    bool free1 = spec->epsilon > 0, free2 = layer->one ? free1 : spec->epsilon2 > 0;
    if (!layer->backward || ((free1 || r1 >= 2) && (free2 || r2 >= 2) && (free1 || free2 || both >= 3)))
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

bool tp_batchnorm_heavy(const tp_batchnorm *layer, size_t *rank)
{
    bool free1 = layer->side[0].decay > 0, free2 = layer->side[1].decay > 0;
    *rank = layer->joint_rank;
    return (!free1 && layer->side[0].rank < 3) || (!free2 && layer->side[1].rank < 3) ||
           (!free1 && !free2 && layer->joint_rank < 5);
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
    const tp_batch *b = layer->side;
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
    const tp_batch *b = &layer->side[side], *other = &layer->side[!side];
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
    tp_abscissa *p = &layer->points[j];
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

double tp_batchnorm_log_weight(const tp_batchnorm *layer, const tp_node_line *at, size_t j)
{
    const tp_abscissa *p = &layer->points[j];
    return at->log_weight + p->log_weight + log_det(at->nu, layer->rank, p->t) - p->t * layer->side[1].decay;
}

/* L(s) and nu(s). gram is scratch (rank, rank). */
static int fill_line(const tp_batchnorm *layer, tp_node_line *at, size_t i, double h, double *whitened, double *gram,
                     ad_error *error)
{
    const tp_batch *b = layer->side;
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
    tp_product(CblasTrans, CblasNoTrans, r, r, layer->side[1].rows, 1, second, second, 0, gram);
    if (eigen(r, gram, at->nu, error) < 0)
        return -1;
    for (size_t k = 0; k < r; k++)
        if (k < r - layer->side[1].rank || at->nu[k] < 0)
            at->nu[k] = 0;
    tp_product(CblasNoTrans, CblasTrans, n, r, r, 1, whitened, gram, 0, at->l);
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
        tp_node_line *at = &layer->lines[i];
        status = fill_line(layer, at, i, h, scratch, scratch + layer->total * r, error);
        at->n = layer->n_points;
        while (!status && at->n && tp_batchnorm_log_weight(layer, at, at->n - 1) < least)
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

/* ---- a layer ---- */
static int integrate(tp_batchnorm *layer, double h, ad_error *error)
{
    int status = layer->one ? fill_rule_of_one(layer, h, error) : fill_rule_of_two(layer, h, error);
    return status ? -1 : tp_batchnorm_integrate(layer, error);
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
    return factor(layer, spec, error) < 0 || check_finite(layer, spec, error) < 0 ? -1 : 0;
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

tp_batchnorm *tp_batchnorm_new(const tp_batchnorm_spec *spec, ad_error *error)
{
    tp_batchnorm *layer = tp_batchnorm_factor(spec, error);
    if (!layer)
        return NULL;
    int threads = ad_blas_begin(1), status = choose_rule(layer, error);
    ad_blas_end(threads);
    if (!status)
        return layer;
    tp_batchnorm_free(layer);
    return NULL;
}

/* E |r_b| / rho = (2 / sqrt pi) int e^(-x^2 B epsilon) det(I + 2 x^2 Omega)^(-1/2) sqrt(2 A_bb(x^2) / pi) dx over
 * x = c sinh v > 0; the identity has mean 0. */
void tp_batchnorm_mean(const tp_batchnorm *layer, double *out)
{
    const double h = 0.03125, pi = 3.14159265358979323846;
    const tp_batch *b = layer->side;
    size_t n = b->rows, r = layer->rank;
    double weight = 1, slope = (layer->phi.above - layer->phi.below) / 2;
    memset(out, 0, n * sizeof *out);
    for (size_t j = 0; weight > 1e-18; j++) {
        double v = (double)j * h, s = pow(b->c * sinh(v), 2);
        weight = 2 / sqrt(pi) * b->c * cosh(v) * h * (j ? 1 : 0.5) * exp(log_det(layer->lambda, r, s) - s * b->decay);
        for (size_t i = 0; i < n; i++) {
            double a = 0;
            for (size_t k = 0; k < r; k++)
                a += pow(layer->f[i * r + k], 2) / (1 + 2 * s * layer->lambda[k]);
            out[i] += slope * sqrt((double)n) * weight * sqrt(2 * a / pi);
        }
        weight /= sqrt(1 + s);
    }
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
