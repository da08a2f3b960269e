/* arff.c: Weka's tables. The first byte has the options; @relation stands before the rest unless it is odd. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (!count)
        return 0;
    static const char head[] = "@relation r\n@attribute a numeric\n";
    size_t first = bytes[0] & 1 ? 0 : sizeof head - 1;
    char *text = malloc(first + count);
    fuzz_holds(text != NULL);
    memcpy(text, head, first);
    memcpy(text + first, bytes + 1, count - 1);
    fuzz_put("x.arff", text, first + count - 1);
    fuzz_load("x.arff", FUZZ_TABLE, bytes[0], NULL);
    free(text);
    return 0;
}
