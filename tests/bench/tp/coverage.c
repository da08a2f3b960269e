/* coverage.c: coverage [SEEDS [SAMPLES [RUNS [HEAVY [KIND]]]]]: how often the sampled engine's 95 % intervals hold the
 * truth, for each of the networks of tests/support/coverage.h with SEEDS draws, and for their kinds. SAMPLES and RUNS
 * are the engine's own where they are 0. HEAVY 1: with functions that grow faster than linearly; their intervals fail.
 * KIND: networks of this one alone, as "deep mlp". */
#include "tests/support/coverage.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    long given[4] = { 10, 0, 0, 0 };
    for (int k = 1; k < argc && k < 5; k++)
        given[k - 1] = strtol(argv[k], NULL, 10);
    int kind = argc > 5 ? 0 : -1;
    while (kind >= 0 && kind < N_TRUTH_KINDS && strcmp(argv[5], truth_kind_name((truth_kind)kind)) != 0)
        kind++;
    if (argc > 6 || kind == N_TRUTH_KINDS || given[0] < 1 || given[1] < 0 || given[2] < 0) {
        fprintf(stderr, "usage: %s [SEEDS [SAMPLES [RUNS [HEAVY [KIND]]]]]\n", argv[0]);
        return 2;
    }
    coverage kinds[N_TRUTH_KINDS];
    ad_error error = { 0 };
    coverage_spec spec = { .seeds = (int)given[0],
                           .deep_seeds = (int)given[0],
                           .samples = (size_t)given[1],
                           .runs = (int)given[2],
                           .heavy = given[3] != 0,
                           .only = kind >= 0,
                           .kind = (truth_kind)(kind >= 0 ? kind : 0) };
    if (coverage_run(&spec, kinds, stdout, &error)) {
        printf("ERROR %s\n", error.text);
        return 1;
    }
    for (int k = 0; k < N_TRUTH_KINDS; k++)
        if (kinds[k].kernels)
            coverage_print(truth_kind_name((truth_kind)k), &kinds[k], stdout);
    coverage all = coverage_sum(kinds);
    coverage_print("all", &all, stdout);
    return 0;
}
