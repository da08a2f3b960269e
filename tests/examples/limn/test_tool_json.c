/* Numbers in JSON come back equal to the last bit; what is no number is null, with a word why. */
#include "tests/support/tool.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TOOL_SUITE(tool_json);

static cJSON *json_of(const char *arguments)
{
    outcome r = works(arguments);
    cJSON *root = cJSON_Parse(r.out);
    cr_assert(root, "%s", r.out);
    return root;
}

/* 1,600 values at many sizes: with 15 digits, one in eight would differ. */
Test(tool_json, kernels_are_those_of_out)
{
    enum { ROWS = 40 };
    static const char *const lines[] = { "kernel mlp --inputs x.npy --no-check",
                                         "kernel mlp --inputs x.npy --no-check --kernel nngp --set phi=erf",
                                         "kernel mlp --inputs x.npy --width 16" };
    double x[ROWS * 4];
    for (int i = 0; i < ROWS * 4; i++)
        x[i] = sin(0.1 + i * i) * exp(0.02 * i);
    put_array("x.npy", x, ROWS, 4);
    for (size_t l = 0; l < sizeof lines / sizeof *lines; l++) {
        char line[200], written[200];
        snprintf(line, sizeof line, "%s --json", lines[l]);
        snprintf(written, sizeof written, "%s --out k.npy", lines[l]);
        works(written);
        ds_array k = get_array("k.npy");
        cJSON *root = json_of(line), *values = cJSON_GetObjectItem(root, "values");
        if (!values)
            values = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "terms"), 0), "values");
        cr_assert_eq(cJSON_GetArraySize(values), ROWS, "%s", line);
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++) {
                double back = cJSON_GetArrayItem(cJSON_GetArrayItem(values, i), j)->valuedouble;
                cr_expect(memcmp(&back, &k.data[i * ROWS + j], sizeof back) == 0, "%s: %.17g, not %.17g", line, back,
                          k.data[i * ROWS + j]);
            }
        cJSON_Delete(root);
        ds_array_free(&k);
    }
}

/* Of equal rows the kernel has an eigenvalue 0. */
Test(tool_json, what_is_no_number_is_null_with_a_word)
{
    static const double x[4 * 2] = { 1, 0, 1, 0, 0, 1, 0.5, 2 }, y[4] = { 1, 1.5, 2, 3 };
    put_array("x.npy", x, 4, 2);
    put_array("y.npy", y, 4, 0);
    cJSON *root = json_of("predict mlp --inputs x.npy --labels y.npy --times 1,2 --no-check --json");
    const cJSON *condition = cJSON_GetObjectItem(root, "condition_number");
    const cJSON *why = cJSON_GetObjectItem(root, "condition_number_why");
    cr_expect(condition && (cJSON_IsNumber(condition) || (cJSON_IsNull(condition) && why)), "no condition number");
    cr_expect(cJSON_IsNumber(condition) || strcmp(why->valuestring, "infinite") == 0);
    cJSON_Delete(root);
    root = json_of("report mlp --data x.npy --labels y.npy --test-fraction 0.25 --widths 8,16 --seeds 2 --steps 2 "
                   "--probes 2 --no-check --json");
    const cJSON *width = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "widths"), 0);
    const cJSON *accuracy = cJSON_GetObjectItem(width, "train_accuracy");
    why = cJSON_GetObjectItem(width, "train_accuracy_why");
    cr_expect(cJSON_IsNull(cJSON_GetArrayItem(accuracy, 0)) && why && strcmp(why->valuestring, "not a number") == 0);
    cJSON_Delete(root);
    root = json_of("predict mlp --inputs x.npy --labels y.npy --times 1,inf --ridge 0.1 --no-check --json");
    const cJSON *last = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), 1);
    cr_expect_str_eq(cJSON_GetObjectItem(last, "t")->valuestring, "inf");
    cJSON_Delete(root);
}
