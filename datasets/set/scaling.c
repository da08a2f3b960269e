/* scaling.c: the scalings, each a pass for the mean, one for the deviation and one over all rows. */
#include "datasets/datasets.h"

#include <math.h>

/* The sum of (x - shift)^power, power 1 or 2, over `count` rows; by rows, so that rounding stays small. */
static double sum(const ds_data *data, size_t count, double shift, int power)
{
    double total = 0;
    for (size_t r = 0; r < count; r++) {
        const double *x = data->x + r * data->features;
        double row = 0;
        for (size_t j = 0; j < data->features; j++)
            row += power == 1 ? x[j] - shift : (x[j] - shift) * (x[j] - shift);
        total += row;
    }
    return total;
}

/* x <- (x - m) / s with m = E x, s^2 = E (x - m)^2 over all features of the training rows. The mean is taken about
 * the first element, which makes constant data exactly 0. */
static void standardize(ds_data *data, size_t train)
{
    double count = (double)train * (double)data->features;
    double mean = data->x[0] + sum(data, train, data->x[0], 1) / count;
    double square = sum(data, train, mean, 2) / count;
    double inverse = square > 0 ? 1 / sqrt(square) : 0;
    for (size_t i = 0; i < data->rows * data->features; i++)
        data->x[i] = (data->x[i] - mean) * inverse;
}

/* The same for each feature j. Equality, not the rounded deviation, says whether a feature is constant. */
static int standardize_features(ds_data *data, size_t train, ad_error *error)
{
    size_t n = data->features;
    double *mean = ad_alloc(2 * n, sizeof *mean, "the features' means", error);
    if (!mean)
        return -1;
    double *inverse = mean + n;
    for (size_t i = 0; i < train * n; i++) {
        mean[i % n] += data->x[i];
        if (data->x[i] != data->x[i % n])
            inverse[i % n] = 1;
    }
    for (size_t j = 0; j < n; j++) {
        mean[j] /= (double)train;
        if (inverse[j] > 0) {
            double square = 0;
            for (size_t r = 0; r < train; r++)
                square += (data->x[r * n + j] - mean[j]) * (data->x[r * n + j] - mean[j]);
            inverse[j] = square > 0 ? 1 / sqrt(square / (double)train) : 0;
        }
    }
    for (size_t i = 0; i < data->rows * n; i++)
        data->x[i] = inverse[i % n] > 0 ? (data->x[i] - mean[i % n]) * inverse[i % n] : 0;
    ad_free(mean);
    return 0;
}

/* Each row x <- x sqrt(features) / |x|. */
static void to_sphere(ds_data *data)
{
    for (size_t r = 0; r < data->rows; r++) {
        double *x = data->x + r * data->features, square = 0;
        for (size_t j = 0; j < data->features; j++)
            square += x[j] * x[j];
        double factor = square > 0 ? sqrt((double)data->features / square) : 0;
        for (size_t j = 0; j < data->features; j++)
            x[j] *= factor;
    }
}

int ds_scale(ds_data *data, const ds_options *options, ad_error *error)
{
    ds_options chosen = options ? *options : (ds_options){ .scaling = DS_STANDARD };
    size_t train = chosen.train ? chosen.train : data->rows * 4 / 5;
    if (train > data->rows)
        return ad_fail(error, "%s: %zu training rows wanted, there are %zu rows", data->name, train, data->rows);
    if (!train)
        train = 1;
    switch (chosen.scaling) {
    case DS_STANDARD:
        standardize(data, train);
        break;
    case DS_UNIT:
        break;
    case DS_PIXELWISE:
        if (standardize_features(data, train, error) != 0)
            return -1;
        break;
    case DS_SPHERE:
        to_sphere(data);
        break;
    default:
        return ad_fail(error, "%s: no scaling has number %d", data->name, (int)chosen.scaling);
    }
    data->train = train;
    return 0;
}
