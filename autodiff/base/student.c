/* student.c: Student's law, for means that come with an error of their own. */
#include "autodiff/base.h"

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
