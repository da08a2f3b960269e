/* optimizer.c: one loop over all parameters.
 *
 * SGD        w -= r g
 * momentum   v = mu v + g;  w -= r v
 * Adam       m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= r mh / (sqrt(vh) + eps),
 *            mh = m / (1 - b1^t), vh = v / (1 - b2^t)
 * r is the rate times the parameter's own scale c n^p. */
#include "nn/train/train.h"

#include <math.h>

/* A parameter: its place among the values, its rate's factor, and the plan's output that is its gradient (-1: none). */
typedef struct {
    size_t first, count;
    double scale;
    int output;
} entry;

struct nn_rule {
    nn_optimizer kind;
    ad_type type;
    double rate, momentum, beta1, beta2, epsilon;
    size_t count;
    entry *entries;
    int n_entries, n_states;
    void *states[2];
    long time;
};

/* The loops, written once for float and double: first and second are the entry's states. */
#define LOOPS(real, root)                                                                                              \
    static void follow_##real(size_t n, real r, const real *restrict v, real *restrict w)                              \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            w[i] -= r * v[i];                                                                                          \
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
    static void step_##real(const nn_rule *rule, const entry *e, ad_plan *plan, real *w)                               \
    {                                                                                                                  \
        real *first = rule->states[0], *second = rule->states[1];                                                      \
        double t = (double)rule->time, rate = rule->rate * e->scale;                                                   \
        if (rule->kind == NN_SGD)                                                                                      \
            ad_update(plan, e->output, 1, -rate, w + e->first);                                                        \
        else if (rule->kind == NN_MOMENTUM) {                                                                          \
            ad_update(plan, e->output, rule->momentum, 1, first + e->first);                                           \
            follow_##real(e->count, (real)rate, first + e->first, w + e->first);                                       \
        } else                                                                                                         \
            adam_##real(e->count, (real)(rate / (1 - pow(rule->beta1, t))), (real)rule->beta1, (real)rule->beta2,      \
                        (real)(1 / sqrt(1 - pow(rule->beta2, t))), (real)rule->epsilon, ad_output(plan, e->output),    \
                        first + e->first, second + e->first, w + e->first);                                            \
    }
LOOPS(float, sqrtf)
LOOPS(double, sqrt)

static double preset(double value, double otherwise)
{
    return fabs(value) > 0 ? value : otherwise;
}

int nn_rule_settle(nn_fit_spec *spec, ad_error *error)
{
    static const double rates[] = { [NN_SGD] = 1, [NN_MOMENTUM] = 0.1, [NN_ADAM] = 1e-3 };
    spec->rate = preset(spec->rate, rates[spec->optimizer]);
    spec->momentum = preset(spec->momentum, 0.9);
    spec->beta1 = preset(spec->beta1, 0.9);
    spec->beta2 = preset(spec->beta2, 0.999);
    spec->epsilon = preset(spec->epsilon, 1e-8);
    if (!(spec->rate > 0) || !isfinite(spec->rate))
        return ad_fail(error, "fit: rate %g is not positive", spec->rate);
    if (!(spec->momentum >= 0 && spec->momentum < 1))
        return ad_fail(error, "fit: momentum %g is not from 0 to 1", spec->momentum);
    if (!(spec->beta1 >= 0 && spec->beta1 < 1 && spec->beta2 >= 0 && spec->beta2 < 1 && spec->epsilon > 0))
        return ad_fail(error, "fit: Adam's beta1 %g, beta2 %g are not from 0 to 1, or epsilon %g is not positive",
                       spec->beta1, spec->beta2, spec->epsilon);
    return 0;
}

nn_rule *nn_rule_new(const nn_model *model, const nn_fit_spec *spec, const int *outputs, ad_error *error)
{
    const nn_net *net = model->net;
    nn_rule *rule = ad_alloc(1, sizeof *rule, "an optimizer", error);
    if (!rule)
        return NULL;
    *rule = (nn_rule){ .kind = spec->optimizer,
                       .type = model->type,
                       .rate = spec->rate,
                       .momentum = spec->momentum,
                       .beta1 = spec->beta1,
                       .beta2 = spec->beta2,
                       .epsilon = spec->epsilon,
                       .count = nn_model_size(model) };
    rule->n_states = rule->kind == NN_SGD ? 0 : rule->kind == NN_MOMENTUM ? 1 : 2;
    bool whole = (rule->entries = ad_alloc((size_t)net->n_params + 1, sizeof *rule->entries, "an optimizer", error));
    for (int k = 0; k < rule->n_states && whole; k++)
        whole = (rule->states[k] = ad_alloc(rule->count, nn_bytes(rule->type), "the optimizer's state", error));
    if (!whole) {
        nn_rule_free(rule);
        return NULL;
    }
    for (int k = 0; k < net->n_params; k++) {
        if (outputs[k] >= 0)
            rule->entries[rule->n_entries++] = (entry){ model->offsets[k], model->offsets[k + 1] - model->offsets[k],
                                                        nn_rate_scale(net, k, &model->sizes), outputs[k] };
    }
    return rule;
}

void nn_rule_free(nn_rule *rule)
{
    if (!rule)
        return;
    ad_free(rule->entries);
    ad_free(rule->states[0]);
    ad_free(rule->states[1]);
    ad_free(rule);
}

int nn_rule_updates(const nn_rule *rule)
{
    return rule->kind == NN_ADAM ? 0 : rule->n_entries;
}

void nn_rule_step(nn_rule *rule, ad_plan *plan, void *values)
{
    rule->time++;
    for (int k = 0; k < rule->n_entries; k++)
        if (rule->type == AD_FLOAT)
            step_float(rule, &rule->entries[k], plan, values);
        else
            step_double(rule, &rule->entries[k], plan, values);
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
