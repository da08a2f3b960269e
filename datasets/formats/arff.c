/* arff.c: WEKA's ARFF, whose attributes are numbers or have a list of values.
 *
 *     file      = { line } "@data" { row }                  a '%' begins a comment
 *     line      = "@relation" word | "@attribute" word ( "numeric" | "real" | "integer" | "{" word { "," word } "}" )
 *     row       = word { "," word } | "{" [ place word { "," place word } ] "}"        places count from 0
 *     word      = bytes | quote { bytes | '\' byte } quote
 *
 * In the second form what is not there is 0, or the first value of the list. */
#include "autodiff/base/base.h"
#include "datasets/formats/formats.h"
#include "datasets/formats/gzip.h"
#include "datasets/formats/table.h"
#include "datasets/set/set.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct {
    const char *text;
    size_t number;
} value;

typedef struct {
    const char *name;
    value *values;     /* sorted by text; NULL: a number */
    const char **list; /* in the file's order */
    int count;
    size_t column; /* of x, the first of `count`; nothing of the label */
} attribute;

typedef struct {
    const char *path;
    ad_error *error;
    ad_arena *arena;
    const char *at, *end;
    size_t line;
    attribute *attributes;
    int count, capacity;
    size_t label, features; /* label == count: none */
    bool quoted;
    char word[DS_CELL];
} parser;

static int fail_at(const parser *p, const char *what)
{
    return ad_fail(p->error, "%s: line %zu: %s", p->path, p->line, what);
}

static int no_memory(const parser *p)
{
    return ad_fail(p->error, "out of memory for the attributes of %s", p->path);
}

static bool at_newline(const parser *p)
{
    return p->at < p->end && (*p->at == '\n' || *p->at == '\r');
}

static void skip_blanks(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t'))
        p->at++;
    if (p->at < p->end && *p->at == '%')
        while (p->at < p->end && !at_newline(p))
            p->at++;
}

/* True, and steps over them, if nothing but blanks and a comment is left of the line. */
static bool accept_end(parser *p)
{
    skip_blanks(p);
    if (p->at < p->end && !at_newline(p))
        return false;
    if (p->end - p->at > 1 && p->at[0] == '\r' && p->at[1] == '\n')
        p->at++;
    p->at += p->at < p->end;
    p->line++;
    return true;
}

static bool accept(parser *p, char c)
{
    skip_blanks(p);
    if (p->at == p->end || *p->at != c)
        return false;
    p->at++;
    return true;
}

static void skip_empty_lines(parser *p)
{
    while (p->at < p->end && accept_end(p))
        continue;
}

static int read_word(parser *p)
{
    size_t length = 0;
    skip_blanks(p);
    char quote = p->at < p->end && (*p->at == '\'' || *p->at == '"') ? *p->at++ : 0;
    p->quoted = quote != 0;
    for (;; p->at++) {
        bool ended = p->at == p->end || at_newline(p);
        if (quote && ended)
            return fail_at(p, "no closing quote");
        if (ended || (quote ? *p->at == quote : strchr(" \t,{}%", *p->at) != NULL && *p->at))
            break;
        if (quote && *p->at == '\\' && p->end - p->at > 1)
            p->at++;
        if ((unsigned char)*p->at < ' ')
            return fail_at(p, "a byte that is no text");
        if (length + 1 == DS_CELL)
            return ad_fail(p->error, "%s: line %zu: a word of more than %d bytes", p->path, p->line, DS_CELL - 1);
        p->word[length++] = *p->at;
    }
    p->at += quote != 0;
    p->word[length] = 0;
    return length || quote ? 0 : fail_at(p, "a word is missing");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const value *)a)->text, ((const value *)b)->text);
}

/* Behind '{'. */
static int read_values(parser *p, attribute *a)
{
    int capacity = 0;
    do {
        void *list = a->list;
        if (read_word(p) != 0)
            return -1;
        const char *text = ad_arena_text(p->arena, "%s", p->word);
        if (!text || !ad_arena_grow(p->arena, &list, a->count, &capacity, sizeof *a->list))
            return no_memory(p);
        a->list = list;
        a->list[a->count++] = text;
    } while (accept(p, ','));
    if (!accept(p, '}'))
        return fail_at(p, "'}' is missing behind the values of the attribute");
    if (!(a->values = ad_arena_alloc(p->arena, (size_t)a->count, sizeof *a->values)))
        return no_memory(p);
    for (int i = 0; i < a->count; i++)
        a->values[i] = (value){ a->list[i], (size_t)i };
    qsort(a->values, (size_t)a->count, sizeof *a->values, by_text);
    for (int i = 1; i < a->count; i++)
        if (by_text(&a->values[i - 1], &a->values[i]) == 0)
            return ad_fail(p->error, "%s: line %zu: the value '%.40s' comes twice", p->path, p->line,
                           a->values[i].text);
    return 0;
}

static int read_type(parser *p, attribute *a)
{
    if (accept(p, '{'))
        return read_values(p, a);
    if (read_word(p) != 0)
        return -1;
    if (strcasecmp(p->word, "numeric") == 0 || strcasecmp(p->word, "real") == 0 || strcasecmp(p->word, "integer") == 0)
        return 0;
    return ad_fail(p->error,
                   "%s: line %zu: attribute '%.40s' is of type %.40s; read are numeric, real, integer and {a, list}: "
                   "leave it out, or list its values",
                   p->path, p->line, a->name, p->word);
}

static int read_attribute(parser *p)
{
    void *attributes = p->attributes;
    if (read_word(p) != 0)
        return -1;
    if (!ad_arena_grow(p->arena, &attributes, p->count, &p->capacity, sizeof *p->attributes))
        return no_memory(p);
    p->attributes = attributes;
    attribute *a = &p->attributes[p->count];
    if (!(a->name = ad_arena_text(p->arena, "%s", p->word)))
        return no_memory(p);
    p->count++;
    return read_type(p, a);
}

/* Up to the first row. */
static int read_header(parser *p)
{
    for (;;) {
        skip_empty_lines(p);
        if (!accept(p, '@'))
            return fail_at(p, "@relation, @attribute or @data expected");
        if (read_word(p) != 0)
            return -1;
        bool data = strcasecmp(p->word, "data") == 0;
        if (strcasecmp(p->word, "attribute") == 0) {
            if (read_attribute(p) != 0)
                return -1;
        } else if (strcasecmp(p->word, "relation") == 0) {
            while (p->at < p->end && !at_newline(p))
                p->at++;
        } else if (!data)
            return fail_at(p, "@relation, @attribute or @data expected");
        if (!accept_end(p))
            return fail_at(p, "more than belongs to this line");
        if (data)
            return p->count ? 0 : fail_at(p, "no @attribute stands before @data");
    }
}

/* Finds the label, and gives each other attribute its columns. */
static int place_attributes(parser *p, const char *choice)
{
    size_t count = (size_t)p->count;
    p->label = ds_label_place(choice, count, count);
    for (size_t k = 0; k < count && p->label == SIZE_MAX; k++)
        if (strcmp(p->attributes[k].name, choice) == 0)
            p->label = k;
    if (p->label == SIZE_MAX)
        return ad_fail(p->error, "%s: no attribute is named '%s'", p->path, choice);
    if (p->label > count)
        return ad_fail(p->error, "%s: no attribute %s: there are %zu", p->path, choice, count);
    for (size_t k = 0; k < count; k++) {
        attribute *a = &p->attributes[k];
        a->column = p->features;
        if (k != p->label)
            p->features += a->values ? (size_t)a->count : 1;
        else if (a->count > (int)DS_CLASSES)
            return ad_fail(p->error, "%s: the label has %d values; classes are at most %zu", p->path, a->count,
                           DS_CLASSES);
    }
    return p->features ? 0 : ad_fail(p->error, "%s: one attribute only, which is the label", p->path);
}

/* Lines that are neither empty nor a comment. */
static size_t count_rows(parser p)
{
    size_t rows = 0;
    for (skip_empty_lines(&p); p.at < p.end; skip_empty_lines(&p)) {
        rows++;
        while (p.at < p.end && !at_newline(&p))
            p.at++;
    }
    return rows;
}

/* Value `number` of an attribute, or the number. */
static void put(const parser *p, size_t k, double number, double *x, double *y)
{
    const attribute *a = &p->attributes[k];
    if (k == p->label)
        *y = number;
    else if (a->values)
        x[a->column + (size_t)number] = 1;
    else
        x[a->column] = number;
}

/* The word as a value of attribute k. */
static int take_value(parser *p, size_t k, double *x, double *y)
{
    const attribute *a = &p->attributes[k];
    double number = 0;
    bool whole;
    if (!p->quoted && strcmp(p->word, "?") == 0)
        return ad_fail(p->error, "%s: line %zu, attribute '%.40s': a missing value: leave its row out, or fill it in",
                       p->path, p->line, a->name);
    if (a->values) {
        const value *found =
            bsearch(&(value){ .text = p->word }, a->values, (size_t)a->count, sizeof *a->values, by_text);
        if (!found)
            return ad_fail(p->error, "%s: line %zu, attribute '%.40s': '%.40s' is none of its %d values", p->path,
                           p->line, a->name, p->word, a->count);
        number = (double)found->number;
    } else if (!ds_finite_number(p->word, &number, &whole))
        return ad_fail(p->error, "%s: line %zu, attribute '%.40s': '%.40s' is no finite number", p->path, p->line,
                       a->name, p->word);
    put(p, k, number, x, y);
    return 0;
}

static int read_dense(parser *p, double *x, double *y)
{
    for (size_t k = 0; k < (size_t)p->count; k++) {
        if (accept(p, '{'))
            return fail_at(p, "rows have no weights here: leave them out");
        if (read_word(p) != 0 || take_value(p, k, x, y) != 0)
            return -1;
        accept(p, ',');
    }
    if (accept(p, '{'))
        return fail_at(p, "rows have no weights here: leave them out");
    return 0;
}

/* Behind '{'. */
static int read_sparse(parser *p, double *x, double *y)
{
    size_t next = 0, count = (size_t)p->count;
    while (!accept(p, '}')) {
        if (read_word(p) != 0)
            return -1;
        size_t place =
            p->quoted || p->word[strspn(p->word, "0123456789")] || strlen(p->word) > 9 ? count : (size_t)atol(p->word);
        if (place < next || place >= count)
            return ad_fail(p->error, "%s: line %zu: place '%.40s': it must be above the one before, and below %zu",
                           p->path, p->line, p->word, count);
        for (; next < place; next++)
            put(p, next, 0, x, y);
        if (read_word(p) != 0 || take_value(p, next++, x, y) != 0)
            return -1;
        accept(p, ',');
    }
    for (; next < count; next++)
        put(p, next, 0, x, y);
    return 0;
}

static int read_rows(parser *p, ds_data *data)
{
    double unused;
    size_t row = 0;
    for (skip_empty_lines(p); p->at < p->end && row < data->rows; row++, skip_empty_lines(p)) {
        double *x = data->x + row * data->features, *y = data->y ? data->y + row : &unused;
        if ((accept(p, '{') ? read_sparse : read_dense)(p, x, y) != 0)
            return -1;
        if (!accept_end(p))
            return ad_fail(p->error, "%s: line %zu: more values than the %d attributes", p->path, p->line, p->count);
    }
    return 0;
}

static void tell_lists(const parser *p, ds_data *data)
{
    char text[160];
    for (size_t k = 0; k < (size_t)p->count; k++) {
        const attribute *a = &p->attributes[k];
        if (k == p->label || !a->values)
            continue;
        size_t used = 0, room = sizeof text - 5; /* for ", ..." */
        int i = 0;
        text[0] = 0;
        for (; i < a->count && used + strlen(a->list[i]) + 2 < room; i++)
            used += (size_t)snprintf(text + used, room - used, "%s%s", i ? ", " : "", a->list[i]);
        if (i < a->count)
            snprintf(text + used, sizeof text - used, i ? ", ..." : "...");
        ds_note(data, "%s one-hot (%s)", a->name, text);
    }
}

static ds_data *read_text(parser *p, const ds_options *options)
{
    if (read_header(p) != 0 || place_attributes(p, options->label_column) != 0)
        return NULL;
    const attribute *label = p->label < (size_t)p->count ? &p->attributes[p->label] : NULL;
    ds_data *data = ds_new(p->path, count_rows(*p), p->features, label != NULL, p->error);
    if (!data)
        return NULL;
    int failed = read_rows(p, data);
    if (!failed && label && label->values) {
        data->classes = (size_t)label->count;
        failed = ds_name_classes(data, label->list, p->error);
    }
    if (!failed) {
        tell_lists(p, data);
        failed = ds_finish(data, 0, options, p->error);
    }
    if (!failed)
        return data;
    ds_free(data);
    return NULL;
}

bool ds_arff_in_file(const ds_found *found)
{
    return ds_ends(found->path, ".arff") || ds_ends(found->path, ".arff.gz") ||
           strncasecmp((const char *)found->head, "@relatio", 8) == 0;
}

ds_data *ds_load_arff(const char *path, const ds_options *options, ad_error *error)
{
    size_t bytes = 0;
    ds_data *data = NULL;
    char *text = ds_unfold(path, DS_FILE, &bytes, error);
    parser p = { .path = path, .error = error, .at = text, .line = 1 };
    if (text && (p.arena = ad_arena_new(error))) {
        p.end = text + bytes;
        if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
            p.at += 3;
        data = read_text(&p, options);
    }
    ad_arena_free(p.arena);
    ad_free(text);
    return data;
}
