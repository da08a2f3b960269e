/* npy.c: one array. What is read is written and read again, the same. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

static size_t elements(const ds_array *array)
{
    size_t size = 1;
    for (int k = 0; k < array->rank; k++)
        size *= array->shape[k];
    return size;
}

static void comes_back(const ds_array *array)
{
    ad_error error = { 0 };
    ds_array again = { 0 };
    fuzz_holds(ds_npy_write(fuzz_in("y.npy"), array->data, array->shape, array->rank, &error) == 0 &&
               ds_npy_read(fuzz_in("y.npy"), &again, &error) == 0 && again.rank == array->rank &&
               memcmp(again.shape, array->shape, sizeof again.shape) == 0 &&
               memcmp(again.data, array->data, elements(array) * sizeof *array->data) == 0);
    ds_array_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static int (*const readers[])(const char *, ds_array *, ad_error *) = { ds_npy_read, ds_npy_matrix, ds_npy_vector,
                                                                            ds_npy_samples };
    if (!count)
        return 0;
    fuzz_put("x.npy", bytes + 1, count - 1);
    for (int k = 0; k < 4; k++) {
        ad_error error = { 0 };
        ds_array array = { 0 };
        int failed = readers[k](fuzz_in("x.npy"), &array, &error);
        fuzz_verdict(failed != 0, &error);
        if (!failed && k == 0)
            comes_back(&array);
        ds_array_free(&array);
    }
    fuzz_load("x.npy", 0, bytes[0], NULL);
    return 0;
}
