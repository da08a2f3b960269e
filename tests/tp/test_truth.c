/* What the exact engine says of its own error, held against limits in 77 digits. `build/bench/truth COUNT` is the same
 * for as many networks as one likes. */
#include "tests/support/tally.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- the truth itself ---- */
static double off(real a, real b, real size)
{
    return real_sign(size) ? real_double(real_div(real_abs(real_sub(a, b)), size)) : real_double(real_abs(a));
}

/* Relative to sqrt(E f(a)^2 E f(b)^2), and so for the slopes. */
static void expect_same(const activation *f, covariance q, moments first, moments second, const char *what)
{
    moments a = expected(f, (covariance){ q.aa, q.aa, q.aa }), b = expected(f, (covariance){ q.bb, q.bb, q.bb });
    double value = off(first.value, second.value, real_sqrt(real_mul(a.value, b.value)));
    double slope = off(first.slope, second.slope, real_sqrt(real_mul(a.slope, b.slope)));
    cr_expect(value < 1e-21 && slope < 1e-21, "%s, %s at %g, %g, %g: %g, %g", f->name, what, real_double(q.aa),
              real_double(q.bb), real_double(q.ab), value, slope);
}

/* Closed forms, trapezoids and sectors share nothing but the function; where one of them is not for it, the others. */
Test(truth, expectations_agree_three_ways, .timeout = 300)
{
    static const double places[][3] = { { 1, 0.75, -0.5 }, { 0, 1, 0 }, { 0.5, 0.5, 0.5 }, { 1, 1, -1 } };
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        covariance q = { real_of(places[p][0]), real_of(places[p][1]), real_of(places[p][2]) };
        for (int k = 0; activation_number(k); k++) {
            const activation *f = activation_number(k);
            moments sectors = expected_by_sectors(f, q);
            if (f->closed)
                expect_same(f, q, sectors, f->closed(q), "sectors");
            if (!f->kink)
                expect_same(f, q, expected_by_trapezoids(f, q), sectors, "trapezoids");
        }
    }
}

/* Where functions turn fast, and where a and b are nearly the same. */
Test(truth, expectations_at_large_arguments_and_near_ones, .timeout = 300)
{
    covariance large = { real_of(400), real_of(300), real_of(100) };
    const activation *f = activation_named("erf"), *g = activation_named("tanh");
    expect_same(f, large, expected_by_sectors(f, large), f->closed(large), "sectors");
    covariance near = { real_of(1), real_of(1), real_of(1 - 1e-9) };
    expect_same(g, near, expected_by_sectors(g, near), expected_by_trapezoids(g, near), "trapezoids");
}

/* By central differences of step 1e-12, in 77 digits. */
Test(truth, slopes_are_derivatives)
{
    for (int k = 0; activation_number(k); k++)
        for (double x = -1.75; x < 2; x += 0.5) {
            const activation *f = activation_number(k);
            real h = real_of(1e-12), up, down, slope, ignored;
            f->at(real_add(real_of(x), h), &up, &ignored);
            f->at(real_sub(real_of(x), h), &down, &ignored);
            f->at(real_of(x), &ignored, &slope);
            real difference = real_div(real_sub(up, down), real_scale(2, h));
            cr_expect(fabs(real_double(real_sub(difference, slope))) < 1e-20, "%s at %g", f->name, x);
        }
}

/* ---- what limn says ---- */
enum { NETWORKS = 50, LARGEST = 10000 };

/* Two kernels each. What is stated is not silly, either: at the median, less than LARGEST times what is. */
Test(truth, errors_are_within_what_is_stated, .timeout = 300)
{
    static tallies t;
    ad_error error = { 0 };
    int failures = tallies_run(&t, truth_case_of, 1, NETWORKS, stderr, &error);
    tallies_print(&t, stderr);
    cr_expect_eq(failures, 0, "%s%s", error.text, t.all.text);
    cr_expect_eq(t.all.kernels, 2 * NETWORKS);
    cr_expect_lt(t.all.refused, NETWORKS / 10);
    cr_expect_lt(tally_median(t.all.ratio, t.all.ratios), LARGEST);
    tallies_free(&t);
}

/* Of deep networks, too, whose layers and steps add up their errors. */
Test(truth, errors_of_deep_networks_are_within_what_is_stated, .timeout = 300)
{
    enum { DEEP = 24, FAR = 3000 };
    static tallies t;
    ad_error error = { 0 };
    int failures = tallies_run(&t, truth_deep_case_of, 1, DEEP, stderr, &error);
    tallies_print(&t, stderr);
    cr_expect_eq(failures, 0, "%s%s", error.text, t.all.text);
    cr_expect_lt(t.all.refused, DEEP / 4);
    cr_expect_lt(tally_median(t.all.ratio, t.all.ratios), FAR);
    tallies_free(&t);
}

/* A mlp of so many layers of ordinary inputs: what is stated of the NTK. */
static double stated_of_layers(const char *phi, int depth, bool norm, double sigma_w)
{
    static truth_kernels truth;
    ad_error error = { 0 };
    truth_outcome o;
    truth_case c = truth_case_with(1, TRUTH_MLP, activation_named(phi));
    for (uint64_t seed = 2; strcmp(c.inputs, "ordinary") != 0 || c.features < 2; seed++)
        c = truth_case_with(seed, TRUTH_MLP, activation_named(phi));
    c.depth = depth;
    c.norm = norm;
    c.sigma_w = sigma_w;
    truth_solve(&c, &truth);
    cr_assert_eq(truth_compare(&c, &truth, TP_NTK, &o, &error), 0, "%s", error.text);
    cr_expect(!o.refused, "%s", o.text);
    fprintf(stderr, "%s, %d layers%s, sigma_w %.2f: error %.2g, stated %.2g\n", phi, depth, norm ? " with norms" : "",
            sigma_w, o.error, o.stated);
    cr_expect(o.error <= o.stated, "%s, %d layers: %s, error %g, stated %g", phi, depth, o.text, o.error, o.stated);
    return o.stated;
}

/* Bounds that multiply by a little more than 1 a layer say nothing of 100 layers. */
Test(truth, bounds_of_hundreds_of_layers_are_of_use, .timeout = 300)
{
    static const struct {
        const char *phi;
        int depth;
        bool norm;
        double sigma_w, most;
    } nets[] = { { "relu", 100, false, 1.4142135623730951, 1e-8 },
                 { "relu", 1000, false, 1.4142135623730951, 1e-6 },
                 { "gelu", 100, false, 1.4142135623730951, 1e-8 },
                 { "erf", 1000, false, 1, 1e-8 },
                 { "erf", 100, false, 2.5, 1e-8 },
                 { "relu", 100, true, 1.4142135623730951, 1e-6 },
                 { "relu", 1000, true, 1.4142135623730951, 1e-4 },
                 { "erf", 100, true, 1.4142135623730951, 1e-8 },
                 { "leaky", 1000, false, 1.4142135623730951, 1e-6 } };
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) {
        double stated = stated_of_layers(nets[k].phi, nets[k].depth, nets[k].norm, nets[k].sigma_w);
        cr_expect_lt(stated, nets[k].most, "%s, %d layers%s: stated %g", nets[k].phi, nets[k].depth,
                     nets[k].norm ? " with norms" : "", stated);
    }
}

/* The last state of 2,000 steps of erf, all weights of variance 1. */
Test(truth, the_bound_of_two_thousand_steps_is_of_use, .timeout = 300)
{
    enum { STEPS = 2000, FEATURES = 2 };
    static double x[2][STEPS][FEATURES];
    const activation *f = activation_named("erf");
    covariance q = { real_of(0), real_of(0), real_of(0) };
    for (int t = 0; t < STEPS; t++) {
        real xx[3] = { real_of(0), real_of(0), real_of(0) };
        covariance before = q;
        for (int i = 0; i < FEATURES; i++) {
            x[0][t][i] = sin(1.0 + 2.7 * (FEATURES * t + i));
            x[1][t][i] = sin(3.0 + 1.9 * (FEATURES * t + i));
            for (int k = 0; k < 3; k++)
                xx[k] = real_add(xx[k], real_scale(0.5, real_mul(real_of(x[k == 1][t][i]), real_of(x[k > 0][t][i]))));
        }
        q = (covariance){ xx[0], xx[1], xx[2] };
        if (t) {
            q.aa = real_add(q.aa, expected(f, (covariance){ before.aa, before.aa, before.aa }).value);
            q.bb = real_add(q.bb, expected(f, (covariance){ before.bb, before.bb, before.bb }).value);
            q.ab = real_add(q.ab, expected(f, before).value);
        }
    }
    ad_error error = { 0 };
    const char *settings[] = { "phi=erf", NULL };
    nn_spec spec = { .features = (size_t)STEPS * FEATURES, .shape = { STEPS, FEATURES }, .outputs = 1 };
    spec.settings = settings;
    nn_net *net = nn_trace(nn_builtin("rnn"), &spec, &error);
    cr_assert(net, "%s", error.text);
    tp_program *program = tp_translate(net, &error);
    tp_kernel kernel;
    cr_assert(program, "%s", error.text);
    cr_assert_eq(tp_limit(program, TP_NNGP, &x[0][0][0], 2, NULL, 0, NULL, &kernel, &error), 0, "%s", error.text);
    double truth = real_double(expected(f, q).value);
    cr_expect(fabs(kernel.terms[0].values[1] - truth) <= kernel.error, "%.17g, truly %.17g", kernel.terms[0].values[1],
              truth);
    cr_expect_lt(kernel.error, 1e-10);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

/* The comparison sees an entry that is off by a millionth, of the kernel and of each power of n. */
Test(truth, a_wrong_kernel_is_seen)
{
    static truth_kernels truth, wrong;
    for (int power = 0; power < TRUTH_POWERS; power++) {
        ad_error error = { 0 };
        truth_outcome o;
        truth_case c = truth_case_with(3, TRUTH_STANDARD, activation_named("erf"));
        truth_solve(&c, &truth);
        wrong = truth;
        wrong.ntk[power][1][0] = wrong.ntk[power][0][1] = real_scale(1 + 1e-6, truth.ntk[power][0][1]);
        cr_assert_eq(truth_compare(&c, &wrong, TP_NTK, &o, &error), 0, "%s", error.text);
        cr_expect(o.error > 1e-9 && o.error > o.stated, "n^%d: %g, stated %g", power, o.error, o.stated);
        wrong = truth;
        wrong.nngp[1][1] = real_scale(1 + 1e-6, truth.nngp[1][1]);
        cr_assert_eq(truth_compare(&c, &wrong, TP_NNGP, &o, &error), 0, "%s", error.text);
        cr_expect(o.error > 1e-9 && o.error > o.stated, "%g, stated %g", o.error, o.stated);
    }
}

/* Differences f(x) - f(x') of rows that are so near that nothing is left of them but the inputs' roundings, and a
 * kernel of jumps upon jumps. */
Test(truth, kernels_without_a_digit_are_refused)
{
    static truth_kernels truth;
    static const uint64_t seeds[] = { 1058, 1076, 1157, 1517 };
    for (int k = 0; k < 4; k++) {
        ad_error error = { 0 };
        truth_outcome o;
        truth_case c = truth_case_of(seeds[k]);
        truth_solve(&c, &truth);
        cr_assert_eq(truth_compare(&c, &truth, TP_NTK, &o, &error), 0, "%s", error.text);
        cr_expect(o.refused || o.error <= o.stated, "%llu: %g, stated %g", (unsigned long long)seeds[k], o.error,
                  o.stated);
        cr_expect(!o.refused || strstr(o.text, "no digits left"), "%s", o.text);
        cr_expect(k == 1 || o.refused, "%llu: stated %g", (unsigned long long)seeds[k], o.stated);
    }
}
