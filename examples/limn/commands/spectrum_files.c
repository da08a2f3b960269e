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

void spectrum_histogram(const spectrum_result *r, int bins, double low, double high, double *heights)
{
    double width = (high - low) / bins;
    memset(heights, 0, (size_t)bins * sizeof *heights);
    for (size_t i = 0; i < r->n_squares; i++) {
        double at = (log10(r->squares[i]) - low) / width;
        if (at >= 0 && at < bins)
            heights[(int)at] += 1 / (width * (double)r->n_squares);
    }
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

/* What the plot shows of log10 lambda: all but the last hundredth near 0. */
static void find_range(const spectrum_result *r, double *low, double *high)
{
    const tp_spectrum *s = &r->limit;
    double ten = log(10), mass = s->left_out;
    size_t first = 0;
    for (; first + 1 < s->points && mass < 0.01; first++)
        mass += s->weights[first] * s->per_log[first];
    *low = s->points ? s->log_lambda[first] / ten : log10(fmax(r->squares[r->n_squares / 50], 1e-30));
    *high = s->points ? s->log_lambda[s->points - 1] / ten : log10(r->squares[r->n_squares - 1]);
    *low -= 0.02 * (*high - *low) + 0.01;
    *high += 0.05 * (*high - *low) + 0.02;
}

static int draw(const spectrum_result *r, ad_error *error)
{
    enum { BINS = 60 };
    const tp_spectrum *s = &r->limit;
    double low, high, ten = log(10), heights[BINS];
    plot p;
    find_range(r, &low, &high);
    if (plot_begin(&p, "spectrum", 560, 380, error))
        return -1;
    fputs("$limit << E\n", p.stream);
    for (size_t i = 0; i < s->points; i++)
        fprintf(p.stream, "%.8g %.8g\n", s->log_lambda[i] / ten, s->per_log[i] * ten);
    fputs("E\n$networks << E\n", p.stream);
    spectrum_histogram(r, BINS, low, high, heights);
    for (int k = 0; k < BINS && r->n_squares; k++)
        fprintf(p.stream, "%.8g %.8g\n", low + (high - low) * (k + 0.5) / BINS, heights[k]);
    fprintf(p.stream, "E\nset xrange [%.6g:%.6g]\nset yrange [0:*]\nset xlabel 'log_{10} λ'\n", low, high);
    fputs("set ylabel 'density of log_{10} λ'\nset key top left\n", p.stream);
    for (int k = 0; k < s->n_atoms; k++)
        if (!(s->atoms[k].at > 0))
            fprintf(p.stream, "set label %d 'mass %.3g at 0' at graph 0.03, graph 0.72\n", k + 1, s->atoms[k].mass);
        else
            fprintf(p.stream, "set arrow %d from %.6g, graph 0 to %.6g, graph 0.9 nohead lc rgb '%s' lw 2\n", k + 1,
                    log10(s->atoms[k].at), log10(s->atoms[k].at), plot_colours[1]);
    fputs("plot ", p.stream);
    if (r->n_squares)
        fprintf(p.stream, "$networks with boxes fs solid 0.35 noborder lc rgb '%s' title '%d networks, n = %zu'%s",
                plot_colours[0], r->seeds, r->widths[0], s->points ? ", " : "");
    if (s->points)
        fprintf(p.stream, "$limit with lines lw 2 lc rgb '%s' title 'n = ∞'", plot_colours[1]);
    fputs("\n", p.stream);
    char *picture = plot_end(&p, NULL, error);
    int status = picture ? spectrum_write_text(r->o->out, picture, error) : -1;
    ad_free(picture);
    return status;
}

int spectrum_write(const spectrum_result *r, ad_error *error)
{
    const char *out = r->o->out;
    if (!r->limit.points && !(path_ends_with(out, ".svg") && r->n_squares))
        return ad_fail(error, "%s: there is no density to write: %s", out,
                       r->limit.has_law ? "atoms are all of the spectrum" : r->limit.method);
    if (path_ends_with(out, ".npy"))
        return write_array(r, error);
    return path_ends_with(out, ".csv") ? write_table(r, error) : draw(r, error);
}
