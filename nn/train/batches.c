/* batches.c: a data set in the model's type, and its batches: functions of (seed, epoch, step) alone. */
#include "nn/train/train.h"

#include <string.h>

void nn_feed_close(nn_feed *f)
{
    ad_free(f->x);
    ad_free(f->y);
    ad_free(f->order);
    ad_free(f->batch_x);
    ad_free(f->batch_y);
}

int nn_feed_open(nn_feed *f, const nn_net *net, ad_type type, const nn_data *data, const nn_fit_spec *spec,
                 ad_error *error)
{
    size_t bad = 0, rows = data->rows, features = nn_features(net);
    *f =
        (nn_feed){ .rows = rows, .features = features, .bytes = nn_bytes(type), .order_epoch = -1, .seed = spec->seed };
    if (nn_check_data(net, data, spec->loss, error) != 0)
        return -1;
    if (!(f->y = nn_targets(net, type, data, spec->loss, &f->columns, error)) ||
        !(f->x = ad_alloc(rows * features, f->bytes, "inputs", error)))
        return -1;
    if (!nn_convert(data->x, rows * features, type, f->x, &bad))
        return ad_fail(error, "x: row %zu holds a number that is not finite", bad / features);
    f->batch = spec->batch == 0 || spec->batch > rows ? rows : spec->batch;
    f->per_epoch = (rows + f->batch - 1) / f->batch;
    f->shuffled = f->batch < rows;
    if (f->shuffled && (!(f->order = ad_alloc(rows, sizeof *f->order, "the order of rows", error)) ||
                        !(f->batch_x = ad_alloc(f->batch * features, f->bytes, "a batch", error)) ||
                        !(f->batch_y = ad_alloc(f->batch * f->columns, f->bytes, "a batch", error))))
        return -1;
    return 0;
}

/* Fisher and Yates; the permutation is a function of seed and epoch alone. */
static void shuffle(nn_feed *f, long epoch)
{
    enum { DRAWS = 512 };
    double u[DRAWS];
    uint64_t stream = ad_stream("shuffle") ^ (uint64_t)epoch << 1;
    for (size_t i = 0; i < f->rows; i++)
        f->order[i] = i;
    for (size_t i = f->rows - 1, drawn = 0; i > 0; i--, drawn++) {
        if (drawn % DRAWS == 0)
            ad_uniform(f->seed, stream, drawn, DRAWS, u);
        size_t k = (size_t)(u[drawn % DRAWS] * (double)(i + 1)), swap = f->order[i];
        f->order[i] = f->order[k];
        f->order[k] = swap;
    }
    f->order_epoch = epoch;
}

size_t nn_feed_batch(nn_feed *f, long step, const void **x, const void **y)
{
    long epoch = step / (long)f->per_epoch;
    size_t first = (size_t)(step % (long)f->per_epoch) * f->batch;
    size_t count = f->rows - first < f->batch ? f->rows - first : f->batch;
    *x = f->x;
    *y = f->y;
    if (!f->shuffled)
        return count;
    if (f->order_epoch != epoch)
        shuffle(f, epoch);
    size_t wide = f->features * f->bytes, narrow = f->columns * f->bytes;
    for (size_t i = 0; i < count; i++) {
        size_t row = f->order[first + i];
        memcpy((char *)f->batch_x + i * wide, (const char *)f->x + row * wide, wide);
        memcpy((char *)f->batch_y + i * narrow, (const char *)f->y + row * narrow, narrow);
    }
    *x = f->batch_x;
    *y = f->batch_y;
    return count;
}
