/* kernel_explain.c: what a kernel would cost. */
#include "examples/limn/commands/kernel.h"

#include <math.h>
#include <sys/resource.h>

static double peak_bytes(void)
{
    struct rusage usage = { 0 };
    getrusage(RUSAGE_SELF, &usage);
    return 1024 * (double)usage.ru_maxrss;
}

/* One piece of the kernel, rows x rows2, timed; its memory is given back. */
static int piece(const kernel_job *j, tp_kernel_kind which, nn_model *model, size_t rows, size_t rows2, double *seconds,
                 ad_error *error)
{
    size_t outputs = j->full ? j->outputs * j->outputs : 1;
    double *out = model ? ad_alloc(rows * rows2 * outputs, sizeof *out, "a piece", error) : NULL, start = ad_seconds();
    tp_kernel kernel = { 0 };
    int status = !model ? kernel_solve(j, which, rows, rows2, &kernel, NULL, error)
                 : out  ? kernel_measure(j, which, model, rows, rows2, out, error)
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
    tp_forecast samples;
} forecast;

/* Pieces of the upper left corner, doubled until one takes a quarter of a second, give the two rates of
 * seconds = a (rows + rows2) + b rows rows2. Memory is what the largest piece took; what grows with the rows beyond is
 * the inputs' share of one tile, at most 128 MiB. */
static int extrapolate(const kernel_job *j, tp_kernel_kind which, nn_model *model, forecast *f, ad_error *error)
{
    size_t m = 8, r[2] = { 0 }, r2[2] = { 0 };
    double seconds[2] = { 0 }, peak[2] = { 0 }, quick = 0.25;
    int status = piece(j, which, model, j->rows < 4 ? j->rows : 4, j->rows2 < 4 ? j->rows2 : 4, &seconds[1],
                       error); /* what is made once is not counted */
    for (bool more = true; more && !status; m *= 2) {
        r[0] = r[1], r2[0] = r2[1], seconds[0] = seconds[1], peak[0] = peak[1];
        r[1] = j->rows < m ? j->rows : m;
        r2[1] = j->rows2 < m ? j->rows2 : m;
        status = piece(j, which, model, r[1], r2[1], &seconds[1], error);
        peak[1] = peak_bytes();
        more = seconds[1] < quick && (r[1] < j->rows || r2[1] < j->rows2);
    }
    if (status)
        return -1;
    double p = (double)(r[0] + r2[0]), q = (double)r[0] * (double)r2[0], all = (double)(j->rows + j->rows2);
    double p1 = (double)(r[1] + r2[1]), q1 = (double)r[1] * (double)r2[1], det = p * q1 - p1 * q;
    double a = det > 0 ? fmax(0, (seconds[0] * q1 - seconds[1] * q) / det) : 0;
    double b = fmax(0, (seconds[1] - a * p1) / q1), growth = p1 > p ? fmax(0, peak[1] - peak[0]) / (p1 - p) : 0;
    f->seconds += a * all + b * (double)j->rows * (double)j->rows2;
    f->bytes = peak[1] + fmin(growth * (all - p1), (double)(128 << 20));
    f->measured += seconds[1];
    f->rows = r[1];
    f->rows2 = r2[1];
    return 0;
}

/* A network at a width lays out the whole, so that its memory is known, and times a large batch itself, of which no
 * piece is a kernel. */
static int forecast_finite(const kernel_job *j, tp_kernel_kind which, nn_model *model, forecast *f, ad_error *error)
{
    double start = ad_seconds(), own, bytes = peak_bytes(), seconds;
    if (nn_kernel_cost(model, which == TP_NNGP, j->data->x, j->rows, j->second.data, j->rows2, j->o->outputs, &own,
                       &seconds, error))
        return -1;
    f->part = !isnan(seconds);
    if (f->part) {
        f->seconds += seconds;
        f->measured += ad_seconds() - start;
        f->rows = j->rows;
        f->rows2 = j->rows2;
    } else if (extrapolate(j, which, model, f, error)) {
        return -1;
    }
    f->bytes = bytes + own;
    return 0;
}

/* A limit by samples is not tried: what it does is read off the trace. */
static int forecast_limit(const kernel_job *j, tp_kernel_kind which, forecast *f, ad_error *error)
{
    double start = ad_seconds(), bytes = peak_bytes();
    if (kernel_forecast(j, which, &f->samples, error))
        return -1;
    if (!f->samples.sampled)
        return extrapolate(j, which, NULL, f, error);
    f->measured += ad_seconds() - start;
    f->seconds += f->samples.seconds;
    f->bytes = bytes + f->samples.bytes;
    return 0;
}

/* All kernels, one after the other: their times, and the memory of the largest. */
static int forecast_all(const kernel_job *j, nn_model *model, size_t result, forecast *f, ad_error *error)
{
    double most = 0;
    bool whole = model && !j->part.of.graph && !j->o->block;
    for (int k = 0; k < j->n_results; k++) {
        tp_kernel_kind which = j->results[k].which;
        if (!model ? forecast_limit(j, which, f, error)
                   : (whole ? forecast_finite : extrapolate)(j, which, model, f, error))
            return -1;
        most = fmax(most, f->bytes);
    }
    bool seeds = j->o->seeds > 1 && model;
    f->seconds *= seeds ? (double)j->o->seeds : 1;
    /* beside the sum a limit's terms, or one seed's and what seeds differ by */
    bool one = model || kernel_wants_tiles(j);
    f->bytes = most + (seeds ? 3 : one ? 1 : 2) * (double)result * j->n_results;
    return 0;
}

static int tell(const kernel_job *j, const forecast *f, size_t width, size_t result, ad_error *error)
{
    char text[500];
    const options *o = j->o;
    if (o->json) {
        cJSON *root = kernel_describe_json(j, width);
        json_put(root, "explain", cJSON_CreateTrue());
        json_put(root, "bytes", json_number(f->bytes));
        json_put(root, "result_bytes", json_number((double)result));
        json_put(root, "seconds", json_number(f->seconds));
        json_put(root, "measured_rows", json_number((double)f->rows));
        json_put(root, "measured_seconds", json_number(f->measured));
        if (f->samples.sampled)
            json_put(root, f->samples.points ? "points" : "samples",
                     json_number((double)(f->samples.points ? f->samples.points : f->samples.samples)));
        return json_print(root, error);
    }
    kernel_describe(j, kernel_title(j), width, text, sizeof text);
    if (f->samples.sampled) {
        printf("%s%s\nmemory: about %.3g MB, of which the result takes %.3g MB\n"
               "time:   about %.2g s with %ld thread%s: by %s, %d runs of %zu, ",
               text, j->full ? ", between all outputs" : "", f->bytes / 1e6, (double)result / 1e6, f->seconds,
               o->threads, o->threads > 1 ? "s" : "", f->samples.points ? "points of few Gaussians" : "samples",
               f->samples.runs, f->samples.points ? f->samples.points : f->samples.samples);
        if (!f->samples.points && f->samples.rows < j->rows)
            printf("tiles of twice %zu rows", f->samples.rows);
        else
            printf("all rows together");
        printf(" (finding this out took %.2g s)\nnothing is computed: leave out --explain\n", f->measured);
        return 0;
    }
    printf("%s%s\nmemory: about %.3g MB, of which the result takes %.3g MB\n"
           "time:   about %.2g s with %ld thread%s (%s%zu x %zu inputs took %.2g s)\nnothing is computed: leave out "
           "--explain\n",
           text, j->full ? ", between all outputs" : "", f->bytes / 1e6, (double)result / 1e6, f->seconds, o->threads,
           o->threads > 1 ? "s" : "", f->part ? "a part of " : "", f->rows, f->rows2, f->measured);
    return 0;
}

int kernel_explain(const kernel_job *j, ad_error *error)
{
    nn_model *model = j->program ? NULL : network_model(j->o, j->net, 0, (uint64_t)j->o->seed, error);
    if (!j->program && !model)
        return -1;
    bool floats = j->program && j->o->type_given && j->o->type == AD_FLOAT;
    size_t width = model ? nn_model_width(model) : 0;
    size_t result = kernel_numbers(j, error) * (floats ? sizeof(float) : sizeof(double));
    forecast f = { 0 };
    int status = result ? forecast_all(j, model, result, &f, error) : -1;
    nn_model_free(model);
    return status ? -1 : tell(j, &f, width, result * (size_t)j->n_results, error);
}
