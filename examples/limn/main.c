/* main.c: limn, the tool. The table of commands is in commands/. */
#include "examples/limn/commands/commands.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

/* An installed limn that was moved has its data beside it. */
static void find_data(void)
{
    char path[1200];
    ssize_t length = readlink("/proc/self/exe", path, 1000);
    path[length > 0 ? length : 0] = 0;
    char *slash = strrchr(path, '/');
    if (!slash || getenv("LIMN_DATA"))
        return;
    snprintf(slash, 200, "/%s", LIMN_BIN_TO_DATA);
    if (access(path, R_OK) == 0)
        setenv("LIMN_DATA", path, 1);
}

static long from_environment(const char *name)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

/* One line, whatever is in the text. */
static int fail(ad_error *error, int status)
{
    for (char *c = error->text; *c; c++)
        *c = *c == '\n' || *c == '\r' ? ' ' : *c;
    fflush(stdout);
    fprintf(stderr, "limn: %s\n", error->text);
    return status;
}

/* A file that is opened never gets the number of a stream that was closed. What is written there fails, as it would
 * have. */
static void keep_streams(void)
{
    for (int k = 0; k < 3; k++)
        if (fcntl(k, F_GETFD) < 0 && open("/dev/null", k == 0 ? O_WRONLY : O_RDONLY) != k)
            _exit(1);
}

/* Memory of some MB that is freed is used again rather than given back: its first touch may take longer than the work
 * in it. */
static void keep_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

/* OpenBLAS takes memory before main, and asks for it for ever where there is none. What comes first of all, before any
 * library's beginning, sees to it that this ends with a line. */
static void no_memory(int number)
{
    static const char line[] = "limn: too little memory to start OpenBLAS: it takes 128 MB of addresses a processor, "
                               "fewer with OMP_NUM_THREADS=1\n";
    ssize_t told = write(STDERR_FILENO, line, sizeof line - 1);
    (void)number;
    (void)told; /* there is nobody else to tell */
    _exit(1);
}

static void watch_start(void)
{
    struct itimerval most = { .it_value = { 2, 0 } }; /* of the processor's seconds: it takes hundredths */
    signal(SIGPROF, no_memory);
    setitimer(ITIMER_PROF, &most, NULL);
}

static void started(void)
{
    setitimer(ITIMER_PROF, &(struct itimerval){ 0 }, NULL);
    signal(SIGPROF, SIG_DFL);
}

#ifdef __ELF__
__attribute__((section(".preinit_array"), used)) static void (*const before_all)(void) = watch_start;
#endif

static int run(int argc, char **argv)
{
    keep_memory();
    keep_streams();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
    ad_c_locale_begin();      /* a network's C file may set a locale */
    find_data();
    ad_hook_allocation(from_environment("LIMN_FAIL_ALLOC"));
    ad_hook_write(from_environment("LIMN_FAIL_WRITE"));
    ranks_quieten();
    json_begin();
    options o;
    const tool_command *command = NULL;
    ad_error error = { 0 };
    int wrong = options_parse(&o, commands, argc, argv, &command), status = 0;
    if (!wrong)
        ad_start_again(argv, (int)o.threads);
    if (!wrong)
        status = ranks_begin(&error);
    if (!wrong && !status && tp_rank() == 0)
        status = paths_check(&o, &error);
    if (!wrong && !status)
        status = ad_start_threads((int)o.threads, &error);
    if (!wrong && !status)
        status = scale_file_read(&o, &error);
    if (!wrong && !status && !(status = weights_recall(&o, &error)) && (command->shared || tp_rank() == 0))
        status = command->run(&o, &error);
    if (!wrong)
        status = ranks_end(status, &error);
    weights_forget(&o);
    scale_file_forget(&o);
    if (status) {
        ad_fail(&error,
                "%s %s: no part of it said why it failed; most likely memory ran out: try fewer inputs or a "
                "smaller network",
                o.command, o.network);
        return fail(&error, status > 0 ? status : 1);
    }
    if (wrong <= 0 && (fflush(stdout) != 0 || ferror(stdout))) {
        ad_fail(&error, "cannot write to standard output");
        return fail(&error, 1);
    }
    return wrong > 0 ? wrong : 0;
}

int main(int argc, char **argv)
{
    started();
    int status = run(argc, argv);
    if (tp_n_ranks() > 1) /* one that fails is enough for mpirun, which then ends the others */
        signal(SIGTERM, SIG_IGN);
    tp_ranks_end();
    guard_over();
    return tp_rank() == 0 ? status : 0;
}
