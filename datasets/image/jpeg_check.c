/* jpeg_check.c: what stb_image does not look at: that a JPEG's Huffman tables have no more codes than there are
 * bytes, and whether it says that its picture is to be turned. */
#include "datasets/image/image.h"

#include <string.h>

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

/* The orientation in an APP1 segment of Exif, behind its marker: a TIFF header, "II" or "MM" for the order of bytes,
 * and where its first directory is, whose entry 0x0112 is it. 1 is upright, and so is what is cut short or said
 * nowhere. */
static unsigned orientation(const unsigned char *at, size_t left)
{
    enum { BEFORE = 8, ENTRY = 12, TAG = 0x0112 };
    if (left < BEFORE + 8 || memcmp(at + 2, "Exif\0", 6) != 0)
        return 1;
    const unsigned char *tiff = at + BEFORE;
    const size_t size = left - BEFORE;
    const bool little = tiff[0] == 'I';
#define TWO(p) (little ? tiff[(p) + 1] * 256u + tiff[p] : tiff[p] * 256u + tiff[(p) + 1])
    size_t directory = little ? TWO(6) * (size_t)65536 + TWO(4) : TWO(4) * (size_t)65536 + TWO(6);
    if (directory + 2 > size)
        return 1;
    size_t entries = TWO(directory), place = directory + 2;
    for (; entries > 0 && place + ENTRY <= size; entries--, place += ENTRY)
        if (TWO(place) == TAG)
            return TWO(place + 8);
#undef TWO
    return 1;
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
        unsigned turned = !scans && marker == 0xE1 ? orientation(file + at, bytes - at) : 1;
        if (turned > 1 && turned <= 8)
            return ad_fail(error,
                           "%s: it says (by EXIF) that it is to be turned or mirrored, by orientation %u: save it "
                           "upright, as by mogrify -auto-orient",
                           path, turned);
        scans = scans || marker == 0xDA;
        bool alone = marker < 0xC0 || (marker >= 0xD0 && marker <= 0xD9);
        if (!scans && !alone && bytes - at >= 2)
            at += (size_t)file[at] << 8 | file[at + 1];
    }
    return 0;
}
