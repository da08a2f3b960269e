/* npz.h: one array of NumPy's .npz files, which are zip files of .npy files. */
#ifndef LIMN_DATASETS_FORMATS_NPZ_H
#define LIMN_DATASETS_FORMATS_NPZ_H
#include "datasets/datasets.h"

/* Does the path end in .npz, or in .npz:NAME? */
bool ds_npz_is(const char *path);
/* The bytes of the .npy file of that name; without a name, of the only one that there is. At most `limit`; freed with
 * ad_free. An error that lists the arrays where none is meant. */
char *ds_npz_read(const char *path, size_t limit, size_t *bytes, ad_error *error);

/* npy.c: what stands before the numbers of a .npy file; how many there are, or -1 with an error. */
enum { DS_NPY_HEADER = 512 };
size_t ds_npy_header(const char *descr, const size_t *shape, int rank, char head[DS_NPY_HEADER]);
int ds_npy_count(const char *path, const size_t *shape, int rank, size_t *count, ad_error *error);
#endif
