/* weights.c: parameters and running statistics as tensors of a .safetensors file. All is checked before anything is
 * changed. */
#include "nn/model/model.h"

#include <math.h>
#include <string.h>

int nn_count_tensors(const nn_model *model)
{
    return model->net->n_params + model->net->n_statistics;
}

nn_tensor nn_tensor_of(const nn_model *model, int k, const char *name, const void *values)
{
    const nn_net *net = model->net;
    const ad_shape *shape = ad_shape_get(net->params[k]);
    nn_tensor t = { .name = name,
                    .dtype = model->type == AD_FLOAT ? NN_F32 : NN_F64,
                    .rank = shape->rank,
                    .data = (const char *)values + model->offsets[k] * nn_bytes(model->type),
                    .count = model->offsets[k + 1] - model->offsets[k] };
    for (int i = 0; i < shape->rank; i++)
        t.shape[i] = ad_axis_size(net->graph, shape->axes[i], &model->sizes);
    return t;
}

const char *nn_tensor_name(const nn_model *model, int k)
{
    return ad_node_of(model->net->graph, model->net->params[k].id)->name;
}

static char *shape_text(const nn_tensor *t, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", t->shape[i]);
    if (used < size)
        snprintf(text + used, size - used, ")");
    return text;
}

const nn_tensor *nn_matching_tensor(const char *path, const nn_tensors *file, const nn_model *model, int k,
                                    const char *name, ad_error *error)
{
    char one[200], two[200];
    const nn_tensor *t = nn_tensors_find(file, name);
    nn_tensor own = nn_tensor_of(model, k, name, model->values);
    if (!t) {
        ad_fail(error, "%s: no tensor %s", path, name);
        return NULL;
    }
    if (t->dtype == NN_U64) {
        ad_fail(error, "%s: tensor %s: type U64, not F32 or F64", path, name);
        return NULL;
    }
    if (t->rank != own.rank || memcmp(t->shape, own.shape, sizeof t->shape) != 0) {
        ad_fail(error, "%s: tensor %s: shape %s, the network at width %zu has %s", path, name,
                shape_text(t, one, sizeof one), model->n, shape_text(&own, two, sizeof two));
        return NULL;
    }
    ad_type type = t->dtype == NN_F32 ? AD_FLOAT : AD_DOUBLE;
    for (size_t i = 0; i < t->count; i++) {
        double x = nn_value(t->data, i, type);
        bool variance = k >= model->net->n_params && (k - model->net->n_params) % 2 == 1;
        if (!isfinite(x) || (model->type == AD_FLOAT && !isfinite((float)x)) || (variance && x < 0)) {
            ad_fail(error, "%s: tensor %s: number %zu is %g", path, name, i, x);
            return NULL;
        }
    }
    return t;
}

void nn_copy_tensor(const nn_model *model, int k, const nn_tensor *t, void *values)
{
    size_t first = model->offsets[k];
    for (size_t i = 0; i < t->count; i++) {
        double x = nn_value(t->data, i, t->dtype == NN_F32 ? AD_FLOAT : AD_DOUBLE);
        if (model->type == AD_FLOAT)
            ((float *)values)[first + i] = (float)x;
        else
            ((double *)values)[first + i] = x;
    }
}

int nn_save(nn_model *model, const char *path, ad_error *error)
{
    int n = nn_count_tensors(model);
    char width[32];
    snprintf(width, sizeof width, "%zu", model->n);
    nn_pair metadata[] = { { "format", "limn" }, { "network", nn_title(model->net) }, { "width", width } };
    nn_tensor *tensors = ad_alloc((size_t)n + 1, sizeof *tensors, "tensors", error);
    if (!tensors)
        return -1;
    for (int k = 0; k < n; k++)
        tensors[k] = nn_tensor_of(model, k, nn_tensor_name(model, k), model->values);
    int failed = nn_tensors_write(path, tensors, (size_t)n, metadata, 3, error);
    ad_free(tensors);
    return failed;
}

/* Whether the tensor stands beside the weights of a checkpoint. */
static bool is_state(const nn_tensors *file, const char *name)
{
    const char *format = nn_tensors_metadata(file, "format");
    return format && strcmp(format, "limn checkpoint") == 0 &&
           (strncmp(name, "fit.", 4) == 0 || strncmp(name, "optimizer.", 10) == 0);
}

int nn_load(nn_model *model, const char *path, ad_error *error)
{
    int n = nn_count_tensors(model), failed = 0;
    nn_tensors *file = nn_tensors_read(path, error);
    if (!file)
        return -1;
    for (int k = 0; k < n && !failed; k++)
        failed = nn_matching_tensor(path, file, model, k, nn_tensor_name(model, k), error) ? 0 : -1;
    for (size_t i = 0; i < nn_tensors_count(file) && !failed; i++) {
        const char *name = nn_tensors_at(file, i)->name;
        int k = 0;
        while (k < n && strcmp(nn_tensor_name(model, k), name) != 0)
            k++;
        if (k == n && !is_state(file, name))
            failed = ad_fail(error, "%s: tensor %.80s is no parameter of the network", path, name);
    }
    for (int k = 0; k < n && !failed; k++)
        nn_copy_tensor(model, k, nn_tensors_find(file, nn_tensor_name(model, k)), model->values);
    nn_tensors_free(file);
    return failed;
}
