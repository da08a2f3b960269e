/* jpeg_check.c: what stb_image does not look at: that a JPEG's Huffman tables have no more codes than there are bytes. */
#include "datasets/image/image.h"

/* A DHT segment at `at`, behind its marker: length (2), then tables of class and number (1), how many codes there are
 * of each length (16), and their values. */
static bool tables_fit(const unsigned char *at, size_t left)
{
    if (left < 2)
        return true; /* cut short: the decoder finds the end */
    size_t length = (size_t)at[0] << 8 | at[1];
    for (size_t i = 2; i < length && i < left;) { /* the decoder reads a table to its end, whatever the length says */
        size_t codes = 0;
        for (size_t k = 1; k <= 16 && i + k < left; k++)
            codes += at[i + k];
        if (codes > 256)
            return false;
        i += 17 + codes;
    }
    return true;
}

/* Up to the first scan the segments are walked as the decoder does; in the scans every pair of bytes that it could take
 * for a DHT marker is checked: compressed data have none, since a zero follows each 0xFF there. */
int ds_jpeg_check(const char *path, const unsigned char *file, size_t bytes, ad_error *error)
{
    bool scans = false;
    for (size_t at = 0; at + 1 < bytes;) {
        if (file[at] != 0xFF || file[at + 1] == 0xFF) {
            at++;
            continue;
        }
        unsigned marker = file[at + 1];
        at += 2;
        if (marker == 0xC4 && !tables_fit(file + at, bytes - at))
            return ad_fail(error, "%s: corrupt JPEG: a Huffman table of more than 256 codes at byte %zu", path, at - 2);
        scans = scans || marker == 0xDA;
        bool alone = marker < 0xC0 || (marker >= 0xD0 && marker <= 0xD9);
        if (!scans && !alone && bytes - at >= 2)
            at += (size_t)file[at] << 8 | file[at + 1];
    }
    return 0;
}
