/* model.c: a network at a finite width: its parameters. */
#include "nn/model/model.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 24 };

size_t nn_bytes(ad_type type)
{
    return type == AD_FLOAT ? sizeof(float) : sizeof(double);
}

double nn_value(const void *values, size_t i, ad_type type)
{
    float single; /* a file's values need not be aligned */
    double number;
    if (type == AD_DOUBLE)
        memcpy(&number, (const char *)values + i * sizeof number, sizeof number);
    else
        memcpy(&single, (const char *)values + i * sizeof single, sizeof single), number = (double)single;
    return number;
}

bool nn_convert(const double *from, size_t count, ad_type type, void *to, size_t *bad)
{
    for (size_t i = 0; i < count; i++) {
        double x = from[i];
        if (type == AD_FLOAT)
            x = (double)(((float *)to)[i] = (float)x);
        else
            ((double *)to)[i] = x;
        if (!isfinite(x)) {
            *bad = i;
            return false;
        }
    }
    return true;
}

ad_sizes nn_sizes(const nn_model *model, size_t rows)
{
    ad_sizes sizes = model->sizes;
    sizes.batches[sizes.n_batches].axis = model->net->batch;
    sizes.batches[sizes.n_batches++].size = rows;
    return sizes;
}

int nn_bind_params(const nn_model *model, ad_plan *plan)
{
    for (int k = 0; k < model->net->n_params + model->net->n_statistics; k++)
        ad_bind(plan, model->net->params[k], (char *)model->values + model->offsets[k] * nn_bytes(model->type));
    return 0;
}

/* Room for parameters and statistics, all 0. */
static nn_model *model_of(const nn_net *net, size_t n, uint64_t seed, ad_type type, int threads, ad_error *error)
{
    if (n < 1 || n > MAX_WIDTH) {
        ad_fail(error, "%s: width %zu: it must be from 1 to %d", nn_title(net), n, MAX_WIDTH);
        return NULL;
    }
    nn_model *model = (threads = ad_threads(threads, error)) ? ad_alloc(1, sizeof *model, "a model", error) : NULL;
    if (!model)
        return NULL;
    *model = (nn_model){ .net = net, .n = n, .type = type, .threads = threads, .seed = seed, .sizes = { .n = n } };
    int n_all = net->n_params + net->n_statistics;
    if (!(model->offsets = ad_alloc((size_t)n_all + 1, sizeof *model->offsets, "a model", error)))
        goto failed;
    for (int k = 0; k < n_all; k++) {
        const ad_shape *shape = ad_shape_get(net->params[k]);
        size_t count = 1;
        for (int i = 0; i < shape->rank; i++)
            if (__builtin_mul_overflow(count, ad_axis_size(net->graph, shape->axes[i], &model->sizes), &count))
                count = SIZE_MAX;
        if (__builtin_add_overflow(model->offsets[k], count, &model->offsets[k + 1])) {
            ad_fail(error, "%s: too large at width %zu", nn_title(net), n);
            goto failed;
        }
    }
    if (!(model->values = ad_alloc(model->offsets[n_all], nn_bytes(type), "the parameters", error)))
        goto failed;
    return model;
failed:
    nn_model_free(model);
    return NULL;
}

nn_model *nn_model_new(const nn_net *net, size_t n, uint64_t seed, ad_type type, int threads, ad_error *error)
{
    nn_model *model = ad_given(net, "the model's network", error) ? model_of(net, n, seed, type, threads, error) : NULL;
    if (!model)
        return NULL;
    for (int k = 0; k < net->n_params; k++) {
        void *values = nn_param_values(model, k, NULL);
        if (ad_draw(net->params[k], &model->sizes, seed, type, values, error) != 0) {
            nn_model_free(model);
            return NULL;
        }
    }
    for (int k = 1; k < net->n_statistics; k += 2) { /* a mean of 0, and a variance of 1 */
        size_t count;
        void *variance = nn_statistic(model, k, &count);
        for (size_t i = 0; i < count; i++)
            if (type == AD_FLOAT)
                ((float *)variance)[i] = 1;
            else
                ((double *)variance)[i] = 1;
    }
    return model;
}

nn_model *nn_model_copy(const nn_model *from, ad_error *error)
{
    nn_model *model = ad_given(from, "the model that is copied", error)
                          ? model_of(from->net, from->n, from->seed, from->type, from->threads, error)
                          : NULL;
    if (!model)
        return NULL;
    model->mode = from->mode;
    model->drops = from->drops;
    memcpy(model->values, from->values, from->offsets[nn_count_tensors(from)] * nn_bytes(from->type));
    return model;
}

void nn_model_free(nn_model *model)
{
    if (!model)
        return;
    if (model->free_jacobian)
        model->free_jacobian(model->jacobian);
    if (model->free_kernel)
        model->free_kernel(model->kernel);
    for (int v = 0; v < 2; v++) {
        ad_plan_free(model->forward[v].plan);
        ad_free(model->forward[v].x);
    }
    ad_free(model->values);
    ad_free(model->offsets);
    ad_free(model);
}

const nn_net *nn_model_net(const nn_model *model)
{
    return model->net;
}

size_t nn_model_width(const nn_model *model)
{
    return model->n;
}

void *nn_param_values(nn_model *model, int k, size_t *count)
{
    if (count)
        *count = model->offsets[k + 1] - model->offsets[k];
    return (char *)model->values + model->offsets[k] * nn_bytes(model->type);
}

size_t nn_model_size(const nn_model *model)
{
    return model->offsets[model->net->n_params];
}

void *nn_statistic(nn_model *model, int k, size_t *count)
{
    return nn_param_values(model, model->net->n_params + k, count);
}

void nn_set_mode(nn_model *model, nn_mode mode)
{
    model->mode = mode;
}

void nn_set_dropout(nn_model *model, bool drops)
{
    model->drops = drops;
}

int nn_variant_of(const nn_model *model, nn_mode otherwise)
{
    return model->net->norms && (model->mode == NN_AUTO ? otherwise : model->mode) == NN_EVALUATION;
}

int nn_count_tensors(const nn_model *model)
{
    return model->net->n_params + model->net->n_statistics;
}

size_t nn_values_size(const nn_model *model)
{
    return model->offsets[nn_count_tensors(model)];
}

const char *nn_tensor_name(const nn_model *model, int k)
{
    return ad_node_of(model->net->graph, model->net->params[k].id)->name;
}
