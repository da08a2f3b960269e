/* gauss.h: expectations E f(a) g(b) over centred Gaussian pairs (a, b) of variances q11, q22 and covariance q12.
 *
 * Three ways, to be asked in this order: closed forms over arrays of pairs (tp_closed); Mehler's series over tiles of
 * pairs of samples (tp_mehler_*), a few nanoseconds a pair for smooth functions; and quadrature of one pair
 * (tp_quadrature), the reference and the fallback, with an error estimate.
 *
 * Conventions. At 0: step = relu' = 0, sign = 0, the derivative of a leaky relu is its slope; a variance of 0 means
 * that the argument is 0. A correlation may exceed 1 by roundoff (c^2 <= 1 + 1e-6) and counts as 1; beyond, and for
 * negative variances, closed forms and series give NaN, quadrature an error. */
#ifndef LIMN_TP_GAUSS_GAUSS_H
#define LIMN_TP_GAUSS_GAUSS_H
#include "autodiff/autodiff.h"
#include "tp/gauss/simd.h"

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A univariate function of a Gaussian: what closed forms know. */
typedef enum {
    TP_ONE,
    TP_ID,
    TP_SQUARE,
    TP_POWER, /* x^parameter, a whole number from 0 to TP_MAX_POWER */
    TP_RELU,
    TP_STEP,
    TP_LEAKY, /* parameter: the slope below 0 */
    TP_LEAKY_STEP,
    TP_ABS,
    TP_SIGN,
    TP_ERF,
    TP_ERF_GRAD, /* 2 / sqrt(pi) exp(-x^2) */
    TP_SIN,
    TP_COS,
    TP_EXP,
    TP_GELU, /* x Phi(x) */
    TP_GELU_GRAD,
    TP_NUMERIC /* known by eval alone */
} tp_form;
enum { TP_MAX_POWER = 16 };

typedef struct tp_univariate {
    tp_form form;
    double parameter;                                                                  /* slope or power */
    void (*eval)(const struct tp_univariate *u, size_t n, const double *x, double *y); /* y = f(x); y may equal x */
    const void *context;                                                               /* for eval */
    const double *kinks;                                                               /* where f or f' jumps */
    int n_kinks;
    int parity; /* 1: f(-x) = f(x), -1: f(-x) = -f(x), 0: neither or not known */
    int steps;  /* elementary functions that eval takes, where they are many: 16 of them count as an evaluation */
    const double *pieces; /* ascending: so near each other as eval needs it to be like a polynomial between two */
    int n_pieces;
} tp_univariate;

/* A form of the list above; TP_NUMERIC and powers outside its range give an eval of NULL. */
tp_univariate tp_univariate_form(tp_form form, double parameter);
/* A coordinatewise op of the trace: its form if it has one, else TP_NUMERIC with the op's own loop as eval. */
tp_univariate tp_univariate_op(ad_op op, double parameter);
/* A derivative (0: the function itself) of a user's function, which must outlive it. */
tp_univariate tp_univariate_function(const ad_function *function, int order);

enum { TP_MOST_PIECES = 192 };
/* *u, if it takes many steps, as polynomials on pieces of [-64, 64], each within its own rounding, from a numerical
 * function of the same kinks and parity; beyond, at kinks and where no piece is that near, it is evaluated itself. Of
 * more than TP_MOST_PIECES pieces it is left as it is. What *u points to must outlive the arena; *u may move. -1 with
 * an error without memory. */
int tp_in_pieces(tp_univariate *u, ad_arena *arena, ad_error *error);

/* y = f(x), x may be y; where f is not a number at 0 but tends to one on either side, as tanh(x) / x does, that one. */
void tp_evaluate(const tp_univariate *f, size_t n, const double *x, double *y);

/* q = x 2^k, k even, x of order one: the scale of a variance, so that no product of two over- or underflows. */
static inline double tp_order_one(double q, int *k)
{
    double x = frexp(q, k);
    if (*k % 2) {
        x /= 2;
        ++*k;
    }
    return x;
}

/* ---- closed forms ------------------------------------------------------------------------------------------------ */
bool tp_has_closed(const tp_univariate *f, const tp_univariate *g);
/* out[i] = E f(a_i) g(b_i), i < n; false, and out untouched, if there is no closed form. half_distance may be NULL;
 * else it is (q11 + q22) / 2 - q12 as the caller knows it, more accurate than the difference for near-equal inputs.
 * out may equal q12. Sources: THEORY section 3(a). */
bool tp_closed(const tp_univariate *f, const tp_univariate *g, size_t n, const double *q11, const double *q22,
               const double *q12, const double *half_distance, double *out);
/* E f(a) f(b) and E df(a) df(b) in one pass where they share work (relu, leaky, erf, gelu, sin, with their
 * derivatives). out_f or out_df may equal q12, not each other. */
bool tp_closed_pair(const tp_univariate *f, const tp_univariate *df, size_t n, const double *q11, const double *q22,
                    const double *q12, const double *half_distance, double *out_f, double *out_df);

/* E f f and E f' f' of one sample with many by their correlations, for f = relu and erf, and the same for f = step and
 * erf'; NULL of other functions. Not for correlations near 1 or -1, which have lost 1 - |c|. See simd.h. */
tp_pair_rows *tp_closed_rows(const tp_univariate *f);

/* Of a Gaussian x of variance q, to a few per cent: [0] of g = f, [1] of g = f': E g^2, E g^4, the part of the latter
 * where x^2 < q, and E |g^2 - g(edge)^2| where |x| < cell sqrt(q), edge being that side's end of it: what a sample that
 * stands for the cell may miss. What leaves the range of a double is left out. False where q is 0 or f cannot be
 * evaluated. */
typedef struct {
    double square[2], fourth[2], middle[2], hidden[2];
} tp_moments;
bool tp_moments_of(const tp_univariate *f, double q, double cell, tp_moments *m);

/* ---- pairs near the line ----------------------------------------------------------------------------------------- */
/* Piecewise functions: f = line + bend * relu times the variable (degree 1), or line + bend * step (degree 0). */
typedef struct {
    int degree;
    double line, bend;
} tp_piecewise;
bool tp_piecewise_of(const tp_univariate *u, tp_piecewise *p); /* false, and *p untouched, of another function */
/* Is it one of these, x, or 1? The next two are of such functions. */
bool tp_is_piecewise(const tp_univariate *u);
/* E f(a) g(b) at correlation sign (1 - gap), however small the gap: true, *value, and *out, the gap of what comes out,
 * 1 - |E f(a) g(b)| / sqrt(E f(a)^2 E g(b)^2), or NaN where that is far from 0; false without a rule. */
bool tp_near_piecewise(const tp_univariate *f, const tp_univariate *g, double q11, double q22, int sign, double gap,
                       double *value, double *out);
/* 1 - E f(a) f(b) / E f^2 at one variance and correlation 1 - gap; NaN without a rule. It is concave in the gap. */
double tp_near_fall(const tp_univariate *f, double gap);
/* Its slope at gap 0, q E f'(a)^2 / E f(a)^2, to a few per cent: the largest of all, as its correlation's power series
 * has positive coefficients. Of a function without jumps. */
double tp_near_slope(const tp_univariate *f, double q);
bool tp_near_slope_known(const tp_univariate *f, double q, double *slope); /* in closed form; false without one */
/* The same gap of a smooth function at correlation 1 - gap, E (f(a) / sqrt(size1) - f(b) / sqrt(size2))^2 / 2, given
 * E f(a)^2 and E f(b)^2. Variances up to 1e4, times the gap up to 0.05, and tp_near_slope up to 16 max(1, variance). */
double tp_near_smooth(const tp_univariate *f, double q11, double q22, double gap, double size1, double size2);

/* Gauss-Legendre's n nodes on [-1, 1], from left to right, and their weights, by Newton's method. */
void tp_legendre(size_t n, double *x, double *w);

/* ---- quadrature -------------------------------------------------------------------------------------------------- */
enum { TP_DIVERGES = -2, TP_TOO_LONG = -3, TP_MOST_WORK = 1 << 26 };
/* One pair: 0, TP_DIVERGES with an error where the integral is found to be infinite, TP_TOO_LONG with one where it
 * would take more than TP_MOST_WORK evaluations of f and g, -1 on other errors. Smooth functions: the product
 * trapezoid rule in symmetric coordinates, its step shortened and its interval widened until the value stands.
 * Functions with kinks: the plane is split there, Gauss-Legendre rules in panels of every part, and where two of them
 * differ, tanh-sinh rules, which resolve what is singular at an end.
 * *value, and *difference: by how much the last refinements moved it (either may be NULL). Fails if a function is not
 * finite at a node, the integral does not converge, or the three numbers are no covariance. */
int tp_quadrature(const tp_univariate *f, const tp_univariate *g, double q11, double q22, double q12, double *value,
                  double *difference, ad_error *error);
/* *size: E |f g|, at most sqrt(E f^2 E g^2), which a difference is relative to where the value itself may be 0. *work:
 * how many evaluations of f and g it took, be it refused, the same on every machine; or NULL. */
int tp_quadrature_sized(const tp_univariate *f, const tp_univariate *g, double q11, double q22, double q12,
                        double *value, double *difference, double *size, size_t *work, ad_error *error);
/* How many evaluations all quadratures of a kernel of so many entries may take, which is some seconds and a few
 * milliseconds an entry; and the refusal of one that takes more: TP_TOO_LONG. */
size_t tp_most_work(size_t entries);
int tp_too_much_work(size_t most, ad_error *error);
/* E f(a) f(b) at one variance q > 0 and correlation 1 - gap, to a difference of about tolerance E f^2. */
int tp_quadrature_rough(const tp_univariate *f, double q, double gap, double tolerance, double *value,
                        double *difference, ad_error *error);
/* The same at correlation sign (1 - gap), 0 <= gap <= 1, of which q12 has lost the digits; q11, q22 > 0. */
int tp_quadrature_near(const tp_univariate *f, const tp_univariate *g, double q11, double q22, int sign, double gap,
                       double *value, double *difference, double *size, ad_error *error);

/* ---- Mehler's series --------------------------------------------------------------------------------------------- */
/* The normalised Hermite coefficients f_k = E f(sqrt(q) x) He_k(x) / sqrt(k!) of one function at many variances, so
 * that E f(a) g(b) = sum_k f_k g_k c^k. Odd and even functions keep their own degrees only. */
typedef struct {
    size_t count;   /* samples */
    size_t degrees; /* the series stops before this degree */
    size_t terms;   /* coefficients kept of each sample: degrees first, first + step, ... */
    size_t first, step;
    size_t stride;    /* of `columns`: `count`, and as many more as vectors reach beyond it */
    double *squares;  /* (count): E f^2, whole */
    double *columns;  /* (terms, stride): the coefficients, padded by zeros */
    double *tails;    /* (degrees + 1): the largest sqrt(sum_{k >= d} f_k^2 / E f^2) over all samples */
    double *rests;    /* (count): that ratio at d = degrees for each sample */
    double *inverses; /* (count): 1 / sqrt(q), 0 for q = 0 */
    double tolerance;
    double difference;            /* by how much refining the quadrature moved a coefficient, relative to sqrt(E f^2) */
    double reach[TP_MOST_ENOUGH]; /* up to the squares of these what some degrees leave is less than the tolerance */
} tp_mehler;
/* That of degree first + step * term. */
static inline double tp_mehler_coefficient(const tp_mehler *m, size_t sample, size_t term)
{
    return m->columns[term * m->stride + sample];
}
/* As many degrees as the largest variance needs to leave at most tolerance * sqrt(E f^2) (0: 1e-13, and not less than
 * 1e-14), so that pairs with any other function are good to the tolerance; at most `most` (0: 1024, and up to 16384 of
 * a smooth function that settles by then, or nearly). Where that does not suffice, as for kinks, tp_mehler_bound tells
 * for each pair. */
tp_mehler *tp_mehler_new(const tp_univariate *f, size_t count, const double *q, double tolerance, size_t most,
                         ad_error *error);
/* The same of one function at many sets of variances, at one tolerance: *family, NULL at first, keeps what they have
 * in common, its coefficients interpolated over the variance among it. highest > 0: all pairs are of this family, of
 * variances up to that, and a series leaves 1e-7 sqrt(E f^2), as pairs are good to the square, 1e-14; 0: pairs of other
 * functions, too. Not by several threads at once. What was
 * found of a function of the same values before, in any family and thread, is not found again (memo.h). */
typedef struct tp_mehler_family tp_mehler_family;
tp_mehler *tp_mehler_new_of(tp_mehler_family **family, const tp_univariate *f, size_t count, const double *q,
                            double tolerance, double highest, ad_error *error);
void tp_mehler_family_free(tp_mehler_family *family);
void tp_mehler_free(tp_mehler *series);
/* What the terms left out can amount to for the pair (i, j), relative to sqrt(E f(a)^2 E g(b)^2): |c|^degrees times
 * both rests. */
double tp_mehler_bound(const tp_mehler *f, const tp_mehler *g, size_t i, size_t j, double q12);
/* sum_k k f_k^2 c^(k - 1) / E f^2 of one sample, at n correlations c > 0, 64 at most; 0 where E f^2 is. */
void tp_mehler_slopes(const tp_mehler *m, size_t sample, size_t n, const double *c, double *slopes);
/* The largest |d log E f^2 / d log q| of all samples by the coefficients, as d f_k / d log q is
 * (k f_k + sqrt((k + 1) (k + 2)) f_(k+2)) / 2. */
double tp_mehler_change(const tp_mehler *m);
/* out[r, s] = E f(a) g(b) for samples row + r of f, column + s of g, at covariance q12[r, s]; out may equal q12. Pairs
 * of small correlation take fewer terms, to the tolerance. Returns a bound on tp_mehler_bound over the tile. */
double tp_mehler_tile(const tp_mehler *f, const tp_mehler *g, size_t row, size_t rows, size_t column, size_t columns,
                      const double *q12, size_t q12_stride, double *out, size_t out_stride);

/* ---- many points ------------------------------------------------------------------------------------------------- */
/* Points x (dims, n) and weights w (n) of the normal law of one dimension or two by the trapezoid rule: a grid of n
 * points along a line, or of a square's of n, the root of n by itself; shift (dims): by which part of a step, below 1.
 * The sum of w (f(x) + f(-x)) / 2 is E f. What is left is a sum of cosines of the shifts, most of it of one, so that
 * its values are near its two ends: of few independent shifts the spread may be much too small; of evenly spread ones
 * the first cosines are 0 on average. */
void tp_normal_grid(int dims, size_t n, const double *shift, double *x, double *w);

/* ---- whole arrays ------------------------------------------------------------------------------------------------ */
void tp_array_multiply(size_t n, const double *a, const double *b, double *out);   /* out = a b */
void tp_array_affine(size_t n, double c, double ca, const double *a, double *out); /* out = c + ca a */
/* out = c + ca a + cb b */
void tp_array_affine2(size_t n, double c, double ca, const double *a, double cb, const double *b, double *out);
/* out (rows, columns) = x (rows, size) times `turned` (size, stride), of which TP_MORE columns more may be read; the
 * sizes up to which that takes no longer than a BLAS. */
enum { TP_MORE = 8 };
size_t tp_array_small(void);
/* From one row of `count` numbers to the next, each of which may be read from anywhere in it, `more` numbers beyond its
 * end: whole cache lines, but no multiple of as many as share places in the cache. */
size_t tp_array_stride(size_t count, size_t more);
void tp_array_products(size_t rows, size_t columns, size_t size, const double *x, const double *turned, size_t stride,
                       double *out);
/* out += c a, or c a b if b is not NULL; out is none of them. */
void tp_array_accumulate(size_t n, double c, const double *a, const double *b, double *out);
/* out = c + ca a + cb b + cd d, where b and d may be NULL, and a (c + cb b) + cd d, where d may be; out may be any of
 * them. All reach to the next multiple of TP_LANES. */
void tp_array_sum3(size_t n, double c, double ca, const double *a, double cb, const double *b, double cd,
                   const double *d, double *out);
void tp_array_weigh(size_t n, const double *a, double c, double cb, const double *b, double cd, const double *d,
                    double *out);
/* out (n, TP_LANES) = or += c times the sum over `fan` rows of in (.., TP_LANES), by their numbers; -1: the row before
 * `in`, which is 0. */
void tp_array_gather(size_t n, size_t fan, const int32_t *rows, double c, const double *in, bool starts, double *out);
/* out (n, TP_LANES) = sums of `fan` products of x and y (.., TP_LANES), of x the first of each row, by their numbers,
 * two by two. */
void tp_array_dots(size_t n, size_t fan, const int32_t *pairs, const double *x, const double *y, double *out);
/* Rows of out += c rows of in, TP_LANES wide, by their numbers, two by two. */
void tp_array_scatter(size_t n, const int32_t *pairs, double c, const double *in, double *out);
/* Of n pairs of points, variances given by 1 / sqrt(q), sqrt(q) and q: out (n, TP_LANES; NULL: not asked for) =
 * E relu relu at covariances c in, and slopes = ct tangent E step step; 0 where a variance is. To a few roundings of
 * the correlation: those beyond 1 - line count as 1, and whether there are any but of equal numbers is told; the
 * largest of the others is returned. Outputs are none of the inputs. */
double tp_array_relu(size_t n, const tp_points *points, double c, const double *in, double ct, const double *tangent,
                     double line, bool *beyond, double *out, double *slopes);
/* The largest of |q12| a b that is at most 1 - line, and whether there are others. */
double tp_array_correlation(size_t n, const double *q12, const double *a, const double *b, double line, bool *beyond);
double tp_array_largest(size_t n, const double *a, const double *scale); /* of |a| scale, scale >= 0 */
/* Are all |a| from `least` to `most`? NaN is not. */
bool tp_array_within(size_t n, const double *a, double least, double most);

#ifdef __cplusplus
}
#endif
#endif
