/* guard.c: a network's C file is somebody's own code in this process: where it dies, ends the process, or does not come
 * back from tracing, one line says so. */
#define _GNU_SOURCE
#include "examples/limn/base/compile.h"

#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { FRAMES = 64, TICK = 50000 /* microseconds */, STACK = 1 << 17 };
static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };

static struct {
    const char *path;
    const char *doing;          /* "at being loaded", "at tracing"; NULL: neither */
    const char *first, *last;   /* where the file's code lies in memory */
    const char *object, *place; /* to be removed at the end: a file, and its folder */
    const ad_graph *graph;      /* that is traced */
    double begun, most_seconds, failed_since;
    long most_nodes;
    bool ended;
} now;

static double clock_seconds(void)
{
    struct timespec t = { 0 };
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* From a signal's handler: one line, and the end. */
static _Noreturn void die(const char *line)
{
    char text[1024];
    int length = snprintf(text, sizeof text, "limn: %s\n", line);
    size_t count = length < (int)sizeof text ? (size_t)length : sizeof text - 1;
    for (size_t i = 0; i + 1 < count; i++)
        text[i] = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
    text[count - 1] = '\n';
    if (now.object) {
        unlink(now.object);
        rmdir(now.place);
    }
    _exit(write(STDERR_FILENO, text, count) == (ssize_t)count ? 1 : 1);
}

static bool in_the_file(void)
{
    void *frames[FRAMES];
    int n = now.first ? backtrace(frames, FRAMES) : 0;
    while (n-- > 0)
        if ((const char *)frames[n] >= now.first && (const char *)frames[n] < now.last)
            return true;
    return false;
}

static void on_fault(int number)
{
    char line[1000];
    const char *what = strsignal(number);
    if (now.doing)
        snprintf(line, sizeof line, "%s: its code died %s, by signal %d (%s)", now.path, now.doing, number, what);
    else if (in_the_file())
        snprintf(line, sizeof line, "%s: a function of it (an activation?) died, by signal %d (%s)", now.path, number,
                 what);
    else
        snprintf(
            line, sizeof line,
            "%s: limn died with it, by signal %d (%s), outside the file's own code: it has written where it should "
            "not, or limn is at fault",
            now.path, number, what);
    die(line);
}

static void on_end(int status, void *context)
{
    char line[1000];
    (void)context;
    if (now.ended || !now.path)
        return;
    snprintf(line, sizeof line, "%s: its code ended the program%s%s, with exit(%d)", now.path, now.doing ? " " : "",
             now.doing ? now.doing : "", status);
    die(line);
}

static void on_tick(int number)
{
    char line[1000];
    double at = clock_seconds();
    (void)number;
    if (now.graph && ad_graph_size(now.graph) > now.most_nodes) {
        ad_where where = ad_node_of(now.graph, ad_graph_size(now.graph) - 1)->where;
        snprintf(line, sizeof line, "%s:%d: more than %ld nodes are traced: a loop that does not end? (--trace-nodes)",
                 where.file, where.line, now.most_nodes);
        die(line);
    }
    if (!now.graph || !ad_failed(now.graph))
        now.failed_since = at;
    if (at - now.failed_since > 2)
        die(ad_message(now.graph));
    if (at - now.begun > now.most_seconds) {
        snprintf(line, sizeof line,
                 "%s: its code is not back %s after %g s: a loop that does not end? (--trace-seconds)", now.path,
                 now.doing, now.most_seconds);
        die(line);
    }
}

static void tick(long microseconds)
{
    struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };
    setitimer(ITIMER_REAL, &timer, NULL);
}

void guard_begin(const char *path, const char *doing, const guard_bounds *bounds)
{
    static char stack[STACK]; /* a recursion that does not end leaves none */
    if (!now.path) {
        void *frame;
        backtrace(&frame, 1); /* the first call loads a library */
        sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, NULL);
        struct sigaction fault = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND };
        for (size_t k = 0; k < sizeof faults / sizeof *faults; k++)
            sigaction(faults[k], &fault, NULL);
        on_exit(on_end, NULL);
    }
    now.path = path;
    now.begun = now.failed_since = clock_seconds();
    now.most_seconds = bounds->seconds;
    now.most_nodes = bounds->nodes;
    now.graph = NULL;
    now.doing = doing;
    struct sigaction ticks = { .sa_handler = on_tick, .sa_flags = SA_RESTART | SA_ONSTACK };
    sigaction(SIGALRM, &ticks, NULL);
    tick(TICK);
}

void guard_graph(const ad_graph *graph)
{
    now.graph = graph;
}

void guard_litter(const char *object, const char *place)
{
    now.object = object;
    now.place = place;
}

void guard_end(void)
{
    tick(0);
    guard_litter(NULL, NULL);
    now.doing = NULL;
    now.graph = NULL;
}

void guard_over(void)
{
    now.ended = true;
}

/* Keeps the stretch of the object that the address is in. */
static int find(struct dl_phdr_info *object, size_t size, void *address)
{
    uintptr_t at = (uintptr_t)address, low = UINTPTR_MAX, high = 0;
    (void)size;
    for (int k = 0; k < object->dlpi_phnum; k++) {
        uintptr_t from = object->dlpi_addr + object->dlpi_phdr[k].p_vaddr, to = from + object->dlpi_phdr[k].p_memsz;
        if (object->dlpi_phdr[k].p_type != PT_LOAD)
            continue;
        low = from < low ? from : low;
        high = to > high ? to : high;
    }
    if (at < low || at >= high)
        return 0;
    now.first = (const char *)address - (at - low);
    now.last = now.first + (high - low);
    return 1;
}

void guard_code(void *address)
{
    dl_iterate_phdr(find, address);
}
