/* test_predict_floats.c: limn predict --dtype float beside the doubles; a kernel that is kept; refusals. */
#include "autodiff/autodiff.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

TOOL_SUITE(predict_floats);

#define DIGITS "predict mlp --data digits --times inf --no-check "

static void expect_near(const char *file, const char *other, double most)
{
    ds_array a = get_array(file), b = get_array(other);
    cr_assert(a.rank == 3 && b.rank == 3 && a.shape[1] == b.shape[1] && a.shape[2] == b.shape[2]);
    for (size_t i = 0; i < a.shape[1] * a.shape[2]; i++)
        cr_assert(fabs(a.data[i] - b.data[i]) <= most, "%s: %g beside %g", file, a.data[i], b.data[i]);
    ds_array_free(&a);
    ds_array_free(&b);
}

Test(predict_floats, beside_doubles)
{
    const char *with[] = { "--ridge 0.01", "--ridge 0.01 --kernel nngp --centre", "--ridge 0.1 --set phi=tanh" };
    for (size_t k = 0; k < sizeof with / sizeof *with; k++) {
        outcome o = limn(DIGITS "--train 300 --test 100 %s --out %s", with[k], in("d.npy"));
        cr_assert_eq(o.status, 0, "%s", o.err);
        o = limn(DIGITS "--train 300 --test 100 %s --dtype float --out %s", with[k], in("f.npy"));
        cr_assert_eq(o.status, 0, "%s", o.err);
        cr_expect(strstr(o.out, "residual"), "%s", o.out);
        expect_near("f.npy", "d.npy", 1e-4);
    }
}

/* Rows that nearly repeat others, with targets of their own: what the floats' roundings do grows as the ridge falls;
 * what is told of it is neither less than it is nor far more, and where it is as large as the outputs there are
 * none. */
Test(predict_floats, roundings_are_told)
{
    enum { HALF = 80, ROWS = 2 * HALF, TESTS = 50, FEATURES = 6, OUTPUTS = 2 };
    static double x[ROWS * FEATURES], change[HALF * FEATURES], t[TESTS * FEATURES], y[ROWS * OUTPUTS];
    const double ridges[] = { 1e-2, 1e-3, 1e-4, 5e-6, 1e-6 };
    ad_normal(5, 1, 0, HALF * FEATURES, x);
    ad_normal(5, 2, 0, HALF * FEATURES, change);
    ad_normal(5, 3, 0, TESTS * FEATURES, t);
    ad_normal(5, 4, 0, ROWS * OUTPUTS, y);
    for (int i = 0; i < HALF * FEATURES; i++)
        x[HALF * FEATURES + i] = x[i] * (1 + 1e-6 * change[i]);
    put_array("x.npy", x, ROWS, FEATURES);
    put_array("t.npy", t, TESTS, FEATURES);
    put_array("y.npy", y, ROWS, OUTPUTS);
    for (int k = 0; k < 5; k++) {
        char line[400];
        double told, squares = 0;
        snprintf(line, sizeof line,
                 "predict mlp --inputs x.npy --labels y.npy --inputs2 t.npy --times inf --no-check --ridge %g",
                 ridges[k]);
        if (k >= 3) {
            strcat(line, " --dtype float");
            fails(line, 1,
                  k == 3 ? "roundings of the floats move the test outputs" : "singular in floats; to it row 8");
            continue;
        }
        cr_assert_eq(limn("%s --out d.npy", line).status, 0);
        outcome o = limn("%s --dtype float --out f.npy", line);
        const char *off = strstr(o.out, "off by about ");
        cr_assert(o.status == 0 && off && sscanf(off, "off by about %lf", &told) == 1, "%s%s", o.out, o.err);
        ds_array a = get_array("d.npy"), b = get_array("f.npy");
        for (int i = 0; i < TESTS * OUTPUTS; i++)
            squares += pow(a.data[i] - b.data[i], 2) / (TESTS * OUTPUTS);
        cr_expect(sqrt(squares) < told && told < 30 * sqrt(squares), "ridge %g: %g, told %g", ridges[k], sqrt(squares),
                  told);
        ds_array_free(&a);
        ds_array_free(&b);
    }
}

/* Equal rows with targets of their own: a factor in floats may be there all the same, and tests would not move. */
Test(predict_floats, equal_rows)
{
    enum { ROWS = 24, FEATURES = 4 };
    static double x[ROWS * FEATURES], y[ROWS];
    ad_normal(5, 1, 0, ROWS * FEATURES, x);
    ad_normal(5, 2, 0, ROWS, y);
    memcpy(x + 7 * FEATURES, x + 3 * FEATURES, FEATURES * sizeof *x);
    put_array("x.npy", x, ROWS, FEATURES);
    put_array("y.npy", y, ROWS, 1);
    static const char *const phi[] = { "relu", "tanh", "erf", "gelu" };
    for (size_t k = 0; k < sizeof phi / sizeof *phi; k++)
        for (int ridge = 0; ridge < 2; ridge++) {
            char line[300];
            snprintf(line, sizeof line,
                     "predict mlp --set phi=%s --inputs x.npy --labels y.npy --times inf --no-check --dtype float "
                     "--ridge %s",
                     phi[k], ridge ? "3e-7" : "0");
            fails(line, 1, "row 7, counted from 0, is row 3 or a multiple of it");
        }
}

/* The kernel that is kept serves another ridge; one of other rows is not taken for it. */
Test(predict_floats, kept)
{
    char line[400];
    cr_assert_eq(limn(DIGITS "--train 200 --test 50 --dtype float --ridge 0.01 --out %s", in("a.npy")).status, 0);
    const double ridges[] = { 0.1, 0.01, 0.01 };
    for (int k = 0; k < 3; k++) {
        outcome o = limn(DIGITS "--train 200 --test 50 --dtype float --ridge %g --store %s --out %s", ridges[k],
                         in("k.npy"), in("b.npy"));
        cr_assert_eq(o.status, 0, "%s", o.err);
        cr_assert_eq(access(in("k.npy.partial"), F_OK), 0);
        cr_assert(k < 2 || strstr(o.err, "were there"), "%s", o.err);
    }
    expect_near("b.npy", "a.npy", 1e-9);
    snprintf(line, sizeof line, DIGITS "--train 201 --dtype float --ridge 0.01 --store %s", in("k.npy"));
    fails(line, 1, "another file");
    snprintf(line, sizeof line, DIGITS "--train 200 --set depth=2 --dtype float --store %s", in("k.npy"));
    fails(line, 1, "another file");
}

/* Of rows that begin with zeros, at which networks without biases agree. */
Test(predict_floats, kept_for_one_network)
{
    char line[400];
    double x[8][2] = { { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, { 1, 2 }, { -1, 3 }, { 2, -1 } };
    const double y[8] = { 0, 0, 0, 0, 0, 1, -1, 2 };
    put_array("x.npy", &x[0][0], 8, 2);
    put_array("y.npy", y, 8, 1);
    const char *run = "predict mlp --inputs %s --labels %s --ridge 0.01 --times inf --dtype float --store %s --set %s";
    cr_assert_eq(limn(run, in("x.npy"), in("y.npy"), in("k.npy"), "depth=3").status, 0);
    cr_assert_eq(limn(run, in("x.npy"), in("y.npy"), in("k.npy"), "depth=3").status, 0);
    snprintf(line, sizeof line, run, in("x.npy"), in("y.npy"), in("k.npy"), "depth=2");
    fails(line, 1, "another file");
}

/* Told in place of the work, of which nothing is left. */
Test(predict_floats, explained)
{
    outcome o = limn(DIGITS "--train 300 --test 100 --dtype float --explain --store %s", in("k.npy"));
    cr_assert(o.status == 0 && strstr(o.out, "300 inputs to train") && strstr(o.out, "nothing is computed"), "%s%s",
              o.out, o.err);
    cr_expect(access(in("k.npy.partial"), F_OK));
    o = limn(DIGITS "--train 300 --test 100 --dtype float --explain --json");
    cr_assert(o.status == 0 && strstr(o.out, "\"kernel_bytes\":360000"), "%s", o.out);
}

Test(predict_floats, refused)
{
    fails("predict mlp --data digits --dtype float --times 10,inf", 2, "of --times inf");
    fails("predict mlp --data digits --dtype float --times inf --loss cross-entropy", 2, "square loss");
    fails("predict mlp --data digits --dtype float --times inf --outputs full", 1, "--outputs full");
    fails("predict mlp --data digits --times inf --store k.npy", 2, "--store is for");
}
