/* wick.h: exact expectations of polynomials in functions of correlated Gaussians.
 *
 *     X = sum over terms  c n^power  prod over factors  f(u),     u = constant + sum of c_k Z_k
 *
 * Z_k are centred Gaussians with a covariance, f univariate functions (symbolic.h). E X splits over independent
 * blocks; in a block linear factors go by Wick's theorem, also beside functions: given the arguments t1, t2 of the
 * functions a linear factor is a1 t1 + a2 t2 + an independent rest. What is left are E t1^i f(t1) t2^k g(t2): closed
 * forms, else quadrature. A block of three or more directions of functions has no exact value here: NAN. */
#ifndef LIMN_TP_NETSOR_WICK_H
#define LIMN_TP_NETSOR_WICK_H
#include "tp/symbolic/symbolic.h"

typedef struct {
    double constant;
    double c[]; /* by Gaussian */
} tp_affine;

enum { TP_MAX_WICK = 12 };
typedef struct {
    const tp_affine *form; /* equal ones have one address */
    int fn;                /* algebra.variable: the form itself */
} tp_wick_factor;
typedef struct {
    double c, power;
    int n;
    tp_wick_factor factors[TP_MAX_WICK];
} tp_wick_term;
typedef struct {
    bool known; /* else there is no such polynomial for it */
    int n;
    tp_wick_term *terms;
} tp_wick;

typedef struct {
    tp_algebra algebra; /* its functions */
    tp_program program; /* what the algebra wants to see: nothing */
    int n, capacity;
    double *covariance; /* (capacity, capacity) of the Gaussians; NAN: not known */
    tp_table forms;
    ad_error *error;
    bool full;       /* memory is out */
    bool underflows; /* a product of coefficients was below what a double holds */
} tp_basis;

int tp_basis_new(tp_basis *basis, int capacity, ad_error *error);
void tp_basis_free(tp_basis *basis);
/* One more Gaussian, with covariance 0 with all before, and 0 with itself: to be set. At most `capacity` of them. */
int tp_basis_add(tp_basis *basis);
void tp_basis_set(tp_basis *basis, int i, int k, double covariance);

tp_wick tp_wick_unknown(void);
tp_wick tp_wick_number(tp_basis *, double c, double power);
tp_wick tp_wick_gaussian(tp_basis *, int k, double mean);
tp_wick tp_wick_sum(tp_basis *, tp_wick a, double factor, tp_wick b); /* a + factor b */
tp_wick tp_wick_product(tp_basis *, tp_wick a, tp_wick b);
tp_wick tp_wick_function(tp_basis *, int op, double p, const ad_function *function, int order, tp_wick x);
/* By powers of n: E of the terms of this power. NAN where there is no exact value. */
double tp_wick_expectation(tp_basis *, const tp_wick *x, double power);
/* Is this value of it below 1e-300, where a double loses digits, for its terms are so small, not for they cancel, or
 * vanish whatever is drawn? */
bool tp_wick_underflows(tp_basis *, const tp_wick *x, double value);
/* The largest power of n. */
double tp_wick_top(const tp_wick *x);
#endif
