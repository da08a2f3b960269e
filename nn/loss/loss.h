/* loss.h: losses, on the graph and in numbers. */
#ifndef LIMN_NN_LOSS_LOSS_H
#define LIMN_NN_LOSS_LOSS_H
#include "nn/model/model.h"

/* traced.c: the loss and its gradients on the network's graph, traced when first asked for. `smoothed`, of
 * cross-entropy: with the input `smoothing`. */
const nn_traced_loss *nn_trace_loss(const nn_net *net, nn_loss loss, bool smoothed, ad_error *error);

/* score.c: the mean loss and the accuracy of outputs f (rows, outputs), in double; without classes the accuracy is NAN.
 * one_hot: (outputs), overwritten. */
void nn_score(nn_loss loss, const double *f, const nn_data *data, size_t outputs, double *one_hot, double *mean_loss,
              double *accuracy);

/* targets.c */
/* A row's class number, or its (outputs). */
const double *nn_target_row(const nn_data *data, size_t outputs, size_t row);
/* Sizes, class numbers and finiteness of a data set against the network. */
int nn_check_data(const nn_net *net, const nn_data *data, nn_loss loss, ad_error *error);
/* The targets of the loss, in the type: (rows) class numbers, or (rows, outputs). */
void *nn_targets(const nn_net *net, ad_type type, const nn_data *data, nn_loss loss, size_t *columns, ad_error *error);
#endif
