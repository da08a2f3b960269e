/* The program: its lines, the checks of Proposition 2, and what is refused. */
#include "limn.h"

#include <cJSON.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static tp_program *translated(nn_function function, const nn_spec *spec, nn_net **net)
{
    ad_error error = { 0 };
    *net = nn_trace(function, spec, &error);
    cr_assert(*net, "%s", error.text);
    tp_program *program = tp_translate(*net, &error);
    cr_assert(program, "%s", error.text);
    return program;
}

static char *printed(const tp_program *program, tp_style style)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    ad_error error = { 0 };
    cr_assert_eq(tp_print(program, stream, style, &error), 0, "%s", error.text);
    fclose(stream);
    return text;
}

/* Runs of spaces become one, and the place in the source at a line's end goes. */
static void plain(char *text)
{
    char *to = text;
    for (const char *line = text; *line;) {
        const char *end = strchr(line, '\n');
        char *start = to;
        for (const char *c = line; c < end; c++)
            if (*c != ' ' || (to > start && to[-1] != ' '))
                *to++ = *c;
        char *last = to;
        while (last > start && last[-1] != ' ')
            last--;
        if (last > start && memchr(last, ':', (size_t)(to - last)) && to[-1] >= '0' && to[-1] <= '9')
            to = last - 1;
        *to++ = '\n';
        line = end + 1;
    }
    *to = 0;
}

static int line_of_call;
static ad_var mine(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "first", x, n));
    line_of_call = __LINE__ + 1;
    ad_var u = nn_dense_with(net, "second", h, n, .sigma_w = 2, .bias = true, .sigma_b = 0.5);
    return nn_readout(net, "readout", ad_add(u, h));
}

Test(program, reads_like_the_papers)
{
    static const char expected[] = "Netsor⊤ program of mine. Every vector is a family over the batch.\n"
                                   "Input U := first.weight : G(n) ~ N(0, 1)\n"
                                   "Input h1 := U x/√3 : G(n) ~ N(0, ⟨x, x⟩/3)\n"
                                   "Nonlin x1 := tanh(h1) : H(n)\n"
                                   "Input W := second.weight/√n : A(n, n) ~ N(0, 4/n)\n"
                                   "MatMul g1 := W x1 : G(n)\n"
                                   "Input b := second.bias : G(n) ~ N(0, 0.25)\n"
                                   "Nonlin x2 := g1 + b + x1 : H(n)\n"
                                   "Input v := readout.weight : G(n) ~ N(0, 1)\n"
                                   "Output f := √n ⟨x2, v⟩\n"
                                   "backward\n"
                                   "Trsp Wᵀ := W : A(n, n)\n"
                                   "MatMul dg1 := Wᵀ v : G(n) (1/√n)\n"
                                   "LinComb dx1 := v + dg1 : G(n) (1/√n)\n"
                                   "Nonlin dh1 := dx1 ⊙ (1 − square(x1)) : H(n) (1/√n)\n";
    nn_net *net;
    tp_program *program = translated(mine, &(nn_spec){ .features = 3, .name = "mine" }, &net);
    char *text = printed(program, TP_PAPER), place[64];
    snprintf(place, sizeof place, "test_program.c:%d\n", line_of_call);
    const char *matmul = strstr(text, "MatMul"), *end = strchr(matmul, '\n');
    cr_expect(strncmp(end + 1 - strlen(place), place, strlen(place)) == 0, "the MatMul's line is not at %s", place);
    plain(text);
    cr_expect(strncmp(text, expected, sizeof expected - 1) == 0, "%s", text);
    cr_expect(strstr(text, "Initialization assumption: holds. BP-like (Proposition 2): yes."), "%s", text);
    cr_expect(strstr(text, "σ in the initial deviation"), "%s", text);
    free(text);
    tp_program_free(program);
    nn_net_free(net);
}

Test(program, json_holds_every_line)
{
    nn_net *net;
    tp_program *program = translated(mine, &(nn_spec){ .features = 3 }, &net);
    char *text = printed(program, TP_JSON);
    cJSON *root = cJSON_Parse(text), *list = cJSON_GetObjectItem(root, "commands");
    cr_assert_eq(cJSON_GetArraySize(list), 13);
    cJSON *matmul = cJSON_GetArrayItem(list, 4);
    cr_expect_str_eq(cJSON_GetObjectItem(matmul, "command")->valuestring, "MatMul");
    cr_expect_str_eq(cJSON_GetObjectItem(matmul, "of")->valuestring, "W x1");
    cr_expect_eq(cJSON_GetObjectItem(matmul, "line")->valueint, line_of_call);
    cr_expect(cJSON_IsTrue(cJSON_GetObjectItem(root, "bp_like")));
    cJSON_Delete(root);
    free(text);
    tp_program_free(program);
    nn_net_free(net);
}

/* In every parametrization the variables are the same: an A-var N(0, sigma^2 / n), a G-var of order one. */
Test(program, scales_differ_in_their_origins_alone)
{
    static const char *const origins[] = { "W := second.weight/√n :", "W := second.weight :", "W := second.weight/√n :",
                                           "W := second.weight :" };
    for (int scale = NN_NTK; scale <= NN_MUP; scale++) {
        nn_net *net;
        tp_program *program =
            translated(mine, &(nn_spec){ .features = 3, .parametrization = (nn_parametrization)scale }, &net);
        char *text = printed(program, TP_PAPER);
        plain(text);
        cr_expect(strstr(text, origins[scale]), "%s", text);
        cr_expect(strstr(text, "A(n, n) ~ N(0, 4/n)"), "%s", text);
        cr_expect(strstr(text, "Nonlin x1 := tanh(h1) : H(n)"), "%s", text);
        free(text);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* ---- Proposition 2, each condition broken in turn ---- */
enum { NOTHING, MATRIX_MEAN, READOUT_MEAN, NOT_RANDOM, USED_TWICE, N_BROKEN };
static int broken;

static ad_var breaking(nn_net *net, ad_var x)
{
    ad_graph *graph = nn_graph(net);
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "first", x, n));
    ad_init within = {
        .axis = n, .deviation = 1, .deviation_power = -0.5, .multiplier = 1, .mean = broken == MATRIX_MEAN ? 0.5 : 0
    };
    ad_var w = ad_param(graph, "within", ad_shape_of(n, ad_prime(n)), within);
    h = ad_relu(ad_matmul(h, w));
    ad_init out = { .deviation = broken == NOT_RANDOM ? 0 : 1,
                    .mean = broken == READOUT_MEAN ? 1 : 0,
                    .multiplier = 1 };
    ad_var v = ad_param(graph, "out", ad_shape_of(n, nn_outputs(net)), out);
    ad_var f = ad_scale_by(ad_contract(h, v, ad_shape_of(n)), 1, n, -0.5);
    if (broken == USED_TWICE)
        f = ad_add(f, ad_scale_by(ad_contract(ad_tanh(h), v, ad_shape_of(n)), 1, n, -0.5));
    return f;
}

Test(program, broken_conditions_are_named)
{
    static const char *const says[] = { "", "within", "out is a readout whose mean",
                                        "out is a readout that is not drawn",
                                        "out is a readout that is used elsewhere" };
    for (broken = NOTHING; broken < N_BROKEN; broken++) {
        nn_net *net;
        tp_program *program = translated(breaking, &(nn_spec){ .features = 3 }, &net);
        tp_checks checks;
        int status = tp_check(program, &checks, NULL);
        cr_expect_eq(status, broken != NOTHING, "condition %d", broken);
        const bool holds[] = { checks.initialization, checks.readout_mean, checks.readout_independent,
                               checks.readout_unused };
        for (int i = 0; i < 4; i++) {
            cr_expect_eq(holds[i], i != broken - 1, "broken %d, condition %d", broken, i);
            cr_expect_eq(checks.text[i][0] == 0, holds[i]);
        }
        if (broken != NOTHING) {
            cr_expect(strstr(checks.text[broken - 1], says[broken]), "%s", checks.text[broken - 1]);
            cr_expect(strstr(checks.text[broken - 1], "test_program.c:"), "%s", checks.text[broken - 1]);
        }
        tp_program_free(program);
        nn_net_free(net);
    }
}

static ad_var averaged_output(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n);
    ad_var size = ad_mean(ad_square(h), ad_shape_of(n)); /* an average on the way, not to the output */
    h = ad_mul(h, ad_expand(ad_rsqrt(size), *ad_shape_get(h)));
    ad_var f =
        nn_setting_int(net, "average", 0, 0, 1) ? ad_mean(ad_relu(h), ad_shape_of(n)) : nn_readout(net, "out", h);
    return ad_expand(f, ad_shape_of(nn_batch(net), nn_outputs(net)));
}

Test(program, an_average_is_a_readout_that_is_not_centred)
{
    for (int average = 0; average < 2; average++) {
        const char *const settings[] = { average ? "average=1" : "average=0", NULL };
        nn_net *net;
        tp_program *program = translated(averaged_output, &(nn_spec){ .features = 3, .settings = settings }, &net);
        tp_checks checks;
        cr_expect_eq(tp_check(program, &checks, NULL), average);
        cr_expect_eq(checks.readout_mean, !average);
        cr_expect(!average || (strstr(checks.text[1], "in place of a readout") && strstr(checks.text[1], "program.c:")),
                  "%s", checks.text[1]);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* ---- what has no rule ---- */
static int refused_line;
static ad_var softmax_over_width(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n);
    refused_line = __LINE__ + 1;
    h = ad_softmax(h, n);
    return nn_readout(net, "readout", h);
}
/* The largest coordinate is the first of a sorted vector. */
static ad_var largest_over_width(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n);
    refused_line = __LINE__ + 1;
    ad_var most = ad_max(h, n);
    return nn_readout(net, "readout", ad_sub(h, ad_expand(most, *ad_shape_get(h))));
}
/* A sort or any other permutation is a gather along the width. */
static ad_var permuted(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), k = ad_fixed(nn_graph(net), "order", 4);
    ad_var h = nn_dense(net, "first", x, n), order = ad_constant(nn_graph(net), 1, ad_shape_of(k));
    refused_line = __LINE__ + 1;
    ad_var sorted = ad_gather(h, order, n);
    return ad_expand(ad_sum(ad_relu(sorted), ad_shape_of(k)), ad_shape_of(nn_batch(net), nn_outputs(net)));
}
static ad_var partition_over_width(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n);
    refused_line = __LINE__ + 1;
    ad_var sum = ad_logsumexp(h, n);
    return nn_readout(net, "readout", ad_sub(h, ad_expand(sum, *ad_shape_get(h))));
}
/* No graph has a matrix of this kind but by the outer product of two vectors. */
static ad_var outer_product(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 2);
    ad_var h = nn_dense(net, "first", x, n), g = nn_dense(net, "second", x, m);
    ad_shape both = ad_shape_of(nn_batch(net), n, m);
    refused_line = __LINE__ + 1;
    ad_var matrix = ad_expand(h, both);
    return nn_readout(net, "readout", ad_contract(ad_tanh(matrix), g, ad_shape_of(m)));
}
static ad_var matrix_by_entries(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1);
    ad_var h = nn_dense(net, "first", x, n);
    refused_line = __LINE__ + 1;
    ad_var square = ad_square(w.omega);
    return nn_readout(net, "readout", ad_matmul(h, square));
}
static ad_var two_matrices_by_entries(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight a = nn_make_weight(net, "a", n, n, 1), b = nn_make_weight(net, "b", n, n, 1);
    ad_var h = nn_dense(net, "first", x, n);
    refused_line = __LINE__ + 1;
    ad_var both = ad_mul(a.omega, b.omega);
    return nn_readout(net, "readout", ad_matmul(h, both));
}
static ad_var matrix_times_matrix(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 2), k = nn_width_ratio(net, "k", 3);
    nn_weight a = nn_make_weight(net, "a", n, m, 1), b = nn_make_weight(net, "b", m, k, 1);
    ad_var h = nn_dense(net, "first", x, n);
    refused_line = __LINE__ + 1;
    ad_var both = ad_contract(a.omega, b.omega, ad_shape_of(m));
    return nn_readout(net, "readout", ad_matmul(h, both));
}
Test(program, what_has_no_rule_is_refused_with_its_line)
{
    static const nn_function functions[] = { softmax_over_width,      largest_over_width, permuted,
                                             partition_over_width,    outer_product,      matrix_by_entries,
                                             two_matrices_by_entries, matrix_times_matrix };
    static const char *const says[] = { "softmax: it runs along the width axis n",
                                        "max: it runs along the width axis n",
                                        "gather: it runs along the width axis n",
                                        "logsumexp: it runs along the width axis n",
                                        "it makes a matrix (batch, n, m) of vectors",
                                        "w is used entry by entry",
                                        "is used entry by entry",
                                        "a product of two matrices" };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        ad_error error = { 0 };
        nn_net *net = nn_trace(functions[i], &(nn_spec){ .features = 3 }, &error);
        cr_assert(net, "%s", error.text);
        tp_program *program = tp_translate(net, &error);
        tp_kernel kernel;
        double x[3] = { 1, 0.5, -1 };
        if (program) {
            cr_expect_neq(tp_limit(program, TP_NTK, x, 1, NULL, 0, NULL, &kernel, &error), 0);
            tp_program_free(program);
        }
        char place[64];
        snprintf(place, sizeof place, "test_program.c:%d", refused_line);
        cr_expect(strstr(error.text, says[i]), "%s", error.text);
        cr_expect(strstr(error.text, place), "%s, not at line %d", error.text, refused_line);
        nn_net_free(net);
    }
}

Test(program, survives_every_failed_allocation)
{
    for (long k = 1;; k++) {
        ad_error error = { 0 };
        nn_net *net = nn_trace(mine, &(nn_spec){ .features = 3 }, NULL);
        cr_assert(net);
        char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);
        ad_hook_allocation(k);
        tp_program *program = tp_translate(net, &error);
        int failed = program ? tp_print(program, stream, TP_PAPER, &error) : -1;
        ad_hook_allocation(0);
        fclose(stream);
        free(text);
        tp_program_free(program);
        nn_net_free(net);
        if (!failed)
            break;
        cr_assert(strstr(error.text, "memory"), "allocation %ld: %s", k, error.text);
        cr_assert_lt(k, 10000);
    }
}

/* ---- filters: the same at all positions, and one for each ---- */
static ad_var convolved(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_conv(net, "first", x, n));
    return nn_readout(net, "readout", nn_global_pool(net, ad_tanh(nn_conv(net, "second", h, n))));
}

static ad_var local(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_conv(net, "first", x, n));
    return nn_readout(net, "readout", nn_global_pool(net, ad_tanh(nn_local(net, "second", h, n))));
}

static ad_var flat(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_conv(net, "first", x, n));
    return nn_readout(net, "readout",
                      nn_global_pool(net, ad_tanh(nn_local_with(net, "second", h, n, .filter = { 1, 3 }))));
}

Test(program, a_filter_shows_its_places)
{
    static const struct {
        nn_function function;
        const char *wanted, *backward;
    } cases[] = {
        { convolved, "W[offset3, offset4] x1[rows+offset3−1, columns+offset4−1]", "Wᵀ[offset3, offset4] dh2[" },
        { local, "W[rows, columns, offset3, offset4] x1[rows+offset3−1, columns+offset4−1]",
          "Wᵀ[rows, columns, offset3, offset4] dh2" },
        { flat, "Σ[offset3, offset4] W[rows, columns, offset3, offset4] x1[rows+offset3, columns+offset4−1]",
          "Wᵀ[rows, columns, offset3, offset4] dh2" },
    };
    for (int k = 0; k < 3; k++) {
        nn_net *net;
        tp_program *program = translated(cases[k].function, &(nn_spec){ .shape = { 4, 4, 1 } }, &net);
        char *text = printed(program, TP_PAPER);
        cr_expect(strstr(text, "U[offset, offset2] x[rows+offset−1, columns+offset2−1]"), "%s", text);
        cr_expect(strstr(text, cases[k].wanted), "%s", text);
        cr_expect(strstr(text, cases[k].backward), "%s", text);
        cr_expect_eq(strstr(text, "unwindows(") != NULL, strstr(text, "\nPlaces: unwindows(a)") != NULL, "%s", text);
        free(text);
        tp_program_free(program);
        nn_net_free(net);
    }
}
