/* report.c: the main job: a network trained at several widths beside its limit. Every width takes the same full-batch
 * steps at the same rate, so that training time is the same. Slopes are least squares of log distance on log width over
 * all (width, draw) points, with Student's 95 % interval. */
#include "limn_tool.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

enum {
    TRAINED = 256,  /* inputs to train on */
    STEPS = 100,
    SEEDS = 10,     /* networks that are trained, a width */
    DRAWS = 4,      /* networks that are drawn for the initial deviation, for each that is trained */
};
static const double momentum = 0.9, stable_share = 0.004;

typedef enum { TRAIN_ACCURACY, TEST_ACCURACY, INITIAL, DRIFT, FINAL, FIELDS } field;
static const char *const keys[] = { "train_accuracy", "test_accuracy", "initial", "drift", "final" };

/* What one width gave: the values of every draw; those after training of the first `seeds` alone. */
typedef struct {
    size_t n;
    double *values[FIELDS];
} column;

typedef struct {
    const options *o;
    ds_data *data;
    nn_net *net;
    tp_program *program;
    double *limit;    /* (probes, probes) */
    double *before, *after;
    double rate, largest; /* largest: the rate above which the limit's training is not stable */
    long seeds, draws, steps;
    size_t probes;
    bool together; /* samples meet, as in batch normalisation: the probes are one batch, and so are the training inputs */
    column *columns;
    int n_columns;
} report;

static double distance(const double *a, const double *b, size_t count)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        apart += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(apart / size);
}

static long count_of(field f, const report *r)
{
    return f == INITIAL ? r->draws : r->seeds;
}

/* ---- the limit, and the rate that it allows ---- */
/* Momentum's steps on |f - y|^2 / 2 / N are stable below 2 (1 + mu) N / lambda, lambda the largest eigenvalue of the
 * kernel of the N training inputs. */
static int find_rate(report *r, double *kernel, size_t stride, ad_error *error)
{
    lapack_int found = 0, n = TRAINED;
    double *values = ad_alloc(TRAINED, sizeof *values, "eigenvalues", error);
    lapack_int *support = ad_alloc(2, sizeof *support, "eigenvalues", error);
    int status = !values || !support ? -1 : 0;
    if (!status && LAPACKE_dsyevr(LAPACK_ROW_MAJOR, 'N', 'I', 'U', n, kernel, (lapack_int)stride, 0, 0, n, n, 0, &found,
                                  values, NULL, 1, support) != 0)
        status = ad_fail(error, "report: LAPACK found no largest eigenvalue of the limit kernel");
    if (!status && !(values[0] > 0))
        status = ad_fail(error, "report: the limit kernel of the training inputs is zero: nothing can be learned");
    if (!status) {
        r->largest = 2 * (1 + momentum) * TRAINED / values[0];
        r->rate = r->o->rate > 0 ? r->o->rate : stable_share * r->largest;
    }
    ad_free(values);
    ad_free(support);
    return status;
}

static int limit_of(const report *r, size_t rows, tp_kernel *kernel, ad_error *error)
{
    tp_limit_spec spec = { .threads = (int)r->o->threads };
    if (tp_limit(r->program, TP_NTK, r->data->x, rows, NULL, 0, &spec, kernel, error))
        return -1;
    return tp_kernel_converges(kernel)
               ? 0
               : ad_fail(error, "report: the kernel has powers of n in this scale: compare in --scale ntk");
}

/* Of the probes and of the training inputs: the same batch, where that makes no difference. */
static int find_limit(report *r, ad_error *error)
{
    size_t rows = r->probes > TRAINED && !r->together ? r->probes : TRAINED, probe_rows = r->together ? r->probes : rows;
    tp_kernel trained = { 0 }, apart = { 0 };
    int status = limit_of(r, rows, &trained, error);
    if (!status && r->together)
        status = limit_of(r, r->probes, &apart, error);
    const double *probes = (r->together ? &apart : &trained)->terms[0].values;
    for (size_t i = 0; i < r->probes && !status; i++)
        memcpy(r->limit + i * r->probes, probes + i * probe_rows, r->probes * sizeof *r->limit);
    if (!status)
        status = find_rate(r, trained.terms[0].values, rows, error);
    tp_kernel_free(&trained);
    tp_kernel_free(&apart);
    return status;
}

/* ---- networks ---- */
static int run(const report *r, column *c, long draw, ad_error *error)
{
    const ds_data *data = r->data;
    size_t count = r->probes * r->probes;
    double loss;
    uint64_t seed = (uint64_t)(r->o->seed + draw);
    nn_data train = { data->x, data->y, TRAINED, data->classes };
    nn_data test = { data->x + data->train * data->features, data->y + data->train, data->rows - data->train,
                     data->classes };
    nn_fit_spec fit = { .loss = NN_SQUARE, .optimizer = NN_MOMENTUM, .momentum = momentum, .rate = r->rate,
                        .steps = r->steps, .seed = seed };
    nn_model *model = nn_at(r->net, c->n, seed, AD_FLOAT, (int)r->o->threads, error);
    int status = !model || nn_ntk(model, data->x, r->probes, NULL, 0, NN_MEAN, r->before, error) ? -1 : 0;
    if (!status)
        c->values[INITIAL][draw] = distance(r->before, r->limit, count);
    if (!status && draw < r->seeds) {
        status = nn_fit(model, &train, &fit, NULL, error) ||
                 nn_ntk(model, data->x, r->probes, NULL, 0, NN_MEAN, r->after, error) ||
                 nn_evaluate(model, &train, NN_SQUARE, &loss, &c->values[TRAIN_ACCURACY][draw], error) ||
                 nn_evaluate(model, &test, NN_SQUARE, &loss, &c->values[TEST_ACCURACY][draw], error);
        if (!status) {
            c->values[DRIFT][draw] = distance(r->after, r->before, count);
            c->values[FINAL][draw] = distance(r->after, r->limit, count);
        }
    }
    nn_model_free(model);
    return status;
}

/* ---- what they say ---- */
static void spread(const double *values, long n, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (long s = 0; s < n; s++)
        sum += values[s];
    *mean = sum / (double)n;
    for (long s = 0; s < n; s++)
        squares += (values[s] - *mean) * (values[s] - *mean);
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

/* The slope of log value on log n and the half width of its 95 % interval; false where there are too few points. */
static bool slope(const report *r, field f, double *b, double *half)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0, residual = 0;
    long count = count_of(f, r), n = count * r->n_columns;
    if (r->n_columns < 2 || n < 4)
        return false;
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < r->n_columns; k++)
            for (long s = 0; s < count; s++) {
                double x = log((double)r->columns[k].n), y = log(r->columns[k].values[f][s]), m = (double)n;
                if (pass == 0) {
                    sx += x;
                    sy += y;
                    sxx += x * x;
                    sxy += x * y;
                } else {
                    residual += pow(y - sy / m - *b * (x - sx / m), 2);
                }
                *b = (sxy - sx * sy / m) / (sxx - sx * sx / m);
            }
    double freedom = (double)(n - 2), t = 1.96 + 2.4 / freedom + 3 / (freedom * freedom); /* Student's 97.5 % point */
    *half = t * sqrt(residual / freedom / (sxx - sx * sx / (double)n));
    return isfinite(*b) && isfinite(*half);
}

static void tell_head(const report *r)
{
    char rate[80] = "";
    if (!(r->o->rate > 0))
        snprintf(rate, sizeof rate, ", 1/%g of the largest stable one", 1 / stable_share);
    printf("\nTrained on %d inputs: square loss, %ld full-batch steps with momentum %g, rate %.3g%s.\n"
           "Θ is the NTK of %zu probes%s, distances are Frobenius norms; mean ± deviation of %ld seeds (Θ₀: of %ld).\n\n"
           "     n   train %%       test %%        ‖Θ₀−Θ∞‖/‖Θ∞‖    ‖Θₜ−Θ₀‖/‖Θ₀‖    ‖Θₜ−Θ∞‖/‖Θ∞‖\n", TRAINED, r->steps,
           momentum, r->rate, rate, r->probes, r->together ? ", one training-mode batch" : "", r->seeds, r->draws);
    fflush(stdout);
}

static void tell_column(const report *r, const column *c)
{
    printf("%6zu", c->n);
    for (field f = 0; f < FIELDS; f++) {
        double mean, deviation;
        spread(c->values[f], count_of(f, r), &mean, &deviation);
        if (f < INITIAL)
            printf("   %5.2f ± %4.2f", 100 * mean, 100 * deviation);
        else
            printf("   %.4f ± %.4f", mean, deviation);
    }
    puts("");
    fflush(stdout);
}

static void tell_slopes(const report *r)
{
    static const struct {
        field f;
        const char *name, *theory;
    } rows[] = { { INITIAL, "‖Θ₀−Θ∞‖/‖Θ∞‖", "−1/2" },
                 { DRIFT, "‖Θₜ−Θ₀‖/‖Θ₀‖ ", "−1 if the activation is smooth, −3/4 to −1 with kinks" } };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        double b, half;
        if (slope(r, rows[k].f, &b, &half))
            printf("%sslope in n of %s   %6.3f, 95 %% [%.3f, %.3f]   theory: %s\n", k ? "" : "\n", rows[k].name, b,
                   b - half, b + half, rows[k].theory);
    }
}

static int tell_json(const report *r, ad_error *error)
{
    cJSON *root = json_new(r->o);
    json_put(root, "trained", cJSON_CreateNumber(TRAINED));
    json_put(root, "steps", cJSON_CreateNumber((double)r->steps));
    json_put(root, "momentum", cJSON_CreateNumber(momentum));
    json_put(root, "rate", cJSON_CreateNumber(r->rate));
    json_put(root, "largest_stable_rate", cJSON_CreateNumber(r->largest));
    json_put(root, "probes", cJSON_CreateNumber((double)r->probes));
    json_put(root, "probes_are_one_batch", cJSON_CreateBool(r->together));
    json_put(root, "seed", cJSON_CreateNumber((double)r->o->seed));
    cJSON *widths = json_put(root, "widths", cJSON_CreateArray());
    for (int k = 0; k < r->n_columns; k++) {
        cJSON *item = json_put(widths, "", cJSON_CreateObject());
        json_put(item, "n", cJSON_CreateNumber((double)r->columns[k].n));
        for (field f = 0; f < FIELDS; f++)
            json_put(item, keys[f], json_array(r->columns[k].values[f], &(size_t){ (size_t)count_of(f, r) }, 1));
    }
    cJSON *slopes = json_put(root, "slopes", cJSON_CreateObject());
    for (field f = INITIAL; f <= DRIFT; f++) {
        double b, half;
        if (!slope(r, f, &b, &half))
            continue;
        cJSON *item = json_put(slopes, keys[f], cJSON_CreateObject());
        json_put(item, "slope", cJSON_CreateNumber(b));
        json_put(item, "interval", json_array((double[]){ b - half, b + half }, &(size_t){ 2 }, 1));
    }
    return json_print(root, error);
}

/* ---- the command ---- */
static int open_report(report *r, ad_error *error)
{
    static const size_t preset[] = { 128, 256, 512, 1024 };
    const options *o = r->o;
    r->probes = (size_t)o->probes;
    r->seeds = o->seeds > 0 ? o->seeds : SEEDS;
    r->draws = DRAWS * r->seeds;
    r->steps = o->steps > 0 ? o->steps : STEPS;
    r->n_columns = o->n_widths ? o->n_widths : 4;
    const ds_data *data = r->data = data_load(o, error);
    if (!data)
        return -1;
    if (!data->y || data->train < TRAINED || data->rows == data->train || r->probes > data->train)
        return ad_fail(error, "report needs labelled data with at least %d training and some test inputs", TRAINED);
    if (!(r->net = network_trace(o, data, error)) ||
        !(r->program = tp_translate(r->net, error)) ||
        !(r->columns = ad_alloc((size_t)r->n_columns, sizeof *r->columns, "the report", error)) ||
        !(r->limit = ad_alloc(3 * r->probes * r->probes, sizeof *r->limit, "kernels", error)))
        return -1;
    r->together = ad_couples(nn_output(r->net), nn_batch(r->net));
    r->before = r->limit + r->probes * r->probes;
    r->after = r->before + r->probes * r->probes;
    for (int k = 0; k < r->n_columns; k++) {
        r->columns[k].n = o->n_widths ? o->widths[k] : preset[k];
        for (field f = 0; f < FIELDS; f++)
            if (!(r->columns[k].values[f] = ad_alloc((size_t)count_of(f, r), sizeof(double), "the report", error)))
                return -1;
    }
    return 0;
}

static void close_report(report *r)
{
    for (int k = 0; r->columns && k < r->n_columns; k++)
        for (field f = 0; f < FIELDS; f++)
            ad_free(r->columns[k].values[f]);
    ad_free(r->columns);
    ad_free(r->limit);
    tp_free(r->program);
    nn_net_free(r->net);
    ds_free(r->data);
}

int command_report(const options *o, ad_error *error)
{
    report r = { .o = o };
    int status = open_report(&r, error);
    if (!status && !o->json)
        status = tp_print(r.program, stdout, TP_PAPER, error);
    if (!status)
        status = find_limit(&r, error);
    if (!status && !o->json)
        tell_head(&r);
    for (int k = 0; k < r.n_columns && !status; k++) {
        for (long draw = 0; draw < r.draws && !status; draw++) {
            if (draw < r.seeds)
                fprintf(stderr, "width %zu: seed %ld of %ld\n", r.columns[k].n, draw + 1, r.seeds);
            status = run(&r, &r.columns[k], draw, error);
        }
        if (!status && !o->json)
            tell_column(&r, &r.columns[k]);
    }
    if (!status && o->json)
        status = tell_json(&r, error);
    else if (!status)
        tell_slopes(&r);
    close_report(&r);
    return status ? -1 : 0;
}
