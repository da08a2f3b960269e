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
#include "tp/batch/batchnorm_factor.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

static const double negligible = -39; /* log of the weight, relative to the largest, of nodes that are left out */
static const double stands = 1e-10;   /* the step is halved until values move less */
enum { MAX_HALVINGS = 4 };

/* ---- the rule ---- */
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
        drop = high - middle + tp_batchnorm_log_det(layer->lambda, layer->rank, s) - s * b->decay +
               forward_decay(layer, s);
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
        alone = log(cosh(v)) + tp_batchnorm_log_det(layer->mu[side], layer->rank, s) - s * b->decay + half;
        together = 2 * log(cosh(v)) + tp_batchnorm_log_det(layer->lambda, layer->rank, fmin(s, t)) - s * b->decay -
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
                     tp_batchnorm_log_det(layer->mu[0], r, at->s) - at->s * b->decay;
    for (size_t k = 0; k < r; k++)
        for (size_t j = 0; j < n; j++)
            whitened[j * r + k] = layer->turned[j * r + k] / sqrt(1 + 2 * at->s * layer->mu[0][k]);
    const double *second = whitened + b->rows * r;
    tp_product(CblasTrans, CblasNoTrans, r, r, layer->side[1].rows, 1, second, second, 0, gram);
    if (tp_batchnorm_eigen(r, gram, at->nu, error) < 0)
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
    double minimum = negligible + log(layer->side[0].c * layer->side[1].c);
    for (size_t i = 0; i < n_lines && !status; i++) {
        tp_node_line *at = &layer->lines[i];
        status = fill_line(layer, at, i, h, scratch, scratch + layer->total * r, error);
        at->n = layer->n_points;
        while (!status && at->n && tp_batchnorm_log_weight(layer, at, at->n - 1) < minimum)
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
    for (int k = 0; k < MAX_HALVINGS && !status && layer->difference > stands; k++)
        status = integrate(layer, h = h / 2, error);
    if (!status && !(layer->difference < 1e-6))
        return ad_fail(error, "batchnorm: the quadrature does not converge: the last halving moved it by %g",
                       layer->difference);
    return status;
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
        weight = 2 / sqrt(pi) * b->c * cosh(v) * h * (j ? 1 : 0.5) *
                 exp(tp_batchnorm_log_det(layer->lambda, r, s) - s * b->decay);
        for (size_t i = 0; i < n; i++) {
            double a = 0;
            for (size_t k = 0; k < r; k++)
                a += pow(layer->f[i * r + k], 2) / (1 + 2 * s * layer->lambda[k]);
            out[i] += slope * sqrt((double)n) * weight * sqrt(2 * a / pi);
        }
        weight /= sqrt(1 + s);
    }
}

const double *tp_batchnorm_forward(const tp_batchnorm *layer)
{
    return layer->v;
}

double tp_batchnorm_difference(const tp_batchnorm *layer)
{
    return layer->difference;
}

double tp_batchnorm_rounding(const tp_batchnorm *layer)
{
    return fmax(layer->side[0].noise, layer->side[1].noise);
}
