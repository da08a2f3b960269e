/* test_kernel_tiles.c: limn kernel --dtype float, and a run that is killed and goes on. */
#include "autodiff/autodiff.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TOOL_SUITE(kernel_tiles);

static void put_rows(const char *file, size_t rows, size_t columns)
{
    double *x = ad_alloc(rows * columns, sizeof *x, "rows", NULL);
    cr_assert(x);
    ad_normal(1, ad_stream("rows"), 0, rows * columns, x);
    put_array(file, x, rows, columns);
    ad_free(x);
}

Test(kernel_tiles, floats_beside_doubles)
{
    put_rows("x.npy", 40, 6);
    cr_assert_eq(limn("kernel mlp --inputs %s --out %s", in("x.npy"), in("d.npy")).status, 0);
    outcome o = limn("kernel mlp --inputs %s --dtype float --out %s", in("x.npy"), in("f.npy"));
    cr_assert_eq(o.status, 0, "%s", o.err);
    cr_expect(strstr(o.out, "checked against samples"), "%s", o.out);
    ds_array d = get_array("d.npy"), f = get_array("f.npy");
    cr_assert_eq(f.shape[1], 40);
    for (size_t i = 0; i < 1600; i++) {
        double size = sqrt(d.data[i / 40 * 41] * d.data[i % 40 * 41]);
        cr_assert(fabs(f.data[i] - d.data[i]) <= 1e-6 * size);
        cr_assert_eq((double)(float)f.data[i], f.data[i]);
    }
    ds_array_free(&d);
    ds_array_free(&f);
    o = limn("kernel mlp --inputs %s --dtype float", in("x.npy"));
    cr_assert(o.status == 0 && strstr(o.out, "40 x 40"));
}

Test(kernel_tiles, refused)
{
    char line[300];
    put_inputs("x.npy");
    const char *with[][2] = { { "--kernel both", "one kernel" },
                              { "--outputs full", "--outputs full" },
                              { "--engine sample", "--engine sample" } };
    for (size_t k = 0; k < sizeof with / sizeof *with; k++) {
        snprintf(line, sizeof line, "kernel mlp --dtype float --inputs %s %s", in("x.npy"), with[k][0]);
        fails(line, 1, with[k][1]);
    }
    snprintf(line, sizeof line, "kernel batchnorm --dtype float --inputs %s", in("x.npy"));
    fails(line, 1, "samples meet");
    const double tiny[2][2] = { { 1e-22, 2e-22 }, { 0, 0 } }, zero[2][2] = { { 1e-18, 2e-18 }, { 0, 0 } };
    put_array("x.npy", &tiny[0][0], 2, 2);
    snprintf(line, sizeof line, "kernel mlp --dtype float --inputs %s", in("x.npy"));
    fails(line, 1, "too small for a float");
    put_npy("x.npy", "<f8", false, "(2, 2, 1, 1)", tiny, sizeof tiny);
    snprintf(line, sizeof line, "kernel cnn --dtype float --inputs %s", in("x.npy"));
    fails(line, 1, "too small for a float");
    put_array("x.npy", &zero[0][0], 2, 2);
    cr_assert_eq(limn("kernel mlp --dtype float --inputs %s", in("x.npy")).status, 0);
}

/* A kernel that is refused leaves no file in another's way. */
Test(kernel_tiles, refused_leaves_nothing)
{
    char line[300];
    const double x[3][2] = { { 1e9, 2e9 }, { -3e9, 1e9 }, { 1, 2 } };
    put_array("x.npy", &x[0][0], 3, 2);
    snprintf(line, sizeof line, "kernel mlp --set phi=tanh --dtype float --inputs %s --out %s", in("x.npy"),
             in("k.npy"));
    fails(line, 1, "no digit of it is sure");
    cr_assert_eq(access(in("k.npy.partial"), F_OK), -1);
    cr_assert_eq(access(in("k.npy"), F_OK), -1);
}

/* A file of three rows of tiles, at work when it is killed; what another run finds there is not found again. */
Test(kernel_tiles, killed)
{
    enum { ROWS = 4500, COLUMNS = 400 };
    put_rows("x.npy", ROWS, COLUMNS);
    pid_t child = fork();
    if (child == 0) {
        execl(LIMN_TOOL, LIMN_TOOL, "kernel", "mlp", "--no-check", "--dtype", "float", "--inputs", in("x.npy"), "--out",
              in("k.npy"), (char *)NULL);
        _exit(127);
    }
    for (int wait = 0; wait < 500 && access(in("k.npy.partial"), F_OK); wait++)
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    nanosleep(&(struct timespec){ .tv_nsec = 400000000 }, NULL);
    kill(child, SIGKILL);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    bool ended = WIFEXITED(status); /* a machine that is quick enough */
    cr_assert(ended || access(in("k.npy"), F_OK));
    outcome o = limn("kernel mlp --no-check --dtype float --inputs %s --out %s", in("x.npy"), in("k.npy"));
    cr_assert_eq(o.status, 0, "%s", o.err);
    cr_assert(ended || access(in("k.npy.partial"), F_OK));
    o = limn("kernel mlp --no-check --dtype float --inputs %s --out %s", in("x.npy"), in("fresh.npy"));
    cr_assert_eq(o.status, 0, "%s", o.err);
    size_t size, other;
    char *a = slurp(in("k.npy"), &size), *b = slurp(in("fresh.npy"), &other);
    cr_assert(size == other && size > (size_t)ROWS * ROWS * 4 && memcmp(a, b, size) == 0);
    ad_free(a);
    ad_free(b);
}
