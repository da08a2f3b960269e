/* ranks.h: several processes, the ranks that mpirun starts, find one kernel and solve with it.
 *
 *     tp_ranks_begin(&error);                                                     // before threads, after any exec
 *     tp_spread *k = tp_spread_limit(program, TP_NTK, true, x, n, NULL, 0, NULL, &told, &error);
 *     tp_kernel_model *model = tp_kernel_model_spread(k, &(tp_kernel_model_spec){ .cholesky = true }, &error);
 *     tp_coefficients(model, &flow, y, outputs, NULL, times, 1, a, &error);       // a: whole, on every rank
 *     tp_kernel_model_free(model);
 *     tp_ranks_end();
 *
 * Every rank runs the same program on the same inputs and targets, which are whole on each of them, as are coefficients
 * and outputs. A kernel is whole on none: it lies in square blocks, dealt out to a grid of ranks in turn along its rows
 * and along its columns (ScaLAPACK's block-cyclic layout), each of which its rank computes from the inputs without
 * asking anybody. All calls below but tp_rank, tp_n_ranks and the ones that free are collective: every rank makes them,
 * in the same order, with the same numbers, and all of them return the same: an error that one rank meets is all
 * ranks', with its text. A rank that dies does not return: mpirun then ends the others.
 *
 * A library that was built without LIMN_MPI has one rank, whoever started it. */
#ifndef LIMN_TP_RANKS_H
#define LIMN_TP_RANKS_H
#include "predict.h"
#include "tp.h"

LIMN_API_BEGIN

/* MPI_Init, where mpirun started more than one rank. */
int tp_ranks_begin(ad_error *error);
void tp_ranks_end(void);
/* Of this process, and how many there are: 0 and 1 without mpirun. Known before tp_ranks_begin. */
int tp_rank(void);
int tp_n_ranks(void);
/* 0 if it is 0 on all ranks; else -1 on all, with the error of the lowest that has one. The call that every collective
 * begins with: a rank that fails before it says so by this call, and is in step with the others. */
int tp_ranks_agree(int status, ad_error *error);

/* A matrix over the ranks. */
typedef struct tp_spread tp_spread;
/* The limit at x (rows, features) against x2 (rows2, features; NULL: x itself), by the exact engine, as tp_limit_tiles
 * has it (or, if not `training`, tp_limit's kernel): each block is that of its tile of side tp_spread_side, to the last
 * bit, whatever the number of ranks. Of one set only half of it is found. told: method, error and shape. */
tp_spread *tp_spread_limit(tp_program *program, tp_kernel_kind which, bool training, const double *x, size_t rows,
                           const double *x2, size_t rows2, const tp_limit_spec *spec, tp_kernel *told, ad_error *error);
void tp_spread_free(tp_spread *spread);
/* Of the blocks of a kernel whose training inputs are so many. */
size_t tp_spread_side(size_t n);

/* tp_kernel_model_new for a kernel of one set, which it takes over, also on failure: by eigenvectors (pdsyevd; twice
 * the kernel's memory and its work) or Cholesky (pdpotrf). No band form, and of outputs that are alike. For
 * tp_coefficients of the square loss, tp_outputs and tp_fitted_values; a rank's share of the blocks is below 2^31
 * numbers. */
tp_kernel_model *tp_kernel_model_spread(tp_spread *kernel, const tp_kernel_model_spec *spec, ad_error *error);
/* tp_outputs_at, with cross = tp_spread_limit of (rows) other inputs against the training inputs. */
int tp_outputs_spread(const tp_kernel_model *model, const tp_spread *cross, const double *a, size_t columns,
                      const double *start, double *out, ad_error *error);
/* tp_covariance's diagonal, (rows): train NULL: the readout alone is trained, with is not looked at; test (rows). */
int tp_variances_spread(const tp_kernel_model *model, const tp_training *training, size_t columns, double t,
                        const tp_spread *cross, const tp_spread *train, const tp_spread *with, const double *test,
                        double *out, ad_error *error);

LIMN_API_END
#endif
