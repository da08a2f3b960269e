/* coordinate.c: the coordinate check: networks are trained, and powers of n fitted to what they show. */
#include "examples/limn/report/report.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    ROWS = 8,
    SEEDS = 16,
    READOUTS = 32,
    FEWEST = 4,
    AT_ONCE = 1 << 22 /* numbers of vectors that are looked at together */
};
enum { USUAL = 4 };
static const size_t usual_widths[USUAL] = { 128, 256, 512, 1024 }, narrow[USUAL] = { 16, 32, 64, 128 };
static const double usual_rate = 1e-4, slack = 0.1, tiny = 1e-9, roundings = 1e3;
static const double too_small = 1e-4;   /* a part of a change, to be told from terms of lower order */
static const double apart = 0.02;       /* slopes at the widths that are told from the powers that they tend to */
static const double negligible = 1e-30; /* Adam's epsilon: gradients that fall with n would sink below the usual one */
const char *const coordinate_kinds[COORDINATE_KINDS] = { "size", "change" };

/* ---- what is measured ---- */
/* Of each vector: its size, its change by the parameters that lead, by all, and by each. */
enum { WHOLE = COORDINATE_KINDS, BY_PARAM };

typedef struct {
    const options *o;
    const nn_net *net;
    nn_data data; /* with targets of (rows, outputs) */
    const coordinate_check *c;
    double *labels; /* (rows, outputs), and then targets of the same shape */
} job;

/* Vectors first .. first + n, as they are looked at together: their values at the start and changed, and the sum of
 * changes by the parameters that lead. */
typedef struct {
    int first, n;
    ad_var *nodes;
    size_t *counts;
    double **start, **changed, **sum, *memory;
} group;

static double *log_at(const coordinate_check *c, int v, int row, int k, long s)
{
    return &c->logs[(((size_t)v * (size_t)(BY_PARAM + c->regime.n_params) + (size_t)row) * (size_t)c->n_widths +
                     (size_t)k) *
                        (size_t)c->seeds +
                    (size_t)s];
}

static double part(const coordinate_check *c, int v, int param)
{
    return c->regime.parts[v * c->regime.n_params + param];
}

bool coordinate_leads(const coordinate_check *c, int v, int param)
{
    return isfinite(part(c, v, param)) && part(c, v, param) > c->regime.vectors[v].response - tiny;
}

/* Is a power derived of what steps of a small rate change? */
static bool responds(const coordinate_check *c, int v)
{
    return isfinite(c->regime.vectors[v].response);
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

static void group_free(group *g)
{
    ad_free(g->nodes);
    ad_free(g->counts);
    ad_free(g->start);
    ad_free(g->memory);
    *g = (group){ 0 };
}

/* As many vectors from `first` on as AT_ONCE allows, at least one. */
static int group_open(const job *j, size_t n, int first, group *g, ad_error *error)
{
    const tp_regime *r = &j->c->regime;
    size_t all = 0, most = (size_t)(r->n_vectors - first);
    *g = (group){ .first = first, .nodes = ad_alloc(most, sizeof *g->nodes, "vectors", error) };
    g->counts = g->nodes ? ad_alloc(most, sizeof *g->counts, "vectors", error) : NULL;
    g->start = g->counts ? ad_alloc(3 * most, sizeof *g->start, "vectors", error) : NULL;
    for (; g->start && first + g->n < r->n_vectors; g->n++) {
        size_t own = numbers_of(j, &r->vectors[first + g->n], n);
        if (g->n && all + own > AT_ONCE)
            break;
        g->nodes[g->n] = (ad_var){ nn_graph(j->net), r->vectors[first + g->n].node };
        g->counts[g->n] = own;
        all += own;
    }
    g->memory = g->start ? ad_alloc(3 * all, sizeof *g->memory, "vectors", error) : NULL;
    if (!g->memory) {
        group_free(g);
        return -1;
    }
    g->changed = g->start + g->n;
    g->sum = g->changed + g->n;
    double *at = g->memory;
    for (int k = 0; k < 3 * g->n; k++) {
        g->start[k] = at;
        at += g->counts[k % g->n];
    }
    return 0;
}

static void copy_param(nn_model *to, nn_model *from, int param)
{
    size_t count;
    double *values = nn_param_values(to, param, &count);
    memcpy(values, nn_param_values(from, param, &count), count * sizeof *values);
}

/* What the update of each parameter alone changes, and those together that lead. `mixed` is the start with one
 * parameter at a time as it was trained. */
static int measure_parts(const job *j, nn_model *mixed, nn_model *start, nn_model *trained, int k, long s,
                         const group *g, ad_error *error)
{
    const coordinate_check *c = j->c;
    int status = 0;
    for (int param = 0; param < c->regime.n_params && !status; param++) {
        bool learns = false;
        for (int i = 0; i < g->n; i++)
            learns |= isfinite(part(c, g->first + i, param));
        if (!learns)
            continue;
        copy_param(mixed, trained, param);
        status = nn_activations_many(mixed, g->nodes, g->n, j->data.x, j->data.rows, g->changed, error);
        copy_param(mixed, start, param);
        for (int i = 0; i < g->n && !status; i++) {
            *log_at(c, g->first + i, BY_PARAM + param, k, s) = log_size(g->changed[i], g->start[i], g->counts[i]);
            for (size_t m = 0; m < g->counts[i] && coordinate_leads(c, g->first + i, param); m++)
                g->sum[i][m] += g->changed[i][m] - g->start[i][m];
        }
    }
    return status;
}

/* Is the parameter one that the output alone is made with? */
static bool reads_out(const job *j, int param)
{
    const tp_regime *r = &j->c->regime;
    bool alone = isfinite(r->parts[(r->n_vectors - 1) * r->n_params + param]);
    for (int v = 0; v + 1 < r->n_vectors; v++)
        alone = alone && !isfinite(r->parts[v * r->n_params + param]);
    return alone;
}

static int draw_anew(const job *j, nn_model *model, int param, size_t n, uint64_t seed, ad_error *error)
{
    size_t count;
    double *values = nn_param_values(model, param, &count);
    ad_sizes sizes = { .n = n, .batches = { { nn_batch(j->net), j->data.rows } }, .n_batches = 1 };
    return ad_draw(nn_param(j->net, param), &sizes, seed, AD_DOUBLE, values, error);
}

/* The output's size over READOUTS draws of what reads it out: of one draw it is a single Gaussian number a row, of rows
 * that may be all alike. `changed` of vector i is overwritten. */
static int measure_output(const job *j, nn_model *mixed, nn_model *start, int k, long s, const group *g, int i,
                          ad_error *error)
{
    const coordinate_check *c = j->c;
    uint64_t first = (uint64_t)(j->o->seed + (k + 1) * c->seeds + s) * READOUTS;
    double sum = 0;
    int status = 0;
    for (int draw = 0; draw < READOUTS && !status; draw++) {
        for (int param = 0; param < c->regime.n_params && !status; param++)
            if (reads_out(j, param))
                status = draw_anew(j, mixed, param, c->widths[k], first + (uint64_t)draw, error);
        status = status ? -1 : nn_activations(mixed, g->nodes[i], j->data.x, j->data.rows, g->changed[i], error);
        sum += status ? 0 : exp(2 * log_size(g->changed[i], NULL, g->counts[i])) / READOUTS;
    }
    for (int param = 0; param < c->regime.n_params; param++)
        if (reads_out(j, param))
            copy_param(mixed, start, param);
    *log_at(c, g->first + i, COORDINATE_SIZE, k, s) = log(sum) / 2;
    return status;
}

static int measure_group(const job *j, nn_model *models[3], int k, long s, const group *g, ad_error *error)
{
    const coordinate_check *c = j->c;
    nn_model *start = models[0], *trained = models[1], *mixed = models[2];
    double log_n = log((double)c->widths[k]);
    if (nn_activations_many(start, g->nodes, g->n, j->data.x, j->data.rows, g->start, error) ||
        nn_activations_many(trained, g->nodes, g->n, j->data.x, j->data.rows, g->changed, error))
        return -1;
    for (int i = 0; i < g->n; i++) {
        *log_at(c, g->first + i, COORDINATE_SIZE, k, s) = log_size(g->start[i], NULL, g->counts[i]);
        *log_at(c, g->first + i, WHOLE, k, s) = log_size(g->changed[i], g->start[i], g->counts[i]);
        for (size_t m = 0; m < g->counts[i]; m++)
            g->sum[i][m] = responds(c, g->first + i) ? 0 : g->changed[i][m] - g->start[i][m];
    }
    int last = c->regime.n_vectors - 1 - g->first;
    if (last < g->n && measure_output(j, mixed, start, k, s, g, last, error))
        return -1;
    if (measure_parts(j, mixed, start, trained, k, s, g, error))
        return -1;
    for (int i = 0; i < g->n; i++) {
        *log_at(c, g->first + i, COORDINATE_CHANGE, k, s) = log_size(g->sum[i], NULL, g->counts[i]);
        for (int row = 0; row < BY_PARAM + c->regime.n_params; row++)
            *log_at(c, g->first + i, row, k, s) += c->regime.vectors[g->first + i].front * log_n;
    }
    return 0;
}

static int measure_one(const job *j, nn_model *models[3], int k, long s, ad_error *error)
{
    int status = 0;
    group g = { 0 };
    for (int first = 0; first < j->c->regime.n_vectors && !status; first += g.n) {
        int n = 0;
        if (group_open(j, j->c->widths[k], first, &g, error))
            return -1;
        status = measure_group(j, models, k, s, &g, error);
        n = g.n;
        group_free(&g);
        g.n = n;
    }
    return status;
}

/* The slope at these widths where it is not near the power that it tends to as n grows. */
double coordinate_expected(double limit, double near)
{
    return isfinite(limit) && isfinite(near) && fabs(near - limit) > apart ? near : limit;
}

/* A network's targets: labels + f for the outputs f at the start, so that all networks have the same residual; where f
 * grows like n^p, labels n^p + f, so that it grows as that of targets that do not. */
static int set_targets(const job *j, nn_model *start, size_t n, ad_error *error)
{
    const tp_growing *f = &j->c->regime.vectors[j->c->regime.n_vectors - 1];
    size_t count = j->data.rows * nn_n_outputs(j->net);
    double power = f->start > tiny ? coordinate_expected(f->start, f->near_start) : 0;
    double *targets = j->labels + count, growth = pow((double)n, power);
    ad_var node = { nn_graph(j->net), f->node };
    if (nn_activations(start, node, j->data.x, j->data.rows, targets, error))
        return -1;
    for (size_t i = 0; i < count; i++)
        targets[i] += j->labels[i] * growth;
    return 0;
}

/* Updates of numbers at 1 by 1e-15 are a few of their roundings, and tell no power. */
static void note_lost(const coordinate_check *c, nn_model *start, nn_model *trained)
{
    for (int param = 0; param < c->regime.n_params; param++) {
        size_t count;
        const double *a = nn_param_values(start, param, &count), *b = nn_param_values(trained, param, &count);
        double most = 0, change = 0;
        for (size_t i = 0; i < count; i++) {
            most = fmax(most, fabs(a[i]));
            change = fmax(change, fabs(b[i] - a[i]));
        }
        c->lost[param] = c->lost[param] || change < roundings * DBL_EPSILON * most;
    }
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
    nn_model *models[3] = { NULL };
    int status = 0;
    for (int i = 0; i < 3 && !status; i++) {
        models[i] = i ? nn_model_copy(models[0], error)
                      : nn_model_new(j->net, c->widths[k], seed, AD_DOUBLE, (int)o->threads, error);
        status = models[i] ? 0 : -1;
    }
    if (!status)
        status = set_targets(j, models[0], c->widths[k], error);
    if (!status)
        status = nn_fit(models[1], &j->data, &spec, NULL, error);
    if (!status)
        note_lost(c, models[0], models[1]);
    if (!status)
        status = measure_one(j, models, k, s, error);
    for (int i = 0; i < 3; i++)
        nn_model_free(models[i]);
    return status;
}

/* Time goes as squares of widths. */
static int train_all(const job *j, ad_error *error)
{
    const coordinate_check *c = j->c;
    double all = 0, done = 0;
    int status = 0;
    for (int k = 0; k < c->n_widths; k++)
        all += (double)c->seeds * (double)c->widths[k] * (double)c->widths[k];
    progress_begin(j->o, "networks of all widths");
    for (int k = 0; k < c->n_widths; k++)
        for (long s = 0; s < c->seeds && !status; s++) {
            status = train_one(j, k, s, error);
            done += (double)c->widths[k] * (double)c->widths[k];
            progress_tell(done / all, NULL);
        }
    progress_end();
    return status;
}

/* Labels as (rows, outputs), one-hot of classes, and room for targets behind them, which the data point to. */
static int take_labels(job *j, const ds_data *part, ad_error *error)
{
    size_t outputs = nn_n_outputs(j->net), rows = part->rows;
    if (!part->y)
        return ad_fail(error, "%s: --labels are missing", data_name(j->o));
    if (!(j->labels = ad_alloc(2 * rows * outputs, sizeof *j->labels, "targets", error)))
        return -1;
    for (size_t i = 0; i < rows * outputs; i++)
        j->labels[i] = part->classes ? (double)(fabs(part->y[i / outputs] - (double)(i % outputs)) < 0.5) : part->y[i];
    j->data = (nn_data){ part->x, j->labels + rows * outputs, rows, 0 };
    return 0;
}

/* The root mean square of the cosine between two rows, or between their steps, `size` features each. */
static double overlap(const double *x, size_t rows, size_t features, size_t size)
{
    double sum = 0, pairs = 0;
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < i; k++)
            for (size_t at = 0; at + size <= features; at += size) {
                double own = 0, other = 0, both = 0;
                const double *a = x + i * features + at, *b = x + k * features + at;
                for (size_t f = 0; f < size; f++) {
                    own += a[f] * a[f];
                    other += b[f] * b[f];
                    both += a[f] * b[f];
                }
                sum += own * other > 0 ? both * both / (own * other) : 0;
                pairs++;
            }
    return pairs > 0 ? sqrt(sum / pairs) : 0;
}

/* How many features of a row a sequence has at a step; all of what is none. */
static size_t features_at_once(const nn_net *net, size_t features)
{
    const size_t *shape = nn_spec_of(net)->shape;
    return shape[1] > 0 && shape[2] == 0 && features % shape[1] == 0 ? shape[1] : features;
}

int coordinate_widths(const options *o, const nn_net *net, const size_t **widths)
{
    bool own = o->n_widths >= FEWEST, pictures = nn_spec_of(net)->shape[2] > 0; /* whose positions all take part */
    *widths = own ? o->widths : pictures ? narrow : usual_widths;
    return own ? o->n_widths : USUAL;
}

int coordinate_measure(const options *o, const nn_net *net, const tp_program *program, const ds_data *data,
                       coordinate_check *c, ad_error *error)
{
    bool check = strcmp(o->command, "report") != 0; /* a report's --rate, --steps and --seeds are its own training's */
    ds_data some = ds_split(data, 0, o->train > 0 ? (size_t)o->train : ROWS);
    *c = (coordinate_check){ .rows = some.rows,
                             .seeds = check && o->seeds > 0 ? o->seeds : SEEDS,
                             .steps = check && o->steps > 0 ? o->steps : 1,
                             .rate = check && o->rate > 0 ? o->rate : usual_rate };
    c->n_widths = coordinate_widths(o, net, &c->widths);
    job j = { .o = o, .net = net, .c = c };
    tp_regime_spec spec = { .optimizer = (nn_optimizer)(o->optimizer >= 0 ? o->optimizer : NN_SGD),
                            .parts = true,
                            .near = { c->widths[0], c->widths[c->n_widths - 1] },
                            .rows = some.rows,
                            .overlap = overlap(some.x, some.rows, some.features, features_at_once(net, some.features)),
                            .inputs = exp(log_size(some.x, NULL, some.rows * some.features)) };
    if (take_labels(&j, &some, error))
        return -1;
    int status = tp_regime_find(program, &spec, &c->regime, error);
    size_t count =
        (size_t)c->regime.n_vectors * (size_t)(BY_PARAM + c->regime.n_params) * (size_t)c->n_widths * (size_t)c->seeds;
    if (!status)
        status = (c->logs = ad_alloc(count, sizeof *c->logs, "a coordinate check", error)) &&
                         (c->lost = ad_alloc((size_t)c->regime.n_params, sizeof *c->lost, "a coordinate check", error))
                     ? 0
                     : -1;
    status = status || train_all(&j, error) ? -1 : 0;
    ad_free(j.labels);
    if (status)
        coordinate_free(c);
    return status;
}

void coordinate_free(coordinate_check *c)
{
    tp_regime_free(&c->regime);
    ad_free(c->logs);
    ad_free(c->lost);
    *c = (coordinate_check){ 0 };
}

/* ---- what is fitted ---- */
static double log_mean(const coordinate_check *c, int v, int row, int k)
{
    double sum = 0;
    for (long s = 0; s < c->seeds; s++)
        sum += *log_at(c, v, row, k, s) / (double)c->seeds;
    return sum;
}

double coordinate_log_mean(const coordinate_check *c, int v, coordinate_kind kind, int k)
{
    return log_mean(c, v, (int)kind, k);
}

double coordinate_share(const coordinate_check *c, int v)
{
    int widest = c->n_widths - 1;
    return exp(log_mean(c, v, COORDINATE_CHANGE, widest) - log_mean(c, v, WHOLE, widest));
}

void coordinate_leaders(const coordinate_check *c, int v, char text[COORDINATE_TEXT])
{
    double share = coordinate_share(c, v);
    int leading = 0, last = -1;
    text[0] = 0;
    for (int k = 0; k < c->regime.n_params; k++)
        if (coordinate_leads(c, v, k)) {
            leading++;
            last = k;
        }
    if (!leading || fabs(share - 1) < 1e-6)
        return;
    if (leading == 1)
        ad_snprintf(text, COORDINATE_TEXT, "by %.80s", c->regime.params[last].name);
    else
        ad_snprintf(text, COORDINATE_TEXT, "by %d parameters", leading);
    size_t used = strlen(text);
    ad_snprintf(text + used, COORDINATE_TEXT - used, ", %.2g of it at n = %zu", share, c->widths[c->n_widths - 1]);
}

/* How many slopes are looked at: of sizes and changes, and of parts that do not lead. */
static int slopes(const coordinate_check *c)
{
    int n = c->regime.n_vectors * COORDINATE_KINDS;
    for (int v = 0; v < c->regime.n_vectors; v++)
        for (int param = 0; param < c->regime.n_params; param++)
            n += isfinite(part(c, v, param)) && !coordinate_leads(c, v, param);
    return n;
}

/* Whether a row has numbers to fit a line through: else *zero tells whether all of it is 0. */
static bool has_powers(const coordinate_check *c, int v, int row, bool *zero)
{
    bool all = true;
    *zero = true;
    for (int k = 0; k < c->n_widths; k++)
        for (long s = 0; s < c->seeds; s++) {
            double one = *log_at(c, v, row, k, s);
            all = all && isfinite(one);
            *zero = *zero && isinf(one) && one < 0;
        }
    return all;
}

/* The line through the logs of a row; *together: Bonferroni's half of an interval. */
static coordinate_line fit(const coordinate_check *c, int v, int row, double *together)
{
    double m = (double)(c->n_widths * c->seeds), x = 0, y = 0, xx = 0, xy = 0, rest = 0;
    bool zero;
    *together = 0;
    if (!has_powers(c, v, row, &zero))
        return (coordinate_line){ .fitted = NAN, .half = NAN, .zero = zero, .unfit = !zero };
    for (int k = 0; k < c->n_widths; k++) {
        x += log((double)c->widths[k]) / c->n_widths;
        y += log_mean(c, v, row, k) / c->n_widths;
    }
    for (int k = 0; k < c->n_widths; k++) {
        double a = log((double)c->widths[k]) - x;
        xx += a * a * (double)c->seeds;
        xy += a * (log_mean(c, v, row, k) - y) * (double)c->seeds;
    }
    for (int k = 0; k < c->n_widths; k++)
        for (long s = 0; s < c->seeds; s++)
            rest += pow(*log_at(c, v, row, k, s) - y - xy / xx * (log((double)c->widths[k]) - x), 2);
    double spread = sqrt(rest / (m - 2) / xx);
    *together = ad_student(0.05 / slopes(c), (int)m - 2) * spread;
    return (coordinate_line){ .fitted = xy / xx, .half = ad_student(0.05, (int)m - 2) * spread };
}

/* The power as n grows of what is fitted, and the slope at these widths. Of steps of a small rate the change is that to
 * the lowest order in it. */
static void derive(const coordinate_check *c, int v, coordinate_kind kind, coordinate_line *line)
{
    const tp_growing *g = &c->regime.vectors[v];
    line->limit = g->start;
    double near = g->near_start;
    if (kind == COORDINATE_CHANGE) {
        line->limit = g->moves > 0 && g->moves <= c->steps ? g->later : -INFINITY;
        near = responds(c, v) ? g->near_response : line->limit;
    }
    line->derived = coordinate_expected(line->limit, near);
    if (isinf(line->limit) && line->limit > 0)
        line->underived = "it grows faster than any power";
}

/* Of the parameters that lead, the one whose update changes most at the widest width; -1: none leads. */
static int largest_leader(const coordinate_check *c, int v)
{
    int most = -1;
    for (int param = 0; param < c->regime.n_params; param++)
        if (coordinate_leads(c, v, param) && (most < 0 || log_mean(c, v, BY_PARAM + param, c->n_widths - 1) >
                                                              log_mean(c, v, BY_PARAM + most, c->n_widths - 1)))
            most = param;
    return most;
}

coordinate_line coordinate_fit(const coordinate_check *c, int v, coordinate_kind kind)
{
    double together;
    coordinate_line line = fit(c, v, (int)kind, &together);
    derive(c, v, kind, &line);
    bool vanishes = isinf(line.derived) && line.derived < 0;
    int most = kind == COORDINATE_CHANGE ? largest_leader(c, v) : -1;
    line.lost = most >= 0 && c->lost[most] ? c->regime.params[most].name : NULL;
    line.agrees =
        !line.underived && !line.lost && (line.zero ? vanishes : fabs(line.fitted - line.derived) <= together + slack);
    return line;
}

coordinate_line coordinate_part(const coordinate_check *c, int v, int param)
{
    double together;
    coordinate_line line = { .derived = part(c, v, param), .agrees = true };
    int widest = c->n_widths - 1;
    double beside = log_mean(c, v, BY_PARAM + param, widest) - log_mean(c, v, WHOLE, widest);
    if (!isfinite(line.derived) || coordinate_leads(c, v, param) || c->lost[param] || beside < log(too_small))
        return line;
    line = fit(c, v, BY_PARAM + param, &together);
    const tp_growing *g = &c->regime.vectors[v];
    line.limit = g->response;
    line.derived = coordinate_expected(g->response, g->near_response);
    line.agrees = line.zero || line.fitted - line.derived <= together + slack;
    return line;
}

static bool disagrees(coordinate_line l)
{
    return !l.agrees && !l.underived && !l.lost;
}

bool coordinate_agrees(const coordinate_check *c)
{
    for (int v = 0; v < c->regime.n_vectors; v++) {
        for (int kind = 0; kind < COORDINATE_KINDS; kind++)
            if (disagrees(coordinate_fit(c, v, (coordinate_kind)kind)))
                return false;
        for (int param = 0; param < c->regime.n_params; param++)
            if (disagrees(coordinate_part(c, v, param)))
                return false;
    }
    return true;
}
