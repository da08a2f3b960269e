/* csv.c: comma-separated values (RFC 4180), with commas, semicolons or tabs.
 *
 *     file   = record { newline record } [ newline ]
 *     record = cell { separator cell }
 *     cell   = blanks ( bytes | '"' { bytes | '""' } '"' ) blanks
 *
 * The first record is a header if the label's column was named, if none of its cells but the label's is a number, or
 * if its label is none and the next one's is. */
#include "datasets/formats/formats.h"
#include "datasets/formats/gzip.h"
#include "datasets/set/set.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 256 };

typedef struct {
    const char *path;
    ad_error *error;
    const char *at, *end;
    char separator;
    size_t line, column; /* of the cell that was read last, counted from 1 */
    size_t lines;        /* up to `at` */
    char cell[CELL];     /* its text, without quotes and the blanks around it */
} reader;

/* An error about the cell, whose text is not used again. */
static int wrong(reader *r, const char *what)
{
    for (char *c = r->cell; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
    return ad_fail(r->error, "%s: line %zu, column %zu: '%.40s' %s", r->path, r->line, r->column, r->cell, what);
}

static bool newline(char c)
{
    return c == '\n' || c == '\r';
}

static bool blank(const reader *r, char c)
{
    return c == ' ' || (c == '\t' && r->separator != '\t');
}

static int put_byte(reader *r, size_t *length, char c)
{
    if (!c)
        return ad_fail(r->error, "%s: line %zu, column %zu: a byte of zero", r->path, r->lines, r->column);
    if (*length + 1 == CELL)
        return ad_fail(r->error, "%s: line %zu, column %zu: a cell of more than %d bytes", r->path, r->line, r->column,
                       CELL - 1);
    r->cell[(*length)++] = c;
    return 0;
}

static int read_quoted(reader *r, size_t *length)
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

/* Reads the next cell and what ends it: 1 if another one follows in the record, 0 if not, -1 if it is malformed. */
static int read_cell(reader *r)
{
    size_t length = 0;
    r->column++;
    r->line = r->lines;
    while (r->at < r->end && blank(r, *r->at))
        r->at++;
    bool quoted = r->at < r->end && *r->at == '"';
    if (quoted && read_quoted(r, &length) != 0)
        return -1;
    for (; !quoted && r->at < r->end && *r->at != r->separator && !newline(*r->at); r->at++)
        if (put_byte(r, &length, *r->at) != 0)
            return -1;
    while (quoted && r->at < r->end && blank(r, *r->at))
        r->at++;
    while (!quoted && length && blank(r, r->cell[length - 1]))
        length--;
    r->cell[length] = 0;
    if (r->at == r->end)
        return 0;
    if (*r->at == r->separator) {
        r->at++;
        return 1;
    }
    if (!newline(*r->at))
        return wrong(r, "is followed by more than a separator");
    if (*r->at == '\r' && r->end - r->at > 1 && r->at[1] == '\n')
        r->at++;
    r->at++;
    r->lines++;
    return 0;
}

/* A finite decimal number; *whole if it is written as a whole one. */
static bool finite_number(const char *text, double *value, bool *whole)
{
    size_t digits = strspn(text, "+-0123456789");
    char *end;
    if (!text[0] || text[strspn(text, "+-.0123456789eE")])
        return false;
    *value = ad_number(text, &end);
    *whole = !text[digits] && fabs(*value) < 9007199254740992.0; /* 2^53 */
    return end != text && !*end && isfinite(*value);
}

/* ---- labels: words and whole numbers are classes in their order, other numbers are targets ---- */

typedef struct {
    ad_arena *arena; /* of the words */
    struct word {
        const char *text;
        double number; /* in the order of their coming */
    } * words;         /* sorted by text, for room of DS_CLASSES */
    size_t count;
    bool spoken; /* the first label is a word, so all are */
    bool whole;  /* all are whole numbers */
} labels;

static int learn_word(reader *r, labels *l, double *y)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(r->cell, l->words[middle].text);
        if (!order) {
            *y = l->words[middle].number;
            return 0;
        }
        *(order < 0 ? &high : &low) = order < 0 ? middle : middle + 1;
    }
    if (l->count == DS_CLASSES)
        return ad_fail(r->error, "%s: line %zu, column %zu: more than %zu classes", r->path, r->line, r->column,
                       DS_CLASSES);
    const char *text = ad_arena_text(l->arena, "%s", r->cell);
    if (!text)
        return ad_fail(r->error, "out of memory for the classes of %s", r->path);
    memmove(l->words + low + 1, l->words + low, (l->count - low) * sizeof *l->words);
    *y = (double)l->count;
    l->words[low] = (struct word){ text, *y };
    l->count++;
    return 0;
}

static int read_label(reader *r, labels *l, bool first, double *y)
{
    bool whole = false;
    if (!r->cell[0])
        return wrong(r, "is empty, where a label is needed");
    bool is_number = finite_number(r->cell, y, &whole);
    if (first)
        l->spoken = !is_number;
    if (l->spoken)
        return learn_word(r, l, y);
    l->whole = (first || l->whole) && whole;
    return is_number ? 0 : wrong(r, "is no finite number, as the labels above are");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* y, whole numbers, becomes the position of each among the distinct ones. */
static int classes_of_numbers(ds_data *data, const char *path, ad_error *error)
{
    double *values = ad_alloc(data->rows, sizeof *values, "the labels", error);
    if (!values)
        return -1;
    memcpy(values, data->y, data->rows * sizeof *values);
    qsort(values, data->rows, sizeof *values, by_value);
    size_t count = 1;
    for (size_t r = 1; r < data->rows; r++)
        if (values[r] > values[count - 1])
            values[count++] = values[r];
    int failed = 0;
    if (count > DS_CLASSES)
        failed = ad_fail(error,
                         "%s: its labels are %zu different whole numbers; classes are at most %zu, and targets "
                         "are written with a point",
                         path, count, DS_CLASSES);
    char(*texts)[24] = failed ? NULL : ad_alloc(count, sizeof *texts + sizeof(char *), "the classes' names", error);
    if (!failed && !texts)
        failed = -1;
    if (!failed) {
        const char **names = (const char **)(void *)(texts + count);
        data->classes = count;
        for (size_t k = 0; k < count; k++) {
            snprintf(texts[k], sizeof *texts, "%.0f", values[k]);
            names[k] = texts[k];
        }
        for (size_t r = 0; r < data->rows; r++) {
            const double *at = bsearch(&data->y[r], values, count, sizeof *values, by_value);
            data->y[r] = (double)(at - values);
        }
        if (values[0] < 0 || values[0] > 0 || values[count - 1] > (double)(count - 1))
            failed = ds_name_classes(data, names, error);
    }
    ad_free(texts);
    ad_free(values);
    return failed;
}

static int classes_of_words(ds_data *data, const labels *l, ad_error *error)
{
    const char **names = ad_alloc(l->count, sizeof *names + sizeof(size_t), "the classes' names", error);
    if (!names)
        return -1;
    size_t *place = (size_t *)(void *)(names + l->count);
    for (size_t k = 0; k < l->count; k++) {
        names[k] = l->words[k].text;
        place[(size_t)l->words[k].number] = k;
    }
    for (size_t r = 0; r < data->rows; r++)
        data->y[r] = (double)place[(size_t)data->y[r]];
    data->classes = l->count;
    int failed = ds_name_classes(data, names, error);
    ad_free(names);
    return failed;
}

/* ---- the table ---- */

typedef struct {
    size_t columns, label; /* label == columns: none */
    bool header;
} layout;

/* The separator that comes most often in the first line, outside quotes. */
static char separator_of(const char *at, const char *end)
{
    static const char separators[] = ",;\t";
    size_t counts[3] = { 0 }, best = 0;
    bool quoted = false;
    for (; at < end && (quoted || !newline(*at)); at++) {
        quoted ^= *at == '"';
        for (size_t k = 0; k < 3 && !quoted; k++)
            counts[k] += *at == separators[k];
    }
    for (size_t k = 1; k < 3; k++)
        if (counts[k] > counts[best])
            best = k;
    return separators[best];
}

/* The label's column by its place: `columns` for none, more if there is no such place, SIZE_MAX for a name. */
static size_t label_place(const char *choice, size_t columns)
{
    if (!choice || strcmp(choice, "last") == 0)
        return columns - 1;
    if (strcmp(choice, "first") == 0)
        return 0;
    if (strcmp(choice, "none") == 0)
        return columns;
    if (!choice[0] || choice[strspn(choice, "0123456789")])
        return SIZE_MAX;
    errno = 0;
    unsigned long long place = strtoull(choice, NULL, 10);
    return errno || !place || place > columns ? columns + 1 : (size_t)place - 1;
}

/* The second record's label is a number. */
static bool next_is_number(reader r, size_t label)
{
    double value;
    bool whole;
    int more = 1;
    for (size_t c = 0; c <= label && more > 0; c++)
        more = read_cell(&r);
    return more >= 0 && r.column == label + 1 && finite_number(r.cell, &value, &whole);
}

/* Looks at the first record; r stands at its begin before, and at the first row's after. */
static int find_layout(reader *r, const char *choice, layout *l)
{
    reader begin = *r;
    size_t named = SIZE_MAX;
    int more = 1;
    while (more > 0) {
        more = read_cell(r);
        if (choice && named == SIZE_MAX && strcmp(r->cell, choice) == 0)
            named = r->column - 1;
    }
    if (more < 0)
        return -1;
    l->columns = r->column;
    l->label = label_place(choice, l->columns);
    if (l->label == SIZE_MAX && (l->label = named) == SIZE_MAX)
        return ad_fail(r->error, "%s: no column of line 1 is named '%s'", r->path, choice);
    if (l->label > l->columns)
        return ad_fail(r->error, "%s: no column %s: line 1 has %zu", r->path, choice, l->columns);
    if (l->columns - (l->label < l->columns) == 0)
        return ad_fail(r->error, "%s: line 1 has one column only, which is the label", r->path);
    l->header = named != SIZE_MAX && label_place(choice, l->columns) == SIZE_MAX;
    reader again = begin;
    size_t numbers = 0;
    bool label_is_number = true, whole;
    for (size_t c = 0; c < l->columns; c++) {
        double value;
        again.cell[0] = 0;
        read_cell(&again);
        bool is_number = finite_number(again.cell, &value, &whole);
        if (c == l->label)
            label_is_number = is_number;
        else
            numbers += is_number;
    }
    reader next = *r;
    next.column = 0;
    l->header = l->header || !numbers || (l->label < l->columns && !label_is_number && next_is_number(next, l->label));
    if (!l->header)
        *r = begin;
    return 0;
}

/* One row: x (columns but the label's) and its label. */
static int read_row(reader *r, const layout *l, labels *words, bool first, double *x, double *y)
{
    int more = 1;
    bool whole;
    r->column = 0;
    while (more > 0) {
        if ((more = read_cell(r)) < 0)
            return -1;
        if (r->column > l->columns)
            break;
        if (r->column - 1 == l->label) {
            if (read_label(r, words, first, y) != 0)
                return -1;
        } else if (!r->cell[0] && r->column == 1 && !more)
            return ad_fail(r->error, "%s: line %zu is empty", r->path, r->line);
        else if (!finite_number(r->cell, x++, &whole))
            return wrong(r, r->cell[0] ? "is no finite number" : "is empty, where a number is needed");
    }
    if (r->column != l->columns)
        return ad_fail(r->error, "%s: line %zu has %s%zu columns, the first has %zu", r->path, r->line,
                       more > 0 ? "at least " : "", r->column, l->columns);
    return 0;
}

static int read_rows(reader *r, const layout *l, labels *words, ds_data *data)
{
    size_t row = 0;
    for (; r->at < r->end; row++)
        if (read_row(r, l, words, !row, data->x + row * data->features, data->y ? data->y + row : NULL) != 0)
            return -1;
    data->rows = row;
    return 0;
}

static ds_data *read_table(reader *r, labels *words, const ds_options *options)
{
    layout l;
    if (find_layout(r, options->label_column, &l) != 0)
        return NULL;
    bool labelled = l.label < l.columns;
    size_t rows = r->at < r->end;
    for (const char *at = r->at; at + 1 < r->end; at++)
        rows += *at == '\n' || (*at == '\r' && at[1] != '\n');
    /* A row has a byte for each cell and one between two of them. */
    size_t maximum = (size_t)(r->end - r->at) / (2 * l.columns - 1) + 1;
    ds_data *data = NULL;
    if (!rows)
        ad_fail(r->error, "%s: no row of data follows its header", r->path);
    else
        data = ds_new(r->path, rows < maximum ? rows : maximum, l.columns - labelled, labelled, r->error);
    if (!data)
        return NULL;
    int failed = read_rows(r, &l, words, data);
    if (!failed && labelled && words->spoken)
        failed = classes_of_words(data, words, r->error);
    else if (!failed && labelled && words->whole)
        failed = classes_of_numbers(data, r->path, r->error);
    if (!labelled)
        data->targets = 0;
    if (!failed)
        failed = ds_finish(data, 0, options, r->error);
    if (!failed)
        return data;
    ds_free(data);
    return NULL;
}

/* The text without a byte order mark and without empty lines at its end. */
static ds_data *read_text(const char *path, const char *text, size_t bytes, const ds_options *options, ad_error *error)
{
    reader r = { .path = path, .error = error, .at = text, .end = text + bytes, .lines = 1 };
    if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        r.at += 3;
    while (r.end > r.at && newline(r.end[-1]))
        r.end--;
    if (r.at == r.end) {
        ad_fail(error, "%s: it is empty", path);
        return NULL;
    }
    r.separator = separator_of(r.at, r.end);
    labels words = { .arena = ad_arena_new(error) };
    if (words.arena)
        words.words = ad_alloc(DS_CLASSES, sizeof *words.words, "the classes", error);
    ds_data *data = words.words ? read_table(&r, &words, options) : NULL;
    ad_free(words.words);
    ad_arena_free(words.arena);
    return data;
}

ds_data *ds_load_csv(const char *path, const ds_options *options, ad_error *error)
{
    size_t bytes = 0;
    char *text = ds_unfold(path, DS_FILE, &bytes, error);
    ds_data *data = text ? read_text(path, text, bytes, options, error) : NULL;
    ad_free(text);
    return data;
}
