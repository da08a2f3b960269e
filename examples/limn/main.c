/* main.c: limn, the tool. */
#include "limn_tool.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Waiting threads must not spin on a shared machine, and an old OpenBLAS does not know new processors: both are read from
 * the environment before main, so the tool starts itself again once. */
static void settle(char **argv)
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

static long from_environment(const char *name)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

int command_program(const options *o, ad_error *error)
{
    nn_net *net = network_trace(o, 784, 1, error);
    tp_program *program = net ? tp_translate(net, error) : NULL;
    int status = program ? tp_print(program, stdout, TP_PAPER, error) : -1;
    tp_free(program);
    nn_net_free(net);
    return status;
}

/* The limit, summed at a width where it has powers of n. */
static int limit_kernel(const options *o, nn_net *net, const ds_data *x, const ds_array *x2, double *out,
                        ad_error *error)
{
    tp_program *program = tp_translate(net, error);
    tp_kernel kernel = { 0 };
    tp_limit_spec spec = { .threads = (int)o->threads };
    int status = program ? tp_limit(program, o->kernel, x->x, x->rows, x2->data, x2->data ? x2->shape[0] : 0, &spec,
                                    &kernel, error) : -1;
    if (!status && !tp_kernel_converges(&kernel) && !(o->at_width > 0)) {
        char powers[200] = "";
        for (int k = 0; k < kernel.n_terms; k++)
            snprintf(powers + strlen(powers), sizeof powers - strlen(powers), " n^%g", kernel.terms[k].power);
        status = ad_fail(error, "the limit has the powers%s: give --at-width N to sum them", powers);
    }
    if (!status)
        tp_kernel_at(&kernel, o->at_width > 0 ? o->at_width : 1, out);
    tp_kernel_free(&kernel);
    tp_free(program);
    return status;
}

static int finite_kernel(const options *o, nn_net *net, const ds_data *x, const ds_array *x2, double *out,
                         ad_error *error)
{
    size_t rows2 = x2->data ? x2->shape[0] : 0, outputs = nn_n_outputs(net);
    size_t count = x->rows * (rows2 ? rows2 : x->rows) * (o->outputs == NN_FULL ? outputs * outputs : 1);
    long seeds = o->seeds > 0 ? o->seeds : 1;
    double *one = ad_alloc(count, sizeof *one, "a kernel", error);
    int status = one ? 0 : -1;
    for (long s = 0; s < seeds && !status; s++) {
        nn_model *model = nn_at(net, o->width, (uint64_t)(o->seed + s), o->type, (int)o->threads, error);
        status = !model || (o->weights && nn_load(model, o->weights, error)) ? -1 : 0;
        if (!status)
            status = (o->kernel == TP_NTK ? nn_ntk : nn_nngp)(model, x->x, x->rows, x2->data, rows2, o->outputs, one,
                                                              error);
        for (size_t i = 0; i < count && !status; i++)
            out[i] += one[i] / (double)seeds;
        nn_model_free(model);
    }
    ad_free(one);
    return status;
}

int command_kernel(const options *o, ad_error *error)
{
    if (o->weights && !o->width)
        return ad_fail(error, "--weights needs the network's --width N");
    ds_data *x = data_load(o, error);
    ds_array x2 = { 0 };
    int status = x && (!o->inputs2 || !ds_npy_matrix(o->inputs2, &x2, error)) ? 0 : -1;
    if (!status && x2.data && x2.shape[1] != x->features)
        status = ad_fail(error, "%s: %zu features, the first inputs have %zu", o->inputs2, x2.shape[1], x->features);
    nn_net *net = status ? NULL : network_trace(o, x->features, x->classes, error);
    if (!net)
        status = -1;
    size_t rows2 = status ? 0 : x2.data ? x2.shape[0] : x->rows, outputs = status ? 1 : nn_n_outputs(net);
    bool full = o->outputs == NN_FULL;
    size_t count = status ? 0 : x->rows * rows2 * (full ? outputs * outputs : 1);
    double *k = status ? NULL : ad_alloc(count, sizeof *k, "a kernel", error);
    if (!status)
        status = !k ? -1 : o->width ? finite_kernel(o, net, x, &x2, k, error) : limit_kernel(o, net, x, &x2, k, error);
    if (!status && !o->width && full) /* equal outputs alone are correlated: the kernel times the identity */
        for (size_t i = x->rows * rows2; i-- > 0;) {
            double value = k[i];
            for (size_t p = 0; p < outputs * outputs; p++)
                k[i * outputs * outputs + p] = p % (outputs + 1) == 0 ? value : 0;
        }
    if (!status && o->out) {
        size_t shape[4] = { x->rows, rows2, outputs, outputs };
        status = ds_npy_write(o->out, k, shape, full ? 4 : 2, error);
    } else if (!status) {
        for (size_t i = 0; i < x->rows && i < 8; i++)
            for (size_t j = 0; j < rows2 && j < 8; j++)
                printf("%.10g%c", k[(i * rows2 + j) * (full ? outputs * outputs : 1)],
                       j + 1 == rows2 || j == 7 ? '\n' : ' ');
    }
    ad_free(k);
    nn_net_free(net);
    ds_array_free(&x2);
    ds_free(x);
    return status;
}

/* Trains (command train) or loads --weights (command eval), seed by seed, and prints loss and accuracy. */
static int learn(const options *o, bool train, ad_error *error)
{
    ds_data *data = data_load(o, error);
    if (data && !data->y) {
        ad_fail(error, "%s: --labels are needed", o->inputs);
        ds_free(data);
        return -1;
    }
    nn_net *net = data ? network_trace(o, data->features, data->classes, error) : NULL;
    nn_data parts[2] = { { 0 } };
    if (data) {
        parts[0] = (nn_data){ data->x, data->y, data->train, data->classes };
        parts[1] = (nn_data){ data->x + data->train * data->features, data->y + data->train,
                              data->rows - data->train, data->classes };
    }
    nn_loss loss = o->loss_given ? o->loss : NN_CROSS_ENTROPY;
    double sum = 0, squares = 0;
    long seeds = train && o->seeds > 0 ? o->seeds : 1;
    int status = net ? 0 : -1;
    for (long s = 0; s < seeds && !status; s++) {
        nn_model *model = nn_at(net, o->width ? o->width : 512, (uint64_t)(o->seed + s), o->type, (int)o->threads, error);
        nn_fit_spec fit = { .loss = loss, .optimizer = o->optimizer, .rate = o->rate, .steps = o->steps,
                            .batch = o->batch < 0 ? 64 : (size_t)o->batch, .epochs = o->epochs > 0 ? o->epochs : 10,
                            .seed = (uint64_t)(o->seed + s), .progress = stderr, .checkpoint = o->checkpoint,
                            .checkpoint_every = 100, .resume = o->resume };
        status = !model || (o->weights && nn_load(model, o->weights, error)) ? -1 : 0;
        if (!status && train)
            status = nn_fit(model, &parts[0], &fit, NULL, error);
        for (int part = 0; part < 2 && !status; part++) {
            double mean = 0, accuracy = 0;
            if (parts[part].rows == 0)
                continue;
            status = nn_evaluate(model, &parts[part], loss, &mean, &accuracy, error);
            if (!status)
                printf("seed %ld  %s loss %.4f  accuracy %.2f %%\n", o->seed + s, part ? "test " : "train", mean,
                       100 * accuracy);
            if (part) {
                sum += accuracy;
                squares += accuracy * accuracy;
            }
        }
        nn_model_free(model);
    }
    if (!status && seeds > 1)
        printf("test accuracy, mean of %ld seeds: %.2f +- %.2f %%\n", seeds, 100 * sum / (double)seeds,
               100 * sqrt(fmax(0, squares / (double)seeds - sum * sum / (double)(seeds * seeds))));
    nn_net_free(net);
    ds_free(data);
    return status;
}

int command_train(const options *o, ad_error *error)
{
    return learn(o, true, error);
}

int command_eval(const options *o, ad_error *error)
{
    return o->weights ? learn(o, false, error) : ad_fail(error, "eval needs --weights F.safetensors");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const options *, ad_error *);
    } commands[] = { { "report", command_report }, { "train", command_train }, { "eval", command_eval },
                     { "kernel", command_kernel }, { "program", command_program } };
    settle(argv);
    ad_hook_allocation(from_environment("LIMN_FAIL_ALLOC"));
    ad_hook_write(from_environment("LIMN_FAIL_WRITE"));
    options o;
    int wrong = options_parse(&o, argc, argv);
    if (wrong)
        return wrong < 0 ? 0 : wrong;
    ad_error error = { 0 };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, o.command) == 0 && commands[i].run(&o, &error)) {
            fprintf(stderr, "limn: %s\n", error.text);
            return 1;
        }
    return fflush(stdout) ? 1 : 0;
}
