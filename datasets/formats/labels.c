/* labels.c: the labels of a table: words are classes in the order of their bytes, whole numbers in their own. */
#include "datasets/formats/table.h"
#include "datasets/set/set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int learn_word(ds_reader *r, ds_labels *l, double *y)
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
    l->words[low] = (struct ds_word){ text, *y };
    l->count++;
    return 0;
}

int ds_read_label(ds_reader *r, ds_labels *l, bool first, double *y)
{
    bool whole = false;
    if (!r->cell[0])
        return ds_wrong_cell(r, "is empty, where a label is needed: leave its row out, or fill it in");
    if (ds_cell_missing(r))
        return ds_wrong_cell(r, "is no finite number, nor a class: leave its row out, or quote it if it is a class");
    bool is_number = ds_cell_number(r, y, &whole);
    if (first)
        l->spoken = !is_number;
    if (l->spoken)
        return learn_word(r, l, y);
    if (!is_number)
        return ds_wrong_cell(r, "is no finite number, as the labels above are");
    l->whole = (first || l->whole) && whole;
    l->even = (first || l->even) && !(floor(*y) < *y);
    return ds_take_number(r, y, &whole);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* y, whole numbers, becomes the position of each among the distinct ones. */
int ds_classes_of_numbers(ds_data *data, const char *path, ad_error *error)
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

static int classes_of_words(ds_data *data, const ds_labels *l, ad_error *error)
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

int ds_finish_labels(ds_data *data, const ds_labels *l, const char *path, ad_error *error)
{
    if (l->spoken)
        return classes_of_words(data, l, error);
    if (l->whole)
        return ds_classes_of_numbers(data, path, error);
    if (l->even)
        ds_note(data, "labels are whole numbers written with a decimal point, taken as targets");
    return 0;
}
