/* png.h: the inside of datasets/: one 8-bit grey PNG from memory. `path` only names it in messages. */
#ifndef LIMN_DATASETS_PNG_H
#define LIMN_DATASETS_PNG_H
#include "autodiff/base.h"

#define DS_PIXELS ((size_t)1 << 28) /* no sheet has more: a hostile header is refused before anything is allocated */

/* Walks the chunks: signature, lengths, checksums, IHDR first, IEND last. Gives the size of an 8-bit grey image. */
int ds_png_check(const char *path, const unsigned char *file, size_t bytes, size_t *width, size_t *height,
                 ad_error *error);

/* The pixels (height, width) of a file that ds_png_check has passed, to be freed with ad_free. */
unsigned char *ds_png_pixels(const char *path, const unsigned char *file, size_t bytes, size_t width, size_t height,
                             ad_error *error);
#endif
