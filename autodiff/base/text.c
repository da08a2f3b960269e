/* text.c: text on a screen. */
#include "autodiff/base/base.h"

/* In UTF-8, bytes 10xxxxxx go on with a character; the marks U+0300 to U+036F begin with 0xCC, or 0xCD and a byte
 * below 0xB0. */
int ad_columns(const char *text)
{
    int count = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        count += (*at & 0xC0) != 0x80 && *at != 0xCC && !(*at == 0xCD && at[1] < 0xB0);
    return count;
}
