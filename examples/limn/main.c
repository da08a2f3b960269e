/* main.c: limn, the tool. */
#include "limn_tool.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Waiting threads must not spin on a shared machine, and an old OpenBLAS does not know new processors: both are read
 * from the environment before main, so the tool starts itself again once. */
static void start_again(char **argv)
{
    bool again = false;
    if (!getenv("OMP_WAIT_POLICY"))
        again = setenv("OMP_WAIT_POLICY", "passive", 1) == 0;
    const char *core = openblas_get_corename();
    bool old = strcmp(core, "Prescott") == 0 || strcmp(core, "Core2") == 0 || strcmp(core, "Nehalem") == 0;
    if (old && !getenv("OPENBLAS_CORETYPE") && __builtin_cpu_supports("avx2"))
        again |= setenv("OPENBLAS_CORETYPE", __builtin_cpu_supports("avx512f") ? "SkylakeX" : "Haswell", 1) == 0;
    if (again)
        execv("/proc/self/exe", argv);
}

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
static int fail(ad_error *error)
{
    for (char *c = error->text; *c; c++)
        *c = *c == '\n' || *c == '\r' ? ' ' : *c;
    fflush(stdout);
    fprintf(stderr, "limn: %s\n", error->text[0] ? error->text : "failed, for a reason that was not told");
    return 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const options *, ad_error *);
    } commands[] = { { "report", command_report },
                     { "train", command_train },
                     { "eval", command_eval },
                     { "kernel", command_kernel },
                     { "program", command_program } };
    start_again(argv);
    find_data();
    ad_hook_allocation(from_environment("LIMN_FAIL_ALLOC"));
    ad_hook_write(from_environment("LIMN_FAIL_WRITE"));
    json_begin();
    options o;
    ad_error error = { 0 };
    int wrong = options_parse(&o, argc, argv);
    for (size_t i = 0; i < sizeof commands / sizeof *commands && !wrong; i++)
        if (strcmp(commands[i].name, o.command) == 0 && commands[i].run(&o, &error))
            return fail(&error);
    if (wrong <= 0 && (fflush(stdout) != 0 || ferror(stdout))) {
        ad_fail(&error, "cannot write to standard output");
        return fail(&error);
    }
    return wrong > 0 ? wrong : 0;
}
