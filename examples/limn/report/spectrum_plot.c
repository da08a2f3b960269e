/* spectrum_plot.c: singular values as a plot. */
#include "examples/limn/report/report.h"

#include <math.h>
#include <string.h>

enum { BINS = 60, LINE = 300 };
static const double rounding = 1e-26; /* of the largest square: smaller ones are zeros with rounding */

/* The histogram of the networks' squares in equal pieces of log10 lambda from `low` on, as a density of it. */
static void histogram(const spectrum_shown *r, double low, double high, double *heights)
{
    double width = (high - low) / BINS, least = r->n_squares ? rounding * r->squares[r->n_squares - 1] : 0;
    memset(heights, 0, BINS * sizeof *heights);
    for (size_t i = 0; i < r->n_squares; i++) {
        double at = floor((log10(r->squares[i]) - low) / width);
        if (at >= 0 && at < BINS && r->squares[i] > least)
            heights[(int)at] += 1 / (width * (double)r->n_squares);
    }
}

/* Of an estimate: where all but a hundredth of it is near 0, and a thousandth at the other end. */
static void find_estimated_range(const tp_spectrum *s, double *low, double *high)
{
    const double ten = log(10), down = 8, up = 2;
    double mean = log10(s->moments[0]), at[LINE], density[LINE], mass = 0, all = 0;
    ad_error none = { 0 };
    for (int i = 0; i < LINE; i++)
        at[i] = ten * (mean - down + (down + up) * i / (LINE - 1));
    if (tp_spectrum_estimate(s, LINE, at, density, &none) <= 0)
        return;
    for (int i = 0; i < LINE; i++)
        all += density[i];
    for (int i = 0; i < LINE; i++) {
        *low = mass < 0.01 * all ? at[i] / ten : *low;
        *high = mass < 0.999 * all ? at[i] / ten : *high;
        mass += density[i];
    }
}

/* Of networks: all but a fiftieth near 0, and what is 0 but for roundings. */
static void find_measured_range(const spectrum_shown *r, double *low, double *high)
{
    double largest = r->squares[r->n_squares - 1];
    size_t first = 0;
    while (first < r->n_squares && !(r->squares[first] > rounding * largest))
        first++;
    *low = log10(r->squares[first + (r->n_squares - first) / 50]);
    *high = log10(largest);
}

/* What the plot shows of log10 lambda: all but the last hundredth near 0, or all where that ends within a decade. */
static void find_range(const spectrum_shown *r, double *low, double *high)
{
    const tp_spectrum *s = r->limit;
    double ten = log(10), mass = s->left_out, mean = log10(s->moments[0]);
    size_t first = 0;
    for (; first + 1 < s->points && mass < 0.01; first++)
        mass += s->weights[first] * s->per_log[first];
    *low = mean - 3;
    *high = mean + 1;
    if (s->points) {
        *low = s->log_lambda[first] / ten;
        *high = s->log_lambda[s->points - 1] / ten;
        if (s->log_support[0] / ten > *low - 1)
            *low = s->log_support[0] / ten;
    } else if (!s->has_law && r->n_squares) {
        find_measured_range(r, low, high);
    } else if (!s->has_law) {
        find_estimated_range(s, low, high);
    }
    for (int k = 0; k < s->n_atoms; k++)
        if (s->atoms[k].at > 0) {
            *low = fmin(*low, log10(s->atoms[k].at) - 0.1);
            *high = fmax(*high, log10(s->atoms[k].at) + 0.1);
        }
    *low -= 0.02 * (*high - *low) + 0.01;
    *high += 0.05 * (*high - *low) + 0.02;
}

/* The limit's density, 0 in the gaps between bands. */
static void write_density(plot *p, const tp_spectrum *s)
{
    double ten = log(10);
    int band = 0;
    for (size_t i = 0; i < s->points; i++) {
        for (; band + 1 < s->n_bands && s->log_lambda[i] > s->bands[band][1]; band++)
            fprintf(p->stream, "%.8g 0\n%.8g 0\n", s->bands[band][1] / ten, s->bands[band + 1][0] / ten);
        fprintf(p->stream, "%.8g %.8g\n", s->log_lambda[i] / ten, s->per_log[i] * ten);
    }
}

/* The line's points, and its title. */
static int write_line(plot *p, const tp_spectrum *s, double low, double high, char *title, size_t size)
{
    double ten = log(10), at[LINE], density[LINE];
    ad_error none = { 0 };
    *title = 0;
    write_density(p, s);
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

/* Beside the line, as they have no density: at 0 a label, elsewhere a line with one. */
static void write_atoms(plot *p, const tp_spectrum *s, double low, double high)
{
    for (int k = 0; k < s->n_atoms; k++) {
        double at = log10(s->atoms[k].at);
        if (!(s->atoms[k].at > 0)) {
            fprintf(p->stream, "set label %d 'mass %.3g at 0' at graph 0.03, graph 0.72\n", k + 1, s->atoms[k].mass);
            continue;
        }
        fprintf(p->stream, "set arrow %d from %.6g, graph 0 to %.6g, graph 0.9 nohead lc rgb '%s' lw 2\n", k + 1, at,
                at, plot_colours[1]);
        fprintf(p->stream, "set label %d 'mass %.3g at %.4g' at %.6g, graph 0.93 %s\n", k + 1, s->atoms[k].mass,
                s->atoms[k].at, at, at > (low + high) / 2 ? "right" : "left");
    }
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
    write_atoms(p, s, low, high);
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
