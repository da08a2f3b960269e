/* draw.c: a parameter's initial values, from the stream of its name. */
#include "autodiff/autodiff.h"

#include <math.h>

enum {
    CHUNK = 1024,         /* draws in one go */
    PARALLEL = 64 * CHUNK /* from here on threads pay for themselves */
};

int ad_draw(ad_var param, const ad_sizes *sizes, uint64_t seed, ad_type type, void *out, ad_error *error)
{
    const ad_graph *graph = param.graph;
    if (!graph || ad_failed(graph))
        return ad_fail(error, "draw: %s", graph ? ad_message(graph) : "no such parameter");
    const ad_node *node = ad_node_of(graph, param.id);
    const ad_init *init = node ? node->init : NULL;
    if (!init)
        return ad_fail(error, "draw: only a parameter has an initial value");
    size_t count = ad_elements(graph, &node->shape, sizes);
    if (count == 0)
        return ad_fail(error, "%s:%d: draw: an axis of %s has no size", node->where.file, node->where.line, node->name);

    double deviation = init->deviation, mean = init->mean;
    if (init->axis.id && init->deviation_power != 0) {
        size_t size = ad_axis_size(graph, init->axis, sizes);
        if (size == 0)
            return ad_fail(error, "%s:%d: draw: the fan-in %s of %s has no size", node->where.file, node->where.line,
                           ad_axis_name(graph, init->axis), node->name);
        deviation *= pow((double)size, init->deviation_power);
    }
    uint64_t stream = ad_stream(node->name);
#pragma omp parallel for schedule(static) if (count >= PARALLEL)
    for (size_t i = 0; i < count; i += CHUNK) {
        double z[CHUNK] = { 0 };
        size_t n = count - i < CHUNK ? count - i : CHUNK;
        if (deviation != 0)
            ad_normal(seed, stream, i, n, z);
        for (size_t k = 0; k < n; k++) {
            double value = mean + deviation * z[k];
            if (type == AD_FLOAT)
                ((float *)out)[i + k] = (float)value;
            else
                ((double *)out)[i + k] = value;
        }
    }
    return 0;
}
