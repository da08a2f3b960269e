/* start.c: the kernel regime's outputs at the start: 0, those that are given, or one draw of their Gaussian law. */
#include "autodiff/base/base.h"
#include "tp/training/inside.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

/* f = P U' z of K = P U' U P', for each output z ~ N(0, 1) of its own: K is overwritten. What is within K's error is
 * left out, so that equal rows have equal outputs. */
static int draw_by_factor(const tp_training_job *job, double *k, double error_of_k, double *z, double *f,
                          ad_error *error)
{
    size_t n = job->points, outputs = job->outputs;
    double largest = 0, *work = ad_alloc(2 * n, sizeof *work, "a covariance's factor", error);
    lapack_int *order = ad_alloc(n, sizeof *order, "a covariance's factor", error), rank = 0, info = -1;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, k[i * (n + 1)]);
    if (work && order && largest > 0)
        info = LAPACKE_dpstrf_work(LAPACK_COL_MAJOR, 'U', (lapack_int)n, k, (lapack_int)n, order, &rank,
                                   fmax(error_of_k, (double)n * DBL_EPSILON) * largest, work);
    ad_normal(job->spec.fit.seed, ad_stream("outputs at the start"), 0, n * outputs, z);
    memset(f, 0, n * outputs * sizeof *f);
    for (size_t i = 0; i < n && info >= 0; i++)
        for (size_t j = 0; j < (size_t)rank && j <= i; j++) /* column-major: U_ji is k[i n + j] */
            for (size_t o = 0; o < outputs; o++)
                f[((size_t)order[i] - 1) * outputs + o] += k[i * n + j] * z[j * outputs + o];
    bool memory = work && order;
    ad_free(work);
    ad_free(order);
    if (!memory)
        return -1;
    return info >= 0 || !(largest > 0) ? 0 : ad_fail(error, "the covariance of the outputs has no factor (%d)", info);
}

/* Between points of one kernel all of whose outputs are alike and independent. */
static int draw(tp_training_job *job, tp_kernel *covariance, double *f, ad_error *error)
{
    tp_limit_spec spec = {
        .threads = job->spec.threads, .samples = job->spec.samples, .runs = job->spec.runs, .seed = job->spec.fit.seed
    };
    if (tp_limit(job->program, TP_NNGP, job->x, job->points, NULL, 0, &spec, covariance, error))
        return -1;
    if (!tp_kernel_converges(covariance))
        return ad_fail(error, "training at n = infinity: the outputs at the start have powers of n");
    double *z = ad_alloc(job->points * job->outputs, sizeof *z, "outputs at the start", error);
    int status = z ? draw_by_factor(job, covariance->terms[0].values, covariance->error, z, f, error) : -1;
    ad_free(z);
    return status;
}

int tp_training_start(tp_training_job *job, double *f, char *text, size_t size, ad_error *error)
{
    char op[200];
    tp_kernel covariance = { 0 };
    if (job->spec.start) {
        memcpy(f, job->spec.start, job->points * job->outputs * sizeof *f);
        ad_snprintf(text, size, "the outputs that are given");
        return 0;
    }
    if (!tp_outputs_centred(job->program, op, sizeof op))
        return ad_fail(error,
                       "training at n = infinity in the kernel regime: outputs start from %s, and their mean over "
                       "networks is not shown to be 0 (%s): give the outputs at the start",
                       job->spec.draw ? "a draw of their law" : "0", op);
    memset(f, 0, job->points * job->outputs * sizeof *f);
    ad_snprintf(text, size, "outputs 0, the mean of all networks at the start");
    if (!job->spec.draw)
        return 0;
    int status = draw(job, &covariance, f, error);
    if (!status)
        ad_snprintf(text, size,
                    "one draw of the outputs' Gaussian law (seed %llu), whose covariance is the NNGP limit kernel, of "
                    "relative error %.2g",
                    (unsigned long long)job->spec.fit.seed, covariance.error);
    tp_kernel_free(&covariance);
    return status;
}
