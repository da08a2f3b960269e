/* families.c: the floor of families: their tables, and how one is refused. */
#include "tp/batch/families.h"

#include <string.h>

int tp_family_no_memory(const tp_families *f)
{
    return ad_fail(f->algebra.error, "out of memory while solving the program");
}

int tp_family_refuse(tp_families *f, int node, const char *reason)
{
    f->algebra.refused = true;
    return tp_refuse(&f->algebra, node, "%s", reason);
}

int tp_families_new(tp_families *f, const tp_program *program, ad_error *error)
{
    memset(f, 0, sizeof *f);
    if (tp_algebra_new(&f->algebra, program, error))
        return -1;
    tp_table *tables[] = { &f->lins, &f->bases, &f->families };
    for (size_t i = 0; i < 3; i++)
        if (tp_table_new(tables[i], f->algebra.arena, error))
            return -1;
    return 0;
}

void tp_families_free(tp_families *f)
{
    tp_table_free(&f->lins);
    tp_table_free(&f->bases);
    tp_table_free(&f->families);
    tp_algebra_free(&f->algebra);
}

const tp_family *tp_family_at(const tp_families *f, int family)
{
    return tp_table_at(&f->families, family);
}

const tp_base *tp_base_at(const tp_families *f, int base)
{
    return tp_table_at(&f->bases, base);
}

const tp_batch_lin *tp_batch_lin_at(const tp_families *f, int lin)
{
    return tp_table_at(&f->lins, lin);
}
