/* What the tool says of its limits: that samples agree, or why they were not asked; and what had no exact rule. */
#include "tests/support/tool.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <string.h>

TOOL_SUITE(check);

static const char line[] = "checked against samples: worst deviation ";

static int lines_of(const char *text, const char *start)
{
    int count = 0;
    for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        count += strncmp(at, start, strlen(start)) == 0;
    return count;
}

/* Lines that tell of a check: one that there was no time for, on a machine that is busy, is told as well. */
static int told(const char *text)
{
    return lines_of(text, line) + lines_of(text, "unchecked: 8 runs of ");
}

/* A product of more functions than the exact rules take. */
static const char gates[] = "#include \"limn.h\"\n"
                            "ad_var limn_network(nn_net *net, ad_var x)\n{\n"
                            "    ad_axis n = nn_width(net, \"n\");\n"
                            "    ad_var h = ad_tanh(nn_dense(net, \"h0\", x, n));\n"
                            "    for (int k = 1; k < 8; k++)\n"
                            "        h = ad_mul(h, ad_sigmoid(nn_dense(net, nn_name(net, \"h%d\", k), x, n)));\n"
                            "    return nn_readout(net, \"f\", h);\n}\n";

/* Each output has a kernel of its own. */
static const char heads[] = "#include \"limn.h\"\n"
                            "ad_var limn_network(nn_net *net, ad_var x)\n{\n"
                            "    ad_axis n = nn_width(net, \"n\"), one = ad_fixed(nn_graph(net), \"one\", 1);\n"
                            "    ad_var h = ad_erf(nn_dense(net, \"h\", x, n));\n"
                            "    ad_var f[2] = { nn_apply(nn_make_weight(net, \"f\", n, one, 1), h),\n"
                            "                    nn_apply(nn_make_weight(net, \"g\", n, one, 3), h) };\n"
                            "    nn_setting_int(net, \"outputs\", 2, 2, 2);\n"
                            "    return ad_concat(f, 2, (ad_axis[]){ one, one }, nn_outputs(net));\n}\n";

Test(check, a_kernel_says_so_in_one_line)
{
    put_inputs("x.npy");
    cr_expect_eq(told(works("kernel mlp --inputs x.npy --set depth=1").out), 1);
    cr_expect_eq(told(works("kernel mlp --inputs x.npy --set depth=1 --out k.npy").out), 1);
    cr_expect_eq(told(works("kernel mlp --inputs x.npy --set depth=1 --inputs2 x.npy").out), 1);
    cr_expect_eq(told(works("kernel mlp --inputs x.npy --set depth=1 --scale standard").out), 1);
    cr_expect(!strstr(works("kernel mlp --inputs x.npy --set depth=1 --no-check").out, "checked"));
    cr_expect(!strstr(works("kernel mlp --inputs x.npy --set depth=1 --width 16").out, "checked"));
    cr_expect(!strstr(works("kernel mlp --inputs x.npy --set depth=1 --explain").out, "checked"));
    cr_expect(!strstr(works("kernel mlp --inputs x.npy --set depth=1 --engine sample").out, "checked"));
    outcome r = works("kernel batchnorm --inputs x.npy --set depth=1");
    cr_expect(strstr(r.out, "\nunchecked: a batch of ") && strstr(r.out, "heavy tails"), "%s", r.out);
}

Test(check, as_json)
{
    put_inputs("x.npy");
    cJSON *root = cJSON_Parse(works("kernel mlp --inputs x.npy --set depth=1 --json").out);
    const cJSON *check = cJSON_GetObjectItem(root, "check");
    cr_assert(cJSON_IsString(cJSON_GetObjectItem(check, "text")));
    cr_expect_eq(told(cJSON_GetStringValue(cJSON_GetObjectItem(check, "text"))), 1);
    bool checked = cJSON_IsTrue(cJSON_GetObjectItem(check, "checked"));
    cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(check, "runs")) >= 8, checked);
    cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(check, "samples")) >= 256, checked);
    cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(check, "entries")) > 0, checked);
    cr_expect_eq(cJSON_IsNumber(cJSON_GetObjectItem(check, "deviation")), checked);
    cr_expect_eq(cJSON_IsNumber(cJSON_GetObjectItem(check, "precision")), checked);
    cJSON_Delete(root);
    root = cJSON_Parse(works("kernel mlp --inputs x.npy --set depth=1 --json --no-check").out);
    cr_expect(root && !cJSON_HasObjectItem(root, "check"));
    cJSON_Delete(root);
    root = cJSON_Parse(works("kernel batchnorm --inputs x.npy --set depth=1 --json").out);
    cr_expect(cJSON_IsFalse(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "check"), "checked")));
    cJSON_Delete(root);
}

Test(check, once_a_network)
{
    put_inputs("x.npy");
    put_text("heads.c", heads);
    cr_expect_eq(told(works("kernel heads.c --inputs x.npy --set outputs=2 --outputs full").out), 1);
    double labels[5] = { 0.5, 1.5, -0.5, 1, 2 };
    put_array("y.npy", labels, 5, 1);
    const char *predict = "predict mlp --inputs x.npy --labels y.npy --inputs2 x.npy --set depth=1 --ridge 0.1";
    outcome r = works(predict);
    cr_expect_eq(told(r.out), 1, "%s", r.out);
    r = limn("%s --kernel nngp --json", predict);
    cr_expect(r.status == 0 && strstr(r.out, "\"check\":{\"checked\":"), "%s%s", r.out, r.err);
    r = limn("%s --no-check", predict);
    cr_expect(r.status == 0 && !strstr(r.out, "checked"), "%s%s", r.out, r.err);
}

Test(check, of_a_fit_and_of_the_report)
{
    const char *fit = "train " SMALL "--steps 2 --drift d.csv --probes 8";
    cr_expect_eq(told(works(fit).out), 1);
    outcome r = limn("%s --no-check", fit);
    cr_expect(r.status == 0 && !strstr(r.out, "checked"), "%s%s", r.out, r.err);
    const char *report = "report mlp --data digits --set depth=1 --widths 16,32 --seeds 2 --steps 3 --probes 4";
    cr_expect_eq(told(works(report).out), 1);
    size_t size;
    char *page = slurp(in("limn-report.html"), &size);
    cr_expect(page && (strstr(page, line) || strstr(page, "; unchecked: ")));
    ad_free(page);
    r = limn("%s --json", report);
    cr_expect(r.status == 0 && strstr(r.out, "\"check\":{\"checked\":"), "%s%s", r.out, r.err);
}

/* What had no exact rule is told where a user looks for what is wrong, with its op and line. */
Test(check, no_exact_rule_is_told)
{
    put_inputs("x.npy");
    put_text("gates.c", gates);
    outcome r = works("kernel gates.c --inputs x.npy --samples 256");
    cr_expect(strstr(r.err, "by samples, for there is no exact rule: ") && strstr(r.err, "gates.c:7: mul"), "%s",
              r.err);
    cr_expect(strstr(r.out, "sampled at n = infinity") && !strstr(r.out, "checked"), "%s", r.out);
    cr_expect_eq(*works("kernel gates.c --inputs x.npy --samples 256 --engine sample").err, 0);
}
