/* csv.c: tables of text: CSV, other separators, blanks. Their dialect is found, not asked for. */
#include "datasets/formats/formats.h"
#include "datasets/formats/gzip.h"
#include "datasets/formats/table.h"
#include "datasets/set/set.h"

#include <string.h>

/* What begins so is no table; and what to do. */
static const struct {
    const char *mark;
    size_t bytes;
    const char *cure;
} foreign[] = {
    { "\xFF\xFE", 2, "UTF-16: save it as UTF-8, as iconv -f UTF-16 -t UTF-8 does" },
    { "\xFE\xFF", 2, "UTF-16: save it as UTF-8, as iconv -f UTF-16 -t UTF-8 does" },
    { "PK\3\4", 4,
      "a zip file, as a sheet of Excel or a tensor of PyTorch is one: unpack it, or save the sheet "
      "as CSV, the tensor by np.save" },
    { "\xD0\xCF\x11\xE0", 4, "an old file of Excel: save the sheet as CSV" },
    { "\x89HDF", 4, "HDF5: save each array by np.save" },
    { "PAR1", 4, "Parquet: save it by df.to_csv" },
    { "ARROW1", 6, "Feather: save it by df.to_csv" },
    { "MATLAB 5.0", 10, "MATLAB's format: save the matrix by writematrix, or by scipy.io.loadmat and np.save" },
    { "%%MatrixMarket", 14, "MatrixMarket's format: save it by scipy.io.mmread, toarray and np.save" },
    { "BZh", 3, "bzip2: unpack it, or use gzip" },
    { "\xFD"
      "7zXZ",
      5, "xz: unpack it, or use gzip" },
    { "\x28\xB5\x2F\xFD", 4, "zstd: unpack it, or use gzip" },
    { "RDX3", 4, "R's format: save it by write.csv" },
    { "RDX2", 4, "R's format: save it by write.csv" },
    { "X\n\0\0", 4, "R's format: save it by write.csv" },
    { "SQLite format 3", 15, "SQLite: save the table as CSV" },
    { "{", 1, "JSON: save it as CSV, as pd.read_json and df.to_csv do" },
    { "[", 1, "JSON: save it as CSV, as pd.read_json and df.to_csv do" },
    { "\x80\2", 2, "a pickle: save the array by np.save, or the frame by df.to_csv" },
    { "\x80\3", 2, "a pickle: save the array by np.save, or the frame by df.to_csv" },
    { "\x80\4", 2, "a pickle: save the array by np.save, or the frame by df.to_csv" },
    { "\x80\5", 2, "a pickle: save the array by np.save, or the frame by df.to_csv" },
};

/* One row: x (columns but the label's and the index) and its label. */
static int read_row(ds_reader *r, const ds_layout *l, ds_labels *words, bool first, double *x, double *y)
{
    int more = 1;
    bool whole;
    r->column = 0;
    while (more > 0) {
        if ((more = ds_read_cell(r)) < 0)
            return -1;
        size_t place = r->column - 1;
        if (place == l->columns && l->trailing && !more && !r->cell[0])
            return 0;
        if (place >= l->columns)
            break;
        if (place == l->label) {
            if (ds_read_label(r, words, first, y) != 0)
                return -1;
        } else if (!r->cell[0] && !place && !more)
            return ad_fail(r->error, "%s: line %zu is empty: take it out", r->path, r->line);
        else if (place != l->index && ds_take_number(r, x++, &whole) != 0)
            return -1;
    }
    if (r->column != l->columns)
        return ad_fail(r->error, "%s: line %zu has %s%zu columns, the first has %zu", r->path, r->line,
                       more > 0 ? "at least " : "", r->column, l->columns);
    return 0;
}

static int read_rows(ds_reader *r, const ds_layout *l, ds_labels *words, ds_data *data)
{
    size_t row = 0;
    for (ds_skip_comments(r); r->at < r->end; row++) {
        if (read_row(r, l, words, !row, data->x + row * data->features, data->y ? data->y + row : NULL) != 0)
            return -1;
        const char *comment = ds_skip_comments(r);
        if (comment && r->end - comment > 10 && memcmp(comment, " columns: ", 10) == 0)
            return ad_fail(r->error, "%s: line %zu: a second matrix of Octave's: save each in a file of its own",
                           r->path, r->lines);
    }
    if (!row)
        return ad_fail(r->error, "%s: no row of data", r->path);
    data->rows = row;
    return ds_check_decimals(r);
}

static void tell(const ds_reader *r, const ds_layout *l, ds_data *data)
{
    if (l->index < l->columns)
        ds_note(data, "column %zu is an index, left out", l->index + 1);
    if (l->guessed)
        ds_note(data, "the first line is taken as a header, though it has numbers");
    if (r->decimal.sign == ',')
        ds_note(data, "decimal commas");
    if (r->comments)
        ds_note(data, "%zu %s of comment (#)%s", r->comments, r->comments == 1 ? "line" : "lines",
                l->comment_head ? ", the header among them" : "");
}

static int finish_table(ds_reader *r, const ds_layout *l, const ds_labels *words, const ds_options *options,
                        ds_data *data)
{
    bool labelled = l->label < l->columns;
    tell(r, l, data);
    if (labelled && ds_finish_labels(data, words, r->path, r->error) != 0)
        return -1;
    if (!labelled)
        data->targets = 0;
    return ds_finish(data, 0, options, r->error);
}

static ds_data *read_table(ds_reader *r, ds_labels *words, const ds_options *options)
{
    ds_layout l = { 0 };
    ds_find_separator(r);
    if (ds_find_layout(r, options->label_column, &l) != 0)
        return NULL;
    bool labelled = l.label < l.columns, indexed = l.index < l.columns;
    size_t rows = r->at < r->end;
    for (const char *at = r->at; at + 1 < r->end; at++)
        rows += *at == '\n' || (*at == '\r' && at[1] != '\n');
    /* A row has a byte for each cell but the index, and one behind each cell. */
    size_t maximum = (size_t)(r->end - r->at) / (2 * l.columns - 1) + 1;
    ds_data *data = NULL;
    if (!rows)
        ad_fail(r->error, "%s: no row of data follows its header", r->path);
    else
        data = ds_new(r->path, rows < maximum ? rows : maximum, l.columns - labelled - indexed, labelled, r->error);
    if (!data || (read_rows(r, &l, words, data) == 0 && finish_table(r, &l, words, options, data) == 0))
        return data;
    ds_free(data);
    return NULL;
}

static const char *cure_of(const char *text, size_t bytes)
{
    for (size_t k = 0; k < sizeof foreign / sizeof *foreign; k++)
        if (bytes >= foreign[k].bytes && memcmp(text, foreign[k].mark, foreign[k].bytes) == 0)
            return foreign[k].cure;
    return NULL;
}

/* Without lines at the end that are empty. */
static const char *end_of_text(const char *begin, const char *end)
{
    for (const char *at = end; at > begin && strchr(" \t\r\n\x1A", at[-1]) && at[-1];)
        if (*--at == '\n' || *at == '\r' || *at == '\x1A')
            end = at;
    return end;
}

/* The text without a byte order mark and without empty lines around it. */
static ds_data *read_text(const char *path, const char *text, size_t bytes, const ds_options *options, ad_error *error)
{
    ds_reader r = { .path = path, .error = error, .at = text, .end = end_of_text(text, text + bytes), .lines = 1 };
    const char *cure = cure_of(text, bytes);
    if (cure) {
        ad_fail(error, "%s: no table of text but %s", path, cure);
        return NULL;
    }
    if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        r.at += 3;
    for (; r.at < r.end && (*r.at == '\n' || *r.at == '\r'); r.at++)
        r.lines += *r.at == '\n' || r.at[1] != '\n';
    if (r.at >= r.end) {
        ad_fail(error, "%s: it is empty", path);
        return NULL;
    }
    ds_labels words = { .arena = ad_arena_new(error) };
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
