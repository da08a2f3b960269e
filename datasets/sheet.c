/* sheet.c: image sheets, and the data sets that come with limn. */
#include "datasets/datasets.h"
#include "datasets/png.h"

#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT ((size_t)1 << 28)

/* The first `count` labels of a file that must be `count` digits, at most `tiles`, and one newline. */
static char *read_labels(const char *path, const char *png, size_t tiles, size_t *count, ad_error *error)
{
    size_t bytes = 0;
    char *text = ad_file_read(path, FILE_LIMIT, &bytes, error);
    if (!text)
        return NULL;
    *count = bytes ? bytes - 1 : 0;
    int failed = 0;
    for (size_t i = 0; i < *count && !failed; i++)
        if (text[i] < '0' || text[i] > '9')
            failed = ad_fail(error, "%s: label %zu of %zu (counted from 0) is byte 0x%02x, not a digit", path, i,
                             *count, (unsigned char)text[i]);
    if (!failed && (!bytes || text[bytes - 1] != '\n'))
        failed = ad_fail(error, "%s: %zu bytes that do not end in a newline", path, bytes);
    if (!failed && (!*count || *count > tiles))
        failed = ad_fail(error, "%s: %zu labels, but %s has %zu tiles", path, *count, png, tiles);
    if (!failed)
        return text;
    ad_free(text);
    return NULL;
}

/* Copies tile number r of a sheet, scaled to 0..1, into x (tile, tile); true unless the tile is black. */
static bool copy_tile(const unsigned char *pixels, size_t width, size_t tile, size_t r, double *x)
{
    const unsigned char *corner = pixels + r / (width / tile) * tile * width + r % (width / tile) * tile;
    int any = 0;
    for (size_t i = 0; i < tile; i++)
        for (size_t j = 0; j < tile; j++) {
            any |= corner[i * width + j];
            if (x)
                x[i * tile + j] = corner[i * width + j] / 255.0;
        }
    return any != 0;
}

/* Fills x and y from the decoded sheet; every labelled tile must show something, every tile after them nothing. */
static int fill(ds_data *data, const char *path, const unsigned char *pixels, size_t width, size_t tiles,
                const char *labels, ad_error *error)
{
    for (size_t r = 0; r < tiles; r++) {
        bool labelled = r < data->rows;
        if (copy_tile(pixels, width, data->width, r, labelled ? data->x + r * data->features : NULL) != labelled)
            return ad_fail(error, "%s: tile %zu of %zu (counted from 0) is %s, but there are %zu labels", path, r,
                           tiles, labelled ? "empty" : "not empty", data->rows);
        if (labelled) {
            size_t label = (size_t)(labels[r] - '0');
            data->y[r] = (double)label;
            if (label >= data->classes)
                data->classes = label + 1;
        }
    }
    return 0;
}

/* A set's name is that of its sheet, without folder and extension. */
static void set_name(ds_data *data, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    int length = (int)(dot && dot > base ? (size_t)(dot - base) : strlen(base));
    snprintf(data->name, sizeof data->name, "%.*s", length, base);
}

static ds_data *new_images(size_t rows, size_t tile, const char *path, ad_error *error)
{
    ds_data *data = ad_alloc(1, sizeof *data, "a data set", error);
    if (!data)
        return NULL;
    *data = (ds_data){ .rows = rows, .features = tile * tile, .height = tile, .width = tile, .targets = 1 };
    set_name(data, path);
    data->x = ad_alloc(rows * data->features, sizeof *data->x, "a data set's images", error);
    data->y = data->x ? ad_alloc(rows, sizeof *data->y, "a data set's labels", error) : NULL;
    if (data->y)
        return data;
    ds_free(data);
    return NULL;
}

ds_data *ds_sheet(const char *png, const char *labels, size_t tile, const ds_options *options, ad_error *error)
{
    size_t bytes = 0, width = 0, height = 0, rows = 0, tiles = 0;
    char *text = NULL;
    unsigned char *pixels = NULL;
    ds_data *data = NULL;
    char *file = ad_file_read(png, FILE_LIMIT, &bytes, error);
    int failed = file ? ds_png_check(png, (unsigned char *)file, bytes, &width, &height, error) : -1;
    if (!failed && (!tile || width % tile || height % tile))
        failed = ad_fail(error, "%s: %zu x %zu pixels are no whole number of %zu x %zu tiles", png, width, height, tile,
                         tile);
    if (!failed) {
        tiles = (width / tile) * (height / tile);
        text = read_labels(labels, png, tiles, &rows, error);
        failed = text ? 0 : -1;
    }
    if (!failed && !(pixels = ds_png_pixels(png, (unsigned char *)file, bytes, width, height, error)))
        failed = -1;
    if (!failed && !(data = new_images(rows, tile, png, error)))
        failed = -1;
    if (!failed)
        failed = fill(data, png, pixels, width, tiles, text, error);
    if (!failed)
        failed = ds_scale(data, options, error);
    ad_free(pixels);
    ad_free(text);
    ad_free(file);
    if (!failed)
        return data;
    ds_free(data);
    return NULL;
}

int ds_find(const char *file, char *path, size_t size, ad_error *error)
{
    const char *chosen = getenv("LIMN_DATA");
    const char *folders[] = {
#ifdef LIMN_DATA_BUILD
        LIMN_DATA_BUILD,
#endif
#ifdef LIMN_DATA_INSTALL
        LIMN_DATA_INSTALL,
#endif
        NULL,
    };
    bool ours = !chosen || !chosen[0];
    for (const char **folder = ours ? folders : &chosen; *folder; folder++) {
        int length = snprintf(path, size, "%s/%s", *folder, file);
        if (length < 0 || (size_t)length >= size)
            return ad_fail(error, "%s: the path in the data folder is longer than %zu bytes", file, size);
        FILE *stream = fopen(path, "rb");
        if (stream) {
            fclose(stream);
            return 0;
        }
        if (!ours)
            return ad_fail(error, "%s: cannot be read; the environment variable LIMN_DATA names its folder", path);
    }
    return ad_fail(error, "%s: in none of limn's data folders; set LIMN_DATA to the folder that has it", file);
}

ds_data *ds_load(const char *name, const ds_options *options, ad_error *error)
{
    static const struct {
        const char *name, *png, *labels;
        size_t tile;
    } sets[] = {
        { "mnist", "mnist10k.png", "mnist10k.labels", 28 },
        { "digits", "digits.png", "digits.labels", 8 },
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (strcmp(name, sets[i].name) == 0) {
            char png[4096], labels[4096];
            if (ds_find(sets[i].png, png, sizeof png, error) != 0 ||
                ds_find(sets[i].labels, labels, sizeof labels, error) != 0)
                return NULL;
            ds_data *data = ds_sheet(png, labels, sets[i].tile, options, error);
            if (data)
                snprintf(data->name, sizeof data->name, "%s", name);
            return data;
        }
    ad_fail(error, "no data set is named '%s': there are mnist and digits", name);
    return NULL;
}

ds_data ds_split(const ds_data *data, size_t first, size_t count)
{
    ds_data view = *data;
    if (first > data->rows)
        first = data->rows;
    view.rows = count < data->rows - first ? count : data->rows - first;
    view.x += first * data->features;
    view.y = data->y ? data->y + first * data->targets : NULL;
    view.train = data->train > first ? data->train - first : 0;
    if (view.train > view.rows)
        view.train = view.rows;
    return view;
}

void ds_free(ds_data *data)
{
    if (!data)
        return;
    ad_free(data->x);
    ad_free(data->y);
    ad_free(data);
}
