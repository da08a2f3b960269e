/* spectrum.c: the door: the spectrum of a Jacobian, as a chain's or by its moments alone. */
#include "autodiff/base/base.h"
#include "tp/spectrum/streams.h"

#include <math.h>
#include <string.h>

enum { MOMENTS = 4, POINTS = 400 };

static int check_arguments(const tp_program *program, const double *x, const tp_spectrum_spec *spec, ad_error *error)
{
    if (!program)
        return ad_fail(error, "spectrum: no program (NULL)");
    if (!x)
        return ad_fail(error, "spectrum: no input (NULL)");
    for (size_t i = 0; i < nn_features(program->net); i++)
        if (!isfinite(x[i]))
            return ad_fail(error, "spectrum: feature %zu of the input is %g", i, x[i]);
    if (spec->moments < 0 || spec->moments > TP_SPECTRUM_MOMENTS)
        return ad_fail(error, "spectrum: %d moments: from 1 to %d", spec->moments, (int)TP_SPECTRUM_MOMENTS);
    if (spec->points && spec->points < 16)
        return ad_fail(error, "spectrum: %zu points are too few for a density", spec->points);
    return 0;
}

static int chain_moments(const tp_chain *chain, int count, tp_spectrum *s, ad_error *error)
{
    s->n_moments = count;
    if (tp_chain_moments(chain, count, s->moments, error))
        return -1;
    for (int k = 0; k < count; k++)
        s->errors[k] = fmax(1e-13, 1e-14 * chain->n) * s->moments[k] * (k + 1); /* roundings of every factor's law */
    return 0;
}

static void tell_chain(const tp_chain *chain, const char *density, const char *why, tp_spectrum *s)
{
    ad_snprintf(s->method, sizeof s->method, "a chain of %d free factor%s: moments by the series of its equation%s%s",
                chain->n, chain->n == 1 ? "" : "s", density, why);
}

/* Moments, density and atoms of a chain. */
static int solve_chain(const tp_chain *chain, const tp_spectrum_spec *spec, tp_spectrum *s, ad_error *error)
{
    ad_error refusal = { 0 };
    if (chain_moments(chain, spec->moments, s, error))
        return -1;
    tell_chain(chain, ", density by Newton's method along lambda", "", s);
    if (tp_chain_density(chain, spec->points, s, &refusal)) {
        tp_spectrum_free(s);
        if (chain_moments(chain, spec->moments, s, error))
            return -1;
        tell_chain(chain, "; no density: ", refusal.text, s);
    }
    return 0;
}

/* Of sums: moments are known; appends to the method the density, or why there is none. */
static void solve_streams(tp_program *program, const tp_vectors *between, const double *x, size_t points,
                          const char *no_chain, tp_spectrum *s)
{
    tp_streams streams;
    ad_error refusal = { 0 };
    double off = 0;
    size_t length = strlen(s->method);
    if (tp_trace_streams(program, between, x, &streams, &refusal) == 0) {
        tp_stream_density(&streams, points, s, &off, &refusal);
        tp_streams_free(&streams);
    }
    if (s->has_law)
        snprintf(s->method + length, sizeof s->method - length,
                 "; density of sums by operator-valued free probability, whose moments are within %.0e of these", off);
    else
        ad_snprintf(s->method + length, sizeof s->method - length, "; no density: %s",
                    *refusal.text ? refusal.text : no_chain);
}

static int find(tp_program *program, const double *x, const tp_spectrum_spec *spec, tp_spectrum *s, ad_error *error)
{
    tp_vectors between;
    tp_chain chain;
    ad_error refusal = { 0 };
    if (tp_find_vectors(program, spec->from, spec->to, &between, error))
        return -1;
    if (spec->engine != TP_ENGINE_SAMPLE && tp_trace_chain(program, &between, x, &chain, &refusal) == 0) {
        int status = solve_chain(&chain, spec, s, error);
        tp_chain_free(&chain);
        return status;
    }
    if (tp_jacobian_moments(program, &between, x, spec, s, error)) {
        tp_spectrum_free(s);
        return -1;
    }
    if (!(s->moments[0] > 0)) {
        tp_spectrum_free(s);
        return ad_fail(error, "%s", *refusal.text ? refusal.text : "spectrum: the Jacobian is 0 in the limit");
    }
    if (*refusal.text)
        solve_streams(program, &between, x, spec->points, refusal.text, s);
    return 0;
}

int tp_spectrum_find(tp_program *program, const double *x, const tp_spectrum_spec *given, tp_spectrum *s,
                     ad_error *error)
{
    tp_spectrum_spec spec = given ? *given : (tp_spectrum_spec){ 0 };
    memset(s, 0, sizeof *s);
    if (check_arguments(program, x, &spec, error))
        return -1;
    spec.moments = spec.moments ? spec.moments : MOMENTS;
    spec.points = spec.points ? spec.points : POINTS;
    int before = ad_blas_begin(spec.threads), status = find(program, x, &spec, s, error);
    ad_blas_end(before);
    return status;
}

int tp_spectrum_print(tp_program *program, const double *x, const char *from, const char *to, FILE *stream,
                      ad_error *error)
{
    tp_vectors between;
    tp_chain chain;
    if (check_arguments(program, x, &(tp_spectrum_spec){ 0 }, error) ||
        tp_find_vectors(program, from, to, &between, error) || tp_trace_chain(program, &between, x, &chain, error))
        return -1;
    int status = tp_chain_print(&chain, stream, error);
    tp_chain_free(&chain);
    return status;
}
