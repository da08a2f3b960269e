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
long *nn_rule_time(nn_rule *rule);     /* steps done */
double *nn_rule_factor(nn_rule *rule); /* of all rates, for the steps to come */

/* schedule.c */
/* Fills in the defaults of what is beside the optimizer; refuses what has no meaning. spec's rate is settled. */
int nn_schedule_settle(nn_fit_spec *spec, ad_error *error);
/* What the rate is multiplied by before a step, counted from 0. */
double nn_schedule_factor(const nn_fit_spec *spec, long step, long steps, size_t per_epoch);

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
enum { NN_MAX_MARKS = 32 };
typedef struct {
    const char *key;
    char value[64];
} nn_mark;
/* What must be the same for a resumed fit to go on as if it had not stopped; how many. spec is settled. */
int nn_make_marks(nn_mark *marks, const nn_model *model, const nn_data *data, const nn_fit_spec *spec, size_t batch,
                  long steps);
uint64_t nn_hash_numbers(uint64_t seed, const double *data, size_t count);
uint64_t nn_hash_data(const nn_net *net, const nn_data *data); /* of all numbers; y may be NULL */
typedef struct {
    uint64_t step, epoch_rows;
    double loss, epoch_loss;
} nn_position;

/* best_weights.c: the best weights so far, by a validation part. */
typedef struct {
    const nn_data *data; /* NULL: none */
    void *values;        /* as the model's, with its running statistics; NULL without data */
    double loss, last;   /* of these, and of the last epoch's */
    uint64_t step, wait; /* after how many steps they were, 0: none yet; and how many epochs in a row were no better */
} nn_best;
int nn_best_open(nn_best *best, const nn_model *model, const nn_fit_spec *spec, ad_error *error);
/* After an epoch, and so many steps. */
int nn_best_look(nn_best *best, nn_model *model, const nn_fit_spec *spec, long step, ad_error *error);
bool nn_best_is_over(const nn_best *best, const nn_fit_spec *spec); /* patience is at its end */
void nn_best_restore(const nn_best *best, nn_model *model); /* the model becomes the best one, if there is one */
void nn_best_close(nn_best *best);

/* A fit's parts that a checkpoint keeps; rule's states and best's values are written to by a read. */
typedef struct {
    nn_model *model;
    nn_rule *rule;
    nn_best *best;
    nn_position *position;
    const nn_mark *marks;
    int n_marks;
} nn_fit_state;
int nn_checkpoint_write(const char *path, const nn_fit_state *state, ad_error *error);
/* All is checked before anything is changed. */
int nn_checkpoint_read(const char *path, const nn_fit_state *state, ad_error *error);

#endif
