/* cells.c: the cells of a table (RFC 4180 with other separators, too), and their numbers.
 *
 *     file   = record { newline record } [ newline ]
 *     record = cell { separator cell }
 *     cell   = blanks ( bytes | '"' { bytes | '""' } '"' ) blanks
 *
 * A line that begins with '#' is a comment. */
#include "datasets/formats/table.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

/* The name of the column of the last cell, in parentheses; empty without one. */
static void name_column(const ds_reader *r, char *text, size_t size)
{
    text[0] = 0;
    if (!r->header || r->column <= r->unnamed)
        return;
    ds_reader names = *r;
    names.at = r->header;
    names.error = NULL;
    names.column = r->unnamed;
    int more = 1;
    while (names.column < r->column && more > 0)
        more = ds_read_cell(&names);
    if (more < 0 || names.column != r->column || !names.cell[0])
        return;
    snprintf(text, size, " (%.40s)", names.cell);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
}

int ds_wrong_cell(ds_reader *r, const char *what)
{
    char name[48];
    name_column(r, name, sizeof name);
    for (char *c = r->cell; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
    return ad_fail(r->error, "%s: line %zu, column %zu%s: '%.40s' %s", r->path, r->line, r->column, name, r->cell,
                   what);
}

static bool newline(char c)
{
    return c == '\n' || c == '\r';
}

static bool blank(const ds_reader *r, char c)
{
    return c == ' ' || (c == '\t' && r->separator != '\t');
}

static void skip_blanks(ds_reader *r)
{
    while (r->at < r->end && blank(r, *r->at))
        r->at++;
}

static bool separates(const ds_reader *r, char c)
{
    return c == r->separator || (c == '\t' && r->separator == ' ');
}

static void skip_newline(ds_reader *r)
{
    if (r->at == r->end)
        return;
    if (*r->at == '\r' && r->end - r->at > 1 && r->at[1] == '\n')
        r->at++;
    r->at++;
    r->lines++;
}

static int put_byte(ds_reader *r, size_t *length, char c)
{
    if (!c)
        return ad_fail(r->error, "%s: line %zu, column %zu: a byte of zero: a table is text, in UTF-8", r->path,
                       r->lines, r->column);
    if (*length + 1 == DS_CELL)
        return ad_fail(r->error, "%s: line %zu, column %zu: a cell of more than %d bytes", r->path, r->line, r->column,
                       DS_CELL - 1);
    r->cell[(*length)++] = c;
    return 0;
}

static int read_quoted(ds_reader *r, size_t *length)
{
    for (r->at++;; r->at++) {
        if (r->at == r->end)
            return ad_fail(r->error, "%s: line %zu, column %zu: no closing quote", r->path, r->line, r->column);
        if (*r->at == '"' && (++r->at == r->end || *r->at != '"'))
            return 0;
        r->lines += *r->at == '\n';
        if (put_byte(r, length, *r->at) != 0)
            return -1;
    }
}

int ds_read_cell(ds_reader *r)
{
    size_t length = 0;
    r->column++;
    r->line = r->lines;
    skip_blanks(r);
    r->quoted = r->at < r->end && *r->at == '"';
    if (r->quoted && read_quoted(r, &length) != 0)
        return -1;
    for (; !r->quoted && r->at < r->end && !separates(r, *r->at) && !newline(*r->at); r->at++)
        if (put_byte(r, &length, *r->at) != 0)
            return -1;
    const char *behind = r->at;
    skip_blanks(r);
    while (!r->quoted && length && blank(r, r->cell[length - 1]))
        length--;
    r->cell[length] = 0;
    if (r->at == r->end)
        return 0;
    if (newline(*r->at)) {
        skip_newline(r);
        return 0;
    }
    if (r->separator == ' ' && r->at > behind)
        return 1;
    if (*r->at != r->separator)
        return ds_wrong_cell(r, "is followed by more than a separator");
    r->at++;
    return 1;
}

const char *ds_skip_comments(ds_reader *r)
{
    const char *last = NULL;
    for (;;) {
        const char *at = r->at;
        while (at < r->end && (*at == ' ' || *at == '\t'))
            at++;
        if (at == r->end || *at != '#')
            return last;
        last = at + 1;
        for (r->at = at; r->at < r->end && !newline(*r->at);)
            r->at++;
        skip_newline(r);
        r->comments++;
    }
}

/* ---- numbers ---- */

bool ds_finite_number(const char *text, double *value, bool *whole)
{
    size_t digits = strspn(text, "+-0123456789");
    char *end;
    if (!text[0] || text[strspn(text, "+-.0123456789eE")])
        return false;
    *value = ad_number(text, &end);
    *whole = !text[digits] && fabs(*value) < 9007199254740992.0; /* 2^53 */
    return end != text && !*end && isfinite(*value);
}

/* The cell's only comma, if it is a decimal one. */
static const char *decimal_comma(const ds_reader *r)
{
    const char *comma = r->separator == ',' ? NULL : strchr(r->cell, ',');
    return comma && !strchr(comma + 1, ',') && !strchr(r->cell, '.') ? comma : NULL;
}

bool ds_cell_number(const ds_reader *r, double *value, bool *whole)
{
    char text[DS_CELL];
    const char *comma = decimal_comma(r);
    if (!comma)
        return ds_finite_number(r->cell, value, whole);
    memcpy(text, r->cell, sizeof text);
    text[comma - r->cell] = '.';
    return ds_finite_number(text, value, whole);
}

static bool is_one_of(const char *text, const char *const *list)
{
    while (*list && strcasecmp(text, *list) != 0)
        list++;
    return *list != NULL;
}

static bool infinite(const char *text)
{
    static const char *const words[] = { "inf", "infinity", "#div/0!", NULL };
    return is_one_of(text + (text[0] == '-' || text[0] == '+'), words);
}

bool ds_cell_missing(const ds_reader *r)
{
    static const char *const words[] = { "nan", "na", "n/a", "#n/a", "#na", "<na>", "null", "#null!", "?", ".", NULL };
    return !r->quoted && (is_one_of(r->cell, words) || strcasecmp(r->cell, "-nan") == 0 || infinite(r->cell));
}

bool ds_cell_numeric(const ds_reader *r)
{
    const char *cell = r->cell;
    if (ds_cell_missing(r))
        return true;
    return cell[0] && strchr("(+-.,0123456789", cell[0]) && strpbrk(cell, "0123456789") &&
           !cell[strspn(cell, "()+-.,0123456789eEj' _:/%")];
}

/* 1,234 or 1.234.567 or 1 234: digits in groups of three, and maybe a decimal sign behind them. */
static bool has_thousands(const char *text)
{
    text += *text == '+' || *text == '-';
    size_t digits = strspn(text, "0123456789"), groups = 0;
    char mark = text[digits];
    if (!digits || digits > 3 || text[0] == '0' || !mark || !strchr(",.' _", mark))
        return false;
    for (text += digits; *text == mark && strspn(text + 1, "0123456789") == 3; text += 4)
        groups++;
    return groups && (!*text || ((*text == '.' || *text == ',') && !text[1 + strspn(text + 1, "0123456789")]));
}

/* 3:0.25 of svmlight's format. */
static bool has_colon(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits && text[digits] == ':' && text[digits + 1];
}

static int no_number(ds_reader *r)
{
    if (!r->cell[0])
        return ds_wrong_cell(r, "is empty, where a number is needed: leave its row out, or fill it in");
    if (infinite(r->cell))
        return ds_wrong_cell(r, "is no finite number: leave its row out");
    if (ds_cell_missing(r))
        return ds_wrong_cell(r, "is no finite number but a missing one: leave its row out, or fill it in");
    if (has_thousands(r->cell))
        return ds_wrong_cell(r, "is no finite number: write it without separators of thousands");
    if (strchr(r->cell, 'j') && ds_cell_numeric(r))
        return ds_wrong_cell(r, "is no finite number but a complex one: save its real and its imaginary part");
    if (has_colon(r->cell))
        return ds_wrong_cell(r, "is no finite number but of svmlight's format: save it as .npy, "
                                "by sklearn.datasets.load_svmlight_file and toarray");
    if (!r->cell[strspn(r->cell, "+-.,0123456789eE")] && strchr(r->cell, ','))
        return ds_wrong_cell(r, "is no finite number: write it with a decimal point");
    if (!r->cell[strspn(r->cell, "+-.0123456789eExX")] && strpbrk(r->cell, "0123456789"))
        return ds_wrong_cell(r, "is no finite number: write it as one, or leave its column out");
    return ds_wrong_cell(r, "is no finite number: only the label's column may hold words; number them, leave the "
                            "column out, or name the label's column");
}

int ds_take_number(ds_reader *r, double *value, bool *whole)
{
    if (!ds_cell_number(r, value, whole))
        return no_number(r);
    ds_decimal *decimal = &r->decimal;
    const char *comma = decimal_comma(r);
    char sign = comma ? ',' : strchr(r->cell, '.') ? '.' : 0;
    if (!sign)
        return 0;
    if (decimal->sign && decimal->sign != sign)
        return ds_wrong_cell(r, sign == ',' ? "has a comma, where numbers above have decimal points"
                                            : "has a point, where numbers above have decimal commas");
    if (!decimal->sign && comma) {
        decimal->line = r->line;
        decimal->column = r->column;
        memcpy(decimal->first, r->cell, sizeof decimal->first);
    }
    decimal->sign = sign;
    decimal->proven = decimal->proven || !comma || !has_thousands(r->cell);
    return 0;
}

int ds_check_decimals(const ds_reader *r)
{
    const ds_decimal *decimal = &r->decimal;
    if (decimal->sign != ',' || decimal->proven)
        return 0;
    return ad_fail(r->error,
                   "%s: line %zu, column %zu: '%.40s' has a decimal comma or one of thousands, and no other number "
                   "tells which: write it with a decimal point, or without the comma",
                   r->path, decimal->line, decimal->column, decimal->first);
}
