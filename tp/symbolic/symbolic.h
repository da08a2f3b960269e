/* coordinate.h: what one coordinate of a width vector is: a polynomial in functions of Gaussians.
 *
 *     coordinate = sum over terms  c s n^power  prod over factors  f(lin)  + O(n^rest),     lin = sum of c_k s_k Z_k
 *
 * where Z_k are G-vars, normalised to variance of order one, and s are scalars: quantities (quantity.h) of the sample
 * that the coordinate belongs to, averages over the width replaced by their limits. What an average fluctuates around
 * its limit is of order n^(-1/2) of its terms: it is left out, and `rest` says of what order all is that was left out.
 * Where an expectation is 0, as that of dx x in the backward pass of a mean, only this is left; it must vanish beside
 * the terms that it is added to before a function or a kernel is taken of them. Everything is interned: equal things
 * have equal numbers, so the kernel recursion is a graph without repetitions, whatever sharing the network has. */
#ifndef LIMN_TP_COORDINATE_H
#define LIMN_TP_COORDINATE_H
#include "tp/program/program.h"
#include "tp/symbolic/intern.h"

/* A univariate function, as a tree. */
enum { TP_VARIABLE = AD_N_OPS, TP_NUMBER, TP_SCALAR, TP_PLUS, TP_TIMES, TP_INVERSE /* 1 / x, and 0 at 0 */ };
typedef struct {
    int op;    /* a unary row of the op table, or one of the above */
    int order; /* custom: which derivative */
    double p;  /* the row's parameter, or the number */
    int a, b;  /* arguments; TP_SCALAR: a is a quantity */
    const ad_function *function;
} tp_fn;

/* Fixed axes of a node, each at an index; axes in the node's order. */
typedef struct {
    int n;
    struct {
        ad_axis axis;
        int index;
    } at[AD_MAX_RANK];
} tp_point;

typedef enum { TP_OF_INDEX, TP_OF_DATA, TP_OF_VECTOR } tp_argument;
/* A G-var: a parameter applied to an argument: W y, W^T y, U x, or the parameter's own vector (a bias, a readout). */
typedef struct {
    int param;    /* its node */
    int position; /* which of its axes is contracted: 0 is W, 1 is W^T in the (in, out) order; -1 none */
    tp_argument argument;
    int node;       /* TP_OF_DATA: the data's node; TP_OF_VECTOR: the coordinate's number */
    tp_point where; /* the parameter's other fixed axes */
    tp_point from;  /* TP_OF_DATA: the data's other fixed axes */
    ad_axis axis;   /* TP_OF_DATA: the contracted one */
} tp_gvar;

typedef struct {
    double c;
    int gvar, scalar;
} tp_part;
typedef struct {
    int n;
    tp_part parts[];
} tp_lin;

enum { TP_MAX_FACTORS = 6 };
typedef struct {
    int lin, fn;
} tp_factor;
typedef struct {
    double c, power;
    int n, scalar;
    tp_factor factors[TP_MAX_FACTORS]; /* by increasing lin, each once; the rest zero */
} tp_term;
typedef struct {
    double rest;      /* what is left out is of order n^rest; -INFINITY: nothing is */
    int n, rest_node; /* of which op; -1 */
    tp_term terms[];
} tp_coordinate;

struct tp_quantity;
typedef struct {
    const tp_program *program;
    ad_graph *graph;
    ad_arena *arena;
    ad_error *error;
    tp_table fns, gvars, lins, coordinates, quantities, series, points;
    tp_table keys; /* (node, point) or (coordinate, coordinate): the keys of the memo */
    int *memo;
    int memo_room;
    struct tp_quantity *sum; /* a sum under way, and room for how many parts it has */
    int sum_room;
    int variable;
    tp_rules rules;
    const unsigned char *is_data; /* by node */
    int outputs[2]; /* the kernel is between these */
    bool not_bp;    /* refused, for the simple rules are wrong here */
    bool no_limit;  /* what was refused has no limit at all, or a random one */
} tp_algebra;

/* Where the scalars of functions are read: values[quantity][row]. */
typedef struct {
    double *const *values;
    size_t row;
} tp_sample;

int tp_algebra_new(tp_algebra *algebra, const tp_program *program, ad_error *error);
void tp_algebra_free(tp_algebra *algebra);
const tp_fn *tp_fn_at(const tp_algebra *, int fn);
int tp_fn_intern(tp_algebra *, tp_fn fn); /* its number; -1 without memory */
const tp_gvar *tp_gvar_at(const tp_algebra *, int gvar);
const tp_lin *tp_lin_at(const tp_algebra *, int lin);
const tp_coordinate *tp_coordinate_at(const tp_algebra *, int coordinate);
/* y = f(x), by block; sample may be NULL if f has no scalars. */
void tp_fn_eval(const tp_algebra *, int fn, const tp_sample *sample, size_t n, const double *x, double *y);
/* The points where f or its derivative jumps: how many, the first `room` of them in kinks. */
int tp_fn_kinks(const tp_algebra *, int fn, const tp_sample *sample, double *kinks, int room);
/* The function x -> f(ratio x); -1 without memory. */
int tp_fn_stretched(tp_algebra *, int fn, double ratio);
/* Is lin b a multiple of lin a, b = ratio a? */
bool tp_lin_multiple(const tp_algebra *, int a, int b, double *ratio);
bool tp_fn_smooth(const tp_algebra *, int fn); /* none of its parts has a kink */
int tp_fn_parity(const tp_algebra *, int fn);  /* 1: even, -1: odd, 0: neither or not known */
/* The scalars in f: how many, the first `room` of them in scalars. */
int tp_fn_scalars(const tp_algebra *, int fn, int *scalars, int room);

/* The coordinate of a node (with a width axis, or an output) with its fixed axes at a point; -1 with an error that
 * names op, file and line if it is not a polynomial in univariate functions of G-vars. */
int tp_coordinate_of(tp_algebra *, int node, tp_point point);
/* The algebra of coordinates: of a number of the sample, of a term; cx x + cy y, c n^power x, x y (for `node`). */
int tp_coordinate_scalar(tp_algebra *, int quantity);
int tp_coordinate_term(tp_algebra *, const tp_term *term);
int tp_coordinate_sum(tp_algebra *, int x, double cx, int y, double cy);
int tp_coordinate_scaled(tp_algebra *, int x, double c, double power);
int tp_coordinate_product(tp_algebra *, int node, int x, int y);
/* The sum over the width of x y, for `node`: n times the expectation, which is a scalar; off by the order of n^(1/2)
 * terms. */
int tp_width_sum(tp_algebra *, int node, ad_axis width, int x, int y);
/* Z dot of a product with a matrix, in units of its G-var, where `vector` is what is multiplied. */
int tp_response(tp_algebra *, int node, const tp_gvar *product, int vector);
/* The largest power of n among its terms; -INFINITY if there are none. */
double tp_coordinate_top(const tp_coordinate *);
/* The order of what the terms do not tell: the rest, and terms with a random number that all coordinates share (a
 * readout inside the network), whose average over the width is as random. *node: the op it comes from. */
double tp_coordinate_rest(const tp_algebra *, const tp_coordinate *, int *node);
/* Computed of inputs, and of neither parameters nor n: run as it is. */
bool tp_is_data(const tp_algebra *, int node);
/* The data that a node is c n^power of, and these multiplied into *c and added to *power; else the node itself. */
int tp_without_scale(const tp_algebra *, int node, double *c, double *power);
/* Fixed axes of a node other than `without`, all at index 0. */
tp_point tp_point_of(const tp_algebra *, int node, const ad_shape *without);
/* A point's number among the algebra's, -1 without memory; and the point of that number, of which only at[0] to at[n -
 * 1] are there. */
int tp_point_number(tp_algebra *, const tp_point *point);
const tp_point *tp_point_at(const tp_algebra *, int number);
int tp_point_index(const tp_point *point, ad_axis axis); /* -1 if it is not there */
void tp_point_set(tp_point *point, ad_axis axis, int index);
/* Size of an axis as c n^power. */
double tp_axis_factor(const tp_algebra *, ad_axis axis, double *power);
int tp_refuse(const tp_algebra *, int node, const char *format, ...) AD_PRINTF(3, 4);
/* A memo: *slot is where the value of this key is kept, -1 before it is set; NULL when memory is out. */
int *tp_memo(tp_algebra *, const void *key, size_t size);
#endif
