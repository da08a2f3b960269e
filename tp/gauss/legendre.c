/* legendre.c: Gauss-Legendre nodes and weights. */
#include "tp/gauss/gauss.h"

void tp_legendre(size_t n, double *x, double *w)
{
    const double pi = 3.14159265358979323846, size = (double)n;
    for (size_t i = 0; i < n; i++) {
        double z = cos(pi * ((double)i + 0.75) / (size + 0.5)), slope = 1;
        for (int step = 0; step < 8; step++) {
            double p = 1, before = 0;
            for (size_t k = 0; k < n; k++) {
                double next = ((double)(2 * k + 1) * z * p - (double)k * before) / (double)(k + 1);
                before = p;
                p = next;
            }
            slope = size * (z * p - before) / (z * z - 1);
            z -= p / slope;
        }
        x[n - 1 - i] = z;
        w[n - 1 - i] = 2 / ((1 - z * z) * slope * slope);
    }
}
