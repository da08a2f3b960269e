/* Eigenvalues by degree: integrals by hand on the sphere, all eigenvalues of a kernel matrix on a small cube. */
#include "limn.h"

#include <criterion/criterion.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

typedef struct {
    nn_net *net;
    tp_program *program;
} network;

static network traced(const char *name, size_t features, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = features, .settings = settings, .name = name };
    if (strcmp(name, "rnn") == 0)
        memcpy(spec.shape, (size_t[4]){ 2, features / 2 }, sizeof spec.shape);
    network n = { .net = nn_trace(nn_builtin(name), &spec, &error) };
    cr_assert(n.net, "%s", error.text);
    n.program = tp_translate(n.net, &error);
    cr_assert(n.program, "%s", error.text);
    return n;
}

static void end(network *n)
{
    tp_program_free(n->program);
    nn_net_free(n->net);
}

/* (rows, rows) */
static void kernel_of(const network *n, tp_kernel_kind which, const double *x, size_t rows, double *out)
{
    ad_error error = { 0 };
    tp_kernel kernel = { 0 };
    cr_assert_eq(tp_limit(n->program, which, x, rows, NULL, 0, NULL, &kernel, &error), 0, "%s", error.text);
    memcpy(out, kernel.terms[0].values, rows * rows * sizeof *out);
    tp_kernel_free(&kernel);
}

/* The arc-cosine kernel on the sphere in three dimensions: kappa(t) = (sqrt(1 - t^2) + (pi - acos t) t) / pi has means
 * 3/8 against 1 and 1/6 against t, and none against Legendre's polynomial of degree 3. */
Test(degrees, sphere_in_three_dimensions)
{
    network n = traced("mlp", 3, (const char *const[]){ "phi=relu", "depth=1", NULL });
    ad_error error = { 0 };
    tp_degree d[4];
    double one, x[3] = { sqrt(3), 0, 0 };
    kernel_of(&n, TP_NNGP, x, 1, &one);
    cr_assert_eq(tp_degrees_find(n.program, TP_NNGP, 4, d, &error), 0, "%s", error.text);
    const double wanted[4] = { 0.375, 1.0 / 6, 0, 0 };
    for (int k = 0; k < 4; k++) {
        if (k != 2)
            cr_assert_float_eq(d[k].sphere, wanted[k] * one, 1e-12 * one, "%d: %.17g", k, d[k].sphere);
        cr_assert_float_eq(d[k].on_sphere, 2 * k + 1, 1e-9);
    }
    end(&n);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* All vertices of the cube: the kernel's matrix over their number has each eigenvalue as often as is said. */
static void cube_agrees(tp_kernel_kind which, const char *phi)
{
    enum { D = 4, ALL = 1 << D };
    network n = traced("mlp", D, (const char *const[]){ phi, "depth=2", "sigma_b=0.3", NULL });
    ad_error error = { 0 };
    tp_degree d[D + 1];
    double x[ALL * D], k[ALL * ALL], values[ALL], told[ALL], trace = 0;
    for (int i = 0; i < ALL; i++)
        for (int j = 0; j < D; j++)
            x[i * D + j] = i >> j & 1 ? 1 : -1;
    kernel_of(&n, which, x, ALL, k);
    double one = k[0];
    cr_assert_eq(LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'N', 'U', ALL, k, ALL, values), 0);
    cr_assert_eq(tp_degrees_find(n.program, which, D + 1, d, &error), 0, "%s", error.text);
    int at = 0;
    for (int i = 0; i <= D; i++) {
        trace += d[i].cube * d[i].on_cube;
        for (int j = 0; j < (int)lround(d[i].on_cube); j++)
            told[at++] = d[i].cube;
    }
    cr_assert_eq(at, ALL);
    cr_assert_float_eq(trace, one, 1e-11 * one);
    qsort(told, ALL, sizeof *told, ascending);
    for (int i = 0; i < ALL; i++)
        cr_assert_float_eq(told[i], values[i] / ALL, 1e-11 * one, "%d: %.15g %.15g", i, told[i], values[i] / ALL);
    end(&n);
}

Test(degrees, all_of_a_small_cube)
{
    cube_agrees(TP_NNGP, "phi=relu");
    cube_agrees(TP_NTK, "phi=relu");
    cube_agrees(TP_NTK, "phi=erf");
}

/* On the sphere eigenvalues times their numbers sum to the kernel at x = y, as far as degrees go. */
Test(degrees, sphere_sums_to_the_diagonal)
{
    network n = traced("mlp", 10, (const char *const[]){ "phi=erf", "depth=2", NULL });
    ad_error error = { 0 };
    tp_degree d[40];
    double one, sum = 0, x[10] = { sqrt(10) };
    kernel_of(&n, TP_NTK, x, 1, &one);
    cr_assert_eq(tp_degrees_find(n.program, TP_NTK, 40, d, &error), 0, "%s", error.text);
    for (int k = 0; k < 12; k++) /* beyond, an error of the kernel times the number of functions is no longer small */
        sum += d[k].sphere * d[k].on_sphere;
    cr_assert(fabs(sum - one) < 0.02 * one && sum < one * (1 + 1e-6), "%g of %g", sum, one);
    end(&n);
}

Test(degrees, what_is_refused)
{
    ad_error error = { 0 };
    tp_degree d[2];
    network n = traced("rnn", 4, NULL);
    cr_assert_eq(tp_degrees_find(n.program, TP_NTK, 2, d, &error), -1);
    cr_assert(strstr(error.text, "none of x . y") && !strchr(error.text, '\n'), "%s", error.text);
    end(&n);
    n = traced("mlp", 4, NULL);
    error = (ad_error){ 0 };
    cr_assert_eq(tp_degrees_find(n.program, TP_NTK, TP_DEGREES + 1, d, &error), -1);
    cr_assert(strstr(error.text, "65 degrees"), "%s", error.text);
    end(&n);
    n = traced("batchnorm", 4, NULL);
    error = (ad_error){ 0 };
    cr_assert_eq(tp_degrees_find(n.program, TP_NTK, 2, d, &error), -1);
    cr_assert(strstr(error.text, "batch"), "%s", error.text);
    end(&n);
}
