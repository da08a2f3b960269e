/* batch.h: the limit of programs whose samples meet, as in batch normalisation, by exact rules over whole batches. */
#ifndef LIMN_TP_BATCH_BATCH_H
#define LIMN_TP_BATCH_BATCH_H
#include "tp/recursion/recursion.h"

/* The limit by the simple rules: all of x is one batch, all of x2 another. 0; TP_NO_RULE where there is none for
 * something in the program; -1 on other errors. A kernel that failed keeps what was made of it, for its owner to free. */
int tp_limit_coupled(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                     const tp_limit_spec *, tp_kernel *, ad_error *error);
#endif
