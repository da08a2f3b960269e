/* predict.h: what the files of limn predict share. */
#ifndef LIMN_EXAMPLES_LIMN_COMMANDS_PREDICT_H
#define LIMN_EXAMPLES_LIMN_COMMANDS_PREDICT_H
#include "examples/limn/base/base.h"

typedef struct {
    const options *o;
    ds_data *data;
    ds_array second;
    nn_net *net;
    tp_program *program; /* of a limit; else model */
    nn_model *model;
    bool readout, full, ensemble; /* full: between outputs; ensemble: of networks that start at random; its variance is
                                     known */
    double width;                 /* where a limit's powers are summed, or 1 */
    const double *x[2];           /* inputs to train and to test on; their rows, test: maybe 0 */
    size_t rows[2], outputs;
    double *y[2];     /* (rows, outputs); y[1] NULL: not known */
    double *start;    /* (rows[0] + rows[1], outputs); NULL: 0 */
    char method[600]; /* how a limit was found */
    double error;
    bool asked[2];      /* by kernel: its first limit was checked, */
    tp_opinion opinion; /* and this is of the kernel that trains */
} prediction;

/* ---- predict_kernel.c: all are to be freed with ad_free, and NULL after an error ---- */
/* Of the training inputs, (n, n); n is rows, or rows * outputs if `full`. */
double *predict_train_kernel(prediction *p, tp_kernel_kind which, ad_error *error);
/* Of the test inputs with the training inputs. */
double *predict_cross_kernel(prediction *p, tp_kernel_kind which, ad_error *error);
/* Of the test inputs of a limit: (rows, rows), or the diagonal (rows); between outputs, too, if `full`. */
double *predict_test_kernel(prediction *p, tp_kernel_kind which, bool diagonal, ad_error *error);

/* Memory by what it is for, and the time of the factoring, in place of a prediction. */
int predict_explain(const prediction *p, const tp_kernel_model_spec *spec, ad_error *error);
#endif
