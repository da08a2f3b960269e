/* loss.c: losses, as more nodes of the network's graph.
 *
 * square:         L = mean_i sum_o (f_io - y_io)^2 / 2
 * cross-entropy:  L = mean_i (log sum_o exp f_io - f_i,y_i) */
#include "nn/network/network.h"

#include <math.h>

const nn_traced_loss *nn_trace_loss(const nn_net *net, nn_loss loss, ad_error *error)
{
    nn_traced_loss *t = (nn_traced_loss *)&net->losses[loss];
    if (t->traced)
        return t;
    ad_graph *graph = net->graph;
    ad_axis batch = net->batch, outputs = net->outputs;
    ad_var sum, f = net->output;
    if (loss == NN_SQUARE) {
        t->target = ad_input(graph, "loss.target", ad_shape_of(batch, outputs));
        sum = ad_sum(ad_square(ad_sub(f, t->target)), ad_shape_of(batch, outputs));
        t->loss = ad_scale_by(sum, 0.5, batch, -1);
    } else {
        t->target = ad_input(graph, "loss.label", ad_shape_of(batch));
        ad_var row = ad_sub(ad_logsumexp(f, outputs), ad_gather(f, t->target, outputs));
        t->loss = ad_mean(row, ad_shape_of(batch));
    }
    ad_site *sites = NULL;
    ad_var one = ad_constant(graph, 1, (ad_shape){ 0 });
    int n_sites = ad_backward(t->loss, one, NULL, 0, NULL, &sites);
    t->gradients = ad_arena_alloc(net->arena, (size_t)net->n_params + 1, sizeof *t->gradients);
    if (!t->gradients)
        ad_poison(graph, AD_HERE, "loss: out of memory");
    for (int k = 0; k < net->n_params && !ad_failed(graph); k++) {
        const ad_shape *shape = ad_shape_get(net->params[k]);
        ad_var g = ad_gradient(net->params[k], sites, n_sites, (ad_shape){ 0 });
        t->gradients[k] = g.id < 0 ? g : ad_transpose_at(AD_HERE, ad_expand(g, *shape), *shape);
    }
    if (ad_failed(graph)) {
        ad_fail(error, "%s: loss: %s", nn_title(net), ad_message(graph));
        return NULL;
    }
    t->traced = true;
    return t;
}

/* The loss of one row in double: f (outputs), y one class number or (outputs). */
static double row_loss(nn_loss loss, const double *f, const double *y, size_t outputs)
{
    double most = f[0], sum = 0;
    if (loss == NN_SQUARE) {
        for (size_t o = 0; o < outputs; o++)
            sum += (f[o] - y[o]) * (f[o] - y[o]);
        return sum / 2;
    }
    for (size_t o = 1; o < outputs; o++)
        most = f[o] > most ? f[o] : most;
    for (size_t o = 0; o < outputs; o++)
        sum += exp(f[o] - most);
    return most + log(sum) - f[(size_t)y[0]];
}

void nn_score(nn_loss loss, const double *f, const nn_data *data, size_t outputs, double *one_hot, double *mean_loss,
              double *accuracy)
{
    size_t right = 0;
    double sum = 0;
    for (size_t i = 0; i < data->rows; i++) {
        const double *row = f + i * outputs, *y = data->y + i * (data->classes ? 1 : outputs);
        size_t best = 0;
        for (size_t o = 0; o < outputs; o++)
            best = row[o] > row[best] ? o : best;
        if (data->classes) {
            size_t label = (size_t)y[0];
            right += best == label;
            if (loss == NN_SQUARE) {
                for (size_t o = 0; o < outputs; o++)
                    one_hot[o] = o == label ? 1 : 0;
                y = one_hot;
            }
        }
        sum += row_loss(loss, row, y, outputs);
    }
    *mean_loss = sum / (double)data->rows;
    *accuracy = data->classes ? (double)right / (double)data->rows : (double)NAN;
}

int nn_check_data(const nn_net *net, const nn_data *data, nn_loss loss, ad_error *error)
{
    size_t outputs = nn_n_outputs(net);
    if (data->rows == 0)
        return ad_fail(error, "data: no rows");
    if (loss == NN_CROSS_ENTROPY && data->classes == 0)
        return ad_fail(error, "data: cross-entropy needs class numbers as targets");
    if (data->classes > outputs)
        return ad_fail(error, "data: %zu classes, the network has %zu outputs", data->classes, outputs);
    size_t columns = data->classes ? 1 : outputs;
    for (size_t i = 0; i < data->rows * columns; i++) {
        double y = data->y[i];
        if (!isfinite(y))
            return ad_fail(error, "y: row %zu holds a number that is not finite", i / columns);
        if (data->classes && !(y >= 0 && y < (double)data->classes && !(fabs(y - floor(y)) > 0)))
            return ad_fail(error, "y: row %zu: %g is no class from 0 to %zu", i, y, data->classes - 1);
    }
    return 0;
}

void *nn_targets(const nn_model *model, const nn_data *data, nn_loss loss, size_t *columns, ad_error *error)
{
    size_t outputs = nn_n_outputs(model->net), bad = 0;
    *columns = loss == NN_CROSS_ENTROPY ? 1 : outputs;
    void *targets = ad_alloc(data->rows * *columns, nn_bytes(model->type), "targets", error);
    if (!targets)
        return NULL;
    if (loss == NN_CROSS_ENTROPY || data->classes == 0) {
        if (nn_convert(data->y, data->rows * *columns, model->type, targets, &bad))
            return targets;
        ad_fail(error, "y: row %zu holds a number that is not finite as float", bad / *columns);
        ad_free(targets);
        return NULL;
    }
    for (size_t i = 0; i < data->rows; i++) { /* one-hot rows */
        size_t at = i * outputs + (size_t)data->y[i];
        if (model->type == AD_FLOAT)
            ((float *)targets)[at] = 1;
        else
            ((double *)targets)[at] = 1;
    }
    return targets;
}
