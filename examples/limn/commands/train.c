/* train.c: limn train and limn eval: loss and accuracy on the data's parts, seed by seed. */
#include "examples/limn/commands/train.h"
#include "examples/limn/commands/train_drift.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 512, PROBES = 64 };
/* Of the optimizers that adapt, by scale, at the base width. */
static const double adaptive_rate[] = {
    [NN_NTK] = 0.014, [NN_STANDARD] = 5e-4, [NN_MEANFIELD] = 0.512, [NN_MUP] = 0.01
};

#define ADAPTIVE(NAME, word, rate, decay, adaptive, ...) adaptive,
static const bool adaptive[] = { NN_OPTIMIZERS(ADAPTIVE) };

/* Rows of --validation are drawn among those that train, and stand after them. */
static int split_parts(train_job *j, const options *o, ad_error *error)
{
    ds_data *data = j->data;
    size_t aside = (size_t)floor((double)data->train * o->validation + 0.5);
    if (o->validation > 0 && (aside == 0 || aside >= data->train))
        return ad_fail(error, "--validation %g: of the %zu rows to train on these are %zu", o->validation, data->train,
                       aside);
    if (aside)
        ds_shuffle(data, data->train, (uint64_t)o->split_seed);
    const size_t first[PARTS + 1] = { 0, data->train - aside, data->train, SIZE_MAX };
    for (int p = 0; p < PARTS; p++) {
        ds_data part = ds_split(data, first[p], first[p + 1] - first[p]);
        j->parts[p] = (nn_data){ part.x, part.y, part.rows, data->classes };
    }
    return 0;
}

static int open_job(train_job *j, const options *o, ad_error *error)
{
    ds_data *data = j->data = data_load_both(o, &j->second, error);
    if (!data)
        return -1;
    bool outputs = strcmp(o->command, "eval") == 0 && o->out;
    if (!data->y && !outputs)
        return ad_fail(error, "%s: --labels are missing%s", data_name(o),
                       o->weights ? " (without any, limn eval writes outputs to --out F.npy)" : "");
    j->loss = o->loss_given ? o->loss : data->classes || !data->y ? NN_CROSS_ENTROPY : NN_SQUARE;
    if (data->y && split_parts(j, o, error))
        return -1;
    if (o->labels2) {
        if (data_labels2(o, data, j->second.shape[0], &j->labels2, error))
            return -1;
        j->parts[TEST_PART] = (nn_data){ j->second.data, j->labels2.data, j->second.shape[0], data->classes };
    } else if (j->second.data && o->infinite) {
        j->parts[TEST_PART] = (nn_data){ j->second.data, NULL, j->second.shape[0], data->classes };
    }
    if (!(j->net = network_trace(o, data, error)))
        return -1;
    if (data->y && !data->classes && nn_n_outputs(j->net) != data->targets)
        return ad_fail(error, "%s: %zu targets a row, the network has %zu outputs",
                       o->labels ? o->labels : data_name(o), data->targets, nn_n_outputs(j->net));
    return 0;
}

/* Writes the outputs of all inputs, (rows, outputs). */
static int write_outputs(const train_job *j, nn_model *model, const char *path, ad_error *error)
{
    size_t shape[2] = { j->data->rows, nn_n_outputs(j->net) };
    double *f = ad_alloc(shape[0] * shape[1], sizeof *f, "outputs", error);
    int status = !f || nn_forward(model, j->data->x, shape[0], f, error) || ds_npy_write(path, f, shape, 2, error);
    ad_free(f);
    return status ? -1 : 0;
}

/* What is evaluated need not be what was trained on; files of data have parts. */
static const char *part_name(const options *o, int part)
{
    bool evaluates = strcmp(o->command, "eval") == 0;
    return part == TEST_PART ? "test" : part == VALIDATION_PART ? "valid" : evaluates && o->inputs ? "all" : "train";
}

/* Loss and accuracy of each part that has rows, printed or into result. */
static int tell_parts(const train_job *j, const options *o, nn_model *model, long seed, cJSON *result, double *accuracy,
                      ad_error *error)
{
    for (int p = 0; p < PARTS; p++) {
        double mean = 0;
        if (!j->parts[p].rows)
            continue;
        if (nn_evaluate(model, &j->parts[p], j->loss, &mean, accuracy, error))
            return -1;
        if (o->json) {
            cJSON *part = json_put(result, part_name(o, p), cJSON_CreateObject());
            json_put(part, "rows", json_number((double)j->parts[p].rows));
            json_put(part, "loss", json_number(mean));
            if (j->data->classes)
                json_put(part, "accuracy", json_number(*accuracy));
            continue;
        }
        if (seed >= 0)
            printf("seed %ld  ", seed);
        printf("%-5s  %zu rows  loss %.4g", part_name(o, p), j->parts[p].rows, mean);
        if (j->data->classes)
            printf("  accuracy %.2f %%", 100 * *accuracy);
        if (isnan(mean))
            printf("  (outputs that are NaN count as wrong)");
        puts("");
    }
    fflush(stdout);
    return 0;
}

static cJSON *describe_json(const train_job *j, const options *o, const nn_model *model)
{
    cJSON *root = json_new(o);
    json_put(root, "width", json_number((double)nn_model_width(model)));
    json_put(root, "parameters", json_number((double)nn_model_size(model)));
    json_put(root, "dtype", cJSON_CreateString(option_word(OPTION_DTYPE, (int)o->type)));
    data_tell(o, j->data, root);
    if (j->data->y)
        json_put(root, "loss", cJSON_CreateString(option_word(OPTION_LOSS, (int)j->loss)));
    return root;
}

/* The mean over the seeds; the spread is the deviation between them. */
static void tell_all(const train_job *j, const options *o, const double *sums, long seeds, double seconds, cJSON *root)
{
    double n = (double)seeds, mean = sums[0] / n, deviation = 0;
    if (seeds > 1)
        deviation = sqrt(fmax(0, (sums[1] - n * mean * mean) / (n - 1)));
    bool test = j->data->classes && j->parts[TEST_PART].rows;
    if (o->json) {
        cJSON *accuracy = json_put(root, test ? "test_accuracy" : "train_accuracy", cJSON_CreateObject());
        json_put(accuracy, "mean", j->data->classes ? json_number(mean) : cJSON_CreateNull());
        json_put(accuracy, "deviation", j->data->classes ? json_number(deviation) : cJSON_CreateNull());
        json_put(root, "seconds", json_number(seconds));
        return;
    }
    if (j->data->classes && seeds > 1)
        printf("%s accuracy, mean of %ld seeds: %.2f +- %.2f %%\n", test ? "test" : "train", seeds, 100 * mean,
               100 * deviation);
    printf("time: %.1f s for %ld seed%s\n", seconds, seeds, seeds > 1 ? "s" : "");
}

/* A signal ends the fit after its step. */
static int look_up(const nn_progress *progress, nn_model *model, void *context)
{
    (void)progress, (void)model, (void)context;
    return interrupt_caught();
}

static int fit(const train_job *j, const options *o, nn_model *model, const nn_fit_spec *plain, nn_progress *last,
               tp_opinion *opinion, ad_error *error)
{
    nn_fit_spec spec = *plain;
    nn_drift_spec drift = { 0 };
    int status = 0;
    if (o->drift) {
        status = drift_open(o, j->net, j->data, nn_model_width(model), &drift, opinion, error);
        spec.drift = &drift;
    }
    interrupt_begin();
    if (!status && !no_step(o))
        status = nn_fit(model, &j->parts[TRAIN_PART], &spec, last, error);
    interrupt_end();
    drift_close(&drift);
    if (status || !interrupt_caught())
        return status;
    ad_fail(error, "interrupted after step %ld of %ld%s%.400s", last->step, last->steps,
            o->checkpoint ? "; go on with --resume " : "; there is no --checkpoint to go on from",
            o->checkpoint ? o->checkpoint : "");
    return 128 + interrupt_caught();
}

static int train_all(const train_job *j, const options *o, cJSON **root, ad_error *error)
{
    long seeds = o->seeds > 0 ? o->seeds : 1;
    double sums[2] = { 0 }, start = ad_seconds();
    double rate = o->rate > 0 || o->rate_given ? o->rate : adaptive[o->optimizer] ? adaptive_rate[o->scale] : 0;
    cJSON *runs = NULL;
    bool foreseen = false;
    int status = 0;
    for (long s = 0; s < seeds && !status; s++) {
        nn_fit_spec spec = { .loss = j->loss,
                             .optimizer = (nn_optimizer)o->optimizer,
                             .rate = rate,
                             .frozen = o->rate_given && !(o->rate > 0),
                             .weight_decay = fmax(o->weight_decay, 0),
                             .momentum = o->momentum,
                             .steps = o->steps,
                             .batch = o->batch < 0 ? TRAIN_BATCH : (size_t)o->batch,
                             .epochs = o->epochs > 0 ? o->epochs : TRAIN_EPOCHS,
                             .seed = (uint64_t)(o->seed + s),
                             .progress = stderr,
                             .every = 1,
                             .callback = look_up,
                             .checkpoint = o->checkpoint,
                             .checkpoint_every = 100,
                             .resume = o->resume,
                             .base_width = (size_t)o->base_width,
                             .schedule = o->rate_schedule,
                             .step_size = o->step_size,
                             .gamma = o->gamma,
                             .rate_min = o->rate_min,
                             .warm_up = o->warm_up,
                             .clip = o->clip,
                             .label_smoothing = o->label_smoothing,
                             .validation = j->parts[VALIDATION_PART].rows ? &j->parts[VALIDATION_PART] : NULL,
                             .patience = o->patience,
                             .best = o->best };
        nn_progress last = { 0 };
        tp_opinion opinion = { 0 };
        double accuracy = 0;
        nn_model *model = network_model(o, j->net, WIDTH, (uint64_t)(o->seed + s), error);
        status = model ? fit(j, o, model, &spec, &last, &opinion, error) : -1;
        if (!status && o->out)
            status = nn_save(model, o->out, error);
        cJSON *run = NULL;
        if (!status && o->json) {
            if (s == 0) {
                *root = describe_json(j, o, model);
                runs = json_put(*root, "runs", cJSON_CreateArray());
            }
            run = json_put(runs, "", cJSON_CreateObject());
            json_put(run, "seed", json_number((double)(o->seed + s)));
            json_put(run, "steps", json_number((double)last.step));
            json_put(run, "seconds", json_number(last.seconds));
            if (spec.validation)
                json_put(run, "best_step", json_number((double)last.best_step));
        }
        if (!status && !o->json && last.best_step)
            printf("seed %ld  the weights after step %ld of %ld, where the loss of --validation is smallest\n",
                   o->seed + s, last.best_step, last.step);
        if (!status && o->drift)
            status = drift_tell(o, &last, &opinion, run, error);
        if (!status)
            status = tell_parts(j, o, model, o->seed + s, run, &accuracy, error);
        sums[0] += accuracy;
        sums[1] += accuracy * accuracy;
        double spent = ad_seconds() - start;
        if (!status && !foreseen && spent > 1) {
            foreseen = true;
            progress_foresee(o->command, "training of all seeds", spent / (double)(s + 1) * (double)(seeds - s - 1));
        }
        nn_model_free(model);
    }
    if (!status)
        tell_all(j, o, sums, seeds, ad_seconds() - start, *root);
    return status;
}

static int eval_all(const train_job *j, const options *o, cJSON **root, ad_error *error)
{
    double accuracy = 0;
    nn_model *model = network_model(o, j->net, WIDTH, 0, error);
    int status = !model || (o->out && write_outputs(j, model, o->out, error)) ? -1 : 0;
    if (!status && o->json) {
        *root = describe_json(j, o, model);
        if (o->out)
            json_put(*root, "out", cJSON_CreateString(o->out));
    } else if (!status && o->out) {
        printf("outputs (%zu, %zu) of %s at width %zu: written to %s\n", j->data->rows, nn_n_outputs(j->net),
               o->network, nn_model_width(model), o->out);
    }
    if (!status)
        status = tell_parts(j, o, model, -1, *root, &accuracy, error);
    nn_model_free(model);
    return status;
}

static int learn(const options *o, int (*all)(const train_job *, const options *, cJSON **, ad_error *),
                 ad_error *error)
{
    train_job j = { 0 };
    cJSON *root = NULL;
    int status = open_job(&j, o, error);
    if (!status && !o->json)
        data_tell(o, j.data, NULL);
    if (!status)
        status = all(&j, o, &root, error);
    if (!status && o->json)
        status = json_print(root, error);
    else
        cJSON_Delete(root);
    ds_array_free(&j.second);
    ds_array_free(&j.labels2);
    nn_net_free(j.net);
    ds_free(j.data);
    return status;
}

/* Of data with fewer inputs than the usual probes all are measured. */
static int train_finite(const train_job *j, const options *given, cJSON **root, ad_error *error)
{
    options o = *given;
    if (!o.probes)
        o.probes = j->data->train < PROBES ? (long)j->data->train : PROBES;
    return train_all(j, &o, root, error);
}

static int run_train(const options *o, ad_error *error)
{
    return learn(o, o->infinite ? train_infinite : train_finite, error);
}

static int run_eval(const options *o, ad_error *error)
{
    return learn(o, eval_all, error);
}

static int settle_train(options *o)
{
    if (o->infinite)
        return settle_infinite(o);
    if (o->samples || o->runs || o->tolerance > 0 || o->train || o->test || o->start || o->csv)
        return option_fail("--samples, --runs, --tolerance, --train, --test, --start and --csv are of --width inf in",
                           o->command);
    if (o->optimizer == GRADIENT_FLOW)
        return option_fail("steps cannot follow the flow in", o->command);
    if (o->out && (path_ends_with(o->out, ".npy") || path_ends_with(o->out, ".csv")))
        return option_fail("--out of a finite width are weights, F.safetensors, not", o->out);
    if (o->seeds > 1 && (o->checkpoint || o->resume || o->out || o->best))
        return option_fail("one file of weights is of one seed: no --seeds in", o->command);
    if (o->seeds > 1 && o->drift)
        return option_fail("one file of --drift is of one seed: no --seeds in", o->command);
    if (!o->drift && (o->probes || o->drift_kernels || o->drift_limit || o->drift_share > 0))
        return option_fail("--drift F.csv is missing in", o->command);
    if (no_step(o) && (o->drift || o->checkpoint || o->resume))
        return option_fail("without a step there is no --drift, no --checkpoint and no --resume in", o->command);
    if (o->inputs2 && (!o->inputs || !o->labels2))
        return option_fail("--inputs2, to test on, needs --inputs and --labels2 in", o->command);
    if (o->validation >= 1)
        return option_fail("--validation is below 1 in", o->command);
    if ((o->patience || o->best) && !(o->validation > 0))
        return option_fail("--patience and --best need --validation F in", o->command);
    if (o->drift_share >= 1)
        return option_fail("--drift-share is below 1 in", o->command);
    if (o->optimizer < 0 || (o->optimizer == NN_ADAMW && fpclassify(o->weight_decay) == FP_ZERO))
        o->optimizer = NN_ADAM; /* which adamw without a decay is */
    if (o->optimizer == NN_MOMENTUM && !(o->momentum > 0))
        o->optimizer = NN_SGD; /* which momentum 0 is */
    if (o->base_width && !adaptive[o->optimizer])
        return option_fail("--base-width is for adam, rmsprop and adamw, not",
                           nn_optimizer_name((nn_optimizer)o->optimizer));
    if ((int)o->type < 0)
        o->type = AD_FLOAT;
    return 0;
}

const tool_command command_train = {
    .name = "train",
    .argument = "NET",
    .summary = "trains at one width, or at n = infinity, and tells loss and accuracy",
    .manual =
        "A float network of --width 512 with Adam on batches of 64; cross-entropy for classes, square loss for "
        "targets.\n"
        "--out keeps the weights, --checkpoint also the state of the fit, from which --resume goes on: bit for "
        "bit, with\n"
        "the same --threads. --inputs2 and --labels2 are the test set of --inputs. Ctrl-C ends after the step "
        "with a checkpoint, a second one at once, at --width inf, too. --drift "
        "measures the NTK\n"
        "of the first --probes inputs on the way; its columns are the fields of nn_drift_row (nn/nn.h).\n"
        "--width inf trains at n = infinity, by sgd (the default) or momentum. Where features are learned, as in "
        "--scale mup, "
        "the steps are run on --samples of every vector's law, --runs times (tp/training.h); in the kernel regime, "
        "as in --scale ntk, by the limit kernel, from outputs 0, those of --start, or with --start draw from a draw of "
        "their law; a scale that diverges is refused. "
        "It tells the "
        "means of the runs with errors, at the steps of --drift-every; --csv F.csv has the outputs f_t, "
        "--drift F.csv a line a step, --drift-kernels the kernels, --out F.npy the last outputs (rows, outputs).",
    .takes = TAKE_NETWORK | TAKE(FREEZE) | TAKE(BASE_WIDTH) | TAKE(LABELS) | TAKE(INPUTS2) | TAKE(LABELS2) |
             TAKE(SCALING) | TAKE(WIDTH) | TAKE(SEED) | TAKE(SEEDS) | TAKE(WEIGHTS) | TAKE(LAYOUT) | TAKE(OUT) |
             TAKE(LOSS) | TAKE(OPTIMIZER) | TAKE(RATE) | TAKE(WEIGHT_DECAY) | TAKE(MOMENTUM) | TAKE(BATCH) |
             TAKE(EPOCHS) | TAKE(STEPS) | TAKE(START) | TAKE(SAMPLES) | TAKE(RUNS) | TAKE(TOLERANCE) | TAKE(TRAIN) |
             TAKE(TEST) | TAKE(CSV) | TAKE(PROGRESS) | TAKE(RATE_SCHEDULE) | TAKE(STEP_SIZE) | TAKE(GAMMA) |
             TAKE(RATE_MIN) | TAKE(WARM_UP) | TAKE(CLIP) | TAKE(LABEL_SMOOTHING) | TAKE(VALIDATION) | TAKE(PATIENCE) |
             TAKE(BEST) | TAKE(PROBES) | TAKE(DRIFT) | TAKE(DRIFT_EVERY) | TAKE(DRIFT_SHARE) | TAKE(DRIFT_KERNELS) |
             TAKE(DRIFT_LIMIT) | TAKE(NO_CHECK) | TAKE(CHECKPOINT) | TAKE(RESUME) | TAKE(DTYPE) | TAKE(THREADS),
    .settle = settle_train,
    .run = run_train,
};

static int settle_eval(options *o)
{
    if (o->infinite)
        return option_fail("--width inf has no meaning in", o->command);
    return o->weights ? 0 : option_fail("--weights F.safetensors is missing in", o->command);
}

const tool_command command_eval = {
    .name = "eval",
    .argument = "NET",
    .summary = "loss, accuracy and outputs of a network with given --weights",
    .manual =
        "The width is that of the weights. --out writes the outputs of all inputs, (rows, outputs); without labels\n"
        "that is all.",
    .takes = TAKE_NETWORK | TAKE(LABELS) | TAKE(SCALING) | TAKE(WIDTH) | TAKE(WEIGHTS) | TAKE(LAYOUT) | TAKE(OUT) |
             TAKE(MODE) | TAKE(LOSS) | TAKE(DTYPE) | TAKE(THREADS),
    .settle = settle_eval,
    .run = run_eval,
};
