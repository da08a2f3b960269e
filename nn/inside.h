/* inside.h: the inside of a network and of a model, for the files of this folder. */
#ifndef LIMN_NN_INSIDE_H
#define LIMN_NN_INSIDE_H
#include "nn/nn.h"

/* A setting: given, read, or both. */
typedef struct nn_setting {
    struct nn_setting *next;
    const char *key, *value; /* value NULL: not given */
    const char *preset;      /* NULL: not read so far */
} nn_setting;

/* A loss and its gradients, on the network's own graph. */
typedef struct {
    bool traced;
    ad_var loss, target; /* (), and (batch) of class numbers or (batch, outputs) */
    ad_var *gradients;   /* by parameter, with its axes; id -1: the loss does not depend on it */
} nn_traced_loss;

struct nn_net {
    ad_arena *arena;
    ad_graph *graph;
    ad_error error; /* of the settings; the graph has its own */
    nn_spec spec;
    nn_setting *settings;
    ad_axis batch, outputs;
    ad_var input, output;
    ad_var *params;
    int n_params;
    /* Traced when first asked for. The graph only grows, so that the network itself stays what it was. */
    nn_traced_loss losses[2];
    struct nn_tangent *tangent;
};

struct nn_model {
    const nn_net *net;
    size_t n;
    ad_type type;
    int threads;
    ad_sizes sizes;  /* n alone */
    void *values;    /* omega of all parameters, one after another */
    size_t *offsets; /* by parameter, n_params + 1 of them */
    ad_plan *forward;
    size_t forward_rows; /* the capacity of forward */
    void *x;             /* (forward_rows, features) in the model's type */
    struct nn_kernel *kernel;
};

/* net.c */
const char *nn_title(const nn_net *net);
void nn_setting_fail(nn_net *net, const char *key, const char *wanted);

/* recurrent.c */
ad_var nn_rnn(nn_net *net, ad_var x);

/* scale.c: what stands in front of omega, how it starts and learns. */
ad_init nn_weight_init(const nn_net *net, ad_axis in, ad_axis out, double sigma);
ad_init nn_bias_init(const nn_net *net, ad_axis out, double sigma);

/* model.c */
size_t nn_bytes(ad_type type);
ad_sizes nn_sizes(const nn_model *model, size_t rows);
int nn_bind_params(const nn_model *model, ad_plan *plan);
double nn_value(const void *values, size_t i, ad_type type);
/* Copies count doubles into the type; false if one of them is not finite there (*bad: which). */
bool nn_convert(const double *from, size_t count, ad_type type, void *to, size_t *bad);

/* loss.c */
const nn_traced_loss *nn_trace_loss(const nn_net *net, nn_loss loss, ad_error *error);
/* The mean loss and the accuracy of outputs f (rows, outputs), in double; without classes the accuracy is NAN. one_hot:
 * room for (outputs). */
void nn_score(nn_loss loss, const double *f, const nn_data *data, size_t outputs, double *one_hot, double *mean_loss,
              double *accuracy);
/* The targets of the loss, in the type: (rows) class numbers, or (rows, outputs). */
void *nn_targets(const nn_model *model, const nn_data *data, nn_loss loss, size_t *columns, ad_error *error);
/* Sizes, class numbers and finiteness of a data set against the network. */
int nn_check_data(const nn_net *net, const nn_data *data, nn_loss loss, ad_error *error);

/* optimizer.c */
/* Parameter k's learning-rate scale c n^p at these sizes. */
double nn_rate_scale(const nn_net *net, int k, const ad_sizes *sizes);
typedef struct nn_rule nn_rule;
/* spec has its defaults filled in. gradients: as the values, one after another. */
/* outputs: of each parameter, which output of the plan its gradient is, -1 none; these are the plan's last outputs. */
nn_rule *nn_rule_new(const nn_model *model, const nn_fit_spec *spec, const int *outputs, ad_error *error);
void nn_rule_free(nn_rule *rule);
int nn_rule_updates(const nn_rule *rule); /* how many of them it takes by ad_update: all or none */
void nn_rule_step(nn_rule *rule, ad_plan *plan, void *values); /* after a run of the plan */
int nn_rule_states(const nn_rule *rule); /* state arrays, each as long as the values */
void *nn_rule_state(const nn_rule *rule, int k);
long *nn_rule_time(nn_rule *rule); /* steps done */

/* fit.c */
nn_rule *nn_trainer_rule(nn_trainer *trainer);

/* watch.c: the drift that a fit measures. */
typedef struct nn_watch nn_watch;
/* Measures the start; the model is as it was drawn, also where the fit will be resumed. */
nn_watch *nn_watch_new(nn_model *model, const nn_fit_spec *spec, long steps, size_t per_epoch, ad_error *error);
/* Begins the series, or, after step `done` of a resumed fit, goes on with it. */
int nn_watch_begin(nn_watch *watch, bool resumed, long done, ad_error *error);
/* After a step: measures if it is on the schedule; keeps progress's account. */
int nn_watch_step(nn_watch *watch, nn_progress *progress, ad_error *error);
int nn_watch_sync(nn_watch *watch, ad_error *error); /* before a checkpoint: its rows are on the disk */
void nn_watch_free(nn_watch *watch);

/* progress.c */
typedef struct {
    FILE *stream;
    bool terminal, drawn;
    double shown; /* seconds at the last line */
    long tenth;
} nn_bar;
nn_bar nn_bar_new(FILE *stream);
void nn_bar_show(nn_bar *bar, const nn_progress *progress, long first_step, bool last);
void nn_bar_break(nn_bar *bar); /* ends a bar that will not be finished */

/* checkpoint.c: a fit's state in a file. */
typedef struct {
    const char *key;
    char value[64];
} nn_mark;
typedef struct {
    uint64_t step, epoch_rows;
    double loss, epoch_loss;
} nn_position;
int nn_checkpoint_write(const char *path, const nn_model *model, const nn_rule *rule, const nn_mark *marks, int n_marks,
                        const nn_position *position, ad_error *error);
/* All is checked before anything is changed. */
int nn_checkpoint_read(const char *path, nn_model *model, nn_rule *rule, const nn_mark *marks, int n_marks,
                       nn_position *position, ad_error *error);

/* kernel.c */
void nn_kernel_free(struct nn_kernel *kernel);
#endif
