/* running_statistics.c: what batch normalisation keeps of the batches of a fit. After each step, with N the numbers that
 * a mean is of,
 *
 *     running_mean = (1 - momentum) running_mean + momentum m
 *     running_var  = (1 - momentum) running_var  + momentum v N / (N - 1)
 *
 * as PyTorch does; v itself is biased. A batch of one (N = 1) has no variance to tell of, and moves the mean alone. */
#include "nn/model/model.h"

#include <math.h>

/* How many numbers a mean is of. */
static double count_of(const nn_model *model, const nn_norm *norm, const ad_sizes *sizes)
{
    return (double)ad_elements(model->net->graph, &norm->over, sizes);
}

#define LOOP(real)                                                                                                     \
    static void move_##real(size_t n, real keep, real add, const real *restrict batch, real *restrict running)         \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            running[i] = keep * running[i] + add * batch[i];                                                           \
    }
LOOP(float)
LOOP(double)

void nn_norm_update(nn_model *model, const ad_plan *plan, int first, size_t rows)
{
    ad_sizes sizes = nn_sizes(model, rows);
    int k = 0;
    for (const nn_norm *norm = model->net->norms; norm; norm = norm->next)
        for (int i = 0; i < 2; i++, k++) {
            double n = count_of(model, norm, &sizes), add = norm->momentum;
            size_t count;
            void *running = nn_statistic(model, k, &count);
            const void *batch = ad_output(plan, first + k);
            if (i == 1 && n < 2)
                continue;
            add *= i == 1 ? n / (n - 1) : 1;
            if (model->type == AD_FLOAT)
                move_float(count, (float)(1 - norm->momentum), (float)add, batch, running);
            else
                move_double(count, 1 - norm->momentum, add, batch, running);
        }
}

int nn_norm_check_rows(const nn_model *model, size_t rows, ad_error *error)
{
    ad_sizes sizes = nn_sizes(model, rows);
    for (const nn_norm *norm = model->net->norms; norm; norm = norm->next)
        if (norm->exact && count_of(model, norm, &sizes) < 2)
            return ad_fail(error, "batchnorm %s: a batch of one sample has variance 0, and epsilon is 0", norm->name);
    return 0;
}

/* Of equal samples, products may differ by a few roundings, and in double their mean by N (in float it is summed in
 * double). */
int nn_norm_check(const nn_model *model, const ad_plan *plan, int first, size_t rows, ad_error *error)
{
    ad_sizes sizes = nn_sizes(model, rows);
    for (const nn_norm *norm = model->net->norms; norm; norm = norm->next, first += 2) {
        if (!norm->exact)
            continue;
        size_t count = ad_elements(model->net->graph, ad_shape_get(norm->batch[0]), &sizes);
        const void *means = ad_output(plan, first), *variances = ad_output(plan, first + 1);
        double rounding = model->type == AD_FLOAT ? 4 * 1.2e-7 : fmax(4, count_of(model, norm, &sizes)) * 2.3e-16;
        for (size_t i = 0; i < count; i++) {
            double least = rounding * nn_value(means, i, model->type);
            if (nn_value(variances, i, model->type) <= least * least)
                return ad_fail(error, "batchnorm %s: unit %zu has variance 0 over the batch, and epsilon is 0",
                               norm->name, i);
        }
    }
    return 0;
}
