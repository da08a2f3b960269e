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
    /* a node of its own: x may be used elsewhere, too, or below another dropout */
    drop->passes = ad_node_on(x, (ad_node){ .op = AD_IDENTITY, .where = where, .shape = *ad_shape_get(x) });
    *end = drop;
    return drop->passes;
}

const nn_drop *nn_drop_of(const nn_net *net, int id)
{
    const nn_drop *drop = net->drops;
    while (drop && drop->mask.id != id)
        drop = drop->next;
    return drop;
}

void nn_draw_mask(const nn_drop *drop, uint64_t seed, uint64_t stream, uint64_t first, size_t count, ad_type type,
                  void *values)
{
    enum { DRAWS = 1024 };
    double u[DRAWS], keep = drop->keep, inverse = 1 / keep;
    for (size_t done = 0; done < count; done += DRAWS) {
        size_t some = count - done < DRAWS ? count - done : DRAWS;
        ad_uniform(seed, ad_stream(drop->name) ^ stream, first + done, some, u);
        for (size_t i = 0; i < some; i++)
            if (type == AD_FLOAT)
                ((float *)values)[done + i] = u[i] < keep ? (float)inverse : 0;
            else
                ((double *)values)[done + i] = u[i] < keep ? inverse : 0;
    }
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
