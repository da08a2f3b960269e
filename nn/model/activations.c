/* activations.c: the value of any node of a network at a finite width. */
#include "nn/model/model.h"

int nn_activations(nn_model *model, ad_var node, const double *x, size_t rows, double *out, ad_error *error)
{
    const nn_net *net = model->net;
    ad_plan_spec spec = { .type = model->type, .threads = model->threads, .capacity = nn_sizes(model, rows) };
    size_t features = nn_features(net), bad = 0, count = ad_elements(net->graph, ad_shape_get(node), &spec.capacity);
    void *input = ad_alloc(rows * features, nn_bytes(model->type), "inputs", error);
    ad_plan *plan = input ? nn_plan_new(net, &node, 1, &spec, error) : NULL;
    int status = plan ? 0 : -1;
    if (!status && !nn_convert(x, rows * features, model->type, input, &bad))
        status = ad_fail(error, "x: row %zu holds a number that is not finite", bad / features);
    if (!status) {
        nn_bind_params(model, plan);
        ad_bind(plan, net->input, input);
        status = ad_run(plan, &spec.capacity, error);
    }
    for (size_t i = 0; i < count && !status; i++)
        out[i] = nn_value(ad_output(plan, 0), i, model->type);
    ad_plan_free(plan);
    ad_free(input);
    return status;
}
