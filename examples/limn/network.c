/* network.c: finding the network, built in or in a C file, its trace, and its model at a width. */
#include "examples/limn/limn_tool.h"

#include "examples/limn/compile.h"
#include "nn/safetensors/safetensors.h"

#include <stdlib.h>
#include <string.h>

static nn_function find(const char *name, nn_input_kind *input, ad_error *error)
{
    size_t length = strlen(name);
    if (length > 2 && strcmp(name + length - 2, ".c") == 0)
        return compile_network(name, input, error);
    nn_function function = nn_builtin(name);
    *input = nn_builtin_input(name);
    if (!function) {
        char list[200] = "";
        for (int k = 0; nn_builtin_names()[k]; k++)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s, ", nn_builtin_names()[k]);
        ad_fail(error, "unknown network %s: there are %sor a C file, whose name ends in .c", name, list);
    }
    return function;
}

nn_net *network_trace(const options *o, const ds_data *data, ad_error *error)
{
    static const ds_data mnist = { .features = 784, .height = 28, .width = 28, .classes = 10 };
    nn_input_kind input;
    nn_function function = find(o->network, &input, error);
    if (!function)
        return NULL;
    if (!data)
        data = &mnist;
    nn_spec spec = { .features = data->features,
                     .outputs = data_outputs(data),
                     .parametrization = o->scale,
                     .sigma_in = o->sigma_in,
                     .settings = o->settings,
                     .name = o->network };
    if (input == NN_SEQUENCE && data->height) {
        spec.shape[0] = data->height;
        spec.shape[1] = data->width;
    } else if (input == NN_SEQUENCE) {
        ad_fail(error, "%s: %s reads sequences: (rows, time, features), not (rows, features)", data_name(o),
                o->network);
        return NULL;
    } else if (o->inputs && data->height) {
        ad_fail(error, "%s: sequences (rows, time, features); %s takes (rows, features)", o->inputs, o->network);
        return NULL;
    }
    return nn_trace(function, &spec, error);
}

/* The width at which every tensor of a file has its parameter's shape; 0 if there is none. Only sizes of the file's own
 * axes come into question. */
static size_t width_of_file(const nn_net *net, const nn_tensors *file)
{
    const ad_graph *graph = nn_graph(net);
    size_t width = 0;
    for (int k = 0; k < nn_n_params(net); k++) {
        const ad_shape *shape = ad_shape_get(nn_param(net, k));
        const nn_tensor *t = nn_tensors_find(file, ad_node_of(graph, nn_param(net, k).id)->name);
        for (int i = 0; t && i < shape->rank && i < t->rank; i++)
            if (ad_axis_kind(graph, shape->axes[i]) == AD_WIDTH) {
                ad_sizes sizes = { .n = t->shape[i] };
                if (!width && sizes.n && ad_axis_size(graph, shape->axes[i], &sizes) == sizes.n)
                    width = sizes.n;
            }
    }
    const char *said = nn_tensors_metadata(file, "width");
    return width || !said ? width : strtoul(said, NULL, 10);
}

nn_model *network_model(const options *o, const nn_net *net, size_t width, uint64_t seed, ad_error *error)
{
    if (o->width)
        width = o->width;
    else if (o->weights) {
        nn_tensors *file = nn_tensors_read(o->weights, error);
        if (!file)
            return NULL;
        width = width_of_file(net, file);
        nn_tensors_free(file);
        if (!width) {
            ad_fail(error, "%s: no tensor of it tells the width of %s: give --width N", o->weights, o->network);
            return NULL;
        }
    }
    nn_model *model = nn_model_new(net, width, seed, o->type, (int)o->threads, error);
    if (model && o->weights && nn_load(model, o->weights, error)) {
        nn_model_free(model);
        return NULL;
    }
    if (model)
        nn_set_mode(model, o->mode);
    return model;
}
