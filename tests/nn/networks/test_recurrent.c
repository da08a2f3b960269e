/* The network rnn: its cells against plain loops, its kernels against exact references, gradients against differences,
 * and sequences of unequal length against the same sequences alone. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 3, N = 8, ROWS = 4 };

static const char *const cells[] = { "cell=vanilla", "cell=gru", "cell=lstm" };
static const char *const readouts[] = { "readout=last", "readout=mean" };

static nn_net *trace(size_t steps, size_t features, size_t outputs, nn_sigma_in sigma_in, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = {
        .shape = { steps, features }, .outputs = outputs, .sigma_in = sigma_in, .settings = settings, .name = "rnn"
    };
    nn_net *net = nn_trace(nn_builtin("rnn"), &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static nn_model *draw(const nn_net *net, size_t n)
{
    ad_error error = { 0 };
    nn_model *model = nn_model_new(net, n, 3, AD_DOUBLE, 1, &error);
    cr_assert(model, "%s", error.text);
    return model;
}

static tp_kernel solve(nn_net *net, tp_kernel_kind which, const double *x, size_t rows)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    cr_assert_eq(tp_limit(program, which, x, rows, NULL, 0, NULL, &kernel, &error), 0, "%s", error.text);
    tp_program_free(program);
    return kernel;
}

/* The largest difference, relative to the expected value. */
static double off(const double *got, const double *expected, size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs(got[i] - expected[i]) / fabs(expected[i]));
    return worst;
}

/* The values of a parameter by its name. */
static double *weights(nn_model *model, const char *name)
{
    const nn_net *net = nn_model_net(model);
    for (int k = 0; k < nn_n_params(net); k++)
        if (strcmp(ad_node_of(nn_graph(net), nn_param(net, k).id)->name, name) == 0)
            return nn_param_values(model, k, NULL);
    cr_assert(0, "no parameter %s", name);
    return NULL;
}

/* ---- references ---- */
Test(recurrent, limit_reference)
{
    reference *ref = reference_read("rnn_erf_4x5");
    double *x = reference_sequences(4, 5, 8);
    for (int mean = 0; mean < 2; mean++) {
        const char *settings[] = { "phi=erf", "sigma_u=1.4142135623730951", "sigma_b=0.44721359549995793",
                                   readouts[mean], NULL };
        nn_net *net = trace(5, 8, 1, NN_SIGMA_INIT, settings);
        tp_kernel nngp = solve(net, TP_NNGP, x, 4), ntk = solve(net, TP_NTK, x, 4);
        double a = off(nngp.terms[0].values, reference_array(ref, mean ? "limit.gp_avg" : "limit.gp_last", 16), 16);
        double b = off(ntk.terms[0].values, reference_array(ref, mean ? "limit.ntk_avg" : "limit.ntk_last", 16), 16);
        cr_log_info("%s: NNGP kernel off by %.2g, NTK by %.2g relative", readouts[mean], a, b);
        cr_expect_lt(a, 1e-12, "%s: %g", readouts[mean], a);
        cr_expect_lt(b, 1e-12, "%s: %g", readouts[mean], b);
        tp_kernel_free(&nngp);
        tp_kernel_free(&ntk);
        nn_net_free(net);
    }
    free(x);
    reference_free(ref);
}

/* The file's weights are numbered input, hidden, bias, readout. */
Test(recurrent, empirical_reference)
{
    static const char *const names[] = { "layer1.U", "layer1.W", "layer1.b", "readout.weight" };
    static const size_t counts[] = { 48, 256, 16, 16 };
    static const char *const settings[] = { "sigma_w=1.2", "sigma_u=1.1", "sigma_b=0.1", NULL };
    reference *ref = reference_read("emp_rnn_tanh_w16_4x3");
    nn_net *net = trace(4, 3, 1, NN_SIGMA_MULTIPLIER, settings);
    nn_model *model = draw(net, 16);
    double *x = reference_inputs(5, 12), f[5], k[25];
    for (int l = 0; l < 4; l++) {
        double *w = weights(model, names[l]);
        for (size_t i = 0; i < counts[l]; i++) {
            double d = (double)i;
            w[i] = sqrt(2) * sin(1.3 * (l + 1) + 2.399963229728653 * d + 0.11 * d * d / (double)counts[l]);
        }
    }
    cr_assert(nn_forward(model, x, 5, f, NULL) == 0);
    cr_assert(nn_ntk(model, x, 5, NULL, 0, NN_FULL, k, NULL) == 0);
    double a = off(f, reference_array(ref, "outputs", 5), 5), b = off(k, reference_array(ref, "ntk_full", 25), 25);
    cr_log_info("outputs off by %.2g, NTK by %.2g relative", a, b);
    cr_expect_lt(a, 1e-11, "%g", a);
    cr_expect_lt(b, 1e-11, "%g", b);
    nn_model_free(model);
    nn_net_free(net);
    free(x);
    reference_free(ref);
}

/* ---- the cells in plain C ---- */
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* W s + U x + b of one gate, coordinate j. */
static double gate(nn_model *model, const char *which, const double *s, const double *x, size_t j)
{
    char w[32], u[32], b[32];
    snprintf(w, sizeof w, "layer1.W%s", which);
    snprintf(u, sizeof u, "layer1.U%s", which);
    snprintf(b, sizeof b, "layer1.b%s", which);
    double h = weights(model, b)[j];
    for (size_t i = 0; i < N; i++)
        h += s[i] * weights(model, w)[i * N + j] / sqrt(N);
    for (size_t i = 0; i < FEATURES; i++)
        h += x[i] * weights(model, u)[i * N + j] / sqrt(FEATURES);
    return h;
}

/* s and c become the next states. */
static void step(nn_model *model, int cell, const double *x, double *s, double *c)
{
    double next[N], reset[N];
    for (size_t j = 0; j < N; j++)
        reset[j] = cell == 1 ? sigmoid(gate(model, "r", s, x, j)) * s[j] : s[j];
    for (size_t j = 0; j < N; j++) {
        double fresh = tanh(gate(model, "", reset, x, j));
        next[j] = fresh;
        if (cell == 1) {
            double z = sigmoid(gate(model, "z", s, x, j));
            next[j] = (1 - z) * s[j] + z * fresh;
        } else if (cell == 2) {
            c[j] = sigmoid(gate(model, "f", s, x, j)) * c[j] + sigmoid(gate(model, "i", s, x, j)) * fresh;
            next[j] = sigmoid(gate(model, "o", s, x, j)) * tanh(c[j]);
        }
    }
    memcpy(s, next, sizeof next);
}

Test(recurrent, cells_compute_what_they_say)
{
    enum { STEPS = 5 };
    double *x = reference_sequences(ROWS, STEPS, FEATURES), f[ROWS];
    for (int cell = 0; cell < 3; cell++)
        for (int mean = 0; mean < 2; mean++) {
            nn_net *net = trace(STEPS, FEATURES, 1, NN_SIGMA_INIT,
                                (const char *[]){ cells[cell], readouts[mean], "sigma_b=0.4", NULL });
            nn_model *model = draw(net, N);
            cr_assert(nn_forward(model, x, ROWS, f, NULL) == 0);
            for (size_t r = 0; r < ROWS; r++) {
                double s[N] = { 0 }, c[N] = { 0 }, y = 0;
                for (size_t t = 0; t < STEPS; t++) {
                    step(model, cell, x + (r * STEPS + t) * FEATURES, s, c);
                    for (size_t j = 0; j < N && (mean || t + 1 == STEPS); j++)
                        y += s[j] * weights(model, "readout.weight")[j] / sqrt(N) / (mean ? STEPS : 1);
                }
                cr_expect_float_eq(f[r], y, 1e-13, "%s %s: %.17g, not %.17g", cells[cell], readouts[mean], f[r], y);
            }
            nn_model_free(model);
            nn_net_free(net);
        }
    free(x);
}

/* ---- gradients ---- */
/* A step of SGD at rate 1 shows the gradient; central differences are good to 1e-9 here. */
static double gradient_error(nn_model *model, const nn_data *data)
{
    size_t count = nn_model_size(model);
    double *w = nn_param_values(model, 0, NULL), *numeric = calloc(count, sizeof *w),
           *before = calloc(count, sizeof *w);
    double worst = 0, h = 1e-5;
    for (size_t p = 0; p < count; p++) {
        double kept = w[p], above, below;
        w[p] = kept + h;
        cr_assert(nn_evaluate(model, data, NN_CROSS_ENTROPY, &above, NULL, NULL) == 0);
        w[p] = kept - h;
        cr_assert(nn_evaluate(model, data, NN_CROSS_ENTROPY, &below, NULL, NULL) == 0);
        numeric[p] = (above - below) / (2 * h);
        w[p] = kept;
    }
    memcpy(before, w, count * sizeof *w);
    nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .rate = 1, .steps = 1 };
    cr_assert(nn_fit(model, data, &fit, NULL, NULL) == 0);
    for (size_t p = 0; p < count; p++)
        worst = fmax(worst, fabs(before[p] - w[p] - numeric[p]));
    free(numeric);
    free(before);
    return worst;
}

Test(recurrent, gradients_are_differences_of_losses)
{
    enum { STEPS = 4 };
    double *x = reference_sequences(ROWS, STEPS, FEATURES), y[ROWS] = { 0, 2, 1, 1 };
    memset(x, 0, 2 * FEATURES * sizeof *x); /* the first sequence has two steps, where padding is told */
    nn_data data = { x, y, ROWS, 3 };
    for (int cell = 0; cell < 3; cell++)
        for (int variant = 0; variant < 4; variant++) {
            const char *settings[] = { cells[cell], readouts[variant & 1],
                                       "depth=2",   "sigma_b=0.4",
                                       "phi=erf",   variant & 2 ? "padding=front" : "padding=none",
                                       NULL };
            nn_net *net = trace(STEPS, FEATURES, 3, NN_SIGMA_INIT, settings);
            nn_model *model = draw(net, N);
            double worst = gradient_error(model, &data);
            cr_log_info("%s %s %s: %zu derivatives, off by %.2g", cells[cell], settings[1], settings[5],
                        nn_model_size(model), worst);
            cr_expect_lt(worst, 1e-9, "%s %s %s: %g", cells[cell], settings[1], settings[5], worst);
            nn_model_free(model);
            nn_net_free(net);
        }
    free(x);
}

/* ---- sequences of unequal length ---- */
static const size_t lengths[ROWS] = { 5, 1, 4, 2 };

/* The first length steps of each sequence behind zeros: (rows, steps, features). */
static double *pad(const double *x, size_t steps)
{
    double *padded = calloc(ROWS * steps * FEATURES, sizeof *padded);
    for (size_t r = 0; r < ROWS; r++)
        memcpy(padded + ((r + 1) * steps - lengths[r]) * FEATURES, x + r * 5 * FEATURES,
               lengths[r] * FEATURES * sizeof *x);
    return padded;
}

static void finite_kernel(size_t steps, const char *const *settings, const double *x, size_t rows, double *k)
{
    ad_error error = { 0 };
    nn_net *net = trace(steps, FEATURES, 1, NN_SIGMA_INIT, settings);
    nn_model *model = draw(net, 16);
    cr_assert_eq(nn_ntk(model, x, rows, NULL, 0, NN_MEAN, k, &error), 0, "%s", error.text);
    nn_model_free(model);
    nn_net_free(net);
}

static void limit_kernel(size_t steps, const char *const *settings, const double *x, size_t rows, double *k)
{
    nn_net *net = trace(steps, FEATURES, 1, NN_SIGMA_INIT, settings);
    tp_kernel kernel = solve(net, TP_NTK, x, rows);
    memcpy(k, kernel.terms[0].values, rows * rows * sizeof *k);
    tp_kernel_free(&kernel);
    nn_net_free(net);
}

typedef void (*kernel_of)(size_t steps, const char *const *settings, const double *x, size_t rows, double *k);

/* A batch of unequal lengths gives each sequence the kernel that it has alone, without padding, and all pairs the same
 * kernel however much padding there is. */
static double padding_error(kernel_of kernel, const char *cell, const char *readout)
{
    const char *told[] = { cell, readout, "sigma_b=0.4", "depth=2", "padding=front", NULL };
    const char *alone[] = { cell, readout, "sigma_b=0.4", "depth=2", NULL };
    double *x = reference_sequences(ROWS, 5, FEATURES);
    memset(x + 2 * FEATURES, 0, FEATURES * sizeof *x); /* a step of zeros among others is no padding */
    double *five = pad(x, 5), *nine = pad(x, 9);
    double k5[ROWS * ROWS], k9[ROWS * ROWS], k1, worst;
    kernel(5, told, five, ROWS, k5);
    kernel(9, told, nine, ROWS, k9);
    worst = off(k9, k5, ROWS * ROWS);
    for (size_t r = 0; r < ROWS; r++) {
        kernel(lengths[r], alone, x + r * 5 * FEATURES, 1, &k1);
        worst = fmax(worst, off(&k5[r * (ROWS + 1)], &k1, 1));
    }
    kernel(5, alone, five, ROWS, k9);
    cr_expect_gt(off(k9, k5, ROWS * ROWS), 0.01, "padding that is not told does change the kernel");
    free(x);
    free(five);
    free(nine);
    return worst;
}

Test(recurrent, padding_changes_no_empirical_kernel)
{
    for (int cell = 0; cell < 3; cell++)
        for (int mean = 0; mean < 2; mean++) {
            double worst = padding_error(finite_kernel, cells[cell], readouts[mean]);
            cr_log_info("%s %s: off by %.2g relative", cells[cell], readouts[mean], worst);
            cr_expect_lt(worst, 1e-11, "%s %s: %g", cells[cell], readouts[mean], worst);
        }
}

Test(recurrent, padding_changes_no_limit)
{
    double worst = padding_error(limit_kernel, "cell=vanilla", "readout=last");
    cr_log_info("off by %.2g relative", worst);
    cr_expect_lt(worst, 1e-12, "%g", worst);
}

/* The network of nn/networks/README.md, with nn_padding_mask. */
static ad_var own(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), time = ad_shape_get(x)->axes[1], features = ad_shape_get(x)->axes[2];
    nn_weight w = nn_make_weight(net, "W", n, n, 1), u = nn_make_weight(net, "U", features, n, 1);
    nn_weight b = nn_make_weight(net, "b", ad_fixed(nn_graph(net), "present", 1), n, 0.4);
    ad_var s = { 0 };
    for (size_t t = 0; t < ad_axis_fixed(nn_graph(net), time); t++) {
        ad_var h = nn_apply(u, ad_take(x, time, t));
        h = ad_add(h, nn_apply(b, nn_padding_mask(net, x, t)));
        s = ad_tanh(t ? ad_add(h, nn_apply(w, s)) : h);
    }
    return nn_readout(net, "v", s);
}

Test(recurrent, a_network_of_ones_own_knows_padding)
{
    ad_error error = { 0 };
    double *x = reference_sequences(ROWS, 5, FEATURES), *padded = pad(x, 6), k[ROWS * ROWS];
    nn_net *net = nn_trace(own, &(nn_spec){ .shape = { 6, FEATURES } }, &error);
    cr_assert(net, "%s", error.text);
    tp_kernel kernel = solve(net, TP_NTK, padded, ROWS);
    limit_kernel(6, (const char *[]){ "sigma_b=0.4", "padding=front", NULL }, padded, ROWS, k);
    cr_expect_lt(off(kernel.terms[0].values, k, ROWS * ROWS), 1e-13);
    tp_kernel_free(&kernel);
    nn_net_free(net);
    free(x);
    free(padded);
}

/* A sequence of no step at all has the output 0, by either readout. */
Test(recurrent, an_empty_sequence_is_zero)
{
    double x[4 * FEATURES] = { 0 }, f = 1;
    for (int mean = 0; mean < 2; mean++) {
        nn_net *net = trace(4, FEATURES, 1, NN_SIGMA_INIT,
                            (const char *[]){ readouts[mean], "sigma_b=1", "padding=front", NULL });
        nn_model *model = draw(net, N);
        cr_assert(nn_forward(model, x, 1, &f, NULL) == 0);
        cr_expect(!(fabs(f) > 0), "%g", f);
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* ---- wide networks, and what is refused ---- */
/* The mean kernel of SEEDS networks of width 512, entry by entry, and its variance over networks. */
static void wide_kernel(const nn_net *net, const double *x, int seeds, double *mean, double *variance)
{
    ad_error error = { 0 };
    double k[ROWS * ROWS];
    for (int i = 0; i < ROWS * ROWS; i++)
        mean[i] = variance[i] = 0;
    for (int seed = 1; seed <= seeds; seed++) {
        nn_model *model = nn_model_new(net, 512, (uint64_t)seed, AD_DOUBLE, 1, &error);
        cr_assert(model && nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k, &error) == 0, "%s", error.text);
        for (int i = 0; i < ROWS * ROWS; i++) {
            double apart = k[i] - mean[i];
            mean[i] += apart / seed;
            variance[i] += apart * (k[i] - mean[i]) / (seeds - 1);
        }
        nn_model_free(model);
    }
}

/* Every entry is within 7 standard errors of the limit, beside a bias of order 1/n, for which 1e-2 relative is allowed,
 * and
 * 4 times the error that a limit by samples tells. With 15 degrees of freedom P(|t| > 7) < 5e-6, for each of 64
 * entries. */
Test(recurrent, wide_networks_agree)
{
    enum { SEEDS = 16, STEPS = 5 };
    static const char *const settings[][6] = {
        { "depth=2", "readout=mean", "sigma_b=0.3", "sigma_w=1.2" },
        { "cell=gru", "sigma_b=0.3", "sigma_w=1.2" },
        { "cell=lstm", "readout=mean", "sigma_b=0.3", "sigma_w=1.2" },
        { "padding=front", "readout=mean", "sigma_b=0.3", "sigma_w=1.2" },
    };
    double *x = reference_sequences(ROWS, STEPS, FEATURES), *padded = pad(x, STEPS);
    double mean[ROWS * ROWS], variance[ROWS * ROWS];
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        nn_net *net = trace(STEPS, FEATURES, 1, NN_SIGMA_INIT, settings[k]);
        tp_kernel limit = solve(net, TP_NTK, padded, ROWS);
        double worst = 0;
        wide_kernel(net, padded, SEEDS, mean, variance);
        for (int i = 0; i < ROWS * ROWS; i++) {
            double value = limit.terms[0].values[i], apart = fabs(mean[i] - value);
            double allowed = 7 * sqrt(variance[i] / SEEDS) + (1e-2 + 4 * limit.error) * fabs(value);
            worst = fmax(worst, apart / fabs(value));
            cr_expect_lt(apart, allowed, "%s, entry %d: %g against %g", settings[k][0], i, mean[i], value);
        }
        cr_log_info("%s: mean of %d networks off by %.2g relative, error of the limit %.2g", settings[k][0], SEEDS,
                    worst, limit.error);
        tp_kernel_free(&limit);
        nn_net_free(net);
    }
    free(x);
    free(padded);
}

Test(recurrent, what_is_wrong_is_told)
{
    static const struct {
        const char *settings[3], *words;
        nn_spec spec;
    } cases[] = {
        { { NULL },
          "rnn reads sequences, (batch, time, features); its input is (batch, features)",
          { .features = 15 } },
        { { NULL }, "its input is (batch, rows, columns, channels)", { .shape = { 5, 3, 1 } } },
        { { "cell=elman" },
          "cell=elman: it must be vanilla, gru, lstm, or PyTorch's: torch_rnn",
          { .shape = { 5, 3 } } },
        { { "readout=first" }, "readout=first: it must be last, mean or last_step", { .shape = { 5, 3 } } },
        { { "padding=back" }, "padding=back: it must be none or front", { .shape = { 5, 3 } } },
        { { "padding=front", "phi=softplus" },
          "padding=front: it must be none where phi(0) is not 0",
          { .shape = { 5, 3 } } },
        { { "cell=torch_gru", "padding=front" }, "no setting padding", { .shape = { 5, 3 } } },
        { { "bidirectional=yes" }, "no setting bidirectional", { .shape = { 5, 3 } } },
        { { "cell=torch_gru", "bidirectional=both" },
          "bidirectional=both: it must be no or yes",
          { .shape = { 5, 3 } } },
        { { "sigma_v=0" }, "sigma_v=0: it must be a positive number", { .shape = { 5, 3 } } },
        { { "phi=than" }, "no activation than; there", { .shape = { 5, 3 } } },
        { { "sigma=1" },
          "no setting sigma (did you mean sigma_w?); there are (with their defaults) outputs=1, depth=1, phi=tanh, "
          "cell=vanilla",
          { .shape = { 5, 3 } } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ad_error error = { 0 };
        nn_spec spec = cases[i].spec;
        spec.settings = cases[i].settings;
        cr_expect(!nn_trace(nn_builtin("rnn"), &spec, &error));
        cr_expect(strstr(error.text, cases[i].words), "%s", error.text);
    }
}

Test(recurrent, survives_every_failed_allocation)
{
    static const char *const settings[2][5] = { { "cell=lstm", "padding=front", "sigma_b=1", "readout=mean", NULL },
                                                { "cell=torch_lstm", "bidirectional=yes", "depth=2", NULL } };
    for (int i = 0; i < 2; i++)
        for (long fail = 1, done = 0; !done; fail++) {
            ad_error error = { 0 };
            ad_hook_allocation(fail);
            nn_spec spec = { .shape = { 3, FEATURES }, .settings = settings[i] };
            nn_net *net = nn_trace(nn_builtin("rnn"), &spec, &error);
            ad_hook_allocation(0);
            done = net != NULL;
            cr_assert(done || error.text[0]);
            cr_assert(fail < 1000);
            nn_net_free(net);
        }
}

/* ---- PyTorch's cells at infinite width ---- */
/* Two biases of sigma are one of sigma sqrt(2): torch_rnn is vanilla, whose limit is exact. With sigma in the
 * multiplier the tangent kernel's part of the bias is that sum, too. */
Test(recurrent, torch_rnn_is_vanilla_with_both_biases_in_one)
{
    static const char *const one[] = { "sigma_w=1.2",  "sigma_u=1.1", "sigma_b=0.42426406871192851",
                                       "readout=mean", "depth=2",     NULL };
    static const char *const two[] = { "cell=torch_rnn", "sigma_w=1.2", "sigma_u=1.1",       "sigma_b=0.3",
                                       "readout=mean",   "depth=2",     "readout_bias=none", NULL };
    double *x = reference_sequences(4, 5, 8);
    nn_net *a = trace(5, 8, 1, NN_SIGMA_MULTIPLIER, one), *b = trace(5, 8, 1, NN_SIGMA_MULTIPLIER, two);
    for (int which = 0; which < 2; which++) {
        tp_kernel_kind kind = which ? TP_NNGP : TP_NTK;
        tp_kernel k = solve(a, kind, x, 4), l = solve(b, kind, x, 4);
        cr_expect_lt(off(l.terms[0].values, k.terms[0].values, 16), 1e-12);
        tp_kernel_free(&k);
        tp_kernel_free(&l);
    }
    nn_net_free(a);
    nn_net_free(b);
    free(x);
}

/* The two directions of a network of one step are two networks of one direction, side by side: their mean is either. */
Test(recurrent, directions_are_independent_at_the_limit)
{
    static const char *const one[] = { "cell=torch_rnn", "sigma_b=0.3", NULL };
    static const char *const two[] = { "cell=torch_rnn", "sigma_b=0.3", "bidirectional=yes", NULL };
    double *x = reference_sequences(4, 1, 8);
    nn_net *a = trace(1, 8, 1, NN_SIGMA_INIT, one), *b = trace(1, 8, 1, NN_SIGMA_INIT, two);
    for (int which = 0; which < 2; which++) {
        tp_kernel_kind kind = which ? TP_NNGP : TP_NTK;
        tp_kernel k = solve(a, kind, x, 4), l = solve(b, kind, x, 4);
        cr_expect_lt(off(l.terms[0].values, k.terms[0].values, 16), 1e-12);
        tp_kernel_free(&k);
        tp_kernel_free(&l);
    }
    nn_net_free(a);
    nn_net_free(b);
    free(x);
}

/* Gated cells have no exact rule: samples, beside the mean over draws of a wide network. The bounds are five standard
 * errors of both, and 1/n. */
Test(recurrent, torch_gates_have_a_sampled_limit)
{
    enum { WIDE = 256, DRAWS = 16, STEPS = 2 };
    double *x = reference_sequences(2, STEPS, FEATURES);
    for (int cell = 0; cell < 2; cell++) {
        const char *settings[] = { cell ? "cell=torch_lstm" : "cell=torch_gru", "sigma_b=0.4", NULL };
        nn_net *net = trace(STEPS, FEATURES, 1, NN_SIGMA_INIT, settings);
        tp_kernel k = solve(net, TP_NTK, x, 2);
        double sum[4] = { 0 }, squares[4] = { 0 };
        for (uint64_t seed = 1; seed <= DRAWS; seed++) {
            double one[4];
            nn_model *model = nn_model_new(net, WIDE, seed, AD_DOUBLE, 1, NULL);
            cr_assert(nn_ntk(model, x, 2, NULL, 0, NN_MEAN, one, NULL) == 0);
            for (int i = 0; i < 4; i++)
                sum[i] += one[i], squares[i] += one[i] * one[i];
            nn_model_free(model);
        }
        for (int i = 0; i < 4; i++) {
            double mean = sum[i] / DRAWS, deviation = sqrt(fmax(0, squares[i] / DRAWS - mean * mean) / (DRAWS - 1));
            double bound = 5 * (deviation + k.error * fabs(mean)) + fabs(mean) * 4 / WIDE;
            cr_log_info("%s: %.6g beside %.6g, at most %.2g off", settings[0], mean, k.terms[0].values[i], bound);
            cr_expect_lt(fabs(mean - k.terms[0].values[i]), bound, "%s: %g, not %g", settings[0], mean,
                         k.terms[0].values[i]);
        }
        tp_kernel_free(&k);
        nn_net_free(net);
    }
    free(x);
}
