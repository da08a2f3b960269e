/* options.h: private to the room: the rows that options.def makes. */
#ifndef LIMN_EXAMPLES_LIMN_BASE_OPTIONS_H
#define LIMN_EXAMPLES_LIMN_BASE_OPTIONS_H
#include "examples/limn/base/base.h"

typedef enum {
    TEXT,
    REAL,
    WHOLE,
    WORD,
    AT_WIDTH,
    WIDTHS,
    TIMES,
    RIDGES,
    GRID,
    SIZE,
    SCHEDULE,
    SETTING,
    MAPPING,
    PATTERN,
    EXPONENTS,
    EXPECTATION,
    FLAG
} kind;
enum { WORDS = 8 };
typedef struct {
    const char *name, *argument, *help;
    kind kind;
    size_t at;
    double minimum, maximum;  /* of a number */
    const char *const *words; /* of a choice */
} row;

extern const row rows[OPTIONS];

/* What stands behind the option's name: "ntk|nngp" for a choice; "" for a flag. Returns text, of so many bytes, or what
 * stays. */
const char *option_argument(const row *r, char *text, size_t size);
bool option_taken(const tool_command *about, int which); /* NULL: of all commands */
/* The options that it takes, by groups, each opened by its title. */
void option_walk(const tool_command *about, void (*open)(const char *title), void (*put)(const row *));
#endif
