/* simd.c: the file includes itself once for every instruction set; the loops are below the #else. The exact products
 * need every operation rounded as written: no contraction, no fast-math. */
#ifndef LOOP_V
#include "tp/gauss/simd.h"
#include "tp/gauss/gauss.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sleef.h>

/* acos(x) / (2 pi sqrt(1 - x^2)) on [0, 1], in powers of x - 1/2, and (2 / pi) asin(x) / x for x^2 up to 1/2, in
 * powers of x^2 - 1/4: interpolated at Chebyshev's points, to 8e-17 relative. Neither has a singularity nearby. */
enum { ARC_TERMS = 21, SINE_TERMS = 19, ABREAST = 4 /* vectors that hide each other's latency */ };
enum { SERIES_ABREAST = 6, SERIES_GROUPS = 4, PRODUCT_ROWS = 4 };
static const double arc_cosine[] = {
    0.19245008972987526,    -0.083906530969276708,   0.044393528850639734,   -0.025257439916494397,
    0.014926515614857696,   -0.0090294505003564122,  0.0055490222824482746,  -0.00344915417695653,
    0.002162417066682827,   -0.0013648374829840415,  0.00086609626726326773, -0.0005521126265908686,
    0.00035321739654892793, -0.000226118583831678,   0.00014550107574021808, -9.6767026708309084e-05,
    6.2558889794302116e-05, -3.1235004378927662e-05, 2.0226048204295403e-05, -2.9617290148228595e-05,
    1.9285291199784442e-05,
};
static const double arc_sine[] = {
    0.6666666666666666,   0.13687705445811288,  0.07943896588947967, 0.06191686654357392, 0.05555215001848197,
    0.054122697524678555, 0.055660547445287395, 0.05947173388460179, 0.06537605104686493, 0.07346450753849924,
    0.08400789349676173,  0.09737056980216832,  0.11428145219121935, 0.1372490788015218,  0.16417505521893422,
    0.17187758954250773,  0.2077384006816562,   0.46019575954355096, 0.5661398754212812,
};

/* What a sample's own root is scaled by in rows: 1 / 2 pi of relu. */
static const double relu_scale = 0.15915494309189533577, erf_scale = 1;

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define NAME(name) PASTE(name, LOOP_TAG)
#define SLEEF3(name, kind, error, set) Sleef_##name##kind##_##error##set
#define SLEEF2(name, kind, error, set) SLEEF3(name, kind, error, set)
#define SLEEF(name, error) SLEEF2(name, LOOP_KIND, error, LOOP_SET)

/* clang passes a vector wider than 16 bytes on the stack unless the whole file is compiled for the wider set, which
 * SLEEF does not expect: there the base set serves. */
#if defined(__x86_64__) && !defined(__clang__)
/* Where there are tables in registers: 15 angles whose sines less cosines lie evenly from -1 to 1, the last one twice;
 * sine, cosine, angle in quarter turns, and what it lacks of a quarter turn in turns, which nearly are doubles. For
 * 0 <= x <= 1 the nearest one, t, leaves d = sin(asin x - t) = x cos t - sqrt(1 - x^2) sin t within 0.0694, and
 * asin(d) / (2 pi d) in powers of d^2, interpolated to 1.2e-16 relative. */
enum { ANGLES = 16, PAST_TERMS = 5 };
static const double angle_sines[ANGLES] = {
    0,
    0.13382227610032696,
    0.25307155482146093,
    0.3610771311301703,
    0.45963470528388156,
    0.5497415637300731,
    0.6320844217376135,
    0.7070924358066861,
    0.7749224484192949,
    0.8353865892657295,
    0.888150202433488,
    0.9325470885871685,
    0.9674240158286854,
    0.9910030227354822,
    1,
    1,
};
static const double angle_cosines[ANGLES] = {
    1,
    0.9910053473212583,
    0.9674475635093864,
    0.932535953931432,
    0.8881080664528385,
    0.8353347910314846,
    0.7748995314210912,
    0.7071211262753839,
    0.6320563257620678,
    0.549662848003184,
    0.45955328082536234,
    0.36104837289149455,
    0.2531615563190814,
    0.13383948942347795,
    0,
    0,
};
static const double angle_quarters[ANGLES] = {
    0,
    0.08545025937449535,
    0.1628816190445337,
    0.23518178969998926,
    0.3040393135023669,
    0.3705476107647552,
    0.43560083739177236,
    0.4999870847514557,
    0.5644222445541376,
    0.6295123776793837,
    0.6960190523570572,
    0.7648378427377528,
    0.8370591555955009,
    0.9145386828095727,
    1,
    1,
};
static const double angle_left[ANGLES] = {
    0.25,
    0.22863743515637616,
    0.20927959523886658,
    0.19120455257500268,
    0.17399017162440827,
    0.1573630973088112,
    0.1410997906520569,
    0.12500322881213607,
    0.1088944388614656,
    0.09262190558015407,
    0.0759952369107357,
    0.0587905393155618,
    0.04073521110112477,
    0.021365329297606817,
    0,
    0,
};
static const double past_angle[PAST_TERMS] = {
    0.15915494309189535, 0.02652582384846204, 0.011936621043370352, 0.007104950063366176, 0.0048784751430574706,
};

/* sleef.h shows the functions of an instruction set only to files compiled for it as a whole. */
#define SHOW(V, kind, set)                                                                                             \
    V Sleef_atan2##kind##_u10##set(V, V);                                                                              \
    V Sleef_atan2##kind##_u35##set(V, V);                                                                              \
    V Sleef_exp##kind##_u10##set(V);                                                                                   \
    V Sleef_expm1##kind##_u10##set(V);

#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
SHOW(__m512d, d8, avx512f)
#define LOOP_SET avx512f
#define LOOP_V __m512d
#define LOOP_KIND d8
#define LOOP_TAG avx512
#define LOOP_SQRT _mm512_sqrt_pd
#define LOOP_INVERSE_ROOT _mm512_rsqrt14_pd
#define LOOP_LOOKUP(table, at) _mm512_permutex2var_pd(NAME(load)(table), (__m512i)(at), NAME(load)((table) + 8))
#define LOOP_FMA _mm512_fmadd_pd
#define LOOP_MAX _mm512_max_pd
#define LOOP_LARGEST _mm512_reduce_max_pd
#define LOOP_BITS(mask) _mm512_test_epi64_mask((__m512i)(mask), (__m512i)(mask))
#define LOOP_ANY(mask) (LOOP_BITS(mask) != 0)
#define LOOP_COUNT(mask) (size_t) __builtin_popcount(LOOP_BITS(mask))
#include "tp/gauss/simd.c"
#undef LOOP_SET
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
SHOW(__m256d, d4, avx2)
#define LOOP_SET avx2
#define LOOP_V __m256d
#define LOOP_KIND d4
#define LOOP_TAG avx2
#define LOOP_SQRT _mm256_sqrt_pd
#undef LOOP_FMA
#undef LOOP_MAX
#undef LOOP_ANY
#define LOOP_FMA _mm256_fmadd_pd
#define LOOP_MAX _mm256_max_pd
#define LOOP_LARGEST NAME(largest_lane)
#define LOOP_BITS(mask) _mm256_movemask_pd((__m256d)(mask))
#define LOOP_ANY(mask) (LOOP_BITS(mask) != 0)
#define LOOP_COUNT(mask) (size_t) __builtin_popcount((unsigned)LOOP_BITS(mask))
#include "tp/gauss/simd.c"
#undef LOOP_SET
#pragma GCC pop_options
#endif
#if defined(__x86_64__)
#define BASE __m128d
#else
#define BASE float64x2_t
#endif

#define LOOP_SET
#define LOOP_V BASE
#define LOOP_KIND d2
#define LOOP_TAG base
#define LOOP_SQRT Sleef_sqrtd2_u05
#undef LOOP_FMA
#undef LOOP_MAX
#undef LOOP_ANY
#define LOOP_MAX(a, b) NAME(select)((I)((a) > (b)), a, b)
#define LOOP_LARGEST NAME(largest_lane)
#define LOOP_ANY(mask) ((mask)[0] | (mask)[1])
#define LOOP_COUNT(mask) (size_t)(-(mask)[0] - (mask)[1])
#include "tp/gauss/simd.c"

const tp_vector *tp_vector_at(int k)
{
    const tp_vector *sets[3] = { NULL };
    int n = 0;
#if defined(__x86_64__) && !defined(__clang__)
    if (__builtin_cpu_supports("avx512f"))
        sets[n++] = &vector_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        sets[n++] = &vector_avx2;
#endif
    sets[n++] = &vector_base;
    return k < n ? sets[k] : NULL;
}

const tp_vector *tp_vector_get(void)
{
    return tp_vector_at(0);
}

void tp_array_multiply(size_t n, const double *a, const double *b, double *out)
{
    tp_vector_get()->multiply(n, a, b, out);
}

void tp_array_affine(size_t n, double c, double ca, const double *a, double *out)
{
    tp_vector_get()->affine(n, c, ca, a, out);
}

void tp_array_affine2(size_t n, double c, double ca, const double *a, double cb, const double *b, double *out)
{
    tp_vector_get()->affine2(n, c, ca, a, cb, b, out);
}

void tp_array_products(size_t rows, size_t columns, size_t size, const double *x, const double *turned, size_t stride,
                       double *out)
{
    tp_vector_get()->products(rows, columns, size, x, turned, stride, out);
}

size_t tp_array_small(void)
{
    return tp_vector_get()->small;
}

size_t tp_array_stride(size_t count, size_t more)
{
    enum { LINE = 8, SHARED = 64 }; /* numbers of a cache line, and after which places in it recur */
    size_t stride = (count + more + LINE - 1) / LINE * LINE;
    return stride % SHARED ? stride : stride + LINE;
}

void tp_array_accumulate(size_t n, double c, const double *a, const double *b, double *out)
{
    tp_vector_get()->accumulate(n, c, a, b, out);
}

void tp_array_sum3(size_t n, double c, double ca, const double *a, double cb, const double *b, double cd,
                   const double *d, double *out)
{
    tp_vector_get()->sum3(n, c, ca, a, cb, b, cd, d, out);
}

void tp_array_weigh(size_t n, const double *a, double c, double cb, const double *b, double cd, const double *d,
                    double *out)
{
    tp_vector_get()->weigh(n, a, c, cb, b, cd, d, out);
}

void tp_array_gather(size_t n, size_t fan, const int32_t *rows, double c, const double *in, bool starts, double *out)
{
    tp_vector_get()->gather(n, fan, rows, c, in, starts, out);
}

void tp_array_dots(size_t n, size_t fan, const int32_t *pairs, const double *x, const double *y, double *out)
{
    tp_vector_get()->dots(n, fan, pairs, x, y, out);
}

void tp_array_scatter(size_t n, const int32_t *pairs, double c, const double *in, double *out)
{
    tp_vector_get()->scatter(n, pairs, c, in, out);
}

double tp_array_relu(size_t n, const tp_points *points, double c, const double *in, double ct, const double *tangent,
                     double line, bool *beyond, double *out, double *slopes)
{
    return tp_vector_get()->relu_points(n, points, c, in, ct, tangent, line, beyond, out, slopes);
}

double tp_array_correlation(size_t n, const double *q12, const double *a, const double *b, double line, bool *beyond)
{
    return tp_vector_get()->off_line(n, q12, a, b, line, beyond);
}

bool tp_array_within(size_t n, const double *a, double least, double most)
{
    return tp_vector_get()->within(n, a, least, most);
}

double tp_array_largest(size_t n, const double *a, const double *scale)
{
    return tp_vector_get()->largest(n, a, scale);
}

#else /* ---- the loops, for one instruction set ---- */
#define V NAME(lanes)
#define I NAME(mask)
#define REAL double
#include "tp/gauss/lanes.h"
typedef int64_t I __attribute__((vector_size(sizeof(LOOP_V))));

static inline V NAME(select)(I mask, V yes, V no)
{
    return (V)((mask & (I)yes) | (~mask & (I)no));
}

static inline V NAME(absolute)(V x)
{
    return (V)((I)x & ~(I)NAME(splat)(-0.0));
}

static inline double NAME(largest_lane)(V x)
{
    double largest = x[0];
    for (size_t k = 1; k < LANES; k++)
        largest = x[k] > largest ? x[k] : largest;
    return largest;
}

/* a b = product + *error exactly (by one rounding, or Dekker's way). */
static inline V NAME(product)(V a, V b, V *error)
{
    V p = a * b;
#ifdef LOOP_FMA
    *error = LOOP_FMA(a, b, -p);
#else
    V u = 134217729.0 * a, v = 134217729.0 * b;
    V a1 = u - (u - a), a2 = a - a1, b1 = v - (v - b), b2 = b - b1;
    *error = ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2;
#endif
    return p;
}

/* A pair scaled by a power of two. */
typedef struct {
    V a, b, c, det, scale, inverse; /* inverse: 1 / scale */
} NAME(pair);

/* q11 q22 - q12^2. With m, the half distance, it is m (q11 + q22 - m) - (q11 - q22)^2 / 4 for c > 0, too, which has
 * more digits for inputs near each other, and fewer for norms that differ: there the other way is taken. Roundoff
 * below 0 counts as 0; what is no covariance gives NaN. */
static inline V NAME(determinant)(V a, V b, V c, const V *m)
{
    V e1, e2, p1 = NAME(product)(a, b, &e1), p2 = NAME(product)(c, c, &e2);
    V det = (p1 - p2) + (e1 - e2);
    if (m) {
        V d = a - b, part = 0.25 * d * d, whole = *m * (a + b - *m);
        /* part < p1: variances within a factor of 6 of each other */
        det = NAME(select)((I)(c > 0) & (I)(part < p1), whole - part, det);
    }
    I bad = (I)(det < -1e-6 * p1) | (I)(a < 0) | (I)(b < 0);
    det = NAME(select)((I)(det > 0), det, NAME(absolute)(det * 0));
    return NAME(select)(bad, NAME(splat)((double)NAN), det);
}

/* Divides by the power of two just below the larger variance, so that no product overflows, nor underflows for norms
 * within 1e140 of each other. */
static inline NAME(pair) NAME(scaled_by)(V larger, V a, V b, V c, const V *m)
{
    const I exponent = (I){ 0 } + 0x7ff0000000000000, twice = (I){ 0 } + 0x7fe0000000000000;
    I power = (I)larger & exponent;
    V inverse = (V)(twice - power), half;
    if (m)
        half = *m * inverse;
    NAME(pair) p = { .a = a * inverse, .b = b * inverse, .c = c * inverse, .scale = (V)power, .inverse = inverse };
    p.det = NAME(determinant)(p.a, p.b, p.c, m ? &half : NULL);
    return p;
}

static inline NAME(pair) NAME(scaled)(V a, V b, V c, const V *m)
{
    return NAME(scaled_by)(NAME(select)((I)(a > b), a, b), a, b, c, m);
}

/* Of variances beside 1. */
static inline NAME(pair) NAME(scaled_down)(V a, V b, V c, const V *m)
{
    const V one = NAME(splat)(1);
    V larger = NAME(select)((I)(a > b), a, b);
    return NAME(scaled_by)(NAME(select)((I)(larger > one), larger, one), a, b, c, m);
}

/* (sin phi - phi cos phi) / phi^3 at x = phi^2. */
static inline V NAME(opposite_series)(V x)
{
    return 1.0 / 3 +
           x * (-1.0 / 30 +
                x * (1.0 / 840 + x * (-1.0 / 45360 + x * (1.0 / 3991680 + x * (-1.0 / 518918400 +
                                                                               x * NAME(splat)(1.0 / 93405312000))))));
}

/* With t = d sin(theta) = sqrt(det), phi = pi - theta = atan2(t, -q12) and d = sqrt(q11 q22):
 * E relu relu = (t + phi q12) / 2 pi, E step step = phi / 2 pi (arc-cosine kernels of Cho and Saul, 2009). Near c = -1
 * the sum cancels, t + phi q12 = d (sin phi - phi cos phi) = d sum_k (-1)^(k+1) 2k phi^(2k+1) / (2k+1)!. */
static inline void NAME(relu_at)(V a, V b, V c, const V *m, V *first, V *second)
{
    const double turn = 0.15915494309189533577; /* 1 / 2 pi */
    NAME(pair) p = NAME(scaled)(a, b, c, m);
    V t = LOOP_SQRT(p.det), phi = SLEEF(atan2, u10)(t, -p.c);
    I some = (I)(p.a > 0) & (I)(p.b > 0);
    some |= (I)(t != t);
    V x = phi * phi, small = LOOP_SQRT(p.a * p.b) * phi * x * NAME(opposite_series)(x);
    V relu = NAME(select)((I)(phi < 0.5), small, t + phi * p.c);
    *first = NAME(select)(some, relu * turn * p.scale, (V){ 0 });
    *second = NAME(select)(some, phi * turn, (V){ 0 });
}

/* E sign sign = (2 / pi) asin c = (2 / pi) atan2(q12, sqrt(det)). */
static inline void NAME(sign_at)(V a, V b, V c, const V *m, V *first, V *second)
{
    NAME(pair) p = NAME(scaled)(a, b, c, m);
    I some = (I)(p.a > 0) & (I)(p.b > 0);
    some |= (I)(p.det != p.det);
    *first = NAME(select)(some, 0.63661977236758134308 * SLEEF(atan2, u10)(p.c, LOOP_SQRT(p.det)), (V){ 0 });
    *second = *first;
}

/* With D = (1 + 2 q11)(1 + 2 q22) - 4 q12^2 = 1 + 2 (q11 + q22) + 4 det:
 * E erf erf = (2 / pi) atan2(2 q12, sqrt D) (Williams, 1997), E erf' erf' = (4 / pi) / sqrt D. */
static inline void NAME(erf_at)(V a, V b, V c, const V *m, V *first, V *second)
{
    NAME(pair) p = NAME(scaled_down)(a, b, c, m);
    V root = LOOP_SQRT(p.inverse * p.inverse + 2 * (p.a + p.b) * p.inverse + 4 * p.det);
    *first = 0.63661977236758134308 * SLEEF(atan2, u35)(2 * p.c, root);
    *second = 1.27323954473516268615 / root * p.inverse;
}

/* With D = (1 + q11)(1 + q22) - q12^2 = 1 + q11 + q22 + det, phi = atan2(sqrt D, -q12), u = 1 / (1 + q11) and
 * v = 1 / (1 + q22): E gelu gelu = [q12 phi + (det + q12^2 (u + v)) / sqrt D] / 2 pi,
 * E gelu' gelu' = [phi + q12 (u + v + 1 / D) / sqrt D] / 2 pi (the formulas of THEORY section 3(a), collected). */
static inline void NAME(gelu_at)(V a, V b, V c, const V *m, V *first, V *second)
{
    const double turn = 0.15915494309189533577;
    NAME(pair) p = NAME(scaled_down)(a, b, c, m);
    V one = p.inverse, big = one * one + (p.a + p.b) * one + p.det, root = LOOP_SQRT(big);
    V phi = SLEEF(atan2, u10)(root, -p.c), sum = one / (one + p.a) + one / (one + p.b);
    *first = turn * p.scale * (p.c * phi + (p.det + p.c * p.c * sum) / root);
    *second = turn * (phi + p.c * (sum + one * one / big) / root);
}

/* E sin sin = e^{-(q11 + q22) / 2} sinh q12 and E cos cos with cosh, as e^{-(q11 + q22 - 2 |q12|) / 2} times
 * (1 -+ e^{-2 |q12|}) / 2: nothing overflows or cancels. */
static inline void NAME(wave_at)(V a, V b, V c, const V *m, V *first, V *second)
{
    V size = NAME(absolute)(c), half = 0.5 * ((a - size) + (b - size));
    if (m)
        half = NAME(select)((I)(c > 0), *m, half);
    V near = 0.5 * SLEEF(exp, u10)(-half), less = SLEEF(expm1, u10)(-2 * size);
    *first = NAME(select)((I)(c < 0), near * less, -near * less);
    *second = near * (2 + less);
}

/* E exp exp = e^{(q11 + 2 q12 + q22) / 2}. */
static inline void NAME(exp_at)(V a, V b, V c, const V *m, V *first, V *second)
{
    (void)m;
    *first = SLEEF(exp, u10)(0.5 * ((a + c) + (b + c)));
    *second = *first;
}

#define PAIRS(name)                                                                                                    \
    static void NAME(name)(size_t n, const double *q11, const double *q22, const double *q12, const double *half,      \
                           double *first, double *second)                                                              \
    {                                                                                                                  \
        V x = { 0 }, y = { 0 }, m = { 0 };                                                                             \
        size_t i = 0;                                                                                                  \
        for (; i + LANES <= n; i += LANES) {                                                                           \
            if (half)                                                                                                  \
                m = NAME(load)(half + i);                                                                              \
            NAME(name##_at)(NAME(load)(q11 + i), NAME(load)(q22 + i), NAME(load)(q12 + i), half ? &m : NULL, &x, &y);  \
            if (first)                                                                                                 \
                NAME(store)(first + i, x);                                                                             \
            if (second)                                                                                                \
                NAME(store)(second + i, y);                                                                            \
        }                                                                                                              \
        if (i == n)                                                                                                    \
            return;                                                                                                    \
        double part[6][LANES] = { { 0 } };                                                                             \
        for (size_t k = 0; k < n - i; k++) {                                                                           \
            part[0][k] = q11[i + k];                                                                                   \
            part[1][k] = q22[i + k];                                                                                   \
            part[2][k] = q12[i + k];                                                                                   \
            part[3][k] = half ? half[i + k] : 0;                                                                       \
        }                                                                                                              \
        m = NAME(load)(part[3]);                                                                                       \
        NAME(name##_at)(NAME(load)(part[0]), NAME(load)(part[1]), NAME(load)(part[2]), half ? &m : NULL, &x, &y);      \
        NAME(store)(part[4], x);                                                                                       \
        NAME(store)(part[5], y);                                                                                       \
        for (size_t k = 0; k < n - i; k++) {                                                                           \
            if (first)                                                                                                 \
                first[i + k] = part[4][k];                                                                             \
            if (second)                                                                                                \
                second[i + k] = part[5][k];                                                                            \
        }                                                                                                              \
    }
PAIRS(relu)
PAIRS(sign)
PAIRS(erf)
PAIRS(gelu)
PAIRS(wave)
PAIRS(exp)
#undef PAIRS

/* ---- rows of pairs by their correlations ---- */
/* By Horner's rule in two chains; an odd number of terms. */
static inline V NAME(polynomial)(int terms, const double *c, V x)
{
    V square = x * x, even = NAME(splat)(c[terms - 1]), odd = NAME(splat)(c[terms - 2]);
    for (int k = terms - 3; k > 0; k -= 2) {
        even = NAME(fused)(even, square, NAME(splat)(c[k]));
        odd = NAME(fused)(odd, square, NAME(splat)(c[k - 1]));
    }
    return NAME(fused)(odd, x, NAME(fused)(even, square, NAME(splat)(c[0])));
}

static inline V NAME(signed_as)(V x, V y)
{
    const I sign = (I)NAME(splat)(-0.0);
    return (V)(((I)x & ~sign) | ((I)y & sign));
}

/* 1 / sqrt(x) and sqrt(x) of a normal x > 0. A root and a division are slow where vectors are wide: there they are 14
 * bits times 1 / sqrt(1 - e), whose series ends at e^3. */
static inline V NAME(inverse_root)(V x, V *root)
{
#ifdef LOOP_INVERSE_ROOT
    V y = LOOP_INVERSE_ROOT(x), r = x * y, e = LOOP_FMA(-r, y, NAME(splat)(1));
    V more = e * LOOP_FMA(LOOP_FMA(NAME(splat)(5.0 / 16), e, NAME(splat)(3.0 / 8)), e, NAME(splat)(0.5));
    *root = LOOP_FMA(r, more, r);
    return LOOP_FMA(y, more, y);
#else
    *root = LOOP_SQRT(x);
    return 1 / *root;
#endif
}

/* sqrt(1 - x^2), roundings beyond 1 counting as 1. */
static inline V NAME(sine_of)(V x)
{
    return LOOP_SQRT(LOOP_MAX((V){ 0 }, NAME(fused)(-x, x, NAME(splat)(1))));
}

#ifdef LOOP_LOOKUP
/* The number of the angle nearest to asin x, from the last bits of a sum; x and sqrt(1 - x^2) >= 0. */
static inline I NAME(nearest_angle)(V x, V sine)
{
    const double half = ANGLES / 2 - 1;
    return (I)LOOP_FMA(x - sine, NAME(splat)(half), NAME(splat)(half + 0x1.8p52));
}

/* d, by which x is past this angle, and asin(d) / d in turns times `scale`. */
static inline V NAME(past)(I angle, V x, V sine, double scale, V *ratio)
{
    V d = LOOP_FMA(-sine, LOOP_LOOKUP(angle_sines, angle), x * LOOP_LOOKUP(angle_cosines, angle)), square = d * d;
    *ratio = NAME(splat)(scale * past_angle[PAST_TERMS - 1]);
    for (int k = PAST_TERMS - 2; k >= 0; k--)
        *ratio = LOOP_FMA(*ratio, square, NAME(splat)(scale * past_angle[k]));
    return d;
}
#endif

/* acos(x) / 2 pi of 0 <= x <= 1 and sqrt(1 - x^2). */
static inline V NAME(arc_of)(V x, V sine)
{
#ifdef LOOP_LOOKUP
    I angle = NAME(nearest_angle)(x, sine);
    V ratio, d = NAME(past)(angle, x, sine, 1, &ratio);
    return LOOP_FMA(-d, ratio, LOOP_LOOKUP(angle_left, angle));
#else
    return sine * NAME(polynomial)(ARC_TERMS, arc_cosine, x - 0.5);
#endif
}

/* As relu_at, of the correlation's absolute value x, with the product of the variances' roots over 2 pi. */
static inline void NAME(relu_row_at)(V c, V x, V roots, V *first, V *second)
{
    V sine = NAME(sine_of)(x), arc = NAME(arc_of)(x, sine);
    V phi = NAME(select)((I)(c < (V){ 0 }), arc, 0.5 - arc), relu = NAME(fused)(phi, c, roots * sine);
    I opposite = (I)(x > 0.85) & (I)(c < (V){ 0 });
    if (LOOP_ANY(opposite)) {
        V angle = arc * 6.28318530717958647693, y = angle * angle;
        relu = NAME(select)(opposite, roots * angle * y * NAME(opposite_series)(y), relu);
    }
    *first = relu;
    *second = phi;
}

/* As erf_at, with roots of 2 / (1 + 2 q) on either side: x is 2 |q12| / sqrt((1 + 2 q11) (1 + 2 q22)), below the
 * correlation. Without a table, where x^2 is beyond 1/2, asin x = pi / 2 - asin sqrt(1 - x^2). */
static inline void NAME(erf_row_at)(V c, V correlation, V roots, V *first, V *second)
{
    (void)correlation;
    V x = NAME(absolute)(c) * roots, rest = NAME(fused)(-x, x, NAME(splat)(1)), sine;
    V inverse = NAME(inverse_root)(rest, &sine), value;
#ifdef LOOP_LOOKUP
    I angle = NAME(nearest_angle)(x, sine);
    V ratio, past = NAME(past)(angle, x, sine, 4, &ratio);
    value = LOOP_FMA(past, ratio, LOOP_LOOKUP(angle_quarters, angle));
#else
    V square = x * x, one = NAME(splat)(1);
    I far = (I)(square > NAME(splat)(0.5));
    V near = NAME(select)(far, sine, x);
    V arc = NAME(polynomial)(SINE_TERMS, arc_sine, NAME(select)(far, rest, square) - 0.25);
    value = NAME(select)(far, NAME(fused)(-near, arc, one), near * arc);
#endif
    *first = (V)((I)value | ((I)c & (I)NAME(splat)(-0.0)));
    *second = 0.63661977236758134308 * roots * inverse;
}

/* Rows of less than a vector in padded ones. */
static double NAME(few_columns)(tp_pair_rows *of, size_t rows, size_t n, const tp_side *down, const tp_side *across,
                                const double *q12, double *first, double *second)
{
    double largest = 0, part[5][LANES] = { { 0 } };
    const tp_side padded = { part[0], part[1] };
    memcpy(part[0], across->inverse, n * sizeof **part);
    memcpy(part[1], across->scale, n * sizeof **part);
    for (size_t i = 0; i < rows; i++) {
        memcpy(part[2], q12 + i * n, n * sizeof **part);
        double most =
            of(1, LANES, &(tp_side){ down->inverse + i, down->scale + i }, &padded, part[2], part[3], part[4]);
        largest = most > largest ? most : largest;
        memcpy(first + i * n, part[3], n * sizeof *first);
        memcpy(second + i * n, part[4], n * sizeof *second);
    }
    return largest;
}

#define ROWS(name)                                                                                                     \
    static double NAME(name##_rows)(size_t rows, size_t n, const tp_side *down, const tp_side *across,                 \
                                    const double *q12, double *first, double *second)                                  \
    {                                                                                                                  \
        V most = { 0 };                                                                                                \
        if (n < LANES)                                                                                                 \
            return NAME(few_columns)(NAME(name##_rows), rows, n, down, across, q12, first, second);                    \
        for (size_t row = 0; row < rows; row++, q12 += n, first += n, second += n) {                                   \
            V inverse = NAME(splat)(down->inverse[row]), scale = NAME(splat)(down->scale[row] * name##_scale);         \
            V row_most = { 0 };                                                                                        \
            for (size_t i = 0; i < n; i += LANES) {                                                                    \
                size_t at = i + LANES <= n ? i : n - LANES; /* the last ones may be found twice */                     \
                V c = NAME(load)(q12 + at), x, y, scales = scale * NAME(load)(across->scale + at);                     \
                V part = NAME(absolute)(c) * NAME(load)(across->inverse + at);                                         \
                row_most = LOOP_MAX(part, row_most);                                                                   \
                NAME(name##_row_at)(c, part * inverse, scales, &x, &y);                                                \
                NAME(store)(first + at, x);                                                                            \
                NAME(store)(second + at, y);                                                                           \
            }                                                                                                          \
            most = LOOP_MAX(row_most * inverse, most);                                                                 \
        }                                                                                                              \
        return LOOP_LARGEST(most);                                                                                     \
    }
ROWS(relu)
ROWS(erf)
#undef ROWS

/* ---- pairs of points ---- */
/* As arc_of, several abreast. */
static inline void NAME(arcs)(const V x[ABREAST], const V sine[ABREAST], V out[ABREAST])
{
#ifdef LOOP_LOOKUP
    for (int u = 0; u < ABREAST; u++)
        out[u] = NAME(arc_of)(x[u], sine[u]);
#else
    V at[ABREAST], square[ABREAST], even[ABREAST], odd[ABREAST];
    for (int u = 0; u < ABREAST; u++) {
        at[u] = x[u] - 0.5;
        square[u] = at[u] * at[u];
        even[u] = NAME(splat)(arc_cosine[ARC_TERMS - 1]);
        odd[u] = NAME(splat)(arc_cosine[ARC_TERMS - 2]);
    }
    for (int k = ARC_TERMS - 3; k > 0; k -= 2)
        for (int u = 0; u < ABREAST; u++) {
            even[u] = NAME(fused)(even[u], square[u], NAME(splat)(arc_cosine[k]));
            odd[u] = NAME(fused)(odd[u], square[u], NAME(splat)(arc_cosine[k - 1]));
        }
    for (int u = 0; u < ABREAST; u++)
        out[u] = sine[u] * NAME(fused)(odd[u], at[u], NAME(fused)(even[u], square[u], NAME(splat)(arc_cosine[0])));
#endif
}

/* As relu_row_at, several abreast. */
static inline void NAME(relu_abreast)(const V c[ABREAST], const V x[ABREAST], const V roots[ABREAST], V first[ABREAST],
                                      V second[ABREAST])
{
    V root[ABREAST], arc[ABREAST];
    I opposite = { 0 };
    for (int u = 0; u < ABREAST; u++) {
        root[u] = NAME(sine_of)(x[u]);
        opposite |= (I)(x[u] > 0.85) & (I)(c[u] < (V){ 0 });
    }
    NAME(arcs)(x, root, arc);
    for (int u = 0; u < ABREAST; u++) {
        second[u] = NAME(select)((I)(c[u] < (V){ 0 }), arc[u], 0.5 - arc[u]);
        first[u] = NAME(fused)(second[u], c[u], roots[u] * root[u]);
    }
    if (LOOP_ANY(opposite))
        for (int u = 0; u < ABREAST; u++)
            NAME(relu_row_at)(c[u], x[u], roots[u], &first[u], &second[u]);
}

/* Correlations that count as 1 or -1: E relu relu is half the root of the variances' product, or 0; E step step 1/2 or
 * 0. Which of them are not of equal numbers. */
static I NAME(relu_on_line)(const tp_points *points, size_t a, size_t b, I on, V q, V *first, V *second)
{
    V roots = NAME(splat)(points->one.scale[a]) * NAME(load)(points->others.scale + b);
    V one = NAME(splat)(points->variance[a]), size = NAME(absolute)(q);
    I equal = (I)(one == NAME(load)(points->variances + b)) & (I)(size == one), alike = on & (I)(q > 0);
    V root = NAME(select)(equal, size, roots);
    *first = (V)(((I)*first & ~on) | ((I)(0.5 * root) & alike));
    *second = (V)(((I)*second & ~on) | ((I)NAME(splat)(0.5) & alike));
    return on & ~equal;
}

static double NAME(relu_points)(size_t n, const tp_points *points, double c, const double *in, double ct,
                                const double *tangent, double line, bool *beyond, double *out, double *slopes)
{
    enum { EACH = TP_LANES / LANES }; /* vectors of a pair */
    V most = { 0 }, factor = NAME(splat)(c), tangents = NAME(splat)(ct), limit = NAME(splat)(1 - line);
    double lanes[LANES], largest = 0;
    I others = { 0 };
    for (size_t i = 0; i < n * EACH; i += ABREAST) {
        V q[ABREAST], x[ABREAST], roots[ABREAST], some[ABREAST], relu[ABREAST], step[ABREAST];
        I on[ABREAST], any = { 0 };
        size_t at[ABREAST], first[ABREAST], second[ABREAST];
        for (size_t u = 0; u < ABREAST; u++) {
            size_t k = i + u < n * EACH ? i + u : n * EACH - 1, pair = k / EACH; /* the last one several times */
            size_t a = (size_t)points->first[pair];
            size_t b = (size_t)points->second[pair] * TP_LANES + k % EACH * LANES;
            V inverse = NAME(splat)(points->one.inverse[a]), inverses = NAME(load)(points->others.inverse + b);
            at[u] = k * LANES;
            first[u] = a;
            second[u] = b;
            q[u] = factor * NAME(load)(in + at[u]);
            x[u] = NAME(absolute)(q[u]) * inverses * inverse;
            some[u] = inverse * inverses;
            roots[u] = NAME(splat)(points->one.scale[a] * relu_scale) * NAME(load)(points->others.scale + b);
            on[u] = (I)(x[u] > limit);
            any |= on[u];
            most = LOOP_MAX((V)((I)x[u] & ~on[u]), most);
        }
        NAME(relu_abreast)(q, x, roots, relu, step);
        if (LOOP_ANY(any))
            for (size_t u = 0; u < ABREAST; u++)
                others |= NAME(relu_on_line)(points, first[u], second[u], on[u], q[u], &relu[u], &step[u]);
        for (size_t u = 0; u < ABREAST; u++) {
            I both = (I)(some[u] > 0);
            if (out)
                NAME(store)(out + at[u], (V)((I)relu[u] & both));
            NAME(store)(slopes + at[u], (V)((I)(tangents * NAME(load)(tangent + at[u]) * step[u]) & both));
        }
    }
    *beyond = LOOP_ANY(others);
    NAME(store)(lanes, most);
    for (size_t k = 0; k < LANES; k++)
        largest = lanes[k] > largest ? lanes[k] : largest;
    return largest;
}

/* Products before sums: the same bits in every instruction set. */
static void NAME(hermite)(size_t n, double up, double down, const double *x, const double *before, const double *now,
                          double *next)
{
    V ups = NAME(splat)(up), downs = NAME(splat)(down);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        NAME(store)(next + i, ups * NAME(load)(x + i) * NAME(load)(now + i) - downs * NAME(load)(before + i));
    for (; i < n; i++)
        next[i] = up * x[i] * now[i] - down * before[i];
}

static inline V NAME(correlation)(V c)
{
    const double slack = 5e-7;
    V one = NAME(splat)(1), size = NAME(absolute)(c);
    c = NAME(select)((I)(size > one), NAME(signed_as)(one, c), c);
    return NAME(select)((I)(size <= one + slack), c, NAME(splat)((double)NAN));
}

static inline V NAME(load_some)(const double *p, size_t n)
{
    V v = { 0 };
    if (n >= LANES)
        return NAME(load)(p);
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void NAME(store_some)(double *p, size_t n, V v)
{
    if (n >= LANES)
        NAME(store)(p, v);
    else
        memcpy(p, &v, n * sizeof *p);
}

/* The first number of terms that is enough for correlations up to `most`; mostly it is among the first. */
static inline size_t NAME(level)(double most, const tp_terms *enough)
{
    enum { FIRST = TP_FIRST_ENOUGH / LANES };
    V all = NAME(splat)(most);
    size_t level = 0;
    for (size_t k = 0; k < FIRST; k++)
        level += LOOP_COUNT((I)(all > NAME(load)(enough->reach + k * LANES)));
    while (level >= TP_FIRST_ENOUGH && most > enough->reach[level])
        level++;
    return level;
}

/* Horner's rule for vectors side by side, which hide each other's latency, from a column on; of one or two vectors even
 * and odd terms have a chain each. */
#define HORNER(vectors, chains)                                                                                        \
    static void NAME(horner##vectors)(size_t terms, const tp_sum_of *s, size_t column, const V *x, V *sum)             \
    {                                                                                                                  \
        V total[chains][vectors] = { { { 0 } } }, at[vectors];                                                         \
        const double *f = s->f + terms * s->f_step, *g = s->g + terms * s->g_step + column;                            \
        for (size_t v = 0; v < (vectors); v++) {                                                                       \
            at[v] = x[v];                                                                                              \
            if ((chains) == 2)                                                                                         \
                at[v] *= x[v];                                                                                         \
        }                                                                                                              \
        if (terms % (chains)) {                                                                                        \
            f -= s->f_step;                                                                                            \
            g -= s->g_step;                                                                                            \
            for (size_t v = 0; v < (vectors); v++)                                                                     \
                total[0][v] = NAME(splat)(*f) * NAME(load)(g + v * LANES);                                             \
        }                                                                                                              \
        for (size_t k = terms / (chains); k > 0; k--)                                                                  \
            for (size_t e = (chains); e-- > 0;) {                                                                      \
                f -= s->f_step;                                                                                        \
                g -= s->g_step;                                                                                        \
                V fk = NAME(splat)(*f);                                                                                \
                for (size_t v = 0; v < (vectors); v++)                                                                 \
                    total[e][v] = NAME(fused)(total[e][v], at[v], fk * NAME(load)(g + v * LANES));                     \
            }                                                                                                          \
        for (size_t v = 0; v < (vectors); v++) {                                                                       \
            sum[v] = total[0][v];                                                                                      \
            if ((chains) == 2)                                                                                         \
                sum[v] = NAME(fused)(total[(chains)-1][v], x[v], sum[v]);                                              \
        }                                                                                                              \
    }
HORNER(1, 2)
HORNER(2, 2)
HORNER(3, 1)
HORNER(4, 1)
HORNER(5, 1)
HORNER(6, 1)
#undef HORNER

static inline void NAME(horner)(size_t vectors, size_t terms, const tp_sum_of *s, size_t column, const V *x, V *sum)
{
    static void (*const by_vectors[])(size_t, const tp_sum_of *, size_t, const V *, V *) = {
        NAME(horner1), NAME(horner2), NAME(horner3), NAME(horner4), NAME(horner5), NAME(horner6),
    };
    by_vectors[vectors - 1](terms, s, column, x, sum);
}

/* Groups of vectors, as large as each other: their correlations, and powers of the series, and the terms that each
 * takes. */
typedef struct {
    V c[SERIES_GROUPS * SERIES_ABREAST], x[SERIES_GROUPS * SERIES_ABREAST];
    size_t n, vectors[SERIES_GROUPS], terms[SERIES_GROUPS];
    double largest; /* of the correlations all terms are taken for */
    bool skipped;   /* not all terms are taken of one */
} NAME(groups);

/* From a column on, of `left` vectors. */
static inline void NAME(form_groups)(size_t n, const tp_sum_of *s, const tp_terms *enough, const double *q12, size_t at,
                                     size_t left, NAME(groups) * to)
{
    size_t all = (left + SERIES_ABREAST - 1) / SERIES_ABREAST, done = 0;
    V first = NAME(splat)(s->inverse);
    to->n = all < SERIES_GROUPS ? all : SERIES_GROUPS;
    for (size_t k = 0; k < to->n; k++) {
        size_t vectors = (left + all - k - 1) / (all - k);
        V sizes = { 0 };
        for (size_t v = 0; v < vectors; v++, at += LANES, done++) {
            V c = NAME(load_some)(q12 + at, n - at) * first * NAME(load_some)(s->inverses + at, n - at);
            to->c[done] = to->x[done] = c = NAME(correlation)(c);
            if (s->squared)
                to->x[done] *= c;
            sizes = LOOP_MAX(NAME(absolute)(c), sizes);
        }
        double most = LOOP_LARGEST(sizes);
        size_t level = NAME(level)(most, enough);
        if (level + 1 < enough->n)
            to->skipped = true;
        else
            to->largest = most > to->largest ? most : to->largest;
        to->vectors[k] = vectors;
        to->terms[k] = enough->terms[level];
        left -= vectors;
    }
}

/* How many terms some groups take is known before their sums begin, so that no sum waits for it. */
static double NAME(series)(size_t n, const tp_sum_of *s, const tp_terms *enough, const double *q12, double *out,
                           bool *skipped)
{
    NAME(groups) groups;
    groups.skipped = *skipped;
    groups.largest = 0;
    for (size_t j = 0; j < n;) {
        V sum[SERIES_ABREAST];
        NAME(form_groups)(n, s, enough, q12, j, (n - j + LANES - 1) / LANES, &groups);
        for (size_t k = 0, done = 0; k < groups.n; k++) {
            NAME(horner)(groups.vectors[k], groups.terms[k], s, j, groups.x + done, sum);
            for (size_t v = 0; v < groups.vectors[k]; v++, done++, j += LANES) {
                if (s->odd)
                    sum[v] *= groups.c[done];
                NAME(store_some)(out + j, n - j, sum[v]);
            }
        }
    }
    *skipped = groups.skipped;
    return groups.largest;
}

static void NAME(multiply)(size_t n, const double *a, const double *b, double *out)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        NAME(store)(out + i, NAME(load)(a + i) * NAME(load)(b + i));
    for (; i < n; i++)
        out[i] = a[i] * b[i];
}

static void NAME(affine)(size_t n, double c, double ca, const double *a, double *out)
{
    size_t i = 0;
    V offset = NAME(splat)(c), factor = NAME(splat)(ca);
    for (; i + LANES <= n; i += LANES)
        NAME(store)(out + i, offset + factor * NAME(load)(a + i));
    for (; i < n; i++)
        out[i] = c + ca * a[i];
}

static void NAME(affine2)(size_t n, double c, double ca, const double *a, double cb, const double *b, double *out)
{
    size_t i = 0;
    V offset = NAME(splat)(c), first = NAME(splat)(ca), second = NAME(splat)(cb);
    for (; i + LANES <= n; i += LANES)
        NAME(store)(out + i, offset + first * NAME(load)(a + i) + second * NAME(load)(b + i));
    for (; i < n; i++)
        out[i] = c + ca * a[i] + cb * b[i];
}

/* Vectors of columns whose sums with a few rows' stay in registers. */
enum { NAME(WIDE) = LANES == 4 ? 3 : 4 };

/* So many rows (PRODUCT_ROWS or 1) times so many vectors (WIDE or 1). */
static inline __attribute__((always_inline)) void NAME(product_block)(size_t high, size_t wide, size_t size,
                                                                      const double *x, const double *turned,
                                                                      size_t stride, size_t columns, double *out)
{
    V sum[PRODUCT_ROWS][NAME(WIDE)] = { { { 0 } } };
    for (size_t k = 0; k < size; k++, turned += stride)
        for (size_t i = 0; i < high; i++)
            for (size_t v = 0; v < wide; v++)
                sum[i][v] = NAME(fused)(NAME(splat)(x[i * size + k]), NAME(load)(turned + v * LANES), sum[i][v]);
    for (size_t i = 0; i < high; i++)
        for (size_t v = 0; v < wide; v++)
            NAME(store_some)(out + i * columns + v * LANES, columns, sum[i][v]);
}

/* Columns by columns, so that theirs stay in the nearest cache over all rows. */
static void NAME(products)(size_t rows, size_t columns, size_t size, const double *x, const double *turned,
                           size_t stride, double *out)
{
    size_t j = 0;
    for (; j + NAME(WIDE) * LANES <= columns; j += NAME(WIDE) * LANES) {
        size_t i = 0;
        for (; i + PRODUCT_ROWS <= rows; i += PRODUCT_ROWS)
            NAME(product_block)
        (PRODUCT_ROWS, NAME(WIDE), size, x + i * size, turned + j, stride, columns, out + i * columns + j);
        for (; i < rows; i++)
            NAME(product_block)(1, NAME(WIDE), size, x + i * size, turned + j, stride, columns, out + i * columns + j);
    }
    for (; j < columns; j += LANES) {
        size_t at = j + LANES <= columns || columns < LANES ? j : columns - LANES, i = 0; /* the last ones twice */
        for (; i + PRODUCT_ROWS <= rows; i += PRODUCT_ROWS)
            NAME(product_block)
        (PRODUCT_ROWS, 1, size, x + i * size, turned + at, stride, columns, out + i * columns + at);
        for (; i < rows; i++)
            NAME(product_block)(1, 1, size, x + i * size, turned + at, stride, columns, out + i * columns + at);
    }
}

static void NAME(accumulate)(size_t n, double c, const double *a, const double *b, double *out)
{
    size_t i = 0;
    V factor = NAME(splat)(c);
    for (; i + LANES <= n; i += LANES) {
        V x = factor * NAME(load)(a + i);
        if (b)
            x *= NAME(load)(b + i);
        NAME(store)(out + i, NAME(load)(out + i) + x);
    }
    for (; i < n; i++)
        out[i] += b ? c * a[i] * b[i] : c * a[i];
}

static inline void NAME(gather_fan)(size_t n, size_t fan, const int32_t *rows, double c, const double *in, bool starts,
                                    double *out)
{
    enum { VECTORS = TP_LANES / LANES };
    V factor = NAME(splat)(c);
    for (size_t i = 0; i < n; i++, rows += fan, out += TP_LANES) {
        V sum[VECTORS] = { 0 };
        for (size_t k = 0; k < fan; k++) {
            const double *from = in + (ptrdiff_t)rows[k] * TP_LANES;
            for (size_t v = 0; v < VECTORS; v++)
                sum[v] += NAME(load)(from + v * LANES);
        }
        for (size_t v = 0; v < VECTORS; v++) {
            V value = factor * sum[v];
            if (!starts)
                value += NAME(load)(out + v * LANES);
            NAME(store)(out + v * LANES, value);
        }
    }
}

/* Windows are mostly of three. */
static void NAME(gather)(size_t n, size_t fan, const int32_t *rows, double c, const double *in, bool starts,
                         double *out)
{
    if (fan == 1)
        NAME(gather_fan)(n, 1, rows, c, in, starts, out);
    else if (fan == 3 && starts)
        NAME(gather_fan)(n, 3, rows, c, in, true, out);
    else
        NAME(gather_fan)(n, fan, rows, c, in, starts, out);
}

/* Products before sums: the same bits in every instruction set. */
static void NAME(dots)(size_t n, size_t fan, const int32_t *pairs, const double *x, const double *y, double *out)
{
    enum { VECTORS = TP_LANES / LANES };
    for (size_t i = 0; i < n; i++, out += TP_LANES) {
        V sum[VECTORS] = { 0 };
        for (size_t k = 0; k < fan; k++, pairs += 2) {
            V a = NAME(splat)(x[(size_t)pairs[0] * TP_LANES]);
            for (size_t v = 0; v < VECTORS; v++)
                sum[v] += a * NAME(load)(y + (size_t)pairs[1] * TP_LANES + v * LANES);
        }
        for (size_t v = 0; v < VECTORS; v++)
            NAME(store)(out + v * LANES, sum[v]);
    }
}

static void NAME(scatter)(size_t n, const int32_t *pairs, double c, const double *in, double *out)
{
    enum { VECTORS = TP_LANES / LANES };
    V sum[VECTORS], factor = NAME(splat)(c);
    for (size_t i = 0; i < n;) { /* those that go to one row are together */
        int32_t into = pairs[2 * i];
        double *to = out + (size_t)into * TP_LANES;
        for (size_t v = 0; v < VECTORS; v++)
            sum[v] = NAME(load)(to + v * LANES);
        for (; i < n && pairs[2 * i] == into; i++)
            for (size_t v = 0; v < VECTORS; v++)
                sum[v] += factor * NAME(load)(in + (size_t)pairs[2 * i + 1] * TP_LANES + v * LANES);
        for (size_t v = 0; v < VECTORS; v++)
            NAME(store)(to + v * LANES, sum[v]);
    }
}

static double NAME(off_line)(size_t n, const double *q12, const double *a, const double *b, double line, bool *beyond)
{
    size_t i = 0;
    V most = { 0 }, limit = NAME(splat)(1 - line);
    I on = { 0 };
    double lanes[LANES], largest = 0;
    *beyond = false;
    for (; i + LANES <= n; i += LANES) {
        V c = NAME(absolute)(NAME(load)(q12 + i)) * NAME(load)(a + i) * NAME(load)(b + i);
        I over = (I)(c > limit);
        on |= over;
        most = NAME(select)((I)(c > most) & ~over, c, most);
    }
    NAME(store)(lanes, most);
    for (size_t k = 0; k < LANES; k++) {
        largest = lanes[k] > largest ? lanes[k] : largest;
        *beyond = *beyond || on[k];
    }
    for (; i < n; i++) {
        double c = fabs(q12[i]) * a[i] * b[i];
        bool over = c > 1 - line;
        *beyond = *beyond || over;
        largest = !over && c > largest ? c : largest;
    }
    return largest;
}

static double NAME(largest)(size_t n, const double *a, const double *scale)
{
    size_t i = 0;
    V most = { 0 };
    double lanes[LANES], largest = 0;
    for (; i + LANES <= n; i += LANES) {
        V x = NAME(absolute)(NAME(load)(a + i)) * NAME(load)(scale + i);
        most = NAME(select)((I)(x > most), x, most);
    }
    NAME(store)(lanes, most);
    for (size_t k = 0; k < LANES; k++)
        largest = lanes[k] > largest ? lanes[k] : largest;
    for (; i < n; i++)
        largest = fabs(a[i]) * scale[i] > largest ? fabs(a[i]) * scale[i] : largest;
    return largest;
}

static bool NAME(within)(size_t n, const double *a, double least, double most)
{
    size_t i = 0;
    I beyond = { 0 };
    bool within = true;
    for (; i + LANES <= n; i += LANES) {
        V x = NAME(absolute)(NAME(load)(a + i));
        beyond |= ~((I)(x >= least) & (I)(x <= most));
    }
    for (; i < n; i++)
        within = within && fabs(a[i]) >= least && fabs(a[i]) <= most;
    return within && !LOOP_ANY(beyond);
}

static const tp_vector PASTE(vector, LOOP_TAG) = {
    .relu = NAME(relu),
    .sign = NAME(sign),
    .erf = NAME(erf),
    .gelu = NAME(gelu),
    .wave = NAME(wave),
    .exp = NAME(exp),
    .relu_rows = NAME(relu_rows),
    .erf_rows = NAME(erf_rows),
    .series = NAME(series),
    .hermite = NAME(hermite),
    .multiply = NAME(multiply),
    .affine = NAME(affine),
    .affine2 = NAME(affine2),
    .products = NAME(products),
#ifdef LOOP_FMA
    .small = 128,
#else
    .small = 16,
#endif
    .accumulate = NAME(accumulate),
    .sum3 = NAME(sum3),
    .weigh = NAME(weigh),
    .gather = NAME(gather),
    .dots = NAME(dots),
    .scatter = NAME(scatter),
    .relu_points = NAME(relu_points),
    .off_line = NAME(off_line),
    .largest = NAME(largest),
    .within = NAME(within),
};

#undef V
#undef I
#undef LANES
#undef REAL
#undef LOOP_V
#undef LOOP_KIND
#undef LOOP_TAG
#undef LOOP_SQRT
#undef LOOP_INVERSE_ROOT
#undef LOOP_LOOKUP
#undef LOOP_FMA
#undef LOOP_MAX
#undef LOOP_LARGEST
#undef LOOP_BITS
#undef LOOP_ANY
#undef LOOP_COUNT
#endif
