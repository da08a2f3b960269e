/* fit.c: what the draws say: counts, spreads, and slopes by least squares of log distance on log width over all
 * (width, draw) points, with Student's 95 % interval. */
#include "examples/limn/report/report.h"

#include <math.h>

long report_count(const report *r, field f)
{
    return f == INITIAL ? r->draws : r->seeds;
}

/* Draws are by counter: one seed at two widths gives a parameter the same numbers from the first on, and networks that
 * go up and down together. So every width has seeds of its own, one after another in the order of the widths. */
uint64_t report_seed(const report *r, int k, long draw)
{
    return (uint64_t)(r->o->seed + k * r->draws + draw);
}

void report_spread(const double *values, long n, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (long s = 0; s < n; s++)
        sum += values[s];
    *mean = sum / (double)n;
    for (long s = 0; s < n; s++)
        squares += (values[s] - *mean) * (values[s] - *mean);
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

double report_log_mean(const report *r, field f, int k)
{
    double sum = 0;
    for (long s = 0; s < report_count(r, f); s++)
        sum += log(r->columns[k].values[f][s]);
    return sum / (double)report_count(r, f);
}

bool report_fit(const report *r, field f, double maximum, report_line *line)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0, residual = 0, m = 0;
    long count = report_count(r, f);
    int widths = 0;
    for (int pass = 0; pass < 3; pass++) /* means, then squares about them, then what is left */
        for (int k = 0; k < r->n_columns; k++) {
            if (report_log_mean(r, f, k) > log(maximum))
                continue;
            widths += pass == 0;
            for (long s = 0; s < count; s++) {
                double x = log((double)r->columns[k].n), y = log(r->columns[k].values[f][s]);
                m += pass == 0 ? 1 : 0;
                sx += pass == 0 ? x : 0;
                sy += pass == 0 ? y : 0;
                sxx += pass == 1 ? (x - sx / m) * (x - sx / m) : 0;
                sxy += pass == 1 ? (x - sx / m) * (y - sy / m) : 0;
                residual += pass == 2 ? pow(y - sy / m - sxy / sxx * (x - sx / m), 2) : 0;
            }
        }
    if (widths < 2 || m < 4)
        return false;
    double spread = sqrt(residual / (m - 2)), slope = sxy / sxx, t = ad_student(0.05, (int)m - 2);
    *line = (report_line){ .slope = slope,
                           .half = t * spread / sqrt(sxx),
                           .at = (sy - slope * sx) / m,
                           .x = sx / m,
                           .spread = spread,
                           .quantile = t,
                           .points = m,
                           .sxx = sxx,
                           .widths = widths };
    return isfinite(slope) && isfinite(line->half);
}
