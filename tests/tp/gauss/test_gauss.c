/* Expectations over Gaussian pairs against integrals in long double that share no code with them: in polar coordinates
 * for piecewise linear functions (the radius is a moment), by a nested tanh-sinh rule for the others.
 *
 * A pair is the three doubles as they are given: truths use the determinant q11 q22 - q12^2 exactly. Errors are
 * relative to sqrt(E f^2 E g^2) where the value may vanish, to the value itself for the relu family and in the rule's
 * tests. */
#include "tp/gauss/gauss.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

typedef long double real;
typedef real function(real x);
static const real pi = 3.14159265358979323846264338327950288L;

/* ---- truth ---- */
typedef struct {
    real root1, root2, det, c, s, phi, theta; /* theta the angle between the arguments, phi = pi - theta */
} angle;

static angle angle_of(double q11, double q22, double q12)
{
    double p1 = q11 * q22, p2 = q12 * q12;
    real det = ((real)p1 - p2) + ((real)fma(q11, q22, -p1) - fma(q12, q12, -p2));
    angle a = { sqrtl(q11), sqrtl(q22), det > 0 ? det : 0, 0, 0, 0, 0 };
    real d = sqrtl((real)q11 * q22);
    a.c = d > 0 ? fmaxl(-1, fminl(1, q12 / d)) : 0;
    a.s = d > 0 ? sqrtl(a.det) / d : 0;
    a.phi = atan2l(sqrtl(a.det), -(real)q12);
    a.theta = atan2l(sqrtl(a.det), q12);
    return a;
}

static void legendre(int n, real *x, real *w)
{
    for (int i = 0; i < n; i++) {
        real z = cosl(pi * (i + 0.75L) / (n + 0.5L)), slope = 1;
        for (int step = 0; step < 12; step++) {
            real p = 1, before = 0;
            for (int k = 0; k < n; k++) {
                real next = ((2 * k + 1) * z * p - k * before) / (k + 1);
                before = p;
                p = next;
            }
            slope = n * (z * p - before) / (z * z - 1);
            z -= p / slope;
        }
        x[i] = z;
        w[i] = 2 / ((1 - z * z) * slope * slope);
    }
}

/* f and g homogeneous of degrees m and n on either side of 0. In the sector where a, b > 0, of width phi, a ~ sin t and
 * b ~ sin(phi - t); in the next one, of width theta, a ~ sin(theta - t) and b ~ -sin t; the other two mirror them. */
static real polar(function *f, int m, function *g, int n, const angle *a)
{
    enum { POINTS = 20, PANELS = 8 };
    real x[POINTS], w[POINTS], sum = 0, radius[] = { 1, sqrtl(pi / 2), 2 };
    legendre(POINTS, x, w);
    for (int sector = 0; sector < 2; sector++) {
        real width = sector ? a->theta : a->phi, half = width / (2 * PANELS);
        for (int k = 0; k < PANELS; k++)
            for (int i = 0; i < POINTS; i++) {
                real t = half * (2 * k + 1 + x[i]), u = sinl(width - t), v = sinl(t);
                sum += half * w[i] * (sector ? f(u) * g(-v) + f(-u) * g(v) : f(v) * g(u) + f(-v) * g(-u));
            }
    }
    return sum / (2 * pi) * radius[m + n] * (m ? a->root1 : 1) * (n ? a->root2 : 1);
}

/* The tanh-sinh rule on [-1, 1], by distances from the nearer end; side: the node in the middle. */
enum { MOST_SIDE = 200 };
typedef struct {
    int side;
    real distance[2 * MOST_SIDE + 1], weight[2 * MOST_SIDE + 1];
} sinh_rule;

/* Steps of 1/24, and of 1/54 where the integrand has layers as thin as 1/100. */
static const sinh_rule *the_rule(bool fine)
{
    static sinh_rule rules[2];
    sinh_rule *r = &rules[fine];
    if (r->side == 0) {
        int density = fine ? 54 : 24;
        r->side = density * 18 / 5;
        for (int i = 0; i <= 2 * r->side; i++) {
            real t = fabsl((real)(i - r->side)) / density, e = expl(-pi * sinhl(t));
            r->distance[i] = 2 * e / (1 + e);
            r->weight[i] = pi / 2 * coshl(t) * 4 * e / ((1 + e) * (1 + e)) / density;
        }
    }
    return r;
}

typedef struct {
    const real *at;
    int n;
} cuts;
static const real zero_cut[] = { 0 };

/* Sorted panel ends on [-10, 10]: 0, and cuts (at - shift) / slope, and more. */
static int panels(real *ends, cuts c, real slope, real shift, cuts more, real more_slope)
{
    int n = 0;
    ends[n++] = -10;
    for (int k = -1; k < c.n + more.n; k++) {
        real at = k < 0 ? 0 : k < c.n ? (c.at[k] - shift) / slope : more.at[k - c.n] / more_slope;
        if (!(fabsl(at) < 10))
            continue;
        int i = n++;
        for (; i > 1 && ends[i - 1] > at; i--)
            ends[i] = ends[i - 1];
        ends[i] = at;
    }
    ends[n++] = 10;
    return n;
}

/* E over the standard normal u of f(root1 u) and, for s > 0, over v of g(root2 (c u + s v)); both cut at their
 * kinks. */
static real nested(function *f, cuts cf, function *g, cuts cg, const angle *a)
{
    const sinh_rule *r = the_rule(a->root1 > 3 || a->root2 > 3);
    const cuts none = { NULL, 0 };
    real u_ends[32], v_ends[32], total = 0, norm = sqrtl(2 * pi);
    bool line = !(a->s > 0);
    real along = line ? (a->root1 > 0 && a->root2 > 0 && a->c < 0 ? -1 : 1) : a->c;
    int nu = panels(u_ends, cf, a->root1, 0, cg, a->root2 * along);
    for (int p = 0; p + 1 < nu; p++)
        for (int i = 0; i <= 2 * r->side; i++) {
            real half = (u_ends[p + 1] - u_ends[p]) / 2, off = half * r->distance[i];
            real u = i < r->side ? u_ends[p] + off : u_ends[p + 1] - off;
            real mass = half * r->weight[i] * expl(-u * u / 2) / norm, weight = mass * f(a->root1 * u), sum = 0;
            if (line) {
                total += weight * g(a->root2 * along * u);
                continue;
            }
            if (mass < 1e-26L)
                continue;
            real slope = a->root2 * a->s, shift = a->root2 * a->c * u;
            int nv = panels(v_ends, cg, slope, shift, none, 1);
            for (int q = 0; q + 1 < nv; q++)
                for (int j = 0; j <= 2 * r->side; j++) {
                    real h = (v_ends[q + 1] - v_ends[q]) / 2, o = h * r->distance[j];
                    real v = j < r->side ? v_ends[q] + o : v_ends[q + 1] - o;
                    if (h > 0)
                        sum += h * r->weight[j] * expl(-v * v / 2) * g(slope * v + shift);
                }
            total += weight * sum / norm;
        }
    return total;
}

static real t_relu(real x)
{
    return x > 0 ? x : 0;
}
static real t_step(real x)
{
    return x > 0;
}
static real t_leaky(real x)
{
    return x > 0 ? x : 0.25L * x;
}
static real t_leaky_step(real x)
{
    return x > 0 ? 1 : 0.25L;
}
static real t_abs(real x)
{
    return fabsl(x);
}
static real t_sign(real x)
{
    return x > 0 ? 1 : x < 0 ? -1 : 0;
}
static real t_erf(real x)
{
    return erfl(x);
}
static real t_erf_grad(real x)
{
    return 2 / sqrtl(pi) * expl(-x * x);
}
static real t_sin(real x)
{
    return sinl(x);
}
static real t_cos(real x)
{
    return cosl(x);
}
static real t_exp(real x)
{
    return expl(x);
}
static real t_gelu(real x)
{
    return x * erfcl(-x / sqrtl(2)) / 2;
}
static real t_gelu_grad(real x)
{
    return erfcl(-x / sqrtl(2)) / 2 + x * expl(-x * x / 2) / sqrtl(2 * pi);
}
static real t_id(real x)
{
    return x;
}
static real t_one(real x)
{
    (void)x;
    return 1;
}
static real t_square(real x)
{
    return x * x;
}
static real t_fifth(real x)
{
    return x * x * x * x * x;
}
static real t_tanh(real x)
{
    return tanhl(x);
}
static real t_shifted(real x)
{
    return fabsl(x - 0.3L);
}
static real t_clip(real x)
{
    return x > 1 ? 1 : x < -1 ? -1 : x;
}

/* ---- grids ---- */
static const double variances[][2] = { { 1, 1 }, { 0.5, 2 }, { 1e-8, 1 }, { 1e-8, 1e-8 }, { 1e4, 1e4 }, { 1e4, 3 } };
static const double correlations[] = { 1, -1, 0, 0.3, -0.7, 1 - 1e-6, -1 + 1e-6, 1 - 1e-12, -1 + 1e-12 };
enum {
    N_VARIANCES = sizeof variances / sizeof *variances,
    N_CORRELATIONS = sizeof correlations / sizeof *correlations
};

static double covariance(double q11, double q22, double c)
{
    return fabs(c) < 1 || q11 < q22 || q11 > q22 ? c * sqrt(q11 * q22) : c * q11;
}

static double closed(const tp_univariate *f, const tp_univariate *g, double q11, double q22, double q12)
{
    double value = (double)NAN;
    cr_assert(tp_closed(f, g, 1, &q11, &q22, &q12, NULL, &value));
    return value;
}

static void near(double got, real want, double tolerance, const char *what, double q11, double q22, double q12)
{
    cr_expect(fabsl(got - want) <= tolerance, "%s at (%g, %g, %.17g): %.17g, want %.17Lg, off by %.2Lg of %.2g", what,
              q11, q22, q12, got, want, fabsl(got - want), tolerance);
}

typedef struct {
    tp_form form;
    const char *name;
    function *truth;
    int degree;
    double largest; /* variance at which the truth is integrated */
} row;
static const row piecewise_rows[] = {
    { TP_RELU, "relu", t_relu, 1, 0 },    { TP_STEP, "step", t_step, 0, 0 },
    { TP_LEAKY, "leaky", t_leaky, 1, 0 }, { TP_LEAKY_STEP, "leaky_step", t_leaky_step, 0, 0 },
    { TP_ABS, "abs", t_abs, 1, 0 },       { TP_SIGN, "sign", t_sign, 0, 0 },
};
static const row smooth_rows[] = {
    { TP_ERF, "erf", t_erf, 0, 1e5 },        { TP_ERF_GRAD, "erf_grad", t_erf_grad, 0, 1e5 },
    { TP_GELU, "gelu", t_gelu, 0, 1e5 },     { TP_GELU_GRAD, "gelu_grad", t_gelu_grad, 0, 1e5 },
    { TP_SIN, "sin", t_sin, 0, 2 },          { TP_COS, "cos", t_cos, 0, 2 },
    { TP_EXP, "exp", t_exp, 0, 1 },          { TP_ID, "id", t_id, 0, 2 },
    { TP_SQUARE, "square", t_square, 0, 2 }, { TP_POWER, "power", t_fifth, 0, 0.5 },
    { TP_ONE, "one", t_one, 0, 2 },
};
#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static tp_univariate univariate(const row *r)
{
    return tp_univariate_form(r->form, r->form == TP_POWER ? 5 : 0.25);
}

/* ---- closed forms ---- */
Test(gauss, piecewise_pairs_match_the_polar_integral)
{
    for (size_t i = 0; i < COUNT(piecewise_rows); i++)
        for (size_t j = 0; j < COUNT(piecewise_rows); j++)
            for (int v = 0; v < N_VARIANCES; v++)
                for (int k = 0; k < N_CORRELATIONS; k++) {
                    const row *f = &piecewise_rows[i], *g = &piecewise_rows[j];
                    tp_univariate uf = univariate(f), ug = univariate(g);
                    double q11 = variances[v][0], q22 = variances[v][1], q12 = covariance(q11, q22, correlations[k]);
                    angle a = angle_of(q11, q22, q12);
                    real want = polar(f->truth, f->degree, g->truth, g->degree, &a);
                    bool positive = f->form <= TP_STEP && g->form <= TP_STEP;
                    real size = powl(a.root1, f->degree) * powl(a.root2, g->degree);
                    near(closed(&uf, &ug, q11, q22, q12), want, (double)(4e-15L * (positive ? want : size)), f->name,
                         q11, q22, q12);
                }
}

Test(gauss, smooth_functions_match_the_nested_integral)
{
    const cuts at_zero = { zero_cut, 1 };
    for (size_t i = 0; i < COUNT(smooth_rows); i++)
        for (int v = 0; v < N_VARIANCES; v++)
            for (int k = 0; k < N_CORRELATIONS; k++) {
                const row *f = &smooth_rows[i];
                tp_univariate u = univariate(f);
                double q11 = variances[v][0], q22 = variances[v][1], q12 = covariance(q11, q22, correlations[k]);
                bool costly =
                    fmax(q11, q22) > 9 && k != 3 && k != 4 && k != 6; /* 0.3, -0.7, near -1; lines are cheap */
                if (fmax(q11, q22) > f->largest || (costly && fabs(correlations[k]) < 1))
                    continue;
                angle a = angle_of(q11, q22, q12);
                real want = nested(f->truth, at_zero, f->truth, at_zero, &a);
                double size = sqrt(closed(&u, &u, q11, q11, q11) * closed(&u, &u, q22, q22, q22));
                near(closed(&u, &u, q11, q22, q12), want, 4e-15 * size, f->name, q11, q22, q12);
            }
}

Test(gauss, waves_and_exponentials_hold_at_large_variances)
{
    for (int v = 0; v < N_VARIANCES; v++)
        for (int k = 0; k < N_CORRELATIONS; k++) {
            double q11 = variances[v][0], q22 = variances[v][1], q12 = covariance(q11, q22, correlations[k]);
            tp_univariate s = tp_univariate_form(TP_SIN, 0), c = tp_univariate_form(TP_COS, 0);
            real minus = expl(-((real)q11 + q22 - 2 * (real)q12) / 2);
            real plus = expl(-((real)q11 + q22 + 2 * (real)q12) / 2);
            near(closed(&s, &s, q11, q22, q12), (minus - plus) / 2, (double)(minus + plus) * 2e-15 + 1e-300, "sin", q11,
                 q22, q12);
            near(closed(&c, &c, q11, q22, q12), (minus + plus) / 2, (double)(minus + plus) * 2e-15 + 1e-300, "cos", q11,
                 q22, q12);
        }
    double q = 350;
    tp_univariate e = tp_univariate_form(TP_EXP, 0);
    near(closed(&e, &e, q, q, q), expl(700), (double)expl(700) * 1e-15, "exp", q, q, q);
}

Test(gauss, the_diagonal_is_exact)
{
    double q[] = { 1, 3, 1e-8, 1e4, 0.1, 7e-200, 3e200 };
    for (size_t i = 0; i < COUNT(q); i++) {
        tp_univariate relu = tp_univariate_form(TP_RELU, 0), step = tp_univariate_form(TP_STEP, 0);
        double r, s;
        cr_assert(tp_closed_pair(&relu, &step, 1, &q[i], &q[i], &q[i], NULL, &r, &s));
        cr_expect(fabs(r - q[i] / 2) <= 4e-16 * q[i]);
        cr_expect(fabs(s - 0.5) <= 2e-16);
        double opposite = -q[i];
        cr_assert(tp_closed_pair(&relu, &step, 1, &q[i], &q[i], &opposite, NULL, &r, &s));
        cr_expect(!(fabs(r) > 0) && !(fabs(s) > 0));
    }
}

Test(gauss, near_equal_inputs_keep_their_angle)
{
    /* theta from the half distance m: 2 sin^2(theta / 2) = (m - (root1 - root2)^2 / 2) / (root1 root2) */
    double distances[] = { 1e-4, 1e-8, 5e-13, 5e-19 };
    for (size_t i = 0; i < COUNT(distances); i++)
        for (int unequal = 0; unequal < 2; unequal++) {
            double m = distances[i], q11 = 1.3, q22 = 1.3 + unequal * 1e-3 * sqrt(m), q12 = (q11 + q22) / 2 - m, r, s,
                   e;
            real gap = ((real)q11 - q22) / (sqrtl(q11) + sqrtl(q22)), d = sqrtl((real)q11 * q22);
            real versine = (m - gap * gap / 2) / d;
            angle a = angle_of(q11, q22, q12);
            a.theta = 2 * asinl(sqrtl(versine / 2));
            a.phi = pi - a.theta;
            a.c = 1 - versine;
            a.s = sqrtl(versine * (2 - versine));
            tp_univariate relu = tp_univariate_form(TP_RELU, 0), step = tp_univariate_form(TP_STEP, 0);
            cr_assert(tp_closed_pair(&relu, &step, 1, &q11, &q22, &q12, &m, &r, &s));
            near(s, a.phi / (2 * pi), 1.2e-16, "step by distance", q11, q22, q12);
            near(r, d * (a.s + a.phi * a.c) / (2 * pi), 3e-16, "relu by distance", q11, q22, q12);
            tp_univariate sine = tp_univariate_form(TP_SIN, 0);
            cr_assert(tp_closed(&sine, &sine, 1, &q11, &q22, &q12, &m, &e));
            near(e, (expl(-m) - expl(-(real)q11 - q22 + m)) / 2, 3e-16, "sin by distance", q11, q22, q12);
        }
}

static const tp_form forms[] = { TP_ONE,   TP_ID,         TP_SQUARE, TP_POWER, TP_RELU,     TP_STEP,
                                 TP_LEAKY, TP_LEAKY_STEP, TP_ABS,    TP_SIGN,  TP_ERF,      TP_ERF_GRAD,
                                 TP_SIN,   TP_COS,        TP_EXP,    TP_GELU,  TP_GELU_GRAD };

Test(gauss, every_closed_pair_agrees_with_the_rule)
{
    double q[][3] = { { 0.7, 1.1, 0.4 }, { 1.1, 0.3, -0.5 }, { 0.5, 0.5, 0.5 }, { 0.6, 0.6, -0.6 },
                      { 0, 0.8, 0 },     { 0.9, 0, 0 },      { 0, 0, 0 } };
    for (size_t i = 0; i < COUNT(forms); i++)
        for (size_t j = 0; j < COUNT(forms); j++) {
            tp_univariate f = tp_univariate_form(forms[i], forms[i] == TP_POWER ? 3 : 0.25);
            tp_univariate g = tp_univariate_form(forms[j], forms[j] == TP_POWER ? 3 : 0.25);
            cr_expect_eq(tp_has_closed(&f, &g), tp_has_closed(&g, &f));
            if (i == j)
                cr_expect(tp_has_closed(&f, &g), "form %d with itself", forms[i]);
            if (!tp_has_closed(&f, &g))
                continue;
            for (size_t k = 0; k < COUNT(q); k++) {
                double want = 0, moved = 0, got = closed(&f, &g, q[k][0], q[k][1], q[k][2]);
                double mirror = closed(&g, &f, q[k][1], q[k][0], q[k][2]);
                ad_error error = { "" };
                cr_assert_eq(tp_quadrature(&f, &g, q[k][0], q[k][1], q[k][2], &want, &moved, &error), 0, "%s",
                             error.text);
                cr_expect(fabs(got - want) <= 2e-13 * (1 + fabs(want)), "forms %d, %d at case %zu: %.17g, rule %.17g",
                          forms[i], forms[j], k, got, want);
                cr_expect(moved <= 1e-12 * (1 + fabs(want)), "forms %d, %d: moved %g", forms[i], forms[j], moved);
                cr_expect(fabs(got - mirror) <= 4e-16 * (1 + fabs(got)));
            }
        }
}

Test(gauss, values_obey_cauchy_and_schwarz)
{
    for (size_t i = 0; i < COUNT(forms); i++)
        for (size_t j = 0; j < COUNT(forms); j++)
            for (int k = 0; k < N_CORRELATIONS; k++) {
                tp_univariate f = tp_univariate_form(forms[i], forms[i] == TP_POWER ? 4 : 0.25);
                tp_univariate g = tp_univariate_form(forms[j], forms[j] == TP_POWER ? 4 : 0.25);
                double q11 = 0.8, q22 = 2.3, q12 = covariance(q11, q22, correlations[k]);
                if (!tp_has_closed(&f, &g))
                    continue;
                double ff = closed(&f, &f, q11, q11, q11), gg = closed(&g, &g, q22, q22, q22);
                double fg = closed(&f, &g, q11, q22, q12);
                cr_expect(fg * fg <= ff * gg * (1 + 1e-14), "forms %d, %d: %g, %g, %g", forms[i], forms[j], fg, ff, gg);
            }
}

Test(gauss, arrays_agree_with_single_pairs)
{
    enum { N = 1037 };
    static double q11[N], q22[N], q12[N], half[N], out[N], first[N], second[N];
    for (int i = 0; i < N; i++) {
        q11[i] = 0.1 + fmod(i * 0.618034, 3);
        q22[i] = 0.2 + fmod(i * 0.414214, 2);
        q12[i] = sqrt(q11[i] * q22[i]) * sin(i);
        half[i] = (q11[i] + q22[i]) / 2 - q12[i];
    }
    for (size_t f = 0; f < COUNT(forms); f++) {
        tp_univariate u = tp_univariate_form(forms[f], 0.25);
        if (!u.eval)
            u = tp_univariate_form(forms[f], 3);
        cr_assert(tp_closed(&u, &u, N, q11, q22, q12, NULL, out));
        for (int i = 0; i < N; i++) {
            double one = closed(&u, &u, q11[i], q22[i], q12[i]);
            cr_assert(fabs(out[i] - one) <= 0, "form %d at %d", forms[f], i);
        }
        cr_assert(tp_closed(&u, &u, N, q11, q22, q12, half, first));
        memcpy(second, q12, sizeof q12);
        cr_assert(tp_closed(&u, &u, N, q11, q22, second, half, second));
        for (int i = 0; i < N; i++) {
            cr_assert(fabs(first[i] - out[i]) <= 3e-14 * (1 + fabs(out[i])), "form %d at %d", forms[f], i);
            cr_assert(fabs(first[i] - second[i]) <= 0);
        }
    }
    tp_form pairs[][2] = { { TP_RELU, TP_STEP }, { TP_LEAKY, TP_LEAKY_STEP }, { TP_ABS, TP_SIGN },
                           { TP_SIN, TP_COS },   { TP_ERF, TP_ERF_GRAD },     { TP_GELU, TP_GELU_GRAD },
                           { TP_ID, TP_ONE } };
    for (size_t p = 0; p < COUNT(pairs); p++) {
        tp_univariate f = tp_univariate_form(pairs[p][0], 0.25), df = tp_univariate_form(pairs[p][1], 0.25);
        cr_assert(tp_closed_pair(&f, &df, N, q11, q22, q12, NULL, first, second));
        for (int i = 0; i < N; i++) {
            cr_assert(fabs(first[i] - closed(&f, &f, q11[i], q22[i], q12[i])) <= 1e-15 * (1 + fabs(first[i])));
            cr_assert(fabs(second[i] - closed(&df, &df, q11[i], q22[i], q12[i])) <= 1e-15 * (1 + fabs(second[i])));
        }
    }
}

Test(gauss, no_covariance_is_nan_and_roundoff_is_not)
{
    for (size_t f = 0; f < COUNT(piecewise_rows); f++) {
        tp_univariate u = univariate(&piecewise_rows[f]);
        cr_expect(isnan(closed(&u, &u, 1, 1, 1.1)));
        cr_expect(isnan(closed(&u, &u, 1, 1, -1.1)));
        cr_expect(fabs(closed(&u, &u, 1, 1, 1 + 1e-12) - closed(&u, &u, 1, 1, 1)) < 1e-11);
    }
    tp_univariate relu = tp_univariate_form(TP_RELU, 0);
    ad_error error = { "" };
    double value;
    cr_expect_eq(tp_quadrature(&relu, &relu, 1, 1, 1.1, &value, NULL, &error), -1);
    cr_expect(strstr(error.text, "no covariance"));
    error.text[0] = 0;
    cr_expect_eq(tp_quadrature(&relu, &relu, -1, 1, 0, &value, NULL, &error), -1);
}

/* ---- the rule ---- */
static void shifted(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = fabs(x[i] - 0.3);
}

static void clip(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 1 ? 1 : x[i] < -1 ? -1 : x[i];
}

static void pole(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 1 / (x[i] - 0.25) / (x[i] - 0.25);
}

static void rational(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (1 + x[i]) / (4 + x[i] * x[i]);
}
static real t_rational(real x)
{
    return (1 + x) / (4 + x * x);
}

static const ad_function shifted_function = {
    .name = "shifted", .count = 1, .derivatives = { shifted }, .n_kinks = 1, .kinks = { 0.3 }
};
static const ad_function clip_function = {
    .name = "clip", .count = 1, .derivatives = { clip }, .n_kinks = 2, .kinks = { -1, 1 }
};
static const ad_function pole_function = { .name = "pole", .count = 1, .derivatives = { pole } };
static const ad_function rational_function = { .name = "rational", .count = 1, .derivatives = { rational } };

Test(gauss, the_rule_resolves_kinks)
{
    static const real at[] = { 0.3L, -1, 1, 0 };
    struct {
        tp_univariate u;
        function *truth;
        cuts cut;
    } rows[] = {
        { tp_univariate_function(&shifted_function, 0), t_shifted, { at, 1 } },
        { tp_univariate_function(&clip_function, 0), t_clip, { at + 1, 2 } },
        { tp_univariate_op(AD_TANH, 0), t_tanh, { at + 3, 1 } },
    };
    double q[][2] = { { 1, 1 }, { 0.5, 2 }, { 30, 1e-3 } };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t j = 0; j < COUNT(rows); j++)
            for (size_t v = 0; v < COUNT(q); v++)
                for (int k = 0; k < N_CORRELATIONS; k++) {
                    if (j > i && q[v][0] >= 1 && k > 4)
                        continue; /* the mirror of a pair that is done */
                    double q11 = q[v][0], q22 = q[v][1], q12 = covariance(q11, q22, correlations[k]), got, moved;
                    angle a = angle_of(q11, q22, q12);
                    real want = nested(rows[i].truth, rows[i].cut, rows[j].truth, rows[j].cut, &a);
                    cr_assert_eq(tp_quadrature(&rows[i].u, &rows[j].u, q11, q22, q12, &got, &moved, NULL), 0);
                    near(got, want, (double)(1e-12L * fabsl(want)) + 1e-16, "rule", q11, q22, q12);
                    cr_expect(moved <= 1e-11, "moved %g", moved);
                }
}

/* ---- activations of the op table with kinks and without a closed form, and their derivatives ---- */
/* The truth: E g(m + s v) over v by hand, then the rule over u. */
static real density(real x)
{
    return expl(-x * x / 2) / sqrtl(2 * pi);
}
static real below(real x)
{
    return erfcl(-x / sqrtl(2)) / 2;
}
static real t_inside(real x)
{
    return fabsl(x) < 1;
}
static real smooth_clip(real m, real s)
{
    real low = (-1 - m) / s, high = (1 - m) / s;
    return below(-high) - below(low) + m * (below(high) - below(low)) + s * (density(low) - density(high));
}
static real smooth_inside(real m, real s)
{
    return below((1 - m) / s) - below((-1 - m) / s);
}

/* Phi(-z) / phi(z) */
static real mills(real z)
{
    real series = 1, term = 1;
    if (z < 30)
        return below(-z) / density(z);
    for (int k = 1; k < 12; k++)
        series += term *= -(2 * k - 1) / (z * z);
    return series / z;
}
/* E e^x over x < 0, x ~ N(m, s^2): e^(m + s^2/2) Phi(-z) = phi(m / s) Phi(-z) / phi(z) at z = m / s + s. */
static real exp_below(real m, real s)
{
    real z = m / s + s;
    return z > 0 ? density(m / s) * mills(z) : expl(m + s * s / 2) * below(-z);
}
static real t_elu(real x)
{
    return x > 0 ? x : expm1l(x);
}
static real t_elu_grad(real x)
{
    return x > 0 ? 1 : expl(x);
}
static real smooth_elu(real m, real s)
{
    return m * below(m / s) + s * density(m / s) + exp_below(m, s) - below(-m / s);
}
static real smooth_elu_grad(real m, real s)
{
    return below(m / s) + exp_below(m, s);
}

static const real selu_right = 1.05070098735548049342L, selu_left = 1.75809934084737685994L;
static real t_selu(real x)
{
    return x > 0 ? selu_right * x : selu_left * expm1l(x);
}
static real t_selu_grad(real x)
{
    return x > 0 ? selu_right : selu_left * expl(x);
}
static real smooth_selu(real m, real s)
{
    return selu_right * (m * below(m / s) + s * density(m / s)) + selu_left * (exp_below(m, s) - below(-m / s));
}
static real smooth_selu_grad(real m, real s)
{
    return selu_right * below(m / s) + selu_left * exp_below(m, s);
}

typedef struct {
    ad_op op;
    function *f;
    real (*smooth)(real m, real s);
    cuts cut;
} kinked_row;

static real kinked_truth(const kinked_row *k, const angle *a)
{
    const sinh_rule *r = the_rule(true);
    bool line = !(a->s > 0);
    real ends[32], total = 0, along = line ? (a->c < 0 ? -1 : 1) : a->c;
    int n = panels(ends, k->cut, a->root1, 0, k->cut, a->root2 * along);
    for (int p = 0; p + 1 < n; p++)
        for (int i = 0; i <= 2 * r->side; i++) {
            real half = (ends[p + 1] - ends[p]) / 2, off = half * r->distance[i];
            real u = i < r->side ? ends[p] + off : ends[p + 1] - off, m = a->root2 * along * u;
            real weight = half * r->weight[i] * density(u) * k->f(a->root1 * u);
            total += weight * (line ? k->f(m) : k->smooth(m, a->root2 * a->s));
        }
    return total;
}

/* Within 1e-12 of sqrt(E f^2 E g^2), also where kinks lie far out (tiny variances) or crowd around 0 (large ones). */
Test(gauss, kinked_activations)
{
    static const real at[] = { -1, 1 };
    const kinked_row rows[] = { { AD_HARD_TANH, t_clip, smooth_clip, { at, 2 } },
                                { AD_HARD_TANH_STEP, t_inside, smooth_inside, { at, 2 } },
                                { AD_ELU, t_elu, smooth_elu, { zero_cut, 1 } },
                                { AD_ELU_GRAD, t_elu_grad, smooth_elu_grad, { zero_cut, 1 } },
                                { AD_SELU, t_selu, smooth_selu, { zero_cut, 1 } },
                                { AD_SELU_GRAD, t_selu_grad, smooth_selu_grad, { zero_cut, 1 } } };
    const double q[][2] = { { 1, 1 }, { 0.5, 2 }, { 1e-8, 1e-8 }, { 1e-8, 3 }, { 1e6, 1e6 }, { 1e8, 0.3 } };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t v = 0; v < COUNT(q); v++) {
            tp_univariate u = tp_univariate_op(rows[i].op, 0);
            double size = 1;
            for (int k = 0; k < 2; k++) {
                angle a = angle_of(q[v][k], q[v][k], q[v][k]);
                size *= (double)sqrtl(kinked_truth(&rows[i], &a));
            }
            for (int k = 0; k < N_CORRELATIONS; k++) {
                double q11 = q[v][0], q22 = q[v][1], q12 = covariance(q11, q22, correlations[k]), got;
                angle a = angle_of(q11, q22, q12);
                cr_assert_eq(tp_quadrature(&u, &u, q11, q22, q12, &got, NULL, NULL), 0);
                near(got, kinked_truth(&rows[i], &a), 1e-12 * size, ad_op_name(rows[i].op), q11, q22, q12);
            }
        }
}

Test(gauss, the_rule_agrees_with_closed_forms)
{
    for (size_t f = 0; f < COUNT(piecewise_rows); f++)
        for (int v = 0; v < N_VARIANCES; v++)
            for (int k = 0; k < N_CORRELATIONS; k++) {
                tp_univariate u = univariate(&piecewise_rows[f]);
                double q11 = variances[v][0], q22 = variances[v][1], q12 = covariance(q11, q22, correlations[k]), got;
                double want = closed(&u, &u, q11, q22, q12);
                cr_assert_eq(tp_quadrature(&u, &u, q11, q22, q12, &got, NULL, NULL), 0);
                /* signs of both sides cancel at c = 0 */
                double floor = u.form <= TP_STEP ? 0 : 1e-14 * (piecewise_rows[f].degree ? sqrt(q11 * q22) : 1);
                near(got, want, 1e-12 * fabs(want) + floor, piecewise_rows[f].name, q11, q22, q12);
            }
    tp_univariate smooth[] = { tp_univariate_form(TP_ERF, 0), tp_univariate_form(TP_ERF_GRAD, 0),
                               tp_univariate_form(TP_GELU, 0), tp_univariate_form(TP_GELU_GRAD, 0) };
    for (size_t f = 0; f < COUNT(smooth); f++)
        for (int v = 0; v < N_VARIANCES; v++)
            for (int k = 0; k<N_CORRELATIONS; k += variances[v][0]> 9 ? 3 : 1) {
                double q11 = variances[v][0], q22 = variances[v][1], q12 = covariance(q11, q22, correlations[k]), got;
                double size =
                    sqrt(closed(&smooth[f], &smooth[f], q11, q11, q11) * closed(&smooth[f], &smooth[f], q22, q22, q22));
                cr_assert_eq(tp_quadrature(&smooth[f], &smooth[f], q11, q22, q12, &got, NULL, NULL), 0);
                near(got, closed(&smooth[f], &smooth[f], q11, q22, q12), 1e-13 * size, "smooth rule", q11, q22, q12);
            }
    /* fast growth widens the interval */
    tp_univariate e = tp_univariate_form(TP_EXP, 0);
    double got, q = 9;
    cr_assert_eq(tp_quadrature(&e, &e, q, q, 8.5, &got, NULL, NULL), 0);
    near(got, expl(17.5L), 1e-12 * exp(17.5), "exp", q, q, 8.5);
}

Test(gauss, a_pole_is_an_error)
{
    tp_univariate u = tp_univariate_function(&pole_function, 0), inverse = tp_univariate_op(AD_POWER, -1);
    ad_error error = { "" };
    double value = 7, q = 1;
    tp_univariate none = tp_univariate_form(TP_NUMERIC, 0);
    cr_expect_eq(tp_quadrature(&none, &u, 1, 1, 0.5, &value, NULL, &error), -1);
    error.text[0] = 0;
    inverse.n_kinks = 0;
    cr_expect_eq(tp_quadrature(&inverse, &u, 1, 1, 0.5, &value, NULL, &error), -1);
    cr_expect(strstr(error.text, "not finite at x ="), "%s", error.text);
    error.text[0] = 0;
    cr_expect_null(tp_mehler_new(&inverse, 1, &q, 0, 0, &error));
    cr_expect(strstr(error.text, "double (1.8e308) at x ="), "%s", error.text);
}

/* |x|^power; parameter: the power. */
static void eval_size_power(const tp_univariate *u, size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = pow(fabs(x[i]), u->parameter);
}

/* E |a|^p |a|^p = 2^p Gamma(p + 1/2) / sqrt(pi), which is infinite from p = -1/2 down. */
Test(gauss, an_infinite_expectation_is_an_error)
{
    static const double origin = 0;
    tp_univariate u = { .form = TP_NUMERIC, .eval = eval_size_power, .kinks = &origin, .n_kinks = 1, .parity = 1 };
    double value, difference;
    for (int i = 0; i < 5; i++) { /* at 32 half of it lies beyond deviation 8 */
        u.parameter = (const double[]){ -0.25, -0.4, -0.45, 20, 32 }[i];
        double truth = exp2(u.parameter) * tgamma(u.parameter + 0.5) / sqrt(acos(-1));
        cr_assert_eq(tp_quadrature(&u, &u, 1, 1, 1, &value, &difference, NULL), 0, "%g", u.parameter);
        cr_expect(fabs(value - truth) < 20 * difference + 1e-14 * truth, "%g: %.12g, %.12g, moved %g", u.parameter,
                  value, truth, difference);
    }
    for (int i = 0; i < 3; i++) {
        ad_error error = { "" };
        u.parameter = (const double[]){ -0.5, -0.75, -2 }[i];
        cr_expect_eq(tp_quadrature(&u, &u, 1, 1, 1, &value, &difference, &error), TP_DIVERGES, "%g", u.parameter);
        cr_expect(strstr(error.text, "does not converge"), "%s", error.text);
    }
}

/* ---- Mehler's series ---- */
static double series_error(const tp_univariate *f, const tp_univariate *g, size_t n, const double *q,
                           const tp_mehler *m, const tp_mehler *k, double c, double *bound)
{
    double worst = 0;
    *bound = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double q12 = covariance(q[i], q[j], c), got, want, ff, gg;
            tp_mehler_tile(m, k, i, 1, j, 1, &q12, 1, &got, 1);
            cr_assert_eq(tp_quadrature(f, g, q[i], q[j], q12, &want, NULL, NULL), 0);
            cr_assert_eq(tp_quadrature(f, f, q[i], q[i], q[i], &ff, NULL, NULL), 0);
            cr_assert_eq(tp_quadrature(g, g, q[j], q[j], q[j], &gg, NULL, NULL), 0);
            worst = fmax(worst, fabs(got - want) / sqrt(ff * gg));
            *bound = fmax(*bound, tp_mehler_bound(m, k, i, j, q12));
        }
    return worst;
}

Test(gauss, tanh_needs_the_known_number_of_terms)
{
    struct {
        double q;
        size_t degrees;
    } rows[] = { { 1, 79 }, { 2, 145 }, { 4, 271 } };
    tp_univariate tanh_ = tp_univariate_op(AD_TANH, 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        double q = rows[i].q, got, want;
        tp_mehler *m = tp_mehler_new(&tanh_, 1, &q, 1e-15, rows[i].degrees, NULL);
        cr_assert_not_null(m);
        cr_expect_eq(m->degrees, rows[i].degrees);
        cr_expect_eq(m->step, 2);
        tp_mehler_tile(m, m, 0, 1, 0, 1, &q, 1, &got, 1);
        cr_assert_eq(tp_quadrature(&tanh_, &tanh_, q, q, q, &want, NULL, NULL), 0);
        near(got, want, 1.05e-11, "tanh", q, q, q);
        cr_expect(fabs(got - want) <= 1.001 * want * tp_mehler_bound(m, m, 0, 0, q) + 1e-15);
        tp_mehler_free(m);
    }
}

Test(gauss, series_agree_with_the_rule)
{
    double q[] = { 1e-8, 0, 0.3, 1, 2.5 }, few[] = { 1, -1, 0, 0.3, -0.7, 0.95 };
    tp_univariate f[] = { tp_univariate_op(AD_TANH, 0),     tp_univariate_op(AD_SIGMOID, 0),
                          tp_univariate_op(AD_SOFTPLUS, 0), tp_univariate_op(AD_SWISH, 0),
                          tp_univariate_form(TP_COS, 0),    tp_univariate_form(TP_GELU, 0) };
    tp_mehler *m[COUNT(f)];
    for (size_t i = 0; i < COUNT(f); i++) {
        ad_error error = { "" };
        m[i] = tp_mehler_new(&f[i], COUNT(q), q, 1e-13, 0, &error);
        cr_assert_not_null(m[i], "%s", error.text);
        cr_expect(m[i]->difference < 3e-14, "function %zu: difference %g", i, m[i]->difference);
    }
    for (size_t i = 0; i < COUNT(f); i++)
        for (size_t j = 0; j < COUNT(f); j++)
            for (size_t k = 0; k < COUNT(few); k++)
                for (size_t a = 0; a < COUNT(q); a++)
                    for (size_t b = 0; b < COUNT(q); b++) {
                        double q12 = covariance(q[a], q[b], few[k]), got, want, size;
                        tp_mehler_tile(m[i], m[j], a, 1, b, 1, &q12, 1, &got, 1);
                        cr_assert_eq(tp_quadrature(&f[i], &f[j], q[a], q[b], q12, &want, &size, NULL), 0);
                        cr_expect(fabs(got - want) <= 4e-13, "functions %zu, %zu, q %g %g, c %g: %.17g, rule %.17g", i,
                                  j, q[a], q[b], few[k], got, want);
                    }
    for (size_t i = 0; i < COUNT(f); i++)
        tp_mehler_free(m[i]);
}

Test(gauss, the_bound_holds_where_the_series_is_too_short)
{
    double q[] = { 0.5, 1, 3 }, cs[] = { 0.5, 0.9, -0.97, 0.99, 1 };
    tp_univariate f[] = { tp_univariate_function(&shifted_function, 0), tp_univariate_function(&rational_function, 0),
                          tp_univariate_form(TP_RELU, 0), tp_univariate_op(AD_TANH, 0) };
    for (size_t i = 0; i < COUNT(f); i++) {
        tp_mehler *m = tp_mehler_new(&f[i], COUNT(q), q, 0, i == 3 ? 31 : 0, NULL);
        cr_assert_not_null(m);
        for (size_t k = 0; k < COUNT(cs); k++) {
            double bound, worst = series_error(&f[i], &f[i], COUNT(q), q, m, m, cs[k], &bound);
            cr_expect(worst <= bound + 3e-13, "function %zu at c = %g: error %g, bound %g", i, cs[k], worst, bound);
            if (fabs(cs[k]) < 0.91 && i < 3)
                cr_expect(worst < 3e-13, "function %zu at c = %g: error %g", i, cs[k], worst);
        }
        tp_mehler_free(m);
    }
    angle a = angle_of(1, 1, 0.5);
    tp_univariate r = tp_univariate_function(&rational_function, 0);
    double got;
    cr_assert_eq(tp_quadrature(&r, &r, 1, 1, 0.5, &got, NULL, NULL), 0);
    near(got, nested(t_rational, (cuts){ zero_cut, 1 }, t_rational, (cuts){ zero_cut, 1 }, &a), 1e-15, "rational", 1, 1,
         0.5);
}

Test(gauss, tiles_agree_with_pairs)
{
    enum { N = 83 };
    static double q[N], q12[N][N], out[N][N];
    for (int i = 0; i < N; i++)
        q[i] = 0.2 + fmod(i * 0.618034, 2);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            q12[i][j] = i == j ? q[i] : sqrt(q[i] * q[j]) * sin(i + 3.0 * j);
    tp_univariate f = tp_univariate_op(AD_TANH, 0), g = tp_univariate_op(AD_SWISH, 0);
    tp_mehler *mf = tp_mehler_new(&f, N, q, 0, 0, NULL), *mg = tp_mehler_new(&g, N, q, 0, 0, NULL);
    cr_assert(mf && mg);
    double bound = tp_mehler_tile(mf, mg, 5, 70, 9, 71, &q12[5][9], N, &out[5][9], N), worst = 0;
    for (size_t i = 5; i < 75; i++)
        for (size_t j = 9; j < 80; j++) {
            double one, half = q12[i][j];
            tp_mehler_tile(mf, mg, i, 1, j, 1, &half, 1, &one, 1);
            cr_assert(fabs(one - out[i][j]) <= 2e-13, "(%zu, %zu): %.17g alone, %.17g in the tile", i, j, one,
                      out[i][j]);
            worst = fmax(worst, tp_mehler_bound(mf, mg, i, j, q12[i][j]));
        }
    cr_expect(worst <= bound * (1 + 1e-12));
    cr_expect(!(fabs(out[4][9]) > 0) && !(fabs(out[5][8]) > 0) && !(fabs(out[75][9]) > 0) && !(fabs(out[5][80]) > 0));
    double bad = 1.1 * sqrt(q[0] * q[1]), nan_ = 0;
    tp_mehler_tile(mf, mg, 0, 1, 1, 1, &bad, 1, &nan_, 1);
    cr_expect(isnan(nan_));
    tp_mehler_free(mf);
    tp_mehler_free(mg);
}

Test(gauss, a_series_survives_every_failed_allocation)
{
    double q[] = { 1, 2 };
    tp_univariate f = tp_univariate_function(&clip_function, 0);
    for (long k = 1;; k++) {
        ad_error error = { "" };
        cr_assert(k < 10000);
        ad_hook_allocation(k);
        tp_mehler *m = tp_mehler_new(&f, COUNT(q), q, 0, 16, &error);
        ad_hook_allocation(0);
        tp_mehler_free(m);
        if (m)
            break;
        cr_expect(strstr(error.text, "out of memory"), "%s", error.text);
    }
}

/* ---- any scale ---- */
/* E erf(a) erf(b) goes to that of signs, (2 / pi) asin c; E gelu(a) gelu(b) to that of relus. */
Test(gauss, large_variances_have_their_limits)
{
    tp_univariate erf_form = tp_univariate_form(TP_ERF, 0), gelu = tp_univariate_form(TP_GELU, 0),
                  relu = tp_univariate_form(TP_RELU, 0);
    for (double q11 = 1e40; q11 < 1e300; q11 *= 1e50)
        for (double q22 = 1e40; q22 < 1e300; q22 *= 1e50)
            for (double c = -0.9; c < 1; c += 0.3) {
                double q12 = c * sqrt(q11) * sqrt(q22), sign = (double)(2 / pi * asinl(c));
                double size = sqrt(q11) * sqrt(q22);
                near(closed(&erf_form, &erf_form, q11, q22, q12), sign, 1e-15, "erf", q11, q22, q12);
                near(closed(&gelu, &gelu, q11, q22, q12), closed(&relu, &relu, q11, q22, q12), 1e-15 * size, "gelu",
                     q11, q22, q12);
            }
}

/* q E f'^2 / E f^2 in closed form, and by panels of a function that is known by its values alone. */
Test(gauss, slopes_at_correlation_one)
{
    static const struct {
        tp_form form, slope;
    } rows[] = { { TP_ERF, TP_ERF_GRAD }, { TP_RELU, TP_STEP }, { TP_GELU, TP_GELU_GRAD }, { TP_ABS, TP_SIGN } };
    for (size_t k = 0; k < COUNT(rows); k++)
        for (double q = 1e-8; q < 1e9; q *= 10) {
            tp_univariate f = tp_univariate_form(rows[k].form, 0), df = tp_univariate_form(rows[k].slope, 0);
            double truth = q * closed(&df, &df, q, q, q) / closed(&f, &f, q, q, q);
            near(tp_near_slope(&f, q), truth, 0.02 * truth, "slope", q, q, q);
            f.form = TP_NUMERIC;
            near(tp_near_slope(&f, q), truth, 0.02 * truth, "slope by panels", q, q, q);
        }
}

/* E g^2 against closed pairs, E g^4 of relu 3 q^2 / 2, of erf' 16 / pi^2 / sqrt(1 + 8 q), of a wide Gaussian
 * all of it in the middle, the middle of x^4
 * (3 P(|u| < 1) - 8 phi(1)) q^2, and what is hidden in a cell of x^2 and of erf^2. */
Test(gauss, moments_of_one_function)
{
    static const tp_form pairs[][2] = { { TP_ERF, TP_ERF_GRAD }, { TP_RELU, TP_STEP }, { TP_GELU, TP_GELU_GRAD } };
    tp_moments m;
    for (double q = 1e-8; q < 1e30; q *= 100) {
        for (size_t k = 0; k < COUNT(pairs); k++)
            for (int order = 0; order < 2; order++) {
                tp_univariate f = tp_univariate_form(pairs[k][0], 0), g = tp_univariate_form(pairs[k][order], 0);
                double truth = closed(&g, &g, q, q, q);
                cr_assert(tp_moments_of(&f, q, 0, &m));
                near(m.square[order], truth, 0.02 * truth, "square", q, q, q);
            }
        tp_univariate relu = tp_univariate_form(TP_RELU, 0), erf = tp_univariate_form(TP_ERF, 0),
                      x = tp_univariate_form(TP_ID, 0);
        cr_assert(tp_moments_of(&relu, q, 0, &m));
        near(m.fourth[0], 1.5 * q * q, 0.02 * q * q, "fourth", q, q, q);
        cr_assert(tp_moments_of(&x, q, 1, &m));
        near(m.middle[0], 0.1123008 * q * q, 1e-3 * q * q, "middle", q, q, q);
        near(m.hidden[0], 2 * 0.2419707 * q, 1e-3 * q, "hidden", q, q, q); /* q E (1 - u^2) */
        cr_assert(tp_moments_of(&erf, q, 1e-3, &m));
        real fourth = 16 / (pi * pi) / sqrt(1 + 8 * q);
        near(m.fourth[1], fourth, (double)fourth / 50, "fourth of the slope", q, q, q);
        if (q > 1e3)
            near(m.middle[1], fourth, (double)fourth / 50, "middle of the slope", q, q, q);
        if (q > 1e9) { /* all of E (1 - erf^2) = 1 - 2 / pi atan2(2 q, sqrt(1 + 4 q)) */
            real hidden = 2 / pi * atan2l(sqrtl(1 + 4 * q), 2 * q);
            near(m.hidden[0], hidden, (double)hidden / 50, "hidden", q, q, q);
        }
    }
    tp_univariate jumps = tp_univariate_op(AD_SELU_GRAD, 0); /* a e^x left of 0: no slope across the jump */
    double a = 1.0507009873554805 * 1.6732632423543772;
    for (double cell = 1e-2; cell > 1e-7; cell /= 10) {
        cr_assert(tp_moments_of(&jumps, 1, cell, &m));
        near(m.square[1], a * a * exp(2) * erfc(sqrt(2)) / 2, 0.02, "jumping function's slope", 1, 1, cell);
        near(m.fourth[1], pow(a, 4) * exp(8) * erfc(sqrt(8)) / 2, 0.1, "its fourth power", 1, 1, cell);
    }
    tp_univariate none = tp_univariate_form(TP_NUMERIC, 0), relu = tp_univariate_form(TP_RELU, 0);
    cr_expect(!tp_moments_of(&none, 1, 0, &m) && !tp_moments_of(&relu, 0, 0, &m));
    cr_expect(!tp_moments_of(&relu, INFINITY, 0, &m) && !tp_moments_of(&relu, NAN, 0, &m));
}

static void fast_cosine(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = cos(200 * x[i]);
}

/* Trapezoids of steps 1/4 and 1/8 both take cos(400 x) for cos(2.1 x). */
Test(gauss, waves_that_steps_of_whole_ratios_miss)
{
    tp_univariate f = { .form = TP_NUMERIC, .eval = fast_cosine, .parity = 1 };
    for (double q = 0.25; q < 7; q += 0.25) {
        double value, difference;
        ad_error error = { 0 };
        cr_assert_eq(tp_quadrature(&f, &f, q, q, q, &value, &difference, &error), 0, "%s", error.text);
        cr_expect(fabs(value - 0.5) < 1e-12 + difference && difference < 1e-10, "at %g: %.17g, moved by %g", q, value,
                  difference);
    }
}

static void quotient(const tp_univariate *u, size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (u->parameter > 0 ? tanh(x[i]) : u->parameter < 0 ? fabs(x[i]) : x[i] * x[i] / x[i]) / x[i];
}

/* tanh(x) / x is 1 at 0, |x| / x is nothing there. */
Test(gauss, quotients_have_their_limit_at_0)
{
    double x[3] = { 0, 1, -0.0 }, y[3];
    tp_univariate f = { .form = TP_NUMERIC, .eval = quotient, .parameter = 1 };
    tp_evaluate(&f, 3, x, y);
    cr_expect(fabs(y[0] - 1) < 1e-13 && fabs(y[2] - 1) < 1e-13, "%.17g, %.17g", y[0], y[2]);
    cr_expect_float_eq(y[1], tanh(1), 1e-16);
    f.parameter = -1;
    tp_evaluate(&f, 3, x, x);
    cr_expect(isnan(x[0]) && isnan(x[2]));
    f.parameter = 1;
    double value;
    ad_error error = { 0 };
    cr_assert_eq(tp_quadrature(&f, &f, 1, 1, 0, &value, NULL, &error), 0, "%s", error.text);
    double mean = 0; /* by midpoints, none of which is 0 */
    for (double a = -9 + 1.0 / 64; a < 9; a += 1.0 / 32)
        mean += tanh(a) / a * exp(-a * a / 2) / sqrt(2 * acos(-1)) / 32;
    cr_expect_float_eq(value, mean * mean, 1e-13);
}

static void spike(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = tanh(x[i]) * (1 - tanh(2 * x[i]) * tanh(2 * x[i]));
}

/* A series of thousands of degrees has next to nothing of it, and the size is told apart. */
Test(gauss, sizes_of_spikes_are_whole)
{
    tp_univariate f = { .form = TP_NUMERIC, .eval = spike, .parity = -1 };
    for (double q = 1; q < 1e20; q *= 1e3) {
        double value;
        ad_error error = { 0 };
        tp_mehler *series = tp_mehler_new(&f, 1, &q, 0, 0, &error);
        cr_assert(series, "%s", error.text);
        cr_assert_eq(tp_quadrature(&f, &f, q, q, q, &value, NULL, &error), 0, "%s", error.text);
        cr_expect_float_eq(series->squares[0], value, 1e-12 * value, "at %g", q);
        tp_mehler_free(series);
    }
}

/* By the gap, at correlations whose own digits have lost it. */
Test(gauss, quadrature_near_one)
{
    static const double gaps[] = { 0, 1e-20, 1e-12, 1e-6, 0.01 };
    static const tp_form pieces[] = { TP_RELU, TP_STEP, TP_SIGN, TP_ABS };
    for (int k = 0; k < 40; k++) {
        tp_univariate f = tp_univariate_form(pieces[k / 10], 0);
        int sign = k % 2 ? 1 : -1;
        double gap = gaps[k / 2 % 5], truth, out, value, moved, size, rough;
        ad_error error = { 0 };
        cr_assert(tp_near_piecewise(&f, &f, 0.8, 2.3, sign, gap, &truth, &out));
        cr_assert_eq(tp_quadrature_near(&f, &f, 0.8, 2.3, sign, gap, &value, &moved, &size, &error), 0, "%s",
                     error.text);
        cr_expect_float_eq(value, truth, 1e-13, "form %d, gap %g: %.17g, not %.17g", (int)pieces[k / 10], gap, value,
                           truth);
        cr_assert(tp_near_piecewise(&f, &f, 1.7, 1.7, 1, gap, &truth, &out));
        cr_assert_eq(tp_quadrature_rough(&f, 1.7, gap, 1e-8, &rough, &moved, &error), 0, "%s", error.text);
        cr_expect_float_eq(rough, truth, 2e-8, "form %d, gap %g: %.17g, not %.17g", (int)pieces[k / 10], gap, rough,
                           truth);
    }
}

/* A jump that is not named, between so many that are, that no rule settles: the work is bounded, and counted alike. */
static void hidden_jump(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0.0123;
}

Test(gauss, quadrature_ends)
{
    enum { KINKS = 60 };
    double kinks[KINKS], value, moved, size;
    for (int k = 0; k < KINKS; k++)
        kinks[k] = 0.1 * (k - KINKS / 2);
    tp_univariate f = { .form = TP_NUMERIC, .eval = hidden_jump, .kinks = kinks, .n_kinks = KINKS };
    size_t work[2];
    for (int k = 0; k < 2; k++) {
        ad_error error = { "" };
        cr_expect_eq(tp_quadrature_sized(&f, &f, 1, 1, 0.3, &value, &moved, &size, &work[k], &error), TP_TOO_LONG);
        cr_expect(strstr(error.text, "more than 67108864 evaluations"), "%s", error.text);
        cr_expect(work[k] > TP_MOST_WORK && work[k] < TP_MOST_WORK + 1000);
    }
    cr_expect_eq(work[0], work[1]);
}

/* Many that each end add up: a kernel's are bounded, too. */
Test(gauss, quadratures_of_a_kernel_end)
{
    ad_error error = { "" };
    cr_expect_gt(tp_most_work(1), 16 * (size_t)TP_MOST_WORK);
    cr_expect_eq(tp_most_work(1000) - tp_most_work(0), 1000 * (size_t)(TP_MOST_WORK / 32));
    cr_expect_eq(tp_too_much_work(tp_most_work(9), &error), TP_TOO_LONG);
    cr_expect(strstr(error.text, "more than 1092616192 evaluations"), "%s", error.text);
}

/* ---- how much work there may be ---- */
Test(gauss, work_of_a_kernel_has_a_bound)
{
    ad_error error = { 0 };
    cr_expect_eq(tp_most_work(1), ((size_t)1 << 30) + ((size_t)1 << 21));
    cr_expect_eq(tp_most_work(100) - tp_most_work(99), (size_t)1 << 21);
    cr_expect_eq(tp_too_much_work(tp_most_work(1), &error), TP_TOO_LONG);
    cr_expect(strstr(error.text, "take more than 1075838976 evaluations"), "%s", error.text);
}
