/* compile.h: a network in a C file of its own. */
#ifndef LIMN_EXAMPLES_LIMN_BASE_COMPILE_H
#define LIMN_EXAMPLES_LIMN_BASE_COMPILE_H
#include "limn.h"

/* Compiles a C file against the headers of this limn, with $CC or cc, and loads its limn_network (nn/entry.h);
 * *input is its limn_input. What the compiler says goes to standard error. */
nn_function compile_network(const char *path, nn_input_kind *input, ad_error *error);
#endif
