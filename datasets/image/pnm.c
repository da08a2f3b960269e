/* pnm.c: binary PGM and PPM (P5, P6) of 1 to 65535 greys, one or two bytes a sample, the larger byte first. Not by
 * stb_image 2.27, which takes two bytes in the wrong order and leaves maximum values other than 255 unscaled. */
#include "datasets/image/image.h"

#include <string.h>

typedef struct {
    size_t width, height, maximum, channels, pixels; /* pixels: where they begin */
} header;

/* Width, height and the largest value, with blanks and comments between; one blank, and the samples follow. */
static int read_header(const char *path, const unsigned char *file, size_t bytes, header *h, ad_error *error)
{
    size_t at = 2, *numbers[] = { &h->width, &h->height, &h->maximum };
    for (int k = 0; k < 3; k++) {
        size_t number = 0, first;
        while (at < bytes && memchr("# \t\r\n\v\f", file[at], 7)) {
            bool comment = file[at++] == '#';
            while (comment && at < bytes && file[at] != '\n' && file[at] != '\r')
                at++;
        }
        for (first = at; at < bytes && file[at] >= '0' && file[at] <= '9'; at++)
            if ((number = 10 * number + file[at] - '0') > DS_SIDE)
                return ad_fail(error, "%s: a PNM header with a number above %zu at byte %zu", path, DS_SIDE, at);
        if (at == first)
            return ad_fail(error, "%s: %s PNM header: no number at byte %zu", path,
                           at < bytes ? "corrupt" : "truncated", at);
        *numbers[k] = number;
    }
    if (h->maximum < 1 || h->maximum > 65535)
        return ad_fail(error, "%s: a PNM whose largest value is %zu; it is from 1 to 65535", path, h->maximum);
    h->channels = file[1] == '6' ? 3 : 1;
    h->pixels = at + 1;
    return 0;
}

int ds_pnm_size(const char *path, const unsigned char *file, size_t bytes, ds_size *size, ad_error *error)
{
    header h;
    if (read_header(path, file, bytes, &h, error))
        return -1;
    *size = (ds_size){ h.height, h.width, h.channels };
    return 0;
}

/* Red, green and blue as stb_image makes them grey. */
static unsigned char grey(const unsigned char *rgb)
{
    return (unsigned char)((rgb[0] * 77 + rgb[1] * 150 + rgb[2] * 29) >> 8);
}

unsigned char *ds_pnm_pixels(const char *path, const unsigned char *file, size_t bytes, size_t channels,
                             ad_error *error)
{
    header h;
    if (read_header(path, file, bytes, &h, error))
        return NULL;
    size_t wide = h.maximum > 255 ? 2 : 1, pixels = h.width * h.height;
    if (h.pixels > bytes || pixels > (bytes - h.pixels) / wide / h.channels) {
        ad_fail(error, "%s: truncated PNM of %zu x %zu pixels: its %zu bytes end too early", path, h.width, h.height,
                bytes);
        return NULL;
    }
    unsigned char *out = ad_alloc(pixels * channels, 1, "an image", error);
    for (size_t i = 0; out && i < pixels; i++) {
        unsigned char sample[3] = { 0 };
        for (size_t c = 0; c < h.channels; c++) {
            const unsigned char *at = file + h.pixels + (i * h.channels + c) * wide;
            size_t value = wide == 2 ? at[0] * 256u + at[1] : at[0];
            if (value > h.maximum) {
                ad_fail(error, "%s: corrupt PNM: a value of %zu, of at most %zu, at byte %zu", path, value, h.maximum,
                        (size_t)(at - file));
                ad_free(out);
                return NULL;
            }
            sample[c] = (unsigned char)((value * 255 + h.maximum / 2) / h.maximum);
        }
        for (size_t c = 0; c < channels; c++)
            out[i * channels + c] = h.channels == 1 ? sample[0] : channels == 1 ? grey(sample) : sample[c];
    }
    return out;
}
