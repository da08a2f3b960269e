/* batchnorm.h: batch normalisation over the samples of a batch, followed by a positively homogeneous function, at
 * infinite width (Yang et al., arXiv:1902.08129; Tensor Programs II, arXiv:2006.14548).
 *
 * Of every neuron, u = (u_1, ..., u_B) ~ N(0, Sigma) over the samples of one batch; y = phi(z),
 * z = (u - mean) / sqrt(var + epsilon) with the mean and the biased variance over the batch. No gamma, no beta.
 *
 *     forward    V = E y y'
 *     backward   T(Pi) = E du du' from Pi = E dy dy', dy independent of u; linear in Pi
 *
 * Two batches are normalised apart, with Sigma their joint covariance: V and T then stand for the block of the first
 * against the second. They may share samples.
 *
 * Directions of a batch with less than 1e-12 of its largest variance count as none: samples nearer to each other than a
 * millionth of the batch's spread count as equal. */
#ifndef LIMN_TP_BATCH_BATCHNORM_H
#define LIMN_TP_BATCH_BATCHNORM_H
#include "nn/nn.h"

/* phi(u) = above u for u > 0 and below u for u < 0. at_zero is the slope at 0, which is seen only by samples that equal
 * their batch's mean. */
typedef struct {
    double above, below, at_zero;
} tp_slopes;
#define TP_SLOPES_RELU ((tp_slopes){ 1, 0, 0 })
#define TP_SLOPES_LEAKY(slope) ((tp_slopes){ 1, slope, slope })
#define TP_SLOPES_ABS ((tp_slopes){ 1, -1, 0 })
#define TP_SLOPES_IDENTITY ((tp_slopes){ 1, 1, 1 })

typedef struct {
    size_t rows, rows2;       /* B, and that of the second batch; rows2 = 0: one batch against itself */
    const double *k11;        /* (rows, rows): covariance of u over the first batch */
    const double *k22;        /* (rows2, rows2): over the second; not read for one batch */
    const double *k12;        /* (rows, rows2): between them; not read for one batch */
    double epsilon, epsilon2; /* >= 0, of either batch; the second is not read for one batch */
    tp_slopes phi, phi2;      /* of the first and of the second index */
    bool backward;            /* T is wanted: it may be infinite where V is not */
} tp_batchnorm_spec;

/* A layer, prepared: the quadrature is chosen once, and serves V, T and its transpose. Refused, with the reason:
 * epsilon < 0, no covariance; at epsilon = 0 a constant batch (or one of a single sample), and, with `backward`, an
 * infinite T: rank 2 of the centred covariance of one batch; of two, joint rank 2. */
typedef struct tp_batchnorm tp_batchnorm;
tp_batchnorm *tp_batchnorm_new(const tp_batchnorm_spec *spec, ad_error *error);
void tp_batchnorm_free(tp_batchnorm *layer);
/* V: (rows, rows2), or (rows, rows). */
const double *tp_batchnorm_forward(const tp_batchnorm *layer);
/* T(pi), and T*(pi), <T*(a), b> = <a, T(b)>; all (rows, rows2). out may be pi. *difference (may be NULL) as below. */
int tp_batchnorm_backward(const tp_batchnorm *layer, const double *pi, double *out, double *difference,
                          ad_error *error);
int tp_batchnorm_transpose(const tp_batchnorm *layer, const double *pi, double *out, double *difference,
                           ad_error *error);
/* By how much halving the quadrature's step has moved V and E phi' phi' / (sd sd'), relative to their largest entries.
 * What is given is the finer rule's, whose error is far smaller: both converge exponentially. */
double tp_batchnorm_difference(const tp_batchnorm *layer);
/* What roundings of the covariances, which centring and dividing enlarge, come to, relative likewise. */
double tp_batchnorm_rounding(const tp_batchnorm *layer);

/* (rows): the mean of phi(z) of one batch. */
void tp_batchnorm_mean(const tp_batchnorm *layer, double *out);
/* Does nothing go back? At epsilon = 0 and rank 1 of a centred batch z is 1 or -1 times fixed numbers, so T and T* are
 * 0: of a batch of two at any depth. They are not computed then. */
bool tp_batchnorm_stops(const tp_batchnorm *layer);
/* The rank of a centred batch, the smaller one of two: below 3 T has no limit, or another one, as epsilon goes to 0. */
int tp_batchnorm_rank(const tp_batchnorm *layer);
/* At epsilon = 0, is the rank so small that a finite network's tangent kernel has infinite variance? One batch: below
 * 5. */
bool tp_batchnorm_heavy(const tp_batchnorm *layer, size_t *rank);
#endif
