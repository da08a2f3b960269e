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

/* The names of the parameters whose rate is 0, or how they begin and a number that stands for all. */
static void list_frozen(const nn_net *net, char *text, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    size_t used = 0;
    ad_snprintf(text, size, "none");
    for (int k = 0; k < net->n_params; k++) {
        const char *name = ad_node_of(net->graph, net->params[k].id)->name;
        if (nn_learns(net, k))
            continue;
        for (const char *c = name; *c; c++)
            hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
        hash = (hash ^ ',') * 0x100000001b3u;
        int length = snprintf(text + used, size - used, "%s%s", used ? "," : "", name);
        used += (size_t)length < size - used ? (size_t)length : size - used - 1;
    }
    if (used + 1 == size)
        ad_snprintf(text + size / 2, size - size / 2, "... %016" PRIx64, hash);
}

static const char own_width[] = ", the network's own";

int nn_make_marks(nn_mark *marks, const nn_model *model, const nn_data *data, const nn_fit_spec *spec, size_t batch)
{
    static const char *const losses[] = { "square", "cross-entropy" };
    const char *number;
    double value;
    int n = 0;
#define MARK(name, ...)                                                                                                \
    marks[n].key = name;                                                                                               \
    ad_snprintf(marks[n++].value, sizeof marks->value, __VA_ARGS__)
    MARK("network", "%.60s", nn_title(model->net));
    MARK("width", "%zu", model->n);
    MARK("type", "%s", model->type == AD_FLOAT ? "float" : "double");
    MARK("loss", "%s", losses[spec->loss]);
    MARK("optimizer", "%s", nn_optimizer_name(spec->optimizer));
    MARK("rate", "%.17g", spec->rate);
    for (int k = 0; (number = nn_optimizer_number(spec, k, &value)); k++) {
        MARK(number, "%.17g", value);
    }
    if (nn_optimizer_adapts(spec->optimizer)) {
        MARK("base_width", "%zu%s", spec->base_width, spec->base_width == model->n ? own_width : "");
    }
    MARK("weight_decay", "%.17g", spec->weight_decay);
    char frozen[sizeof marks->value];
    list_frozen(model->net, frozen, sizeof frozen);
    MARK("frozen", "%s", frozen);
    MARK("batch", "%zu", batch);
    MARK("rows", "%zu", data->rows);
    MARK("seed", "%" PRIu64, spec->seed);
    size_t columns = data->classes ? 1 : nn_n_outputs(model->net);
    uint64_t sum = hash_numbers(0xcbf29ce484222325u, data->x, data->rows * nn_features(model->net));
    MARK("data", "%016" PRIx64, hash_numbers(sum, data->y, data->rows * columns));
#undef MARK
    return n;
}

/* A weight decay of 0, that nothing is frozen, and one rate for all parameters stand in no file. */
static bool is_left_out(const nn_mark *mark)
{
    return (strcmp(mark->key, "weight_decay") == 0 && strcmp(mark->value, "0") == 0) ||
           (strcmp(mark->key, "frozen") == 0 && strcmp(mark->value, "none") == 0) ||
           (strcmp(mark->key, "base_width") == 0 && strstr(mark->value, own_width));
}

/* The tensor of a state of parameter k; state -1: of the parameter itself. */
static char *state_name(ad_arena *arena, const nn_model *model, const nn_rule *rule, int state, int k)
{
    const char *name = nn_tensor_name(model, k);
    return state < 0 ? ad_arena_text(arena, "%s", name)
                     : ad_arena_text(arena, "optimizer.%s.%s", nn_rule_state_name(rule, state), name);
}

/* What the fit is of, and what its network is. */
static nn_pair *list_pairs(const nn_model *model, const nn_mark *marks, int n_marks, ad_arena *arena, size_t *n,
                           ad_error *error)
{
    size_t n_said = 0;
    nn_pair *said = nn_weights_pairs(model, arena, &n_said, error);
    nn_pair *pairs = said ? ad_arena_alloc(arena, (size_t)n_marks + n_said + 1, sizeof *pairs) : NULL;
    if (!pairs) {
        ad_fail(error, "a checkpoint: out of memory");
        return NULL;
    }
    pairs[(*n)++] = (nn_pair){ "format", "limn checkpoint" };
    for (int i = 0; i < n_marks; i++)
        if (!is_left_out(&marks[i]))
            pairs[(*n)++] = (nn_pair){ marks[i].key, marks[i].value };
    memcpy(pairs + *n, said, n_said * sizeof *said);
    *n += n_said;
    return pairs;
}

int nn_checkpoint_write(const char *path, const nn_model *model, const nn_rule *rule, const nn_mark *marks, int n_marks,
                        const nn_position *position, ad_error *error)
{
    int n = model->net->n_params, n_all = nn_count_tensors(model), states = nn_rule_states(rule), failed = -1;
    size_t n_pairs = 0;
    ad_arena *arena = ad_arena_new(error);
    nn_pair *metadata = arena ? list_pairs(model, marks, n_marks, arena, &n_pairs, error) : NULL;
    size_t count = (size_t)n_all + (size_t)n * (size_t)states + 2, used = 0;
    nn_tensor *tensors = ad_alloc(count, sizeof *tensors, "tensors", error);
    if (!tensors || !metadata)
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
    failed = nn_tensors_write(path, tensors, used, metadata, n_pairs, error);
done:
    ad_arena_free(arena);
    ad_free(tensors);
    return failed;
}

static int check_format(const char *path, const nn_tensors *file, ad_error *error)
{
    const char *format = nn_tensors_metadata(file, "format");
    if (!format || strcmp(format, "limn checkpoint") != 0)
        return ad_fail(error, "%s: not a checkpoint of a fit: weights alone are for nn_load (limn train --weights)",
                       path);
    return 0;
}

static int check_marks(const char *path, const nn_tensors *file, const nn_mark *marks, int n_marks, ad_error *error)
{
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
    uint64_t c[2];
    double l[2];
    memcpy(c, counts->data, sizeof c);
    memcpy(l, losses->data, sizeof l);
    if (c[0] > INT64_MAX / 2 || !isfinite(l[0]) || !isfinite(l[1]))
        return ad_fail(error, "%s: fit.counts or fit.losses holds no position of a fit", path);
    *position = (nn_position){ .step = c[0], .epoch_rows = c[1], .loss = l[0], .epoch_loss = l[1] };
    return 0;
}

/* The tensors of the values, then those of the states; NULL where one of them is not as the model's. */
static const nn_tensor **find_tensors(const nn_source *from, const nn_model *model, const nn_rule *rule, size_t count,
                                      ad_arena *arena, ad_error *error)
{
    const nn_tensor **found = ad_arena_alloc(arena, count, sizeof *found);
    size_t n = 0;
    for (int s = -1; s < nn_rule_states(rule); s++)
        for (int k = 0; k < (s < 0 ? nn_count_tensors(model) : model->net->n_params); k++) {
            const char *name = found ? state_name(arena, model, rule, s, k) : NULL;
            if (!name) {
                ad_fail(error, "%s: out of memory", from->path);
                return NULL;
            }
            if (!(found[n++] = nn_matching_tensor(from, model, k, name, error)))
                return NULL;
        }
    return found;
}

/* All is looked at before anything is copied. */
static int take_checkpoint(const char *path, const nn_tensors *file, nn_model *model, nn_rule *rule,
                           nn_position *position, ad_arena *arena, ad_error *error)
{
    nn_position at;
    nn_source from = { .path = path, .file = file, .layout = NN_LAYOUT_IN_OUT };
    int n_all = nn_count_tensors(model), n = model->net->n_params, states = nn_rule_states(rule);
    size_t wanted = (size_t)n_all + (size_t)n * (size_t)states + 2;
    if (read_position(path, file, &at, error) != 0)
        return -1;
    if (nn_tensors_count(file) != wanted)
        return ad_fail(error, "%s: %zu tensors, this fit has %zu", path, nn_tensors_count(file), wanted);
    const nn_tensor **found = find_tensors(&from, model, rule, wanted, arena, error);
    if (!found)
        return -1;
    for (int k = 0; k < n_all; k++)
        nn_copy_tensor(&from, model, k, found[k], model->values);
    for (int i = 0; i < n * states; i++)
        nn_copy_tensor(&from, model, i % n, found[n_all + i], nn_rule_state(rule, i / n));
    *position = at;
    *nn_rule_time(rule) = (long)at.step;
    return 0;
}

int nn_checkpoint_read(const char *path, nn_model *model, nn_rule *rule, const nn_mark *marks, int n_marks,
                       nn_position *position, ad_error *error)
{
    nn_tensors *file = nn_tensors_read(path, error);
    ad_arena *arena = file ? ad_arena_new(error) : NULL;
    int failed = arena ? check_format(path, file, error) : -1;
    if (!failed)
        failed = nn_weights_check(path, file, model, NULL, error);
    if (!failed)
        failed = check_marks(path, file, marks, n_marks, error);
    if (!failed)
        failed = take_checkpoint(path, file, model, rule, position, arena, error);
    ad_arena_free(arena);
    nn_tensors_free(file);
    return failed;
}
