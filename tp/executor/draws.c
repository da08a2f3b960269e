#include "tp/executor/draws.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* ---- rows ---- */
/* Room for `more` rows; the rows' address, NULL without memory. */
static double *grow(tp_rows *rows, int more, ad_error *error)
{
    if (rows->n + more > rows->room) {
        int room = rows->n + more > 2 * rows->room ? rows->n + more : 2 * rows->room;
        double *larger = ad_reserve((size_t)room * rows->length, sizeof *larger, "vectors at n = infinity", error);
        if (!larger)
            return NULL;
        if (rows->n)
            memcpy(larger, rows->data, (size_t)rows->n * rows->length * sizeof *larger);
        ad_free(rows->data);
        rows->data = larger;
        rows->room = room;
    }
    return rows->data + (size_t)rows->n * rows->length;
}

static double *row(const tp_rows *rows, int k)
{
    return rows->data + (size_t)k * rows->length;
}

/* c (count, b->n) += weight x b'; x -= that part. */
static int project(int count, double *x, const tp_rows *b, int first, double weight, double *c, int stride,
                   ad_error *error)
{
    int n = b->n - first, length = (int)b->length;
    if (n <= 0 || count <= 0)
        return 0;
    double *part = ad_alloc((size_t)count * (size_t)n, sizeof *part, "a projection", error);
    if (!part)
        return -1;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, n, length, weight, x, length, row(b, first), length, 0,
                part, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, length, n, -1, part, n, row(b, first), length, 1, x,
                length);
    for (int i = 0; c && i < count; i++)
        for (int k = 0; k < n; k++)
            c[i * stride + first + k] += part[i * n + k];
    ad_free(part);
    return 0;
}

static double norm(const double *x, size_t length, double weight)
{
    return sqrt(weight * cblas_ddot((int)length, x, 1, x, 1));
}

/* Gram-Schmidt, each projection twice, in panels: the directions of x that are new, beyond `least` of the length of
 * their row, become rows of b. c (count, stride) receives the coefficients of x on b. x is used up, and may be b's
 * tail. */
static int orthonormalise(int count, double *x, tp_rows *b, double weight, double least, double *c, int stride,
                          ad_error *error)
{
    enum { PANEL = 16 };
    size_t length = b->length;
    if (count > 0 && !grow(b, count, error))
        return -1;
    for (int start = 0; start < count; start += PANEL) {
        int panel = count - start < PANEL ? count - start : PANEL, before = b->n;
        double *p = x + (size_t)start * length, *coefficients = c ? c + start * stride : NULL, size[PANEL];
        for (int i = 0; i < panel; i++)
            size[i] = norm(p + (size_t)i * length, length, weight);
        for (int pass = 0; pass < 2; pass++)
            if (project(panel, p, b, 0, weight, coefficients, stride, error))
                return -1;
        for (int i = 0; i < panel; i++) {
            double *r = p + (size_t)i * length, *own = coefficients ? coefficients + i * stride : NULL;
            for (int pass = 0; pass < 2; pass++)
                if (project(1, r, b, before, weight, own, stride, error))
                    return -1;
            double left = norm(r, length, weight);
            if (!(left > least * size[i]))
                continue;
            double *q = row(b, b->n);
            for (size_t s = 0; s < length; s++)
                q[s] = r[s] / left;
            if (own)
                own[b->n] += left;
            b->n++;
        }
    }
    return 0;
}

/* ---- Sobol's sequence ---- */
static uint32_t multiply(uint32_t a, uint32_t b, uint32_t polynomial, int degree)
{
    uint32_t product = 0;
    for (; b; b >>= 1) {
        if (b & 1)
            product ^= a;
        a <<= 1;
        if (a >> degree & 1)
            a ^= polynomial;
    }
    return product;
}

static uint32_t power_of_x(uint32_t exponent, uint32_t polynomial, int degree)
{
    uint32_t result = 1, square = degree == 1 ? 1 : 2;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1)
            result = multiply(result, square, polynomial, degree);
        square = multiply(square, square, polynomial, degree);
    }
    return result;
}

/* x generates all of the field's 2^degree - 1 units. */
static bool is_primitive(uint32_t polynomial, int degree)
{
    uint32_t order = ((uint32_t)1 << degree) - 1, rest = order;
    if (power_of_x(order, polynomial, degree) != 1)
        return false;
    for (uint32_t prime = 2; prime <= rest; prime++) {
        if (rest % prime)
            continue;
        if (power_of_x(order / prime, polynomial, degree) == 1)
            return false;
        while (rest % prime == 0)
            rest /= prime;
    }
    return true;
}

/* The next primitive polynomial over two elements after *polynomial, by degree and size; back to x + 1 after degree
 * 15. */
static void next_primitive(uint32_t *polynomial, int *degree)
{
    do {
        *polynomial += 2;
        if (*polynomial >> (*degree + 1)) {
            *degree = *degree == 15 ? 1 : *degree + 1;
            *polynomial = ((uint32_t)1 << *degree) + 1;
        }
    } while (!is_primitive(*polynomial, *degree));
}

static uint32_t random_bits(uint64_t seed, uint64_t stream, int k)
{
    double u;
    ad_uniform(seed, stream, (uint64_t)k, 1, &u);
    return (uint32_t)(u * 4294967296.0);
}

static uint32_t parity(uint32_t x)
{
    return (uint32_t)__builtin_parity(x);
}

/* Direction numbers of the sequence's dimension with random odd initial numbers; dimension 0 is van der Corput's. */
static void directions(const tp_sobol *sobol, uint64_t stream, uint32_t *v)
{
    uint32_t m[32];
    int degree = sobol->degree;
    for (int i = 0; i < sobol->bits; i++) {
        if (sobol->dimension == 0)
            m[i] = 1;
        else if (i < degree)
            m[i] = (random_bits(sobol->seed, stream, i) & (((uint32_t)1 << i) - 1)) << 1 | 1;
        else {
            m[i] = m[i - degree] ^ m[i - degree] << degree;
            for (int k = 1; k < degree; k++)
                if (sobol->polynomial >> (degree - k) & 1)
                    m[i] ^= m[i - k] << k;
        }
        v[i] = m[i] << (sobol->bits - 1 - i);
    }
}

/* Which bits of the index the first bit of a point sums: two dimensions that share it are correlated by 0.64. */
static uint32_t first_bit(const uint32_t *v, int bits)
{
    uint32_t rule = 0;
    for (int i = 0; i < bits; i++)
        rule |= (v[i] >> (bits - 1) & 1) << i;
    return rule;
}

void tp_sobol_next(tp_sobol *sobol, size_t size, uint32_t *points)
{
    uint32_t v[32], whole = ((uint32_t)1 << sobol->bits) - 1;
    uint64_t stream = ad_stream("sobol") + 4 * (uint64_t)sobol->dimension;
    if (sobol->dimension < 2) {
        sobol->polynomial = 3;
        sobol->degree = 1;
    } else {
        next_primitive(&sobol->polynomial, &sobol->degree);
    }
    for (int attempt = 0; attempt < 32; attempt++) {
        directions(sobol, stream + ((uint64_t)attempt << 40), v);
        uint32_t rule = first_bit(v, sobol->bits);
        if (!sobol->taken || !sobol->taken[rule]++)
            break;
    }
    for (int i = 0; i < sobol->bits; i++) { /* a random lower triangular matrix over the bits, then a shift */
        uint32_t mixed = 0;
        for (int bit = sobol->bits - 1; bit >= 0; bit--) {
            uint32_t above = random_bits(sobol->seed, stream + 1, bit) & whole & ~(((uint32_t)2 << bit) - 1);
            mixed |= parity(v[i] & (above | (uint32_t)1 << bit)) << bit;
        }
        v[i] = mixed;
    }
    uint32_t point = random_bits(sobol->seed, stream + 2, 0) & whole;
    for (size_t s = 0; s < size; s++) {
        points[s] = point;
        if (s + 1 < size)
            point ^= v[__builtin_ctzll((unsigned long long)s + 1)];
    }
    sobol->dimension++;
}

/* ---- draws ---- */
/* The point below which the normal law has p <= 1/2, by Halley's steps from a point near it. */
static double quantile(double p, double x)
{
    const double sqrt_half = 0.70710678118654752440, root = 2.50662827463100050242;
    for (int step = 0; step < 8; step++) {
        double off = (0.5 * erfc(-x * sqrt_half) - p) * root * exp(x * x / 2);
        x -= off / (1 + x * off / 2);
    }
    return x;
}

/* The normal law's quantiles at (k + shift) / 2^bits, from the middle outwards, each from the last. The shift, uniform
 * in (0, 1), is the part of the points below their last bit: with it the mean of any function of one draw has the right
 * expectation, and independent runs differ by what the rule leaves out, in the tails above all. */
static void fill_quantiles(double *z, int bits, double shift)
{
    size_t count = (size_t)1 << bits, half = count / 2;
    double below = 0, above = 0;
    for (size_t k = half; k-- > 0;) {
        z[k] = below = quantile(((double)k + shift) / (double)count, below);
        z[count - 1 - k] = above = -quantile(((double)k + 1 - shift) / (double)count, -above);
    }
}

int tp_space_new(tp_space *space, size_t size, uint64_t seed, ad_error *error)
{
    *space = (tp_space){ .basis.length = size, .sobol = { .seed = seed, .bits = 2 } };
    int *bits = &space->sobol.bits;
    while (*bits < 30 && (size_t)1 << *bits < size)
        ++*bits;
    double *one = grow(&space->basis, 1, error);
    space->sobol.taken = one ? ad_alloc((size_t)1 << *bits, 1, "normal quantiles", error) : NULL;
    space->quantile =
        space->sobol.taken ? ad_alloc((size_t)1 << *bits, sizeof(double), "normal quantiles", error) : NULL;
    if (!space->quantile)
        return -1;
    double shift;
    ad_uniform(seed, ad_stream("quantiles"), 0, 1, &shift);
    fill_quantiles(space->quantile, *bits, shift);
    for (size_t s = 0; s < size; s++)
        one[s] = 1;
    space->basis.n = 1;
    return 0;
}

void tp_space_free(tp_space *space)
{
    ad_free(space->basis.data);
    ad_free(space->sobol.taken);
    ad_free(space->quantile);
}

static int raw_draws(tp_space *space, int count, double *z, ad_error *error)
{
    size_t size = space->basis.length;
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

int tp_draw(tp_space *space, int count, const tp_rows *avoid, tp_rows *out, ad_error *error)
{
    size_t size = space->basis.length;
    int n = avoid ? avoid->n : 0, before = space->basis.n, status = -1;
    if (2 * ((size_t)before + (size_t)count) > size + 2)
        return ad_fail(error,
                       "%zu samples are too few: more than %d draws are needed, and at least twice as many samples",
                       size, before + count - 1);
    tp_rows beyond = { .length = size }; /* what `avoid` spans beyond the draws so far */
    double *kept = ad_reserve((size_t)n * size + 1, sizeof *kept, "a projection", error);
    double *z = grow(&space->basis, count, error);
    double weight = 1 / (double)size;
    if (!kept || !z || raw_draws(space, count, z, error))
        goto done;
    for (int k = 0; k < n; k++)
        memcpy(kept + (size_t)k * size, row(avoid, k), size * sizeof *kept);
    for (int pass = 0; pass < 2; pass++)
        if (project(n, kept, &space->basis, 0, weight, NULL, 0, error))
            goto done;
    for (int k = 0; k < n; k++) /* rows of avoid have length 1: what is left below this is rounding */
        if (norm(kept + (size_t)k * size, size, weight) < 1e-8)
            memset(kept + (size_t)k * size, 0, size * sizeof *kept);
    if (orthonormalise(n, kept, &beyond, weight, 1e-8, NULL, 0, error))
        goto done;
    for (int pass = 0; pass < 2; pass++)
        if (project(count, z, &beyond, 0, weight, NULL, 0, error))
            goto done;
    if (orthonormalise(count, z, &space->basis, weight, 1e-3, NULL, 0, error))
        goto done;
    if (space->basis.n != before + count) {
        ad_fail(error, "%zu samples are too few: nothing is left of a draw after %d others", size, before);
        goto done;
    }
    double *to = grow(out, count, error);
    if (!to)
        goto done;
    memcpy(to, row(&space->basis, before), (size_t)count * size * sizeof *to);
    out->n += count;
    status = 0;
done:
    ad_free(beyond.data);
    ad_free(kept);
    return status;
}

/* ---- operators ---- */
void tp_operator_new(tp_operator *w, tp_space *in, size_t fixed_in, tp_space *out)
{
    size_t size = in ? in->basis.length : fixed_in;
    *w = (tp_operator){ .space = { in, out },
                        .seen = { { .length = size }, { .length = out->basis.length } },
                        .drawn = { { .length = out->basis.length }, { .length = size } } };
}

void tp_operator_free(tp_operator *w)
{
    for (int k = 0; k < 2; k++) {
        ad_free(w->seen[k].data);
        ad_free(w->drawn[k].data);
    }
}

int tp_operator_apply(tp_operator *w, bool transposed, int count, const double *x, double *y, ad_error *error)
{
    int way = transposed, status = -1;
    tp_rows *seen = &w->seen[way], *drawn = &w->drawn[way];
    const tp_rows *back_seen = &w->seen[!way], *back_drawn = &w->drawn[!way];
    size_t from = seen->length, to = drawn->length;
    double weight = w->space[way] ? 1 / (double)from : 1;
    double ratio = (double)w->seen[1].length / (double)w->seen[0].length; /* out to in */
    double fresh = transposed ? sqrt(ratio) : 1, known = transposed ? ratio : 1 / sqrt(ratio);
    int known_before = seen->n, most = known_before + count;
    double *rest = grow(seen, count, error);
    double *c = ad_alloc((size_t)count * (size_t)most + 1, sizeof *c, "coefficients", error);
    double *d = ad_alloc((size_t)count * (size_t)back_seen->n + 1, sizeof *d, "coefficients", error);
    if (!rest || !c || !d)
        goto done;
    memcpy(rest, x, (size_t)count * from * sizeof *rest);
    if (orthonormalise(count, rest, seen, weight, 1e-10, c, most, error) ||
        (seen->n > drawn->n && tp_draw(w->space[!way], seen->n - drawn->n, back_seen, drawn, error)))
        goto done;
    if (seen->n)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, (int)to, seen->n, fresh, c, most, drawn->data,
                    (int)to, 1, y, (int)to);
    if (back_seen->n) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, back_seen->n, (int)from, weight, x, (int)from,
                    back_drawn->data, (int)from, 0, d, back_seen->n);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, (int)to, back_seen->n, known, d, back_seen->n,
                    back_seen->data, (int)to, 1, y, (int)to);
    }
    status = 0;
done:
    ad_free(c);
    ad_free(d);
    return status;
}
