/* png_check.c: what stb_image does not look at: that a PNG is whole and that its checksums are right. */
#include "datasets/image/image.h"

#include <string.h>
#include <zlib.h>

static uint32_t big_endian(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* IHDR: width, height (4 bytes each), depth, colour type, compression, filter, interlace. */
static int read_header(const char *path, const unsigned char *at, bool sheet, size_t *width, size_t *height,
                       ad_error *error)
{
    size_t maximum = sheet ? DS_PIXELS : DS_IMAGE;
    *width = big_endian(at);
    *height = big_endian(at + 4);
    if (!*width || !*height || *width > maximum / *height)
        return ad_fail(error, "%s: an image of %zu x %zu pixels; from 1 to %zu pixels are read", path, *width, *height,
                       maximum);
    if (sheet && (at[8] != 8 || at[9] != 0))
        return ad_fail(error, "%s: not an 8-bit grey PNG: %d bits, colour type %d", path, at[8], at[9]);
    return 0;
}

int ds_png_check(const char *path, const unsigned char *file, size_t bytes, bool sheet, size_t *width, size_t *height,
                 ad_error *error)
{
    static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };
    if (bytes < sizeof signature || memcmp(file, signature, sizeof signature) != 0)
        return ad_fail(error, "%s: not a PNG file (%zu bytes)", path, bytes);

    size_t at = sizeof signature;
    for (bool first = true;; first = false) {
        /* A chunk: length (4), type (4), data (length), checksum of type and data (4). */
        size_t left = bytes - at;
        size_t length = left >= 12 ? big_endian(file + at) : 0;
        if (left < 12 || length > left - 12)
            return ad_fail(error, "%s: truncated PNG: %zu bytes, and no end (IEND) chunk", path, bytes);
        const unsigned char *type = file + at + 4;
        if ((uint32_t)crc32(0, type, (uInt)(length + 4)) != big_endian(type + 4 + length))
            return ad_fail(error, "%s: corrupt PNG: the chunk at byte %zu has a wrong checksum", path, at);
        bool header = memcmp(type, "IHDR", 4) == 0;
        if (header != first || (header && length != 13))
            return ad_fail(error, "%s: corrupt PNG: the chunk at byte %zu must %sbe a header (IHDR)", path, at,
                           first ? "" : "not ");
        if (header && read_header(path, type + 4, sheet, width, height, error) != 0)
            return -1;
        at += 12 + length;
        if (memcmp(type, "IEND", 4) == 0)
            break;
    }
    if (at != bytes)
        return ad_fail(error, "%s: corrupt PNG: it ends at byte %zu, but the file has %zu", path, at, bytes);
    return 0;
}
