/* streams.h: private: a Jacobian whose vectors are sums: residual blocks, and products where two branches meet.
 *
 * A stream is a run of vectors made of each other coordinate by coordinate: t, to which products W_k x_k are added,
 * and which functions x_k = phi(t) read. With J of such streams, and p the vector that goes back, a coordinate of
 * (J J' + s) p = f feels each Gaussian matrix of its own by two numbers (the cavity method; it is operator-valued
 * free probability over the diagonal matrices: Helton, Rashidi Far and Speicher, arXiv:math/0703510):
 *   where W_k x_k enters, t -> t + a_k p;  where d_k t is read, p -> p + b_k d_k^2 t on the way back,
 *   a_k = sigma_k^2 E d_k^2 R / (1 - R Y),   b_k = sigma_k^2 (rho_out / rho_in) E Y / (1 - R Y),
 * means over coordinates, with t = R p by what comes before and p = Y t by what comes after:
 *   R -> R + a_k,  R -> R / (1 - b_k d_k^2 R);  Y -> Y / (1 - a_k Y),  Y -> Y + b_k d_k^2.
 * The first vector enters with a = 1; the last is read with b = 1/z, and M(z) = (1/z) E R / (1 - R Y) there. All are in
 * the lower half plane where z is in the upper one. */
#ifndef LIMN_TP_SPECTRUM_STREAMS_H
#define LIMN_TP_SPECTRUM_STREAMS_H
#include "tp/spectrum/chain.h"
#include "tp/spectrum/inside.h"
#include "tp/spectrum/walk.h"

typedef enum { TP_ENTERS, TP_READS, TP_TIMES } tp_event_kind;
enum { TP_ENDS = -1 }; /* in the place of a matrix: the first vector enters, the last is read */
typedef struct {
    tp_event_kind kind;
    int matrix;
    int v, argument; /* of TP_READS and TP_TIMES: nodes of the function; v -1: there is none */
    double factor;   /* what t is times besides */
    double *squares; /* d^2 by sample, without the factor; NULL: 1 */
} tp_event;
typedef struct {
    int n, capacity;
    tp_event *events; /* as the forward pass has them */
    double space;     /* in n */
    double power;     /* while it is walked down: of n in the square of what t is times */
    size_t samples;   /* of its coordinates, of equal masses */
} tp_stream;
typedef struct {
    double variance, in, out; /* sigma^2, and the spaces in n */
} tp_stream_matrix;
typedef struct {
    int n, capacity, n_matrices, matrix_capacity;
    tp_stream *streams;
    tp_stream_matrix *matrices;
} tp_streams;

/* ---- trace_streams.c ---- */
/* The streams between the two at the input x; an error that names op, file and line where the trace has others. */
int tp_trace_streams(tp_program *program, const tp_vectors *between, const double *x, tp_streams *streams,
                     ad_error *error);
void tp_streams_free(tp_streams *streams);

/* ---- stream_samples.c ---- */
/* Samples of all functions' squared derivatives, at quasi-random coordinates of the streams' joint Gaussian laws. */
int tp_stream_samples(const tp_walk *walk, tp_streams *streams, size_t samples);

/* ---- stream_equation.c ---- */
enum { TP_MOST_CAVITY = 200 };
typedef struct {
    const tp_streams *streams;
    int unknowns;          /* log a_k, log b_k */
    double complex *r, *y; /* by event and sample */
    double complex *jacobian, *work, *tangent, *next;
    bool known; /* `jacobian` is the inverse of a point nearby */
} tp_cavity;
int tp_cavity_open(tp_cavity *c, const tp_streams *streams, ad_error *error);
void tp_cavity_close(tp_cavity *c);
/* The solution u (unknowns) at log z from one nearby, and M there. False where it does not settle. */
bool tp_cavity_solve(tp_cavity *c, double complex log_z, double complex *u, double complex *m);
/* From nothing to log z = at. */
bool tp_cavity_enter(tp_cavity *c, double at, double complex *u, double complex *m);

/* ---- stream_density.c ---- */
/* The density; an error where it is not the whole of the spectrum: its mass is 1, its first moments are those of the
 * spectrum given, which it fills. *off: by how much the moments differ, relative. */
int tp_stream_density(const tp_streams *streams, size_t points, tp_spectrum *spectrum, double *off, ad_error *error);
#endif
