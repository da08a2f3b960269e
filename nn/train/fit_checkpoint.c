/* checkpoint.c: weights, and the whole state of a fit, as .safetensors. All is checked before anything is changed. */
#include "nn/model/safetensors.h"
#include "nn/network/network.h"

#include <math.h>
#include <string.h>

static const char *const state_names[] = { "optimizer.first.", "optimizer.second." };

/* Parameter k, or running statistic k - n_params, as a tensor of that name; values is laid out as the model's. */
static nn_tensor tensor_of(const nn_model *model, int k, const char *name, const void *values)
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

/* Of parameters and running statistics. */
static int count_all(const nn_model *model)
{
    return model->net->n_params + model->net->n_statistics;
}

static const char *param_name(const nn_model *model, int k)
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

/* Finds a tensor as large as parameter k, of finite numbers that the model's type holds. */
static const nn_tensor *matching(const char *path, const nn_tensors *file, const nn_model *model, int k,
                                 const char *name, ad_error *error)
{
    char one[200], two[200];
    const nn_tensor *t = nn_tensors_find(file, name);
    nn_tensor own = tensor_of(model, k, name, model->values);
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

static void copy(const nn_model *model, int k, const nn_tensor *t, void *values)
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

/* ---- weights ---- */
int nn_save(nn_model *model, const char *path, ad_error *error)
{
    int n = count_all(model);
    char width[32];
    snprintf(width, sizeof width, "%zu", model->n);
    nn_pair metadata[] = { { "format", "limn" }, { "network", nn_title(model->net) }, { "width", width } };
    nn_tensor *tensors = ad_alloc((size_t)n + 1, sizeof *tensors, "tensors", error);
    if (!tensors)
        return -1;
    for (int k = 0; k < n; k++)
        tensors[k] = tensor_of(model, k, param_name(model, k), model->values);
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
    int n = count_all(model), failed = 0;
    nn_tensors *file = nn_tensors_read(path, error);
    if (!file)
        return -1;
    for (int k = 0; k < n && !failed; k++)
        failed = matching(path, file, model, k, param_name(model, k), error) ? 0 : -1;
    for (size_t i = 0; i < nn_tensors_count(file) && !failed; i++) {
        const char *name = nn_tensors_at(file, i)->name;
        int k = 0;
        while (k < n && strcmp(param_name(model, k), name) != 0)
            k++;
        if (k == n && !is_state(file, name))
            failed = ad_fail(error, "%s: tensor %.80s is no parameter of the network", path, name);
    }
    for (int k = 0; k < n && !failed; k++)
        copy(model, k, nn_tensors_find(file, param_name(model, k)), model->values);
    nn_tensors_free(file);
    return failed;
}

/* ---- the state of a fit ---- */
enum { MOST_MARKS = 24 };

int nn_checkpoint_write(const char *path, const nn_model *model, const nn_rule *rule, const nn_mark *marks, int n_marks,
                        const nn_position *position, ad_error *error)
{
    int n = model->net->n_params, n_all = count_all(model), states = nn_rule_states(rule), failed = -1;
    nn_pair metadata[MOST_MARKS] = { { "format", "limn checkpoint" } };
    for (int i = 0; i < n_marks && i + 1 < MOST_MARKS; i++)
        metadata[i + 1] = (nn_pair){ marks[i].key, marks[i].value };
    size_t room = (size_t)n_all + (size_t)n * (size_t)states + 2, used = 0;
    nn_tensor *tensors = ad_alloc(room, sizeof *tensors, "tensors", error);
    ad_arena *arena = ad_arena_new(error);
    if (!tensors || !arena)
        goto done;
    uint64_t counts[2] = { position->step, position->epoch_rows };
    double losses[2] = { position->loss, position->epoch_loss };
    tensors[used++] = (nn_tensor){ .name = "fit.counts", .dtype = NN_U64, .rank = 1, .shape = { 2 }, .data = counts };
    tensors[used++] = (nn_tensor){ .name = "fit.losses", .dtype = NN_F64, .rank = 1, .shape = { 2 }, .data = losses };
    /* eight-byte tensors come first, so that all data is aligned */
    for (int k = 0; k < n_all; k++)
        tensors[used++] = tensor_of(model, k, param_name(model, k), model->values);
    for (int s = 0; s < states; s++)
        for (int k = 0; k < n; k++) {
            const char *name = ad_arena_text(arena, "%s%s", state_names[s], param_name(model, k));
            if (!name) {
                ad_fail(error, "%s: out of memory", path);
                goto done;
            }
            tensors[used++] = tensor_of(model, k, name, nn_rule_state(rule, s));
        }
    failed = nn_tensors_write(path, tensors, used, metadata, (size_t)n_marks + 1, error);
done:
    ad_arena_free(arena);
    ad_free(tensors);
    return failed;
}

static int check_marks(const char *path, const nn_tensors *file, const nn_mark *marks, int n_marks, ad_error *error)
{
    const char *format = nn_tensors_metadata(file, "format");
    if (!format || strcmp(format, "limn checkpoint") != 0)
        return ad_fail(error, "%s: not a checkpoint of a fit", path);
    for (int i = 0; i < n_marks; i++) {
        const char *value = nn_tensors_metadata(file, marks[i].key);
        if (!value || strcmp(value, marks[i].value) != 0)
            return ad_fail(error, "%s: cannot resume: %s was %.60s, now it is %s", path, marks[i].key,
                           value ? value : "not given", marks[i].value);
    }
    return 0;
}

int nn_checkpoint_read(const char *path, nn_model *model, nn_rule *rule, const nn_mark *marks, int n_marks,
                       nn_position *position, ad_error *error)
{
    int n = model->net->n_params, n_all = count_all(model), states = nn_rule_states(rule), failed = 0;
    size_t wanted = (size_t)n_all + (size_t)n * (size_t)states + 2;
    char name[320];
    nn_tensors *file = nn_tensors_read(path, error);
    if (!file)
        return -1;
    failed = check_marks(path, file, marks, n_marks, error);
    const nn_tensor *counts = nn_tensors_find(file, "fit.counts"), *losses = nn_tensors_find(file, "fit.losses");
    if (!failed && (!counts || counts->dtype != NN_U64 || counts->count != 2 || !losses || losses->dtype != NN_F64 ||
                    losses->count != 2))
        failed = ad_fail(error, "%s: fit.counts or fit.losses is missing or misshapen", path);
    if (!failed && nn_tensors_count(file) != wanted)
        failed = ad_fail(error, "%s: %zu tensors, this fit has %zu", path, nn_tensors_count(file), wanted);
    for (int change = 0; change < 2 && !failed; change++) /* first all is looked at, then all is copied */
        for (int s = -1; s < states && !failed; s++)
            for (int k = 0; k < (s < 0 ? n_all : n) && !failed; k++) {
                snprintf(name, sizeof name, "%s%s", s < 0 ? "" : state_names[s], param_name(model, k));
                if (change)
                    copy(model, k, nn_tensors_find(file, name), s < 0 ? model->values : nn_rule_state(rule, s));
                else
                    failed = matching(path, file, model, k, name, error) ? 0 : -1;
            }
    if (!failed) {
        const uint64_t *c = counts->data;
        const double *l = losses->data;
        if (c[0] > INT64_MAX / 2 || !isfinite(l[0]) || !isfinite(l[1])) {
            failed = ad_fail(error, "%s: fit.counts or fit.losses holds no position of a fit", path);
        } else {
            *position = (nn_position){ .step = c[0], .epoch_rows = c[1], .loss = l[0], .epoch_loss = l[1] };
            *nn_rule_time(rule) = (long)c[0];
        }
    }
    nn_tensors_free(file);
    return failed;
}
