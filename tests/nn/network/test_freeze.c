/* Frozen parameters stay in training, whatever the optimizer, and are constants in every tangent kernel, product with
 * the Jacobian, limit and program: against parts of the unfrozen network's, and trained wide networks. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 5, OUTPUTS = 2, ROWS = 4, WIDTH = 7, PARAMS = 6 };
static const char *const patterns[] = { "dense2", "*.bias", NULL }; /* dense1.weight and readout.weight are left */
static const bool learn[PARAMS] = { true, false, false, false, true, false };
static double x[ROWS * FEATURES], y[ROWS * OUTPUTS];

static void set_up(void)
{
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(0.3 + 1.7 * i + 0.3 * (i * i % 17));
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        y[i] = cos(1.1 * i);
}

TestSuite(freeze, .init = set_up, .timeout = 120);

static ad_var deep(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    in = ad_tanh(nn_dense_with(net, "dense1", in, n, .bias = true, .sigma_b = 0.4));
    in = ad_tanh(nn_dense_with(net, "dense2", in, n, .bias = true, .sigma_b = 0.3));
    return nn_readout_with(net, "readout", in, .bias = true, .sigma_b = 0.5);
}

static ad_var deep_in_code(nn_net *net, ad_var in)
{
    nn_freeze(net, "dense2");
    in = deep(net, in);
    nn_freeze(net, "*.bias");
    return in;
}

static nn_net *trace(nn_function function, const char *const *freeze)
{
    ad_error error = { 0 };
    nn_net *net = nn_trace(function, &(nn_spec){ .features = FEATURES, .outputs = OUTPUTS, .freeze = freeze }, &error);
    cr_assert(net, "%s", error.text);
    cr_assert_eq(nn_n_params(net), PARAMS);
    return net;
}

static void expect_near(const double *got, const double *want, size_t count, double tolerance, const char *what)
{
    for (size_t i = 0; i < count; i++)
        cr_assert(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i])), "%s, %zu: %.15g, not %.15g", what, i,
                  got[i], want[i]);
}

Test(freeze, empirical_kernels_are_those_of_what_learns)
{
    enum { COUNT = ROWS * ROWS * OUTPUTS * OUTPUTS };
    double want[COUNT], got[COUNT], v[ROWS * OUTPUTS], product[ROWS * OUTPUTS], summed[ROWS * OUTPUTS];
    nn_net *plain = trace(deep, NULL);
    nn_model *model = nn_model_new(plain, WIDTH, 3, AD_DOUBLE, 1, NULL);
    cr_assert(nn_ntk_part(model, &(nn_kernel_part){ .params = learn }, x, ROWS, NULL, 0, NN_FULL, want, NULL) == 0);
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        v[i] = sin(2.0 * i);
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < OUTPUTS; o++) {
            summed[i * OUTPUTS + o] = 0;
            for (int j = 0; j < ROWS; j++)
                for (int p = 0; p < OUTPUTS; p++)
                    summed[i * OUTPUTS + o] += want[((i * ROWS + j) * OUTPUTS + o) * OUTPUTS + p] * v[j * OUTPUTS + p];
        }
    nn_model_free(model);
    nn_net_free(plain);
    for (int code = 0; code < 2; code++) {
        nn_net *net = code ? trace(deep_in_code, NULL) : trace(deep, patterns);
        model = nn_model_new(net, WIDTH, 3, AD_DOUBLE, 1, NULL);
        cr_assert(nn_ntk(model, x, ROWS, NULL, 0, NN_FULL, got, NULL) == 0);
        expect_near(got, want, COUNT, 1e-13, "NTK");
        cr_assert(nn_training_kernel(model, x, ROWS, NULL, 0, NN_FULL, got, NULL) == 0);
        expect_near(got, want, COUNT, 1e-13, "training kernel");
        cr_assert(nn_ntk_vector(model, x, ROWS, NULL, 0, v, product, NULL) == 0);
        expect_near(product, summed, ROWS * OUTPUTS, 1e-12, "product");
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* One step moves the same as without freezing, but for what is frozen; twenty leave that to the bit. */
Test(freeze, training_moves_nothing_else)
{
    nn_net *nets[2] = { trace(deep, NULL), trace(deep, patterns) };
    nn_data data = { x, y, ROWS, 0 };
    for (int kind = 0; kind < NN_N_OPTIMIZERS; kind++)
        for (long steps = 1; steps <= 20; steps += 19) {
            nn_model *start = nn_model_new(nets[0], WIDTH, 3, AD_DOUBLE, 1, NULL), *m[2];
            nn_fit_spec spec = { .optimizer = (nn_optimizer)kind, .rate = 0.01, .weight_decay = 0.1, .steps = steps };
            for (int f = 0; f < 2; f++) {
                m[f] = nn_model_new(nets[f], WIDTH, 3, AD_DOUBLE, 1, NULL);
                cr_assert(nn_fit(m[f], &data, &spec, NULL, NULL) == 0);
            }
            for (int k = 0; k < PARAMS; k++) {
                size_t size;
                const double *was = nn_param_values(start, k, &size), *got = nn_param_values(m[1], k, NULL);
                const double *all = nn_param_values(m[0], k, NULL);
                cr_expect_eq(memcmp(was, got, size * sizeof *was) == 0, !learn[k], "%d, parameter %d", kind, k);
                if (learn[k] && steps == 1)
                    expect_near(got, all, size, 1e-13, nn_optimizer_name((nn_optimizer)kind));
            }
            nn_model_free(start);
            nn_model_free(m[0]);
            nn_model_free(m[1]);
        }
    nn_net_free(nets[0]);
    nn_net_free(nets[1]);
}

Test(freeze, limits_are_those_of_what_learns)
{
    ad_error error = { 0 };
    tp_kernel want, got[2];
    nn_net *nets[2] = { trace(deep, NULL), trace(deep, patterns) };
    tp_program *programs[2] = { tp_translate(nets[0], &error), tp_translate(nets[1], &error) };
    cr_assert(programs[0] && programs[1], "%s", error.text);
    tp_limit_spec spec = { .params = learn };
    cr_assert(tp_limit(programs[0], TP_NTK, x, ROWS, NULL, 0, &spec, &want, &error) == 0, "%s", error.text);
    cr_assert(tp_limit(programs[1], TP_NTK, x, ROWS, NULL, 0, NULL, &got[0], &error) == 0, "%s", error.text);
    cr_assert(tp_training_kernel(programs[1], x, ROWS, NULL, 0, NULL, &got[1], &error) == 0, "%s", error.text);
    for (int k = 0; k < 2; k++) {
        expect_near(got[k].terms[0].values, want.terms[0].values, (size_t)ROWS * ROWS, 1e-13, "limit");
        tp_kernel_free(&got[k]);
    }
    tp_kernel_free(&want);
    char *text[2];
    size_t size;
    for (int k = 0; k < 2; k++) {
        FILE *stream = open_memstream(&text[k], &size);
        cr_assert(tp_print_recursion(programs[k], stream, TP_PAPER, &error) == 0, "%s", error.text);
        fclose(stream);
        tp_program_free(programs[k]);
        nn_net_free(nets[k]);
    }
    cr_expect(strlen(text[1]) < strlen(text[0]), "the recursion has no terms of frozen parameters:\n%s", text[1]);
    free(text[0]);
    free(text[1]);
}

/* Trained at n = 4096 for a time of 1, where the fit of the unfrozen network's kernel is another: a mean over networks
 * that start from f_0 = f, whose distance from the prediction by the limit is of order n^-1/2. */
Test(freeze, wide_networks_train_as_the_limit_says)
{
    enum { STEPS = 50 };
    ad_error error = { 0 };
    double moved[2] = { 0 };
    nn_net *nets[2] = { trace(deep, NULL), trace(deep, patterns) };
    nn_data data = { x, y, ROWS, 0 };
    double f[ROWS * OUTPUTS], f0[ROWS * OUTPUTS], want[ROWS * OUTPUTS];
    nn_model *model = nn_model_new(nets[1], 4096, 11, AD_FLOAT, 2, &error);
    cr_assert(model && nn_forward(model, x, ROWS, f0, &error) == 0, "%s", error.text);
    nn_fit_spec spec = { .loss = NN_SQUARE, .rate = 4.0 / STEPS, .steps = STEPS };
    cr_assert(nn_fit(model, &data, &spec, NULL, &error) == 0, "%s", error.text);
    cr_assert(nn_forward(model, x, ROWS, f, &error) == 0, "%s", error.text);
    for (int k = 0; k < 2; k++) {
        tp_kernel kernel;
        tp_program *program = tp_translate(nets[k], &error);
        cr_assert(tp_training_kernel(program, x, ROWS, NULL, 0, NULL, &kernel, &error) == 0, "%s", error.text);
        double *copy = ad_alloc(ROWS * ROWS, sizeof *copy, "a kernel", &error), time = STEPS, a[ROWS * OUTPUTS];
        memcpy(copy, kernel.terms[0].values, ROWS * ROWS * sizeof *copy);
        tp_kernel_model *machine = tp_kernel_model_new(copy, ROWS, NULL, &error);
        tp_training t = { .motion = TP_GRADIENT_DESCENT, .rate = spec.rate, .divisor = ROWS };
        cr_assert(machine && tp_coefficients(machine, &t, y, OUTPUTS, f0, &time, 1, a, &error) == 0, "%s", error.text);
        for (int i = 0; i < ROWS * OUTPUTS; i++) {
            want[i] = f0[i];
            for (int j = 0; j < ROWS; j++)
                want[i] += kernel.terms[0].values[i / OUTPUTS * ROWS + j] * a[j * OUTPUTS + i % OUTPUTS];
            moved[k] = fmax(moved[k], fabs(f[i] - want[i]));
        }
        tp_kernel_model_free(machine);
        tp_kernel_free(&kernel);
        tp_program_free(program);
    }
    cr_expect(moved[1] < 0.05, "%g from the prediction of what learns", moved[1]);
    cr_expect(moved[0] > 3 * moved[1], "%g from that of all", moved[0]);
    nn_model_free(model);
    nn_net_free(nets[0]);
    nn_net_free(nets[1]);
}

static ad_var misspelt(nn_net *net, ad_var in)
{
    nn_freeze(net, "raedout.weight");
    return deep(net, in);
}

Test(freeze, what_fits_nothing_is_refused)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .freeze = (const char *const[]){ "dense3", NULL } };
    cr_assert_null(nn_trace(deep, &spec, &error));
    cr_expect(strstr(error.text, "freeze dense3 fits no parameter") && strstr(error.text, "dense1.weight"), "%s",
              error.text);
    spec.freeze = NULL;
    error = (ad_error){ 0 };
    cr_assert_null(nn_trace(misspelt, &spec, &error));
    cr_expect(strstr(error.text, "test_freeze.c:") && strstr(error.text, "did you mean readout.weight?"), "%s",
              error.text);
    spec.freeze = (const char *const[]){ "*", NULL };
    error = (ad_error){ 0 };
    nn_net *net = nn_trace(deep, &spec, &error);
    tp_program *program = tp_translate(net, &error);
    tp_kernel kernel;
    cr_assert(tp_training_kernel(program, x, ROWS, NULL, 0, NULL, &kernel, &error) != 0);
    cr_expect(strstr(error.text, "nothing learns"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}
