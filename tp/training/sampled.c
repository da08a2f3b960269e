/* sampled.c: training where features are learned, by the executor: run by run, step by step. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"
#include "tp/training/inside.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <time.h>

enum { FEW = 16 }; /* points are few, where there are so many times as many samples */

/* One run, and its buffers. */
typedef struct {
    tp_training_job *job;
    tp_trained *out;
    tp_learner *learner;
    double *rates, *readouts;         /* by parameter: weights of the kernel, and of its readouts' part */
    double *f, *slope;                /* (points, outputs) */
    double *kernel, *features, *part; /* (probes, probes) */
} sampled_run;

static int open_buffers(sampled_run *r, ad_error *error)
{
    const nn_net *net = r->job->program->net;
    size_t n = r->job->points * r->job->outputs + 1, probes = r->job->probes * r->job->probes + 1;
    ad_sizes sizes = { .n = r->job->spec.samples };
    double **buffers[] = { &r->f, &r->slope, &r->kernel, &r->features, &r->part, &r->rates, &r->readouts };
    for (int k = 0; k < 7; k++)
        if (!(*buffers[k] = ad_alloc(k < 2   ? n
                                     : k < 5 ? probes
                                             : (size_t)nn_n_params(net) + 1,
                                     sizeof(double), "training at n = infinity", error)))
            return -1;
    for (int k = 0; k < nn_n_params(net); k++) {
        const ad_shape *shape = ad_shape_get(nn_param(net, k));
        bool reads_out = tp_count_widths(nn_graph(net), shape) == 1 && ad_has(shape, nn_outputs(net));
        r->rates[k] = nn_rate_scale(net, k, &sizes);
        r->readouts[k] = reads_out ? r->rates[k] : 0;
    }
    return 0;
}

static void close_buffers(sampled_run *r)
{
    double *buffers[] = { r->f, r->slope, r->kernel, r->features, r->part, r->rates, r->readouts };
    for (int k = 0; k < 7; k++)
        ad_free(buffers[k]);
}

/* Kernels of the probes, the mean over outputs. Of several, each after a mark, whose backward pass shows the next one
 * nothing: a kernel takes the draws of one. */
static int measure_kernels(sampled_run *r, ad_error *error)
{
    const tp_training_job *job = r->job;
    size_t probes = job->probes, outputs = job->outputs;
    memset(r->kernel, 0, probes * probes * sizeof *r->kernel);
    memset(r->features, 0, probes * probes * sizeof *r->features);
    for (size_t o = 0; o < outputs; o++) {
        if (o)
            tp_learner_rewind(r->learner);
        if (tp_learner_forward(r->learner, job->x, probes, r->slope, error))
            return -1;
        for (size_t i = 0; i < probes * outputs; i++)
            r->slope[i] = i % outputs == o ? 1 : 0;
        if (tp_learner_backward(r->learner, r->slope, error))
            return -1;
        for (int which = 0; which < 2; which++) {
            double *sum = which ? r->features : r->kernel;
            if (tp_learner_kernel(r->learner, which ? r->readouts : r->rates, r->part, error))
                return -1;
            for (size_t i = 0; i < probes * probes; i++)
                sum[i] += r->part[i] / (double)outputs;
        }
    }
    return 0;
}

/* The outputs of points from number `first` on, some at a time, of which nothing is kept. */
static int measure_outputs(sampled_run *r, size_t first, size_t end, ad_error *error)
{
    const tp_training_job *job = r->job;
    size_t most = job->spec.samples / FEW > 1 ? job->spec.samples / FEW : 1;
    for (size_t i = first, n; i < end; i += n) {
        n = end - i < most ? end - i : most;
        if (tp_learner_forward(r->learner, job->x + i * job->features, n, r->f + i * job->outputs, error))
            return -1;
        tp_learner_rewind(r->learner);
    }
    return 0;
}

/* What a full batch shows of the matrices, the next step asks for in any case: the forward pass, and of one output the
 * backward pass, too, but for a factor a row. */
static int measure(sampled_run *r, int row, int run, ad_error *error)
{
    const tp_training_job *job = r->job;
    size_t trained = job->feed.shuffled ? 0 : job->parts[0].rows;
    bool same = job->outputs == 1 && job->probes == trained;
    if (trained && tp_learner_forward(r->learner, job->x, trained, r->f, error))
        return -1;
    if (same && trained && measure_kernels(r, error))
        return -1;
    if (tp_learner_mark(r->learner, error) || (!same && job->probes && measure_kernels(r, error)) ||
        measure_outputs(r, trained, job->points, error))
        return -1;
    tp_learner_rewind(r->learner);
    tp_records_add(job, r->out, row, run, r->f, r->kernel, r->features);
    return 0;
}

/* Readouts become orthogonal to what they read: outputs at the start are 0, as in the limit. So it is of all points if
 * they are few among the samples, else of those of one step, and of others up to a run's error. */
static int begin(sampled_run *r, int run, ad_error *error)
{
    tp_training_job *job = r->job;
    bool few = job->points * FEW <= job->spec.samples;
    const void *x = job->x, *y;
    size_t rows = few ? job->parts[0].rows : nn_feed_batch(&job->feed, 0, &x, &y), all = few ? job->points : rows;
    memset(r->slope, 0, job->points * job->outputs * sizeof *r->slope);
    if (tp_learner_forward(r->learner, x, rows, r->f, error) || tp_learner_mark(r->learner, error) ||
        tp_learner_forward(r->learner, few ? job->x : x, all, r->f, error) ||
        tp_learner_backward(r->learner, r->slope, error) || tp_learner_centre(r->learner, error))
        return -1;
    if (!few)
        return measure(r, 0, run, error);
    if (tp_learner_forward(r->learner, job->x, all, r->f, error) || (job->probes && measure_kernels(r, error)))
        return -1;
    tp_learner_rewind(r->learner);
    tp_records_add(job, r->out, 0, run, r->f, r->kernel, r->features);
    return 0;
}

static int take_step(sampled_run *r, long step, ad_error *error)
{
    tp_training_job *job = r->job;
    const nn_fit_spec *fit = &job->spec.fit;
    const void *x, *y;
    size_t rows = nn_feed_batch(&job->feed, step, &x, &y);
    if (!job->feed.shuffled)
        x = job->x;
    if (tp_learner_forward(r->learner, x, rows, r->f, error))
        return -1;
    double loss = tp_loss_slope(fit->loss, r->f, y, rows, job->outputs, r->slope);
    if (tp_check_loss(job, step, loss, error))
        return -1;
    return tp_learner_backward(r->learner, r->slope, error) ||
                   tp_learner_step(r->learner, fit->frozen ? 0 : fit->rate,
                                   fit->optimizer == NN_MOMENTUM ? fit->momentum : 0, fit->weight_decay, error)
               ? -1
               : 0;
}

/* After a step, before it is measured: a state to go on from, and the caller's word. */
static int look_up(sampled_run *r, tp_training_place *place, ad_error *error)
{
    tp_training_job *job = r->job;
    const tp_train_spec *spec = &job->spec;
    bool ends = spec->each && spec->each(place->run, place->step, spec->context);
    bool due = place->step == job->steps || (spec->checkpoint_every > 0 && place->step % spec->checkpoint_every == 0);
    if (spec->checkpoint && (ends || due) && tp_training_save(job, r->out, r->learner, place, error))
        return -1;
    if (!ends)
        return 0;
    return ad_fail(error, "training at n = infinity: ended after step %ld of %ld of run %d", place->step, job->steps,
                   place->run + 1);
}

/* From its start, or from a place that was resumed. */
static int run_once(sampled_run *r, tp_training_place *place, ad_error *error)
{
    tp_training_job *job = r->job;
    bool resumed = place->step > 0;
    if (!resumed) {
        place->row = 1;
        if (begin(r, place->run, error))
            return -1;
    }
    for (; resumed || place->step < job->steps; resumed = false) {
        if (!resumed) {
            if (take_step(r, place->step, error))
                return -1;
            place->step++;
            if (look_up(r, place, error))
                return -1;
        }
        if (place->step == r->out->rows[place->row].step && measure(r, place->row++, place->run, error))
            return -1;
    }
    return 0;
}

int tp_train_sampled(tp_training_job *job, tp_trained *out, ad_error *error)
{
    tp_training_view view;
    const tp_train_spec *spec = &job->spec;
    if (tp_view_training(job->program, &view, error))
        return -1;
    sampled_run r = { .job = job, .out = out };
    int status = open_buffers(&r, error);
    tp_learning learning = {
        .samples = spec->samples, .seed = spec->fit.seed, .threads = spec->threads, .tolerance = spec->tolerance
    };
    if (!status)
        status = (r.learner = tp_learner_new(&view, &learning, error)) ? 0 : -1;
    tp_training_place place = { 0 };
    if (!status && spec->resume)
        status = tp_training_resume(job, out, r.learner, &place, error);
    for (; place.run < spec->runs && !status; place = (tp_training_place){ .run = place.run + 1 }) {
        if (place.run && !place.step)
            status = tp_learner_restart(r.learner, spec->fit.seed + (uint64_t)place.run, error);
        if (!status)
            status = run_once(&r, &place, error);
        if (!status && tp_learner_rank(r.learner) > out->rank)
            out->rank = tp_learner_rank(r.learner);
    }
    tp_learner_free(r.learner);
    close_buffers(&r);
    tp_training_view_free(&view);
    out->runs = spec->runs;
    out->samples = spec->samples;
    snprintf(out->method, sizeof out->method,
             "steps at n = infinity on samples of every vector's law: %zu samples, the mean of %d runs; matrices are "
             "W_0 plus %d outer products at most, and parts of vectors below %.2g are cut",
             spec->samples, spec->runs, out->rank, spec->tolerance);
    return status;
}

/* ---- what it will take ---- */
/* The processor's seconds of step t, growing with what matrices have met: a line through those of the first steps, the
 * very first left out, which touches fresh memory; and how many measured ones there are. */
typedef struct {
    int n;
    double t, y, tt, ty; /* sums */
} step_times;

static void add_step(step_times *s, double t, double seconds)
{
    s->n++;
    s->t += t;
    s->y += seconds;
    s->tt += t * t;
    s->ty += t * seconds;
}

/* Of this many steps. */
static double all_steps(const step_times *s, double steps)
{
    double mean = s->y / s->n, at = s->t / s->n, spread = s->tt - s->t * at;
    double rise = spread > 0 ? fmax((s->ty - at * s->y) / spread, 0) : 0;
    return steps * fmax(mean + rise * ((steps + 1) / 2 - at), 0);
}

static double processor_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* The first steps of a run, a fifth of them or as many as `enough` seconds take. */
static int try_steps(sampled_run *r, double *seconds, ad_error *error)
{
    enum { FEWEST_STEPS = 6, PART = 5 };
    const double enough = 2;
    tp_training_job *job = r->job;
    step_times times = { 0 };
    double started = processor_seconds(), measuring = 0, stepping = 0;
    int row = 1;
    if (begin(r, 0, error))
        return -1;
    double began = processor_seconds() - started;
    for (long step = 0; step < job->steps; step++) {
        double before = processor_seconds();
        if (step >= FEWEST_STEPS && (step >= job->steps / PART || before - started > enough))
            break;
        if (take_step(r, step, error))
            return -1;
        if (job->spec.each && job->spec.each(0, step + 1, job->spec.context))
            return ad_fail(error, "training at n = infinity: ended while its first steps were timed");
        double after = processor_seconds();
        if (step > 0 || job->steps == 1)
            add_step(&times, (double)step + 1, after - before);
        stepping += after - before;
        if (step + 1 == r->out->rows[row].step) {
            if (measure(r, row++, 0, error))
                return -1;
            measuring += processor_seconds() - after;
        }
    }
    double steps = all_steps(&times, (double)job->steps);
    double share = row > 1 && stepping > 0 ? measuring / (row - 1) / (stepping / (times.n + (job->steps > 1))) : 0;
    *seconds = job->spec.runs * (began + steps * (1 + share * (r->out->n_rows - 1) / (double)job->steps));
    return 0;
}

int tp_train_forecast(tp_program *program, const nn_data *train, const nn_data *test, const tp_train_spec *spec,
                      double *seconds, ad_error *error)
{
    tp_training_job job;
    tp_training_view view = { 0 };
    tp_trained out = { 0 };
    *seconds = 0;
    int status = tp_training_open(&job, program, train, test, spec, error);
    if (!status && !job.kernel_regime) {
        sampled_run r = { .job = &job, .out = &out };
        tp_learning learning = { .samples = job.spec.samples,
                                 .seed = job.spec.fit.seed,
                                 .threads = job.spec.threads,
                                 .tolerance = job.spec.tolerance };
        status = tp_view_training(program, &view, error) || tp_records_open(&job, &out, error) ||
                         open_buffers(&r, error) || !(r.learner = tp_learner_new(&view, &learning, error)) ||
                         try_steps(&r, seconds, error)
                     ? -1
                     : 0;
        tp_learner_free(r.learner);
        close_buffers(&r);
        tp_training_view_free(&view);
        tp_trained_free(&out);
    }
    tp_training_close(&job);
    return status;
}

/* Rows that are run at once after the last step. */
static double one_pass(const tp_training_job *job)
{
    double few = fmax((double)job->parts[0].rows, (double)(job->spec.samples / FEW));
    return fmin((double)job->points, few);
}

int tp_train_estimate(tp_program *program, const nn_data *train, const nn_data *test, const tp_train_spec *spec,
                      tp_train_cost *cost, ad_error *error)
{
    tp_training_job job;
    tp_training_view view = { 0 };
    tp_learner *learner = NULL;
    *cost = (tp_train_cost){ 0 };
    int status = tp_training_open(&job, program, train, test, spec, error);
    bool sampled = !status && !job.kernel_regime;
    if (sampled)
        status = tp_view_training(program, &view, error);
    if (sampled && !status) {
        tp_learning learning = { .samples = job.spec.samples, .seed = job.spec.fit.seed, .threads = job.spec.threads };
        learner = tp_learner_new(&view, &learning, error);
        status = learner ? 0 : -1;
    }
    if (learner)
        tp_learner_cost(learner, (double)job.steps * (double)job.feed.batch + one_pass(&job), &cost->bytes,
                        &cost->operations, &cost->draws);
    tp_learner_free(learner);
    if (sampled)
        tp_training_view_free(&view);
    tp_training_close(&job);
    return status;
}
