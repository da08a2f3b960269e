/* architectures.c: architectures [COUNT [FIRST]]: networks of random architecture, each by the exact engine, by the
 * executor at n = infinity and by wide finite networks. A line for each; what disagrees is told with its seed, and the
 * exit status is then 1. COUNT 1 and a seed repeat one network. */
#include "tests/support/architecture.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    ad_start_again(argv);
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 30, first = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
    if (argc > 3 || count < 1 || first < 0) {
        fprintf(stderr, "usage: %s [COUNT [FIRST]]\n", argv[0]);
        return 2;
    }
    architecture_tally tally = { 0 };
    int failures = 0;
    for (long k = 0; k < count; k++) {
        ad_error error = { 0 };
        int exact = tally.exact, failed = architecture_compare((uint64_t)(first + k), 1, &tally, &error);
        failures += failed != 0;
        if (failed < 0)
            printf("ERROR %s\n", error.text);
        else
            printf("%s%s%s; %d kernels exact; finite within %.1f, exact within %.1f standard errors\n",
                   failed ? "DISAGREE " : "", tally.text, failed ? "\n " : "", tally.exact - exact, tally.worst_finite,
                   tally.worst_exact);
        fflush(stdout);
    }
    printf("%d networks, %d kernels: %d of them exact; %d networks by the general rule; mean square distance of finite "
           "networks %.2f; %d networks disagree or fail\n",
           tally.nets, tally.kernels, tally.exact, tally.general, tally.squares / tally.entries, failures);
    return failures ? 1 : 0;
}
