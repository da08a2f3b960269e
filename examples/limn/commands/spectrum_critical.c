/* spectrum_critical.c: limn spectrum --critical: where gradients neither grow nor vanish with depth. */
#include "examples/limn/commands/spectrum.h"
#include "examples/limn/report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *number(double value, const char *none, char *text, size_t size)
{
    if (isinf(value) || isnan(value))
        snprintf(text, size, "%s", isinf(value) ? "∞" : none);
    else
        snprintf(text, size, "%.8g", value);
    return text;
}

static void print_text(const options *o, const tp_critical *c)
{
    char text[64];
    printf("%s: sigma_w %.8g, sigma_b %.8g\n", o->network, c->sigma_w, c->sigma_b);
    const char *grow = "none: signals grow without end", *vanish = "none: signals vanish, and keep theirs";
    const char *none = c->q > 0 ? grow : vanish;
    printf("  q*, the variance that depth leads to         %s\n", number(c->q, "", text, sizeof text));
    printf("  chi, a layer's mean squared singular value   %s\n", number(c->chi, grow, text, sizeof text));
    printf("  c*, the correlation that depth leads to      %s\n", number(c->correlation, none, text, sizeof text));
    printf("  xi_c, layers that correlations decay in      %s\n",
           number(c->correlation_length, none, text, sizeof text));
    printf("  xi_q, layers that variances decay in         %s\n", number(c->variance_length, grow, text, sizeof text));
    puts("\ncritical line, chi = 1\n     sigma_b       sigma_w            q*");
    if (!c->n_line)
        puts("  none for sigma_b from 0 to 1");
    for (int k = 0; k < c->n_line; k++)
        printf("  %10.4g  %12.8g  %12s\n", c->line[k].sigma_b, c->line[k].sigma_w,
               number(c->line[k].q, "any", text, sizeof text));
}

static int print_json(const options *o, const tp_critical *c, ad_error *error)
{
    cJSON *root = json_new(o);
    json_put(root, "sigma_w", json_number(c->sigma_w));
    json_put(root, "sigma_b", json_number(c->sigma_b));
    json_put(root, "q", json_number(c->q));
    json_put(root, "chi", json_number(c->chi));
    json_put(root, "correlation", json_number(c->correlation));
    json_put(root, "correlation_length", json_number(c->correlation_length));
    json_put(root, "variance_length", json_number(c->variance_length));
    cJSON *line = json_put(root, "line", cJSON_CreateArray());
    for (int k = 0; k < c->n_line; k++) {
        cJSON *point = json_put(line, "", cJSON_CreateObject());
        json_put(point, "sigma_b", json_number(c->line[k].sigma_b));
        json_put(point, "sigma_w", json_number(c->line[k].sigma_w));
        json_put(point, "q", json_number(c->line[k].q));
    }
    return json_print(root, error);
}

static int write_rows(const char *path, const tp_critical *c, ad_error *error)
{
    double rows[3 * (sizeof c->line / sizeof *c->line)];
    for (size_t k = 0; k < (size_t)c->n_line; k++)
        memcpy(rows + 3 * k, (double[]){ c->line[k].sigma_b, c->line[k].sigma_w, c->line[k].q }, 3 * sizeof *rows);
    if (path_ends_with(path, ".npy"))
        return ds_npy_write(path, rows, (size_t[]){ (size_t)c->n_line, 3 }, 2, error);
    char text[4000] = "sigma_b,sigma_w,q\n";
    for (size_t k = 0; k < (size_t)c->n_line; k++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, isnan(rows[3 * k + 2]) ? "%.17g,%.17g,\n" : "%.17g,%.17g,%.17g\n",
                 rows[3 * k], rows[3 * k + 1], rows[3 * k + 2]);
    }
    return spectrum_write_text(path, text, error);
}

static int draw(const char *path, const tp_critical *c, ad_error *error)
{
    plot p;
    if (plot_begin(&p, "critical", 480, 360, error))
        return -1;
    fputs("$line << E\n", p.stream);
    for (int k = 0; k < c->n_line; k++)
        fprintf(p.stream, "%.8g %.8g\n", c->line[k].sigma_w, c->line[k].sigma_b);
    fprintf(p.stream,
            "E\nset xlabel 'σ_w'\nset ylabel 'σ_b'\nset key top left\nset offsets graph 0.1, graph 0.1, 0, 0\n"
            "set yrange [0:%s]\nplot $line with linespoints lw 2 pt 7 ps 0.4 lc rgb '%s' title 'χ = 1', "
            "'+' using (%.8g):(%.8g) every ::0::0 with points pt 6 lw 2 ps 1.1 lc rgb '%s' title 'the network'\n",
            c->n_line > 1 || c->sigma_b > 0 ? "*" : "1", plot_colours[1], c->sigma_w, c->sigma_b, plot_colours[0]);
    char *picture = plot_end(&p, NULL, error);
    int status = picture ? spectrum_write_text(path, picture, error) : -1;
    ad_free(picture);
    return status;
}

int spectrum_critical(const options *o, tp_program *program, const double *x, ad_error *error)
{
    tp_critical c;
    int status = tp_critical_find(program, x, &c, error);
    if (!status && o->out)
        status = path_ends_with(o->out, ".svg") ? draw(o->out, &c, error) : write_rows(o->out, &c, error);
    if (!status && o->json)
        return print_json(o, &c, error);
    if (!status)
        print_text(o, &c);
    return status;
}
