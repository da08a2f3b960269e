/* kernel_find.c: the kernels, at a width or in the limit. */
#include "examples/limn/commands/kernel.h"

#include <math.h>
#include <string.h>

size_t kernel_numbers(const kernel_job *j, ad_error *error)
{
    size_t bytes = sizeof(double);
    bool over = __builtin_mul_overflow(bytes, j->rows, &bytes) || __builtin_mul_overflow(bytes, j->rows2, &bytes);
    if (j->full)
        over = over || __builtin_mul_overflow(bytes, j->outputs * j->outputs, &bytes);
    if (over)
        ad_fail(error, "a kernel of %zu x %zu inputs is larger than any memory", j->rows, j->rows2);
    return over ? 0 : bytes / sizeof(double);
}

/* ---- in the limit ---- */
limit_question kernel_question(const kernel_job *j, tp_kernel_kind which, size_t rows, size_t rows2)
{
    const options *o = j->o;
    limit_question q = { .which = which,
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
                                   .seed = (uint64_t)o->seed,
                                   .params = j->part.params } };
    if (o->block) {
        bool alike = tp_outputs_alike(j->program);
        q.spec.output = alike ? 0 : j->block[0];
        q.spec.output2 = alike ? j->block[0] != j->block[1] : j->block[1];
        q.spec.engine = q.spec.output + q.spec.output2 ? TP_ENGINE_EXACT : q.spec.engine;
    }
    return q;
}

int kernel_solve(const kernel_job *j, tp_kernel_kind which, size_t rows, size_t rows2, tp_kernel *kernel,
                 tp_opinion *opinion, ad_error *error)
{
    limit_question q = kernel_question(j, which, rows, rows2);
    if (!j->o->explain) {
        q.spec.progress = progress_tell;
        progress_begin(j->o, "the kernel");
    }
    int status = limit_find(j->o, j->program, &q, kernel, opinion, error);
    progress_end();
    return status;
}

int kernel_forecast(const kernel_job *j, tp_kernel_kind which, tp_forecast *forecast, ad_error *error)
{
    limit_question q = kernel_question(j, which, j->rows, j->rows2);
    return tp_limit_forecast(j->program, which, q.x, q.rows, q.x2, q.rows2, &q.spec, forecast, error);
}

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
static int solve_outputs(kernel_job *j, kernel_result *r, ad_error *error)
{
    outputs_job all = { .o = j->o,
                        .program = j->program,
                        .ask = kernel_question(j, r->which, j->rows, j->rows2),
                        .outputs = j->outputs,
                        .width = j->o->at_width,
                        .full = j->full,
                        .opinion = &r->opinion };
    return outputs_limit(&all, r->values, r->limit.method, sizeof r->limit.method, &r->limit.error, error);
}

/* The powers of n, which nothing sums up. */
static int tell_powers(const kernel_job *j, const kernel_result *r, ad_error *error)
{
    char powers[200] = "";
    for (int k = 0; k < r->limit.n_terms; k++)
        snprintf(powers + strlen(powers), sizeof powers - strlen(powers), " n^%g", r->limit.terms[k].power);
    return j->o->out || j->full ? ad_fail(error, "the limit has the powers%s: give --at-width N to sum them", powers)
                                : 0;
}

/* The standard errors of samples, at the width where their power of n is taken. */
static int take_deviations(const kernel_job *j, kernel_result *r, double width, ad_error *error)
{
    size_t count = j->rows * j->rows2;
    if (!r->limit.deviations)
        return 0;
    if (!(r->errors = ad_alloc(kernel_numbers(j, error), sizeof *r->errors, "standard errors", error)))
        return -1;
    for (size_t i = 0; i < count; i++)
        r->errors[i] = r->limit.deviations[i] * pow(width, r->limit.terms[0].power);
    if (j->full)
        spread(r->errors, count, j->outputs);
    return 0;
}

static int find_limit(kernel_job *j, kernel_result *r, ad_error *error)
{
    const options *o = j->o;
    size_t count = kernel_numbers(j, error);
    double width = o->at_width > 0 ? o->at_width : 1;
    bool apart = o->block && j->block[0] != j->block[1] && tp_outputs_independent(j->program);
    bool each = !o->block && !outputs_share_a_kernel(j->program, j->full);
    if (apart)
        snprintf(r->limit.method, sizeof r->limit.method, "nothing is between two outputs in the limit");
    if (!apart && !each && kernel_solve(j, r->which, j->rows, j->rows2, &r->limit, &r->opinion, error))
        return -1;
    if (!tp_kernel_converges(&r->limit) && !(o->at_width > 0))
        return tell_powers(j, r, error);
    if (!(r->values = ad_alloc(count, sizeof(double), "a kernel", error)))
        return -1;
    if (apart)
        return 0;
    if (each)
        return solve_outputs(j, r, error);
    tp_kernel_at(&r->limit, width, r->values);
    if (j->full)
        spread(r->values, j->rows * j->rows2, j->outputs);
    return take_deviations(j, r, width, error);
}

/* ---- at a width ---- */
static int measure(const kernel_job *j, tp_kernel_kind which, nn_model *model, const double *x, size_t rows,
                   size_t rows2, nn_kernel_outputs outputs, double *out, ad_error *error)
{
    const double *x2 = j->second.data;
    if (which == TP_NTK)
        return nn_ntk_part(model, &j->part, x, rows, x2, rows2, outputs, out, error);
    if (j->part.of.graph)
        return nn_nngp_vector(model, j->part.of, x, rows, x2, rows2, out, error);
    return nn_nngp(model, x, rows, x2, rows2, outputs, out, error);
}

/* One block of all outputs', in pieces of rows that fit into 64 MB, unless samples meet, or have masks in a fit. */
static int measure_block(const kernel_job *j, tp_kernel_kind which, nn_model *model, size_t rows, size_t rows2,
                         double *out, ad_error *error)
{
    enum { PIECE = 1 << 23 };
    kernel_job part = *j;
    size_t square = j->outputs * j->outputs, step = PIECE / (rows2 * square) + 1, features = j->data->features;
    bool whole = ad_coupled(nn_output(j->net), nn_batch(j->net)) || j->o->mode == NN_TRAINING || step >= rows;
    step = whole ? rows : step;
    double *all = ad_alloc(step * rows2, square * sizeof *all, "a piece of a kernel", error);
    if (!whole && !j->second.data) /* the first inputs are the second ones, too */
        part.second.data = j->data->x;
    int status = all ? 0 : -1;
    for (size_t first = 0; first < rows && !status; first += step) {
        size_t count = rows - first < step ? rows - first : step;
        status = measure(&part, which, model, j->data->x + first * features, count, rows2, NN_FULL, all, error);
        for (size_t i = 0; i < count * rows2 && !status; i++)
            out[first * rows2 + i] = all[i * square + j->block[0] * j->outputs + j->block[1]];
    }
    ad_free(all);
    return status;
}

int kernel_measure(const kernel_job *j, tp_kernel_kind which, nn_model *model, size_t rows, size_t rows2, double *out,
                   ad_error *error)
{
    if (j->o->block)
        return measure_block(j, which, model, rows, rows2, out, error);
    return measure(j, which, model, j->data->x, rows, j->second.data ? rows2 : 0, j->o->outputs, out, error);
}

/* Kernel number `run`, from 1 on, into the mean and the sums of squares about it (Welford's), which the last of `runs`
 * makes standard errors of the mean. */
static void add_seed(kernel_result *r, const double *one, size_t count, int run, int runs)
{
    for (size_t i = 0; i < count; i++) {
        double before = one[i] - r->values[i];
        r->values[i] += before / run;
        if (r->errors)
            r->errors[i] += before * (one[i] - r->values[i]);
        if (r->errors && run == runs)
            r->errors[i] = sqrt(r->errors[i] / ((double)runs * (runs - 1)));
    }
}

/* The mean over seeds, and its standard errors. */
static int find_finite(kernel_job *j, ad_error *error)
{
    const options *o = j->o;
    size_t count = kernel_numbers(j, error);
    int seeds = o->seeds > 0 ? (int)o->seeds : 1, status = 0;
    double *one = ad_alloc(count, sizeof *one, "a kernel", error);
    for (int k = 0; k < j->n_results; k++) {
        kernel_result *r = &j->results[k];
        r->values = one ? ad_alloc(count, sizeof(double), "a kernel", error) : NULL;
        r->errors = r->values && seeds > 1 ? ad_alloc(count, sizeof(double), "standard errors", error) : NULL;
        status = !r->values || (seeds > 1 && !r->errors) ? -1 : status;
    }
    progress_begin(o, "the kernel");
    for (int s = 0; s < seeds && !status; s++) {
        nn_model *model = network_model(o, j->net, 0, (uint64_t)(o->seed + s), error);
        status = model ? 0 : -1;
        if (model)
            nn_set_dropout(model, o->mode == NN_TRAINING);
        j->width = model ? nn_model_width(model) : 0;
        for (int k = 0; k < j->n_results && !status; k++) {
            kernel_result *r = &j->results[k];
            status = kernel_measure(j, r->which, model, j->rows, j->rows2, one, error);
            if (!status)
                add_seed(r, one, count, s + 1, seeds);
        }
        nn_model_free(model);
        progress_tell((double)(s + 1) / seeds, NULL);
    }
    progress_end();
    ad_free(one);
    return status;
}

/* ---- both ---- */
/* A kernel beyond the range of a double is no result: nothing is printed or written of it. */
static int check_finite(const kernel_job *j, const double *values, size_t stride, ad_error *error)
{
    for (size_t i = 0; values && i < j->rows * j->rows2 * stride; i++)
        if (!isfinite(values[i]))
            return ad_fail(error,
                           "the kernel of inputs %zu and %zu (counted from 0) is %g: it leaves the range of a "
                           "double",
                           i / stride / j->rows2, i / stride % j->rows2, values[i]);
    return 0;
}

int kernel_find(kernel_job *j, ad_error *error)
{
    int status = !kernel_numbers(j, error) ? -1 : j->program ? 0 : find_finite(j, error);
    for (int k = 0; k < j->n_results && !status; k++) {
        kernel_result *r = &j->results[k];
        status = j->program ? find_limit(j, r, error) : 0;
        if (!status)
            status = check_finite(j, r->values, j->full ? j->outputs * j->outputs : 1, error);
        for (int t = 0; !status && !r->values && t < r->limit.n_terms; t++)
            status = check_finite(j, r->limit.terms[t].values, 1, error);
    }
    return status;
}
