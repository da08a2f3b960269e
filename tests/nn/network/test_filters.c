/* Filters, pools and readouts of positions: what they compute, at a finite width, and what they refuse. */
#include "nn/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3, ROWS = 2 };

/* ---- a naive convolution ---- */
typedef struct {
    int size[2], channels;
    double *x; /* (rows, size[0], size[1], channels) */
} picture;

static picture picture_new(int rows, int columns, int channels)
{
    picture p = { { rows, columns }, channels, calloc((size_t)(ROWS * rows * columns * channels), sizeof(double)) };
    return p;
}

static double *pixel(const picture *p, int row, int i, int j, int c)
{
    return &p->x[((row * p->size[0] + i) * p->size[1] + j) * p->channels + c];
}

static int count_of(nn_padding padding, int size, int length, int stride, int dilation, int *low)
{
    int reach = (length - 1) * dilation + 1,
        count = padding == NN_VALID ? (size - reach) / stride + 1 : (size + stride - 1) / stride;
    int total = (count - 1) * stride + reach - size;
    *low = padding == NN_VALID || total < 0 ? 0 : total / 2;
    return count;
}

/* w (k1, k2, channels, out) */
static picture convolve(const picture *x, const nn_conv_spec *s, const double *w, const double *b, int out)
{
    int low[2], to[2], f[2] = { (int)s->filter[0], (int)s->filter[1] };
    for (int a = 0; a < 2; a++)
        to[a] = count_of(s->padding, x->size[a], f[a], (int)s->stride[a], (int)s->dilation[a], &low[a]);
    picture y = picture_new(to[0], to[1], out);
    double c = s->sigma_w / sqrt(f[0] * f[1] * x->channels);
    for (int row = 0; row < ROWS; row++)
        for (int at = 0; at < to[0] * to[1] * out; at++) {
            int i = at / (to[1] * out), j = at / out % to[1], o = at % out;
            double sum = 0;
            for (int k = 0; k < f[0] * f[1] * x->channels; k++) {
                int k1 = k / (f[1] * x->channels), k2 = k / x->channels % f[1];
                int h = (int)s->stride[0] * i + (int)s->dilation[0] * k1 - low[0];
                int v = (int)s->stride[1] * j + (int)s->dilation[1] * k2 - low[1];
                if (s->padding == NN_CIRCULAR) {
                    h = (h + x->size[0]) % x->size[0];
                    v = (v + x->size[1]) % x->size[1];
                }
                if (h >= 0 && h < x->size[0] && v >= 0 && v < x->size[1])
                    sum += w[k * out + o] * *pixel(x, row, h, v, k % x->channels);
            }
            *pixel(&y, row, i, j, o) = c * sum + s->sigma_b * b[o];
        }
    return y;
}

/* The mean, or the largest, of windows of 2. */
static picture pool(const picture *x, bool largest)
{
    picture y = picture_new(x->size[0] / 2, x->size[1] / 2, x->channels);
    for (int at = 0; at < ROWS * y.size[0] * y.size[1] * y.channels; at++) {
        int c = at % y.channels, j = at / y.channels % y.size[1], i = at / y.channels / y.size[1] % y.size[0];
        int row = at / y.channels / y.size[1] / y.size[0];
        double sum = 0, most = -INFINITY;
        for (int k = 0; k < 4; k++) {
            double v = *pixel(x, row, 2 * i + k / 2, 2 * j + k % 2, c);
            sum += v / 4;
            most = fmax(most, v);
        }
        y.x[at] = largest ? most : sum;
    }
    return y;
}

/* ---- networks ---- */
typedef struct {
    nn_conv_spec conv;
    bool largest, flatten;
    int size[2], channels;
} network;
static const network *tested;

static ad_var build(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 2; layer++)
        x = ad_tanh(nn_conv_at(AD_HERE, net, nn_name(net, "conv%d", layer), x, n, &tested->conv));
    x = tested->largest ? nn_max_pool(net, x) : nn_average_pool(net, x);
    return tested->flatten ? nn_flatten_readout(net, "readout", x) : nn_readout(net, "readout", nn_global_pool(net, x));
}

static nn_net *trace(const network *n, ad_error *error)
{
    tested = n;
    nn_spec spec = { .shape = { (size_t)n->size[0], (size_t)n->size[1], (size_t)n->channels },
                     .outputs = 2,
                     .sigma_in = NN_SIGMA_MULTIPLIER,
                     .name = "test" };
    return nn_trace(build, &spec, error);
}

static void tanh_of(picture *p)
{
    for (int i = 0; i < ROWS * p->size[0] * p->size[1] * p->channels; i++)
        p->x[i] = tanh(p->x[i]);
}

static double *inputs(const network *n)
{
    int count = ROWS * n->size[0] * n->size[1] * n->channels;
    double *x = calloc((size_t)count, sizeof *x);
    for (int i = 0; i < count; i++)
        x[i] = cos(1.7 * i) + 0.3 * sin(0.31 * i * i);
    return x;
}

static void solve(const network *n, nn_model *model, const double *x, double *f)
{
    picture p = picture_new(n->size[0], n->size[1], n->channels);
    memcpy(p.x, x, (size_t)(ROWS * n->size[0] * n->size[1] * n->channels) * sizeof *x);
    for (int layer = 0; layer <= 2; layer++) {
        picture q = layer < 2 ? convolve(&p, &n->conv, nn_param_values(model, 2 * layer, NULL),
                                         nn_param_values(model, 2 * layer + 1, NULL), N)
                              : pool(&p, n->largest);
        if (layer < 2)
            tanh_of(&q);
        free(p.x);
        p = q;
    }
    size_t weights;
    const double *w = nn_param_values(model, 4, &weights);
    int positions = p.size[0] * p.size[1];
    cr_assert_eq((int)weights, (n->flatten ? positions : 1) * N * 2);
    for (int at = 0; at < ROWS * 2; at++) {
        f[at] = 0;
        for (int k = 0; k < positions * N; k++)
            f[at] += p.x[at / 2 * positions * N + k] * w[(n->flatten ? k : k % N) * 2 + at % 2] /
                     (n->flatten ? sqrt(positions * N) : positions * sqrt(N));
    }
    free(p.x);
}

static const network networks[] = {
    { { { 3, 3 }, { 1, 1 }, { 1, 1 }, NN_SAME, 1.4, true, 0.3, { 0 }, 0 }, false, true, { 7, 6 }, 2 },
    { { { 2, 4 }, { 1, 1 }, { 1, 1 }, NN_SAME, 1.4, true, 0.3, { 0 }, 0 }, false, false, { 5, 6 }, 1 },
    { { { 3, 2 }, { 1, 1 }, { 2, 1 }, NN_VALID, 1.4, true, 0.3, { 0 }, 0 }, true, true, { 11, 6 }, 2 },
    { { { 3, 3 }, { 2, 1 }, { 1, 2 }, NN_CIRCULAR, 1.4, true, 0.3, { 0 }, 0 }, true, false, { 8, 6 }, 3 },
    { { { 3, 3 }, { 2, 1 }, { 1, 1 }, NN_SAME, 1.4, true, 0.3, { 0 }, 0 }, false, true, { 8, 5 }, 2 },
    { { { 1, 1 }, { 1, 1 }, { 1, 1 }, NN_VALID, 1.4, true, 0.3, { 0 }, 0 }, false, true, { 3, 3 }, 2 },
};

Test(filters, computes_what_it_says)
{
    for (size_t k = 0; k < sizeof networks / sizeof *networks; k++) {
        ad_error error = { 0 };
        double f[2 * ROWS], truth[2 * ROWS], *x = inputs(&networks[k]);
        nn_net *net = trace(&networks[k], &error);
        cr_assert(net, "%zu: %s", k, error.text);
        nn_model *model = nn_model_new(net, N, 1, AD_DOUBLE, 1, &error);
        cr_assert_eq(nn_forward(model, x, ROWS, f, &error), 0, "%zu: %s", k, error.text);
        solve(&networks[k], model, x, truth);
        for (int i = 0; i < 2 * ROWS; i++)
            cr_expect_float_eq(f[i], truth[i], 1e-13, "network %zu, %d: %.15g, not %.15g", k, i, f[i], truth[i]);
        nn_model_free(model);
        nn_net_free(net);
        free(x);
    }
}

/* The tangent kernel is J J' of differences: strides 1 and 2, zeros, the other end, pools. */
Test(filters, tangent_kernels_are_those_of_differences)
{
    for (size_t k = 0; k < sizeof networks / sizeof *networks; k++) {
        enum { OUT = 2 * ROWS };
        ad_error error = { 0 };
        double *x = inputs(&networks[k]), kernel[OUT * OUT], f[2][OUT];
        nn_net *net = trace(&networks[k], &error);
        nn_model *model = nn_model_new(net, N, 1, AD_DOUBLE, 1, &error);
        cr_assert(model, "%zu: %s", k, error.text);
        size_t size = nn_model_size(model);
        double *w = nn_param_values(model, 0, NULL), *jacobian = calloc(OUT * size, sizeof *jacobian);
        cr_assert_eq(nn_ntk(model, x, ROWS, NULL, 0, NN_FULL, kernel, &error), 0, "%s", error.text);
        for (size_t p = 0; p < size; p++) {
            const double h = 1e-5, old = w[p];
            for (int side = 0; side < 2; side++) {
                w[p] = old + (side ? h : -h);
                cr_assert_eq(nn_forward(model, x, ROWS, f[side], &error), 0, "%s", error.text);
            }
            w[p] = old;
            for (int o = 0; o < OUT; o++)
                jacobian[(size_t)o * size + p] = (f[1][o] - f[0][o]) / (2 * h);
        }
        for (int o = 0; o < OUT * OUT; o++) { /* (row, row', output, output') */
            int i = o / (ROWS * 4), j = o / 4 % ROWS, a = o / 2 % 2, b = o % 2;
            double sum = 0;
            for (size_t p = 0; p < size; p++)
                sum += jacobian[(size_t)(2 * i + a) * size + p] * jacobian[(size_t)(2 * j + b) * size + p];
            cr_expect_float_eq(kernel[o], sum, 1e-8, "network %zu, %d: %.12g, not %.12g", k, o, kernel[o], sum);
        }
        free(jacobian);
        free(x);
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* W has the same deviation in every parametrization: 1 / sqrt(channels x offsets) of the fan-in, or sigma of it. */
Test(filters, the_fan_in_counts_offsets)
{
    static const double multiplier[] = { 1 / 6.0, 1, 1 / 36.0, 1 }, deviation[] = { 1, 1 / 6.0, 1, 1 / 6.0 };
    static const double rate[] = { 1, 1, 36, 1 };
    for (int p = 0; p < NN_N_PARAMETRIZATIONS; p++) {
        ad_error error = { 0 };
        nn_spec spec = { .shape = { 5, 5, 2 }, .parametrization = (nn_parametrization)p, .name = "cnn" };
        nn_net *net = nn_trace(nn_builtin("cnn"), &spec, &error);
        cr_assert(net, "%s", error.text);
        const ad_init *init = ad_node_of(nn_graph(net), nn_param(net, 1).id)->init; /* conv2: 9 offsets, n = 4 */
        cr_expect_float_eq(init->multiplier * pow(4, init->multiplier_power), multiplier[p], 1e-15, "%d", p);
        cr_expect_float_eq(init->deviation / sqrt(2) * pow(4, init->deviation_power), deviation[p], 1e-15, "%d", p);
        cr_expect_float_eq(init->rate * pow(4, init->rate_power), rate[p], 1e-13, "%d", p);
        nn_net_free(net);
    }
}

/* ---- what is refused ---- */
static void refuses(const char *const *settings, const size_t *shape, const char *said)
{
    ad_error error = { 0 };
    nn_spec spec = { .settings = settings, .name = "cnn" };
    memcpy(spec.shape, shape, 4 * sizeof *shape);
    nn_net *net = nn_trace(nn_builtin("cnn"), &spec, &error);
    cr_expect(!net && strstr(error.text, said) && !strchr(error.text, '\n'), "%s, not %s", error.text, said);
    if (net)
        nn_net_free(net);
}

static ad_var fixed_channels(nn_net *net, ad_var x)
{
    return nn_flatten_readout(net, "readout", nn_conv(net, "conv", x, ad_fixed(nn_graph(net), "eight", 8)));
}

Test(filters, bad_input_is_one_line)
{
    static const size_t image[4] = { 5, 5, 1 }, row[4] = { 25 };
#define SETTINGS(...) (const char *const[]){ __VA_ARGS__, NULL }
    refuses(SETTINGS("filter=12"), image, "a window of 12 along rows is larger than the picture, which has 5 there");
    refuses(SETTINGS("padding=valid", "filter=6"), image, "larger than the picture");
    refuses(SETTINGS("pool=6"), image, "a window of 6 along rows is larger than the picture");
    refuses(SETTINGS("stride=0"), image, "stride=0: it must be a whole number from 1");
    refuses(SETTINGS("padding=zero"), image, "same, valid or circular");
    refuses(SETTINGS("depth=1"), row, "cnn.c:");
    ad_error error = { 0 };
    nn_spec spec = { .shape = { 5, 5, 1 } };
    cr_expect(!nn_trace(fixed_channels, &spec, &error));
    cr_expect(strstr(error.text, "test_filters.c:") && strstr(error.text, "are no width"), "%s", error.text);
}
