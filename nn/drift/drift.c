/* drift.c: how far the tangent kernel has moved, and what it looks like, at one moment of training.
 *
 * In the NTK parametrization Theta_t tends to Theta_inf at n = infinity for all t, so that |Theta_t - Theta_0| is what
 * a finite network has beyond its limit: of order 1/n for smooth activations, n^(-3/4) to 1/n with kinks (THEORY 5). */
#include "nn/drift/drift.h"
#include "autodiff/base/base.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

/* ---- two kernels ---- */
double nn_distance(const double *a, const double *b, size_t rows)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < rows * rows; i++) {
        apart += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(apart / size);
}

static double mean(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

/* <a, b>, or <H a H, H b H>. With r the means of the rows, m the mean of all, and both symmetric, the latter is
 *     sum over i, j of (a_ij - r_i)(b_ij - s_i), less N times the sum over i of (r_i - m)(s_i - l). */
static double inner(const double *a, const double *b, size_t rows, bool centred)
{
    double sum = 0, middle_a = centred ? mean(a, rows * rows) : 0, middle_b = centred ? mean(b, rows * rows) : 0;
    for (size_t i = 0; i < rows; i++, a += rows, b += rows) {
        double mean_a = centred ? mean(a, rows) : 0, mean_b = centred ? mean(b, rows) : 0;
        for (size_t j = 0; j < rows; j++)
            sum += (a[j] - mean_a) * (b[j] - mean_b);
        if (centred)
            sum -= (double)rows * (mean_a - middle_a) * (mean_b - middle_b);
    }
    return sum;
}

double nn_alignment(const double *a, const double *b, size_t rows, bool centred)
{
    double aa = inner(a, a, rows, centred), bb = inner(b, b, rows, centred);
    return aa > 0 && bb > 0 ? inner(a, b, rows, centred) / sqrt(aa * bb) : (double)NAN;
}

/* ---- one kernel ---- */
struct nn_drift {
    nn_model *model;
    nn_data probes;
    const double *limit;
    nn_loss loss;
    bool started;
    size_t outputs;
    double *start, *now, *labels; /* (probes, probes) */
    double *f, *one_hot;          /* (probes, outputs), (outputs) */
    double *matrix, *values;      /* of the eigenproblem: a copy of the kernel, and its eigenvalues, rising */
    double *work;
    lapack_int work_size, *counts, counts_size;
};

/* From the eigenvalues of `now`. */
static int measure_spectrum(nn_drift *d, nn_drift_row *row, ad_error *error)
{
    size_t n = d->probes.rows;
    lapack_int size = (lapack_int)n;
    memcpy(d->matrix, d->now, n * n * sizeof *d->matrix);
    int threads = ad_blas_begin(d->model->threads);
    lapack_int failed = LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'N', 'U', size, d->matrix, size, d->values, d->work,
                                            d->work_size, d->counts, d->counts_size);
    ad_blas_end(threads);
    if (failed)
        return ad_fail(error, "drift: LAPACK found no eigenvalues of the kernel");
    double sum = 0, entropy = 0, most = d->values[n - 1];
    for (size_t i = 0; i < n; i++)
        sum += fmax(d->values[i], 0);
    for (size_t i = 0; i < n; i++) {
        double p = d->values[i] / sum;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    row->effective_rank = sum > 0 ? exp(entropy) : (double)NAN;
    row->condition = !(most > 0) ? (double)NAN : d->values[0] > 0 ? most / d->values[0] : (double)INFINITY;
    for (size_t k = 0; k < NN_EIGENVALUES; k++)
        row->eigenvalues[k] = k < n ? d->values[n - 1 - k] : (double)NAN;
    return 0;
}

int nn_drift_measure(nn_drift *d, nn_drift_row *row, ad_error *error)
{
    size_t n = d->probes.rows;
    double size = 0;
    *row = (nn_drift_row){ .batch_loss = (double)NAN, .kernel = d->now, .outputs = d->f };
    if (nn_forward(d->model, d->probes.x, n, d->f, error) != 0 ||
        nn_ntk(d->model, d->probes.x, n, NULL, 0, NN_MEAN, d->now, error) != 0)
        return -1;
    nn_score(d->loss, d->f, &d->probes, d->outputs, d->one_hot, &row->loss, &row->accuracy);
    for (size_t i = 0; i < n * n; i++)
        size += d->now[i] * d->now[i];
    if (!isfinite(size) || !isfinite(row->loss))
        return ad_fail(error, "drift: the kernel or the loss of the probes is not finite: lower --rate");
    if (!d->started)
        memcpy(d->start, d->now, n * n * sizeof *d->start);
    d->started = true;
    row->norm = sqrt(size);
    row->from_start = nn_distance(d->now, d->start, n);
    row->from_limit = d->limit ? nn_distance(d->now, d->limit, n) : (double)NAN;
    row->alignment = nn_alignment(d->now, d->start, n, false);
    row->centred_alignment = nn_alignment(d->now, d->start, n, true);
    row->label_alignment = nn_alignment(d->now, d->labels, n, false);
    row->centred_label_alignment = nn_alignment(d->now, d->labels, n, true);
    return measure_spectrum(d, row, error);
}

/* ---- the watch over one network ---- */
/* Y Y^T. */
static void fill_labels(nn_drift *d)
{
    size_t n = d->probes.rows, outputs = d->outputs;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            const double *a = nn_target_row(&d->probes, outputs, i), *b = nn_target_row(&d->probes, outputs, j);
            double sum = 0;
            for (size_t o = 0; o < outputs && !d->probes.classes; o++)
                sum += a[o] * b[o];
            d->labels[i * n + j] = d->probes.classes ? !(fabs(*a - *b) > 0) : sum;
        }
}

static int check(const nn_model *model, const nn_drift_spec *spec, nn_loss loss, ad_error *error)
{
    size_t n = spec->probes.rows;
    if (n < 2 || n > 1 << 15)
        return ad_fail(error, "drift: %zu probes: they must be from 2 to 32768", n);
    for (size_t i = 0; i < n * n && spec->limit; i++)
        if (!isfinite(spec->limit[i]))
            return ad_fail(error, "drift: the limit kernel holds a number that is not finite");
    return nn_check_data(model->net, &spec->probes, loss, error);
}

nn_drift *nn_drift_new(nn_model *model, const nn_drift_spec *spec, nn_loss loss, ad_error *error)
{
    size_t n = spec->probes.rows, outputs = nn_n_outputs(model->net);
    double best = 0;
    lapack_int size = (lapack_int)n, best_counts = 0;
    if (check(model, spec, loss, error) != 0)
        return NULL;
    nn_drift *d = ad_alloc(1, sizeof *d, "a drift", error);
    if (!d)
        return NULL;
    *d = (nn_drift){ .model = model, .probes = spec->probes, .limit = spec->limit, .loss = loss, .outputs = outputs };
    if (LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'N', 'U', size, NULL, size, NULL, &best, -1, &best_counts, -1) != 0) {
        ad_fail(error, "drift: LAPACK does not say how much room it needs");
        goto failed;
    }
    d->work_size = (lapack_int)best;
    d->counts_size = best_counts;
    struct {
        double **at;
        size_t count;
    } parts[] = { { &d->start, n * n },   { &d->now, n * n }, { &d->labels, n * n },    { &d->matrix, n * n },
                  { &d->f, n * outputs }, { &d->values, n },  { &d->one_hot, outputs }, { &d->work, (size_t)best } };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!(*parts[i].at = ad_alloc(parts[i].count, sizeof **parts[i].at, "a drift", error)))
            goto failed;
    if (!(d->counts = ad_alloc((size_t)best_counts, sizeof *d->counts, "a drift", error)))
        goto failed;
    fill_labels(d);
    return d;
failed:
    nn_drift_free(d);
    return NULL;
}

void nn_drift_free(nn_drift *d)
{
    if (!d)
        return;
    double *parts[] = { d->start, d->now, d->labels, d->matrix, d->f, d->values, d->one_hot, d->work };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        ad_free(parts[i]);
    ad_free(d->counts);
    ad_free(d);
}
