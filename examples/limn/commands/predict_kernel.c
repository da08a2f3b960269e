/* predict_kernel.c: the kernels that a prediction needs, each as one array and nothing beside it. */
#include "examples/limn/commands/predict.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* (rows, rows2, outputs, outputs) to (rows, outputs, rows2, outputs). */
static double *interleave(const prediction *p, double *kernel, size_t rows, size_t rows2, ad_error *error)
{
    size_t outs = p->outputs, wide = rows2 * outs;
    double *out = kernel ? ad_alloc(rows * outs * wide, sizeof *out, "a kernel", error) : NULL;
    for (size_t i = 0; i < rows * rows2 * outs && out; i++)
        memcpy(out + (i / outs / rows2 * outs + i % outs) * wide + i / outs % rows2 * outs, kernel + i * outs,
               outs * sizeof *out);
    ad_free(kernel);
    return out;
}

/* The limits between all outputs, (rows, outputs, rows2, outputs). */
static double *limit_of_outputs(prediction *p, const limit_question *q, tp_opinion *opinion, ad_error *error)
{
    size_t columns = q->x2 ? q->rows2 : q->rows;
    bool sampled = false;
    double worst = 0;
    outputs_job all = { .o = p->o,
                        .program = p->program,
                        .ask = *q,
                        .outputs = p->outputs,
                        .width = p->o->at_width,
                        .full = true,
                        .opinion = opinion,
                        .sampled = &sampled };
    double *out = ad_alloc(q->rows * columns * p->outputs * p->outputs, sizeof *out, "a kernel", error);
    if (out && outputs_limit(&all, out, p->method, sizeof p->method, &worst, error)) {
        ad_free(out);
        return NULL;
    }
    p->error = fmax(p->error, worst);
    if (!q->x2)
        p->hides = limit_hides(worst, sampled, q->rows * p->outputs);
    return interleave(p, out, q->rows, columns, error);
}

/* A limit of two sets (x2 NULL: one), its powers summed in the first term's own memory. */
static double *limit_of(prediction *p, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                        size_t rows2, ad_error *error)
{
    const options *o = p->o;
    limit_question q = { .training = which == TP_NTK, .which = which, .x = x, .rows = rows, .x2 = x2, .rows2 = rows2 };
    q.spec = (tp_limit_spec){ .threads = (int)o->threads,
                              .tolerance = o->tolerance,
                              .engine = o->engine,
                              .rule = o->rule,
                              .samples = (size_t)o->samples,
                              .runs = (int)o->runs,
                              .seed = (uint64_t)o->seed };
    tp_kernel kernel;
    tp_opinion other = { 0 }, *opinion = p->asked[which] ? NULL : which == o->kernel ? &p->opinion : &other;
    p->asked[which] = true;
    if (p->full)
        return limit_of_outputs(p, &q, opinion, error);
    if (!p->quiet)
        q.spec.progress = progress_tell;
    if (limit_find(o, p->program, &q, &kernel, opinion, error))
        return NULL;
    char powers[200] = "";
    for (int k = 0; k < kernel.n_terms; k++)
        snprintf(powers + strlen(powers), sizeof powers - strlen(powers), " n^%g", kernel.terms[k].power);
    double *values = NULL;
    if (!tp_kernel_converges(&kernel) && !(o->at_width > 0)) {
        ad_fail(error,
                "the limit kernel has the powers%s, so that training has no limit at a fixed rate: give --at-width N "
                "to sum them, or --width N",
                powers);
    } else {
        values = kernel.terms[0].values;
        kernel.terms[0].values = NULL;
        for (int k = 0; k < kernel.n_terms; k++) {
            double factor = pow(p->width, kernel.terms[k].power), *term = k ? kernel.terms[k].values : values;
            for (size_t i = 0; i < kernel.rows * kernel.rows2; i++)
                values[i] = (k ? values[i] : 0) + factor * term[i];
        }
    }
    snprintf(p->method, sizeof p->method, "%s", kernel.method);
    p->error = fmax(p->error, kernel.error);
    if (!x2)
        p->hides = limit_hides(kernel.error, kernel.deviations, rows);
    tp_kernel_free(&kernel);
    return values;
}

static double *own_of(prediction *p, tp_kernel_kind which, const double *x, size_t rows, const double *x2, size_t rows2,
                      ad_error *error)
{
    size_t columns = x2 ? rows2 : rows, square = p->full ? p->outputs * p->outputs : 1;
    p->hides = 16 * (p->o->type == AD_FLOAT ? (double)FLT_EPSILON : DBL_EPSILON); /* sums of many products */
    double *out = ad_alloc(rows * columns * square, sizeof *out, "a kernel", error);
    if (out &&
        (which == TP_NNGP ? nn_nngp : nn_training_kernel)(p->model, x, rows, x2, rows2, p->o->outputs, out, error)) {
        ad_free(out);
        return NULL;
    }
    return p->full ? interleave(p, out, rows, columns, error) : out;
}

static double *kernel_of(prediction *p, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                         size_t rows2, ad_error *error)
{
    return (p->program ? limit_of : own_of)(p, which, x, rows, x2, rows2, error);
}

/* The same, and how far it is. */
static double *told_kernel(prediction *p, const char *what, tp_kernel_kind which, const double *x, size_t rows,
                           const double *x2, size_t rows2, ad_error *error)
{
    if (!p->quiet)
        progress_begin(p->o, what);
    double *kernel = kernel_of(p, which, x, rows, x2, rows2, error);
    if (!p->quiet)
        progress_end();
    return kernel;
}

double *predict_train_kernel(prediction *p, tp_kernel_kind which, ad_error *error)
{
    return told_kernel(p, "training inputs' kernel", which, p->x[0], p->rows[0], NULL, 0, error);
}

double *predict_cross_kernel(prediction *p, tp_kernel_kind which, ad_error *error)
{
    return told_kernel(p, "test inputs' kernel", which, p->x[1], p->rows[1], p->x[0], p->rows[0], error);
}

double *predict_test_kernel(prediction *p, tp_kernel_kind which, bool diagonal, ad_error *error)
{
    enum { TILE = 64 };
    if (!diagonal)
        return told_kernel(p, "test inputs' covariance", which, p->x[1], p->rows[1], NULL, 0, error);
    size_t outs = p->full ? p->outputs : 1;
    double *out = ad_alloc(p->rows[1] * outs, sizeof *out, "variances", error);
    for (size_t i = 0; i < p->rows[1] && out; i += TILE) {
        size_t count = p->rows[1] - i < TILE ? p->rows[1] - i : TILE;
        double *tile = kernel_of(p, which, p->x[1] + i * p->data->features, count, NULL, 0, error);
        for (size_t k = 0; k < count * outs && tile; k++)
            out[i * outs + k] = tile[k * count * outs + k];
        if (!tile) {
            ad_free(out);
            return NULL;
        }
        ad_free(tile);
    }
    return out;
}

/* ---- over ranks ---- */
bool predict_shares(const prediction *p)
{
    const options *o = p->o;
    tp_forecast samples;
    ad_error ignored = { 0 };
    return tp_n_ranks() > 1 && p->program && !p->full && o->loss == NN_SQUARE && !o->covariance && !o->explain &&
           !predict_selects(o) && !(o->at_width > 0) && o->engine != TP_ENGINE_SAMPLE && !predict_floats_asked(o) &&
           !ad_coupled(nn_output(p->net), nn_batch(p->net)) &&
           tp_limit_forecast(p->program, o->kernel, p->x[0], p->rows[0], NULL, 0, &(tp_limit_spec){ 0 }, &samples,
                             &ignored) == 0 &&
           !samples.sampled;
}

static tp_limit_spec exact_spec(const prediction *p)
{
    const options *o = p->o;
    return (tp_limit_spec){ .threads = (int)o->threads,
                            .tolerance = o->tolerance,
                            .engine = TP_ENGINE_EXACT,
                            .rule = o->rule,
                            .seed = (uint64_t)o->seed };
}

/* A second opinion of a corner: of rows at even distances, which rank 0 finds alone. */
static int judge_some(prediction *p, tp_kernel_kind which, ad_error *error)
{
    enum { SOME = 256 };
    size_t rows = p->rows[0] < SOME ? p->rows[0] : SOME, features = p->data->features;
    bool own = !p->asked[which] && tp_rank() == 0;
    tp_opinion other = { 0 };
    tp_kernel kernel = { 0 };
    p->asked[which] = true;
    double *x = own ? ad_alloc(rows * features, sizeof *x, "inputs", error) : NULL;
    if (!own)
        return 0;
    for (size_t k = 0; k < rows && x; k++)
        memcpy(x + k * features, p->x[0] + k * p->rows[0] / rows * features, features * sizeof *x);
    limit_question q = { .training = which == TP_NTK, .which = which, .x = x, .rows = rows, .spec = exact_spec(p) };
    int status =
        x ? limit_find(p->o, p->program, &q, &kernel, which == p->o->kernel ? &p->opinion : &other, error) : -1;
    tp_kernel_free(&kernel);
    ad_free(x);
    return status;
}

/* With the rows of x2, or of x itself. */
static tp_spread *spread_of(prediction *p, const char *what, tp_kernel_kind which, const double *x, size_t rows,
                            const double *x2, size_t rows2, ad_error *error)
{
    tp_limit_spec spec = exact_spec(p);
    tp_kernel told = { 0 };
    spec.progress = progress_tell;
    if (tp_ranks_agree(judge_some(p, which, error), error))
        return NULL;
    progress_begin(p->o, what);
    tp_spread *s = tp_spread_limit(p->program, which, which == TP_NTK, x, rows, x2, rows2, &spec, &told, error);
    progress_end();
    if (s)
        snprintf(p->method, sizeof p->method, "%s", told.method);
    p->error = fmax(p->error, told.error);
    if (!x2)
        p->hides = told.error;
    return s;
}

tp_spread *predict_train_spread(prediction *p, tp_kernel_kind which, ad_error *error)
{
    return spread_of(p, "training inputs' kernel", which, p->x[0], p->rows[0], NULL, 0, error);
}

tp_spread *predict_cross_spread(prediction *p, tp_kernel_kind which, ad_error *error)
{
    return spread_of(p, "test inputs' kernel", which, p->x[1], p->rows[1], p->x[0], p->rows[0], error);
}

/* ---- --explain ---- */
static double largest(double a, double b)
{
    return a > b ? a : b;
}

/* Seconds that a kernel of so many inputs takes to be factored. */
static int time_factoring(size_t side, const tp_kernel_model_spec *spec, double *seconds, ad_error *error)
{
    tp_kernel_model_spec one = { .cholesky = spec->cholesky, .band = spec->band, .threads = spec->threads };
    double *piece = ad_alloc(side * side, sizeof *piece, "a piece", error);
    for (size_t i = 0; i < side * side && piece; i++)
        piece[i] = (i / side == i % side) + 1.0 / (1 + fabs((double)(i / side) - (double)(i % side)));
    double start = ad_seconds();
    tp_kernel_model *kernel_model = piece ? tp_kernel_model_new(piece, side, &one, error) : NULL;
    *seconds = ad_seconds() - start;
    tp_kernel_model_free(kernel_model);
    return kernel_model ? 0 : -1;
}

/* LAPACK is one call, of which nobody is told how far it is. */
void predict_tell_factoring(const prediction *p, size_t n, const tp_kernel_model_spec *spec)
{
    enum { PIECE = 1000, MANY = 3000 };
    ad_error ignored = { 0 };
    double seconds = 0;
    if (n < MANY || p->quiet || !(p->o->progress || isatty(STDERR_FILENO)))
        return;
    if (!time_factoring(64, spec, &seconds, &ignored) && !time_factoring(PIECE, spec, &seconds, &ignored))
        fprintf(stderr, "%s: factoring the kernel of %zu inputs takes about %.2g s\n", p->o->command, n,
                seconds * pow((double)n / PIECE, 3));
}

int predict_explain(const prediction *p, const tp_kernel_model_spec *spec, ad_error *error)
{
    enum { PIECE = 1000 };
    double n = (double)(p->rows[0] * (p->full ? p->outputs : 1)), tests = (double)p->rows[1], outs = (double)p->outputs;
    double times = (double)p->o->n_times, kernel = 8 * n * n * (p->full ? 2 : 1),
           factoring = tp_kernel_model_bytes((size_t)n, spec);
    double cross = 8 * n * tests * (p->full ? outs : 1), variance = 0, outputs = 8 * times * outs * (n + tests);
    if (p->ensemble && tests > 0)
        variance =
            2 * cross + (p->readout ? 0 : cross + kernel) + 8 * tests * (p->o->covariance ? (times + 1) * tests : 2);
    double bytes = largest(largest(kernel, factoring), 8 * n * n + cross + variance) + outputs;
    double seconds = 0;
    if (time_factoring(64, spec, &seconds, error) || /* what is done once is not counted */
        time_factoring(PIECE, spec, &seconds, error))
        return -1;
    seconds *= pow(n / PIECE, 3);
    if (p->o->json) {
        cJSON *root = json_new(p->o);
        json_put(root, "explain", cJSON_CreateTrue());
        json_put(root, "bytes", json_number(bytes));
        json_put(root, "kernel_bytes", json_number(kernel));
        json_put(root, "factoring_bytes", json_number(factoring));
        json_put(root, "variance_bytes", json_number(variance));
        json_put(root, "factoring",
                 cJSON_CreateString(spec->cholesky ? "cholesky"
                                    : spec->band   ? "band"
                                                   : "eigenvalues"));
        json_put(root, "factoring_seconds", json_number(seconds));
        return json_print(root, error);
    }
    printf("%zu inputs to train, %zu to test\nmemory: about %.3g MB at the most (kernel %.3g MB, factored in place in "
           "%.3g "
           "MB; tests %.3g MB, their variance %.3g MB)\ntime:   about %.2g s for %s, with %ld thread%s; limn kernel "
           "--explain tells the kernel's\nnothing is computed: leave out --explain\n",
           p->rows[0], p->rows[1], bytes / 1e6, kernel / 1e6, factoring / 1e6, cross / 1e6, variance / 1e6, seconds,
           spec->cholesky ? "Cholesky's factor (t = inf alone)"
           : spec->band   ? "a band form"
                          : "the eigenvalues",
           p->o->threads, p->o->threads > 1 ? "s" : "");
    return 0;
}
