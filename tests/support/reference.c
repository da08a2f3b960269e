#include "tests/support/reference.h"

#include "autodiff/base/base.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reference {
    cJSON *root;
    double *arrays[128];
    int n_arrays;
};

reference *reference_read(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/reference/%s.json", LIMN_SOURCE_DIR, name);
    size_t size;
    ad_error error = { 0 };
    char *text = ad_file_read(path, SIZE_MAX, &size, &error);
    cr_assert(text, "%s", error.text);
    reference *ref = calloc(1, sizeof *ref);
    ref->root = cJSON_Parse(text);
    ad_free(text);
    cr_assert(ref->root, "%s is no JSON", path);
    return ref;
}

void reference_free(reference *ref)
{
    for (int i = 0; i < ref->n_arrays; i++)
        free(ref->arrays[i]);
    cJSON_Delete(ref->root);
    free(ref);
}

static size_t flatten(const cJSON *node, double *out, size_t room)
{
    if (cJSON_IsNumber(node)) {
        if (room)
            *out = node->valuedouble;
        return 1;
    }
    size_t count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, node)
    {
        size_t used = flatten(item, out + count, room > count ? room - count : 0);
        count += used;
    }
    return count;
}

static const double *take(reference *ref, const cJSON *node, size_t count)
{
    cr_assert(node, "no such key in the reference");
    double *out = calloc(count + 1, sizeof *out);
    cr_assert_eq(flatten(node, out, count), count);
    cr_assert_lt(ref->n_arrays, (int)(sizeof ref->arrays / sizeof *ref->arrays));
    ref->arrays[ref->n_arrays++] = out;
    return out;
}

const double *reference_array(reference *ref, const char *key, size_t count)
{
    const cJSON *node = ref->root;
    char part[64];
    while (node && *key) {
        size_t length = strcspn(key, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, key);
        node = cJSON_GetObjectItem(node, part);
        key += length + (key[length] == '.');
    }
    return take(ref, node, count);
}

const double *reference_entry(reference *ref, const char *object, const char *key, size_t count)
{
    return take(ref, cJSON_GetObjectItem(cJSON_GetObjectItem(ref->root, object), key), count);
}

double *reference_inputs(size_t rows, size_t features)
{
    double *x = malloc(rows * features * sizeof *x);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < features; j++)
            x[i * features + j] = sin((1 + 3 * (double)i) + (0.7 * (double)j) * (double)(i + 1));
    return x;
}

double *reference_sequences(size_t rows, size_t times, size_t features)
{
    double *x = malloc(rows * times * features * sizeof *x);
    for (size_t i = 0; i < rows; i++)
        for (size_t t = 0; t < times; t++)
            for (size_t j = 0; j < features; j++)
                x[(i * times + t) * features + j] =
                    sin(1 + 3 * (double)i + 5 * (double)t + 0.7 * (double)j * (double)(i + 1));
    return x;
}
