/* kernel_steps.c: the kernel regime: the limit kernel is constant, and a step moves all outputs by it. */
#include "autodiff/base/base.h"
#include "tp/training/inside.h"

#include <math.h>
#include <string.h>

typedef struct {
    tp_training_job *job;
    tp_trained *out;
    tp_kernel kernel, tests; /* (points, training rows); where samples meet (training rows, training rows), and of the
                                points that are followed, a batch of their own, beside it */
    double *start, *f, *velocity, *slope, *part; /* (points, outputs) */
} kernel_run;

static int find_kernel(kernel_run *r, ad_error *error)
{
    const tp_training_job *job = r->job;
    tp_program *program = job->program;
    tp_limit_spec spec = {
        .threads = job->spec.threads, .samples = job->spec.samples, .runs = job->spec.runs, .seed = job->spec.fit.seed
    };
    if (job->outputs > 1 && (!tp_outputs_alike(program) || !tp_outputs_independent(program)))
        return ad_fail(error,
                       "training at n = infinity in the kernel regime: the outputs are not shown to be alike and "
                       "independent of each other, as those of one readout are");
    size_t trained = job->parts[0].rows, followed = job->points - trained;
    const double *x = job->x, *beyond = x + trained * job->features;
    int status = program->coupled ? tp_training_kernel(program, x, trained, NULL, 0, &spec, &r->kernel, error)
                                  : tp_training_kernel(program, x, job->points, x, trained, &spec, &r->kernel, error);
    if (!status && program->coupled && followed)
        status = tp_training_kernel(program, beyond, followed, x, trained, &spec, &r->tests, error);
    if (status)
        return -1;
    if (!tp_kernel_converges(&r->kernel) || (r->tests.n_terms && !tp_kernel_converges(&r->tests)))
        return ad_fail(error, "training at n = infinity in the kernel regime: the kernel has powers of n");
    return 0;
}

/* Of a point with all training rows. */
static const double *kernel_row(const kernel_run *r, size_t point)
{
    size_t trained = r->job->parts[0].rows;
    bool apart = r->tests.n_terms && point >= trained;
    return apart ? r->tests.terms[0].values + (point - trained) * trained : r->kernel.terms[0].values + point * trained;
}

/* The first `probes` rows of the kernel, which do not move. */
static void copy_kernel(const kernel_run *r, double *to)
{
    size_t n = r->job->probes;
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * n, kernel_row(r, i), n * sizeof *to);
}

/* f -= r v of all points, v = momentum v + Theta slope over the rows of the batch: v and f are linear in the
 * parameters' own. */
static int take_step(kernel_run *r, long step, ad_error *error)
{
    tp_training_job *job = r->job;
    const nn_fit_spec *fit = &job->spec.fit;
    size_t outputs = job->outputs;
    const void *x, *y;
    size_t rows = nn_feed_batch(&job->feed, step, &x, &y);
    size_t first = (size_t)(step % (long)job->feed.per_epoch) * job->feed.batch;
    double momentum = fit->optimizer == NN_MOMENTUM ? fit->momentum : 0;
    for (size_t i = 0; i < rows; i++) {
        size_t row = job->feed.shuffled ? job->feed.order[first + i] : i;
        memcpy(r->part + i * outputs, r->f + row * outputs, outputs * sizeof *r->part);
    }
    double loss = tp_loss_slope(fit->loss, r->part, y, rows, outputs, r->slope);
    if (tp_check_loss(job, step, loss, error))
        return -1;
    for (size_t i = 0; i < job->points * outputs; i++)
        r->velocity[i] *= momentum;
    for (size_t p = 0; p < job->points; p++)
        for (size_t i = 0; i < rows; i++) {
            size_t row = job->feed.shuffled ? job->feed.order[first + i] : i;
            double k = kernel_row(r, p)[row];
            for (size_t o = 0; o < outputs; o++)
                r->velocity[p * outputs + o] += k * r->slope[i * outputs + o];
        }
    for (size_t i = 0; i < job->points * outputs && !fit->frozen; i++)
        r->f[i] -= fit->rate * r->velocity[i];
    return 0;
}

static int run_steps(kernel_run *r, int run, double *kernel, double *features, ad_error *error)
{
    tp_training_job *job = r->job;
    size_t count = job->points * job->outputs;
    int row = 0;
    memcpy(r->f, r->start, count * sizeof *r->f);
    memset(r->velocity, 0, count * sizeof *r->velocity);
    tp_records_add(job, r->out, row++, run, r->f, kernel, features);
    for (long step = 0; step < job->steps; step++) {
        if (take_step(r, step, error))
            return -1;
        if (step + 1 == r->out->rows[row].step)
            tp_records_add(job, r->out, row++, run, r->f, kernel, features);
        if (job->spec.each && job->spec.each(run, step + 1, job->spec.context))
            return ad_fail(error, "training at n = infinity: ended after step %ld of %ld", step + 1, job->steps);
    }
    return 0;
}

/* The readouts' part of the kernel of the probes; 0 where none of them learns. */
static int find_features(kernel_run *r, double *to, ad_error *error)
{
    const tp_training_job *job = r->job;
    const nn_net *net = job->program->net;
    int n = nn_n_params(net), any = 0;
    bool *params = ad_alloc((size_t)n + 1, sizeof *params, "parameters", error);
    tp_kernel part = { 0 };
    tp_limit_spec spec = { .threads = job->spec.threads,
                           .samples = job->spec.samples,
                           .runs = job->spec.runs,
                           .seed = job->spec.fit.seed,
                           .params = params };
    if (!params)
        return -1;
    for (int k = 0; k < n; k++) {
        const ad_shape *shape = ad_shape_get(nn_param(net, k));
        bool learns = fabs(ad_node_of(nn_graph(net), nn_param(net, k).id)->init->rate) > 0;
        params[k] = learns && tp_count_widths(nn_graph(net), shape) == 1 && ad_has(shape, nn_outputs(net));
        any += params[k];
    }
    size_t probes = job->probes, rows = job->program->coupled ? job->parts[0].rows : probes;
    any *= probes > 0;
    int status = any ? tp_training_kernel(job->program, job->x, rows, NULL, 0, &spec, &part, error) : 0;
    for (size_t i = 0; i < probes && !status && any; i++)
        memcpy(to + i * probes, part.terms[0].values + i * rows, probes * sizeof *to);
    tp_kernel_free(&part);
    ad_free(params);
    return status;
}

int tp_train_by_kernel(tp_training_job *job, tp_trained *out, ad_error *error)
{
    kernel_run r = { .job = job, .out = out };
    size_t count = job->points * job->outputs + 1, probes = job->probes * job->probes + 1;
    double *kernel = ad_alloc(probes, sizeof *kernel, "a kernel", error);
    double *features = ad_alloc(probes, sizeof *features, "a kernel", error);
    double **buffers[] = { &r.start, &r.f, &r.velocity, &r.slope, &r.part };
    int status = kernel && features ? 0 : -1, runs = 1;
    for (int k = 0; k < 5 && !status; k++)
        status = (*buffers[k] = ad_alloc(count, sizeof(double), "outputs", error)) ? 0 : -1;
    char from[200] = "";
    if (!status)
        status = tp_training_start(job, r.start, from, sizeof from, error);
    for (int run = 0; run < runs && !status; run++, job->spec.fit.seed += (uint64_t)job->spec.runs) {
        tp_kernel_free(&r.kernel);
        tp_kernel_free(&r.tests);
        status = find_kernel(&r, error) || find_features(&r, features, error) ? -1 : 0;
        if (status)
            break;
        runs = r.kernel.deviations ? job->spec.runs : 1;
        copy_kernel(&r, kernel);
        status = run_steps(&r, run, kernel, features, error);
    }
    out->runs = runs > 1 ? runs : 0;
    out->samples = runs > 1 ? job->spec.samples : 0;
    snprintf(out->method, sizeof out->method,
             "the kernel regime: gradient descent with the limit kernel, which is constant, from %s; the kernel, of "
             "relative error %.2g: %.400s",
             from, r.kernel.error, r.kernel.method);
    tp_kernel_free(&r.kernel);
    tp_kernel_free(&r.tests);
    for (int k = 0; k < 5; k++)
        ad_free(*buffers[k]);
    ad_free(kernel);
    ad_free(features);
    return status;
}
