/* Programs whose samples meet: translated, printed, and their limits: against exact values, the recursion written out
 * by hand, the executor and wide finite networks. */
#include "limn.h"
#include "tests/support/reference.h"
#include "tests/support/tower.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 10 };

static double worst_of(size_t count, const double *got, const double *expected)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs(got[i] - expected[i]));
        largest = fmax(largest, fabs(expected[i]));
    }
    return worst / largest;
}

/* ---- networks ---- */
/* z of u over the batch; gamma and beta where `affine` is their names' stem. way: how it is written. */
static ad_var normal(nn_net *net, ad_var u, const char *affine)
{
    double epsilon = nn_setting_real(net, "eps", 1e-5);
    long way = nn_setting_int(net, "way", 0, 0, 2);
    ad_graph *graph = nn_graph(net);
    ad_shape batch = ad_shape_of(nn_batch(net));
    ad_var mean = ad_mean(u, batch), centred = ad_sub(u, mean);
    ad_var variance = way == 1 ? ad_sub(ad_mean(ad_power(u, 2), batch), ad_square(mean))
                               : ad_mean(way == 2 ? ad_mul(centred, centred) : ad_square(centred), batch);
    ad_var sum = ad_add(variance, ad_constant(graph, epsilon, (ad_shape){ 0 }));
    ad_var z = way ? ad_div(centred, ad_sqrt(sum)) : ad_mul(centred, ad_rsqrt(sum));
    if (!affine)
        return z;
    const ad_shape *shape = ad_shape_get(u);
    ad_shape width = ad_shape_of(shape->axes[shape->rank - 1]);
    ad_var gamma =
        ad_param(graph, nn_name(net, "%s.weight", affine), width, (ad_init){ .multiplier = 1, .rate = 1, .mean = 1 });
    ad_var beta = ad_param(graph, nn_name(net, "%s.bias", affine), width, (ad_init){ .multiplier = 1, .rate = 1 });
    return ad_add(ad_mul(z, gamma), beta);
}

static bool affine_of(nn_net *net)
{
    return nn_setting_int(net, "affine", 0, 0, 1) == 1;
}

static ad_var plain(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    double sigma = nn_setting_real(net, "sigma_w", 1);
    const char *phi = nn_setting_text(net, "phi", "relu");
    bool affine = affine_of(net);
    for (long l = 1, depth = nn_setting_int(net, "depth", 1, 1, 9); l <= depth; l++) {
        ad_var u = nn_dense_with(net, nn_name(net, "dense%ld", l), x, n, .sigma_w = sigma);
        x = nn_activation(net, phi, normal(net, u, affine ? nn_name(net, "norm%ld", l) : NULL));
    }
    return nn_readout_with(net, "readout", x, .sigma_w = sigma);
}

/* Layers of one sample alone before and between, a rectangular width, biases, and a random readout bias. */
static ad_var mixed(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 1.5);
    ad_var h = nn_dense_with(net, "first", x, n, .bias = true, .sigma_b = 0.5);
    h = nn_dense_with(net, "second", ad_tanh(h), m, .sigma_w = 1.5, .bias = true, .sigma_b = 0.3);
    h = nn_dense(net, "third", ad_relu(normal(net, h, NULL)), n);
    return nn_readout_with(net, "readout", ad_erf(h), .bias = true, .sigma_b = 0.2);
}

/* Two normalisations in a residual block, before the activations, and one beside it. */
static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int k = 0; k < 2; k++) {
        ad_var inner = nn_dense(net, nn_name(net, "in%d", k), ad_relu(normal(net, h, NULL)), n);
        h = ad_add(h, nn_dense(net, nn_name(net, "out%d", k), ad_relu(normal(net, inner, NULL)), n));
    }
    return nn_readout(net, "readout",
                      ad_add(ad_relu(normal(net, h, NULL)), nn_activation(net, "abs", normal(net, h, NULL))));
}

/* h_t = phi(normal(W h_{t-1} + U x_t)), normalised at every step; x is cut into time steps of two features. */
static ad_var recurrent(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), part = ad_fixed(nn_graph(net), "part", 5);
    nn_weight u = nn_make_weight(net, "u", part, n, 1), w = nn_make_weight(net, "w", n, n, 1);
    const ad_shape *shape = ad_shape_get(x);
    ad_axis features = shape->axes[shape->rank - 1];
    ad_var h = { 0 };
    for (size_t t = 0; t < 2; t++) {
        ad_var in = nn_apply(u, ad_slice(x, features, 5 * t, 5, part));
        h = ad_relu(normal(net, t ? ad_add(in, nn_apply(w, h)) : in, NULL));
    }
    return nn_readout(net, "readout", h);
}

/* Normalised after the activation: no exact rule. */
static ad_var after(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    return nn_readout(net, "readout", normal(net, ad_relu(nn_dense(net, "first", x, n)), NULL));
}

typedef struct {
    nn_net *net;
    tp_program *program;
} traced;

static traced trace(nn_function function, const char *const *settings, nn_sigma_in sigma_in)
{
    ad_error error = { 0 };
    traced t = { .net =
                     nn_trace(function, &(nn_spec){ .features = FEATURES, .sigma_in = sigma_in, .settings = settings },
                              &error) };
    cr_assert(t.net, "%s", error.text);
    t.program = tp_translate(t.net, &error);
    cr_assert(t.program, "%s", error.text);
    return t;
}

static void release(traced t)
{
    tp_program_free(t.program);
    nn_net_free(t.net);
}

static tp_kernel limit_of(const traced *t, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                          size_t rows2, const tp_limit_spec *spec)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    cr_assert_eq(tp_limit(t->program, which, x, rows, x2, rows2, spec, &kernel, &error), 0, "%s", error.text);
    cr_assert(kernel.n_terms == 1 && fabs(kernel.terms[0].power) < 1e-9);
    return kernel;
}

/* ---- exact values ---- */
Test(coupled, reference)
{
    static const struct {
        const char *nngp, *ntk;
        int first, second; /* rows of the inputs; -1: against itself */
    } blocks[] = { { "limit.gp1", "limit.ntk1", 0, -1 },
                   { "limit.gp2", "limit.ntk2", 6, -1 },
                   { "limit.gpx", "limit.ntkx", 0, 6 } };
    reference *ref = reference_read("bn_relu_b6_b6_depth1");
    double *x = reference_inputs(12, FEATURES);
    traced t = trace(plain, (const char *[]){ "eps=0", NULL }, NN_SIGMA_MULTIPLIER);
    for (size_t b = 0; b < 3; b++)
        for (int which = 0; which < 2; which++) {
            const double *second = blocks[b].second < 0 ? NULL : x + FEATURES * blocks[b].second;
            const char *name = which ? blocks[b].ntk : blocks[b].nngp;
            tp_kernel k = limit_of(&t, which ? TP_NTK : TP_NNGP, x + FEATURES * blocks[b].first, 6, second, 6, NULL);
            cr_expect_lt(worst_of(36, k.terms[0].values, reference_array(ref, name, 36)), 1e-9, "%s", name);
            cr_expect_lt(k.error, 1e-9);
            tp_kernel_free(&k);
        }
    release(t);
    free(x);
    reference_free(ref);
}

/* Every homogeneous function, depth, epsilon and number of batches, however the normalisation is written. */
Test(coupled, the_recursion_by_hand)
{
    static const struct {
        const char *name;
        tp_slopes phi;
    } functions[] = { { "phi=relu", { 1, 0, 0 } },
                      { "phi=leaky", { 1, 0.01, 0.01 } },
                      { "phi=abs", { 1, -1, 0 } },
                      { "phi=identity", { 1, 1, 1 } } };
    static const char *const depths[] = { "depth=1", "depth=2", "depth=3" },
                             *const ways[] = { "way=0", "way=1", "way=2" },
                             *const epsilons[] = { "eps=0", "eps=1e-5", "eps=0.1" };
    static const double values[] = { 0, 1e-5, 0.1 };
    double *x = reference_inputs(11, FEATURES), expected[2][36];
    for (int c = 0; c < 12; c++) {
        int f = c % 4, e = c % 3, depth = c / 4, rows2 = c % 2 ? 5 : 0;
        const char *settings[] = {
            functions[f].name, depths[depth], epsilons[e], ways[c / 2 % 3], "sigma_w=1.2", NULL
        };
        nn_sigma_in sigma_in = c % 3 ? NN_SIGMA_INIT : NN_SIGMA_MULTIPLIER;
        tower_net net = { (size_t)depth + 1, 1.2, values[e], sigma_in, functions[f].phi };
        ad_error error = { 0 };
        size_t count = 6 * (size_t)(rows2 ? rows2 : 6);
        cr_assert_eq(tower_kernels(&net, x, 6, rows2 ? x + 60 : NULL, (size_t)rows2, FEATURES, expected[0], expected[1],
                                   NULL, &error),
                     0, "%s", error.text);
        traced t = trace(plain, settings, sigma_in);
        for (int which = 0; which < 2; which++) {
            tp_kernel k = limit_of(&t, which ? TP_NTK : TP_NNGP, x, 6, rows2 ? x + 60 : NULL, (size_t)rows2, NULL);
            cr_expect_lt(worst_of(count, k.terms[0].values, expected[which]), 1e-10, "%s, %s, %s: %g",
                         functions[f].name, depths[depth], epsilons[e],
                         worst_of(count, k.terms[0].values, expected[which]));
            cr_expect(strstr(k.method, "Laplace"), "%s", k.method);
            tp_kernel_free(&k);
        }
        release(t);
    }
    free(x);
}

/* Samples that are equal have equal kernels; a batch beside itself is the batch; inputs far from the origin lose
 * nothing that the normalisation does not see. */
Test(coupled, equal_samples_and_batches)
{
    double *x = reference_inputs(7, FEATURES), far[60];
    memcpy(x + 6 * FEATURES, x + 2 * FEATURES, FEATURES * sizeof *x);
    traced t = trace(plain, (const char *[]){ "depth=2", "eps=1e-3", NULL }, NN_SIGMA_INIT);
    tp_kernel one = limit_of(&t, TP_NTK, x, 7, NULL, 0, NULL), two = limit_of(&t, TP_NTK, x, 7, x, 7, NULL);
    cr_expect_lt(worst_of(49, two.terms[0].values, one.terms[0].values), 1e-9);
    for (int i = 0; i < 7; i++)
        cr_expect_float_eq(one.terms[0].values[7 * i + 2], one.terms[0].values[7 * i + 6], 1e-9);
    for (int i = 0; i < 60; i++)
        far[i] = x[i] + 4096;
    tp_kernel near = limit_of(&t, TP_NNGP, x, 6, NULL, 0, NULL), shifted = limit_of(&t, TP_NNGP, far, 6, NULL, 0, NULL);
    cr_expect_lt(worst_of(36, shifted.terms[0].values, near.terms[0].values), 1e-10);
    tp_kernel_free(&one);
    tp_kernel_free(&two);
    tp_kernel_free(&near);
    tp_kernel_free(&shifted);
    release(t);
    free(x);
}

/* ---- what has no limit ---- */
static void expect_refused(nn_function function, const char *settings, const double *x, size_t rows, const char *says)
{
    traced t = trace(function, (const char *[]){ settings, NULL }, NN_SIGMA_INIT);
    tp_kernel kernel;
    ad_error error = { 0 };
    cr_expect_eq(tp_limit(t.program, TP_NTK, x, rows, NULL, 0, NULL, &kernel, &error), -1, "%s", says);
    cr_expect(strstr(error.text, says), "%s, not %s", error.text, says);
    release(t);
}

Test(coupled, degenerate_batches)
{
    double *x = reference_inputs(6, FEATURES), equal[30];
    for (int i = 0; i < 30; i++)
        equal[i] = x[i % 10];
    expect_refused(plain, "eps=0", x, 1, "variance 0");
    expect_refused(plain, "eps=0", equal, 3, "variance 0");
    expect_refused(plain, "eps=0", x, 3, "tangent kernel is infinite");
    expect_refused(plain, "eps=0", x, 3, "needs rank 3 (or 1, through which nothing goes back), and has 2 (3 samples)");
    expect_refused(plain, "eps=-1e-5", x, 6, "epsilon");
    traced exact = trace(plain, (const char *[]){ "eps=0", NULL }, NN_SIGMA_INIT);
    tp_kernel five = limit_of(&exact, TP_NTK, x, 5, NULL, 0, NULL), six = limit_of(&exact, TP_NTK, x, 6, NULL, 0, NULL);
    tp_kernel nngp = limit_of(&exact, TP_NNGP, x, 3, NULL, 0, NULL);
    cr_expect(strstr(five.method, "infinite variance") && strstr(five.method, "rank 4"), "%s", five.method);
    cr_expect(!strstr(six.method, "infinite variance"), "%s", six.method);
    cr_expect(!strstr(nngp.method, "infinite variance"), "%s", nngp.method);
    tp_kernel_free(&five);
    tp_kernel_free(&six);
    tp_kernel_free(&nngp);
    release(exact);
    /* with an epsilon all of these are defined: a batch of equal samples is normalised to 0 */
    traced t = trace(plain, (const char *[]){ "eps=1e-3", "phi=erf", NULL }, NN_SIGMA_INIT);
    tp_kernel one = limit_of(&t, TP_NNGP, x, 1, NULL, 0, NULL), same = limit_of(&t, TP_NTK, equal, 3, NULL, 0, NULL);
    cr_expect_float_eq(one.terms[0].values[0], 0, 1e-15);
    for (int i = 0; i < 9; i++)
        cr_expect_float_eq(same.terms[0].values[i], 0, 1e-12);
    tp_kernel_free(&one);
    tp_kernel_free(&same);
    release(t);
    free(x);
}

/* ---- the program ---- */
Test(coupled, prints_where_samples_meet)
{
    traced t = trace(plain, (const char *[]){ "depth=2", "affine=1", NULL }, NN_SIGMA_INIT);
    static const char *const wanted[] = { "mean[batch]", "\\operatorname{mean}", "mean[batch]" };
    for (int style = 0; style < 3; style++) {
        char *text = NULL;
        size_t size;
        ad_error error = { 0 };
        FILE *stream = open_memstream(&text, &size);
        cr_assert_eq(tp_print(t.program, stream, (tp_style)style, &error), 0, "%s", error.text);
        fclose(stream);
        cr_expect(strstr(text, wanted[style]), "%s", text);
        cr_expect(!strstr(text, "inf") && !strstr(text, "nan"), "%s", text);
        free(text);
    }
    tp_checks checks;
    ad_error error = { 0 };
    cr_expect_eq(tp_check(t.program, &checks, &error), 0, "%s%s", error.text, checks.text[0]);
    release(t);
}

/* ---- the executor ---- */
/* Both engines give errors; four of the executor's, over 2 (36 + 30) entries that are far from independent. */
Test(coupled, executor_agrees_with_the_exact_engine)
{
    double *x = reference_inputs(11, FEATURES);
    static const char *const settings[] = { "eps=0.1", "affine=1", NULL };
    traced t = trace(plain, settings, NN_SIGMA_INIT);
    for (int b = 0; b < 2; b++)
        for (int which = 0; which < 2; which++) {
            size_t count = b ? 30 : 36;
            const double *x2 = b ? x + 60 : NULL;
            tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = 2048, .runs = 8, .seed = 3 };
            tp_kernel exact = limit_of(&t, which ? TP_NTK : TP_NNGP, x, 6, x2, 5, NULL);
            tp_kernel sampled = limit_of(&t, which ? TP_NTK : TP_NNGP, x, 6, x2, 5, &spec);
            double off = 0, size = 0;
            for (size_t i = 0; i < count; i++) {
                off += pow(exact.terms[0].values[i] - sampled.terms[0].values[i], 2);
                size += pow(exact.terms[0].values[i], 2);
            }
            cr_expect_lt(sqrt(off / size), 4 * sampled.error, "%g, error %g", sqrt(off / size), sampled.error);
            cr_expect_lt(sampled.error, 0.03);
            tp_kernel_free(&exact);
            tp_kernel_free(&sampled);
        }
    release(t);
    free(x);
}

/* ---- large batches ----
 * z_b^2 over a batch sum to B, less B epsilon over its variance: E (sum z_b^2)^2 = B^2 is the sum of all entries of the
 * kernel of squares, at any rank. Its standard error is at most that of the kernel in the norm times B. Eight of them
 * are exceeded once in 11,000 times at the 7 degrees of freedom of 8 runs, for each of five batches. */
Test(coupled, spheres_of_any_rank)
{
    static const size_t batches[] = { 4, 8, 16, 32, 64 };
    enum { WIDE = 80 };
    double *x = reference_inputs(64, WIDE);
    const char *settings[] = { "phi=square", "sigma_w=1", "depth=1", NULL };
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        size_t rows = batches[i];
        ad_error error = { 0 };
        tp_kernel kernel = { 0 };
        nn_net *net = nn_trace(nn_builtin("batchnorm"), &(nn_spec){ .features = WIDE, .settings = settings }, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        tp_limit_spec spec = { .runs = 8 };
        cr_assert(program && tp_limit(program, TP_NNGP, x, rows, NULL, 0, &spec, &kernel, &error) == 0, "%s",
                  error.text);
        double sum = 0, size = 0, truth = (double)(rows * rows);
        for (size_t k = 0; k < rows * rows; k++) {
            sum += kernel.terms[0].values[k];
            size += pow(kernel.terms[0].values[k], 2);
        }
        double most = 8 * kernel.error * sqrt(size) * (double)rows;
        cr_log_info("%zu rows: %g of %g, allowed %g", rows, sum - truth, truth, most);
        cr_expect(strstr(kernel.method, "sphere"), "%s", kernel.method);
        cr_expect_float_eq(sum, truth, most, "%zu rows: %g against %g", rows, sum, truth);
        cr_expect_lt(most, 0.05 * truth, "%g",
                     most); /* steps of 0.45 at every rank err by 0.06 and more from 16 rows on */
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
    free(x);
}

/* ---- wide finite networks ----
 * The NTK of two batches of 6 (rank 5) against each other. The mean of SEEDS networks is within limit_t standard errors
 * of the limit in each of 36 entries: Student's t with SEEDS - 1 degrees of freedom is beyond it with probability
 * 2.7e-3 / 36 (three sigma, for the largest of all). And in the norm it is within 5 standard errors: at most 4e-4, if
 * all entries are the same number. The errors of a sampled limit are added. */
enum { ROWS = 6, SEEDS = 12 };
static const double limit_t = 6.12, limit_norm = 5;

static void compare(nn_function function, const char *const *settings, size_t width, double most_error,
                    const char *method)
{
    double *x = reference_inputs(2 * ROWS, FEATURES), *x2 = x + ROWS * FEATURES, k[ROWS * ROWS];
    double sum[ROWS * ROWS] = { 0 }, squares[ROWS * ROWS] = { 0 }, off = 0, expected = 0;
    traced t = trace(function, settings, NN_SIGMA_INIT);
    ad_error error = { 0 };
    for (int seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_model_new(t.net, width, (uint64_t)seed, AD_FLOAT, 1, &error);
        cr_assert(model, "%s", error.text);
        cr_assert_eq(nn_ntk(model, x, ROWS, x2, ROWS, NN_MEAN, k, &error), 0, "%s", error.text);
        for (int i = 0; i < ROWS * ROWS; i++) {
            sum[i] += k[i];
            squares[i] += k[i] * k[i];
        }
        nn_model_free(model);
    }
    tp_kernel limit = limit_of(&t, TP_NTK, x, ROWS, x2, ROWS, NULL);
    cr_expect(strstr(limit.method, method), "%s", limit.method);
    cr_expect_lt(limit.error, most_error, "%g: %s", limit.error, limit.method);
    for (int i = 0; i < ROWS * ROWS; i++) {
        double mean = sum[i] / SEEDS, value = limit.terms[0].values[i];
        double stated = limit.deviations ? limit.deviations[i] : 0;
        double variance = (squares[i] / SEEDS - mean * mean) / (SEEDS - 1) + stated * stated;
        cr_expect_lt(fabs(mean - value), limit_t * sqrt(variance), "entry %d: %g +- %g against %g", i, mean,
                     sqrt(variance), value);
        off += pow(mean - value, 2);
        expected += variance;
    }
    cr_expect_lt(sqrt(off), limit_norm * sqrt(expected), "off by %g standard errors", sqrt(off / expected));
    tp_kernel_free(&limit);
    release(t);
    free(x);
}

Test(coupled, wide_networks_of_depth_2)
{
    compare(plain, (const char *[]){ "depth=2", NULL }, 4096, 1e-9, "Laplace");
}
Test(coupled, wide_networks_of_depth_3)
{
    compare(plain, (const char *[]){ "depth=3", NULL }, 4096, 1e-9, "Laplace");
}
Test(coupled, wide_networks_with_tanh)
{
    compare(plain, (const char *[]){ "depth=2", "phi=tanh", NULL }, 1024, 1e-3, "sphere");
}
Test(coupled, wide_networks_with_erf)
{
    compare(plain, (const char *[]){ "phi=erf", "eps=0.1", NULL }, 1024, 1e-3, "sphere");
}
Test(coupled, wide_networks_with_gamma_and_beta)
{
    compare(plain, (const char *[]){ "depth=2", "affine=1", NULL }, 1024, 1e-9, "Laplace");
}
Test(coupled, wide_networks_with_gamma_and_beta_and_tanh)
{
    compare(plain, (const char *[]){ "affine=1", "phi=tanh", NULL }, 1024, 1e-3, "sphere");
}
Test(coupled, wide_networks_with_other_layers)
{
    compare(mixed, (const char *[]){ NULL }, 1024, 1e-9, "Laplace");
}
Test(coupled, wide_residual_networks)
{
    compare(residual, (const char *[]){ NULL }, 1024, 1e-9, "Laplace");
}
Test(coupled, wide_recurrent_networks)
{
    compare(recurrent, (const char *[]){ NULL }, 1024, 1e-9, "Laplace");
}
Test(coupled, wide_networks_normalised_after_the_activation)
{
    compare(after, (const char *[]){ "eps=0.1", NULL }, 1024, 0.03, "sampled at n = infinity");
}

/* ---- memory ---- */
Test(coupled, survives_every_failed_allocation)
{
    static const char *const cases[][4] = { { "depth=2", "affine=1", NULL }, { "phi=tanh", NULL } };
    double *x = reference_inputs(7, FEATURES);
    for (size_t i = 0; i < 2; i++) {
        traced t = trace(plain, cases[i], NN_SIGMA_INIT);
        long count = LONG_MAX, before = ad_allocations();
        /* k = 0: none fails, and all are counted; some that fail are done without */
        for (long k = 0; k < count; k += 1 + k / 50) {
            tp_kernel kernel;
            ad_error error = { 0 };
            int status;
            ad_hook_allocation(k);
            status = tp_limit(t.program, TP_NTK, x, 4, x + 4 * FEATURES, 3,
                              &(tp_limit_spec){ .engine = TP_ENGINE_EXACT, .samples = 64, .runs = 2 }, &kernel, &error);
            ad_hook_allocation(0);
            cr_assert(status == 0 || strstr(error.text, "memory"), "allocation %ld: %s", k, error.text);
            count = k ? count : ad_allocations() - before + 1;
            if (status == 0)
                tp_kernel_free(&kernel);
        }
        release(t);
    }
    free(x);
}
