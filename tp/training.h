/* training.h: training at n = infinity: what networks of growing width tend to while they train.
 *
 *     tp_trained run;
 *     tp_train(program, &train, NULL, &(tp_train_spec){ .fit = { .rate = 1, .steps = 20 } }, &run, &error);
 *     for (int k = 0; k < run.n_rows; k++)
 *         printf("%ld %g +- %g\n", run.rows[k].step, run.rows[k].f[0], run.rows[k].f_error[0]);
 *     tp_trained_free(&run);
 *
 * The exponents (regime.h) decide. Where features are learned, as in mu-P, the unrolled steps are a program of their
 * own (Tensor Programs IV, arXiv:2011.14522), W_t = W_0 + sum of outer products, which the executor runs on samples of
 * every vector's law (THEORY section 4): the outputs' initial value tends to 0, and all else to a number. In the kernel
 * regime the outputs follow, to first order in 1/sqrt(n), kernel gradient descent with the constant limit kernel, from
 * outputs 0, those that are given or one draw of their law. A loss that grows beyond 1e9 times what it was is an error
 * that names the step. Where samples meet, as in batch normalisation, the kernel regime takes full batches: the rows
 * that train are one batch, and those to test on another. All other scales are refused with the line that is in the
 * way.
 *
 * Errors are standard errors of the mean over independent runs, times what Student's law asks of so few runs (1.51 of
 * 8, 1.20 of 16, 3.1 of 4, 78 of 2): the truth is within three of them as often, 99.7 %, as if the deviation were
 * known. What finite samples add to the mean, of order 1 / samples, is not in them: a fifth of the error of eight runs
 * where it was measured (README).
 *
 * Threads: as tp.h has it, but for the net's graph, which tp_train adds to under the net's lock. */
#ifndef LIMN_TP_TRAINING_H
#define LIMN_TP_TRAINING_H
#include "tp.h"

LIMN_API_BEGIN

/* A measurement, after so many steps. Errors are NAN where nothing is sampled. */
typedef struct {
    long step;
    double epoch;
    const double *f, *f_error; /* (points, outputs): the training rows, then those to test on */
    double loss[2], loss_error[2], accuracy[2], accuracy_error[2]; /* of these two; NAN: no rows, or no classes */
    const double *kernel, *kernel_error; /* (probes, probes): what gradient descent moves the outputs by, the mean over
                                            outputs, as nn_training_kernel has it; NULL: probes is 0 */
    const double *features, *features_error; /* the readouts' part of it: in mu-P the mean of h h' over the last hidden
                                                vectors' coordinates */
} tp_trained_row;

typedef struct {
    nn_fit_spec fit;  /* loss, optimizer (sgd or momentum), rate, momentum, weight_decay, batch, steps or epochs, seed;
                          nothing else of it is read. The seed shuffles batches, of all runs alike, and draws */
    size_t samples;   /* of every vector, a power of 2 is best; 0: 4096 */
    int runs;         /* independent repetitions, at least 2; 0: 8 */
    int threads;      /* 0: one */
    double tolerance; /* a matrix is revealed by what it meets: of a vector, a part that it has not met before and that
                         is below this share of its length counts as nothing, and adds no rank and no draw. Second
                         moments change by its square; 0: 1e-6 */
    nn_drift_schedule schedule; /* when it measures, with `every`, as nn_drift_spec has it */
    long every;
    size_t probes;                                  /* kernels of the first so many training rows; 0: none */
    int (*each)(int run, long step, void *context); /* after a step, of a forecast, too: nonzero ends all with an
                                                           error */
    void *context;
    const double *start; /* the kernel regime: outputs at the start, (points, outputs), as those of one network or one
                            draw of their Gaussian law; NULL: 0, their mean */
    /* Where features are learned: a file of the state after every so many steps of a run, and where `each` ends it; and
     * one that it goes on from, bit for bit where data, spec and threads are the same. */
    const char *checkpoint, *resume;
    long checkpoint_every; /* 0: only where it, or a run of it, ends */
    bool draw; /* the kernel regime, without `start`: outputs at the start are one draw, by fit.seed, of their Gaussian
                  law, N(0, the NNGP limit kernel of all points), for each output its own */
} tp_train_spec;

typedef struct {
    int n_rows;
    tp_trained_row *rows;
    size_t points, outputs, probes, samples;
    int runs;           /* 0: nothing was sampled */
    int rank;           /* the most outer products that a matrix has at the end */
    bool kernel_regime; /* the kernel stays what it is, and outputs start from 0 */
    char method[700];
    void *memory;
} tp_trained;

/* Of one run, at most: bytes, floating-point operations, and independent draws, which ask for twice as many samples. 0
 * in the kernel regime, but for the kernel. */
typedef struct {
    double bytes, operations, draws;
} tp_train_cost;

/* test: NULL, or more rows whose outputs are followed; its y may be NULL: then it has no loss. */
int tp_train(tp_program *program, const nn_data *train, const nn_data *test, const tp_train_spec *spec, tp_trained *out,
             ad_error *error);
void tp_trained_free(tp_trained *training);
/* What tp_train would take, without running it. */
int tp_train_estimate(tp_program *program, const nn_data *train, const nn_data *test, const tp_train_spec *spec,
                      tp_train_cost *cost, ad_error *error);

/* The processor's seconds of all runs, by the first steps of one, a fifth of them or some two seconds long, and how
 * steps grow; 0 in the kernel regime. Within a factor of two where steps go on as they begin. */
int tp_train_forecast(tp_program *program, const nn_data *train, const nn_data *test, const tp_train_spec *spec,
                      double *seconds, ad_error *error);

LIMN_API_END
#endif
