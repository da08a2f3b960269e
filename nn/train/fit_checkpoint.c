/* fit_checkpoint.c: the whole state of a fit in a .safetensors file. All is checked before anything is changed. */
#include "nn/train/train.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const state_names[] = { "optimizer.first.", "optimizer.second." };

static uint64_t hash_numbers(uint64_t seed, const double *data, size_t count)
{
    const unsigned char *bytes = (const unsigned char *)data;
    for (size_t i = 0; i < count * sizeof *data; i++)
        seed = (seed ^ bytes[i]) * 0x100000001b3u;
    return seed;
}

int nn_make_marks(nn_mark *marks, const nn_model *model, const nn_data *data, const nn_fit_spec *spec, size_t batch)
{
    static const char *const losses[] = { "square", "cross-entropy" }, *const rules[] = { "sgd", "momentum", "adam" };
    int n = 0;
#define MARK(name, ...)                                                                                                \
    marks[n].key = name;                                                                                               \
    snprintf(marks[n++].value, sizeof marks->value, __VA_ARGS__)
    MARK("network", "%.60s", nn_title(model->net));
    MARK("width", "%zu", model->n);
    MARK("type", "%s", model->type == AD_FLOAT ? "float" : "double");
    MARK("loss", "%s", losses[spec->loss]);
    MARK("optimizer", "%s", rules[spec->optimizer]);
    MARK("rate", "%.17g", spec->rate);
    if (spec->optimizer == NN_MOMENTUM) {
        MARK("momentum", "%.17g", spec->momentum);
    }
    if (spec->optimizer == NN_ADAM) {
        MARK("beta1", "%.17g", spec->beta1);
        MARK("beta2", "%.17g", spec->beta2);
        MARK("epsilon", "%.17g", spec->epsilon);
    }
    MARK("batch", "%zu", batch);
    MARK("rows", "%zu", data->rows);
    MARK("seed", "%" PRIu64, spec->seed);
    size_t columns = data->classes ? 1 : nn_n_outputs(model->net);
    uint64_t sum = hash_numbers(0xcbf29ce484222325u, data->x, data->rows * nn_features(model->net));
    MARK("data", "%016" PRIx64, hash_numbers(sum, data->y, data->rows * columns));
#undef MARK
    return n;
}

int nn_checkpoint_write(const char *path, const nn_model *model, const nn_rule *rule, const nn_mark *marks, int n_marks,
                        const nn_position *position, ad_error *error)
{
    int n = model->net->n_params, n_all = nn_count_tensors(model), states = nn_rule_states(rule), failed = -1;
    nn_pair metadata[NN_MAX_MARKS + 1] = { { "format", "limn checkpoint" } };
    for (int i = 0; i < n_marks; i++)
        metadata[i + 1] = (nn_pair){ marks[i].key, marks[i].value };
    size_t count = (size_t)n_all + (size_t)n * (size_t)states + 2, used = 0;
    nn_tensor *tensors = ad_alloc(count, sizeof *tensors, "tensors", error);
    ad_arena *arena = ad_arena_new(error);
    if (!tensors || !arena)
        goto done;
    uint64_t counts[2] = { position->step, position->epoch_rows };
    double losses[2] = { position->loss, position->epoch_loss };
    tensors[used++] = (nn_tensor){ .name = "fit.counts", .dtype = NN_U64, .rank = 1, .shape = { 2 }, .data = counts };
    tensors[used++] = (nn_tensor){ .name = "fit.losses", .dtype = NN_F64, .rank = 1, .shape = { 2 }, .data = losses };
    /* eight-byte tensors come first, so that all data is aligned */
    for (int k = 0; k < n_all; k++)
        tensors[used++] = nn_tensor_of(model, k, nn_tensor_name(model, k), model->values);
    for (int s = 0; s < states; s++)
        for (int k = 0; k < n; k++) {
            const char *name = ad_arena_text(arena, "%s%s", state_names[s], nn_tensor_name(model, k));
            if (!name) {
                ad_fail(error, "%s: out of memory", path);
                goto done;
            }
            tensors[used++] = nn_tensor_of(model, k, name, nn_rule_state(rule, s));
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
    int n = model->net->n_params, n_all = nn_count_tensors(model), states = nn_rule_states(rule), failed = 0;
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
                snprintf(name, sizeof name, "%s%s", s < 0 ? "" : state_names[s], nn_tensor_name(model, k));
                if (change)
                    nn_copy_tensor(model, k, nn_tensors_find(file, name),
                                   s < 0 ? model->values : nn_rule_state(rule, s));
                else
                    failed = nn_matching_tensor(path, file, model, k, name, error) ? 0 : -1;
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
