/* network.c: finding the network (built in, or a C file compiled here) and the data. */
#include "limn_tool.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Compiles a C file into a shared object against the build tree or the installed library, whichever is there. */
static nn_function compile(const char *path, ad_error *error)
{
    if (access(path, R_OK) != 0) {
        ad_fail(error, "%s: cannot read it", path);
        return NULL;
    }
    char object[] = "/tmp/limn-netXXXXXX";
    int descriptor = mkstemp(object);
    if (descriptor < 0) {
        ad_fail(error, "%s: no temporary file for compiling it", path);
        return NULL;
    }
    close(descriptor);
    bool built = access(LIMN_LIB_BUILD "/liblimn.so", R_OK) == 0;
    char include[1024], include_tp[1024];
    snprintf(include, sizeof include, "-I%s", built ? LIMN_INCLUDE_BUILD : LIMN_INCLUDE_INSTALL);
    snprintf(include_tp, sizeof include_tp, "-I%s/tp", built ? LIMN_INCLUDE_BUILD : LIMN_INCLUDE_INSTALL);
    const char *cc = getenv("CC");
    pid_t child = fork();
    if (child == 0) {
        execlp(cc && *cc ? cc : "cc", "cc", "-std=gnu17", "-O2", "-Wall", "-shared", "-fPIC", include, include_tp, "-o",
               object, path, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
        ad_fail(error, "%s: it does not compile", path);
        unlink(object);
        return NULL;
    }
    void *handle = dlopen(object, RTLD_NOW | RTLD_LOCAL); /* stays open: the trace points into it */
    unlink(object);
    if (!handle) {
        ad_fail(error, "%s: %s", path, dlerror());
        return NULL;
    }
    nn_function function = NULL;
    void *symbol = dlsym(handle, "limn_network");
    if (!symbol)
        ad_fail(error, "%s: it does not define ad_var limn_network(nn_net *net, ad_var x)", path);
    memcpy(&function, &symbol, sizeof function);
    return function;
}

nn_function network_find(const char *name, ad_error *error)
{
    size_t length = strlen(name);
    if (length > 2 && strcmp(name + length - 2, ".c") == 0)
        return compile(name, error);
    nn_function function = nn_builtin(name);
    if (!function)
        ad_fail(error, "unknown network %s: mlp, or a C file", name);
    return function;
}

static ds_data *from_arrays(const options *o, ad_error *error)
{
    ds_array x = { 0 }, y = { 0 };
    if (ds_npy_matrix(o->inputs, &x, error) || (o->labels && ds_npy_vector(o->labels, &y, error))) {
        ds_array_free(&x);
        return NULL;
    }
    ds_data *data = ad_alloc(1, sizeof *data, "data", error);
    if (data && o->labels && y.shape[0] != x.shape[0]) {
        ad_fail(error, "%s: %zu labels for %zu inputs", o->labels, y.shape[0], x.shape[0]);
        ad_free(data);
        data = NULL;
    }
    for (size_t i = 0; data && o->labels && i < y.shape[0]; i++) {
        if (y.data[i] < 0 || floor(y.data[i]) < y.data[i] || y.data[i] > 1e6) {
            ad_fail(error, "%s: row %zu is %g, no class", o->labels, i, y.data[i]);
            ad_free(data);
            data = NULL;
            break;
        }
        data->classes = (size_t)fmax((double)data->classes, y.data[i] + 1);
    }
    if (!data) {
        ds_array_free(&x);
        ds_array_free(&y);
        return NULL;
    }
    data->x = x.data;
    data->y = y.data;
    data->rows = x.shape[0];
    data->features = x.shape[1];
    data->train = data->rows;
    return data;
}

ds_data *data_load(const options *o, ad_error *error)
{
    return o->inputs ? from_arrays(o, error) : ds_load(o->data ? o->data : "mnist", NULL, error);
}

nn_net *network_trace(const options *o, size_t features, size_t outputs, ad_error *error)
{
    nn_function function = network_find(o->network, error);
    nn_spec spec = { .features = features, .outputs = outputs, .scale = o->scale, .sigma_in = o->sigma_in,
                     .settings = o->settings, .name = o->network };
    return function ? nn_trace(function, &spec, error) : NULL;
}
