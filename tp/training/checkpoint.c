/* checkpoint.c: sampled runs that stop and go on: where they are, what is recorded, and the learner. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"
#include "tp/training/inside.h"

#include <inttypes.h>

/* Of what the network computes, and of how its parameters start and learn. */
static uint64_t hash_trace(const tp_program *program)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        const double numbers[] = { (double)node->op,      node->c,
                                   node->power,           (double)node->order,
                                   (double)node->start,   (double)node->stride,
                                   (double)node->dilation };
        sum = nn_hash_numbers(sum, numbers, sizeof numbers / sizeof *numbers);
        for (int k = 0; k < node->n_in; k++)
            sum = nn_hash_numbers(sum, &(double){ (double)node->in[k] }, 1);
        const ad_init *i = node->init;
        if (!i)
            continue;
        const double init[] = { i->deviation, i->deviation_power, i->multiplier, i->multiplier_power,
                                i->rate,      i->rate_power,      i->mean,       (double)i->orthogonal };
        sum = nn_hash_numbers(sum, init, sizeof init / sizeof *init);
    }
    return sum;
}

/* What must be the same, that a run goes on as if it had not stopped. */
static int mark(const tp_training_job *job, tp_state *state)
{
    const tp_train_spec *spec = &job->spec;
    const nn_fit_spec *fit = &spec->fit;
    char text[120];
#define MARK(key, ...)                                                                                                 \
    ad_snprintf(text, sizeof text, __VA_ARGS__);                                                                       \
    if (tp_state_mark(state, key, text))                                                                               \
    return -1
    MARK("network", "%.80s %016" PRIx64, nn_title(job->program->net), hash_trace(job->program));
    MARK("loss", "%s", fit->loss == NN_SQUARE ? "square" : "cross-entropy");
    MARK("optimizer", "%s", nn_optimizer_name(fit->optimizer));
    MARK("rate", "%.17g", fit->frozen ? 0 : fit->rate);
    MARK("momentum", "%.17g", fit->optimizer == NN_MOMENTUM ? fit->momentum : 0);
    MARK("weight_decay", "%.17g", fit->weight_decay);
    MARK("batch", "%zu", job->feed.batch);
    MARK("steps", "%ld", job->steps);
    MARK("samples", "%zu", spec->samples);
    MARK("runs", "%d", spec->runs);
    MARK("tolerance", "%.17g", spec->tolerance);
    MARK("seed", "%" PRIu64, fit->seed);
    MARK("schedule", "%d, %ld apart", (int)spec->schedule, job->apart);
    MARK("probes", "%zu", job->probes);
    MARK("data", "%zu rows %016" PRIx64, job->parts[0].rows, nn_hash_data(job->program->net, &job->parts[0]));
    MARK("test", "%zu rows %016" PRIx64, job->parts[1].rows,
         job->parts[1].rows ? nn_hash_data(job->program->net, &job->parts[1]) : 0);
#undef MARK
    return 0;
}

/* Means and sums of squares so far, row by row. */
static int record_state(const tp_training_job *job, tp_trained *out, tp_state *state)
{
    size_t numbers = 2 * job->points * job->outputs + 4 * job->probes * job->probes;
    for (int k = 0; k < out->n_rows; k++) {
        tp_trained_row *row = &out->rows[k];
        double *scores[] = { row->loss, row->loss_error, row->accuracy, row->accuracy_error };
        if (tp_state_numbers(state, (double *)row->f, numbers, "record.%d", k)) /* all lie behind f (records.c) */
            return -1;
        for (int i = 0; i < 4; i++)
            if (tp_state_numbers(state, scores[i], 2, "record.%d.score%d", k, i))
                return -1;
    }
    return 0;
}

static int save(tp_training_job *job, tp_trained *out, tp_learner *learner, tp_training_place *place, tp_state *state)
{
    uint64_t counts[] = { (uint64_t)place->run, (uint64_t)place->row, (uint64_t)place->step, (uint64_t)out->rank };
    return mark(job, state) || tp_state_counts(state, counts, 4, "place") ||
                   tp_state_numbers(state, &job->first_loss, 1, "first_loss") || record_state(job, out, state) ||
                   tp_learner_state(learner, state) || tp_state_write(state, job->spec.checkpoint)
               ? -1
               : 0;
}

int tp_training_save(tp_training_job *job, tp_trained *out, tp_learner *learner, tp_training_place *place,
                     ad_error *error)
{
    tp_state *state = tp_state_new(error);
    int status = state ? save(job, out, learner, place, state) : -1;
    tp_state_free(state);
    return status;
}

static int resume(tp_training_job *job, tp_trained *out, tp_learner *learner, tp_training_place *place, tp_state *state,
                  ad_error *error)
{
    const tp_train_spec *spec = &job->spec;
    uint64_t counts[4];
    if (mark(job, state) || tp_state_counts(state, counts, 4, "place"))
        return -1;
    if (counts[0] >= (uint64_t)spec->runs || counts[1] >= (uint64_t)out->n_rows || counts[1] < 1 ||
        counts[2] > (uint64_t)job->steps || counts[2] < 1 || counts[3] > INT32_MAX)
        return ad_fail(error, "%s: it holds no place of a training", spec->resume);
    *place = (tp_training_place){ (int)counts[0], (int)counts[1], (long)counts[2] };
    out->rank = (int)counts[3];
    if (tp_learner_restart(learner, spec->fit.seed + counts[0], error))
        return -1;
    return tp_state_numbers(state, &job->first_loss, 1, "first_loss") || record_state(job, out, state) ||
                   tp_learner_state(learner, state)
               ? -1
               : 0;
}

int tp_training_resume(tp_training_job *job, tp_trained *out, tp_learner *learner, tp_training_place *place,
                       ad_error *error)
{
    tp_state *state = tp_state_read(job->spec.resume, error);
    int status = state ? resume(job, out, learner, place, state, error) : -1;
    tp_state_free(state);
    return status;
}
