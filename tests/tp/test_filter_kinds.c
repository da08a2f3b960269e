/* Filters of each position's own, transposed ones, and those of groups of channels: what they compute, their tangent
 * kernels against differences of outputs, their limits against a recursion written plainly and wide networks; filters
 * that are wider than a small picture; statistics of a batch and its positions. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, HIGH = 3, WIDE = 2, CHANNELS = 2, FEATURES = HIGH * WIDE * CHANNELS, MOST = 96 };

typedef enum { PLAIN, LOCAL, TRANSPOSED } kind;
typedef struct {
    const char *name;
    kind kind;
    int filter[2], stride[2], high, wide;
    nn_padding padding;
} layer;
static const layer layers[] = {
    { "local", LOCAL, { 3, 3 }, { 1, 1 }, HIGH, WIDE, NN_SAME },
    { "local, strided", LOCAL, { 2, 1 }, { 1, 2 }, HIGH, WIDE, NN_VALID },
    { "transposed", TRANSPOSED, { 3, 2 }, { 1, 1 }, HIGH, WIDE, NN_SAME },
    { "transposed, strided", TRANSPOSED, { 3, 1 }, { 2, 2 }, HIGH, WIDE, NN_SAME },
    { "transposed, valid", TRANSPOSED, { 2, 3 }, { 1, 2 }, HIGH, WIDE, NN_VALID },
    { "one position", PLAIN, { 3, 3 }, { 1, 1 }, 1, 1, NN_SAME },
    { "two positions", PLAIN, { 5, 3 }, { 1, 1 }, 2, 1, NN_SAME },
};
static const layer *tested;

/* ---- which entry of x meets which entry of the weight ---- */
static int count_along(const layer *l, int axis, int size)
{
    int k = l->filter[axis], s = l->stride[axis];
    if (l->kind == TRANSPOSED)
        return l->padding == NN_SAME ? s * size : s * (size - 1) + k;
    return l->padding == NN_SAME ? (size + s - 1) / s : (size - k) / s + 1;
}

/* The offset of the filter by which position p of the result sees position q; -1: by none. */
static int offset_along(const layer *l, int axis, int size, int p, int q)
{
    int k = l->filter[axis], s = l->stride[axis], count = count_along(l, axis, size), low = 0, offset;
    if (l->kind == TRANSPOSED) {
        low = l->padding == NN_SAME && k > s ? (k - s) / 2 : 0;
        offset = p + low - s * q;
    } else {
        int all = (count - 1) * s + k - size;
        low = l->padding == NN_SAME && all > 0 ? all / 2 : 0;
        offset = q - s * p + low;
    }
    return offset >= 0 && offset < k ? offset : -1;
}

/* Which block of the weight joins p and q; -1: none. */
static int weight_between(const layer *l, const int size[2], int p, int q)
{
    int columns = count_along(l, 1, size[1]), offsets = l->filter[0] * l->filter[1];
    int a = offset_along(l, 0, size[0], p / columns, q / size[1]);
    int b = offset_along(l, 1, size[1], p % columns, q % size[1]);
    return a < 0 || b < 0 ? -1 : (l->kind == LOCAL ? p * offsets : 0) + a * l->filter[1] + b;
}

/* ---- networks ---- */
static ad_var build(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    const nn_conv_spec spec = { .filter = { (size_t)tested->filter[0], (size_t)tested->filter[1] },
                                .stride = { (size_t)tested->stride[0], (size_t)tested->stride[1] },
                                .padding = tested->padding,
                                .sigma_w = 1.3,
                                .bias = true,
                                .sigma_b = 0.4 };
    for (int k = 0; k < 2; k++) {
        const char *name = nn_name(net, "layer%d", k);
        x = tested->kind == LOCAL        ? nn_local_at(AD_HERE, net, name, x, n, &spec)
            : tested->kind == TRANSPOSED ? nn_conv_transpose_at(AD_HERE, net, name, x, n, &spec)
                                         : nn_conv_at(AD_HERE, net, name, x, n, &spec);
        x = ad_erf(x);
        if (tested->padding == NN_VALID)
            break;
    }
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static nn_net *trace(nn_function function, int high, int wide)
{
    ad_error error = { 0 };
    nn_spec spec = { .shape = { (size_t)high, (size_t)wide, CHANNELS }, .sigma_in = NN_SIGMA_INIT };
    nn_net *net = nn_trace(function, &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static void make_inputs(double *x, int count)
{
    for (int i = 0; i < count; i++)
        x[i] = cos(1.3 * i) + 0.4 * sin(0.7 * i * i);
}

/* ---- the recursion ---- */
typedef struct {
    int size[2];
    double k[ROWS][ROWS][MOST][MOST], t[ROWS][ROWS][MOST][MOST];
} plain;

static void plain_layer(plain *s, const layer *l)
{
    static plain next;
    int count = s->size[0] * s->size[1], offsets = l->filter[0] * l->filter[1];
    next = (plain){ .size = { count_along(l, 0, s->size[0]), count_along(l, 1, s->size[1]) } };
    int to = next.size[0] * next.size[1];
    cr_assert(to <= MOST);
    for (int i = 0; i < ROWS * ROWS * to * to; i++) {
        int p = i % to, q = i / to % to, a = i / to / to % ROWS, b = i / to / to / ROWS;
        double k = 0, t = 0;
        for (int e = 0; e < count * count; e++) {
            int w = weight_between(l, s->size, p, e / count), v = weight_between(l, s->size, q, e % count);
            k += w >= 0 && w == v ? s->k[a][b][e / count][e % count] / offsets : 0;
            t += w >= 0 && w == v ? s->t[a][b][e / count][e % count] / offsets : 0;
        }
        next.k[a][b][p][q] = 1.3 * 1.3 * k + 0.16;
        next.t[a][b][p][q] = k + 1 + 1.3 * 1.3 * t;
    }
    *s = next;
}

static void plain_erf(plain *s)
{
    static plain next;
    const double pi = 3.14159265358979323846;
    int count = s->size[0] * s->size[1];
    next = *s;
    for (int i = 0; i < ROWS * ROWS * count * count; i++) {
        int p = i % count, q = i / count % count, a = i / count / count % ROWS, b = i / count / count / ROWS;
        double ab = s->k[a][b][p][q], u = 1 + 2 * s->k[a][a][p][p], v = 1 + 2 * s->k[b][b][q][q];
        next.k[a][b][p][q] = 2 / pi * asin(2 * ab / sqrt(u * v));
        next.t[a][b][p][q] *= 4 / pi / sqrt(u * v - 4 * ab * ab);
    }
    *s = next;
}

static void solve(const layer *l, const double *x, double nngp[ROWS][ROWS], double ntk[ROWS][ROWS])
{
    static plain s;
    s = (plain){ .size = { l->high, l->wide } };
    int count = l->high * l->wide;
    for (int i = 0; i < ROWS * ROWS * count * count; i++) {
        int p = i % count, q = i / count % count, a = i / count / count % ROWS, b = i / count / count / ROWS;
        for (int c = 0; c < CHANNELS; c++)
            s.k[a][b][p][q] += x[(a * count + p) * CHANNELS + c] * x[(b * count + q) * CHANNELS + c] / CHANNELS;
    }
    for (int k = 0; k < (l->padding == NN_VALID ? 1 : 2); k++) {
        plain_layer(&s, l);
        plain_erf(&s);
    }
    count = s.size[0] * s.size[1];
    for (int i = 0; i < ROWS * ROWS; i++) {
        double k = 0, t = 0;
        for (int e = 0; e < count * count; e++) {
            k += s.k[i / ROWS][i % ROWS][e / count][e % count] / (count * count);
            t += s.t[i / ROWS][i % ROWS][e / count][e % count] / (count * count);
        }
        nngp[i / ROWS][i % ROWS] = k;
        ntk[i / ROWS][i % ROWS] = k + t;
    }
}

Test(filter_kinds, limits_are_those_of_the_recursion)
{
    double x[ROWS * FEATURES], truth[2][ROWS][ROWS];
    make_inputs(x, ROWS * FEATURES);
    for (size_t n = 0; n < sizeof layers / sizeof *layers; n++) {
        tested = &layers[n];
        ad_error error = { 0 };
        nn_net *net = trace(build, tested->high, tested->wide);
        tp_program *program = tp_translate(net, &error);
        cr_assert(program, "%s: %s", tested->name, error.text);
        solve(tested, x, truth[TP_NNGP], truth[TP_NTK]);
        for (tp_kernel_kind which = TP_NTK; which <= TP_NNGP; which++) {
            tp_kernel kernel;
            cr_assert_eq(tp_limit(program, which, x, ROWS, NULL, 0, NULL, &kernel, &error), 0, "%s: %s", tested->name,
                         error.text);
            for (int i = 0; i < ROWS * ROWS; i++) {
                double is = kernel.terms[0].values[i], of = truth[which][i / ROWS][i % ROWS];
                cr_expect(fabs(is - of) <= 1e-12 * fabs(truth[which][0][0]), "%s, %d: %.16g, not %.16g", tested->name,
                          i, is, of);
            }
            tp_kernel_free(&kernel);
        }
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* Means of 32 draws within 5 standard errors, and what a mean is off by at a width: once in 30,000 entries they would
 * not. A draw's distance falls as n^(-1/2). */
Test(filter_kinds, wide_networks_come_to_the_limit, .timeout = 120)
{
    enum { SEEDS = 32 };
    static const size_t widths[] = { 32, 256 };
    double x[ROWS * FEATURES], nngp[ROWS][ROWS], ntk[ROWS][ROWS];
    make_inputs(x, ROWS * FEATURES);
    for (size_t n = 0; n < 4; n += 3) {
        tested = &layers[n];
        nn_net *net = trace(build, tested->high, tested->wide);
        double distance[2] = { 0 };
        solve(tested, x, nngp, ntk);
        for (int w = 0; w < 2; w++) {
            double mean[ROWS * ROWS] = { 0 }, squares[ROWS * ROWS] = { 0 }, one[ROWS * ROWS];
            for (int seed = 1; seed <= SEEDS; seed++) {
                ad_error error = { 0 };
                nn_model *model = nn_model_new(net, widths[w], (uint64_t)seed, AD_DOUBLE, 1, &error);
                cr_assert(model && nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, one, &error) == 0, "%s", error.text);
                for (int i = 0; i < ROWS * ROWS; i++) {
                    double step = one[i] - mean[i];
                    mean[i] += step / seed;
                    squares[i] += step * (one[i] - mean[i]);
                    distance[w] += pow(one[i] - ntk[i / ROWS][i % ROWS], 2);
                }
                nn_model_free(model);
            }
            for (int i = 0; i < ROWS * ROWS; i++) {
                double is = ntk[i / ROWS][i % ROWS], error = sqrt(squares[i] / (SEEDS - 1.0) / SEEDS);
                cr_expect(fabs(mean[i] - is) <= 5 * error + 2.0 / (double)widths[w] * fabs(is),
                          "%s, %d: %g +- %g, not %g", tested->name, i, mean[i], error, is);
            }
        }
        double slope = log(distance[1] / distance[0]) / 2 / log((double)widths[1] / (double)widths[0]);
        cr_expect(slope < -0.38 && slope > -0.62, "%s: %g", tested->name, slope);
        nn_net_free(net);
    }
}

/* ---- at a width ---- */
/* One layer, N channels, each position's sum of all channels, times the readout. */
enum { N = 3 };

static void plain_outputs(const layer *l, nn_model *model, const double *x, double *f)
{
    const double *w = nn_param_values(model, 0, NULL), *b = nn_param_values(model, 1, NULL);
    const double *v = nn_param_values(model, nn_n_params(nn_model_net(model)) - 1, NULL);
    int size[2] = { l->high, l->wide }, count = l->high * l->wide;
    int to = count_along(l, 0, size[0]) * count_along(l, 1, size[1]), offsets = l->filter[0] * l->filter[1];
    for (int row = 0; row < ROWS; row++) {
        f[row] = 0;
        for (int p = 0; p < to * N; p++) {
            double u = 0;
            for (int q = 0; q < count; q++) {
                int block = weight_between(l, size, p / N, q);
                for (int c = 0; c < CHANNELS && block >= 0; c++)
                    u += w[(block * CHANNELS + c) * N + p % N] * x[(row * count + q) * CHANNELS + c];
            }
            f[row] += erf(u / sqrt(offsets * CHANNELS) + b[p % N]) * v[p % N] / sqrt(N) / to;
        }
    }
}

static ad_var build_one(nn_net *net, ad_var x)
{
    const nn_conv_spec spec = { .filter = { (size_t)tested->filter[0], (size_t)tested->filter[1] },
                                .stride = { (size_t)tested->stride[0], (size_t)tested->stride[1] },
                                .padding = tested->padding,
                                .bias = true,
                                .sigma_b = 0.4 };
    ad_axis n = nn_width(net, "n");
    x = tested->kind == LOCAL        ? nn_local_at(AD_HERE, net, "layer", x, n, &spec)
        : tested->kind == TRANSPOSED ? nn_conv_transpose_at(AD_HERE, net, "layer", x, n, &spec)
                                     : nn_conv_at(AD_HERE, net, "layer", x, n, &spec);
    return nn_readout(net, "out", nn_global_pool(net, ad_erf(x)));
}

/* The tangent kernel is the sum over parameters of products of differences. */
static void check_kernel(nn_net *net, const double *x, const char *name)
{
    const double step = 1e-5;
    ad_error error = { 0 };
    nn_model *model = nn_model_new(net, N, 7, AD_DOUBLE, 1, &error);
    size_t count = nn_model_size(model);
    double *w = nn_param_values(model, 0, NULL), found[ROWS * ROWS], sums[ROWS * ROWS] = { 0 };
    for (size_t p = 0; p < count; p++) {
        double start = w[p], side[2][ROWS];
        for (int k = 0; k < 2; k++) {
            w[p] = start + (k ? step : -step);
            cr_assert(nn_forward(model, x, ROWS, side[k], &error) == 0, "%s: %s", name, error.text);
        }
        w[p] = start;
        for (int i = 0; i < ROWS * ROWS; i++)
            sums[i] +=
                (side[1][i / ROWS] - side[0][i / ROWS]) * (side[1][i % ROWS] - side[0][i % ROWS]) / (4 * step * step);
    }
    cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, found, &error) == 0, "%s: %s", name, error.text);
    for (int i = 0; i < ROWS * ROWS; i++)
        cr_expect(fabs(found[i] - sums[i]) < 1e-8, "%s, %d: %g, not %g", name, i, found[i], sums[i]);
    nn_model_free(model);
}

Test(filter_kinds, compute_what_they_say)
{
    double x[ROWS * FEATURES], f[ROWS], truth[ROWS];
    make_inputs(x, ROWS * FEATURES);
    for (size_t n = 0; n < sizeof layers / sizeof *layers; n++) {
        tested = &layers[n];
        ad_error error = { 0 };
        nn_net *net = trace(build_one, tested->high, tested->wide);
        nn_model *model = nn_model_new(net, N, 3, AD_DOUBLE, 1, &error);
        cr_assert(nn_forward(model, x, ROWS, f, &error) == 0, "%s", error.text);
        plain_outputs(tested, model, x, truth);
        for (int i = 0; i < ROWS; i++)
            cr_expect_float_eq(f[i], truth[i], 1e-13, "%s: %g, not %g", tested->name, f[i], truth[i]);
        nn_model_free(model);
        check_kernel(net, x, tested->name);
        nn_net_free(net);
    }
}

/* A network's slopes along its inputs, whose kernels have the most axes that filters make. */
static ad_var slopes(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), outputs = nn_outputs(net);
    ad_var h = ad_tanh(nn_conv_with(net, "a", x, n, .bias = true, .sigma_b = 0.4));
    ad_var f = nn_readout(net, "out", nn_global_pool(net, ad_tanh(nn_conv(net, "b", h, n)))), dx;
    ad_backward(f, ad_delta(nn_graph(net), ad_prime(outputs), outputs), &x, 1, &dx, NULL);
    const ad_axis *axes = ad_shape_get(x)->axes; /* (batch, rows, columns, channels) */
    return ad_relabel(ad_sum(dx, ad_shape_of(axes[1], axes[2], axes[3])), ad_prime(outputs), outputs);
}

Test(filter_kinds, slopes_of_pictures_have_kernels)
{
    double x[ROWS * FEATURES];
    make_inputs(x, ROWS * FEATURES);
    nn_net *net = trace(slopes, HIGH, WIDE);
    check_kernel(net, x, "slopes");
    nn_net_free(net);
}

/* ---- groups ---- */
enum { FILTERS = 4, GROUPS = 2 };

static ad_var grouped(nn_net *net, ad_var x)
{
    ad_axis four = ad_fixed(nn_graph(net), "four", FILTERS);
    x = nn_conv_with(net, "a", x, four, .filter = { 2, 1 }, .padding = NN_VALID, .groups = GROUPS);
    return nn_readout(net, "out", nn_global_pool(net, nn_conv(net, "b", ad_tanh(x), nn_width(net, "n"))));
}

static ad_var only_groups(nn_net *net, ad_var x)
{
    x = nn_conv_with(net, "a", x, ad_fixed(nn_graph(net), "four", FILTERS), .filter = { 2, 1 }, .padding = NN_VALID,
                     .groups = GROUPS);
    return nn_flatten_readout(net, "out", x);
}

Test(filter_kinds, groups_have_filters_of_their_own)
{
    double x[ROWS * FEATURES], f[ROWS];
    ad_error error = { 0 };
    make_inputs(x, ROWS * FEATURES);
    nn_net *net = trace(only_groups, HIGH, WIDE);
    nn_model *model = nn_model_new(net, 1, 3, AD_DOUBLE, 1, &error);
    /* (groups, 2, 1, channels of a group, filters of a group); a group has one channel and two filters here */
    const double *w = nn_param_values(model, 0, NULL), *v = nn_param_values(model, 1, NULL);
    cr_assert(nn_forward(model, x, ROWS, f, &error) == 0, "%s", error.text);
    for (int row = 0; row < ROWS; row++) {
        double truth = 0;
        for (int at = 0; at < (HIGH - 1) * WIDE * FILTERS; at++) {
            int p = at / FILTERS, group = at % FILTERS / 2;
            for (int k = 0; k < 2; k++)
                truth += w[(group * 2 + k) * 2 + at % 2] * x[(row * HIGH * WIDE + p + k * WIDE) * CHANNELS + group] /
                         sqrt(2) * v[at] / sqrt((HIGH - 1) * WIDE * FILTERS);
        }
        cr_expect_float_eq(f[row], truth, 1e-13, "%g, not %g", f[row], truth);
    }
    nn_model_free(model);
    nn_net_free(net);
    net = trace(grouped, HIGH, WIDE);
    check_kernel(net, x, "groups");
    tp_program *program = tp_translate(net, &error);
    tp_kernel kernel;
    cr_expect(program && tp_limit(program, TP_NTK, x, ROWS, NULL, 0, NULL, &kernel, &error) != 0);
    cr_expect(strstr(error.text, "stays random at every width"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- what is refused ---- */
static ad_var groups_of_widths(nn_net *net, ad_var x)
{
    return nn_readout(net, "out", nn_global_pool(net, nn_conv_with(net, "a", x, nn_width(net, "n"), .groups = 2)));
}

static ad_var odd_groups(nn_net *net, ad_var x)
{
    return nn_flatten_readout(net, "out",
                              nn_conv_with(net, "a", x, ad_fixed(nn_graph(net), "four", FILTERS), .groups = 3));
}

static ad_var turned_around(nn_net *net, ad_var x)
{
    x = nn_conv_transpose_with(net, "a", x, nn_width(net, "n"), .padding = NN_CIRCULAR);
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var too_far(nn_net *net, ad_var x)
{
    x = nn_conv_transpose_with(net, "a", x, nn_width(net, "n"), .stride = { (size_t)1 << 40 });
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var too_many(nn_net *net, ad_var x)
{
    x = nn_conv_transpose_with(net, "a", x, nn_width(net, "n"), .stride = { 100000 });
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var no_padding(nn_net *net, ad_var x)
{
    x = nn_conv_with(net, "a", x, nn_width(net, "n"), .padding = (nn_padding)7);
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var turned_without_padding(nn_net *net, ad_var x)
{
    x = nn_conv_transpose_with(net, "a", x, nn_width(net, "n"), .padding = (nn_padding)7);
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var local_of_none(nn_net *net, ad_var x)
{
    x = nn_local_with(net, "a", x, nn_width(net, "n"), .filter = { 4 }, .padding = NN_VALID);
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var negative(nn_net *net, ad_var x)
{
    x = nn_conv_with(net, "a", x, nn_width(net, "n"), .stride = { (size_t)-1 });
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var twice_along(nn_net *net, ad_var x)
{
    ad_axis rows = ad_shape_get(x)->axes[1];
    x = nn_conv_with(net, "a", x, nn_width(net, "n"), .over = ad_shape_of(rows, rows));
    return nn_readout(net, "out", nn_global_pool(net, x));
}

static ad_var after_all_positions(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_global_pool(net, ad_relu(nn_conv(net, "a", x, n)));
    return nn_readout(net, "out", nn_conv(net, "b", x, n));
}

Test(filter_kinds, features_are_no_picture)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = 4 };
    cr_expect(!nn_trace(negative, &spec, &error));
    cr_expect(strstr(error.text, "its input is (batch, features): a network that takes pictures says so"), "%s",
              error.text);
}

Test(filter_kinds, bad_input_is_one_line)
{
    static const struct {
        nn_function function;
        const char *says;
    } wrong[] = { { groups_of_widths, "2 groups: the channels before and after, channels and n, are fixed" },
                  { odd_groups, "3 groups" },
                  { turned_around, "conv_transpose a: it has padding same or valid" },
                  { too_far, "one is out of range" },
                  { too_many, "one is out of range" },
                  { negative, "conv a: window 3, stride -1, dilation 1: one is not from 1 to" },
                  { twice_along, "conv a: the axis rows is there twice" },
                  { after_all_positions, "its input is (batch, n)" },
                  { no_padding, "conv a: padding 7: it is NN_SAME, NN_VALID or NN_CIRCULAR" },
                  { turned_without_padding, "conv_transpose a: it has padding same or valid" },
                  { local_of_none, "local a: a window of 4 along rows is larger than the picture" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        nn_spec spec = { .shape = { HIGH, WIDE, CHANNELS } };
        cr_expect(!nn_trace(wrong[i].function, &spec, &error), "%zu", i);
        cr_expect(strstr(error.text, wrong[i].says) && !strchr(error.text, '\n'), "%zu: %s", i, error.text);
    }
}

/* ---- statistics of a batch and its positions ---- */
static ad_var normalised(nn_net *net, ad_var x)
{
    ad_var u = nn_conv(net, "a", x, nn_width(net, "n"));
    const ad_axis *axes = ad_shape_get(u)->axes; /* (batch, rows, columns, n) */
    u = nn_batchnorm_with(net, "norm", u, .over = ad_shape_of(axes[0], axes[1], axes[2]));
    return nn_flatten_readout(net, "out", ad_tanh(u));
}

/* It is found by samples; means of 48 networks lie within 5 standard errors of both, and O(1/n). */
Test(filter_kinds, statistics_over_positions)
{
    enum { BATCH = 5, SEEDS = 48, WIDTH = 256 };
    double x[BATCH * FEATURES], mean[BATCH * BATCH] = { 0 }, squares[BATCH * BATCH] = { 0 }, one[BATCH * BATCH];
    ad_error error = { 0 };
    tp_kernel kernel;
    make_inputs(x, BATCH * FEATURES);
    nn_net *net = trace(normalised, HIGH, WIDE);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program && tp_limit(program, TP_NTK, x, BATCH, NULL, 0, NULL, &kernel, &error) == 0, "%s", error.text);
    cr_assert(kernel.deviations);
    for (int seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_model_new(net, WIDTH, (uint64_t)seed, AD_DOUBLE, 1, &error);
        cr_assert(model && nn_ntk(model, x, BATCH, NULL, 0, NN_MEAN, one, &error) == 0, "%s", error.text);
        for (int i = 0; i < BATCH * BATCH; i++) {
            double step = one[i] - mean[i];
            mean[i] += step / seed;
            squares[i] += step * (one[i] - mean[i]);
        }
        nn_model_free(model);
    }
    for (int i = 0; i < BATCH * BATCH; i++) {
        double is = kernel.terms[0].values[i], own = kernel.deviations[i];
        double off = 5 * sqrt(squares[i] / (SEEDS - 1.0) / SEEDS + own * own) + 4.0 / WIDTH * fabs(is);
        cr_expect(fabs(mean[i] - is) <= off, "%d: %g, not %g", i, mean[i], is);
    }
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}
