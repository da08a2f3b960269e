/* single.c: the inner loops in floats. The file includes itself once for every instruction set; the loops are below the
 * #else. */
#ifndef LOOP_V
#include "tp/gauss/gauss.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif

/* acos(x) / (2 pi sqrt(1 - x^2)) on [0, 1], in powers of x - 1/2: interpolated at Chebyshev's points, to 1.3e-8
 * relative. */
enum { ARC_TERMS = 10 };
static const float arc_cosine[ARC_TERMS] = { 0.192450092F,   -0.0839065323F, 0.0443930987F,  -0.0252571653F,
                                             0.0149401313F,  -0.0090381441F, 0.00540012565F, -0.00335409837F,
                                             0.00280765558F, -0.00177661865F };

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define NAME(name) PASTE(name, LOOP_TAG)

#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#define LOOP_V __m512
#define LOOP_TAG avx512
#define LOOP_SQRT _mm512_sqrt_ps
#define LOOP_FMA _mm512_fmadd_ps
#define LOOP_MAX _mm512_max_ps
#include "tp/gauss/single.c"
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LOOP_V __m256
#define LOOP_TAG avx2
#define LOOP_SQRT _mm256_sqrt_ps
#define LOOP_FMA _mm256_fmadd_ps
#define LOOP_MAX _mm256_max_ps
#include "tp/gauss/single.c"
#pragma GCC pop_options
#endif

#define LOOP_TAG base
#define LOOP_FMA(a, b, c) ((a) * (b) + (c))
#if defined(__x86_64__)
#define LOOP_V __m128
#define LOOP_SQRT _mm_sqrt_ps
#define LOOP_MAX _mm_max_ps
#else
#define LOOP_V float32x4_t
#define LOOP_SQRT vsqrtq_f32
#define LOOP_MAX vmaxq_f32
#endif
#include "tp/gauss/single.c"

const tp_singles *tp_singles_at(int k)
{
    const tp_singles *sets[3] = { NULL };
    int n = 0;
#if defined(__x86_64__) && !defined(__clang__)
    if (__builtin_cpu_supports("avx512f"))
        sets[n++] = &singles_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        sets[n++] = &singles_avx2;
#endif
    sets[n++] = &singles_base;
    return k < n ? sets[k] : NULL;
}

#else /* ---- the loops, for one instruction set ---- */
#define V NAME(lanes)
#define I NAME(mask)
#define REAL float
#include "tp/gauss/lanes.h"
typedef int32_t I __attribute__((vector_size(sizeof(LOOP_V))));

/* By Horner's rule in two chains. */
static inline V NAME(polynomial)(V x)
{
    V square = x * x, even = NAME(splat)(arc_cosine[ARC_TERMS - 2]), odd = NAME(splat)(arc_cosine[ARC_TERMS - 1]);
    for (int k = ARC_TERMS - 4; k >= 0; k -= 2) {
        even = LOOP_FMA(even, square, NAME(splat)(arc_cosine[k]));
        odd = LOOP_FMA(odd, square, NAME(splat)(arc_cosine[k + 1]));
    }
    return LOOP_FMA(odd, x, even);
}

static float NAME(relu)(size_t n, float inverse, float root, const float *inverses, const float *roots,
                        const float *q12, float *first, float *second)
{
    const I sign = (I)NAME(splat)(-0.0F);
    const V one = NAME(splat)(1), quarter = NAME(splat)(0.25F);
    V most = { 0 }, turned = NAME(splat)(0.15915494309189533577F * root);
    float largest = 0, lanes[LANES], part[5][LANES] = { { 0 } };
    if (n < LANES) {
        memcpy(part[0], inverses, n * sizeof *q12);
        memcpy(part[1], roots, n * sizeof *q12);
        memcpy(part[2], q12, n * sizeof *q12);
        largest = NAME(relu)(LANES, inverse, root, part[0], part[1], part[2], part[3], part[4]);
        memcpy(first, part[3], n * sizeof *first);
        memcpy(second, part[4], n * sizeof *second);
        return largest;
    }
    for (size_t i = 0; i < n; i += LANES) {
        size_t at = i + LANES <= n ? i : n - LANES; /* the last ones may be found twice */
        V c = NAME(load)(q12 + at), x = c * inverse * NAME(load)(inverses + at), size = (V)((I)x & ~sign);
        V t = LOOP_SQRT(LOOP_MAX((one - size) * (one + size), (V){ 0 })), arc = t * NAME(polynomial)(size - 0.5F);
        V phi = quarter + (V)((I)(quarter - arc) | ((I)x & sign)); /* arc <= 1/4 but for a rounding */
        most = LOOP_MAX(size, most);
        NAME(store)(first + at, LOOP_FMA(phi, c, turned * NAME(load)(roots + at) * t));
        NAME(store)(second + at, phi);
    }
    NAME(store)(lanes, most);
    for (size_t k = 0; k < LANES; k++)
        largest = lanes[k] > largest ? lanes[k] : largest;
    return largest;
}

static void NAME(narrow)(size_t n, const double *a, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)a[i];
}

static const tp_singles PASTE(singles, LOOP_TAG) = {
    .relu = NAME(relu),
    .narrow = NAME(narrow),
    .sum3 = NAME(sum3),
    .weigh = NAME(weigh),
};

#undef V
#undef I
#undef LANES
#undef REAL
#undef LOOP_V
#undef LOOP_TAG
#undef LOOP_SQRT
#undef LOOP_FMA
#undef LOOP_MAX
#endif
