/* Drift: measures against naive formulas and a Jacobian, the schedule, the file that grows, resuming, and what
 * fails. */
#include "nn/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEATURES = 6, OUTPUTS = 3, ROWS = 22, PROBES = 7, BATCH = 8, PER_EPOCH = 3, WIDTH = 8 };

/* ---- data, networks, files ---- */
static double x[ROWS * FEATURES], labels[ROWS], targets[ROWS * OUTPUTS];

static void fill(void)
{
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(0.3 + 1.7 * i + 0.01 * i * i);
    for (int i = 0; i < ROWS; i++)
        labels[i] = (i * 7 + 1) % OUTPUTS;
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        targets[i] = cos(2.1 * i);
}

TestSuite(drift, .init = fill);

static nn_data data_of(nn_loss loss, size_t rows)
{
    return loss == NN_SQUARE ? (nn_data){ .x = x, .y = targets, .rows = rows }
                             : (nn_data){ .x = x, .y = labels, .rows = rows, .classes = OUTPUTS };
}

/* Samples meet: each feature less its mean over the batch. */
static ad_var meeting(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "dense", in, n);
    return nn_readout(net, "readout", ad_tanh(ad_sub(h, ad_mean(h, ad_shape_of(nn_batch(net))))));
}

static nn_net *mlp(void)
{
    static const char *const settings[] = { "depth=2", "phi=tanh", "sigma_b=0.2", NULL };
    ad_error error = { 0 };
    nn_net *net =
        nn_trace(nn_builtin("mlp"),
                 &(nn_spec){ .features = FEATURES, .outputs = OUTPUTS, .settings = settings, .name = "mlp" }, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static const char *temporary(const char *name)
{
    static char paths[8][300];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "/tmp/limn-drift-%ld-%s", (long)getpid(), name);
    return path;
}

static char *slurp(const char *path)
{
    size_t bytes;
    char *text = ad_file_read(path, 1 << 24, &bytes, NULL);
    cr_assert(text, "%s", path);
    return text;
}

static void put(const char *path, const char *text, bool append)
{
    FILE *file = fopen(path, append ? "ab" : "wb");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* All measurements of a fit. */
typedef struct {
    nn_drift_row rows[64];
    double kernels[64][PROBES * PROBES];
    int count;
} record;

static int keep(const nn_drift_row *row, void *context, ad_error *error)
{
    record *r = context;
    (void)error;
    cr_assert(r->count < 64);
    memcpy(r->kernels[r->count], row->kernel, sizeof r->kernels[0]);
    r->rows[r->count++] = *row;
    return 0;
}

/* ---- naive twins ---- */
/* The mean over outputs of J J^T, with J by central differences of nn_forward. */
static void jacobian_kernel(nn_model *model, double *kernel)
{
    size_t count = nn_model_size(model);
    double *w = nn_param_values(model, 0, NULL), plus[PROBES * OUTPUTS], minus[PROBES * OUTPUTS];
    memset(kernel, 0, PROBES * PROBES * sizeof *kernel);
    for (size_t p = 0; p < count; p++) {
        const double h = 1e-5, kept = w[p];
        w[p] = kept + h;
        cr_assert(nn_forward(model, x, PROBES, plus, NULL) == 0);
        w[p] = kept - h;
        cr_assert(nn_forward(model, x, PROBES, minus, NULL) == 0);
        w[p] = kept;
        for (int i = 0; i < PROBES; i++)
            for (int j = 0; j < PROBES; j++)
                for (int o = 0; o < OUTPUTS; o++)
                    kernel[i * PROBES + j] += (plus[i * OUTPUTS + o] - minus[i * OUTPUTS + o]) / (2 * h) *
                                              (plus[j * OUTPUTS + o] - minus[j * OUTPUTS + o]) / (2 * h) / OUTPUTS;
    }
}

/* H a H with the matrix H. */
static void centre(const double *a, double *out)
{
    double half[PROBES * PROBES] = { 0 };
    memset(out, 0, sizeof half);
    for (int i = 0; i < PROBES; i++)
        for (int j = 0; j < PROBES; j++)
            for (int k = 0; k < PROBES; k++)
                half[i * PROBES + j] += ((i == k) - 1.0 / PROBES) * a[k * PROBES + j];
    for (int i = 0; i < PROBES; i++)
        for (int j = 0; j < PROBES; j++)
            for (int k = 0; k < PROBES; k++)
                out[i * PROBES + j] += half[i * PROBES + k] * ((k == j) - 1.0 / PROBES);
}

static double inner(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < PROBES * PROBES; i++)
        sum += a[i] * b[i];
    return sum;
}

static double cosine(const double *a, const double *b, bool centred)
{
    double ca[PROBES * PROBES], cb[PROBES * PROBES];
    if (!centred)
        return inner(a, b) / sqrt(inner(a, a) * inner(b, b));
    centre(a, ca);
    centre(b, cb);
    return inner(ca, cb) / sqrt(inner(ca, ca) * inner(cb, cb));
}

static double apart(const double *a, const double *b)
{
    double difference[PROBES * PROBES];
    for (int i = 0; i < PROBES * PROBES; i++)
        difference[i] = a[i] - b[i];
    return sqrt(inner(difference, difference) / inner(b, b));
}

/* Jacobi's rotations; the eigenvalues, falling. */
static void eigenvalues(const double *kernel, double *values)
{
    double a[PROBES][PROBES];
    memcpy(a, kernel, sizeof a);
    for (int turn = 0; turn < 60; turn++)
        for (int p = 0; p < PROBES; p++)
            for (int q = p + 1; q < PROBES; q++) {
                double angle = 0.5 * atan2(2 * a[p][q], a[q][q] - a[p][p]), c = cos(angle), s = sin(angle);
                for (int k = 0; k < PROBES; k++) {
                    double u = a[k][p], v = a[k][q];
                    a[k][p] = c * u - s * v;
                    a[k][q] = s * u + c * v;
                }
                for (int k = 0; k < PROBES; k++) {
                    double u = a[p][k], v = a[q][k];
                    a[p][k] = c * u - s * v;
                    a[q][k] = s * u + c * v;
                }
            }
    for (int i = 0; i < PROBES; i++) {
        int at = i;
        for (; at > 0 && values[at - 1] < a[i][i]; at--)
            values[at] = values[at - 1];
        values[at] = a[i][i];
    }
}

static void label_kernel(nn_loss loss, double *kernel)
{
    for (int i = 0; i < PROBES; i++)
        for (int j = 0; j < PROBES; j++) {
            double sum = 0;
            for (int o = 0; o < OUTPUTS; o++)
                sum += loss == NN_SQUARE ? targets[i * OUTPUTS + o] * targets[j * OUTPUTS + o]
                                         : (labels[i] == o) * (labels[j] == o);
            kernel[i * PROBES + j] = sum;
        }
}

#define NEAR(value, truth, tolerance)                                                                                  \
    cr_assert(fabs((value) - (truth)) <= (tolerance)*fabs(truth), "%s: %.17g, not %.17g", #value, value, truth)

static void check_row(const nn_drift_row *row, nn_model *model, nn_loss loss, const double *start, const double *limit)
{
    double full[PROBES * PROBES * OUTPUTS * OUTPUTS], theta[PROBES * PROBES] = { 0 }, jacobian[PROBES * PROBES];
    double y[PROBES * PROBES], values[PROBES], f[PROBES * OUTPUTS], mean, accuracy, sum = 0, entropy = 0;
    nn_data probes = data_of(loss, PROBES);
    cr_assert(nn_ntk(model, x, PROBES, NULL, 0, NN_FULL, full, NULL) == 0);
    for (int i = 0; i < PROBES * PROBES; i++)
        for (int o = 0; o < OUTPUTS; o++)
            theta[i] += full[(i * OUTPUTS + o) * OUTPUTS + o] / OUTPUTS;
    jacobian_kernel(model, jacobian);
    cr_assert(apart(row->kernel, theta) < 1e-12);
    cr_assert(apart(row->kernel, jacobian) < 1e-8); /* differences at h = 1e-5 err by about 1e-10 */
    cr_assert(nn_evaluate(model, &probes, loss, &mean, &accuracy, NULL) == 0);
    cr_assert(nn_forward(model, x, PROBES, f, NULL) == 0);
    cr_assert(memcmp(f, row->outputs, sizeof f) == 0);
    NEAR(row->loss, mean, 1e-14);
    cr_assert(loss == NN_SQUARE ? isnan(row->accuracy) : fabs(row->accuracy - accuracy) < 1e-15);
    NEAR(row->norm, sqrt(inner(theta, theta)), 1e-12);
    cr_assert_float_eq(row->from_start, apart(theta, start), 1e-12);
    cr_assert_float_eq(row->from_limit, apart(theta, limit), 1e-12);
    cr_assert_float_eq(row->alignment, cosine(theta, start, false), 1e-12);
    cr_assert_float_eq(row->centred_alignment, cosine(theta, start, true), 1e-12);
    label_kernel(loss, y);
    cr_assert_float_eq(row->label_alignment, cosine(theta, y, false), 1e-12);
    cr_assert_float_eq(row->centred_label_alignment, cosine(theta, y, true), 1e-12);
    eigenvalues(theta, values);
    for (int i = 0; i < PROBES; i++)
        sum += values[i];
    for (int i = 0; i < PROBES; i++)
        entropy -= values[i] / sum * log(values[i] / sum);
    for (int k = 0; k < NN_EIGENVALUES; k++)
        cr_assert_float_eq(row->eigenvalues[k], values[k], 1e-12 * values[0]);
    NEAR(row->effective_rank, exp(entropy), 1e-10);
    NEAR(row->condition, values[0] / values[PROBES - 1], 1e-12 * values[0] / values[PROBES - 1]);
}

Test(drift, every_measure_is_its_formula)
{
    double limit[PROBES * PROBES], start[PROBES * PROBES];
    for (int i = 0; i < PROBES; i++)
        for (int j = 0; j < PROBES; j++)
            limit[i * PROBES + j] = 1 / (1.0 + abs(i - j));
    for (int loss = NN_SQUARE; loss <= NN_CROSS_ENTROPY; loss++) {
        nn_net *net = mlp();
        nn_model *model = nn_model_new(net, WIDTH, 3, AD_DOUBLE, 1, NULL);
        nn_data data = data_of((nn_loss)loss, ROWS);
        nn_drift_spec spec = { .probes = data_of((nn_loss)loss, PROBES), .limit = limit };
        ad_error error = { 0 };
        nn_drift *drift = nn_drift_new(model, &spec, (nn_loss)loss, &error);
        nn_drift_row row;
        cr_assert(drift && nn_drift_measure(drift, &row, &error) == 0, "%s", error.text);
        memcpy(start, row.kernel, sizeof start);
        cr_assert(isnan(row.batch_loss) && !(row.from_start > 0) && row.alignment > 1 - 1e-15);
        check_row(&row, model, (nn_loss)loss, start, limit);
        for (int turn = 0; turn < 2; turn++) {
            nn_fit_spec fit = { .loss = (nn_loss)loss, .rate = 0.5, .steps = 20 };
            cr_assert(nn_fit(model, &data, &fit, NULL, NULL) == 0);
            cr_assert(nn_drift_measure(drift, &row, &error) == 0, "%s", error.text);
            cr_assert(row.from_start > 0.01);
            check_row(&row, model, (nn_loss)loss, start, limit);
        }
        nn_drift_free(drift);
        nn_model_free(model);
        nn_net_free(net);
    }
}

/* Two probes of one class: their centred label kernel is 0, and fewer probes than eigenvalues. */
Test(drift, what_is_not_defined_is_nan)
{
    nn_net *net = mlp();
    nn_model *model = nn_model_new(net, WIDTH, 3, AD_DOUBLE, 1, NULL);
    nn_drift_spec spec = { .probes = { x, (double[]){ 1, 1 }, 2, OUTPUTS } };
    nn_drift *drift = nn_drift_new(model, &spec, NN_CROSS_ENTROPY, NULL);
    nn_drift_row row;
    cr_assert(nn_drift_measure(drift, &row, NULL) == 0);
    cr_assert(isnan(row.centred_label_alignment) && isnan(row.from_limit) && isnan(row.eigenvalues[2]));
    cr_assert(isfinite(row.label_alignment) && isfinite(row.eigenvalues[1]));
    nn_drift_free(drift);
    /* a kernel of rank one: its smallest eigenvalue is 0, or what rounding makes of it */
    spec.probes = (nn_data){ (double[3 * FEATURES]){ 0 }, (double[]){ 0, 1, 2 }, 3, OUTPUTS };
    drift = nn_drift_new(model, &spec, NN_CROSS_ENTROPY, NULL);
    cr_assert(nn_drift_measure(drift, &row, NULL) == 0);
    cr_assert(row.condition > 1e12 && fabs(row.effective_rank - 1) < 1e-9, "%g", row.effective_rank);
    nn_drift_free(drift);
    nn_model_free(model);
    nn_net_free(net);
}

/* Recurrent networks, and networks whose samples meet: the probes are one batch, and the kernel is nn_ntk's. After the
 * first measurement nothing is allocated, and the step of a fit that is not measured allocates nothing either. */
Test(drift, any_network_without_allocation)
{
    static const struct {
        const char *builtin;
        size_t shape[4];
    } nets[] = { { "mlp", { 0 } }, { "rnn", { 3, 2 } }, { NULL, { 0 } } };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        for (int type = AD_FLOAT; type <= AD_DOUBLE; type++) {
            ad_error error = { 0 };
            nn_spec traced = { .features = FEATURES, .outputs = OUTPUTS };
            memcpy(traced.shape, nets[i].shape, sizeof traced.shape);
            nn_net *net = nn_trace(nets[i].builtin ? nn_builtin(nets[i].builtin) : meeting, &traced, &error);
            nn_model *model = net ? nn_model_new(net, WIDTH, 2, (ad_type)type, 1, &error) : NULL;
            cr_assert(model, "%s", error.text);
            nn_drift_spec spec = { .probes = data_of(NN_CROSS_ENTROPY, PROBES) };
            nn_data data = data_of(NN_CROSS_ENTROPY, ROWS);
            nn_drift *drift = nn_drift_new(model, &spec, NN_CROSS_ENTROPY, &error);
            nn_drift_row row;
            double kernel[PROBES * PROBES];
            cr_assert(drift && nn_drift_measure(drift, &row, &error) == 0, "%s", error.text);
            nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .rate = 0.5, .steps = 5 };
            cr_assert(nn_fit(model, &data, &fit, NULL, &error) == 0, "%s", error.text);
            long before = ad_allocations();
            cr_assert(nn_drift_measure(drift, &row, &error) == 0, "%s", error.text);
            cr_assert_eq(ad_allocations(), before, "net %zu", i);
            cr_assert(row.from_start > 0);
            cr_assert(nn_ntk(model, x, PROBES, NULL, 0, NN_MEAN, kernel, NULL) == 0);
            cr_assert(memcmp(kernel, row.kernel, sizeof kernel) == 0);
            nn_drift_free(drift);
            nn_model_free(model);
            nn_net_free(net);
        }
}

/* ---- in a fit ---- */
typedef struct {
    const char *csv, *checkpoint, *resume;
    nn_drift_schedule schedule;
    long every, steps, checkpoint_every;
    double share, rate;
    uint64_t seed; /* of the network's draw; 0: 4 */
    size_t first;  /* of the probes */
    bool square;   /* loss, on targets */
    const double *limit;
    nn_progress last; /* filled in */
} job;

/* Trains a network drawn anew; with the values at the end in `end`, if it is given. */
static int train(job *j, record *r, double **end, ad_error *error)
{
    nn_net *net = mlp();
    nn_model *model = nn_model_new(net, WIDTH, j->seed ? j->seed : 4, AD_DOUBLE, 1, NULL);
    nn_loss loss = j->square ? NN_SQUARE : NN_CROSS_ENTROPY;
    nn_data data = data_of(loss, ROWS), probes = data_of(loss, PROBES);
    probes.x += j->first * FEATURES;
    probes.y += j->first * (j->square ? OUTPUTS : 1);
    nn_drift_spec drift = { .probes = probes,
                            .limit = j->limit,
                            .schedule = j->schedule,
                            .every = j->every,
                            .share = j->share,
                            .csv = j->csv,
                            .each = r ? keep : NULL,
                            .context = r };
    nn_fit_spec fit = { .loss = loss,
                        .rate = j->rate > 0 ? j->rate : 0.3,
                        .batch = BATCH,
                        .steps = j->steps,
                        .checkpoint = j->checkpoint,
                        .checkpoint_every = j->checkpoint_every,
                        .resume = j->resume,
                        .drift = &drift };
    int failed = nn_fit(model, &data, &fit, &j->last, error);
    if (end) {
        *end = malloc(nn_model_size(model) * sizeof **end);
        memcpy(*end, nn_param_values(model, 0, NULL), nn_model_size(model) * sizeof **end);
    }
    nn_model_free(model);
    nn_net_free(net);
    return failed;
}

Test(drift, the_schedule)
{
    static const struct {
        nn_drift_schedule schedule;
        long every, steps, expected[24]; /* ended by -1 */
    } rows[] = {
        { NN_LOG_STEPS, 0, 30, { 0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, -1 } },
        { NN_LOG_STEPS, 2, 40, { 0, 1, 3, 10, 32, 40, -1 } },
        { NN_LOG_STEPS, 1, 10, { 0, 1, 10, -1 } },
        { NN_STEPS, 0, 3, { 0, 1, 2, 3, -1 } },
        { NN_STEPS, 7, 20, { 0, 7, 14, 20, -1 } },
        { NN_STEPS, 7, 21, { 0, 7, 14, 21, -1 } },
        { NN_STEPS, 100, 5, { 0, 5, -1 } },
        { NN_EPOCHS, 0, 8, { 0, 3, 6, 8, -1 } },
        { NN_EPOCHS, 2, 13, { 0, 6, 12, 13, -1 } },
        { NN_EPOCHS, 1000000000, 4, { 0, 4, -1 } },
        { NN_ENDS, 1, 4, { 0, 4, -1 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static record r;
        ad_error error = { 0 };
        r.count = 0;
        job j = { .schedule = rows[i].schedule, .every = rows[i].every, .steps = rows[i].steps };
        cr_assert(train(&j, &r, NULL, &error) == 0, "%s", error.text);
        for (int k = 0; k < r.count; k++) {
            cr_assert_eq(r.rows[k].step, rows[i].expected[k], "%zu: %ld", i, r.rows[k].step);
            cr_assert_float_eq(r.rows[k].epoch, (double)r.rows[k].step / PER_EPOCH, 1e-15);
        }
        cr_assert_eq(rows[i].expected[r.count], -1, "%zu", i);
        cr_assert_eq(j.last.measured, r.count);
        cr_assert(j.last.measuring > 0 && j.last.measuring <= j.last.seconds);
    }
}

/* Measuring changes nothing in training, and its rows are those of the trained network. */
Test(drift, a_fit_is_what_it_is_without)
{
    static record r;
    double *with, *without, kernel[PROBES * PROBES];
    job j = { .schedule = NN_STEPS, .every = 4, .steps = 14 };
    cr_assert(train(&j, &r, &with, NULL) == 0);
    nn_net *net = mlp();
    nn_model *model = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL);
    nn_data data = data_of(NN_CROSS_ENTROPY, ROWS);
    nn_progress last;
    nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .rate = 0.3, .batch = BATCH, .steps = 14 };
    cr_assert(nn_fit(model, &data, &fit, &last, NULL) == 0);
    without = nn_param_values(model, 0, NULL);
    cr_assert(memcmp(with, without, nn_model_size(model) * sizeof *with) == 0);
    cr_assert(nn_ntk(model, x, PROBES, NULL, 0, NN_MEAN, kernel, NULL) == 0);
    cr_assert(memcmp(kernel, r.kernels[r.count - 1], sizeof kernel) == 0);
    cr_assert_float_eq(r.rows[r.count - 1].batch_loss, last.loss, 0);
    free(with);
    nn_model_free(model);
    nn_net_free(net);
}

/* ---- the file ---- */
static const char header[] =
    "step,epoch,batch_loss,loss,accuracy,norm,from_start,from_limit,alignment,centred_alignment,"
    "label_alignment,centred_label_alignment,effective_rank,condition,eigenvalue1,eigenvalue2,"
    "eigenvalue3,eigenvalue4,eigenvalue5\n";

static int count_lines(const char *text)
{
    int lines = 0;
    for (; (text = strchr(text, '\n')); text++)
        lines++;
    return lines;
}

Test(drift, the_csv_has_every_field)
{
    static record r;
    const char *csv = temporary("fields.csv");
    job j = { .csv = csv, .steps = 10 };
    cr_assert(train(&j, &r, NULL, NULL) == 0);
    char *text = slurp(csv), *at = text + sizeof header - 1;
    cr_assert(strncmp(text, header, sizeof header - 1) == 0);
    cr_assert_eq(count_lines(text), 1 + r.count);
    for (int k = 0; k < r.count; k++) {
        const nn_drift_row *row = &r.rows[k];
        const double *e = row->eigenvalues;
        double fields[] = { (double)row->step,
                            row->epoch,
                            row->batch_loss,
                            row->loss,
                            row->accuracy,
                            row->norm,
                            row->from_start,
                            row->from_limit,
                            row->alignment,
                            row->centred_alignment,
                            row->label_alignment,
                            row->centred_label_alignment,
                            row->effective_rank,
                            row->condition,
                            e[0],
                            e[1],
                            e[2],
                            e[3],
                            e[4] };
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
            size_t length = strcspn(at, ",\n");
            cr_assert(isnan(fields[f]) ? length == 0
                                       : length > 0 && fabs(strtod(at, NULL) - fields[f]) <= 1e-9 * fabs(fields[f]),
                      "row %d, field %zu: %.*s, not %g", k, f, (int)length, at, fields[f]);
            cr_assert_eq(at[length], f + 1 < sizeof fields / sizeof *fields ? ',' : '\n');
            at += length + 1;
        }
    }
    cr_assert_eq(*at, 0);
    ad_free(text);
    remove(csv);
}

static int look(const nn_progress *progress, nn_model *model, void *context)
{
    char *text = slurp(context);
    (void)model;
    cr_assert_eq(count_lines(text), 2 + progress->step, "at step %ld", progress->step);
    cr_assert_eq(text[strlen(text) - 1], '\n');
    ad_free(text);
    return 0;
}

Test(drift, a_row_is_there_when_the_step_is_over)
{
    const char *csv = temporary("grows.csv");
    nn_net *net = mlp();
    nn_model *model = nn_model_new(net, WIDTH, 4, AD_FLOAT, 1, NULL);
    nn_data data = data_of(NN_CROSS_ENTROPY, ROWS);
    nn_drift_spec drift = { .probes = data_of(NN_CROSS_ENTROPY, PROBES), .schedule = NN_STEPS, .csv = csv };
    nn_fit_spec fit = {
        .loss = NN_CROSS_ENTROPY, .steps = 4, .drift = &drift, .every = 1, .callback = look, .context = (void *)csv
    };
    cr_assert(nn_fit(model, &data, &fit, NULL, NULL) == 0);
    remove(csv);
    nn_model_free(model);
    nn_net_free(net);
}

static void same_files(const char *a, const char *b)
{
    char *one = slurp(a), *two = slurp(b);
    cr_assert_str_eq(one, two);
    ad_free(one);
    ad_free(two);
}

/* Broken after 12 steps, or killed at 17 with half a line when the last checkpoint was that of step 12; the fit that
 * was broken was to end there (its last row is off the schedule), or later. */
Test(drift, a_resumed_fit_leaves_the_same_file)
{
    static const struct {
        nn_drift_schedule schedule;
        long every;
    } rows[] = { { NN_LOG_STEPS, 0 }, { NN_STEPS, 5 }, { NN_STEPS, 4 }, { NN_EPOCHS, 1 }, { NN_ENDS, 0 } };
    const char *whole = temporary("whole.csv"), *csv = temporary("csv"), *checkpoint = temporary("checkpoint");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int killed = 0; killed < 2; killed++) {
            double *one, *two;
            ad_error error = { 0 };
            job unbroken = { .csv = whole, .schedule = rows[i].schedule, .every = rows[i].every, .steps = 30 };
            job broken = unbroken, later = unbroken, resumed = unbroken;
            broken.csv = later.csv = resumed.csv = csv;
            broken.checkpoint = resumed.resume = checkpoint;
            broken.steps = 12;
            later.steps = 17;
            cr_assert(train(&unbroken, NULL, &one, &error) == 0, "%s", error.text);
            cr_assert(train(&broken, NULL, NULL, &error) == 0, "%s", error.text);
            if (killed) {
                cr_assert(train(&later, NULL, NULL, &error) == 0, "%s", error.text);
                put(csv, "20,6.66", true);
            }
            cr_assert(train(&resumed, NULL, &two, &error) == 0, "%zu: %s", i, error.text);
            same_files(whole, csv);
            cr_assert(memcmp(one, two, sizeof *one * WIDTH) == 0);
            free(one);
            free(two);
        }
    remove(whole);
    remove(csv);
    remove(checkpoint);
}

Test(drift, a_file_that_cannot_go_on_is_refused_and_stays)
{
    const char *csv = temporary("wrong.csv"), *checkpoint = temporary("wrong");
    job broken = { .csv = csv, .checkpoint = checkpoint, .schedule = NN_STEPS, .every = 4, .steps = 12 };
    cr_assert(train(&broken, NULL, NULL, NULL) == 0);
    char *text = slurp(csv), *line[5] = { text };
    for (int k = 1; k < 5; k++)
        line[k] = strchr(line[k - 1], '\n') + 1;
    char gap[4096], half[4096];
    snprintf(gap, sizeof gap, "%.*s%s", (int)(line[2] - text), text, line[3]);
    snprintf(half, sizeof half, "%.*s", (int)(line[4] - text), text);
    job good = { .csv = csv, .resume = checkpoint, .schedule = NN_STEPS, .every = 4, .steps = 30 };
    double kernel[PROBES * PROBES] = { 1 };
    job start = good, probes = good, finer = good, limited = good;
    limited.limit = kernel;
    start.seed = 5;
    probes.first = 3;
    finer.every = 2;
    const struct {
        const job *job;
        const char *text, *says; /* text NULL: no file */
    } wrong[] = {
        { &start, text, "another start" },           { &probes, text, "another start" },
        { &limited, text, "another limit" },         { &finer, text, "no row of step 2" },
        { &good, gap, "no row of step 4" },          { &good, half, "no row of step 12" },
        { &good, header, "no row of step 0" },       { &good, "", "first line" },
        { &good, "step,loss\n0,1\n", "first line" }, { &good, NULL, "cannot read" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_error error = { 0 };
        job j = *wrong[i].job;
        remove(csv);
        if (wrong[i].text)
            put(csv, wrong[i].text, false);
        cr_assert(train(&j, NULL, NULL, &error) != 0);
        cr_assert(strstr(error.text, wrong[i].says) && strstr(error.text, csv), "%zu: %s", i, error.text);
        cr_assert_eq(access(csv, F_OK) == 0, wrong[i].text != NULL);
        if (wrong[i].text) {
            char *after = slurp(csv);
            cr_assert_str_eq(after, wrong[i].text);
            ad_free(after);
        }
    }
    /* nothing is left to do: the file stays */
    job less = good;
    less.steps = 5;
    put(csv, text, false);
    cr_assert(train(&less, NULL, NULL, NULL) == 0);
    char *after = slurp(csv);
    cr_assert_str_eq(after, text);
    ad_free(after);
    ad_free(text);
    remove(csv);
    remove(checkpoint);
}

/* A share that one measurement is always above leaves the two ends, broken or not. */
Test(drift, a_share_thins_the_schedule)
{
    static record r;
    const char *whole = temporary("share.csv"), *csv = temporary("thin.csv"), *checkpoint = temporary("share");
    job j = { .csv = whole, .schedule = NN_STEPS, .steps = 20, .share = 1e-9 }, broken = j, resumed = j;
    cr_assert(train(&j, &r, NULL, NULL) == 0);
    cr_assert(r.count == 2 && r.rows[1].step == 20 && j.last.measured == 2);
    broken.csv = resumed.csv = csv;
    broken.checkpoint = resumed.resume = checkpoint;
    broken.share = 0.9999;
    broken.steps = 12;
    ad_error error = { 0 };
    cr_assert(train(&broken, NULL, NULL, NULL) == 0);
    cr_assert(train(&resumed, NULL, NULL, &error) == 0, "%s", error.text);
    char *text = slurp(csv);
    cr_assert(count_lines(text) >= 3 && strstr(text, "\n12,") && strstr(text, "\n20,"), "%s", text);
    ad_free(text);
    remove(whole);
    remove(csv);
    remove(checkpoint);
}

/* ---- what fails ---- */
static int refuse(const nn_drift_row *row, void *context, ad_error *error)
{
    (void)context;
    return row->step < 2 ? 0 : ad_fail(error, "no more");
}

Test(drift, bad_specs)
{
    double limit[PROBES * PROBES] = { [3] = NAN }, wrong[PROBES] = { 0, 7 };
    nn_drift_spec good = { .probes = data_of(NN_CROSS_ENTROPY, PROBES) };
    nn_drift_spec one = good, many = good, part = good, limited = good, classes = good, stopped = good, folder = good;
    one.probes.rows = 1;
    many.every = -1;
    part.share = 1;
    limited.limit = limit;
    classes.probes.y = wrong;
    stopped.schedule = NN_STEPS;
    stopped.each = refuse;
    folder.csv = "/tmp";
    const struct {
        const nn_drift_spec *spec;
        const char *says;
    } rows[] = {
        { &one, "1 probes" },     { &many, "every -1" },   { &part, "share of 1" },          { &limited, "not finite" },
        { &classes, "no class" }, { &stopped, "no more" }, { &folder, "/tmp: cannot write" }
    };
    nn_net *net = mlp();
    nn_data data = data_of(NN_CROSS_ENTROPY, ROWS);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ad_error error = { 0 };
        nn_model *model = nn_model_new(net, WIDTH, 1, AD_DOUBLE, 1, NULL);
        nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY, .steps = 3, .drift = rows[i].spec };
        cr_assert(nn_fit(model, &data, &fit, NULL, &error) != 0, "%zu", i);
        cr_assert(strstr(error.text, rows[i].says), "%s", error.text);
        nn_model_free(model);
    }
    nn_net_free(net);
}

static void check_whole_lines(const char *csv)
{
    char *text = slurp(csv);
    size_t length = strlen(text);
    cr_assert(length == 0 || text[length - 1] == '\n');
    cr_assert(length == 0 || strncmp(text, header, sizeof header - 1) == 0);
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        int commas = 0;
        for (char *c = line; *c != '\n'; c++)
            commas += *c == ',';
        cr_assert_eq(commas, 18);
    }
    ad_free(text);
}

/* At a rate of 1e200 the outputs are about 1e200 after a step, and their squares are not finite: a measurement tells
 * so, or, without one, the next step. */
Test(drift, a_loss_that_blows_up_leaves_whole_rows)
{
    static const struct {
        nn_drift_schedule schedule;
        const char *says;
    } rows[] = { { NN_STEPS, "the probes is not finite" }, { NN_ENDS, "loss is not finite at step 2" } };
    const char *csv = temporary("nan.csv");
    for (size_t i = 0; i < 2; i++) {
        job j = { .csv = csv, .schedule = rows[i].schedule, .steps = 9, .rate = 1e200, .square = true };
        ad_error error = { 0 };
        cr_assert(train(&j, NULL, NULL, &error) != 0);
        cr_assert(strstr(error.text, rows[i].says), "%s", error.text);
        check_whole_lines(csv);
        char *text = slurp(csv);
        cr_assert_eq(count_lines(text), 2, "%s", text);
        ad_free(text);
    }
    remove(csv);
}

Test(drift, a_failed_write_leaves_whole_lines)
{
    const char *csv = temporary("full.csv"), *checkpoint = temporary("full");
    bool failed = true;
    int failures = 0;
    for (long k = 1; failed; k++) {
        job first = { .csv = csv, .checkpoint = checkpoint, .schedule = NN_STEPS, .every = 3, .steps = 6 };
        job resumed = { .csv = csv, .resume = checkpoint, .schedule = NN_STEPS, .every = 3, .steps = 12 };
        cr_assert(train(&first, NULL, NULL, NULL) == 0);
        ad_error error = { 0 };
        ad_hook_write(k);
        failed = train(&resumed, NULL, NULL, &error) != 0;
        ad_hook_write(0);
        cr_assert(!failed || strstr(error.text, "cannot write"), "%s", error.text);
        check_whole_lines(csv);
        error.text[0] = 0;
        cr_assert(train(&resumed, NULL, NULL, &error) == 0, "%s", error.text); /* and it can still go on */
        failures += failed;
        cr_assert(k < 100);
    }
    cr_assert_eq(failures, 4); /* the file written anew: once, and its closing; then two rows */
    remove(csv);
    remove(checkpoint);
}

Test(drift, a_full_device_is_told)
{
    job j = { .csv = "/dev/full", .steps = 2 };
    ad_error error = { 0 };
    cr_assert(train(&j, NULL, NULL, &error) != 0);
    cr_assert(strstr(error.text, "/dev/full: cannot write: No space left"), "%s", error.text);
    job null = { .csv = "/dev/null", .steps = 2, .checkpoint = temporary("null") }; /* it cannot be synced */
    cr_assert(train(&null, NULL, NULL, &error) == 0);
    remove(null.checkpoint);
}

Test(drift, survives_every_failed_allocation)
{
    const char *csv = temporary("memory.csv"), *checkpoint = temporary("memory");
    for (int turn = 0; turn < 2; turn++)
        for (long fail = 1, done = 0; !done; fail++) {
            job first = { .csv = csv, .checkpoint = checkpoint, .steps = 3 };
            job second = { .csv = csv, .resume = turn ? checkpoint : NULL, .steps = 5 };
            if (turn)
                cr_assert(train(&first, NULL, NULL, NULL) == 0);
            nn_net *net = mlp();
            nn_model *model = nn_model_new(net, WIDTH, 4, AD_DOUBLE, 1, NULL);
            nn_data data = data_of(NN_CROSS_ENTROPY, ROWS);
            nn_drift_spec drift = { .probes = data_of(NN_CROSS_ENTROPY, PROBES), .csv = csv };
            nn_fit_spec fit = { .loss = NN_CROSS_ENTROPY,
                                .rate = 0.3,
                                .batch = BATCH,
                                .steps = second.steps,
                                .resume = second.resume,
                                .drift = &drift };
            ad_error error = { 0 };
            ad_hook_allocation(fail);
            int failed = nn_fit(model, &data, &fit, NULL, &error);
            ad_hook_allocation(0);
            done = !failed;
            cr_assert(!failed || error.text[0]);
            cr_assert(fail < 1000);
            nn_model_free(model);
            nn_net_free(net);
        }
    check_whole_lines(csv);
    remove(csv);
    remove(checkpoint);
}
