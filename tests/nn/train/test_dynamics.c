/* What theory says of trained networks, against networks that nn_fit or its single steps trained: outputs follow the
 * network's own linearization with an error of order 1/n and the limit's with n^-1/2; an ensemble is a Gaussian process
 * at all times on the square loss; GP inference is what training the readout alone gives, and nothing else does. All
 * batches are full, all networks are of doubles. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN = 4, TEST = 3, ALL = TRAIN + TEST, FEATURES = 6 };

static double inputs[ALL * FEATURES], targets[TRAIN] = { 3, -1.5, 2.4, -3.6 };
static const double classes[TRAIN] = { 0, 1, 1, 0 }, one_hot[2 * TRAIN] = { 1, 0, 0, 1, 0, 1, 1, 0 };

static void set_up(void)
{
    for (int i = 0; i < ALL; i++)
        for (int j = 0; j < FEATURES; j++)
            inputs[i * FEATURES + j] = 1.4 * sin(1 + 2.3 * i + 0.9 * j * (i + 1));
}

TestSuite(dynamics, .init = set_up, .timeout = 300);

/* ---- networks ---- */
/* One hidden layer, whose weights learn at `rate`. */
static ad_var hidden(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), features = ad_shape_get(x)->axes[1];
    double scale = 1 / sqrt(FEATURES);
    ad_init init = { .axis = features,
                     .deviation = 1.5,
                     .multiplier = 1,
                     .multiplier_power = -0.5,
                     .rate = nn_setting_real(net, "rate", 1) };
    ad_var w = ad_param(nn_graph(net), "w", ad_shape_of(features, n), init);
    return nn_readout(net, "v", ad_tanh(ad_scale(ad_matmul(x, w), scale)));
}

static nn_net *trace(nn_function function, size_t outputs, nn_parametrization scale, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = outputs, .parametrization = scale, .settings = settings };
    nn_net *net = nn_trace(function, &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static nn_model *draw(const nn_net *net, size_t n, uint64_t seed)
{
    ad_error error = { 0 };
    nn_model *model = nn_model_new(net, n, seed, AD_DOUBLE, 1, &error);
    cr_assert(model, "%s", error.text);
    return model;
}

/* f of all inputs. */
static void run(nn_model *model, double *f)
{
    ad_error error = { 0 };
    cr_assert(nn_forward(model, inputs, ALL, f, &error) == 0, "%s", error.text);
}

static void fit(nn_model *model, nn_optimizer optimizer, nn_loss loss, double rate, long steps)
{
    ad_error error = { 0 };
    nn_data data = { inputs, loss == NN_SQUARE ? targets : classes, TRAIN, loss == NN_SQUARE ? 0 : 2 };
    nn_fit_spec spec = { .loss = loss, .optimizer = optimizer, .momentum = 0.6, .rate = rate, .steps = steps };
    cr_assert(nn_fit(model, &data, &spec, NULL, &error) == 0, "%s", error.text);
}

/* ---- kernels: among the training inputs, and of all inputs with them ---- */
typedef struct {
    double train[TRAIN * TRAIN], cross[ALL * TRAIN], all[ALL * ALL];
} kernels;

static void cut(kernels *k)
{
    for (int i = 0; i < ALL; i++)
        for (int j = 0; j < TRAIN; j++) {
            k->cross[i * TRAIN + j] = k->all[i * ALL + j];
            if (i < TRAIN)
                k->train[i * TRAIN + j] = k->all[i * ALL + j];
        }
}

static kernels limit_of(nn_net *net, tp_kernel_kind which)
{
    ad_error error = { 0 };
    kernels k;
    tp_kernel limit;
    tp_program *program = tp_translate(net, &error);
    cr_assert(program && tp_limit(program, which, inputs, ALL, NULL, 0, NULL, &limit, &error) == 0, "%s", error.text);
    memcpy(k.all, limit.terms[0].values, sizeof k.all);
    tp_kernel_free(&limit);
    tp_program_free(program);
    cut(&k);
    return k;
}

static kernels own_of(nn_model *model)
{
    ad_error error = { 0 };
    kernels k;
    cr_assert(nn_training_kernel(model, inputs, ALL, NULL, 0, NN_MEAN, k.all, &error) == 0, "%s", error.text);
    cut(&k);
    return k;
}

static tp_kernel_model *make(const kernels *k)
{
    ad_error error = { 0 };
    double *copy = ad_alloc(TRAIN * TRAIN, sizeof *copy, "a kernel", &error);
    memcpy(copy, k->train, sizeof k->train);
    tp_kernel_model *machine = tp_kernel_model_new(copy, TRAIN, NULL, &error);
    cr_assert(machine, "%s", error.text);
    return machine;
}

/* The outputs of all inputs at a time, from f_0 (ALL, columns) or from 0. nn_fit's loss has D = TRAIN. */
static void predict(const kernels *k, tp_training t, const double *y, size_t columns, const double *start, double time,
                    double *f)
{
    ad_error error = { 0 };
    double a[2 * TRAIN];
    tp_kernel_model *machine = make(k);
    t.divisor = TRAIN;
    t.momentum = 0.6;
    cr_assert(tp_coefficients(machine, &t, y, columns, start, &time, 1, a, &error) == 0, "%s", error.text);
    tp_outputs_at(machine, k->cross, ALL, a, columns, start, f);
    tp_kernel_model_free(machine);
}

static double largest_rate(const kernels *k)
{
    tp_kernel_model *machine = make(k);
    double rate = tp_maximum_stable_rate(machine, &(tp_training){ .motion = TP_GRADIENT_DESCENT, .divisor = TRAIN }, 1);
    tp_kernel_model_free(machine);
    return rate;
}

static double distance(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum / (double)count);
}

/* ---- the readout alone: outputs are linear in what is trained, so that the machine is exact at any width ---- */
Test(dynamics, a_trained_readout_is_its_kernel_machine)
{
    static const struct {
        nn_optimizer optimizer;
        tp_dynamics motion;
        nn_loss loss;
    } rows[] = { { NN_SGD, TP_GRADIENT_DESCENT, NN_SQUARE },
                 { NN_MOMENTUM, TP_MOMENTUM, NN_SQUARE },
                 { NN_SGD, TP_GRADIENT_DESCENT, NN_CROSS_ENTROPY },
                 { NN_MOMENTUM, TP_MOMENTUM, NN_CROSS_ENTROPY } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int frozen = 0; frozen < 2; frozen++) {
            size_t columns = rows[i].loss == NN_SQUARE ? 1 : 2;
            nn_net *net = trace(hidden, columns, NN_NTK, (const char *[]){ frozen ? "rate=0" : "rate=1", NULL });
            nn_model *model = draw(net, 16, 3);
            double start[2 * ALL], f[2 * ALL], expected[2 * ALL];
            kernels k = own_of(model);
            run(model, start);
            predict(&k, (tp_training){ .motion = rows[i].motion, .loss = rows[i].loss, .rate = 0.7 },
                    columns == 1 ? targets : one_hot, columns, start, 25, expected);
            fit(model, rows[i].optimizer, rows[i].loss, 0.7, 25);
            run(model, f);
            double off = distance(f, expected, ALL * columns), moved = distance(f, start, ALL * columns);
            cr_expect(frozen ? off < 1e-12 * moved : off > 1e-3 * moved, "row %zu, frozen %d: off by %g of %g", i,
                      frozen, off, moved);
            nn_model_free(model);
            nn_net_free(net);
        }
}

/* One small step moves the outputs by rate / D times the kernel that has the learning rates, in every scale. */
Test(dynamics, training_kernel_in_every_scale)
{
    for (nn_parametrization scale = NN_NTK; scale <= NN_MUP; scale++) {
        const char *settings[] = { scale == NN_MEANFIELD ? "depth=1" : "depth=2", "phi=tanh", "sigma_b=0.4", NULL };
        nn_net *net = trace(nn_builtin("mlp"), 1, scale, settings);
        nn_model *model = draw(net, 32, 5);
        double start[ALL], f[ALL], rate = 1e-6;
        kernels k = own_of(model);
        run(model, start);
        fit(model, NN_SGD, NN_SQUARE, rate, 1);
        run(model, f);
        for (int i = 0; i < ALL; i++) {
            double moves = 0;
            for (int j = 0; j < TRAIN; j++)
                moves -= rate / TRAIN * k.cross[i * TRAIN + j] * (start[j] - targets[j]);
            cr_expect(fabs(f[i] - start[i] - moves) < 1e-3 * fabs(moves) + 1e-12, "scale %d, input %d: %g, not %g",
                      (int)scale, i, f[i] - start[i], moves);
        }
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* ---- slopes in width ---- */
/* Least squares of log y on log n, and the standard error of the slope. */
static double slope(const double *n, const double *y, int count, double *error)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0, residual = 0;
    for (int i = 0; i < count; i++) {
        sx += log(n[i]) / count;
        sy += log(y[i]) / count;
    }
    for (int i = 0; i < count; i++) {
        sxx += pow(log(n[i]) - sx, 2);
        sxy += (log(n[i]) - sx) * (log(y[i]) - sy);
    }
    for (int i = 0; i < count; i++)
        residual += pow(log(y[i]) - sy - sxy / sxx * (log(n[i]) - sx), 2);
    *error = sqrt(residual / (count - 2) / sxx);
    return sxy / sxx;
}

/* Trained outputs against the network's own linearization, and against the limit's from the same start. The first goes
 * like the drift of the kernel, whose slope is -1 for smooth activations; with kinks, neurons that change side add
 * fluctuations of order n^-3/4, which rule in one hidden layer at large widths. A slope has 4 standard errors for its
 * interval (passed by chance once in 10,000 times), and 0.1 for widths that are finite; the interval must be short
 * enough to tell -1/2 from what is expected of the first. Theory speaks of a fixed time: one rate for all widths. */
static void measure_slopes(const char *phi, double most)
{
    enum { WIDTHS = 5, SEEDS = 200, POINTS = WIDTHS * SEEDS, STEPS = 30 };
    const char *settings[] = { "depth=1", phi, NULL };
    nn_net *net = trace(nn_builtin("mlp"), 1, NN_NTK, settings);
    kernels limit = limit_of(net, TP_NTK);
    double n[POINTS], own[POINTS], far[POINTS], start[ALL], f[ALL], expected[ALL], error[2];
    tp_training t = { .motion = TP_GRADIENT_DESCENT, .rate = 0.4 * largest_rate(&limit) };
    for (int p = 0; p < POINTS; p++) {
        size_t width = (size_t)64 << p / SEEDS;
        nn_model *model = draw(net, width, (uint64_t)(100 + p));
        kernels k = own_of(model);
        run(model, start);
        fit(model, NN_SGD, NN_SQUARE, t.rate, STEPS);
        run(model, f);
        n[p] = (double)width;
        predict(&k, t, targets, 1, start, STEPS, expected);
        own[p] = distance(f, expected, ALL);
        predict(&limit, t, targets, 1, start, STEPS, expected);
        far[p] = distance(f, expected, ALL);
        nn_model_free(model);
    }
    double to_own = slope(n, own, POINTS, &error[0]), to_limit = slope(n, far, POINTS, &error[1]);
    printf(
        "%s: outputs against the own linearization: slope %.3f, 95 %% [%.3f, %.3f], theory -1%s; against the limit's: "
        "%.3f, 95 %% [%.3f, %.3f], theory -1/2\n",
        phi, to_own, to_own - 2 * error[0], to_own + 2 * error[0], most > -1 ? " to -3/4" : "", to_limit,
        to_limit - 2 * error[1], to_limit + 2 * error[1]);
    fflush(stdout);
    cr_expect(to_own > -1 - 4 * error[0] - 0.1 && to_own < most + 4 * error[0] + 0.1 && error[0] < 0.03, "%g +- %g",
              to_own, error[0]);
    cr_expect(fabs(to_limit + 0.5) < 4 * error[1] + 0.1 && error[1] < 0.03, "%g +- %g", to_limit, error[1]);
    nn_net_free(net);
}

Test(dynamics, outputs_follow_the_own_linearization_and_the_limit)
{
    measure_slopes("phi=tanh", -1);
    measure_slopes("phi=relu", -0.75);
}

/* ---- ensembles ---- */
/* Means and covariances of trained networks in standard errors from a Gaussian process: the largest of them. */
typedef struct {
    double mean, covariance;
} excess;

enum { NETS = 500 };

/* One network after another in the memory of one model: its parameters are drawn again. */
static void draw_again(nn_model *model, uint64_t seed)
{
    ad_error error = { 0 };
    const nn_net *net = nn_model_net(model);
    ad_sizes sizes = { .n = nn_model_width(model) };
    for (int k = 0; k < nn_n_params(net); k++)
        cr_assert(ad_draw(nn_param(net, k), &sizes, seed, AD_DOUBLE, nn_param_values(model, k, NULL), &error) == 0,
                  "%s", error.text);
}

/* The networks' outputs of all inputs after so many steps, ascending: f (times, NETS, ALL). */
static void train_many(nn_net *net, size_t width, double rate, const long *steps, int times, double *f)
{
    ad_error error = { 0 };
    nn_model *model = draw(net, width, 0);
    nn_fit_spec spec = { .loss = NN_SQUARE, .optimizer = NN_SGD, .rate = rate };
    nn_trainer *trainer = nn_trainer_new(model, &spec, TRAIN, &error);
    cr_assert(trainer, "%s", error.text);
    for (int s = 0; s < NETS; s++) {
        long done = 0;
        draw_again(model, (uint64_t)(1000 + s));
        for (int k = 0; k < times; k++) {
            for (double loss; done < steps[k]; done++)
                cr_assert(nn_trainer_step(trainer, inputs, targets, TRAIN, &loss, &error) == 0, "%s", error.text);
            run(model, f + (k * NETS + s) * ALL);
        }
    }
    nn_trainer_free(trainer);
    nn_model_free(model);
}

/* The covariance of Gaussian samples x, y has variance (C_xx C_yy + C_xy^2) / (samples - 1). */
static excess compare(const double *f, const double *mean, const double *cov, int first)
{
    excess most = { 0, 0 };
    double center[ALL] = { 0 };
    for (int s = 0; s < NETS; s++)
        for (int i = 0; i < ALL; i++)
            center[i] += f[s * ALL + i] / NETS;
    for (int i = first; i < ALL; i++) {
        most.mean = fmax(most.mean, fabs(center[i] - mean[i]) / sqrt(cov[i * ALL + i] / NETS));
        for (int j = first; j <= i; j++) {
            double sum = 0, c = cov[i * ALL + j], ii = cov[i * ALL + i], jj = cov[j * ALL + j];
            for (int s = 0; s < NETS; s++)
                sum += (f[s * ALL + i] - center[i]) * (f[s * ALL + j] - center[j]) / (NETS - 1);
            most.covariance = fmax(most.covariance, fabs(sum - c) / sqrt((ii * jj + c * c) / (NETS - 1)));
        }
    }
    return most;
}

static void predict_ensemble(const kernels *k, const kernels *prior, tp_training t, double time, double *mean,
                             double *cov)
{
    ad_error error = { 0 };
    tp_kernel_model *machine = make(k);
    tp_prior start = { prior ? prior->train : NULL, prior ? prior->cross : NULL, prior ? prior->all : k->all, false };
    t.divisor = TRAIN;
    cr_assert(tp_covariance(machine, &t, 1, time, k->cross, ALL, &start, cov, &error) == 0, "%s", error.text);
    tp_kernel_model_free(machine);
    predict(k, t, targets, 1, NULL, time, mean);
}

/* 4.5 standard errors, for at most 7 means and 28 covariances, are passed by chance with probability below 35 * 7e-6 =
 * 3e-4 in one comparison (seeds are fixed); the covariances' errors are a little heavier than Gaussian ones. Finite
 * width adds order 1/n = 1/4096, far less than the standard errors of 500 networks, 1/22. */
static const double bound = 4.5;

Test(dynamics, an_ensemble_is_a_gaussian_process_at_all_times)
{
    const char *settings[] = { "depth=1", "phi=tanh", NULL };
    nn_net *net = trace(nn_builtin("mlp"), 1, NN_NTK, settings);
    kernels ntk = limit_of(net, TP_NTK), nngp = limit_of(net, TP_NNGP);
    tp_training t = { .motion = TP_GRADIENT_DESCENT, .rate = 0.25 * largest_rate(&ntk) };
    static const long steps[] = { 0, 3, 20 };
    double *f = malloc(3 * NETS * ALL * sizeof *f), mean[ALL], cov[ALL * ALL];
    train_many(net, 4096, t.rate, steps, 3, f);
    for (int k = 0; k < 3; k++) {
        for (int other = 0; other < 3; other++) {
            predict_ensemble(&ntk, &nngp, t, (double)steps[other], mean, cov);
            excess e = compare(f + k * NETS * ALL, mean, cov, 0);
            if (k == other)
                cr_expect(e.mean < bound && e.covariance < bound, "%ld steps: %g, %g", steps[k], e.mean, e.covariance);
            else
                cr_expect(e.mean > 2 * bound, "%ld steps are not told from %ld: %g", steps[k], steps[other], e.mean);
        }
    }
    free(f);
    nn_net_free(net);
}

/* Trained to the end, on the test inputs (at the training inputs nothing is left of the variance). */
Test(dynamics, gp_inference_if_and_only_if_the_readout_alone_is_trained)
{
    double *f = malloc(NETS * ALL * sizeof *f), mean[ALL], cov[ALL * ALL];
    for (int frozen = 0; frozen < 2; frozen++) {
        nn_net *net = trace(hidden, 1, NN_NTK, (const char *[]){ frozen ? "rate=0" : "rate=1", NULL });
        kernels ntk = limit_of(net, TP_NTK), nngp = limit_of(net, TP_NNGP);
        tp_training t = { .motion = TP_GRADIENT_DESCENT, .rate = 0.8 * largest_rate(frozen ? &nngp : &ntk) };
        train_many(net, 4096, t.rate, &(long){ 25 }, 1, f);
        predict_ensemble(&nngp, NULL, t, INFINITY, mean, cov);
        excess gp = compare(f, mean, cov, TRAIN);
        if (frozen) {
            cr_expect(gp.mean < bound && gp.covariance < bound, "%g, %g", gp.mean, gp.covariance);
        } else {
            cr_expect(gp.mean > 2 * bound, "%g, %g", gp.mean, gp.covariance);
            predict_ensemble(&ntk, &nngp, t, INFINITY, mean, cov);
            excess all = compare(f, mean, cov, TRAIN);
            cr_expect(all.mean < bound && all.covariance < bound, "%g, %g", all.mean, all.covariance);
        }
        nn_net_free(net);
    }
    free(f);
}
