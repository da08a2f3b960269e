/* page.c: the report as one HTML file: tables, plots as SVG inside, and what is needed to make it again. */
#include "examples/limn/report/depth.h"
#include "examples/limn/report/learning.h"
#include "examples/limn/report/plot.h"

#include <cblas.h>
#include <errno.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

enum { BINS = 40 };

typedef struct {
    const report *r;
    FILE *out;
    ad_error *error;   /* of the part that is written */
    ad_error *missing; /* the first of a part that is missing */
} page;

static const char style[] =
    ":root{--ink:#1b1f24;--soft:#57606a;--ground:#fff;--card:#f6f8fa;--line:#d0d7de;--grid:#e3e7eb;color-scheme:light "
    "dark}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--ground:#0d1117;--card:#161b22;"
    "--line:#30363d;--grid:#262c34}}"
    "@media print{:root{--ink:#000;--soft:#444;--ground:#fff;--card:#fff;--line:#bbb;--grid:#ddd}"
    "figure,table,section>p{break-inside:avoid}}"
    "body{margin:0 auto;max-width:1080px;padding:1.5rem;background:var(--ground);color:var(--ink);"
    "font:16px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif}"
    "h1{font-size:1.7rem;margin:.2rem 0 .4rem}h2{font-size:1.2rem;margin:2.2rem 0 .5rem;padding-top:.8rem;"
    "border-top:1px solid var(--line)}p{margin:.4rem 0;max-width:75ch}.soft{color:var(--soft)}"
    ".plots{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}"
    "figure{margin:.6rem 0;padding:.6rem;background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "flex:1 1 300px;max-width:520px;box-sizing:border-box}"
    "figure svg{width:100%;height:auto;display:block}figcaption{font-size:.86rem;color:var(--soft);margin-top:.3rem}"
    "figure [stroke='rgb(  1,   2,   3)']{stroke:var(--ink)}figure [fill='rgb(1,2,3)']{fill:var(--ink)}"
    "figure [stroke='rgb(  1,   2,   4)']{stroke:var(--grid)}figure [color='rgb(  1,   2,   3)']{color:var(--ink)}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.6rem 0}"
    "th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid var(--line)}th{font-weight:600}"
    "td:first-child,th:first-child{text-align:left}"
    "pre{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem;"
    "font:13px/1.45 ui-monospace,'DejaVu Sans Mono',monospace}";

static void note(page *p, const char *text)
{
    fputs("<p class=\"soft\">", p->out);
    report_escape(p->out, text, strlen(text));
    fputs("</p>\n", p->out);
}

/* ---- plots ---- */
static int end(page *p, plot *drawing, const char *caption)
{
    report_figure(p->r, p->out, drawing, caption, p->missing);
    return 0;
}

/* A part of the page, or why it is not there. */
static void part(page *p, int status)
{
    if (status)
        report_missing(p->out, p->error, p->missing);
    *p->error = (ad_error){ 0 };
}

/* Where a key at the right leaves the widest network's values free, in an axis of whole decades. */
static const char *key_beside(const report *r, field f)
{
    double low = INFINITY, high = 0;
    for (int k = 0; k < r->n_columns; k++)
        for (long s = 0; s < report_count(r, f); s++) {
            low = fmin(low, r->columns[k].values[f][s]);
            high = fmax(high, r->columns[k].values[f][s]);
        }
    if (!(low > 0 && high > 0)) /* nothing is drawn */
        return "top";
    double middle = (floor(log10(low)) + ceil(log10(high))) / 2;
    return report_log_mean(r, f, r->widest) / log(10) > middle ? "bottom" : "top";
}

/* All draws, their mean, and the fitted line with its band. */
static int plot_field(page *p, field f, const char *name, const char *title, const char *caption)
{
    const report *r = p->r;
    plot drawing;
    report_line line;
    bool fitted = report_fit(r, f, (double)INFINITY, &line);
    if (plot_begin(&drawing, name, 480, 360, p->error))
        return -1;
    FILE *g = drawing.stream;
    plot_data(&drawing, "$draws", "draw", "width,value");
    for (int k = 0; k < r->n_columns; k++)
        for (long s = 0; s < report_count(r, f); s++)
            fprintf(g, "%zu %.10g\n", r->columns[k].n, r->columns[k].values[f][s]);
    fputs("E\n", g);
    plot_data(&drawing, "$means", "mean", "width,value");
    size_t narrowest = r->columns[0].n, widest = narrowest;
    for (int k = 0; k < r->n_columns; k++) {
        double mean, deviation;
        report_spread(r->columns[k].values[f], report_count(r, f), &mean, &deviation);
        fprintf(g, "%zu %.10g\n", r->columns[k].n, mean);
        narrowest = r->columns[k].n < narrowest ? r->columns[k].n : narrowest;
        widest = r->columns[k].n > widest ? r->columns[k].n : widest;
    }
    fputs("E\n", g);
    plot_data(&drawing, "$band", "fit", "width,value,lowest,highest");
    for (int i = 0; fitted && i <= 60; i++) {
        double x =
            log((double)narrowest / 1.15) + (log((double)widest * 1.15) - log((double)narrowest / 1.15)) * i / 60;
        double y = line.at + line.slope * x;
        double half = line.quantile * line.spread * sqrt(1 / line.points + (x - line.x) * (x - line.x) / line.sxx);
        fprintf(g, "%.10g %.10g %.10g %.10g\n", exp(x), exp(y), exp(y - half), exp(y + half));
    }
    fprintf(g,
            "E\nset logscale xy\nset title '%s'\nset xlabel 'width n'\nset xrange [%g:%g]\nset key %s right\n"
            "set xtics (",
            title, (double)narrowest / 1.2, (double)widest * 1.2, key_beside(r, f));
    for (int k = 0; k < r->n_columns; k++)
        fprintf(g, "%s'%zu' %zu", k ? ", " : "", r->columns[k].n, r->columns[k].n);
    fputs(")\nset format y '%g'\nplot ", g);
    if (fitted)
        fprintf(g,
                "$band using 1:3:4 with filledcurves fc rgb '%s' fs transparent solid 0.2 noborder title '95 %% band', "
                "$band using 1:2 with lines lw 2 lc rgb '%s' title 'slope %.3f ± %.3f', ",
                plot_colours[0], plot_colours[0], line.slope, line.half);
    fprintf(g,
            "$draws with points pt 7 ps 0.35 lc rgb '%s' title 'draws', $means with points pt 7 ps 0.9 lc rgb '%s' "
            "title 'mean'\n",
            plot_colours[5], plot_colours[1]);
    return end(p, &drawing, caption);
}

static int plot_matrix(page *p, const double *a, const double *less, const char *name, const char *title,
                       const char *caption)
{
    plot drawing;
    size_t n = p->r->probes, shown = n > 64 ? 64 : n;
    double largest = 0;
    for (size_t i = 0; i < shown; i++)
        for (size_t j = 0; j < shown; j++)
            largest = fmax(largest, fabs(a[i * n + j] - (less ? less[i * n + j] : 0)));
    char columns[64 * 10] = "input0";
    for (size_t j = 1; j < shown; j++)
        snprintf(columns + strlen(columns), sizeof columns - strlen(columns), ",input%zu", j);
    if (plot_begin(&drawing, name, 360, 340, p->error))
        return -1;
    FILE *g = drawing.stream;
    plot_data(&drawing, "$a", "kernel", columns);
    for (size_t i = 0; i < shown; i++)
        for (size_t j = 0; j < shown; j++)
            fprintf(g, "%.6g%c", a[i * n + j] - (less ? less[i * n + j] : 0), j + 1 < shown ? ' ' : '\n');
    fprintf(g,
            "E\nset title '%s'\nset size ratio 1\nunset grid\nset xlabel 'input'\nset ylabel 'input'\n"
            "set xrange [-0.5:%zu.5]\nset yrange [%zu.5:-0.5]\n",
            title, shown - 1, shown - 1);
    if (less)
        fprintf(g, "set cbrange [%g:%g]\nset palette defined (-1 '#0072B2', 0 '#f4f4f4', 1 '#D55E00')\n", -largest,
                largest);
    else
        fputs("set palette defined (0 '#440154', 1 '#3B528B', 2 '#21918C', 3 '#5EC962', 4 '#FDE725')\n", g);
    fputs("plot $a matrix with image pixels notitle\n", g);
    return end(p, &drawing, caption);
}

/* Eigenvalues of a symmetric (n, n), falling. */
static int find_eigenvalues(const double *kernel, size_t n, double *values, ad_error *error)
{
    double *copy = ad_alloc(n * n, sizeof *copy, "eigenvalues", error);
    if (!copy)
        return -1;
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a report that has a page has its kernels */
    memcpy(copy, kernel, n * n * sizeof *copy);
    int failed = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'N', 'U', (lapack_int)n, copy, (lapack_int)n, values) != 0;
    ad_free(copy);
    for (size_t i = 0; i < n / 2 && !failed; i++) {
        double value = values[i];
        values[i] = values[n - 1 - i];
        values[n - 1 - i] = value;
    }
    return failed ? ad_fail(error, "report: LAPACK found no eigenvalues") : 0;
}

/* Eigenvalues, falling; those of rounding are left out. */
static int plot_spectra(page *p)
{
    static const char *const names[] = { "Θ∞", "Θ₀", "Θₜ" };
    static const char *const series[] = { "limit", "initial", "trained" };
    const report *r = p->r;
    const double *kernels[] = { r->limit, r->first, r->last };
    plot drawing;
    double *values = ad_alloc(r->probes, sizeof *values, "eigenvalues", p->error);
    if (!values)
        return -1;
    int status = plot_begin(&drawing, "eigenvalues", 480, 360, p->error);
    for (int k = 0; k < 3 && !status; k++) {
        status = find_eigenvalues(kernels[k], r->probes, values, p->error);
        char block[8];
        snprintf(block, sizeof block, "$k%d", k);
        plot_data(&drawing, block, series[k], "rank,eigenvalue");
        for (size_t i = 0; i < r->probes && !status; i++)
            if (values[i] > 1e-12 * values[0])
                fprintf(drawing.stream, "%zu %.10g\n", i + 1, values[i]);
        fputs("E\n", drawing.stream);
    }
    ad_free(values);
    if (status)
        return -1;
    fputs("set logscale y\nset format y '10^{%T}'\nset title 'Eigenvalues of the kernels'\nset xlabel 'rank'\nplot ",
          drawing.stream);
    for (int k = 0; k < 3; k++)
        fprintf(drawing.stream, "$k%d with linespoints pt 7 ps 0.45 lw 1.5 lc rgb '%s' title '%s'%s", k,
                plot_colours[k], names[k], k < 2 ? ", " : "\n");
    return end(p, &drawing,
               "Eigenvalues of the probes' kernels, largest first: the limit, and the widest network before and "
               "after training.");
}

/* One line a width, drift or loss; `predicted`, if given, is laid over. */
static int plot_series(page *p, bool drift, const double *predicted, const char *title, const char *key,
                       const char *caption)
{
    const report *r = p->r;
    plot drawing;
    const char *columns = drift ? "step,drift" : "step,loss";
    if (plot_begin(&drawing, drift ? "drift_training" : "loss_training", 480, 360, p->error))
        return -1;
    FILE *g = drawing.stream;
    for (int k = 0; k < r->n_columns; k++) {
        char block[16], series[32];
        snprintf(block, sizeof block, "$w%d", k);
        snprintf(series, sizeof series, "n=%zu", r->columns[k].n);
        plot_data(&drawing, block, series, columns);
        for (int t = 0; t < r->n_points; t++)
            if (r->points[t] > 0)
                fprintf(g, "%ld %.10g\n", r->points[t], drift ? r->columns[k].drift[t] : r->columns[k].loss[t]);
        fputs("E\n", g);
    }
    plot_data(&drawing, "$p", "n=inf", columns);
    for (int t = 0; predicted && t < r->n_points; t++)
        if (r->points[t] > 0)
            fprintf(g, "%ld %.10g\n", r->points[t], predicted[t]);
    fprintf(g, "E\nset logscale xy\nset format y '%%g'\nset title '%s'\nset xlabel 'steps'\nset key %s\nplot ", title,
            key);
    for (int k = 0; k < r->n_columns; k++)
        fprintf(g, "%s$w%d with linespoints pt 7 ps 0.4 lw 1.8 lc rgb '%s' title 'n = %zu'", k ? ", " : "", k,
                plot_colours[k % PLOT_COLOURS], r->columns[k].n);
    if (predicted)
        fprintf(g, ", $p with lines lw 2.4 dt 2 lc rgb '" PLOT_INK "' title '%s'",
                r->theory == REPORT_FEATURES ? "constant kernel" : "kernel, n = ∞");
    fputc('\n', g);
    return end(p, &drawing, caption);
}

/* The neurons of one vector at the widest width, one input, over the Gaussian of the limit. */
static int plot_neurons(page *p, const report_neurons *neurons, const char *name)
{
    plot drawing;
    double deviation = sqrt(neurons->variance), reach = 4 * deviation, step = 2 * reach / BINS, bins[BINS] = { 0 };
    if (plot_begin(&drawing, name, 360, 280, p->error))
        return -1;
    for (size_t i = 0; i < neurons->n; i++) {
        double at = floor((neurons->values[i] + reach) / step);
        if (at >= 0 && at < BINS)
            bins[(int)at] += 1 / ((double)neurons->n * step);
    }
    FILE *g = drawing.stream;
    double top = 1 / sqrt(2 * 3.141592653589793 * neurons->variance);
    plot_data(&drawing, "$h", "neurons", "value,density");
    for (int i = 0; i < BINS; i++) {
        top = fmax(top, bins[i]);
        fprintf(g, "%.8g %.8g\n", -reach + (i + 0.5) * step, bins[i]);
    }
    fputs("E\nset title ", g);
    plot_quote(g, neurons->name);
    fprintf(
        g,
        " noenhanced\nset xlabel 'value'\nset ylabel 'density'\nset xrange [%g:%g]\nset yrange "
        "[0:%g]\n"
        "set samples 200\nset style fill solid 0.45 noborder\nset boxwidth %g\nset key top right\n"
        "plot $h with boxes lc rgb '%s' title 'neurons', exp(-x**2/(2*%.12g))/sqrt(2*pi*%.12g) lw 2 lc rgb '%s' title "
        "'limit'\n",
        -reach, reach, 1.35 * top, step, plot_colours[5], neurons->variance, neurons->variance, plot_colours[1]);
    return end(p, &drawing, "Neurons of the widest network on the first probe, over the Gaussian of the limit.");
}

/* ---- text ---- */
static void write_table(page *p)
{
    const report *r = p->r;
    fputs("<table><tr><th>n</th><th>train %</th><th>test %</th><th>‖Θ₀−Θ∞‖/‖Θ∞‖</th><th>‖Θₜ−Θ₀‖/‖Θ₀‖</th>"
          "<th>‖Θₜ−Θ∞‖/‖Θ∞‖</th></tr>\n",
          p->out);
    for (int k = 0; k < r->n_columns; k++) {
        fprintf(p->out, "<tr><td>%zu</td>", r->columns[k].n);
        for (field f = 0; f < SHOWN; f++) {
            double mean, deviation;
            report_spread(r->columns[k].values[f], report_count(r, f), &mean, &deviation);
            if (isnan(mean))
                fputs("<td>–</td>", p->out);
            else if (f < INITIAL)
                fprintf(p->out, "<td>%.2f ± %.2f</td>", 100 * mean, 100 * deviation);
            else
                fprintf(p->out, "<td>%.4f ± %.4f</td>", mean, deviation);
        }
        fputs("</tr>\n", p->out);
    }
    fputs("</table>\n", p->out);
}

static void write_slopes(page *p)
{
    char text[1000], line[1100];
    fputs("<table><tr><th>slope in n of</th><th>fitted</th><th>95 % interval</th><th>theory</th></tr>\n", p->out);
    for (int k = 0; k < REPORT_CLAIMS; k++) {
        report_line l;
        if (report_fit(p->r, report_claims[k].f, (double)INFINITY, &l))
            fprintf(p->out, "<tr><td>%s</td><td>%.3f</td><td>%.3f to %.3f</td><td>%s</td></tr>\n",
                    report_claims[k].name, l.slope, l.slope - l.half, l.slope + l.half,
                    report_claims[k].theory[p->r->theory]);
    }
    fputs("</table>\n", p->out);
    for (int k = 0; k < REPORT_CLAIMS; k++)
        if (report_remark(p->r, &report_claims[k], text, sizeof text)) {
            snprintf(line, sizeof line, "%s: %s", report_claims[k].name, text);
            note(p, line);
        }
    note(p, "A slope is fitted by least squares to the logarithms of all draws, which are independent: no two networks "
            "have "
            "the same seed. Its interval is Student's.");
}

/* What a printer of the program prints, as it stands on the terminal. */
static int write_printed(page *p, int (*print)(const tp_program *, FILE *, tp_style, ad_error *), ad_error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        return ad_fail(error, "out of memory for the page");
    int status = print(p->r->program, memory, TP_PAPER, error);
    if (fclose(memory) && !status)
        status = ad_fail(error, "out of memory for the page");
    if (!status) {
        fputs("<pre>", p->out);
        report_escape(p->out, text, size);
        fputs("</pre>\n", p->out);
    }
    free(text);
    return status;
}

static int write_program(page *p)
{
    ad_error refusal = { 0 };
    char text[600];
    fputs("<h2>The program</h2>\n<p>The network's forward and backward pass in Netsor⊤, each command with its line of "
          "source.</p>\n",
          p->out);
    if (write_printed(p, tp_print, p->error))
        return -1;
    fputs("<h2>The kernel's recursion</h2>\n", p->out);
    if (write_printed(p, tp_print_recursion, &refusal)) {
        snprintf(text, sizeof text, "It is not written between two inputs alone: %s.", refusal.text);
        note(p, text);
    }
    return 0;
}

static void write_command(page *p)
{
    struct utsname machine = { 0 };
    uname(&machine);
    fputs("<h2>To repeat it</h2>\n<pre>", p->out);
    for (int i = 0; i < p->r->o->argc; i++) {
        const char *word = p->r->o->argv[i];
        bool plain = word[0] && !word[strcspn(word, " \t\n'\"\\$&|;<>()*?[]#~`!")];
        fputs(i ? " " : "", p->out);
        fputs(plain ? "" : "'", p->out);
        report_escape(p->out, word, strlen(word));
        fputs(plain ? "" : "'", p->out);
    }
    fprintf(
        p->out,
        "</pre>\n<p class=\"soft\">First seed %ld; each width has %ld of its own, in the order of the table. limn %s, "
        "compiler %s, %s; %s %s, %ld thread%s. The same command on the same machine gives the same figures.</p>\n",
        p->r->o->seed, p->r->draws, LIMN_VERSION, __VERSION__, openblas_get_config(), machine.sysname, machine.machine,
        p->r->o->threads, p->r->o->threads == 1 ? "" : "s");
}

static void write_body(page *p)
{
    const report *r = p->r;
    fprintf(p->out,
            "<p>Trained on %zu inputs: square loss, %ld full-batch steps with momentum %g, rate %.3g. Θ is the NTK of "
            "%zu probes%s, distances are Frobenius norms; mean ± deviation of %ld seeds (Θ₀: of %ld).%s</p>\n",
            r->trained, r->steps, MOMENTUM, r->rate, r->probes, r->coupled ? ", one batch in training mode" : "",
            r->seeds, r->draws, r->coupled ? " Accuracies are in evaluation, with the running statistics." : "");
    fputs("<p class=\"soft\">Θ∞: ", p->out);
    report_escape(p->out, r->method, strlen(r->method));
    if (r->limit_error > 0)
        fprintf(p->out, ", relative error %.1g", r->limit_error);
    if (r->opinion.text[0])
        fputs("; ", p->out);
    report_escape(p->out, r->opinion.text, strlen(r->opinion.text));
    fputs(".</p>\n", p->out);
    write_table(p);
    write_slopes(p);
    fputs("<h2>Convergence in width</h2>\n<div class=\"plots\">\n", p->out);
    part(p, plot_field(p, INITIAL, "initial_distance", "‖Θ₀−Θ∞‖/‖Θ∞‖",
                       "How far the kernel at initialization is from its limit, for every draw."));
    part(p, plot_field(p, DRIFT, "drift", "‖Θₜ−Θ₀‖/‖Θ₀‖",
                       "How far training moves the kernel, for every trained network."));
    fputs("</div>\n<h2>Training</h2>\n<div class=\"plots\">\n", p->out);
    part(p, plot_series(p, true, NULL, "‖Θₜ−Θ₀‖/‖Θ₀‖ while it trains", "top left",
                        "Drift over time, a line a width, mean over the networks that are measured on the way."));
    part(p, plot_series(p, false, r->has_prediction ? r->predicted : NULL, "Loss of the probes", "bottom left",
                        r->theory == REPORT_FEATURES
                            ? "Square loss of the probes, a line a width, over what gradient descent by the limit "
                              "kernel of the start would come to: features are learned, and the kernel moves."
                            : "Square loss of the probes, a line a width, over the prediction of the limit: the mean "
                              "over an ensemble of Gaussian processes that kernel gradient descent moves."));
    if (!r->has_prediction)
        note(p, r->no_prediction);
    char at[80], apart[120];
    size_t widest = r->columns[r->widest].n;
    snprintf(at, sizeof at, "Θ₀ at n = %zu", widest);
    snprintf(apart, sizeof apart, "Θ₀ − Θ∞ at n = %zu", widest);
    fputs("</div>\n<h2>Kernels</h2>\n<div class=\"plots\">\n", p->out);
    part(p, plot_matrix(p, r->limit, NULL, "kernel_limit", "Θ∞", "The limit kernel of the probes."));
    part(p, plot_matrix(p, r->first, NULL, "kernel_initial", at, "The kernel of one network, before training."));
    part(p, plot_matrix(p, r->first, r->limit, "kernel_difference", apart,
                        "Their difference: blue below the limit, orange above it."));
    part(p, plot_spectra(p));
    fputs("</div>\n<h2>Neurons</h2>\n", p->out);
    if (r->n_neurons == 0)
        note(p, r->no_neurons);
    fputs("<div class=\"plots\">\n", p->out);
    for (int k = 0; k < r->n_neurons; k++) {
        char name[32];
        snprintf(name, sizeof name, "neurons%d", k + 1);
        part(p, plot_neurons(p, &r->neurons[k], name));
    }
    fputs("</div>\n", p->out);
    part(p, report_write_learning(r, p->out, p->missing, p->error));
    part(p, report_write_depth(r, r->depth, p->out, p->missing, p->error));
    if (r->coordinates)
        part(p, report_write_coordinates(r, r->coordinates, p->out, p->missing, p->error));
    else if (r->o->check)
        note(p, r->no_coordinates);
    part(p, write_program(p));
}

/* A folder that is there, or can be made. */
static int folder_possible(const char *folder, ad_error *error)
{
    char path[512];
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return ad_fail(error, "--plots %s: cannot make the folder: %s", folder, strerror(errno));
    if ((size_t)snprintf(path, sizeof path, "%s/drift.csv", folder) >= sizeof path)
        return ad_fail(error, "--plots %.60s...: the path is too long", folder);
    return path_writable(path, error);
}

int report_page_possible(const char *path, const char *folder, ad_error *error)
{
    plot drawing;
    if ((path && path_writable(path, error)) || (folder && folder_possible(folder, error)))
        return -1;
    if (plot_begin(&drawing, "trial", 200, 150, error))
        return -1;
    fputs("plot [0:1] x\n", drawing.stream);
    char *picture = plot_end(&drawing, NULL, error);
    ad_free(picture);
    return picture ? 0 : -1;
}

int report_page(const report *r, const char *path, ad_error *error)
{
    char *text = NULL;
    size_t size = 0;
    ad_error missing = { 0 }, of_part = { 0 };
    page p = { .r = r, .out = open_memstream(&text, &size), .error = &of_part, .missing = &missing };
    if (!p.out)
        return ad_fail(error, "out of memory for the page");
    fprintf(p.out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                   "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>limn report ");
    report_escape(p.out, r->o->network, strlen(r->o->network));
    fprintf(p.out, "</title><style>%s</style></head><body>\n<h1>", style);
    report_escape(p.out, r->o->network, strlen(r->o->network));
    fputs(", at finite width and at n = ∞</h1>\n", p.out);
    write_body(&p);
    write_command(&p);
    fputs("</body></html>\n", p.out);
    int status = fclose(p.out) ? ad_fail(error, "out of memory for the page") : 0;
    if (!path) { /* the plots alone */
        free(text);
        return status || !missing.text[0] ? status : ad_fail(error, "%s", missing.text);
    }
    ad_file *file = status ? NULL : ad_file_create(path, error);
    if (file && ad_file_write(file, text, size, error)) {
        ad_file_discard(file);
        file = NULL;
    }
    status = file ? ad_file_close(file, error) : -1;
    free(text);
    if (!status && missing.text[0])
        status = ad_fail(error, "%s: written, but for what is missing: %s", path, missing.text);
    return status;
}
