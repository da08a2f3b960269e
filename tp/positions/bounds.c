/* bounds.c: how far the arrays of a plan may be off: roundings and series, and what later steps make of them. */
#include "tp/positions/inside.h"

#include <float.h>

/* By how much more an expectation's relative error is than its correlation's, and than its variance's, at any of these
 * variances: q E f'^2 / E f^2, and the logarithmic slope of E f^2. */
typedef struct {
    double slope, gain;
} sensitivity;

static double second_moment(const tp_univariate *u, double q)
{
    double value = 0;
    ad_error ignored = { 0 };
    return tp_quadrature(u, u, q, q, q, &value, NULL, &ignored) ? (double)NAN : value;
}

static double gain_at(const tp_univariate *u, double q)
{
    const double step = 1e-3;
    double rise = log(second_moment(u, q * (1 + step)) / second_moment(u, q)) / log1p(step);
    return isfinite(rise) ? fabs(rise) : INFINITY;
}

static sensitivity sensitivity_of(const tp_univariate *u, const tp_field_variance *v, const size_t rows[2])
{
    double least = INFINITY, most = 0;
    if (tp_is_piecewise(u))
        return (sensitivity){ 1, 1 };
    for (int set = 0; set < 2; set++)
        for (size_t i = 0; v->values[set] && i < v->points * rows[set]; i++) {
            double q = v->values[set][i];
            least = q > 0 && q < least ? q : least;
            most = q > most ? q : most;
        }
    if (!(most > 0))
        return (sensitivity){ 1, 1 };
    return (sensitivity){ fmax(tp_near_slope(u, least), tp_near_slope(u, most)),
                          1.1 * fmax(gain_at(u, least), gain_at(u, most)) };
}

static double local_error(const tp_univariate *f, const tp_univariate *g)
{
    return tp_has_closed(f, g) ? 16 * DBL_EPSILON : 3e-13;
}

/* Of E f g, given the errors of covariance and variances. */
static double expectation_error(const tp_univariate *f, const tp_univariate *g, sensitivity by, double covariance,
                                double variances, const tp_field_seen *seen)
{
    const double pi = 3.14159265358979323846;
    double local = local_error(f, g), off = covariance + variances;
    tp_piecewise bend;
    bool jumps = (tp_piecewise_of(f, &bend) && bend.degree == 0) || (f->n_kinks > 0 && !tp_is_piecewise(f));
    if (!jumps)
        return local + by.slope * off + by.gain * variances;
    /* the slope of a jump's correlation is 1 / sqrt(1 - c^2) / pi, infinite at 1 */
    double gap = 1 - seen->most, error = gap > off ? off / (pi * sqrt(gap)) : sqrt(2 * off);
    return local + 2 * error + (seen->on_line ? 2 * sqrt(2 * (off + TP_ON_LINE)) / pi : 0);
}

static sensitivity larger(sensitivity a, sensitivity b)
{
    return (sensitivity){ fmax(a.slope, b.slope), fmax(a.gain, b.gain) };
}

void tp_bound_fields(const tp_field_plan *p, const double *single, const tp_field_seen *seen, const size_t rows[2],
                     double *errors)
{
    const tp_field_plan *owner = p->single ? p->single : p;
    for (int i = 0; i < p->n_arrays; i++)
        errors[i] = 0;
    for (int i = 0; i < p->n_steps; i++) {
        const tp_field_step *s = &p->steps[i];
        double *out = s->out < 0 ? NULL : &errors[s->out];
        if (s->kind == TP_DATA)
            *out = (2 + (double)s->map.fan) * DBL_EPSILON;
        for (int k = 0; k < s->n_parts; k++)
            *out = fmax(*out, errors[s->part[k].in] + (2 + (double)s->part[k].map.fan) * DBL_EPSILON);
        if (s->kind == TP_APPLY)
            *out = fabs(s->exponent) * errors[s->in] + 8 * DBL_EPSILON;
        if (s->kind == TP_WEIGH) {
            const double *weights = single ? single : errors;
            *out = errors[s->in] + 4 * DBL_EPSILON;
            for (int side = 0; side < 2; side++) {
                int w = side ? s->weight2 : s->weight;
                *out += w < 0 ? 0 : weights[owner->fields[owner->weights[w].field].array];
            }
        }
        if (s->kind != TP_EXPECT)
            continue;
        const tp_field_variance *v = &owner->variances[s->variance], *w = &owner->variances[s->variance2];
        const double *of = single ? single : errors;
        double variances = fmax(of[owner->fields[v->field].array], of[owner->fields[w->field].array]);
        const tp_univariate *f = &p->functions[s->f].u, *g = &p->functions[s->g].u;
        sensitivity by = larger(sensitivity_of(f, v, rows), sensitivity_of(g, w, rows));
        bool itself = !single && s->variance == s->variance2 && s->f == s->g && s->pairs.first == s->pairs.second;
        if (out) /* E f^2 goes by the variance alone */
            *out = itself ? local_error(f, g) + by.gain * variances
                          : expectation_error(f, g, by, errors[s->in], variances, &seen[i]);
        if (s->tangent_out < 0)
            continue;
        f = &p->functions[s->df].u;
        g = &p->functions[s->dg].u;
        by = larger(sensitivity_of(f, v, rows), sensitivity_of(g, w, rows));
        errors[s->tangent_out] = errors[s->tangent] + expectation_error(f, g, by, errors[s->in], variances, &seen[i]);
    }
}
