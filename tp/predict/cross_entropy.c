/* cross_entropy.c: training with the cross-entropy: the coefficients by steps, or along the gradient flow.
 *
 *     a' = -rate / D g(a),   g = p - y,   p = softmax of f_0 + (K + ridge) a
 *
 * The flow is integrated by the embedded pair of Dormand and Prince, A family of embedded Runge-Kutta formulae (J.
 * Comp. Appl. Math. 6, 1980): fifth order, its difference to the fourth is the error, and the last stage is the next
 * step's first. */
#include "tp/predict/kernel_model.h"

#include <math.h>
#include <string.h>

enum { STAGES = 7, MAX_STEPS = 1000000 };

static const double nodes[STAGES][STAGES - 1] = {
    { 0 },
    { 1.0 / 5 },
    { 3.0 / 40, 9.0 / 40 },
    { 44.0 / 45, -56.0 / 15, 32.0 / 9 },
    { 19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729 },
    { 9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656 },
    { 35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84 },
};
/* of the fifth order's weights (the last line above) minus the fourth's */
static const double difference[STAGES] = { 71.0 / 57600,      0,          -71.0 / 16695, 71.0 / 1920,
                                           -17253.0 / 339200, 22.0 / 525, -1.0 / 40 };

typedef struct {
    const tp_kernel_model *model;
    const tp_training *training;
    const double *y, *start;
    size_t columns, classes, count; /* of numbers: n * columns = inputs * classes */
    double *scratch, *f;            /* f: the outputs that the last slope was found at */
} job;

/* slope = -rate / D (softmax(f) - y). */
static void find_slope(const job *j, const double *a, double *slope)
{
    double unit = j->training->rate / j->training->divisor;
    tp_model_product(j->model, a, j->columns, j->scratch, j->f);
    for (size_t i = 0; i < j->count && j->start; i++)
        j->f[i] += j->start[i];
    for (size_t row = 0; row < j->count; row += j->classes) {
        const double *f = j->f + row, *y = j->y + row;
        double largest = f[0], sum = 0;
        for (size_t o = 1; o < j->classes; o++)
            largest = fmax(largest, f[o]);
        for (size_t o = 0; o < j->classes; o++)
            sum += slope[row + o] = exp(f[o] - largest);
        for (size_t o = 0; o < j->classes; o++)
            slope[row + o] = -unit * (slope[row + o] / sum - y[o]);
    }
}

static double size_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i] * values[i];
    return sqrt(sum / (double)count);
}

/* a follows the flow from `from` to `to`; k are the stages, of which the first is the slope at a. *h is the step. */
static int flow(const job *j, double from, double to, double *h, double *a, double *next, double *k[STAGES],
                long *steps, ad_error *error)
{
    double t = from, limit = j->training->tolerance;
    while (t < to) {
        bool last = t + *h >= to;
        double step = last ? to - t : *h;
        if (++*steps > MAX_STEPS || !(t + step > t))
            return ad_fail(error,
                           "predict: the flow of the cross-entropy stands at t = %g after %ld steps: a looser "
                           "tolerance, or earlier times",
                           t, *steps);
        for (int s = 1; s < STAGES; s++) {
            for (size_t i = 0; i < j->count; i++) {
                double sum = 0;
                for (int r = 0; r < s; r++)
                    sum += nodes[s][r] * k[r][i];
                next[i] = a[i] + step * sum;
            }
            find_slope(j, next, k[s]);
        }
        double error_size = 0;
        for (size_t i = 0; i < j->count; i++) {
            double e = 0;
            for (int s = 0; s < STAGES; s++)
                e += difference[s] * k[s][i];
            error_size += e * e;
        }
        /* an error of the coefficients is at most `largest` times as large in the outputs */
        error_size =
            j->model->largest * step * sqrt(error_size / (double)j->count) / (limit * (1 + size_of(j->f, j->count)));
        bool taken = error_size <= 1;
        double factor = error_size > 0 ? 0.9 * pow(error_size, -0.2) : 5;
        if (taken) {
            double *first = k[0];
            memcpy(a, next, j->count * sizeof *a);
            k[0] = k[STAGES - 1];
            k[STAGES - 1] = first;
            t = last ? to : t + step;
        }
        if (!taken || !last || factor < 1)
            *h = step * fmin(5, fmax(0.2, factor));
        if (!isfinite(error_size))
            return ad_fail(error, "predict: the outputs leave the range of a double at t = %g", t);
    }
    return 0;
}

/* v = mu v + slope, a += v, so many times. */
static void descend(const job *j, double from, double to, double *a, double *v, double *slope)
{
    for (double t = from; t < to; t++) {
        find_slope(j, a, slope);
        for (size_t i = 0; i < j->count; i++) {
            v[i] = j->training->momentum * v[i] + slope[i];
            a[i] += v[i];
        }
    }
}

static int check_targets(const double *y, size_t inputs, size_t classes, ad_error *error)
{
    for (size_t i = 0; i < inputs; i++) {
        double sum = 0, minimum = 0;
        for (size_t o = 0; o < classes; o++) {
            sum += y[i * classes + o];
            minimum = fmin(minimum, y[i * classes + o]);
        }
        if (minimum < 0 || fabs(sum - 1) > 1e-9)
            return ad_fail(error,
                           "predict: cross-entropy: the targets of row %zu are no probabilities: their sum is %g, "
                           "the smallest is at most %g",
                           i, sum, minimum);
    }
    return 0;
}

/* Steps are taken one by one. Some hours' work is begun, and no years'. */
static int check_steps(const tp_kernel_model *m, const tp_training *t, size_t columns, double steps, ad_error *error)
{
    const double most = 1e14, one = 2.0 * (double)m->n * (double)m->n * (double)columns;
    if (t->motion == TP_GRADIENT_FLOW || steps * one <= most)
        return 0;
    return ad_fail(
        error,
        "predict: cross-entropy: %g steps of descent, one by one, are %.1e operations: at most %.0e are begun, "
        "here %.0f steps; gradient flow has steps of its own size",
        steps, steps * one, most, floor(most / one));
}

int tp_follow_entropy(const tp_kernel_model *m, const tp_training *t, const double *y, size_t columns,
                      const double *start, const double *times, size_t n_times, double *out, ad_error *error)
{
    size_t count = m->n * columns, classes = m->outputs > 1 ? m->outputs : columns;
    if (check_targets(y, count / classes, classes, error) ||
        (n_times && check_steps(m, t, columns, times[n_times - 1], error)))
        return -1;
    double *memory = ad_alloc((STAGES + 4) * count, sizeof *memory, "training with the cross-entropy", error);
    if (!memory)
        return -1;
    double *a = memory, *next = a + count, *k[STAGES];
    job j = { .model = m,
              .training = t,
              .y = y,
              .start = start,
              .columns = columns,
              .classes = classes,
              .count = count,
              .scratch = next + count,
              .f = next + 2 * count };
    for (int s = 0; s < STAGES; s++)
        k[s] = memory + (size_t)(s + 4) * count;
    double at = 0, h = 0.1 * t->divisor / (t->rate * m->largest);
    long steps = 0;
    int status = 0;
    if (t->motion == TP_GRADIENT_FLOW)
        find_slope(&j, a, k[0]);
    for (size_t i = 0; i < n_times && !status; i++) {
        if (t->motion == TP_GRADIENT_FLOW)
            status = flow(&j, at, times[i], &h, a, next, k, &steps, error);
        else
            descend(&j, at, times[i], a, next, k[0]);
        at = times[i];
        memcpy(out + i * count, a, count * sizeof *out);
    }
    ad_free(memory);
    return status;
}
