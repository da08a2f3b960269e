/* trace.c: networks of random calls of builders, right ones and wrong ones, in the order of the bytes. What is traced
 * is planned, run, differentiated, translated, printed, and solved by rules and by samples, all at sizes of a few; each
 * step gives a result or one line of error. */
#include "tests/fuzz/fuzz.h"
#include "tp/tp.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_VARS = 48, MOST_AXES = 24, MOST_CALLS = 40, ROWS = 2, FEATURES = 4, WIDTH = 3, LARGEST = 1 << 16 };

static struct {
    const uint8_t *at, *end;
    nn_net *net;
    ad_graph *graph;
    ad_var vars[MOST_VARS];
    ad_axis axes[MOST_AXES];
    int n_vars, n_axes;
} f;

static ad_var foreign; /* of another graph, whose variables no network may use */

static int byte(void)
{
    return f.at < f.end ? *f.at++ : 0;
}

/* ---- what calls are given ---- */
static ad_var var(void)
{
    int b = byte();
    if (b == 255)
        return (ad_var){ 0 };
    if (b == 254)
        return foreign;
    if (b == 253)
        return (ad_var){ f.graph, 1000 - 7 * byte() };
    return b >= 128 ? f.vars[b % f.n_vars] : f.vars[f.n_vars - 1 - b % (f.n_vars < 3 ? f.n_vars : 3)];
}

/* Mostly one of the variable's own. */
static ad_axis axis(ad_var of)
{
    int b = byte();
    const ad_shape *shape = b < 128 && of.graph == f.graph && !ad_failed(f.graph) ? ad_shape_get(of) : NULL;
    if (shape && shape->rank)
        return shape->axes[b % shape->rank];
    return b == 255 ? (ad_axis){ 0 } : f.axes[b % f.n_axes];
}

static ad_shape shape(ad_var of)
{
    int b = byte();
    ad_shape s = { .rank = b == 255 ? 9 : b == 254 ? -1 : b % 4 };
    for (int k = 0; k < s.rank && k < AD_MAX_RANK; k++)
        s.axes[k] = axis(of);
    return s;
}

static double number(void)
{
    static const double numbers[] = { 1, 0.5, -1, 2, 0, 3, -0.3, 1e-3, 1e300, NAN, INFINITY, -2.5 };
    return numbers[byte() % (int)(sizeof numbers / sizeof *numbers)];
}

static const char *name(void)
{
    static const char *const names[] = { "a", "b", "c", "d", "e.weight", "f", "*", "" };
    int b = byte();
    return b == 255 ? NULL : b >= 224 ? names[b % 8] : nn_name(f.net, "p%d", f.n_vars);
}

static void keep(ad_var v)
{
    if (f.n_vars < MOST_VARS)
        f.vars[f.n_vars++] = v;
}

static void keep_axis(ad_axis a)
{
    if (f.n_axes < MOST_AXES)
        f.axes[f.n_axes++] = a;
}

/* ---- calls ---- */
static void twice(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 2 * x[i];
}

static void two(size_t n, const double *x, double *y)
{
    (void)x;
    for (size_t i = 0; i < n; i++)
        y[i] = 2;
}

static void call_axes(int which)
{
    switch (which) {
    case 0:
        keep_axis(ad_fixed(f.graph, name(), (size_t)(byte() % 6)));
        break;
    case 1:
        keep_axis(ad_width(f.graph, name(), number()));
        break;
    case 2:
        keep_axis(nn_width(f.net, name()));
        break;
    case 3:
        keep_axis(ad_prime(axis(var())));
        break;
    default:
        keep_axis(ad_batch(f.graph, name()));
        break;
    }
}

static void call_leaf(int which)
{
    ad_var x = var();
    ad_init init = { .axis = axis(x), .deviation = number(), .multiplier = 1, .rate = byte() & 1 };
    switch (which) {
    case 0:
        keep(ad_param(f.graph, name(), shape(x), init));
        break;
    case 1:
        keep(ad_constant(f.graph, number(), shape(x)));
        break;
    case 2:
        keep(ad_delta(f.graph, init.axis, axis(x)));
        break;
    default:
        keep(ad_input(f.graph, name(), shape(x)));
        break;
    }
}

static void call_coordinates(int which)
{
    static const ad_function own = { .name = "own", .count = 2, .derivatives = { twice, two } };
    static const char *const words[] = { "relu", "tanh", "gelu", "leaky", "none", "" };
    ad_var x = var();
    int b = byte();
    switch (which) {
    case 0:
        keep(ad_unary_at(AD_HERE, (ad_op)(b % (AD_N_OPS + 3) - 1), x, number()));
        break;
    case 1:
        keep(ad_binary_at(AD_HERE, (ad_op)(b % (AD_N_OPS + 3) - 1), x, var()));
        break;
    case 2:
        keep(ad_binary_at(AD_HERE, (ad_op[]){ AD_ADD, AD_SUB, AD_MUL, AD_DIV }[b & 3], x, var()));
        break;
    case 3:
        keep(ad_scale_by(x, number(), axis(x), number()));
        break;
    case 4:
        keep(ad_custom_at(AD_HERE, b == 255 ? NULL : &own, b % 4 - 1, x));
        break;
    default:
        keep(nn_activation(f.net, b == 255 ? NULL : words[b % 6], x));
        break;
    }
}

static void call_sums(int which)
{
    ad_var x = var();
    switch (which) {
    case 0:
        keep(ad_contract(x, var(), shape(x)));
        break;
    case 1:
        keep(ad_matmul(x, var()));
        break;
    case 2:
        keep(ad_matmul_t(x, var()));
        break;
    case 3:
        keep(ad_sum(x, shape(x)));
        break;
    case 4:
        keep(ad_mean(x, shape(x)));
        break;
    case 5:
        keep(ad_logsumexp(x, axis(x)));
        break;
    case 6:
        keep(ad_softmax(x, axis(x)));
        break;
    case 7:
        keep(ad_max(x, axis(x)));
        break;
    default:
        keep(ad_argmax_at(AD_HERE, x, axis(x)));
        break;
    }
}

static void call_shapes(int which)
{
    ad_var x = var(), parts[3] = { x, x, x };
    ad_axis a = axis(x), b = axis(x), c = axis(x);
    size_t k = (size_t)(byte() % 6);
    int n = byte() % 4;
    ad_window window = { .start = k, .stride = (size_t)(byte() % 4), .dilation = byte() % 5 - 2 };
    switch (which) {
    case 0:
        keep(ad_expand(x, shape(x)));
        break;
    case 1:
        keep(ad_slice(x, a, k, (size_t)(byte() % 5), c));
        break;
    case 2:
        keep(ad_take(x, a, k));
        break;
    case 3:
        parts[1] = var();
        keep(ad_concat(parts, n, (ad_axis[]){ a, b, c }, axis(x)));
        break;
    case 4:
        keep(ad_stack(parts, n, c));
        break;
    case 5:
        keep(ad_merge(x, a, b, c));
        break;
    case 6:
        keep(ad_split(x, a, b, c));
        break;
    case 7:
        keep(ad_relabel(x, a, b));
        break;
    case 8:
        keep(ad_transpose(x, shape(x)));
        break;
    case 9:
        keep(ad_gather(x, var(), a));
        break;
    case 10:
        keep(ad_one_hot(x, a));
        break;
    case 11:
        keep(ad_scatter_at(AD_HERE, x, var(), a, shape(x)));
        break;
    case 12:
        keep(ad_windows(x, a, b, c, window));
        break;
    case 13:
        keep(ad_unwindows(x, a, b, c, window));
        break;
    default:
        keep(ad_pad(x, a, k, b));
        break;
    }
}

static void call_layers(int which)
{
    ad_var x = var();
    ad_axis a = axis(x), b = axis(x);
    bool bias = byte() & 1;
    nn_dense_spec dense = { .sigma_w = number(), .bias = bias, .sigma_b = bias ? 0.1 : 0, .orthogonal = byte() > 200 };
    nn_norm_spec norm = { .epsilon = byte() & 1 ? 0 : number(), .exact = byte() > 200, .affine = byte() & 1 };
    nn_conv_spec conv = { .filter = { (size_t)(byte() % 4) },
                          .stride = { (size_t)(byte() % 3) },
                          .padding = (nn_padding)(byte() % 4),
                          .bias = byte() & 1 };
    nn_pool_spec pool = { .window = { (size_t)(byte() % 4) }, .stride = { (size_t)(byte() % 3) } };
    nn_weight w;
    switch (which) {
    case 0:
        keep(nn_dense_at(AD_HERE, f.net, name(), x, a, NULL));
        break;
    case 1:
        keep(nn_dense_at(AD_HERE, f.net, name(), x, f.axes[2], &dense));
        break;
    case 2:
        w = byte() & 1 ? nn_orthogonal(f.net, name(), a, b, number()) : nn_make_weight(f.net, name(), a, b, number());
        keep(nn_apply(w, x));
        keep(nn_apply_t(w, var()));
        break;
    case 3:
        keep(nn_add_bias(nn_make_bias(f.net, name(), a, number()), x));
        break;
    case 4:
        keep(nn_embedding(f.net, name(), x, (size_t)(byte() % 5), a, number()));
        break;
    case 5:
        keep(nn_batchnorm_at(AD_HERE, f.net, name(), x, &norm));
        break;
    case 6:
        keep(nn_layernorm_at(AD_HERE, f.net, name(), x, &norm));
        break;
    case 7:
        keep(nn_groupnorm_at(AD_HERE, f.net, name(), x, (size_t)(byte() % 5), &norm));
        break;
    case 8:
        keep(nn_conv_at(AD_HERE, f.net, name(), x, f.axes[2], &conv));
        break;
    case 9:
        keep(nn_average_pool_at(AD_HERE, f.net, x, &pool));
        break;
    case 10:
        keep(nn_max_pool_at(AD_HERE, f.net, x, &pool));
        break;
    case 11:
        keep(nn_global_pool(f.net, x));
        break;
    case 12:
        keep(nn_flatten_readout(f.net, name(), x));
        break;
    case 13:
        keep(nn_padding_mask(f.net, x, (size_t)(byte() % 4)));
        break;
    default:
        nn_freeze(f.net, name());
        break;
    }
}

static void call_derivatives(int which)
{
    ad_var y = var(), wrt[2] = { var(), var() }, adjoints[2] = { { 0 }, { 0 } };
    if (which == 0 && ad_adjoints(y, var(), wrt, 2, adjoints) == 0) {
        keep(adjoints[0]);
        keep(adjoints[1]);
    } else if (which == 1)
        keep(ad_replace(y, &wrt[0], &wrt[1], 1));
}

static void call(void)
{
    static const struct {
        void (*call)(int which);
        int kinds;
    } calls[] = { { call_axes, 5 },    { call_leaf, 4 },    { call_coordinates, 6 }, { call_sums, 9 },
                  { call_shapes, 15 }, { call_layers, 15 }, { call_derivatives, 2 } };
    int b = byte(), kind = byte();
    b %= (int)(sizeof calls / sizeof *calls);
    calls[b].call(kind % calls[b].kinds);
}

static ad_var network(nn_net *net, ad_var x)
{
    f.net = net;
    f.graph = nn_graph(net);
    f.vars[0] = x;
    f.n_vars = 1;
    f.axes[0] = nn_batch(net);
    f.axes[1] = ad_shape_get(x)->axes[1];
    f.axes[2] = nn_width(net, "n");
    f.axes[3] = nn_width_ratio(net, "m", 2);
    f.n_axes = 4;
    int end = byte();
    for (int k = 0; k < MOST_CALLS && f.at < f.end && !ad_failed(f.graph); k++)
        call();
    ad_var last = f.vars[f.n_vars - 1];
    return end & 1 ? last : nn_readout(net, "readout", last);
}

/* ---- what is done with it ---- */
static const double inputs[ROWS * FEATURES] = { 1, 0, 2, 0.5, 0.25, 1, 0, -1 };

/* Rows of outputs, unless a node is too large for a look. */
static bool is_small(nn_net *net)
{
    ad_sizes sizes = { .n = WIDTH, .batches = { { nn_batch(net), ROWS } }, .n_batches = 1 };
    for (int k = 0; k < ad_graph_size(f.graph); k++)
        if (ad_elements(f.graph, &ad_node_of(f.graph, k)->shape, &sizes) > LARGEST)
            return false;
    return nn_n_outputs(net) <= 8;
}

static void run_finite(nn_net *net)
{
    ad_error error = { 0 };
    double out[ROWS * 8], kernel[ROWS * ROWS];
    nn_model *model = nn_model_new(net, WIDTH, 1, AD_DOUBLE, 1, &error);
    fuzz_verdict(!model, &error);
    if (!model)
        return;
    fuzz_verdict(nn_forward(model, inputs, ROWS, out, &error) != 0, &error);
    error = (ad_error){ 0 };
    fuzz_verdict(nn_ntk(model, inputs, ROWS, NULL, 0, NN_MEAN, kernel, &error) != 0, &error);
    error = (ad_error){ 0 };
    fuzz_verdict(nn_nngp(model, inputs, ROWS, NULL, 0, NN_MEAN, kernel, &error) != 0, &error);
    nn_model_free(model);
}

static void print(tp_program *program, FILE *sink)
{
    ad_error error = { 0 };
    tp_checks checks;
    char text[400];
    for (int style = TP_PAPER; style <= TP_JSON; style++) {
        error = (ad_error){ 0 };
        fuzz_verdict(tp_print(program, sink, (tp_style)style, &error) != 0, &error);
    }
    error = (ad_error){ 0 };
    fuzz_verdict(tp_print_recursion(program, sink, TP_PAPER, &error) != 0, &error);
    error = (ad_error){ 0 };
    fuzz_verdict(tp_check(program, &checks, &error) < 0, &error);
    error = (ad_error){ 0 };
    fuzz_verdict(tp_check_growth(program, text, sizeof text, &error) < 0, &error);
}

/* Expectations of functions of functions take time that grows with their square: a dozen are enough here. */
static bool is_shallow(void)
{
    enum { MOST = 12 };
    int count = 0;
    for (int k = 0; k < ad_graph_size(f.graph); k++) {
        ad_op op = ad_node_of(f.graph, k)->op;
        count += ad_is_unary(op) || op == AD_MUL || op == AD_DIV;
    }
    return count <= MOST;
}

static void solve(tp_program *program)
{
    static const tp_engine engines[] = { TP_ENGINE_EXACT, TP_ENGINE_SAMPLE };
    for (int k = 0; k < 4; k++) {
        ad_error error = { 0 };
        tp_kernel kernel = { 0 };
        tp_limit_spec spec = { .engine = engines[k / 2], .samples = 16, .runs = 2, .tolerance = k / 2 ? 0 : 1e-6 };
        int failed = tp_limit(program, k % 2 ? TP_NTK : TP_NNGP, inputs, ROWS, NULL, 0, &spec, &kernel, &error);
        fuzz_verdict(failed != 0, &error);
        for (int t = 0; !failed && t < kernel.n_terms; t++)
            for (int i = 0; i < ROWS * ROWS; i++)
                fuzz_holds(isfinite(kernel.terms[t].values[i]));
        tp_kernel_free(&kernel);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static FILE *sink;
    ad_error error = { 0 };
    ad_graph *other = ad_graph_new(&error);
    foreign = ad_input(other, "y", ad_shape_of(ad_fixed(other, "strange", 3)));
    sink = sink ? sink : fopen("/dev/null", "w");
    fuzz_holds(other && sink);
    f.at = bytes;
    f.end = bytes + count;
    nn_spec spec = { .features = FEATURES, .outputs = 2, .name = "fuzz" };
    spec.parametrization = (nn_parametrization)(byte() % 4);
    nn_net *net = nn_trace(network, &spec, &error);
    fuzz_verdict(!net, &error);
    if (net && is_small(net)) {
        run_finite(net);
        bool shallow = is_shallow(); /* before the backward pass is traced, too */
        tp_program *program = tp_translate(net, &error);
        fuzz_verdict(!program, &error);
        if (program)
            print(program, sink);
        if (program && shallow)
            solve(program);
        tp_program_free(program);
    }
    nn_net_free(net);
    ad_graph_free(other);
    return 0;
}
