/* size_bounds.h: of every node a power of n that bounds a coordinate's size (power_bound.c), for the files of the
 * room. */
#ifndef LIMN_TP_PROGRAM_SIZE_BOUNDS_H
#define LIMN_TP_PROGRAM_SIZE_BOUNDS_H
#include "tp/program/program.h"

typedef struct {
    double power;  /* a coordinate is of n^power at most */
    bool positive; /* no coordinate is negative, */
    double least;  /* and each is a constant times n^least or more; -INFINITY: not known */
} tp_size_bound;

/* Of all nodes into `all`, n_nodes of them. means: a mean over a width of what is nowhere negative is taken to be as
 * large as its bound, as means of squares are unless the data make them 0. */
void tp_bound_sizes(const tp_program *, bool means, tp_size_bound *all);
/* The power that a sum over the node's axes adds: 1 for each width, 1/2 for a Gaussian matrix's. */
double tp_power_of_sum(const tp_program *, const ad_node *node);
/* Of a site's part in a kernel: sum of delta delta' y y' over all axes that the kernel has not. */
double tp_power_of_site(const tp_program *, const ad_site *site, const tp_size_bound *all);
/* The powers of the parameters' weights in a kernel, and a parameter's, -INFINITY where it has no part: of the NNGP
 * kernel the readout's variances. NULL with an error where the output is not linear in readouts; freed by ad_free. */
double *tp_kernel_weights(const tp_program *, tp_kernel_kind, ad_error *error);
double tp_kernel_weight(const tp_program *, const double *weights, int param);
#endif
