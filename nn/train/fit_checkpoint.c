/* fit_checkpoint.c: the whole state of a fit in a .safetensors file. All is checked before anything is changed. */
#include "nn/train/train.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

uint64_t nn_hash_numbers(uint64_t seed, const double *data, size_t count)
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

uint64_t nn_hash_data(const nn_net *net, const nn_data *data)
{
    size_t columns = data->classes ? 1 : nn_n_outputs(net);
    uint64_t sum = nn_hash_numbers(0xcbf29ce484222325u, data->x, data->rows * nn_features(net));
    return data->y ? nn_hash_numbers(sum, data->y, data->rows * columns) : sum;
}

static void describe_schedule(const nn_fit_spec *spec, long steps, char *text, size_t size)
{
    if (spec->schedule == NN_RATE_STEP)
        ad_snprintf(text, size, "times %.17g each %.17g epochs", spec->gamma, spec->step_size);
    else if (spec->schedule == NN_RATE_COSINE)
        ad_snprintf(text, size, "cosine to %.17g in %ld steps", spec->rate_min, steps);
    else
        ad_snprintf(text, size, "constant");
}

static const char own_width[] = ", the network's own";

int nn_make_marks(nn_mark *marks, const nn_model *model, const nn_data *data, const nn_fit_spec *spec, size_t batch,
                  long steps)
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
    MARK("data", "%016" PRIx64, nn_hash_data(model->net, data));
    char schedule[sizeof marks->value];
    describe_schedule(spec, steps, schedule, sizeof schedule);
    MARK("schedule", "%s", schedule);
    MARK("warm_up", "%ld", spec->warm_up);
    MARK("clip", "%.17g", spec->clip);
    MARK("label_smoothing", "%.17g", spec->label_smoothing);
    if (spec->validation) {
        MARK("validation", "%zu rows %016" PRIx64, spec->validation->rows, nn_hash_data(model->net, spec->validation));
    } else {
        MARK("validation", "none");
    }
#undef MARK
    return n;
}

/* What is not asked for stands in no file. */
static const nn_mark usual[] = { { "weight_decay", "0" }, { "frozen", "none" }, { "schedule", "constant" },
                                 { "warm_up", "0" },      { "clip", "0" },      { "label_smoothing", "0" },
                                 { "validation", "none" } };

static bool is_left_out(const nn_mark *mark)
{
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (strcmp(mark->key, usual[i].key) == 0 && strcmp(mark->value, usual[i].value) == 0)
            return true;
    return strcmp(mark->key, "base_width") == 0 && strstr(mark->value, own_width);
}

/* What a checkpoint holds beside its position: for each part the tensors of arrays laid out as the model's values. Part
 * 0 is these, then the optimizer's states, of parameters alone, then the best weights, where there are some. */
static int count_parts(const nn_fit_state *state)
{
    return 1 + nn_rule_states(state->rule) + (state->best->data ? 1 : 0);
}

static bool is_optimizer_state(const nn_fit_state *state, int part)
{
    return part > 0 && part <= nn_rule_states(state->rule);
}

static void *part_values(const nn_fit_state *state, int part)
{
    if (is_optimizer_state(state, part))
        return nn_rule_state(state->rule, part - 1);
    return part ? state->best->values : state->model->values;
}

static int part_tensors(const nn_fit_state *state, int part)
{
    return is_optimizer_state(state, part) ? state->model->net->n_params : nn_count_tensors(state->model);
}

static size_t count_tensors(const nn_fit_state *state)
{
    size_t count = state->best->data ? 4 : 2;
    for (int part = 0; part < count_parts(state); part++)
        count += (size_t)part_tensors(state, part);
    return count;
}

static char *part_name(ad_arena *arena, const nn_fit_state *state, int part, int k)
{
    const char *name = nn_tensor_name(state->model, k);
    if (is_optimizer_state(state, part))
        return ad_arena_text(arena, "optimizer.%s.%s", nn_rule_state_name(state->rule, part - 1), name);
    return ad_arena_text(arena, part ? "best.%s" : "%s", name);
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

int nn_checkpoint_write(const char *path, const nn_fit_state *state, ad_error *error)
{
    const nn_position *position = state->position;
    const nn_best *best = state->best;
    int failed = -1;
    size_t n_pairs = 0, used = 0;
    ad_arena *arena = ad_arena_new(error);
    nn_pair *metadata = arena ? list_pairs(state->model, state->marks, state->n_marks, arena, &n_pairs, error) : NULL;
    nn_tensor *tensors = ad_alloc(count_tensors(state), sizeof *tensors, "tensors", error);
    if (!tensors || !metadata)
        goto done;
    uint64_t counts[2] = { position->step, position->epoch_rows }, waits[2] = { best->step, best->wait };
    double losses[2] = { position->loss, position->epoch_loss };
    double best_losses[2] = { best->step ? best->loss : 0, isfinite(best->last) ? best->last : 0 };
    const struct {
        const char *name;
        nn_dtype dtype;
        const void *data;
    } eights[] = { { "fit.counts", NN_U64, counts }, /* eight-byte tensors come first, so that all data is aligned */
                   { "fit.losses", NN_F64, losses },
                   { "fit.best_counts", NN_U64, waits },
                   { "fit.best_losses", NN_F64, best_losses } };
    for (int i = 0; i < (best->data ? 4 : 2); i++)
        tensors[used++] = (nn_tensor){
            .name = eights[i].name, .dtype = eights[i].dtype, .rank = 1, .shape = { 2 }, .data = eights[i].data
        };
    for (int part = 0; part < count_parts(state); part++)
        for (int k = 0; k < part_tensors(state, part); k++) {
            const char *name = part_name(arena, state, part, k);
            if (!name) {
                ad_fail(error, "%s: out of memory", path);
                goto done;
            }
            tensors[used++] = nn_tensor_of(state->model, k, name, part_values(state, part));
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

/* Two numbers of a type, under a name; false: there are none. */
static bool read_two(const nn_tensors *file, const char *name, nn_dtype dtype, void *numbers)
{
    const nn_tensor *t = nn_tensors_find(file, name);
    if (!t || t->dtype != dtype || t->count != 2)
        return false;
    memcpy(numbers, t->data, 2 * sizeof(double));
    return true;
}

static int read_position(const char *path, const nn_tensors *file, nn_position *position, ad_error *error)
{
    uint64_t c[2];
    double l[2];
    if (!read_two(file, "fit.counts", NN_U64, c) || !read_two(file, "fit.losses", NN_F64, l))
        return ad_fail(error, "%s: fit.counts or fit.losses is missing or misshapen", path);
    if (c[0] > INT64_MAX / 2 || !isfinite(l[0]) || !isfinite(l[1]))
        return ad_fail(error, "%s: fit.counts or fit.losses holds no position of a fit", path);
    *position = (nn_position){ .step = c[0], .epoch_rows = c[1], .loss = l[0], .epoch_loss = l[1] };
    return 0;
}

static int read_best(const char *path, const nn_tensors *file, nn_best *best, ad_error *error)
{
    uint64_t c[2];
    double l[2];
    if (!best->data)
        return 0;
    if (!read_two(file, "fit.best_counts", NN_U64, c) || !read_two(file, "fit.best_losses", NN_F64, l) ||
        c[0] > INT64_MAX / 2 || !isfinite(l[0]) || !isfinite(l[1]))
        return ad_fail(error, "%s: fit.best_counts or fit.best_losses is missing, or holds no two numbers of a fit",
                       path);
    best->step = c[0];
    best->wait = c[1];
    best->loss = c[0] ? l[0] : (double)INFINITY;
    best->last = c[0] || c[1] ? l[1] : (double)NAN;
    return 0;
}

/* The tensors of all parts; NULL where one of them is not as the model's. */
static const nn_tensor **find_tensors(const nn_source *from, const nn_fit_state *state, size_t count, ad_arena *arena,
                                      ad_error *error)
{
    const nn_tensor **found = ad_arena_alloc(arena, count, sizeof *found);
    size_t n = 0;
    for (int part = 0; part < count_parts(state); part++)
        for (int k = 0; k < part_tensors(state, part); k++) {
            const char *name = found ? part_name(arena, state, part, k) : NULL;
            if (!name) {
                ad_fail(error, "%s: out of memory", from->path);
                return NULL;
            }
            if (!(found[n++] = nn_matching_tensor(from, state->model, k, name, error)))
                return NULL;
        }
    return found;
}

/* All is looked at before anything is copied. */
static int take_checkpoint(const char *path, const nn_tensors *file, const nn_fit_state *state, ad_arena *arena,
                           ad_error *error)
{
    nn_position at;
    nn_best best = *state->best;
    nn_source from = { .path = path, .file = file, .layout = NN_LAYOUT_IN_OUT };
    size_t wanted = count_tensors(state), n = 0;
    if (read_position(path, file, &at, error) != 0 || read_best(path, file, &best, error) != 0)
        return -1;
    if (nn_tensors_count(file) != wanted)
        return ad_fail(error, "%s: %zu tensors, this fit has %zu", path, nn_tensors_count(file), wanted);
    const nn_tensor **found = find_tensors(&from, state, wanted, arena, error);
    if (!found)
        return -1;
    for (int part = 0; part < count_parts(state); part++)
        for (int k = 0; k < part_tensors(state, part); k++)
            nn_copy_tensor(&from, state->model, k, found[n++], part_values(state, part));
    *state->position = at;
    *state->best = best;
    *nn_rule_time(state->rule) = (long)at.step;
    return 0;
}

int nn_checkpoint_read(const char *path, const nn_fit_state *state, ad_error *error)
{
    nn_tensors *file = nn_tensors_read(path, error);
    ad_arena *arena = file ? ad_arena_new(error) : NULL;
    int failed = arena ? check_format(path, file, error) : -1;
    if (!failed)
        failed = nn_weights_check(path, file, state->model, NULL, error);
    if (!failed)
        failed = check_marks(path, file, state->marks, state->n_marks, error);
    if (!failed)
        failed = take_checkpoint(path, file, state, arena, error);
    ad_arena_free(arena);
    nn_tensors_free(file);
    return failed;
}
