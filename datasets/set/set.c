/* set.c: how every loader begins and ends: a set of so many rows, its classes' names, its split and its scaling;
 * views of a set, and its end. */
#include "datasets/set/set.h"

#include <Random123/philox.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

ds_data *ds_new(const char *path, size_t rows, size_t features, size_t targets, ad_error *error)
{
    if (!rows || !features) {
        ad_fail(error, "%s: no data: %zu rows of %zu numbers", path, rows, features);
        return NULL;
    }
    if (rows > DS_VALUES / features || (targets && rows > DS_VALUES / targets)) {
        ad_fail(error, "%s: %zu rows of %zu numbers; at most %zu numbers are read", path, rows, features, DS_VALUES);
        return NULL;
    }
    ds_data *data = ad_alloc(1, sizeof *data, "a data set", error);
    if (!data)
        return NULL;
    *data = (ds_data){ .rows = rows, .features = features, .targets = targets };
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    size_t base = length;
    while (base && path[base - 1] != '/')
        base--;
    if (base == length)
        base = 0;
    snprintf(data->name, sizeof data->name, "%.*s", (int)(length - base > 63 ? 63 : length - base), path + base);
    data->x = ad_alloc(rows * features, sizeof *data->x, "a data set's inputs", error);
    if (data->x && targets)
        data->y = ad_alloc(rows * targets, sizeof *data->y, "a data set's labels", error);
    if (data->x && (data->y || !targets))
        return data;
    ds_free(data);
    return NULL;
}

int ds_name_classes(ds_data *data, const char *const *names, ad_error *error)
{
    size_t bytes = data->classes * sizeof *data->class_names;
    for (size_t k = 0; k < data->classes; k++)
        bytes += strlen(names[k]) + 1;
    if (!(data->class_names = ad_alloc(bytes, 1, "the classes' names", error)))
        return -1;
    char *at = (char *)(data->class_names + data->classes);
    for (size_t k = 0; k < data->classes; k++) {
        size_t length = strlen(names[k]) + 1;
        data->class_names[k] = memcpy(at, names[k], length);
        at += length;
    }
    return 0;
}

void ds_note(ds_data *data, const char *format, ...)
{
    size_t size = sizeof data->note, used = strlen(data->note), start = used;
    if (used)
        used += (size_t)snprintf(data->note + used, size - used, "; ");
    if (used < size) {
        va_list args;
        va_start(args, format);
        used += (size_t)ad_vsnprintf(data->note + used, size - used, format, args);
        va_end(args);
    }
    for (char *c = data->note + start; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    if (used < size)
        return;
    size_t cut = size - 4;
    while (cut && ((unsigned char)data->note[cut] & 0xC0) == 0x80) /* no half character of UTF-8 */
        cut--;
    memcpy(data->note + cut, "...", 4);
}

/* A whole number below `count`, uniform up to 2^-52: draw `index` of the seed's stream. */
static size_t below(size_t count, uint64_t seed, size_t index)
{
    philox4x32_key_t key = { { (uint32_t)seed, (uint32_t)(seed >> 32) } };
    philox4x32_ctr_t counter = { { (uint32_t)index, (uint32_t)(index >> 16 >> 16), 0, 0 } };
    philox4x32_ctr_t word = philox4x32(counter, key);
    uint64_t bits = ((uint64_t)word.v[0] << 32 | word.v[1]) >> 12;
    return (size_t)((double)(int64_t)bits * 0x1p-52 * (double)count);
}

static void swap(double *a, double *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

/* Fisher and Yates: every order of the rows is equally likely. */
void ds_shuffle(ds_data *data, size_t rows, uint64_t seed)
{
    for (size_t r = rows < data->rows ? rows : data->rows; r-- > 1;) {
        size_t other = below(r + 1, seed, r);
        if (other == r)
            continue;
        swap(data->x + r * data->features, data->x + other * data->features, data->features);
        if (data->y)
            swap(data->y + r * data->targets, data->y + other * data->targets, data->targets);
    }
}

int ds_finish(ds_data *data, size_t train, const ds_options *options, ad_error *error)
{
    double test = options->test;
    if (!(test >= 0 && test < 1))
        return ad_fail(error, "%s: the fraction to test is %g, not from 0 to 1", data->name, test);
    if (data->classes == 1)
        return ad_fail(error, "%s: all %zu rows are of one class; at least two are needed", data->name, data->rows);
    if (test > 0 || !train) {
        ds_shuffle(data, data->rows, options->seed);
        train = test > 0 ? (size_t)floor((double)data->rows * (1 - test) + 0.5) : data->rows * 4 / 5;
        if (train == data->rows)
            train--;
    }
    if (!train)
        train = 1;
    ds_options chosen = { .scaling = options->scaling, .train = options->train ? options->train : train };
    return ds_scale(data, &chosen, error);
}

ds_data ds_split(const ds_data *data, size_t first, size_t count)
{
    ds_data view = *data;
    if (first > data->rows)
        first = data->rows;
    view.rows = count < data->rows - first ? count : data->rows - first;
    view.x += first * data->features;
    view.y = data->y ? data->y + first * data->targets : NULL;
    view.train = data->train > first ? data->train - first : 0;
    if (view.train > view.rows)
        view.train = view.rows;
    return view;
}

void ds_free(ds_data *data)
{
    if (!data)
        return;
    ad_free(data->x);
    ad_free(data->y);
    ad_free(data->class_names);
    ad_free(data);
}
