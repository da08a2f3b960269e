/* second_opinion.h: what the executor says of an exact kernel, of a program whose sites are those that count. */
#ifndef LIMN_TP_SECOND_OPINION_H
#define LIMN_TP_SECOND_OPINION_H
#include "tp/tp.h"

/* tp_second_opinion of tp.h; *opinion is empty before. */
int tp_hear_samples(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                    const tp_limit_spec *, const tp_kernel *found, double seconds, tp_opinion *opinion,
                    ad_error *error);
#endif
