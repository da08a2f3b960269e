/* The tool on what is wrong: data, arrays, settings, checkpoints, a full device, and allocations and writes that
 * fail. */
#include "limn.h"
#include "nn/safetensors/safetensors.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TOOL_SUITE(tool_errors);

/* ---- bad input ---- */
Test(tool_errors, bad_data_sets)
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

Test(tool_errors, bad_arrays)
{
    double x[6] = { 1, 2, 3, 4, 5, 6 }, nan[6] = { 1, 2, 3, NAN, 5, 6 };
    put_npy("good.npy", "<f8", false, "(2, 3)", x, sizeof x);
    put_npy("type.npy", "<c16", false, "(1, 3)", x, sizeof x);
    put_npy("words.npy", "<U4", false, "(1, 3)", x, sizeof x);
    put_npy("one.npy", "<f8", false, "(6,)", x, sizeof x);
    put_npy("three.npy", "<f8", false, "(1, 2, 3)", x, sizeof x);
    put_npy("nan.npy", "<f8", false, "(2, 3)", nan, sizeof nan);
    put_npy("rows.npy", "<f8", false, "(0, 3)", x, 0);
    put_npy("columns.npy", "<f8", false, "(2, 0)", x, 0);
    put_npy("short.npy", "<f8", false, "(2, 3)", x, sizeof x - 1);
    put_npy("wide.npy", "<f8", false, "(1, 6)", x, sizeof x);
    put_text("text.npy", "1 2 3\n");
    put_text("empty.npy", "");
    static const char *const bad[] = { "type",    "words", "one",  "three", "nan",    "rows",
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

Test(tool_errors, bad_settings)
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
    fails("kernel mlp --set phi=exp --probes 2 --out k.npy", 1, "row 0 of the first inputs");
    double huge[4] = { 1e200, 1e200, 1e200, 1e200 };
    put_npy("huge.npy", "<f8", false, "(2, 2)", huge, sizeof huge);
    fails("kernel mlp --inputs huge.npy --out k.npy", 1, "range of a double");
    fails("kernel mlp --inputs huge.npy --width 8 --out k.npy", 1, "range of a double");
    fails("kernel mlp --inputs huge.npy --scale standard", 1, "range of a double");
    fails("kernel mlp --out /nowhere/at/all.npy --probes 2", 1, "/nowhere");
}

Test(tool_errors, a_full_device)
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

Test(tool_errors, bad_checkpoints)
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
    fails("eval " SMALL "--set sigma_b=1 --weights w.safetensors", 1, "sigma_b=none, not sigma_b=1");
    fails("eval mlp --data digits --set depth=2 --weights w.safetensors", 1, "depth=1, not depth=2");
    fails("eval batchnorm --data digits --weights w.safetensors", 1, "of the network mlp, not of batchnorm");
    fails("train " SMALL "--steps 6 --scale standard --rate 0.014 --resume good", 1, "cannot resume: it is of");
    works("eval mlp --data digits --weights w.safetensors"); /* the file knows the rest */
}

/* ---- what the hooks make fail ---- */
static const char *const hooked[] = {
    "kernel " SMALL "--probes 2 --width inf --out out.npy",
    "kernel mlp --inputs x.npy --scale standard --json",
    "kernel " SMALL "--probes 2 --outputs full --out out.npy",
    "kernel " SMALL "--probes 4 --explain",
    "train " SMALL "--steps 2 --checkpoint new --out out.st",
    "eval " SMALL "--weights w.safetensors --out out.npy --json",
    "export w.safetensors mlp --out out.st",
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
Test(tool_errors, a_failed_allocation_anywhere)
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

Test(tool_errors, a_failed_write_anywhere)
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
