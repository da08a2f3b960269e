/* univariate_of.c: a function of the algebra as a univariate function of gauss.h. */
#include "tp/symbolic/symbolic.h"

#include <math.h>

static void eval_tree(const tp_univariate *u, size_t n, const double *x, double *y)
{
    const tp_fn_context *context = u->context;
    tp_fn_eval(context->algebra, context->fn, &context->sample, n, x, y);
}

bool tp_univariate_row(const tp_algebra *algebra, int fn, tp_univariate *u)
{
    const tp_fn *f = tp_fn_at(algebra, fn);
    if (f->op == TP_VARIABLE)
        *u = tp_univariate_form(TP_ID, 0);
    else if (f->op == TP_NUMBER && !(fabs(f->p - 1) > 0))
        *u = tp_univariate_form(TP_ONE, 0);
    else if (f->op < AD_CUSTOM && f->a == algebra->variable)
        *u = tp_univariate_op((ad_op)f->op, f->p);
    else
        return false;
    return true;
}

int tp_univariate_tree(const tp_algebra *algebra, int fn, tp_univariate *u)
{
    tp_fn_context *context = ad_arena_alloc(algebra->arena, 1, sizeof *context);
    if (!context)
        return ad_fail(algebra->error, "out of memory for a function");
    if (tp_fn_prepare(algebra, fn))
        return -1;
    *context = (tp_fn_context){ .algebra = algebra, .fn = fn };
    const tp_fn_parts *parts = tp_fn_parts_of(algebra, fn);
    *u = (tp_univariate){ .form = TP_NUMERIC, .eval = eval_tree, .context = context, .steps = parts->n };
    tp_fn_parts_end(algebra, fn, parts);
    return 0;
}

int tp_univariate_of(const tp_algebra *algebra, int fn, tp_univariate *u)
{
    if (tp_univariate_row(algebra, fn, u))
        return 0;
    double *kinks = ad_arena_alloc(algebra->arena, TP_MAX_KINKS, sizeof *kinks);
    if (!kinks)
        return ad_fail(algebra->error, "out of memory for a function");
    if (tp_univariate_tree(algebra, fn, u))
        return -1;
    bool scalars = tp_fn_at(algebra, fn)->scalars;
    u->parity = tp_fn_parity(algebra, fn);
    u->kinks = kinks;
    u->n_kinks = scalars ? 0 : tp_fn_kinks(algebra, fn, NULL, kinks, TP_MAX_KINKS);
    if (u->n_kinks < 0)
        return tp_lacks_memory(algebra);
    if (u->n_kinks > TP_MAX_KINKS)
        return tp_too_many_kinks(algebra, algebra->error, fn, u->n_kinks);
    return scalars ? 0 : tp_in_pieces(u, algebra->arena, algebra->error);
}

int tp_too_many_kinks(const tp_algebra *algebra, ad_error *error, int fn, int found)
{
    char place[TP_PLACE_TEXT];
    return ad_fail(error, "%sa function with %d kinks or more; at most %d are integrated",
                   tp_fn_place(algebra, fn, place), found, TP_MAX_KINKS);
}
