/* png.c: what stb_image does not look at: that a PNG is whole and that its checksums are right. */
#include "datasets/png.h"

#include <string.h>

static uint32_t big_endian(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* CRC-32 as in PNG, annex D: the reflected polynomial 0xEDB88320, a byte a step. */
static void crc_table(uint32_t table[256])
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t c = byte;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        table[byte] = c;
    }
}

static uint32_t crc(const uint32_t table[256], const unsigned char *at, size_t bytes)
{
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < bytes; i++)
        c = table[(c ^ at[i]) & 255] ^ (c >> 8);
    return ~c;
}

/* IHDR: width, height (4 bytes each), depth, colour type, compression, filter, interlace. */
static int read_header(const char *path, const unsigned char *at, size_t *width, size_t *height, ad_error *error)
{
    *width = big_endian(at);
    *height = big_endian(at + 4);
    if (!*width || !*height || *width > DS_PIXELS / *height)
        return ad_fail(error, "%s: an image of %zu x %zu pixels; from 1 to %zu pixels are read", path, *width, *height,
                       DS_PIXELS);
    if (at[8] != 8 || at[9] != 0)
        return ad_fail(error, "%s: not an 8-bit grey PNG: %d bits, colour type %d", path, at[8], at[9]);
    return 0;
}

int ds_png_check(const char *path, const unsigned char *file, size_t bytes, size_t *width, size_t *height,
                 ad_error *error)
{
    static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };
    if (bytes < sizeof signature || memcmp(file, signature, sizeof signature) != 0)
        return ad_fail(error, "%s: not a PNG file (%zu bytes)", path, bytes);

    uint32_t table[256];
    crc_table(table);
    size_t at = sizeof signature;
    for (bool first = true;; first = false) {
        /* A chunk: length (4), type (4), data (length), checksum of type and data (4). */
        size_t left = bytes - at;
        size_t length = left >= 12 ? big_endian(file + at) : 0;
        if (left < 12 || length > left - 12)
            return ad_fail(error, "%s: truncated PNG: %zu bytes, and no end (IEND) chunk", path, bytes);
        const unsigned char *type = file + at + 4;
        if (crc(table, type, length + 4) != big_endian(type + 4 + length))
            return ad_fail(error, "%s: corrupt PNG: the chunk at byte %zu has a wrong checksum", path, at);
        bool header = memcmp(type, "IHDR", 4) == 0;
        if (header != first || (header && length != 13))
            return ad_fail(error, "%s: corrupt PNG: the chunk at byte %zu must %sbe a header (IHDR)", path, at,
                           first ? "" : "not ");
        if (header && read_header(path, type + 4, width, height, error) != 0)
            return -1;
        at += 12 + length;
        if (memcmp(type, "IEND", 4) == 0)
            break;
    }
    if (at != bytes)
        return ad_fail(error, "%s: corrupt PNG: it ends at byte %zu, but the file has %zu", path, at, bytes);
    return 0;
}
