/* simd.h: the inner loops of this room, in the best instruction set of this machine.
 *
 * Each takes n pairs (q11, q22, q12) and half distances (may be NULL: then the determinant q11 q22 - q12^2 is formed
 * exactly from the three). Outputs may be NULL, and may equal q12 but not each other. */
#ifndef LIMN_TP_GAUSS_SIMD_H
#define LIMN_TP_GAUSS_SIMD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TP_BLOCK = 32 }; /* pairs of one call of horner */
enum { TP_LANES = 8 };  /* samples that lie side by side */

typedef void tp_pairs(size_t n, const double *q11, const double *q22, const double *q12, const double *half,
                      double *first, double *second);
typedef struct {
    tp_pairs *relu; /* E relu relu, E step step */
    tp_pairs *sign; /* E sign sign, nothing */
    tp_pairs *erf;  /* E erf erf, E erf' erf' */
    tp_pairs *gelu; /* E gelu gelu, E gelu' gelu' */
    tp_pairs *wave; /* E sin sin, E cos cos */
    tp_pairs *exp;  /* E exp exp, nothing */
    /* out[j] = sum_{k < terms} f[k f_step] g[k g_stride + j] x[j]^k for TP_BLOCK values of j. */
    void (*horner)(size_t terms, const double *f, size_t f_step, const double *g, size_t g_stride, const double *x,
                   double *out);
    /* One step of the Hermite functions at n points: (before, now) becomes (now, up x now - down before). */
    void (*hermite)(size_t n, double up, double down, const double *x, double *before, double *now);
    void (*multiply)(size_t n, const double *a, const double *b, double *out);   /* out = a b */
    void (*affine)(size_t n, double c, double ca, const double *a, double *out); /* out = c + ca a */
    /* out += c a, or c a b if b is not NULL; out is none of them. */
    void (*accumulate)(size_t n, double c, const double *a, const double *b, double *out);
    /* out (n, TP_LANES) = or += c times the sum over `fan` rows of in (.., TP_LANES), by their numbers; -1: none. */
    void (*gather)(size_t n, size_t fan, const int32_t *rows, double c, const double *in, bool starts, double *out);
    /* The largest of |q12| a b < 1 - line, and whether there are others. */
    double (*correlation)(size_t n, const double *q12, const double *a, const double *b, double line, bool *beyond);
    double (*largest)(size_t n, const double *a,
                      const double *scale); /* of |a| scale, scale >= 0; NaN does not count */
} tp_vector;
const tp_vector *tp_vector_get(void);
#endif
