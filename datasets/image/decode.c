/* decode.c: stb_image, from memory only, on limn's allocator. Its functions are static here, so that a program with an
 * stb_image of its own can link with limn. What it does not check is checked here: that a file is not cut short, and
 * that its pixels are no more than the file can hold. */
#include "datasets/image/image.h"

#include <string.h>

/* The most that one allocation may take: a small file that unfolds to gigabytes stops here. */
static _Thread_local size_t budget;
static _Thread_local bool exceeded, denied;

static void *stb_malloc(size_t bytes)
{
    if (bytes > budget) {
        exceeded = true;
        return NULL;
    }
    void *memory = ad_alloc(bytes, 1, "an image", NULL);
    denied = denied || !memory;
    return memory;
}

static void *stb_realloc(void *old, size_t old_bytes, size_t bytes)
{
    void *memory = stb_malloc(bytes);
    if (memory && old) {
        memcpy(memory, old, old_bytes < bytes ? old_bytes : bytes);
        ad_free(old);
    }
    return memory;
}

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_ONLY_TGA
#define STBI_NO_STDIO
#define STBI_MALLOC(bytes) stb_malloc((size_t)(bytes))
#define STBI_REALLOC_SIZED(old, old_bytes, bytes) stb_realloc((old), (size_t)(old_bytes), (size_t)(bytes))
#define STBI_FREE(memory) ad_free(memory)
#include <stb/stb_image.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#pragma GCC diagnostic ignored "-Wunused-function" /* raised at the end of the file, for what stays uncalled */
#endif

/* The kinds, by their first bytes. TGA has none that tell: its name does. */
static const struct {
    const char *name, *magic;
} kinds[] = { { "PNG", "\x89PNG" }, { "JPEG", "\xFF\xD8" }, { "BMP", "BM" },
              { "GIF", "GIF8" },    { "PNM", "P5" },        { "PNM", "P6" } };

static const char *kind_of(const char *path, const unsigned char *file, size_t bytes)
{
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        if (bytes >= strlen(kinds[k].magic) && memcmp(file, kinds[k].magic, strlen(kinds[k].magic)) == 0)
            return kinds[k].name;
    size_t length = strlen(path);
    const char *end = length > 4 ? path + length - 4 : "";
    return strcmp(end, ".tga") == 0 || strcmp(end, ".TGA") == 0 ? "TGA" : NULL;
}

/* A file in memory as stb_image's callbacks give it: they tell when it asks for more than there is. */
typedef struct {
    const unsigned char *at;
    size_t left;
    bool beyond;
} source;

static int source_read(void *user, char *out, int bytes)
{
    source *s = user;
    size_t count = (size_t)bytes < s->left ? (size_t)bytes : s->left;
    s->beyond = s->beyond || !count;
    memcpy(out, s->at, count);
    s->at += count;
    s->left -= count;
    return (int)count;
}

static void source_skip(void *user, int bytes)
{
    source *s = user;
    size_t count = bytes > 0 ? (size_t)bytes : 0;
    s->beyond = s->beyond || count > s->left;
    count = count < s->left ? count : s->left;
    s->at += count;
    s->left -= count;
}

static int source_end(void *user)
{
    return !((source *)user)->left;
}

static const stbi_io_callbacks callbacks = { source_read, source_skip, source_end };

static int size_by_stb(const char *path, const char *kind, const unsigned char *file, size_t bytes, ds_size *size,
                       ad_error *error)
{
    source s = { file, bytes, false };
    int width = 0, height = 0, channels = 0;
    budget = 65536 + 2 * bytes;
    exceeded = denied = false;
    if (!stbi_info_from_callbacks(&callbacks, &s, &width, &height, &channels) || denied) {
        const char *reason = stbi_failure_reason();
        return denied ? ad_fail(error, "%s: out of memory for its header", path)
                      : ad_fail(error, "%s: %s %s header (%zu bytes)%s%s", path, s.beyond ? "truncated" : "corrupt",
                                kind, bytes, reason ? ": " : "", reason ? reason : "");
    }
    *size = (ds_size){ height > 0 ? (size_t)height : 0, width > 0 ? (size_t)width : 0, channels < 3 ? 1 : 3 };
    return 0;
}

int ds_image_size(const char *path, const unsigned char *file, size_t bytes, ds_size *size, ad_error *error)
{
    const char *kind = kind_of(path, file, bytes);
    if (!kind)
        return ad_fail(error, "%s: not an image (%zu bytes): PNG, JPEG, BMP, GIF, binary PNM and TGA are read", path,
                       bytes);
    if (strcmp(kind, "PNG") == 0 && ds_png_check(path, file, bytes, false, &size->width, &size->height, error) != 0)
        return -1;
    if (file[0] == 0xFF && ds_jpeg_check(path, file, bytes, error) != 0)
        return -1;
    enum { COMPRESSION = 30, RLE8 = 1, RLE4 = 2 };
    if (strcmp(kind, "BMP") == 0 && bytes > COMPRESSION && (file[COMPRESSION] == RLE8 || file[COMPRESSION] == RLE4))
        return ad_fail(error, "%s: a BMP of run lengths, which is not read: save it uncompressed, or as PNG", path);
    bool pnm = strcmp(kind, "PNM") == 0;
    if (pnm ? ds_pnm_size(path, file, bytes, size, error) : size_by_stb(path, kind, file, bytes, size, error))
        return -1;
    /* No kind unfolds a byte to more than 4096 pixels: a GIF has 2^12 codes, and each names at most so many. */
    size_t maximum = bytes < DS_IMAGE / 4096 ? 4096 * bytes : DS_IMAGE;
    if (size->width < 1 || size->height < 1 || size->width > DS_SIDE || size->height > DS_SIDE ||
        size->width > maximum / size->height)
        return ad_fail(error,
                       "%s: an image of %zu x %zu pixels in %zu bytes; sides are from 1 to %zu, pixels at most %zu",
                       path, size->width, size->height, bytes, DS_SIDE, maximum);
    return 0;
}

unsigned char *ds_image_pixels(const char *path, const unsigned char *file, size_t bytes, ds_size size, ad_error *error)
{
    const char *kind = kind_of(path, file, bytes);
    size_t width = size.width, height = size.height;
    if (strcmp(kind, "PNM") == 0)
        return ds_pnm_pixels(path, file, bytes, size.channels, error);
    /* stb_image doubles its buffer of compressed data; a pixel takes at most 8 bytes, in blocks of up to 64 x 64. */
    budget = 65536 + 2 * bytes + 8 * (width + 64) * (height + 64);
    exceeded = denied = false;
    source s = { file, bytes, false };
    int got_width = 0, got_height = 0, channels = 0;
    unsigned char *pixels =
        stbi_load_from_callbacks(&callbacks, &s, &got_width, &got_height, &channels, (int)size.channels);
    if (pixels && !s.beyond && !denied && (size_t)got_width == width && (size_t)got_height == height)
        return pixels;
    const char *reason = stbi_failure_reason();
    if (denied)
        ad_fail(error, "%s: out of memory: %zu x %zu pixels", path, width, height);
    else if (exceeded)
        ad_fail(error, "%s: corrupt %s: its data unfold to more than %zu x %zu pixels", path, kind, width, height);
    else if (s.beyond)
        ad_fail(error, "%s: truncated %s of %zu x %zu pixels: its %zu bytes end too early", path, kind, width, height,
                bytes);
    else if (pixels)
        ad_fail(error, "%s: corrupt %s: %d x %d pixels in place of %zu x %zu", path, kind, got_width, got_height, width,
                height);
    else
        ad_fail(error, "%s: corrupt %s of %zu x %zu pixels: %s", path, kind, width, height,
                reason ? reason : "bad data");
    ad_free(pixels);
    return NULL;
}
