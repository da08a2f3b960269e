/* cifar.c: records of a label and a picture. The first byte has the options; the second, how many records there are
 * whose pictures begin with what follows, each a little further on. A third bit pattern leaves the file as it comes. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { RECORD = 3073, MOST = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static uint8_t file[MOST * RECORD + MOST];
    if (count < 2)
        return 0;
    size_t records = bytes[1] % (MOST + 1), size = records * RECORD;
    memset(file, 0, sizeof file);
    for (size_t r = 0; r < records; r++) {
        size_t skip = 2 + r < count ? 2 + r : count, most = count - skip < RECORD ? count - skip : RECORD;
        memcpy(file + r * RECORD, bytes + skip, most);
    }
    if (bytes[1] & 0x40)
        size += bytes[1] >> 6; /* some bytes too many */
    if (bytes[1] & 0x20)
        fuzz_put("x.bin", bytes + 2, count - 2);
    else
        fuzz_put("x.bin", file, size < sizeof file ? size : sizeof file);
    fuzz_load("x.bin", FUZZ_IMAGES, bytes[0], NULL);
    return 0;
}
