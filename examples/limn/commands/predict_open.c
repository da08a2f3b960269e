/* predict_open.c: what a prediction stands on: inputs, targets, the limit's program or a network, outputs at the
 * start. */
#include "examples/limn/commands/predict.h"

#include <math.h>
#include <string.h>

const char prediction_without_dropout[] =
    "nothing is dropped out: the kernel is the whole network's (with dropout: limn kernel --mode train)\n";

enum { ROWS = 1000 }; /* of embedded data, for each part */

bool predict_selects(const options *o)
{
    return o->n_grid || o->n_ridges || o->folds || o->choose >= 0 || o->csv;
}

/* ---- inputs ---- */
static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

int predict_open_data(prediction *p, ad_error *error)
{
    const options *o = p->o;
    ds_data *data = p->data = data_read_both(o, &p->second, error);
    if (!data)
        return -1;
    if (!data->y)
        return ad_fail(error, "%s: --labels are missing", data_name(o));
    if (o->loss == NN_CROSS_ENTROPY && !data->classes)
        return ad_fail(error, "%s: cross-entropy takes classes, (rows)", o->labels ? o->labels : data_name(o));
    if (predict_selects(o) && p->second.data)
        data->train = data->rows;
    size_t preset = o->inputs || predict_floats_asked(o) ? SIZE_MAX : ROWS;
    p->scaling = data_scaling(o);
    p->rows[0] = smaller(data->train, o->train ? (size_t)o->train : preset);
    p->rows[1] =
        smaller(p->second.data ? p->second.shape[0] : data->rows - data->train, o->test ? (size_t)o->test : preset);
    if (predict_selects(o)) {
        size_t count = p->rows[0] * data->features;
        if (!(p->raw = ad_reserve(count, sizeof *p->raw, "inputs", error)))
            return -1;
        memcpy(p->raw, data->x, count * sizeof *p->raw);
    }
    if (data_scale(data, &p->second, p->scaling, error))
        return -1;
    p->x[0] = data->x;
    p->x[1] = p->second.data ? p->second.data : data->x + data->train * data->features;
    return 0;
}

/* ---- targets ---- */
/* (rows, outputs): one row of the unit matrix a class, or the targets themselves. */
static double *spread_labels(const prediction *p, const double *labels, size_t rows, ad_error *error)
{
    size_t outs = p->outputs;
    double *y = ad_alloc(rows * outs, sizeof *y, "targets", error);
    if (y && !p->data->classes)
        memcpy(y, labels, rows * outs * sizeof *y);
    for (size_t i = 0; i < rows && y && p->data->classes; i++)
        y[i * outs + (size_t)labels[i]] = 1;
    return y;
}

static int read_labels2(prediction *p, ad_error *error)
{
    ds_array labels = { 0 };
    int status = data_labels2(p->o, p->data, p->second.shape[0], &labels, error);
    if (!status)
        status = (p->y[1] = spread_labels(p, labels.data, p->rows[1], error)) ? 0 : -1;
    ds_array_free(&labels);
    return status;
}

static int open_targets(prediction *p, ad_error *error)
{
    const options *o = p->o;
    const ds_data *data = p->data;
    size_t columns = data->classes ? 1 : data->targets;
    if (data_outputs(data) > p->outputs || (!data->classes && data->targets != p->outputs))
        return ad_fail(error, "%s: %zu %s, the network has %zu outputs", o->labels ? o->labels : data_name(o),
                       data_outputs(data), data->classes ? "classes" : "targets a row", p->outputs);
    if (!(p->y[0] = spread_labels(p, data->y, p->rows[0], error)))
        return -1;
    if (p->second.data && o->labels2)
        return read_labels2(p, error);
    if (p->second.data || p->rows[1] == 0)
        return 0;
    return (p->y[1] = spread_labels(p, data->y + data->train * columns, p->rows[1], error)) ? 0 : -1;
}

/* ---- the network ---- */
/* Exponents of one's own may make features move, too. */
static int check_regime(const prediction *p, ad_error *error)
{
    tp_regime r;
    if (!p->o->n_abc)
        return 0;
    if (tp_regime_find(p->program, &(tp_regime_spec){ .optimizer = NN_SGD }, &r, error))
        return -1;
    bool lazy = r.stable && !r.features;
    int status = lazy ? 0
                      : ad_fail(error,
                                "no constant kernel rules the limit with these exponents (%.200s): a network of "
                                "--width N has one of its own",
                                r.verdict);
    tp_regime_free(&r);
    return status;
}

/* Where the limit has a power of n in it there is a rate at a width alone. */
void predict_find_readout(prediction *p)
{
    enum { WIDE = 1 << 20 };
    bool at_width = p->model || p->o->at_width >= 1;
    double twice = 0;
    ad_sizes sizes = { .n = WIDE }, wider = { .n = 2 * (size_t)WIDE };
    if (at_width)
        sizes.n = p->model ? nn_model_width(p->model) : (size_t)p->o->at_width;
    p->readout_rate = (double)NAN;
    if (nn_readout_rate(p->net, &sizes, &p->readout_rate, &p->no_readout) ||
        (!at_width && nn_readout_rate(p->net, &wider, &twice, &p->no_readout)))
        p->readout_rate = (double)NAN;
    else if (!at_width && fabs(twice - p->readout_rate) > 1e-9 * twice) {
        ad_fail(&p->no_readout, "at a fixed rate the readout's training has a power of n: give --at-width N");
        p->readout_rate = (double)NAN;
    }
}

const char *predict_kernel_name(const prediction *p)
{
    return !p->readout              ? "NTK"
           : isnan(p->readout_rate) ? "NNGP kernel (GP inference)"
                                    : "NNGP kernel (the readout alone is trained)";
}

int predict_open_limit(prediction *p, ad_error *error)
{
    const options *o = p->o;
    p->readout = o->kernel == TP_NNGP;
    p->full = o->outputs == NN_FULL;
    p->width = o->at_width > 0 ? o->at_width : 1;
    if (!(p->net = network_trace(o, p->data, error)))
        return -1;
    p->outputs = nn_n_outputs(p->net);
    if (open_targets(p, error))
        return -1;
    if (o->width || o->weights)
        return 0;
    if (o->scale == NN_MEANFIELD || o->scale == NN_MUP)
        return ad_fail(error,
                       "limits are for --scale ntk and standard: in %s features move as much as outputs do, and no "
                       "constant kernel rules the limit; a network of --width N has one of its own",
                       option_word(OPTION_SCALE, (int)o->scale));
    if (!(p->program = tp_translate(p->net, error)))
        return -1;
    p->full = p->full || !outputs_share_a_kernel(p->program, true);
    return check_regime(p, error);
}

/* ---- outputs at the start ---- */
static int read_start(prediction *p, ad_error *error)
{
    ds_array a = { 0 };
    size_t rows = p->rows[0] + p->rows[1];
    if (ds_npy_matrix(p->o->start, &a, error))
        return -1;
    p->start = a.data;
    a.data = NULL;
    if (a.shape[0] != rows || (a.rank == 2 ? a.shape[1] : 1) != p->outputs)
        return ad_fail(error, "%s: its shape is not (%zu, %zu): outputs of the %zu training and %zu test inputs",
                       p->o->start, rows, p->outputs, p->rows[0], p->rows[1]);
    return 0;
}

/* The mean of the targets that train, which all rows start from. */
static int start_at_mean(prediction *p, ad_error *error)
{
    size_t outs = p->outputs, count = (p->rows[0] + p->rows[1]) * outs;
    double *mean = ad_alloc(outs, sizeof *mean, "means", error);
    if (!mean || !(p->start = ad_alloc(count, sizeof *p->start, "outputs", error))) {
        ad_free(mean);
        return -1;
    }
    for (size_t i = 0; i < p->rows[0] * outs; i++)
        mean[i % outs] += p->y[0][i] / (double)p->rows[0];
    for (size_t i = 0; i < count; i++)
        p->start[i] = mean[i % outs];
    ad_free(mean);
    return 0;
}

int predict_open_start(prediction *p, ad_error *error)
{
    const options *o = p->o;
    size_t outs = p->outputs, rows = p->rows[0];
    if (o->start && read_start(p, error))
        return -1;
    if (p->program) {
        p->ensemble = !p->start && o->loss == NN_SQUARE;
        return o->centre ? start_at_mean(p, error) : 0;
    }
    if (!p->model && !(p->model = network_model(o, p->net, 0, (uint64_t)o->seed, error)))
        return -1;
    nn_set_mode(p->model, NN_TRAINING); /* where samples meet, each part is one batch, in outputs as in kernels */
    if (p->start)
        return 0;
    if (!(p->start = ad_alloc((rows + p->rows[1]) * outs, sizeof *p->start, "outputs", error)))
        return -1;
    return nn_forward(p->model, p->x[0], rows, p->start, error) ||
                   nn_forward(p->model, p->x[1], p->rows[1], p->start + rows * outs, error)
               ? -1
               : 0;
}

int predict_check_centred(const prediction *p, ad_error *error)
{
    char where[200];
    if (!p->program || p->o->start || tp_outputs_centred(p->program, where, sizeof where))
        return 0;
    return ad_fail(error,
                   "%s: the mean of the outputs over initial networks is not shown to be 0, and the limit's prediction "
                   "starts from it: give --start F.npy, (train + test rows, outputs)",
                   where);
}

void predict_close(prediction *p)
{
    ad_free(p->y[0]);
    ad_free(p->y[1]);
    ad_free(p->start);
    nn_model_free(p->model);
    tp_program_free(p->program);
    nn_net_free(p->net);
    ds_array_free(&p->second);
    ad_free(p->raw);
    ds_free(p->data);
}
