/* learner.h: private: a program that learns at n = infinity. */
#ifndef LIMN_TP_EXECUTOR_LEARNER_H
#define LIMN_TP_EXECUTOR_LEARNER_H
#include "tp/executor/draws.h"
#include "tp/executor/sampler.h"

/* A count of rows, of bases and of what operators have seen and drawn, and what it was when it was marked. */
typedef struct {
    int *count, kept;
} tp_mark;

struct tp_learner {
    tp_sampler s;
    tp_program view;         /* of the caller's, with what lives here */
    const ad_var *gradients; /* by parameter */
    double **velocities;     /* by parameter; NULL: it is an operator, or does not learn */
    bool *aside;             /* by parameter: a readout, whose draws join the basis when it is centred */
    int forward_levels;
    const double *last; /* of these inputs the forward pass is there, if it is current */
    size_t last_rows;
    bool current, passed; /* no step since; there was a forward pass since the mark */
    tp_mark *marks;       /* NULL: nothing was marked */
    int n_marks;
};

/* ---- readouts.c ---- */
/* Takes the draws of readouts, which pass through nothing that they are averaged with, off their bases, once all
 * parameters are drawn. */
int tp_readouts_lay_aside(tp_learner *l);
#endif
