/* Functions in pieces beside themselves: smooth, with kinks, with what a few points would miss, and with what no piece
 * is near. */
#include "tp/gauss/gauss.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

static void eval_smooth(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / 2 + tanh(x[i]) + exp(-x[i] * x[i] / 8);
}
static void eval_steep(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = tanh(1e4 * x[i]) * (2 + x[i]);
}
static void eval_steep_aside(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = tanh(1e4 * (x[i] - 0.75)); /* the roundings of x are far more than those of y */
}
static void eval_bump(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] + exp(-pow((x[i] - 23.3) / 0.05, 2));
}
static void eval_kinked(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 1 ? 5 + sin(x[i]) : x[i] < 1 ? fabs(x[i] + 2) - 1 : 100;
}
static void eval_root(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = sqrt(fabs(x[i])); /* at 0 no polynomial is near it */
}
static void eval_waves(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = sin(500 * x[i]);
}

static const double kinks[] = { -2, 1 };
static const struct {
    const char *name;
    void (*eval)(const tp_univariate *, size_t, const double *, double *);
    int n_kinks;
    bool divided;
} all[] = { { "smooth", eval_smooth, 0, true },
            { "steep", eval_steep, 0, true },
            { "steep aside", eval_steep_aside, 0, false },
            { "bump", eval_bump, 0, true },
            { "kinked", eval_kinked, 2, true },
            { "root", eval_root, 0, true },
            { "waves", eval_waves, 0, false } };

static tp_univariate function(size_t k, int steps)
{
    return (tp_univariate){
        .form = TP_NUMERIC, .eval = all[k].eval, .kinks = kinks, .n_kinks = all[k].n_kinks, .steps = steps
    };
}

static bool same(double a, double b)
{
    return isnan(a) ? isnan(b) : fabs(a - b) <= 64 * DBL_EPSILON * fmax(1, fabs(a));
}

static void eval_zero(const tp_univariate *u, size_t n, const double *x, double *y)
{
    (void)u;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] + tanh(x[i]) + expm1(x[i] / 16);
}

/* Near its zero a function has as many digits as elsewhere. */
Test(pieces, keep_digits_near_0)
{
    ad_error error = { 0 };
    ad_arena *arena = ad_arena_new(&error);
    tp_univariate f = { .form = TP_NUMERIC, .eval = eval_zero, .steps = 64 }, u = f;
    cr_assert(arena && tp_in_pieces(&u, arena, &error) == 0 && u.eval != f.eval, "%s", error.text);
    for (double x = 60; x > 1e-30; x *= 0.37) {
        double y[2], at[2] = { x, -x }, z[2];
        f.eval(&f, 2, at, y);
        u.eval(&u, 2, at, z);
        for (int i = 0; i < 2; i++)
            cr_expect(fabs(z[i] / y[i] - 1) < 64 * DBL_EPSILON, "at %g: %.17g, not %.17g", at[i], z[i], y[i]);
    }
    ad_arena_free(arena);
}

Test(pieces, are_the_function)
{
    enum { POINTS = 20001 };
    static double x[POINTS], y[POINTS], z[POINTS];
    ad_error error = { 0 };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        ad_arena *arena = ad_arena_new(&error);
        tp_univariate f = function(k, 64), u = f;
        for (int i = 0; i < POINTS; i++)
            x[i] = -70 + 140.0 * i / (POINTS - 1);
        x[7] = 1; /* a kink, with a value of its own */
        x[8] = (double)NAN;
        cr_assert(arena && tp_in_pieces(&u, arena, &error) == 0, "%s", error.text);
        cr_expect_eq(u.eval != f.eval, all[k].divided, "%s", all[k].name);
        cr_expect(!all[k].divided || u.steps < f.steps);
        f.eval(&f, POINTS, x, y);
        u.eval(&u, POINTS, x, z);
        for (int i = 0; i < POINTS; i++)
            cr_assert(same(y[i], z[i]), "%s at %.17g: %.17g, not %.17g", all[k].name, x[i], z[i], y[i]);
        u.eval(&u, POINTS, x, x); /* in place */
        for (int i = 0; i < POINTS; i++)
            cr_assert(same(z[i], x[i]), "%s in place", all[k].name);
        for (int i = 1; i < u.n_pieces; i++)
            cr_expect(u.pieces[i] > u.pieces[i - 1]);
        for (int i = 0; i < u.n_pieces; i++)
            cr_expect(fabs(u.pieces[i]) > 0 && (all[k].n_kinks == 0 || fabs(u.pieces[i] + 2) > 0));
        ad_arena_free(arena);
    }
}

/* A short function is evaluated itself, and so is one for which there is no memory, with an error. */
Test(pieces, of_what_takes_long_alone)
{
    ad_error error = { 0 };
    ad_arena *arena = ad_arena_new(&error);
    tp_univariate f = function(0, 8), u = f;
    cr_assert(arena && tp_in_pieces(&u, arena, &error) == 0 && u.eval == f.eval && u.n_pieces == 0);
    u = f = function(0, 64);
    ad_hook_allocation(1);
    cr_expect(tp_in_pieces(&u, arena, &error) == -1 && error.text[0] && u.eval == f.eval);
    ad_hook_allocation(0);
    ad_arena_free(arena);
}
