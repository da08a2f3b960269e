/* along_axes.c: what sums, multiplies, cuts, joins and moves along axes; each checks its arguments and appends a node.
 */
#include "autodiff/trace/trace.h"

#include <math.h>

/* ---- products and sums ---- */
enum { MOST_SCALINGS = 32 };
typedef struct {
    double c, power;
    ad_axis axis;
} ad_scaling;

/* A factor commutes with the sum, so that parameters stay plain operands: takes those of v after the n that are taken,
 * the outermost first, and returns how many there are then. */
static int take_scalings(ad_graph *graph, ad_var *v, ad_scaling *taken, int n)
{
    for (; n < MOST_SCALINGS && graph->nodes[v->id]->op == AD_SCALE; n++) {
        ad_node *node = graph->nodes[v->id];
        node->moved = true;
        taken[n] = (ad_scaling){ node->c, node->power, node->axis };
        v->id = node->in[0];
    }
    return n;
}

/* Of operands without factors. A delta renames. */
static ad_var contract_plain(ad_where where, ad_var a, ad_var b, ad_shape over)
{
    ad_graph *graph = a.graph;
    const ad_node *na = graph->nodes[a.id], *nb = graph->nodes[b.id];
    for (int swap = 0; swap < 2; swap++) {
        const ad_node *d = swap ? nb : na;
        ad_var other = swap ? a : b;
        if (d->op != AD_DELTA || over.rank != 1)
            continue;
        ad_axis from = over.axes[0], to = ad_same(d->axis, from) ? d->axis2 : d->axis;
        if (!ad_has(ad_shape_get(other), to))
            return ad_relabel_at(where, other, from, to);
    }
    ad_shape kept = ad_shape_minus(&na->shape, &over), rest = ad_shape_minus(&nb->shape, &over);
    return ad_node_make(
        graph, (ad_node){ .op = AD_CONTRACT, .where = where, .shape = ad_shape_union(&kept, &rest), .over = over }, 2,
        (int[]){ a.id, b.id });
}

ad_var ad_contract_at(ad_where where, ad_var a, ad_var b, ad_shape over)
{
    ad_graph *graph = ad_common_graph(where, "contract", a, b);
    if (!graph || !ad_owns_shape(where, "contract", graph, &over))
        return ad_poisoned(a);
    for (int i = 0; i < over.rank; i++)
        if (!ad_needs_axis(where, "contract", a, over.axes[i]) || !ad_needs_axis(where, "contract", b, over.axes[i]))
            return ad_poisoned(a);
    ad_scaling taken[MOST_SCALINGS];
    int n = take_scalings(graph, &a, taken, 0);
    n = take_scalings(graph, &b, taken, n);
    ad_var product = contract_plain(where, a, b, over);
    while (n-- > 0)
        product = ad_scale_at(where, product, taken[n].c, taken[n].axis, taken[n].power);
    return product;
}

static bool is_matrix(ad_where where, const char *op, ad_var w)
{
    char text[160];
    if (!ad_alive(where, op, w))
        return false;
    if (ad_shape_get(w)->rank != 2)
        ad_poison(w.graph, where, "%s: a matrix has two axes, this one has %s", op,
                  ad_shape_text(w.graph, ad_shape_get(w), text, sizeof text));
    return !ad_failed(w.graph);
}

/* The errors of a matrix product name both shapes. */
static bool meets_matrix(ad_where where, const char *op, ad_var x, ad_var w, ad_axis axis)
{
    char one[160], two[160];
    if (ad_has(ad_shape_get(x), axis))
        return true;
    ad_poison(x.graph, where, "%s: axes do not match: %s and %s (no axis %s in the first)", op,
              ad_shape_text(x.graph, ad_shape_get(x), one, sizeof one),
              ad_shape_text(x.graph, ad_shape_get(w), two, sizeof two), ad_axis_name(x.graph, axis));
    return false;
}

ad_var ad_matmul_at(ad_where where, ad_var x, ad_var w)
{
    if (!ad_common_graph(where, "matmul", x, w) || !is_matrix(where, "matmul", w))
        return ad_poisoned(x);
    ad_axis in = ad_shape_get(w)->axes[0], out = ad_shape_get(w)->axes[1];
    if (!meets_matrix(where, "matmul", x, w, in))
        return ad_poisoned(x);
    ad_var y = ad_contract_at(where, x, w, ad_shape_of(in));
    return ad_relabel_at(where, y, out, ad_unprimed(out));
}

ad_var ad_matmul_t_at(ad_where where, ad_var y, ad_var w)
{
    if (!ad_common_graph(where, "matmul_t", y, w) || !is_matrix(where, "matmul_t", w))
        return ad_poisoned(y);
    ad_axis in = ad_shape_get(w)->axes[0], out = ad_shape_get(w)->axes[1];
    if (!meets_matrix(where, "matmul_t", y, w, ad_unprimed(out)))
        return ad_poisoned(y);
    ad_var renamed = ad_relabel_at(where, y, ad_unprimed(out), out);
    return ad_relabel_at(where, ad_contract_at(where, renamed, w, ad_shape_of(out)), in, ad_unprimed(in));
}

ad_var ad_sum_at(ad_where where, ad_var x, ad_shape over)
{
    if (!ad_alive(where, "sum", x) || !ad_owns_shape(where, "sum", x.graph, &over))
        return ad_poisoned(x);
    for (int i = 0; i < over.rank; i++)
        if (!ad_needs_axis(where, "sum", x, over.axes[i]))
            return ad_poisoned(x);
    if (over.rank == 0)
        return x;
    ad_shape shape = ad_shape_minus(ad_shape_get(x), &over);
    return ad_node_on(x, (ad_node){ .op = AD_SUM, .where = where, .shape = shape, .over = over });
}

ad_var ad_mean_at(ad_where where, ad_var x, ad_shape over)
{
    ad_var y = ad_sum_at(where, x, over);
    for (int i = 0; i < over.rank && y.id >= 0; i++)
        y = ad_scale_at(where, y, 1, over.axes[i], -1);
    return y;
}

ad_var ad_expand_at(ad_where where, ad_var x, ad_shape shape)
{
    char one[160], two[160];
    if (!ad_alive(where, "expand", x) || !ad_owns_shape(where, "expand", x.graph, &shape))
        return ad_poisoned(x);
    const ad_shape *old = ad_shape_get(x);
    if (!ad_shape_within(old, &shape))
        return ad_poison(x.graph, where, "expand: %s does not hold every axis of %s",
                         ad_shape_text(x.graph, &shape, one, sizeof one), ad_shape_text(x.graph, old, two, sizeof two));
    if (ad_shape_within(&shape, old))
        return x;
    return ad_node_on(x, (ad_node){ .op = AD_EXPAND, .where = where, .shape = shape });
}

/* ---- parts and other names ---- */
ad_var ad_slice_at(ad_where where, ad_var x, ad_axis axis, size_t start, size_t count, ad_axis as)
{
    if (!ad_needs_axis(where, "slice", x, axis) || !ad_owns_axis(where, "slice", x.graph, as))
        return ad_poisoned(x);
    ad_graph *graph = x.graph;
    if (ad_axis_kind(graph, axis) != AD_FIXED || ad_axis_fixed(graph, as) != count)
        return ad_poison(graph, where, "slice: axis %s and its part %s must be fixed axes, the part of size %td",
                         ad_axis_name(graph, axis), ad_axis_name(graph, as), (ptrdiff_t)count);
    if (count > ad_axis_fixed(graph, axis) || start > ad_axis_fixed(graph, axis) - count)
        return ad_poison(graph, where,
                         "slice: %zu entries from number %td on of axis %s, which has %zu, counted from 0", count,
                         (ptrdiff_t)start, ad_axis_name(graph, axis), ad_axis_fixed(graph, axis));
    ad_shape shape = ad_shape_replace(*ad_shape_get(x), axis, as);
    return ad_node_on(
        x, (ad_node){ .op = AD_SLICE, .where = where, .shape = shape, .axis = axis, .axis2 = as, .start = start });
}

/* Are these two fixed axes, and a window that lies within? Fills in what it leaves open. */
static bool settle_window(ad_where where, const char *op, ad_graph *graph, ad_axis axis, ad_axis out, ad_axis offset,
                          ad_window *window)
{
    window->stride = window->stride ? window->stride : 1;
    window->dilation = window->dilation ? window->dilation : 1;
    size_t size = ad_axis_fixed(graph, axis), count = ad_axis_fixed(graph, out), length = ad_axis_fixed(graph, offset);
    if (!size || !count || !length)
        ad_poison(graph, where, "%s: axes %s, %s and %s must be fixed axes", op, ad_axis_name(graph, axis),
                  ad_axis_name(graph, out), ad_axis_name(graph, offset));
    double first = (double)window->start, last = first + (double)window->stride * (double)(count - 1);
    double reach = (double)window->dilation * (double)(length - 1);
    if (size && count && length && (first + fmin(reach, 0) < 0 || last + fmax(reach, 0) > (double)size - 1))
        ad_poison(graph, where,
                  "%s: %zu windows of %zu entries (first %zu, stride %zu, dilation %td) do not lie within axis %s of "
                  "size %zu",
                  op, count, length, window->start, window->stride, window->dilation, ad_axis_name(graph, axis), size);
    return !ad_failed(graph);
}

static ad_node window_node(ad_where where, ad_op op, ad_shape shape, ad_axis axis, ad_axis out, ad_axis offset,
                           ad_window window)
{
    return (ad_node){ .op = op,
                      .where = where,
                      .shape = shape,
                      .axis = axis,
                      .axis2 = out,
                      .axis3 = offset,
                      .start = window.start,
                      .stride = window.stride,
                      .dilation = window.dilation };
}

ad_var ad_windows_at(ad_where where, ad_var x, ad_axis axis, ad_axis out, ad_axis offset, ad_window window)
{
    char text[160];
    if (!ad_needs_axis(where, "windows", x, axis) || !ad_owns_axis(where, "windows", x.graph, out) ||
        !ad_owns_axis(where, "windows", x.graph, offset) ||
        !settle_window(where, "windows", x.graph, axis, out, offset, &window))
        return ad_poisoned(x);
    const ad_shape *old = ad_shape_get(x);
    ad_shape shape = { 0 };
    if (old->rank == AD_MAX_RANK)
        return ad_poison(x.graph, where, "windows: %s has %d axes, and there are no more",
                         ad_shape_text(x.graph, old, text, sizeof text), AD_MAX_RANK);
    for (int i = 0; i < old->rank; i++) {
        bool here = ad_same(old->axes[i], axis);
        ad_shape_push(&shape, here ? out : old->axes[i]);
        if (here)
            ad_shape_push(&shape, offset);
    }
    return ad_node_on(x, window_node(where, AD_WINDOWS, shape, axis, out, offset, window));
}

ad_var ad_unwindows_at(ad_where where, ad_var y, ad_axis out, ad_axis offset, ad_axis axis, ad_window window)
{
    if (!ad_needs_axis(where, "unwindows", y, out) || !ad_needs_axis(where, "unwindows", y, offset) ||
        !ad_owns_axis(where, "unwindows", y.graph, axis) ||
        !settle_window(where, "unwindows", y.graph, axis, out, offset, &window))
        return ad_poisoned(y);
    ad_shape gone = ad_shape_of(offset), shape = ad_shape_minus(ad_shape_get(y), &gone);
    shape = ad_shape_replace(shape, out, axis);
    return ad_node_on(y, window_node(where, AD_UNWINDOWS, shape, axis, out, offset, window));
}

ad_var ad_pad_at(ad_where where, ad_var x, ad_axis axis, size_t before, ad_axis as)
{
    if (!ad_needs_axis(where, "pad", x, axis) || !ad_owns_axis(where, "pad", x.graph, as))
        return ad_poisoned(x);
    size_t size = ad_axis_fixed(x.graph, axis), whole = ad_axis_fixed(x.graph, as);
    if (!size || whole < size || before > whole - size)
        return ad_poison(x.graph, where,
                         "pad: axis %s of size %zu, from entry %zu on, does not lie within %s of size %zu",
                         ad_axis_name(x.graph, axis), size, before, ad_axis_name(x.graph, as), whole);
    if (ad_same(axis, as))
        return x;
    ad_shape shape = ad_shape_replace(*ad_shape_get(x), axis, as);
    return ad_node_on(
        x, (ad_node){ .op = AD_UNSLICE, .where = where, .shape = shape, .axis = axis, .axis2 = as, .start = before });
}

/* An axis of size one, under a name that the user's axes cannot have. */
static ad_axis single(ad_where where, ad_graph *graph)
{
    return ad_fixed_at(where, graph, "one*", 1);
}

ad_var ad_take_at(ad_where where, ad_var x, ad_axis axis, size_t index)
{
    if (!ad_alive(where, "take", x))
        return ad_poisoned(x);
    ad_axis one = single(where, x.graph);
    return ad_sum_at(where, ad_slice_at(where, x, axis, index, 1, one), ad_shape_of(one));
}

static bool has_parts(ad_where where, const char *op, const ad_var *parts, int n)
{
    return ad_alive(where, op, parts && n > 0 ? parts[0] : (ad_var){ 0 });
}

ad_var ad_concat_at(ad_where where, const ad_var *parts, int n, const ad_axis *axes, ad_axis as)
{
    char one[160], two[160];
    if (!has_parts(where, "concat", parts, n))
        return (ad_var){ parts && n > 0 ? parts[0].graph : NULL, -1 };
    ad_graph *graph = parts[0].graph;
    if (!axes || !ad_owns_axis(where, "concat", graph, as) || !ad_needs_axis(where, "concat", parts[0], axes[0]))
        return ad_poison(graph, where, "concat: the parts' axes are missing");
    ad_axis *kept = ad_arena_alloc(graph->arena, (size_t)n, sizeof *kept);
    int *in = ad_arena_alloc(graph->arena, (size_t)n, sizeof *in);
    if (!kept || !in)
        return ad_poison(graph, where, "concat: out of memory");
    ad_shape shape = ad_shape_replace(*ad_shape_get(parts[0]), axes[0], as);
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        if (!ad_common_graph(where, "concat", parts[0], parts[i]) || !ad_needs_axis(where, "concat", parts[i], axes[i]))
            return ad_poisoned(parts[0]);
        ad_shape other = ad_shape_replace(*ad_shape_get(parts[i]), axes[i], as);
        if (!ad_shape_within(&other, &shape) || !ad_shape_within(&shape, &other))
            return ad_poison(graph, where, "concat: axes do not match: %s and %s",
                             ad_shape_text(graph, &shape, one, sizeof one),
                             ad_shape_text(graph, &other, two, sizeof two));
        if (ad_axis_kind(graph, axes[i]) != AD_FIXED)
            return ad_poison(graph, where, "concat: axis %s is not a fixed axis", ad_axis_name(graph, axes[i]));
        total += ad_axis_fixed(graph, axes[i]);
        kept[i] = axes[i];
        in[i] = parts[i].id;
    }
    if (ad_axis_fixed(graph, as) != total)
        return ad_poison(graph, where, "concat: the parts have %zu together, axis %s has %zu", total,
                         ad_axis_name(graph, as), ad_axis_fixed(graph, as));
    return ad_node_make(
        graph, (ad_node){ .op = AD_CONCAT, .where = where, .shape = shape, .axis = as, .part_axes = kept }, n, in);
}

ad_var ad_stack_at(ad_where where, const ad_var *parts, int n, ad_axis as)
{
    if (!has_parts(where, "stack", parts, n))
        return (ad_var){ parts && n > 0 ? parts[0].graph : NULL, -1 };
    ad_graph *graph = parts[0].graph;
    ad_axis one = single(where, graph);
    ad_var *rows = ad_arena_alloc(graph->arena, (size_t)n, sizeof *rows);
    ad_axis *axes = ad_arena_alloc(graph->arena, (size_t)n, sizeof *axes);
    if (!rows || !axes)
        return ad_poison(graph, where, "stack: out of memory");
    for (int i = 0; i < n; i++) {
        if (!ad_common_graph(where, "stack", parts[0], parts[i]))
            return (ad_var){ graph, -1 };
        ad_shape shape = ad_shape_of(one);
        shape = ad_shape_union(&shape, ad_shape_get(parts[i]));
        rows[i] = ad_expand_at(where, parts[i], shape);
        axes[i] = one;
    }
    return ad_concat_at(where, rows, n, axes, as);
}

static bool is_product(const ad_graph *graph, ad_axis a, ad_axis b, ad_axis of)
{
    size_t product;
    return !__builtin_mul_overflow(ad_axis_fixed(graph, a), ad_axis_fixed(graph, b), &product) &&
           product == ad_axis_fixed(graph, of);
}

ad_var ad_merge_at(ad_where where, ad_var x, ad_axis a, ad_axis b, ad_axis as)
{
    if (!ad_needs_axis(where, "merge", x, a) || !ad_needs_axis(where, "merge", x, b) ||
        !ad_owns_axis(where, "merge", x.graph, as))
        return ad_poisoned(x);
    ad_graph *graph = x.graph;
    if (ad_axis_kind(graph, a) != AD_FIXED || ad_axis_kind(graph, b) != AD_FIXED || !is_product(graph, a, b, as))
        return ad_poison(graph, where, "merge: fixed axes %s (%zu) and %s (%zu) do not make %s (%zu)",
                         ad_axis_name(graph, a), ad_axis_fixed(graph, a), ad_axis_name(graph, b),
                         ad_axis_fixed(graph, b), ad_axis_name(graph, as), ad_axis_fixed(graph, as));
    ad_shape order = { 0 }, shape = { 0 };
    const ad_shape *old = ad_shape_get(x);
    for (int i = 0; i < old->rank; i++) {
        if (ad_same(old->axes[i], b))
            continue;
        ad_shape_push(&order, old->axes[i]);
        ad_shape_push(&shape, ad_same(old->axes[i], a) ? as : old->axes[i]);
        if (ad_same(old->axes[i], a))
            ad_shape_push(&order, b);
    }
    ad_var y = ad_transpose_at(where, x, order);
    return ad_node_on(y, (ad_node){ .op = AD_RESHAPE, .where = where, .shape = shape });
}

ad_var ad_split_at(ad_where where, ad_var x, ad_axis axis, ad_axis a, ad_axis b)
{
    if (!ad_needs_axis(where, "split", x, axis) || !ad_owns_axis(where, "split", x.graph, a) ||
        !ad_owns_axis(where, "split", x.graph, b))
        return ad_poisoned(x);
    ad_graph *graph = x.graph;
    if (ad_axis_kind(graph, axis) != AD_FIXED || !is_product(graph, a, b, axis))
        return ad_poison(graph, where, "split: fixed axis %s (%zu) is not %s (%zu) times %s (%zu)",
                         ad_axis_name(graph, axis), ad_axis_fixed(graph, axis), ad_axis_name(graph, a),
                         ad_axis_fixed(graph, a), ad_axis_name(graph, b), ad_axis_fixed(graph, b));
    ad_shape shape = { 0 };
    const ad_shape *old = ad_shape_get(x);
    for (int i = 0; i < old->rank; i++) {
        bool here = ad_same(old->axes[i], axis);
        ad_shape_push(&shape, here ? a : old->axes[i]);
        if (here)
            ad_shape_push(&shape, b);
    }
    return ad_node_on(x, (ad_node){ .op = AD_RESHAPE, .where = where, .shape = shape });
}

ad_var ad_relabel_at(ad_where where, ad_var x, ad_axis from, ad_axis to)
{
    if (!ad_alive(where, "relabel", x) || !ad_owns_axis(where, "relabel", x.graph, to))
        return ad_poisoned(x);
    if (ad_same(from, to))
        return x;
    if (!ad_needs_axis(where, "relabel", x, from))
        return ad_poisoned(x);
    const ad_axis_row *a = &x.graph->axes[from.id], *b = &x.graph->axes[to.id];
    if (a->kind != b->kind || a->size != b->size || fabs(a->ratio - b->ratio) > 0)
        return ad_poison(x.graph, where, "relabel: axes %s and %s differ in kind or size", a->name, b->name);
    ad_shape shape = ad_shape_replace(*ad_shape_get(x), from, to);
    return ad_node_on(x, (ad_node){ .op = AD_RELABEL, .where = where, .shape = shape, .axis = from, .axis2 = to });
}

ad_var ad_transpose_at(ad_where where, ad_var x, ad_shape order)
{
    char one[160], two[160];
    if (!ad_alive(where, "transpose", x) || !ad_owns_shape(where, "transpose", x.graph, &order))
        return ad_poisoned(x);
    const ad_shape *old = ad_shape_get(x);
    if (!ad_shape_within(old, &order) || !ad_shape_within(&order, old))
        return ad_poison(x.graph, where, "transpose: %s is no order of %s",
                         ad_shape_text(x.graph, &order, one, sizeof one), ad_shape_text(x.graph, old, two, sizeof two));
    bool same = true;
    for (int i = 0; i < order.rank; i++)
        same = same && ad_same(order.axes[i], old->axes[i]);
    return same ? x : ad_node_on(x, (ad_node){ .op = AD_TRANSPOSE, .where = where, .shape = order });
}

/* ---- picked entries and whole rows ---- */
ad_var ad_gather_at(ad_where where, ad_var table, ad_var index, ad_axis axis)
{
    ad_graph *graph = ad_common_graph(where, "gather", table, index);
    if (!graph || !ad_needs_axis(where, "gather", table, axis))
        return ad_poisoned(table);
    ad_shape one = ad_shape_of(axis), rest = ad_shape_minus(ad_shape_get(table), &one);
    return ad_node_make(
        graph,
        (ad_node){ .op = AD_GATHER, .where = where, .axis = axis, .shape = ad_shape_union(ad_shape_get(index), &rest) },
        2, (int[]){ table.id, index.id });
}

ad_var ad_scatter_at(ad_where where, ad_var x, ad_var index, ad_axis axis, ad_shape over)
{
    char one[160], two[160];
    ad_graph *graph = ad_common_graph(where, "scatter", x, index);
    if (!graph || !ad_owns_axis(where, "scatter", graph, axis) || !ad_owns_shape(where, "scatter", graph, &over))
        return ad_poisoned(x);
    if (!ad_shape_within(ad_shape_get(index), ad_shape_get(x)) || !ad_shape_within(&over, ad_shape_get(index)))
        return ad_poison(graph, where, "scatter: axes do not match: %s and the index's %s",
                         ad_shape_text(graph, ad_shape_get(x), one, sizeof one),
                         ad_shape_text(graph, ad_shape_get(index), two, sizeof two));
    ad_shape shape = ad_shape_minus(ad_shape_get(x), &over);
    ad_shape_push(&shape, axis);
    return ad_node_make(graph,
                        (ad_node){ .op = AD_SCATTER, .where = where, .shape = shape, .axis = axis, .over = over }, 2,
                        (int[]){ x.id, index.id });
}

ad_var ad_one_hot_at(ad_where where, ad_var index, ad_axis axis)
{
    if (!ad_alive(where, "one_hot", index))
        return ad_poisoned(index);
    ad_var one = ad_constant_at(where, index.graph, 1, (ad_shape){ 0 });
    return ad_scatter_at(where, ad_expand_at(where, one, *ad_shape_get(index)), index, axis, (ad_shape){ 0 });
}

static ad_var along(ad_where where, ad_op op, ad_var x, ad_axis axis)
{
    if (!ad_needs_axis(where, ad_op_name(op), x, axis))
        return ad_poisoned(x);
    ad_shape one = ad_shape_of(axis), rest = ad_shape_minus(ad_shape_get(x), &one);
    bool keeps = op == AD_SOFTMAX || op == AD_ARGMAX;
    return ad_node_on(x, (ad_node){ .op = op, .where = where, .shape = keeps ? *ad_shape_get(x) : rest, .axis = axis });
}

ad_var ad_logsumexp_at(ad_where where, ad_var x, ad_axis axis)
{
    return along(where, AD_LOGSUMEXP, x, axis);
}

ad_var ad_softmax_at(ad_where where, ad_var x, ad_axis axis)
{
    return along(where, AD_SOFTMAX, x, axis);
}

ad_var ad_max_at(ad_where where, ad_var x, ad_axis axis)
{
    return along(where, AD_MAX, x, axis);
}

ad_var ad_argmax_at(ad_where where, ad_var x, ad_axis axis)
{
    return along(where, AD_ARGMAX, x, axis);
}
