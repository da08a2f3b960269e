/* draw.c: a parameter's initial values, from the stream of its name. */
#include "autodiff/autodiff.h"
#include "autodiff/base/base.h"

#include <lapacke.h>
#include <math.h>

enum {
    CHUNK = 1024,         /* draws in one go */
    PARALLEL = 64 * CHUNK /* from here on threads pay for themselves */
};

/* Q of the QR decomposition of a Gaussian matrix, its columns turned so that R's diagonal is positive: then it has
 * Haar's law (Mezzadri, arXiv:math-ph/0609050). (columns, rows) row-major, rows >= columns. */
static int draw_orthogonal(uint64_t seed, uint64_t stream, size_t rows, size_t columns, double *q, ad_error *error)
{
    double *memory = ad_alloc(2 * columns, sizeof *memory, "an orthogonal matrix", error);
    if (!memory)
        return -1;
    double *signs = memory + columns;
    int before = ad_blas_begin(1);
    ad_normal(seed, stream, 0, rows * columns, q);
    lapack_int m = (lapack_int)rows, n = (lapack_int)columns;
    lapack_int failed = LAPACKE_dgeqrf(LAPACK_COL_MAJOR, m, n, q, m, memory);
    for (size_t k = 0; k < columns && !failed; k++)
        signs[k] = q[k * rows + k] < 0 ? -1 : 1;
    if (!failed)
        failed = LAPACKE_dorgqr(LAPACK_COL_MAJOR, m, n, n, q, m, memory);
    for (size_t k = 0; k < columns && !failed; k++)
        for (size_t i = 0; i < rows; i++)
            q[k * rows + i] *= signs[k];
    ad_blas_end(before);
    ad_free(memory);
    return failed ? ad_fail(error, "draw: LAPACK's QR decomposition failed (%d)", (int)failed) : 0;
}

/* (in, out), row-major: rows or columns of Q, whichever are orthogonal. */
static int fill_orthogonal(uint64_t seed, uint64_t stream, size_t in, size_t out, double deviation, ad_type type,
                           void *to, ad_error *error)
{
    size_t rows = in > out ? in : out, columns = in > out ? out : in;
    double *q = ad_alloc(rows * columns, sizeof *q, "an orthogonal matrix", error),
           scale = deviation * sqrt((double)rows);
    int status = q ? draw_orthogonal(seed, stream, rows, columns, q, error) : -1;
    for (size_t i = 0; i < in && !status; i++)
        for (size_t k = 0; k < out; k++) {
            double value = scale * (in > out ? q[k * rows + i] : q[i * rows + k]);
            if (type == AD_FLOAT)
                ((float *)to)[i * out + k] = (float)value;
            else
                ((double *)to)[i * out + k] = value;
        }
    ad_free(q);
    return status;
}

int ad_draw(ad_var param, const ad_sizes *sizes, uint64_t seed, ad_type type, void *out, ad_error *error)
{
    const ad_graph *graph = param.graph;
    if (!graph || ad_failed(graph))
        return ad_fail(error, "draw: %s", graph ? ad_message(graph) : "no such parameter");
    const ad_node *node = ad_node_of(graph, param.id);
    const ad_init *init = node ? node->init : NULL;
    if (!init)
        return ad_fail(error, "draw: only a parameter has an initial value");
    size_t count = ad_elements(graph, &node->shape, sizes);
    if (count == 0)
        return ad_fail(error, "%s:%d: draw: an axis of %s has no size", node->where.file, node->where.line, node->name);

    double deviation = init->deviation, mean = init->mean;
    if (init->axis.id && init->deviation_power != 0) {
        size_t size = ad_axis_size(graph, init->axis, sizes);
        if (size == 0)
            return ad_fail(error, "%s:%d: draw: the fan-in %s of %s has no size", node->where.file, node->where.line,
                           ad_axis_name(graph, init->axis), node->name);
        deviation *= pow((double)size, init->deviation_power);
    }
    uint64_t stream = ad_stream(node->name);
    if (init->orthogonal) {
        size_t in = ad_axis_size(graph, node->shape.axes[0], sizes);
        return fill_orthogonal(seed, stream, in, count / in, deviation, type, out, error);
    }
#pragma omp parallel for schedule(static) if (count >= PARALLEL)
    for (size_t i = 0; i < count; i += CHUNK) {
        double z[CHUNK] = { 0 };
        size_t n = count - i < CHUNK ? count - i : CHUNK;
        if (deviation != 0)
            ad_normal(seed, stream, i, n, z);
        for (size_t k = 0; k < n; k++) {
            double value = mean + deviation * z[k];
            if (type == AD_FLOAT)
                ((float *)out)[i + k] = (float)value;
            else
                ((double *)out)[i + k] = value;
        }
    }
    return 0;
}
