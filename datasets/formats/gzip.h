/* gzip.h: a file's bytes in order, unfolded if it is gzipped. */
#ifndef LIMN_DATASETS_FORMATS_GZIP_H
#define LIMN_DATASETS_FORMATS_GZIP_H
#include "datasets/datasets.h"

/* Of a gzip file of several members, as bgzip and pigz write them, the bytes are those of all; zeros may follow. */
typedef struct ds_source ds_source;
ds_source *ds_source_open(const char *path, ad_error *error);
/* Fewer bytes than wanted come only at the end, where a gzip file's checksum is compared. */
int ds_source_read(ds_source *source, void *out, size_t bytes, size_t *got, ad_error *error);
/* The most bytes that the whole source can have; *exact if it is their number. */
size_t ds_source_maximum(const ds_source *source, bool *exact);
void ds_source_close(ds_source *source);
/* All of it, unfolded if it is gzipped, as ad_file_read reads a file; neither it nor the file has more than `limit`. */
char *ds_unfold(const char *path, size_t limit, size_t *bytes, ad_error *error);
#endif
