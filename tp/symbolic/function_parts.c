/* function_parts.c: what a function is made of, each part once, and what is known of it from its parts. */
#include "autodiff/plan/plan.h"
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

/* Where a function stands among the parts. */
static int place_of(const tp_fn_parts *p, int id)
{
    int low = 0, high = p->n - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (p->at[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int tp_fn_keep_parts(tp_algebra *algebra, int fn)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    const int n = tp_fn_arguments(f);
    void *all = algebra->parts;
    if (!ad_arena_grow(algebra->arena, &all, fn, &algebra->parts_capacity, sizeof *algebra->parts))
        return -1;
    algebra->parts = all;
    const tp_fn_parts none = { 0 }, *a = n > 0 ? &algebra->parts[f->a] : &none,
                      *b = n > 1 ? &algebra->parts[f->b] : &none;
    tp_fn_parts own = { .at = ad_arena_alloc(algebra->arena, (size_t)(a->n + b->n) + 1, sizeof *own.at) };
    if (!own.at)
        return -1;
    for (int i = 0, k = 0; i < a->n || k < b->n;) {
        int next = k == b->n || (i < a->n && a->at[i].id <= b->at[k].id) ? a->at[i].id : b->at[k].id;
        i += i < a->n && a->at[i].id == next;
        k += k < b->n && b->at[k].id == next;
        own.at[own.n++].id = next;
    }
    own.at[own.n++].id = fn;
    for (int k = 0; k < own.n; k++) {
        const tp_fn *part = tp_fn_at(algebra, own.at[k].id);
        int count = tp_fn_arguments(part);
        own.at[k].a = count > 0 ? place_of(&own, part->a) : -1;
        own.at[k].b = count > 1 ? place_of(&own, part->b) : -1;
    }
    algebra->parts[fn] = own;
    return 0;
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
