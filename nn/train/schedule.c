/* schedule.c: what a fit's rate is multiplied by from step to step; what nn.h says of nn_rate_schedule. */
#include "nn/train/train.h"

#include <math.h>

static const double pi = 3.14159265358979323846, usual_gamma = 0.1;

int nn_schedule_settle(nn_fit_spec *spec, ad_error *error)
{
    if (!(fabs(spec->gamma) > 0))
        spec->gamma = usual_gamma;
    if (!(spec->gamma > 0) || !isfinite(spec->gamma))
        return ad_fail(error, "fit: gamma %g is not positive", spec->gamma);
    if (spec->schedule == NN_RATE_STEP ? !(spec->step_size > 0) || !isfinite(spec->step_size)
                                       : fabs(spec->step_size) > 0)
        return ad_fail(error, "fit: a step size of %g epochs: the schedule step has a positive one, others have none",
                       spec->step_size);
    if (!(spec->rate_min >= 0) ||
        (spec->rate_min > 0 && (spec->schedule != NN_RATE_COSINE || spec->rate_min > spec->rate)))
        return ad_fail(error, "fit: a smallest rate of %g: the schedule cosine has one, from 0 to the rate %g",
                       spec->rate_min, spec->rate);
    if (spec->warm_up < 0)
        return ad_fail(error, "fit: %ld steps of warm-up", spec->warm_up);
    if (!(spec->clip >= 0) || !isfinite(spec->clip))
        return ad_fail(error, "fit: gradients clipped at a norm of %g: it is positive, or 0 for none", spec->clip);
    if (!(spec->label_smoothing >= 0 && spec->label_smoothing < 1))
        return ad_fail(error, "fit: label smoothing %g is not from 0 and below 1", spec->label_smoothing);
    if (spec->label_smoothing > 0 && spec->loss != NN_CROSS_ENTROPY)
        return ad_fail(error, "fit: label smoothing is cross-entropy's");
    if (spec->patience < 0)
        return ad_fail(error, "fit: a patience of %ld epochs", spec->patience);
    if ((spec->patience > 0 || spec->best) && !spec->validation)
        return ad_fail(error, "fit: without validation data there is no patience and no best model");
    return 0;
}

double nn_schedule_factor(const nn_fit_spec *spec, long step, long steps, size_t per_epoch)
{
    double t = (double)(step - spec->warm_up), total = (double)(steps - spec->warm_up);
    if (t < 0)
        return (double)(step + 1) / (double)(spec->warm_up + 1);
    if (spec->schedule == NN_RATE_STEP)
        return pow(spec->gamma, floor(t / (double)per_epoch / spec->step_size));
    if (spec->schedule == NN_RATE_COSINE) {
        double least = spec->rate > 0 ? spec->rate_min / spec->rate : 0;
        return least + (1 - least) * (1 + cos(pi * t / total)) / 2;
    }
    return 1;
}
