/* trace.c: a network's function becomes a trace, in training and in evaluation. */
#include "nn/network/network.h"

#include "autodiff/base/base.h"

static ad_var make_input(nn_net *net)
{
    static const char *const names[4][4] = {
        { "features" },
        { "time", "features" },
        { "rows", "columns", "channels" },
        { "frames", "rows", "columns", "channels" },
    };
    size_t *shape = net->spec.shape, count = 1;
    int rank = 0;
    while (rank < 4 && shape[rank])
        count *= shape[rank++];
    if (rank == 0)
        shape[rank++] = count = net->spec.features;
    if (net->spec.features == 0)
        net->spec.features = count;
    if (count == 0 || count != net->spec.features)
        return ad_poison(net->graph, AD_HERE, "input: the axes hold %zu numbers, a sample has %zu", count,
                         net->spec.features);
    ad_shape axes = ad_shape_of(net->batch);
    for (int i = 0; i < rank; i++)
        axes.axes[axes.rank++] = ad_fixed(net->graph, names[rank - 1][i], shape[i]);
    return ad_input(net->graph, "x", axes);
}

/* The outputs are (batch, one fixed axis). */
static void check_output(nn_net *net)
{
    char text[160];
    if (!net->output.graph || net->output.id < 0) {
        ad_fail(&net->error, "%s: the network returns nothing", nn_title(net));
        return;
    }
    if (net->output.graph != net->graph || net->output.id >= ad_graph_size(net->graph)) {
        bool foreign = net->output.graph != net->graph && net->output.id < ad_graph_size(net->output.graph);
        ad_where made = foreign ? ad_node_of(net->output.graph, net->output.id)->where : (ad_where){ nn_title(net), 0 };
        ad_fail(&net->error, "%s:%d: the network returns a variable of another network, or none", made.file, made.line);
        return;
    }
    const ad_shape *shape = ad_shape_get(net->output);
    ad_axis other = { 0 };
    for (int i = 0; i < shape->rank; i++)
        if (!ad_same(shape->axes[i], net->batch))
            other = shape->axes[i];
    if (shape->rank != 2 || !ad_has(shape, net->batch) || ad_axis_kind(net->graph, other) != AD_FIXED) {
        ad_fail(&net->error, "%s: the network returns %s, not (batch, outputs)", nn_title(net),
                ad_shape_text(net->graph, shape, text, sizeof text));
        return;
    }
    net->outputs = other;
    net->output = ad_transpose_at(AD_HERE, net->output, ad_shape_of(net->batch, other));
}

/* Another input than x would have no values when the network runs: running statistics and masks have theirs. */
static void check_inputs(nn_net *net)
{
    for (int id = 0; id < ad_graph_size(net->graph); id++) {
        const ad_node *node = ad_node_of(net->graph, id);
        bool own = node->op != AD_INPUT || id == net->input.id;
        for (const nn_norm *norm = net->norms; norm && !own; norm = norm->next)
            own = norm->running[0].id == id || norm->running[1].id == id;
        for (const nn_drop *drop = net->drops; drop && !own; drop = drop->next)
            own = drop->mask.id == id;
        if (!own)
            ad_poison(net->graph, node->where,
                      "input %s: a network has one input, its argument; what is fixed is a "
                      "constant",
                      node->name);
    }
}

static void collect_params(nn_net *net)
{
    for (int pass = 0; pass < 2; pass++) {
        net->n_params = 0;
        for (int id = 0; id < ad_graph_size(net->graph); id++)
            if (ad_node_of(net->graph, id)->op == AD_PARAM) {
                if (pass)
                    net->params[net->n_params] = (ad_var){ net->graph, id };
                net->n_params++;
            }
        size_t count = (size_t)net->n_params + (size_t)net->n_statistics + 1;
        if (!pass && !(net->params = ad_arena_alloc(net->arena, count, sizeof *net->params))) {
            ad_fail(&net->error, "%s: out of memory", nn_title(net));
            return;
        }
    }
    int k = net->n_params;
    for (const nn_norm *norm = net->norms; norm; norm = norm->next)
        for (int i = 0; i < 2; i++)
            net->params[k++] = norm->running[i];
}

static void make_variants(nn_net *net)
{
    net->variants[0].output = net->variants[1].output = net->output;
    net->variants[2].output = net->fit_output;
    if (net->norms)
        net->variants[1].output = nn_trace_evaluation(net);
    for (int v = 0; v < 3 && !ad_failed(net->graph); v++)
        net->variants[v].mixes = ad_coupled(net->variants[v].output, net->batch);
}

/* A list of texts that NULL ends, on the net's arena; NULL is an empty one. NULL without memory. */
static const char *const *copy_list(nn_net *net, const char *const *from)
{
    int count = 0;
    while (from && from[count])
        count++;
    const char **to = ad_arena_alloc(net->arena, (size_t)count + 1, sizeof *to);
    for (int i = 0; i < count && to; i++)
        if (!(to[i] = ad_arena_text(net->arena, "%s", from[i])))
            return NULL;
    return to;
}

static int keep_spec(nn_net *net, const nn_spec *spec)
{
    net->spec = *spec;
    net->spec.settings = NULL;
    net->spec.freeze = NULL;
    net->spec.settings = copy_list(net, spec->settings);
    net->spec.abc = copy_list(net, spec->abc);
    if (!net->spec.settings || !net->spec.abc ||
        (spec->name && !(net->spec.name = ad_arena_text(net->arena, "%s", spec->name))))
        return ad_fail(&net->error, "network: out of memory");
    for (int i = 0; net->spec.settings[i]; i++)
        nn_setting_give(net, net->spec.settings[i]);
    for (int i = 0; spec->freeze && spec->freeze[i]; i++)
        nn_freeze_at((ad_where){ 0 }, net, spec->freeze[i]);
    for (int i = 0; net->spec.abc[i]; i++)
        nn_exponents_give(net, net->spec.abc[i]);
    return 0;
}

nn_net *nn_trace(nn_function function, const nn_spec *spec, ad_error *error)
{
    if (!function)
        ad_fail(error, "network: its function is missing (NULL): nn_builtin gives that for a name it does not know");
    if (!function || !ad_given(spec, "network: its spec", error))
        return NULL;
    nn_net *net = ad_alloc(1, sizeof *net, "a network", error);
    if (!net)
        return NULL;
    pthread_mutex_init(&net->lock, NULL);
    net->arena = ad_arena_new(error);
    net->graph = ad_graph_new(error);
    if (!net->arena || !net->graph) {
        nn_net_free(net);
        return NULL;
    }
    if (keep_spec(net, spec) == 0 && !net->error.text[0]) {
        long preset = spec->outputs ? (long)spec->outputs : 1;
        long outputs = nn_setting_int(net, "outputs", preset, 1, 1000000);
        net->batch = ad_batch(net->graph, "batch");
        net->outputs = ad_fixed(net->graph, "outputs", (size_t)outputs);
        net->input = make_input(net);
        ad_graph *before = ad_graph_trace(net->graph);
        net->output = function(net, net->input);
        ad_graph_trace(before);
    }
    /* what a wrong setting does to the trace is not the first thing to be told */
    if (!net->error.text[0] && ad_failed(net->graph))
        ad_fail(&net->error, "%s", ad_message(net->graph));
    if (!net->error.text[0])
        nn_settings_check_read(net);
    nn_exponents_check_met(net);
    if (!net->error.text[0])
        check_output(net);
    if (!net->error.text[0])
        check_inputs(net);
    if (!net->error.text[0] && !ad_failed(net->graph)) {
        collect_params(net);
        nn_freeze_params(net);
        nn_trace_fit(net);
        make_variants(net);
    }
    if (!net->error.text[0] && ad_failed(net->graph))
        ad_fail(&net->error, "%s", ad_message(net->graph));
    if (net->error.text[0]) {
        ad_fail(error, "%s", net->error.text);
        nn_net_free(net);
        return NULL;
    }
    return net;
}
