/* real.h: numbers of 77 decimal digits (256 bits, rounded to nearest by MPFR) as plain values, for expectations that
 * the tests know without limn. Nothing is allocated: a real is copied as a double is. */
#ifndef LIMN_TESTS_REAL_H
#define LIMN_TESTS_REAL_H
#include <mpfr.h>
#include <stdbool.h>

enum { REAL_BITS = 256, REAL_LIMBS = REAL_BITS / (8 * (int)sizeof(mp_limb_t)) };
typedef struct {
    int kind; /* of MPFR's custom interface: sign, and whether it is 0 or a number */
    mpfr_exp_t exponent;
    mp_limb_t limbs[REAL_LIMBS];
} real;

real real_of(double x); /* exactly */
double real_double(real x);
real real_pi(void);
real real_add(real a, real b);
real real_sub(real a, real b);
real real_mul(real a, real b);
real real_div(real a, real b);
real real_atan2(real y, real x);
real real_sqrt(real x);
real real_abs(real x);
real real_neg(real x);
real real_exp(real x);
real real_log1p(real x);
real real_sin(real x);
real real_cos(real x);
real real_sinh(real x);
real real_cosh(real x);
real real_tanh(real x);
real real_erf(real x);
real real_scale(double c, real x); /* c x */
int real_sign(real x);             /* -1, 0, 1 */
bool real_less(real a, real b);
#endif
