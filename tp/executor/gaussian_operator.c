/* gaussian_operator.c: Gaussian matrices that are revealed as they are used. */
#include "tp/executor/draws.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

void tp_operator_new(tp_operator *w, tp_space *in, size_t fixed_in, tp_space *out)
{
    size_t size = in ? in->basis.length : fixed_in;
    *w = (tp_operator){ .minimum = 1e-10,
                        .space = { in, out },
                        .seen = { { .length = size }, { .length = out->basis.length } },
                        .drawn = { { .length = out->basis.length }, { .length = size } } };
}

void tp_operator_free(tp_operator *w)
{
    for (int k = 0; k < 2; k++) {
        ad_free(w->seen[k].data);
        ad_free(w->drawn[k].data);
    }
}

int tp_operator_apply(tp_operator *w, bool transposed, int count, const double *x, double *y, ad_error *error)
{
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
