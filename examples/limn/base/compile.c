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

/* Takes the first word off a text, quotes and backslashes as in a shell, where it stands; NULL: there is none. */
static char *take_word(char **rest)
{
    char *from = *rest + strspn(*rest, " \t\n"), *word = from, *to = from, quote = 0;
    for (; *from && (quote || !strchr(" \t\n", *from)); from++) {
        if (*from == quote)
            quote = 0;
        else if (!quote && (*from == '"' || *from == '\''))
            quote = *from;
        else if (*from == '\\' && quote != '\'' && from[1])
            *to++ = *++from;
        else
            *to++ = *from;
    }
    *rest = *from ? from + 1 : from;
    *to = 0;
    return from > word ? word : NULL;
}

/* The words of $CC ("ccache gcc"); cc if there is none. Their number. */
static int compiler(char *text, size_t size, char **words)
{
    const char *cc = getenv("CC");
    int n = 0;
    snprintf(text, size, "%s", cc ? cc : "");
    for (char *rest = text, *word; n < MAX_WORDS / 2 && (word = take_word(&rest));)
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

static struct {
    const char *path;
    guard_bounds bounds;
    nn_function function;
} loaded;

/* The file's own limn_network, guarded. */
static ad_var guarded(nn_net *net, ad_var x)
{
    guard_begin(loaded.path, "at tracing", &loaded.bounds);
    guard_graph(nn_graph(net));
    ad_var y = loaded.function(net, x);
    guard_end();
    return y;
}

/* Loads limn_network. The object stays open, as the trace points into it; its file may go. */
static nn_function load_network(const char *object, const char *place, const char *path, const guard_bounds *bounds,
                                nn_input_kind *input, ad_error *error)
{
    guard_begin(path, "at being loaded", bounds);
    guard_litter(object, place);
    void *handle = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    guard_end();
    if (!handle) {
        const char *text = dlerror();
        size_t length = strlen(object);
        bool ours = text && strncmp(text, object, length) == 0 && strncmp(text + length, ": ", 2) == 0;
        ad_fail(error, "%s: %s", path, !text ? "it cannot be loaded" : ours ? text + length + 2 : text);
        return NULL;
    }
    void *symbol = dlsym(handle, "limn_network");
    if (!symbol) {
        ad_fail(error, "%s: it does not define ad_var limn_network(nn_net *net, ad_var x)", path);
        return NULL;
    }
    guard_code(symbol);
    loaded.path = path;
    loaded.bounds = *bounds;
    memcpy(&loaded.function, &symbol, sizeof symbol);
    const nn_input_kind *kind = dlsym(handle, "limn_input");
    *input = kind ? *kind : NN_FEATURES;
    return guarded;
}

nn_function compile_network(const char *path, const guard_bounds *bounds, nn_input_kind *input, ad_error *error)
{
    char cc[MAX_PATH], folder[MAX_PATH + 128], above[MAX_PATH + 256], place[MAX_PATH], object[MAX_PATH + 16];
    char file[2 * MAX_PATH], include[2 * MAX_PATH], include_above[2 * MAX_PATH];
    char *words[MAX_WORDS + 1] = { NULL };
    int source = open(path, O_RDONLY | O_CLOEXEC);
    if (source < 0) {
        ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
        return NULL;
    }
    close(source);
    const char *temporary = getenv("TMPDIR");
    snprintf(place, sizeof place, "%s/limn-netXXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(place)) {
        ad_fail(error, "%s: no temporary folder to compile it in, %s: %s", path, place, strerror(errno));
        return NULL;
    }
    snprintf(object, sizeof object, "%s/net.so", place);
    /* what a compiler takes for an option, or for a file of options */
    snprintf(file, sizeof file, "%s%s", *path == '-' || *path == '@' ? "./" : "", path);
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
                           "-D_exit=exit", /* an end that guard.c sees */
                           "-D_Exit=exit",
                           "-Dquick_exit=exit",
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
                           file };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        words[n++] = rest[i];
    nn_function function =
        run_compiler(words, path, error) ? NULL : load_network(object, place, path, bounds, input, error);
    unlink(object);
    rmdir(place);
    return function;
}
