/* inside.h: the inside of datasets/: what the loaders share. A path in a function's head that reads from memory only
 * names the data in messages. */
#ifndef LIMN_DATASETS_INSIDE_H
#define LIMN_DATASETS_INSIDE_H
#include "datasets/datasets.h"

/* A hostile header is refused before anything is allocated. */
#define DS_FILE ((size_t)1 << 31)   /* bytes of one file */
#define DS_PIXELS ((size_t)1 << 28) /* of a sheet */
#define DS_IMAGE ((size_t)1 << 26)  /* pixels of one image of a folder, */
#define DS_SIDE ((size_t)1 << 16)   /* and of its sides */
#define DS_VALUES ((size_t)1 << 30) /* numbers in x: 8 GiB */
#define DS_CLASSES ((size_t)4096)

/* ---- rows.c: how every loader begins and ends ---- */

/* rows of `features` zeros, y (rows, targets), or none for 0 targets; its name is the path's last part. */
ds_data *ds_new(const char *path, size_t rows, size_t features, size_t targets, ad_error *error);
/* Copies the names of all data->classes. */
int ds_name_classes(ds_data *data, const char *const *names, ad_error *error);
/* Splits and scales: the first `train` rows are the files' own training part; 0: they have none. */
int ds_finish(ds_data *data, size_t train, const ds_options *options, ad_error *error);

/* ---- gzip.c: a file's bytes in order, unfolded if it is gzipped ---- */
typedef struct ds_source ds_source;
ds_source *ds_source_open(const char *path, ad_error *error);
/* Fewer bytes than wanted come only at the end, where a gzip file's checksum is compared. */
int ds_source_read(ds_source *source, void *out, size_t bytes, size_t *got, ad_error *error);
/* The most bytes that the whole source can have; *exact if it is their number. */
size_t ds_source_most(const ds_source *source, bool *exact);
void ds_source_close(ds_source *source);

/* ---- png.c, jpeg.c, stb.c: one image from memory ---- */
typedef struct {
    size_t height, width, channels; /* 1 grey, 3 red, green and blue */
} ds_size;

/* Walks the chunks: signature, lengths, checksums, IHDR first, IEND last. Gives the size; `sheet`: of an 8-bit grey
 * image of at most DS_PIXELS, else of any of at most DS_IMAGE. */
int ds_png_check(const char *path, const unsigned char *file, size_t bytes, bool sheet, size_t *width, size_t *height,
                 ad_error *error);
/* What stb_image trusts and must not. */
int ds_jpeg_check(const char *path, const unsigned char *file, size_t bytes, ad_error *error);
/* What the header of an image of any kind says, checked against the limits and the file's length. */
int ds_image_size(const char *path, const unsigned char *file, size_t bytes, ds_size *size, ad_error *error);
/* The pixels (height, width, channels), to be freed with ad_free. Height and width are those of the header; an image
 * of colours becomes grey for 1 channel. */
unsigned char *ds_image_pixels(const char *path, const unsigned char *file, size_t bytes, ds_size size,
                               ad_error *error);

/* ---- image.c, resize.c: what becomes of pixels ---- */

/* The size after `options`, which are checked. */
int ds_image_target(ds_size from, const ds_options *options, ds_size *to, ad_error *error);
/* pixels (from) -> x (to), 0..1: grey, then resized. */
int ds_image_put(const unsigned char *pixels, ds_size from, ds_size to, double *x, ad_error *error);
/* in (from) -> out (to), of the same channels. */
int ds_image_resize(const unsigned char *in, ds_size from, unsigned char *out, ds_size to, ad_error *error);

/* ---- the loaders, each of a path that detect.c has recognized. options is not NULL. ---- */
typedef ds_data *ds_loader(const char *path, const ds_options *options, ad_error *error);
ds_loader ds_sheet_named, ds_folder, ds_idx_folder, ds_idx_file, ds_cifar_folder, ds_cifar_file, ds_csv, ds_npy;

/* folder/file if it is there, else false. */
bool ds_exists(const char *folder, const char *file, char *path, size_t size);
/* The folder has IDX files, or CIFAR-10 files, by their usual names. */
bool ds_idx_here(const char *folder);
bool ds_cifar_here(const char *folder);
#endif
