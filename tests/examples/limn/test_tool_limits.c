/* Networks in C files whose limits are known in closed form (tests/reference/right_limits.json), and those that have
 * none: every one by the tool, as its users ask for it. The files are in tests/examples/limn/networks. */
#include "tests/support/reference.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TOOL_SUITE(tool_limits);

static const double x[4][3] = { { 1, 1, 1 }, { 1.2, 0.9, 1 }, { 0.5, -0.7, 1.1 }, { -1.3, 0.4, 0.2 } };
static const double y[4] = { 0.5, -1, 1, 0.25 };

static void expect_file(const char *file, const double *right, size_t count, const char *what)
{
    ds_array a = get_array(file);
    for (size_t i = 0; i < count; i++)
        cr_expect(fabs(a.data[i] - right[i]) < 1e-12 * fmax(1, fabs(right[i])), "%s: %.17g at %zu, %.17g is right",
                  what, a.data[i], i, right[i]);
    ds_array_free(&a);
}

/* ---- one number an entry ---- */
Test(tool_limits, networks_with_closed_forms)
{
    static const struct {
        const char *name, *inputs;
        size_t rows;
    } rows[] = {
        { "centred", "x.npy", 4 },
        { "table_row", "tokens.npy", 4 },
        { "gated_output", "x.npy", 4 },
        { "square_of_abs", "unit.npy", 3 },
    };
    reference *ref = reference_read("right_limits");
    put_array("x.npy", x[0], 4, 3);
    put_array("tokens.npy", reference_array(ref, "table_row.inputs", 4), 4, 1);
    put_array("unit.npy", reference_array(ref, "square_of_abs.inputs", 9), 3, 3);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        for (int nngp = 0; nngp < 2; nngp++) {
            char key[64], file[64];
            const char *kernel = nngp ? "nngp" : "ntk";
            snprintf(key, sizeof key, "%s.%s", rows[k].name, kernel);
            snprintf(file, sizeof file, "%s.c", rows[k].name);
            bring(file);
            outcome r = limn("kernel %s --inputs %s --kernel %s --out k.npy", file, rows[k].inputs, kernel);
            cr_assert(r.status == 0, "%s: %s", key, r.err);
            expect_file("k.npy", reference_array(ref, key, rows[k].rows * rows[k].rows), rows[k].rows * rows[k].rows,
                        key);
        }
    limn("kernel gated_output.c --inputs x.npy --at-width 1024 --out k.npy");
    expect_file("k.npy", reference_array(ref, "gated_output.ntk", 16), 16, "one power of n");
    reference_free(ref);
}

/* ---- outputs that are not alike, or share something ---- */
Test(tool_limits, each_output_its_own_kernel)
{
    reference *ref = reference_read("right_limits");
    double full[64] = { 0 }, mean[16] = { 0 };
    put_array("x.npy", x[0], 4, 3);
    bring("two_heads.c");
    for (int nngp = 0; nngp < 2; nngp++) {
        const double *own = reference_array(ref, nngp ? "two_heads.nngp_outputs" : "two_heads.ntk_outputs", 32);
        for (int i = 0; i < 16; i++) {
            full[4 * i] = own[i];
            full[4 * i + 3] = own[16 + i];
            mean[i] = (own[i] + own[16 + i]) / 2;
        }
        const char *kernel = nngp ? "nngp" : "ntk";
        limn("kernel two_heads.c --set outputs=2 --inputs x.npy --kernel %s --outputs full --out full.npy", kernel);
        limn("kernel two_heads.c --set outputs=2 --inputs x.npy --kernel %s --out mean.npy", kernel);
        expect_file("full.npy", full, 64, "between outputs");
        expect_file("mean.npy", mean, 16, "their mean");
    }
    reference_free(ref);
}

#define NETWORK(lines)                                                                                                 \
    "#include \"limn.h\"\nad_var limn_network(nn_net *net, ad_var x)\n{\n"                                             \
    "    ad_axis n = nn_width(net, \"n\"), one = ad_fixed(nn_graph(net), \"one\", 1);\n"                               \
    "    ad_var h = ad_erf(nn_dense(net, \"d1\", x, n));\n" lines "}\n"

/* Outputs alone, by their own networks at half of the time: the loss has 1/k of two outputs. */
Test(tool_limits, unlike_outputs_are_predicted_each_by_its_own_kernel)
{
    static const double two[4][2] = { { 0.5, 1 }, { -1, 0.25 }, { 1, -2 }, { 0.25, 0.5 } };
    static const double tests[2][3] = { { 0.3, 0.3, -1 }, { 2, -1, 0.1 } };
    double column[2][4];
    for (int i = 0; i < 8; i++)
        column[i % 2][i / 2] = two[i / 2][i % 2];
    put_array("x.npy", x[0], 4, 3);
    put_array("x2.npy", tests[0], 2, 3);
    put_array("y.npy", two[0], 4, 2);
    put_array("y0.npy", column[0], 4, 0);
    put_array("y1.npy", column[1], 4, 0);
    bring("two_heads.c");
    put_text("head0.c", NETWORK("    return nn_apply(nn_make_weight(net, \"r1\", n, one, 1), h);\n"));
    put_text("head1.c", NETWORK("    ad_var h2 = ad_erf(nn_dense_with(net, \"d2\", h, n, .sigma_w = 3));\n"
                                "    return nn_apply(nn_make_weight(net, \"r2\", n, one, 2), h2);\n"));
    works("predict two_heads.c --set outputs=2 --inputs x.npy --labels y.npy --inputs2 x2.npy --times 2,20 --out f.npy "
          "--covariance c.npy");
    works("predict head0.c --inputs x.npy --labels y0.npy --inputs2 x2.npy --times 1,10 --out f0.npy --covariance "
          "c0.npy");
    works("predict head1.c --inputs x.npy --labels y1.npy --inputs2 x2.npy --times 1,10 --out f1.npy --covariance "
          "c1.npy");
    ds_array f = get_array("f.npy"), c = get_array("c.npy");
    for (int o = 0; o < 2; o++) {
        ds_array g = get_array(o ? "f1.npy" : "f0.npy"), d = get_array(o ? "c1.npy" : "c0.npy");
        for (int i = 0; i < 4; i++)
            cr_expect_float_eq(f.data[2 * i + o], g.data[i], 1e-9, "output %d, %d", o, i);
        for (int i = 0; i < 8; i++) { /* (times, tests x outputs, tests x outputs) */
            int t = i / 4, a = i / 2 % 2, b = i % 2;
            cr_expect_float_eq(c.data[16 * t + 4 * (2 * a + o) + 2 * b + o], d.data[i], 1e-9, "output %d, %d", o, i);
        }
        ds_array_free(&g);
        ds_array_free(&d);
    }
    ds_array_free(&f);
    ds_array_free(&c);
}

/* f_0 = v h, f_1 = v h + w h: twice K, and K between; all outputs with a part in common: likewise 2 K and K. */
Test(tool_limits, outputs_that_share_a_readout_are_not_independent)
{
    put_array("x.npy", x[0], 4, 3);
    put_text("alone.c", NETWORK("    return nn_apply(nn_make_weight(net, \"v\", n, one, 1), h);\n"));
    put_text("joined.c", NETWORK("    ad_var a = nn_apply(nn_make_weight(net, \"v\", n, one, 1), h);\n"
                                 "    ad_var b = nn_apply(nn_make_weight(net, \"w\", n, one, 1), h);\n"
                                 "    ad_var y[2] = { a, ad_add(a, b) };\n"
                                 "    return ad_concat(y, 2, (ad_axis[]){ one, one }, nn_outputs(net));\n"));
    put_text("common.c", NETWORK("    ad_var s = ad_take(nn_apply(nn_make_weight(net, \"s\", n, one, 1), h), one, 0);\n"
                                 "    ad_var y = nn_readout(net, \"r\", h);\n"
                                 "    return ad_add(y, ad_expand(s, *ad_shape_get(y)));\n"));
    for (int nngp = 0; nngp < 2; nngp++) {
        double joined[64], common[64];
        const char *kernel = nngp ? "nngp" : "ntk";
        limn("kernel alone.c --inputs x.npy --kernel %s --out k.npy", kernel);
        ds_array k = get_array("k.npy");
        for (int i = 0; i < 64; i++) {
            joined[i] = (i % 4 == 3 ? 2 : 1) * k.data[i / 4];
            common[i] = (i % 4 % 3 == 0 ? 2 : 1) * k.data[i / 4];
        }
        ds_array_free(&k);
        limn("kernel joined.c --set outputs=2 --inputs x.npy --kernel %s --outputs full --out j.npy", kernel);
        limn("kernel common.c --set outputs=2 --inputs x.npy --kernel %s --outputs full --out c.npy", kernel);
        expect_file("j.npy", joined, 64, "joined");
        expect_file("c.npy", common, 64, "common");
    }
}

/* U' relu(U x) / sqrt n, an autoencoder with tied weights: each feature's output has another kernel, its own. Of the
 * NTK, which has no exact rule, a mean over wide networks and the samples agree; the NNGP kernel grows like n. */
Test(tool_limits, outputs_that_have_no_exact_rule_are_sampled_each)
{
    put_array("x.npy", x[0], 4, 3);
    put_text("tied.c", "#include \"limn.h\"\nad_var limn_network(nn_net *net, ad_var x)\n{\n"
                       "    ad_axis n = nn_width(net, \"n\"), in = ad_fixed(nn_graph(net), \"features\", 3);\n"
                       "    nn_weight u = nn_make_weight(net, \"u\", in, n, 1);\n"
                       "    ad_var back = ad_contract(ad_relu(nn_apply(u, x)), u.omega, ad_shape_of(n));\n"
                       "    return ad_relabel(ad_scale_by(back, 1, n, -0.5), in, nn_outputs(net));\n}\n");
    fails("kernel tied.c --set outputs=3 --inputs x.npy --kernel nngp", 1,
          "between outputs 0 and 0 the kernel goes like n^1: give --at-width N");
    outcome r = works("kernel tied.c --set outputs=3 --inputs x.npy --out k.npy --samples 16384");
    cr_expect(strstr(r.err, "by samples, for there is no exact rule: tied.c:5"), "%s", r.err);
    cr_expect(!strstr(strstr(r.err, "by samples") + 1, "by samples"), "told once: %s", r.err);
    works("kernel tied.c --set outputs=3 --inputs x.npy --width 1024 --seeds 64 --seed 7 --out w.npy");
    ds_array k = get_array("k.npy"), w = get_array("w.npy");
    for (int i = 0; i < 16; i++) /* 64 networks' mean spreads by 0.003 of its size */
        cr_expect_float_eq(w.data[i], k.data[i], 0.02 * sqrt(k.data[i / 4 * 5] * k.data[i % 4 * 5]), "%d: %g, %g", i,
                           w.data[i], k.data[i]);
    ds_array_free(&k);
    ds_array_free(&w);
}

/* ---- a rate of 0 ---- */
Test(tool_limits, what_does_not_learn_is_not_predicted_to)
{
    reference *ref = reference_read("right_limits");
    put_array("x.npy", x[0], 4, 3);
    put_array("y.npy", reference_array(ref, "frozen_readout.labels", 4), 4, 0);
    bring("frozen_readout.c");
    static const char *const ways[] = { "--set rate=0", "--set rate=1 --freeze v", "--set rate=1" };
    for (int way = 0; way < 3; way++) {
        char object[64];
        static const char *const times[] = { "1", "10", "100" };
        snprintf(object, sizeof object, "train_loss_rate_%d", way == 2);
        outcome r =
            limn("predict frozen_readout.c %s --inputs x.npy --labels y.npy --times 1,10,100 --json", ways[way]);
        cr_assert(r.status == 0, "%s", r.err);
        const char *at = r.out;
        for (int k = 0; k < 3; k++) {
            char key[96];
            snprintf(key, sizeof key, "frozen_readout.%s.%s", object, times[k]);
            at = strstr(at + (k > 0), "\"train\":");
            cr_assert(at && (at = strstr(at, "\"loss\":")), "%s", r.out);
            double loss = strtod(at + 7, NULL), right = *reference_array(ref, key, 1);
            cr_expect(fabs(loss - right) < 1e-11, "%s: %.17g, %.17g is right", key, loss, right);
        }
    }
    reference_free(ref);
}

/* ---- what stays random ---- */
/* In every command, by every engine, with the line, the order of what fluctuates, and what to ask for. */
static void expect_random(const char *file, const char *settings, bool nngp_too)
{
    static const char *const engines[] = { "auto", "exact", "sample" };
    char line[400], place[64];
    snprintf(place, sizeof place, "%s:", file);
    for (int engine = 0; engine < 3; engine++)
        for (int nngp = 0; nngp < 1 + nngp_too; nngp++) {
            snprintf(line, sizeof line, "kernel %s %s --inputs x.npy --engine %s --kernel %s", file, settings,
                     engines[engine], nngp ? "nngp" : "ntk");
            fails(line, 1, place);
            fails(line, 1, "fluctuations, of order");
            fails(line, 1, "ask for that of the network that returns what stands before");
        }
    snprintf(line, sizeof line, "predict %s %s --inputs x.npy --labels y.npy --times 1", file, settings);
    fails(line, 1, "stays random");
}

Test(tool_limits, what_stays_random_is_refused)
{
    static const struct {
        const char *name, *text, *settings;
        bool nngp_too;
    } rows[] = {
        { "log_softmax.c",
          NETWORK(
              "    ad_var f = nn_readout(net, \"r\", ad_mul(h, ad_expand(ad_constant(nn_graph(net), one.id ? 1 : 2, "
              "(ad_shape){ 0 }), *ad_shape_get(h))));\n"
              "    return ad_sub(f, ad_expand(ad_logsumexp(f, nn_outputs(net)), *ad_shape_get(f)));\n"),
          "", true },
        { "temperature.c",
          NETWORK("    ad_var t = ad_param(nn_graph(net), \"t\", (ad_shape){ 0 }, (ad_init){ .mean = 1, .rate = 1, "
                  ".multiplier = 1 });\n"
                  "    return ad_div(nn_apply(nn_make_weight(net, \"v\", n, one, 1), h), t);\n"),
          "", false },
        { "bottleneck.c",
          NETWORK("    ad_var b = nn_dense(net, \"b\", h, ad_fixed(nn_graph(net), \"three\", 3)); (void)one;\n"
                  "    return nn_readout(net, \"r\", ad_erf(nn_dense(net, \"e\", b, n)));\n"),
          "", true },
        { "linear_bottleneck.c",
          NETWORK("    (void)one;\n"
                  "    return nn_readout(net, \"r\", nn_dense(net, \"b\", h, ad_fixed(nn_graph(net), \"two\", 2)));\n"),
          "", true },
        { "positions.c",
          NETWORK("    ad_axis f = ad_shape_get(x)->axes[1];\n"
                  "    ad_var p = ad_param(nn_graph(net), \"p\", ad_shape_of(f), (ad_init){ .deviation = 1, .rate = 1, "
                  ".multiplier = 1 });\n"
                  "    ad_var u = nn_dense(net, \"u\", ad_tanh(ad_add(x, p)), n); (void)h;\n"
                  "    return nn_apply(nn_make_weight(net, \"v\", n, one, 1), ad_erf(u));\n"),
          "", true },
        { "bounded.c", NETWORK("    return ad_tanh(nn_apply(nn_make_weight(net, \"v\", n, one, 1), h));\n"), "", true },
    };
    put_array("x.npy", x[0], 4, 3);
    put_array("y.npy", y, 4, 0);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        put_text(rows[k].name, rows[k].text);
        expect_random(rows[k].name, rows[k].settings, rows[k].nngp_too);
    }
    bring("softmax_output.c");
    bring("learned_gain.c");
    expect_random("softmax_output.c", "", true);
    expect_random("learned_gain.c", "", false);
}

/* ---- without a width ---- */
Test(tool_limits, a_network_without_a_width_has_its_kernels)
{
    double data[16];
    for (int i = 0; i < 16; i++) {
        const double *a = x[i / 4], *b = x[i % 4];
        data[i] = (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / 3;
    }
    put_array("x.npy", x[0], 4, 3);
    put_array("y.npy", y, 4, 0);
    put_text("linear.c", "#include \"limn.h\"\nad_var limn_network(nn_net *net, ad_var x)\n{\n"
                         "    return nn_readout(net, \"v\", x);\n}\n");
    outcome r = works("kernel linear.c --inputs x.npy");
    cr_expect(strstr(r.out, "does not depend on n"), "%s", r.out);
    works("kernel linear.c --inputs x.npy --out k.npy");
    expect_file("k.npy", data, 16, "NTK");
    works("kernel linear.c --inputs x.npy --kernel nngp --out k.npy");
    expect_file("k.npy", data, 16, "NNGP");
    works("kernel linear.c --inputs x.npy --width 7 --dtype double --out k.npy");
    expect_file("k.npy", data, 16, "at a width");
    works("program linear.c");
    works("predict linear.c --inputs x.npy --labels y.npy --times 1,10");
    put_text("bent.c", "#include \"limn.h\"\nad_var limn_network(nn_net *net, ad_var x)\n{\n"
                       "    return ad_tanh(nn_readout(net, \"v\", x));\n}\n");
    expect_random("bent.c", "", true);
}

/* The kernels that a run of training starts at, of all four rows, held against the mean of the heads' limits. */
Test(tool_limits, drift_is_held_against_the_mean_of_the_outputs)
{
    double two[8] = { 0.5, -1, 1, 0.25, -0.5, 1, 0, 2 }, off = 0, size = 0;
    put_array("x.npy", x[0], 4, 3);
    put_array("y.npy", two, 4, 2);
    bring("two_heads.c");
    works("train two_heads.c --set outputs=2 --inputs x.npy --labels y.npy --loss square --width 64 --dtype double "
          "--steps 1 --drift d.csv");
    works("kernel two_heads.c --set outputs=2 --inputs x.npy --width 64 --out own.npy");
    works("kernel two_heads.c --set outputs=2 --inputs x.npy --out limit.npy");
    ds_array own = get_array("own.npy"), limit = get_array("limit.npy");
    for (int i = 0; i < 16; i++) {
        off += pow(own.data[i] - limit.data[i], 2);
        size += pow(limit.data[i], 2);
    }
    size_t length;
    char *text = slurp(in("d.csv"), &length), *at = strchr(text, '\n');
    for (int comma = 0; comma < 7 && at; comma++)
        at = strchr(at + 1, ',');
    cr_assert(at, "%s", text);
    cr_expect(fabs(strtod(at + 1, NULL) / sqrt(off / size) - 1) < 1e-8, "%s: not %.10g", text, sqrt(off / size));
    ad_free(text);
    ds_array_free(&own);
    ds_array_free(&limit);
}

/* What is random at every width has no limit to be held against: the line is told. */
Test(tool_limits, drift_and_report_of_random_outputs)
{
    enum { ROWS = 400 };
    char *text = ad_alloc(ROWS * 60 + 20, 1, "a table", NULL), *at = text;
    cr_assert(text);
    at += sprintf(at, "a,b,c,class\n");
    for (int i = 0; i < ROWS; i++)
        at += sprintf(at, "%.6f,%.6f,%.6f,%s\n", sin(8.1 * i), sin(1 + 2.7 * i), cos(5.3 * i), i % 3 ? "yes" : "no");
    put_text("data.csv", text);
    ad_free(text);
    bring("softmax_output.c");
    outcome r = works("train softmax_output.c --set outputs=2 --data data.csv --width 16 --steps 1 --probes 4 "
                      "--drift d.csv");
    cr_expect(strstr(r.err, "from_limit stays empty") && strstr(r.err, "softmax_output.c:7"), "%s", r.err);
    fails("report softmax_output.c --set outputs=2 --data data.csv --widths 16,32,64 --seeds 2", 1,
          "softmax_output.c:7");
}

/* ---- programs by hand ---- */
Test(tool_limits, small_numbers_are_told)
{
    put_text("small.tp", "Input x : G(n) ~ N(0, 1e-20)\nInput y : G(n) ~ N(1e-12, 4e-20), Cov(y, x) = 1e-20\n");
    outcome r = works("limit small.tp");
    static const char *const lines[] = { "Var x ", "1e-20\n", "Var y ", "4e-20\n", "Cov(x, y) ", "E y ", "1e-12\n" };
    for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
        cr_expect(strstr(r.out, lines[k]), "no %s in %s", lines[k], r.out);
}

Test(tool_limits, a_long_text_prints_variances_and_what_is_asked)
{
    enum { LINES = 2000 };
    char *text = ad_alloc(LINES * 60 + 200, 1, "a text", NULL), *at = text;
    at += sprintf(at, "Input W : A(n, n) ~ N(0, 1/n)\nInput x : G(n) ~ N(0, 1)\nMatMul g0 := W x\n");
    for (int k = 1; k <= LINES; k++)
        at += sprintf(at, "LinComb g%d := 0.5 g%d + 0.5 x\n", k, k - 1);
    put_text("long.tp", text);
    ad_free(text);
    outcome r = works("limit long.tp --psi g1*g2");
    cr_expect(strstr(r.out, "Var g2000") && strstr(r.out, "E g1*g2") && strstr(r.out, "0.5\n"), "%s", r.out);
    cr_expect(strstr(r.out, "Covariances are not listed") && !strstr(r.out, "Cov("), "%s", r.out);
    r = works("limit long.tp --json");
    cr_expect(strstr(r.out, "\"covariances\":false"), "%.300s", r.out);
}
