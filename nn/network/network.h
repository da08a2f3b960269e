/* network.h: the inside of a traced network. */
#ifndef LIMN_NN_NETWORK_NETWORK_H
#define LIMN_NN_NETWORK_NETWORK_H
#include "autodiff/trace/trace.h"
#include "nn/nn.h"

#include <pthread.h>

/* A setting: given, read, or both. */
typedef struct nn_setting {
    struct nn_setting *next;
    const char *key, *value; /* value NULL: not given */
    const char *preset;      /* NULL: not read so far */
} nn_setting;

/* After those of nn_loss: cross-entropy with smoothed labels. */
enum { NN_SMOOTHED = NN_CROSS_ENTROPY + 1, NN_TRACED_LOSSES };
/* A loss and its gradients, on the network's own graph. */
typedef struct {
    bool traced;
    ad_var loss, target; /* (), and (batch) of class numbers or (batch, outputs) */
    ad_var *gradients;   /* by parameter, with its axes; id -1: the loss does not depend on it */
    ad_var smoothing;    /* (), of NN_SMOOTHED */
} nn_traced_loss;

/* What is to be frozen. */
typedef struct nn_frozen {
    struct nn_frozen *next;
    ad_where where; /* file NULL: nn_spec has it */
    const char *pattern;
} nn_frozen;

/* What exponents of one's own may be given of. */
typedef enum { NN_INPUT_WEIGHT, NN_HIDDEN_WEIGHT, NN_READOUT_WEIGHT, NN_BIAS, NN_OUTPUT_BIAS, NN_GAIN } nn_kind;

/* Exponents of one's own; NAN: as the parametrization has it. */
typedef struct nn_exponents {
    struct nn_exponents *next;
    const char *pattern;
    double a, b, c;
    bool met; /* it fits a parameter */
} nn_exponents;

/* A batch normalisation: the mean and the variance of the batch, and the inputs that replace them in evaluation. */
typedef struct nn_norm {
    struct nn_norm *next;
    const char *name;
    double momentum;
    bool exact; /* without epsilon */
    ad_shape over;
    ad_var batch[2], running[2];
    ad_var fit[2]; /* of the batch in a fit, where some of it is dropped out */
} nn_norm;

/* A dropout: where x passes, what comes in its place in a fit, and the input of its masks, 0 or 1 / keep. */
typedef struct nn_drop {
    struct nn_drop *next;
    const char *name;
    double keep;
    ad_var passes, dropped, mask;
} nn_drop;

/* The network in training, or in evaluation. */
typedef struct {
    ad_var output;
    bool mixes;                         /* an output depends on other samples, too: all rows of a run belong together */
    struct nn_jacobian_trace *jacobian; /* its products with vectors; NULL: not traced yet */
    struct nn_tangent *tangents[2]; /* traced when first asked for: with all seeds at once, and by seeds; lists, of the
                                       outputs' and of those of vectors that were asked for */
} nn_variant;

struct nn_net {
    ad_arena *arena;
    ad_graph *graph;
    ad_error error; /* of the settings; the graph has its own */
    nn_spec spec;
    nn_setting *settings;
    ad_axis batch, outputs;
    ad_var input, output;
    ad_var fit_output; /* of a fit's steps: the same but for dropout */
    ad_var *params;    /* and after them the inputs of the running statistics */
    int n_params, n_statistics;
    nn_norm *norms;
    nn_drop *drops;
    nn_frozen *frozen;
    nn_exponents *exponents;
    const char *exponents_text; /* as they were given, with semicolons; NULL: none */
    nn_variant variants[3];     /* in training; in evaluation, the same without batch normalisation; in a fit's steps,
                                   with masks */
    /* Traced when first asked for. The graph only grows, so that the network itself stays what it was. */
    nn_traced_loss losses[NN_TRACED_LOSSES];
    pthread_mutex_t lock; /* of the graph's growth, the arena and what is kept when first asked for */
};

/* net.c */
const char *nn_title(const nn_net *net);
/* Is there a network? NULL is an error of the one that is traced. */
bool nn_is_there(ad_where where, const char *kind, const nn_net *net);
ad_var nn_nothing(const nn_net *net); /* what a builder gives that has failed */
/* Between the two, this thread alone adds to the net's graph, its arena and what it keeps; nothing else may. What is
 * there already, other threads read all the while (nn/README.md says why they may). The end takes back what a failed
 * trace added, with its error, which becomes the caller's: -1. */
ad_mark nn_growth_begin(const nn_net *net);
int nn_growth_end(const nn_net *net, ad_mark before, const char *what, ad_error *error);
/* A plan of the net's graph, whose error may be another thread's only while it grows. */
ad_plan *nn_plan_new(const nn_net *net, const ad_var *outputs, int n, const ad_plan_spec *spec, ad_error *error);

/* layers.c: can a layer of this kind and name be built on x? If not, the graph is poisoned. */
bool nn_takes(ad_where where, nn_net *net, const char *kind, const char *name, ad_var x);
/* A sigma other than 0: NaN is one, so that a weight or bias is made of it, and refused. */
bool nn_is_given(double sigma);
/* u and a bias, where there is one; a sigma_b of none is an error. */
ad_var nn_with_bias(ad_where where, nn_net *net, const char *name, ad_var u, ad_axis out, bool bias, double sigma_b);

/* settings.c */
void nn_setting_give(nn_net *net, const char *text); /* "key=value"; a key given twice is an error */
void nn_setting_fail(nn_net *net, const char *key, const char *wanted);
/* Of a setting of two words: is it the second one? */
bool nn_setting_is(nn_net *net, const char *key, const char *preset, const char *other);
void nn_settings_check_read(nn_net *net); /* one that nothing read is refused, with the list of those that were */

/* parametrization.c: what stands in front of omega, how it starts and learns, of the parameter of this name. */
ad_init nn_weight_init(nn_net *net, const char *name, ad_axis in, ad_axis out, double sigma);
/* Of a weight that has (in, out) for each of so many offsets of a filter, or positions: they are counted in its
 * fan-in. */
ad_init nn_filter_init(nn_net *net, const char *name, ad_axis in, ad_axis out, size_t offsets, double sigma);
ad_init nn_bias_init(nn_net *net, const char *name, ad_axis out, double sigma);
ad_init nn_table_init(nn_net *net, const char *name, ad_axis out, double sigma); /* of rows that are picked */
ad_init nn_gain_init(nn_net *net, const char *name, ad_axis axis, double start); /* gamma and beta */
/* Is parameter k's rate other than 0? If not, it is a constant of training and of all derivatives by parameters. */
bool nn_learns(const nn_net *net, int k);
/* rate_powers.c: by parameter, the power of n of the largest change that its coordinates, changed by 1, make in what is
 * made of them; -INFINITY: none. */
int nn_change_powers(const nn_net *net, double *powers, ad_error *error);
bool nn_optimizer_adapts(nn_optimizer which); /* its steps divide by the size of the gradients */
/* Parameter k's learning-rate scale c n^p at these sizes, of gradient descent. */
double nn_rate_scale(const nn_net *net, int k, const ad_sizes *sizes);

/* exponents.c: "PATTERN=A,B,C"; what they make of a parameter's init; one that fits none is refused. */
void nn_exponents_give(nn_net *net, const char *text);
ad_init nn_exponents_apply(nn_net *net, nn_kind kind, const char *name, ad_axis out, ad_init init);
void nn_exponents_check_met(nn_net *net);

/* freeze.c: gives the rate 0 to all parameters that were asked for. */
void nn_freeze_params(nn_net *net);

/* dropout.c: the network in a fit, and the statistics of its batches. */
void nn_trace_fit(nn_net *net);
/* The dropout whose masks a node is the input of; NULL: it is none. */
const nn_drop *nn_drop_of(const nn_net *net, int id);
/* Numbers first, first + 1, ... of a dropout's masks, 0 or 1 / keep: functions of seed, stream and number. */
void nn_draw_mask(const nn_drop *drop, uint64_t seed, uint64_t stream, uint64_t first, size_t count, ad_type type,
                  void *values);

/* normalisation.c: the network in evaluation. */
ad_var nn_trace_evaluation(nn_net *net);
/* Lists the mean and the variance of each norm's batch, n_statistics nodes, if one has no epsilon, and its variance is
 * to be checked; else none. */
int nn_norm_outputs(const nn_net *net, ad_var *nodes);
int nn_norm_fit_outputs(const nn_net *net, ad_var *nodes); /* those of a fit, whatever the norms are */
#endif
