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

/* A batch normalisation: the mean and the variance of the batch, and the inputs that replace them in evaluation. */
typedef struct nn_norm {
    struct nn_norm *next;
    const char *name;
    double momentum;
    bool exact; /* without epsilon */
    ad_shape over;
    ad_var batch[2], running[2];
} nn_norm;

/* The network in training, or in evaluation. */
typedef struct {
    ad_var output;
    bool mixes;                     /* an output depends on other samples, too: all rows of a run belong together */
    struct nn_tangent *tangents[2]; /* traced when first asked for: with all seeds at once, and by seeds */
} nn_variant;

struct nn_net {
    ad_arena *arena;
    ad_graph *graph;
    ad_error error; /* of the settings; the graph has its own */
    nn_spec spec;
    nn_setting *settings;
    ad_axis batch, outputs;
    ad_var input, output;
    ad_var *params; /* and after them the inputs of the running statistics */
    int n_params, n_statistics;
    nn_norm *norms;
    nn_variant variants[2]; /* in training; in evaluation, the same without batch normalisation */
    /* Traced when first asked for. The graph only grows, so that the network itself stays what it was. */
    nn_traced_loss losses[2];
};

/* What a kernel whose samples meet may take, in bytes; 0: as kernel_seeds.c has it. */
typedef struct {
    size_t whole; /* of the panels of all seeds at once: above, they come in stores */
    size_t run;   /* of the plan of one run */
    size_t store; /* of what is kept of the seeds of one side */
} nn_kernel_limits;

struct nn_model {
    const nn_net *net;
    size_t n;
    ad_type type;
    int threads;
    ad_sizes sizes; /* n alone */
    nn_mode mode;
    void *values;    /* omega of all parameters, one after another, and then the running statistics */
    size_t *offsets; /* by parameter and statistic, n_params + n_statistics + 1 of them */
    struct {
        ad_plan *plan;
        size_t rows; /* its capacity */
        void *x;     /* (rows, features) in the model's type */
    } forward[2];    /* in training and in evaluation */
    struct nn_kernel *kernel;
    nn_kernel_limits limits;
};

/* net.c */
const char *nn_title(const nn_net *net);
void nn_setting_fail(nn_net *net, const char *key, const char *wanted);

/* norm.c: the network in evaluation, and the running statistics. */
ad_var nn_trace_evaluation(nn_net *net);
/* Lists the mean and the variance of each norm's batch, n_statistics nodes. `checked`: only if nn_norm_check wants
 * them, else none. */
int nn_norm_outputs(const nn_net *net, bool checked, ad_var *nodes);
/* These are outputs first, first + 1, ... of a plan: moves the running statistics by them; refuses a variance of 0
 * where there is no epsilon. */
void nn_norm_update(nn_model *model, const ad_plan *plan, int first, size_t rows);
int nn_norm_check(const nn_model *model, const ad_plan *plan, int first, size_t rows, ad_error *error);
int nn_norm_check_rows(const nn_model *model, size_t rows, ad_error *error); /* a batch of one, before it is run */

/* batchnorm.c */
ad_var nn_batchnorm_net(nn_net *net, ad_var x);

/* recurrent.c */
ad_var nn_rnn(nn_net *net, ad_var x);

/* scale.c: what stands in front of omega, how it starts and learns. */
ad_init nn_weight_init(const nn_net *net, ad_axis in, ad_axis out, double sigma);
ad_init nn_bias_init(const nn_net *net, ad_axis out, double sigma);

/* model.c */
/* Training (0) or evaluation (1); where the model's mode leaves it open, `otherwise`. 0 where both are the same. */
int nn_variant_of(const nn_model *model, nn_mode otherwise);
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
int nn_rule_updates(const nn_rule *rule);                      /* how many of them it takes by ad_update: all or none */
void nn_rule_step(nn_rule *rule, ad_plan *plan, void *values); /* after a run of the plan */
int nn_rule_states(const nn_rule *rule);                       /* state arrays, each as long as the values */
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
