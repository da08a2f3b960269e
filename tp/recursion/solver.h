/* solver.h: the inside of a limit's evaluation: what evaluate.c plans, data_blocks.c reads and fill.c computes. */
#ifndef LIMN_TP_RECURSION_SOLVER_H
#define LIMN_TP_RECURSION_SOLVER_H
#include "tp/gauss/gauss.h"
#include "tp/recursion/recursion.h"
#include "tp/recursion/schedule.h"

#include <stdatomic.h>

enum { TP_MAX_SCALARS = 64 };

/* Data that a Gram quantity meets: (rows, size) of one set, contiguous; without an axis a single entry of each
 * sample. */
typedef struct {
    int node, from; /* from: a point's number */
    ad_axis axis;
    size_t size;
    double *rows[2];
} tp_data_block;

typedef enum { TP_BY_NOTHING, TP_BY_CLOSED, TP_BY_SERIES, TP_BY_RULE } tp_method;
/* A function of the algebra as gauss.h knows it. One with scalars is another function for each sample of either set,
 * and has its kinks elsewhere: (rows, TP_MAX_KINKS) of them, and how many. */
typedef struct {
    tp_univariate u;
    int n_scalars;
    double *kinks[2];
    int *n_kinks[2];
} tp_function;

/* How an expectation is found. */
typedef struct {
    tp_method by;
    const tp_function *f, *g;
    const tp_mehler *series[2][2]; /* of f and of g, over the samples of either set; NULL: not yet made */
    double scale; /* half squared distances are scale times the data's, where cov is affine in one Gram; else 0 */
    int gram;
} tp_expect_plan;

/* Mehler's series of a function, over the samples of a set, whose variances are a quantity. */
typedef struct tp_series_entry {
    struct tp_series_entry *next;
    int fn, variance, set;
    tp_mehler *series;
} tp_series_entry;

typedef struct {
    tp_algebra algebra;
    const double *x[2];
    size_t rows[2];
    bool same, folded;    /* one set of inputs; the kernel is (Q + Q^T) / 2 of the series' values Q */
    int n;                /* quantities */
    bool *alone, *paired; /* needed at (i, i); needed for pairs */
    double **single[2];   /* [quantity][row]: values at (i, i) of either set, NULL where no longer needed */
    bool *kept;           /* by quantity: what pairs, functions and kernels read of them */
    tp_data_block *blocks;
    int n_blocks, blocks_capacity, (*gram_blocks)[2];
    tp_function **functions; /* by the algebra's number; NULL where no expectation is taken of it */
    tp_expect_plan **plans;  /* by quantity, NULL but for expectations that are needed */
    tp_schedule schedule;
    int *partner;            /* by quantity: the expectation that is found in one go with it, or -1 */
    tp_series_entry *series; /* all of them, each made once */
    double tolerance;
    _Atomic double worst;
    ad_error *error;
} tp_solver;

/* A part of the pairs, for which quantities are computed. */
typedef struct {
    size_t rows, columns; /* of the tile; for values at (i, i): rows = n, columns = 1 */
    size_t row0, column0;
    int set[2];               /* which set the rows and the columns are of */
    bool alone;               /* values at (i, i) */
    double **values;          /* by quantity */
    double *q11, *q22, *half; /* scratch of the tile's size */
} tp_tile;

/* The data that is needed, in blocks, for either set; and the end of them. */
int tp_fill_blocks(tp_solver *s);
void tp_free_blocks(tp_solver *s);
/* How an expectation is found; its series for pairs of these two sets; a function's kinks, once its scalars are
 * there. */
int tp_plan_expect(tp_solver *s, int id);
int tp_plan_series(tp_solver *s, int id, int first, int second);
int tp_find_kinks(tp_solver *s, int fn, int set);
/* One quantity over a tile's pairs, and with it its partner (-1: none). */
int tp_fill(tp_solver *s, int id, int partner, const tp_tile *t, ad_error *error);
#endif
