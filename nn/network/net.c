/* net.c: what a traced network knows of itself. */
#include "nn/network/network.h"

#include <stdarg.h>

void nn_net_free(nn_net *net)
{
    if (!net)
        return;
    ad_graph_free(net->graph);
    ad_arena_free(net->arena);
    pthread_mutex_destroy(&net->lock);
    ad_free(net);
}

/* The lock is the one part of a net that several threads change. */
static pthread_mutex_t *lock_of(const nn_net *net)
{
    return &((nn_net *)net)->lock;
}

ad_mark nn_growth_begin(const nn_net *net)
{
    pthread_mutex_lock(lock_of(net));
    return ad_graph_mark(net->graph);
}

int nn_growth_end(const nn_net *net, ad_mark before, const char *what, ad_error *error)
{
    int failed = 0;
    if (ad_failed(net->graph)) {
        failed = ad_fail(error, "%s: %s: %s", nn_title(net), what, ad_message(net->graph));
        ad_graph_rewind(net->graph, before);
    }
    pthread_mutex_unlock(lock_of(net));
    return failed;
}

ad_plan *nn_plan_new(const nn_net *net, const ad_var *outputs, int n, const ad_plan_spec *spec, ad_error *error)
{
    pthread_mutex_lock(lock_of(net));
    ad_plan *plan = ad_plan_new(outputs, n, spec, error);
    pthread_mutex_unlock(lock_of(net));
    return plan;
}

const char *nn_title(const nn_net *net)
{
    return net->spec.name ? net->spec.name : "network";
}

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

bool nn_has_dropout(const nn_net *net)
{
    return net->drops != NULL;
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

bool nn_is_there(ad_where where, const char *kind, const nn_net *net)
{
    if (!net)
        ad_poison(ad_graph_traced(), where, "%s: its network is missing (NULL)", kind);
    return net != NULL;
}

ad_var nn_nothing(const nn_net *net)
{
    return (ad_var){ net ? net->graph : NULL, -1 };
}

const char *nn_name_at(ad_where where, nn_net *net, const char *format, ...)
{
    va_list args;
    if (!nn_is_there(where, "name", net) || !ad_has_text(where, "name", net->graph, "format", format))
        return "";
    va_start(args, format);
    const char *name = ad_arena_vtext(net->arena, format, args);
    va_end(args);
    if (!name)
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
    return name ? name : "";
}
