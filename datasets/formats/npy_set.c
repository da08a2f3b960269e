/* npy_set.c: a data set from .npy files. */
#include "datasets/formats/formats.h"
#include "datasets/formats/npz.h"
#include "datasets/set/set.h"

#include <math.h>
#include <string.h>

static bool is_class(double y)
{
    return y >= 0 && y < (double)DS_CLASSES && !(floor(y) < y);
}

/* Rows of zeros with a single 1. */
static bool is_one_hot(const ds_array *y)
{
    size_t columns = y->rank == 2 ? y->shape[1] : 1, ones = 0;
    for (size_t i = 0; i < y->shape[0] * columns; i++) {
        bool one = !(y->data[i] < 1) && !(y->data[i] > 1), zero = !(y->data[i] < 0) && !(y->data[i] > 0);
        ones = (i % columns ? ones : 0) + one;
        if (!(one || zero) || (i % columns == columns - 1 && ones != 1))
            return false;
    }
    return columns > 1;
}

/* Which of both the labels are, by their type, their shape and the rule; what is taken for granted by nobody is told in
 * the set's note. `bad` is the first row that is no class, or the number of rows. */
static int choose_classes(const ds_array *y, const char *path, ds_label_rule rule, size_t bad, ds_data *data,
                          bool *classes, ad_error *error)
{
    bool column = y->rank == 2 && y->shape[1] == 1, one = y->rank == 1 || column;
    bool by_value = rule == DS_LABELS_BY_VALUE && y->rank == 1 && bad == data->rows;
    *classes = rule == DS_LABELS_CLASSES || (one && y->integers) || by_value;
    if (!*classes && rule == DS_LABELS_BY_VALUE && column && bad == data->rows)
        ds_note(data, "labels (%zu, 1) of floats are targets; all are whole numbers, and integers were classes",
                data->rows);
    else if (!*classes && rule == DS_LABELS_BY_VALUE && is_one_hot(y))
        ds_note(data, "labels are one-hot rows, taken as targets; np.argmax(y, 1) has them as classes");
    if (!*classes)
        return 0;
    if (!one)
        return ad_fail(error, "%s: (rows, outputs); cross-entropy takes classes, (rows)", path);
    if (bad < data->rows)
        return ad_fail(error, "%s: row %zu (counted from 0) is %g, which is no class; classes are 0 to %zu%s", path,
                       bad, y->data[bad], DS_CLASSES - 1,
                       y->integers && rule != DS_LABELS_CLASSES ? ", targets are floats: save y.astype('f8')" : "");
    if (column)
        ds_note(data, "labels (%zu, 1) of %s are classes", data->rows, y->integers ? "integers" : "whole numbers");
    else if (!y->integers)
        ds_note(data, "labels are floats that are all whole numbers, taken as classes");
    return 0;
}

/* y of the labels' file. */
static int take_labels(ds_data *data, const char *path, ds_label_rule rule, const char *inputs, ad_error *error)
{
    ds_array y;
    if (ds_npy_read(path, &y, error) != 0)
        return -1;
    size_t columns = y.rank == 2 ? y.shape[1] : 1, bad = data->rows;
    bool classes = false;
    int failed = 0;
    if (y.rank < 1 || y.rank > 2 || !columns)
        failed = ad_fail(error, "%s: %d axes; labels are (rows) or (rows, outputs), none of them empty", path, y.rank);
    else if (y.shape[0] != data->rows)
        failed = ad_fail(error, "%s: %zu labels for the %zu rows of %s", path, y.shape[0], data->rows, inputs);
    for (size_t i = 0; !failed && i < data->rows * columns; i++) {
        if (!isfinite(y.data[i]))
            failed = ad_fail(error, "%s: row %zu (counted from 0) is %g", path, i / columns, y.data[i]);
        if (bad == data->rows && !is_class(y.data[i]))
            bad = i / columns;
    }
    if (!failed)
        failed = choose_classes(&y, path, rule, bad, data, &classes, error);
    if (failed) {
        ds_array_free(&y);
        return failed;
    }
    for (size_t r = 0; classes && r < data->rows; r++)
        if (y.data[r] >= (double)data->classes)
            data->classes = (size_t)y.data[r] + 1;
    data->targets = columns;
    data->y = y.data;
    return 0;
}

bool ds_npz_named(const ds_found *found)
{
    return ds_npz_is(found->path);
}

bool ds_npy_in_file(const ds_found *found)
{
    return ds_ends(found->path, ".npy") || memcmp(found->head, "\x93NUMPY", 6) == 0;
}

ds_data *ds_npy_set(const char *inputs, const char *labels, ds_label_rule rule, ad_error *error)
{
    ds_array x;
    if (ds_npy_samples(inputs, &x, error) != 0)
        return NULL;
    ds_data *data = ds_new(inputs, 1, 1, 0, error);
    if (!data) {
        ds_array_free(&x);
        return NULL;
    }
    ad_free(data->x);
    data->x = x.data;
    data->rows = data->train = x.shape[0];
    data->features = x.shape[1];
    if (x.rank > 2) {
        data->height = x.shape[1];
        data->width = x.shape[2] * (x.rank == 4 ? x.shape[3] : 1);
        data->features = data->height * data->width;
        data->channels = x.rank == 4 ? x.shape[3] : 0;
    }
    if (!labels || take_labels(data, labels, rule, inputs, error) == 0)
        return data;
    ds_free(data);
    return NULL;
}

ds_data *ds_load_npy(const char *path, const ds_options *options, ad_error *error)
{
    ds_data *data = ds_npy_set(path, options->labels, options->label_rule, error);
    if (!data || ds_finish(data, 0, options, error) == 0)
        return data;
    ds_free(data);
    return NULL;
}
