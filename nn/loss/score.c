/* score.c: losses and accuracies of outputs, in double, without the graph. */
#include "nn/loss/loss.h"

#include "autodiff/base/base.h"

#include <math.h>

/* The class whose output is the largest; `outputs`, which is none, where one is NaN. */
static size_t class_of(const double *f, size_t outputs)
{
    size_t best = 0;
    for (size_t o = 0; o < outputs; o++) {
        if (isnan(f[o]))
            return outputs;
        best = f[o] > f[best] ? o : best;
    }
    return best;
}

/* The loss of one row in double: f (outputs), y one class number or (outputs). */
static double row_loss(nn_loss loss, const double *f, const double *y, size_t outputs)
{
    double most = f[0], sum = 0;
    if (loss == NN_SQUARE) {
        for (size_t o = 0; o < outputs; o++)
            sum += (f[o] - y[o]) * (f[o] - y[o]);
        return sum / 2;
    }
    for (size_t o = 1; o < outputs; o++)
        most = f[o] > most ? f[o] : most;
    for (size_t o = 0; o < outputs; o++)
        sum += exp(f[o] - most);
    return most + log(sum) - f[(size_t)y[0]];
}

void nn_score(nn_loss loss, const double *f, const nn_data *data, size_t outputs, double *one_hot, double *mean_loss,
              double *accuracy)
{
    size_t right = 0;
    double sum = 0;
    for (size_t i = 0; i < data->rows; i++) {
        const double *row = f + i * outputs, *y = nn_target_row(data, outputs, i);
        if (data->classes) {
            size_t label = (size_t)y[0];
            right += class_of(row, outputs) == label;
            if (loss == NN_SQUARE) {
                for (size_t o = 0; o < outputs; o++)
                    one_hot[o] = o == label ? 1 : 0;
                y = one_hot;
            }
        }
        sum += row_loss(loss, row, y, outputs);
    }
    *mean_loss = sum / (double)data->rows;
    *accuracy = data->classes ? (double)right / (double)data->rows : (double)NAN;
}

int nn_evaluate(nn_model *model, const nn_data *data, nn_loss loss, double *mean_loss, double *accuracy,
                ad_error *error)
{
    if (!ad_given(model, "the model", error) || !ad_given(data, "its data", error))
        return -1;
    size_t outputs = nn_n_outputs(model->net);
    double mean = 0, share = 0;
    if (nn_check_data(model->net, data, loss, error) != 0)
        return -1;
    double *f = ad_alloc(data->rows * outputs, sizeof *f, "outputs", error);
    double *one_hot = ad_alloc(outputs, sizeof *one_hot, "a target", error);
    int failed = !f || !one_hot || nn_forward(model, data->x, data->rows, f, error) != 0 ? -1 : 0;
    if (!failed)
        nn_score(loss, f, data, outputs, one_hot, &mean, &share);
    if (!failed && mean_loss)
        *mean_loss = mean;
    if (!failed && accuracy)
        *accuracy = share;
    ad_free(f);
    ad_free(one_hot);
    return failed;
}
