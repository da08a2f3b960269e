/* npz.h: one array of NumPy's .npz files, which are zip files of .npy files. */
#ifndef LIMN_DATASETS_FORMATS_NPZ_H
#define LIMN_DATASETS_FORMATS_NPZ_H
#include "datasets/datasets.h"

/* Does the path end in .npz, or in .npz:NAME? */
bool ds_npz_is(const char *path);
/* The bytes of the .npy file of that name; without a name, of the only one that there is. At most `limit`; freed with
 * ad_free. An error that lists the arrays where none is meant. */
char *ds_npz_read(const char *path, size_t limit, size_t *bytes, ad_error *error);
#endif
