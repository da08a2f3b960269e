/* regime_check.c: limn regime --check: the coordinate check (Tensor Programs V, arXiv:2203.03466, appendix D.1). */
#include "examples/limn/commands/regime.h"

#include <math.h>
#include <string.h>

enum { ROWS = 8, SEEDS = 4 };
static const size_t usual_widths[] = { 64, 128, 256, 512 };
static const double usual_rate = 1e-4;

typedef struct {
    const options *o;
    const nn_net *net;
    const tp_regime *r;
    nn_data data;
    const size_t *widths;
    int n_widths;
    long seeds;
    double *logs; /* (vectors, 2, widths, seeds): log of the root mean square, of the size and of the change */
} check;

static double *at(const check *c, int v, int which, int k, long s)
{
    return &c->logs[((v * 2 + which) * c->n_widths + k) * c->seeds + s];
}

/* The root mean square of a node's values, and of what is left after `minus`; NULL: nothing is taken off. */
static double log_size(const double *h, const double *minus, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += pow(h[i] - (minus ? minus[i] : 0), 2);
    return log(sum / (double)count) / 2;
}

static int measure(const check *c, nn_model *start, nn_model *trained, int k, long s, double *h[2], ad_error *error)
{
    size_t n = c->widths[k];
    double log_n = log((double)n);
    for (int v = 0; v < c->r->n_vectors; v++) {
        const tp_growing *g = &c->r->vectors[v];
        ad_var node = { nn_graph(c->net), g->node };
        ad_sizes sizes = { .n = n, .batches = { { nn_batch(c->net), c->data.rows } }, .n_batches = 1 };
        size_t count = ad_elements(node.graph, ad_shape_get(node), &sizes);
        if (nn_activations(start, node, c->data.x, c->data.rows, h[0], error) ||
            nn_activations(trained, node, c->data.x, c->data.rows, h[1], error))
            return -1;
        *at(c, v, 0, k, s) = log_size(h[0], NULL, count) + g->front * log_n;
        *at(c, v, 1, k, s) = log_size(h[1], h[0], count) + g->front * log_n;
    }
    return 0;
}

/* The most numbers that one of the nodes has. */
static size_t largest(const check *c, size_t n)
{
    size_t most = 1;
    ad_sizes sizes = { .n = n, .batches = { { nn_batch(c->net), c->data.rows } }, .n_batches = 1 };
    for (int v = 0; v < c->r->n_vectors; v++) {
        size_t count =
            ad_elements(nn_graph(c->net), ad_shape_get((ad_var){ nn_graph(c->net), c->r->vectors[v].node }), &sizes);
        most = count > most ? count : most;
    }
    return most;
}

/* Every network has a seed of its own. */
static int train_one(const check *c, int k, long s, ad_error *error)
{
    const options *o = c->o;
    uint64_t seed = (uint64_t)(o->seed + k * c->seeds + s);
    nn_fit_spec spec = { .loss = NN_SQUARE,
                         .optimizer = (nn_optimizer)o->optimizer,
                         .rate = o->rate > 0 ? o->rate : usual_rate,
                         .steps = o->steps > 0 ? o->steps : 1 };
    nn_model *start = nn_model_new(c->net, c->widths[k], seed, AD_DOUBLE, (int)o->threads, error);
    nn_model *trained = start ? nn_model_new(c->net, c->widths[k], seed, AD_DOUBLE, (int)o->threads, error) : NULL;
    size_t count = largest(c, c->widths[k]);
    double *h[2] = { ad_alloc(count, sizeof *h[0], "vectors", error), ad_alloc(count, sizeof *h[1], "vectors", error) };
    int status = trained && h[0] && h[1] ? nn_fit(trained, &c->data, &spec, NULL, error) : -1;
    if (!status)
        status = measure(c, start, trained, k, s, h, error);
    ad_free(h[0]);
    ad_free(h[1]);
    nn_model_free(start);
    nn_model_free(trained);
    return status;
}

/* The slope over log n and half of its 95 % interval, over all networks. */
static void fit_line(const check *c, int v, int which, double *slope, double *half)
{
    double m = (double)(c->n_widths * c->seeds), x = 0, y = 0, xx = 0, xy = 0, rest = 0;
    for (int pass = 0; pass < 3; pass++)
        for (int k = 0; k < c->n_widths; k++)
            for (long s = 0; s < c->seeds; s++) {
                double a = log((double)c->widths[k]), b = *at(c, v, which, k, s);
                x += pass == 0 ? a / m : 0;
                y += pass == 0 ? b / m : 0;
                xx += pass == 1 ? (a - x) * (a - x) : 0;
                xy += pass == 1 ? (a - x) * (b - y) : 0;
                rest += pass == 2 ? pow(b - y - xy / xx * (a - x), 2) : 0;
            }
    *slope = xy / xx;
    *half = ad_student(0.05, (int)m - 2) * sqrt(rest / (m - 2) / xx);
}

static void print_check(const check *c, FILE *csv)
{
    static const char *const kinds[] = { "size", "change" };
    bool agrees = true;
    printf("\n%-8s %-7s %9s %9s   95 %% interval\n", "vector", "of its", "derived", "fitted");
    if (csv)
        fprintf(csv, "vector,of,derived,fitted,low,high\n");
    for (int v = 0; v < c->r->n_vectors; v++)
        for (int which = 0; which < 2; which++) {
            const tp_growing *g = &c->r->vectors[v];
            double derived = which == 0 ? g->start : c->o->steps > 1 ? g->several : g->first, slope, half;
            fit_line(c, v, which, &slope, &half);
            printf("%-8s %-7s %9.4g %9.3f   [%.3f, %.3f]", g->name, kinds[which], derived, slope, slope - half,
                   slope + half);
            if (!(fabs(slope - derived) <= half + 0.1) && isfinite(derived)) {
                const char *slash = strrchr(g->where.file ? g->where.file : "", '/');
                printf("   not as derived: %s:%d", slash ? slash + 1 : g->where.file, g->where.line);
                agrees = false;
            }
            printf("\n");
            if (csv)
                fprintf(csv, "%s,%s,%.17g,%.17g,%.17g,%.17g\n", g->name, kinds[which], derived, slope, slope - half,
                        slope + half);
        }
    if (!agrees)
        printf("terms of lower order may still lead at these widths: try larger --widths\n");
}

int regime_check(const options *o, const nn_net *net, const ds_data *data, const tp_regime *r, ad_error *error)
{
    ds_data part = ds_split(data, 0, o->train > 0 ? (size_t)o->train : ROWS);
    check c = { .o = o,
                .net = net,
                .r = r,
                .data = { part.x, part.y, part.rows, data->classes },
                .widths = o->n_widths ? o->widths : usual_widths,
                .n_widths = o->n_widths ? o->n_widths : (int)(sizeof usual_widths / sizeof *usual_widths),
                .seeds = o->seeds > 0 ? o->seeds : SEEDS };
    if (!part.y)
        return ad_fail(error, "%s: --labels are missing", data_name(o));
    FILE *csv = o->csv ? fopen(o->csv, "w") : NULL;
    if (o->csv && !csv)
        return ad_fail(error, "%s: cannot be written", o->csv);
    size_t count = (size_t)r->n_vectors * 2 * (size_t)c.n_widths * (size_t)c.seeds;
    int status = (c.logs = ad_alloc(count, sizeof *c.logs, "a coordinate check", error)) ? 0 : -1;
    for (int k = 0; k < c.n_widths; k++)
        for (long s = 0; s < c.seeds && !status; s++)
            status = train_one(&c, k, s, error);
    if (!status)
        print_check(&c, csv);
    if (csv && fclose(csv) != 0 && !status)
        status = ad_fail(error, "%s: cannot be written", o->csv);
    ad_free(c.logs);
    return status;
}
