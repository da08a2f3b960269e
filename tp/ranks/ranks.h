/* ranks.h: matrices over ranks, and what MPI and ScaLAPACK do with them; alone.c is their twin where there are none. */
#ifndef LIMN_TP_RANKS_RANKS_H
#define LIMN_TP_RANKS_RANKS_H
#include "tp/ranks.h"

/* ---- messages: mpi.c, or alone.c ---- */
/* Sums over all ranks, in place. */
void tp_ranks_sum(double *values, size_t count);
/* Rank 0's bytes to all others. */
void tp_ranks_broadcast(void *bytes, size_t count);
/* Bytes from a rank to rank 0, which receives. */
void tp_ranks_send(const void *bytes, size_t count);
void tp_ranks_receive(int from, void *bytes, size_t count);

/* ---- matrices ---- */
/* (rows, columns) in blocks of `side`: block (i, k) is that of the rank at (i mod down, k mod across) of the grid. */
struct tp_spread {
    size_t rows, columns, side;
    size_t local[2];       /* rows and columns that this rank has */
    int grid[2], place[2]; /* ranks down and across, and where this one is */
    double *values;        /* (local columns, local rows): by columns, as ScaLAPACK has it */
    int descriptor[9];
};
/* Zeros. */
tp_spread *tp_spread_new(size_t rows, size_t columns, size_t side, ad_error *error);
/* Of a local row or column, its number in the whole: along 0: rows, 1: columns. */
size_t tp_spread_whole(const tp_spread *s, int along, size_t local);
/* Zeros above the diagonal. */
void tp_spread_clear(tp_spread *s);

/* Of arrays that are whole on each rank: v and out have `count` columns, row-major. out = A v, or A' v; of a triangle
 * with zeros on the other side. */
int tp_spread_multiply(const tp_spread *a, bool transposed, const double *v, size_t count, double *out,
                       ad_error *error);
/* out = K v of a symmetric K whose lower triangle is there, with zeros above it. */
int tp_spread_symmetric(const tp_spread *k, const double *v, size_t count, double *out, ad_error *error);

/* ---- ScaLAPACK: scalapack.c, or alone.c ---- */
/* The grid of ranks, and where this one is. */
void tp_spread_grid(int grid[2], int place[2]);
/* Fills the descriptor. */
int tp_spread_describe(tp_spread *s, ad_error *error);
/* K = L L' in the lower triangle, zeros above; 1: not positive definite. */
int tp_spread_cholesky(tp_spread *k, ad_error *error);
/* x = (L L')^-1 x. */
int tp_spread_solve(const tp_spread *l, tp_spread *x, ad_error *error);
/* Eigenvalues, ascending, and eigenvectors, by columns, of a lower triangle, which is lost. */
int tp_spread_eigen(tp_spread *k, double *values, tp_spread *vectors, ad_error *error);
/* out = A B or A' B; of a symmetric A by its lower triangle. */
void tp_spread_product(const tp_spread *a, bool transposed, const tp_spread *b, tp_spread *out);
void tp_spread_symmetric_product(const tp_spread *a, const tp_spread *b, tp_spread *out);
#endif
