/* Reverse mode against finite differences in double precision: every row of the op table, first and second derivatives.
 *
 * The loss is sum w f(x) with fixed w. Central differences of step h = 1e-3 with Richardson's extrapolation to sixth
 * order leave an error of about h^6 and rounding of about 1e-16 / h = 1e-13, both far below the 1e-6 that is asked. */
#include "autodiff/autodiff.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, COLUMNS = 4, LEVELS = 3 };

typedef struct {
    ad_graph *graph;
    ad_axis rows, columns;
    ad_var x;
} scene;

typedef ad_var build(scene *s);

static scene scene_new(void)
{
    scene s = { .graph = ad_graph_new(NULL) };
    s.rows = ad_fixed(s.graph, "rows", ROWS);
    s.columns = ad_fixed(s.graph, "columns", COLUMNS);
    s.x = ad_input(s.graph, "x", ad_shape_of(s.rows, s.columns));
    return s;
}

/* sum over all axes of y times fixed weights that no symmetry of y cancels */
static ad_var weigh(ad_graph *graph, ad_var y, double phase)
{
    const ad_shape *shape = ad_shape_get(y);
    ad_var total = y;
    for (int i = 0; i < shape->rank; i++) {
        size_t size = ad_axis_fixed(graph, shape->axes[i]);
        ad_var parts[ROWS * COLUMNS];
        for (size_t k = 0; k < size; k++)
            parts[k] = ad_constant(graph, sin(phase + 1.7 * (double)(k + 1) + (double)i), (ad_shape){ 0 });
        total = ad_mul(total, ad_stack_at(AD_HERE, parts, (int)size, shape->axes[i]));
    }
    return ad_sum(total, *shape);
}

static double value_of(ad_plan *plan, ad_var x, const double *data, int output)
{
    ad_error error = { 0 };
    ad_sizes sizes = { .n = 1 };
    cr_assert_eq(ad_bind(plan, x, data), 0);
    cr_assert_eq(ad_run(plan, &sizes, &error), 0, "%s", error.text);
    return *(const double *)ad_output(plan, output);
}

/* Where a function of x breaks: differences must not step over it. */
typedef struct {
    int n;
    const double *at;
} breaks;

/* Compares the gradient of outputs[0] (a scalar) that outputs[1] claims with differences; returns the worst error. */
static double worst_error(scene *s, ad_var loss, ad_var gradient, double lo, double hi, breaks kinks)
{
    ad_error error = { 0 };
    cr_assert_not(ad_failed(s->graph), "%s", ad_message(s->graph));
    ad_plan_spec spec = { .type = AD_DOUBLE, .capacity = { .n = 1 } };
    ad_plan *plan = ad_plan_new((ad_var[]){ loss, gradient }, 2, &spec, &error);
    cr_assert(plan, "%s", error.text);
    double x[ROWS * COLUMNS], claimed[ROWS * COLUMNS], worst = 0;
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        x[i] = lo + (hi - lo) * (0.5 + 0.45 * sin(2.3 * i + 0.4));
        for (int k = 0; k < kinks.n; k++)
            if (fabs(x[i] - kinks.at[k]) < 0.05)
                x[i] = kinks.at[k] + 0.05;
    }
    value_of(plan, s->x, x, 0);
    memcpy(claimed, ad_output(plan, 1), sizeof claimed);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        double table[LEVELS], at = x[i];
        for (int level = 0; level < LEVELS; level++) {
            double h = 0.008 / (double)(1 << level);
            x[i] = at + h;
            double up = value_of(plan, s->x, x, 0);
            x[i] = at - h;
            table[level] = (up - value_of(plan, s->x, x, 0)) / (2 * h);
        }
        x[i] = at;
        for (int k = 1; k < LEVELS; k++)
            for (int level = LEVELS - 1; level >= k; level--)
                table[level] += (table[level] - table[level - 1]) / (pow(4, k) - 1);
        worst = fmax(worst, fabs(table[LEVELS - 1] - claimed[i]) / fmax(1, fabs(claimed[i])));
    }
    ad_plan_free(plan);
    return worst;
}

/* First derivative of sum w f(x), and of sum w' grad: both against differences. */
static void check(const char *name, scene *s, ad_var y, double lo, double hi, breaks kinks, bool twice)
{
    ad_var loss = weigh(s->graph, y, 0.3), gradient, second;
    ad_var one = ad_constant(s->graph, 1, (ad_shape){ 0 });
    ad_backward(loss, one, &s->x, 1, &gradient, NULL);
    double first = worst_error(s, loss, gradient, lo, hi, kinks);
    cr_expect_lt(first, 1e-6, "%s: derivative off by %g", name, first);
    if (!twice)
        return;
    ad_var slope = weigh(s->graph, gradient, 1.1);
    ad_backward(slope, one, &s->x, 1, &second, NULL);
    double next = worst_error(s, slope, second, lo, hi, kinks);
    cr_expect_lt(next, 1e-6, "%s: second derivative off by %g", name, next);
}

Test(grad, every_coordinatewise_row)
{
    for (ad_op op = 0; op < AD_CUSTOM; op++) { /* a user's function: its own test below */
        const ad_op_facts *facts = ad_op_facts_of(op);
        scene s = scene_new();
        check(ad_op_name(op), &s, ad_unary_at(AD_HERE, op, s.x, 0.3), facts->lo, facts->hi,
              (breaks){ facts->n_kinks, facts->kinks }, true);
        ad_graph_free(s.graph);
    }
}

Test(grad, every_binary_row)
{
#define AD_BINARY(NAME, name, formula, derivative, lo, hi) { AD_##NAME, #name, lo, hi },
    static const struct {
        ad_op op;
        const char *name;
        double lo, hi;
    } rows[] = {
#include "autodiff/ops.def"
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int shape = 0; shape < 3; shape++) { /* both full, the first or the second broadcast */
            scene s = scene_new();
            ad_var other = ad_square(ad_sum(s.x, ad_shape_of(s.columns)));
            ad_var full = ad_exp(ad_scale(s.x, 0.3));
            ad_var a = shape == 1 ? other : s.x, b = shape == 2 ? other : shape == 1 ? s.x : full;
            check(rows[i].name, &s, ad_binary_at(AD_HERE, rows[i].op, a, b), rows[i].lo, rows[i].hi, (breaks){ 0 },
                  true);
            ad_graph_free(s.graph);
        }
}

static void cube(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * x[i] * x[i];
}

static void three_squares(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 3 * x[i] * x[i];
}

static void six_times(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 6 * x[i];
}

static const ad_function cubic = { .name = "cube", .count = 3, .derivatives = { cube, three_squares, six_times } };

/* ---- what moves along axes: one builder a row, on x (rows, columns) ---- */
static ad_var gram(scene *s)
{
    ad_var other = ad_relabel(s->x, s->rows, ad_prime(s->rows));
    return ad_contract(ad_tanh(s->x), other, ad_shape_of(s->columns));
}
static ad_var aligned(scene *s)
{
    return ad_contract(s->x, ad_sin(s->x), ad_shape_of(s->columns));
}
static ad_var outer(scene *s)
{
    ad_var row = ad_sum(s->x, ad_shape_of(s->columns)), column = ad_sum(ad_square(s->x), ad_shape_of(s->rows));
    return ad_contract(row, column, (ad_shape){ 0 });
}
static ad_var all_axes(scene *s)
{
    return ad_contract(s->x, ad_exp(ad_scale(s->x, 0.2)), ad_shape_of(s->rows, s->columns));
}
static ad_var product(scene *s)
{
    ad_var w = ad_relabel(ad_sin(s->x), s->rows, ad_prime(s->rows)); /* (rows', columns) */
    ad_var square = ad_contract(s->x, w, ad_shape_of(s->columns));   /* (rows, rows') */
    ad_var back = ad_relabel(ad_sum(square, ad_shape_of(s->rows)), ad_prime(s->rows), s->rows);
    return ad_contract(back, s->x, ad_shape_of(s->rows));
}
static ad_var transposed(scene *s)
{
    return ad_mul(ad_transpose(s->x, ad_shape_of(s->columns, s->rows)), ad_sin(s->x));
}
static ad_var scaled(scene *s)
{
    return ad_square(ad_scale_by(s->x, 1.5, s->columns, -0.5));
}
static ad_var summed(scene *s)
{
    return ad_square(ad_sum(s->x, ad_shape_of(s->rows)));
}
static ad_var averaged(scene *s)
{
    return ad_sub(s->x, ad_square(ad_mean(s->x, ad_shape_of(s->rows, s->columns))));
}
static ad_var expanded(scene *s)
{
    ad_axis more = ad_fixed(s->graph, "more", 2);
    return ad_square(ad_expand(s->x, ad_shape_of(s->rows, more, s->columns)));
}
static ad_var sliced(scene *s)
{
    ad_axis part = ad_fixed(s->graph, "part", 2);
    return ad_square(ad_slice(s->x, s->columns, 1, 2, part));
}
static ad_var taken(scene *s)
{
    return ad_mul(ad_take(s->x, s->columns, 2), ad_exp(ad_scale(ad_take(s->x, s->columns, 0), 0.3)));
}
static ad_var joined(scene *s)
{
    ad_axis both = ad_fixed(s->graph, "both", 2 * COLUMNS);
    ad_var parts[] = { s->x, ad_square(s->x) };
    return ad_sin(ad_concat(parts, 2, ((ad_axis[]){ s->columns, s->columns }), both));
}
static ad_var stacked(scene *s)
{
    ad_axis two = ad_fixed(s->graph, "two", 2);
    ad_var parts[] = { ad_sin(s->x), ad_square(s->x) };
    return ad_square(ad_stack(parts, 2, two));
}
static ad_var merged(scene *s)
{
    ad_axis all = ad_fixed(s->graph, "all", ROWS * COLUMNS), a = ad_fixed(s->graph, "a", 2),
            b = ad_fixed(s->graph, "b", ROWS * COLUMNS / 2);
    return ad_square(ad_split(ad_sin(ad_merge(s->x, s->rows, s->columns, all)), all, a, b));
}
static ad_var merged_backwards(scene *s)
{
    ad_axis all = ad_fixed(s->graph, "all", ROWS * COLUMNS);
    return ad_square(ad_merge(s->x, s->columns, s->rows, all));
}
static ad_var gathered(scene *s)
{
    ad_axis five = ad_fixed(s->graph, "five", 5);
    ad_var index[5];
    for (int i = 0; i < 5; i++)
        index[i] = ad_constant(s->graph, (2 * i) % ROWS, (ad_shape){ 0 });
    return ad_square(ad_gather(s->x, ad_stack(index, 5, five), s->rows));
}
static ad_var gathered_aligned(scene *s)
{
    ad_var index[ROWS];
    for (int i = 0; i < ROWS; i++)
        index[i] = ad_constant(s->graph, (i + 1) % COLUMNS, (ad_shape){ 0 });
    return ad_square(ad_gather(s->x, ad_stack(index, ROWS, s->rows), s->columns));
}
/* Windows that overlap, at their own stride, and backwards. */
static ad_var windowed(scene *s)
{
    ad_axis two = ad_fixed(s->graph, "two", 2), offset = ad_fixed(s->graph, "offset", 3);
    return ad_square(ad_windows(s->x, s->columns, two, offset, ((ad_window){ .stride = 1 })));
}
static ad_var windowed_apart(scene *s)
{
    ad_axis two = ad_fixed(s->graph, "two", 2), offset = ad_fixed(s->graph, "offset", 2);
    return ad_square(ad_windows(s->x, s->rows, two, offset, ((ad_window){ 1, 1, -1 })));
}
static ad_var unwindowed(scene *s)
{
    ad_axis seven = ad_fixed(s->graph, "seven", 7);
    return ad_square(ad_unwindows(s->x, s->rows, s->columns, seven, ((ad_window){ .stride = 1, .start = 1 })));
}
static ad_var padded(scene *s)
{
    ad_axis six = ad_fixed(s->graph, "six", 6);
    return ad_exp(ad_pad(s->x, s->columns, 1, six));
}
/* A filter that is made of x, too, on x among zeros; of one axis, and of two, at strides 1 and 2. */
static ad_var convolved(scene *s, size_t stride, bool both)
{
    size_t count = (COLUMNS - 1) / stride + 1;
    ad_axis padded = ad_fixed(s->graph, "padded", COLUMNS + 2), offset = ad_fixed(s->graph, "offset", 3);
    ad_axis out = count == COLUMNS ? s->columns : ad_fixed(s->graph, "out", count);
    ad_axis high = ad_fixed(s->graph, "high", ROWS + 2), other = ad_fixed(s->graph, "other", 3);
    ad_var w = ad_relabel(ad_windows(s->x, s->columns, ad_fixed(s->graph, "two", 2), offset, ((ad_window){ 0 })),
                          s->rows, other);
    ad_var x = ad_sin(s->x);
    if (both)
        x = ad_pad(x, s->rows, 1, high);
    x = ad_pad(x, s->columns, 1, padded);
    if (both)
        x = ad_windows(x, high, s->rows, other, ((ad_window){ 0 }));
    x = ad_windows(x, padded, out, offset, ((ad_window){ .stride = stride }));
    return ad_tanh(ad_scale(ad_contract(x, w, both ? ad_shape_of(other, offset) : ad_shape_of(offset)), 0.5));
}
static ad_var filtered(scene *s)
{
    return convolved(s, 1, false);
}
static ad_var filtered_twice(scene *s)
{
    return convolved(s, 1, true);
}
static ad_var filtered_apart(scene *s)
{
    return convolved(s, 2, true);
}
static ad_var logsumexped(scene *s)
{
    return ad_logsumexp(ad_square(s->x), s->columns);
}
static ad_var softmaxed(scene *s)
{
    return ad_square(ad_softmax(s->x, s->rows));
}
static ad_var largest(scene *s)
{
    return ad_square(ad_max(s->x, s->columns));
}

Test(grad, every_row_along_axes)
{
    static const struct {
        const char *name;
        build *make;
    } rows[] = {
        { "gram", gram },
        { "aligned", aligned },
        { "outer", outer },
        { "all axes", all_axes },
        { "product", product },
        { "transpose", transposed },
        { "scale", scaled },
        { "sum", summed },
        { "mean", averaged },
        { "expand", expanded },
        { "slice", sliced },
        { "take", taken },
        { "concat", joined },
        { "stack", stacked },
        { "merge", merged },
        { "merge backwards", merged_backwards },
        { "gather", gathered },
        { "gather aligned", gathered_aligned },
        { "windows", windowed },
        { "windows apart", windowed_apart },
        { "unwindows", unwindowed },
        { "pad", padded },
        { "filter", filtered },
        { "filter of two axes", filtered_twice },
        { "filter at a stride", filtered_apart },
        { "logsumexp", logsumexped },
        { "softmax", softmaxed },
        { "max", largest },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        scene s = scene_new();
        check(rows[i].name, &s, rows[i].make(&s), -2, 2, (breaks){ 0 }, true);
        ad_graph_free(s.graph);
    }
    scene s = scene_new();
    check("custom", &s, ad_custom(&cubic, s.x), -2, 2, (breaks){ 0 }, true);
    ad_graph_free(s.graph);
}

Test(grad, a_missing_derivative_is_named)
{
    static const ad_function plain = { .name = "plain", .count = 1, .derivatives = { cube } };
    scene s = scene_new();
    ad_var loss = weigh(s.graph, ad_custom(&plain, s.x), 0), gradient;
    cr_assert_not(ad_failed(s.graph));
    cr_expect_eq(ad_backward(loss, ad_constant(s.graph, 1, (ad_shape){ 0 }), &s.x, 1, &gradient, NULL), -1);
    cr_expect(strstr(ad_message(s.graph), "plain") && strstr(ad_message(s.graph), "test_grad.c"), "%s",
              ad_message(s.graph));
    ad_graph_free(s.graph);
}

/* contract(2 x, x) is built as 2 contract(x, x), which does not depend on the node of 2 x. */
Test(grad, a_factor_that_has_moved_is_an_error)
{
    scene s = scene_new();
    ad_var twice = ad_scale(s.x, 2), gradient;
    ad_var loss = ad_contract(twice, s.x, ad_shape_of(s.rows, s.columns));
    ad_var one = ad_constant(s.graph, 1, (ad_shape){ 0 });
    cr_assert(ad_backward(loss, one, &s.x, 1, &gradient, NULL) >= 0);
    cr_expect_eq(ad_backward(loss, one, &twice, 1, &gradient, NULL), -1);
    cr_expect(strstr(ad_message(s.graph), "the scale of ") && strstr(ad_message(s.graph), "test_grad.c"), "%s",
              ad_message(s.graph));
    ad_graph_free(s.graph);
}

/* A parameter that is itself what is derived: its derivative is the cotangent. */
Test(grad, of_a_parameter_by_itself)
{
    ad_graph *graph = ad_graph_new(NULL);
    ad_axis n = ad_fixed(graph, "n", 3);
    ad_var p = ad_param(graph, "p", ad_shape_of(n), (ad_init){ .deviation = 1 }), gradient;
    cr_assert_eq(ad_backward(p, ad_constant(graph, 2, ad_shape_of(n)), &p, 1, &gradient, NULL), 1, "%s",
                 ad_message(graph));
    ad_error error = { 0 };
    ad_plan *plan = ad_plan_new(&gradient, 1, &(ad_plan_spec){ .type = AD_DOUBLE }, &error);
    cr_assert(plan, "%s", error.text);
    cr_assert_eq(ad_run(plan, &(ad_sizes){ 0 }, &error), 0, "%s", error.text);
    for (int k = 0; k < 3; k++)
        cr_expect_float_eq(((const double *)ad_output(plan, 0))[k], 2, 1e-15);
    ad_plan_free(plan);
    ad_graph_free(graph);
}
