/* place.c: a tile's values into the kernel, as doubles or floats. */
#include "tp/gauss/gauss.h"
#include "tp/recursion/solver.h"

#include <math.h>
#include <string.h>

enum { LANES = 8 };

static bool is_finite(size_t n, const double *x)
{
    double none[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            none[k] += 0 * x[i + k];
    for (; i < n; i++)
        none[0] += 0 * x[i];
    for (size_t k = 1; k < LANES; k++)
        none[0] += none[k];
    return !isnan(none[0]);
}

static bool are_finite_floats(size_t n, const float *x)
{
    enum { WIDE = 2 * LANES };
    float none[WIDE] = { 0 };
    size_t i = 0;
    for (; i + WIDE <= n; i += WIDE)
        for (size_t k = 0; k < WIDE; k++)
            none[k] += 0 * x[i + k];
    for (; i < n; i++)
        none[0] += 0 * x[i];
    for (size_t k = 1; k < WIDE; k++)
        none[0] += none[k];
    return !isnan(none[0]);
}

bool tp_place(const tp_solver *s, const tp_tile *t, const double *from, const float *from_floats,
              const double *diagonal, double *values)
{
    bool half = tp_by_halves(s), finite = true;
    for (size_t i = 0; i < t->rows; i++) {
        size_t row = t->row0 + i, first = half && row > t->column0 ? row - t->column0 : 0;
        if (first >= t->columns)
            continue;
        size_t n = t->columns - first, at = i * t->columns + first, own = row - t->column0;
        bool has_own = s->same && row >= t->column0 && own < t->columns;
        if (!s->floats) {
            double *to = values + row * s->rows[1] + t->column0;
            memcpy(to + first, from + at, n * sizeof *to);
            if (has_own)
                to[own] = diagonal[row];
            finite = finite && is_finite(n, to + first);
            continue;
        }
        float *to = s->floats + row * s->stride + t->column0;
        if (from_floats)
            memcpy(to + first, from_floats + at, n * sizeof *to);
        else
            tp_singles_at(0)->narrow(n, from + at, to + first);
        if (has_own)
            to[own] = (float)diagonal[row];
        finite = finite && are_finite_floats(n, to + first);
    }
    return finite;
}

int tp_beyond_range(const tp_solver *s, const tp_tile *t, ad_error *error)
{
    return ad_fail(error,
                   "the limit kernel leaves the range of a %s for inputs %zu to %zu and %zu to %zu: smaller inputs or "
                   "weights keep it",
                   s->floats ? "float (3.4e38)" : "double (1.8e308)", t->row0, t->row0 + t->rows - 1, t->column0,
                   t->column0 + t->columns - 1);
}

/* Squares of SIDE are turned in the nearest cache, while lines of the next ones are on their way to be written. */
#define MIRROR(name, type, SIDE)                                                                                       \
    static void turn_##name(const type *from, type *to, size_t stride)                                                 \
    {                                                                                                                  \
        for (size_t i = 0; i < SIDE; i++)                                                                              \
            for (size_t j = 0; j < SIDE; j++)                                                                          \
                to[i * stride + j] = from[j * stride + i];                                                             \
    }                                                                                                                  \
                                                                                                                       \
    static void mirror_##name(type *a, size_t stride, size_t row, size_t end_row, size_t column, size_t end)           \
    {                                                                                                                  \
        for (size_t j = column; j < end; j += SIDE)                                                                    \
            for (size_t i = row; i < end_row && i < j + SIDE; i += SIDE) {                                             \
                for (size_t m = j + SIDE; m < end && m < j + 2 * SIDE; m++)                                            \
                    __builtin_prefetch(a + m * stride + i, 1);                                                         \
                if (j + SIDE <= end && i + SIDE <= end_row && i + SIDE <= j) {                                         \
                    turn_##name(a + i * stride + j, a + j * stride + i, stride);                                       \
                    continue;                                                                                          \
                }                                                                                                      \
                for (size_t m = j; m < end && m < j + SIDE; m++)                                                       \
                    for (size_t n = i; n < end_row && n < i + SIDE && n < m; n++)                                      \
                        a[m * stride + n] = a[n * stride + m];                                                         \
            }                                                                                                          \
    }
MIRROR(doubles, double, (size_t)8)
MIRROR(floats, float, (size_t)16)
#undef MIRROR

void tp_place_mirrored(const tp_solver *s, const tp_kernel *kernel, size_t row, size_t end_row, size_t column,
                       size_t end)
{
    if (s->floats)
        mirror_floats(s->floats, s->stride, row, end_row, column, end);
    for (int k = 0; k < kernel->n_terms && !s->floats; k++)
        mirror_doubles(kernel->terms[k].values, kernel->rows2, row, end_row, column, end);
}
