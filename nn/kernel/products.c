/* products.c: the products of packed panels: Gram by Gram where uses can be paired, by the gradients themselves
 * or by K where they cannot (kernel.c has the formulas). */
#include "autodiff/plan/plan.h"
#include "nn/kernel/kernel.h"

#include <cblas.h>
#include <limits.h>
#include <string.h>

/* ---- loops, written once for float and double ---- */
#define LOOPS(real, letter)                                                                                            \
    static real *pack_##real(const nn_walk *w, int level, const real *from, real *to, bool add)                        \
    {                                                                                                                  \
        if (level == w->rank) {                                                                                        \
            *to = add ? *to + *from : *from;                                                                           \
            return to + 1;                                                                                             \
        }                                                                                                              \
        size_t size = w->size[level], stride = w->stride[level];                                                       \
        if (level + 1 < w->rank) {                                                                                     \
            for (size_t i = 0; i < size; i++)                                                                          \
                to = pack_##real(w, level + 1, from + i * stride, to, add);                                            \
            return to;                                                                                                 \
        }                                                                                                              \
        if (add)                                                                                                       \
            for (size_t i = 0; i < size; i++)                                                                          \
                to[i] += from[i * stride];                                                                             \
        else if (stride == 1)                                                                                          \
            memcpy(to, from, size * sizeof *to);                                                                       \
        else                                                                                                           \
            for (size_t i = 0; i < size; i++)                                                                          \
                to[i] = from[i * stride];                                                                              \
        return to + size;                                                                                              \
    }                                                                                                                  \
    /* c (m, n), rows of ld, = alpha a (m, k) b (n, k)^T + beta c; only its upper triangle if b is a and `upper` */    \
    static void gram_##real(size_t m, size_t n, size_t k, real alpha, const real *a, const real *b, real beta,         \
                            real *c, size_t ld, bool upper)                                                            \
    {                                                                                                                  \
        if (upper && a == b)                                                                                           \
            cblas_##letter##syrk(CblasRowMajor, CblasUpper, CblasNoTrans, (int)m, (int)k, alpha, a, (int)k, beta, c,   \
                                 (int)ld);                                                                             \
        else                                                                                                           \
            cblas_##letter##gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, alpha, a, (int)k, b, \
                                 (int)k, beta, c, (int)ld);                                                            \
    }                                                                                                                  \
    static void fill_##real(size_t n, real value, real *x)                                                             \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            x[i] += value;                                                                                             \
    }                                                                                                                  \
    /* c[(o, i), (p, j)] += d[(o, i?), (p, j?)] y[i, j], or = if `fresh`; \
     * from the diagonal on if `upper` */                                            \
    static void spread_##real(size_t outs, size_t rows, size_t columns, const real *d, bool d_rows, bool d_columns,    \
                              const real *y, real *c, bool upper, bool fresh)                                          \
    {                                                                                                                  \
        size_t wide = outs * (d_columns ? columns : 1);                                                                \
        for (size_t o = 0; o < outs; o++)                                                                              \
            for (size_t i = 0; i < rows; i++)                                                                          \
                for (size_t p = upper ? o : 0; p < outs; p++) {                                                        \
                    const real *dp = d + (d_rows ? o * rows + i : o) * wide + p * (d_columns ? columns : 1);           \
                    const real *yp = y + i * columns;                                                                  \
                    real *cp = c + ((o * rows + i) * outs + p) * columns;                                              \
                    size_t first = upper && p == o ? i : 0;                                                            \
                    for (size_t j = first; j < columns; j++)                                                           \
                        cp[j] = (fresh ? 0 : cp[j]) + dp[d_columns ? j : 0] * yp[j];                                   \
                }                                                                                                      \
    }                                                                                                                  \
    /* c (n, n), of which the upper triangle is, with all of `cross` and its \
     * transpose if there is one: all of it */                                         \
    static void complete_##real(size_t n, real *c, const real *cross)                                                  \
    {                                                                                                                  \
        enum { SIDE = 16 };                                                                                            \
        for (size_t i = 0; i < n; i += SIDE)                                                                           \
            for (size_t j = i; j < n; j += SIDE)                                                                       \
                for (size_t k = i; k < i + SIDE && k < n; k++)                                                         \
                    for (size_t l = k > j ? k : j; l < j + SIDE && l < n; l++) {                                       \
                        if (cross)                                                                                     \
                            c[k * n + l] += cross[k * n + l] + cross[l * n + k];                                       \
                        c[l * n + k] = c[k * n + l];                                                                   \
                    }                                                                                                  \
    } /* to (columns, outs, outs) = factor times row i of c, (outs, rows, outs, columns) */                            \
    static void turn_##real(size_t outs, size_t rows, size_t columns, size_t i, double factor, const real *c,          \
                            double *to)                                                                                \
    {                                                                                                                  \
        for (size_t j = 0; j < columns; j++)                                                                           \
            for (size_t o = 0; o < outs; o++)                                                                          \
                for (size_t p = 0; p < outs; p++)                                                                      \
                    *to++ = factor * (double)c[((o * rows + i) * outs + p) * columns + j];                             \
    }                                                                                                                  \
    /* to (pairs o <= p, columns) = factor x[o] x[p], for x (outs, columns) */                                         \
    static void pair_##real(size_t outs, size_t columns, real factor, const real *x, real *to)                         \
    {                                                                                                                  \
        for (size_t o = 0; o < outs; o++)                                                                              \
            for (size_t p = o; p < outs; p++, to += columns)                                                           \
                for (size_t k = 0; k < columns; k++)                                                                   \
                    to[k] = factor * x[o * columns + k] * x[p * columns + k];                                          \
    }                                                                                                                  \
    /* to (columns, n) = a[k] b[k, j], for a and b (columns, ..) in rows of step_a and step_b */                       \
    static void chunk_##real(size_t columns, size_t n, const real *a, size_t step_a, const real *b, size_t step_b,     \
                             real *to)                                                                                 \
    {                                                                                                                  \
        for (size_t k = 0; k < columns; k++, to += n)                                                                  \
            for (size_t j = 0; j < n; j++)                                                                             \
                to[j] = a[k * step_a] * b[k * step_b + j];                                                             \
    }                                                                                                                  \
    /* c[(o, i), (p, j)] += d[o <= p, i, j] y[i, j], or = if `fresh`, and with the \
     * places of o and p exchanged; of a tile with itself d is known from the diagonal \
     * on, and c from there wanted */                                   \
    static void spread_pairs_##real(size_t outs, size_t rows, size_t columns, real *d, const real *y, real *c,         \
                                    bool same, bool fresh)                                                             \
    {                                                                                                                  \
        for (size_t o = 0; o < outs; o++)                                                                              \
            for (size_t p = o; p < outs; p++, d += rows * columns) {                                                   \
                for (size_t i = 0; i < rows && same; i++)                                                              \
                    for (size_t j = i + 1; j < columns; j++)                                                           \
                        d[j * columns + i] = d[i * columns + j];                                                       \
                for (size_t turn = 0; turn < (same || o == p ? 1 : 2); turn++)                                         \
                    for (size_t i = 0; i < rows; i++) {                                                                \
                        size_t one = turn ? p : o, two = turn ? o : p;                                                 \
                        real *to = c + ((one * rows + i) * outs + two) * columns;                                      \
                        for (size_t j = 0; j < columns; j++)                                                           \
                            to[j] = (fresh ? 0 : to[j]) + d[i * columns + j] * y[i * columns + j];                     \
                    }                                                                                                  \
            }                                                                                                          \
    }
LOOPS(float, s)
LOOPS(double, d)

void nn_complete(const nn_call *c, size_t n)
{
    if (c->model->type == AD_FLOAT)
        complete_float(n, (float *)c->acc, (const float *)c->cross);
    else
        complete_double(n, (double *)c->acc, (const double *)c->cross);
}

void nn_turn(const nn_call *c, const size_t *rows, size_t i, double factor, double *to)
{
    if (c->model->type == AD_FLOAT)
        turn_float(c->outs, rows[0], rows[1], i, factor, (const float *)c->acc, to);
    else
        turn_double(c->outs, rows[0], rows[1], i, factor, (const double *)c->acc, to);
}

void nn_pack(const nn_call *c, const nn_walk *w, const char *from, char *to, bool add)
{
    if (c->model->type == AD_FLOAT)
        pack_float(w, 0, (const float *)from, (float *)to, add);
    else
        pack_double(w, 0, (const double *)from, (double *)to, add);
}

/* ---- products ---- */
/* The gradient of a parameter (n, n) of n > 46,340 is longer than BLAS counts. */
static size_t longest(const nn_call *c)
{
    return c->model->limits.longest ? c->model->limits.longest : INT_MAX;
}

static void gram_in_pieces(const nn_call *c, size_t m, size_t n, size_t k, double alpha, const char *a, const char *b,
                           double beta, char *to, size_t ld, bool upper)
{
    size_t bytes = nn_bytes(c->model->type), piece = longest(c);
    for (size_t i = 0; i < m; i++)
        for (size_t j = upper && a == b ? i : 0; j < n; j++)
            for (size_t at = 0; at < k; at += piece)
                nn_gram_into(c, 1, 1, nn_smaller(piece, k - at), alpha, a + (i * k + at) * bytes,
                             b + (j * k + at) * bytes, at ? 1 : beta, to + (i * ld + j) * bytes, 1, false);
}

void nn_gram_into(const nn_call *c, size_t m, size_t n, size_t k, double alpha, const char *a, const char *b,
                  double beta, char *to, size_t ld, bool upper)
{
    if (k > longest(c))
        gram_in_pieces(c, m, n, k, alpha, a, b, beta, to, ld, upper);
    else if (c->model->type == AD_FLOAT)
        gram_float(m, n, k, (float)alpha, (const float *)a, (const float *)b, (float)beta, (float *)to, ld, upper);
    else
        gram_double(m, n, k, alpha, (const double *)a, (const double *)b, beta, (double *)to, ld, upper);
}

void nn_gram(const nn_call *c, size_t m, size_t n, size_t k, double alpha, const char *a, const char *b, double beta,
             char *to, bool upper)
{
    nn_gram_into(c, m, n, k, alpha, a, b, beta, to, n, upper);
}

static void spread(const nn_call *c, size_t rows, size_t columns, const char *d, bool d_rows, bool d_columns,
                   const char *y, char *to, bool upper, bool fresh)
{
    if (c->model->type == AD_FLOAT)
        spread_float(c->outs, rows, columns, (const float *)d, d_rows, d_columns, (const float *)y, (float *)to, upper,
                     fresh);
    else
        spread_double(c->outs, rows, columns, (const double *)d, d_rows, d_columns, (const double *)y, (double *)to,
                      upper, fresh);
}

/* The block of one instance of a panel. */
static const char *block(const nn_call *c, int p, int at, int side, size_t rows)
{
    const nn_panel *q = &c->panels[p];
    return q->data[side] + (size_t)at * (nn_size_of(c, &q->order, rows) / q->instances) * nn_bytes(c->model->type);
}

size_t nn_pairs_size(const nn_call *c, const nn_panel *d)
{
    return (c->outs + 1) * nn_size_of(c, &d->order, 1) / 2;
}

/* A panel with itself by its factors: c->product (pairs of outputs, rows, columns). */
static void multiply_factors(nn_call *c, const nn_panel *d, const size_t *rows, int other)
{
    const nn_panel *x = &c->panels[d->by_out], *s = &c->panels[d->by_sample];
    size_t bytes = nn_bytes(c->model->type), columns = nn_size_of(c, &d->order, 1) / c->outs, n;
    bool is_float = c->model->type == AD_FLOAT;
    if (is_float)
        pair_float(c->outs, columns, (float)(d->factor * d->factor), (const float *)x->data[0], (float *)c->pairs);
    else
        pair_double(c->outs, columns, d->factor * d->factor, (const double *)x->data[0], (double *)c->pairs);
    for (size_t i = 0; i < rows[0]; i++)
        for (size_t j = other ? 0 : i / 16 * 16; j < rows[1]; j += n) {
            const char *a = s->data[0] + i * bytes, *b = s->data[other] + j * bytes;
            n = nn_smaller(NN_CHUNK, rows[1] - j);
            if (is_float)
                chunk_float(columns, n, (const float *)a, rows[0], (const float *)b, rows[1], (float *)c->chunk);
            else
                chunk_double(columns, n, (const double *)a, rows[0], (const double *)b, rows[1], (double *)c->chunk);
            ad_gemm_run(&(ad_gemm){ .loops = ad_loops_get(c->model->type),
                                    .type = c->model->type,
                                    .m = (int)(c->outs * (c->outs + 1) / 2),
                                    .n = (int)n,
                                    .k = (int)columns,
                                    .lda = (int)columns,
                                    .ldb = (int)n,
                                    .ldc = (int)(rows[0] * rows[1]),
                                    .alpha = 1,
                                    .c = c->product + (i * rows[1] + j) * bytes,
                                    .a = c->pairs,
                                    .b = c->chunk });
        }
}

/* Terms that share their pair of d-panels: acc += (sum of c <y, y'>) times <d, d'>. `swapped`: with the sides of every
 * pair exchanged. */
static void add_group(nn_call *c, const nn_term *terms, int n, const size_t *rows, int other, bool swapped)
{
    size_t bytes = nn_bytes(c->model->type);
    bool same = other == 0;
    memset(c->factor, 0, rows[0] * rows[1] * bytes);
    for (int i = 0; i < n; i++) {
        nn_term t = terms[i];
        if (swapped)
            t = (nn_term){ t.d2, t.d2_at, t.d, t.d_at, t.y2, t.y2_at, t.y, t.y_at, t.c };
        if (t.y == NN_NO_PANEL) {
            if (c->model->type == AD_FLOAT)
                fill_float(rows[0] * rows[1], (float)t.c, (float *)c->factor);
            else
                fill_double(rows[0] * rows[1], t.c, (double *)c->factor);
            continue;
        }
        const nn_panel *y = &c->panels[t.y];
        size_t columns = nn_size_of(c, &y->order, rows[0]) / y->instances / rows[0];
        nn_gram(c, rows[0], rows[1], columns, t.c, block(c, t.y, t.y_at, 0, rows[0]),
                block(c, t.y2, t.y2_at, other, rows[1]), 1, c->factor, false);
    }
    int a = swapped ? terms->d2 : terms->d, a_at = swapped ? terms->d2_at : terms->d_at;
    int b = swapped ? terms->d : terms->d2, b_at = swapped ? terms->d_at : terms->d2_at;
    const nn_panel *d = &c->panels[a], *d2 = &c->panels[b];
    bool diagonal = same && a == b && a_at == b_at, fresh = c->fresh && (!same || diagonal);
    c->fresh = c->fresh && !fresh;
    if (d->spare) {
        multiply_factors(c, d, rows, other);
        if (c->model->type == AD_FLOAT)
            spread_pairs_float(c->outs, rows[0], rows[1], (float *)c->product, (const float *)c->factor,
                               (float *)c->acc, same, fresh);
        else
            spread_pairs_double(c->outs, rows[0], rows[1], (double *)c->product, (const double *)c->factor,
                                (double *)c->acc, same, fresh);
        return;
    }
    size_t m = c->outs * (d->sampled ? rows[0] : 1), wide = c->outs * (d2->sampled ? rows[1] : 1);
    size_t columns = nn_size_of(c, &d->order, rows[0]) / d->instances / m;
    nn_gram(c, m, wide, columns, 1, block(c, a, a_at, 0, rows[0]), block(c, b, b_at, other, rows[1]), 0, c->product,
            diagonal && d->sampled);
    spread(c, rows[0], rows[1], c->product, d->sampled, d2->sampled, c->factor, same && !diagonal ? c->cross : c->acc,
           diagonal, fresh);
}

static bool alike(const nn_term *a, const nn_term *b)
{
    return a->d == b->d && a->d2 == b->d2 && a->d_at == b->d_at && a->d2_at == b->d2_at;
}

void nn_add_terms(nn_call *c, const size_t *rows, int other)
{
    for (int first = 0, end; first < c->n_terms; first = end) {
        const nn_term *t = &c->terms[first];
        for (end = first + 1; end < c->n_terms && alike(t, &c->terms[end]);)
            end++;
        add_group(c, t, end - first, rows, other, false);
        if (c->symmetric && other == 1 && (t->d != t->d2 || t->d_at != t->d2_at))
            add_group(c, t, end - first, rows, other, true);
    }
}

void nn_add_turned(nn_call *c, size_t rows)
{
    for (int k = 0; k < c->n_turned; k++) {
        const nn_turned *t = &c->turned[k];
        size_t m = c->outs * rows, columns = nn_size_of(c, &c->panels[t->d].order, rows) / m;
        nn_gram(c, m, m, columns, t->c, c->panels[t->d].data[0], c->panels[t->d2].data[0], 1,
                t->d == t->d2 ? c->acc : c->cross, true);
    }
}

/* ---- by the gradients themselves ---- */
/* to (m, n) = alpha a (k, m)^T b (k, n), or += */
static void outer(const nn_call *c, size_t m, size_t n, size_t k, double alpha, const char *a, size_t lda,
                  const char *b, char *to, bool adds)
{
    ad_gemm_run(&(ad_gemm){ .loops = ad_loops_get(c->model->type),
                            .type = c->model->type,
                            .trans_a = true,
                            .m = (int)m,
                            .n = (int)n,
                            .k = (int)k,
                            .lda = (int)lda,
                            .ldb = (int)n,
                            .ldc = (int)n,
                            .alpha = alpha,
                            .keep = adds,
                            .c = to,
                            .a = a,
                            .b = b });
}

/* How the products of a use lie in W: as (aligned, over, rest) or as (aligned, rest, over), or neither. */
typedef enum { LIES_STRAIGHT, LIES_TURNED, LIES_OTHERWISE } lying;

static lying lies(const nn_call *c, const nn_use *u)
{
    const ad_shape *shape = ad_shape_get(c->model->net->params[u->param]);
    ad_shape forward = u->aligned;
    nn_append(&forward, &u->over);
    nn_append(&forward, &u->rest);
    ad_shape backward = u->aligned;
    nn_append(&backward, &u->rest);
    nn_append(&backward, &u->over);
    return ad_shape_equal(&forward, shape)    ? LIES_STRAIGHT
           : ad_shape_equal(&backward, shape) ? LIES_TURNED
                                              : LIES_OTHERWISE;
}

size_t nn_lines(const nn_call *c, const nn_use *uses, int n)
{
    for (int k = 0; k < n; k++)
        if (uses[k].y == NN_NO_PANEL || uses[k].aligned.rank || lies(c, &uses[k]) == LIES_OTHERWISE)
            return 1;
    return lies(c, uses) == LIES_STRAIGHT ? uses->n_over : uses->n_rest;
}

/* to (W) = c (y (x) d) of one sample, or += : all of it, by way of the scratch. */
static void form_otherwise(nn_call *c, const nn_use *u, size_t n_sum, const char *d, const char *y, char *to, bool adds)
{
    const ad_shape *shape = ad_shape_get(c->model->net->params[u->param]);
    size_t bytes = nn_bytes(c->model->type);
    ad_shape forward = u->aligned;
    nn_append(&forward, &u->over);
    nn_append(&forward, &u->rest);
    nn_walk w = { .rank = shape->rank };
    for (int i = 0; i < w.rank; i++) {
        w.size[i] = nn_axis_size(c, shape->axes[i], 1);
        w.stride[i] = nn_stride(c, &forward, shape->axes[i], 1);
    }
    for (size_t k = 0; k < u->n_aligned; k++)
        outer(c, u->n_over, u->n_rest, n_sum, u->c, y + k * n_sum * u->n_over * bytes, u->n_over,
              d + k * n_sum * u->n_rest * bytes, c->scratch + k * u->n_over * u->n_rest * bytes, false);
    nn_pack(c, &w, c->scratch, to, adds);
}

void nn_form(nn_call *c, const nn_use *u, size_t n_sum, size_t rows, const char *d, const char *y, nn_cut cut, char *to,
             bool adds)
{
    const nn_model *model = c->model;
    size_t bytes = nn_bytes(model->type), size = nn_size_of(c, ad_shape_get(model->net->params[u->param]), 1);
    size_t d_part = n_sum * u->n_rest * bytes, y_part = n_sum * u->n_over * bytes;
    size_t part = size / u->n_aligned / cut.all * cut.count;
    bool sampled = u->y != NN_NO_PANEL && c->panels[u->y].sampled;
    lying way = lies(c, u);
    for (size_t row = 0; row < rows; row++, to += part * u->n_aligned * bytes, d += u->n_aligned * d_part) {
        if (u->y == NN_NO_PANEL) {
            if (!adds)
                memset(to, 0, size * bytes);
            for (size_t at = 0; at < size; at += longest(c)) {
                int piece = (int)nn_smaller(longest(c), size - at);
                if (model->type == AD_FLOAT)
                    cblas_saxpy(piece, (float)u->c, (const float *)d + at, 1, (float *)to + at, 1);
                else
                    cblas_daxpy(piece, u->c, (const double *)d + at, 1, (double *)to + at, 1);
            }
            continue;
        }
        if (way == LIES_OTHERWISE)
            form_otherwise(c, u, n_sum, d, y, to, adds);
        for (size_t k = 0; k < u->n_aligned && way != LIES_OTHERWISE; k++) {
            bool turned = way == LIES_TURNED;
            const char *one = turned ? d + k * d_part : y + k * y_part, *two = turned ? y + k * y_part : d + k * d_part;
            size_t m = turned ? u->n_rest : u->n_over, wide = turned ? u->n_over : u->n_rest;
            outer(c, m / cut.all * cut.count, wide, n_sum, u->c, one + m / cut.all * cut.first * bytes, m, two,
                  to + k * part * bytes, adds);
        }
        if (sampled)
            y += u->n_aligned * y_part;
    }
}

/* Lines of W's gradients, (outputs, count, lines, line), of samples first, first + 1, ... of a side. */
static void form_gradients(nn_call *c, const nn_use *uses, int n, int side, size_t rows, size_t first, size_t count,
                           nn_cut cut, char *to)
{
    size_t bytes = nn_bytes(c->model->type);
    size_t size = nn_size_of(c, ad_shape_get(c->model->net->params[uses->param]), 1) / cut.all * cut.count;
    for (int k = 0; k < n; k++) {
        const nn_use *u = &uses[k];
        size_t n_sum = nn_summed(c, u, rows), step = u->n_aligned * n_sum * bytes;
        const nn_panel *y = u->y == NN_NO_PANEL ? NULL : &c->panels[u->y];
        for (size_t o = 0; o < c->outputs; o++)
            nn_form(c, u, n_sum, count, c->panels[u->d].data[side] + (o * rows + first) * step * u->n_rest,
                    y ? y->data[side] + (y->sampled ? first : 0) * step * u->n_over : NULL, cut,
                    to + o * count * size * bytes, k > 0);
    }
}

/* acc[(o, i), (p, j)] += the products of two tiles of gradients; of one with itself, what is below the diagonal is not
 * meant. */
static void add_products(nn_call *c, const size_t *rows, const size_t *first, const size_t *count, const char *g,
                         const char *g2, size_t size, double weight, char *to)
{
    size_t bytes = nn_bytes(c->model->type), wide = c->outs * count[1];
    if (!c->mean)
        nn_gram(c, c->outs * count[0], wide, size, weight, g, g2, 0, c->product, true);
    for (size_t o = 0; o < c->outputs && c->mean; o++)
        nn_gram(c, count[0], count[1], size, weight, g + o * count[0] * size * bytes, g2 + o * count[1] * size * bytes,
                o ? 1 : 0, c->product, true);
    for (size_t o = 0; o < c->outs; o++)
        for (size_t i = 0; i < count[0]; i++)
            for (size_t p = 0; p < c->outs; p++) {
                const char *from = c->product + ((o * count[0] + i) * wide + p * count[1]) * bytes;
                char *target = to + (((o * rows[0] + first[0] + i) * c->outs + p) * rows[1] + first[1]) * bytes;
                nn_pack(c, &(nn_walk){ .rank = 1, .size = { count[1] }, .stride = { 1 } }, from, target, true);
            }
}

void nn_meet(nn_call *c, const nn_use *from, size_t n_from, const char *y_from, const nn_use *to, size_t n_to,
             const char *y_to)
{
    nn_gram(c, n_from, n_to, from->n_over, from->c * to->c, y_from, y_to, 0, c->met, false);
}

void nn_apply_met(nn_call *c, size_t rows, size_t n_from, size_t n_to, size_t rest, const char *d)
{
    size_t bytes = nn_bytes(c->model->type);
    for (size_t row = 0; row < rows; row++)
        outer(c, n_to, rest, n_from, 1, c->met, n_to, d + row * n_from * rest * bytes,
              c->applied + row * n_to * rest * bytes, false);
}

/* acc += weight a b^T, (outs rows, size) each, of a tile with itself: its upper triangle, in so many steps. */
static void add_upper(nn_call *c, size_t rows, const char *a, const char *b, size_t size, double weight)
{
    enum { STEPS = 8 };
    size_t bytes = nn_bytes(c->model->type), n = c->outs * rows, step = (n + STEPS - 1) / STEPS;
    for (size_t first = 0; first < n; first += step)
        nn_gram_into(c, nn_smaller(step, n - first), n - first, size, weight, a + first * size * bytes,
                     b + first * size * bytes, 1, c->acc + (first * n + first) * bytes, n, false);
}

/* The uses of one parameter by K: K d' for every row (output, sample) of the second side, then one Gram product. */
static void add_met(nn_call *c, const nn_use *uses, int n, const size_t *rows, int other)
{
    size_t none[2] = { 0 }, rest = uses->n_rest;
    for (int k = 0; k < n * n; k++) {
        const nn_use *a = &uses[k / n], *b = &uses[k % n];
        size_t turns = nn_size_of(c, &a->sum, rows[0]), turns2 = nn_size_of(c, &b->sum, rows[1]);
        nn_meet(c, b, turns2, c->panels[b->y].data[other], a, turns, c->panels[a->y].data[0]);
        nn_apply_met(c, c->outputs * rows[1], turns2, turns, rest, c->panels[b->d].data[other]);
        if (other == 0 && !c->mean)
            add_upper(c, rows[0], c->panels[a->d].data[0], c->applied, turns * rest, c->weights[a->param]);
        else
            add_products(c, rows, none, rows, c->panels[a->d].data[0], c->applied, turns * rest, c->weights[a->param],
                         c->acc);
    }
}

size_t nn_gradient_bytes(const nn_call *c)
{
    enum { BYTES = 8 << 20 }; /* what has just been formed is near when it is multiplied */
    return c->model->limits.gradients ? c->model->limits.gradients : BYTES;
}

size_t nn_tile_lines(const nn_call *c, const nn_use *uses, int n)
{
    size_t all = nn_lines(c, uses, n), size = nn_size_of(c, ad_shape_get(c->model->net->params[uses->param]), 1);
    return nn_smaller(
        all, nn_gradient_bytes(c) / (c->outputs * c->gradient_rows * (size / all) * nn_bytes(c->model->type)) + 1);
}

/* Some lines of the gradients of one parameter, multiplied, tile by tile of samples. */
static void add_lines(nn_call *c, const nn_use *uses, int n, const size_t *rows, int other, nn_cut cut)
{
    bool same = other == 0, whole = !c->mean && c->gradient_rows >= rows[0] && c->gradient_rows >= rows[1];
    size_t size = nn_size_of(c, ad_shape_get(c->model->net->params[uses->param]), 1) / cut.all * cut.count;
    size_t step = c->gradient_rows;
    for (size_t i = 0; i < rows[0]; i += step) {
        size_t count[2] = { nn_smaller(step, rows[0] - i), 0 };
        form_gradients(c, uses, n, 0, rows[0], i, count[0], cut, c->gradient[0]);
        for (size_t k = same ? i : 0; k < rows[1]; k += step) {
            bool again = same && k == i;
            const char *g = c->gradient[0], *g2 = c->gradient[again ? 0 : 1];
            count[1] = nn_smaller(step, rows[1] - k);
            if (!again)
                form_gradients(c, uses, n, other, rows[1], k, count[1], cut, c->gradient[1]);
            if (whole)
                nn_gram(c, c->outs * rows[0], c->outs * rows[1], size, c->weights[uses->param], g, g2, 1, c->acc, true);
            else
                add_products(c, rows, (size_t[]){ i, k }, count, g, g2, size, c->weights[uses->param],
                             same && !again ? c->cross : c->acc);
        }
    }
}

void nn_add_gradients(nn_call *c, const size_t *rows, int other)
{
    for (int begin = 0, end; begin < c->n_uses; begin = end) {
        const nn_use *u = &c->uses[begin];
        end = nn_uses_end(c, begin);
        if (u->met) {
            add_met(c, u, end - begin, rows, other);
            continue;
        }
        nn_cut cut = { .count = nn_tile_lines(c, u, end - begin), .all = nn_lines(c, u, end - begin) };
        for (; cut.first < cut.all; cut.first += cut.count) {
            cut.count = nn_smaller(cut.count, cut.all - cut.first);
            add_lines(c, u, end - begin, rows, other, cut);
        }
    }
}
