/* weights_width.c: the width of the network that a file of weights is of. */
#include "nn/model/model.h"

#include <stdlib.h>

/* The width at which every tensor of a file has its parameter's shape; 0 if there is none. Only sizes of the file's own
 * axes come into question. */
static size_t width_of_tensors(const nn_net *net, const nn_tensors *file)
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

size_t nn_width_of_weights(const nn_net *net, const char *path, ad_error *error)
{
    nn_tensors *file = nn_tensors_read(path, error);
    if (!file)
        return 0;
    size_t width = width_of_tensors(net, file);
    nn_tensors_free(file);
    if (!width)
        ad_fail(error, "%s: no tensor of it tells the width of %s: give --width N (tensors of PyTorch: limn import)",
                path, nn_title(net));
    return width;
}
