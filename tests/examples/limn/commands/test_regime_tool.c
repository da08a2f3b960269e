/* limn regime as its users run it: the verdict with its line, exponents of one's own, the coordinate check. */
#include "autodiff/autodiff.h"
#include "tests/support/tool.h"

#include <cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TOOL_SUITE(regime_tool);

Test(regime_tool, tells_what_breaks)
{
    outcome r = works("regime mlp --set depth=2 --scale standard");
    cr_expect(strstr(r.out, "not stable: h2 (mlp.c:") && strstr(r.out, "diverges"), "%s", r.out);
    r = works("regime mlp --set depth=2 --scale mup --optimizer adamw");
    cr_expect(strstr(r.out, "stable, with feature learning"), "%s", r.out);
    r = works("regime mlp --set depth=2");
    cr_expect(strstr(r.out, "in the kernel regime"), "%s", r.out);
    r = works("regime mlp --set depth=1 --freeze dense1");
    cr_expect(strstr(r.out, "frozen"), "%s", r.out);
}

/* mu-P of one's own is mu-P. */
Test(regime_tool, takes_exponents)
{
    outcome r = works("regime mlp --abc input=-0.5,0.5,- --abc hidden=0,0.5,0 --abc readout.weight=0.5,0.5,0 --json");
    cJSON *root = cJSON_Parse(r.out);
    cr_assert(root);
    cr_expect(cJSON_IsTrue(cJSON_GetObjectItem(root, "stable")) &&
              cJSON_IsTrue(cJSON_GetObjectItem(root, "features")) && cJSON_IsTrue(cJSON_GetObjectItem(root, "trains")));
    const cJSON *vectors = cJSON_GetObjectItem(root, "vectors");
    const cJSON *f = cJSON_GetArrayItem(vectors, cJSON_GetArraySize(vectors) - 1);
    cr_expect_str_eq(cJSON_GetObjectItem(f, "name")->valuestring, "f");
    cr_expect_float_eq(cJSON_GetObjectItem(f, "start")->valuedouble, -0.5, 1e-12);
    cr_expect_float_eq(cJSON_GetObjectItem(f, "several")->valuedouble, 0, 1e-12);
    cJSON_Delete(root);
    fails("regime mlp --abc hiden=0,0,0", 1, "fit no parameter (did you mean hidden?)");
    fails("regime mlp --abc hidden=0,0", 1, "PATTERN=A,B,C");
    fails("regime mlp --optimizer flow", 2, "flow");
    fails("regime mlp --steps 3", 2, "--check");
    fails("regime mlp --progress", 2, "--check");
    fails("regime mlp --check --widths 8,16", 2, "four");
}

/* A file of one's own stands wherever a scale does; weights remember it. */
Test(regime_tool, takes_a_file_as_scale)
{
    static const char own[] = "# mu-P\nscale standard\ninput -0.5 0.5 0\nreadout\t0.5 0.5 - # as in the table\n\n";
    static const char typo[] = "input -0.5 0.5\n", unknown[] = "scale mu\n", nothing[] = "# no line\n";
#define FIT "train mlp --set depth=2 --data digits --width 24 --steps 5 --rate 0.1 --optimizer sgd --json "
    put("own.txt", own, sizeof own - 1);
    put("typo.txt", typo, sizeof typo - 1);
    put("unknown.txt", unknown, sizeof unknown - 1);
    put("nothing.txt", nothing, sizeof nothing - 1);
    outcome r = works("regime mlp --scale own.txt");
    cr_expect(strstr(r.out, "own.txt, sgd: stable, with feature learning") &&
                  strstr(r.out, "all of these rates together are stable"),
              "%s", r.out);
    r = works(FIT "--scale mup");
    const char *loss = strstr(r.out, "\"loss\"");
    cr_assert(loss);
    char text[60];
    snprintf(text, sizeof text, "%.40s", loss);
    r = works(FIT "--scale own.txt --out w.safetensors");
    cr_expect(strstr(r.out, text), "%s has no %s", r.out, text);
    r = works("eval mlp --weights w.safetensors --data digits");
    cr_expect(strstr(r.out, "--scale standard --abc input=-0.5,0.5,0 --abc readout=0.5,0.5,-"), "%s", r.out);
    r = works("eval mlp --weights w.safetensors --data digits --scale ntk");
    cr_expect(strstr(r.out, "converted"), "%s", r.out);
    fails("regime mlp --scale typo.txt", 1, "typo.txt:1: a line is PATTERN A B C");
    fails("regime mlp --scale unknown.txt", 1, "unknown.txt:1: no scale mu");
    fails("regime mlp --scale nothing.txt", 1, "it has no line");
    fails("regime mlp --scale none.txt", 2, "ntk|standard|meanfield|mup");
    fails("predict mlp --data digits --train 20 --scale own.txt", 1, "no constant kernel");
}

Test(regime_tool, checks_in_a_report)
{
    outcome r =
        works("report mlp --set depth=1 --data digits --widths 16,32 --seeds 2 --steps 3 --probes 8 --scale mup "
              "--check --out page.html --plots plots");
    size_t size;
    char *page = slurp(in("page.html"), &size), *csv = slurp(in("plots/coordinates.csv"), &size);
    cr_expect(strstr(page, "<h2>Coordinate check</h2>") && strstr(page, "<td>f</td><td>change</td><td>0</td>"), "%s",
              r.out);
    cr_expect(strstr(csv, "series,width,change\nh1,128,") == csv, "%.200s", csv);
    ad_free(page);
    ad_free(csv);
    csv = slurp(in("plots/loss_training.csv"), &size); /* from outputs 0, and not from a Gaussian's of order one */
    const char *first = strstr(csv, "n=inf,1,");
    cr_expect(first && strtod(first + 8, NULL) > 0.4 && strtod(first + 8, NULL) < 0.5, "%.400s", csv);
    cr_expect(strstr(r.out, "0, as features are learned"), "%s", r.out);
    ad_free(csv);
    put_text("own.txt", "scale standard\ninput -0.5 0.5 0\nreadout 0.5 0.5 0\n");
    r = works("report mlp --set depth=1 --data digits --widths 16,32 --seeds 2 --steps 3 --probes 8 --scale own.txt "
              "--out page.html");
    cr_expect(strstr(r.out, "0, as features are learned"), "%s", r.out);
    r = works("report mlp --set depth=1 --data digits --widths 16,32 --seeds 2 --steps 3 --probes 8 --scale mup "
              "--freeze dense1.weight --check --out page.html");
    page = slurp(in("page.html"), &size);
    cr_expect(strstr(page, "<td>none</td><td></td><td>it is 0</td>") && !strstr(page, "nan</"), "%s", r.out);
    ad_free(page);
}

Test(regime_tool, checks)
{
    outcome r = works("regime mlp --set depth=2 --set phi=tanh --scale mup --optimizer adam --data digits --check "
                      "--csv check.csv");
    cr_expect(strstr(r.out, "95 % interval") && !strstr(r.out, "not as derived"), "%s", r.out);
    size_t size;
    char *csv = slurp(in("check.csv"), &size);
    cr_expect(strstr(csv, "vector,of,derived,fitted,low,high,share\nh1,size,0,") == csv, "%s", csv);
    ad_free(csv);
}

static double member(const cJSON *line, const char *key)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItem(line, key));
}

/* Of 784 features an input layer's part, n^-1/2, is larger than a hidden one's, n^1/2, up to n = 784: each is measured
 * by itself, and all that is printed is within 0.1 of the truth. */
Test(regime_tool, checks_what_leads)
{
    cJSON *root = cJSON_Parse(works("regime mlp --set depth=2 --set phi=tanh --scale standard --check --json").out);
    const cJSON *line;
    int met = 0;
    cJSON_ArrayForEach(line, cJSON_GetObjectItem(root, "check"))
    {
        const char *vector = cJSON_GetStringValue(cJSON_GetObjectItem(line, "vector"));
        cr_expect(fabs(member(line, "fitted") - member(line, "derived")) < 0.1 &&
                      cJSON_IsTrue(cJSON_GetObjectItem(line, "agrees")),
                  "%s: %g, not %g", vector, member(line, "fitted"), member(line, "derived"));
        const cJSON *by = cJSON_GetObjectItem(line, "by");
        if (!by || strcmp(vector, "h2") != 0)
            continue;
        met++;
        cr_expect(cJSON_GetArraySize(by) == 1 &&
                  strcmp(cJSON_GetStringValue(cJSON_GetArrayItem(by, 0)), "dense2.weight") == 0);
        cr_expect(member(line, "share") < 0.9, "%g", member(line, "share"));
    }
    cr_expect_eq(met, 1);
    cJSON_Delete(root);
}

/* What is 0 at every width has no power, and disagrees with none; steps that change nothing check nothing. */
Test(regime_tool, checks_what_is_zero)
{
    outcome r = works("regime mlp --set depth=2 --set phi=tanh --freeze dense1.weight --data digits --check");
    cr_expect(strstr(r.out, "h1       change       zero      none   it is 0"), "%s", r.out);
    cr_expect(strstr(r.out, "x2       change       -0.5    -0."), "%s", r.out);
    cr_expect(!strstr(r.out, "nan") && !strstr(r.out, "not as derived"), "%s", r.out);
    r = works("regime mlp --set depth=1 --freeze '*'");
    cr_expect(strstr(r.out, "nothing that it is made of learns") && !strstr(r.out, "inf"), "%s", r.out);
    fails("regime mlp --data digits --check --rate 0", 2, "a rate above 0");
    fails("regime mlp --data digits --check --steps 0", 2, "a step at least");
}

/* A number s whose gradient is 1e-12 times those of others: 1 + 1e-4 ds is 1 in some networks and the next double in
 * others, which tells no power, until the rate is larger. */
Test(regime_tool, tells_updates_that_are_lost_in_rounding)
{
    static const char net[] = "#include \"limn.h\"\n"
                              "ad_var limn_network(nn_net *net, ad_var x)\n"
                              "{\n"
                              "    ad_axis n = nn_width(net, \"n\");\n"
                              "    ad_init one = { .mean = 1, .rate = 1, .multiplier = 1 };\n"
                              "    ad_var s = ad_param(nn_graph(net), \"s\", (ad_shape){ 0 }, one), h = "
                              "ad_relu(nn_dense(net, \"first\", x, n));\n"
                              "    ad_var f = nn_readout(net, \"other\", ad_tanh(ad_mul(h, s)));\n"
                              "    return ad_add(nn_readout(net, \"readout\", h), ad_scale(f, 1e-12));\n"
                              "}\n";
    put("rounded.c", net, sizeof net - 1);
    outcome r = works("regime rounded.c --data digits --check --widths 16,32,64,128 --seeds 8");
    cr_expect(strstr(r.out, "lost in rounding of s; try a larger --rate") && !strstr(r.out, "not as derived"), "%s",
              r.out);
    r = works(
        "regime rounded.c --data digits --check --widths 16,32,64,128 --seeds 8 --rate 1e4 --freeze readout.weight "
        "--freeze first.weight --freeze other.weight");
    cr_expect(!strstr(r.out, "lost in rounding"), "%s", r.out);
}

/* A function without a derivative hands no gradient on: what is exactly 0 is told in words. */
Test(regime_tool, tells_what_is_exactly_zero)
{
    static const char *const functions[] = { "step", "sign" }, *const optimizers[] = { "sgd", "adam" };
    for (int k = 0; k < 4; k++) {
        char text[200];
        snprintf(text, sizeof text, "regime mlp --set depth=2 --set phi=%s --optimizer %s --data digits --check",
                 functions[k / 2], optimizers[k % 2]);
        outcome r = works(text);
        cr_expect(strstr(r.out, "hidden vectors do not change\n") && !strstr(r.out, "inf") &&
                      strstr(r.out, "h2       change       zero      none   it is 0") &&
                      !strstr(r.out, "not as derived"),
                  "%s: %s", text, r.out);
    }
    static const char frozen[] = "regime mlp --set depth=1 --set phi=step --freeze readout.weight";
    cr_expect(strstr(works(frozen).out, "the output does not move: no gradient reaches what learns"));
}

/* Every derived power is a number, or told to be zero, and within 0.1 of the fitted one. */
static void expect_each_near(const char *text)
{
    cJSON *root = cJSON_Parse(works(text).out);
    const cJSON *line;
    cr_assert(root, "%s", text);
    cJSON_ArrayForEach(line, cJSON_GetObjectItem(root, "check"))
    {
        const char *vector = cJSON_GetStringValue(cJSON_GetObjectItem(line, "vector"));
        bool zero = cJSON_IsTrue(cJSON_GetObjectItem(line, "zero"));
        cr_expect_eq(zero, cJSON_IsTrue(cJSON_GetObjectItem(line, "derived_zero")), "%s: %s", text, vector);
        cr_expect(zero || fabs(member(line, "fitted") - member(line, "derived")) < 0.1, "%s: %s of %s: %g, not %g",
                  text, cJSON_GetStringValue(cJSON_GetObjectItem(line, "of")), vector, member(line, "fitted"),
                  member(line, "derived"));
        cr_expect(cJSON_IsTrue(cJSON_GetObjectItem(line, "agrees")), "%s: %s", text, vector);
    }
    cJSON_Delete(root);
}

/* Several steps of a small rate, also where the same without end diverges, or the first moves nothing. */
Test(regime_tool, checks_several_steps)
{
    bring("zero_readout.c");
    expect_each_near("regime mlp --set depth=2 --set phi=tanh --scale standard --steps 4 --data digits --check --json");
    expect_each_near("regime zero_readout.c --data digits --check --json");
    expect_each_near("regime zero_readout.c --steps 3 --data digits --check --json");
    expect_each_near("regime zero_readout.c --steps 2 --optimizer adam --data digits --check --json");
    expect_each_near("regime zero_readout.c --scale standard --abc hidden=0,0.5,-1 --steps 3 --data digits --check "
                     "--json");
}

/* Exponents of one's own are trained, too; JSON has the fitted powers. */
Test(regime_tool, checks_exponents)
{
    outcome r = works("regime mlp --set depth=2 --set phi=tanh --abc readout=1,0,-1 --data digits --check --json");
    cJSON *root = cJSON_Parse(r.out);
    const cJSON *check = cJSON_GetObjectItem(root, "check"), *line;
    int met = 0;
    cJSON_ArrayForEach(line, check)
    {
        double derived = cJSON_GetObjectItem(line, "derived")->valuedouble;
        if (strcmp(cJSON_GetObjectItem(line, "vector")->valuestring, "f") == 0)
            met += strcmp(cJSON_GetObjectItem(line, "of")->valuestring, "size") == 0 && fabs(derived + 0.5) < 1e-12;
        cr_expect(cJSON_IsTrue(cJSON_GetObjectItem(line, "agrees")), "%s", r.out);
    }
    cr_expect(met == 1, "%s", r.out);
    cJSON_Delete(root);
}

/* Every fitted slope is within 0.1 of the derived one, where preactivations vanish, so that tanh bends less and
 * less and an epsilon leads at n = 1e10 only, and where they grow and saturate. */
static void expect_near_of(const char *network, const char *scale, const char *optimizer, const char *data)
{
    char text[400];
    snprintf(text, sizeof text, "regime %s %s --optimizer %s %s --check --json", network, scale, optimizer, data);
    cJSON *root = cJSON_Parse(works(text).out);
    const cJSON *line;
    cr_assert(root, "%s", text);
    cJSON_ArrayForEach(line, cJSON_GetObjectItem(root, "check"))
    {
        if (cJSON_IsNull(cJSON_GetObjectItem(line, "derived")))
            continue;
        cr_expect(fabs(member(line, "fitted") - member(line, "derived")) < 0.1 &&
                      cJSON_IsTrue(cJSON_GetObjectItem(line, "agrees")),
                  "%s: %s of %s: %g, not %g", text, cJSON_GetStringValue(cJSON_GetObjectItem(line, "of")),
                  cJSON_GetStringValue(cJSON_GetObjectItem(line, "vector")), member(line, "fitted"),
                  member(line, "derived"));
    }
    cJSON_Delete(root);
}

static void expect_near(const char *network, const char *scale, const char *optimizer)
{
    expect_near_of(network, scale, optimizer, "--data digits");
}

static const char vanishing[] = "--abc input=0.25,0,0 --abc hidden=0.5,0,0 --abc readout=0.75,0,0",
                  growing[] = "--abc input=-0.25,0,0 --abc hidden=0.5,0,0 --abc readout=0.5,0,0",
                  saturating[] = "--abc hidden=0.25,0,0";

Test(regime_tool, derives_slopes_of_what_vanishes)
{
    bring("normalised_blocks.c");
    expect_near("rnn", vanishing, "sgd");
    expect_near("rnn", vanishing, "adam");
    expect_near("normalised_blocks.c", vanishing, "sgd");
    expect_near("normalised_blocks.c", vanishing, "adam");
    expect_near("rnn --set cell=gru", vanishing, "momentum");
}

Test(regime_tool, derives_slopes_of_what_saturates)
{
    expect_near("mlp --set depth=3 --set phi=tanh", growing, "sgd");
    expect_near("mlp --set depth=3 --set phi=erf", saturating, "sgd");
    expect_near("mlp --set depth=2 --set phi=sigmoid", growing, "adam");
    expect_near("mlp --set depth=3 --set phi=relu", saturating, "sgd");
    expect_near("rnn", growing, "sgd");
}

/* Eight Gaussian sequences of three steps of five features, and targets. */
static void put_sequences(void)
{
    enum { ROWS = 8, STEPS = 3, FEATURES = 5 };
    double x[ROWS * STEPS * FEATURES], y[ROWS];
    ad_normal(8, 0, 0, ROWS * STEPS * FEATURES, x);
    ad_normal(9, 0, 0, ROWS, y);
    put_npy("sequences.npy", "<f8", false, "(8, 3, 5)", x, sizeof x);
    put_npy("targets.npy", "<f8", false, "(8, 1)", y, sizeof y);
}

/* Gates that saturate, through which several powers come together: of a cell's state times 1 - z backward, of updates
 * by other steps' inputs, and of f by all parameters. */
Test(regime_tool, derives_slopes_of_gates_that_saturate)
{
    put_sequences();
    expect_near_of("rnn --set cell=gru", saturating, "sgd", "--inputs sequences.npy --labels targets.npy");
}

/* In mean field the reciprocal deviation over a batch grows, and breaks nothing. */
Test(regime_tool, tells_factors)
{
    outcome r = works("regime batchnorm --set depth=2 --set eps=0 --scale meanfield");
    cr_expect(strstr(r.out, "stable, with feature learning") && !strstr(r.out, "diverges"), "%s", r.out);
    cr_expect(strstr(r.out, "n^0.5        n^0.5          n^0.5   factor "), "%s", r.out);
    r = works("regime batchnorm --set depth=2 --set eps=0 --scale meanfield --json");
    cr_expect(strstr(r.out, "\"factor\":true"), "%s", r.out);
}

/* The embedding's coordinates are n^-1/4 and of size 1 at n = 1: their squares are 1e-5 at n = 1e10. */
Test(regime_tool, tells_where_a_constant_takes_over)
{
    char text[300];
    bring("normalised_blocks.c");
    snprintf(text, sizeof text, "regime normalised_blocks.c %s", vanishing);
    outcome r = works(text);
    cr_expect(strstr(r.out, "normalised_blocks.c:9: from n = 1e+10 on 1e-05 is larger"), "%s", r.out);
    cr_expect(strstr(r.out, "normalised_blocks.c:9   at n = 128 to 1024 1, n^-0.7"), "%s", r.out);
    r = works("regime normalised_blocks.c --scale mup");
    cr_expect(!strstr(r.out, "is larger") && !strstr(r.out, "at n ="), "%s", r.out);
}
