/* limn regime as its users run it: the verdict with its line, exponents of one's own, the coordinate check. */
#include "tests/support/tool.h"

#include <cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
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
    fails("regime mlp --abc hiden=0,0,0", 1, "fits no parameter");
    fails("regime mlp --abc hidden=0,0", 1, "PATTERN=A,B,C");
    fails("regime mlp --optimizer flow", 2, "flow");
    fails("regime mlp --steps 3", 2, "--check");
    fails("regime mlp --check --widths 8,16", 2, "four");
}

Test(regime_tool, checks)
{
    outcome r = works("regime mlp --set depth=2 --set phi=tanh --scale mup --optimizer adam --data digits --check "
                      "--csv check.csv");
    cr_expect(strstr(r.out, "95 % interval") && !strstr(r.out, "not as derived"), "%s", r.out);
    size_t size;
    char *csv = slurp(in("check.csv"), &size);
    cr_expect(strstr(csv, "vector,of,derived,fitted,low,high\nh1,size,0,") == csv, "%s", csv);
    ad_free(csv);
}
