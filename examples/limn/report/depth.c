/* depth.c: variances and correlations over depth beside those of one network, the layer's slopes, and the singular
 * values of the Jacobian. */
#include "examples/limn/report/depth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is found ---- */
/* One vector (batch, width) at the first two inputs. */
static int look_at(const report *r, nn_model *model, ad_var vector, report_depth *d, ad_error *error)
{
    size_t n = nn_model_width(model);
    ad_sizes sizes = { .n = n, .batches = { { nn_batch(r->net), 2 } }, .n_batches = 1 };
    size_t count = ad_elements(nn_graph(r->net), ad_shape_get(vector), &sizes), each = count / 2;
    double *all = ad_alloc(count, sizeof *all, "neurons", error), sums[3] = { 0 };
    tp_kernel k = { 0 };
    int status = all ? nn_activations(model, vector, r->data->x, 2, all, error) : -1;
    if (!status)
        status = tp_gaussian_covariance(r->program, vector, r->data->x, 2, NULL, 0, NULL, &k, error);
    if (!status) {
        const double *values = k.terms[0].values;
        for (size_t i = 0; i < each; i++) {
            sums[0] += all[i] * all[i];
            sums[1] += all[i] * all[each + i];
            sums[2] += all[each + i] * all[each + i];
        }
        d->layers[d->n].q = values[0];
        d->layers[d->n].c = values[1] / sqrt(values[0] * values[3]);
        d->layers[d->n].measured_q = sums[0] / (double)each;
        d->layers[d->n++].measured_c = sums[1] / sqrt(sums[0] * sums[2]);
    }
    tp_kernel_free(&k);
    ad_free(all);
    return status;
}

static int find_layers(const report *r, nn_model *model, report_depth *d, ad_error *error)
{
    enum { CAPACITY = 256 };
    ad_var found[CAPACITY];
    ad_error refusal = { 0 };
    int n = tp_preactivations(r->program, found, CAPACITY, error);
    if (n < 0)
        return -1;
    for (int k = 0; k < n && k < CAPACITY && d->n < MAX_LAYERS && r->probes > 1; k++) {
        const ad_shape *shape = ad_shape_get(found[k]);
        bool plain = shape->rank == 2 && ad_same(shape->axes[0], nn_batch(r->net));
        if (plain && look_at(r, model, found[k], d, &refusal))
            break;
    }
    snprintf(d->no_layers, sizeof d->no_layers, "No variances over depth%s%.250s.", *refusal.text ? ": " : "",
             refusal.text);
    return 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Networks of their own, of a width whose singular values are quick. */
static int measure(const report *r, report_depth *d, ad_error *error)
{
    enum { SEEDS = 4, WIDEST = 512 };
    size_t widest = r->columns[r->widest].n, count;
    d->width = widest < WIDEST ? widest : WIDEST;
    for (d->seeds = 0; d->seeds < SEEDS; d->seeds++) {
        double *one = NULL;
        uint64_t seed = ad_stream("spectrum") + (uint64_t)(r->o->seed + d->seeds);
        nn_model *model = nn_model_new(r->net, d->width, seed, AD_DOUBLE, (int)r->o->threads, error);
        int status = model ? tp_jacobian_squares(r->program, model, r->data->x, NULL, NULL, &one, &count, error) : -1;
        nn_model_free(model);
        if (!status && !d->squares)
            d->squares = ad_alloc(SEEDS * count, sizeof *d->squares, "singular values", error);
        if (!status && d->squares)
            memcpy(d->squares + d->n_squares, one, count * sizeof *one);
        ad_free(one);
        if (status || !d->squares)
            return -1;
        d->n_squares += count;
    }
    qsort(d->squares, d->n_squares, sizeof *d->squares, ascending);
    return 0;
}

int report_go_deep(const report *r, nn_model *model, report_depth *d, ad_error *error)
{
    ad_error refusal = { 0 };
    if (find_layers(r, model, d, error))
        return -1;
    d->has_critical = tp_critical_find(r->program, r->data->x, &d->critical, &refusal) == 0;
    snprintf(d->no_critical, sizeof d->no_critical, "No layer that goes on: %.250s.", refusal.text);
    refusal = (ad_error){ 0 };
    tp_spectrum_spec spec = { .seed = (uint64_t)r->o->seed, .threads = (int)r->o->threads };
    d->has_spectrum =
        tp_spectrum_find(r->program, r->data->x, &spec, &d->spectrum, &refusal) == 0 && measure(r, d, &refusal) == 0;
    snprintf(d->no_spectrum, sizeof d->no_spectrum, "No spectrum: %.250s.", refusal.text);
    return 0;
}

void report_depth_free(report_depth *d)
{
    if (d)
        tp_spectrum_free(&d->spectrum);
    if (d)
        ad_free(d->squares);
    ad_free(d);
}

/* ---- the section ---- */
static void note(FILE *out, const char *text)
{
    fputs("<p class=\"soft\">", out);
    report_escape(out, text, strlen(text));
    fputs("</p>\n", out);
}

/* Between marks of an axis: 1, 2 or 5 times a power of ten, at most six of them. */
static double step_of(const report_depth *d, bool correlation)
{
    double low = INFINITY, high = -INFINITY;
    for (int k = 0; k < d->n; k++) {
        double limit = correlation ? d->layers[k].c : d->layers[k].q,
               network = correlation ? d->layers[k].measured_c : d->layers[k].measured_q;
        low = fmin(low, fmin(limit, network));
        high = fmax(high, fmax(limit, network));
    }
    double least = 1.2 * (high - low) / 6, step = pow(10, floor(log10(least)));
    return least <= step ? step : least <= 2 * step ? 2 * step : least <= 5 * step ? 5 * step : 10 * step;
}

static int plot_layers(const report *r, const report_depth *d, bool correlation, FILE *out, ad_error *missing,
                       ad_error *error)
{
    plot p;
    if (plot_begin(&p, correlation ? "correlations" : "variances", 360, 280, error))
        return -1;
    plot_data(&p, "$layers", "layers", "layer,limit,network");
    for (int k = 0; k < d->n; k++)
        fprintf(p.stream, "%d %.10g %.10g\n", k + 1, correlation ? d->layers[k].c : d->layers[k].q,
                correlation ? d->layers[k].measured_c : d->layers[k].measured_q);
    fprintf(p.stream,
            "E\nset xlabel 'preactivation l'\nset ylabel '%s'\nset xrange [0.5:%d.5]\nset offsets 0, 0, graph 0.1, "
            "graph 0.1\nset key outside top center horizontal samplen 1.5\nset xtics %d\n",
            correlation ? "correlation of two inputs" : "variance q_l", d->n, d->n > 12 ? d->n / 6 : 1);
    double step = step_of(d, correlation);
    if (isfinite(step) && step > 0)
        fprintf(p.stream, "set ytics %.3g\n", step);
    fprintf(
        p.stream,
        "plot $layers using 1:2 with linespoints lw 2 pt 7 ps 0.4 lc rgb '%s' title 'limit', $layers using 1:3 with "
        "points pt 6 ps 0.9 lc rgb '%s' title 'one network, n = %zu'\n",
        plot_colours[1], plot_colours[0], r->columns[r->widest].n);
    report_figure(r, out, &p,
                  correlation ? "The correlation of the first two inputs over depth."
                              : "The variance of preactivations at the first input over depth.",
                  missing);
    return 0;
}

static void write_critical(const tp_critical *c, FILE *out)
{
    fprintf(out, "<p>A layer has σ_w = %.4g, σ_b = %.4g. Going on for ever it would ", c->sigma_w, c->sigma_b);
    if (isinf(c->q))
        fputs("let variances grow without end", out);
    else
        fprintf(out, "lead variances to q* = %.4g", c->q);
    if (!isnan(c->chi))
        fprintf(out, ", with mean squared singular value χ = %.4g (1: gradients neither grow nor vanish)", c->chi);
    if (!isnan(c->correlation))
        fprintf(out, ", and correlations to c* = %.4g", c->correlation);
    if (isinf(c->correlation_length))
        fputs(", slower than by any rate", out);
    else if (!isnan(c->correlation_length))
        fprintf(out, ", in ξ_c = %.4g layers", c->correlation_length);
    fputs(".</p>\n", out);
}

static int plot_squares(const report *r, const report_depth *d, FILE *out, ad_error *missing, ad_error *error)
{
    spectrum_shown shown = { &d->spectrum, d->squares, d->n_squares, d->width, d->seeds };
    plot p;
    if (plot_begin(&p, "jacobian", 360, 280, error))
        return -1;
    if (spectrum_script(&p, &shown, error)) {
        ad_free(plot_end(&p, NULL, &(ad_error){ 0 }));
        return -1;
    }
    report_figure(r, out, &p,
                  "Squared singular values of the Jacobian from the first preactivation to the last, at the "
                  "first input.",
                  missing);
    return 0;
}

int report_write_depth(const report *r, const report_depth *d, FILE *out, ad_error *missing, ad_error *error)
{
    fputs("<h2>Depth</h2>\n", out);
    if (!d) {
        note(out, "Nothing was looked at.");
        return 0;
    }
    if (d->has_critical)
        write_critical(&d->critical, out);
    else
        note(out, d->no_critical);
    if (!d->n)
        note(out, d->no_layers);
    if (d->has_spectrum) {
        fputs("<p class=\"soft\">Spectrum: ", out);
        report_escape(out, d->spectrum.method, strlen(d->spectrum.method));
        fputs(".</p>\n", out);
    } else {
        note(out, d->no_spectrum);
    }
    fputs("<div class=\"plots\">\n", out);
    int status = 0;
    if (d->n)
        status = plot_layers(r, d, false, out, missing, error) || plot_layers(r, d, true, out, missing, error);
    if (!status && d->has_spectrum)
        status = plot_squares(r, d, out, missing, error);
    fputs("</div>\n", out);
    return status ? -1 : 0;
}
