/* sphere.h: any function after batch normalisation: directions are sampled, the radius is integrated.
 *
 * With r = F x the centred u of one batch or of two, x ~ N(0, I) in k dimensions, x = t omega: omega is uniform on the
 * sphere and t, apart from it, has the law of chi_k. The heavy tail of the backward pass, 1 / |r|^2, is in t alone and
 * is integrated: at epsilon = 0 z does not depend on t, and E 1 / t^2 = 1 / (k - 2); else by the trapezoid rule in log
 * t.
 *
 * Of an odd function what z = sqrt(B) r / |r| would give if |r|^2 were its mean in all directions is known, too, by
 * Gegenbauer polynomials (zonal.h), and only the difference is sampled.
 *
 * Of two batches that do not correlate much, directions of either one are sampled apart (two_spheres.h). V of others
 * and of each with itself (`own`) are to be by one seed, and so by the same directions and radii: each entry is then
 * the same mean of products of functions, and all together are a covariance.
 *
 * Only what a function f has beyond a homogeneous one, g(z) = above z for z > 0 and below z for z < 0, is sampled: what
 * g gives is known exactly (batchnorm.h). */
#ifndef LIMN_TP_BATCH_SPHERE_H
#define LIMN_TP_BATCH_SPHERE_H
#include "tp/batch/two_spheres.h"

/* The g nearest to f, for z of variance 1 over either half line. */
tp_slopes tp_nearest_slopes(const tp_block_function *f);
/* One direction is there in rank 1 alone, and all is integrated: *sampled tells. *off: what the radius's rule may leave
 * of the error, relative to the largest entry.
 * out (rows, rows2), or (rows, rows) = E f1(z_a) f2(z_c) - E g1(z_a) g2(z_c) or, with theta, T*(theta) = sum over b, d
 * of E (dy_a / du_b) theta_bd (dy_c / du_d) of f less that of g, in the mean over one set of samples. *whole: nothing
 * of g is taken from it. */
int tp_sphere(const tp_sphere_spec *spec, double *out, bool *whole, double *off, bool *sampled, ad_error *error);
#endif
