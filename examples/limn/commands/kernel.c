/* kernel.c: limn kernel: the NTK or the NNGP kernel of inputs, at a width or in the limit, and what it would cost. */
#include "examples/limn/commands/commands.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>

enum { SHOWN = 8 };

/* A kernel's inputs and its result. */
typedef struct {
    ds_data *data;
    ds_array second; /* data is NULL without --inputs2 */
    nn_net *net;
    tp_program *program; /* of a limit */
    size_t rows, rows2, outputs;
    bool full;
    tp_kernel limit; /* of a limit; its terms are of (rows, rows2) */
    tp_opinion opinion;
    double *values; /* (rows, rows2) or (rows, rows2, outputs, outputs); NULL if a limit has several powers */
} job;

static int open_job(job *j, const options *o, ad_error *error)
{
    j->data = data_load(o, error);
    if (!j->data || data_second(o, j->data, &j->second, error))
        return -1;
    size_t maximum = o->probes > 0 ? (size_t)o->probes : o->inputs || o->data ? SIZE_MAX : 32;
    j->rows = j->data->rows < maximum ? j->data->rows : maximum;
    j->rows2 = j->second.data ? j->second.shape[0] : j->rows;
    if (!(j->net = network_trace(o, j->data, error)))
        return -1;
    j->outputs = nn_n_outputs(j->net);
    j->full = o->outputs == NN_FULL;
    if (o->width || o->weights)
        return 0;
    if (o->scale == NN_MEANFIELD || o->scale == NN_MUP) {
        return ad_fail(error, "limits are for --scale ntk and standard: %s has a kernel at a --width N",
                       option_word(OPTION_SCALE, (int)o->scale));
    }
    return (j->program = tp_translate(j->net, error)) ? 0 : -1;
}

static void close_job(job *j)
{
    ad_free(j->values);
    tp_kernel_free(&j->limit);
    tp_program_free(j->program);
    nn_net_free(j->net);
    ds_array_free(&j->second);
    ds_free(j->data);
}

static size_t result_size(const job *j, ad_error *error)
{
    size_t size = sizeof(double);
    bool over = __builtin_mul_overflow(size, j->rows, &size) || __builtin_mul_overflow(size, j->rows2, &size);
    if (j->full)
        over = over || __builtin_mul_overflow(size, j->outputs * j->outputs, &size);
    if (over)
        ad_fail(error, "a kernel of %zu x %zu inputs is larger than any memory", j->rows, j->rows2);
    return over ? 0 : size;
}

/* What is asked for of the first rows against the first rows2. */
static limit_question question(const job *j, const options *o, size_t rows, size_t rows2)
{
    return (limit_question){ .which = o->kernel,
                             .x = j->data->x,
                             .rows = rows,
                             .x2 = j->second.data,
                             .rows2 = j->second.data ? rows2 : 0,
                             .spec = { .threads = (int)o->threads,
                                       .tolerance = o->tolerance,
                                       .engine = o->engine,
                                       .rule = o->rule,
                                       .samples = (size_t)o->samples,
                                       .runs = (int)o->runs,
                                       .seed = (uint64_t)o->seed } };
}

/* The limit of the first rows against the first rows2, of the first output. opinion NULL: unchecked. */
static int solve(const job *j, const options *o, size_t rows, size_t rows2, tp_kernel *kernel, tp_opinion *opinion,
                 ad_error *error)
{
    limit_question q = question(j, o, rows, rows2);
    if (!o->explain)
        q.spec.progress = progress_tell;
    return limit_find(o, j->program, &q, kernel, opinion, error);
}

static int measure(const job *j, const options *o, nn_model *model, size_t rows, size_t rows2, double *out,
                   ad_error *error)
{
    return (o->kernel == TP_NTK ? nn_ntk : nn_nngp)(model, j->data->x, rows, j->second.data, j->second.data ? rows2 : 0,
                                                    o->outputs, out, error);
}

/* ---- computing ---- */
/* Different outputs are independent in the limit: the kernel times the identity. In place, from the end. */
static void spread(double *k, size_t count, size_t outputs)
{
    size_t square = outputs * outputs;
    for (size_t i = count; i-- > 0;) {
        double value = k[i];
        for (size_t p = 0; p < square; p++)
            k[i * square + p] = p % (outputs + 1) == 0 ? value : 0;
    }
}

/* Outputs that are not alike, or not independent: each one's own kernel, or its mean, and those between them. */
static int compute_outputs(job *j, const options *o, ad_error *error)
{
    outputs_job all = { .o = o,
                        .program = j->program,
                        .ask = question(j, o, j->rows, j->rows2),
                        .outputs = j->outputs,
                        .width = o->at_width,
                        .full = j->full,
                        .opinion = &j->opinion };
    j->values = ad_alloc(result_size(j, error) / sizeof(double), sizeof(double), "a kernel", error);
    return j->values ? outputs_limit(&all, j->values, j->limit.method, sizeof j->limit.method, &j->limit.error, error)
                     : -1;
}

static int compute_limit(job *j, const options *o, ad_error *error)
{
    if (!outputs_share_a_kernel(j->program, j->full))
        return compute_outputs(j, o, error);
    if (solve(j, o, j->rows, j->rows2, &j->limit, &j->opinion, error))
        return -1;
    if (!tp_kernel_converges(&j->limit) && !(o->at_width > 0)) {
        char powers[200] = "";
        for (int k = 0; k < j->limit.n_terms; k++)
            snprintf(powers + strlen(powers), sizeof powers - strlen(powers), " n^%g", j->limit.terms[k].power);
        return o->out || j->full ? ad_fail(error, "the limit has the powers%s: give --at-width N to sum them", powers)
                                 : 0;
    }
    if (!(j->values = ad_alloc(result_size(j, error) / sizeof(double), sizeof(double), "a kernel", error)))
        return -1;
    tp_kernel_at(&j->limit, o->at_width > 0 ? o->at_width : 1, j->values);
    if (j->full)
        spread(j->values, j->rows * j->rows2, j->outputs);
    return 0;
}

/* The mean over seeds. */
static int compute_finite(job *j, const options *o, size_t *width, ad_error *error)
{
    size_t count = result_size(j, error) / sizeof(double);
    long seeds = o->seeds > 0 ? o->seeds : 1;
    double *one = NULL;
    int status = (j->values = ad_alloc(count, sizeof(double), "a kernel", error)) ? 0 : -1;
    if (!status && seeds > 1)
        status = (one = ad_alloc(count, sizeof(double), "a kernel", error)) ? 0 : -1;
    for (long s = 0; s < seeds && !status; s++) {
        nn_model *model = network_model(o, j->net, 0, (uint64_t)(o->seed + s), error);
        status = model ? measure(j, o, model, j->rows, j->rows2, one ? one : j->values, error) : -1;
        *width = model ? nn_model_width(model) : 0;
        for (size_t i = 0; one && i < count && !status; i++)
            j->values[i] += one[i] / (double)seeds;
        nn_model_free(model);
        progress_tell((double)(s + 1) / (double)seeds, NULL);
    }
    ad_free(one);
    return status;
}

/* A kernel beyond the range of a double is no result: nothing is printed or written of it. */
static int check_finite(const job *j, const double *values, size_t stride, ad_error *error)
{
    for (size_t i = 0; values && i < j->rows * j->rows2 * stride; i++)
        if (!isfinite(values[i]))
            return ad_fail(error,
                           "the kernel of inputs %zu and %zu (counted from 0) is %g: it leaves the range of a "
                           "double",
                           i / stride / j->rows2, i / stride % j->rows2, values[i]);
    return 0;
}

static int check_all(const job *j, ad_error *error)
{
    int status = check_finite(j, j->values, j->full ? j->outputs * j->outputs : 1, error);
    for (int k = 0; !status && !j->values && k < j->limit.n_terms; k++)
        status = check_finite(j, j->limit.terms[k].values, 1, error);
    return status;
}

/* ---- telling ---- */
/* Of batch normalisation: what the inputs are normalised with; NULL without. */
static const char *normalised(const job *j, const options *o)
{
    if (!nn_n_statistics(j->net))
        return NULL;
    if (o->mode == NN_EVALUATION)
        return "running statistics";
    return j->second.data ? "their two batches" : "their one batch";
}

static void describe(const job *j, const options *o, size_t width, char *text, size_t size)
{
    char at[64] = "in the limit";
    const char *with = normalised(j, o);
    if (width)
        snprintf(at, sizeof at, "at width %zu", width);
    else if (o->at_width > 0)
        snprintf(at, sizeof at, "of the limit, summed at width %g", o->at_width);
    snprintf(text, size, "%s of %s %s, %zu x %zu inputs%s%s", o->kernel == TP_NTK ? "NTK" : "NNGP kernel", o->network,
             at, j->rows, j->rows2, with ? ", normalised by " : "", with ? with : "");
}

static cJSON *describe_json(const job *j, const options *o, size_t width)
{
    cJSON *root = json_new(o);
    json_put(root, "kernel", cJSON_CreateString(option_word(OPTION_KERNEL, (int)o->kernel)));
    json_put(root, "width", width ? cJSON_CreateNumber((double)width) : cJSON_CreateString("inf"));
    if (o->at_width > 0)
        json_put(root, "at_width", cJSON_CreateNumber(o->at_width));
    if (width)
        json_put(root, "dtype", cJSON_CreateString(option_word(OPTION_DTYPE, (int)o->type)));
    if (normalised(j, o))
        json_put(root, "normalised", cJSON_CreateString(normalised(j, o)));
    size_t shape[4] = { j->rows, j->rows2, j->outputs, j->outputs };
    cJSON *list = json_put(root, "shape", cJSON_CreateArray());
    for (int k = 0; k < (j->full ? 4 : 2); k++)
        json_put(list, "", cJSON_CreateNumber((double)shape[k]));
    return root;
}

static int tell_json(const job *j, const options *o, size_t width, ad_error *error)
{
    size_t shape[4] = { j->rows, j->rows2, j->outputs, j->outputs };
    cJSON *root = describe_json(j, o, width);
    if (!width) {
        json_put(root, "method", cJSON_CreateString(j->limit.method));
        json_put(root, "error", cJSON_CreateNumber(j->limit.error));
        limit_tell(&j->opinion, root);
        if (j->limit.deviations && !o->out)
            json_put(root, "deviations", json_array(j->limit.deviations, shape, 2));
    }
    if (!j->values) {
        cJSON *terms = json_put(root, "terms", cJSON_CreateArray());
        for (int k = 0; k < j->limit.n_terms; k++) {
            cJSON *term = json_put(terms, "", cJSON_CreateObject());
            json_put(term, "power", cJSON_CreateNumber(j->limit.terms[k].power));
            json_put(term, "values", json_array(j->limit.terms[k].values, shape, 2));
        }
    } else if (o->out) {
        json_put(root, "out", cJSON_CreateString(o->out));
    } else {
        json_put(root, "values", json_array(j->values, shape, j->full ? 4 : 2));
    }
    return json_print(root, error);
}

/* The first rows and columns of (rows, rows2, stride), of which the first number of each entry. */
static void print_corner(const job *j, const double *values, size_t stride)
{
    for (size_t r = 0; r < j->rows && r < SHOWN; r++) {
        for (size_t c = 0; c < j->rows2 && c < SHOWN; c++)
            printf("%s%14.8g", c ? " " : "", values[(r * j->rows2 + c) * stride]);
        puts(j->rows2 > SHOWN ? " ..." : "");
    }
    if (j->rows > SHOWN)
        puts("...");
}

static void print_kernel(const job *j, const options *o, size_t width)
{
    char text[400];
    describe(j, o, width, text, sizeof text);
    if (!width)
        printf("%s, relative error %.1g\n", j->limit.method, j->limit.error);
    limit_tell(&j->opinion, NULL);
    if (o->out)
        printf("%s: written to %s\n", text, o->out);
    else if (j->values)
        printf("%s%s:\n", text, j->full ? ", between the first outputs" : "");
    else
        printf("%s, has the powers of n (--at-width N sums them):\n", text);
    if (j->values && !o->out)
        print_corner(j, j->values, j->full ? j->outputs * j->outputs : 1);
    for (int k = 0; k < j->limit.n_terms && !j->values; k++) {
        printf("n^%g:\n", j->limit.terms[k].power);
        print_corner(j, j->limit.terms[k].values, 1);
    }
}

/* ---- --explain ---- */
static double peak_bytes(void)
{
    struct rusage usage = { 0 };
    getrusage(RUSAGE_SELF, &usage);
    return 1024 * (double)usage.ru_maxrss;
}

/* One piece of the kernel, rows x rows2, timed; its memory is given back. */
static int piece(const job *j, const options *o, nn_model *model, size_t rows, size_t rows2, double *seconds,
                 ad_error *error)
{
    size_t outputs = j->full ? j->outputs * j->outputs : 1;
    double *out = model ? ad_alloc(rows * rows2 * outputs, sizeof *out, "a piece", error) : NULL, start = ad_seconds();
    tp_kernel kernel = { 0 };
    int status = !model ? solve(j, o, rows, rows2, &kernel, NULL, error)
                 : out  ? measure(j, o, model, rows, rows2, out, error)
                        : -1;
    *seconds = ad_seconds() - start;
    tp_kernel_free(&kernel);
    ad_free(out);
    return status;
}

/* What is told of the whole, and the piece that was measured for it. */
typedef struct {
    double bytes, seconds, measured;
    size_t rows, rows2;
    bool part; /* of the work on these rows */
} forecast;

/* Pieces of the upper left corner, doubled until one takes a quarter of a second, give the two rates of
 * seconds = a (rows + rows2) + b rows rows2. Memory is what the largest piece took; what grows with the rows beyond is
 * the inputs' share of one tile, at most 128 MiB. */
static int extrapolate(const job *j, const options *o, nn_model *model, forecast *f, ad_error *error)
{
    size_t m = 8, r[2] = { 0 }, r2[2] = { 0 };
    double seconds[2] = { 0 }, peak[2] = { 0 }, quick = 0.25;
    int status = piece(j, o, model, j->rows < 4 ? j->rows : 4, j->rows2 < 4 ? j->rows2 : 4, &seconds[1],
                       error); /* what is made once is not counted */
    for (bool more = true; more && !status; m *= 2) {
        r[0] = r[1], r2[0] = r2[1], seconds[0] = seconds[1], peak[0] = peak[1];
        r[1] = j->rows < m ? j->rows : m;
        r2[1] = j->rows2 < m ? j->rows2 : m;
        status = piece(j, o, model, r[1], r2[1], &seconds[1], error);
        peak[1] = peak_bytes();
        more = seconds[1] < quick && (r[1] < j->rows || r2[1] < j->rows2);
    }
    if (status)
        return -1;
    double p = (double)(r[0] + r2[0]), q = (double)r[0] * (double)r2[0], all = (double)(j->rows + j->rows2);
    double p1 = (double)(r[1] + r2[1]), q1 = (double)r[1] * (double)r2[1], det = p * q1 - p1 * q;
    double a = det > 0 ? fmax(0, (seconds[0] * q1 - seconds[1] * q) / det) : 0;
    double b = fmax(0, (seconds[1] - a * p1) / q1), growth = p1 > p ? fmax(0, peak[1] - peak[0]) / (p1 - p) : 0;
    f->seconds = a * all + b * (double)j->rows * (double)j->rows2;
    f->bytes = peak[1] + fmin(growth * (all - p1), (double)(128 << 20));
    f->measured = seconds[1];
    f->rows = r[1];
    f->rows2 = r2[1];
    return 0;
}

/* A network at a width lays out the whole, so that its memory is known, and times a large batch itself, of which no
 * piece is a kernel. */
static int forecast_finite(const job *j, const options *o, nn_model *model, forecast *f, ad_error *error)
{
    double start = ad_seconds(), own, bytes = peak_bytes();
    if (nn_kernel_cost(model, o->kernel == TP_NNGP, j->data->x, j->rows, j->second.data, j->rows2, o->outputs, &own,
                       &f->seconds, error))
        return -1;
    f->measured = ad_seconds() - start;
    f->rows = j->rows;
    f->rows2 = j->rows2;
    f->part = !isnan(f->seconds);
    if (!f->part && extrapolate(j, o, model, f, error))
        return -1;
    f->bytes = bytes + own;
    return 0;
}

static int explain(const job *j, const options *o, ad_error *error)
{
    nn_model *model = j->program ? NULL : network_model(o, j->net, 0, (uint64_t)o->seed, error);
    if (!j->program && !model)
        return -1;
    size_t width = model ? nn_model_width(model) : 0, result = result_size(j, error);
    forecast f = { 0 };
    int status = !result ? -1 : (model ? forecast_finite : extrapolate)(j, o, model, &f, error);
    nn_model_free(model);
    if (status)
        return -1;
    f.seconds *= (double)(o->seeds > 1 && !j->program ? o->seeds : 1);
    f.bytes +=
        (j->program || o->seeds > 1 ? 2 : 1) * (double)result; /* a limit's terms, or one seed's, beside the sum */
    if (o->json) {
        cJSON *root = describe_json(j, o, width);
        json_put(root, "explain", cJSON_CreateTrue());
        json_put(root, "bytes", cJSON_CreateNumber(f.bytes));
        json_put(root, "result_bytes", cJSON_CreateNumber((double)result));
        json_put(root, "seconds", cJSON_CreateNumber(f.seconds));
        json_put(root, "measured_rows", cJSON_CreateNumber((double)f.rows));
        json_put(root, "measured_seconds", cJSON_CreateNumber(f.measured));
        return json_print(root, error);
    }
    char text[400];
    describe(j, o, width, text, sizeof text);
    printf("%s%s\nmemory: about %.3g MB, of which the result takes %.3g MB\n"
           "time:   about %.2g s with %ld thread%s (%s%zu x %zu inputs took %.2g s)\nnothing is computed: leave out "
           "--explain\n",
           text, j->full ? ", between all outputs" : "", f.bytes / 1e6, (double)result / 1e6, f.seconds, o->threads,
           o->threads > 1 ? "s" : "", f.part ? "a part of " : "", f.rows, f.rows2, f.measured);
    return 0;
}

static int run_kernel(const options *o, ad_error *error)
{
    job j = { 0 };
    size_t width = 0, shape[4];
    int status = open_job(&j, o, error);
    if (!status && o->explain)
        status = explain(&j, o, error);
    else if (!status) {
        progress_begin(o, "the kernel");
        status = !result_size(&j, error) ? -1
                 : j.program             ? compute_limit(&j, o, error)
                                         : compute_finite(&j, o, &width, error);
        progress_end();
    }
    if (!status && !o->explain)
        status = check_all(&j, error);
    if (!status && !o->explain) {
        memcpy(shape, (size_t[]){ j.rows, j.rows2, j.outputs, j.outputs }, sizeof shape);
        if (o->out)
            status = ds_npy_write(o->out, j.values, shape, j.full ? 4 : 2, error);
        if (!status && o->json)
            status = tell_json(&j, o, width, error);
        else if (!status)
            print_kernel(&j, o, width);
    }
    close_job(&j);
    return status;
}

static int settle_kernel(options *o)
{
    if (o->at_width > 0 && o->width)
        return option_fail("--at-width sums a limit, --width N has none in", o->command);
    if (o->mode == NN_EVALUATION && !o->width && !o->weights)
        return option_fail("--mode eval needs --width N or --weights in", o->command);
    return o->infinite && o->weights ? option_fail("--width inf knows no --weights in", o->command) : 0;
}

const tool_command command_kernel = {
    .name = "kernel",
    .argument = "NET",
    .summary = "NTK or NNGP kernel, at a width or in the limit",
    .manual =
        "Without --width (or with --width inf) it is the limit, else a network drawn from --seed, or of --weights.\n"
        "Without --out it prints the first rows and columns. --explain tells memory and time in place of computing.",
    .takes = TAKE_NETWORK | TAKE(SCALING) | TAKE(INPUTS2) | TAKE(WIDTH) | TAKE(AT_WIDTH) | TAKE(SEED) | TAKE(SEEDS) |
             TAKE(KERNEL) | TAKE(OUTPUTS) | TAKE(WEIGHTS) | TAKE(LAYOUT) | TAKE(OUT) | TAKE(MODE) | TAKE(PROBES) |
             TAKE(DTYPE) | TAKE(ENGINE) | TAKE(RULE) | TAKE(SAMPLES) | TAKE(RUNS) | TAKE(TOLERANCE) | TAKE(NO_CHECK) |
             TAKE(THREADS) | TAKE(EXPLAIN) | TAKE(PROGRESS),
    .settle = settle_kernel,
    .run = run_kernel,
};
