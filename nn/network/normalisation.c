/* normalisation.c: normalisation, made of rows of the op table: over the axes `over`,
 *
 *     m = mean u,  c = u - m,  v = mean c^2,  z = c (v + epsilon)^(-1/2),  y = z gamma + beta
 *
 * Over the batch (Ioffe and Szegedy, arXiv:1502.03167), over the width or the features of one sample (Ba et al.,
 * arXiv:1607.06450), over groups of its channels (Wu and He, arXiv:1803.08494).
 *
 * In evaluation m and v of the batch are replaced by running statistics, which are inputs of the same trace.
 */
#include "nn/network/network.h"

#include <math.h>

static const double usual_epsilon = 1e-5, usual_momentum = 0.1;

static ad_var affine(ad_where where, nn_net *net, const char *name, ad_var z)
{
    const ad_shape *shape = ad_shape_get(z);
    ad_axis last = shape->axes[shape->rank - 1];
    if (ad_axis_kind(net->graph, last) == AD_BATCH)
        return ad_poison(net->graph, where, "%s: gamma and beta are over the last axis, which is the batch", name);
    const char *names[] = { nn_name(net, "%s.weight", name), nn_name(net, "%s.bias", name) };
    ad_var gamma = ad_param_at(where, net->graph, names[0], ad_shape_of(last), nn_gain_init(net, names[0], last, 1));
    ad_var beta = ad_param_at(where, net->graph, names[1], ad_shape_of(last), nn_gain_init(net, names[1], last, 0));
    return ad_binary_at(where, AD_ADD, ad_binary_at(where, AD_MUL, z, gamma), beta);
}

/* z, and the nodes m and v. */
static ad_var normalise(ad_where where, ad_var u, ad_shape over, double epsilon, ad_var *m, ad_var *v)
{
    *m = ad_mean_at(where, u, over);
    ad_var c = ad_binary_at(where, AD_SUB, u, *m);
    *v = ad_mean_at(where, ad_unary_at(where, AD_SQUARE, c, 0), over);
    ad_var sum = *v;
    if (epsilon > 0)
        sum = ad_binary_at(where, AD_ADD, *v, ad_constant_at(where, u.graph, epsilon, (ad_shape){ 0 }));
    return ad_binary_at(where, AD_MUL, c, ad_unary_at(where, AD_RSQRT, sum, 0));
}

/* Can the input be normalised as the spec says? Fills in what it leaves open. */
static bool settle(ad_where where, nn_net *net, const char *kind, const char *name, ad_var x, nn_norm_spec *spec)
{
    char text[160];
    if (!nn_takes(where, net, kind, name, x) || !ad_owns_shape(where, kind, net->graph, &spec->over))
        return false;
    const ad_shape *shape = ad_shape_get(x);
    if (!(spec->epsilon >= 0) || !isfinite(spec->epsilon) || (spec->exact && spec->epsilon > 0))
        ad_poison(net->graph, where, "%s %s: epsilon %g: it must not be negative%s", kind, name, spec->epsilon,
                  spec->exact ? ", and exact has none" : "");
    else if (!(spec->momentum >= 0 && spec->momentum <= 1))
        ad_poison(net->graph, where, "%s %s: momentum %g is not from 0 to 1", kind, name, spec->momentum);
    else if (shape->rank < 1)
        ad_poison(net->graph, where, "%s %s: its input has no axis", kind, name);
    for (int i = 0; i < spec->over.rank && !ad_failed(net->graph); i++) {
        ad_shape before = ad_shape_make(i, spec->over.axes);
        if (!ad_has(shape, spec->over.axes[i]) || ad_has(&before, spec->over.axes[i]))
            ad_poison(net->graph, where, "%s %s: %s axis %s in %s", kind, name,
                      ad_has(&before, spec->over.axes[i]) ? "twice the" : "no",
                      ad_axis_name(net->graph, spec->over.axes[i]),
                      ad_shape_text(net->graph, shape, text, sizeof text));
    }
    spec->epsilon = spec->exact ? 0 : spec->epsilon > 0 ? spec->epsilon : usual_epsilon;
    spec->momentum = spec->momentum > 0 ? spec->momentum : usual_momentum;
    return !ad_failed(net->graph);
}

/* Keeps m and v, and the inputs that stand for them in evaluation. */
static void keep(ad_where where, nn_net *net, const char *name, const nn_norm_spec *spec, ad_var m, ad_var v)
{
    nn_norm **end = &net->norms, *norm = ad_arena_alloc(net->arena, 1, sizeof *norm);
    if (!norm || !(norm->name = ad_arena_text(net->arena, "%s", name))) {
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
        return;
    }
    norm->momentum = spec->momentum;
    norm->exact = spec->exact;
    norm->over = spec->over;
    norm->batch[0] = m;
    norm->batch[1] = v;
    norm->running[0] = ad_input_at(where, net->graph, nn_name(net, "%s.running_mean", name), *ad_shape_get(m));
    norm->running[1] = ad_input_at(where, net->graph, nn_name(net, "%s.running_var", name), *ad_shape_get(m));
    while (*end)
        end = &(*end)->next;
    *end = norm;
    net->n_statistics += 2;
}

ad_var nn_batchnorm_at(ad_where where, nn_net *net, const char *name, ad_var x, const nn_norm_spec *given)
{
    nn_norm_spec spec = given ? *given : (nn_norm_spec){ 0 };
    ad_var m, v;
    if (!settle(where, net, "batchnorm", name, x, &spec))
        return nn_nothing(net);
    if (spec.over.rank == 0)
        spec.over = ad_shape_of(net->batch);
    if (!ad_has(&spec.over, net->batch) || !ad_has(ad_shape_get(x), net->batch))
        return ad_poison(net->graph, where, "batchnorm %s: its statistics are over the batch, and more axes perhaps",
                         name);
    ad_var z = normalise(where, x, spec.over, spec.epsilon, &m, &v);
    if (ad_failed(net->graph))
        return z;
    keep(where, net, name, &spec, m, v);
    return spec.affine ? affine(where, net, name, z) : z;
}

ad_var nn_layernorm_at(ad_where where, nn_net *net, const char *name, ad_var x, const nn_norm_spec *given)
{
    nn_norm_spec spec = given ? *given : (nn_norm_spec){ 0 };
    ad_var m, v;
    if (!settle(where, net, "layernorm", name, x, &spec))
        return nn_nothing(net);
    const ad_shape *shape = ad_shape_get(x);
    if (spec.over.rank == 0)
        spec.over = ad_shape_of(shape->axes[shape->rank - 1]);
    if (ad_has(&spec.over, net->batch))
        return ad_poison(net->graph, where, "layernorm %s: its statistics are of one sample, not over the batch", name);
    ad_var z = normalise(where, x, spec.over, spec.epsilon, &m, &v);
    return spec.affine ? affine(where, net, name, z) : z;
}

ad_var nn_groupnorm_at(ad_where where, nn_net *net, const char *name, ad_var x, size_t groups,
                       const nn_norm_spec *given)
{
    nn_norm_spec spec = given ? *given : (nn_norm_spec){ 0 };
    char text[160];
    ad_var m, v;
    if (!settle(where, net, "groupnorm", name, x, &spec))
        return nn_nothing(net);
    const ad_shape *shape = ad_shape_get(x);
    ad_axis last = shape->axes[shape->rank - 1];
    size_t channels = ad_axis_fixed(net->graph, last);
    if (groups == 0 || channels == 0 || channels % groups)
        return ad_poison(net->graph, where,
                         "groupnorm %s: %zu groups of the last axis of %s, which is fixed and a "
                         "multiple of them",
                         name, groups, ad_shape_text(net->graph, shape, text, sizeof text));
    if (ad_has(&spec.over, net->batch) || ad_has(&spec.over, last))
        return ad_poison(net->graph, where,
                         "groupnorm %s: its statistics are over a group's channels, and axes of one "
                         "sample",
                         name);
    if (spec.over.rank == 0)
        for (int i = 0; i < shape->rank - 1; i++)
            if (!ad_same(shape->axes[i], net->batch))
                spec.over.axes[spec.over.rank++] = shape->axes[i];
    ad_axis group = ad_fresh_at(where, net->graph, "group", groups);
    ad_axis member = ad_fresh_at(where, net->graph, "member", channels / groups);
    spec.over.axes[spec.over.rank++] = member;
    ad_var z = normalise(where, ad_split_at(where, x, last, group, member), spec.over, spec.epsilon, &m, &v);
    z = ad_merge_at(where, z, group, member, last);
    return spec.affine && !ad_failed(net->graph) ? affine(where, net, name, z) : z;
}

/* ---- the network in evaluation ---- */
ad_var nn_trace_evaluation(nn_net *net)
{
    size_t count = (size_t)net->n_statistics;
    ad_var *from = ad_arena_alloc(net->arena, count + 1, sizeof *from);
    ad_var *to = ad_arena_alloc(net->arena, count + 1, sizeof *to);
    int n = 0;
    if (!from || !to)
        return ad_poison(net->graph, AD_HERE, "batchnorm: out of memory");
    for (const nn_norm *norm = net->norms; norm; norm = norm->next)
        for (int i = 0; i < 2; i++, n++) {
            from[n] = norm->batch[i];
            to[n] = norm->running[i];
        }
    return ad_replace(net->output, from, to, n);
}

int nn_norm_fit_outputs(const nn_net *net, ad_var *nodes)
{
    int n = 0;
    for (const nn_norm *norm = net->norms; norm; norm = norm->next)
        for (int i = 0; i < 2; i++)
            nodes[n++] = norm->fit[i];
    return n;
}

int nn_norm_outputs(const nn_net *net, ad_var *nodes)
{
    int n = 0;
    bool wanted = false;
    for (const nn_norm *norm = net->norms; norm; norm = norm->next)
        wanted |= norm->exact;
    for (const nn_norm *norm = net->norms; norm && wanted; norm = norm->next)
        for (int i = 0; i < 2; i++)
            nodes[n++] = norm->batch[i];
    return n;
}
