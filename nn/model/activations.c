/* activations.c: the values of any nodes of a network at a finite width. */
#include "nn/model/model.h"

int nn_activations_many(nn_model *model, const ad_var *nodes, int n, const double *x, size_t rows, double *const *out,
                        ad_error *error)
{
    const nn_net *net = model->net;
    ad_plan_spec spec = { .type = model->type, .threads = model->threads, .capacity = nn_sizes(model, rows) };
    size_t features = nn_features(net), bad = 0;
    void *input = ad_alloc(rows * features, nn_bytes(model->type), "inputs", error);
    ad_plan *plan = input ? nn_plan_new(net, nodes, n, &spec, error) : NULL;
    int status = plan ? 0 : -1;
    if (!status && !nn_convert(x, rows * features, model->type, input, &bad))
        status = ad_fail(error, "x: row %zu holds a number that is not finite", bad / features);
    if (!status) {
        nn_bind_params(model, plan);
        ad_bind(plan, net->input, input);
        status = ad_run(plan, &spec.capacity, error);
    }
    for (int k = 0; k < n && !status; k++) {
        size_t count = ad_elements(net->graph, ad_shape_get(nodes[k]), &spec.capacity);
        for (size_t i = 0; i < count; i++)
            out[k][i] = nn_value(ad_output(plan, k), i, model->type);
    }
    ad_plan_free(plan);
    ad_free(input);
    return status;
}

int nn_activations(nn_model *model, ad_var node, const double *x, size_t rows, double *out, ad_error *error)
{
    return nn_activations_many(model, &node, 1, x, rows, &out, error);
}
