/* gaussian_operator.c: Gaussian matrices, and orthogonal ones, that are revealed as they are used.
 *
 * Of Haar's law, given that W q_k = p_k, both orthonormal, W is on the complement of the q an orthogonal matrix of
 * Haar's law onto that of the p, whichever of W and W' showed them: a new direction goes to a uniform one beyond the p,
 * which in the limit has independent normal coordinates. */
#include "tp/executor/draws.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

void tp_operator_new(tp_operator *w, tp_space *in, size_t fixed_in, tp_space *out, bool orthogonal)
{
    size_t size = in ? in->basis.length : fixed_in;
    *w = (tp_operator){ .minimum = 1e-10,
                        .space = { in, out },
                        .seen = { { .length = size }, { .length = out->basis.length } },
                        .drawn = { { .length = out->basis.length }, { .length = size } },
                        .orthogonal = orthogonal };
}

void tp_operator_free(tp_operator *w)
{
    for (int k = 0; k < 2; k++) {
        ad_free(w->seen[k].data);
        ad_free(w->drawn[k].data);
    }
}

void tp_operator_forget(tp_operator *w)
{
    for (int k = 0; k < 2; k++)
        w->seen[k].n = w->drawn[k].n = 0;
}

/* New rows of `to`, the images of `from`'s. */
static int draw_images(tp_operator *w, bool transposed, tp_rows *to, int count, ad_error *error)
{
    tp_rows fresh = { .length = to->length };
    int status = tp_draw(w->space[!transposed], count, to, &fresh, error), before = to->n;
    double *place = status ? NULL : tp_rows_grow(to, count, error);
    if (place) {
        memcpy(place, fresh.data, (size_t)count * to->length * sizeof *place);
        status = tp_orthonormalise(count, place, to, 1 / (double)to->length, 1e-3, NULL, 0, error);
        if (!status && to->n != before + count)
            status = ad_fail(error, "%zu samples are too few: nothing is left of a draw", to->length);
    }
    ad_free(fresh.data);
    return place ? status : -1;
}

static int apply_orthogonal(tp_operator *w, bool transposed, int count, const double *x, double *y, ad_error *error)
{
    tp_rows *from = &w->seen[transposed], *to = &w->seen[!transposed];
    size_t size = from->length;
    int stride = from->n + count, status = -1;
    double *rest = tp_rows_grow(from, count, error);
    double *c = ad_alloc((size_t)count * (size_t)stride + 1, sizeof *c, "coefficients", error);
    if (!rest || !c)
        goto done;
    memcpy(rest, x, (size_t)count * size * sizeof *rest);
    if (tp_orthonormalise(count, rest, from, 1 / (double)size, 1e-10, c, stride, error) ||
        (from->n > to->n && draw_images(w, transposed, to, from->n - to->n, error)))
        goto done;
    if (to->n)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, (int)size, to->n, 1, c, stride, to->data,
                    (int)size, 1, y, (int)size);
    status = 0;
done:
    ad_free(c);
    return status;
}

int tp_operator_apply(tp_operator *w, bool transposed, int count, const double *x, double *y, ad_error *error)
{
    if (w->orthogonal)
        return apply_orthogonal(w, transposed, count, x, y, error);
    int way = transposed, status = -1;
    tp_rows *seen = &w->seen[way], *drawn = &w->drawn[way];
    const tp_rows *back_seen = &w->seen[!way], *back_drawn = &w->drawn[!way];
    size_t from = seen->length, to = drawn->length;
    double weight = w->space[way] ? 1 / (double)from : 1;
    double ratio = (double)w->seen[1].length / (double)w->seen[0].length; /* out to in */
    double fresh = transposed ? sqrt(ratio) : 1, known = transposed ? ratio : 1 / sqrt(ratio);
    tp_space *of = w->space[way], *to_space = w->space[!way];
    int known_before = seen->n, stride = known_before + count;
    double *rest = tp_rows_grow(seen, count, error);
    double *c = ad_alloc((size_t)count * (size_t)stride + 1, sizeof *c, "coefficients", error);
    double *d = ad_alloc((size_t)count * (size_t)back_seen->n + 1, sizeof *d, "coefficients", error);
    if (!rest || !c || !d)
        goto done;
    memcpy(rest, x, (size_t)count * from * sizeof *rest);
    if (tp_orthonormalise(count, rest, seen, weight, w->minimum, c, stride, error) ||
        (of && of->keeps && tp_space_keep(of, seen, known_before, error)) ||
        (seen->n > drawn->n && tp_draw(to_space, seen->n - drawn->n, to_space->keeps ? NULL : back_seen, drawn, error)))
        goto done;
    if (seen->n)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, (int)to, seen->n, fresh, c, stride, drawn->data,
                    (int)to, 1, y, (int)to);
    if (back_seen->n) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, back_seen->n, (int)from, weight, x, (int)from,
                    back_drawn->data, (int)from, 0, d, back_seen->n);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, (int)to, back_seen->n, known, d, back_seen->n,
                    back_seen->data, (int)to, 1, y, (int)to);
    }
    status = 0;
done:
    ad_free(c);
    ad_free(d);
    return status;
}
