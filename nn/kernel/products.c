/* products.c: the products of packed panels: Gram by Gram where uses can be paired, by the gradients themselves
 * or by K where they cannot (kernel.c has the formulas). */
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
    /* c (m, n) += alpha a (k, m)^T b (k, n) */                                                                        \
    static void outer_##real(size_t m, size_t n, size_t k, real alpha, const real *a, const real *b, real *c)          \
    {                                                                                                                  \
        cblas_##letter##gemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)n, (int)k, alpha, a, (int)m, b,     \
                             (int)n, 1, c, (int)n);                                                                    \
    }                                                                                                                  \
    static void fill_##real(size_t n, real value, real *x)                                                             \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            x[i] += value;                                                                                             \
    }                                                                                                                  \
    /* c[(o, i), (p, j)] += d[(o, i?), (p, j?)] y[i, j]; from the diagonal on if `upper` */                            \
    static void spread_##real(size_t outs, size_t rows, size_t columns, const real *d, bool d_rows, bool d_columns,    \
                              const real *y, real *c, bool upper)                                                      \
    {                                                                                                                  \
        size_t wide = outs * (d_columns ? columns : 1);                                                                \
        for (size_t o = 0; o < outs; o++)                                                                              \
            for (size_t i = 0; i < rows; i++)                                                                          \
                for (size_t p = upper ? o : 0; p < outs; p++) {                                                        \
                    const real *dp = d + (d_rows ? o * rows + i : o) * wide + p * (d_columns ? columns : 1);           \
                    const real *yp = y + i * columns;                                                                  \
                    real *cp = c + ((o * rows + i) * outs + p) * columns;                                              \
                    size_t first = upper && p == o ? i : 0;                                                            \
                    if (d_columns)                                                                                     \
                        for (size_t j = first; j < columns; j++)                                                       \
                            cp[j] += dp[j] * yp[j];                                                                    \
                    else                                                                                               \
                        for (size_t j = first; j < columns; j++)                                                       \
                            cp[j] += *dp * yp[j];                                                                      \
                }                                                                                                      \
    }
LOOPS(float, s)
LOOPS(double, d)

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
                   const char *y, char *to, bool upper)
{
    if (c->model->type == AD_FLOAT)
        spread_float(c->outs, rows, columns, (const float *)d, d_rows, d_columns, (const float *)y, (float *)to, upper);
    else
        spread_double(c->outs, rows, columns, (const double *)d, d_rows, d_columns, (const double *)y, (double *)to,
                      upper);
}

/* The block of one instance of a panel. */
static const char *block(const nn_call *c, int p, int at, int side, size_t rows)
{
    const nn_panel *q = &c->panels[p];
    return q->data[side] + (size_t)at * (nn_size_of(c, &q->order, rows) / q->instances) * nn_bytes(c->model->type);
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
    bool diagonal = same && a == b && a_at == b_at;
    size_t m = c->outs * (d->sampled ? rows[0] : 1), wide = c->outs * (d2->sampled ? rows[1] : 1);
    size_t columns = nn_size_of(c, &d->order, rows[0]) / d->instances / m;
    nn_gram(c, m, wide, columns, 1, block(c, a, a_at, 0, rows[0]), block(c, b, b_at, other, rows[1]), 0, c->product,
            diagonal && d->sampled);
    spread(c, rows[0], rows[1], c->product, d->sampled, d2->sampled, c->factor, same && !diagonal ? c->cross : c->acc,
           diagonal);
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

/* ---- by the gradients themselves ---- */
void nn_form(nn_call *c, const nn_use *u, size_t n_sum, size_t rows, const char *d, const char *y, char *to)
{
    const nn_model *model = c->model;
    const ad_shape *shape = ad_shape_get(model->net->params[u->param]);
    size_t bytes = nn_bytes(model->type), size = nn_size_of(c, shape, 1), part = u->n_over * u->n_rest * bytes;
    size_t d_part = n_sum * u->n_rest * bytes, y_part = n_sum * u->n_over * bytes;
    bool is_float = model->type == AD_FLOAT, sampled = u->y != NN_NO_PANEL && c->panels[u->y].sampled;
    ad_shape forward = u->aligned, backward = forward;
    nn_append(&forward, &u->over);
    nn_append(&forward, &u->rest);
    nn_append(&backward, &u->rest);
    nn_append(&backward, &u->over);
    bool straight = ad_shape_equal(&forward, shape), turn = !straight && ad_shape_equal(&backward, shape);
    nn_walk w = { .rank = shape->rank };
    for (int i = 0; i < w.rank; i++) {
        w.size[i] = nn_axis_size(c, shape->axes[i], 1);
        w.stride[i] = nn_stride(c, &forward, shape->axes[i], 1);
    }
    for (size_t row = 0; row < rows; row++, to += size * bytes, d += u->n_aligned * d_part) {
        if (u->y == NN_NO_PANEL) {
            for (size_t at = 0; at < size; at += longest(c)) {
                int piece = (int)nn_smaller(longest(c), size - at);
                if (is_float)
                    cblas_saxpy(piece, (float)u->c, (const float *)d + at, 1, (float *)to + at, 1);
                else
                    cblas_daxpy(piece, u->c, (const double *)d + at, 1, (double *)to + at, 1);
            }
            continue;
        }
        char *at = straight || turn ? to : c->scratch;
        if (at != to)
            memset(at, 0, size * bytes);
        for (size_t k = 0; k < u->n_aligned; k++) {
            const char *one = turn ? d + k * d_part : y + k * y_part, *two = turn ? y + k * y_part : d + k * d_part;
            size_t m = turn ? u->n_rest : u->n_over, wide = turn ? u->n_over : u->n_rest;
            if (is_float)
                outer_float(m, wide, n_sum, (float)u->c, (const float *)one, (const float *)two,
                            (float *)(at + k * part));
            else
                outer_double(m, wide, n_sum, u->c, (const double *)one, (const double *)two, (double *)(at + k * part));
        }
        if (at != to)
            nn_pack(c, &w, at, to, true);
        if (sampled)
            y += u->n_aligned * y_part;
    }
}

/* W's gradients, (outputs, count, W), of samples first, first + 1, ... of a side. */
static void form_gradients(nn_call *c, const nn_use *uses, int n, int side, size_t rows, size_t first, size_t count,
                           char *to)
{
    size_t bytes = nn_bytes(c->model->type), size = nn_size_of(c, ad_shape_get(c->model->net->params[uses->param]), 1);
    memset(to, 0, c->outputs * count * size * bytes);
    for (int k = 0; k < n; k++) {
        const nn_use *u = &uses[k];
        size_t n_sum = nn_size_of(c, &u->sum, rows), step = u->n_aligned * n_sum * bytes;
        const nn_panel *y = u->y == NN_NO_PANEL ? NULL : &c->panels[u->y];
        for (size_t o = 0; o < c->outputs; o++)
            nn_form(c, u, n_sum, count, c->panels[u->d].data[side] + (o * rows + first) * step * u->n_rest,
                    y ? y->data[side] + (y->sampled ? first : 0) * step * u->n_over : NULL,
                    to + o * count * size * bytes);
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
    memset(c->applied, 0, rows * n_to * rest * bytes);
    for (size_t row = 0; row < rows; row++) {
        const char *from = d + row * n_from * rest * bytes;
        char *to = c->applied + row * n_to * rest * bytes;
        if (c->model->type == AD_FLOAT)
            outer_float(n_to, rest, n_from, 1, (const float *)c->met, (const float *)from, (float *)to);
        else
            outer_double(n_to, rest, n_from, 1, (const double *)c->met, (const double *)from, (double *)to);
    }
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

void nn_add_gradients(nn_call *c, const size_t *rows, int other)
{
    bool same = other == 0;
    for (int begin = 0, end; begin < c->n_uses; begin = end) {
        const nn_use *u = &c->uses[begin];
        for (end = begin + 1; end < c->n_uses && c->uses[end].param == u->param;)
            end++;
        if (u->met) {
            add_met(c, u, end - begin, rows, other);
            continue;
        }
        size_t size = nn_size_of(c, ad_shape_get(c->model->net->params[u->param]), 1), step = c->gradient_rows;
        for (size_t i = 0; i < rows[0]; i += step) {
            size_t count[2] = { rows[0] - i < step ? rows[0] - i : step, 0 };
            form_gradients(c, u, end - begin, 0, rows[0], i, count[0], c->gradient[0]);
            for (size_t k = same ? i : 0; k < rows[1]; k += step) {
                bool again = same && k == i;
                count[1] = rows[1] - k < step ? rows[1] - k : step;
                if (!again)
                    form_gradients(c, u, end - begin, other, rows[1], k, count[1], c->gradient[1]);
                add_products(c, rows, (size_t[]){ i, k }, count, c->gradient[0], c->gradient[again ? 0 : 1], size,
                             c->weights[u->param], same && !again ? c->cross : c->acc);
            }
        }
    }
}
