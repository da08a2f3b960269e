/* train_infinite.c: limn train --width inf: training at n = infinity. */
#include "examples/limn/commands/train.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN = 16, SHARE = 1000, PATH = 1200, CHECKPOINT_EVERY = 100 };

/* What is trained, and what came of it. */
typedef struct {
    const train_job *job;
    const options *o;
    nn_data parts[2];
    ds_array start; /* of --start */
    tp_train_spec spec;
    tp_trained run;
    long steps; /* of all runs, for what is told on the way */
    long last;  /* step, and its run */
    int last_run;
    bool timing; /* its first steps, before it trains */
} infinite_job;

static size_t first_rows(size_t rows, long asked, bool own)
{
    size_t most = asked > 0 ? (size_t)asked : own ? rows : SHARE;
    return rows < most ? rows : most;
}

static void open_infinite(infinite_job *i, const train_job *j, const options *o)
{
    *i = (infinite_job){ .job = j, .o = o, .parts = { j->parts[TRAIN_PART], j->parts[TEST_PART] } };
    i->parts[0].rows = first_rows(i->parts[0].rows, o->train, o->inputs);
    i->parts[1].rows = first_rows(i->parts[1].rows, o->test, o->inputs);
    i->spec = (tp_train_spec){ .fit = { .loss = j->loss,
                                        .optimizer = (nn_optimizer)o->optimizer,
                                        .rate = o->rate,
                                        .frozen = o->rate_given && !(o->rate > 0),
                                        .weight_decay = fmax(o->weight_decay, 0),
                                        .momentum = o->momentum,
                                        .steps = o->steps,
                                        .epochs = o->epochs > 0 ? o->epochs : TRAIN_EPOCHS,
                                        .batch = o->batch < 0 ? TRAIN_BATCH : (size_t)o->batch,
                                        .seed = (uint64_t)o->seed },
                               .samples = (size_t)o->samples,
                               .runs = (int)o->runs,
                               .threads = (int)o->threads,
                               .tolerance = o->tolerance,
                               .schedule = o->drift_schedule,
                               .every = o->drift_every,
                               .checkpoint = o->checkpoint,
                               .checkpoint_every = CHECKPOINT_EVERY,
                               .resume = o->resume,
                               .probes = (size_t)o->probes };
}

/* ---- before it starts ---- */
static int read_start(infinite_job *i, ad_error *error)
{
    size_t rows = i->parts[0].rows + i->parts[1].rows, outputs = nn_n_outputs(i->job->net);
    if (!i->o->start)
        return 0;
    i->spec.draw = !strcmp(i->o->start, "draw");
    if (i->spec.draw)
        return 0;
    if (ds_npy_matrix(i->o->start, &i->start, error))
        return -1;
    if (i->start.shape[0] != rows || (i->start.rank == 2 ? i->start.shape[1] : 1) != outputs)
        return ad_fail(error, "%s: its shape is not (%zu, %zu): outputs of the %zu training and %zu test inputs",
                       i->o->start, rows, outputs, i->parts[0].rows, i->parts[1].rows);
    i->spec.start = i->start.data;
    return 0;
}

static int end_timing(int run, long step, void *context)
{
    (void)run, (void)step, (void)context;
    return interrupt_caught();
}

static int tell_cost(infinite_job *i, tp_program *program, ad_error *error)
{
    tp_train_cost cost;
    const double gigabyte = 1e9, samples = i->spec.samples ? (double)i->spec.samples : 4096;
    double seconds;
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (tp_train_estimate(program, &i->parts[0], &i->parts[1], &i->spec, &cost, error))
        return -1;
    if (cost.bytes > memory)
        return ad_fail(error,
                       "--width inf: its steps take up to %.3g GB, and the machine has %.3g: fewer --steps, a smaller "
                       "--batch, fewer --samples",
                       cost.bytes / gigabyte, memory / gigabyte);
    if (!(cost.bytes > 0))
        return 0;
    tp_train_spec timed = i->spec;
    timed.each = end_timing;
    i->timing = true;
    if (tp_train_forecast(program, &i->parts[0], &i->parts[1], &timed, &seconds, error))
        return -1;
    i->timing = false;
    fprintf(stderr, "train: at most %.2g GB; about %.2g s of the processor, by the first steps of a run",
            cost.bytes / gigabyte, seconds);
    if (2 * cost.draws > samples)
        fprintf(stderr, "; up to %.0f draws, for which --samples %.0f are enough", cost.draws, 2 * ceil(cost.draws));
    fputs("\n", stderr);
    return 0;
}

static int look_up(int run, long step, void *context)
{
    infinite_job *i = context;
    long total = i->spec.fit.steps * (i->spec.runs > 0 ? i->spec.runs : 8);
    i->last = step;
    i->last_run = run;
    if (total > 0)
        progress_tell((double)(run * i->spec.fit.steps + step) / (double)total, NULL);
    return interrupt_caught();
}

static int run_infinite(infinite_job *i, ad_error *error)
{
    tp_program *program = tp_translate(i->job->net, error);
    if (!program)
        return -1;
    i->spec.each = look_up;
    i->spec.context = i;
    interrupt_begin();
    int status = read_start(i, error) || tell_cost(i, program, error) ? -1 : 0;
    progress_begin(i->o, "steps at n = infinity");
    if (!status)
        status = tp_train(program, &i->parts[0], &i->parts[1], &i->spec, &i->run, error);
    interrupt_end();
    progress_end();
    tp_program_free(program);
    if (!status || !interrupt_caught())
        return status;
    *error = (ad_error){ 0 }; /* which says the same, but not where to go on from */
    if (i->timing) {
        ad_fail(error, "interrupted while the first steps were timed: nothing is trained yet");
        return 128 + interrupt_caught();
    }
    ad_fail(error, "interrupted after step %ld of run %d%s%.400s", i->last, i->last_run + 1,
            i->o->checkpoint ? "; go on with --resume " : "; there is no --checkpoint to go on from",
            i->o->checkpoint ? i->o->checkpoint : "");
    return 128 + interrupt_caught();
}

/* ---- results ---- */
/* |K_t - K_0| / |K_0| */
static double moved(const infinite_job *i, const double *now, const double *start)
{
    return now ? nn_distance(now, start, i->run.probes) : (double)NAN;
}

/* Of what starts from 0, or does not learn, there is none. */
static void print_moved(int width, double by)
{
    if (isnan(by))
        printf("  %*s", width, "-");
    else
        printf("  %*.4f", width, by);
}

static const char *const part_names[] = { "train", "test" };

static void print_steps(const infinite_job *i)
{
    const tp_trained *run = &i->run;
    bool classes = i->job->data->classes > 0;
    int parts = run->points > i->parts[0].rows && i->parts[1].y ? 2 : 1;
    printf("%8s", "step");
    for (int p = 0; p < parts; p++)
        printf("  %5s loss%13s%s", part_names[p], "", classes ? "  accuracy" : "");
    puts("  NTK moved  features moved");
    for (int k = 0; k < run->n_rows; k++) {
        const tp_trained_row *row = &run->rows[k];
        printf("%8ld", row->step);
        for (int p = 0; p < parts; p++) {
            printf("  %10.5g", row->loss[p]);
            if (run->runs)
                printf(" +- %-9.2g", row->loss_error[p]);
            else
                printf("%13s", "");
            if (classes)
                printf("  %6.2f %%", 100 * row->accuracy[p]);
        }
        print_moved(9, moved(i, row->kernel, run->rows[0].kernel));
        print_moved(14, moved(i, row->features, run->rows[0].features));
        putchar('\n');
    }
}

static void print_outputs(const infinite_job *i)
{
    const tp_trained *run = &i->run;
    const tp_trained_row *last = &run->rows[run->n_rows - 1];
    if (run->points * run->outputs > SHOWN)
        return;
    printf("outputs after %ld steps\n", last->step);
    for (size_t p = 0; p < run->points; p++)
        for (size_t o = 0; o < run->outputs; o++) {
            bool test = p >= i->parts[0].rows;
            printf("%5s %4zu", part_names[test], test ? p - i->parts[0].rows : p);
            if (run->outputs > 1)
                printf(" output %zu", o);
            printf("  %12.6g", last->f[p * run->outputs + o]);
            if (run->runs)
                printf(" +- %.2g", last->f_error[p * run->outputs + o]);
            puts("");
        }
}

static void part_json(const infinite_job *i, const tp_trained_row *row, int p, cJSON *to)
{
    if (!i->parts[p].rows || !i->parts[p].y)
        return;
    cJSON *part = json_put(to, part_names[p], cJSON_CreateObject());
    json_put(part, "rows", json_number((double)i->parts[p].rows));
    json_put(part, "loss", json_number(row->loss[p]));
    json_put(part, "loss_error", json_number(row->loss_error[p]));
    if (i->job->data->classes) {
        json_put(part, "accuracy", json_number(row->accuracy[p]));
        json_put(part, "accuracy_error", json_number(row->accuracy_error[p]));
    }
}

static cJSON *describe_json(const infinite_job *i)
{
    const tp_trained *run = &i->run;
    cJSON *root = json_new(i->o);
    json_put(root, "width", cJSON_CreateString("inf"));
    json_put(root, "optimizer", cJSON_CreateString(nn_optimizer_name((nn_optimizer)i->o->optimizer)));
    data_tell(i->o, i->job->data, root);
    json_put(root, "loss", cJSON_CreateString(option_word(OPTION_LOSS, (int)i->job->loss)));
    json_put(root, "method", cJSON_CreateString(run->method));
    json_put(root, "regime", cJSON_CreateString(run->kernel_regime ? "kernel" : "features"));
    json_put(root, "samples", json_number((double)run->samples));
    json_put(root, "runs", json_number(run->runs));
    json_put(root, "rank", json_number(run->rank));
    cJSON *steps = json_put(root, "steps", cJSON_CreateArray());
    size_t f[] = { run->points, run->outputs }, kernel[] = { run->probes, run->probes };
    for (int k = 0; k < run->n_rows; k++) {
        const tp_trained_row *row = &run->rows[k];
        cJSON *to = json_put(steps, "", cJSON_CreateObject());
        json_put(to, "step", json_number((double)row->step));
        json_put(to, "epoch", json_number(row->epoch));
        part_json(i, row, 0, to);
        part_json(i, row, 1, to);
        json_put(to, "f", json_array(row->f, f, 2));
        json_put(to, "f_error", json_array(row->f_error, f, 2));
        if (!run->probes)
            continue;
        json_put(to, "kernel", json_array(row->kernel, kernel, 2));
        json_put(to, "kernel_error", json_array(row->kernel_error, kernel, 2));
        json_put(to, "features", json_array(row->features, kernel, 2));
        json_put(to, "features_error", json_array(row->features_error, kernel, 2));
    }
    return root;
}

/* ---- files ---- */
/* A text line of a file; a number that is not known stays empty. */
static int put_line(ad_file *file, const char *start, const double *values, int n, ad_error *error)
{
    char line[400];
    size_t used = (size_t)ad_snprintf(line, sizeof line, "%s", start);
    for (int k = 0; k < n; k++) {
        used += (size_t)snprintf(line + used, sizeof line - used, ",");
        if (!isnan(values[k]))
            used += (size_t)snprintf(line + used, sizeof line - used, "%.17g", values[k]);
    }
    used += (size_t)snprintf(line + used, sizeof line - used, "\n");
    return ad_file_write(file, line, used, error);
}

/* --drift: a line a step. */
static int write_series(const infinite_job *i, ad_error *error)
{
    ad_file *file = ad_file_create(i->o->drift, error);
    char start[80];
    int status = file ? put_line(file,
                                 "step,epoch,train_loss,train_loss_error,test_loss,test_loss_error,train_accuracy,"
                                 "train_accuracy_error,test_accuracy,test_accuracy_error,kernel_moved,features_moved",
                                 NULL, 0, error)
                      : -1;
    for (int k = 0; k < i->run.n_rows && !status; k++) {
        const tp_trained_row *r = &i->run.rows[k], *first = &i->run.rows[0];
        const double values[] = { r->epoch,
                                  r->loss[0],
                                  r->loss_error[0],
                                  r->loss[1],
                                  r->loss_error[1],
                                  r->accuracy[0],
                                  r->accuracy_error[0],
                                  r->accuracy[1],
                                  r->accuracy_error[1],
                                  moved(i, r->kernel, first->kernel),
                                  moved(i, r->features, first->features) };
        snprintf(start, sizeof start, "%ld", r->step);
        status = put_line(file, start, values, (int)(sizeof values / sizeof *values), error);
    }
    if (status)
        ad_file_discard(file);
    return status ? -1 : ad_file_close(file, error);
}

/* --csv: a line an output. */
static int write_f(const infinite_job *i, ad_error *error)
{
    const tp_trained *run = &i->run;
    ad_file *file = ad_file_create(i->o->csv, error);
    char start[120];
    int status = file ? put_line(file, "step,part,row,output,f,f_error", NULL, 0, error) : -1;
    for (int k = 0; k < run->n_rows; k++)
        for (size_t p = 0; p < run->points * run->outputs && !status; p++) {
            size_t row = p / run->outputs, first = i->parts[0].rows;
            const double values[] = { run->rows[k].f[p], run->rows[k].f_error[p] };
            snprintf(start, sizeof start, "%ld,%s,%zu,%zu", run->rows[k].step, part_names[row >= first],
                     row >= first ? row - first : row, p % run->outputs);
            status = put_line(file, start, values, 2, error);
        }
    if (status)
        ad_file_discard(file);
    return status ? -1 : ad_file_close(file, error);
}

/* --drift-kernels: PREFIX00000020.npy, and the readouts' part as PREFIXfeatures00000020.npy. */
static int write_kernels(const infinite_job *i, ad_error *error)
{
    const tp_trained *run = &i->run;
    size_t shape[2] = { run->probes, run->probes };
    char path[PATH];
    for (int k = 0; k < 2 * run->n_rows; k++) {
        const tp_trained_row *row = &run->rows[k / 2];
        if (snprintf(path, sizeof path, "%s%s%08ld.npy", i->o->drift_kernels, k % 2 ? "features" : "", row->step) >=
            (int)sizeof path)
            return ad_fail(error, "%.80s...: too long a name", i->o->drift_kernels);
        if (ds_npy_write(path, k % 2 ? row->features : row->kernel, shape, 2, error))
            return -1;
    }
    return 0;
}

static int write_files(const infinite_job *i, ad_error *error)
{
    const tp_trained *run = &i->run;
    size_t shape[2] = { run->points, run->outputs };
    if (i->o->out && ds_npy_write(i->o->out, run->rows[run->n_rows - 1].f, shape, 2, error))
        return -1;
    return (i->o->drift && write_series(i, error)) || (i->o->csv && write_f(i, error)) ||
                   (i->o->drift_kernels && write_kernels(i, error))
               ? -1
               : 0;
}

int train_infinite(const train_job *j, const options *o, cJSON **root, ad_error *error)
{
    infinite_job i;
    double start = ad_seconds();
    open_infinite(&i, j, o);
    int status = run_infinite(&i, error);
    if (!status)
        status = write_files(&i, error);
    if (!status && o->json) {
        *root = describe_json(&i);
        json_put(*root, "seconds", json_number(ad_seconds() - start));
    } else if (!status) {
        printf("%s, --scale %s%s, %s at n = infinity: %s\n", o->network,
               o->scale_file ? o->scale_file : option_word(OPTION_SCALE, (int)o->scale),
               o->n_abc > o->n_own ? " with --abc" : "", nn_optimizer_name((nn_optimizer)o->optimizer), i.run.method);
        print_steps(&i);
        print_outputs(&i);
        printf("time: %.1f s\n", ad_seconds() - start);
    }
    tp_trained_free(&i.run);
    ds_array_free(&i.start);
    return status;
}

int settle_infinite(options *o)
{
    if (o->optimizer < 0)
        o->optimizer = NN_SGD;
    if (o->optimizer == GRADIENT_FLOW)
        return option_fail("steps cannot follow the flow in", o->command);
    if (o->weights)
        return option_fail("--width inf has no --weights in", o->command);
    if (o->seeds || o->base_width || o->drift_limit || o->drift_share > 0 || o->type_given)
        return option_fail(
            "--seeds, --base-width, --drift-limit, --drift-share and --dtype are of a finite width (--runs R) in",
            o->command);
    if (o->rate_schedule || o->warm_up || o->clip > 0 || o->label_smoothing > 0 || o->validation > 0 || o->patience ||
        o->best)
        return option_fail("schedules, --warm-up, --clip, --label-smoothing and --validation are of a finite width in",
                           o->command);
    if (o->optimizer == NN_MOMENTUM && !(o->momentum > 0))
        o->optimizer = NN_SGD; /* which momentum 0 is */
    if (o->out && path_ends_with(o->out, ".safetensors"))
        return option_fail("--width inf has outputs to write, F.npy, and no weights: --out takes no", o->out);
    if (no_step(o))
        return option_fail("--width inf takes a step at least in", o->command);
    if (o->inputs2 && !o->inputs)
        return option_fail("--inputs2, to test on, needs --inputs in", o->command);
    if (!o->probes)
        o->probes = 64;
    return 0;
}
