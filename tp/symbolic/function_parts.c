/* function_parts.c: what a function is made of, each part once, and what is known of it from its parts. */
#include "autodiff/plan/plan.h"
#include "tp/gauss/gauss.h"
#include "tp/symbolic/function.h"

#include <math.h>

const double *tp_fn_own_kinks(const tp_fn *f, int *count)
{
    if (f->op == AD_CUSTOM) {
        *count = f->function->n_kinks;
        return f->function->kinks;
    }
    const ad_op_facts *facts = f->op < AD_CUSTOM ? ad_op_facts_of((ad_op)f->op) : NULL;
    *count = facts ? facts->n_kinks : 0;
    return facts ? facts->kinks : NULL;
}

bool tp_fn_parts_of(const tp_algebra *algebra, int fn, tp_fn_parts *p)
{
    p->n = 0;
    p->ids = ad_alloc(2 * ((size_t)fn + 1), sizeof *p->ids, "a function's parts", NULL);
    if (!p->ids)
        return false;
    p->at = p->ids + fn + 1;
    p->at[fn] = 1;
    for (int id = fn; id >= 0; id--) {
        const tp_fn *f = tp_fn_at(algebra, id);
        for (int k = 0; p->at[id] && k < tp_fn_arguments(f); k++)
            p->at[k ? f->b : f->a] = 1;
    }
    for (int id = 0; id <= fn; id++)
        if (p->at[id]) {
            p->at[id] = p->n;
            p->ids[p->n++] = id;
        }
    return true;
}

void tp_fn_parts_free(tp_fn_parts *p)
{
    ad_free(p->ids);
}

void tp_fn_learn(const tp_algebra *algebra, tp_fn *f)
{
    int n = tp_fn_arguments(f), own = 0;
    f->parity = f->op == TP_VARIABLE ? -1 : 1;
    f->smooth = true;
    if (n == 0)
        return;
    const tp_fn *a = tp_fn_at(algebra, f->a), *b = n > 1 ? tp_fn_at(algebra, f->b) : a;
    if (n > 1) {
        f->parity = f->op == TP_TIMES ? a->parity * b->parity : a->parity == b->parity ? a->parity : 0;
        f->smooth = a->smooth && b->smooth;
        return;
    }
    tp_fn_own_kinks(f, &own);
    f->smooth = own == 0 && a->smooth;
    if (a->parity != 1)
        f->parity = f->op == AD_CUSTOM ? 0 : a->parity * a->parity * tp_univariate_op((ad_op)f->op, f->p).parity;
}
