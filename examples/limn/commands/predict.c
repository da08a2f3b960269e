/* predict.c: limn predict: what training would do, by a constant kernel: the limit's, or a network's own. */
#include "examples/limn/commands/predict.h"
#include "examples/limn/commands/commands.h"

#include <math.h>
#include <string.h>

/* What is told of one time: scores of the training and of the test inputs. */
typedef struct {
    double t;
    tp_score score[2];
} moment;

typedef struct {
    tp_kernel_model *kernel_model;
    tp_training training;
    int n_times;       /* those that can be told, the first ones; */
    char refused[512]; /* why the next one is not */
    moment moments[MAX_TIMES];
    double *f[2];       /* (times, rows, outputs) */
    double *covariance; /* (times, rows, rows) */
} result;

/* ---- predicting ---- */
/* The variance of the test outputs at each time, (times, rows) or (times, rows, outputs) if `full`, of an ensemble;
 * --covariance fills the result's. */
static double *find_variances(prediction *p, result *r, const double *cross, size_t columns, ad_error *error)
{
    size_t tests = p->rows[1] * (p->full ? p->outputs : 1), times = (size_t)r->n_times;
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
    double at[MAX_TIMES], *out = diagonal ? variances : r->covariance;
    for (size_t k = 0; k < times; k++)
        at[k] = r->moments[k].t;
    if (!status)
        status = tp_covariances(r->kernel_model, &r->training, columns, at, times, cross, tests, &prior, out, error);
    for (size_t i = 0; i < times * tests && !diagonal && !status; i++)
        variances[i] = out[i * tests + i % tests];
    double noise = p->o->noise >= 0 ? p->o->noise
                   : p->readout     ? r->kernel_model->ridge /* GP inference: the ridge is the noise of the targets */
                                    : 0;
    for (size_t i = 0; i < times * tests && !status; i++)
        variances[i] += noise;
    ad_free(train);
    ad_free(with);
    ad_free(test);
    if (!status)
        return variances;
    ad_free(variances);
    return NULL;
}

/* The same over ranks. */
static double *find_spread_variances(prediction *p, result *r, const tp_spread *cross, size_t columns, ad_error *error)
{
    size_t tests = p->rows[1], times = (size_t)r->n_times;
    double *test = predict_test_kernel(p, TP_NNGP, true, error), *variances = NULL;
    tp_spread *train = NULL, *with = NULL;
    if (test)
        variances = ad_alloc(times * tests, sizeof *variances, "variances", error);
    int status = tp_ranks_agree(variances ? 0 : -1, error);
    if (!status && !p->readout)
        status = (with = predict_cross_spread(p, TP_NNGP, error)) && (train = predict_train_spread(p, TP_NNGP, error))
                     ? 0
                     : -1;
    for (size_t k = 0; k < times && !status; k++)
        status = tp_variances_spread(r->kernel_model, &r->training, columns, r->moments[k].t, cross, train, with, test,
                                     variances + k * tests, error);
    double noise = p->o->noise >= 0 ? p->o->noise : p->readout ? r->kernel_model->ridge : 0;
    for (size_t i = 0; i < times * tests && !status; i++)
        variances[i] += noise; /* NOLINT(clang-analyzer-core.NullDereference): ranks agreed that each has them */
    tp_spread_free(train);
    tp_spread_free(with);
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
    tp_spread *spread = p->shared ? predict_cross_spread(p, p->o->kernel, error) : NULL;
    double *cross = p->shared ? NULL : predict_cross_kernel(p, p->o->kernel, error), *variances = NULL;
    int status = (cross || spread) && (r->f[1] = ad_alloc((size_t)r->n_times * count, sizeof(double), "outputs", error))
                     ? 0
                     : -1;
    if (!status && p->ensemble && (p->y[1] || p->o->covariance))
        status = (variances = spread ? find_spread_variances(p, r, spread, columns, error)
                                     : find_variances(p, r, cross, columns, error))
                     ? 0
                     : -1;
    for (int k = 0; k < r->n_times && !status; k++) {
        double *f = r->f[1] + (size_t)k * count;
        const double *at = a + (size_t)k * n * columns;
        if (!spread)
            tp_outputs_at(r->kernel_model, cross, rows, at, columns, start, f);
        else if ((status = tp_outputs_spread(r->kernel_model, spread, at, columns, start, f, error)))
            break;
        const double *variance = variances ? variances + (size_t)k * rows : NULL;
        tp_score *score = &r->moments[k].score[1];
        if (p->y[1])
            *score = tp_score_of(p->o->loss, f, p->y[1], p->full ? NULL : variance, p->rows[1], p->outputs, 0);
        if (p->y[1] && p->full && variance)
            score->nll = tp_score_of(p->o->loss, f, p->y[1], variance, count, 1, 0).nll;
    }
    ad_free(cross);
    tp_spread_free(spread);
    ad_free(variances);
    return status;
}

/* Times that cannot be told are left out where others remain, and no file would have a hole. */
static int choose_times(const prediction *p, result *r, size_t columns, ad_error *error)
{
    const options *o = p->o;
    ad_error why = { 0 };
    for (r->n_times = 0; r->n_times < o->n_times; r->n_times++)
        if (tp_check_time(r->kernel_model, &r->training, columns, o->times[r->n_times], &why))
            break;
    if (r->n_times == o->n_times)
        return 0;
    memcpy(r->refused, why.text, sizeof r->refused);
    if (r->n_times == 0)
        return ad_fail(error, "%s", why.text);
    const char *file = o->out ? "--out" : o->covariance ? "--covariance" : NULL;
    if (!file)
        return 0;
    return ad_fail(error, "%s takes all --times or none, and t = %g is refused (those before it can be told alone): %s",
                   file, o->times[r->n_times], why.text);
}

/* The NNGP kernel times a number is the kernel that trains the readout alone: the rate over D has it. Where there is no
 * such number the kernel is for GP inference, which is of t = infinity and no rate. */
static int settle_readout(const prediction *p, result *r, size_t n, size_t columns, ad_error *error)
{
    const options *o = p->o;
    if (!p->readout)
        return 0;
    if (!isnan(p->readout_rate))
        r->training.divisor = (double)(o->loss == NN_SQUARE ? n * columns : p->rows[0]) / p->readout_rate;
    else if (!isinf(o->times[0]) || r->training.motion != TP_GRADIENT_FLOW || o->loss != NN_SQUARE)
        return ad_fail(error,
                       "--kernel nngp has no finite times and steps here: training the readout alone is not by a "
                       "multiple of it (%.250s): --times inf, GP inference, or --kernel ntk with --freeze of all "
                       "parameters but the readout's",
                       p->no_readout.text);
    return 0;
}

static int predict(prediction *p, result *r, tp_kernel_model_spec spec, ad_error *error)
{
    const options *o = p->o;
    size_t n = p->rows[0] * (p->full ? p->outputs : 1), columns = p->full ? 1 : p->outputs;
    double *a = NULL;
    if (p->shared) {
        tp_spread *spread = predict_train_spread(p, o->kernel, error);
        spec.error = p->hides;
        r->kernel_model = spread ? tp_kernel_model_spread(spread, &spec, error) : NULL;
    } else {
        double *kernel = predict_train_kernel(p, o->kernel, error);
        if (kernel)
            predict_tell_factoring(p, n, &spec);
        spec.error = p->hides;
        r->kernel_model = kernel ? tp_kernel_model_new(kernel, n, &spec, error) : NULL;
    }
    int status = r->kernel_model ? 0 : -1;
    if (!status)
        status = predict_check_centred(p, error);
    if (!status)
        status = settle_readout(p, r, n, columns, error);
    if (!status && o->rate <= 0 && r->training.motion != TP_GRADIENT_FLOW)
        r->training.rate = tp_maximum_stable_rate(r->kernel_model, &r->training, columns) / 2;
    if (!status)
        status = choose_times(p, r, columns, error);
    size_t times = (size_t)r->n_times;
    if (!status)
        status =
            (a = ad_alloc(times * n * columns, sizeof *a, "coefficients", error)) &&
                    (r->f[0] = ad_alloc(times * n * columns, sizeof *r->f[0], "outputs", error))
                ? tp_coefficients(r->kernel_model, &r->training, p->y[0], columns, p->start, o->times, times, a, error)
                : -1;
    for (size_t k = 0; k < times && !status; k++) {
        double *f = r->f[0] + k * n * columns;
        r->moments[k].t = o->times[k];
        status = tp_fitted_values(r->kernel_model, a + k * n * columns, columns, p->start, f, error);
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
    size_t tests = p->rows[1], times = (size_t)r->n_times, side = tests * (p->full ? p->outputs : 1);
    size_t shape[3] = { times, tests ? tests : p->rows[0], p->outputs }, square[3] = { times, side, side };
    if (p->o->out && ds_npy_write(p->o->out, r->f[tests ? 1 : 0], shape, 3, error))
        return -1;
    return p->o->covariance ? ds_npy_write(p->o->covariance, r->covariance, square, 3, error) : 0;
}

/* ---- telling ---- */
static const char *const dynamics[] = { [TP_GRADIENT_FLOW] = "gradient flow",
                                        [TP_GRADIENT_DESCENT] = "gradient descent",
                                        [TP_MOMENTUM] = "gradient descent with momentum" };

/* Is anything trained by the kernel, or is there GP inference alone? */
static bool has_rate(const prediction *p)
{
    return !p->readout || !isnan(p->readout_rate);
}

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
    double noise = fmax(0, o->noise);
    printf("%s%s of %s", predict_kernel_name(p), p->full ? ", between outputs," : "", o->network);
    if (p->model)
        printf(" at width %zu, %s: one network, from %s on\n", nn_model_width(p->model),
               o->weights ? o->weights : "drawn from --seed", o->start ? o->start : "its own outputs");
    else
        printf(" in the limit%s: %s\n%s, relative error %.1g\n",
               o->at_width > 0 ? ", its leading powers of n summed at a width" : "",
               p->ensemble ? "an ensemble of networks, its mean"
               : o->start  ? "from --start on"
                           : "from outputs 0 on",
               p->method, p->error);
    fputs(nn_has_dropout(p->net) ? prediction_without_dropout : "", stdout);
    limit_tell(&p->opinion, NULL);
    if (has_rate(p))
        printf("%s on the %s, rate %.5g", dynamics[r->training.motion],
               square ? "square loss sum (f - y)^2 / (2 N k)" : "cross-entropy, a mean over inputs", rate);
    else
        printf("no training by this kernel: %s", p->no_readout.text);
    if (r->training.motion == TP_MOMENTUM)
        printf(", momentum %g", o->momentum);
    if (square && p->outputs > 1 && has_rate(p))
        printf(" (as limn train --loss square --rate %.5g)", rate / outs);
    printf("\n%zu inputs to train, %zu to test, %zu output%s\n", p->rows[0], p->rows[1], p->outputs,
           p->outputs > 1 ? "s" : "");
    if (has_rate(p))
        printf("largest stable rate %s%.5g   ", m->bounds ? "at most " : "",
               tp_maximum_stable_rate(m, &r->training, p->full ? 1 : p->outputs));
    printf("condition number %s%.4g (eigenvalues %.4g to %.4g)   ridge %.4g%s", m->bounds ? "at least " : "",
           m->condition, m->smallest, m->largest, m->ridge - noise, m->ridge - noise > 0 ? "" : " (none)");
    if (o->noise >= 0)
        printf("   noise %.4g", o->noise);
    if (o->centre)
        printf("   targets centred");
    printf("\n\n");
    printf("%10s%13s%13s%13s%13s%13s\n", r->training.motion == TP_GRADIENT_FLOW ? "t" : "steps", "train loss",
           "train %", "test loss", "test %", "test NLL");
    for (int k = 0; k < r->n_times; k++) {
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
    for (int k = r->n_times; k < o->n_times; k++)
        printf("%10.6g%13s%13s%13s%13s%13s\n", o->times[k], "-", "-", "-", "-", "-");
    if (r->refused[0])
        printf("\nt = %g is refused: %s\n", o->times[r->n_times], r->refused);
    if (o->out)
        printf("%s outputs (%d, %zu, %zu): written to %s\n", p->rows[1] ? "test" : "training", o->n_times,
               p->rows[p->rows[1] ? 1 : 0], p->outputs, o->out);
    size_t side = p->rows[1] * (p->full ? p->outputs : 1);
    if (o->covariance)
        printf("covariance (%d, %zu, %zu): written to %s\n", o->n_times, side, side, o->covariance);
}

static int tell_json(const prediction *p, const result *r, const selection *chosen, ad_error *error)
{
    static const char *const names[] = { "train", "test" }, *const words[] = {
        [TP_GRADIENT_FLOW] = "flow", [TP_GRADIENT_DESCENT] = "sgd", [TP_MOMENTUM] = "momentum"
    };
    const options *o = p->o;
    const tp_kernel_model *m = r->kernel_model;
    cJSON *root = json_new(o);
    if (chosen)
        selection_tell(chosen, root);
    json_put(root, "kernel", cJSON_CreateString(p->readout ? "nngp" : "ntk"));
    json_put(root, "width", p->model ? json_number((double)nn_model_width(p->model)) : cJSON_CreateString("inf"));
    if (o->at_width > 0)
        json_put(root, "at_width", json_number(o->at_width));
    if (!p->model) {
        json_put(root, "method", cJSON_CreateString(p->method));
        json_put(root, "error", json_number(p->error));
        limit_tell(&p->opinion, root);
    }
    data_tell(o, p->data, root);
    json_put(root, "loss", cJSON_CreateString(option_word(OPTION_LOSS, (int)o->loss)));
    json_put(root, "optimizer", cJSON_CreateString(words[r->training.motion]));
    if (has_rate(p))
        json_put(root, "rate", json_number(r->training.rate > 0 ? r->training.rate : 1));
    if (r->training.motion == TP_MOMENTUM)
        json_put(root, "momentum", json_number(o->momentum));
    json_put(root, "ensemble", cJSON_CreateBool(p->ensemble));
    if (has_rate(p))
        json_put(root, "largest_stable_rate",
                 json_number(tp_maximum_stable_rate(m, &r->training, p->full ? 1 : p->outputs)));
    json_put(root, "condition_number", json_number(m->condition));
    if (m->bounds) /* of the eigenvalues, and so of the rate and the condition number */
        json_put(root, "eigenvalues_are_bounds", cJSON_CreateBool(true));
    json_put(root, "smallest_eigenvalue", json_number(m->smallest));
    json_put(root, "largest_eigenvalue", json_number(m->largest));
    json_put(root, "ridge", json_number(m->ridge - fmax(0, o->noise)));
    if (o->noise >= 0)
        json_put(root, "noise", json_number(o->noise));
    json_put(root, "centre", cJSON_CreateBool(o->centre));
    for (int part = 0; part < 2; part++)
        json_put(root, part ? "test_rows" : "train_rows", json_number((double)p->rows[part]));
    cJSON *times = json_put(root, "times", cJSON_CreateArray());
    for (int k = 0; k < o->n_times; k++) {
        cJSON *item = json_put(times, "", cJSON_CreateObject());
        json_put(item, "t", json_time(o->times[k]));
        if (k >= r->n_times)
            json_put(item, "refused", cJSON_CreateString(r->refused));
        for (int part = 0; part < 2 && p->rows[part] && k < r->n_times; part++) {
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

/* The times that are not given: with a ridge that is chosen, the one that it was chosen for. */
static void settle_times(options *o)
{
    static const double preset[] = { 1, 10, 100, (double)INFINITY };
    if (o->n_times)
        return;
    o->n_times = predict_selects(o) ? 1 : o->loss == NN_SQUARE ? 4 : 3;
    memcpy(o->times, predict_selects(o) ? preset + 3 : preset, (size_t)o->n_times * sizeof *preset);
}

/* Times that are not given are those of GP inference where the kernel has no others. */
static void settle_inference(const prediction *p, const options *given, options *o)
{
    if (p->readout && isnan(p->readout_rate) && !given->n_times && o->loss == NN_SQUARE) {
        o->n_times = 1;
        o->times[0] = (double)INFINITY;
    }
}

/* Is a band form the quicker one? Eigenvectors take 9 n^3 operations, a band form 4/3 n^3, and at each finite time
 * 25,000 n for each right side, that is each output, and each test row whose variance is asked for. */
static bool prefers_band(const prediction *p, size_t n)
{
    const options *o = p->o;
    double sides = (double)(p->outputs + (p->ensemble ? p->rows[1] : 0));
    long finite = o->n_times - (isinf(o->times[o->n_times - 1]) ? 1 : 0);
    return o->loss == NN_SQUARE && o->optimizer == GRADIENT_FLOW &&
           25000 * sides * (double)finite < 7 * (double)n * (double)n;
}

static int run(prediction *p, result *r, const selection *chosen, ad_error *error)
{
    const options *o = p->o;
    bool limit = o->loss == NN_SQUARE && isinf(o->times[0]);
    size_t outputs = p->full ? p->outputs : 1;
    p->shared = predict_shares(p);
    if (!p->shared && tp_rank() > 0)
        return 0;
    tp_kernel_model_spec spec = { .ridge = o->ridge,
                                  .noise = fmax(0, o->noise),
                                  .cholesky = limit,
                                  .band = !limit && !p->shared && prefers_band(p, p->rows[0] * outputs),
                                  .outputs = outputs,
                                  .threads = (int)o->threads };
    if (predict_floats_asked(o))
        return (o->explain ? predict_floats_explain : predict_floats)(p, error);
    if (o->covariance && !p->rows[1])
        return ad_fail(error, "--covariance: there are no test inputs: --inputs2 X.npy is missing");
    if (o->explain)
        return predict_explain(p, &spec, error);
    if (predict(p, r, spec, error))
        return -1;
    if (tp_rank() > 0)
        return 0;
    if (write_files(p, r, error) || (chosen && o->csv && selection_write(chosen, error)))
        return -1;
    if (o->json)
        return tell_json(p, r, chosen, error);
    if (chosen)
        selection_tell(chosen, NULL);
    print_prediction(p, r);
    return 0;
}

static int run_predict(const options *given, ad_error *error)
{
    options o = *given;
    prediction p = { .o = &o };
    result r = { .training = { .loss = o.loss, .rate = o.rate, .momentum = o.momentum } };
    selection *chosen = NULL;
    if (o.optimizer != GRADIENT_FLOW)
        r.training.motion = o.optimizer == NN_MOMENTUM && o.momentum > 0 ? TP_MOMENTUM : TP_GRADIENT_DESCENT;
    settle_times(&o);
    int status = predict_open_data(&p, error);
    if (!status && !o.json)
        data_tell(&o, p.data, NULL);
    bool alone = predict_selects(&o) && tp_rank() > 0; /* a choice is rank 0's */
    if (!status && predict_selects(&o) && !alone)
        status = (chosen = selection_new(&p, error)) ? 0 : -1;
    if (chosen)
        selection_take(chosen, &o);
    if (alone)
        status = status ? -1 : 0;
    else if (!status && !predict_open_limit(&p, error) && !predict_open_start(&p, error)) {
        predict_find_readout(&p);
        settle_inference(&p, given, &o);
        status = run(&p, &r, chosen, error);
    } else
        status = -1;
    tp_kernel_model_free(r.kernel_model);
    ad_free(r.f[0]);
    ad_free(r.f[1]);
    ad_free(r.covariance);
    predict_close(&p);
    selection_free(chosen);
    return status;
}

/* What asks for a choice says of the other options. */
static int settle_selection(options *o)
{
    static const char *const words = "--grid, --ridges, --folds and --choose are of the square loss at t = inf";
    char text[200];
    const char *without = o->loss == NN_CROSS_ENTROPY   ? "--loss cross-entropy"
                          : o->weights && o->n_grid     ? "a --grid beside --weights, which are of one network"
                          : o->start                    ? "--start"
                          : o->explain                  ? "--explain"
                          : o->n_ridges && o->ridge > 0 ? "a --ridge beside --ridges"
                                                        : NULL;
    if (without) {
        snprintf(text, sizeof text, "%s, without %s, in", words, without);
        return option_fail(text, o->command);
    }
    if (o->choose == CHOOSE_CV && !o->folds)
        return option_fail("--choose cv needs --folds K in", o->command);
    if (o->choose < 0)
        o->choose = o->folds ? CHOOSE_CV : CHOOSE_LOO;
    return 0;
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
    if (o->centre && (o->no_centre || o->width || o->weights || o->start || o->loss == NN_CROSS_ENTROPY))
        return option_fail("--centre is of a limit on the square loss, without --start and --no-centre, in",
                           o->command);
    if (o->optimizer < 0)
        o->optimizer = GRADIENT_FLOW;
    if (o->store && !predict_floats_asked(o))
        return option_fail("--store is for the kernel of a limit as --dtype float in", o->command);
    if (predict_floats_asked(o) && predict_floats_settle(o))
        return 2;
    return predict_selects(o) ? settle_selection(o) : 0;
}

const tool_command command_predict = {
    .name = "predict",
    .argument = "NET",
    .summary = "what training would do, by a constant kernel",
    .manual = "Train and test loss, accuracy and likelihood at --times of training, by the\n"
              "limit's kernel (an ensemble of networks: its mean, and its variance for the\n"
              "likelihood) or, with --width N, by the kernel of one network drawn from --seed,\n"
              "from its own outputs on. The square loss is sum (f - y)^2 / (2 N k), k outputs:\n"
              "limn train's, which has no k, needs 1/k of the rate for the same. t is time\n"
              "with the flow, else steps. --kernel nngp trains the readout alone, at inf it is\n"
              "GP inference, and that alone where the readouts' rates over their initial\n"
              "variances differ. Outputs that are not alike, or depend on each other, are predicted\n"
              "together, by their own kernels and those between them, as --outputs full does;\n"
              "--covariance is then (times, rows x outputs, rows x outputs). With a ridge the\n"
              "train loss is that of the function at its training inputs. A kernel that cannot\n"
              "be inverted, as its own error or rounding hides its smallest eigenvalues (equal\n"
              "rows), is told with its condition number, such rows and a --ridge. Among --times\n"
              "those that can be told are, inf and others then have a '-' and the reason (in\n"
              "--json \"refused\"), and the exit status is 0; where none can, or with --out or\n"
              "--covariance, which have all times, it is 1 and nothing is told.\n"
              "--dtype float is for many rows: the limit at --times inf by a kernel of floats,\n"
              "4 bytes a pair, found tile by tile and factored in place (Cholesky), solved with\n"
              "to 1e-10 in doubles; all rows of --data unless --train and --test say fewer.\n"
              "mpirun -n R limn predict ... spreads the kernel of a limit in doubles over R\n"
              "processes, of a limn that was built with MPI.\n"
              "--out writes the test outputs (the training ones, if there are no others),\n"
              "(times, rows, outputs).\n\n"
              "--grid, --ridges, --folds and --choose choose a kernel and ridge, of the limit\n"
              "or a network's own, for t = inf, among all rows that train (with --inputs2, all\n"
              "of --data):\n\n"
              "  limn predict mlp --data iris.csv --scaling pixelwise --folds 5 \\\n"
              "    --grid depth=1,2,3 --grid sigma_b=0,0.5 --ridges 1e-6:1e2\n\n"
              "  CV             each fold by the others, targets, centre and inputs scaled by\n"
              "                 them alone; its standard error is that of the folds' mean\n"
              "  LOO            each row by all others, in closed form; inputs are scaled once;\n"
              "                 not where rows of a batch meet\n"
              "  log likelihood of the targets under the Gaussian process of this kernel and\n"
              "                 noise (ridge and --noise), marginal, summed over outputs\n\n"
              "An error is the share of wrong classes (equal ones: by the MSE, the mean of\n"
              "(f - y)^2), of targets the MSE. The best one is refit on all rows, held against\n"
              "samples (one check serves a grid), and predicts. The table has each kernel at\n"
              "its best ridge, --csv and --json all of them.",
    .takes = TAKE_NETWORK | TAKE(FREEZE) | TAKE(LABELS) | TAKE(SCALING) | TAKE(INPUTS2) | TAKE(LABELS2) | TAKE(WIDTH) |
             TAKE(AT_WIDTH) | TAKE(SEED) | TAKE(KERNEL) | TAKE(OUTPUTS) | TAKE(WEIGHTS) | TAKE(LAYOUT) | TAKE(OUT) |
             TAKE(NOISE) | TAKE(CENTRE) | TAKE(NO_CENTRE) | TAKE(GRID) | TAKE(RIDGES) | TAKE(FOLDS) | TAKE(CHOOSE) |
             TAKE(CSV) | TAKE(LOSS) | TAKE(OPTIMIZER) | TAKE(MOMENTUM) | TAKE(TIMES) | TAKE(RIDGE) | TAKE(TRAIN) |
             TAKE(TEST) | TAKE(STORE) | TAKE(START) | TAKE(COVARIANCE) | TAKE(RATE) | TAKE(DTYPE) | TAKE(ENGINE) |
             TAKE(RULE) | TAKE(SAMPLES) | TAKE(RUNS) | TAKE(TOLERANCE) | TAKE(NO_CHECK) | TAKE(THREADS) |
             TAKE(EXPLAIN) | TAKE(PROGRESS),
    .settle = settle_predict,
    .run = run_predict,
    .shared = true,
};
