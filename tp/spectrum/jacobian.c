/* jacobian.c: products with a Jacobian as vectors of the trace, and their mean squares in the limit.
 *
 * J' t is the backward pass from t. It is linear in t, and so the derivative of <J' t, w> by t is J w: a backward pass
 * of the backward pass (Pearlmutter, 1994). With u of independent N(0, 1) coordinates and t_j = (J J')^j u,
 *   m_2j = |t_j|^2 / n,   m_2j+1 = |J' t_j|^2 / n,
 * which the Master theorem's general rule knows (Tensor Programs III, arXiv:2009.10685): J J' u uses every matrix with
 * its transpose. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"
#include "tp/executor/executor.h"
#include "tp/recursion/recursion.h"
#include "tp/spectrum/inside.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* J' of a vector like `to`, and J of one like `from`, in the place of which others are put. */
typedef struct {
    ad_var cotangent, tangent, transposed, forward;
} products;

static ad_var spread(ad_var x, const ad_shape *shape)
{
    return ad_transpose(ad_expand(x, *shape), *shape);
}

static int add_products(ad_graph *graph, nn_net *net, const tp_vectors *between, products *p)
{
    int first = ad_graph_size(graph);
    p->cotangent = ad_input(graph, nn_name(net, "a cotangent %d", first), *ad_shape_get(between->to));
    p->tangent = ad_input(graph, nn_name(net, "a tangent %d", first), *ad_shape_get(between->from));
    if (ad_backward(between->to, p->cotangent, &between->from, 1, &p->transposed, NULL) < 0 ||
        ad_backward(p->transposed, p->tangent, &p->cotangent, 1, &p->forward, NULL) < 0)
        return -1;
    return 0;
}

int tp_jacobian_vectors(tp_program *program, const tp_vectors *between, int count, ad_var *vectors, ad_error *error)
{
    ad_graph *graph = program->graph;
    ad_mark before = nn_growth_begin(program->net);
    const ad_shape *to = ad_shape_get(between->to);
    ad_shape own = { 0 };
    products p;
    for (int i = 0; i < to->rank; i++)
        if (tp_is_width(graph, to->axes[i]))
            own.axes[own.rank++] = to->axes[i];
    ad_var u = ad_param(graph, nn_name(program->net, "a direction %d", ad_graph_size(graph)), own,
                        (ad_init){ .deviation = 1, .multiplier = 1 });
    ad_var at = spread(u, to);
    if (!add_products(graph, program->net, between, &p))
        for (int k = 0; k < count; k++) {
            at =
                k % 2 == 0 ? ad_replace(p.transposed, &p.cotangent, &at, 1) : ad_replace(p.forward, &p.tangent, &at, 1);
            vectors[k] = at;
        }
    return nn_growth_end(program->net, before, "spectrum", error);
}

static double ratio_of(const tp_program *program, ad_var v)
{
    const ad_shape *shape = ad_shape_get(v);
    for (int i = 0; i < shape->rank; i++)
        if (tp_is_width(program->graph, shape->axes[i]))
            return ad_axis_ratio(program->graph, shape->axes[i]);
    return 1;
}

/* What a mean square is times to be the moment, but for powers of n. */
static double factor_of(const tp_program *program, const tp_vectors *between, int k)
{
    double widths = k % 2 == 0 ? ratio_of(program, between->from) / ratio_of(program, between->to) : 1;
    return pow(between->scale, 2 * (k + 1)) * widths;
}

/* By the exact engine's general rule: as many moments as it has a rule for; returns how many. */
static int find_exactly(const tp_program *view, const tp_vectors *between, const double *x, int count, tp_spectrum *s,
                        ad_error *refusal)
{
    for (int k = 0; k < count; k++) {
        tp_program one = *view;
        tp_kernel kernel = { 0 };
        tp_limit_spec spec = { 0 };
        one.output = view->sites[k].delta;
        one.n_sites = 0;
        int status = tp_limit_exact(&one, TP_NNGP, x, 1, NULL, 0, &spec, TP_RULES_GENERAL, &kernel, NULL, refusal);
        double power = 2 * (k + 1) * between->power;
        if (!status && (kernel.n_terms != 1 || fabs(kernel.terms[0].power + power) > 1e-9))
            status = ad_fail(refusal, "moment %d goes like a power of n", k + 1);
        if (!status) {
            s->moments[k] = kernel.terms[0].values[0] * factor_of(view, between, k);
            s->errors[k] = fabs(s->moments[k]) * fmax(kernel.error, 4 * DBL_EPSILON);
        }
        tp_kernel_free(&kernel);
        if (status)
            return k;
    }
    return count;
}

/* One run's moments. */
static int sample_once(const tp_program *view, const tp_vectors *between, const double *x, size_t samples, uint64_t run,
                       const tp_spectrum_spec *spec, double *moments, ad_error *error)
{
    if (tp_sample_squares(view, samples, spec->seed + run, spec->threads, x, 1, moments, error))
        return -1;
    for (int k = 0; k < view->n_sites; k++)
        moments[k] *= factor_of(view, between, k) * pow((double)samples, 2 * (k + 1) * between->power);
    return 0;
}

enum { POWER_RUNS = 3 };
/* -1 where the mean square goes like a power of the width, as samples at a half of them show: one pair of runs knows it
 * to a few times their spread. */
static int check_power(const tp_program *view, const tp_vectors *between, const double *x, size_t samples,
                       const tp_spectrum_spec *spec, double mean, ad_error *error)
{
    double one[TP_SPECTRUM_MOMENTS], half = 0;
    for (uint64_t run = 1; run <= POWER_RUNS; run++) {
        if (sample_once(view, between, x, samples / 2, run, spec, one, error))
            return -1;
        half += one[0] / POWER_RUNS;
    }
    double power = half > 0 && mean > 0 ? log2(mean / half) : 0;
    if (fabs(power) < 0.25)
        return 0;
    return ad_fail(error,
                   "spectrum: J J' goes like n^%.2g: it has no limit in this parametrization, or needs more samples",
                   round(2 * power) / 2);
}

/* How many moments, from the first on, differ from run to run by less than they are. */
static int count_known(const tp_spectrum *s, const double *deviations, int count)
{
    int known = 0;
    while (known < count && isfinite(s->moments[known]) && !(deviations[known] > 0.7 * s->moments[known]))
        known++;
    return known;
}

/* By the executor's runs: means and standard errors. */
static int find_by_samples(const tp_program *view, const tp_vectors *between, const double *x,
                           const tp_spectrum_spec *spec, tp_spectrum *s, ad_error *error)
{
    enum { SAMPLES = 4096, RUNS = 8 };
    size_t samples = spec->samples ? spec->samples : SAMPLES;
    int runs = spec->runs > 1 ? spec->runs : RUNS, count = view->n_sites;
    double one[TP_SPECTRUM_MOMENTS], squares[TP_SPECTRUM_MOMENTS] = { 0 }, all = runs + POWER_RUNS / 2.0;
    memset(s->moments, 0, sizeof s->moments);
    for (int run = 1; run <= runs; run++) {
        if (sample_once(view, between, x, samples, (uint64_t)run, spec, one, error))
            return -1;
        ad_add_run(one, 1, (size_t)count, run, s->moments, squares);
        if (spec->progress)
            spec->progress(run / all, spec->context);
    }
    ad_standard_errors(squares, (size_t)count, runs);
    for (int k = 0; k < count; k++) {
        s->errors[k] = fmax(squares[k], sqrt((double)samples) * DBL_EPSILON * s->moments[k]);
        squares[k] *= sqrt(runs);
    }
    s->n_moments = count_known(s, squares, count);
    if (s->n_moments == 0)
        return ad_fail(error,
                       "spectrum: the sampled moment 1 differs from run to run by as much as it is: it needs more "
                       "samples, or is random in the limit");
    if (check_power(view, between, x, samples, spec, s->moments[0], error))
        return -1;
    int length =
        snprintf(s->method, sizeof s->method, "moments sampled at n = infinity: %d runs of %zu samples", runs, samples);
    if (s->n_moments < count)
        snprintf(s->method + length, sizeof s->method - (size_t)length,
                 "; m_%d differs from run to run by as much as it is, and needs more samples", s->n_moments + 1);
    return 0;
}

/* 1 where a matrix starts orthogonal, of which the executor alone has a rule; *refusal names it. -1 where not even it
 * has one. */
static int find_orthogonal(const tp_program *view, ad_error *refusal, ad_error *error)
{
    for (int id = 0; id < view->n_nodes; id++) {
        const ad_node *node = ad_node_of(view->graph, id);
        if (!view->lives[id] || node->op != AD_PARAM || !node->init->orthogonal)
            continue;
        ad_fail(refusal, "%s:%d: %.80s starts orthogonal, and is no factor of a chain here",
                tp_short_file(node->where.file), node->where.line, node->name);
        return tp_check_square(view, error) ? -1 : 1;
    }
    return 0;
}

int tp_jacobian_moments(tp_program *program, const tp_vectors *between, const double *x, const tp_spectrum_spec *spec,
                        tp_spectrum *s, ad_error *error)
{
    ad_var vectors[TP_SPECTRUM_MOMENTS] = { 0 };
    tp_program view;
    ad_error refusal = { 0 };
    s->n_moments = spec->moments;
    if (tp_jacobian_vectors(program, between, spec->moments, vectors, error) ||
        tp_view_of(program, vectors, spec->moments, &view, error))
        return -1;
    int orthogonal = find_orthogonal(&view, &refusal, error), status = orthogonal < 0 ? -1 : 0, exact = 0;
    bool asks = spec->engine != TP_ENGINE_SAMPLE && !orthogonal;
    if (!status && asks)
        exact = find_exactly(&view, between, x, spec->moments, s, &refusal);
    if (!status && exact == spec->moments)
        snprintf(s->method, sizeof s->method, "moments by the exact engine's general rule");
    else if (!status && spec->engine == TP_ENGINE_EXACT)
        status = ad_fail(error, "spectrum: no exact rule for moment %d: %.400s", exact + 1, refusal.text);
    else if (!status)
        status = find_by_samples(&view, between, x, spec, s, error);
    ad_arena_free(view.arena);
    return status;
}
