/* npy.c: NumPy's .npy files, format versions 1.0, 2.0 and 3.0.
 *
 *     "\x93NUMPY" major minor  length (2 bytes in 1.0, 4 later, little-endian)  header  data
 *     header = "{" entry { "," entry } [ "," ] "}" blanks
 *     entry  = 'descr' ":" string  |  'fortran_order' ":" ("True" | "False")  |  'shape' ":" tuple
 *     tuple  = "(" ")"  |  "(" number "," { number "," } [ number ] ")" */
#include "datasets/datasets.h"
#include "datasets/formats/gzip.h"
#include "datasets/formats/npz.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

#define NPY_LIMIT ((size_t)1 << 34)
#define ACCEPTED "accepted are booleans, integers and floats of 16, 32 and 64 bits"

/* An element's type as descr tells it: the order of its bytes, its kind (f, i, u, b) and how many bytes it has. */
typedef struct {
    char descr[64];
    bool big_endian;
    char kind;
    size_t size;
} npy_type;

/* Types that are no numbers, or have no place in a double, and what to save in their place. */
static const struct {
    const char *kind, *what, *cure;
} refused[] = {
    { "c", "complex numbers", "save a.real and a.imag" },
    { "f16", "floats of 16 bytes, which no other machine reads", "save a.astype('f8')" },
    { "f12", "floats of 12 bytes, which no other machine reads", "save a.astype('f8')" },
    { "O", "Python objects", "save np.array(a.tolist(), dtype='f8')" },
    { "U", "texts", "save numbers: np.unique(a, return_inverse=True)[1] numbers classes" },
    { "S", "texts", "save numbers: np.unique(a, return_inverse=True)[1] numbers classes" },
    { "M", "dates", "save numbers: a.astype('i8')" },
    { "m", "differences of dates", "save numbers: a.astype('i8')" },
    { "V2", "bytes of a type that NumPy does not name, as of bfloat16", "save a.astype('f4')" },
    { "V", "bytes of a type that NumPy does not name", "save a.astype('f4')" },
};

typedef struct {
    const char *path;
    ad_error *error;
    const char *start, *at, *end; /* the file, the place in it, the header's end */
    npy_type type;
    bool columns_first; /* Fortran order: the first axis runs fastest */
    ds_array *out;      /* shape and rank are set here */
} npy_header;

static uint64_t little_endian(const char *at, size_t bytes)
{
    uint64_t bits = 0;
    for (size_t i = bytes; i-- > 0;)
        bits = bits << 8 | (unsigned char)at[i];
    return bits;
}

static uint64_t big_endian(const char *at, size_t bytes)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < bytes; i++)
        bits = bits << 8 | (unsigned char)at[i];
    return bits;
}

/* The shape as Python writes it: (), (3,), (3, 4). */
static void shape_text(char *text, size_t size, const size_t *shape, int rank)
{
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < size)
        snprintf(text + used, size - used, rank == 1 ? ",)" : ")");
}

static int malformed(npy_header *h, const char *expected)
{
    return ad_fail(h->error, "%s: malformed npy header: %s expected at byte %zu", h->path, expected,
                   (size_t)(h->at - h->start));
}

static void blanks(npy_header *h)
{
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n'))
        h->at++;
}

/* True, and steps over it, if `word` comes next. */
static bool accept(npy_header *h, const char *word)
{
    blanks(h);
    size_t length = strlen(word);
    if ((size_t)(h->end - h->at) < length || memcmp(h->at, word, length) != 0)
        return false;
    h->at += length;
    return true;
}

/* A string in either quote, of printable characters, without escapes. */
static int read_string(npy_header *h, char *text, size_t size)
{
    const char *quote = accept(h, "'") ? "'" : accept(h, "\"") ? "\"" : NULL;
    if (!quote)
        return malformed(h, "a string");
    size_t length = 0;
    for (; h->at < h->end && *h->at != *quote; h->at++) {
        if (*h->at < ' ' || *h->at > '~' || *h->at == '\\' || length + 1 == size)
            return malformed(h, "the end of a short string");
        text[length++] = *h->at;
    }
    text[length] = 0;
    return accept(h, quote) ? 0 : malformed(h, "a closing quote");
}

static bool is_one_of(const char *text, const char *const *list)
{
    while (*list && strcmp(text, *list) != 0)
        list++;
    return *list != NULL;
}

static int read_type(npy_header *h)
{
    static const char *const known[] = { "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", NULL };
    npy_type *type = &h->type;
    blanks(h);
    if (h->at < h->end && *h->at == '[')
        return ad_fail(h->error, "%s: a structured type: save each of its fields; " ACCEPTED, h->path);
    if (read_string(h, type->descr, sizeof type->descr) != 0)
        return -1;
    const char *kind = type->descr + (type->descr[0] && strchr("<>|=", type->descr[0]) ? 1 : 0);
    if (is_one_of(kind, known)) {
        type->big_endian = type->descr[0] == '>';
        type->kind = kind[0];
        type->size = (size_t)(kind[1] - '0');
        return 0;
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strncmp(kind, refused[i].kind, strlen(refused[i].kind)) == 0)
            return ad_fail(h->error, "%s: type '%s': %s: %s; " ACCEPTED, h->path, type->descr, refused[i].what,
                           refused[i].cure);
    return ad_fail(h->error, "%s: type '%s' is unknown; " ACCEPTED, h->path, type->descr);
}

static int read_shape(npy_header *h)
{
    ds_array *out = h->out;
    if (!accept(h, "("))
        return malformed(h, "'('");
    while (!accept(h, ")")) {
        if (h->at == h->end || *h->at < '0' || *h->at > '9')
            return malformed(h, "a size or ')'");
        if (out->rank == DS_RANK)
            return ad_fail(h->error, "%s: more than %d axes", h->path, DS_RANK);
        size_t size = 0;
        for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++)
            if (__builtin_mul_overflow(size, (size_t)10, &size) ||
                __builtin_add_overflow(size, (size_t)(*h->at - '0'), &size))
                return ad_fail(h->error, "%s: the size of axis %d does not fit a machine word", h->path, out->rank);
        out->shape[out->rank++] = size;
        if (!accept(h, ",")) {
            if (out->rank == 1 || !accept(h, ")"))
                return malformed(h, "','");
            return 0;
        }
    }
    return 0;
}

static int read_order(npy_header *h)
{
    h->columns_first = accept(h, "True");
    return h->columns_first || accept(h, "False") ? 0 : malformed(h, "True or False");
}

static int read_dict(npy_header *h)
{
    static const struct {
        const char *key;
        int (*read)(npy_header *);
    } entries[] = { { "descr", read_type }, { "fortran_order", read_order }, { "shape", read_shape } };
    bool seen[3] = { false };
    if (!accept(h, "{"))
        return malformed(h, "'{'");
    while (!accept(h, "}")) {
        char key[64];
        if (read_string(h, key, sizeof key) != 0)
            return -1;
        size_t i = 0;
        while (i < 3 && strcmp(key, entries[i].key) != 0)
            i++;
        if (i == 3 || seen[i])
            return ad_fail(h->error, "%s: malformed npy header: key '%s' %s", h->path, key,
                           i == 3 ? "is unknown" : "comes twice");
        seen[i] = true;
        if (!accept(h, ":"))
            return malformed(h, "':'");
        if (entries[i].read(h) != 0)
            return -1;
        if (!accept(h, ",")) {
            if (!accept(h, "}"))
                return malformed(h, "',' or '}'");
            break;
        }
    }
    blanks(h);
    if (h->at != h->end)
        return malformed(h, "the header's end");
    for (size_t i = 0; i < 3; i++)
        if (!seen[i])
            return ad_fail(h->error, "%s: malformed npy header: no '%s'", h->path, entries[i].key);
    return 0;
}

/* The number of elements, which must fill exactly the bytes from h->end on. */
static int count_elements(const npy_header *h, size_t bytes, size_t *count)
{
    char shape[256];
    shape_text(shape, sizeof shape, h->out->shape, h->out->rank);
    bool overflow = false, empty = false;
    size_t wanted = h->type.size;
    for (int i = 0; i < h->out->rank; i++) {
        empty = empty || !h->out->shape[i];
        overflow = overflow || __builtin_mul_overflow(wanted, h->out->shape[i], &wanted);
    }
    if (empty)
        wanted = 0;
    else if (overflow)
        return ad_fail(h->error, "%s: shape %s is larger than any memory", h->path, shape);
    if (wanted > bytes)
        return ad_fail(h->error, "%s: truncated: shape %s of %s takes %zu bytes of data, the file has %zu", h->path,
                       shape, h->type.descr, wanted, bytes);
    if (wanted < bytes)
        return ad_fail(h->error, "%s: %zu bytes follow the data: shape %s of %s takes %zu bytes, the file has %zu",
                       h->path, bytes - wanted, shape, h->type.descr, wanted, bytes);
    *count = wanted / h->type.size;
    return 0;
}

/* A float of 16 bits, IEEE 754: 1 bit of sign, 5 of exponent, 10 of fraction. */
static double of_half(uint64_t bits)
{
    int exponent = (int)(bits >> 10 & 31);
    double fraction = (double)(bits & 1023), sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return fraction > 0 ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

static double of_float(uint64_t bits, size_t size)
{
    double wide;
    float narrow;
    uint32_t low = (uint32_t)bits;
    if (size == 2)
        return of_half(bits);
    memcpy(&wide, &bits, sizeof wide);
    memcpy(&narrow, &low, sizeof narrow);
    return size == 4 ? (double)narrow : wide;
}

static double decode(const npy_type *type, const char *at)
{
    uint64_t bits = type->big_endian ? big_endian(at, type->size) : little_endian(at, type->size);
    unsigned unused = (unsigned)(64 - 8 * type->size); /* the bits above the number's own */
    switch (type->kind) {
    case 'f':
        return of_float(bits, type->size);
    case 'i':
        return (double)((int64_t)(bits << unused) >> unused);
    case 'b':
        return bits != 0;
    default:
        return (double)bits;
    }
}

/* Where element i of the file stands in row-major order. */
static size_t place(const npy_header *h, size_t i)
{
    const ds_array *out = h->out;
    size_t at = 0, index[DS_RANK];
    if (!h->columns_first)
        return i;
    for (int axis = 0; axis < out->rank; axis++) {
        index[axis] = i % out->shape[axis];
        i /= out->shape[axis];
    }
    for (int axis = 0; axis < out->rank; axis++)
        at = at * out->shape[axis] + index[axis];
    return at;
}

/* Decodes `count` elements into out->data. */
static int read_elements(const npy_header *h, size_t count)
{
    const double exact = 9007199254740992.0; /* 2^53: up to here every integer is a double */
    const npy_type *type = &h->type;
    double *data = ad_alloc(count, sizeof *data, h->path, h->error);
    if (!data)
        return -1;
    for (size_t i = 0; i < count; i++) {
        double value = decode(type, h->end + i * type->size);
        if (type->kind != 'f' && fabs(value) >= exact) {
            ad_fail(h->error, "%s: element %zu (counted from 0) is about %g: integers must be below 2^53 in size",
                    h->path, place(h, i), value);
            ad_free(data);
            return -1;
        }
        data[place(h, i)] = value;
    }
    h->out->data = data;
    h->out->integers = type->kind != 'f';
    return 0;
}

static int read_file(const char *path, const char *file, size_t bytes, ds_array *out, ad_error *error)
{
    if (!bytes)
        return ad_fail(error, "%s: empty file, not npy", path);
    if (bytes < 6 || memcmp(file, "\x93NUMPY", 6) != 0)
        return ad_fail(error, "%s: not an npy file", path);
    if (bytes < 8)
        return ad_fail(error, "%s: truncated npy header", path);
    int major = (unsigned char)file[6], minor = (unsigned char)file[7];
    if (major < 1 || major > 3 || minor != 0)
        return ad_fail(error, "%s: npy version %d.%d; accepted are 1.0, 2.0 and 3.0", path, major, minor);
    size_t width = major == 1 ? 2 : 4, start = 8 + width;
    size_t length = bytes >= start ? (size_t)little_endian(file + 8, width) : 0;
    if (bytes < start || length > bytes - start)
        return ad_fail(error, "%s: truncated npy header: %zu bytes promised, the file has %zu bytes", path, length,
                       bytes);
    npy_header h = {
        .path = path, .error = error, .start = file, .at = file + start, .end = file + start + length, .out = out
    };
    size_t count = 0;
    if (read_dict(&h) != 0 || count_elements(&h, bytes - start - length, &count) != 0)
        return -1;
    return read_elements(&h, count);
}

int ds_npy_read(const char *path, ds_array *out, ad_error *error)
{
    *out = (ds_array){ 0 };
    size_t bytes = 0;
    if (!ad_given(path, "a file's name", error))
        return -1;
    char *file =
        ds_npz_is(path) ? ds_npz_read(path, NPY_LIMIT, &bytes, error) : ds_unfold(path, NPY_LIMIT, &bytes, error);
    if (!file)
        return -1;
    int failed = read_file(path, file, bytes, out, error);
    ad_free(file);
    if (failed)
        *out = (ds_array){ 0 };
    return failed;
}

/* (rows, 3, 32, 32), as PyTorch has pictures, would be read as lines of 32 x 32 numbers: its channels come first. */
static int check_channels(const char *path, const ds_array *a, const char *shape, ad_error *error)
{
    if (a->rank != 4 || a->shape[1] > 4 || a->shape[3] <= 4)
        return 0;
    return ad_fail(error, "%s: shape %s has the channels before height and width: save a.transpose(0, 2, 3, 1)", path,
                   shape);
}

/* The rank is one of least..most, no axis is empty, and all elements are finite. */
static int check(const char *path, const ds_array *a, int minimum, int maximum, ad_error *error)
{
    static const char *const names[] = { "a vector (rows,)", "a matrix (rows, columns)",
                                         "an array of sequences (rows, time, features)",
                                         "an array of pictures (rows, height, width, channels)" };
    char shape[256];
    shape_text(shape, sizeof shape, a->shape, a->rank);
    const char *wanted = names[a->rank < minimum ? minimum - 1 : (a->rank > maximum ? maximum : a->rank) - 1];
    if (a->rank < minimum || a->rank > maximum)
        return ad_fail(error, "%s: shape %s has %d axes, %s has %d%s", path, shape, a->rank, wanted,
                       a->rank < minimum ? minimum : maximum,
                       a->rank == 1 && minimum == 2 ? ": save x.reshape(-1, 1) where each number is a row" : "");
    size_t columns = 1;
    for (int i = 1; i < a->rank; i++)
        columns *= a->shape[i];
    if (!a->shape[0] || !columns)
        return ad_fail(error, "%s: shape %s is empty, %s is needed", path, shape, wanted);
    if (check_channels(path, a, shape, error) != 0)
        return -1;
    for (size_t i = 0; i < a->shape[0] * columns; i++)
        if (!isfinite(a->data[i]))
            return ad_fail(error, "%s: row %zu, column %zu (counted from 0) is %s; all elements must be finite", path,
                           i / columns, i % columns, isnan(a->data[i]) ? "NaN" : "infinite");
    return 0;
}

static int read_rank(const char *path, ds_array *out, int minimum, int maximum, ad_error *error)
{
    if (ds_npy_read(path, out, error) != 0)
        return -1;
    if (check(path, out, minimum, maximum, error) == 0)
        return 0;
    ds_array_free(out);
    return -1;
}

int ds_npy_matrix(const char *path, ds_array *out, ad_error *error)
{
    return read_rank(path, out, 2, 2, error);
}

int ds_npy_vector(const char *path, ds_array *out, ad_error *error)
{
    return read_rank(path, out, 1, 1, error);
}

int ds_npy_samples(const char *path, ds_array *out, ad_error *error)
{
    return read_rank(path, out, 2, 4, error);
}

void ds_array_free(ds_array *array)
{
    if (!array)
        return;
    ad_free(array->data);
    *array = (ds_array){ 0 };
}

/* The magic, the version, the length and the header, padded with blanks to a multiple of 64 bytes. Returns its
 * bytes. */
size_t ds_npy_header(const char *descr, const size_t *shape, int rank, char head[DS_NPY_HEADER])
{
    char tuple[256];
    shape_text(tuple, sizeof tuple, shape, rank);
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    size_t used = 10 + (size_t)snprintf(head + 10, DS_NPY_HEADER - 10,
                                        "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, tuple);
    size_t total = (used + 1 + 63) / 64 * 64;
    memset(head + used, ' ', total - used);
    head[total - 1] = '\n';
    head[8] = (char)((total - 10) & 255);
    head[9] = (char)((total - 10) >> 8);
    return total;
}

/* The elements as little-endian bytes, a block at a time. */
static int write_elements(ad_file *file, const double *data, size_t count, ad_error *error)
{
    unsigned char block[8192];
    for (size_t done = 0; done < count;) {
        size_t used = 0;
        for (; done < count && used < sizeof block; done++) {
            uint64_t bits = 0;
            memcpy(&bits, &data[done], sizeof bits);
            for (int i = 0; i < 8; i++)
                block[used++] = (unsigned char)(bits >> (8 * i));
        }
        if (ad_file_write(file, block, used, error) != 0)
            return -1;
    }
    return 0;
}

int ds_npy_count(const char *path, const size_t *shape, int rank, size_t *count, ad_error *error)
{
    if (!ad_given(path, "a file's name", error))
        return -1;
    if (rank < 0 || rank > DS_RANK)
        return ad_fail(error, "%s: an array of %d axes; 0 to %d can be written", path, rank, DS_RANK);
    *count = 1;
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(*count, shape[i], count))
            return ad_fail(error, "%s: the array is larger than any memory", path);
    return 0;
}

int ds_npy_write(const char *path, const double *data, const size_t *shape, int rank, ad_error *error)
{
    char head[DS_NPY_HEADER];
    size_t count = 0;
    ad_file *file = ds_npy_count(path, shape, rank, &count, error) == 0 ? ad_file_create(path, error) : NULL;
    if (!file)
        return -1;
    if (ad_file_write(file, head, ds_npy_header("<f8", shape, rank, head), error) != 0 ||
        write_elements(file, data, count, error) != 0) {
        ad_file_discard(file);
        return -1;
    }
    return ad_file_close(file, error);
}
