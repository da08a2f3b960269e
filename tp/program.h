/* program.h: what a program is, for the files of this folder. */
#ifndef LIMN_TP_PROGRAM_H
#define LIMN_TP_PROGRAM_H
#include "tp/tp.h"

/* The trace that is translated: the output f (batch, outputs), and the sites that the backward pass from a delta over
 * (outputs', outputs) found. Nodes below `forward` are the forward pass. */
struct tp_program {
    nn_net *net;
    ad_graph *graph;
    ad_var output;
    ad_axis seed; /* outputs' */
    int forward, nodes; /* how many nodes the forward pass has, and both passes */
    ad_site *sites;
    int n_sites;
};
#endif
