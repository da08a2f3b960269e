/* sobol.c: Sobol's sequence, dimension after dimension: primitive polynomials as they are needed, digits scrambled. */
#include "tp/executor/draws.h"

static uint32_t multiply_polynomials(uint32_t a, uint32_t b, uint32_t polynomial, int degree)
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
            result = multiply_polynomials(result, square, polynomial, degree);
        square = multiply_polynomials(square, square, polynomial, degree);
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
