/* solver.h: the inside of a limit's evaluation: what evaluate.c plans, data_blocks.c reads, tiles.c runs, fill.c
 * computes, errors.c bounds, and near.c computes again. */
#ifndef LIMN_TP_RECURSION_SOLVER_H
#define LIMN_TP_RECURSION_SOLVER_H
#include "tp/gauss/gauss.h"
#include "tp/recursion/recursion.h"
#include "tp/recursion/schedule.h"

enum { TP_MAX_SCALARS = 64 };

/* One rounding. */
#define TP_DOUBLE_UNIT 0x1p-53
#define TP_SINGLE_UNIT 0x1p-24

/* Data that a Gram quantity meets: (rows, size) of one set, contiguous; without an axis a single entry of each
 * sample. */
typedef struct {
    int node, from; /* from: a point's number */
    ad_axis axis;
    size_t size;
    double *rows[2];
    double *turned[2]; /* of a small size: (size, stride), its transpose; NULL */
    size_t stride[2];
    double *squares[2]; /* (rows): |x|^2; NULL: not yet found */
} tp_data_block;

typedef enum { TP_BY_NOTHING, TP_BY_CLOSED, TP_BY_SERIES } tp_method; /* what a series does not reach, the rule does */
/* A function of the algebra as gauss.h knows it. One with scalars is another function for each sample of either set,
 * and has its kinks elsewhere: (rows, TP_MAX_KINKS) of them, and how many. */
typedef struct {
    tp_univariate u;
    int n_scalars;
    double *kinks[2];
    int *n_kinks[2];
    tp_mehler_family *family;    /* of its series; NULL */
    int *variances, n_variances; /* of the arguments of a function that is paired with itself alone; NULL: not known */
} tp_function;

/* How an expectation is found. */
typedef struct {
    tp_method by;
    const tp_function *f, *g;
    tp_pair_rows *pair_rows;       /* where pairs may be found in rows; NULL */
    const tp_mehler *series[2][2]; /* of f and of g, over the samples of either set; NULL: not yet made, or none */
    const tp_mehler **rows[2][2];  /* of a function with scalars: (rows), each of one sample, or NULL */
    double scale; /* half squared distances are scale times the data's, where cov is affine in one Gram; else 0 */
    int gram;
} tp_expect_plan;

/* Mehler's series of a function, over the samples of a set, whose variances are a quantity; NULL of a function that
 * the rule alone integrates. Of one with scalars: rows, whose series have entries of function -1. */
typedef struct tp_series_entry {
    struct tp_series_entry *next, *alike; /* of the same variance */
    int fn, variance, set;
    tp_mehler *series;
    const tp_mehler **rows;
} tp_series_entry;

/* Bounds on errors. A quantity q has a size on either side of a pair: S^2 is what E f^2 and |x|^2 make of it with all
 * coefficients positive, at one sample. Its error is told by one number e, |error(i, j)| <= e S(i) S'(j); at (i, i)
 * likewise. Where terms cancel, S^2 is larger than the value at (i, i): `ratio` is the root of by how much, at most. */
enum { TP_LEVELS = 36 };
/* Of variances q, (rows) each: 1 / sqrt(q), 0 of 0; sqrt(q); sqrt(2 / (1 + 2 q)). NULL: not needed. */
typedef struct {
    double *inverse, *root, *erf;
    bool positive; /* none is 0 */
} tp_scales;
typedef struct tp_profile {
    struct tp_profile *next;
    int fn, set;
    double *norms;            /* (rows): E f^2 */
    double slopes[TP_LEVELS]; /* of E f(a) f(b) / E f^2 by the correlation, up to 1 - 2^(-k/2), and at last 1 */
    double degree;            /* of a homogeneous function; NaN */
    bool jumps;
    bool linear; /* but for a kink at 0 */
} tp_profile;
typedef struct {
    double *single[2];     /* by set and quantity: e at (i, i) */
    double *ratio[2][2];   /* by set, side and quantity */
    double *stated[2][2];  /* likewise, for a kernel: a value of which nothing is known counts as the largest one */
    tp_scales *scales[2];  /* by set and a variance's quantity */
    double *reach[2][2];   /* of an expectation: the ratio for its covariance beside the variances */
    double *moves[2][2];   /* ... the error of the variance, and of scalars in the function */
    tp_profile **profiles; /* by the variance's quantity */
    const tp_profile **of[2][2]; /* by set, side and quantity: of an expectation's function */
    int *source[2];      /* by set and quantity: the one variance that a value at (i, i) is a function of, or -1 */
    double *own[2];      /* ... and what else its error relative to itself is made of */
    double *relative[2]; /* ... that error, at most */
    double *gain;        /* by quantity: of f(x), by how much larger its relative error is than that of x */
    double **shares;     /* by quantity: of a sum, the largest shares of its parts; NULL: not known */
    bool normalises;     /* there are such f at (i, i) */
    double *(*sizes)[3]; /* by quantity: (rows) on either side, and d log value / d log source, while a set's values at
                            (i, i) are found */
    int *last, *before;  /* by quantity: the last that reads its sizes, and the last but that; itself: none */
    bool *related;       /* by quantity: is `ratio` read of it? */
    double **freed;
    int n_freed;
    bool jumps; /* some function that an expectation is taken of does */
} tp_errors;

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
    int *order;                  /* of quantities, in which values and errors at (i, i) are found */
    int *partner;                /* by quantity: the expectation that is found in one go with it, or -1 */
    tp_series_entry *series;     /* all of them, each made once */
    tp_series_entry **series_at; /* by the variance's quantity */
    tp_errors errors;
    double tolerance;
    double unit;   /* one rounding of what is computed over pairs */
    float *floats; /* where the values go, rows of `stride`; NULL: the kernel's own doubles */
    size_t stride;
    bool *sized;           /* by quantity: at (i, i) it is its own size, term by term */
    bool closed;           /* closed forms alone */
    _Atomic bool diverges; /* refused, for an expectation is infinite */
    _Atomic bool too_long; /* ... for its quadratures are too much work */
    _Atomic size_t work;   /* evaluations of functions in pairs' quadratures */
    ad_error *error;
} tp_solver;

/* One pair whose inputs are nearly parallel, by quantity: how far the correlation's absolute value is from 1, a bound
 * on the error of that, and the squared sizes on either side. */
typedef struct {
    double *gap, *off, *size[2];
} tp_near;

/* What decides an expectation's error over pairs: its numerical error, the largest correlation of pairs that are not
 * near 1 or -1, and whether there are others. */
typedef struct {
    double local, most;
    bool has_near;
} tp_seen;

/* Products of data over a block of pairs, of which a tile is a part. */
typedef struct {
    size_t row0, column0, columns;
    double **values; /* by quantity; NULL: not of these */
} tp_panel;

/* A part of the pairs, for which quantities are computed. */
typedef struct {
    size_t rows, columns; /* of the tile; for values at (i, i): rows = n, columns = 1 */
    size_t row0, column0;
    int set[2];               /* which set the rows and the columns are of */
    bool alone;               /* values at (i, i) */
    double **values;          /* by quantity */
    double *q11, *q22, *half; /* scratch of the tile's size */
    double *error[2];         /* by quantity: e of all pairs, and of those that are not near 1 or -1 in correlation */
    tp_seen now;              /* of the expectation under way */
    tp_seen *seen;            /* by quantity: of the tile's expectations; NULL where `now` is read at once */
    unsigned char *nearly;    /* (rows, columns): pairs whose correlation is near 1 or -1 somewhere */
    int n_near;
    const tp_near *pair;   /* of a tile that is one pair alone; NULL */
    const tp_panel *panel; /* NULL: none */
} tp_tile;

/* A correlation is near 1 from here on. */
#define TP_NEAR 0x1p-17

/* All that the series is made of: each quantity stands after what it needs. Into `alone`, `paired` and `kept`. */
void tp_find_needed(const tp_solver *s, const tp_series *series);
/* The data that is needed, in blocks, for either set; and the end of them. */
int tp_fill_blocks(tp_solver *s);
void tp_free_blocks(tp_solver *s);
/* How an expectation is found; its series for pairs of these two sets; a function's kinks, once its scalars are
 * there. */
int tp_plan_expect(tp_solver *s, int id);
int tp_plan_series(tp_solver *s, int id, int first, int second);
/* The series of a function at a set's variances; NULL where there is none. */
const tp_series_entry *tp_series_of(const tp_solver *s, int fn, int variance, int set);
int tp_find_kinks(tp_solver *s, int fn, int set);
/* The function as it is for a row of a set: its scalars, and its kinks. */
tp_univariate tp_function_at(const tp_solver *s, int fn, int set, size_t row, tp_fn_context *context);
/* One quantity over a tile's pairs, and with it its partner (-1: none). */
int tp_fill(tp_solver *s, int id, int partner, tp_tile *t, ad_error *error);

enum { TP_AHEAD = 4 }; /* quantities of a long program do not stay in the cache */

/* ---- place.c ---- */
/* Are the values at (j, i) those at (i, j), and only the latter computed? */
static inline bool tp_by_halves(const tp_solver *s)
{
    return s->same && !s->folded;
}
/* A tile's values, doubles or floats, into a term's `values` or the solver's floats, those of samples with themselves
 * as they are known; false if one is not finite, for which there is an error. */
bool tp_place(const tp_solver *s, const tp_tile *t, const double *from, const float *from_floats,
              const double *diagonal, double *values);
int tp_beyond_range(const tp_solver *s, const tp_tile *t, ad_error *error);
/* What is at (i, j) of a block to (j, i). */
void tp_place_mirrored(const tp_solver *s, const tp_kernel *kernel, size_t row, size_t end_row, size_t column,
                       size_t end);

/* ---- single.c ---- */
/* Can strips of pairs be computed in floats, where none is near 1 or -1? */
bool tp_single_serves(const tp_solver *s, const tp_series *series);
typedef struct tp_single tp_single;
/* For strips of so many pairs; of one thread. */
tp_single *tp_single_new(tp_solver *s, size_t area, ad_error *error);
void tp_single_free(tp_single *single);
void tp_single_anew(tp_single *single); /* before the strips of another block; NULL: nothing */
/* *total: (rows, columns) of the tile, or NULL where a pair is near 1 or -1, or was in each of a block's first
 * strips. */
int tp_single_solve(tp_solver *s, tp_single *single, tp_tile *t, const float **total, ad_error *error);
const tp_seen *tp_single_seen(const tp_single *single); /* the worst of all that were solved */

/* ---- tiles.c ---- */
/* The kernel at all pairs, and its error; where it is folded, (Q + Q^T) / 2. */
int tp_solve_tiles(tp_solver *s, const tp_series *series, tp_kernel *kernel, const tp_limit_spec *spec, int threads);

/* ---- correlations.c ---- */
/* Does the tile hold samples with themselves? */
bool tp_holds_own(const tp_solver *s, const tp_tile *t);
/* The largest correlation of a tile at this covariance, and which pairs are near 1 or -1. */
void tp_find_near(const tp_solver *s, const tp_quantity *q, tp_tile *t, const double *cov);

/* ---- profile.c ---- */
/* Of a function at a set's variances; NULL with an error. known: (rows) of E f^2 where they are there, or NULL. */
const tp_profile *tp_find_profile(tp_solver *s, int fn, int variance, int set, const double *known);
/* By how much E f(a) g(b) moves, relative to the root of E f^2 E g^2, where the correlation moves by `off` from a value
 * of at most `most`; and with the log of f's variance. */
double tp_moved(const tp_profile *f, const tp_profile *g, double most, double off);
double tp_scaled(const tp_profile *f, const tp_profile *g, double most);
/* What covariance, first and second variance bring, whose relative errors are these. */
double tp_passed(const tp_profile *f, const tp_profile *g, double most, double cov, double first, double second);
/* Rows at whose variances an expectation is looked at: all that differ, or from the least to the largest. */
enum { TP_MAX_PROBES = 8 };
typedef struct {
    int n;
    size_t rows[TP_MAX_PROBES];
    double q[TP_MAX_PROBES];
    bool between; /* there are others in between */
} tp_probes;
tp_probes tp_probe(const double *v, size_t rows, int most);
/* The largest number that was found at them; and as much more in between as neighbours differ. */
double tp_most_probed(const tp_probes *p, const double *found);
/* Is the series as good as whole, and nothing of its slope at 1 left out, or of its change with the variance? Both are
 * sums of k f_k^2, where k is a few thousand at most for smooth functions: what roundoff alone can hide is no more than
 * 1e-10 of them then. */
bool tp_is_whole(const tp_univariate *f, const tp_mehler *m, size_t row);

/* ---- variances.c ---- */
/* By how much E f(a) g(a), relative to the root of E f^2 E g^2, moves with the log of the variance, at most. */
double tp_line_change(const tp_solver *s, int id, int set);

/* ---- sources.c ---- */
/* Whether values at (i, i) may be functions of a variance that their factors are of, too: their sources are then
 * told. */
int tp_sources_begin(tp_solver *s);
/* The source of a quantity's value at (i, i), whose own computing errs by `local`, and the error relative to the value
 * that comes of it; INFINITY without one. slopes: (rows) to be filled. */
double tp_find_source(tp_solver *s, int id, int set, double local, double *slopes);

/* ---- errors.c ---- */
int tp_errors_begin(tp_solver *s);
/* Sizes and errors at (i, i) of a quantity whose values there, if any are needed, are found; t holds them. Added times
 * `times` to the sum `total` where that is not -1. */
int tp_errors_alone(tp_solver *s, int id, int set, const tp_tile *t, int total, double times);
void tp_errors_start(tp_solver *s, int total, size_t rows); /* of such a sum */
/* The error of a quantity over the tile. */
void tp_bound(const tp_solver *s, int id, tp_tile *t);
/* What a kernel's error is relative to sqrt(K_ii K_jj): of all its pairs of error e. */
double tp_stated(const tp_solver *s, int id, double e);
/* The error of an expectation between two sets that its variances bring, where the correlation is at most `most`; and
 * what its own computing brings. */
double tp_variance_error(const tp_solver *s, int id, int a, int b, double most);
double tp_local_error(const tp_solver *s, int id, const tp_tile *t);

/* ---- near.c ---- */
/* What is known of quantities before any pair is. */
int tp_near_begin(tp_solver *s);
/* The gap and sizes of a quantity of one pair, and its value and error where these tell them better. */
void tp_fill_near(const tp_solver *s, int id, tp_tile *t);
#endif
