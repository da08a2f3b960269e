/* csv.c: tables of text. The first byte has the options. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (!count)
        return 0;
    fuzz_put("x.csv", bytes + 1, count - 1);
    fuzz_load("x.csv", FUZZ_TABLE, bytes[0], NULL);
    return 0;
}
