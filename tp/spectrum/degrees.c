/* degrees.c: the eigenvalues of a kernel of x . y / d, by degree.
 *
 * On the sphere |x|^2 = d they are means of kappa(t) P_k(t) over the law of a coordinate, (1 - t^2)^((d-3)/2) (Funk and
 * Hecke), P_k Gegenbauer's polynomial with P_k(1) = 1; on the cube {-1, 1}^d, of kappa(1 - 2j/d) p_k(j) over the
 * binomial law of j, p_k Krawtchouk's with p_k(0) = 1 (Yang and Salman, arXiv:1907.10599). No weight is negative and no
 * polynomial larger than 1, so an error of kappa is at most one of an eigenvalue. */
#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"
#include "nn/network/network.h"
#include "tp/spectrum/inside.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { PANELS = 16, NODES = 12, SPHERE = PANELS * NODES };
static const double pi = 3.14159265358979323846;

/* ---- is it a kernel of x . y? ---- */
static bool has_features(const ad_graph *graph, const ad_node *input, const ad_node *node, const nn_net *net)
{
    for (int i = 0; i < input->shape.rank; i++)
        if (!ad_same(input->shape.axes[i], nn_batch(net)) && ad_has(&node->shape, input->shape.axes[i]))
            return true;
    (void)graph;
    return false;
}

/* Features meet nothing but sums over all of them with entries of one parameter, whose law knows no direction. */
static int check_rotations(const tp_program *program, ad_error *error)
{
    const ad_graph *graph = program->graph;
    const ad_node *input = NULL;
    for (int id = 0; id < program->forward; id++)
        if (program->lives[id] && ad_node_of(graph, id)->op == AD_INPUT)
            input = ad_node_of(graph, id);
    for (int id = 0; id < program->forward && input; id++) {
        const ad_node *node = ad_node_of(graph, id);
        bool reads = false, summed = true, fits = true;
        for (int k = 0; program->lives[id] && k < node->n_in; k++)
            reads = reads || (program->data[node->in[k]] &&
                              has_features(graph, input, ad_node_of(graph, node->in[k]), program->net));
        if (!reads)
            continue;
        summed = !has_features(graph, input, node, program->net);
        if (node->op == AD_CONTRACT) {
            int param = program->data[node->in[0]] ? program->params[node->in[1]] : program->params[node->in[0]];
            const ad_init *init = param >= 0 ? ad_node_of(graph, param)->init : NULL;
            fits = summed && init && !(fabs(init->mean) > 0) && !init->orthogonal &&
                   !(program->data[node->in[0]] && program->data[node->in[1]]);
        } else {
            fits = !summed && (node->op == AD_NEG || node->op == AD_IDENTITY ||
                               (node->op == AD_SCALE && !ad_same(node->axis, nn_batch(program->net))));
        }
        if (!fits || input->shape.rank != 2)
            return ad_fail(error,
                           "%s:%d: %s: features meet more than one layer's weights here: the kernel is none of x . y "
                           "alone, which eigenvalues by degree are of",
                           tp_short_file(node->where.file), node->where.line, ad_op_name(node->op));
    }
    return 0;
}

/* ---- the kernel along a great circle ---- */
static void lay_sphere(double d, double *t, double *weights)
{
    double x[NODES], w[NODES], all = 0, reach = fmin(pi / 2, 12 / sqrt(d));
    tp_legendre(NODES, x, w);
    for (int i = 0; i < SPHERE; i++) {
        double angle = pi / 2 + reach * ((2.0 * (i / NODES) + 1 + x[i % NODES]) / PANELS - 1);
        t[i] = cos(angle);
        weights[i] = w[i % NODES] * exp((d - 2) * log(sin(angle)));
        all += weights[i];
    }
    for (int i = 0; i < SPHERE; i++)
        weights[i] /= all;
}

static void lay_cube(size_t d, double *t, double *weights)
{
    double n = (double)d;
    for (size_t j = 0; j <= d; j++) {
        double k = (double)j;
        t[j] = 1 - 2 * k / n;
        weights[j] = exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2));
    }
}

/* kappa at points, and a bound on its errors. */
static int find_kernel(tp_program *program, tp_kernel_kind which, size_t n, const double *t, double *kappa,
                       double *bound, ad_error *error)
{
    size_t d = nn_features(program->net);
    double *x = ad_alloc((n + 1) * d, sizeof *x, "inputs", error), root = sqrt((double)d);
    tp_kernel kernel = { 0 };
    int status = x ? 0 : -1;
    for (size_t i = 0; i <= n && x; i++) {
        double cosine = i ? t[i - 1] : 1;
        memset(x + i * d, 0, d * sizeof *x);
        x[i * d] = root * cosine;
        x[i * d + 1] = root * sqrt(fmax(0, 1 - cosine * cosine));
    }
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
    if (!status)
        status = tp_limit(program, which, x, 1, x, n + 1, &spec, &kernel, error);
    if (!status && (kernel.n_terms != 1 || fabs(kernel.terms[0].power) > 1e-9))
        status = ad_fail(error, "spectrum: the kernel goes like a power of n: no eigenvalues in the limit");
    if (!status) {
        memcpy(kappa, kernel.terms[0].values + 1, n * sizeof *kappa);
        *bound = fmax(kernel.error, 8 * DBL_EPSILON) * fabs(kernel.terms[0].values[0]);
    }
    tp_kernel_free(&kernel);
    ad_free(x);
    return status;
}

/* sum weights kappa P_k for k below count; P_{k+1} = (a t P_k - b P_{k-1}), on either domain. */
static void project(size_t n, const double *t, const double *weights, const double *kappa, double d, bool cube,
                    int count, double *out)
{
    for (int k = 0; k < count; k++)
        out[k] = 0;
    for (size_t i = 0; i < n; i++) {
        double before = 1, p = t[i];
        for (int k = 0; k < count; k++) {
            double now = k == 0 ? 1 : p;
            out[k] += weights[i] * kappa[i] * now;
            if (k == 0)
                continue;
            double next =
                cube ? (d * t[i] * p - k * before) / (d - k) : ((2 * k + d - 2) * t[i] * p - k * before) / (k + d - 2);
            before = p;
            p = cube && k >= d ? 0 : next;
        }
    }
}

static double choose(double n, double k)
{
    return k < 0 || k > n ? 0 : round(exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) * 1e6) / 1e6;
}

int tp_degrees_find(tp_program *program, tp_kernel_kind which, int count, tp_degree *degrees, ad_error *error)
{
    double bound, sphere[TP_DEGREES], cube[TP_DEGREES];
    if (!program)
        return ad_fail(error, "spectrum: no program (NULL)");
    size_t features = nn_features(program->net), points = SPHERE + features + 1;
    if (count < 1 || count > TP_DEGREES)
        return ad_fail(error, "spectrum: %d degrees: from 1 to %d", count, (int)TP_DEGREES);
    if (features < 2)
        return ad_fail(error, "spectrum: a sphere of %zu features has no degrees: two or more", features);
    if (program->coupled)
        return ad_fail(error, "spectrum: the samples of a batch meet in this network: it has no kernel of two inputs");
    if (check_rotations(program, error))
        return -1;
    double *t = ad_alloc(3 * points, sizeof *t, "a kernel", error);
    if (!t)
        return -1;
    double *kappa = t + points, *weights = kappa + points;
    lay_sphere((double)features, t, weights);
    lay_cube(features, t + SPHERE, weights + SPHERE);
    int status = find_kernel(program, which, points, t, kappa, &bound, error);
    if (!status) {
        double d = (double)features;
        project(SPHERE, t, weights, kappa, d, false, count, sphere);
        project(features + 1, t + SPHERE, weights + SPHERE, kappa + SPHERE, d, true, count, cube);
        for (int k = 0; k < count; k++)
            degrees[k] = (tp_degree){ .sphere = sphere[k],
                                      .cube = k <= d ? cube[k] : 0,
                                      .error = bound,
                                      .on_sphere = choose(d + k - 1, k) - choose(d + k - 3, k - 2),
                                      .on_cube = choose(d, k) };
    }
    ad_free(t);
    return status;
}
