/* Random architectures: a seeded generator writes networks, and the exact engine, the executor and wide finite networks
 * must agree on each. `build/bench/architectures COUNT` is the same for as many as one likes. */
#include "tests/support/architecture.h"

#include <criterion/criterion.h>
#include <string.h>

enum { NETS = 30 };

/* architecture_compare raises a false alarm on one network in 6,500 at most: on 35, in one change of seeds of 180. */
Test(architectures, exact_sampled_and_finite_agree, .timeout = 3000)
{
    architecture_tally tally = { 0 };
    /* A kernel that spreads widely from run to run, and four of the table as it has grown. */
    static const uint64_t more[] = { 83, 1001, 1002, 1003, 1004 };
    for (int k = 0; k < NETS + (int)(sizeof more / sizeof *more); k++) {
        ad_error error = { 0 };
        int failed = architecture_compare(k < NETS ? (uint64_t)(k + 1) : more[k - NETS], 2, &tally, &error);
        cr_expect_eq(failed, 0, "%s", failed < 0 ? error.text : tally.text);
    }
    /* The mean of squared Student variables of 7 degrees is 1.4; entries of one kernel are correlated. */
    cr_expect_lt(tally.squares / tally.entries, 3, "%g", tally.squares / tally.entries);
    cr_expect(tally.exact > NETS / 4 && tally.general > NETS / 10, "%d kernels exact, %d networks by the general rule",
              tally.exact, tally.general);
}

/* Two whose vector is multiplied by an average that vanishes, and then meets a jump: the average's sign, one for all
 * coordinates, stays random at every width, and so does the kernel between two inputs. */
Test(architectures, jumps_at_what_vanishes_are_refused)
{
    static const uint64_t seeds[] = { 106, 186 };
    static const double x[] = { 1, 0.5, -0.25, 0, 1.5, 1, 0.5, 1, 0.75, -1, 0.25, 0.5 };
    for (int k = 0; k < 4; k++) {
        ad_error error = { 0 };
        tp_kernel kernel = { 0 };
        tp_limit_spec spec = { .engine = k & 1 ? TP_ENGINE_SAMPLE : TP_ENGINE_AUTO };
        nn_net *net = architecture_trace(seeds[k / 2], &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        cr_assert(program, "%s", error.text);
        cr_expect_eq(tp_limit(program, TP_NTK, x, 2, NULL, 0, &spec, &kernel, &error), -1);
        cr_expect(strstr(error.text, "what vanishes, which is random"), "%s", error.text);
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* A seed is all that it takes to have a network again. */
Test(architectures, a_seed_is_a_network)
{
    char first[2000];
    ad_error error = { 0 };
    nn_net *net = architecture_trace(17, &error), *again, *other;
    cr_assert(net, "%s", error.text);
    strcpy(first, architecture_story());
    cr_assert((again = architecture_trace(17, &error)) != NULL);
    cr_expect_str_eq(first, architecture_story());
    cr_expect_eq(ad_graph_size(nn_graph(net)), ad_graph_size(nn_graph(again)));
    cr_assert((other = architecture_trace(18, &error)) != NULL);
    cr_expect(strcmp(first, architecture_story()) != 0);
    nn_net_free(net);
    nn_net_free(again);
    nn_net_free(other);
}
