/* idx.c: IDX files, MNIST's own format, gzipped or not.
 *
 *     0 0 type axes  size (4 bytes, big-endian, for each axis)  elements (row-major)
 *
 * Images are bytes, type 0x08, on 3 axes (count, height, width). Labels are bytes on one; or integers of 4 bytes, type
 * 0x0C, on one axis or on two, where the first column is the class, as in QMNIST. */
#include "datasets/formats/formats.h"
#include "datasets/formats/gzip.h"
#include "datasets/formats/table.h"
#include "datasets/image/image.h"
#include "datasets/set/set.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

typedef struct {
    size_t shape[3], size; /* of an element: 1 or 4 bytes */
    unsigned char *bytes;  /* of all elements */
    const char *path;
} array;

/* axes == 3: of images, else of labels; *count gets the number of bytes of all elements. */
static int read_header(ds_source *source, const char *path, int axes, array *a, size_t *count, ad_error *error)
{
    unsigned char head[4], sizes[12];
    size_t got = 0;
    if (ds_source_read(source, head, 4, &got, error) != 0)
        return -1;
    if (got < 4 || head[0] || head[1])
        return ad_fail(error, "%s: not an IDX file: it does not begin with 0 0, a type and a number of axes", path);
    if (head[2] != 8 && (axes == 3 || head[2] != 12))
        return ad_fail(error, "%s: IDX elements of type 0x%02x at byte 2; read is 0x08, bytes%s", path, head[2],
                       axes == 3 ? "" : ", and of labels 0x0c, integers");
    a->size = head[2] == 8 ? 1 : 4;
    if (a->size == 4 && head[3] == 2)
        axes = 2;
    if (head[3] != axes)
        return ad_fail(error, "%s: an IDX array of %d axes at byte 3; %s", path, head[3],
                       axes == 3 ? "images have 3" : "labels have 1");
    if (ds_source_read(source, sizes, 4 * (size_t)axes, &got, error) != 0)
        return -1;
    if (got < 4 * (size_t)axes)
        return ad_fail(error, "%s: truncated IDX header of %zu bytes", path, 4 + got);
    *count = a->size;
    bool overflow = false;
    for (int i = 0; i < axes; i++) {
        const unsigned char *at = sizes + (size_t)4 * (size_t)i;
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
        return ad_fail(error, "%s: truncated: its IDX header promises %zu x %zu x %zu %s, the file has %s%zu", path,
                       a->shape[0], a->shape[1], a->shape[2], a->size == 1 ? "bytes" : "x 4 bytes",
                       exact ? "" : "at most ", maximum - head_bytes);
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
    a->path = path;
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

/* Class r; DS_CLASSES or more if it is none. */
static size_t label_of(const array *labels, size_t r)
{
    const unsigned char *at = labels->bytes + r * labels->size * labels->shape[1];
    return labels->size == 1 ? *at : (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* in (height, width) -> out (width, height) */
static void turn(const unsigned char *in, ds_size from, unsigned char *out)
{
    for (size_t i = 0; i < from.height; i++)
        for (size_t j = 0; j < from.width; j++)
            out[j * from.height + i] = in[i * from.width + j];
}

static ds_size turned(ds_size size)
{
    return (ds_size){ size.width, size.height, size.channels };
}

/* Rows first, first + 1, ... of the set from one pair of files. */
static int fill_pair(ds_data *data, size_t first, const array pair[2], ds_size to, bool transpose, ad_error *error)
{
    ds_size from = { pair[0].shape[1], pair[0].shape[2], 1 };
    size_t pixels = from.height * from.width;
    unsigned char *room = transpose ? ad_alloc(pixels, 1, "a transposed picture", error) : NULL;
    int failed = transpose && !room ? -1 : 0;
    for (size_t r = 0; r < pair[0].shape[0] && !failed; r++) {
        const unsigned char *picture = pair[0].bytes + r * pixels;
        size_t label = label_of(&pair[1], r);
        if (label >= DS_CLASSES)
            failed = ad_fail(error, "%s: label %zu (counted from 0) is %zd; classes are 0 to %zu", pair[1].path, r,
                             (ssize_t)(int32_t)label, DS_CLASSES - 1);
        if (transpose) {
            turn(picture, from, room);
            picture = room;
        }
        if (!failed)
            failed = ds_image_put(picture, transpose ? turned(from) : from, to, data->x + (first + r) * data->features,
                                  error);
        data->y[first + r] = (double)label;
        if (label >= data->classes)
            data->classes = label + 1;
    }
    ad_free(room);
    return failed;
}

/* Labels that begin at 1, as those of EMNIST's letters, keep their names. */
static int count_from_0(ds_data *data, ad_error *error)
{
    double lowest = data->y[0];
    for (size_t r = 1; r < data->rows; r++)
        lowest = data->y[r] < lowest ? data->y[r] : lowest;
    if (lowest < 1 || lowest > 1)
        return 0;
    ds_note(data, "labels begin at 1: class 1 is output 0");
    return ds_classes_of_numbers(data, data->name, error);
}

static bool lies(const char *path)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): every set has a path */
    for (; *path; path++)
        if (strncasecmp(path, "emnist", 6) == 0)
            return true;
    return false;
}

static int finish_pairs(ds_data *data, size_t train, const char *path, const ds_options *options, ad_error *error)
{
    if (count_from_0(data, error) != 0)
        return -1;
    if (lies(path) && !options->transpose)
        ds_note(data, "EMNIST's pictures are stored transposed: the option transpose sets them upright");
    return ds_finish(data, train, options, error);
}

/* The set of one or two pairs of files, the second its test part; an absent pair is two NULLs. */
static ds_data *load_pairs(const char *path, const char *const files[4], const ds_options *options, ad_error *error)
{
    array arrays[4] = { 0 };
    ds_data *data = NULL;
    int failed = 0;
    for (size_t p = 0; p < 2 && !failed; p++)
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
        failed = ds_image_target(options->transpose ? turned(from) : from, options, &to, error);
    if (!failed && !(data = ds_new(path, arrays[0].shape[0] + arrays[2].shape[0], to.height * to.width, 1, error)))
        failed = -1;
    if (!failed) {
        data->height = to.height;
        data->width = to.width;
        data->channels = 1;
    }
    for (size_t p = 0; p < 2 && !failed; p++)
        failed = fill_pair(data, p ? arrays[0].shape[0] : 0, arrays + 2 * p, to, options->transpose, error);
    if (!failed)
        failed = finish_pairs(data, files[0] && files[2] ? arrays[0].shape[0] : 0, files[0] ? files[0] : files[2],
                              options, error);
    for (int i = 0; i < 4; i++)
        ad_free(arrays[i].bytes);
    if (!failed)
        return data;
    ds_free(data);
    return NULL;
}

enum { PATH = 4096, PREFIX = 256 };

static const char *const parts[] = { "train", "t10k", "test" };

/* The file of a part and a kind ("images-idx3-ubyte"), under one of its usual names. */
static bool find_part(const char *folder, const char *prefix, const char *part, const char *kind, char *path)
{
    char name[PREFIX + 64];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s-%.6s%c%s%s", prefix, part, kind, i / 2 ? '.' : '-', kind + 7,
                 i % 2 ? ".gz" : "");
        if (ds_exists(folder, name, path, PATH))
            return true;
    }
    return false;
}

/* What stands before "train-images-idx3-ubyte" in a file's name, or before that of another part; false: it is none. */
static bool prefix_of(const char *name, char *prefix)
{
    char word[32];
    for (int p = 0; p < 3; p++) {
        snprintf(word, sizeof word, "%s-images", parts[p]);
        const char *at = strstr(name, word), *rest = at ? at + strlen(word) : NULL;
        if (!at || at - name >= PREFIX || (*rest != '-' && *rest != '.') || strncmp(rest + 1, "idx3-ubyte", 10) != 0)
            continue;
        snprintf(prefix, PREFIX, "%.*s", (int)(at - name), name);
        return true;
    }
    return false;
}

/* How many sets of different prefixes a folder has; two of these. */
static int list_prefixes(const char *folder, char prefixes[2][PREFIX])
{
    char prefix[PREFIX];
    int count = 0;
    DIR *stream = opendir(folder);
    for (struct dirent *next; stream && (next = readdir(stream));) {
        if (!prefix_of(next->d_name, prefix) || (count && strcmp(prefix, prefixes[0]) == 0) ||
            (count > 1 && strcmp(prefix, prefixes[1]) == 0))
            continue;
        if (count < 2)
            memcpy(prefixes[count], prefix, PREFIX);
        count++;
    }
    if (stream)
        closedir(stream);
    return count;
}

bool ds_idx_in_folder(const ds_found *found)
{
    char prefixes[2][PREFIX];
    return list_prefixes(found->path, prefixes) > 0;
}

/* Two zeros, or its usual name. */
bool ds_idx_in_file(const ds_found *found)
{
    return (found->bytes >= 4 && memcmp(found->head, "\0\0", 2) == 0) || strstr(found->path, "-ubyte");
}

ds_data *ds_load_idx_folder(const char *path, const ds_options *options, ad_error *error)
{
    static const char *const names[] = { "images-idx3", "labels-idx1" };
    char paths[4][PATH], prefixes[2][PREFIX];
    const char *files[4] = { NULL };
    if (list_prefixes(path, prefixes) > 1) {
        ad_fail(error, "%s: several sets, %s... and %s...: give one a folder of its own, or name its file of images",
                path, prefixes[0][0] ? prefixes[0] : "train", prefixes[1][0] ? prefixes[1] : "train");
        return NULL;
    }
    const char *prefix = prefixes[0];
    for (int p = 0; p < 3; p++) {
        int to = p ? 2 : 0;
        if (!files[to] && find_part(path, prefix, parts[p], "images-idx3-ubyte", paths[to]))
            files[to] = paths[to];
        if (!files[to + 1] && (find_part(path, prefix, parts[p], "labels-idx1-ubyte", paths[to + 1]) ||
                               find_part(path, prefix, parts[p], "labels-idx2-int", paths[to + 1])))
            files[to + 1] = paths[to + 1];
    }
    for (size_t p = 0; p < 2; p++)
        if (!files[2 * p] != !files[2 * p + 1]) {
            ad_fail(error, "%s: no %s%s-%s-ubyte[.gz] beside its %s", path, prefix, parts[p], names[!!files[2 * p]],
                    files[2 * p] ? "images" : "labels");
            return NULL;
        }
    return load_pairs(path, files, options, error);
}

/* With or without .gz; path has room for it. */
static bool zipped_or_not(char *path)
{
    size_t length = strlen(path);
    if (ds_exists(NULL, path, NULL, 0))
        return true;
    bool zipped = ds_ends(path, ".gz");
    strcpy(path + length - (zipped ? 3 : 0), zipped ? "" : ".gz");
    return ds_exists(NULL, path, NULL, 0);
}

/* The labels' file of an images' file: "images" and "idx3" in its name become "labels" and "idx1"; or "idx3-ubyte"
 * becomes "idx2-int". */
static bool neighbour(const char *images, char *path)
{
    char rest[PATH];
    size_t length = strlen(images);
    if (length + 4 > PATH)
        return false;
    memcpy(path, images, length + 1);
    char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *at = strstr(base, "images");
    if (!at)
        return false;
    memcpy(at, "labels", 6);
    if (!(at = strstr(base, "idx3")))
        return zipped_or_not(path);
    at[3] = '1';
    snprintf(rest, sizeof rest, "%s", at);
    if (zipped_or_not(path))
        return true;
    if (strncmp(rest, "idx1-ubyte", 10) != 0)
        return false;
    snprintf(at, PATH - (size_t)(at - path), "idx2-int%s", rest + 10);
    return zipped_or_not(path);
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
