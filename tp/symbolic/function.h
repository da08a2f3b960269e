/* function.h: the parts of a univariate function, for the files that walk them. */
#ifndef LIMN_TP_SYMBOLIC_FUNCTION_H
#define LIMN_TP_SYMBOLIC_FUNCTION_H
#include "tp/symbolic/symbolic.h"

/* The functions that one is made of, itself the last: each once, and after its arguments. The shared parts of nested
 * functions are many times as many when they are counted as a tree. */
typedef struct {
    int n;
    int *ids;
    int *at; /* by id: its place among them */
} tp_fn_parts;
/* To be freed with tp_fn_parts_free; false without memory. */
bool tp_fn_parts_of(const tp_algebra *, int fn, tp_fn_parts *);
void tp_fn_parts_free(tp_fn_parts *);

static inline int tp_fn_arguments(const tp_fn *f)
{
    if (f->op == TP_VARIABLE || f->op == TP_NUMBER || f->op == TP_SCALAR)
        return 0;
    return f->op == TP_PLUS || f->op == TP_TIMES ? 2 : 1;
}

/* The points where a function of the op table or a user's, or its derivative, jumps. */
const double *tp_fn_own_kinks(const tp_fn *f, int *count);
#endif
