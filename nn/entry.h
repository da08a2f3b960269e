/* entry.h: the entry point of a network in a C file of its own, for `limn COMMAND net.c`:
 *
 *     #include "limn.h"
 *     ad_var limn_network(nn_net *net, ad_var x)
 *     {
 *         long depth = nn_setting_int(net, "depth", 2, 1, 64);      read from --set depth=3
 *         ad_axis n = nn_width(net, "n");
 *         for (long layer = 1; layer <= depth; layer++)
 *             x = ad_tanh(nn_dense(net, nn_name(net, "dense%ld", layer), x, n));
 *         return nn_readout(net, "readout", x);
 *     }
 *
 * x is (batch, features); limn compiles the file against itself with $CC or cc and shows its warnings. */
#ifndef LIMN_NN_ENTRY_H
#define LIMN_NN_ENTRY_H
#include "nn/nn.h"
ad_var limn_network(nn_net *net, ad_var x);
#endif
