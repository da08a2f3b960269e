/* text.c: text on a screen. */
#include "autodiff/base/base.h"

#include <ctype.h>
#include <string.h>

/* In UTF-8, bytes 10xxxxxx go on with a character; the marks U+0300 to U+036F begin with 0xCC, or 0xCD and a byte
 * below 0xB0. */
int ad_columns(const char *text)
{
    int count = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        count += (*at & 0xC0) != 0x80 && *at != 0xCC && !(*at == 0xCD && at[1] < 0xB0);
    return count;
}

enum { MAX_LETTERS = 63 };

static int smallest(int a, int b, int c)
{
    int least = a < b ? a : b;
    return least < c ? least : c;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Damerau and Levenshtein's, in the form that edits no letter twice. Both of at most MAX_LETTERS. */
static int edits(const char *a, const char *b)
{
    int rows[3][MAX_LETTERS + 1], m = (int)strlen(a), n = (int)strlen(b);
    for (int j = 0; j <= n; j++)
        rows[0][j] = j;
    for (int i = 1; i <= m; i++) {
        int *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= n; j++) {
            now[j] = smallest(before[j] + 1, now[j - 1] + 1, before[j - 1] + !same_letter(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
                now[j] = smallest(now[j], earlier[j - 2] + 1, now[j]);
        }
    }
    return rows[m % 3][n];
}

const char *ad_closest(const char *word, const char *const *words)
{
    const char *best = NULL;
    int fewest = MAX_LETTERS;
    if (strlen(word) > MAX_LETTERS)
        return NULL;
    for (; *words; words++) {
        int length = (int)strlen(*words), allowed = length < 3 ? 1 : length / 3;
        if (length > MAX_LETTERS)
            continue;
        int count = edits(word, *words);
        if (count <= allowed && count < fewest) {
            best = *words;
            fewest = count;
        }
    }
    return best;
}
