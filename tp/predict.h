/* predict.h: what training does to a network whose tangent kernel stays as it is: predictions of a kernel model.
 *
 *     double *kernel = ...;                       // (n, n): a limit's or a network's NTK, of ad_alloc
 *     tp_kernel_model *model = tp_kernel_model_new(kernel, n, NULL, &error);        // takes the kernel over
 *     tp_training flow = { .motion = TP_GRADIENT_FLOW, .rate = 1 };
 *     double times[] = { 10, INFINITY };
 *     tp_coefficients(model, &flow, y, outputs, NULL, times, 2, a, &error);         // a (2, n, outputs)
 *     tp_outputs_at(model, cross, tests, a, outputs, NULL, f);                      // cross (tests, n): at t = 10
 *     tp_kernel_model_free(model);
 *
 * With a constant kernel K every way of training moves the outputs as f_t(x) = f_0(x) + K(x, X) a_t, X the training
 * inputs, and so all that is to be found are the coefficients a_t (n, outputs). On the square loss
 * 1/(2 D) sum (f - y)^2, D = n * outputs unless told otherwise, an eigendecomposition of K gives them at all times:
 * with h = rate * lambda / D they are (1 - q_t) / lambda times y - f_0 along each eigenvector, where the residual is
 *   gradient flow     q_t = e^(-h t)
 *   gradient descent  q_t = (1 - h)^t
 *   momentum (mu)     q_t+1 = (1 + mu - h) q_t - mu q_t-1,   q_0 = 1, q_1 = 1 - h
 * (Lee et al., Wide Neural Networks of Any Depth Evolve as Linear Models, arXiv:1902.06720, eq. 8-11.)
 * Networks that start at f_0 ~ GP(0, C) and train on the square loss are a GP at every t; C is the NNGP kernel.
 *
 * Threads. A model is not written to once it is made: any number of threads may use it at once, each with an error and
 * arrays of its own; its `threads` is how many BLAS takes in each call. */
#ifndef LIMN_TP_PREDICT_H
#define LIMN_TP_PREDICT_H
#include "../nn/nn.h"

LIMN_API_BEGIN

typedef struct {
    double ridge;   /* the ridge over the mean of the kernel's diagonal; it is added to the diagonal */
    double noise;   /* the variance of the targets' noise, which is added to the diagonal as it is */
    bool cholesky;  /* Cholesky's factor in place of eigenvalues: t = infinity and the cross-entropy alone, in less time
                        and memory */
    size_t outputs; /* 0 or 1: the kernel is between inputs and the same for all outputs. k: it is of (inputs, k) by
                        (inputs, k), and what follows has n = inputs * k and one column */
    int threads;    /* 0: one */
    bool band;      /* a band form in place of eigenvectors, for gradient flow on the square loss at any time, in less
                        time and a third of the memory. Coefficients have a relative error of 2e-13 along each
                        eigenvector, besides rounding. Not with cholesky */
    double error;   /* of the kernel: a bound on each entry's error relative to sqrt(K_ii K_jj), as tp_kernel has it; 0:
                       its entries are right to rounding. Eigenvalues that it hides are not inverted */
} tp_kernel_model_spec;

/* Rows of a kernel that alone make it singular, to its error: */
typedef struct {
    size_t row, of;  /* the first that is another one, or a multiple of it; both the same: its kernel is 0 */
    size_t multiple; /* how many such rows there are */
} tp_repeats;

/* A kernel of the training inputs, factored once. The ridge is part of the kernel, as if every training input had noise
 * of its own; the facts are those of the kernel with it. */
typedef struct {
    size_t n, outputs;
    int threads;
    double diagonal;          /* its mean, without ridge */
    double ridge;             /* what was added to it, noise included */
    double largest, smallest; /* eigenvalues */
    double condition;         /* largest / smallest; infinite for a kernel that is singular to rounding or its error */
    double error;             /* the spec's */
    tp_repeats repeats;       /* of the kernel without ridge */
    double *factor;           /* (n, n): a row an eigenvector; or Cholesky's upper triangle U, K = U' U; or of the band
                                 form K = Q B Q' Householder's reflections, whose product is Q */
    double *values;           /* (n) eigenvalues, ascending; NULL: Cholesky, or a band form whose ends Lanczos found */
    double *band, *tau;       /* B by LAPACK's columns, and the reflections' factors; NULL: no band form */
    bool bounds;              /* Cholesky: Lanczos did not settle in its 100 steps, as eigenvalues lie close together at
                                 an end: the largest is at least this, the smallest at most, the condition at least */
    struct tp_spread *spread; /* NULL, or the factor over ranks (ranks.h): eigenvectors by columns, or L, K = L L' */
} tp_kernel_model;

/* Takes the kernel (n, n), symmetric and of ad_alloc, over, also on failure. An indefinite kernel is an error, and for
 * Cholesky also a singular one; the message has the condition number, a ridge that would do and, where rows repeat
 * others, the first of them. An eigenvalue is told from 0 above n epsilon times the largest one, and above the kernel's
 * error times its trace, which bounds what errors of the entries move eigenvalues by. NULL for spec: {0}. */
tp_kernel_model *tp_kernel_model_new(double *kernel, size_t n, const tp_kernel_model_spec *spec, ad_error *error);
void tp_kernel_model_free(tp_kernel_model *model);
/* Bytes that tp_kernel_model_new holds at most, the kernel included. */
double tp_kernel_model_bytes(size_t n, const tp_kernel_model_spec *spec);

typedef enum { TP_GRADIENT_FLOW, TP_GRADIENT_DESCENT, TP_MOMENTUM } tp_dynamics;
typedef struct {
    tp_dynamics motion;
    nn_loss loss;    /* square: sum (f - y)^2 / 2 / D. Cross-entropy: sum over inputs of -sum_o y_o log softmax_o / D */
    double rate;     /* 0: 1 */
    double momentum; /* 0: 0.9; v = mu v + gradient, w -= rate v, as nn_fit has it */
    double divisor;  /* D; 0: inputs * outputs for the square loss, inputs for the cross-entropy. nn_fit's square loss
                         has D = inputs */
    double tolerance; /* of the cross-entropy's flow: error of the training outputs a step, over 1 + their size (root
                         mean squares); 0: 1e-10 */
} tp_training;

/* The rate below which descent and momentum on the square loss converge, 2 D / lambda, (1 + mu) times that with
 * momentum; the flow's is that of the descent which follows it. The cross-entropy bends half as much at most: twice
 * that is always enough. */
double tp_maximum_stable_rate(const tp_kernel_model *model, const tp_training *training, size_t columns);

/* Can outputs at the time be told? -1 with the reason why not. */
int tp_check_time(const tp_kernel_model *model, const tp_training *training, size_t columns, double time,
                  ad_error *error);
/* The coefficients a_t, (n_times, n, columns), at ascending times >= 0, INFINITY included; descent and momentum take
 * whole numbers, steps. y (n, columns): targets, or each input's probabilities of classes for the cross-entropy. start
 * (n, columns): f_0 at the training inputs; NULL: 0, which on the square loss gives an ensemble's mean.
 * t = infinity fails with a singular kernel, at a rate that is not stable, and for the cross-entropy, which has no
 * limit. Finite times need no inverse; those of a singular kernel fail which are so long that what its error hides
 * would train. The cross-entropy's flow is integrated by Dormand and Prince's fifth order. */
int tp_coefficients(const tp_kernel_model *model, const tp_training *training, const double *y, size_t columns,
                    const double *start, const double *times, size_t n_times, double *out, ad_error *error);
/* f_0 + (K + ridge) a at the training inputs: out (n, columns). With a ridge that is what training drives to the
 * targets, and not the function that others see. */
int tp_outputs(const tp_kernel_model *model, const double *a, size_t columns, const double *start, double *out,
               ad_error *error);
/* The function itself at the training inputs, f_0 + K a, as tp_outputs_at would have it: out (n, columns). */
int tp_fitted_values(const tp_kernel_model *model, const double *a, size_t columns, const double *start, double *out,
                     ad_error *error);
/* f_0 + cross a at other inputs: cross (rows, n), out (rows, columns). */
void tp_outputs_at(const tp_kernel_model *model, const double *cross, size_t rows, const double *a, size_t columns,
                   const double *start, double *out);

/* The kernel C of f_0: among the training inputs, of the other inputs with them, among the others. */
typedef struct {
    const double *train; /* (n, n); NULL: C is the model's own kernel, that is, the readout alone is trained, with D
                            over nn_readout_rate */
    const double *cross; /* (rows, n); not looked at where train is NULL */
    const double *test;  /* (rows, rows), or (rows), its diagonal */
    bool diagonal;       /* only the variances are asked for */
} tp_prior;
/* Covariance of an ensemble at time t on the square loss, (rows, rows) or (rows): C - A C' - C' A' + A C A' with
 * A = cross (1 - q_t) / lambda (Lee et al., eq. 16). Where the readout alone is trained: C - cross (1 - q_t^2) / lambda
 * cross', at t = infinity the posterior of GP inference. */
int tp_covariance(const tp_kernel_model *model, const tp_training *training, size_t columns, double t,
                  const double *cross, size_t rows, const tp_prior *prior, double *out, ad_error *error);
/* At several times, (n_times, rows, rows) or (n_times, rows), which share what does not depend on time. */
int tp_covariances(const tp_kernel_model *model, const tp_training *training, size_t columns, const double *times,
                   size_t n_times, const double *cross, size_t rows, const tp_prior *prior, double *out,
                   ad_error *error);

/* ---- large kernels: floats, factored in place ----
 *
 *     tp_float_model m = { .kernel = k, .diagonal = d, .n = n, .relative = 1e-3, .state = &(tp_float_state){ 0 } };
 *     tp_float_model_factor(&m, &error);                      // n^3 / 6 multiply-adds
 *     tp_float_model_check(&m, &error);                       // is it far enough from singular?
 *     tp_float_model_solve(&m, y, outputs, a, &error);        // a (n, outputs): t = infinity on the square loss
 *
 * K + ridge = L L', L in floats where K was, on and below the diagonal; K stays above it, so that solves end in
 * doubles: conjugate gradients on K + ridge, by L L' as their preconditioner. What a kill interrupts goes on where it
 * was if kernel, diagonal and state were kept, as in a mapped file. */
typedef struct {
    uint64_t begun;   /* the diagonal is kept; 0 at first */
    uint64_t columns; /* of L that are there */
    double ridge;     /* of which it is: another one begins anew, from K */
} tp_float_state;
typedef struct {
    float *kernel;    /* (n, n), the caller's */
    double *diagonal; /* (n), the caller's: K's */
    size_t n;
    double relative, noise; /* the ridge: over the mean of the diagonal, and as it is */
    int threads;            /* 0: one */
    tp_float_state *state;
    void (*progress)(double share, void *context); /* of factoring; NULL */
    void *context;
    double ridge;    /* is told: both together; by solves: */
    double residual; /* |y - (K + ridge) a| / |y|, of the worst column, found in doubles */
    int steps;       /* of conjugate gradients */
    double smallest; /* by tp_float_model_check: eigenvalue of K + ridge, at most a few per cent too large */
} tp_float_model;
/* An error where K + ridge is not positive definite in floats. */
int tp_float_model_factor(tp_float_model *model, ad_error *error);
/* An error, which names rows that repeat others, where the smallest eigenvalue of K + ridge, by inverse iteration, is
 * below what the roundings of the entries to floats make: 2 sqrt(n) of one (Wigner). */
int tp_float_model_check(tp_float_model *model, ad_error *error);
/* (K + ridge) a = y, both (n, columns), to a residual of 1e-10; an error if it is above 1e-6 after 100 steps. */
int tp_float_model_solve(tp_float_model *model, const double *y, size_t columns, double *a, ad_error *error);
/* out = K a, in doubles: the fitted values. */
int tp_float_model_product(const tp_float_model *model, const double *a, size_t columns, double *out, ad_error *error);

/* How good outputs f (rows, columns) are on y (rows, columns). */
typedef struct {
    double loss;     /* as it is trained, D of these rows */
    double accuracy; /* the share of rows whose largest output is y's largest; NAN for one column */
    double nll;      /* mean negative log likelihood. Cross-entropy: of a class, the loss. Square: of a number y under
                        N(f, variance); NAN without variances */
} tp_score;
/* variance (rows) of f, plus noise that y has; NULL where there is none. divisor 0: the default. */
tp_score tp_score_of(nn_loss loss, const double *f, const double *y, const double *variance, size_t rows,
                     size_t columns, double divisor);

/* ---- choosing a kernel ----
 *
 *     double *kernel = ..., ridges[] = { 1e-4, 1e-2, 1 };      // (n, n), read alone
 *     tp_selection choose = { .ridges = ridges, .n_ridges = 3, .centre = true };
 *     tp_leave_one_out(kernel, n, &choose, y, outputs, f, likelihood, &error);    // f (3, n, outputs), likelihood (3)
 *     tp_score score = tp_score_of(NN_SQUARE, f, y, NULL, n, outputs, 0);         // of the first ridge
 *
 * What a machine that is trained to t = infinity on the square loss, from outputs 0 on, says of rows that it was not
 * trained on; with A = K + ridge + noise the machine is f(x) = m + K(x, X) A^-1 (y - m), m = 0 or the mean of the
 * targets. One factorization serves all ridges. Of a machine that starts at f_0, y is y - f_0, and f_0 is added to what
 * comes out. */
typedef struct {
    const double *ridges; /* (n_ridges), each over the mean of the diagonal of the kernel of the rows that train */
    size_t n_ridges;
    double noise;   /* the variance of the targets' noise, added to the diagonal as it is */
    bool centre;    /* m is the mean of the targets that train, a number an output; else 0 */
    int threads;    /* 0: one */
    size_t outputs; /* 0 or 1: the kernel is between inputs, the same for all columns of y. k: it is of (inputs, k) by
                       (inputs, k), n = inputs * k, columns is 1, and the k outputs of an input are left out together */
    double error;   /* of the kernel, as tp_kernel_model_spec has it */
} tp_selection;
/* Leave-one-out: out (n_ridges, n, columns), in each row what the machine of all other rows says of it, found from the
 * one of all rows:
 *     y_i - f_i = (A^-1 (y - m_i))_i / (A^-1)_ii,   m_i the mean without row i
 * (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 5.12), a block of k rows by the block of
 * A^-1 where an input has k. What a ridge adds is that of all rows. likelihood (n_ridges): the log density of y, all
 * columns, under the Gaussian process N(m, A) (eq. 5.8), with the mean of all rows for m; NULL: it is not asked for.
 * y (n, columns), at least two rows, kernel (n, n).
 * A ridge at which A is indefinite, or singular to rounding or to the kernel's error, has NANs and is no error. */
int tp_leave_one_out(const double *kernel, size_t n, const tp_selection *spec, const double *y, size_t columns,
                     double *out, double *likelihood, ad_error *error);
/* The rows i with folds[i] = fold by the machine of all others, which sees nothing of them: neither their targets, nor
 * in m, nor in the mean of the diagonal. Of out (n_ridges, n, columns) these rows are written, and no others. NANs as
 * above. The outputs of an input are in one fold, folds (n). Of the kernel, entries between rows that are kept, and of
 * those left out with them, are looked at: what it is among rows left out need not be known. */
int tp_leave_fold_out(const double *kernel, size_t n, const tp_selection *spec, const double *y, size_t columns,
                      const size_t *folds, size_t fold, double *out, ad_error *error);
/* Deals rows at random, by the seed alone, to k folds, 2 <= k <= rows, whose sizes differ by 1 at most, and so do those
 * of each class in them: folds (rows), from 0 to k - 1. classes (rows); NULL: there are none. */
int tp_deal_folds(const double *classes, size_t rows, size_t k, uint64_t seed, size_t *folds, ad_error *error);

LIMN_API_END
#endif
