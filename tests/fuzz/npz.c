/* npz.c: NumPy's zip files, by the only member and by a name. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (!count)
        return 0;
    fuzz_put("x.npz", bytes + 1, count - 1);
    static const char *const paths[] = { "x.npz", "x.npz:a", "x.npz:arr_0", "x.npz:" };
    for (int k = 0; k < 4; k++) {
        ad_error error = { 0 };
        ds_array array = { 0 };
        fuzz_verdict(ds_npy_read(fuzz_in(paths[k]), &array, &error) != 0, &error);
        ds_array_free(&array);
    }
    fuzz_load(paths[bytes[0] & 3], 0, bytes[0], NULL);
    return 0;
}
