/* coordinate.c: the coordinate check: networks, their powers of n, the report's section. */
#include "examples/limn/report/report.h"

#include <math.h>
#include <string.h>

enum { ROWS = 8, SEEDS = 4, FEWEST = 4 };
static const size_t usual_widths[] = { 64, 128, 256, 512 };
static const double usual_rate = 1e-4, slack = 0.1;
static const double negligible = 1e-30; /* Adam's epsilon: gradients that fall with n would sink below the usual one */
const char *const coordinate_kinds[COORDINATE_KINDS] = { "size", "change" };

/* ---- what is measured ---- */
typedef struct {
    const options *o;
    const nn_net *net;
    nn_data data;
    const coordinate_check *c;
} job;

static double *at(const coordinate_check *c, int v, int kind, int k, long s)
{
    return &c->logs[((v * COORDINATE_KINDS + kind) * c->n_widths + k) * c->seeds + s];
}

/* The log of the root mean square of what is left of h after `minus`; NULL: nothing is taken off. */
static double log_size(const double *h, const double *minus, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += pow(h[i] - (minus ? minus[i] : 0), 2);
    return log(sum / (double)count) / 2;
}

static size_t numbers_of(const job *j, const tp_growing *g, size_t n)
{
    ad_sizes sizes = { .n = n, .batches = { { nn_batch(j->net), j->data.rows } }, .n_batches = 1 };
    return ad_elements(nn_graph(j->net), ad_shape_get((ad_var){ nn_graph(j->net), g->node }), &sizes);
}

static int measure_one(const job *j, nn_model *start, nn_model *trained, int k, long s, double *h[2], ad_error *error)
{
    const coordinate_check *c = j->c;
    double log_n = log((double)c->widths[k]);
    for (int v = 0; v < c->regime.n_vectors; v++) {
        const tp_growing *g = &c->regime.vectors[v];
        ad_var node = { nn_graph(j->net), g->node };
        size_t count = numbers_of(j, g, c->widths[k]);
        if (nn_activations(start, node, j->data.x, j->data.rows, h[0], error) ||
            nn_activations(trained, node, j->data.x, j->data.rows, h[1], error))
            return -1;
        *at(c, v, COORDINATE_SIZE, k, s) = log_size(h[0], NULL, count) + g->front * log_n;
        *at(c, v, COORDINATE_CHANGE, k, s) = log_size(h[1], h[0], count) + g->front * log_n;
    }
    return 0;
}

/* Every network has a seed of its own. */
static int train_one(const job *j, int k, long s, ad_error *error)
{
    const options *o = j->o;
    const coordinate_check *c = j->c;
    uint64_t seed = (uint64_t)(o->seed + k * c->seeds + s);
    nn_fit_spec spec = { .loss = NN_SQUARE,
                         .optimizer = (nn_optimizer)(o->optimizer >= 0 ? o->optimizer : NN_SGD),
                         .rate = c->rate,
                         .epsilon = negligible,
                         .steps = c->steps };
    size_t count = 1;
    for (int v = 0; v < c->regime.n_vectors; v++) {
        size_t own = numbers_of(j, &c->regime.vectors[v], c->widths[k]);
        count = own > count ? own : count;
    }
    nn_model *start = nn_model_new(j->net, c->widths[k], seed, AD_DOUBLE, (int)o->threads, error);
    nn_model *trained = start ? nn_model_new(j->net, c->widths[k], seed, AD_DOUBLE, (int)o->threads, error) : NULL;
    double *h[2] = { ad_alloc(count, sizeof *h[0], "vectors", error), ad_alloc(count, sizeof *h[1], "vectors", error) };
    int status = trained && h[0] && h[1] ? nn_fit(trained, &j->data, &spec, NULL, error) : -1;
    if (!status)
        status = measure_one(j, start, trained, k, s, h, error);
    ad_free(h[0]);
    ad_free(h[1]);
    nn_model_free(start);
    nn_model_free(trained);
    return status;
}

int coordinate_measure(const options *o, const nn_net *net, const tp_program *program, const ds_data *data,
                       coordinate_check *c, ad_error *error)
{
    bool check = strcmp(o->command, "report") != 0; /* a report's --rate, --steps and --seeds are its own training's */
    bool own = o->n_widths >= FEWEST;
    ds_data part = ds_split(data, 0, o->train > 0 ? (size_t)o->train : ROWS);
    *c = (coordinate_check){ .widths = own ? o->widths : usual_widths,
                             .n_widths = own ? o->n_widths : (int)(sizeof usual_widths / sizeof *usual_widths),
                             .seeds = check && o->seeds > 0 ? o->seeds : SEEDS,
                             .steps = check && o->steps > 0 ? o->steps : 1,
                             .rate = check && o->rate > 0 ? o->rate : usual_rate };
    job j = { o, net, { part.x, part.y, part.rows, data->classes }, c };
    tp_regime_spec spec = { .optimizer = (nn_optimizer)(o->optimizer >= 0 ? o->optimizer : NN_SGD) };
    if (!part.y)
        return ad_fail(error, "%s: --labels are missing", data_name(o));
    if (tp_regime_find(program, &spec, &c->regime, error))
        return -1;
    size_t count = (size_t)c->regime.n_vectors * COORDINATE_KINDS * (size_t)c->n_widths * (size_t)c->seeds;
    int status = (c->logs = ad_alloc(count, sizeof *c->logs, "a coordinate check", error)) ? 0 : -1;
    for (int k = 0; k < c->n_widths; k++)
        for (long s = 0; s < c->seeds && !status; s++)
            status = train_one(&j, k, s, error);
    if (status)
        coordinate_free(c);
    return status;
}

void coordinate_free(coordinate_check *c)
{
    tp_regime_free(&c->regime);
    ad_free(c->logs);
    *c = (coordinate_check){ 0 };
}

/* ---- what is fitted ---- */
double coordinate_log_mean(const coordinate_check *c, int v, coordinate_kind kind, int k)
{
    double sum = 0;
    for (long s = 0; s < c->seeds; s++)
        sum += *at(c, v, (int)kind, k, s) / (double)c->seeds;
    return sum;
}

coordinate_line coordinate_fit(const coordinate_check *c, int v, coordinate_kind kind)
{
    const tp_growing *g = &c->regime.vectors[v];
    double m = (double)(c->n_widths * c->seeds), x = 0, y = 0, xx = 0, xy = 0, rest = 0;
    for (int k = 0; k < c->n_widths; k++) {
        x += log((double)c->widths[k]) / c->n_widths;
        y += coordinate_log_mean(c, v, kind, k) / c->n_widths;
    }
    for (int k = 0; k < c->n_widths; k++) {
        double a = log((double)c->widths[k]) - x;
        xx += a * a * (double)c->seeds;
        xy += a * (coordinate_log_mean(c, v, kind, k) - y) * (double)c->seeds;
    }
    for (int k = 0; k < c->n_widths; k++)
        for (long s = 0; s < c->seeds; s++)
            rest += pow(*at(c, v, (int)kind, k, s) - y - xy / xx * (log((double)c->widths[k]) - x), 2);
    double spread = sqrt(rest / (m - 2) / xx), lines = c->regime.n_vectors * COORDINATE_KINDS;
    double response = isfinite(g->response) ? g->response : g->first;
    coordinate_line line = { .derived = kind == COORDINATE_SIZE ? g->start
                                        : c->steps > 1          ? g->several
                                                                : response,
                             .fitted = xy / xx,
                             .half = ad_student(0.05, (int)m - 2) * spread };
    line.zero = isinf(y) && y < 0;
    bool diverges = isinf(line.derived) && line.derived > 0;         /* with no power to be fitted; -inf: it is 0 */
    double together = ad_student(0.05 / lines, (int)m - 2) * spread; /* Bonferroni's */
    line.agrees = line.zero || diverges || fabs(line.fitted - line.derived) <= together + slack;
    return line;
}

bool coordinate_agrees(const coordinate_check *c)
{
    for (int v = 0; v < c->regime.n_vectors; v++)
        for (int kind = 0; kind < COORDINATE_KINDS; kind++)
            if (!coordinate_fit(c, v, (coordinate_kind)kind).agrees)
                return false;
    return true;
}

/* ---- the section ---- */
static void write_table(const coordinate_check *c, FILE *out)
{
    fputs("<table><tr><th>vector</th><th>of its</th><th>derived</th><th>fitted</th><th>95 % interval</th><th></th>"
          "</tr>\n",
          out);
    for (int v = 0; v < c->regime.n_vectors; v++)
        for (int kind = 0; kind < COORDINATE_KINDS; kind++) {
            coordinate_line l = coordinate_fit(c, v, (coordinate_kind)kind);
            fputs("<tr><td>", out);
            report_escape(out, c->regime.vectors[v].name, strlen(c->regime.vectors[v].name));
            fprintf(out, "</td><td>%s</td>", coordinate_kinds[kind]);
            fprintf(out, isfinite(l.derived) ? "<td>%.3g</td>" : "<td>none</td>", l.derived);
            if (l.zero) {
                fputs("<td>none</td><td></td><td>it is 0</td></tr>\n", out);
                continue;
            }
            fprintf(out, "<td>%.2f</td><td>%.2f to %.2f</td><td>%s</td></tr>\n", l.fitted, l.fitted - l.half,
                    l.fitted + l.half, l.agrees ? "" : "not as derived");
        }
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
        snprintf(name, sizeof name, l.zero ? "%.40s: 0" : "%.40s: n^{%.2f}", c->regime.vectors[v].name, l.fitted);
        fprintf(p.stream, "%s$v%d using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc rgb '%s' title ", i ? ", " : "", i,
                plot_colours[i]);
        plot_quote(p.stream, name);
    }
    fputs("\n", p.stream);
    report_figure(r, out, &p,
                  "The root mean square of what training changes in a vector's coordinates, over the width: flat where "
                  "features are learned, falling in the kernel regime.",
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
