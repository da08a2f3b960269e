/* context.c: an algebra from its making to its end: tables, memo, and the first of what is in them. */
#include "tp/symbolic/symbolic.h"

/* The tables of an algebra, number by number. */
static tp_table *table_of(tp_algebra *algebra, int k)
{
    tp_table *tables[] = { &algebra->fns,        &algebra->gvars,  &algebra->lins,  &algebra->coordinates,
                           &algebra->quantities, &algebra->series, &algebra->points };
    return k < (int)(sizeof tables / sizeof *tables) ? tables[k] : NULL;
}

int tp_algebra_new(tp_algebra *algebra, const tp_program *program, ad_error *error)
{
    *algebra = (tp_algebra){ .program = program, .graph = program->graph, .error = error };
    algebra->arena = ad_arena_new(error);
    if (!algebra->arena)
        return -1;
    for (int k = 0; table_of(algebra, k); k++)
        if (tp_table_new(table_of(algebra, k), algebra->arena, error))
            return -1;
    if (tp_memo_new(&algebra->memo, algebra->arena, error))
        return -1;
    algebra->variable = tp_fn_intern(algebra, (tp_fn){ .op = TP_VARIABLE });
    if (algebra->variable < 0)
        return tp_lacks_memory(algebra);
    return tp_q_number(algebra, 1) == TP_Q_ONE ? 0 : -1;
}

void tp_algebra_free(tp_algebra *algebra)
{
    for (int k = 0; table_of(algebra, k); k++)
        tp_table_free(table_of(algebra, k));
    tp_memo_free(&algebra->memo);
    ad_arena_free(algebra->arena);
}
