/* Powers of n in a trace, at n = infinity by samples, which stand in for n: what vanishes beside the limit is not in
 * it. A network with lower powers of n has, draw by draw, the kernel of the network without them. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, FEATURES = 3, SAMPLES = 256 };
static const double x[ROWS * FEATURES] = { 1, 0.3, 0.2, 0.4, -0.8, 1, -0.7, 0.1, 1.3 };

typedef struct {
    ad_axis n, m;
    ad_var first, second, h, u, mean;
    double c, p;
} parts;

/* c n^p times it. */
static ad_var low(const parts *a, ad_var it)
{
    return ad_scale_by(it, a->c, a->n, a->p);
}

static parts parts_of(nn_net *net, ad_var in)
{
    ad_axis features = ad_fixed(nn_graph(net), "features", FEATURES);
    parts a = { .n = nn_width(net, "n"), .m = nn_width_ratio(net, "m", 2) };
    a.c = nn_setting_real(net, "c", 0);
    a.p = nn_setting_real(net, "p", -0.5);
    a.first = ad_take(in, features, 0);
    a.second = ad_take(in, features, 1);
    a.h = nn_dense(net, "h", in, a.n);
    a.u = nn_dense(net, "u", in, a.n);
    a.mean = ad_mean(ad_relu(a.h), ad_shape_of(a.n));
    return a;
}

static ad_var on_output(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return ad_mul(nn_readout(net, "v", ad_relu(a.h)), ad_add(a.first, low(&a, a.second)));
}

static ad_var on_powers_of_data(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return ad_mul(nn_readout(net, "v", ad_relu(a.h)), ad_add(a.first, low(&a, ad_power(a.second, 16))));
}

static ad_var on_vector(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return nn_readout(net, "v", ad_mul(ad_relu(a.h), ad_add(a.first, low(&a, a.second))));
}

static ad_var inside_functions(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return nn_readout(net, "v", ad_tanh(ad_add(ad_relu(ad_add(a.h, low(&a, a.u))), low(&a, a.second))));
}

static ad_var in_products(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return nn_readout(net, "v", ad_tanh(ad_mul(a.h, ad_add(ad_tanh(a.u), low(&a, ad_exp(a.u))))));
}

static ad_var on_gate(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return nn_readout(net, "v", ad_mul(ad_relu(a.u), ad_add(a.mean, low(&a, a.second))));
}

static ad_var gates_that_vanish(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return nn_readout(net, "v", ad_mul(ad_relu(a.u), ad_add(a.first, low(&a, a.mean))));
}

static ad_var on_bias(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    nn_weight bias = nn_make_bias(net, "bias", a.n, 1);
    ad_var b = low(&a, ad_expand(bias.omega, ad_shape_of(nn_batch(net), a.n)));
    return nn_readout(net, "v", ad_relu(nn_dense(net, "d", ad_relu(ad_add(a.h, b)), a.n)));
}

static ad_var on_layers(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    ad_var g = nn_dense(net, "d", ad_relu(a.h), a.m);
    g = ad_add(g, ad_scale_by(nn_dense(net, "e", ad_relu(g), a.m), a.c, a.m, a.p));
    return nn_readout(net, "v", ad_relu(nn_dense(net, "o", ad_mul(ad_relu(g), ad_add(a.first, low(&a, a.mean))), a.n)));
}

static ad_var on_readout(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    return ad_add(nn_readout(net, "v", ad_relu(a.h)), low(&a, nn_readout(net, "w", ad_relu(a.u))));
}

static ad_var under_norms(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    ad_var size = ad_add(ad_mean(ad_square(a.h), ad_shape_of(a.n)), low(&a, ad_square(a.second)));
    return nn_readout(net, "v", ad_relu(ad_div(nn_layernorm(net, "norm", ad_add(a.h, low(&a, a.u))), ad_sqrt(size))));
}

static ad_var with_power_of_all(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    ad_var of_h = ad_scale_by(ad_relu(a.h), 1, a.n, a.p);
    return nn_readout(net, "v", ad_add(of_h, low(&a, ad_scale_by(ad_tanh(a.u), 1, a.n, a.p))));
}

static ad_var below_growth(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    ad_var grows = ad_scale_by(a.second, 1, a.n, -a.p);
    return nn_readout(net, "v", ad_mul(ad_relu(a.h), ad_add(grows, ad_scale(a.first, a.c))));
}

/* Sums over the width make up for their powers: nothing is left out. */
static ad_var means_in_steps(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    ad_var sum = ad_scale_by(ad_sum(ad_relu(a.h), ad_shape_of(a.n)), 1, a.n, -0.5);
    ad_var wide = ad_scale_by(ad_sub(ad_add(a.first, low(&a, a.second)), a.first), 1, a.n, 0.5);
    return nn_readout(net, "v", ad_mul(ad_relu(a.u), ad_add(ad_scale_by(sum, 1, a.n, -0.5), wide)));
}

static ad_var cancelling(nn_net *net, ad_var in)
{
    parts a = parts_of(net, in);
    ad_var nothing = ad_sub(ad_add(a.first, low(&a, a.second)), a.first);
    return nn_readout(net, "v", ad_mul(ad_tanh(ad_mul(a.h, a.u)), nothing));
}

typedef struct {
    const char *name;
    ad_var (*network)(nn_net *, ad_var);
    const char *power;
    double leading;
} row;

static const row rows[] = {
    { "on the output", on_output, "p=-0.5", 0 },
    { "on the output, n^-2", on_output, "p=-2", 0 },
    { "on powers of data", on_powers_of_data, "p=-0.5", 0 },
    { "on a vector", on_vector, "p=-0.5", 0 },
    { "inside functions", inside_functions, "p=-0.5", 0 },
    { "inside functions, n^-1", inside_functions, "p=-1", 0 },
    { "in products", in_products, "p=-0.5", 0 },
    { "on a gate", on_gate, "p=-0.5", 0 },
    { "gates that vanish", gates_that_vanish, "p=-0.5", 0 },
    { "on a bias", on_bias, "p=-0.5", 0 },
    { "on layers of two widths", on_layers, "p=-0.5", 0 },
    { "on a readout", on_readout, "p=-0.5", 0 },
    { "under norms", under_norms, "p=-0.5", 0 },
    { "with a power of all", with_power_of_all, "p=-0.5", -1 },
    { "below what grows", below_growth, "p=-0.5", 1 },
};

typedef struct {
    nn_net *net;
    tp_program *program;
    ad_error error;
} made;

static made make(ad_var (*network)(nn_net *, ad_var), const char *power, const char *c, nn_parametrization scale)
{
    made m = { 0 };
    const nn_spec spec = { .features = FEATURES,
                           .parametrization = scale,
                           .settings = (const char *[]){ power, c, NULL } };
    m.net = nn_trace(network, &spec, &m.error);
    m.program = m.net ? tp_translate(m.net, &m.error) : NULL;
    cr_assert(m.program, "%s", m.error.text);
    return m;
}

static void unmake(made *m)
{
    tp_program_free(m->program);
    nn_net_free(m->net);
}

static tp_kernel solve(made *m, tp_kernel_kind which, tp_engine engine, const char *name)
{
    tp_kernel kernel = { 0 };
    tp_limit_spec spec = { .engine = engine, .samples = engine == TP_ENGINE_SAMPLE ? SAMPLES : 0 };
    int status = tp_limit(m->program, which, x, ROWS, NULL, 0, &spec, &kernel, &m->error);
    cr_assert(status == 0, "%s: %s", name, m->error.text);
    return kernel;
}

static double distance(const tp_kernel *a, const tp_kernel *b)
{
    double off = 0, size = 0;
    for (int i = 0; i < ROWS * ROWS; i++) {
        off = fmax(off, fabs(a->terms[0].values[i] - b->terms[0].values[i]));
        size = fmax(size, fabs(b->terms[0].values[i]));
    }
    return off / size;
}

Test(powers, what_vanishes_is_in_no_sample)
{
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int k = 0; k < 2; k++) {
            tp_kernel_kind which = k ? TP_NTK : TP_NNGP;
            made with = make(rows[r].network, rows[r].power, "c=4", NN_NTK);
            made without = make(rows[r].network, rows[r].power, "c=0", NN_NTK);
            tp_kernel a = solve(&with, which, TP_ENGINE_SAMPLE, rows[r].name);
            tp_kernel b = solve(&without, which, TP_ENGINE_SAMPLE, rows[r].name);
            cr_expect(distance(&a, &b) < 1e-12, "%s, %s: %g", rows[r].name, k ? "NTK" : "NNGP", distance(&a, &b));
            cr_expect_float_eq(a.terms[0].power, rows[r].leading, 1e-9, "%s: n^%g", rows[r].name, a.terms[0].power);
            tp_kernel_free(&a);
            tp_kernel_free(&b);
            unmake(&with);
            unmake(&without);
        }
}

/* Where there are exact rules, too: six stated errors and what 256 samples add to the mean. */
Test(powers, samples_agree_with_exact_rules)
{
    int met = 0;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        if (rows[r].network == in_products) /* a function of two Gaussians has none */
            continue;
        made m = make(rows[r].network, rows[r].power, "c=4", NN_NTK);
        tp_kernel a = solve(&m, TP_NTK, TP_ENGINE_SAMPLE, rows[r].name);
        tp_kernel b = solve(&m, TP_NTK, TP_ENGINE_EXACT, rows[r].name);
        int top = 0;
        for (int t = 1; t < b.n_terms; t++)
            top = b.terms[t].power > b.terms[top].power ? t : top;
        memcpy(b.terms[0].values, b.terms[top].values, sizeof(double[ROWS * ROWS]));
        double bound = 6 * a.error + 2.0 / SAMPLES;
        cr_expect(distance(&a, &b) < bound && bound < 0.1, "%s: %g, bound %g", rows[r].name, distance(&a, &b), bound);
        met++;
        tp_kernel_free(&a);
        tp_kernel_free(&b);
        unmake(&m);
    }
    cr_expect(met > 10);
}

Test(powers, sums_that_make_up_for_them_stay)
{
    made m = make(means_in_steps, "p=-0.5", "c=1", NN_NTK);
    tp_kernel a = solve(&m, TP_NTK, TP_ENGINE_SAMPLE, "means"), b = solve(&m, TP_NTK, TP_ENGINE_EXACT, "means");
    cr_expect(distance(&a, &b) < 6 * a.error + 2.0 / SAMPLES && a.error < 0.02, "%g, stated %g", distance(&a, &b),
              a.error);
    tp_kernel_free(&a);
    tp_kernel_free(&b);
    unmake(&m);
}

Test(powers, what_cancels_to_them_is_refused)
{
    made m = make(cancelling, "p=-0.5", "c=1", NN_NTK);
    tp_kernel kernel = { 0 };
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = SAMPLES };
    cr_expect(tp_limit(m.program, TP_NTK, x, ROWS, NULL, 0, &spec, &kernel, &m.error) != 0);
    cr_expect(strstr(m.error.text, "nothing larger is left"), "%s", m.error.text);
    unmake(&m);
}

/* 64 runs of up to 4096 samples see n^(-1/2) of what is as large as the kernel. */
Test(powers, a_second_opinion_has_none)
{
    static const row asked[] = { { "output", on_output, "p=-0.5", 0 },
                                 { "data", on_powers_of_data, "p=-0.5", 0 },
                                 { "functions", inside_functions, "p=-0.5", 0 } };
    for (size_t r = 0; r < sizeof asked / sizeof *asked; r++) {
        made m = make(asked[r].network, asked[r].power, "c=4", NN_NTK);
        tp_kernel kernel = solve(&m, TP_NTK, TP_ENGINE_EXACT, asked[r].name);
        tp_opinion opinion;
        int status = tp_second_opinion(m.program, TP_NTK, x, ROWS, NULL, 0, &(tp_limit_spec){ 0 }, &kernel, 1, &opinion,
                                       &m.error);
        cr_expect(status == 0 && opinion.checked, "%s: %s %s", asked[r].name, m.error.text, opinion.text);
        tp_kernel_free(&kernel);
        unmake(&m);
    }
}

static tp_trained train(made *m)
{
    static const double y[ROWS] = { 1, -0.5, 0.3 };
    const nn_data data = { x, y, ROWS, 0 };
    tp_train_spec spec = { .fit = { .rate = 0.3, .steps = 4 }, .samples = SAMPLES, .runs = 2, .probes = ROWS };
    tp_trained run;
    cr_assert(tp_train(m->program, &data, NULL, &spec, &run, &m->error) == 0, "%s", m->error.text);
    return run;
}

Test(powers, training_has_none)
{
    static ad_var (*const networks[])(nn_net *, ad_var) = { on_output, on_vector, on_powers_of_data };
    for (size_t k = 0; k < sizeof networks / sizeof *networks; k++) {
        made with = make(networks[k], "p=-0.5", "c=4", NN_MUP), without = make(networks[k], "p=-0.5", "c=0", NN_MUP);
        tp_trained a = train(&with), b = train(&without);
        const tp_trained_row *of_a = &a.rows[a.n_rows - 1], *of_b = &b.rows[b.n_rows - 1];
        cr_expect(!a.kernel_regime && fabs(of_b->f[0]) > 0.01);
        for (int i = 0; i < ROWS; i++)
            cr_expect_float_eq(of_a->f[i], of_b->f[i], 1e-12, "network %d, row %d", (int)k, i);
        for (int i = 0; i < ROWS * ROWS; i++)
            cr_expect_float_eq(of_a->kernel[i], of_b->kernel[i], 1e-12, "network %d, entry %d", (int)k, i);
        tp_trained_free(&a);
        tp_trained_free(&b);
        unmake(&with);
        unmake(&without);
    }
}

/* A kernel that has lost lower powers says so. */
Test(powers, an_exact_kernel_tells_what_it_leaves_out)
{
    made with = make(on_output, "p=-0.5", "c=4", NN_NTK), without = make(on_output, "p=-0.5", "c=0", NN_NTK);
    tp_kernel a = solve(&with, TP_NNGP, TP_ENGINE_EXACT, "with"), b = solve(&without, TP_NNGP, TP_ENGINE_EXACT, "none");
    cr_expect(strstr(a.method, "without its terms of n^-0.5 and below"), "%s", a.method);
    cr_expect(!strstr(b.method, "without its terms"), "%s", b.method);
    tp_kernel_free(&a);
    tp_kernel_free(&b);
    unmake(&with);
    unmake(&without);
}
