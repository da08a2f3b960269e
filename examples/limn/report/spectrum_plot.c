/* spectrum_plot.c: singular values as a plot. */
#include "examples/limn/report/report.h"

#include <math.h>
#include <string.h>

enum { BINS = 60, LINE = 300 };

/* The histogram of the networks' squares in equal pieces of log10 lambda from `low` on, as a density of it. */
static void histogram(const spectrum_shown *r, double low, double high, double *heights)
{
    double width = (high - low) / BINS;
    memset(heights, 0, BINS * sizeof *heights);
    for (size_t i = 0; i < r->n_squares; i++) {
        double at = floor((log10(r->squares[i]) - low) / width);
        if (at >= 0 && at < BINS)
            heights[(int)at] += 1 / (width * (double)r->n_squares);
    }
}

/* What the plot shows of log10 lambda: all but the last hundredth near 0. */
static void find_range(const spectrum_shown *r, double *low, double *high)
{
    const tp_spectrum *s = r->limit;
    double ten = log(10), mass = s->left_out, mean = log10(s->moments[0]);
    size_t first = 0;
    for (; first + 1 < s->points && mass < 0.01; first++)
        mass += s->weights[first] * s->per_log[first];
    *low = s->points ? s->log_lambda[first] / ten : mean - 3;
    *high = s->points ? s->log_lambda[s->points - 1] / ten : mean + 1;
    if (!s->points && r->n_squares) {
        *low = log10(fmax(r->squares[r->n_squares / 50], 1e-30));
        *high = log10(r->squares[r->n_squares - 1]);
    }
    *low -= 0.02 * (*high - *low) + 0.01;
    *high += 0.05 * (*high - *low) + 0.02;
}

/* The line's points, and its title. */
static int write_line(plot *p, const tp_spectrum *s, double low, double high, char *title, size_t size)
{
    double ten = log(10), at[LINE], density[LINE];
    ad_error none = { 0 };
    *title = 0;
    for (size_t i = 0; i < s->points; i++)
        fprintf(p->stream, "%.8g %.8g\n", s->log_lambda[i] / ten, s->per_log[i] * ten);
    if (s->points)
        snprintf(title, size, "n = ∞");
    if (s->has_law)
        return s->points > 0;
    for (int i = 0; i < LINE; i++)
        at[i] = ten * (low + (high - low) * i / (LINE - 1));
    int count = tp_spectrum_estimate(s, LINE, at, density, &none);
    for (int i = 0; i < LINE && count > 0; i++)
        fprintf(p->stream, "%.8g %.8g\n", at[i] / ten, density[i] * ten);
    snprintf(title, size, "estimate from m_1 to m_%d", count);
    return count > 0;
}

int spectrum_script(plot *p, const spectrum_shown *shown, ad_error *error)
{
    const tp_spectrum *s = shown->limit;
    double low, high, heights[BINS];
    char title[60];
    find_range(shown, &low, &high);
    plot_data(p, "$limit", "limit", "log10_lambda,density");
    bool line = write_line(p, s, low, high, title, sizeof title);
    if (!line && !shown->n_squares)
        return ad_fail(error, "the spectrum has no density to draw");
    fputs("E\n", p->stream);
    plot_data(p, "$networks", "networks", "log10_lambda,density");
    histogram(shown, low, high, heights);
    for (int k = 0; k < BINS && shown->n_squares; k++)
        fprintf(p->stream, "%.8g %.8g\n", low + (high - low) * (k + 0.5) / BINS, heights[k]);
    fprintf(p->stream, "E\nset xrange [%.6g:%.6g]\nset yrange [0:*]\nset xlabel 'log_{10} λ'\n", low, high);
    fputs("set ylabel 'density of log_{10} λ'\nset key top left\n", p->stream);
    for (int k = 0; k < s->n_atoms; k++)
        if (!(s->atoms[k].at > 0))
            fprintf(p->stream, "set label %d 'mass %.3g at 0' at graph 0.03, graph 0.72\n", k + 1, s->atoms[k].mass);
        else
            fprintf(p->stream, "set arrow %d from %.6g, graph 0 to %.6g, graph 0.9 nohead lc rgb '%s' lw 2\n", k + 1,
                    log10(s->atoms[k].at), log10(s->atoms[k].at), plot_colours[1]);
    fputs("plot ", p->stream);
    if (shown->n_squares)
        fprintf(p->stream, "$networks with boxes fs solid 0.35 noborder lc rgb '%s' title '%d network%s, n = %zu'%s",
                plot_colours[0], shown->seeds, shown->seeds > 1 ? "s" : "", shown->width, line ? ", " : "");
    if (line)
        fprintf(p->stream, "$limit with lines lw 2 %slc rgb '%s' title '%s' noenhanced", s->has_law ? "" : "dt 2 ",
                plot_colours[1], title);
    fputs("\n", p->stream);
    return 0;
}
