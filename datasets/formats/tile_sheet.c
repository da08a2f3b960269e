/* tile_sheet.c: image sheets, and the data sets that come with limn. */
#include "datasets/formats/formats.h"
#include "datasets/image/image.h"
#include "datasets/set/set.h"

#include <string.h>

/* The first `count` labels of a file that must be `count` digits, at most `tiles`, and one newline. */
static char *read_labels(const char *path, const char *png, size_t tiles, size_t *count, ad_error *error)
{
    size_t bytes = 0;
    char *text = ad_file_read(path, DS_FILE, &bytes, error);
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

/* Copies tile number r of a sheet into out (tile, tile); true unless the tile is black. */
static bool copy_tile(const unsigned char *pixels, size_t width, size_t tile, size_t r, unsigned char *out)
{
    const unsigned char *corner = pixels + r / (width / tile) * tile * width + r % (width / tile) * tile;
    int any = 0;
    for (size_t i = 0; i < tile; i++)
        for (size_t j = 0; j < tile; j++)
            any |= out[i * tile + j] = corner[i * width + j];
    return any != 0;
}

/* A decoded sheet. */
typedef struct {
    const char *path, *labels;
    const unsigned char *pixels;
    size_t width, tiles, tile;
} sheet;

/* Fills x (to) and y; every labelled tile must show something, every tile after them nothing. `one` has room for a
 * tile. */
static int fill_tiles(ds_data *data, const sheet *s, ds_size to, unsigned char *one, ad_error *error)
{
    for (size_t r = 0; r < s->tiles; r++) {
        bool labelled = r < data->rows;
        if (copy_tile(s->pixels, s->width, s->tile, r, one) != labelled)
            return ad_fail(error, "%s: tile %zu of %zu (counted from 0) is %s, but there are %zu labels", s->path, r,
                           s->tiles, labelled ? "empty" : "not empty", data->rows);
        if (labelled) {
            size_t label = (size_t)(s->labels[r] - '0');
            if (ds_image_put(one, (ds_size){ s->tile, s->tile, 1 }, to, data->x + r * data->features, error) != 0)
                return -1;
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

/* The set of a decoded sheet with `rows` labels, scaled. */
static ds_data *new_set(const sheet *s, size_t rows, const ds_options *options, ad_error *error)
{
    ds_size to = { s->tile, s->tile, 1 };
    if (ds_image_target(to, options, &to, error) != 0)
        return NULL;
    ds_data *data = ds_new(s->path, rows, to.height * to.width, 1, error);
    unsigned char *one = data ? ad_alloc(s->tile, s->tile, "a tile", error) : NULL;
    int failed = one ? 0 : -1;
    if (one) {
        set_name(data, s->path);
        data->height = to.height;
        data->width = to.width;
        data->channels = 1;
        failed = fill_tiles(data, s, to, one, error);
    }
    if (!failed)
        failed = ds_finish(data, rows * 4 / 5, options, error);
    ad_free(one);
    if (!failed)
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
    ds_options as_it_is = { .scaling = DS_STANDARD };
    char *file = ad_file_read(png, DS_FILE, &bytes, error);
    int failed = file ? ds_png_check(png, (unsigned char *)file, bytes, true, &width, &height, error) : -1;
    if (!failed && (!tile || width % tile || height % tile))
        failed = ad_fail(error, "%s: %zu x %zu pixels are no whole number of %zu x %zu tiles", png, width, height, tile,
                         tile);
    if (!failed) {
        tiles = (width / tile) * (height / tile);
        text = read_labels(labels, png, tiles, &rows, error);
        failed = text ? 0 : -1;
    }
    if (!failed && !(pixels = ds_image_pixels(png, (unsigned char *)file, bytes, (ds_size){ height, width, 1 }, error)))
        failed = -1;
    if (!failed)
        data = new_set(&(sheet){ png, text, pixels, width, tiles, tile }, rows, options ? options : &as_it_is, error);
    ad_free(pixels);
    ad_free(text);
    ad_free(file);
    return data;
}

/* The sets that come with limn, in the data folder. */
static const struct {
    const char *name, *files; /* files.png, files.labels */
    size_t tile;
} embedded[] = { { "mnist", "mnist10k", 28 }, { "digits", "digits", 8 } };
enum { EMBEDDED = sizeof embedded / sizeof *embedded };

static int number_of(const char *name)
{
    int k = 0;
    while (k < EMBEDDED && strcmp(embedded[k].name, name) != 0)
        k++;
    return k;
}

bool ds_sheet_named(const ds_found *found)
{
    return number_of(found->path) < EMBEDDED;
}

ds_data *ds_load_sheet(const char *name, const ds_options *options, ad_error *error)
{
    int k = number_of(name);
    char file[32], png[4096], labels[4096];
    snprintf(file, sizeof file, "%s.png", embedded[k].files);
    if (ds_find(file, png, sizeof png, error) != 0)
        return NULL;
    snprintf(file, sizeof file, "%s.labels", embedded[k].files);
    if (ds_find(file, labels, sizeof labels, error) != 0)
        return NULL;
    ds_data *data = ds_sheet(png, labels, embedded[k].tile, options, error);
    if (data)
        snprintf(data->name, sizeof data->name, "%s", name);
    return data;
}
