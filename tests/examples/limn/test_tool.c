/* The tool as its users run it: help and usage, kernels against references, JSON, and programs written by hand. */
#include "tests/support/reference.h"
#include "tests/support/tool.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TOOL_SUITE(tool);

/* ---- help and usage ---- */
Test(tool, help_tells_each_command_its_own_options)
{
    static const struct {
        const char *command, *has, *lacks;
    } rows[] = { { "report", "--widths", "--epochs" }, { "train", "--epochs", "--at-width" },
                 { "eval", "--weights", "--rate" },    { "kernel", "--explain", "--optimizer" },
                 { "program", "--set", "--width" },    { "limit", "--psi", "--scale" },
                 { "regime", "--abc", "--epochs" } };
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

/* No line of it is wider than 80 columns. */
static void check_columns(const char *what, const char *text)
{
    while (*text) {
        char line[400];
        size_t length = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        cr_expect(ad_columns(line) <= 80, "%s: %s", what, line);
        text += length + (text[length] == '\n');
    }
}

Test(tool, help_is_80_columns_wide_and_begins_with_what_is_used_most)
{
    static const char *const commands[] = { "",        "report", "train",  "eval",   "kernel", "predict",
                                            "program", "limit",  "import", "export", "regime" };
    char arguments[64], help[60000];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        snprintf(arguments, sizeof arguments, "help %s", commands[i]);
        snprintf(help, sizeof help, "%s", works(arguments).out);
        check_columns(arguments, help);
        snprintf(arguments, sizeof arguments, "%s --help", commands[i]);
        cr_expect_str_eq(help, works(arguments).out, "%s", arguments);
        const char *usual = strstr(help, "\nMost used:\n"), *run = strstr(help, "\nThe run:\n");
        cr_expect(run && (!usual || usual < run), "%s", help);
        cr_expect(!strstr(help, "phi=") || strstr(help, "mish, silu"), "%s", help);
    }
    snprintf(help, sizeof help, "%s", works("help help").out);
    outcome all = works("help");
    cr_expect_str_eq(all.out, help);
    for (const char *at = strstr(all.out, "\n  --"); at; at = strstr(at + 1, "\n  --")) {
        char name[40] = "";
        sscanf(at, " %38[a-z0-9-]", name);
        strcat(name, " ");
        int count = 0;
        for (const char *found = all.out; (found = strstr(found, name)); found++)
            count += found[-1] == ' ' && found[-2] == ' ' && found[-3] == '\n';
        cr_expect(count <= 1, "%s stands in two groups", name);
    }
}

Test(tool, one_who_types_nothing_is_told_what_to_type)
{
    outcome r = limn("%s", "");
    cr_expect(r.status == 2 && !*r.out && strstr(r.err, "limn kernel mlp --inputs x.npy") &&
              strstr(r.err, "limn help"));
    check_columns("limn", r.err);
}

Test(tool, a_mistyped_word_is_told_with_the_one_that_was_meant)
{
    fails("kernle mlp", 2, "unknown command kernle (did you mean kernel?)");
    fails("help trian", 2, "no help on trian (did you mean train?)");
    fails("kernel mlp --widht 64", 2, "unknown option --widht (did you mean --width?)");
    fails("kernel mlp --widht=64", 2, "unknown option --widht (did you mean --width?)");
    fails("kernel mlp --scale nkt", 2, "--scale takes ntk|standard|meanfield|mup (did you mean ntk?), not nkt");
    fails("kernel mlp --wholly", 2, "unknown option --wholly; see");
    fails("kernel mpl", 1, "unknown network mpl (did you mean mlp?)");
    fails("kernel mlp --set dpeth=2", 1, "no setting dpeth (did you mean depth?)");
    fails("kernel mlp --set phi=rleu", 1, "no activation rleu (did you mean relu?)");
    fails("kernel rnn --set cell=gruu", 1, "did you mean gru?");
    fails("kernel mlp --set phi=nothing", 1, "no activation nothing; there are");
}

Test(tool, wrong_usage_is_one_line_and_status_2)
{
    static const char *const wrong[] = {
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
        "eval mlp --width inf",
        "report mlp --widths 64,,128",
        "report mlp --widths 1,2",
        "report mlp --widths 64,",
        "report mlp --widths 64,64",
        "report mlp --widths 64,128,32",
        "regime mlp --check --widths 64,128,128,256",
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
    fails("kernel mlp --probes 0", 2, "--probes takes a whole number from 2 to 1000000000, not 0; see limn --help");
    fails("train mlp --batch 1e30", 2, "--batch takes a whole number from 0 to 1000000000, not 1e30");
    fails("train mlp --rate -1", 2, "--rate takes a number of at least 0, not -1");
    fails("kernel mlp --at-width 0.5", 2, "--at-width takes a number of at least 1, not 0.5");
    fails("train mlp --drift-every 0", 2,
          "--drift-every takes log, epoch or a whole number from 1 to 1000000000, not 0");
    fails("kernel mlp --scale none", 2, "--scale takes ntk|standard|meanfield|mup, not none");
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

/* neural-tangents has sigma in the multiplier: with no biases and one sigma_w each layer's own term, and so the NTK, is
 * sigma_w^2 of ours. Its values are those of the reference; the default network's is half of its. */
Test(tool, the_default_kernel_is_half_of_neural_tangents_and_says_so)
{
    static const char *const told = "neural-tangents' NTK is that of --sigma-in multiplier";
    put_inputs("x.npy");
    reference *ref = reference_read("mlp_relu_d3_bias");
    works("kernel mlp --inputs x.npy --sigma-in multiplier --set sigma_w=1.5 --set sigma_b=0.3 --out k.npy");
    compare("multiplier", "k.npy", reference_array(ref, "ntk", 25), 25, 1e-12);
    reference_free(ref);
    cr_expect(strstr(works("kernel mlp --inputs x.npy --out own.npy").out, told));
    outcome theirs = works("kernel mlp --inputs x.npy --sigma-in multiplier --out theirs.npy");
    cr_expect(!strstr(theirs.out, told), "%s", theirs.out);
    ds_array k = get_array("theirs.npy");
    for (size_t i = 0; i < 25; i++)
        k.data[i] /= 2;
    compare("half", "own.npy", k.data, 25, 1e-13);
    ds_array_free(&k);
    cr_expect(!strstr(works("kernel mlp --inputs x.npy --kernel nngp").out, told));
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
    "--weights w.safetensors --scale ntk --layout in-out "

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
    fails("eval mlp --inputs x.npy --out g.npy --weights w.safetensors --layout in-out", 1, "give --scale ntk|");
    fails("eval " FOREIGN "--layout auto --out g.npy", 1, "dense2.weight is square (16, 16)");
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

    /* the adjoints of all outputs of one batch would take 16 GB a layer; they come in stores */
    root = cJSON_Parse(works("kernel batchnorm --data digits --width 64 --set depth=1 --explain --json").out);
    double bytes = cJSON_GetNumberValue(cJSON_GetObjectItem(root, "bytes"));
    cr_expect(bytes > 8.0 * 1797 * 1797 && bytes < 1.5e9, "%g", bytes);
    cr_expect(cJSON_GetNumberValue(cJSON_GetObjectItem(root, "seconds")) > 1);
    cJSON_Delete(root);
}

/* ---- JSON ---- */
Test(tool, every_result_is_one_json_object)
{
    works("train " SMALL "--steps 2 --out w.safetensors");
    static const char *const all[] = { "train " SMALL "--steps 2",
                                       "eval " SMALL "--weights w.safetensors",
                                       "kernel " SMALL "--probes 3",
                                       "kernel mlp --probes 3 --scale standard",
                                       "kernel mlp --probes 3 --explain",
                                       "program mlp",
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
    cr_expect(strstr(r.out, "BP-like") && strstr(r.out, "Var h2") && strstr(r.out, "E step(h1)") && !*r.err, "%s",
              r.out);
    cr_expect(strstr(r.out, " 0.5"), "%s", r.out);
    cr_expect(strstr(works("program mlp --format latex").out, "\\begin{longtable}"));
    cr_expect(strstr(works("program mlp --recursion").out, "\nE") == NULL);
    outcome recursion = works("program mlp --recursion --set depth=1 --set sigma_w=1");
    cr_expect(strstr(recursion.out, "E relu(u) relu(v),  (u, v) ~ \u03a31") && strstr(recursion.out, "\u0398"), "%s",
              recursion.out);
    cJSON *root = cJSON_Parse(works("program mlp --format json").out);
    cr_expect(cJSON_IsArray(cJSON_GetObjectItem(root, "commands")));
    cJSON_Delete(root);
    fails("limit a.tp", 1, "none is given");
    fails("limit missing.tp", 1, "missing.tp: cannot read");
    fails("limit a.tp --inputs flat.npy --psi \"tanh(q)\"", 1, "psi1: unknown name q");
    put_text("b.tp", "Input x : G(n) ~ N(0, 1)\nNonlin y := x @ x\n");
    fails("limit b.tp", 1, "b.tp:2: y: the end of the line expected, not \"@\"");
    fails("limit /dev/null", 1, "/dev/null: the text has no commands");
    put_text("c.tp", "# a remark\n\n   \n");
    fails("limit c.tp --psi 1", 1, "c.tp: the text has no commands");
    fails("program mlp --recursion --json", 1, "text or LaTeX");
}
