/* data.c: the inputs and labels that a command works on. */
#include "examples/limn/base/base.h"

#include <math.h>
#include <string.h>

/* Of an .npy file of labels: the loss says what floats are. */
static ds_label_rule label_rule(const options *o)
{
    if (!o->loss_given)
        return DS_LABELS_BY_VALUE;
    return o->loss == NN_CROSS_ENTROPY ? DS_LABELS_CLASSES : DS_LABELS_BY_TYPE;
}

/* The inputs as they were read: pixels are 0..1, and nothing else is scaled. */
static ds_data *read_data(const options *o, ad_error *error)
{
    ds_options how = { .scaling = DS_UNIT,
                       .test = fmax(o->test_fraction, 0),
                       .seed = (uint64_t)o->split_seed,
                       .resize_height = o->resize_height,
                       .resize_width = o->resize_width,
                       .grey = o->grey,
                       .transpose = o->transpose,
                       .label_column = o->label_column,
                       .labels = o->labels,
                       .label_rule = label_rule(o) };
    ds_data *data = o->inputs ? ds_npy_set(o->inputs, o->labels, label_rule(o), error)
                              : ds_load(o->data ? o->data : "mnist", &how, error);
    if (data && o->test_fraction >= 0 && !(o->test_fraction > 0))
        data->train = data->rows;
    return data;
}

ds_scaling data_scaling(const options *o)
{
    return o->inputs && !o->scaling_given ? DS_UNIT : o->scaling;
}

ds_data *data_load(const options *o, ad_error *error)
{
    ds_array none = { 0 };
    ds_data *data = read_data(o, error);
    if (!data || !data_scale(data, &none, data_scaling(o), error))
        return data;
    ds_free(data);
    return NULL;
}

bool path_ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

const char *data_name(const options *o)
{
    return o->inputs ? o->inputs : o->data ? o->data : "mnist";
}

static bool from_files(const options *o)
{
    return o->data && strcmp(o->data, "mnist") != 0 && strcmp(o->data, "digits") != 0;
}

static void tell_json(const ds_data *data, cJSON *root)
{
    cJSON *object = json_put(root, "data", cJSON_CreateObject());
    json_put(object, "name", cJSON_CreateString(data->name));
    json_put(object, "rows", json_number((double)data->rows));
    json_put(object, "train", json_number((double)data->train));
    json_put(object, "features", json_number((double)data->features));
    if (data->note[0])
        json_put(object, "note", cJSON_CreateString(data->note));
    cJSON *names = data->class_names ? json_put(object, "classes", cJSON_CreateArray()) : NULL;
    for (size_t k = 0; names && k < data->classes; k++)
        cJSON_AddItemToArray(names, cJSON_CreateString(data->class_names[k]));
}

void data_tell(const options *o, const ds_data *data, cJSON *root)
{
    enum { NAMED = 10 };
    if (!from_files(o) && !data->note[0])
        return;
    if (root) {
        tell_json(data, root);
        return;
    }
    printf("%s: %zu rows of ", data->name, data->rows);
    if (data->channels)
        printf("%zu x %zu pixels", data->width / data->channels, data->height);
    else if (data->height)
        printf("%zu x %zu numbers", data->height, data->width);
    else
        printf("%zu numbers", data->features);
    if (data->channels == 3)
        printf(" in colour");
    else if (data->channels > 1)
        printf(" of %zu channels", data->channels);
    printf(", %zu to train", data->train);
    if (data->classes) {
        printf("; %zu classes", data->classes);
        for (size_t k = 0; data->class_names && k < data->classes && k < NAMED; k++)
            printf("%s %s", k ? "," : ":", data->class_names[k]);
        puts(data->class_names && data->classes > NAMED ? ", ..." : "");
    } else
        puts(data->y ? "; targets" : "");
    if (data->note[0])
        printf("%s: %s\n", data->name, data->note);
}

/* An image has either: rows of pixels, or its pixels in a row. */
static int read_second(const options *o, const ds_data *data, ds_array *second, ad_error *error)
{
    if (!o->inputs2)
        return 0;
    if (ds_npy_samples(o->inputs2, second, error))
        return -1;
    const size_t *shape = second->shape;
    bool sequence = second->rank > 2;
    size_t width = second->rank == 4 ? shape[2] * shape[3] : sequence ? shape[2] : 1, steps = data->height;
    size_t features = shape[1] * width;
    if (features != data->features)
        return ad_fail(error, "%s: %zu features, the first inputs have %zu", o->inputs2, features, data->features);
    if (sequence != (steps > 0) && (sequence || o->inputs))
        return ad_fail(error, "%s: %s an axis of time, unlike the first inputs", o->inputs2,
                       sequence ? "with" : "without");
    if (sequence && shape[1] != steps)
        return ad_fail(error, "%s: %zu steps, the first inputs have %zu", o->inputs2, shape[1], steps);
    return 0;
}

ds_data *data_read_both(const options *o, ds_array *second, ad_error *error)
{
    ds_data *data = read_data(o, error);
    if (!data || !read_second(o, data, second, error))
        return data;
    ds_free(data);
    return NULL;
}

int data_scale(ds_data *data, ds_array *second, ds_scaling scaling, ad_error *error)
{
    ds_data all = *data;
    size_t n = data->features, rows2 = second->data ? second->shape[0] : 0;
    ds_options how = { .scaling = scaling, .train = data->train };
    if (!rows2)
        return ds_scale(data, &how, error);
    all.rows += rows2;
    if (!(all.x = ad_reserve(all.rows * n, sizeof *all.x, "inputs", error)))
        return -1;
    memcpy(all.x, data->x, data->rows * n * sizeof *all.x);
    memcpy(all.x + data->rows * n, second->data, rows2 * n * sizeof *all.x);
    int status = ds_scale(&all, &how, error);
    if (!status) {
        memcpy(data->x, all.x, data->rows * n * sizeof *all.x);
        memcpy(second->data, all.x + data->rows * n, rows2 * n * sizeof *all.x);
    }
    ad_free(all.x);
    return status;
}

ds_data *data_load_both(const options *o, ds_array *second, ad_error *error)
{
    ds_data *data = data_read_both(o, second, error);
    if (!data || !data_scale(data, second, data_scaling(o), error))
        return data;
    ds_free(data);
    return NULL;
}

int data_labels2(const options *o, const ds_data *data, size_t rows, ds_array *labels, ad_error *error)
{
    size_t classes = data->classes, columns = classes ? 1 : data->targets;
    const char *path = o->labels2;
    if (ds_npy_read(path, labels, error))
        return -1;
    const ds_array *a = labels;
    if (a->rank < 1 || a->rank > 2 || a->shape[0] != rows || (a->rank == 2 ? a->shape[1] : 1) != columns)
        return ad_fail(error, "%s: its shape is not (%zu%s), as the rows of %s and --labels ask", path, rows,
                       classes ? "" : ", targets", o->inputs2);
    for (size_t i = 0; i < rows * columns; i++)
        if (!isfinite(a->data[i]) ||
            (classes && !(a->data[i] >= 0 && a->data[i] < (double)classes && !(floor(a->data[i]) < a->data[i]))))
            return ad_fail(error, "%s: row %zu is %g, which --labels do not have", path, i / columns, a->data[i]);
    return 0;
}

size_t data_outputs(const ds_data *data)
{
    return data->classes ? data->classes : data->y ? data->targets : 0;
}
