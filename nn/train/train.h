/* train.h: the parts of a fit. */
#ifndef LIMN_NN_TRAIN_TRAIN_H
#define LIMN_NN_TRAIN_TRAIN_H
#include "nn/drift/drift.h"

/* optimizer.c */
typedef struct nn_rule nn_rule;
/* The name and the value of the k-th number that the optimizer takes, NULL beyond the last; spec is settled. */
const char *nn_optimizer_number(const nn_fit_spec *spec, int k, double *value);
/* Fills in the optimizer's defaults; refuses what cannot train. */
int nn_rule_settle(nn_fit_spec *spec, ad_error *error);
/* spec is settled. outputs: of each parameter, which output of the plan its gradient is, -1 none; these are the plan's
 * last outputs. */
nn_rule *nn_rule_new(const nn_model *model, const nn_fit_spec *spec, const int *outputs, ad_error *error);
void nn_rule_free(nn_rule *rule);
int nn_rule_updates(const nn_rule *rule);                      /* how many of them it takes by ad_update: all or none */
void nn_rule_step(nn_rule *rule, ad_plan *plan, void *values); /* after a run of the plan */
int nn_rule_states(const nn_rule *rule);                       /* state arrays, each as long as the values */
const char *nn_rule_state_name(const nn_rule *rule, int k);
void *nn_rule_state(const nn_rule *rule, int k);
long *nn_rule_time(nn_rule *rule); /* steps done */

/* fit.c: how many steps the spec asks for; 0: none. */
long nn_fit_steps(const nn_fit_spec *spec, size_t per_epoch);

/* trainer.c */
nn_rule *nn_trainer_rule(nn_trainer *trainer);

/* batches.c: a data set in a type, and the order of its rows in one epoch. */
typedef struct {
    void *x, *y; /* (rows, features), (rows, columns) */
    size_t rows, features, columns, batch, per_epoch, bytes;
    bool shuffled;
    size_t *order;
    long order_epoch; /* -1: none yet */
    void *batch_x, *batch_y;
    uint64_t seed;
} nn_feed;
int nn_feed_open(nn_feed *feed, const nn_net *net, ad_type type, const nn_data *data, const nn_fit_spec *spec,
                 ad_error *error);
/* The batch of a step: its rows, and how many. */
size_t nn_feed_batch(nn_feed *feed, long step, const void **x, const void **y);
void nn_feed_close(nn_feed *feed);

/* progress_bar.c */
typedef struct {
    FILE *stream;
    bool terminal, drawn;
    double shown; /* seconds at the last line */
    long tenth;
} nn_bar;
nn_bar nn_bar_new(FILE *stream);
void nn_bar_show(nn_bar *bar, const nn_progress *progress, long first_step, bool last);
void nn_bar_break(nn_bar *bar); /* ends a bar that will not be finished */

/* fit_checkpoint.c: a fit's state in a file. */
enum { NN_MAX_MARKS = 24 };
typedef struct {
    const char *key;
    char value[64];
} nn_mark;
/* What must be the same for a resumed fit to go on as if it had not stopped; how many. spec is settled. */
int nn_make_marks(nn_mark *marks, const nn_model *model, const nn_data *data, const nn_fit_spec *spec, size_t batch);
typedef struct {
    uint64_t step, epoch_rows;
    double loss, epoch_loss;
} nn_position;
int nn_checkpoint_write(const char *path, const nn_model *model, const nn_rule *rule, const nn_mark *marks, int n_marks,
                        const nn_position *position, ad_error *error);
/* All is checked before anything is changed. */
int nn_checkpoint_read(const char *path, nn_model *model, nn_rule *rule, const nn_mark *marks, int n_marks,
                       nn_position *position, ad_error *error);

#endif
