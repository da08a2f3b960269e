/* safetensors.c: writing and reading .safetensors files. */
#include "nn/safetensors/safetensors.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian, and data is not swapped");

static const size_t max_header = (size_t)64 << 20;
static const struct {
    const char *name;
    size_t bytes;
    bool real;
} dtypes[NN_DTYPES] = {
    [NN_F32] = { "F32", 4, true },    [NN_F64] = { "F64", 8, true },  [NN_F16] = { "F16", 2, true },
    [NN_BF16] = { "BF16", 2, true },  [NN_I64] = { "I64", 8, false }, [NN_U64] = { "U64", 8, false },
    [NN_I32] = { "I32", 4, false },   [NN_U32] = { "U32", 4, false }, [NN_I16] = { "I16", 2, false },
    [NN_U16] = { "U16", 2, false },   [NN_I8] = { "I8", 1, false },   [NN_U8] = { "U8", 1, false },
    [NN_BOOL] = { "BOOL", 1, false },
};

const char *nn_dtype_name(nn_dtype type)
{
    return dtypes[type].name;
}

bool nn_dtype_real(nn_dtype type)
{
    return dtypes[type].real;
}

static size_t tensor_count(const nn_tensor *t)
{
    size_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= t->shape[i];
    return count;
}

/* ---- writing ---- */
static cJSON *header_of(const nn_tensor *tensors, size_t n, const nn_pair *metadata, size_t n_metadata)
{
    cJSON *root = cJSON_CreateObject(), *pairs = cJSON_AddObjectToObject(root, "__metadata__");
    bool whole = root && pairs;
    for (size_t i = 0; i < n_metadata; i++)
        whole = whole && cJSON_AddStringToObject(pairs, metadata[i].key, metadata[i].value);
    size_t offset = 0;
    for (size_t i = 0; i < n && whole; i++) {
        const nn_tensor *t = &tensors[i];
        size_t end = offset + tensor_count(t) * dtypes[t->dtype].bytes;
        cJSON *entry = cJSON_AddObjectToObject(root, t->name);
        whole = entry && cJSON_AddStringToObject(entry, "dtype", dtypes[t->dtype].name);
        cJSON *shape = whole ? cJSON_AddArrayToObject(entry, "shape") : NULL;
        whole = whole && shape;
        for (int k = 0; k < t->rank && whole; k++)
            whole = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[k]));
        cJSON *offsets = whole ? cJSON_AddArrayToObject(entry, "data_offsets") : NULL;
        whole = whole && offsets && cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)offset)) &&
                cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)end));
        offset = end;
    }
    if (whole)
        return root;
    cJSON_Delete(root);
    return NULL;
}

int nn_tensors_write(const char *path, const nn_tensor *tensors, size_t n, const nn_pair *metadata, size_t n_metadata,
                     ad_error *error)
{
    static const char spaces[8] = "        ";
    cJSON *root = header_of(tensors, n, metadata, n_metadata);
    char *header = root ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    ad_file *file = header ? ad_file_create(path, error) : NULL;
    if (!file) {
        cJSON_free(header);
        return ad_fail(error, "%s: out of memory for its header", path);
    }
    size_t used = strlen(header), padding = (8 - used % 8) % 8; /* the data starts at a multiple of 8 */
    uint64_t length = used + padding;
    int failed = ad_file_write(file, &length, sizeof length, error);
    if (!failed)
        failed = ad_file_write(file, header, used, error);
    if (!failed && padding)
        failed = ad_file_write(file, spaces, padding, error);
    for (size_t i = 0; i < n && !failed; i++) {
        size_t bytes = tensor_count(&tensors[i]) * dtypes[tensors[i].dtype].bytes;
        if (bytes)
            failed = ad_file_write(file, tensors[i].data, bytes, error);
    }
    cJSON_free(header);
    if (failed) {
        ad_file_discard(file);
        return -1;
    }
    return ad_file_close(file, error);
}

/* ---- reading ---- */
struct nn_tensors {
    char *bytes;
    cJSON *root;
    nn_tensor *tensors;
    size_t n;
};

void nn_tensors_free(nn_tensors *file)
{
    if (!file)
        return;
    cJSON_Delete(file->root);
    ad_free(file->bytes);
    ad_free(file->tensors);
    ad_free(file);
}

/* A number of the header that is a size. */
static bool whole_number(const cJSON *item, size_t *out)
{
    if (!cJSON_IsNumber(item))
        return false;
    double x = item->valuedouble;
    if (!(x >= 0 && x <= 9007199254740992.0) || fabs(x - floor(x)) > 0)
        return false;
    *out = (size_t)x;
    return true;
}

static int read_entry(const char *path, const cJSON *entry, const char *data, size_t n_data, nn_tensor *t,
                      size_t *start, ad_error *error)
{
    const char *name = t->name = entry->string;
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    if (!cJSON_IsObject(entry) || !cJSON_IsString(dtype) || !cJSON_IsArray(shape) || !cJSON_IsArray(offsets))
        return ad_fail(error, "%s: tensor %.80s: dtype, shape or data_offsets is missing", path, name);
    size_t kind = 0, end = 0, count = 1, bytes = 0;
    while (kind < NN_DTYPES && strcmp(dtypes[kind].name, dtype->valuestring) != 0)
        kind++;
    if (kind == NN_DTYPES)
        return ad_fail(error,
                       "%s: tensor %.80s: type %.20s is not read: write it as F32 (in PyTorch: tensor.float()); read "
                       "are F64, F32, F16, BF16, integers and BOOL",
                       path, name, dtype->valuestring);
    t->dtype = (nn_dtype)kind;
    const cJSON *item;
    cJSON_ArrayForEach(item, shape)
    {
        size_t size;
        if (t->rank == NN_TENSOR_RANK || !whole_number(item, &size))
            return ad_fail(error, "%s: tensor %.80s: its shape is not a list of at most %d sizes", path, name,
                           NN_TENSOR_RANK);
        t->shape[t->rank++] = size;
        if (__builtin_mul_overflow(count, size, &count))
            return ad_fail(error, "%s: tensor %.80s: its shape is too large", path, name);
    }
    if (cJSON_GetArraySize(offsets) != 2 || !whole_number(cJSON_GetArrayItem(offsets, 0), start) ||
        !whole_number(cJSON_GetArrayItem(offsets, 1), &end) || *start > end)
        return ad_fail(error, "%s: tensor %.80s: data_offsets are not two ordered numbers", path, name);
    if (end > n_data)
        return ad_fail(error, "%s: tensor %.80s: its data ends at byte %zu, the file has %zu: cut off?", path, name,
                       end, n_data);
    if (__builtin_mul_overflow(count, dtypes[kind].bytes, &bytes) || end - *start != bytes)
        return ad_fail(error, "%s: tensor %.80s: %zu bytes of data, its shape takes %zu", path, name, end - *start,
                       bytes);
    t->count = count;
    t->data = data + *start;
    return 0;
}

static const char *end_of(const nn_tensor *t)
{
    return (const char *)t->data + t->count * dtypes[t->dtype].bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(nn_tensor *const *)a)->name, (*(nn_tensor *const *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const nn_tensor *s = *(nn_tensor *const *)a, *t = *(nn_tensor *const *)b;
    const char *from = s->data, *other = t->data;
    return from != other ? (from > other) - (from < other) : (end_of(s) > end_of(t)) - (end_of(s) < end_of(t));
}

/* Data must neither overlap nor leave holes; cJSON keeps the header's order, which need not be the data's. */
static int check_cover(const char *path, const nn_tensors *file, size_t n_data, ad_error *error)
{
    size_t total = 0;
    int status = 0;
    const nn_tensor **sorted = ad_alloc(file->n + 1, sizeof *sorted, "tensors", error);
    if (!sorted)
        return -1;
    for (size_t i = 0; i < file->n; i++) {
        sorted[i] = &file->tensors[i];
        total += (size_t)(end_of(sorted[i]) - (const char *)sorted[i]->data);
    }
    qsort(sorted, file->n, sizeof(const nn_tensor *), by_name);
    for (size_t i = 1; i < file->n && !status; i++)
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            status = ad_fail(error, "%s: tensor %.80s stands twice", path, sorted[i]->name);
    qsort(sorted, file->n, sizeof(const nn_tensor *), by_place);
    for (size_t i = 1; i < file->n && !status; i++)
        if ((const char *)sorted[i]->data < end_of(sorted[i - 1]))
            status =
                ad_fail(error, "%s: tensors %.80s and %.80s share data", path, sorted[i - 1]->name, sorted[i]->name);
    if (total != n_data && !status)
        status = ad_fail(error, "%s: %zu bytes of data, the tensors take %zu", path, n_data, total);
    ad_free(sorted);
    return status;
}

/* torch.save writes a zip file, or in older versions a pickle. */
static bool is_of_torch(const char *bytes, size_t n_bytes)
{
    return n_bytes >= 4 && (memcmp(bytes, "PK\x03\x04", 4) == 0 || memcmp(bytes, "\x80\x02\x8a\x0a", 4) == 0);
}

static int parse(const char *path, nn_tensors *file, size_t n_bytes, ad_error *error)
{
    uint64_t length = 0;
    if (is_of_torch((const char *)file->bytes, n_bytes))
        return ad_fail(error,
                       "%s: no .safetensors file but one of torch.save: load it in Python, and save the state_dict by "
                       "safetensors.torch.save_file",
                       path);
    if (n_bytes < sizeof length)
        return ad_fail(error, "%s: %zu bytes: not a .safetensors file", path, n_bytes);
    memcpy(&length, file->bytes, sizeof length);
    if (length > n_bytes - sizeof length || length > max_header)
        return ad_fail(error, "%s: a header of %llu bytes in a file of %zu: not a .safetensors file, or cut off", path,
                       (unsigned long long)length, n_bytes);
    const char *header = file->bytes + sizeof length, *data = file->bytes;
    size_t n_data = n_bytes - sizeof length - (size_t)length;
    if (length == 0 || header[0] != '{' || !(file->root = cJSON_ParseWithLength(header, (size_t)length)))
        return ad_fail(error, "%s: its header is not JSON", path);
    memmove(file->bytes, header + length, n_data); /* to where memory is aligned, whatever the header's length */
    size_t room = (size_t)cJSON_GetArraySize(file->root);
    if (room > 65536)
        return ad_fail(error, "%s: %zu tensors, at most 65536 are read", path, room);
    if (!(file->tensors = ad_alloc(room + 1, sizeof *file->tensors, "tensors", error)))
        return -1;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, file->root)
    {
        size_t start = 0;
        if (strcmp(entry->string, "__metadata__") == 0)
            continue;
        if (read_entry(path, entry, data, n_data, &file->tensors[file->n++], &start, error) != 0)
            return -1;
    }
    return check_cover(path, file, n_data, error);
}

nn_tensors *nn_tensors_read(const char *path, ad_error *error)
{
    size_t n_bytes = 0;
    nn_tensors *file = ad_alloc(1, sizeof *file, "a file", error);
    if (!file)
        return NULL;
    file->bytes = ad_file_read(path, SIZE_MAX / 4, &n_bytes, error);
    if (!file->bytes || parse(path, file, n_bytes, error) != 0) {
        nn_tensors_free(file);
        return NULL;
    }
    return file;
}

size_t nn_tensors_count(const nn_tensors *file)
{
    return file->n;
}

const nn_tensor *nn_tensors_at(const nn_tensors *file, size_t k)
{
    return &file->tensors[k];
}

const nn_tensor *nn_tensors_find(const nn_tensors *file, const char *name)
{
    for (size_t i = 0; i < file->n; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *nn_tensors_metadata(const nn_tensors *file, const char *key)
{
    const cJSON *pairs = cJSON_GetObjectItemCaseSensitive(file->root, "__metadata__");
    const cJSON *item = pairs ? cJSON_GetObjectItemCaseSensitive(pairs, key) : NULL;
    return item && cJSON_IsString(item) ? item->valuestring : NULL;
}

nn_pair nn_tensors_pair(const nn_tensors *file, const char *prefix, size_t k)
{
    const cJSON *item, *pairs = cJSON_GetObjectItemCaseSensitive(file->root, "__metadata__");
    cJSON_ArrayForEach(item, pairs)
    {
        if (cJSON_IsString(item) && item->string && strncmp(item->string, prefix, strlen(prefix)) == 0 && k-- == 0)
            return (nn_pair){ item->string, item->valuestring };
    }
    return (nn_pair){ NULL, NULL };
}

/* ---- numbers ---- */
/* Half precision: sign, 5 bits of exponent, 10 of mantissa. */
static double from_half(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    double mantissa = bits & 1023, x;
    if (exponent == 31)
        x = mantissa > 0 ? NAN : INFINITY;
    else if (exponent == 0)
        x = ldexp(mantissa, -24);
    else
        x = ldexp(1024 + mantissa, exponent - 25);
    return bits >> 15 ? -x : x;
}

/* The upper half of a float. */
static double from_bfloat(uint16_t bits)
{
    uint32_t whole = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &whole, sizeof x);
    return (double)x;
}

#define READ(type)                                                                                                     \
    {                                                                                                                  \
        type x;                                                                                                        \
        memcpy(&x, at, sizeof x);                                                                                      \
        return (double)x;                                                                                              \
    }

double nn_tensor_value(const nn_tensor *t, size_t i)
{
    const char *at = (const char *)t->data + i * dtypes[t->dtype].bytes;
    uint16_t half;
    switch (t->dtype) {
    case NN_F32:
        READ(float)
    case NN_F64:
        READ(double)
    case NN_F16:
        memcpy(&half, at, sizeof half);
        return from_half(half);
    case NN_BF16:
        memcpy(&half, at, sizeof half);
        return from_bfloat(half);
    case NN_I64:
        READ(int64_t)
    case NN_U64:
        READ(uint64_t)
    case NN_I32:
        READ(int32_t)
    case NN_U32:
        READ(uint32_t)
    case NN_I16:
        READ(int16_t)
    case NN_U16:
        READ(uint16_t)
    case NN_I8:
        READ(int8_t)
    case NN_U8:
    case NN_BOOL:
    default:
        READ(uint8_t)
    }
}
