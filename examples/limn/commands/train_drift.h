/* train_drift.h: what limn train --drift measures. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_TRAIN_DRIFT_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_TRAIN_DRIFT_H
#include "examples/limn/base/base.h"

/* The spec of --drift for a model of this width, with what samples say of the limit kernel, if it was found;
 * drift_close frees what it holds. */
int drift_open(const options *o, nn_net *net, const ds_data *data, size_t width, nn_drift_spec *spec,
               tp_opinion *opinion, ad_error *error);
void drift_close(nn_drift_spec *spec);
/* Number and cost of the measurements and the opinion, printed; or with the whole series, from the file, into run. */
int drift_tell(const options *o, const nn_progress *last, const tp_opinion *opinion, cJSON *run, ad_error *error);
#endif
