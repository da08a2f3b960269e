/* limn train and eval on sets of one's own: a test set beside the training set, no labels, no steps; and a report of
 * few rows. */
#include "tests/support/tool.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TOOL_SUITE(train_sets);

enum { ROWS = 40, TESTED = 12, FEATURES = 5 };
#define NET "mlp --set depth=1 --width 16 --dtype double "

/* Two classes by the sign of the first feature, around a mean of 3. */
static void put_sets(void)
{
    double x[(ROWS + TESTED) * FEATURES], y[ROWS + TESTED];
    for (int i = 0; i < (ROWS + TESTED) * FEATURES; i++)
        x[i] = 3 + sin(1.3 * i + 0.1 * (i * i % 29));
    for (int i = 0; i < ROWS + TESTED; i++)
        y[i] = x[i * FEATURES] > 3;
    put_array("x.npy", x, ROWS, FEATURES);
    put_array("y.npy", y, ROWS, 0);
    put_array("x2.npy", x + ROWS * FEATURES, TESTED, FEATURES);
    put_array("y2.npy", y + ROWS, TESTED, 0);
}

static double number(const char *json, const char *part, const char *name)
{
    cJSON *root = cJSON_Parse(json);
    cJSON *run = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "runs"), 0);
    const cJSON *item = cJSON_GetObjectItem(cJSON_GetObjectItem(run ? run : root, part), name);
    double value = item ? item->valuedouble : (double)NAN;
    cJSON_Delete(root);
    return value;
}

Test(train_sets, a_test_set_is_measured)
{
    put_sets();
    outcome r = works("train " NET "--inputs x.npy --labels y.npy --inputs2 x2.npy --labels2 y2.npy --epochs 3 --out "
                      "w.safetensors --json");
    double loss = number(r.out, "test", "loss"), accuracy = number(r.out, "test", "accuracy");
    cr_assert(number(r.out, "test", "rows") == TESTED && number(r.out, "train", "rows") == ROWS, "%s", r.out);
    r = works("eval " NET "--inputs x2.npy --labels y2.npy --weights w.safetensors --json");
    cr_assert(fabs(number(r.out, "all", "loss") - loss) < 1e-12);
    cr_assert(fabs(number(r.out, "all", "accuracy") - accuracy) < 1e-12);
    /* targets, too */
    put_array("t.npy", (double[2 * TESTED]){ 1 }, TESTED, 2);
    put_array("s.npy", (double[2 * ROWS]){ 1 }, ROWS, 2);
    r = works("train " NET "--inputs x.npy --labels s.npy --inputs2 x2.npy --labels2 t.npy --epochs 1");
    cr_expect(strstr(r.out, "test   12 rows"), "%s", r.out);
    fails("train " NET "--inputs x.npy --labels y.npy --inputs2 x2.npy", 2, "needs --inputs and --labels2");
    fails("train " NET "--inputs x.npy --labels y.npy --inputs2 x2.npy --labels2 t.npy", 1, "its shape is not (12)");
    put_array("bad.npy", (double[TESTED]){ 0, 1, 2 }, TESTED, 0);
    fails("train " NET "--inputs x.npy --labels y.npy --inputs2 x2.npy --labels2 bad.npy", 1, "row 2 is 2");
}

/* Both sets go by the training set's mean and deviation. */
Test(train_sets, scaling_is_of_both_sets)
{
    static double all[ROWS + TESTED];
    put_sets();
    ds_array x = get_array("x.npy"), x2 = get_array("x2.npy");
    double mean = 0, square = 0;
    for (int i = 0; i < ROWS * FEATURES; i++)
        mean += x.data[i] / (ROWS * FEATURES);
    for (int i = 0; i < ROWS * FEATURES; i++)
        square += pow(x.data[i] - mean, 2) / (ROWS * FEATURES);
    for (int i = 0; i < ROWS * FEATURES; i++)
        x.data[i] = (x.data[i] - mean) / sqrt(square);
    for (int i = 0; i < TESTED * FEATURES; i++)
        x2.data[i] = (x2.data[i] - mean) / sqrt(square);
    put_array("sx.npy", x.data, ROWS, FEATURES);
    put_array("sx2.npy", x2.data, TESTED, FEATURES);
    ds_array_free(&x);
    ds_array_free(&x2);
    (void)all;
    works("kernel mlp --inputs sx.npy --inputs2 sx2.npy --out want.npy");
    works("kernel mlp --inputs x.npy --inputs2 x2.npy --scaling standard --out got.npy");
    ds_array want = get_array("want.npy");
    compare("scaled", "got.npy", want.data, ROWS * TESTED, 1e-11);
    ds_array_free(&want);
}

Test(train_sets, without_labels_outputs_are_written)
{
    put_sets();
    works("train " NET "--inputs x.npy --labels y.npy --epochs 1 --out w.safetensors");
    works("eval " NET "--inputs x.npy --labels y.npy --weights w.safetensors --out f.npy");
    outcome r = works("eval " NET "--inputs x.npy --weights w.safetensors --out g.npy");
    cr_expect(strstr(r.out, "outputs (40, 2)"), "%s", r.out);
    shell("cmp %s %s", in("f.npy"), in("g.npy"));
    fails("eval " NET "--inputs x.npy --weights w.safetensors", 1, "without any, limn eval writes outputs to --out");
    fails("train " NET "--inputs x.npy --weights w.safetensors --out v.safetensors", 1, "--labels are missing");
}

/* --epochs 0, --steps 0 and --rate 0 leave the weights as they were drawn. */
Test(train_sets, nothing_is_nothing)
{
    static const char *const none[] = { "--epochs 0",
                                        "--steps 0",
                                        "--rate 0 --epochs 2",
                                        "--rate 0 --optimizer momentum",
                                        "--rate 0 --optimizer adamw",
                                        "--rate 0 --optimizer sgd --weight-decay 1" };
    put_sets();
    double want[ROWS * 2];
    for (int k = 0; k < 6; k++) {
        outcome r = limn("train " NET "--inputs x.npy --labels y.npy %s --out w.safetensors --json", none[k]);
        cr_assert(r.status == 0, "%s: %s", none[k], r.err);
        works("eval " NET "--inputs x.npy --weights w.safetensors --out f.npy");
        ds_array f = get_array("f.npy");
        if (k == 0)
            memcpy(want, f.data, sizeof want);
        else
            cr_assert(memcmp(want, f.data, sizeof want) == 0, "%s", none[k]);
        ds_array_free(&f);
    }
    works("train " NET "--inputs x.npy --labels y.npy --epochs 1 --out w.safetensors");
    works("eval " NET "--inputs x.npy --weights w.safetensors --out f.npy");
    ds_array f = get_array("f.npy");
    cr_assert(memcmp(want, f.data, sizeof want) != 0);
    ds_array_free(&f);
    fails("train " NET "--inputs x.npy --labels y.npy --epochs 0 --checkpoint c", 2, "without a step");
    fails("report mlp --data digits --rate 0", 2, "nothing moves");
    fails("predict mlp --data digits --rate 0", 2, "nothing moves");
}

/* A table of 30 rows. */
Test(train_sets, a_report_of_few_rows)
{
    FILE *file = fopen(in("few.csv"), "w");
    for (int i = 0; i < 30; i++)
        fprintf(file, "%g,%g,%g,%s\n", sin(1.1 * i), cos(2.3 * i), sin(0.7 * i + 1), i % 3 ? "a" : "b");
    fclose(file);
    outcome r = works("report mlp --data few.csv --set depth=1 --widths 16,32 --seeds 2 --steps 3 --json");
    cJSON *root = cJSON_Parse(r.out);
    cr_assert(root && cJSON_GetObjectItem(root, "trained")->valuedouble == 24, "%s", r.out);
    cJSON_Delete(root);
    r = works("report mlp --data few.csv --set depth=1 --widths 16,32 --seeds 2 --steps 3 --out r.html");
    cr_expect(strstr(r.out, "Trained on 24 inputs") && strstr(r.out, "the NTK of 24 probes"), "%s", r.out);
    fails("report mlp --data few.csv --probes 25 --json", 1, "25 probes of 24");
}

/* What a reader of files leaves open is told by every command. */
Test(train_sets, notes_of_readers_are_told)
{
    put_text("t.csv", "0,1,2,3\n5.5,2,1,1\n4.5,1,2,0\n3.5,3,3,1\n2.5,2,2,0\n1.5,2,1,1\n");
    static const char *const commands[] = { "kernel mlp --data t.csv", "predict mlp --data t.csv --ridge 0.1" };
    outcome train = works("train " NET "--data t.csv --epochs 1");
    const char *note = strstr(train.out, "t.csv: ");
    note = note ? strstr(note + 1, "t.csv: ") : NULL;
    cr_assert(note, "%s", train.out);
    char line[200];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(note, "\n"), note);
    for (int k = 0; k < 2; k++) {
        outcome r = works(commands[k]);
        cr_expect(strstr(r.out, line), "%s: %s, not %s", commands[k], r.out, line);
        r = limn("%s --json", commands[k]);
        cr_expect(strstr(r.out, "\"note\""), "%s", r.out);
    }
}
