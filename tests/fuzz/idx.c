/* idx.c: MNIST's files. The first byte has the options, and whether the bytes are the pictures or the labels. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const uint8_t labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 0, 1 };
    static const uint8_t pictures[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6 };
    if (!count)
        return 0;
    fuzz_put("i-idx3", bytes[0] & 1 ? bytes + 1 : pictures, bytes[0] & 1 ? count - 1 : sizeof pictures);
    fuzz_put("l-idx1", bytes[0] & 1 ? labels : bytes + 1, bytes[0] & 1 ? sizeof labels : count - 1);
    fuzz_load("i-idx3", FUZZ_IMAGES | FUZZ_TURNED, bytes[0], fuzz_in("l-idx1"));
    return 0;
}
