/* option_table.c: the rows of options.def. */
#include "examples/limn/base/options.h"

#include <float.h>
#include <stddef.h>

#define MAX_WIDTH 1e7
#define MAX_WHOLE 1e9
#define MAX_REAL DBL_MAX
_Static_assert(AD_MAX_THREADS == 1024, "the help of --threads tells it");

const row rows[OPTIONS] = {
#define OPTION(ID, NAME, ARGUMENT, KIND, FIELD, MINIMUM, MAXIMUM, HELP)                                                \
    [OPTION_##ID] = { .name = NAME,                                                                                    \
                      .argument = ARGUMENT,                                                                            \
                      .help = HELP,                                                                                    \
                      .kind = KIND,                                                                                    \
                      .at = offsetof(options, FIELD),                                                                  \
                      .minimum = MINIMUM,                                                                              \
                      .maximum = MAXIMUM },
#define CHOICE(ID, NAME, FIELD, HELP, ...)                                                                             \
    [OPTION_##ID] = { .name = NAME,                                                                                    \
                      .help = HELP,                                                                                    \
                      .kind = WORD,                                                                                    \
                      .at = offsetof(options, FIELD),                                                                  \
                      .words = (const char *const[WORDS]){ __VA_ARGS__ } },
#include "examples/limn/base/options.def"
};

const char *option_word(option of, int choice)
{
    return rows[of].words[choice];
}

const char *option_argument(const row *r, char *text, size_t size)
{
    size_t used = 0;
    if (!r->words)
        return r->argument ? r->argument : "";
    for (int k = 0; k < WORDS && r->words[k] && used < size; k++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", k ? "|" : "", r->words[k]);
    return text;
}
