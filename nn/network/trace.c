/* net.c: tracing a network, its settings, and what the trace knows. */
#include "nn/network/network.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *nn_title(const nn_net *net)
{
    return net->spec.name ? net->spec.name : "network";
}

/* ---- settings ---- */
static nn_setting *find(const nn_net *net, const char *key)
{
    nn_setting *s = net->settings;
    while (s && strcmp(s->key, key) != 0)
        s = s->next;
    return s;
}

/* Settings stay in the order in which they were given or read. */
static nn_setting *append(nn_net *net, const char *key, const char *value)
{
    nn_setting **end = &net->settings, *s = ad_arena_alloc(net->arena, 1, sizeof *s);
    const char *kept = ad_arena_text(net->arena, "%s", key);
    if (!s || !kept) {
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
        return NULL;
    }
    *s = (nn_setting){ .key = kept, .value = value };
    while (*end)
        end = &(*end)->next;
    return *end = s;
}

/* The text given for the key, else its preset; marks the setting as read. */
static const char *take(nn_net *net, const char *key, const char *preset)
{
    nn_setting *s = find(net, key);
    if (!s)
        s = append(net, key, NULL);
    if (!s)
        return preset;
    if (!s->preset && !(s->preset = ad_arena_text(net->arena, "%s", preset)))
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
    return s->value ? s->value : preset;
}

void nn_setting_fail(nn_net *net, const char *key, const char *wanted)
{
    const nn_setting *s = find(net, key);
    const char *value = s && s->value ? s->value : s ? s->preset : NULL;
    ad_fail(&net->error, "%s: %s=%s: it must be %s", nn_title(net), key, value ? value : "", wanted);
}

long nn_setting_int(nn_net *net, const char *key, long preset, long least, long most)
{
    char text[32], wanted[96], *end;
    snprintf(text, sizeof text, "%ld", preset);
    const char *value = take(net, key, text);
    errno = 0;
    long number = strtol(value, &end, 10);
    if (end != value && !*end && !errno && number >= least && number <= most)
        return number;
    snprintf(wanted, sizeof wanted, "a whole number from %ld to %ld", least, most);
    nn_setting_fail(net, key, wanted);
    return preset;
}

static bool real(const char *text, double *number)
{
    char *end;
    *number = ad_number(text, &end);
    return end != text && !*end && isfinite(*number);
}

double nn_setting_real(nn_net *net, const char *key, double preset)
{
    char text[40];
    double number;
    for (int digits = 6; digits <= 17; digits++) { /* the shortest text that is the number */
        ad_snprintf(text, sizeof text, "%.*g", digits, preset);
        if (real(text, &number) && !(fabs(number - preset) > 0))
            break;
    }
    if (real(take(net, key, text), &number))
        return number;
    nn_setting_fail(net, key, "a number");
    return preset;
}

const char *nn_setting_text(nn_net *net, const char *key, const char *preset)
{
    return take(net, key, preset);
}

bool nn_setting_sigma(nn_net *net, const char *key, const char *preset, double *sigma)
{
    const char *text = take(net, key, preset);
    *sigma = 0;
    if (strcmp(text, "none") == 0)
        return false;
    if (real(text, sigma) && *sigma >= 0)
        return true;
    nn_setting_fail(net, key, "none, or a number that is not negative");
    *sigma = 0;
    return false;
}

/* Splits "key=value" and keeps it; a key given twice is an error. */
static void give(nn_net *net, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        ad_fail(&net->error, "%s: setting \"%s\" is not of the form key=value", nn_title(net), text);
        return;
    }
    char *key = ad_arena_text(net->arena, "%.*s", (int)(equals - text), text);
    char *value = ad_arena_text(net->arena, "%s", equals + 1);
    if (!key || !value)
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
    else if (find(net, key))
        ad_fail(&net->error, "%s: setting %s is given twice", nn_title(net), key);
    else
        append(net, key, value);
}

/* A setting that nothing read is refused, with the list of those that were. */
static void refuse_unread(nn_net *net)
{
    char list[320] = "";
    size_t used = 0;
    const nn_setting *unread = NULL;
    for (const nn_setting *s = net->settings; s; s = s->next) {
        if (!s->preset && !unread)
            unread = s;
        if (s->preset && used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s=%s", used ? ", " : "", s->key, s->preset);
    }
    if (unread)
        ad_fail(&net->error, "%s: no setting %s; there are (with their defaults) %s", nn_title(net), unread->key, list);
}

/* ---- tracing ---- */
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
    const ad_shape *shape = ad_shape_get(net->output);
    ad_axis other = { 0, 0 };
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
    if (net->norms)
        net->variants[1].output = nn_trace_evaluation(net);
    for (int v = 0; v < 2 && !ad_failed(net->graph); v++)
        net->variants[v].mixes = ad_coupled(net->variants[v].output, net->batch);
}

static int keep_spec(nn_net *net, const nn_spec *spec)
{
    net->spec = *spec;
    net->spec.settings = NULL;
    int count = 0;
    while (spec->settings && spec->settings[count])
        count++;
    const char **settings = ad_arena_alloc(net->arena, (size_t)count + 1, sizeof *settings);
    if (!settings || (spec->name && !(net->spec.name = ad_arena_text(net->arena, "%s", spec->name))))
        return ad_fail(&net->error, "network: out of memory");
    for (int i = 0; i < count; i++) {
        if (!(settings[i] = ad_arena_text(net->arena, "%s", spec->settings[i])))
            return ad_fail(&net->error, "network: out of memory");
        give(net, spec->settings[i]);
    }
    net->spec.settings = settings;
    return 0;
}

nn_net *nn_trace(nn_function function, const nn_spec *spec, ad_error *error)
{
    nn_net *net = ad_alloc(1, sizeof *net, "a network", error);
    if (!net)
        return NULL;
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
        net->output = function(net, net->input);
    }
    /* what a wrong setting does to the trace is not the first thing to be told */
    if (!net->error.text[0] && ad_failed(net->graph))
        ad_fail(&net->error, "%s", ad_message(net->graph));
    if (!net->error.text[0])
        refuse_unread(net);
    if (!net->error.text[0])
        check_output(net);
    if (!net->error.text[0]) {
        collect_params(net);
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

void nn_net_free(nn_net *net)
{
    if (!net)
        return;
    ad_graph_free(net->graph);
    ad_arena_free(net->arena);
    ad_free(net);
}

/* ---- what a trace knows ---- */
ad_graph *nn_graph(const nn_net *net)
{
    return net->graph;
}

ad_var nn_input(const nn_net *net)
{
    return net->input;
}

ad_var nn_output(const nn_net *net)
{
    return net->output;
}

ad_axis nn_batch(const nn_net *net)
{
    return net->batch;
}

ad_axis nn_outputs(const nn_net *net)
{
    return net->outputs;
}

const nn_spec *nn_spec_of(const nn_net *net)
{
    return &net->spec;
}

int nn_n_params(const nn_net *net)
{
    return net->n_params;
}

ad_var nn_param(const nn_net *net, int k)
{
    return net->params[k];
}

int nn_n_statistics(const nn_net *net)
{
    return net->n_statistics;
}

const char *nn_statistic_name(const nn_net *net, int k)
{
    return ad_node_of(net->graph, net->params[net->n_params + k].id)->name;
}

size_t nn_features(const nn_net *net)
{
    return net->spec.features;
}

size_t nn_n_outputs(const nn_net *net)
{
    return ad_axis_fixed(net->graph, net->outputs);
}

ad_axis nn_width_at(ad_where where, nn_net *net, const char *name, double ratio)
{
    return ad_width_at(where, net->graph, name, ratio);
}

const char *nn_name(nn_net *net, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *name = ad_arena_vtext(net->arena, format, args);
    va_end(args);
    if (!name)
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
    return name ? name : "";
}
