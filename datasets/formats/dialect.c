/* dialect.c: what separates the cells of a table, and what its first lines are. */
#include "datasets/formats/table.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* So many records are looked at below the first. */
enum { SAMPLE = 32 };

/* What shows of a record. `run`: its cells, without an empty first one, are whole numbers, each one more than the one
 * before; they begin with `start`. */
typedef struct {
    size_t cells, quoted, points;
    size_t numbers, numeric; /* as they are read, and as they were meant */
    bool begins_empty, ends_empty, run;
    double start;
} record;

/* What shows of the records below the first. steady: they have as many cells each, and the first record has so many or
 * one less, but two. */
typedef struct {
    record next; /* the second record */
    size_t count, cells, numbers, total;
    bool steady, end_empty, all_points;
} sample;

/* Cells count as numbers where values are missing, too. Malformed: -1. The cell `left_out` is not counted. */
static int scan_record(ds_reader *r, size_t left_out, record *s)
{
    int more = 1;
    double value = 0, last = 0;
    *s = (record){ .run = true };
    ds_skip_comments(r);
    r->column = 0;
    while (more > 0) {
        if ((more = ds_read_cell(r)) < 0)
            return -1;
        bool whole = false, number = ds_cell_number(r, &value, &whole), empty = !r->cell[0];
        if (r->column == 1)
            s->begins_empty = empty || strcmp(r->cell, "Unnamed: 0") == 0;
        if (r->column > 1 || !s->begins_empty) {
            bool first = r->column == 1 + (size_t)s->begins_empty;
            s->run = s->run && number && whole && (first || fabs(value - last - 1) < 0.5);
            s->start = first ? value : s->start;
            last = value;
        }
        if (r->column - 1 != left_out) {
            s->numbers += number || ds_cell_missing(r);
            s->numeric += number || ds_cell_numeric(r);
            s->points += number && !whole;
        }
        s->quoted += r->quoted;
        s->ends_empty = empty && r->column > 1;
    }
    s->cells = r->column;
    return 0;
}

/* The records from r on, below a first one; `left_out` is the label's cell. */
static void scan_sample(ds_reader r, const record *first, size_t left_out, sample *s)
{
    record below;
    *s = (sample){ .steady = true, .end_empty = true, .all_points = true };
    r.error = NULL;
    while (s->steady && s->count < SAMPLE && r.at < r.end) {
        if (scan_record(&r, left_out, &below) != 0) {
            s->steady = false;
            return;
        }
        if (!s->count)
            s->next = below;
        s->cells = s->count ? s->cells : below.cells;
        s->steady = below.cells == s->cells;
        s->end_empty = s->end_empty && below.ends_empty;
        s->all_points = s->all_points && below.points + (left_out < below.cells) == below.cells;
        s->numbers += below.numbers;
        s->total += below.cells;
        s->count++;
    }
    s->steady =
        s->steady && (!s->count || s->cells == first->cells || (first->cells > 1 && s->cells == first->cells + 1));
    if (s->count)
        return;
    s->cells = s->total = first->cells;
    s->numbers = first->numbers;
    s->end_empty = first->ends_empty;
}

/* Outside quotes, in the first line. */
static size_t count_in_line(const ds_reader *r, char separator)
{
    size_t count = 0;
    bool quoted = false;
    for (const char *at = r->at; at < r->end && (quoted || (*at != '\n' && *at != '\r')); at++) {
        quoted ^= *at == '"';
        count += !quoted && *at == separator;
    }
    return count;
}

/* Excel's first line, sep=; is taken at its word. */
static bool told_separator(ds_reader *r)
{
    const char *at = r->at;
    bool quoted = at < r->end && *at == '"';
    at += quoted;
    if (r->end - at < 5 || memcmp(at, "sep=", 4) != 0 || !strchr(",;\t| ", at[4]))
        return false;
    char separator = at[4];
    at += 5;
    if (quoted && (at == r->end || *at++ != '"'))
        return false;
    if (at < r->end && *at != '\n' && *at != '\r')
        return false;
    r->separator = separator;
    at += at < r->end && *at == '\r';
    at += at < r->end && *at == '\n';
    r->at = at;
    r->lines++;
    return true;
}

/* The one by which all records have the same number of cells, and most of them are numbers; of none, the most frequent
 * of the first line. */
void ds_find_separator(ds_reader *r)
{
    static const char separators[] = ";\t,| ";
    size_t numbers = 0, total = 0, most = 0;
    if (told_separator(r))
        return;
    for (const char *separator = separators; *separator; separator++) {
        ds_reader try = *r;
        record first;
        sample below;
        try.separator = *separator;
        try.error = NULL;
        if (scan_record(&try, SIZE_MAX, &first) != 0)
            continue;
        scan_sample(try, &first, SIZE_MAX, &below);
        if (!below.steady || below.cells < 2 || (total && below.numbers * total <= numbers * below.total))
            continue;
        r->separator = *separator;
        numbers = below.numbers;
        total = below.total;
    }
    if (total)
        return;
    r->separator = ',';
    for (const char *separator = separators; *separator; separator++) {
        size_t count = count_in_line(r, *separator);
        if (count > most && (*separator != ' ' || !most)) {
            most = count;
            r->separator = *separator;
        }
    }
}

/* ---- columns ---- */

size_t ds_label_place(const char *choice, size_t columns, size_t index)
{
    if (!choice || strcmp(choice, "last") == 0)
        return columns - 1;
    if (strcmp(choice, "first") == 0)
        return index == 0;
    if (strcmp(choice, "none") == 0)
        return columns;
    if (!choice[0] || choice[strspn(choice, "0123456789")])
        return SIZE_MAX;
    errno = 0;
    unsigned long long place = strtoull(choice, NULL, 10);
    return errno || !place || place > columns ? columns + 1 : (size_t)place - 1;
}

/* The place of that name in the header at `head`; SIZE_MAX if there is none. */
static size_t named_place(ds_reader r, const char *head, const char *name)
{
    int more = 1;
    r.at = head;
    r.column = 0;
    r.error = NULL;
    while (name && more > 0)
        if ((more = ds_read_cell(&r)) >= 0 && strcmp(r.cell, name) == 0)
            return r.column - 1;
    return SIZE_MAX;
}

/* Columns of the rows, and how far those of the first record lie from them: its first cell names the second column. */
static size_t find_columns(const record *first, const sample *below, ds_layout *l)
{
    bool steady = below->steady;
    size_t cells = first->cells;
    l->trailing = steady ? below->end_empty && (first->ends_empty || cells + 1 == below->cells)
                         : first->ends_empty && below->end_empty;
    cells -= l->trailing && first->ends_empty;
    l->columns = cells;
    bool words = !first->numeric || (first->quoted == first->cells && below->next.quoted < below->next.cells);
    if (!steady || !below->count || !words || cells + 1 != below->cells - l->trailing)
        return 0;
    l->columns++;
    return 1;
}

/* Is the first record a header, by its cells but the label's? */
static bool is_header(const ds_reader *rows, const record *first, const sample *below, const ds_layout *l)
{
    size_t named = first->cells - first->begins_empty - (l->trailing && first->ends_empty);
    if (!first->numeric)
        return true;
    if (!below->count || !below->steady)
        return false;
    if (first->quoted + first->begins_empty >= first->cells && below->next.quoted < below->next.cells)
        return true; /* who quotes quotes words: numbers that are quoted, above some that are not, are names */
    if (first->run && first->begins_empty && fabs(first->start) < 0.5)
        return true; /* pandas: an index, and columns 0, 1, 2, ... */
    if (!first->run || named < 2 || first->begins_empty)
        return false;
    bool goes_on = rows->at < rows->end && fabs(below->next.start - first->start - (double)named) < 0.5;
    return (named > 2 && fabs(first->start) < 0.5 && !goes_on) || below->all_points;
}

/* The label of the first record is a word, and that of the second a number. */
static bool label_tells(ds_reader first, ds_reader second, size_t label)
{
    double value;
    bool whole;
    int more = 1;
    first.error = second.error = NULL;
    first.column = second.column = 0;
    for (size_t c = 0; c <= label && more > 0; c++)
        more = ds_read_cell(&first);
    if (more < 0 || first.column != label + 1 || !first.cell[0] || ds_cell_numeric(&first))
        return false;
    ds_skip_comments(&second);
    more = 1;
    for (size_t c = 0; c <= label && more > 0; c++)
        more = ds_read_cell(&second);
    return more >= 0 && second.column == label + 1 && ds_cell_number(&second, &value, &whole);
}

/* The names of np.savetxt, which stand in a comment above the first row. */
static const char *names_in_comment(const ds_reader *r, const char *comment, const ds_layout *l)
{
    ds_reader names = *r;
    record head;
    if (!comment)
        return NULL;
    names.at = comment;
    names.error = NULL;
    for (names.end = comment; names.end < r->end && *names.end != '\n' && *names.end != '\r';)
        names.end++;
    return names.end > comment && scan_record(&names, SIZE_MAX, &head) == 0 && head.cells == l->columns ? comment
                                                                                                        : NULL;
}

static int check_label(const ds_reader *r, const char *choice, const ds_layout *l, size_t line)
{
    if (l->label == SIZE_MAX)
        return ad_fail(r->error, "%s: no column of line %zu is named '%s'", r->path, line, choice);
    if (l->label > l->columns)
        return ad_fail(r->error, "%s: no column %s: line %zu has %zu", r->path, choice, line, l->columns);
    if (l->label == l->index && l->index < l->columns)
        return ad_fail(r->error, "%s: column %zu is an index and cannot be the label", r->path, l->index + 1);
    if (l->columns == (size_t)(l->label < l->columns) + (l->index < l->columns))
        return ad_fail(r->error,
                       "%s: line %zu has one column only, which is the label; commas, semicolons, tabs, bars or blanks "
                       "separate columns",
                       r->path, line);
    return 0;
}

int ds_find_layout(ds_reader *r, const char *choice, ds_layout *l)
{
    const char *comment = ds_skip_comments(r);
    ds_reader begin = *r;
    record first;
    sample below;
    if (r->at == r->end)
        return ad_fail(r->error, "%s: no row of data", r->path);
    if (scan_record(r, SIZE_MAX, &first) != 0)
        return -1;
    size_t line = begin.lines;
    scan_sample(*r, &first, SIZE_MAX, &below);
    r->unnamed = find_columns(&first, &below, l);
    l->index = r->unnamed ? 0 : l->columns;
    size_t named = named_place(begin, begin.at, choice);
    l->label = ds_label_place(choice, l->columns, l->index);
    bool by_name = l->label == SIZE_MAX && named != SIZE_MAX, header = by_name || r->unnamed;
    if (by_name)
        l->label = named + r->unnamed;
    ds_reader again = begin;
    if (scan_record(&again, l->label - r->unnamed, &first) != 0)
        return -1;
    scan_sample(*r, &first, l->label, &below);
    header = header || is_header(r, &first, &below, l) || (l->label < l->columns && label_tells(begin, *r, l->label));
    l->guessed = header && !by_name && first.numeric;
    if (header && !r->unnamed && first.begins_empty && l->columns > 1) {
        l->index = 0;
        l->label = choice && strcmp(choice, "first") == 0 ? 1 : l->label;
    }
    r->header = header ? begin.at : names_in_comment(&begin, comment, l);
    l->comment_head = !header && r->header;
    if (l->comment_head && l->label == SIZE_MAX)
        l->label = named_place(begin, comment, choice);
    if (check_label(r, choice, l, line) != 0)
        return -1;
    if (!header) {
        begin.header = r->header;
        *r = begin;
    }
    return 0;
}
