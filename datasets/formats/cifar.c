/* cifar.c: the binary versions of CIFAR-10 and CIFAR-100: records of a label byte, 0..9, or of two, 0..19 (coarse) and
 * 0..99 (fine); and 32 x 32 bytes of red, of green, of blue. */
#include "datasets/formats/formats.h"
#include "datasets/formats/gzip.h"
#include "datasets/image/image.h"
#include "datasets/set/set.h"

#include <string.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, BATCHES = 9, PATH = 4096 };

typedef struct {
    const char *name;
    size_t labels, classes; /* bytes before the picture, of which the last is the class */
} form;

static const form cifar_10 = { "CIFAR-10", 1, 10 }, cifar_100 = { "CIFAR-100", 2, 100 };

static size_t record_of(const form *f)
{
    return f->labels + (size_t)3 * PLANE;
}

static const char *const class_names[] = { "airplane", "automobile", "bird",  "cat",  "deer",
                                           "dog",      "frog",       "horse", "ship", "truck" };

/* The records of one file, appended to the set at *rows, or only counted while there is no set. */
static int read_batch(const char *path, const form *f, ds_data *data, ds_size to, size_t *rows, ad_error *error)
{
    size_t bytes = 0, length = record_of(f), class = f->labels - 1;
    unsigned char *file = (unsigned char *)ds_unfold(path, DS_FILE, &bytes, error), pixels[3 * PLANE];
    if (!file)
        return -1;
    int failed = 0;
    if (!bytes || bytes % length)
        failed =
            ad_fail(error, "%s: %zu bytes, no whole number of %s records of %zu bytes", path, bytes, f->name, length);
    for (size_t r = 0; r < bytes / length && !failed; r++) {
        const unsigned char *record = file + r * length, *planes = record + f->labels;
        if (record[class] >= f->classes)
            failed = ad_fail(error, "%s: record %zu (counted from 0), at byte %zu, has label %d; classes are 0 to %zu",
                             path, r, r * length, record[class], f->classes - 1);
        if (failed || !data)
            continue;
        if (*rows + r >= data->rows) {
            failed = ad_fail(error, "%s: it changes while it is read", path);
            continue;
        }
        for (size_t i = 0; i < PLANE; i++)
            for (size_t c = 0; c < 3; c++)
                pixels[3 * i + c] = planes[c * PLANE + i];
        data->y[*rows + r] = record[class];
        failed = ds_image_put(pixels, (ds_size){ SIDE, SIDE, 3 }, to, data->x + (*rows + r) * data->features, error);
    }
    *rows += bytes / length;
    ad_free(file);
    return failed;
}

/* The names of the fine classes, from the file beside the data, if it is there and has a line for each. */
static int name_fine_classes(const char *folder, ds_data *data, ad_error *error)
{
    char path[PATH];
    const char *names[100];
    size_t bytes = 0, count = 0;
    ds_note(data, "CIFAR-100's 100 fine labels are the classes, the 20 coarse ones are left out");
    if (!ds_exists(folder, "fine_label_names.txt", path, sizeof path))
        return 0;
    char *text = ad_file_read(path, 1 << 16, &bytes, error);
    if (!text)
        return -1;
    for (char *word = text; count < 100 && *(word += strspn(word, "\r\n")); count++) {
        size_t length = strcspn(word, "\r\n");
        names[count] = word;
        word += length;
        if (*word)
            *word++ = 0;
    }
    int failed = count == 100 ? ds_name_classes(data, names, error) : 0;
    ad_free(text);
    return failed;
}

/* The files in order; the first `n_train` are to train, 0: not told. */
static ds_data *load_batches(const char *path, const char *folder, const form *f, const char *const *files, int count,
                             int n_train, const ds_options *options, ad_error *error)
{
    size_t rows = 0, filled = 0, train = 0;
    ds_size to;
    if (ds_image_target((ds_size){ SIDE, SIDE, 3 }, options, &to, error) != 0)
        return NULL;
    for (int i = 0; i < count; i++) {
        if (read_batch(files[i], f, NULL, to, &rows, error) != 0)
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
    data->classes = f->classes;
    int failed = f == &cifar_10 ? ds_name_classes(data, class_names, error) : name_fine_classes(folder, data, error);
    for (int i = 0; i < count && !failed; i++)
        failed = read_batch(files[i], f, data, to, &filled, error);
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
    return ds_exists(found->path, "train.bin", path, PATH) || ds_exists(found->path, "test.bin", path, PATH);
}

/* Its first bytes tell nothing, its name does. */
bool ds_cifar_in_file(const ds_found *found)
{
    return ds_ends(found->path, ".bin") || ds_ends(found->path, ".bin.gz");
}

/* train.bin and test.bin. */
static ds_data *load_cifar_100(const char *path, const ds_options *options, ad_error *error)
{
    char paths[2][PATH];
    const char *files[2];
    int count = 0;
    bool train = ds_exists(path, "train.bin", paths[0], PATH), test = ds_exists(path, "test.bin", paths[1], PATH);
    if (train)
        files[count++] = paths[0];
    if (test)
        files[count++] = paths[1];
    return load_batches(path, path, &cifar_100, files, count, train && test, options, error);
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
    if (!count)
        return load_cifar_100(path, options, error);
    return load_batches(path, path, &cifar_10, files, count, n_train, options, error);
}

/* A file's form shows in its length; where both fit, in its name. */
ds_data *ds_load_cifar_file(const char *path, const ds_options *options, ad_error *error)
{
    size_t bytes = 0, ten = record_of(&cifar_10), hundred = record_of(&cifar_100);
    char *file = ds_unfold(path, DS_FILE, &bytes, error), folder[PATH] = ".";
    ad_free(file);
    if (!file)
        return NULL;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (slash && slash - path < PATH)
        snprintf(folder, sizeof folder, "%.*s", slash > path ? (int)(slash - path) : 1, path);
    bool both = bytes % (ten * hundred) == 0;
    const form *f = bytes % hundred || (both && strncmp(name, "train.", 6) != 0 && strncmp(name, "test.", 5) != 0)
                        ? &cifar_10
                        : &cifar_100;
    return load_batches(path, folder, f, &path, 1, 0, options, error);
}
