/* regime.h: private: the coordinate check of limn regime. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_REGIME_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_REGIME_H
#include "examples/limn/commands/commands.h"
#include "examples/limn/report/report.h"

/* A vector's name, or a title, in a column as wide as the longest name. */
void regime_print_name(const tp_regime *r, const char *name);
/* Trains networks at several widths, and prints the fitted powers of n beside the derived ones, or, with a root, puts
 * them there as "check". */
int regime_check(const options *o, const nn_net *net, const ds_data *data, const tp_program *program, cJSON *root,
                 ad_error *error);
#endif
