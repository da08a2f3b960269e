/* vector.c: kernels of hidden vectors: which may be asked for, and the mean of h h' over the coordinates. */
#include "nn/kernel/kernel.h"

#include <string.h>

int nn_vector_check(const nn_model *model, ad_var vector, ad_error *error)
{
    const nn_net *net = model->net;
    char text[120];
    if (vector.graph != net->graph || vector.id < 0 || vector.id >= ad_graph_size(net->graph))
        return ad_fail(error, "%s: kernel: the vector is not of this network's trace", nn_title(net));
    const ad_shape *shape = ad_shape_get(vector);
    if (shape->rank != 2 || !ad_has(shape, net->batch))
        return ad_fail(error, "%s: kernel: %s is no vector of a sample: (batch, axis) is needed", nn_title(net),
                       ad_shape_text(net->graph, shape, text, sizeof text));
    if (model->drops && net->drops)
        return ad_fail(error, "%s: kernel: hidden vectors are those without the masks of dropout", nn_title(net));
    if (nn_variant_of(model, NN_TRAINING) != 0)
        return ad_fail(error, "%s: kernel: hidden vectors are those in training: no mode of evaluation", nn_title(net));
    return 0;
}

/* (rows, axis), whatever the order of its axes. */
static int evaluate(nn_model *model, ad_var vector, const double *x, size_t rows, size_t size, double *out,
                    double *scratch, ad_error *error)
{
    bool first = ad_same(ad_shape_get(vector)->axes[0], model->net->batch);
    if (nn_norm_check_rows(model, rows, error) != 0 || nn_activations(model, vector, x, rows, scratch, error) != 0)
        return -1;
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < size; k++)
            out[i * size + k] = scratch[first ? i * size + k : k * rows + i];
    return 0;
}

int nn_nngp_vector(nn_model *model, ad_var vector, const double *x, size_t rows, const double *x2, size_t rows2,
                   double *out, ad_error *error)
{
    if (nn_vector_check(model, vector, error) != 0)
        return -1;
    if (rows == 0 || (x2 && rows2 == 0))
        return ad_fail(error, "%s: kernel: no rows", nn_title(model->net));
    ad_sizes sizes = nn_sizes(model, 1);
    size_t size = ad_elements(model->net->graph, ad_shape_get(vector), &sizes), columns = x2 ? rows2 : rows;
    size_t most = rows > columns ? rows : columns;
    double *h = ad_alloc(rows * size, sizeof *h, "a kernel", error);
    double *h2 = h && x2 ? ad_alloc(columns * size, sizeof *h2, "a kernel", error) : h;
    double *scratch = h2 ? ad_alloc(most * size, sizeof *scratch, "a kernel", error) : NULL;
    int status = scratch ? evaluate(model, vector, x, rows, size, h, scratch, error) : -1;
    if (!status && x2)
        status = evaluate(model, vector, x2, rows2, size, h2, scratch, error);
    for (size_t i = 0; i < rows * columns && !status; i++) {
        const double *a = h + i / columns * size, *b = h2 + i % columns * size;
        out[i] = 0;
        for (size_t k = 0; k < size; k++)
            out[i] += a[k] * b[k] / (double)size;
    }
    ad_free(scratch);
    if (h2 != h)
        ad_free(h2);
    ad_free(h);
    return status;
}
