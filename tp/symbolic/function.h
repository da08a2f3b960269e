/* function.h: the parts of a univariate function, for the files that walk them. */
#ifndef LIMN_TP_SYMBOLIC_FUNCTION_H
#define LIMN_TP_SYMBOLIC_FUNCTION_H
#include "tp/symbolic/symbolic.h"

static inline int tp_fn_arguments(const tp_fn *f)
{
    if (f->op == TP_VARIABLE || f->op == TP_NUMBER || f->op == TP_SCALAR)
        return 0;
    return f->op == TP_PLUS || f->op == TP_TIMES ? 2 : 1;
}

/* The points where a function of the op table or a user's, or its derivative, jumps. */
const double *tp_fn_own_kinks(const tp_fn *f, int *count);
#endif
