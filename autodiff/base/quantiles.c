/* quantiles.c: of Student's law, for means that come with an error of their own, and of the normal law. */
#include "autodiff/base/base.h"

#include <math.h>

/* P(|T| > t) for a whole number of degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4): a finite sum. */
static double beyond(double t, int freedom)
{
    double theta = atan(t / sqrt(freedom)), cosine = cos(theta), term = freedom % 2 ? cosine : 1, sum = 0;
    for (int k = freedom % 2 ? 3 : 2; k <= freedom; k += 2) {
        sum += term;
        term *= cosine * cosine * (k - 1) / k;
    }
    return 1 - (freedom % 2 ? 2 / acos(-1) * (theta + sin(theta) * sum) : sin(theta) * sum);
}

double ad_student(double tail, int freedom)
{
    double low = 0, high = 1;
    if (freedom < 1 || !(tail >= 1e-12) || !(tail <= 1))
        return (double)NAN;
    while (beyond(high, freedom) > tail)
        high *= 2;
    for (int k = 0; k < 100; k++) {
        double middle = (low + high) / 2;
        *(beyond(middle, freedom) > tail ? &low : &high) = middle;
    }
    return high;
}

double ad_stated_factor(int runs)
{
    const double beyond_three = 0.0026998; /* of a normal variable */
    return runs > 1 ? ad_student(beyond_three, runs - 1) / 3 : (double)NAN;
}

/* By simulation of normal runs, over all ratios of spread and tolerance, 95 % intervals of runs that end once their own
 * error is small hold 92.6 %, and with this factor 95.3 %; 99.73 % intervals 99.51 %, and with it 99.73 %. */
double ad_stopping_factor(bool stops)
{
    return stops ? 1.15 : 1;
}

double ad_normal_quantile(double p, double near)
{
    const double sqrt_half = 0.70710678118654752440, root = 2.50662827463100050242;
    double x = near;
    for (int step = 0; step < 64; step++) {
        double off = (0.5 * erfc(-x * sqrt_half) - p) * root * exp(x * x / 2), by = off / (1 + x * off / 2);
        x -= by;
        if (fabs(by) < 1e-7 * (1 + fabs(x))) /* the next step is of its third power */
            break;
    }
    return x;
}
