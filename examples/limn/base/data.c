/* data.c: the inputs and labels that a command works on. */
#include "examples/limn/base/base.h"

#include <math.h>
#include <string.h>

static bool is_class(double y)
{
    return y >= 0 && y <= 1e6 && !(floor(y) < y);
}

/* Takes y over. (rows) of whole numbers are classes, unless they are floats and the loss is square; all else is
 * targets. */
static int take_labels(const options *o, ds_data *data, ds_array *y, ad_error *error)
{
    size_t rows = data->rows;
    if (y->rank < 1 || y->rank > 2)
        return ad_fail(error, "%s: %d axes; labels are (rows) or (rows, outputs)", o->labels, y->rank);
    if (y->shape[0] != rows)
        return ad_fail(error, "%s: %zu labels for the %zu rows of %s", o->labels, y->shape[0], rows, o->inputs);
    size_t columns = y->rank == 2 ? y->shape[1] : 1, bad = rows;
    if (columns == 0)
        return ad_fail(error, "%s: its rows are empty", o->labels);
    for (size_t i = 0; i < rows * columns; i++) {
        if (!isfinite(y->data[i]))
            return ad_fail(error, "%s: row %zu is %g", o->labels, i / columns, y->data[i]);
        if (bad == rows && !is_class(y->data[i]))
            bad = i / columns;
    }
    bool cross = o->loss_given && o->loss == NN_CROSS_ENTROPY, square = o->loss_given && o->loss == NN_SQUARE;
    bool classes = y->rank == 1 && (cross || y->integers || (bad == rows && !square));
    if (cross && y->rank == 2)
        return ad_fail(error, "%s: (rows, outputs); cross-entropy takes classes, (rows)", o->labels);
    if (classes && bad < rows)
        return ad_fail(error, "%s: row %zu is %g, which is no class 0, 1, ...%s", o->labels, bad, y->data[bad],
                       y->integers && !cross ? "; targets are floats" : "");
    data->targets = columns;
    for (size_t i = 0; classes && i < rows; i++)
        data->classes = (size_t)fmax((double)data->classes, y->data[i] + 1);
    data->y = y->data;
    y->data = NULL;
    return 0;
}

static ds_data *from_arrays(const options *o, ad_error *error)
{
    ds_array x = { 0 }, y = { 0 };
    ds_options scaling = { .scaling = o->scaling, .train = 0 };
    ds_data *data = ds_npy_samples(o->inputs, &x, error) ? NULL : ad_alloc(1, sizeof *data, "data", error);
    if (data) {
        *data = (ds_data){ .x = x.data, .rows = x.shape[0], .features = x.shape[1], .train = x.shape[0] };
        if (x.rank == 3) {
            data->height = x.shape[1];
            data->width = x.shape[2];
            data->features = x.shape[1] * x.shape[2];
        }
        snprintf(data->name, sizeof data->name, "%.60s", o->inputs);
        x.data = NULL;
        scaling.train = data->rows;
        if ((o->labels && (ds_npy_read(o->labels, &y, error) || take_labels(o, data, &y, error))) ||
            (o->scaling_given && ds_scale(data, &scaling, error))) {
            ds_free(data);
            data = NULL;
        }
    }
    ds_array_free(&x);
    ds_array_free(&y);
    return data;
}

ds_data *data_load(const options *o, ad_error *error)
{
    ds_options chosen = { .scaling = o->scaling,
                          .test = o->test_fraction,
                          .seed = (uint64_t)o->split_seed,
                          .resize_height = o->resize_height,
                          .resize_width = o->resize_width,
                          .grey = o->grey,
                          .label_column = o->label_column,
                          .labels = o->labels };
    return o->inputs ? from_arrays(o, error) : ds_load(o->data ? o->data : "mnist", &chosen, error);
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
    json_put(object, "rows", cJSON_CreateNumber((double)data->rows));
    json_put(object, "train", cJSON_CreateNumber((double)data->train));
    json_put(object, "features", cJSON_CreateNumber((double)data->features));
    cJSON *names = data->class_names ? json_put(object, "classes", cJSON_CreateArray()) : NULL;
    for (size_t k = 0; names && k < data->classes; k++)
        cJSON_AddItemToArray(names, cJSON_CreateString(data->class_names[k]));
}

void data_tell(const options *o, const ds_data *data, cJSON *root)
{
    enum { NAMED = 10 };
    if (!from_files(o))
        return;
    if (root) {
        tell_json(data, root);
        return;
    }
    printf("%s: %zu rows of ", data->name, data->rows);
    if (data->channels)
        printf("%zu x %zu pixels%s", data->width / data->channels, data->height,
               data->channels == 3 ? " in colour" : "");
    else if (data->height)
        printf("%zu x %zu numbers", data->height, data->width);
    else
        printf("%zu numbers", data->features);
    printf(", %zu to train", data->train);
    if (data->classes) {
        printf("; %zu classes", data->classes);
        for (size_t k = 0; data->class_names && k < data->classes && k < NAMED; k++)
            printf("%s %s", k ? "," : ":", data->class_names[k]);
        puts(data->class_names && data->classes > NAMED ? ", ..." : "");
    } else
        puts(data->y ? "; targets" : "");
}

/* An image has either: rows of pixels, or its pixels in a row. */
int data_second(const options *o, const ds_data *data, ds_array *second, ad_error *error)
{
    if (!o->inputs2)
        return 0;
    if (ds_npy_samples(o->inputs2, second, error))
        return -1;
    const size_t *shape = second->shape;
    bool sequence = second->rank == 3;
    size_t features = sequence ? shape[1] * shape[2] : shape[1], steps = data->height;
    if (features != data->features)
        return ad_fail(error, "%s: %zu features, the first inputs have %zu", o->inputs2, features, data->features);
    if (sequence != (steps > 0) && (sequence || o->inputs))
        return ad_fail(error, "%s: %s an axis of time, unlike the first inputs", o->inputs2,
                       sequence ? "with" : "without");
    if (sequence && shape[1] != steps)
        return ad_fail(error, "%s: %zu steps, the first inputs have %zu", o->inputs2, shape[1], steps);
    return 0;
}

size_t data_outputs(const ds_data *data)
{
    return data->classes ? data->classes : data->y ? data->targets : 0;
}
