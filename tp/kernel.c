/* kernel.c: a limit kernel that is there: its end, its value at a width, whether it converges. */
#include "autodiff/base/base.h"
#include "tp/tp.h"

#include <math.h>
#include <string.h>

void tp_kernel_free(tp_kernel *kernel)
{
    if (!kernel)
        return;
    for (int k = 0; k < kernel->n_terms; k++)
        ad_free(kernel->terms[k].values);
    ad_free(kernel->deviations);
    memset(kernel, 0, sizeof *kernel);
}

void tp_kernel_at(const tp_kernel *kernel, double n, double *out)
{
    size_t count = kernel->rows * kernel->rows2;
    memset(out, 0, count * sizeof *out);
    for (int k = 0; k < kernel->n_terms; k++) {
        double factor = pow(n, kernel->terms[k].power);
        for (size_t i = 0; i < count; i++)
            out[i] += factor * kernel->terms[k].values[i];
    }
}

bool tp_kernel_converges(const tp_kernel *kernel)
{
    for (int k = 0; k < kernel->n_terms; k++)
        if (fabs(kernel->terms[k].power) > 1e-9)
            return false;
    return true;
}
