/* tower.h: the fixed network whose recursion is written out by hand, for the tests and the benchmark of what tp_limit
 * finds from a trace: depth times (W x, batch normalisation, phi), then a readout; no biases, W of variance
 * sigma_w^2 / fan-in, readout included, in NTK scale. */
#ifndef LIMN_TESTS_TOWER_H
#define LIMN_TESTS_TOWER_H
#include "tp/batch/batchnorm.h"

typedef struct {
    size_t depth; /* >= 1 */
    double sigma_w, epsilon;
    nn_sigma_in sigma_in;
    tp_slopes phi;
} tower_net;
/* Its NNGP kernel and NTK (each may be NULL) of the batch x (rows, features) against the batch x2 (rows2, features;
 * NULL: x itself): (rows, rows2). *difference (may be NULL) is the largest of all layers and maps. */
int tower_kernels(const tower_net *net, const double *x, size_t rows, const double *x2, size_t rows2, size_t features,
                  double *nngp, double *ntk, double *difference, ad_error *error);
#endif
