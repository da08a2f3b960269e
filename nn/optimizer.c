/* optimizer.c: one loop over all parameters.
 *
 * SGD        w -= r g
 * momentum   v = mu v + g;  w -= r v
 * Adam       m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= r mh / (sqrt(vh) + eps),
 *            mh = m / (1 - b1^t), vh = v / (1 - b2^t)
 * r is the rate times the parameter's own scale c n^p. */
#include "nn/inside.h"

#include <math.h>

/* Neighbouring parameters of the same rate make one span. */
typedef struct {
    size_t first, count;
    double scale;
} span;

struct nn_rule {
    nn_optimizer kind;
    ad_type type;
    double rate, momentum, beta1, beta2, epsilon;
    size_t count;
    span *spans;
    int n_spans, n_states;
    void *states[2];
    long time;
};

/* The loops, written once for float and double. */
#define LOOPS(real, root)                                                                                              \
    static void sgd_##real(size_t n, real r, const real *restrict g, real *restrict w)                                 \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            w[i] -= r * g[i];                                                                                          \
    }                                                                                                                  \
    static void momentum_##real(size_t n, real r, real mu, const real *restrict g, real *restrict v, real *restrict w) \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            v[i] = mu * v[i] + g[i];                                                                                   \
            w[i] -= r * v[i];                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void adam_##real(size_t n, real r, real b1, real b2, real unbias, real epsilon, const real *restrict g,     \
                            real *restrict m, real *restrict v, real *restrict w)                                      \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            m[i] = b1 * m[i] + (1 - b1) * g[i];                                                                        \
            v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];                                                                 \
            w[i] -= r * m[i] / (root(v[i]) * unbias + epsilon);                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    static void step_##real(nn_rule *rule, real *values, const real *gradients)                                        \
    {                                                                                                                  \
        real *first = rule->states[0], *second = rule->states[1];                                                      \
        double t = (double)rule->time;                                                                                 \
        for (int k = 0; k < rule->n_spans; k++) {                                                                      \
            size_t at = rule->spans[k].first, n = rule->spans[k].count;                                                \
            double rate = rule->rate * rule->spans[k].scale;                                                           \
            if (rule->kind == NN_SGD)                                                                                  \
                sgd_##real(n, (real)rate, gradients + at, values + at);                                                \
            else if (rule->kind == NN_MOMENTUM)                                                                        \
                momentum_##real(n, (real)rate, (real)rule->momentum, gradients + at, first + at, values + at);         \
            else                                                                                                       \
                adam_##real(n, (real)(rate / (1 - pow(rule->beta1, t))), (real)rule->beta1, (real)rule->beta2,         \
                            (real)(1 / sqrt(1 - pow(rule->beta2, t))), (real)rule->epsilon, gradients + at,            \
                            first + at, second + at, values + at);                                                     \
        }                                                                                                              \
    }
LOOPS(float, sqrtf)
LOOPS(double, sqrt)

nn_rule *nn_rule_new(const nn_model *model, const nn_fit_spec *spec, ad_error *error)
{
    const nn_net *net = model->net;
    nn_rule *rule = ad_alloc(1, sizeof *rule, "an optimizer", error);
    if (!rule)
        return NULL;
    *rule = (nn_rule){ .kind = spec->optimizer, .type = model->type, .rate = spec->rate, .momentum = spec->momentum,
                       .beta1 = spec->beta1, .beta2 = spec->beta2, .epsilon = spec->epsilon,
                       .count = nn_count(model) };
    rule->n_states = rule->kind == NN_SGD ? 0 : rule->kind == NN_MOMENTUM ? 1 : 2;
    bool whole = (rule->spans = ad_alloc((size_t)net->n_params + 1, sizeof *rule->spans, "an optimizer", error));
    for (int k = 0; k < rule->n_states && whole; k++)
        whole = (rule->states[k] = ad_alloc(rule->count, nn_bytes(rule->type), "the optimizer's state", error));
    if (!whole) {
        nn_rule_free(rule);
        return NULL;
    }
    for (int k = 0; k < net->n_params; k++) {
        const ad_init *init = ad_look(net->graph, net->params[k].id)->init;
        double scale = init->rate;
        if (init->axis.id && fabs(init->rate_power) > 0)
            scale *= pow((double)ad_axis_size(net->graph, init->axis, &model->sizes), init->rate_power);
        span *last = rule->n_spans ? &rule->spans[rule->n_spans - 1] : NULL;
        if (!last || fabs(last->scale - scale) > 0) {
            last = &rule->spans[rule->n_spans++];
            *last = (span){ .first = model->offsets[k], .scale = scale };
        }
        last->count += model->offsets[k + 1] - model->offsets[k];
    }
    return rule;
}

void nn_rule_free(nn_rule *rule)
{
    if (!rule)
        return;
    ad_free(rule->spans);
    ad_free(rule->states[0]);
    ad_free(rule->states[1]);
    ad_free(rule);
}

void nn_rule_step(nn_rule *rule, void *values, const void *gradients)
{
    rule->time++;
    if (rule->type == AD_FLOAT)
        step_float(rule, values, gradients);
    else
        step_double(rule, values, gradients);
}

int nn_rule_states(const nn_rule *rule)
{
    return rule->n_states;
}

void *nn_rule_state(const nn_rule *rule, int k)
{
    return rule->states[k];
}

long *nn_rule_time(nn_rule *rule)
{
    return &rule->time;
}
