/* option_table.c: the rows of options.def, and their order by groups. */
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

/* Its place among OPTION_GROUPS. */
static int group_of(int which)
{
    enum {
#define ROW(ID, TITLE) GROUP_##ID,
        OPTION_GROUPS(ROW)
#undef ROW
    };
    static const struct {
        int option, group; /* a group opens where its option is -1 */
    } order[] = {
#define GROUP(ID) { -1, GROUP_##ID },
#define OPTION(ID, ...) { OPTION_##ID, 0 },
#define CHOICE(ID, ...) { OPTION_##ID, 0 },
#include "examples/limn/base/options.def"
    };
    int group = 0;
    for (size_t i = 0; order[i].option != which; i++)
        group = order[i].option < 0 ? order[i].group : group;
    return group;
}

/* NULL beyond the last. */
static const char *group_title(int group)
{
    static const char *const titles[] = {
#define ROW(ID, TITLE) TITLE,
        OPTION_GROUPS(ROW)
#undef ROW
    };
    return group < (int)(sizeof titles / sizeof *titles) ? titles[group] : NULL;
}

bool option_taken(const tool_command *about, int which)
{
    return !about || (about->takes >> which & 1);
}

void option_walk(const tool_command *about, void (*open)(const char *title), void (*put)(const row *))
{
    for (int g = 0; group_title(g); g++) {
        bool any = false;
        for (int i = 0; i < OPTIONS; i++) {
            if (group_of(i) != g || !option_taken(about, i))
                continue;
            if (!any)
                open(group_title(g));
            any = true;
            put(&rows[i]);
        }
    }
}
