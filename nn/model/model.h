/* model.h: a network at a finite width: its values, and how plans of its trace are bound to them. */
#ifndef LIMN_NN_MODEL_MODEL_H
#define LIMN_NN_MODEL_MODEL_H
#include "nn/network/network.h"
#include "nn/safetensors/safetensors.h"

/* What a kernel may take, in bytes; 0: as nn/kernel has it. Where samples meet: */
typedef struct {
    size_t whole;     /* of the panels of all seeds at once: above, they come in stores */
    size_t run;       /* of the plan of one run */
    size_t store;     /* of what is kept of the seeds of one side */
    size_t gradients; /* of a tile of gradients, wherever they are formed */
    size_t longest;   /* numbers in a row that BLAS is given; 0: as many as it can count */
} nn_kernel_limits;

struct nn_model {
    const nn_net *net;
    size_t n;
    ad_type type;
    int threads;
    ad_sizes sizes; /* n alone */
    nn_mode mode;
    bool drops;      /* kernels are those of a fit's step, with masks */
    uint64_t seed;   /* which they are drawn from */
    void *values;    /* omega of all parameters, one after another, and then the running statistics */
    size_t *offsets; /* by parameter and statistic, n_params + n_statistics + 1 of them */
    struct {
        ad_plan *plan;
        size_t rows; /* its capacity */
        void *x;     /* (rows, features) in the model's type */
    } forward[2];    /* in training and in evaluation */
    struct nn_kernel *kernel;
    void (*free_kernel)(struct nn_kernel *); /* set by who makes the kernel */
    nn_kernel_limits limits;
    struct nn_jacobian *jacobian;
    void (*free_jacobian)(struct nn_jacobian *);
};

/* model.c */
/* Training (0) or evaluation (1); where the model's mode leaves it open, `otherwise`. 0 where both are the same. */
int nn_variant_of(const nn_model *model, nn_mode otherwise);
size_t nn_bytes(ad_type type);
ad_sizes nn_sizes(const nn_model *model, size_t rows);
int nn_bind_params(const nn_model *model, ad_plan *plan);
double nn_value(const void *values, size_t i, ad_type type);
/* Copies count doubles into the type; false if one of them is not finite there (*bad: which). */
bool nn_convert(const double *from, size_t count, ad_type type, void *to, size_t *bad);

/* Tensor k is parameter k, or running statistic k - n_params. */
int nn_count_tensors(const nn_model *model);
size_t nn_values_size(const nn_model *model); /* numbers in all of them */
const char *nn_tensor_name(const nn_model *model, int k);

/* running_statistics.c: nn_norm_outputs' nodes are outputs first, first + 1, ... of a plan: moves the running
 * statistics by them; refuses a variance of 0 where there is no epsilon. */
void nn_norm_update(nn_model *model, const ad_plan *plan, int first, size_t rows);
int nn_norm_check(const nn_model *model, const ad_plan *plan, int first, size_t rows, ad_error *error);
int nn_norm_check_rows(const nn_model *model, size_t rows, ad_error *error); /* a batch of one, before it is run */

/* weights.c */
/* Under that name; values is laid out as the model's. */
nn_tensor nn_tensor_of(const nn_model *model, int k, const char *name, const void *values);
bool nn_is_matrix(const nn_net *net, int k); /* (in, out), and not a table read by rows */
/* A file that is read, and how its numbers become a model's. */
typedef struct {
    const char *path;
    const nn_tensors *file;
    nn_layout layout;      /* of its matrices */
    const double *factors; /* by parameter, of its numbers; NULL: 1 */
} nn_source;
/* Finds a tensor as large as tensor k, of finite numbers that the model's type holds. */
const nn_tensor *nn_matching_tensor(const nn_source *from, const nn_model *model, int k, const char *name,
                                    ad_error *error);
void nn_copy_tensor(const nn_source *from, const nn_model *model, int k, const nn_tensor *t, void *values);

/* weights_trace.c: what stands before omega of parameter k, c n^p. */
double nn_multiplier(const nn_net *net, int k, const ad_sizes *sizes);
int nn_trace_mark(const nn_net *net, uint64_t *mark, ad_error *error);

/* weights_info.c: what a file says of the model's network, beside format, network and width. */
enum { NN_MAX_PAIRS = 9 };
nn_pair *nn_weights_pairs(const nn_model *model, ad_arena *arena, size_t *n, ad_error *error);
bool nn_weights_of_limn(const nn_tensors *file); /* its matrices are (in, out) */
/* Refuses the weights of another network. Where they are of another scale, fills in the factors of omega by parameter,
 * which are 1 before; refused if factors is NULL. */
int nn_weights_check(const char *path, const nn_tensors *file, const nn_model *model, double *factors, ad_error *error);
#endif
