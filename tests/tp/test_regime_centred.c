/* What a mean takes off counts as nothing: exponents of vectors that are centred and divided by their deviation, beside
 * finite networks, and beside twins without what cancels. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 8, STEPS = 8, FEATURES = 5 };

/* Which part is the same along the axes of the mean, or nearly. */
typedef enum {
    BATCH,         /* a bias, over the batch */
    BATCH_SCALED,  /* a bias times a gain */
    BATCH_PRODUCT, /* of functions of a bias */
    WIDTH,         /* a number of each sample, over the width */
    TIME,          /* a bias, over the steps of a sequence */
    PLACES,        /* over the batch and the steps at once */
    TWICE,         /* over the steps of means over the batch */
    TAKEN_OFF,     /* a + b - a */
    TWINS,
    SIGMOIDS = TWINS, /* of what vanishes, over the width */
    BOUNDED,          /* of these what a step changes is bounded from above: */
    INSIDE = BOUNDED, /* tanh(b + small), through a matrix, over the batch */
    APART,            /* u r - m r */
    OVER,             /* u / s - m / s */
    KINDS
} kind;
static kind which;
static bool with; /* the part that cancels */

/* What divides, and is bounded from above alone. */
typedef enum {
    EQUAL,    /* the difference of two means of squares that are equal as n grows */
    NEARLY,   /* tanh(h + small) - tanh(h) */
    STACKED,  /* of two vectors with the same bias, put together, what their mean leaves */
    DISJOINT, /* relu(h) relu(-h) */
    NOTHING,  /* a parameter that is 0 at the start */
    DIVISORS
} divisor;
static divisor divides_by;

static double x[ROWS * STEPS * FEATURES], y[ROWS];

static void set_up(void)
{
    for (int i = 0; i < ROWS * STEPS * FEATURES; i++)
        x[i] = sin(1 + 2.3 * (i / FEATURES) + 0.9 * (i % FEATURES) * (i / FEATURES + 1));
    for (int i = 0; i < ROWS; i++)
        y[i] = 3 * sin(2.0 * i);
}

TestSuite(regime_centred, .init = set_up, .timeout = 300);

static bool has_steps(void)
{
    return which == TIME || which == PLACES || which == TWICE;
}

static ad_var parameter(nn_net *net, const char *name, ad_shape shape)
{
    return ad_param(nn_graph(net), name, shape, (ad_init){ .deviation = 1, .rate = 1, .multiplier = 1 });
}

/* What is added to the small vector. */
static ad_var constant_part(nn_net *net, ad_var input, ad_axis n)
{
    ad_axis one = ad_fixed(nn_graph(net), "one", 1);
    if (which == WIDTH)
        return ad_sum(nn_dense(net, "number", input, one), ad_shape_of(one));
    ad_var b = parameter(net, "b", ad_shape_of(n));
    if (which == BATCH_SCALED)
        return ad_mul(b, parameter(net, "gain", ad_shape_of(n)));
    if (which == BATCH_PRODUCT)
        return ad_mul(ad_tanh(b), ad_relu(ad_expand(b, ad_shape_of(nn_batch(net), n))));
    return b;
}

static ad_shape centred_over(nn_net *net, ad_var u, ad_axis n)
{
    if (which == WIDTH || which == SIGMOIDS)
        return ad_shape_of(n);
    if (which == TIME)
        return ad_shape_of(ad_shape_get(u)->axes[1]);
    return which == PLACES ? ad_shape_of(nn_batch(net), ad_shape_get(u)->axes[1]) : ad_shape_of(nn_batch(net));
}

static ad_var normalised(nn_net *net, ad_var u, ad_axis n)
{
    ad_shape over = centred_over(net, u, n);
    ad_var m = ad_mean(u, over);
    if (which == TWICE)
        m = ad_mean(m, over = ad_shape_of(ad_shape_get(u)->axes[1]));
    ad_var c = ad_sub(u, m), v = ad_mean(ad_square(c), over);
    if (which == APART)
        return ad_sub(ad_mul(u, ad_rsqrt(v)), ad_mul(m, ad_rsqrt(v)));
    if (which == OVER)
        return ad_sub(ad_div(u, ad_sqrt(v)), ad_div(m, ad_sqrt(v)));
    return ad_mul(c, ad_rsqrt(v));
}

/* A hidden layer n^-1/2 W tanh(U x), small beside what is added. */
static ad_var network(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(nn_dense(net, "first", input, n));
    ad_var u = ad_scale_by(nn_dense(net, "second", h, n), 1, n, -0.5), z;
    ad_var more = with && which != SIGMOIDS ? constant_part(net, input, n) : u, small = u;
    if (which == INSIDE)
        u = nn_dense(net, "third", ad_tanh(ad_add(u, more)), n);
    else if (which == SIGMOIDS)
        u = ad_sigmoid(u);
    else if (with)
        u = ad_add(u, more);
    if (which == TAKEN_OFF) {
        ad_var rest = with ? ad_sub(u, more) : small;
        z = ad_div(nn_dense(net, "other", h, n), ad_sqrt(ad_mean(ad_square(rest), ad_shape_of(n))));
        z = ad_scale_by(z, 1, n, -0.5);
    } else
        z = normalised(net, u, n);
    z = ad_tanh(z);
    return nn_readout(net, "readout", has_steps() ? ad_sum(z, ad_shape_of(ad_shape_get(z)->axes[1])) : z);
}

typedef struct {
    nn_net *net;
    tp_program *program;
    tp_regime r;
} traced;

static traced trace(nn_function function, nn_parametrization scale, nn_optimizer optimizer, const char *refused)
{
    ad_error error = { 0 };
    nn_spec spec = { .shape = { has_steps() ? STEPS : 0, has_steps() ? FEATURES : 0 },
                     .features = has_steps() ? 0 : FEATURES,
                     .parametrization = scale };
    traced t = { .net = nn_trace(function, &spec, &error) };
    cr_assert(t.net, "%d: %s", which, error.text);
    t.program = tp_translate(t.net, &error);
    cr_assert(t.program, "%d: %s", which, error.text);
    int status = tp_regime_find(t.program, &(tp_regime_spec){ .optimizer = optimizer }, &t.r, &error);
    if (refused)
        cr_expect(status && strstr(error.text, refused), "%d, scale %d: %s", divides_by, scale, error.text);
    else
        cr_assert(!status, "%d: %s", which, error.text);
    return t;
}

static void release(traced *t)
{
    tp_regime_free(&t->r);
    tp_program_free(t->program);
    nn_net_free(t->net);
}

/* With the part that cancels and without it the normalised vector and the output are the same, and so is the
 * verdict. */
Test(regime_centred, twins_are_alike)
{
    for (which = 0; which < TWINS; which++)
        for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++)
            for (int optimizer = NN_SGD; optimizer <= NN_ADAM; optimizer++) {
                with = false;
                traced a = trace(network, (nn_parametrization)scale, (nn_optimizer)optimizer, NULL);
                with = true;
                traced b = trace(network, (nn_parametrization)scale, (nn_optimizer)optimizer, NULL);
                cr_expect(a.r.stable == b.r.stable && a.r.trains == b.r.trains && a.r.features == b.r.features,
                          "%d, scale %d: %s: %s", which, scale, a.r.verdict, b.r.verdict);
                for (int back = 1; back <= 2; back++) {
                    const tp_growing *p = &a.r.vectors[a.r.n_vectors - back], *q = &b.r.vectors[b.r.n_vectors - back];
                    cr_expect(fabs(p->start - q->start) < 1e-9 && fabs(p->response - q->response) < 1e-9,
                              "%d, scale %d, %d: %s %g %g, %g %g", which, scale, optimizer, q->name, p->start,
                              p->response, q->start, q->response);
                    cr_expect(fabs(p->first - q->first) < 1e-9 || isinf(p->first), "%d, scale %d: %s %g, %g", which,
                              scale, q->name, p->first, q->first);
                }
                release(&a);
                release(&b);
            }
}

/* By vector: the log of root mean squares at the start, and of the change by a small step. */
static void measure(const traced *t, size_t n, double (*sizes)[2])
{
    enum { SEEDS = 8 };
    ad_error error = { 0 };
    ad_sizes symbols = { .n = n, .batches = { { nn_batch(t->net), ROWS } }, .n_batches = 1 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        nn_model *models[2] = { nn_model_new(t->net, n, seed, AD_DOUBLE, 1, &error),
                                nn_model_new(t->net, n, seed, AD_DOUBLE, 1, &error) };
        nn_fit_spec fit = { .loss = NN_SQUARE, .optimizer = NN_SGD, .rate = 1e-6, .steps = 1 };
        cr_assert(models[0] && models[1] && nn_fit(models[1], &(nn_data){ x, y, ROWS, 0 }, &fit, NULL, &error) == 0,
                  "%s", error.text);
        for (int v = 0; v < t->r.n_vectors; v++) {
            ad_var node = { nn_graph(t->net), t->r.vectors[v].node };
            size_t count = ad_elements(nn_graph(t->net), ad_shape_get(node), &symbols);
            double *h = malloc(2 * count * sizeof *h), squares[2] = { 0 };
            for (int k = 0; k < 2; k++)
                cr_assert(nn_activations(models[k], node, x, ROWS, h + (size_t)k * count, &error) == 0, "%s",
                          error.text);
            for (size_t i = 0; i < count; i++) {
                squares[0] += h[i] * h[i] / (double)count;
                squares[1] += pow(h[count + i] - h[i], 2) / (double)count;
            }
            for (int k = 0; k < 2; k++)
                sizes[v][k] += log(squares[k]) / (2 * SEEDS);
            free(h);
        }
        nn_model_free(models[0]);
        nn_model_free(models[1]);
    }
}

/* Every vector of finite networks, at the start and by a step of gradient descent: means of 8 logs at n = 64 and 512. A
 * reciprocal deviation over few samples has a heavy tail, and is not held against its change. */
Test(regime_centred, finite_networks_are_as_derived)
{
    enum { VECTORS = 24 };
    with = true;
    for (which = 0; which < KINDS; which++)
        for (int scale = 0; scale < 2; scale++) {
            traced t = trace(network, scale ? NN_MEANFIELD : NN_NTK, NN_SGD, NULL);
            double low[VECTORS][2] = { { 0 } }, high[VECTORS][2] = { { 0 } };
            cr_assert(t.r.n_vectors <= VECTORS);
            measure(&t, 64, low);
            measure(&t, 512, high);
            for (int v = 0; v + 1 < t.r.n_vectors; v++) {
                const tp_growing *g = &t.r.vectors[v];
                double start = (high[v][0] - low[v][0]) / log(8) + g->front;
                double change = (high[v][1] - low[v][1]) / log(8) + g->front;
                cr_expect_float_eq(start, g->start, 0.12, "%d, %d: %s is %.3f, derived %g", which, scale, g->name,
                                   start, g->start);
                if (!g->factor && isfinite(g->response))
                    cr_expect(change < g->response + 0.2 && (which >= BOUNDED || change > g->response - 0.2),
                              "%d, %d: %s changes by %.3f, derived %g", which, scale, g->name, change, g->response);
            }
            release(&t);
        }
}

/* ---- what divides, and is bounded from above alone ---- */
static bool kept_off; /* 0, by a constant that is added */

static ad_var divided(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n"), two = ad_fixed(nn_graph(net), "two", 2);
    ad_shape units = ad_shape_of(n);
    ad_var h = nn_dense(net, "first", input, n), g = nn_dense(net, "second", ad_tanh(h), n), s;
    ad_var small = ad_scale_by(nn_dense(net, "third", ad_tanh(h), n), 1, n, -0.5);
    ad_var b = parameter(net, "b", units), parts[2] = { ad_add(small, b), ad_add(ad_scale(small, 2), b) }, all;
    switch (divides_by) {
    case EQUAL:
        s = ad_square(ad_sub(ad_mean(ad_square(ad_sin(g)), units),
                             ad_mean(ad_square(ad_sin(nn_dense(net, "equal", ad_tanh(h), n))), units)));
        break;
    case NEARLY:
        s = ad_mean(ad_square(ad_sub(ad_tanh(ad_add(g, small)), ad_tanh(g))), units);
        break;
    case STACKED:
        all = ad_stack(parts, 2, two);
        all = ad_sub(all, ad_mean(all, ad_shape_of(two)));
        s = ad_mean(ad_square(all), ad_shape_of(n, two));
        break;
    case DISJOINT:
        s = ad_mean(ad_mul(ad_relu(g), ad_relu(ad_neg(g))), units);
        break;
    default:
        s = ad_square(ad_param(nn_graph(net), "zero", (ad_shape){ 0 }, (ad_init){ .rate = 1, .multiplier = 1 }));
    }
    if (kept_off)
        s = ad_add(s, ad_constant(nn_graph(net), 0.1, (ad_shape){ 0 }));
    return nn_readout(net, "readout", ad_mul(ad_tanh(g), ad_rsqrt(s)));
}

Test(regime_centred, what_divides_is_bounded_from_below)
{
    which = BATCH;
    for (divides_by = 0; divides_by < DIVISORS; divides_by++)
        for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++)
            for (int k = 0; k < 2; k++) {
                kept_off = k;
                traced t = trace(divided, (nn_parametrization)scale, NN_SGD, kept_off ? NULL : "not known");
                release(&t);
            }
}

/* Sums within sums, as deep as there are numbers in front of them, below a mean over the batch: what is looked for in
 * them stays in proportion. */
static int numbers;
static ad_var numbered(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "dense", input, n), b = parameter(net, "b", ad_shape_of(n));
    for (int k = 0; k < numbers; k++) {
        ad_var s = ad_param(nn_graph(net), nn_name(net, "s%d", k), (ad_shape){ 0 },
                            (ad_init){ .mean = 1, .rate = 1, .multiplier = 1 });
        h = ad_mul(s, ad_add(h, k % 2 ? ad_relu(h) : b));
    }
    return nn_readout(net, "readout", ad_tanh(nn_batchnorm(net, "norm", h)));
}

Test(regime_centred, sums_within_sums)
{
    which = BATCH;
    numbers = 4;
    traced few = trace(numbered, NN_NTK, NN_SGD, NULL);
    numbers = 60;
    traced many = trace(numbered, NN_NTK, NN_SGD, NULL);
    cr_expect_str_eq(few.r.verdict, many.r.verdict);
    release(&few);
    release(&many);
}
