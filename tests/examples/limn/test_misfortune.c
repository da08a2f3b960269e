/* The tool where the system fails it: calls of the C library that fail, a disk that is full, SIGKILL at any moment.
 * Whatever happens there is one line and status 1, or the signal, and every file is what it was or what it was to be.
 *
 * The suite runs a part. LIMN_LONG=1 build/tests/test_misfortune runs all calls, examples and sizes, and 1,000 kills.
 */
#include "autodiff/autodiff.h"
#include "nn/safetensors/safetensors.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TestSuite(misfortune, .init = tool_enter, .fini = tool_leave);

static bool is_long(void)
{
    return getenv("LIMN_LONG") != NULL;
}

/* What is written stands in `outputs`, with an old file of that name before. */
typedef struct {
    const char *arguments, *outputs[3];
} command;
static const command commands[] = {
    { "kernel mlp --inputs x.npy --no-check --out k.npy", { "k.npy" } },
    { "train " SMALL "--steps 3 --checkpoint c.st --out w.st --drift d.csv --drift-every 1 --no-check",
      { "c.st", "w.st" } },
    { "report mlp --data digits --widths 8,16 --seeds 2 --steps 1 --probes 2 --no-check --out page.html",
      { "page.html" } },
    { "predict mlp --inputs x.npy --labels y.npy --inputs2 x.npy --no-check --out f.npy --covariance v.npy",
      { "f.npy", "v.npy" } },
    { "kernel own.c --inputs x.npy --no-check --out k.npz", { "k.npz" } },
    { "predict mlp --inputs x.npy --labels y.npy --ridges 1e-3:1 --no-check --csv t.csv", { "t.csv" } },
    { "limit p.txt --width 8 --seeds 2", { NULL } },
    { "program own.c", { NULL } },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void put_all(void)
{
    double y[5] = { 1, -1, 0, 2, 1 };
    put_inputs("x.npy");
    put_array("y.npy", y, 5, 1);
    put_example("own.c");
    put_text("p.txt", "Input x : G(n) ~ N(0, 1)\nInput W : A(n, n) ~ N(0, 1/n)\nMatMul h := W x\nMoment e := <h, h>\n");
}

/* ---- files are what they were, or what they were to be ---- */
static const char old_text[] = "what stood here before\n";

static void put_old(const command *c)
{
    for (int k = 0; k < 3 && c->outputs[k]; k++)
        put_text(c->outputs[k], old_text);
    shell("cd %s && rm -rf d.csv struck *.tmp??????", folder);
}

/* Results of a run that nothing befell, as KEPT.k. */
static void keep_right(int which)
{
    const command *c = &commands[which];
    works(c->arguments);
    for (int k = 0; k < 3 && c->outputs[k]; k++)
        shell("cd %s && mv %s .right%d", folder, c->outputs[k], k);
}

/* Old, or of the right kind and length: a page and a checkpoint have times in them. */
static bool is_whole(const char *name, int k)
{
    size_t size, right_size;
    char right[32];
    snprintf(right, sizeof right, ".right%d", k);
    if (access(in(name), F_OK) != 0)
        return false;
    char *text = slurp(in(name), &size), *wanted = slurp(in(right), &right_size);
    bool old = size == sizeof old_text - 1 && memcmp(text, old_text, size) == 0, whole = old;
    if (!old && strstr(name, ".html"))
        whole = strstr(text, "</html>") != NULL;
    else if (!old && strstr(name, ".st")) {
        nn_tensors *file = nn_tensors_read(in(name), NULL);
        whole = file != NULL;
        nn_tensors_free(file);
    } else if (!old)
        whole = size == right_size && memcmp(text, wanted, size) == 0;
    ad_free(text);
    ad_free(wanted);
    return whole;
}

static void all_whole(const command *c, const char *what)
{
    for (int k = 0; k < 3 && c->outputs[k]; k++)
        cr_expect(is_whole(c->outputs[k], k), "%s: %s: %s is neither old nor whole", what, c->arguments, c->outputs[k]);
}

/* ---- calls that fail ---- */
/* A failure that is told, as it loses the result; where it is not, as what is asked for is optional, the rest is
 * there. */
static const struct {
    const char *name;
    bool told;
} calls[] = { { "fwrite", true },    { "rename", true },       { "fsync", true },           { "fork", true },
              { "mkdtemp", true },   { "fopen", false },       { "open", false },           { "fdopen", true },
              { "fclose", false },   { "fflush", false },      { "fread", false },          { "fchmod", true },
              { "realpath", false }, { "tmpfile", false },     { "open_memstream", false }, { "posix_spawnp", true },
              { "opendir", false },  { "aligned_alloc", true } };
enum { CALLS = sizeof calls / sizeof *calls };

static bool is_struck(const char *place)
{
    return access(in(place), F_OK) == 0;
}

/* The line that limn prints last: progress and the compiler's words stand before it. */
static bool ends_with_a_line(const char *err)
{
    const char *at = strncmp(err, "limn: ", 6) == 0 ? err : strstr(err, "\nlimn: ");
    return at && strlen(at) > 9 && !strstr(at + 1, "\nlimn: ");
}

/* False once the call is not made so often. */
static bool survives(int which, int call, long k)
{
    const command *c = &commands[which];
    char environment[400], what[64];
    snprintf(what, sizeof what, "%s:%ld", calls[call].name, k);
    snprintf(environment, sizeof environment,
             "LD_PRELOAD=" LIMN_BUILD_DIR "/libfaults.so LIMN_FAULTY=limn LIMN_FAULT=%s LIMN_STRUCK=struck", what);
    put_old(c);
    outcome r = run_as(LIMN_TOOL, environment, c->arguments);
    bool struck = is_struck("struck");
    cr_expect(r.status == 0 || r.status == 1, "%s: %s: status %d: %s", what, c->arguments, r.status, r.err);
    cr_expect(r.status == 0 || ends_with_a_line(r.err), "%s: %s: %s", what, c->arguments, r.err);
    cr_expect(!struck || !calls[call].told || r.status == 1, "%s: %s: nothing is told", what, c->arguments);
    all_whole(c, what);
    shell("cd %s && ! ls *.tmp?????? >.ls 2>/dev/null", folder);
    return struck;
}

Test(misfortune, a_call_that_fails)
{
    put_all();
    for (int which = 0; which < (is_long() ? COMMANDS : 5); which++) {
        keep_right(which);
        for (int call = 0; call < CALLS; call++) {
            long step = is_long() ? 1 : 1 + call % 3,
                 most = is_long() ? 400 : 4; /* allocations: beyond, by their hook */
            for (long k = 1; k <= most && survives(which, call, k); k += step + (k > 100 ? k / 4 : 0))
                ;
        }
    }
}

/* Every example, where memory ends: it says so and does not die. */
Test(misfortune, an_example_without_memory)
{
    static const char *const names[] = { "netsor", "predict", "drift", "activation", "isometry" };
    for (int e = 0; e < 5; e++) {
        char program[300], environment[400], *at = NULL;
        snprintf(program, sizeof program, LIMN_BUILD_DIR "/examples/%s", names[e]);
        if (access(program, X_OK) != 0)
            continue;
        bool struck = true;
        for (long k = 1; struck && k < 100000; k += is_long() ? 1 + k / 8 : 3 * k) {
            snprintf(environment, sizeof environment,
                     "LD_PRELOAD=" LIMN_BUILD_DIR "/libfaults.so LIMN_FAULTY=%s LIMN_FAULT=aligned_alloc:%ld "
                     "LIMN_STRUCK=struck timeout 60",
                     names[e], k);
            shell("rm -rf %s", in("struck"));
            outcome r = run_as(program, environment, "");
            struck = is_struck("struck");
            cr_expect(!struck || r.status != 0 || !at, "%s, allocation %ld: nothing is told", names[e], k);
            cr_expect(r.status == 0 || r.status == 1 || r.status == 124, "%s, allocation %ld: %d: %s", names[e], k,
                      r.status, r.err);
            struck = struck && r.status != 124;
        }
    }
}

/* ---- memory that others take ---- */
#ifndef SANITIZED
/* OpenBLAS and OpenMP, who do not say when there is none: in any space of addresses, and for any number of threads, the
 * tool does what it is asked for or ends with a line. Products of all threads at a time are part of it. */
Test(misfortune, addresses_that_run_short)
{
    static const int threads[] = { 1, 2, 3, 16, 64, 200, 1024 };
    int none = 0, few = 0, done = 0;
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t += is_long() ? 1 : 4)
        for (int megabytes = 100; megabytes < 20000; megabytes = is_long() ? megabytes * 6 / 5 : megabytes * 4) {
            char line[200];
            snprintf(line, sizeof line, "timeout 60 prlimit --as=%d000000 --cpu=20", megabytes);
            char arguments[200];
            snprintf(arguments, sizeof arguments,
                     "%skernel mlp --data digits --probes 40 --width 300 --no-check --threads %d", LIMN_TOOL " ",
                     threads[t]);
            outcome r = run_as(line, "", arguments);
            bool told = strstr(r.err, "too little memory") || strstr(r.err, "do not start") ||
                        strstr(r.err, "does not start") || strstr(r.err, "out of memory");
            cr_expect(r.status == 0 || (r.status == 1 && told && is_one_line(r.err)) || strstr(r.err, "shared object"),
                      "%d MB, %d threads: status %d: %s", megabytes, threads[t], r.status, r.err);
            none += strstr(r.err, "too little memory") != NULL;
            few += strstr(r.err, "not start") != NULL;
            done += r.status == 0;
        }
    cr_expect(none && few && done, "%d, %d, %d", none, few, done);
}
#endif

/* More than OpenBLAS has places for, whatever the memory; and as many as there are in a thread of the program's own. */
Test(misfortune, threads_that_do_not_start)
{
    ad_error error = { 0 };
    cr_expect(ad_start_threads(AD_MAX_THREADS + 1, &error) == -1 && strstr(error.text, "at most"), "%s", error.text);
    error.text[0] = 0;
    cr_expect(ad_start_threads(2, &error) == 0 && ad_start_threads(0, &error) == 0, "%s", error.text);
}

/* ---- a full disk ---- */
Test(misfortune, a_disk_that_is_full)
{
    static const long sizes[] = { 0, 1, 100, 200, 1000, 4096, 9000, 30000, 100000, 300000 };
#ifdef SANITIZED
    const size_t first = 6; /* LLVM's OpenMP library starts with a file of 1,024 bytes, in shared memory */
#else
    const size_t first = 0;
#endif
    put_all();
    for (int which = 0; which < COMMANDS; which++) {
        const command *c = &commands[which];
        if (!c->outputs[0])
            continue;
        keep_right(which);
        for (size_t k = first; k < sizeof sizes / sizeof *sizes; k += is_long() ? 1 : 3) {
            put_old(c);
            char line[2000], what[64];
            snprintf(what, sizeof what, "%ld bytes", sizes[k]);
            /* pipes take what it says, as files could not */
            snprintf(
                line, sizeof line,
                "cd %s && { TMPDIR=%s/.tmp prlimit --fsize=%ld %s %s 2>&1 >/dev/null; echo status $?; } | cat >.err",
                folder, folder, sizes[k], LIMN_TOOL, c->arguments);
            cr_assert(system(line) == 0);
            char *err = slurp(in(".err"), NULL);
            bool done = strstr(err, "status 0\n") != NULL;
            cr_expect(done || (strstr(err, "status 1\n") && ends_with_a_line(err)), "%s: %s: %s", what, c->arguments,
                      err);
            all_whole(c, what);
            shell("cd %s && ! ls *.tmp?????? >.ls 2>/dev/null", folder);
            ad_free(err);
        }
    }
}

/* ---- SIGKILL ---- */
static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Starts the command, in a group of its own with all that it starts. */
static pid_t start(const char *arguments)
{
    char line[1000];
    snprintf(line, sizeof line, "cd %s && TMPDIR=%s/.tmp exec %s %s >.out 2>.err", folder, folder, LIMN_TOOL,
             arguments);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(99);
    }
    cr_assert(child > 0);
    return child;
}

Test(misfortune, killed_at_any_moment)
{
    put_all();
    const int most = is_long() ? 250 : 8;
    int killed = 0;
    for (int which = 0; which < 4; which++) {
        const command *c = &commands[which];
        double begun = seconds();
        keep_right(which);
        double takes = seconds() - begun;
        for (int k = 0; k < most; k++) {
            int status;
            put_old(c);
            pid_t child = start(c->arguments);
            double wait = takes * (k + 0.5) / most * 1.1;
            nanosleep(&(struct timespec){ (time_t)wait, (long)(1e9 * (wait - (double)(time_t)wait)) }, NULL);
            kill(-child, SIGKILL);
            cr_assert(waitpid(child, &status, 0) == child);
            killed += WIFSIGNALED(status);
            char what[64];
            snprintf(what, sizeof what, "killed after %.3f s", wait);
            all_whole(c, what);
            shell("rm -rf %s/.tmp/*", folder);
        }
    }
    if (is_long())
        fprintf(stderr, "%d of %d runs were killed before their end\n", killed, 4 * most);
    cr_expect(killed > 2 * most, "%d", killed);
}
