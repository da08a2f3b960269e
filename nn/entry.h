/* entry.h: the entry point of a network in a C file of its own, for `limn COMMAND net.c`:
 *
 *     #include "limn.h"
 *     ad_var limn_network(nn_net *net, ad_var x)                  // x is (batch, features)
 *     {
 *         long depth = nn_setting_int(net, "depth", 2, 1, 64);    // --set depth=3; else 2; from 1 to 64
 *         ad_axis n = nn_width(net, "n");                         // a symbol: --width N, or infinite
 *         for (long layer = 1; layer <= depth; layer++)
 *             x = ad_tanh(nn_dense(net, nn_name(net, "dense%ld", layer), x, n));
 *         return nn_readout(net, "readout", x);                   // (batch, outputs)
 *     }
 *
 * limn compiles the file against itself with $CC or cc and shows its warnings; nothing else is to be built. Settings
 * are read with nn_setting_int, _real, _text and _sigma of nn/nn.h; one that is given and not read is an error.
 *
 * A network of sequences says so, and its x is (batch, time, features); an image is then a sequence of its rows:
 *
 *  const nn_input_kind limn_input = NN_SEQUENCE;
 *
 * One of images says NN_IMAGE, and its x is (batch, rows, columns, channels). */
#ifndef LIMN_NN_ENTRY_H
#define LIMN_NN_ENTRY_H
#include "nn.h"

LIMN_API_BEGIN
ad_var limn_network(nn_net *net, ad_var x);
extern const nn_input_kind limn_input; /* may be left out: NN_FEATURES */
LIMN_API_END
#endif
