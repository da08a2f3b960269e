/* limn kernel by part: parameters, hidden vectors, blocks of outputs, both kernels at once, and standard errors. */
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TOOL_SUITE(kernel_tool);

enum { ROWS = 5, FEATURES = 10, COUNT = ROWS * ROWS };

/* The kernel that the tool writes with these arguments. */
static ds_array kernel(const char *arguments)
{
    outcome r = limn("kernel mlp --inputs x.npy %s --out one.npy", arguments);
    cr_assert(r.status == 0, "%s: %s", arguments, r.err);
    return get_array("one.npy");
}

static ds_array member(const char *path)
{
    ds_array out;
    ad_error error = { 0 };
    cr_assert(ds_npy_read(in(path), &out, &error) == 0, "%s", error.text);
    return out;
}

static void check(const char *what, const double *got, const double *want, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++)
        cr_assert(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i])), "%s: entry %zu is %.15g, not %.15g", what,
                  i, got[i], want[i]);
}

Test(kernel_tool, parts_of_parameters_sum_up)
{
    static const char *const parts[] = { "'dense[12].*'", "dense3.weight,dense3.bias", "'readout*'" };
    static const char *const at[] = { "", "--width 16", "--width 16 --outputs full", "--outputs full" };
    char arguments[200];
    put_inputs("x.npy");
    for (int a = 0; a < 4; a++) {
        snprintf(arguments, sizeof arguments, "--set sigma_b=0.2 --set outputs=3 %s", at[a]);
        ds_array whole = kernel(arguments);
        size_t count = a < 2 ? COUNT : COUNT * 9;
        double *sum = calloc(count, sizeof *sum);
        for (int k = 0; k < 3; k++) {
            snprintf(arguments, sizeof arguments, "--set sigma_b=0.2 --set outputs=3 %s --params %s", at[a], parts[k]);
            ds_array part = kernel(arguments);
            for (size_t i = 0; i < count; i++)
                sum[i] += part.data[i];
            ds_array_free(&part);
        }
        check(at[a], sum, whole.data, count, 1e-12);
        free(sum);
        ds_array_free(&whole);
    }
    outcome r = limn("kernel mlp --inputs x.npy --params 'dense1*' --json");
    cr_expect(strstr(r.out, "\"params\":[\"dense1.weight\"]") || strstr(r.out, "\"dense1.weight\""), "%s", r.out);
    cr_expect(strstr(limn("kernel mlp --inputs x.npy --params 'dense1*'").out, "over the parameters dense1*"));
}

/* h1 = W x / sqrt(d): its kernels are <x, x'> / d, times W's variance of 2 for the NNGP, and its NTK is that at every
 * width. */
/* A table's rows beside themselves as second inputs, which are in another order: scaled alike, rows sum up alike. */
Test(kernel_tool, second_inputs_are_scaled_as_a_table)
{
    static const char *const scalings[] = { "", "--scaling standard", "--scaling pixelwise", "--scaling sphere",
                                            "--scaling unit" };
    double x[12 * 3];
    char text[1000] = "";
    for (int i = 0; i < 36; i++) {
        x[i] = 5 + sin(7.0 * i) * (i % 3 + 1);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%.17g%s", x[i],
                 i % 3 < 2 ? ","
                 : i % 2   ? ",a\n"
                           : ",b\n");
    }
    put_text("t.csv", text);
    put_array("x.npy", x, 12, 3);
    for (size_t k = 0; k < sizeof scalings / sizeof *scalings; k++) {
        outcome r = limn("kernel mlp --data t.csv %s --no-check --out a.npy", scalings[k]);
        cr_assert(r.status == 0, "%s", r.err);
        r = limn("kernel mlp --data t.csv %s --no-check --inputs2 x.npy --out b.npy", scalings[k]);
        cr_assert(r.status == 0, "%s", r.err);
        ds_array a = get_array("a.npy"), b = get_array("b.npy");
        for (int i = 0; i < 12; i++) {
            double sums[2] = { 0 };
            for (int j = 0; j < 12; j++) {
                sums[0] += a.data[i * 12 + j];
                sums[1] += b.data[i * 12 + j];
            }
            cr_expect(fabs(sums[0] - sums[1]) < 1e-10 * fabs(sums[0]) + 1e-10, "%s: row %d", scalings[k], i);
        }
        ds_array_free(&a);
        ds_array_free(&b);
    }
}

Test(kernel_tool, first_vector_has_the_inputs_products)
{
    double want[COUNT];
    put_inputs("x.npy");
    ds_array x = get_array("x.npy");
    for (int i = 0; i < COUNT; i++) {
        want[i] = 0;
        for (int f = 0; f < FEATURES; f++)
            want[i] += x.data[i / ROWS * FEATURES + f] * x.data[i % ROWS * FEATURES + f] / FEATURES;
    }
    static const char *const at[] = { "--of h1", "--of h1 --width 9", "--of h1 --width 9 --inputs2 x.npy",
                                      "--of h1 --params dense1.weight" };
    for (int k = 0; k < 4; k++) {
        ds_array ntk = kernel(at[k]);
        check(at[k], ntk.data, want, COUNT, 1e-12);
        ds_array_free(&ntk);
    }
    for (int i = 0; i < COUNT; i++)
        want[i] *= 2;
    ds_array nngp = kernel("--of h1 --kernel nngp"), wide = kernel("--of h1 --kernel nngp --width 20000");
    check("NNGP", nngp.data, want, COUNT, 1e-12);
    check("NNGP at a width", wide.data, want, COUNT, 0.06);
    ds_array_free(&nngp);
    ds_array_free(&wide);
    ds_array_free(&x);
}

Test(kernel_tool, blocks_are_those_of_all_outputs)
{
    put_inputs("x.npy");
    static const char *const at[] = { "--set outputs=3 --width 16", "--set outputs=3" };
    for (int a = 0; a < 2; a++) {
        char arguments[200];
        snprintf(arguments, sizeof arguments, "%s --outputs full", at[a]);
        ds_array full = kernel(arguments);
        for (size_t p = 0; p < 9; p++) {
            double want[COUNT];
            snprintf(arguments, sizeof arguments, "%s --block %zu,%zu", at[a], p / 3, p % 3);
            ds_array block = kernel(arguments);
            for (int i = 0; i < COUNT; i++)
                want[i] = full.data[(size_t)i * 9 + p];
            check(arguments, block.data, want, COUNT, 1e-12);
            ds_array_free(&block);
        }
        ds_array_free(&full);
    }
    fails("kernel mlp --inputs x.npy --set outputs=3 --block 0,3", 1, "has 3 outputs, 0 to 2");
}

/* Outputs that are not alike, in the limit. */
Test(kernel_tool, blocks_of_heads)
{
    put_inputs("x.npy");
    char net[300];
    snprintf(net, sizeof net, "kernel %s/tests/examples/limn/networks/two_heads.c --set outputs=2 --inputs x.npy",
             LIMN_SOURCE_DIR);
    outcome r = limn("%s --outputs full --out full.npy", net);
    cr_assert(r.status == 0, "%s", r.err);
    ds_array full = get_array("full.npy");
    size_t outputs = full.shape[2];
    for (size_t p = 0; p < outputs * outputs; p++) {
        double want[COUNT];
        r = limn("%s --block %zu,%zu --out block.npy", net, p / outputs, p % outputs);
        cr_assert(r.status == 0, "%s", r.err);
        for (size_t i = 0; i < COUNT; i++)
            want[i] = full.data[i * outputs * outputs + p];
        compare("a block", "block.npy", want, COUNT, 1e-12);
    }
    ds_array_free(&full);
}

/* Both kernels and their standard errors, as runs of single seeds have them. */
Test(kernel_tool, standard_errors_are_those_of_the_seeds)
{
    enum { SEEDS = 5 };
    put_inputs("x.npy");
    double want[4][COUNT] = { { 0 } }, seeds[2][SEEDS][COUNT];
    for (int k = 0; k < 2; k++) {
        for (int s = 0; s < SEEDS; s++) {
            char arguments[100];
            snprintf(arguments, sizeof arguments, "--width 12 --seed %d --kernel %s", 3 + s, k ? "nngp" : "ntk");
            ds_array one = kernel(arguments);
            memcpy(seeds[k][s], one.data, sizeof seeds[k][s]);
            ds_array_free(&one);
        }
        for (int i = 0; i < COUNT; i++) {
            for (int s = 0; s < SEEDS; s++)
                want[2 * k][i] += seeds[k][s][i] / SEEDS;
            for (int s = 0; s < SEEDS; s++)
                want[2 * k + 1][i] += pow(seeds[k][s][i] - want[2 * k][i], 2);
            want[2 * k + 1][i] = sqrt(want[2 * k + 1][i] / (SEEDS * (SEEDS - 1)));
        }
    }
    const char *run = "kernel mlp --inputs x.npy --width 12 --seed 3 --seeds 5 --kernel";
    static const char *const names[] = { "ntk", "ntk_standard_errors", "nngp", "nngp_standard_errors" };
    cr_assert(limn("%s both --out k.npz", run).status == 0 && limn("%s both --out again.npz", run).status == 0);
    shell("cmp %s %s", in("k.npz"), in("again.npz"));
    for (int k = 0; k < 4; k++) {
        char path[64];
        snprintf(path, sizeof path, "k.npz:%s", names[k]);
        ds_array got = member(path);
        cr_assert(got.rank == 2 && got.shape[0] == ROWS && got.shape[1] == ROWS);
        check(names[k], got.data, want[k], COUNT, 1e-12);
        ds_array_free(&got);
    }
    cr_assert(limn("%s nngp --out n.npy", run).status == 0);
    compare("mean", "n.npy", want[2], COUNT, 1e-12);
    compare("standard errors", "n.standard_errors.npy", want[3], COUNT, 1e-12);

    cr_assert(limn("%s both --out k.csv", run).status == 0);
    char *text = slurp(in("k.csv"), NULL), *line = strchr(text, '\n') + 1;
    cr_assert(strncmp(text, "row,column,ntk,ntk_standard_errors,nngp,nngp_standard_errors\n", 61) == 0);
    for (int i = 0; i < COUNT; i++, line = strchr(line, '\n') + 1) {
        int row, column;
        double v[4];
        cr_assert(sscanf(line, "%d,%d,%lf,%lf,%lf,%lf", &row, &column, &v[0], &v[1], &v[2], &v[3]) == 6);
        cr_assert(row == i / ROWS && column == i % ROWS);
        for (int k = 0; k < 4; k++)
            cr_assert(fabs(v[k] - want[k][i]) < 1e-12);
    }
    ad_free(text);
    outcome r = limn("%s both", run);
    cr_expect(strstr(r.out, "standard errors of this mean over 5 seeds"), "%s", r.out);
    r = limn("%s both --json", run);
    cr_expect(strstr(r.out, "\"standard_errors\"") && strstr(r.out, "\"ntk\"") && strstr(r.out, "\"nngp\""));
}

Test(kernel_tool, samples_have_standard_errors)
{
    put_inputs("x.npy");
    const char *run = "kernel mlp --inputs x.npy --engine sample --samples 256 --kernel both --set outputs=3";
    cr_assert(limn("%s --out k.npz", run).status == 0);
    ds_array errors = member("k.npz:ntk_standard_errors"), exact = kernel(""), got = member("k.npz:ntk");
    for (int i = 0; i < COUNT; i++)
        cr_assert(errors.data[i] > 0 && fabs(got.data[i] - exact.data[i]) < 8 * errors.data[i], "%g, not %g +- %g",
                  got.data[i], exact.data[i], errors.data[i]);
    cr_assert(limn("%s --outputs full --out full.npz", run).status == 0);
    ds_array full = member("full.npz:ntk_standard_errors"); /* of one output, each for itself */
    cr_assert(full.rank == 4 && full.shape[2] == 3 && full.shape[3] == 3);
    for (size_t i = 0; i < COUNT * 9; i++)
        cr_assert_eq(full.data[i], i % 9 % 4 ? 0 : errors.data[i / 9]);
    ds_array_free(&errors);
    ds_array_free(&exact);
    ds_array_free(&got);
    ds_array_free(&full);
}

/* Masks of --mode train: after one hidden layer the diagonal of the NNGP kernel is 1 / 0.5 as large, in the limit, and
 * near it at a width; else they are the identity. */
Test(kernel_tool, dropout_in_training)
{
    put_inputs("x.npy");
    ds_array plain = kernel("--kernel nngp --set depth=1"),
             off = kernel("--kernel nngp --set depth=1 --set dropout=0.5");
    ds_array on = kernel("--kernel nngp --set depth=1 --set dropout=0.5 --mode train");
    ds_array wide = kernel("--kernel nngp --set depth=1 --set dropout=0.5 --mode train --width 4096 --seeds 4");
    for (int i = 0; i < COUNT; i++) {
        bool itself = i / ROWS == i % ROWS;
        double size = sqrt(on.data[i / ROWS * (ROWS + 1)] * on.data[i % ROWS * (ROWS + 1)]);
        cr_expect_float_eq(off.data[i], plain.data[i], 1e-13);
        cr_expect_float_eq(on.data[i], (itself ? 2 : 1) * plain.data[i], 1e-12 * size);
        cr_expect(fabs(wide.data[i] - on.data[i]) < 0.1 * size, "%d: %g, not %g", i, wide.data[i], on.data[i]);
    }
    ds_array_free(&plain);
    ds_array_free(&off);
    ds_array_free(&on);
    ds_array_free(&wide);
}

Test(kernel_tool, mistakes_are_told)
{
    put_inputs("x.npy");
    const char *run = "kernel mlp --inputs x.npy";
    static const struct {
        const char *more, *told;
        int status;
    } rows[] = {
        { "--params 'dense9*'", "dense1.weight, dense2.weight, dense3.weight, readout.weight", 1 },
        { "--params dense2weight", "did you mean dense2.weight?", 1 },
        { "--params 'dense1*' --kernel nngp", "--params is for the NTK", 2 },
        { "--of H2", "did you mean h2?", 1 },
        { "--of dh2", "h1, x1, h2, x2, h3, x3", 1 },
        { "--of h2 --outputs full", "no --block and no --outputs full", 2 },
        { "--block 0 --outputs full", "--block is one of the blocks", 2 },
        { "--block 0,x", "--block takes an output or two", 2 },
        { "--block 0,1,2", "--block takes an output or two", 2 },
        { "--kernel both --out k.npy", "FILE.npz or .csv", 2 },
        { "--set dropout=0.5 --mode train --of h2", "without the masks of dropout", 1 },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        char arguments[200];
        snprintf(arguments, sizeof arguments, "%s %s", run, rows[k].more);
        fails(arguments, rows[k].status, rows[k].told);
    }
    fails("predict mlp --data digits --kernel both", 2, "--kernel both is for limn kernel");
    cr_expect(limn("kernel mlp --inputs x.npy --kernel both --width 64 --seeds 2 --explain").status == 0);
    cr_expect(limn("kernel mlp --inputs x.npy --of h2 --width 64 --explain").status == 0);
}
