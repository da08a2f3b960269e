/* idx.c: IDX files, MNIST's own format, gzipped or not.
 *
 *     0 0 type axes  size (4 bytes, big-endian, for each axis)  elements (row-major)
 *
 * Images are bytes, type 0x08, on 3 axes (count, height, width); labels are bytes on one. */
#include "datasets/formats/formats.h"
#include "datasets/formats/gzip.h"
#include "datasets/image/image.h"
#include "datasets/set/set.h"

#include <string.h>

typedef struct {
    size_t shape[3];
    unsigned char *bytes; /* of all elements */
} array;

static int read_header(ds_source *source, const char *path, int axes, array *a, size_t *count, ad_error *error)
{
    unsigned char head[4], sizes[12];
    size_t got = 0;
    if (ds_source_read(source, head, 4, &got, error) != 0)
        return -1;
    if (got < 4 || head[0] || head[1])
        return ad_fail(error, "%s: not an IDX file: it does not begin with 0 0, a type and a number of axes", path);
    if (head[2] != 8)
        return ad_fail(error, "%s: IDX elements of type 0x%02x at byte 2; read is 0x08, bytes", path, head[2]);
    if (head[3] != axes)
        return ad_fail(error, "%s: an IDX array of %d axes at byte 3; %s", path, head[3],
                       axes == 3 ? "images have 3" : "labels have 1");
    if (ds_source_read(source, sizes, 4 * (size_t)axes, &got, error) != 0)
        return -1;
    if (got < 4 * (size_t)axes)
        return ad_fail(error, "%s: truncated IDX header of %zu bytes", path, 4 + got);
    *count = 1;
    bool overflow = false;
    for (int i = 0; i < axes; i++) {
        const unsigned char *at = sizes + 4 * i;
        a->shape[i] = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        overflow = overflow || __builtin_mul_overflow(*count, a->shape[i], count);
        if (!a->shape[i])
            return ad_fail(error, "%s: IDX axis %d is empty, at byte %d", path, i, 4 + 4 * i);
    }
    for (int i = axes; i < 3; i++)
        a->shape[i] = 1;
    bool exact = false;
    size_t maximum = ds_source_maximum(source, &exact), head_bytes = 4 + 4 * (size_t)axes;
    if (overflow || *count > DS_VALUES || *count > maximum - head_bytes)
        return ad_fail(error, "%s: truncated: its IDX header promises %zu x %zu x %zu bytes, the file has %s%zu", path,
                       a->shape[0], a->shape[1], a->shape[2], exact ? "" : "at most ", maximum - head_bytes);
    return 0;
}

static int read_source(ds_source *source, const char *path, int axes, array *a, ad_error *error)
{
    size_t count = 0, got = 0, more = 0;
    unsigned char next;
    if (read_header(source, path, axes, a, &count, error) != 0 || !(a->bytes = ad_alloc(count, 1, path, error)) ||
        ds_source_read(source, a->bytes, count, &got, error) != 0)
        return -1;
    if (got < count)
        return ad_fail(error, "%s: truncated: its IDX header promises %zu bytes, there are %zu", path, count, got);
    if (ds_source_read(source, &next, 1, &more, error) != 0)
        return -1;
    return more ? ad_fail(error, "%s: bytes follow the %zu that its IDX header promises", path, count) : 0;
}

static int read_array(const char *path, int axes, array *a, ad_error *error)
{
    ds_source *source = ds_source_open(path, error);
    int status = source ? read_source(source, path, axes, a, error) : -1;
    ds_source_close(source);
    return status;
}

static int read_pair(const char *images, const char *labels, array pair[2], ad_error *error)
{
    if (read_array(images, 3, &pair[0], error) != 0 || read_array(labels, 1, &pair[1], error) != 0)
        return -1;
    if (pair[0].shape[0] != pair[1].shape[0])
        return ad_fail(error, "%s: %zu labels for the %zu images of %s", labels, pair[1].shape[0], pair[0].shape[0],
                       images);
    return 0;
}

/* Rows first, first + 1, ... of the set from one pair of files. */
static int fill_pair(ds_data *data, size_t first, const array pair[2], ds_size to, ad_error *error)
{
    ds_size from = { pair[0].shape[1], pair[0].shape[2], 1 };
    size_t pixels = from.height * from.width;
    for (size_t r = 0; r < pair[0].shape[0]; r++) {
        size_t label = pair[1].bytes[r];
        if (ds_image_put(pair[0].bytes + r * pixels, from, to, data->x + (first + r) * data->features, error) != 0)
            return -1;
        data->y[first + r] = (double)label;
        if (label >= data->classes)
            data->classes = label + 1;
    }
    return 0;
}

/* The set of one or two pairs of files, the second its test part; an absent pair is two NULLs. */
static ds_data *load_pairs(const char *path, const char *const files[4], const ds_options *options, ad_error *error)
{
    array arrays[4] = { 0 };
    ds_data *data = NULL;
    int failed = 0;
    for (int p = 0; p < 2 && !failed; p++)
        if (files[2 * p])
            failed = read_pair(files[2 * p], files[2 * p + 1], arrays + 2 * p, error);
    const array *some = files[0] ? &arrays[0] : &arrays[2];
    ds_size from = { some->shape[1], some->shape[2], 1 }, to = from;
    if (!failed && files[0] && files[2] && (arrays[2].shape[1] != from.height || arrays[2].shape[2] != from.width))
        failed = ad_fail(error, "%s: images of %zu x %zu pixels, but %s has %zu x %zu", files[2], arrays[2].shape[2],
                         arrays[2].shape[1], files[0], from.width, from.height);
    if (!failed && (from.height > DS_SIDE || from.width > DS_SIDE))
        failed = ad_fail(error, "%s: images of %zu x %zu pixels; sides are at most %zu", path, from.width, from.height,
                         DS_SIDE);
    if (!failed)
        failed = ds_image_target(from, options, &to, error);
    if (!failed && !(data = ds_new(path, arrays[0].shape[0] + arrays[2].shape[0], to.height * to.width, 1, error)))
        failed = -1;
    if (!failed) {
        data->height = to.height;
        data->width = to.width;
        data->channels = 1;
    }
    for (int p = 0; p < 2 && !failed; p++)
        failed = fill_pair(data, p ? arrays[0].shape[0] : 0, arrays + 2 * p, to, error);
    if (!failed)
        failed = ds_finish(data, files[0] && files[2] ? arrays[0].shape[0] : 0, options, error);
    for (int i = 0; i < 4; i++)
        ad_free(arrays[i].bytes);
    if (!failed)
        return data;
    ds_free(data);
    return NULL;
}

enum { PATH = 4096 };

/* The file of a part ("train", "t10k") and kind ("images-idx3"), under one of its usual names. */
static bool find_part(const char *folder, const char *part, const char *kind, char *path)
{
    char name[64];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s-%.6s%c%s-ubyte%s", part, kind, i / 2 ? '.' : '-', kind + 7, i % 2 ? ".gz" : "");
        if (ds_exists(folder, name, path, PATH))
            return true;
    }
    return false;
}

bool ds_idx_in_folder(const ds_found *found)
{
    char path[PATH];
    return find_part(found->path, "train", "images-idx3", path) || find_part(found->path, "t10k", "images-idx3", path);
}

/* Two zeros, or its usual name. */
bool ds_idx_in_file(const ds_found *found)
{
    return (found->bytes >= 4 && memcmp(found->head, "\0\0", 2) == 0) || strstr(found->path, "-ubyte");
}

ds_data *ds_load_idx_folder(const char *path, const ds_options *options, ad_error *error)
{
    static const char *const parts[] = { "train", "t10k" }, *const kinds[] = { "images-idx3", "labels-idx1" };
    char paths[4][PATH];
    const char *files[4] = { NULL };
    for (int i = 0; i < 4; i++)
        if (find_part(path, parts[i / 2], kinds[i % 2], paths[i]))
            files[i] = paths[i];
    for (int p = 0; p < 2; p++)
        if (!files[2 * p] != !files[2 * p + 1]) {
            ad_fail(error, "%s: no %s-%s-ubyte[.gz] beside its %s", path, parts[p], kinds[!!files[2 * p]],
                    files[2 * p] ? "images" : "labels");
            return NULL;
        }
    return load_pairs(path, files, options, error);
}

/* The labels' file of an images' file: "images" and "idx3" in its name become "labels" and "idx1"; with or without
 * .gz. */
static bool neighbour(const char *images, char *path)
{
    size_t length = strlen(images);
    if (length + 4 > PATH)
        return false;
    memcpy(path, images, length + 1);
    char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *at = strstr(base, "images");
    if (!at)
        return false;
    memcpy(at, "labels", 6);
    if ((at = strstr(at, "idx3")))
        at[3] = '1';
    if (ds_exists(NULL, path, NULL, 0))
        return true;
    bool zipped = length > 3 && strcmp(path + length - 3, ".gz") == 0;
    strcpy(path + length - (zipped ? 3 : 0), zipped ? "" : ".gz");
    return ds_exists(NULL, path, NULL, 0);
}

ds_data *ds_load_idx_file(const char *path, const ds_options *options, ad_error *error)
{
    char found[PATH];
    const char *labels = options->labels;
    if (!labels && !neighbour(path, found)) {
        ad_fail(error, "%s: a file of labels is missing, and none has the usual name beside it", path);
        return NULL;
    }
    const char *files[4] = { path, labels ? labels : found, NULL, NULL };
    return load_pairs(path, files, options, error);
}
