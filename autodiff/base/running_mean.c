/* running_mean.c: means of runs that come one by one, and how far they may be off (Welford's sums). */
#include "autodiff/base/base.h"

#include <math.h>

void ad_add_run(const double *values, double scale, size_t count, int run, double *mean, double *squares)
{
    for (size_t i = 0; i < count; i++) {
        double value = values[i] * scale, before = value - mean[i];
        mean[i] += before / run;
        if (squares)
            squares[i] += before * (value - mean[i]);
    }
}

double ad_runs_error(const double *mean, const double *squares, size_t count, int runs)
{
    double uncertain = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        uncertain += squares[i] / ((double)runs * (runs > 1 ? runs - 1 : 1));
        size += mean[i] * mean[i];
    }
    return size > 0 ? sqrt(uncertain / size) : 0;
}

void ad_standard_errors(double *squares, size_t count, int runs)
{
    for (size_t i = 0; i < count; i++)
        squares[i] = sqrt(squares[i] / ((double)runs * (runs - 1)));
}
