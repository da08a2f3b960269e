/* Derived exponents against those that finite networks show: widths from 128 to 1024, the root mean square of every
 * hidden vector and of the output at the start and of their change after steps, in double precision. */
#include "limn.h"
#include "tests/support/trials.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 4, FEATURES = 6, WIDTHS = 4, MOST = 64 };
static const size_t widths[WIDTHS] = { 128, 256, 512, 1024 };

static ad_var residual(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (int block = 1; block <= 2; block++) {
        ad_var z = nn_layernorm(net, nn_name(net, "norm%d", block), h);
        h = ad_add(h, nn_dense(net, nn_name(net, "block%d", block), ad_relu(z), n));
    }
    return nn_readout(net, "readout", ad_tanh(h));
}

/* Exponents of one's own, set as a parametrization by hand: a first layer of fixed size, a hidden layer, a readout. */
static double own[3][3];
static ad_var by_hand(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), features = ad_shape_get(x)->axes[1], out = nn_outputs(net);
    ad_graph *graph = nn_graph(net);
    static const char *const names[] = { "input", "hidden", "readout" };
    ad_var h = x;
    for (int k = 0; k < 3; k++) {
        ad_axis from = k ? n : features, to = k < 2 ? n : out;
        ad_axis second = k == 1 ? ad_prime(n) : to;
        ad_var w = ad_param(graph, names[k], ad_shape_of(from, second),
                            (ad_init){ .axis = n,
                                       .deviation = 1,
                                       .deviation_power = 0 - own[k][1],
                                       .multiplier = 1,
                                       .multiplier_power = 0 - own[k][0],
                                       .rate = 1,
                                       .rate_power = 0 - own[k][2] });
        h = ad_scale_by(ad_matmul(h, w), k ? 1 : 1 / sqrt(FEATURES), n, 0 - own[k][0]);
        h = k < 2 ? ad_tanh(h) : h;
    }
    return h;
}

typedef struct {
    const char *name;
    nn_function function;
    const char *const *settings;
    size_t shape[2];
} network;

/* How much wider than `widths`, and how much larger targets are. */
static size_t wider = 1;
static double farther = 1;
/* By how much powers of n differ that are not equal, and how many more seeds it takes to tell them. */
static double apart = 0.5;
static int more = 1;

static double x[ROWS * 3 * FEATURES], y[ROWS];

/* Targets are so large that the residuals are hardly random at the first steps. */
static void set_up(void)
{
    for (int i = 0; i < ROWS * 3 * FEATURES; i++)
        x[i] = sin(1 + 2.3 * (i / FEATURES) + 0.9 * (i % FEATURES) * (i / FEATURES + 1));
    for (int i = 0; i < ROWS; i++)
        y[i] = 30 * sin(2.0 * i);
}

TestSuite(regime, .init = set_up, .timeout = 600);

static nn_net *trace(const network *w, nn_parametrization scale)
{
    ad_error error = { 0 };
    nn_spec spec = { .shape = { w->shape[0], w->shape[1] },
                     .features = w->shape[0] ? 0 : FEATURES,
                     .parametrization = scale,
                     .settings = w->settings,
                     .name = w->name };
    nn_net *net = nn_trace(w->function, &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

/* Mean squares of a node's values and of their change over coordinates: their mean over seeds, and the mean of the
 * squared relative deviations from it, by seeds - 1. */
typedef struct {
    double mean, spread;
} mean_square;

enum { MOST_SEEDS = 64 };

static int seeds_at(size_t n)
{
    return more * (int)(wider > 1 ? 6144 / n : n < 256 ? 1024 / n : 4);
}

static void measure(const nn_net *net, size_t n, const tp_regime *r, const nn_fit_spec *spec, mean_square (*size)[2])
{
    int seeds = seeds_at(n);
    double targets[ROWS], (*squares)[2][MOST_SEEDS] = calloc((size_t)r->n_vectors, sizeof *squares);
    cr_assert(seeds <= MOST_SEEDS && squares);
    for (int i = 0; i < ROWS; i++)
        targets[i] = y[i] * farther;
    double *h[2] = { malloc(ROWS * n * sizeof **h), malloc(ROWS * n * sizeof **h) };
    for (int seed = 0; seed < seeds; seed++) {
        ad_error error = { 0 };
        nn_model *model = nn_model_new(net, n, (uint64_t)seed + 1, AD_DOUBLE, 1, &error);
        nn_model *start = nn_model_new(net, n, (uint64_t)seed + 1, AD_DOUBLE, 1, &error);
        cr_assert(model && start && nn_fit(model, &(nn_data){ x, targets, ROWS, 0 }, spec, NULL, &error) == 0, "%s",
                  error.text);
        for (int v = 0; v < r->n_vectors; v++) {
            ad_var node = { nn_graph(net), r->vectors[v].node };
            size_t count = ad_shape_get(node)->rank == 2 ? ROWS * (v + 1 < r->n_vectors ? n : 1) : 0;
            cr_assert(nn_activations(start, node, x, ROWS, h[0], &error) == 0 &&
                          nn_activations(model, node, x, ROWS, h[1], &error) == 0,
                      "%s", error.text);
            for (size_t i = 0; i < count; i++) {
                squares[v][0][seed] += h[0][i] * h[0][i] / (double)count;
                squares[v][1][seed] += (h[1][i] - h[0][i]) * (h[1][i] - h[0][i]) / (double)count;
            }
        }
        nn_model_free(model);
        nn_model_free(start);
    }
    for (int v = 0; v < r->n_vectors; v++)
        for (int c = 0; c < 2; c++) {
            size[v][c] = (mean_square){ 0 };
            for (int k = 0; k < seeds; k++)
                size[v][c].mean += squares[v][c][k] / seeds;
            for (int k = 0; k < seeds; k++)
                size[v][c].spread += pow(squares[v][c][k] / size[v][c].mean - 1, 2) / (seeds - 1);
        }
    free(squares);
    free(h[0]);
    free(h[1]);
}

/* Of 1,600 slopes that are powers one is refused with a probability of 0.005 at most, by Student's law. */
#define TAIL 3e-6
/* What widths as small as these may make of a power. */
#define NEAR 0.06

/* Whether the logarithm of the root has a slope of that power, as shown: within NEAR and so many standard errors as
 * TAIL says. The relative spread from seed to seed is pooled over the widths, at which it is alike or falls while the
 * seeds get fewer. Of a slope whose power is another, NEAR and 3 standard errors are not enough to be taken. */
static bool has_power(const mean_square *sizes, double power, char shown[40])
{
    double at[WIDTHS], values[WIDTHS], errors[WIDTHS], pooled = 0;
    int freedom = 0;
    for (int k = 0; k < WIDTHS; k++) {
        int seeds = seeds_at(widths[k] * wider);
        pooled += sizes[k].spread * (seeds - 1);
        freedom += seeds - 1;
    }
    for (int k = 0; k < WIDTHS; k++) {
        at[k] = log((double)widths[k]);
        values[k] = log(sizes[k].mean) / 2;
        errors[k] = sqrt(pooled / freedom / seeds_at(widths[k] * wider)) / 2 + 1e-9;
    }
    trial slope = trial_slope(WIDTHS, at, values, errors);
    double sure = ad_student(TAIL, freedom) * slope.squares;
    snprintf(shown, 40, "%.3f +- %.3f", slope.mean, slope.squares);
    cr_expect_lt(2 * NEAR + sure + 3 * slope.squares, apart, "%s tells no powers", shown);
    return fabs(slope.mean - power) < NEAR + sure;
}

/* Each vector's exponents against the fitted ones, after one step and, where they are stable, after four. */
static void compare(const network *w, nn_parametrization scale, nn_optimizer optimizer, double rate)
{
    ad_error error = { 0 };
    tp_regime r;
    nn_net *net = trace(w, scale);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program && tp_regime_find(program, &(tp_regime_spec){ .optimizer = optimizer }, &r, &error) == 0, "%s",
              error.text);
    cr_assert(r.n_vectors <= MOST);
    for (int several = 0; several <= r.stable; several++) {
        mean_square sizes[WIDTHS][MOST][2], values[2][WIDTHS];
        nn_fit_spec spec = { .loss = NN_SQUARE,
                             .optimizer = optimizer,
                             .rate = optimizer == NN_ADAM ? rate : rate / farther,
                             .steps = several ? 4 : 1 };
        for (int k = 0; k < WIDTHS; k++)
            measure(net, widths[k] * wider, &r, &spec, sizes[k]);
        for (int v = 0; v < r.n_vectors; v++) {
            const tp_growing *g = &r.vectors[v];
            for (int k = 0; k < WIDTHS; k++)
                for (int c = 0; c < 2; c++)
                    values[c][k] = sizes[k][v][c];
            char shown[40];
            double change = several ? g->several : g->response; /* small steps saturate nothing yet */
            cr_expect(v + 1 == r.n_vectors || has_power(values[0], g->start - g->front, shown),
                      "%s %s: %s starts with %s, derived %.3f", w->name, nn_parametrization_name(scale), g->name, shown,
                      g->start - g->front);
            cr_expect(has_power(values[1], change - g->front, shown),
                      "%s, %s, %s: %s (line %d) changes in %ld by %s, derived %.3f", w->name,
                      nn_parametrization_name(scale), nn_optimizer_name(optimizer), g->name, g->where.line, spec.steps,
                      shown, change - g->front);
        }
    }
    tp_regime_free(&r);
    tp_program_free(program);
    nn_net_free(net);
}

static tp_regime regime_of(const network *w, nn_parametrization scale, nn_optimizer optimizer)
{
    ad_error error = { 0 };
    tp_regime r;
    nn_net *net = trace(w, scale);
    tp_program *program = tp_translate(net, &error);
    const tp_regime_spec spec = { .optimizer = optimizer, .near = { 128, 1024 } };
    cr_assert(program && tp_regime_find(program, &spec, &r, &error) == 0, "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    return r;
}

static void expect_verdict(const network *w, nn_parametrization scale, nn_optimizer optimizer, const char *says)
{
    ad_error error = { 0 };
    tp_regime r;
    nn_net *net = trace(w, scale);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program && tp_regime_find(program, &(tp_regime_spec){ .optimizer = optimizer }, &r, &error) == 0, "%s",
              error.text);
    cr_expect(strstr(r.verdict, says), "%s, %s: %s, not %s", w->name, nn_parametrization_name(scale), r.verdict, says);
    tp_regime_free(&r);
    tp_program_free(program);
    nn_net_free(net);
}

static const char *const two_layers[] = { "depth=2", "phi=tanh", NULL }, *const recurrent[] = { "phi=tanh", NULL },
                         *const gated[] = { "cell=gru", "sigma_u=3", "sigma_w=3", NULL };
static const nn_optimizer optimizers[] = { NN_SGD, NN_MOMENTUM, NN_ADAM };
static const double rates[] = { 1e-5, 1e-5, 1e-4 };

static void compare_all(const network *w)
{
    for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++)
        for (int k = 0; k < 3; k++)
            compare(w, (nn_parametrization)scale, optimizers[k], rates[k]);
}

Test(regime, of_a_multilayer_perceptron)
{
    compare_all(&(network){ "mlp", nn_builtin("mlp"), two_layers, { 0 } });
}

Test(regime, of_a_recurrent_network)
{
    compare_all(&(network){ "rnn", nn_builtin("rnn"), recurrent, { 3, FEATURES } });
}

ParameterizedTestParameters(regime, of_a_gated_recurrent_network)
{
    static nn_parametrization scales[NN_N_PARAMETRIZATIONS]; /* each in a process of its own, as they take long */
    for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++)
        scales[scale] = (nn_parametrization)scale;
    return cr_make_param_array(nn_parametrization, scales, NN_N_PARAMETRIZATIONS);
}

/* What the reset gate changes is small: it leads at large widths only, and its gradients at targets as large as these
 * are above Adam's epsilon. */
ParameterizedTest(nn_parametrization *scale, regime, of_a_gated_recurrent_network)
{
    wider = 2;
    farther = 1000;
    const network gru = { "gru", nn_builtin("rnn"), gated, { 2, FEATURES } };
    for (int k = 0; k < 3; k++)
        if (optimizers[k] != NN_MOMENTUM || *scale == NN_MUP)
            compare(&gru, *scale, optimizers[k], rates[k]);
}

Test(regime, of_a_residual_network_with_layernorm)
{
    more = 2;
    compare_all(&(network){ "residual", residual, NULL, { 0 } });
}

/* Layers with nothing between them, whose factors the trace draws together. */
Test(regime, of_layers_without_functions_between)
{
    static const char *const settings[] = { "depth=3", "phi=identity", NULL };
    const network linear = { "linear", nn_builtin("mlp"), settings, { 0 } };
    more = 2;
    for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++)
        compare(&linear, (nn_parametrization)scale, NN_SGD, rates[NN_SGD]);
    expect_verdict(&linear, NN_NTK, NN_SGD,
                   "stable, in the kernel regime: hidden vectors change by order n^-0.5 at most");
}

/* A width by another name changes no verdict: gradients go back from what the readout has changed by. */
static ad_var named_widths(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 1);
    ad_var h = nn_dense(net, "embed", in, n);
    h = ad_add(h, nn_dense(net, "out", ad_relu(nn_dense(net, "in", h, m)), n));
    return nn_readout(net, "readout", nn_dense(net, "last", nn_dense(net, "before", h, m), n));
}

Test(regime, of_widths_by_other_names)
{
    const network named = { "named", named_widths, NULL, { 0 } };
    expect_verdict(&named, NN_MUP, NN_SGD, "stable, with feature learning");
    expect_verdict(&named, NN_MUP, NN_MOMENTUM, "stable, with feature learning");
    expect_verdict(&named, NN_MUP, NN_ADAM, "stable, with feature learning");
    expect_verdict(&named, NN_NTK, NN_SGD,
                   "stable, in the kernel regime: hidden vectors change by order n^-0.5 at most");
    more = 2;
    compare(&named, NN_MUP, NN_SGD, rates[NN_SGD]);
    compare(&named, NN_NTK, NN_SGD, rates[NN_SGD]);
}

/* mu-P with a readout that is too large, and with hidden rates of the NTK's size: two settings that nobody named. */
Test(regime, of_exponents_of_ones_own)
{
    static const double settings[2][3][3] = {
        { { -0.5, 0.5, 0 }, { 0, 0.5, 0 }, { 0.25, 0.5, 0 } },
        { { 0, 0, 0.25 }, { 0.5, 0, -0.5 }, { 0.75, 0, -0.5 } },
    };
    apart = 0.25;
    more = 6;
    for (int s = 0; s < 2; s++) {
        memcpy(own, settings[s], sizeof own);
        for (int k = 0; k < 3; k++)
            compare(&(network){ s ? "second" : "first", by_hand, NULL, { 0 } }, NN_NTK, optimizers[k], rates[k]);
    }
}

/* mu-P by the exponents of its kinds of parameters is mu-P, bit by bit; c left to the optimizer, under Adam as well. */
Test(regime, exponents_by_kind_are_a_parametrization)
{
    static const char *const abc[] = { "input=-0.5,0.5,-",      "bias=-0.5,0.5,-",   "hidden=0,0.5,-",
                                       "dense3.weight=0,0.5,-", "readout=0.5,0.5,-", NULL };
    static const char *const settings[] = { "depth=3", "sigma_b=0.3", "sigma_w=1", NULL };
    for (int k = 0; k < 3; k++) {
        double outputs[2][ROWS];
        for (int own_scale = 0; own_scale < 2; own_scale++) {
            ad_error error = { 0 };
            nn_spec spec = { .features = FEATURES,
                             .parametrization = own_scale ? NN_NTK : NN_MUP,
                             .settings = settings,
                             .abc = own_scale ? abc : NULL };
            nn_fit_spec fit = { .optimizer = optimizers[k], .rate = 1e-2, .steps = 5 };
            nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
            nn_model *model = net ? nn_model_new(net, 96, 4, AD_DOUBLE, 1, &error) : NULL;
            cr_assert(model && nn_fit(model, &(nn_data){ x, y, ROWS, 0 }, &fit, NULL, &error) == 0 &&
                          nn_forward(model, x, ROWS, outputs[own_scale], &error) == 0,
                      "%s", error.text);
            nn_model_free(model);
            nn_net_free(net);
        }
        for (int i = 0; i < ROWS; i++)
            cr_expect_float_eq(outputs[0][i], outputs[1][i], 1e-12 * fabs(outputs[0][i]), "%d: %.17g, %.17g", k,
                               outputs[0][i], outputs[1][i]);
    }
}

static void expect_refused(const char *abc, const char *says)
{
    ad_error error = { 0 };
    const char *const list[] = { abc, NULL };
    nn_net *net = nn_trace(nn_builtin("mlp"), &(nn_spec){ .features = FEATURES, .abc = list }, &error);
    cr_expect(!net && strstr(error.text, says), "%s: %s", abc, error.text);
    nn_net_free(net);
}

Test(regime, exponents_that_mean_nothing_are_refused)
{
    expect_refused("hidden=0.5,0", "PATTERN=A,B,C");
    expect_refused("hidden=0.5,0,0,0", "PATTERN=A,B,C");
    expect_refused("hidden=0.5,0,nan", "PATTERN=A,B,C");
    expect_refused("hidden=inf,0,0", "PATTERN=A,B,C");
    expect_refused("hidden=0.5 ,0,0", "PATTERN=A,B,C");
    expect_refused("=0,0,0", "PATTERN=A,B,C");
    expect_refused("hiden=0,0,0", "did you mean hidden?");
    expect_refused("gain=0,0,0", "fit no parameter: they are");
    expect_refused("readot.weight=0,0,0", "fit no parameter");
}

/* ---- verdicts ---- */
static ad_var deep(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", in, n);
    for (int block = 1; block <= 24; block++) {
        ad_var z =
            ad_relu(nn_dense(net, nn_name(net, "up%d", block), nn_layernorm(net, nn_name(net, "norm%d", block), h), n));
        h = ad_add(h, nn_dense(net, nn_name(net, "down%d", block), z, n));
    }
    return nn_readout(net, "readout", ad_tanh(h));
}

/* The line of the built-in mlp that has this text, as verdicts name it: "mlp.c:16". */
static const char *place_of(const char *text)
{
    static char place[32];
    char line[200];
    FILE *file = fopen(LIMN_SOURCE_DIR "/nn/networks/mlp.c", "r");
    int number = 0;
    cr_assert(file);
    do
        cr_assert(fgets(line, sizeof line, file), "no %s", text);
    while (number++, !strstr(line, text));
    fclose(file);
    snprintf(place, sizeof place, "mlp.c:%d", number);
    return place;
}

/* says, with the line that has `text` in the place of %s. */
static const char *at_line(const char *says, const char *text)
{
    static char all[200];
    const char *mark = strstr(says, "%s");
    snprintf(all, sizeof all, "%.*s%s%s", (int)(mark - says), says, place_of(text), mark + 2);
    return all;
}

Test(regime, verdicts_name_the_line)
{
    network mlp = { "mlp", nn_builtin("mlp"), two_layers, { 0 } }, tower = { "deep", deep, NULL, { 0 } };
    expect_verdict(&mlp, NN_NTK, NN_SGD, "stable, in the kernel regime: hidden vectors change by order n^-0.5 at most");
    expect_verdict(&mlp, NN_MUP, NN_SGD, "stable, with feature learning");
    expect_verdict(&mlp, NN_MUP, NN_ADAM, "stable, with feature learning");
    expect_verdict(&mlp, NN_STANDARD, NN_SGD,
                   at_line("not stable: h2 (%s) changes in the first step by order n^0.5", "nn_dense_at"));
    expect_verdict(&mlp, NN_NTK, NN_ADAM,
                   at_line("not stable: f (%s) changes in the first step by order n^0.5", "nn_readout_at"));
    expect_verdict(&mlp, NN_MEANFIELD, NN_SGD,
                   at_line("h2 (%s) vanishes, of order n^-0.5 at the start", "nn_dense_at"));
    expect_verdict(&tower, NN_MUP, NN_ADAM, "stable, with feature learning");
}

/* What a function is called with grows by its bias alone: tanh hides it from all that follows. */
static void expect_of_bias(double a, double c, bool learns, const char *says)
{
    static const char *const settings[] = { "depth=2", "phi=tanh", "sigma_b=0.5", NULL };
    char abc[40];
    ad_error error = { 0 };
    tp_regime r;
    snprintf(abc, sizeof abc, "bias=%g,0,%g", a, c);
    nn_net *net = nn_trace(nn_builtin("mlp"),
                           &(nn_spec){ .features = FEATURES,
                                       .settings = settings,
                                       .abc = (const char *const[]){ abc, NULL },
                                       .freeze = learns ? NULL : (const char *const[]){ "*.bias", NULL } },
                           &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    const tp_regime_spec spec = { .optimizer = NN_SGD, .parts = true };
    cr_assert(program && tp_regime_find(program, &spec, &r, &error) == 0, "%s", error.text);
    cr_expect(strstr(r.verdict, says), "%s: %s", abc, r.verdict);
    cr_expect_eq(r.n_vectors, r.stable ? 5 : 7);
    for (int v = 0; v < r.n_vectors; v++) {
        double largest = -INFINITY;
        for (int k = 0; k < r.n_params; k++)
            largest = fmax(largest, r.parts[v * r.n_params + k]);
        cr_expect_float_eq(largest, r.vectors[v].response, 1e-12, "%s: %s", abc, r.vectors[v].name);
    }
    tp_regime_free(&r);
    tp_program_free(program);
    nn_net_free(net);
}

Test(regime, a_bias_that_grows_is_told)
{
    expect_of_bias(-0.5, 0, false, at_line("b1) (%s) is, at the start, of order n^0.5", "nn_dense_at"));
    expect_of_bias(0, -5, true,
                   at_line("not stable: g1 + b1 (%s) changes in the first step by order n^4.5", "nn_dense_at"));
    expect_of_bias(0, 0, true, "stable, in the kernel regime");
    expect_of_bias(0.5, 0, false, "stable, in the kernel regime");
}

/* A sum of itself with itself, again and again: as many ways lead to the bias as no walk takes one by one. */
static ad_var doubled(nn_net *net, ad_var input)
{
    enum { TIMES = 200 };
    ad_var h = nn_dense_with(net, "layer", input, nn_width(net, "n"), .bias = true, .sigma_b = 1);
    for (int k = 0; k < TIMES; k++)
        h = ad_scale(ad_add(h, h), 0.5);
    return nn_readout(net, "readout", ad_tanh(h));
}

Test(regime, shared_sums_are_walked_once)
{
    ad_error error = { 0 };
    tp_regime r;
    nn_net *net = trace(&(network){ "doubled", doubled, NULL, { 0 } }, NN_NTK);
    tp_program *program = tp_translate(net, &error);
    cr_assert(tp_regime_find(program, &(tp_regime_spec){ .optimizer = NN_SGD }, &r, &error) == 0, "%s", error.text);
    cr_expect(strstr(r.verdict, "stable, in the kernel regime"), "%s", r.verdict);
    tp_regime_free(&r);
    tp_program_free(program);
    nn_net_free(net);
}

/* The largest part of a vector's response is the response, and what a parameter does not make it does not change: with
 * one rate for all the second layer learns by its own matrix, the input layer's part falls like n^-1/2. */
Test(regime, parts_of_a_step)
{
    ad_error error = { 0 };
    tp_regime r;
    nn_net *net = trace(&(network){ "mlp", nn_builtin("mlp"), two_layers, { 0 } }, NN_STANDARD);
    tp_program *program = tp_translate(net, &error);
    cr_assert(tp_regime_find(program, &(tp_regime_spec){ .optimizer = NN_SGD, .parts = true }, &r, &error) == 0);
    cr_assert(r.n_vectors == 5 && r.n_params == 3);
    static const double parts[5][3] = {
        { -0.5, -INFINITY, -INFINITY },
        { -0.5, -INFINITY, -INFINITY },
        { -0.5, 0.5, -INFINITY },
        { -0.5, 0.5, -INFINITY },
        { 0, 1, 1 },
    };
    for (int v = 0; v < r.n_vectors; v++) {
        double largest = -INFINITY;
        for (int k = 0; k < r.n_params; k++) {
            double part = r.parts[v * r.n_params + k];
            largest = fmax(largest, part);
            cr_expect(isinf(parts[v][k]) ? isinf(part) && part < 0 : fabs(part - parts[v][k]) < 1e-12,
                      "%s by %s: %g, not %g", r.vectors[v].name, r.params[k].name, part, parts[v][k]);
        }
        cr_expect_float_eq(largest, r.vectors[v].response, 1e-12, "%s", r.vectors[v].name);
    }
    tp_regime_free(&r);
    cr_assert(tp_regime_find(program, &(tp_regime_spec){ .optimizer = NN_SGD }, &r, &error) == 0);
    cr_expect_null(r.parts);
    tp_regime_free(&r);
    tp_program_free(program);
    nn_net_free(net);
}

/* Suggested powers are those of mu-P where a network starts as mu-P does; its readout may be another. */
Test(regime, suggested_rates_are_stable)
{
    ad_error error = { 0 };
    tp_regime r;
    nn_net *net = trace(&(network){ "mlp", nn_builtin("mlp"), two_layers, { 0 } }, NN_MUP);
    tp_program *program = tp_translate(net, &error);
    tp_abc abc[3] = { { NAN, NAN, 1 }, { NAN, NAN, -0.5 }, { NAN, NAN, 0 } };
    cr_assert(tp_regime_find(program, &(tp_regime_spec){ .optimizer = NN_SGD, .abc = abc }, &r, &error) == 0);
    cr_expect(!r.stable && r.suggestion && strstr(r.verdict, place_of("nn_dense_at")), "%s", r.verdict);
    for (int k = 0; k < 3; k++)
        cr_expect_float_eq(r.params[k].suggested, 0, 1e-12, "%s: %g", r.params[k].name, r.params[k].suggested);
    cr_expect_float_eq(r.params[0].change, -1, 1e-12);
    cr_expect_float_eq(r.params[1].change, 0.5, 1e-12);
    tp_regime_free(&r);
    tp_program_free(program);
    nn_net_free(net);
}

/* A learned number in front of each layer: df/ds = sum delta h is odd in the readouts, and of order one, not n^1/2. */
static ad_var numbered(nn_net *net, ad_var input)
{
    ad_var h = input;
    for (int layer = 1; layer <= 2; layer++) {
        const ad_init one = { .mean = 1, .rate = 1, .multiplier = 1 };
        ad_var s = ad_param(nn_graph(net), nn_name(net, "s%d", layer), (ad_shape){ 0 }, one);
        h = ad_tanh(ad_mul(nn_dense(net, nn_name(net, "dense%d", layer), h, nn_width(net, "n")), s));
    }
    return nn_readout(net, "readout", h);
}

Test(regime, gradients_of_numbers_cancel)
{
    const network net = { "numbered", numbered, NULL, { 0 } };
    expect_verdict(&net, NN_NTK, NN_SGD, "stable, with feature learning");
    expect_verdict(&net, NN_MUP, NN_SGD, "stable, with feature learning");
}

/* Residual blocks h + s W relu(h) with a learned number s each: 1 or 0 at the start, a function of the number, or a sum
 * of two. */
typedef enum {
    AS_ONE,
    AS_ZERO,
    IN_A_FUNCTION,
    AS_A_SUM,
    NUMBERS,
    IN_A_SIGMOID = NUMBERS,
    IN_A_TANH,
    OTHERS
} number_kind;
static number_kind numbers;

static ad_var number_of(nn_net *net, const char *name)
{
    ad_graph *graph = nn_graph(net);
    ad_init init = { .mean = numbers != AS_ZERO, .rate = 1, .multiplier = 1 };
    ad_axis two = ad_fixed(graph, "two", 2);
    ad_var s = ad_param(graph, name, numbers == AS_A_SUM ? ad_shape_of(two) : (ad_shape){ 0 }, init);
    if (numbers == IN_A_SIGMOID || numbers == IN_A_TANH)
        return numbers == IN_A_TANH ? ad_tanh(s) : ad_sigmoid(s);
    return numbers == AS_A_SUM ? ad_sum(s, ad_shape_of(two)) : numbers == IN_A_FUNCTION ? ad_square(s) : s;
}

static ad_var blocks_by_numbers(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", input, n);
    for (int block = 1; block <= 2; block++) {
        ad_var branch = nn_dense(net, nn_name(net, "dense%d", block), ad_relu(h), n);
        h = ad_add(h, ad_mul(branch, number_of(net, nn_name(net, "s%d", block))));
    }
    return nn_readout(net, "readout", ad_relu(h));
}

/* The mean log of the root mean square of what steps change in a vector. */
static double log_change(const nn_net *net, int id, size_t n, const nn_fit_spec *fit)
{
    enum { SEEDS = 32 };
    static double h[2][ROWS * 1024], targets[ROWS];
    ad_var node = { nn_graph(net), id };
    size_t count = ad_has(ad_shape_get(node), nn_outputs(net)) ? ROWS : ROWS * n;
    double sum = 0;
    for (int i = 0; i < ROWS; i++)
        targets[i] = y[i] / 10;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        ad_error error = { 0 };
        double squares = 0;
        nn_model *model = nn_model_new(net, n, seed, AD_DOUBLE, 1, &error);
        cr_assert(model && nn_activations(model, node, x, ROWS, h[0], &error) == 0 &&
                      nn_fit(model, &(nn_data){ x, targets, ROWS, 0 }, fit, NULL, &error) == 0 &&
                      nn_activations(model, node, x, ROWS, h[1], &error) == 0,
                  "%s", error.text);
        for (size_t i = 0; i < count; i++)
            squares += pow(h[1][i] - h[0][i], 2) / (double)count;
        sum += log(squares) / (2 * SEEDS);
        nn_model_free(model);
    }
    return sum;
}

/* The last two vectors change by order one, as is derived; and the network is freed. */
static void expect_order_one(nn_net *net)
{
    ad_error error = { 0 };
    tp_regime r;
    tp_program *program = tp_translate(net, &error);
    cr_assert(program && tp_regime_find(program, &(tp_regime_spec){ .optimizer = NN_SGD }, &r, &error) == 0, "%s",
              error.text);
    for (long steps = 1; steps <= 4; steps += 3) {
        const nn_fit_spec fit = { .loss = NN_SQUARE, .rate = 0.02, .steps = steps };
        for (int v = r.n_vectors - 2; v < r.n_vectors; v++) {
            int id = r.vectors[v].node;
            double slope = (log_change(net, id, 512, &fit) - log_change(net, id, 32, &fit)) / log(16);
            double power = steps > 1 ? r.vectors[v].several : r.vectors[v].first;
            cr_expect_float_eq(power, 0, 1e-12, "%d: %s, %g", numbers, r.vectors[v].name, power);
            cr_expect_float_eq(slope, 0, 0.25, "%d: %s by %ld steps: %g", numbers, r.vectors[v].name, steps, slope);
        }
    }
    tp_regime_free(&r);
    tp_program_free(program);
    nn_net_free(net);
}

/* Numbers change by order one, f and the blocks' sums as well, and no vector grows, step by step: of 32 logs at two
 * widths the slope is within 0.25 of 0, where one that is told to diverge is 0.5. */
Test(regime, learned_numbers_are_stable_in_the_kernel_scale)
{
    const network net = { "numbers", blocks_by_numbers, NULL, { 0 } };
    for (numbers = 0; numbers < NUMBERS; numbers++) {
        expect_verdict(&net, NN_NTK, NN_SGD, "stable, with feature learning");
        expect_verdict(&net, NN_NTK, NN_MOMENTUM, "stable, with feature learning");
        expect_verdict(&net, NN_NTK, NN_ADAM, "not stable: f ");
        expect_verdict(&net, NN_MUP, NN_SGD, "stable, with feature learning");
        expect_verdict(&net, NN_STANDARD, NN_SGD, "not stable");
        expect_order_one(trace(&net, NN_NTK));
    }
}

/* The same where numbers alone learn: by a sigmoid of one the change is a fifth of that by the number, and other
 * parameters, whose changes fall as n^-1/2, lead in it up to widths of thousands. */
Test(regime, numbers_alone_change_by_order_one)
{
    static const char *const frozen[] = { "*.weight", NULL };
    for (numbers = IN_A_SIGMOID; numbers < OTHERS; numbers++) {
        ad_error error = { 0 };
        nn_net *net = nn_trace(blocks_by_numbers, &(nn_spec){ .features = FEATURES, .freeze = frozen }, &error);
        cr_assert(net, "%s", error.text);
        expect_order_one(net);
    }
}

/* Sums of n^-1/2 c_i h_i over a width, beside a readout, h = relu: of order one where each term has a sign of its own,
 * n^1/2 where all share one, be it a number's, one of each output, or that of an average. */
typedef enum { BY_NUMBER, WITHIN, BY_OUTPUT, BY_GATE, BY_SQUARES, BY_ENTRIES, BY_MATRIX, SIGNS } sign_kind;
static sign_kind signs;

static ad_var signs_of(nn_net *net, ad_var h)
{
    ad_axis n = nn_width(net, "n"), out = nn_outputs(net);
    ad_shape shape = signs < BY_OUTPUT ? (ad_shape){ 0 } : signs == BY_OUTPUT ? ad_shape_of(out) : ad_shape_of(n);
    ad_var c = ad_param(nn_graph(net), "c", shape, (ad_init){ .deviation = 1, .rate = 1, .multiplier = 1 });
    if (signs == BY_OUTPUT)
        return ad_expand(c, ad_shape_of(nn_batch(net), n, out));
    if (signs == BY_MATRIX)
        return nn_dense(net, "mixed", ad_mul(h, c), n);
    if (signs < BY_OUTPUT || signs == BY_ENTRIES)
        return c;
    ad_var average = ad_scale_by(ad_sum(ad_mul(h, c), ad_shape_of(n)), 1, n, -0.5);
    return signs == BY_GATE ? ad_tanh(average) : ad_mul(ad_expand(ad_square(c), *ad_shape_get(h)), average);
}

static ad_var signed_sum(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "layer", input, n));
    ad_var all = ad_expand(h, ad_shape_of(nn_batch(net), n, nn_outputs(net)));
    ad_var terms = ad_mul(all, signs_of(net, h));
    ad_var sum = ad_scale_by(ad_sum(signs == WITHIN ? ad_tanh(terms) : terms, ad_shape_of(n)), 1, n, -0.5);
    return ad_add(nn_readout(net, "readout", h), sum);
}

static double size_of_output(const nn_net *net, size_t n)
{
    enum { SEEDS = 256 };
    double sum = 0, f[ROWS];
    for (int seed = 0; seed < SEEDS; seed++) {
        ad_error error = { 0 };
        nn_model *model = nn_model_new(net, n, (uint64_t)seed + 1, AD_DOUBLE, 1, &error);
        cr_assert(model && nn_forward(model, x, ROWS, f, &error) == 0, "%s", error.text);
        for (int i = 0; i < ROWS; i++)
            sum += f[i] * f[i] / (ROWS * SEEDS);
        nn_model_free(model);
    }
    return log(sum) / 2;
}

Test(regime, sums_cancel_where_terms_have_signs_of_their_own)
{
    const network w = { "signed", signed_sum, NULL, { 0 } };
    for (signs = 0; signs < SIGNS; signs++) {
        double power = signs < BY_ENTRIES ? 0.5 : 0;
        nn_net *net = trace(&w, NN_NTK);
        tp_regime r = regime_of(&w, NN_NTK, NN_SGD);
        double slope = (size_of_output(net, 512) - size_of_output(net, 32)) / log(16);
        cr_expect_float_eq(r.vectors[r.n_vectors - 1].start, power, 1e-12, "%d: %g", signs,
                           r.vectors[r.n_vectors - 1].start);
        cr_expect_float_eq(r.vectors[r.n_vectors - 1].near_start, power, 0.05, "%d: %g", signs,
                           r.vectors[r.n_vectors - 1].near_start);
        cr_expect_float_eq(slope, power, 0.15, "%d: %g", signs, slope);
        cr_expect(power < 0.5 || strstr(r.verdict, "not stable"), "%d: %s", signs, r.verdict);
        tp_regime_free(&r);
        nn_net_free(net);
    }
}

/* df/ds = c sum relu(h) / sqrt n at a number s that starts at 0: of order n^1/2, what one sign c shares does not
 * cancel, and f changes by its square. */
static ad_var behind_a_zero(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    const ad_init drawn = { .deviation = 1, .multiplier = 1 }, zero = { .rate = 1, .multiplier = 1 };
    ad_var h = ad_relu(nn_dense(net, "layer", input, n)), c = ad_param(nn_graph(net), "c", (ad_shape){ 0 }, drawn);
    ad_var s = ad_param(nn_graph(net), "s", (ad_shape){ 0 }, zero);
    ad_var m = ad_scale_by(ad_sum(ad_mul(ad_mul(h, c), s), ad_shape_of(n)), 1, n, -0.5);
    return ad_add(nn_readout(net, "readout", h), m);
}

Test(regime, gradients_of_one_sign_add_up)
{
    tp_regime r = regime_of(&(network){ "zero", behind_a_zero, NULL, { 0 } }, NN_NTK, NN_SGD);
    cr_expect(!r.stable);
    cr_expect_float_eq(r.vectors[r.n_vectors - 1].first, 1, 1e-12, "%g", r.vectors[r.n_vectors - 1].first);
    tp_regime_free(&r);
}

/* ---- normalisation without an epsilon ---- */
/* Ways to write it, and what is none although it looks like it. */
typedef enum { BY_RSQRT, BY_ROOT, BY_RECIPROCAL, APART, BY_POWER, SQUARED_SUM, WAYS } way;
enum { UNBOUNDED = WAYS, IN_TANH, TIMES_ANOTHER, IN_A_SUM, IN_A_MATRIX };
static int written;
static bool over_width, has_gain;

static ad_var reciprocal_root(ad_var v)
{
    ad_var one = ad_constant(v.graph, 1, (ad_shape){ 0 });
    return written == BY_RECIPROCAL ? ad_div(one, ad_sqrt(v)) : written == BY_POWER ? ad_power(v, -0.5) : ad_rsqrt(v);
}

static ad_var normalised_by_hand(nn_net *net, ad_var u)
{
    ad_axis n = ad_shape_get(u)->axes[1];
    ad_shape over = ad_shape_of(over_width ? n : nn_batch(net));
    ad_var m = ad_mean(u, over), c = ad_sub(u, m);
    ad_var v = written == SQUARED_SUM ? ad_mean(ad_mul(c, c), over) : ad_mean(ad_square(c), over);
    if (written == UNBOUNDED)
        v = ad_scale_by(v, 1, n, -1);
    if (written == BY_ROOT)
        return ad_div(c, ad_sqrt(v));
    ad_var r = reciprocal_root(v);
    if (written == APART)
        return ad_sub(ad_mul(u, r), ad_mul(m, r));
    return ad_mul(c, r);
}

/* What the reciprocal deviation r of a vector that vanishes enters besides. */
static ad_var another_use(nn_net *net, ad_var input, ad_var u, ad_axis n)
{
    ad_var v = ad_mean(ad_square(u), ad_shape_of(nn_batch(net))), r = ad_rsqrt(v);
    switch (written) {
    case IN_TANH:
        return ad_tanh(ad_mul(ad_tanh(r), nn_dense(net, "other", input, n)));
    case TIMES_ANOTHER:
        return ad_tanh(ad_mul(r, nn_dense(net, "other", input, n)));
    case IN_A_SUM:
        return ad_tanh(ad_add(ad_mul(r, u), r));
    default:
        return ad_tanh(nn_dense(net, "other", ad_mul(r, nn_dense(net, "before", input, n)), n));
    }
}

static ad_var normalised_net(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var u = nn_dense(net, "second", ad_tanh(nn_dense(net, "first", input, n)), n);
    return nn_readout(net, "readout",
                      written > UNBOUNDED ? another_use(net, input, u, n) : ad_tanh(normalised_by_hand(net, u)));
}

/* In mean field the second layer is of order n^-1/2: over a batch its reciprocal deviation is a vector that grows, over
 * the width a number. What is normalised is of order one, whatever the way it is written, and in every scale changes by
 * no more, as it is bounded; the second layer itself diverges in the standard scale alone. */
Test(regime, normalised_vectors_are_bounded)
{
    const network net = { "normalised", normalised_net, NULL, { 0 } };
    for (int k = 0; k < WAYS * 2; k++)
        for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++) {
            written = k / 2;
            over_width = k % 2;
            tp_regime r = regime_of(&net, (nn_parametrization)scale, NN_SGD);
            int factors = 0;
            cr_expect_eq(r.stable, scale != NN_STANDARD, "%d, %s: %s", k,
                         nn_parametrization_name((nn_parametrization)scale), r.verdict);
            for (int v = 0; v < r.n_vectors; v++) {
                factors += r.vectors[v].factor;
                cr_expect(r.vectors[v].factor || scale == NN_STANDARD || r.vectors[v].several < 1e-9, "%d, %s: %s", k,
                          nn_parametrization_name((nn_parametrization)scale), r.vectors[v].name);
            }
            bool shown = scale == NN_MEANFIELD && !over_width && written != BY_ROOT;
            cr_expect(shown ? factors > 0 : factors == 0 || scale == NN_STANDARD, "%d, %s: %d", k,
                      nn_parametrization_name((nn_parametrization)scale), factors);
            const tp_growing *z = &r.vectors[r.n_vectors - 2];
            cr_expect_float_eq(z->start, 0, 1e-12, "%d, %s: %s, %g", k,
                               nn_parametrization_name((nn_parametrization)scale), z->name, z->start);
            cr_expect(z->first < 1e-9 && z->several < 1e-9, "%d, %s: %s, %g", k,
                      nn_parametrization_name((nn_parametrization)scale), z->name, z->several);
            tp_regime_free(&r);
        }
}

/* c / (mean c^2k)^(1/2k) n^1/4 is of order n^1/4 for every k, as c is Gaussian; its own root mean square, which bounds
 * it exactly, is that of k = 1 alone. */
static int moment;
static bool divided;

static ad_var over_a_moment(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var c = nn_dense(net, "second", ad_tanh(nn_dense(net, "first", input, n)), n);
    ad_var m = ad_mean(ad_power(ad_square(c), moment), ad_shape_of(n));
    ad_var z = divided ? ad_div(c, ad_power(m, 0.5 / moment)) : ad_mul(c, ad_power(m, -0.5 / moment));
    return nn_readout(net, "readout", ad_scale_by(z, 1, n, 0.25));
}

Test(regime, other_moments_are_no_bound)
{
    const network net = { "moment", over_a_moment, NULL, { 0 } };
    for (int k = 0; k < 8; k++) {
        moment = k / 2 + 1;
        divided = k % 2;
        tp_regime r = regime_of(&net, NN_NTK, NN_SGD);
        double most = -INFINITY;
        for (int v = 0; v < r.n_vectors; v++)
            most = fmax(most, r.vectors[v].start);
        cr_expect_float_eq(most, 0.25, 1e-12, "%d: %g", k, most);
        cr_expect(!r.stable, "%d: %s", k, r.verdict);
        tp_regime_free(&r);
    }
}

/* The same factor breaks what takes it in by anything but a product that is of order one. */
Test(regime, factors_that_break_are_told)
{
    const network net = { "normalised", normalised_net, NULL, { 0 } };
    over_width = false;
    for (written = UNBOUNDED; written <= IN_A_MATRIX; written++) {
        tp_regime r = regime_of(&net, NN_MEANFIELD, NN_SGD);
        cr_expect(!r.stable && strstr(r.verdict, "not stable"), "%d: %s", written, r.verdict);
        for (int v = 0; v < r.n_vectors; v++)
            cr_expect(!r.vectors[v].factor || written == UNBOUNDED, "%d: %s", written, r.vectors[v].name);
        tp_regime_free(&r);
    }
}

/* c divided by the deviation of a vector u of order n^-1/2, which is put together with one of order one: u taken out
 * again, under a function in between, or both by their deviations or by that of their sum. */
typedef enum { TAKEN, BENT, BOTH_APART, BOTH_SUMMED, LANES } lane_kind;
static lane_kind lanes;

static ad_var over_a_part(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n"), two = ad_fixed(nn_graph(net), "two", 2);
    ad_var h = ad_tanh(nn_dense(net, "first", input, n)), c = nn_dense(net, "large", h, n);
    ad_var parts[2] = { c, ad_scale_by(nn_dense(net, "small", h, n), 1, n, -0.5) };
    ad_var all = ad_stack(parts, 2, two);
    if (lanes == BENT)
        all = ad_tanh(all);
    else if (lanes == BOTH_SUMMED)
        all = ad_sum(all, ad_shape_of(two));
    ad_var u = lanes == TAKEN || lanes == BENT ? ad_take(all, two, 1) : all;
    ad_var z = ad_sqrt(ad_mean(ad_square(u), ad_shape_of(n)));
    if (lanes == BOTH_APART)
        return nn_readout(net, "readout", ad_take(ad_div(ad_expand(c, *ad_shape_get(all)), z), two, 1));
    return nn_readout(net, "readout", ad_div(c, z));
}

Test(regime, parts_of_other_powers_divide_by_their_own)
{
    ad_error error = { 0 };
    for (lanes = 0; lanes < LANES; lanes++) {
        nn_net *net = trace(&(network){ "part", over_a_part, NULL, { 0 } }, NN_NTK);
        tp_program *program = tp_translate(net, &error);
        cr_assert(program, "%s", error.text);
        tp_regime r;
        int found = tp_regime_find(program, &(tp_regime_spec){ .optimizer = NN_SGD }, &r, &error);
        if (lanes == TAKEN || lanes == BOTH_SUMMED) {
            cr_expect(found == 0, "%d: %s", lanes, error.text);
            double f = r.vectors[r.n_vectors - 1].start, power = lanes == TAKEN ? 0.5 : 0;
            cr_expect_float_eq(f, power, 1e-12, "%d: %g", lanes, f);
            cr_expect_float_eq((size_of_output(net, 512) - size_of_output(net, 32)) / log(16), power, 0.1);
        } else {
            cr_expect(found != 0 && strstr(error.text, "divide by each before it is stacked"), "%d: %s", lanes,
                      error.text);
            error = (ad_error){ 0 };
        }
        tp_regime_free(&r);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* Layer and batch normalisation as limn has them, with no epsilon at all. */
static bool over_batch;
static ad_var exactly_normalised(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", input, n);
    for (int layer = 1; layer <= 2; layer++) {
        const char *name = nn_name(net, "norm%d", layer);
        h = over_batch ? nn_batchnorm_with(net, name, h, .exact = true, .affine = has_gain)
                       : nn_layernorm_with(net, name, h, .exact = true, .affine = has_gain);
        h = nn_dense(net, nn_name(net, "dense%d", layer), ad_relu(h), n);
    }
    return nn_readout(net, "readout", ad_tanh(nn_layernorm_with(net, "last", h, .exact = true)));
}

Test(regime, exact_normalisation_is_stable_where_its_network_is)
{
    const network net = { "exact", exactly_normalised, NULL, { 0 } };
    for (int k = 0; k < 4; k++)
        for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++) {
            over_batch = k & 1;
            has_gain = k & 2;
            tp_regime r = regime_of(&net, (nn_parametrization)scale, NN_SGD);
            cr_expect_eq(r.stable, scale != NN_STANDARD, "%d, %s: %s", k,
                         nn_parametrization_name((nn_parametrization)scale), r.verdict);
            tp_regime_free(&r);
        }
}

/* ---- where functions bend, and where they saturate ---- */
/* A layer phi(n^-a U x) read out by n^-1/2 v, under sgd, between two widths, of inputs of size 1. */
static tp_regime regime_of_layer(const char *phi, double a)
{
    ad_error error = { 0 };
    tp_regime r;
    char set[40], abc[40];
    snprintf(set, sizeof set, "phi=%s", phi);
    snprintf(abc, sizeof abc, "input=%g,0,0", a);
    nn_net *net = nn_trace(nn_builtin("mlp"),
                           &(nn_spec){ .features = FEATURES,
                                       .settings = (const char *const[]){ "depth=1", "sigma_w=1", set, NULL },
                                       .abc = (const char *const[]){ abc, NULL } },
                           &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    const tp_regime_spec spec = { .optimizer = NN_SGD, .parts = true, .near = { 128, 1024 } };
    cr_assert(program && tp_regime_find(program, &spec, &r, &error) == 0, "%s", error.text);
    cr_assert(r.n_vectors == 3 && r.n_params == 2);
    tp_program_free(program);
    nn_net_free(net);
    return r;
}

/* E erf(h)^2 = (2 / pi) asin(2 q / (1 + 2 q)), E erf'(h)^2 = (4 / pi) / sqrt(1 + 4 q) for h ~ N(0, q), q = n^-2a
 * (Williams, Neural Computation 10, 1998): slopes at widths where these are no powers. h changes by n^-2a times
 * the readout's n^-1/2 erf'(h). */
Test(regime, slopes_between_widths_are_of_closed_forms)
{
    static const double exponents[] = { 0.25, 0.5, -0.25, -0.5 };
    for (size_t k = 0; k < sizeof exponents / sizeof *exponents; k++) {
        double a = exponents[k], sizes[2], gains[2];
        tp_regime r = regime_of_layer("erf", a);
        for (int i = 0; i < 2; i++) {
            double q = pow(i ? 1024 : 128, -2 * a);
            sizes[i] = log(asin(2 * q / (1 + 2 * q))) / 2;
            gains[i] = -log(1 + 4 * q) / 4;
        }
        double slope = (sizes[1] - sizes[0]) / log(8), h = (gains[1] - gains[0]) / log(8) - 2 * a - 0.5;
        cr_expect_float_eq(r.vectors[0].near_start, -a, 1e-9);
        cr_expect_float_eq(r.vectors[1].near_start, slope, 1e-4, "%g: %g, not %g", a, r.vectors[1].near_start, slope);
        cr_expect_float_eq(r.vectors[0].near_response, h, 1e-3, "%g: %g, not %g", a, r.vectors[0].near_response, h);
        tp_regime_free(&r);
    }
}

/* Rows of a table of size n^-1/4, picked before a function of them or after: as large as a row, whatever the numbers of
 * rows and their index are. */
static bool picked_after;
static ad_var picked(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n"), entry = ad_fixed(nn_graph(net), "entry", 40);
    ad_var index = ad_take(input, ad_shape_get(input)->axes[1], 0);
    ad_var table =
        ad_param(nn_graph(net), "table", ad_shape_of(entry, n),
                 (ad_init){ .axis = n, .deviation = 1, .deviation_power = -0.25, .rate = 1, .multiplier = 1 });
    ad_var h = picked_after ? ad_gather(ad_erf(table), index, entry) : ad_erf(ad_gather(table, index, entry));
    return nn_readout(net, "readout", h);
}

Test(regime, rows_that_are_picked_are_as_large_as_rows)
{
    for (int k = 0; k < 2; k++) {
        picked_after = k;
        tp_regime r = regime_of(&(network){ "picked", picked, NULL, { 0 } }, NN_NTK, NN_SGD);
        double sizes[2];
        for (int i = 0; i < 2; i++) {
            double q = pow(i ? 1024 : 128, -0.5);
            sizes[i] = log(asin(2 * q / (1 + 2 * q))) / 2;
        }
        double near = r.vectors[r.n_vectors - 2].near_start, start = r.vectors[r.n_vectors - 2].start;
        cr_expect_float_eq(start, -0.25, 1e-12, "%d: %g", k, start);
        cr_expect_float_eq(near, (sizes[1] - sizes[0]) / log(8), 1e-4, "%d: %g, not %g", k, near,
                           (sizes[1] - sizes[0]) / log(8));
        tp_regime_free(&r);
    }
}

/* Of h ~ n^1/4: a bounded function's derivative is of order one in n^-1/4 of the units, its mean square n^-1/4; h
 * changes by n^(1/2 - 1/2) phi'(h), f by the mean of n^(1/2) phi'(h)^2 through U and of phi(h)^2 through v, times
 * the residual, which is f where f grows. */
Test(regime, powers_of_saturated_functions)
{
    static const struct {
        const char *phi;
        double starts[3], responses[3];
    } cases[] = {
        { "tanh", { 0.25, 0, 0 }, { -0.125, -0.125, 0.25 } },
        { "erf", { 0.25, 0, 0 }, { -0.125, -0.125, 0.25 } },
        { "sigmoid", { 0.25, 0, 0 }, { -0.125, -0.125, 0.25 } },
        { "hard_tanh", { 0.25, 0, 0 }, { -0.125, -0.125, 0.25 } },
        { "relu", { 0.25, 0.25, 0.25 }, { 0.25, 0.25, 0.75 } },
        { "leaky", { 0.25, 0.25, 0.25 }, { 0.25, 0.25, 0.75 } },
        { "gelu", { 0.25, 0.25, 0.25 }, { 0.25, 0.25, 0.75 } },
        { "softplus", { 0.25, 0.25, 0.25 }, { 0.25, 0.25, 0.75 } },
        { "sin", { 0.25, 0, 0 }, { 0, 0, 0.5 } },
        { "square", { 0.25, 0.5, 0.5 }, { 0.75, 1, 1.5 } },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        tp_regime r = regime_of_layer(cases[k].phi, -0.25);
        for (int v = 0; v < 3; v++) {
            cr_expect_float_eq(r.vectors[v].start, cases[k].starts[v], 1e-9, "%s %s: %g", cases[k].phi,
                               r.vectors[v].name, r.vectors[v].start);
            cr_expect_float_eq(r.vectors[v].response, cases[k].responses[v], 1e-9, "%s %s: %g", cases[k].phi,
                               r.vectors[v].name, r.vectors[v].response);
        }
        tp_regime_free(&r);
    }
}
