/* coupled.h: the recursion of kernels over whole batches, for programs whose samples meet (Yang et al.,
 * arXiv:1902.08129).
 *
 * Every quantity is a matrix over the samples of two batches p and q, which are normalised apart: covariances of G-vars
 * and of families, K = E y y', and their tangents Theta, the inner products of the gradients of y and y'. Going up,
 *
 *     K(W y) = E y y'        Theta(W y) = Theta(y) + K(W y) / (deviation of omega)^2
 *     K(y) = V(K(u))         Theta(y) = T*(Theta(u))
 *
 * so that Theta needs one matrix a layer (THEORY section 3(d)); for a function of one sample alone V is E f(u_a) f(u_c)
 * and T* the product with E f'(u_a) f'(u_c). */
#ifndef LIMN_TP_BATCH_COUPLED_H
#define LIMN_TP_BATCH_COUPLED_H
#include "tp/batch/batchnorm.h"
#include "tp/batch/families.h"

/* zero: no values are kept. */
typedef struct {
    bool zero;
    double *values;
} tp_block;

typedef struct {
    tp_families families; /* first, as its algebra is there: who has the algebra has all of it */
    const double *x[2];
    size_t rows[2];
    int last;         /* the wanted block is (0, last) */
    bool tangent;     /* Theta is wanted of it */
    double tolerance; /* of series and quadratures; 0: a rounding */
    double wanted;    /* of a sampled kernel */
    size_t work;      /* evaluations of functions in quadratures */
    size_t samples;   /* of a sphere */
    uint64_t seed;
    double difference; /* what numerical rules and roundings come to, relative: a sum over what is computed */
    bool sampled;      /* spheres were */
    size_t heavy_rank; /* a finite network's kernel has infinite variance: the centred batch's rank; else 0 */
    bool heavy;
    bool stops;       /* nothing goes back through a layer of rank 1 */
    bool small;       /* ranks at which epsilon to 0 and n to infinity do not commute: */
    int least_rank;   /* the least of these */
    tp_block *blocks; /* what the algebra's memo has the numbers of, by tp_block_key */
    int n_blocks, capacity;
    tp_table layer_keys;
    tp_batchnorm **layers; /* by key */
    int n_layers, layers_capacity, n_spheres;
    const tp_univariate **functions; /* after normalisation, by number; NULL: not yet */
    int n_functions, functions_capacity;
    ad_error *error;
} tp_coupled;

typedef enum { TP_VALUE, TP_TANGENT } tp_block_kind;

/* ---- blocks.c ---- */
/* What a block is of, and for which batches p and q. */
typedef enum {
    TP_OF_GVARS,     /* two, and whether their means over the batch are taken out */
    TP_OF_SUMS,      /* two */
    TP_OF_FAMILIES,  /* two */
    TP_OF_FUNCTIONS, /* two: base and function of either */
    TP_OF_MEANS      /* of a function: base, function */
} tp_block_of;
typedef struct {
    int of, kind; /* tp_block_kind */
    int at[4];    /* the rest 0 */
    int p, q;
} tp_block_key;
int tp_block_keep(tp_coupled *, const tp_block *block);    /* its number; -1 with an error */
int tp_block_open(tp_coupled *, tp_block *, int p, int q); /* gives it values, all 0 */
/* x (m, n): own x + mean (its mean) over the rows' batch, and over the columns'. */
void tp_block_mix(size_t m, size_t n, double own, double mean, double own2, double mean2, double *x);
/* The inner products of two G-vars' data; means over the batch taken out if centred. */
int tp_data_gram(tp_coupled *, const tp_gvar *g, const tp_gvar *h, int p, int q, bool centred, double *out);

/* ---- functions.c ---- */
/* A function of a base: f(u), or f(z). */
typedef struct {
    int base, fn;
} tp_base_function;
/* Of the sums that two bases are made of: covariances over the batch of either, and between them, and Theta between
 * them. */
typedef struct {
    tp_block first, second, between, tangent;
} tp_covariances;
bool tp_function_odd(const tp_coupled *, tp_base_function f);
/* Are `first` and `second` looked at in E f(u) g(u')? */
bool tp_plain_takes_variances(const tp_coupled *, tp_base_function f, tp_base_function g, const tp_block *between);
/* E f(u) g(u'), functions of one sample each. */
int tp_plain_block(tp_coupled *, tp_base_function f, tp_base_function g, int p, int q, const tp_covariances *,
                   tp_block *out);
/* Of two normalised sums that depend on each other: E f(z) g(z'), or T* of the tangent. joint: what the functions are
 * of is one sum, over both batches, whose covariances these are: what is sampled fits together; else NULL. */
int tp_normal_block(tp_coupled *, int kind, tp_base_function f, tp_base_function g, int p, int q,
                    const tp_covariances *, const tp_covariances *joint, tp_block *out);
/* The mean of f over the law of one sample, (rows of p), f not odd; own: the covariance of its sum over the batch. */
int tp_mean_block(tp_coupled *, tp_base_function f, int p, const tp_block *own, tp_block *out);
#endif
