/* kernel.h: the inside of an empirical kernel: kernel.c lays it out, run.c runs the plan, sites.c finds what it is made
 * of, products.c multiplies, batched.c does it seed by seed, readout.c weighs. */
#ifndef LIMN_NN_KERNEL_KERNEL_H
#define LIMN_NN_KERNEL_KERNEL_H
#include "autodiff/base/base.h"
#include "nn/model/model.h"

struct nn_tangent {
    struct nn_tangent *next;
    ad_var of;       /* whose derivative it is: (batch, outputs), the network's outputs or a vector in their place */
    ad_axis outputs; /* the other axis of `of` than the batch */
    bool together;   /* the seed knows its sample, too: samples meet, or parameters meet before they meet a sample */
    ad_var seed;     /* an input, one output of one sample an entry of `sample`; no graph: the delta of all at once */
    ad_axis out, sample, batch; /* the seed's output, the sample whose output it is, and the samples of a run */
    ad_site *sites;
    int n_sites;
    bool sought;
    struct nn_apart *apart; /* NULL: none, once it was sought */
};

/* Of a kernel whose samples meet, what it is the sum of (apart.c). Own: <d, d2> <y, y2>, d (out, [sample], rest) and y
 * (sample, over). Else the product of d and d2, (out, sample, index), and, unless they are one, its transpose. */
typedef struct {
    int param; /* the index */
    bool own;
    ad_var d, d2, y, y2;
    ad_shape over, rest;
    ad_shape through; /* axes of d2 that are statistics */
} nn_summand;

struct nn_apart {
    nn_summand *summands;
    int n, capacity;
};

/* What each parameter's part of the kernel is multiplied by. */
typedef enum { NN_TANGENT, NN_READOUT, NN_TRAINED } nn_weighing;

/* Nested loops over strides of the source; the target is contiguous. */
typedef struct {
    int rank;
    size_t size[AD_MAX_RANK], stride[AD_MAX_RANK];
} nn_walk;

/* A tensor of the graph, packed in an order of axes; axes it has not repeat it. data[0] is of the tile of rows, data[1]
 * of the tile of columns. */
typedef struct {
    int id;
    ad_shape order, sum;
    bool kept;        /* of seeds: for all of a store, not for a run alone */
    bool sampled;     /* knows its sample; if not, `order` has no samples */
    size_t instances; /* blocks of (rows, columns) */
    /* One of `turns` tensors side by side in the memory of the first one, `host`: after `lead` axes of `order`. */
    int host, turn, turns, lead;
    /* Panels of two factors whose product it is, times `factor`: (out, columns) and (columns, sample); -1: none. */
    int by_out, by_sample;
    double factor;
    bool spare; /* its factors do */
    int older;  /* another one of the same node; -1: none */
    char *data[2];
} nn_panel;

/* One pair of uses in the Gram way: c <d, d'> <y, y'>; y NN_NO_PANEL: 1. Instances count the blocks of a panel. */
typedef struct {
    int d, d_at, d2, d2_at, y, y_at, y2, y2_at;
    double c;
} nn_term;

/* c d d2^T and, unless they are one, its transpose, of panels of all rows. */
typedef struct {
    int d, d2;
    double c;
} nn_turned;

/* One use of a parameter whose gradients are formed, or whose samples meet: c (y (x) d). Of several uses alike, as
 * those of the steps of a sequence, it is one: their panels lie side by side, and are summed over as one. */
typedef struct {
    int param, d, y; /* param: the index */
    int turns;       /* uses that it is */
    bool met;        /* all uses of the parameter go by K */
    double c;
    ad_shape aligned, over, rest; /* axes of W: in both y and d, in y, in d */
    ad_shape sum;                 /* axes that the product y (x) d sums over */
    size_t n_aligned, n_over, n_rest;
    char *store[2]; /* of seeds: the gradients of W, at its first use */
} nn_use;

/* Lines first, first + 1, ... of all that a parameter has. */
typedef struct {
    size_t first, count, all;
} nn_cut;

typedef struct {
    ad_plan *plan;
    size_t rows, seeds; /* capacity */
    int *ids;           /* of the plan's outputs: tensors for panels, then what is checked */
    int *places;        /* by node: a panel's tensor among the outputs, from 1 on */
    int n_ids, n_checked;
} nn_kernel_plan;

struct nn_kernel {
    nn_kernel_plan plans[3][2]; /* by variant: of the tangent kernel and of the NNGP kernel */
    void *x;                    /* the rows of one run, in the model's type */
    size_t x_rows;
    void **masks;      /* of dropout, of as many rows */
    size_t masks_rows; /* 0: none are drawn */
    char *work;        /* all buffers of a call */
    size_t work_bytes;
    struct nn_call *last; /* ready for another one of its form; NULL: none */
};

/* A call: what is asked for, and all that is derived from it. */
typedef struct nn_call {
    nn_model *model;
    const struct nn_tangent *tangent;
    struct nn_kernel *kernel;
    nn_weighing by;
    ad_var of;          /* the outputs, or a vector */
    const bool *counts; /* by parameter: whether its part counts; NULL: all do */
    nn_kernel_plan *plan;
    int variant; /* of the net's: in training, in evaluation, or in a fit's step */
    bool mean, symmetric;
    size_t rows, rows2;
    double *weights;
    size_t outputs, outs; /* outs: outputs that are rows of the products: all, or 1 where only the mean is wanted */
    size_t tile;          /* samples in one run */
    size_t max_rows;      /* the larger of rows and rows2 */
    ad_arena *arena;
    nn_panel *panels;
    int n_panels, panels_capacity;
    int *newest;                 /* by node: its panel, from 1 on */
    int *first_site, *next_site; /* by parameter's node, its first use, from 1 on; by site, the next one; 0: none */
    nn_term *terms;
    int n_terms, terms_capacity;
    nn_use *uses;
    int n_uses, uses_capacity;
    nn_turned *turned;
    int n_turned;
    char *acc, *cross, *product, *factor, *gradient[2], *scratch, *applied, *met, *pairs, *chunk; /* of the work */
    bool fresh;           /* nothing has been written to acc */
    size_t gradient_rows; /* samples of one tile of gradients */
    bool by_seeds;        /* all that follows is for batched.c */
    size_t seeds;         /* of a run: outputs of samples */
    size_t run, store;    /* at most so many in a run, and in a store */
    size_t applied_rows;
    char *seed; /* (run, batch, outputs) */
} nn_call;

enum {
    NN_NO_PANEL = -1,
    NN_CHUNK = 64 /* samples */
};
static inline size_t nn_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* kernel.c */
void nn_kernel_free(struct nn_kernel *kernel);

/* sizes.c */
ad_sizes nn_call_sizes(const nn_call *c, size_t rows);
size_t nn_axis_size(const nn_call *c, ad_axis axis, size_t rows);
size_t nn_size_of(const nn_call *c, const ad_shape *shape, size_t rows); /* elements */
size_t nn_panel_size(const nn_call *c, const nn_panel *p, size_t rows);  /* elements of its memory, 0 if it has none */
int nn_uses_end(const nn_call *c, int begin); /* the end of the uses of the parameter of use `begin` */
size_t nn_summed(const nn_call *c, const nn_use *u, size_t rows); /* entries that y (x) d sums over */
/* The step in memory from one entry of an axis to the next; 0 where the tensor has it not. */
size_t nn_stride(const nn_call *c, const ad_shape *shape, ad_axis axis, size_t rows);
void nn_append(ad_shape *shape, const ad_shape *more); /* the axes that it has not */

/* run.c */
void nn_masks_free(struct nn_kernel *kernel);
/* Plans the runs of c->tile rows (and c->seeds seeds), unless the plan that is there serves. */
int nn_prepare(nn_call *c, ad_error *error);
/* Runs the plan on samples x (rows, features), the first inputs (set 0) or the second ones. */
int nn_run(nn_call *c, int set, const double *x, size_t first, size_t rows, ad_error *error);
void nn_fill_panel(const nn_call *c, const nn_panel *p, size_t rows, char *to);
/* At least `total` bytes of work. */
int nn_make_work(nn_call *c, size_t total, ad_error *error);

/* batched.c: where samples meet, and the seeds of all of them are too many for memory. */
bool nn_too_many_seeds(const nn_call *c,
                       size_t rows); /* if each of so many rows has its own, in a run of all of them */
int nn_seeds_lay_out(nn_call *c, ad_error *error);
/* out NULL: *seconds is what it would take, from one run and one product. */
int nn_seeds_compute(nn_call *c, const double *x, size_t rows, const double *x2, size_t rows2, double *out,
                     double *seconds, ad_error *error);

/* sites.c */
const struct nn_tangent *nn_tangent_of(const nn_net *net, int variant, ad_var of, bool by_seeds, ad_error *error);
/* The panels, terms and uses of all parameters that have a weight; or the terms and products of parts. */
int nn_find_terms(nn_call *c, ad_error *error);
int nn_find_turned(nn_call *c, const struct nn_apart *apart, ad_error *error);

/* apart.c: in the place of panels, terms and uses those of adjoints taken apart, where that is possible and less
 * work. */
int nn_take_apart(nn_call *c, ad_error *error);

/* readout.c */
int nn_weigh(const nn_model *model, int variant, nn_weighing by, double *weights, ad_error *error);

/* vector.c: is it a vector of the network, (batch, axis), in the mode of the model? */
int nn_vector_check(const nn_model *model, ad_var vector, ad_error *error);

/* products.c: `rows` are those of the two sides, `other` is the side of the columns, 0 where it is the first. */
void nn_pack(const nn_call *c, const nn_walk *w, const char *from, char *to, bool add);
/* to (m, n) = alpha a (m, k) b (n, k)^T + beta to; only its upper triangle if b is a and `upper` */
void nn_gram(const nn_call *c, size_t m, size_t n, size_t k, double alpha, const char *a, const char *b, double beta,
             char *to, bool upper);
/* The same into rows of `ld`. */
void nn_gram_into(const nn_call *c, size_t m, size_t n, size_t k, double alpha, const char *a, const char *b,
                  double beta, char *to, size_t ld, bool upper);
/* The lines that W may be cut in: along its first axis, where each use is one product; else 1. */
size_t nn_lines(const nn_call *c, const nn_use *uses, int n);
/* So many lines of gradients, (rows, lines, line): to = c (y (x) d), or += if `adds`, for d (rows, aligned, sum, rest)
 * and y ([rows,] aligned, sum, over). */
void nn_form(nn_call *c, const nn_use *u, size_t n_sum, size_t rows, const char *d, const char *y, nn_cut cut, char *to,
             bool adds);
/* c->met (n_from, n_to) = K of two uses, and c->applied (rows, n_to, rest) = K^T d, for d (rows, n_from, rest). */
void nn_meet(nn_call *c, const nn_use *from, size_t n_from, const char *y_from, const nn_use *to, size_t n_to,
             const char *y_to);
void nn_apply_met(nn_call *c, size_t rows, size_t n_from, size_t n_to, size_t rest, const char *d);
void nn_add_terms(nn_call *c, const size_t *rows, int other);
void nn_add_gradients(nn_call *c, const size_t *rows, int other);
/* Elements of the products of each two outputs' factors. */
size_t nn_pairs_size(const nn_call *c, const nn_panel *d);
void nn_add_turned(nn_call *c, size_t rows); /* of a tile with itself */
/* c->acc (n, n) of a tile with itself, of which there are the upper triangle and `cross`: all of it. */
void nn_complete(const nn_call *c, size_t n);
/* to (columns, outs, outs) = factor times what c->acc has of sample i. */
void nn_turn(const nn_call *c, const size_t *rows, size_t i, double factor, double *to);
/* The tiles of gradients of a parameter's uses: their bytes, and so many lines at a time, of c->gradient_rows
 * samples. */
size_t nn_gradient_bytes(const nn_call *c);
size_t nn_tile_lines(const nn_call *c, const nn_use *uses, int n);
#endif
