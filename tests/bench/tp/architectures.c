/* architectures.c: random networks, for as many as one likes.
 *
 * architectures [COUNT [FIRST]]: of the old generator (tests/support/architecture.h), each by the exact engine, by the
 * executor at n = infinity and by wide finite networks, a line for each. COUNT 1 and a seed repeat one network.
 *
 * architectures language FROM TO [EVERY]: of the whole language (tests/support/verdict.h), seeds FROM to TO - 1: the
 * exact engine against the executor, every EVERYth (0: none; without: 3) against finite networks, too; and each written
 * in other ways. Told are those that disagree, fail, crash, take more than 5 seconds of the processor or do not
 * end in 30, with seed and story; at last the table of cells. Each network has a process of its own.
 *
 * What disagrees is told with its seed, and the exit status is then 1. */
#include "tests/support/architecture.h"
#include "tests/support/verdict.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int old_generator(long count, long first)
{
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

/* ---- the whole language ---- */
enum { LIMIT_SECONDS = 30, SLOW_SECONDS = 5 }; /* of the processor */

typedef struct {
    verdict_result result;
    int status;
    ad_error error;
    char story[4000];
} answer;

static void ask(uint64_t seed, bool finite, FILE *pipe)
{
    static answer a;
    setrlimit(RLIMIT_CPU, &(struct rlimit){ LIMIT_SECONDS, LIMIT_SECONDS });
    nn_net *net = language_trace(seed, LANGUAGE_PLAIN, &a.error);
    snprintf(a.story, sizeof a.story, "%s", language_story());
    nn_net_free(net);
    a.status = verdict_of(seed, &(verdict_spec){ .finite = finite }, &a.result, &a.error);
    fwrite(&a, sizeof a, 1, pipe);
    fclose(pipe);
}

/* In a process of its own; false where that came to nothing. */
static bool answered(uint64_t seed, bool finite, answer *a, int *signal_)
{
    int ends[2], status = 0;
    if (pipe(ends))
        return false;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        FILE *out = fdopen(ends[1], "wb");
        if (out)
            ask(seed, finite, out);
        _exit(0);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "rb");
    bool there = in && fread(a, sizeof *a, 1, in) == 1;
    if (in)
        fclose(in);
    waitpid(child, &status, 0);
    *signal_ = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return there;
}

static const char *story_of(uint64_t seed)
{
    ad_error error = { 0 };
    nn_net_free(language_trace(seed, LANGUAGE_PLAIN, &error));
    return language_story();
}

static int whole_language(long from, long to, long every)
{
    static verdict_table table;
    static answer a;
    int failures = 0;
    for (long seed = from; seed < to; seed++) {
        int end = 0;
        if (!answered((uint64_t)seed, every > 0 && seed % every == 0, &a, &end)) {
            printf("%s %ld (signal %d): %s\n", end == SIGKILL || end == SIGXCPU ? "HANGS" : "CRASHES", seed, end,
                   story_of((uint64_t)seed));
            failures++;
            continue;
        }
        if (a.status)
            printf("FAILS %ld: %s: %s\n", seed, a.error.text, a.story);
        if (a.result.disagreements)
            printf("DISAGREES %ld: %s%s\n", seed, a.story, a.result.text);
        if (a.result.seconds > SLOW_SECONDS)
            printf("SLOW %ld: %.1f s: %s\n", seed, a.result.seconds, a.story);
        if (a.result.refusal[0] && every == 1)
            printf("%s %ld: %s: %s\n", a.result.verdict == VERDICT_SAMPLED ? "sampled" : "refused", seed,
                   a.result.refusal, a.story);
        failures += a.status || a.result.disagreements > 0;
        if (!a.status)
            verdict_add(&table, &a.result);
        fflush(stdout);
    }
    verdict_print(&table, stdout);
    return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    bool whole = argc > 1 && strcmp(argv[1], "language") == 0;
    if (whole && (argc == 4 || argc == 5))
        return whole_language(strtol(argv[2], NULL, 10), strtol(argv[3], NULL, 10),
                              argc > 4 ? strtol(argv[4], NULL, 10) : 3);
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 30, first = argc > 2 ? strtol(argv[2], NULL, 10) : 1;
    if (argc > 3 || whole || count < 1 || first < 0) {
        fprintf(stderr, "usage: %s [COUNT [FIRST]]\n       %s language FROM TO [EVERY]\n", argv[0], argv[0]);
        return 2;
    }
    return old_generator(count, first);
}
