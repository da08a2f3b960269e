/* normalisation.c: what is normalised over a batch, recognised by algebra: a variance, its root, and a product. */
#include "tp/batch/terms.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

typedef struct {
    int n, gvars[TP_MAX_PARTS];
    double own[TP_MAX_PARTS][TP_MAX_PARTS], mean[TP_MAX_PARTS][TP_MAX_PARTS]; /* of mean(g h), and of mean(g) mean(h) */
} quadratic;

static int place_of(quadratic *q, int gvar)
{
    int i = 0;
    while (i < q->n && q->gvars[i] != gvar)
        i++;
    if (i == TP_MAX_PARTS)
        return -1;
    q->gvars[i] = gvar;
    q->n = i == q->n ? i + 1 : q->n;
    return i;
}

/* c times the mean of u^2 over the batch, or u^2 of a u that is the same for all samples. */
static bool add_square(quadratic *q, const tp_batch_lin *u, double c, bool mean)
{
    for (int i = 0; i < u->n; i++)
        for (int k = 0; k < u->n; k++) {
            const tp_batch_part *a = &u->parts[i], *b = &u->parts[k];
            int row = place_of(q, a->gvar), column = place_of(q, b->gvar);
            if (row < 0 || column < 0 || (!mean && fabs(a->own) + fabs(b->own) > 0))
                return false;
            q->own[row][column] += c * a->own * b->own;
            q->mean[row][column] += c * (a->own * b->mean + a->mean * b->own + a->mean * b->mean);
        }
    return true;
}

/* The quadratic form as c times the variance of u over the batch, u's first part 1; -1 if it is none. */
static int variance_of(tp_families *f, const quadratic *q, double *c)
{
    int first = 0;
    tp_lin_builder u = { .n = 0 };
    while (first < q->n && !(q->own[first][first] > TP_TINY))
        first++;
    if (first == q->n)
        return -1;
    for (int i = 0; i < q->n; i++) /* the first part by number is to be 1 */
        if (q->own[i][i] > TP_TINY && q->gvars[i] < q->gvars[first])
            first = i;
    *c = q->own[first][first];
    for (int i = 0; i < q->n; i++) {
        for (int k = 0; k < q->n; k++) {
            double expected = q->own[first][i] * q->own[first][k] / *c;
            if (fabs(q->own[i][k] - expected) > TP_TINY * *c || fabs(q->own[i][k] + q->mean[i][k]) > TP_TINY * *c)
                return -1;
        }
        tp_lin_add(&u, q->gvars[i], q->own[first][i] / *c, 0);
    }
    return tp_lin_finish(f, &u);
}

/* x less the constant *epsilon as a quadratic form over the batch. */
static bool as_quadratic(tp_families *f, int x, quadratic *q, double *epsilon)
{
    const tp_family *family = tp_family_at(f, x);
    for (int i = 0; i < family->n; i++) {
        const tp_family_term *t = &family->terms[i];
        if (t->learned >= 0 || fabs(t->power) > TP_TINY || fabs(t->batch) > TP_TINY || t->kind == TP_TERM_GVAR)
            return false;
        if (t->kind == TP_TERM_ONE) {
            *epsilon += t->c;
            continue;
        }
        const tp_base *base = tp_base_at(f, t->of);
        const tp_fn *fn = tp_fn_at(&f->algebra, t->fn);
        if (base->kind != TP_BASE_SUM || fn->op != AD_SQUARE || fn->a != f->algebra.variable ||
            !add_square(q, tp_batch_lin_at(f, base->lin), t->c, t->mean))
            return false;
    }
    return true;
}

int tp_radius_of(tp_families *f, int x, double power, int *result)
{
    double epsilon = 0, c;
    quadratic *q = ad_alloc(1, sizeof *q, "a variance", f->algebra.error);
    *result = -1;
    if (!q)
        return -1;
    int lin = as_quadratic(f, x, q, &epsilon) ? variance_of(f, q, &c) : -1;
    ad_free(q);
    if (lin < 0)
        return 0;
    tp_family_builder b = { .f = f };
    int base = tp_base_make(f, TP_BASE_RADIUS, lin, epsilon / c, power);
    if (base < 0)
        return -1;
    tp_family_push(
        &b, (tp_family_term){
                .c = pow(c, power), .kind = TP_TERM_FUNCTION, .of = base, .fn = f->algebra.variable, .learned = -1 });
    *result = tp_family_finish(&b);
    return *result < 0 ? -1 : 0;
}

const tp_family_term *tp_as_radius(const tp_families *f, int x)
{
    const tp_family *family = tp_family_at(f, x);
    bool is = family->n == 1 && family->terms[0].kind == TP_TERM_FUNCTION && family->terms[0].learned < 0 &&
              tp_base_at(f, family->terms[0].of)->kind == TP_BASE_RADIUS;
    return is ? &family->terms[0] : NULL;
}

int tp_normalised(tp_families *f, int node, int x, const tp_family_term *radius)
{
    tp_base of = *tp_base_at(f, radius->of);
    const tp_family *family = tp_family_at(f, x);
    tp_lin_builder u = { .n = 0 };
    double c;
    for (int i = 0; i < family->n; i++) {
        const tp_family_term *t = &family->terms[i];
        bool fixed = t->mean || (t->kind == TP_TERM_GVAR && tp_gvar_is_fixed(f, t->of));
        if (t->kind != TP_TERM_GVAR || t->learned >= 0 || fabs(t->power) + fabs(t->batch) > TP_TINY ||
            !tp_lin_add(&u, t->of, fixed ? 0 : t->c, fixed ? t->c : 0))
            return tp_family_refuse(f, node, "what is divided by a batch's deviation here has no exact rule");
    }
    for (int i = 0; i < u.n; i++) {
        if (fabs(u.parts[i].own + u.parts[i].mean) > TP_TINY * fabs(u.parts[i].own))
            return tp_family_refuse(f, node, "what is divided by a batch's deviation is not centred over the batch");
        u.parts[i].mean = 0;
    }
    int lin = tp_lin_finish(f, &u);
    if (lin < 0)
        return -1;
    if (!tp_lin_proportional(tp_batch_lin_at(f, lin), tp_batch_lin_at(f, of.lin), &c) || fabs(of.power + 0.5) > TP_TINY)
        return tp_family_refuse(f, node,
                                "a vector is divided by other than its own deviation over the batch: no exact "
                                "rule");
    tp_lin_builder centred = { .n = 0 };
    const tp_batch_lin *own = tp_batch_lin_at(f, of.lin);
    for (int i = 0; i < own->n; i++)
        tp_lin_add(&centred, own->parts[i].gvar, own->parts[i].own, -own->parts[i].own);
    tp_family_builder b = { .f = f };
    int base = tp_base_make(f, TP_BASE_NORMAL, tp_lin_finish(f, &centred), of.epsilon, 0);
    if (tp_family_push_function(&b, c * radius->c, base, f->algebra.variable, -1))
        return -1;
    return tp_family_finish(&b);
}
