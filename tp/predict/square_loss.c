/* square_loss.c: the square loss, mode by mode: coefficients, covariance of an ensemble, scores. */
#include "tp/predict/kernel_model.h"
#include "tp/ranks/ranks.h"

#include "autodiff/base/base.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

static double preset(double value, double otherwise)
{
    return fabs(value) > 0 ? value : otherwise;
}

int tp_training_settle(const tp_kernel_model *m, tp_training *t, size_t columns, ad_error *error)
{
    double inputs = (double)(m->n / m->outputs);
    t->rate = preset(t->rate, 1);
    t->momentum = t->motion == TP_MOMENTUM ? preset(t->momentum, 0.9) : 0;
    t->divisor = preset(t->divisor, t->loss == NN_SQUARE ? (double)(m->n * columns) : inputs);
    t->tolerance = preset(t->tolerance, 1e-10);
    if (!(t->rate > 0 && isfinite(t->rate) && t->divisor > 0 && isfinite(t->divisor) && t->tolerance > 0))
        return ad_fail(error, "predict: rate %g, divisor %g or tolerance %g is not positive", t->rate, t->divisor,
                       t->tolerance);
    if (!(t->momentum >= 0 && t->momentum < 1))
        return ad_fail(error, "predict: momentum %g is not from 0 to 1", t->momentum);
    return 0;
}

double tp_maximum_stable_rate(const tp_kernel_model *m, const tp_training *given, size_t columns)
{
    tp_training t = *given;
    if (tp_training_settle(m, &t, columns, NULL))
        return (double)NAN;
    return (t.loss == NN_SQUARE ? 2 : 4) * (1 + t.momentum) * t.divisor / m->largest;
}

static int check_number(const tp_training *t, double time, ad_error *error)
{
    if (!(time >= 0))
        return ad_fail(error, "predict: time %g is not from 0 up", time);
    if (t->motion != TP_GRADIENT_FLOW && isfinite(time) && (floor(time) < time || time > 1e15))
        return ad_fail(error, "predict: %g is no whole number of steps", time);
    return 0;
}

/* ---- one mode ---- */
/* (s, v) -> A (s, v) + b, and that so many times by squaring. s_t = (1 - q_t) / h has s_t+1 = s_t + v_t+1,
 * v_t+1 = mu v_t + 1 - h s_t: a sum of positive numbers where h is small, and right for h = 0. */
typedef struct {
    double a[2][2], b[2];
} affine;

static affine after(const affine *second, const affine *first)
{
    affine r;
    for (int i = 0; i < 2; i++) {
        r.b[i] = second->b[i];
        for (int k = 0; k < 2; k++) {
            r.a[i][k] = second->a[i][0] * first->a[0][k] + second->a[i][1] * first->a[1][k];
            r.b[i] += second->a[i][k] * first->b[k];
        }
    }
    return r;
}

static double steps(double h, double mu, double t)
{
    affine one = { { { 1 - h, mu }, { -h, mu } }, { 1, 1 } }, all = { { { 1, 0 }, { 0, 1 } }, { 0, 0 } };
    for (uint64_t left = (uint64_t)t; left; left >>= 1) {
        if (left & 1)
            all = after(&one, &all);
        one = after(&one, &one);
    }
    return all.b[0];
}

/* (1 - q_t) / lambda. */
static double gain(const tp_training *t, double lambda, double time)
{
    double unit = t->rate / t->divisor, h = unit * lambda;
    if (isinf(time))
        return 1 / lambda;
    if (t->motion == TP_GRADIENT_FLOW)
        return h * time > 0 ? -expm1(-h * time) / lambda : unit * time;
    return unit * steps(h, t->momentum, time);
}

/* A mode of a singular kernel that its error hides moves outputs by rate t / D times that error at most, to first
 * order. Told are numbers of five digits: 1e-3 is far below what an error that is a bound does, while one of samples
 * is a typical size, and 100 times it no more than such kernels say of times at all. */
static int check_hidden(const tp_kernel_model *m, const tp_training *t, double time, ad_error *error)
{
    double share = fmin(1, fmax(1e-3, 100 * m->error));
    double longest = share * t->divisor * (1 - t->momentum) / (t->rate * tp_model_resolution(m));
    return !isinf(m->condition) || time <= longest
               ? 0
               : ad_fail(error,
                         "predict: t = %g is too long for a singular kernel: eigenvalues below %.2g, which it does not "
                         "tell from 0, would train by then: times up to %.2g, or a --ridge",
                         time, tp_model_resolution(m), longest);
}

/* A finite time needs the eigenvalues; an infinite one a kernel that can be inverted and a rate that is stable. */
static int check_limit(const tp_kernel_model *m, const tp_training *t, size_t columns, double time, ad_error *error)
{
    double maximum = tp_maximum_stable_rate(m, t, columns);
    if (m->band && t->motion != TP_GRADIENT_FLOW)
        return ad_fail(error,
                       "predict: descent and momentum need the kernel's eigenvectors, a band form is for gradient "
                       "flow alone");
    if (isfinite(time))
        return m->values || m->band
                   ? check_hidden(m, t, time, error)
                   : ad_fail(error,
                             "predict: t = %g needs the kernel's eigenvalues, Cholesky's factor is for t = "
                             "inf alone",
                             time);
    if (isinf(m->condition))
        return tp_model_refuse(m, "singular", m->smallest, error);
    if (t->motion != TP_GRADIENT_FLOW && t->rate >= maximum)
        return ad_fail(error, "predict: no limit at t = inf: rate %g is not below %g, the largest stable one", t->rate,
                       maximum);
    return 0;
}

/* Of a settled training. */
static int check_time(const tp_kernel_model *m, const tp_training *t, size_t columns, double time, ad_error *error)
{
    if (check_number(t, time, error))
        return -1;
    if (t->loss == NN_SQUARE)
        return check_limit(m, t, columns, time, error);
    return isinf(time)
               ? ad_fail(error, "predict: t = inf: outputs trained with the cross-entropy grow without end; finite "
                                "times alone, or the square loss")
               : check_hidden(m, t, time, error);
}

int tp_check_time(const tp_kernel_model *m, const tp_training *given, size_t columns, double time, ad_error *error)
{
    tp_training t = *given;
    return tp_training_settle(m, &t, columns, error) || check_time(m, &t, columns, time, error) ? -1 : 0;
}

/* ---- coefficients ---- */
/* What tp_band_gain takes for a time. */
static double unit_of(const tp_training *t, double time)
{
    return t->rate / t->divisor * time;
}

/* The same by the band form. */
static int solve_by_band(const tp_kernel_model *m, const tp_training *t, const double *residual, size_t columns,
                         const double *times, size_t n_times, double *out, ad_error *error)
{
    size_t count = m->n * columns;
    double *turned = ad_alloc(count, sizeof *turned, "the modes of training", error);
    int before = ad_blas_begin(m->threads);
    if (turned)
        memcpy(turned, residual, count * sizeof *turned);
    tp_vectors sides = { turned, columns, false };
    int status = turned ? tp_band_turn(m, false, &sides, error) : -1;
    for (size_t k = 0; k < n_times && !status; k++, out += count) {
        status = tp_band_gain(m, unit_of(t, times[k]), &sides, out, error);
        if (!status)
            status = tp_band_turn(m, true, &(tp_vectors){ out, columns, false }, error);
    }
    ad_blas_end(before);
    ad_free(turned);
    return status;
}

/* The same over ranks, by eigenvectors or Cholesky. */
static int solve_spread(const tp_kernel_model *m, const tp_training *t, const double *residual, size_t columns,
                        const double *times, size_t n_times, double *out, ad_error *error)
{
    size_t count = m->n * columns;
    double *modes = ad_alloc(2 * count, sizeof *modes, "the modes of training", error);
    int status = tp_ranks_agree(modes ? 0 : -1, error), before = ad_blas_begin(m->threads);
    if (!status && m->values)
        status = tp_spread_multiply(m->spread, true, residual, columns, modes, error);
    for (size_t k = 0; k < n_times && !status; k++, out += count) {
        if (!m->values) {
            memcpy(out, residual, count * sizeof *out);
            status = tp_spread_divide(m->spread, out, columns, error);
            continue;
        }
        for (size_t i = 0; i < count; i++)
            modes[count + i] = gain(t, m->values[i / columns], times[k]) * modes[i];
        status = tp_spread_multiply(m->spread, false, modes + count, columns, out, error);
    }
    ad_blas_end(before);
    ad_free(modes);
    return status;
}

/* a_t = E' gain(lambda) E (y - f_0); by Cholesky U^-1 U'^-1 (y - f_0). */
static int solve_square(const tp_kernel_model *m, const tp_training *t, const double *residual, size_t columns,
                        const double *times, size_t n_times, double *out, ad_error *error)
{
    int n = (int)m->n, wide = (int)columns;
    size_t count = m->n * columns;
    double *modes = NULL, *weighed = NULL;
    if (m->spread)
        return solve_spread(m, t, residual, columns, times, n_times, out, error);
    if (m->band)
        return solve_by_band(m, t, residual, columns, times, n_times, out, error);
    if (m->values && (!(modes = ad_alloc(2 * count, sizeof *modes, "the modes of training", error))))
        return -1;
    weighed = modes ? modes + count : NULL;
    int before = ad_blas_begin(m->threads);
    if (modes)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, wide, n, 1, m->factor, n, residual, wide, 0, modes,
                    wide);
    for (size_t k = 0; k < n_times; k++, out += count) {
        if (!modes) {
            memcpy(out, residual, count * sizeof *out);
            for (int turn = 0; turn < 2; turn++)
                cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, turn ? CblasNoTrans : CblasTrans, CblasNonUnit, n,
                            wide, 1, m->factor, n, out, wide);
            continue;
        }
        for (size_t i = 0; i < m->n; i++) {
            double g = gain(t, m->values[i], times[k]);
            for (size_t c = 0; c < columns; c++)
                weighed[i * columns + c] = g * modes[i * columns + c];
        }
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, wide, n, 1, m->factor, n, weighed, wide, 0, out, wide);
    }
    ad_blas_end(before);
    ad_free(modes);
    return 0;
}

int tp_coefficients(const tp_kernel_model *m, const tp_training *given, const double *y, size_t columns,
                    const double *start, const double *times, size_t n_times, double *out, ad_error *error)
{
    tp_training t = *given;
    size_t count = m->n * columns;
    if (columns == 0 || columns > INT32_MAX / 8 || (m->outputs > 1 && columns > 1))
        return ad_fail(error, "predict: %zu columns of targets", columns);
    if (m->spread && t.loss == NN_CROSS_ENTROPY)
        return ad_fail(error, "predict: the cross-entropy takes a kernel that is whole, not one over ranks");
    if (m->band && t.loss == NN_CROSS_ENTROPY)
        return ad_fail(error, "predict: the cross-entropy takes eigenvalues or Cholesky's factor, no band form");
    if (tp_training_settle(m, &t, columns, error) || tp_check_finite("targets", y, m->n, columns, error) ||
        tp_check_finite("outputs at the start", start, m->n, columns, error))
        return -1;
    for (size_t k = 0; k < n_times; k++) {
        if (check_time(m, &t, columns, times[k], error))
            return -1;
        if (k && times[k] < times[k - 1])
            return ad_fail(error, "predict: time %g comes after %g", times[k], times[k - 1]);
    }
    if (t.loss == NN_CROSS_ENTROPY) {
        if (tp_follow_entropy(m, &t, y, columns, start, times, n_times, out, error))
            return -1;
    } else {
        double *residual = ad_alloc(count, sizeof *residual, "residuals", error);
        for (size_t i = 0; i < count && residual; i++)
            residual[i] = y[i] - (start ? start[i] : 0);
        int status = residual ? 0 : -1;
        if (m->spread)
            status = tp_ranks_agree(status, error);
        status = !status ? solve_square(m, &t, residual, columns, times, n_times, out, error) : -1;
        ad_free(residual);
        if (status)
            return -1;
    }
    for (size_t i = 0; i < n_times * count; i++)
        if (!isfinite(out[i]))
            return ad_fail(error, "predict: training diverges before t = %g: rate %g, the largest stable one is %g",
                           times[i / count], t.rate, tp_maximum_stable_rate(m, &t, columns));
    return 0;
}

/* ---- an ensemble's covariance ---- */
/* out[i, j] (or out[i]) += factor * sum_k left[i, k] right[j, k]. */
static void add_products(size_t rows, size_t n, double factor, const double *left, const double *right, bool diagonal,
                         double *out)
{
    if (!diagonal) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)rows, (int)n, factor, left, (int)n, right,
                    (int)n, 1, out, (int)rows);
        return;
    }
    for (size_t i = 0; i < rows; i++)
        out[i] += factor * cblas_ddot((int)n, left + i * n, 1, right + i * n, 1);
}

/* Each row of x in the eigenvectors' basis, or back. */
static void turn(const tp_kernel_model *m, const double *x, size_t rows, bool back, double *out)
{
    int n = (int)m->n;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, back ? CblasNoTrans : CblasTrans, (int)rows, n, n, 1, x, n, m->factor, n,
                0, out, n);
}

/* Other inputs' rows of the kernel as the model's form has them, once for all times: in the eigenvectors' basis, turned
 * by Q, or for Cholesky as they are. */
static int prepare(const tp_kernel_model *m, const double *cross, size_t rows, double *modes, ad_error *error)
{
    if (m->values && !m->band) {
        turn(m, cross, rows, false, modes);
        return 0;
    }
    memcpy(modes, cross, rows * m->n * sizeof *modes);
    return m->band ? tp_band_turn(m, false, &(tp_vectors){ modes, rows, true }, error) : 0;
}

/* The readout alone: out -= cross (1 - q^2) / lambda cross', with (1 - q^2) / lambda = gain (2 - lambda gain), which
 * flow has at twice the time. */
static int reduce_own(const tp_kernel_model *m, const tp_training *t, double time, double *modes, size_t rows,
                      bool diagonal, double *weighed, double *out, ad_error *error)
{
    if (m->band) {
        tp_vectors sides = { modes, rows, true };
        if (tp_band_gain(m, 2 * unit_of(t, time), &sides, weighed, error))
            return -1;
        add_products(rows, m->n, -1, weighed, modes, diagonal, out);
        return 0;
    }
    if (!m->values) {
        memcpy(weighed, modes, rows * m->n * sizeof *weighed);
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit, (int)rows, (int)m->n, 1,
                    m->factor, (int)m->n, weighed, (int)m->n); /* cross U^-1 */
        add_products(rows, m->n, -1, weighed, weighed, diagonal, out);
        return 0;
    }
    for (size_t k = 0; k < m->n; k++) {
        double g = gain(t, m->values[k], time), w = g * (2 - m->values[k] * g);
        for (size_t i = 0; i < rows; i++)
            weighed[i * m->n + k] = w * modes[i * m->n + k];
    }
    add_products(rows, m->n, -1, weighed, modes, diagonal, out);
    return 0;
}

/* A = cross (1 - q) / lambda into a; scratch is of the same size. */
static int smooth(const tp_kernel_model *m, const tp_training *t, double time, double *modes, size_t rows, double *a,
                  double *scratch, ad_error *error)
{
    if (m->band) {
        tp_vectors sides = { modes, rows, true };
        return tp_band_gain(m, unit_of(t, time), &sides, a, error) ||
               tp_band_turn(m, true, &(tp_vectors){ a, rows, true }, error);
    }
    if (!m->values) {
        memcpy(a, modes, rows * m->n * sizeof *a);
        for (int k = 0; k < 2; k++)
            cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, k ? CblasTrans : CblasNoTrans, CblasNonUnit, (int)rows,
                        (int)m->n, 1, m->factor, (int)m->n, a, (int)m->n);
        return 0;
    }
    for (size_t k = 0; k < m->n; k++) {
        double g = gain(t, m->values[k], time);
        for (size_t i = 0; i < rows; i++)
            scratch[i * m->n + k] = g * modes[i * m->n + k];
    }
    turn(m, scratch, rows, true, a);
    return 0;
}

/* At a time, of the rows whose modes these are; a and scratch are of the same size. */
static int covariance_at(const tp_kernel_model *m, const tp_training *t, double time, double *modes, size_t rows,
                         const tp_prior *prior, double *a, double *scratch, double *out, ad_error *error)
{
    int n = (int)m->n;
    memcpy(out, prior->test, (prior->diagonal ? rows : rows * rows) * sizeof *out);
    if (!prior->train)
        return reduce_own(m, t, time, modes, rows, prior->diagonal, a, out, error);
    if (smooth(m, t, time, modes, rows, a, scratch, error))
        return -1;
    cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, (int)rows, n, 1, prior->train, n, a, n, 0, scratch, n);
    for (size_t i = 0; i < rows * m->n; i++) /* A C A' - A C' - C' A' = A (A C - C')' - C' A' */
        scratch[i] -= prior->cross[i];
    add_products(rows, m->n, 1, a, scratch, prior->diagonal, out);
    add_products(rows, m->n, -1, prior->cross, a, prior->diagonal, out);
    return 0;
}

/* Variances take rows by rows, covariances all rows together. */
int tp_covariances(const tp_kernel_model *m, const tp_training *given, size_t columns, const double *times,
                   size_t n_times, const double *cross, size_t rows, const tp_prior *prior, double *out,
                   ad_error *error)
{
    enum { TOGETHER = 512 };
    tp_training t = *given;
    size_t part = prior->diagonal && rows > TOGETHER ? TOGETHER : rows, each = prior->diagonal ? rows : rows * rows;
    if (m->spread)
        return ad_fail(error, "predict: covariances over ranks are not found whole");
    if (t.loss != NN_SQUARE)
        return ad_fail(error, "predict: an ensemble trained with the cross-entropy is no Gaussian process");
    if (tp_training_settle(m, &t, columns, error))
        return -1;
    for (size_t k = 0; k < n_times; k++)
        if (check_time(m, &t, columns, times[k], error))
            return -1;
    double *modes = ad_alloc(3 * part * m->n, sizeof *modes, "a covariance", error);
    int status = modes ? 0 : -1, before = ad_blas_begin(m->threads);
    for (size_t first = 0; first < rows && !status; first += part) {
        size_t count = rows - first < part ? rows - first : part, size = count * m->n;
        tp_prior of = *prior;
        of.test += first;
        if (of.train)
            of.cross += first * m->n;
        status = prepare(m, cross + first * m->n, count, modes, error);
        for (size_t k = 0; k < n_times && !status; k++)
            status = covariance_at(m, &t, times[k], modes, count, &of, modes + size, modes + 2 * size,
                                   out + k * each + first, error);
    }
    ad_blas_end(before);
    ad_free(modes);
    for (size_t i = 0; i < n_times * each && !status; i++)
        if (!isfinite(out[i]))
            status = ad_fail(error,
                             "predict: the covariance at t = %g leaves the range of a double: rate %g, the largest "
                             "stable one is %g",
                             times[i / each], t.rate, tp_maximum_stable_rate(m, &t, columns));
    return status;
}

int tp_covariance(const tp_kernel_model *m, const tp_training *training, size_t columns, double time,
                  const double *cross, size_t rows, const tp_prior *prior, double *out, ad_error *error)
{
    return tp_covariances(m, training, columns, &time, 1, cross, rows, prior, out, error);
}

/* ---- the same over ranks, each column of a matrix a test input ---- */
/* x = E' weighed by gain E x, or by 1 - q^2, or by Cholesky, of `from` (n, tests); scratch is of the same size. */
static int smooth_spread(const tp_kernel_model *m, const tp_training *t, double time, const tp_spread *from,
                         tp_spread *x, tp_spread *scratch, ad_error *error)
{
    size_t rows = x->local[0];
    if (!m->values) {
        memcpy(x->values, from->values, rows * x->local[1] * sizeof *x->values);
        return tp_spread_solve(m->spread, x, error);
    }
    tp_spread_product(m->spread, true, from, scratch);
    for (size_t i = 0; i < rows; i++) {
        double g = gain(t, m->values[tp_spread_whole(scratch, 0, i)], time);
        for (size_t k = 0; k < scratch->local[1]; k++)
            scratch->values[k * rows + i] *= g;
    }
    tp_spread_product(m->spread, false, scratch, x);
    return 0;
}

/* variances[test] += factor sum over rows of a b. */
static void add_columns(double factor, const tp_spread *a, const tp_spread *b, double *variances)
{
    for (size_t k = 0; k < a->local[1] && a->local[0]; k++)
        variances[tp_spread_whole(a, 1, k)] +=
            factor * cblas_ddot((int)a->local[0], a->values + k * a->local[0], 1, b->values + k * b->local[0], 1);
}

int tp_variances_spread(const tp_kernel_model *m, const tp_training *given, size_t columns, double time,
                        const tp_spread *cross, const tp_spread *train, const tp_spread *with, const double *test,
                        double *out, ad_error *error)
{
    tp_training t = *given;
    size_t tests = cross->columns;
    if (t.loss != NN_SQUARE)
        return ad_fail(error, "predict: an ensemble trained with the cross-entropy is no Gaussian process");
    if (tp_training_settle(m, &t, columns, error) || check_time(m, &t, columns, time, error))
        return -1;
    tp_spread *a = tp_spread_new(m->n, tests, cross->side, error);
    tp_spread *b = a ? tp_spread_new(m->n, tests, cross->side, error) : NULL;
    int status = b ? 0 : -1, before = ad_blas_begin(m->threads);
    memset(out, 0, tests * sizeof *out);
    if (!status)
        status = tp_ranks_agree(smooth_spread(m, &t, time, cross, a, b, error), error);
    if (!status && !train) { /* (1 - q^2) / lambda = gain (2 - lambda gain) */
        add_columns(-2, cross, a, out);
        if (m->values) {
            tp_spread_product(m->spread, true, a, b);
            for (size_t k = 0; k < b->local[1]; k++)
                for (size_t i = 0; i < b->local[0]; i++)
                    b->values[k * b->local[0] + i] *= sqrt(m->values[tp_spread_whole(b, 0, i)]);
            add_columns(1, b, b, out);
        } else {
            add_columns(1, cross, a, out);
        }
    } else if (!status) { /* A C A' - A C' - C' A' */
        tp_spread_symmetric_product(train, a, b);
        add_columns(1, a, b, out);
        add_columns(-2, with, a, out);
    }
    if (!status)
        tp_ranks_sum(out, tests);
    for (size_t i = 0; i < tests && !status; i++)
        out[i] += test[i];
    ad_blas_end(before);
    tp_spread_free(a);
    tp_spread_free(b);
    return status;
}

/* ---- scores ---- */
/* -sum_o y_o log softmax_o(f) */
static double entropy(const double *f, const double *y, size_t columns)
{
    double largest = f[0], sum = 0, weight = 0, dot = 0;
    for (size_t o = 1; o < columns; o++)
        largest = fmax(largest, f[o]);
    for (size_t o = 0; o < columns; o++) {
        sum += exp(f[o] - largest);
        weight += y[o];
        dot += y[o] * f[o];
    }
    /* cppcheck-suppress invalidFunctionArg; the largest has 1 */
    return weight * (largest + log(sum)) - dot;
}

/* The largest one's number; `count`, which is none, where one is NaN. */
static size_t largest_of(const double *values, size_t count)
{
    size_t best = 0;
    for (size_t o = 0; o < count; o++) {
        if (isnan(values[o]))
            return count;
        best = values[o] > values[best] ? o : best;
    }
    return best;
}

tp_score tp_score_of(nn_loss loss, const double *f, const double *y, const double *variance, size_t rows,
                     size_t columns, double divisor)
{
    const double two_pi = 6.283185307179586;
    double sum = 0, nll = 0, right = 0, count = (double)rows * (double)columns;
    bool square = loss == NN_SQUARE;
    for (size_t i = 0; i < rows; i++, f += columns, y += columns) {
        right += largest_of(f, columns) == largest_of(y, columns);
        if (!square)
            sum += entropy(f, y, columns);
        for (size_t o = 0; o < columns && square; o++) {
            double e = f[o] - y[o];
            sum += e * e / 2;
            if (variance)
                nll += (log(two_pi * variance[i]) + e * e / variance[i]) / 2;
        }
    }
    tp_score score = { .loss = sum / preset(divisor, square ? count : (double)rows),
                       .accuracy = columns > 1 ? right / (double)rows : (double)NAN };
    score.nll = !square ? sum / (double)rows : variance ? nll / count : (double)NAN;
    return score;
}
