/* autodiff.h: a traced computation, its derivative as another trace, and how to run both.
 *
 * A graph is a list of nodes; a node is a tensor over named axes. Axes are matched by name, never by size: adding
 * (batch, n) and (n) broadcasts over batch, and two axes of equal size and different name never mix. A WIDTH axis is
 * ratio * n, where n is a symbol until the graph is run; a BATCH axis is bound when it is run, too; a FIXED axis has a
 * number. A second copy of an axis, for a square matrix or a Gram matrix, is its prime: (n, n').
 *
 * Every builder is a macro that records the caller's file and line (AD_HERE). Errors are sticky: the first one stays in
 * the graph, with that file and line and both shapes, and all that is built on it does nothing. Check ad_failed
 * once.
 *
 * Threads. One thread at a time adds to a graph: builders, ad_backward, ad_gradient, ad_replace and the questions
 * ad_parameters_coupled and ad_coupled, which take memory in it. Others may read meanwhile what they already know of,
 * and make and run plans of it. A plan belongs to one thread at a time, from ad_plan_new to ad_plan_free, and so does
 * what it points to; several plans of one graph run side by side. Draws, names and facts of ops may be asked for from
 * any thread. ad_start_again and ad_start_threads are for the first lines of main. */
#ifndef LIMN_AUTODIFF_H
#define LIMN_AUTODIFF_H
#include "base.h"

LIMN_API_BEGIN

enum { AD_MAX_RANK = 10 };

typedef struct {
    const char *file;
    int line;
} ad_where;
#ifdef __cplusplus
#define AD_HERE (ad_where{ __FILE__, __LINE__ })
#else
#define AD_HERE ((ad_where){ __FILE__, __LINE__ })
#endif

typedef enum { AD_BATCH, AD_WIDTH, AD_FIXED } ad_kind;
typedef enum { AD_FLOAT, AD_DOUBLE } ad_type;

/* An axis of a graph: which one, how many times primed, and whose: a mark of the graph, by which another's axis is
 * told. id 0 is no axis. */
typedef struct {
    unsigned short id;
    unsigned char prime, graph;
} ad_axis;

typedef struct {
    int rank;
    ad_axis axes[AD_MAX_RANK];
} ad_shape;
/* ad_shape_of(batch, n): a shape from a list of axes. */
#ifdef __cplusplus
#define ad_shape_of(...)                                                                                               \
    [&] {                                                                                                              \
        const ad_axis limn_axes[] = { __VA_ARGS__ };                                                                   \
        return ad_shape_make((int)(sizeof limn_axes / sizeof *limn_axes), limn_axes);                                  \
    }()
#else
#define ad_shape_of(...)                                                                                               \
    ad_shape_make((int)(sizeof((ad_axis[]){ __VA_ARGS__ }) / sizeof(ad_axis)), (ad_axis[]){ __VA_ARGS__ })
#endif
ad_shape ad_shape_make(int rank, const ad_axis *axes);

typedef struct ad_graph ad_graph;
typedef struct {
    ad_graph *graph;
    int id;
} ad_var;

typedef enum {
#define AD_UNARY(NAME, ...) AD_##NAME,
#define AD_BINARY(NAME, ...) AD_##NAME,
#define AD_SHAPE(NAME, ...) AD_##NAME,
#include "ops.def"
    AD_N_OPS
} ad_op;

/* ---- graphs and axes ---------------------------------------------------------------------------------------- */
ad_graph *ad_graph_new(ad_error *error);
void ad_graph_free(ad_graph *graph);
bool ad_failed(const ad_graph *graph);
const char *ad_message(const ad_graph *graph); /* the first error: "net.c:12: add: ..."; "" if none */
/* Records an error as if an op at `where` had found it; returns a poisoned variable. */
ad_var ad_poison(ad_graph *graph, ad_where where, const char *format, ...) AD_PRINTF(3, 4);

/* Axes. Asking for the same name again gives the same axis; with another kind, size or ratio it is an error. */
ad_axis ad_batch_at(ad_where, ad_graph *, const char *name);
ad_axis ad_width_at(ad_where, ad_graph *, const char *name, double ratio); /* size round(ratio * n), at least 1 */
ad_axis ad_fixed_at(ad_where, ad_graph *, const char *name, size_t size);
ad_axis ad_fresh_at(ad_where, ad_graph *, const char *stem, size_t size); /* a fixed axis of a name not used yet */
#define ad_batch(...) ad_batch_at(AD_HERE, __VA_ARGS__)
#define ad_width(...) ad_width_at(AD_HERE, __VA_ARGS__)
#define ad_fixed(...) ad_fixed_at(AD_HERE, __VA_ARGS__)
ad_axis ad_prime(ad_axis axis);
bool ad_same(ad_axis a, ad_axis b);
bool ad_has(const ad_shape *shape, ad_axis axis);
ad_kind ad_axis_kind(const ad_graph *, ad_axis);
const char *ad_axis_name(const ad_graph *, ad_axis); /* without primes */
double ad_axis_ratio(const ad_graph *, ad_axis);     /* of a width axis */
size_t ad_axis_fixed(const ad_graph *, ad_axis);     /* of a fixed axis: its size; else 0 */

/* ---- leaves ------------------------------------------------------------------------------------------------- */
ad_var ad_input_at(ad_where, ad_graph *, const char *name, ad_shape);

/* How a parameter starts and learns; W = multiplier * omega, where the multiplier is a scale op of the graph, kept here
 * for the record. All powers are of `axis`, the fan-in: deviation c n^p, rate c n^p (THEORY section 2). */
typedef struct {
    ad_axis axis;                        /* the fan-in; no axis: powers are ignored */
    double deviation, deviation_power;   /* initial standard deviation of omega */
    double multiplier, multiplier_power; /* c n^p in front of omega */
    double rate, rate_power;             /* learning-rate scale */
    double mean;                         /* initial mean */
    bool orthogonal; /* of two axes: orthogonal up to a factor, Haar's law, with entries of this deviation in the mean
                        square; where the axes differ in size, the shorter side's vectors are orthogonal */
    bool rate_own;   /* rate_power is meant for every optimizer, those that divide by the gradient's size, too */
} ad_init;
ad_var ad_param_at(ad_where, ad_graph *, const char *name, ad_shape, ad_init);
ad_var ad_constant_at(ad_where, ad_graph *, double value, ad_shape);
ad_var ad_delta_at(ad_where, ad_graph *, ad_axis a, ad_axis b); /* (a, b): 1 on the diagonal */
#define ad_input(...) ad_input_at(AD_HERE, __VA_ARGS__)
#define ad_param(...) ad_param_at(AD_HERE, __VA_ARGS__)
#define ad_constant(...) ad_constant_at(AD_HERE, __VA_ARGS__)
#define ad_delta(...) ad_delta_at(AD_HERE, __VA_ARGS__)

/* ---- coordinatewise ------------------------------------------------------------------------------------------ */
/* The builders of one argument, ad_relu(x), ad_leaky(x, slope), ad_power(x, p) and the like, stand in ops.def. */
ad_var ad_unary_at(ad_where, ad_op, ad_var x, double p); /* any row of the table by number */
ad_var ad_binary_at(ad_where, ad_op, ad_var a, ad_var b);
#define ad_add(a, b) ad_binary_at(AD_HERE, AD_ADD, a, b)
#define ad_sub(a, b) ad_binary_at(AD_HERE, AD_SUB, a, b)
#define ad_mul(a, b) ad_binary_at(AD_HERE, AD_MUL, a, b)
#define ad_div(a, b) ad_binary_at(AD_HERE, AD_DIV, a, b)

/* A user's coordinatewise function: derivatives[0] is the function, [1] its derivative, [2] the second one if it is
 * known, each over a block of doubles; kinks are the points where one of them jumps. Must outlive the graph. */
typedef struct {
    const char *name;
    int count; /* entries of derivatives, at least 2 to be differentiated */
    void (*derivatives[4])(size_t n, const double *x, double *y);
    int n_kinks;
    double kinks[8];
} ad_function;
ad_var ad_custom_at(ad_where, const ad_function *, int order, ad_var x);
#define ad_custom(function, x) ad_custom_at(AD_HERE, function, 0, x)
/* The op of a coordinatewise function by its name ("relu", "tanh", ...; silu is swish and hardtanh hard_tanh, as
 * PyTorch calls them); -1 if there is none. */
int ad_unary_named(const char *name);

/* What the op table says of a coordinatewise function y(x), but for p and its degree: see ops.def. Of a user's function
 * (custom) it knows nothing. */
typedef enum { AD_NEITHER = 0, AD_EVEN = 1, AD_ODD = -1 } ad_parity;
typedef enum { AD_JUMPS, AD_BENDS, AD_CURVES, AD_SMOOTH } ad_break;
typedef enum { AD_REALS, AD_POSITIVES, AD_NONNEGATIVES, AD_BY_P } ad_domain;
typedef enum { AD_BOUNDED, AD_LINEAR, AD_EXPONENTIAL, AD_LOGARITHMIC, AD_SCALES, AD_UNKNOWN } ad_growth;
typedef struct {
    const char *formula;
    double lo, hi; /* where the tests take x from */
    bool takes_p;
    double usual_p; /* of an activation by its name; 0 if it takes none */
    bool activation;
    ad_break breaks; /* at its kinks */
    int n_kinks;
    const double *kinks;
    double at_zero; /* NaN: none, or not known without p */
    ad_parity parity;
    ad_domain domain;
    ad_growth growth;
    double lowest, highest; /* of its range; infinite where the degree tells it */
} ad_op_facts;
const ad_op_facts *ad_op_facts_of(ad_op); /* NULL for an op that is not coordinatewise in one argument */
/* d in y(a x) = a^d y(x) for a > 0 and all x; NaN where there is none. */
double ad_op_degree(ad_op, double p);

/* ---- along axes ---------------------------------------------------------------------------------------------- */
ad_var ad_scale_at(ad_where, ad_var x, double c, ad_axis axis, double power); /* c * size(axis)^power * x */
ad_var ad_contract_at(ad_where, ad_var a, ad_var b, ad_shape over); /* shared axes outside `over` stay aligned */
ad_var ad_matmul_at(ad_where, ad_var x, ad_var w);                  /* w (in, out): in of x becomes out */
ad_var ad_matmul_t_at(ad_where, ad_var y, ad_var w);                /* w (in, out): out of y becomes in */
ad_var ad_sum_at(ad_where, ad_var x, ad_shape over);
ad_var ad_mean_at(ad_where, ad_var x, ad_shape over);
ad_var ad_expand_at(ad_where, ad_var x, ad_shape shape); /* shape holds every axis of x */
ad_var ad_slice_at(ad_where, ad_var x, ad_axis axis, size_t start, size_t count, ad_axis as); /* as: the new axis */
ad_var ad_take_at(ad_where, ad_var x, ad_axis axis, size_t index);                            /* drops the axis */
ad_var ad_concat_at(ad_where, const ad_var *parts, int n, const ad_axis *axes, ad_axis as);
ad_var ad_stack_at(ad_where, const ad_var *parts, int n, ad_axis as);     /* along a new fixed axis of size n */
ad_var ad_merge_at(ad_where, ad_var x, ad_axis a, ad_axis b, ad_axis as); /* neighbours a, b of x become one axis */
ad_var ad_split_at(ad_where, ad_var x, ad_axis axis, ad_axis a, ad_axis b);
ad_var ad_relabel_at(ad_where, ad_var x, ad_axis from, ad_axis to);
ad_var ad_transpose_at(ad_where, ad_var x, ad_shape order);
/* The table's entries at index along the axis; of a parameter, the product with one-hot rows. */
ad_var ad_gather_at(ad_where, ad_var table, ad_var index, ad_axis axis);
ad_var ad_one_hot_at(ad_where, ad_var index, ad_axis axis); /* 1 where index is the entry's number, else 0 */
/* Adds x at index along a new `axis`, summing over the axes `over` of index; its other axes stay. */
ad_var ad_scatter_at(ad_where, ad_var x, ad_var index, ad_axis axis, ad_shape over);
/* Windows along a fixed axis: (.., axis, ..) becomes (.., out, offset, ..), whose entry (p, k) is that of x number
 * start + stride p + dilation k; all of these must be there. Of several axes, one after the other; `out` may be the
 * axis itself. Runs as other strides on the same data: a window is not copied. */
typedef struct {
    size_t start, stride; /* stride 0: 1 */
    ptrdiff_t dilation;   /* 0: 1; below 0 a window runs backwards */
} ad_window;
ad_var ad_windows_at(ad_where, ad_var x, ad_axis axis, ad_axis out, ad_axis offset, ad_window);
/* Its adjoint: y (.., out, offset, ..) becomes (.., axis, ..), each entry the sum of all y that windows took there. */
ad_var ad_unwindows_at(ad_where, ad_var y, ad_axis out, ad_axis offset, ad_axis axis, ad_window);
/* x among zeros: its first entry along the fixed axis is entry `before` of the longer fixed axis `as`. */
ad_var ad_pad_at(ad_where, ad_var x, ad_axis axis, size_t before, ad_axis as);
ad_var ad_logsumexp_at(ad_where, ad_var x, ad_axis axis);
ad_var ad_softmax_at(ad_where, ad_var x, ad_axis axis);
ad_var ad_max_at(ad_where, ad_var x, ad_axis axis);
ad_var ad_argmax_at(ad_where, ad_var x, ad_axis axis); /* 1 at the first largest, else 0 */
#define ad_scale(x, c) ad_scale_at(AD_HERE, x, c, LIMN_ZERO(ad_axis), 0)
#define ad_scale_by(...) ad_scale_at(AD_HERE, __VA_ARGS__)
#define ad_contract(...) ad_contract_at(AD_HERE, __VA_ARGS__)
#define ad_matmul(...) ad_matmul_at(AD_HERE, __VA_ARGS__)
#define ad_matmul_t(...) ad_matmul_t_at(AD_HERE, __VA_ARGS__)
#define ad_sum(...) ad_sum_at(AD_HERE, __VA_ARGS__)
#define ad_mean(...) ad_mean_at(AD_HERE, __VA_ARGS__)
#define ad_expand(...) ad_expand_at(AD_HERE, __VA_ARGS__)
#define ad_slice(...) ad_slice_at(AD_HERE, __VA_ARGS__)
#define ad_take(...) ad_take_at(AD_HERE, __VA_ARGS__)
#define ad_concat(...) ad_concat_at(AD_HERE, __VA_ARGS__)
#define ad_stack(...) ad_stack_at(AD_HERE, __VA_ARGS__)
#define ad_merge(...) ad_merge_at(AD_HERE, __VA_ARGS__)
#define ad_split(...) ad_split_at(AD_HERE, __VA_ARGS__)
#define ad_relabel(...) ad_relabel_at(AD_HERE, __VA_ARGS__)
#define ad_transpose(...) ad_transpose_at(AD_HERE, __VA_ARGS__)
#define ad_gather(...) ad_gather_at(AD_HERE, __VA_ARGS__)
#define ad_one_hot(...) ad_one_hot_at(AD_HERE, __VA_ARGS__)
#define ad_windows(...) ad_windows_at(AD_HERE, __VA_ARGS__)
#define ad_unwindows(...) ad_unwindows_at(AD_HERE, __VA_ARGS__)
#define ad_pad(...) ad_pad_at(AD_HERE, __VA_ARGS__)
#define ad_logsumexp(...) ad_logsumexp_at(AD_HERE, __VA_ARGS__)
#define ad_softmax(...) ad_softmax_at(AD_HERE, __VA_ARGS__)
#define ad_max(...) ad_max_at(AD_HERE, __VA_ARGS__)

/* ---- reverse mode ---------------------------------------------------------------------------------------------- */
/* One use of a parameter. With y: u = contract(y, W, over), delta is the adjoint of u, and the gradient is the
 * contraction of y and delta. Without (y.graph NULL): delta is the adjoint of W itself, up to the sum over the axes
 * that W has not. Axes of the cotangent that y has not stay on delta. */
typedef struct {
    ad_var param, y, delta;
    ad_shape over; /* the axes of W that meet y */
} ad_site;

/* Adds the backward pass of y with a cotangent (the adjoint of y; its axes beyond y's are carried along, and are none
 * of those that y is made of). Fills
 * wrt_adjoints[i] with the adjoint of wrt[i] (a zero constant where y does not depend on it), any number of them, and
 * *sites with a list (in the graph's arena) of all uses of all parameters, in the order of creation. Returns the
 * number of sites, -1 on error, with adjoints that no node is: also where wrt[i] is a scale whose factor has moved into
 * a product. */
int ad_backward_at(ad_where, ad_var y, ad_var cotangent, const ad_var *wrt, int n_wrt, ad_var *wrt_adjoints,
                   ad_site **sites);
#define ad_backward(...) ad_backward_at(AD_HERE, __VA_ARGS__)
/* The adjoints of wrt alone, parameters taken as constants: what does not lead to wrt needs no derivative. 0; -1 on
 * error. */
int ad_adjoints_at(ad_where, ad_var y, ad_var cotangent, const ad_var *wrt, int n_wrt, ad_var *wrt_adjoints);
#define ad_adjoints(...) ad_adjoints_at(AD_HERE, __VA_ARGS__)
/* The gradient of a parameter from its sites: an expression with exactly W's axes (and the cotangent's own, `keep`). */
ad_var ad_gradient(ad_var param, const ad_site *sites, int n_sites, ad_shape keep);
/* Does any op between a parameter and y sum, gather or normalise over the axis, so that its entries meet? */
bool ad_parameters_coupled(ad_var y, ad_axis axis);
/* Does any op before y, one of data alone included? */
bool ad_coupled(ad_var y, ad_axis axis);
/* y computed with the nodes to[i] in place of from[i], which have the same axes: what comes after these is built anew,
 * each node with the file and line of its first self; all else is shared. A to[i] that was made before its from[i] is
 * itself computed with what is replaced before it. */
ad_var ad_replace_at(ad_where, ad_var y, const ad_var *from, const ad_var *to, int n);
#define ad_replace(...) ad_replace_at(AD_HERE, __VA_ARGS__)

/* ---- looking at a graph (translation, printing) --------------------------------------------------------------- */
typedef struct {
    ad_op op;
    ad_where where;
    ad_shape shape;
    int n_in;
    const int *in;       /* nodes, each before this one */
    const char *name;    /* of an input or parameter; else NULL */
    double c, power;     /* scale: c size(axis)^power; constant: c; power, leaky: c */
    bool moved;          /* scale: what was built on it took its factor over and does not depend on this node */
    ad_axis axis, axis2; /* scale, slice (old, new), concat (new), relabel (from, to), delta, gather ... */
    ad_shape over;       /* contract, sum */
    size_t start;        /* slice, unslice, windows */
    const ad_init *init; /* param */
    const ad_function *function;
    int order;                /* custom: which derivative */
    const ad_axis *part_axes; /* concat: the axis of each part */
    ad_axis axis3;            /* windows, unwindows: along a window; axis is the whole one, axis2 counts windows */
    size_t stride;            /* of these: entry start + stride p + dilation k is where window p has its entry k */
    ptrdiff_t dilation;
} ad_node;
int ad_graph_size(const ad_graph *); /* number of nodes */
const ad_node *ad_node_of(const ad_graph *, int id);
#define ad_size(graph) ad_graph_size(graph) /* their names before 0.1 */
#define ad_look(graph, id) ad_node_of(graph, id)
const ad_shape *ad_shape_get(ad_var);
const char *ad_op_name(ad_op);
bool ad_is_unary(ad_op);
bool ad_is_binary(ad_op);
/* "(batch, n, n')"; returns buffer. */
char *ad_shape_text(const ad_graph *, const ad_shape *, char *buffer, size_t size);
void ad_print(const ad_graph *, FILE *);

/* ---- running ----------------------------------------------------------------------------------------------------- */
/* Sizes of the symbols: the width n, and each batch axis. */
typedef struct {
    size_t n;
    struct {
        ad_axis axis;
        size_t size;
    } batches[4];
    int n_batches;
} ad_sizes;
size_t ad_axis_size(const ad_graph *, ad_axis, const ad_sizes *); /* 0 if it is not bound */
size_t ad_elements(const ad_graph *, const ad_shape *, const ad_sizes *);

/* A plan runs chosen outputs of a graph for all sizes up to a capacity: schedule, buffers, fused chains. Buffers of
 * inputs and parameters are the caller's, bound by pointer, row-major and contiguous in the order of their axes.
 * Binding and running within the capacity allocate nothing. */
typedef struct ad_plan ad_plan;
typedef struct {
    ad_type type;
    int threads; /* 0: one */
    ad_sizes capacity;
    int updates; /* so many of the last outputs are for ad_update, not for ad_output */
    const ad_var
        *given; /* nodes whose values the caller binds, as if they were inputs: what they come from is not run */
    int n_given;
} ad_plan_spec;
ad_plan *ad_plan_new(const ad_var *outputs, int n, const ad_plan_spec *, ad_error *);
void ad_plan_free(ad_plan *);
size_t ad_plan_bytes(const ad_plan *);
void ad_plan_print(const ad_plan *, FILE *);
/* Points an input or parameter at the caller's data (float or double as the plan's type). */
int ad_bind(ad_plan *, ad_var leaf, const void *data);
/* Points an output at the caller's buffer, to be filled by ad_run; unbound outputs are kept in the plan. */
int ad_bind_output(ad_plan *, int output, void *data);
/* Runs at these sizes (batch sizes within the capacity, n equal to it). */
int ad_run(ad_plan *, const ad_sizes *, ad_error *);
const void *ad_output(const ad_plan *, int output); /* row-major in the order of its axes; valid until the next run */
/* data = keep data + factor output, once after each run, for one of the outputs that are updates: the step of an
 * optimizer. A gradient that is one product goes into data by the product itself, without a buffer of its own. data may
 * be a parameter's own, whose new values the other updates of this run do not see. */
int ad_update(ad_plan *, int output, double keep, double factor, void *data);

/* For the first lines of main, never for a library: starts the program again, once, with an environment that runs fast
 * on so many threads. OpenBLAS and OpenMP read theirs before main, an old OpenBLAS does not know new processors (it
 * would run at a quarter of their speed), and threads that wait, if there are several, should not spin on a shared
 * machine. What the user has set stays. Returns where nothing is to be changed, or where starting again fails. */
void ad_start_again(char **argv, int threads);
/* For what comes next in such a main: whether so many threads start, and OpenBLAS gets its memory for them (256 MB of
 * addresses a thread, as a limit of ulimit -v counts them), which is then taken. Where memory is short OpenBLAS would
 * wait for ever, and OpenMP end the program: so it is tried in a process beside this one first. -1 and one line if they
 * do not, or if no process starts. From then on what is multiplied or drawn in this thread keeps to so many. */
int ad_start_threads(int threads, ad_error *);

/* ---- random numbers ---------------------------------------------------------------------------------------------- */
/* count standard normal (uniform: in (0, 1)) draws number first, first+1, ... of the stream (seed, stream): the same
 * whatever the threads, by counter (Philox 4x32-10, Box-Muller). */
void ad_normal(uint64_t seed, uint64_t stream, uint64_t first, size_t count, double *out);
void ad_uniform(uint64_t seed, uint64_t stream, uint64_t first, size_t count, double *out);
uint64_t ad_stream(const char *name); /* the stream of a parameter's name */
/* Fills a parameter with its initial draw at these sizes, in its type; the same numbers in float and double. */
int ad_draw(ad_var param, const ad_sizes *, uint64_t seed, ad_type type, void *out, ad_error *);

LIMN_API_END
#endif
