/* strided_copy.c: nested loops over two arrays of different strides. */
#include "tp/executor/sampler.h"

void tp_loops_add(tp_loops *l, size_t size, size_t from, size_t to)
{
    l->size[l->rank] = size;
    l->from[l->rank] = from;
    l->to[l->rank++] = to;
}

/* to += from. */
static void copy_level(const tp_loops *l, int level, const double *from, double *to)
{
    if (l->rank == 0) {
        *to += *from;
        return;
    }
    size_t size = l->size[level], step = l->from[level], step_to = l->to[level];
    for (size_t i = 0; i < size; i++)
        if (level + 1 < l->rank)
            copy_level(l, level + 1, from + i * step, to + i * step_to);
        else
            to[i * step_to] += from[i * step];
}

void tp_loops_copy(const tp_loops *l, const double *from, double *to)
{
    copy_level(l, 0, from, to);
}

bool tp_loops_alike(const tp_loops *l)
{
    bool alike = true;
    size_t stride = 1;
    for (int i = l->rank - 1; i >= 0; i--) {
        alike = alike && (l->size[i] == 1 || (l->from[i] == stride && l->to[i] == stride));
        stride *= l->size[i];
    }
    return alike;
}
