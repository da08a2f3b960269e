/* simd.h: the inner loops of this room, in the best instruction set of this machine.
 *
 * Each takes n pairs (q11, q22, q12) and half distances (may be NULL: then the determinant q11 q22 - q12^2 is formed
 * exactly from the three). Outputs may be NULL, and may equal q12 but not each other. */
#ifndef LIMN_TP_GAUSS_SIMD_H
#define LIMN_TP_GAUSS_SIMD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TP_LANES = 8 }; /* samples that lie side by side */

typedef void tp_pairs(size_t n, const double *q11, const double *q22, const double *q12, const double *half,
                      double *first, double *second);
/* Samples on one side of pairs, by their variances q > 0: 1 / sqrt(q), and what a row below reads. */
typedef struct {
    const double *inverse, *scale;
} tp_side;
/* Pairs (rows, columns) of some samples with others: E f f and E f' f' to a few roundings of the correlation, whose
 * largest absolute value is returned; roundings beyond 1 count as 1. Outputs are none of the inputs. */
typedef double tp_pair_rows(size_t rows, size_t columns, const tp_side *down, const tp_side *across, const double *q12,
                            double *first, double *second);
/* Points of one sample and of TP_LANES others: by pair their numbers; by point their sides, of the others TP_LANES side
 * by side. */
typedef struct {
    const int32_t *first, *second;
    tp_side one, others;
    const double *variance, *variances;
} tp_points;
/* How many terms of a power series are enough for |c| <= reach, by rising numbers; the last one is all, whose reach is
 * infinite, as that of those beyond it among the first. */
enum { TP_FIRST_ENOUGH = 16, TP_MOST_ENOUGH = 64 };
typedef struct {
    size_t n, terms[TP_MOST_ENOUGH];
    double reach[TP_MOST_ENOUGH];
} tp_terms;
/* sum_k f[k f_step] g[k g_step + j] x_j^k of correlations c_j = q12_j inverse inverses_j, with x = c or its square;
 * odd: times c_j. */
typedef struct {
    const double *f, *g;
    size_t f_step, g_step;
    double inverse;
    const double *inverses;
    bool squared, odd;
} tp_sum_of;
typedef struct {
    tp_pairs *relu;          /* E relu relu, E step step */
    tp_pairs *sign;          /* E sign sign, nothing */
    tp_pairs *erf;           /* E erf erf, E erf' erf' */
    tp_pairs *gelu;          /* E gelu gelu, E gelu' gelu' */
    tp_pairs *wave;          /* E sin sin, E cos cos */
    tp_pairs *exp;           /* E exp exp, nothing */
    tp_pair_rows *relu_rows; /* scale: sqrt(q) */
    tp_pair_rows *erf_rows;  /* scale: sqrt(2 / (1 + 2 q)) */
    /* out[j] for n values of j, to as many terms as those of some neighbours need; out may be q12. Correlations
     * beyond 1 by roundings count as 1, and further on as NaN; g reaches up to the next multiple of TP_LANES. Returns
     * the largest |c| for which all terms are summed; *skipped becomes true where some are not. */
    double (*series)(size_t n, const tp_sum_of *sum, const tp_terms *enough, const double *q12, double *out,
                     bool *skipped);
    /* One step of the Hermite functions at n points: (before, now) becomes (now, up x now - down before). */
    void (*hermite)(size_t n, double up, double down, const double *x, const double *before, const double *now,
                    double *next);
    void (*multiply)(size_t n, const double *a, const double *b, double *out);   /* out = a b */
    void (*affine)(size_t n, double c, double ca, const double *a, double *out); /* out = c + ca a */
    /* out = c + ca a + cb b */
    void (*affine2)(size_t n, double c, double ca, const double *a, double cb, const double *b, double *out);
    /* out (rows, columns) = x (rows, size) times `turned` (size, stride), of which a few columns more may be read. */
    void (*products)(size_t rows, size_t columns, size_t size, const double *x, const double *turned, size_t stride,
                     double *out);
    size_t small; /* sizes up to which that takes no longer than a BLAS */
    /* out += c a, or c a b if b is not NULL; out is none of them. */
    void (*accumulate)(size_t n, double c, const double *a, const double *b, double *out);
    /* out (n, TP_LANES) = or += c times the sum over `fan` rows of in (.., TP_LANES), by their numbers; -1: the row
     * before `in`, which is 0. */
    void (*gather)(size_t n, size_t fan, const int32_t *rows, double c, const double *in, bool starts, double *out);
    /* out (n, TP_LANES) = sums of `fan` products of x and y (.., TP_LANES), of x the first of each row, by their
     * numbers, two by two. */
    void (*dots)(size_t n, size_t fan, const int32_t *pairs, const double *x, const double *y, double *out);
    /* out = c + ca a + cb b + cd d, where b and d may be NULL, and a (c + cb b) + cd d, where d may be; out may be any
     * of them. All reach to the next multiple of TP_LANES. */
    void (*sum3)(size_t n, double c, double ca, const double *a, double cb, const double *b, double cd, const double *d,
                 double *out);
    void (*weigh)(size_t n, const double *a, double c, double cb, const double *b, double cd, const double *d,
                  double *out);
    /* Rows of out += c rows of in, TP_LANES wide, by their numbers, two by two. */
    void (*scatter)(size_t n, const int32_t *pairs, double c, const double *in, double *out);
    /* Of n pairs of points, as relu_rows does: out (n, TP_LANES; NULL: not asked for) of covariances c in, and slopes =
     * ct tangent E step step; 0 where a variance is. Correlations beyond 1 - line count as 1: whether there are any but
     * of equal numbers, and the largest of the others. */
    double (*relu_points)(size_t n, const tp_points *points, double c, const double *in, double ct,
                          const double *tangent, double line, bool *beyond, double *out, double *slopes);
    /* The largest of |q12| a b < 1 - line, and whether there are others. */
    double (*off_line)(size_t n, const double *q12, const double *a, const double *b, double line, bool *beyond);
    double (*largest)(size_t n, const double *a,
                      const double *scale); /* of |a| scale, scale >= 0; NaN does not count */
    bool (*within)(size_t n, const double *a, double least, double most); /* all |a| are; NaN is not */
} tp_vector;
const tp_vector *tp_vector_get(void);
const tp_vector *tp_vector_at(int k); /* of this machine's sets, from the best down; NULL beyond the last */

/* The same in floats, in the machine's sets from the best down (0); NULL beyond the last. */
typedef struct {
    /* As a row of relu_rows: (inverse, root) of one sample, arrays of the others. */
    float (*relu)(size_t n, float inverse, float root, const float *inverses, const float *roots, const float *q12,
                  float *first, float *second);
    void (*narrow)(size_t n, const double *a, float *out); /* out = a */
    void (*sum3)(size_t n, float c, float ca, const float *a, float cb, const float *b, float cd, const float *d,
                 float *out);
    void (*weigh)(size_t n, const float *a, float c, float cb, const float *b, float cd, const float *d, float *out);
} tp_singles;
const tp_singles *tp_singles_at(int k);
#endif
