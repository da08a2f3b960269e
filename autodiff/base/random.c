/* random.c: random numbers by counter. Draws 2j and 2j + 1 of a stream come from one Philox block, whose counter is
 * (j, stream) and whose key is the seed, so that a draw depends on its own number only. The logarithm, sine and cosine
 * are SLEEF's functions without fused multiply-add, which return the same bits on every instruction set. */
#include "autodiff/autodiff.h"

#include <Random123/philox.h>
#include <math.h>
#include <sleef.h>

/* The top bit of j, which no draw reaches, keeps the uniform draws of a stream apart from its normal ones. */
enum draw { NORMAL = 0, UNIFORM = 1 };

enum {
    BLOCKS = 512,         /* Philox blocks in one go */
    CHUNK = 2 * BLOCKS,   /* draws in one go */
    PARALLEL = 64 * CHUNK /* from here on threads pay for themselves */
};

/* 52 bits as an odd multiple of 2^-53: exact, symmetric about 1/2, never 0 or 1. */
static inline double unit(uint32_t high, uint32_t low)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 12;
    return ((double)(int64_t)bits + 0.5) * 0x1p-52;
}

/* Uniforms number 2j ... 2(j + count) - 1: the even ones into u, the odd ones into v. */
static void blocks(uint64_t seed, uint64_t stream, enum draw kind, uint64_t j, size_t count, double *u, double *v)
{
    philox4x32_key_t key = { { (uint32_t)seed, (uint32_t)(seed >> 32) } };
    for (size_t i = 0; i < count; i++) {
        uint64_t index = (j + i) | (uint64_t)kind << 63;
        philox4x32_ctr_t counter;
        counter.v[0] = (uint32_t)index;
        counter.v[1] = (uint32_t)(index >> 32);
        counter.v[2] = (uint32_t)stream;
        counter.v[3] = (uint32_t)(stream >> 32);
        philox4x32_ctr_t word = philox4x32(counter, key);
        u[i] = unit(word.v[0], word.v[1]);
        v[i] = unit(word.v[2], word.v[3]);
    }
}

/* Box-Muller in place: (u, v) <- sqrt(-2 log u) (cos 2 pi v, sin 2 pi v). count is even; u and v are aligned to 16. */
static void box_muller(size_t count, double *u, double *v)
{
#ifdef __SSE2__
    for (size_t i = 0; i < count; i += 2) {
        __m128d log_u = Sleef_cinz_logd2_u10sse2(_mm_load_pd(u + i));
        __m128d radius = _mm_sqrt_pd(_mm_mul_pd(_mm_set1_pd(-2), log_u));
        Sleef___m128d_2 angle = Sleef_cinz_sincospid2_u05sse2(_mm_mul_pd(_mm_set1_pd(2), _mm_load_pd(v + i)));
        _mm_store_pd(u + i, _mm_mul_pd(radius, angle.y));
        _mm_store_pd(v + i, _mm_mul_pd(radius, angle.x));
    }
#else
    for (size_t i = 0; i < count; i++) {
        double radius = sqrt(-2 * Sleef_cinz_logd1_u10purec(u[i]));
        Sleef_double_2 angle = Sleef_cinz_sincospid1_u05purec(2 * v[i]);
        u[i] = radius * angle.y;
        v[i] = radius * angle.x;
    }
#endif
}

/* At most CHUNK draws; the first one may be odd. */
static void chunk(uint64_t seed, uint64_t stream, enum draw kind, uint64_t first, size_t count, double *out)
{
    _Alignas(64) double u[BLOCKS + 2], v[BLOCKS + 2];
    size_t odd = first & 1, n = (odd + count + 1) / 2;
    n += n & 1;
    blocks(seed, stream, kind, first / 2, n, u, v);
    if (kind == NORMAL)
        box_muller(n, u, v);
    size_t i = 0;
    if (odd && count)
        out[i++] = v[0]; /* NOLINT(clang-analyzer-core.uninitialized.Assign): blocks fills n of each */
    for (size_t k = odd; i + 1 < count; k++, i += 2) {
        out[i] = u[k]; /* NOLINT(clang-analyzer-core.uninitialized.Assign) */
        out[i + 1] = v[k];
    }
    if (i < count)
        out[i] = u[(odd + i) / 2];
}

static void fill(uint64_t seed, uint64_t stream, enum draw kind, uint64_t first, size_t count, double *out)
{
#pragma omp parallel for schedule(static) if (count >= PARALLEL)
    for (size_t i = 0; i < count; i += CHUNK)
        chunk(seed, stream, kind, first + i, count - i < CHUNK ? count - i : CHUNK, out + i);
}

void ad_normal(uint64_t seed, uint64_t stream, uint64_t first, size_t count, double *out)
{
    fill(seed, stream, NORMAL, first, count, out);
}

void ad_uniform(uint64_t seed, uint64_t stream, uint64_t first, size_t count, double *out)
{
    fill(seed, stream, UNIFORM, first, count, out);
}

/* 64-bit FNV-1a. */
uint64_t ad_stream(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}
