/* weights.c: parameters and running statistics as tensors of a .safetensors file. All is checked before anything is
 * changed. */
#include "nn/model/model.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

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

static char *shape_text(const nn_tensor *t, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", t->shape[i]);
    if (used < size)
        snprintf(text + used, size - used, ")");
    return text;
}

/* A table is read by rows, and is no matrix that maps one side to the other. */
static bool is_table(const nn_net *net, int k)
{
    for (int id = net->params[k].id + 1; id <= net->output.id; id++) {
        const ad_node *node = ad_node_of(net->graph, id);
        if (node->op == AD_GATHER && node->in[0] == net->params[k].id)
            return true;
    }
    return false;
}

bool nn_is_matrix(const nn_net *net, int k)
{
    return k < net->n_params && ad_shape_get(net->params[k])->rank == 2 && !is_table(net, k);
}

static bool is_turned(const nn_source *from, const nn_model *model, int k)
{
    return from->layout == NN_LAYOUT_OUT_IN && nn_is_matrix(model->net, k);
}

static void turn_shape(nn_tensor *t)
{
    size_t first = t->shape[0];
    t->shape[0] = t->shape[1];
    t->shape[1] = first;
}

/* Number i of the model's tensor k, from the file's t. */
static double value_for(const nn_source *from, const nn_model *model, bool turned, int k, const nn_tensor *t, size_t i)
{
    size_t at = turned ? i % t->shape[0] * t->shape[1] + i / t->shape[0] : i;
    return nn_tensor_value(t, at) * (from->factors && k < model->net->n_params ? from->factors[k] : 1);
}

static int check_shape(const nn_source *from, const nn_model *model, int k, const nn_tensor *t, ad_error *error)
{
    char one[200], two[200];
    nn_tensor own = nn_tensor_of(model, k, t->name, model->values), turned = own;
    bool matrix = nn_is_matrix(model->net, k);
    if (matrix)
        turn_shape(&turned);
    const nn_tensor *wanted = is_turned(from, model, k) ? &turned : &own;
    bool square = matrix && own.shape[0] == own.shape[1] && own.shape[0] > 1;
    bool fits = t->rank == own.rank && memcmp(t->shape, wanted->shape, sizeof t->shape) == 0;
    bool other = matrix && t->rank == 2 && memcmp(t->shape, turned.shape, sizeof t->shape) == 0;
    if (fits && square && from->layout == NN_LAYOUT_AUTO)
        return ad_fail(error,
                       "%s: tensor %s is square %s, and nothing says whether it is (in, out), as limn has it, or (out, "
                       "in), as PyTorch has: give --layout in-out or --layout out-in",
                       from->path, t->name, shape_text(t, one, sizeof one));
    if (fits)
        return 0;
    return ad_fail(error, "%s: tensor %s: shape %s, the network at width %zu has %s%s", from->path, t->name,
                   shape_text(t, one, sizeof one), model->n, shape_text(wanted, two, sizeof two),
                   from->layout == NN_LAYOUT_AUTO && other
                       ? ": if it is (out, in), as PyTorch has it, give --layout out-in, or use limn import"
                       : "");
}

const nn_tensor *nn_matching_tensor(const nn_source *from, const nn_model *model, int k, const char *name,
                                    ad_error *error)
{
    const nn_tensor *t = nn_tensors_find(from->file, name);
    if (!t) {
        ad_fail(error, "%s: no tensor %s", from->path, name);
        return NULL;
    }
    if (!nn_dtype_real(t->dtype)) {
        ad_fail(error, "%s: tensor %s: type %s, not F64, F32, F16 or BF16: write it as one of them", from->path, name,
                nn_dtype_name(t->dtype));
        return NULL;
    }
    if (check_shape(from, model, k, t, error) != 0)
        return NULL;
    bool turned = is_turned(from, model, k);
    bool variance = k >= model->net->n_params && (k - model->net->n_params) % 2 == 1;
    for (size_t i = 0; i < t->count; i++) {
        double x = value_for(from, model, turned, k, t, i);
        if (!isfinite(x) || (model->type == AD_FLOAT && !isfinite((float)x)) || (variance && x < 0)) {
            ad_fail(error, "%s: tensor %s: number %zu is %g", from->path, name, i, x);
            return NULL;
        }
    }
    return t;
}

void nn_copy_tensor(const nn_source *from, const nn_model *model, int k, const nn_tensor *t, void *values)
{
    size_t first = model->offsets[k];
    bool turned = is_turned(from, model, k);
    for (size_t i = 0; i < t->count; i++) {
        double x = value_for(from, model, turned, k, t, i);
        if (model->type == AD_FLOAT)
            ((float *)values)[first + i] = (float)x;
        else
            ((double *)values)[first + i] = x;
    }
}

int nn_save(nn_model *model, const char *path, ad_error *error)
{
    if (!ad_given(model, "the model whose weights are saved", error) || !ad_given(path, "their file's name", error))
        return -1;
    int n = nn_count_tensors(model), failed = -1;
    char width[32];
    snprintf(width, sizeof width, "%zu", model->n);
    size_t n_said = 0, n_pairs = 0;
    ad_arena *arena = ad_arena_new(error);
    nn_pair *said = arena ? nn_weights_pairs(model, arena, &n_said, error) : NULL;
    nn_pair *pairs = ad_alloc(n_said + 3, sizeof *pairs, "tensors", error);
    nn_tensor *tensors = ad_alloc((size_t)n + 1, sizeof *tensors, "tensors", error);
    if (said && pairs && tensors) {
        pairs[n_pairs++] = (nn_pair){ "format", "limn" };
        pairs[n_pairs++] = (nn_pair){ "network", nn_title(model->net) };
        pairs[n_pairs++] = (nn_pair){ "width", width };
        memcpy(pairs + n_pairs, said, n_said * sizeof *said);
        for (int k = 0; k < n; k++)
            tensors[k] = nn_tensor_of(model, k, nn_tensor_name(model, k), model->values);
        failed = nn_tensors_write(path, tensors, (size_t)n, pairs, n_pairs + n_said, error);
    }
    ad_free(tensors);
    ad_free(pairs);
    ad_arena_free(arena);
    return failed;
}

/* Whether the tensor stands beside the weights of a checkpoint. */
static bool is_state(const nn_tensors *file, const char *name)
{
    const char *format = nn_tensors_metadata(file, "format");
    return format && strcmp(format, "limn checkpoint") == 0 &&
           (strncmp(name, "fit.", 4) == 0 || strncmp(name, "optimizer.", 10) == 0 || strncmp(name, "best.", 5) == 0);
}

/* How often PyTorch's batch normalisation was trained: nothing depends on it but an average that nobody takes. */
static bool is_count(const nn_tensor *t)
{
    const char *dot = strrchr(t->name, '.');
    return strcmp(dot ? dot + 1 : t->name, "num_batches_tracked") == 0 && t->count == 1;
}

/* Each of the model's tensors is there, and no other. */
static int check_tensors(const nn_source *from, const nn_model *model, ad_error *error)
{
    int n = nn_count_tensors(model);
    for (int k = 0; k < n; k++)
        if (!nn_matching_tensor(from, model, k, nn_tensor_name(model, k), error))
            return -1;
    for (size_t i = 0; i < nn_tensors_count(from->file); i++) {
        const nn_tensor *t = nn_tensors_at(from->file, i);
        int k = 0;
        while (k < n && strcmp(nn_tensor_name(model, k), t->name) != 0)
            k++;
        if (k == n && !is_state(from->file, t->name) && !is_count(t))
            return ad_fail(error, "%s: tensor %.80s is no parameter of the network", from->path, t->name);
    }
    return 0;
}

/* What the file says of its layout, and what was given. */
static int settle_layout(nn_source *from, nn_layout given, ad_error *error)
{
    bool own = nn_weights_of_limn(from->file);
    if (own && given == NN_LAYOUT_OUT_IN)
        return ad_fail(error, "%s: it says that its matrices are (in, out): leave --layout out-in out", from->path);
    from->layout = own ? NN_LAYOUT_IN_OUT : given;
    return 0;
}

int nn_load_layout(nn_model *model, const char *path, nn_layout layout, ad_error *error)
{
    if (!ad_given(model, "the model that takes weights", error) || !ad_given(path, "their file's name", error))
        return -1;
    int n = nn_count_tensors(model);
    double *factors = ad_alloc((size_t)n + 1, sizeof *factors, "factors", error);
    nn_tensors *file = factors ? nn_tensors_read(path, error) : NULL;
    nn_source from = { .path = path, .file = file, .factors = factors };
    for (int k = 0; k < n && factors; k++)
        factors[k] = 1;
    int failed = file ? nn_weights_check(path, file, model, factors, error) : -1;
    if (!failed)
        failed = settle_layout(&from, layout, error);
    if (!failed)
        failed = check_tensors(&from, model, error);
    for (int k = 0; k < n && !failed; k++)
        nn_copy_tensor(&from, model, k, nn_tensors_find(file, nn_tensor_name(model, k)), model->values);
    nn_tensors_free(file);
    ad_free(factors);
    return failed;
}

int nn_load(nn_model *model, const char *path, ad_error *error)
{
    return nn_load_layout(model, path, NN_LAYOUT_AUTO, error);
}
