/* limn train --width inf as its users run it: what it prints and writes, a C file of one's own, what it refuses. */
#include "tests/support/tool.h"

#include <cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TOOL_SUITE(train_infinite);

enum { ROWS = 8, FEATURES = 6 };
#define TANH "--set phi=tanh --set depth=2 --set sigma_w=1 "
#define DATA "--inputs x.npy --labels y.npy --rate 0.6 --batch 0 --samples 256 --runs 2 "

/* The formula of the reference kernels; targets sin 2i. */
static void put_data(void)
{
    double x[ROWS * FEATURES], y[ROWS];
    for (int k = 0; k < ROWS * FEATURES; k++)
        x[k] = sin((1 + 3 * (k / FEATURES)) + (0.7 * (k % FEATURES)) * (k / FEATURES + 1));
    for (int i = 0; i < ROWS; i++)
        y[i] = sin(2.0 * i);
    put_array("x.npy", x, ROWS, FEATURES);
    put_array("y.npy", y, ROWS, 0);
    put_array("x2.npy", x, 3, FEATURES);
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);
    cr_assert(cJSON_IsNumber(item), "%s", key);
    return item->valuedouble;
}

Test(train_infinite, writes_what_it_tells)
{
    put_data();
    outcome r = works("train mlp " TANH "--width inf --scale mup --steps 6 --inputs2 x2.npy " DATA
                      "--out f.npy --csv f.csv --drift d.csv --drift-kernels K --drift-every 3 --probes 4 --json");
    cJSON *root = cJSON_Parse(r.out);
    cr_assert(root, "%s", r.out);
    const cJSON *steps = cJSON_GetObjectItem(root, "steps"), *last = cJSON_GetArrayItem(steps, 2);
    cr_assert_eq(cJSON_GetArraySize(steps), 3);
    cr_expect_str_eq(cJSON_GetObjectItem(root, "regime")->valuestring, "features");
    cr_expect_eq(number_of(root, "rank"), 6 * ROWS);
    cr_expect_eq(number_of(last, "step"), 6);
    const cJSON *train = cJSON_GetObjectItem(last, "train");
    cr_expect(number_of(train, "loss_error") > 0 && number_of(train, "loss") < 0.2);
    cr_expect_null(cJSON_GetObjectItem(last, "test")); /* there are no --labels2 */
    const cJSON *f = cJSON_GetObjectItem(last, "f"), *kernel = cJSON_GetObjectItem(last, "kernel");
    cr_assert_eq(cJSON_GetArraySize(f), ROWS + 3);
    cr_assert_eq(cJSON_GetArraySize(kernel), 4);
    ds_array out = get_array("f.npy"), written = get_array("K00000006.npy"), start = get_array("K00000000.npy");
    cr_assert(out.rank == 2 && out.shape[0] == ROWS + 3 && out.shape[1] == 1);
    double loss = 0;
    for (int i = 0; i < ROWS + 3; i++)
        cr_expect_float_eq(out.data[i], cJSON_GetArrayItem(cJSON_GetArrayItem(f, i), 0)->valuedouble, 1e-15);
    for (int i = 0; i < ROWS; i++)
        loss += pow(out.data[i] - sin(2.0 * i), 2) / 2 / ROWS;
    cr_expect_float_eq(loss, number_of(train, "loss"), 1e-4); /* of the mean outputs, and the mean of the runs' */
    cr_assert(written.rank == 2 && written.shape[0] == 4);
    cr_expect_float_eq(written.data[5], cJSON_GetArrayItem(cJSON_GetArrayItem(kernel, 1), 1)->valuedouble, 1e-15);
    cr_expect(fabs(written.data[5] - start.data[5]) > 0.001);
    size_t size;
    char *csv = slurp(in("f.csv"), &size), *drift = slurp(in("d.csv"), &size);
    cr_expect(strstr(csv, "step,part,row,output,f,f_error\n0,train,0,0,") == csv && strstr(csv, "\n6,test,2,0,"));
    cr_expect(strstr(drift, "step,epoch,train_loss,") == drift && strstr(drift, "\n6,6,"), "%s", drift);
    ad_free(csv);
    ad_free(drift);
    ds_array_free(&out);
    ds_array_free(&written);
    ds_array_free(&start);
    cJSON_Delete(root);
}

/* A C file with the same trace has the same draws. */
Test(train_infinite, takes_a_file_of_ones_own)
{
    put_data();
    put_text("own.c", "#include \"limn.h\"\n"
                      "ad_var limn_network(nn_net *net, ad_var x)\n"
                      "{\n"
                      "    ad_axis n = nn_width(net, \"n\");\n"
                      "    for (int layer = 1; layer <= 2; layer++)\n"
                      "        x = ad_tanh(nn_dense(net, nn_name(net, \"dense%d\", layer), x, n));\n"
                      "    return nn_readout(net, \"readout\", x);\n"
                      "}\n");
    works("train own.c --width inf --scale mup --steps 4 " DATA "--out own.npy");
    works("train mlp " TANH "--width inf --scale mup --steps 4 " DATA "--out mlp.npy");
    ds_array own = get_array("own.npy"), mlp = get_array("mlp.npy");
    for (int i = 0; i < ROWS; i++)
        cr_expect_float_eq(own.data[i], mlp.data[i], 1e-12);
    ds_array_free(&own);
    ds_array_free(&mlp);
}

Test(train_infinite, tells_the_kernel_regime_and_classes)
{
    put_data();
    outcome r = works("train mlp --set phi=tanh --set depth=2 --width inf --steps 20 " DATA);
    cr_expect(strstr(r.out, "the kernel regime") && strstr(r.out, "from outputs 0"), "%s", r.out);
    cr_expect(strstr(r.out, "outputs after 20 steps"), "%s", r.out);
    r = works("train mlp --set depth=1 --data digits --width inf --scale mup --steps 3 --batch 8 --train 16 --test 4 "
              "--samples 256 --runs 2 --rate 1 --optimizer momentum --momentum 0.5");
    cr_expect(strstr(r.out, "accuracy") && strstr(r.out, "test loss"), "%s", r.out);
    cr_expect(strstr(r.err, "train: at most ") && strstr(r.err, " s of the processor"), "%s", r.err);
}

/* One draw, told with its seed; a run from the outputs that it says it starts from is the same. */
Test(train_infinite, draws_the_outputs_at_the_start)
{
    put_data();
    outcome r = works("train mlp " TANH "--width inf --steps 3 " DATA "--start draw --seed 4 --out drawn.npy --json");
    cJSON *root = cJSON_Parse(r.out);
    cr_assert(root, "%s", r.out);
    const cJSON *f = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "steps"), 0), "f");
    double start[ROWS];
    for (int i = 0; i < ROWS; i++)
        start[i] = cJSON_GetArrayItem(cJSON_GetArrayItem(f, i), 0)->valuedouble;
    cr_expect(
        strstr(cJSON_GetObjectItem(root, "method")->valuestring, "one draw of the outputs' Gaussian law (seed 4)"));
    put_array("start.npy", start, ROWS, 1);
    works("train mlp " TANH "--width inf --steps 3 " DATA "--start start.npy --out given.npy");
    ds_array drawn = get_array("drawn.npy"), given = get_array("given.npy");
    for (int i = 0; i < ROWS; i++)
        cr_expect_float_eq(drawn.data[i], given.data[i], 1e-12);
    ds_array_free(&drawn);
    ds_array_free(&given);
    cJSON_Delete(root);
    fails("train mlp --width inf --scale mup --start draw " DATA, 1, "in the kernel regime alone");
}

Test(train_infinite, refuses)
{
    put_data();
    fails("train mlp --width inf --scale standard " DATA, 1, "not stable");
    fails("train mlp --width inf --scale mup --optimizer adam " DATA, 1, "IVb");
    fails("train batchnorm --width inf --scale mup " DATA, 1, "samples of a batch meet");
    fails("train mlp --width inf --scale mup --weights w.safetensors " DATA, 2, "--weights");
    fails("train mlp --width inf --scale ntk --checkpoint c.safetensors " DATA, 1, "kernel regime has no checkpoint");
    fails("train mlp --width inf --scale mup --seeds 3 " DATA, 2, "--runs");
    fails("train mlp --width inf --epochs 0 " DATA, 2, "a step at least");
    fails("train mlp --width inf --steps 0 " DATA, 2, "a step at least");
    fails("train mlp --width inf --out w.safetensors " DATA, 2, "no weights");
    fails("train mlp --width 16 --out f.npy --inputs x.npy --labels y.npy", 2, "F.safetensors");
    fails("train mlp --width 16 --samples 64 --inputs x.npy --labels y.npy", 2, "--width inf");
    fails("train mlp --width inf --scale mup --steps 1000000000 --batch 0 --data digits --samples 65536", 1, "GB");
}
