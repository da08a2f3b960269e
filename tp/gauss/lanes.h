/* lanes.h: what the loops in doubles (simd.c) and in floats (single.c) have alike, for one instruction set: included
 * once for each by either, which say V, REAL, NAME and LOOP_FMA, where there is one. */
#define LANES (sizeof(V) / sizeof(REAL))
typedef LOOP_V V;

static inline V NAME(load)(const REAL *p)
{
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void NAME(store)(REAL *p, V v)
{
    memcpy(p, &v, sizeof v);
}

static inline V NAME(splat)(REAL x)
{
    return x - (V){ 0 };
}

/* a b + c, in as few roundings as there are instructions for. */
static inline V NAME(fused)(V a, V b, V c)
{
#ifdef LOOP_FMA
    return LOOP_FMA(a, b, c);
#else
    return a * b + c;
#endif
}

/* Whole vectors, of which the last may be filled in part. */
static inline void NAME(sum_of)(size_t n, REAL c, REAL ca, const REAL *a, bool two, REAL cb, const REAL *b, bool three,
                                REAL cd, const REAL *d, REAL *out)
{
    V offset = NAME(splat)(c), first = NAME(splat)(ca), second = NAME(splat)(cb), third = NAME(splat)(cd);
    for (size_t i = 0; i < n; i += LANES) {
        V sum = NAME(fused)(first, NAME(load)(a + i), offset);
        if (two)
            sum = NAME(fused)(second, NAME(load)(b + i), sum);
        if (three)
            sum = NAME(fused)(third, NAME(load)(d + i), sum);
        NAME(store)(out + i, sum);
    }
}

static inline void NAME(weigh_of)(size_t n, const REAL *a, REAL c, REAL cb, const REAL *b, bool more, REAL cd,
                                  const REAL *d, REAL *out)
{
    V offset = NAME(splat)(c), second = NAME(splat)(cb), third = NAME(splat)(cd);
    for (size_t i = 0; i < n; i += LANES) {
        V x = NAME(load)(a + i), weight = NAME(fused)(second, NAME(load)(b + i), offset);
        if (more)
            x = NAME(fused)(x, weight, third * NAME(load)(d + i));
        else
            x *= weight;
        NAME(store)(out + i, x);
    }
}

static void NAME(sum3)(size_t n, REAL c, REAL ca, const REAL *a, REAL cb, const REAL *b, REAL cd, const REAL *d,
                       REAL *out)
{
    if (b && d)
        NAME(sum_of)(n, c, ca, a, true, cb, b, true, cd, d, out);
    else if (b)
        NAME(sum_of)(n, c, ca, a, true, cb, b, false, 0, NULL, out);
    else
        NAME(sum_of)(n, c, ca, a, false, 0, NULL, d != NULL, cd, d, out);
}

static void NAME(weigh)(size_t n, const REAL *a, REAL c, REAL cb, const REAL *b, REAL cd, const REAL *d, REAL *out)
{
    if (d)
        NAME(weigh_of)(n, a, c, cb, b, true, cd, d, out);
    else
        NAME(weigh_of)(n, a, c, cb, b, false, 0, NULL, out);
}
