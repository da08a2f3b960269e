/* legendre.c: Gauss-Legendre nodes and weights; those that every expectation asks for are found once. */
#include "tp/gauss/gauss.h"

#include <pthread.h>
#include <string.h>

enum { ORDERS = 11, MOST = 40 };
static const size_t orders[ORDERS] = { 8, 11, 12, 13, 16, 18, 20, 26, 28, 32, MOST };
static struct {
    double x[MOST], w[MOST];
} rules[ORDERS];
static pthread_once_t found = PTHREAD_ONCE_INIT;

static void find(size_t n, double *x, double *w)
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

static void find_all(void)
{
    for (int k = 0; k < ORDERS; k++)
        find(orders[k], rules[k].x, rules[k].w);
}

void tp_legendre(size_t n, double *x, double *w)
{
    int k = 0;
    while (k < ORDERS && orders[k] != n)
        k++;
    if (k == ORDERS) {
        find(n, x, w);
        return;
    }
    pthread_once(&found, find_all);
    memcpy(x, rules[k].x, n * sizeof *x);
    memcpy(w, rules[k].w, n * sizeof *w);
}
