/* spectrum_files.c: a spectrum as a file: an array, a table, a plot. */
#include "examples/limn/commands/spectrum.h"
#include "examples/limn/report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool spectrum_writes(const char *path)
{
    return path_ends_with(path, ".npy") || path_ends_with(path, ".csv") || path_ends_with(path, ".svg");
}

/* Columns of a row: lambda, its density, the density of log lambda, the mass at most at lambda. */
static void row_of(const tp_spectrum *s, size_t i, double *row)
{
    row[0] = exp(s->log_lambda[i]);
    row[1] = row[0] > 0 ? s->per_log[i] / row[0] : INFINITY;
    row[2] = s->per_log[i];
    row[3] = tp_spectrum_below(s, s->log_lambda[i]);
}

static int write_array(const spectrum_result *r, ad_error *error)
{
    const tp_spectrum *s = &r->limit;
    double *rows = ad_alloc(4 * s->points, sizeof *rows, "a spectrum", error);
    for (size_t i = 0; i < s->points && rows; i++)
        row_of(s, i, rows + 4 * i);
    int status = rows ? ds_npy_write(r->o->out, rows, (size_t[]){ s->points, 4 }, 2, error) : -1;
    ad_free(rows);
    return status;
}

int spectrum_write_text(const char *path, const char *text, ad_error *error)
{
    ad_file *file = ad_file_create(path, error);
    if (!file)
        return -1;
    if (!ad_file_write(file, text, strlen(text), error))
        return ad_file_close(file, error);
    ad_file_discard(file);
    return -1;
}

static int write_table(const spectrum_result *r, ad_error *error)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return ad_fail(error, "out of memory for a table");
    fputs("lambda,density,density_of_log,below\n", stream);
    for (size_t i = 0; i < r->limit.points; i++) {
        double row[4];
        row_of(&r->limit, i, row);
        fprintf(stream, "%.17g,%.17g,%.17g,%.17g\n", row[0], row[1], row[2], row[3]);
    }
    int status =
        fclose(stream) ? ad_fail(error, "out of memory for a table") : spectrum_write_text(r->o->out, text, error);
    free(text);
    return status;
}

static int draw(const spectrum_result *r, ad_error *error)
{
    spectrum_shown shown = { &r->limit, r->squares, r->n_squares, r->widths[0], r->seeds };
    plot p;
    if (plot_begin(&p, "spectrum", 560, 380, error))
        return -1;
    int status = spectrum_script(&p, &shown, error);
    char *picture = plot_end(&p, NULL, status ? &(ad_error){ 0 } : error);
    if (!status)
        status = picture ? spectrum_write_text(r->o->out, picture, error) : -1;
    ad_free(picture);
    return status;
}

int spectrum_write(const spectrum_result *r, ad_error *error)
{
    const char *out = r->o->out;
    if (!r->limit.points && !(path_ends_with(out, ".svg") && (r->n_squares || !r->limit.has_law)))
        return ad_fail(error, "%s: there is no density to write: %s", out,
                       r->limit.has_law ? "atoms are all of the spectrum" : r->limit.method);
    if (path_ends_with(out, ".npy"))
        return write_array(r, error);
    return path_ends_with(out, ".csv") ? write_table(r, error) : draw(r, error);
}
