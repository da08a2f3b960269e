/* convert.c: the numbers: PyTorch's tensors become a model's values, and a model's values PyTorch's tensors. */
#include "nn/exchange/exchange.h"

#include <math.h>
#include <string.h>

/* Where number i of the part (gate, half) of a group stands in PyTorch's tensor; `in` and `out` are the part's. */
static size_t place(const nn_group *group, int gate, int half, size_t i)
{
    size_t out = group->shape[0] / (size_t)group->n_gates, offset = (size_t)gate * out;
    if (group->rank < 2)
        return offset + i;
    size_t columns = group->shape[1];
    if (!group->turned)
        return offset * columns + i;
    size_t entries = group->entries, in = columns / (size_t)group->n_halves / (group->flat ? entries : 1);
    size_t row = (offset + i % out) * (size_t)group->n_halves + (size_t)half; /* halves stand side by side */
    return (row * in + i / out % in) * entries + i / (out * in);
}

static size_t count_of(const nn_group *group)
{
    size_t count = 1;
    for (int i = 0; i < group->rank; i++)
        count *= group->shape[i];
    return count;
}

static double get(const nn_model *model, int k, size_t i)
{
    return nn_value(model->values, model->offsets[k] + i, model->type);
}

static void set(nn_model *model, int k, size_t i, double x)
{
    if (model->type == AD_FLOAT)
        ((float *)model->values)[model->offsets[k] + i] = (float)x;
    else
        ((double *)model->values)[model->offsets[k] + i] = x;
}

/* W is omega only where nothing stands before it. */
static int check_multipliers(const nn_model *model, ad_error *error)
{
    for (int k = 0; k < model->net->n_params; k++) {
        double multiplier = nn_multiplier(model->net, k, &model->sizes);
        if (fabs(multiplier - 1) > 0)
            return ad_fail(error,
                           "%s: %s is multiplied by %g: PyTorch's weights are those of the standard scale "
                           "(nn_copy_weights converts)",
                           nn_title(model->net), nn_tensor_name(model, k), multiplier);
    }
    return 0;
}

/* The groups of the model, and the tensors of a file that belong to them. */
typedef struct {
    nn_torch torch;
    nn_groups groups;
    nn_match match;
} pairing;

static void close_pairing(pairing *p)
{
    nn_tensors_free(p->torch.file);
    ad_arena_free(p->torch.arena);
}

static int open_pairing(pairing *p, const nn_model *model, const char *path, const char *const *maps, ad_error *error)
{
    *p = (pairing){ .torch = { .path = path, .maps = maps } };
    if (check_multipliers(model, error) != 0 || !(p->torch.arena = ad_arena_new(error)) ||
        nn_groups_of(model->net, model->n, p->torch.arena, &p->groups, error) != 0)
        return -1;
    if (!path)
        return 0;
    if (!(p->torch.file = nn_tensors_read(path, error)))
        return -1;
    int status = nn_match_groups(&p->torch, &p->groups, &p->match, error);
    return status > 0 ? nn_match_fail(&p->torch, &p->groups, model->net, model->n, error) : status;
}

/* ---- import ---- */
static int check_values(const char *path, const nn_tensor *t, const nn_group *group, ad_type type, ad_error *error)
{
    bool variance = strcmp(group->kind, "running_var") == 0;
    if (!nn_dtype_real(t->dtype))
        return ad_fail(error, "%s: tensor %s: type %s, not F64, F32, F16 or BF16", path, t->name,
                       nn_dtype_name(t->dtype));
    for (size_t i = 0; i < t->count; i++) {
        double x = nn_tensor_value(t, i);
        if (!isfinite(x) || (type == AD_FLOAT && !isfinite((float)x)) || (variance && x < 0))
            return ad_fail(error, "%s: tensor %s: number %zu is %g", path, t->name, i, x);
    }
    return 0;
}

int nn_import(nn_model *model, const char *path, const char *const *maps, nn_told each, void *context, ad_error *error)
{
    pairing p;
    int status = open_pairing(&p, model, path, maps, error);
    for (int g = 0; g < p.groups.n && !status; g++)
        status = check_values(path, nn_tensors_at(p.torch.file, (size_t)p.match.found[g]), &p.groups.groups[g],
                              model->type, error);
    for (int g = 0; g < p.groups.n && !status; g++) {
        const nn_group *group = &p.groups.groups[g];
        const nn_tensor *t = nn_tensors_at(p.torch.file, (size_t)p.match.found[g]);
        for (int gate = 0; gate < group->n_gates; gate++)
            for (int half = 0; half < group->n_halves; half++) {
                int k = group->part[gate][half];
                for (size_t i = 0; i < model->offsets[k + 1] - model->offsets[k]; i++)
                    set(model, k, i, nn_tensor_value(t, place(group, gate, half, i)));
            }
        if (each)
            each(t->name, group->name, context);
    }
    close_pairing(&p);
    return status;
}

/* ---- export ---- */
/* PyTorch's tensor of a group, its data in the arena. */
static int make_tensor(const pairing *p, const nn_model *model, int g, ad_type type, nn_tensor *out, ad_error *error)
{
    const nn_group *group = &p->groups.groups[g];
    const nn_tensor *like = p->torch.file ? nn_tensors_at(p->torch.file, (size_t)p->match.found[g]) : NULL;
    void *data = ad_arena_alloc(p->torch.arena, count_of(group), nn_bytes(type));
    if (!data)
        return ad_fail(error, "out of memory for the tensor %s", group->name);
    *out = (nn_tensor){ .name = like ? like->name : group->name,
                        .dtype = type == AD_FLOAT ? NN_F32 : NN_F64,
                        .rank = group->rank,
                        .data = data,
                        .count = count_of(group) };
    memcpy(out->shape, group->shape, (size_t)group->rank * sizeof *group->shape);
    for (int gate = 0; gate < group->n_gates; gate++)
        for (int half = 0; half < group->n_halves; half++) {
            int k = group->part[gate][half];
            for (size_t i = 0; i < model->offsets[k + 1] - model->offsets[k]; i++) {
                size_t at = place(group, gate, half, i);
                if (type == AD_FLOAT)
                    ((float *)data)[at] = (float)get(model, k, i);
                else
                    ((double *)data)[at] = get(model, k, i);
            }
        }
    return 0;
}

/* A name of a map of groups or modules; NULL: the map has none. */
static const char *mapped_name(const pairing *p, const nn_group *group, const char *const *maps)
{
    for (const char *const *map = maps; map && *map; map++) {
        const char *equals = strchr(*map, '=');
        size_t length = equals ? (size_t)(equals - *map) : 0;
        if (equals && strcmp(equals + 1, group->name) == 0)
            return ad_arena_text(p->torch.arena, "%.*s", (int)length, *map);
        if (equals && group->module == strlen(equals + 1) && strncmp(equals + 1, group->name, group->module) == 0)
            return ad_arena_text(p->torch.arena, "%.*s.%s", (int)length, *map, group->kind);
    }
    return NULL;
}

static int check_maps(const nn_groups *groups, const char *const *maps, ad_error *error)
{
    for (const char *const *map = maps; map && *map; map++) {
        const char *equals = strchr(*map, '=');
        bool used = false;
        for (int g = 0; g < groups->n && equals && equals > *map; g++) {
            const nn_group *group = &groups->groups[g];
            used |= strcmp(equals + 1, group->name) == 0 ||
                    (group->module == strlen(equals + 1) && strncmp(equals + 1, group->name, group->module) == 0);
        }
        if (!used)
            return ad_fail(error, "map %.160s: it must be TORCH=LIMN, LIMN a tensor or a module of the network", *map);
    }
    return 0;
}

static int check_names(const nn_tensor *tensors, size_t n, ad_error *error)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(tensors[i].name, tensors[k].name) == 0)
                return ad_fail(error, "two tensors would be called %.80s: give other names by --map", tensors[i].name);
    return 0;
}

/* PyTorch's count beside each running variance, which nothing depends on. */
static size_t add_counts(const pairing *p, const nn_tensor *made, nn_tensor *tensors)
{
    static const int64_t none;
    size_t n = 0;
    for (int g = 0; g < p->groups.n; g++)
        if (strcmp(p->groups.groups[g].kind, "running_var") == 0) {
            size_t length = nn_module_length(made[g].name);
            const char *name = ad_arena_text(p->torch.arena, "%.*s.num_batches_tracked", (int)length, made[g].name);
            if (name)
                tensors[n++] = (nn_tensor){ .name = name, .dtype = NN_I64, .data = &none, .count = 1 };
        }
    return n;
}

static int export_all(pairing *p, const nn_model *model, const char *path, const char *const *maps, ad_type type,
                      nn_told each, void *context, ad_error *error)
{
    size_t count = (size_t)p->groups.n;
    nn_tensor *made = ad_arena_alloc(p->torch.arena, count + 1, sizeof *made);
    nn_tensor *all = ad_arena_alloc(p->torch.arena, 2 * count + 1, sizeof *all);
    if (!made || !all)
        return ad_fail(error, "%s: out of memory", path);
    for (int g = 0; g < p->groups.n; g++) {
        if (make_tensor(p, model, g, type, &made[g], error) != 0)
            return -1;
        const char *name = p->torch.file ? NULL : mapped_name(p, &p->groups.groups[g], maps);
        if (name)
            made[g].name = name;
    }
    size_t n = add_counts(p, made, all); /* of eight bytes: first, so that all data is aligned */
    memcpy(all + n, made, count * sizeof *made);
    nn_pair metadata[] = { { "format", "pt" } };
    if (check_names(all, n + count, error) != 0 || nn_tensors_write(path, all, n + count, metadata, 1, error) != 0)
        return -1;
    for (int g = 0; g < p->groups.n && each; g++)
        each(made[g].name, p->groups.groups[g].name, context);
    return 0;
}

int nn_export(const nn_model *model, const char *path, const char *like, const char *const *maps, ad_type type,
              nn_told each, void *context, ad_error *error)
{
    pairing p;
    int status = open_pairing(&p, model, like, maps, error);
    if (!status && !like)
        status = check_maps(&p.groups, maps, error);
    if (!status)
        status = export_all(&p, model, path, maps, type, each, context, error);
    close_pairing(&p);
    return status;
}
