/* Kernels with the masks of dropout: limits against a recursion that is written plainly here, against the executor and
 * against wide networks; kernels of a width against differences of outputs under the same masks; what is refused. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 4, FEATURES = 6 };
static const double pi = 3.14159265358979323846;

/* Rows of different sizes; the last repeats the second, under masks of its own. */
static void make_inputs(double *x)
{
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(0.4 + 1.7 * i + 0.02 * i * i) * (1 + 0.3 * (i / FEATURES));
    memcpy(x + (ROWS - 1) * FEATURES, x + FEATURES, FEATURES * sizeof *x);
}

/* ---- the recursion ---- */
static void relu_moments(double aa, double bb, double ab, double *value, double *slope)
{
    double d = sqrt(aa * bb), c = fmax(-1, fmin(1, ab / d)), s = sqrt((1 - c) * (1 + c)), theta = atan2(s, c);
    *value = d * (s + (pi - theta) * c) / (2 * pi);
    *slope = (pi - theta) / (2 * pi);
}

static void erf_moments(double aa, double bb, double ab, double *value, double *slope)
{
    *value = 2 / pi * asin(2 * ab / sqrt((1 + 2 * aa) * (1 + 2 * bb)));
    *slope = 4 / pi / sqrt((1 + 2 * aa) * (1 + 2 * bb) - 4 * ab * ab);
}

/* depth dense layers, each with a function and a mask; sigma_w^2 = 2. Of one sample with itself E m m' is 1 / keep. */
static void plain_mlp(const double *x, int depth, bool erf, double keep, double *nngp, double *ntk)
{
    double k[ROWS * ROWS], t[ROWS * ROWS] = { 0 };
    for (int i = 0; i < ROWS * ROWS; i++) {
        k[i] = 0;
        for (int f = 0; f < FEATURES; f++)
            k[i] += x[i / ROWS * FEATURES + f] * x[i % ROWS * FEATURES + f] / FEATURES;
        t[i] = k[i];
        k[i] *= 2;
    }
    for (int layer = 0; layer < depth; layer++) {
        double next[ROWS * ROWS];
        for (int i = 0; i < ROWS * ROWS; i++) {
            double value, slope, masks = i / ROWS == i % ROWS ? 1 / keep : 1;
            (erf ? erf_moments : relu_moments)(k[i / ROWS * (ROWS + 1)], k[i % ROWS * (ROWS + 1)], k[i], &value,
                                               &slope);
            next[i] = 2 * masks * value;
            t[i] = masks * value + 2 * masks * slope * t[i];
        }
        memcpy(k, next, sizeof k);
    }
    memcpy(nngp, k, sizeof k);
    memcpy(ntk, t, sizeof t);
}

static nn_net *trace(nn_function function, const nn_spec *spec)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static void limit_of(nn_net *net, tp_kernel_kind which, const double *x, size_t rows, const double *x2, size_t rows2,
                     const tp_limit_spec *spec, tp_kernel *kernel)
{
    ad_error error = { 0 };
    tp_program *program = tp_translate_training(net, &error);
    cr_assert(program, "%s", error.text);
    cr_assert_eq(tp_limit(program, which, x, rows, x2, rows2, spec, kernel, &error), 0, "%s", error.text);
    cr_assert_eq(kernel->n_terms, 1);
    tp_program_free(program);
}

Test(masks, limits_are_those_of_the_recursion)
{
    double x[ROWS * FEATURES], truth[2][ROWS * ROWS];
    make_inputs(x);
    for (int erf = 0; erf < 2; erf++)
        for (int depth = 1; depth <= 3; depth++) {
            char text[2][32];
            snprintf(text[0], sizeof text[0], "depth=%d", depth);
            snprintf(text[1], sizeof text[1], "phi=%s", erf ? "erf" : "relu");
            const char *const settings[] = { text[0], text[1], "dropout=0.7", NULL };
            nn_net *net = trace(nn_builtin("mlp"), &(nn_spec){ .features = FEATURES, .settings = settings });
            plain_mlp(x, depth, erf, 0.7, truth[TP_NNGP], truth[TP_NTK]);
            for (tp_kernel_kind which = TP_NTK; which <= TP_NNGP; which++) {
                tp_kernel found, apart;
                limit_of(net, which, x, ROWS, NULL, 0, NULL, &found);
                /* between two sets no two rows are the same sample */
                limit_of(net, which, x, ROWS, x, ROWS, NULL, &apart);
                for (int i = 0; i < ROWS * ROWS; i++) {
                    double is = found.terms[0].values[i], of = truth[which][i], two = apart.terms[0].values[i];
                    cr_expect(fabs(is - of) <= 1e-13 * fabs(of), "%d %d: %.16g, not %.16g", depth, i, is, of);
                    if (i / ROWS != i % ROWS)
                        cr_expect(fabs(two - of) <= 1e-13 * fabs(of), "%d %d: %.16g, not %.16g", depth, i, two, of);
                }
                cr_expect(fabs(apart.terms[0].values[0] - truth[which][0]) > 0.1 * truth[which][0]);
                cr_expect(fabs(apart.terms[0].values[ROWS + ROWS - 1] - truth[which][ROWS + ROWS - 1]) <= 1e-12);
                tp_kernel_free(&found);
                tp_kernel_free(&apart);
            }
            nn_net_free(net);
        }
}

/* ---- networks of many kinds ---- */
/* A cell that drops out what it hands on, each step by masks of its own. */
static ad_var recurrent(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], features = ad_shape_get(x)->axes[2];
    nn_weight w = nn_make_weight(net, "W", n, n, 1), u = nn_make_weight(net, "U", features, n, 1.2);
    ad_var h = { 0 };
    for (int t = 0; t < 3; t++) {
        ad_var a = nn_apply(u, ad_take(x, time, (size_t)t));
        h = ad_tanh(t ? ad_add(a, nn_apply(w, nn_dropout(net, nn_name(net, "drop%d", t), h, 0.6))) : a);
    }
    return nn_readout(net, "readout", nn_dropout(net, "last", h, 0.8));
}

static ad_var pictures(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_conv_with(net, "a", x, n, .sigma_w = 1.4);
    h = ad_add(h, nn_conv(net, "b", nn_dropout(net, "one", ad_relu(h), 0.7), n));
    return nn_readout(net, "readout", nn_global_pool(net, nn_dropout(net, "two", ad_erf(h), 0.5)));
}

/* A function of what is dropped out: the executor's. */
static ad_var before_function(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_dropout(net, "drop", nn_dense(net, "a", x, n), 0.5);
    return nn_readout(net, "readout", ad_tanh(ad_add(u, nn_dense(net, "b", ad_tanh(u), n))));
}

static const struct {
    const char *name;
    nn_function function;
    size_t shape[4];
    bool sampled;
} kinds[] = { { "recurrent", recurrent, { 3, 2 }, false },
              { "pictures", pictures, { 3, 2, 1 }, false },
              { "before a function", before_function, { 0 }, true } };

static nn_net *trace_kind(int k)
{
    nn_spec spec = { .features = FEATURES, .name = kinds[k].name };
    memcpy(spec.shape, kinds[k].shape, sizeof spec.shape);
    return trace(kinds[k].function, &spec);
}

/* The executor has masks drawn; the exact rules have their moments. 6 deviations of 7 degrees of freedom: once in 1,800
 * entries. */
Test(masks, samples_agree_with_exact_rules)
{
    double x[ROWS * FEATURES];
    make_inputs(x);
    for (int k = 0; k < 2; k++) {
        nn_net *net = trace_kind(k);
        for (tp_kernel_kind which = TP_NTK; which <= TP_NNGP; which++) {
            tp_kernel exact, sampled;
            limit_of(net, which, x, ROWS, NULL, 0, NULL, &exact);
            cr_expect(!exact.deviations, "%s", kinds[k].name);
            limit_of(net, which, x, ROWS, NULL, 0,
                     &(tp_limit_spec){ .engine = TP_ENGINE_SAMPLE, .samples = 2048, .runs = 8, .seed = 3 }, &sampled);
            for (int i = 0; i < ROWS * ROWS; i++)
                cr_expect(fabs(exact.terms[0].values[i] - sampled.terms[0].values[i]) <= 6 * sampled.deviations[i],
                          "%s %d: %g, by samples %g +- %g", kinds[k].name, i, exact.terms[0].values[i],
                          sampled.terms[0].values[i], sampled.deviations[i]);
            tp_kernel_free(&exact);
            tp_kernel_free(&sampled);
        }
        nn_net_free(net);
    }
}

/* Means of 48 draws of weights and masks lie within 5 standard errors, and what a mean is off by at a width, O(1/n):
 * once in 30,000 entries they would not. A draw's distance falls as n^(-1/2). */
Test(masks, wide_networks_come_to_the_limit, .timeout = 120)
{
    enum { SEEDS = 48 };
    static const size_t widths[] = { 32, 256 };
    double x[ROWS * FEATURES];
    make_inputs(x);
    for (int k = 0; k < (int)(sizeof kinds / sizeof *kinds); k++) {
        nn_net *net = trace_kind(k);
        tp_kernel limit;
        double distance[2] = { 0 };
        limit_of(net, TP_NTK, x, ROWS, NULL, 0,
                 &(tp_limit_spec){ .samples = kinds[k].sampled ? 8192 : 0, .runs = kinds[k].sampled ? 16 : 0 }, &limit);
        cr_expect_eq(limit.deviations != NULL, kinds[k].sampled, "%s", kinds[k].name);
        for (int w = 0; w < 2; w++) {
            double mean[ROWS * ROWS] = { 0 }, squares[ROWS * ROWS] = { 0 }, one[ROWS * ROWS];
            for (int seed = 1; seed <= SEEDS; seed++) {
                ad_error error = { 0 };
                nn_model *model = nn_model_new(net, widths[w], (uint64_t)seed, AD_DOUBLE, 1, &error);
                cr_assert(model, "%s", error.text);
                nn_set_dropout(model, true);
                cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, one, &error) == 0, "%s", error.text);
                for (int i = 0; i < ROWS * ROWS; i++) {
                    double step = one[i] - mean[i];
                    mean[i] += step / seed;
                    squares[i] += step * (one[i] - mean[i]);
                    distance[w] += pow(one[i] - limit.terms[0].values[i], 2);
                }
                nn_model_free(model);
            }
            for (int i = 0; i < ROWS * ROWS; i++) {
                double is = limit.terms[0].values[i], error = sqrt(squares[i] / (SEEDS - 1.0) / SEEDS);
                double own = limit.deviations ? limit.deviations[i] : 0;
                cr_expect(fabs(mean[i] - is) <=
                              5 * sqrt(error * error + own * own) + 4.0 / (double)widths[w] * fabs(is),
                          "%s at %zu, %d: %g +- %g, not %g", kinds[k].name, widths[w], i, mean[i], error, is);
            }
        }
        double slope = log(distance[1] / distance[0]) / 2 / log((double)widths[1] / (double)widths[0]);
        cr_expect(slope < -0.38 && slope > -0.62, "%s: %g", kinds[k].name, slope);
        tp_kernel_free(&limit);
        nn_net_free(net);
    }
}

/* ---- at a width ---- */
enum { WIDTH = 5, PARAMS = FEATURES * WIDTH + WIDTH * WIDTH + WIDTH };

/* tanh, a mask, a residual branch that is dropped out, a readout; masks by the counter, of a set's rows. */
static double plain_output(const double *w, const double *x, const double *u, const double *v)
{
    double h[WIDTH], f = 0;
    for (int a = 0; a < WIDTH; a++) {
        double sum = 0;
        for (int b = 0; b < FEATURES; b++)
            sum += x[b] * w[b * WIDTH + a] / sqrt(FEATURES);
        h[a] = tanh(sum);
    }
    for (int a = 0; a < WIDTH; a++) {
        double sum = 0;
        for (int b = 0; b < WIDTH; b++)
            sum += (u[b] < 0.6 ? h[b] / 0.6 : 0) * w[FEATURES * WIDTH + b * WIDTH + a] / sqrt(WIDTH);
        f += (h[a] + (v[a] < 0.8 ? tanh(sum) / 0.8 : 0)) * w[FEATURES * WIDTH + WIDTH * WIDTH + a] / sqrt(WIDTH);
    }
    return f;
}

static ad_var small(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "one", x, n));
    ad_var branch = ad_tanh(nn_dense(net, "two", nn_dropout(net, "below", h, 0.6), n));
    return nn_readout(net, "readout", ad_add(h, nn_dropout(net, "above", branch, 0.8)));
}

static void plain_gradients(double *w, const double *x, const char *set, double *gradients)
{
    const double step = 1e-5;
    double u[ROWS * WIDTH], v[ROWS * WIDTH];
    ad_uniform(9, ad_stream("below") ^ ad_stream(set), 0, ROWS * WIDTH, u);
    ad_uniform(9, ad_stream("above") ^ ad_stream(set), 0, ROWS * WIDTH, v);
    for (int i = 0; i < ROWS; i++)
        for (int p = 0; p < PARAMS; p++) {
            double start = w[p], side[2];
            for (int k = 0; k < 2; k++) {
                w[p] = start + (k ? step : -step);
                side[k] = plain_output(w, x + i * FEATURES, u + i * WIDTH, v + i * WIDTH);
            }
            w[p] = start;
            gradients[i * PARAMS + p] = (side[1] - side[0]) / (2 * step);
        }
}

Test(masks, kernels_are_products_of_differences)
{
    static const char *const sets[] = { "the first inputs' masks", "the second inputs' masks" };
    double x[ROWS * FEATURES], w[PARAMS], g[2][ROWS * PARAMS], one[ROWS * ROWS], two[ROWS * ROWS], nngp[ROWS * ROWS];
    ad_error error = { 0 };
    make_inputs(x);
    nn_net *net = trace(small, &(nn_spec){ .features = FEATURES });
    nn_model *model = nn_model_new(net, WIDTH, 9, AD_DOUBLE, 1, &error);
    memcpy(w, nn_param_values(model, 0, NULL), sizeof w);
    for (int set = 0; set < 2; set++)
        plain_gradients(w, x, sets[set], g[set]);
    nn_set_dropout(model, true);
    cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, one, &error) == 0, "%s", error.text);
    cr_assert(nn_ntk(model, x, ROWS, x, ROWS, NN_MEAN, two, &error) == 0, "%s", error.text);
    cr_assert(nn_nngp(model, x, ROWS, NULL, 0, NN_MEAN, nngp, &error) == 0, "%s", error.text);
    for (int i = 0; i < ROWS * ROWS; i++) {
        double same = 0, apart = 0, readout = 0;
        for (int p = 0; p < PARAMS; p++) {
            double a = g[0][i / ROWS * PARAMS + p];
            same += a * g[0][i % ROWS * PARAMS + p];
            apart += a * g[1][i % ROWS * PARAMS + p];
            readout += p >= PARAMS - WIDTH ? a * g[0][i % ROWS * PARAMS + p] : 0;
        }
        cr_expect(fabs(one[i] - same) < 1e-8, "%d: %g, not %g", i, one[i], same);
        cr_expect(fabs(two[i] - apart) < 1e-8, "%d: %g, not %g", i, two[i], apart);
        cr_expect(fabs(nngp[i] - readout) < 1e-8, "%d: %g, not %g", i, nngp[i], readout);
    }
    /* without them it is another kernel, and asked for again the same one */
    nn_set_dropout(model, false);
    cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, two, &error) == 0);
    cr_expect(fabs(two[0] - one[0]) > 1e-3);
    nn_set_dropout(model, true);
    cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, two, &error) == 0);
    cr_expect(memcmp(one, two, sizeof one) == 0);
    nn_model_free(model);
    nn_net_free(net);
}

/* ---- what is refused ---- */
static ad_var of_features(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", ad_relu(nn_dense(net, "a", nn_dropout(net, "drop", x, 0.5), nn_width(net, "n"))));
}

static ad_var beside_batches(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = ad_relu(nn_batchnorm(net, "norm", nn_dense(net, "a", x, n)));
    return nn_readout(net, "readout", nn_dropout(net, "drop", x, 0.5));
}

Test(masks, what_stays_random_is_refused)
{
    static const struct {
        nn_function function;
        const char *says;
    } wrong[] = { { of_features, "dropout of what has no width" },
                  { beside_batches, "dropout and samples that meet" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        nn_net *net = trace(wrong[i].function, &(nn_spec){ .features = FEATURES });
        tp_program *program = tp_translate_training(net, &error);
        cr_expect(!program && strstr(error.text, wrong[i].says), "%zu: %s", i, error.text);
        error = (ad_error){ 0 };
        program = tp_translate(net, &error); /* as it is the identity elsewhere */
        cr_expect(program, "%zu: %s", i, error.text);
        tp_program_free(program);
        nn_net_free(net);
    }
    ad_error error = { 0 };
    cr_expect(!tp_translate_training(NULL, &error) && error.text[0]);
    nn_net *net = trace(small, &(nn_spec){ .features = FEATURES });
    nn_model *model = nn_model_new(net, WIDTH, 1, AD_DOUBLE, 1, &error);
    double x[ROWS * FEATURES], k[ROWS * ROWS];
    ad_var vectors[4];
    make_inputs(x);
    error = (ad_error){ 0 };
    tp_program *program = tp_translate(net, &error);
    cr_assert(nn_has_dropout(net) && tp_preactivations(program, vectors, 4, &error) > 0, "%s", error.text);
    nn_set_dropout(model, true);
    cr_expect(nn_nngp_vector(model, vectors[0], x, ROWS, NULL, 0, k, &error) != 0 &&
                  strstr(error.text, "without the masks of dropout"),
              "%s", error.text);
    tp_program_free(program);
    nn_model_free(model);
    nn_net_free(net);
}
