/* How often the 95 % intervals of the sampled engine, of 8 runs, hold the truth. `build/bench/coverage` is the same
 * for as many draws, samples and runs as one likes. */
#include "tests/support/coverage.h"

#include <criterion/criterion.h>
#include <math.h>

enum { SEEDS = 8, SAMPLES = 1024 };

/* One entry of each kernel, whose draws are its own: the count is binomial. If intervals hold with a probability
 * within 93 % and 97 %, the share is beyond the bounds, 3.9 deviations away, once in 20,000 changes of seeds. */
Test(coverage, intervals_hold_the_truth, .timeout = 300)
{
    coverage kinds[N_TRUTH_KINDS];
    ad_error error = { 0 };
    coverage_spec spec = { .seeds = SEEDS, .samples = SAMPLES };
    cr_assert_eq(coverage_run(&spec, kinds, NULL, &error), 0, "%s", error.text);
    coverage all = coverage_sum(kinds);
    double n = all.kernels, share = all.held / n;
    for (int k = 0; k < N_TRUTH_KINDS; k++)
        if (kinds[k].kernels)
            coverage_print(truth_kind_name((truth_kind)k), &kinds[k], stderr);
    coverage_print("all", &all, stderr);
    cr_expect_gt(share, 0.93 - 3.9 * sqrt(0.93 * 0.07 / n), "%g", share);
    cr_expect_lt(share, 0.97 + 3.9 * sqrt(0.97 * 0.03 / n), "%g", share);
    cr_expect_eq(all.refused, 0);
    cr_expect_eq(all.powers, 0, "%d kernels that converge are said to grow or to vanish", all.powers);
}

/* Samples so few that a run spreads by a tenth and more: a power of n that one pair of runs shows is noise. */
Test(coverage, noise_is_no_power_of_n, .timeout = 300)
{
    coverage kinds[N_TRUTH_KINDS];
    ad_error error = { 0 };
    coverage_spec spec = { .seeds = SEEDS, .samples = SAMPLES / 4 };
    cr_assert_eq(coverage_run(&spec, kinds, NULL, &error), 0, "%s", error.text);
    coverage all = coverage_sum(kinds);
    coverage_print("all", &all, stderr);
    cr_expect_eq(all.powers, 0, "%d of %d", all.powers, all.kernels);
}

/* Tables: 97.5 % and 99.5 % points. */
Test(coverage, students_law)
{
    cr_expect_float_eq(student_within(2.364624252, 7), 0.95, 1e-9);
    cr_expect_float_eq(student_within(12.70620474, 1), 0.95, 1e-9);
    cr_expect_float_eq(student_within(2.750000000, 30), 0.99, 1e-6);
}
