/* schedule.h: what is computed over a tile of pairs, in which order, and where it is kept meanwhile.
 *
 * A kernel is a sum over sites, and its summands are taken group by group: quantities that no other group needs die
 * with their group. Of a recurrent network a group is a lag, so that the recursion runs along lag diagonals.
 *
 * A kernel is linear in most of what it is made of. A recurrent NTK is, at each lag, sum_t q_t B_t with B_t = D_t (c +
 * B_{t+1}), of covariances q_t and derivatives' D_t: B_1 stands last, and needs the D_t and q_t of all steps kept. As
 * in reverse differentiation, its transpose carries along what each B_t weighs in the kernel, W_t = q_t + D_{t-1}
 * W_{t-1}, which is c sum_t D_t W_t: of as many operations, but each step's blocks die with the next. So quantities
 * that the kernel is linear in are never computed; what they weigh is. Each block has a slot, which others take over
 * after its last use. */
#ifndef LIMN_TP_RECURSION_SCHEDULE_H
#define LIMN_TP_RECURSION_SCHEDULE_H
#include "tp/recursion/recursion.h"

/* A quantity and its partner (-1: none), both by tp_fill; out = c + ca a + cb b + cd d; out = a (c + cb b) + cd d. */
typedef enum { TP_STEP_FILL, TP_STEP_SUM, TP_STEP_PRODUCT } tp_step_kind;
/* Of n quantities, block q is quantity q, n + q what it weighs, 2 n + k term k of the series; b, d: -1 is none. */
typedef struct {
    tp_step_kind kind;
    int out, partner, a, b, d;
    double c, ca, cb, cd;
} tp_step;
typedef struct {
    int n_steps, n_slots;
    tp_step *steps;
    int *group;                 /* by quantity: the least number of its group */
    int *slot;                  /* (2 n) by block; -1 of what is not computed */
    bool begins[TP_MAX_POWERS]; /* by term: does any step add to it? the first takes its place */
} tp_schedule;
/* For the series' terms. needed[q]: they are made of it; partner[q]: a quantity that is found in one go with q, or
 * -1. */
int tp_schedule_new(tp_schedule *, const tp_algebra *, const tp_series *, const bool *needed, const int *partner,
                    ad_error *error);
void tp_schedule_free(tp_schedule *);
/* What a quantity is made of for every pair: number k of it, or -1 beyond the last. */
int tp_pair_operand(const tp_quantity *q, int k);
#endif
