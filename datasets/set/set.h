/* set.h: what a set is made of, whatever it was read from: new rows, classes' names, the split, the scaling, and where
 * files are. A path in a function's head that reads from memory only names the data in messages. */
#ifndef LIMN_DATASETS_SET_SET_H
#define LIMN_DATASETS_SET_SET_H
#include "datasets/datasets.h"

/* A hostile header is refused before anything is allocated. */
#define DS_FILE ((size_t)1 << 31)   /* bytes of one file */
#define DS_VALUES ((size_t)1 << 30) /* numbers in x: 8 GiB */
#define DS_CLASSES ((size_t)4096)

/* ---- set.c: how every loader begins and ends ---- */

/* rows of `features` zeros, y (rows, targets), or none for 0 targets; its name is the path's last part. */
ds_data *ds_new(const char *path, size_t rows, size_t features, size_t targets, ad_error *error);
/* Copies the names of all data->classes. */
int ds_name_classes(ds_data *data, const char *const *names, ad_error *error);
/* Adds a clause to the set's note; what is not printable becomes '?'. */
void ds_note(ds_data *data, const char *format, ...) AD_PRINTF(2, 3);
/* Splits and scales: the first `train` rows are the files' own training part; 0: they have none. */
int ds_finish(ds_data *data, size_t train, const ds_options *options, ad_error *error);

/* ---- path.c ---- */

/* folder/file if it is there, else false; without a folder, whether the file is. */
bool ds_exists(const char *folder, const char *file, char *path, size_t size);
/* The path's name ends so. */
bool ds_ends(const char *path, const char *end);
#endif
