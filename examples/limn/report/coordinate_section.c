/* coordinate_section.c: the coordinate check in a report: a table and a plot. */
#include "examples/limn/report/report.h"

#include <math.h>
#include <string.h>

static void write_name(const coordinate_check *c, int v, const char *of, FILE *out)
{
    fputs("<tr><td>", out);
    report_escape(out, c->regime.vectors[v].name, strlen(c->regime.vectors[v].name));
    fprintf(out, "</td><td>%s</td>", of);
}

/* The line's numbers, and what is said of it. */
static void write_line(coordinate_line l, const char *says, FILE *out)
{
    if (l.underived || isinf(l.derived))
        fprintf(out, "<td>%s</td>", l.underived ? "none" : "zero");
    else
        fprintf(out, "<td>%.3g</td>", l.derived);
    if (l.zero || l.unfit)
        fprintf(out, "<td>none</td><td></td><td>%s", l.zero ? "it is 0" : "some networks have 0 there, or no number");
    else {
        fprintf(out, "<td>%.2f</td><td>%.2f to %.2f</td><td>", l.fitted, l.fitted - l.half, l.fitted + l.half);
        report_escape(out, says, strlen(says));
    }
    const char *before = l.zero || l.unfit || *says ? ": " : "";
    if (l.underived)
        fprintf(out, "%snot derived, as %s", before, l.underived);
    else if (l.lost) {
        fprintf(out, "%snot told, as the update is lost in rounding of ", before);
        report_escape(out, l.lost, strlen(l.lost));
    } else if (!l.agrees)
        fprintf(out, "%snot as derived", before);
    fputs("</td></tr>\n", out);
}

static void write_vector(const coordinate_check *c, int v, FILE *out)
{
    char leaders[COORDINATE_TEXT], alone[COORDINATE_TEXT];
    coordinate_leaders(c, v, leaders);
    for (int kind = 0; kind < COORDINATE_KINDS; kind++) {
        write_name(c, v, coordinate_kinds[kind], out);
        write_line(coordinate_fit(c, v, (coordinate_kind)kind), kind == COORDINATE_CHANGE ? leaders : "", out);
    }
    for (int param = 0; param < c->regime.n_params; param++) {
        coordinate_line l = coordinate_part(c, v, param);
        if (l.agrees)
            continue;
        ad_snprintf(alone, sizeof alone, "by %.80s alone", c->regime.params[param].name);
        write_name(c, v, coordinate_kinds[COORDINATE_CHANGE], out);
        write_line(l, alone, out);
    }
}

static void write_table(const coordinate_check *c, FILE *out)
{
    fputs("<table><tr><th>vector</th><th>of its</th><th>derived</th><th>fitted</th><th>95 % interval</th><th></th>"
          "</tr>\n",
          out);
    for (int v = 0; v < c->regime.n_vectors; v++)
        write_vector(c, v, out);
    fputs("</table>\n", out);
}

/* Changes over the width: of as many vectors as there are colours, from the first to the output. */
static int plot_changes(const report *r, const coordinate_check *c, FILE *out, ad_error *missing, ad_error *error)
{
    int all = c->regime.n_vectors, shown = all < PLOT_COLOURS ? all : PLOT_COLOURS;
    char block[24], name[80];
    plot p;
    if (plot_begin(&p, "coordinates", 480, 320, error))
        return -1;
    for (int i = 0; i < shown; i++) {
        int v = shown > 1 ? i * (all - 1) / (shown - 1) : 0;
        snprintf(block, sizeof block, "$v%d", i);
        snprintf(name, sizeof name, "%.79s", c->regime.vectors[v].name);
        plot_data(&p, block, name, "width,change");
        for (int k = 0; k < c->n_widths; k++)
            fprintf(p.stream, "%zu %.10g\n", c->widths[k], exp(coordinate_log_mean(c, v, COORDINATE_CHANGE, k)));
        fputs("E\n", p.stream);
    }
    fputs("set logscale xy\nset xlabel 'width n'\nset title 'change of a coordinate'\nset key outside right\nset "
          "format y '10^{%L}'\nplot ",
          p.stream);
    for (int i = 0; i < shown; i++) {
        int v = shown > 1 ? i * (all - 1) / (shown - 1) : 0;
        coordinate_line l = coordinate_fit(c, v, COORDINATE_CHANGE);
        snprintf(name, sizeof name,
                 l.zero    ? "%.40s: 0"
                 : l.unfit ? "%.40s"
                           : "%.40s: n^{%.2f}",
                 c->regime.vectors[v].name, l.fitted);
        fprintf(p.stream, "%s$v%d using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc rgb '%s' title ", i ? ", " : "", i,
                plot_colours[i]);
        plot_quote(p.stream, name);
    }
    fputs("\n", p.stream);
    report_figure(
        r, out, &p,
        "The root mean square of what training changes in a vector's coordinates, by the parameters whose part "
        "has the largest power, over the width: flat where features are learned, falling in the kernel "
        "regime.",
        missing);
    return 0;
}

int report_write_coordinates(const report *r, const coordinate_check *c, FILE *out, ad_error *missing, ad_error *error)
{
    fputs("<h2>Coordinate check</h2>\n<p class=\"soft\">", out);
    report_escape(out, c->regime.verdict, strlen(c->regime.verdict));
    fprintf(out, ". %ld step%s of the rate %.3g, %ld networks a width.</p>\n", c->steps, c->steps > 1 ? "s" : "",
            c->rate, c->seeds);
    write_table(c, out);
    fputs("<div class=\"plots\">\n", out);
    int status = plot_changes(r, c, out, missing, error);
    fputs("</div>\n", out);
    return status;
}
