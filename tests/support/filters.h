/* filters.h: networks with filters over pictures and sequences, one of each kind that limits must be right for. */
#ifndef LIMN_TESTS_FILTERS_H
#define LIMN_TESTS_FILTERS_H
#include "limn.h"

typedef struct {
    int filter[2], stride[2], dilation[2];
    nn_padding padding;
    double sigma_w, sigma_b;
} filter;

typedef enum { PLAIN, RESIDUAL, NORMALISED } filter_kind;
typedef struct {
    const char *name, *phi;
    int rows, columns, channels; /* columns 0: a sequence */
    int depth, pool, pool_stride;
    filter f;
    filter_kind kind;
    bool flatten, outside;
} filter_net;

/* The network's trace; NULL with an error. */
nn_net *filter_net_trace(const filter_net *n, ad_error *error);
/* The k-th network; NULL beyond the last. */
const filter_net *filter_net_at(size_t k);
#endif
