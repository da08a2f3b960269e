/* The tool as its users run it: a process with arguments, files, an exit status, and one line on standard error when
 * something is wrong. */
#include "datasets/datasets.h"
#include "nn/safetensors.h"
#include "tests/support/reference.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a folder for each test, in which the tool runs ---- */
static char folder[64];

static void shell(const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    int status = system(line);
    cr_assert(status == 0, "%s", line);
}

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-tool-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    shell("mkdir %s/.tmp", folder);
}

static void leave(void)
{
    shell("rm -rf %s", folder);
}

TestSuite(tool, .init = enter, .fini = leave, .timeout = 300);

/* A path in the test's folder; the last eight results stay valid. */
static const char *in(const char *file)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, file);
    return path;
}

/* How many files the folder has, those with a dot not counted. */
static int files(const char *path)
{
    DIR *listing = opendir(path);
    cr_assert(listing != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing));)
        count += entry->d_name[0] != '.' || strncmp(entry->d_name, ".limn", 5) == 0;
    closedir(listing);
    return count;
}

/* The whole file; ad_free frees it. */
static char *slurp(const char *path, size_t *size)
{
    size_t length;
    ad_error error = { 0 };
    char *text = ad_file_read(path, SIZE_MAX, size ? size : &length, &error);
    cr_assert(text, "%s", error.text);
    return text;
}

static void put(const char *file, const void *bytes, size_t count)
{
    FILE *stream = fopen(in(file), "wb");
    cr_assert(stream && fwrite(bytes, 1, count, stream) == count && fclose(stream) == 0);
}

static void put_text(const char *file, const char *text)
{
    put(file, text, strlen(text));
}

/* A run of the tool in the folder. Its output stays until the next run. */
typedef struct {
    int status;
    const char *out, *err;
} outcome;

/* environment: "KEY=value ..." or "". */
static outcome run_as(const char *program, const char *environment, const char *arguments)
{
    static char *out, *err;
    char line[4096];
    snprintf(line, sizeof line, "cd %s && TMPDIR=%s/.tmp %s %s %s >.out 2>.err", folder, folder, environment, program,
             arguments);
    int status = system(line);
    ad_free(out);
    ad_free(err);
    out = slurp(in(".out"), NULL);
    err = slurp(in(".err"), NULL);
    cr_assert(WIFEXITED(status), "%s was killed: %s", arguments, err);
    cr_assert(files(in(".tmp")) == 0, "%s left a temporary file", arguments);
    cr_assert(!strstr(err, "Sanitizer") && !strstr(err, "runtime error"), "%s: %s", arguments, err);
    return (outcome){ WEXITSTATUS(status), out, err };
}

static outcome limn(const char *format, ...)
{
    char arguments[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    return run_as(LIMN_TOOL, "", arguments);
}

static outcome works(const char *arguments)
{
    outcome r = limn("%s", arguments);
    cr_assert(r.status == 0, "%s: %d, %s", arguments, r.status, r.err);
    return r;
}

/* One line that starts with "limn: ", progress aside. */
static bool is_one_line(const char *err)
{
    int own = 0, other = 0;
    for (const char *at = err; *at;) {
        size_t length = strcspn(at, "\n");
        own += strncmp(at, "limn: ", 6) == 0 && length > 8;
        other += strncmp(at, "limn: ", 6) != 0 && strncmp(at, "step ", 5) != 0;
        at += length + (at[length] == '\n');
    }
    return own == 1 && other == 0;
}

/* It ends with the status, one line that holds `told`, and as many files as before. */
static void fails_as(const char *environment, const char *arguments, int status, const char *told)
{
    int before = files(folder);
    outcome r = run_as(LIMN_TOOL, environment, arguments);
    cr_expect(r.status == status, "%s %s: exit status %d, not %d: %s", environment, arguments, r.status, status, r.err);
    cr_expect(is_one_line(r.err), "%s %s: not one line: %s", environment, arguments, r.err);
    cr_expect(strstr(r.err, told), "%s %s: no \"%s\" in: %s", environment, arguments, told, r.err);
    cr_expect(files(folder) == before, "%s %s: a file was left", environment, arguments);
}

static void fails(const char *arguments, int status, const char *told)
{
    fails_as("", arguments, status, told);
}

/* ---- files ---- */
static void put_array(const char *file, const double *values, size_t rows, size_t columns)
{
    size_t shape[2] = { rows, columns };
    ad_error error = { 0 };
    cr_assert(ds_npy_write(in(file), values, shape, columns ? 2 : 1, &error) == 0, "%s", error.text);
}

/* An .npy of any header. */
static void put_npy(const char *file, const char *descr, bool fortran, const char *shape, const void *data, size_t size)
{
    char bytes[4096] = "\x93NUMPY\x01\x00\x76\x00", header[119];
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr,
                          fortran ? "True" : "False", shape);
    memset(bytes + 10, ' ', 118);
    memcpy(bytes + 10, header, (size_t)length);
    bytes[127] = '\n';
    memcpy(bytes + 128, data, size);
    put(file, bytes, 128 + size);
}

static void put_inputs(const char *file)
{
    double *x = reference_inputs(5, 10);
    put_array(file, x, 5, 10);
    free(x);
}

static ds_array get_array(const char *file)
{
    ds_array a;
    ad_error error = { 0 };
    cr_assert(ds_npy_read(in(file), &a, &error) == 0, "%s", error.text);
    return a;
}

static void compare(const char *what, const char *file, const double *expected, size_t count, double tolerance)
{
    ds_array a = get_array(file);
    size_t size = 1;
    for (int k = 0; k < a.rank; k++)
        size *= a.shape[k];
    cr_assert_eq(size, count, "%s", what);
    for (size_t i = 0; i < count; i++)
        cr_expect(fabs(a.data[i] - expected[i]) <= tolerance * fabs(expected[i]), "%s: %.17g at %zu, not %.17g", what,
                  a.data[i], i, expected[i]);
    ds_array_free(&a);
}

/* ---- help and usage ---- */
Test(tool, help_tells_each_command_its_own_options)
{
    static const struct {
        const char *command, *has, *lacks;
    } rows[] = { { "report", "--widths", "--epochs" },
                 { "train", "--epochs", "--at-width" },
                 { "eval", "--weights", "--rate" },
                 { "kernel", "--explain", "--optimizer" },
                 { "program", "--set", "--width" },
                 { "limit", "--psi", "--scale" } };
    char arguments[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(arguments, sizeof arguments, "%s --help", rows[i].command);
        outcome r = works(arguments);
        cr_expect(strstr(r.out, rows[i].has) && !strstr(r.out, rows[i].lacks) && !*r.err, "%s: %s", arguments, r.out);
    }
    outcome all = works("--help");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect(strstr(all.out, rows[i].has) && strstr(all.out, rows[i].command), "%s", all.out);
    cr_expect(strncmp(works("--version").out, "limn ", 5) == 0);
}

Test(tool, wrong_usage_is_one_line_and_status_2)
{
    static const char *const wrong[] = {
        "",
        "nothing mlp",
        "kernel",
        "kernel mlp mlp",
        "kernel mlp --nothing",
        "kernel mlp --epochs 3",
        "train mlp --probes 3",
        "program mlp --threads 2",
        "program mlp --format pdf",
        "limit",
        "limit a.tp --set depth=2",
        "report mlp --width 64",
        "kernel mlp --width",
        "kernel mlp --width 0",
        "kernel mlp --width 1",
        "kernel mlp --width 2.5",
        "kernel mlp --width -3",
        "train mlp --width 0",
        "train mlp --width inf",
        "report mlp --widths 64,,128",
        "report mlp --widths 1,2",
        "report mlp --widths 64,",
        "kernel mlp --scale none",
        "kernel mlp --kernel ntk|nngp",
        "train mlp --rate fast",
        "train mlp --rate nan",
        "train mlp --batch 1e30",
        "train mlp --seeds 0",
        "kernel mlp --set depth",
        "kernel mlp --json=yes",
        "kernel mlp --out=",
        "eval mlp",
        "train mlp --labels y.npy",
        "train mlp --data digits --inputs x.npy",
        "kernel mlp --width 64 --at-width 64",
        "train mlp --seeds 2 --checkpoint c",
        "kernel mlp --explain --out k.npy",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char arguments[128]; /* the shell must not see a bar */
        snprintf(arguments, sizeof arguments, "%s", wrong[i]);
        if (strchr(arguments, '|'))
            snprintf(arguments, sizeof arguments, "kernel mlp --kernel 'ntk|nngp'");
        fails(arguments, 2, "");
    }
}

/* ---- references ---- */
Test(tool, limit_references)
{
    static const struct {
        const char *file, *options;
        double tolerance;
    } rows[] = {
        { "mlp_relu_d3_bias", "--set phi=relu --set sigma_w=1.5", 1e-12 },
        { "mlp_relu_d1_standard_bias", "--set depth=1 --set sigma_w=1.5 --scale standard --at-width 64", 1e-12 },
        { "mlp_erf_d3_bias", "--set phi=erf --set sigma_w=1.2", 1e-12 },
        { "mlp_gelu_d1_bias", "--set depth=1 --set phi=gelu --set sigma_w=1.2", 1e-12 },
        { "mlp_tanh_num50_d1_bias", "--set depth=1 --set phi=tanh --set sigma_w=1.2", 1e-10 },
    };
    put_inputs("x.npy");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reference *ref = reference_read(rows[i].file);
        for (int nngp = 0; nngp < 2; nngp++) {
            outcome r =
                limn("kernel mlp --inputs x.npy --sigma-in %s --set sigma_b=0.3 %s --kernel %s --out k.npy",
                     strstr(rows[i].file, "standard") ? "init" : "multiplier", rows[i].options, nngp ? "nngp" : "ntk");
            cr_assert(r.status == 0, "%s: %s", rows[i].file, r.err);
            compare(rows[i].file, "k.npy", reference_array(ref, nngp ? "nngp" : "ntk", 25), 25, rows[i].tolerance);
        }
        reference_free(ref);
    }
}

/* A file of the reference's weights, written here from the format's description: dense1.weight, dense1.bias, ... */
static void put_weights(const char *file)
{
    static const struct {
        const char *name;
        size_t in, out;
    } params[] = { { "dense1.weight", 10, 16 }, { "dense1.bias", 0, 16 },    { "dense2.weight", 16, 16 },
                   { "dense2.bias", 0, 16 },    { "readout.weight", 16, 3 }, { "readout.bias", 0, 3 } };
    char header[1024] = "{";
    static double data[1024];
    size_t used = 0;
    for (size_t l = 0; l < 6; l++) {
        size_t count = (params[l].in ? params[l].in : 1) * params[l].out, length = strlen(header);
        char shape[32];
        if (params[l].in)
            snprintf(shape, sizeof shape, "%zu,%zu", params[l].in, params[l].out);
        else
            snprintf(shape, sizeof shape, "%zu", params[l].out);
        snprintf(header + length, sizeof header - length,
                 "%s\"%s\":{\"dtype\":\"F64\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", l ? "," : "", params[l].name,
                 shape, 8 * used, 8 * (used + count));
        for (size_t k = 0; k < count; k++) {
            double d = (double)k;
            data[used + k] =
                sqrt(2) * sin(1.3 * ((double)l + 1) + 2.399963229728653 * d + 0.11 * d * d / (double)count);
        }
        used += count;
    }
    strcat(header, "}");
    uint64_t length = strlen(header);
    static char bytes[16384];
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    memcpy(bytes + 8 + length, data, used * sizeof *data);
    put(file, bytes, 8 + length + used * sizeof *data);
}

#define FOREIGN                                                                                                        \
    "mlp --set depth=2 --set sigma_w=1.5 --set sigma_b=0.3 --set outputs=3 --sigma-in multiplier --inputs x.npy "      \
    "--weights w.safetensors "

Test(tool, a_foreign_networks_kernels_and_outputs)
{
    put_inputs("x.npy");
    put_weights("w.safetensors");
    reference *ref = reference_read("emp_mlp_relu_w16_d2_out3");
    works("eval " FOREIGN "--out f.npy");
    compare("outputs", "f.npy", reference_array(ref, "outputs", 15), 15, 1e-11);
    works("kernel " FOREIGN "--width 16 --outputs full --out k.npy");
    compare("full", "k.npy", reference_array(ref, "ntk_full", 225), 225, 1e-11);
    works("kernel " FOREIGN "--out k.npy"); /* the file knows the width */
    compare("mean", "k.npy", reference_array(ref, "ntk_trace_mean", 25), 25, 1e-11);
    reference_free(ref);
    fails("kernel " FOREIGN "--width 17", 1, "shape");
    fails("eval " FOREIGN, 1, "--labels");
}

/* ---- kernels ---- */
Test(tool, kernel_forms)
{
    put_inputs("x.npy");
    double *x = reference_inputs(5, 10);
    put_array("z.npy", x + 30, 2, 10);
    free(x);
    works("kernel mlp --inputs x.npy --out k.npy");
    ds_array whole = get_array("k.npy");
    cr_expect(whole.rank == 2 && whole.shape[0] == 5 && whole.shape[1] == 5);
    works("kernel mlp --inputs x.npy --inputs2 z.npy --set outputs=2 --outputs full --out k.npy --width inf");
    ds_array block = get_array("k.npy");
    cr_assert(block.rank == 4 && block.shape[0] == 5 && block.shape[1] == 2 && block.shape[2] == 2);
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 2; j++)
            for (size_t p = 0; p < 4; p++)
                cr_expect_float_eq(block.data[(i * 2 + j) * 4 + p], p % 3 ? 0 : whole.data[5 * i + 3 + j], 1e-12);
    cJSON *root = cJSON_Parse(works("kernel mlp --inputs x.npy --json").out);
    const cJSON *values = cJSON_GetObjectItem(root, "values");
    for (int i = 0; i < 25; i++)
        cr_expect_eq(cJSON_GetArrayItem(cJSON_GetArrayItem(values, i / 5), i % 5)->valuedouble, whole.data[i]);
    cJSON_Delete(root);
    ds_array_free(&whole);
    ds_array_free(&block);

    /* a mean over seeds */
    double mean[25] = { 0 };
    for (int seed = 7; seed < 9; seed++) {
        cr_assert(limn("kernel mlp --inputs x.npy --width 20 --seed %d --out k.npy", seed).status == 0);
        ds_array one = get_array("k.npy");
        for (int i = 0; i < 25; i++)
            mean[i] += one.data[i] / 2;
        ds_array_free(&one);
    }
    works("kernel mlp --inputs x.npy --width 20 --seed 7 --seeds 2 --out k.npy");
    compare("seeds", "k.npy", mean, 25, 1e-14);
}

Test(tool, limits_by_scale)
{
    put_inputs("x.npy");
    outcome r = works("kernel mlp --inputs x.npy --scale standard");
    cr_expect(strstr(r.out, "n^0:") && strstr(r.out, "n^1:"), "%s", r.out);
    fails("kernel mlp --inputs x.npy --scale standard --out k.npy", 1, "--at-width");
    fails("kernel mlp --inputs x.npy --scale meanfield", 1, "ntk and standard");
    fails("kernel mlp --inputs x.npy --scale mup", 1, "ntk and standard");
    works("kernel mlp --inputs x.npy --scale mup --width 16");
}

Test(tool, explain_computes_nothing)
{
    outcome r = works("kernel mlp --data mnist --explain");
    cr_expect(strstr(r.out, "10000 x 10000") && strstr(r.out, "memory") && strstr(r.out, "time"), "%s", r.out);
    cJSON *root = cJSON_Parse(works("kernel mlp --data digits --width 64 --outputs full --explain --json").out);
    double result = cJSON_GetNumberValue(cJSON_GetObjectItem(root, "result_bytes"));
    cr_expect_float_eq(result, 8.0 * 1797 * 1797 * 100, 1);
    cr_expect(cJSON_GetNumberValue(cJSON_GetObjectItem(root, "bytes")) > result);
    cr_expect(cJSON_GetNumberValue(cJSON_GetObjectItem(root, "seconds")) > 0);
    cJSON_Delete(root);
}

/* ---- training ---- */
#define SMALL "mlp --data digits --width 32 --set depth=1 "

Test(tool, training_resumes_bit_for_bit_and_its_weights_are_kept)
{
    works("train " SMALL "--steps 30 --checkpoint whole --out w.safetensors");
    works("train " SMALL "--steps 12 --checkpoint half");
    works("train " SMALL "--steps 30 --resume half --checkpoint rest");
    size_t size[2];
    char *whole = slurp(in("whole"), &size[0]), *rest = slurp(in("rest"), &size[1]);
    cr_expect(size[0] == size[1] && memcmp(whole, rest, size[0]) == 0);
    ad_free(whole);
    ad_free(rest);
    works("eval mlp --data digits --set depth=1 --dtype float --weights w.safetensors --out f.npy");
    works("eval mlp --data digits --set depth=1 --dtype float --weights rest --out g.npy");
    ds_array f = get_array("f.npy");
    cr_assert(f.shape[0] == 1797 && f.shape[1] == 10);
    compare("weights of a checkpoint", "g.npy", f.data, 17970, 0);
    ds_array_free(&f);
}

#define NORMAL "batchnorm --data digits --set depth=1 --set affine=yes --dtype double "

Test(tool, batchnorm_in_training_and_in_evaluation)
{
    works("train " NORMAL "--width 16 --steps 30 --checkpoint whole --out w.safetensors");
    works("train " NORMAL "--width 16 --steps 12 --checkpoint half");
    works("train " NORMAL "--width 16 --steps 30 --resume half --checkpoint rest");
    size_t size[2];
    char *whole = slurp(in("whole"), &size[0]), *rest = slurp(in("rest"), &size[1]);
    cr_expect(size[0] == size[1] && memcmp(whole, rest, size[0]) == 0);
    ad_free(whole);
    ad_free(rest);

    /* outputs are those of evaluation, kernels those of one batch, unless a mode is given */
    static const char *const modes[] = { "", "--mode train ", "--mode eval " };
    for (int k = 0; k < 2; k++) {
        ds_array values[3];
        for (int m = 0; m < 3; m++) {
            cr_assert(limn("%s " NORMAL "%s--weights w.safetensors %s--out k.npy", k ? "kernel" : "eval", modes[m],
                           k ? "--probes 6 " : "").status == 0);
            values[m] = get_array("k.npy");
        }
        size_t bytes = values[0].shape[0] * values[0].shape[1] * sizeof(double);
        cr_expect((memcmp(values[0].data, values[1].data, bytes) == 0) == (k == 1));
        cr_expect((memcmp(values[0].data, values[2].data, bytes) == 0) == (k == 0));
        for (int m = 0; m < 3; m++)
            ds_array_free(&values[m]);
    }
    cr_expect(strstr(works("kernel " NORMAL "--probes 6 --width 8").out, "normalised by their one batch"));

    cr_expect(limn("kernel batchnorm --mode eval").status == 2);
    double equal[20];
    for (int i = 0; i < 20; i++)
        equal[i] = i % 10 + 1;
    put_array("equal.npy", equal, 2, 10);
    outcome r = limn("kernel batchnorm --inputs equal.npy --set eps=0 --width 8");
    cr_expect(r.status == 1 && strstr(r.err, "batchnorm norm1: unit 0 has variance 0 over the batch, and epsilon is 0"));
}

Test(tool, digits_are_learned)
{
    cJSON *root =
        cJSON_Parse(works("train mlp --data digits --width 128 --set depth=1 --seeds 2 --epochs 5 --json").out);
    cr_assert(root);
    const cJSON *accuracy = cJSON_GetObjectItem(root, "test_accuracy");
    cr_expect_gt(cJSON_GetNumberValue(cJSON_GetObjectItem(accuracy, "mean")), 0.85);
    cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(root, "runs")), 2);
    cJSON_Delete(root);
}

Test(tool, data_of_ones_own)
{
    long long classes[5] = { 0, 1, 2, 1, 0 }, negative[5] = { 0, 1, -1, 1, 0 };
    double targets[10] = { 0.5, 1, -2, 3, 0.25, 1, 2, 3, 4, 5 };
    put_inputs("x.npy");
    put_npy("c.npy", "<i8", false, "(5,)", classes, sizeof classes);
    put_npy("n.npy", "<i8", false, "(5,)", negative, sizeof negative);
    put_npy("i2.npy", "<i8", false, "(5, 1)", classes, sizeof classes);
    put_array("y.npy", targets, 5, 0);
    put_array("y2.npy", targets, 5, 2);
    put_array("y4.npy", targets, 4, 0);
    outcome r = works("train mlp --inputs x.npy --labels c.npy --steps 50 --width 64");
    cr_expect(strstr(r.out, "accuracy 100.00 %") && strstr(r.out, "time: "), "%s", r.out);
    r = works("train mlp --inputs x.npy --labels y.npy --steps 300 --width 64 --out w.safetensors");
    cr_expect(!strstr(r.out, "accuracy"), "%s", r.out);
    works("eval mlp --inputs x.npy --labels y.npy --weights w.safetensors --out f.npy");
    ds_array f = get_array("f.npy");
    for (int i = 0; i < 5; i++)
        cr_expect_float_eq(f.data[i], targets[i], 0.05);
    ds_array_free(&f);
    works("train mlp --inputs x.npy --labels y2.npy --loss square --steps 3 --width 64");
    works("train mlp --inputs x.npy --labels c.npy --loss square --steps 3 --width 64");
    works("train mlp --inputs x.npy --labels c.npy --scaling sphere --set outputs=7 --steps 3 --width 64");
    fails("train mlp --inputs x.npy --labels y.npy --loss cross-entropy", 1, "no class");
    fails("train mlp --inputs x.npy --labels y2.npy --loss cross-entropy", 1, "classes");
    fails("train mlp --inputs x.npy --labels n.npy", 1, "no class");
    fails("train mlp --inputs x.npy --labels y4.npy", 1, "4 labels");
    fails("train mlp --inputs x.npy --labels y2.npy --set outputs=3", 1, "2 targets");
    fails("train mlp --inputs x.npy --labels c.npy --set outputs=2", 1, "3 classes");
    fails("train mlp --inputs x.npy", 1, "--labels");
    fails("train mlp --inputs x.npy --labels c.npy --optimizer sgd --rate 1e30 --steps 9", 1, "not finite");
}

/* ---- sequences ---- */
static void put_sequences(const char *file)
{
    double *x = reference_sequences(4, 5, 8);
    ad_error error = { 0 };
    cr_assert(ds_npy_write(in(file), x, (size_t[]){ 4, 5, 8 }, 3, &error) == 0, "%s", error.text);
    free(x);
}

Test(tool, a_recurrent_reference)
{
    reference *ref = reference_read("rnn_erf_4x5");
    put_sequences("x.npy");
    for (int k = 0; k < 4; k++) {
        static const char *const names[] = { "limit.ntk_last", "limit.gp_last", "limit.ntk_avg", "limit.gp_avg" };
        outcome r = limn("kernel rnn --inputs x.npy --set phi=erf --set sigma_u=1.4142135623730951 --set readout=%s "
                         "--set sigma_b=0.44721359549995793 --kernel %s --out k.npy", k < 2 ? "last" : "mean",
                         k & 1 ? "nngp" : "ntk");
        cr_assert(r.status == 0, "%s", r.err);
        compare(names[k], "k.npy", reference_array(ref, names[k], 16), 16, 1e-12);
    }
    reference_free(ref);
}

Test(tool, sequences_in_every_command)
{
    put_sequences("x.npy");
    put_inputs("flat.npy");
    put_text("own.c", "#include \"limn.h\"\n"
                      "const nn_input_kind limn_input = NN_SEQUENCE;\n"
                      "ad_var limn_network(nn_net *net, ad_var x)\n"
                      "{\n"
                      "    ad_axis n = nn_width(net, \"n\"), time = ad_shape_get(x)->axes[1];\n"
                      "    return nn_readout(net, \"v\", ad_tanh(nn_dense(net, \"u\", ad_take(x, time, 1), n)));\n"
                      "}\n");
    static const char *const networks[] = { "rnn", "own.c" };
    static const char *const all[] = {
        "program %s",
        "program %s --data digits --json",
        "kernel %s --probes 3 --out k.npy",
        "kernel %s --inputs x.npy --inputs2 x.npy",
        "kernel %s --inputs x.npy --width 16 --kernel nngp",
        "kernel %s --inputs x.npy --explain",
        "train %s --data digits --width 16 --steps 3 --out w.safetensors",
        "eval %s --data digits --weights w.safetensors",
        "report %s --data digits --widths 8,16 --seeds 2 --steps 1 --probes 2",
    };
    char arguments[200];
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            snprintf(arguments, sizeof arguments, all[i], networks[k]);
            works(arguments);
        }
        snprintf(arguments, sizeof arguments, "kernel %s --inputs flat.npy", networks[k]);
        fails(arguments, 1, "(rows, time, features), not (rows, features)");
        snprintf(arguments, sizeof arguments, "kernel %s --inputs x.npy --inputs2 flat.npy", networks[k]);
        fails(arguments, 1, "10 features, the first inputs have 40");
    }
    fails("kernel mlp --inputs x.npy", 1, "mlp takes (rows, features)");
    double *x = reference_sequences(4, 5, 8);
    cr_assert(ds_npy_write(in("y.npy"), x, (size_t[]){ 4, 8, 5 }, 3, NULL) == 0);
    put_array("z.npy", x, 4, 40);
    free(x);
    fails("kernel rnn --inputs x.npy --inputs2 y.npy", 1, "8 steps, the first inputs have 5");
    fails("kernel rnn --inputs x.npy --inputs2 z.npy", 1, "without an axis of time");
    fails("kernel mlp --inputs z.npy --inputs2 x.npy", 1, "with an axis of time");
}

/* The digits row by row: 8 steps of 8 pixels. */
Test(tool, digits_are_learned_row_by_row)
{
    static const char *const cells[] = { "vanilla", "gru", "lstm" };
    for (size_t i = 0; i < 3; i++) {
        outcome r = limn("train rnn --data digits --width 128 --epochs 10 --set cell=%s --json", cells[i]);
        cr_assert_eq(r.status, 0, "%s", r.err);
        cJSON *root = cJSON_Parse(r.out);
        double mean = cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "test_accuracy"), "mean"));
        cr_log_info("%s: %.4f in %.2g s", cells[i], mean, cJSON_GetNumberValue(cJSON_GetObjectItem(root, "seconds")));
        cr_expect_gt(mean, 0.85, "%s: %g", cells[i], mean);
        cJSON_Delete(root);
    }
}

/* ---- JSON ---- */
/* 784-512-512-10 on 8,000 digits; over seeds the accuracy on the other 2,000 spreads by 0.2 %, about a mean of 95.9 %. */
Test(tool, the_digits_are_learned)
{
    cJSON *root = cJSON_Parse(works("train mlp --set depth=2 --width 512 --seeds 3 --threads 2 --json").out);
    const cJSON *run, *runs = cJSON_GetObjectItem(root, "runs");
    double mean = cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "test_accuracy"), "mean"));
    cr_expect_geq(mean, 0.955, "%g", mean);
    cJSON_ArrayForEach(run, runs)
    {
        cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(run, "train"), "rows")), 8000);
        cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(run, "test"), "rows")), 2000);
    }
    cr_expect_eq(cJSON_GetArraySize(runs), 3);
    cJSON_Delete(root);
}

/* The report's slopes in the width. At 24 draws a width the initial slope of tanh has a standard error of 0.015, and that
 * of ReLU one of 0.04 (from the intervals that the report prints): the bound of 0.1 about -1/2 is 2.5 of them or more. */
Test(tool, the_report_finds_the_theorys_slopes)
{
    static const struct {
        const char *phi;
        double steepest, flattest; /* of the drift */
    } rows[] = { { "tanh", -1.2, -0.8 }, { "relu", -1.1, -0.7 } };
    for (size_t i = 0; i < 2; i++) {
        outcome r = limn("report mlp --set phi=%s --seeds 6 --threads 2 --json", rows[i].phi);
        cr_assert_eq(r.status, 0, "%s", r.err);
        cJSON *root = cJSON_Parse(r.out), *slopes = cJSON_GetObjectItem(root, "slopes");
        double initial = cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(slopes, "initial"), "slope"));
        double drift = cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(slopes, "drift"), "slope"));
        cr_expect(fabs(initial + 0.5) <= 0.1, "%s: %g", rows[i].phi, initial);
        cr_expect(drift >= rows[i].steepest && drift <= rows[i].flattest, "%s: %g", rows[i].phi, drift);
        const cJSON *width = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "widths"), 1);
        cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(width, "n")), 256);
        cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(width, "initial")), 24);
        cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(width, "final")), 6);
        cJSON_Delete(root);
    }
}

Test(tool, every_result_is_one_json_object)
{
    works("train " SMALL "--steps 2 --out w.safetensors");
    static const char *const all[] = { "train " SMALL "--steps 2",        "eval " SMALL "--weights w.safetensors",
                                       "kernel " SMALL "--probes 3",      "kernel mlp --probes 3 --scale standard",
                                       "kernel mlp --probes 3 --explain", "program mlp",
                                       "limit " LIMN_SOURCE_DIR "/examples/netsor.tp --width 16 --seeds 2",
                                       "report mlp --widths 8,16 --seeds 2 --steps 1 --probes 2" };
    char arguments[200];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(arguments, sizeof arguments, "%s --json", all[i]);
        const char *end = NULL;
        cJSON *root = cJSON_ParseWithOpts(works(arguments).out, &end, 1);
        cr_assert(cJSON_IsObject(root), "%s", arguments);
        const char *command = cJSON_GetStringValue(cJSON_GetObjectItem(root, "command"));
        cr_expect(command && strncmp(arguments, command, strlen(command)) == 0, "%s", arguments);
        cJSON_Delete(root);
    }
}

/* ---- programs by hand ---- */
Test(tool, limit_solves_what_program_prints)
{
    put_text("a.tp", works("program mlp --data digits --set depth=2 --set sigma_b=0.1").out);
    put_inputs("flat.npy");
    outcome r = works("limit a.tp --inputs flat.npy --psi \"x1*x1\" --psi \"step(h1)\"");
    cr_expect(strstr(r.out, "BP-like") && strstr(r.out, "Var h2") && strstr(r.out, "E step(h1)") && !*r.err, "%s", r.out);
    cr_expect(strstr(r.out, " 0.5"), "%s", r.out);
    cr_expect(strstr(works("program mlp --format latex").out, "\\begin{longtable}"));
    cr_expect(strstr(works("program mlp --recursion").out, "\nE") == NULL);
    outcome recursion = works("program mlp --recursion --set depth=1 --set sigma_w=1");
    cr_expect(strstr(recursion.out, "E relu(u) relu(v),  (u, v) ~ \u03a31") && strstr(recursion.out, "\u0398"), "%s",
              recursion.out);
    cr_expect(cJSON_IsArray(cJSON_GetObjectItem(cJSON_Parse(works("program mlp --format json").out), "commands")));
    fails("limit a.tp", 1, "none is given");
    fails("limit missing.tp", 1, "missing.tp: cannot read");
    fails("limit a.tp --inputs flat.npy --psi \"tanh(q)\"", 1, "psi1: unknown name q");
    put_text("b.tp", "Input x : G(n) ~ N(0, 1)\nNonlin y := x @ x\n");
    fails("limit b.tp", 1, "b.tp:2: y: the end of the line expected, not \"@\"");
    fails("program mlp --recursion --json", 1, "text or LaTeX");
}

/* ---- a network in a C file ---- */
/* The example of nn/entry.h, its text as it stands there. */
static void put_example(const char *file)
{
    char *header = slurp(LIMN_SOURCE_DIR "/nn/entry.h", NULL), text[4096] = "";
    for (char *line = strtok(header, "\n"); line; line = strtok(NULL, "\n"))
        if (strncmp(line, " *     ", 7) == 0)
            strcat(strcat(text, line + 7), "\n");
    cr_assert(strstr(text, "limn_network") != NULL);
    put_text(file, text);
    ad_free(header);
}

static void in_every_command(const char *program)
{
    static const char *const all[] = {
        "program own.c",
        "kernel own.c --inputs x.npy --out k.npy --set depth=3",
        "kernel own.c --inputs x.npy --width 16 --kernel nngp",
        "kernel own.c --inputs x.npy --explain",
        "train own.c --data digits --width 32 --steps 3 --out w.safetensors",
        "eval own.c --data digits --weights w.safetensors",
        "report own.c --data digits --widths 16,32 --seeds 2 --steps 2 --probes 4",
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        outcome r = run_as(program, "", all[i]);
        cr_assert(r.status == 0, "%s: %s", all[i], r.err);
    }
}

Test(tool, the_headers_example_runs_in_every_command)
{
    put_inputs("x.npy");
    put_example("own.c");
    in_every_command(LIMN_TOOL);
    works("kernel mlp --inputs x.npy --out l.npy --set phi=tanh --set sigma_w=1");
    ds_array same = get_array("l.npy");
    compare("the example is an mlp", "k.npy", same.data, 25, 0);
    ds_array_free(&same);
    fails("kernel own.c --inputs x.npy --set width=3", 1, "depth=2");
    fails("kernel own.c --inputs x.npy --set depth=65", 1, "from 1 to 64");
}

Test(tool, an_installed_tree_compiles_against_its_own_headers)
{
    put_inputs("x.npy");
    put_example("own.c");
    shell("cmake --install %s --prefix %s/.installed >/dev/null", LIMN_BUILD_DIR, folder);
    char program[128];
    snprintf(program, sizeof program, "%s/.installed/bin/limn", folder);
    in_every_command(program);
    shell("find %s/.installed -name entry.h -exec sh -c 'echo \"#error here\" >>\"$1\"' _ {} \\;", folder);
    outcome r = run_as(program, "", "program own.c");
    cr_expect(r.status == 1 && strstr(r.err, ".installed/"), "%s", r.err);
}

#define BODY(lines) "#include \"limn.h\"\nad_var limn_network(nn_net *net, ad_var x)\n{\n" lines "}\n"

Test(tool, a_mistake_in_a_c_file_is_told_with_its_line)
{
    static const struct {
        const char *text, *told;
        bool at_a_width_too;
    } rows[] = {
        { BODY("    ad_axis n = nn_width(net, \"n\"), m = nn_width(net, \"m\");\n"
               "    nn_weight w = nn_make_weight(net, \"w\", m, n, 1);\n"
               "    return nn_readout(net, \"v\", nn_apply(w, nn_dense(net, \"a\", x, n)));\n"),
          "own.c:6: matmul", true },
        { BODY("    ad_axis n = nn_width(net, \"n\");\n"
               "    return nn_dense(net, \"a\", x, n);\n"),
          "own.c: the network returns (batch, n)", true },
        { BODY("    ad_axis n = nn_width(net, \"n\");\n"
               "    x = nn_dense(net, \"a\", x, n);\n"
               "    return nn_readout(net, \"v\", ad_softmax(x, n));\n"),
          "own.c:6: softmax: it runs along the width axis", false },
        { BODY("    (void)x;\n    (void)net;\n    return (ad_var){ NULL, -1 };\n"), "returns nothing", true },
        { BODY("    return nn_readout(net, \"v\", x);\n"), "own.c", false },
    };
    put_inputs("x.npy");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_text("own.c", rows[i].text);
        fails("kernel own.c --inputs x.npy", 1, i == 5 ? "no width" : rows[i].told);
        if (rows[i].at_a_width_too) {
            fails("kernel own.c --inputs x.npy --width 8", 1, rows[i].told);
            fails("program own.c", 1, rows[i].told);
            fails("train own.c --data digits --steps 1", 1, rows[i].told);
        }
    }
}

/* The last line is limn's, and some line before it holds `told`. */
static void does_not_compile(const char *environment, const char *told, const char *last)
{
    outcome r = run_as(LIMN_TOOL, environment, "program own.c");
    const char *own = strstr(r.err, "limn: ");
    cr_expect(r.status == 1 && own && strncmp(own + 6, last, strlen(last)) == 0 &&
                  strchr(own, '\n') == own + strlen(own) - 1,
              "%s", r.err);
    cr_expect(strstr(r.err, told), "no \"%s\": %s", told, r.err);
}

Test(tool, a_c_file_that_is_no_network)
{
    fails("program missing.c", 1, "missing.c: cannot read");
    fails("program missing", 1, "unknown network missing");
    put_text("own.c", BODY("    return nn_readout(net, \"v\", x)\n"));
    does_not_compile("", "error: ", "own.c: it does not compile");
    put_text("own.c", BODY("    int depth = ;\n    return nn_readout(net, \"v\", x);\n"));
    does_not_compile("", "own.c:4:", "own.c: it does not compile");
    put_text("own.c", BODY("    return ad_tangent(nn_readout(net, \"v\", x));\n"));
    does_not_compile("", "ad_tangent", "own.c: it does not compile");
    put_text("own.c", "#include \"limn.h\"\nad_var limn_network(nn_net *net, int x);\n");
    does_not_compile("", "own.c:2:", "own.c: it does not compile");
    put_text("own.c", "int other(void);\nint other(void)\n{\n    return 1;\n}\n");
    fails("program own.c", 1, "own.c: it does not define ad_var limn_network");
    put_text("own.c", "int other(void);\nint (*pointer)(void) = other;\n");
    fails("program own.c", 1, "own.c: undefined symbol: other");
}

Test(tool, the_compiler_is_cc_with_its_words)
{
    put_text("own.c",
             "#ifndef TWICE\n#error no words\n#endif\n" BODY(
                 "    int unused;\n"
                 "    return nn_readout(net, \"v\", ad_tanh(nn_dense(net, \"a\", x, nn_width(net, \"n\"))));\n"));
    outcome r = run_as(LIMN_TOOL, "CC='env cc  -DTWICE'", "program own.c");
    cr_expect(r.status == 0 && strstr(r.err, "warning") && strstr(r.err, "unused"), "%d: %s", r.status, r.err);
    does_not_compile("CC=", "no words", "own.c: it does not compile");
    fails_as("CC='no-such-compiler -O'", "program own.c", 1, "no-such-compiler cannot be run");
}

/* ---- bad input ---- */
Test(tool, bad_data_sets)
{
    size_t size, tags;
    char *png = slurp(LIMN_SOURCE_DIR "/datasets/digits.png", &size),
         *labels = slurp(LIMN_SOURCE_DIR "/datasets/digits.labels", &tags);
    char environment[128];
    snprintf(environment, sizeof environment, "LIMN_DATA=%s", folder);
    put("digits.labels", labels, tags);
    static const char *const all[] = { "kernel mlp --data digits", "train mlp --data digits",
                                       "report mlp --data digits" };
    for (size_t i = 0; i < 3; i++) {
        put("digits.png", png, size / 2);
        fails_as(environment, all[i], 1, "digits.png");
        png[size / 2] = (char)(png[size / 2] ^ 1);
        put("digits.png", png, size);
        fails_as(environment, all[i], 1, "digits.png");
        png[size / 2] = (char)(png[size / 2] ^ 1);
        put("digits.png", "not a picture", 13);
        fails_as(environment, all[i], 1, "digits.png");
        put("digits.png", png, size);
        put("digits.labels", labels, tags - 2);
        fails_as(environment, all[i], 1, "digits.labels");
        put("digits.labels", labels, tags);
        cr_expect(i || run_as(LIMN_TOOL, environment, all[i]).status == 0);
    }
    ad_free(png);
    ad_free(labels);
    fails("kernel mlp --data letters", 1, "letters");
}

Test(tool, bad_arrays)
{
    double x[6] = { 1, 2, 3, 4, 5, 6 }, nan[6] = { 1, 2, 3, NAN, 5, 6 };
    put_npy("good.npy", "<f8", false, "(2, 3)", x, sizeof x);
    put_npy("type.npy", "<c16", false, "(1, 3)", x, sizeof x);
    put_npy("order.npy", "<f8", true, "(2, 3)", x, sizeof x);
    put_npy("one.npy", "<f8", false, "(6,)", x, sizeof x);
    put_npy("three.npy", "<f8", false, "(1, 2, 3)", x, sizeof x);
    put_npy("nan.npy", "<f8", false, "(2, 3)", nan, sizeof nan);
    put_npy("rows.npy", "<f8", false, "(0, 3)", x, 0);
    put_npy("columns.npy", "<f8", false, "(2, 0)", x, 0);
    put_npy("short.npy", "<f8", false, "(2, 3)", x, sizeof x - 1);
    put_npy("wide.npy", "<f8", false, "(1, 6)", x, sizeof x);
    put_text("text.npy", "1 2 3\n");
    put_text("empty.npy", "");
    static const char *const bad[] = { "type",    "order", "one",  "three", "nan",    "rows",
                                       "columns", "short", "text", "empty", "missing" };
    char arguments[256], name[32];
    works("kernel mlp --inputs good.npy --inputs2 good.npy");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(name, sizeof name, "%s.npy", bad[i]);
        snprintf(arguments, sizeof arguments, "kernel mlp --inputs %s --out k.npy", name);
        fails(arguments, 1, name);
        snprintf(arguments, sizeof arguments, "kernel mlp --inputs good.npy --inputs2 %s --width 8 --out k.npy", name);
        fails(arguments, 1, name);
        if (strcmp(bad[i], "one") == 0)
            continue; /* three rows of labels are looked at only then */
        snprintf(arguments, sizeof arguments, "train mlp --inputs good.npy --labels %s --out w", name);
        fails(arguments, 1, name);
    }
    fails("train mlp --inputs good.npy --labels one.npy", 1, "6 labels");
    fails("kernel mlp --inputs good.npy --inputs2 wide.npy", 1, "6 features");
    fails("kernel mlp --inputs . --out k.npy", 1, "folder");
}

Test(tool, bad_settings)
{
    fails("kernel mlp --set depth=0", 1, "depth");
    fails("train mlp --set depth=0 --out w", 1, "depth");
    fails("report mlp --set depth=0", 1, "depth");
    fails("program mlp --set depth=0", 1, "depth");
    fails("kernel mlp --set depht=2", 1, "depht");
    fails("kernel mlp --set depth=2 --set depth=3", 1, "twice");
    fails("program mlp --set phi=rleu", 1, "rleu");
    fails("train mlp --set phi=rleu", 1, "rleu");
    fails("kernel mlp --set sigma_w=-1", 1, "sigma_w");
    fails("kernel mlp --set sigma_b=x", 1, "sigma_b");
    fails("kernel mlp --set outputs=0", 1, "outputs");
    fails("kernel mlp --width 9000000 --set depth=64", 1, "");
    fails("kernel mlp --set phi=exp --probes 2 --out k.npy", 1, "inputs 0 and 0");
    double huge[4] = { 1e200, 1e200, 1e200, 1e200 };
    put_npy("huge.npy", "<f8", false, "(2, 2)", huge, sizeof huge);
    fails("kernel mlp --inputs huge.npy --out k.npy", 1, "range of a double");
    fails("kernel mlp --inputs huge.npy --width 8 --out k.npy", 1, "range of a double");
    fails("kernel mlp --inputs huge.npy --scale standard", 1, "range of a double");
    fails("kernel mlp --out /nowhere/at/all.npy --probes 2", 1, "/nowhere");
}

Test(tool, a_full_device)
{
    char line[512];
    static const char *const all[] = { "program mlp", "kernel mlp --probes 2", "kernel mlp --probes 2 --json",
                                       "--help" };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(line, sizeof line, "cd %s && %s %s >/dev/full 2>.err", folder, LIMN_TOOL, all[i]);
        int status = system(line);
        char *err = slurp(in(".err"), NULL);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1 && is_one_line(err), "%s: %s", all[i], err);
        ad_free(err);
    }
}

Test(tool, bad_checkpoints)
{
    works("train " SMALL "--steps 3 --checkpoint good --out w.safetensors");
    size_t size;
    char *good = slurp(in("good"), &size);
    put("truncated", good, size - 5);
    put("header", good, 20);
    put("empty", good, 0);
    good[0] = (char)(good[0] ^ 0x40);
    put("length", good, size);
    good[0] = (char)(good[0] ^ 0x40);
    memset(good + size - 32, 0xff, 32); /* not a number */
    put("nan", good, size);
    ad_free(good);
    static const char *const bad[] = { "truncated", "header", "empty", "length", "nan", "missing" };
    char arguments[256];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(arguments, sizeof arguments, "train " SMALL "--steps 6 --resume %s --checkpoint new", bad[i]);
        fails(arguments, 1, bad[i]);
        if (strcmp(bad[i], "nan") == 0)
            continue; /* the last numbers are the optimizer's, which eval does not read */
        snprintf(arguments, sizeof arguments, "eval " SMALL "--weights %s --out f.npy", bad[i]);
        fails(arguments, 1, bad[i]);
        snprintf(arguments, sizeof arguments, "kernel " SMALL "--probes 2 --weights %s --out k.npy", bad[i]);
        fails(arguments, 1, bad[i]);
    }
    fails("train " SMALL "--steps 6 --resume w.safetensors", 1, "w.safetensors");
    fails("train " SMALL "--steps 6 --rate 3 --resume good", 1, "rate");
    fails("eval " SMALL "--set sigma_b=1 --weights w.safetensors", 1, "bias");
    fails("eval mlp --data digits --weights w.safetensors", 1, "w.safetensors");
}

/* ---- what the hooks make fail ---- */
static const char *const hooked[] = {
    "kernel " SMALL "--probes 2 --width inf --out out.npy",
    "kernel mlp --inputs x.npy --scale standard --json",
    "kernel " SMALL "--probes 2 --outputs full --out out.npy",
    "kernel " SMALL "--probes 4 --explain",
    "train " SMALL "--steps 2 --checkpoint new --out out.st",
    "eval " SMALL "--weights w.safetensors --out out.npy --json",
    "program mlp --json",
    "program own.c",
    "report mlp --data digits --widths 8,16 --seeds 2 --steps 1 --probes 2 --out out.html",
};
enum { HOOKED = sizeof hooked / sizeof *hooked };

static void put_hooked(void)
{
    put_inputs("x.npy");
    put_example("own.c");
    works("train " SMALL "--steps 1 --out w.safetensors");
}

static bool has(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

/* What a run wrote before it failed is complete: it can be read. */
static void are_whole(const char *environment, const char *arguments)
{
    ad_error error = { 0 };
    if (access(in("out.npy"), F_OK) == 0) {
        ds_array array;
        cr_expect_eq(ds_npy_read(in("out.npy"), &array, &error), 0, "%s, %s: %s", environment, arguments, error.text);
        ds_array_free(&array);
    }
    if (access(in("out.html"), F_OK) == 0) {
        char *page = ad_file_read(in("out.html"), 64 << 20, &(size_t){ 0 }, &error);
        cr_expect(page && strstr(page, "</html>"), "%s, %s: a page without its end", environment, arguments);
        ad_free(page);
    }
    static const char *const tensors[] = { "out.st", "new" };
    for (int i = 0; i < 2; i++)
        if (access(in(tensors[i]), F_OK) == 0) {
            nn_tensors *file = nn_tensors_read(in(tensors[i]), &error);
            cr_expect(file, "%s, %s: %s", environment, arguments, error.text);
            nn_tensors_free(file);
        }
}

/* The k-th allocation fails, for every k up to 24 and then for k growing by a quarter, until nothing fails any more. */
Test(tool, a_failed_allocation_anywhere)
{
    put_hooked();
    for (size_t i = 0; i < HOOKED; i++) {
        char environment[64];
        int failed = 0;
        for (int k = 1;; k += k < 24 ? 1 : k / 4) {
            snprintf(environment, sizeof environment, "LIMN_FAIL_ALLOC=%d", k);
            int before = files(folder);
            outcome r = run_as(LIMN_TOOL, environment, hooked[i]);
            bool done = r.status == 0 && k > 24;
            failed += r.status != 0;
            bool report = has(hooked[i], "report"); /* it has lines of progress of its own */
            cr_expect(r.status == 0 || ((report || is_one_line(r.err)) && has(r.err, "limn: ")), "%s, %s: %d, %s",
                      environment, hooked[i], r.status, r.err);
            cr_assert_lt(k, 1000000);
            are_whole(environment, hooked[i]);
            shell("cd %s && rm -f out.npy out.st out.html new", folder);
            cr_assert(files(folder) == before, "%s, %s: half a file was left", environment, hooked[i]);
            if (done)
                break;
        }
        cr_expect_gt(failed, 5, "%s", hooked[i]);
    }
}

Test(tool, a_failed_write_anywhere)
{
    put_hooked();
    int before = files(folder);
    for (size_t i = 0; i < HOOKED; i++) {
        if (!has(hooked[i], "--out out") && !has(hooked[i], "--checkpoint"))
            continue;
        char environment[64];
        int k = 0;
        for (bool failed = true; failed; failed = failed && k < 100) {
            snprintf(environment, sizeof environment, "LIMN_FAIL_WRITE=%d", ++k);
            outcome r = run_as(LIMN_TOOL, environment, hooked[i]);
            failed = r.status != 0;
            bool one = is_one_line(r.err) || has(hooked[i], "report"); /* it has lines of progress of its own */
            cr_expect(!failed || (r.status == 1 && one && has(r.err, "cannot write")), "%s, %s: %d, %s", environment,
                      hooked[i], r.status, r.err);
            cr_expect(!failed || access(in("out.html"), F_OK) != 0, "%s, %s", environment, hooked[i]);
            cr_expect(!failed || access(in("out.npy"), F_OK) != 0, "%s, %s", environment, hooked[i]);
            cr_expect(!failed || access(in("out.st"), F_OK) != 0, "%s, %s", environment, hooked[i]);
            shell("cd %s && rm -f out.npy out.st out.html new", folder);
            cr_assert(files(folder) == before, "%s, %s: half a file was left", environment, hooked[i]);
        }
        cr_expect_gt(k, 2, "%s", hooked[i]);
    }
}
