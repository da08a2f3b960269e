/* How often the 95 % intervals of the sampled engine, of 8 runs, hold the truth. `build/bench/coverage` is the same
 * for as many draws, samples and runs as one likes. */
#include "tests/support/coverage.h"

#include <criterion/criterion.h>
#include <math.h>

enum { SEEDS = 8, DEEP_SEEDS = 1, SAMPLES = 1024 };

/* One entry of each kernel, whose draws are its own: the count is binomial. If intervals hold with a probability
 * within 93 % and 97 %, the share is beyond the bounds, 3.9 deviations away, once in 20,000 changes of seeds. */
Test(coverage, intervals_hold_the_truth, .timeout = 600)
{
    coverage kinds[N_TRUTH_KINDS];
    ad_error error = { 0 };
    coverage_spec spec = { .seeds = SEEDS, .deep_seeds = DEEP_SEEDS, .samples = SAMPLES };
    cr_assert_eq(coverage_run(&spec, kinds, NULL, &error), 0, "%s", error.text);
    coverage all = coverage_sum(kinds);
    double n = all.kernels, share = all.held / n;
    for (int k = 0; k < N_TRUTH_KINDS; k++)
        if (kinds[k].kernels)
            coverage_print(truth_kind_name((truth_kind)k), &kinds[k], stderr);
    coverage_print("all", &all, stderr);
    cr_expect_gt(share, 0.93 - 3.9 * sqrt(0.93 * 0.07 / n), "%g", share);
    cr_expect_lt(share, 0.97 + 3.9 * sqrt(0.97 * 0.03 / n), "%g", share);
    /* layers with skips all meet: for the deepest the samples are too few, and it is said */
    cr_expect_eq(all.refused, kinds[TRUTH_DEEP_RESIDUAL].refused);
    cr_expect_leq(all.refused, 3);
    cr_expect_eq(all.powers, 0, "%d kernels that converge are said to grow or to vanish", all.powers);
}

/* Samples so few that a run spreads by a tenth and more: a power of n that one pair of runs shows is noise. */
Test(coverage, noise_is_no_power_of_n, .timeout = 600)
{
    coverage kinds[N_TRUTH_KINDS];
    ad_error error = { 0 };
    coverage_spec spec = { .seeds = SEEDS, .samples = SAMPLES / 4 };
    cr_assert_eq(coverage_run(&spec, kinds, NULL, &error), 0, "%s", error.text);
    coverage all = coverage_sum(kinds);
    coverage_print("all", &all, stderr);
    cr_expect_eq(all.powers, 0, "%d of %d", all.powers, all.kernels);
}

static moments linear_moments(covariance q)
{
    return (moments){ q.ab, real_of(1) };
}
static ad_var linear(ad_var x)
{
    return ad_identity(x);
}

/* Samples of linear networks are exact but for rounding, which runs have in common. */
Test(coverage, what_does_not_spread_has_rounding)
{
    static truth_kernels truth;
    static const activation function = {
        .name = "linear", .build = linear, .closed = linear_moments, .largest = INFINITY
    };
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = SAMPLES };
    truth_case c = truth_case_with(4 * N_TRUTH_KINDS, TRUTH_MLP, &function);
    truth_solve(&c, &truth);
    nn_net *net = truth_trace(&c, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    cr_assert_eq(tp_limit(program, TP_NNGP, c.x, (size_t)c.rows, NULL, 0, &spec, &kernel, &error), 0, "%s", error.text);
    for (int i = 0; i < c.rows; i++)
        for (int j = 0; j < c.rows; j++) {
            double off = fabs(kernel.terms[0].values[i * c.rows + j] - real_double(truth.nngp[i][j]));
            double said = kernel.deviations[i * c.rows + j];
            cr_expect(off <= 2.364 * said, "(%d, %d): off by %g, said %g", i, j, off, said);
            cr_expect_lt(said, 1e-12 * sqrt(kernel.terms[0].values[i * (c.rows + 1)] *
                                            kernel.terms[0].values[j * (c.rows + 1)]));
        }
    cr_expect_lt(kernel.error, 1e-12);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

/* Tables: 97.5 % and 99.5 % points. */
Test(coverage, students_law)
{
    cr_expect_float_eq(student_within(2.364624252, 7), 0.95, 1e-9);
    cr_expect_float_eq(student_within(12.70620474, 1), 0.95, 1e-9);
    cr_expect_float_eq(student_within(2.750000000, 30), 0.99, 1e-6);
}

/* ---- runs that end by a tolerance ---- */
static void solve_sampled(tp_program *program, const tp_limit_spec *spec, tp_kernel *kernel)
{
    const double x[2] = { 0.8, -1.1 };
    ad_error error = { 0 };
    cr_assert_eq(tp_limit(program, TP_NNGP, x, 1, NULL, 0, spec, kernel, &error), 0, "%s", error.text);
}

/* Against the mean of very many runs of as many samples, so that only what runs spread by is off. A tolerance that
 * 8 runs miss seven times of ten: there runs that stop are beyond three bare standard errors once in 60. Three stated
 * errors hold but once in 370, in the mean 3.2 of 1200: 13 and more are seen once in 28,000 changes of seeds. Of 95 %
 * intervals less than 92.5 % hold as rarely. */
Test(coverage, errors_hold_where_runs_end_by_a_tolerance, .timeout = 600)
{
    enum { KERNELS = 1200, MANY = 8000, FEW_SAMPLES = 128 };
    ad_error error = { 0 };
    const char *settings[] = { "depth=1", NULL };
    nn_spec net_spec = { .shape = { 2 }, .settings = settings };
    nn_net *net = nn_trace(nn_builtin("mlp"), &net_spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = FEW_SAMPLES, .runs = MANY, .seed = 1000000 };
    int beyond = 0, held = 0, longer = 0;
    tp_kernel kernel;
    cr_assert(program, "%s", error.text);
    solve_sampled(program, &spec, &kernel);
    double truth = kernel.terms[0].values[0], spread = kernel.deviations[0] * sqrt(MANY);
    tp_kernel_free(&kernel);
    spec.runs = 0;
    spec.tolerance = spread / truth / sqrt(8) / 0.7;
    for (int k = 0; k < KERNELS; k++) {
        int runs = 0;
        spec.seed = 100 * (uint64_t)k;
        solve_sampled(program, &spec, &kernel);
        double off = fabs(kernel.terms[0].values[0] - truth);
        cr_assert_eq(sscanf(kernel.method, "sampled at n = infinity: %d runs", &runs), 1, "%s", kernel.method);
        cr_expect(kernel.error <= spec.tolerance || runs == 64, "%g after %d runs", kernel.error, runs);
        beyond += off > 3 * kernel.error * kernel.terms[0].values[0];
        held += off <= ad_student(0.05, runs - 1) * kernel.deviations[0];
        longer += runs > 8;
        tp_kernel_free(&kernel);
    }
    cr_expect_lt(beyond, 13);
    cr_expect_gt(held, 0.925 * KERNELS, "%d", held);
    cr_expect(longer > KERNELS / 4, "%d", longer);
    fprintf(stderr, "%d of %d beyond three errors, %d within 95 %% intervals, %d of more than 8 runs\n", beyond,
            KERNELS, held, longer);
    tp_program_free(program);
    nn_net_free(net);
}
