/* model.c: a network at a finite width: its parameters and its outputs. */
#include "nn/inside.h"

#include <math.h>
#include <string.h>

enum {
    MOST_WIDTH = 1 << 24,
    FORWARD_ROWS = 512 /* rows in one go, where samples do not meet */
};

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
    for (int k = 0; k < model->net->n_params; k++)
        ad_bind(plan, model->net->params[k], (char *)model->values + model->offsets[k] * nn_bytes(model->type));
    return 0;
}

nn_model *nn_at(const nn_net *net, size_t n, uint64_t seed, ad_type type, int threads, ad_error *error)
{
    if (n < 1 || n > MOST_WIDTH) {
        ad_fail(error, "%s: width %zu: it must be from 1 to %d", nn_title(net), n, MOST_WIDTH);
        return NULL;
    }
    nn_model *model = ad_alloc(1, sizeof *model, "a model", error);
    if (!model)
        return NULL;
    *model = (nn_model){ .net = net, .n = n, .type = type, .threads = threads > 0 ? threads : 1, .sizes = { .n = n } };
    int n_params = net->n_params;
    if (!(model->offsets = ad_alloc((size_t)n_params + 1, sizeof *model->offsets, "a model", error)))
        goto failed;
    for (int k = 0; k < n_params; k++) {
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
    if (!(model->values = ad_alloc(model->offsets[n_params], nn_bytes(type), "the parameters", error)))
        goto failed;
    for (int k = 0; k < n_params; k++) {
        void *values = nn_values(model, k, NULL);
        if (ad_draw(net->params[k], &model->sizes, seed, type, values, error) != 0)
            goto failed;
    }
    return model;
failed:
    nn_model_free(model);
    return NULL;
}

void nn_model_free(nn_model *model)
{
    if (!model)
        return;
    nn_kernel_free(model->kernel);
    ad_plan_free(model->forward);
    ad_free(model->x);
    ad_free(model->values);
    ad_free(model->offsets);
    ad_free(model);
}

const nn_net *nn_net_of(const nn_model *model)
{
    return model->net;
}

size_t nn_model_width(const nn_model *model)
{
    return model->n;
}

void *nn_values(nn_model *model, int k, size_t *count)
{
    if (count)
        *count = model->offsets[k + 1] - model->offsets[k];
    return (char *)model->values + model->offsets[k] * nn_bytes(model->type);
}

size_t nn_count(const nn_model *model)
{
    return model->offsets[model->net->n_params];
}

/* A plan of the outputs for so many rows. */
static int prepare(nn_model *model, size_t rows, ad_error *error)
{
    if (model->forward && model->forward_rows >= rows)
        return 0;
    ad_plan_free(model->forward);
    ad_free(model->x);
    model->x = NULL;
    model->forward_rows = 0;
    ad_plan_spec spec = { .type = model->type, .threads = model->threads, .capacity = nn_sizes(model, rows) };
    if (!(model->forward = ad_plan_new(&model->net->output, 1, &spec, error)))
        return -1;
    if (!(model->x = ad_alloc(rows * nn_features(model->net), nn_bytes(model->type), "inputs", error)))
        return -1;
    model->forward_rows = rows;
    nn_bind_params(model, model->forward);
    return ad_bind(model->forward, model->net->input, model->x);
}

int nn_forward(nn_model *model, const double *x, size_t rows, double *out, ad_error *error)
{
    if (rows == 0)
        return 0;
    size_t features = nn_features(model->net), outputs = nn_n_outputs(model->net), bad = 0;
    bool together = ad_couples(model->net->output, model->net->batch);
    size_t chunk = together || rows < FORWARD_ROWS ? rows : FORWARD_ROWS;
    if (prepare(model, chunk, error) != 0)
        return ad_fail(error, "%s: cannot run %zu rows", nn_title(model->net), chunk);
    for (size_t first = 0; first < rows; first += chunk) {
        size_t count = rows - first < chunk ? rows - first : chunk;
        if (!nn_convert(x + first * features, count * features, model->type, model->x, &bad))
            return ad_fail(error, "x: row %zu holds a number that is not finite", first + bad / features);
        ad_sizes sizes = nn_sizes(model, count);
        if (ad_run(model->forward, &sizes, error) != 0)
            return -1;
        const void *f = ad_output(model->forward, 0);
        for (size_t i = 0; i < count * outputs; i++)
            out[first * outputs + i] = nn_value(f, i, model->type);
    }
    return 0;
}
