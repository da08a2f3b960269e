/* convolution.c: layers over the positions of pictures and sequences, made of rows of the op table: zeros or the other
 * end around, windows along each axis, and then a filter's product, u(p) = sum over its q offsets k of
 * c / sqrt(n_in q) x(s p + d k) W_k; the mean or the largest of a window; or a weight of its own for each position. */
#include "nn/network/network.h"

#include <math.h>
#include <string.h>

enum { MOST_AXES = 2 };

/* ---- axes ---- */
/* How much of a name says what an axis counts: "rows" of "rows.14". */
static int stem_of(const char *name)
{
    int stem = (int)strcspn(name, ".*");
    return stem < 20 ? stem : 20;
}

/* The axis of so many positions: x's own if it has the size, else one that all layers of this size share. */
static ad_axis position_axis(ad_where where, nn_net *net, ad_axis axis, size_t size)
{
    const ad_graph *graph = net->graph;
    const char *name = ad_axis_name(graph, axis);
    int stem = stem_of(name);
    if (ad_axis_fixed(graph, axis) == size)
        return axis;
    for (int i = 1; i < graph->n_axes; i++) {
        const ad_axis_row *row = &graph->axes[i];
        if (row->size == size && strncmp(row->name, name, (size_t)stem) == 0 && !row->name[stem])
            return (ad_axis){ .id = (unsigned short)i, .graph = graph->mark };
    }
    return ad_fixed_at(where, net->graph, nn_name(net, "%.*s.%zu", stem, name, size), size);
}

/* One that what lies around it has made longer. */
static ad_axis longer_axis(ad_where where, nn_net *net, ad_axis axis, size_t size)
{
    const char *name = ad_axis_name(net->graph, axis);
    return ad_fixed_at(where, net->graph, nn_name(net, "%.*s*%zu", stem_of(name), name, size), size);
}

/* The axes of positions: those that are given, or all fixed ones between the batch and the channels. */
static bool find_axes(ad_where where, nn_net *net, const char *kind, const char *name, ad_var x, int most,
                      ad_shape *over)
{
    char text[160];
    if (!nn_takes(where, net, kind, name, x) || !ad_owns_shape(where, kind, net->graph, over))
        return false;
    const ad_shape *shape = ad_shape_get(x);
    int last = shape->rank - 1;
    if (over->rank == 0)
        for (int i = 0; i < last; i++)
            if (ad_axis_fixed(net->graph, shape->axes[i]))
                ad_shape_push(over, shape->axes[i]);
    ad_shape_text(net->graph, shape, text, sizeof text);
    if (over->rank < 1 || over->rank > most)
        ad_poison(net->graph, where,
                  "%s %s: it runs over the rows and columns of pictures, (batch, rows, columns, channels), or the time "
                  "of sequences, (batch, time, features); its input is %s%s",
                  kind, name, text,
                  x.id == nn_input(net).id ? ": a network that takes pictures says so, by limn_input = NN_IMAGE in its "
                                             "file or nn_spec's shape"
                                           : "");
    for (int i = 0; i < over->rank && !ad_failed(net->graph); i++) {
        ad_shape before = ad_shape_make(i, over->axes);
        if (ad_has(&before, over->axes[i]))
            ad_poison(net->graph, where, "%s %s: the axis %s is there twice", kind, name,
                      ad_axis_name(net->graph, over->axes[i]));
        int at = ad_shape_position(shape, over->axes[i]);
        if (at < 0 || at == last || !ad_axis_fixed(net->graph, over->axes[i]))
            ad_poison(net->graph, where, "%s %s: no fixed axis %s before the channels of %s", kind, name,
                      ad_axis_name(net->graph, over->axes[i]), text);
    }
    return !ad_failed(net->graph);
}

/* ---- windows ---- */
/* Along one axis: so many windows of `length` entries, with so many entries of padding below and above. */
typedef struct {
    ad_axis axis, out, offset;
    size_t length, stride, dilation, count, low, high;
} along;

static size_t or_else(size_t given, size_t preset)
{
    return given ? given : preset;
}

/* What stands around the axis, and how many windows there are; false where there is none. */
static bool place_windows(ad_where where, nn_net *net, const char *kind, const char *name, nn_padding padding, along *a)
{
    const char *axis = ad_axis_name(net->graph, a->axis);
    size_t size = ad_axis_fixed(net->graph, a->axis), largest = (size_t)1 << 20;
    if (a->length > largest || a->stride > largest || a->dilation > largest) {
        ad_poison(net->graph, where, "%s %s: window %td, stride %td, dilation %td: one is not from 1 to %zu", kind,
                  name, (ptrdiff_t)a->length, (ptrdiff_t)a->stride, (ptrdiff_t)a->dilation, largest);
        return false;
    }
    if (padding != NN_SAME && padding != NN_VALID && padding != NN_CIRCULAR) {
        ad_poison(net->graph, where, "%s %s: padding %d: it is NN_SAME, NN_VALID or NN_CIRCULAR", kind, name,
                  (int)padding);
        return false;
    }
    size_t reach = (a->length - 1) * a->dilation + 1;
    bool fits = padding == NN_SAME ? reach <= 2 * size + 1 : reach <= size;
    if (!fits) {
        ad_poison(net->graph, where, "%s %s: a window of %zu along %s is larger than the picture, which has %zu there",
                  kind, name, reach, axis, size);
        return false;
    }
    a->count = padding == NN_VALID ? (size - reach) / a->stride + 1 : (size + a->stride - 1) / a->stride;
    size_t covered = (a->count - 1) * a->stride + reach, total = covered > size ? covered - size : 0;
    a->low = total / 2;
    a->high = total - a->low;
    a->out = position_axis(where, net, a->axis, a->count);
    a->offset = ad_fresh_at(where, net->graph, "offset", a->length);
    return true;
}

/* x with what stands around the axis: zeros, or its own other end. */
static ad_var surround(ad_where where, nn_net *net, nn_padding padding, const along *a, ad_var x, ad_axis *longer)
{
    size_t size = ad_axis_fixed(net->graph, a->axis), low = a->low, high = a->high;
    *longer = a->axis;
    if (low + high == 0)
        return x;
    *longer = longer_axis(where, net, a->axis, low + size + high);
    if (padding != NN_CIRCULAR)
        return ad_pad_at(where, x, a->axis, low, *longer);
    ad_var parts[3];
    ad_axis axes[3];
    int n = 0;
    if (low) {
        axes[n] = ad_fresh_at(where, net->graph, "before", low);
        parts[n] = ad_slice_at(where, x, a->axis, size - low, low, axes[n]);
        n++;
    }
    axes[n] = a->axis;
    parts[n++] = x;
    if (high) {
        axes[n] = ad_fresh_at(where, net->graph, "after", high);
        parts[n] = ad_slice_at(where, x, a->axis, 0, high, axes[n]);
        n++;
    }
    return ad_concat_at(where, parts, n, axes, *longer);
}

/* Windows of x along n axes. All is put around first: windows of it are then views of one tensor. */
static ad_var make_windows(ad_where where, nn_net *net, nn_padding padding, const along *axes, int n, ad_var x)
{
    ad_axis longer[MOST_AXES];
    for (int i = 0; i < n; i++)
        x = surround(where, net, padding, &axes[i], x, &longer[i]);
    for (int i = 0; i < n; i++)
        x = ad_windows_at(where, x, longer[i], axes[i].out, axes[i].offset,
                          (ad_window){ .stride = axes[i].stride, .dilation = (ptrdiff_t)axes[i].dilation });
    return x;
}

/* ---- filters ---- */
static int filter_axes(ad_where where, nn_net *net, const char *kind, const char *name, ad_var x,
                       const nn_conv_spec *spec, along *axes)
{
    ad_shape over = spec->over;
    if (!find_axes(where, net, kind, name, x, MOST_AXES, &over))
        return -1;
    for (int i = 0; i < over.rank; i++) {
        axes[i] = (along){ .axis = over.axes[i],
                           .length = or_else(spec->filter[i], or_else(spec->filter[0], 3)),
                           .stride = or_else(spec->stride[i], or_else(spec->stride[0], 1)),
                           .dilation = or_else(spec->dilation[i], or_else(spec->dilation[0], 1)) };
        if (!place_windows(where, net, kind, name, spec->padding, &axes[i]))
            return -1;
    }
    return over.rank;
}

/* A weight (own.., over.., in, out) of a filter, or of positions; `over` is counted in the fan-in, `own` is not. */
static nn_weight filter(ad_where where, nn_net *net, const char *name, ad_shape own, const ad_shape *over, ad_axis in,
                        ad_axis out, double sigma)
{
    size_t offsets = 1;
    for (int i = 0; i < over->rank; i++) {
        offsets *= ad_axis_fixed(net->graph, over->axes[i]);
        ad_shape_push(&own, over->axes[i]);
    }
    name = nn_name(net, "%s.weight", name);
    ad_init init = nn_filter_init(net, name, in, out, offsets, sigma);
    ad_shape_push(&own, in);
    ad_shape_push(&own, in.id == out.id ? ad_prime(in) : out);
    return (nn_weight){ .omega = ad_param_at(where, net->graph, name, own, init),
                        .c = init.multiplier,
                        .power = init.multiplier_power,
                        .fan_in = init.axis };
}

/* c n^p times the product over the axes `over` of x and the weight, and `in`. */
static ad_var apply_filter(ad_where where, nn_weight w, ad_var x, ad_shape over, ad_axis in, ad_axis out)
{
    if (w.omega.id < 0 || x.id < 0)
        return w.omega.id < 0 ? w.omega : x;
    const ad_shape *shape = ad_shape_get(w.omega);
    ad_axis last = shape->axes[shape->rank - 1];
    ad_shape_push(&over, in);
    ad_var u = ad_relabel_at(where, ad_contract_at(where, x, w.omega, over), last, out);
    return ad_scale_at(where, u, w.c, w.fan_in, w.power);
}

/* Are these the channels of a filter: a width, or the outputs; of groups, fixed? */
static bool has_channels(ad_where where, nn_net *net, const char *kind, const char *name, const nn_conv_spec *spec,
                         ad_axis in, ad_axis out)
{
    if (!ad_owns_axis(where, kind, net->graph, out))
        return false;
    size_t g = spec->groups, from = ad_axis_fixed(net->graph, in), to = ad_axis_fixed(net->graph, out);
    if (g == 0 && ad_axis_kind(net->graph, out) != AD_WIDTH && !ad_same(out, net->outputs))
        ad_poison(net->graph, where, "%s %s: its channels, the axis %s, are no width, nor the outputs", kind, name,
                  ad_axis_name(net->graph, out));
    else if (g > 0 && (!from || !to || from % g || to % g))
        ad_poison(net->graph, where,
                  "%s %s: %zu groups: the channels before and after, %s and %s, are fixed axes of multiples of them",
                  kind, name, g, ad_axis_name(net->graph, in), ad_axis_name(net->graph, out));
    return !ad_failed(net->graph);
}

/* Windows (.., channels) times a filter for each group. */
static ad_var apply_groups(ad_where where, nn_net *net, const char *name, const ad_shape *own, const ad_shape *offsets,
                           ad_var windows, ad_axis in, ad_axis out, const nn_conv_spec *spec, double sigma)
{
    size_t g = spec->groups;
    ad_axis group = ad_fresh_at(where, net->graph, "group", g);
    ad_axis from = ad_fresh_at(where, net->graph, "member", ad_axis_fixed(net->graph, in) / g);
    ad_axis to = ad_fresh_at(where, net->graph, "filters", ad_axis_fixed(net->graph, out) / g);
    ad_shape each = *own;
    ad_shape_push(&each, group);
    ad_var x = ad_split_at(where, windows, in, group, from);
    nn_weight w = filter(where, net, name, each, offsets, from, to, sigma);
    ad_var u = apply_filter(where, w, x, *offsets, from, to);
    return u.id < 0 ? u : ad_merge_at(where, u, group, to, out);
}

/* local: a filter of its own at each position. */
static ad_var filter_layer(ad_where where, nn_net *net, const char *kind, const char *name, ad_var x, ad_axis out,
                           const nn_conv_spec *given, bool local)
{
    nn_conv_spec spec = given ? *given : (nn_conv_spec){ 0 };
    along axes[MOST_AXES];
    int n = filter_axes(where, net, kind, name, x, &spec, axes);
    if (n < 0)
        return nn_nothing(net);
    const ad_shape *shape = ad_shape_get(x);
    ad_axis in = shape->axes[shape->rank - 1];
    if (!has_channels(where, net, kind, name, &spec, in, out))
        return nn_nothing(net);
    ad_shape offsets = { 0 }, own = { 0 };
    for (int i = 0; i < n; i++) {
        ad_shape_push(&offsets, axes[i].offset);
        if (local)
            ad_shape_push(&own, axes[i].out);
    }
    ad_var windows = make_windows(where, net, spec.padding, axes, n, x);
    if (windows.id < 0)
        return windows;
    double sigma = nn_is_given(spec.sigma_w) ? spec.sigma_w : 1;
    ad_var u = spec.groups ? apply_groups(where, net, name, &own, &offsets, windows, in, out, &spec, sigma)
                           : apply_filter(where, filter(where, net, name, own, &offsets, in, out, sigma), windows,
                                          offsets, in, out);
    return nn_with_bias(where, net, name, u, out, spec.bias, spec.sigma_b);
}

ad_var nn_conv_at(ad_where where, nn_net *net, const char *name, ad_var x, ad_axis out, const nn_conv_spec *given)
{
    return filter_layer(where, net, "conv", name, x, out, given, false);
}

ad_var nn_local_at(ad_where where, nn_net *net, const char *name, ad_var x, ad_axis out, const nn_conv_spec *given)
{
    return filter_layer(where, net, "local", name, x, out, given, true);
}

/* ---- transposed filters ---- */
/* Along one axis: x with s - 1 zeros behind each entry, k - 1 before all and some at the end, whose windows run
 * backwards. */
static ad_var spread_out(ad_where where, nn_net *net, nn_padding padding, along *a, ad_var x)
{
    size_t size = ad_axis_fixed(net->graph, a->axis), s = a->stride, k = a->length;
    size_t low = padding == NN_SAME && k > s ? (k - s) / 2 : 0, wide = size * s;
    a->count = padding == NN_SAME ? wide : (size - 1) * s + k;
    a->out = position_axis(where, net, a->axis, a->count);
    a->offset = ad_fresh_at(where, net->graph, "offset", k);
    if (s > 1) {
        ad_axis each = ad_fresh_at(where, net->graph, "each", size), one = ad_fresh_at(where, net->graph, "one", 1);
        ad_axis gap = ad_fresh_at(where, net->graph, "gap", s), spread = longer_axis(where, net, a->axis, wide);
        x = ad_pad_at(where, ad_split_at(where, x, a->axis, each, one), one, 0, gap);
        x = ad_merge_at(where, x, each, gap, spread);
        a->axis = spread;
    }
    size_t all = a->count + low + k - 1, least = k - 1 + wide;
    ad_axis longer = longer_axis(where, net, a->axis, all > least ? all : least);
    x = ad_pad_at(where, x, a->axis, k - 1, longer);
    return ad_windows_at(where, x, longer, a->out, a->offset, (ad_window){ .start = low + k - 1, .dilation = -1 });
}

ad_var nn_conv_transpose_at(ad_where where, nn_net *net, const char *name, ad_var x, ad_axis out,
                            const nn_conv_spec *given)
{
    static const char *const kind = "conv_transpose";
    nn_conv_spec spec = given ? *given : (nn_conv_spec){ 0 };
    size_t largest = (size_t)1 << 20, positions = 1;
    ad_shape over = spec.over, offsets = { 0 }, none = { 0 };
    if (!find_axes(where, net, kind, name, x, MOST_AXES, &over))
        return nn_nothing(net);
    ad_axis in = ad_shape_get(x)->axes[ad_shape_get(x)->rank - 1];
    if ((spec.padding != NN_SAME && spec.padding != NN_VALID) || spec.dilation[0] > 1 || spec.dilation[1] > 1 ||
        spec.groups)
        return ad_poison(net->graph, where, "%s %s: it has padding same or valid, and neither dilation nor groups",
                         kind, name);
    if (!has_channels(where, net, kind, name, &spec, in, out))
        return nn_nothing(net);
    for (int i = 0; i < over.rank && x.id >= 0; i++) {
        along a = { .axis = over.axes[i],
                    .length = or_else(spec.filter[i], or_else(spec.filter[0], 3)),
                    .stride = or_else(spec.stride[i], or_else(spec.stride[0], 1)) };
        size_t size = ad_axis_fixed(net->graph, a.axis);
        bool large = a.length > largest || a.stride > largest / size || size * a.stride > largest / positions;
        positions *= size * a.stride;
        if (large)
            return ad_poison(net->graph, where, "%s %s: window %td, stride %td: one is out of range", kind, name,
                             (ptrdiff_t)a.length, (ptrdiff_t)a.stride);
        x = spread_out(where, net, spec.padding, &a, x);
        ad_shape_push(&offsets, a.offset);
    }
    if (x.id < 0)
        return x;
    nn_weight w = filter(where, net, name, none, &offsets, in, out, nn_is_given(spec.sigma_w) ? spec.sigma_w : 1);
    return nn_with_bias(where, net, name, apply_filter(where, w, x, offsets, in, out), out, spec.bias, spec.sigma_b);
}

ad_var nn_flatten_readout_at(ad_where where, nn_net *net, const char *name, ad_var x, const nn_dense_spec *spec)
{
    ad_shape over = { 0 };
    if (!find_axes(where, net, "readout", name, x, AD_MAX_RANK, &over))
        return nn_nothing(net);
    const ad_shape *shape = ad_shape_get(x);
    ad_axis in = shape->axes[shape->rank - 1];
    ad_shape none = { 0 };
    double sigma = spec && nn_is_given(spec->sigma_w) ? spec->sigma_w : 1;
    nn_weight w = filter(where, net, name, none, &over, in, net->outputs, sigma);
    ad_var u = apply_filter(where, w, x, over, in, net->outputs);
    return nn_with_bias(where, net, name, u, net->outputs, spec && spec->bias, spec ? spec->sigma_b : 0);
}

/* ---- pools ---- */
static ad_var pool_windows(ad_where where, nn_net *net, const char *kind, ad_var x, const nn_pool_spec *given,
                           along *axes, int *n)
{
    nn_pool_spec spec = given ? *given : (nn_pool_spec){ 0 };
    *n = 0;
    if (!find_axes(where, net, kind, "of a picture", x, MOST_AXES, &spec.over))
        return nn_nothing(net);
    for (; *n < spec.over.rank; ++*n) {
        along *a = &axes[*n];
        size_t window = or_else(spec.window[*n], or_else(spec.window[0], 2));
        *a = (along){ .axis = spec.over.axes[*n],
                      .length = window,
                      .stride = or_else(spec.stride[*n], or_else(spec.stride[0], window)),
                      .dilation = 1 };
        if (!place_windows(where, net, kind, "of a picture", NN_VALID, a))
            return nn_nothing(net);
    }
    return make_windows(where, net, NN_VALID, axes, *n, x);
}

ad_var nn_average_pool_at(ad_where where, nn_net *net, ad_var x, const nn_pool_spec *spec)
{
    along axes[MOST_AXES];
    int n;
    ad_shape offsets = { 0 };
    ad_var windows = pool_windows(where, net, "average_pool", x, spec, axes, &n);
    for (int i = 0; i < n; i++)
        ad_shape_push(&offsets, axes[i].offset);
    return windows.id < 0 ? windows : ad_mean_at(where, windows, offsets);
}

ad_var nn_max_pool_at(ad_where where, nn_net *net, ad_var x, const nn_pool_spec *spec)
{
    along axes[MOST_AXES];
    int n;
    ad_var y = pool_windows(where, net, "max_pool", x, spec, axes, &n);
    for (int i = n - 1; i >= 0 && y.id >= 0; i--)
        y = ad_max_at(where, y, axes[i].offset);
    return y;
}

ad_var nn_global_pool_at(ad_where where, nn_net *net, ad_var x)
{
    ad_shape over = { 0 };
    if (!find_axes(where, net, "global_pool", "of a picture", x, AD_MAX_RANK, &over))
        return nn_nothing(net);
    return ad_mean_at(where, x, over);
}
