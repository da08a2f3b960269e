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

/* Squares of larger ones would leave a double's range when so many are summed up as a set may have. A mean square that
 * is below the least one has lost digits, and what is divided by its root might leave the range, too. */
static const double largest = 1e145, least_square = 1e-300;

static int is_too_large(const ds_data *data, ad_error *error)
{
    for (size_t i = 0; i < data->rows * data->features; i++)
        if (!(fabs(data->x[i]) <= largest))
            return ad_fail(error,
                           "%s: row %zu has %g, too large to be scaled: divide the numbers first, or leave them "
                           "as they are (unit)",
                           data->name, i / data->features + 1, data->x[i]);
    return 0;
}

static int is_too_small(const ds_data *data, const char *what, size_t which, ad_error *error)
{
    return ad_fail(error,
                   "%s: %s %zu varies, but by less than can be squared: multiply the numbers first, or leave "
                   "them as they are (unit)",
                   data->name, what, which);
}

/* x <- (x - m) / s with m = E x, s^2 = E (x - m)^2 over all features of the training rows. The mean is taken about
 * the first element, which makes constant data exactly 0. */
static int standardize(ds_data *data, size_t train, ad_error *error)
{
    double count = (double)train * (double)data->features;
    double mean = data->x[0] + sum(data, train, data->x[0], 1) / count;
    double square = sum(data, train, mean, 2) / count;
    double inverse = square >= least_square ? 1 / sqrt(square) : 0;
    for (size_t r = 0; r < train && !(square >= least_square); r++)
        for (size_t j = 0; j < data->features; j++)
            if (data->x[r * data->features + j] != data->x[0])
                return is_too_small(data, "row", r + 1, error);
    for (size_t i = 0; i < data->rows * data->features; i++)
        data->x[i] = (data->x[i] - mean) * inverse;
    return 0;
}

/* The same for each feature j. Equality, not the rounded deviation, says whether a feature is constant. */
static int standardize_features(ds_data *data, size_t train, ad_error *error)
{
    size_t n = data->features;
    double *mean = ad_alloc(2 * n, sizeof *mean, "the features' means", error);
    if (!mean)
        return -1;
    double *inverse = mean + n;
    for (size_t r = 0; r < train; r++)
        for (size_t j = 0; j < n; j++) {
            mean[j] += data->x[r * n + j];
            if (data->x[r * n + j] != data->x[j])
                inverse[j] = 1;
        }
    for (size_t j = 0; j < n; j++) {
        mean[j] /= (double)train;
        if (inverse[j] > 0) {
            double square = 0;
            for (size_t r = 0; r < train; r++)
                square += (data->x[r * n + j] - mean[j]) * (data->x[r * n + j] - mean[j]);
            square /= (double)train;
            if (!(square >= least_square)) {
                ad_free(mean);
                return is_too_small(data, "feature", j + 1, error);
            }
            inverse[j] = 1 / sqrt(square);
        }
    }
    for (size_t r = 0; r < data->rows; r++)
        for (size_t j = 0; j < n; j++) {
            double *x = &data->x[r * n + j];
            *x = inverse[j] > 0 ? (*x - mean[j]) * inverse[j] : 0;
        }
    ad_free(mean);
    return 0;
}

static double square_of(const double *x, size_t n)
{
    double square = 0;
    for (size_t j = 0; j < n; j++)
        square += x[j] * x[j];
    return square;
}

/* Each row x <- x sqrt(features) / |x|. */
static int to_sphere(ds_data *data, ad_error *error)
{
    for (size_t r = 0; r < data->rows; r++) {
        const double *x = data->x + r * data->features;
        bool small = square_of(x, data->features) < least_square;
        for (size_t j = 0; small && j < data->features; j++)
            if (fabs(x[j]) > 0)
                return is_too_small(data, "row", r + 1, error);
    }
    for (size_t r = 0; r < data->rows; r++) {
        double *x = data->x + r * data->features, square = square_of(x, data->features);
        double factor = square >= least_square ? sqrt((double)data->features / square) : 0;
        for (size_t j = 0; j < data->features; j++)
            x[j] *= factor;
    }
    return 0;
}

int ds_scale(ds_data *data, const ds_options *options, ad_error *error)
{
    ds_options chosen = options ? *options : (ds_options){ .scaling = DS_STANDARD };
    size_t train = chosen.train ? chosen.train : data->rows * 4 / 5;
    if (train > data->rows)
        return ad_fail(error, "%s: %zu training rows wanted, there are %zu rows", data->name, train, data->rows);
    if (!train)
        train = 1;
    int failed = chosen.scaling == DS_UNIT ? 0 : is_too_large(data, error);
    switch (chosen.scaling) {
    case DS_STANDARD:
        failed = failed || standardize(data, train, error);
        break;
    case DS_UNIT:
        break;
    case DS_PIXELWISE:
        failed = failed || standardize_features(data, train, error);
        break;
    case DS_SPHERE:
        failed = failed || to_sphere(data, error);
        break;
    default:
        return ad_fail(error, "%s: no scaling has number %d", data->name, (int)chosen.scaling);
    }
    if (failed)
        return -1;
    data->train = train;
    return 0;
}
