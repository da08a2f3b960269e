/* points.c: points of nodes' fixed axes, where ops take them from, and pairs of them. */
#include "tp/positions/inside.h"

#include "autodiff/base/base.h"

#include <string.h>

ad_shape tp_fixed_axes(const ad_graph *graph, int node, const ad_shape *without)
{
    const ad_shape *shape = &ad_node_of(graph, node)->shape;
    ad_shape axes = { 0 };
    for (int i = 0; i < shape->rank; i++)
        if (ad_axis_fixed(graph, shape->axes[i]) && !(without && ad_has(without, shape->axes[i])))
            axes.axes[axes.rank++] = shape->axes[i];
    return axes;
}

size_t tp_count_points(const ad_graph *graph, const ad_shape *axes)
{
    size_t count = 1;
    for (int i = 0; i < axes->rank; i++)
        count *= ad_axis_fixed(graph, axes->axes[i]);
    return count;
}

static tp_point decode(const ad_graph *graph, const ad_shape *axes, int32_t number)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    point.n = axes->rank;
    for (int i = axes->rank; i-- > 0;) {
        int size = (int)ad_axis_fixed(graph, axes->axes[i]);
        point.at[i].axis = axes->axes[i];
        point.at[i].index = number % size;
        number /= size;
    }
    return point;
}

static int32_t encode(const ad_graph *graph, const ad_shape *axes, const tp_point *point)
{
    int32_t number = 0;
    for (int i = 0; i < axes->rank; i++) {
        int index = tp_point_index(point, axes->axes[i]);
        number = number * (int32_t)ad_axis_fixed(graph, axes->axes[i]) + (index < 0 ? 0 : index);
    }
    return number;
}

int32_t tp_move_point(const ad_graph *graph, const ad_shape *from, int32_t number, const ad_shape *to)
{
    tp_point point = decode(graph, from, number);
    return encode(graph, to, &point);
}

/* Where an op that moves entries takes a point from; false: from zeros, or another operand. */
static bool step_back(const ad_graph *graph, const ad_node *node, int operand, tp_point *point)
{
    int index;
    switch (node->op) {
    case AD_WINDOWS:
        index = tp_window_entry(node, tp_point_index(point, node->axis2), tp_point_index(point, node->axis3));
        tp_point_set(point, node->axis, index);
        return true;
    case AD_SLICE:
        tp_point_set(point, node->axis, tp_point_index(point, node->axis2) + (int)node->start);
        return true;
    case AD_UNSLICE:
        index = tp_point_index(point, node->axis2) - (int)node->start;
        tp_point_set(point, node->axis, index);
        return index >= 0 && index < (int)ad_axis_fixed(graph, node->axis);
    case AD_CONCAT:
        index = tp_point_index(point, node->axis);
        for (int k = 0; k < operand; k++)
            index -= (int)ad_axis_fixed(graph, node->part_axes[k]);
        tp_point_set(point, node->part_axes[operand], index);
        return index >= 0 && index < (int)ad_axis_fixed(graph, node->part_axes[operand]);
    case AD_RELABEL:
        tp_point_set(point, node->axis, tp_point_index(point, node->axis2));
        return true;
    default:
        return true;
    }
}

static bool has_map(ad_op op)
{
    switch (op) {
    case AD_WINDOWS:
    case AD_SLICE:
    case AD_UNSLICE:
    case AD_CONCAT:
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_IDENTITY:
    case AD_EXPAND:
    case AD_SCALE:
    case AD_ADD:
    case AD_SUB:
    case AD_SUM:
    case AD_RESHAPE:
        return true;
    default:
        return false;
    }
}

const tp_point_map *tp_map_operand(tp_field_plan *p, int id, int operand)
{
    const ad_node *node = ad_node_of(p->graph, id);
    tp_point_map *map = operand < 2 ? &p->maps[2 * id + operand] : ad_arena_alloc(p->arena, 1, sizeof *map);
    if (operand < 2 && map->to)
        return map;
    int child = node->in[operand];
    ad_shape axes = tp_fixed_axes(p->graph, id, NULL), inside = tp_fixed_axes(p->graph, child, NULL), over = { 0 };
    if (!has_map(node->op))
        return NULL;
    if (node->op == AD_SUM)
        for (int i = 0; i < node->over.rank; i++) {
            if (!ad_axis_fixed(p->graph, node->over.axes[i]))
                return NULL;
            over.axes[over.rank++] = node->over.axes[i];
        }
    size_t n = tp_count_points(p->graph, &axes), fan = tp_count_points(p->graph, &over);
    bool reshaped = node->op == AD_RESHAPE;
    if (n * fan > INT32_MAX || (reshaped && tp_count_points(p->graph, &inside) != n))
        return NULL;
    int32_t *to = map ? ad_arena_alloc(p->arena, n * fan, sizeof *to) : NULL;
    for (size_t i = 0; to && i < n; i++)
        for (size_t k = 0; k < fan; k++) {
            tp_point point = decode(p->graph, &axes, (int32_t)i), entry = decode(p->graph, &over, (int32_t)k);
            for (int e = 0; e < entry.n; e++)
                tp_point_set(&point, entry.at[e].axis, entry.at[e].index);
            bool there = step_back(p->graph, node, operand, &point);
            to[i * fan + k] = !there ? -1 : reshaped ? (int32_t)i : encode(p->graph, &inside, &point);
        }
    if (!to) {
        ad_fail(p->error, "out of memory for a network's positions");
        return NULL;
    }
    *map = (tp_point_map){ n, fan, to };
    return map;
}

/* ---- pairs ---- */
const int32_t *tp_keep(tp_field_plan *p, const int32_t *numbers, size_t n)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint32_t)numbers[i]) * 1099511628211u;
    for (const tp_kept *k = p->kept; k; k = k->next)
        if (k->hash == hash && k->n == n && memcmp(k->numbers, numbers, n * sizeof *numbers) == 0)
            return k->numbers;
    tp_kept *kept = ad_arena_alloc(p->arena, 1, sizeof *kept);
    int32_t *copy = kept ? ad_arena_alloc(p->arena, n + 1, sizeof *copy) : NULL;
    if (!copy) {
        ad_fail(p->error, "out of memory for a network's positions");
        return NULL;
    }
    memcpy(copy, numbers, n * sizeof *copy);
    *kept = (tp_kept){ p->kept, hash, n, copy };
    p->kept = kept;
    return copy;
}

/* Marks of pairs, a bit each, and how many stand before each word of them. */
typedef struct {
    uint64_t *bits;
    uint32_t *before;
    size_t words;
} marks;

static int32_t rank_of(const marks *m, size_t key)
{
    uint64_t below = m->bits[key / 64] & (((uint64_t)1 << key % 64) - 1);
    return (int32_t)(m->before[key / 64] + (uint32_t)__builtin_popcountll(below));
}

/* The marked pairs, in order. */
static int list_pairs(tp_field_plan *p, const marks *m, size_t n2, tp_point_pairs *pairs)
{
    size_t last = m->words - 1, n = m->before[last] + (size_t)__builtin_popcountll(m->bits[last]), at = 0;
    int32_t *list = ad_alloc(2 * n + 1, sizeof *list, "a network's positions", p->error);
    if (!list)
        return -1;
    for (size_t w = 0; w < m->words; w++)
        for (uint64_t left = m->bits[w]; left; left &= left - 1, at++) {
            size_t key = 64 * w + (size_t)__builtin_ctzll(left);
            list[at] = (int32_t)(key / n2);
            list[n + at] = (int32_t)(key % n2);
        }
    *pairs = (tp_point_pairs){ n, tp_keep(p, list, n), NULL };
    pairs->second = pairs->first ? tp_keep(p, list + n, n) : NULL;
    ad_free(list);
    return pairs->second ? 0 : -1;
}

int tp_gather_pairs(tp_field_plan *p, const int32_t *first, const int32_t *second, size_t count, size_t n1, size_t n2,
                    tp_point_pairs *pairs, int32_t *to)
{
    marks m = { .words = (n1 * n2 + 63) / 64 + 1 };
    m.bits = ad_alloc(m.words, sizeof *m.bits, "a network's positions", p->error);
    m.before = m.bits ? ad_alloc(m.words, sizeof *m.before, "a network's positions", p->error) : NULL;
    int status = m.before ? 0 : -1;
    for (size_t i = 0; !status && i < count; i++)
        if (first[i] >= 0 && second[i] >= 0) {
            size_t key = (size_t)first[i] * n2 + (size_t)second[i];
            m.bits[key / 64] |= (uint64_t)1 << key % 64;
        }
    for (size_t w = 1; !status && w < m.words; w++)
        m.before[w] = m.before[w - 1] + (uint32_t)__builtin_popcountll(m.bits[w - 1]);
    if (!status)
        status = list_pairs(p, &m, n2, pairs);
    for (size_t i = 0; !status && i < count; i++)
        to[i] = first[i] < 0 || second[i] < 0 ? -1 : rank_of(&m, (size_t)first[i] * n2 + (size_t)second[i]);
    ad_free(m.bits);
    ad_free(m.before);
    return status;
}
