/* What a builder gets is looked at: each of these is one error, at the line of the call, in the graph that is
 * traced. */
#include "autodiff/trace/trace.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static ad_graph *g, *other;
static ad_var x, foreign, unset;
static ad_axis n, rows, none, strange;

static void begin(void)
{
    ad_error error = { 0 };
    g = ad_graph_new(&error);
    other = ad_graph_new(&error);
    cr_assert(g && other, "%s", error.text);
    n = ad_width(g, "n", 1);
    rows = ad_fixed(g, "rows", 3);
    strange = ad_fixed(other, "strange", 3);
    x = ad_input(g, "x", ad_shape_of(rows, n));
    foreign = ad_input(other, "y", ad_shape_of(strange));
    unset = (ad_var){ 0 };
    none = (ad_axis){ 0 };
    ad_graph_trace(g);
}

static void end(int line, const char *told)
{
    char place[80];
    snprintf(place, sizeof place, "test_builders.c:%d: ", line);
    const char *message = ad_message(g);
    cr_expect(strstr(message, place) && strstr(message, told), "line %d: no \"%s\" in \"%s\"", line, told, message);
    cr_expect(!strchr(message, '\n') && !ad_failed(other));
    ad_graph_trace(NULL);
    ad_graph_free(g);
    ad_graph_free(other);
}

#define WRONG(told, ...)                                                                                               \
    do {                                                                                                               \
        begin();                                                                                                       \
        __VA_ARGS__;                                                                                                   \
        end(__LINE__, told);                                                                                           \
    } while (0)

Test(builders, ops_that_are_none_of_theirs)
{
    for (int op = -3; op < AD_N_OPS + 3; op++) {
        if (!ad_is_unary((ad_op)op) || op == AD_CUSTOM)
            WRONG("unary: ", ad_unary_at(AD_HERE, (ad_op)op, x, 0));
        if (!ad_is_binary((ad_op)op))
            WRONG("binary: ", ad_binary_at(AD_HERE, (ad_op)op, x, x));
    }
    WRONG("parameter", ad_unary_at(AD_HERE, AD_LEAKY, x, NAN));
    WRONG("missing (NULL)", ad_custom(NULL, x));
}

Test(builders, variables_that_are_none)
{
    WRONG("never set", ad_tanh(unset));
    WRONG("never set", ad_add(unset, x));
    WRONG("never set", ad_add(x, unset));
    WRONG("never set", ad_sum(unset, ad_shape_of(n)));
    WRONG("two graphs", ad_add(x, foreign));
    WRONG("two graphs", ad_contract(foreign, x, ad_shape_of(n)));
    WRONG("number 1000", ad_tanh(((ad_var){ g, 1000 })));
    WRONG("number -7", ad_tanh(((ad_var){ g, -7 })));
    WRONG("never set", ad_stack(&unset, 1, ad_fixed(g, "one", 1)));
    WRONG("never set", ad_stack(NULL, 2, rows));
    WRONG("replace: ", ad_replace(x, &unset, &unset, 1));
    WRONG("missing (NULL)", ad_replace(x, NULL, NULL, 1));
    ad_var adjoint;
    WRONG("missing (NULL)", ad_adjoints(x, x, NULL, 1, &adjoint));
    WRONG("never set", ad_adjoints(unset, unset, &x, 1, &adjoint));
    WRONG("two graphs", ad_adjoints(x, x, &foreign, 1, &adjoint));
    WRONG("two graphs", ad_adjoints(x, foreign, &x, 1, &adjoint));
}

Test(builders, axes_that_are_none)
{
    WRONG("never set", ad_sum(x, ad_shape_of(none)));
    WRONG("another network", ad_sum(x, ad_shape_of(strange)));
    WRONG("another network", ad_param(g, "p", ad_shape_of(strange), ((ad_init){ .deviation = 1 })));
    WRONG("never set", ad_softmax(x, none));
    WRONG("never set", ad_delta(g, n, none));
    WRONG("more than 10 axes", ad_expand(x, ((ad_shape){ .rank = 11 })));
    WRONG("-2 axes", ad_expand(x, ((ad_shape){ .rank = -2 })));
    WRONG("more than 10 axes", ad_transpose(x, ((ad_shape){ .rank = 1 << 30 })));
    WRONG("1 to 31 bytes", ad_fixed(g, NULL, 3));
    WRONG("1 to 31 bytes", ad_fixed(g, "a name of thirty-two bytes or more", 3));
    WRONG("size 0", ad_fixed(g, "q", 0));
    WRONG("not positive", ad_width(g, "q", NAN));
    WRONG("above 1e+06, the largest", ad_width(g, "q", 1e7));
    WRONG("axis n: it is 1 n wide, asked for with 2 n", ad_width(g, "n", 2));
}

Test(builders, names_and_graphs_that_are_missing)
{
    WRONG("name is missing", ad_input(g, NULL, ad_shape_of(n)));
    WRONG("name is missing", ad_param(g, NULL, ad_shape_of(n), ((ad_init){ .deviation = 1 })));
    WRONG("graph is missing", ad_input(NULL, "q", ad_shape_of(n)));
    WRONG("graph is missing", ad_param(NULL, "q", ad_shape_of(n), ((ad_init){ .deviation = 1 })));
    WRONG("graph is missing", ad_constant(NULL, 1, ad_shape_of(n)));
    WRONG("graph is missing", ad_delta(NULL, n, n));
    WRONG("graph is missing", ad_fixed(NULL, "q", 3));
    WRONG("graph is missing", ad_width(NULL, "q", 1));
    WRONG("graph is missing", ad_fresh_at(AD_HERE, NULL, "q", 3));
}

/* 2^33 (2^31 + 1) is 2^33 in 64 bits. */
Test(builders, sizes_beyond_64_bits)
{
    begin();
    ad_axis a = ad_fixed(g, "a", (size_t)1 << 33), b = ad_fixed(g, "b", ((size_t)1 << 31) + 1), c;
    c = ad_fixed(g, "c", (size_t)1 << 33);
    ad_shape both = ad_shape_of(a, b);
    cr_expect_eq(ad_elements(g, &both, &(ad_sizes){ .n = 1 }), SIZE_MAX);
    ad_shape one = ad_shape_of(a);
    cr_expect_eq(ad_elements(g, &one, &(ad_sizes){ .n = 1 }), (size_t)1 << 33);
    int line = __LINE__ + 1;
    ad_merge(ad_constant(g, 1, both), a, b, c);
    end(line, "do not make c");
}
