/* Parts of limit kernels: of some parameters, and of hidden vectors, against closed recursions, the whole, and wide
 * networks. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 4, ROWS = 3 };
static const double x[ROWS * FEATURES] = { 0.5, -1.2, 0.3, 0.9, 1.1, 0.2, -0.7, 0.4, -0.3, 0.8, 0.6, -1.5 };

static tp_kernel solve(tp_program *program, tp_kernel_kind which, const tp_limit_spec *spec)
{
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_opinion opinion;
    cr_assert(tp_limit(program, which, x, ROWS, NULL, 0, spec, &kernel, &error) == 0, "%s", error.text);
    cr_assert(tp_second_opinion(program, which, x, ROWS, NULL, 0, spec, &kernel, 0.2, &opinion, &error) == 0, "%s",
              error.text);
    return kernel;
}

static nn_net *trace(nn_function function, nn_parametrization scale, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = 2, .parametrization = scale, .settings = settings };
    nn_net *net = nn_trace(function, &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

/* A matrix that two layers share, a skip, biases. */
static ad_var skipping(nn_net *net, ad_var u)
{
    ad_axis n = nn_width(net, "n");
    nn_weight w = nn_make_weight(net, "w", n, n, 1.2), b = nn_make_bias(net, "b", n, 0.3);
    ad_var h = nn_dense(net, "embed", u, n);
    for (int k = 0; k < 2; k++)
        h = ad_add(h, nn_add_bias(b, nn_apply(w, ad_tanh(h))));
    return nn_readout(net, "readout", ad_erf(h));
}

/* ---- of parameters ---- */
static void sum_up(nn_net *net, int engine, double tolerance)
{
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    tp_limit_spec spec = { .engine = (tp_engine)engine };
    cr_assert(program, "%s", error.text);
    tp_kernel whole = solve(program, TP_NTK, &spec);
    double sum[8][ROWS * ROWS] = { { 0 } };
    for (int k = 0; k < nn_n_params(net); k++) {
        bool params[16] = { false };
        params[k] = true;
        spec.params = params;
        tp_kernel part = solve(program, TP_NTK, &spec);
        for (int t = 0; t < part.n_terms; t++)
            for (int i = 0; i < ROWS * ROWS; i++)
                sum[lround(2 * part.terms[t].power)][i] += part.terms[t].values[i];
        tp_kernel_free(&part);
    }
    for (int t = 0; t < whole.n_terms; t++)
        for (int i = 0; i < ROWS * ROWS; i++) {
            double got = sum[lround(2 * whole.terms[t].power)][i], want = whole.terms[t].values[i];
            cr_assert(fabs(got - want) <= tolerance * fabs(whole.terms[t].values[0]), "%.12g, not %.12g", got, want);
        }
    tp_kernel_free(&whole);
    tp_program_free(program);
}

Test(limit_parts, sum_up_to_the_whole)
{
    for (int scale = NN_NTK; scale <= NN_STANDARD; scale++) {
        nn_net *nets[] = { trace(nn_builtin("mlp"), (nn_parametrization)scale, (const char *[]){ "sigma_b=0.3", NULL }),
                           trace(skipping, (nn_parametrization)scale, NULL) };
        for (int k = 0; k < 2; k++) {
            sum_up(nets[k], TP_ENGINE_AUTO, 1e-12);
            nn_net_free(nets[k]);
        }
    }
}

Test(limit_parts, of_batches_come_by_samples)
{
    /* a batch of so few rows has tails up to 1 / eps */
    nn_net *net = trace(nn_builtin("batchnorm"), NN_NTK, (const char *[]){ "depth=1", "phi=tanh", "eps=1e-5", NULL });
    ad_error error = { 0 };
    bool params[8] = { true };
    tp_kernel kernel;
    sum_up(net, TP_ENGINE_SAMPLE, 1e-12); /* of the same samples */
    tp_program *program = tp_translate(net, &error);
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT, .params = params };
    cr_assert(tp_limit(program, TP_NTK, x, ROWS, NULL, 0, &spec, &kernel, &error) != 0 &&
                  strstr(error.text, "--engine sample"),
              "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- of vectors: the arc-cosine recursion, Cho and Saul (2009), for sigma_w = sqrt(2) ---- */
static void relu_layer(double *k, double *theta)
{
    double before[ROWS * ROWS];
    memcpy(before, k, sizeof before);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            double size = sqrt(before[i * ROWS + i] * before[j * ROWS + j]);
            double angle = i == j ? 0 : acos(before[i * ROWS + j] / size), *t = &theta[i * ROWS + j];
            k[i * ROWS + j] = size * (sin(angle) + (M_PI - angle) * cos(angle)) / M_PI;
            *t = k[i * ROWS + j] / 2 + *t * (M_PI - angle) / M_PI; /* omega has the variance 2 */
        }
}

Test(limit_parts, of_vectors_follow_the_recursion)
{
    nn_net *net = trace(nn_builtin("mlp"), NN_NTK, NULL);
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    double k[ROWS * ROWS], theta[ROWS * ROWS];
    for (int i = 0; i < ROWS * ROWS; i++) {
        double inner = 0;
        for (int f = 0; f < FEATURES; f++)
            inner += x[i / ROWS * FEATURES + f] * x[i % ROWS * FEATURES + f] / FEATURES;
        k[i] = 2 * inner;
        theta[i] = inner;
    }
    for (int layer = 1; layer <= 3; layer++) {
        ad_var vector;
        char name[8];
        snprintf(name, sizeof name, "h%d", layer);
        cr_assert(tp_vector_named(program, name, &vector, &error) == 0, "%s", error.text);
        tp_program *of = tp_translate_vector(net, vector, &error);
        cr_assert(of, "%s", error.text);
        tp_kernel nngp = solve(of, TP_NNGP, NULL), ntk = solve(of, TP_NTK, NULL);
        for (int i = 0; i < ROWS * ROWS; i++) {
            cr_assert(fabs(nngp.terms[0].values[i] - k[i]) < 1e-12, "%s: %.15g, not %.15g", name,
                      nngp.terms[0].values[i], k[i]);
            cr_assert(fabs(ntk.terms[0].values[i] - theta[i]) < 1e-12, "%s: %.15g, not %.15g", name,
                      ntk.terms[0].values[i], theta[i]);
        }
        cr_assert(ntk.n_terms == 1 && fabs(ntk.terms[0].power) < 1e-12);
        tp_kernel_free(&nngp);
        tp_kernel_free(&ntk);
        tp_program_free(of);
        relu_layer(k, theta);
    }
    tp_program_free(program);
    nn_net_free(net);
}

/* x2, an activation, and a sum, exactly and by samples; wide networks agree to what their width leaves. */
Test(limit_parts, of_vectors_are_what_wide_networks_have)
{
    enum { WIDE = 1024, SEEDS = 8 };
    nn_net *net = trace(skipping, NN_NTK, NULL);
    ad_error error = { 0 };
    tp_program *program = tp_translate(net, &error);
    static const char *const names[] = { "x1", "x2", "x3" };
    for (int v = 0; v < 3; v++) {
        ad_var vector;
        cr_assert(tp_vector_named(program, names[v], &vector, &error) == 0, "%s", error.text);
        tp_program *of = tp_translate_vector(net, vector, &error);
        cr_assert(of, "%s", error.text);
        for (int which = TP_NTK; which <= TP_NNGP; which++) {
            tp_kernel exact = solve(of, (tp_kernel_kind)which, NULL);
            tp_kernel sampled = solve(of, (tp_kernel_kind)which, &(tp_limit_spec){ .engine = TP_ENGINE_SAMPLE });
            double mean[ROWS * ROWS] = { 0 }, one[ROWS * ROWS];
            for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                nn_model *model = nn_model_new(net, WIDE, seed, AD_DOUBLE, 1, NULL);
                nn_kernel_part part = { .of = vector };
                int status = which == TP_NTK ? nn_ntk_part(model, &part, x, ROWS, NULL, 0, NN_MEAN, one, &error)
                                             : nn_nngp_vector(model, vector, x, ROWS, NULL, 0, one, &error);
                cr_assert(status == 0, "%s", error.text);
                for (int i = 0; i < ROWS * ROWS; i++)
                    mean[i] += one[i] / SEEDS;
                nn_model_free(model);
            }
            for (int i = 0; i < ROWS * ROWS; i++) {
                double want = exact.terms[0].values[i], size = exact.terms[0].values[0];
                cr_assert(fabs(sampled.terms[0].values[i] - want) < 0.02 * size, "%s: %g, not %g by samples", names[v],
                          sampled.terms[0].values[i], want);
                cr_assert(fabs(mean[i] - want) < 0.05 * size, "%s: %g, not %g at a width", names[v], mean[i], want);
            }
            tp_kernel_free(&exact);
            tp_kernel_free(&sampled);
        }
        tp_program_free(of);
    }
    ad_var none;
    cr_assert(tp_vector_named(program, "h9", &none, &error) != 0 && strstr(error.text, "h1"), "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
}

/* ---- what is refused ---- */
static void is_refused(int status, ad_error *error, const char *told)
{
    cr_expect(status != 0 && strstr(error->text, told), "%d: %s\n%s", status, error->text, told);
    *error = (ad_error){ 0 };
}

/* A bias whose rate is twice that of the others. */
static ad_var hasty(nn_net *net, ad_var u)
{
    ad_axis n = nn_width(net, "n");
    ad_var bias = ad_param(nn_graph(net), "b", ad_shape_of(n), (ad_init){ .multiplier = 1, .deviation = 1, .rate = 2 });
    return nn_readout(net, "readout", ad_relu(ad_add(nn_dense(net, "dense", u, n), bias)));
}

Test(limit_parts, refused)
{
    static const char *const all[] = { "*", NULL };
    nn_net *net = trace(nn_builtin("mlp"), NN_NTK, NULL), *other = trace(nn_builtin("mlp"), NN_NTK, NULL),
           *quick = trace(hasty, NN_NTK, NULL);
    nn_net *still = nn_trace(nn_builtin("mlp"), &(nn_spec){ .features = FEATURES, .freeze = all }, NULL);
    ad_error error = { 0 };
    tp_kernel k;
    tp_program *program = tp_translate(net, &error), *uneven = tp_translate(quick, &error),
               *frozen = tp_translate(still, &error);
    cr_assert(program && uneven && frozen, "%s", error.text);
    double bad[ROWS * FEATURES];
    memcpy(bad, x, sizeof bad);
    bad[FEATURES + 2] = (double)INFINITY;
    is_refused(tp_limit(NULL, TP_NTK, x, ROWS, NULL, 0, NULL, &k, &error), &error, "no program (NULL)");
    is_refused(tp_limit(program, TP_NTK, NULL, ROWS, NULL, 0, NULL, &k, &error), &error, "first inputs are missing");
    is_refused(tp_limit(program, TP_NTK, x, 0, NULL, 0, NULL, &k, &error), &error, "first inputs have no rows");
    is_refused(tp_limit(program, TP_NTK, x, ROWS, x, 0, NULL, &k, &error), &error, "second inputs have no rows");
    is_refused(tp_limit(program, TP_NTK, bad, ROWS, x, ROWS, NULL, &k, &error), &error,
               "first inputs: row 1, column 2 is inf");
    is_refused(tp_limit(program, TP_NTK, x, ROWS, NULL, 0, &(tp_limit_spec){ .output2 = 2 }, &k, &error), &error,
               "outputs 0 and 2 of 2");
    is_refused(tp_training_kernel(uneven, x, ROWS, NULL, 0, NULL, &k, &error), &error,
               "b has the learning-rate scale 2 n^0: training kernels in the limit are for 0 and 1");
    is_refused(tp_training_kernel(frozen, x, ROWS, NULL, 0, NULL, &k, &error), &error, "nothing learns");
    is_refused(tp_training_kernel(NULL, x, ROWS, NULL, 0, NULL, &k, &error), &error, "no program (NULL)");
    is_refused(tp_gaussian_covariance(program, nn_output(other), x, ROWS, NULL, 0, NULL, &k, &error), &error,
               "not a vector of the program's forward pass");
    is_refused(tp_gaussian_covariance(NULL, nn_output(net), x, ROWS, NULL, 0, NULL, &k, &error), &error,
               "no program (NULL)");
    tp_program_free(program);
    tp_program_free(uneven);
    tp_program_free(frozen);
    nn_net_free(net);
    nn_net_free(other);
    nn_net_free(quick);
    nn_net_free(still);
}
