/* neurons.c: neurons of the widest network beside the law that they have in the limit. */
#include "examples/limn/report/report.h"

#include <string.h>

static int look_at(report *r, nn_model *model, ad_var vector, int number, ad_error *error)
{
    const ad_node *node = ad_node_of(nn_graph(r->net), vector.id);
    const char *slash = strrchr(node->where.file, '/');
    report_neurons *neurons = &r->neurons[r->n_neurons];
    size_t n = nn_model_width(model);
    tp_kernel covariance = { 0 };
    ad_sizes sizes = { .n = n, .batches = { { nn_batch(r->net), r->probes } }, .n_batches = 1 };
    size_t count = ad_elements(nn_graph(r->net), &node->shape, &sizes), each = count / r->probes;
    double *all = ad_alloc(count, sizeof *all, "neurons", error);
    *neurons = (report_neurons){ .n = each, .values = all };
    r->n_neurons += all ? 1 : 0;
    if (!all || nn_activations(model, vector, r->data->x, r->probes, all, error) ||
        tp_gaussian_covariance(r->program, vector, r->data->x, r->probes, NULL, 0, NULL, &covariance, error))
        return -1;
    neurons->variance = covariance.terms[0].values[0];
    snprintf(neurons->name, sizeof neurons->name, "preactivation %d, %.60s:%d", number,
             slash ? slash + 1 : node->where.file, node->where.line);
    tp_kernel_free(&covariance);
    return 0;
}

/* Preactivations (batch, width), the first, the last, and some between. What the exact engine has no law of is left
 * out. */
int report_look(report *r, nn_model *model, ad_error *error)
{
    enum { CAPACITY = 256 };
    ad_var found[CAPACITY], plain[CAPACITY];
    ad_error refusal = { 0 };
    int n = tp_preactivations(r->program, found, CAPACITY, error), count = 0;
    if (n < 0)
        return -1;
    for (int k = 0; k < n && k < CAPACITY; k++) {
        const ad_shape *shape = ad_shape_get(found[k]);
        if (shape->rank == 2 && ad_same(shape->axes[0], nn_batch(r->net)))
            plain[count++] = found[k];
    }
    int shown = count < MAX_NEURONS ? count : MAX_NEURONS;
    for (int k = 0; k < shown; k++) {
        int at = shown > 1 ? k * (count - 1) / (shown - 1) : 0;
        if (look_at(r, model, plain[at], at + 1, &refusal))
            break;
    }
    if (refusal.text[0]) {
        ad_free(r->neurons[r->n_neurons - 1].values);
        r->n_neurons--;
    }
    snprintf(r->no_neurons, sizeof r->no_neurons,
             "No vector of this network has a Gaussian law that the exact engine "
             "knows%s%.400s.",
             refusal.text[0] ? ": " : "", refusal.text);
    return 0;
}
