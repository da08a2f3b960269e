/* image.h: from the bytes of an image's file to numbers 0..1. A path only names the image in messages. */
#ifndef LIMN_DATASETS_IMAGE_IMAGE_H
#define LIMN_DATASETS_IMAGE_IMAGE_H
#include "datasets/datasets.h"

#define DS_PIXELS ((size_t)1 << 28) /* of a sheet */
#define DS_IMAGE ((size_t)1 << 26)  /* pixels of one image of a folder, */
#define DS_SIDE ((size_t)1 << 16)   /* and of its sides */

typedef struct {
    size_t height, width, channels; /* 1 grey, 3 red, green and blue */
} ds_size;

/* ---- png_check.c, jpeg_check.c, pnm.c, decode.c: one image from memory ---- */

/* Walks the chunks: signature, lengths, checksums, IHDR first, IEND last. Gives the size; `sheet`: of an 8-bit grey
 * image of at most DS_PIXELS, else of any of at most DS_IMAGE. */
int ds_png_check(const char *path, const unsigned char *file, size_t bytes, bool sheet, size_t *width, size_t *height,
                 ad_error *error);
/* What stb_image trusts and must not. */
int ds_jpeg_check(const char *path, const unsigned char *file, size_t bytes, ad_error *error);
/* Of a binary PGM or PPM: the size, unchecked; and the pixels, of a file whose size is checked: as ds_image_pixels. */
int ds_pnm_size(const char *path, const unsigned char *file, size_t bytes, ds_size *size, ad_error *error);
unsigned char *ds_pnm_pixels(const char *path, const unsigned char *file, size_t bytes, size_t channels,
                             ad_error *error);
/* What the header of an image of any kind says, checked against the limits and the file's length. */
int ds_image_size(const char *path, const unsigned char *file, size_t bytes, ds_size *size, ad_error *error);
/* The pixels (height, width, channels), to be freed with ad_free. Height and width are those of the header; an image
 * of colours becomes grey for 1 channel. */
unsigned char *ds_image_pixels(const char *path, const unsigned char *file, size_t bytes, ds_size size,
                               ad_error *error);

/* ---- pixels.c, resize.c: what becomes of pixels ---- */

/* The size after `options`, which are checked. */
int ds_image_target(ds_size from, const ds_options *options, ds_size *to, ad_error *error);
/* pixels (from) -> x (to), 0..1: grey, then resized. */
int ds_image_put(const unsigned char *pixels, ds_size from, ds_size to, double *x, ad_error *error);
/* in (from) -> out (to), of the same channels. */
int ds_image_resize(const unsigned char *in, ds_size from, unsigned char *out, ds_size to, ad_error *error);
#endif
