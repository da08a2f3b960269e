/* optimizer.c: the optimizers of nn/optimizers.h, which has their formulas: one loop over all parameters. */
#include "nn/train/train.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { MAX_STATES = 2 };

/* A parameter: its place among the values, its rate's factor, and the plan's output that is its gradient. */
typedef struct {
    size_t first, count;
    double scale;
    int output;
} entry;

typedef struct optimizer optimizer;
struct nn_rule {
    const optimizer *optimizer;
    nn_fit_spec spec; /* its numbers are read, and nothing else */
    ad_type type;
    size_t count;
    entry *entries;
    int n_entries;
    void *states[MAX_STATES];
    long time;
    double factor; /* of all rates, for the next steps */
    double kept;   /* of the gradients, by clipping: 1 where their norm is not above it */
};

/* ---- steps, written once for float and double ---- */
static double rate_of(const nn_rule *rule, const entry *e)
{
    return rule->spec.rate * rule->factor * e->scale;
}

#define STEPS(real, root)                                                                                              \
    static real *state_##real(const nn_rule *rule, int k, const entry *e)                                              \
    {                                                                                                                  \
        return (real *)rule->states[k] + e->first;                                                                     \
    }                                                                                                                  \
    static double square_##real(size_t n, const real *restrict g)                                                      \
    {                                                                                                                  \
        double sum = 0;                                                                                                \
        for (size_t i = 0; i < n; i++)                                                                                 \
            sum += (double)g[i] * (double)g[i];                                                                        \
        return sum;                                                                                                    \
    }                                                                                                                  \
    static void follow_##real(size_t n, real keep, real factor, const real *restrict v, real *restrict w)              \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            w[i] = keep * w[i] + factor * v[i];                                                                        \
    }                                                                                                                  \
    /* data = keep data + factor g */                                                                                  \
    static void update_##real(const nn_rule *rule, const entry *e, ad_plan *plan, double keep, double factor,          \
                              real *data)                                                                              \
    {                                                                                                                  \
        if (rule->spec.clip > 0)                                                                                       \
            follow_##real(e->count, (real)keep, (real)(factor * rule->kept), ad_output(plan, e->output), data);        \
        else                                                                                                           \
            ad_update(plan, e->output, keep, factor, data);                                                            \
    }                                                                                                                  \
    static void step_sgd_##real(const nn_rule *rule, const entry *e, ad_plan *plan, void *values)                      \
    {                                                                                                                  \
        double rate = rate_of(rule, e);                                                                                \
        update_##real(rule, e, plan, 1 - rate * rule->spec.weight_decay, -rate, (real *)values + e->first);            \
    }                                                                                                                  \
    static void add_##real(size_t n, real factor, const real *restrict w, real *restrict v)                            \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            v[i] += factor * w[i];                                                                                     \
    }                                                                                                                  \
    static void step_momentum_##real(const nn_rule *rule, const entry *e, ad_plan *plan, void *values)                 \
    {                                                                                                                  \
        real *v = state_##real(rule, 0, e), *w = (real *)values + e->first;                                            \
        update_##real(rule, e, plan, rule->spec.momentum, 1, v);                                                       \
        if (rule->spec.weight_decay > 0)                                                                               \
            add_##real(e->count, (real)rule->spec.weight_decay, w, v);                                                 \
        follow_##real(e->count, 1, -(real)rate_of(rule, e), v, w);                                                     \
    }                                                                                                                  \
    static void moments_##real(size_t n, real r, real b1, real b2, real unbias, real epsilon, real decay, real kept,   \
                               const real *restrict gradient, real *restrict m, real *restrict v, real *restrict w)    \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            real g = decay > 0 ? kept * gradient[i] + decay * w[i] : kept * gradient[i];                               \
            m[i] = b1 * m[i] + (1 - b1) * g;                                                                           \
            v[i] = b2 * v[i] + (1 - b2) * g * g;                                                                       \
            w[i] -= r * m[i] / (root(v[i]) * unbias + epsilon);                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    static void adam_##real(const nn_rule *rule, const entry *e, ad_plan *plan, void *values, double decay)            \
    {                                                                                                                  \
        const nn_fit_spec *s = &rule->spec;                                                                            \
        double t = (double)rule->time, rate = rate_of(rule, e) / (1 - pow(s->beta1, t));                               \
        moments_##real(e->count, (real)rate, (real)s->beta1, (real)s->beta2, (real)(1 / sqrt(1 - pow(s->beta2, t))),   \
                       (real)s->epsilon, (real)decay, (real)rule->kept, ad_output(plan, e->output),                    \
                       state_##real(rule, 0, e), state_##real(rule, 1, e), (real *)values + e->first);                 \
    }                                                                                                                  \
    static void step_adam_##real(const nn_rule *rule, const entry *e, ad_plan *plan, void *values)                     \
    {                                                                                                                  \
        adam_##real(rule, e, plan, values, rule->spec.weight_decay);                                                   \
    }                                                                                                                  \
    static void normalise_##real(size_t n, real r, real alpha, real epsilon, real decay, real kept,                    \
                                 const real *restrict gradient, real *restrict s, real *restrict w)                    \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            real g = decay > 0 ? kept * gradient[i] + decay * w[i] : kept * gradient[i];                               \
            s[i] = alpha * s[i] + (1 - alpha) * g * g;                                                                 \
            w[i] -= r * g / (root(s[i]) + epsilon);                                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    static void step_rmsprop_##real(const nn_rule *rule, const entry *e, ad_plan *plan, void *values)                  \
    {                                                                                                                  \
        const nn_fit_spec *s = &rule->spec;                                                                            \
        normalise_##real(e->count, (real)rate_of(rule, e), (real)s->alpha, (real)s->epsilon, (real)s->weight_decay,    \
                         (real)rule->kept, ad_output(plan, e->output), state_##real(rule, 0, e),                       \
                         (real *)values + e->first);                                                                   \
    }                                                                                                                  \
    static void step_adamw_##real(const nn_rule *rule, const entry *e, ad_plan *plan, void *values)                    \
    {                                                                                                                  \
        real *w = (real *)values + e->first, left = (real)(1 - rate_of(rule, e) * rule->spec.weight_decay);            \
        for (size_t i = 0; i < e->count; i++)                                                                          \
            w[i] *= left;                                                                                              \
        adam_##real(rule, e, plan, values, 0);                                                                         \
    }
STEPS(float, sqrtf)
STEPS(double, sqrt)

/* ---- the table ---- */
#define NUMBER(name, ...) NUMBER_##name,
enum { NN_OPTIMIZER_NUMBERS(NUMBER) NUMBERS };
#undef NUMBER

static const struct {
    const char *name;
    size_t at; /* in nn_fit_spec */
    double preset, maximum;
} numbers[] = {
#define NUMBER(name, preset, maximum) { #name, offsetof(nn_fit_spec, name), preset, maximum },
    NN_OPTIMIZER_NUMBERS(NUMBER)
};

struct optimizer {
    const char *word;
    double rate, decay;
    bool adaptive;
    unsigned uses;
    void (*step[2])(const nn_rule *rule, const entry *e, ad_plan *plan, void *values); /* by type */
    const char *states[MAX_STATES + 1];                                                /* ended by NULL */
};

#define USES(name) 1u << NUMBER_##name
#define OPTIMIZER(NAME, word, rate, decay, adaptive, uses, step, ...)                                                  \
    { #word, rate, decay, adaptive, uses, { step_##word##_float, step_##word##_double }, { __VA_ARGS__ } },
static const optimizer optimizers[] = { NN_OPTIMIZERS(OPTIMIZER) };

static double *number_of(nn_fit_spec *spec, int k)
{
    return (double *)(void *)((char *)spec + numbers[k].at);
}

const char *nn_optimizer_name(nn_optimizer which)
{
    return optimizers[which].word;
}

const char *nn_optimizer_number(const nn_fit_spec *spec, int k, double *value)
{
    nn_fit_spec copy = *spec;
    for (int i = 0; i < NUMBERS; i++)
        if (optimizers[spec->optimizer].uses >> i & 1 && k-- == 0) {
            *value = *number_of(&copy, i);
            return numbers[i].name;
        }
    return NULL;
}

int nn_rule_settle(nn_fit_spec *spec, ad_error *error)
{
    if (!spec->frozen && !(fabs(spec->rate) > 0))
        spec->rate = optimizers[spec->optimizer].rate;
    if (spec->frozen && fabs(spec->rate) > 0)
        return ad_fail(error, "fit: a frozen one has no rate, not %g", spec->rate);
    if ((!spec->frozen && !(spec->rate > 0)) || !isfinite(spec->rate))
        return ad_fail(error, "fit: rate %g is not positive", spec->rate);
    if (spec->base_width == 0)
        spec->base_width = NN_BASE_WIDTH;
    if (fpclassify(spec->weight_decay) == FP_ZERO)
        spec->weight_decay = optimizers[spec->optimizer].decay;
    if (!(spec->weight_decay >= 0) || !isfinite(spec->weight_decay))
        return ad_fail(error, "fit: weight decay %g is negative or not finite", spec->weight_decay);
    for (int k = 0; k < NUMBERS; k++) {
        double *number = number_of(spec, k);
        if (!(fabs(*number) > 0))
            *number = numbers[k].preset;
        if (!(*number > 0) || !isfinite(*number))
            return ad_fail(error, "fit: %s %g is not positive", numbers[k].name, *number);
        if (*number >= numbers[k].maximum)
            return ad_fail(error, "fit: %s %g is not below %g", numbers[k].name, *number, numbers[k].maximum);
    }
    return nn_schedule_settle(spec, error);
}

/* ---- a rule: an optimizer and its states, of one model ---- */
/* The scales of an optimizer that divides by the gradient's size. */
static int scale_by_width(nn_rule *rule, const nn_model *model, const int *outputs, ad_error *error)
{
    const nn_net *net = model->net;
    double *powers = ad_alloc((size_t)net->n_params + 1, sizeof *powers, "an optimizer", error);
    int status = powers ? nn_rate_powers(net, rule->spec.optimizer, powers, error) : -1;
    double n = (double)model->n / (double)rule->spec.base_width;
    entry *e = rule->entries;
    for (int k = 0; k < net->n_params && !status; k++)
        if (outputs[k] >= 0)
            e++->scale = ad_node_of(net->graph, net->params[k].id)->init->rate * pow(n, powers[k]);
    ad_free(powers);
    return status;
}

nn_rule *nn_rule_new(const nn_model *model, const nn_fit_spec *spec, const int *outputs, ad_error *error)
{
    const nn_net *net = model->net;
    nn_rule *rule = ad_alloc(1, sizeof *rule, "an optimizer", error);
    if (!rule)
        return NULL;
    *rule = (nn_rule){
        .optimizer = &optimizers[spec->optimizer],
        .spec = *spec,
        .type = model->type,
        .count = nn_model_size(model),
        .factor = 1,
        .kept = 1,
    };
    bool whole = (rule->entries = ad_alloc((size_t)net->n_params + 1, sizeof *rule->entries, "an optimizer", error));
    for (int k = 0; k < nn_rule_states(rule) && whole; k++)
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
    if (nn_optimizer_adapts(spec->optimizer) && scale_by_width(rule, model, outputs, error)) {
        nn_rule_free(rule);
        return NULL;
    }
    return rule;
}

void nn_rule_free(nn_rule *rule)
{
    if (!rule)
        return;
    ad_free(rule->entries);
    for (int k = 0; k < MAX_STATES; k++)
        ad_free(rule->states[k]);
    ad_free(rule);
}

int nn_rule_updates(const nn_rule *rule)
{
    return rule->optimizer->adaptive || rule->spec.clip > 0 ? 0 : rule->n_entries;
}

static double gradient_norm(const nn_rule *rule, const ad_plan *plan)
{
    double sum = 0;
    for (int k = 0; k < rule->n_entries; k++) {
        const entry *e = &rule->entries[k];
        const void *g = ad_output(plan, e->output);
        sum += rule->type == AD_DOUBLE ? square_double(e->count, g) : square_float(e->count, g);
    }
    return sqrt(sum);
}

void nn_rule_step(nn_rule *rule, ad_plan *plan, void *values)
{
    rule->time++;
    if (rule->spec.clip > 0)
        rule->kept = fmin(1, rule->spec.clip / (gradient_norm(rule, plan) + 1e-6));
    for (int k = 0; k < rule->n_entries; k++)
        rule->optimizer->step[rule->type == AD_DOUBLE](rule, &rule->entries[k], plan, values);
}

int nn_rule_states(const nn_rule *rule)
{
    int n = 0;
    while (rule->optimizer->states[n])
        n++;
    return n;
}

const char *nn_rule_state_name(const nn_rule *rule, int k)
{
    return rule->optimizer->states[k];
}

void *nn_rule_state(const nn_rule *rule, int k)
{
    return rule->states[k];
}

double *nn_rule_factor(nn_rule *rule)
{
    return &rule->factor;
}

long *nn_rule_time(nn_rule *rule)
{
    return &rule->time;
}
