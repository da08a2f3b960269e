/* loops.c: the file includes itself once for every instruction set and type; the loops are below the #else. */
#ifndef LOOP_T
#include "autodiff/plan/plan.h"

#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sleef.h>

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define NAME(name) PASTE(name, LOOP_TAG)
#define SLEEF3(name, kind, error, set) Sleef_##name##kind##_##error##set
#define SLEEF2(name, kind, error, set) SLEEF3(name, kind, error, set)

/* clang passes a vector wider than 16 bytes on the stack unless the whole file is compiled for the wider set, which
 * SLEEF does not expect: there its functions are called for 16 bytes at a time. */
#if defined(__clang__)
#define SLEEF(name, error) SLEEF2(name, LOOP_QUARTER_KIND, error, )
#define SLEEF_V LOOP_QUARTER
#else
#define SLEEF(name, error) SLEEF2(name, LOOP_KIND, error, LOOP_SET)
#define SLEEF_V LOOP_V
#endif

#if defined(__x86_64__)
#define BASE_FLOAT __m128
#define BASE_DOUBLE __m128d
#else
#define BASE_FLOAT float32x4_t
#define BASE_DOUBLE float64x2_t
#endif

#if defined(__x86_64__)
/* sleef.h shows the functions of an instruction set only to files compiled for it as a whole. */
#define SHOW(V, kind, set)                                                                                             \
    V Sleef_exp##kind##_u10##set(V);                                                                                   \
    V Sleef_expm1##kind##_u10##set(V);                                                                                 \
    V Sleef_log##kind##_u10##set(V);                                                                                   \
    V Sleef_log1p##kind##_u10##set(V);                                                                                 \
    V Sleef_sin##kind##_u10##set(V);                                                                                   \
    V Sleef_cos##kind##_u10##set(V);                                                                                   \
    V Sleef_tanh##kind##_u10##set(V);                                                                                  \
    V Sleef_erf##kind##_u10##set(V);                                                                                   \
    V Sleef_erfc##kind##_u15##set(V);                                                                                  \
    V Sleef_pow##kind##_u10##set(V, V);

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))),                   \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
SHOW(__m512, f16, avx512f)
SHOW(__m512d, d8, avx512f)
#define LOOP_SET avx512f
#define LOOP_T float
#define LOOP_QUARTER BASE_FLOAT
#define LOOP_QUARTER_KIND f4
#define LOOP_INT int32_t
#define LOOP_V __m512
#define LOOP_KIND f16
#define LOOP_TAG avx512_float
#define LOOP_SQRT _mm512_sqrt_ps
#include "autodiff/plan/loops.c"
#define LOOP_T double
#define LOOP_QUARTER BASE_DOUBLE
#define LOOP_QUARTER_KIND d2
#define LOOP_INT int64_t
#define LOOP_V __m512d
#define LOOP_KIND d8
#define LOOP_TAG avx512_double
#define LOOP_SQRT _mm512_sqrt_pd
#include "autodiff/plan/loops.c"
#undef LOOP_SET
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
SHOW(__m256, f8, avx2)
SHOW(__m256d, d4, avx2)
#define LOOP_SET avx2
#define LOOP_T float
#define LOOP_QUARTER BASE_FLOAT
#define LOOP_QUARTER_KIND f4
#define LOOP_INT int32_t
#define LOOP_V __m256
#define LOOP_KIND f8
#define LOOP_TAG avx2_float
#define LOOP_SQRT _mm256_sqrt_ps
#include "autodiff/plan/loops.c"
#define LOOP_T double
#define LOOP_QUARTER BASE_DOUBLE
#define LOOP_QUARTER_KIND d2
#define LOOP_INT int64_t
#define LOOP_V __m256d
#define LOOP_KIND d4
#define LOOP_TAG avx2_double
#define LOOP_SQRT _mm256_sqrt_pd
#include "autodiff/plan/loops.c"
#undef LOOP_SET
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

#define LOOP_SET
#define LOOP_T float
#define LOOP_QUARTER BASE_FLOAT
#define LOOP_QUARTER_KIND f4
#define LOOP_INT int32_t
#define LOOP_V BASE_FLOAT
#define LOOP_KIND f4
#define LOOP_TAG base_float
#define LOOP_SQRT Sleef_sqrtf4_u05
#include "autodiff/plan/loops.c"
#define LOOP_T double
#define LOOP_QUARTER BASE_DOUBLE
#define LOOP_QUARTER_KIND d2
#define LOOP_INT int64_t
#define LOOP_V BASE_DOUBLE
#define LOOP_KIND d2
#define LOOP_TAG base_double
#define LOOP_SQRT Sleef_sqrtd2_u05
#include "autodiff/plan/loops.c"

/* 2: AVX-512, 1: AVX2, 0: what every machine of this architecture has. */
static int level(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 1;
#endif
    return 0;
}

const ad_loops *ad_loops_get(ad_type type)
{
    static const ad_loops *const tables[3][2] = {
        { &loops_base_float, &loops_base_double },
#if defined(__x86_64__)
        { &loops_avx2_float, &loops_avx2_double },
        { &loops_avx512_float, &loops_avx512_double },
#endif
    };
    return tables[level()][type == AD_DOUBLE];
}

const char *ad_loops_name(void)
{
    static const char *const names[] = { "base", "avx2", "avx512" };
    return names[level()];
}

#else /* ---- the loops, for one instruction set and one type ---- */
#define T LOOP_T
#define V NAME(vector)
#define I NAME(mask)
#define D NAME(wide)
#define LANES (sizeof(V) / sizeof(T))
typedef LOOP_V V;
typedef LOOP_INT I __attribute__((vector_size(sizeof(LOOP_V))));
typedef double D __attribute__((vector_size(sizeof(LOOP_V) / sizeof(T) * sizeof(double))));

static inline V NAME(load)(const T *p)
{
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void NAME(store)(T *p, V v)
{
    memcpy(p, &v, sizeof v);
}

/* The first `count` elements; the others are `rest`. */
static inline V NAME(load_part)(const T *p, size_t count, T rest)
{
    T all[LANES];
    for (size_t i = 0; i < LANES; i++)
        all[i] = i < count ? p[i] : rest;
    return NAME(load)(all);
}

static inline void NAME(store_part)(T *p, V v, size_t count)
{
    T all[LANES];
    NAME(store)(all, v);
    for (size_t i = 0; i < LANES && i < count; i++)
        p[i] = all[i];
}

static inline V NAME(splat)(T x)
{
    return x - (V){ 0 };
}

static inline V NAME(select)(I mask, V yes, V no)
{
    return (V)((mask & (I)yes) | (~mask & (I)no));
}

static inline V NAME(absolute)(V x)
{
    return (V)((I)x & ~(I)NAME(splat)((T)-0.0));
}

/* max(x, 0) and min(x, 0); a NaN stays. */
static inline V NAME(positive)(V x)
{
    return NAME(select)((I)(x < 0), (V){ 0 }, x);
}

/* SLEEF's functions of a whole vector. */
#define VECTOR_MATH(name, error)                                                                                       \
    static inline V NAME(name##_of)(V x)                                                                               \
    {                                                                                                                  \
        SLEEF_V part[sizeof(V) / sizeof(SLEEF_V)];                                                                     \
        memcpy(part, &x, sizeof x);                                                                                    \
        for (size_t i = 0; i < sizeof(V) / sizeof(SLEEF_V); i++)                                                       \
            part[i] = SLEEF(name, error)(part[i]);                                                                     \
        memcpy(&x, part, sizeof x);                                                                                    \
        return x;                                                                                                      \
    }
VECTOR_MATH(exp, u10)
VECTOR_MATH(expm1, u10)
VECTOR_MATH(log, u10)
VECTOR_MATH(log1p, u10)
VECTOR_MATH(sin, u10)
VECTOR_MATH(cos, u10)
VECTOR_MATH(tanh, u10)
VECTOR_MATH(erf, u10)
VECTOR_MATH(erfc, u15)
#undef VECTOR_MATH

static inline V NAME(pow_of)(V x, V p)
{
    SLEEF_V part[sizeof(V) / sizeof(SLEEF_V)], power[sizeof(V) / sizeof(SLEEF_V)];
    memcpy(part, &x, sizeof x);
    memcpy(power, &p, sizeof p);
    for (size_t i = 0; i < sizeof(V) / sizeof(SLEEF_V); i++)
        part[i] = SLEEF(pow, u10)(part[i], power[i]);
    memcpy(&x, part, sizeof x);
    return x;
}

/* 1 / (1 + e^-x) without overflow: with e = e^-|x| it is 1 / (1 + e) or e / (1 + e). */
static inline V NAME(sigmoid_of)(V x)
{
    V e = NAME(exp_of)(-NAME(absolute)(x));
    return NAME(select)((I)(x < 0), e, NAME(splat)(1)) / (1 + e);
}

/* tanh log(1 + e^x) = (e^2 + 2 e) / (e^2 + 2 e + 2) with e = e^x, which is 1 to rounding from x = 20 on. */
static inline V NAME(tanh_log_of)(V x)
{
    V e = NAME(exp_of)(NAME(select)((I)(x < 20), x, NAME(splat)(20))), part = e * (e + 2);
    return part / (part + 2);
}

/* The normal distribution function, erfc(-x / sqrt 2) / 2: accurate in the left tail, too. */
static inline V NAME(normal_of)(V x)
{
    return (T)0.5 * NAME(erfc_of)(x * (T)-0.70710678118654752440);
}

#define UNARY(op, ...)                                                                                                 \
    static inline V NAME(op##_at)(V x, V p)                                                                            \
    {                                                                                                                  \
        (void)p;                                                                                                       \
        return __VA_ARGS__;                                                                                            \
    }                                                                                                                  \
    static void NAME(op)(size_t n, void *y_, const void *a_, const void *b_, double p_)                                \
    {                                                                                                                  \
        T *y = y_;                                                                                                     \
        const T *a = a_;                                                                                               \
        V p = NAME(splat)((T)p_);                                                                                      \
        size_t i = 0;                                                                                                  \
        (void)b_;                                                                                                      \
        for (; i + LANES <= n; i += LANES)                                                                             \
            NAME(store)(y + i, NAME(op##_at)(NAME(load)(a + i), p));                                                   \
        if (i < n)                                                                                                     \
            NAME(store_part)(y + i, NAME(op##_at)(NAME(load_part)(a + i, n - i, 1), p), n - i);                        \
    }

#define BINARY(op, expression)                                                                                         \
    static void NAME(op)(size_t n, void *y_, const void *a_, const void *b_, double p_)                                \
    {                                                                                                                  \
        T *y = y_;                                                                                                     \
        const T *a = a_, *b = b_;                                                                                      \
        size_t i = 0;                                                                                                  \
        (void)p_;                                                                                                      \
        for (; i + LANES <= n; i += LANES) {                                                                           \
            V u = NAME(load)(a + i), v = NAME(load)(b + i);                                                            \
            NAME(store)(y + i, expression);                                                                            \
        }                                                                                                              \
        if (i < n) {                                                                                                   \
            V u = NAME(load_part)(a + i, n - i, 1), v = NAME(load_part)(b + i, n - i, 1);                              \
            NAME(store_part)(y + i, expression, n - i);                                                                \
        }                                                                                                              \
    }

UNARY(identity, x)
UNARY(neg, -x)
UNARY(relu, NAME(positive)(x))
UNARY(step, NAME(select)((I)(x > 0), NAME(splat)(1), (V){ 0 }))
UNARY(leaky, NAME(select)((I)(x > 0), x, p *x))
UNARY(leaky_step, NAME(select)((I)(x > 0), NAME(splat)(1), p))
UNARY(abs, NAME(absolute)(x))
UNARY(sign, NAME(select)((I)(x > 0), NAME(splat)(1), NAME(select)((I)(x < 0), NAME(splat)(-1), (V){ 0 })))
UNARY(square, x *x)
UNARY(power_any, NAME(pow_of)(x, p))
UNARY(cube, x *x *x)
UNARY(reciprocal, 1 / x)
UNARY(exp, NAME(exp_of)(x))
UNARY(log, NAME(log_of)(x))
UNARY(sqrt, LOOP_SQRT(x))
UNARY(rsqrt, 1 / LOOP_SQRT(x))
UNARY(sin, NAME(sin_of)(x))
UNARY(cos, NAME(cos_of)(x))
UNARY(tanh, NAME(tanh_of)(x))
UNARY(sigmoid, NAME(sigmoid_of)(x))
UNARY(erf, NAME(erf_of)(x))
UNARY(erf_grad, (T)1.12837916709551257390 * NAME(exp_of)(-(x * x)))
UNARY(gelu, x *NAME(normal_of)(x))
UNARY(gelu_grad, NAME(normal_of)(x) + (T)0.39894228040143267794 * x * NAME(exp_of)(x * x * (T)-0.5))
UNARY(softplus, NAME(positive)(x) + NAME(log1p_of)(NAME(exp_of)(-NAME(absolute)(x))))
UNARY(swish, x *NAME(sigmoid_of)(x))
UNARY(hard_tanh, NAME(select)((I)(x > 1), NAME(splat)(1), NAME(select)((I)(x < -1), NAME(splat)(-1), x)))
UNARY(hard_tanh_step, NAME(select)((I)(NAME(absolute)(x) < 1), NAME(splat)(1), (V){ 0 }))
UNARY(elu, NAME(select)((I)(x > 0), x, NAME(expm1_of)(x)))
UNARY(elu_grad, NAME(select)((I)(x > 0), NAME(splat)(1), NAME(exp_of)(x)))
UNARY(selu, NAME(select)((I)(x > 0), (T)1.05070098735548049342 * x, (T)1.75809934084737685994 * NAME(expm1_of)(x)))
UNARY(selu_grad,
      NAME(select)((I)(x > 0), NAME(splat)((T)1.05070098735548049342), (T)1.75809934084737685994 * NAME(exp_of)(x)))
UNARY(mish, x *NAME(tanh_log_of)(x))
UNARY(scale, p *x)
BINARY(add, u + v)
BINARY(sub, u - v)
BINARY(mul, u *v)
BINARY(div, u / v)
#undef UNARY
#undef BINARY

static void NAME(power)(size_t n, void *y, const void *a, const void *b, double p)
{
    bool two = p >= 2 && p <= 2, three = p >= 3 && p <= 3, inverse = p >= -1 && p <= -1;
    (two ? NAME(square) : three ? NAME(cube) : inverse ? NAME(reciprocal) : NAME(power_any))(n, y, a, b, p);
}

static void NAME(to_double)(size_t n, double *y, const void *x_)
{
    const T *x = x_;
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
}

static void NAME(from_double)(size_t n, void *y_, const double *x, double factor)
{
    T *y = y_;
    for (size_t i = 0; i < n; i++)
        y[i] = (T)(factor * x[i]);
}

static void NAME(copy)(size_t n, void *y_, ptrdiff_t step_y, const void *x_, ptrdiff_t step_x)
{
    T *y = y_;
    const T *x = x_;
    if (step_y == 1 && step_x == 1 && n >= 64) {
        memcpy(y, x, n * sizeof *y);
        return;
    }
    if (step_y == 1 && step_x == 0) {
        T value = *x;
        for (size_t i = 0; i < n; i++)
            y[i] = value;
        return;
    }
    for (size_t i = 0; i < n; i++, y += step_y, x += step_x)
        *y = *x;
}

/* Four accumulators a lane, in double; the order of the additions depends on n alone. */
static double NAME(sum)(size_t n, const void *x_, ptrdiff_t step)
{
    const T *x = x_;
    double total = 0;
    size_t i = 0;
    if (step == 1 && n >= 4 * LANES) {
        D s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 };
        for (; i + 4 * LANES <= n; i += 4 * LANES) {
            s0 += __builtin_convertvector(NAME(load)(x + i), D);
            s1 += __builtin_convertvector(NAME(load)(x + i + LANES), D);
            s2 += __builtin_convertvector(NAME(load)(x + i + 2 * LANES), D);
            s3 += __builtin_convertvector(NAME(load)(x + i + 3 * LANES), D);
        }
        s0 += s1 + (s2 + s3);
        for (size_t k = 0; k < LANES; k++)
            total += s0[k];
    }
    for (x += (ptrdiff_t)i * step; i < n; i++, x += step)
        total += (double)*x;
    return total;
}

static double NAME(dot)(size_t n, const void *a_, ptrdiff_t step_a, const void *b_, ptrdiff_t step_b)
{
    const T *a = a_, *b = b_;
    double total = 0;
    size_t i = 0;
    if (step_a == 1 && step_b == 1 && n >= 2 * LANES) {
        D s0 = { 0 }, s1 = { 0 };
        for (; i + 2 * LANES <= n; i += 2 * LANES) {
            s0 += __builtin_convertvector(NAME(load)(a + i), D) * __builtin_convertvector(NAME(load)(b + i), D);
            s1 += __builtin_convertvector(NAME(load)(a + i + LANES), D) *
                  __builtin_convertvector(NAME(load)(b + i + LANES), D);
        }
        s0 += s1;
        for (size_t k = 0; k < LANES; k++)
            total += s0[k];
    }
    a += (ptrdiff_t)i * step_a;
    b += (ptrdiff_t)i * step_b;
    for (; i < n; i++, a += step_a, b += step_b)
        total += (double)*a * (double)*b;
    return total;
}

static void NAME(accumulate)(size_t n, double *sums, const void *x_, ptrdiff_t step)
{
    const T *x = x_;
    size_t i = 0;
    if (step == 1)
        for (; i + LANES <= n; i += LANES) {
            D s;
            memcpy(&s, sums + i, sizeof s);
            s += __builtin_convertvector(NAME(load)(x + i), D);
            memcpy(sums + i, &s, sizeof s);
        }
    for (x += (ptrdiff_t)i * step; i < n; i++, x += step)
        sums[i] += (double)*x;
}

static void NAME(add_rows)(size_t n, void *y_, const void *x_, size_t rows, const ptrdiff_t *at, double factor)
{
    T *y = y_;
    const T *x = x_;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        D sum = { 0 };
        for (size_t k = 0; k < rows; k++)
            sum += __builtin_convertvector(NAME(load)(x + at[k] + i), D);
        NAME(store)(y + i, __builtin_convertvector(sum * factor, V));
    }
    for (; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < rows; k++)
            sum += (double)x[at[k] + (ptrdiff_t)i];
        y[i] = (T)(sum * factor);
    }
}

static void NAME(multiply_add)(size_t n, void *y_, ptrdiff_t step_y, const void *a_, ptrdiff_t step_a, const void *b_,
                               ptrdiff_t step_b, double p_)
{
    T *y = y_, p = (T)p_;
    const T *a = a_, *b = b_;
    size_t i = 0;
    if (step_y == 1 && step_a == 1 && step_b == 1)
        for (; i + LANES <= n; i += LANES)
            NAME(store)(y + i, NAME(load)(y + i) + p * NAME(load)(a + i) * NAME(load)(b + i));
    else if (step_y == 1 && step_a == 1 && step_b == 0)
        for (; i + LANES <= n; i += LANES)
            NAME(store)(y + i, NAME(load)(y + i) + p * NAME(load)(a + i) * *b);
    else if (step_y == 1 && step_a == 0 && step_b == 1)
        for (; i + LANES <= n; i += LANES)
            NAME(store)(y + i, NAME(load)(y + i) + p * *a * NAME(load)(b + i));
    y += (ptrdiff_t)i * step_y;
    a += (ptrdiff_t)i * step_a;
    b += (ptrdiff_t)i * step_b;
    for (; i < n; i++, y += step_y, a += step_a, b += step_b)
        *y += p * *a * *b;
}

/* The largest element; NaN if there is one. */
static T NAME(largest)(size_t n, const T *x)
{
    V best = NAME(splat)(x[0]);
    for (size_t i = 0; i < n; i += LANES) {
        V v = n - i >= LANES ? NAME(load)(x + i) : NAME(load_part)(x + i, n - i, x[0]);
        best = NAME(select)((I)(v > best) | (I)(v != v), v, best);
    }
    T m = best[0];
    for (size_t k = 1; k < LANES; k++)
        m = best[k] > m || best[k] != best[k] ? best[k] : m;
    return m;
}

static void NAME(max)(size_t n, void *y, const void *x)
{
    *(T *)y = NAME(largest)(n, x);
}

static void NAME(argmax)(size_t n, void *y_, const void *x_)
{
    T *y = y_;
    const T *x = x_, m = NAME(largest)(n, x);
    size_t at = 0;
    while (at < n && (m == m ? x[at] < m : x[at] == x[at]))
        at++;
    memset(y, 0, n * sizeof *y);
    if (at < n)
        y[at] = 1;
}

/* Of so many neighbours, a vector at most, the largest entry of each one's row. */
static V NAME(largest_along)(size_t left, size_t length, const T *x, ptrdiff_t step)
{
    V best = left == LANES ? NAME(load)(x) : NAME(load_part)(x, left, 0);
    for (size_t k = 1; k < length; k++) {
        x += step;
        V v = left == LANES ? NAME(load)(x) : NAME(load_part)(x, left, 0);
        best = NAME(select)((I)(v > best) | (I)(v != v), v, best);
    }
    return best;
}

static void NAME(max_along)(size_t n, size_t length, void *y_, const void *x_, ptrdiff_t step)
{
    T *y = y_;
    const T *x = x_;
    for (size_t i = 0; i < n; i += LANES) {
        size_t left = n - i < LANES ? n - i : LANES;
        V best = NAME(largest_along)(left, length, x + i, step);
        if (left == LANES)
            NAME(store)(y + i, best);
        else
            NAME(store_part)(y + i, best, left);
    }
}

static void NAME(argmax_along)(size_t n, size_t length, void *y_, ptrdiff_t step_y, const void *x_, ptrdiff_t step)
{
    const V one = NAME(splat)(1), none = NAME(splat)(0);
    for (size_t i = 0; i < n; i += LANES) {
        T *y = (T *)y_ + i;
        const T *x = (const T *)x_ + i;
        size_t left = n - i < LANES ? n - i : LANES;
        V best = NAME(largest_along)(left, length, x, step);
        I open = (I)(one == one); /* the first of the largest is still to come */
        for (size_t k = 0; k < length; k++, x += step, y += step_y) {
            V v = left == LANES ? NAME(load)(x) : NAME(load_part)(x, left, 0);
            I here = open & ((I)(v == best) | (I)(v != v));
            open &= ~here;
            V found = NAME(select)(here, one, none);
            if (left == LANES)
                NAME(store)(y, found);
            else
                NAME(store_part)(y, found, left);
        }
    }
}

/* y = e^(x - max x), and the sum of that; y may be NULL. A row of infinities of one sign is kept from inf - inf. */
static T NAME(exponentials)(size_t n, T *y, const T *x, T m)
{
    T shift = m - m == 0 ? m : 0;
    V sum = { 0 };
    for (size_t i = 0; i < n; i += LANES) {
        size_t left = n - i < LANES ? n - i : LANES;
        V v = left == LANES ? NAME(load)(x + i) : NAME(load_part)(x + i, left, (T)-INFINITY);
        v = NAME(exp_of)(v - shift);
        sum += v;
        if (y && left == LANES)
            NAME(store)(y + i, v);
        else if (y)
            NAME(store_part)(y + i, v, left);
    }
    T total = sum[0];
    for (size_t k = 1; k < LANES; k++)
        total += sum[k];
    return total;
}

static void NAME(softmax)(size_t n, void *y_, const void *x_)
{
    T *y = y_;
    const T *x = x_;
    T scale = 1 / NAME(exponentials)(n, y, x, NAME(largest)(n, x));
    for (size_t i = 0; i < n; i++)
        y[i] *= scale;
}

static void NAME(logsumexp)(size_t n, void *y_, const void *x_)
{
    const T *x = x_;
    T m = NAME(largest)(n, x), s = NAME(exponentials)(n, NULL, x, m);
    V v = NAME(log_of)(NAME(splat)(s));
    *(T *)y_ = m - m == 0 ? m + v[0] : v[0];
}

static const ad_loops NAME(loops) = {
    .op = {
#define AD_UNARY(OP, name, ...) [AD_##OP] = NAME(name),
#define AD_WITHOUT_CUSTOM
#define AD_BINARY(OP, name, ...) [AD_##OP] = NAME(name),
#include "autodiff/ops.def"
        [AD_SCALE] = NAME(scale),
    },
    .to_double = NAME(to_double),
    .from_double = NAME(from_double),
    .copy = NAME(copy),
    .sum = NAME(sum),
    .dot = NAME(dot),
    .accumulate = NAME(accumulate),
    .add_rows = NAME(add_rows),
    .multiply_add = NAME(multiply_add),
    .softmax = NAME(softmax),
    .argmax = NAME(argmax),
    .logsumexp = NAME(logsumexp),
    .max = NAME(max),
    .max_along = NAME(max_along),
    .argmax_along = NAME(argmax_along),
};
#undef T
#undef V
#undef I
#undef D
#undef LANES
#undef LOOP_T
#undef LOOP_INT
#undef LOOP_V
#undef LOOP_QUARTER
#undef LOOP_QUARTER_KIND
#undef LOOP_KIND
#undef LOOP_TAG
#undef LOOP_SQRT
#endif
