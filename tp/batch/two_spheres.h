/* two_spheres.h: any function after batch normalisation, of two batches against each other: directions of either batch
 * are sampled apart, and every pair of them is weighed.
 *
 * With r = G x and r' = G' x' the centred u of the two batches, x and x' are standard normal in k and k' dimensions, in
 * axes in which their correlations are rho_1, rho_2, ... one by one (Hotelling 1936). x = s omega and x' = t omega'
 * have the density of independent ones times
 *     prod (1 - rho^2)^(-1/2) exp(-(A - 1) s^2 / 2 - (B - 1) t^2 / 2 + c s t),
 *     A = sum omega_i^2 / (1 - rho_i^2),   B alike,   c = sum omega_i omega'_i rho_i / (1 - rho_i^2),
 * so that the radii are integrated, gamma = c / sqrt(A B) being at most the largest rho: for the integrand s^p t^q
 *     A^-(p+1)/2 B^-(q+1)/2 sum_j a_(p+j) a_(q+j) gamma^j / j!,   a_m = 2^((m-1)/2) Gamma((m+1)/2),
 * with p = k - 1, q = k' - 1, and one less each where 1 / (|r| |r'|) goes back. N directions of each batch are N^2
 * pairs, and what is sampled is smooth on a sphere of few dimensions. */
#ifndef LIMN_TP_BATCH_TWO_SPHERES_H
#define LIMN_TP_BATCH_TWO_SPHERES_H
#include "tp/batch/batchnorm_factor.h"
#include "tp/batch/zonal.h"

typedef struct {
    tp_batchnorm_spec layer;          /* its phi are g */
    tp_block_function f[2], slope[2]; /* functions, and their derivatives */
    bool smooth;                      /* both f are analytic along the real line */
    const double *theta;              /* (rows, rows2): T's argument; NULL: V is wanted, and not T* */
    int own;                          /* 1, 2: V of the first or second batch with itself; 0: between them */
    size_t samples;                   /* a power of 2 is best */
    uint64_t seed;
    double most_off; /* of what epsilon does, that a quicker way may leave; relative */
} tp_sphere_spec;

/* As tp_sphere (sphere.h), of a prepared layer; *whole: what f gives, from which nothing is taken. 1, with nothing
 * done: one batch, functions that are not smooth, batches that correlate too much or have directions in common, ranks
 * below 3, an epsilon that moves what is integrated, or more than 32 rows. */
int tp_two_spheres(const tp_sphere_spec *spec, const tp_batchnorm *layer, double *out, bool *whole, double *off,
                   ad_error *error);
/* Does tp_two_spheres take these two batches? Each may then be sampled by itself, too; V of others, and of each of them
 * with itself, fit together as one covariance if all are by the same directions, those of both. */
int tp_spheres_apart(const tp_sphere_spec *spec, bool *apart, ad_error *error);
#endif
