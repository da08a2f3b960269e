/* network.c: finding the network, built in or in a C file, its trace, and its model at a width. */
#include "examples/limn/base/base.h"

#include "examples/limn/base/compile.h"

#include <stdlib.h>
#include <string.h>

nn_function network_function(const options *o, nn_input_kind *input, ad_error *error)
{
    const char *name = o->network;
    size_t length = strlen(name);
    nn_function function;
    if (length > 2 && strcmp(name + length - 2, ".c") == 0) {
        static const char *compiled; /* once a run, however many networks of a grid it makes */
        static nn_function known;
        static nn_input_kind takes;
        if (!compiled || strcmp(compiled, name) != 0) {
            const guard_bounds bounds = { o->trace_seconds, o->trace_nodes };
            if (!(function = compile_network(name, &bounds, input, error)))
                return NULL;
            compiled = name;
            known = function;
            takes = *input;
        }
        *input = takes;
        return known;
    }
    function = nn_builtin(name);
    *input = nn_builtin_input(name);
    if (!function) {
        char list[200] = "";
        for (int k = 0; nn_builtin_names()[k]; k++)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s, ", nn_builtin_names()[k]);
        const char *closest = ad_closest(name, nn_builtin_names());
        ad_fail(error, "unknown network %s%s%s%s: there are %sor a C file, whose name ends in .c", name,
                closest ? " (did you mean " : "", closest ? closest : "", closest ? "?)" : "", list);
    }
    return function;
}

int network_sample(const options *o, const ds_data *data, nn_input_kind input, nn_spec *spec, ad_error *error)
{
    spec->features = data->features;
    if (input == NN_IMAGE && data->channels) {
        spec->shape[0] = data->height;
        spec->shape[1] = data->width / data->channels;
        spec->shape[2] = data->channels;
    } else if (input == NN_IMAGE && !data->height) {
        return ad_fail(
            error,
            "%s: %s takes images, (rows, height, width, channels), or sequences, (rows, time, features), not (rows, "
            "features)",
            data_name(o), o->network);
    } else if (input != NN_FEATURES && data->height) {
        spec->shape[0] = data->height;
        spec->shape[1] = data->width;
    } else if (input == NN_SEQUENCE) {
        return ad_fail(error, "%s: %s reads sequences: (rows, time, features), not (rows, features)", data_name(o),
                       o->network);
    } else if (o->inputs && data->height && !data->channels) {
        return ad_fail(error,
                       "%s: sequences (rows, time, features); %s takes (rows, features): save x.reshape(len(x), -1)",
                       o->inputs, o->network);
    }
    return 0;
}

nn_net *network_trace(const options *o, const ds_data *data, ad_error *error)
{
    static const ds_data mnist = { .features = 784, .height = 28, .width = 28, .channels = 1, .classes = 10 };
    nn_input_kind input;
    nn_function function = network_function(o, &input, error);
    if (!function)
        return NULL;
    if (!data)
        data = &mnist;
    nn_spec spec = { .outputs = data_outputs(data),
                     .parametrization = o->scale,
                     .sigma_in = o->sigma_in,
                     .settings = o->settings,
                     .freeze = o->freeze,
                     .abc = o->abc,
                     .name = o->network };
    if (network_sample(o, data, input, &spec, error))
        return NULL;
    return nn_trace(function, &spec, error);
}

nn_model *network_model(const options *o, const nn_net *net, size_t width, uint64_t seed, ad_error *error)
{
    if (o->width)
        width = o->width;
    else if (o->weights && !(width = nn_width_of_weights(net, o->weights, error)))
        return NULL;
    nn_model *model = nn_model_new(net, width, seed, o->type, (int)o->threads, error);
    if (model && o->weights && nn_load_layout(model, o->weights, o->layout, error)) {
        nn_model_free(model);
        return NULL;
    }
    if (model && o->weights && weights_converted(o) && !o->json)
        printf("%s: converted from --scale %s --sigma-in %s, with the same W\n", o->weights,
               option_word(OPTION_SCALE, (int)o->info->parametrization),
               option_word(OPTION_SIGMA_IN, (int)o->info->sigma_in));
    if (model)
        nn_set_mode(model, o->mode);
    return model;
}
