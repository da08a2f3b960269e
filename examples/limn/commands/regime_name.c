/* regime_name.c: names of vectors in a column. */
#include "examples/limn/commands/regime.h"

/* Of UTF-8: bytes that begin a character. */
static int columns(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void regime_print_name(const tp_regime *r, const char *name)
{
    int most = 8;
    for (int v = 0; v < r->n_vectors; v++) {
        int one = columns(r->vectors[v].name);
        most = one > most ? one : most;
    }
    printf("%s%*s", name, most - columns(name), "");
}
