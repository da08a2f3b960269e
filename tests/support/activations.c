/* activations.c: functions and their closed forms, each derived by hand: those of kinks from E |a| |b| and
 * E sign sign of an angle (Cho and Saul, 2009), those of erf from Williams's arcsine (1997) and Stein's lemma,
 * polynomials from Isserlis's sums. */
#include "tests/support/moments.h"

#include <math.h>
#include <string.h>

static real square(real x)
{
    return real_mul(x, x);
}

static real half(real x)
{
    return real_scale(0.5, x);
}

/* aa bb - ab^2, which is 0 where nothing but the rounding of 77 digits is left of it: jumps would take its root, layer
 * after layer. */
static real determinant(covariance q)
{
    real product = real_mul(q.aa, q.bb), d = real_sub(product, square(q.ab));
    return real_less(d, real_scale(1e-66, product)) ? real_of(0) : d;
}

/* ---- kinks: f = c x + d |x| and its slope c + d sign; or f = c + d sign ---- */
/* E sign(a) sign(b) = 1 - 2 t / pi, where t is the angle between a and b. */
static real signs(covariance q)
{
    if (real_sign(q.aa) == 0 || real_sign(q.bb) == 0)
        return real_of(0);
    real angle = real_atan2(real_sqrt(determinant(q)), q.ab);
    return real_sub(real_of(1), real_div(real_scale(2, angle), real_pi()));
}

/* E |a| |b| = (2 / pi) (sqrt(det) + ab (pi / 2 - t)). */
static real sizes(covariance q)
{
    real root = real_sqrt(determinant(q));
    return real_add(real_div(real_scale(2, root), real_pi()), real_mul(q.ab, signs(q)));
}

static moments bent(covariance q, double c, double d, double slope_at_zero)
{
    moments m = { .value = real_add(real_scale(c * c, q.ab), real_scale(d * d, sizes(q))) };
    bool a = real_sign(q.aa) > 0, b = real_sign(q.bb) > 0;
    if (a && b)
        m.slope = real_add(real_of(c * c), real_scale(d * d, signs(q)));
    else /* an argument that is 0 has the slope of its kink, and sign has mean 0 */
        m.slope = real_of((a ? c : slope_at_zero) * (b ? c : slope_at_zero));
    return m;
}

static void bent_at(real x, double c, double d, double slope_at_zero, real *value, real *slope)
{
    int s = real_sign(x);
    *value = real_add(real_scale(c, x), real_scale(d, real_abs(x)));
    *slope = real_of(s ? c + d * s : slope_at_zero);
}

/* The slope 0.01, of a double, and its halves are exact in the sums below to 1e-18 alone: 1/8 is in all digits. */
enum { LEAK_INVERSE = 8 };
static const double leak = 1.0 / LEAK_INVERSE, leaky_c = (1 + 1.0 / LEAK_INVERSE) / 2,
                    leaky_d = (1 - 1.0 / LEAK_INVERSE) / 2;

static moments relu_closed(covariance q)
{
    return bent(q, 0.5, 0.5, 0);
}
static void relu_at(real x, real *value, real *slope)
{
    bent_at(x, 0.5, 0.5, 0, value, slope);
}
static ad_var relu_build(ad_var x)
{
    return ad_relu(x);
}

static moments leaky_closed(covariance q)
{
    return bent(q, leaky_c, leaky_d, leak);
}
static void leaky_at(real x, real *value, real *slope)
{
    bent_at(x, leaky_c, leaky_d, leak, value, slope);
}
static ad_var leaky_build(ad_var x)
{
    return ad_leaky(x, leak);
}

static moments abs_closed(covariance q)
{
    return bent(q, 0, 1, 0);
}
static void abs_at(real x, real *value, real *slope)
{
    bent_at(x, 0, 1, 0, value, slope);
}
static ad_var abs_build(ad_var x)
{
    return ad_abs(x);
}

/* Its slope is 0 wherever there is one, as a gradient has it. */
static moments sign_closed(covariance q)
{
    return (moments){ signs(q), real_of(0) };
}
static void sign_at(real x, real *value, real *slope)
{
    *value = real_of(real_sign(x));
    *slope = real_of(0);
}
static ad_var sign_build(ad_var x)
{
    return ad_sign(x);
}

static moments step_closed(covariance q)
{
    bool zero = real_sign(q.aa) == 0 || real_sign(q.bb) == 0;
    return (moments){ zero ? real_of(0) : real_scale(0.25, real_add(real_of(1), signs(q))), real_of(0) };
}
static void step_at(real x, real *value, real *slope)
{
    *value = real_of(real_sign(x) > 0);
    *slope = real_of(0);
}
static ad_var step_build(ad_var x)
{
    return ad_step(x);
}

/* ---- of the error function ---- */
/* (1 + s aa) (1 + s bb) - (s ab)^2 */
static real spread(covariance q, double s)
{
    real traces = real_scale(s, real_add(q.aa, q.bb));
    return real_add(real_of(1), real_add(traces, real_scale(s * s, determinant(q))));
}

/* asin(s ab / sqrt((1 + s aa) (1 + s bb))) */
static real arcsine(covariance q, double s)
{
    return real_atan2(real_scale(s, q.ab), real_sqrt(spread(q, s)));
}

/* E erf erf = (2 / pi) asin(...), E erf' erf' = (4 / pi) / sqrt(spread). */
static moments erf_closed(covariance q)
{
    return (moments){ real_div(real_scale(2, arcsine(q, 2)), real_pi()),
                      real_div(real_of(4), real_mul(real_pi(), real_sqrt(spread(q, 2)))) };
}
/* 2 exp(-x^2) / sqrt(pi) */
static void erf_at(real x, real *value, real *slope)
{
    *value = real_erf(x);
    *slope = real_div(real_scale(2, real_exp(real_neg(square(x)))), real_sqrt(real_pi()));
}
static ad_var erf_build(ad_var x)
{
    return ad_erf(x);
}

/* With P = E phi(a) phi(b) = 1 / (2 pi sqrt(spread)), F = E Phi Phi = 1/4 + asin(...) / (2 pi), by Stein's lemma
 * E phi(a) b Phi(b) = P (bb - ab^2 / (1 + aa)), E Phi(a) b phi(b) = P ab / (1 + bb),
 * E a phi(a) b phi(b) = P ab / spread, and once more
 * E a Phi(a) b Phi(b) = aa E phi(a) b Phi(b) + ab (F + E Phi(a) b phi(b)). */
static moments gelu_closed(covariance q)
{
    real one = real_of(1), a1 = real_add(one, q.aa), b1 = real_add(one, q.bb), det = spread(q, 1);
    real two_pi = real_scale(2, real_pi()), p = real_div(one, real_mul(two_pi, real_sqrt(det)));
    real f = real_add(real_of(0.25), real_div(arcsine(q, 1), two_pi));
    real mixed = real_mul(p, real_div(real_add(determinant(q), q.bb), a1));
    real right = real_div(real_mul(p, q.ab), b1), left = real_div(real_mul(p, q.ab), a1);
    real both = real_div(real_mul(p, q.ab), det);
    return (moments){ real_add(real_mul(q.aa, mixed), real_mul(q.ab, real_add(f, right))),
                      real_add(real_add(f, both), real_add(left, right)) };
}
static void gelu_at(real x, real *value, real *slope)
{
    real normal = half(real_add(real_of(1), real_erf(real_div(x, real_sqrt(real_of(2))))));
    real density = real_div(real_exp(real_scale(-0.5, square(x))), real_sqrt(real_scale(2, real_pi())));
    *value = real_mul(x, normal);
    *slope = real_add(normal, real_mul(x, density));
}
static ad_var gelu_build(ad_var x)
{
    return ad_gelu(x);
}

/* ---- of exponentials ---- */
static real damping(covariance q, double sign)
{
    return real_exp(real_scale(sign / 2, real_add(q.aa, q.bb)));
}

static moments sin_closed(covariance q)
{
    real d = damping(q, -1);
    return (moments){ real_mul(d, real_sinh(q.ab)), real_mul(d, real_cosh(q.ab)) };
}
static void sin_at(real x, real *value, real *slope)
{
    *value = real_sin(x);
    *slope = real_cos(x);
}
static ad_var sin_build(ad_var x)
{
    return ad_sin(x);
}

static moments cos_closed(covariance q)
{
    real d = damping(q, -1);
    return (moments){ real_mul(d, real_cosh(q.ab)), real_mul(d, real_sinh(q.ab)) };
}
static void cos_at(real x, real *value, real *slope)
{
    *value = real_cos(x);
    *slope = real_neg(real_sin(x));
}
static ad_var cos_build(ad_var x)
{
    return ad_cos(x);
}

static moments exp_closed(covariance q)
{
    real e = real_mul(damping(q, 1), real_exp(q.ab));
    return (moments){ e, e };
}
static void exp_at(real x, real *value, real *slope)
{
    *value = *slope = real_exp(x);
}
static ad_var exp_build(ad_var x)
{
    return ad_exp(x);
}

/* ---- polynomials ---- */
/* E a^i b^j = (i - 1) aa E a^(i-2) b^j + j ab E a^(i-1) b^(j-1) */
static real power_moment(covariance q, int i, int j)
{
    if (i == 0 && j == 0)
        return real_of(1);
    if ((i + j) % 2)
        return real_of(0);
    if (i == 0)
        return power_moment((covariance){ q.bb, q.aa, q.ab }, j, i);
    real sum = real_of(0);
    if (i > 1)
        sum = real_scale(i - 1, real_mul(q.aa, power_moment(q, i - 2, j)));
    if (j > 0)
        sum = real_add(sum, real_scale(j, real_mul(q.ab, power_moment(q, i - 1, j - 1))));
    return sum;
}

enum { DEGREE = 3 };
static real product_moment(covariance q, const double *c)
{
    real sum = real_of(0);
    for (int i = 0; i <= DEGREE; i++)
        for (int j = 0; j <= DEGREE; j++)
            sum = real_add(sum, real_scale(c[i] * c[j], power_moment(q, i, j)));
    return sum;
}

static moments polynomial_closed(covariance q, const double *c)
{
    const double slope[DEGREE + 1] = { c[1], 2 * c[2], 3 * c[3], 0 };
    return (moments){ product_moment(q, c), product_moment(q, slope) };
}

static void polynomial_at(real x, const double *c, real *value, real *slope)
{
    *value = *slope = real_of(0);
    for (int i = DEGREE; i >= 0; i--) {
        *slope = real_add(*value, real_mul(x, *slope));
        *value = real_add(real_of(c[i]), real_mul(x, *value));
    }
}

static const double square_coefficients[] = { 0, 0, 1, 0 }, cubic_coefficients[] = { 0.5, 1, -0.25, 0.125 };

static moments square_closed(covariance q)
{
    return polynomial_closed(q, square_coefficients);
}
static void square_at(real x, real *value, real *slope)
{
    polynomial_at(x, square_coefficients, value, slope);
}
static ad_var square_build(ad_var x)
{
    return ad_square(x);
}

static moments cubic_closed(covariance q)
{
    return polynomial_closed(q, cubic_coefficients);
}
static void cubic_at(real x, real *value, real *slope)
{
    polynomial_at(x, cubic_coefficients, value, slope);
}
static ad_var cubic_build(ad_var x)
{
    ad_var even = ad_add(ad_constant(x.graph, 0.5, *ad_shape_get(x)), ad_scale(ad_square(x), -0.25));
    return ad_add(even, ad_add(x, ad_scale(ad_power(x, 3), 0.125)));
}

/* ---- without closed forms ---- */
static void tanh_at(real x, real *value, real *slope)
{
    *value = real_tanh(x);
    *slope = real_sub(real_of(1), square(*value));
}
static ad_var tanh_build(ad_var x)
{
    return ad_tanh(x);
}

static void sigmoid_at(real x, real *value, real *slope)
{
    *value = half(real_add(real_of(1), real_tanh(half(x))));
    *slope = real_sub(*value, square(*value));
}
static ad_var sigmoid_build(ad_var x)
{
    return ad_sigmoid(x);
}

static void softplus_at(real x, real *value, real *slope)
{
    real one = real_of(1), e = real_exp(real_neg(real_abs(x))), positive = real_sign(x) > 0 ? x : real_of(0);
    *value = real_add(positive, real_log1p(e));
    *slope = real_div(real_sign(x) > 0 ? one : e, real_add(one, e));
}
static ad_var softplus_build(ad_var x)
{
    return ad_softplus(x);
}

static void swish_at(real x, real *value, real *slope)
{
    real s, t;
    sigmoid_at(x, &s, &t);
    *value = real_mul(x, s);
    *slope = real_add(s, real_mul(x, t));
}
static ad_var swish_build(ad_var x)
{
    return ad_swish(x);
}

/* Products and sums of two. */
static void multiply(real f, real df, real g, real dg, real *value, real *slope)
{
    *value = real_mul(f, g);
    *slope = real_add(real_mul(f, dg), real_mul(df, g));
}

static void relu_tanh_at(real x, real *value, real *slope)
{
    real t, dt;
    tanh_at(x, &t, &dt);
    multiply(real_sign(x) > 0 ? x : real_of(0), real_of(real_sign(x) > 0), t, dt, value, slope);
}
static ad_var relu_tanh_build(ad_var x)
{
    return ad_mul(ad_relu(x), ad_tanh(x));
}

static void sin_sigmoid_at(real x, real *value, real *slope)
{
    real s, ds;
    sigmoid_at(x, &s, &ds);
    multiply(real_sin(x), real_cos(x), s, ds, value, slope);
}
static ad_var sin_sigmoid_build(ad_var x)
{
    return ad_mul(ad_sin(x), ad_sigmoid(x));
}

static void square_erf_at(real x, real *value, real *slope)
{
    real e, de;
    erf_at(x, &e, &de);
    multiply(square(x), real_scale(2, x), e, de, value, slope);
}
static ad_var square_erf_build(ad_var x)
{
    return ad_mul(ad_square(x), ad_erf(x));
}

static void abs_sin_at(real x, real *value, real *slope)
{
    *value = real_add(real_abs(x), real_sin(x));
    *slope = real_add(real_of(real_sign(x)), real_cos(x));
}
static ad_var abs_sin_build(ad_var x)
{
    return ad_add(ad_abs(x), ad_sin(x));
}

static void tanh_cos_at(real x, real *value, real *slope)
{
    real t, dt;
    tanh_at(x, &t, &dt);
    *value = real_add(t, real_cos(x));
    *slope = real_sub(dt, real_sin(x));
}
static ad_var tanh_cos_build(ad_var x)
{
    return ad_add(ad_tanh(x), ad_cos(x));
}

#define CLOSED(name, kink, wave, bell, largest)                                                                        \
    {                                                                                                                  \
#name, name##_build, name##_at, name##_closed, kink, INFINITY, wave, bell, largest                             \
    }
#define NUMERIC(name, text, kink, pole, wave, bell, largest)                                                           \
    {                                                                                                                  \
        text, name##_build, name##_at, NULL, kink, pole, wave, bell, largest                                           \
    }
static const activation activations[] = {
    CLOSED(relu, true, 0, 0, INFINITY),
    CLOSED(leaky, true, 0, 0, INFINITY),
    CLOSED(abs, true, 0, 0, INFINITY),
    CLOSED(erf, false, 0, 1, INFINITY),
    CLOSED(gelu, false, 0, 0.5, INFINITY),
    CLOSED(sin, false, 1, 0, 3),
    CLOSED(cos, false, 1, 0, 3),
    CLOSED(exp, false, 0, 0, 1),
    CLOSED(square, false, 0, 0, 1e30),
    CLOSED(cubic, false, 0, 0, 1e20),
    CLOSED(step, true, 0, 0, INFINITY),
    CLOSED(sign, true, 0, 0, INFINITY),
    NUMERIC(tanh, "tanh", false, 1.57, 0, 0, 30),
    NUMERIC(sigmoid, "sigmoid", false, 3.14, 0, 0, 30),
    NUMERIC(softplus, "softplus", false, 3.14, 0, 0, 30),
    NUMERIC(swish, "swish", false, 3.14, 0, 0, 30),
    NUMERIC(relu_tanh, "relu tanh", true, 1.57, 0, 0, 30),
    NUMERIC(sin_sigmoid, "sin sigmoid", false, 3.14, 1, 0, 2),
    NUMERIC(square_erf, "square erf", false, INFINITY, 0, 1, 1.5),
    NUMERIC(abs_sin, "abs + sin", true, INFINITY, 1, 0, 2),
    NUMERIC(tanh_cos, "tanh + cos", false, 1.57, 1, 0, 2),
};

const activation *activation_number(int k)
{
    return k >= 0 && k < (int)(sizeof activations / sizeof *activations) ? &activations[k] : NULL;
}

const activation *activation_named(const char *name)
{
    for (int k = 0; activation_number(k); k++)
        if (strcmp(activation_number(k)->name, name) == 0)
            return activation_number(k);
    return NULL;
}
