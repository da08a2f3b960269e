/* net.c: what a traced network knows of itself. */
#include "nn/network/network.h"

#include <stdarg.h>

void nn_net_free(nn_net *net)
{
    if (!net)
        return;
    ad_graph_free(net->graph);
    ad_arena_free(net->arena);
    ad_free(net);
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
