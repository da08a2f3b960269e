/* spread.c: a matrix in blocks over ranks, and its products with arrays that are whole on each of them: each rank by
 * what it has, then one sum over all. */
#include "tp/ranks/ranks.h"

#include "autodiff/base/base.h"

#include <cblas.h>
#include <string.h>

enum { MOST_SIDE = 512, LEAST_SIDE = 16, BLOCKS = 8 };

size_t tp_spread_side(size_t n)
{
    size_t side = n / BLOCKS;
    return side > MOST_SIDE ? MOST_SIDE : side < LEAST_SIDE ? LEAST_SIDE : side;
}

/* Of n in blocks that ranks take in turn, how many are those of rank `place` of `grid`. */
static size_t share_of(size_t n, size_t side, int place, int grid)
{
    size_t blocks = n / side, turns = blocks / (size_t)grid, left = blocks % (size_t)grid, mine = turns * side;
    return mine + ((size_t)place < left ? side : (size_t)place == left ? n % side : 0);
}

size_t tp_spread_whole(const tp_spread *s, int along, size_t local)
{
    return (local / s->side * (size_t)s->grid[along] + (size_t)s->place[along]) * s->side + local % s->side;
}

tp_spread *tp_spread_new(size_t rows, size_t columns, size_t side, ad_error *error)
{
    tp_spread *s = ad_alloc(1, sizeof *s, "a matrix over ranks", error);
    int status = s ? 0 : -1;
    if (s) {
        *s = (tp_spread){ .rows = rows, .columns = columns, .side = side };
        tp_spread_grid(s->grid, s->place);
        s->local[0] = share_of(rows, side, s->place[0], s->grid[0]);
        s->local[1] = share_of(columns, side, s->place[1], s->grid[1]);
        if (rows > INT32_MAX / 2 || columns > INT32_MAX / 2 || (double)s->local[0] * (double)s->local[1] > INT32_MAX)
            status = ad_fail(error,
                             "a matrix of (%zu, %zu) is too large for %d ranks: a rank's share is below 2^31 "
                             "numbers",
                             rows, columns, tp_n_ranks());
    }
    if (!status &&
        (!(s->values = ad_alloc(s->local[0] * s->local[1] + 1, sizeof *s->values, "a rank's blocks", error)) ||
         tp_spread_describe(s, error)))
        status = -1;
    if (!tp_ranks_agree(status, error))
        return s;
    tp_spread_free(s);
    return NULL;
}

void tp_spread_free(tp_spread *s)
{
    if (!s)
        return;
    ad_free(s->values);
    ad_free(s);
}

void tp_spread_clear(tp_spread *s)
{
    for (size_t k = 0; k < s->local[1]; k++)
        for (size_t i = 0; i < s->local[0] && tp_spread_whole(s, 0, i) < tp_spread_whole(s, 1, k); i++)
            s->values[k * s->local[0] + i] = 0;
}

/* The rows of v (whole, count) that a rank has along an axis, and what it found of them added to out's. */
static void pick(const tp_spread *s, int along, const double *v, size_t count, double *local)
{
    for (size_t i = 0; i < s->local[along]; i++)
        memcpy(local + i * count, v + tp_spread_whole(s, along, i) * count, count * sizeof *v);
}

static void add(const tp_spread *s, int along, const double *local, size_t count, double *out)
{
    for (size_t i = 0; i < s->local[along]; i++)
        for (size_t c = 0; c < count; c++)
            out[tp_spread_whole(s, along, i) * count + c] += local[i * count + c];
}

/* out += A v or A' v, of what this rank has. */
static void multiply_own(const tp_spread *a, bool transposed, const double *v, size_t count, double *scratch,
                         double *out)
{
    int from = transposed ? 0 : 1, to = 1 - from;
    double *other = scratch + a->local[from] * count;
    if (!a->local[0] || !a->local[1])
        return;
    pick(a, from, v, count, scratch);
    /* the columns' storage is that of A' by rows */
    cblas_dgemm(CblasRowMajor, transposed ? CblasNoTrans : CblasTrans, CblasNoTrans, (int)a->local[to], (int)count,
                (int)a->local[from], 1, a->values, (int)a->local[0], scratch, (int)count, 0, other, (int)count);
    add(a, to, other, count, out);
}

static double *scratch_of(const tp_spread *a, size_t count, ad_error *error)
{
    double *scratch = ad_alloc((a->local[0] + a->local[1]) * count + 1, sizeof *scratch, "a product", error);
    if (!tp_ranks_agree(scratch ? 0 : -1, error))
        return scratch;
    ad_free(scratch);
    return NULL;
}

int tp_spread_multiply(const tp_spread *a, bool transposed, const double *v, size_t count, double *out, ad_error *error)
{
    size_t rows = transposed ? a->columns : a->rows;
    double *scratch = scratch_of(a, count, error);
    if (!scratch)
        return -1;
    memset(out, 0, rows * count * sizeof *out);
    multiply_own(a, transposed, v, count, scratch, out);
    tp_ranks_sum(out, rows * count);
    ad_free(scratch);
    return 0;
}

int tp_spread_symmetric(const tp_spread *k, const double *v, size_t count, double *out, ad_error *error)
{
    double *scratch = scratch_of(k, count, error);
    if (!scratch)
        return -1;
    memset(out, 0, k->rows * count * sizeof *out);
    multiply_own(k, false, v, count, scratch, out);
    multiply_own(k, true, v, count, scratch, out);
    for (size_t i = 0, j = 0; i < k->local[0] && j < k->local[1];) { /* the diagonal was counted twice */
        size_t row = tp_spread_whole(k, 0, i), column = tp_spread_whole(k, 1, j);
        for (size_t c = 0; c < count && row == column; c++)
            out[row * count + c] -= k->values[j * k->local[0] + i] * v[row * count + c];
        i += row <= column;
        j += column <= row;
    }
    tp_ranks_sum(out, k->rows * count);
    ad_free(scratch);
    return 0;
}
