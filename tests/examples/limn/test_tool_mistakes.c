/* A network's own mistakes, each told in one line with the file and line of the call, in every command, at a width and
 * in the limit; and users' functions, the wrong and the right ones. */
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <string.h>

TOOL_SUITE(tool_mistakes);

#define TOP "#include \"limn.h\"\n#include <math.h>\n"
#define OTHER "static ad_graph *other; __attribute__((destructor)) static void end(void) { ad_graph_free(other); } "
/* Line 9 of the file is the first of `lines`. */
#define NETWORK(lines)                                                                                                 \
    TOP OTHER "ad_var limn_network(nn_net *net, ad_var x)\n{\n"                                                        \
              "    ad_graph *graph = nn_graph(net); other = other ? other : ad_graph_new(NULL);\n"                     \
              "    ad_axis n = nn_width(net, \"n\"), p = ad_fixed(other, \"p\", 3), m = ad_width(other, \"m\", 1);\n"  \
              "    ad_var h = nn_dense(net, \"h\", x, n), none = { 0 }, y = ad_constant(other, 1, ad_shape_of(p));\n"  \
              "    (void)graph; (void)m; (void)h; (void)none; (void)y;\n" lines "}\n"
#define READ(what) "    return nn_readout(net, \"v\", " what ");\n"

static void put_data(void)
{
    static const double x[4][3] = { { 1, 1, 1 }, { 1.2, 0.9, 1 }, { 0.5, -0.7, 1.1 }, { -1.3, 0.4, 0.2 } };
    static const double y[4] = { 1, 0, 1, 0 };
    put_array("x.npy", x[0], 4, 3);
    put_array("y.npy", y, 4, 0);
}

static void expect_told(const char *text, const char *told)
{
    put_text("own.c", text);
    fails("kernel own.c --inputs x.npy", 1, told);
    fails("kernel own.c --inputs x.npy --kernel nngp --width 8", 1, told);
    fails("program own.c --inputs x.npy", 1, told);
    fails("predict own.c --inputs x.npy --labels y.npy", 1, told);
    fails("train own.c --inputs x.npy --labels y.npy --width 8 --steps 1", 1, told);
}

Test(tool_mistakes, of_axes_variables_and_names)
{
    static const char *const rows[][2] = {
        { NETWORK(READ("ad_relu(nn_dense(net, \"a\", x, m))")), "own.c:9: a.weight: an axis of another network" },
        { NETWORK(READ("ad_sum(h, ad_shape_of(m))")), "own.c:9: sum: an axis of another network" },
        { NETWORK(READ("ad_take(x, p, 0)")), "own.c:9: slice: an axis of another network" },
        { NETWORK(READ("ad_slice(x, ad_shape_get(x)->axes[1], 0, -1, ad_fixed(graph, \"q\", 1))")),
          "own.c:9: slice: axis features and its part q must be fixed axes, the part of size -1" },
        { NETWORK(READ("ad_scale_by(h, 1, m, -0.5)")), "own.c:9: scale: an axis of another network" },
        { NETWORK("    ad_axis z = { 0 };\n" READ("nn_dense(net, \"a\", x, z)")),
          "own.c:10: a.weight: an axis that was never set" },
        { NETWORK("    ad_axis z = { .id = 77 };\n" READ("ad_mean(h, ad_shape_of(z))")), "own.c:10: sum: an axis" },
        { NETWORK(READ("ad_add(h, y)")), "own.c:9: add: the arguments are of two graphs" },
        { NETWORK(READ("nn_dense(net, \"a\", ad_tanh(y), n)")),
          "own.c:9: dense a: its input is a variable of another" },
        { NETWORK("    return ad_tanh(y);\n"), "own.c:9: the network returns a variable of another network" },
        { NETWORK(READ("ad_relu(none)")), "own.c:9: relu: its argument is a variable that was never set" },
        { NETWORK(READ("ad_mul(none, h)")), "own.c:9: mul: its first argument is a variable that was never set" },
        { NETWORK(READ("nn_layernorm(net, \"a\", none)")), "own.c:9: layernorm: its argument is a variable that was" },
        { NETWORK("    nn_weight w = { 0 };\n" READ("nn_apply(w, h)")), "own.c:10: matmul: its second argument is a" },
        { NETWORK("    return (ad_var){ 0 };\n"), "returns nothing" },
        { NETWORK("    return ad_concat(NULL, 0, NULL, nn_outputs(net));\n"), "own.c:9: concat" },
        { NETWORK(READ("ad_unary_at(AD_HERE, AD_CONTRACT, h, 0)")), "own.c:9: unary: " },
        { NETWORK(READ("ad_unary_at(AD_HERE, (ad_op)-7, h, 0)")), "own.c:9: unary: -7 is no coordinatewise op" },
        { NETWORK(READ("ad_unary_at(AD_HERE, AD_CUSTOM, h, 0)")), "own.c:9: unary: " },
        { NETWORK(READ("ad_binary_at(AD_HERE, AD_TANH, h, h)")), "own.c:9: binary: " },
        { NETWORK(READ("nn_dense(net, NULL, h, n)")), "own.c:9: dense: its name is missing" },
        { NETWORK(READ("nn_activation(net, NULL, h)")), "own.c:9: activation: its name is missing" },
        { NETWORK("    nn_setting_int(net, NULL, 1, 0, 2);\n" READ("h")), "own.c:9: setting: its key is missing" },
        { NETWORK("    nn_setting_text(net, \"phi\", NULL);\n" READ("h")), "own.c:9: setting: its default is missing" },
        { NETWORK(READ("ad_custom((const ad_function *)NULL, h)")), "own.c:9: custom: the function is missing" },
        { NETWORK(
              "    ad_axis a[11];\n    for (int k = 0; k < 11; k++)\n"
              "        a[k] = ad_fixed(graph, nn_name(net, \"a%d\", k), 2);\n" READ("ad_sum(h, ad_shape_make(11, a))")),
          "own.c:12: sum: more than 10 axes" },
    };
    put_data();
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        expect_told(rows[k][0], rows[k][1]);
}

Test(tool_mistakes, a_function_that_forgets_its_return_does_not_compile)
{
    put_data();
    put_text("own.c", NETWORK("    h = ad_relu(h);\n"));
    outcome r = limn("kernel own.c --inputs x.npy");
    cr_expect(r.status == 1 && strstr(r.err, "own.c:10:") && strstr(r.err, "limn: own.c: it does not compile"), "%s",
              r.err);
    put_text("own.c", NETWORK(READ("nn_dense(net, 3, h, n)")));
    r = limn("kernel own.c --inputs x.npy");
    cr_expect(r.status == 1 && strstr(r.err, "own.c:9:") && strstr(r.err, "limn: own.c: it does not compile"), "%s",
              r.err);
}

/* ---- users' functions ---- */
/* f and its derivative in t, d2 NULL or its second one, of `argument`; used in line 8. */
typedef struct {
    const char *f, *d, *d2, *kinks, *argument, *told;
} row;

static void put_function(const row *r)
{
    char text[2048];
    const char *kinks = r->kinks ? r->kinks : "";
    int count = *kinks != 0;
    for (const char *at = kinks; *at; at++)
        count += *at == ',';
    snprintf(text, sizeof text,
             TOP "#define LOOP(name, v) static void name(size_t n, const double *x, double *y) { for (size_t i = 0; "
                 "i < n; i++) { double t = x[i]; y[i] = v; } }\n"
                 "LOOP(f0, %s)\nLOOP(f1, %s)\nLOOP(f2, %s)\n"
                 "static const ad_function own = { \"own\", %d, { f0, f1, f2 }, %d, { %s } };\n"
                 "ad_var limn_network(nn_net *net, ad_var x)\n{\n"
                 "    ad_var h = nn_dense(net, \"h\", x, nn_width(net, \"n\"));\n"
                 "    return nn_readout(net, \"v\", ad_custom(&own, %s));\n}\n",
             r->f, r->d, r->d2 ? r->d2 : "t", r->d2 ? 3 : 2, count, count ? kinks : "0",
             r->argument ? r->argument : "h");
    put_text("own.c", text);
}

Test(tool_mistakes, wrong_functions_are_told)
{
    static const row rows[] = {
        { "tanh(t)", "1 - tanh(t)", .told = "derivative 1 at " },
        { "cos(t)", "sin(t)", .told = "derivative 1 at " },
        { "tanh(t)", "1.01 * (1 - tanh(t) * tanh(t))", .told = "differences of the function give " },
        { "tanh(50 * t)", "1 - pow(tanh(50 * t), 2)", .told = "derivative 1 at " },
        { "tanh(t)", "1 - tanh(t) * tanh(t)", "2 * tanh(t)", .told = "derivative 2 at " },
        { "t > 0 ? t : 0", "t > 0", .told = "derivative 1 jumps by 1 at 0, which is none of the 0 kinks stated" },
        { "t > 0 ? t : 0", "t > 0", .kinks = "1", .told = "derivative 1 jumps by 1 at 0" },
        { "t > 0 ? t : 0", "t > 0", .kinks = "0.01", .told = "derivative 1 jumps by 1 at 0" },
        { "t > 6 ? 6 : t > 0 ? t : 0", "t > 0 && t < 6", .kinks = "0", .told = "derivative 1 jumps by -1 at 6" },
        { "t > 0 ? t : 0.99 * t", "t > 0 ? 1 : 0.99", .told = "derivative 1 jumps by 0.01 at 0" },
        { "t > 0.3", "0 * t", .told = "the function jumps by 1 at 0.3" },
        { "fabs(t) < 1 ? t * t / 2 : fabs(t) - 0.5", "fabs(t) < 1 ? t : t > 0 ? 1 : -1", "fabs(t) < 1",
          .told = "derivative 2 jumps by 1 at -1" },
        { "log(t)", "1 / t", .told = "the value at -5 is " },
        { "t > 2 ? NAN : t", "0 * t + 1", .told = "the value at " },
        { "sin(t) / t", "(t * cos(t) - sin(t)) / (t * t)", .told = "the value at 0 is " },
        { "1 / (t - 1)", "-1 / ((t - 1) * (t - 1))", .told = "the value at 1 is inf" },
        { "1 / (t - 0.3)", "-1 / ((t - 0.3) * (t - 0.3))", .told = "pole at 0.3" },
        { "NAN * t", "NAN * t", .argument = "ad_tanh(h)", .told = "no finite value" },
        { "t", "0 * t + 1", .kinks = "NAN", .told = "kink 0 is at nan" },
    };
    put_data();
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        put_function(&rows[k]);
        fails("kernel own.c --inputs x.npy", 1, rows[k].told);
        fails("kernel own.c --inputs x.npy", 1, "own.c:11: own: ");
        fails("kernel own.c --inputs x.npy --width 4", 1, rows[k].told);
    }
}

Test(tool_mistakes, right_functions_are_taken)
{
    static const row rows[] = {
        { "tanh(t)", "1 - tanh(t) * tanh(t)", "-2 * tanh(t) * (1 - tanh(t) * tanh(t))", .told = NULL },
        { "tanh(50 * t)", "50 * (1 - pow(tanh(50 * t), 2))", .told = NULL },
        { "tanh(1e6 * t)", "1e6 * (1 - pow(tanh(1e6 * t), 2))", .told = NULL },
        { "sin(1000 * t)", "1000 * cos(1000 * t)", .told = NULL },
        { "exp(-1000 * t * t)", "-2000 * t * exp(-1000 * t * t)", .told = NULL },
        { "1e8 + tanh(t)", "1 - tanh(t) * tanh(t)", .told = NULL },
        { "1e-12 * tanh(t)", "1e-12 * (1 - tanh(t) * tanh(t))", .told = NULL },
        { "(double)tanhf((float)t)", "1 - (double)(tanhf((float)t) * tanhf((float)t))", .told = NULL },
        { "exp(t * t)", "2 * t * exp(t * t)", .told = NULL },
        { "t > 30 ? t : log1p(exp(t))", "1 / (1 + exp(-t))", "1 / (2 + exp(t) + exp(-t))", .told = NULL },
        { "t > 0 ? t : 0", "t > 0", .kinks = "0" },
        { "t > 6 ? 6 : t > 0 ? t : 0", "t > 0 && t < 6", .kinks = "0, 6" },
        { "t > 0.3", "0 * t", .kinks = "0.3" },
        { "fabs(t) * fabs(t)", "2 * t", .kinks = "0" },
        { "sqrt(fabs(t))", "t == 0 ? 0 : copysign(0.5 / sqrt(fabs(t)), t)", .kinks = "0" },
        { "fabs(t) < 1 ? t * t / 2 : fabs(t) - 0.5", "fabs(t) < 1 ? t : t > 0 ? 1 : -1", "fabs(t) < 1",
          .kinks = "-1, 1" },
        { "0 * t + 3", "0 * t", .told = NULL },
        { "log(t)", "1 / t", .argument = "ad_exp(h)" },
        { "atanh(t)", "1 / (1 - t * t)", .argument = "ad_tanh(h)" },
        { "1 / (t - 2)", "-1 / ((t - 2) * (t - 2))", .argument = "ad_tanh(h)" },
    };
    put_data();
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        put_function(&rows[k]);
        works("kernel own.c --inputs x.npy --width 4 --dtype double");
    }
}

/* ---- NaN is no class ---- */
Test(tool_mistakes, outputs_that_are_nan_count_as_wrong)
{
    static const double x[4][1] = { { -1 }, { -2 }, { 1 }, { 2 } }, y[4] = { 0, 0, 0, 1 };
    put_array("x.npy", x[0], 4, 1);
    put_array("y.npy", y, 4, 0);
    put_text("own.c",
             TOP "ad_var limn_network(nn_net *net, ad_var x)\n{\n"
                 "    ad_var f = nn_readout(net, \"v\", nn_dense(net, \"a\", x, nn_width(net, \"n\")));\n"
                 "    return ad_add(ad_scale(f, 0), ad_expand(ad_sqrt(ad_take(x, ad_shape_get(x)->axes[1], 0)), "
                 "*ad_shape_get(f)));\n}\n");
    static const double positive[4][1] = { { 1 }, { 2 }, { 3 }, { 4 } };
    put_array("positive.npy", positive[0], 4, 1);
    works("train own.c --inputs positive.npy --labels y.npy --width 4 --steps 1 --out w.safetensors");
    outcome r = works("eval own.c --inputs x.npy --labels y.npy --weights w.safetensors");
    cr_expect(strstr(r.out, "NaN count as wrong"), "%s", r.out);
    cr_expect(strstr(r.out, "accuracy 25.00 %") || strstr(r.out, "accuracy 50.00 %"), "%s", r.out);
}
