/* predict_floats.c: the limit of training on many rows: a kernel of floats tile by tile, Cholesky's factor in its
 * place, solves in doubles, and the test inputs' kernel block by block. */
#include "examples/limn/commands/predict.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* Rows of a block of the tests' kernel, training rows of it; rows of the piece that tells a factoring's time. */
enum { DOWN = 1024, ACROSS = 4096, PIECE = 1536 };

int predict_floats_settle(const options *o)
{
    const char *what = o->n_times != 1 || !isinf(o->times[0])         ? "of --times inf"
                       : o->loss != NN_SQUARE                         ? "on the square loss"
                       : o->optimizer != GRADIENT_FLOW                ? "of the flow"
                       : predict_selects(o)                           ? "of one kernel and ridge"
                       : o->covariance || o->at_width > 0 || o->start ? "without --covariance, --at-width and --start"
                       : o->engine == TP_ENGINE_SAMPLE                ? "of the exact engine"
                                                                      : NULL;
    char text[200];
    if (!what)
        return 0;
    snprintf(text, sizeof text, "a limit's prediction as --dtype float is %s, in", what);
    return option_fail(text, o->command);
}

/* What a run finds and tells. */
typedef struct {
    prediction *p;
    tiles kernel;
    tp_float_model model;
    tp_opinion opinion;
    double *a;    /* (train, 2, outputs): coefficients, and what the kernel's roundings may add to them */
    double *f[2]; /* of train; (test, 2, outputs), and then (test, outputs) */
    tp_score score[2];
    double off;        /* of test outputs, by the kernel's roundings: the root of its mean square */
    double seconds[4]; /* of kernel, factor, solve, tests */
} floats_run;

static limit_question question(const prediction *p)
{
    const options *o = p->o;
    return (limit_question){ .training = o->kernel == TP_NTK,
                             .which = o->kernel,
                             .x = p->x[0],
                             .rows = p->rows[0],
                             .spec = { .threads = (int)o->threads,
                                       .tolerance = o->tolerance,
                                       .engine = TP_ENGINE_EXACT,
                                       .rule = o->rule,
                                       .seed = (uint64_t)o->seed } };
}

/* Seconds of a factoring of n rows, by a small one. */
static double time_factoring(size_t n, int threads)
{
    ad_error ignored = { 0 };
    tp_float_state state = { 0 };
    float *k = ad_alloc((size_t)PIECE * PIECE, sizeof *k, "a piece", &ignored);
    double *diagonal = ad_alloc(PIECE, sizeof *diagonal, "a piece", &ignored), seconds = 0;
    for (size_t i = 0; i < PIECE && k && diagonal; i++)
        k[i * PIECE + i] = 1;
    tp_float_model m = { .kernel = k, .diagonal = diagonal, .n = PIECE, .threads = threads, .state = &state };
    for (int round = 0; round < 2 && k && diagonal; round++) { /* what is done once counts once */
        double start = ad_seconds();
        state.columns = 0;
        seconds = tp_float_model_factor(&m, &ignored) ? 0 : ad_seconds() - start;
    }
    ad_free(k);
    ad_free(diagonal);
    return seconds * pow((double)n / PIECE, 3);
}

static double bytes_of(const prediction *p)
{
    double n = (double)p->rows[0], all = n + (double)p->rows[1];
    return 4 * n * n + 8 * all * (double)p->data->features + 40 * n * (double)p->outputs;
}

int predict_floats_explain(prediction *p, ad_error *error)
{
    const options *o = p->o;
    double n = (double)p->rows[0], tests = (double)p->rows[1], bytes = bytes_of(p), kernel = 0;
    tiles_job job = {
        .o = o, .program = p->program, .features = p->data->features, .ask = question(p), .single = true
    };
    if (tiles_forecast(&job, &kernel, error))
        return -1;
    double factoring = time_factoring(p->rows[0], (int)o->threads), cross = kernel * 2 * tests / n;
    if (!o->json) {
        printf("%zu inputs to train, %zu to test\nmemory: about %.3g MB%s\ntime:   about %.2g s for the kernel, %.2g s "
               "for Cholesky's factor, %.2g s for the tests' kernel, with %ld thread%s\nnothing is computed: leave out "
               "--explain\n",
               p->rows[0], p->rows[1], bytes / 1e6, o->store ? ", the kernel's part of it a file's pages" : "", kernel,
               factoring, cross, o->threads, o->threads > 1 ? "s" : "");
        return 0;
    }
    cJSON *root = json_new(o);
    json_put(root, "explain", cJSON_CreateTrue());
    json_put(root, "bytes", json_number(bytes));
    json_put(root, "kernel_bytes", json_number(4 * n * n));
    json_put(root, "kernel_seconds", json_number(kernel));
    json_put(root, "factoring", cJSON_CreateString("cholesky"));
    json_put(root, "factoring_seconds", json_number(factoring));
    json_put(root, "tests_seconds", json_number(cross));
    return json_print(root, error);
}

static bool is_begun(const void *notes)
{
    return ((const tp_float_state *)notes)->begun != 0;
}

/* The kernel where it is to lie, and behind its marks what the model keeps. */
static int find_kernel(floats_run *r, ad_error *error)
{
    prediction *p = r->p;
    const options *o = p->o;
    size_t n = p->rows[0];
    tiles_job job = { .o = o,
                      .program = p->program,
                      .features = p->data->features,
                      .ask = question(p),
                      .what = "training inputs' kernel",
                      .path = o->store,
                      .single = true,
                      .is_used = is_begun,
                      .notes = sizeof(tp_float_state) + n * sizeof(double) };
    double start = ad_seconds();
    double bytes = 4 * (double)n * (double)n, factoring = bytes >= LARGE ? time_factoring(n, (int)o->threads) : 0;
    if (bytes >= LARGE)
        fprintf(stderr, "%s: %zu inputs to train, %zu to test: %.3g GB in all; factoring takes about %.2g min\n",
                o->command, n, p->rows[1], bytes_of(p) / 1e9, factoring / 60);
    if (tiles_find(&job, &r->kernel, error))
        return -1;
    if (!o->store) {
        r->kernel.notes = ad_alloc(job.notes, 1, "a kernel's diagonal", error);
        if (!r->kernel.notes)
            return -1;
    }
    r->model = (tp_float_model){ .kernel = r->kernel.values,
                                 .n = n,
                                 .relative = o->ridge,
                                 .noise = fmax(0, o->noise),
                                 .threads = (int)o->threads,
                                 .state = r->kernel.notes,
                                 .diagonal = (double *)((tp_float_state *)r->kernel.notes + 1),
                                 .progress = progress_tell };
    if (!r->model.state->begun && tiles_judge(&job, &r->kernel, &r->opinion, error))
        return -1;
    r->seconds[0] = ad_seconds() - start;
    return 0;
}

static int factor(floats_run *r, ad_error *error)
{
    double start = ad_seconds();
    if (r->model.state->begun && r->model.state->columns > 0)
        fprintf(stderr, "%s: factoring: %.0f %% of the columns were there\n", r->p->o->command,
                100 * (double)r->model.state->columns / (double)r->model.n);
    progress_begin(r->p->o, "factoring");
    int status = tp_float_model_factor(&r->model, error);
    progress_end();
    r->seconds[1] = ad_seconds() - start;
    return status;
}

/* An entry of the kernel is off by this much of sqrt(K_ii K_jj), in the root of the mean square: a float's rounding,
 * and in networks of ReLU those of its layers (tests/tp/recursion/test_floats.c). */
static const double rounding = 1e-7;

/* sqrt(sum_j K_jj a_j^2) of each output: what errors of a kernel's row, which know nothing of each other, are weighed
 * by. */
static void weigh(const floats_run *r, const double *a, size_t outs, double *weights)
{
    for (size_t o = 0; o < outs; o++)
        weights[o] = 0;
    for (size_t k = 0; k < r->model.n * outs; k++)
        weights[k % outs] += r->model.diagonal[k / outs] * a[k] * a[k];
    for (size_t o = 0; o < outs; o++)
        weights[o] = sqrt(weights[o]);
}

/* Of coefficients a, one draw of what the kernel's roundings E may add: (K + ridge)^-1 E a, E a drawn by its
 * variance. */
static int draw_change(floats_run *r, const double *a, double *weights, double *change, ad_error *error)
{
    size_t n = r->model.n, outs = r->p->outputs, count = n * outs;
    tp_float_model model = r->model;
    double *moved = ad_alloc(count, sizeof *moved, "roundings", error);
    if (!moved)
        return -1;
    weigh(r, a, outs, weights);
    ad_normal((uint64_t)r->p->o->seed, ad_stream("roundings"), 0, count, moved);
    for (size_t k = 0; k < count; k++)
        moved[k] *= rounding * sqrt(r->model.diagonal[k / outs]) * weights[k % outs];
    int status = tp_float_model_solve(&model, moved, outs, change, error);
    ad_free(moved);
    return status;
}

/* Coefficients and fitted values, of targets less what outputs start from. */
static int solve(floats_run *r, ad_error *error)
{
    prediction *p = r->p;
    size_t outs = p->outputs, count = p->rows[0] * outs;
    double start = ad_seconds();
    double *y = ad_alloc(count, sizeof *y, "targets", error),
           *one = ad_alloc(count, sizeof *one, "coefficients", error);
    double *weights = ad_alloc(outs, sizeof *weights, "roundings", error);
    r->a = ad_alloc(2 * count, sizeof *r->a, "coefficients", error);
    r->f[0] = ad_alloc(count, sizeof *r->f[0], "outputs", error);
    int status = y && one && weights && r->a && r->f[0] ? 0 : -1;
    for (size_t i = 0; i < count && !status; i++)
        y[i] = p->y[0][i] - (p->start ? p->start[i] : 0);
    if (!status)
        status = tp_float_model_check(&r->model, error) || tp_float_model_solve(&r->model, y, outs, one, error) ||
                 tp_float_model_product(&r->model, one, outs, r->f[0], error) || draw_change(r, one, weights, y, error);
    for (size_t i = 0; i < count && !status; i++) {
        r->a[i / outs * 2 * outs + i % outs] = one[i];
        r->a[(i / outs * 2 + 1) * outs + i % outs] = y[i];
    }
    double diagonal = 0;
    for (size_t i = 0; i < p->rows[0]; i++)
        diagonal += r->model.diagonal[i] / (double)p->rows[0];
    for (size_t o = 0; o < outs && !status; o++) /* of the tests' own kernel */
        r->off += rounding * rounding * diagonal * weights[o] * weights[o] / (double)outs;
    for (size_t i = 0; i < count && !status && p->start; i++)
        r->f[0][i] += p->start[i];
    if (!status)
        r->score[0] = tp_score_of(NN_SQUARE, r->f[0], p->y[0], NULL, p->rows[0], outs, 0);
    ad_free(y);
    ad_free(one);
    ad_free(weights);
    r->seconds[2] = ad_seconds() - start;
    return status;
}

/* One block of the tests' kernel times the coefficients, added to f. */
static int add_block(floats_run *r, size_t row, size_t rows, size_t column, size_t columns, float *floats, double *wide,
                     ad_error *error)
{
    prediction *p = r->p;
    limit_question q = question(p);
    tp_kernel told = { 0 };
    size_t features = p->data->features, outs = 2 * p->outputs;
    q.x = p->x[1] + row * features;
    q.rows = rows;
    q.x2 = p->x[0] + column * features;
    q.rows2 = columns;
    q.spec.floats = floats;
    if (limit_find(p->o, p->program, &q, &told, NULL, error))
        return -1;
    p->error = fmax(p->error, told.error);
    tp_kernel_free(&told);
    for (size_t i = 0; i < rows * columns; i++)
        wide[i] = (double)floats[i];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, (blasint)outs, (blasint)columns, 1, wide,
                (blasint)columns, r->a + column * outs, (blasint)outs, 1, r->f[1] + row * outs, (blasint)outs);
    return 0;
}

/* The outputs apart from what they may be off by; an error where that is as large as they are. */
static int take_outputs(floats_run *r, ad_error *error)
{
    const prediction *p = r->p;
    size_t tests = p->rows[1], outs = p->outputs;
    double squares = 0, moved = 0;
    for (size_t i = 0; i < tests; i++) {
        for (size_t o = 0; o < outs; o++) {
            double f = r->f[1][i * 2 * outs + o], change = r->f[1][(i * 2 + 1) * outs + o];
            r->f[1][i * outs + o] = f + (p->start ? p->start[(p->rows[0] + i) * outs + o] : 0);
            squares += f * f;
            moved += change * change;
        }
    }
    double count = fmax(1, (double)(tests * outs));
    r->off = sqrt(r->off + moved / count);
    if (r->off <= 0.1 * sqrt(squares / count))
        return 0;
    return ad_fail(error,
                   "roundings of the floats move the test outputs by about %.2g of what they are: inputs nearly repeat "
                   "each other, or the ridge is small: a larger --ridge, or --dtype double",
                   r->off / sqrt(squares / count));
}

static int test(floats_run *r, ad_error *error)
{
    prediction *p = r->p;
    size_t tests = p->rows[1], n = p->rows[0], outs = p->outputs;
    double start = ad_seconds();
    float *floats = ad_alloc((size_t)DOWN * ACROSS, sizeof *floats, "a block", error);
    double *wide = ad_alloc((size_t)DOWN * ACROSS, sizeof *wide, "a block", error);
    r->f[1] = ad_alloc(2 * tests * outs + 1, sizeof *r->f[1], "outputs", error);
    int status = floats && wide && r->f[1] ? 0 : -1;
    progress_begin(p->o, "test inputs");
    for (size_t i = 0; i < tests && !status; i += DOWN)
        for (size_t k = 0; k < n && !status; k += ACROSS) {
            size_t rows = tests - i < DOWN ? tests - i : DOWN, columns = n - k < ACROSS ? n - k : ACROSS;
            status = add_block(r, i, rows, k, columns, floats, wide, error);
            progress_tell(((double)i * (double)n + (double)rows * (double)(k + columns)) / ((double)tests * (double)n),
                          NULL);
        }
    progress_end();
    if (!status && tests)
        status = take_outputs(r, error);
    if (!status && p->y[1] && tests)
        r->score[1] = tp_score_of(NN_SQUARE, r->f[1], p->y[1], NULL, tests, outs, 0);
    ad_free(floats);
    ad_free(wide);
    r->seconds[3] = ad_seconds() - start;
    return status;
}

/* ---- telling ---- */
static void print_pair(bool known, double loss, double accuracy)
{
    if (!known || isnan(loss))
        printf("%13s", "-");
    else
        printf("%13.5g", loss);
    if (!known || isnan(accuracy))
        printf("%13s", "-");
    else
        printf("%13.5g", 100 * accuracy);
}

static void print_run(const floats_run *r)
{
    const prediction *p = r->p;
    const options *o = p->o;
    bool classes = p->data->classes > 0;
    printf("%s of %s in the limit, of floats: an ensemble of networks, its mean\n%s, relative error %.1g\n",
           predict_kernel_name(p), o->network, r->kernel.told.method, fmax(r->kernel.told.error, p->error));
    fputs(nn_has_dropout(p->net) ? prediction_without_dropout : "", stdout);
    limit_tell(&r->opinion, NULL);
    printf("gradient flow on the square loss sum (f - y)^2 / (2 N k)\n%zu inputs to train, %zu to test, %zu output%s\n",
           p->rows[0], p->rows[1], p->outputs, p->outputs > 1 ? "s" : "");
    printf("Cholesky's factor in floats, ridge %.4g%s; residual %.1g after %d steps of conjugate gradients\n",
           r->model.ridge - r->model.noise, o->centre ? ", targets centred" : "", r->model.residual, r->model.steps);
    if (p->rows[1])
        printf("test outputs off by about %.1g, by the floats' roundings\n", r->off);
    printf("seconds: kernel %.3g, factor %.3g, solve %.3g, tests %.3g\n\n", r->seconds[0], r->seconds[1], r->seconds[2],
           r->seconds[3]);
    printf("%10s%13s%13s%13s%13s\n%10s", "t", "train loss", "train %", "test loss", "test %", "inf");
    for (int part = 0; part < 2; part++)
        print_pair(part == 0 || (p->y[1] && p->rows[1]), r->score[part].loss,
                   classes ? r->score[part].accuracy : (double)NAN);
    puts("");
    if (o->out)
        printf("test outputs (1, %zu, %zu): written to %s\n", p->rows[1], p->outputs, o->out);
    if (o->store)
        printf("kernel and factor: kept in %s.partial\n", o->store);
}

static int print_json(const floats_run *r, ad_error *error)
{
    static const char *const parts[] = { "train", "test" }, *const names[] = { "kernel", "factor", "solve", "tests" };
    const prediction *p = r->p;
    const options *o = p->o;
    cJSON *root = json_new(o);
    json_put(root, "kernel", cJSON_CreateString(p->readout ? "nngp" : "ntk"));
    json_put(root, "width", cJSON_CreateString("inf"));
    json_put(root, "dtype", cJSON_CreateString(option_word(OPTION_DTYPE, (int)o->type)));
    json_put(root, "method", cJSON_CreateString(r->kernel.told.method));
    json_put(root, "error", json_number(fmax(r->kernel.told.error, p->error)));
    limit_tell(&r->opinion, root);
    data_tell(o, p->data, root);
    json_put(root, "ridge", json_number(r->model.ridge - r->model.noise));
    json_put(root, "centre", cJSON_CreateBool(o->centre));
    json_put(root, "residual", json_number(r->model.residual));
    json_put(root, "steps", json_number(r->model.steps));
    if (p->rows[1])
        json_put(root, "outputs_error", json_number(r->off));
    cJSON *seconds = json_put(root, "seconds", cJSON_CreateObject());
    for (int k = 0; k < 4; k++)
        json_put(seconds, names[k], json_number(r->seconds[k]));
    for (int part = 0; part < 2; part++) {
        json_put(root, part ? "test_rows" : "train_rows", json_number((double)p->rows[part]));
        if (!p->y[part] || !p->rows[part])
            continue;
        cJSON *at = json_put(root, parts[part], cJSON_CreateObject());
        json_put(at, "loss", json_number(r->score[part].loss));
        if (p->data->classes)
            json_put(at, "accuracy", json_number(r->score[part].accuracy));
    }
    if (o->out)
        json_put(root, "out", cJSON_CreateString(o->out));
    return json_print(root, error);
}

int predict_floats(prediction *p, ad_error *error)
{
    const options *o = p->o;
    floats_run r = { .p = p };
    int status = 0;
    if (p->full)
        status = ad_fail(error, "a limit's prediction as --dtype float is of networks whose outputs are alike and "
                                "independent, without --outputs full");
    else if (o->out && !p->rows[1])
        status = ad_fail(error, "--out: there are no test inputs");
    else
        status = predict_check_centred(p, error);
    if (!status)
        status = find_kernel(&r, error) || factor(&r, error) || solve(&r, error) || test(&r, error);
    size_t shape[3] = { 1, p->rows[1], p->outputs };
    if (!status && o->out)
        status = ds_npy_write(o->out, r.f[1], shape, 3, error);
    if (!status)
        status = o->json ? print_json(&r, error) : (print_run(&r), 0);
    if (!o->store)
        ad_free(r.kernel.notes);
    tiles_free(&r.kernel);
    ad_free(r.a);
    ad_free(r.f[0]);
    ad_free(r.f[1]);
    return status ? -1 : 0;
}
