#include "tests/support/real.h"

/* MPFR's own type over the digits of x; a result's are overwritten. */
static void borrow(mpfr_ptr m, real *x)
{
    mpfr_custom_init_set(m, x->kind, x->exponent, REAL_BITS, x->limbs);
}

static void fresh(mpfr_ptr m, real *x)
{
    mpfr_custom_init(x->limbs, REAL_BITS);
    x->kind = MPFR_ZERO_KIND;
    x->exponent = 0;
    borrow(m, x);
}

static real finished(mpfr_srcptr m, real *x)
{
    x->kind = mpfr_custom_get_kind(m);
    x->exponent = x->kind == MPFR_REGULAR_KIND || x->kind == -MPFR_REGULAR_KIND ? mpfr_custom_get_exp(m) : 0;
    return *x;
}

/* The function of one or two reals that MPFR has under the same name. */
#define UNARY(name)                                                                                                    \
    real real_##name(real x)                                                                                           \
    {                                                                                                                  \
        real out;                                                                                                      \
        mpfr_t a, y;                                                                                                   \
        borrow(a, &x);                                                                                                 \
        fresh(y, &out);                                                                                                \
        mpfr_##name(y, a, MPFR_RNDN);                                                                                  \
        return finished(y, &out);                                                                                      \
    }
#define BINARY(name)                                                                                                   \
    real real_##name(real a, real b)                                                                                   \
    {                                                                                                                  \
        real out;                                                                                                      \
        mpfr_t first, second, y;                                                                                       \
        borrow(first, &a);                                                                                             \
        borrow(second, &b);                                                                                            \
        fresh(y, &out);                                                                                                \
        mpfr_##name(y, first, second, MPFR_RNDN);                                                                      \
        return finished(y, &out);                                                                                      \
    }
UNARY(sqrt)
UNARY(abs)
UNARY(neg)
UNARY(exp)
UNARY(log1p)
UNARY(sin)
UNARY(cos)
UNARY(sinh)
UNARY(cosh)
UNARY(tanh)
UNARY(erf)
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(atan2)

real real_of(double x)
{
    real out;
    mpfr_t y;
    fresh(y, &out);
    mpfr_set_d(y, x, MPFR_RNDN);
    return finished(y, &out);
}

double real_double(real x)
{
    mpfr_t a;
    borrow(a, &x);
    return mpfr_get_d(a, MPFR_RNDN);
}

real real_pi(void)
{
    real out;
    mpfr_t y;
    fresh(y, &out);
    mpfr_const_pi(y, MPFR_RNDN);
    return finished(y, &out);
}

real real_scale(double c, real x)
{
    return real_mul(real_of(c), x);
}

int real_sign(real x)
{
    mpfr_t a;
    borrow(a, &x);
    return (mpfr_sgn(a) > 0) - (mpfr_sgn(a) < 0);
}

bool real_less(real a, real b)
{
    mpfr_t first, second;
    borrow(first, &a);
    borrow(second, &b);
    return mpfr_less_p(first, second) != 0;
}
