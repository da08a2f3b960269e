/* report.c: the main job: a network trained at several widths beside its limit. Every width takes the same full-batch
 * gradient steps at the same rate, so that training time is the same; slopes are least squares of log distance on log
 * width over all (width, seed) points, with Student's 95 % interval. */
#include "limn_tool.h"

#include <math.h>
#include <string.h>

enum { TRAINED = 256, MOST_RUNS = 256 };

static double distance(const double *a, const double *b, size_t count)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        apart += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(apart / size);
}

typedef struct {
    double width, train, test, initial, drift, final;
} outcome;

static void slope(const char *name, const outcome *runs, int n, size_t field, const char *theory)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0, residual = 0;
    for (int i = 0; i < n; i++) {
        double x = log(runs[i].width), y = log(*(const double *)(const void *)((const char *)&runs[i] + field));
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
    }
    double spread = sxx - sx * sx / n, b = (sxy - sx * sy / n) / spread, a = (sy - b * sx) / n;
    for (int i = 0; i < n; i++) {
        double y = log(*(const double *)(const void *)((const char *)&runs[i] + field));
        residual += pow(y - a - b * log(runs[i].width), 2);
    }
    int freedom = n - 2;
    double t = 1.96 + 2.4 / freedom + 3.0 / ((double)freedom * freedom); /* Student's 97.5 % point, 1 % off at 3 */
    double half = t * sqrt(residual / freedom / spread);
    printf("slope of %-28s %6.3f  [%.3f, %.3f]   theory: %s\n", name, b, b - half, b + half, theory);
}

static void column(const outcome *runs, long seeds, size_t field)
{
    double sum = 0, squares = 0;
    for (long s = 0; s < seeds; s++) {
        double v = *(const double *)(const void *)((const char *)&runs[s] + field);
        sum += v;
        squares += v * v;
    }
    double mean = sum / (double)seeds;
    printf("  %.4f+-%.4f", mean, sqrt(fmax(0, squares / (double)seeds - mean * mean)));
}

/* One width and seed: kernels before and after training, and accuracies. */
static int run(const options *o, nn_net *net, const ds_data *data, size_t n, uint64_t seed, const double *limit,
               double *kernels, outcome *out, ad_error *error)
{
    size_t probes = (size_t)o->probes, count = probes * probes;
    double *before = kernels, *after = kernels + count, loss;
    nn_data train = { data->x, data->y, TRAINED, data->classes };
    nn_data test = { data->x + data->train * data->features, data->y + data->train, data->rows - data->train,
                     data->classes };
    nn_fit_spec fit = { .loss = NN_SQUARE, .rate = o->rate > 0 ? o->rate : 0.1, .steps = o->steps > 0 ? o->steps : 100,
                        .seed = seed };
    nn_model *model = nn_at(net, n, seed, AD_FLOAT, (int)o->threads, error);
    int status = !model || nn_ntk(model, data->x, probes, NULL, 0, NN_MEAN, before, error) ||
                 nn_fit(model, &train, &fit, NULL, error) ||
                 nn_ntk(model, data->x, probes, NULL, 0, NN_MEAN, after, error) ||
                 nn_evaluate(model, &train, NN_SQUARE, &loss, &out->train, error) ||
                 nn_evaluate(model, &test, NN_SQUARE, &loss, &out->test, error);
    nn_model_free(model);
    if (status)
        return -1;
    out->width = (double)n;
    out->initial = distance(before, limit, count);
    out->drift = distance(after, before, count);
    out->final = distance(after, limit, count);
    return 0;
}

static int widths_and_seeds(const options *o, nn_net *net, const ds_data *data, const double *limit, double *kernels,
                            ad_error *error)
{
    static const size_t preset[] = { 128, 256, 512, 1024 };
    const size_t *widths = o->n_widths ? o->widths : preset;
    int n_widths = o->n_widths ? o->n_widths : 4, n = 0;
    long seeds = o->seeds > 0 ? o->seeds : 12;
    static outcome runs[MOST_RUNS];
    if (n_widths * seeds > MOST_RUNS)
        return ad_fail(error, "%d widths of %ld seeds: at most %d runs", n_widths, seeds, MOST_RUNS);
    printf("\n%d digits, square loss, %ld full-batch steps of rate %g, %ld seeds (mean+-deviation), NTK of %ld probes\n"
           "%6s  %-14s  %-14s  %-14s  %-14s  %-14s\n", TRAINED, o->steps > 0 ? o->steps : 100,
           o->rate > 0 ? o->rate : 0.1, seeds, o->probes, "n", "train acc.", "test acc.", "|K0-Kinf|/Kinf",
           "|Kt-K0|/K0", "|Kt-Kinf|/Kinf");
    for (int w = 0; w < n_widths; w++) {
        for (long s = 0; s < seeds; s++, n++) {
            fprintf(stderr, "width %zu, seed %ld of %ld\n", widths[w], s + 1, seeds);
            if (run(o, net, data, widths[w], (uint64_t)(o->seed + s), limit, kernels, &runs[n], error))
                return -1;
        }
        printf("%6zu", widths[w]);
        static const size_t fields[] = { offsetof(outcome, train), offsetof(outcome, test), offsetof(outcome, initial),
                                         offsetof(outcome, drift), offsetof(outcome, final) };
        for (int k = 0; k < 5; k++)
            column(&runs[n - seeds], seeds, fields[k]);
        printf("\n");
        fflush(stdout);
    }
    if (n_widths > 1 && n > 3) {
        slope("|K0-Kinf|/Kinf in n", runs, n, offsetof(outcome, initial), "-1/2");
        slope("|Kt-K0|/K0 in n", runs, n, offsetof(outcome, drift), "-1 smooth, -3/4 to -1 with kinks");
    }
    return 0;
}

int command_report(const options *o, ad_error *error)
{
    ds_data *data = data_load(o, error);
    if (data && (!data->y || data->train < TRAINED || data->rows == data->train || (size_t)o->probes > data->train)) {
        ad_fail(error, "report needs labelled data with at least %d training and some test inputs", TRAINED);
        ds_free(data);
        return -1;
    }
    nn_net *net = data ? network_trace(o, data->features, data->classes, error) : NULL;
    tp_program *program = net ? tp_translate(net, error) : NULL;
    size_t count = (size_t)(o->probes * o->probes);
    double *kernels = program ? ad_alloc(3 * count, sizeof *kernels, "kernels", error) : NULL;
    tp_kernel limit = { 0 };
    tp_limit_spec spec = { .threads = (int)o->threads };
    int status = !kernels || tp_print(program, stdout, TP_PAPER, error) ||
                 tp_limit(program, TP_NTK, data->x, (size_t)o->probes, NULL, 0, &spec, &limit, error);
    if (!status && !tp_kernel_converges(&limit))
        status = ad_fail(error, "report: the kernel has powers of n in this scale: compare in --scale ntk");
    if (!status)
        status = widths_and_seeds(o, net, data, limit.terms[0].values, kernels, error);
    tp_kernel_free(&limit);
    ad_free(kernels);
    tp_free(program);
    nn_net_free(net);
    ds_free(data);
    return status ? -1 : 0;
}
