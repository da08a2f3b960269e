/* Files of weights: what they say of their network, who may take them, and what they are converted to. */
#include "nn/nn.h"
#include "nn/safetensors/safetensors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 4, FEATURES = 6, OUTPUTS = 3, WIDTH = 5 };

static const char *temporary(const char *name)
{
    static char paths[8][300];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "/tmp/limn-weights-%ld-%s", (long)getpid(), name);
    return path;
}

/* A network with its settings; of sequences, the features are two steps of three. */
typedef struct {
    const char *name, *settings[7];
    bool sequence;
} kind;

static const kind kinds[] = {
    { "mlp", { "sigma_w=1.3", "sigma_b=0.4", "depth=2" }, false },
    { "mlp", { "phi=identity", "depth=3", "sigma_w=0.7" }, false },
    { "batchnorm", { "affine=yes", "depth=2", "readout_bias=0.3" }, false },
    { "rnn", { "cell=gru", "sigma_b=0.4", "sigma_u=1.2" }, true },
    { "rnn", { "cell=torch_lstm", "sigma_b=0.4", "bidirectional=yes", "depth=2", "readout_bias=0.5" }, true },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static nn_net *trace_as(nn_function function, const char *name, bool sequence, size_t steps, int scale,
                        nn_sigma_in sigma_in, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .outputs = OUTPUTS,
                     .parametrization = (nn_parametrization)scale,
                     .sigma_in = sigma_in,
                     .settings = settings,
                     .name = name };
    if (sequence)
        spec.shape[0] = steps, spec.shape[1] = FEATURES / 2;
    else
        spec.features = FEATURES;
    nn_net *net = nn_trace(function, &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static nn_net *trace_kind(const kind *k, int scale, nn_sigma_in sigma_in)
{
    return trace_as(nn_builtin(k->name), k->name, k->sequence, 2, scale, sigma_in, k->settings);
}

static nn_model *draw(const nn_net *net, uint64_t seed)
{
    nn_model *model = nn_model_new(net, WIDTH, seed, AD_DOUBLE, 1, NULL);
    cr_assert(model);
    return model;
}

static void outputs_of(nn_model *model, double *f)
{
    double x[ROWS * FEATURES];
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(1 + 1.7 * i + 0.1 * i * i);
    cr_assert(nn_forward(model, x, ROWS, f, NULL) == 0);
}

static double difference(nn_model *a, nn_model *b)
{
    double f[ROWS * OUTPUTS], g[ROWS * OUTPUTS], worst = 0, most = 0;
    outputs_of(a, f);
    outputs_of(b, g);
    for (int i = 0; i < ROWS * OUTPUTS; i++) {
        worst = fmax(worst, fabs(f[i] - g[i]));
        most = fmax(most, fabs(f[i]));
    }
    cr_assert(most > 1e-3);
    return worst / most;
}

static void refused(nn_model *model, const char *path, const char *words)
{
    ad_error error = { 0 };
    cr_expect(nn_load(model, path, &error) != 0, "it is taken");
    cr_expect(strstr(error.text, words), "no \"%s\" in: %s", words, error.text);
}

/* ---- copies ---- */
/* Of what a model is now, statistics of batch normalisation with it; neither sees what the other becomes. */
Test(weights, a_copy_is_a_model_of_its_own)
{
    for (int k = 0; k < KINDS; k++) {
        ad_error error = { 0 };
        nn_net *net = trace_kind(&kinds[k], 0, (nn_sigma_in)0);
        nn_model *model = draw(net, 1), *fresh = draw(net, 1);
        double x[ROWS * FEATURES], y[ROWS * OUTPUTS], was[ROWS * OUTPUTS], is[ROWS * OUTPUTS];
        for (int i = 0; i < ROWS * FEATURES; i++)
            x[i] = cos(2.3 * i);
        for (int i = 0; i < ROWS * OUTPUTS; i++)
            y[i] = sin(i);
        nn_data data = { x, y, ROWS, 0 };
        nn_fit_spec spec = { .loss = NN_SQUARE, .optimizer = NN_SGD, .rate = 0.1, .steps = 3 };
        cr_assert(nn_fit(model, &data, &spec, NULL, &error) == 0, "%s", error.text);
        nn_model *copy = nn_model_copy(model, &error);
        cr_assert(copy, "%s", error.text);
        for (int t = 0; t < nn_n_statistics(net); t++) {
            size_t count, copied;
            const void *values = nn_statistic(model, t, &count), *same = nn_statistic(copy, t, &copied);
            cr_expect(count == copied && values != same && memcmp(values, same, count * sizeof(double)) == 0);
        }
        cr_expect(!(difference(copy, model) > 0));
        cr_expect_gt(difference(copy, fresh), 1e-6);
        outputs_of(copy, was);
        cr_assert(nn_fit(model, &data, &spec, NULL, &error) == 0, "%s", error.text);
        outputs_of(copy, is);
        cr_expect(memcmp(was, is, sizeof was) == 0);
        nn_model_free(model);
        outputs_of(copy, is);
        cr_expect(memcmp(was, is, sizeof was) == 0);
        nn_model_free(copy);
        nn_model_free(fresh);
        nn_net_free(net);
    }
    ad_error error = { 0 };
    cr_expect(!nn_model_copy(NULL, &error) && strstr(error.text, "the model that is copied"), "%s", error.text);
}

/* ---- scales ---- */
Test(weights, every_scale_becomes_every_other)
{
    const char *path = temporary("scales");
    double worst = 0;
    for (int k = 0; k < KINDS; k++)
        for (int from = 0; from < 8; from++) {
            ad_error error = { 0 };
            nn_net *net = trace_kind(&kinds[k], from / 2, (nn_sigma_in)(from % 2));
            nn_model *model = draw(net, 1);
            cr_assert(nn_save(model, path, &error) == 0, "%s", error.text);
            for (int to = 0; to < 8; to++) {
                nn_net *other_net = trace_kind(&kinds[k], to / 2, (nn_sigma_in)(to % 2));
                nn_model *other = draw(other_net, 2), *copy = draw(other_net, 3);
                cr_assert(nn_load(other, path, &error) == 0, "%s", error.text);
                cr_assert(nn_copy_weights(copy, model, &error) == 0, "%s", error.text);
                worst = fmax(worst, fmax(difference(model, other), difference(model, copy)));
                nn_model_free(other);
                nn_model_free(copy);
                nn_net_free(other_net);
            }
            nn_model_free(model);
            nn_net_free(net);
        }
    cr_log_info("outputs differ by %.2g", worst);
    cr_expect_lt(worst, 1e-13, "%g", worst);
    remove(path);
}

/* A weight that is used without what its scale multiplies it by. */
static ad_var raw_weight(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "hidden", n, n, 1);
    x = ad_tanh(nn_dense(net, "first", x, n));
    return nn_readout(net, "readout", ad_tanh(ad_matmul(x, w.omega)));
}

/* The scale is read, and changes more than multipliers. */
static ad_var reads_scale(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    x = nn_dense(net, "first", x, n);
    return nn_readout(net, "readout", nn_spec_of(net)->parametrization == NN_NTK ? ad_tanh(x) : ad_relu(x));
}

Test(weights, what_does_not_convert_exactly_is_refused)
{
    static const nn_function functions[] = { raw_weight, reads_scale };
    const char *path = temporary("raw");
    ad_error error = { 0 };
    for (int k = 0; k < 2; k++) {
        nn_net *ntk = trace_as(functions[k], "own.c", false, 0, NN_NTK, NN_SIGMA_INIT, NULL);
        nn_net *standard = trace_as(functions[k], "own.c", false, 0, NN_STANDARD, NN_SIGMA_INIT, NULL);
        nn_model *a = draw(ntk, 1), *b = draw(standard, 2), *c = draw(ntk, 3);
        cr_assert(nn_save(a, path, &error) == 0, "%s", error.text);
        refused(b, path, "of the scale ntk, the network's is standard");
        cr_expect(nn_copy_weights(b, a, NULL) != 0);
        cr_assert(nn_load(c, path, &error) == 0, "%s", error.text);
        cr_expect(difference(a, c) <= 0);
        nn_model_free(a);
        nn_model_free(b);
        nn_model_free(c);
        nn_net_free(ntk);
        nn_net_free(standard);
    }
    remove(path);
}

/* ---- other networks ---- */
static ad_var with_tanh(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", ad_tanh(nn_dense(net, "first", x, nn_width(net, "n"))));
}

static ad_var with_relu(nn_net *net, ad_var x)
{
    return nn_readout(net, "readout", ad_relu(nn_dense(net, "first", x, nn_width(net, "n"))));
}

static void expect_refusal(const char *path, nn_net *net, const char *words)
{
    nn_model *model = draw(net, 2), *before = draw(net, 2);
    refused(model, path, words);
    cr_expect(difference(model, before) <= 0, "changed by a refused file");
    nn_model_free(model);
    nn_model_free(before);
    nn_net_free(net);
}

Test(weights, another_network_is_refused)
{
    const char *path = temporary("another");
    ad_error error = { 0 };
    nn_function mlp = nn_builtin("mlp");
    const char *tanh2[] = { "phi=tanh", "depth=2", NULL }, *relu2[] = { "phi=relu", "depth=2", NULL };
    const char *tanh1[] = { "phi=tanh", "depth=1", NULL }, *wide[] = { "phi=tanh", "depth=2", "sigma_w=2", NULL };
    const char *same[] = { "depth=2", "sigma_w=1.41421356237309510", "phi=tanh", NULL };
    nn_net *net = trace_as(mlp, "mlp", false, 0, NN_NTK, NN_SIGMA_INIT, tanh2);
    nn_model *model = draw(net, 1);
    cr_assert(nn_save(model, path, NULL) == 0);
    expect_refusal(path, trace_as(mlp, "mlp", false, 0, NN_NTK, NN_SIGMA_INIT, relu2), "phi=tanh, not phi=relu");
    expect_refusal(path, trace_as(mlp, "mlp", false, 0, NN_NTK, NN_SIGMA_INIT, tanh1), "depth=2, not depth=1");
    expect_refusal(path, trace_as(mlp, "mlp", false, 0, NN_MUP, NN_SIGMA_INIT, wide), "not sigma_w=2");
    expect_refusal(path, trace_as(nn_builtin("batchnorm"), "batchnorm", false, 0, NN_NTK, NN_SIGMA_INIT, tanh2),
                   "of the network mlp, not of batchnorm");
    nn_net *again = trace_as(mlp, "mlp", false, 0, NN_NTK, NN_SIGMA_INIT, same);
    nn_model *twin = draw(again, 2);
    cr_assert(nn_load(twin, path, &error) == 0, "%s", error.text);
    cr_expect(difference(twin, model) <= 0);
    nn_model_free(twin);
    nn_net_free(again);
    nn_model_free(model);
    nn_net_free(net);
    net = trace_as(with_tanh, "folder/own.c", false, 0, NN_NTK, NN_SIGMA_INIT, NULL);
    model = draw(net, 1);
    cr_assert(nn_save(model, path, NULL) == 0);
    expect_refusal(path, trace_as(with_relu, "own.c", false, 0, NN_NTK, NN_SIGMA_INIT, NULL),
                   "does not compute what it computed");
    again = trace_as(with_tanh, "renamed.c", false, 0, NN_NTK, NN_SIGMA_INIT, NULL);
    twin = draw(again, 2);
    cr_assert(nn_load(twin, path, &error) == 0, "%s", error.text); /* the trace is the same */
    nn_model_free(twin);
    nn_net_free(again);
    nn_model_free(model);
    nn_net_free(net);
    remove(path);
}

/* Weights know nothing of the number of steps; whether they convert is then not shown. */
Test(weights, longer_sequences_take_the_weights_of_their_scale)
{
    const char *path = temporary("longer");
    ad_error error = { 0 };
    nn_function rnn = nn_builtin("rnn");
    nn_net *two = trace_as(rnn, "rnn", true, 2, NN_NTK, NN_SIGMA_INIT, NULL);
    nn_net *three = trace_as(rnn, "rnn", true, 3, NN_NTK, NN_SIGMA_INIT, NULL);
    nn_net *standard = trace_as(rnn, "rnn", true, 3, NN_STANDARD, NN_SIGMA_INIT, NULL);
    nn_model *a = draw(two, 1), *b = draw(three, 2), *c = draw(standard, 3);
    cr_assert(nn_save(a, path, NULL) == 0);
    cr_assert(nn_load(b, path, &error) == 0, "%s", error.text);
    cr_expect(memcmp(nn_param_values(a, 0, NULL), nn_param_values(b, 0, NULL), nn_model_size(a) * sizeof(double)) == 0);
    refused(c, path, "cannot be shown to convert exactly");
    nn_model_free(a);
    nn_model_free(b);
    nn_model_free(c);
    nn_net_free(two);
    nn_net_free(three);
    nn_net_free(standard);
    remove(path);
}

/* ---- what is said ---- */
Test(weights, a_file_says_its_network)
{
    const char *path = temporary("said"), *checkpoint = temporary("checkpoint");
    ad_error error = { 0 };
    const char *settings[] = { "depth=2", NULL };
    nn_net *net = trace_as(nn_builtin("mlp"), "mlp", false, 0, NN_MUP, NN_SIGMA_MULTIPLIER, settings);
    nn_model *model = draw(net, 1);
    double y[ROWS] = { 0, 1, 2, 0 }, x[ROWS * FEATURES] = { 1, 2, 3 };
    nn_data data = { x, y, ROWS, OUTPUTS };
    nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .steps = 2, .checkpoint = checkpoint };
    cr_assert(nn_save(model, path, &error) == 0, "%s", error.text);
    cr_assert(nn_fit(model, &data, &fit, NULL, &error) == 0, "%s", error.text);
    for (int k = 0; k < 2; k++) {
        nn_weights_info *info = nn_weights_info_read(k ? checkpoint : path, &error);
        cr_assert(info, "%s", error.text);
        cr_expect(info->tells_scale && info->parametrization == NN_MUP && info->sigma_in == NN_SIGMA_MULTIPLIER);
        cr_expect(strcmp(info->network, "mlp") == 0 && info->sample[0] == FEATURES && info->sample[1] == 0);
        cr_expect(info->type == AD_DOUBLE);
        bool depth = false, phi = false;
        for (const char *const *s = info->settings; *s; s++) {
            depth |= strcmp(*s, "depth=2") == 0;
            phi |= strcmp(*s, "phi=relu") == 0; /* a default */
        }
        cr_expect(depth && phi);
        nn_weights_info_free(info);
    }
    /* a fit goes on in its own scale alone */
    nn_net *other = trace_as(nn_builtin("mlp"), "mlp", false, 0, NN_NTK, NN_SIGMA_MULTIPLIER, settings);
    nn_model *resumed = draw(other, 2);
    fit.resume = checkpoint;
    fit.steps = 4;
    cr_expect(nn_fit(resumed, &data, &fit, NULL, &error) != 0 && strstr(error.text, "cannot resume"), "%s", error.text);
    cr_expect(strstr(error.text, "mup") && strstr(error.text, "ntk"), "%s", error.text);
    nn_model_free(resumed);
    nn_net_free(other);
    nn_model_free(model);
    nn_net_free(net);
    remove(path);
    remove(checkpoint);
}

/* ---- files that say nothing ---- */
static ad_var square(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var row = nn_embedding(net, "table", ad_constant(nn_graph(net), 2, ad_shape_of(nn_batch(net))), WIDTH, n, 1);
    x = ad_add(nn_dense(net, "first", x, n), row);
    return nn_readout(net, "readout", nn_dense(net, "second", ad_tanh(x), n));
}

Test(weights, layouts_are_told_or_asked_for)
{
    const char *path = temporary("layout");
    ad_error error = { 0 };
    nn_net *net = trace_as(square, "own.c", false, 0, NN_STANDARD, NN_SIGMA_INIT, NULL);
    nn_model *model = draw(net, 1), *other = draw(net, 2);
    static double turned[4][WIDTH * WIDTH + FEATURES * WIDTH];
    nn_tensor plain[4], torch[4];
    for (int k = 0; k < 4; k++) {
        ad_var p = nn_param(net, k);
        double *w = nn_param_values(model, k, NULL);
        const char *name = ad_node_of(nn_graph(net), p.id)->name;
        size_t in = strncmp(name, "first", 5) == 0 ? FEATURES : WIDTH, out = name[0] == 'r' ? OUTPUTS : WIDTH;
        plain[k] = (nn_tensor){ .name = name, .dtype = NN_F64, .rank = 2, .shape = { in, out }, .data = w };
        torch[k] = plain[k];
        if (name[0] == 't') /* a table's rows stay rows */
            continue;
        torch[k] = (nn_tensor){ .name = name, .dtype = NN_F64, .rank = 2, .shape = { out, in }, .data = turned[k] };
        for (size_t i = 0; i < in; i++)
            for (size_t o = 0; o < out; o++)
                turned[k][o * in + i] = w[i * out + o];
    }
    cr_assert(nn_tensors_write(path, plain, 4, NULL, 0, NULL) == 0);
    refused(other, path, "second.weight is square (5, 5)");
    cr_assert(nn_load_layout(other, path, NN_LAYOUT_IN_OUT, &error) == 0, "%s", error.text);
    cr_expect(difference(model, other) <= 0);
    cr_expect(nn_load_layout(other, path, NN_LAYOUT_OUT_IN, &error) != 0);
    cr_assert(nn_tensors_write(path, torch, 4, NULL, 0, NULL) == 0);
    error.text[0] = 0;
    nn_model *last = draw(net, 3);
    cr_expect(nn_load_layout(last, path, NN_LAYOUT_IN_OUT, &error) != 0 && strstr(error.text, "shape (5, 6)"));
    refused(last, path, "if it is (out, in), as PyTorch has it");
    error.text[0] = 0;
    cr_assert(nn_load_layout(last, path, NN_LAYOUT_OUT_IN, &error) == 0, "%s", error.text);
    cr_expect(difference(model, last) <= 0);
    cr_assert(nn_save(model, path, NULL) == 0);
    cr_expect(nn_load_layout(last, path, NN_LAYOUT_OUT_IN, &error) != 0 && strstr(error.text, "it says"), "%s",
              error.text);
    nn_model_free(model);
    nn_model_free(other);
    nn_model_free(last);
    nn_net_free(net);
    remove(path);
}

/* ---- types ---- */
static void put(const char *path, const char *header, const void *data, size_t size)
{
    uint64_t length = strlen(header);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(&length, 8, 1, file) == 1 && fwrite(header, 1, length, file) == length &&
              fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

Test(weights, numbers_of_every_type)
{
    const char *path = temporary("types");
    unsigned char data[64] = { 1, 200 };
    const uint16_t half[] = { 0x3c00, 0xc000, 0x7bff, 0x0001, 0x83ff, 0x7c00, 0x0400 };
    const double halves[] = { 1, -2, 65504, 0x1p-24, -0x1.ff8p-15, INFINITY, 0x1p-14 };
    const uint16_t brain[] = { 0x3f80, 0xc040, 0x4049 };
    const double brains[] = { 1, -3, 3.140625 };
    const int32_t whole = -70000;
    const int64_t count = 123456789012;
    memcpy(data + 2, half, sizeof half);
    memcpy(data + 16, brain, sizeof brain);
    memcpy(data + 22, &whole, 4);
    memcpy(data + 26, &count, 8); /* not aligned */
    put(path,
        "{\"u\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
        "\"h\":{\"dtype\":\"F16\",\"shape\":[7],\"data_offsets\":[2,16]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[16,22]},"
        "\"i\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[22,26]},"
        "\"l\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[26,34]}}",
        data, 34);
    ad_error error = { 0 };
    nn_tensors *file = nn_tensors_read(path, &error);
    cr_assert(file, "%s", error.text);
    for (size_t i = 0; i < 7; i++)
        cr_expect(!(nn_tensor_value(nn_tensors_find(file, "h"), i) < halves[i]) &&
                      !(nn_tensor_value(nn_tensors_find(file, "h"), i) > halves[i]),
                  "%zu: %g", i, nn_tensor_value(nn_tensors_find(file, "h"), i));
    for (size_t i = 0; i < 3; i++)
        cr_expect_float_eq(nn_tensor_value(nn_tensors_find(file, "b"), i), brains[i], 0);
    cr_expect_float_eq(nn_tensor_value(nn_tensors_find(file, "u"), 1), 200, 0);
    cr_expect_float_eq(nn_tensor_value(nn_tensors_find(file, "i"), 0), -70000, 0);
    cr_expect_float_eq(nn_tensor_value(nn_tensors_find(file, "l"), 0), 123456789012.0, 0);
    nn_tensors_free(file);
    remove(path);
}

/* Half precision is taken, PyTorch's count is left out, and a damaged multiplier is told. */
Test(weights, what_stands_beside_the_weights)
{
    const char *path = temporary("beside");
    ad_error error = { 0 };
    nn_net *net = trace_as(with_tanh, "own.c", false, 0, NN_NTK, NN_SIGMA_INIT, NULL);
    nn_net *standard = trace_as(with_tanh, "own.c", false, 0, NN_STANDARD, NN_SIGMA_INIT, NULL);
    nn_model *model = draw(net, 1), *other = draw(standard, 2);
    uint16_t first[FEATURES * WIDTH], readout[WIDTH * OUTPUTS];
    int64_t count = 7;
    for (int i = 0; i < FEATURES * WIDTH; i++)
        first[i] = 0x3c00;
    for (int i = 0; i < WIDTH * OUTPUTS; i++)
        readout[i] = 0xbf80;
    nn_tensor tensors[] = {
        { .name = "norm.num_batches_tracked", .dtype = NN_I64, .data = &count },
        { .name = "first.weight", .dtype = NN_F16, .rank = 2, .shape = { FEATURES, WIDTH }, .data = first },
        { .name = "readout.weight", .dtype = NN_BF16, .rank = 2, .shape = { WIDTH, OUTPUTS }, .data = readout },
    };
    cr_assert(nn_tensors_write(path, tensors, 3, NULL, 0, NULL) == 0);
    cr_assert(nn_load(model, path, &error) == 0, "%s", error.text);
    cr_expect_float_eq(((double *)nn_param_values(model, 0, NULL))[3], 1, 0);
    cr_expect_float_eq(((double *)nn_param_values(model, 1, NULL))[3], -1, 0);
    tensors[1].dtype = NN_I16;
    cr_assert(nn_tensors_write(path, tensors, 3, NULL, 0, NULL) == 0);
    refused(model, path, "first.weight: type I16");
    cr_assert(nn_save(model, path, NULL) == 0);
    size_t size;
    char *bytes = ad_file_read(path, SIZE_MAX, &size, NULL);
    char *at = strstr(bytes + 8, "multiplier.first"); /* the header */
    cr_assert(at);
    at[1] = 'U';
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    refused(other, path, "what its scale multiplies first.weight by");
    ad_free(bytes);
    nn_model_free(model);
    nn_model_free(other);
    nn_net_free(net);
    nn_net_free(standard);
    remove(path);
}
