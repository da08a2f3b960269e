/* PyTorch's tensors and ours: small files made here, PyTorch's recurrent cells in plain loops over its own tensors, and
 * which tensor is taken for which. No PyTorch is needed; tests/examples/limn/torch has the comparison with it. */
#include "nn/nn.h"
#include "nn/safetensors/safetensors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 4, FEATURES = 3, OUTPUTS = 2, STEPS = 3, ROWS = 3, MOST = 64, NUMBERS = 512 };

static const char *temporary(const char *name)
{
    static char paths[8][300];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "/tmp/limn-exchange-%ld-%s", (long)getpid(), name);
    return path;
}

/* ---- a model of PyTorch: its tensors ---- */
typedef struct {
    nn_tensor tensors[MOST];
    char names[MOST][64];
    double values[MOST][NUMBERS];
    size_t n;
} state;
static state torch;

/* Columns 0: a vector. */
static void add(const char *name, size_t rows, size_t columns)
{
    size_t k = torch.n++, count = rows * (columns ? columns : 1);
    cr_assert(k < MOST && count <= NUMBERS);
    snprintf(torch.names[k], sizeof torch.names[k], "%s", name);
    for (size_t i = 0; i < count; i++)
        torch.values[k][i] = 0.7 * sin(1.3 * (double)(k + 1) + 2.4 * (double)i + 0.1 * (double)(i * i));
    torch.tensors[k] = (nn_tensor){ .name = torch.names[k],
                                    .dtype = NN_F64,
                                    .rank = columns ? 2 : 1,
                                    .shape = { rows, columns },
                                    .data = torch.values[k] };
}

static void add_linear(const char *module, size_t out, size_t in)
{
    char name[64];
    snprintf(name, sizeof name, "%s.weight", module);
    add(name, out, in);
    snprintf(name, sizeof name, "%s.bias", module);
    add(name, out, 0);
}

static const double *values(const char *stem, int layer, const char *reverse)
{
    char name[64];
    snprintf(name, sizeof name, "%s%d%s", stem, layer, reverse);
    for (size_t k = 0; k < torch.n; k++)
        if (strcmp(torch.names[k], name) == 0)
            return torch.values[k];
    cr_assert(0, "no %s", name);
    return NULL;
}

static void write_torch(const char *path)
{
    ad_error error = { 0 };
    cr_assert(nn_tensors_write(path, torch.tensors, torch.n, NULL, 0, &error) == 0, "%s", error.text);
}

/* ---- the network that takes them ---- */
typedef struct {
    nn_net *net;
    nn_model *model;
} taken;

static taken take(const char *network, const char *const *settings, const char *path, const char *const *maps)
{
    ad_error error = { 0 };
    taken t;
    nn_spec spec = { .parametrization = NN_STANDARD, .settings = settings, .name = network };
    size_t width = 0;
    nn_input_kind input = nn_builtin_input(network);
    cr_assert(nn_import_sizes(nn_builtin(network), input, &spec, &width, path, maps, &error) == 0, "%s", error.text);
    if (input == NN_SEQUENCE)
        spec.shape[0] = STEPS;
    cr_assert((t.net = nn_trace(nn_builtin(network), &spec, &error)) != NULL, "%s", error.text);
    cr_assert((t.model = nn_model_new(t.net, width, 1, AD_DOUBLE, 1, &error)) != NULL, "%s", error.text);
    cr_assert(nn_import(t.model, path, maps, NULL, NULL, &error) == 0, "%s", error.text);
    return t;
}

static void let_go(taken *t)
{
    nn_model_free(t->model);
    nn_net_free(t->net);
}

/* What it exports, named as in the file at `path`, is that file's tensors, bit for bit. */
static void comes_back(const taken *t, const char *path)
{
    ad_error error = { 0 };
    char back[300]; /* its own: this is called often */
    snprintf(back, sizeof back, "%s-back", path);
    cr_assert(nn_export(t->model, back, path, NULL, AD_DOUBLE, NULL, NULL, &error) == 0, "%s", error.text);
    nn_tensors *file = nn_tensors_read(back, &error);
    cr_assert(file, "%s", error.text);
    for (size_t k = 0; k < torch.n; k++) {
        const nn_tensor *got = nn_tensors_find(file, torch.names[k]), *sent = &torch.tensors[k];
        cr_assert(got && got->rank == sent->rank && memcmp(got->shape, sent->shape, sizeof got->shape) == 0, "%s",
                  torch.names[k]);
        if (sent->dtype == NN_F64)
            cr_expect(memcmp(got->data, sent->data, got->count * sizeof(double)) == 0, "%s", torch.names[k]);
    }
    nn_tensors_free(file);
    remove(back);
}

static void sample_inputs(double *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = sin(0.5 + 1.9 * (double)i + 0.03 * (double)(i * i));
}

/* out = W x + b of PyTorch, rows first, first + 1, ... */
static void linear(const double *w, const double *b, size_t first, size_t out, size_t in, const double *x, double *y)
{
    for (size_t o = 0; o < out; o++) {
        y[o] = b ? b[first + o] : 0;
        for (size_t i = 0; i < in; i++)
            y[o] += w[(first + o) * in + i] * x[i];
    }
}

/* ---- recurrent layers ---- */
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* One direction of a layer on x (STEPS, in): its states are every `stride`-th numbers of h, (STEPS, ...). */
static void run_layer(int cell, int layer, const char *reverse, size_t in, const double *x, double *h, size_t stride)
{
    int gates = cell == 0 ? 1 : cell == 1 ? 3 : 4;
    const double *wi = values("rnn.weight_ih_l", layer, reverse), *wh = values("rnn.weight_hh_l", layer, reverse);
    const double *bi = values("rnn.bias_ih_l", layer, reverse), *bh = values("rnn.bias_hh_l", layer, reverse);
    double s[N] = { 0 }, c[N] = { 0 }, a[4][N], b[4][N];
    for (size_t k = 0; k < STEPS; k++) {
        size_t t = *reverse ? STEPS - 1 - k : k;
        for (int g = 0; g < gates; g++) {
            linear(wi, bi, (size_t)g * N, N, in, x + t * in, a[g]);
            linear(wh, bh, (size_t)g * N, N, N, s, b[g]);
        }
        for (size_t j = 0; j < N; j++) {
            double r = sigmoid(a[0][j] + b[0][j]), z = sigmoid(a[1 % gates][j] + b[1 % gates][j]);
            if (cell == 0) {
                s[j] = tanh(a[0][j] + b[0][j]);
            } else if (cell == 1) {
                double q = tanh(a[2][j] + r * b[2][j]);
                s[j] = (1 - z) * q + z * s[j];
            } else { /* i, f, g, o */
                c[j] = z * c[j] + r * tanh(a[2][j] + b[2][j]);
                s[j] = sigmoid(a[3][j] + b[3][j]) * tanh(c[j]);
            }
            h[t * stride + j] = s[j];
        }
    }
}

static const char *const cells[] = { "cell=torch_rnn", "cell=torch_gru", "cell=torch_lstm" };

static void add_recurrent(int cell, int layers, int directions)
{
    static const size_t gates[] = { 1, 3, 4 };
    static const char *const suffixes[] = { "", "_reverse" };
    torch.n = 0;
    for (int l = 0; l < layers; l++)
        for (int d = 0; d < directions; d++) {
            size_t rows = gates[cell] * N, in = l ? N * (size_t)directions : FEATURES;
            char name[64];
            snprintf(name, sizeof name, "rnn.weight_ih_l%d%s", l, suffixes[d]);
            add(name, rows, in);
            snprintf(name, sizeof name, "rnn.weight_hh_l%d%s", l, suffixes[d]);
            add(name, rows, N);
            snprintf(name, sizeof name, "rnn.bias_ih_l%d%s", l, suffixes[d]);
            add(name, rows, 0);
            snprintf(name, sizeof name, "rnn.bias_hh_l%d%s", l, suffixes[d]);
            add(name, rows, 0);
        }
    add_linear("head", OUTPUTS, N * (size_t)directions);
}

/* PyTorch's module in plain loops: both directions' states side by side, and the head of what is read of them. */
static void run_recurrent(int cell, int layers, int directions, int readout, const double *x, double *f)
{
    double h[STEPS * 2 * N], in[STEPS * 2 * N], read[2 * N] = { 0 };
    size_t width = N * (size_t)directions;
    memcpy(in, x, STEPS * FEATURES * sizeof *x);
    for (int l = 0; l < layers; l++) {
        for (int d = 0; d < directions; d++)
            run_layer(cell, l, d ? "_reverse" : "", l ? width : FEATURES, in, h + (size_t)d * N, width);
        memcpy(in, h, sizeof in);
    }
    for (size_t j = 0; j < width; j++) {
        size_t last = readout == 0 && j >= N ? 0 : STEPS - 1;
        read[j] = h[last * width + j];
        if (readout == 1) {
            read[j] = 0;
            for (size_t t = 0; t < STEPS; t++)
                read[j] += h[t * width + j] / STEPS;
        }
    }
    linear(torch.values[torch.n - 2], torch.values[torch.n - 1], 0, OUTPUTS, width, read, f);
}

Test(exchange, recurrent_layers_in_plain_loops)
{
    static const char *const readouts[] = { "readout=last", "readout=mean", "readout=last_step" };
    const char *path = temporary("rnn");
    double x[ROWS * STEPS * FEATURES], f[ROWS * OUTPUTS], g[OUTPUTS], worst = 0;
    sample_inputs(x, sizeof x / sizeof *x);
    for (int cell = 0; cell < 3; cell++)
        for (int layers = 1; layers <= 2; layers++)
            for (int directions = 1; directions <= 2; directions++)
                for (int readout = 0; readout < 3; readout++) {
                    const char *settings[] = { cells[cell], readouts[readout], layers == 2 ? "depth=2" : "depth=1",
                                               directions == 2 ? "bidirectional=yes" : "bidirectional=no", NULL };
                    add_recurrent(cell, layers, directions);
                    write_torch(path);
                    taken t = take("rnn", settings, path, NULL);
                    cr_assert(nn_model_width(t.model) == N && nn_n_outputs(t.net) == OUTPUTS);
                    cr_assert(nn_forward(t.model, x, ROWS, f, NULL) == 0);
                    for (size_t r = 0; r < ROWS; r++) {
                        run_recurrent(cell, layers, directions, readout, x + r * STEPS * FEATURES, g);
                        for (size_t o = 0; o < OUTPUTS; o++)
                            worst = fmax(worst, fabs(f[r * OUTPUTS + o] - g[o]));
                    }
                    comes_back(&t, path);
                    let_go(&t);
                }
    cr_log_info("outputs differ by %.2g", worst);
    cr_expect_lt(worst, 1e-14, "%g", worst);
    remove(path);
}

/* ---- layers by name, shape and number ---- */
Test(exchange, layers_follow_the_numbers_of_their_names)
{
    const char *path = temporary("mlp"), *settings[] = { "depth=11", "sigma_b=0", "phi=tanh", NULL };
    double x[ROWS * FEATURES], f[ROWS * OUTPUTS];
    sample_inputs(x, ROWS * FEATURES);
    torch.n = 0;
    add_linear("head", OUTPUTS, N);
    for (int l = 11; l-- > 0;) { /* backwards, and 10 after 9 */
        char name[32];
        snprintf(name, sizeof name, "layers.%d", l);
        add_linear(name, N, l ? N : FEATURES);
    }
    write_torch(path);
    taken t = take("mlp", settings, path, NULL);
    cr_assert(nn_forward(t.model, x, ROWS, f, NULL) == 0);
    for (size_t r = 0; r < ROWS; r++) {
        double h[N], u[N], g[OUTPUTS];
        memcpy(h, x + r * FEATURES, FEATURES * sizeof *h);
        for (int l = 0; l < 11; l++) {
            size_t k = 2 + 2 * (size_t)(10 - l);
            linear(torch.values[k], torch.values[k + 1], 0, N, l ? N : FEATURES, h, u);
            for (size_t j = 0; j < N; j++)
                h[j] = tanh(u[j]);
        }
        linear(torch.values[0], torch.values[1], 0, OUTPUTS, N, h, g);
        for (size_t o = 0; o < OUTPUTS; o++)
            cr_expect_float_eq(f[r * OUTPUTS + o], g[o], 1e-14);
    }
    comes_back(&t, path);
    let_go(&t);
    remove(path);
}

Test(exchange, batch_normalisation_has_five_tensors)
{
    const char *path = temporary("norm"), *settings[] = { "depth=1", "affine=yes", "sigma_b=0", NULL };
    static const int64_t count = 5;
    double x[ROWS * FEATURES], f[ROWS * OUTPUTS];
    sample_inputs(x, ROWS * FEATURES);
    torch.n = 0;
    add_linear("0", N, FEATURES);
    add_linear("1", N, 0);
    add("1.running_mean", N, 0);
    add("1.running_var", N, 0);
    for (size_t i = 0; i < N; i++)
        torch.values[5][i] = 0.5 + 0.3 * (double)i;
    add("1.num_batches_tracked", 1, 0);
    torch.tensors[6] = (nn_tensor){ .name = torch.names[6], .dtype = NN_I64, .data = &count };
    add_linear("3", OUTPUTS, N);
    write_torch(path);
    taken t = take("batchnorm", settings, path, NULL);
    cr_assert(nn_forward(t.model, x, ROWS, f, NULL) == 0);
    for (size_t r = 0; r < ROWS; r++) {
        double u[N], g[OUTPUTS];
        linear(torch.values[0], torch.values[1], 0, N, FEATURES, x + r * FEATURES, u);
        for (size_t j = 0; j < N; j++)
            u[j] = fmax(0, (u[j] - torch.values[4][j]) / sqrt(torch.values[5][j] + 1e-5) * torch.values[2][j] +
                               torch.values[3][j]);
        linear(torch.values[7], torch.values[8], 0, OUTPUTS, N, u, g);
        for (size_t o = 0; o < OUTPUTS; o++)
            cr_expect_float_eq(f[r * OUTPUTS + o], g[o], 1e-14);
    }
    comes_back(&t, path);
    let_go(&t);
    torch.values[5][1] = -1;
    write_torch(path);
    ad_error error = { 0 };
    t = (taken){
        nn_trace(nn_builtin("batchnorm"),
                 &(nn_spec){
                     .features = FEATURES, .outputs = OUTPUTS, .parametrization = NN_STANDARD, .settings = settings },
                 &error),
        NULL
    };
    t.model = nn_model_new(t.net, N, 1, AD_DOUBLE, 1, &error);
    cr_expect(nn_import(t.model, path, NULL, NULL, NULL, &error) != 0 && strstr(error.text, "running_var: number 1"),
              "%s", error.text);
    let_go(&t);
    remove(path);
}

/* ---- what is not clear is asked for ---- */
static void not_taken(const char *network, const char *const *settings, const char *const *maps, const char *words)
{
    const char *path = temporary("not");
    ad_error error = { 0 };
    nn_spec spec = { .parametrization = NN_STANDARD, .settings = settings, .name = network };
    size_t width = 0;
    write_torch(path);
    cr_expect(nn_import_sizes(nn_builtin(network), nn_builtin_input(network), &spec, &width, path, maps, &error) != 0,
              "%s: it is taken", words);
    cr_expect(strstr(error.text, words), "no \"%s\" in: %s", words, error.text);
    remove(path);
}

Test(exchange, what_fits_twice_is_asked_for)
{
    const char *settings[] = { "depth=2", "sigma_b=0", NULL }, *path = temporary("twins");
    const char *maps[] = { "a=dense1", "c.weight=readout.weight", "c.bias=readout.bias", NULL };
    const char *unknown[] = { "q=dense1", NULL }, *wrong[] = { "a.weight=dense1.bias", NULL }, *no[] = { "a", NULL };
    torch.n = 0;
    add_linear("a", N, N);
    add_linear("b", N, N);
    add_linear("c", N, N);
    not_taken("mlp", settings, NULL, "several tensors fit: of the file, a.weight (4, 4), a.bias (4), b.weight");
    not_taken("mlp", settings, unknown, "map q=dense1: no such tensor or module");
    not_taken("mlp", settings, wrong, "its tensors are not mlp's");
    not_taken("mlp", settings, no, "it must be TORCH=LIMN");
    write_torch(path);
    taken t = take("mlp", settings, path, maps);
    double *w = nn_param_values(t.model, 2, NULL); /* of dense2, which is what is left: b, turned */
    cr_expect_float_eq(w[1], torch.values[2][N], 0);
    let_go(&t);
    remove(path);
}

Test(exchange, every_tensor_has_its_place)
{
    const char *depth1[] = { "depth=1", NULL }, *biases[] = { "depth=1", "sigma_b=0", NULL };
    const char *lstm[] = { "cell=torch_lstm", NULL }, *one[] = { "cell=torch_gru", NULL };
    const char *raw[] = { "depth=1", "outputs=7", NULL };
    torch.n = 0;
    add_linear("0", N, FEATURES);
    add_linear("2", OUTPUTS, N);
    not_taken("mlp", depth1, NULL, "left of the file: 0.weight (4, 3), 0.bias (4)");
    not_taken("mlp", raw, NULL, "its tensors are not mlp's");
    not_taken("rnn", NULL, NULL, "of the network: layer1.W");
    add("extra.weight", 2, 9);
    not_taken("mlp", biases, NULL, "extra.weight (2, 9)");
    add_recurrent(1, 2, 1);
    not_taken("rnn", lstm, NULL, "rnn.weight_ih_l1 (12, 4)");
    not_taken("rnn", one, NULL, "rnn.weight_ih_l1 (12, 4)");
    torch.n = 0;
    add("weights", N, 0);
    not_taken("mlp", biases, NULL, "it holds no matrix");
}

Test(exchange, scales_are_for_others)
{
    const char *settings[] = { "depth=1", "sigma_b=0", NULL }, *path = temporary("scale");
    ad_error error = { 0 };
    torch.n = 0;
    add_linear("0", N, FEATURES);
    add_linear("2", OUTPUTS, N);
    write_torch(path);
    nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS, .settings = settings };
    taken t = { nn_trace(nn_builtin("mlp"), &spec, &error), NULL };
    t.model = nn_model_new(t.net, N, 1, AD_DOUBLE, 1, &error);
    cr_expect(nn_import(t.model, path, NULL, NULL, NULL, &error) != 0 && strstr(error.text, "nn_copy_weights"), "%s",
              error.text);
    error.text[0] = 0;
    cr_expect(nn_export(t.model, path, NULL, NULL, AD_DOUBLE, NULL, NULL, &error) != 0 &&
                  strstr(error.text, "standard scale"),
              "%s", error.text);
    let_go(&t);
    remove(path);
}

/* Number (row, column, in, out) of ours is (out, in, row, column) of PyTorch's; a readout of all positions is
 * (out, in * positions) there. */
Test(exchange, filters_have_their_entries_last)
{
    enum { HIGH = 4, WIDE = 3, CHANNELS = 2, FILTER = 3 };
    const char *settings[] = { "depth=1", "readout=flatten", NULL }, *path = temporary("filters");
    ad_error error = { 0 };
    nn_spec spec = {
        .shape = { HIGH, WIDE, CHANNELS }, .outputs = OUTPUTS, .parametrization = NN_STANDARD, .settings = settings
    };
    taken t = { nn_trace(nn_builtin("cnn"), &spec, &error), NULL };
    t.model = nn_model_new(t.net, N, 1, AD_DOUBLE, 1, &error);
    cr_assert(nn_export(t.model, path, NULL, NULL, AD_DOUBLE, NULL, NULL, &error) == 0, "%s", error.text);
    nn_tensors *file = nn_tensors_read(path, &error);
    const nn_tensor *w = nn_tensors_find(file, "conv1.weight"), *v = nn_tensors_find(file, "readout.weight");
    cr_assert(w && w->rank == 4 && w->shape[0] == N && w->shape[1] == CHANNELS && w->shape[2] == FILTER);
    cr_assert(v && v->rank == 2 && v->shape[0] == OUTPUTS && v->shape[1] == (size_t)N * HIGH * WIDE);
    const double *ours = nn_param_values(t.model, 0, NULL), *read = nn_param_values(t.model, 1, NULL);
    for (size_t i = 0; i < w->count; i++) {
        size_t entry = i % (FILTER * FILTER), in = i / (FILTER * FILTER) % CHANNELS, out = i / w->shape[1] / 9;
        cr_expect(nn_tensor_value(w, i) == ours[(entry * CHANNELS + in) * N + out]);
    }
    for (size_t i = 0; i < v->count; i++) {
        size_t entry = i % (HIGH * WIDE), in = i / (HIGH * WIDE) % N, out = i / v->shape[1];
        cr_expect(nn_tensor_value(v, i) == read[(entry * N + in) * OUTPUTS + out]);
    }
    nn_tensors_free(file);
    nn_model *again = nn_model_new(t.net, N, 2, AD_DOUBLE, 1, &error);
    cr_assert(nn_import(again, path, NULL, NULL, NULL, &error) == 0, "%s", error.text);
    size_t count;
    nn_param_values(again, 0, &count);
    cr_expect(memcmp(nn_param_values(again, 0, NULL), ours, count * sizeof *ours) == 0);
    nn_model_free(again);
    let_go(&t);
    remove(path);
}

/* Locally connected, transposed and grouped filters have other tensors there, and none that would not fit. */
static int filter_kind;

static ad_var other_filters(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), two = ad_fixed(nn_graph(net), "two", 2);
    ad_var u = filter_kind == 0   ? nn_local(net, "filters", x, n)
               : filter_kind == 1 ? nn_conv_transpose(net, "filters", x, n)
                                  : nn_conv_with(net, "filters", x, two, .groups = 2);
    return nn_flatten_readout(net, "readout", u);
}

Test(exchange, other_filters_are_refused)
{
    for (filter_kind = 0; filter_kind < 3; filter_kind++)
        for (int pictures = 0; pictures < 2; pictures++) {
            ad_error error = { 0 };
            nn_spec spec = { .shape = { 4, 2 }, .outputs = OUTPUTS, .parametrization = NN_STANDARD };
            if (pictures)
                memcpy(spec.shape, (size_t[]){ 4, 3, 2 }, 3 * sizeof *spec.shape);
            taken t = { nn_trace(other_filters, &spec, &error), NULL };
            cr_assert(t.net, "%s", error.text);
            t.model = nn_model_new(t.net, N, 1, AD_DOUBLE, 1, &error);
            cr_expect(nn_export(t.model, "/dev/null", NULL, NULL, AD_DOUBLE, NULL, NULL, &error) != 0 &&
                          strstr(error.text, "filters.weight") && strstr(error.text, "filters of Conv1d and Conv2d"),
                      "%d, %d: %s", filter_kind, pictures, error.text);
            let_go(&t);
        }
}

Test(exchange, names_of_an_export)
{
    const char *settings[] = { "depth=1", NULL }, *path = temporary("names");
    const char *maps[] = { "net.0=dense1", "out.w=readout.weight", NULL };
    const char *twice[] = { "x.weight=dense1.weight", "x=readout", NULL }, *none[] = { "x=dense9", NULL };
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = OUTPUTS, .parametrization = NN_STANDARD, .settings = settings };
    taken t = { nn_trace(nn_builtin("mlp"), &spec, &error), NULL };
    t.model = nn_model_new(t.net, N, 1, AD_DOUBLE, 1, &error);
    cr_assert(nn_export(t.model, path, NULL, maps, AD_FLOAT, NULL, NULL, &error) == 0, "%s", error.text);
    nn_tensors *file = nn_tensors_read(path, &error);
    const nn_tensor *w = nn_tensors_find(file, "net.0.weight"), *v = nn_tensors_find(file, "out.w");
    cr_assert(w && v && w->dtype == NN_F32 && w->shape[0] == N && w->shape[1] == FEATURES && v->shape[0] == OUTPUTS);
    cr_expect_float_eq(nn_tensor_value(w, 1), ((double *)nn_param_values(t.model, 0, NULL))[N], 1e-7);
    nn_tensors_free(file);
    cr_expect(nn_export(t.model, path, NULL, twice, AD_FLOAT, NULL, NULL, &error) != 0 &&
                  strstr(error.text, "two tensors would be called x.weight"),
              "%s", error.text);
    error.text[0] = 0;
    cr_expect(nn_export(t.model, path, NULL, none, AD_FLOAT, NULL, NULL, &error) != 0 &&
                  strstr(error.text, "map x=dense9"),
              "%s", error.text);
    let_go(&t);
    remove(path);
}

Test(exchange, survives_every_failed_allocation)
{
    const char *path = temporary("alloc"), *back = temporary("alloc-back");
    const char *settings[] = { "cell=torch_gru", NULL };
    add_recurrent(1, 1, 1);
    write_torch(path);
    taken t = take("rnn", settings, path, NULL);
    nn_function rnn = nn_builtin("rnn");
    for (long fail = 1, done = 0; !done; fail++) {
        ad_error error = { 0 };
        nn_spec spec = { .parametrization = NN_STANDARD, .settings = settings };
        size_t width = 0;
        ad_hook_allocation(fail);
        done = nn_import_sizes(rnn, NN_SEQUENCE, &spec, &width, path, NULL, &error) == 0 &&
               nn_import(t.model, path, NULL, NULL, NULL, &error) == 0 &&
               nn_export(t.model, back, path, NULL, AD_DOUBLE, NULL, NULL, &error) == 0 &&
               nn_save(t.model, back, &error) == 0 && nn_load(t.model, back, &error) == 0;
        ad_hook_allocation(0);
        cr_assert(done || error.text[0]);
        cr_assert(fail < 20000);
    }
    let_go(&t);
    remove(path);
    remove(back);
}

/* What torch.save writes, a zip file or an old pickle, is told as such. */
Test(exchange, files_of_torch_save_are_told)
{
    static const char *const starts[] = { "PK\x03\x04 and the rest", "\x80\x02\x8a\x0al\xfc and the rest" };
    char path[] = "/tmp/limn-torch-XXXXXX";
    int file = mkstemp(path);
    cr_assert(file >= 0);
    for (int k = 0; k < 2; k++) {
        ad_error error = { 0 };
        FILE *stream = fopen(path, "wb");
        cr_assert(stream && fputs(starts[k], stream) >= 0 && fclose(stream) == 0);
        cr_assert(!nn_tensors_read(path, &error));
        cr_expect(strstr(error.text, "torch.save") && strstr(error.text, "save_file"), "%s", error.text);
    }
    close(file);
    unlink(path);
}
