/* fit_checkpoint.c: the whole state of a fit in a .safetensors file. All is checked before anything is changed. */
#include "nn/train/train.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static uint64_t hash_numbers(uint64_t seed, const double *data, size_t count)
{
    const unsigned char *bytes = (const unsigned char *)data;
    for (size_t i = 0; i < count * sizeof *data; i++)
        seed = (seed ^ bytes[i]) * 0x100000001b3u;
    return seed;
}

int nn_make_marks(nn_mark *marks, const nn_model *model, const nn_data *data, const nn_fit_spec *spec, size_t batch)
{
    static const char *const losses[] = { "square", "cross-entropy" };
    const char *number;
    double value;
    int n = 0;
    void *locale = ad_c_locale_begin();
#define MARK(name, ...)                                                                                                \
    marks[n].key = name;                                                                                               \
    snprintf(marks[n++].value, sizeof marks->value, __VA_ARGS__)
    MARK("network", "%.60s", nn_title(model->net));
    MARK("width", "%zu", model->n);
    MARK("type", "%s", model->type == AD_FLOAT ? "float" : "double");
    MARK("loss", "%s", losses[spec->loss]);
    MARK("optimizer", "%s", nn_optimizer_name(spec->optimizer));
    MARK("rate", "%.17g", spec->rate);
    for (int k = 0; (number = nn_optimizer_number(spec, k, &value)); k++) {
        MARK(number, "%.17g", value);
    }
    MARK("weight_decay", "%.17g", spec->weight_decay);
    MARK("batch", "%zu", batch);
    MARK("rows", "%zu", data->rows);
    MARK("seed", "%" PRIu64, spec->seed);
    size_t columns = data->classes ? 1 : nn_n_outputs(model->net);
    uint64_t sum = hash_numbers(0xcbf29ce484222325u, data->x, data->rows * nn_features(model->net));
    MARK("data", "%016" PRIx64, hash_numbers(sum, data->y, data->rows * columns));
#undef MARK
    ad_c_locale_end(locale);
    return n;
}

/* A weight decay of 0 stands in no file. */
static bool is_left_out(const nn_mark *mark)
{
    return strcmp(mark->key, "weight_decay") == 0 && strcmp(mark->value, "0") == 0;
}

/* The tensor of a state of parameter k; state -1: of the parameter itself. */
static char *state_name(ad_arena *arena, const nn_model *model, const nn_rule *rule, int state, int k)
{
    const char *name = nn_tensor_name(model, k);
    return state < 0 ? ad_arena_text(arena, "%s", name)
                     : ad_arena_text(arena, "optimizer.%s.%s", nn_rule_state_name(rule, state), name);
}

int nn_checkpoint_write(const char *path, const nn_model *model, const nn_rule *rule, const nn_mark *marks, int n_marks,
                        const nn_position *position, ad_error *error)
{
    int n = model->net->n_params, n_all = nn_count_tensors(model), states = nn_rule_states(rule), failed = -1;
    nn_pair metadata[NN_MAX_MARKS + 1] = { { "format", "limn checkpoint" } };
    int n_pairs = 1;
    for (int i = 0; i < n_marks; i++)
        if (!is_left_out(&marks[i]))
            metadata[n_pairs++] = (nn_pair){ marks[i].key, marks[i].value };
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
            const char *name = state_name(arena, model, rule, s, k);
            if (!name) {
                ad_fail(error, "%s: out of memory", path);
                goto done;
            }
            tensors[used++] = nn_tensor_of(model, k, name, nn_rule_state(rule, s));
        }
    failed = nn_tensors_write(path, tensors, used, metadata, (size_t)n_pairs, error);
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
        if (value ? strcmp(value, marks[i].value) != 0 : !is_left_out(&marks[i]))
            return ad_fail(error, "%s: cannot resume: %s was %.60s, now it is %s", path, marks[i].key,
                           value ? value : "not given", marks[i].value);
    }
    return 0;
}

/* Where the fit stood. */
static int read_position(const char *path, const nn_tensors *file, nn_position *position, ad_error *error)
{
    const nn_tensor *counts = nn_tensors_find(file, "fit.counts"), *losses = nn_tensors_find(file, "fit.losses");
    if (!counts || counts->dtype != NN_U64 || counts->count != 2 || !losses || losses->dtype != NN_F64 ||
        losses->count != 2)
        return ad_fail(error, "%s: fit.counts or fit.losses is missing or misshapen", path);
    const uint64_t *c = counts->data;
    const double *l = losses->data;
    if (c[0] > INT64_MAX / 2 || !isfinite(l[0]) || !isfinite(l[1]))
        return ad_fail(error, "%s: fit.counts or fit.losses holds no position of a fit", path);
    *position = (nn_position){ .step = c[0], .epoch_rows = c[1], .loss = l[0], .epoch_loss = l[1] };
    return 0;
}

/* The tensors of the values, then those of the states; NULL where one of them is not as the model's. */
static const nn_tensor **find_tensors(const char *path, const nn_tensors *file, const nn_model *model,
                                      const nn_rule *rule, size_t count, ad_arena *arena, ad_error *error)
{
    const nn_tensor **found = ad_arena_alloc(arena, count, sizeof *found);
    size_t n = 0;
    for (int s = -1; s < nn_rule_states(rule); s++)
        for (int k = 0; k < (s < 0 ? nn_count_tensors(model) : model->net->n_params); k++) {
            const char *name = found ? state_name(arena, model, rule, s, k) : NULL;
            if (!name) {
                ad_fail(error, "%s: out of memory", path);
                return NULL;
            }
            if (!(found[n++] = nn_matching_tensor(path, file, model, k, name, error)))
                return NULL;
        }
    return found;
}

/* All is looked at before anything is copied. */
static int take_checkpoint(const char *path, const nn_tensors *file, nn_model *model, nn_rule *rule,
                           nn_position *position, ad_arena *arena, ad_error *error)
{
    nn_position at;
    int n_all = nn_count_tensors(model), n = model->net->n_params, states = nn_rule_states(rule);
    size_t wanted = (size_t)n_all + (size_t)n * (size_t)states + 2;
    if (read_position(path, file, &at, error) != 0)
        return -1;
    if (nn_tensors_count(file) != wanted)
        return ad_fail(error, "%s: %zu tensors, this fit has %zu", path, nn_tensors_count(file), wanted);
    const nn_tensor **found = find_tensors(path, file, model, rule, wanted, arena, error);
    if (!found)
        return -1;
    for (int k = 0; k < n_all; k++)
        nn_copy_tensor(model, k, found[k], model->values);
    for (int i = 0; i < n * states; i++)
        nn_copy_tensor(model, i % n, found[n_all + i], nn_rule_state(rule, i / n));
    *position = at;
    *nn_rule_time(rule) = (long)at.step;
    return 0;
}

int nn_checkpoint_read(const char *path, nn_model *model, nn_rule *rule, const nn_mark *marks, int n_marks,
                       nn_position *position, ad_error *error)
{
    nn_tensors *file = nn_tensors_read(path, error);
    ad_arena *arena = file ? ad_arena_new(error) : NULL;
    int failed = arena ? check_marks(path, file, marks, n_marks, error) : -1;
    if (!failed)
        failed = take_checkpoint(path, file, model, rule, position, arena, error);
    ad_arena_free(arena);
    nn_tensors_free(file);
    return failed;
}
