/* Kernels that fluctuations decide, at every width: jumps and ties of averages, refused by the exact engine where their
 * values are; what no rule sees, refused where the kernels of single networks do not converge. */
#include "limn.h"

/* a room's own header: networks at n = samples */
#include "tp/executor/executor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { N = 4, D = 3 };
static const double x[N][D] = { { 1, 1, 1 }, { 1.3, 0.9, 0.8 }, { 0.5, -0.75, 1.25 }, { -0.7, 1.1, 0.15 } };

/* relu(U x) times a number of each sample. */
static ad_var gated(nn_net *net, ad_var h, ad_var number)
{
    ad_var r = ad_relu(h);
    return nn_readout(net, "readout", ad_mul(r, ad_expand(number, *ad_shape_get(r))));
}

/* Does more than a share of the neurons fire? One half of them does. */
static double share;
static ad_var by_share(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", in, n), fires = ad_mean(ad_step(h), ad_shape_of(n));
    return gated(net, h, ad_step(ad_sub(fires, ad_constant(in.graph, share, *ad_shape_get(fires)))));
}

/* Of which layer do more? Of both one half; of squares' means the second is larger. */
static ad_op compared;
static ad_var by_layer(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), two = ad_fixed(in.graph, "two", 2);
    ad_var h = nn_dense(net, "first", in, n), g = nn_dense_with(net, "second", ad_relu(h), n, .sigma_w = 3);
    ad_var means[] = { ad_mean(compared == AD_STEP ? ad_step(h) : ad_square(h), ad_shape_of(n)),
                       ad_mean(compared == AD_STEP ? ad_step(g) : ad_square(g), ad_shape_of(n)) };
    return gated(net, h, ad_take(ad_argmax_at(AD_HERE, ad_stack(means, 2, two), two), two, 1));
}

/* step(U s / n), s = U' sin(W relu(U x)): s / n vanishes, and its direction is random. */
static ad_var by_rows(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    nn_weight u = nn_make_weight(net, "U", ad_shape_get(in)->axes[1], n, 1), w = nn_make_weight(net, "W", n, n, 1);
    ad_var z = ad_sin(nn_apply(w, ad_relu(nn_apply(u, in))));
    return nn_readout(net, "readout", ad_step(ad_scale_by(nn_apply(u, nn_apply_t(u, z)), 1, n, -1)));
}

/* A product of two layers: no exact rule, and a limit. */
static ad_var product(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", in, n), g = nn_dense(net, "second", ad_tanh(h), n);
    return nn_readout(net, "readout", ad_tanh(ad_mul(g, ad_add(g, nn_dense(net, "third", ad_tanh(h), n)))));
}

static ad_var tied(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2);
    return nn_readout(net, "readout", nn_apply_t(w, ad_erf(nn_apply(w, nn_dense(net, "first", in, n)))));
}

static tp_program *traced(nn_function function, nn_net **net)
{
    ad_error error = { 0 };
    *net = nn_trace(function, &(nn_spec){ .features = D, .outputs = 1 }, &error);
    cr_assert(*net, "%s", error.text);
    tp_program *program = tp_translate(*net, &error);
    cr_assert(program, "%s", error.text);
    return program;
}

/* The NTK's first entry, or NaN with what is said. */
static double first_entry(nn_function function, tp_engine engine, char *method, ad_error *error)
{
    nn_net *net;
    tp_program *program = traced(function, &net);
    tp_kernel kernel = { 0 };
    tp_limit_spec spec = { .engine = engine };
    *error = (ad_error){ 0 };
    double value = (double)NAN;
    if (!tp_limit(program, TP_NTK, x[0], N, NULL, 0, &spec, &kernel, error)) {
        value = kernel.terms[0].values[0];
        snprintf(method, 100, "%.99s", kernel.method);
    }
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
    return value;
}

static void expect_refused(const char *name, nn_function function, const char *op)
{
    char method[100];
    ad_error error;
    for (int engine = 0; engine < 2; engine++) {
        double value = first_entry(function, engine ? TP_ENGINE_SAMPLE : TP_ENGINE_AUTO, method, &error);
        cr_expect(isnan(value), "%s: %g", name, value);
        cr_expect(strstr(error.text, "random"), "%s: %s", name, error.text);
        cr_expect(strstr(error.text, "test_stays_random.c:") && strstr(error.text, op), "%s: %s", name, error.text);
    }
}

/* E relu relu + q / 2 at one input: the ungated network's. */
static const double relu_at_first = 1.0 / 2 + 1.0 / 2;

Test(stays_random, averages_at_a_jump)
{
    char method[100];
    ad_error error;
    share = 0.5;
    expect_refused("one half fires", by_share, "step");
    share = 0.4;
    cr_expect_float_eq(first_entry(by_share, TP_ENGINE_AUTO, method, &error), relu_at_first, 1e-12, "%s", error.text);
    share = 0.6;
    cr_expect_float_eq(first_entry(by_share, TP_ENGINE_AUTO, method, &error), 0, 1e-12, "%s", error.text);
}

Test(stays_random, averages_that_are_equal)
{
    char method[100];
    ad_error error;
    compared = AD_STEP;
    expect_refused("one half each", by_layer, "argmax");
    compared = AD_SQUARE;
    cr_expect_float_eq(first_entry(by_layer, TP_ENGINE_AUTO, method, &error), relu_at_first, 1e-12, "%s", error.text);
}

Test(stays_random, what_no_rule_sees)
{
    char method[100];
    ad_error error;
    expect_refused("rows", by_rows, "step");
    double sampled = first_entry(product, TP_ENGINE_SAMPLE, method, &error);
    cr_expect(isfinite(sampled) && strstr(method, "sampled"), "%g, %s, %s", sampled, method, error.text);
    double value = first_entry(product, TP_ENGINE_AUTO, method, &error);
    cr_expect(strstr(method, "groups of Gaussians") && fabs(value - sampled) < 0.02 * fabs(sampled),
              "%g, sampled %g, %s, %s", value, sampled, method, error.text);
}

/* What the work does not suffice to show is refused, before and after a first look; with enough of it there is none. */
Test(stays_random, work_is_bounded)
{
    nn_net *net;
    tp_program *program = traced(product, &net);
    for (int k = 0; k < 3; k++) {
        ad_error error = { 0 };
        tp_work work = { .most = k == 0 ? 1 : k == 1 ? 1e7 : 1e12 };
        tp_sampling sampling = { .samples = 1024, .seed = 1, .work = &work };
        int status = tp_check_convergence(program, TP_NTK, &sampling, x[0], N, &error);
        cr_expect_eq(status, k < 2 ? -1 : 0, "%d: %s", k, error.text);
        cr_expect(k == 2 || strstr(error.text, "not shown"), "%s", error.text);
        cr_expect(work.done > 0 && (k < 2 || work.done < work.most), "%g", work.done);
    }
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- where a kernel may be 0 ---- */
/* Output 0 reads the first layer, output 1 the second: between them there is nothing. */
static ad_var two_layers(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n"), one = ad_fixed(in.graph, "one", 1);
    ad_var h = ad_erf(nn_dense(net, "first", in, n)), g = ad_erf(nn_dense_with(net, "second", h, n, .sigma_w = 3));
    ad_var y[] = { nn_apply(nn_make_weight(net, "r0", n, one, 1), h),
                   nn_apply(nn_make_weight(net, "r1", n, one, 2), g) };
    return ad_concat(y, 2, (ad_axis[]){ one, one }, nn_outputs(net));
}

/* A number that stays random and, as output 1, twice it. */
static ad_var twice_random(nn_net *net, ad_var in)
{
    ad_axis one = ad_fixed(in.graph, "one", 1);
    ad_var f = ad_relabel(by_share(net, in), nn_outputs(net), one), y[] = { f, ad_scale(f, 2) };
    return ad_concat(y, 2, (ad_axis[]){ one, one }, ad_fixed(in.graph, "both", 2));
}

static int sampled_between(nn_function function, size_t outputs, const tp_limit_spec *spec, const double *x2,
                           tp_kernel *kernel, ad_error *error)
{
    *error = (ad_error){ 0 };
    nn_net *net = nn_trace(function, &(nn_spec){ .features = D, .outputs = outputs }, error);
    cr_assert(net, "%s", error->text);
    tp_program *program = tp_translate(net, error);
    cr_assert(program, "%s", error->text);
    int status = tp_limit(program, TP_NTK, x[0], x2 ? 1 : N, x2, x2 ? 1 : 0, spec, kernel, error);
    tp_program_free(program);
    nn_net_free(net);
    return status;
}

/* No entry is farther from 0 than 7 standard errors, Student's of 7 degrees of freedom at 1 in 5000; the error is
 * beside the outputs' own kernels, of order 1. */
static void expect_nothing(const char *name, const tp_kernel *kernel, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect(fabs(kernel->terms[0].values[i]) <= 7 * kernel->deviations[i], "%s: %g, error %g", name,
                  kernel->terms[0].values[i], kernel->deviations[i]);
    cr_expect(kernel->error > 0 && kernel->error < 0.02, "%s: %g", name, kernel->error);
}

Test(stays_random, a_kernel_of_nothing_does_not)
{
    tp_kernel kernel = { 0 };
    ad_error error;
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .output = 0, .output2 = 1 };
    cr_expect_eq(sampled_between(two_layers, 2, &spec, NULL, &kernel, &error), 0, "%s", error.text);
    expect_nothing("two outputs", &kernel, N * N);
    tp_kernel_free(&kernel);
    const double orthogonal[D] = { 1, -2, 1 };
    spec.output2 = 0;
    cr_expect_eq(sampled_between(two_layers, 2, &spec, orthogonal, &kernel, &error), 0, "%s", error.text);
    expect_nothing("two sets of inputs", &kernel, 1);
    tp_kernel_free(&kernel);
    share = 0.5;
    spec.output2 = 1;
    cr_expect_neq(sampled_between(twice_random, 1, &spec, NULL, &kernel, &error), 0);
    cr_expect(strstr(error.text, "random"), "%s", error.text);
    tp_kernel_free(&kernel);
}

/* A run by independent draws is a network of that width: means and deviations of the first entry over 400 of each agree
 * to 6 standard errors (of the deviation's logarithm, 1/sqrt(2 k) where it is normal). */
Test(stays_random, independent_draws_are_networks)
{
    enum { RUNS = 400, WIDTH = 32 };
    double mean[2] = { 0 }, squares[2] = { 0 }, k[N * N];
    ad_error error = { 0 };
    nn_net *net;
    tp_program *program = traced(tied, &net);
    for (int run = 1; run <= RUNS; run++)
        for (int way = 0; way < 2; way++) {
            nn_model *model = way ? nn_model_new(net, WIDTH, (uint64_t)run, AD_DOUBLE, 1, &error) : NULL;
            tp_sampling sampling = { .samples = WIDTH, .seed = (uint64_t)run, .threads = 1, .independent = true };
            int status = way ? !model || nn_ntk(model, x[0], N, NULL, 0, NN_FULL, k, &error)
                             : tp_sample_once(program, TP_NTK, &sampling, x[0], N, NULL, 0, k, &error);
            cr_assert_eq(status, 0, "%s", error.text);
            nn_model_free(model);
            double off = k[0] - mean[way];
            mean[way] += off / run;
            squares[way] += off * (k[0] - mean[way]);
        }
    double deviation[] = { sqrt(squares[0] / (RUNS - 1)), sqrt(squares[1] / (RUNS - 1)) };
    cr_expect(fabs(mean[0] - mean[1]) < 6 * hypot(deviation[0], deviation[1]) / sqrt(RUNS), "%g and %g", mean[0],
              mean[1]);
    cr_expect(fabs(log(deviation[0] / deviation[1])) < 6 / sqrt(RUNS), "%g and %g", deviation[0], deviation[1]);
    tp_program_free(program);
    nn_net_free(net);
}
