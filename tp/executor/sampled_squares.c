/* sampled_squares.c: the mean squares of vectors of a program that was run on samples. */
#include "tp/executor/sampler.h"

#include "autodiff/base/base.h"

int tp_sample_squares(const tp_program *view, size_t samples, uint64_t seed, int threads, const double *x, size_t rows,
                      double *squares, ad_error *error)
{
    int held = ad_threads(threads, error);
    if (!held)
        return -1;
    tp_sampler s = { .program = view,
                     .graph = view->graph,
                     .error = error,
                     .seed = seed,
                     .n_passes = 1,
                     .threads = held,
                     .sizes = { .n = samples, .n_batches = 1 },
                     .passes = { { .x = x, .rows = rows } } };
    s.sizes.batches[0].axis = nn_batch(view->net);
    int before = ad_blas_begin(held), status = tp_sampler_open(&s);
    if (!status)
        status = tp_sampler_run(&s);
    for (int i = 0; i < view->n_sites && !status; i++) {
        ad_var v = view->sites[i].delta;
        size_t count = ad_elements(view->graph, ad_shape_get(v), &s.sizes);
        double sum = 0;
        for (size_t k = 0; k < count; k++)
            sum += s.values[v.id][k] * s.values[v.id][k];
        squares[i] = sum / (double)count;
    }
    tp_sampler_close(&s);
    ad_blas_end(before);
    return status;
}
