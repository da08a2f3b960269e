/* start.c: seconds of one processor from the start to the end of a program, and its memory: the tool's --help, or
 * what is given.
 *
 *     build/bench/start ROUNDS PROGRAM ARGUMENT... */
#define _DEFAULT_SOURCE
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

/* Output goes nowhere. *bytes: at most. */
static double run(char **argv, double *bytes)
{
    int status = 0;
    struct rusage used;
    pid_t child = fork();
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 1);
        execv(argv[0], argv);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child || status != 0) {
        fprintf(stderr, "bench: %s fails\n", argv[0]);
        exit(1);
    }
    *bytes = 1024 * (double)used.ru_maxrss;
    return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

int main(int argc, char **argv)
{
    static double ours[BENCH_ROUNDS];
    int rounds = bench_rounds(argc, argv, 11);
    double bytes = 0;
    if (argc < 3)
        return 2;
    for (int round = -1; round < rounds; round++)
        ours[round < 0 ? 0 : round] = run(argv + 2, &bytes);
    printf("start: %s, %d rounds\n", argv[3] ? argv[3] : argv[2], rounds);
    bench_show("limn", ours, rounds);
    printf("  %-42s %7.1f MB\n", "its memory", 1e-6 * bytes);
    return 0;
}
