/* formats.h: the formats, each a sniffer and a loader in a file of its own; load.c has the table of them. */
#ifndef LIMN_DATASETS_FORMATS_FORMATS_H
#define LIMN_DATASETS_FORMATS_FORMATS_H
#include "datasets/datasets.h"

/* What shows of a path before a loader reads it: its name, and the first bytes of a file, unfolded if it is gzipped;
 * none of a damaged gzip file, which its loader refuses. */
typedef struct {
    const char *path;
    unsigned char head[8]; /* zeros behind the file's end */
    size_t bytes;          /* of head that were read */
} ds_found;

/* Reads the first bytes of found->path. */
int ds_look(ds_found *found, ad_error *error);

/* True if the path is of the sniffer's format, as far as shows. */
typedef bool ds_sniffer(const ds_found *found);
/* Reads what its sniffer has recognized. options is not NULL. */
typedef ds_data *ds_loader(const char *path, const ds_options *options, ad_error *error);

/* ---- by name ---- */
ds_sniffer ds_sheet_named, ds_npz_named;
ds_loader ds_load_sheet;

/* ---- folders ---- */
ds_sniffer ds_idx_in_folder, ds_cifar_in_folder;
ds_loader ds_load_idx_folder, ds_load_cifar_folder, ds_load_class_folders;

/* ---- files ---- */
ds_sniffer ds_arff_in_file, ds_npy_in_file, ds_cifar_in_file, ds_idx_in_file, ds_image_in_file;
ds_loader ds_load_arff, ds_load_npy, ds_load_cifar_file, ds_load_idx_file, ds_load_csv;
/* Refuses: a set of images is a folder. */
ds_loader ds_load_single_image;
#endif
