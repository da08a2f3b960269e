/* limn predict as its users run it: the reference through files, beside limn train, and what it refuses. */
#include "datasets/datasets.h"
#include "tests/support/reference.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-predict-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
}

static void leave(void)
{
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    cr_assert(system(line) == 0);
}

TestSuite(predict_tool, .init = enter, .fini = leave, .timeout = 300);

static char *slurp(const char *file)
{
    char path[128];
    size_t size;
    ad_error error = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, file);
    char *text = ad_file_read(path, SIZE_MAX, &size, &error);
    cr_assert(text, "%s", error.text);
    return text;
}

/* The exit status of the tool in the folder; what it says goes to the files out and err. */
static int run(const char *environment, const char *arguments)
{
    char line[2048];
    snprintf(line, sizeof line, "cd %s && %s %s %s >out 2>err", folder, environment, LIMN_TOOL, arguments);
    int status = system(line);
    char *err = slurp("err");
    cr_assert(WIFEXITED(status) && !strstr(err, "Sanitizer") && !strstr(err, "runtime error"), "%s: %s", arguments,
              err);
    ad_free(err);
    return WEXITSTATUS(status);
}

static void works(const char *arguments)
{
    int status = run("", arguments);
    char *err = slurp("err");
    cr_assert(status == 0, "%s: %d, %s", arguments, status, err);
    ad_free(err);
}

/* Ends with the status and one line that holds `told`, and nothing on standard output. */
static void fails(const char *arguments, int status, const char *told)
{
    int got = run("", arguments);
    char *err = slurp("err"), *out = slurp("out");
    cr_expect(got == status && strncmp(err, "limn: ", 6) == 0 && strchr(err, '\n') == err + strlen(err) - 1 && !*out,
              "%s: %d, %s%s", arguments, got, err, out);
    cr_expect(strstr(err, told), "%s: no \"%s\" in: %s", arguments, told, err);
    ad_free(err);
    ad_free(out);
}

static void put(const char *file, const double *values, size_t rows, size_t columns)
{
    char path[128];
    size_t shape[2] = { rows, columns };
    ad_error error = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, file);
    cr_assert(ds_npy_write(path, values, shape, 2, &error) == 0, "%s", error.text);
}

static ds_array get(const char *file)
{
    char path[128];
    ds_array a;
    ad_error error = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, file);
    cr_assert(ds_npy_read(path, &a, &error) == 0, "%s", error.text);
    return a;
}

static cJSON *result(void)
{
    char *text = slurp("out");
    cJSON *root = cJSON_Parse(text);
    cr_assert(root, "%s", text);
    ad_free(text);
    return root;
}

static double value(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);
    cr_assert(cJSON_IsNumber(item), "%s", key);
    return item->valuedouble;
}

/* ---- the reference ---- */
enum { N = 5, M = 3, K = 2 };

static void put_reference_inputs(void)
{
    double *x = reference_inputs(N, 10), x2[M * 10], y[N * K], start[(N + M) * K];
    for (int i = 0; i < M; i++)
        for (int j = 0; j < 10; j++)
            x2[i * 10 + j] = cos(2 + i + 0.3 * j * (i + 1));
    for (int i = 0; i < N + M; i++)
        for (int k = 0; k < K; k++) {
            start[i * K + k] = i < N ? 0.3 * cos(i + 0.5 * k) : 0.2 * sin(2 + i - N - 0.5 * k);
            if (i < N)
                y[i * K + k] = sin(1 + i + 2 * k);
        }
    put("x.npy", x, N, 10);
    put("x2.npy", x2, M, 10);
    put("y.npy", y, N, K);
    put("start.npy", start, N + M, K);
    free(x);
}

#define NETWORK                                                                                                        \
    "predict mlp --set sigma_w=1.5 --set sigma_b=0.3 --sigma-in multiplier --inputs x.npy --labels y.npy "             \
    "--inputs2 x2.npy --json "

static const char *const names[] = { "0.5", "10.0", "1000.0", "None" };

static double worst(const double *a, const double *b, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

Test(predict_tool, reference_of_the_gradient_flow)
{
    reference *ref = reference_read("predict_mlp_relu_d3");
    put_reference_inputs();
    for (int r = 0; r < 2; r++) {
        char arguments[400], object[80];
        snprintf(arguments, sizeof arguments, NETWORK "--start start.npy --times 0.5,10,1000,inf --ridge %s",
                 r ? "0.001" : "0");
        works(arguments);
        cJSON *root = result();
        for (int k = 0; k < 4; k++) {
            const cJSON *time = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), k);
            snprintf(object, sizeof object, "gradient_descent_mse_reg%s_t%s", r ? "0.001" : "0.0", names[k]);
            for (int part = 0; part < 2; part++) {
                const cJSON *rows = cJSON_GetObjectItem(cJSON_GetObjectItem(time, part ? "test" : "train"), "outputs");
                const double *expected =
                    reference_entry(ref, object, part ? "fx_test" : "fx_train", part ? M * K : N * K);
                for (int i = 0; i < (part ? M : N) * K; i++) {
                    double got = cJSON_GetArrayItem(cJSON_GetArrayItem(rows, i / K), i % K)->valuedouble;
                    /* at the training inputs the reference has K + ridge, which is not the function */
                    bool same = fabs(got - expected[i]) < 1e-9;
                    cr_expect(r && !part ? !same && fabs(got - expected[i]) < 0.05 : same, "%s: %.15g, not %.15g",
                              object, got, expected[i]);
                }
            }
        }
        if (!r)
            cr_expect(fabs(value(root, "largest_stable_rate") - *reference_array(ref, "max_learning_rate", 1)) < 1e-9);
        cJSON_Delete(root);
    }
    reference_free(ref);
}

Test(predict_tool, reference_of_ensembles_and_gp_inference)
{
    reference *ref = reference_read("predict_mlp_relu_d3");
    put_reference_inputs();
    for (int w = 0; w < 2; w++)
        for (int r = 0; r < 2; r++) {
            char arguments[400], object[80];
            snprintf(arguments, sizeof arguments,
                     NETWORK "--times 0.5,10,1000,inf --kernel %s --ridge %s --out f.npy --covariance c.npy",
                     w ? "ntk" : "nngp", r ? "0.001" : "0");
            works(arguments);
            ds_array f = get("f.npy"), c = get("c.npy");
            cr_assert(f.rank == 3 && f.shape[0] == 4 && f.shape[1] == M && f.shape[2] == K && c.shape[2] == M);
            for (int k = 0; k < 4; k++)
                for (int gp = 0; gp < 2; gp++) {
                    if (gp ? k < 3 : !r || k == 2)
                        continue; /* not in the file */
                    if (gp)
                        snprintf(object, sizeof object, "gp_inference_reg%s_%s", r ? "0.001" : "0.0",
                                 w ? "ntk" : "nngp");
                    else
                        snprintf(object, sizeof object, "ensemble_reg0.001_t%s_%s", names[k], w ? "ntk" : "nngp");
                    cr_expect(worst(f.data + k * M * K, reference_entry(ref, object, "mean", M * K), M * K) < 1e-9,
                              "%s", object);
                    cr_expect(worst(c.data + k * M * M, reference_entry(ref, object, "cov", M * M), M * M) < 1e-9, "%s",
                              object);
                }
            ds_array_free(&f);
            ds_array_free(&c);
        }
    reference_free(ref);
}

/* With a ridge what is told of the training inputs is the function that any other input sees. */
Test(predict_tool, training_inputs_are_inputs)
{
    put_reference_inputs();
    works("predict mlp --inputs x.npy --labels y.npy --inputs2 x.npy --labels2 y.npy --ridge 0.2 --times 1,inf --json");
    cJSON *root = result();
    for (int k = 0; k < 2; k++) {
        const cJSON *time = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), k),
                    *train = cJSON_GetObjectItem(time, "train"), *test = cJSON_GetObjectItem(time, "test");
        cr_expect(fabs(value(train, "loss") - value(test, "loss")) < 1e-12 * value(test, "loss"));
        cr_expect(value(train, "loss") > 1e-4);
    }
    cJSON_Delete(root);
}

/* Noise is a ridge where the kernel trains; a likelihood has it, and has no ridge beside it. */
Test(predict_tool, noise_is_told_from_the_ridge)
{
    double loss[4], nll[4];
    put_reference_inputs();
    static const char *const all[] = { "--ridge 0", "--noise 0.3 --times inf", "--noise 0 --ridge 0.1", "--ridge 0.1" };
    double diagonal = 0;
    for (int k = 0; k < 4; k++) {
        char arguments[300];
        snprintf(arguments, sizeof arguments,
                 "predict mlp --kernel nngp --inputs x.npy --labels y.npy --inputs2 x.npy --labels2 y.npy --json "
                 "--times inf %s",
                 all[k]);
        works(arguments);
        cJSON *root = result();
        const cJSON *test = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), 0), "test");
        loss[k] = value(test, "loss");
        nll[k] = k ? value(test, "nll") : 0;
        if (k == 3)
            diagonal = value(root, "ridge") / 0.1;
        cr_expect(k == 1 ? value(root, "noise") == 0.3 && value(root, "ridge") == 0 : true);
        cJSON_Delete(root);
    }
    cr_expect(loss[0] < 1e-20 && loss[1] > 1e-4 && loss[2] == loss[3]);
    cr_expect(fabs(nll[2] - nll[3]) > 0.01, "%g, %g", nll[2], nll[3]);
    char arguments[300];
    snprintf(arguments, sizeof arguments,
             "predict mlp --kernel nngp --inputs x.npy --labels y.npy --inputs2 x.npy --labels2 y.npy --json "
             "--times inf --ridge %.17g",
             0.3 / diagonal);
    works(arguments);
    cJSON *root = result();
    const cJSON *test = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), 0), "test");
    cr_expect(fabs(value(test, "loss") - loss[1]) < 1e-9 && fabs(value(test, "nll") - nll[1]) < 1e-9);
    cJSON_Delete(root);
}

/* Targets far from 0: centred they are predicted as those about 0 are. */
Test(predict_tool, centred_targets)
{
    double x[N * 2], y[N], far[N], x2[] = { 0.4, -0.3 }, f[2];
    for (int i = 0; i < N * 2; i++)
        x[i] = sin(1 + 2.1 * i);
    for (int i = 0; i < N; i++)
        far[i] = (y[i] = i - (N - 1) / 2.0) + 1000;
    put("x.npy", x, N, 2);
    put("y.npy", y, N, 1);
    put("far.npy", far, N, 1);
    put("x2.npy", x2, 1, 2);
    for (int k = 0; k < 2; k++) {
        works(
            k ? "predict mlp --inputs x.npy --labels far.npy --inputs2 x2.npy --ridge 0.1 --times 3,inf --centre --out "
                "f.npy"
              : "predict mlp --inputs x.npy --labels y.npy --inputs2 x2.npy --ridge 0.1 --times 3,inf --out f.npy");
        ds_array a = get("f.npy");
        for (int t = 0; t < 2; t++) {
            cr_expect(!k || fabs(a.data[t] - 1000 - f[t]) < 1e-9, "%g, not %g", a.data[t] - 1000, f[t]);
            f[t] = a.data[t];
        }
        ds_array_free(&a);
    }
}

/* ---- beside limn train: its square loss has no 1/k ---- */
Test(predict_tool, agrees_with_limn_train_at_a_large_width)
{
    enum { ROWS = 8, FEATURES = 6, OUTPUTS = 2 };
    double x[ROWS * FEATURES], y[ROWS * OUTPUTS];
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(1 + 2.1 * i);
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        y[i] = cos(3 * i);
    put("x.npy", x, ROWS, FEATURES);
    put("y.npy", y, ROWS, OUTPUTS);
    works("train mlp --set depth=1 --set phi=tanh --inputs x.npy --labels y.npy --width 8192 --dtype double --loss "
          "square "
          "--optimizer momentum --rate 0.2 --batch 0 --steps 20 --json");
    cJSON *root = result();
    double trained =
        value(cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "runs"), 0), "train"), "loss");
    cJSON_Delete(root);
    for (int full = 0; full < 2; full++) {
        works(full ? "predict mlp --set depth=1 --set phi=tanh --inputs x.npy --labels y.npy --width 8192 --optimizer "
                     "momentum --rate 0.4 --times 0,20 --json --outputs full"
                   : "predict mlp --set depth=1 --set phi=tanh --inputs x.npy --labels y.npy --width 8192 --optimizer "
                     "momentum --rate 0.4 --times 0,20 --json");
        root = result();
        double loss[2];
        for (int k = 0; k < 2; k++)
            loss[k] =
                value(cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), k), "train"), "loss");
        cr_expect(fabs(OUTPUTS * loss[1] - trained) < (full ? 1e-3 : 0.02) * trained && loss[1] < 0.7 * loss[0],
                  "trained to %g; predicted %g from %g", trained, OUTPUTS * loss[1], OUTPUTS * loss[0]);
        cJSON_Delete(root);
    }
}

/* ---- tables, scales, refusals ---- */
#define DIGITS "predict mlp --data digits --train 60 --test 30 "

Test(predict_tool, tells_a_table)
{
    static const char *const all[] = { DIGITS,
                                       DIGITS "--loss cross-entropy",
                                       DIGITS "--kernel nngp --ridge 1e-3 --times inf",
                                       DIGITS "--width 64 --optimizer sgd --times 0,1,5",
                                       DIGITS "--width 64 --outputs full --optimizer momentum --times 3",
                                       DIGITS "--scale standard --at-width 64",
                                       DIGITS "--scale meanfield --set depth=1 --width 64 --times 1",
                                       DIGITS "--scale mup --width 64 --times 1",
                                       DIGITS "--width 64 --loss cross-entropy --optimizer sgd --times 1,9",
                                       "predict rnn --data digits --train 40 --test 20 --times 1,inf --ridge 1e-6" };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        works(all[i]);
        char *out = slurp("out");
        cr_expect(strstr(out, "largest stable rate") && strstr(out, "condition number") && strstr(out, "ridge") &&
                      strstr(out, "train loss") && strstr(out, "test loss") && strstr(out, "NLL"),
                  "%s: %s", all[i], out);
        ad_free(out);
    }
    works(DIGITS "--explain");
    char *out = slurp("out");
    cr_expect(strstr(out, "memory: ") && strstr(out, "eigenvalues"), "%s", out);
    ad_free(out);
    works(DIGITS "--explain --times inf --json");
    cJSON *root = result();
    cr_expect(value(root, "bytes") > 60 * 60 * 8);
    cr_expect_str_eq(cJSON_GetObjectItem(root, "factoring")->valuestring, "cholesky");
    cJSON_Delete(root);
}

Test(predict_tool, json_has_what_the_table_has)
{
    works(DIGITS "--json --times 1,inf");
    cJSON *root = result();
    const cJSON *times = cJSON_GetObjectItem(root, "times"), *last = cJSON_GetArrayItem(times, 1);
    cr_expect(value(root, "condition_number") > 1 && value(root, "train_rows") == 60 && value(root, "test_rows") == 30);
    cr_expect_str_eq(cJSON_GetObjectItem(last, "t")->valuestring, "inf");
    cr_expect(value(cJSON_GetObjectItem(last, "train"), "loss") < 1e-20);
    cr_expect(value(cJSON_GetObjectItem(last, "train"), "accuracy") == 1);
    cr_expect(value(cJSON_GetObjectItem(last, "test"), "accuracy") > 0.6); /* 10 classes, six of each */
    cr_expect(isfinite(value(cJSON_GetObjectItem(last, "test"), "nll")));
    cr_expect(cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetObjectItem(last, "train"), "nll")));
    cJSON_Delete(root);
}

Test(predict_tool, failures_are_one_line)
{
    double twice[] = { 1, 2, 3, 1, 2, 3, 0, 1, 0 }, y[] = { 0, 1, 0.5 }, two[] = { 1, 2 };
    put("twice.npy", twice, 3, 3);
    put("y.npy", y, 3, 1);
    put("two.npy", two, 2, 1);
#define TWICE "predict mlp --inputs twice.npy --labels y.npy "
    fails("predict mlp --inputs twice.npy", 1, "--labels");
    fails(TWICE "--out f.npy", 1, "--ridge");
    fails(TWICE "--times inf", 1, "condition number");
    fails(TWICE "--times inf --ridge 1e-3 --loss cross-entropy", 1, "classes");
    fails(TWICE "--times 1 --inputs2 two.npy", 1, "features");
    fails(TWICE "--times 1 --inputs2 twice.npy --labels2 two.npy", 1, "two.npy");
    fails(TWICE "--times 1 --start two.npy", 1, "two.npy");
    fails(TWICE "--times 1 --covariance c.npy", 1, "--inputs2");
    fails(TWICE "--times 0.5 --optimizer sgd", 1, "whole number");
    fails(TWICE "--times 1,1000000 --optimizer sgd --rate 100", 1, "diverges");
    fails(DIGITS "--loss cross-entropy --times inf", 1, "without end");
    fails(DIGITS "--scale standard", 1, "n^1");
    fails(DIGITS "--scale mup", 1, "--width N");
    fails(DIGITS "--optimizer adam", 2, "adam");
    fails("train mlp --optimizer flow", 2, "flow");
    fails(DIGITS "--times 2,1", 2, "ascending");
    fails(DIGITS "--times 1,,2", 2, "ascending");
    fails(DIGITS "--ridge -1", 2, "--ridge");
    fails(DIGITS "--labels2 y.npy", 2, "--inputs2");
    fails(DIGITS "--width 64 --covariance c.npy", 2, "--covariance");
    fails(DIGITS "--explain --out f.npy", 2, "--explain");
    fails(DIGITS "--probes 3", 2, "--probes");
    fails(TWICE "--times 1 --centre --no-centre", 2, "--centre");
    fails(TWICE "--times 1 --centre --width 16", 2, "--centre");
    works(TWICE "--times 1"); /* a finite time needs no inverse */
    works(TWICE "--ridge 1e-3");
}

/* A time that is finite is told beside the limit that there is not. */
Test(predict_tool, finite_times_of_a_singular_kernel)
{
    double twice[] = { 1, 2, 3, 1, 2, 3, 0, 1, 0 }, y[] = { 0, 1, 0.5 };
    put("twice.npy", twice, 3, 3);
    put("y.npy", y, 3, 1);
    works(TWICE "--times 1,5,inf");
    char *out = slurp("out");
    cr_expect(strstr(out, "\n         5 ") && strstr(out, "\n       inf            -") &&
                  strstr(out, "t = inf is refused: ") && strstr(out, "--ridge"),
              "%s", out);
    ad_free(out);
    works(TWICE "--json --times 1,inf");
    cJSON *root = result();
    const cJSON *times = cJSON_GetObjectItem(root, "times"), *last = cJSON_GetArrayItem(times, 1);
    cr_expect(value(cJSON_GetObjectItem(cJSON_GetArrayItem(times, 0), "train"), "loss") > 0);
    cr_expect(strstr(cJSON_GetObjectItem(last, "refused")->valuestring, "condition number") &&
              !cJSON_GetObjectItem(last, "train"));
    cJSON_Delete(root);
    works(TWICE "--optimizer sgd --rate 1e-9 --times 1,inf");
    works("predict mlp --data digits --train 20 --test 5 --optimizer sgd --rate 1e3 --times 0,inf");
    out = slurp("out");
    cr_expect(strstr(out, "not below"), "%s", out);
    ad_free(out);
}

static double train_loss(const cJSON *root, int time)
{
    const cJSON *times = cJSON_GetObjectItem(root, "times");
    return value(cJSON_GetObjectItem(cJSON_GetArrayItem(times, time), "train"), "loss");
}

/* Rows that are one to the network, as written: equal, three of them, multiples where each layer is normalised or no
 * bias is, none at all; and more rows than features of a linear network. At t = inf the loss is what targets of one row
 * leave around their mean, and a kernel that is right to its error alone does not show it. */
Test(predict_tool, rows_that_a_kernel_does_not_tell_apart)
{
    static const double base[4][3] = { { 0.3, -0.2, 1 }, { 1.2, 0.4, -0.3 }, { -0.7, 0.9, 0.1 }, { 0.2, 1.1, 0.8 } };
    static const struct {
        const char *net;
        double third, fourth; /* rows 2 and 3 are row 0 times these; 0 and `own`: rows of their own */
        const char *told;
    } all[] = {
        { "mlp --set phi=tanh", 1, 9, "row 2, counted from 0, is row 0" },
        { "mlp --set phi=erf --set sigma_b=0.1", 1, 9, "row 2, counted from 0, is row 0" },
        { "mlp --set phi=gelu", 1, 1, "row 2, counted from 0, is row 0 or a multiple of it, the first of 2 such" },
        { "mlp --set phi=softplus --kernel nngp", 1, 9, "row 2, counted from 0, is row 0" },
        { "mlp --set phi=relu", 3, 9, "row 2, counted from 0, is row 0" },
        { "layernorm.c", 3, 9, "row 2, counted from 0, is row 0" },
        { "mlp --set phi=tanh", 9, 0, "row 3, counted from 0, is nothing" },
        { "mlp --set phi=identity", 9, 9, "condition number" },
        { "mlp --set phi=tanh --width 32", 1, 9, "row 2, counted from 0, is row 0" },
        { "mlp --set phi=tanh --width 32 --dtype float", 1, 9, "row 2, counted from 0, is row 0" },
        { "mlp --set phi=tanh --optimizer sgd", 1, 9, "row 2, counted from 0, is row 0" },
    };
    const double y[4] = { 0, 0.4, 1.5, -0.6 };
    char path[128];
    snprintf(path, sizeof path, "%s/layernorm.c", folder);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fputs("#include \"limn.h\"\n"
          "ad_var limn_network(nn_net *net, ad_var x)\n"
          "{\n"
          "    ad_axis n = nn_width(net, \"n\");\n"
          "    ad_var h = nn_layernorm_with(net, \"norm1\", nn_dense(net, \"dense1\", x, n), .exact = true);\n"
          "    h = nn_layernorm(net, \"norm2\", nn_dense(net, \"dense2\", ad_tanh(h), n));\n"
          "    return nn_readout(net, \"readout\", ad_tanh(h));\n"
          "}\n",
          f);
    fclose(f);
    put("y.npy", y, 4, 1);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        double x[12];
        char line[300];
        for (int i = 0; i < 12; i++)
            x[i] = i / 3 == 2 && all[k].third < 9    ? all[k].third * base[0][i % 3]
                   : i / 3 == 3 && all[k].fourth < 9 ? all[k].fourth * base[0][i % 3]
                                                     : base[i / 3][i % 3];
        put("x.npy", x, 4, 3);
        snprintf(line, sizeof line, "predict %s --no-check --inputs x.npy --labels y.npy --times inf", all[k].net);
        fails(line, 1, all[k].told);
        snprintf(line, sizeof line, "predict %s --no-check --inputs x.npy --labels y.npy --json --times 1,inf",
                 all[k].net);
        works(line);
        cJSON *root = result();
        const cJSON *last = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), 1);
        cr_expect(train_loss(root, 0) > 0.01 && !cJSON_GetObjectItem(last, "train"), "%s", all[k].net);
        cr_expect(strstr(cJSON_GetObjectItem(last, "refused")->valuestring, all[k].told), "%s", all[k].net);
        cJSON_Delete(root);
    }
}

/* The readout alone is what is left where all else is frozen, whichever convention, width or scale: at every time, in
 * means and variances, and in the rate that is stable. */
Test(predict_tool, nngp_is_the_ntk_of_the_readout_alone)
{
    static const char *const nets[] = {
        "mlp --set phi=erf --sigma-in init",
        "mlp --set phi=erf --set sigma_w=3 --sigma-in init",
        "mlp --set phi=tanh --set sigma_w=1.5 --sigma-in multiplier --set sigma_b=0.3",
        "mlp --set phi=relu --set sigma_w=0.7 --set sigma_b=0.7 --sigma-in init",
        "mlp --set phi=erf --set sigma_w=3 --scale standard --at-width 8",
        "mlp --set phi=erf --set sigma_w=2 --width 16",
        "mlp --set phi=erf --set sigma_w=2 --scale standard --width 16",
        "mlp --set phi=erf --set sigma_w=1.5 --optimizer momentum --rate 0.3",
    };
    put_reference_inputs();
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) {
        double loss[2][4], nll[2][4], rate[2];
        bool wide = strstr(nets[k], "--width") != NULL;
        for (int frozen = 0; frozen < 2; frozen++) {
            char line[600];
            snprintf(line, sizeof line,
                     "predict %s --no-check --inputs x.npy --labels y.npy --inputs2 x2.npy --labels2 y2.npy --json "
                     "--times 1,7,50,inf --noise 0 --kernel %s",
                     nets[k], frozen ? "ntk --freeze 'dense*'" : "nngp");
            double y2[M * K];
            for (int i = 0; i < M * K; i++)
                y2[i] = cos(3.0 * i);
            put("y2.npy", y2, M, K);
            works(line);
            cJSON *root = result();
            rate[frozen] = value(root, "largest_stable_rate");
            for (int t = 0; t < 4; t++) {
                const cJSON *test =
                    cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), t), "test");
                loss[frozen][t] = value(test, "loss");
                nll[frozen][t] = wide ? 0 : value(test, "nll");
            }
            cJSON_Delete(root);
        }
        cr_expect(fabs(rate[0] - rate[1]) < 1e-8 * rate[1], "%s: %.12g, not %.12g", nets[k], rate[0], rate[1]);
        for (int t = 0; t < 4; t++) {
            cr_expect(fabs(loss[0][t] - loss[1][t]) < 1e-8, "%s: %.12g, not %.12g", nets[k], loss[0][t], loss[1][t]);
            cr_expect(fabs(nll[0][t] - nll[1][t]) < 1e-6, "%s: %.12g, not %.12g", nets[k], nll[0][t], nll[1][t]);
        }
    }
}

static void put_network(const char *file, const char *body)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fprintf(f,
            "#include \"limn.h\"\nad_var limn_network(nn_net *net, ad_var x)\n{\n"
            "    ad_axis n = nn_width(net, \"n\");\n"
            "    ad_var h = ad_erf(nn_dense(net, \"d1\", x, n)), g = ad_erf(nn_dense(net, \"d2\", h, n));\n%s\n}\n",
            body);
    fclose(f);
}

/* Where no multiple of the NNGP kernel trains the readout, there is GP inference at t = inf alone. */
Test(predict_tool, nngp_without_a_readout_that_trains)
{
    put_reference_inputs();
    put_network("alike.c", "    return ad_add(nn_readout(net, \"r1\", h), nn_readout(net, \"r2\", g));");
    put_network("apart.c", "    return ad_add(nn_readout(net, \"r1\", h), nn_apply(nn_make_weight(net, \"r2\", n, "
                           "nn_outputs(net), 2), g));");
    put_network("shared.c", "    nn_weight v = nn_make_weight(net, \"v\", n, nn_outputs(net), 1);\n"
                            "    return ad_mul(nn_apply(v, h), nn_apply(v, g));");
#define ON " --no-check --kernel nngp --inputs x.npy --labels y.npy "
    works("predict alike.c" ON "--times 1,inf");
    fails("predict apart.c" ON "--times 1,inf", 1, "the readouts r2 and r1.weight have");
    fails("predict mlp --set sigma_b=0.3" ON "--times 1", 1, "GP inference");
    fails("predict mlp --set sigma_b=0" ON "--times 1", 1, "starts at 0, and learns");
    fails("predict mlp --freeze 'readout*'" ON "--times 1", 1, "does not learn");
    fails("predict mlp --scale standard" ON "--times 1", 1, "--at-width N");
    fails("predict mlp --set sigma_b=0.3" ON "--times inf --optimizer sgd", 1, "no finite times and steps");
    int status = run("", "predict shared.c" ON "--times 1");
    cr_expect_eq(status, 1);
    works("predict mlp --set sigma_b=0.3" ON);
    char *out = slurp("out");
    cr_expect(strstr(out, "NNGP kernel (GP inference)") && !strstr(out, "stable rate") && !strstr(out, "\n         1 "),
              "%s", out);
    ad_free(out);
}

/* Two equal rows: their mean trains alone, and its loss is (y_0 - y_1)^2 / 8. Files have all times or none. */
Test(predict_tool, equal_rows_train_to_their_mean)
{
    double x[] = { 0.3, -0.2, 1, 0.3, -0.2, 1 }, y[] = { 0, sqrt(4.0 / 3) };
    put("x.npy", x, 2, 3);
    put("y.npy", y, 2, 1);
#define EQUAL "predict mlp --set phi=tanh --no-check --inputs x.npy --labels y.npy "
    works(EQUAL "--json --times 100,1e5,1e8,1e14,inf");
    cJSON *root = result();
    for (int k = 0; k < 3; k++)
        cr_expect(fabs(train_loss(root, k) - 1.0 / 6) < 1e-4, "%g", train_loss(root, k));
    for (int k = 3; k < 5; k++) {
        const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), k);
        cr_expect(!cJSON_GetObjectItem(item, "train") && cJSON_GetObjectItem(item, "refused"));
    }
    cJSON_Delete(root);
    works(EQUAL "--json --times 100,inf --ridge 1e-6");
    root = result();
    for (int k = 0; k < 2; k++)
        cr_expect(fabs(train_loss(root, k) - 1.0 / 6) < 1e-4, "%g", train_loss(root, k));
    cJSON_Delete(root);
    fails(EQUAL "--times 1,inf --out f.npy", 1, "--out takes all --times or none, and t = inf is refused");
    works(EQUAL "--times 1,100 --out f.npy");
}

/* Every allocation of the tool fails once: in the limit with covariances, and at a width. */
Test(predict_tool, memory_that_runs_out)
{
    static const char *const all[] = { "predict mlp --set depth=1 --inputs x.npy --labels y.npy --inputs2 x2.npy "
                                       "--json --covariance c.npy --out f.npy",
                                       "predict mlp --set depth=1 --inputs x.npy --labels y.npy --inputs2 x2.npy "
                                       "--width 4 --outputs full --ridge 0.1 --times 1,inf" };
    put_reference_inputs();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        long step = 1;
        for (long k = 1, status = 1; status; k += step) {
            cr_assert_lt(k, 100000, "%s never works", all[i]);
            char hook[64];
            snprintf(hook, sizeof hook, "LIMN_FAIL_ALLOC=%ld", k);
            status = run(hook, all[i]);
            char *err = slurp("err");
            cr_expect(status == 0 || (status == 1 && strstr(err, "memory")), "%s %s: %ld, %s", hook, all[i], status,
                      err);
            ad_free(err);
            step = k < 20 ? 1 : 1 + k / 20; /* each of the first, then ever fewer: a run is a process */
        }
    }
}

Test(predict_tool, help)
{
    works("predict --help");
    char *out = slurp("out");
    cr_expect(strstr(out, "--ridge") && strstr(out, "--times") && !strstr(out, "--epochs"), "%s", out);
    ad_free(out);
    works("--help");
    out = slurp("out");
    cr_expect(strstr(out, "what training would do, by a constant kernel"), "%s", out);
    ad_free(out);
}

Test(predict_tool, a_network_with_dropout_is_told_to_be_whole)
{
    static const char *const kernels[] = { "", " --width 16", " --times inf --ridge 1e-3 --dtype float" };
    char line[256];
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++)
        for (int drops = 0; drops < 2; drops++) {
            snprintf(line, sizeof line, "predict mlp --set depth=1 --train 20 --test 5 --data digits%s%s", kernels[k],
                     drops ? " --set dropout=0.8" : "");
            works(line);
            char *out = slurp("out");
            cr_expect(!strstr(out, "nothing is dropped out") == !drops, "%s: %s", line, out);
            ad_free(out);
        }
}
