/* train_drift.h: what limn train --drift measures. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_TRAIN_DRIFT_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_TRAIN_DRIFT_H
#include "examples/limn/base/base.h"

/* The spec of --drift for a model of this width; drift_close frees what it holds. */
int drift_open(const options *o, nn_net *net, const ds_data *data, size_t width, nn_drift_spec *spec, ad_error *error);
void drift_close(nn_drift_spec *spec);
/* Number and cost of the measurements, printed; or with the whole series, from the file, into run. */
int drift_tell(const options *o, const nn_progress *last, cJSON *run, ad_error *error);
#endif
