/* derivative.h: a backward pass under way, between backward.c, which walks, and rules.c, which knows the ops. */
#ifndef LIMN_AUTODIFF_TRACE_DERIVATIVE_H
#define LIMN_AUTODIFF_TRACE_DERIVATIVE_H
#include "autodiff/trace/trace.h"

typedef struct {
    ad_where where;
    ad_graph *graph;
    ad_var *adjoint; /* by node; id -1: none yet */
    bool *wanted;    /* depends on a parameter or on one of wrt */
    int n_nodes;     /* up to the one that is derived */
    bool wrt_alone;  /* parameters are constants */
    ad_site *sites;  /* uses of parameters, the last one first */
    int n_sites, sites_capacity;
    ad_shape carried; /* the cotangent's axes that the node has not */
} ad_pass;

void ad_pass_add_site(ad_pass *pass, ad_site site);
/* Gives the operands of node `id` their parts of its adjoint g. */
void ad_pass_rule(ad_pass *pass, int id, ad_var g);
#endif
