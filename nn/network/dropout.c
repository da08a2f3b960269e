/* dropout.c: dropout. A network has one trace, in which x passes as it is; in a fit's steps
 *
 *     y = x m,  m = 1 / keep with the probability keep, else 0
 *
 * stands in the place of each such x (ad_replace), with masks m that are inputs of the trace. */
#include "nn/network/network.h"

#include <string.h>

ad_var nn_dropout_at(ad_where where, nn_net *net, const char *name, ad_var x, double keep)
{
    if (!nn_takes(where, net, "dropout", name, x))
        return (ad_var){ net->graph, -1 };
    if (!(keep > 0 && keep <= 1))
        return ad_poison(net->graph, where, "dropout %s: %g is the probability to keep: above 0, and at most 1", name,
                         keep);
    if (!ad_has(ad_shape_get(x), net->batch))
        return ad_poison(net->graph, where, "dropout %s: its input has no batch: each sample has a mask of its own",
                         name);
    if (!(keep < 1))
        return x;
    nn_drop **end = &net->drops, *drop = ad_arena_alloc(net->arena, 1, sizeof *drop);
    if (!drop || !(drop->name = ad_arena_text(net->arena, "%s", name)))
        return ad_poison(net->graph, where, "dropout %s: out of memory", name);
    for (; *end; end = &(*end)->next)
        if (strcmp((*end)->name, name) == 0)
            return ad_poison(net->graph, where, "dropout %s: there is one of this name", name);
    drop->keep = keep;
    drop->mask = ad_input_at(where, net->graph, nn_name_at(where, net, "%s.mask", name), *ad_shape_get(x));
    drop->dropped = ad_binary_at(where, AD_MUL, x, drop->mask);
    drop->passes = ad_unary_at(where, AD_IDENTITY, x, 0);
    *end = drop;
    return drop->passes;
}

void nn_trace_fit(nn_net *net)
{
    int n = 0, n_also = 0;
    for (const nn_drop *drop = net->drops; drop; drop = drop->next)
        n++;
    size_t count = (size_t)n + 1;
    ad_var *from = ad_arena_alloc(net->arena, count, sizeof *from), *to = ad_arena_alloc(net->arena, count, sizeof *to);
    ad_var *also = ad_arena_alloc(net->arena, (size_t)net->n_statistics + 1, sizeof *also);
    if (!from || !to || !also) {
        ad_poison(net->graph, AD_HERE, "dropout: out of memory");
        return;
    }
    n = 0;
    for (const nn_drop *drop = net->drops; drop; drop = drop->next) {
        from[n] = drop->passes;
        to[n++] = drop->dropped;
    }
    for (const nn_norm *norm = net->norms; norm; norm = norm->next)
        for (int i = 0; i < 2; i++)
            also[n_also++] = norm->batch[i];
    net->fit_output = n ? ad_replace_also(AD_HERE, net->output, from, to, n, also, n_also) : net->output;
    n_also = 0;
    for (nn_norm *norm = net->norms; norm; norm = norm->next)
        for (int i = 0; i < 2; i++)
            norm->fit[i] = also[n_also++];
}
