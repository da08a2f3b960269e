/* estimate.c: a smooth density of log lambda that has given moments: of all such, the one of the largest entropy
 * relative to a gamma law of the first two (Mead and Papanicolaou, J. Math. Phys. 25, 1984). It is an estimate:
 * other densities have the same moments. */
#include "autodiff/base/base.h"
#include "tp/spectrum/inside.h"

#include <float.h>
#include <lapacke.h>
#include <math.h>

enum { POINTS = 2000, MOST = 4 };

typedef struct {
    int count;
    double top; /* lambda is counted in it */
    double at[POINTS], base[POINTS], p[POINTS], wanted[MOST], step;
} fit;

/* Masses at theta, which sum to 1; the logarithm of their sum before, minus theta times the wanted moments, which is
 * least where the moments are. */
static double masses(fit *f, const double *theta)
{
    double sum = 0, most = -INFINITY, potential = 0;
    for (int i = 0; i < POINTS; i++) {
        double power = 1, log_p = f->base[i];
        for (int k = 0; k < f->count; k++)
            log_p += theta[k] * (power *= exp(f->at[i]) / f->top);
        f->p[i] = log_p;
        most = fmax(most, log_p);
    }
    for (int i = 0; i < POINTS; i++)
        sum += f->p[i] = exp(f->p[i] - most);
    for (int i = 0; i < POINTS; i++)
        f->p[i] /= sum;
    for (int k = 0; k < f->count; k++)
        potential -= theta[k] * f->wanted[k];
    return log(sum) + most + potential;
}

/* Newton's method; false where it does not come to the moments. */
static bool solve(fit *f)
{
    double theta[MOST] = { 0 }, now = masses(f, theta);
    for (int round = 0; round < 200; round++) {
        double means[2 * MOST + 1] = { 0 }, matrix[MOST * MOST], step[MOST], off = 0;
        for (int i = 0; i < POINTS; i++) {
            double power = f->p[i];
            for (int k = 0; k <= 2 * f->count; k++, power *= exp(f->at[i]) / f->top)
                means[k] += power;
        }
        for (int k = 0; k < f->count; k++) {
            step[k] = f->wanted[k] - means[k + 1];
            off = fmax(off, fabs(step[k]) / f->wanted[k]);
            for (int j = 0; j < f->count; j++)
                matrix[k * f->count + j] = means[k + j + 2] - means[k + 1] * means[j + 1] + (j == k ? 1e-15 : 0);
        }
        if (off < 1e-8)
            return true;
        if (LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', f->count, 1, matrix, f->count, step, 1))
            return false;
        double length = 1, next[MOST], there = INFINITY;
        for (; length > 1e-8; length /= 2) {
            for (int k = 0; k < f->count; k++)
                next[k] = theta[k] + length * step[k];
            there = masses(f, next);
            if (there < now + 1e-13)
                break;
        }
        for (int k = 0; k < f->count; k++)
            theta[k] = next[k];
        now = there;
    }
    return false;
}

int tp_spectrum_estimate(const tp_spectrum *s, size_t n, const double *log_lambda, double *per_log, ad_error *error)
{
    if (!s || s->n_moments < 2 || !(s->moments[1] > s->moments[0] * s->moments[0]))
        return ad_fail(error, "spectrum: an estimate is of two moments or more");
    fit *f = ad_alloc(1, sizeof *f, "an estimate", error);
    if (!f)
        return -1;
    double mean = s->moments[0], shape = mean * mean / (s->moments[1] - mean * mean);
    bool solved = false;
    for (f->count = s->n_moments < MOST ? s->n_moments : MOST; f->count >= 2 && !solved; f->count -= !solved) {
        f->top = 2 * s->moments[f->count - 1] / s->moments[f->count - 2];
        double low = log(mean) - 4 - 12 / fmin(shape, 3), high = log(2 * f->top);
        f->step = (high - low) / POINTS;
        for (int i = 0; i < POINTS; i++) {
            f->at[i] = low + (i + 0.5) * f->step;
            f->base[i] = shape * f->at[i] - shape * exp(f->at[i]) / mean;
        }
        for (int k = 0; k < f->count; k++)
            f->wanted[k] = s->moments[k] / pow(f->top, k + 1);
        solved = solve(f);
    }
    for (size_t i = 0; i < n && solved; i++) {
        double place = (log_lambda[i] - f->at[0]) / f->step, inside = fmin(fmax(place, 0), POINTS - 1.001);
        int k = (int)inside;
        per_log[i] = fabs(place - inside) > 0.5 ? 0 : (f->p[k] + (inside - k) * (f->p[k + 1] - f->p[k])) / f->step;
    }
    int count = f->count;
    ad_free(f);
    return solved ? count : ad_fail(error, "spectrum: no smooth density with these moments is found");
}
