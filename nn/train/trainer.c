/* trainer.c: a fit's single steps: one plan of the loss, its gradients and the batch's statistics, and the optimizer. A
 * step allocates nothing. */
#include "nn/train/train.h"

#include <math.h>

/* The masks of a dropout, (capacity, ...). */
typedef struct {
    const nn_drop *drop;
    void *values;
    size_t count;
} nn_mask;

struct nn_trainer {
    nn_model *model;
    const nn_traced_loss *traced;
    ad_plan *plan;
    nn_rule *rule;
    size_t rows; /* capacity */
    double rate;
    double smoothing; /* of labels, and in the model's type */
    float smoothing_float;
    nn_mask *masks; /* of dropout, one for each */
    int n_masks;
    uint64_t seed;
};

/* The plan's outputs: the loss, the statistics, the gradients; gradients[k]: which of them is parameter k's, -1 none,
 * as of one that is frozen. */
static int list_outputs(const nn_trainer *trainer, ad_var *outputs, int *gradients)
{
    const nn_net *net = trainer->model->net;
    int n = 0;
    outputs[n++] = trainer->traced->loss;
    n += nn_norm_fit_outputs(net, outputs + n);
    for (int k = 0; k < net->n_params; k++) {
        gradients[k] = trainer->traced->gradients[k].id < 0 || !nn_learns(net, k) ? -1 : n;
        if (gradients[k] >= 0)
            outputs[n++] = trainer->traced->gradients[k];
    }
    return n;
}

static int open_masks(nn_trainer *trainer, ad_error *error)
{
    const nn_net *net = trainer->model->net;
    ad_sizes sizes = nn_sizes(trainer->model, trainer->rows);
    int n = 0;
    for (const nn_drop *drop = net->drops; drop; drop = drop->next)
        n++;
    if (!(trainer->masks = ad_alloc((size_t)n + 1, sizeof *trainer->masks, "masks", error)))
        return -1;
    for (const nn_drop *drop = net->drops; drop; drop = drop->next) {
        nn_mask *mask = &trainer->masks[trainer->n_masks++];
        *mask = (nn_mask){ .drop = drop, .count = ad_elements(net->graph, ad_shape_get(drop->mask), &sizes) };
        if (!(mask->values = ad_alloc(mask->count, nn_bytes(trainer->model->type), "a mask", error)))
            return -1;
        ad_bind(trainer->plan, drop->mask, mask->values);
    }
    return 0;
}

/* Fills the masks of a step, of so many rows. */
static void draw_masks(nn_trainer *trainer, long step, size_t rows)
{
    for (int k = 0; k < trainer->n_masks; k++) {
        const nn_mask *mask = &trainer->masks[k];
        nn_draw_mask(mask->drop, trainer->seed, ad_stream("dropout"), (uint64_t)step * mask->count,
                     mask->count / trainer->rows * rows, trainer->model->type, mask->values);
    }
}

static int open_trainer(nn_trainer *trainer, const nn_fit_spec *spec, ad_var *outputs, int *gradients, ad_error *error)
{
    nn_model *model = trainer->model;
    if (!(trainer->traced = nn_trace_loss(model->net, spec->loss, spec->label_smoothing > 0, error)))
        return -1;
    int n_outputs = list_outputs(trainer, outputs, gradients);
    if (!(trainer->rule = nn_rule_new(model, spec, gradients, error)))
        return -1;
    ad_plan_spec plan = { .type = model->type,
                          .threads = model->threads,
                          .capacity = nn_sizes(model, trainer->rows),
                          .updates = nn_rule_updates(trainer->rule) };
    if (!(trainer->plan = nn_plan_new(model->net, outputs, n_outputs, &plan, error)))
        return -1;
    trainer->smoothing = spec->label_smoothing;
    trainer->smoothing_float = (float)spec->label_smoothing;
    if (spec->label_smoothing > 0)
        ad_bind(trainer->plan, trainer->traced->smoothing,
                model->type == AD_DOUBLE ? (const void *)&trainer->smoothing : &trainer->smoothing_float);
    return open_masks(trainer, error) || nn_bind_params(model, trainer->plan) ? -1 : 0;
}

nn_trainer *nn_trainer_new(nn_model *model, const nn_fit_spec *fit_spec, size_t batch, ad_error *error)
{
    nn_fit_spec spec = *fit_spec;
    size_t n_params = (size_t)model->net->n_params, n_statistics = (size_t)model->net->n_statistics;
    nn_trainer *trainer = ad_alloc(1, sizeof *trainer, "a trainer", error);
    ad_var *outputs = ad_alloc(n_params + n_statistics + 1, sizeof *outputs, "a trainer", error);
    int *gradients = ad_alloc(n_params + 1, sizeof *gradients, "a trainer", error);
    int failed = trainer && outputs && gradients ? nn_rule_settle(&spec, error) : -1;
    if (!failed) {
        *trainer = (nn_trainer){ .model = model, .rows = batch, .rate = spec.rate, .seed = spec.seed };
        failed = open_trainer(trainer, &spec, outputs, gradients, error);
    }
    ad_free(outputs);
    ad_free(gradients);
    if (!failed)
        return trainer;
    nn_trainer_free(trainer);
    return NULL;
}

void nn_trainer_free(nn_trainer *trainer)
{
    if (!trainer)
        return;
    ad_plan_free(trainer->plan);
    nn_rule_free(trainer->rule);
    for (int k = 0; k < trainer->n_masks; k++)
        ad_free(trainer->masks[k].values);
    ad_free(trainer->masks);
    ad_free(trainer);
}

nn_rule *nn_trainer_rule(nn_trainer *trainer)
{
    return trainer->rule;
}

void nn_trainer_scale_rate(nn_trainer *trainer, double factor)
{
    *nn_rule_factor(trainer->rule) = factor;
}

int nn_trainer_step(nn_trainer *trainer, const void *x, const void *y, size_t rows, double *loss, ad_error *error)
{
    nn_model *model = trainer->model;
    if (rows == 0 || rows > trainer->rows)
        return ad_fail(error, "fit: a batch of %zu rows, the trainer was made for %zu", rows, trainer->rows);
    if (nn_norm_check_rows(model, rows, error) != 0)
        return -1;
    ad_sizes sizes = nn_sizes(model, rows);
    draw_masks(trainer, *nn_rule_time(trainer->rule), rows);
    ad_bind(trainer->plan, model->net->input, x);
    ad_bind(trainer->plan, trainer->traced->target, y);
    if (ad_run(trainer->plan, &sizes, error) != 0 || nn_norm_check(model, trainer->plan, 1, rows, error) != 0)
        return -1;
    *loss = nn_value(ad_output(trainer->plan, 0), 0, model->type);
    long step = *nn_rule_time(trainer->rule) + 1;
    if (!isfinite(*loss))
        return ad_fail(error, "loss is not finite at step %ld (rate %g): lower --rate", step, trainer->rate);
    nn_norm_update(model, trainer->plan, 1, rows);
    nn_rule_step(trainer->rule, trainer->plan, model->values);
    return 0;
}
