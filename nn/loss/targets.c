/* targets.c: a data set against a network: its check, and its targets in the model's type. */
#include "nn/loss/loss.h"

#include <math.h>

const double *nn_target_row(const nn_data *data, size_t outputs, size_t row)
{
    return data->y + row * (data->classes ? 1 : outputs);
}

int nn_check_data(const nn_net *net, const nn_data *data, nn_loss loss, ad_error *error)
{
    size_t outputs = nn_n_outputs(net);
    if (data->rows == 0)
        return ad_fail(error, "data: no rows");
    if (loss == NN_CROSS_ENTROPY && data->classes == 0)
        return ad_fail(error, "data: cross-entropy needs class numbers as targets");
    if (data->classes > outputs)
        return ad_fail(error, "data: %zu classes, the network has %zu outputs", data->classes, outputs);
    size_t columns = data->classes ? 1 : outputs;
    for (size_t i = 0; i < data->rows * columns; i++) {
        double y = data->y[i];
        if (!isfinite(y))
            return ad_fail(error, "y: row %zu holds a number that is not finite", i / columns);
        if (data->classes && !(y >= 0 && y < (double)data->classes && !(fabs(y - floor(y)) > 0)))
            return ad_fail(error, "y: row %zu: %g is no class from 0 to %zu", i, y, data->classes - 1);
    }
    return 0;
}

void *nn_targets(const nn_net *net, ad_type type, const nn_data *data, nn_loss loss, size_t *columns, ad_error *error)
{
    size_t outputs = nn_n_outputs(net), bad = 0;
    *columns = loss == NN_CROSS_ENTROPY ? 1 : outputs;
    void *targets = ad_alloc(data->rows * *columns, nn_bytes(type), "targets", error);
    if (!targets)
        return NULL;
    if (loss == NN_CROSS_ENTROPY || data->classes == 0) {
        if (nn_convert(data->y, data->rows * *columns, type, targets, &bad))
            return targets;
        ad_fail(error, "y: row %zu holds a number that is not finite as float", bad / *columns);
        ad_free(targets);
        return NULL;
    }
    for (size_t i = 0; i < data->rows; i++) { /* one-hot rows */
        size_t at = i * outputs + (size_t)data->y[i];
        if (type == AD_FLOAT)
            ((float *)targets)[at] = 1;
        else
            ((double *)targets)[at] = 1;
    }
    return targets;
}
