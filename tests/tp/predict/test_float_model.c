/* test_float_model.c: large kernels of floats beside the doubles' kernel model: solves, other ridges, factors that a
 * kill left half-way, kernels that cannot be factored. */
#include "limn.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1100, FEATURES = 20, OUTPUTS = 3 }; /* three panels, the last one short */

typedef struct {
    float *k;
    double *diagonal, *y, *a;
    tp_float_state state;
    tp_float_model m;
} job;

/* exp(-|x - x'|^2 / 2 / FEATURES), and draws as targets. */
static void begin(job *j, double ridge)
{
    double *x = malloc(N * FEATURES * sizeof *x);
    *j = (job){ .k = malloc(sizeof(float) * N * N),
                .diagonal = malloc(N * sizeof(double)),
                .y = malloc(N * OUTPUTS * sizeof(double)),
                .a = malloc(N * OUTPUTS * sizeof(double)) };
    cr_assert(x && j->k && j->diagonal && j->y && j->a);
    ad_normal(1, ad_stream("rows"), 0, N * FEATURES, x);
    ad_normal(1, ad_stream("targets"), 0, N * OUTPUTS, j->y);
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < N; k++) {
            double sum = 0;
            for (size_t f = 0; f < FEATURES; f++)
                sum += pow(x[i * FEATURES + f] - x[k * FEATURES + f], 2);
            j->k[i * N + k] = (float)exp(-sum / 2 / FEATURES);
        }
    j->m = (tp_float_model){ .kernel = j->k, .diagonal = j->diagonal, .n = N, .relative = ridge, .state = &j->state };
    free(x);
}

static void end(job *j)
{
    free(j->k);
    free(j->diagonal);
    free(j->y);
    free(j->a);
}

/* The doubles' coefficients of the same kernel. */
static void expect_solved(const job *j, const float *kernel, double ridge)
{
    ad_error error = { 0 };
    const double infinite = (double)INFINITY;
    double *wide = ad_alloc((size_t)N * N, sizeof *wide, "a kernel", &error), size = 0, off = 0;
    static double a[N * OUTPUTS], fitted[N * OUTPUTS], own[N * OUTPUTS];
    cr_assert(wide);
    for (size_t i = 0; i < (size_t)N * N; i++)
        wide[i] = (double)kernel[i];
    tp_kernel_model *model =
        tp_kernel_model_new(wide, N, &(tp_kernel_model_spec){ .ridge = ridge, .cholesky = true }, &error);
    cr_assert(model, "%s", error.text);
    cr_assert(fabs(model->ridge - j->m.ridge) <= 1e-12 * model->ridge);
    cr_assert(!tp_coefficients(model, &(tp_training){ 0 }, j->y, OUTPUTS, NULL, &infinite, 1, a, &error), "%s",
              error.text);
    cr_assert(!tp_fitted_values(model, a, OUTPUTS, NULL, fitted, &error));
    cr_assert(!tp_float_model_product(&j->m, j->a, OUTPUTS, own, &error));
    for (size_t i = 0; i < N * OUTPUTS; i++) {
        size = fmax(size, fabs(a[i]));
        off = fmax(off, fabs(a[i] - j->a[i]));
        cr_assert(fabs(fitted[i] - own[i]) <= 1e-7, "%g beside %g", own[i], fitted[i]);
    }
    cr_expect(off <= 1e-7 * size, "%g of %g", off, size);
    cr_expect(j->m.residual <= 1e-9 && j->m.steps > 0, "%g", j->m.residual);
    tp_kernel_model_free(model);
}

Test(float_model, beside_the_doubles)
{
    job j;
    ad_error error = { 0 };
    const double ridges[] = { 1e-3, 1e-1, 1e-3 };
    begin(&j, ridges[0]);
    float *kernel = malloc(sizeof(float) * N * N);
    cr_assert(kernel);
    memcpy(kernel, j.k, sizeof(float) * N * N);
    for (size_t k = 0; k < sizeof ridges / sizeof *ridges; k++) { /* another ridge needs no new kernel */
        j.m.relative = ridges[k];
        cr_assert(!tp_float_model_factor(&j.m, &error), "%s", error.text);
        cr_assert(!tp_float_model_solve(&j.m, j.y, OUTPUTS, j.a, &error), "%s", error.text);
        expect_solved(&j, kernel, ridges[k]);
    }
    free(kernel);
    end(&j);
}

/* What a panel under way left behind is not read. */
Test(float_model, goes_on)
{
    job whole, part;
    ad_error error = { 0 };
    begin(&whole, 1e-3);
    begin(&part, 1e-3);
    cr_assert(!tp_float_model_factor(&whole.m, &error) && !tp_float_model_factor(&part.m, &error));
    part.state.columns = 512;
    for (size_t i = 512; i < N; i++)
        for (size_t k = 512; k <= i; k++)
            part.k[i * N + k] = NAN;
    cr_assert(!tp_float_model_factor(&part.m, &error), "%s", error.text);
    cr_assert_eq(part.state.columns, (uint64_t)N);
    cr_assert(memcmp(whole.k, part.k, sizeof(float) * N * N) == 0);
    end(&whole);
    end(&part);
}

Test(float_model, refused)
{
    job j;
    ad_error error = { 0 };
    begin(&j, 0);
    cr_assert(tp_float_model_solve(&j.m, j.y, OUTPUTS, j.a, &error));
    cr_expect(strstr(error.text, "before it is factored"), "%s", error.text);
    error = (ad_error){ 0 };
    for (size_t i = 0; i < N; i++) /* a row that repeats another, and a little less */
        j.k[i * N + N - 1] = j.k[(N - 1) * N + i] = j.k[i * N];
    j.k[(size_t)N * N - 1] = 0.99F;
    cr_assert(tp_float_model_factor(&j.m, &error));
    cr_expect(strstr(error.text, "not positive definite") && strstr(error.text, "--ridge"), "%s", error.text);
    end(&j);
}
