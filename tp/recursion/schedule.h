/* schedule.h: in which order the quantities of a tile of pairs are computed, and where they are kept meanwhile.
 *
 * A kernel is a sum over sites, and its summands are taken group by group: quantities that no other group needs die
 * with their group. Of a recurrent network a group is a lag, so that the recursion runs along lag diagonals and holds
 * only as many blocks as one diagonal has steps. Each quantity has a slot, which others take over after its last
 * use. */
#ifndef LIMN_TP_RECURSION_SCHEDULE_H
#define LIMN_TP_RECURSION_SCHEDULE_H
#include "tp/recursion/recursion.h"

typedef enum { TP_STEP_FILL, TP_STEP_ADD, TP_STEP_ADD_PRODUCT } tp_step_kind;
typedef struct {
    tp_step_kind kind;
    int id, partner; /* fill: what is computed, and with it (-1: nothing); add: c id, add product: c id partner ... */
    int term;        /* ... to this term of the series */
    double c;
} tp_step;
typedef struct {
    int n_steps, n_slots;
    tp_step *steps;
    int *slot; /* by quantity; -1 of what is not computed */
} tp_schedule;
/* For the series' terms. needed[q]: they are made of it; partner[q]: a quantity that is found in one go with q, or
 * -1. */
int tp_schedule_new(tp_schedule *, const tp_algebra *, const tp_series *, const bool *needed, const int *partner,
                    ad_error *error);
void tp_schedule_free(tp_schedule *);
#endif
