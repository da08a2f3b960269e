/* tower.c: K_0 = x x' / d, Sigma_l = sigma^2 K_(l-1), K_l = V(Sigma_l); with c = 1 or sigma (THEORY section 2)
 * Theta_0 = c^2 K_0, Theta_l = c^2 K_l + sigma^2 T_l*(Theta_(l-1)). Blocks: 0 the first batch, 1 the second, 2
 * between. */
#include "tests/support/tower.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

typedef struct {
    const tower_net *net;
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

/* c = factor a b', a (m, k), b (n, k) */
static void gram(size_t m, size_t n, size_t k, double factor, const double *a, const double *b, double beta, double *c)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, factor, a, (int)k, b, (int)k, beta, c,
                (int)n);
}

static int input_covariances(tower *t, const double *x, const double *x2, size_t features, ad_error *error)
{
    size_t m = t->rows[0], n = t->rows[1];
    double *memory = ad_alloc((m + n) * features, sizeof *memory, "batchnorm", error);
    if (!memory)
        return -1;
    double *second = memory + m * features;
    shift(m, features, x, memory);
    double factor = 1 / (double)features;
    gram(m, m, features, factor, memory, memory, 0, t->k[0]);
    if (!t->one) {
        shift(n, features, x2, second);
        gram(n, n, features, factor, second, second, 0, t->k[1]);
        gram(m, n, features, factor, memory, second, 0, t->k[2]);
    }
    ad_free(memory);
    return 0;
}

static tp_batchnorm *layer_of(const tower *t, int block, ad_error *error)
{
    tp_batchnorm_spec spec = { .rows = t->rows[block == 1],
                               .k11 = t->k[block == 1],
                               .epsilon = t->net->epsilon,
                               .epsilon2 = t->net->epsilon,
                               .phi = t->net->phi,
                               .phi2 = t->net->phi };
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

int tower_kernels(const tower_net *net, const double *x, size_t rows, const double *x2, size_t rows2, size_t features,
                  double *nngp, double *ntk, double *difference, ad_error *error)
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
