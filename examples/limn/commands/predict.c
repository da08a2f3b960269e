/* predict.c: limn predict: what training would do, by a constant kernel: the limit's, or a network's own. */
#include "examples/limn/commands/predict.h"
#include "examples/limn/commands/commands.h"

#include <math.h>
#include <string.h>

enum { ROWS = 1000 }; /* of embedded data, for each part */

/* What is told of one time: scores of the training and of the test inputs. */
typedef struct {
    double t;
    tp_score score[2];
} moment;

typedef struct {
    tp_kernel_model *kernel_model;
    tp_training training;
    moment moments[MAX_TIMES];
    double *f[2];       /* (times, rows, outputs) */
    double *covariance; /* (times, rows, rows) */
} result;

/* ---- opening ---- */
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

/* --labels2: such as --labels are. */
static int read_labels2(prediction *p, ad_error *error)
{
    ds_array a = { 0 };
    const char *path = p->o->labels2;
    size_t classes = p->data->classes, columns = classes ? 1 : p->outputs, rows = p->second.shape[0];
    int status = ds_npy_read(path, &a, error);
    if (!status && (a.rank < 1 || a.rank > 2 || a.shape[0] != rows || (a.rank == 2 ? a.shape[1] : 1) != columns))
        status = ad_fail(error, "%s: its shape is not (%zu%s), as the rows of %s and --labels ask", path, rows,
                         classes ? "" : ", outputs", p->o->inputs2);
    for (size_t i = 0; i < rows * columns && !status; i++)
        if (!isfinite(a.data[i]) ||
            (classes && !(a.data[i] >= 0 && a.data[i] < (double)classes && !(floor(a.data[i]) < a.data[i]))))
            status = ad_fail(error, "%s: row %zu is %g, which --labels do not have", path, i / columns, a.data[i]);
    if (!status)
        status = (p->y[1] = spread_labels(p, a.data, p->rows[1], error)) ? 0 : -1;
    ds_array_free(&a);
    return status;
}

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

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int open_data(prediction *p, ad_error *error)
{
    const options *o = p->o;
    const ds_data *data = p->data = data_load(o, error);
    if (!data || data_second(o, data, &p->second, error))
        return -1;
    if (!data->y)
        return ad_fail(error, "%s: --labels are missing", data_name(o));
    if (o->loss == NN_CROSS_ENTROPY && !data->classes)
        return ad_fail(error, "%s: cross-entropy takes classes, (rows)", o->labels ? o->labels : data_name(o));
    size_t preset = o->inputs ? SIZE_MAX : ROWS;
    p->x[0] = data->x;
    p->rows[0] = smaller(data->train, o->train ? (size_t)o->train : preset);
    p->x[1] = p->second.data ? p->second.data : data->x + data->train * data->features;
    p->rows[1] =
        smaller(p->second.data ? p->second.shape[0] : data->rows - data->train, o->test ? (size_t)o->test : preset);
    if (!(p->net = network_trace(o, data, error)))
        return -1;
    p->outputs = nn_n_outputs(p->net);
    if (data_outputs(data) > p->outputs || (!data->classes && data->targets != p->outputs))
        return ad_fail(error, "%s: %zu %s, the network has %zu outputs", o->labels ? o->labels : data_name(o),
                       data_outputs(data), data->classes ? "classes" : "targets a row", p->outputs);
    if (!(p->y[0] = spread_labels(p, data->y, p->rows[0], error)))
        return -1;
    if (o->labels2)
        return read_labels2(p, error);
    size_t columns = data->classes ? 1 : data->targets;
    if (p->second.data || p->rows[1] == 0)
        return 0;
    return (p->y[1] = spread_labels(p, data->y + data->train * columns, p->rows[1], error)) ? 0 : -1;
}

/* The limit's program, or a network and its outputs at the start. */
static int open_network(prediction *p, ad_error *error)
{
    const options *o = p->o;
    p->readout = o->kernel == TP_NNGP;
    p->full = o->outputs == NN_FULL;
    p->width = o->at_width > 0 ? o->at_width : 1;
    if (o->start && read_start(p, error))
        return -1;
    if (!o->width && !o->weights) {
        if (o->scale == NN_MEANFIELD || o->scale == NN_MUP)
            return ad_fail(error,
                           "limits are for --scale ntk and standard: in %s features move as much as outputs do, and no "
                           "constant kernel rules the limit; a network of --width N has one of its own",
                           option_word(OPTION_SCALE, (int)o->scale));
        p->ensemble = !p->start && o->loss == NN_SQUARE;
        if (!(p->program = tp_translate(p->net, error)))
            return -1;
        p->full = p->full || !outputs_share_a_kernel(p->program, true);
        return 0;
    }
    size_t outs = p->outputs, rows = p->rows[0];
    if (!(p->model = network_model(o, p->net, 0, (uint64_t)o->seed, error)))
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

static void close_prediction(prediction *p)
{
    ad_free(p->y[0]);
    ad_free(p->y[1]);
    ad_free(p->start);
    nn_model_free(p->model);
    tp_program_free(p->program);
    nn_net_free(p->net);
    ds_array_free(&p->second);
    ds_free(p->data);
}

/* ---- predicting ---- */
/* The variance of the test outputs at each time, (times, rows) or (times, rows, outputs) if `full`, of an ensemble;
 * --covariance fills the result's. */
static double *find_variances(prediction *p, result *r, const double *cross, size_t columns, ad_error *error)
{
    size_t tests = p->rows[1] * (p->full ? p->outputs : 1), times = (size_t)p->o->n_times;
    bool diagonal = !p->o->covariance;
    double *train = NULL, *with = NULL, *test = predict_test_kernel(p, TP_NNGP, diagonal, error);
    double *variances = test ? ad_alloc(times * tests, sizeof *variances, "variances", error) : NULL;
    int status = variances ? 0 : -1;
    if (!status && !p->readout)
        status = (with = predict_cross_kernel(p, TP_NNGP, error)) && (train = predict_train_kernel(p, TP_NNGP, error))
                     ? 0
                     : -1;
    if (!status && !diagonal)
        status =
            (r->covariance = ad_alloc(times * tests * tests, sizeof *r->covariance, "covariances", error)) ? 0 : -1;
    tp_prior prior = { train, with, test, diagonal };
    for (size_t k = 0; k < times && !status; k++) {
        double *out = diagonal ? variances + k * tests : r->covariance + k * tests * tests;
        status =
            tp_covariance(r->kernel_model, &r->training, columns, r->moments[k].t, cross, tests, &prior, out, error);
        for (size_t i = 0; i < tests && !diagonal && !status; i++)
            variances[k * tests + i] = out[i * tests + i];
    }
    for (size_t i = 0; i < times * tests && !status && p->readout; i++)
        variances[i] += r->kernel_model->ridge; /* GP inference: the ridge is the noise of the targets */
    ad_free(train);
    ad_free(with);
    ad_free(test);
    if (!status)
        return variances;
    ad_free(variances);
    return NULL;
}

static int score_tests(prediction *p, result *r, const double *a, size_t n, size_t columns, ad_error *error)
{
    size_t rows = p->rows[1] * (n / p->rows[0]), count = p->rows[1] * p->outputs;
    const double *start = p->start ? p->start + p->rows[0] * p->outputs : NULL;
    double *cross = predict_cross_kernel(p, p->o->kernel, error), *variances = NULL;
    int status =
        cross && (r->f[1] = ad_alloc((size_t)p->o->n_times * count, sizeof(double), "outputs", error)) ? 0 : -1;
    if (!status && p->ensemble && (p->y[1] || p->o->covariance))
        status = (variances = find_variances(p, r, cross, columns, error)) ? 0 : -1;
    for (int k = 0; k < p->o->n_times && !status; k++) {
        double *f = r->f[1] + (size_t)k * count;
        tp_outputs_at(r->kernel_model, cross, rows, a + (size_t)k * n * columns, columns, start, f);
        const double *variance = variances ? variances + (size_t)k * rows : NULL;
        tp_score *score = &r->moments[k].score[1];
        if (p->y[1])
            *score = tp_score_of(p->o->loss, f, p->y[1], p->full ? NULL : variance, p->rows[1], p->outputs, 0);
        if (p->y[1] && p->full && variance)
            score->nll = tp_score_of(p->o->loss, f, p->y[1], variance, count, 1, 0).nll;
    }
    ad_free(cross);
    ad_free(variances);
    return status;
}

/* The limit's prediction starts from the outputs' mean. */
static int check_start(const prediction *p, ad_error *error)
{
    char where[200];
    if (!p->program || p->start || tp_outputs_centred(p->program, where, sizeof where))
        return 0;
    return ad_fail(error,
                   "%s: the mean of the outputs over initial networks is not shown to be 0, and the limit's prediction "
                   "starts from it: give --start F.npy, (train + test rows, outputs)",
                   where);
}

static int predict(prediction *p, result *r, const tp_kernel_model_spec *spec, ad_error *error)
{
    const options *o = p->o;
    size_t n = p->rows[0] * (p->full ? p->outputs : 1), columns = p->full ? 1 : p->outputs, times = (size_t)o->n_times;
    double *kernel = predict_train_kernel(p, o->kernel, error), *a = NULL;
    int status = kernel && (r->kernel_model = tp_kernel_model_new(kernel, n, spec, error)) ? 0 : -1;
    if (!status)
        status = check_start(p, error);
    if (!status && o->rate <= 0 && r->training.motion != TP_GRADIENT_FLOW)
        r->training.rate = tp_maximum_stable_rate(r->kernel_model, &r->training, columns) / 2;
    if (!status)
        status =
            (a = ad_alloc(times * n * columns, sizeof *a, "coefficients", error)) &&
                    (r->f[0] = ad_alloc(times * n * columns, sizeof *r->f[0], "outputs", error))
                ? tp_coefficients(r->kernel_model, &r->training, p->y[0], columns, p->start, o->times, times, a, error)
                : -1;
    for (size_t k = 0; k < times && !status; k++) {
        double *f = r->f[0] + k * n * columns;
        r->moments[k].t = o->times[k];
        status = tp_outputs(r->kernel_model, a + k * n * columns, columns, p->start, f, error);
        if (!status)
            r->moments[k].score[0] = tp_score_of(o->loss, f, p->y[0], NULL, p->rows[0], p->outputs, 0);
    }
    if (!status && p->rows[1])
        status = score_tests(p, r, a, n, columns, error);
    ad_free(a);
    return status;
}

static int write_files(const prediction *p, const result *r, ad_error *error)
{
    size_t tests = p->rows[1], times = (size_t)p->o->n_times, side = tests * (p->full ? p->outputs : 1);
    size_t shape[3] = { times, tests ? tests : p->rows[0], p->outputs }, square[3] = { times, side, side };
    if (p->o->out && ds_npy_write(p->o->out, r->f[tests ? 1 : 0], shape, 3, error))
        return -1;
    return p->o->covariance ? ds_npy_write(p->o->covariance, r->covariance, square, 3, error) : 0;
}

/* ---- telling ---- */
static const char *const dynamics[] = { [TP_GRADIENT_FLOW] = "gradient flow",
                                        [TP_GRADIENT_DESCENT] = "gradient descent",
                                        [TP_MOMENTUM] = "gradient descent with momentum" };

static void print_number(double x, double factor)
{
    if (isnan(x))
        printf("%13s", "-");
    else
        printf("%13.5g", factor * x);
}

static void print_prediction(const prediction *p, const result *r)
{
    const options *o = p->o;
    const tp_kernel_model *m = r->kernel_model;
    bool square = o->loss == NN_SQUARE, classes = p->data->classes > 0;
    double rate = r->training.rate > 0 ? r->training.rate : 1, outs = (double)p->outputs;
    printf("%s%s of %s", p->readout ? "NNGP kernel (the readout alone is trained)" : "NTK",
           p->full ? ", between outputs," : "", o->network);
    if (p->model)
        printf(" at width %zu, %s: one network, from %s on\n", nn_model_width(p->model),
               o->weights ? o->weights : "drawn from --seed", o->start ? o->start : "its own outputs");
    else
        printf(" in the limit%s: %s\n%s, relative error %.1g\n", o->at_width > 0 ? ", summed at a width" : "",
               p->ensemble ? "an ensemble of networks, its mean"
               : o->start  ? "from --start on"
                           : "from outputs 0 on",
               p->method, p->error);
    limit_tell(&p->opinion, NULL);
    printf("%s on the %s, rate %.5g", dynamics[r->training.motion],
           square ? "square loss sum (f - y)^2 / (2 N k)" : "cross-entropy, a mean over inputs", rate);
    if (r->training.motion == TP_MOMENTUM)
        printf(", momentum %g", o->momentum);
    if (square && p->outputs > 1)
        printf(" (as limn train --loss square --rate %.5g)", rate / outs);
    printf("\n%zu inputs to train, %zu to test, %zu output%s\n", p->rows[0], p->rows[1], p->outputs,
           p->outputs > 1 ? "s" : "");
    printf("largest stable rate %.5g   condition number %.4g (eigenvalues %.4g to %.4g)   ridge %.4g%s\n\n",
           tp_maximum_stable_rate(m, &r->training, p->full ? 1 : p->outputs), m->condition, m->smallest, m->largest,
           m->ridge, m->ridge > 0 ? "" : " (none)");
    printf("%10s%13s%13s%13s%13s%13s\n", r->training.motion == TP_GRADIENT_FLOW ? "t" : "steps", "train loss",
           "train %", "test loss", "test %", "test NLL");
    for (int k = 0; k < o->n_times; k++) {
        const tp_score *s = r->moments[k].score;
        printf("%10.6g", r->moments[k].t);
        for (int part = 0; part < 2; part++) {
            bool known = part == 0 || p->y[1];
            print_number(known ? s[part].loss : (double)NAN, 1);
            print_number(known && classes ? s[part].accuracy : (double)NAN, 100);
        }
        print_number(p->y[1] ? s[1].nll : (double)NAN, 1);
        puts("");
    }
    if (o->out)
        printf("%s outputs (%d, %zu, %zu): written to %s\n", p->rows[1] ? "test" : "training", o->n_times,
               p->rows[p->rows[1] ? 1 : 0], p->outputs, o->out);
    size_t side = p->rows[1] * (p->full ? p->outputs : 1);
    if (o->covariance)
        printf("covariance (%d, %zu, %zu): written to %s\n", o->n_times, side, side, o->covariance);
}

/* JSON has no infinity: it is a text. NAN is null. */
static cJSON *json_number(double x)
{
    return isinf(x) ? cJSON_CreateString("inf") : isnan(x) ? cJSON_CreateNull() : cJSON_CreateNumber(x);
}

static int tell_json(const prediction *p, const result *r, ad_error *error)
{
    static const char *const names[] = { "train", "test" }, *const words[] = {
        [TP_GRADIENT_FLOW] = "flow", [TP_GRADIENT_DESCENT] = "sgd", [TP_MOMENTUM] = "momentum"
    };
    const options *o = p->o;
    const tp_kernel_model *m = r->kernel_model;
    cJSON *root = json_new(o);
    json_put(root, "kernel", cJSON_CreateString(p->readout ? "nngp" : "ntk"));
    json_put(root, "width",
             p->model ? cJSON_CreateNumber((double)nn_model_width(p->model)) : cJSON_CreateString("inf"));
    if (o->at_width > 0)
        json_put(root, "at_width", cJSON_CreateNumber(o->at_width));
    if (!p->model) {
        json_put(root, "method", cJSON_CreateString(p->method));
        json_put(root, "error", cJSON_CreateNumber(p->error));
        limit_tell(&p->opinion, root);
    }
    data_tell(o, p->data, root);
    json_put(root, "loss", cJSON_CreateString(option_word(OPTION_LOSS, (int)o->loss)));
    json_put(root, "optimizer", cJSON_CreateString(words[r->training.motion]));
    json_put(root, "rate", cJSON_CreateNumber(r->training.rate > 0 ? r->training.rate : 1));
    if (r->training.motion == TP_MOMENTUM)
        json_put(root, "momentum", cJSON_CreateNumber(o->momentum));
    json_put(root, "ensemble", cJSON_CreateBool(p->ensemble));
    json_put(root, "largest_stable_rate",
             json_number(tp_maximum_stable_rate(m, &r->training, p->full ? 1 : p->outputs)));
    json_put(root, "condition_number", json_number(m->condition));
    json_put(root, "smallest_eigenvalue", json_number(m->smallest));
    json_put(root, "largest_eigenvalue", json_number(m->largest));
    json_put(root, "ridge", json_number(m->ridge));
    for (int part = 0; part < 2; part++)
        json_put(root, part ? "test_rows" : "train_rows", cJSON_CreateNumber((double)p->rows[part]));
    cJSON *times = json_put(root, "times", cJSON_CreateArray());
    for (int k = 0; k < o->n_times; k++) {
        cJSON *item = json_put(times, "", cJSON_CreateObject());
        json_put(item, "t", json_number(r->moments[k].t));
        for (int part = 0; part < 2 && p->rows[part]; part++) {
            const tp_score *s = &r->moments[k].score[part];
            cJSON *at = json_put(item, names[part], cJSON_CreateObject());
            if (p->y[part])
                json_put(at, "loss", json_number(s->loss));
            if (p->y[part] && p->data->classes)
                json_put(at, "accuracy", json_number(s->accuracy));
            if (p->y[part])
                json_put(at, "nll", json_number(s->nll));
            size_t shape[2] = { p->rows[part], p->outputs };
            if (!o->out)
                json_put(at, "outputs", json_array(r->f[part] + (size_t)k * shape[0] * shape[1], shape, 2));
        }
    }
    if (o->out)
        json_put(root, "out", cJSON_CreateString(o->out));
    if (o->covariance)
        json_put(root, "covariance", cJSON_CreateString(o->covariance));
    return json_print(root, error);
}

static int run_predict(const options *given, ad_error *error)
{
    static const double preset[] = { 1, 10, 100, (double)INFINITY };
    options o = *given;
    prediction p = { .o = &o };
    result r = { .training = { .loss = o.loss, .rate = o.rate, .momentum = o.momentum } };
    if (o.optimizer != GRADIENT_FLOW)
        r.training.motion = o.optimizer == NN_MOMENTUM && o.momentum > 0 ? TP_MOMENTUM : TP_GRADIENT_DESCENT;
    if (!o.n_times) {
        o.n_times = o.loss == NN_SQUARE ? 4 : 3;
        memcpy(o.times, preset, sizeof preset);
    }
    int status = open_data(&p, error) || open_network(&p, error) ? -1 : 0;
    if (!status && !o.json)
        data_tell(&o, p.data, NULL);
    tp_kernel_model_spec spec = { .ridge = o.ridge,
                                  .cholesky = o.loss == NN_SQUARE && isinf(o.times[0]),
                                  .outputs = p.full ? p.outputs : 1,
                                  .threads = (int)o.threads };
    if (!status && o.covariance && !p.rows[1])
        status = ad_fail(error, "--covariance: there are no test inputs: --inputs2 X.npy is missing");
    if (!status && o.explain) {
        status = predict_explain(&p, &spec, error);
    } else if (!status) {
        status = predict(&p, &r, &spec, error);
        if (!status)
            status = write_files(&p, &r, error);
        if (!status && o.json)
            status = tell_json(&p, &r, error);
        else if (!status)
            print_prediction(&p, &r);
    }
    tp_kernel_model_free(r.kernel_model);
    ad_free(r.f[0]);
    ad_free(r.f[1]);
    ad_free(r.covariance);
    close_prediction(&p);
    return status;
}

static int settle_predict(options *o)
{
    if (o->at_width > 0 && o->width)
        return option_fail("--at-width sums a limit, --width N has none in", o->command);
    if (o->infinite && o->weights)
        return option_fail("--width inf knows no --weights in", o->command);
    if (o->optimizer > NN_MOMENTUM && o->optimizer != GRADIENT_FLOW)
        return option_fail("only sgd, momentum and flow have a kernel, not",
                           option_word(OPTION_OPTIMIZER, o->optimizer));
    if (o->covariance && (o->width || o->weights || o->start || o->loss == NN_CROSS_ENTROPY))
        return option_fail("--covariance is of a limit's ensemble on the square loss, without --start, in", o->command);
    if (o->optimizer < 0)
        o->optimizer = GRADIENT_FLOW;
    return 0;
}

const tool_command command_predict = {
    .name = "predict",
    .argument = "NET",
    .summary = "what training would do, by a constant kernel",
    .manual =
        "Train and test loss, accuracy and likelihood at --times of training, by the limit's kernel (an ensemble of "
        "networks:\n"
        "its mean, and its variance for the likelihood) or, with --width N, by the kernel of one network drawn from "
        "--seed,\n"
        "from its own outputs on. The square loss is sum (f - y)^2 / (2 N k), k outputs: limn train's, which has no k, "
        "needs\n"
        "1/k of the rate for the same. t is time with the flow, else steps. --kernel nngp trains the readout alone, at "
        "inf it\n"
        "is GP inference. Outputs that are not alike, or depend on each other, are predicted together, by their own "
        "kernels and\n"
        "those between them, as --outputs full does; --covariance is then (times, rows x outputs, rows x outputs). A "
        "kernel that cannot be inverted is an error that names its condition number and a --ridge.\n"
        "--out writes the test outputs (the training ones, if there are no others), (times, rows, outputs).",
    .takes = TAKE_NETWORK | TAKE(LABELS) | TAKE(SCALING) | TAKE(INPUTS2) | TAKE(LABELS2) | TAKE(WIDTH) |
             TAKE(AT_WIDTH) | TAKE(SEED) | TAKE(KERNEL) | TAKE(OUTPUTS) | TAKE(WEIGHTS) | TAKE(LAYOUT) | TAKE(OUT) |
             TAKE(LOSS) | TAKE(OPTIMIZER) | TAKE(MOMENTUM) | TAKE(TIMES) | TAKE(RIDGE) | TAKE(TRAIN) | TAKE(TEST) |
             TAKE(START) | TAKE(COVARIANCE) | TAKE(RATE) | TAKE(DTYPE) | TAKE(ENGINE) | TAKE(RULE) | TAKE(SAMPLES) |
             TAKE(RUNS) | TAKE(TOLERANCE) | TAKE(NO_CHECK) | TAKE(THREADS) | TAKE(EXPLAIN),
    .settle = settle_predict,
    .run = run_predict,
};
