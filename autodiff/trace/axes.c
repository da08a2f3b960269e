/* axes.c: the axes of a graph, by name, and their sizes. */
#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"

#include <math.h>
#include <string.h>

static ad_axis axis_of(const ad_graph *graph, int id)
{
    return (ad_axis){ .id = (unsigned short)id, .graph = graph->mark };
}

/* What is no axis of the graph has the row of no axis. */
static const ad_axis_row *row_of(const ad_graph *graph, ad_axis axis)
{
    return &graph->axes[axis.graph == graph->mark && axis.id < graph->n_axes ? axis.id : 0];
}

static ad_axis axis_row(ad_where where, ad_graph *graph, const char *name, ad_kind kind, double ratio, size_t size)
{
    static const char *const kinds[] = { "batch", "width", "fixed" };
    if (!ad_has_graph(where, "axis", graph))
        return (ad_axis){ 0 };
    if (!name || !*name || strlen(name) >= sizeof graph->axes->name) {
        ad_poison(graph, where, "axis \"%s\": a name has 1 to 31 bytes", name ? name : "");
        return (ad_axis){ 0 };
    }
    for (int i = 1; i < graph->n_axes; i++) {
        const ad_axis_row *row = &graph->axes[i];
        if (strcmp(row->name, name) != 0)
            continue;
        if (row->kind != kind)
            ad_poison(graph, where, "axis %s: it is a %s axis, asked for as %s", name, kinds[row->kind], kinds[kind]);
        else if (row->size != size)
            ad_poison(graph, where, "axis %s: it has size %zu, asked for with %zu", name, row->size, size);
        else if (fabs(row->ratio - ratio) > 0)
            ad_poison(graph, where, "axis %s: it is %g n wide, asked for with %g n", name, row->ratio, ratio);
        return axis_of(graph, i);
    }
    void *axes = graph->axes;
    if (graph->n_axes > 60000 ||
        !ad_arena_grow(graph->arena, &axes, graph->n_axes, &graph->axes_capacity, sizeof *graph->axes)) {
        ad_poison(graph, where, "axis %s: too many axes", name);
        return (ad_axis){ 0 };
    }
    graph->axes = axes;
    ad_axis_row *row = &graph->axes[graph->n_axes];
    *row = (ad_axis_row){ .kind = kind, .ratio = ratio, .size = size };
    snprintf(row->name, sizeof row->name, "%s", name);
    return axis_of(graph, graph->n_axes++);
}

ad_axis ad_batch_at(ad_where where, ad_graph *graph, const char *name)
{
    return axis_row(where, graph, name, AD_BATCH, 0, 0);
}

ad_axis ad_width_at(ad_where where, ad_graph *graph, const char *name, double ratio)
{
    const double largest = 1e6;
    if (!(ratio > 0))
        ad_poison(graph, where, "axis %s: width ratio %g is not positive", name, ratio);
    else if (ratio > largest)
        ad_poison(graph, where, "axis %s: width ratio %g is above %g, the largest there is", name, ratio, largest);
    return axis_row(where, graph, name, AD_WIDTH, ratio, 0);
}

ad_axis ad_fixed_at(ad_where where, ad_graph *graph, const char *name, size_t size)
{
    if (size == 0)
        ad_poison(graph, where, "axis %s: size 0", name);
    return axis_row(where, graph, name, AD_FIXED, 0, size);
}

ad_axis ad_fresh_at(ad_where where, ad_graph *graph, const char *stem, size_t size)
{
    char name[32];
    snprintf(name, sizeof name, "%.20s", stem ? stem : "");
    for (int k = 2, i = 1; graph && i < graph->n_axes; i++)
        if (strcmp(graph->axes[i].name, name) == 0) {
            snprintf(name, sizeof name, "%.20s%d", stem, k++);
            i = 0;
        }
    return ad_fixed_at(where, graph, name, size);
}

ad_kind ad_axis_kind(const ad_graph *graph, ad_axis axis)
{
    return row_of(graph, axis)->kind;
}

const char *ad_axis_name(const ad_graph *graph, ad_axis axis)
{
    return row_of(graph, axis)->name;
}

double ad_axis_ratio(const ad_graph *graph, ad_axis axis)
{
    return row_of(graph, axis)->ratio;
}

size_t ad_axis_fixed(const ad_graph *graph, ad_axis axis)
{
    return row_of(graph, axis)->size;
}

size_t ad_axis_size(const ad_graph *graph, ad_axis axis, const ad_sizes *sizes)
{
    const ad_axis_row *row = row_of(graph, axis);
    if (row->kind == AD_FIXED)
        return row->size;
    if (row->kind == AD_WIDTH) {
        double size = round(row->ratio * (double)sizes->n);
        return sizes->n == 0 ? 0 : size < 1 ? 1 : (size_t)size;
    }
    for (int i = 0; i < sizes->n_batches; i++)
        if (sizes->batches[i].axis.id == axis.id)
            return sizes->batches[i].size;
    return 0;
}

size_t ad_elements(const ad_graph *graph, const ad_shape *shape, const ad_sizes *sizes)
{
    size_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        if (__builtin_mul_overflow(count, ad_axis_size(graph, shape->axes[i], sizes), &count))
            return SIZE_MAX; /* more than any memory has */
    return count;
}

ad_axis ad_unused_prime(const ad_graph *graph, int last, ad_axis axis)
{
    ad_axis prime = ad_prime(axis);
    for (int id = 0; id <= last; id++) {
        const ad_shape *shape = &ad_node_of(graph, id)->shape;
        for (int i = 0; i < shape->rank; i++)
            if (shape->axes[i].id == axis.id && shape->axes[i].prime >= prime.prime)
                prime = ad_prime(shape->axes[i]);
    }
    return prime;
}

char *ad_shape_text(const ad_graph *graph, const ad_shape *shape, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "(");
    for (int i = 0; i < shape->rank && i < AD_MAX_RANK && used < size; i++) {
        used +=
            (size_t)snprintf(buffer + used, size - used, "%s%s", i ? ", " : "", ad_axis_name(graph, shape->axes[i]));
        for (int k = 0; k < shape->axes[i].prime && used < size; k++)
            used += (size_t)snprintf(buffer + used, size - used, "'");
    }
    if (used < size)
        snprintf(buffer + used, size - used, ")");
    return buffer;
}
