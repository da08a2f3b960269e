/* context.c: an algebra from its making to its end: tables, memo, and the first of what is in them. */
#include "tp/symbolic/symbolic.h"

#include <string.h>

enum { TABLES = 10 };

static void list_tables(tp_algebra *algebra, tp_table *tables[TABLES])
{
    tp_table *all[TABLES] = { &algebra->fns,        &algebra->gvars,  &algebra->lins,   &algebra->coordinates,
                              &algebra->quantities, &algebra->series, &algebra->points, &algebra->carriers,
                              &algebra->groups,     &algebra->memo };
    memcpy(tables, all, sizeof all);
}

int tp_algebra_new(tp_algebra *algebra, const tp_program *program, ad_error *error)
{
    *algebra = (tp_algebra){ .program = program, .graph = program->graph, .error = error, .node = -1 };
    algebra->arena = ad_arena_new(error);
    if (!algebra->arena)
        return -1;
    ad_arena_limit(algebra->arena, (size_t)TP_MOST_GIGABYTES << 30);
    if (!(algebra->starved = ad_arena_alloc(algebra->arena, 1, sizeof *algebra->starved)))
        return tp_lacks_memory(algebra);
    *algebra->starved = false;
    tp_table *tables[TABLES];
    list_tables(algebra, tables);
    for (int k = 0; k < TABLES; k++)
        if (tp_table_new(tables[k], algebra->arena, error))
            return -1;
    algebra->variable = tp_fn_intern(algebra, (tp_fn){ .op = TP_VARIABLE });
    if (algebra->variable < 0)
        return tp_lacks_memory(algebra);
    return tp_q_number(algebra, 1) == TP_Q_ONE && tp_q_number(algebra, 0) == TP_Q_ZERO ? 0 : -1;
}

void tp_algebra_free(tp_algebra *algebra)
{
    tp_table *tables[TABLES];
    list_tables(algebra, tables);
    for (int k = 0; k < TABLES; k++)
        tp_table_free(tables[k]);
    ad_arena_free(algebra->arena);
}
