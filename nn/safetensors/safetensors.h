/* safetensors.h: named arrays in one file (.safetensors): eight bytes of header length, a JSON header, the data.
 *
 * Written whole or not at all. What is read is checked first: lengths, offsets, types and shapes come from a file that
 * somebody may have damaged or made up, and nothing in it is believed. */
#ifndef LIMN_NN_SAFETENSORS_SAFETENSORS_H
#define LIMN_NN_SAFETENSORS_SAFETENSORS_H
#include "autodiff/base.h"

enum { NN_TENSOR_RANK = 8 };

/* What is read, by the names that the format has. Another type is refused by its name. */
typedef enum {
    NN_F32,
    NN_F64,
    NN_F16,
    NN_BF16,
    NN_I64,
    NN_U64,
    NN_I32,
    NN_U32,
    NN_I16,
    NN_U16,
    NN_I8,
    NN_U8,
    NN_BOOL,
    NN_DTYPES
} nn_dtype;

typedef struct {
    const char *name;
    nn_dtype dtype;
    int rank;
    size_t shape[NN_TENSOR_RANK];
    const void *data; /* row-major; of a file, at any address */
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
/* The k-th pair whose key starts with `prefix`, its value a text; both NULL beyond the last. */
nn_pair nn_tensors_pair(const nn_tensors *file, const char *prefix, size_t k);

const char *nn_dtype_name(nn_dtype type);
bool nn_dtype_real(nn_dtype type);                    /* F16, BF16, F32 and F64 */
double nn_tensor_value(const nn_tensor *t, size_t i); /* of any type; 64-bit integers are rounded */
#endif
