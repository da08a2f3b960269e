/* Networks that users write: each one's limit against wide finite networks, and training that lowers its loss. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 4, STEPS = 3, FEATURES = 4 };

/* ---- the networks ---- */
/* The states of one direction: s_t = tanh(W s + U x_t), from the first step on or from the last. */
static void direction(nn_net *net, const char *name, const ad_var *x, bool back, ad_var *states)
{
    ad_axis n = nn_width(net, "n"), in = ad_shape_get(x[0])->axes[1];
    nn_weight w = nn_make_weight(net, nn_name(net, "%s.W", name), n, n, 1.2);
    nn_weight u = nn_make_weight(net, nn_name(net, "%s.U", name), in, n, 1);
    for (int k = 0; k < STEPS; k++) {
        int t = back ? STEPS - 1 - k : k, before = back ? t + 1 : t - 1;
        ad_var h = nn_apply(u, x[t]);
        states[t] = ad_tanh(k ? ad_add(h, nn_apply(w, states[before])) : h);
    }
}

static void take_steps(ad_var x, ad_var *steps)
{
    for (size_t t = 0; t < STEPS; t++)
        steps[t] = ad_take(x, ad_shape_get(x)->axes[1], t);
}

/* Two layers, both directions, whose states are added. */
static void both_ways(nn_net *net, ad_var x, ad_var *states)
{
    ad_var there[STEPS], back[STEPS];
    take_steps(x, states);
    for (int layer = 0; layer < 2; layer++) {
        direction(net, nn_name(net, "there%d", layer), states, false, there);
        direction(net, nn_name(net, "back%d", layer), states, true, back);
        for (int t = 0; t < STEPS; t++)
            states[t] = ad_scale(ad_add(there[t], back[t]), sqrt(0.5));
    }
}

static ad_var bidirectional(nn_net *net, ad_var x)
{
    ad_var states[STEPS], sum;
    both_ways(net, x, states);
    sum = states[0];
    for (int t = 1; t < STEPS; t++)
        sum = ad_add(sum, states[t]);
    return nn_readout(net, "readout", ad_scale(sum, 1.0 / STEPS));
}

/* One output a step, by one readout vector: the outputs' axis is the time. */
static ad_var every_step(nn_net *net, ad_var x)
{
    ad_var states[STEPS];
    both_ways(net, x, states);
    ad_axis one = ad_fixed(nn_graph(net), "one", 1);
    nn_weight v = nn_make_weight(net, "readout", nn_width(net, "n"), one, 1);
    for (int t = 0; t < STEPS; t++)
        states[t] = ad_take(nn_apply(v, states[t]), one, 0);
    return ad_stack(states, STEPS, nn_outputs(net));
}

/* Layers of three widths, a skip from the input to each, a product as a gate. */
static ad_var widths(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), half = nn_width_ratio(net, "half", 0.5), twice = nn_width_ratio(net, "twice", 2);
    ad_var h = ad_relu(nn_dense(net, "first", x, half));
    h = ad_tanh(ad_add(nn_dense(net, "second", h, twice), nn_dense(net, "skip", x, twice)));
    ad_var gate = ad_sigmoid(nn_dense(net, "gate", x, n));
    return nn_readout(net, "readout", ad_mul(gate, ad_add(nn_dense(net, "third", h, n), nn_dense(net, "again", x, n))));
}

/* Residual blocks with the activation before the product and after it. */
static ad_var blocks(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", x, n);
    h = ad_add(h, nn_dense(net, "before", ad_relu(h), n));
    h = ad_add(h, ad_erf(nn_dense(net, "after", h, n)));
    return nn_readout(net, "readout", h);
}

/* Two heads of 1/n attention, whose queries and keys share a weight, and a layernorm. */
static ad_var heads(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), position = ad_shape_get(x)->axes[1], other = ad_prime(position);
    ad_var h = ad_relu(nn_dense(net, "embed", x, n)), sum = h;
    for (int head = 0; head < 2; head++) {
        nn_weight key = nn_make_weight(net, nn_name(net, "key%d", head), n, n, 1);
        ad_var q = nn_apply(key, h), k = ad_relabel(q, position, other);
        ad_var weights = ad_softmax(ad_scale_by(ad_contract(q, k, ad_shape_of(n)), 1, n, -1), other);
        ad_var value = ad_relabel(nn_dense(net, nn_name(net, "value%d", head), h, n), position, other);
        sum = ad_add(sum, ad_contract(weights, value, ad_shape_of(other)));
    }
    ad_var centred = ad_sub(sum, ad_mean(sum, ad_shape_of(n))), size = ad_mean(ad_square(centred), ad_shape_of(n));
    sum = ad_mul(centred, ad_rsqrt(ad_add(size, ad_constant(x.graph, 1e-3, (ad_shape){ 0 }))));
    return nn_readout(net, "readout", ad_mean(ad_relu(nn_dense(net, "last", sum, n)), ad_shape_of(position)));
}

/* Words by their one-hot rows: a table (words, n), of which a row is picked for each step. */
static ad_var embedded(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], words = ad_shape_get(x)->axes[2];
    ad_var table = ad_param(nn_graph(net), "table", ad_shape_of(words, n), (ad_init){ .deviation = 1, .rate = 1 });
    ad_var h = ad_tanh(nn_dense(net, "dense", ad_matmul(x, table), n));
    return nn_readout(net, "readout", ad_mean(h, ad_shape_of(time)));
}

/* One matrix both ways, between two widths, as an autoencoder has it. */
static ad_var autoencoder(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), code = nn_width_ratio(net, "code", 0.5);
    nn_weight w = nn_make_weight(net, "w", n, code, 1.2);
    return nn_readout(net, "readout", nn_apply_t(w, ad_erf(nn_apply(w, nn_dense(net, "first", x, n)))));
}

/* Functions of parameters alone: gains as a vector's softplus, a readout as the tanh of another's rows, a scaled
 * table. */
static ad_var early(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_graph *graph = nn_graph(net);
    ad_init normal = { .deviation = 1, .rate = 1 };
    ad_var gain = ad_param(graph, "gain", ad_shape_of(n), normal);
    ad_var v = ad_param(graph, "v", ad_shape_of(n, nn_outputs(net)), normal);
    ad_var h = ad_mul(ad_relu(nn_dense(net, "first", x, n)), ad_softplus(ad_add(gain, gain)));
    return ad_scale_by(ad_matmul(ad_erf(nn_dense(net, "second", h, n)), ad_tanh(v)), 1, n, -0.5);
}
static ad_var picked_late(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], word = ad_fixed(x.graph, "word", FEATURES);
    ad_var table = ad_param(x.graph, "table", ad_shape_of(word, n), (ad_init){ .deviation = 1, .rate = 1 });
    ad_var which = ad_take(x, ad_shape_get(x)->axes[2], 1);
    for (size_t k = 2; k < FEATURES; k++)
        which = ad_add(which, ad_scale(ad_take(x, ad_shape_get(x)->axes[2], k), (double)k));
    ad_var h = ad_tanh(nn_dense(net, "dense", ad_gather(ad_sin(table), which, word), n));
    return nn_readout(net, "readout", ad_mean(h, ad_shape_of(time)));
}

/* ---- derivatives of the network's own output ---- */
static ad_var ones_like(ad_var f)
{
    return ad_constant(f.graph, 1, *ad_shape_get(f));
}

/* f and its first two derivatives, as Sobolev training has them. */
static ad_var slopes(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), one = ad_fixed(x.graph, "one", 1), features = ad_shape_get(x)->axes[1];
    ad_var h = ad_tanh(nn_dense(net, "second", ad_erf(nn_dense(net, "first", x, n)), n)), dx;
    ad_var f = nn_apply(nn_make_weight(net, "v", n, one, 1), h);
    ad_backward(f, ones_like(f), &x, 1, &dx, NULL);
    ad_var parts[] = { ad_take(f, one, 0), ad_take(dx, features, 0), ad_take(dx, features, 1) };
    return ad_stack(parts, 3, nn_outputs(net));
}

/* f and the derivative along (1, 1, 1, 1), of a function with kinks. */
static ad_var bent(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = ad_relu(nn_dense(net, "second", ad_relu(nn_dense(net, "first", x, n)), n)), dx;
    ad_var f = nn_readout(net, "readout", h);
    ad_backward(f, ones_like(f), &x, 1, &dx, NULL);
    return ad_add(f, ad_expand(ad_sum(dx, ad_shape_of(ad_shape_get(x)->axes[1])), *ad_shape_get(f)));
}

/* The derivative with respect to a hidden vector, summed against that vector; and the Laplacian. */
static ad_var hidden(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), features = ad_shape_get(x)->axes[1];
    ad_var h = nn_dense(net, "first", x, n), g, dx, second;
    ad_var f = nn_readout(net, "readout", ad_tanh(nn_dense(net, "second", ad_tanh(h), n)));
    ad_backward(f, ones_like(f), &h, 1, &g, NULL);
    ad_backward(f, ones_like(f), &x, 1, &dx, NULL);
    ad_var all = ad_contract(g, h, ad_shape_of(n));
    for (size_t k = 0; k < FEATURES; k++) {
        ad_var d = ad_take(dx, features, k);
        ad_backward(d, ones_like(d), &x, 1, &second, NULL);
        all = ad_add(all, ad_take(second, features, k));
    }
    return ad_expand(all, *ad_shape_get(f));
}

/* One readout of an odd vector, of an even one, and of the first times a feature: between the second and the others
 * there is nothing, but for roundings. */
static ad_var odd_and_even(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), one = ad_fixed(nn_graph(net), "one", 1);
    ad_var h = ad_tanh(nn_dense(net, "first", x, n));
    nn_weight r = nn_make_weight(net, "readout", n, one, 1);
    ad_var odd = nn_apply(r, h), even = nn_apply(r, ad_square(h));
    ad_var y[] = { odd, even, ad_mul(odd, ad_take(x, ad_shape_get(x)->axes[1], 0)) };
    ad_axis axes[] = { one, one, one };
    return ad_concat(y, 3, axes, nn_outputs(net));
}

static const struct {
    const char *name;
    nn_function function;
    size_t outputs;
    bool sequences, words, exact;
} nets[] = {
    { "bidirectional", bidirectional, 1, true, false, true },
    { "every step", every_step, STEPS, true, false, true },
    { "widths", widths, 1, false, false, true },
    { "blocks", blocks, 1, false, false, true },
    { "heads", heads, 1, true, false, true },
    { "embedded", embedded, 1, true, true, true },
    { "autoencoder", autoencoder, 1, false, false, true },
    { "early", early, 1, false, false, true },
    { "picked late", picked_late, 1, true, true, false },
    { "slopes", slopes, 3, false, false, true },
    { "bent", bent, 1, false, false, false },
    { "hidden", hidden, 1, false, false, true },
    { "odd and even", odd_and_even, 3, false, false, true },
};
enum { NETS = sizeof nets / sizeof *nets };

static nn_net *trace(int i)
{
    ad_error error = { 0 };
    nn_spec spec = { .outputs = nets[i].outputs, .name = nets[i].name };
    if (nets[i].sequences) {
        spec.shape[0] = STEPS;
        spec.shape[1] = FEATURES;
    } else {
        spec.features = FEATURES;
    }
    nn_net *net = nn_trace(nets[i].function, &spec, &error);
    cr_assert(net, "%s: %s", nets[i].name, error.text);
    return net;
}

static double *inputs(int i)
{
    double *x = nets[i].sequences ? reference_sequences(ROWS, STEPS, FEATURES) : reference_inputs(ROWS, FEATURES);
    for (size_t k = 0; nets[i].words && k < (size_t)ROWS * STEPS * FEATURES; k++) /* word t + r in step t of row r */
        x[k] = k % FEATURES == (k / FEATURES % STEPS + k / (FEATURES * STEPS)) % FEATURES;
    return x;
}

/* ---- tests ---- */
/* Entry by entry, for each two outputs, the mean over 16 seeds of width 512 is within 6 standard errors of the limit
 * and a bias of 8/n of the largest entry: P(|t| > 6) < 3e-5 at 15 degrees of freedom, for each of 240 entries. */
Test(networks, limits_agree_with_wide_networks)
{
    enum { WIDTH = 512, SEEDS = 16, MOST = ROWS * ROWS * STEPS * STEPS };
    for (int i = 0; i < NETS; i++) {
        ad_error error = { 0 };
        size_t outputs = nets[i].outputs, count = ROWS * ROWS * outputs * outputs;
        double *x = inputs(i), k[MOST], mean[MOST] = { 0 }, variance[MOST] = { 0 }, limit[MOST], largest = 0, worst = 0;
        nn_net *net = trace(i);
        tp_program *program = tp_translate(net, &error);
        cr_assert(program, "%s: %s", nets[i].name, error.text);
        for (size_t o = 0; o < outputs * outputs; o++) {
            tp_kernel kernel;
            tp_limit_spec spec = { .output = o / outputs, .output2 = o % outputs };
            cr_assert_eq(tp_limit(program, TP_NTK, x, ROWS, NULL, 0, &spec, &kernel, &error), 0, "%s: %s", nets[i].name,
                         error.text);
            cr_expect_eq(!strstr(kernel.method, "sampled"), nets[i].exact, "%s: %s", nets[i].name, kernel.method);
            for (size_t e = 0; e < ROWS * ROWS; e++) {
                limit[e * outputs * outputs + o] = kernel.terms[0].values[e];
                largest = fmax(largest, fabs(kernel.terms[0].values[e]));
            }
            tp_kernel_free(&kernel);
        }
        for (int seed = 1; seed <= SEEDS; seed++) {
            nn_model *model = nn_model_new(net, WIDTH, (uint64_t)seed, AD_DOUBLE, 1, &error);
            cr_assert(model && nn_ntk(model, x, ROWS, NULL, 0, NN_FULL, k, &error) == 0, "%s", error.text);
            for (size_t e = 0; e < count; e++) {
                double off = k[e] - mean[e];
                mean[e] += off / seed;
                variance[e] += off * (k[e] - mean[e]) / (SEEDS - 1);
            }
            nn_model_free(model);
        }
        for (size_t e = 0; e < count; e++) {
            double off = fabs(mean[e] - limit[e]), spread = sqrt(variance[e] / SEEDS);
            worst = fmax(worst, off / largest);
            cr_expect_lt(off, 6 * spread + 8.0 / WIDTH * largest, "%s, entry %zu: %g and %g", nets[i].name, e, mean[e],
                         limit[e]);
        }
        cr_log_info("%s: off by at most %.2g of the largest entry", nets[i].name, worst);
        tp_program_free(program);
        nn_net_free(net);
        free(x);
    }
}

Test(networks, training_lowers_the_loss)
{
    for (int i = 0; i < NETS; i++) {
        ad_error error = { 0 };
        double *x = inputs(i), y[ROWS * STEPS], before, after;
        for (int k = 0; k < ROWS * STEPS; k++)
            y[k] = cos(1 + 2 * k);
        nn_net *net = trace(i);
        nn_model *model = nn_model_new(net, 64, 1, AD_DOUBLE, 1, &error);
        nn_data data = { x, y, ROWS, 0 };
        nn_fit_spec fit = { .rate = 0.1, .steps = 400 };
        cr_assert(model, "%s", error.text);
        cr_assert_eq(nn_evaluate(model, &data, NN_SQUARE, &before, NULL, &error), 0, "%s: %s", nets[i].name,
                     error.text);
        cr_assert_eq(nn_fit(model, &data, &fit, NULL, &error), 0, "%s: %s", nets[i].name, error.text);
        cr_assert_eq(nn_evaluate(model, &data, NN_SQUARE, &after, NULL, &error), 0, "%s: %s", nets[i].name, error.text);
        cr_log_info("%s: loss %.3g, then %.3g", nets[i].name, before, after);
        cr_expect_lt(after, before / 2, "%s: %g, then %g", nets[i].name, before, after);
        nn_model_free(model);
        nn_net_free(net);
        free(x);
    }
}

/* ---- an embedding: f = v relu(sum over t of E[x_t]), x_t whole numbers ---- */
enum { WORDS = 7, LENGTH = 3 };
static ad_var bag(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1];
    ad_var words = nn_embedding(net, "words", x, WORDS, n, 1.3);
    return nn_readout(net, "readout", ad_relu(ad_sum(words, ad_shape_of(time))));
}

static nn_net *trace_bag(nn_sigma_in sigma_in, ad_error *error)
{
    nn_spec spec = { .outputs = 1, .features = LENGTH, .sigma_in = sigma_in };
    nn_net *net = nn_trace(bag, &spec, error);
    cr_assert(net, "%s", error->text);
    return net;
}

static const double words[ROWS * LENGTH] = { 0, 1, 2, 2, 6, 2, 5, 5, 5, 3, 2, 0 };

/* The covariance is sigma^2 c, c the pairs of equal words; Theta = E relu relu + s c E step step by arccosines (Cho and
 * Saul, 2009), where s is sigma^2 if the raw entries are multiplied by sigma, and 1 if they are drawn with it. */
Test(networks, an_embedding_in_the_limit)
{
    const double pi = acos(-1), sigma = 1.3;
    for (int multiplier = 0; multiplier < 2; multiplier++) {
        ad_error error = { 0 };
        nn_net *net = trace_bag(multiplier ? NN_SIGMA_MULTIPLIER : NN_SIGMA_INIT, &error);
        tp_program *program = tp_translate(net, &error);
        tp_kernel kernel;
        cr_assert(program && tp_limit(program, TP_NTK, words, ROWS, NULL, 0, NULL, &kernel, &error) == 0, "%s",
                  error.text);
        cr_expect(kernel.error > 0 && kernel.error < 1e-13, "%g", kernel.error);
        cr_expect_str_eq(kernel.method, "closed forms");
        double pairs[ROWS][ROWS] = { { 0 } };
        for (int e = 0; e < ROWS * ROWS * LENGTH * LENGTH; e++) {
            int i = e / (ROWS * LENGTH * LENGTH), j = e / (LENGTH * LENGTH) % ROWS;
            pairs[i][j] += words[i * LENGTH + e / LENGTH % LENGTH] == words[j * LENGTH + e % LENGTH];
        }
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++) {
                double size = sqrt(pairs[i][i] * pairs[j][j]), angle = acos(fmin(pairs[i][j] / size, 1));
                double relu = sigma * sigma * size * (sin(angle) + (pi - angle) * cos(angle)) / (2 * pi);
                double theta = relu + (multiplier ? sigma * sigma : 1) * pairs[i][j] * (pi - angle) / (2 * pi);
                cr_expect_float_eq(kernel.terms[0].values[i * ROWS + j], theta, 1e-12 * theta, "(%d, %d)", i, j);
            }
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
}

Test(networks, an_embedding_looks_rows_up)
{
    enum { WIDTH = 16 };
    ad_error error = { 0 };
    nn_net *net = trace_bag(NN_SIGMA_INIT, &error);
    nn_model *model = nn_model_new(net, WIDTH, 1, AD_DOUBLE, 1, &error);
    size_t entries, weights;
    double f[ROWS];
    cr_assert(model && nn_forward(model, words, ROWS, f, &error) == 0, "%s", error.text);
    const double *table = nn_param_values(model, 0, &entries), *v = nn_param_values(model, 1, &weights);
    cr_assert(entries == WORDS * WIDTH && weights == WIDTH);
    for (int i = 0; i < ROWS; i++) {
        double sum = 0;
        for (int k = 0; k < WIDTH; k++) {
            double h = 0;
            for (int t = 0; t < LENGTH; t++)
                h += table[(int)words[i * LENGTH + t] * WIDTH + k];
            sum += v[k] * fmax(h, 0) / sqrt(WIDTH);
        }
        cr_expect_float_eq(f[i], sum, 1e-14, "row %d", i);
    }
    /* Theta = <relu h, relu h'> / n + the pairs of equal words, each with v^2 step step' / n. */
    double theta[ROWS * ROWS];
    cr_assert_eq(nn_ntk(model, words, ROWS, NULL, 0, NN_FULL, theta, &error), 0, "%s", error.text);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            double sum = 0;
            for (int k = 0; k < WIDTH; k++) {
                double a = 0, b = 0, pairs = 0;
                for (int t = 0; t < LENGTH * LENGTH; t++)
                    pairs += words[i * LENGTH + t / LENGTH] == words[j * LENGTH + t % LENGTH];
                for (int t = 0; t < LENGTH; t++) {
                    a += table[(int)words[i * LENGTH + t] * WIDTH + k];
                    b += table[(int)words[j * LENGTH + t] * WIDTH + k];
                }
                sum += (fmax(a, 0) * fmax(b, 0) + pairs * v[k] * v[k] * (a > 0) * (b > 0)) / WIDTH;
            }
            cr_expect_float_eq(theta[i * ROWS + j], sum, 1e-13, "(%d, %d)", i, j);
        }
    static const struct {
        double index;
        const char *text;
    } wrong[] = { { WORDS, "index 7" }, { -1, "index -1" }, { 1.5, "index 1.5" } };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        double row[LENGTH] = { 0, wrong[k].index, 1 };
        error = (ad_error){ 0 };
        cr_expect_eq(nn_forward(model, row, 1, f, &error), -1, "%g", wrong[k].index);
        cr_expect(strstr(error.text, "test_networks.c:") && strstr(error.text, wrong[k].text), "%s", error.text);
    }
    nn_model_free(model);
    nn_net_free(net);
}
