/* limn spectrum as its users run it: numbers on the terminal, as JSON and as files, and what is refused. */
#include "tests/support/tool.h"

#include <cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TOOL_SUITE(spectrum_tool);

static double number_at(const cJSON *list, int i)
{
    const cJSON *item = cJSON_GetArrayItem(list, i);
    cr_assert(cJSON_IsNumber(item));
    return item->valuedouble;
}

Test(spectrum_tool, json)
{
    outcome r = works("spectrum mlp --data digits --set depth=2 --moments 3 --width 64 --seeds 2 --json");
    cJSON *root = cJSON_Parse(r.out);
    cr_assert(root);
    const double moments[] = { 1, 3, 11 };
    for (int k = 0; k < 3; k++)
        cr_assert(fabs(number_at(cJSON_GetObjectItem(root, "moments"), k) - moments[k]) < 1e-10);
    const cJSON *support = cJSON_GetObjectItem(root, "support"), *density = cJSON_GetObjectItem(root, "density");
    cr_assert(fabs(number_at(support, 0) - 3 + 2 * sqrt(2)) < 1e-10 &&
              fabs(number_at(support, 1) - 3 - sqrt(8)) < 1e-10);
    const cJSON *atom = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "atoms"), 0);
    cr_assert(cJSON_GetObjectItem(atom, "at")->valuedouble == 0);
    cr_assert(fabs(cJSON_GetObjectItem(atom, "mass")->valuedouble - 0.5) < 1e-12);
    const cJSON *lambda = cJSON_GetObjectItem(density, "lambda"), *rho = cJSON_GetObjectItem(density, "rho");
    cr_assert(cJSON_GetArraySize(lambda) == 400 && cJSON_GetArraySize(rho) == 400);
    for (int i = 0; i < 400; i += 57) { /* 2 Marchenko and Pastur's of ratio 1/2, halved */
        double at = number_at(lambda, i), edge = sqrt(fmax(0, 8 - pow(at - 3, 2))), pi = acos(-1);
        cr_assert(fabs(number_at(rho, i) - edge / (4 * pi * at)) < 1e-9 / at, "%g: %g", at, number_at(rho, i));
    }
    cr_assert(strstr(cJSON_GetObjectItem(root, "method")->valuestring, "4 free factors") == NULL);
    cr_assert(cJSON_GetArraySize(cJSON_GetObjectItem(root, "error")) == 3);
    const cJSON *finite = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "finite"), 0);
    cr_assert(cJSON_GetObjectItem(finite, "width")->valuedouble == 64);
    cr_assert(cJSON_GetObjectItem(finite, "distance")->valuedouble < 0.1);
    cJSON_Delete(root);
}

Test(spectrum_tool, files)
{
    works("spectrum mlp --data digits --set phi=tanh --points 200 --out s.npy");
    ds_array a = get_array("s.npy");
    cr_assert(a.rank == 2 && a.shape[0] == 200 && a.shape[1] == 4);
    ds_array_free(&a);
    works("spectrum mlp --data digits --set phi=tanh --points 50 --out s.csv");
    size_t size;
    char *text = slurp(in("s.csv"), &size);
    cr_assert(strncmp(text, "lambda,density,density_of_log,below\n", 36) == 0);
    int lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    cr_assert_eq(lines, 51);
    ad_free(text);
    works("spectrum mlp --data digits --width 32 --out s.svg");
    text = slurp(in("s.svg"), &size);
    cr_assert(strstr(text, "<svg") && strstr(text, "n = 32") && strstr(text, "mass 0.5 at 0"));
    ad_free(text);
    works("spectrum mlp --data digits --degrees 3 --out d.csv");
    text = slurp(in("d.csv"), &size);
    cr_assert(strncmp(text, "degree,sphere,on_sphere,cube,on_cube\n0,", 39) == 0, "%s", text);
    ad_free(text);
    works("spectrum mlp --data digits --critical --out c.csv");
    text = slurp(in("c.csv"), &size);
    cr_assert(strncmp(text, "sigma_b,sigma_w,q\n0,1.41421356237309", 34) == 0, "%s", text);
    ad_free(text);
}

Test(spectrum_tool, text)
{
    outcome r = works("spectrum rnn --data digits --set sigma_w=1.2 --from h1 --to g14 --moments 2");
    cr_assert(strstr(r.out, "free factors") && strstr(r.out, "support of the density"), "%s", r.out);
    r = works("spectrum rnn --data digits --engine sample --moments 2 --samples 512 --runs 4");
    cr_assert(strstr(r.out, "moments sampled at n = infinity: 4 runs of 512 samples"), "%s", r.out);
    r = works("spectrum mlp --data digits --set weights=orthogonal --set depth=2");
    cr_assert(strstr(r.out, "mass 0.5 at 0") && strstr(r.out, "mass 0.5 at 2"), "%s", r.out);
    r = works("spectrum mlp --data digits --critical --set phi=tanh --set sigma_w=1");
    cr_assert(strstr(r.out, "critical line, chi = 1") && strstr(r.out, "xi_c"), "%s", r.out);
    r = works("spectrum mlp --data digits --set depth=2 --format latex");
    cr_assert(strstr(r.out, "\\frac{1}{z} &= 0.5\\, \\frac{1}{(1 + M)}\\prod_{l=1}^{1} w_l") &&
                  strstr(r.out, "&= -\\frac{1}{\\pi}\\, \\operatorname{Im} M(\\lambda + i0)"),
              "%s", r.out);
    r = works("program mlp --set weights=orthogonal");
    cr_assert(strstr(r.out, "orthogonal, W2 W2ᵀ = 2"), "%s", r.out);
}

Test(spectrum_tool, what_is_refused)
{
    put_text("fixed.c", "#include <nn/entry.h>\n"
                        "ad_var limn_network(nn_net *net, ad_var x)\n"
                        "{\n"
                        "    ad_axis n = nn_width(net, \"n\"), two = ad_fixed(nn_graph(net), \"two\", 2);\n"
                        "    ad_var h = ad_tanh(nn_dense(net, \"a\", x, two));\n"
                        "    return nn_readout(net, \"b\", ad_tanh(nn_dense(net, \"c\", h, n)));\n"
                        "}\n");
    put_text("step.c", "#include <nn/entry.h>\n"
                       "ad_var limn_network(nn_net *net, ad_var x)\n"
                       "{\n"
                       "    ad_axis n = nn_width(net, \"n\");\n"
                       "    ad_var h = ad_step(nn_dense(net, \"a\", x, n));\n"
                       "    return nn_readout(net, \"b\", ad_tanh(nn_dense(net, \"c\", h, n)));\n"
                       "}\n");
    fails("spectrum mlp --data digits --from h9", 1,
          "called h9 (did you mean h1?): its vectors over the batch are h1, x1");
    fails("spectrum mlp --data digits --from W2", 1, "no vector of the program is called W2");
    fails("spectrum mlp --data digits --from dh3", 1, "called dh3 (did you mean h3?)");
    fails("spectrum mlp --data digits --from h3 --to h1", 1, "h1 does not depend on h3");
    fails("spectrum mlp --data digits --from h2 --to h2", 1, "one vector");
    fails("spectrum mlp --data digits --set depth=1", 1, "no layer in it");
    fails("spectrum mlp --data digits --set sigma_w=0", 1, "sigma_w=0");
    fails("spectrum batchnorm --data digits", 1, "samples of a batch meet");
    fails("spectrum mlp --data digits --scale meanfield --set phi=tanh", 1, "J J' goes like n^-2");
    fails("spectrum fixed.c --data digits", 1, "one vector");
    fails("spectrum step.c --data digits", 1, "its derivative is 0 almost everywhere");
    fails("spectrum mlp --data digits --out s.txt", 2, "ends in .npy, .csv or .svg");
    fails("spectrum mlp --data digits --seeds 3", 2, "--seeds without --width");
    fails("spectrum mlp --data digits --critical --from h1", 2, "--critical is of a layer");
    fails("spectrum rnn --data digits --degrees 3", 1, "none of x . y alone");
    fails("spectrum mlp --data digits --degrees 3 --critical", 2, "--degrees is of a kernel");
    fails("spectrum mlp --data digits --kernel nngp", 2, "--kernel without --degrees");
    fails("spectrum rnn --data digits --critical", 1, "no bias of its own");
    fails("spectrum mlp --data digits --set weights=round", 1, "gaussian or orthogonal");
    fails("spectrum mlp --data digits --moments 33", 2, "--moments takes a whole number from 1 to 32");
}
