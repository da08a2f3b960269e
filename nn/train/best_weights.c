/* best_weights.c: the weights of the smallest loss on a validation part, and when a fit has waited long enough for a
 * smaller one. */
#include "nn/train/train.h"

#include <math.h>
#include <string.h>

int nn_best_open(nn_best *best, const nn_model *model, const nn_fit_spec *spec, ad_error *error)
{
    *best = (nn_best){ .data = spec->validation, .loss = (double)INFINITY, .last = (double)NAN };
    if (!best->data)
        return 0;
    if (nn_check_data(model->net, best->data, spec->loss, error) != 0)
        return -1;
    best->values = ad_alloc(nn_values_size(model), nn_bytes(model->type), "the best weights", error);
    return best->values ? 0 : -1;
}

int nn_best_look(nn_best *best, nn_model *model, const nn_fit_spec *spec, long step, ad_error *error)
{
    if (nn_evaluate(model, best->data, spec->loss, &best->last, NULL, error) != 0)
        return -1;
    if (!(best->last < best->loss)) {
        best->wait++;
        return 0;
    }
    best->loss = best->last;
    best->step = (uint64_t)step;
    best->wait = 0;
    memcpy(best->values, model->values, nn_values_size(model) * nn_bytes(model->type));
    return spec->best ? nn_save(model, spec->best, error) : 0;
}

bool nn_best_is_over(const nn_best *best, const nn_fit_spec *spec)
{
    return spec->patience > 0 && best->wait >= (uint64_t)spec->patience;
}

void nn_best_restore(const nn_best *best, nn_model *model)
{
    if (best->step > 0)
        memcpy(model->values, best->values, nn_values_size(model) * nn_bytes(model->type));
}

void nn_best_close(nn_best *best)
{
    ad_free(best->values);
}
