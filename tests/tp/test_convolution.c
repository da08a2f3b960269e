/* Limits of networks with filters, held against a recursion that is written plainly here: the covariance of every pair
 * of positions of every pair of samples, and its tangent kernel, layer by layer (THEORY section 8). */
#include "tests/support/filters.h"
#include "tests/support/moments.h"
#include "tests/support/reference.h"
#include "tests/support/trials.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the recursion ---- */
/* k and t are (n, n, P, P), P = size[0] size[1] positions. */
typedef struct {
    int n, size[2];
    bool outside; /* sigma stands in the multiplier: a weight's own gradient has it, too */
    double *k, *t;
} plain;

static int positions(const plain *s)
{
    return s->size[0] * s->size[1];
}

static double *entry(const plain *s, double *of, int i, int j, int p, int q)
{
    int count = positions(s);
    return &of[((size_t)(i * s->n + j) * (size_t)count + (size_t)p) * (size_t)count + (size_t)q];
}

static plain plain_like(const plain *s, int rows, int columns)
{
    plain out = { .n = s->n, .size = { rows, columns }, .outside = s->outside };
    size_t count = (size_t)(s->n * s->n) * (size_t)(rows * columns) * (size_t)(rows * columns);
    out.k = calloc(count, sizeof *out.k);
    out.t = calloc(count, sizeof *out.t);
    return out;
}

static void plain_end(plain *s)
{
    free(s->k);
    free(s->t);
}

static plain plain_input(const double *x, int n, int rows, int columns, int channels, bool outside)
{
    plain like = { .n = n, .outside = outside }, s = plain_like(&like, rows, columns);
    int count = positions(&s);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            for (int p = 0; p < count; p++)
                for (int q = 0; q < count; q++)
                    for (int c = 0; c < channels; c++)
                        *entry(&s, s.k, i, j, p, q) +=
                            x[(i * count + p) * channels + c] * x[(j * count + q) * channels + c] / channels;
    return s;
}

static int low_of(const filter *f, int axis, int size, int *count)
{
    int reach = (f->filter[axis] - 1) * f->dilation[axis] + 1, stride = f->stride[axis];
    if (f->padding == NN_VALID) {
        *count = (size - reach) / stride + 1;
        return 0;
    }
    *count = (size + stride - 1) / stride;
    int total = (*count - 1) * stride + reach - size;
    return total > 0 ? total / 2 : 0;
}

/* The position of an offset of the filter at a position; -1: outside. */
static int source(const plain *s, const filter *f, const int *low, const int *to, int p, int offset)
{
    int at[2] = { p / to[1], p % to[1] }, k[2] = { offset / f->filter[1], offset % f->filter[1] };
    for (int a = 0; a < 2; a++) {
        at[a] = f->stride[a] * at[a] + f->dilation[a] * k[a] - low[a];
        if (f->padding == NN_CIRCULAR)
            at[a] = (at[a] + s->size[a]) % s->size[a];
        if (at[a] < 0 || at[a] >= s->size[a])
            return -1;
    }
    return at[0] * s->size[1] + at[1];
}

static void plain_filter(plain *s, const filter *f)
{
    int to[2], low[2], count, offsets = f->filter[0] * f->filter[1];
    for (int a = 0; a < 2; a++)
        low[a] = low_of(f, a, s->size[a], &to[a]);
    plain out = plain_like(s, to[0], to[1]);
    count = positions(&out);
    double sw = f->sigma_w * f->sigma_w, sb = f->sigma_b * f->sigma_b;
    for (int ij = 0; ij < s->n * s->n; ij++)
        for (int p = 0; p < count; p++)
            for (int q = 0; q < count; q++) {
                int i = ij / s->n, j = ij % s->n;
                double k = 0, t = 0;
                for (int offset = 0; offset < offsets; offset++) {
                    int from = source(s, f, low, to, p, offset), from2 = source(s, f, low, to, q, offset);
                    if (from < 0 || from2 < 0)
                        continue;
                    k += *entry(s, s->k, i, j, from, from2) / offsets;
                    t += *entry(s, s->t, i, j, from, from2) / offsets;
                }
                *entry(&out, out.k, i, j, p, q) = sw * k + sb;
                *entry(&out, out.t, i, j, p, q) = (s->outside ? sw * k + sb : k + (f->sigma_b > 0)) + sw * t;
            }
    plain_end(s);
    *s = out;
}

static double tanh_slope(double x)
{
    return 1 - tanh(x) * tanh(x);
}

/* Trapezoids in symmetric coordinates (THEORY section 3). */
static void tanh_moments(double aa, double bb, double ab, double *value, double *slope)
{
    double c = ab / sqrt(aa * bb), u = sqrt((1 + c) / 2), v = sqrt(fmax(0, 1 - c) / 2), h = 0.1, all = 0;
    *value = *slope = 0;
    for (double x = -8.6; x < 8.65; x += h)
        for (double y = -8.6; y < 8.65; y += h) {
            double w = exp(-(x * x + y * y) / 2), a = sqrt(aa) * (u * x + v * y), b = sqrt(bb) * (u * x - v * y);
            all += w;
            *value += w * tanh(a) * tanh(b);
            *slope += w * tanh_slope(a) * tanh_slope(b);
        }
    *value /= all;
    *slope /= all;
}

/* The closed form (Cho and Saul 2009), in double. */
static void relu_moments(double aa, double bb, double ab, double *value, double *slope)
{
    const double pi = 3.14159265358979323846;
    double d = sqrt(aa * bb), c = fmax(-1, fmin(1, ab / d)), s = sqrt((1 - c) * (1 + c)), theta = atan2(s, c);
    *value = d * (s + (pi - theta) * c) / (2 * pi);
    *slope = (pi - theta) / (2 * pi);
}

static void plain_phi(plain *s, const char *phi)
{
    const activation *f = activation_named(phi);
    int count = positions(s);
    plain out = plain_like(s, s->size[0], s->size[1]);
    for (int ij = 0; ij < s->n * s->n; ij++)
        for (int p = 0; p < count; p++)
            for (int q = 0; q < count; q++) {
                int i = ij / s->n, j = ij % s->n;
                double ab = *entry(s, s->k, i, j, p, q), aa = *entry(s, s->k, i, i, p, p);
                double bb = *entry(s, s->k, j, j, q, q), value, slope;
                if (strcmp(phi, "tanh") == 0) {
                    tanh_moments(aa, bb, ab, &value, &slope);
                } else if (strcmp(phi, "relu") == 0 && count > 100 && aa > 0 && bb > 0) { /* many pairs */
                    relu_moments(aa, bb, ab, &value, &slope);
                } else {
                    moments m = expected(f, (covariance){ real_of(aa), real_of(bb), real_of(ab) });
                    value = real_double(m.value);
                    slope = real_double(m.slope);
                }
                *entry(&out, out.k, i, j, p, q) = value;
                *entry(&out, out.t, i, j, p, q) = slope * *entry(s, s->t, i, j, p, q);
            }
    plain_end(s);
    *s = out;
}

/* Layernorm of channels whose mean is 0: a number at each position, through which nothing goes back. */
static void plain_norm(plain *s, double epsilon)
{
    int count = positions(s);
    plain out = plain_like(s, s->size[0], s->size[1]);
    for (int ij = 0; ij < s->n * s->n; ij++)
        for (int p = 0; p < count; p++)
            for (int q = 0; q < count; q++) {
                int i = ij / s->n, j = ij % s->n;
                double size = sqrt((*entry(s, s->k, i, i, p, p) + epsilon) * (*entry(s, s->k, j, j, q, q) + epsilon));
                *entry(&out, out.k, i, j, p, q) = *entry(s, s->k, i, j, p, q) / size;
                *entry(&out, out.t, i, j, p, q) = *entry(s, s->t, i, j, p, q) / size;
            }
    plain_end(s);
    *s = out;
}

static void plain_pool(plain *s, int window, int stride)
{
    filter f = { { window, s->size[1] > 1 ? window : 1 }, { stride, stride }, { 1, 1 }, NN_VALID, 1, 0 };
    int to[2], low[2], offsets = f.filter[0] * f.filter[1];
    for (int a = 0; a < 2; a++)
        low[a] = low_of(&f, a, s->size[a], &to[a]);
    plain out = plain_like(s, to[0], to[1]);
    int count = positions(&out);
    for (int ij = 0; ij < s->n * s->n; ij++)
        for (int p = 0; p < count * count; p++)
            for (int k = 0; k < offsets * offsets; k++) {
                int from = source(s, &f, low, to, p / count, k / offsets);
                int from2 = source(s, &f, low, to, p % count, k % offsets), i = ij / s->n, j = ij % s->n;
                double part = 1.0 / (offsets * offsets);
                *entry(&out, out.k, i, j, p / count, p % count) += part * *entry(s, s->k, i, j, from, from2);
                *entry(&out, out.t, i, j, p / count, p % count) += part * *entry(s, s->t, i, j, from, from2);
            }
    plain_end(s);
    *s = out;
}

static void plain_add(plain *s, plain *other)
{
    size_t count = (size_t)(s->n * s->n) * (size_t)(positions(s) * positions(s));
    for (size_t i = 0; i < count; i++) {
        s->k[i] += other->k[i];
        s->t[i] += other->t[i];
    }
    plain_end(other);
}

static plain plain_copy(const plain *s)
{
    plain out = plain_like(s, s->size[0], s->size[1]);
    size_t bytes = (size_t)(s->n * s->n) * (size_t)(positions(s) * positions(s)) * sizeof *s->k;
    memcpy(out.k, s->k, bytes);
    memcpy(out.t, s->t, bytes);
    return out;
}

/* A readout of each position, or of their mean: kernels (n, n). */
static void plain_readout(plain *s, bool flatten, double sigma_w, double sigma_b, double *nngp, double *ntk)
{
    int count = positions(s);
    double sw = sigma_w * sigma_w, sb = sigma_b * sigma_b;
    for (int ij = 0; ij < s->n * s->n; ij++) {
        double k = 0, t = 0;
        for (int p = 0; p < count; p++)
            for (int q = 0; q < count; q++) {
                double part = flatten ? (p == q ? 1.0 / count : 0) : 1.0 / (count * count);
                k += part * *entry(s, s->k, ij / s->n, ij % s->n, p, q);
                t += part * *entry(s, s->t, ij / s->n, ij % s->n, p, q);
            }
        nngp[ij] = sw * k + sb;
        ntk[ij] = (s->outside ? sw * k + sb : k + (sigma_b > 0)) + sw * t;
    }
}

/* ---- networks ---- */
static void solve(const filter_net *n, const double *x, int samples, double *nngp, double *ntk)
{
    plain s = plain_input(x, samples, n->rows, n->columns ? n->columns : 1, n->channels, n->outside);
    filter f = n->f;
    if (!n->columns)
        f.filter[1] = f.stride[1] = f.dilation[1] = 1;
    for (int layer = 1; layer <= n->depth; layer++) {
        plain before = plain_copy(&s);
        if (n->kind == RESIDUAL && layer > 1)
            plain_phi(&s, n->phi);
        plain_filter(&s, &f);
        if (n->kind == RESIDUAL && layer > 1)
            plain_add(&s, &before);
        else
            plain_end(&before);
        if (n->kind == RESIDUAL && layer < n->depth)
            continue;
        if (n->kind == NORMALISED)
            plain_norm(&s, 1e-5);
        plain_phi(&s, n->phi);
        if (n->pool)
            plain_pool(&s, n->pool, n->pool_stride ? n->pool_stride : n->pool);
    }
    plain_readout(&s, n->flatten, n->f.sigma_w, n->f.sigma_b, nngp, ntk);
    plain_end(&s);
}

static void limit_of(const filter_net *n, tp_kernel_kind which, const double *x, size_t rows, double *out)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
    nn_net *net = filter_net_trace(n, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s: %s", n->name, error.text);
    cr_assert_eq(tp_limit(program, which, x, rows, NULL, 0, &spec, &kernel, &error), 0, "%s: %s", n->name, error.text);
    cr_assert(kernel.n_terms == 1 && !(fabs(kernel.terms[0].power) > 0), "%s", n->name);
    memcpy(out, kernel.terms[0].values, rows * rows * sizeof *out);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

static void check(const filter_net *n)
{
    enum { SAMPLES = 3 };
    double nngp[SAMPLES * SAMPLES], ntk[SAMPLES * SAMPLES], found[SAMPLES * SAMPLES];
    double *x = reference_inputs(SAMPLES, (size_t)(n->rows * (n->columns ? n->columns : 1) * n->channels));
    double tolerance = strcmp(n->phi, "tanh") == 0 ? 1e-10 : 1e-12;
    solve(n, x, SAMPLES, nngp, ntk);
    for (int which = 0; which < 2; which++) {
        const double *truth = which ? ntk : nngp;
        limit_of(n, which ? TP_NTK : TP_NNGP, x, SAMPLES, found);
        for (int i = 0; i < SAMPLES * SAMPLES; i++)
            cr_expect(fabs(found[i] - truth[i]) <= tolerance * fabs(truth[i]), "%s, %s, %d: %.16g, not %.16g", n->name,
                      which ? "NTK" : "NNGP", i, found[i], truth[i]);
    }
    free(x);
}

Test(convolution, limits_are_those_of_the_recursion, .timeout = 300)
{
    for (size_t k = 0; filter_net_at(k); k++)
        check(filter_net_at(k));
}

Test(convolution, has_the_reference_kernels)
{
    enum { ROWS = 5 };
    static const filter_net n = { "conv2d_relu_d2_same_gap_4x4x1",
                                  "relu",
                                  4,
                                  4,
                                  1,
                                  2,
                                  0,
                                  0,
                                  { { 3, 3 }, { 1, 1 }, { 1, 1 }, NN_SAME, 1.4142135623730951, 0.1 },
                                  PLAIN,
                                  false,
                                  true };
    reference *ref = reference_read(n.name);
    double *x = reference_inputs(ROWS, 16), found[ROWS * ROWS];
    for (int which = 0; which < 2; which++) {
        const double *truth = reference_array(ref, which ? "ntk" : "nngp", (size_t)ROWS * ROWS);
        limit_of(&n, which ? TP_NTK : TP_NNGP, x, ROWS, found);
        for (int i = 0; i < ROWS * ROWS; i++)
            cr_expect(fabs(found[i] - truth[i]) <= 1e-12 * fabs(truth[i]), "%d, %d: %.16g, not %.16g", which, i,
                      found[i], truth[i]);
    }
    free(x);
    reference_free(ref);
}

/* The executor shares the trace with the exact engine, and nothing else. Of the largest of windows it alone has the
 * limit. */
static ad_var with_largest(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_max_pool(net, ad_relu(nn_conv_with(net, "conv", x, n, .sigma_w = sqrt(2))));
    return nn_flatten_readout(net, "readout", x);
}

static void check_samples(nn_net *net, const double *x, size_t rows, const double *truth)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = 2048, .runs = 8, .seed = 1 };
    tp_program *program = tp_translate(net, &error);
    cr_assert_eq(tp_limit(program, TP_NTK, x, rows, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
    for (size_t i = 0; i < rows * rows; i++) /* 6 deviations of 7 degrees of freedom: once in 1,800 entries */
        cr_expect(fabs(kernel.terms[0].values[i] - truth[i]) <= 6 * kernel.deviations[i], "%zu: %g +- %g, not %g", i,
                  kernel.terms[0].values[i], kernel.deviations[i], truth[i]);
    tp_kernel_free(&kernel);
    tp_program_free(program);
}

Test(convolution, samples_agree_with_the_recursion)
{
    enum { ROWS = 2 };
    double nngp[ROWS * ROWS], ntk[ROWS * ROWS];
    for (size_t k = 0; k < 4; k++) {
        ad_error error = { 0 };
        const filter_net *n = filter_net_at(k);
        double *x = reference_inputs(ROWS, (size_t)(n->rows * n->columns * n->channels));
        nn_net *net = filter_net_trace(n, &error);
        solve(n, x, ROWS, nngp, ntk);
        check_samples(net, x, ROWS, ntk);
        nn_net_free(net);
        free(x);
    }
}

/* The NTK's mean over draws of a width, with its standard errors. */
static void draw_many(nn_net *net, size_t width, int seeds, const double *x, size_t rows, double *mean,
                      double *deviations)
{
    double *one = calloc(rows * rows, sizeof *one);
    trial *of = calloc(rows * rows, sizeof *of);
    for (int seed = 1; seed <= seeds; seed++) {
        ad_error error = { 0 };
        nn_model *model = nn_model_new(net, width, (uint64_t)seed, AD_DOUBLE, 1, &error);
        cr_assert(model && nn_ntk(model, x, rows, NULL, 0, NN_MEAN, one, &error) == 0, "%s", error.text);
        for (size_t i = 0; i < rows * rows; i++)
            trial_add(&of[i], one[i]);
        nn_model_free(model);
    }
    for (size_t i = 0; i < rows * rows; i++) {
        mean[i] = of[i].mean;
        deviations[i] = error_of(of[i]);
    }
    free(one);
    free(of);
}

Test(convolution, samples_have_the_largest_of_windows)
{
    enum { ROWS = 2, SEEDS = 24, WIDTH = 512 };
    ad_error error = { 0 };
    double mean[ROWS * ROWS], deviation[ROWS * ROWS], *x = reference_inputs(ROWS, 24);
    nn_spec spec = { .shape = { 4, 6, 1 } };
    nn_net *net = nn_trace(with_largest, &spec, &error);
    cr_assert(net, "%s", error.text);
    draw_many(net, WIDTH, SEEDS, x, ROWS, mean, deviation);
    tp_kernel kernel;
    tp_program *program = tp_translate(net, &error);
    tp_limit_spec limit = { .samples = 2048, .runs = 8, .seed = 1 };
    cr_assert_eq(tp_limit(program, TP_NTK, x, ROWS, NULL, 0, &limit, &kernel, &error), 0, "%s", error.text);
    cr_expect(strstr(kernel.no_rule, ": max: "), "%s", kernel.no_rule);
    for (int i = 0; i < ROWS * ROWS; i++)
        cr_expect(fabs(kernel.terms[0].values[i] - mean[i]) <=
                      5 * deviation[i] + 6 * kernel.deviations[i] + 2.0 / WIDTH * fabs(mean[i]),
                  "%d: %g +- %g, not %g +- %g", i, kernel.terms[0].values[i], kernel.deviations[i], mean[i],
                  deviation[i]);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
    free(x);
}

/* One line a layer, whatever the picture's size. */
Test(convolution, programs_are_families_over_positions)
{
    static const char *const lines[] = {
        "positions, 0 outside the picture.",
        "Σ[offset, offset2] U1[offset, offset2] x[rows+offset−1, columns+offset2−1]",
        "Σ[offset3, offset4] W[offset3, offset4] x1[rows+offset3−1, columns+offset4−1]",
        "Σ[rows, columns] ⟨x2, U3⟩",
        "Wᵀ[offset3, offset4] dh2[rows−offset3+1, columns−offset4+1]",
    };
    ad_error error = { 0 };
    char *text = NULL;
    size_t size;
    nn_spec spec = { .shape = { 5, 6, 1 }, .settings = (const char *const[]){ "depth=2", "readout=flatten", NULL } };
    nn_net *net = nn_trace(nn_builtin("cnn"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    FILE *stream = open_memstream(&text, &size);
    cr_assert(program && tp_print(program, stream, TP_PAPER, &error) == 0, "%s", error.text);
    fclose(stream);
    for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
        cr_expect(strstr(text, lines[k]), "no %s in\n%s", lines[k], text);
    free(text);
    tp_program_free(program);
    nn_net_free(net);
}

/* Means over the channels that are not 0, which arrays over positions do not know, at each of all positions. */
static ad_var layers_normalised(nn_net *net, ad_var x, bool affine)
{
    ad_axis n = nn_width(net, "n");
    for (int k = 0; k < 2; k++) {
        x = nn_conv(net, nn_name(net, "conv%d", k), x, n);
        x = nn_layernorm_with(net, nn_name(net, "norm%d", k), affine ? x : ad_relu(x), .affine = affine);
        x = affine ? ad_relu(x) : x;
    }
    return x;
}

static ad_var normalised_average(nn_net *net, ad_var x)
{
    return nn_readout(net, "out", nn_global_pool(net, layers_normalised(net, x, false)));
}

static ad_var normalised_flat(nn_net *net, ad_var x)
{
    return nn_flatten_readout(net, "out", layers_normalised(net, x, false));
}

static ad_var affine_average(nn_net *net, ad_var x)
{
    return nn_readout(net, "out", nn_global_pool(net, layers_normalised(net, x, true)));
}

static ad_var affine_flat(nn_net *net, ad_var x)
{
    return nn_flatten_readout(net, "out", layers_normalised(net, x, true));
}

/* What would not fit in memory, or take minutes, is told before it is tried: by the NTK, which has all pairs. */
static void refuses_large(nn_function function, tp_kernel_kind which)
{
    ad_error error = { 0 };
    double *x = reference_inputs(1, 28 * 28);
    tp_kernel kernel;
    nn_spec spec = { .outputs = 1, .shape = { 28, 28, 1 } };
    nn_net *net = nn_trace(function, &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    cr_expect(tp_limit(program, which, x, 1, NULL, 0, NULL, &kernel, &error) != 0);
    cr_expect(strstr(error.text, "784 positions are too many"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    free(x);
}

Test(convolution, large_pictures_are_refused, .timeout = 120)
{
    refuses_large(normalised_average, TP_NNGP);
    refuses_large(normalised_average, TP_NTK);
    refuses_large(normalised_flat, TP_NTK);
    refuses_large(affine_average, TP_NTK);
    refuses_large(affine_flat, TP_NTK);
}

/* ---- sums that cancel ---- */
static double small;

static ad_var nearly_equal(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_conv(net, "u", x, n), v = nn_conv(net, "v", x, n);
    return nn_flatten_readout(net, "out", ad_sub(ad_relu(u), ad_relu(ad_add(u, ad_scale(v, small)))));
}

/* E relu relu of a covariance with itself scaled. */
static long double relu_relu(long double q11, long double q22, long double q12)
{
    long double root = sqrtl(fmaxl(q11 * q22 - q12 * q12, 0)), pi = 3.14159265358979323846264338327950288L;
    return (root + (pi - atan2l(root, q12)) * q12) / (2 * pi);
}

/* The mean over positions of E d d', d = relu(u) - relu(u + e v), u and v of one covariance. */
static double true_difference(const plain *s, int i, int j, double e)
{
    long double sum = 0, e2 = (long double)e * (long double)e, more = 1 + e2;
    for (int p = 0; p < positions(s); p++) {
        long double a = *entry(s, s->k, i, i, p, p), b = *entry(s, s->k, j, j, p, p), c = *entry(s, s->k, i, j, p, p);
        sum += relu_relu(a, b, c) - relu_relu(a, more * b, c) - relu_relu(more * a, b, c) +
               relu_relu(more * a, more * b, more * c);
    }
    return (double)(sum / positions(s));
}

/* Errors are told of what is left, to which the long doubles here are good to 1e-11; or nothing is. */
Test(convolution, errors_are_those_of_what_sums_cancel_to)
{
    enum { ROWS = 2 };
    static const double sizes[] = { 0.3, 0.1, 1e-2, 1e-3, 1e-7 };
    static const filter f = { { 3, 3 }, { 1, 1 }, { 1, 1 }, NN_SAME, 1, 0 };
    double *x = reference_inputs(ROWS, 5 * 4 * 2);
    plain s = plain_input(x, ROWS, 5, 4, 2, false);
    plain_filter(&s, &f);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        ad_error error = { 0 };
        tp_kernel kernel = { 0 };
        nn_spec spec = { .outputs = 1, .shape = { 5, 4, 2 } };
        small = sizes[k];
        nn_net *net = nn_trace(nearly_equal, &spec, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        cr_assert(program, "%s", error.text);
        int status = tp_limit(program, TP_NNGP, x, ROWS, NULL, 0, NULL, &kernel, &error);
        cr_expect_eq(status != 0, small < 1e-5, "%g: %s", small, error.text);
        for (int i = 0; i < ROWS * ROWS && !status; i++) {
            double truth = true_difference(&s, i / ROWS, i % ROWS, small);
            double size = fmax(true_difference(&s, 0, 0, small), true_difference(&s, 1, 1, small));
            cr_expect(fabs(kernel.terms[0].values[i] - truth) <= (kernel.error + 1e-11) * size,
                      "%g, %d: %.16g, not %.16g; %g is told", small, i, kernel.terms[0].values[i], truth, kernel.error);
        }
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
    plain_end(&s);
    free(x);
}
