/* kernel_model.h: the inside of predictions, for the files of this folder. */
#ifndef LIMN_TP_PREDICT_KERNEL_MODEL_H
#define LIMN_TP_PREDICT_KERNEL_MODEL_H
#include "tp/predict.h"

/* out = (K + ridge) a; all are (n, columns). Not of a band form. */
void tp_model_product(const tp_kernel_model *model, const double *a, size_t columns, double *scratch, double *out);
/* x (n, columns) = (L L')^-1 x, of a factor over ranks; x is whole on each of them. */
int tp_spread_divide(const struct tp_spread *l, double *x, size_t columns, ad_error *error);
/* The eigenvalues, ascending, of a symmetric matrix (n, n), whose rows become its eigenvectors; on the threads that
 * BLAS has. */
int tp_eigenvectors(double *matrix, size_t n, double *values, ad_error *error);
/* ---- K = Q B Q' with B a band; on the threads that BLAS has ---- */
/* Of the model's kernel, which its `factor` holds: the members band and tau; bytes that it takes. */
int tp_band_reduce(tp_kernel_model *model, ad_error *error);
/* How many diagonals the band has below its own. */
int tp_band_diagonals(size_t n);
/* The member values: all eigenvalues, which take a third as long again. */
int tp_band_values(tp_kernel_model *model, ad_error *error);
double tp_band_bytes(size_t n);
/* K + by, of a reduced kernel. */
void tp_band_lift(tp_kernel_model *model, double by);
/* Vectors along the kernel, `count` of them: the rows of (count, n), or the columns of (n, count). */
typedef struct {
    double *x;
    size_t count;
    bool rows;
} tp_vectors;
/* x = Q' x, or Q x back, in place. */
int tp_band_turn(const tp_kernel_model *model, bool back, const tp_vectors *x, ad_error *error);
/* out = B x. */
void tp_band_product(const tp_kernel_model *model, const tp_vectors *x, double *out);
/* out = (1 - e^(-unit B)) / B x, for unit = infinity B^-1 x. */
int tp_band_gain(const tp_kernel_model *model, double unit, const tp_vectors *x, double *out, ad_error *error);
/* Are all of the n * columns numbers finite? `what` names them; NULL values are. */
int tp_check_finite(const char *what, const double *values, size_t n, size_t columns, ad_error *error);
/* The mean of the diagonal of a kernel (n, n) of finite numbers, which must be positive. */
int tp_check_kernel(const double *kernel, size_t n, double *diagonal, ad_error *error);
/* What errors of the entries of a kernel (n, n), of so large a mean diagonal, each at most `error` of sqrt(K_ii K_jj),
 * move an eigenvalue by at most: `error` times the trace, the norm of the matrix of sqrt(K_ii K_jj). */
static inline double tp_hidden(double error, size_t n, double diagonal)
{
    return error * (double)n * diagonal;
}
/* Eigenvalues at most this are not told from 0. */
double tp_model_resolution(const tp_kernel_model *model);
/* repeats.c: rows of a kernel (n, n), symmetric, without ridge, that are others or multiples of them to the error. */
void tp_repeats_find(const double *kernel, size_t n, double error, tp_repeats *repeats);
void tp_repeats_float(const tp_float_model *model, double error, tp_repeats *repeats);
/* Of a kernel over ranks whose lower triangle is there; collective. */
int tp_repeats_spread(const struct tp_spread *kernel, double error, tp_repeats *repeats, ad_error *error_of);
/* "; to it row 4, counted from 0, is row 1 or a multiple of it"; nothing where there are none. */
void tp_repeats_tell(const tp_repeats *repeats, size_t outputs, char *text, size_t size);
/* The error that a kernel cannot be inverted ("singular"), with its condition number and a ridge that would do. */
int tp_model_refuse(const tp_kernel_model *model, const char *what, double smallest, ad_error *error);
/* The training with its defaults filled in, for so many columns; an error if a number of it is out of range. */
int tp_training_settle(const tp_kernel_model *model, tp_training *training, size_t columns, ad_error *error);
/* tp_coefficients of the cross-entropy; training is settled, times are checked, y and start as there. */
int tp_follow_entropy(const tp_kernel_model *model, const tp_training *training, const double *y, size_t columns,
                      const double *start, const double *times, size_t n_times, double *out, ad_error *error);
#endif
