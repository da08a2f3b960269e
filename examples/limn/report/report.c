/* report.c: the main job: a network trained at several widths beside its limit. Every width takes the same full-batch
 * steps at the same rate, so that training time is the same. */
#include "examples/limn/report/depth.h"
#include "examples/limn/report/learning.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

enum {
    STEPS = 100,
    PROBES = 32,
    SEEDS = 10, /* networks that are trained, a width */
    DRAWS = 4,  /* networks that are drawn for the initial deviation, for each that is trained */
    /* The same where samples meet and kernels are dear. */
    SEEDS_DEAR = 6,
    DRAWS_DEAR = 2,
    /* Where steps or kernels are dear, sequences included; the followed ones are measured on the way, not at both ends
     * alone. */
    STEPS_DEAR = 25,
    FOLLOWED_DEAR = 2,
    DECADE_DEAR = 4, /* points a decade of steps */
    LONG = 16,       /* steps of a sequence: beyond, networks are narrower */
    /* Of pictures, whose positions all take part in every step and kernel; widths are an eighth. */
    TRAINED_PICTURES = 32,
    PROBES_PICTURES = 16,
    NARROWER = 8,
    LIMIT_RUNS = 8 /* of a limit by samples: it is then off by 0.3 %, a twentieth or less of the distances from it */
};

/* The default rate's share of the largest stable one: fewer steps, the same time. */
static const double stable_share = 1 / 250.0, stable_share_dear = 1 / 62.5;

/* ---- the limit, and the rate that it allows ---- */
/* Momentum's steps on |f - y|^2 / 2 / N are stable below 2 (1 + mu) N / lambda, lambda the largest eigenvalue of the
 * kernel of the N training inputs: of its upper left corner, of so many lines. */
static int find_rate(report *r, double *kernel, size_t stride, size_t lines, size_t rows, ad_error *error)
{
    lapack_int found = 0, n = (lapack_int)lines;
    double *values = ad_alloc(lines, sizeof *values, "eigenvalues", error);
    lapack_int *support = ad_alloc(2, sizeof *support, "eigenvalues", error);
    int status = !values || !support ? -1 : 0;
    if (!status && LAPACKE_dsyevr(LAPACK_ROW_MAJOR, 'N', 'I', 'U', n, kernel, (lapack_int)stride, 0, 0, n, n, 0, &found,
                                  values, NULL, 1, support) != 0)
        status = ad_fail(error, "report: LAPACK found no largest eigenvalue of the limit kernel");
    if (!status && !(values[0] > 0))
        status = ad_fail(error, "report: the limit kernel of the training inputs is zero: nothing can be learned");
    if (!status) {
        r->largest = 2 * (1 + MOMENTUM) * (double)rows / values[0];
        r->rate = r->o->rate > 0 ? r->o->rate : r->share * r->largest;
    }
    ad_free(values);
    ad_free(support);
    return status;
}

/* Outputs that are not alike: the limit is the mean of their own kernels, as the networks' is, and the rate that of the
 * kernel between all of them. */
static int limit_of_outputs(report *r, const limit_question *q, ad_error *error)
{
    size_t rows = q->rows, outs = nn_n_outputs(r->net), trained = rows < r->trained ? rows : r->trained;
    size_t side = trained * outs;
    outputs_job job = {
        .o = r->o, .program = r->program, .ask = *q, .outputs = outs, .full = true, .opinion = &r->opinion
    };
    double *all = ad_alloc(rows * rows * outs * outs, sizeof *all, "a limit kernel", error), worst = 0;
    double *square = ad_alloc(side * side, sizeof *square, "a limit kernel", error);
    int status = all && square ? outputs_limit(&job, all, r->method, sizeof r->method, &worst, error) : -1;
    for (size_t i = 0; i < rows * rows * outs * outs && !status; i++) {
        size_t i0 = i / (outs * outs) / rows, i1 = i / (outs * outs) % rows, a = i / outs % outs, b = i % outs;
        if (a == b && i0 < r->probes && i1 < r->probes)
            r->limit[i0 * r->probes + i1] += all[i] / (double)outs;
        if (i0 < trained && i1 < trained)
            square[(i0 * outs + a) * side + i1 * outs + b] = all[i];
    }
    if (!status)
        status = find_rate(r, square, side, side, trained, error);
    ad_free(all);
    ad_free(square);
    return status;
}

/* Where samples meet, the probes are one batch of their own, and the largest eigenvalue of more inputs is taken to grow
 * with their number. */
int report_limit(report *r, ad_error *error)
{
    size_t rows = r->coupled || r->probes > r->trained ? r->probes : r->trained;
    size_t trained = rows < r->trained ? rows : r->trained;
    tp_kernel kernel = { 0 };
    limit_question q = {
        .which = TP_NTK, .x = r->data->x, .rows = rows, .spec = { .threads = (int)r->o->threads, .runs = LIMIT_RUNS }
    };
    if (!outputs_share_a_kernel(r->program, true))
        return limit_of_outputs(r, &q, error);
    int status = limit_find(r->o, r->program, &q, &kernel, &r->opinion, error);
    if (!status && !tp_kernel_converges(&kernel))
        status = ad_fail(error, "report: the kernel has powers of n in this scale: compare in --scale ntk");
    for (size_t i = 0; i < r->probes && !status; i++)
        memcpy(r->limit + i * r->probes, kernel.terms[0].values + i * rows, r->probes * sizeof *r->limit);
    if (!status) {
        snprintf(r->method, sizeof r->method, "%s", kernel.method);
        r->limit_error = kernel.deviations ? kernel.error : 0;
        status = find_rate(r, kernel.terms[0].values, rows, trained, trained, error);
    }
    tp_kernel_free(&kernel);
    return status;
}

/* ---- networks ---- */
/* What a fit tells on its way: a point is a measurement. */
typedef struct {
    report *r;
    int column, at;
    long draw;
    double norm;   /* of the kernel at the start */
    bool foreseen; /* how long it takes */
} trail;

static int keep_point(const nn_drift_row *row, void *context, ad_error *error)
{
    trail *t = context;
    report *r = t->r;
    column *c = &r->columns[t->column];
    if (t->at == MAX_POINTS)
        return ad_fail(error, "report: more than %d measurements in one fit", MAX_POINTS);
    if (t->draw < r->followed) {
        c->drift[t->at] += row->from_start / (double)r->followed;
        c->loss[t->at] += row->loss / (double)r->followed;
        r->points[t->at++] = row->step;
        r->n_points = t->at;
    }
    if (row->step == 0) {
        c->values[INITIAL][t->draw] = row->from_limit;
        t->norm = row->norm;
    }
    c->values[NORM][t->draw] = row->norm / t->norm;
    c->values[DRIFT][t->draw] = row->from_start;
    c->values[FINAL][t->draw] = row->from_limit;
    if (t->column == r->widest && t->draw == 0)
        memcpy(row->step == 0 ? r->first : r->last, row->kernel, r->probes * r->probes * sizeof *r->first);
    return 0;
}

/* A long way is told once, by the first steps of some seconds. */
static int foresee_steps(const nn_progress *p, nn_model *model, void *context)
{
    const double enough = 5;
    trail *t = context;
    (void)model;
    if (t->foreseen || p->seconds < enough)
        return 0;
    t->foreseen = true;
    progress_foresee(t->r->o->command, "training of one network",
                     p->seconds / (double)p->step * (double)(p->steps - p->step));
    return 0;
}

static int train(report *r, int k, long draw, nn_model *model, ad_error *error)
{
    const ds_data *data = r->data;
    column *c = &r->columns[k];
    double loss;
    nn_data inputs = { data->x, data->y, r->trained, data->classes };
    nn_data test = { data->x + data->train * data->features, data->y + data->train * data->targets,
                     data->rows - data->train, data->classes };
    trail on_the_way = { .r = r, .column = k, .draw = draw };
    nn_drift_spec watch = { .probes = { data->x, data->y, r->probes, data->classes },
                            .limit = r->limit,
                            .schedule = draw < r->followed ? NN_LOG_STEPS : NN_ENDS,
                            .every = draw < r->followed && r->dear ? DECADE_DEAR : 0,
                            .each = keep_point,
                            .context = &on_the_way };
    nn_fit_spec fit = { .loss = NN_SQUARE,
                        .optimizer = NN_MOMENTUM,
                        .momentum = MOMENTUM,
                        .rate = r->rate,
                        .steps = r->steps,
                        .seed = report_seed(r, k, draw),
                        .every = 1,
                        .callback = foresee_steps,
                        .context = &on_the_way,
                        .drift = &watch };
    return nn_fit(model, &inputs, &fit, NULL, error) ||
           nn_evaluate(model, &inputs, NN_SQUARE, &loss, &c->values[TRAIN_ACCURACY][draw], error) ||
           nn_evaluate(model, &test, NN_SQUARE, &loss, &c->values[TEST_ACCURACY][draw], error);
}

/* Only the kernel at initialization. */
static int draw_one(const report *r, nn_model *model, double *from_limit, ad_error *error)
{
    nn_drift_row row = { 0 };
    nn_drift_spec probes = { .probes = { r->data->x, r->data->y, r->probes, r->data->classes }, .limit = r->limit };
    nn_drift *drift = nn_drift_new(model, &probes, NN_SQUARE, error);
    int status = drift ? nn_drift_measure(drift, &row, error) : -1;
    *from_limit = row.from_limit;
    nn_drift_free(drift);
    return status;
}

static void check_coordinates(report *r)
{
    ad_error refusal = { 0 };
    r->coordinates = ad_alloc(1, sizeof *r->coordinates, "the report", &refusal);
    if (r->coordinates && !coordinate_measure(r->o, r->net, r->program, r->data, r->coordinates, &refusal))
        return;
    snprintf(r->no_coordinates, sizeof r->no_coordinates, "No coordinate check: %.500s.", refusal.text);
    ad_free(r->coordinates);
    r->coordinates = NULL;
}

/* What only the page shows of the first network of the widest width: without it there is a page all the same. */
static void look_deeper(report *r, nn_model *model)
{
    ad_error refusal = { 0 };
    if (report_look(r, model, &refusal))
        snprintf(r->no_neurons, sizeof r->no_neurons, "No neurons were looked at: %.400s.", refusal.text);
    refusal = (ad_error){ 0 };
    r->depth = ad_alloc(1, sizeof *r->depth, "the report", &refusal);
    if (r->depth && report_go_deep(r, model, r->depth, &refusal)) {
        report_depth_free(r->depth);
        r->depth = NULL;
    }
    if (r->o->check)
        check_coordinates(r);
}

int report_draw(report *r, int k, long draw, ad_error *error)
{
    nn_model *model =
        nn_model_new(r->net, r->columns[k].n, report_seed(r, k, draw), AD_FLOAT, (int)r->o->threads, error);
    int status = model ? 0 : -1;
    if (!status && k == r->widest && draw == 0)
        look_deeper(r, model);
    if (!status)
        status = draw < r->seeds ? train(r, k, draw, model, error)
                                 : draw_one(r, model, &r->columns[k].values[INITIAL][draw], error);
    nn_model_free(model);
    if (!status && r->learning && draw < r->seeds)
        status = report_learn_draw(r, k, draw, error);
    return status ? -1 : 0;
}

/* Does a function of a vector over the width jump, or its derivative? What only data goes through does not count. */
static bool has_kinks(const nn_net *net)
{
    const ad_graph *graph = nn_graph(net);
    for (int id = 0; id < ad_graph_size(graph); id++) {
        const ad_node *node = ad_node_of(graph, id);
        bool found = ad_is_unary(node->op) &&
                     (ad_op_facts_of(node->op)->breaks <= AD_BENDS || (node->function && node->function->n_kinks > 0));
        for (int k = 0; k < node->shape.rank && found; k++)
            if (ad_axis_kind(graph, node->shape.axes[k]) == AD_WIDTH)
                return true;
    }
    return false;
}

/* Which of report_claim's theories holds. */
static int find_theory(report *r, ad_error *error)
{
    tp_regime regime;
    if (tp_regime_find(r->program, &(tp_regime_spec){ .optimizer = NN_SGD }, &regime, error))
        return -1;
    r->theory = regime.stable && regime.features ? REPORT_FEATURES : has_kinks(r->net) ? REPORT_KINKS : REPORT_SMOOTH;
    tp_regime_free(&regime);
    return 0;
}

/* ---- the whole ---- */
int report_open(report *r, ad_error *error)
{
    static const size_t preset[] = { 64, 128, 256, 512, 1024 }; /* long sequences: the first four */
    const options *o = r->o;
    r->n_columns = o->n_widths ? o->n_widths : 4;
    const ds_data *data = r->data = data_load(o, error);
    if (!data)
        return -1;
    if (!data->y || data->train < 2 || data->rows == data->train)
        return ad_fail(error, "report needs labelled data with at least 2 training and some test inputs%s",
                       o->inputs ? ": --inputs have no test part, --data FILE has" : "");
    if (o->probes > 0 && (size_t)o->probes > data->train)
        return ad_fail(error, "report: %ld probes of %zu training inputs", o->probes, data->train);
    if (!(r->net = network_trace(o, data, error)))
        return -1;
    bool pictures = nn_spec_of(r->net)->shape[2] > 0;
    size_t trained = pictures ? TRAINED_PICTURES : TRAINED, probes = pictures ? PROBES_PICTURES : PROBES;
    r->trained = data->train < trained ? data->train : trained;
    r->probes = o->probes > 0 ? (size_t)o->probes : data->train < probes ? data->train : probes;
    size_t count = r->probes * r->probes;
    if (!(r->program = tp_translate(r->net, error)) || find_theory(r, error) ||
        !(r->columns = ad_alloc((size_t)r->n_columns, sizeof *r->columns, "the report", error)) ||
        !(r->limit = ad_alloc(3 * count, sizeof *r->limit, "kernels", error)))
        return -1;
    r->first = r->limit + count;
    r->last = r->first + count;
    size_t length = nn_spec_of(r->net)->shape[1] > 0 ? nn_spec_of(r->net)->shape[0] : 0;
    r->coupled = ad_parameters_coupled(nn_output(r->net), nn_batch(r->net));
    r->dear = r->coupled || length > 0;
    r->steps = o->steps > 0 ? o->steps : r->dear ? STEPS_DEAR : STEPS;
    r->share = o->rate > 0 ? 0 : r->dear ? stable_share_dear : stable_share;
    r->seeds = o->seeds > 0 ? o->seeds : r->coupled || pictures ? SEEDS_DEAR : SEEDS;
    r->draws = (r->coupled || pictures ? DRAWS_DEAR : DRAWS) * r->seeds;
    r->followed = r->dear && r->seeds > FOLLOWED_DEAR ? FOLLOWED_DEAR : r->seeds;
    for (int k = 0; k < r->n_columns; k++) {
        r->columns[k].n = o->n_widths ? o->widths[k] : preset[length > LONG ? k : k + 1] / (pictures ? NARROWER : 1);
        r->widest = r->columns[k].n > r->columns[r->widest].n ? k : r->widest;
        for (field f = 0; f < FIELDS; f++)
            if (!(r->columns[k].values[f] = ad_alloc((size_t)report_count(r, f), sizeof(double), "the report", error)))
                return -1;
    }
    return 0;
}

void report_close(report *r)
{
    for (int k = 0; r->columns && k < r->n_columns; k++)
        for (field f = 0; f < FIELDS; f++)
            ad_free(r->columns[k].values[f]);
    for (int k = 0; k < r->n_neurons; k++)
        ad_free(r->neurons[k].values);
    report_depth_free(r->depth);
    report_learning_free(r->learning);
    if (r->coordinates)
        coordinate_free(r->coordinates);
    ad_free(r->coordinates);
    ad_free(r->columns);
    ad_free(r->limit);
    tp_program_free(r->program);
    nn_net_free(r->net);
    ds_free(r->data);
}
