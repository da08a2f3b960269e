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
#ifndef LIMN_TP_COUPLED_H
#define LIMN_TP_COUPLED_H
#include "tp/batch/batchnorm.h"
#include "tp/batch/family.h"

/* zero: no values are kept. */
typedef struct {
    bool zero;
    double *values;
} tp_block;

typedef struct {
    tp_families families;
    const double *x[2];
    size_t rows[2];
    int last;     /* the wanted block is (0, last) */
    bool tangent; /* Theta is wanted of it */
    double tolerance;
    size_t samples; /* of a sphere */
    uint64_t seed;
    double difference; /* the largest of numerical rules, relative */
    bool sampled;      /* spheres were */
    size_t heavy_rank; /* a finite network's kernel has infinite variance: the centred batch's rank; else 0 */
    bool heavy;
    tp_table keys;
    tp_block *blocks; /* by key */
    int room;
    struct tp_layer_memo {
        int key;
        tp_batchnorm *layer;
    } * layers;
    int n_layers, layers_room, n_spheres;
    ad_error *error;
} tp_coupled;

typedef enum { TP_VALUE, TP_TANGENT } tp_block_kind;
/* K or Theta of two families; NULL with an error. */
const tp_block *tp_family_block(tp_coupled *, tp_block_kind, int i, int j, int p, int q);
/* Of f(base) and g(base'): functions.c of batches. */
const tp_block *tp_function_block(tp_coupled *, tp_block_kind, int base, int fn, int base2, int fn2, int p, int q);
/* Of two sums of G-vars. */
const tp_block *tp_sum_block(tp_coupled *, tp_block_kind, int lin, int lin2, int p, int q);
/* The mean of f(base) over the law of one sample: (rows of p). NULL with an error. */
const tp_block *tp_function_mean(tp_coupled *, int base, int fn, int p);

/* A block by its key: *made tells whether it is new, and then zero. NULL without memory. */
tp_block *tp_block_of(tp_coupled *, const int *key, size_t n, bool *made);
int tp_block_open(tp_coupled *, tp_block *, int p, int q); /* gives it values, all 0 */
#endif
