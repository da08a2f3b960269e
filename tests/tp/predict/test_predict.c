/* Predictions of kernel machines against the reference, naive twins in long double, closed forms, and nn_fit itself:
 * where the readout alone is trained, a network of any width is its kernel's machine exactly. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 5, M = 3, K = 2 };

static double *copy(const double *values, size_t count)
{
    double *out = ad_alloc(count, sizeof *out, "a copy", NULL);
    memcpy(out, values, count * sizeof *out);
    return out;
}

static tp_kernel_model *make(const double *kernel, size_t n, tp_kernel_model_spec spec)
{
    ad_error error = { 0 };
    tp_kernel_model *m = tp_kernel_model_new(copy(kernel, n * n), n, &spec, &error);
    cr_assert(m, "%s", error.text);
    return m;
}

static void coefficients(const tp_kernel_model *m, tp_training t, const double *y, size_t columns, const double *start,
                         double time, double *a)
{
    ad_error error = { 0 };
    cr_assert_eq(tp_coefficients(m, &t, y, columns, start, &time, 1, a, &error), 0, "%s", error.text);
}

static void outputs(const tp_kernel_model *m, const double *a, size_t columns, const double *start, double *f)
{
    ad_error error = { 0 };
    cr_assert_eq(tp_outputs(m, a, columns, start, f, &error), 0, "%s", error.text);
}

static double worst(const double *a, const double *b, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

/* A positive definite kernel of n points on a line, far from diagonal. */
static void fill(double *kernel, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            kernel[i * n + j] = exp(-0.3 * fabs((double)i - (double)j)) + 0.2 * cos((double)i) * cos((double)j);
}

/* ---- the reference ---- */
typedef struct {
    reference *ref;
    const double *dd[2], *td[2], *tt[2]; /* NNGP, NTK */
    double y[N * K], f[N * K], g[M * K];
} setting;

static setting read_setting(void)
{
    setting s = { .ref = reference_read("predict_mlp_relu_d3") };
    static const char *const keys[2][3] = { { "k_dd.nngp", "k_td.nngp", "k_tt.nngp" },
                                            { "k_dd.ntk", "k_td.ntk", "k_tt.ntk" } };
    for (int w = 0; w < 2; w++) {
        s.dd[w] = reference_array(s.ref, keys[w][0], N * N);
        s.td[w] = reference_array(s.ref, keys[w][1], M * N);
        s.tt[w] = reference_array(s.ref, keys[w][2], M * M);
    }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < K; k++) {
            s.y[i * K + k] = sin(1 + i + 2 * k);
            s.f[i * K + k] = 0.3 * cos(i + 0.5 * k);
            if (i < M)
                s.g[i * K + k] = 0.2 * sin(2 + i - 0.5 * k);
        }
    return s;
}

static const struct {
    const char *name;
    double at;
} reference_times[] = { { "0.5", 0.5 }, { "10.0", 10 }, { "1000.0", 1000 }, { "None", INFINITY } };

static void compare(reference *ref, const char *object, const char *entry, const double *got, size_t count)
{
    const double *expected = reference_entry(ref, object, entry, count);
    double off = worst(got, expected, count);
    cr_expect(off < 1e-12, "%s %s: off by %g", object, entry, off);
}

/* Every way to factor a kernel: eigenvectors, Cholesky's factor, a band form. */
enum { EIGENVECTORS, CHOLESKY, BAND, WAYS };
static tp_kernel_model_spec way(int which, double ridge)
{
    return (tp_kernel_model_spec){ .ridge = ridge, .cholesky = which == CHOLESKY, .band = which == BAND };
}

/* Eigenvectors and the band form at every time; Cholesky's factor at infinity. */
Test(predict, reference_of_the_gradient_flow)
{
    setting s = read_setting();
    for (int r = 0; r < 2; r++)
        for (int c = 0; c < WAYS; c++)
            for (size_t k = c == CHOLESKY ? 3 : 0; k < 4; k++) {
                tp_kernel_model *m = make(s.dd[1], N, way(c, r ? 0.001 : 0));
                double a[N * K], train[N * K], test[M * K];
                char object[80];
                coefficients(m, (tp_training){ .rate = 1 }, s.y, K, s.f, reference_times[k].at, a);
                outputs(m, a, K, s.f, train);
                tp_outputs_at(m, s.td[1], M, a, K, s.g, test);
                snprintf(object, sizeof object, "gradient_descent_mse_reg%s_t%s", r ? "0.001" : "0.0",
                         reference_times[k].name);
                compare(s.ref, object, "fx_train", train, N * K);
                compare(s.ref, object, "fx_test", test, M * K);
                tp_kernel_model_free(m);
            }
    reference_free(s.ref);
}

/* GP inference is the ensemble of networks whose readout alone is trained, at t = infinity. */
Test(predict, reference_of_ensembles_and_gp_inference)
{
    setting s = read_setting();
    for (int w = 0; w < 2; w++)
        for (int r = 0; r < 2; r++)
            for (int c = 0; c < WAYS; c++)
                for (size_t k = c == CHOLESKY ? 3 : 0; k < 4; k++) {
                    double ridge = r ? 0.001 : 0, t = reference_times[k].at, a[N * K], mean[M * K], cov[M * M], var[M];
                    tp_kernel_model *m = make(s.dd[w], N, way(c, ridge));
                    tp_training flow = { .rate = 1 };
                    tp_prior prior = { w ? s.dd[0] : NULL, w ? s.td[0] : NULL, s.tt[0], false };
                    ad_error error = { 0 };
                    char object[80];
                    coefficients(m, flow, s.y, K, NULL, t, a);
                    tp_outputs_at(m, s.td[w], M, a, K, NULL, mean);
                    cr_assert(tp_covariance(m, &flow, K, t, s.td[w], M, &prior, cov, &error) == 0, "%s", error.text);
                    if (k == 3) {
                        snprintf(object, sizeof object, "gp_inference_reg%s_%s", r ? "0.001" : "0.0",
                                 w ? "ntk" : "nngp");
                        compare(s.ref, object, "mean", mean, M * K);
                        compare(s.ref, object, "cov", cov, M * M);
                    }
                    if (r && k != 2) {
                        snprintf(object, sizeof object, "ensemble_reg0.001_t%s_%s", reference_times[k].name,
                                 w ? "ntk" : "nngp");
                        compare(s.ref, object, "mean", mean, M * K);
                        compare(s.ref, object, "cov", cov, M * M);
                    }
                    double diagonal[M] = { s.tt[0][0], s.tt[0][4], s.tt[0][8] };
                    prior.test = diagonal;
                    prior.diagonal = true;
                    cr_assert(tp_covariance(m, &flow, K, t, s.td[w], M, &prior, var, &error) == 0, "%s", error.text);
                    for (int i = 0; i < M; i++)
                        cr_expect(fabs(var[i] - cov[i * M + i]) < 1e-13);
                    tp_kernel_model_free(m);
                }
    reference_free(s.ref);
}

Test(predict, reference_of_the_largest_rate)
{
    setting s = read_setting();
    tp_training descent = { .motion = TP_GRADIENT_DESCENT }, momentum = { .motion = TP_MOMENTUM, .momentum = 0.5 };
    const double *expected = reference_array(s.ref, "max_learning_rate", 1);
    for (int c = 0; c < 2; c++) {
        tp_kernel_model *m = make(s.dd[1], N, (tp_kernel_model_spec){ .cholesky = c });
        cr_expect(fabs(tp_maximum_stable_rate(m, &descent, K) - *expected) < 1e-9 * *expected);
        cr_expect(fabs(tp_maximum_stable_rate(m, &momentum, K) - 1.5 * *expected) < 1e-9 * *expected);
        tp_kernel_model_free(m);
    }
    reference_free(s.ref);
}

/* ---- naive twins ---- */
/* Steps of the coefficients themselves, in long double: of the square loss, or (D = n) of the cross-entropy. */
static void step_naively(const double *kernel, const double *y, const double *start, double rate, double mu, long steps,
                         bool entropy, double *out)
{
    long double a[N * K] = { 0 }, v[N * K] = { 0 }, f[N * K], unit = (long double)rate / (entropy ? N : N * K);
    for (long t = 0; t < steps; t++) {
        for (int i = 0; i < N; i++) {
            long double sum = 0;
            for (int k = 0; k < K; k++) {
                f[i * K + k] = (long double)start[i * K + k];
                for (int j = 0; j < N; j++)
                    f[i * K + k] += (long double)kernel[i * N + j] * a[j * K + k];
                sum += expl(f[i * K + k]);
            }
            for (int k = 0; k < K && entropy; k++)
                f[i * K + k] = expl(f[i * K + k]) / sum;
        }
        for (int i = 0; i < N * K; i++) {
            v[i] = (long double)mu * v[i] - unit * (f[i] - (long double)y[i]);
            a[i] += v[i];
        }
    }
    for (int i = 0; i < N * K; i++)
        out[i] = (double)a[i];
}

static const double one_hot[N * K] = { 1, 0, 0, 1, 1, 0, 0.25, 0.75, 0, 1 };

Test(predict, steps_agree_with_naive_steps)
{
    setting s = read_setting();
    tp_kernel_model *m = make(s.dd[1], N, (tp_kernel_model_spec){ 0 });
    static const long steps[] = { 0, 1, 2, 7, 100, 1000 };
    for (int entropy = 0; entropy < 2; entropy++)
        for (int momentum = 0; momentum < 2; momentum++)
            for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
                const double *y = entropy ? one_hot : s.y;
                tp_training t = { .motion = momentum ? TP_MOMENTUM : TP_GRADIENT_DESCENT,
                                  .momentum = 0.7,
                                  .rate = 0.9,
                                  .loss = entropy ? NN_CROSS_ENTROPY : NN_SQUARE };
                double a[N * K], expected[N * K];
                coefficients(m, t, y, K, s.f, (double)steps[k], a);
                step_naively(s.dd[1], y, s.f, 0.9, momentum ? 0.7 : 0, steps[k], entropy, expected);
                double off = worst(a, expected, N * K);
                cr_expect(off < 1e-12, "loss %d, momentum %d, %ld steps: off by %g", entropy, momentum, steps[k], off);
            }
    tp_kernel_model_free(m);
    reference_free(s.ref);
}

/* A mode of eigenvalue 0 or nearly so moves by rate * t / D times what it sees, in every motion but momentum. */
Test(predict, singular_kernels_have_finite_times)
{
    double kernel[N * N], y[N] = { 1, 2, 3, 4, 6 }, a[N], expected[N];
    for (int i = 0; i < N * N; i++)
        kernel[i] = 1;
    tp_kernel_model *m = make(kernel, N, (tp_kernel_model_spec){ 0 });
    cr_expect(isinf(m->condition));
    cr_expect(fabs(m->largest - N) < 1e-13);
    for (int motion = TP_GRADIENT_FLOW; motion <= TP_GRADIENT_DESCENT; motion++) {
        coefficients(m, (tp_training){ .motion = (tp_dynamics)motion, .rate = 0.5 }, y, 1, NULL, 6, a);
        double mean = 16.0 / 5, q = motion == TP_GRADIENT_FLOW ? exp(-3) : pow(0.5, 6);
        for (int i = 0; i < N; i++)
            expected[i] = 0.5 * 6 / N * (y[i] - mean) + (1 - q) / N * mean;
        cr_expect(worst(a, expected, N) < 1e-13);
    }
    tp_kernel_model_free(m);
}

/* Two classes, one input: z = f_1 - f_2 has z' = 2 c k / (1 + e^z), so that z + e^z = z_0 + e^z_0 + 2 c k t. */
Test(predict, cross_entropy_in_closed_form)
{
    double kernel = 1.7, y[2] = { 1, 0 }, start[2] = { -0.4, 0.3 }, times[] = { 0, 0.01, 1, 1, 30, 1e4 }, a[12], f[2];
    ad_error error = { 0 };
    tp_kernel_model *m = make(&kernel, 1, (tp_kernel_model_spec){ 0 });
    tp_training t = { .loss = NN_CROSS_ENTROPY, .rate = 0.8 };
    cr_assert(tp_coefficients(m, &t, y, 2, start, times, 6, a, &error) == 0, "%s", error.text);
    for (int k = 0; k < 6; k++) {
        outputs(m, a + 2 * k, 2, start, f);
        double z = f[0] - f[1], right = -0.7 + exp(-0.7) + 2 * 0.8 * 1.7 * times[k];
        cr_expect(fabs(z + exp(z) - right) < 1e-8 * fmax(1, right), "t = %g: %.12g, not %.12g", times[k], z + exp(z),
                  right);
        cr_expect(fabs(f[0] + f[1] + 0.1) < 1e-12);
    }
    tp_kernel_model_free(m);
}

/* The flow is the limit of descent with small steps, whose error is of first order: Richardson's extrapolation. */
Test(predict, cross_entropy_flow_is_the_limit_of_small_steps)
{
    setting s = read_setting();
    for (int c = 0; c < 2; c++) {
        tp_kernel_model *m = make(s.dd[1], N, (tp_kernel_model_spec){ .cholesky = c });
        double a[N * K], coarse[N * K], fine[N * K];
        coefficients(m, (tp_training){ .loss = NN_CROSS_ENTROPY, .rate = 0.5 }, one_hot, K, s.f, 8, a);
        step_naively(s.dd[1], one_hot, s.f, 0.5 * 8 / 2000, 0, 2000, true, coarse);
        step_naively(s.dd[1], one_hot, s.f, 0.5 * 8 / 4000, 0, 4000, true, fine);
        double first = worst(a, fine, N * K);
        for (int i = 0; i < N * K; i++)
            fine[i] = 2 * fine[i] - coarse[i];
        cr_expect(worst(a, fine, N * K) < 1e-6 && worst(a, fine, N * K) < first / 50, "%g, %g", first,
                  worst(a, fine, N * K));
        tp_kernel_model_free(m);
    }
    reference_free(s.ref);
}

/* The kernel K times the identity between outputs, said either way. */
Test(predict, kernels_between_outputs)
{
    setting s = read_setting();
    double *wide = calloc(N * K * N * K, sizeof *wide), a[N * K], b[N * K];
    for (int i = 0; i < N * K; i++)
        for (int j = 0; j < N * K; j++)
            wide[i * N * K + j] = i % K == j % K ? s.dd[1][i / K * N + j / K] : 0;
    tp_kernel_model *one = make(s.dd[1], N, (tp_kernel_model_spec){ 0 });
    tp_kernel_model *joint = make(wide, N * K, (tp_kernel_model_spec){ .outputs = K });
    for (int entropy = 0; entropy < 2; entropy++) {
        tp_training t = { .loss = entropy ? NN_CROSS_ENTROPY : NN_SQUARE };
        const double *y = entropy ? one_hot : s.y;
        coefficients(one, t, y, K, s.f, 3, a);
        coefficients(joint, t, y, 1, s.f, 3, b);
        cr_expect(worst(a, b, N * K) < 1e-12);
        cr_expect(fabs(tp_maximum_stable_rate(one, &t, K) - tp_maximum_stable_rate(joint, &t, 1)) < 1e-12);
    }
    tp_kernel_model_free(one);
    tp_kernel_model_free(joint);
    free(wide);
    reference_free(s.ref);
}

/* A is what training makes of targets that are 1 at one input: A = cross a(I). Any motion; C - A C' - C' A' + A C
 * A'. */
Test(predict, covariance_agrees_with_its_definition)
{
    setting s = read_setting();
    double eye[N * N] = { 0 }, a[N * N], smoother[M * N], cov[M * M], expected[M * M];
    ad_error error = { 0 };
    for (int i = 0; i < N; i++)
        eye[i * N + i] = 1;
    tp_kernel_model *m = make(s.dd[1], N, (tp_kernel_model_spec){ 0 }),
                    *own = make(s.dd[0], N, (tp_kernel_model_spec){ 0 });
    for (int readout = 0; readout < 2; readout++)
        for (int motion = TP_GRADIENT_FLOW; motion <= TP_MOMENTUM; motion++) {
            tp_training t = { .motion = (tp_dynamics)motion, .rate = 0.4, .divisor = 5 };
            tp_prior prior = { readout ? NULL : s.dd[0], readout ? NULL : s.td[0], s.tt[0], false };
            const tp_kernel_model *machine = readout ? own : m;
            const double *cross = s.td[readout ? 0 : 1];
            cr_assert(tp_covariance(machine, &t, K, 5, cross, M, &prior, cov, &error) == 0, "%s", error.text);
            coefficients(machine, t, eye, N, NULL, 5, a);
            tp_outputs_at(machine, cross, M, a, N, NULL, smoother);
            for (int i = 0; i < M; i++)
                for (int j = 0; j < M; j++) {
                    double sum = s.tt[0][i * M + j];
                    for (int k = 0; k < N; k++) {
                        sum -= smoother[i * N + k] * s.td[0][j * N + k] + s.td[0][i * N + k] * smoother[j * N + k];
                        for (int l = 0; l < N; l++)
                            sum += smoother[i * N + k] * s.dd[0][k * N + l] * smoother[j * N + l];
                    }
                    expected[i * M + j] = sum;
                }
            cr_expect(worst(cov, expected, M * M) < 1e-12, "motion %d: %g", motion, worst(cov, expected, M * M));
        }
    tp_kernel_model_free(m);
    tp_kernel_model_free(own);
    reference_free(s.ref);
}

/* ---- facts of the kernel ---- */
Test(predict, facts_by_eigenvalues_and_by_lanczos)
{
    enum { MANY = 150 };
    double *kernel = malloc(MANY * MANY * sizeof *kernel);
    fill(kernel, MANY);
    tp_kernel_model *all = make(kernel, MANY, (tp_kernel_model_spec){ .ridge = 0.01 });
    tp_kernel_model *ends = make(kernel, MANY, (tp_kernel_model_spec){ .ridge = 0.01, .cholesky = true });
    cr_expect(fabs(all->largest - ends->largest) < 1e-8 * all->largest, "%g %g", all->largest, ends->largest);
    cr_expect(fabs(all->condition - ends->condition) < 0.01 * all->condition, "%g %g", all->condition, ends->condition);
    cr_expect(fabs(all->ridge - 0.01 * all->diagonal) < 1e-14 && fabs(all->ridge - ends->ridge) < 1e-14);
    cr_expect(tp_kernel_model_bytes(MANY, &(tp_kernel_model_spec){ .cholesky = true }) <
              tp_kernel_model_bytes(MANY, NULL));
    tp_kernel_model_free(all);
    tp_kernel_model_free(ends);
    free(kernel);
}

/* The band form against eigenvectors, at sizes about the width of the band, where panels end, on a kernel of
 * condition number 1e5, by which roundings grow in both: coefficients, outputs, both kinds of covariance. */
Test(predict, band_form_is_the_same)
{
    static const size_t sizes[] = { 1, 2, 63, 64, 65, 66, 128, 129, 193, 260 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k], count = n * K;
        double *memory = malloc((n * n + 4 * count + 2 * M * n) * sizeof *memory), *kernel = memory;
        double *y = kernel + n * n, *a[2] = { y + count, y + 2 * count }, *f = y + 3 * count, *cross = f + count;
        fill(kernel, n);
        for (size_t i = 0; i < n; i++)
            kernel[i * n + i] += i % 3 ? 0 : 1e4;
        for (size_t i = 0; i < count; i++)
            y[i] = sin(1 + 3.0 * (double)i);
        for (size_t i = 0; i < M * n; i++)
            cross[i] = exp(-0.1 * fabs(7.5 * (double)(i / n) - (double)(i % n)));
        tp_kernel_model *eigen = make(kernel, n, way(EIGENVECTORS, 0)), *band = make(kernel, n, way(BAND, 0));
        cr_expect(fabs(eigen->smallest - band->smallest) < 1e-14 * eigen->largest * (double)n);
        cr_expect(fabs(eigen->largest - band->largest) < 1e-14 * eigen->largest * (double)n);
        static const double times[] = { 0, 1e-6, 1, 300, 1e9, INFINITY };
        double bound = 2e-13 + 50 * DBL_EPSILON * eigen->condition /* the weights' sizes add up to 50 */;
        cr_expect(eigen->condition < 2e5);
        for (size_t t = 0; t < sizeof times / sizeof *times; t++) {
            coefficients(eigen, (tp_training){ .rate = 1 }, y, K, NULL, times[t], a[0]);
            coefficients(band, (tp_training){ .rate = 1 }, y, K, NULL, times[t], a[1]);
            double size = 0;
            for (size_t i = 0; i < count; i++)
                size = fmax(size, fabs(a[0][i]));
            cr_expect(worst(a[0], a[1], count) <= bound * size, "n = %zu, t = %g: off by %g of %g", n, times[t],
                      worst(a[0], a[1], count), size);
            outputs(eigen, a[0], K, NULL, f);
            outputs(band, a[0], K, NULL, a[1]);
            cr_expect(worst(f, a[1], count) < bound, "n = %zu, t = %g: outputs off by %g", n, times[t],
                      worst(f, a[1], count));
            for (int own = 0; own < 2; own++) {
                double test[M * M] = { 0 }, covariance[2][M * M];
                tp_prior prior = { own ? NULL : kernel, cross, test, false };
                tp_training flow = { .rate = 1 };
                ad_error error = { 0 };
                cr_assert_eq(tp_covariance(eigen, &flow, K, times[t], cross, M, &prior, covariance[0], &error), 0, "%s",
                             error.text);
                cr_assert_eq(tp_covariance(band, &flow, K, times[t], cross, M, &prior, covariance[1], &error), 0, "%s",
                             error.text);
                cr_expect(worst(covariance[0], covariance[1], M * M) < bound, "n = %zu, t = %g, own %d: off by %g", n,
                          times[t], own, worst(covariance[0], covariance[1], M * M));
            }
        }
        tp_kernel_model_free(eigen);
        tp_kernel_model_free(band);
        free(memory);
    }
}

/* Inputs that come twice: eigenvalues of 0 to rounding, at times at which these modes have long moved. */
Test(predict, band_form_of_a_singular_kernel)
{
    enum { SIDE = 150 };
    double *half = malloc(SIDE * SIDE * sizeof *half), *kernel = malloc(4 * SIDE * SIDE * sizeof *kernel);
    double *a = malloc(2 * SIDE * sizeof *a), *y = malloc(2 * SIDE * sizeof *y), *f = malloc(2 * SIDE * sizeof *f);
    fill(half, SIDE);
    for (size_t i = 0; i < 4 * SIDE * SIDE; i++)
        kernel[i] = half[i / (2 * SIDE) / 2 * SIDE + i % (2 * SIDE) / 2];
    for (size_t i = 0; i < 2 * SIDE; i++)
        y[i] = sin(1 + 2.0 * (double)(i / 2));
    tp_kernel_model *twice = make(kernel, 2 * SIDE, way(BAND, 0)), *once = make(half, SIDE, way(EIGENVECTORS, 0));
    cr_expect(isinf(twice->condition));
    for (double t = 1; t < 1e12; t *= 1e3) {
        /* each input's two halves move together, as one of twice the rate; D is twice as large */
        coefficients(twice, (tp_training){ .rate = 1 }, y, 1, NULL, t, a);
        outputs(twice, a, 1, NULL, f);
        double *b = a + SIDE, z[SIDE], g[SIDE];
        for (size_t i = 0; i < SIDE; i++)
            z[i] = y[2 * i];
        coefficients(once, (tp_training){ .rate = 1 }, z, 1, NULL, t, b);
        outputs(once, b, 1, NULL, g);
        for (size_t i = 0; i < 2 * SIDE; i++)
            cr_expect(fabs(f[i] - g[i / 2]) < 1e-9, "t = %g, row %zu: %g for %g", t, i, f[i], g[i / 2]);
    }
    tp_kernel_model_free(twice);
    tp_kernel_model_free(once);
    free(half);
    free(kernel);
    free(a);
    free(y);
    free(f);
}

/* ---- a kernel's own error ---- */
enum { PAIRS = 6, ROWS = 2 * PAIRS };
static const double kernel_error = 1e-11;

/* Row i + PAIRS is row i again, each entry off by at most the kernel's error. */
static void fill_twice(double *kernel)
{
    double half[PAIRS * PAIRS];
    fill(half, PAIRS);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j <= i; j++) {
            double off = 0.9 * kernel_error * cos(1 + 7.0 * (double)i + 3 * (double)j);
            kernel[i * ROWS + j] = kernel[j * ROWS + i] =
                half[i % PAIRS * PAIRS + j % PAIRS] +
                off * sqrt(half[i % PAIRS * (PAIRS + 1)] * half[j % PAIRS * (PAIRS + 1)]);
        }
}

/* What twin rows have in common trains, as one row of twice the rate; what they have not never does. */
Test(predict, errors_of_a_kernel_hide_eigenvalues)
{
    double kernel[ROWS * ROWS], half[PAIRS * PAIRS], y[ROWS], a[ROWS], f[ROWS], mean[PAIRS], b[PAIRS], g[PAIRS];
    const double times[] = { 1, 1e3, 1e6 };
    tp_training flow = { .rate = 1 };
    fill_twice(kernel);
    fill(half, PAIRS);
    for (int i = 0; i < ROWS; i++)
        y[i] = sin(1 + 2.0 * i);
    for (int i = 0; i < PAIRS; i++)
        mean[i] = (y[i] + y[i + PAIRS]) / 2;
    tp_kernel_model *once = make(half, PAIRS, (tp_kernel_model_spec){ 0 });
    for (int w = 0; w < WAYS; w++)
        for (int ridge = 0; ridge < 2; ridge++) {
            ad_error error = { 0 };
            tp_kernel_model_spec spec = way(w, ridge ? 1e-6 : 0);
            spec.error = kernel_error;
            tp_kernel_model *m = tp_kernel_model_new(copy(kernel, ROWS * ROWS), ROWS, &spec, &error);
            if (!ridge && w == CHOLESKY) {
                cr_expect(!m &&
                              strstr(error.text, "row 6, counted from 0, is row 0 or a multiple of it, the first of 6"),
                          "%s", error.text);
                continue;
            }
            cr_assert(m, "%s", error.text);
            cr_expect_eq(isinf(m->condition), !ridge);
            for (size_t k = 0; k < 3 && w != CHOLESKY; k++) {
                coefficients(m, flow, y, 1, NULL, times[k], a);
                cr_assert(tp_fitted_values(m, a, 1, NULL, f, &error) == 0);
                coefficients(once, flow, mean, 1, NULL, times[k], b);
                outputs(once, b, 1, NULL, g);
                for (int i = 0; i < ROWS; i++)
                    cr_expect(fabs(f[i] - g[i % PAIRS]) < (ridge ? 1e-4 : 1e-5), "way %d, t = %g: %g for %g", w,
                              times[k], f[i], g[i % PAIRS]);
            }
            for (int long_time = 0; long_time < 2; long_time++) {
                double t = long_time ? 1e14 : INFINITY;
                ad_error why = { 0 };
                int status = w == CHOLESKY && long_time ? 0 : tp_check_time(m, &flow, 1, t, &why);
                cr_expect_eq(status, ridge ? 0 : -1, "way %d, t = %g", w, t);
                cr_expect(ridge || strstr(why.text, long_time ? "too long" : "is row 0"), "%s", why.text);
            }
            if (ridge) {
                coefficients(m, flow, y, 1, NULL, INFINITY, a);
                cr_assert(tp_fitted_values(m, a, 1, NULL, f, &error) == 0);
                for (int i = 0; i < ROWS; i++)
                    cr_expect(fabs(f[i] - mean[i % PAIRS]) < 1e-4, "way %d: %g for %g", w, f[i], mean[i % PAIRS]);
            }
            tp_kernel_model_free(m);
        }
    ad_error error = { 0 };
    tp_training entropy = { .rate = 1, .loss = NN_CROSS_ENTROPY };
    tp_kernel_model *m = make(kernel, ROWS, (tp_kernel_model_spec){ .error = kernel_error });
    cr_expect(tp_check_time(m, &entropy, 2, 10, &error) == 0 && tp_check_time(m, &entropy, 2, 1e14, &error) != 0);
    tp_kernel_model_free(m);
    tp_kernel_model_free(once);
}

/* Rows that are told: multiples of others, those of no kernel; and no others, however singular a kernel is. */
Test(predict, rows_that_repeat_are_named)
{
    static const double factors[3][4] = { { 1, 1, -2, 1 }, { 1, 0, 1, 1 }, { 1, 1, 1, 1 } };
    static const char *const told[3] = { "row 2, counted from 0, is row 0 or a multiple of it)",
                                         "row 1, counted from 0, is nothing)", "" };
    for (int k = 0; k < 3; k++) {
        double v[4][3] = { { 1, 0.3, 0 }, { 0.2, 1, 0.5 }, { 0 }, { -0.4, 0.1, 1 } }, kernel[16] = { 0 };
        ad_error error = { 0 };
        for (int j = 0; j < 3; j++)
            v[2][j] = k == 0 ? v[0][j] : cos(2.0 * j);
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 3; j++)
                kernel[i] += factors[k][i / 4] * v[i / 4][j] * factors[k][i % 4] * v[i % 4][j];
        tp_kernel_model_spec spec = { .cholesky = true, .error = 1e-14 };
        cr_expect(!tp_kernel_model_new(copy(kernel, 16), 4, &spec, &error) && strstr(error.text, told[k]), "%s",
                  error.text);
        cr_expect_eq(!strstr(error.text, "to it row"), k == 2, "%s", error.text);
    }
}

/* ---- refusals ---- */
static void refused(const double *kernel, size_t n, tp_kernel_model_spec spec, const char *told)
{
    ad_error error = { 0 };
    tp_kernel_model *m = tp_kernel_model_new(copy(kernel, n * n), n, &spec, &error);
    cr_expect(!m && strstr(error.text, told), "no \"%s\" in: %s", told, error.text);
    tp_kernel_model_free(m);
}

Test(predict, kernels_that_cannot_be_inverted_are_named)
{
    double ones[] = { 1, 1, 1, 1 }, indefinite[] = { 1, 2, 2, 1 }, nothing[] = { 0, 0, 0, 0 },
           bad[] = { 1, NAN, NAN, 1 };
    double close[] = { 1, 1 - 4e-16, 1 - 4e-16, 1 };
    tp_kernel_model_spec cholesky = { .cholesky = true };
    refused(indefinite, 2, (tp_kernel_model_spec){ 0 },
            "indefinite, condition number 3 (largest eigenvalue 3): nothing is "
            "inverted; --ridge 1e+01");
    refused(indefinite, 2, cholesky, "not positive definite, condition number");
    refused(ones, 2, cholesky, "--ridge 1e-13");
    refused(close, 2, cholesky, "condition number");
    refused(indefinite, 2, way(BAND, 0), "indefinite, condition number 3");
    refused(ones, 2, (tp_kernel_model_spec){ .cholesky = true, .band = true }, "not both");
    refused(nothing, 2, (tp_kernel_model_spec){ 0 }, "diagonal");
    refused(bad, 2, (tp_kernel_model_spec){ 0 }, "inputs 0 and 1");
    refused(ones, 2, (tp_kernel_model_spec){ .ridge = -1 }, "ridge -1");
    refused(ones, 2, (tp_kernel_model_spec){ .noise = -0.5 }, "noise -0.5 is not from 0 up");
    refused(ones, 0, (tp_kernel_model_spec){ 0 }, "a kernel of 0 inputs");
    refused(nothing, 2, (tp_kernel_model_spec){ .outputs = 3 }, "a kernel of 2 rows is not one of 3 outputs an input");
    ad_error missing = { 0 };
    cr_expect(!tp_kernel_model_new(NULL, 2, NULL, &missing) && strstr(missing.text, "the kernel is missing (NULL)"));
    tp_kernel_model_free(make(indefinite, 2, (tp_kernel_model_spec){ .ridge = 10 })); /* the ridges named do */
    tp_kernel_model_free(make(ones, 2, (tp_kernel_model_spec){ .ridge = 1e-13, .cholesky = true }));

    tp_kernel_model *m = make(ones, 2, (tp_kernel_model_spec){ 0 });
    ad_error error = { 0 };
    double y[] = { 1, 2 }, a[2], t = INFINITY;
    cr_expect(tp_coefficients(m, &(tp_training){ 0 }, y, 1, NULL, &t, 1, a, &error) == -1);
    cr_expect(strstr(error.text, "singular") && strstr(error.text, "condition number") && strstr(error.text, "--ridge"),
              "%s", error.text);
    tp_kernel_model_free(m);
}

Test(predict, trainings_without_an_answer_are_refused)
{
    static const struct {
        tp_training training;
        double times[2];
        int way;
        const char *told;
    } rows[] = {
        { { .rate = 1 }, { 1, INFINITY }, CHOLESKY, "t = inf alone" },
        { { .rate = 1 }, { 2, 1 }, EIGENVECTORS, "comes after" },
        { { .rate = 1 }, { -1, 1 }, EIGENVECTORS, "not from 0 up" },
        { { .rate = -1 }, { 0, 1 }, EIGENVECTORS, "not positive" },
        { { .rate = 1, .motion = TP_GRADIENT_DESCENT }, { 0.5, 1 }, EIGENVECTORS, "whole number" },
        { { .rate = 100, .motion = TP_GRADIENT_DESCENT }, { 1, INFINITY }, EIGENVECTORS, "largest stable" },
        { { .rate = 100, .motion = TP_GRADIENT_DESCENT }, { 1, 1e5 }, EIGENVECTORS, "diverges" },
        { { .rate = 1, .motion = TP_MOMENTUM, .momentum = 1 }, { 0, 1 }, EIGENVECTORS, "momentum 1" },
        { { .rate = 1, .loss = NN_CROSS_ENTROPY }, { 0, INFINITY }, EIGENVECTORS, "without end" },
        { { .rate = 1, .loss = NN_CROSS_ENTROPY }, { 0, 1 }, EIGENVECTORS, "probabilities" },
        { { .rate = 1, .loss = NN_CROSS_ENTROPY }, { 0, 1 }, BAND, "no band form" },
        { { .rate = 1, .motion = TP_GRADIENT_DESCENT }, { 0, 1 }, BAND, "gradient flow alone" },
    };
    setting s = read_setting();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tp_kernel_model *m = make(s.dd[1], N, way(rows[i].way, 0));
        ad_error error = { 0 };
        double a[2 * N * K];
        cr_expect(tp_coefficients(m, &rows[i].training, s.y, K, s.f, rows[i].times, 2, a, &error) == -1);
        cr_expect(strstr(error.text, rows[i].told), "no \"%s\" in: %s", rows[i].told, error.text);
        tp_kernel_model_free(m);
    }
    reference_free(s.ref);
}

Test(predict, covariances_without_an_answer_are_refused)
{
    static const struct {
        tp_training training;
        double time;
        const char *told;
    } rows[] = {
        { { .rate = 1, .loss = NN_CROSS_ENTROPY }, 1, "no Gaussian process" },
        { { .rate = 1 }, -1, "time -1 is not from 0 up" },
        { { .rate = -1 }, 1, "not positive" },
        { { .rate = 1000, .motion = TP_GRADIENT_DESCENT }, 1e4, "leaves the range of a double" },
        { { .rate = 1000, .motion = TP_GRADIENT_DESCENT }, INFINITY, "largest stable" },
    };
    setting s = read_setting();
    tp_kernel_model *m = make(s.dd[1], N, way(EIGENVECTORS, 0));
    tp_prior prior = { s.dd[0], s.td[0], s.tt[0], false };
    double covariance[M * M], a[2 * N * K], t = 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ad_error error = { 0 };
        cr_expect_eq(tp_covariance(m, &rows[i].training, K, rows[i].time, s.td[1], M, &prior, covariance, &error), -1);
        cr_expect(strstr(error.text, rows[i].told), "no \"%s\" in: %s", rows[i].told, error.text);
    }
    ad_error error = { 0 };
    cr_expect_eq(tp_coefficients(m, &(tp_training){ .rate = 1 }, s.y, 0, NULL, &t, 1, a, &error), -1);
    cr_expect(strstr(error.text, "0 columns of targets"), "%s", error.text);
    cr_expect(isnan(tp_maximum_stable_rate(m, &(tp_training){ .rate = -1 }, K)));
    /* the rate beside which the limit is refused is the one that is told */
    double most = tp_maximum_stable_rate(m, &(tp_training){ .rate = 1, .motion = TP_GRADIENT_DESCENT }, K);
    for (int beyond = 0; beyond < 2; beyond++) {
        tp_training descent = { .rate = most * (beyond ? 1.0001 : 0.9999), .motion = TP_GRADIENT_DESCENT };
        t = INFINITY;
        cr_expect_eq(tp_coefficients(m, &descent, s.y, K, s.f, &t, 1, a, &error), beyond ? -1 : 0);
    }
    tp_kernel_model_free(m);
    reference_free(s.ref);
}

Test(predict, memory_that_runs_out)
{
    setting s = read_setting();
    for (int c = 0; c < WAYS; c++)
        for (long k = 1, failed = 1; failed; k++) {
            ad_error error = { 0 };
            double a[N * K], t = c == CHOLESKY ? INFINITY : 2, cov[M * M], *kernel = copy(s.dd[1], N * N);
            tp_prior prior = { s.dd[0], s.td[0], s.tt[0], false };
            ad_hook_allocation(k);
            tp_kernel_model *m = tp_kernel_model_new(
                kernel, N, &(tp_kernel_model_spec){ .cholesky = c == CHOLESKY, .band = c == BAND }, &error);
            failed = !m || tp_coefficients(m, &(tp_training){ 0 }, s.y, K, s.f, &t, 1, a, &error) ||
                     (c == EIGENVECTORS && tp_coefficients(m, &(tp_training){ .loss = NN_CROSS_ENTROPY }, one_hot, K,
                                                           s.f, &t, 1, a, &error)) ||
                     tp_outputs(m, a, K, s.f, a, &error) ||
                     tp_covariance(m, &(tp_training){ 0 }, K, t, s.td[1], M, &prior, cov, &error);
            ad_hook_allocation(0);
            cr_expect(!failed || strstr(error.text, "memory"), "%s", error.text);
            tp_kernel_model_free(m);
        }
    reference_free(s.ref);
}

/* ---- scores ---- */
Test(predict, scores)
{
    double f[] = { 2, 1, 0, 3, 1, 1.5 }, y[] = { 1, 0, 1, 0, 0, 1 }, variance[] = { 1, 2, 0.5 };
    tp_score square = tp_score_of(NN_SQUARE, f, y, variance, 3, 2, 0);
    tp_score bare = tp_score_of(NN_SQUARE, f, y, NULL, 3, 2, 3),
             entropy = tp_score_of(NN_CROSS_ENTROPY, f, y, NULL, 3, 2, 0);
    double squares = 1 + 1 + 1 + 9 + 1 + 0.25, weighed = (1 + 1) / 1. + (1 + 9) / 2. + (1 + 0.25) / 0.5;
    cr_expect(fabs(square.loss - squares / 12) < 1e-14 && fabs(bare.loss - squares / 6) < 1e-14 && isnan(bare.nll));
    cr_expect(fabs(square.accuracy - 2. / 3) < 1e-14);
    cr_expect(fabs(square.nll - weighed / 12 - log(2 * acos(-1)) / 2) <
              1e-14); /* the logarithms of the variances cancel */
    double expected = (log1p(exp(-1)) + log1p(exp(3)) + log1p(exp(-0.5))) / 3;
    cr_expect(fabs(entropy.loss - expected) < 1e-14 && fabs(entropy.nll - expected) < 1e-14);
    double unknown[] = { NAN, 1, 0, 3, NAN, NAN }; /* what is no number is no class */
    tp_score none = tp_score_of(NN_SQUARE, unknown, y, NULL, 3, 2, 0);
    cr_expect(fabs(none.accuracy) < 1e-14 && isnan(none.loss));
}

/* Evenly spaced eigenvalues lie too close together for Lanczos' steps: what it has is a bound, and says so. */
Test(predict, ends_that_do_not_settle_are_bounds)
{
    enum { WIDE = 1500 };
    double *kernel = ad_alloc(WIDE * WIDE, sizeof *kernel, "a kernel", NULL);
    for (int turn = 0; turn < 2; turn++) { /* and with ends that stand apart */
        memset(kernel, 0, WIDE * WIDE * sizeof *kernel);
        for (size_t i = 0; i < WIDE; i++)
            kernel[i * WIDE + i] = 1 + (double)i / (WIDE - 1);
        if (turn) {
            kernel[0] = 0.25;
            kernel[WIDE * WIDE - 1] = 8;
        }
        tp_kernel_model *m = make(kernel, WIDE, (tp_kernel_model_spec){ .cholesky = true });
        const double low = turn ? 0.25 : 1, high = turn ? 8 : 2;
        cr_expect_eq(m->bounds, !turn);
        cr_expect(m->largest <= high * (1 + 1e-12) && m->smallest >= low * (1 - 1e-12));
        cr_expect(m->condition <= high / low * (1 + 1e-12));
        cr_expect(turn ? fabs(m->condition - 32) < 1e-8 : m->condition < 2 * (1 - 1e-9), "%.15g", m->condition);
        tp_kernel_model_free(m);
    }
    ad_free(kernel);
}
