/* resize.c: stb_image_resize on limn's allocator: Catmull-Rom to enlarge, Mitchell to shrink, edges clamped. Its
 * functions are static here, so that a program with an stb_image_resize of its own can link with limn. */
#include "datasets/image/image.h"

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
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_STATIC
#define STBIR_MALLOC(bytes, context) ((void)(context), ad_alloc((bytes), 1, "resizing", NULL))
#define STBIR_FREE(memory, context) ((void)(context), ad_free(memory))
#include <stb/stb_image_resize.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#pragma GCC diagnostic ignored "-Wunused-function" /* raised at the end of the file, for what stays uncalled */
#endif

int ds_image_resize(const unsigned char *in, ds_size from, unsigned char *out, ds_size to, ad_error *error)
{
    if (stbir_resize_uint8(in, (int)from.width, (int)from.height, 0, out, (int)to.width, (int)to.height, 0,
                           (int)to.channels))
        return 0;
    return ad_fail(error, "out of memory to resize %zu x %zu pixels to %zu x %zu", from.width, from.height, to.width,
                   to.height);
}
