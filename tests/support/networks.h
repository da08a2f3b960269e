/* networks.h: small networks that both the tests and the benchmarks train at n = infinity. */
#ifndef LIMN_TESTS_NETWORKS_H
#define LIMN_TESTS_NETWORKS_H
#include "limn.h"

/* A bias and an affine layer norm, then GELU. */
ad_var network_normalised(nn_net *net, ad_var x);
/* Rows of a table of three, read by the first feature. */
ad_var network_embedded(nn_net *net, ad_var x);
/* A matrix and its transpose in one pass: Z dot. */
ad_var network_tied(nn_net *net, ad_var x);
#endif
