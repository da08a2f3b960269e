/* stb.c: stb_image, PNG only and from memory only, on limn's allocator. Its functions are static here, so that a
 * program with an stb_image of its own can link with limn. */
#include "datasets/png.h"

#include <string.h>

/* The most that one allocation may take: a small file that unfolds to gigabytes stops here. */
static _Thread_local size_t budget;
static _Thread_local bool exceeded;

static void *stb_malloc(size_t bytes)
{
    if (bytes > budget) {
        exceeded = true;
        return NULL;
    }
    return ad_alloc(bytes, 1, "a PNG", NULL);
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
#define STBI_NO_STDIO
#define STBI_MALLOC(bytes) stb_malloc((size_t)(bytes))
#define STBI_REALLOC_SIZED(old, old_bytes, bytes) stb_realloc((old), (size_t)(old_bytes), (size_t)(bytes))
#define STBI_FREE(memory) ad_free(memory)
#include <stb/stb_image.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#pragma GCC diagnostic ignored "-Wunused-function" /* raised at the end of the file, for what stays uncalled */
#endif

unsigned char *ds_png_pixels(const char *path, const unsigned char *file, size_t bytes, size_t width, size_t height,
                             ad_error *error)
{
    if (bytes > INT32_MAX) {
        ad_fail(error, "%s: %zu bytes, at most %d are decoded", path, bytes, INT32_MAX);
        return NULL;
    }
    /* stb_image doubles its buffer of compressed data; an image with transparency takes twice its pixels. */
    budget = 65536 + 2 * bytes + 2 * (width + 1) * height;
    exceeded = false;
    int got_width = 0, got_height = 0, channels = 0;
    unsigned char *pixels = stbi_load_from_memory(file, (int)bytes, &got_width, &got_height, &channels, 1);
    if (!pixels) {
        const char *reason = stbi_failure_reason(); /* none where its inflater finds no memory to begin with */
        if (exceeded)
            ad_fail(error, "%s: corrupt PNG: its data unfold to more than %zu x %zu pixels", path, width, height);
        else if (!reason || strcmp(reason, "outofmem") == 0)
            ad_fail(error, "%s: out of memory: %zu x %zu pixels", path, width, height);
        else
            ad_fail(error, "%s: corrupt PNG of %zu x %zu pixels: %s", path, width, height, reason);
        return NULL;
    }
    if ((size_t)got_width != width || (size_t)got_height != height) {
        ad_fail(error, "%s: corrupt PNG: %d x %d pixels in place of %zu x %zu", path, got_width, got_height, width,
                height);
        ad_free(pixels);
        return NULL;
    }
    return pixels;
}
