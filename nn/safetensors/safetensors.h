/* safetensors.h: named arrays in one file (.safetensors): eight bytes of header length, a JSON header, the data.
 *
 * Written whole or not at all. What is read is checked first: lengths, offsets, types and shapes come from a file that
 * somebody may have damaged or made up, and nothing in it is believed. */
#ifndef LIMN_NN_SAFETENSORS_SAFETENSORS_H
#define LIMN_NN_SAFETENSORS_SAFETENSORS_H
#include "autodiff/base.h"

enum { NN_TENSOR_RANK = 8 };

typedef enum { NN_F32, NN_F64, NN_U64 } nn_dtype;

typedef struct {
    const char *name;
    nn_dtype dtype;
    int rank;
    size_t shape[NN_TENSOR_RANK];
    const void *data; /* row-major */
    size_t count;     /* filled when read */
} nn_tensor;

typedef struct {
    const char *key, *value;
} nn_pair;

/* Names must differ; the caller sees to it. */
int nn_tensors_write(const char *path, const nn_tensor *tensors, size_t n, const nn_pair *metadata, size_t n_metadata,
                     ad_error *error);

typedef struct nn_tensors nn_tensors;
nn_tensors *nn_tensors_read(const char *path, ad_error *error);
void nn_tensors_free(nn_tensors *file);
size_t nn_tensors_count(const nn_tensors *file);
const nn_tensor *nn_tensors_at(const nn_tensors *file, size_t k);
const nn_tensor *nn_tensors_find(const nn_tensors *file, const char *name); /* NULL: none of that name */
const char *nn_tensors_metadata(const nn_tensors *file, const char *key);   /* NULL: none */
#endif
