/* cifar.c: CIFAR-10's binary version: records of one label byte, 0..9, and 32 x 32 bytes of red, of green, of blue. */
#include "datasets/formats/formats.h"
#include "datasets/formats/gzip.h"
#include "datasets/image/image.h"
#include "datasets/set/set.h"

#include <string.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE, BATCHES = 9, PATH = 4096 };

static const char *const class_names[] = { "airplane", "automobile", "bird",  "cat",  "deer",
                                           "dog",      "frog",       "horse", "ship", "truck" };

/* The records of one file, appended to the set at *rows, or only counted while there is no set. */
static int read_batch(const char *path, ds_data *data, ds_size to, size_t *rows, ad_error *error)
{
    size_t bytes = 0;
    unsigned char *file = (unsigned char *)ds_unfold(path, DS_FILE, &bytes, error), pixels[3 * PLANE];
    if (!file)
        return -1;
    int failed = 0;
    if (!bytes || bytes % RECORD)
        failed = ad_fail(error, "%s: %zu bytes, no whole number of CIFAR-10 records of %d bytes", path, bytes, RECORD);
    for (size_t r = 0; r < bytes / RECORD && !failed; r++) {
        const unsigned char *record = file + r * RECORD;
        if (record[0] > 9)
            failed = ad_fail(error, "%s: record %zu (counted from 0), at byte %zu, has label %d; classes are 0 to 9",
                             path, r, r * RECORD, record[0]);
        if (failed || !data)
            continue;
        if (*rows + r >= data->rows) {
            failed = ad_fail(error, "%s: it changes while it is read", path);
            continue;
        }
        for (size_t i = 0; i < PLANE; i++)
            for (size_t c = 0; c < 3; c++)
                pixels[3 * i + c] = record[1 + c * PLANE + i];
        data->y[*rows + r] = record[0];
        failed = ds_image_put(pixels, (ds_size){ SIDE, SIDE, 3 }, to, data->x + (*rows + r) * data->features, error);
    }
    *rows += bytes / RECORD;
    ad_free(file);
    return failed;
}

/* The files in order; the first `n_train` are to train, 0: not told. */
static ds_data *load_batches(const char *path, const char *const *files, int count, int n_train,
                             const ds_options *options, ad_error *error)
{
    size_t rows = 0, filled = 0, train = 0;
    ds_size to;
    if (ds_image_target((ds_size){ SIDE, SIDE, 3 }, options, &to, error) != 0)
        return NULL;
    for (int i = 0; i < count; i++) {
        if (read_batch(files[i], NULL, to, &rows, error) != 0)
            return NULL;
        if (i + 1 == n_train)
            train = rows;
    }
    ds_data *data = ds_new(path, rows, to.height * to.width * to.channels, 1, error);
    if (!data)
        return NULL;
    data->height = to.height;
    data->width = to.width * to.channels;
    data->channels = to.channels;
    data->classes = 10;
    int failed = ds_name_classes(data, class_names, error);
    for (int i = 0; i < count && !failed; i++)
        failed = read_batch(files[i], data, to, &filled, error);
    if (!failed && filled != rows)
        failed = ad_fail(error, "%s: its files change while they are read", path);
    if (!failed)
        failed = ds_finish(data, train, options, error);
    if (!failed)
        return data;
    ds_free(data);
    return NULL;
}

static bool batch(const char *folder, int number, char *path)
{
    char name[32];
    snprintf(name, sizeof name, number ? "data_batch_%d.bin" : "test_batch.bin", number);
    return ds_exists(folder, name, path, PATH);
}

bool ds_cifar_in_folder(const ds_found *found)
{
    char path[PATH];
    for (int i = 0; i <= BATCHES; i++)
        if (batch(found->path, i, path))
            return true;
    return false;
}

/* Its first bytes tell nothing, its name does. */
bool ds_cifar_in_file(const ds_found *found)
{
    return ds_ends(found->path, ".bin") || ds_ends(found->path, ".bin.gz");
}

ds_data *ds_load_cifar_folder(const char *path, const ds_options *options, ad_error *error)
{
    char paths[BATCHES + 1][PATH];
    const char *files[BATCHES + 1];
    int count = 0, n_train;
    for (int i = 1; i <= BATCHES; i++)
        if (batch(path, i, paths[count])) {
            files[count] = paths[count];
            count++;
        }
    n_train = count;
    if (batch(path, 0, paths[count])) {
        files[count] = paths[count];
        count++;
    } else
        n_train = 0;
    return load_batches(path, files, count, n_train, options, error);
}

ds_data *ds_load_cifar_file(const char *path, const ds_options *options, ad_error *error)
{
    return load_batches(path, &path, 1, 0, options, error);
}
