/* threads.c: how many threads BLAS and OpenMP take, and an environment that runs fast. */
#include "autodiff/autodiff.h"
#include "autodiff/base/base.h"

#include <cblas.h>
#include <errno.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* OpenBLAS on OpenMP takes OpenMP's number of the calling thread at every call, so that this number, which no other
 * thread sees, is all there is to set. An OpenBLAS with threads of its own has one number for the process. */
static bool on_openmp(void)
{
    return openblas_get_parallel() == OPENBLAS_OPENMP;
}

int ad_blas_begin(int threads)
{
    int before = on_openmp() ? omp_get_max_threads() : openblas_get_num_threads(), kept = threads > 1 ? threads : 1;
    if (before != kept)
        ad_blas_end(kept);
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

/* OpenBLAS's own, in no header: memory of a thread that multiplies. It asks again and again, for ever, where the system
 * has none, and has places for some hundreds. What is given back stays with it. */
__attribute__((weak)) void *blas_memory_alloc(int);
__attribute__((weak)) void blas_memory_free(void *);

/* Starts so many threads, and takes a buffer for each as one of OpenBLAS's threads and as one of limn's: either may
 * multiply. */
static int take_threads(int threads)
{
    void *buffers[AD_MAX_THREADS];
    int taken = 0, started = 0;
    openblas_set_num_threads(threads);
    while (taken < threads && blas_memory_alloc && (buffers[taken] = blas_memory_alloc(0)))
        taken++;
    bool all = taken == threads || !blas_memory_alloc;
    while (taken > 0)
        blas_memory_free(buffers[--taken]);
    omp_set_num_threads(threads);
#pragma omp parallel num_threads(all ? threads : 1) reduction(+ : started)
    started++;
    return all && started == threads ? 0 : -1;
}

/* In a process of its own, which may wait for ever or end: 0 once all is there. */
static int try_threads(int threads)
{
    enum { SECONDS = 2 }; /* of the processor */
    int status = -1;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGPROF, SIG_DFL);
        setitimer(ITIMER_PROF, &(struct itimerval){ .it_value = { SECONDS, 0 } }, NULL);
        _exit(!freopen("/dev/null", "w", stderr) || take_threads(threads));
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

int ad_start_threads(int threads, ad_error *error)
{
    threads = ad_threads(threads, error);
    if (!threads)
        return -1;
    if (try_threads(threads) == 0 && take_threads(threads) == 0)
        return 0;
    return ad_fail(error, "%d thread%s not start: OpenMP and OpenBLAS do not get memory for so many: try fewer",
                   threads, threads == 1 ? " does" : "s do");
}
