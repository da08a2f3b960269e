/* kernel_model.h: the inside of predictions, for the files of this folder. */
#ifndef LIMN_TP_PREDICT_KERNEL_MODEL_H
#define LIMN_TP_PREDICT_KERNEL_MODEL_H
#include "tp/predict.h"

/* out = (K + ridge) a; all are (n, columns). */
void tp_model_product(const tp_kernel_model *model, const double *a, size_t columns, double *scratch, double *out);
/* The error that a kernel cannot be inverted ("singular"), with its condition number and a ridge that would do. */
int tp_model_refuse(const tp_kernel_model *model, const char *what, double smallest, ad_error *error);
/* The training with its defaults filled in, for so many columns; an error if a number of it is out of range. */
int tp_training_settle(const tp_kernel_model *model, tp_training *training, size_t columns, ad_error *error);
/* tp_coefficients of the cross-entropy; training is settled, times are checked, y and start as there. */
int tp_follow_entropy(const tp_kernel_model *model, const tp_training *training, const double *y, size_t columns,
                      const double *start, const double *times, size_t n_times, double *out, ad_error *error);
#endif
