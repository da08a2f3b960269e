/* networks.h: the networks that come with the library, as their table has them. */
#ifndef LIMN_NN_NETWORKS_NETWORKS_H
#define LIMN_NN_NETWORKS_NETWORKS_H
#include "nn/network/network.h"

ad_var nn_mlp_network(nn_net *net, ad_var x);
ad_var nn_rnn_network(nn_net *net, ad_var x);
ad_var nn_batchnorm_network(nn_net *net, ad_var x);
#endif
