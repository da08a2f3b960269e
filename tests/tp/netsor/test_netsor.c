/* Programs written by hand, by calls and as text: against closed forms, integrals and finite widths. */
#include "limn.h"

#include <cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static tp_script *parsed(const char *text)
{
    ad_error error = { 0 };
    tp_script *script = tp_script_parse(text, "test.tp", &error);
    cr_assert(script, "%s", error.text);
    return script;
}

static tp_solution *solved(const char *text, const tp_solve_spec *spec)
{
    ad_error error = { 0 };
    tp_script *script = parsed(text);
    tp_solution *solution = tp_script_solve(script, spec, &error);
    cr_assert(solution, "%s", error.text);
    tp_script_free(script);
    return solution;
}

static int find(const tp_solution *s, const char *name)
{
    int k = 0;
    while (k < s->n && strcmp(s->values[k].name, name) != 0)
        k++;
    cr_assert_lt(k, s->n, "no %s", name);
    return k;
}

static const tp_value *value(const tp_solution *s, const char *name)
{
    return &s->values[find(s, name)];
}

static double covariance(const tp_solution *s, const char *a, const char *b)
{
    return s->covariances[find(s, a) * s->n + find(s, b)].value;
}

/* Trapezoid rule over the standard normal law: f smooth. */
static double normal_mean(double (*f)(double))
{
    double sum = 0;
    for (double x = -9; x < 9; x += 1.0 / 64)
        sum += f(x) * exp(-x * x / 2) / sqrt(2 * acos(-1)) / 64;
    return sum;
}

static double tanh_slope(double x)
{
    return 1 - tanh(x) * tanh(x);
}

static double tanh_square(double x)
{
    return tanh(x) * tanh(x);
}

/* ---- the general rule ---- */
static const char back_and_forth[] = "Input  W  : A(n, n) ~ N(0, 1/n)\n"
                                     "Input  x  : G(n) ~ N(0, 1)\n"
                                     "Trsp   W' := W\n"
                                     "MatMul h  := W' x\n"
                                     "MatMul z  := W h\n"
                                     "MatMul u  := W x   # W W x has no such part\n"
                                     "MatMul w  := W u\n"
                                     "Moment e  := <z, x>\n"
                                     "Moment m2 := z*z\n"
                                     "Moment m4 := power(z, 4)\n"
                                     "Moment f  := <w, x>\n"
                                     "Moment w4 := power(w, 4)\n";

/* z = W W'x: the simple rule has E z x = 0 and the moments 1 and 3 of a standard normal variable; they are 1, 2 and
 * 12. */
Test(netsor, transpose_moves_the_mean)
{
    tp_solution *s = solved(back_and_forth, NULL);
    cr_expect(!s->bp_like && s->general && strstr(s->why, "test.tp:5: z") && strstr(s->why, "(line 4)"), "%s", s->why);
    cr_expect_float_eq(value(s, "e")->mean.value, 1, 1e-14);
    cr_expect_float_eq(value(s, "m2")->mean.value, 2, 1e-14);
    cr_expect_float_eq(value(s, "m4")->mean.value, 12, 1e-13);
    cr_expect_float_eq(value(s, "e")->mean.simple, 0, 0);
    cr_expect_float_eq(value(s, "m2")->mean.simple, 1, 0);
    cr_expect_float_eq(value(s, "m4")->mean.simple, 3, 1e-15);
    cr_expect_float_eq(value(s, "f")->mean.value, 0, 1e-14);
    cr_expect_float_eq(value(s, "w4")->mean.value, 3, 1e-13);
    cr_expect_float_eq(covariance(s, "z", "x"), 1, 1e-14);
    cr_expect_gt(s->simple_rule_error, 0.5);
    cr_expect(!s->sampled);
    tp_solution_free(s);
    s = solved(back_and_forth, &(tp_solve_spec){ .rule = TP_RULE_BP });
    cr_expect(!s->general && fabs(value(s, "e")->mean.value) <= 0);
    tp_solution_free(s);
}

/* Z dot of W f(W'x) is x E f'(h): also at a kink, where the trace's second derivative would be 0. */
Test(netsor, stein_at_smooth_functions_and_kinks)
{
    tp_solution *s = solved("Input W : A(n, n) ~ N(0, 1/n)\nInput x : G(n) ~ N(0, 1)\nTrsp T := W\nMatMul h := T x\n"
                            "Nonlin a := tanh(h)\nNonlin b := step(h)\nNonlin c := relu(h)\n"
                            "MatMul za := W a\nMatMul zb := W b\nMatMul zc := W c\n",
                            NULL);
    double slope = normal_mean(tanh_slope), density = 1 / sqrt(2 * acos(-1));
    cr_expect_float_eq(covariance(s, "za", "x"), slope, 1e-13);
    cr_expect_float_eq(value(s, "za")->variance.value, normal_mean(tanh_square) + slope * slope, 1e-13);
    cr_expect_float_eq(covariance(s, "zb", "x"), density, 1e-13);
    cr_expect_float_eq(covariance(s, "zc", "x"), 0.5, 1e-13);
    cr_expect_float_eq(value(s, "zc")->variance.value, 0.75, 1e-13);
    cr_expect_float_eq(covariance(s, "zb", "zc"), density + density * 0.5, 1e-13);
    tp_solution_free(s);
}

/* W is m x n, m = 2 n, of variance 3/n: W'x has 3 m/n E x^2 = 6; Z dot of W W'x is 3 x; of W'W y it is 6 y. */
Test(netsor, rectangular_matrices)
{
    static const char text[] = "Width m := 2 n\nInput W : A(m, n) ~ N(0, 3/n)\nInput x : G(m) ~ N(0, 1)\n"
                               "Input y : G(n) ~ N(0, 1)\nTrsp T := W : A(n, m)\nMatMul h := T x : G(n)\n"
                               "MatMul z := W h : G(m)\nMatMul g := W y\nMatMul u := T g\n";
    tp_solution *s = solved(text, &(tp_solve_spec){ .width = 256, .seeds = 32 });
    cr_expect_float_eq(value(s, "h")->variance.value, 6, 1e-13);
    cr_expect_float_eq(covariance(s, "z", "x"), 3, 1e-13);
    cr_expect_float_eq(value(s, "z")->variance.value, 18 + 9, 1e-12);
    cr_expect_float_eq(value(s, "g")->variance.value, 3, 1e-13);
    cr_expect_float_eq(covariance(s, "u", "y"), 6, 1e-13);
    tp_solution *sampled = solved(text, &(tp_solve_spec){ .engine = TP_ENGINE_SAMPLE });
    for (int k = 0; k < s->n; k++) {
        const tp_estimate *e = &s->values[k].variance, *f = &sampled->values[k].variance;
        cr_expect_float_eq(f->value, e->value, 1e-11 * e->value, "%s", s->values[k].name); /* linear: exact at any S */
        cr_expect_lt(fabs(e->finite - e->value), 6.2 * e->finite_error + e->value * 20 / 256, "%s", s->values[k].name);
    }
    tp_solution_free(s);
    tp_solution_free(sampled);
}

/* W W~ x is in law as W W x; with y = W x + x, W y and W x have covariance E y x = 1, and with another W~ they have
 * 0. */
Test(netsor, the_same_matrix_correlates)
{
    tp_solution *s = solved("Input W : A(n, n) ~ N(0, 1/n)\nInput V : A(n, n) ~ N(0, 1/n)\nInput x : G(n) ~ N(0, 1)\n"
                            "MatMul a := W x\nLinComb y := a + x\nMatMul b := W y\nMatMul c := V y\nMatMul d := W a\n"
                            "MatMul e := V a\nMoment d4 := power(d, 4)\nMoment e4 := power(e, 4)\n",
                            NULL);
    cr_expect(s->bp_like && !s->general);
    cr_expect_float_eq(covariance(s, "a", "b"), 1, 1e-14);
    cr_expect_float_eq(covariance(s, "a", "c"), 0, 0);
    cr_expect_float_eq(value(s, "d")->variance.value, value(s, "e")->variance.value, 1e-14);
    cr_expect_float_eq(value(s, "d4")->mean.value, value(s, "e4")->mean.value, 1e-13);
    tp_solution_free(s);
}

/* ---- expectations ---- */
/* Formula (17) of Tensor Programs II: E x y f(z) g(w), x and y backward, z and w forward and independent of them. */
Test(netsor, products_of_the_two_passes)
{
    tp_solution *s = solved("Input x : G(n) ~ N(0, 2)\nInput y : G(n) ~ N(0, 1), Cov(y, x) = 0.6\n"
                            "Input z : G(n) ~ N(0, 1)\nInput w : G(n) ~ N(0, 4), Cov(z, w) = 1\n"
                            "Moment e := x*y*step(z)*step(w)\n",
                            NULL);
    double pi = acos(-1);
    cr_expect_float_eq(value(s, "e")->mean.value, 0.6 * (pi - acos(0.5)) / (2 * pi), 1e-14);
    tp_solution_free(s);
}

/* The same with all four correlated, and means: given (z, w) the first two are linear in them and a rest of covariance
 * R; the plane is integrated by the trapezoid rule. */
Test(netsor, four_correlated_arguments)
{
    tp_solution *s = solved("Input z : G(n) ~ N(0.3, 1)\nInput w : G(n) ~ N(0, 1), Cov(w, z) = 0.5\n"
                            "Input x : G(n) ~ N(0, 1), Cov(x, z) = 0.4, Cov(x, w) = 0.1\n"
                            "Input y : G(n) ~ N(-1, 2), Cov(y, z) = -0.3, Cov(y, w) = 0.8, Cov(y, x) = 0.2\n"
                            "Moment e := x*y*tanh(z)*tanh(w)\n",
                            NULL);
    double det = 0.75, sum = 0, step = 1.0 / 16, norm = step * step / (2 * acos(-1) * sqrt(det));
    double ax = (0.4 - 0.5 * 0.1) / det, bx = (0.1 - 0.5 * 0.4) / det;
    double ay = (-0.3 - 0.5 * 0.8) / det, by = (0.8 + 0.5 * 0.3) / det, rest = 0.2 - (ax * -0.3 + bx * 0.8);
    for (double a = -10; a < 10; a += step)
        for (double b = -10; b < 10; b += step)
            sum += norm * exp(-(a * a - a * b + b * b) / (2 * det)) * tanh(a + 0.3) * tanh(b) *
                   ((ax * a + bx * b) * (-1 + ay * a + by * b) + rest);
    cr_expect(!s->sampled);
    cr_expect_float_eq(value(s, "e")->mean.value, sum, 1e-12);
    tp_solution_free(s);
}

/* Three functions that depend on each other have no exact way: samples tell, within their error. By symmetry, E of the
 * three signs is 0, and with orthant probabilities E step step step = 1/8 + sum of asin(c) / (4 pi). */
Test(netsor, what_is_not_exact_is_sampled)
{
    static const char text[] = "Input x : G(n) ~ N(0, 1)\nInput y : G(n) ~ N(0, 1), Cov(x, y) = 0.5\n"
                               "Input z : G(n) ~ N(0, 1), Cov(z, x) = 0.2, Cov(z, y) = -0.3\n"
                               "Moment e := step(x)*step(y)*step(z)\n";
    tp_solution *s = solved(text, &(tp_solve_spec){ .runs = 32, .samples = 8192 });
    const tp_estimate *e = &value(s, "e")->mean;
    double exact = 0.125 + (asin(0.5) + asin(0.2) - asin(0.3)) / (4 * acos(-1));
    cr_expect(s->sampled && e->error > 0 && e->error < 1e-3);
    cr_expect_lt(fabs(e->value - exact), 5 * e->error); /* t with 31 degrees of freedom: false alarms 2e-5 */
    cr_expect_float_eq(covariance(s, "x", "y"), 0.5, 1e-15);
    tp_solution_free(s);
    ad_error error = { 0 };
    tp_script *script = parsed(text);
    cr_expect_null(tp_script_solve(script, &(tp_solve_spec){ .engine = TP_ENGINE_EXACT }, &error));
    cr_expect(strstr(error.text, "test.tp:4: e: no exact expectation"), "%s", error.text);
    tp_script_free(script);
}

/* ---- three evaluators ---- */
static const char mixed[] = "Width  m  := 0.5 n\n"
                            "Input  W  : A(n, n) ~ N(0, 1.5/n)\n"
                            "Input  V  : A(m, n) ~ N(0, 1/n)\n"
                            "Input  x  : G(n) ~ N(0.5, 1)\n"
                            "Input  v  : G(n) ~ N(0, 1), Cov(v, x) = 0.5\n"
                            "Trsp   Wt := W\n"
                            "Trsp   Vt := V\n"
                            "MatMul h  := W x\n"
                            "Nonlin y  := tanh(h + 0.5 v)\n"
                            "MatMul g  := Wt y\n"
                            "Moment s  := <g, g>\n"
                            "Nonlin a  := relu(g/power(1 + s, 0.5) − x)\n"
                            "MatMul k  := V a\n"
                            "Nonlin b  := k ⊙ step(k)\n"
                            "MatMul l  := Vt b\n"
                            "LinComb q := g + 2 l − x\n"
                            "MatMul r  := W a\n"
                            "Moment e  := r ⊙ h ⊙ h\n";

/* The largest |difference| in standard errors, over all numbers. */
static double farthest(const tp_solution *s, const tp_solution *exact, bool finite)
{
    double most = 0;
    for (int k = 0; k < s->n * (s->n + 2); k++) {
        const tp_estimate *e =
            k < 2 * s->n ? k % 2 ? &s->values[k / 2].variance : &s->values[k / 2].mean : &s->covariances[k - 2 * s->n];
        const tp_estimate *x = k < 2 * s->n ? k % 2 ? &exact->values[k / 2].variance : &exact->values[k / 2].mean
                                            : &exact->covariances[k - 2 * s->n];
        double off = fabs((finite ? e->finite : e->value) - x->value), error = finite ? e->finite_error : e->error;
        if (error > 1e-9)
            most = fmax(most, off / error);
        else
            cr_expect_lt(off, 1e-9);
    }
    return most;
}

/* About 110 numbers, t with 31 degrees of freedom: P(|t| > 6.2) = 7e-7, so false alarms are below 1e-4. What finite
 * width shifts is of order 1/n: at 1024 less than a standard error of 32 seeds, of order (32 n)^(-1/2). */
Test(netsor, exact_sampled_and_finite_agree)
{
    tp_solution *exact = solved(mixed, &(tp_solve_spec){ .engine = TP_ENGINE_EXACT, .width = 1024, .seeds = 32 });
    tp_solution *sampled = solved(mixed, &(tp_solve_spec){ .engine = TP_ENGINE_SAMPLE, .runs = 32, .samples = 2048 });
    cr_expect(exact->general && !exact->sampled && sampled->sampled);
    cr_expect_gt(exact->simple_rule_error, 0.05);
    double finite = farthest(exact, exact, true), executor = farthest(sampled, exact, false);
    cr_expect_lt(finite, 6.2);
    cr_expect_lt(executor, 6.2);
    tp_solution_free(exact);
    tp_solution_free(sampled);
}

/* ---- by calls ---- */
static void cube(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * x[i] * x[i];
}

static void cube_slope(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 3 * x[i] * x[i];
}

Test(netsor, calls_make_the_same_program)
{
    static const ad_function function = { .name = "cube", .count = 2, .derivatives = { cube, cube_slope } };
    ad_error error = { 0 };
    tp_script *s = tp_script_new(&error);
    tp_width(s, "m", 2);
    tp_script_function(s, &function);
    tp_input_matrix(s, "W", "m", "n", 0.1);
    tp_input_vector(s, "x", "n", 0, 1);
    tp_input_vector(s, "y", "n", 1.0 / 3, 1);
    tp_input_covariance(s, "x", "y", 0.25);
    tp_matmul(s, "h", "W", "x");
    tp_matmul(s, "g", "W", "y");
    tp_lincomb(s, "u", "h - 2 g");
    tp_nonlin(s, "c", "cube(u)");
    tp_trsp(s, "T", "W");
    tp_matmul(s, "d", "T", "c");
    tp_moment(s, "e", "cube′(x) * y*y");
    tp_solution *solution = tp_script_solve(s, NULL, &error);
    cr_assert(solution, "%s", error.text);
    cr_expect_float_eq(covariance(solution, "h", "g"), 0.025, 1e-15);
    cr_expect_float_eq(value(solution, "e")->mean.value, 3 * (1 + 2 * 0.0625 + 1.0 / 9), 1e-12);
    tp_solution_free(solution);
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    cr_assert_eq(tp_script_print(s, stream, TP_PAPER, &error), 0, "%s", error.text);
    fclose(stream);
    cr_expect(strstr(text, "A(m, n)  ~ N(0, 0.1/n)") && strstr(text, "Cov(y, x) = 0.25") &&
                  strstr(text, "test_netsor.c:"),
              "%s", text);
    cr_expect(strstr(text, "N(0.3333333333333333, 1)"), "%s", text);
    free(text);
    tp_nonlin(s, "wrong", "tanh(nothing)");
    tp_nonlin(s, "later", "tanh(x)");
    cr_expect_null(tp_script_solve(s, NULL, &error));
    cr_expect(strstr(error.text, "wrong: unknown name nothing") && strstr(error.text, "test_netsor.c:"), "%s",
              error.text);
    tp_script_free(s);
}

/* Every kind of expression by samples, beside its exact value; eight runs are beyond 8 of their standard errors once in
 * 11,000 times. */
Test(netsor, samples_of_every_expression)
{
    static const ad_function function = { .name = "cube", .count = 2, .derivatives = { cube, cube_slope } };
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    ad_error error = { 0 };
    tp_script *s = tp_script_parse("Input x : G(n) ~ N(0.5, 1)\n"
                                   "Input y : G(n) ~ N(0, 2), Cov(x, y) = 0.5\n"
                                   "Input c0 : scalar ~ N(0.25, 0)\n"
                                   "Moment a := −(x)\n"
                                   "Moment b := (x − y) ⊙ x / 2\n"
                                   "Moment c := c0 x − 3\n"
                                   "Moment d := ⟨x, y⟩ + ⟨tanh(y) + 1⟩\n",
                                   "test.tp", &error);
    cr_assert(s, "%s", error.text);
    tp_script_function(s, &function);
    cr_assert_geq(tp_moment(s, "e", "cube′(x) + power(y, 2)"), 0);
    tp_solution *exact = tp_script_solve(s, NULL, &error);
    tp_solution *sampled = tp_script_solve(s, &(tp_solve_spec){ .engine = TP_ENGINE_SAMPLE }, &error);
    cr_assert(exact && sampled, "%s", error.text);
    static const double truth[] = { -0.5, 0.375, 0.125 - 3, 1.5, 3 * 1.25 + 2 };
    for (int k = 0; k < 5; k++) {
        const tp_estimate *a = &value(exact, names[k])->mean, *b = &value(sampled, names[k])->mean;
        cr_expect(fabs(a->value - truth[k]) < 1e-12, "%s: %.15g", names[k], a->value);
        cr_expect(fabs(b->value - truth[k]) < 8 * b->error + 1e-9, "%s: %g +- %g", names[k], b->value, b->error);
        cr_expect(b->error < 0.05);
    }
    tp_solution_free(exact);
    tp_solution_free(sampled);
    tp_script_free(s);
}

/* A call: which, its texts, its number. */
typedef struct {
    enum { WIDTH, MATRIX, VECTOR, COVARIANCE, TRSP, MATMUL, NONLIN, MOMENT } call;
    const char *name, *a, *b;
    double number;
    const char *says;
} wrong_call;

static int make_call(tp_script *s, const wrong_call *c)
{
    switch (c->call) {
    case WIDTH:
        return tp_width(s, c->name, c->number);
    case MATRIX:
        return tp_input_matrix(s, c->name, c->a, c->b, c->number);
    case VECTOR:
        return c->b ? tp_input_vector(s, c->name, c->a, c->number, 1) : tp_input_vector(s, c->name, c->a, 0, c->number);
    case COVARIANCE:
        return tp_input_covariance(s, c->name, c->a, c->number);
    case TRSP:
        return tp_trsp(s, c->name, c->a);
    case MATMUL:
        return tp_matmul(s, c->name, c->a, c->b);
    case NONLIN:
        return tp_nonlin(s, c->name, c->a);
    default:
        return tp_moment(s, c->name, c->a);
    }
}

/* What a call refuses it refuses once, with its line, whatever follows. */
Test(netsor, calls_that_are_wrong)
{
    static const wrong_call calls[] = {
        { WIDTH, NULL, "", "", 2, "its name is missing (NULL)" },
        { WIDTH, "m", "", "", 3, "m: this width is given in line" },
        { WIDTH, "k", "", "", INFINITY, "k: a width is a positive multiple of n, not inf" },
        { MATRIX, "V", "m", NULL, 1, "V: a text that it takes is missing (NULL)" },
        { MATRIX, "V", NULL, "m", 1, "V: a text that it takes is missing (NULL)" },
        { MATRIX, "V", "m", "n", NAN, "V: its variance is nan" },
        { MATRIX, "V", "2m", "n", 1, "V: \"2m\" is no name of a width" },
        { VECTOR, "z", NULL, NULL, 1, "z: a text that it takes is missing (NULL)" },
        { VECTOR, "z", "n", "its mean", INFINITY, "z: its mean is inf" },
        { VECTOR, "z", "n", NULL, -1, "z: its variance is -1" },
        { VECTOR, "z", "", NULL, 1, "z: \"\" is no name of a width" },
        { COVARIANCE, "x", NULL, "", 0.5, "x: a text that it takes is missing (NULL)" },
        { COVARIANCE, "y", "x", "", 0.25, "y: its covariance with x is given twice" },
        { COVARIANCE, "x", "x", "", 0.25, "x: its covariance with itself is its variance" },
        { COVARIANCE, "x", "h", "", 0.25, "h: is no input G-var" },
        { COVARIANCE, "x", "other", "", 0.25, "other: and x are over different widths" },
        { COVARIANCE, "x", "zz", "", 0.25, "zz: unknown name" },
        { COVARIANCE, "x", "w", "", NAN, "w: its covariance with x is nan" },
        { TRSP, "T", NULL, "", 0, "T: a text that it takes is missing (NULL)" },
        { MATMUL, "g", NULL, "x", 0, "g: a text that it takes is missing (NULL)" },
        { MATMUL, "g", "W", "nothing", 0, "g: unknown name nothing" },
        { NONLIN, "u", NULL, "", 0, "u: a text that it takes is missing (NULL)" },
        { NONLIN, "a b", "tanh(x)", "", 0, "a b: is no name" },
        { NONLIN, "u", "tanh(x) )", "", 0, "u: an operator expected" },
        { MOMENT, "e", "power(x, y)", "", 0, "e: the second argument of power is a number" },
    };
    for (size_t k = 0; k < sizeof calls / sizeof *calls; k++) {
        ad_error error = { 0 };
        tp_script *s = tp_script_new(&error);
        tp_width(s, "m", 2);
        tp_input_matrix(s, "W", "n", "n", 1);
        tp_input_vector(s, "x", "n", 0, 1);
        tp_input_vector(s, "y", "n", 0, 1);
        tp_input_vector(s, "w", "n", 0, 1);
        tp_input_vector(s, "other", "m", 0, 1);
        tp_input_covariance(s, "x", "y", 0.5);
        cr_assert_geq(tp_matmul(s, "h", "W", "x"), 0);
        cr_expect_eq(make_call(s, &calls[k]), -1, "%zu", k);
        cr_expect_eq(tp_nonlin(s, "later", "tanh(nothing)"), -1);
        cr_expect_null(tp_script_solve(s, NULL, &error));
        cr_expect(strstr(error.text, calls[k].says), "%zu: %s\n%s", k, error.text, calls[k].says);
        tp_script_free(s);
    }
    static const ad_function nameless = { .count = 1, .derivatives = { cube } };
    for (int k = 0; k < 2; k++) {
        ad_error error = { 0 };
        tp_script *s = tp_script_new(&error);
        cr_expect_eq(tp_script_function(s, k ? &nameless : NULL), -1);
        cr_expect(!tp_script_solve(s, NULL, &error) && strstr(error.text, "is missing (NULL)"), "%s", error.text);
        tp_script_free(s);
    }
    ad_error error = { 0 };
    cr_expect_eq(tp_nonlin(NULL, "u", "tanh(x)"), -1);
    cr_expect_eq(tp_input_covariance(NULL, "x", "y", 1), -1);
    cr_expect_eq(tp_script_function(NULL, &nameless), -1);
    cr_expect(!tp_script_solve(NULL, NULL, &error) && strstr(error.text, "no program (NULL)"), "%s", error.text);
    error = (ad_error){ 0 };
    cr_expect(!tp_script_parse(NULL, "a.tp", &error) && strstr(error.text, "a.tp: no text of a program"), "%s",
              error.text);
}

/* ---- printed networks ---- */
static nn_net *traced(const char *name, const char *const *settings, nn_spec spec, tp_program **program)
{
    ad_error error = { 0 };
    spec.settings = settings;
    spec.name = name;
    nn_net *net = nn_trace(nn_builtin(name), &spec, &error);
    cr_assert(net, "%s", error.text);
    *program = tp_translate(net, &error);
    cr_assert(*program, "%s", error.text);
    return net;
}

static char *printed(const tp_program *program)
{
    char *text = NULL;
    size_t size;
    ad_error error = { 0 };
    FILE *stream = open_memstream(&text, &size);
    cr_assert_eq(tp_print(program, stream, TP_PAPER, &error), 0, "%s", error.text);
    fclose(stream);
    return text;
}

static ad_var wide_and_narrow(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 1.5);
    ad_var h = ad_tanh(nn_dense(net, "first", x, n));
    ad_var g = nn_dense_with(net, "second", h, m, .bias = true, .sigma_b = 0.5);
    ad_var size = ad_mean(ad_square(g), ad_shape_of(m));
    g = ad_mul(g, ad_rsqrt(ad_add(size, ad_constant(nn_graph(net), 1e-5, (ad_shape){ 0 }))));
    return nn_readout(net, "readout", ad_leaky(g, 0.1));
}

static void expect_round_trip(const tp_program *program)
{
    char *first = printed(program), *second = NULL;
    size_t size;
    ad_error error = { 0 };
    tp_script *script = tp_script_parse(first, "printed", &error);
    cr_assert(script, "%s\n%s", error.text, first);
    FILE *stream = open_memstream(&second, &size);
    cr_assert_eq(tp_script_print(script, stream, TP_PAPER, &error), 0, "%s", error.text);
    fclose(stream);
    cr_expect_str_eq(second, first);
    tp_script_free(script);
    free(first);
    free(second);
}

Test(netsor, what_is_printed_can_be_read)
{
    static const struct {
        const char *name, *settings[5];
        nn_parametrization scale;
    } nets[] = { { "mlp", { NULL }, NN_NTK },
                 { "mlp", { "sigma_b=0.3", "phi=leaky", NULL }, NN_STANDARD },
                 { "mlp", { "phi=gelu", NULL }, NN_MUP },
                 { "mlp", { "phi=tanh", NULL }, NN_MEANFIELD },
                 { "rnn", { "sigma_b=0.2", NULL }, NN_NTK },
                 { "rnn", { "cell=gru", "readout=mean", NULL }, NN_NTK },
                 { "rnn", { "cell=lstm", "depth=2", NULL }, NN_NTK },
                 { "rnn", { "padding=front", "sigma_b=0.2", NULL }, NN_NTK } };
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) {
        nn_spec spec = { .features = 12, .parametrization = nets[k].scale };
        if (strcmp(nets[k].name, "rnn") == 0)
            memcpy(spec.shape, (size_t[4]){ 4, 3 }, sizeof spec.shape);
        tp_program *program;
        nn_net *net = traced(nets[k].name, nets[k].settings, spec, &program);
        expect_round_trip(program);
        tp_program_free(program);
        nn_net_free(net);
    }
    ad_error error = { 0 };
    nn_net *net = nn_trace(wide_and_narrow, &(nn_spec){ .features = 3 }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    expect_round_trip(program);
    char *text = printed(program);
    cr_expect(strstr(text, "Width    m ") && strstr(text, ":= 1.5 n") && strstr(text, "A(m, n)"), "%s", text);
    free(text);
    tp_program_free(program);
    nn_net_free(net);
}

/* The printed program of a network, solved for one input, has the NNGP kernel as the variance of its output. */
Test(netsor, printed_networks_have_their_kernels)
{
    static const char *const settings[][3] = { { "sigma_b=0.3", "phi=erf", NULL }, { "sigma_b=0.2", NULL } };
    static const char *const names[] = { "mlp", "rnn" };
    double x[12];
    for (int k = 0; k < 12; k++)
        x[k] = sin(1 + k);
    for (int net = 0; net < 2; net++) {
        ad_error error = { 0 };
        nn_spec spec = { .features = 12 };
        if (net)
            memcpy(spec.shape, (size_t[4]){ 4, 3 }, sizeof spec.shape);
        tp_program *program;
        nn_net *trace = traced(names[net], settings[net], spec, &program);
        tp_kernel kernel;
        cr_assert_eq(tp_limit(program, TP_NNGP, x, 1, NULL, 0, NULL, &kernel, &error), 0, "%s", error.text);
        char *text = printed(program);
        tp_solve_spec given = { .data = x, .times = net ? 4 : 1, .features = net ? 3 : 12 };
        tp_solution *s = solved(text, &given);
        cr_expect(s->bp_like, "%s", s->why);
        cr_expect_float_eq(value(s, "f")->variance.value, kernel.terms[0].values[0], 1e-6); /* six printed digits */
        tp_solution_free(s);
        tp_kernel_free(&kernel);
        free(text);
        tp_program_free(program);
        nn_net_free(trace);
    }
}

/* ---- errors ---- */
#define X "Input x : G(n) ~ N(0, 1)\n"
#define W "Input W : A(n, n) ~ N(0, 1/n)\n"
Test(netsor, errors_name_line_variable_and_token)
{
    static const struct {
        const char *text, *says;
    } wrong[] = {
        { X "Nonlin y := tanh(zz)", "test.tp:2: y: unknown name zz" },
        { X "Nonlin y := tanhh(x)", "test.tp:2: y: unknown function tanhh" },
        { X "Nonlin y := tanh(x", "test.tp:2: y: ) expected at the end" },
        { X "Nonlin y := tanh(x +)", "not \")\"" },
        { X "Nonlin y := tanh(x) 3 $", "the end of the line expected, not \"$\"" },
        { X X, "test.tp:2: x: is defined already, in line 1" },
        { W "MatMul y := W W", "test.tp:2: y: W is no vector (line 1)" },
        { W X "MatMul y := x x", "test.tp:3: y: x is no A-var (line 2)" },
        { X "Trsp y := x", "test.tp:2: y: x is no A-var" },
        { W X "Nonlin y := W ⊙ x", "test.tp:3: y: W is an A-var (line 1)" },
        { X "Nonlin y := tanh(x)\nLinComb z := x + y", "test.tp:3: z: y is an H-var (line 2)" },
        { X "LinComb z := tanh(x)", "tanh is not linear" },
        { X "LinComb z := x*x", "is not linear" },
        { X "LinComb z := x + 1", "a scalar is added" },
        { X "Nonlin y := tanh(x) : G(n)", "test.tp:2: y: type G is written, but it is an H-var" },
        { X "Nonlin y := tanh(x) : H(m)", "width m is written, but it is over n" },
        { "Width m := 2 n\nInput W : A(m, n) ~ N(0, 1/n)\nInput x : G(m) ~ N(0, 1)\nMatMul y := W x",
          "test.tp:4: y: W is m x n (line 2), and x is over m (line 3)" },
        { "Width m := 2 n\n" X "Input y : G(m) ~ N(0, 1)\nNonlin z := x*y", "test.tp:4: z: vectors over two widths" },
        { "Width m := -1 n", "test.tp:1: m: a width is a positive multiple" },
        { "Input W : A(m, n) ~ N(0, 1/m)", "the width is its columns'" },
        { "Input W : A(n, n) ~ N(0, 1)", "an A-var has a variance over its width" },
        { "Input W : A(n, n) ~ N(1, 1/n)", "an A-var has mean 0" },
        { "Input x : H(n) ~ N(0, 1)", "not an H-var" },
        { "Input x : G(n) ~ N(0, -1)", "a variance expected, not \"-\"" },
        { "Input x : G(n) ~ N(0, 1/-2)", "test.tp:1: x: its variance is -0.5" },
        { "Inputt x : G(n) ~ N(0, 1)", "test.tp:1: a command" },
        { X "Input y : G(n) ~ N(0, 1), Cov(x, z) = 1", "a covariance in its law" },
        { X "Input y : G(n) ~ N(0, 1), Cov(y, z) = 1", "unknown name z" },
        { X "Moment e := ⟨1, 2⟩", "an average of scalars" },
        { X "Nonlin y := power(x)", "power takes 2 arguments, not 1" },
        { X "Nonlin y := 3", "without a vector in it this is a Moment" },
        { "", "test.tp: the text has no commands" },
        { "# nothing\n", "test.tp: the text has no commands" },
        { "Input x : B(n) ~ N(0, 1)", "test.tp:1: x: a type, A(n, n), G(n), H(n) or scalar, expected" },
        { "Input x : G(3) ~ N(0, 1)", "test.tp:1: x: a width expected" },
        { "Input W : A(n n) ~ N(0, 1/n)", "test.tp:1: W: \",\" expected" },
        { "Input W : A(n, 3) ~ N(0, 1/n)", "test.tp:1: W: a width expected" },
        { "Input W : A(n, n) ~ N(0, 1/3)", "test.tp:1: W: a width expected" },
        { "Input x : G(n) ~ N(mean, 1)", "test.tp:1: x: a number expected" },
        { "Input x : G(n) ~ N(1e999, 1)", "test.tp:1: x: a number that is not finite" },
        { "Input x : G(n) ~ N(0, 1e999)", "test.tp:1: x: its variance is not finite" },
        { "Input x : G(n) ~ N(0, 1/0)", "test.tp:1: x: its variance is not finite" },
        { "Input x : G(n) ~ N(0, 1/y)", "test.tp:1: x: a number expected" },
        { X "Input y : G(n) ~ N(0, 1), Var(x, y) = 1", "test.tp:2: y: \"Cov\" expected" },
        { W "Input y : G(n) ~ N(0, 1), Cov(W, y) = 1", "test.tp:2: y: a covariance is given of two input G-vars" },
        { X "Input y : G(m) ~ N(0, 1), Cov(x, y) = 1", "a covariance is given of two vectors over one width" },
        { W "MatMul y := W", "test.tp:2: y: a name expected" },
        { W "MatMul y := W zz", "test.tp:2: y: unknown name zz" },
        { "Width m := two n", "test.tp:1: m: a number expected" },
        { "Width m := 2", "test.tp:1: m: \"n\" expected" },
        { X "Nonlin y := tanh(x) net.c:2147483648",
          "test.tp:2: y: a type, A(n, n), G(n), H(n) or scalar, expected, not \"2\"" },
        { X "Nonlin y := tanh(x) net.c:99999999999999999999", "or scalar, expected, not \"9\"" },
        { X "Nonlin y := tanh(x) nets/:3", "test.tp:2: y: a number, a name or a bracket expected" },
        { X "Nonlin y := power(x, x)", "test.tp:2: y: the second argument of power is a number" },
        { X "Output f := x", "test.tp:2: f: a vector over n: an output has no width" },
        { X "Input v : G(n) ~ N(0, 1)\nOutput f := √n <x, v>\nMoment e := f f",
          "test.tp:4: e: f is an output (line 3), which has no limit but in law" },
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        ad_error error = { 0 };
        tp_script *script = tp_script_parse(wrong[k].text, "test.tp", &error);
        cr_expect_null(script, "%s", wrong[k].text);
        cr_expect(strstr(error.text, wrong[k].says), "%s\n%s", error.text, wrong[k].says);
        tp_script_free(script);
    }
}

Test(netsor, errors_of_what_has_no_limit)
{
    static const struct {
        const char *text, *says;
    } wrong[] = {
        { X "Input y : G(n) ~ N(0, 1), Cov(x, y) = 1.5", "test.tp:2: y: its covariances with the inputs before it" },
        { X "Nonlin y := 1/x", "test.tp:2: y: /: it has a pole at 0" },
        { X "Nonlin y := log(x)", "test.tp:2: y: log: it is not defined below 0" },
        { X "Nonlin y := rsqrt(relu(x))", "test.tp:2: y: rsqrt: it has a pole at 0" },
        { X "Nonlin y := exp(square(x))", "test.tp:2: y: exp: it grows as fast as" },
        { X "Nonlin y := exp(exp(x))", "test.tp:2: y: exp: it grows as fast as" },
        { X "Nonlin y := √n x", "test.tp:2: y: it grows like n^0.5: no limit" },
        { "Input U := w : G(n) ~ N(0, 1)\nInput h := U x/√3 : G(n) ~ N(0, ⟨x, x⟩/3)", "none is given" },
        { X "Nonlin y := softmax(x)", "softmax has no rule" },
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        ad_error error = { 0 };
        tp_script *script = parsed(wrong[k].text);
        tp_solution *s = tp_script_solve(script, NULL, &error);
        cr_expect_null(s, "%s", wrong[k].text);
        cr_expect(strstr(error.text, wrong[k].says), "%s\n%s", error.text, wrong[k].says);
        tp_solution_free(s);
        tp_script_free(script);
    }
    ad_error error = { 0 };
    tp_script *script = parsed(X);
    cr_expect_null(tp_script_solve(script, &(tp_solve_spec){ .threads = AD_MAX_THREADS + 1 }, &error));
    cr_expect(strstr(error.text, "1025 threads"), "%s", error.text);
    tp_script_free(script);
    tp_solution *s = solved(X "Nonlin y := exp(x)\nNonlin z := exp(−square(x))\nNonlin u := log(1 + x*x)", NULL);
    cr_expect_float_eq(value(s, "y")->mean.value, exp(0.5), 1e-11);
    cr_expect_float_eq(value(s, "z")->mean.value, 1 / sqrt(3), 1e-12);
    tp_solution_free(s);
}

/* ---- BP-likeness ---- */
Test(netsor, bp_likeness)
{
    static const char forward[] = "Input W : A(n, n) ~ N(0, 1/n)\nInput x : G(n) ~ N(0, 1)\nInput v : G(n) ~ N(0, 1)\n"
                                  "Input b : G(n) ~ N(0, 0.1)\nMatMul h := W x\nLinComb g := h + b\nTrsp T := W\n";
    static const struct {
        const char *backward;
        bool like;
    } programs[] = { { "Nonlin d := v ⊙ step(g)\nMatMul e := T d\n", true },
                     { "Nonlin d := step(g)\nMatMul e := T d\n", false },
                     { "Nonlin d := v ⊙ v ⊙ step(g)\nMatMul e := T d\n", false },
                     { "Nonlin d := tanh(v) ⊙ step(g)\nMatMul e := T d\n", true },
                     { "Nonlin d := v ⊙ step(g) + step(g)\nMatMul e := T d\n", false },
                     { "Nonlin d := step(g)\n", true } };
    char text[1000];
    for (size_t k = 0; k < sizeof programs / sizeof *programs; k++) {
        snprintf(text, sizeof text, "%s%s", forward, programs[k].backward);
        tp_solution *s = solved(text, NULL);
        cr_expect_eq(s->bp_like, programs[k].like, "%s: %s", programs[k].backward, s->why);
        tp_solution_free(s);
        s = solved(text, &(tp_solve_spec){ .rule = TP_RULE_GENERAL });
        if (programs[k].like)
            cr_expect_float_eq(s->simple_rule_error, 0, 1e-12);
        tp_solution_free(s);
    }
}

/* ---- growth in networks ---- */
static int growing;
static int line_of_growth;
static ad_var grows(nn_net *net, ad_var x)
{
    static const ad_op inner[] = { AD_IDENTITY, AD_IDENTITY, AD_SQUARE, AD_RELU };
    static const ad_op outer[] = { AD_GELU, AD_EXP, AD_EXP, AD_RSQRT };
    ad_var h = nn_dense(net, "first", x, nn_width(net, "n"));
    ad_where here = AD_HERE;
    line_of_growth = here.line;
    return nn_readout(net, "readout", ad_unary_at(here, outer[growing], ad_unary_at(here, inner[growing], h, 0), 0));
}

Test(netsor, growth_of_networks)
{
    static const char *const says[] = { "polynomial at most", "exp(C |z|^1) at most, by exp at ", "exp at ",
                                        "rsqrt at " };
    for (growing = 0; growing < 4; growing++) {
        ad_error error = { 0 };
        char text[300], place[40];
        nn_net *net = nn_trace(grows, &(nn_spec){ .features = 3 }, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        cr_assert(program, "%s", error.text);
        cr_expect_eq(tp_check_growth(program, text, sizeof text, &error), growing > 1);
        snprintf(place, sizeof place, "test_netsor.c:%d", line_of_growth);
        cr_expect(strncmp(text, says[growing], strlen(says[growing])) == 0 && (!growing || strstr(text, place)), "%s",
                  text);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* ---- the kernel's recursion ---- */
Test(netsor, the_recursion_reads_as_by_hand)
{
    static const char *const lines[] = { "  Σ1   = ⟨x, x′⟩ + 0.09",
                                         "  K1   = E relu(u) relu(v),  (u, v) ~ Σ1",
                                         "  Σ2   = 2 K1 + 0.09",
                                         "  K2   = E relu(u) relu(v),  (u, v) ~ Σ2",
                                         "  K̇1   = E step(u) step(v),  (u, v) ~ Σ1",
                                         "  K̇2   = E step(u) step(v),  (u, v) ~ Σ2",
                                         "  P1   = 2 K̇1 K̇2",
                                         "  K    = 2 K2 + 0.09",
                                         "  Θ    = K2 + 2 K̇2 + 2 P1 + P1 ⟨x, x′⟩ + 2 K1 K̇2 + 1" };
    char *text = NULL;
    size_t size;
    ad_error error = { 0 };
    tp_program *program;
    nn_net *net =
        traced("mlp", (const char *const[]){ "depth=2", "sigma_b=0.3", NULL }, (nn_spec){ .features = 2 }, &program);
    FILE *stream = open_memstream(&text, &size);
    cr_assert_eq(tp_print_recursion(program, stream, TP_PAPER, &error), 0, "%s", error.text);
    fclose(stream);
    const char *at = text;
    for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) {
        const char *found = strstr(at, lines[k]);
        cr_expect(found, "%s\n%s", lines[k], text);
        at = found ? found : at;
    }
    cr_expect(strstr(text, "mlp.c:"));
    free(text);
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- JSON, memory ---- */
Test(netsor, json_holds_every_command)
{
    char *text = NULL;
    size_t size;
    ad_error error = { 0 };
    tp_script *script = parsed(mixed);
    FILE *stream = open_memstream(&text, &size);
    cr_assert_eq(tp_script_print(script, stream, TP_JSON, &error), 0);
    fclose(stream);
    cJSON *root = cJSON_Parse(text), *list = cJSON_GetObjectItem(root, "commands"), *item;
    cr_assert_eq(cJSON_GetArraySize(list), 18);
    cJSON_ArrayForEach(item, list) cr_expect(
        cJSON_IsString(cJSON_GetObjectItem(item, "command")) && cJSON_IsString(cJSON_GetObjectItem(item, "name")) &&
        cJSON_IsString(cJSON_GetObjectItem(item, "of")) && cJSON_IsString(cJSON_GetObjectItem(item, "type")));
    cr_expect_str_eq(cJSON_GetObjectItem(cJSON_GetArrayItem(list, 2), "law")->valuestring, "N(0, 1/n)");
    cJSON_Delete(root);
    free(text);
    tp_script_free(script);
}

Test(netsor, survives_every_failed_allocation)
{
    for (long k = 1;; k++) {
        ad_error error = { 0 };
        char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);
        ad_hook_allocation(k);
        tp_script *script =
            tp_script_parse("Width m := 2 n\n" W X "Trsp T := W\nMatMul h := T x\nNonlin y := tanh(h) ⊙ x\n"
                            "MatMul z := W y\nMoment e := step(x) ⊙ step(y) ⊙ step(z)\n",
                            "test.tp", &error);
        tp_solve_spec spec = { .samples = 64, .runs = 2, .width = 8, .seeds = 2 };
        tp_solution *s = script ? tp_script_solve(script, &spec, &error) : NULL;
        bool done = s && tp_script_print(script, stream, TP_PAPER, &error) == 0;
        ad_hook_allocation(0);
        fclose(stream);
        free(text);
        tp_solution_free(s);
        tp_script_free(script);
        if (done)
            break;
        cr_assert(strstr(error.text, "memory"), "allocation %ld: %s", k, error.text);
        cr_assert_lt(k, 10000);
    }
}

/* ---- long programs ---- */
/* g_0 = W x, g_k = (g_k-1 + x) / 2, which is 2^-k g_0 + (1 - 2^-k) x. */
static tp_solution *long_sum(int n, ad_error *error)
{
    char name[20] = "g0", body[60];
    tp_script *s = tp_script_new(error);
    tp_input_matrix(s, "W", "n", "n", 1);
    tp_input_vector(s, "x", "n", 0, 1);
    tp_matmul(s, name, "W", "x");
    for (int k = 1; k <= n; k++) {
        snprintf(body, sizeof body, "0.5 %s + 0.5 x", name);
        snprintf(name, sizeof name, "g%d", k);
        tp_lincomb(s, name, body);
    }
    tp_moment(s, "e", "g1 * g2");
    tp_solution *solution = tp_script_solve(s, NULL, error);
    tp_script_free(s);
    return solution;
}

Test(netsor, long_programs_have_variances_and_what_is_asked)
{
    for (int n = 10; n <= 20000; n += 19990) {
        ad_error error = { 0 };
        tp_solution *s = long_sum(n, &error);
        cr_assert(s, "%s", error.text);
        cr_expect((s->covariances != NULL) == (n == 10));
        for (int k = 0; k <= 10; k++) {
            char name[20];
            snprintf(name, sizeof name, "g%d", k);
            double far = pow(0.5, k);
            cr_expect_lt(fabs(value(s, name)->variance.value - far * far - pow(1 - far, 2)), 1e-12, "%s", name);
        }
        cr_expect_lt(fabs(value(s, "e")->mean.value - (0.5 * 0.25 + 0.5 * 0.75)), 1e-12);
        if (s->covariances)
            cr_expect_lt(fabs(covariance(s, "g1", "g2") - (0.5 * 0.25 + 0.5 * 0.75)), 1e-12);
        tp_solution_free(s);
    }
}

/* Samples of a long program have no covariances either. */
Test(netsor, long_programs_are_sampled)
{
    ad_error error = { 0 };
    tp_script *s = tp_script_new(&error);
    char name[20] = "x", before[20];
    tp_input_matrix(s, "W", "n", "n", 1);
    tp_input_vector(s, "x", "n", 0, 1);
    tp_matmul(s, "g", "W", "x");
    for (int k = 1; k <= TP_MOST_PAIRED; k++) {
        snprintf(before, sizeof before, "%s", name);
        snprintf(name, sizeof name, "y%d", k);
        tp_lincomb(s, name, before);
    }
    tp_solve_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = 1024, .runs = 4, .width = 64, .seeds = 4 };
    tp_solution *solution = tp_script_solve(s, &spec, &error);
    cr_assert(solution, "%s", error.text);
    const tp_estimate *e = &value(solution, name)->variance;
    cr_expect(!solution->covariances && solution->sampled);
    cr_expect_lt(fabs(e->value - 1), 1e-6 + 10 * e->error);
    cr_expect_lt(fabs(e->finite - 1), 10 * e->finite_error);
    tp_solution_free(solution);
    tp_script_free(s);
}

Test(netsor, too_many_products_are_told)
{
    ad_error error = { 0 };
    tp_script *s = tp_script_new(&error);
    char name[20] = "x", before[20];
    tp_input_matrix(s, "W", "n", "n", 1);
    tp_input_vector(s, "x", "n", 0, 1);
    for (int k = 1; k <= 2047; k++) {
        snprintf(before, sizeof before, "%s", name);
        snprintf(name, sizeof name, "g%d", k);
        tp_matmul(s, name, "W", before);
    }
    cr_expect(!tp_script_solve(s, NULL, &error));
    cr_expect(strstr(error.text, "2049 inputs and products: exact values are for up to 2048"), "%s", error.text);
    tp_script_free(s);
}

/* ---- large variances ---- */
Test(netsor, variances_up_to_the_range_of_a_double)
{
    tp_solution *s = solved("Input  W  : A(n, n) ~ N(0, 1/n)\n"
                            "Input  x  : G(n) ~ N(0, 1e200)\n"
                            "MatMul h  := W x\n"
                            "Nonlin y  := tanh(h)\n"
                            "Moment e  := <x, x>\n",
                            NULL);
    cr_expect_float_eq(covariance(s, "x", "x"), 1e200, 1e185);
    cr_expect_float_eq(covariance(s, "h", "h"), 1e200, 1e185);
    cr_expect_float_eq(value(s, "e")->mean.value, 1e200, 1e185);
    tp_solution_free(s);
}

Test(netsor, a_moment_beyond_it_is_refused_at_its_line)
{
    ad_error error = { 0 };
    tp_script *script = parsed("Input  x  : G(n) ~ N(0, 1e200)\n"
                               "Nonlin y  := x*x\n");
    cr_expect_null(tp_script_solve(script, NULL, &error));
    cr_expect(strstr(error.text, "test.tp:2: y") && strstr(error.text, "range of a double"), "%s", error.text);
    tp_script_free(script);
}

/* What is below a double's range is an error at its line; what vanishes, or cancels, is 0. */
Test(netsor, what_is_below_the_range_is_refused)
{
    static const struct {
        const char *text, *says;
    } below[] = {
        { "Input x : G(n) ~ N(0, 1e-200)\nNonlin y := x*x", "test.tp:2: y: its second moment" },
        { "Input x : G(n) ~ N(0, 1e-200)\nMoment m := <x*x, x*x>", "test.tp:2: m: its value" },
        { "Input x : G(n) ~ N(0, 1e-310)\nMoment m := <x, x>", "test.tp:2: m: its value" },
        { "Input x : G(n) ~ N(0, 1e-200)\nInput W : A(n, n) ~ N(0, 1e-200/n)\nMatMul h := W x", "test.tp:3: h:" },
        { "Input x : G(n) ~ N(0, 1e-200)\nNonlin y := tanh(x)*relu(x)", "test.tp:2: y:" },
        { "Input x : G(n) ~ N(0, 1)\nNonlin y := 1e-200 (x - 1e-200 x*x*1e-200)", "test.tp:2: y:" },
        { "Input x : G(n) ~ N(0, 1e-200)\nInput v : G(n) ~ N(0, 1e-200)\nNonlin y := tanh(x)\nOutput f := √n <y, v>",
          "test.tp:4: f:" },
    };
    static const char *const zero[] = {
        "Input x : G(n) ~ N(0, 1)\nMoment m := <relu(x) * relu(-x)>",
        "Input x : G(n) ~ N(0, 1)\nMoment m := <x*x*x>",
        "Input x : G(n) ~ N(0, 1)\nMoment m := <x - x>",
        "Input x : G(n) ~ N(0, 0)\nMoment m := <relu(x)>",
        "Input x : G(n) ~ N(0, 0)\nInput W : A(n, n) ~ N(0, 1/n)\nMatMul h := W x\nMoment m := <h, h>",
        "Input x : G(n) ~ N(0, 1)\nInput y : G(n) ~ N(0, 1e-250)\nMoment m := <x, y>",
        "Input x : G(n) ~ N(0, 1e-250)\nMoment m := <tanh(x)>",
    };
    tp_solve_spec spec = { .samples = 16, .runs = 2 };
    for (size_t k = 0; k < sizeof below / sizeof *below; k++) {
        ad_error error = { 0 };
        tp_script *script = parsed(below[k].text);
        tp_solution *solution = tp_script_solve(script, &spec, &error);
        cr_expect_null(solution, "%s", below[k].text);
        cr_expect(strstr(error.text, below[k].says) && strstr(error.text, "below 1e-300, and not 0"), "%s", error.text);
        tp_solution_free(solution);
        tp_script_free(script);
    }
    for (size_t k = 0; k < sizeof zero / sizeof *zero; k++) {
        tp_solution *solution = solved(zero[k], &spec);
        cr_expect_eq(value(solution, "m")->mean.value, 0, "%s", zero[k]);
        tp_solution_free(solution);
    }
}

Test(netsor, what_is_given_twice_is_an_error)
{
    static const struct {
        const char *text, *told;
    } rows[] = {
        { "Width m := 2 n\nWidth m := 2 n\nInput x : G(m) ~ N(0, 1)\n", "test.tp:2: m: this width is given in line 1" },
        { "Input x : G(n) ~ N(0, 1)\nInput y : G(n) ~ N(0, 1), Cov(x, y) = 0.5, Cov(y, x) = 0.5\n",
          "test.tp:2: y: its covariance with x is given twice" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ad_error error = { 0 };
        cr_expect(!tp_script_parse(rows[i].text, "test.tp", &error) && strstr(error.text, rows[i].told), "%s",
                  error.text);
    }
}

/* What is printed of a program can be read again: a factor that would be cut, or is of an input, is none. */
Test(netsor, what_is_printed_is_read_again)
{
    static const char start[] = "Input W : A(n, n) ~ N(0, 1/n)\nInput x : G(n) ~ N(0, 1)\n";
    char text[600];
    ad_error error = { 0 };
    snprintf(text, sizeof text, "%sMatMul h := W x (%077d)\n", start, 0);
    cr_expect(!tp_script_parse(text, "test.tp", &error) && strstr(error.text, "test.tp:3: h: its factor"), "%s",
              error.text);
    error = (ad_error){ 0 };
    cr_expect(!tp_script_parse("Input x : G(n) ~ N(0, 1) (2)\n", "test.tp", &error) &&
                  strstr(error.text, "the end of the line"),
              "%s", error.text);
    snprintf(text, sizeof text, "%sIn brackets: whatever\nno command\nInitialization assumption: holds.\nmore\n",
             start);
    tp_script *script = parsed(text);
    char *printed = NULL;
    size_t size;
    FILE *stream = open_memstream(&printed, &size);
    cr_assert(tp_script_print(script, stream, TP_PAPER, NULL) == 0 && fclose(stream) == 0);
    cr_expect(!strstr(printed, "brackets") && strstr(printed, "Initialization assumption: holds.\nmore\n"), "%s",
              printed);
    tp_script_free(script);
    tp_script_free(parsed(printed));
    free(printed);

    script = parsed("Input x : G(n) ~ N(0, 1)  a/net.c:2147483647\nMoment e := ⟨x, x⟩  net.c:0\n");
    stream = open_memstream(&printed, &size);
    cr_assert(tp_script_print(script, stream, TP_PAPER, NULL) == 0 && fclose(stream) == 0);
    cr_expect(strstr(printed, " net.c:2147483647\n") && strstr(printed, " net.c:0\n"), "%s", printed);
    tp_script_free(script);
    tp_script_free(parsed(printed));
    free(printed);
}

Test(netsor, one_seed_has_no_standard_error)
{
    static const tp_solve_spec specs[] = { { .width = 8, .seeds = 1 }, { .runs = 1 }, { .seeds = -1 }, { .runs = -3 } };
    tp_script *script = parsed("Input x : G(n) ~ N(0, 1)\nMoment e := \u27e8x, x\u27e9\n");
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ad_error error = { 0 };
        cr_expect(!tp_script_solve(script, &specs[i], &error) && strstr(error.text, "at least 2"), "%s", error.text);
    }
    tp_script_free(script);
}

/* Samples whose squares leave a double are told so, and not as 0 or as without a limit. */
Test(netsor, samples_out_of_range)
{
    static const struct {
        const char *text, *says;
    } out[] = {
        { "Input x : G(n) ~ N(0, 1)\nNonlin y := power(x, 1024)\n",
          "test.tp:2: y: its samples leave the range of a double (1.8e308)" },
        { "Input x : G(n) ~ N(0, 1e-10)\nInput u : G(n) ~ N(0, 1e-10)\nInput w : G(n) ~ N(0, 1e-10)\n"
          "Nonlin y := power(tanh(x ⊙ u + w), 64)\n",
          "test.tp:4: y: its samples leave the range of a double (their squares are below 1e-300)" },
    };
    for (size_t k = 0; k < sizeof out / sizeof *out; k++) {
        ad_error error = { 0 };
        tp_script *script = parsed(out[k].text);
        tp_solution *s = tp_script_solve(script, NULL, &error);
        cr_expect_null(s, "%s", out[k].text);
        cr_expect(strstr(error.text, out[k].says), "%s", error.text);
        tp_solution_free(s);
        tp_script_free(script);
    }
    /* 1 in all samples has the variance 0 */
    tp_solution *s = solved("Input x : G(n) ~ N(0, 1)\nInput u : G(n) ~ N(0, 1)\nInput w : G(n) ~ N(0, 1)\n"
                            "Nonlin y := step(1 + square(tanh(x ⊙ u + w)))\n",
                            NULL);
    cr_expect_float_eq(value(s, "y")->mean.value, 1, 1e-12);
    cr_expect_float_eq(value(s, "y")->variance.value, 0, 1e-12);
    tp_solution_free(s);
}
