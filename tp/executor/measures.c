/* measures.c: sizes, strides and deviations at a run's widths, and room for numbers. */
#include "tp/executor/sampler.h"

#include <math.h>

size_t tp_sampler_size(const tp_sampler *s, ad_axis axis)
{
    return ad_axis_size(s->graph, axis, &s->sizes);
}

size_t tp_sampler_stride(const tp_sampler *s, const ad_shape *shape, ad_axis axis)
{
    size_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (ad_same(shape->axes[i], axis))
            return stride;
        stride *= tp_sampler_size(s, shape->axes[i]);
    }
    return 0;
}

double tp_sampler_deviation(const tp_sampler *s, const ad_init *init)
{
    return init->axis.id ? init->deviation * pow((double)tp_sampler_size(s, init->axis), init->deviation_power)
                         : init->deviation;
}

double *tp_sampler_numbers(const tp_sampler *s, size_t count, const char *what)
{
    return ad_alloc(count + 1, sizeof(double), what, s->error);
}

int tp_sampler_refuse(const tp_sampler *s, int id, const char *reason)
{
    const ad_node *node = ad_node_of(s->graph, id);
    return ad_fail(s->error, "%s:%d: %s: %s", node->where.file, node->where.line, tp_node_name(node), reason);
}
