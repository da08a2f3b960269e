/* npy_set.c: a data set from .npy files. */
#include "datasets/formats/formats.h"
#include "datasets/formats/npz.h"
#include "datasets/set/set.h"

#include <math.h>
#include <string.h>

/* y of the labels' file: integers on one axis are classes, all else is targets. */
static int take_labels(ds_data *data, const char *path, const char *inputs, ad_error *error)
{
    ds_array y;
    if (ds_npy_read(path, &y, error) != 0)
        return -1;
    size_t columns = y.rank == 2 ? y.shape[1] : 1;
    bool classes = y.rank == 1 && y.integers;
    int failed = 0;
    if (y.rank < 1 || y.rank > 2 || !columns)
        failed = ad_fail(error, "%s: %d axes; labels are (rows) or (rows, outputs), none of them empty", path, y.rank);
    else if (y.shape[0] != data->rows)
        failed = ad_fail(error, "%s: %zu labels for the %zu rows of %s", path, y.shape[0], data->rows, inputs);
    for (size_t i = 0; i < data->rows * columns && !failed; i++) {
        if (!isfinite(y.data[i]))
            failed = ad_fail(error, "%s: row %zu (counted from 0) is %g", path, i / columns, y.data[i]);
        else if (classes && (y.data[i] < 0 || y.data[i] >= (double)DS_CLASSES))
            failed = ad_fail(error, "%s: row %zu (counted from 0) is %.0f; classes are 0 to %zu", path, i, y.data[i],
                             DS_CLASSES - 1);
        else if (classes && y.data[i] >= (double)data->classes)
            data->classes = (size_t)y.data[i] + 1;
    }
    if (failed) {
        ds_array_free(&y);
        return failed;
    }
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

ds_data *ds_load_npy(const char *path, const ds_options *options, ad_error *error)
{
    ds_array x;
    if (ds_npy_samples(path, &x, error) != 0)
        return NULL;
    ds_data *data = ds_new(path, 1, 1, 0, error);
    if (!data) {
        ds_array_free(&x);
        return NULL;
    }
    ad_free(data->x);
    data->x = x.data;
    data->rows = x.shape[0];
    data->features = x.shape[1];
    if (x.rank == 3) {
        data->features = x.shape[1] * x.shape[2];
        data->height = x.shape[1];
        data->width = x.shape[2];
    }
    int failed = options->labels ? take_labels(data, options->labels, path, error) : 0;
    if (!failed)
        failed = ds_finish(data, 0, options, error);
    if (!failed)
        return data;
    ds_free(data);
    return NULL;
}
