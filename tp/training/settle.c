/* settle.c: what a training at n = infinity is of, and whether this room can run it. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"
#include "tp/regime.h"
#include "tp/training/inside.h"

#include <math.h>
#include <string.h>

enum { SAMPLES = 4096, RUNS = 8, CHECKED = 1024 /* the width of networks that are asked whether they come closer */ };
static const double tolerance = 1e-6;

double tp_loss_slope(nn_loss loss, const double *f, const double *y, size_t rows, size_t outputs, double *slope)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        const double *a = f + i * outputs;
        double *s = slope + i * outputs, most = a[0], total = 0;
        for (size_t o = 0; o < outputs && loss == NN_SQUARE; o++) {
            s[o] = (a[o] - y[i * outputs + o]) / (double)rows;
            sum += (a[o] - y[i * outputs + o]) * (a[o] - y[i * outputs + o]) / 2;
        }
        if (loss == NN_SQUARE)
            continue;
        for (size_t o = 1; o < outputs; o++)
            most = fmax(most, a[o]);
        for (size_t o = 0; o < outputs; o++)
            total += s[o] = exp(a[o] - most);
        for (size_t o = 0; o < outputs; o++)
            s[o] = (s[o] / total - (o == (size_t)y[i] ? 1 : 0)) / (double)rows;
        sum += most + log(total) - a[(size_t)y[i]];
    }
    return sum / (double)rows;
}

int tp_check_loss(tp_training_job *job, long step, double loss, ad_error *error)
{
    const double most = 1e9; /* times what it was */
    double rate = job->spec.fit.rate;
    if (step == 0)
        job->first_loss = loss;
    if (!isfinite(loss))
        return ad_fail(
            error,
            "training at n = infinity diverges: the loss is not finite after %ld steps (rate %g): lower the rate", step,
            rate);
    if (loss > most * fmax(job->first_loss, 1 / most))
        return ad_fail(error,
                       "training at n = infinity diverges: the loss is %.3g after %ld steps, and was %.3g at the start "
                       "(rate %g): lower the rate",
                       loss, step, job->first_loss, rate);
    return 0;
}

/* ---- what has no limit here ---- */
static int refuse_optimizer(const nn_fit_spec *fit, ad_error *error)
{
    if (!nn_optimizer_adapts(fit->optimizer))
        return 0;
    return ad_fail(error,
                   "%s has no training at n = infinity here: it divides each entry of a gradient by its own size, and "
                   "a function of the entries of an outer product is no finite list of outer products (Tensor Programs "
                   "IVb, arXiv:2308.01814): take sgd or momentum",
                   nn_optimizer_name(fit->optimizer));
}

/* A fit's steps draw masks, which the steps here do not. */
static int refuse_dropout(const tp_program *program, ad_error *error)
{
    if (!nn_has_dropout(program->net))
        return 0;
    return ad_fail(error, "training at n = infinity has no masks of dropout here, which the steps of a network draw: a "
                          "finite --width, or the network without dropout");
}

/* Where features are learned, or batches change what a row's outputs are. */
static int refuse_coupled(const tp_training_job *job, ad_error *error)
{
    if (job->program->meets && !job->program->coupled)
        return ad_fail(error,
                       "training at n = infinity: the network's data are normalised over a batch: normalise them "
                       "before they are given");
    if (!job->program->coupled)
        return 0;
    if (!job->kernel_regime)
        return ad_fail(error, "training at n = infinity: the samples of a batch meet, as in batch normalisation, whose "
                              "gradients have too heavy tails for samples of their law: take layer normalisation, or a "
                              "finite width");
    if (job->feed.shuffled)
        return ad_fail(error,
                       "training at n = infinity: the samples of a batch meet, as in batch normalisation, and each "
                       "batch of %zu would have a kernel of its own: take all %zu rows at once",
                       job->feed.batch, job->parts[0].rows);
    if (job->spec.draw && job->parts[1].rows)
        return ad_fail(error, "training at n = infinity: where the samples of a batch meet, a draw is of the rows that "
                              "train: take none to test on, or give the outputs at the start");
    return 0;
}

static int refuse_orthogonal(const tp_program *program, ad_error *error)
{
    for (int k = 0; k < nn_n_params(program->net); k++) {
        const ad_node *node = ad_node_of(program->graph, nn_param(program->net, k).id);
        if (node->init->orthogonal)
            return ad_fail(error,
                           "training at n = infinity: %s (%s:%d) starts orthogonal, and every step uses it again: its "
                           "products are then not those of a Gaussian matrix",
                           node->name, tp_short_file(node->where.file), node->where.line);
    }
    return 0;
}

/* Where features are learned, all that trains is to count in the limit, and to be there at the start. */
static int refuse_mixed(const tp_regime *r, ad_error *error)
{
    for (int v = 0; v + 1 < r->n_vectors; v++)
        if (r->vectors[v].start < -1e-9 && isfinite(r->vectors[v].start))
            return ad_fail(error,
                           "training at n = infinity: %s (%s:%d) is of order n^%.4g at the start and vanishes in the "
                           "limit, to which updates of later steps are then added: this has no rule here",
                           r->vectors[v].name, tp_short_file(r->vectors[v].where.file), r->vectors[v].where.line,
                           r->vectors[v].start);
    for (int k = 0; k < r->n_params; k++) {
        const tp_layer_rate *p = &r->params[k];
        if (!isnan(p->rate) && isfinite(p->change) && fabs(p->change) > 1e-9)
            return ad_fail(error,
                           "training at n = infinity: the updates of %s (%s:%d) change what it makes by order n^%.4g, "
                           "those of others by order one: freeze it, or take the rate n^%.4g, which limn regime tells",
                           p->name, tp_short_file(p->where.file), p->where.line, p->change, p->suggested);
    }
    return 0;
}

/* Decay takes rate times decay off a parameter in a step, and its rate's power of n with it. */
static int refuse_decay(const tp_training_job *job, const tp_regime *r, ad_error *error)
{
    for (int k = 0; k < r->n_params && job->spec.fit.weight_decay > 0; k++) {
        const tp_layer_rate *p = &r->params[k];
        if (!isnan(p->rate) && fabs(p->rate) > 1e-9)
            return ad_fail(
                error,
                "training at n = infinity: the rate of %s (%s:%d) goes by n^%.4g, and with it what weight decay "
                "takes off it in a step: %s; take no decay, or freeze it",
                p->name, tp_short_file(p->where.file), p->where.line, p->rate,
                p->rate > 0 ? "that diverges with the width" : "that vanishes in the limit");
    }
    return 0;
}

/* Numbers that stay random at the start, as a sum of a readout's kind inside of the network, and whatever else keeps
 * networks from coming closer to each other. */
static int refuse_random(tp_training_job *job, ad_error *error)
{
    const tp_sampling sampling = { .samples = CHECKED, .seed = job->spec.fit.seed, .threads = job->spec.threads };
    ad_error found = { 0 };
    if (!tp_check_fluctuations(job->program, TP_NTK, &found) &&
        !tp_check_convergence(job->program, TP_NTK, &sampling, job->parts[0].x, job->parts[0].rows, &found))
        return 0;
    return ad_fail(error, "training at n = infinity: %s", found.text);
}

static int judge(tp_training_job *job, ad_error *error)
{
    tp_regime r;
    if (tp_regime_find(job->program, &(tp_regime_spec){ .optimizer = job->spec.fit.optimizer }, &r, error))
        return -1;
    int status = 0;
    job->kernel_regime = !r.features;
    if (!r.stable || !r.trains)
        status = ad_fail(error, "training at n = infinity: %s%s", r.verdict,
                         r.stable ? ""
                                  : ": it diverges with the width; limn regime tells powers of the rates that do "
                                    "not");
    else if (r.features)
        status = refuse_mixed(&r, error) || refuse_decay(job, &r, error) ? -1 : 0;
    else if (job->spec.fit.weight_decay > 0)
        status = ad_fail(error, "training at n = infinity in the kernel regime: weight decay changes all weights by "
                                "order one, and so the kernel: take none, or a scale that learns features");
    tp_regime_free(&r);
    return status;
}

/* ---- sizes ---- */
static int settle_spec(tp_training_job *job, ad_error *error)
{
    tp_train_spec *spec = &job->spec;
    if (refuse_optimizer(&spec->fit, error) || nn_rule_settle(&spec->fit, error))
        return -1;
    spec->samples = spec->samples ? spec->samples : SAMPLES;
    spec->runs = spec->runs ? spec->runs : RUNS;
    spec->tolerance = spec->tolerance > 0 ? spec->tolerance : tolerance;
    if (spec->samples < 16)
        return ad_fail(error, "training at n = infinity: %zu samples: at least 16", spec->samples);
    if (spec->runs < 2)
        return ad_fail(error, "training at n = infinity: %d runs: at least 2, for an error", spec->runs);
    if (!(spec->tolerance < 1))
        return ad_fail(error, "training at n = infinity: a tolerance of %g: it must be below 1", spec->tolerance);
    if (spec->every < 0)
        return ad_fail(error, "training at n = infinity: a measurement every %ld", spec->every);
    return 0;
}

static int take_data(tp_training_job *job, const nn_data *train, const nn_data *test, ad_error *error)
{
    job->features = nn_features(job->program->net);
    job->outputs = nn_n_outputs(job->program->net);
    job->parts[0] = *train;
    job->parts[1] = test ? *test : (nn_data){ 0 };
    if (test && test->rows && test->y && nn_check_data(job->program->net, test, job->spec.fit.loss, error))
        return -1;
    if (nn_feed_open(&job->feed, job->program->net, AD_DOUBLE, train, &job->spec.fit, error))
        return -1;
    job->points = train->rows + job->parts[1].rows;
    job->probes = job->spec.probes < train->rows ? job->spec.probes : train->rows;
    job->x = ad_alloc(job->points * job->features + 1, sizeof *job->x, "inputs", error);
    job->one_hot = ad_alloc(job->outputs + 1, sizeof *job->one_hot, "a target", error);
    if (!job->x || !job->one_hot)
        return -1;
    memcpy(job->x, train->x, train->rows * job->features * sizeof *job->x);
    if (job->parts[1].rows)
        memcpy(job->x + train->rows * job->features, test->x, test->rows * job->features * sizeof *job->x);
    for (size_t i = 0; i < job->points * job->features; i++)
        if (!isfinite(job->x[i]))
            return ad_fail(error, "x: row %zu holds a number that is not finite", i / job->features);
    job->steps = nn_fit_steps(&job->spec.fit, job->feed.per_epoch);
    if (job->steps == 0)
        return ad_fail(error, "training: neither steps (%ld) nor epochs (%g) is positive", job->spec.fit.steps,
                       job->spec.fit.epochs);
    job->apart = nn_schedule_apart(job->spec.schedule, job->spec.every, job->feed.per_epoch, job->steps);
    return 0;
}

int tp_training_open(tp_training_job *job, tp_program *program, const nn_data *train, const nn_data *test,
                     const tp_train_spec *spec, ad_error *error)
{
    *job = (tp_training_job){ .program = program, .blas_threads = ad_blas_begin(spec ? spec->threads : 1) };
    if (!program || !train || !spec)
        return ad_fail(error, "training at n = infinity: no %s (NULL)",
                       !program ? "program"
                       : !train ? "data"
                                : "spec");
    job->spec = *spec;
    if (settle_spec(job, error) || refuse_dropout(program, error) || judge(job, error))
        return -1;
    if (!job->kernel_regime && refuse_orthogonal(program, error))
        return -1;
    if (job->kernel_regime && (spec->checkpoint || spec->resume))
        return ad_fail(error, "training at n = infinity in the kernel regime has no checkpoint: its steps are products "
                              "with a kernel, and soon done again");
    if (!job->kernel_regime && (spec->start || spec->draw))
        return ad_fail(error, "training at n = infinity: outputs at the start are 0 where features are learned, and "
                              "are given or drawn in the kernel regime alone");
    if (take_data(job, train, test, error) || refuse_coupled(job, error))
        return -1;
    return !job->kernel_regime && refuse_random(job, error) ? -1 : 0;
}

void tp_training_close(tp_training_job *job)
{
    nn_feed_close(&job->feed);
    ad_free(job->x);
    ad_free(job->one_hot);
    ad_blas_end(job->blas_threads);
}
