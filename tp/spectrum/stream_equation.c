/* stream_equation.c: the equations of streams, and Newton's method on them in the logarithms of all unknowns, with a
 * matrix of derivatives that Broyden's updates carry along. */
#include "autodiff/base/base.h"
#include "tp/spectrum/streams.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

/* glibc 2.36 has it for gcc alone; clang knows the builtin, too. */
#ifndef CMPLX
#define CMPLX(re, im) __builtin_complex((double)(re), (double)(im))
#endif

/* 1/x, for x far from the ends of a double's range: half of the time that C's division takes. */
static inline double complex inverse(double complex x)
{
    double re = creal(x), im = cimag(x), size = 1 / (re * re + im * im);
    return CMPLX(re * size, -im * size);
}

static inline double complex product(double complex x, double complex y)
{
    return CMPLX(creal(x) * creal(y) - cimag(x) * cimag(y), creal(x) * cimag(y) + cimag(x) * creal(y));
}

static double square_at(const tp_event *e, size_t i)
{
    return e->factor * e->factor * (e->squares ? e->squares[i] : 1);
}

/* a_k or b_k of an event; u has log a_0, log b_0, log a_1, ... */
static double complex coupling(const tp_event *e, double complex z, const double complex *u)
{
    if (e->matrix == TP_ENDS)
        return e->kind == TP_ENTERS ? 1 : 1 / z;
    return cexp(u[2 * e->matrix + (e->kind == TP_READS)]);
}

/* R before each event and Y after it, by event and sample. */
static void fill_stream(const tp_cavity *c, const tp_stream *s, double complex z, const double complex *u)
{
    size_t n = s->samples;
    for (size_t i = 0; i < n; i++)
        c->r[i] = c->y[(size_t)(s->n - 1) * n + i] = 0;
    for (int k = 0; k + 1 < s->n; k++) {
        const tp_event *e = &s->events[k];
        double complex w = e->kind == TP_TIMES ? 1 : coupling(e, z, u), *r = c->r + (size_t)k * n;
        for (size_t i = 0; i < n; i++)
            r[n + i] = e->kind == TP_ENTERS  ? r[i] + w
                       : e->kind == TP_TIMES ? square_at(e, i) * r[i]
                                             : product(r[i], inverse(1 - square_at(e, i) * product(w, r[i])));
    }
    for (int k = s->n - 1; k > 0; k--) {
        const tp_event *e = &s->events[k];
        double complex w = e->kind == TP_TIMES ? 1 : coupling(e, z, u), *y = c->y + (size_t)k * n;
        for (size_t i = 0; i < n; i++)
            (y - n)[i] = e->kind == TP_ENTERS  ? product(y[i], inverse(1 - product(w, y[i])))
                         : e->kind == TP_TIMES ? square_at(e, i) * y[i]
                                               : y[i] + w * square_at(e, i);
    }
}

/* The right sides at u: next (unknowns, as numbers, not logarithms), and M. */
static double complex right_sides(const tp_cavity *c, double complex log_z, const double complex *u,
                                  double complex *next)
{
    double complex z = cexp(log_z), m = 0;
    for (int q = 0; q < c->streams->n; q++) {
        const tp_stream *s = &c->streams->streams[q];
        size_t n = s->samples;
        fill_stream(c, s, z, u);
        for (int k = 0; k < s->n; k++) {
            const tp_event *e = &s->events[k];
            double complex sum = 0, w = e->kind == TP_TIMES ? 0 : coupling(e, z, u);
            const double complex *r = c->r + (size_t)k * n, *y = c->y + (size_t)k * n;
            for (size_t i = 0; i < n && e->kind == TP_READS; i++)
                sum += square_at(e, i) * product(r[i], inverse(1 - product(r[i], y[i] + w * square_at(e, i))));
            for (size_t i = 0; i < n && e->kind == TP_ENTERS && e->matrix != TP_ENDS; i++)
                sum += product(y[i], inverse(1 - product(y[i], r[i] + w)));
            sum /= (double)n;
            if (e->kind == TP_READS && e->matrix == TP_ENDS) {
                m = sum / z;
            } else if (e->kind != TP_TIMES && e->matrix != TP_ENDS) {
                const tp_stream_matrix *of = &c->streams->matrices[e->matrix];
                next[2 * e->matrix + (e->kind == TP_ENTERS)] =
                    sum * of->variance * (e->kind == TP_ENTERS ? of->out / of->in : 1);
            }
        }
    }
    return m;
}

/* log(right side) - u; returns its size. */
static double residual(const tp_cavity *c, double complex log_z, const double complex *u, double complex *f,
                       double complex *m)
{
    double most = 0;
    double complex found = right_sides(c, log_z, u, f);
    for (int k = 0; k < c->unknowns; k++) {
        f[k] = clog(f[k] / cexp(u[k]));
        most = isfinite(cabs(f[k])) ? fmax(most, cabs(f[k])) : INFINITY;
    }
    if (m)
        *m = found;
    return most;
}

/* The inverse of the derivatives of the residual at u, where it is f. */
static bool differentiate(tp_cavity *c, double complex log_z, double complex *u, const double complex *f)
{
    const double h = 1e-7;
    lapack_int n = c->unknowns, pivots[TP_MOST_CAVITY];
    double complex *matrix = c->work, *column = c->tangent;
    for (int k = 0; k < n; k++) {
        double complex at = u[k];
        u[k] += h;
        residual(c, log_z, u, column, NULL);
        u[k] = at;
        for (int i = 0; i < n; i++)
            matrix[i * n + k] = (column[i] - f[i]) / h;
    }
    for (int i = 0; i < n * n; i++)
        c->jacobian[i] = i % (n + 1) == 0;
    int before = ad_blas_begin(1);
    c->known = LAPACKE_zgesv(LAPACK_ROW_MAJOR, n, n, (lapack_complex_double *)matrix, n, pivots,
                             (lapack_complex_double *)c->jacobian, n) == 0;
    ad_blas_end(before);
    return c->known;
}

/* step = -inverse f */
static double find_step(const tp_cavity *c, const double complex *f, double complex *step)
{
    double most = 0;
    for (int i = 0; i < c->unknowns; i++) {
        step[i] = 0;
        for (int k = 0; k < c->unknowns; k++)
            step[i] -= c->jacobian[i * c->unknowns + k] * f[k];
        most = fmax(most, cabs(step[i]));
    }
    return most;
}

/* Broyden's: the inverse maps the change of f to the step. */
static void update(tp_cavity *c, const double complex *step, const double complex *change)
{
    int n = c->unknowns;
    double complex *mapped = c->work, *row = c->work + n, size = 0;
    for (int i = 0; i < n; i++) {
        mapped[i] = row[i] = 0;
        for (int k = 0; k < n; k++) {
            mapped[i] += c->jacobian[i * n + k] * change[k];
            row[i] += conj(step[k]) * c->jacobian[k * n + i];
        }
        size += conj(step[i]) * mapped[i];
    }
    for (int i = 0; i < n && cabs(size) > 0; i++)
        for (int k = 0; k < n; k++)
            c->jacobian[i * n + k] += (step[i] - mapped[i]) * row[k] / size;
}

bool tp_cavity_solve(tp_cavity *c, double complex log_z, double complex *u, double complex *m)
{
    enum { STEPS = 60, FRESH = 4 };
    const double small = 1e-10, slack = 1e-7;
    int n = c->unknowns, fresh = 0;
    double complex *f = c->next, *step = c->next + n, *before = step + n;
    double off = residual(c, log_z, u, f, m);
    for (int k = 0; k < STEPS && off > small && isfinite(off); k++) {
        if (!c->known && (fresh++ == FRESH || !differentiate(c, log_z, u, f)))
            return false;
        double size = find_step(c, f, step), length = size > 0.5 ? 0.5 / size : 1;
        for (int i = 0; i < n; i++) {
            before[i] = f[i];
            step[i] *= length;
            u[i] += step[i];
        }
        double last = off;
        off = residual(c, log_z, u, f, m);
        for (int i = 0; i < n; i++)
            before[i] = f[i] - before[i];
        if (off > 0.3 * last && length >= 1)
            c->known = false;
        else if (isfinite(off))
            update(c, step, before);
    }
    if (!(off <= small)) {
        c->known = false;
        return false;
    }
    for (int i = 0; i < n; i++)
        if (cimag(u[i]) > slack || cimag(u[i]) < -3.14159265358979323846 - slack)
            return c->known = false;
    return cimag(*m) <= slack * cabs(*m);
}

bool tp_cavity_enter(tp_cavity *c, double at, double complex *u, double complex *m)
{
    double angle = 1.5, x = fmax(at, 0) + 12;
    double complex *next = c->next;
    c->known = false;
    for (int k = 0; k < c->unknowns; k++)
        u[k] = -0.1 * I;
    for (int round = 0; round < 100; round++) {
        right_sides(c, x + I * angle, u, next);
        for (int k = 0; k < c->unknowns; k++)
            u[k] = clog(next[k]);
    }
    if (!tp_cavity_solve(c, x + I * angle, u, m))
        return false;
    while (x > at) {
        x = fmax(at, x - 0.5);
        if (!tp_cavity_solve(c, x + I * angle, u, m))
            return false;
    }
    while (angle > 0) {
        angle = angle > 0.005 ? angle / 1.5 : 0;
        if (!tp_cavity_solve(c, at + I * angle, u, m))
            return false;
    }
    return true;
}

int tp_cavity_open(tp_cavity *c, const tp_streams *streams, ad_error *error)
{
    size_t most = 0, n = 2 * (size_t)streams->n_matrices;
    for (int k = 0; k < streams->n; k++)
        most = (size_t)streams->streams[k].n * streams->streams[k].samples > most
                   ? (size_t)streams->streams[k].n * streams->streams[k].samples
                   : most;
    *c = (tp_cavity){ .streams = streams, .unknowns = (int)n };
    if (n > TP_MOST_CAVITY)
        return ad_fail(error, "spectrum: more than %d matrices between sums: no density", (int)TP_MOST_CAVITY / 2);
    if (!(c->r = ad_alloc(2 * most + 2 * n * n + 5 * n, sizeof *c->r, "a density", error)))
        return -1;
    c->y = c->r + most;
    c->jacobian = c->y + most;
    c->work = c->jacobian + n * n;
    c->tangent = c->work + n * n + n;
    c->next = c->tangent + n;
    return 0;
}

void tp_cavity_close(tp_cavity *c)
{
    ad_free(c->r);
    *c = (tp_cavity){ 0 };
}
