/* compile.c: a network in a C file of its own: compiled here into a shared object, and loaded. */
#include "examples/limn/base/compile.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORDS = 48, MAX_PATH = 1024 };

/* The folder of this program's headers (beside an installed limn, else the build's source tree, else where the build
 * would install them), and the one where <limn/limn.h> is found. */
static void headers(char *folder, size_t size, char *above, size_t above_size)
{
    char self[MAX_PATH], probe[2 * MAX_PATH];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    bool built = strcmp(self, LIMN_LIB_BUILD) == 0, source = false;
    snprintf(folder, size, "%s/%s", self, LIMN_BIN_TO_INCLUDE);
    snprintf(probe, sizeof probe, "%s/nn/entry.h", folder);
    if (built || access(probe, R_OK) != 0) {
        source = access(LIMN_INCLUDE_BUILD "/nn/entry.h", R_OK) == 0;
        snprintf(folder, size, "%s", source ? LIMN_INCLUDE_BUILD : LIMN_INCLUDE_INSTALL);
    }
    snprintf(above, above_size, source ? LIMN_LIB_BUILD "/include" : "%s/..", folder);
}

/* Splits $CC at its blanks ("ccache gcc"); cc if there is none. The number of words. */
static int compiler(char *text, size_t size, char **words)
{
    const char *cc = getenv("CC");
    int n = 0;
    snprintf(text, size, "%s", cc ? cc : "");
    for (char *rest = text, *word; n < MAX_WORDS / 2 && (word = strtok_r(rest, " \t\n", &rest));)
        words[n++] = word;
    if (!n)
        words[n++] = "cc";
    return n;
}

/* Runs a program and waits; its output goes to standard error, as its warnings do. -1 with an error unless it ends
 * with 0. */
static int run_compiler(char **words, const char *path, ad_error *error)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp(words[0], words);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return ad_fail(error, "%s: the compiler was lost: %s", path, strerror(errno));
    if (child < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 127))
        return ad_fail(error, "%s: the compiler %s cannot be run: set CC", path, words[0]);
    return status ? ad_fail(error, "%s: it does not compile", path) : 0;
}

/* Loads limn_network. The object stays open, as the trace points into it; its file may go. */
static nn_function load_network(const char *object, const char *path, nn_input_kind *input, ad_error *error)
{
    void *handle = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *text = dlerror();
        size_t length = strlen(object);
        bool ours = text && strncmp(text, object, length) == 0 && strncmp(text + length, ": ", 2) == 0;
        ad_fail(error, "%s: %s", path, !text ? "it cannot be loaded" : ours ? text + length + 2 : text);
        return NULL;
    }
    nn_function function = NULL;
    void *symbol = dlsym(handle, "limn_network");
    if (!symbol)
        ad_fail(error, "%s: it does not define ad_var limn_network(nn_net *net, ad_var x)", path);
    memcpy(&function, &symbol, sizeof function);
    const nn_input_kind *kind = dlsym(handle, "limn_input");
    *input = kind ? *kind : NN_FEATURES;
    return function;
}

nn_function compile_network(const char *path, nn_input_kind *input, ad_error *error)
{
    char cc[MAX_PATH], folder[MAX_PATH + 128], above[MAX_PATH + 256], object[MAX_PATH];
    char include[2 * MAX_PATH], include_above[2 * MAX_PATH];
    char *words[MAX_WORDS + 1] = { NULL };
    int source = open(path, O_RDONLY | O_CLOEXEC);
    if (source < 0) {
        ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
        return NULL;
    }
    close(source);
    const char *temporary = getenv("TMPDIR");
    snprintf(object, sizeof object, "%s/limn-netXXXXXX", temporary && *temporary ? temporary : "/tmp");
    int descriptor = mkstemp(object);
    if (descriptor < 0) {
        ad_fail(error, "%s: no temporary file to compile it into: %s", path, strerror(errno));
        return NULL;
    }
    close(descriptor);
    headers(folder, sizeof folder, above, sizeof above);
    snprintf(include, sizeof include, "-I%s", folder);
    snprintf(include_above, sizeof include_above, "-I%s", above);
    int n = compiler(cc, sizeof cc, words);
    char *const rest[] = { "-std=gnu17",
                           "-O2",
                           "-Wall",
                           "-Werror=implicit-function-declaration",
                           "-Werror=return-type",
                           "-Werror=int-conversion",
                           "-Werror=incompatible-pointer-types",
                           "-Werror=uninitialized",
                           "-shared",
                           "-fPIC",
                           include,
                           include_above,
                           "-include",
                           "nn/entry.h",
                           "-o",
                           object,
                           "-x",
                           "c",
                           (char *)path };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        words[n++] = rest[i];
    nn_function function = run_compiler(words, path, error) ? NULL : load_network(object, path, input, error);
    unlink(object);
    return function;
}
