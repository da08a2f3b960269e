#include "tests/support/architecture.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, FEATURES = 6, ENTRIES = ROWS * ROWS, MOST = 24, WIDTHS = 3 };

/* ---- the generator ---- */
static char story[2000];

typedef struct {
    nn_weight weight;
    int in, out; /* widths: indices of `widths` */
} matrix;

typedef struct {
    uint64_t seed, at;
    nn_net *net;
    ad_var input;
    ad_axis widths[WIDTHS];
    ad_var vectors[MOST]; /* (batch, width) */
    int width_of[MOST], n_vectors;
    matrix matrices[MOST];
    nn_weight biases[MOST], inputs[MOST];
    int bias_width[MOST], input_width[MOST];
    int n_matrices, n_biases, n_inputs;
} maker;

static const char *const width_names[WIDTHS] = { "n", "n/2", "2n" };

static double unit(maker *m)
{
    double u;
    ad_uniform(m->seed, ad_stream("architecture"), m->at++, 1, &u);
    return u;
}

static int below(maker *m, int n)
{
    return (int)(unit(m) * n);
}

AD_PRINTF(1, 2) static void tell(const char *format, ...)
{
    size_t length = strlen(story);
    va_list args;
    va_start(args, format);
    vsnprintf(story + length, sizeof story - length, format, args);
    va_end(args);
}

static void push(maker *m, ad_var x, int width)
{
    tell(" [%s];", width_names[width]);
    m->width_of[m->n_vectors] = width;
    m->vectors[m->n_vectors++] = x;
}

/* ---- coordinatewise functions ---- */
static void own_function(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / (1 + x[i] * x[i] / 4);
}

static void own_derivative(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (1 - x[i] * x[i] / 4) / pow(1 + x[i] * x[i] / 4, 2);
}

static const ad_function own = { .name = "own", .count = 2, .derivatives = { own_function, own_derivative } };

/* A row of the table. Seeds below 1000 know those up to swish, so that their networks stay when the table grows. */
static ad_op any_row(maker *m)
{
    bool all = m->seed >= 1000;
    int op = below(m, all ? AD_CUSTOM + 1 : AD_SWISH + 2);
    return all || op <= AD_SWISH ? (ad_op)op : AD_CUSTOM;
}

static bool is_bounded(ad_op op)
{
    const ad_op_facts *facts = ad_op_facts_of(op);
    return op != AD_GELU_GRAD && op != AD_LEAKY_STEP &&
           (facts->growth == AD_BOUNDED || (facts->growth == AD_SCALES && facts->breaks == AD_JUMPS));
}

/* A random function of the table: what grows fast is taken of tanh x, what is not defined everywhere of 1 + x^2. */
static ad_var activation(maker *m, int vector, bool bounded)
{
    ad_var x = m->vectors[vector];
    ad_op op;
    do
        op = any_row(m);
    while (op == AD_IDENTITY || op == AD_NEG || (bounded && !is_bounded(op)));
    tell(" %s", ad_op_name(op));
    if (op == AD_CUSTOM) {
        tell("(v%d)", vector);
        return ad_custom(&own, x);
    }
    if (op == AD_EXP || op == AD_SQUARE) {
        tell("(tanh v%d)", vector);
        return ad_unary_at(AD_HERE, op, ad_tanh(x), 0);
    }
    if (ad_op_facts_of(op)->lo > 0) {
        tell("(1 + v%d^2)", vector);
        return ad_unary_at(AD_HERE, op, ad_add(ad_square(x), ad_constant(x.graph, 1, *ad_shape_get(x))),
                           op == AD_POWER ? 0.3 : 0);
    }
    tell("(v%d)", vector);
    return ad_unary_at(AD_HERE, op, x, 0.2);
}

/* ---- weights ---- */
static matrix new_matrix(maker *m, int in, int out)
{
    matrix w = { .in = in, .out = out };
    w.weight = nn_make_weight(m->net, nn_name(m->net, "w%d", m->n_matrices), m->widths[in], m->widths[out],
                              0.8 + 0.6 * unit(m));
    m->matrices[m->n_matrices++] = w;
    return w;
}

/* A product with the input, of a new weight or of one that is there already. */
static ad_var of_input(maker *m, int width)
{
    for (int i = 0; i < m->n_inputs; i++)
        if (m->input_width[i] == width && below(m, 2)) {
            tell(" U%d x^2", i);
            return nn_apply(m->inputs[i], ad_square(m->input));
        }
    ad_axis features = ad_shape_get(m->input)->axes[1];
    nn_weight u = nn_make_weight(m->net, nn_name(m->net, "u%d", m->n_inputs), features, m->widths[width], 1.2);
    tell(" U%d x", m->n_inputs);
    m->input_width[m->n_inputs] = width;
    m->inputs[m->n_inputs++] = u;
    return nn_apply(u, m->input);
}

static nn_weight any_bias(maker *m, int width)
{
    for (int i = 0; i < m->n_biases; i++)
        if (m->bias_width[i] == width && below(m, 2)) {
            tell(" b%d", i);
            return m->biases[i];
        }
    int k = m->n_biases++;
    tell(" b%d", k);
    m->bias_width[k] = width;
    m->biases[k] = nn_make_bias(m->net, nn_name(m->net, "b%d", k), m->widths[width], 0.3 + 0.4 * unit(m));
    return m->biases[k];
}

/* A vector, every other time the last one, so that few are left unused. */
static int any(maker *m)
{
    return below(m, 2) ? m->n_vectors - 1 : below(m, m->n_vectors);
}

/* A vector of this width. */
static int alike(maker *m, int width)
{
    int which;
    do
        which = any(m);
    while (m->width_of[which] != width);
    return which;
}

/* ---- steps ---- */
static ad_var spread(ad_var scalar, ad_var like)
{
    return ad_expand(scalar, *ad_shape_get(like));
}

static ad_var layer_norm(ad_var x, ad_axis width)
{
    ad_var centred = ad_sub(x, spread(ad_mean(x, ad_shape_of(width)), x));
    ad_var variance = ad_mean(ad_square(centred), ad_shape_of(width));
    ad_var floor = ad_constant(x.graph, 0.3, *ad_shape_get(variance));
    return ad_mul(centred, spread(ad_rsqrt(ad_add(variance, floor)), x));
}

/* h = phi(W h + U x) three times, with one W and one U. */
static ad_var recurrence(maker *m, int vector, int width)
{
    matrix w = new_matrix(m, width, width);
    static const ad_op cells[] = { AD_TANH, AD_ERF, AD_RELU, AD_SIN };
    ad_op cell = cells[below(m, 4)];
    tell(" 3 times h <- %s(W%d h +", ad_op_name(cell), m->n_matrices - 1);
    ad_var drive = of_input(m, width), h = m->vectors[vector];
    tell(") from v%d", vector);
    for (int t = 0; t < 3; t++)
        h = ad_unary_at(AD_HERE, cell, ad_add(nn_apply(w.weight, h), drive), 0);
    return h;
}

typedef enum { NEW, AGAIN, TRANSPOSE, SUM, GATE, GATES, NORM, AVERAGE, LOOP, SKIP, BIAS, N_STEPS } step;
static const int chances[N_STEPS] = { 6, 3, 2, 2, 2, 1, 1, 1, 1, 2, 2 };

static step any_step(maker *m)
{
    int total = 0, kind = 0;
    for (int k = 0; k < N_STEPS; k++)
        total += chances[k];
    int at = below(m, total);
    while (at >= chances[kind])
        at -= chances[kind++];
    return (step)kind;
}

/* A matrix that can be multiplied with a vector, or its transpose with; -1 if there is none. */
static int usable(maker *m, bool transposed, int *vector)
{
    if (m->n_matrices == 0)
        return -1;
    int k = below(m, m->n_matrices), width = transposed ? m->matrices[k].out : m->matrices[k].in;
    *vector = alike(m, width);
    return k;
}

static void grow(maker *m)
{
    step kind = any_step(m);
    int x = any(m), width = m->width_of[x], y = alike(m, width), k;
    if ((kind == AGAIN || kind == TRANSPOSE) && m->n_matrices == 0)
        kind = NEW;
    tell(" v%d =", m->n_vectors);
    switch (kind) {
    case NEW: {
        int out = below(m, 2) ? 0 : below(m, WIDTHS);
        matrix w = new_matrix(m, width, out);
        tell(" W%d", m->n_matrices - 1);
        push(m, nn_apply(w.weight, activation(m, x, false)), out);
        return;
    }
    case AGAIN:
        k = usable(m, false, &x);
        tell(" W%d", k);
        push(m, nn_apply(m->matrices[k].weight, activation(m, x, false)), m->matrices[k].out);
        return;
    case TRANSPOSE:
        k = usable(m, true, &x);
        tell(" W%d'", k);
        push(m, nn_apply_t(m->matrices[k].weight, activation(m, x, true)), m->matrices[k].in);
        return;
    case SUM:
        tell(" 0.7 (v%d + v%d)", x, y);
        push(m, ad_scale(ad_add(m->vectors[x], m->vectors[y]), 0.7), width);
        return;
    case GATE:
    case GATES: {
        ad_var product = ad_mul(activation(m, x, true), activation(m, y, true));
        if (kind == GATES)
            product = ad_mul(product, activation(m, alike(m, width), true));
        push(m, product, width);
        return;
    }
    case NORM:
        tell(" normalised v%d", x);
        push(m, layer_norm(m->vectors[x], m->widths[width]), width);
        return;
    case AVERAGE: {
        tell(" v%d times the mean of", x);
        ad_var product = ad_mul(activation(m, x, true), activation(m, y, true));
        push(m, ad_mul(m->vectors[x], spread(ad_mean(product, ad_shape_of(m->widths[width])), m->vectors[x])), width);
        return;
    }
    case LOOP:
        push(m, recurrence(m, x, width), width);
        return;
    case SKIP:
        tell(" v%d +", x);
        push(m, ad_add(m->vectors[x], of_input(m, width)), width);
        return;
    default:
        tell(" v%d +", x);
        push(m, nn_add_bias(any_bias(m, width), m->vectors[x]), width);
    }
}

/* ---- outputs ---- */
static bool has_readout; /* of the network traced last: not an average, so that it has an NNGP kernel */

static ad_var generate(nn_net *net, ad_var x)
{
    maker m = { .net = net, .input = x, .seed = (uint64_t)nn_setting_int(net, "seed", 1, 0, 1000000000) };
    for (int k = 0; k < WIDTHS; k++)
        m.widths[k] = nn_width_ratio(net, nn_name(net, "n%d", k), k == 0 ? 1 : k == 1 ? 0.5 : 2);
    snprintf(story, sizeof story, "v0 =");
    ad_var first = of_input(&m, 0);
    tell(" +");
    push(&m, nn_add_bias(any_bias(&m, 0), first), 0);
    for (int steps = 2 + below(&m, 5); steps > 0; steps--)
        grow(&m);
    int last = m.n_vectors - 1, kind = below(&m, 10);
    has_readout = kind != 0;
    tell(" f =%s", kind == 0 ? " mean of" : kind == 1 ? " N(1, 1) readout of" : "");
    ad_var y = activation(&m, last, false);
    ad_axis width = m.widths[m.width_of[last]];
    if (kind == 0)
        return ad_expand(ad_mean(y, ad_shape_of(width)), ad_shape_of(nn_batch(net), nn_outputs(net)));
    if (kind == 1) {
        has_readout = false;
        ad_init init = { .mean = 1, .deviation = 1, .rate = 1, .multiplier = 1 };
        ad_var v = ad_param(nn_graph(net), "v", ad_shape_of(width, nn_outputs(net)), init);
        return ad_scale_by(ad_contract(y, v, ad_shape_of(width)), 1, width, -1);
    }
    ad_var f = nn_readout_with(net, "readout", y, .bias = kind == 2, .sigma_b = kind == 2 ? 0.5 : 0);
    if (kind == 3 || kind == 4) { /* another head, from any vector */
        tell(" +");
        f = ad_add(f, nn_readout(net, "head", activation(&m, below(&m, m.n_vectors), false)));
    }
    return f;
}

nn_net *architecture_trace(uint64_t seed, ad_error *error)
{
    char setting[32];
    snprintf(setting, sizeof setting, "seed=%llu", (unsigned long long)seed);
    nn_spec spec = { .features = FEATURES,
                     .outputs = 1 + seed % 2,
                     .settings = (const char *const[]){ setting, NULL },
                     .sigma_in = seed % 3 ? NN_SIGMA_MULTIPLIER : NN_SIGMA_INIT,
                     .name = "architecture" };
    return nn_trace(generate, &spec, error);
}

const char *architecture_story(void)
{
    return story;
}

/* ---- the comparison ---- */
typedef struct {
    double mean[ENTRIES], error[ENTRIES];
} measured;

/* Welford's sums over networks, of each kernel. */
static int measure(const nn_net *net, int kernels, const double *x, int threads, measured *out, ad_error *error)
{
    enum { SEEDS = ARCHITECTURE_SEEDS };
    double squares[2][ENTRIES] = { { 0 } }, one[ENTRIES];
    memset(out, 0, 2 * sizeof *out);
    for (int seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_model_new(net, ARCHITECTURE_WIDTH, (uint64_t)seed, AD_FLOAT, threads, error);
        int status = model ? 0 : -1;
        for (int which = 0; which < kernels && !status; which++) {
            status = (which == TP_NTK ? nn_ntk : nn_nngp)(model, x, ROWS, NULL, 0, NN_MEAN, one, error);
            for (int k = 0; k < ENTRIES && !status; k++) {
                double before = one[k] - out[which].mean[k];
                out[which].mean[k] += before / seed;
                squares[which][k] += before * (one[k] - out[which].mean[k]);
            }
        }
        nn_model_free(model);
        if (status)
            return -1;
    }
    for (int which = 0; which < kernels; which++)
        for (int k = 0; k < ENTRIES; k++)
            out[which].error[k] = sqrt(squares[which][k] / (SEEDS * (SEEDS - 1)));
    return 0;
}

static double apart(const double *a, const double *b, double *size)
{
    double off = 0;
    *size = 0;
    for (int k = 0; k < ENTRIES; k++) {
        off += (a[k] - b[k]) * (a[k] - b[k]);
        *size += b[k] * b[k];
    }
    *size = sqrt(*size);
    return sqrt(off);
}

AD_PRINTF(2, 3) static void disagree(architecture_tally *t, const char *format, ...)
{
    size_t length = strlen(t->text);
    va_list args;
    va_start(args, format);
    vsnprintf(t->text + length, sizeof t->text - length, format, args);
    va_end(args);
    t->disagreements++;
}

static const double most = 12;

static void compare_exact(const tp_kernel *sampled, const tp_kernel *exact, const char *name, architecture_tally *t)
{
    double size, off = apart(sampled->terms[0].values, exact->terms[0].values, &size);
    double far = off / (size * sampled->error + 1e-12 * size + 1e-300);
    t->worst_exact = fmax(t->worst_exact, far);
    if (!(far < most) || exact->n_terms != 1 || fabs(exact->terms[0].power - sampled->terms[0].power) > 1e-9)
        disagree(t, "\n  %s: exact n^%g and sampled n^%g are %g apart, said %g", name, exact->terms[0].power,
                 sampled->terms[0].power, off / size, sampled->error);
}

static void compare_finite(const tp_kernel *sampled, const measured *finite, const char *name, architecture_tally *t)
{
    const double *s = sampled->terms[0].values, n = ARCHITECTURE_WIDTH, scale = pow(n, -sampled->terms[0].power);
    for (int k = 0; k < ENTRIES; k++) {
        double mean = finite->mean[k] * scale,
               diagonal = sqrt(fabs(s[k / ROWS * (ROWS + 1)] * s[k % ROWS * (ROWS + 1)]));
        double error = hypot(finite->error[k] * scale, sampled->deviations[k]) + 1e-6 * diagonal; /* in float */
        double far = fmax(0, fabs(mean - s[k]) - 4 / n * diagonal) / (error + 1e-300);
        t->squares += far * far;
        t->entries++;
        t->worst_finite = fmax(t->worst_finite, far);
        if (!(far < most))
            disagree(t, "\n  %s, entry %d: %g at width %g, %g in the limit, errors %g and %g", name, k, mean, n, s[k],
                     finite->error[k] * scale, sampled->deviations[k]);
    }
}

static int compare(nn_net *net, const double *x, int threads, architecture_tally *t, ad_error *error)
{
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .threads = threads };
    tp_checks checks;
    measured finite[2];
    int kernels = has_readout ? 2 : 1, like = -1;
    tp_program *program = tp_translate(net, error);
    int status = program ? 0 : -1;
    if (!status && (like = tp_check(program, &checks, error)) < 0)
        status = -1;
    status = status ? status : measure(net, kernels, x, threads, finite, error);
    for (int which = 0; which < kernels && !status; which++) {
        const char *name = which == TP_NTK ? "NTK" : "NNGP";
        tp_kernel sampled, exact;
        ad_error refusal = { 0 };
        spec.engine = TP_ENGINE_SAMPLE;
        status = tp_limit(program, (tp_kernel_kind)which, x, ROWS, NULL, 0, &spec, &sampled, error);
        if (status)
            break;
        spec.engine = TP_ENGINE_EXACT;
        if (like == 0 && tp_limit(program, (tp_kernel_kind)which, x, ROWS, NULL, 0, &spec, &exact, &refusal) == 0) {
            t->exact++;
            compare_exact(&sampled, &exact, name, t);
            tp_kernel_free(&exact);
        }
        compare_finite(&sampled, &finite[which], name, t);
        tp_kernel_free(&sampled);
        t->kernels++;
    }
    t->general += like > 0;
    t->nets++;
    tp_program_free(program);
    return status;
}

int architecture_compare(uint64_t seed, int threads, architecture_tally *tally, ad_error *error)
{
    double x[ROWS * FEATURES];
    ad_error failure = { 0 };
    int before = tally->disagreements;
    ad_normal(1, 9, 0, ROWS * FEATURES, x);
    tally->worst_finite = tally->worst_exact = 0;
    snprintf(tally->text, sizeof tally->text, "network %llu", (unsigned long long)seed);
    nn_net *net = architecture_trace(seed, &failure);
    int status = net ? 0 : -1;
    disagree(tally, ": %.1000s", story);
    tally->disagreements = before;
    if (!status)
        status = compare(net, x, threads, tally, &failure);
    nn_net_free(net);
    if (status)
        return ad_fail(error, "network %llu: %.200s: %.300s", (unsigned long long)seed, failure.text, story);
    return tally->disagreements - before;
}
