/* truth_cases.c: networks and inputs, each a function of a seed. */
#include "tests/support/truth.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME(NAME, text) text,
const char *truth_kind_name(truth_kind kind)
{
    static const char *const names[] = { TRUTH_KINDS(NAME) };
    return names[kind];
}

/* ---- draws ---- */
typedef struct {
    uint64_t seed, at;
} draws;

static double unit(draws *d)
{
    double u;
    ad_uniform(d->seed, ad_stream("truth"), d->at++, 1, &u);
    return u;
}

static int below(draws *d, int n)
{
    return (int)(unit(d) * n);
}

static double normal(draws *d)
{
    return sqrt(-2 * log(unit(d))) * cos(2 * acos(-1) * unit(d));
}

/* ---- inputs ---- */
typedef struct {
    double *x;
    int rows, features;
    draws *d;
} table;

static void ordinary(table t)
{
    for (int i = 0; i < t.rows * t.features; i++)
        t.x[i] = normal(t.d);
}

static void near(table t)
{
    double distance = pow(10, -3 - 12 * unit(t.d));
    ordinary(t);
    for (int i = t.features; i < t.rows * t.features; i++)
        t.x[i] = t.x[i % t.features] + distance * t.x[i];
}

static void parallel(table t)
{
    ordinary(t);
    for (int i = t.features; i < t.rows * t.features; i++)
        t.x[i] = t.x[i % t.features] * (1 << (i / t.features % 4));
}

static void antiparallel(table t)
{
    ordinary(t);
    for (int i = t.features; i < t.rows * t.features; i++)
        t.x[i] = t.x[i % t.features] * (i / t.features % 2 ? -1 : 0.5);
}

static void nearly_opposite(table t)
{
    near(t);
    for (int i = t.features; i < t.rows * t.features; i++)
        t.x[i] *= i / t.features % 2 ? -1 : 1;
}

static void line(table t)
{
    for (int i = 0; i < t.rows * t.features; i++)
        t.x[i] = i % t.features ? 0 : normal(t.d);
}

static void norms(table t)
{
    ordinary(t);
    for (int i = 0; i < t.rows * t.features; i++)
        t.x[i] *= pow(10, -8.0 * (i / t.features) / (t.rows > 1 ? t.rows - 1 : 1));
}

static void tiny(table t)
{
    ordinary(t);
    for (int i = 0; i < t.rows * t.features; i++)
        t.x[i] *= 1e-100;
}

static void huge(table t)
{
    ordinary(t);
    for (int i = 0; i < t.rows * t.features; i++)
        t.x[i] *= 1e100;
}

static void duplicates(table t)
{
    ordinary(t);
    for (int i = 2 * t.features; i < t.rows * t.features; i++)
        t.x[i] = t.x[i % (2 * t.features)];
}

static void orthogonal(table t)
{
    for (int i = 0; i < t.rows * t.features; i++)
        t.x[i] = i % t.features == i / t.features % t.features ? 0.5 + unit(t.d) : 0;
}

static void zeros(table t)
{
    ordinary(t);
    memset(t.x + (t.rows - 1) * t.features, 0, (size_t)t.features * sizeof *t.x);
}

/* All are of size 1 but `norms`, below it, and the scales. */
static const struct {
    const char *name;
    void (*make)(table t);
    double size;
} inputs[] = {
    { "ordinary", ordinary, 1 },
    { "near", near, 1 },
    { "parallel", parallel, 8 },
    { "antiparallel", antiparallel, 1 },
    { "nearly opposite", nearly_opposite, 1 },
    { "line", line, 1 },
    { "norms", norms, 1 },
    { "1e-100", tiny, 1e-100 },
    { "1e100", huge, 1e100 },
    { "duplicates", duplicates, 1 },
    { "orthogonal", orthogonal, 1 },
    { "zero", zeros, 1 },
};
enum { INPUTS = sizeof inputs / sizeof *inputs };

/* ---- cases ---- */
/* Layers and steps of it soon leave the range of a double. */
static bool grows(const activation *f)
{
    return strstr(f->name, "exp") || strstr(f->name, "square") || strcmp(f->name, "cubic") == 0;
}

static void deepen(truth_case *c, draws *d)
{
    bool slow = !c->f->closed;
    if (c->kind == TRUTH_LONG) {
        c->depth = 1;
        c->rows = 2;
        c->steps = slow ? 4 : grows(c->f) ? 2 : 8 + below(d, 33);
    } else if (!c->f->kink || !slow)
        c->depth = slow ? 8 + below(d, 9) : 30 + below(d, 71);
}

/* Rows and layers cost time where f has no closed form. */
static void choose_sizes(truth_case *c, draws *d)
{
    bool slow = !c->f->closed;
    c->depth = 1 + below(d, slow ? c->f->kink ? 1 : 2 : 6);
    c->rows = slow ? 2 : 2 + below(d, 2);
    c->features = 1 + below(d, TRUTH_FEATURES);
    c->steps = 1;
    if (c->kind == TRUTH_DIFFERENCE)
        c->steps = 2;
    if (c->kind == TRUTH_RNN || c->kind == TRUTH_MEAN)
        c->steps = slow ? 2 : 2 + below(d, 2);
    if (c->kind == TRUTH_RNN)
        c->depth = 1;
    if (c->kind == TRUTH_TWO_SETS)
        c->rows2 = 1 + below(d, slow ? 1 : 3);
    if (c->kind >= TRUTH_DEEP)
        deepen(c, d);
    if (grows(c->f))
        c->depth = 1 + below(d, 2);
    if (strstr(c->f->name, "exp"))
        c->depth = 1;
}

static void choose_weights(truth_case *c, draws *d)
{
    bool wild = c->f->largest < 4;
    c->sigma_w = wild ? 0.5 + 0.3 * unit(d) : 0.7 + unit(d);
    c->bias = below(d, 2);
    c->sigma_b = c->bias ? 0.1 + 0.5 * unit(d) : 0;
    c->multiplier = below(d, 3) == 0;
    c->mean = below(d, 2);
}

static void choose_inputs(truth_case *c, draws *d)
{
    int k = below(d, INPUTS);
    bool jumps = strcmp(c->f->name, "step") == 0 || strcmp(c->f->name, "sign") == 0;
    while ((3 * inputs[k].size >= c->f->largest && inputs[k].size > 1) ||
           (inputs[k].size < 1 && ((c->bias && jumps) || c->kind == TRUTH_DIFFERENCE))) /* 77 digits do not tell */
        k = below(d, INPUTS);
    c->inputs = inputs[k].name;
    inputs[k].make((table){ c->x, (c->rows + c->rows2) * c->steps, c->features, d });
}

truth_case truth_case_with(uint64_t seed, truth_kind kind, const activation *f)
{
    draws d = { .seed = seed };
    truth_case c = { .kind = kind, .f = f };
    c.norm = kind == TRUTH_LAYERNORM || kind == TRUTH_DEEP_LAYERNORM;
    c.residual = kind == TRUTH_RESIDUAL || kind == TRUTH_DEEP_RESIDUAL;
    c.recurrent = kind == TRUTH_RNN || kind == TRUTH_LONG;
    choose_sizes(&c, &d);
    choose_weights(&c, &d);
    choose_inputs(&c, &d);
    return c;
}

/* Closed forms as often again as quadrature. */
static truth_case case_of(uint64_t seed, truth_kind kind)
{
    draws d = { .seed = seed + 1000003 };
    int closed = 0, all = 0;
    while (activation_number(all))
        closed += activation_number(all++)->closed != NULL;
    int k = below(&d, 3) ? below(&d, closed) : closed + below(&d, all - closed);
    return truth_case_with(seed, kind, activation_number(k));
}

truth_case truth_case_of(uint64_t seed)
{
    return case_of(seed, (truth_kind)(seed % TRUTH_DEEP));
}

truth_case truth_deep_case_of(uint64_t seed)
{
    return case_of(seed, (truth_kind)(TRUTH_DEEP + seed % (N_TRUTH_KINDS - TRUTH_DEEP)));
}

void truth_tell(const truth_case *c, char *text, size_t size)
{
    snprintf(text, size, "%s %s depth %d, %d+%d rows of %d x %d features (%s), sigma_w %g, %s %g%s%s",
             truth_kind_name(c->kind), c->f->name, c->depth, c->rows, c->rows2, c->steps, c->features, c->inputs,
             c->sigma_w, c->bias ? "sigma_b" : "no bias", c->sigma_b, c->multiplier ? ", sigma a multiplier" : "",
             c->recurrent ? c->mean ? ", mean of states" : ", last state" : "");
}

/* ---- as limn is told of them ---- */
static const truth_case *tracing; /* nn_trace has no room for a context */

enum { MOST_LAYERS = 1004 };
typedef struct {
    nn_weight w[MOST_LAYERS], b[MOST_LAYERS];
} layers;

static layers make_layers(nn_net *net, ad_axis in)
{
    const truth_case *c = tracing;
    layers l = { 0 };
    int count = c->depth + (c->kind == TRUTH_GATE ? 3 : 1);
    bool bias = c->bias && (!c->multiplier || c->sigma_b > 0);
    for (int k = 0; k < count; k++) {
        bool first = k == 0, last = k == count - 1;
        ad_axis n = nn_width(net, "n"), out = last ? nn_outputs(net) : n;
        l.w[k] = nn_make_weight(net, nn_name(net, "w%d", k), first ? in : n, out, c->sigma_w);
        if (bias)
            l.b[k] = nn_make_bias(net, nn_name(net, "b%d", k), out, c->sigma_b);
    }
    return l;
}

static ad_var dense(const layers *l, int k, ad_var x)
{
    ad_var h = nn_apply(l->w[k], x);
    return tracing->bias ? nn_add_bias(l->b[k], h) : h;
}

static ad_var function_of(nn_net *net, const layers *l, ad_var x)
{
    const truth_case *c = tracing;
    ad_var h = dense(l, 0, x);
    for (int k = 1; k <= c->depth; k++) {
        if (c->norm)
            h = nn_layernorm(net, nn_name(net, "norm%d", k), h);
        ad_var y = c->f->build(h);
        if (c->kind == TRUTH_GATE && k == c->depth)
            y = ad_mul(c->f->build(dense(l, k, y)), c->f->build(dense(l, k + 1, y)));
        bool last = k == c->depth;
        ad_var next = dense(l, c->kind == TRUTH_GATE && last ? k + 2 : k, y);
        h = c->residual && !last ? ad_add(h, next) : next;
    }
    return h;
}

static ad_var network(nn_net *net, ad_var x)
{
    const truth_case *c = tracing;
    ad_var sum = x;
    layers l = make_layers(net, ad_shape_get(x)->axes[ad_shape_get(x)->rank - 1]);
    if (c->steps == 1)
        return function_of(net, &l, x);
    ad_axis time = ad_shape_get(x)->axes[1];
    for (int t = 0; t < c->steps; t++) {
        ad_var f = function_of(net, &l, ad_take(x, time, (size_t)t));
        f = c->kind == TRUTH_MEAN ? ad_scale(f, 1.0 / c->steps) : t ? ad_neg(f) : f;
        sum = t ? ad_add(sum, f) : f;
    }
    return sum;
}

/* s_t = f(W s_(t-1) + U x_t + b) from s = 0, without a product at first. */
static ad_var recurrent(nn_net *net, ad_var x)
{
    const truth_case *c = tracing;
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], in = ad_shape_get(x)->axes[2];
    nn_weight w = nn_make_weight(net, "W", n, n, c->sigma_w), u = nn_make_weight(net, "U", in, n, c->sigma_w);
    nn_weight v = nn_make_weight(net, "v", n, nn_outputs(net), c->sigma_w), b = { 0 };
    ad_var s = x, sum = x;
    if (c->bias)
        b = nn_make_bias(net, "b", n, c->sigma_b);
    for (int t = 0; t < c->steps; t++) {
        ad_var h = nn_apply(u, ad_take(x, time, (size_t)t));
        h = t ? ad_add(h, nn_apply(w, s)) : h;
        s = c->f->build(c->bias ? nn_add_bias(b, h) : h);
        sum = t ? ad_add(sum, s) : s;
    }
    return nn_apply(v, c->mean ? ad_scale(sum, 1.0 / c->steps) : s);
}

nn_net *truth_trace(const truth_case *c, ad_error *error)
{
    nn_spec spec = { .outputs = 1, .name = "truth", .sigma_in = c->multiplier ? NN_SIGMA_MULTIPLIER : NN_SIGMA_INIT };
    spec.parametrization = c->kind == TRUTH_STANDARD ? NN_STANDARD : NN_NTK;
    spec.shape[0] = (size_t)(c->steps > 1 ? c->steps : c->features);
    spec.shape[1] = c->steps > 1 ? (size_t)c->features : 0;
    spec.features = (size_t)(c->steps * c->features);
    tracing = c;
    nn_net *net = nn_trace(c->recurrent ? recurrent : network, &spec, error);
    tracing = NULL;
    return net;
}
