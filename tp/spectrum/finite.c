/* finite.c: the Jacobian of a network at a width, and its singular values beside the limit's law. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"
#include "tp/spectrum/inside.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* All rows of the Jacobian by one backward pass, program->rows (to', from). */
static int add_rows(tp_program *program, const tp_vectors *between, ad_error *error)
{
    ad_graph *graph = program->graph;
    if (program->rows.graph && program->from.id == between->from.id && program->to.id == between->to.id)
        return 0;
    ad_var rows;
    const ad_shape *to = ad_shape_get(between->to);
    ad_mark before = nn_growth_begin(program->net);
    ad_axis width = { 0 };
    for (int i = 0; i < to->rank; i++)
        if (tp_is_width(graph, to->axes[i]))
            width = to->axes[i];
    ad_axis row = ad_unused_prime(graph, between->to.id, width);
    ad_shape all = *to;
    all.axes[all.rank++] = row;
    ad_var start = ad_expand(ad_delta(graph, row, width), all);
    if (all.rank > AD_MAX_RANK || ad_backward(between->to, start, &between->from, 1, &rows, NULL) < 0)
        ad_poison(graph, AD_HERE, "spectrum: no backward pass of all rows");
    if (nn_growth_end(program->net, before, "spectrum", error))
        return -1;
    program->from = between->from;
    program->to = between->to;
    program->rows = rows;
    return 0;
}

static size_t size_of(const tp_program *program, ad_var v, size_t n)
{
    ad_sizes sizes = { .n = n, .n_batches = 1 };
    sizes.batches[0].axis = nn_batch(program->net);
    sizes.batches[0].size = 1;
    return ad_elements(program->graph, ad_shape_get(v), &sizes);
}

/* Ascending squares of the singular values of j (rows, columns), and zeros to `rows` of them. */
static int find_squares(double *j, size_t rows, size_t columns, double scale, double *squares, ad_error *error)
{
    size_t small = rows < columns ? rows : columns;
    double unused;
    for (size_t i = 0; i < rows * columns; i++)
        if (!isfinite(j[i]))
            return ad_fail(error, "spectrum: an entry of the Jacobian is %g at this width", j[i]);
    int before = ad_blas_begin(1);
    lapack_int failed = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', (lapack_int)columns, (lapack_int)rows, j,
                                       (lapack_int)columns, squares, &unused, 1, &unused, 1);
    ad_blas_end(before);
    if (failed)
        return ad_fail(error, "spectrum: LAPACK's singular values failed (%d)", (int)failed);
    for (size_t i = 0; i < small; i++)
        squares[i] = pow(scale * squares[i], 2);
    for (size_t i = 0, k = rows - 1; i < k; i++, k--) { /* they fall, zeros last */
        double swap = squares[i];
        squares[i] = squares[k];
        squares[k] = swap;
    }
    return 0;
}

int tp_jacobian_squares(tp_program *program, nn_model *model, const double *x, const char *from, const char *to,
                        double **squares, size_t *count, ad_error *error)
{
    tp_vectors between;
    *squares = NULL;
    if (!program || !model || !x)
        return ad_fail(error, "spectrum: no %s (NULL)", !program ? "program" : model ? "input" : "model");
    if (nn_model_net(model) != program->net)
        return ad_fail(error, "spectrum: the model is of another network");
    if (tp_find_vectors(program, from, to, &between, error) || add_rows(program, &between, error))
        return -1;
    size_t n = nn_model_width(model), out = size_of(program, between.to, n), in = size_of(program, between.from, n);
    double *j = ad_alloc(in * out, sizeof *j, "a Jacobian", error);
    double *found = j ? ad_alloc(out, sizeof *found, "singular values", error) : NULL;
    int status = found ? nn_activations(model, program->rows, x, 1, j, error) : -1;
    if (!status)
        status = find_squares(j, out, in, between.scale * pow((double)n, between.power), found, error);
    ad_free(j);
    if (status)
        ad_free(found);
    *squares = status ? NULL : found;
    *count = status ? 0 : out;
    return status;
}

/* ---- beside the limit ---- */
double tp_spectrum_below(const tp_spectrum *s, double log_lambda)
{
    double below = 0, lambda = exp(log_lambda);
    size_t low = 0, high = s->points;
    for (int k = 0; k < s->n_atoms; k++)
        below += s->atoms[k].at <= lambda ? s->atoms[k].mass : 0;
    while (low < high) { /* the first point above */
        size_t middle = (low + high) / 2;
        if (s->log_lambda[middle] <= log_lambda)
            low = middle + 1;
        else
            high = middle;
    }
    if (s->points == 0 || low == 0)
        return below + (log_lambda > -INFINITY ? s->left_out : 0);
    double at = s->continuous[low - 1];
    if (low < s->points) {
        double share = (log_lambda - s->log_lambda[low - 1]) / (s->log_lambda[low] - s->log_lambda[low - 1]);
        at += share * (s->continuous[low] - at);
    } else {
        double share = (log_lambda - s->log_lambda[low - 1]) / (s->log_support[1] - s->log_lambda[low - 1]);
        at += fmin(1, fmax(0, share)) * s->weights[low - 1] * s->per_log[low - 1] / 2;
    }
    return below + at;
}

double tp_spectrum_distance(const tp_spectrum *s, const double *squares, size_t count)
{
    const double rounding = 1e-26; /* of the largest: smaller ones are zeros with rounding */
    double most = 0, largest = count ? squares[count - 1] : 0;
    for (size_t i = 0; i < count; i++) {
        if (squares[i] < rounding * largest)
            continue;
        double at = log(squares[i]), slack = 1e-9; /* an atom's values lie on both sides of it */
        most = fmax(most, fabs(tp_spectrum_below(s, at + slack) - (double)(i + 1) / (double)count) -
                              (tp_spectrum_below(s, at + slack) - tp_spectrum_below(s, at - slack)));
    }
    return most;
}
