/* moments.h: E f(a) f(b) and E f'(a) f'(b) of jointly Gaussian a and b to 25 digits and more, apart from all that limn
 * computes: closed forms in 77 digits where there are any, quadrature in as many otherwise. */
#ifndef LIMN_TESTS_MOMENTS_H
#define LIMN_TESTS_MOMENTS_H
#include "limn.h"
#include "tests/support/real.h"

/* Var a, Var b, Cov(a, b). */
typedef struct {
    real aa, bb, ab;
} covariance;
/* E f f and E f' f'. */
typedef struct {
    real value, slope;
} moments;

typedef struct {
    const char *name;
    ad_var (*build)(ad_var x);                    /* in a trace */
    void (*at)(real x, real *value, real *slope); /* f(x) and f'(x), 0 at a jump of f */
    moments (*closed)(covariance q);              /* NULL: by quadrature */
    bool kink;                                    /* at 0 */
    double pole;       /* how far from the real line the nearest one of f is: INFINITY for an entire function */
    double wave, bell; /* |f(x + i y)| and |f'| grow like e^(wave y) and like e^(bell y^2) */
    double largest; /* standard deviation of an argument for which f's expectations are finite in double, and cheap */
} activation;
/* All that are known, by number; NULL behind the last. */
const activation *activation_number(int k);
const activation *activation_named(const char *name);

/* The best of those below. */
moments expected(const activation *f, covariance q);
/* Two ways that share nothing but f: trapezoids in two independent normal variables, of smooth functions of arguments
 * of moderate size; and polar coordinates, split where a or b changes sign, tanh-sinh in both, of all. */
moments expected_by_trapezoids(const activation *f, covariance q);
moments expected_by_sectors(const activation *f, covariance q);
#endif
