/* forward.c: the outputs of a model. */
#include "nn/model/model.h"

#include "autodiff/base/base.h"

enum { MAX_ROWS = 512 /* in one go, where samples do not meet */ };

/* A plan of the outputs for so many rows, and after them what is to be checked. */
static int prepare_forward(nn_model *model, int v, size_t rows, ad_error *error)
{
    const nn_net *net = model->net;
    if (model->forward[v].plan && model->forward[v].rows >= rows)
        return 0;
    ad_plan_free(model->forward[v].plan);
    ad_free(model->forward[v].x);
    model->forward[v].plan = NULL;
    model->forward[v].x = NULL;
    model->forward[v].rows = 0;
    ad_plan_spec spec = { .type = model->type, .threads = model->threads, .capacity = nn_sizes(model, rows) };
    ad_var *outputs = ad_alloc((size_t)net->n_statistics + 1, sizeof *outputs, "a plan", error);
    if (!outputs)
        return -1;
    outputs[0] = net->variants[v].output;
    model->forward[v].plan = nn_plan_new(net, outputs, 1 + (v ? 0 : nn_norm_outputs(net, outputs + 1)), &spec, error);
    ad_free(outputs);
    if (!model->forward[v].plan ||
        !(model->forward[v].x = ad_alloc(rows * nn_features(net), nn_bytes(model->type), "inputs", error)))
        return -1;
    model->forward[v].rows = rows;
    nn_bind_params(model, model->forward[v].plan);
    return ad_bind(model->forward[v].plan, net->input, model->forward[v].x);
}

int nn_forward(nn_model *model, const double *x, size_t rows, double *out, ad_error *error)
{
    if (!ad_given(model, "the model", error))
        return -1;
    if (rows == 0)
        return 0;
    if (!ad_given(x, "the inputs x", error))
        return -1;
    size_t features = nn_features(model->net), outputs = nn_n_outputs(model->net), bad = 0;
    int v = nn_variant_of(model, NN_EVALUATION);
    size_t chunk = model->net->variants[v].mixes || rows < MAX_ROWS ? rows : MAX_ROWS;
    if (v == 0 && nn_norm_check_rows(model, rows, error) != 0)
        return -1;
    if (prepare_forward(model, v, chunk, error) != 0)
        return ad_fail(error, "%s: cannot run %zu rows", nn_title(model->net), chunk);
    ad_plan *plan = model->forward[v].plan;
    for (size_t first = 0; first < rows; first += chunk) {
        size_t count = rows - first < chunk ? rows - first : chunk;
        if (!nn_convert(x + first * features, count * features, model->type, model->forward[v].x, &bad))
            return ad_fail(error, "x: row %zu holds a number that is not finite", first + bad / features);
        ad_sizes sizes = nn_sizes(model, count);
        if (ad_run(plan, &sizes, error) != 0 || (v == 0 && nn_norm_check(model, plan, 1, count, error) != 0))
            return -1;
        const void *f = ad_output(plan, 0);
        for (size_t i = 0; i < count * outputs; i++)
            out[first * outputs + i] = nn_value(f, i, model->type);
    }
    return 0;
}
