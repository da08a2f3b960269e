/* nests.c: nested loops over strided operands. */
#include "autodiff/plan/steps.h"

void ad_nest_collapse(ad_nest *nest, int operands)
{
    int kept = 0;
    for (int i = 0; i < nest->rank; i++) {
        if (nest->size[i] == 1)
            continue;
        bool joins = kept > 0;
        for (int o = 0; joins && o < operands; o++)
            joins = nest->stride[o][kept - 1] == nest->stride[o][i] * (ptrdiff_t)nest->size[i];
        int to = joins ? kept - 1 : kept++;
        nest->size[to] = joins ? nest->size[to] * nest->size[i] : nest->size[i];
        for (int o = 0; o < operands; o++)
            nest->stride[o][to] = nest->stride[o][i];
    }
    nest->rank = kept;
}

size_t ad_nest_turns(const ad_nest *nest, int rank)
{
    size_t turns = 1;
    for (int i = 0; i < rank; i++)
        turns *= nest->size[i];
    return turns;
}

void ad_nest_seek(const ad_nest *nest, int rank, size_t turn, size_t *index, ptrdiff_t at[3])
{
    at[0] = at[1] = at[2] = 0;
    for (int i = rank - 1; i >= 0; i--) {
        size_t here = turn % nest->size[i];
        turn /= nest->size[i];
        if (index)
            index[i] = here;
        for (int o = 0; o < 3; o++)
            at[o] += (ptrdiff_t)here * nest->stride[o][i];
    }
}

void ad_nest_next(const ad_nest *nest, int rank, size_t *index, ptrdiff_t at[3])
{
    for (int i = rank - 1; i >= 0; i--) {
        for (int o = 0; o < 3; o++)
            at[o] += nest->stride[o][i];
        if (++index[i] < nest->size[i])
            return;
        index[i] = 0;
        for (int o = 0; o < 3; o++)
            at[o] -= nest->stride[o][i] * (ptrdiff_t)nest->size[i];
    }
}

void ad_nest_add(ad_nest *nest, size_t size, ptrdiff_t out, ptrdiff_t a, ptrdiff_t b)
{
    int i = nest->rank++;
    nest->size[i] = size;
    nest->stride[0][i] = out;
    nest->stride[1][i] = a;
    nest->stride[2][i] = b;
}
