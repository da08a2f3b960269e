/* limn predict chooses a kernel and a ridge, as its users run it: folds against a twin that scales, centres and solves
 * by itself; the best one refit; what is refused. */
#include "limn.h"
#include "tests/support/tool.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TOOL_SUITE(choose);

enum { ROWS = 30, FEATURES = 3, CLASSES = 3, FOLDS = 4, RIDGES = 3 };
static const double ridges[RIDGES] = { 0.01, 0.1, 1 };

typedef struct {
    double x[ROWS * FEATURES], y[ROWS];
} table;

/* Three clouds that overlap, of features of very different size and mean. */
static table put_table(void)
{
    static const double sizes[FEATURES] = { 1, 50, 0.01 };
    table t;
    double noise[ROWS * FEATURES];
    srand(3);
    for (int i = 0; i < ROWS * FEATURES; i++)
        noise[i] = rand() / (double)RAND_MAX - 0.5;
    for (int i = 0; i < ROWS; i++) {
        t.y[i] = i * 7 % CLASSES;
        for (int j = 0; j < FEATURES; j++)
            t.x[i * FEATURES + j] = sizes[j] * (3 + cos(2 * t.y[i] + j) + 1.6 * noise[i * FEATURES + j]);
    }
    put_array("x.npy", t.x, ROWS, FEATURES);
    put_array("y.npy", t.y, ROWS, 0);
    return t;
}

static cJSON *result(const char *arguments)
{
    cJSON *root = cJSON_Parse(works(arguments).out);
    cr_assert(root, "%s", arguments);
    return root;
}

static double value(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);
    cr_assert(cJSON_IsNumber(item), "%s", key);
    return item->valuedouble;
}

static const cJSON *candidate(const cJSON *root, int k)
{
    return cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "selection"), "candidates"), k);
}

/* ---- the twin ---- */
/* The NTK of an mlp of this depth, (ROWS, ROWS). */
static void kernel_of(const double *x, const char *depth, double *out)
{
    ad_error error = { 0 };
    const char *const settings[] = { depth, NULL };
    nn_spec spec = { .features = FEATURES, .outputs = CLASSES, .settings = settings, .name = "mlp" };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    tp_kernel kernel;
    cr_assert(program && !tp_training_kernel(program, x, ROWS, NULL, 0, &(tp_limit_spec){ 0 }, &kernel, &error), "%s",
              error.text);
    memcpy(out, kernel.terms[0].values, ROWS * ROWS * sizeof *out);
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
}

/* x by the mean and deviation of each feature over the rows that are kept. */
static void scale(const double *x, const bool *kept, double *out)
{
    for (int j = 0; j < FEATURES; j++) {
        double count = 0, mean = 0, square = 0;
        for (int i = 0; i < ROWS; i++)
            if (kept[i]) {
                count++;
                mean += x[i * FEATURES + j];
            }
        mean /= count;
        for (int i = 0; i < ROWS; i++)
            square += kept[i] ? (x[i * FEATURES + j] - mean) * (x[i * FEATURES + j] - mean) / count : 0;
        for (int i = 0; i < ROWS; i++)
            out[i * FEATURES + j] = (x[i * FEATURES + j] - mean) / sqrt(square);
    }
}

/* Fits on the rows that are kept, with targets centred by them, and predicts the others: f (ROWS, CLASSES). */
static void fit(const table *t, const double *kernel, const bool *kept, double ridge, double *f)
{
    static long double a[ROWS][ROWS + CLASSES];
    long double mean[CLASSES] = { 0 }, diagonal = 0;
    int rows[ROWS], n = 0;
    for (int i = 0; i < ROWS; i++)
        if (kept[i])
            rows[n++] = i;
    for (int i = 0; i < n; i++) {
        mean[(int)t->y[rows[i]]] += 1.0L / n;
        diagonal += kernel[rows[i] * ROWS + rows[i]] / (long double)n;
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            a[i][j] = kernel[rows[i] * ROWS + rows[j]] + (i == j ? ridge * diagonal : 0);
        for (int c = 0; c < CLASSES; c++)
            a[i][n + c] = ((int)t->y[rows[i]] == c) - mean[c];
    }
    for (int k = 0; k < n; k++) /* positive definite: no pivots */
        for (int i = 0; i < n; i++) {
            long double factor = i == k ? 0 : a[i][k] / a[k][k];
            for (int j = k; j < n + CLASSES; j++)
                a[i][j] -= factor * a[k][j];
        }
    for (int i = 0; i < ROWS; i++)
        for (int c = 0; c < CLASSES && !kept[i]; c++) {
            long double sum = mean[c];
            for (int j = 0; j < n; j++)
                sum += kernel[i * ROWS + rows[j]] * a[j][n + c] / a[j][j];
            f[i * CLASSES + c] = (double)sum;
        }
}

/* Mean square and wrong classes of the rows of a fold, or, for FOLDS, of all. */
static void score(const table *t, const double *f, const size_t *folds, size_t fold, double *mse, double *wrong)
{
    double count = 0;
    *mse = *wrong = 0;
    for (int i = 0; i < ROWS; i++) {
        if (fold != FOLDS && folds[i] != fold)
            continue;
        int best = 0;
        count++;
        for (int c = 0; c < CLASSES; c++) {
            double off = f[i * CLASSES + c] - ((int)t->y[i] == c);
            *mse += off * off / CLASSES;
            best = f[i * CLASSES + c] > f[i * CLASSES + best] ? c : best;
        }
        *wrong += best != (int)t->y[i];
    }
    *mse /= count;
    *wrong /= count;
}

static void expect(const cJSON *item, const char *key, double expected)
{
    cr_expect(fabs(value(item, key) - expected) < 1e-9, "%s: %.15g, not %.15g", key, value(item, key), expected);
}

#define CHOOSE                                                                                                         \
    "predict mlp --inputs x.npy --labels y.npy --scaling pixelwise --centre --grid depth=1,3 --ridges 0.01:1 "         \
    "--folds 4 --seed 7 "

/* Scaled, centred, with the unit of the ridge: all by the rows that train in a fold. */
Test(choose, folds_are_those_of_a_twin)
{
    table t = put_table();
    size_t folds[ROWS];
    ad_error error = { 0 };
    cr_assert(!tp_deal_folds(t.y, ROWS, FOLDS, 7, folds, &error));
    cJSON *root = result(CHOOSE "--json");
    for (int d = 0; d < 2; d++) {
        static double x[ROWS * FEATURES], kernel[ROWS * ROWS], f[RIDGES][ROWS * CLASSES];
        for (size_t fold = 0; fold < FOLDS; fold++) {
            bool kept[ROWS];
            for (int i = 0; i < ROWS; i++)
                kept[i] = folds[i] != fold;
            scale(t.x, kept, x);
            kernel_of(x, d ? "depth=3" : "depth=1", kernel);
            for (int r = 0; r < RIDGES; r++)
                fit(&t, kernel, kept, ridges[r], f[r]);
        }
        for (int r = 0; r < RIDGES; r++) {
            const cJSON *item = candidate(root, d * RIDGES + r);
            double mse, wrong, by_fold[FOLDS][2], mean[2] = { 0 }, square[2] = { 0 };
            score(&t, f[r], folds, FOLDS, &mse, &wrong);
            for (size_t fold = 0; fold < FOLDS; fold++) {
                score(&t, f[r], folds, fold, &by_fold[fold][0], &by_fold[fold][1]);
                for (int k = 0; k < 2; k++)
                    mean[k] += by_fold[fold][k] / FOLDS;
            }
            for (size_t fold = 0; fold < FOLDS; fold++)
                for (int k = 0; k < 2; k++)
                    square[k] += pow(by_fold[fold][k] - mean[k], 2) / (FOLDS - 1) / FOLDS;
            cr_expect(value(item, "ridge") == ridges[r], "%.17g", value(item, "ridge"));
            cr_expect_str_eq(cJSON_GetObjectItem(cJSON_GetObjectItem(item, "settings"), "depth")->valuestring,
                             d ? "3" : "1");
            expect(item, "cv_mse", mse);
            expect(item, "cv_error", wrong);
            expect(item, "cv_mse_se", sqrt(square[0]));
            expect(item, "cv_error_se", sqrt(square[1]));
        }
    }
    cJSON_Delete(root);
}

/* Leave-one-out is a refit for each row, its inputs scaled once by all. */
Test(choose, leave_one_out_is_that_of_a_twin)
{
    table t = put_table();
    static double x[ROWS * FEATURES], kernel[ROWS * ROWS], f[ROWS * CLASSES];
    bool kept[ROWS];
    memset(kept, true, sizeof kept);
    scale(t.x, kept, x);
    kernel_of(x, "depth=1", kernel);
    cJSON *root = result(CHOOSE "--choose loo --json");
    for (int r = 0; r < RIDGES; r++) {
        double all = 0, mse, wrong;
        for (int i = 0; i < ROWS; i++)
            all += kernel[i * ROWS + i] / ROWS;
        for (int i = 0; i < ROWS; i++) {
            double part = 0;
            kept[i] = false;
            for (int j = 0; j < ROWS; j++)
                part += kept[j] ? kernel[j * ROWS + j] / (ROWS - 1) : 0;
            fit(&t, kernel, kept, ridges[r] * all / part, f); /* the ridge stays what it adds */
            kept[i] = true;
        }
        score(&t, f, NULL, FOLDS, &mse, &wrong);
        expect(candidate(root, r), "loo_mse", mse);
        expect(candidate(root, r), "loo_error", wrong);
    }
    cJSON_Delete(root);
}

/* The best one is what is printed as best, and predicts as if it had been asked for. */
Test(choose, the_best_is_refit)
{
    static const char *const by[] = { "cv", "loo", "likelihood" };
    put_table();
    double x2[] = { 2.5, 100, 0.03, 3.4, 160, 0.04 };
    put_array("x2.npy", x2, 2, FEATURES);
    for (int k = 0; k < 3; k++) {
        char arguments[500];
        snprintf(arguments, sizeof arguments, CHOOSE "--choose %s --inputs2 x2.npy --csv all.csv --json", by[k]);
        cJSON *root = result(arguments);
        const cJSON *chosen = cJSON_GetObjectItem(root, "selection");
        int best = (int)value(chosen, "best");
        for (int i = 0; i < 2 * RIDGES; i++) {
            const cJSON *one = candidate(root, i), *other = candidate(root, best);
            static const char *const keys[] = { "cv_error", "loo_error" };
            cr_expect(k < 2 ? value(one, keys[k]) >= value(other, keys[k])
                            : value(one, "log_likelihood") <= value(other, "log_likelihood"));
        }
        const char *depth =
            cJSON_GetObjectItem(cJSON_GetObjectItem(candidate(root, best), "settings"), "depth")->valuestring;
        cr_expect_str_eq(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "settings"), "depth")->valuestring, depth);
        snprintf(arguments, sizeof arguments,
                 "predict mlp --inputs x.npy --labels y.npy --scaling pixelwise --centre --set depth=%s --ridge %.17g "
                 "--times inf --inputs2 x2.npy --json",
                 depth, value(candidate(root, best), "ridge"));
        cJSON *again = result(arguments);
        char *outputs[2];
        for (int r = 0; r < 2; r++) {
            const cJSON *time = cJSON_GetArrayItem(cJSON_GetObjectItem(r ? again : root, "times"), 0);
            outputs[r] = cJSON_PrintUnformatted(cJSON_GetObjectItem(cJSON_GetObjectItem(time, "test"), "outputs"));
        }
        cr_expect_str_eq(outputs[0], outputs[1]);
        cr_expect(cJSON_GetObjectItem(root, "check"), "the best is checked");
        cJSON_free(outputs[0]);
        cJSON_free(outputs[1]);
        cJSON_Delete(root);
        cJSON_Delete(again);
        char *csv = slurp(in("all.csv"), NULL);
        cr_expect(strncmp(csv, "depth,ridge,cv_error,", 21) == 0 && strstr(csv, "\n3,0.1,"), "%s", csv);
        ad_free(csv);
    }
}

/* The scaling of the second inputs is that of the first. */
Test(choose, second_inputs_are_scaled_as_the_first)
{
    table t = put_table();
    put_array("x2.npy", t.x, ROWS, FEATURES);
    cJSON *root = result("predict mlp --inputs x.npy --labels y.npy --scaling pixelwise --inputs2 x2.npy --labels2 "
                         "y.npy --times 3 --json");
    const cJSON *time = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "times"), 0);
    double train = value(cJSON_GetObjectItem(time, "train"), "loss"),
           test = value(cJSON_GetObjectItem(time, "test"), "loss");
    cr_expect(fabs(train - test) < 1e-12 * train, "%g, %g", train, test);
    cJSON_Delete(root);
}

/* 36 kernels, 9 ridges, 5 folds of 150 rows. */
Test(choose, a_table_of_150_rows)
{
    char line[100];
    static char text[150 * 60];
    size_t used = (size_t)snprintf(text, sizeof text, "a,b,c,d,kind\n");
    srand(1);
    for (int i = 0; i < 150; i++) {
        double x[4];
        for (int j = 0; j < 4; j++)
            x[j] = 4 + sin(3.0 * (i % 3) + j) + rand() / (double)RAND_MAX;
        snprintf(line, sizeof line, "%.1f,%.1f,%.1f,%.1f,%c\n", x[0], x[1], x[2], x[3], "sev"[i % 3]);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", line);
    }
    put_text("iris.csv", text);
    double x2[] = { 4, 4, 4, 4 };
    put_array("x2.npy", x2, 1, 4);
    outcome told = works("predict mlp --data iris.csv --inputs2 x2.npy --grid depth=1,2,3 --grid sigma_w=1,1.4,2 "
                         "--grid sigma_b=0,0.3,0.6,1 --ridges 1e-6:1e2 --folds 5 --csv all.csv");
    cr_expect(strstr(told.out, "36 kernels x 9 ridges on 150 rows") && strstr(told.out, "\n* depth="), "%s", told.out);
    char *csv = slurp(in("all.csv"), NULL);
    int lines = 0;
    for (const char *at = csv; (at = strchr(at, '\n')); at++)
        lines++;
    cr_expect(lines == 36 * 9 + 1, "%d lines", lines);
    cr_expect(strstr(csv, "\n3,2,1,1e-05,"), "%s", csv);
    ad_free(csv);
}

/* ---- machines of other kinds: each fold against the prediction of a table that never had its rows ---- */
enum { FEW = 15, TARGETS = 2, PARTS = 3 };

typedef struct {
    double x[FEW * FEATURES], y[FEW * TARGETS];
} targets;

static targets put_targets(void)
{
    targets t;
    srand(8);
    for (int i = 0; i < FEW * FEATURES; i++)
        t.x[i] = 3 * (rand() / (double)RAND_MAX) - 1;
    for (int i = 0; i < FEW; i++) {
        t.y[i * TARGETS] = 1 + sin(2 * t.x[i * FEATURES]);
        t.y[i * TARGETS + 1] = t.x[i * FEATURES + 1] * t.x[i * FEATURES + 2];
    }
    put_array("x.npy", t.x, FEW, FEATURES);
    put_array("y.npy", t.y, FEW, TARGETS);
    return t;
}

/* The sum over a fold's rows of (f - y)^2, as limn predict has it of a table of the others. */
static double predicted_apart(const targets *t, const char *network, const size_t *folds, size_t fold)
{
    double x[2][FEW * FEATURES], y[2][FEW * TARGETS], sum = 0;
    size_t rows[2] = { 0 };
    for (size_t i = 0; i < FEW; i++) {
        int out = folds[i] == fold;
        memcpy(x[out] + rows[out] * FEATURES, t->x + i * FEATURES, FEATURES * sizeof(double));
        memcpy(y[out] + rows[out]++ * TARGETS, t->y + i * TARGETS, TARGETS * sizeof(double));
    }
    put_array("x0.npy", x[0], rows[0], FEATURES);
    put_array("y0.npy", y[0], rows[0], TARGETS);
    put_array("x1.npy", x[1], rows[1], FEATURES);
    char line[400];
    snprintf(line, sizeof line,
             "predict %s --inputs x0.npy --labels y0.npy --inputs2 x1.npy --scaling pixelwise --seed 7 --ridge 0.1 "
             "--times inf --no-check --out f.npy",
             network);
    works(line);
    ds_array f = get_array("f.npy");
    for (size_t i = 0; i < rows[1] * TARGETS; i++)
        sum += pow(f.data[i] - y[1][i], 2);
    ds_array_free(&f);
    return sum;
}

Test(choose, folds_of_any_network_are_predicted_as_if_apart)
{
    static const char *const networks[] = { "mlp --width 16",
                                            "mlp --width 16 --kernel nngp",
                                            "mlp --width 16 --outputs full",
                                            "mlp --outputs full --set phi=erf",
                                            "two_heads.c",
                                            "batchnorm --set depth=1",
                                            "batchnorm --set depth=1 --width 16",
                                            "batchnorm --set depth=1 --width 16 --outputs full" };
    targets t = put_targets();
    size_t folds[FEW];
    ad_error error = { 0 };
    shell("cp %s/tests/examples/limn/networks/two_heads.c %s/", LIMN_SOURCE_DIR, folder);
    cr_assert(!tp_deal_folds(NULL, FEW, PARTS, 7, folds, &error));
    for (size_t k = 0; k < sizeof networks / sizeof *networks; k++) {
        char line[400];
        double sum = 0;
        snprintf(
            line, sizeof line,
            "predict %s --inputs x.npy --labels y.npy --scaling pixelwise --seed 7 --ridge 0.1 --folds 3 --no-check "
            "--json",
            networks[k]);
        cJSON *root = result(line);
        for (size_t fold = 0; fold < PARTS; fold++)
            sum += predicted_apart(&t, networks[k], folds, fold);
        expect(candidate(root, 0), "cv_mse", sum / (FEW * TARGETS));
        cr_expect(cJSON_IsNumber(cJSON_GetObjectItem(candidate(root, 0), "loo_mse")) !=
                      !strncmp(networks[k], "batch", 5),
                  "%s", networks[k]);
        cJSON_Delete(root);
    }
}

/* Leave-one-out in closed form is as many folds as rows, where noise has no unit of theirs. */
Test(choose, leave_one_out_is_a_fold_for_each_row)
{
    static const char *const networks[] = { "mlp --width 16", "mlp --width 16 --outputs full", "two_heads.c",
                                            "two_heads.c --centre", "mlp --centre" };
    put_targets();
    shell("cp %s/tests/examples/limn/networks/two_heads.c %s/", LIMN_SOURCE_DIR, folder);
    for (size_t k = 0; k < sizeof networks / sizeof *networks; k++) {
        char line[400];
        snprintf(line, sizeof line, "predict %s --inputs x.npy --labels y.npy --noise 0.3 --folds 15 --no-check --json",
                 networks[k]);
        cJSON *root = result(line);
        expect(candidate(root, 0), "cv_mse", value(candidate(root, 0), "loo_mse"));
        cJSON_Delete(root);
    }
}

/* Nothing to choose from is told as that. */
Test(choose, folds_without_a_grid)
{
    put_table();
    outcome told = works("predict mlp --inputs x.npy --labels y.npy --folds 3 --no-check");
    cr_expect(strstr(told.out, "\n* nothing to choose from, without --grid and --ridges; fit on all 30 rows\n"), "%s",
              told.out);
}

/* Targets have no classes: their error is the mean square; one kernel shows all its ridges. */
Test(choose, targets)
{
    double x[20 * 2], y[20];
    for (int i = 0; i < 20; i++) {
        x[2 * i] = cos(i);
        x[2 * i + 1] = sin(2.0 * i);
        y[i] = 5 + x[2 * i] * x[2 * i + 1] + 0.01 * (i % 3);
    }
    put_array("x.npy", x, 20, 2);
    put_array("y.npy", y, 20, 1);
    outcome told = works("predict mlp --kernel nngp --inputs x.npy --labels y.npy --ridges 0,1e-4,1e-2 --centre "
                         "--noise 1e-3 --choose likelihood --set sigma_b=0.3");
    cr_expect(strstr(told.out, "log likelihood") && !strstr(told.out, "%\n") && strstr(told.out, "0.0001"), "%s",
              told.out);
    cr_expect(!strstr(told.out, "CV") && strstr(told.out, "noise 0.001"), "%s", told.out);
}

/* A piece of work of some seconds tells what is left of it where it is asked to, and nothing where it is short. */
Test(choose, progress_of_long_work)
{
    put_table();
    outcome told = limn("kernel mlp --inputs x.npy --width 1500 --seeds 40 --progress");
    const char *left = strstr(told.err, " left\n");
    cr_expect(told.status == 0 && strstr(told.err, "kernel: the kernel, ") == told.err && left, "%d, %s", told.status,
              told.err);
    told = limn("predict mlp --data digits --grid depth=1,2,3,4,5,6,7,8 --folds 5 --ridge 1e-3 --progress --no-check");
    left = strstr(told.err, " left\n");
    cr_expect(told.status == 0 && strstr(told.err, "predict: 8 kernels, ") == told.err && left, "%d, %s", told.status,
              told.err);
    told = limn("kernel mlp --inputs x.npy --width 8 --progress");
    cr_expect(told.status == 0 && !*told.err, "%s", told.err);
    told = limn("kernel mlp --inputs x.npy --width 1500 --seeds 20");
    cr_expect(told.status == 0 && !*told.err, "%s", told.err);
}

Test(choose, failures_are_one_line)
{
    put_table();
#define TABLE "predict mlp --inputs x.npy --labels y.npy "
    fails(TABLE "--grid depth", 2, "--grid");
    fails(TABLE "--grid depth=1,,2", 2, "--grid");
    fails(TABLE "--grid depth=1,x", 1, "depth=x");
    fails(TABLE "--grid nothing=1,2", 1, "nothing");
    fails(TABLE "--set depth=1 --grid depth=1,2", 1, "twice");
    fails(TABLE "--ridges 1:0.1", 2, "--ridges");
    fails(TABLE "--ridges 0:1", 2, "--ridges");
    fails(TABLE "--ridges 1e-3:1:1", 2, "--ridges");
    fails(TABLE "--ridges 1e-3:1 --ridge 1", 2, "--ridge");
    fails(TABLE "--folds 1", 2, "--folds");
    fails(TABLE "--folds 31", 1, "folds");
    fails(TABLE "--choose cv", 2, "--folds");
    fails(TABLE "--choose loo --loss cross-entropy", 2, "cross-entropy");
    fails(TABLE "--choose loo --start x.npy", 2, "--start");
    fails(TABLE "--choose loo --explain", 2, "--explain");
    fails("predict batchnorm --inputs x.npy --labels y.npy --choose loo", 1, "give --folds K");
    works("train mlp --inputs x.npy --labels y.npy --width 8 --steps 1 --out w.safetensors");
    fails(TABLE "--grid depth=1,2 --weights w.safetensors", 2, "--weights");
    fails("kernel mlp --inputs x.npy --grid depth=1,2", 2, "--grid");
    double same[6] = { 1, 2, 1, 2, 1, 2 }, y[3] = { 0, 1, 1 };
    put_array("same.npy", same, 3, 2);
    put_array("y3.npy", y, 3, 0);
    fails("predict mlp --inputs same.npy --labels y3.npy --choose loo", 1, "--ridges");
}

/* Every allocation fails once, with the first of each and then ever fewer: a run is a process. */
Test(choose, memory_that_runs_out)
{
    put_table();
    long step = 1;
    for (long k = 1, status = 1; status; k += step) {
        char hook[64];
        cr_assert_lt(k, 100000);
        snprintf(hook, sizeof hook, "LIMN_FAIL_ALLOC=%ld", k);
        outcome told = run_as(LIMN_TOOL, hook, CHOOSE "--csv all.csv --no-check");
        status = told.status;
        cr_expect(status == 0 || (status == 1 && strstr(told.err, "memory")), "%s: %ld, %s", hook, status, told.err);
        step = k < 20 ? 1 : 1 + k / 20;
    }
}
