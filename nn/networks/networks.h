/* networks.h: the networks that come with the library, as their table has them. */
#ifndef LIMN_NN_NETWORKS_NETWORKS_H
#define LIMN_NN_NETWORKS_NETWORKS_H
#include "nn/network/network.h"

ad_var nn_mlp_network(nn_net *net, ad_var x);
ad_var nn_rnn_network(nn_net *net, ad_var x);
ad_var nn_batchnorm_network(nn_net *net, ad_var x);
ad_var nn_cnn_network(nn_net *net, ad_var x);

/* choices.c: the position of a setting's value among words (ended by NULL); the first is the default. */
int nn_setting_choice(nn_net *net, const char *key, const char *const *words, const char *wanted);
double nn_setting_dropout(nn_net *net);            /* dropout: the probability to keep, 1 unless given */
bool nn_setting_yes(nn_net *net, const char *key); /* no or yes, no unless given */

/* torch_cells.c: PyTorch's recurrent layers. */
typedef enum { NN_TORCH_RNN, NN_TORCH_GRU, NN_TORCH_LSTM, NN_TORCH_CELLS } nn_torch_cell;
typedef struct {
    nn_net *net;
    nn_torch_cell cell;
    const char *phi;
    long depth;
    bool bidirectional, bias;
    double sigma_w, sigma_u, sigma_b; /* of the state's, the input's and the biases' weights */
    ad_axis n, features;
} nn_torch_spec;
/* The states of the last layer by direction and step, from x by step, (batch, features). How many directions, 1 or 2;
 * -1: out of memory. */
int nn_torch_layers(const nn_torch_spec *spec, ad_var *x, int steps, ad_var *states[2]);
/* The weight of one of n_parts parts of an input: name, or name.forward and name.backward. */
nn_weight nn_torch_weight(nn_net *net, const char *name, int n_parts, int part, ad_axis in, ad_axis out, double sigma);
#endif
