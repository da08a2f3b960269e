/* executor.h: programs at n = infinity as samples of their law, and Gaussian matrices that are revealed as they are
 * used.
 *
 * A vector is `size` samples of its Z; <x, y> is the mean of x_s y_s. A space holds all normal draws of one size, each
 * orthogonal to 1 and to every other: sample means of their products are exact, so linear networks are, too. */
#ifndef LIMN_TP_EXECUTOR_EXECUTOR_H
#define LIMN_TP_EXECUTOR_EXECUTOR_H
#include "tp/program/program.h"

/* Sobol's sequence, dimension after dimension, scrambled anew by the seed. Start with dimension 0. */
typedef struct {
    uint64_t seed;
    int bits, dimension, degree; /* bits of a point */
    uint32_t polynomial;
    unsigned char *taken; /* 2^bits of them, or NULL: the first bits' rules, no two dimensions the same */
} tp_sobol;

/* Rows of one length, growing. */
typedef struct {
    size_t length;
    int n, capacity;
    double *data;
} tp_rows;

typedef struct {
    tp_rows basis;    /* 1, then all draws, orthonormal under the mean */
    double *quantile; /* of the normal law, one in each of 2^bits equal pieces, all shifted alike by the seed; NULL
                         before the first draw */
    tp_sobol sobol;
    uint64_t drawn;   /* how many numbers, of independent draws */
    bool independent; /* set after tp_space_new: draws are those of a network of that width, orthogonal to none */
    bool keeps; /* likewise: the basis has also what operators have seen in it, and draws are orthogonal to that */
} tp_space;
/* size: at least 4. */
int tp_space_new(tp_space *space, size_t size, uint64_t seed, ad_error *error);
void tp_space_free(tp_space *space);
/* Forgets its draws, and draws others from now on. */
void tp_space_restart(tp_space *space, uint64_t seed);
/* count new standard normal columns, orthogonal also to the rows of `avoid` (may be NULL); appended to out.
 * Quasi-random (Sobol, scrambled by the seed), then projected and normalised. An error if more than half of the space
 * is taken. */
int tp_draw(tp_space *space, int count, const tp_rows *avoid, tp_rows *out, ad_error *error);

/* The same where nothing is to be avoided and any number may be asked for: orthogonal while they are few, then of mean
 * 0 and variance 1, of Sobol's points while there are enough for all, then pseudo-random. signs: theirs alone.
 * Independent draws are as they come, and no signs. */
int tp_draw_plain(tp_space *space, int count, bool signs, tp_rows *out, ad_error *error);

/* A matrix W of entries N(0, 1 / in) from `in` to `out` samples, revealed as it is used (THEORY, the executor):
 * W = sum eps q' + sum p delta', an orthonormal q for each new direction that W has seen and a fresh draw eps for each
 * q; p and delta are the same for W'. The second sum is the part that W' made known: Z dot, by Stein's lemma. */
typedef struct {
    double minimum;            /* what is new in x is at least so much of it; less counts as nothing */
    tp_space *space[2];        /* of `in` (NULL: a fixed axis, on which <x, y> is the plain sum) and of `out` */
    tp_rows seen[2], drawn[2]; /* [0]: q and eps; [1]: p and delta */
    bool orthogonal; /* of Haar's law instead, W W' = 1, of two spaces of one size: W = sum p q' on what it was
                                  multiplied with, and Haar's law again beyond; drawn is empty */
} tp_operator;
void tp_operator_new(tp_operator *w, tp_space *in, size_t fixed_in, tp_space *out, bool orthogonal);
void tp_operator_free(tp_operator *w);
void tp_operator_forget(tp_operator *w); /* what it has seen */
/* y += W x, or W' x, for `count` rows x; W' only if `in` is a space. */
int tp_operator_apply(tp_operator *w, bool transposed, int count, const double *x, double *y, ad_error *error);

/* Work of runs, counted in multiply-adds (work.c), about 2^31 of them a second of one core. */
typedef struct {
    double done, most; /* a run beyond `most` fails; 0: none does */
} tp_work;
bool tp_work_is_over(const tp_work *);

/* One of a matrix's two ways, where the simple rules hold, which make W and W' independent: draws for the pivots of
 * Cholesky's factor of the inputs' covariance, not orthogonal to others; so there may be more inputs than samples. */
typedef struct {
    tp_space *out;
    double weight;       /* <x, y> is weight times the plain sum */
    bool signs;          /* the draws are signs: of what the kernel is quadratic in, they are exact on the diagonal */
    tp_rows seen, drawn; /* inputs that are pivots, and a draw for each */
    double *factor;      /* lower triangular, rows of `capacity`: the pivots' covariance is F F' */
    int capacity;
} tp_simple;
/* weight: the variance of W's entries. */
void tp_simple_new(tp_simple *w, tp_space *out, size_t in_size, double weight, bool signs);
void tp_simple_free(tp_simple *w);
/* y += W x for `count` rows x. */
int tp_simple_apply(tp_simple *w, int count, const double *x, double *y, ad_error *error);

/* Do the simple rules hold on samples, too, of a program that tp_check finds BP-like: are all gradients by vectors
 * linear in draws of the backward pass alone, the readout's and those that transposes give? linear (n_nodes, or NULL)
 * tells of each node whether it is. */
bool tp_simple_holds(const tp_program *, bool *linear);

/* One run of the executor on so many samples: the kernel at n = samples, (rows, rows2), between two outputs. Both
 * inputs are run as one batch, or as two batches if samples meet or the outputs differ. With independent draws it is
 * that of one network of the width `samples`, with all that fluctuates in it. */
typedef struct {
    size_t samples;
    uint64_t seed;
    int threads;
    size_t output, output2;
    bool independent;
    tp_work *work; /* to which the run's is added; NULL: nowhere */
    bool simple;   /* by the simple rules, if tp_simple_holds: a transpose is drawn without regard to its matrix */
    double floor;  /* what vanishes beside the kernel's term of n^floor is left out, for samples stand in for n
                      (tp_find_vanishing) */
} tp_sampling;
int tp_sample_once(const tp_program *, tp_kernel_kind, const tp_sampling *, const double *x, size_t rows,
                   const double *x2, size_t rows2, double *out, ad_error *error);
/* What a run needs, read off the trace and not run. */
typedef struct {
    double bytes, draws;       /* draws: of the most that meet, at most; there must be half as many samples, unless */
    bool simple;               /* the simple rules hold */
    double products, elements; /* multiply-adds of matrix products; numbers that are computed */
} tp_sample_cost;
int tp_sample_needs(const tp_program *, const tp_sampling *, size_t rows, tp_sample_cost *cost, ad_error *error);
/* Into how large blocks rows are to be cut so that two of them fit into 2 GiB, and their draws into the samples; all
 * rows, if they do; 1 where no two do; 0 with an error. */
size_t tp_sample_tile(const tp_program *, const tp_sampling *, size_t rows, ad_error *error);
/* tp_sample_once, by tiles of two such blocks, all of them by the same draws. */
int tp_sample_tiles(const tp_program *, tp_kernel_kind, const tp_sampling *, size_t block, const double *x, size_t rows,
                    const double *x2, size_t rows2, double *out, ad_error *error);
/* -1 with an error where the kernel of single networks does not come closer to a number as their width grows to
 * `samples`, whatever the reason: it stays random; or where sampling->work, which must be given, does not suffice to
 * tell. Of a few rows of x; where samples meet there is no verdict. */
int tp_check_convergence(const tp_program *, tp_kernel_kind, const tp_sampling *, const double *x, size_t rows,
                         ad_error *error);
enum { TP_MOST_RUNS = 64 };
/* The power of n that the kernel of x goes with, from its first entry in runs of sampling->samples and of fewer
 * (power.c); `first`: that entry in runs that are done, n_first of them. An error where none is clear. */
int tp_find_power(const tp_program *, tp_kernel_kind, const tp_sampling *, const double *x, size_t rows,
                  const double *first, int n_first, double *power, ad_error *error);
/* One run: the mean squares of the vectors that a view of a program keeps (tp_view_of), over the rows of x. */
int tp_sample_squares(const tp_program *view, size_t samples, uint64_t seed, int threads, const double *x, size_t rows,
                      double *squares, ad_error *error);

/* A computation's state (state.c): named arrays in a file, written, or read and checked. Each function below writes
 * into a state that is new, and fills from one that was read. -1 with an error where that lacks the name, or it is of
 * another type or size. */
typedef struct tp_state tp_state;
tp_state *tp_state_new(ad_error *error);
tp_state *tp_state_read(const char *path, ad_error *error);
void tp_state_free(tp_state *state);
bool tp_state_reads(const tp_state *state);
/* What the state is of, as a text: one that is read must have the same. */
int tp_state_mark(tp_state *state, const char *key, const char *value);
/* Numbers and rows must outlive tp_state_write; counts are copied. A name is a format. */
int tp_state_numbers(tp_state *state, double *data, size_t count, const char *name, ...) AD_PRINTF(4, 5);
int tp_state_counts(tp_state *state, uint64_t *data, size_t count, const char *name, ...) AD_PRINTF(4, 5);
int tp_state_rows(tp_state *state, tp_rows *rows, const char *name, ...) AD_PRINTF(3, 4);
int tp_state_write(tp_state *state, const char *path);

/* Training at n = infinity: a program with the backward pass from a cotangent of its outputs (tp_training_view), run
 * again and again on the same samples while its parameters learn. Matrices are what they were drawn as plus the outer
 * products of all steps; samples do not meet. One thread at a time. */
typedef struct tp_learner tp_learner;
typedef struct {
    size_t samples;
    uint64_t seed;
    int threads;
    double tolerance; /* of a vector, what a matrix has not seen before counts from this share of its length on; 0:
                         1e-10 */
} tp_learning;
/* The view must outlive it. */
tp_learner *tp_learner_new(const tp_training_view *view, const tp_learning *spec, ad_error *error);
void tp_learner_free(tp_learner *l);
/* As a new one of this seed, in the same memory. */
int tp_learner_restart(tp_learner *l, uint64_t seed, ad_error *error);
/* The outputs f (rows, outputs) of x (rows, features), which stays the caller's, and as it is until the next step or
 * pass: the same rows at the same place, without a step between, are not run again. */
int tp_learner_forward(tp_learner *l, const double *x, size_t rows, double *f, ad_error *error);
/* After a forward pass, of the same rows: the adjoints from a cotangent (rows, outputs). */
int tp_learner_backward(tp_learner *l, const double *cotangent, ad_error *error);
/* After a forward and backward pass at the start, with any cotangent: readouts of mean 0 become orthogonal to all that
 * they were averaged with, as they are in the limit. */
int tp_learner_centre(tp_learner *l, ad_error *error);
/* After a backward pass from one output of all rows: the kernel (rows, rows), the sum over parameters, in nn_param's
 * order, of weights[p] times the inner products of the gradients by parameter p. */
int tp_learner_kernel(tp_learner *l, const double *weights, double *out, ad_error *error);
/* After a backward pass from the loss's gradient: v = momentum v + gradient + decay w; w -= rate scale v, with each
 * parameter's own scale. */
int tp_learner_step(tp_learner *l, double rate, double momentum, double decay, ad_error *error);
/* From a mark to a rewind passes show nothing of the matrices that later ones would have to agree with: each tells the
 * right law alone, and takes no memory. One mark at a time, and no step between the two. */
int tp_learner_mark(tp_learner *l, ad_error *error);
void tp_learner_rewind(tp_learner *l);
/* At most, of so many rows in all steps together: bytes, floating-point operations, and draws, of which a run on
 * samples has at most half as many as samples. */
void tp_learner_cost(const tp_learner *l, double rows, double *bytes, double *operations, double *draws);
/* All that a learner is after a step. By a state that is read it becomes that, once it is new, of the same view and
 * spec, or restarted with the same seed. */
int tp_learner_state(tp_learner *l, tp_state *state);
int tp_learner_rank(const tp_learner *l); /* the most outer products that a matrix has */
#endif
