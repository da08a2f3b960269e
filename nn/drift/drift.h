/* drift.h: the drift that a fit measures on its way. */
#ifndef LIMN_NN_DRIFT_DRIFT_H
#define LIMN_NN_DRIFT_DRIFT_H
#include "nn/loss/loss.h"

typedef struct nn_watch nn_watch;
/* Measures the start; the model is as it was drawn, also where the fit will be resumed. */
nn_watch *nn_watch_new(nn_model *model, const nn_fit_spec *spec, long steps, size_t per_epoch, ad_error *error);
/* Begins the series, or, after step `done` of a resumed fit, goes on with it. */
int nn_watch_begin(nn_watch *watch, bool resumed, long done, ad_error *error);
/* After a step: measures if it is on the schedule; keeps progress's account. */
int nn_watch_step(nn_watch *watch, nn_progress *progress, ad_error *error);
int nn_watch_sync(nn_watch *watch, ad_error *error); /* before a checkpoint: its rows are on the disk */
void nn_watch_free(nn_watch *watch);

/* Between two measurements: so many a decade, or so many steps; `every` 0 is the schedule's own. */
long nn_schedule_apart(nn_drift_schedule schedule, long every, size_t per_epoch, long steps);
/* The first step after `step` that is measured; LONG_MAX after the last one. */
long nn_schedule_after(nn_drift_schedule schedule, long apart, long steps, long step);

#endif
