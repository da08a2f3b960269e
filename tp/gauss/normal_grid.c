/* normal_grid.c: the trapezoid rule of the normal law in one dimension or two, whose error falls exponentially. */
#include "tp/gauss/gauss.h"

#include <math.h>
#include <string.h>

void tp_normal_grid(int dims, size_t n, const double *shift, double *x, double *w)
{
    const double reach = 7, root_pi2 = 2.50662827463100050242;
    size_t side = dims == 1 ? n : (size_t)sqrt((double)n + 0.5);
    double h = 2 * reach / (double)side;
    memset(w, 0, n * sizeof *w);
    memset(x, 0, (size_t)dims * n * sizeof *x);
    for (size_t i = 0; i < (dims == 1 ? n : side * side); i++) {
        size_t at[2] = { i % side, i / side };
        double squares = 0;
        for (int d = 0; d < dims; d++) {
            double value = x[(size_t)d * n + i] = h * ((double)at[d] + shift[d]) - reach;
            squares += value * value;
        }
        w[i] = pow(h / root_pi2, dims) * exp(-squares / 2);
    }
}
