/* sizes.c: sizes and strides of a call's axes and shapes. */
#include "nn/kernel/kernel.h"

ad_sizes nn_call_sizes(const nn_call *c, size_t rows)
{
    ad_sizes sizes = nn_sizes(c->model, rows);
    if (c->by_seeds) {
        sizes.batches[sizes.n_batches].axis = c->tangent->sample;
        sizes.batches[sizes.n_batches++].size = c->seeds;
    }
    return sizes;
}

size_t nn_axis_size(const nn_call *c, ad_axis axis, size_t rows)
{
    ad_sizes sizes = nn_call_sizes(c, rows);
    return ad_axis_size(c->model->net->graph, axis, &sizes);
}

size_t nn_size_of(const nn_call *c, const ad_shape *shape, size_t rows)
{
    ad_sizes sizes = nn_call_sizes(c, rows);
    return ad_elements(c->model->net->graph, shape, &sizes);
}

size_t nn_panel_size(const nn_call *c, const nn_panel *p, size_t rows)
{
    return p->turn || p->spare ? 0 : nn_size_of(c, &p->order, rows) * (size_t)p->turns;
}

int nn_uses_end(const nn_call *c, int begin)
{
    int end = begin + 1;
    while (end < c->n_uses && c->uses[end].param == c->uses[begin].param)
        end++;
    return end;
}

size_t nn_summed(const nn_call *c, const nn_use *u, size_t rows)
{
    return nn_size_of(c, &u->sum, rows) * (size_t)u->turns;
}

size_t nn_stride(const nn_call *c, const ad_shape *shape, ad_axis axis, size_t rows)
{
    size_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (ad_same(shape->axes[i], axis))
            return stride;
        stride *= nn_axis_size(c, shape->axes[i], rows);
    }
    return 0;
}

void nn_append(ad_shape *shape, const ad_shape *more)
{
    for (int i = 0; i < more->rank; i++)
        if (!ad_has(shape, more->axes[i]) && shape->rank < AD_MAX_RANK)
            shape->axes[shape->rank++] = more->axes[i];
}
