/* threads.c: how many threads BLAS and OpenMP take, and an environment that runs fast. */
#include "autodiff/autodiff.h"
#include "autodiff/base/base.h"

#include <cblas.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* OpenBLAS on OpenMP takes OpenMP's number of the calling thread at every call, so that this number, which no other
 * thread sees, is all there is to set. An OpenBLAS with threads of its own has one number for the process. */
static bool on_openmp(void)
{
    return openblas_get_parallel() == OPENBLAS_OPENMP;
}

int ad_blas_begin(int threads)
{
    int before = on_openmp() ? omp_get_max_threads() : openblas_get_num_threads();
    if (before != threads)
        ad_blas_end(threads);
    return before;
}

void ad_blas_end(int before)
{
    if (on_openmp())
        omp_set_num_threads(before);
    else if (openblas_get_num_threads() != before)
        openblas_set_num_threads(before);
}

int ad_threads(int asked, ad_error *error)
{
    if (asked <= AD_MAX_THREADS)
        return asked > 1 ? asked : 1;
    ad_fail(error, "%d threads: at most %d", asked, AD_MAX_THREADS);
    return 0;
}

void ad_start_again(char **argv, int threads)
{
    bool again = false;
    if (threads > 1 && !getenv("OMP_WAIT_POLICY"))
        again = setenv("OMP_WAIT_POLICY", "passive", 1) == 0;
    const char *core = openblas_get_corename();
    bool old = strcmp(core, "Prescott") == 0 || strcmp(core, "Core2") == 0 || strcmp(core, "Nehalem") == 0;
    if (old && !getenv("OPENBLAS_CORETYPE") && __builtin_cpu_supports("avx2"))
        again |= setenv("OPENBLAS_CORETYPE", __builtin_cpu_supports("avx512f") ? "SkylakeX" : "Haswell", 1) == 0;
    if (again)
        execv("/proc/self/exe", argv);
}
