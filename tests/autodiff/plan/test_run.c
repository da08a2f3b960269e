/* test_run.c: plans against a naive evaluator that knows axes by name only, over random graphs. */
#include "autodiff/trace/trace.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Graphs of seeds from WINDOWS on have windows. */
enum { MOST = 400, LEAVES = 8, WINDOWS = 10000 };

/* ---- the naive evaluator: every node as a row-major array of doubles, one element at a time ---- */
typedef struct {
    ad_graph *graph;
    ad_sizes sizes;
    double *values[MOST];
} naive;

typedef struct {
    ad_shape axes;
    size_t at[3 * AD_MAX_RANK];
} point;

static size_t size_of(const naive *e, ad_axis axis)
{
    return axis.id ? ad_axis_size(e->graph, axis, &e->sizes) : 1;
}

static size_t where(const point *p, ad_axis axis)
{
    for (int i = 0; i < p->axes.rank; i++)
        if (ad_same(p->axes.axes[i], axis))
            return p->at[i];
    return 0;
}

static bool next(const naive *e, point *p)
{
    for (int i = p->axes.rank - 1; i >= 0; i--) {
        if (++p->at[i] < size_of(e, p->axes.axes[i]))
            return true;
        p->at[i] = 0;
    }
    return false;
}

/* The element of a node at a point; where `from` is an axis of the node, its index is `index`. */
static size_t flat(const naive *e, int id, const point *p, ad_axis from, size_t index)
{
    const ad_shape *shape = &ad_node_of(e->graph, id)->shape;
    size_t at = 0;
    for (int i = 0; i < shape->rank; i++) {
        ad_axis axis = shape->axes[i];
        at = at * size_of(e, axis) + (from.id && ad_same(axis, from) ? index : where(p, axis));
    }
    return at;
}

static double value_at(const naive *e, int id, const point *p, ad_axis from, size_t index)
{
    return e->values[id][flat(e, id, p, from, index)];
}

static const ad_axis none = { 0 };

/* Of windows along node->axis, whose count may be over that axis itself. */
static double window_value(const naive *e, const ad_node *node, const point *p, size_t entry)
{
    point q = *p;
    for (int i = 0; i < q.axes.rank; i++)
        if (ad_same(q.axes.axes[i], node->axis2)) {
            q.axes.axes[i] = node->axis;
            q.at[i] = entry;
        }
    return value_at(e, node->in[0], &q, none, 0);
}

static double unwindow_value(const naive *e, const ad_node *node, const point *p, size_t window, size_t offset)
{
    point q = *p;
    for (int i = 0; i < q.axes.rank; i++)
        if (ad_same(q.axes.axes[i], node->axis)) {
            q.axes.axes[i] = node->axis2;
            q.at[i] = window;
        }
    return value_at(e, node->in[0], &q, node->axis3, offset);
}

static double normal(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

static double unary(ad_op op, double x, double p)
{
    switch (op) {
    case AD_NEG:
        return -x;
    case AD_RELU:
        return x > 0 ? x : 0;
    case AD_STEP:
        return x > 0;
    case AD_LEAKY:
        return x > 0 ? x : p * x;
    case AD_LEAKY_STEP:
        return x > 0 ? 1 : p;
    case AD_ABS:
        return fabs(x);
    case AD_SIGN:
        return (x > 0) - (x < 0);
    case AD_SQUARE:
        return x * x;
    case AD_POWER:
        return pow(x, p);
    case AD_EXP:
        return exp(x);
    case AD_LOG:
        return log(x);
    case AD_SQRT:
        return sqrt(x);
    case AD_RSQRT:
        return 1 / sqrt(x);
    case AD_SIN:
        return sin(x);
    case AD_COS:
        return cos(x);
    case AD_TANH:
        return tanh(x);
    case AD_HARD_TANH:
        return fmax(-1, fmin(1, x));
    case AD_HARD_TANH_STEP:
        return fabs(x) < 1;
    case AD_ELU:
        return x > 0 ? x : expm1(x);
    case AD_ELU_GRAD:
        return x > 0 ? 1 : exp(x);
    case AD_SELU:
        return x > 0 ? 1.0507009873554805 * x : 1.0507009873554805 * 1.6732632423543772 * expm1(x);
    case AD_SELU_GRAD:
        return x > 0 ? 1.0507009873554805 : 1.0507009873554805 * 1.6732632423543772 * exp(x);
    case AD_MISH:
        return x * tanh(log1p(exp(x)));
    case AD_SIGMOID:
        return 1 / (1 + exp(-x));
    case AD_ERF:
        return erf(x);
    case AD_ERF_GRAD:
        return 2 / sqrt(acos(-1)) * exp(-x * x);
    case AD_GELU:
        return x * normal(x);
    case AD_GELU_GRAD:
        return normal(x) + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
    case AD_SOFTPLUS:
        return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    case AD_SWISH:
        return x / (1 + exp(-x));
    default:
        return x;
    }
}

static double element(const naive *e, const ad_node *node, const point *p)
{
    const int *in = node->in;
    double total = 0, most = -INFINITY, a, b;
    point q = *p;
    size_t start = 0, length = size_of(e, node->axis), at;
    switch (node->op) {
    case AD_CONSTANT:
        return node->c;
    case AD_DELTA:
        return where(p, node->axis) == where(p, node->axis2);
    case AD_SCALE:
        return value_at(e, in[0], p, none, 0) * node->c * (node->axis.id ? pow((double)length, node->power) : 1);
    case AD_CONTRACT:
    case AD_SUM:
        for (int i = 0; i < node->over.rank; i++) {
            q.axes.axes[q.axes.rank] = node->over.axes[i];
            q.at[q.axes.rank++] = 0;
        }
        do {
            total += value_at(e, in[0], &q, none, 0) * (node->op == AD_SUM ? 1 : value_at(e, in[1], &q, none, 0));
            int i = q.axes.rank - 1;
            for (; i >= p->axes.rank; i--) {
                if (++q.at[i] < size_of(e, q.axes.axes[i]))
                    break;
                q.at[i] = 0;
            }
            if (i < p->axes.rank)
                return total;
        } while (true);
    case AD_EXPAND:
    case AD_TRANSPOSE:
        return value_at(e, in[0], p, none, 0);
    case AD_SLICE:
        return value_at(e, in[0], p, node->axis, node->start + where(p, node->axis2));
    case AD_RELABEL:
        return value_at(e, in[0], p, node->axis, where(p, node->axis2));
    case AD_UNSLICE:
        at = where(p, node->axis2);
        return at < node->start || at >= node->start + length ? 0 : value_at(e, in[0], p, node->axis, at - node->start);
    case AD_WINDOWS:
        at = (size_t)((ptrdiff_t)(node->start + node->stride * where(p, node->axis2)) +
                      node->dilation * (ptrdiff_t)where(p, node->axis3));
        return window_value(e, node, p, at);
    case AD_UNWINDOWS:
        for (size_t i = 0; i < size_of(e, node->axis2); i++)
            for (size_t k = 0; k < size_of(e, node->axis3); k++) {
                ptrdiff_t entry = (ptrdiff_t)(node->start + node->stride * i) + node->dilation * (ptrdiff_t)k;
                if (entry == (ptrdiff_t)where(p, node->axis))
                    total += unwindow_value(e, node, p, i, k);
            }
        return total;
    case AD_CONCAT:
        at = where(p, node->axis);
        for (int i = 0; i < node->n_in; i++) {
            size_t size = size_of(e, node->part_axes[i]);
            if (at < start + size)
                return value_at(e, in[i], p, node->part_axes[i], at - start);
            start += size;
        }
        return NAN;
    case AD_GATHER:
        return value_at(e, in[0], p, node->axis, (size_t)value_at(e, in[1], p, none, 0));
    case AD_LOGSUMEXP:
    case AD_SOFTMAX:
    case AD_MAX:
    case AD_ARGMAX:
        at = 0;
        for (size_t i = 0; i < length; i++) {
            a = value_at(e, in[0], p, node->axis, i);
            at = a > most ? i : at;
            most = a > most ? a : most;
        }
        for (size_t i = 0; i < length; i++)
            total += exp(value_at(e, in[0], p, node->axis, i) - most);
        if (node->op == AD_SOFTMAX)
            return exp(value_at(e, in[0], p, none, 0) - most) / total;
        return node->op == AD_MAX ? most : node->op == AD_ARGMAX ? where(p, node->axis) == at : most + log(total);
    case AD_CUSTOM:
        a = value_at(e, in[0], p, none, 0);
        node->function->derivatives[node->order](1, &a, &b);
        return b;
    default:
        a = value_at(e, in[0], p, none, 0);
        b = node->n_in > 1 ? value_at(e, in[1], p, none, 0) : 0;
        return node->op == AD_ADD   ? a + b
               : node->op == AD_SUB ? a - b
               : node->op == AD_MUL ? a * b
               : node->op == AD_DIV ? a / b
                                    : unary(node->op, a, node->c);
    }
}

static void evaluate(naive *e, int id)
{
    const ad_node *node = ad_node_of(e->graph, id);
    size_t count = ad_elements(e->graph, &node->shape, &e->sizes), i = 0;
    if (e->values[id])
        return;
    for (int k = 0; k < node->n_in; k++)
        evaluate(e, node->in[k]);
    double *y = e->values[id] = calloc(count, sizeof *y);
    if (node->op == AD_RESHAPE) {
        memcpy(y, e->values[node->in[0]], count * sizeof *y);
    } else if (node->op == AD_SCATTER) {
        point p = { .axes = ad_node_of(e->graph, node->in[0])->shape };
        do
            y[flat(e, id, &p, node->axis, (size_t)value_at(e, node->in[1], &p, none, 0))] +=
                e->values[node->in[0]][i++];
        while (next(e, &p));
    } else {
        point p = { .axes = node->shape };
        do
            y[i++] = element(e, node, &p);
        while (next(e, &p));
    }
}

/* ---- random graphs ---- */
static uint64_t state;

static int below(int n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int)((state >> 33) % (uint64_t)n);
}

static double real(double lo, double hi)
{
    return lo + (hi - lo) * below(1 << 20) / (1 << 20);
}

typedef struct {
    ad_graph *graph;
    ad_sizes capacity;
    ad_axis axes[10]; /* batch, n, wide, fixed ones */
    int n_axes;
    ad_var leaves[LEAVES + 1];
    ad_var index;
    ad_axis index_axis;
    int n_leaves;
    ad_var pool[MOST];
    int n_pool, n_fixed;
    bool windows; /* are drawn, too */
} maker;

static const int odd[] = { 1, 2, 3, 7, 10, 64, 65 };

static ad_axis fixed(maker *m, size_t size)
{
    char name[16];
    snprintf(name, sizeof name, "g%d", m->n_fixed++);
    return ad_fixed(m->graph, name, size);
}

static size_t volume(const maker *m, ad_shape shape)
{
    return ad_elements(m->graph, &shape, &m->capacity);
}

static ad_shape random_shape(maker *m, int rank, size_t most)
{
    ad_shape shape = { 0 };
    for (int tries = 0; shape.rank < rank && tries < 20; tries++) {
        ad_axis axis = m->axes[below(m->n_axes)];
        ad_shape longer = shape;
        longer.axes[longer.rank++] = axis;
        if (!ad_has(&shape, axis) && volume(m, longer) <= most)
            shape = longer;
    }
    return shape;
}

static void keep(maker *m, ad_var v)
{
    cr_assert(!ad_failed(m->graph), "%s", ad_message(m->graph));
    if (m->n_pool < MOST && ad_shape_get(v)->rank <= 5 && volume(m, *ad_shape_get(v)) <= 20000)
        m->pool[m->n_pool++] = v;
}

static ad_var pick(maker *m)
{
    return below(2) && m->n_pool > 6 ? m->pool[m->n_pool - 1 - below(6)] : m->pool[below(m->n_pool)];
}

static void cube(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = sin(x[i]) * x[i];
}

static const ad_function user = { .name = "cube", .count = 1, .derivatives = { cube } };

static bool is_leaf(maker *m, ad_var v)
{
    while (true) {
        const ad_node *node = ad_node_of(m->graph, v.id);
        if (node->op == AD_INPUT || node->op == AD_PARAM)
            return true;
        if (node->op != AD_RELABEL && node->op != AD_TRANSPOSE && node->op != AD_SLICE && node->op != AD_EXPAND)
            return false;
        v.id = node->in[0];
    }
}

static ad_shape shuffled(ad_shape shape)
{
    for (int i = shape.rank - 1; i > 0; i--) {
        int k = below(i + 1);
        ad_axis old = shape.axes[i];
        shape.axes[i] = shape.axes[k];
        shape.axes[k] = old;
    }
    return shape;
}

/* A fixed axis of x, none if it has none. */
static ad_axis fixed_of(maker *m, ad_var x)
{
    ad_shape shape = shuffled(*ad_shape_get(x));
    for (int i = 0; i < shape.rank; i++)
        if (ad_axis_kind(m->graph, shape.axes[i]) == AD_FIXED)
            return shape.axes[i];
    return none;
}

/* Windows of x along a fixed axis of this size, or of its windows added back. */
static ad_var random_windows(maker *m, ad_var x, ad_axis axis, size_t size)
{
    ad_window window = { .stride = 1 + (size_t)below(3) };
    size_t length = 1 + (size_t)below(size < 4 ? (int)size : 4), step = length > 1 ? (size - 1) / (length - 1) : 1;
    step = 1 + (size_t)below(step > 3 ? 3 : (int)step);
    size_t reach = (length - 1) * step;
    window.start = (size_t)below((int)(size - reach));
    size_t count = (size - 1 - reach - window.start) / window.stride + 1;
    window.dilation = (ptrdiff_t)step;
    if (below(3) == 0) {
        window.start += reach;
        window.dilation = -window.dilation;
    }
    ad_axis out = count == size ? axis : fixed(m, count), offset = fixed(m, length);
    ad_var y = ad_windows(x, axis, out, offset, window);
    return below(3) ? y : ad_unwindows(y, out, offset, axis, window);
}

/* Windows times a filter over their offsets, and other axes perhaps. */
static ad_var filtered(maker *m, ad_var windows)
{
    const ad_node *node = ad_node_of(m->graph, windows.id);
    if (node->op != AD_WINDOWS)
        return windows;
    ad_shape over = ad_shape_of(node->axis3), shape = *ad_shape_get(windows);
    ad_var filter = ad_take(ad_sin(windows), node->axis2, 0);
    for (int i = 0; i < shape.rank; i++) {
        if (ad_same(shape.axes[i], node->axis2) || ad_same(shape.axes[i], node->axis3))
            continue;
        int way = below(3);
        if (way == 0)
            over.axes[over.rank++] = shape.axes[i];
        else if (way == 1 && shape.axes[i].prime == 0 && !ad_has(&shape, ad_prime(shape.axes[i])))
            filter = ad_relabel(filter, shape.axes[i], ad_prime(shape.axes[i]));
    }
    const ad_shape *other = ad_shape_get(filter);
    size_t all = volume(m, shape);
    for (int i = 0; i < other->rank; i++)
        if (!ad_has(&shape, other->axes[i]))
            all *= ad_axis_size(m->graph, other->axes[i], &m->capacity);
    if (all > 300000 || other->rank + shape.rank > 8)
        return windows;
    return ad_scale(ad_contract(windows, filter, over), 1 / sqrt((double)volume(m, over)));
}

static void grow(maker *m)
{
    /* functions that grow no faster than x, those that grow or are not defined everywhere, and those that jump */
    enum { SLOW, FAST, BROKEN };
    ad_op kinds[3][AD_CUSTOM];
    size_t n_kinds[3] = { 0 };
    for (ad_op op = AD_NEG; op < AD_CUSTOM; op++) {
        const ad_op_facts *facts = ad_op_facts_of(op);
        bool fast = facts->lo > 0 || facts->growth == AD_EXPONENTIAL || ad_op_degree(op, 2) > 1;
        int kind = fast ? FAST : facts->breaks == AD_JUMPS ? BROKEN : SLOW;
        kinds[kind][n_kinds[kind]++] = op;
    }
    static const double powers[] = { 2, 3, -1, 0.5, 1.7 };
    ad_graph *g = m->graph;
    ad_var x = pick(m), y = pick(m);
    ad_shape sx = *ad_shape_get(x), sy = *ad_shape_get(y), shape = { 0 };
    ad_axis axis = fixed_of(m, x);
    size_t size = axis.id ? ad_axis_fixed(g, axis) : 0;
    switch (below(m->windows ? 26 : 24)) {
    case 0:
    case 1:
    case 2:
        keep(m, ad_unary_at(AD_HERE, kinds[SLOW][below((int)n_kinds[SLOW])], x, 0.3));
        break;
    case 3:
        keep(m, ad_unary_at(AD_HERE, kinds[FAST][below((int)n_kinds[FAST])], ad_sigmoid(x), powers[below(5)]));
        break;
    case 4:
        if (is_leaf(m, x))
            keep(m, ad_unary_at(AD_HERE, kinds[BROKEN][below((int)n_kinds[BROKEN])], x, 0.3));
        break;
    case 5:
    case 6:
    case 7:
        for (int i = 0; i < sx.rank; i++)
            if (below(2) && !ad_has(&sy, sx.axes[i]))
                shape.rank = 0;
        for (int tries = 0; tries < 20; tries++, y = pick(m)) {
            sy = *ad_shape_get(y);
            bool within = true;
            for (int i = 0; i < sy.rank; i++)
                within = within && ad_has(&sx, sy.axes[i]);
            if (!within)
                continue;
            int op = below(4);
            x = ad_tanh(x);
            y = ad_sigmoid(ad_tanh(y)); /* from 0.27 to 0.73: a quotient stays in a float's range */
            keep(m, op == 0 ? ad_add(x, y) : op == 1 ? ad_sub(y, x) : op == 2 ? ad_mul(y, x) : ad_div(x, y));
            break;
        }
        break;
    case 8:
        shape.axes[0] = m->axes[below(m->n_axes)];
        keep(m, below(2) ? ad_scale(x, real(-1, 1)) : ad_scale_by(x, real(-1, 1), shape.axes[0], -0.5));
        break;
    case 9:
    case 10:
    case 11:
    case 12:
    case 13: {
        if (below(3) == 0)
            x = ad_scale_by(x, 0.7, m->axes[1], -0.5);
        if (below(4) == 0)
            y = ad_neg(y);
        size_t all = volume(m, sx);
        for (int i = 0; i < sx.rank; i++)
            if (ad_has(&sy, sx.axes[i]) && below(3))
                shape.axes[shape.rank++] = sx.axes[i];
        for (int i = 0; i < sy.rank; i++)
            if (!ad_has(&sx, sy.axes[i]))
                all *= ad_axis_size(g, sy.axes[i], &m->capacity);
        if (all > 300000 || sx.rank + sy.rank > 8)
            break;
        keep(m, ad_scale(ad_contract(x, y, shape), 1 / sqrt((double)volume(m, shape))));
        break;
    }
    case 14:
        for (int i = 0; i < sx.rank; i++)
            if (below(2))
                shape.axes[shape.rank++] = sx.axes[i];
        keep(m, ad_scale(ad_sum(x, shape), 1 / (double)volume(m, shape)));
        break;
    case 15:
        shape = sx;
        for (int i = 0; i < 2 && shape.rank < 5; i++) {
            axis = m->axes[below(m->n_axes)];
            if (!ad_has(&shape, axis))
                shape.axes[shape.rank++] = axis;
        }
        if (volume(m, shape) <= 20000)
            keep(m, ad_expand(x, shuffled(shape)));
        break;
    case 16:
        if (size > 1) {
            size_t count = 1 + (size_t)below((int)size - 1), start = (size_t)below((int)(size - count) + 1);
            if (below(3) == 0) { /* only the derivative of a slice builds an unslice */
                ad_axis whole = fixed(m, size + start + 2);
                keep(m, ad_node_make(g,
                                     (ad_node){ .op = AD_UNSLICE,
                                                .where = AD_HERE,
                                                .axis = axis,
                                                .axis2 = whole,
                                                .shape = ad_shape_replace(sx, axis, whole),
                                                .start = start },
                                     1, &x.id));
                break;
            }
            keep(m, below(4) ? ad_slice(x, axis, start, count, fixed(m, count)) : ad_take(x, axis, start));
        }
        break;
    case 17:
        if (size) {
            ad_var parts[3] = { x, ad_transpose(x, shuffled(sx)), ad_neg(x) };
            ad_axis axes[3] = { axis, axis, axis };
            keep(m, below(2) ? ad_concat(parts, 3, axes, fixed(m, 3 * size)) : ad_stack(parts, 2, fixed(m, 2)));
        }
        break;
    case 18:
        for (int i = 0; size && i < sx.rank; i++)
            if (!ad_same(sx.axes[i], axis) && ad_axis_kind(g, sx.axes[i]) == AD_FIXED) {
                keep(m, ad_merge(x, axis, sx.axes[i], fixed(m, size * ad_axis_fixed(g, sx.axes[i]))));
                break;
            }
        for (size_t k = 2; size && k < size; k++)
            if (size % k == 0) {
                ad_axis outer = fixed(m, k), inner = fixed(m, size / k);
                keep(m, ad_split(x, axis, outer, inner));
                break;
            }
        break;
    case 19:
        if (sx.rank) {
            axis = sx.axes[below(sx.rank)];
            if (!ad_has(&sx, ad_prime(axis)))
                keep(m, ad_relabel(x, axis, ad_prime(axis)));
        }
        break;
    case 20:
        keep(m, ad_transpose(x, shuffled(sx)));
        break;
    case 21:
        if (m->index.graph && ad_has(&sx, m->index_axis)) {
            keep(m, ad_gather(x, m->index, m->index_axis));
        } else if (m->index.graph) {
            shape = *ad_shape_get(m->index);
            bool holds = true;
            for (int i = 0; i < shape.rank; i++)
                holds = holds && ad_has(&sx, shape.axes[i]);
            if (below(2))
                shape.rank--;
            if (holds)
                keep(m, ad_scatter_at(AD_HERE, x, m->index, m->index_axis, shape));
        }
        break;
    case 22:
        if (sx.rank) {
            axis = sx.axes[below(sx.rank)];
            int op = below(4);
            keep(m, op == 0         ? ad_softmax(x, axis)
                    : op == 1       ? ad_logsumexp(x, axis)
                    : op == 2       ? ad_max(x, axis)
                    : is_leaf(m, x) ? ad_argmax_at(AD_HERE, x, axis)
                                    : ad_softmax(x, axis));
        }
        break;
    case 24:
        if (size)
            keep(m, random_windows(m, x, axis, size));
        break;
    case 25:
        if (size)
            keep(m, filtered(m, random_windows(m, x, axis, size)));
        break;
    default:
        axis = m->axes[below(m->n_axes)];
        shape = random_shape(m, 2, 5000);
        keep(m, below(3) == 0 ? ad_delta(g, axis, ad_prime(axis))
                : below(2)    ? ad_custom(&user, x)
                              : ad_constant(g, real(-1, 1), shape));
    }
}

static void make(maker *m, int seed, int steps)
{
    static const ad_init init = { .deviation = 1 };
    char name[16];
    *m = (maker){ .graph = ad_graph_new(NULL), .windows = seed >= WINDOWS };
    state = (uint64_t)seed * 7919 + 1;
    for (int i = 0; i < 4; i++)
        below(2);
    m->axes[m->n_axes++] = ad_batch(m->graph, "batch");
    m->axes[m->n_axes++] = ad_width(m->graph, "n", 1);
    m->axes[m->n_axes++] = ad_width(m->graph, "wide", 1.5);
    m->capacity =
        (ad_sizes){ .n = (size_t)odd[below(7)], .n_batches = 1, .batches = { { m->axes[0], (size_t)odd[below(7)] } } };
    for (int i = 0; i < 4; i++)
        m->axes[m->n_axes++] = fixed(m, (size_t)odd[below(6)]);
    for (; m->n_leaves < 5; m->n_leaves++) {
        snprintf(name, sizeof name, "leaf%d", m->n_leaves);
        ad_shape shape = random_shape(m, below(4), 4500);
        bool data = ad_has(&shape, m->axes[0]) || below(2);
        m->leaves[m->n_leaves] = data ? ad_input(m->graph, name, shape) : ad_param(m->graph, name, shape, init);
        keep(m, m->leaves[m->n_leaves]);
    }
    m->index_axis = m->axes[3 + below(4)];
    ad_shape shape = random_shape(m, 1 + below(2), 200);
    if (shape.rank && !ad_has(&shape, m->index_axis)) {
        m->index = ad_input(m->graph, "index", shape);
        m->leaves[m->n_leaves++] = m->index;
    }
    for (int i = 0; i < steps; i++)
        grow(m);
    cr_assert(ad_graph_size(m->graph) < MOST);
}

/* The last three outputs as updates, data = keep data + factor output, against the values that e has of them. */
static void check_updates(const maker *m, ad_plan *plan, const ad_var *outputs, const naive *e, ad_type type,
                          double tolerance)
{
    const double keep[] = { 1, 0.5, 0 }, factor = -0.75;
    long allocations = ad_allocations();
    cr_assert_eq(ad_run(plan, &e->sizes, NULL), 0);
    cr_assert_eq(ad_allocations(), allocations);
    for (int o = 3; o < 6; o++) {
        size_t count = ad_elements(m->graph, ad_shape_get(outputs[o]), &e->sizes);
        const double *values = e->values[outputs[o].id];
        double most = 1, *data = calloc(count, sizeof *data);
        float *data_float = (float *)data;
        for (size_t k = 0; k < count; k++) {
            most = fmax(most, fabs(values[k]));
            if (type == AD_DOUBLE)
                data[k] = (double)(k % 5);
            else
                data_float[k] = (float)(k % 5);
        }
        cr_assert_eq(ad_update(plan, o, keep[o - 3], factor, data), 0);
        for (size_t k = 0; k < count; k++) {
            double got = type == AD_DOUBLE ? data[k] : (double)data_float[k];
            double truth = keep[o - 3] * (double)(k % 5) + factor * values[k];
            cr_assert(fabs(got - truth) <= 4 * tolerance * most, "update %d, element %zu: %g, not %g", o, k, got,
                      truth);
        }
        free(data);
    }
}

static void compare(int seed, ad_type type, int threads, double tolerance)
{
    maker m;
    make(&m, seed, 25);
    ad_var outputs[6];
    for (int i = 0; i < 6; i++)
        outputs[i] = i < 3 && i < m.n_pool ? m.pool[m.n_pool - 1 - i] : m.pool[below(m.n_pool)];
    ad_error error = { 0 };
    ad_plan_spec spec = { .type = type, .threads = threads, .capacity = m.capacity };
    ad_plan *plan = ad_plan_new(outputs, 6, &spec, &error);
    spec.updates = 3;
    ad_plan *stepper = ad_plan_new(outputs, 6, &spec, &error);
    cr_assert(plan && stepper, "seed %d: %s", seed, error.text);
    double *bound_output = calloc(20001, sizeof(double));
    ad_bind_output(plan, 1, bound_output);
    for (int round = 0; round < 3; round++) {
        size_t full = m.capacity.batches[0].size;
        naive e = { .graph = m.graph, .sizes = m.capacity };
        e.sizes.batches[0].size = round == 1 ? (full + 1) / 2 : full;
        void *data[LEAVES + 1];
        for (int i = 0; i < m.n_leaves; i++) {
            int id = m.leaves[i].id;
            size_t count = ad_elements(m.graph, ad_shape_get(m.leaves[i]), &e.sizes);
            e.values[id] = calloc(count, sizeof(double));
            data[i] = calloc(count, sizeof(double));
            for (size_t k = 0; k < count; k++) {
                double v = m.leaves[i].id == m.index.id && m.index.graph
                               ? below((int)ad_axis_fixed(m.graph, m.index_axis))
                               : (double)(float)real(-1.5, 1.5);
                e.values[id][k] = v;
                if (type == AD_DOUBLE)
                    ((double *)data[i])[k] = v;
                else
                    ((float *)data[i])[k] = (float)v;
            }
            cr_assert_eq(ad_bind(plan, m.leaves[i], data[i]), 0);
            cr_assert_eq(ad_bind(stepper, m.leaves[i], data[i]), 0);
        }
        long allocations = ad_allocations();
        cr_assert_eq(ad_run(plan, &e.sizes, &error), 0, "seed %d: %s", seed, error.text);
        cr_assert_eq(ad_allocations(), allocations);
        void *before[6];
        for (int o = 0; o < 6; o++) {
            size_t count = ad_elements(m.graph, ad_shape_get(outputs[o]), &e.sizes);
            double worst = 0, most = 1;
            evaluate(&e, outputs[o].id);
            before[o] = calloc(count, sizeof(double));
            memcpy(before[o], ad_output(plan, o), count * (type == AD_DOUBLE ? sizeof(double) : sizeof(float)));
            for (size_t k = 0; k < count; k++)
                most = fmax(most, fabs(e.values[outputs[o].id][k]));
            for (size_t k = 0; k < count; k++) {
                double got = type == AD_DOUBLE ? ((double *)before[o])[k] : (double)((float *)before[o])[k];
                double d = fabs(got - e.values[outputs[o].id][k]) / most;
                worst = d <= worst ? worst : d == d ? d : INFINITY;
            }
            if (!(worst <= tolerance)) {
                ad_print(m.graph, stderr);
                ad_plan_print(plan, stderr);
            }
            cr_assert(worst <= tolerance, "seed %d, output %d (%%%d), round %d: off by %g", seed, o, outputs[o].id,
                      round, worst);
        }
        cr_assert_eq(ad_run(plan, &e.sizes, &error), 0);
        for (int o = 0; o < 6; o++) { /* the same bits again */
            size_t count = ad_elements(m.graph, ad_shape_get(outputs[o]), &e.sizes);
            cr_assert_eq(memcmp(before[o], ad_output(plan, o), count * (type == AD_DOUBLE ? 8 : 4)), 0, "seed %d",
                         seed);
            free(before[o]);
        }
        check_updates(&m, stepper, outputs, &e, type, tolerance);
        for (int i = 0; i < m.n_leaves; i++)
            free(data[i]);
        for (int id = 0; id < MOST; id++)
            free(e.values[id]);
    }
    free(bound_output);
    ad_plan_free(plan);
    ad_plan_free(stepper);
    ad_graph_free(m.graph);
}

enum { SEEDS = 300 };

Test(run, random_graphs_in_double)
{
    for (int seed = 0; seed < SEEDS; seed++)
        compare(seed, AD_DOUBLE, 1, 2e-13);
}

Test(run, random_graphs_in_float)
{
    for (int seed = SEEDS; seed < 2 * SEEDS; seed++)
        compare(seed, AD_FLOAT, 1, 5e-5);
}

Test(run, random_graphs_on_two_threads)
{
    for (int seed = 2 * SEEDS; seed < 2 * SEEDS + 100; seed++)
        compare(seed, AD_DOUBLE, 2, 2e-13);
}

Test(run, random_graphs_with_windows)
{
    for (int seed = WINDOWS; seed < WINDOWS + 200; seed++)
        compare(seed, AD_DOUBLE, 1 + seed % 2, 2e-13);
    for (int seed = WINDOWS + 200; seed < WINDOWS + 300; seed++)
        compare(seed, AD_FLOAT, 1, 5e-5);
}

/* Pictures among zeros, filters of both axes, and the adjoints of both: products where windows lie, in one thread and
 * in two, at a full batch and at one sample. */
static void check_filter(ad_type type, int threads, size_t stride, size_t channels, double tolerance)
{
    enum { SIZE = 10, LENGTH = 3, OUTPUTS = 4, SAMPLES = 2 };
    ad_graph *g = ad_graph_new(NULL);
    ad_axis batch = ad_batch(g, "batch"), rows = ad_fixed(g, "rows", SIZE), columns = ad_fixed(g, "columns", SIZE);
    ad_axis in = ad_fixed(g, "in", channels), out = ad_fixed(g, "out", 32), k1 = ad_fixed(g, "k1", LENGTH);
    ad_axis k2 = ad_fixed(g, "k2", LENGTH), high = ad_fixed(g, "high", SIZE + 2), wide = ad_fixed(g, "wide", SIZE + 2);
    size_t count = (SIZE - 1) / stride + 1;
    ad_axis rows2 = stride > 1 ? ad_fixed(g, "rows2", count) : rows;
    ad_axis columns2 = stride > 1 ? ad_fixed(g, "columns2", count) : columns;
    ad_var x = ad_input(g, "x", ad_shape_of(batch, rows, columns, in));
    ad_var w = ad_param(g, "w", ad_shape_of(k1, k2, in, out), (ad_init){ .deviation = 1 });
    ad_var padded = ad_pad(ad_pad(ad_sin(x), rows, 1, high), columns, 1, wide);
    ad_var windows = ad_windows(padded, high, rows2, k1, ((ad_window){ .stride = stride }));
    windows = ad_windows(windows, wide, columns2, k2, ((ad_window){ .stride = stride }));
    ad_var y = ad_scale(ad_contract(windows, w, ad_shape_of(k1, k2, in)), 0.1), adjoint;
    ad_site *sites;
    int n = ad_backward(y, ad_cos(y), &x, 1, &adjoint, &sites);
    ad_var outputs[OUTPUTS] = { y, adjoint, ad_gradient(w, sites, n, (ad_shape){ 0 }), padded };
    ad_sizes sizes = { .n = 1, .n_batches = 1, .batches = { { batch, SAMPLES } } };
    ad_error error = { 0 };
    ad_plan_spec spec = { .type = type, .threads = threads, .capacity = sizes };
    ad_plan *plan = ad_plan_new(outputs, OUTPUTS, &spec, &error);
    cr_assert(plan, "%s", error.text);
    ad_var leaves[] = { x, w };
    for (int round = 0; round < 2; round++) {
        naive e = { .graph = g, .sizes = sizes };
        void *data[2];
        e.sizes.batches[0].size = round ? 1 : SAMPLES;
        for (int i = 0; i < 2; i++) {
            size_t size = ad_elements(g, ad_shape_get(leaves[i]), &e.sizes);
            double *values = e.values[leaves[i].id] = calloc(size, sizeof *values);
            data[i] = calloc(size, sizeof(double));
            for (size_t k = 0; k < size; k++) {
                values[k] = (double)(float)real(-1, 1);
                if (type == AD_DOUBLE)
                    ((double *)data[i])[k] = values[k];
                else
                    ((float *)data[i])[k] = (float)values[k];
            }
            ad_bind(plan, leaves[i], data[i]);
        }
        cr_assert_eq(ad_run(plan, &e.sizes, &error), 0, "%s", error.text);
        for (int o = 0; o < OUTPUTS; o++) {
            evaluate(&e, outputs[o].id);
            const void *got = ad_output(plan, o);
            size_t size = ad_elements(g, ad_shape_get(outputs[o]), &e.sizes);
            double worst = 0, most = 1;
            for (size_t k = 0; k < size; k++) {
                double truth = e.values[outputs[o].id][k];
                worst =
                    fmax(worst, fabs((type == AD_DOUBLE ? ((const double *)got)[k] : (double)((const float *)got)[k]) -
                                     truth));
                most = fmax(most, fabs(truth));
            }
            cr_expect(worst <= tolerance * most, "stride %zu, %zu channels, output %d: off by %g of %g", stride,
                      channels, o, worst, most);
        }
        for (int i = 0; i < 2; i++)
            free(data[i]);
        for (int id = 0; id < MOST; id++)
            free(e.values[id]);
    }
    ad_plan_free(plan);
    ad_graph_free(g);
}

Test(run, filters_are_products_where_their_windows_lie)
{
    static const size_t channels[] = { 1, 3, 32 };
    for (size_t stride = 1; stride <= 2; stride++)
        for (int c = 0; c < 3; c++) {
            check_filter(AD_DOUBLE, 1 + c % 2, stride, channels[c], 1e-14);
            check_filter(AD_FLOAT, 2 - c % 2, stride, channels[c], 1e-5);
        }
}

/* ---- a training step's shape, at sizes that share work among threads ---- */
Test(run, large_work_agrees_between_threads)
{
    ad_graph *g = ad_graph_new(NULL);
    ad_axis batch = ad_batch(g, "batch"), n = ad_width(g, "n", 1), in = ad_fixed(g, "in", 300);
    ad_var x = ad_input(g, "x", ad_shape_of(batch, in));
    ad_var w = ad_param(g, "w", ad_shape_of(in, n), (ad_init){ .deviation = 1 });
    ad_var b = ad_param(g, "b", ad_shape_of(n), (ad_init){ .deviation = 1 });
    ad_var h = ad_tanh(ad_add(ad_scale_by(ad_matmul(x, w), 1, in, -0.5), b));
    ad_var outputs[] = { h,
                         ad_sum(h, ad_shape_of(batch)),
                         ad_sum(h, ad_shape_of(n)),
                         ad_softmax(h, n),
                         ad_contract(h, h, ad_shape_of(n)),
                         ad_sum(h, ad_shape_of(batch, n)) };
    ad_sizes sizes = { .n = 500, .n_batches = 1, .batches = { { batch, 700 } } };
    float *data = calloc(700 * 300, sizeof *data), *weights = calloc(300 * 500, sizeof *weights);
    for (int i = 0; i < 700 * 300; i++)
        data[i] = (float)real(-1, 1);
    for (int i = 0; i < 300 * 500; i++)
        weights[i] = (float)real(-1, 1);
    ad_plan *plans[2];
    for (int t = 0; t < 2; t++) {
        plans[t] =
            ad_plan_new(outputs, 6, &(ad_plan_spec){ .type = AD_FLOAT, .threads = t + 1, .capacity = sizes }, NULL);
        cr_assert(plans[t]);
        ad_bind(plans[t], x, data);
        ad_bind(plans[t], w, weights);
        ad_bind(plans[t], b, weights);
        cr_assert_eq(ad_run(plans[t], &sizes, NULL), 0);
    }
    for (int o = 0; o < 6; o++) {
        size_t count = ad_elements(g, ad_shape_get(outputs[o]), &sizes);
        const float *one = ad_output(plans[0], o), *two = ad_output(plans[1], o);
        for (size_t i = 0; i < count; i++)
            cr_assert(fabs((double)one[i] - (double)two[i]) <= 1e-4 * (1 + fabs((double)one[i])), "output %d", o);
    }
    for (int t = 0; t < 2; t++)
        ad_plan_free(plans[t]);
    free(data);
    free(weights);
    ad_graph_free(g);
}

static double entry_of(const ad_plan *plan, int output, ad_type type, size_t at)
{
    return type == AD_DOUBLE ? ((const double *)ad_output(plan, output))[at]
                             : (double)((const float *)ad_output(plan, output))[at];
}

/* Products of every size around those that are computed without packing: y = c x w, z = c y wᵀ, and w := keep w +
 * factor xᵀ y, in both precisions, beside sums in the order of the definition. A sum of k terms in (-1, 1) is off by at
 * most k eps of k. */
static void product_and_update(ad_type type, size_t batch_size, size_t in_size, size_t out_size, double keep)
{
    enum { MOST_ENTRIES = 1 << 17 };
    static double x[MOST_ENTRIES], w[MOST_ENTRIES], y[MOST_ENTRIES], expected[MOST_ENTRIES];
    static float x_float[MOST_ENTRIES], w_float[MOST_ENTRIES];
    const double c = 0.7, factor = -0.3, eps = type == AD_DOUBLE ? DBL_EPSILON : (double)FLT_EPSILON;
    ad_graph *g = ad_graph_new(NULL);
    ad_axis batch = ad_batch(g, "batch"), in = ad_fixed(g, "in", in_size), out = ad_fixed(g, "out", out_size);
    ad_var at_x = ad_input(g, "x", ad_shape_of(batch, in));
    ad_var at_w = ad_param(g, "w", ad_shape_of(in, out), (ad_init){ .deviation = 1 });
    ad_var at_y = ad_scale(ad_matmul(at_x, at_w), c);
    ad_var at_z = ad_scale(ad_contract(at_y, at_w, ad_shape_of(out)), c);
    ad_var outputs[] = { at_y, at_z, ad_contract(at_x, at_y, ad_shape_of(batch)) };
    ad_error error = { 0 };
    ad_sizes sizes = { .n = 1, .n_batches = 1, .batches = { { batch, batch_size } } };
    ad_plan *plan = ad_plan_new(outputs, 3, &(ad_plan_spec){ .type = type, .capacity = sizes, .updates = 1 }, &error);
    cr_assert(plan, "%s", error.text);
    for (size_t i = 0; i < batch_size * in_size; i++)
        x[i] = x_float[i] = (float)real(-1, 1);
    for (size_t i = 0; i < in_size * out_size; i++)
        w[i] = w_float[i] = (float)real(-1, 1);
    ad_bind(plan, at_x, type == AD_DOUBLE ? (void *)x : x_float);
    ad_bind(plan, at_w, type == AD_DOUBLE ? (void *)w : w_float);
    cr_assert_eq(ad_run(plan, &sizes, NULL), 0);
    for (size_t i = 0; i < batch_size; i++)
        for (size_t o = 0; o < out_size; o++) {
            double sum = 0, got = entry_of(plan, 0, type, i * out_size + o);
            for (size_t k = 0; k < in_size; k++)
                sum += x[i * in_size + k] * w[k * out_size + o];
            y[i * out_size + o] = c * sum;
            cr_assert(fabs(got - c * sum) <= eps * (double)(in_size * in_size), "%zu x %zu x %zu", batch_size, in_size,
                      out_size);
        }
    for (size_t i = 0; i < batch_size; i++)
        for (size_t k = 0; k < in_size; k++) {
            double sum = 0, got = entry_of(plan, 1, type, i * in_size + k);
            for (size_t o = 0; o < out_size; o++)
                sum += y[i * out_size + o] * w[k * out_size + o];
            cr_assert(fabs(got - c * sum) <= eps * (double)(in_size * out_size * (in_size + out_size)),
                      "transposed: %zu x %zu x %zu", batch_size, out_size, in_size);
        }
    for (size_t k = 0; k < in_size * out_size; k++) {
        double sum = 0;
        for (size_t i = 0; i < batch_size; i++)
            sum += x[i * in_size + k / out_size] * y[i * out_size + k % out_size];
        expected[k] = keep * w[k] + factor * sum;
    }
    cr_assert_eq(ad_update(plan, 2, keep, factor, type == AD_DOUBLE ? (void *)w : w_float), 0);
    for (size_t k = 0; k < in_size * out_size; k++)
        cr_assert(fabs((type == AD_DOUBLE ? w[k] : (double)w_float[k]) - expected[k]) <=
                      4 * eps * (double)(batch_size * in_size * (batch_size + in_size)),
                  "keep %g: %zu x %zu x %zu", keep, batch_size, in_size, out_size);
    ad_plan_free(plan);
    ad_graph_free(g);
}

Test(run, small_products_and_their_updates)
{
    static const size_t size[] = { 1, 3, 16, 33, 48, 64 };
    for (int type = 0; type < 2; type++)
        for (int i = 0; i < 216; i++)
            for (int k = 0; k < 3; k++)
                product_and_update(type ? AD_DOUBLE : AD_FLOAT, size[i / 36], size[i / 6 % 6], size[i % 6],
                                   (double[]){ 0, 0.9, 1 }[k]);
    for (int type = 0; type < 2; type++) /* in blocks, with rests of rows, of columns and of what is summed */
        for (int k = 0; k < 3; k++)
            product_and_update(type ? AD_DOUBLE : AD_FLOAT, 150, 304, 400, (double[]){ 0, 0.9, 1 }[k]);
}

/* L = sum of x u v: the gradient of u reads v and that of v reads u, so no update may change what another reads. */
Test(run, updates_do_not_see_each_other)
{
    ad_graph *g = ad_graph_new(NULL);
    ad_axis batch = ad_batch(g, "batch"), in = ad_fixed(g, "in", 2), mid = ad_fixed(g, "mid", 3),
            out = ad_fixed(g, "out", 2);
    ad_var x = ad_input(g, "x", ad_shape_of(batch, in));
    ad_var u = ad_param(g, "u", ad_shape_of(in, mid), (ad_init){ .deviation = 1 });
    ad_var v = ad_param(g, "v", ad_shape_of(mid, out), (ad_init){ .deviation = 1 });
    ad_var y = ad_matmul(x, ad_matmul(u, v)), gradients[2], wrt[] = { u, v };
    ad_var loss = ad_sum(y, *ad_shape_get(y)), one = ad_constant(g, 1, (ad_shape){ 0 });
    cr_assert(ad_backward(loss, one, wrt, 2, gradients, NULL) >= 0);
    ad_sizes sizes = { .n = 1, .n_batches = 1, .batches = { { batch, 2 } } };
    ad_plan *plan = ad_plan_new(gradients, 2, &(ad_plan_spec){ .capacity = sizes, .updates = 2 }, NULL);
    float data[] = { 1, 2, 3, 4 }, at_u[] = { 1, 2, 3, 4, 5, 6 }, at_v[] = { 1, 0, 2, 1, 0, 3 };
    ad_bind(plan, x, data);
    ad_bind(plan, u, at_u);
    ad_bind(plan, v, at_v);
    cr_assert_eq(ad_run(plan, &sizes, NULL), 0);
    cr_assert_eq(ad_update(plan, 0, 1, -1, at_u), 0);
    cr_assert_eq(ad_update(plan, 1, 1, -1, at_v), 0);
    cr_assert_eq(ad_update(plan, 2, 1, -1, at_v), -1);
    /* With s = sum over the batch of x = (4, 6): dL/du = s times the row sums of v (1, 3, 3), dL/dv = s u = (28, 38,
     * 48). */
    const float new_u[] = { 1 - 4, 2 - 12, 3 - 12, 4 - 6, 5 - 18, 6 - 18 };
    const float new_v[] = { 1 - 28, 0 - 28, 2 - 38, 1 - 38, 0 - 48, 3 - 48 };
    for (int k = 0; k < 6; k++) {
        cr_assert_float_eq(at_u[k], new_u[k], 1e-5, "u[%d] = %g", k, (double)at_u[k]);
        cr_assert_float_eq(at_v[k], new_v[k], 1e-5, "v[%d] = %g", k, (double)at_v[k]);
    }
    ad_plan_free(plan);
    ad_graph_free(g);
}

/* What is computed twice is computed once, whoever reads it: sums and what adds them up, scaled by one of the two, as
 * outputs, as updates; steps of a sequence, sums over one entry, are read where they lie. */
Test(run, twins_and_steps)
{
    enum { ROWS = 3, STEPS = 4, N = 5 };
    ad_graph *g = ad_graph_new(NULL);
    ad_axis batch = ad_batch(g, "batch"), time = ad_fixed(g, "time", STEPS), n = ad_fixed(g, "n", N);
    ad_var x = ad_input(g, "x", ad_shape_of(batch, time, n)), w = ad_param(g, "w", ad_shape_of(n), (ad_init){ 0 });
    ad_shape over = ad_shape_of(batch);
    ad_var first = ad_take(x, time, 1), last = ad_mul(ad_take(x, time, 3), ad_expand(w, *ad_shape_get(first)));
    ad_var sums[4], outputs[7];
    for (int k = 0; k < 4; k++)
        sums[k] = ad_add(ad_sum(first, over), ad_sum(last, over));
    outputs[0] = ad_scale(sums[0], 3);
    outputs[1] = ad_tanh(sums[1]);
    outputs[2] = ad_take(x, time, 2);
    outputs[3] = ad_contract(sums[2], ad_scale(last, 0.5), ad_shape_of(n));
    outputs[4] = ad_sub(sums[2], ad_sum(last, over));
    outputs[5] = sums[2];
    outputs[6] = sums[3];
    double data[ROWS * STEPS * N], at_w[N], one[N], two[N], sum[N];
    for (int k = 0; k < ROWS * STEPS * N; k++)
        data[k] = sin(0.7 + 1.3 * k);
    for (int k = 0; k < N; k++)
        at_w[k] = one[k] = two[k] = 0.5 + k;
    ad_sizes sizes = { .n = 1, .n_batches = 1, .batches = { { batch, ROWS } } };
    ad_error error = { 0 };
    ad_plan_spec spec = { .type = AD_DOUBLE, .threads = 1, .capacity = sizes, .updates = 2 };
    ad_plan *plan = ad_plan_new(outputs, 7, &spec, &error);
    cr_assert(plan, "%s", error.text);
    ad_bind(plan, x, data);
    ad_bind(plan, w, at_w);
    for (int turn = 0; turn < 2; turn++)
        cr_assert_eq(ad_run(plan, &sizes, NULL), 0);
    cr_assert_eq(ad_update(plan, 5, 1, -1, one), 0);
    cr_assert_eq(ad_update(plan, 6, 0.5, 2, two), 0);
    const double *got[7];
    for (int k = 0; k < 7; k++)
        got[k] = ad_output(plan, k);
    for (int k = 0; k < N; k++) {
        double plain = 0;
        sum[k] = 0;
        for (int i = 0; i < ROWS; i++) {
            plain += data[(i * STEPS + 1) * N + k];
            sum[k] += data[(i * STEPS + 1) * N + k] + at_w[k] * data[(i * STEPS + 3) * N + k];
            cr_assert_float_eq(got[2][i * N + k], data[(i * STEPS + 2) * N + k], 1e-15);
        }
        cr_assert_float_eq(got[0][k], 3 * sum[k], 1e-13);
        cr_assert_float_eq(got[1][k], tanh(sum[k]), 1e-13);
        cr_assert_float_eq(got[4][k], plain, 1e-13);
        cr_assert_float_eq(one[k], 0.5 + k - sum[k], 1e-13);
        cr_assert_float_eq(two[k], 0.5 * (0.5 + k) + 2 * sum[k], 1e-13);
    }
    for (int i = 0; i < ROWS; i++) {
        double product = 0;
        for (int k = 0; k < N; k++)
            product += 0.5 * sum[k] * at_w[k] * data[(i * STEPS + 3) * N + k];
        cr_assert_float_eq(got[3][i], product, 1e-13);
    }
    ad_plan_free(plan);
    ad_graph_free(g);
}

/* ---- accuracy at the ends of the line ---- */
Test(run, functions_keep_their_accuracy_far_out)
{
    static const double at[] = { -700, -40, -30, -8, -1e-9, 0, 1e-9, 8, 40, 700 };
    static const ad_op ops[] = { AD_SIGMOID, AD_SOFTPLUS, AD_SWISH, AD_GELU, AD_TANH, AD_ERF };
    ad_graph *g = ad_graph_new(NULL);
    ad_axis a = ad_fixed(g, "a", 10);
    ad_var x = ad_input(g, "x", ad_shape_of(a)), y[6];
    for (int i = 0; i < 6; i++)
        y[i] = ad_unary_at(AD_HERE, ops[i], x, 0);
    ad_sizes sizes = { .n = 1 };
    ad_plan *plan = ad_plan_new(y, 6, &(ad_plan_spec){ .type = AD_DOUBLE, .threads = 1, .capacity = sizes }, NULL);
    ad_bind(plan, x, at);
    cr_assert_eq(ad_run(plan, &sizes, NULL), 0);
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 10; k++) {
            double got = ((const double *)ad_output(plan, i))[k], truth = unary(ops[i], at[k], 0);
            cr_assert(fabs(got - truth) <= 2e-13 * fabs(truth) + 1e-300, "%s(%g) = %g, not %g", ad_op_name(ops[i]),
                      at[k], got, truth);
        }
    ad_plan_free(plan);
    ad_graph_free(g);
}

Test(run, an_element_does_not_depend_on_its_position)
{
    ad_graph *g = ad_graph_new(NULL);
    ad_axis batch = ad_batch(g, "batch");
    ad_var x = ad_input(g, "x", ad_shape_of(batch));
    ad_var y = ad_gelu(ad_tanh(ad_add(ad_exp(x), ad_sigmoid(x))));
    ad_sizes sizes = { .n = 1, .n_batches = 1, .batches = { { batch, 1000 } } };
    ad_plan *plan = ad_plan_new(&y, 1, &(ad_plan_spec){ .type = AD_FLOAT, .threads = 1, .capacity = sizes }, NULL);
    float data[1000], all[1000];
    for (int i = 0; i < 1000; i++)
        data[i] = (float)real(-3, 3);
    ad_bind(plan, x, data);
    cr_assert_eq(ad_run(plan, &sizes, NULL), 0);
    memcpy(all, ad_output(plan, 0), sizeof all);
    for (size_t size = 1; size < 1000; size += 13) {
        sizes.batches[0].size = size;
        ad_bind(plan, x, data + 1000 - size);
        cr_assert_eq(ad_run(plan, &sizes, NULL), 0);
        cr_assert_eq(memcmp(ad_output(plan, 0), all + 1000 - size, size * sizeof(float)), 0, "size %zu", size);
    }
    ad_plan_free(plan);
    ad_graph_free(g);
}

/* ---- refusals ---- */
Test(run, refuses_what_it_cannot_run)
{
    ad_graph *g = ad_graph_new(NULL);
    ad_axis batch = ad_batch(g, "batch"), n = ad_width(g, "n", 1), table = ad_fixed(g, "table", 3);
    ad_var x = ad_input(g, "x", ad_shape_of(batch, n)), w = ad_param(g, "w", ad_shape_of(table, n), (ad_init){ 0 });
    ad_var picks = ad_input(g, "picks", ad_shape_of(batch));
    ad_var y = ad_add(ad_relu(x), ad_gather(w, picks, table));
    ad_sizes sizes = { .n = 4, .n_batches = 1, .batches = { { batch, 8 } } }, other = sizes;
    float data[32] = { 0 }, rows[12] = { 0 };
    ad_error error = { 0 };
    cr_assert_null(
        ad_plan_new(&y, 1, &(ad_plan_spec){ .type = AD_FLOAT, .threads = 1, .capacity = { .n = 4 } }, &error));
    cr_assert(strstr(error.text, "axis batch is not bound"), "%s", error.text);
    ad_plan *plan = ad_plan_new(&y, 1, &(ad_plan_spec){ .type = AD_FLOAT, .threads = 1, .capacity = sizes }, NULL);
    ad_bind(plan, w, rows);
    ad_bind(plan, picks, data);
    error = (ad_error){ 0 };
    cr_assert_eq(ad_run(plan, &sizes, &error), -1);
    cr_assert(strstr(error.text, "\"x\"") && strstr(error.text, "not bound"), "%s", error.text);
    ad_bind(plan, x, data);
    other.n = 5;
    error = (ad_error){ 0 };
    cr_assert_eq(ad_run(plan, &other, &error), -1);
    cr_assert(strstr(error.text, "n is 5"), "%s", error.text);
    for (size_t size = 0; size < 10; size += 9) {
        other = sizes;
        other.batches[0].size = size;
        error = (ad_error){ 0 };
        cr_assert_eq(ad_run(plan, &other, &error), -1);
        cr_assert(strstr(error.text, "axis batch"), "%s", error.text);
    }
    data[2] = 3;
    error = (ad_error){ 0 };
    cr_assert_eq(ad_run(plan, &sizes, &error), -1);
    cr_assert(strstr(error.text, "gather: index 3"), "%s", error.text);
    data[2] = 2;
    cr_assert_eq(ad_run(plan, &sizes, NULL), 0);
    cr_assert_eq(ad_bind(plan, y, data), -1);
    cr_assert_eq(ad_bind_output(plan, 1, data), -1);
    ad_plan_free(plan);
    ad_graph_free(g);
}

Test(run, a_failed_allocation_is_an_error)
{
    maker m;
    make(&m, 5, 25);
    ad_plan_spec spec = { .type = AD_FLOAT, .threads = 2, .capacity = m.capacity, .updates = m.n_pool };
    ad_plan *plan = NULL;
    for (long k = 1; !plan; k++) {
        ad_error error = { 0 };
        ad_hook_allocation(k);
        plan = ad_plan_new(m.pool, m.n_pool, &spec, &error);
        ad_hook_allocation(0);
        cr_assert(plan || strstr(error.text, "out of memory"), "%ld: \"%s\"", k, error.text);
        cr_assert(k < 1000);
    }
    ad_plan_free(plan);
    ad_graph_free(m.graph);
}
