/* normal_basis.c: normal draws, each orthogonal to 1 and to all others: points of Sobol's sequence through the normal
 * law's quantiles, then orthonormalised. */
#include "autodiff/base/base.h"
#include "tp/executor/draws.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* ---- projections ---- */
static double norm(const double *x, size_t length, double weight)
{
    return sqrt(weight * cblas_ddot((int)length, x, 1, x, 1));
}

/* c (count, b->n) += weight x b'; x -= that part, rows of b after rows, so that few are twice in the nearest cache. */
static int project_once(int count, double *x, const tp_rows *b, int first, double weight, double *c, int stride,
                        ad_error *error)
{
    enum { CHUNK = 32 };
    int length = (int)b->length;
    double *part = count > 0 ? ad_alloc((size_t)count * CHUNK, sizeof *part, "a projection", error) : NULL;
    if (count > 0 && !part)
        return -1;
    for (int start = first; start < b->n && count > 0; start += CHUNK) {
        int n = b->n - start < CHUNK ? b->n - start : CHUNK;
        const double *rows = tp_row(b, start);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, n, length, weight, x, length, rows, length, 0, part,
                    n);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, length, n, -1, part, n, rows, length, 1, x,
                    length);
        for (int i = 0; c && i < count; i++)
            for (int k = 0; k < n; k++)
                c[i * stride + start + k] += part[i * n + k];
    }
    ad_free(part);
    return 0;
}

/* The same until nothing is left along b: twice, but once where all rows keep so much of their length that the first
 * projection's roundings are small beside what is left (Daniel, Gragg, Kaufman and Stewart 1976). */
static int project_rows(int count, double *x, const tp_rows *b, int first, double weight, double *c, int stride,
                        ad_error *error)
{
    enum { MOST = 64 };
    const double enough = 0.5;
    double before[MOST];
    bool left = count <= MOST;
    if (b->n <= first)
        return 0;
    for (int i = 0; i < count && left; i++)
        before[i] = norm(x + (size_t)i * b->length, b->length, weight);
    if (project_once(count, x, b, first, weight, c, stride, error))
        return -1;
    for (int i = 0; i < count && left; i++)
        left = norm(x + (size_t)i * b->length, b->length, weight) > enough * before[i];
    return left ? 0 : project_once(count, x, b, first, weight, c, stride, error);
}

int tp_orthonormalise(int count, double *x, tp_rows *b, double weight, double minimum, double *c, int stride,
                      ad_error *error)
{
    enum { PANEL = 16 };
    size_t length = b->length;
    if (count > 0 && !tp_rows_grow(b, count, error))
        return -1;
    for (int start = 0; start < count; start += PANEL) {
        int panel = count - start < PANEL ? count - start : PANEL, before = b->n;
        double *p = x + (size_t)start * length, *coefficients = c ? c + (size_t)start * (size_t)stride : NULL,
               size[PANEL];
        for (int i = 0; i < panel; i++)
            size[i] = norm(p + (size_t)i * length, length, weight);
        if (project_rows(panel, p, b, 0, weight, coefficients, stride, error))
            return -1;
        for (int i = 0; i < panel; i++) {
            double *r = p + (size_t)i * length, *own = coefficients ? coefficients + (size_t)i * (size_t)stride : NULL;
            if (project_rows(1, r, b, before, weight, own, stride, error))
                return -1;
            double left = norm(r, length, weight);
            if (!(left > minimum * size[i]))
                continue;
            double *q = tp_row(b, b->n);
            for (size_t s = 0; s < length; s++)
                q[s] = r[s] / left;
            if (own)
                own[b->n] += left;
            b->n++;
        }
    }
    return 0;
}

/* ---- draws ---- */
/* The normal law's quantiles at (k + shift) / 2^bits, from the middle outwards, each from the last. The shift, uniform
 * in (0, 1), is the part of the points below their last bit: with it the mean of any function of one draw has the right
 * expectation, and independent runs differ by what the rule leaves out, in the tails above all. */
static void fill_quantiles(double *z, int bits, double shift)
{
    size_t count = (size_t)1 << bits, half = count / 2;
    double below = 0, above = 0;
    for (size_t k = half; k-- > 0;) {
        z[k] = below = ad_normal_quantile(((double)k + shift) / (double)count, below);
        z[count - 1 - k] = above = -ad_normal_quantile(((double)k + 1 - shift) / (double)count, -above);
    }
}

int tp_space_new(tp_space *space, size_t size, uint64_t seed, ad_error *error)
{
    *space = (tp_space){ .basis.length = size };
    double *one = tp_rows_grow(&space->basis, 1, error);
    if (!one)
        return -1;
    for (size_t s = 0; s < size; s++)
        one[s] = 1;
    tp_space_restart(space, seed);
    return 0;
}

void tp_space_restart(tp_space *space, uint64_t seed)
{
    ad_free(space->sobol.taken);
    ad_free(space->quantile);
    space->quantile = NULL;
    space->sobol = (tp_sobol){ .seed = seed, .bits = 2 };
    while (space->sobol.bits < 30 && (size_t)1 << space->sobol.bits < space->basis.length)
        space->sobol.bits++;
    space->basis.n = 1;
    space->drawn = 0;
}

void tp_space_free(tp_space *space)
{
    ad_free(space->basis.data);
    ad_free(space->sobol.taken);
    ad_free(space->quantile);
}

int tp_space_keep(tp_space *space, const tp_rows *rows, int first, ad_error *error)
{
    size_t size = space->basis.length;
    int count = rows->n - first;
    double *to = count > 0 ? tp_rows_grow(&space->basis, count, error) : NULL;
    if (count <= 0)
        return 0;
    if (!to)
        return -1;
    memcpy(to, tp_row(rows, first), (size_t)count * size * sizeof *to);
    return tp_orthonormalise(count, to, &space->basis, 1 / (double)size, 1e-8, NULL, 0, error);
}

enum {
    MOST_TAKEN = 4,   /* a share of all rules of first bits, each of which one dimension alone may have */
    MOST_MATCHED = 48 /* plain draws that are orthogonal: so linear networks are exact, and few draws stay even */
};

/* With the first draw: independent ones need no quantiles. */
static int make_quantiles(tp_space *space, ad_error *error)
{
    size_t count = (size_t)1 << space->sobol.bits;
    double shift;
    space->sobol.taken = ad_alloc(count, 1, "normal quantiles", error);
    space->quantile = space->sobol.taken ? ad_alloc(count, sizeof(double), "normal quantiles", error) : NULL;
    if (!space->quantile)
        return -1;
    ad_uniform(space->sobol.seed, ad_stream("quantiles"), 0, 1, &shift);
    fill_quantiles(space->quantile, space->sobol.bits, shift);
    return 0;
}

static int raw_draws(tp_space *space, int count, double *z, ad_error *error)
{
    size_t size = space->basis.length;
    if (!space->quantile && make_quantiles(space, error))
        return -1;
    uint32_t *points = ad_alloc(size, sizeof *points, "points", error);
    if (!points)
        return -1;
    for (int k = 0; k < count; k++) {
        tp_sobol_next(&space->sobol, size, points);
        for (size_t s = 0; s < size; s++)
            z[(size_t)k * size + s] = space->quantile[points[s]];
    }
    ad_free(points);
    return 0;
}

/* Which dimension comes next tells all of the sequence: the first ones are gone through again. */
int tp_space_state(tp_space *space, tp_state *state, int number, ad_error *error)
{
    const uint64_t most = 1 << 24;
    size_t size = space->basis.length;
    uint64_t dimension = (uint64_t)space->sobol.dimension;
    if (tp_state_rows(state, &space->basis, "space.%d.basis", number) ||
        tp_state_counts(state, &dimension, 1, "space.%d.dimension", number))
        return -1;
    if (!tp_state_reads(state))
        return 0;
    if (dimension > most || dimension < (uint64_t)space->sobol.dimension || space->basis.n < 1)
        return ad_fail(error, "a checkpoint: space.%d holds no draws of this training", number);
    if (dimension && !space->quantile && make_quantiles(space, error))
        return -1;
    uint32_t *points = ad_alloc(size, sizeof *points, "points", error);
    for (uint64_t k = (uint64_t)space->sobol.dimension; points && k < dimension; k++)
        tp_sobol_next(&space->sobol, size, points);
    ad_free(points);
    return points ? 0 : -1;
}

/* A Gaussian matrix is independent of what is orthogonal to all that its products have shown of it. */
static int draw_independent(tp_space *space, int count, const tp_rows *avoid, tp_rows *out, ad_error *error)
{
    size_t size = space->basis.length, total = (size_t)count * size;
    double *to = tp_rows_grow(out, count, error);
    if (!to)
        return -1;
    ad_normal(space->sobol.seed, ad_stream("independent draws"), space->drawn, total, to);
    space->drawn += total;
    if (avoid && project_rows(count, to, avoid, 0, 1 / (double)size, NULL, 0, error))
        return -1;
    out->n += count;
    return 0;
}

/* Mean 0 and variance 1; false where all numbers are one. */
static bool normalise(double *z, size_t size)
{
    double sum = 0, squares = 0;
    for (size_t s = 0; s < size; s++)
        sum += z[s];
    for (size_t s = 0; s < size; s++) {
        z[s] -= sum / (double)size;
        squares += z[s] * z[s];
    }
    if (!(squares > 0))
        return false;
    cblas_dscal((int)size, 1 / sqrt(squares / (double)size), z, 1);
    return true;
}

int tp_draw(tp_space *space, int count, const tp_rows *avoid, tp_rows *out, ad_error *error)
{
    size_t size = space->basis.length;
    int n = avoid ? avoid->n : 0, before = space->basis.n, status = -1;
    if (space->independent)
        return draw_independent(space, count, avoid, out, error);
    if (2 * ((size_t)before + (size_t)count) > size + 2)
        return ad_fail(error,
                       "%zu samples are too few: more than %d draws are needed, and at least twice as many samples",
                       size, before + count - 1);
    tp_rows beyond = { .length = size }; /* what `avoid` spans beyond the draws so far */
    double *kept = ad_reserve((size_t)n * size + 1, sizeof *kept, "a projection", error);
    double *z = tp_rows_grow(&space->basis, count, error);
    double weight = 1 / (double)size;
    if (!kept || !z || raw_draws(space, count, z, error))
        goto done;
    for (int k = 0; k < n; k++)
        memcpy(kept + (size_t)k * size, tp_row(avoid, k), size * sizeof *kept);
    if (project_rows(n, kept, &space->basis, 0, weight, NULL, 0, error))
        goto done;
    for (int k = 0; k < n; k++) /* rows of avoid have length 1: what is left below this is rounding */
        if (norm(kept + (size_t)k * size, size, weight) < 1e-8)
            memset(kept + (size_t)k * size, 0, size * sizeof *kept);
    if (tp_orthonormalise(n, kept, &beyond, weight, 1e-8, NULL, 0, error))
        goto done;
    if (project_rows(count, z, &beyond, 0, weight, NULL, 0, error))
        goto done;
    if (tp_orthonormalise(count, z, &space->basis, weight, 1e-3, NULL, 0, error))
        goto done;
    if (space->basis.n != before + count) {
        ad_fail(error, "%zu samples are too few: nothing is left of a draw after %d others", size, before);
        goto done;
    }
    double *to = tp_rows_grow(out, count, error);
    if (!to)
        goto done;
    memcpy(to, tp_row(&space->basis, before), (size_t)count * size * sizeof *to);
    out->n += count;
    status = 0;
done:
    ad_free(beyond.data);
    ad_free(kept);
    return status;
}

int tp_draw_plain(tp_space *space, int count, bool signs, tp_rows *out, ad_error *error)
{
    size_t size = space->basis.length, taken = (size_t)space->basis.n + (size_t)count;
    if (!space->independent && !signs && taken <= MOST_MATCHED && taken <= size / 8)
        return tp_draw(space, count, NULL, out, error);
    double *to = tp_rows_grow(out, count, error);
    if (!to)
        return -1;
    for (int k = 0; k < count;) {
        if (space->independent || (size_t)space->sobol.dimension >= size / MOST_TAKEN) {
            ad_normal(space->sobol.seed, ad_stream("independent draws"), space->drawn, size, to);
            space->drawn += size;
        } else if (raw_draws(space, 1, to, error)) {
            return -1;
        }
        for (size_t s = 0; signs && !space->independent && s < size; s++)
            to[s] = to[s] > 0 ? 1 : -1;
        if (!space->independent && !normalise(to, size))
            continue; /* few signs may all be alike, and are drawn anew */
        out->n++;
        k++;
        to += size;
    }
    return 0;
}
