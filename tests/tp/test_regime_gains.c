/* Learned gains: numbers whose gradients cancel but for a part of them, as behind a layer normalisation, and sums that
 * cancel by what gains start at; derived powers beside finite networks. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 4, FEATURES = 6, SEEDS = 64, NARROW = 32, WIDE = 256, MOST = ROWS * WIDE };
static double x[ROWS * FEATURES], y[ROWS];

static void set_up(void)
{
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(1 + 2.3 * (i / FEATURES) + 0.9 * (i % FEATURES) * (i / FEATURES + 1));
    for (int i = 0; i < ROWS; i++)
        y[i] = 3 * sin(2.0 * i);
}

TestSuite(regime_gains, .init = set_up, .timeout = 300);

typedef struct {
    nn_net *net;
    tp_program *program;
    tp_regime r;
} traced;

static traced trace(nn_function function, nn_parametrization scale, nn_optimizer optimizer)
{
    ad_error error = { 0 };
    traced t = { .net = nn_trace(function, &(nn_spec){ .features = FEATURES, .parametrization = scale }, &error) };
    t.program = t.net ? tp_translate(t.net, &error) : NULL;
    const tp_regime_spec spec = { .optimizer = optimizer, .near = { NARROW, WIDE } };
    cr_assert(t.program && tp_regime_find(t.program, &spec, &t.r, &error) == 0, "%s", error.text);
    return t;
}

static void release(traced *t)
{
    tp_regime_free(&t->r);
    tp_program_free(t->program);
    nn_net_free(t->net);
}

static int param_of(const traced *t, const char *name)
{
    for (int k = 0; k < t->r.n_params; k++)
        if (!strcmp(t->r.params[k].name, name))
            return k;
    cr_assert_fail("no parameter %s", name);
    return -1;
}

static double rate = 1e-6;
static long steps = 1;

/* What steps change: of parameter k, or, k < 0, in the vector v: mean logs of root mean squares over seeds,
 * at a width. Log |N(0, 1)| has a deviation of 1.11: of SEEDS at both widths the slope's is 1.11 (2 / 64)^(1/2) / log 8
 * = 0.094 at most. */
static double log_change(const traced *t, int k, int v, size_t n)
{
    const nn_fit_spec fit = { .loss = NN_SQUARE, .optimizer = NN_SGD, .rate = rate, .steps = steps };
    static double h[2][MOST];
    double sum = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        ad_error error = { 0 };
        nn_model *models[2] = { nn_model_new(t->net, n, seed + n, AD_DOUBLE, 1, &error),
                                nn_model_new(t->net, n, seed + n, AD_DOUBLE, 1, &error) };
        cr_assert(models[0] && models[1] && nn_fit(models[1], &(nn_data){ x, y, ROWS, 0 }, &fit, NULL, &error) == 0,
                  "%s", error.text);
        size_t count = 1;
        double squares = 0;
        for (int i = 0; i < 2; i++)
            if (k >= 0)
                memcpy(h[i], nn_param_values(models[i], k, &count), sizeof **h);
            else {
                ad_var node = { nn_graph(t->net), t->r.vectors[v].node };
                count = v + 1 < t->r.n_vectors ? ROWS * n : ROWS;
                cr_assert(nn_activations(models[i], node, x, ROWS, h[i], &error) == 0, "%s", error.text);
            }
        for (size_t i = 0; i < count; i++)
            squares += pow(h[1][i] - h[0][i], 2) / (double)count;
        sum += log(squares) / (2 * SEEDS);
        nn_model_free(models[0]);
        nn_model_free(models[1]);
    }
    return sum;
}

static double slope(const traced *t, int k, int v)
{
    return (log_change(t, k, v, WIDE) - log_change(t, k, v, NARROW)) / log((double)WIDE / NARROW);
}

/* ---- numbers behind layer normalisations ---- */
typedef enum { BEFORE, AFTER, TWO_HEADS, FORMS } form_kind;
static form_kind form;

static ad_var number(nn_net *net, const char *name, double start)
{
    return ad_param(nn_graph(net), name, (ad_shape){ 0 }, (ad_init){ .mean = start, .rate = 1, .multiplier = 1 });
}

/* Residual branches with a number each, normalised before the branch or after it. */
static ad_var normalised(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", input, n);
    for (int block = 1; block <= 2; block++) {
        ad_var u = form == BEFORE ? nn_layernorm(net, nn_name(net, "norm%d", block), h) : h;
        u = ad_mul(ad_relu(u), number(net, nn_name(net, "g%d", block), 1));
        h = ad_add(h, nn_dense(net, nn_name(net, "block%d", block), u, n));
        h = form == AFTER ? nn_layernorm(net, nn_name(net, "norm%d", block), h) : h;
    }
    ad_var f = nn_readout(net, "readout", ad_relu(h));
    return form == TWO_HEADS ? ad_add(f, nn_readout(net, "other", ad_tanh(h))) : f;
}

/* The gradient of a number is odd in the readouts but for the means that a normalisation takes off: of order one in the
 * NTK scale, and n^1/2 times a readout's entry in all. Step by step no vector grows by it. */
Test(regime_gains, gradients_of_numbers_behind_normalisation_cancel)
{
    static const double powers[NN_N_PARAMETRIZATIONS] = {
        [NN_STANDARD] = 0, [NN_NTK] = 0, [NN_MEANFIELD] = -1, [NN_MUP] = -0.5
    };
    for (form = 0; form < FORMS; form++)
        for (int scale = 0; scale < NN_N_PARAMETRIZATIONS; scale++) {
            traced t = trace(normalised, (nn_parametrization)scale, NN_SGD);
            for (int block = 1; block <= 2; block++) {
                double change = t.r.params[param_of(&t, block == 1 ? "g1" : "g2")].change;
                cr_expect_float_eq(change, powers[scale], 1e-9, "%d, %s, g%d: %g", form,
                                   nn_parametrization_name((nn_parametrization)scale), block, change);
            }
            cr_expect_eq(t.r.stable, scale != NN_STANDARD, "%d: %s", form, t.r.verdict);
            release(&t);
        }
}

Test(regime_gains, gradients_of_numbers_behind_normalisation_are_as_derived)
{
    for (form = 0; form < FORMS; form++) {
        traced t = trace(normalised, NN_NTK, NN_SGD);
        double shown = slope(&t, param_of(&t, "g1"), 0);
        cr_expect_float_eq(shown, 0, 0.35, "%d: %g", form, shown); /* 0.5 where its terms add up */
        release(&t);
    }
}

/* Nor do four steps of a rate that trains, after which the numbers have changed by order one. */
Test(regime_gains, numbers_behind_normalisation_train_at_order_one)
{
    rate = 0.05;
    steps = 4;
    for (form = 0; form < FORMS; form++) {
        traced t = trace(normalised, NN_NTK, NN_SGD);
        int f = t.r.n_vectors - 1;
        double shown = slope(&t, -1, f);
        cr_expect_float_eq(t.r.vectors[f].several, 0, 1e-9, "%d: %g", form, t.r.vectors[f].several);
        cr_expect_float_eq(shown, 0, 0.25, "%d: %g", form, shown);
        release(&t);
    }
}

/* ---- numbers that the network computes ---- */
/* Layers times s = tanh(<q, k> n^-1/2): s changes by order one in the NTK scale, as its gradient is of that order, and
 * multiplies what was there. So do the layers, and nothing grows from one of them to the next. */
static ad_var scaled_by_products(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "first", input, n));
    for (int layer = 1; layer <= 2; layer++) {
        ad_var q = nn_dense(net, nn_name(net, "q%d", layer), h, n), k = nn_dense(net, nn_name(net, "k%d", layer), h, n);
        ad_var s = ad_tanh(ad_scale_by(ad_sum(ad_mul(q, k), ad_shape_of(n)), 1, n, -0.5));
        h = ad_relu(nn_dense(net, nn_name(net, "dense%d", layer), ad_mul(h, s), n));
    }
    return nn_readout(net, "readout", h);
}

Test(regime_gains, numbers_that_the_network_computes_change_what_was_there)
{
    traced t = trace(scaled_by_products, NN_NTK, NN_SGD);
    int f = t.r.n_vectors - 1;
    cr_expect(strstr(t.r.verdict, "stable, with feature learning") == t.r.verdict, "%s", t.r.verdict);
    cr_expect_float_eq(t.r.vectors[f - 1].response, 0, 1e-9, "%g", t.r.vectors[f - 1].response);
    cr_expect_float_eq(t.r.vectors[f - 1].several, 0, 1e-9, "%g", t.r.vectors[f - 1].several);
    rate = 0.1;
    steps = 4;
    double shown = slope(&t, -1, f);
    cr_expect_float_eq(shown, 0, 0.25, "%g", shown);
    release(&t);
}

/* ---- a part that adds up ---- */
/* n^-1/2 sum relu(h) (v + n^-p c): n^(1/2 - p) or 1, whichever is larger. */
static double falls;
static bool learns;

static ad_var mixture(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    const ad_init drawn = { .deviation = 1, .rate = 1, .multiplier = 1 };
    ad_var h = ad_relu(nn_dense(net, "layer", input, n)), v = ad_param(nn_graph(net), "v", ad_shape_of(n), drawn);
    ad_var c = learns ? number(net, "c", 0) : ad_param(nn_graph(net), "c", (ad_shape){ 0 }, drawn);
    ad_var weights = ad_add(v, ad_scale_by(ad_expand(c, ad_shape_of(n)), 1, n, 0 - falls));
    ad_var all = ad_expand(ad_mul(h, weights), ad_shape_of(nn_batch(net), n, nn_outputs(net)));
    return ad_scale_by(ad_sum(all, ad_shape_of(n)), 1, n, -0.5);
}

static double size_of_output(const nn_net *net, size_t n)
{
    enum { DRAWS = 512 };
    double sum = 0, f[ROWS];
    for (uint64_t seed = 1; seed <= DRAWS; seed++) {
        ad_error error = { 0 };
        nn_model *model = nn_model_new(net, n, seed, AD_DOUBLE, 1, &error);
        cr_assert(model && nn_forward(model, x, ROWS, f, &error) == 0, "%s", error.text);
        for (int i = 0; i < ROWS; i++)
            sum += f[i] * f[i] / (ROWS * DRAWS);
        nn_model_free(model);
    }
    return log(sum) / 2;
}

/* Between the widths, too: with E relu(h) = s / (2 pi)^1/2 and E relu(h)^2 = s^2 / 2 the mean square is
 * s^2 (1 / 2 + n^(1 - 2 p) / 2 pi), of which a sum of independent samples shows no more than its errors. */
Test(regime_gains, a_part_that_adds_up_leads_where_it_is_larger)
{
    static const double exponents[] = { 0, 0.25, 0.5, 0.75 };
    learns = false;
    for (size_t k = 0; k < sizeof exponents / sizeof *exponents; k++) {
        falls = exponents[k];
        traced t = trace(mixture, NN_NTK, NN_SGD);
        const tp_growing *f = &t.r.vectors[t.r.n_vectors - 1];
        double ends[2] = { pow(NARROW, 1 - 2 * falls), pow(WIDE, 1 - 2 * falls) }, pi = acos(-1);
        double exact = log((pi + ends[1]) / (pi + ends[0])) / (2 * log((double)WIDE / NARROW));
        double shown = (size_of_output(t.net, WIDE) - size_of_output(t.net, NARROW)) / log((double)WIDE / NARROW);
        cr_expect_float_eq(f->start, fmax(0.5 - falls, 0), 1e-9, "%g: %g", falls, f->start);
        cr_expect_float_eq(shown, exact, 0.1, "%g: %g, not %g", falls, shown, exact);
        cr_expect_geq(f->start, exact - 1e-9, "%g", falls);
        release(&t);
    }
}

/* The number starts at 0, its gradient is n^(1/2 - p), and f changes by the square of that. */
Test(regime_gains, a_part_that_is_0_at_the_start_adds_up_in_changes)
{
    static const double exponents[] = { 0, 0.25, 0.5 };
    learns = true;
    for (size_t k = 0; k < sizeof exponents / sizeof *exponents; k++) {
        falls = exponents[k];
        traced t = trace(mixture, NN_NTK, NN_SGD);
        const tp_growing *f = &t.r.vectors[t.r.n_vectors - 1];
        cr_expect_float_eq(f->start, 0, 1e-9, "%g: %g", falls, f->start);
        cr_expect_float_eq(f->first, 1 - 2 * falls, 1e-9, "%g: %g", falls, f->first);
        cr_expect_eq(t.r.stable, falls >= 0.5, "%g: %s", falls, t.r.verdict);
        release(&t);
    }
}

/* ---- what cancels by what gains start at ---- */
typedef enum { LESS_ITSELF, OF_NUMBER, TWO_GAINS, OF_SIGMOID, IN_FUNCTION, WAYS } way_kind;
static way_kind way;

static ad_var gain(nn_net *net, const char *name, double start)
{
    ad_shape shape = way == OF_NUMBER ? (ad_shape){ 0 } : ad_shape_of(nn_width(net, "n"));
    return ad_param(nn_graph(net), name, shape, (ad_init){ .mean = start, .rate = 1, .multiplier = 1 });
}

static ad_var nothing_yet(nn_net *net, ad_var h)
{
    ad_var a = ad_relu(h);
    switch (way) {
    case TWO_GAINS:
        return ad_sub(ad_mul(a, gain(net, "g", 1)), ad_mul(a, gain(net, "k", 1)));
    case OF_SIGMOID:
        return ad_sub(ad_mul(a, ad_sigmoid(gain(net, "g", 0))), ad_scale(a, 0.5));
    case IN_FUNCTION:
        return ad_sub(ad_relu(ad_mul(h, gain(net, "g", 1))), a);
    default:
        return ad_sub(ad_mul(a, gain(net, "g", 1)), a);
    }
}

static ad_var saturating(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", input, n);
    ad_var u = ad_scale_by(nothing_yet(net, h), 1, n, 0.5);
    return nn_readout(net, "readout", ad_tanh(ad_add(u, nn_dense(net, "second", ad_relu(h), n))));
}

/* tanh(n^1/2 (g a - a) + W a): the first part is 0 at the start, and saturates nothing. Its gain learns by n^1/2 times
 * a readout's entry, by which tanh changes at once and not by n^-1/4; by the first layer alone it changes as it does
 * without that part. */
Test(regime_gains, what_is_0_at_the_start_saturates_nothing)
{
    for (way = 0; way < WAYS; way++) {
        traced t = trace(saturating, NN_NTK, NN_SGD);
        int v = t.r.n_vectors - 2;
        const tp_growing *z = &t.r.vectors[v];
        double shown = slope(&t, -1, v), number = way == OF_NUMBER ? 1 : 0.5;
        cr_expect_float_eq(z->start, 0, 1e-9, "%d: %g", way, z->start);
        cr_expect_float_eq(z->response, number, 1e-9, "%d: %g", way, z->response);
        cr_expect_float_eq(shown, number, 0.35, "%d: %g", way, shown);
        cr_expect(z->first > -1e-9, "%d: %g", way, z->first);
        if (way != IN_FUNCTION)
            cr_expect_float_eq(t.r.params[param_of(&t, "first.weight")].change, -0.5, 1e-9, "%d: %g", way,
                               t.r.params[param_of(&t, "first.weight")].change);
        release(&t);
    }
}

/* ---- functions of numbers ---- */
/* What a function of a number makes is traced anew for each sample; scales that have moved into products stay what
 * vectors are told times: of a last layer without a function, n^-1/2 W x, and not W x. */
static ad_var read_out_linearly(nn_net *net, ad_var input)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_tanh(ad_mul(nn_dense(net, "first", input, n), ad_exp(number(net, "s", 0))));
    return nn_readout(net, "readout", nn_dense(net, "second", h, n));
}

Test(regime_gains, vectors_behind_functions_of_numbers_keep_their_scales)
{
    traced t = trace(read_out_linearly, NN_NTK, NN_SGD);
    cr_expect(strstr(t.r.verdict, "stable, with feature learning") == t.r.verdict, "%s", t.r.verdict);
    for (int v = 0; v < t.r.n_vectors; v++)
        cr_expect_float_eq(t.r.vectors[v].start, 0, 1e-9, "%s: %g", t.r.vectors[v].name, t.r.vectors[v].start);
    release(&t);
}
