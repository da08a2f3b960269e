/* train.c: training at n = infinity: which way it goes. */
#include "autodiff/base/base.h"
#include "tp/training/inside.h"

int tp_train(tp_program *program, const nn_data *train, const nn_data *test, const tp_train_spec *spec, tp_trained *out,
             ad_error *error)
{
    tp_training_job job;
    *out = (tp_trained){ 0 };
    int status = tp_training_open(&job, program, train, test, spec, error);
    if (!status)
        status = tp_records_open(&job, out, error);
    if (!status)
        status = job.kernel_regime ? tp_train_by_kernel(&job, out, error) : tp_train_sampled(&job, out, error);
    if (!status)
        status = tp_check_loss(&job, job.steps, out->rows[out->n_rows - 1].loss[0], error);
    if (!status)
        tp_records_finish(&job, out);
    else
        tp_trained_free(out);
    tp_training_close(&job);
    return status;
}
