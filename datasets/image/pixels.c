/* pixels.c: what becomes of an image's bytes: grey, resized, then numbers 0..1. */
#include "datasets/image/image.h"

int ds_image_target(ds_size from, const ds_options *options, ds_size *to, ad_error *error)
{
    size_t height = options->resize_height, width = options->resize_width;
    if (!height != !width || height > 4096 || width > 4096)
        return ad_fail(error, "images cannot get the size %zu x %zu; sides are from 1 to 4096 pixels", width, height);
    *to = height ? (ds_size){ height, width, from.channels } : from;
    if (options->grey)
        to->channels = 1;
    return 0;
}

/* Luminance as ITU-R BT.601 weighs it, in 256ths. */
static void to_grey(const unsigned char *pixels, size_t count, unsigned char *grey)
{
    for (size_t i = 0; i < count; i++)
        grey[i] = (unsigned char)((77 * pixels[3 * i] + 150 * pixels[3 * i + 1] + 29 * pixels[3 * i + 2]) >> 8);
}

int ds_image_put(const unsigned char *pixels, ds_size from, ds_size to, double *x, ad_error *error)
{
    size_t count = to.height * to.width * to.channels, before = from.height * from.width;
    bool resize = from.height != to.height || from.width != to.width, grey = from.channels != to.channels;
    unsigned char *scratch = NULL, *resized;
    if ((grey || resize) && !(scratch = ad_alloc((grey ? before : 0) + count, 1, "an image", error)))
        return -1;
    if (grey) {
        to_grey(pixels, before, scratch);
        pixels = scratch;
        from.channels = 1;
    }
    if (resize) {
        resized = scratch + (grey ? before : 0);
        if (ds_image_resize(pixels, from, resized, to, error) != 0) {
            ad_free(scratch);
            return -1;
        }
        pixels = resized;
    }
    for (size_t i = 0; i < count; i++)
        x[i] = pixels[i] / 255.0;
    ad_free(scratch);
    return 0;
}
