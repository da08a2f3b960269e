/* Networks of thousands of steps and layers, in threads of a small stack: nothing recurs as deep as a network is.
 * Values against the recursions that one would write by hand, and against networks of a few layers. */
#include "limn.h"
#include "tp/recursion/recursion.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { STACK = 256 * 1024, ROWS = 2, FEATURES = 3, MOST_STEPS = 2000 };

/* ---- a small stack ---- */
static void *call(void *body)
{
    (*(void (**)(void))body)();
    return NULL;
}

static void on_small_stack(void (*body)(void))
{
    pthread_attr_t attributes;
    pthread_t thread;
    cr_assert_eq(pthread_attr_init(&attributes), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attributes, STACK), 0);
    cr_assert_eq(pthread_create(&thread, &attributes, call, &body), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

/* Small numbers of both signs, the same on every call. */
static void fill(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = sin(1.0 + 2.7 * (double)i) + 0.3 * cos(0.1 * (double)i);
}

/* ---- networks ---- */
static long times;

/* Weights of variance 2, by which ReLUs keep the length of their inputs, or 1. */
static ad_var layers(nn_net *net, ad_var x, const char *phi, double variance)
{
    ad_axis n = nn_width(net, "n");
    for (long k = 0; k < times; k++)
        x = nn_activation(net, phi, nn_dense_with(net, nn_name(net, "dense%ld", k), x, n, .sigma_w = sqrt(variance)));
    return nn_readout(net, "readout", x);
}
static ad_var relu_layers(nn_net *net, ad_var x)
{
    return layers(net, x, "relu", 2);
}
static ad_var erf_layers(nn_net *net, ad_var x)
{
    return layers(net, x, "erf", 1);
}
static ad_var additions(nn_net *net, ad_var x)
{
    ad_var first = nn_dense(net, "dense", x, nn_width(net, "n")), h = first;
    for (long k = 0; k < times; k++)
        h = ad_add(h, first);
    return nn_readout(net, "readout", ad_scale(h, 1.0 / (double)(times + 1)));
}
static ad_var nested(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "dense", x, nn_width(net, "n"));
    for (long k = 0; k < times; k++)
        h = ad_scale(ad_add(h, ad_tanh(h)), 0.5);
    return nn_readout(net, "readout", h);
}

typedef struct {
    nn_net *net;
    tp_program *program;
} traced;

static traced trace(nn_function function, const nn_spec *spec)
{
    ad_error error = { 0 };
    traced t = { .net = nn_trace(function, spec, &error) };
    t.program = t.net ? tp_translate(t.net, &error) : NULL;
    cr_assert(t.program, "%s", error.text);
    return t;
}

static void end(traced t)
{
    tp_program_free(t.program);
    nn_net_free(t.net);
}

/* (ROWS, ROWS) */
static void limit_of(nn_function function, const nn_spec *spec, tp_kernel_kind kind, const double *x, double *out)
{
    ad_error error = { 0 };
    tp_kernel k;
    traced t = trace(function, spec);
    cr_assert_eq(tp_limit(t.program, kind, x, ROWS, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &k, &error),
                 0, "%s", error.text);
    cr_assert_eq(k.n_terms, 1);
    for (int i = 0; i < ROWS * ROWS; i++)
        out[i] = k.terms[0].values[i];
    tp_kernel_free(&k);
    end(t);
}

/* ---- by hand ---- */
/* E phi phi' and E phi' phi' of ReLU (Cho and Saul, 2009) and erf (Williams, 1997). */
static void moments(bool erf, double q1, double q2, double q, double *value, double *slope)
{
    const double pi = acos(-1);
    if (erf) {
        double d1 = 1 + 2 * q1, d2 = 1 + 2 * q2;
        *value = 2 / pi * asin(2 * q / sqrt(d1 * d2));
        *slope = 4 / pi / sqrt(d1 * d2 - 4 * q * q);
        return;
    }
    double root = sqrt(q1 * q2), c = fmin(1, q / root), angle = acos(c);
    *value = root * (sin(angle) + (pi - angle) * c) / (2 * pi);
    *slope = (pi - angle) / (2 * pi);
}

/* The kernels of `steps` layers with weights of this variance; the inputs' covariance is given at each step of a
 * recurrent network, else at the first: (ROWS, ROWS) of the NNGP kernel and of the NTK. */
static void by_hand(bool erf, double variance, int steps, double (*given)[ROWS][ROWS], bool recurrent,
                    double nngp[ROWS][ROWS], double ntk[ROWS][ROWS])
{
    double h[ROWS][ROWS], theta[ROWS][ROWS] = { { 0 } }, y[ROWS][ROWS] = { { 0 } }, slope[ROWS][ROWS] = { { 0 } };
    for (int t = 0; t < steps; t++) {
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++) {
                h[i][j] = variance * ((t ? y[i][j] : 0) + (t == 0 || recurrent ? given[t][i][j] : 0));
                theta[i][j] = h[i][j] / variance + variance * slope[i][j] * theta[i][j];
            }
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++)
                moments(erf, h[i][i], h[j][j], h[i][j], &y[i][j], &slope[i][j]);
    }
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            nngp[i][j] = y[i][j];
            ntk[i][j] = y[i][j] + slope[i][j] * theta[i][j];
        }
}

static void check_equal(const double *found, double (*wanted)[ROWS], double tolerance)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++)
            cr_assert_leq(fabs(found[i * ROWS + j] - wanted[i][j]), tolerance * fabs(wanted[i][j]),
                          "%d, %d: %g, not %g", i, j, found[i * ROWS + j], wanted[i][j]);
}

/* ---- the limit ---- */
static void check_recurrent(int steps, const char *phi, bool erf)
{
    static double x[ROWS * MOST_STEPS * FEATURES], given[MOST_STEPS][ROWS][ROWS];
    double found[ROWS * ROWS], nngp[ROWS][ROWS], ntk[ROWS][ROWS];
    const char *settings[] = { phi, NULL };
    nn_spec spec = { .shape = { (size_t)steps, FEATURES }, .settings = settings };
    fill(x, sizeof x / sizeof *x);
    for (int t = 0; t < steps; t++)
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++) {
                given[t][i][j] = 0;
                for (int k = 0; k < FEATURES; k++)
                    given[t][i][j] += x[(i * steps + t) * FEATURES + k] * x[(j * steps + t) * FEATURES + k] / FEATURES;
            }
    by_hand(erf, 1, steps, given, true, nngp, ntk);
    limit_of(nn_builtin("rnn"), &spec, TP_NNGP, x, found);
    check_equal(found, nngp, 1e-11);
    limit_of(nn_builtin("rnn"), &spec, TP_NTK, x, found);
    check_equal(found, ntk, 1e-11);
}

static void recurrent(void)
{
    check_recurrent(MOST_STEPS, "phi=relu", false);
    check_recurrent(MOST_STEPS, "phi=erf", true);
}
Test(depth, a_recurrent_limit_of_2000_steps)
{
    on_small_stack(recurrent);
}

static void check_layers(nn_function function, bool erf)
{
    double x[ROWS * FEATURES], given[1][ROWS][ROWS] = { 0 }, found[ROWS * ROWS], nngp[ROWS][ROWS], ntk[ROWS][ROWS];
    fill(x, ROWS * FEATURES);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++)
            for (int k = 0; k < FEATURES; k++)
                given[0][i][j] += x[i * FEATURES + k] * x[j * FEATURES + k] / FEATURES;
    by_hand(erf, erf ? 1 : 2, (int)times, given, false, nngp, ntk);
    limit_of(function, &(nn_spec){ .features = FEATURES }, TP_NTK, x, found);
    check_equal(found, ntk, 1e-9);
}

static void deep(void)
{
    times = 2000;
    check_layers(relu_layers, false);
    check_layers(erf_layers, true);
}
Test(depth, a_limit_of_2000_layers)
{
    on_small_stack(deep);
}

/* The sum of N equal vectors over N is one of them. */
static void many_additions(void)
{
    double x[ROWS * FEATURES], one[ROWS * ROWS], many[ROWS * ROWS];
    fill(x, ROWS * FEATURES);
    for (int kind = TP_NTK; kind <= TP_NNGP; kind++) {
        times = 1;
        limit_of(additions, &(nn_spec){ .features = FEATURES }, (tp_kernel_kind)kind, x, one);
        times = 100000;
        limit_of(additions, &(nn_spec){ .features = FEATURES }, (tp_kernel_kind)kind, x, many);
        for (int i = 0; i < ROWS * ROWS; i++)
            cr_assert_leq(fabs(many[i] - one[i]), 1e-10 * fabs(one[i]));
    }
}
Test(depth, a_limit_of_100000_additions)
{
    on_small_stack(many_additions);
}

/* ---- samples that meet ---- */
static ad_var normalised(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (long k = 0; k < times; k++) {
        ad_var u = nn_dense_with(net, nn_name(net, "dense%ld", k), x, n, .sigma_w = sqrt(8));
        x = ad_relu(nn_batchnorm_with(net, nn_name(net, "norm%ld", k), u, .epsilon = 1));
    }
    return nn_readout(net, "readout", x);
}
static ad_var normalised_once(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (long k = 0; k < times; k++)
        x = nn_dense(net, nn_name(net, "dense%ld", k), x, n);
    return nn_readout(net, "readout", ad_relu(nn_batchnorm_with(net, "norm", x, .epsilon = 1)));
}

/* E z^2 and E (dz / ds)^2 of z = s / (s^2 + 1)^(1/2), s ~ N(0, v), by a trapezoid rule. */
static void normal_moments(double v, double *square, double *slope)
{
    const double step = 0.01, pi = acos(-1);
    *square = *slope = 0;
    for (int i = -1000; i <= 1000; i++) {
        double s = v * pow(step * i, 2), weight = step * exp(-pow(step * i, 2) / 2) / sqrt(2 * pi);
        *square += weight * s / (s + 1);
        *slope += weight / pow(s + 1, 3);
    }
}

/* Two samples are normalised to z and -z, z = s / (s^2 + 1)^(1/2) of half their difference s: where one ReLU passes
 * its argument, the other does not, so that the kernels of what they give are multiples of the unit matrix. */
static void deep_batches(void)
{
    double x[ROWS * FEATURES], found[ROWS * ROWS], k[ROWS][ROWS] = { { 0 } }, theta[ROWS][ROWS] = { { 0 } };
    fill(x, ROWS * FEATURES);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++)
            for (int f = 0; f < FEATURES; f++)
                k[i][j] += x[i * FEATURES + f] * x[j * FEATURES + f] / FEATURES;
    times = 2000;
    for (long layer = 0; layer < times; layer++) {
        double square, slope, v = 8 * (k[0][0] + k[1][1] - 2 * k[0][1]) / 4;
        double t = 8 * (theta[0][0] + theta[1][1] - 2 * theta[0][1]) / 4 + v / 8;
        normal_moments(v, &square, &slope);
        k[0][0] = k[1][1] = square / 2;
        theta[0][0] = theta[1][1] = slope / 2 * t;
        k[0][1] = k[1][0] = theta[0][1] = theta[1][0] = 0;
    }
    const double wanted[2] = { theta[0][0] + k[0][0], k[0][0] };
    for (int kind = TP_NTK; kind <= TP_NNGP; kind++) {
        limit_of(normalised, &(nn_spec){ .features = FEATURES }, (tp_kernel_kind)kind, x, found);
        for (int i = 0; i < ROWS * ROWS; i++)
            cr_assert_leq(fabs(found[i] - (i == 0 || i == 3 ? wanted[kind] : 0)), 1e-9 * wanted[kind],
                          "%d of kernel %d: %.15g, not %.15g", i, kind, found[i], wanted[kind]);
    }
}
Test(depth, a_limit_of_2000_normalised_layers)
{
    on_small_stack(deep_batches);
}

/* Linear layers pass their input's covariance on, and each adds it to its tangent once more. */
static void batch_of_products(void)
{
    double x[ROWS * FEATURES], ntk[2][ROWS * ROWS], nngp[2][ROWS * ROWS];
    fill(x, ROWS * FEATURES);
    for (int i = 0; i < 2; i++) {
        times = i ? 2000 : 1;
        limit_of(normalised_once, &(nn_spec){ .features = FEATURES }, TP_NTK, x, ntk[i]);
        limit_of(normalised_once, &(nn_spec){ .features = FEATURES }, TP_NNGP, x, nngp[i]);
    }
    for (int i = 0; i < ROWS * ROWS; i++) {
        cr_assert_leq(fabs(nngp[1][i] - nngp[0][i]), 1e-9 * nngp[0][0]);
        cr_assert_leq(fabs(ntk[1][i] - nngp[0][i] - 2000 * (ntk[0][i] - nngp[0][i])), 1e-9 * ntk[1][0]);
    }
}
Test(depth, a_limit_of_2000_products_before_a_batch)
{
    on_small_stack(batch_of_products);
}

/* ---- functions of functions ---- */
static ad_var chain(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "dense", x, nn_width(net, "n"));
    for (long k = 0; k < times; k++)
        h = ad_tanh(h);
    return nn_readout(net, "readout", h);
}

/* The program and its recursion, without a value: so many functions of functions have lines of their own. */
static void chained(void)
{
    ad_error error = { 0 };
    times = 20000;
    traced t = trace(chain, &(nn_spec){ .features = FEATURES });
    FILE *stream = fopen("/dev/null", "w");
    ad_var vector;
    cr_assert_eq(tp_preactivations(t.program, &vector, 1, &error), 1, "%s", error.text);
    cr_assert_eq(tp_print_recursion(t.program, stream, TP_PAPER, &error), 0, "%s", error.text);
    fclose(stream);
    end(t);
}
Test(depth, the_recursion_of_20000_functions_of_functions)
{
    on_small_stack(chained);
}

static double half_and_half(double h)
{
    for (long k = 0; k < times; k++)
        h = (h + tanh(h)) / 2;
    return h;
}

/* E f f' of `times` nested functions by a trapezoid rule of its own. */
static void check_nests(void)
{
    enum { SIDE = 250 };
    double x[ROWS * FEATURES], k[ROWS * ROWS], q[ROWS][ROWS] = { { 0 } }, wanted[ROWS][ROWS];
    const double step = 8.5 / SIDE, pi = acos(-1);
    fill(x, ROWS * FEATURES);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++)
            for (int m = 0; m < FEATURES; m++)
                q[i][j] += x[i * FEATURES + m] * x[j * FEATURES + m] / FEATURES;
    for (int i = 0; i < ROWS; i++)
        for (int j = i; j < ROWS; j++) {
            double root = sqrt(q[i][i]), along = q[i][j] / root, across = sqrt(fmax(0, q[j][j] - along * along));
            wanted[i][j] = 0;
            for (int a = -SIDE; a <= SIDE; a++) {
                double u = step * a, f = half_and_half(root * u), sum = 0;
                for (int b = i == j ? 0 : -SIDE; b <= (i == j ? 0 : SIDE); b++) {
                    double v = step * b, weight = i == j ? 1 : exp(-v * v / 2) * step / sqrt(2 * pi);
                    sum += i == j ? f : weight * half_and_half(along * u + across * v);
                }
                wanted[i][j] += exp(-u * u / 2) * step / sqrt(2 * pi) * f * sum;
            }
            wanted[j][i] = wanted[i][j];
        }
    limit_of(nested, &(nn_spec){ .features = FEATURES }, TP_NNGP, x, k);
    check_equal(k, wanted, 1e-10);
    limit_of(nested, &(nn_spec){ .features = FEATURES }, TP_NTK, x, k);
    cr_assert(k[0] > wanted[0][0] && fabs(k[1]) <= sqrt(k[0] * k[3]) * (1 + 1e-12));
}
static void nests(void)
{
    for (times = 63; times <= 64; times++)
        check_nests();
}
Test(depth, a_limit_of_64_nested_functions)
{
    on_small_stack(nests);
}

/* The NTK's quantities of so many nested functions. */
static traced open_nests(long nesting, tp_algebra *algebra)
{
    ad_error error = { 0 };
    tp_series series;
    times = nesting;
    traced t = trace(nested, &(nn_spec){ .features = FEATURES });
    cr_assert_eq(tp_algebra_new(algebra, t.program, &error), 0, "%s", error.text);
    algebra->rules = TP_RULES_BP;
    cr_assert_eq(tp_ntk_series(algebra, &series, NULL), 0, "%s", error.text);
    return t;
}

/* The parts that are evaluated are in proportion to the nesting. */
static int parts_of_nests(long nesting)
{
    tp_algebra algebra;
    traced t = open_nests(nesting, &algebra);
    int most = 0;
    for (int fn = 0; fn < algebra.fns.n; fn++) {
        const tp_fn_parts *p = tp_fn_parts_of(&algebra, fn);
        most = p->n > most ? p->n : most;
        tp_fn_parts_end(&algebra, fn, p);
    }
    tp_algebra_free(&algebra);
    end(t);
    return most;
}
Test(depth, parts_grow_in_proportion_to_nesting)
{
    int few = parts_of_nests(16), many = parts_of_nests(64);
    cr_assert(few > 16 && many < 6 * few, "%d, %d", few, many);
}

/* Expectations of pairs of functions, each of which has a series. */
static int expectations_of_nests(long nesting)
{
    tp_algebra algebra;
    traced t = open_nests(nesting, &algebra);
    int count = 0;
    for (int id = 0; id < algebra.quantities.n; id++)
        count += tp_quantity_at(&algebra, id)->kind == TP_Q_EXPECT;
    tp_algebra_free(&algebra);
    end(t);
    return count;
}
Test(depth, expectations_do_not_grow_with_nesting)
{
    int few = expectations_of_nests(8);
    for (long nesting = 9; nesting <= 65; nesting++) {
        int count = expectations_of_nests(nesting);
        cr_assert(count <= few, "%ld: %d, of 8 %d", nesting, count, few);
    }
}

/* ---- products of long sums ---- */
static ad_var crossed(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var left = nn_activation(net, "erf", nn_dense(net, "left", x, n));
    ad_var right = nn_activation(net, "relu", nn_dense(net, "right", x, n));
    for (long k = 1; k < times; k++) {
        left = ad_add(left, nn_activation(net, "erf", nn_dense(net, nn_name(net, "left%ld", k), x, n)));
        right = ad_add(right, nn_activation(net, "relu", nn_dense(net, nn_name(net, "right%ld", k), x, n)));
    }
    return nn_readout(net, "readout", ad_mul(left, right));
}

/* m independent functions of mean 0 and m of mean √(q/2π): E(Σ a)(Σ a') = m E a a', and E(Σ b)(Σ b') = m E b b' +
 * m(m - 1) E b E b'. */
static void sums_of_8(void)
{
    double x[ROWS * FEATURES], found[ROWS * ROWS], wanted[ROWS][ROWS], unused;
    fill(x, ROWS * FEATURES);
    times = 8;
    limit_of(crossed, &(nn_spec){ .features = FEATURES }, TP_NNGP, x, found);
    double q[ROWS][ROWS] = { { 0 } }, m = (double)times;
    for (int i = 0; i < ROWS * ROWS * FEATURES; i++) {
        int a = i / FEATURES / ROWS, b = i / FEATURES % ROWS, k = i % FEATURES;
        q[a][b] += x[a * FEATURES + k] * x[b * FEATURES + k] / FEATURES;
    }
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            double a, b;
            moments(true, q[i][i], q[j][j], q[i][j], &a, &unused);
            moments(false, q[i][i], q[j][j], q[i][j], &b, &unused);
            wanted[i][j] = m * a * (m * b + m * (m - 1) * sqrt(q[i][i] * q[j][j]) / (2 * acos(-1)));
        }
    check_equal(found, wanted, 1e-11);
}
/* More terms than can be told apart pair by pair are refused before they are written out. */
static void sums_of_70(void)
{
    ad_error error = { 0 };
    double x[FEATURES] = { 1, 2, 3 };
    tp_kernel k;
    times = 70;
    traced t = trace(crossed, &(nn_spec){ .features = FEATURES });
    cr_assert_eq(tp_limit(t.program, TP_NNGP, x, 1, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &k, &error),
                 -1);
    cr_assert(strstr(error.text, "a product of sums of 70 and 70 functions of G-vars, more than 4096 in all"), "%s",
              error.text);
    end(t);
}
Test(depth, products_of_long_sums)
{
    on_small_stack(sums_of_8);
    on_small_stack(sums_of_70);
}

/* ---- samples ---- */
static ad_var skips(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "embed", x, n);
    for (long k = 0; k < times; k++)
        h = ad_add(h, nn_dense(net, nn_name(net, "dense%ld", k), h, n));
    return nn_readout(net, "readout", h);
}
/* Draws of layers that meet are orthogonal to each other: there must be as many samples. */
static void sampled(void)
{
    ad_error error = { 0 };
    double x[ROWS * FEATURES];
    tp_kernel k;
    fill(x, ROWS * FEATURES);
    times = 100;
    traced t = trace(skips, &(nn_spec){ .features = FEATURES });
    cr_assert_eq(
        tp_limit(t.program, TP_NTK, x, ROWS, NULL, 0,
                 &(tp_limit_spec){ .engine = TP_ENGINE_SAMPLE, .rule = TP_RULE_GENERAL, .samples = 64, .runs = 2 }, &k,
                 &error),
        -1);
    cr_assert(strstr(error.text, "samples are too few"), "%s", error.text);
    tp_kernel_free(&k);
    end(t);
}
Test(depth, too_few_samples_for_layers_that_meet_are_told)
{
    on_small_stack(sampled);
}

/* ---- finite networks ---- */
/* A vanilla cell of width 4 over 20,000 steps: outputs by a loop of its own, a kernel, a step of training. */
static const double *values_of(nn_model *model, const nn_net *net, const char *name)
{
    for (int k = 0; k < nn_n_params(net); k++)
        if (strcmp(ad_node_of(nn_graph(net), nn_param(net, k).id)->name, name) == 0)
            return nn_param_values(model, k, NULL);
    cr_assert_fail("no parameter %s", name);
    return NULL;
}

static void finite_network(void)
{
    enum { STEPS = 20000, WIDTH = 4 };
    static double x[ROWS * STEPS * FEATURES];
    ad_error error = { 0 };
    double out[ROWS], kernel[ROWS * ROWS], y[ROWS] = { 0.5, -0.5 }, loss;
    nn_spec spec = { .shape = { STEPS, FEATURES } };
    fill(x, sizeof x / sizeof *x);
    nn_net *net = nn_trace(nn_builtin("rnn"), &spec, &error);
    nn_model *model = net ? nn_model_new(net, WIDTH, 1, AD_DOUBLE, 1, &error) : NULL;
    cr_assert(model && nn_forward(model, x, ROWS, out, &error) == 0, "%s", error.text);
    const double *w = values_of(model, net, "layer1.W"), *u = values_of(model, net, "layer1.U");
    const double *v = values_of(model, net, "readout.weight");
    for (int i = 0; i < ROWS; i++) {
        double s[WIDTH] = { 0 }, next[WIDTH], f = 0;
        for (int t = 0; t < STEPS; t++) {
            for (int a = 0; a < WIDTH; a++) {
                double h = 0;
                for (int b = 0; b < WIDTH; b++)
                    h += s[b] * w[b * WIDTH + a] / sqrt(WIDTH);
                for (int b = 0; b < FEATURES; b++)
                    h += x[(i * STEPS + t) * FEATURES + b] * u[b * WIDTH + a] / sqrt(FEATURES);
                next[a] = tanh(h);
            }
            memcpy(s, next, sizeof s);
        }
        for (int a = 0; a < WIDTH; a++)
            f += s[a] * v[a] / sqrt(WIDTH);
        cr_assert_leq(fabs(out[i] - f), 1e-9, "%g, not %g", out[i], f);
    }
    cr_assert_eq(nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, kernel, &error), 0, "%s", error.text);
    cr_assert(kernel[0] > 0 && fabs(kernel[1]) <= sqrt(kernel[0] * kernel[3]) * (1 + 1e-12));
    nn_fit_spec fit = { .rate = 1e-3 };
    nn_trainer *trainer = nn_trainer_new(model, &fit, ROWS, &error);
    cr_assert(trainer && nn_trainer_step(trainer, x, y, ROWS, &loss, &error) == 0, "%s", error.text);
    double wanted = (pow(out[0] - y[0], 2) + pow(out[1] - y[1], 2)) / 2 / ROWS;
    cr_assert_leq(fabs(loss - wanted), 1e-9, "%g, not %g", loss, wanted);
    nn_trainer_free(trainer);
    nn_model_free(model);
    nn_net_free(net);
}
Test(depth, a_recurrent_network_of_20000_steps)
{
    on_small_stack(finite_network);
}
