/* traced.c: losses, as more nodes of the network's graph.
 *
 * square:         L = mean_i sum_o (f_io - y_io)^2 / 2
 * cross-entropy:  L = mean_i (log sum_o exp f_io - f_i,y_i)
 * smoothed by s:  L = mean_i (log sum_o exp f_io - f_i,y_i + s (f_i,y_i - mean_o f_io)) */
#include "nn/loss/loss.h"

static void trace_loss(const nn_net *net, nn_loss loss, bool smoothed, nn_traced_loss *t)
{
    ad_graph *graph = net->graph;
    ad_axis batch = net->batch, outputs = net->outputs;
    ad_var sum, f = net->fit_output;
    if (loss == NN_SQUARE) {
        t->target = ad_input(graph, "loss.target", ad_shape_of(batch, outputs));
        sum = ad_sum(ad_square(ad_sub(f, t->target)), ad_shape_of(batch, outputs));
        t->loss = ad_scale_by(sum, 0.5, batch, -1);
    } else {
        t->target = ad_input(graph, smoothed ? "loss.smoothed_label" : "loss.label", ad_shape_of(batch));
        ad_var own = ad_gather(f, t->target, outputs);
        ad_var row = ad_sub(ad_logsumexp(f, outputs), own);
        if (smoothed) {
            t->smoothing = ad_input(graph, "loss.smoothing", (ad_shape){ 0 });
            row = ad_add(row, ad_mul(t->smoothing, ad_sub(own, ad_mean(f, ad_shape_of(outputs)))));
        }
        t->loss = ad_mean(row, ad_shape_of(batch));
    }
    ad_site *sites = NULL;
    ad_var one = ad_constant(graph, 1, (ad_shape){ 0 });
    int n_sites = ad_backward(t->loss, one, NULL, 0, NULL, &sites);
    t->gradients = ad_arena_alloc(net->arena, (size_t)net->n_params + 1, sizeof *t->gradients);
    if (!t->gradients) {
        ad_poison(graph, AD_HERE, "loss: out of memory");
        return;
    }
    for (int k = 0; k < net->n_params && !ad_failed(graph); k++) {
        const ad_shape *shape = ad_shape_get(net->params[k]);
        ad_var g = ad_gradient(net->params[k], sites, n_sites, (ad_shape){ 0 });
        t->gradients[k] = g.id < 0 ? g : ad_transpose_at(AD_HERE, ad_expand(g, *shape), *shape);
    }
    t->traced = !ad_failed(graph);
}

const nn_traced_loss *nn_trace_loss(const nn_net *net, nn_loss loss, bool smoothed, ad_error *error)
{
    nn_traced_loss *t = &((nn_net *)net)->losses[smoothed ? NN_SMOOTHED : loss];
    ad_mark before = nn_growth_begin(net);
    if (!t->traced)
        trace_loss(net, loss, smoothed, t);
    return nn_growth_end(net, before, "loss", error) == 0 ? t : NULL;
}
