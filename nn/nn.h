/* nn.h: networks: what users write with. A network is a C function that is traced once, with widths as symbols:
 *
 *     static ad_var mlp(nn_net *net, ad_var x)
 *     {
 *         ad_axis n = nn_width(net, "n");
 *         for (int layer = 1; layer <= 2; layer++)
 *             x = ad_relu(nn_dense(net, nn_name(net, "dense%d", layer), x, n));
 *         return nn_readout(net, "readout", x);
 *     }
 *
 * Settings (depth=3, phi=tanh, ...) are read while the function runs, with nn_setting_*; each call names the setting,
 * its default, and so also documents it: a setting given but never read is an error that lists those that were.
 *
 * Threads. One net may serve several threads: all functions that take a `const nn_net *` or a model may be called at
 * the same time, and so may tp_translate, as long as each model (and its trainer and drift) is used by one thread at a
 * time and an ad_error by one as well. What comes out is what one thread alone gives, bit for bit. Not at the same time
 * as any of these: nn_net_free, and builders of one's own on nn_graph(net). While its function is traced, a net belongs
 * to the thread of nn_trace. */
#ifndef LIMN_NN_H
#define LIMN_NN_H
#include "../autodiff/autodiff.h"
#include "optimizers.h"

LIMN_API_BEGIN

/* ---- tracing a network ------------------------------------------------------------------------------------------- */
typedef struct nn_net nn_net;
/* The user's function: x is (batch, features), or (batch, shape...); returns the outputs (batch, outputs). */
typedef ad_var (*nn_function)(nn_net *net, ad_var x);

/* How multipliers, deviations and learning rates scale with the fan-in (THEORY section 2, the abc table). */
#define NN_PARAMETRIZATIONS(ROW) ROW(NTK, ntk) ROW(STANDARD, standard) ROW(MEANFIELD, meanfield) ROW(MUP, mup)
#define NN_PARAMETRIZATION(NAME, word) NN_##NAME,
typedef enum { NN_PARAMETRIZATIONS(NN_PARAMETRIZATION) NN_N_PARAMETRIZATIONS } nn_parametrization;
#undef NN_PARAMETRIZATION
const char *nn_parametrization_name(nn_parametrization which); /* "ntk" */
/* Where sigma stands: in the initial deviation (omega ~ N(0, sigma^2)), or in the multiplier (omega ~ N(0, 1)). */
typedef enum { NN_SIGMA_INIT, NN_SIGMA_MULTIPLIER } nn_sigma_in;

typedef struct {
    size_t features; /* inputs of one sample */
    size_t shape[4]; /* their sizes after batch: {features} (if all 0), {time, features}, {rows, columns,
                                    channels} or {frames, rows, columns, channels}; so the axes are called, too */
    size_t outputs;  /* the default of the setting "outputs"; 0: 1 */
    nn_parametrization parametrization;
    nn_sigma_in sigma_in;
    const char *const *settings; /* "key=value", ended by NULL; may be NULL */
    const char *name;            /* of the network, for messages; may be NULL */
    const char *const *freeze;   /* as by nn_freeze, ended by NULL; may be NULL */
    /* Exponents of one's own in place of the parametrization's, "PATTERN=A,B,C", ended by NULL; may be NULL: W = n^-a
     * omega, omega of deviation sigma n^-b, rate n^-c, for n the fan-in, or the fan-out where the fan-in is fixed; each
     * a number, or - to leave it. PATTERN is input, hidden, readout, bias, output-bias, gain (gamma and beta, c alone),
     * or a layer's parameter by name or pattern ("dense1.*"); a later one counts. A c holds for every optimizer, with
     * NN_BASE_WIDTH's convention for those that divide by the gradient's size. Parameters that a network makes by
     * ad_param itself keep what it gave them. */
    const char *const *abc;
} nn_spec;

nn_net *nn_trace(nn_function function, const nn_spec *spec, ad_error *error);
void nn_net_free(nn_net *net); /* not nn_free: nanomsg, which Criterion loads, has that name */
ad_graph *nn_graph(const nn_net *net);
ad_var nn_input(const nn_net *net);  /* (batch, ...) */
ad_var nn_output(const nn_net *net); /* (batch, outputs) */
ad_axis nn_batch(const nn_net *net);
ad_axis nn_outputs(const nn_net *net); /* the outputs' axis */
const nn_spec *nn_spec_of(const nn_net *net);
int nn_n_params(const nn_net *net);        /* how many parameters */
ad_var nn_param(const nn_net *net, int k); /* in the order of creation */
#define nn_params(net) nn_n_params(net)    /* its name before 0.1 */
size_t nn_features(const nn_net *net);
size_t nn_n_outputs(const nn_net *net);

/* ---- what a network function calls ------------------------------------------------------------------------------ */
ad_axis nn_width_at(ad_where, nn_net *, const char *name, double ratio);
#define nn_width(net, name) nn_width_at(AD_HERE, net, name, 1)
#define nn_width_ratio(net, name, ratio) nn_width_at(AD_HERE, net, name, ratio)
const char *nn_name_at(ad_where, nn_net *, const char *format, ...) AD_PRINTF(3, 4); /* lives as long as the net */
#define nn_name(...) nn_name_at(AD_HERE, __VA_ARGS__)

/* A dense layer's settings. Zero-initialised: sigma_w 1, no bias. */
typedef struct {
    double sigma_w; /* 0: 1 */
    bool bias;
    double sigma_b;  /* without a bias: an error */
    bool orthogonal; /* the weights are nn_orthogonal's */
} nn_dense_spec;
/* u = W x (+ b) over the last axis of x; names "name.weight" (in, out) and "name.bias" (out). */
ad_var nn_dense_at(ad_where, nn_net *, const char *name, ad_var x, ad_axis out, const nn_dense_spec *);
#define nn_dense(net, name, x, out) nn_dense_at(AD_HERE, net, name, x, out, NULL)
#define nn_dense_with(net, name, x, out, ...)                                                                          \
    nn_dense_at(AD_HERE, net, name, x, out, LIMN_MADE(nn_dense_spec, __VA_ARGS__))
/* A dense layer onto the network's outputs (axis "outputs", of the setting's size). */
ad_var nn_readout_at(ad_where, nn_net *, const char *name, ad_var x, const nn_dense_spec *);
#define nn_readout(net, name, x) nn_readout_at(AD_HERE, net, name, x, NULL)
#define nn_readout_with(net, name, x, ...) nn_readout_at(AD_HERE, net, name, x, LIMN_MADE(nn_dense_spec, __VA_ARGS__))
/* A single weight (in, out) or bias (out) with the net's parametrization: the raw omega, and its product with x already
 * multiplied by c n^p. Sharing is using the handle twice. */
typedef struct {
    ad_var omega;
    double c, power; /* the multiplier, of the axis fan_in */
    ad_axis fan_in;
} nn_weight;
nn_weight nn_weight_at(ad_where, nn_net *, const char *name, ad_axis in, ad_axis out, double sigma);
/* A weight between two widths that starts as an orthogonal matrix of Haar's law times sigma, W W' = sigma^2 (between
 * widths of different size, the side of the smaller one is orthogonal): the QR decomposition of a Gaussian one, with
 * R's diagonal positive. Its limit kernels are those of Gaussian weights where it is used once. */
nn_weight nn_orthogonal_at(ad_where, nn_net *, const char *name, ad_axis in, ad_axis out, double sigma);
nn_weight nn_bias_at(ad_where, nn_net *, const char *name, ad_axis out, double sigma);
ad_var nn_apply_at(ad_where, nn_weight, ad_var x);   /* c n^p x W : axis in becomes out */
ad_var nn_apply_t_at(ad_where, nn_weight, ad_var y); /* with W transposed, and the same multiplier */
ad_var nn_add_bias_at(ad_where, nn_weight bias, ad_var x);
#define nn_make_weight(...) nn_weight_at(AD_HERE, __VA_ARGS__)
#define nn_orthogonal(...) nn_orthogonal_at(AD_HERE, __VA_ARGS__)
#define nn_make_bias(...) nn_bias_at(AD_HERE, __VA_ARGS__)
#define nn_apply(...) nn_apply_at(AD_HERE, __VA_ARGS__)
#define nn_apply_t(...) nn_apply_t_at(AD_HERE, __VA_ARGS__)
#define nn_add_bias(...) nn_add_bias_at(AD_HERE, __VA_ARGS__)
/* An embedding: row x of a table of `entries` rows of a width: x (...), whole numbers from 0 (another is an error of
 * the run), gives (..., out). Parameter "name.weight" (entries, out), one row of which is met at a time: it is
 * parametrized like a bias of sigma, whatever the number of entries. In the limit it is an input layer of one-hot
 * rows. */
ad_var nn_embedding_at(ad_where, nn_net *, const char *name, ad_var x, size_t entries, ad_axis out, double sigma);
#define nn_embedding(...) nn_embedding_at(AD_HERE, __VA_ARGS__)
/* A coordinatewise function by name: relu, leaky, abs, tanh, erf, gelu, sin, ...; another is an error listing all. */
ad_var nn_activation_at(ad_where, nn_net *, const char *name, ad_var x);
#define nn_activation(...) nn_activation_at(AD_HERE, __VA_ARGS__)

/* Normalisation: z = (u - m) / sqrt(v + epsilon), m and v the mean and the biased variance of u over some axes; with
 * `affine` z gamma + beta, parameters "name.weight" and "name.bias" over the last axis of u that start at 1 and 0.
 * Zero-initialised: epsilon 1e-5, not affine. */
typedef struct {
    double epsilon; /* 0: 1e-5 */
    bool exact;     /* no epsilon: a variance of 0 is an error when the network runs */
    bool affine;
    double momentum; /* batchnorm: of the running statistics; 0: 0.1 */
    ad_shape over;   /* the axes of m and v; none: as each layer says */
} nn_norm_spec;
/* Over the batch; `over` may name more axes: (batch, time). The samples of a batch meet here. In evaluation m and v are
 * running statistics, "name.running_mean" and "name.running_var", which start at 0 and 1 and follow the batches of a
 * fit: r = (1 - momentum) r + momentum s, s a batch's mean or its unbiased variance. Where a network normalises at
 * every time step, each has a name of its own. */
ad_var nn_batchnorm_at(ad_where, nn_net *, const char *name, ad_var u, const nn_norm_spec *);
#define nn_batchnorm(net, name, u) nn_batchnorm_at(AD_HERE, net, name, u, NULL)
#define nn_batchnorm_with(net, name, u, ...)                                                                           \
    nn_batchnorm_at(AD_HERE, net, name, u, LIMN_MADE(nn_norm_spec, __VA_ARGS__))
/* Of every sample alone, over the last axis of u: its width, or its features. */
ad_var nn_layernorm_at(ad_where, nn_net *, const char *name, ad_var u, const nn_norm_spec *);
#define nn_layernorm(net, name, u) nn_layernorm_at(AD_HERE, net, name, u, NULL)
#define nn_layernorm_with(net, name, u, ...)                                                                           \
    nn_layernorm_at(AD_HERE, net, name, u, LIMN_MADE(nn_norm_spec, __VA_ARGS__))
/* Of every sample alone, over the channels of a group and the axes before them (`over`: these axes only): the last axis
 * of u is fixed, and falls into so many groups of neighbours. */
ad_var nn_groupnorm_at(ad_where, nn_net *, const char *name, ad_var u, size_t groups, const nn_norm_spec *);
#define nn_groupnorm(net, name, u, groups) nn_groupnorm_at(AD_HERE, net, name, u, groups, NULL)
#define nn_groupnorm_with(net, name, u, groups, ...)                                                                   \
    nn_groupnorm_at(AD_HERE, net, name, u, groups, LIMN_MADE(nn_norm_spec, __VA_ARGS__))

/* Dropout (Srivastava et al. 2014): while a network trains each number of x, (batch, ...), is kept with the probability
 * `keep`, above 0 and at most 1, and then divided by it; else it is 0. PyTorch's p is 1 - keep. The masks are functions
 * of the name, the fit's seed and the step. It is the identity in all but a fit's steps: in nn_forward, nn_evaluate,
 * and in kernels and limits unless nn_set_dropout or tp_translate_training ask for it. */
ad_var nn_dropout_at(ad_where, nn_net *, const char *name, ad_var x, double keep);
#define nn_dropout(net, name, x, keep) nn_dropout_at(AD_HERE, net, name, x, keep)

/* ---- convolutions ---- */
/* What stands around a picture: nothing; zeros, so that the output has ceil(size / stride) positions, half of them
 * rounded down on the low side; or its own other end. */
typedef enum { NN_SAME, NN_VALID, NN_CIRCULAR } nn_padding;
/* A filter's settings. Zero-initialised: 3 entries along each axis, stride 1, dilation 1, zeros around, sigma_w 1, no
 * bias, over all fixed axes before the last. A number of the second axis that is 0 is that of the first. */
typedef struct {
    size_t filter[2], stride[2], dilation[2];
    nn_padding padding;
    double sigma_w; /* 0: 1 */
    bool bias;
    double sigma_b; /* without a bias: an error */
    ad_shape over;  /* one or two fixed axes of x; none: all between the batch and the channels */
    size_t groups;  /* 0: no groups, and `out` is a width; else both channels' axes are fixed, and fall into so many
                      groups of neighbours, of which each has its own filter */
} nn_conv_spec;
/* Convolution, or what the field calls so: u(p) = sum over offsets k of x(s p + d k) W_k (+ b) of x (batch, rows,
 * columns, channels), or (batch, time, features); the last axis of x, its channels, becomes `out`, a width. Positions
 * keep their axes where their number stays, and are else "rows.14" and the like, so that layers of one size can be
 * added; zeros around a picture are on no side more than it has entries; windows that do not divide the picture are
 * left out at its end. "name.weight" (offsets.., channels, out) has the multiplier 1/sqrt(channels x offsets), all
 * offsets counted at borders, too, and is (groups, offsets.., channels of a group, filters of a group) where there
 * are such; "name.bias" (out). */
ad_var nn_conv_at(ad_where, nn_net *, const char *name, ad_var x, ad_axis out, const nn_conv_spec *);
#define nn_conv(net, name, x, out) nn_conv_at(AD_HERE, net, name, x, out, NULL)
#define nn_conv_with(net, name, x, out, ...)                                                                           \
    nn_conv_at(AD_HERE, net, name, x, out, LIMN_MADE(nn_conv_spec, __VA_ARGS__))
/* The same with a filter of its own at each position (locally connected): "name.weight" (positions.., offsets..,
 * channels, out); the bias is one for all. */
ad_var nn_local_at(ad_where, nn_net *, const char *name, ad_var x, ad_axis out, const nn_conv_spec *);
#define nn_local(net, name, x, out) nn_local_at(AD_HERE, net, name, x, out, NULL)
#define nn_local_with(net, name, x, out, ...)                                                                          \
    nn_local_at(AD_HERE, net, name, x, out, LIMN_MADE(nn_conv_spec, __VA_ARGS__))
/* Transposed: u(p) = sum over positions q and offsets k with s q + k = p + low of x(q) W_k (+ b). Without padding there
 * are s (size - 1) + k positions and low = 0, with zeros around (NN_SAME) s size, low half of what is left out, rounded
 * down; there is no other padding, and no dilation. The fan-in is channels x offsets. */
ad_var nn_conv_transpose_at(ad_where, nn_net *, const char *name, ad_var x, ad_axis out, const nn_conv_spec *);
#define nn_conv_transpose(net, name, x, out) nn_conv_transpose_at(AD_HERE, net, name, x, out, NULL)
#define nn_conv_transpose_with(net, name, x, out, ...)                                                                 \
    nn_conv_transpose_at(AD_HERE, net, name, x, out, LIMN_MADE(nn_conv_spec, __VA_ARGS__))
/* The mean, or the largest, of windows. Zero-initialised: windows of 2 along each axis, side by side. */
typedef struct {
    size_t window[2], stride[2]; /* stride 0: the window */
    ad_shape over;               /* as a filter's */
} nn_pool_spec;
ad_var nn_average_pool_at(ad_where, nn_net *, ad_var x, const nn_pool_spec *);
ad_var nn_max_pool_at(ad_where, nn_net *, ad_var x, const nn_pool_spec *);
#define nn_average_pool(net, x) nn_average_pool_at(AD_HERE, net, x, NULL)
#define nn_average_pool_with(net, x, ...) nn_average_pool_at(AD_HERE, net, x, LIMN_MADE(nn_pool_spec, __VA_ARGS__))
#define nn_max_pool(net, x) nn_max_pool_at(AD_HERE, net, x, NULL)
#define nn_max_pool_with(net, x, ...) nn_max_pool_at(AD_HERE, net, x, LIMN_MADE(nn_pool_spec, __VA_ARGS__))
/* The mean over all positions: (batch, channels). */
ad_var nn_global_pool_at(ad_where, nn_net *, ad_var x);
#define nn_global_pool(net, x) nn_global_pool_at(AD_HERE, net, x)
/* Onto the network's outputs, with a weight for each position and channel: "name.weight" (positions.., channels,
 * outputs), whose fan-in is all of them. */
ad_var nn_flatten_readout_at(ad_where, nn_net *, const char *name, ad_var x, const nn_dense_spec *);
#define nn_flatten_readout(net, name, x) nn_flatten_readout_at(AD_HERE, net, name, x, NULL)
#define nn_flatten_readout_with(net, name, x, ...)                                                                     \
    nn_flatten_readout_at(AD_HERE, net, name, x, LIMN_MADE(nn_dense_spec, __VA_ARGS__))

/* The parameters of that name or of the layer of that name ("readout": "readout.weight" and "readout.bias"; or a shell
 * pattern, "*.bias") get the rate 0: they stay as they start, in training, and are constants in every tangent kernel,
 * limit and prediction. One that no parameter of the network has is an error of nn_trace. */
void nn_freeze_at(ad_where, nn_net *, const char *pattern);
#define nn_freeze(...) nn_freeze_at(AD_HERE, __VA_ARGS__)

long nn_setting_int_at(ad_where, nn_net *, const char *key, long preset, long minimum, long maximum);
double nn_setting_real_at(ad_where, nn_net *, const char *key, double preset); /* finite */
const char *nn_setting_text_at(ad_where, nn_net *, const char *key, const char *preset);
/* A bias's setting: "none" gives false, a number >= 0 gives true and *sigma. */
bool nn_setting_sigma_at(ad_where, nn_net *, const char *key, const char *preset, double *sigma);
#define nn_setting_int(...) nn_setting_int_at(AD_HERE, __VA_ARGS__)
#define nn_setting_real(...) nn_setting_real_at(AD_HERE, __VA_ARGS__)
#define nn_setting_text(...) nn_setting_text_at(AD_HERE, __VA_ARGS__)
#define nn_setting_sigma(...) nn_setting_sigma_at(AD_HERE, __VA_ARGS__)

/* For sequences of unequal length, padded with zeros in front: (batch, present), 0 for a step t of x (batch, time,
 * features) before the first one that has a feature other than 0, else 1; the axis present has size 1. A weight of
 * `present` is a bias that a padding step does not have. */
ad_var nn_padding_mask_at(ad_where, nn_net *, ad_var x, size_t t);
#define nn_padding_mask(...) nn_padding_mask_at(AD_HERE, __VA_ARGS__)
#define nn_present nn_padding_mask /* its name before 0.1 */

/* The built-in networks ("mlp", "rnn", "batchnorm", "cnn"); NULL if there is none of that name. */
nn_function nn_builtin(const char *name);
/* What a network takes of one sample: its features in a row; a sequence, (time, features), as an image is of rows; or
 * an image, (rows, columns, channels). */
typedef enum { NN_FEATURES, NN_SEQUENCE, NN_IMAGE } nn_input_kind;
nn_input_kind nn_builtin_input(const char *name);
const char *const *nn_builtin_names(void); /* ended by NULL */

/* ---- at a finite width ------------------------------------------------------------------------------------------- */
typedef struct nn_model nn_model;
/* The network at width n, drawn from seed. float or double. */
nn_model *nn_model_new(const nn_net *net, size_t n, uint64_t seed, ad_type type, int threads, ad_error *error);
/* The same network at the same width, with the weights and statistics that `from` has now, its seed, type, threads and
 * mode: a model of its own, of the same network. NULL with an error. Several threads may copy one model at once. */
nn_model *nn_model_copy(const nn_model *from, ad_error *error);
void nn_model_free(nn_model *model);
const nn_net *nn_model_net(const nn_model *model);
size_t nn_model_width(const nn_model *model);
/* Parameter k's values omega, row-major, float or double; all parameters lie contiguous. */
void *nn_param_values(nn_model *model, int k, size_t *count);
size_t nn_model_size(const nn_model *model); /* numbers in all */
/* What batch normalisation normalises with. In training the rows of one call are one batch, and meet; in evaluation
 * each is alone with the running statistics, and a kernel costs what it costs without batch normalisation. */
typedef enum {
    NN_AUTO, /* nn_forward and nn_evaluate: evaluation; kernels: training, as in the limit */
    NN_TRAINING,
    NN_EVALUATION
} nn_mode;
void nn_set_mode(nn_model *model, nn_mode mode); /* of all but a fit, whose steps are in training */
/* Whether kernels are those of a step of a fit, with the masks of nn_dropout; at the start they are not. Each row of x,
 * and of x2, has masks of its own, functions of the model's seed and of its number. */
void nn_set_dropout(nn_model *model, bool drops);
bool nn_has_dropout(const nn_net *net);
/* The running statistics, a mean and a variance for each nn_batchnorm in the order of the trace: how many there are,
 * the name of one, and its values, in the model's type. */
int nn_n_statistics(const nn_net *net);
const char *nn_statistic_name(const nn_net *net, int k);
void *nn_statistic(nn_model *model, int k, size_t *count);
/* Outputs (rows, outputs) of rows inputs (rows, features), in chunks. */
int nn_forward(nn_model *model, const double *x, size_t rows, double *out, ad_error *error);

/* The values of any node of the network's trace, a hidden layer's say, at inputs x (rows, features), row-major in the
 * order of its axes; all rows are one batch. */
int nn_activations(nn_model *model, ad_var node, const double *x, size_t rows, double *out, ad_error *error);
/* The same of n nodes, one or more, by one run: out[k] has nodes[k]'s. */
int nn_activations_many(nn_model *model, const ad_var *nodes, int n, const double *x, size_t rows, double *const *out,
                        ad_error *error);

typedef enum { NN_SQUARE, NN_CROSS_ENTROPY } nn_loss; /* mean over the batch of |f - y|^2 / 2, or of -log softmax */
/* NN_SGD, NN_MOMENTUM, NN_ADAM, ...: the rows of nn/optimizers.h, with what a step does. */
#define NN_OPTIMIZER(NAME, ...) NN_##NAME,
typedef enum { NN_OPTIMIZERS(NN_OPTIMIZER) NN_N_OPTIMIZERS } nn_optimizer;
#undef NN_OPTIMIZER
const char *nn_optimizer_name(nn_optimizer which); /* "sgd" */
/* By parameter, the power p of the width that its rate has, (n / n_0)^p: of an optimizer linear in the gradient the
 * parametrization's (with n_0 = 1); of one that divides by the gradient's size the power by which each use of the
 * parameter changes a coordinate of what it makes by the rate, at every width: a - w for the multiplier n^-a and w
 * widths that the use sums over, by the trace; of several uses that of the largest change. */
int nn_rate_powers(const nn_net *net, nn_optimizer optimizer, double *powers, ad_error *error);
enum { NN_BASE_WIDTH = 512 };

/* Targets: y (rows) of class numbers if classes > 0 (the square loss then takes one-hot rows), else (rows, outputs). */
typedef struct {
    const double *x, *y;
    size_t rows, classes;
} nn_data;

typedef struct nn_drift_spec nn_drift_spec; /* below, with what it measures */
typedef struct nn_drift_row nn_drift_row;

typedef struct nn_progress {
    long step, steps;
    double loss;      /* of the last batch, before its step */
    double mean_loss; /* over the rows of this epoch so far; a resumed fit goes on with it */
    long epoch;       /* of the last batch, from 0 */
    double seconds;   /* since nn_fit was called */
    long measured;    /* measurements of drift in these seconds, and what they took of them */
    double measuring;
    /* With validation data: its loss after the last whole epoch, the smallest one, and the steps done then (0: none) */
    double validation_loss, best_loss;
    long best_step;
} nn_progress;

/* What a fit's rate is multiplied by before step t = 0, 1, ... of T, with w steps of warm-up: (t + 1) / (w + 1) for
 * t < w, and then by the schedule's factor at s = t - w:
 *
 *     constant  1
 *     step      gamma^k after k times step_size epochs, PyTorch's StepLR
 *     cosine    m + (1 - m) (1 + cos(pi s / (T - w))) / 2 with m = rate_min / rate (Loshchilov and Hutter,
 *               arXiv:1608.03983, eq. 5, without restarts; PyTorch's CosineAnnealingLR, stepped each batch) */
typedef enum { NN_RATE_CONSTANT, NN_RATE_STEP, NN_RATE_COSINE } nn_rate_schedule;

typedef struct {
    nn_loss loss;
    nn_optimizer optimizer;
    double rate; /* 0: the optimizer's; times each parameter's own scale, see base_width */
    bool frozen; /* the rate is 0: steps are taken, and no parameter moves */
    /* Of the raw omega of every parameter, biases as well, and in its own unit; 0: the optimizer's, which is none but
     * for AdamW (AdamW without any is Adam). Added to the gradient, or decoupled, as nn/optimizers.h says. */
    double weight_decay;
/* momentum, beta1, beta2, epsilon, ...: of those optimizers that take them; 0: as nn/optimizers.h has it. */
#define NN_NUMBER(name, ...) double name;
    NN_OPTIMIZER_NUMBERS(NN_NUMBER)
#undef NN_NUMBER
    size_t batch;  /* 0: all rows, no shuffling */
    double epochs; /* used where steps is 0 */
    long steps;
    uint64_t seed; /* of the shuffling: a permutation an epoch */
    long every;    /* callback each `every` steps; 0: none but the last */
    int (*callback)(const nn_progress *, nn_model *, void *context); /* nonzero stops */
    void *context;
    FILE *progress;         /* a bar if it is a terminal, else a line now and then; NULL: silent */
    const char *checkpoint; /* written each `checkpoint_every` steps and at the end; NULL: none */
    long checkpoint_every;
    const char *resume;         /* a checkpoint to go on from; NULL: from the start */
    const nn_drift_spec *drift; /* measures the tangent kernel on the way; NULL: does not */
    size_t base_width; /* n_0 of nn_rate_powers, where the optimizer divides by the gradient's size: the width at which
                          `rate` is every parameter's own; 0: NN_BASE_WIDTH. The network's own: one rate for all */
    nn_rate_schedule schedule;
    double step_size, gamma; /* of NN_RATE_STEP: in epochs, and the factor after each; gamma 0: 0.1 */
    double rate_min;         /* of NN_RATE_COSINE, at most rate: where it ends */
    long warm_up;            /* steps of warm-up, of every schedule */
    /* Where the norm of the loss's gradient, by all omega that learn, is above `clip`, it is multiplied by
     * clip / (norm + 1e-6), before weight decay: PyTorch's clip_grad_norm_. 0: it is not. */
    double clip;
    /* Cross-entropy only, from 0 and below 1: the target is (1 - s) times the class and s / outputs for each (Szegedy
     * et al., arXiv:1512.00567, section 7). Of the steps' loss; not of nn_evaluate's. */
    double label_smoothing;
    /* Data whose loss (nn_evaluate's) is looked at after each epoch; NULL: none. A fit that does not fail ends with the
     * weights and running statistics of the smallest such loss, or with its last ones if no epoch came to its end; a
     * checkpoint has the last ones, and these beside them. */
    const nn_data *validation;
    long patience;    /* so many epochs in a row without a smaller loss end the fit; 0: none does */
    const char *best; /* written by nn_save whenever the loss is smaller; NULL: none */
} nn_fit_spec;
/* Trains. A loss that is not finite stops it with an error that names the step. On failure the model's parameters are
 * those of the last step done. */
int nn_fit(nn_model *model, const nn_data *data, const nn_fit_spec *spec, nn_progress *last, ad_error *error);
/* Mean loss and accuracy of nn_forward's outputs; each may be NULL. */
int nn_evaluate(nn_model *model, const nn_data *data, nn_loss loss, double *mean_loss, double *accuracy,
                ad_error *error);

/* A fit in single steps, for benchmarks and for loops of one's own: nn_fit is made of it. */
typedef struct nn_trainer nn_trainer;
nn_trainer *nn_trainer_new(nn_model *model, const nn_fit_spec *spec, size_t batch, ad_error *error);
int nn_trainer_step(nn_trainer *trainer, const void *x, const void *y, size_t rows, double *loss,
                    ad_error *error); /* model's type */
/* The steps to come are with `factor` times the spec's rate, whose schedule a trainer does not follow by itself. */
void nn_trainer_scale_rate(nn_trainer *trainer, double factor);
void nn_trainer_free(nn_trainer *trainer);

/* Weights and running statistics as .safetensors: raw omega, shape (in, out), names as in the trace; whole or not at
 * all. The file says what network it is of: its name, parametrization, sigma_in, all settings, and a mark of its
 * trace. */
int nn_save(nn_model *model, const char *path, ad_error *error);
/* Reads F64, F32, F16 or BF16, or a fit's checkpoint; every name, shape and value is checked first. Weights of another
 * network, or of other settings, are refused; those of another parametrization or sigma_in are converted, W being the
 * same, where both traces compute the same of W, and else refused. A file that says nothing of its network is taken by
 * names and shapes; the layout of a square matrix is then to be given by nn_load_layout. num_batches_tracked (PyTorch)
 * is left out. */
int nn_load(nn_model *model, const char *path, ad_error *error);
/* How matrices lie in a file that does not say: limn's are (in, out), PyTorch's (out, in). */
typedef enum { NN_LAYOUT_AUTO, NN_LAYOUT_IN_OUT, NN_LAYOUT_OUT_IN } nn_layout;
int nn_load_layout(nn_model *model, const char *path, nn_layout layout, ad_error *error);
/* What a file of weights or a checkpoint says of its network. */
typedef struct {
    const char *network; /* its name; NULL: not said */
    bool tells_scale;    /* whether it says these two */
    nn_parametrization parametrization;
    nn_sigma_in sigma_in;
    const char *const *settings; /* all, defaults included, as "key=value"; ended by NULL */
    size_t sample[4];            /* the sizes of a sample's axes, as in nn_spec.shape; all 0: not said */
    ad_type type;                /* AD_DOUBLE if a tensor is F64 */
    const char *abc;             /* exponents of one's own, as nn_spec.abc's with semicolons between; NULL: none */
} nn_weights_info;
nn_weights_info *nn_weights_info_read(const char *path, ad_error *error);
void nn_weights_info_free(nn_weights_info *info);
/* The width at which the file has the shapes of the net's parameters; 0 with an error if none of its tensors tells. */
size_t nn_width_of_weights(const nn_net *net, const char *path, ad_error *error);

/* Takes over the parameters and running statistics of a model of the same width in another parametrization or sigma_in,
 * or the other type: omega changes, W stays. Refused unless both traces compute the same of W. */
int nn_copy_weights(nn_model *to, const nn_model *from, ad_error *error);

/* ---- weights from and to PyTorch --------------------------------------------------------------------------------- */
/* A PyTorch model's tensors as .safetensors. Its matrices are (out, in), and those of recurrent layers hold all gates
 * (LSTM: i, f, g, o; GRU: r, z, n): parameters called NAME.i, NAME.f, ... of NAME = weight_ih_l0 and the like are rows
 * of one tensor; those called NAME.forward and NAME.backward are halves of its columns (torch_cells.c makes such
 * names). Filters, (offsets.., in, out) here, are (out, in, offsets..), and a readout of all positions is (out, in *
 * positions), as that of a Linear after Flatten.
 *
 * Which tensor is which parameter: by `maps` ("TORCH=LIMN" of tensors, or of the modules before the last dot, ended by
 * NULL; may be NULL); then by equal names; then modules whose tensors have equal last names and shapes are taken in the
 * order of the trace and of the numbers in their names ("layers.0" before "layers.10"). What stays open is an error
 * that lists both sides. Tensors num_batches_tracked are left out; every other one must have its parameter.
 *
 * W of PyTorch is omega where all multipliers are 1, in the standard parametrization with NN_SIGMA_INIT: the models of
 * these functions are of it, and nn_copy_weights goes from and to all others. */
typedef void (*nn_told)(const char *torch, const char *limn, void *context); /* called for each tensor; may be NULL */
/* Fills in the width, unless it is given, and of the spec features (of sequences: shape = {2, features}; that of an
 * image must be given, whose channels may be 0) and outputs, unless they or a setting "outputs" are given, so that the
 * network has the tensors' shapes. */
int nn_import_sizes(nn_function function, nn_input_kind input, nn_spec *spec, size_t *width, const char *path,
                    const char *const *maps, ad_error *error);
int nn_import(nn_model *model, const char *path, const char *const *maps, nn_told each, void *context, ad_error *error);
/* Tensors are called as in the file `like`, by the same rules; NULL: as ours are. They are of `type`. */
int nn_export(const nn_model *model, const char *path, const char *like, const char *const *maps, ad_type type,
              nn_told each, void *context, ad_error *error);

/* ---- empirical kernels ------------------------------------------------------------------------------------------- */
typedef enum { NN_FULL, NN_MEAN } nn_kernel_outputs; /* [N, M, O, O], or its mean over the diagonal of [O, O]: [N, M] */
/* In all of these, and in products with the Jacobian, a parameter whose rate is 0 (nn_freeze) is a constant.
 *
 * The tangent kernel over omega of model at x (rows) and x2 (rows2; NULL: x itself), from the tangent terms
 * sum over sites of <delta, delta'> <y, y'> (THEORY section 2), in tiles of samples. Where samples meet (batch
 * normalisation in training), all rows of x are one batch, and all of x2 another: each output's gradient goes through
 * every sample of its batch. */
int nn_ntk(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2, nn_kernel_outputs outputs,
           double *out, ad_error *error);
/* The NNGP kernel of this draw's last hidden features: the mean of f f' over a new draw of the readout, that is of the
 * parameters with the outputs' axis. f must be linear in them; if not, the error names the op that is in the way. */
int nn_nngp(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2, nn_kernel_outputs outputs,
            double *out, ad_error *error);
/* The kernel that gradient descent with one rate moves the outputs by: as nn_ntk, with each parameter's learning-rate
 * scale (n in the mean-field scale, and of gamma and beta in mu-P; else 1). */
int nn_training_kernel(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2,
                       nn_kernel_outputs outputs, double *out, ad_error *error);
/* A part of the tangent kernel. Zero-initialised: the whole. */
typedef struct {
    const bool *params; /* (nn_n_params): the parameters whose parts of the sum count; NULL: all */
    ad_var of;          /* a hidden vector of the trace, (batch, axis), whose coordinates take the outputs' place (O is
                           the axis's size, and NN_MEAN the mean over them); graph NULL: the outputs */
} nn_kernel_part;
/* As nn_ntk, of a part: the kernels of parts that have each parameter once sum up to the whole. Vectors are those of
 * the training trace, as in nn_activations: with batch normalisation in evaluation a part of one is refused. */
int nn_ntk_part(nn_model *model, const nn_kernel_part *part, const double *x, size_t rows, const double *x2,
                size_t rows2, nn_kernel_outputs outputs, double *out, ad_error *error);
/* The NNGP kernel of such a vector h at this width, the mean of h h' over its coordinates: out (rows, rows2). */
int nn_nngp_vector(nn_model *model, ad_var vector, const double *x, size_t rows, const double *x2, size_t rows2,
                   double *out, ad_error *error);
/* What nn_ntk (nngp: nn_nngp) of these inputs takes beside them and its result, which is not computed: bytes, and
 * seconds where the batch is so large that it comes output by output of its samples: from one of its runs. NAN
 * otherwise. */
int nn_kernel_cost(nn_model *model, bool nngp, const double *x, size_t rows, const double *x2, size_t rows2,
                   nn_kernel_outputs outputs, double *bytes, double *seconds, ad_error *error);
/* By parameter: the initial variance of a readout's, 0 of the others: the NNGP kernel is the tangent kernel with these
 * weights. Fails where the outputs are not linear in the readout, or the readout's mean is not 0. */
int nn_readout_variances(const nn_net *net, const ad_sizes *sizes, double *variances, ad_error *error);
/* What the kernel that trains the readout alone, all else frozen, is over the NNGP kernel: the learning-rate scale by
 * the initial variance, which all readouts must share: 1 / sigma_w^2 with sigma in the initial deviation, 1 with it in
 * the multiplier. Fails besides where a readout is frozen or starts at 0. */
int nn_readout_rate(const nn_net *net, const ad_sizes *sizes, double *rate, ad_error *error);

/* ---- the Jacobian without the kernel ----------------------------------------------------------------------------- */
/* J (rows outputs, nn_model_size) is the Jacobian of the outputs by omega at the model's weights, in the order of
 * nn_param_values; it is not formed. In the mode NN_AUTO these are of the network in evaluation, as nn_forward, but for
 * nn_ntk_vector, which is of the network in training, as nn_ntk. Each is reverse passes through the trace, one for
 * J^T v, two for J t, in chunks of rows where samples do not meet; the plans are the model's, and a second call of no
 * more rows allocates no others. Vectors are double whatever the model's type; one that is not finite there is an
 * error. */
/* J^T v: v (rows, outputs), out (nn_model_size). */
int nn_vector_jacobian(nn_model *model, const double *x, size_t rows, const double *v, double *out, ad_error *error);
/* J t: t (nn_model_size), out (rows, outputs). */
int nn_jacobian_vector(nn_model *model, const double *x, size_t rows, const double *t, double *out, ad_error *error);
/* Theta(x, x2) v = J(x) J(x2)^T v: v (rows2, outputs), out (rows, outputs). x2 NULL: x, and v (rows, outputs). Where
 * samples meet, all of x is one batch and all of x2 another. */
int nn_ntk_vector(nn_model *model, const double *x, size_t rows, const double *x2, size_t rows2, const double *v,
                  double *out, ad_error *error);
/* f(x; w0) + J(x; w0) (w - w0): the network linearised about w0, the model's weights, at w (nn_model_size); out
 * (rows, outputs). */
int nn_linearised(nn_model *model, const double *w, const double *x, size_t rows, double *out, ad_error *error);

/* ---- drift of the tangent kernel while a network trains ---------------------------------------------------------- */
/* When a fit measures: before its first step, after its last, and in between after the steps round(10^(k/every)), every
 * so many a decade (0: 10); after each `every` steps or epochs (0: 1); or not at all. */
typedef enum { NN_LOG_STEPS, NN_STEPS, NN_EPOCHS, NN_ENDS } nn_drift_schedule;

struct nn_drift_spec {
    nn_data probes;      /* at least 2 rows; where samples meet in batch normalisation, one batch */
    const double *limit; /* Theta_inf, (probes, probes); NULL: unknown */
    nn_drift_schedule schedule;
    long every;
    double share;    /* measurements that would cost more than this part of the fit's time are left out, and then the
                            rows depend on the machine; 0: none is */
    const char *csv; /* one header line, then a line a measurement, on the disk when the next step begins; NULL: none */
    int (*each)(const nn_drift_row *, void *context, ad_error *error); /* before its line; nonzero fails the fit */
    void *context;
};

enum { NN_EIGENVALUES = 5 };

/* A measurement: Theta_t, the mean over outputs of the NTK of the probes, beside Theta_0, Theta_inf and the labels'
 * kernel Y Y^T (Y one-hot rows or targets). |A| is the Frobenius norm, <A, B> / |A||B| the alignment of Cristianini et
 * al. (2001); centred, of H A H and H B H with H = I - 11^T/probes, it is the CKA of Cortes et al. (2012). A column of
 * the CSV has a field's name. What is unknown or 0/0 is NAN here and empty there. */
struct nn_drift_row {
    long step;                                       /* steps done */
    double epoch;                                    /* the same in epochs */
    double batch_loss;                               /* of the last batch, before its step */
    double loss, accuracy;                           /* of the probes, as nn_evaluate has them; accuracy from 0 to 1 */
    double norm;                                     /* |Theta_t| */
    double from_start;                               /* |Theta_t - Theta_0| / |Theta_0| */
    double from_limit;                               /* |Theta_t - Theta_inf| / |Theta_inf| */
    double alignment, centred_alignment;             /* with Theta_0 */
    double label_alignment, centred_label_alignment; /* with Y Y^T */
    double effective_rank;              /* exp(-sum p log p), p = eigenvalues / their sum: Roy and Vetterli (2007) */
    double condition;                   /* largest eigenvalue / smallest; infinite where rounding leaves none above 0 */
    double eigenvalues[NN_EIGENVALUES]; /* the largest, falling; columns eigenvalue1, ... */
    const double *kernel;               /* (probes, probes), until the next measurement */
    const double *outputs;              /* (probes, outputs), likewise */
};

/* Measurements in a loop of one's own: nn_fit makes them with this. The first is of the start, Theta_0. A later one
 * allocates nothing. step, epoch and batch_loss are the caller's. */
typedef struct nn_drift nn_drift;
nn_drift *nn_drift_new(nn_model *model, const nn_drift_spec *spec, nn_loss loss, ad_error *error);
int nn_drift_measure(nn_drift *drift, nn_drift_row *row, ad_error *error);
void nn_drift_free(nn_drift *drift);
/* On what one measurement is made of; a and b (rows, rows). */
double nn_distance(const double *a, const double *b, size_t rows); /* |a - b| / |b| */
double nn_alignment(const double *a, const double *b, size_t rows, bool centred);

LIMN_API_END
#endif
