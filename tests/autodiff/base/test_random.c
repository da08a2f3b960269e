/* Random numbers: the generator against its published vectors, the draws against a naive twin, and their law.
 *
 * Every statistic has a bound that a true random source would cross with a probability below 1e-9 (in most cases 6.5
 * standard deviations: 2 (1 - Phi(6.5)) = 8e-11). The seeds are fixed, so a test that passes always passes. */
#include "autodiff/autodiff.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* ---- the naive twin: one Philox block and one Box-Muller pair a draw, in long double ----------------------------- */
static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4], k[2];
    memcpy(c, counter, sizeof c);
    memcpy(k, key, sizeof k);
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xd2511f53u * c[0], q = (uint64_t)0xcd9e8d57u * c[2];
        uint32_t next[4] = { (uint32_t)(q >> 32) ^ c[1] ^ k[0], (uint32_t)q, (uint32_t)(p >> 32) ^ c[3] ^ k[1],
                             (uint32_t)p };
        memcpy(c, next, sizeof c);
        k[0] += 0x9e3779b9u;
        k[1] += 0xbb67ae85u;
    }
    memcpy(out, c, sizeof c);
}

/* The two uniforms of block j; those of ad_uniform have the top bit of j set. */
static void pair(uint64_t seed, uint64_t stream, uint64_t j, long double u[2])
{
    uint32_t counter[4] = { (uint32_t)j, (uint32_t)(j >> 32), (uint32_t)stream, (uint32_t)(stream >> 32) }, word[4];
    philox(counter, (uint32_t[2]){ (uint32_t)seed, (uint32_t)(seed >> 32) }, word);
    for (int i = 0; i < 2; i++)
        u[i] = ((long double)(((uint64_t)word[2 * i] << 32 | word[2 * i + 1]) >> 12) + 0.5L) * 0x1p-52L;
}

/* The angle is taken from the nearest quarter turn, which is exact, so that small sines and cosines keep their
 * digits. */
static long double twin_normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    long double u[2];
    pair(seed, stream, i / 2, u);
    int quarter = (int)floorl(4 * u[1] + 0.5L);
    long double rest = (4 * u[1] - quarter) * acosl(0), s = sinl(rest), c = cosl(rest);
    const long double cosine[] = { c, -s, -c, s }, sine[] = { s, c, -s, -c };
    return sqrtl(-2 * logl(u[0])) * (i % 2 ? sine : cosine)[quarter % 4];
}

static long double twin_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    long double u[2];
    pair(seed, stream, i / 2 | (uint64_t)1 << 63, u);
    return u[i % 2];
}

/* The vectors that Random123 publishes for philox4x32 with 10 rounds. */
Test(random, the_twin_is_philox)
{
    const uint32_t vector[3][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
          0x24126ea1 },
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        philox(vector[i], vector[i] + 4, out);
        cr_assert_arr_eq(out, vector[i] + 6, sizeof out);
    }
}

/* Seeds, streams and numbers with bits in all words. The logarithm is good to 1 ulp and loses none near u = 1, the
 * angle to 0.5 ulp, the root and the product to 0.5 each: 2.5 ulp in all, where 1 ulp <= 2.3e-16 relative. */
Test(random, draws_equal_the_twin)
{
    const uint64_t seeds[] = { 0, 1, 0x123456789abcdef0u, UINT64_MAX };
    const uint64_t streams[] = { 0, 7, 0xfedcba9876543210u, UINT64_MAX };
    const uint64_t firsts[] = { 0, 1, 12345, 0x1fffffff0u, 0xfffffffffffffc00u };
    static double z[1000], u[1000];
    for (int s = 0; s < 4; s++)
        for (int t = 0; t < 4; t++)
            for (int f = 0; f < 5; f++) {
                ad_normal(seeds[s], streams[t], firsts[f], 1000, z);
                ad_uniform(seeds[s], streams[t], firsts[f], 1000, u);
                for (size_t i = 0; i < 1000; i++) {
                    long double want = twin_normal(seeds[s], streams[t], firsts[f] + i);
                    cr_assert_leq(fabsl(z[i] - want), 6e-16L * fabsl(want), "%.17g, not %.17Lg", z[i], want);
                    cr_assert_eq(u[i], (double)twin_uniform(seeds[s], streams[t], firsts[f] + i));
                }
            }
}

/* FNV-1a's published values of "", "a" and "foobar". */
Test(random, streams_are_fnv)
{
    cr_assert_eq(ad_stream(""), 0xcbf29ce484222325u);
    cr_assert_eq(ad_stream("a"), 0xaf63dc4c8601ec8cu);
    cr_assert_eq(ad_stream("foobar"), 0x85944171f73967e8u);
}

/* ---- a draw depends on its number only ------------------------------------------------------------------------- */
Test(random, any_window_shows_the_same_draws)
{
    enum { N = 5000 };
    static double whole[N], part[N + 1], uniform[N];
    ad_normal(5, 6, 0, N, whole);
    ad_uniform(5, 6, 0, N, uniform);
    for (size_t first = 0; first < 6; first++)
        for (size_t count = 0; count < 40; count++) {
            part[count] = 99;
            ad_normal(5, 6, first, count, part);
            cr_assert_arr_eq(part, whole + first, count * sizeof *part);
            ad_uniform(5, 6, first, count, part);
            cr_assert_arr_eq(part, uniform + first, count * sizeof *part);
            cr_assert_eq(part[count], 99, "it writes past its end");
        }
    for (size_t first = 1000; first < 1060; first += 7)
        for (size_t count = 1000; first + count <= N; count += 501) {
            ad_normal(5, 6, first, count, part);
            cr_assert_arr_eq(part, whole + first, count * sizeof *part);
        }
}

Test(random, threads_do_not_matter)
{
    enum { N = 300001 };
    double *one = malloc(N * sizeof *one), *many = malloc(N * sizeof *many);
    for (int threads = 2; threads <= 5; threads++) {
        omp_set_num_threads(1);
        ad_normal(3, 4, 1, N, one);
        omp_set_num_threads(threads);
        ad_normal(3, 4, 1, N, many);
        cr_assert_arr_eq(one, many, N * sizeof *one);
        omp_set_num_threads(1);
        ad_uniform(3, 4, 1, N, one);
        omp_set_num_threads(threads);
        ad_uniform(3, 4, 1, N, many);
        cr_assert_arr_eq(one, many, N * sizeof *one);
    }
    free(one);
    free(many);
}

/* The bits themselves, by 64-bit FNV-1a over 200,001 draws of a kind: whatever the compiler and the processor. */
static uint64_t print_of(void draw(uint64_t, uint64_t, uint64_t, size_t, double *))
{
    enum { N = 200001 };
    static double x[N];
    uint64_t hash = 0xcbf29ce484222325u;
    draw(7, 11, 1, N, x);
    for (size_t i = 0; i < N; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        for (int byte = 0; byte < 64; byte += 8)
            hash = (hash ^ (bits >> byte & 255)) * 0x100000001b3u;
    }
    return hash;
}

Test(random, draws_are_these_on_every_machine)
{
    uint64_t normal = print_of(ad_normal), uniform = print_of(ad_uniform);
    cr_expect(normal == 0x57c8ae8bc1e7d54d, "normal draws: %#llx", (unsigned long long)normal);
    cr_expect(uniform == 0xc4abc0d203358d1b, "uniform draws: %#llx", (unsigned long long)uniform);
}

/* ---- the law ---------------------------------------------------------------------------------------------------- */
enum { DRAWS = 1 << 21 };

static double *draws(uint64_t seed, uint64_t stream, bool normal)
{
    double *x = malloc(DRAWS * sizeof *x);
    cr_assert_not_null(x);
    (normal ? ad_normal : ad_uniform)(seed, stream, 0, DRAWS, x);
    return x;
}

static double correlation(const double *x, const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum / (double)n;
}

/* E z^k = (k-1)!! for even k, 0 for odd k; the mean of N draws of z^k has variance (E z^2k - (E z^k)^2) / N. Powers up
 * to
 * 4, so that the mean is normal to well beyond 6.5 deviations. */
Test(random, normal_moments)
{
    const double moment[] = { 1, 0, 1, 0, 3, 0, 15, 0, 105 };
    double *z = draws(11, ad_stream("moments"), true);
    for (int k = 1; k <= 4; k++) {
        double sum = 0;
        for (size_t i = 0; i < DRAWS; i++)
            sum += pow(z[i], k);
        double deviation = sqrt((moment[2 * k] - moment[k] * moment[k]) / DRAWS);
        cr_assert_leq(fabs(sum / DRAWS - moment[k]), 6.5 * deviation, "moment %d: %g", k, sum / DRAWS);
    }
    free(z);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov: P(sqrt N D > t) <= 2 exp(-2 t^2) for every N (Dvoretzky, Kiefer, Wolfowitz, Massart), which is
 * 1e-9 at t = 3.28. */
static void expect_law(double *x, double (*distribution)(double))
{
    double distance = 0;
    qsort(x, DRAWS, sizeof *x, ascending);
    for (size_t i = 0; i < DRAWS; i++) {
        double p = distribution(x[i]);
        distance = fmax(distance, fmax(p - (double)i / DRAWS, (double)(i + 1) / DRAWS - p));
    }
    cr_assert_leq(sqrt(DRAWS) * distance, 3.28);
}

static double normal_law(double z)
{
    return erfc(-z / sqrt(2)) / 2;
}

static double uniform_law(double u)
{
    return u;
}

Test(random, normal_law)
{
    double *z = draws(12, ad_stream("law"), true);
    expect_law(z, normal_law);
    free(z);
}

Test(random, uniform_law)
{
    double *u = draws(13, ad_stream("law"), false);
    for (size_t i = 0; i < DRAWS; i++)
        cr_assert(u[i] > 0 && u[i] < 1);
    expect_law(u, uniform_law);
    free(u);
}

/* Far tails, where few draws fall and Kolmogorov-Smirnov sees nothing: of N draws about N P(|z| > 4) = 132.8 exceed 4,
 * a Poisson count; its Chernoff bound exp(-m h(x / m)), h(r) = r log r - r + 1, is below 5e-10 on either side of
 * [65, 216]. */
Test(random, normal_tails)
{
    double *z = draws(14, ad_stream("tails"), true);
    int beyond = 0;
    for (size_t i = 0; i < DRAWS; i++)
        beyond += fabs(z[i]) > 4;
    cr_assert(beyond >= 65 && beyond <= 216, "%d of them", beyond);
    free(z);
}

/* Pairs (z_2j, z_2j+1) of one block fall evenly into 16 x 16 cells of equal probability: chi-square of 255 degrees,
 * whose upper tail at x is at most exp(-(x - 255 - 255 log(x / 255)) / 2): 1e-9 at x = 430. */
Test(random, pairs_fill_the_plane)
{
    double *z = draws(15, ad_stream("plane"), true), chi = 0;
    static double cell[16][16];
    for (size_t i = 0; i < DRAWS; i += 2)
        cell[(int)(16 * normal_law(z[i])) & 15][(int)(16 * normal_law(z[i + 1])) & 15] += 1;
    double expected = DRAWS / 2 / 256.0;
    for (int i = 0; i < 256; i++)
        chi += pow(cell[i / 16][i % 16] - expected, 2) / expected;
    cr_assert_leq(chi, 430);
    free(z);
}

/* The mean of N products of independent normal draws has deviation 1 / sqrt N; so has that of (z^2 - 1)(z'^2 - 1) /
 * 2. */
static void expect_independent(double *x, double *y, size_t n, const char *what)
{
    double bound = 6.5 / sqrt((double)n);
    cr_expect_leq(fabs(correlation(x, y, n)), bound, "%s", what);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] * x[i] - 1) * (y[i] * y[i] - 1) / 2;
    cr_expect_leq(fabs(sum / (double)n), bound, "%s, squares", what);
}

Test(random, streams_seeds_and_numbers_are_independent)
{
    double *a = draws(1, ad_stream("layer0.weight"), true), *b = draws(1, ad_stream("layer1.weight"), true);
    double *c = draws(2, ad_stream("layer0.weight"), true), *d = draws((uint64_t)1 << 32, 0, true);
    double *e = draws(0, (uint64_t)1 << 32, true), *f = draws(0, 1, true), *u = draws(1, 0, false),
           *z = draws(1, 0, true);
    expect_independent(a, b, DRAWS, "two names");
    expect_independent(a, c, DRAWS, "two seeds");
    expect_independent(d, e, DRAWS, "high words of seed and stream");
    expect_independent(e, f, DRAWS, "high and low word of the stream");
    for (size_t lag = 1; lag <= 1025; lag += lag < 8 ? 1 : 127)
        expect_independent(a, a + lag, DRAWS - lag, "lags");
    for (size_t i = 0; i < DRAWS; i++)
        u[i] = (u[i] - 0.5) * sqrt(12);
    cr_expect_leq(fabs(correlation(u, z, DRAWS)), 6.5 / sqrt(DRAWS), "uniform and normal draws of one stream");
    double *all[] = { a, b, c, d, e, f, u, z };
    for (int i = 0; i < 8; i++)
        free(all[i]);
}

/* ---- initial values ---------------------------------------------------------------------------------------------- */
static ad_sizes width(size_t n)
{
    return (ad_sizes){ .n = n };
}

Test(random, draw_follows_the_init)
{
    ad_graph *graph = ad_graph_new(NULL);
    ad_axis n = ad_width(graph, "n", 1), half = ad_width(graph, "half", 0.5), out = ad_fixed(graph, "out", 3);
    ad_var w = ad_param(graph, "w", ad_shape_of(half, out),
                        (ad_init){ .axis = half, .deviation = 2, .deviation_power = -0.5, .mean = 1 });
    ad_var v = ad_param(graph, "v", ad_shape_of(n), (ad_init){ .deviation = 3, .deviation_power = -1 });
    ad_var b = ad_param(graph, "b", ad_shape_of(n), (ad_init){ .axis = n, .mean = 0.25, .deviation_power = -1 });
    cr_assert_not(ad_failed(graph), "%s", ad_message(graph));

    enum { N = 128 };
    static double z[3 * N], value[3 * N];
    static float single[3 * N];
    ad_sizes sizes = width(N);
    cr_assert_eq(ad_draw(w, &sizes, 9, AD_DOUBLE, value, NULL), 0);
    cr_assert_eq(ad_draw(w, &sizes, 9, AD_FLOAT, single, NULL), 0);
    ad_normal(9, ad_stream("w"), 0, 3 * N / 2, z);
    for (size_t i = 0; i < 3 * N / 2; i++) {
        cr_assert_float_eq(value[i], 1 + 2 / sqrt(N / 2) * z[i], 1e-14);
        cr_assert_eq(single[i], (float)value[i]);
    }
    cr_assert_eq(value[3 * N / 2], 0, "it writes past its end");

    cr_assert_eq(ad_draw(v, &sizes, 9, AD_DOUBLE, value, NULL), 0);
    ad_normal(9, ad_stream("v"), 0, N, z);
    for (size_t i = 0; i < N; i++)
        cr_assert_float_eq(value[i], 3 * z[i], 1e-14, "without a fan-in the power is ignored");

    cr_assert_eq(ad_draw(b, &sizes, 9, AD_DOUBLE, value, NULL), 0);
    for (size_t i = 0; i < N; i++)
        cr_assert_eq(value[i], 0.25);
    ad_graph_free(graph);
}

Test(random, draw_does_not_depend_on_threads)
{
    enum { N = 400 };
    ad_graph *graph = ad_graph_new(NULL);
    ad_axis n = ad_width(graph, "n", 1);
    ad_var w = ad_param(graph, "w", ad_shape_of(n, ad_prime(n)), (ad_init){ .axis = n, .deviation = 1 });
    double *one = malloc(N * N * sizeof *one), *many = malloc(N * N * sizeof *many);
    ad_sizes sizes = width(N);
    omp_set_num_threads(1);
    cr_assert_eq(ad_draw(w, &sizes, 1, AD_DOUBLE, one, NULL), 0);
    omp_set_num_threads(3);
    cr_assert_eq(ad_draw(w, &sizes, 1, AD_DOUBLE, many, NULL), 0);
    cr_assert_arr_eq(one, many, N * N * sizeof *one);
    ad_normal(1, ad_stream("w"), 0, N * N, many);
    cr_assert_arr_eq(one, many, N * N * sizeof *one);
    free(one);
    free(many);
    ad_graph_free(graph);
}

Test(random, draw_refuses_what_has_no_initial_value)
{
    ad_graph *graph = ad_graph_new(NULL);
    ad_axis n = ad_width(graph, "n", 1), batch = ad_batch(graph, "batch"), out = ad_fixed(graph, "out", 2);
    ad_var x = ad_input(graph, "x", ad_shape_of(n));
    ad_var w = ad_param(graph, "w", ad_shape_of(n), (ad_init){ .axis = n, .deviation = 1 });
    ad_var v =
        ad_param(graph, "v", ad_shape_of(out), (ad_init){ .axis = batch, .deviation = 1, .deviation_power = -0.5 });
    cr_assert_not(ad_failed(graph), "%s", ad_message(graph));
    ad_sizes sizes = width(8), unbound = width(0);
    double value[8];
    const struct {
        ad_var var;
        ad_sizes *sizes;
        const char *says;
    } cases[] = {
        { x, &sizes, "only a parameter" },
        { (ad_var){ 0 }, &sizes, "no such parameter" },
        { w, &unbound, "an axis of w has no size" },
        { v, &sizes, "the fan-in batch of v has no size" },
    };
    for (int i = 0; i < 4; i++) {
        ad_error error = { { 0 } };
        cr_assert_eq(ad_draw(cases[i].var, cases[i].sizes, 1, AD_DOUBLE, value, &error), -1);
        cr_assert_not_null(strstr(error.text, cases[i].says), "%s", error.text);
    }
    ad_error error = { { 0 } };
    ad_poison(graph, AD_HERE, "spoiled");
    cr_assert_eq(ad_draw(w, &sizes, 1, AD_DOUBLE, value, &error), -1);
    cr_assert_not_null(strstr(error.text, "spoiled"));
    ad_graph_free(graph);
}
