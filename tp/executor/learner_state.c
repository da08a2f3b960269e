/* learner_state.c: what a learner is after a step, for a checkpoint: draws, what operators have seen, what steps have
 * changed, arrays of parameters, velocities. Passes are run again. */
#include "tp/executor/learner.h"

static int operator_state(tp_operator *w, tp_state *state, int param, int o, ad_error *error)
{
    for (int way = 0; way < 2; way++) {
        if (tp_state_rows(state, &w->seen[way], "matrix.%d.%d.seen%d", param, o, way) ||
            tp_state_rows(state, &w->drawn[way], "matrix.%d.%d.drawn%d", param, o, way))
            return -1;
        if (w->seen[way].n != w->drawn[way].n)
            return ad_fail(error, "a checkpoint: matrix.%d.%d has not a draw for each vector", param, o);
    }
    return 0;
}

/* Of a parameter that is an array. */
static int array_state(tp_learner *l, int k, tp_state *state)
{
    tp_sampler *s = &l->s;
    int id = nn_param(s->program->net, k).id;
    size_t count = ad_elements(s->graph, &ad_node_of(s->graph, id)->shape, &s->sizes);
    if (s->values[id] && tp_state_numbers(state, s->values[id], count, "values.%d", id))
        return -1;
    return l->velocities[k] ? tp_state_numbers(state, l->velocities[k], count, "velocity.%d", id) : 0;
}

int tp_learner_state(tp_learner *l, tp_state *state)
{
    tp_sampler *s = &l->s;
    int n_params = nn_n_params(s->program->net);
    for (int k = 0; k < 2 * s->program->n_nodes; k++)
        for (tp_class *c = s->classes[k]; c; c = c->next)
            if (tp_space_state(&c->space, state, c->number, s->error))
                return -1;
    for (int k = 0; k < s->n_revealed; k++) {
        tp_revealed *f = &s->revealed[k];
        for (int o = 0; o < f->n_operators; o++)
            if (operator_state(&f->operators[o], state, f->param, o, s->error))
                return -1;
        if (f->changes && tp_changes_state(f, state, s->error))
            return -1;
    }
    for (int k = 0; k < n_params; k++)
        if (array_state(l, k, state))
            return -1;
    for (int k = 0; k < n_params && tp_state_reads(state); k++)
        l->aside[k] = false;
    if (tp_state_reads(state))
        l->current = false;
    return 0;
}
