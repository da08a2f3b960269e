/* pictures.c: a folder of two classes whose only picture this is: PNG, JPEG, BMP, GIF, PNM or TGA, as its bytes say.
 * The first byte has the options. */
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char *const names[] = { "images/a/i.tga", "images/a/i.png", "images/a/i.jpg", "images/a/i.ppm" };
    static bool begun;
    if (!begun)
        fuzz_holds(mkdir(fuzz_in("images"), 0700) == 0 && mkdir(fuzz_in("images/a"), 0700) == 0 &&
                   symlink("a", fuzz_in("images/b")) == 0);
    begun = true;
    if (!count)
        return 0;
    const char *name = names[bytes[0] & 3];
    fuzz_put(name, bytes + 1, count - 1);
    fuzz_load("images", FUZZ_IMAGES, bytes[0], NULL);
    unlink(fuzz_in(name));
    return 0;
}
